/*
 * See option.h. A value is read into a struct option_value first and stored only when all is
 * well, so that a refused one leaves the field as it was; the same reading tells whether a field
 * still has its default.
 */
#include "core/option.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/parse.h"

#define NAMES_MAX     256u
#define WHAT_MAX      128u
#define ITEM_TEXT_MAX (OPTION_TEXT_MAX + WHAT_MAX)

struct option_value {
    uint64_t number;
    int choice;
    bool flag;
    char text[OPTION_TEXT_MAX];
};

static const char *const yes_words[] = {"yes", "on", "true", "1", NULL};
static const char *const no_words[] = {"no", "off", "false", "0", NULL};

static int word_index(const char *const *words, const char *text)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0)
            return i;
    }
    return -1;
}

/* --- what a type takes --- */

static bool type_has_range(enum option_type type)
{
    return type == OPTION_COUNT || type == OPTION_RATE || type == OPTION_SIZE ||
           type == OPTION_TIME || type == OPTION_SECONDS || type == OPTION_TIME_OPT;
}

static const char *number_format(enum option_type type, uint64_t number, char *out, size_t out_size)
{
    switch (type) {
    case OPTION_SIZE: return format_size(number, out, out_size);
    case OPTION_TIME:
    case OPTION_SECONDS:
    case OPTION_TIME_OPT: return format_time_exact(number, out, out_size);
    default: snprintf(out, out_size, "%llu", (unsigned long long)number); return out;
    }
}

static const char *choices_format(const struct option_def *def, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; def->choices[i] != NULL && used < out_size; i++) {
        int length =
            snprintf(out + used, out_size - used, "%s%s", i > 0 ? ", " : "", def->choices[i]);
        used += length > 0 ? (size_t)length : 0;
    }
    return out;
}

/* A few words for errors, as in "needs a value: a size such as 64". */
static const char *takes_format(const struct option_def *def, char *out, size_t out_size)
{
    static const char *const words[] = {
        [OPTION_FLAG] = "yes or no",
        [OPTION_COUNT] = "a number such as 32 or 10k",
        [OPTION_RATE] = "a number a second such as 500 or 10k",
        [OPTION_SIZE] = "a size such as 64, 16k or 1MiB",
        [OPTION_TIME] = "a time such as 50us, 20ms or 1s",
        [OPTION_SECONDS] = "a time such as 500ms, 10s or 5 (seconds)",
        [OPTION_TIME_OPT] = "a time such as 50us or 20ms",
    };

    if (def->type == OPTION_CHOICE)
        return choices_format(def, out, out_size);
    if (def->type == OPTION_TEXT || def->type == OPTION_CUSTOM)
        return def->argument != NULL ? def->argument : "some text";
    return words[def->type];
}

/* --- reading --- */

static int range_check(const struct option_def *def, uint64_t number, const char *what,
                       struct lab_error *err)
{
    char value[32], low[32], high[32];

    if (number >= def->min && (def->max == 0 || number <= def->max))
        return 0;
    number_format(def->type, number, value, sizeof(value));
    number_format(def->type, def->min, low, sizeof(low));
    if (def->max == 0)
        return lab_fail(err, EINVAL, "%s: %s is too small; it takes %s or more", what, value, low);
    number_format(def->type, def->max, high, sizeof(high));
    return lab_fail(err, EINVAL, "%s: %s is too %s; it takes %s to %s", what, value,
                    number < def->min ? "small" : "large", low, high);
}

static int choice_read(const struct option_def *def, const char *text, const char *what,
                       int *choice, struct lab_error *err)
{
    char list[256];
    const char *near;
    int index = word_index(def->choices, text);

    if (index >= 0) {
        *choice = index;
        return 0;
    }
    near = parse_suggest(text, def->choices);
    choices_format(def, list, sizeof(list));
    return lab_fail(err, EINVAL, "%s: '%.60s' is not one of %s%s%s%s", what, text, list,
                    near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                    near != NULL ? "'?" : "");
}

static int flag_read(const char *text, const char *what, bool *flag, struct lab_error *err)
{
    bool yes = word_index(yes_words, text) >= 0;

    if (!yes && word_index(no_words, text) < 0)
        return lab_fail(err, EINVAL, "%s: '%.60s' is neither yes nor no", what, text);
    *flag = yes;
    return 0;
}

static int text_read(const struct option_def *def, const char *text, const char *what, char *out,
                     struct lab_error *err)
{
    size_t length = strlen(text);
    size_t most = def->max != 0 && def->max < OPTION_TEXT_MAX ? def->max : OPTION_TEXT_MAX - 1;

    if (length > most)
        return lab_fail(err, EINVAL, "%s: '%.40s...' is too long; it takes %zu bytes at most", what,
                        text, most);
    if (length < def->min)
        return lab_fail(err, EINVAL, "%s: '%s' is too short; it takes %s", what, text,
                        def->argument != NULL ? def->argument : "some text");
    memcpy(out, text, length + 1);
    return 0;
}

static int number_read(const struct option_def *def, const char *text, const char *what,
                       uint64_t *number, struct lab_error *err)
{
    switch (def->type) {
    case OPTION_COUNT: return parse_count(text, what, number, err);
    case OPTION_RATE: return parse_rate(text, what, number, err);
    case OPTION_SIZE: return parse_size(text, what, number, err);
    case OPTION_SECONDS: return parse_time(text, what, true, number, err);
    default: return parse_time(text, what, false, number, err);
    }
}

/* text may be NULL: the option was given without a value. */
static int value_read(const struct option_def *def, const char *text, const char *what,
                      struct option_value *value, struct lab_error *err)
{
    char takes[256];

    if (def->type == OPTION_FLAG && text == NULL) {
        value->flag = true;
        return 0;
    }
    if (def->type == OPTION_TIME_OPT) {
        /* What option_format writes for the two ends is read back. */
        bool off = text != NULL && word_index(no_words, text) >= 0;

        if (text == NULL || strcmp(text, "always") == 0 || off) {
            value->number = off ? 0 : OPTION_ALWAYS;
            return 0;
        }
    }
    if (text == NULL)
        return lab_fail(err, EINVAL, "%s needs a value: %s", what,
                        takes_format(def, takes, sizeof(takes)));
    if (type_has_range(def->type) && def->zero != NULL && strcmp(text, def->zero) == 0) {
        value->number = 0;
        return 0;
    }
    switch (def->type) {
    case OPTION_FLAG: return flag_read(text, what, &value->flag, err);
    case OPTION_CHOICE: return choice_read(def, text, what, &value->choice, err);
    case OPTION_TEXT: return text_read(def, text, what, value->text, err);
    default: break;
    }
    int r = number_read(def, text, what, &value->number, err);
    size_t used = err != NULL ? strlen(err->text) : 0;
    if (r < 0 && err != NULL && def->zero != NULL)
        snprintf(err->text + used, sizeof(err->text) - used, ", or %s", def->zero);
    return r;
}

static void value_store(const struct option_def *def, const struct option_value *value,
                        void *options)
{
    char *field = (char *)options + def->offset;

    switch (def->type) {
    case OPTION_FLAG: memcpy(field, &value->flag, sizeof(value->flag)); break;
    case OPTION_CHOICE: memcpy(field, &value->choice, sizeof(value->choice)); break;
    case OPTION_TEXT: strcpy(field, value->text); break;
    case OPTION_CUSTOM: break;
    default: memcpy(field, &value->number, sizeof(value->number));
    }
}

static void value_load(const struct option_def *def, const void *options,
                       struct option_value *value)
{
    const char *field = (const char *)options + def->offset;

    *value = (struct option_value){0};
    switch (def->type) {
    case OPTION_FLAG: memcpy(&value->flag, field, sizeof(value->flag)); break;
    case OPTION_CHOICE: memcpy(&value->choice, field, sizeof(value->choice)); break;
    case OPTION_TEXT: snprintf(value->text, sizeof(value->text), "%s", field); break;
    case OPTION_CUSTOM: break;
    default: memcpy(&value->number, field, sizeof(value->number));
    }
}

void option_defaults(const struct option_def *table, void *options)
{
    for (const struct option_def *def = table; def->name != NULL; def++) {
        struct option_value value = {0};
        int result;

        if (def->fallback == NULL)
            continue;
        /* Not held to min and max: 0 may well stand for `not given`. */
        if (def->type == OPTION_CUSTOM) {
            result = def->set(options, def->fallback, NULL);
        } else {
            result = value_read(def, def->fallback, def->name, &value, NULL);
            if (result == 0)
                value_store(def, &value, options);
        }
        assert(result == 0);
        (void)result;
    }
}

int option_set(const struct option_def *def, void *options, const char *value, const char *context,
               struct lab_error *err)
{
    struct option_value parsed = {0};
    char what[WHAT_MAX], takes[256];
    struct lab_error why;
    int result;

    snprintf(what, sizeof(what), "%s%s", context != NULL ? context : "", def->name);
    bool text = def->type == OPTION_TEXT || def->type == OPTION_CUSTOM;
    /* Else "" would pass for an option that was not given, and something else be measured. */
    if (text && value != NULL && value[0] == '\0')
        return lab_fail(err, EINVAL, "%s: the value is empty; it takes %s, or leave it out", what,
                        takes_format(def, takes, sizeof(takes)));
    if (def->type == OPTION_CUSTOM) {
        if (value == NULL)
            return lab_fail(err, EINVAL, "%s needs a value: %s", what,
                            takes_format(def, takes, sizeof(takes)));
        return def->set(options, value, err);
    }
    result = value_read(def, value, what, &parsed, err);
    if (result == 0 && def->check != NULL && def->check(parsed.text, &why) < 0)
        result = lab_fail(err, EINVAL, "%s: %s", what, why.text);
    if (result < 0)
        return result;
    /* The two ends of OPTION_TIME_OPT, off and always, are outside of any range. */
    bool zero = def->zero != NULL && parsed.number == 0;
    if (type_has_range(def->type) && !zero &&
        !(def->type == OPTION_TIME_OPT && (parsed.number == 0 || parsed.number == OPTION_ALWAYS))) {
        result = range_check(def, parsed.number, what, err);
        if (result < 0)
            return result;
    }
    value_store(def, &parsed, options);
    return 0;
}

/* --- finding --- */

/* `busy-poll` is `busy_poll`: the command line writes the one, specs and job files the other. */
static bool name_equals(const char *a, const char *b)
{
    for (; *a != '\0' || *b != '\0'; a++, b++) {
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    }
    return true;
}

const struct option_def *option_find(const struct option_def *table, const char *name)
{
    for (; table->name != NULL; table++) {
        if (name_equals(table->name, name))
            return table;
    }
    return NULL;
}

/* "known" names of all tables, joined, as far as they fit. */
static void names_format(const char *const *names, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; names[i] != NULL && used < out_size; i++) {
        int length = snprintf(out + used, out_size - used, "%s%s", i > 0 ? ", " : "", names[i]);

        used += length > 0 ? (size_t)length : 0;
    }
    if (used >= out_size)
        strcpy(out + out_size - sizeof("..."), "...");
}

int option_unknown(const struct option_def *const *tables, const char *name, const char *context,
                   struct lab_error *err)
{
    const char *names[NAMES_MAX + 1], *near, *dashes = "";
    char list[300], of[80] = "", hint[80] = "";
    unsigned count = 0;

    for (; *tables != NULL; tables++) {
        for (const struct option_def *def = *tables; def->name != NULL && count < NAMES_MAX; def++)
            names[count++] = def->name;
    }
    names[count] = NULL;
    near = parse_suggest(name, names);
    if (context != NULL && context[0] == '-') {
        dashes = context;
    } else if (context != NULL && context[0] != '\0') {
        /* "epoll: " in front of a sentence is " of epoll" inside of one. */
        snprintf(of, sizeof(of), " of %s", context);
        for (size_t at = strlen(of); at > 0 && strchr(": ", of[at - 1]) != NULL; at--)
            of[at - 1] = '\0';
    }
    if (near != NULL)
        snprintf(hint, sizeof(hint), "; did you mean '%s%s'?", dashes, near);
    /* A command line knows too many to read in an error; --help groups and explains them. */
    if (*dashes != '\0')
        return lab_fail(err, EINVAL, "unknown option '%s%.60s'%s%s", dashes, name,
                        near != NULL ? hint : "; --help lists them", "");
    names_format(names, list, sizeof(list));
    if (count == 0)
        return lab_fail(err, EINVAL, "unknown option '%.60s'%s; it takes none", name, of);
    return lab_fail(err, EINVAL, "unknown option '%.60s'%s%s%s it takes: %s", name, of, hint,
                    near != NULL ? "" : ";", list);
}

/* --- lists --- */

/* Copies one item up to an unescaped comma: `\,` and `\\` stand for themselves. The key ends at
 * the first '='; *value is NULL if there is none. Returns what follows the item, NULL if it is
 * too long. */
static const char *item_read(const char *at, char *item, char **value)
{
    size_t used = 0;

    *value = NULL;
    for (; *at != '\0' && *at != ','; at++) {
        if (*at == '\\' && (at[1] == ',' || at[1] == '\\'))
            at++;
        if (used == ITEM_TEXT_MAX - 1)
            return NULL;
        item[used++] = *at;
        if (*value == NULL && *at == '=') {
            item[used - 1] = '\0';
            *value = item + used;
        }
    }
    item[used] = '\0';
    return at;
}

/* Takes note of a row that a list has set; true if it had been set by the same list already. */
static bool seen_before(const struct option_def *seen[NAMES_MAX], unsigned *count,
                        const struct option_def *def)
{
    if (def->type == OPTION_CUSTOM) /* set() may well be called several times */
        return false;
    for (unsigned i = 0; i < *count; i++)
        if (seen[i] == def)
            return true;
    if (*count < NAMES_MAX)
        seen[(*count)++] = def;
    return false;
}

int option_parse_list(const struct option_def *const *tables, void *options, const char *text,
                      const char *context, struct lab_error *err)
{
    const struct option_def *seen[NAMES_MAX];
    char item[ITEM_TEXT_MAX], *value;
    const char *at = text;
    unsigned seen_count = 0;

    if (text == NULL || *text == '\0')
        return 0;
    for (;;) {
        const struct option_def *def = NULL;
        int result;

        at = item_read(at, item, &value);
        if (at == NULL)
            return lab_fail(err, EINVAL, "%san option of '%.40s...' is too long", context, text);
        if (item[0] == '\0')
            return lab_fail(err, EINVAL, "%sthere is an option without a name in '%.80s'", context,
                            text);
        for (unsigned i = 0; tables[i] != NULL && def == NULL; i++)
            def = option_find(tables[i], item);
        if (def == NULL)
            return option_unknown(tables, item, context, err);
        if (seen_before(seen, &seen_count, def))
            return lab_fail(err, EINVAL, "%s%s is given twice in '%.120s': leave one of them out",
                            context, def->name, text);
        result = option_set(def, options, value, context, err);
        if (result < 0)
            return result;
        if (*at == '\0')
            return 0;
        at++;
    }
}

/* --- writing --- */

const char *option_format(const struct option_def *def, const void *options, char *out,
                          size_t out_size)
{
    struct option_value value;
    const char *word = NULL;

    value_load(def, options, &value);
    switch (def->type) {
    case OPTION_FLAG: word = value.flag ? "yes" : "no"; break;
    case OPTION_CHOICE: word = def->choices[value.choice]; break;
    case OPTION_TEXT: word = value.text; break;
    case OPTION_CUSTOM: word = ""; break;
    case OPTION_TIME_OPT:
        if (value.number == 0 || value.number == OPTION_ALWAYS)
            word = value.number == 0 ? "off" : "always";
        break;
    default: break;
    }
    if (type_has_range(def->type) && value.number == 0 && def->zero != NULL)
        word = def->zero;
    if (word == NULL)
        return number_format(def->type, value.number, out, out_size);
    snprintf(out, out_size, "%s", word);
    return out;
}

bool option_is_default(const struct option_def *def, const void *options)
{
    struct option_value value, fallback = {0};

    if (def->type == OPTION_CUSTOM)
        return true;
    value_load(def, options, &value);
    if (def->fallback != NULL)
        value_read(def, def->fallback, def->name, &fallback, NULL);
    return value.number == fallback.number && value.choice == fallback.choice &&
           value.flag == fallback.flag && strcmp(value.text, fallback.text) == 0;
}

/* Appends with the escapes of item_read; false if it does not fit. */
static bool escaped_append(char *out, size_t out_size, size_t *used, const char *text)
{
    for (; *text != '\0'; text++) {
        bool escape = *text == ',' || *text == '\\';

        if (*used + escape + 1 >= out_size)
            return false;
        if (escape)
            out[(*used)++] = '\\';
        out[(*used)++] = *text;
    }
    out[*used] = '\0';
    return true;
}

int option_format_list(const struct option_def *const *tables, const void *options, char *out,
                       size_t out_size)
{
    char value[OPTION_TEXT_MAX];
    size_t used = 0;

    if (out_size == 0)
        return -ENOSPC;
    out[0] = '\0';
    for (; *tables != NULL; tables++) {
        for (const struct option_def *def = *tables; def->name != NULL; def++) {
            bool alone;
            int length;

            if (option_is_default(def, options))
                continue;
            option_format(def, options, value, sizeof(value));
            alone = (def->type == OPTION_FLAG && strcmp(value, "yes") == 0) ||
                    (def->type == OPTION_TIME_OPT && strcmp(value, "always") == 0);
            length = snprintf(out + used, out_size - used, "%s%s%s", used > 0 ? "," : "", def->name,
                              alone ? "" : "=");
            if (length < 0 || (size_t)length >= out_size - used)
                return -ENOSPC;
            used += (size_t)length;
            if (!alone && !escaped_append(out, out_size, &used, value))
                return -ENOSPC;
        }
    }
    return 0;
}

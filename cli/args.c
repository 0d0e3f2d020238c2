/*
 * See args.h. glibc's argp does the reading and the help; its own error texts are switched off,
 * since they name neither what was meant nor what to do: the word at fault is found again from
 * where argp stopped.
 */
#include "cli/args.h"

#include <argp.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/parse.h"

#define ARGS_OPTIONS_MAX 256
#define ARGS_GROUPS_MAX  32
#define ARGS_KEY_FIRST   0x100 /* above every letter */
#define ARGS_KEY_HELP    0x80000

/* argp's view of a command: option i of argp has row rows[i] (NULL: a heading). */
struct args_argp {
    struct argp_option options[2 * ARGS_OPTIONS_MAX + ARGS_GROUPS_MAX + 2];
    const struct option_def *rows[2 * ARGS_OPTIONS_MAX + ARGS_GROUPS_MAX + 2];
    char *texts[2 * ARGS_OPTIONS_MAX];
    const char *groups[ARGS_GROUPS_MAX];
    unsigned count, texts_count, groups_count;
    bool letters[128];
};

struct args_reader {
    const struct command *command;
    const struct args_argp *argp;
    struct args *args;
    struct lab_error *err;
    int result;
};

void args_each(const struct command *command,
               void (*each)(void *context, const struct option_def *def), void *context)
{
    const struct option_def *tables[CLI_TABLES_MAX];
    const char *seen[ARGS_OPTIONS_MAX];
    unsigned count = 0;

    command->tables(tables);
    for (unsigned t = 0; tables[t] != NULL; t++) {
        for (const struct option_def *def = tables[t]; def->name != NULL; def++) {
            bool known = false;
            for (unsigned i = 0; i < count && !known; i++)
                known = strcmp(seen[i], def->name) == 0;
            if (known)
                continue;
            assert(count < ARGS_OPTIONS_MAX);
            seen[count++] = def->name;
            each(context, def);
        }
    }
}

const char *args_argument(const struct option_def *def, char *out, size_t out_size)
{
    size_t used = 0;

    if (def->argument != NULL)
        return def->argument;
    switch (def->type) {
    case OPTION_FLAG: return NULL;
    case OPTION_COUNT:
    case OPTION_RATE: return "N";
    case OPTION_SIZE: return "SIZE";
    case OPTION_TIME:
    case OPTION_SECONDS:
    case OPTION_TIME_OPT: return "TIME";
    case OPTION_TEXT: return "TEXT";
    case OPTION_CUSTOM: return "VALUE";
    case OPTION_CHOICE: break;
    }
    out[0] = '\0';
    for (unsigned i = 0; def->choices[i] != NULL && used < out_size; i++)
        used += (size_t)snprintf(out + used, out_size - used, "%s%s", i == 0 ? "" : "|",
                                 def->choices[i]);
    return out;
}

const char *args_default(const struct option_def *def)
{
    const char *text = def->fallback;

    if (text == NULL || def->type == OPTION_FLAG || text[0] == '\0' || strcmp(text, "0") == 0 ||
        strcmp(text, "0s") == 0)
        return NULL;
    return text;
}

static char *args_keep(struct args_argp *argp, char *text)
{
    if (text == NULL)
        abort(); /* a few hundred bytes at start-up */
    assert(argp->texts_count < 2 * ARGS_OPTIONS_MAX);
    return argp->texts[argp->texts_count++] = text;
}

static int args_group(struct args_argp *argp, const char *name)
{
    if (name == NULL)
        name = "Other";
    for (unsigned i = 0; i < argp->groups_count; i++)
        if (strcmp(argp->groups[i], name) == 0)
            return (int)i + 1;
    assert(argp->groups_count < ARGS_GROUPS_MAX);
    char *heading = NULL;
    if (asprintf(&heading, "%s:", name) < 0)
        heading = NULL;
    argp->groups[argp->groups_count] = name;
    argp->options[argp->count++] = (struct argp_option){
        .doc = args_keep(argp, heading),
        .group = (int)argp->groups_count + 1,
    };
    return (int)++argp->groups_count;
}

struct args_build {
    struct args_argp *argp;
    bool for_help;
};

/* For a flag, --name may have a value (--name=no), which help does not show; -n may not, so that
 * letters can stand together: getopt knows a value of a letter only for all of its forms. */
static void args_add(void *context, const struct option_def *def)
{
    const struct args_build *build = context;
    struct args_argp *argp = build->argp;
    char choices[160], *doc = NULL;
    const char *argument = args_argument(def, choices, sizeof(choices));
    bool optional = def->type == OPTION_FLAG || def->type == OPTION_TIME_OPT;
    const char *fallback = args_default(def);
    int group = args_group(argp, def->group);
    int key = ARGS_KEY_FIRST + (int)argp->count;

    if (asprintf(&doc, "%s%s%s%s", def->help, fallback == NULL ? "" : " (default ",
                 fallback == NULL ? "" : fallback, fallback == NULL ? "" : ")") < 0)
        doc = NULL;
    if (argument == choices)
        argument = args_keep(argp, strdup(choices));
    if (argument == NULL && !build->for_help)
        argument = "yes|no";
    if (def->letter > 0 && !argp->letters[(unsigned char)def->letter]) {
        argp->letters[(unsigned char)def->letter] = true;
        key = def->letter;
    }
    if (key == def->letter && def->type == OPTION_FLAG && !build->for_help) {
        argp->rows[argp->count] = def;
        argp->options[argp->count++] = (struct argp_option){.key = key, .group = group};
        key = ARGS_KEY_FIRST + (int)argp->count;
    }
    argp->rows[argp->count] = def;
    argp->options[argp->count++] = (struct argp_option){
        .name = def->name,
        .key = key,
        .arg = argument,
        .flags = optional && argument != NULL ? OPTION_ARG_OPTIONAL : 0,
        .doc = args_keep(argp, doc),
        .group = group,
    };
}

static void args_build(const struct command *command, struct args_argp *argp, bool for_help)
{
    struct args_build build = {argp, for_help};

    args_each(command, args_add, &build);
    argp->options[argp->count++] = (struct argp_option){
        .name = "help", .key = ARGS_KEY_HELP, .doc = "show this help", .group = -1};
}

static void args_unbuild(struct args_argp *argp)
{
    for (unsigned i = 0; i < argp->texts_count; i++)
        free(argp->texts[i]);
}

/* --- errors --- */

static bool args_is_letter(const struct args_argp *argp, char letter, const struct option_def **def)
{
    for (unsigned i = 0; i < argp->count; i++) {
        if (argp->rows[i] != NULL && argp->options[i].key == letter) {
            *def = argp->rows[i];
            return true;
        }
    }
    return false;
}

static bool args_blame_long(const struct args_reader *reader, const char *word)
{
    const struct args_argp *argp = reader->argp;
    const char *names[ARGS_OPTIONS_MAX + 2], *likely[2] = {NULL, NULL};
    const struct option_def *last = NULL; /* of those that it may stand for; NULL: --help */
    size_t length = strcspn(word, "=");
    unsigned count = 0, matches = 0;
    char name[64], argument[160];

    for (unsigned i = 0; i < argp->count; i++) {
        const struct option_def *def = argp->rows[i];
        if (argp->options[i].name == NULL)
            continue;
        names[count++] = argp->options[i].name;
        if (strncmp(argp->options[i].name, word, length) != 0)
            continue;
        if (argp->options[i].name[length] == '\0' && def != NULL) {
            lab_fail(reader->err, EINVAL, "--%s needs a value: --%s %s", def->name, def->name,
                     args_argument(def, argument, sizeof(argument)));
            return true;
        }
        if (matches < 2)
            likely[matches] = argp->options[i].name;
        last = def;
        matches++;
    }
    names[count] = NULL;
    if (matches > 1) {
        lab_fail(reader->err, EINVAL, "--%.*s could be --%s or --%s%s: write it out", (int)length,
                 word, likely[0], likely[1], matches > 2 ? " and others" : "");
        return true;
    }
    if (matches == 1 && last == NULL) {
        lab_fail(reader->err, EINVAL, "--%s takes no value: leave it out", likely[0]);
        return true;
    }
    if (matches == 1) {
        lab_fail(reader->err, EINVAL,
                 "there is no --%.*s; as short for --%s it needs a value: --%s %s", (int)length,
                 word, last->name, last->name, args_argument(last, argument, sizeof(argument)));
        return true;
    }
    snprintf(name, sizeof(name), "%.*s", (int)length, word);
    const char *suggestion = parse_suggest(name, names);
    lab_fail(reader->err, EINVAL, "unknown option --%s%s%s%s (lab %s --help lists all)", name,
             suggestion == NULL ? "" : ": did you mean --", suggestion == NULL ? "" : suggestion,
             suggestion == NULL ? "" : "?", reader->command->name);
    return true;
}

static bool args_blame_letters(const struct args_reader *reader, const char *word)
{
    for (const char *at = word; *at != '\0'; at++) {
        const struct option_def *def;
        char argument[160];
        if (!args_is_letter(reader->argp, *at, &def)) {
            lab_fail(reader->err, EINVAL, "unknown option -%c (lab %s --help lists all)", *at,
                     reader->command->name);
            return true;
        }
        if (def->type == OPTION_FLAG || def->type == OPTION_TIME_OPT)
            continue;
        if (at[1] != '\0')
            return false; /* the rest is its value */
        lab_fail(reader->err, EINVAL, "-%c needs a value: -%c %s", *at, *at,
                 args_argument(def, argument, sizeof(argument)));
        return true;
    }
    return false;
}

static bool args_blame_word(const struct args_reader *reader, const char *word)
{
    if (word == NULL || word[0] != '-' || word[1] == '\0')
        return false;
    return word[1] == '-' ? args_blame_long(reader, word + 2)
                          : args_blame_letters(reader, word + 1);
}

/* getopt has stepped over the word at fault, unless that was within a cluster of letters. */
static void args_blame(const struct args_reader *reader, const struct argp_state *state)
{
    int next = state->next;
    if (next > 1 && next <= state->argc && args_blame_word(reader, state->argv[next - 1]))
        return;
    if (next < state->argc && args_blame_word(reader, state->argv[next]))
        return;
    lab_fail(reader->err, EINVAL, "the options cannot be understood (lab %s --help lists all)",
             reader->command->name);
}

/* --- reading --- */

static error_t args_read(int key, char *value, struct argp_state *state)
{
    struct args_reader *reader = state->input;
    const struct args_argp *argp = reader->argp;
    struct args *args = reader->args;

    switch (key) {
    case ARGP_KEY_ARG: args->words[args->words_count++] = value; return 0;
    case ARGP_KEY_ERROR:
        if (reader->result == 0) {
            reader->result = -EINVAL;
            args_blame(reader, state);
        }
        return 0;
    case ARGS_KEY_HELP: args->help = true; return 0;
    }
    for (unsigned i = 0; i < argp->count; i++) {
        if (argp->rows[i] != NULL && argp->options[i].key == key) {
            args->given[args->given_count++] =
                (struct args_given){.name = argp->rows[i]->name, .value = value};
            return 0;
        }
    }
    return ARGP_ERR_UNKNOWN;
}

int args_parse(const struct command *command, int argc, char **argv, struct args *args,
               struct lab_error *err)
{
    struct args_argp *built = calloc(1, sizeof(*built));
    /* Letters in a cluster are options too: as many as there are bytes. */
    size_t bytes = 1;
    for (int i = 0; i < argc; i++)
        bytes += strlen(argv[i]) + 1;
    *args = (struct args){
        .given = calloc(bytes, sizeof(*args->given)),
        .words = calloc((size_t)argc + 1, sizeof(*args->words)),
    };
    if (built == NULL || args->given == NULL || args->words == NULL) {
        free(built);
        return lab_fail(err, ENOMEM, "no memory for the command line");
    }
    args_build(command, built, false);
    const struct argp argp = {.options = built->options, .parser = args_read};
    struct args_reader reader = {.command = command, .argp = built, .args = args, .err = err};
    error_t r =
        argp_parse(&argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_NO_EXIT, NULL, &reader);
    if (r != 0 && reader.result == 0)
        reader.result = lab_fail(err, r, "%s", strerror(r));
    args_unbuild(built);
    free(built);
    return args->help ? 0 : reader.result;
}

void args_free(struct args *args)
{
    free(args->given);
    free(args->words);
    *args = (struct args){0};
}

int args_fill(const struct args *args, const struct args_target *targets, unsigned count,
              const char *context, struct lab_error *err)
{
    for (unsigned t = 0; t < count; t++)
        option_defaults(targets[t].options, targets[t].into);
    for (size_t i = 0; i < args->given_count; i++) {
        const struct args_given *given = &args->given[i];
        bool known = false;
        for (unsigned t = 0; t < count; t++) {
            const struct option_def *def = option_find(targets[t].options, given->name);
            if (def == NULL)
                continue;
            known = true;
            int r = option_set(def, targets[t].into, given->value, "--", err);
            if (r < 0)
                return r;
        }
        if (!known)
            return lab_fail(err, EINVAL, "--%s is not an option of %s: leave it out", given->name,
                            context);
    }
    return 0;
}

const char *args_value(const struct args *args, const char *name, bool *found)
{
    const char *value = NULL;
    bool any = false;

    for (size_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].name, name) == 0) {
            value = args->given[i].value;
            any = true;
        }
    }
    if (found != NULL)
        *found = any;
    return value;
}

/* --- help --- */

/* argp breaks lines at 79 unless its variable says otherwise; what the user put there stays. */
static void args_help_width(FILE *out)
{
    char text[64];
    unsigned columns = term_columns(out);

    columns = columns == 0 ? 80 : columns < 60 ? 60 : columns > 120 ? 120 : columns;
    snprintf(text, sizeof(text), "no-dup-args-note,rmargin=%u", columns - 1);
    setenv("ARGP_HELP_FMT", text, 0);
}

void args_help(const struct command *command, FILE *out)
{
    struct args_argp *built = calloc(1, sizeof(*built));
    char *name = NULL, *doc = NULL;

    if (built == NULL || asprintf(&name, "lab %s", command->name) < 0 ||
        asprintf(&doc, "%s\v%s", command->help, command->about == NULL ? "" : command->about) < 0)
        abort();
    args_build(command, built, true);
    args_help_width(out);
    const struct argp argp = {
        .options = built->options,
        .args_doc = command->words,
        .doc = doc,
    };
    argp_help(&argp, out, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
    args_unbuild(built);
    free(built);
    free(name);
    free(doc);
}

/*
 * Engine specs, `name[:key[=value],...]`: which engine, and its options on top of those that
 * every engine has. The text is normalised, so that equal settings have equal names in results.
 */
#include "engines/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/parse.h"

#define SPEC_NAME_MAX  32u
#define SPEC_NAMES_MAX 32u

static int spec_unknown(const char *name, struct lab_error *err)
{
    const char *names[SPEC_NAMES_MAX + 1];
    char known[256] = "";
    size_t used = 0;
    unsigned count = 0;

    for (unsigned i = 0; engine_registry[i] != NULL && count < SPEC_NAMES_MAX; i++) {
        names[count++] = engine_registry[i]->name;
        if (used < sizeof(known) && (engine_registry[i]->flags & ENGINE_FOR_TESTS) == 0)
            used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ",
                                     engine_registry[i]->name);
    }
    names[count] = NULL;
    const char *near = parse_suggest(name, names);
    if (near != NULL)
        return lab_fail(err, EINVAL, "unknown engine '%s'; did you mean '%s'? known: %s", name,
                        near, known);
    return lab_fail(err, EINVAL, "unknown engine '%s'; known: %s", name, known);
}

/* Rows of both tables, the common ones first. */
static const struct option_def *spec_row(const struct engine_spec *spec, unsigned index)
{
    const struct option_def *row = engine_common_options;

    for (; row->name != NULL; row++)
        if (index-- == 0)
            return row;
    for (row = spec->ops->options; row != NULL && row->name != NULL; row++)
        if (index-- == 0)
            return row;
    return NULL;
}

static int spec_set_options(struct engine_spec *spec, const char *list, struct lab_error *err)
{
    const struct option_def *const tables[] = {
        engine_common_options,
        spec->ops->options, /* NULL ends the list early */
        NULL,
    };
    const char *name = spec->ops->name;
    char context[SPEC_NAME_MAX + 3];

    spec->options = calloc(1, spec->ops->options_size);
    if (spec->options == NULL)
        return lab_fail(err, ENOMEM, "%s: no memory for its options", name);
    for (unsigned i = 0; tables[i] != NULL; i++)
        option_defaults(tables[i], spec->options);
    snprintf(context, sizeof(context), "%s: ", name);
    int r = option_parse_list(tables, spec->options, list, context, err);
    if (r < 0)
        return r;
    size_t used = (size_t)snprintf(spec->text, sizeof(spec->text), "%s:", name);
    r = option_format_list(tables, spec->options, spec->text + used, sizeof(spec->text) - used);
    if (r < 0)
        return lab_fail(err, EINVAL, "%s: too many options, at most %zu characters", name,
                        sizeof(spec->text) - used - 1);
    if (spec->text[used] == '\0')
        spec->text[used - 1] = '\0'; /* all defaults: the bare name */
    return 0;
}

int engine_spec_parse(const char *text, struct engine_spec *spec, struct lab_error *err)
{
    struct engine_spec parsed = {0};
    size_t length = strcspn(text, ":");
    char name[SPEC_NAME_MAX];

    /* A longer one is cut: no engine has such a name, and the sentence stays readable. */
    snprintf(name, sizeof(name), "%.*s", (int)(length < sizeof(name) ? length : sizeof(name)),
             text);
    parsed.ops = length < sizeof(name) ? engine_find(name) : NULL;
    if (parsed.ops == NULL)
        return spec_unknown(name, err);
    if (parsed.ops->absent != NULL) {
        snprintf(parsed.text, sizeof(parsed.text), "%s", name);
        *spec = parsed;
        return lab_fail(err, ENOSYS, "%s: %s", name, parsed.ops->absent);
    }
    if (text[length] == ':' && text[length + 1] == '\0')
        return lab_fail(err, EINVAL, "%s: no option follows the colon in '%s'", name, text);
    int r = spec_set_options(&parsed, text[length] == ':' ? text + length + 1 : NULL, err);
    if (r < 0) {
        engine_spec_free(&parsed);
        return r;
    }
    *spec = parsed;
    return 0;
}

void engine_spec_free(struct engine_spec *spec)
{
    free(spec->options);
    *spec = (struct engine_spec){0};
}

bool engine_spec_option(const struct engine_spec *spec, unsigned index, const char **name,
                        char *value, size_t value_size)
{
    const struct option_def *row = spec_row(spec, index);

    if (row == NULL)
        return false;
    *name = row->name;
    option_format(row, spec->options, value, value_size);
    return true;
}

int engine_spec_parse_inner(const char *value, struct engine_spec *inner, struct lab_error *err)
{
    struct engine_spec parsed;
    char text[OPTION_TEXT_MAX];
    int length = snprintf(text, sizeof(text), "%s", value);

    if (length < 0 || (size_t)length >= sizeof(text))
        return lab_fail(err, EINVAL, "an inner engine's spec has at most %zu characters",
                        sizeof(text) - 1);
    char separator = ':';
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from == '+' && from[1] != '+') {
            *to++ = separator;
            separator = ',';
        } else {
            from += *from == '+';
            *to++ = *from;
        }
    }
    *to = '\0';
    int r = engine_spec_parse(text, &parsed, err);
    if (r < 0)
        return r;
    if (parsed.ops->flags & ENGINE_WRAPS) {
        engine_spec_free(&parsed);
        return lab_fail(err, EINVAL, "'%s' wraps an engine itself and cannot be wrapped", value);
    }
    *inner = parsed;
    return 0;
}

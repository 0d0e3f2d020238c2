/* See specs.h. */
#include "cli/specs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/parse.h"

#define SPECS_NAMES_MAX 64

static bool specs_is_engine(const char *text)
{
    char name[64];
    size_t size = strcspn(text, ":,");

    if (size == 0 || size >= sizeof(name))
        return false;
    memcpy(name, text, size);
    name[size] = '\0';
    return engine_find(name) != NULL || strcmp(name, "all") == 0;
}

size_t specs_length(const char *text)
{
    size_t size = strcspn(text, ",");

    if (memchr(text, ':', size) == NULL)
        return size;
    while (text[size] == ',') {
        const char *next = text + size + 1;
        next += strspn(next, " \t");
        if (specs_is_engine(next))
            break;
        size += 1 + strcspn(text + size + 1, ",");
    }
    return size;
}

/* Of `epoll:spin,io_urng` the second word is an option of epoll to the parser. */
static const char *specs_meant_engine(const char *text)
{
    const char *names[SPECS_NAMES_MAX], *at = strchr(text, ',');
    unsigned count = 0;
    char word[64];

    for (; engine_registry[count] != NULL && count + 1 < SPECS_NAMES_MAX; count++)
        names[count] = engine_registry[count]->name;
    names[count] = NULL;
    for (; at != NULL; at = strchr(at + 1, ',')) {
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(at + 1, ":,="), at + 1);
        const char *suggestion = parse_suggest(word, names);
        if (suggestion != NULL)
            return suggestion;
    }
    return NULL;
}

int specs_parse(const char *text, struct engine_spec *spec, struct lab_error *err)
{
    int r = engine_spec_parse(text, spec, err);

    if (r == -EINVAL && strchr(text, ':') != NULL) {
        const char *suggestion = specs_meant_engine(text);
        size_t used = strlen(err->text);
        if (suggestion != NULL)
            snprintf(err->text + used, sizeof(err->text) - used, " (or was the engine '%s' meant?)",
                     suggestion);
    }
    return r;
}

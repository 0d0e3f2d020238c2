/* See names.h. */
#include "cli/names.h"

#include <stdio.h>

#include "core/parse.h"

#define NAMES_MOST 64u

const char *names_list(names_at *at, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; at(i) != NULL && used < out_size; i++)
        used += (size_t)snprintf(out + used, out_size - used, "%s%s", i > 0 ? ", " : "", at(i));
    return out;
}

const char *names_unknown(const char *what, const char *word, names_at *at, char *out,
                          size_t out_size)
{
    const char *names[NAMES_MOST];
    char near[PARSE_MEANT_MAX], known[256];
    unsigned count = 0;

    while (count + 1 < NAMES_MOST && (names[count] = at(count)) != NULL)
        count++;
    names[count] = NULL;
    snprintf(out, out_size, "there is no %s '%s'%s (there is: %s)", what, word,
             parse_meant(word, names, near), names_list(at, known, sizeof(known)));
    return out;
}

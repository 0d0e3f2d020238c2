/* The names of a list of const tables, for sentences: what there is, and what may have been meant.
 */
#ifndef LAB_CLI_NAMES_H
#define LAB_CLI_NAMES_H

#include <stddef.h>

typedef const char *names_at(unsigned index); /* NULL: that was the last one */

/* "a, b, c" into out, cut to fit; returns out. */
const char *names_list(names_at *at, char *out, size_t out_size);
/* "there is no WHAT 'WORD': did you mean 'a'? (there is: a, b)" into out; returns out. */
const char *names_unknown(const char *what, const char *word, names_at *at, char *out,
                          size_t out_size);

#endif

/* What is counted of an op or a connection that failed. */
#ifndef LAB_CLIENT_ERROR_KIND_H
#define LAB_CLIENT_ERROR_KIND_H

#include <stdbool.h>

/* An errno (positive) as one of the kinds that are counted, with what to do about it: the end of a
 * sentence, or "". connecting: it ended a connect. All static. */
const char *error_kind(int err, bool connecting, const char **advice);

#endif

/*
 * An error as a person reads it: one line that says what happened, to what, and what to do.
 * Functions that can fail return 0 or a negative errno and fill a struct lab_error that the
 * caller owns; library code never prints.
 */
#ifndef LAB_CORE_ERROR_H
#define LAB_CORE_ERROR_H

struct lab_error {
    char text[512];
};

/* Formats into err (which may be NULL) and returns -code, so that `return lab_fail(...)` works. */
int lab_fail(struct lab_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

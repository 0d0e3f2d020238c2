/* See cli.h. */
#include "cli/cli.h"

#include <stdarg.h>

int cli_fail(enum cli_exit exit_code, const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("lab: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return exit_code;
}

/* See term.h. */
#include "cli/term.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TERM_COLUMNS_LEAST 20
#define TERM_COLUMNS_MOST  1000

void term_init(void)
{
    /* Only the character set: a decimal comma would break every number that is read again. */
    setlocale(LC_CTYPE, "");
}

bool term_is_tty(FILE *stream)
{
    return isatty(fileno(stream)) == 1;
}

unsigned term_columns(FILE *stream)
{
    const char *text = getenv("COLUMNS");
    struct winsize size;
    long columns = text == NULL ? 0 : strtol(text, NULL, 10);

    if (columns <= 0 && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    if (columns <= 0)
        return 0;
    if (columns < TERM_COLUMNS_LEAST)
        return TERM_COLUMNS_LEAST;
    return columns > TERM_COLUMNS_MOST ? TERM_COLUMNS_MOST : (unsigned)columns;
}

bool term_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

char *term_text(char *text)
{
    for (char *at = text; !term_utf8() && *at != '\0'; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return text;
}

bool term_colour(FILE *stream)
{
    const char *off = getenv("NO_COLOR"), *name = getenv("TERM");

    return term_is_tty(stream) && (off == NULL || off[0] == '\0') && name != NULL &&
           strcmp(name, "dumb") != 0;
}

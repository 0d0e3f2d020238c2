/* See error.h. What is formatted may quote a peer or a typed word: it is made one clean line. */
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

int lab_fail(struct lab_error *err, int code, const char *format, ...)
{
    static const char cut[] = "...";
    va_list arguments;
    int length;

    if (err == NULL)
        return -code;
    va_start(arguments, format);
    length = vsnprintf(err->text, sizeof(err->text), format, arguments);
    va_end(arguments);
    if (length < 0)
        err->text[0] = '\0';
    text_clean(err->text);
    if (length >= (int)sizeof(err->text)) {
        size_t kept = strlen(err->text);

        if (kept > sizeof(err->text) - sizeof(cut))
            kept = sizeof(err->text) - sizeof(cut);
        err->text[kept] = '\0';
        text_clean(err->text); /* the cut may have halved a character */
        strcat(err->text, cut);
    }
    return -code;
}

/*
 * Text that came from elsewhere (a peer, a child, a file, a name that was typed) before it is
 * shown or stored: one line of valid UTF-8 without control characters, so that it can neither
 * drive a terminal nor break JSON.
 */
#ifndef LAB_CORE_TEXT_H
#define LAB_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* In place: white space becomes a blank, every other byte that does not belong a '?'; a
 * sequence that the end cuts short is dropped. Never longer than before. Returns text. */
char *text_clean(char *text);

/* Whether the bytes are just this text. */
static inline bool text_is(const void *bytes, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(bytes, text, size) == 0;
}

/* True if text_clean would change nothing. */
bool text_is_clean(const char *text);

#endif

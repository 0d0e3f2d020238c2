/*
 * See text.h. The UTF-8 check is that of RFC 3629: no overlong forms, no surrogates, nothing
 * above U+10FFFF; C1 controls are refused too, since some terminals obey them.
 */
#include "core/text.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

struct sequence {
    unsigned char first_low, first_high, second_low, second_high;
    unsigned length;
};

/* RFC 3629, section 4. The first row starts at U+00A0: below are the C1 controls. */
static const struct sequence sequences[] = {
    {0xc2, 0xc2, 0xa0, 0xbf, 2}, {0xc3, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Bytes of the good character at text, 0 if there is none. *cut: the text ends inside of it. */
static unsigned character_length(const unsigned char *text, bool *cut)
{
    *cut = false;
    if (text[0] >= 0x20 && text[0] < 0x7f)
        return 1;
    for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
        const struct sequence *s = &sequences[i];

        if (text[0] < s->first_low || text[0] > s->first_high)
            continue;
        if (text[1] < s->second_low || text[1] > s->second_high) {
            *cut = text[1] == '\0';
            return 0;
        }
        for (unsigned at = 2; at < s->length; at++) {
            if ((text[at] & 0xc0) != 0x80) {
                *cut = text[at] == '\0';
                return 0;
            }
        }
        return s->length;
    }
    return 0;
}

char *text_clean(char *text)
{
    unsigned char *at = (unsigned char *)text;

    while (*at != '\0') {
        bool cut;
        unsigned length = character_length(at, &cut);

        if (length > 0) {
            at += length;
        } else if (cut) {
            *at = '\0';
        } else {
            *at = *at < 0x80 && isspace(*at) ? ' ' : '?';
            at++;
        }
    }
    return text;
}

bool text_is_clean(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at != '\0') {
        bool cut;
        unsigned length = character_length(at, &cut);

        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

/* Text from elsewhere: what is replaced, what is kept, and that cleaning settles. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "core/text.h"

TestSuite(text, .timeout = 10);

struct row {
    char dirty[32], clean[32];
};

ParameterizedTestParameters(text, cleans)
{
    static struct row rows[] = {
        {"", ""},
        {"plain ~ text", "plain ~ text"},
        {"gr\u00fc\u00dfe \u20ac \U0001f600", "gr\u00fc\u00dfe \u20ac \U0001f600"},
        {"a\tb\r\nc", "a b  c"},
        {"\x1b]0;title\x07", "?]0;title?"},
        {"\x7f", "?"},
        {"\xc2\x80\xc2\x9f", "????"}, /* C1 controls */
        {"\xc2\xa0", "\xc2\xa0"},     /* the first above them */
        {"\xc0\xaf", "??"},           /* overlong */
        {"\xe0\x80\xaf", "???"},      /* overlong */
        {"\xf0\x80\x80\xaf", "????"}, /* overlong */
        {"\xed\xa0\x80x", "???x"},    /* a surrogate */
        {"\xf4\x90\x80\x80", "????"}, /* above U+10FFFF */
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
        {"\xff\xfe", "??"},
        {"\x80", "?"},
        {"ab\xe2\x82", "ab"}, /* cut short: nothing was wrong with it */
        {"ab\xe2", "ab"},
        {"\xe2x", "?x"},
        {"\xe2\x82x", "??x"},
    };
    return cr_make_param_array(struct row, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct row *row, text, cleans)
{
    char text[32];

    strcpy(text, row->dirty);
    cr_assert_eq(text_is_clean(text), strcmp(row->dirty, row->clean) == 0);
    cr_assert_str_eq(text_clean(text), row->clean);
    cr_assert(text_is_clean(text));
}

/* Every sequence of three bytes: cleaning makes it clean. */
Test(text, settles)
{
    for (unsigned bytes = 0; bytes < 1u << 24; bytes += 7) {
        char text[4] = {(char)bytes, (char)(bytes >> 8), (char)(bytes >> 16), '\0'};

        cr_assert(text_is_clean(text_clean(text)), "%06x", bytes);
    }
}

/* Errors: the code goes through negated, the text is one clean line that never overflows. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/error.h"

TestSuite(error, .timeout = 10);

Test(error, formats_and_returns)
{
    struct lab_error err;

    cr_assert_eq(lab_fail(&err, EINVAL, "%s: %d", "--size", 7), -EINVAL);
    cr_assert_str_eq(err.text, "--size: 7");
    cr_assert_eq(lab_fail(NULL, ENOMEM, "nobody hears %d", 1), -ENOMEM);
}

Test(error, is_one_line)
{
    struct lab_error err;

    lab_fail(&err, EINVAL, "'%s'", "a\nb\x1b[2Jc\xff");
    cr_assert_str_eq(err.text, "'a b?[2Jc?'");
}

Test(error, says_that_it_was_cut)
{
    struct lab_error err;
    char text[2000];

    for (size_t length = 500; length < 530; length++) {
        memset(text, 'x', length);
        text[length] = '\0';
        lab_fail(&err, EINVAL, "%s", text);
        if (length < sizeof(err.text)) {
            cr_assert_str_eq(err.text, text);
        } else {
            cr_assert_eq(strlen(err.text), sizeof(err.text) - 1);
            cr_assert_str_eq(err.text + sizeof(err.text) - 5, "x...");
        }
    }
}

Test(error, is_never_cut_inside_a_character)
{
    struct lab_error err;
    char text[2000] = "";

    for (unsigned shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        text[shift] = '\0';
        for (unsigned i = 0; i < 200; i++)
            strcat(text, "\u20ac"); /* three bytes */
        lab_fail(&err, EINVAL, "%s", text);
        cr_assert_null(strchr(err.text, '?'), "%s", err.text);
        cr_assert_eq(strncmp(err.text, text, strlen(err.text) - 3), 0);
        cr_assert_gt(strlen(err.text), sizeof(err.text) - 8);
    }
}

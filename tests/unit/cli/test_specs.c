/* Where one engine spec ends and the next begins. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>

#include "cli/specs.h"

TestSuite(specs, .timeout = 10);

struct split {
    const char text[64], first[64];
};

ParameterizedTestParameters(specs, length)
{
    static struct split splits[] = {
        {"epoll", "epoll"},
        {"epoll,io_uring", "epoll"},
        {"epoll:spin,io_uring", "epoll:spin"},
        {"epoll:spin,busy_poll=3us,io_uring:sqpoll", "epoll:spin,busy_poll=3us"},
        {"epoll:spin,busy_poll=3us", "epoll:spin,busy_poll=3us"},
        {"epoll:spin, null", "epoll:spin"},
        {"epoll:spin,all", "epoll:spin"},
        /* Without options before it, a comma always begins a spec: a typo is told as one. */
        {"epoll,epll", "epoll"},
        /* An option may be called like nothing that is known. */
        {"epoll:spin,epll", "epoll:spin,epll"},
        /* An engine's name as a value is no new spec. */
        {"fault:seed=1,over=epoll", "fault:seed=1,over=epoll"},
        {"", ""},
        {",", ""},
    };
    return cr_make_param_array(struct split, splits, sizeof(splits) / sizeof(*splits));
}

ParameterizedTest(struct split *split, specs, length)
{
    size_t length = specs_length(split->text);
    cr_assert_eq(length, strlen(split->first), "%s: %zu", split->text, length);
    cr_assert(split->text[length] == '\0' || split->text[length] == ',');
}

Test(specs, a_mistyped_engine_after_options_is_recognised)
{
    struct engine_spec spec;
    struct lab_error err;

    cr_assert_eq(specs_parse("epoll:spin,io_urng", &spec, &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "'io_uring'"), "%s", err.text);
    cr_assert_eq(specs_parse("epoll:spni", &spec, &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "'spin'"), "%s", err.text);
}

/* Engine specs: what is understood, how it is written again, and the sentences. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engines/spec.h"

TestSuite(spec, .timeout = 10);

static struct lab_error err;

static void parses(const char *text, const char *normalised)
{
    struct engine_spec spec, again;

    cr_assert_eq(engine_spec_parse(text, &spec, &err), 0, "%s: %s", text, err.text);
    cr_assert_str_eq(spec.text, normalised);
    cr_assert_eq(engine_spec_parse(spec.text, &again, &err), 0, "%s", err.text);
    cr_assert_str_eq(again.text, normalised, "its own text means the same");
    engine_spec_free(&again);
    engine_spec_free(&spec);
}

static void refuses(const char *text, const char *word)
{
    struct engine_spec spec = {.ops = NULL};

    err.text[0] = '\0';
    cr_assert_eq(engine_spec_parse(text, &spec, &err), -EINVAL, "%s", text);
    cr_assert_null(spec.ops, "untouched");
    cr_assert_not_null(strstr(err.text, word), "'%s' lacks '%s'", err.text, word);
}

Test(spec, is_normalised_to_what_differs_from_the_defaults)
{
    parses("epoll", "epoll");
    parses("blocking", "blocking");
    parses("epoll:spin", "epoll:spin");
    parses("epoll:spin=50us", "epoll:spin=50us");
    parses("epoll:loan=256k", "epoll");
    parses("epoll:spin=50us,bufs=4", "epoll:bufs=4,spin=50us");
    parses("epoll:sndbuf=4096,rcvbuf=4k", "epoll:sndbuf=4KiB,rcvbuf=4KiB");
    parses("blocking:bufs=0", "blocking");
}

Test(spec, what_is_unknown_gets_a_suggestion)
{
    refuses("eppol", "epoll");
    refuses("eppol", "did you mean");
    refuses("", "known");
    refuses("xyzzyxyzzy", "blocking, epoll");
    refuses("epoll:spinn", "spin");
    refuses("epoll:", "colon");
    refuses("epoll:spin=5", "spin");
    refuses("epoll:bufs=-1", "bufs");
    refuses("epoll:bufs=many", "bufs");
    refuses("epoll:bufs=1", "epoll: bufs: 1 is too small; it takes 2 to");
    refuses("epoll:loan=0", "loan");
    refuses("blocking:spin", "spin");
    refuses("a-name-that-is-much-longer-than-that-of-any-engine-there-will-ever-be", "unknown");
}

Test(spec, a_text_with_a_grammar_of_its_own_is_read_at_once)
{
    if (engine_find("fault") != NULL) {
        refuses("fault:over=xyz", "fault: over: unknown engine 'xyz'");
        refuses("fault:over=epol", "did you mean 'epoll'?");
        refuses("fault:over=epoll+spni", "did you mean 'spin'?");
        refuses("fault:over=fault", "cannot be wrapped");
        /* Whether it was built in is another question. */
        parses("fault:over=dpdk", "fault:over=dpdk");
    }
    if (engine_find("io_uring")->absent == NULL) {
        parses("io_uring:without=skip+extarg", "io_uring:without=skip+extarg");
        refuses("io_uring:without=foo", "io_uring: without: 'foo' is none of defertaskrun, ");
        refuses("io_uring:without=skip+bufrings", "did you mean 'bufring'?");
        refuses("io_uring:without=skip++extarg", "without: '' is none of");
    }
}

Test(spec, every_engine_of_the_registry_is_found_and_described)
{
    for (unsigned i = 0; engine_registry[i] != NULL; i++) {
        const struct engine_ops *ops = engine_registry[i];
        struct engine_spec spec;
        cr_assert_eq(engine_find(ops->name), ops);
        cr_assert_not_null(ops->help);
        int r = engine_spec_parse(ops->name, &spec, &err);
        if (ops->absent != NULL) {
            cr_assert_eq(r, -ENOSYS);
            cr_assert_eq(spec.ops, ops);
            continue;
        }
        cr_assert_eq(r, 0, "%s", err.text);
        cr_assert_str_eq(spec.text, ops->name);
        cr_assert_str_eq(ops->metrics[ENGINE_SYSTEM_CALLS].name, "system_calls");
        cr_assert_str_eq(ops->metrics[ENGINE_BUF_SHORTAGES].name, "buf_shortages");
        cr_assert_leq(metric_count(ops->metrics), ENGINE_COUNTERS_MAX);
        engine_spec_free(&spec);
    }
    cr_assert_null(engine_find("none"));
}

Test(spec, options_are_walked_with_their_values)
{
    struct engine_spec spec;
    const char *name;
    char value[OPTION_TEXT_MAX];
    unsigned index = 0;
    bool bufs = false, spin = false;

    cr_assert_eq(engine_spec_parse("epoll:bufs=4,spin=1ms", &spec, &err), 0);
    for (; engine_spec_option(&spec, index, &name, value, sizeof(value)); index++) {
        bufs = bufs || (strcmp(name, "bufs") == 0 && strcmp(value, "4") == 0);
        spin = spin || (strcmp(name, "spin") == 0 && strcmp(value, "1ms") == 0);
    }
    cr_assert(bufs && spin);
    cr_assert_geq(index, 6);
    engine_spec_free(&spec);
}

Test(spec, an_inner_spec_is_written_with_pluses)
{
    struct engine_spec inner;

    cr_assert_eq(engine_spec_parse_inner("epoll", &inner, &err), 0);
    cr_assert_str_eq(inner.text, "epoll");
    engine_spec_free(&inner);
    cr_assert_eq(engine_spec_parse_inner("epoll+bufs=4+spin=50us", &inner, &err), 0);
    cr_assert_str_eq(inner.text, "epoll:bufs=4,spin=50us");
    engine_spec_free(&inner);
    cr_assert_eq(engine_spec_parse_inner("epoll+", &inner, &err), -EINVAL);
    cr_assert_eq(engine_spec_parse_inner("epoll+bufs=1++2", &inner, &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "1+2"), "%s", err.text);
    cr_assert_eq(engine_spec_parse_inner("nothing", &inner, &err), -EINVAL);
    if (engine_find("fault") != NULL) {
        cr_assert_eq(engine_spec_parse_inner("fault", &inner, &err), -EINVAL);
        cr_assert_not_null(strstr(err.text, "wraps"));
    }
}

Test(spec, one_that_is_too_long_is_refused)
{
    char text[2048] = "epoll:";

    while (strlen(text) < 2000)
        strcat(text, "bufs=4,");
    strcat(text, "bufs=5");
    refuses(text, "epoll: bufs is given twice in 'bufs=4,bufs=4,");
    memset(text, '+', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct engine_spec inner;
    cr_assert_eq(engine_spec_parse_inner(text, &inner, &err), -EINVAL);
}

Test(spec, engines_name_links_that_there_are)
{
    for (unsigned i = 0; engine_registry[i] != NULL; i++) {
        const struct engine_ops *ops = engine_registry[i];
        for (unsigned k = 0; ops->links != NULL && ops->links[k] != NULL; k++) {
            const struct link_kind *kind = link_kind_find(ops->links[k]);
            cr_assert_not_null(kind, "%s: there is no link '%s'", ops->name, ops->links[k]);
            cr_assert_eq(engine_takes_link(ops, kind, &err), 0, "%s", err.text);
        }
    }
}

Test(spec, an_engine_says_which_links_it_takes)
{
    cr_assert_eq(engine_takes_link(engine_find("epoll"), link_kind_find("memif"), &err), -ENOTSUP);
    cr_assert_str_eq(err.text, "epoll: it does not run over memif: take --link with one of lo, "
                               "lo6, unix, veth, tap");
    cr_assert_eq(engine_takes_link(engine_find("null"), link_kind_find("lo"), &err), -ENOTSUP);
}

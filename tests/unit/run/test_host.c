/* Facts about the host that this test runs on: whatever it is, they hold together. */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "run/run.h"

TestSuite(host, .timeout = 20);

static void env_free(struct run_env *env)
{
    run_list_free(&env->facts);
}

static const char *fact(const struct run_env *env, const char *name)
{
    for (size_t i = 0; i < env->facts.count; i++)
        if (strcmp(env->facts.items[i].name, name) == 0)
            return env->facts.items[i].value;
    return NULL;
}

Test(host, facts_are_clean_and_each_is_there_once)
{
    static const char *const always[] = {
        "kernel",    "cpu",         "clocksource", "clock_way",         "congestion_control",
        "somaxconn", "tcp_mem",     "fd_limit",    "io_uring_disabled", "governor",
        "compiler",  "frequency_hz"};
    struct run_env env;

    run_env_read(&env);
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        cr_assert_not_null(fact(&env, always[i]), "%s: whether or not it can be read", always[i]);
    for (size_t i = 0; i < env.facts.count; i++) {
        cr_assert(text_is_clean(env.facts.items[i].value), "%s", env.facts.items[i].name);
        cr_assert_str_neq(env.facts.items[i].value, "not observed");
        for (size_t k = 0; k < i; k++)
            cr_assert_str_neq(env.facts.items[i].name, env.facts.items[k].name);
    }
    cr_assert_eq(strncmp(fact(&env, "kernel"), "Linux ", 6), 0);
    cr_assert_gt(atoi(fact(&env, "clock_read_ns")), 0);
    env_free(&env);
}

Test(host, the_fingerprint_stays)
{
    struct run_env first, second;
    cpu_set_t one;

    run_env_read(&first);
    cr_assert_eq(strlen(first.fingerprint), 16);
    /* Started on fewer CPUs, it is the same host still. */
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    run_env_read(&second);
    cr_assert_str_eq(first.fingerprint, second.fingerprint);
    cr_assert_eq(second.cores, 1);
    bool warned = false;
    for (size_t i = 0; i < second.warnings_count; i++)
        warned |= strcmp(second.warnings[i].id, "one-cpu") == 0;
    cr_assert(warned, "two sides on one CPU");
    env_free(&first);
    env_free(&second);
}

Test(host, a_warning_says_what_to_do)
{
    struct run_env env;

    run_env_read(&env);
    for (size_t i = 0; i < env.warnings_count; i++) {
        cr_assert_neq(env.warnings[i].id[0], '\0');
        cr_assert_neq(env.warnings[i].text[0], '\0');
        cr_assert_neq(env.warnings[i].fix[0], '\0');
    }
    env_free(&env);
}

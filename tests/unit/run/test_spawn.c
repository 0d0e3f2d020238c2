/* Children of the controller: how a prefix is split, how they are started, watched and ended. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/text.h"
#include "run/spawn.h"

TestSuite(spawn, .timeout = 30);

/* --- splitting --- */

static void expect_words(const char *text, const char *const *words)
{
    int error;
    char **got = spawn_split(text, &error);

    cr_assert_not_null(got, "%s", text);
    for (unsigned i = 0;; i++) {
        if (words[i] == NULL) {
            cr_assert_null(got[i], "%s: one word more: %s", text, got[i]);
            break;
        }
        cr_assert_not_null(got[i], "%s: '%s' is missing", text, words[i]);
        cr_assert_str_eq(got[i], words[i], "%s", text);
    }
    free(got);
}

#define EXPECT(text, ...) expect_words(text, (const char *const[]){__VA_ARGS__, NULL})

Test(spawn, words_as_a_shell_splits_them)
{
    EXPECT("ip netns exec b", "ip", "netns", "exec", "b");
    EXPECT("  a\tb\n c  ", "a", "b", "c");
    EXPECT("ssh -o 'ProxyCommand nc %h 22' host", "ssh", "-o", "ProxyCommand nc %h 22", "host");
    EXPECT("a\"b c\"d", "ab cd");
    EXPECT("'' \"\" x", "", "", "x");
    EXPECT("a\\ b \\\"", "a b", "\"");
    EXPECT("'a\\b' \"a\\\"b\"", "a\\b", "a\"b");
    EXPECT("x\\", "x\\");
    expect_words("", (const char *const[]){NULL});
    expect_words("   ", (const char *const[]){NULL});
}

Test(spawn, an_open_quote_is_refused)
{
    static const char *const texts[] = {"'", "a 'b", "\"a", "a\" b", "'a\"", "\"a\\\""};
    int error = 0;

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert_null(spawn_split(texts[i], &error), "%s", texts[i]);
        cr_assert_eq(error, -EINVAL);
    }
}

/* The block is sized from the text: the most words a text can have. */
Test(spawn, as_many_words_as_fit)
{
    enum { WORDS = 500 };
    char text[2 * WORDS + 1] = "";
    int error;

    for (unsigned i = 0; i < WORDS; i++)
        memcpy(text + 2 * i, "x ", 3);
    char **got = spawn_split(text, &error);
    for (unsigned i = 0; i < WORDS; i++)
        cr_assert_str_eq(got[i], "x");
    cr_assert_null(got[WORDS]);
    free(got);
}

/* --- starting and ending --- */

static void start(struct spawn *child, const char *via, const char *script)
{
    char *const argv[] = {"sh", "-c", (char *)script, NULL};
    struct lab_error err;

    cr_assert_eq(spawn_start(child, NULL, via, argv, &err), 0, "%s", err.text);
}

static char *describe(struct spawn *child, uint64_t wait_ns)
{
    static char text[400];

    spawn_wait(child, clock_ns() + wait_ns);
    spawn_describe(child, "now", text, sizeof(text));
    return text;
}

Test(spawn, what_is_not_there)
{
    char *const argv[] = {"/nowhere/lab", NULL};
    struct spawn child;
    struct lab_error err;

    cr_assert_eq(spawn_start(&child, NULL, NULL, argv, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "/nowhere/lab"), "%s", err.text);
    cr_assert_eq(child.pid, 0);
    spawn_end(&child, 0);
    cr_assert_eq(spawn_start(&child, NULL, "no-such-prefix -x", argv, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "no-such-prefix"), "%s", err.text);
    cr_assert_eq(spawn_start(&child, NULL, "'open", argv, &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "quote"), "%s", err.text);
}

Test(spawn, its_exit_code_and_last_words)
{
    struct spawn child;

    start(&child, NULL, "echo first >&2; echo the last word >&2; exit 3");
    cr_assert_str_eq(describe(&child, 5 * NS_PER_S),
                     "ended with exit code 3 now; last words: first|the last word");
    spawn_end(&child, 0);
}

Test(spawn, the_signal_that_ended_it)
{
    struct spawn child;

    start(&child, NULL, "kill -SEGV $$");
    cr_assert_not_null(strstr(describe(&child, 5 * NS_PER_S), "signal 11"));
    spawn_end(&child, 0);
}

/* Far more than a pipe holds: it neither hangs, nor is the end of it lost. */
Test(spawn, a_child_that_talks_a_lot)
{
    struct spawn child;

    start(&child, NULL,
          "i=0; while [ $i -lt 4000 ]; do echo \"line $i of a long story, that nobody reads\"; "
          "i=$((i+1)); done >&2; printf 'the end\\n' >&2; exit 1");
    const char *text = describe(&child, 20 * NS_PER_S);
    cr_assert_not_null(strstr(text, "|line 3999 of a long story, that nobody reads|the end"), "%s",
                       text);
    spawn_end(&child, 0);
}

Test(spawn, words_that_would_drive_a_terminal)
{
    struct spawn child;

    start(&child, NULL, "printf 'a\\033[2Jb\\tc\\377d \\303\\251\\n' >&2");
    const char *text = describe(&child, 5 * NS_PER_S);
    cr_assert(text_is_clean(text), "%s", text);
    cr_assert_not_null(strstr(text, "\303\251"), "%s", text);
    spawn_end(&child, 0);
}

/* Cut to the room there is, also inside of a character. */
Test(spawn, a_description_in_little_room)
{
    struct spawn child;
    char text[64];

    start(&child, NULL,
          "printf '\\303\\251\\303\\251\\303\\251\\303\\251\\303\\251\\303\\251\\303\\251' >&2");
    spawn_wait(&child, clock_ns() + 5 * NS_PER_S);
    for (size_t room = 1; room <= sizeof(text); room++) {
        memset(text, 'x', sizeof(text));
        spawn_describe(&child, "now", text, room);
        cr_assert_lt(strlen(text), room);
        cr_assert(text_is_clean(text), "%zu: %s", room, text);
    }
    spawn_end(&child, 0);
}

Test(spawn, one_that_reads_ends_with_its_channel)
{
    struct spawn child;

    start(&child, NULL, "exec cat");
    pid_t pid = child.pid;
    uint64_t began_ns = clock_ns();
    spawn_end(&child, 5 * NS_PER_S);
    cr_assert_lt(clock_ns() - began_ns, 4 * NS_PER_S, "nobody had to be told twice");
    cr_assert(kill(pid, 0) < 0 && errno == ESRCH);
    spawn_end(&child, 0);
}

Test(spawn, one_that_does_not_listen_is_killed)
{
    struct spawn child;

    start(&child, NULL, "trap '' TERM; while :; do sleep 0.05; done");
    pid_t pid = child.pid;
    spawn_end(&child, 50 * NS_PER_MS);
    cr_assert(kill(pid, 0) < 0 && errno == ESRCH);
}

/* What a prefix has started goes with it, although it is no child of ours. */
Test(spawn, its_own_children_go_too)
{
    struct spawn child;
    char piece[64] = "";

    start(&child, "env X=1", "sleep 60 & echo $! ; wait");
    cr_assert_gt(read(child.channel.in, piece, sizeof(piece) - 1), 0);
    pid_t grandchild = (pid_t)atoi(piece);
    cr_assert_eq(kill(grandchild, 0), 0);
    spawn_end(&child, 50 * NS_PER_MS);
    bool there = true;
    for (unsigned i = 0; i < 100 && there; i++) {
        char path[64], state = '?';
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)grandchild);
        FILE *file = fopen(path, "r");
        there = file != NULL && fscanf(file, "%*d %*s %c", &state) == 1 && state != 'Z';
        if (file != NULL)
            fclose(file);
        usleep(20000);
    }
    cr_assert(!there, "process %d lives on", (int)grandchild);
}

/* ^C on the terminal is the controller's affair. */
Test(spawn, it_is_in_a_group_of_its_own)
{
    struct spawn child;

    start(&child, NULL, "exec cat");
    cr_assert_eq(getpgid(child.pid), child.pid);
    cr_assert_neq(getpgid(child.pid), getpgid(0));
    spawn_end(&child, 5 * NS_PER_S);
}

/* Signals that the controller blocks are not blocked in its children. */
Test(spawn, it_can_be_ended_by_signals)
{
    struct spawn child;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    start(&child, NULL, "exec sleep 60");
    kill(child.pid, SIGTERM);
    cr_assert_not_null(strstr(describe(&child, 5 * NS_PER_S), "signal 15"));
    spawn_end(&child, 0);
}

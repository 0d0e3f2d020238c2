/*
 * A side of a trial that measures nothing, in the place of lab: it is started as `lab serve HOW` or
 * `lab drive HOW`, behaves well on the side that HOW does not name, and on the other one as HOW
 * says: server-dies, client-garbage, ... As `fake_child memory` it only writes how much it has.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/hist.h"
#include "core/metric.h"
#include "run/child.h"
#include "run/snapshot.h"

static const char *how = "";

static bool is(const char *trouble)
{
    return strcmp(how, trouble) == 0;
}

static void say_ready(void *context, Lab__Ready *ready)
{
    bool server = *(bool *)context;

    if (is("garbage")) {
        if (write(STDERR_FILENO, "hm\n", 3) < 0)
            exit(9);
        child_note("fine so far");
    }
    if (server)
        record_add_address(ready, "127.0.0.1:1");
    if (is("odd-address"))
        ready->addresses[0][0] = '\033'; /* lab itself would not send that */
    ready->wait = record_text("sleep");
    if (is("old"))
        ready->version = RECORD_VERSION + 1;
    if (is("dies-early")) {
        fputs("cannot go on: no more paper\n", stderr);
        exit(3);
    }
    if (is("dies-once-ready"))
        ualarm(100000, 0);
    if (is("refuses")) {
        child_fail(2, "127.0.0.1:1 is taken: choose another");
        exit(2);
    }
    if (is("cannot")) {
        child_fail(77, "this engine needs what is not here");
        exit(77);
    }
    if (is("breaks")) {
        child_fail(4, "the disk\nis full");
        exit(4);
    }
}

static void window(void *context, uint64_t start_ns, uint64_t t0_ns, uint64_t t1_ns)
{
    uint64_t at_ns = is("dies-in-warmup")   ? start_ns + (t0_ns - start_ns) / 2
                     : is("dies-in-window") ? t0_ns + NS_PER_MS
                                            : 0;

    if (at_ns == 0 && !is("dies-before-window"))
        return;
    while (clock_ns() < at_ns)
        usleep(100);
    raise(SIGKILL);
}

static void sample(void *context, unsigned index, uint64_t now_ns)
{
}

static int wait_finished(void *context, uint64_t timeout_ns, uint64_t *t0_ns, uint64_t *t1_ns)
{
    *t0_ns = clock_ns();
    *t1_ns = *t0_ns + 2 * NS_PER_MS;
    usleep(2000);
    return 0;
}

static void finish(void *context, Lab__Record *record)
{
    static const struct metric_def latency = {"latency_ns", "ns",     METRIC_HISTOGRAM, METRIC_LESS,
                                              "client",     "client", "of an op"};
    struct hist *h = hist_new();

    if (is("dies-late"))
        exit(5);
    for (unsigned i = 0; i < 1000; i++)
        hist_record(h, 100000 + i);
    record->ops = 1000;
    record->bytes = 64000;
    record_add_histogram(record, &latency, h);
    record_add_error(record, "timeout", 1, "it took too long");
    record_add_slice(record, 1000000, 1000, 64000);
    if (is("bad-record"))
        record->metrics[0]->count = 7;
    if (is("empty-record"))
        record->version = 0;
    hist_free(h);
}

static int say_memory(void)
{
    struct snapshot now;

    snapshot_take(&now);
    unsigned long long bytes = snapshot_process(&now, &now)->rss_bytes_max;
    return write(STDOUT_FILENO, &bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) ? 0 : 9;
}

int main(int argc, char **argv)
{
    bool server = argc > 1 && strcmp(argv[1], "serve") == 0;
    const char *side = server ? "server-" : "client-", *word = argc > 2 ? argv[2] : "";
    struct child_side me = {
        .name = server ? "server" : "client",
        .context = &server,
        .ready = say_ready,
        .window = window,
        .sample = sample,
        .wait_finished = server ? NULL : wait_finished,
        .finish = finish,
    };
    struct lab_error err;

    if (argc == 2 && strcmp(argv[1], "memory") == 0)
        return say_memory();
    if (!server && strcmp(word, "server-dies-once-ready") == 0)
        sleep(1); /* the server has gone by then */
    if (strncmp(word, side, strlen(side)) == 0)
        how = word + strlen(side);
    if (is("banner") && write(STDOUT_FILENO, "Welcome! You have mail.\n", 24) < 0)
        return 9;
    if (child_channel_take(&err) < 0)
        return 9;
    signal(SIGPIPE, SIG_IGN);
    child_prepare();
    return child_run(&me, 0);
}

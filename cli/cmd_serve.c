/*
 * `lab serve WORKLOAD`: one server process. Typed by a person it says `listening on ADDR` and
 * serves until SIGTERM, SIGINT or SIGHUP; started by a controller it takes part in a trial.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/names.h"
#include "cli/side.h"
#include "core/clock.h"
#include "run/child.h"
#include "run/signals.h"
#include "server/serve.h"

/* What is under way when SIGTERM comes may still go out. */
#define SERVE_DRAIN_NS       (2 * NS_PER_S)
#define SERVE_DRAIN_CHILD_NS (200 * NS_PER_MS)

struct listen_options {
    char listen[OPTION_TEXT_MAX];
};

static const struct option_def listen_options[] = {
    {.name = "listen",
     .letter = 'l',
     .type = OPTION_TEXT,
     .offset = offsetof(struct listen_options, listen),
     .argument = "ADDR",
     .help = "HOST:PORT, [HOST]:PORT, [HOST%eth0]:PORT, unix:PATH or unix:@NAME; :PORT is "
             "127.0.0.1 only, "
             "0.0.0.0:PORT all of this host's addresses; default: where the link says (127.0.0.1), "
             "at the workload's port",
     .group = "Server"},
    {0},
};

struct serve_side {
    struct side side; /* first */
    struct server *server;
};

static void serve_ready(void *context, Lab__Ready *ready)
{
    struct serve_side *serve = context;
    server_describe(serve->server, ready);
    side_settings(&serve->side, ready);
}

/* A server serves from the start: the window concerns its samples only. */
static void serve_window(void *context, uint64_t start_ns, uint64_t t0_ns, uint64_t t1_ns)
{
}

static void serve_sample(void *context, unsigned index, uint64_t now_ns)
{
    struct serve_side *serve = context;
    server_sample(serve->server, index);
}

static void serve_finish(void *context, Lab__Record *record)
{
    struct serve_side *serve = context;
    server_record(serve->server, record);
}

static int serve_for_controller(struct serve_side *serve)
{
    const struct child_side side = {
        .name = "server",
        .context = serve,
        .ready = serve_ready,
        .window = serve_window,
        .sample = serve_sample,
        .finish = serve_finish,
        .failed_fd = server_failed_fd(serve->server),
    };
    int exit_code = child_run(&side, (unsigned)serve->side.options.index);
    server_stop(serve->server, SERVE_DRAIN_CHILD_NS); /* what was measured has been told by now */
    return exit_code;
}

/* What was counted since it began, on stderr. */
static void serve_say_counts(struct server *server)
{
    Lab__Record *record = calloc(1, sizeof(*record));

    if (record == NULL)
        return;
    lab__record__init(record);
    server_sample(server, CHILD_SLICES);
    server_record(server, record);
    for (size_t i = 0; i < record->n_metrics; i++) {
        const Lab__Metric *metric = record->metrics[i];
        if (metric->observed && metric->value > 0)
            fprintf(stderr, "lab: %s %.0f%s%s\n", metric->name, metric->value,
                    metric->unit[0] != '\0' ? " " : "", metric->unit);
    }
    lab__record__free_unpacked(record, NULL);
}

/* Serves until it is told to end, or until an engine fails: who looks on has been told of that. */
static int serve_for_person(struct serve_side *serve)
{
    char text[ADDR_TEXT_MAX];
    sigset_t signals;

    signals_of_end(&signals);
    struct pollfd ends[] = {{.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN},
                            {.fd = server_failed_fd(serve->server), .events = POLLIN}};
    if (ends[0].fd < 0) {
        int exit_code = cli_fail(CLI_FAILED, "cannot wait for signals: %s", strerror(errno));
        server_stop(serve->server, 0);
        return exit_code;
    }
    server_sample(serve->server, 0);
    printf("listening on %s\n", addr_format(server_address(serve->server), text));
    fflush(stdout);
    while (poll(ends, 2, -1) < 0)
        ;
    if (serve->side.options.verbose)
        serve_say_counts(serve->server);
    bool well = server_stop(serve->server, SERVE_DRAIN_NS);
    close(ends[0].fd);
    return well ? CLI_OK : CLI_FAILED;
}

static int serve_exit_code(int err)
{
    switch (err) {
    case -EADDRINUSE:
    case -EADDRNOTAVAIL:
    case -EACCES:
    case -EINVAL:
    case -EAFNOSUPPORT:
    case -ENAMETOOLONG:
    case -ENODATA:
    case -ENOTDIR:
    case -ENOENT: return CLI_USAGE;
    default: return CLI_FAILED;
    }
}

/* What was typed; else where its link has a server listen. */
static int serve_address(const struct serve_side *serve, const struct server_workload *workload,
                         const char *typed, struct addr *out, struct lab_error *err)
{
    char text[ADDR_TEXT_MAX] = "127.0.0.1";

    if (typed[0] == '\0' && serve->side.link != NULL)
        link_listen(serve->side.link, workload->name, workload->port, text);
    return addr_parse(typed[0] != '\0' ? typed : text, workload->port, "--listen", out, err);
}

static int serve_start(struct serve_side *serve, const struct server_workload *workload,
                       const struct args *args)
{
    struct listen_options listen = {0};
    struct server_config config = {.spec = &serve->side.spec, .workload = workload};
    struct lab_error err;

    void *workload_options = calloc(1, workload->options_size);
    if (workload_options == NULL)
        return side_fail(&serve->side, CLI_FAILED, "no memory for the options");
    const struct args_target targets[] = {
        {side_options, &serve->side.options},
        {listen_options, &listen},
        {serve_options, &config.options},
        {workload->options, workload_options},
    };
    int exit_code = CLI_USAGE;
    config.workload_options = workload_options;
    if (args_fill(args, targets, 4, workload->name, &err) < 0 ||
        (workload->check != NULL && workload->check(workload_options, &err) < 0)) {
        exit_code = side_fail(&serve->side, CLI_USAGE, err.text);
        goto out;
    }
    exit_code = side_prepare(&serve->side, LINK_SERVER);
    if (exit_code != CLI_OK)
        goto out;
    if (serve_address(serve, workload, listen.listen, &config.listen, &err) < 0) {
        exit_code = side_fail(&serve->side, CLI_USAGE, err.text);
        goto out;
    }
    config.link = serve->side.link;
    config.verbose = serve->side.options.verbose;
    /* Who serves by hand may want to see by ss or lsof whose sockets they are. */
    config.apart = child_has_channel();
    config.cc = serve->side.options.cc[0] != '\0' ? serve->side.options.cc : NULL;
    int r = server_start(&serve->server, &config, &err);
    if (r < 0) {
        exit_code = side_fail(&serve->side, serve_exit_code(r), err.text);
    } else {
        side_note(server_note(serve->server));
        serve->side.privileged |= side_has_file(server_address(serve->server));
        exit_code = side_drop_rights(&serve->side);
        if (exit_code != CLI_OK)
            server_stop(serve->server, 0);
        else if (child_has_channel())
            exit_code = serve_for_controller(serve);
        else
            exit_code = serve_for_person(serve);
    }
out:
    free(workload_options);
    side_end(&serve->side);
    return exit_code;
}

static const char *serve_workload_at(unsigned index)
{
    return server_workloads[index] != NULL ? server_workloads[index]->name : NULL;
}

/* What is wrong with the words that were to name one workload, into text; returns text. */
static const char *serve_trouble(const struct args *args, char *text, size_t text_size)
{
    char known[160];

    if (args->words_count == 1)
        return names_unknown("workload", args->words[0], serve_workload_at, text, text_size);
    snprintf(text, text_size, "lab serve takes one workload: %s",
             names_list(serve_workload_at, known, sizeof(known)));
    return text;
}

static int serve_main(const struct command *self, int argc, char **argv)
{
    struct serve_side serve = {0};
    struct args args;
    struct lab_error err;
    char text[sizeof(err.text)];
    int exit_code;

    if (args_parse(self, argc, argv, &args, &err) < 0) {
        exit_code = cli_fail(CLI_USAGE, "%s", err.text);
    } else if (args.help) {
        args_help(self, stdout);
        exit_code = CLI_OK;
    } else if ((exit_code = side_begin(&serve.side, self, &args)) == CLI_OK) {
        const struct server_workload *workload =
            args.words_count == 1 ? server_workload_find(args.words[0]) : NULL;
        if (workload != NULL && workload->absent != NULL) {
            snprintf(text, sizeof(text), "%s: %s", workload->name, workload->absent);
            exit_code = side_fail(&serve.side, CLI_UNAVAILABLE, text);
        } else if (workload != NULL) {
            exit_code = serve_start(&serve, workload, &args);
        } else {
            exit_code = side_fail(&serve.side, CLI_USAGE, serve_trouble(&args, text, sizeof(text)));
        }
    }
    args_free(&args);
    return exit_code;
}

static void serve_tables(const struct option_def **tables)
{
    unsigned count = 0;
    tables[count++] = side_options;
    tables[count++] = listen_options;
    tables[count++] = serve_options;
    for (unsigned i = 0; server_workloads[i] != NULL && count + 1 < CLI_TABLES_MAX; i++)
        tables[count++] = server_workloads[i]->options;
    tables[count] = NULL;
}

const struct command command_serve = {
    .name = "serve",
    .words = "WORKLOAD",
    .help = "serve a workload to whoever asks, until SIGTERM",
    .tables = serve_tables,
    .main = serve_main,
};

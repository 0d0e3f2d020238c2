/*
 * `lab drive WORKLOAD`: one client process of a trial. Only a controller starts it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/side.h"
#include "client/load.h"
#include "run/child.h"
#include "server/serve.h"

#define DRIVE_ADDRESSES_MAX 64

struct drive_options {
    char connect[4 * OPTION_TEXT_MAX], server_name[OPTION_TEXT_MAX];
    uint64_t seed, processes;
    bool both_sides;
};

static int set_connect(void *options, const char *value, struct lab_error *err)
{
    struct drive_options *drive = options;
    if (strlen(value) >= sizeof(drive->connect))
        return lab_fail(err, EINVAL, "--connect: the list of addresses is too long");
    strcpy(drive->connect, value);
    return 0;
}

static const struct option_def drive_options[] = {
    {.name = "connect",
     .type = OPTION_CUSTOM,
     .argument = "ADDR[,ADDR...]",
     .help = "where the servers listen",
     .set = set_connect,
     .group = "Process"},
    {.name = "server-name",
     .type = OPTION_TEXT,
     .offset = offsetof(struct drive_options, server_name),
     .fallback = "",
     .argument = "HOST:PORT",
     .help = "what the server is called, where that is not its address",
     .group = "Process"},
    {.name = "seed",
     .type = OPTION_COUNT,
     .offset = offsetof(struct drive_options, seed),
     .fallback = "1",
     .argument = "N",
     .help = "for schedules and choices",
     .group = "Process"},
    {.name = "processes",
     .type = OPTION_COUNT,
     .offset = offsetof(struct drive_options, processes),
     .fallback = "1",
     .min = 1,
     .max = 65536,
     .argument = "N",
     .help = "how many client processes share the work",
     .group = "Process"},
    {.name = "both-sides",
     .type = OPTION_FLAG,
     .offset = offsetof(struct drive_options, both_sides),
     .fallback = "no",
     .help = "play the server too, upon the same engine instance",
     .group = "Process"},
    {0},
};

struct drive_side {
    struct side side; /* first */
    struct drive_options options;
    struct server_config server; /* --both-sides */
    struct load *load;
};

static void drive_ready(void *context, Lab__Ready *ready)
{
    struct drive_side *drive = context;
    load_describe(drive->load, ready);
    side_settings(&drive->side, ready);
}

static void drive_window(void *context, uint64_t start_ns, uint64_t t0_ns, uint64_t t1_ns)
{
    struct drive_side *drive = context;
    load_window(drive->load, start_ns, t0_ns, t1_ns);
}

static void drive_sample(void *context, unsigned index, uint64_t now_ns)
{
    struct drive_side *drive = context;
    load_sample(drive->load, index, now_ns);
}

static int drive_wait(void *context, uint64_t timeout_ns, uint64_t *t0_ns, uint64_t *t1_ns)
{
    struct drive_side *drive = context;
    return load_wait(drive->load, timeout_ns, t0_ns, t1_ns);
}

static void drive_finish(void *context, Lab__Record *record)
{
    struct drive_side *drive = context;
    load_finish(drive->load, record);
}

static int other_side_open(void *context, struct engine *engine, void **side, struct addr *address,
                           struct lab_error *err)
{
    struct drive_side *drive = context;
    struct server *server = NULL;

    int r = server_join(&server, &drive->server, engine, err);
    if (r < 0)
        return r;
    side_note(server_note(server));
    *address = *server_address(server);
    *side = server;
    return 0;
}

static void other_side_close(void *context, void *side)
{
    server_stop(side, 0);
}

static int drive_addresses(struct drive_side *drive, struct addr *addresses, unsigned *count)
{
    struct lab_error err;
    char *rest = drive->options.connect, *word;

    *count = 0;
    while ((word = strsep(&rest, ",")) != NULL && *word != '\0') {
        if (*count == DRIVE_ADDRESSES_MAX)
            return side_fail(&drive->side, CLI_USAGE, "--connect: at most 64 addresses");
        if (addr_parse(word, 0, "--connect", &addresses[*count], &err) < 0)
            return side_fail(&drive->side, CLI_USAGE, err.text);
        ++*count;
    }
    if (*count == 0 && !drive->options.both_sides)
        return side_fail(&drive->side, CLI_USAGE, "lab drive needs --connect ADDR");
    return CLI_OK;
}

static int drive_for_controller(struct drive_side *drive, const struct load_config *config)
{
    const struct child_side side = {
        .name = drive->options.both_sides ? "both" : "client",
        .context = drive,
        .ready = drive_ready,
        .window = drive_window,
        .sample = drive_sample,
        .wait_finished = drive_wait,
        .finish = drive_finish,
    };
    struct lab_error err;

    int r = load_start(&drive->load, config, &err);
    if (r < 0)
        return side_fail(&drive->side, r == -EINVAL ? CLI_USAGE : CLI_FAILED, err.text);
    for (unsigned i = 0; i < config->addresses_count; i++)
        drive->side.privileged |= side_has_file(&config->addresses[i]);
    int exit_code = side_drop_rights(&drive->side);
    if (exit_code == CLI_OK)
        exit_code = child_run(&side, config->index);
    load_free(drive->load);
    return exit_code;
}

static int drive_start(struct drive_side *drive, const struct client_workload *workload,
                       const struct server_workload *other, const struct args *args)
{
    struct addr addresses[DRIVE_ADDRESSES_MAX];
    struct load_config config = {.spec = &drive->side.spec, .workload = workload};
    const struct load_other_side other_side = {drive, other_side_open, other_side_close};
    struct lab_error err;
    int exit_code;

    void *options = calloc(1, workload->options_size);
    void *other_options = calloc(1, other->options_size);
    if (options == NULL || other_options == NULL) {
        exit_code = side_fail(&drive->side, CLI_FAILED, "no memory for the options");
        goto out;
    }
    const struct args_target targets[] = {
        {side_options, &drive->side.options},    {drive_options, &drive->options},
        {load_options, &config.options},         {workload->options, options},
        {serve_options, &drive->server.options}, {other->options, other_options},
    };
    if (args_fill(args, targets, 6, workload->name, &err) < 0) {
        exit_code = side_fail(&drive->side, CLI_USAGE, err.text);
        goto out;
    }
    if ((exit_code = drive_addresses(drive, addresses, &config.addresses_count)) != CLI_OK ||
        (exit_code = side_prepare(&drive->side, LINK_CLIENT)) != CLI_OK)
        goto out;
    config.workload_options = options;
    config.addresses = addresses;
    config.server_name = drive->options.server_name[0] != '\0' ? drive->options.server_name : NULL;
    config.link = drive->side.link;
    config.verbose = drive->side.options.verbose;
    config.apart = true;
    config.cc = drive->side.options.cc[0] != '\0' ? drive->side.options.cc : NULL;
    config.seed = drive->options.seed;
    config.index = (unsigned)drive->side.options.index;
    config.processes = (unsigned)drive->options.processes;
    if (drive->options.both_sides) {
        config.other_side = &other_side;
        drive->server.link = drive->side.link;
        drive->server.spec = &drive->side.spec;
        drive->server.workload = other;
        drive->server.workload_options = other_options;
        addr_parse("127.0.0.1", other->port, "", &drive->server.listen, NULL);
    }
    exit_code = drive_for_controller(drive, &config);
out:
    free(options);
    free(other_options);
    side_end(&drive->side);
    return exit_code;
}

static int drive_main(const struct command *self, int argc, char **argv)
{
    struct drive_side drive = {0};
    struct args args;
    struct lab_error err;
    int exit_code;

    if (args_parse(self, argc, argv, &args, &err) < 0) {
        exit_code = cli_fail(CLI_USAGE, "%s", err.text);
    } else if (args.help) {
        args_help(self, stdout);
        exit_code = CLI_OK;
    } else if ((exit_code = side_begin(&drive.side, self, &args)) == CLI_OK) {
        const char *name = args.words_count == 1 ? args.words[0] : "";
        const struct client_workload *workload = client_workload_find(name);
        const struct server_workload *other = server_workload_find(name);
        if (!child_has_channel())
            exit_code = cli_fail(CLI_USAGE, "lab drive is a part of lab run, which starts it with "
                                            "--control: type lab run");
        else if (workload == NULL || other == NULL)
            exit_code = side_fail(&drive.side, CLI_USAGE, "lab drive takes one workload");
        else
            exit_code = drive_start(&drive, workload, other, &args);
    }
    args_free(&args);
    return exit_code;
}

static void drive_tables(const struct option_def **tables)
{
    unsigned count = 0;
    tables[count++] = side_options;
    tables[count++] = drive_options;
    tables[count++] = load_options;
    tables[count++] = serve_options;
    for (unsigned i = 0; client_workloads[i] != NULL && count + 1 < CLI_TABLES_MAX; i++)
        tables[count++] = client_workloads[i]->options;
    for (unsigned i = 0; server_workloads[i] != NULL && count + 1 < CLI_TABLES_MAX; i++)
        tables[count++] = server_workloads[i]->options;
    tables[count] = NULL;
}

const struct command command_drive = {
    .name = "drive",
    .words = "WORKLOAD",
    .help = "one client process of a trial",
    .hidden = true,
    .tables = drive_tables,
    .main = drive_main,
};

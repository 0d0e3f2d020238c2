/*
 * `lab run`: plans the cases, has the controller run them, and shows what came of it. Everything
 * that was typed is checked before anything is started.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cases.h"
#include "cli/cli.h"
#include "cli/job.h"
#include "cli/json.h"
#include "cli/preflight.h"
#include "cli/progress.h"
#include "cli/run_options.h"
#include "cli/specs.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/whole_file.h"
#include "client/load.h"
#include "run/run.h"

struct run_command {
    struct args args;
    struct job job;
    bool has_job;
    struct run_options options;
    struct run_result result;
    struct whole_file json;
};

static void *run_memory(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static char *run_text(const char *text)
{
    return text[0] == '\0' ? NULL : run_memory(strdup(text));
}

/* The children are this very binary, wherever it lies. */
static char *run_self(void)
{
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (size <= 0)
        return run_memory(strdup("lab"));
    path[size] = '\0';
    return run_memory(strdup(path));
}

static uint64_t run_seed(uint64_t asked)
{
    uint32_t seed = 0;

    if (asked != UINT64_MAX)
        return asked;
    /* Short enough to be typed again; without entropy the process id is better than a constant. */
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = (uint32_t)getpid();
    return seed;
}

/* The reference has to be one of the engines that are measured. */
static int run_reference(struct run_command *command, struct lab_error *err)
{
    struct engine_spec spec = {0};
    const struct run_result *result = &command->result;
    int r = CLI_USAGE;

    if (command->options.reference[0] == '\0')
        return CLI_OK;
    struct lab_error why;
    int parsed = specs_parse(command->options.reference, &spec, &why);
    for (size_t i = 0; i < result->cases_count && parsed == 0; i++)
        if (strcmp(result->cases[i].client_spec, spec.text) == 0)
            r = CLI_OK;
    if (r == CLI_OK)
        command->result.settings.reference_spec = run_text(spec.text);
    else if (parsed < 0)
        lab_fail(err, EINVAL, "--reference: %s", why.text);
    else
        lab_fail(err, EINVAL, "--reference %s is not measured: name it with --engine too",
                 command->options.reference);
    engine_spec_free(&spec);
    return r;
}

static void run_settings_fill(struct run_command *command)
{
    const struct run_options *options = &command->options;
    struct run_settings *settings = &command->result.settings;

    settings->lab_path = run_self();
    settings->rounds = (unsigned)options->trials;
    settings->seed = run_seed(options->seed);
    settings->pin = options->pin != 0;
    settings->server_cpus = run_text(options->server_cpus);
    settings->client_cpus = run_text(options->client_cpus);
    settings->server_via = run_text(options->server_via);
    settings->max_errors = options->max_errors;
    settings->verbose = options->verbose;
    if (options->client_via.count > 0)
        settings->client_via = run_memory(calloc(options->client_via.count + 1, sizeof(char *)));
    for (size_t i = 0; i < options->client_via.count; i++)
        settings->client_via[i] = run_memory(strdup(options->client_via.items[i].value));
    for (size_t i = 0; i < options->labels.count; i++)
        run_list_add(&settings->labels, options->labels.items[i].name,
                     options->labels.items[i].value);
}

/* An op may be waited for that long after the window: the longest of the cases counts. */
static void run_timeout_fill(struct run_command *command)
{
    const struct option_def *def = option_find(load_options, "timeout");
    struct load_options load = {0};

    for (size_t i = 0; i < command->result.cases_count; i++) {
        const struct run_list *params = &command->result.cases[i].params;
        for (size_t k = 0; k < params->count; k++)
            if (strcmp(params->items[k].name, "timeout") == 0 &&
                option_set(def, &load, params->items[k].value, "--", NULL) == 0 &&
                load.timeout_ns > command->result.settings.timeout_ns)
                command->result.settings.timeout_ns = load.timeout_ns;
    }
}

/* What can be told once all cases are known. */
static int run_check_plan(struct run_command *command, struct lab_error *err)
{
    int r = run_reference(command, err);

    if (r == CLI_OK)
        r = preflight_started(&command->result, &command->options, err);
    if (r == CLI_OK)
        r = preflight_clients(&command->result, &command->options, err);
    if (r == CLI_OK)
        r = preflight_servers(&command->result, command->options.client_via.count > 0, err);
    if (r == CLI_OK && command->options.server_via[0] == '\0')
        r = preflight_listen(&command->result, err);
    return r;
}

/* A sentence about an option says where the job file has it. */
static int run_blamed(const struct run_command *command, int exit_code, struct lab_error *err)
{
    if (exit_code != CLI_OK && command->has_job)
        cases_blame(&command->args, &command->job, NULL, err);
    return exit_code;
}

/* From argv to a plan that can be run. */
static int run_prepare(struct run_command *command, struct lab_error *err)
{
    const char *job = args_value(&command->args, "job", NULL);
    int r = CLI_OK;

    if (job != NULL) {
        if (job_read(job, &command->job, err) < 0)
            return CLI_USAGE;
        command->has_job = true;
    }
    const struct job *file = command->has_job ? &command->job : NULL;
    r = cases_run_options(&command->args, file, &command->options, err);
    if (r == CLI_OK)
        r = run_blamed(command, preflight_run(&command->options, err), err);
    if (r == CLI_OK)
        run_settings_fill(command);
    if (r == CLI_OK)
        r = cases_plan(&command->args, file, &command->options, &command->result, err);
    if (r == CLI_OK)
        r = run_blamed(command, run_check_plan(command, err), err);
    if (r == CLI_OK)
        run_timeout_fill(command);
    if (r == CLI_OK && command->options.json[0] != '\0' &&
        whole_file_open(&command->json, command->options.json, err) < 0)
        r = CLI_USAGE;
    return r;
}

/* Worst first; an interruption and a failure are said before what was measured is judged. */
static int run_exit_code(const struct run_command *command)
{
    const struct run_result *result = &command->result;
    bool failed = false, refused = false, cannot = false, errors = false, doubt = false,
         ran = false;

    for (size_t i = 0; i < result->cases_count; i++) {
        const struct run_case *c = &result->cases[i];
        failed |= c->status == RUN_FAILED && !c->refused;
        refused |= c->refused;
        ran |= c->status == RUN_RAN;
        /* Found out by a child, on another host perhaps: what was to be skipped is. */
        cannot |= c->status == RUN_CANNOT_RUN && c->trials_count > 0 && !c->of_all &&
                  !command->options.skip_unavailable;
        for (size_t t = 0; t < c->trials_count; t++) {
            const struct run_trial *trial = &c->trials[t];
            failed |= trial->failed && c->status != RUN_CANNOT_RUN && !c->refused;
            errors |= trial->errors > command->options.max_errors;
            doubt |= trial->verdicts_count > 0;
        }
    }
    if (failed)
        return CLI_FAILED;
    if (refused)
        return CLI_USAGE;
    if (cannot || !ran)
        return CLI_UNAVAILABLE;
    if (errors)
        return CLI_BAD;
    return doubt && command->options.strict ? CLI_DOUBT : CLI_OK;
}

static int run_keep(struct run_command *command)
{
    struct lab_error err;

    if (command->json.stream == NULL)
        return CLI_OK;
    int r = json_write(&command->result, command->options.json_compact, command->json.stream);
    if (r < 0) {
        whole_file_drop(&command->json);
        whole_file_fail(command->options.json, -r, &err);
        return cli_fail(CLI_FAILED, "%s", err.text);
    }
    if (whole_file_keep(&command->json, &err) < 0)
        return cli_fail(CLI_FAILED, "%s", err.text);
    return CLI_OK;
}

static void run_show(const struct run_command *command)
{
    const struct run_result *result = &command->result;
    const struct table_style style = {.width = term_columns(stdout), .colour = term_colour(stdout)};

    if (strcmp(command->options.json, "-") == 0)
        return;
    table_print_host(result, stdout, style.width);
    fputc('\n', stdout);
    if (command->options.verbose)
        table_print_settings(result, stdout, style.width);
    table_print(result, stdout, &style);
}

static int run_execute_plan(struct run_command *command)
{
    struct progress progress;
    struct lab_error err = {0};
    const struct run_options *options = &command->options;
    const struct run_observer observer =
        progress_begin(&progress, &command->result, options->quiet, options->verbose);

    int r = run_execute(&command->result, &observer, &err);
    progress_end(&progress);
    if (r < 0 && r != -EINTR)
        return cli_fail(CLI_FAILED, "%s", err.text);
    /* The file first: who reads the table may be gone, and SIGPIPE ends this process then. */
    int kept = run_keep(command);
    run_show(command);
    if (r == -EINTR)
        return cli_fail(CLI_INTERRUPTED,
                        "interrupted after %u of %u rounds: what was finished "
                        "is shown",
                        command->result.rounds_done, command->result.settings.rounds);
    int exit_code = run_exit_code(command);
    return kept != CLI_OK ? kept : exit_code;
}

static int run_main(const struct command *self, int argc, char **argv)
{
    struct run_command command = {0};
    struct lab_error err = {0};
    int exit_code;

    run_list_add(&command.result.argv, "", "lab");
    for (int i = 0; i < argc; i++)
        run_list_add(&command.result.argv, "", argv[i]);
    if (args_parse(self, argc, argv, &command.args, &err) < 0) {
        exit_code = cli_fail(CLI_USAGE, "%s", err.text);
    } else if (command.args.help) {
        args_help(self, stdout);
        exit_code = CLI_OK;
    } else {
        exit_code = run_prepare(&command, &err);
        exit_code =
            exit_code != CLI_OK ? cli_fail(exit_code, "%s", err.text) : run_execute_plan(&command);
    }
    whole_file_drop(&command.json);
    run_result_free(&command.result);
    run_options_free(&command.options);
    job_free(&command.job);
    args_free(&command.args);
    return exit_code;
}

const struct command command_run = {
    .name = "run",
    .words = "[WORKLOAD [HOST:PORT]]",
    .help = "measure workloads over engines side by side",
    .about =
        "Without a workload all of them are run, without --engine every engine that can run here. "
        "Options of a case take lists: -c 1,32,128 --size 64,1KiB measures every combination.\n\n"
        "Sizes: k = KiB = 1024, kB = 1000. Counts and rates: k = 1000. Times: ns us ms s m h; "
        "a bare number is seconds; an engine's options need the unit.\n\n"
        "Exit code: 0 done; 1 more errors than --max-errors; 2 usage; "
        "3 --strict and a verdict other than valid; 4 lab or this host failed; 77 an engine "
        "cannot run here; 130 interrupted.",
    .tables = cases_tables,
    .main = run_main,
};

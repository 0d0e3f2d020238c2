/* From words and job files to cases: layers, lists, engines, and what is refused. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cases.h"
#include "cli/cli.h"
#include "cli/facts.h"

TestSuite(cases, .timeout = 20);

static const struct command command = {
    .name = "run", .words = "", .help = "be tested", .tables = cases_tables};

#define WORDS_MAX 32

struct plan {
    struct run_result result;
    struct run_options options;
    struct lab_error err;
    struct job job;
    struct args args;
    char copy[400];
};

/* Words between blanks; job NULL: no file. Returns the exit code. */
static int plan_make(struct plan *plan, const char *line, const char *job)
{
    char *argv[WORDS_MAX], *rest, *word;
    int argc = 0, r = CLI_OK;

    *plan = (struct plan){0};
    rest = strcpy(plan->copy, line);
    argv[argc++] = "run";
    while ((word = strsep(&rest, " ")) != NULL)
        if (*word != '\0')
            argv[argc++] = word;
    argv[argc] = NULL;
    if (args_parse(&command, argc, argv, &plan->args, &plan->err) < 0)
        return CLI_USAGE;
    if (job != NULL && job_parse(job, strlen(job), "x.job", &plan->job, &plan->err) < 0)
        return CLI_USAGE;
    const struct job *file = job == NULL ? NULL : &plan->job;
    r = cases_run_options(&plan->args, file, &plan->options, &plan->err);
    if (r == CLI_OK)
        r = cases_plan(&plan->args, file, &plan->options, &plan->result, &plan->err);
    return r;
}

static void plan_free(struct plan *plan)
{
    run_result_free(&plan->result);
    run_options_free(&plan->options);
    job_free(&plan->job);
    args_free(&plan->args);
}

static void plan_good(struct plan *plan, const char *line, const char *job, size_t cases)
{
    int r = plan_make(plan, line, job);
    cr_assert_eq(r, CLI_OK, "%s: %s", line, plan->err.text);
    cr_assert_eq(plan->result.cases_count, cases, "%s: %zu cases", line, plan->result.cases_count);
}

static const char *param(const struct plan *plan, size_t index, const char *name)
{
    const char *value = facts_find(&plan->result.cases[index].params, name);
    return value == NULL ? "none" : value;
}

static bool has_arg(char *const *args, const char *arg)
{
    for (; *args != NULL; args++)
        if (strcmp(*args, arg) == 0)
            return true;
    return false;
}

Test(cases, one_engine_with_defaults)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll", NULL, 1);
    const struct run_case *c = &plan.result.cases[0];
    cr_assert_str_eq(c->key,
                     "echo;engine=epoll;server=epoll;link=lo;connections=32;depth=1;size=64");
    cr_assert_str_eq(c->label, "epoll");
    cr_assert_str_eq(c->wait, "sleep");
    cr_assert_null(c->listen, "the link says where");
    cr_assert_str_eq(c->link_spec, "lo");
    cr_assert_eq(c->duration_ns, 500000000);
    cr_assert_eq(c->warmup_ns, 100000000);
    cr_assert_not(c->server_measured);
    cr_assert_eq(plan.options.trials, 6);
    plan_free(&plan);
}

Test(cases, lists_make_a_matrix_with_engines_fastest)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll,epoll:spin -c 1,32 --size 64,1KiB", NULL, 8);
    cr_assert_str_eq(plan.result.cases[0].label, "epoll");
    cr_assert_str_eq(plan.result.cases[1].label, "epoll:spin");
    cr_assert_str_eq(plan.result.cases[1].wait, "spin");
    cr_assert_str_eq(param(&plan, 0, "size"), param(&plan, 1, "size"));
    cr_assert_str_eq(param(&plan, 2, "size"), "1KiB");
    cr_assert_str_eq(param(&plan, 3, "connections"), "1");
    cr_assert_str_eq(param(&plan, 4, "connections"), "32");
    plan_free(&plan);
}

Test(cases, engines_add_up_and_are_measured_once)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll -e null -e epoll,null", NULL, 2);
    plan_free(&plan);
}

Test(cases, a_section_overrides_global_and_the_command_line_both)
{
    struct plan plan;
    static const char job[] = "[global]\nworkload = echo\nengine = epoll\nsize = 1\nconnections = "
                              "2\ntrials = 3\nlabel = a=b\n[one]\nsize = 10\n[two]\nsize = 20, "
                              "30\nconnections = 7\n";
    plan_good(&plan, "", job, 3);
    cr_assert_str_eq(param(&plan, 0, "size"), "10");
    cr_assert_str_eq(param(&plan, 0, "connections"), "2");
    cr_assert_str_eq(param(&plan, 2, "size"), "30");
    cr_assert_str_eq(param(&plan, 2, "connections"), "7");
    cr_assert_eq(plan.options.trials, 3);
    cr_assert_str_eq(plan.options.labels.items[0].value, "b");
    plan_free(&plan);
    plan_good(&plan, "--size 5 -r 2 --label c=d", job, 2); /* 2 and 7 connections */
    cr_assert_str_eq(param(&plan, 0, "size"), "5");
    cr_assert_str_eq(param(&plan, 1, "connections"), "7");
    cr_assert_eq(plan.options.trials, 2);
    cr_assert_eq(plan.options.labels.count, 1);
    plan_free(&plan);
    plan_good(&plan, "--section two", job, 2);
    plan_free(&plan);
}

Test(cases, names_may_have_underscores)
{
    struct plan plan;
    static const char job[] = "[global]\nclient_via = env A=1\nserver_engine = "
                              "epoll:spin,busy_poll=50us\n[a]\nworkload = echo\nengine = epoll\n";
    plan_good(&plan, "--client-via env", job, 1);
    cr_assert_str_eq(plan.result.cases[0].server_spec, "epoll:spin,busy_poll=50us");
    cr_assert_eq(plan.options.client_via.count, 1);
    cr_assert_str_eq(plan.options.client_via.items[0].value, "env");
    plan_free(&plan);
}

Test(cases, a_job_may_repeat_what_the_command_line_may)
{
    struct plan plan;
    static const char job[] = "[global]\nlabel = a=b\nlabel = c=d\nclient-via = X\nlabel = e=f\n"
                              "client_via = Y\nengine = null\n[a]\nworkload = echo\n"
                              "engine = epoll\nengine = epoll:spin, io_uring:sqpoll\n";
    plan_good(&plan, "--skip-unavailable", job, 3);
    cr_assert_eq(plan.options.labels.count, 3);
    cr_assert_str_eq(plan.options.labels.items[1].value, "d");
    cr_assert_eq(plan.options.client_via.count, 2);
    cr_assert_str_eq(plan.options.client_via.items[1].value, "Y");
    cr_assert_str_eq(plan.result.cases[1].label, "epoll:spin");
    plan_free(&plan);
}

Test(cases, what_takes_no_sockets_is_not_refused_for_them)
{
    static const char *const lines[] = {
        "echo -e null -R 100k --reconnect -d 2",
        "echo -e null -c 1000000",
        "echo -e epoll --listen unix:x.sock -R 100k --reconnect -d 2",
        "echo -e epoll --link unix -R 100k --reconnect -d 2",
        "echo -e epoll --server unix:x.sock -R 100k --reconnect -d 2",
        "echo -e epoll --server 127.0.0.1:80 -R 5k --reconnect -d 10",
        "echo -e epoll --server localhost:80 -R 5k --reconnect -d 10",
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct plan plan;
        plan_good(&plan, lines[i], NULL, 1);
        plan_free(&plan);
    }
}

Test(cases, what_cannot_run_is_not_asked_for_sockets)
{
    struct plan plan;
    /* Of all engines only a stack in user space runs over memif, if one is there. */
    int r = plan_make(&plan, "echo --link memif -c 1000000", NULL);
    cr_assert_neq(r, CLI_USAGE, "%s", plan.err.text);
    plan_free(&plan);
}

Test(cases, words_for_the_children)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll -c 4 --size 1KiB --reconnect --close server --idle 5", NULL, 1);
    const struct run_case *c = &plan.result.cases[0];
    cr_assert(has_arg(c->client_args, "--connections=4"));
    cr_assert(has_arg(c->client_args, "--size=1KiB"));
    cr_assert(has_arg(c->client_args, "--reconnect=yes"));
    cr_assert(has_arg(c->client_args, "--close=server"));
    cr_assert(has_arg(c->server_args, "--size=1KiB"), "the server knows --size too");
    cr_assert(has_arg(c->server_args, "--close=server"));
    cr_assert(has_arg(c->server_args, "--idle=5s"));
    cr_assert_not(has_arg(c->client_args, "--idle=5s"));
    cr_assert_not(has_arg(c->server_args, "--connections=4"));
    plan_free(&plan);
}

Test(cases, two_engines_of_one_case)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll --server-engine epoll:spin", NULL, 1);
    cr_assert(plan.result.cases[0].server_measured);
    cr_assert_str_eq(plan.result.cases[0].label, "epoll>epoll:spin");
    cr_assert_str_eq(plan.result.cases[0].wait, "spin", "one side of it burns its core");
    plan_free(&plan);
    plan_good(&plan, "echo -e epoll --server-engine epoll,epoll:spin", NULL, 2);
    cr_assert_not(plan.result.cases[0].server_measured);
    plan_free(&plan);
}

Test(cases, ops_and_loops_are_totals)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll -n 5k", NULL, 1);
    cr_assert_eq(plan.result.cases[0].asked_ops, 5000);
    cr_assert_eq(plan.result.cases[0].warmup_ns, 0, "every op counts");
    plan_free(&plan);
    plan_good(&plan, "echo -e epoll -c 4 --loops 10", NULL, 1);
    cr_assert_eq(plan.result.cases[0].asked_ops, 40);
    plan_free(&plan);
}

Test(cases, sockets_of_each_link)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll --link lo,lo6,unix", NULL, 3);
    cr_assert_str_eq(plan.result.cases[1].link, "lo6");
    cr_assert_str_eq(plan.result.cases[2].link_spec, "unix");
    plan_free(&plan);
    plan_good(&plan, "echo -e epoll --listen 10.0.0.1:0", NULL, 1);
    cr_assert_str_eq(plan.result.cases[0].link, "net");
    cr_assert_null(plan.result.cases[0].link_spec);
    plan_free(&plan);
    plan_good(&plan, "echo -e epoll --server 10.0.0.1:1", NULL, 1);
    cr_assert_null(plan.result.cases[0].link_spec, "its address says all");
    plan_free(&plan);
    plan_good(&plan, "echo -e null", NULL, 1);
    cr_assert_str_eq(plan.result.cases[0].link, "memory");
    cr_assert(plan.result.cases[0].both_sides);
    plan_free(&plan);
}

Test(cases, all_leaves_out_what_is_for_tests)
{
    struct plan plan;
    int r = plan_make(&plan, "echo", NULL);
    cr_assert_eq(r, CLI_OK, "%s", plan.err.text);
    for (size_t i = 0; i < plan.result.cases_count; i++)
        cr_assert_str_neq(plan.result.cases[i].label, "null");
    plan_free(&plan);
}

Test(cases, windows_tell_cases_apart)
{
    struct plan plan;
    plan_good(&plan, "echo -e epoll -d 1,2", NULL, 2);
    cr_assert_str_neq(plan.result.cases[0].key, plan.result.cases[1].key);
    plan_free(&plan);
}

struct wrong {
    const char line[80], job[120], says[100];
};

ParameterizedTestParameters(cases, refused)
{
    static struct wrong wrongs[] = {
        {"ecko", "", "there is no workload 'ecko': did you mean 'echo'?"},
        {"echo -e epol", "", "--engine: unknown engine 'epol'"},
        {"echo -e epoll --server-engine epol", "", "--server-engine: unknown engine 'epol'"},
        {"echo a b", "", "'b' is one word too many"},
        {"echo --workload echo", "", "the word 'echo' and --workload say the same"},
        {"echo h:1 --server h:1", "", "the word 'h:1' and --server say the same"},
        {"echo -n 5 --loops 5", "", "--ops and --loops both"},
        {"echo -n 5 -d 1", "", "--duration and --ops"},
        {"echo -n 5 -w 1", "", "--warmup does not go with --ops"},
        {"echo -t 64", "", "--workers: more threads than --connections"},
        {"echo --pacing spin", "", "--arrival and --pacing are for an open loop"},
        {"echo --loops 5 -R 1k", "", "--loops is what each connection does by itself"},
        {"echo --reconnect --depth 2", "", "--depth: with --reconnect an op is a connection"},
        {"echo -R 1G", "", "--rate: 1000000000 is too large; it takes 0 to 100000000"},
        {"echo --loops 2000G", "",
         "--loops: 2000000000000 is too large; it takes 1 to 1000000000000"},
        {"echo -n 2000G", "", "--ops: 2000000000000 is too large; it takes 1 to 1000000000000"},
        {"echo --ramp 2h", "", "--ramp: 2h is too large; it takes 0s to 1h"},
        {"echo --close rst", "", "--close says how --reconnect closes"},
        {"echo --server h:1 --server-engine epoll", "", "--server names a server"},
        {"echo --server h:1 --idle 3", "", "--idle is for a server that lab starts"},
        {"echo --server h:1 --link unix", "", "--link is for a server that lab starts"},
        {"echo --link veht", "", "--link: unknown link 'veht'; did you mean 'veth'?"},
        {"echo --link lo:mtu=9000", "", "--link: lo: it has no option 'mtu'"},
        {"echo --link veth:mut=9000", "",
         "--link: unknown option 'mut' of veth; did you mean 'mtu'"},
        {"echo --link pci", "", "--link: pci: say which device"},
        {"echo --link veth:side=server", "", "--link: say it as the client sees it"},
        {"echo --listen :1 --link lo6", "", "--listen says where a server that lab starts"},
        {"echo --link unix --cc cubic", "", "--cc is TCP's"},
        {"echo --link lo6 --local-addrs 2", "", "--local-addrs spreads over 127.0.0.0/8"},
        {"echo -e null --server-engine epoll", "", "the null engine plays both sides itself"},
        {"echo --cc vegetable", "", "--cc vegetable: this kernel has no such one"},
        {"echo -c 0", "", "--connections: 0 is too small; it takes 1 to 1000000"},
        {"echo --section x", "", "--section is one of a job file's"},
        {"--section b", "[a]\nsize = 1\n", "--section: x.job has no section 'b'"},
        {"", "[a]\nsiez = 1\n", "x.job:2: unknown option 'siez': did you mean 'size'?"},
        {"", "[a]\nsize = 1, big\n", "x.job:2: size: 'big' is not understood"},
        {"", "[a]\nengine = epol\n", "x.job:2: unknown engine 'epol'"},
        {"", "[a]\nworkload = ecko\n", "x.job:2: there is no workload 'ecko'"},
        {"", "[a]\ntrials = 3\n", "x.job:2: 'trials' is for the whole run"},
        {"", "[global]\ntrials = few\n[a]\n", "x.job:2: trials: 'few' is not understood"},
        {"", "[global]\nlabel = x\n[a]\n", "x.job:2: --label takes a name and a value"},
        {"", "[global]\njob = y\n[a]\n", "x.job:2: 'job' is for the command line"},
        {"", "[a]\nsize = 1\ndepth = 1\nsize = 2\n", "x.job:4: 'size' is in line 2 already"},
        {"", "[a]\nsize = 1\nsize = 2\n", "x.job:3: 'size' is in line 2 already"},
        {"", "[a]\nwrite-size = 1\nwrite_size = 2\n", "x.job:3: 'write_size' is in line 2"},
        {"", "[global]\ntrials = 1\ntrials = 2\n", "x.job:3: 'trials' is in line 2 already"},
        {"", "[global]\nlabel = a=b\nlabel = a=c\n", "x.job:3: --label 'a' is given twice"},
        {"", "[a]\nengine = epol\nengine = epoll\n", "x.job:2: unknown engine 'epol'"},
        {"", "[a]\nlink = vteh\n", "x.job:2: unknown link 'vteh'; did you mean 'veth'?"},
        {"", "[a]\nlink = lo\n[b]\nlink = lo:mtu=9000\n", "x.job:4: lo: it has no option 'mtu'"},
        {"", "[a]\nserver_engine = epol\n", "x.job:2: unknown engine 'epol'"},
        {"", "[a]\nsize = 1\nops = 1\nloops = 1\n", "x.job:3: --ops and --loops both"},
        {"--ops 1", "[a]\nloops = 1\n", "x.job: [a]: --ops and --loops both"},
        {"", "[global]\ncc = vegetable\n[a]\n", "x.job:2: --cc vegetable: this kernel"},
        {"", "[a]\nworkload = echo\nengine = null\nserver-engine = epoll\n",
         "x.job: [a]: the null engine plays both sides itself"},
        {"--size big", "[a]\nworkload = echo\n", "--size: 'big' is not understood"},
        {"-e epol", "[a]\nworkload = echo\n", "--engine: unknown engine 'epol'"},
        {"echo -e epoll --server 10.0.0.1:80 -R 5k --reconnect -d 10", "",
         "--rate 5000 with --reconnect would hold 50500 ports"},
        {"echo -e epoll -c 1-1000000", "", "--connections: '1-1000000' is not understood"},
    };
    return cr_make_param_array(struct wrong, wrongs, sizeof(wrongs) / sizeof(*wrongs));
}

ParameterizedTest(struct wrong *wrong, cases, refused)
{
    struct plan plan;
    int r = plan_make(&plan, wrong->line, wrong->job[0] == '\0' ? NULL : wrong->job);
    cr_assert_eq(r, CLI_USAGE, "%s: exit %d", wrong->line, r);
    cr_assert_eq(strncmp(plan.err.text, wrong->says, strlen(wrong->says)), 0, "%s", plan.err.text);
    plan_free(&plan);
}

Test(cases, a_matrix_has_an_end)
{
    struct plan plan;
    char line[400] = "echo -e epoll ";
    static const char *const names[] = {"--size", "--depth", "-c", "--timeout", "-w"};

    for (unsigned i = 0; i < 5; i++) {
        strcat(line, names[i]);
        strcat(line, " 1,2,3,4,5,6,7 ");
    }
    cr_assert_eq(plan_make(&plan, line, NULL), CLI_USAGE);
    cr_assert_not_null(strstr(plan.err.text, "more than 4096 cases"), "%s", plan.err.text);
    plan_free(&plan);
}

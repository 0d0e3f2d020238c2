/* JSON: keys that are always there, null for what was not observed, histograms that decode. The
 * schema itself is validated by tests/cli/test_json.py. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "fake_run.h"

TestSuite(json, .timeout = 10);

static json_t *load(struct run_result *run, bool compact)
{
    char *text = fake_json(run, compact);
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(root, "%s", error.text);
    free(text);
    return root;
}

/* Walks keys and [indices] of a path such as "cases.0.trials.0.ops"; NULL if it ends early. */
static const json_t *at(const json_t *value, const char *path)
{
    char copy[200], *rest = strcpy(copy, path), *part;

    while (value != NULL && (part = strsep(&rest, ".")) != NULL)
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(part))
                                     : json_object_get(value, part);
    return value;
}

static bool is_null(const json_t *root, const char *path)
{
    const json_t *value = at(root, path);
    cr_assert_not_null(value, "%s is not there", path);
    return json_is_null(value);
}

Test(json, figures_are_where_they_belong)
{
    struct run_result run = fake_run();
    fake_measured(fake_case(&run, "epoll", "lo"), 100000);
    json_t *root = load(&run, false);
    cr_assert_str_eq(json_string_value(at(root, "schema")), "lab-run");
    cr_assert_eq(json_integer_value(at(root, "version")), 1);
    cr_assert(json_is_true(at(root, "complete")));
    cr_assert_eq(json_integer_value(at(root, "run.seed")), 42);
    cr_assert_str_eq(json_string_value(at(root, "run.argv.1")), "run");
    cr_assert_eq(json_real_value(at(root, "cases.0.trials.0.ops_per_s")), 100000);
    cr_assert_eq(json_integer_value(at(root, "cases.0.params.connections")), 32);
    cr_assert_eq(json_integer_value(at(root, "cases.0.params.size_bytes")), 64);
    cr_assert_eq(json_real_value(at(root, "cases.0.params.duration_s")), 0.5);
    cr_assert(json_is_false(at(root, "cases.0.params.one_way")));
    cr_assert_str_eq(json_string_value(at(root, "cases.0.summary.ops_per_s.ci_method")),
                     "order-statistics");
    cr_assert_eq(json_real_value(at(root, "cases.0.trials.0.client.cpu_s")), 0.1);
    cr_assert_str_eq(json_string_value(at(root, "cases.0.engine_options.spin")), "off");
    json_decref(root);
    run_result_free(&run);
}

Test(json, null_is_not_observed)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    struct run_trial *trial = fake_trial(c, 100000);
    trial->cpu_ns_per_op = NAN;
    json_t *root = load(&run, false);
    cr_assert(is_null(root, "env.swap"));
    cr_assert(is_null(root, "env.congestion_control"));
    cr_assert(is_null(root, "cases.0.reason"));
    cr_assert(is_null(root, "cases.0.server_address"));
    cr_assert(is_null(root, "cases.0.params.cc"));
    cr_assert(is_null(root, "cases.0.trials.0.slip_ns"));
    cr_assert(is_null(root, "cases.0.trials.0.cpu_ns_per_op"));
    cr_assert(is_null(root, "cases.0.trials.0.asked_ops_per_s"));
    cr_assert(is_null(root, "cases.0.summary.ops_per_s.ci_confidence"), "one trial");
    cr_assert(is_null(root, "cases.0.summary.cpu_ns_per_op.median"));
    cr_assert(is_null(root, "cases.0.summary.cpu_ns_per_op.ci_method"), "of nothing");
    cr_assert_str_eq(json_string_value(at(root, "cases.0.summary.ops_per_s.ci_method")), "range");
    json_decref(root);
    run_result_free(&run);
}

Test(json, memory_that_cannot_be_read_is_none)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    fake_measured(c, 100000);
    c->trials[1].clients[0].record->process->vsize_bytes = 7;
    c->trials[2].servers[0].record->process->rss_bytes_max = 0;
    json_t *root = load(&run, true);
    cr_assert(is_null(root, "cases.0.trials.0.client.vsize_bytes"));
    cr_assert(is_null(root, "cases.0.trials.0.processes.0.vsize_bytes"));
    cr_assert_eq(json_integer_value(at(root, "cases.0.trials.1.client.vsize_bytes")), 7);
    cr_assert_eq(json_integer_value(at(root, "cases.0.trials.0.server.rss_bytes_max")), 5 << 20);
    cr_assert(is_null(root, "cases.0.trials.2.server.rss_bytes_max"));
    cr_assert(is_null(root, "cases.0.trials.2.processes.1.rss_bytes_max"));
    json_decref(root);
    char *text = fake_table(&run, 0);
    cr_assert_not_null(strstr(text, "5.0MiB"), "%s", text);
    cr_assert_null(strstr(text, "0.0MiB"), "%s", text);
    free(text);
    run_result_free(&run);
}

Test(json, a_percentile_needs_ten_samples_beyond)
{
    struct run_result run = fake_run();
    fake_trial(fake_case(&run, "epoll", "lo"), 100000); /* 10,000 samples */
    json_t *root = load(&run, false);
    cr_assert_not(is_null(root, "cases.0.trials.0.latency_ns.p99"));
    cr_assert_not(is_null(root, "cases.0.trials.0.latency_ns.p999"));
    cr_assert(is_null(root, "cases.0.trials.0.latency_ns.p9999"), "one sample beyond");
    cr_assert_eq(json_integer_value(at(root, "cases.0.trials.0.latency_ns.count")), 10000);
    json_decref(root);
    run_result_free(&run);
}

static size_t base64_decode(const char *text, uint8_t *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = 0;
    uint32_t word = 0;
    unsigned bits = 0;

    for (; *text != '\0' && *text != '='; text++) {
        word = word << 6 | (uint32_t)(strchr(digits, *text) - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[size++] = (uint8_t)(word >> bits);
        }
    }
    return size;
}

Test(json, histograms_decode_to_what_was_recorded)
{
    struct run_result run = fake_run();
    struct run_trial *trial = fake_trial(fake_case(&run, "epoll", "lo"), 100000);
    json_t *root = load(&run, false);
    const char *text = json_string_value(at(root, "cases.0.trials.0.latency_ns.histogram"));
    uint8_t *bytes = malloc(strlen(text) + 1);
    struct hist *back = hist_new();
    cr_assert_eq(hist_decode(back, bytes, base64_decode(text, bytes)), 0);
    cr_assert_eq(back->total, trial->latency->total);
    cr_assert_eq(memcmp(back->counts, trial->latency->counts, sizeof(back->counts)), 0);
    hist_free(back);
    free(bytes);
    json_decref(root);
    root = load(&run, true);
    cr_assert(is_null(root, "cases.0.trials.0.latency_ns.histogram"), "--json-compact");
    json_decref(root);
    run_result_free(&run);
}

Test(json, metrics_say_when_they_were_not_observed)
{
    struct run_result run = fake_run();
    fake_trial(fake_case(&run, "epoll", "lo"), 100000);
    json_t *root = load(&run, true);
    const json_t *metrics = at(root, "cases.0.trials.0.metrics"), *metric;
    size_t index;
    bool seen = false;
    json_array_foreach(metrics, index, metric)
    {
        if (strcmp(json_string_value(json_object_get(metric, "name")), "first_byte_ns") != 0)
            continue;
        seen = true;
        cr_assert_str_eq(json_string_value(json_object_get(metric, "status")), "not-observed");
        cr_assert_str_eq(json_string_value(json_object_get(metric, "reason")), "nobody looked");
        cr_assert(json_is_null(json_object_get(metric, "value")));
    }
    cr_assert(seen);
    json_decref(root);
    run_result_free(&run);
}

Test(json, a_failed_trial_has_no_figures)
{
    struct run_result run = fake_run();
    struct run_trial *trial = fake_trial(fake_case(&run, "epoll", "lo"), 100000);
    trial->failed = true;
    strcpy(trial->reason, "it died");
    trial->duration_s = 0;
    json_t *root = load(&run, true);
    cr_assert(is_null(root, "cases.0.trials.0.ops_per_s"));
    cr_assert(is_null(root, "cases.0.trials.0.duration_s"));
    cr_assert(is_null(root, "cases.0.trials.0.latency_ns"));
    cr_assert_str_eq(json_string_value(at(root, "cases.0.trials.0.verdict")), "failed");
    cr_assert_str_eq(json_string_value(at(root, "cases.0.trials.0.verdicts.0.evidence")),
                     "it died");
    json_decref(root);
    run_result_free(&run);
}

Test(json, watermarks_are_counted_by_trials)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    fake_measured(c, 100000);
    for (unsigned t = 0; t < 6; t++) {
        struct run_verdict *marks = c->trials[t].watermarks;
        marks[0] = (struct run_verdict){"emulated", "client: sndbuf is emulated"};
        marks[1] = (struct run_verdict){"emulated", "client: rcvbuf is emulated"};
        marks[2] = (struct run_verdict){"emulated", "client: rcvbuf is emulated"};
        marks[3] = (struct run_verdict){.name = "other-clock"};
        sprintf(marks[3].evidence, "off by up to %u us", t * 7);
        c->trials[t].watermarks_count = t == 0 ? 3 : 4;
    }
    json_t *root = load(&run, true);
    cr_assert_eq(json_array_size(at(root, "cases.0.summary.watermarks")), 3);
    cr_assert_str_eq(json_string_value(at(root, "cases.0.summary.watermarks.1.evidence")),
                     "client: rcvbuf is emulated");
    cr_assert_eq(json_integer_value(at(root, "cases.0.summary.watermarks.0.trials")), 6);
    cr_assert_eq(json_integer_value(at(root, "cases.0.summary.watermarks.1.trials")), 6);
    cr_assert_eq(json_integer_value(at(root, "cases.0.summary.watermarks.2.trials")), 5);
    json_decref(root);
    run_result_free(&run);
}

Test(json, text_that_is_not_utf8_loses_no_run)
{
    struct run_result run = fake_run();
    run_list_add(&run.argv, "", "--label=a=\xff");
    fake_trial(fake_case(&run, "epoll", "lo"), 100000);
    json_t *root = load(&run, true);
    cr_assert_str_eq(json_string_value(at(root, "run.argv.2")), "?");
    json_decref(root);
    run_result_free(&run);
}

/* Records: built, packed, unpacked and checked; and what a child gone wrong might send. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/record.h"
#include "core/text.h"

TestSuite(record, .timeout = 20);

static const struct metric_def calls = {
    .name = "system_calls",
    .unit = "",
    .kind = METRIC_COUNTER,
    .better = METRIC_LESS,
    .stage = "",
    .hook = "engine",
    .help = "made by the engine",
};
static const struct metric_def latency = {
    .name = "latency_ns",
    .unit = "ns",
    .kind = METRIC_HISTOGRAM,
    .better = METRIC_LESS,
    .stage = "client",
    .hook = "client",
};

static Lab__Record *record_make(void)
{
    Lab__Record *record = malloc(sizeof(*record));
    struct hist *h = hist_new();

    lab__record__init(record);
    record->version = RECORD_VERSION;
    record->side = record_text("client");
    record->t0_ns = 1000;
    record->t1_ns = 2000;
    record->process = malloc(sizeof(*record->process));
    lab__process__init(record->process);
    record->process->cpus = record_text("0-1");
    for (uint64_t i = 1; i <= 100; i++)
        hist_record(h, i * 1000);
    record_add_value(record, &calls, 42);
    record_add_histogram(record, &latency, h);
    record_add_unobserved(record, &calls, "no counter here");
    record_add_error(record, "timeout", 1, "no answer in 1s");
    record_add_error(record, "reset", 2, NULL);
    record_add_error(record, "timeout", 4, "another");
    record_add_slice(record, 25, 3, 192);
    record_add_slice(record, 50, 4, 256);
    hist_free(h);
    return record;
}

Test(record, survives_the_wire)
{
    Lab__Record *record = record_make(), *back;
    size_t size = lab__record__get_packed_size(record);
    uint8_t *wire = malloc(size);
    struct lab_error err = {""};
    const Lab__Metric *metric;
    struct hist *h = hist_new();

    cr_assert_eq(record_check(record, &err), 0, "%s", err.text);
    lab__record__pack(record, wire);
    lab__record__free_unpacked(record, NULL); /* frees what was built here */
    back = lab__record__unpack(NULL, size, wire);
    cr_assert_eq(record_check(back, &err), 0, "%s", err.text);

    metric = record_metric(back, "system_calls");
    cr_assert(metric->observed);
    cr_assert_eq(metric->value, 42);
    cr_assert_str_eq(metric->kind, "counter");
    cr_assert_str_eq(metric->better, "less");
    cr_assert_str_eq(metric->hook, "engine");
    metric = record_metric(back, "latency_ns");
    cr_assert_eq(metric->count, 100);
    cr_assert(fabs(metric->value / 50500 - 1) < 0.001);
    cr_assert_eq(hist_decode(h, metric->histogram.data, metric->histogram.len), 0);
    cr_assert_eq(h->total, 100);
    cr_assert_null(record_metric(back, "slip_ns"));
    cr_assert_eq(back->n_metrics, 3);
    cr_assert_not(back->metrics[2]->observed);
    cr_assert_str_eq(back->metrics[2]->reason, "no counter here");

    cr_assert_eq(back->n_errors, 2);
    cr_assert_str_eq(back->errors[0]->kind, "timeout");
    cr_assert_eq(back->errors[0]->count, 5);
    cr_assert_str_eq(back->errors[0]->example, "no answer in 1s", "the first is kept");
    cr_assert_eq(back->n_slices, 2);
    cr_assert_eq(back->slices[1]->bytes, 256);
    lab__record__free_unpacked(back, NULL);
    hist_free(h);
    free(wire);
}

Test(record, texts_are_made_clean)
{
    Lab__Record *record = record_make();
    char *text = record_text("tab\there\xff");

    cr_assert_str_eq(text, "tab here?");
    free(text);
    text = record_text(NULL);
    cr_assert_str_eq(text, "");
    free(text);
    record_add_error(record, "protocol", 1, "it said \x1b[31m\xc3");
    cr_assert_eq(record_check(record, NULL), 0);
    lab__record__free_unpacked(record, NULL);
}

Test(record, ready)
{
    Lab__Ready *ready = malloc(sizeof(*ready)), *back;
    struct lab_error err = {""};
    uint8_t *wire;
    size_t size;

    lab__ready__init(ready);
    ready->version = RECORD_VERSION;
    record_add_setting(ready, "spin", "always");
    record_add_setting(ready, "bufs", "64");
    record_add_capability(ready, "zero-copy send", "no effect", NULL);
    record_add_address(ready, "127.0.0.1:8888");
    record_add_address(ready, "[::1]:8888");
    size = lab__ready__get_packed_size(ready);
    wire = malloc(size);
    lab__ready__pack(ready, wire);
    lab__ready__free_unpacked(ready, NULL);
    back = lab__ready__unpack(NULL, size, wire);
    cr_assert_eq(record_check_ready(back, &err), 0, "%s", err.text);
    cr_assert_eq(back->n_settings, 2);
    cr_assert_str_eq(back->settings[1]->value, "64");
    cr_assert_str_eq(back->capabilities[0]->state, "no effect");
    cr_assert_str_eq(back->addresses[1], "[::1]:8888");

    back->addresses[0][0] = '\n';
    cr_assert_eq(record_check_ready(back, &err), -EPROTO);
    back->addresses[0][0] = '1';
    back->settings[0]->name[0] = '\0';
    cr_assert_eq(record_check_ready(back, &err), -EPROTO);
    back->settings[0]->name[0] = 's';
    back->capabilities[0]->state[0] = '\x1b';
    cr_assert_eq(record_check_ready(back, &err), -EPROTO);
    back->capabilities[0]->state[0] = 'N';
    cr_assert_eq(record_check_ready(back, &err), -EPROTO, "another build's word");
    cr_assert(strstr(err.text, "capability 0"), "%s", err.text);
    back->capabilities[0]->state[0] = 'n';
    cr_assert_eq(record_check_ready(back, &err), 0);
    back->version = 2;
    cr_assert_eq(record_check_ready(back, &err), -EPROTO);
    cr_assert(strstr(err.text, "same build"), "%s", err.text);
    lab__ready__free_unpacked(back, NULL);
    free(wire);
}

Test(record, a_capability_is_as_it_turned_out)
{
    Lab__Ready *ready = malloc(sizeof(*ready));
    Lab__Record *record = record_make();

    lab__ready__init(ready);
    record_add_capability(ready, "zero-copy send", "native", NULL);
    record_add_capability(ready, "busy polling", "native", "some");
    record_add_finding(record, "zero-copy send", "no effect", "the link copies");
    record_add_finding(record, "what nobody spoke of", "no effect", "");
    cr_assert_eq(record_check(record, NULL), 0);
    record_correct_capabilities(ready, record);
    cr_assert_eq(ready->n_capabilities, 2);
    cr_assert_str_eq(ready->capabilities[0]->state, "no effect");
    cr_assert_str_eq(ready->capabilities[0]->note, "the link copies");
    cr_assert_str_eq(ready->capabilities[1]->state, "native");
    record->capabilities[1]->state[0] = 'N';
    cr_assert_eq(record_check(record, NULL), -EPROTO);
    lab__record__free_unpacked(record, NULL);
    lab__ready__free_unpacked(ready, NULL);
}

/* A thread a connection, of which there may be a million. */
Test(record, ready_of_many_threads)
{
    static uint32_t tids[(1u << 20) + 1];
    Lab__Ready ready = LAB__READY__INIT, *back;
    struct lab_error err = {""};

    ready.version = RECORD_VERSION;
    ready.tids = tids;
    ready.n_tids = 5000;
    for (size_t i = 0; i < ready.n_tids; i++)
        tids[i] = (uint32_t)(1000 + i);
    size_t size = lab__ready__get_packed_size(&ready);
    uint8_t *wire = malloc(size);
    lab__ready__pack(&ready, wire);
    back = lab__ready__unpack(NULL, size, wire);
    cr_assert_eq(record_check_ready(back, &err), 0, "%s", err.text);
    cr_assert_eq(back->n_tids, 5000);
    cr_assert_eq(back->tids[4999], 5999);
    lab__ready__free_unpacked(back, NULL);
    free(wire);

    ready.n_tids = 1u << 20;
    cr_assert_eq(record_check_ready(&ready, &err), 0, "%s", err.text);
    ready.n_tids++;
    cr_assert_eq(record_check_ready(&ready, &err), -EPROTO);
    cr_assert(strstr(err.text, "more than 1048576 threads"), "%s", err.text);
}

/* --- what is refused --- */

#define REFUSED(record, says)                                                                      \
    do {                                                                                           \
        struct lab_error refused = {""};                                                           \
        cr_assert_eq(record_check(record, &refused), -EPROTO);                                     \
        cr_assert(strstr(refused.text, says), "%s", refused.text);                                 \
    } while (0)

Test(record, refuses_what_makes_no_sense)
{
    Lab__Record *record = record_make();
    Lab__Process *process = record->process;
    char *side = record->side;

    record->version = 0;
    REFUSED(record, "version 0");
    record->version = RECORD_VERSION;
    record->side = (char *)"middle";
    REFUSED(record, "side");
    record->side = side;
    record->t1_ns = 999;
    REFUSED(record, "before it begins");
    record->t1_ns = 2000;
    record->process = NULL;
    REFUSED(record, "process");
    record->process = process;
    record->ops = UINT64_MAX;
    REFUSED(record, "totals");
    record->ops = 0;
    record->slices[1]->end_ns = 24;
    REFUSED(record, "slice 1");
    record->slices[1]->end_ns = 26;
    record->errors[0]->count = UINT64_MAX;
    REFUSED(record, "error 0");
    record->errors[0]->count = 1;
    record->errors[0]->example[0] = '\r';
    REFUSED(record, "error 0");
    record->errors[0]->example[0] = 'n';
    cr_assert_eq(record_check(record, NULL), 0);
    lab__record__free_unpacked(record, NULL);
}

Test(record, refuses_bad_metrics)
{
    Lab__Record *record = record_make();
    Lab__Metric *value = record->metrics[0], *histogram = record->metrics[1];

    value->value = NAN;
    REFUSED(record, "system_calls");
    value->value = 1;
    value->kind[0] = 'C';
    REFUSED(record, "metric 0");
    value->kind[0] = 'c';
    value->better[0] = 'x';
    REFUSED(record, "metric 0");
    value->better[0] = 'l';
    value->name[0] = '\0';
    REFUSED(record, "metric 0");
    value->name[0] = 's';
    histogram->count++;
    REFUSED(record, "says 101");
    histogram->count--;
    histogram->histogram.len--;
    REFUSED(record, "damaged");
    histogram->histogram.len++;
    histogram->histogram.data[0] ^= 1;
    REFUSED(record, "damaged");
    histogram->histogram.data[0] ^= 1;
    cr_assert_eq(record_check(record, NULL), 0);
    lab__record__free_unpacked(record, NULL);
}

Test(record, refuses_endless_lists_and_texts)
{
    Lab__Record *record = record_make();
    char *text = calloc(1, 5000), *reason = record->metrics[2]->reason;

    memset(text, 'x', 4999);
    record->metrics[2]->reason = text;
    REFUSED(record, "metric 2");
    record->metrics[2]->reason = reason;
    for (unsigned i = 0; i < 5000; i++)
        record_add_slice(record, 100 + i, 1, 1);
    REFUSED(record, "more than");
    lab__record__free_unpacked(record, NULL);
    free(text);
}

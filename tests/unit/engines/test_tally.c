/* What becomes of counters and histograms between instances and a record. */
#include <criterion/criterion.h>

#include "engines/tally.h"

enum { HELD_NS = ENGINE_COUNTERS_COMMON, OTHER_NS, ROWS };

static const struct metric_def metrics[] = {
    ENGINE_METRICS,
    {"held_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "engine", "how long it was held"},
    {"other_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "engine", "never filled"},
    {0},
};
static const struct engine_ops ops = {.name = "made-up", .metrics = metrics};

static void engine_open(struct engine *engine)
{
    *engine = (struct engine){.ops = &ops};
    engine->hists[HELD_NS] = hist_new();
    engine->hists[OTHER_NS] = hist_new();
    cr_assert(engine->hists[HELD_NS] != NULL && engine->hists[OTHER_NS] != NULL);
}

static void engine_close(struct engine *engine)
{
    hist_free(engine->hists[HELD_NS]);
    hist_free(engine->hists[OTHER_NS]);
}

/* A look that finds something, and so many that find nothing. */
static void looks(struct engine *engine, unsigned empty)
{
    engine_count(engine, ENGINE_POLLS, empty + 1);
    engine_count(engine, ENGINE_POLLS_USEFUL, 1);
    engine_count(engine, ENGINE_BUSY_NS, 1000);
}

static void sample(struct engine_tally *tally, unsigned index, struct engine *engine)
{
    tally_begin(tally, index);
    if (engine != NULL)
        tally_add(tally, index, engine);
}

static double value_of(const Lab__Record *record, const char *name)
{
    const Lab__Metric *metric = record_metric(record, name);

    cr_assert_not_null(metric, "%s", name);
    cr_assert(metric->observed, "%s", name);
    return metric->value;
}

static Lab__Record *record_of(const struct engine_tally *tally)
{
    Lab__Record *record = malloc(sizeof(*record));

    cr_assert_not_null(record);
    lab__record__init(record);
    tally_record(tally, &ops, record);
    return record;
}

Test(tally, the_window_alone_counts)
{
    struct engine_tally tally = {0};
    struct engine engine;

    engine_open(&engine);
    looks(&engine, 100);
    sample(&tally, 0, &engine);
    for (unsigned i = 0; i < 10; i++)
        looks(&engine, 3);
    sample(&tally, 1, &engine); /* a slice's end */
    looks(&engine, 5);
    sample(&tally, 2, &engine);
    looks(&engine, 1000);
    Lab__Record *record = record_of(&tally);
    cr_assert_eq(value_of(record, "polls"), 46);
    cr_assert_eq(value_of(record, "polls_useful"), 11, "empty ones are told from useful ones");
    cr_assert_eq(value_of(record, "busy_ns"), 11000);
    cr_assert_eq(value_of(record, "recvs"), 0);
    lab__record__free_unpacked(record, NULL);
    engine_close(&engine);
    tally_free(&tally);
}

Test(tally, instances_that_come_and_go_within_it)
{
    struct engine_tally tally = {0};
    struct engine first, second;

    engine_open(&first);
    looks(&first, 7); /* before the window */
    sample(&tally, 0, &first);
    looks(&first, 1);
    engine_measure(&first, HELD_NS, 10);
    tally_ended(&tally, &first);
    engine_close(&first);
    engine_open(&second);
    tally_opened(&tally, &second);
    looks(&second, 2);
    engine_measure(&second, HELD_NS, 30);
    sample(&tally, 1, &second);
    tally_merge(&tally, &second);
    Lab__Record *record = record_of(&tally);
    cr_assert_eq(value_of(record, "polls"), 2 + 3);
    cr_assert_eq(value_of(record, "polls_useful"), 2);
    cr_assert_eq(record_metric(record, "held_ns")->count, 2);
    lab__record__free_unpacked(record, NULL);
    engine_close(&second);
    tally_free(&tally);
}

Test(tally, histograms_take_nothing_in_outside_of_the_window)
{
    struct engine_tally tally = {0};
    struct engine engine;

    engine_open(&engine);
    tally_opened(&tally, &engine);
    engine_measure(&engine, HELD_NS, 1000000); /* warming up */
    sample(&tally, 0, &engine);
    for (uint64_t ns = 100; ns <= 500; ns += 100)
        engine_measure(&engine, HELD_NS, ns);
    sample(&tally, 1, &engine);
    tally_stop(&engine);
    engine_measure(&engine, HELD_NS, 1000000);
    tally_merge(&tally, &engine);
    cr_assert_eq(tally.hists[HELD_NS]->total, 5);
    cr_assert_eq(hist_percentile(tally.hists[HELD_NS], 100), 500);
    Lab__Record *record = record_of(&tally);
    const Lab__Metric *held = record_metric(record, "held_ns");
    cr_assert(held->observed && held->count == 5 && held->histogram.len > 0);
    lab__record__free_unpacked(record, NULL);
    engine_close(&engine);
    tally_free(&tally);
}

Test(tally, what_was_not_timed_is_not_observed)
{
    struct engine_tally tally = {0};
    struct engine engine;

    engine_open(&engine);
    sample(&tally, 0, &engine);
    sample(&tally, 1, &engine);
    tally_merge(&tally, &engine);
    Lab__Record *record = record_of(&tally);
    const Lab__Metric *other = record_metric(record, "other_ns");
    cr_assert_not(other->observed);
    cr_assert_str_eq(other->reason, "nothing was timed in the window");
    lab__record__free_unpacked(record, NULL);
    engine_close(&engine);
    tally_free(&tally);
}

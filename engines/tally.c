/* See tally.h. */
#include "engines/tally.h"

#include <string.h>

void tally_describe(const struct engine *engine, Lab__Ready *ready)
{
    const struct engine_caps *caps = &engine->caps;

    for (unsigned i = 0; i < caps->count; i++)
        record_add_capability(ready, caps->list[i].name, record_states[caps->list[i].state],
                              caps->list[i].note);
    ready->wait = record_text(caps->spins ? "spin" : "sleep");
}

void tally_begin(struct engine_tally *tally, unsigned index)
{
    if (index == 0)
        tally->measuring = true;
    memcpy(tally->samples[index == 0 ? 0 : 1], tally->ended, sizeof(tally->ended));
}

void tally_add(struct engine_tally *tally, unsigned index, struct engine *engine)
{
    uint64_t *sample = tally->samples[index == 0 ? 0 : 1];

    for (unsigned k = 0; k < ENGINE_COUNTERS_MAX; k++)
        sample[k] += counter_read(&engine->counters[k]);
    if (index == 0)
        tally_opened(tally, engine);
}

void tally_opened(const struct engine_tally *tally, struct engine *engine)
{
    atomic_store_explicit(&engine->measuring, tally->measuring, memory_order_relaxed);
}

void tally_stop(struct engine *engine)
{
    atomic_store_explicit(&engine->measuring, false, memory_order_relaxed);
}

static void tally_merge_found(struct engine_tally *tally, const struct engine *engine)
{
    uint32_t found = atomic_load_explicit(&engine->caps_without_effect, memory_order_acquire);

    for (unsigned i = 0; i < engine->caps.count; i++)
        if (found & 1u << i)
            tally->found[i] = engine->caps.list[i];
    tally->found_bits |= found;
}

void tally_merge(struct engine_tally *tally, struct engine *engine)
{
    tally_stop(engine);
    tally_merge_found(tally, engine);
    for (unsigned k = 0; k < ENGINE_COUNTERS_MAX; k++) {
        if (engine->hists[k] == NULL)
            continue;
        if (tally->hists[k] == NULL)
            tally->hists[k] = hist_new();
        if (tally->hists[k] != NULL)
            hist_merge_shared(tally->hists[k], engine->hists[k]);
    }
}

void tally_ended(struct engine_tally *tally, struct engine *engine)
{
    for (unsigned k = 0; k < ENGINE_COUNTERS_MAX; k++)
        tally->ended[k] += counter_read(&engine->counters[k]);
    tally_merge(tally, engine);
}

void tally_record(const struct engine_tally *tally, const struct engine_ops *ops,
                  Lab__Record *record)
{
    for (unsigned k = 0; ops->metrics[k].name != NULL; k++) {
        const struct metric_def *def = &ops->metrics[k];
        if (def->kind != METRIC_HISTOGRAM)
            record_add_value(record, def, (double)(tally->samples[1][k] - tally->samples[0][k]));
        else if (tally->hists[k] != NULL && tally->hists[k]->total > 0)
            record_add_histogram(record, def, tally->hists[k]);
        else
            record_add_unobserved(record, def, "nothing was timed in the window");
    }
    for (unsigned i = 0; i < ENGINE_CAPS_MAX; i++) {
        const struct engine_cap *cap = &tally->found[i];
        if (tally->found_bits & 1u << i)
            record_add_finding(record, cap->name, record_states[cap->state], cap->note);
    }
}

void tally_free(struct engine_tally *tally)
{
    for (unsigned k = 0; k < ENGINE_COUNTERS_MAX; k++)
        hist_free(tally->hists[k]);
}

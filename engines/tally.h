/*
 * What the instances of one process have counted and timed within the window: for client and
 * server alike. Counters are read at both ends of the window, also of instances that were closed
 * in between; histograms are filled within it only (engine->measuring) and taken over when an
 * instance is closed, or when the record is made.
 *
 * The caller holds whatever keeps an instance from being closed meanwhile.
 */
#ifndef LAB_ENGINES_TALLY_H
#define LAB_ENGINES_TALLY_H

#include "core/record.h"
#include "engines/engine.h"

struct engine_tally {
    uint64_t samples[2][ENGINE_COUNTERS_MAX]; /* at t0, and the last one */
    uint64_t ended[ENGINE_COUNTERS_MAX];      /* of instances that are closed */
    struct hist *hists[ENGINE_COUNTERS_MAX];
    struct engine_cap found[ENGINE_CAPS_MAX]; /* what turned out to be without effect */
    uint32_t found_bits;                      /* which of these there are */
    bool measuring;
};

/* What the instance says that it can do, and how it waits. */
void tally_describe(const struct engine *engine, Lab__Ready *ready);

/* A sample of all: begin, then each instance. The first one begins the window. */
void tally_begin(struct engine_tally *tally, unsigned index);
void tally_add(struct engine_tally *tally, unsigned index, struct engine *engine);
/* One that was opened while the window may be open; one whose window is over; one that is about to
 * be closed. */
void tally_opened(const struct engine_tally *tally, struct engine *engine);
void tally_stop(struct engine *engine);
void tally_ended(struct engine_tally *tally, struct engine *engine);
/* The rows of the engine's table. Histograms of open instances must have been added by
 * tally_merge. */
void tally_merge(struct engine_tally *tally, struct engine *engine);
void tally_record(const struct engine_tally *tally, const struct engine_ops *ops,
                  Lab__Record *record);
void tally_free(struct engine_tally *tally);

#endif

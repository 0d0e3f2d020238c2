/*
 * The open loop's side of a worker: which ops are due when, which slots are free, and what the
 * difference costs. Private to client/.
 */
#ifndef LAB_CLIENT_SCHEDULE_H
#define LAB_CLIENT_SCHEDULE_H

#include "client/worker.h"

int schedule_open(struct load_worker *worker); /* -ENOMEM */
void schedule_close(struct load_worker *worker);
void schedule_begin(struct load_worker *worker);
/* When the next op is due; CLOCK_NEVER after the window. */
uint64_t schedule_next_ns(const struct load_worker *worker);
/* Starts what is due, as far as slots are free. */
void schedule_run(struct load_worker *worker);
/* A slot has become free, at worker->now_ns: it takes the op that waited longest, or waits. */
void schedule_slot_free(struct load_worker *worker, struct load_conn *conn, unsigned slot);
/* Of an op that was due and failed: in the latency, with its age, if that is --timeout at least,
 * since without those that took too long the others would look good. One that failed at once would
 * make itself look good. */
void schedule_record_late(struct load_worker *worker, uint64_t intended_ns);
/* What has not left so far never will: it counts as unfinished. */
void schedule_abandon(struct load_worker *worker);

/* worker.c: begins an op on a free slot at worker->now_ns. */
void worker_start_op(struct load_worker *worker, struct load_conn *conn, unsigned slot,
                     uint64_t intended_ns);
void worker_error(struct load_worker *worker, const char *kind, uint64_t count,
                  const char *example);
/* Whether a slot of this connection can take an op now. */
bool worker_conn_ready(const struct load_worker *worker, const struct load_conn *conn);

#endif

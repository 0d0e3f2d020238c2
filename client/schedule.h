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
/* After the drain: what never left counts as unfinished, with its age. */
void schedule_abandon(struct load_worker *worker);

/* worker.c: begins an op on a free slot at worker->now_ns. */
void worker_start_op(struct load_worker *worker, struct load_conn *conn, unsigned slot,
                     uint64_t intended_ns);
void worker_error(struct load_worker *worker, const char *kind, uint64_t count,
                  const char *example);
/* Whether a slot of this connection can take an op now. */
bool worker_conn_ready(const struct load_worker *worker, const struct load_conn *conn);

#endif

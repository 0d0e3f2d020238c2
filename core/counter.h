/*
 * A counter with one writer (its worker) that another thread may read at any time: relaxed
 * load and store compile to plain moves, so that it costs what an ordinary increment costs.
 */
#ifndef LAB_CORE_COUNTER_H
#define LAB_CORE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t value;
};

static inline void counter_add(struct counter *c, uint64_t n)
{
    uint64_t before = atomic_load_explicit(&c->value, memory_order_relaxed);
    atomic_store_explicit(&c->value, before + n, memory_order_relaxed);
}

static inline uint64_t counter_read(const struct counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

#endif

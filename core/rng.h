/* xoshiro256**: small, fast, seeded from one number; for schedules, shuffles and faults. */
#ifndef LAB_CORE_RNG_H
#define LAB_CORE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/* Uniform in [0, bound), without bias; bound at least 1. */
uint64_t rng_below(struct rng *rng, uint64_t bound);
/* Uniform in (0, 1]. */
double rng_unit(struct rng *rng);

#endif

/* The order of a run: rounds of every case, positions balanced and shuffled from a seed. */
#ifndef LAB_RUN_PLAN_H
#define LAB_RUN_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* order[round * cases + position] = case. Every case once a round; over each `cases` rounds in
 * a row every case once in every position; all from the seed. order has rounds * cases places. */
void plan_rounds(unsigned *order, size_t cases, unsigned rounds, uint64_t seed);

#endif

/* See plan.h. */
#include "run/plan.h"

#include <stdlib.h>

#include "core/rng.h"

static void shuffle(unsigned *items, size_t count, struct rng *rng)
{
    for (size_t i = count; i > 1; i--) {
        size_t k = (size_t)rng_below(rng, i);
        unsigned item = items[i - 1];
        items[i - 1] = items[k];
        items[k] = item;
    }
}

/*
 * Rows of a Latin square whose first row is shuffled, taken in shuffled order; a new square when
 * one is used up. Its columns balance the positions; shuffling alone would leave that to luck,
 * and six rounds are too few for luck. The step between rows follows Williams (1949): 0, 1, n-1,
 * 2, n-2 ..., so that who comes before whom is balanced too where the count is even.
 */
void plan_rounds(unsigned *order, size_t cases, unsigned rounds, uint64_t seed)
{
    unsigned *names = malloc(cases * sizeof(*names));
    unsigned *rows = malloc(cases * sizeof(*rows));
    struct rng rng;

    if (names == NULL || rows == NULL)
        abort();
    rng_seed(&rng, seed);
    for (unsigned round = 0; round < rounds; round++) {
        size_t in_square = round % cases;
        if (in_square == 0) {
            for (size_t i = 0; i < cases; i++)
                names[i] = rows[i] = (unsigned)i;
            shuffle(names, cases, &rng);
            shuffle(rows, cases, &rng);
        }
        for (size_t position = 0; position < cases; position++) {
            size_t step = position % 2 == 1 ? (position + 1) / 2 : cases - position / 2;
            size_t name = (rows[in_square] + step) % cases;
            order[round * cases + position] = names[name];
        }
    }
    free(names);
    free(rows);
}

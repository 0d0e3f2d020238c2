/*
 * See rng.h. xoshiro256** 1.0 (Blackman and Vigna, 2018), seeded through splitmix64 as its
 * authors ask, so that neighbouring seeds do not give neighbouring sequences.
 */
#include "core/rng.h"

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

void rng_seed(struct rng *rng, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        rng->s[i] = splitmix64(&seed);
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire's multiplication (2019): a division only when the low half could be biased. */
uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    unsigned __int128 product;

    if (bound < 2)
        return 0;
    product = (unsigned __int128)rng_next(rng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t biased = -bound % bound;

        while ((uint64_t)product < biased)
            product = (unsigned __int128)rng_next(rng) * bound;
    }
    return (uint64_t)(product >> 64);
}

double rng_unit(struct rng *rng)
{
    /* 53 bits and one up: log() of it is always finite. */
    return (double)((rng_next(rng) >> 11) + 1) * 0x1p-53;
}

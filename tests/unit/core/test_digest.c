/* The digest: the same however it is cut, and another one for whatever is wrong. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/digest.h"
#include "core/rng.h"

enum { BYTES = 5000 };

static void fill(uint8_t *data)
{
    struct rng rng;
    rng_seed(&rng, 42);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)rng_next(&rng);
}

Test(digest, it_does_not_matter_how_the_bytes_are_cut)
{
    uint8_t data[BYTES];
    struct rng rng;

    fill(data);
    rng_seed(&rng, 1);
    for (size_t size = 0; size < BYTES; size += 1 + size / 20) {
        uint64_t whole = digest_of(data, size);
        struct digest digest;
        digest_begin(&digest);
        for (size_t at = 0; at < size;) {
            size_t piece = 1 + rng_below(&rng, 200);
            piece = piece < size - at ? piece : size - at;
            digest_add(&digest, data + at, piece);
            at += piece;
        }
        cr_assert_eq(digest_end(&digest), whole, "%zu bytes", size);
        cr_assert_eq(digest_end(&digest), whole, "looking changes nothing");
    }
}

Test(digest, every_bit_counts)
{
    uint8_t data[BYTES];
    fill(data);
    uint64_t right = digest_of(data, BYTES);

    for (size_t bit = 0; bit < BYTES * 8; bit += 7) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(digest_of(data, BYTES), right, "bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(digest, the_highest_bits_of_two_words_of_a_lane_do_not_cancel)
{
    uint8_t data[BYTES];
    fill(data);
    uint64_t right = digest_of(data, BYTES);

    for (size_t block = 1; block < 60; block++) {
        data[7] ^= 0x80;
        data[block * DIGEST_BLOCK + 7] ^= 0x80;
        cr_assert_neq(digest_of(data, BYTES), right, "block %zu", block);
        data[7] ^= 0x80;
        data[block * DIGEST_BLOCK + 7] ^= 0x80;
    }
}

Test(digest, pieces_that_changed_places_are_found)
{
    uint8_t data[BYTES], swapped[BYTES];
    fill(data);
    uint64_t right = digest_of(data, BYTES);

    for (size_t size = 8; size <= 1024; size *= 2) {
        memcpy(swapped, data, BYTES);
        memcpy(swapped, data + size, size);
        memcpy(swapped + size, data, size);
        cr_assert_neq(digest_of(swapped, BYTES), right, "%zu bytes", size);
    }
}

Test(digest, zeros_at_the_end_count)
{
    static const uint8_t zeros[200];

    for (size_t size = 1; size < sizeof(zeros); size++)
        cr_assert_neq(digest_of(zeros, size), digest_of(zeros, size - 1));
}

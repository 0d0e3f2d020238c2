/* Messages that come in pieces. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/gather.h"

static void gather_in_pieces(struct gather *gather, struct pool *pool, const uint8_t *message,
                             uint32_t size, uint32_t piece)
{
    gather_begin(gather, size);
    for (uint32_t at = 0; at < size; at += piece)
        cr_assert_eq(gather_add(gather, pool, message + at, size - at < piece ? size - at : piece),
                     0);
    cr_assert_eq(gather->got, size);
    cr_assert_arr_eq(gather_bytes(gather), message, size);
}

Test(gather, in_any_pieces_and_one_after_the_other)
{
    static const uint32_t sizes[] = {0, 1, 4095, 4096, 4097, 100000, 3, 8192, 6u << 20};
    static const uint32_t pieces[] = {1, 7, 4096, 16384, UINT32_MAX / 2};
    uint8_t *message = malloc(6u << 20);
    struct gather gather = {0};
    struct pool pool = {0};

    for (uint32_t i = 0; i < 6u << 20; i++)
        message[i] = (uint8_t)(i * 2654435761u >> 24);
    for (unsigned p = 0; p < sizeof(pieces) / sizeof(*pieces); p++)
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
            gather_in_pieces(&gather, &pool, message, sizes[i], pieces[p]);
    gather_free(&gather, &pool);
    cr_assert_eq(pool.blocks, 0);
    pool_close(&pool);
    free(message);
}

Test(gather, nothing_is_still_something_to_point_at)
{
    struct gather gather = {0};

    gather_begin(&gather, 0);
    cr_assert_not_null(gather_bytes(&gather));
}

Test(gather, what_is_announced_costs_nothing)
{
    struct gather gather = {0};
    struct pool pool = {0};

    gather_begin(&gather, UINT32_MAX);
    cr_assert_eq(pool.system_bytes, 0);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(gather_add(&gather, &pool, "0123456789", 10), 0);
    cr_assert_leq(pool.system_bytes, 200000, "%llu", (unsigned long long)pool.system_bytes);
    gather_free(&gather, &pool);
    pool_close(&pool);
}

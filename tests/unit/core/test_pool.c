/* The pool: what is given back is used again, and nothing overlaps. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/pool.h"
#include "core/rng.h"

Test(pool, blocks_are_aligned_and_as_large_as_was_asked)
{
    struct pool pool = {0};
    static const size_t sizes[] = {0, 1, 16, 17, 100, 4096, 70000, 5u << 20};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint8_t *memory = pool_take(&pool, sizes[i]);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % 16, 0);
        memset(memory, 0xab, sizes[i]);
        pool_give(&pool, memory);
    }
    cr_assert_eq(pool.blocks, 0);
    pool_close(&pool);
}

Test(pool, the_system_is_asked_once_for_what_comes_again)
{
    struct pool pool = {0};
    void *held[100];
    uint64_t grown = 0;

    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 100; i++)
            cr_assert_not_null(held[i] = pool_take(&pool, 1000));
        for (unsigned i = 0; i < 100; i++)
            pool_give(&pool, held[i]);
        if (round == 0)
            grown = pool.system_bytes;
    }
    cr_assert_eq(pool.system_bytes, grown);
    pool_close(&pool);
}

Test(pool, resizing_keeps_what_is_in_it)
{
    struct pool pool = {0};
    char *text = pool_resize(&pool, NULL, 10);

    strcpy(text, "a bit");
    text = pool_resize(&pool, text, 12);
    text = pool_resize(&pool, text, 100000);
    cr_assert_str_eq(text, "a bit");
    pool_give(&pool, text);
    pool_give(&pool, NULL);
    pool_close(&pool);
}

Test(pool, too_much_is_refused)
{
    struct pool pool = {0};

    cr_assert_null(pool_take(&pool, SIZE_MAX - 3));
    cr_assert_null(pool_take_zeroed(&pool, SIZE_MAX / 2, 4));
    pool_close(&pool);
}

Test(pool, nothing_overlaps_whatever_the_order)
{
    enum { HELD = 200 };
    struct pool pool = {0};
    struct rng rng;
    struct held {
        uint8_t *memory;
        size_t size;
        uint8_t mark;
    } held[HELD] = {0};

    rng_seed(&rng, 7);
    for (unsigned n = 0; n < 20000; n++) {
        struct held *one = &held[rng_below(&rng, HELD)];
        for (size_t i = 0; i < one->size; i++)
            cr_assert_eq(one->memory[i], one->mark);
        pool_give(&pool, one->memory);
        one->size = rng_below(&rng, 600);
        one->mark = (uint8_t)n;
        one->memory = pool_take(&pool, one->size);
        memset(one->memory, one->mark, one->size);
    }
    for (unsigned i = 0; i < HELD; i++)
        pool_give(&pool, held[i].memory);
    pool_close(&pool);
}

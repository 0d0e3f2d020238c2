/* Receive buffers: slices that give their place back, quotas, and who hears of a return. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/rng.h"
#include "engines/bufpool.h"

TestSuite(bufpool, .timeout = 20);

static unsigned returns;
static struct loans *returned_last;

static void on_returned(void *context, struct loans *loans)
{
    returns++;
    returned_last = loans;
}

static struct bufpool *pool_open(size_t receive, uint64_t bufs, uint64_t quota)
{
    const struct bufpool_config config = {
        .receive_bytes = receive,
        .bufs_max = bufs,
        .quota_bytes = quota,
        .returned = on_returned,
    };
    struct bufpool *pool;

    returns = 0;
    cr_assert_eq(bufpool_open(&pool, &config), 0);
    return pool;
}

static struct buf *receive(struct bufpool *pool, struct loans *loans, size_t size, uint8_t fill)
{
    size_t room;
    struct buf *buf = bufpool_peek(pool, loans, &room);

    cr_assert_not_null(buf);
    cr_assert_geq(room, size);
    memset(buf->data, fill, size);
    bufpool_lend(pool, buf, size, loans);
    return buf;
}

Test(bufpool, one_place_does_for_all_that_comes_back)
{
    struct bufpool *pool = pool_open(4096, 0, 1 << 20);
    struct loans one = {0}, other = {0};
    struct buf *buf = receive(pool, &one, 100, 1);
    uint8_t *place = buf->data;

    buf_unref(buf);
    for (unsigned i = 0; i < 1000; i++) {
        buf = receive(pool, i % 2 == 0 ? &one : &other, 1 + i * 4, 1);
        cr_assert_eq(buf->data, place);
        buf_unref(buf);
    }
    cr_assert(one.count == 0 && one.bytes == 0 && other.count == 0 && other.bytes == 0);
    bufpool_close(pool);
}

Test(bufpool, what_is_kept_takes_what_was_received)
{
    struct bufpool *pool = pool_open(65536, 0, 1 << 20);
    struct loans loans = {0};
    struct buf *first = receive(pool, &loans, 64, 1);
    struct buf *second = receive(pool, &loans, 1, 2);
    struct buf *third = receive(pool, &loans, 64, 3);

    cr_assert_eq(second->data, first->data + 64);
    cr_assert_eq(third->data, first->data + 128);
    uint8_t *place = third->data;
    buf_unref(third);
    third = receive(pool, &loans, 5000, 4);
    cr_assert_eq(third->data, place, "the last one's place is used again");
    cr_assert(first->data[63] == 1 && second->data[0] == 2);
    place = first->data;
    buf_unref(first);
    buf_unref(second);
    buf_unref(third);
    first = receive(pool, &loans, 1, 5);
    cr_assert_eq(first->data, place, "all back: from the beginning");
    buf_unref(first);
    bufpool_close(pool);
}

Test(bufpool, a_connection_stops_at_its_quota)
{
    struct bufpool *pool = pool_open(65536, 0, 100000);
    struct loans greedy = {0}, other = {0};
    struct buf *bufs[8];
    unsigned count = 0;
    size_t room, total = 0;

    while (bufpool_may_lend(pool, &greedy)) {
        cr_assert_not_null(bufpool_peek(pool, &greedy, &room));
        bufs[count] = receive(pool, &greedy, room, (uint8_t)count);
        count++;
        total += room;
    }
    cr_assert_eq(count, 2);
    cr_assert_leq(total, 100000, "the last receive was cut to what was left");
    cr_assert_geq(total, 99000);
    cr_assert(bufpool_may_lend(pool, &other));
    greedy.wanted = true;
    buf_unref(bufs[1]);
    cr_assert(returns == 1 && returned_last == &greedy);
    cr_assert(bufpool_may_lend(pool, &greedy));
    greedy.wanted = false;
    buf_unref(bufs[0]);
    cr_assert_eq(returns, 1, "not asked for");
    bufpool_close(pool);
}

Test(bufpool, a_quota_below_a_message_still_lets_one_through)
{
    struct bufpool *pool = pool_open(4096, 0, 1);
    struct loans loans = {0};

    for (unsigned i = 0; i < 3; i++) {
        cr_assert(bufpool_may_lend(pool, &loans));
        struct buf *buf = receive(pool, &loans, 4096, 1);
        cr_assert_not(bufpool_may_lend(pool, &loans));
        buf_unref(buf);
    }
    bufpool_close(pool);
}

Test(bufpool, a_limited_pool_keeps_half_from_each)
{
    struct bufpool *pool = pool_open(4096, 4, 1 << 20);
    struct loans one = {0}, other = {0}, third = {0};
    struct buf *bufs[4];
    size_t room;

    bufs[0] = receive(pool, &one, 10, 1);
    bufs[1] = receive(pool, &one, 10, 1);
    cr_assert_not(bufpool_may_lend(pool, &one));
    bufs[2] = receive(pool, &other, 10, 1);
    bufs[3] = receive(pool, &other, 10, 1);
    cr_assert(bufpool_may_lend(pool, &third));
    cr_assert_null(bufpool_peek(pool, &third, &room), "none left");
    bufpool_want(pool);
    buf_unref(bufs[0]);
    cr_assert(returns == 1 && returned_last == &one);
    bufs[0] = receive(pool, &third, 10, 1);
    for (unsigned i = 0; i < 4; i++)
        buf_unref(bufs[i]);
    cr_assert_eq(returns, 1, "wanted once, told once");
    bufpool_close(pool);
}

/* Many loans of random size and age: no two share a byte, and all comes back. */
Test(bufpool, random_loans_keep_their_bytes)
{
    enum { HELD = 500, CONNS = 8 };
    static struct {
        struct buf *buf;
        uint8_t fill;
        unsigned conn;
    } held[HELD];
    struct loans loans[CONNS] = {0};
    struct bufpool *pool = pool_open(8192, 0, 1ull << 40);
    struct rng rng;

    rng_seed(&rng, 3);
    for (unsigned step = 0; step < 50000; step++) {
        unsigned i = (unsigned)rng_below(&rng, HELD);
        if (held[i].buf != NULL) {
            for (uint32_t k = 0; k < held[i].buf->size; k++)
                cr_assert_eq(held[i].buf->data[k], held[i].fill);
            buf_unref(held[i].buf);
        }
        held[i].fill = (uint8_t)step;
        held[i].conn = (unsigned)rng_below(&rng, CONNS);
        held[i].buf = receive(pool, &loans[held[i].conn], 1 + rng_below(&rng, 400), held[i].fill);
    }
    for (unsigned i = 0; i < HELD; i++)
        if (held[i].buf != NULL)
            buf_unref(held[i].buf);
    for (unsigned i = 0; i < CONNS; i++)
        cr_assert(loans[i].count == 0 && loans[i].bytes == 0);
    bufpool_close(pool);
}

/* Send queues: gathers, partial progress, and each notification once and in order. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/rng.h"
#include "engines/engine.h"
#include "engines/sendq.h"

TestSuite(sendq, .timeout = 20);

static const uint8_t bytes[1 << 16];
static unsigned released;

static void buf_released(struct buf *buf)
{
    released++;
}

static void push(struct sendq *q, uint64_t size, uint64_t cookie)
{
    struct seg seg = seg_memory(bytes, size);
    cr_assert_eq(sendq_push(q, &seg, 1, cookie), 0);
}

static void sent_released(struct sendq *q, uint64_t size)
{
    sendq_sent(q, size);
    sendq_release(q, size, false);
}

static void expect(struct sendq *q, uint64_t cookie, uint64_t size, unsigned what)
{
    struct sendq_done done;
    cr_assert(sendq_take(q, &done));
    cr_assert_eq(done.cookie, cookie, "%lu, not %lu", done.cookie, cookie);
    cr_assert_eq(done.bytes, size);
    cr_assert_eq(done.what, what, "%u, not %u", done.what, what);
}

static void expect_none(struct sendq *q)
{
    struct sendq_done done;
    cr_assert_not(sendq_take(q, &done));
}

Test(sendq, an_empty_queue_has_nothing)
{
    struct sendq q = {0};
    struct iovec iov[4];
    uint64_t size = 1;
    struct seg file;

    cr_assert(sendq_is_drained(&q) && sendq_is_settled(&q));
    cr_assert_eq(sendq_gather(&q, iov, 4, UINT64_MAX, &size), 0);
    cr_assert_eq(size, 0);
    cr_assert_not(sendq_next_file(&q, &file));
    expect_none(&q);
    sendq_free(&q);
}

Test(sendq, refuses_what_is_no_segment)
{
    struct sendq q = {0};
    struct seg segs[2] = {seg_memory(bytes, 1), seg_memory(bytes, 0)};

    cr_assert_eq(sendq_push(&q, segs, 0, 1), -EINVAL);
    cr_assert_eq(sendq_push(&q, segs, 2, 1), -EINVAL);
    cr_assert(sendq_is_settled(&q), "nothing of it was taken");
    sendq_free(&q);
}

Test(sendq, gathers_from_where_the_stack_stopped)
{
    struct sendq q = {0};
    struct iovec iov[8];
    uint64_t size;

    push(&q, 10, 1);
    push(&q, 20, 0);
    push(&q, 30, 3);
    cr_assert_eq(sendq_gather(&q, iov, 8, UINT64_MAX, &size), 3);
    cr_assert_eq(size, 60);
    sent_released(&q, 15);
    expect(&q, 1, 10, ENGINE_SENT | ENGINE_RELEASED);
    expect_none(&q);
    cr_assert_eq(sendq_gather(&q, iov, 8, UINT64_MAX, &size), 2);
    cr_assert_eq(iov[0].iov_base, bytes + 5);
    cr_assert_eq(iov[0].iov_len, 15);
    cr_assert_eq(size, 45);
    cr_assert_eq(sendq_gather(&q, iov, 1, UINT64_MAX, &size), 1);
    cr_assert_eq(size, 15);
    cr_assert_eq(sendq_gather(&q, iov, 8, 16, &size), 2);
    cr_assert_eq(size, 16, "the last piece is cut");
    cr_assert_eq(iov[1].iov_len, 1);
    sent_released(&q, 44);
    expect_none(&q);
    cr_assert_eq(q.unsent_bytes, 1);
    sent_released(&q, 1);
    expect(&q, 3, 30, ENGINE_SENT | ENGINE_RELEASED);
    cr_assert(sendq_is_settled(&q));
    sendq_free(&q);
}

Test(sendq, a_send_of_many_segments_is_told_once)
{
    struct sendq q = {0};
    struct seg segs[3000];
    struct iovec iov[1024];
    uint64_t size;

    for (unsigned i = 0; i < 3000; i++)
        segs[i] = seg_memory(bytes + i, 1);
    cr_assert_eq(sendq_push(&q, segs, 3000, 9), 0);
    for (unsigned round = 0; round < 3; round++) {
        unsigned count = sendq_gather(&q, iov, 1024, UINT64_MAX, &size);
        cr_assert_eq(count, round < 2 ? 1024 : 952);
        cr_assert_eq(iov[0].iov_base, bytes + round * 1024);
        expect_none(&q);
        sent_released(&q, size);
    }
    expect(&q, 9, 3000, ENGINE_SENT | ENGINE_RELEASED);
    expect_none(&q);
    sendq_free(&q);
}

Test(sendq, a_file_ends_a_gather)
{
    struct sendq q = {0};
    struct seg segs[3] = {seg_memory(bytes, 10), seg_file(5, 1000, 100), seg_memory(bytes, 7)};
    struct seg file;
    struct iovec iov[4];
    uint64_t size;

    cr_assert_eq(sendq_push(&q, segs, 3, 2), 0);
    cr_assert_not(sendq_next_file(&q, &file));
    cr_assert_eq(sendq_gather(&q, iov, 4, UINT64_MAX, &size), 1);
    sent_released(&q, 10);
    cr_assert_eq(sendq_gather(&q, iov, 4, UINT64_MAX, &size), 0);
    cr_assert(sendq_next_file(&q, &file));
    cr_assert(file.fd == 5 && file.file_offset == 1000 && file.size == 100);
    sent_released(&q, 40);
    cr_assert(sendq_next_file(&q, &file));
    cr_assert(file.file_offset == 1040 && file.size == 60);
    sent_released(&q, 60);
    cr_assert_eq(sendq_gather(&q, iov, 4, UINT64_MAX, &size), 1);
    sent_released(&q, 7);
    expect(&q, 2, 117, ENGINE_SENT | ENGINE_RELEASED);
    sendq_free(&q);
}

Test(sendq, zero_copy_is_told_in_two_steps)
{
    struct sendq q = {0};

    push(&q, 10, 1);
    push(&q, 10, 2);
    push(&q, 10, 3);
    sendq_sent(&q, 25);
    expect(&q, 1, 10, ENGINE_SENT);
    expect(&q, 2, 10, ENGINE_SENT);
    expect_none(&q);
    sendq_release(&q, 15, true);
    expect(&q, 1, 10, ENGINE_RELEASED | ENGINE_COPIED);
    expect_none(&q);
    sendq_sent(&q, 5);
    sendq_release(&q, 15, false);
    expect(&q, 2, 10, ENGINE_RELEASED | ENGINE_COPIED);
    expect(&q, 3, 10, ENGINE_SENT | ENGINE_RELEASED);
    cr_assert(sendq_is_settled(&q));
    sendq_free(&q);
}

Test(sendq, received_buffers_are_let_go_when_released)
{
    struct sendq q = {0};
    struct buf buf = {.data = (uint8_t *)(uintptr_t)bytes, .size = 9, .refs = 1};
    struct seg segs[2] = {seg_buf(&buf, buf.data, 4), seg_buf(buf_ref(&buf), buf.data + 4, 5)};

    released = 0;
    buf.release = buf_released;
    cr_assert_eq(sendq_push(&q, segs, 2, 0), 0);
    cr_assert_eq(buf.refs, 2, "its references are those that came with the segments");
    sendq_sent(&q, 9);
    expect_none(&q);
    cr_assert_eq(buf.refs, 2, "sent, but not released");
    sendq_release(&q, 4, false);
    expect_none(&q);
    cr_assert_eq(buf.refs, 1);
    sendq_release(&q, 5, false);
    expect_none(&q);
    cr_assert_eq(released, 1);
    sendq_free(&q);
}

Test(sendq, dropping_releases_without_having_sent)
{
    struct sendq q = {0};
    struct sendq_done done;

    push(&q, 10, 1);
    push(&q, 10, 0);
    push(&q, 10, 3);
    push(&q, 10, 4);
    sent_released(&q, 12);
    sendq_sent(&q, 9); /* in the middle of the third */
    cr_assert(sendq_drop(&q, &done));
    cr_assert(done.cookie == 1 && done.what == (ENGINE_SENT | ENGINE_RELEASED));
    cr_assert(sendq_drop(&q, &done));
    cr_assert(done.cookie == 3 && done.what == ENGINE_RELEASED);
    cr_assert(sendq_drop(&q, &done));
    cr_assert(done.cookie == 4 && done.what == ENGINE_RELEASED);
    cr_assert_not(sendq_drop(&q, &done));
    cr_assert(sendq_is_settled(&q));
    push(&q, 5, 6); /* for the next connection in its place */
    cr_assert_eq(q.unsent_bytes, 5);
    sent_released(&q, 5);
    expect(&q, 6, 5, ENGINE_SENT | ENGINE_RELEASED);
    sendq_free(&q);
}

Test(sendq, memory_is_kept_when_it_is_enough)
{
    struct sendq q = {0};

    push(&q, 1, 0);
    struct sendq_entry *ring = q.ring;
    for (unsigned i = 0; i < 100000; i++) {
        push(&q, 1, i + 1);
        sent_released(&q, 1);
        if (i > 0)
            expect(&q, i, 1, ENGINE_SENT | ENGINE_RELEASED);
        else
            expect_none(&q);
    }
    cr_assert_eq(q.ring, ring);
    sent_released(&q, 1);
    sendq_free(&q);
}

Test(sendq, what_the_stack_took_is_told_at_once)
{
    struct sendq q = {0};
    struct sendq_done done;
    struct buf buf = {.data = (uint8_t *)(uintptr_t)bytes, .size = 9, .refs = 1};
    struct seg seg = seg_buf(&buf, buf.data, 9);

    released = 0;
    buf.release = buf_released;
    push(&q, 10, 1);
    cr_assert(sendq_took(&q, 10, &done));
    cr_assert(done.cookie == 1 && done.bytes == 10);
    cr_assert_eq(done.what, ENGINE_SENT | ENGINE_RELEASED);
    expect_none(&q);
    cr_assert(sendq_is_settled(&q) && q.unsent_bytes == 0);
    cr_assert_eq(sendq_push(&q, &seg, 1, 0), 0);
    cr_assert_not(sendq_took(&q, 4, &done), "nobody asked");
    cr_assert_eq(released, 0, "only a part of it");
    cr_assert_not(sendq_took(&q, 5, &done));
    cr_assert_eq(released, 1);
    push(&q, 10, 2);
    cr_assert_not(sendq_took(&q, 0, &done));
    push(&q, 20, 3);
    cr_assert(sendq_took(&q, 30, &done) && done.cookie == 2);
    expect(&q, 3, 20, ENGINE_SENT | ENGINE_RELEASED);
    expect_none(&q);
    sendq_free(&q);
}

Test(sendq, what_is_not_released_yet_stays_before_what_the_stack_took)
{
    struct sendq q = {0};
    struct sendq_done done;

    push(&q, 10, 1);
    sendq_sent(&q, 10);
    expect(&q, 1, 10, ENGINE_SENT);
    push(&q, 7, 2);
    cr_assert(sendq_is_one_piece(&q));
    cr_assert(sendq_took(&q, 7, &done));
    cr_assert(done.cookie == 2 && done.what == ENGINE_SENT, "releases go in order");
    expect_none(&q);
    sendq_release(&q, 10, false);
    expect(&q, 1, 10, ENGINE_RELEASED);
    expect(&q, 2, 7, ENGINE_RELEASED);
    cr_assert(sendq_is_settled(&q));
    sendq_free(&q);
}

/* The same sends and steps, the two ways. */
Test(sendq, taken_at_once_or_in_two_steps_is_the_same)
{
    struct sendq one = {0}, two = {0};
    struct rng rng;

    rng_seed(&rng, 11);
    for (unsigned i = 1; i < 20000; i++) {
        struct sendq_done a = {0}, b = {0};
        struct iovec iov_one[8], iov_two[8];
        uint64_t size_one, size_two;
        struct seg segs[2] = {seg_memory(bytes, 1 + rng_below(&rng, 40)),
                              seg_memory(bytes + 50, 1 + rng_below(&rng, 40))};
        unsigned n = 1 + (rng_below(&rng, 4) == 0);
        uint64_t cookie = rng_below(&rng, 2) * i;
        if (rng_below(&rng, 3) > 0 || sendq_is_drained(&one)) {
            cr_assert_eq(sendq_push(&one, segs, n, cookie), 0);
            cr_assert_eq(sendq_push_slowly(&two, segs, n, cookie), 0);
        }
        uint64_t most = 1 + rng_below(&rng, 120);
        unsigned count = sendq_gather(&one, iov_one, 8, most, &size_one);
        cr_assert_eq(sendq_gather_slowly(&two, iov_two, 8, most, &size_two), count);
        cr_assert_eq(size_one, size_two);
        cr_assert_eq(memcmp(iov_one, iov_two, count * sizeof(*iov_one)), 0);
        bool due = sendq_took(&one, size_one, &a);
        sent_released(&two, size_two);
        do {
            cr_assert_eq(sendq_take_slowly(&two, &b), due);
            if (due)
                cr_assert(a.cookie == b.cookie && a.bytes == b.bytes && a.what == b.what);
        } while (due && ((due = sendq_take(&one, &a)), true));
        cr_assert_eq(one.unsent_bytes, two.unsent_bytes);
    }
    sendq_free(&one);
    sendq_free(&two);
}

/* Sends of random shape, sent and released in random steps, against plain sums. */
Test(sendq, random_progress_tells_each_send_once_and_in_order)
{
    enum { SENDS = 20000 };
    static uint64_t ends[SENDS + 1]; /* of send i + 1, in the stream */
    struct sendq q = {0};
    struct rng rng;
    uint64_t pushed = 0, sent = 0, let_go = 0, next_sent = 1, next_released = 1, count = 0;

    rng_seed(&rng, 7);
    while (next_released <= SENDS) {
        struct sendq_done done;
        if (count < SENDS && rng_below(&rng, 3) == 0) {
            struct seg segs[5];
            unsigned n = 1 + (unsigned)rng_below(&rng, 5);
            for (unsigned i = 0; i < n; i++) {
                segs[i] = seg_memory(bytes, 1 + rng_below(&rng, 100));
                pushed += segs[i].size;
            }
            ends[++count] = pushed;
            cr_assert_eq(sendq_push(&q, segs, n, count), 0);
        }
        uint64_t step = rng_below(&rng, 200);
        step = step < pushed - sent ? step : pushed - sent;
        sendq_sent(&q, step);
        sent += step;
        step = rng_below(&rng, 200);
        step = step < sent - let_go ? step : sent - let_go;
        sendq_release(&q, step, false);
        let_go += step;
        while (sendq_take(&q, &done)) {
            if (done.what & ENGINE_SENT) {
                cr_assert_eq(done.cookie, next_sent++);
                cr_assert_leq(ends[done.cookie], sent);
            }
            if (done.what & ENGINE_RELEASED) {
                cr_assert_eq(done.cookie, next_released++);
                cr_assert_leq(ends[done.cookie], let_go);
            }
            cr_assert_eq(done.bytes, ends[done.cookie] - ends[done.cookie - 1]);
        }
        cr_assert(next_sent > count || ends[next_sent] > sent);
        cr_assert(next_released > count || ends[next_released] > let_go);
        cr_assert_eq(q.unsent_bytes, pushed - sent);
    }
    cr_assert(sendq_is_settled(&q));
    sendq_free(&q);
}

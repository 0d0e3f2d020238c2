/*
 * Receiving: a ring of provided buffers that all connections share, and a pool behind it from
 * which the ring is filled up once a round. So a buffer that somebody keeps never makes the ring
 * smaller, and the ring can be as small as is fast: it is walked in order, and what it spans
 * wants to stay in the cache.
 *
 * A connection that is paused or at its quota is not stopped by the kernel at once: what its
 * receive had taken by then waits in its stash, and is delivered first when it goes on.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engines/io_uring_internal.h"

#define URING_GROUP 0

#define URING_BUF_BYTES_MIN     4096u
#define URING_BUF_BYTES_MAX     (64u << 10)
#define URING_BUF_BYTES_UNKNOWN (16u << 10)
/* Measured, at any size of message up to 64 KiB: smaller ones run dry in every round, larger ones
 * leave the cache (at 64 KiB and 32 connections 8 buffers give 0.98 of a bare loop, 64 0.92). */
#define URING_RING_BYTES       (512u << 10)
#define URING_RING_ENTRIES_MIN 8u
/*
 * In bulk, which is messages above URING_BULK_MESSAGE_BYTES, receives are armed one at a time, and
 * the ring is a few large buffers. Measured over loopback against multishot receives, with bundles
 * or without: 1.2 to 1.6 for one connection's stream, 1.1 for 1 MiB echoed over one connection, 1.2
 * to 1.5 for 128 and 256 KiB over 32, and 0.95 to 1 for streams over 4. A multishot receive takes
 * all that is there before the first piece can be answered, for which the peer waits, and walks
 * over more memory than the cache holds.
 */
#define URING_BULK_MESSAGE_BYTES URING_BUF_BYTES_MAX
#define URING_BULK_BUF_BYTES     (256u << 10)
/* What a small piece is charged that pins a whole buffer: a quarter of an ordinary one. */
#define URING_CHARGE_BYTES_MAX (16u << 10)
#define URING_POOL_BYTES_MAX   (1ull << 30)
#define URING_POOL_COUNT_MAX   65536u /* buffer numbers have 16 bits */
#define URING_HUGE_BYTES       (2u << 20)

/* --- the pool --- */

/* As large as a message, as far as that is reasonable: one that takes several receives costs
 * more than the cache that a large buffer spoils. */
static uint32_t uring_buf_bytes(uint64_t message_bytes, uint32_t most_bytes)
{
    if (message_bytes == 0)
        return URING_BUF_BYTES_UNKNOWN;
    if (message_bytes <= URING_BUF_BYTES_MIN)
        return URING_BUF_BYTES_MIN;
    if (message_bytes >= most_bytes)
        return most_bytes;
    return (uint32_t)(message_bytes + 4095) / 4096 * 4096;
}

static void uring_pool_size(struct uring_engine *e, const struct engine_config *config)
{
    struct uring_pool *pool = &e->pool;
    const struct engine_common *common = config->options;

    /* Without a ring of buffers each receive that waits keeps its own: not a large one. */
    e->bulk = config->message_size > URING_BULK_MESSAGE_BYTES &&
              e->options.bundles != URING_BUNDLES_ON && uring_uses(e, URING_BUF_RING);
    pool->size =
        uring_buf_bytes(config->message_size, e->bulk ? URING_BULK_BUF_BYTES : URING_BUF_BYTES_MAX);
    pool->count_max = (uint32_t)(URING_POOL_BYTES_MAX / pool->size);
    pool->ring_target = (e->bulk ? URING_BULK_BUF_BYTES : URING_RING_BYTES) / pool->size;
    if (!e->bulk && pool->ring_target < URING_RING_ENTRIES_MIN)
        pool->ring_target = URING_RING_ENTRIES_MIN;
    pool->conn_count_max = UINT32_MAX;
    pool->charge_bytes_min =
        pool->size / 4 < URING_CHARGE_BYTES_MAX ? pool->size / 4 : URING_CHARGE_BYTES_MAX;
    if (common->bufs != 0) {
        /* A limited pool: no connection may have more than half of it on loan, and a quarter is
         * what a multishot receive can take before it is stopped. */
        pool->count_max =
            common->bufs < URING_POOL_COUNT_MAX ? (uint32_t)common->bufs : URING_POOL_COUNT_MAX;
        pool->conn_count_max = pool->count_max / 2 > 0 ? pool->count_max / 2 : 1;
    }
    if (pool->count_max > URING_POOL_COUNT_MAX)
        pool->count_max = URING_POOL_COUNT_MAX;
    pool->block_bufs = pool->ring_target < pool->count_max ? pool->ring_target : pool->count_max;
    if (common->bufs != 0 && pool->ring_target > pool->count_max / 4)
        pool->ring_target = pool->count_max / 4 > 0 ? pool->count_max / 4 : 1;
    pool->ring_entries = 1;
    while (pool->ring_entries < pool->ring_target)
        pool->ring_entries *= 2;
}

/* False: this kernel has none (Linux 5.19). */
static bool uring_pool_register(struct uring_engine *e)
{
    struct uring_pool *pool = &e->pool;
    size_t bytes = pool->ring_entries * sizeof(struct io_uring_buf);
    struct io_uring_buf_reg reg = {.ring_entries = pool->ring_entries, .bgid = URING_GROUP};

    pool->ring = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (pool->ring == NULL)
        return false;
    memset(pool->ring, 0, bytes);
    reg.ring_addr = (uint64_t)(uintptr_t)pool->ring;
    if (io_uring_register_buf_ring(&e->ring.io, &reg, 0) < 0) {
        free(pool->ring);
        pool->ring = NULL;
        return false;
    }
    io_uring_buf_ring_init(pool->ring);
    return true;
}

int uring_pool_open(struct uring_engine *e, const struct engine_config *config,
                    struct lab_error *err)
{
    struct uring_pool *pool = &e->pool;

    uring_pool_size(e, config);
    if (!uring_uses(e, URING_BUF_RING) || !uring_pool_register(e)) {
        e->ring.features &= ~(unsigned)(URING_BUF_RING | URING_BUNDLES);
        uring_pool_size(e, config);
    }
    uint32_t blocks = (pool->count_max + pool->block_bufs - 1) / pool->block_bufs;
    pool->table = calloc(pool->count_max, sizeof(*pool->table));
    pool->order = calloc(pool->ring_entries, sizeof(*pool->order));
    pool->blocks = calloc(blocks, sizeof(*pool->blocks));
    if (pool->table == NULL || pool->order == NULL || pool->blocks == NULL)
        return lab_fail(err, ENOMEM, "io_uring: no memory for %u receive buffers", pool->count_max);
    /* What fits a buffer gains nothing from several. */
    e->bundles = uring_uses(e, URING_BUNDLES) && !e->bulk &&
                 (config->message_size == 0 || config->message_size > pool->size);
    return 0;
}

void uring_pool_close(struct uring_engine *e)
{
    struct uring_pool *pool = &e->pool;

    for (uint32_t i = 0; i < pool->block_count; i++)
        free(pool->blocks[i]);
    free(pool->blocks);
    free(pool->order);
    free(pool->table);
    free(pool->ring);
    *pool = (struct uring_pool){0};
}

static void uring_buf_put(struct uring_engine *e, struct uring_buf *b)
{
    b->next = e->pool.free;
    e->pool.free = b;
}

static void uring_buf_release(struct buf *buf)
{
    struct uring_buf *b = (struct uring_buf *)buf;
    struct uring_conn *c = b->conn;

    c->lent_bytes -= b->charge_bytes;
    c->lent_count--;
    uring_buf_put(b->engine, b);
    /* Whoever waits for returns: to be delivered, to be read again, to be closed. */
    if (__builtin_expect(c->stash != NULL || !c->recv_armed || c->state == URING_CONN_ENDING, 0))
        uring_mark_dirty(b->engine, c);
}

/* A block more. Nothing is taken in steady state: the pool only grows with what is kept. */
static bool uring_pool_grow(struct uring_engine *e)
{
    struct uring_pool *pool = &e->pool;
    uint32_t count = pool->count_max - pool->count;

    if (count > pool->block_bufs)
        count = pool->block_bufs;
    if (count == 0)
        return false;
    size_t bytes = (size_t)count * pool->size;
    size_t align = bytes >= URING_HUGE_BYTES ? URING_HUGE_BYTES : 4096;
    uint8_t *block = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (block == NULL)
        return false;
    if (align == URING_HUGE_BYTES)
        madvise(block, bytes, MADV_HUGEPAGE);
    pool->blocks[pool->block_count++] = block;
    for (uint32_t i = count; i-- > 0;) {
        struct uring_buf *b = &pool->table[pool->count + i];
        *b = (struct uring_buf){
            .buf.release = uring_buf_release,
            .engine = e,
            .memory = block + (size_t)i * pool->size,
            .id = (uint16_t)(pool->count + i),
        };
        uring_buf_put(e, b);
    }
    pool->count += count;
    return true;
}

static struct uring_buf *uring_buf_take(struct uring_engine *e)
{
    struct uring_pool *pool = &e->pool;

    if (pool->free == NULL && !uring_pool_grow(e))
        return NULL;
    struct uring_buf *b = pool->free;
    pool->free = b->next;
    return b;
}

/*
 * Before Linux 5.19 each takes an entry; what finds no room goes with the next round. Until 5.18 a
 * receive that waits keeps the buffer that it has chosen, so that there is one more for each
 * connection: else those that are idle would leave none to the others. Not for kernels with
 * multishot receives (6.0), one of which could take them all.
 */
static void uring_pool_provide(struct uring_engine *e)
{
    struct uring_pool *pool = &e->pool;
    uint32_t kept = uring_uses(e, URING_MULTISHOT) ? 0 : e->conns.count;

    while (pool->ring_fill < pool->ring_target + kept &&
           io_uring_sq_space_left(&e->ring.io) > URING_STEP_ENTRIES) {
        struct uring_buf *b = uring_buf_take(e);
        if (b == NULL)
            return;
        struct io_uring_sqe *sqe = uring_sqe(e);
        io_uring_prep_provide_buffers(sqe, b->memory, (int)pool->size, 1, URING_GROUP, b->id);
        io_uring_sqe_set_data64(sqe, uring_tag(URING_PROVIDE, b->id, 0));
        if (uring_uses(e, URING_CQE_SKIP))
            sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        pool->ring_fill++;
    }
}

void uring_provide_done(struct uring_engine *e, uint32_t id, int result)
{
    if (result >= 0)
        return;
    e->pool.ring_fill--;
    uring_buf_put(e, &e->pool.table[id]);
}

void uring_pool_fill(struct uring_engine *e)
{
    struct uring_pool *pool = &e->pool;
    unsigned mask = pool->ring_entries - 1;
    unsigned added = 0;

    if (pool->ring == NULL) {
        uring_pool_provide(e);
        return;
    }
    while (pool->ring_fill < pool->ring_target) {
        struct uring_buf *b = uring_buf_take(e);
        if (b == NULL)
            break;
        b->place = (uint16_t)((pool->ring_tail + added) & mask);
        pool->order[b->place] = b->id;
        io_uring_buf_ring_add(pool->ring, b->memory, pool->size, b->id, (int)mask, (int)added);
        added++;
        pool->ring_fill++;
    }
    if (added == 0)
        return;
    pool->ring_tail = (uint16_t)(pool->ring_tail + added);
    io_uring_buf_ring_advance(pool->ring, (int)added);
}

/* --- delivering --- */

static bool uring_at_quota(const struct uring_engine *e, const struct uring_conn *c)
{
    return c->lent_bytes >= e->options.common.loan_bytes || c->lent_count >= e->pool.conn_count_max;
}

static void uring_deliver(struct uring_engine *e, struct uring_conn *c, struct uring_buf *b,
                          unsigned flags)
{
    /* What is kept pins the whole buffer: small pieces are charged a part of it, so that they
     * cannot pin more than four times the quota, in bulk sixteen. */
    b->charge_bytes =
        b->buf.size > e->pool.charge_bytes_min ? b->buf.size : e->pool.charge_bytes_min;
    b->conn = c;
    b->buf.refs = 1;
    c->lent_bytes += b->charge_bytes;
    c->lent_count++;
    e->calls_up++;
    e->base.events->on_recv(c->ctx, &b->buf, flags);
    buf_unref(&b->buf);
    if (__builtin_expect(uring_at_quota(e, c), 0)) {
        c->recv_over_round = e->round;
        engine_count(&e->base, ENGINE_BUF_SHORTAGES, 1);
    }
}

static void uring_stash(struct uring_engine *e, struct uring_conn *c, struct uring_buf *b)
{
    b->next = NULL;
    if (c->stash_last != NULL)
        c->stash_last->next = b;
    else
        c->stash = b;
    c->stash_last = b;
    uring_mark_dirty(e, c);
}

void uring_recv_drop_stash(struct uring_engine *e, struct uring_conn *c)
{
    while (c->stash != NULL) {
        struct uring_buf *b = c->stash;
        c->stash = b->next;
        uring_buf_put(e, b);
    }
    c->stash_last = NULL;
}

static void uring_deliver_stash(struct uring_engine *e, struct uring_conn *c)
{
    while (c->stash != NULL && c->state == URING_CONN_OPEN && !c->recv_paused &&
           !uring_at_quota(e, c)) {
        struct uring_buf *b = c->stash;
        c->stash = b->next;
        if (c->stash == NULL)
            c->stash_last = NULL;
        uring_deliver(e, c, b, c->stash != NULL ? ENGINE_RECV_MORE : 0);
    }
}

/* One buffer that the kernel has filled. */
static void uring_received(struct uring_engine *e, struct uring_conn *c, unsigned id, uint32_t size,
                           unsigned flags)
{
    struct uring_buf *b = &e->pool.table[id];

    assert(id < e->pool.count);
    e->pool.ring_fill--;
    b->buf.data = b->memory;
    b->buf.size = size;
    if (__builtin_expect(c->state != URING_CONN_OPEN, 0)) {
        uring_buf_put(e, b);
        if (c->state == URING_CONN_CLOSING) {
            c->recv_dropped = true;
            uring_mark_dirty(e, c);
        }
    } else if (__builtin_expect(c->stash != NULL || c->recv_paused || uring_at_quota(e, c), 0)) {
        uring_stash(e, c, b);
    } else {
        uring_deliver(e, c, b, flags);
    }
}

/* A bundle fills the buffers in the order in which they lie in the ring. */
static void uring_received_bundle(struct uring_engine *e, struct uring_conn *c, unsigned id,
                                  uint32_t size)
{
    struct uring_pool *pool = &e->pool;
    uint32_t place = pool->table[id].place;

    while (size > 0) {
        uint32_t piece = size < pool->size ? size : pool->size;
        size -= piece;
        uring_received(e, c, pool->order[place], piece, size > 0 ? ENGINE_RECV_MORE : 0);
        place = (place + 1) & (pool->ring_entries - 1);
    }
}

/* It is armed again when its turn comes: see uring_feed_starved. */
static void uring_recv_starve(struct uring_engine *e, struct uring_conn *c)
{
    if (c->recv_starved || c->state != URING_CONN_OPEN)
        return;
    c->recv_starved = true;
    c->starved_next = NULL;
    if (e->starved.last != NULL)
        e->starved.last->starved_next = c;
    else
        e->starved.first = c;
    e->starved.last = c;
}

static void uring_recv_stopped(struct uring_engine *e, struct uring_conn *c, int result)
{
    switch (result) {
    case -ENOBUFS:
        engine_count(&e->base, ENGINE_BUF_SHORTAGES, 1);
        uring_recv_starve(e, c);
        return;
    case -ECANCELED:
    case -EAGAIN:
    case -EINTR: return;
    default: c->recv_ended = true; c->recv_err = -result;
    }
}

void uring_recv_done(struct uring_engine *e, struct uring_conn *c, int result, unsigned flags)
{
    if (__builtin_expect(!(flags & IORING_CQE_F_MORE), 0)) {
        c->recv_armed = false;
        c->recv_cancelled = false;
        c->ops--;
        uring_mark_dirty(e, c);
    }
    unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
    if (__builtin_expect(result <= 0, 0)) {
        if (flags & IORING_CQE_F_BUFFER) {
            e->pool.ring_fill--;
            uring_buf_put(e, &e->pool.table[id]);
        }
        uring_recv_stopped(e, c, result);
        return;
    }
    engine_count(&e->base, ENGINE_RECVS, 1);
    engine_count(&e->base, ENGINE_RECV_BYTES, (uint64_t)result);
    if (__builtin_expect((uint32_t)result > e->pool.size, 0))
        uring_received_bundle(e, c, id, (uint32_t)result);
    else
        uring_received(e, c, id, (uint32_t)result,
                       flags & IORING_CQE_F_SOCK_NONEMPTY ? ENGINE_RECV_MORE : 0);
}

/* --- arming --- */

/*
 * One at a time in bulk, see above; while others wait for a buffer, all of which a multishot
 * receive could take; and on UNIX sockets, where a multishot receive can miss the end, or the
 * reset, that comes on the heels of bytes, and nothing tells of it again (liburing's reports, no.
 * 1549; seen on Linux 6.18.44 too, in one of some thousand connections). TCP says itself that there
 * is more, when that is a FIN; of a reset it does not, so that what a failed send has to wait for
 * is received one at a time as well. Known and left: who only reads, of a peer that resets on the
 * heels of bytes, may not hear of it, and is left to its time-out. A poll for the hang-up beside
 * each multishot receive would tell.
 */
static void uring_recv_arm(struct uring_engine *e, struct uring_conn *c)
{
    struct io_uring_sqe *sqe = uring_sqe(e);

    c->recv_multishot =
        uring_uses(e, URING_MULTISHOT) && !c->recv_single && !e->bulk && e->starved.first == NULL;
    if (c->recv_multishot)
        io_uring_prep_recv_multishot(sqe, c->ring_fd, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, c->ring_fd, NULL, e->pool.size, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT | c->ring_flags;
    sqe->buf_group = URING_GROUP;
    if (e->bundles && e->starved.first == NULL) {
        sqe->ioprio |= IORING_RECVSEND_BUNDLE;
        sqe->len = 0;
    }
    io_uring_sqe_set_data64(sqe, uring_conn_tag(c, URING_RECV));
    c->recv_armed = true;
    c->ops++;
}

void uring_recv_step(struct uring_engine *e, struct uring_conn *c)
{
    uring_deliver_stash(e, c);
    if (c->state != URING_CONN_OPEN)
        return;
    if (c->recv_armed) {
        /* Only once something had to be stashed: most pauses are over before. And the round in
         * which the quota was reached is let pass: an answer that goes out with its end brings
         * the loans back, and stopping would have cost two entries and a round. */
        bool full = c->stash != NULL && (c->recv_paused || c->recv_over_round != e->round);
        bool missed = c->send_err != 0 && c->recv_multishot;
        if ((full || missed) && !c->recv_cancelled) {
            uring_conn_cancel(e, c, uring_conn_tag(c, URING_RECV));
            c->recv_cancelled = true;
        }
        return;
    }
    /* The last words are read, or there are none that could be, later. */
    if (c->send_err != 0 && c->stash == NULL &&
        (c->recv_ended || ((c->recv_paused || uring_at_quota(e, c)) && !uring_has_unread(e, c)))) {
        uring_conn_end(e, c, sock_reason(c->send_err), c->send_err);
        return;
    }
    if (c->recv_paused || c->stash != NULL || c->recv_starved || uring_at_quota(e, c))
        return;
    if (!c->recv_ended && e->starved.first != NULL && !e->feeding) {
        uring_recv_starve(e, c); /* behind those that wait for a buffer */
    } else if (!c->recv_ended) {
        uring_recv_arm(e, c);
    } else if (c->recv_err != 0) {
        uring_conn_end(e, c, sock_reason(c->recv_err), c->recv_err);
    } else if (!c->eof_told) {
        c->eof_told = true;
        e->calls_up++;
        e->base.events->on_eof(c->ctx);
    }
}

/* See sendq.h. */
#include "engines/sendq.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/line.h"

#define SENDQ_ROOM_FIRST 4u

/* One of them is one line of the cache. */
static_assert(sizeof(struct sendq_entry) == LINE_BYTES, "an entry is a cache line");

static int sendq_grow(struct sendq *q, uint32_t needed)
{
    uint64_t room = q->room == 0 ? SENDQ_ROOM_FIRST : q->room;

    while (room < needed)
        room *= 2;
    if (room > UINT32_MAX / 2)
        return -ENOMEM;
    struct sendq_entry *ring = line_calloc(room * sizeof(*ring));
    if (ring == NULL)
        return -ENOMEM;
    for (uint32_t i = q->released; i != q->pushed; i++)
        ring[i & (room - 1)] = *sendq_at(q, i);
    free(q->ring);
    q->ring = ring;
    q->room = (uint32_t)room;
    return 0;
}

void sendq_free(struct sendq *q)
{
    free(q->ring);
    *q = (struct sendq){0};
}

int sendq_push_slowly(struct sendq *q, const struct seg *segs, unsigned count, uint64_t cookie)
{
    uint32_t held = q->pushed - q->released;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        if (segs[i].size == 0)
            return -EINVAL;
        bytes += segs[i].size;
    }
    if (count == 0)
        return -EINVAL;
    if (count > q->room - held) {
        if (count > UINT32_MAX / 4 - held)
            return -ENOMEM;
        int r = sendq_grow(q, held + count);
        if (r < 0)
            return r;
    }
    for (unsigned i = 0; i < count; i++) {
        struct sendq_entry *entry = sendq_at(q, q->pushed++);
        entry->seg = segs[i];
        entry->cookie = cookie;
        entry->bytes = i + 1 == count ? bytes : 0;
        entry->copied = false;
    }
    q->unsent_bytes += bytes;
    return 0;
}

unsigned sendq_gather_slowly(const struct sendq *q, struct iovec *iov, unsigned max,
                             uint64_t bytes_max, uint64_t *bytes)
{
    uint64_t offset = q->sent_offset;
    uint64_t left = bytes_max;
    unsigned count = 0;

    for (uint32_t i = q->sent; i != q->pushed && count < max && left > 0; i++) {
        const struct seg *seg = &sendq_at(q, i)->seg;
        if (seg->data == NULL)
            break;
        uint64_t size = seg->size - offset;
        size = size < left ? size : left;
        /* A send never writes to what it is given. */
        iov[count++] = (struct iovec){
            .iov_base = (void *)(uintptr_t)(seg->data + offset),
            .iov_len = size,
        };
        left -= size;
        offset = 0;
    }
    *bytes = bytes_max - left;
    return count;
}

bool sendq_file_behind(const struct sendq *q, unsigned pieces, uint64_t bytes, struct seg *file)
{
    uint64_t whole = 0;

    if (pieces == 0)
        return sendq_next_file(q, file);
    if (q->pushed - q->sent <= pieces)
        return false;
    for (unsigned i = 0; i < pieces; i++)
        whole += sendq_at(q, q->sent + i)->seg.size;
    /* The last piece may have been cut. */
    if (whole - q->sent_offset != bytes)
        return false;
    *file = sendq_at(q, q->sent + pieces)->seg;
    return file->data == NULL;
}

void sendq_sent(struct sendq *q, uint64_t bytes)
{
    q->unsent_bytes -= bytes;
    q->sent_offset += bytes;
    while (q->sent != q->pushed) {
        uint64_t size = sendq_at(q, q->sent)->seg.size;
        if (q->sent_offset < size)
            break;
        q->sent_offset -= size;
        q->sent++;
    }
}

void sendq_release(struct sendq *q, uint64_t bytes, bool copied)
{
    if (__builtin_expect(copied, 0)) {
        uint64_t covered = q->released_bytes + bytes;
        for (uint32_t i = q->released; i != q->pushed && covered > 0; i++) {
            struct sendq_entry *entry = sendq_at(q, i);
            entry->copied = true;
            covered -= covered < entry->seg.size ? covered : entry->seg.size;
        }
    }
    q->released_bytes += bytes;
}

/* Settles the oldest segment; true if its send has come to its end and wants to know. */
static bool sendq_settle(struct sendq *q, struct sendq_done *done, unsigned what)
{
    struct sendq_entry *entry = sendq_at(q, q->released);

    if (q->told == q->released)
        q->told++;
    q->released++;
    if (entry->seg.buf != NULL)
        buf_unref(entry->seg.buf);
    if (entry->bytes == 0 || entry->cookie == 0)
        return false;
    *done = (struct sendq_done){
        .cookie = entry->cookie,
        .bytes = entry->bytes,
        .what = what | (entry->copied ? ENGINE_COPIED : 0),
    };
    return true;
}

bool sendq_take_slowly(struct sendq *q, struct sendq_done *done)
{
    while (q->released != q->sent) {
        uint64_t size = sendq_at(q, q->released)->seg.size;
        if (q->released_bytes < size)
            break;
        q->released_bytes -= size;
        unsigned sent = q->told == q->released ? ENGINE_SENT : 0;
        if (sendq_settle(q, done, ENGINE_RELEASED | sent))
            return true;
    }
    while (q->told != q->sent) {
        struct sendq_entry *entry = sendq_at(q, q->told++);
        if (entry->bytes == 0 || entry->cookie == 0)
            continue;
        *done = (struct sendq_done){entry->cookie, entry->bytes, ENGINE_SENT};
        return true;
    }
    return false;
}

bool sendq_drop(struct sendq *q, struct sendq_done *done)
{
    if (sendq_take(q, done))
        return true;
    while (!sendq_is_settled(q)) {
        if (q->sent == q->released)
            q->sent++;
        if (sendq_settle(q, done, ENGINE_RELEASED))
            return true;
    }
    q->sent_offset = q->unsent_bytes = q->released_bytes = 0;
    return false;
}

/*
 * What travels between engine and protocol: received buffers on loan, and segments to send.
 *
 * A struct buf is lent by the engine for the length of one on_recv call. Who wants it longer
 * takes a reference (buf_ref) and gives it back (buf_unref) on the same thread. It carries its
 * own release function, so that an engine that wraps another can lend as well, and a protocol
 * that has memory of its own to send can hear when the engine lets go of it, for less than a
 * notification costs.
 */
#ifndef LAB_CORE_SEG_H
#define LAB_CORE_SEG_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;                    /* first received byte */
    uint32_t size;                    /* received bytes, at least 1 */
    uint32_t refs;                    /* touched by one thread only */
    void (*release)(struct buf *buf); /* called when refs falls to 0; it only marks */
    /* How many buffers under it, one upon the other, are not returned before it is: 0 but where an
     * engine lends what it was given to send. */
    uint32_t depth;
};

static inline struct buf *buf_ref(struct buf *buf)
{
    buf->refs++;
    return buf;
}

static inline void buf_unref(struct buf *buf)
{
    if (--buf->refs == 0)
        buf->release(buf);
}

/*
 * One piece to send. Exactly one of three kinds:
 *   memory  data != NULL, buf == NULL: stays valid and unchanged until RELEASED;
 *   buffer  data != NULL, buf != NULL: data lies inside buf, a received one or one's own; a
 *           reference on buf goes with the segment: send() takes it over and drops it when the
 *           piece is released, before RELEASED is told;
 *   file    data == NULL: size bytes of fd from file_offset; fd stays open until RELEASED.
 */
struct seg {
    const uint8_t *data;
    struct buf *buf;
    uint64_t size;        /* bytes, at least 1 */
    uint64_t file_offset; /* file segments only */
    int fd;               /* file segments only */
};

/*
 * Field by field into where it is wanted: a struct that is put together elsewhere and copied is
 * read in wider pieces than it was written in, which the processor cannot forward.
 */
static inline void seg_set_buf(struct seg *seg, struct buf *buf, const uint8_t *data, size_t size)
{
    seg->data = data;
    seg->buf = buf;
    seg->size = size;
    seg->file_offset = 0;
    seg->fd = -1;
}

static inline void seg_set_memory(struct seg *seg, const void *data, size_t size)
{
    seg_set_buf(seg, NULL, data, size);
}

static inline struct seg seg_memory(const void *data, size_t size)
{
    struct seg seg;

    seg_set_memory(&seg, data, size);
    return seg;
}

static inline struct seg seg_buf(struct buf *buf, const uint8_t *data, size_t size)
{
    struct seg seg;

    seg_set_buf(&seg, buf, data, size);
    return seg;
}

static inline struct seg seg_file(int fd, uint64_t offset, uint64_t size)
{
    return (struct seg){.size = size, .file_offset = offset, .fd = fd};
}

#endif

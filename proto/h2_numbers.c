/*
 * Server: which streams a frame may still come for. RFC 9113, 5.1 and 5.1.1.
 *
 * nghttp2 forgets a stream that is over, and takes what still comes on it for what was under way
 * when we reset it: it must be let pass, and is. A stream that the other end itself has ended, or
 * left out, is another matter: whoever goes on there breaks the protocol. So these are kept: a
 * bit for each of the newest streams.
 *
 * HEADERS are told to a callback of ours. DATA on a stream that is over are not, nor are frames of
 * types that the library does not know: they are dropped without a word. So the heads of frames are
 * walked here too, in step with the library: of the DATA frames that it tells of, each is the next
 * in the walk, and what the walk meets between them was dropped.
 */
#include <string.h>

#include "proto/h2_internal.h"

#define MAGIC_BYTES 24u /* before the first frame: RFC 9113, 3.4 */
#define HEAD_BYTES  9u
#define WORD_BITS   64u

/* Odd numbers only: 1 is the first stream, 3 the second. */
static uint32_t place_of(uint32_t id)
{
    return id / 2;
}

static uint64_t *ended_word(struct h2_numbers *numbers, uint32_t id)
{
    return &numbers->ended[place_of(id) / WORD_BITS % H2_ENDED_WORDS];
}

static uint64_t ended_bit(uint32_t id)
{
    return (uint64_t)1 << place_of(id) % WORD_BITS;
}

/* Whether the bit is still this stream's, and not a newer one's. */
static bool is_known(const struct h2_numbers *numbers, uint32_t id)
{
    return id % 2 == 1 && id <= numbers->last &&
           place_of(numbers->last) - place_of(id) < (H2_ENDED_WORDS - 1) * WORD_BITS;
}

/* Words that the numbers up to this one come into are empty. */
static void make_room(struct h2_numbers *numbers, uint32_t id)
{
    uint32_t word = numbers->last == 0 ? 0 : place_of(numbers->last) / WORD_BITS + 1;
    uint32_t end = place_of(id) / WORD_BITS + 1;

    if (end > word && end - word > H2_ENDED_WORDS)
        word = end - H2_ENDED_WORDS;
    for (; word < end; word++)
        numbers->ended[word % H2_ENDED_WORDS] = 0;
}

static void note_ended(struct h2_numbers *numbers, uint32_t id)
{
    if (is_known(numbers, id))
        *ended_word(numbers, id) |= ended_bit(id);
}

void h2_numbers_reset(struct h2 *h2, int32_t id)
{
    note_ended(&h2->numbers, (uint32_t)id);
}

/* A frame on a stream that the library does not know, or not any more. */
static void check_ended(struct h2 *h2, uint32_t id)
{
    if (is_known(&h2->numbers, id) && (*ended_word(&h2->numbers, id) & ended_bit(id)) != 0)
        h2_fail(h2, NGHTTP2_STREAM_CLOSED, H2_CLOSED_PROTOCOL);
}

/* Whoever leaves numbers out has closed those streams. */
static void check_skipped(struct h2 *h2, uint32_t id)
{
    const struct h2_numbers *numbers = &h2->numbers;

    for (unsigned i = 0; i < H2_SKIPPED_MOST; i++)
        if (id >= numbers->skipped[i].from && id < numbers->skipped[i].to)
            h2_fail(h2, NGHTTP2_PROTOCOL_ERROR, H2_CLOSED_PROTOCOL);
}

static void note_begun(struct h2_numbers *numbers, uint32_t id)
{
    make_room(numbers, id);
    if (id > numbers->last + 2) {
        numbers->skipped[numbers->skipped_next].from = numbers->last + 1;
        numbers->skipped[numbers->skipped_next].to = id;
        numbers->skipped_next = (numbers->skipped_next + 1) % H2_SKIPPED_MOST;
    }
    numbers->last = id;
}

void h2_numbers_headers(struct h2 *h2, const nghttp2_frame_hd *hd)
{
    uint32_t id = (uint32_t)hd->stream_id;

    if (!h2->worker->options.server || id % 2 == 0)
        return;
    if (id > h2->numbers.last) {
        note_begun(&h2->numbers, id);
    } else if (h2_stream_of(h2, hd->stream_id) == NULL) {
        check_ended(h2, id);
        check_skipped(h2, id);
    }
    if (hd->flags & NGHTTP2_FLAG_END_STREAM)
        note_ended(&h2->numbers, id);
}

/* --- the walk --- */

void h2_numbers_begin(struct h2 *h2)
{
    h2->numbers.rest = MAGIC_BYTES;
}

void h2_numbers_input(struct h2 *h2, const uint8_t *data, size_t size)
{
    h2->numbers.at = data;
    h2->numbers.end = data + size;
}

/* The next frame's head that is whole, or NULL: the input ends before. */
static const uint8_t *next_head(struct h2_numbers *numbers)
{
    size_t left = (size_t)(numbers->end - numbers->at);
    size_t passed = numbers->rest < left ? numbers->rest : left;
    const uint8_t *head = numbers->at + passed;

    numbers->at = head;
    numbers->rest -= (uint32_t)passed;
    left -= passed;
    if (__builtin_expect(left >= HEAD_BYTES && numbers->head_size == 0, 1)) {
        numbers->at += HEAD_BYTES;
    } else {
        size_t wanted = HEAD_BYTES - numbers->head_size;
        size_t got = left < wanted ? left : wanted;
        memcpy(numbers->head + numbers->head_size, head, got);
        numbers->at += got;
        numbers->head_size += (uint8_t)got;
        if (got < wanted)
            return NULL;
        numbers->head_size = 0;
        head = numbers->head;
    }
    numbers->rest = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    return head;
}

/* The next DATA frame's, and its stream. Frames of unknown types are passed, and counted. */
static const uint8_t *next_data(struct h2 *h2, uint32_t *id)
{
    const uint8_t *head;

    while ((head = next_head(&h2->numbers)) != NULL && head[3] != NGHTTP2_DATA)
        if (head[3] > NGHTTP2_CONTINUATION)
            h2_count_control(h2);
    if (head != NULL)
        *id = (uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 |
              head[8];
    return head;
}

static void data_was_dropped(struct h2 *h2, const uint8_t *head, uint32_t id)
{
    bool empty = head[0] == 0 && head[1] == 0 && head[2] == 0;

    if (h2_stream_of(h2, (int32_t)id) == NULL)
        check_ended(h2, id);
    if (head[4] & NGHTTP2_FLAG_END_STREAM)
        note_ended(&h2->numbers, id);
    else if (empty)
        h2_count_control(h2);
}

void h2_numbers_data(struct h2 *h2, const nghttp2_frame_hd *hd)
{
    const uint8_t *head;
    uint32_t id;

    while ((head = next_data(h2, &id)) != NULL && id != (uint32_t)hd->stream_id)
        data_was_dropped(h2, head, id);
    if (hd->flags & NGHTTP2_FLAG_END_STREAM)
        note_ended(&h2->numbers, (uint32_t)hd->stream_id);
}

void h2_numbers_taken(struct h2 *h2)
{
    const uint8_t *head;
    uint32_t id;

    while ((head = next_data(h2, &id)) != NULL)
        data_was_dropped(h2, head, id);
}

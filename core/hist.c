/*
 * See hist.h. Reading, merging and the HdrHistogram V2 encoding: a deflated block of a 40-byte
 * big-endian header and the counts as ZigZag LEB128, where a negative number stands for that
 * many zeros. https://github.com/HdrHistogram/HdrHistogram is the reference for the format.
 */
#include "core/hist.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/line.h"

#define DIGITS            3u
#define COOKIE            0x1c849303u
#define COOKIE_COMPRESSED 0x1c849304u
/* The second nibble of a cookie is the size of a word, which V2 writes as 1 and ignores. */
#define COOKIE_WORD       0x10u
#define COOKIE_BASE(c)    ((c) & ~0xf0u)
#define ENVELOPE_BYTES    8u  /* cookie, compressed length */
#define HEADER_BYTES      40u /* cookie, length, offset, digits, lowest, highest, ratio */
#define WORD_BYTES_MAX    9u
#define PAYLOAD_BYTES_MAX (HIST_COUNTS * WORD_BYTES_MAX)
/* No run counts that far; sums of a thousand decoded histograms cannot wrap, and are exact as
 * doubles. */
#define TOTAL_MAX (1ull << 53)

/* --- values --- */

static unsigned index_bucket(unsigned index)
{
    return index < HIST_SUB_COUNT ? 0 : index / HIST_SUB_HALF - 1;
}

static uint64_t index_lowest(unsigned index)
{
    unsigned bucket = index_bucket(index);

    return (uint64_t)(index - bucket * HIST_SUB_HALF) << bucket;
}

static uint64_t index_highest(unsigned index)
{
    return index_lowest(index) + ((1ull << index_bucket(index)) - 1);
}

static uint64_t value_clamp(const struct hist *h, uint64_t value)
{
    if (value < h->min)
        return h->min;
    return value > h->max ? h->max : value;
}

/* The middle of the bucket, or what is known better at both ends. */
static double index_middle(const struct hist *h, unsigned index)
{
    uint64_t half = (1ull << index_bucket(index)) / 2;

    return (double)value_clamp(h, index_lowest(index) + half);
}

struct hist *hist_new(void)
{
    /* Not calloc, and not malloc with memset, which compilers turn into calloc: its untouched
     * pages would be faulted in one by one while latencies are taken. */
    struct hist *h = aligned_alloc(LINE_BYTES, line_round(sizeof(struct hist)));

    if (h != NULL)
        hist_reset(h);
    return h;
}

void hist_free(struct hist *h)
{
    free(h);
}

void hist_reset(struct hist *h)
{
    memset(h, 0, sizeof(*h));
    h->min = UINT64_MAX;
}

void hist_batch_flush(struct hist_batch *batch, struct hist *h)
{
    /* Values of 32 bits are within the range: what hist_record does for each but its count is done
     * once for all. */
    unsigned count = batch->count;
    uint32_t min = UINT32_MAX, max = 0;

    if (count == 0)
        return;
    for (unsigned i = 0; i < count; i++) {
        uint32_t value = batch->values[i];
        h->counts[hist_index(value)]++;
        min = value < min ? value : min;
        max = value > max ? value : max;
    }
    h->total += count;
    h->min = min < h->min ? min : h->min;
    h->max = max > h->max ? max : h->max;
    batch->count = 0;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    if (from->total == 0)
        return;
    into->total += from->total;
    into->over += from->over;
    if (from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    for (unsigned i = hist_index(from->min), last = hist_index(from->max); i <= last; i++)
        into->counts[i] += from->counts[i];
}

void hist_merge_shared(struct hist *into, const struct hist *from)
{
    uint64_t min = __atomic_load_n(&from->min, __ATOMIC_RELAXED);
    uint64_t max = __atomic_load_n(&from->max, __ATOMIC_RELAXED);

    if (min == UINT64_MAX)
        return;
    into->over += __atomic_load_n(&from->over, __ATOMIC_RELAXED);
    for (unsigned i = hist_index(min), last = hist_index(max); i <= last; i++) {
        uint64_t count = __atomic_load_n(&from->counts[i], __ATOMIC_RELAXED);
        into->counts[i] += count;
        into->total += count;
    }
    into->min = min < into->min ? min : into->min;
    into->max = max > into->max ? max : into->max;
}

/* --- reading --- */

/* From 1: how many samples the percentile covers, rounded up. */
static uint64_t percentile_rank(uint64_t total, double percentile)
{
    double rank;

    if (percentile >= 100)
        return total;
    if (!(percentile > 0))
        return 1;
    /* The next number below makes up for products like 0.999 * 1000 = 999.0000000000001. */
    rank = ceil(nextafter(percentile, -INFINITY) * (double)total / 100);
    if (rank < 1)
        return 1;
    return rank >= (double)total ? total : (uint64_t)rank;
}

uint64_t hist_percentile(const struct hist *h, double percentile)
{
    uint64_t rank, seen = 0;
    unsigned i, last;

    if (h->total == 0)
        return 0;
    if (!(percentile > 0))
        return h->min;
    rank = percentile_rank(h->total, percentile);
    last = hist_index(h->max);
    for (i = hist_index(h->min); i < last; i++) {
        seen += h->counts[i];
        if (seen >= rank)
            break;
    }
    return value_clamp(h, index_highest(i));
}

uint64_t hist_beyond(const struct hist *h, double percentile)
{
    if (h->total == 0)
        return 0;
    return h->total - percentile_rank(h->total, percentile);
}

double hist_mean(const struct hist *h)
{
    double sum = 0;

    if (h->total == 0)
        return 0;
    for (unsigned i = hist_index(h->min), last = hist_index(h->max); i <= last; i++) {
        if (h->counts[i] > 0)
            sum += (double)h->counts[i] * index_middle(h, i);
    }
    return sum / (double)h->total;
}

double hist_stddev(const struct hist *h)
{
    double mean = hist_mean(h), sum = 0;

    if (h->total == 0)
        return 0;
    for (unsigned i = hist_index(h->min), last = hist_index(h->max); i <= last; i++) {
        double off = index_middle(h, i) - mean;

        if (h->counts[i] > 0)
            sum += (double)h->counts[i] * off * off;
    }
    return sqrt(sum / (double)h->total);
}

/* --- encoding --- */

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    return at + 4;
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    at = put_u32(at, (uint32_t)(value >> 32));
    return put_u32(at, (uint32_t)value);
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) << 32 | get_u32(at + 4);
}

/* LEB128 that ends at nine bytes: the ninth carries eight bits, so that 64 fit. */
static uint8_t *put_word(uint8_t *at, int64_t word)
{
    uint64_t rest = (uint64_t)word << 1 ^ (uint64_t)(word >> 63);

    for (unsigned i = 0; i < WORD_BYTES_MAX - 1 && rest > 0x7f; i++) {
        *at++ = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    *at++ = (uint8_t)rest;
    return at;
}

/* NULL if the bytes end inside the word. */
static const uint8_t *get_word(const uint8_t *at, const uint8_t *end, int64_t *word)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < WORD_BYTES_MAX; i++) {
        bool last = i == WORD_BYTES_MAX - 1;

        if (at == end)
            return NULL;
        value |= (uint64_t)(last ? *at : *at & 0x7f) << (7 * i);
        if (last || !(*at++ & 0x80))
            break;
    }
    *word = (int64_t)(value >> 1 ^ (0 - (value & 1)));
    return at;
}

static uint8_t *put_counts(uint8_t *at, const struct hist *h)
{
    unsigned last = h->total > 0 ? hist_index(h->max) : 0;

    for (unsigned i = 0; i <= last;) {
        unsigned zeros = 0;

        while (i + zeros <= last && h->counts[i + zeros] == 0)
            zeros++;
        if (zeros == 0)
            at = put_word(at, (int64_t)h->counts[i++]);
        else
            at = put_word(at, zeros == 1 ? 0 : -(int64_t)zeros);
        i += zeros;
    }
    return at;
}

size_t hist_encode(const struct hist *h, uint8_t **out)
{
    static const double ratio = 1.0;
    unsigned counts = h->total > 0 ? hist_index(h->max) + 1 : 1;
    uint8_t *plain = malloc(HEADER_BYTES + (size_t)counts * WORD_BYTES_MAX);
    uint64_t ratio_bits;
    uint8_t *at, *end;
    uLongf size;

    *out = NULL;
    if (plain == NULL)
        return 0;
    end = put_counts(plain + HEADER_BYTES, h);
    at = put_u32(plain, COOKIE | COOKIE_WORD);
    at = put_u32(at, (uint32_t)(end - plain - HEADER_BYTES));
    at = put_u32(at, 0); /* normalising index offset */
    at = put_u32(at, DIGITS);
    at = put_u64(at, 1); /* lowest trackable */
    at = put_u64(at, HIST_MAX);
    memcpy(&ratio_bits, &ratio, sizeof(ratio_bits));
    put_u64(at, ratio_bits);

    size = compressBound((uLong)(end - plain));
    *out = malloc(ENVELOPE_BYTES + size);
    if (*out == NULL ||
        compress2(*out + ENVELOPE_BYTES, &size, plain, (uLong)(end - plain), 6) != Z_OK) {
        free(*out);
        free(plain);
        *out = NULL;
        return 0;
    }
    put_u32(put_u32(*out, COOKIE_COMPRESSED | COOKIE_WORD), (uint32_t)size);
    free(plain);
    return ENVELOPE_BYTES + size;
}

/* --- decoding --- */

/* Goes over the counts; into h unless it is NULL. Another implementation's range may be larger
 * than ours as long as nothing was recorded there. */
static int payload_read(const uint8_t *at, const uint8_t *end, struct hist *h)
{
    uint64_t index = 0, total = 0;
    unsigned first = 0, last = 0;

    while (at < end) {
        int64_t word;

        at = get_word(at, end, &word);
        if (at == NULL || word < -(int64_t)UINT32_MAX)
            return -EBADMSG;
        if (word <= 0) {
            index += word < 0 ? (uint64_t)-word : 1;
            continue;
        }
        if (index >= HIST_COUNTS)
            return -ERANGE;
        if ((uint64_t)word > TOTAL_MAX - total)
            return -EBADMSG;
        if (total == 0)
            first = (unsigned)index;
        last = (unsigned)index;
        total += (uint64_t)word;
        if (h != NULL)
            h->counts[index] = (uint64_t)word;
        index++;
    }
    if (h != NULL && total > 0) {
        h->total = total;
        h->min = index_lowest(first);
        h->max = index_highest(last);
    }
    return 0;
}

static int header_check(const uint8_t *header, uint32_t *payload_bytes)
{
    if (COOKIE_BASE(get_u32(header)) != COOKIE)
        return -EBADMSG;
    /* The conversion ratio is not looked at: it is for histograms of doubles, and writers of
     * integer ones put 1.0, 1 or 0 there. */
    if (get_u32(header + 8) != 0 || get_u32(header + 12) != DIGITS || get_u64(header + 16) != 1)
        return -ERANGE;
    *payload_bytes = get_u32(header + 4);
    return *payload_bytes <= PAYLOAD_BYTES_MAX ? 0 : -ERANGE;
}

/* Inflates header and payload; never more than the header's checked length, whatever the data
 * would expand to. *payload is the caller's to free. */
static int payload_inflate(z_stream *z, uint8_t **payload, uint32_t *payload_bytes)
{
    uint8_t header[HEADER_BYTES];
    int result;

    z->next_out = header;
    z->avail_out = sizeof(header);
    result = inflate(z, Z_SYNC_FLUSH);
    if (result == Z_MEM_ERROR)
        return -ENOMEM;
    if ((result != Z_OK && result != Z_STREAM_END) || z->avail_out != 0)
        return -EBADMSG;
    result = header_check(header, payload_bytes);
    if (result < 0)
        return result;
    /* One byte of room more than there should be shows a payload that is too long. */
    *payload = malloc((size_t)*payload_bytes + 1);
    if (*payload == NULL)
        return -ENOMEM;
    z->next_out = *payload;
    z->avail_out = *payload_bytes + 1;
    result = inflate(z, Z_FINISH);
    if (result == Z_MEM_ERROR)
        return -ENOMEM;
    if (result != Z_STREAM_END || z->avail_out != 1 || z->avail_in != 0)
        return -EBADMSG;
    return 0;
}

int hist_decode(struct hist *h, const uint8_t *data, size_t size)
{
    z_stream z = {0};
    uint8_t *payload = NULL;
    uint32_t payload_bytes = 0;
    int result;

    if (size < ENVELOPE_BYTES || COOKIE_BASE(get_u32(data)) != COOKIE_COMPRESSED ||
        get_u32(data + 4) != size - ENVELOPE_BYTES)
        return -EBADMSG;
    z.next_in = (Bytef *)(uintptr_t)(data + ENVELOPE_BYTES);
    z.avail_in = (uInt)(size - ENVELOPE_BYTES);
    if (inflateInit(&z) != Z_OK)
        return -ENOMEM;
    result = payload_inflate(&z, &payload, &payload_bytes);
    inflateEnd(&z);
    /* Once to look and once to store, so that h stays as it was if something is wrong. */
    if (result == 0)
        result = payload_read(payload, payload + payload_bytes, NULL);
    if (result == 0) {
        hist_reset(h);
        payload_read(payload, payload + payload_bytes, h);
    }
    free(payload);
    return result;
}

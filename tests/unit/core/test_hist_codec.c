/*
 * The HdrHistogram V2 encoding: there and back, what another implementation wrote, and hostile
 * input, after which the histogram must be what it was. tests/interop/hist_codec.py asks the
 * other implementation itself.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/hist.h"
#include "core/rng.h"

#define PLAIN_MAX 4096u

TestSuite(hist_codec, .timeout = 30);

/* hdrhistogram 0.10 from PyPI, range 1 to 3.6e12: 0 x 1, 1 x 2, 2047 x 3, 2048 x 4, 5000 x 300,
 * 1000000 x 70000, (2^40 + 12345) x 5. */
static const char others[] = "1c84931400000034789c9369992cccc0c000c220c00ca519814c37831d0b18ec3f40"
                             "0498587ecab3711c14bec1f2bbeac1518edd0799b800e83e0be4";
/* One value of 3e12, which is beyond our range; 2 digits and a value of 3. */
static const char others_above[] =
    "1c84931400000025789c9369992cccc0c0c0c20001cc509a11c87433d8b180c1fe0344e0792b0b1300652e05c1";
static const char others_digits[] =
    "1c84931400000021789c9369992cccc0c0c0c40001309a114458cf3ac560ff0122c0ca040053c80421";

static size_t hex_read(const char *hex, uint8_t *out)
{
    size_t size = strlen(hex) / 2;

    for (size_t i = 0; i < size; i++) {
        char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        out[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    return size;
}

static void there_and_back(const struct hist *h)
{
    struct hist *back = hist_new();
    uint8_t *data;
    size_t size = hist_encode(h, &data);

    cr_assert_gt(size, 0);
    hist_record(back, 99999); /* to be forgotten */
    cr_assert_eq(hist_decode(back, data, size), 0);
    cr_assert_eq(back->total, h->total);
    cr_assert_eq(memcmp(back->counts, h->counts, sizeof(h->counts)), 0);
    cr_assert_eq(back->over, 0);
    if (h->total == 0) {
        cr_assert_eq(back->min, UINT64_MAX);
        cr_assert_eq(back->max, 0);
    } else {
        cr_assert_eq(hist_index(back->min), hist_index(h->min));
        cr_assert_eq(hist_index(back->max), hist_index(h->max));
        cr_assert_leq(back->min, h->min);
        cr_assert_geq(back->max, h->max);
    }
    free(data);
    hist_free(back);
}

Test(hist_codec, there_and_back)
{
    struct hist *h = hist_new();
    struct rng rng;

    there_and_back(h);
    hist_record(h, 0);
    there_and_back(h);
    hist_record(h, HIST_MAX);
    there_and_back(h);
    rng_seed(&rng, 9);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 3000; i++)
            hist_record(h, rng_next(&rng) >> (22 + rng_below(&rng, 42)));
        there_and_back(h);
    }
    /* No zeros at all: the longest there is. */
    for (unsigned i = 0; i < HIST_COUNTS; i++) {
        h->total += 1u << (i % 20);
        h->counts[i] += 1u << (i % 20);
    }
    there_and_back(h);
    hist_free(h);
}

/* Around each length of a word. */
Test(hist_codec, counts_of_every_size)
{
    struct hist *h = hist_new();

    for (unsigned bit = 0; bit < 53; bit++) {
        for (int off = -1; off <= 1; off++) {
            uint64_t count = (1ull << bit) + (uint64_t)off;

            if (count == 0 || count > 1ull << 53)
                continue;
            hist_reset(h);
            hist_record(h, 777);
            h->counts[777] = h->total = count;
            there_and_back(h);
        }
    }
    hist_free(h);
}

Test(hist_codec, reads_what_another_implementation_wrote)
{
    struct hist *h = hist_new();
    uint8_t data[sizeof(others)];
    size_t size = hex_read(others, data);

    cr_assert_eq(hist_decode(h, data, size), 0);
    cr_assert_eq(h->total, 1 + 2 + 3 + 4 + 300 + 70000 + 5);
    cr_assert_eq(h->counts[hist_index(0)], 1);
    cr_assert_eq(h->counts[hist_index(1)], 2);
    cr_assert_eq(h->counts[hist_index(2047)], 3);
    cr_assert_eq(h->counts[hist_index(2048)], 4);
    cr_assert_eq(h->counts[hist_index(5000)], 300);
    cr_assert_eq(h->counts[hist_index(1000000)], 70000);
    cr_assert_eq(h->counts[hist_index((1ull << 40) + 12345)], 5);
    cr_assert_eq(hist_decode(h, data, hex_read(others_above, data)), -ERANGE);
    cr_assert_eq(hist_decode(h, data, hex_read(others_digits, data)), -ERANGE);
    cr_assert_eq(h->total, 70315);
    hist_free(h);
}

Test(hist_codec, writes_the_header_of_the_format)
{
    static const uint8_t expected[40] = {
        0x1c, 0x84, 0x93, 0x13, 0, 0, 0, 2, 0, 0, 0, 0,    0,    0,    0,    3, /* ... */
        0,    0,    0,    0,    0, 0, 0, 1, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x3f, 0xf0, 0,    0,    0, 0, 0, 0,
    };
    struct hist *h = hist_new();
    uint8_t *data, plain[64];
    uLongf plain_size = sizeof(plain);
    size_t size;

    hist_record(h, 5);
    size = hist_encode(h, &data);
    cr_assert_eq(memcmp(data, "\x1c\x84\x93\x14", 4), 0);
    cr_assert_eq((size_t)(data[6] << 8 | data[7]), size - 8);
    cr_assert_eq(uncompress(plain, &plain_size, data + 8, (uLong)(size - 8)), Z_OK);
    cr_assert_eq(plain_size, 42);
    cr_assert_arr_eq(plain, expected, sizeof(expected));
    cr_assert_eq(plain[40], 0x09, "five zeros: -5 in ZigZag");
    cr_assert_eq(plain[41], 0x02, "one: 1 in ZigZag");
    free(data);
    hist_free(h);
}

/* --- hostile input --- */

static void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Header, changed at one place, and payload, wrapped well; returns the size, *data is to be freed.
 */
static size_t craft(unsigned change_at, uint32_t change, const uint8_t *payload,
                    size_t payload_size, uint8_t **data)
{
    uint8_t plain[PLAIN_MAX] = {0};
    uLongf size = compressBound(PLAIN_MAX);

    put_u32(plain, 0x1c849313);
    put_u32(plain + 4, (uint32_t)payload_size);
    put_u32(plain + 12, 3);
    put_u32(plain + 20, 1);
    put_u32(plain + 28, 1000000);
    if (change_at < 40)
        put_u32(plain + change_at, change);
    memcpy(plain + 40, payload, payload_size);
    *data = malloc(8 + size);
    cr_assert_eq(compress2(*data + 8, &size, plain, (uLong)(40 + payload_size), 9), Z_OK);
    put_u32(*data, 0x1c849314);
    put_u32(*data + 4, (uint32_t)size);
    return 8 + size;
}

struct crafted {
    const char name[40];
    unsigned change_at; /* in the header; 40: nothing */
    uint32_t change;
    uint8_t payload[24];
    size_t payload_size;
    int result;
};

#define NINE_FF 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff

ParameterizedTestParameters(hist_codec, crafted)
{
    static struct crafted rows[] = {
        {"good", 40, 0, {0x02}, 1, 0},
        {"no counts", 40, 0, {0}, 0, 0},
        {"a foreign word size", 0, 0x1c849303, {0x02}, 1, 0},
        {"conversion ratio 1 and not 1.0", 36, 1, {0x02}, 1, 0},
        {"zeros beyond the range", 40, 0, {0x02, 0xff, 0xff, 0xff, 0x0f}, 5, 0},
        {"V1", 0, 0x1c849301, {0x02}, 1, -EBADMSG},
        {"length too short", 4, 1, {0x02, 0x02}, 2, -EBADMSG},
        {"length too long", 4, 3, {0x02, 0x02}, 2, -EBADMSG},
        {"length enormous", 4, UINT32_MAX, {0x02}, 1, -ERANGE},
        {"shifted", 8, 1, {0x02}, 1, -ERANGE},
        {"shifted back", 8, UINT32_MAX, {0x02}, 1, -ERANGE},
        {"2 digits", 12, 2, {0x02}, 1, -ERANGE},
        {"lowest 0", 20, 0, {0x02}, 1, -ERANGE},
        {"lowest 2", 20, 2, {0x02}, 1, -ERANGE},
        {"lowest 2^32 + 1", 16, 1, {0x02}, 1, -ERANGE},
        {"cut inside a word", 40, 0, {0x82}, 1, -EBADMSG},
        {"cut inside the longest word", 40, 0, {NINE_FF}, 8, -EBADMSG},
        {"a run of 2^63 zeros", 40, 0, {NINE_FF, 0x02}, 10, -EBADMSG},
        {"a run of 2^32 zeros", 40, 0, {0xff, 0xff, 0xff, 0xff, 0x1f, 0x02}, 6, -EBADMSG},
        {"a count beyond the range", 40, 0, {0xff, 0xff, 0xff, 0x0f, 0x02}, 5, -ERANGE},
        {"a count of 2^63 - 1",
         40,
         0,
         {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
         9,
         -EBADMSG},
        {"a sum above 2^53",
         40,
         0,
         {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0x02},
         9,
         -EBADMSG},
        {"the first index beyond", 40, 0, {0xff, 0xff, 0x03, 0x02}, 4, -ERANGE},
        {"the last index", 40, 0, {0xfd, 0xff, 0x03, 0x02}, 4, 0},
    };
    return cr_make_param_array(struct crafted, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct crafted *row, hist_codec, crafted)
{
    struct hist *h = hist_new(), *before = hist_new();
    uint8_t *data;
    size_t size = craft(row->change_at, row->change, row->payload, row->payload_size, &data);

    hist_record(h, 12345);
    hist_merge(before, h);
    cr_assert_eq(hist_decode(h, data, size), row->result, "%s", row->name);
    if (row->result < 0)
        cr_assert_eq(memcmp(h, before, sizeof(*h)), 0, "%s: touched", row->name);
    else
        cr_assert_leq(h->total, 1, "%s", row->name);
    free(data);
    hist_free(h);
    hist_free(before);
}

Test(hist_codec, every_truncation)
{
    struct hist *h = hist_new(), *before = hist_new();
    uint8_t good[sizeof(others)];
    size_t size = hex_read(others, good);

    hist_record(h, 12345);
    hist_merge(before, h);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *data = malloc(cut > 0 ? cut : 1); /* ends where its memory ends */

        memcpy(data, good, cut);
        cr_assert_eq(hist_decode(h, data, cut), -EBADMSG);
        if (cut >= 8) { /* the same with a length that fits */
            put_u32(data + 4, (uint32_t)cut - 8);
            cr_assert_eq(hist_decode(h, data, cut), -EBADMSG);
        }
        free(data);
    }
    cr_assert_eq(memcmp(h, before, sizeof(*h)), 0);
    hist_free(h);
    hist_free(before);
}

/* Some bits mean nothing (the word size, a distance within zeros): then all must be as it was. */
Test(hist_codec, every_flipped_bit)
{
    struct hist *h = hist_new(), *right = hist_new(), *before = hist_new();
    uint8_t data[sizeof(others)];
    size_t size = hex_read(others, data), passed = 0;

    cr_assert_eq(hist_decode(right, data, size), 0);
    for (size_t bit = 0; bit < size * 8; bit++) {
        int result;

        hist_reset(h);
        hist_record(h, bit);
        hist_reset(before);
        hist_merge(before, h);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        result = hist_decode(h, data, size);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        passed += result == 0;
        cr_assert_eq(memcmp(h, result == 0 ? right : before, sizeof(*h)), 0, "bit %zu", bit);
    }
    cr_assert_lt(passed, 20);
    hist_free(h);
    hist_free(right);
    hist_free(before);
}

Test(hist_codec, bytes_behind_the_end_are_refused)
{
    struct hist *h = hist_new();
    uint8_t data[sizeof(others) + 1] = {0};
    size_t size = hex_read(others, data);

    cr_assert_eq(hist_decode(h, data, size + 1), -EBADMSG);
    put_u32(data + 4, (uint32_t)size + 1 - 8);
    cr_assert_eq(hist_decode(h, data, size + 1), -EBADMSG);
    hist_free(h);
}

/* 64 MiB of zeros in 64 KiB: inflating must stop at what the header says. */
Test(hist_codec, bombs_are_not_inflated, .timeout = 5)
{
    const size_t plain_size = 64u << 20;
    struct hist *h = hist_new();
    uint8_t *plain = calloc(1, plain_size), *data;
    uLongf size = compressBound(plain_size);

    put_u32(plain, 0x1c849313);
    put_u32(plain + 4, 10);
    put_u32(plain + 12, 3);
    put_u32(plain + 20, 1);
    put_u32(plain + 28, 1000000);
    data = malloc(8 + size);
    cr_assert_eq(compress2(data + 8, &size, plain, plain_size, 9), Z_OK);
    cr_assert_lt(size, 100000);
    put_u32(data, 0x1c849314);
    put_u32(data + 4, (uint32_t)size);
    cr_assert_eq(hist_decode(h, data, 8 + size), -EBADMSG);
    free(data);
    free(plain);
    hist_free(h);
}

/* What gRPC lays over HTTP/2, piece by piece. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/rng.h"
#include "proto/grpc.h"

#define TEXT(t) (const uint8_t *)(t), strlen(t)

Test(grpc, timeouts_are_read_as_the_specification_has_them)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"1H", 3600000000000ull},
        {"2M", 120000000000ull},
        {"3S", 3000000000ull},
        {"4m", 4000000},
        {"5u", 5000},
        {"6n", 6},
        {"0S", 1},
        {"99999999n", 99999999},
        {"99999999H", UINT64_MAX},
    };
    static const char *const bad[] = {"",     "1",          "S",   "1s", "-1S",
                                      "1.5S", "123456789S", "1S ", " 1S"};
    uint64_t ns;

    for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++) {
        cr_assert(grpc_timeout_parse(TEXT(good[i].text), &ns), "%s", good[i].text);
        cr_assert_eq(ns, good[i].ns, "%s", good[i].text);
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_not(grpc_timeout_parse(TEXT(bad[i]), &ns), "'%s'", bad[i]);
}

Test(grpc, messages_survive_percent_encoding)
{
    static const char *const texts[] = {"", "plain", "100 % sure", "two\nlines",
                                        "\xc3\xa4\x01\x7f"};
    uint8_t coded[100];
    char back[100];

    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        size_t size = grpc_message_encode(texts[i], coded, sizeof(coded));
        for (size_t k = 0; k < size; k++)
            cr_assert(coded[k] >= 0x20 && coded[k] <= 0x7e);
        grpc_message_decode(coded, size, back, sizeof(back));
        cr_assert_str_eq(back, texts[i]);
    }
    cr_assert_eq(grpc_message_encode("a%", coded, 3), 1, "never half of an escape");
    grpc_message_decode(TEXT("50%, %4x %41"), back, sizeof(back));
    cr_assert_str_eq(back, "50%, %4x A", "what is no escape stays");
    grpc_message_decode(TEXT("long enough"), back, 5);
    cr_assert_str_eq(back, "long");
}

Test(grpc, status_is_digits)
{
    unsigned status;

    cr_assert(grpc_status_parse(TEXT("0"), &status) && status == 0);
    cr_assert(grpc_status_parse(TEXT("16"), &status) && status == 16);
    cr_assert_not(grpc_status_parse(TEXT(""), &status));
    cr_assert_not(grpc_status_parse(TEXT("-1"), &status));
    cr_assert_not(grpc_status_parse(TEXT("99999"), &status));
    cr_assert_str_eq(grpc_status_kind(5), "grpc-not-found");
    cr_assert_str_eq(grpc_status_kind(77), "grpc-other");
}

/* --- the reader --- */

struct heard {
    char text[400];
    int message_result;
};

static int hear_message(void *context, bool compressed, uint32_t size)
{
    struct heard *heard = context;
    sprintf(heard->text + strlen(heard->text), "[%s%u:", compressed ? "z" : "", size);
    return heard->message_result;
}

static int hear_data(void *context, const uint8_t *data, size_t size)
{
    struct heard *heard = context;
    cr_assert_gt(size, 0);
    strncat(heard->text, (const char *)data, size);
    return 0;
}

static int hear_end(void *context)
{
    struct heard *heard = context;
    strcat(heard->text, "]");
    return 0;
}

static const struct grpc_reader_events hear = {hear_message, hear_data, hear_end};

static const uint8_t stream[] = "\0\0\0\0\3abc\0\0\0\0\0\1\0\0\0\1d";
#define STREAM_BYTES (sizeof(stream) - 1)
#define STREAM_SAYS  "[3:abc][0:][z1:d]"

Test(grpc, messages_come_whole_however_they_are_cut)
{
    struct rng rng;
    rng_seed(&rng, 3);
    for (unsigned n = 0; n < 500; n++) {
        struct heard heard = {0};
        struct grpc_reader reader;
        grpc_reader_begin(&reader);
        for (size_t at = 0; at < STREAM_BYTES;) {
            size_t piece = 1 + rng_below(&rng, STREAM_BYTES);
            piece = piece < STREAM_BYTES - at ? piece : STREAM_BYTES - at;
            cr_assert_eq(grpc_reader_read(&reader, &hear, &heard, stream + at, piece), 0);
            at += piece;
        }
        cr_assert_str_eq(heard.text, STREAM_SAYS);
        cr_assert_not(grpc_reader_is_inside(&reader));
    }
}

Test(grpc, every_truncation_is_seen)
{
    for (size_t size = 0; size <= STREAM_BYTES; size++) {
        struct heard heard = {0};
        struct grpc_reader reader;
        grpc_reader_begin(&reader);
        grpc_reader_read(&reader, &hear, &heard, stream, size);
        bool whole = size == 0 || size == 8 || size == 13 || size == STREAM_BYTES;
        cr_assert_eq(grpc_reader_is_inside(&reader), !whole, "%zu bytes", size);
    }
}

Test(grpc, a_message_that_begins_otherwise_is_none)
{
    struct heard heard = {.message_result = 0};
    struct grpc_reader reader;
    grpc_reader_begin(&reader);
    cr_assert_eq(grpc_reader_read(&reader, &hear, &heard, (const uint8_t *)"\2", 1), -EPROTO);
    grpc_reader_begin(&reader);
    heard.message_result = -ECANCELED;
    cr_assert_eq(grpc_reader_read(&reader, &hear, &heard, stream, STREAM_BYTES), -ECANCELED);
    cr_assert_str_eq(heard.text, "[3:", "it stops where it is told to");
}

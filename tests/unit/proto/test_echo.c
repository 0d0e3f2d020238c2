/* The echo protocol without an engine: bytes are carried by hand, in pieces of every size. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/echo.h"

struct heard {
    unsigned answered[512], answered_count, firsts;
    uint64_t progress_bytes;
};

static void hear_first(void *context, unsigned slot)
{
    struct heard *heard = context;
    heard->firsts++;
}

static void hear_progress(void *context, uint64_t bytes)
{
    struct heard *heard = context;
    heard->progress_bytes += bytes;
}

static void hear_answered(void *context, unsigned slot, uint64_t bytes, uint64_t fresh)
{
    struct heard *heard = context;
    heard->answered[heard->answered_count++] = slot;
    heard->progress_bytes += fresh;
}

static const struct echo_client_events hear = {hear_first, hear_progress, hear_answered};
/* Nobody wants the first byte: small answers that come whole take a way of their own. */
static const struct echo_client_events hear_shortly = {NULL, hear_progress, hear_answered};

static void keep(struct buf *buf)
{
}

static int feed(const struct proto_ops *ops, void *state, const uint8_t *data, size_t size)
{
    struct buf buf = {.data = (uint8_t *)data, .size = (uint32_t)size, .refs = 1, .release = keep};
    int r = ops->input(state, &buf);
    return r;
}

/* All that the client wants to send, in one piece, as an engine that copies it. */
static size_t drain(struct echo_client *client, uint8_t *bytes)
{
    struct seg segs[8];
    size_t size = 0;
    int count;

    do {
        struct proto_output out = {.segs = segs, .max = 8, .budget = 1 << 20};
        count = echo_client_proto.output(client, &out);
        for (int i = 0; i < count; i++) {
            memcpy(bytes + size, segs[i].data, segs[i].size);
            size += segs[i].size;
            if (segs[i].buf != NULL)
                buf_unref(segs[i].buf);
        }
        if (out.cookie != 0)
            echo_client_proto.sent(client, out.cookie, PROTO_SENT | PROTO_RELEASED);
    } while (count > 0);
    return size;
}

static int server_output(struct echo_server *server, struct seg *segs, uint64_t *cookie)
{
    struct proto_output out = {.segs = segs, .max = 4, .budget = 1000};
    int count = echo_server_proto.output(server, &out);
    /* They may be the server's own. */
    if (count > 0 && out.segs != segs)
        memcpy(segs, out.segs, (size_t)count * sizeof(*segs));
    *cookie = out.cookie;
    return count;
}

struct fixture {
    struct echo_pattern pattern;
    struct echo_client client;
    struct heard heard;
    uint8_t *wire;
};

static void set_up_with(struct fixture *f, const struct echo_client_events *events, size_t size,
                        unsigned depth, bool one_way)
{
    memset(f, 0, sizeof(*f));
    cr_assert_eq(echo_pattern_open(&f->pattern, size), 0);
    cr_assert_eq(echo_client_open(&f->client, events, &f->heard, &f->pattern, size, depth, one_way),
                 0);
    echo_client_reset(&f->client, 7);
    f->wire = malloc(size * depth + 64);
    cr_assert_not_null(f->wire);
}

static void set_up(struct fixture *f, size_t size, unsigned depth, bool one_way)
{
    set_up_with(f, &hear, size, depth, one_way);
}

static void tear_down(struct fixture *f)
{
    echo_client_close(&f->client);
    echo_pattern_close(&f->pattern);
    free(f->wire);
}

Test(echo, answers_come_back_in_pieces_of_any_size, .timeout = 20)
{
    static const size_t sizes[] = {1, 2, 15, 16, 17, 64, 4095, 4096, 4097, 10000};

    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t piece = 1; piece <= 3 * sizes[s]; piece = piece * 3 + 1) {
            struct fixture f;
            set_up(&f, sizes[s], 3, false);
            for (unsigned i = 0; i < 3; i++)
                echo_client_ask(&f.client, i, 100 + i);
            size_t size = drain(&f.client, f.wire);
            cr_assert_eq(size, 3 * sizes[s]);
            for (size_t at = 0; at < size; at += piece) {
                size_t n = size - at < piece ? size - at : piece;
                cr_assert_eq(feed(&echo_client_proto, &f.client, f.wire + at, n), PROTO_OK);
            }
            cr_assert_eq(f.heard.answered_count, 3);
            cr_assert_eq(f.heard.firsts, 3);
            cr_assert_eq(f.heard.progress_bytes, size);
            for (unsigned i = 0; i < 3; i++)
                cr_assert_eq(f.heard.answered[i], i);
            tear_down(&f);
        }
    }
}

Test(echo, a_single_wrong_byte_is_found_wherever_it_is, .timeout = 20)
{
    static const size_t sizes[] = {1, 64, 5000};

    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t at = 0; at < sizes[s]; at += 1 + at / 7) {
            struct fixture f;
            set_up(&f, sizes[s], 1, false);
            echo_client_ask(&f.client, 0, 3);
            size_t size = drain(&f.client, f.wire);
            f.wire[at] ^= 0x10;
            cr_assert_eq(feed(&echo_client_proto, &f.client, f.wire, size), -EBADMSG);
            cr_assert_eq(f.heard.answered_count, 0);
            tear_down(&f);
        }
    }
}

Test(echo, answers_that_come_whole_are_compared_as_others_are, .timeout = 10)
{
    static const size_t sizes[] = {15, 16, 64, 4096, 4097};

    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct fixture f;
        uint8_t *second;

        set_up_with(&f, &hear_shortly, sizes[s], 3, false);
        for (unsigned i = 0; i < 100; i++) {
            for (unsigned slot = 0; slot < 3; slot++)
                echo_client_ask(&f.client, slot, i * 3 + slot);
            cr_assert_eq(drain(&f.client, f.wire), 3 * sizes[s]);
            for (unsigned slot = 0; slot < 3; slot++)
                cr_assert_eq(
                    feed(&echo_client_proto, &f.client, f.wire + slot * sizes[s], sizes[s]),
                    PROTO_OK);
        }
        cr_assert_eq(f.heard.answered_count, 300);
        cr_assert_eq(f.heard.progress_bytes, 300 * sizes[s]);
        cr_assert_eq(feed(&echo_client_proto, &f.client, f.wire, sizes[s]), -EPROTO);
        for (unsigned slot = 0; slot < 2; slot++)
            echo_client_ask(&f.client, slot, 900 + slot);
        drain(&f.client, f.wire);
        second = f.wire + sizes[s];
        cr_assert_eq(feed(&echo_client_proto, &f.client, second, sizes[s]), -EBADMSG);
        f.wire[sizes[s] - 1] ^= 1;
        cr_assert_eq(feed(&echo_client_proto, &f.client, f.wire, sizes[s]), -EBADMSG);
        cr_assert_eq(f.heard.answered_count, 300);
        tear_down(&f);
    }
}

Test(echo, an_answer_to_another_question_is_found, .timeout = 10)
{
    struct fixture f;
    uint8_t swapped[128];

    set_up(&f, 64, 2, false);
    echo_client_ask(&f.client, 0, 1);
    echo_client_ask(&f.client, 1, 2);
    cr_assert_eq(drain(&f.client, f.wire), 128);
    memcpy(swapped, f.wire + 64, 64);
    memcpy(swapped + 64, f.wire, 64);
    cr_assert_eq(feed(&echo_client_proto, &f.client, swapped, 128), -EBADMSG);
    tear_down(&f);
}

Test(echo, more_than_was_asked_for_breaks_the_protocol, .timeout = 10)
{
    struct fixture f;

    set_up(&f, 64, 1, false);
    cr_assert_eq(feed(&echo_client_proto, &f.client, (const uint8_t *)"x", 1), -EPROTO);
    echo_client_ask(&f.client, 0, 1);
    size_t size = drain(&f.client, f.wire);
    f.wire[size] = 0;
    cr_assert_eq(feed(&echo_client_proto, &f.client, f.wire, size + 1), -EPROTO);
    cr_assert_eq(f.heard.answered_count, 0, "an answer that is too long is no good one");
    tear_down(&f);
}

Test(echo, too_much_behind_several_answers_spoils_the_last, .timeout = 10)
{
    struct fixture f;

    set_up(&f, 64, 3, false);
    for (unsigned i = 0; i < 3; i++)
        echo_client_ask(&f.client, i, i);
    size_t size = drain(&f.client, f.wire);
    f.wire[size] = 0;
    cr_assert_eq(feed(&echo_client_proto, &f.client, f.wire, size + 1), -EPROTO);
    cr_assert_eq(f.heard.answered_count, 2);
    tear_down(&f);
}

Test(echo, memory_that_the_engine_still_holds_is_not_written, .timeout = 10)
{
    static const size_t sizes[] = {5, 64, ECHO_WHOLE_BYTES + 1};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fixture f;
        struct seg segs[2], kept[3];
        struct proto_output out = {.segs = segs, .max = 2, .budget = 1 << 20};

        set_up(&f, sizes[i], 1, false);
        for (unsigned op = 0; op < 3; op++) {
            echo_client_ask(&f.client, 0, op + 1);
            cr_assert_gt(echo_client_proto.output(&f.client, &out), 0);
            cr_assert_eq(out.cookie != 0, op == 2, "word is asked for of the last place only");
            kept[op] = segs[0];
            cr_assert_eq(feed(&echo_client_proto, &f.client, segs[0].data, segs[0].size), PROTO_OK);
            if (sizes[i] > segs[0].size)
                feed(&echo_client_proto, &f.client, segs[1].data, segs[1].size);
            cr_assert_eq(f.heard.answered_count, op + 1);
        }
        for (unsigned op = 0; op < 3; op++)
            cr_assert_eq(kept[op].data[0], op + 1, "the op's number is in the message");
        echo_client_ask(&f.client, 0, 9);
        cr_assert_eq(echo_client_proto.output(&f.client, &out), 0, "all places are held");
        buf_unref(kept[2].buf);
        cr_assert(echo_client_proto.sent(&f.client, 1, PROTO_RELEASED));
        cr_assert_gt(echo_client_proto.output(&f.client, &out), 0);
        cr_assert_eq(segs[0].data, kept[2].data, "the one that was released");
        cr_assert_eq(kept[2].data[0], 9);
        cr_assert_eq(kept[0].data[0], 1);
        cr_assert_eq(kept[1].data[0], 2);
        tear_down(&f);
    }
}

Test(echo, what_was_released_and_is_not_answered_is_not_written_either, .timeout = 10)
{
    struct fixture f;
    struct seg segs[2];
    struct proto_output out = {.segs = segs, .max = 2, .budget = 1 << 20};

    set_up(&f, 64, 2, false);
    for (unsigned i = 0; i < 2; i++) {
        echo_client_ask(&f.client, i, 50 + i);
        cr_assert_eq(echo_client_proto.output(&f.client, &out), 1);
        memcpy(f.wire + i * 64, segs[0].data, 64);
        buf_unref(segs[0].buf);
    }
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(feed(&echo_client_proto, &f.client, f.wire + i * 64, 64), PROTO_OK);
    tear_down(&f);
}

static void ack_bytes(uint8_t *out, uint64_t total)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)(total >> (8 * i));
}

Test(echo, one_way_writes_are_settled_by_acknowledgements, .timeout = 10)
{
    struct fixture f;
    uint8_t ack[16];

    set_up(&f, 100, 4, true);
    for (unsigned i = 0; i < 4; i++)
        echo_client_ask(&f.client, i, i);
    cr_assert_eq(drain(&f.client, f.wire), 400);
    ack_bytes(ack, 150);
    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(feed(&echo_client_proto, &f.client, ack + i, 1), PROTO_OK);
    cr_assert_eq(f.heard.answered_count, 1);
    cr_assert_eq(f.heard.progress_bytes, 150);
    ack_bytes(ack, 300);
    ack_bytes(ack + 8, 400);
    cr_assert_eq(feed(&echo_client_proto, &f.client, ack, 16), PROTO_OK);
    cr_assert_eq(f.heard.answered_count, 4);
    cr_assert_eq(f.heard.progress_bytes, 400);
    tear_down(&f);
}

Test(echo, an_acknowledgement_of_what_was_never_sent_is_refused, .timeout = 10)
{
    struct fixture f;
    uint8_t ack[8];

    set_up(&f, 100, 4, true);
    echo_client_ask(&f.client, 0, 0);
    cr_assert_eq(drain(&f.client, f.wire), 100);
    ack_bytes(ack, 101);
    cr_assert_eq(feed(&echo_client_proto, &f.client, ack, 8), -EPROTO);
    tear_down(&f);
}

Test(echo, the_server_hands_back_the_very_buffer_and_lets_go_of_it, .timeout = 10)
{
    struct echo_server server;
    struct seg segs[4];
    uint64_t cookie = 0;
    uint8_t data[10] = "0123456789";
    struct buf buf = {.data = data, .size = 10, .refs = 1, .release = keep};

    echo_server_open(&server, false, 0, 0);
    cr_assert_eq(echo_server_proto.input(&server, &buf), PROTO_OK);
    cr_assert_eq(buf.refs, 2);
    cr_assert_eq(server_output(&server, segs, &cookie), 1);
    cr_assert_eq(segs[0].data, data);
    cr_assert_eq(segs[0].buf, &buf);
    cr_assert_eq(buf.refs, 2, "the reference goes with the segment");
    buf_unref(segs[0].buf);
    cr_assert_eq(server_output(&server, segs, &cookie), 0);
    cr_assert_eq(echo_server_proto.input(&server, &buf), PROTO_OK);
    echo_server_reset(&server);
    cr_assert_eq(buf.refs, 1, "a reset gives loans back");
    echo_server_close(&server);
}

/* Its loans would keep what still comes from being read. */
Test(echo, the_server_keeps_nothing_that_nobody_takes, .timeout = 10)
{
    struct echo_server server;
    struct seg segs[4];
    uint64_t cookie = 0;
    uint8_t data[10];
    struct buf buf = {.data = data, .size = 10, .refs = 1, .release = keep};

    echo_server_open(&server, false, 0, 0);
    echo_server_proto.input(&server, &buf);
    cr_assert_eq(buf.refs, 2);
    echo_server_proto.mute(&server);
    cr_assert_eq(buf.refs, 1);
    cr_assert_eq(echo_server_proto.input(&server, &buf), PROTO_OK);
    cr_assert_eq(buf.refs, 1);
    cr_assert_eq(server_output(&server, segs, &cookie), 0);
    echo_server_reset(&server);
    echo_server_proto.input(&server, &buf);
    cr_assert_eq(buf.refs, 2, "the next connection is another one");
    echo_server_close(&server);
}

Test(echo, the_server_closes_after_its_answer_if_asked_to, .timeout = 10)
{
    struct echo_server server;
    uint8_t data[10];
    struct buf buf = {.data = data, .size = 10, .refs = 1, .release = keep};

    echo_server_open(&server, false, 0, 15);
    cr_assert_eq(echo_server_proto.input(&server, &buf), PROTO_OK);
    cr_assert_eq(echo_server_proto.input(&server, &buf), PROTO_CLOSE);
    echo_server_close(&server);
}

Test(echo, the_server_acknowledges_once_a_time, .timeout = 10)
{
    struct echo_server server;
    struct seg segs[4];
    uint64_t cookie = 0;
    uint8_t data[60];
    struct buf buf = {.data = data, .size = 60, .refs = 1, .release = keep};

    echo_server_open(&server, true, 100, 0);
    echo_server_proto.input(&server, &buf);
    cr_assert_eq(server_output(&server, segs, &cookie), 0);
    echo_server_proto.input(&server, &buf);
    cr_assert_eq(server_output(&server, segs, &cookie), 1);
    cr_assert_eq(segs[0].data[0], 120);
    cr_assert_eq(cookie, 1);
    echo_server_proto.input(&server, &buf);
    echo_server_proto.input(&server, &buf);
    cr_assert_eq(server_output(&server, segs, &cookie), 0,
                 "the memory of the first is still the engine's");
    echo_server_proto.sent(&server, 1, PROTO_SENT | PROTO_RELEASED);
    cr_assert_eq(server_output(&server, segs, &cookie), 1);
    cr_assert_eq(segs[0].data[0], 240);
    cr_assert_eq(buf.refs, 1);
    /* 240 are acknowledged: the write that ends at 300 is at 300, not at 340. */
    echo_server_proto.sent(&server, 1, PROTO_SENT | PROTO_RELEASED);
    echo_server_proto.input(&server, &buf);
    cr_assert_eq(server_output(&server, segs, &cookie), 1);
    cr_assert_eq(segs[0].data[0] | segs[0].data[1] << 8, 300);
    echo_server_close(&server);
}

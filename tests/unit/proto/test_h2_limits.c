/* The server against whoever means harm, or does nothing: limited in number and time, counted. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/proto/h2_raw.h"

TestSuite(h2_limits, .init = raw_open, .fini = raw_close, .timeout = 20);

/* A call that has begun, with two bytes of its request. */
static void begin_call(uint32_t stream, const char *path)
{
    struct bytes *block = calloc(1, sizeof(*block));

    put_request_fields(block, path);
    put_frame(in, HEADERS, END_HEADERS, stream, block->data, block->size);
    put_frame(in, DATA, 0, stream, "\0\0", 2);
    free(block);
}

/* --- floods --- */

static void is_calmed(unsigned row)
{
    feed();
    cr_assert_eq(last_goaway(&rig.side), 11, "GOAWAY %ld", last_goaway(&rig.side));
    cr_assert(rig.side.closed);
    cr_assert_eq(server_count(&rig, row), 1);
}

/* More frames that ask for nothing than a second may bring. */
static void is_flood(uint8_t type, uint32_t stream, const char *payload, size_t size)
{
    for (unsigned i = 0; i < 60; i++)
        frame(type, 0, stream, payload, size);
    is_calmed(H2_CLOSED_CONTROLS);
}

/* More streams that this frame ends at once, from either side. */
static void is_flood_of_resets(uint8_t type, const char *payload)
{
    for (uint32_t i = 0; i < 60; i++) {
        open_stream(1 + 2 * i);
        frame(type, 0, 1 + 2 * i, payload, 4);
    }
    is_calmed(H2_CLOSED_RESETS);
}

Test(h2_limits, rapid_reset_is_ended)
{
    is_flood_of_resets(RST_STREAM, "\0\0\0\10");
}

Test(h2_limits, streams_that_we_are_made_to_reset_count_too)
{
    is_flood_of_resets(WINDOW_UPDATE, "\x7f\xff\xff\xff");
}

Test(h2_limits, resets_at_a_bearable_rate_are_borne)
{
    uint32_t stream = 1;

    for (unsigned second = 0; second < 20; second++) {
        for (unsigned i = 0; i < 40; i++, stream += 2) {
            open_stream(stream);
            frame(RST_STREAM, 0, stream, "\0\0\0\10", 4);
        }
        feed();
        cr_assert_eq(last_goaway(&rig.side), -1, "second %u", second);
        side_time(&rig.side, rig.side.now_ns + 1000000000);
    }
    cr_assert_eq(server_count(&rig, H2_RESETS), 800);
}

Test(h2_limits, a_flood_of_pings_is_ended)
{
    is_flood(PING, 0, "12345678", 8);
}

Test(h2_limits, a_flood_of_settings_is_ended)
{
    is_flood(SETTINGS, 0, "\0\3\0\0\0\1", 6);
}

/* With a call open: else the first one ends the connection. */
Test(h2_limits, a_flood_of_goodbyes_is_ended)
{
    open_stream(1);
    is_flood(GOAWAY, 0, "\0\0\0\0\0\0\0\0", 8);
}

Test(h2_limits, a_flood_of_empty_data_is_ended)
{
    open_stream(1);
    is_flood(DATA, 1, "", 0);
}

Test(h2_limits, a_flood_of_priorities_is_ended)
{
    is_flood(PRIORITY, 1, "\0\0\0\3\1", 5);
}

Test(h2_limits, a_flood_of_window_updates_is_ended)
{
    is_flood(WINDOW_UPDATE, 0, "\0\0\0\1", 4);
}

Test(h2_limits, an_answer_pays_for_a_few_updates_and_no_flood)
{
    put_request(in, 1, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, DATA), 1);
    is_flood(WINDOW_UPDATE, 0, "\0\0\0\1", 4);
}

Test(h2_limits, a_flood_of_answers_to_pings_that_nobody_sent_is_ended)
{
    for (unsigned i = 0; i < 60; i++)
        frame(PING, ACK, 0, "12345678", 8);
    is_calmed(H2_CLOSED_CONTROLS);
}

Test(h2_limits, a_flood_of_frames_that_nobody_knows_is_ended)
{
    is_flood(0x20, 0, "whatever", 8);
}

Test(h2_limits, a_flood_of_new_priorities_is_ended)
{
    is_flood(0x10, 0, "\0\0\0\1u=1", 7);
}

Test(h2_limits, a_flood_of_padding_is_ended)
{
    open_stream(1);
    for (unsigned i = 0; i < 60; i++)
        frame(DATA, PADDED, 1, "\3\0\0\0", 4);
    is_calmed(H2_CLOSED_CONTROLS);
}

Test(h2_limits, a_flood_of_empty_data_on_a_stream_that_is_over_is_ended)
{
    put_request(in, 1, "/no.Such/Method");
    feed();
    begin_call(3, "/no.Such/Method"); /* answered at once, and reset by us */
    feed();
    for (unsigned i = 0; i < 60; i++)
        frame(DATA, 0, 3, "", 0);
    is_calmed(H2_CLOSED_CONTROLS);
}

Test(h2_limits, a_flood_of_continuations_is_ended)
{
    frame(HEADERS, 0, 1, "\x82", 1);
    for (unsigned i = 0; i < 20; i++)
        frame(CONTINUATION, 0, 1, "\x84", 1);
    feed();
    cr_assert(rig.side.closed || rig.side.err < 0);
    cr_assert_eq(server_count(&rig, H2_CLOSED_HEADERS), 1);
}

Test(h2_limits, headers_somewhat_too_large_fail_the_call)
{
    struct bytes *block = calloc(1, sizeof(*block));
    static char value[10001];

    memset(value, 'v', 10000);
    put_request_fields(block, LIST);
    put_field(block, "x-large", value);
    put_frame(in, HEADERS, END_HEADERS, 1, block->data, block->size);
    put_frame(in, DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    free(block);
    feed();
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 1);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
}

/* A field that is indexed once and named again and again: large only when decoded. */
Test(h2_limits, a_header_bomb_is_ended)
{
    struct bytes *block = calloc(1, sizeof(*block));
    static char value[3001];

    memset(value, 'v', 3000);
    put_request_fields(block, LIST);
    size_t at = block->size;
    put_field(block, "x-bomb", value);
    block->data[at] = 0x40; /* with indexing: number 62 from now on */
    for (unsigned i = 0; i < 100; i++)
        put_raw(block, "\xbe", 1);
    put_frame(in, HEADERS, END_HEADERS | END_STREAM, 1, block->data, block->size);
    free(block);
    is_calmed(H2_CLOSED_HEADERS);
}

/* --- time --- */

Test(h2_limits, who_does_not_begin_is_closed)
{
    in->size = 0;
    side_time(&rig.side, rig.side.now_ns + 9000000000);
    cr_assert_eq(rig.side.err, 0);
    side_time(&rig.side, rig.side.now_ns + 2000000000);
    cr_assert_eq(rig.side.err, -ETIMEDOUT);
    cr_assert_eq(server_count(&rig, H2_CLOSED_SILENT), 1);
}

Test(h2_limits, a_silent_connection_is_asked_and_then_closed)
{
    feed();
    side_time(&rig.side, rig.side.now_ns + 1);
    side_time(&rig.side, rig.side.now_ns + 61000000000);
    cr_assert_eq(count_frames(&rig.side, PING), 1);
    cr_assert_eq(rig.side.err, 0);
    side_time(&rig.side, rig.side.now_ns + 21000000000);
    cr_assert_eq(rig.side.err, -ETIMEDOUT);
}

Test(h2_limits, one_that_answers_stays)
{
    feed();
    side_time(&rig.side, rig.side.now_ns + 1);
    for (unsigned i = 0; i < 5; i++) {
        side_time(&rig.side, rig.side.now_ns + 61000000000);
        frame(PING, ACK, 0, "\0\0\0\0\0\0\0\0", 8);
        feed();
        side_time(&rig.side, rig.side.now_ns + 21000000000);
        cr_assert_eq(rig.side.err, 0);
    }
}

Test(h2_limits, a_request_byte_by_byte_is_reset_in_time)
{
    begin_call(1, LIST);
    feed();
    for (unsigned i = 0; i < 8; i++) {
        side_time(&rig.side, rig.side.now_ns + 1000000000);
        frame(DATA, 0, 1, "\0", i < 3); /* the prefix, and no more */
        feed();
        cr_assert_eq(last_reset(&rig.side, NULL), -1, "second %u", i);
    }
    side_time(&rig.side, rig.side.now_ns + 2000000001);
    cr_assert_eq(last_reset(&rig.side, NULL), H2_CANCEL);
    cr_assert_eq(server_count(&rig, H2_SLOW), 1);
    cr_assert_eq(rig.side.err, 0);
    put_request(in, 3, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, HEADERS), 2, "and the connection too");
}

Test(h2_limits, a_stream_of_requests_may_take_its_time)
{
    begin_call(1, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    feed();
    side_time(&rig.side, rig.side.now_ns + 11000000000);
    cr_assert_eq(last_reset(&rig.side, NULL), -1);
    cr_assert_eq(server_count(&rig, H2_SLOW), 0);
}

/* A call for a picture, on a connection that takes none of it. */
static void ask_without_window(void)
{
    struct bytes *block = calloc(1, sizeof(*block));
    struct bytes *names = calloc(1, sizeof(*names));

    frame(SETTINGS, 0, 0, "\0\4\0\0\0\0", 6); /* a window of nothing */
    put_request_fields(block, STREAM);
    put_frame(in, HEADERS, END_HEADERS, 1, block->data, block->size);
    put_raw(names, "\0\0\0\0\x0d\x0a\x0bimage-0.jpg", 18);
    put_frame(in, DATA, END_STREAM, 1, names->data, names->size);
    free(block);
    free(names);
    feed();
    cr_assert_eq(server_count(&rig, H2_STALLS), 1);
}

Test(h2_limits, who_takes_nothing_of_what_it_asked_for_is_closed)
{
    ask_without_window();
    for (unsigned i = 0; i < 3; i++)
        side_time(&rig.side, rig.side.now_ns + 31000000000);
    cr_assert_eq(rig.side.err, -ETIMEDOUT);
    cr_assert_eq(server_count(&rig, H2_CLOSED_STALLED), 1);
}

Test(h2_limits, who_pings_and_takes_nothing_of_what_it_asked_for_is_closed)
{
    ask_without_window();
    for (unsigned i = 0; i < 8 && rig.side.err == 0; i++) {
        frame(PING, 0, 0, "12345678", 8);
        feed();
        side_time(&rig.side, rig.side.now_ns + 10000000000);
    }
    cr_assert_eq(rig.side.err, -ETIMEDOUT);
    cr_assert_eq(server_count(&rig, H2_CLOSED_STALLED), 1);
}

Test(h2_limits, who_takes_a_little_at_a_time_stays)
{
    ask_without_window();
    for (unsigned i = 0; i < 8; i++) {
        frame(WINDOW_UPDATE, 0, 1, "\0\0\0\1", 4);
        feed();
        side_time(&rig.side, rig.side.now_ns + 20000000000);
        cr_assert_eq(rig.side.err, 0, "step %u", i);
    }
}

Test(h2_limits, the_time_that_flow_control_held_all_is_counted)
{
    ask_without_window();
    side_time(&rig.side, rig.side.now_ns + 3000000000);
    cr_assert_eq(server_count(&rig, H2_STALLED_NS), 0);
    frame(WINDOW_UPDATE, 0, 0, "\0\6\0\0", 4);
    frame(WINDOW_UPDATE, 0, 1, "\0\6\0\0", 4);
    feed();
    cr_assert_eq(answer_status(1), GRPC_OK);
    cr_assert_eq(server_count(&rig, H2_STALLED_NS), 3000000000);
}

/* At each look something is on its way, but another time something else. */
Test(h2_limits, who_asks_for_nothing_and_takes_what_is_said_stays)
{
    feed();
    rig.side.hold = true;
    for (unsigned i = 0; i < 5; i++) {
        frame(PING, 0, 0, "12345678", 8);
        feed();
        side_time(&rig.side, rig.side.now_ns + 31000000000);
        cr_assert_eq(rig.side.err, 0, "look %u", i);
        side_release(&rig.side);
    }
}

/* A call for 4000 pictures, in frames that fit. */
static void put_long_call(uint32_t stream)
{
    static const char name[] = "\n\vimage-1.jpg";
    struct bytes *block = calloc(1, sizeof(*block)), *message = calloc(1, sizeof(*message));
    size_t size = 4000 * (sizeof(name) - 1);
    const uint8_t prefix[5] = {0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size};

    put_request_fields(block, STREAM);
    put_frame(in, HEADERS, END_HEADERS, stream, block->data, block->size);
    put_raw(message, prefix, sizeof(prefix));
    for (unsigned i = 0; i < 4000; i++)
        put_raw(message, name, sizeof(name) - 1);
    for (size_t at = 0; at < message->size; at += 16384) {
        size_t rest = message->size - at, piece = rest < 16384 ? rest : 16384;
        frame(DATA, piece == rest ? END_STREAM : 0, stream, (const char *)message->data + at,
              piece);
    }
    free(block);
    free(message);
}

/* However much they ask for: 1.8 GB a call here. What docs/image-stream.md promises of memory. */
Test(h2_limits, calls_whose_answers_are_not_read_cost_4_bytes_a_name)
{
    uint64_t before = rig.worker.grpc.h2.pool.system_bytes;
    const uint64_t blocks = 32 * 16384, request = 65536, session = 10240, call = 4 * 4000 + 1024;

    frame(SETTINGS, 0, 0, "\0\4\0\0\0\0", 6); /* no window at all */
    feed();
    rig.side.hold = true;
    for (uint32_t i = 0; i < 100; i++) {
        put_long_call(2 * i + 1);
        feed();
        cr_assert_eq(rig.side.err, 0);
        side_release(&rig.side); /* headers and window updates did go out */
    }
    cr_assert_eq(server_count(&rig, GRPC_CALLS), 100);
    cr_assert_eq(server_count(&rig, IMAGES_SENT), 400000);
    uint64_t grown = rig.worker.grpc.h2.pool.system_bytes - before;
    cr_assert_leq(grown, blocks + session + 4 * request + 100 * call, "%llu bytes",
                  (unsigned long long)grown);
}

#define REFLECTION "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
static const char question[] = "\0\0\0\0\x1b\x1a\x19proto/reflection_v1.proto";

/* A stream that asks so often, in one go. */
static void ask(uint32_t stream, unsigned times)
{
    begin_call(stream, REFLECTION);
    frame(DATA, 0, stream, question + 2, sizeof(question) - 3); /* two bytes have come */
    for (unsigned i = 1; i < times; i++)
        frame(DATA, 0, stream, question, sizeof(question) - 1);
}

/* Answers are longer than what asks for them, which our window lets through. */
Test(h2_limits, answers_that_are_not_taken_end_a_stream_of_questions)
{
    uint64_t before = rig.worker.grpc.h2.pool.system_bytes;

    frame(SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    ask(1, 1);
    for (unsigned i = 0; i < 400; i++) {
        frame(DATA, 0, 1, question, sizeof(question) - 1);
        feed();
    }
    cr_assert_eq(rig.side.err, 0);
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 1);
    uint64_t grown = rig.worker.grpc.h2.pool.system_bytes - before;
    cr_assert_leq(grown, 1u << 20, "%llu bytes", (unsigned long long)grown);
    /* What was answered before comes, and then why no more does. */
    frame(WINDOW_UPDATE, 0, 1, "\0\x0f\0\0", 4);
    frame(WINDOW_UPDATE, 0, 0, "\0\x0f\0\0", 4);
    feed();
    cr_assert_eq(count_frames(&rig.side, HEADERS), 2);
    cr_assert_eq(last_reset(&rig.side, NULL), H2_NO_ERROR);
    cr_assert_eq(answer_status(1), GRPC_RESOURCE_EXHAUSTED);
}

/* All in one go: what they cost could not be sent meanwhile. */
Test(h2_limits, questions_that_come_together_are_all_answered)
{
    frame(SETTINGS, 0, 0, "\0\4\x7f\xff\xff\xff", 6);
    frame(WINDOW_UPDATE, 0, 0, "\x7f\xff\0\0", 4);
    ask(1, 400);
    frame(DATA, END_STREAM, 1, "", 0);
    feed();
    cr_assert_eq(rig.side.err, 0);
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 0);
    cr_assert_eq(answer_status(1), GRPC_OK);
}

/* Many streams do not make it more, nor does asking for it in one go. */
Test(h2_limits, answers_that_are_not_taken_are_bounded_for_a_connection)
{
    uint64_t before = rig.worker.grpc.h2.pool.system_bytes;

    frame(SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    for (uint32_t stream = 1; stream < 40; stream += 2) {
        ask(stream, 60);
        feed();
    }
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 19);
    uint64_t grown = rig.worker.grpc.h2.pool.system_bytes - before;
    cr_assert_leq(grown, 1u << 20, "%llu bytes", (unsigned long long)grown);
    /* Whoever asks for one thing is answered all the same. */
    begin_call(41, "/grpc.health.v1.Health/Check");
    frame(DATA, END_STREAM, 41, "\0\0\0", 3);
    feed();
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 19);
}

Test(h2_limits, one_input_asks_for_no_more_than_16_times_as_much)
{
    uint64_t before = rig.worker.grpc.h2.pool.system_bytes;

    frame(SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    ask(1, 3000);
    feed();
    cr_assert_eq(rig.side.err, 0);
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 1);
    uint64_t grown = rig.worker.grpc.h2.pool.system_bytes - before;
    cr_assert_leq(grown, 3u << 20, "%llu bytes", (unsigned long long)grown);
}

Test(h2_limits, as_many_questions_as_one_likes_whose_answers_are_taken)
{
    ask(1, 1);
    for (unsigned i = 0; i < 400; i++) {
        frame(DATA, 0, 1, question, sizeof(question) - 1);
        frame(WINDOW_UPDATE, 0, 1, "\0\0\x10\0", 4);
        frame(WINDOW_UPDATE, 0, 0, "\0\0\x10\0", 4);
        feed();
    }
    cr_assert_eq(rig.side.err, 0);
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 0);
}

/* What a connection holds that reads nothing is bounded, whatever it asks for. */
Test(h2_limits, a_connection_that_reads_nothing_costs_little)
{
    struct h2_options options = server_options();

    server_close(&rig);
    options.controls_per_s = 1000000;
    server_open(&rig, &options, IMAGE_NESTED, true);
    feed();
    rig.side.hold = true;
    uint64_t before = rig.worker.grpc.h2.pool.system_bytes;
    for (unsigned i = 0; i < 20000; i++) {
        frame(PING, 0, 0, "12345678", 8);
        feed();
    }
    cr_assert_leq(rig.worker.grpc.h2.pool.system_bytes - before, 2u << 20, "%llu bytes",
                  (unsigned long long)(rig.worker.grpc.h2.pool.system_bytes - before));
}

/* At a bearable rate, but on and on: streams beyond --streams-max, each refused by a reset. */
Test(h2_limits, resets_that_are_not_taken_do_not_pile_up)
{
    uint32_t stream = 1;

    for (; stream < 201; stream += 2) /* all that may be open */
        open_stream(stream);
    feed();
    rig.side.hold = true;
    for (unsigned i = 0; i < 32; i++) { /* all blocks are on their way */
        frame(PING, 0, 0, "12345678", 8);
        feed();
    }
    for (unsigned second = 0; second < 5; second++) {
        for (unsigned i = 0; i < 20; i++, stream += 2)
            open_stream(stream);
        feed();
        side_time(&rig.side, rig.side.now_ns + 1000000000);
    }
    side_release(&rig.side);
    is_calmed(H2_CLOSED_RESETS);
}

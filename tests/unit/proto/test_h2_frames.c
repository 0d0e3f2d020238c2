/*
 * The server against raw frames: every error that RFC 9113 names for a frame, each with the code
 * that it is to be answered with; and gRPC's own.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/proto/h2_raw.h"

TestSuite(h2_frames, .init = raw_open, .fini = raw_close, .timeout = 20);

/* The connection ends with this code; and a new one is served. */
static void ends_with(long code)
{
    feed();
    cr_assert(rig.side.closed || rig.side.err < 0);
    cr_assert_eq(last_goaway(&rig.side), code, "GOAWAY %ld", last_goaway(&rig.side));
    cr_assert_eq(server_count(&rig, H2_CLOSED_PROTOCOL), 1);
    side_close(&rig.side);
    grpc_server_reset(&rig.server);
    side_open(&rig.side, &grpc_server_proto, &rig.server);
    put_preface(in);
    put_request(in, 1, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, DATA), 1, "the server lives on");
}

/* The stream is reset with this code, and the connection goes on. */
static void resets_with(long code)
{
    uint32_t stream = 0;

    feed();
    cr_assert_not(rig.side.closed);
    cr_assert_eq(rig.side.err, 0);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
    cr_assert_eq(last_reset(&rig.side, &stream), code, "RST_STREAM %ld",
                 last_reset(&rig.side, NULL));
    cr_assert_eq(stream, 1);
    put_request(in, 7, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, DATA), 1, "the connection goes on");
}

/* --- section by section --- */

Test(h2_frames, a_call_is_answered)
{
    put_request(in, 1, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, HEADERS), 2, "headers and trailers");
    cr_assert_eq(count_frames(&rig.side, DATA), 1);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
}

Test(h2_frames, s3_4_a_wrong_preface_ends_the_connection)
{
    in->size = 0;
    put_raw(in, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    ends_with(1);
}

Test(h2_frames, s4_2_a_frame_larger_than_announced_is_frame_size_error)
{
    static char large[(1u << 17)];
    struct h2_options options = server_options();

    server_close(&rig);
    options.frame_bytes = 16384;
    server_open(&rig, &options, IMAGE_NESTED, true);
    open_stream(1);
    frame(DATA, 0, 1, large, 16385);
    ends_with(6);
}

Test(h2_frames, s4_3_a_header_block_that_cannot_be_decoded_is_compression_error)
{
    frame(HEADERS, END_HEADERS | END_STREAM, 1, "\xff\xff\xff\xff\xff\xff", 6);
    ends_with(9);
}

Test(h2_frames, s4_3_another_frame_within_a_header_block_is_protocol_error)
{
    frame(HEADERS, 0, 1, "\x82", 1);
    frame(PING, 0, 0, "12345678", 8);
    ends_with(1);
}

Test(h2_frames, s5_1_data_on_an_idle_stream_is_protocol_error)
{
    frame(DATA, 0, 1, "x", 1);
    ends_with(1);
}

Test(h2_frames, s5_1_reset_of_an_idle_stream_is_protocol_error)
{
    frame(RST_STREAM, 0, 1, "\0\0\0\10", 4);
    ends_with(1);
}

Test(h2_frames, s5_1_window_update_on_an_idle_stream_is_protocol_error)
{
    frame(WINDOW_UPDATE, 0, 1, "\0\0\0\1", 4);
    ends_with(1);
}

Test(h2_frames, s5_1_continuation_on_an_idle_stream_is_protocol_error)
{
    frame(CONTINUATION, END_HEADERS, 1, "\x82", 1);
    ends_with(1);
}

Test(h2_frames, s5_1_data_after_the_end_is_stream_closed)
{
    put_request(in, 1, STREAM);
    frame(DATA, END_STREAM, 1, "x", 1);
    feed();
    cr_assert(last_goaway(&rig.side) == 5 || last_reset(&rig.side, NULL) == 5);
}

Test(h2_frames, s5_1_data_on_a_stream_that_is_over_is_stream_closed)
{
    put_request(in, 1, LIST);
    feed();
    frame(DATA, 0, 1, "x", 1);
    ends_with(5);
}

Test(h2_frames, s5_1_data_behind_its_answer_among_others_is_stream_closed)
{
    put_request(in, 1, LIST);
    feed();
    put_request(in, 3, LIST);
    open_stream(5);
    frame(DATA, 0, 1, "", 0);
    frame(DATA, 0, 5, "\0\0\0\0\0", 5);
    put_request(in, 7, LIST);
    ends_with(5);
}

Test(h2_frames, s5_1_data_on_a_stream_that_is_over_is_found_in_pieces)
{
    put_request(in, 1, LIST);
    put_request(in, 3, LIST);
    for (size_t i = 0; i < in->size; i++)
        side_feed(&rig.side, in->data + i, 1);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
    in->size = 0;
    frame(DATA, PADDED, 1, "\2xyz", 4);
    for (size_t i = 0; i + 1 < in->size; i++)
        side_feed(&rig.side, in->data + i, 1);
    in->size = 0;
    ends_with(5);
}

Test(h2_frames, s5_1_data_after_a_reset_is_stream_closed)
{
    open_stream(1);
    frame(RST_STREAM, 0, 1, "\0\0\0\x08", 4);
    frame(DATA, END_STREAM, 1, "x", 1);
    ends_with(5);
}

/* As many streams as are kept in mind, and more. */
Test(h2_frames, s5_1_streams_that_ended_long_ago_are_kept_in_mind)
{
    for (uint32_t i = 0; i < 5000; i++) {
        put_request(in, 1 + 2 * i, "/no.Such/Method"); /* no window is needed to answer that */
        feed();
        side_release(&rig.side);
    }
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
    frame(DATA, 0, 9999 - 2 * 1900, "x", 1);
    ends_with(5);
}

Test(h2_frames, s5_1_headers_on_a_stream_that_is_over_are_stream_closed)
{
    put_request(in, 1, LIST);
    feed();
    put_request(in, 1, LIST);
    ends_with(5);
}

Test(h2_frames, s5_1_headers_after_a_reset_are_stream_closed)
{
    open_stream(1);
    frame(RST_STREAM, 0, 1, "\0\0\0\x08", 4);
    put_request(in, 1, LIST);
    ends_with(5);
}

Test(h2_frames, s5_1_what_comes_after_our_reset_is_let_pass)
{
    put_request(in, 1, "/no.Such/Method"); /* HEADERS alone would do: DATA comes too late */
    in->size -= 14;
    feed();
    cr_assert_eq(last_reset(&rig.side, NULL), H2_NO_ERROR);
    frame(DATA, 0, 1, "\0\0\0\0\0", 5);
    put_request(in, 1, LIST); /* as trailers of a request might */
    feed();
    cr_assert_eq(last_reset(&rig.side, NULL), H2_NO_ERROR);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
    cr_assert_eq(server_count(&rig, H2_RESETS), 0);
}

Test(h2_frames, s5_1_2_data_of_a_stream_that_is_refused_is_let_pass)
{
    for (uint32_t i = 0; i < 100; i++)
        open_stream(1 + 2 * i);
    put_request(in, 201, LIST); /* as long as our SETTINGS may be on their way */
    feed();
    cr_assert_eq(last_reset(&rig.side, NULL), H2_REFUSED_STREAM);
    cr_assert_eq(count_frames(&rig.side, RST_STREAM), 1);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
}

/* All heads first, and their bodies after them, as a client may that takes turns. */
Test(h2_frames, s5_1_2_data_of_many_streams_that_are_refused_is_let_pass)
{
    struct h2_options options = server_options();

    server_close(&rig);
    options.resets_per_s = 1000;
    server_open(&rig, &options, IMAGE_NESTED, true);
    for (uint32_t i = 0; i < 400; i++)
        open_stream(1 + 2 * i);
    feed();
    for (uint32_t i = 100; i < 400; i++)
        frame(DATA, END_STREAM, 1 + 2 * i, "\0\0\0\0\0", 5);
    feed();
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
    cr_assert_eq(count_frames(&rig.side, RST_STREAM), 300);
}

Test(h2_frames, s5_1_1_an_even_stream_is_protocol_error)
{
    put_request(in, 2, LIST);
    ends_with(1);
}

Test(h2_frames, s5_1_1_a_stream_that_goes_back_is_an_error)
{
    put_request(in, 5, LIST);
    put_request(in, 3, LIST);
    feed();
    cr_assert(last_goaway(&rig.side) == 1 || last_goaway(&rig.side) == 5);
}

Test(h2_frames, s5_1_2_streams_beyond_the_limit_are_refused)
{
    for (uint32_t i = 0; i < 101; i++)
        open_stream(1 + 2 * i);
    frame(SETTINGS, ACK, 0, "", 0);
    feed();
    long code = last_reset(&rig.side, NULL);
    cr_assert(code == 7 || code == 1 || last_goaway(&rig.side) == 1, "%ld", code);
    cr_assert_leq(rig.server.h2.streams_count, 100);
}

Test(h2_frames, s5_3_1_a_stream_that_depends_on_itself_does_no_harm)
{
    struct bytes *block = calloc(1, sizeof(*block));
    put_raw(block, "\0\0\0\1\x10", 5);
    put_request_fields(block, LIST);
    put_frame(in, HEADERS, END_HEADERS | WITH_PRIORITY, 1, block->data, block->size);
    free(block);
    put_frame(in, DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    feed();
    cr_assert(count_frames(&rig.side, DATA) == 1 || last_goaway(&rig.side) == 1 ||
              last_reset(&rig.side, NULL) == 1);
}

Test(h2_frames, s6_1_data_on_stream_0_is_protocol_error)
{
    frame(DATA, 0, 0, "x", 1);
    ends_with(1);
}

Test(h2_frames, s6_1_padding_as_long_as_the_frame_is_protocol_error)
{
    open_stream(1);
    frame(DATA, PADDED, 1, "\5xxxx", 5);
    ends_with(1);
}

Test(h2_frames, s6_2_headers_on_stream_0_are_protocol_error)
{
    frame(HEADERS, END_HEADERS, 0, "\x82", 1);
    ends_with(1);
}

Test(h2_frames, s6_2_padding_of_headers_too_long_is_protocol_error)
{
    frame(HEADERS, END_HEADERS | PADDED, 1, "\x09\x82\x84\x87", 4);
    ends_with(1);
}

Test(h2_frames, s6_3_priority_on_stream_0_is_protocol_error)
{
    frame(PRIORITY, 0, 0, "\0\0\0\3\1", 5);
    ends_with(1);
}

Test(h2_frames, s6_3_priority_of_another_size_is_frame_size_error)
{
    frame(PRIORITY, 0, 1, "\0\0\0\3", 4);
    feed();
    cr_assert(last_goaway(&rig.side) == 6 || last_reset(&rig.side, NULL) == 6);
}

Test(h2_frames, s6_4_reset_on_stream_0_is_protocol_error)
{
    frame(RST_STREAM, 0, 0, "\0\0\0\10", 4);
    ends_with(1);
}

Test(h2_frames, s6_4_reset_of_another_size_is_frame_size_error)
{
    open_stream(1);
    frame(RST_STREAM, 0, 1, "\0\0\10", 3);
    ends_with(6);
}

Test(h2_frames, s6_5_settings_on_a_stream_are_protocol_error)
{
    frame(SETTINGS, 0, 1, "", 0);
    ends_with(1);
}

Test(h2_frames, s6_5_settings_ack_with_a_payload_is_frame_size_error)
{
    frame(SETTINGS, ACK, 0, "\0\1\0\0\0\0", 6);
    ends_with(6);
}

Test(h2_frames, s6_5_settings_of_another_size_are_frame_size_error)
{
    frame(SETTINGS, 0, 0, "\0\1\0\0\0", 5);
    ends_with(6);
}

Test(h2_frames, s6_5_2_enable_push_of_2_is_protocol_error)
{
    frame(SETTINGS, 0, 0, "\0\2\0\0\0\2", 6);
    ends_with(1);
}

Test(h2_frames, s6_5_2_a_window_beyond_2_31_is_flow_control_error)
{
    frame(SETTINGS, 0, 0, "\0\4\x80\0\0\0", 6);
    ends_with(3);
}

Test(h2_frames, s6_5_2_a_frame_size_out_of_range_is_protocol_error)
{
    frame(SETTINGS, 0, 0, "\0\5\0\0\x3f\xff", 6);
    ends_with(1);
}

Test(h2_frames, s6_5_2_an_unknown_setting_is_left_alone)
{
    frame(SETTINGS, 0, 0, "\0\x77\0\0\0\1", 6);
    put_request(in, 1, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, DATA), 1);
}

Test(h2_frames, s6_6_push_promise_from_a_client_is_protocol_error)
{
    open_stream(1);
    frame(PUSH_PROMISE, END_HEADERS, 1, "\0\0\0\2\x82", 5);
    ends_with(1);
}

Test(h2_frames, s6_7_ping_on_a_stream_is_protocol_error)
{
    frame(PING, 0, 1, "12345678", 8);
    ends_with(1);
}

Test(h2_frames, s6_7_ping_of_another_size_is_frame_size_error)
{
    frame(PING, 0, 0, "1234567", 7);
    ends_with(6);
}

Test(h2_frames, s6_7_ping_is_answered_with_its_own_bytes)
{
    const uint8_t *at;
    struct frame got = {0};

    frame(PING, 0, 0, "12345678", 8);
    feed();
    at = rig.side.out;
    while (next_frame(&at, rig.side.out + rig.side.out_size, &got) && got.type != PING)
        ;
    cr_assert_eq(got.type, PING);
    cr_assert_eq(got.flags, ACK);
    cr_assert_arr_eq(got.payload, "12345678", 8);
}

Test(h2_frames, s6_8_goaway_too_short_is_frame_size_error)
{
    frame(GOAWAY, 0, 0, "\0\0\0\0\0\0\0", 7);
    ends_with(6);
}

Test(h2_frames, s6_8_goaway_on_a_stream_is_protocol_error)
{
    frame(GOAWAY, 0, 1, "\0\0\0\0\0\0\0\0", 8);
    ends_with(1);
}

Test(h2_frames, s6_9_an_update_of_0_on_the_connection_is_protocol_error)
{
    frame(WINDOW_UPDATE, 0, 0, "\0\0\0\0", 4);
    ends_with(1);
}

Test(h2_frames, s6_9_an_update_of_0_on_a_stream_is_a_stream_error)
{
    open_stream(1);
    frame(WINDOW_UPDATE, 0, 1, "\0\0\0\0", 4);
    feed();
    cr_assert(last_reset(&rig.side, NULL) == 1 || last_goaway(&rig.side) == 1);
}

Test(h2_frames, s6_9_an_update_of_another_size_is_frame_size_error)
{
    frame(WINDOW_UPDATE, 0, 0, "\0\0\1", 3);
    ends_with(6);
}

Test(h2_frames, s6_9_1_a_window_beyond_2_31_on_a_stream_resets_it)
{
    open_stream(1);
    frame(WINDOW_UPDATE, 0, 1, "\x7f\xff\xff\xff", 4);
    resets_with(3);
}

Test(h2_frames, s6_9_1_a_window_beyond_2_31_on_the_connection_ends_it)
{
    frame(WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4);
    ends_with(3);
}

Test(h2_frames, s6_9_1_more_data_than_the_window_is_flow_control_error)
{
    static char data[70000];
    struct h2_options options = server_options();

    server_close(&rig);
    options.window_bytes = options.window_most = 65535;
    server_open(&rig, &options, IMAGE_NESTED, true);
    open_stream(1);
    frame(SETTINGS, ACK, 0, "", 0);
    frame(DATA, 0, 1, data, sizeof(data));
    feed();
    cr_assert(last_goaway(&rig.side) == 3 || last_reset(&rig.side, NULL) == 3);
}

/* That of the connection, which others share, was opened again, and the stream's own not yet. */
Test(h2_frames, s6_9_1_more_data_than_the_streams_own_window_resets_it)
{
    static char data[40000] = "\0\0\0\xea\x60"; /* a message of 60000 bytes begins */

    frame(SETTINGS, ACK, 0, "", 0);
    open_stream(1);
    frame(DATA, 0, 1, data, 30000);
    open_stream(3);
    frame(DATA, 0, 3, data, 5000);
    feed();
    cr_assert_eq(last_reset(&rig.side, NULL), -1);
    frame(DATA, 0, 1, data, 40000);
    resets_with(3);
}

Test(h2_frames, s6_9_2_settings_that_overflow_a_streams_window_are_flow_control_error)
{
    open_stream(1);
    frame(WINDOW_UPDATE, 0, 1, "\x7f\xff\0\0", 4);
    frame(SETTINGS, 0, 0, "\0\4\0\2\0\0", 6);
    ends_with(3);
}

Test(h2_frames, s6_9_2_settings_that_a_streams_window_just_bears_are_fine)
{
    open_stream(1);
    frame(WINDOW_UPDATE, 0, 1, "\x7f\xfd\xff\xff", 4); /* 2^31 - 1 with what follows */
    frame(SETTINGS, 0, 0, "\0\4\0\2\0\0", 6);
    frame(DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    feed();
    cr_assert_eq(rig.side.err, 0);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
    cr_assert_eq(count_frames(&rig.side, DATA), 1);
}

Test(h2_frames, s6_10_continuation_on_no_stream_is_protocol_error)
{
    frame(HEADERS, 0, 1, "\x82", 1);
    frame(CONTINUATION, END_HEADERS, 0, "\x84", 1);
    ends_with(1);
}

Test(h2_frames, s8_1_1_less_data_than_content_length_is_malformed)
{
    struct bytes *block = calloc(1, sizeof(*block));
    put_request_fields(block, LIST);
    put_field(block, "content-length", "6");
    frame(HEADERS, END_HEADERS, 1, (const char *)block->data, block->size);
    frame(DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    free(block);
    resets_with(1);
}

Test(h2_frames, s6_10_continuation_after_the_block_is_protocol_error)
{
    open_stream(1);
    frame(CONTINUATION, END_HEADERS, 1, "\x82", 1);
    ends_with(1);
}

Test(h2_frames, s6_10_continuation_on_another_stream_is_protocol_error)
{
    frame(HEADERS, 0, 1, "\x82", 1);
    frame(CONTINUATION, END_HEADERS, 3, "\x84", 1);
    ends_with(1);
}

Test(h2_frames, s5_5_an_unknown_frame_is_left_alone)
{
    frame(0xbe, 0xff, 0, "whatever", 8);
    put_request(in, 1, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, DATA), 1);
}

static void malformed_request(const char *name, const char *value)
{
    struct bytes *block = calloc(1, sizeof(*block));
    put_request_fields(block, LIST);
    put_field(block, name, value);
    put_frame(in, HEADERS, END_HEADERS | END_STREAM, 1, block->data, block->size);
    free(block);
    resets_with(1);
}

Test(h2_frames, s8_2_an_upper_case_name_is_malformed)
{
    malformed_request("X-Upper", "1");
}

Test(h2_frames, s8_2_2_a_connection_field_is_malformed)
{
    malformed_request("connection", "close");
}

Test(h2_frames, s8_3_a_pseudo_field_after_others_is_malformed)
{
    malformed_request(":path", "/again");
}

Test(h2_frames, s8_3_an_unknown_pseudo_field_is_malformed)
{
    malformed_request(":unknown", "1");
}

/* --- gRPC's own --- */

static void fails(enum grpc_status status, const char *path, const char *name, const char *value,
                  const char *message, size_t size)
{
    struct bytes *block = calloc(1, sizeof(*block));
    put_request_fields(block, path);
    if (name != NULL)
        put_field(block, name, value);
    put_frame(in, HEADERS, END_HEADERS, 1, block->data, block->size);
    put_frame(in, DATA, END_STREAM, 1, message, size);
    free(block);
    feed();
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 1);
    cr_assert_eq(answer_status(1), (long)status, "%ld", answer_status(1));
    cr_assert_eq(count_frames(&rig.side, HEADERS), 1, "trailers only");
    cr_assert_eq(count_frames(&rig.side, DATA), 0);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
    put_request(in, 3, LIST);
    feed();
    cr_assert_eq(count_frames(&rig.side, DATA), 1, "the connection goes on");
}

Test(h2_frames, an_unknown_method_is_unimplemented)
{
    fails(GRPC_UNIMPLEMENTED, "/image_service.ImageService/Nothing", NULL, NULL, "\0\0\0\0\0", 5);
}

Test(h2_frames, a_compressed_message_is_refused)
{
    fails(GRPC_UNIMPLEMENTED, LIST, "grpc-encoding", "gzip", "\1\0\0\0\1x", 6);
}

Test(h2_frames, a_compressed_message_without_an_encoding_is_refused)
{
    fails(GRPC_INTERNAL, LIST, NULL, NULL, "\1\0\0\0\1x", 6);
}

Test(h2_frames, a_message_too_large_is_refused)
{
    fails(GRPC_RESOURCE_EXHAUSTED, LIST, NULL, NULL, "\0\0\2\0\0x", 6);
}

Test(h2_frames, a_message_cut_short_is_refused)
{
    fails(GRPC_INTERNAL, LIST, NULL, NULL, "\0\0\0\0\4x", 6);
}

Test(h2_frames, no_message_is_refused)
{
    fails(GRPC_INTERNAL, LIST, NULL, NULL, "", 0);
}

Test(h2_frames, two_messages_are_refused)
{
    fails(GRPC_INTERNAL, LIST, NULL, NULL, "\0\0\0\0\0\0\0\0\0\0", 10);
}

Test(h2_frames, malformed_protobuf_is_refused)
{
    fails(GRPC_INTERNAL, STREAM, NULL, NULL, "\0\0\0\0\2\x0a\x7f", 7);
}

Test(h2_frames, a_time_out_that_is_none_is_refused)
{
    fails(GRPC_INTERNAL, LIST, "grpc-timeout", "soon", "\0\0\0\0\0", 5);
}

Test(h2_frames, something_else_than_grpc_gets_an_answer_of_http)
{
    struct bytes *block = calloc(1, sizeof(*block));
    put_field(block, ":method", "GET");
    put_field(block, ":scheme", "http");
    put_field(block, ":path", "/");
    put_field(block, ":authority", "test");
    put_frame(in, HEADERS, END_HEADERS | END_STREAM, 1, block->data, block->size);
    free(block);
    feed();
    cr_assert_eq(count_frames(&rig.side, HEADERS), 1);
    cr_assert_eq(last_goaway(&rig.side), -1, "GOAWAY %ld", last_goaway(&rig.side));
}

static void begin_timed_call(const char *timeout)
{
    struct bytes *block = calloc(1, sizeof(*block));
    put_request_fields(block, LIST);
    put_field(block, "grpc-timeout", timeout);
    put_frame(in, HEADERS, END_HEADERS, 1, block->data, block->size);
    free(block);
    feed();
}

Test(h2_frames, a_deadline_of_no_time_is_over_at_once)
{
    begin_timed_call("0m");
    side_time(&rig.side, rig.side.now_ns + 1);
    cr_assert_eq(server_count(&rig, GRPC_DEADLINES), 1);
}

Test(h2_frames, a_deadline_ends_a_call_that_is_not_answered)
{
    begin_timed_call("100m");
    cr_assert_leq(rig.side.next_ns, rig.side.now_ns + 100000000);
    side_time(&rig.side, rig.side.now_ns + 99000000);
    cr_assert_eq(server_count(&rig, GRPC_DEADLINES), 0);
    side_time(&rig.side, rig.side.now_ns + 2000000);
    cr_assert_eq(server_count(&rig, GRPC_DEADLINES), 1);
    cr_assert_eq(count_frames(&rig.side, HEADERS), 1, "trailers only, with the status");
    cr_assert_eq(answer_status(1), GRPC_DEADLINE_EXCEEDED);
}

/* It takes none of its answer: what has begun cannot have another status. */
Test(h2_frames, a_deadline_resets_a_call_that_is_being_answered)
{
    uint32_t stream = 0;

    frame(SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    begin_timed_call("100m");
    frame(DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    feed();
    side_time(&rig.side, rig.side.now_ns + 99000000);
    cr_assert_eq(last_reset(&rig.side, NULL), -1);
    side_time(&rig.side, rig.side.now_ns + 2000000);
    cr_assert_eq(last_reset(&rig.side, &stream), H2_CANCEL);
    cr_assert_eq(stream, 1);
    cr_assert_eq(server_count(&rig, GRPC_DEADLINES), 1);
    cr_assert_eq(server_count(&rig, GRPC_GONE), 1);
}

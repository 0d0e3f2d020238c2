/* Answers that are not as they should be, in raw frames: none of them may pass for a good op. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/proto/client_rig.h"

enum { DATA, HEADERS, RST_STREAM = 3, SETTINGS, GOAWAY = 7 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

static struct client_rig rig;
static struct bytes *in; /* what the server says next */

/* Learns what it gets: the first list, and the first content under each name. */
static void rig_open(const struct image_client_config *config)
{
    in = calloc(1, sizeof(*in));
    memset(&rig, 0, sizeof(rig));
    client_open(&rig, config, 1u << 20, 1);
    image_client_ask(&rig.client, 0);
    side_pull(&rig.side);
    put_frame(in, SETTINGS, 0, 0, "", 0);
    put_frame(in, SETTINGS, ACK, 0, "", 0);
}

static void rig_close(void)
{
    client_close(&rig);
    free(in);
}

static void feed(void)
{
    side_feed(&rig.side, in->data, in->size);
    in->size = 0;
}

struct field {
    const char *name, *value;
};

static void headers(uint32_t stream, uint8_t flags, const struct field *fields, unsigned count)
{
    struct bytes *block = calloc(1, sizeof(*block));

    for (unsigned i = 0; i < count; i++)
        put_field(block, fields[i].name, fields[i].value);
    put_frame(in, HEADERS, END_HEADERS | flags, stream, block->data, block->size);
    free(block);
}
#define HEADERS_OF(stream, flags, ...)                                                             \
    headers(stream, flags, (const struct field[]){__VA_ARGS__},                                    \
            sizeof((const struct field[]){__VA_ARGS__}) / sizeof(struct field))
#define ANSWER                                                                                     \
    {":status", "200"},                                                                            \
    {                                                                                              \
        "content-type", "application/grpc"                                                         \
    }
#define WELL                                                                                       \
    {                                                                                              \
        "grpc-status", "0"                                                                         \
    }

/* A list of one name, `a`. */
static void list(uint32_t stream)
{
    put_frame(in, DATA, 0, stream, "\0\0\0\0\3\n\1a", 8);
}

static const struct image_client_config one_image = {
    .images_per_op = 1, .message_bytes = 4096, .learn = true};

/* The op's own stream is the third: a list comes before. */
#define OP 3
static void begin_image(void)
{
    rig_open(&one_image);
    HEADERS_OF(1, 0, ANSWER);
    list(1);
    HEADERS_OF(1, END_STREAM, WELL);
    feed();
    cr_assert_eq(rig.heard.failed, 0, "%s", rig.heard.text);
}

/* Image{name, content "xyz", size_in_bytes 3}, or as it says. */
static void image(const char *bytes, size_t size)
{
    const uint8_t prefix[7] = {0, 0, 0, 0, (uint8_t)(size + 2), 0x0a, (uint8_t)size};
    struct bytes *message = calloc(1, sizeof(*message));

    put_raw(message, prefix, sizeof(prefix));
    put_raw(message, bytes, size);
    put_frame(in, DATA, 0, OP, message->data, message->size);
    free(message);
}
#define IMAGE(bytes) image(bytes, sizeof(bytes) - 1)
#define RIGHT        "\n\1a\x12\3xyz\x20\3"

static void ends_as(const char *kind)
{
    feed();
    cr_assert_eq(rig.heard.done, kind == NULL);
    cr_assert_eq(rig.heard.failed, kind != NULL);
    if (kind != NULL)
        cr_assert_str_eq(rig.heard.kind, kind, "%s: %s", rig.heard.kind, rig.heard.text);
    rig_close();
}

Test(image_answers, as_it_should_be, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, WELL);
    ends_as(NULL);
}

Test(image_answers, an_answer_of_1xx_goes_before, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, {":status", "103"}, {"grpc-status", "5"});
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, WELL);
    ends_as(NULL);
}

Test(image_answers, a_status_before_the_end_is_none, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER, WELL);
    IMAGE(RIGHT);
    put_frame(in, DATA, END_STREAM, OP, "", 0);
    ends_as("no-status");
}

Test(image_answers, a_status_of_an_answer_of_1xx_is_none, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, {":status", "103"}, WELL);
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    put_frame(in, DATA, END_STREAM, OP, "", 0);
    ends_as("no-status");
}

Test(image_answers, the_first_of_two_statuses_counts, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, {"grpc-status", "5"}, WELL);
    ends_as("grpc-not-found");
}

Test(image_answers, a_status_that_is_no_number_is_unknown, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, {"grpc-status", "fine"}, WELL);
    ends_as("grpc-unknown");
}

Test(image_answers, another_content_type_is_no_grpc, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, {":status", "200"}, {"content-type", "text/html"});
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, WELL);
    ends_as("content-type");
}

Test(image_answers, a_content_type_that_only_begins_alike_is_none_either, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, {":status", "200"}, {"content-type", "application/grpc-web"});
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, WELL);
    ends_as("content-type");
}

Test(image_answers, another_status_of_http, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, END_STREAM, {":status", "503"}, {"content-type", "text/html"});
    ends_as("http-status");
}

/* What may stand between good headers and a good status. */
static void body_ends_as(const char *body, size_t size, const char *kind)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    put_frame(in, DATA, 0, OP, body, size);
    HEADERS_OF(OP, END_STREAM, WELL);
    ends_as(kind);
}
#define BODY(name, kind, bytes)                                                                    \
    Test(image_answers, name, .timeout = 10)                                                       \
    {                                                                                              \
        body_ends_as(bytes, sizeof(bytes) - 1, kind);                                              \
    }

BODY(a_right_image, NULL, "\0\0\0\0\x0c\n\n" RIGHT)
/* proto3 leaves out what is 0: so that is what it says. */
BODY(an_image_that_does_not_say_its_size, "wrong-content", "\0\0\0\0\x0a\n\x08\n\1a\x12\3xyz")
BODY(a_name_that_goes_on_behind_a_zero, "wrong-content",
     "\0\0\0\0\x0f\n\x0d\n\4a\0bc\x12\3xyz\x20\3")
BODY(a_compressed_message, "compressed", "\1\0\0\0\1x")
BODY(an_answer_that_is_cut_within_a_message, "truncated", "\0\0\0\0\x0c\n")
BODY(a_message_that_does_not_begin_as_one, "malformed", "HTTP/1.1 200")
BODY(what_is_no_image, "malformed", "\0\0\0\0\5\n\3\n\x7f\x61")
BODY(a_message_larger_than_is_taken, "too-large", "\0\0\1\0\0")

Test(image_answers, an_answer_without_a_status, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, {"x-other", "trailer"});
    ends_as("no-status");
}

Test(image_answers, an_answer_of_nothing_but_its_status, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, END_STREAM, ANSWER, WELL);
    ends_as("wrong-count");
}

Test(image_answers, one_image_too_many, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, WELL);
    ends_as("wrong-count");
}

/* The first list is learned; another one later is not what was served before. */
static void second_list_ends_as(const char *body, size_t size, const char *kind)
{
    rig_open(&(const struct image_client_config){.list = true, .message_bytes = 4096});
    HEADERS_OF(1, 0, ANSWER);
    list(1);
    HEADERS_OF(1, END_STREAM, WELL);
    feed();
    HEADERS_OF(OP, 0, ANSWER);
    put_frame(in, DATA, 0, OP, body, size);
    HEADERS_OF(OP, END_STREAM, WELL);
    ends_as(kind);
}
#define SECOND_LIST(name, kind, bytes)                                                             \
    Test(image_answers, name, .timeout = 10)                                                       \
    {                                                                                              \
        second_list_ends_as(bytes, sizeof(bytes) - 1, kind);                                       \
    }

SECOND_LIST(the_same_list_again, NULL, "\0\0\0\0\3\n\1a")
SECOND_LIST(the_same_list_in_other_bytes, NULL, "\0\0\0\0\5\n\1a\x78\1")
SECOND_LIST(a_list_of_another_name, "wrong-content", "\0\0\0\0\3\n\1b")
SECOND_LIST(a_list_of_more_names, "wrong-content", "\0\0\0\0\6\n\1a\n\1b")
SECOND_LIST(two_lists, "wrong-count", "\0\0\0\0\3\n\1a\0\0\0\0\3\n\1a")

Test(image_answers, an_op_that_is_given_up_ends_alone, .timeout = 10)
{
    struct frame reset;

    begin_image();
    const size_t before = rig.side.out_size;
    cr_assert(image_client_cancel(&rig.client, 0, "timeout", "too late"));
    side_pull(&rig.side);
    const uint8_t *at = rig.side.out + before;
    cr_assert(next_frame(&at, rig.side.out + rig.side.out_size, &reset));
    cr_assert_eq(reset.type, RST_STREAM);
    cr_assert_eq(reset.stream, OP);
    cr_assert_eq(reset.payload[3], H2_CANCEL);
    cr_assert_str_eq(rig.heard.kind, "timeout");
    cr_assert_str_eq(rig.heard.text, "too late");
    cr_assert_eq(rig.side.err, 0);
    image_client_ask(&rig.client, 0);
    side_pull(&rig.side);
    HEADERS_OF(OP + 2, 0, ANSWER);
    put_frame(in, DATA, 0, OP + 2, "\0\0\0\0\x0c\n\n" RIGHT, 7 + 10);
    HEADERS_OF(OP + 2, END_STREAM, WELL);
    feed();
    cr_assert_eq(rig.heard.done, 1, "%s", rig.heard.text);
    rig_close();
}

static void keep(struct buf *buf)
{
}

/* What it failed by counts, though nobody could be told before it was late as well. */
Test(image_answers, an_op_that_has_failed_keeps_its_kind_when_it_is_given_up, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    put_frame(in, DATA, 0, OP, "HTTP/1.1 200", 12);
    struct buf buf = {.data = in->data, .size = (uint32_t)in->size, .refs = 1, .release = keep};
    cr_assert_geq(image_client_proto.input(&rig.client, &buf), 0); /* and nothing goes out */
    cr_assert(image_client_cancel(&rig.client, 0, "timeout", "too late"));
    cr_assert_not(image_client_cancel(&rig.client, 0, "timeout", "too late"));
    in->size = 0;
    side_pull(&rig.side);
    cr_assert_str_eq(rig.heard.kind, "malformed");
    rig_close();
}

/* The connection is the server's fault. */
static void ends_the_connection(long code)
{
    const size_t before = rig.side.out_size;
    struct frame got;
    long said = -1;

    feed();
    cr_assert(rig.side.closed || rig.side.err < 0);
    const uint8_t *at = rig.side.out + before;
    while (next_frame(&at, rig.side.out + rig.side.out_size, &got))
        if (got.type == GOAWAY)
            said = got.payload[7];
    cr_assert_eq(said, code, "GOAWAY %ld", said);
    cr_assert_eq(rig.heard.done, 0);
    rig_close();
}

/* RFC 9113, 8.4 and 6.5.2: what a server never may, since push was switched off. */
Test(image_answers, a_push_is_protocol_error, .timeout = 10)
{
    begin_image();
    put_frame(in, 5, END_HEADERS, OP, "\0\0\0\2\x82", 5);
    ends_the_connection(1);
}

Test(image_answers, a_server_that_enables_push_is_protocol_error, .timeout = 10)
{
    begin_image();
    put_frame(in, SETTINGS, 0, 0, "\0\2\0\0\0\1", 6);
    ends_the_connection(1);
}

/* Its request waits for the server to let more streams be open, and what ends it with it. */
Test(image_answers, an_op_cannot_be_given_up_twice, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER);
    IMAGE(RIGHT);
    HEADERS_OF(OP, END_STREAM, WELL);
    put_frame(in, SETTINGS, 0, 0, "\0\3\0\0\0\0", 6);
    feed();
    image_client_ask(&rig.client, 0);
    side_pull(&rig.side);
    cr_assert(image_client_cancel(&rig.client, 0, "timeout", "too late"));
    side_pull(&rig.side);
    cr_assert_eq(rig.heard.failed, 0, "nothing goes out");
    cr_assert_not(image_client_cancel(&rig.client, 0, "timeout", "too late"));
    rig_close();
}

Test(image_answers, an_op_that_waits_for_what_comes_before_cannot_be_given_up, .timeout = 10)
{
    rig_open(&one_image);
    cr_assert_not(image_client_cancel(&rig.client, 0, "timeout", "too late"));
    rig_close();
}

Test(image_answers, who_breaks_the_protocol_did_not_reset, .timeout = 10)
{
    begin_image();
    HEADERS_OF(OP, 0, ANSWER, {"Upper-Case", "is not allowed"});
    ends_as("protocol");
}

Test(image_answers, who_resets_is_told_so, .timeout = 10)
{
    begin_image();
    put_frame(in, RST_STREAM, 0, OP, "\0\0\0\1", 4);
    ends_as("rst-protocol-error");
}

Test(image_answers, a_server_that_goes_away_says_why, .timeout = 10)
{
    begin_image();
    put_frame(in, GOAWAY, 0, 0, "\0\0\0\1\0\0\0\x0btoo_many\npings", 22);
    feed();
    cr_assert_str_eq(rig.heard.kind, "goaway");
    cr_assert_str_eq(rig.heard.text, "the server goes away, code 11: too_many?pings");
    rig_close();
}

/* What it says costs nothing, what comes does. */
Test(image_answers, the_longest_message_that_can_be_announced_takes_what_came_of_it, .timeout = 10)
{
    const struct image_client_config config = {
        .list = true, .images_per_op = 1, .message_bytes = UINT32_MAX};
    static const char some[16384] = "of it";

    rig_open(&config);
    HEADERS_OF(1, 0, ANSWER);
    put_frame(in, DATA, 0, 1, "\0\xff\xff\xff\xff", 5);
    for (unsigned i = 0; i < 8; i++)
        put_frame(in, DATA, 0, 1, some, sizeof(some));
    feed();
    cr_assert_eq(rig.side.err, 0);
    cr_assert_eq(rig.heard.failed, 0, "%s", rig.heard.text);
    cr_assert_leq(rig.worker.h2.pool.system_bytes, 1u << 20);
    rig_close();
}

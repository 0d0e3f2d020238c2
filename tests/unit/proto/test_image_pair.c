/* Client and server of the image stream, together and in memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/proto/client_rig.h"

struct pair {
    struct server_rig server;
    struct client_rig asks;
};

static const struct image_client_config three = {
    .images_per_op = 3,
    .message_bytes = 4u << 20,
};

static struct pair *pair_open_with(const struct image_client_config *config,
                                   enum image_contract server, uint32_t window, unsigned depth)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    const struct h2_options serves = server_options();

    server_open(&pair->server, &serves, server, true);
    client_open(&pair->asks, config, window, depth);
    return pair;
}

static struct pair *pair_open(const struct image_client_config *config, uint32_t window,
                              unsigned depth)
{
    return pair_open_with(config, config->contract, window, depth);
}

static void pair_close(struct pair *pair)
{
    client_close(&pair->asks);
    server_close(&pair->server);
    free(pair);
}

static void pair_talk(struct pair *pair, size_t piece)
{
    sides_talk(&pair->asks.side, &pair->server.side, piece);
}

static uint64_t all_bytes(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < pictures_count; i++)
        sum += pictures[i].size;
    return sum;
}

static void ask_and_check(const struct image_client_config *config, uint32_t window, size_t piece)
{
    struct pair *pair = pair_open(config, window, 2);

    image_client_ask(&pair->asks.client, 0);
    image_client_ask(&pair->asks.client, 1);
    pair_talk(pair, piece);
    cr_assert_eq(pair->asks.side.err, 0);
    cr_assert_eq(pair->asks.heard.done, 2, "%u failed: %s %s", pair->asks.heard.failed,
                 pair->asks.heard.kind, pair->asks.heard.text);
    if (!config->list) {
        cr_assert_eq(pair->asks.heard.images, 2 * config->images_per_op);
        cr_assert_eq(pair->asks.heard.done_bytes, 2 * all_bytes() * (config->images_per_op / 3));
        cr_assert_eq(pair->asks.heard.image_bytes, pair->asks.heard.done_bytes);
        cr_assert_eq(server_count(&pair->server, IMAGES_SENT_BYTES), pair->asks.heard.done_bytes);
    }
    cr_assert_eq(pair->asks.heard.firsts, 2);
    cr_assert_eq(server_count(&pair->server, GRPC_FAILED), 0);
    cr_assert_eq(server_count(&pair->server, GRPC_GONE), 0);
    pair_close(pair);
}

Test(image_pair, images_arrive_whole_and_right, .timeout = 30)
{
    static const size_t pieces[] = {0, 16384, 1000};
    struct image_client_config config = three;

    for (int contract = IMAGE_NESTED; contract <= IMAGE_FLAT; contract++)
        for (unsigned i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
            config.contract = (enum image_contract)contract;
            ask_and_check(&config, 16u << 20, pieces[i]);
        }
}

Test(image_pair, byte_by_byte_too, .timeout = 60)
{
    struct image_client_config config = three;
    config.images_per_op = 3;
    ask_and_check(&config, 65535, 1);
}

Test(image_pair, the_smallest_window_only_takes_longer, .timeout = 30)
{
    struct pair *pair = pair_open(&three, 65535, 1);

    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1);
    cr_assert_gt(server_count(&pair->server, H2_STALLS), 0, "and the server counts its waiting");
    pair_close(pair);
}

/* --- what flow control held, as the client sees it --- */

#define STEP_NS 5000000u

/* What the client says reaches the server at once; what that one says goes in pieces (0: whole),
 * a step of time before each. Returns how many there were. */
static unsigned talk_slowly(struct pair *pair, size_t piece)
{
    struct side *server = &pair->server.side;
    unsigned feeds = 0;

    side_pull(&pair->asks.side);
    for (;;) {
        side_feed(server, pair->asks.side.out, pair->asks.side.out_size);
        pair->asks.side.out_size = 0;
        size_t size = server->out_size;
        uint8_t *said = server->out;
        if (size == 0)
            return feeds;
        server->out = NULL;
        server->out_size = server->out_room = 0;
        for (size_t at = 0; at < size; feeds++) {
            size_t take = piece == 0 || piece > size - at ? size - at : piece;
            pair->asks.side.now_ns += STEP_NS;
            side_feed(&pair->asks.side, said + at, take);
            at += take;
        }
        free(said);
    }
}

/* A pair that has exchanged what comes before the first op, and the first op too. */
static struct pair *pair_open_begun(const struct image_client_config *config, uint32_t window,
                                    unsigned depth)
{
    struct pair *pair = pair_open(config, window, depth);

    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1);
    pair->asks.heard.held_ns = pair->asks.heard.not_held_ns = 0;
    pair->asks.heard.asked_ns = pair->asks.side.now_ns;
    return pair;
}

Test(image_pair, a_client_knows_how_long_its_window_held_an_op, .timeout = 10)
{
    struct pair *pair = pair_open_begun(&three, 65535, 1);

    image_client_ask(&pair->asks.client, 0);
    unsigned windows = talk_slowly(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 2);
    cr_assert_eq(windows, 15, "as many as it takes for 945,376 bytes");
    cr_assert_eq(pair->asks.heard.held_ns, (windows - 1) * STEP_NS, "all but the first step");
    pair_close(pair);
}

Test(image_pair, a_slow_path_with_window_enough_holds_nothing, .timeout = 10)
{
    struct pair *pair = pair_open_begun(&three, 16u << 20, 1);

    image_client_ask(&pair->asks.client, 0);
    cr_assert_gt(talk_slowly(pair, 10000), 90);
    cr_assert_eq(pair->asks.heard.done, 2);
    cr_assert_eq(pair->asks.heard.held_ns, 0);
    pair_close(pair);
}

Test(image_pair, the_connections_window_holds_all_ops_alike, .timeout = 10)
{
    struct pair *pair = pair_open_begun(&three, 65535, 3);

    for (unsigned i = 0; i < 3; i++)
        image_client_ask(&pair->asks.client, i);
    cr_assert_geq(talk_slowly(pair, 0), 43, "three times 945,376 bytes through one window");
    cr_assert_eq(pair->asks.heard.done, 4);
    cr_assert_eq(pair->asks.heard.not_held_ns, 3 * STEP_NS, "also what waited for its turn");
    pair_close(pair);
}

Test(image_pair, lists, .timeout = 10)
{
    struct image_client_config config = {.list = true, .images_per_op = 1, .message_bytes = 4096};
    ask_and_check(&config, 65535, 0);
    config.contract = IMAGE_FLAT;
    ask_and_check(&config, 65535, 3);
}

Test(image_pair, large_frames_and_few_segments, .timeout = 10)
{
    struct image_client_config config = three;
    config.images_per_op = 33;
    struct pair *pair = pair_open(&config, 16u << 20, 1);

    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1);
    cr_assert_geq(pair->server.side.most_bytes, 512u << 10, "%zu bytes in the largest output",
                  pair->server.side.most_bytes);
    /* A content, and what is between two of them: copies would be many. */
    cr_assert_lt(pair->server.side.segs, 33 * 6, "%u segments", pair->server.side.segs);
    pair_close(pair);
}

Test(image_pair, another_content_is_found_out, .timeout = 10)
{
    struct pair *pair = pair_open(&three, 16u << 20, 1);
    struct image *image = &pair->server.set.list[1];
    uint8_t *changed = malloc(image->picture.size);

    memcpy(changed, image->picture.bytes, image->picture.size);
    changed[image->picture.size / 2] ^= 1;
    image->picture.bytes = changed;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 0);
    cr_assert_eq(pair->asks.heard.failed, 1);
    cr_assert_str_eq(pair->asks.heard.kind, "wrong-content");
    cr_assert_eq(pair->asks.heard.images, 1, "the one before it was right");
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.failed, 2, "the connection goes on");
    pair_close(pair);
    free(changed);
}

Test(image_pair, what_is_not_known_is_learned_once, .timeout = 10)
{
    struct image_client_config config = three;
    config.learn = true;
    struct pair *pair = pair_open(&config, 16u << 20, 1);
    struct image *image = &pair->server.set.list[0];
    uint8_t *changed = calloc(1, image->picture.size);

    image->picture.bytes = changed;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1);
    changed[7] = 1;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.failed, 1);
    cr_assert_str_eq(pair->asks.heard.kind, "wrong-content");
    pair_close(pair);
    free(changed);
}

Test(image_pair, a_message_beyond_the_limit_is_refused, .timeout = 10)
{
    struct image_client_config config = three;
    config.message_bytes = 300000; /* the second one is larger */
    struct pair *pair = pair_open(&config, 16u << 20, 1);

    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_str_eq(pair->asks.heard.kind, "too-large");
    cr_assert_eq(pair->asks.heard.done, 0);
    pair_close(pair);
}

Test(image_pair, an_unknown_name_fails_the_call_or_is_left_out, .timeout = 10)
{
    struct pair *pair = pair_open(&three, 16u << 20, 1);

    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1);
    pair->server.set.count = 2; /* from now on image-2 is not there */
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_str_eq(pair->asks.heard.kind, "grpc-not-found");
    cr_assert_not_null(strstr(pair->asks.heard.text, "image-2.jpg"));
    pair->server.worker.unknown_not_found = false;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_str_eq(pair->asks.heard.kind, "wrong-count");
    cr_assert_eq(server_count(&pair->server, IMAGES_UNKNOWN), 2);
    pair->server.set.count = 3;
    pair_close(pair);
}

Test(image_pair, ops_that_cannot_begin_fail_and_say_why, .timeout = 10)
{
    struct image_client_config config = three;
    config.contract = IMAGE_FLAT;
    struct pair *pair = pair_open_with(&config, IMAGE_NESTED, 16u << 20, 2);

    pair->asks.heard.again_left = 3;
    image_client_ask(&pair->asks.client, 0);
    image_client_ask(&pair->asks.client, 1);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.failed, 5, "%u", pair->asks.heard.failed);
    cr_assert_str_eq(pair->asks.heard.kind, "grpc-unimplemented");
    cr_assert_not_null(strstr(pair->asks.heard.text, "ServiceMetadata"), "%s",
                       pair->asks.heard.text);
    cr_assert_not_null(strstr(pair->asks.heard.text, "--contract"), "%s", pair->asks.heard.text);
    cr_assert_eq(pair->asks.side.err, 0);
    pair->asks.worker.config.contract = IMAGE_NESTED;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1, "and the connection goes on");
    pair_close(pair);
}

Test(image_pair, a_server_without_images_fails_the_op, .timeout = 10)
{
    struct pair *pair = pair_open(&three, 16u << 20, 1);

    struct image_worker *worker = &pair->server.worker;
    uint8_t *list = worker->list;
    size_t list_size = worker->list_size;
    uint8_t none[GRPC_PREFIX_BYTES] = {0};

    worker->list = none;
    worker->list_size = sizeof(none);
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.failed, 1);
    cr_assert_str_eq(pair->asks.heard.kind, "no-images");
    worker->list = list;
    worker->list_size = list_size;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1);
    pair_close(pair);
}

Test(image_pair, many_ops_take_no_more_memory_than_the_first, .timeout = 30)
{
    struct image_client_config config = {.list = true, .images_per_op = 1, .message_bytes = 4096};
    struct pair *pair = pair_open(&config, 65535, 4);

    for (unsigned i = 0; i < 4; i++)
        image_client_ask(&pair->asks.client, i);
    pair_talk(pair, 0);
    uint64_t server = pair->server.worker.grpc.h2.pool.system_bytes;
    uint64_t client = pair->asks.worker.h2.pool.system_bytes;
    pair->asks.heard.again_left = 5000;
    for (unsigned i = 0; i < 4; i++)
        image_client_ask(&pair->asks.client, i);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 5008);
    cr_assert_eq(pair->server.worker.grpc.h2.pool.system_bytes, server);
    cr_assert_eq(pair->asks.worker.h2.pool.system_bytes, client);
    pair_close(pair);
}

Test(image_pair, a_draining_server_finishes_what_was_begun, .timeout = 10)
{
    struct pair *pair = pair_open(&three, 65535, 1);

    image_client_ask(&pair->asks.client, 0);
    side_pull(&pair->asks.side);
    side_feed(&pair->server.side, pair->asks.side.out, pair->asks.side.out_size);
    pair->asks.side.out_size = 0;
    cr_assert_geq(grpc_server_proto.drain(&pair->server.server), 0);
    pair_talk(pair, 0);
    /* Before the list was answered the drain was heard: the op never began, or it was finished. */
    cr_assert_eq(pair->asks.side.err, -ESHUTDOWN, "%d, %u done", pair->asks.side.err,
                 pair->asks.heard.done);
    cr_assert(pair->server.side.closed, "nothing is under way: it closes in order");
    pair_close(pair);
}

Test(image_pair, an_op_that_is_under_way_survives_a_drain, .timeout = 10)
{
    struct pair *pair = pair_open(&three, 65535, 1);

    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 1);
    image_client_ask(&pair->asks.client, 0);
    side_pull(&pair->asks.side);
    side_feed(&pair->server.side, pair->asks.side.out, pair->asks.side.out_size);
    pair->asks.side.out_size = 0;
    cr_assert_geq(grpc_server_proto.drain(&pair->server.server), 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 2);
    cr_assert_eq(pair->asks.heard.failed, 0);
    cr_assert_eq(pair->asks.side.err, -ESHUTDOWN, "and then the client knows that it is to leave");
    cr_assert(pair->server.side.closed);
    pair_close(pair);
}

/* One of them ends, and is asked again in vain, while the others are half through. */
Test(image_pair, all_ops_that_are_under_way_survive_a_drain, .timeout = 10)
{
    struct pair *pair = pair_open_begun(&three, 65535, 3);

    for (unsigned i = 0; i < 3; i++)
        image_client_ask(&pair->asks.client, i);
    pair->asks.heard.again_left = 1;
    side_pull(&pair->asks.side);
    side_feed(&pair->server.side, pair->asks.side.out, pair->asks.side.out_size);
    pair->asks.side.out_size = 0;
    cr_assert_geq(grpc_server_proto.drain(&pair->server.server), 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 4, "%u done, %u failed: %s %s", pair->asks.heard.done,
                 pair->asks.heard.failed, pair->asks.heard.kind, pair->asks.heard.text);
    cr_assert_eq(pair->asks.side.err, -ESHUTDOWN);
    cr_assert(pair->server.side.closed);
    pair_close(pair);
}

Test(image_pair, a_window_grows_with_what_a_round_trip_brings, .timeout = 10)
{
    struct pair *pair = pair_open(&three, 65535, 1);
    pair->asks.worker.h2.options.window_most = 8u << 20;

    pair->asks.heard.again_left = 20;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 21, "%u done, error %d, %u failed: %s %s",
                 pair->asks.heard.done, pair->asks.side.err, pair->asks.heard.failed,
                 pair->asks.heard.kind, pair->asks.heard.text);
    cr_assert_gt(counter_read(&pair->asks.meter.counters[H2_WINDOW_BYTES]), 65535 * 4);
    cr_assert_leq(counter_read(&pair->asks.meter.counters[H2_WINDOW_BYTES]), 8u << 20);
    pair_close(pair);
}

/* Of ops that are smaller than half of it. */
Test(image_pair, a_window_that_no_round_trip_fills_stays_as_it_is, .timeout = 10)
{
    const struct image_client_config one = {.images_per_op = 1, .message_bytes = 4u << 20};
    struct pair *pair = pair_open(&one, 2u << 20, 1);
    pair->asks.worker.h2.options.window_most = 8u << 20;

    pair->asks.heard.again_left = 20;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_eq(pair->asks.heard.done, 21);
    cr_assert_eq(counter_read(&pair->asks.meter.counters[H2_WINDOW_BYTES]), 2u << 20);
    pair_close(pair);
}

Test(image_pair, blocks_that_are_not_given_back_hold_the_output, .timeout = 10)
{
    struct pair *pair = pair_open(&three, 16u << 20, 1);
    struct side *server = &pair->server.side;

    server->hold = true;
    pair->asks.heard.again_left = 200;
    image_client_ask(&pair->asks.client, 0);
    pair_talk(pair, 0);
    cr_assert_leq(server->held_count, 32, "%u outputs on their way", server->held_count);
    cr_assert_lt(pair->asks.heard.done, 201);
    server->hold = false;
    while (pair->asks.heard.done < 201 && server->held_count > 0) {
        side_release(server);
        pair_talk(pair, 0);
    }
    cr_assert_eq(pair->asks.heard.done, 201);
    pair_close(pair);
}

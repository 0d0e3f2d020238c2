/*
 * TCP's own rules of the stack's room, over a wire that is made up: how many connections have wide
 * windows, and what is acknowledged when. The test is the peer, and writes its segments by hand.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "engines/dpdk/stack.h"
#include "tests/unit/engines/dpdk/wire_made_up.h"

#define CONNS 8u

#define OWN       0xc6130001u /* 198.19.0.1 */
#define PEER      0xc6120001u
#define PORT      MADE_PORT
#define PEER_PORT 5000u
#define MTU       MADE_MTU
#define MSS       MADE_MSS
#define SCALE     1u /* lwIP's, of the windows that it announces */
#define LAZY      24576u
#define BURSTS    8u
#define NARROW    65535u
#define WIDE      131070u

#define FIN TCP_HAS_FIN
#define SYN TCP_HAS_SYN
#define RST TCP_HAS_RST
#define ACK TCP_HAS_ACK

/* --- the peer --- */

struct peer {
    struct stack_conn *conn;
    uint16_t port;
    uint32_t sequence, acknowledged;
    uint32_t received; /* bytes that the stack has handed up */
    bool gone;
};

static struct peer peers[CONNS];
static struct peer *accepting;

/* A segment of so many bytes after `options`, into the stack. */
static void say(struct peer *peer, unsigned flags, const uint8_t *options, size_t options_size,
                size_t size)
{
    const struct segment segment = {
        .from = PEER,
        .to = OWN,
        .port = peer->port,
        .sequence = peer->sequence,
        .acknowledged = peer->acknowledged,
        .flags = flags,
        .options = options,
        .options_size = options_size,
        .size = size,
    };

    peer->sequence += (uint32_t)size + ((flags & (SYN | FIN)) != 0);
    stack_input(made_up_segment(&segment));
}

static void say_bytes(struct peer *peer, size_t size)
{
    say(peer, ACK, NULL, 0, size);
}

/* The last that was sent to it, since the books were closed; NULL: nothing. */
static const struct sent *said_to(const struct peer *peer)
{
    const struct sent *last = NULL;

    for (unsigned i = 0; i < sent_count; i++)
        if (sent[i].to_port == peer->port)
            last = &sent[i];
    sent_count = 0;
    return last;
}

static bool is_acknowledged(const struct peer *peer)
{
    const struct sent *last = said_to(peer);

    if (last == NULL)
        return false;
    cr_assert_eq(last->acknowledged, peer->sequence, "%u bytes are left out",
                 peer->sequence - last->acknowledged);
    return true;
}

static void *on_accepted(void *listener_context, struct stack_conn *conn)
{
    accepting->conn = conn;
    return accepting;
}

static void on_received(void *context, struct wire_frame *frame)
{
    ((struct peer *)context)->received += frame->buf.size;
    wire_frame_free(frame);
}

static void on_gone(void *context, int err)
{
    ((struct peer *)context)->gone = true;
}

static void on_nothing(void *context)
{
}

static const struct stack_events events = {
    .accepted = on_accepted,
    .connected = on_nothing,
    .received = on_received,
    .ended = on_nothing,
    .acknowledged = on_nothing,
    .gone = on_gone,
};

/* A stack that listens, and lets so many connections have wide windows. */
static void start_upon(bool direct, uint32_t wide)
{
    const struct stack_config config = {
        .events = &events,
        .address.s_addr = htonl(OWN),
        .prefix = 15,
        .mtu = MTU,
        .direct = direct,
        .wide = wide,
    };
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct addr addr = {.size = sizeof(in)}, bound;
    struct stack_listener *listener;
    struct lab_error err;
    const char *how;

    made_up_wire();
    memcpy(&addr.sa, &in, sizeof(in));
    int r = stack_start(&config, &how, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    cr_assert_str_empty(how, "the shortcuts are off: %s", how);
    r = stack_listen(&addr, NULL, &listener, &bound);
    cr_assert_eq(r, 0, "listen: %s", strerror(-r));
}

static void start(uint32_t wide)
{
    start_upon(true, wide);
}

static struct peer *meet_with(unsigned index, const uint8_t *options, size_t options_size)
{
    struct peer *peer = &peers[index];

    *peer = (struct peer){.port = (uint16_t)(PEER_PORT + index), .sequence = 1000 * index};
    accepting = peer;
    say(peer, SYN, options, options_size, 0);
    const struct sent *answer = said_to(peer);
    cr_assert_not_null(answer);
    cr_assert_eq(answer->flags & (SYN | ACK), SYN | ACK);
    peer->acknowledged = answer->sequence + 1;
    say(peer, ACK, NULL, 0, 0);
    cr_assert_not_null(peer->conn);
    said_to(peer);
    return peer;
}

static struct peer *meet(unsigned index)
{
    /* MSS, no operation, a window scaled by 1. */
    static const uint8_t options[] = {2, 4, MSS >> 8, MSS & 0xff, 1, 3, 3, 1};

    return meet_with(index, options, sizeof(options));
}

/* --- windows --- */

/* What it announces when two small segments have come, which it acknowledges at once. */
static uint32_t window_of(struct peer *peer, unsigned scale)
{
    say_bytes(peer, 10);
    say_bytes(peer, 10);
    const struct sent *last = said_to(peer);
    cr_assert_not_null(last);
    return (last->window << scale) + 20;
}

static void expect_width(struct peer *peer, bool wide)
{
    uint32_t window = window_of(peer, SCALE);
    size_t room = stack_room(peer->conn, UINT64_MAX);

    if (wide) {
        cr_assert_geq(window, WIDE - 2, "connection %u: %u", peer->port, window);
        cr_assert_gt(room, NARROW);
    } else {
        cr_assert_leq(window, NARROW + 1, "connection %u: %u", peer->port, window);
        cr_assert_leq(room, NARROW);
    }
}

Test(stack, as_many_windows_are_wide_as_were_asked_for)
{
    start(3);
    for (unsigned i = 0; i < 6; i++)
        expect_width(meet(i), i < 3);
}

Test(stack, one_that_has_gone_makes_room_for_another_wide_window)
{
    start(2);
    for (unsigned i = 0; i < 3; i++)
        meet(i);
    say(&peers[0], RST | ACK, NULL, 0, 0);
    cr_assert(peers[0].gone);
    expect_width(meet(3), false); /* two are there still, and it */
    stack_abort(peers[1].conn);
    stack_abort(peers[2].conn);
    expect_width(meet(4), true);
    expect_width(meet(5), false);
}

Test(stack, no_window_is_wide_where_none_was_asked_for)
{
    start(0);
    expect_width(meet(0), false);
}

/* 16 bits cannot announce it. */
Test(stack, no_window_is_wide_for_one_who_does_not_scale)
{
    static const uint8_t options[] = {2, 4, MSS >> 8, MSS & 0xff};

    start(CONNS);
    struct peer *peer = meet_with(0, options, sizeof(options));
    cr_assert_leq(window_of(peer, 0), NARROW);
    cr_assert_leq(stack_room(peer->conn, UINT64_MAX), NARROW);
}

/* --- acknowledgements --- */

static void say_full(struct peer *peer)
{
    say_bytes(peer, MSS);
}

Test(stack, full_segments_are_acknowledged_when_there_are_24_kib_of_them)
{
    start(CONNS);
    struct peer *peer = meet(0);
    for (unsigned turn = 0; turn < 3; turn++) {
        uint32_t bytes = 0;
        while (bytes + MSS < LAZY) {
            say_full(peer);
            bytes += MSS;
            cr_assert_eq(sent_count, 0, "acknowledged after %u bytes", bytes);
        }
        say_full(peer);
        cr_assert(is_acknowledged(peer), "not acknowledged after %u bytes", bytes + MSS);
    }
    cr_assert_eq(peer->received, 3 * 17 * MSS);
}

Test(stack, full_segments_are_acknowledged_when_nothing_more_has_come)
{
    start(CONNS);
    struct peer *one = meet(0), *other = meet(1);
    say_full(one);
    say_full(one);
    say_full(other);
    stack_acknowledge(true);
    cr_assert_eq(sent_count, 0);
    stack_acknowledge(false);
    cr_assert_eq(sent_count, 2, "%u segments to two peers", sent_count);
    sent_count = 1;
    cr_assert(sent[0].to_port == one->port || sent[0].to_port == other->port);
    cr_assert(is_acknowledged(sent[0].to_port == one->port ? one : other));
    stack_acknowledge(false);
    cr_assert_eq(sent_count, 0, "acknowledged twice");
}

/* One's stream does not keep the other from its own. */
Test(stack, full_segments_are_acknowledged_after_some_bursts_without_a_pause)
{
    start(CONNS);
    struct peer *one = meet(0), *other = meet(1);
    say_full(other);
    for (unsigned burst = 1; burst < BURSTS; burst++) {
        say_full(one);
        stack_acknowledge(true);
        cr_assert_eq(sent_count, 0, "acknowledged after %u bursts", burst);
    }
    say_full(one);
    stack_acknowledge(true);
    cr_assert_eq(sent_count, 2, "%u segments to two peers", sent_count);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(sent[i].acknowledged,
                     sent[i].to_port == one->port ? one->sequence : other->sequence);
    sent_count = 0;
    /* And it counts anew. */
    say_full(one);
    for (unsigned burst = 1; burst < BURSTS; burst++)
        stack_acknowledge(true);
    cr_assert_eq(sent_count, 0);
    stack_acknowledge(true);
    cr_assert(is_acknowledged(one));
}

Test(stack, what_is_24_kib_is_nothing_that_is_owed)
{
    start(CONNS);
    struct peer *peer = meet(0);
    for (unsigned i = 0; i < 17; i++)
        say_full(peer);
    cr_assert(is_acknowledged(peer));
    stack_acknowledge(false);
    cr_assert_eq(sent_count, 0, "acknowledged twice");
}

/* Others keep all blocks until they are acknowledged, or read by nobody. */
Test(stack, what_has_come_is_acknowledged_though_no_block_is_left)
{
    start(CONNS);
    struct peer *one = meet(0), *other = meet(1);
    blocks_left = 0;
    say_bytes(one, 100);
    say_bytes(one, 100);
    cr_assert(is_acknowledged(one), "two segments, and no block to say so in");
    cr_assert_eq(stack_write(other->conn, "answer", 6, false), 6);
    stack_push(other->conn);
    cr_assert_not_null(said_to(other), "an answer, and no block to say it in");
}

/* And where there is not even a spare one, it is late, but no retransmission. */
Test(stack, what_finds_no_block_is_sent_when_there_is_one)
{
    struct stack_counts counts;

    start(CONNS);
    struct peer *one = meet(0), *other = meet(1);
    blocks_left = 0;
    spare_left = false;
    say_bytes(one, 100);
    say_bytes(one, 100);
    cr_assert_eq(stack_write(other->conn, "answer", 6, false), 6);
    stack_push(other->conn);
    cr_assert_eq(sent_count, 0);
    spare_left = true;
    for (uint64_t now_ns = NS_PER_S; now_ns <= 2 * NS_PER_S; now_ns += 250 * NS_PER_MS)
        stack_tick(now_ns);
    cr_assert_eq(sent_count, 2, "%u segments", sent_count);
    cr_assert_neq(sent[0].to_port, sent[1].to_port);
    stack_counts(&counts);
    cr_assert_eq(counts.retransmissions, 0);
}

/* Questions and answers go the library's way. */
Test(stack, every_other_short_segment_is_acknowledged)
{
    start(CONNS);
    struct peer *peer = meet(0);
    for (unsigned i = 0; i < 6; i++) {
        say_bytes(peer, 100);
        cr_assert_eq(is_acknowledged(peer), i % 2 == 1, "segment %u", i);
    }
}

/* Its memory may be another's by then. */
Test(stack, one_that_has_gone_is_owed_nothing)
{
    start(CONNS);
    struct peer *one = meet(0), *other = meet(1);
    say_full(one);
    say_full(other);
    say(one, RST | ACK, NULL, 0, 0);
    cr_assert(one->gone);
    said_to(one);
    struct peer *next = meet(2);
    stack_acknowledge(false);
    cr_assert_eq(sent_count, 1, "%u segments", sent_count);
    cr_assert(is_acknowledged(other));
    cr_assert_not(next->gone);
    cr_assert_eq(frames_out, 0, "%u frames are held", frames_out);
}

/* --- a peer that goes, and the next one --- */

/* As many as there are ways to be in the middle of something. */
enum { HALF_MADE, OPEN, OWED, UNACKNOWLEDGED, CLOSED_FIRST, CLOSED_LAST, WAITS, WAYS };

static void be_half_made(unsigned index)
{
    static const uint8_t options[] = {2, 4, MSS >> 8, MSS & 0xff};
    struct peer *peer = &peers[index];

    *peer = (struct peer){.port = (uint16_t)(PEER_PORT + index), .sequence = 1000 * index};
    say(peer, SYN, options, sizeof(options), 0);
    cr_assert_not_null(said_to(peer));
}

/* Our FIN, acknowledged; its own too, or not. */
static void be_closed_first(struct peer *peer, bool both)
{
    cr_assert(stack_end(peer->conn));
    stack_push(peer->conn);
    const struct sent *fin = said_to(peer);
    cr_assert_not_null(fin);
    cr_assert(fin->flags & FIN);
    peer->acknowledged = fin->sequence + 1;
    say(peer, both ? ACK | FIN : ACK, NULL, 0, 0);
    cr_assert_eq(stack_is_over(peer->conn), both);
    stack_forget(peer->conn);
    said_to(peer);
}

static void be_closed_last(struct peer *peer)
{
    say(peer, ACK | FIN, NULL, 0, 0);
    cr_assert(stack_end(peer->conn));
    stack_push(peer->conn);
    said_to(peer);
}

Test(stack, nothing_is_left_of_a_peer_that_has_gone)
{
    start(CONNS);
    be_half_made(HALF_MADE);
    for (unsigned i = OPEN; i < WAYS; i++)
        meet(i);
    say_full(&peers[OWED]);
    cr_assert_eq(stack_write(peers[UNACKNOWLEDGED].conn, "unheard", 7, false), 7);
    stack_push(peers[UNACKNOWLEDGED].conn);
    be_closed_first(&peers[CLOSED_FIRST], false);
    be_closed_last(&peers[CLOSED_LAST]);
    be_closed_first(&peers[WAITS], true);
    sent_count = 0;
    for (unsigned i = 0; i < WAYS; i++)
        if (i != HALF_MADE && i != CLOSED_FIRST && i != WAITS)
            stack_cut(peers[i].conn);
    stack_peer_has_gone();
    stack_acknowledge(false);
    /* Retransmissions of a minute. */
    for (uint64_t now_ns = NS_PER_S; now_ns < 60 * NS_PER_S; now_ns += 250 * NS_PER_MS)
        stack_tick(now_ns);
    cr_assert_eq(sent_count, 0, "%u segments to one who is gone", sent_count);
    cr_assert_eq(blocks_left, MADE_BLOCKS, "%u blocks are held", MADE_BLOCKS - blocks_left);
    /* The same ports, and sequence numbers that the one before had. */
    for (unsigned i = 0; i < WAYS; i++)
        meet(i);
}

/* --- among other hosts --- */

void etharp_tmr(void); /* lwIP's, once a second */

/* A neighbour is forgotten after five minutes, and who has connections to him loses what they send
 * until he has answered: so he is asked before. */
Test(stack, a_neighbour_is_asked_again_before_he_is_forgotten)
{
    unsigned asked = 0;

    start_upon(false, 0);
    stack_input(made_up_arp(PEER, OWN));
    struct peer *peer = meet(0);
    sent_others = 0;
    for (uint64_t second = 1; second <= 900; second++) {
        etharp_tmr();
        stack_tick(second * NS_PER_S);
        say_bytes(peer, 10);
        say_bytes(peer, 10);
        cr_assert_geq(sent_count, 1, "nothing was sent in second %lu", (unsigned long)second);
        cr_assert_arr_eq(sent[0].to_mac, MADE_PEER_MAC, 6);
        sent_count = 0;
        if (sent_others > 0)
            stack_input(made_up_arp(PEER, OWN));
        asked += sent_others;
        sent_others = 0;
    }
    cr_assert(asked >= 2 && asked < 20, "asked %u times in 15 minutes", asked);
}

/* Whom an answer would go to a group, or to all. */
Test(stack, a_segment_from_no_host_is_not_answered)
{
    static const uint32_t froms[] = {0xe0000001, 0xefffffff, 0xffffffff, 0xc613ffff};
    struct segment segment = {.to = OWN, .port = PEER_PORT, .flags = SYN};

    start(0);
    sent_others = 0;
    for (unsigned i = 0; i < sizeof(froms) / sizeof(froms[0]); i++) {
        segment.from = froms[i];
        stack_input(made_up_segment(&segment));
        cr_assert_eq(sent_count + sent_others, 0, "%08x was answered", froms[i]);
    }
    segment.from = PEER;
    stack_input(made_up_segment(&segment));
    cr_assert_eq(sent_count, 1);
    cr_assert_eq(frames_out, 0, "%u frames are held", frames_out);
}

/* The library would end the process over the second: a datagram of UDP-Lite whose checksum is said
 * to cover 65535 bytes of 20. */
Test(stack, the_library_gets_nothing_that_nobody_here_speaks)
{
    static const uint8_t protocols[] = {17, 136, 2, 0, 255};
    struct segment segment = {.from = PEER, .to = OWN, .port = PEER_PORT, .sequence = 0xffff0000};

    start(0);
    sent_others = 0;
    for (unsigned i = 0; i < sizeof(protocols); i++) {
        segment.protocol = protocols[i];
        stack_input(made_up_segment(&segment));
    }
    cr_assert_eq(sent_count + sent_others, 0);
    cr_assert_eq(frames_out, 0, "%u frames are held", frames_out);
    meet(0);
}

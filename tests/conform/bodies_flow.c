/* What may be sent, and readers that do not read: segments, pauses, loan quotas. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/conform/conform.h"

/* --- one that stops reading, beside one that does not --- */

#define STOPPED_BYTES (4u << 20)
#define OTHER_SIZE    4096u
#define OTHER_COUNT   60u

static void out_begin(struct end *end)
{
    end_send_bytes(end, end_world(end)->body->size);
    end_finish(end);
}

static void in_eof(struct end *end)
{
    uint64_t size = end_world(end)->body->size;

    CHECK(end->received_bytes == size, "EOF after %llu bytes of %llu",
          (unsigned long long)end->received_bytes, (unsigned long long)size);
    end_finish(end);
}

static void stopped_begin(struct end *end)
{
    end_pause(end);
}

static void stopped_nudge(struct end *end)
{
    CHECK(end->received_bytes == 0, "%llu bytes while it was paused",
          (unsigned long long)end->received_bytes);
    end_resume(end);
}

static void other_begin(struct end *end)
{
    end_send_bytes(end, OTHER_SIZE);
}

static void other_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    while (end->received_bytes >= (end->step + 1) * OTHER_SIZE) {
        if (++end->step == OTHER_COUNT)
            end_finish(end);
        else
            end_send_bytes(end, OTHER_SIZE);
    }
}

static void other_server_closed(struct end *end)
{
    world_nudge(end_world(end), SIDE_SERVER, 0);
}

static const struct role out = {.begin = out_begin};
static const struct role stopped = {
    .begin = stopped_begin,
    .eof = in_eof,
    .nudge = stopped_nudge,
};
static const struct role other_client = {.begin = other_begin, .recv = other_recv};
static const struct role other_server = {
    .recv = role_pass_on,
    .eof = role_finish,
    .closed = other_server_closed,
};

/* Stops after the first bytes, in the middle of what has been received already. */
static void stops_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    if (!end->nudged)
        end_pause(end);
}

static void stops_nudge(struct end *end)
{
    end_resume(end);
}

static const struct role stops = {.recv = stops_recv, .eof = in_eof, .nudge = stops_nudge};

/* On and off within each call. */
static void flickers_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_pause(end);
    end_resume(end);
}

static const struct role flickers = {.recv = flickers_recv, .eof = in_eof};

/* Paused, and the far end goes away: heard of when it reads again. */
static void paused_eof(struct end *end)
{
    in_eof(end);
}

static const struct role paused_to_the_end = {
    .begin = stopped_begin,
    .eof = paused_eof,
    .nudge = stopped_nudge,
};

/* --- the loan quota --- */

/* Holds all it gets until the other is done; then gives back and holds on, a few at a time. */
static void quota_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_hold(end, buf);
    if (end->nudged && end->held_count >= 4)
        end_return_held(end, end->step++ % 2 == 0);
}

static void quota_nudge(struct end *end)
{
    CHECK(end->received_bytes < end_world(end)->body->size, "all was received, and nothing was "
                                                            "returned");
    end_return_held(end, true);
}

static void quota_eof(struct end *end)
{
    end_return_held(end, false);
    in_eof(end);
}

/* At its quota with fewer than four loans nothing would come any more: what is held goes back
 * when the instance has nothing else to do. */
static void quota_turn(struct lane *lane)
{
    for (struct end *end = lane->ends; end != NULL; end = end->next)
        if (end->side == SIDE_SERVER && end->flow == 0 && end->nudged && end->held_count > 0)
            end_return_held(end, false);
}

static void quota_one_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    if (!end->nudged)
        end_hold(end, buf);
}

static const struct role quota = {.recv = quota_recv, .eof = quota_eof, .nudge = quota_nudge};
static const struct role quota_one = {
    .recv = quota_one_recv,
    .eof = quota_eof,
    .nudge = quota_nudge,
};

static const char *skip_one_each(const struct world *world)
{
    return world->caps.conns_max == 1 ? "an instance has one connection" : NULL;
}

/* --- segments --- */

#define FILE_BYTES (5u << 20)

static int pattern_fd = -1;

static void pattern_file_make(void)
{
    uint64_t done = 0;

    pattern_fd = memfd_create("lab-conform", MFD_CLOEXEC);
    CHECK(pattern_fd >= 0, "memfd_create: %s", strerror(errno));
    while (done < FILE_BYTES) {
        ssize_t n = write(pattern_fd, pattern_at(0, done), FILE_BYTES - done);
        CHECK(n > 0, "write: %s", strerror(errno));
        done += (uint64_t)n;
    }
}

/* A file of the pattern: byte i is i % 251. */
static int pattern_file(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, pattern_file_make);
    return pattern_fd;
}

/* Where in the file the stream goes on, at or after `least`. */
static uint64_t file_place(unsigned shift, uint64_t stream_offset, uint64_t least)
{
    uint64_t wanted = (shift + stream_offset) % PATTERN_PERIOD;

    while (least % PATTERN_PERIOD != wanted)
        least++;
    return least;
}

static struct seg stream_memory(const struct end *end, uint64_t *offset, uint64_t size)
{
    struct seg seg = seg_memory(pattern_at(end->shift_out, *offset), size);

    *offset += size;
    return seg;
}

static struct seg stream_file(const struct end *end, uint64_t *offset, uint64_t least,
                              uint64_t size)
{
    struct seg seg = seg_file(pattern_file(), file_place(end->shift_out, *offset, least), size);

    *offset += size;
    return seg;
}

/* Files of both sizes, whole, in between memory, as the first and as the last. */
static void files_begin(struct end *end)
{
    uint64_t at = 0;
    struct seg segs[8] = {
        stream_memory(end, &at, 100),
        stream_file(end, &at, 4097, 3u << 20),
        stream_memory(end, &at, 1),
        stream_file(end, &at, 0, 1),
        stream_file(end, &at, 77, 5000),
        stream_memory(end, &at, 70000),
        stream_file(end, &at, 1 << 20, 65536),
    };

    end_send(end, segs, 7);
    segs[0] = stream_file(end, &at, 123, 4096);
    end_send(end, segs, 1);
    segs[0] = stream_memory(end, &at, 10);
    segs[1] = stream_file(end, &at, 9000, 2u << 20);
    end_send(end, segs, 2);
    end->goal = at;
    end_finish(end);
}

static void goal_closed(struct end *end)
{
    CHECK(end->received_bytes == end->goal, "%llu bytes came back of %llu",
          (unsigned long long)end->received_bytes, (unsigned long long)end->goal);
}

static const struct role files = {.begin = files_begin, .closed = goal_closed};
static const struct role pass_on = {.recv = role_pass_on, .eof = role_finish};

/* A question of some size; the answer is one send of memory, the question's own buffers, a file
 * and memory again, that together are one stream. */
#define QUESTION 3000u

static void mixed_begin(struct end *end)
{
    end_send_bytes(end, QUESTION);
    end_finish(end);
}

static void mixed_answer_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_hold(end, buf);
}

static void mixed_answer_eof(struct end *end)
{
    struct seg *segs = calloc(end->held_count + 3, sizeof(*segs));
    uint64_t at = 0;
    unsigned count = 0;

    CHECK(segs != NULL, "no memory");
    CHECK(end->received_bytes == QUESTION, "a question of %llu bytes",
          (unsigned long long)end->received_bytes);
    uint64_t head = PATTERN_PERIOD + (PATTERN_PERIOD + end->shift_in - end->shift_out);
    segs[count++] = stream_memory(end, &at, head % PATTERN_PERIOD + PATTERN_PERIOD);
    for (unsigned i = 0; i < end->held_count; i++) {
        struct buf *buf = end->held[i].buf;
        segs[count++] = seg_buf(buf_ref(buf), buf->data, buf->size);
        at += buf->size;
    }
    segs[count++] = stream_file(end, &at, 4097, 100000);
    segs[count++] = stream_memory(end, &at, 50);
    end_send(end, segs, count);
    /* The array was copied, and the references that went with it are the engine's. */
    memset(segs, 0xff, count * sizeof(*segs));
    free(segs);
    end_return_held(end, false);
    end_finish(end);
}

static void mixed_closed(struct end *end)
{
    CHECK(end->received_bytes > QUESTION + 100000 + 50, "an answer of %llu bytes",
          (unsigned long long)end->received_bytes);
}

static const struct role mixed_client = {.begin = mixed_begin, .closed = mixed_closed};
static const struct role mixed_server = {.recv = mixed_answer_recv, .eof = mixed_answer_eof};

/* Parts of a received buffer, out of order of their size, each its own send. */
static void parts_recv(struct end *end, struct buf *buf, unsigned flags)
{
    const uint8_t *data = buf->data;
    uint32_t left = buf->size;

    end->received_bytes += buf->size;
    while (left > 0) {
        uint32_t size = left < 1000 ? left : 1000;
        struct seg seg = seg_buf(buf_ref(buf), data, size);
        end_send(end, &seg, 1);
        data += size;
        left -= size;
    }
}

static void parts_begin(struct end *end)
{
    end->goal = 100000;
    end_send_bytes(end, end->goal);
    end_finish(end);
}

static const struct role parts_client = {.begin = parts_begin, .closed = goal_closed};
static const struct role parts_server = {.recv = parts_recv, .eof = role_finish};

/* More segments than IOV_MAX in one send. */
#define MANY_SEGS 5000u

static void many_begin(struct end *end)
{
    struct seg *segs = calloc(MANY_SEGS, sizeof(*segs));
    uint64_t at = 0;

    CHECK(segs != NULL, "no memory");
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MANY_SEGS; i++)
            segs[i] = stream_memory(end, &at, 1 + (i * 7 + round) % 9);
        end_send(end, segs, MANY_SEGS);
    }
    free(segs);
    end->goal = at;
    end_finish(end);
}

static const struct role many = {.begin = many_begin, .closed = goal_closed};

/* Nobody touches memory once it is RELEASED, nor beyond its end before. */
static void guarded_next(struct end *end)
{
    const struct body *body = end_world(end)->body;

    for (; end->count < body->messages && end->sends_pending < 8; end->count++)
        end_send_guarded(end, 1 + end->count * end->count * 131 % body->size);
    if (end->count == body->messages && !end->send_ended) {
        end->goal = end->sent_bytes;
        end_finish(end);
    }
}

static void guarded_sent(struct end *end, uint64_t cookie, unsigned what)
{
    guarded_next(end);
}

static const struct role guarded = {
    .begin = guarded_next,
    .sent = guarded_sent,
    .closed = goal_closed,
};

/* From buffers of one's own: each comes back once, that of a send whose RELEASED is told before it
 * is; of every other send nothing else is told. */
#define OWN_MESSAGES 200u
#define OWN_PENDING  8u

struct own_buf {
    struct buf buf; /* first; the bytes lie behind it */
    bool *back;
};

static void own_release(struct buf *buf)
{
    bool *back = ((struct own_buf *)buf)->back;

    CHECK(!*back, "a buffer came back twice");
    *back = true;
    memset(buf->data, 0xee, buf->size);
    free(buf);
}

static void own_send(struct end *end, uint32_t size)
{
    struct own_buf *own = malloc(sizeof(*own) + size);

    CHECK(own != NULL, "no memory");
    *own = (struct own_buf){
        .buf = {.data = (uint8_t *)(own + 1), .size = size, .refs = 1, .release = own_release},
        .back = (bool *)end->own + end->count,
    };
    memcpy(own->buf.data, pattern_at(end->shift_out, end->sent_bytes), size);
    struct seg seg = seg_buf(&own->buf, own->buf.data, size);
    if (end->count % 2 == 0)
        end_send_unasked(end, &seg, 1);
    else
        end_send(end, &seg, 1);
}

static void own_next(struct end *end)
{
    for (; end->count < OWN_MESSAGES && end->sends_pending < OWN_PENDING; end->count++)
        own_send(end, 1 + (uint32_t)(end->count * end->count * 131 % end_world(end)->body->size));
    if (end->count == OWN_MESSAGES && !end->send_ended) {
        end->goal = end->sent_bytes;
        end_finish(end);
    }
}

static void own_begin(struct end *end)
{
    end->own = calloc(OWN_MESSAGES, sizeof(bool));
    CHECK(end->own != NULL, "no memory");
    own_next(end);
}

/* Cookies count from 1: the second send has the first. */
static void own_sent(struct end *end, uint64_t cookie, unsigned what)
{
    const bool *back = end->own;

    CHECK((what & ENGINE_RELEASED) == 0 || back[2 * cookie - 1],
          "RELEASED was told of a buffer that is not back");
    own_next(end);
}

static void own_closed(struct end *end)
{
    const bool *back = end->own;

    for (unsigned i = 0; i < OWN_MESSAGES; i++)
        CHECK(back[i], "the buffer of send %u is not back", i);
    goal_closed(end);
}

static const struct role own_buffers = {
    .begin = own_begin,
    .sent = own_sent,
    .closed = own_closed,
};

/* Sends that the contract refuses leave nothing behind. */
static void invalid_begin(struct end *end)
{
    struct engine *engine = end->lane->engine;
    struct seg segs[2] = {seg_memory("x", 1), seg_memory("y", 0)};

    checker_down_begin(end->lane);
    CHECK(end_ops(end)->send(engine, end->handle, segs, 0, 1) == -EINVAL, "a send of nothing");
    CHECK(end_ops(end)->send(engine, end->handle, segs, 2, 1) == -EINVAL, "an empty segment");
    checker_down_end(end->lane);
    parts_begin(end);
}

static const struct role invalid = {.begin = invalid_begin, .closed = goal_closed};

/* Both pass on what they get, until enough has gone round: no end of a chain holds the other. */
#define ROUNDS 4000u

static void ball_begin(struct end *end)
{
    for (unsigned i = 0; i < 4; i++)
        end_send_bytes(end, 100);
}

static void ball_recv(struct end *end, struct buf *buf, unsigned flags)
{
    if (end->step < ROUNDS) {
        end->step++;
        end_pass_on(end, buf);
        return;
    }
    if (!end->send_ended)
        end_finish(end);
}

static const struct role ball_client = {.begin = ball_begin, .recv = ball_recv};

#define BESIDE                                                                                     \
    {                                                                                              \
        .client = &other_client, .server = &other_server, .count = 1                               \
    }

/*
 * Of three connections two hold the only buffers, so that the third finds none. That one is closed,
 * and in its last call gives back what the others hold, which is not to start it again.
 */
#define STARVED_CONNS 3u
#define STARVED_NS    (20 * NS_PER_MS)

static void starved_client_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    end_send_bytes(end, 100);
}

static void starved_begin(struct end *end)
{
    end->ends = ENDS_LOCALLY;
}

static void starved_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_hold(end, buf);
}

static void starved_closed(struct end *end)
{
    for (struct end *other = end->lane->ends; other != NULL; other = other->next) {
        if (other->side != SIDE_SERVER || other->state != END_OPEN || other->closing)
            continue;
        end_return_held(other, false);
        end_close(other, true);
    }
}

static void starved_turn(struct lane *lane)
{
    struct end *last = NULL;
    unsigned count = 0, holding = 0;

    for (struct end *end = lane->ends; end != NULL; end = end->next) {
        if (end->side != SIDE_SERVER)
            continue;
        count++;
        holding += end->held_count > 0;
        if (last == NULL || end->held_count == 0)
            last = end;
    }
    if (lane->at_ns == 0 && count == STARVED_CONNS && holding >= 2)
        lane->at_ns = clock_ns() + STARVED_NS;
    if (lane->at_ns == 0 || clock_ns() < lane->at_ns)
        return;
    lane->at_ns = CLOCK_NEVER;
    end_return_held(last, false);
    end_close(last, true);
}

static const struct role starved_client = {.begin = starved_client_begin};
static const struct role starved = {
    .begin = starved_begin,
    .recv = starved_recv,
    .closed = starved_closed,
};

/*
 * All have much to be read when reading begins: nobody gets all of it while another gets nothing,
 * however few buffers there are.
 */
#define TURNS_CONNS 8u
#define TURNS_NS    (100 * NS_PER_MS)

/* Each stops after its first bytes; count: what it has got since all went on. */
static void turns_recv(struct end *end, struct buf *buf, unsigned flags)
{
    struct world *world = end_world(end);
    bool first = end->received_bytes == 0;

    end_check(end, buf);
    if (first) {
        end_pause(end);
        atomic_fetch_add(&world->mark[SIDE_SERVER], 1);
    }
    if (!end->nudged)
        return;
    if (end->count++ == 0)
        atomic_fetch_add(&world->messages[SIDE_SERVER], 1);
    uint64_t served = atomic_load(&world->messages[SIDE_SERVER]);
    CHECK(end->received_bytes < world->body->size || served == TURNS_CONNS,
          "one has got all, and %llu of %u have got something", (unsigned long long)served,
          TURNS_CONNS);
}

static void turns_turn(struct lane *lane)
{
    struct world *world = lane->world;

    if (atomic_load(&world->mark[SIDE_SERVER]) < TURNS_CONNS)
        return;
    if (lane->at_ns == 0)
        lane->at_ns = clock_ns() + TURNS_NS;
    if (clock_ns() < lane->at_ns)
        return;
    lane->at_ns = CLOCK_NEVER;
    world_nudge(world, SIDE_SERVER, 0);
}

static const struct role turns = {.recv = turns_recv, .eof = in_eof, .nudge = stops_nudge};

const struct body bodies_flow[] = {
    {.name = "stopped-reader",
     .size = STOPPED_BYTES,
     .families = FAMILY_ALL,
     .flows = {{.client = &out, .server = &stopped, .count = 1}, BESIDE}},
    {.name = "stops-reading",
     .size = STOPPED_BYTES,
     .flows = {{.client = &out, .server = &stops, .count = 1}, BESIDE}},
    {.name = "flickers",
     .size = 1 << 20,
     .flows = {{.client = &out, .server = &flickers, .count = 2}}},
    {.name = "paused-to-the-end",
     .size = 1000,
     .families = FAMILY_ALL,
     .flows = {{.client = &out, .server = &paused_to_the_end, .count = 1}, BESIDE}},
    {.name = "loan-quota",
     .options = "loan=64k",
     .size = 1 << 20,
     .server_turn = quota_turn,
     .skip = skip_one_each,
     .flows = {{.client = &out, .server = &quota, .count = 1}, BESIDE}},
    {.name = "loan-quota-default",
     .size = 2 << 20,
     .flows = {{.client = &out, .server = &quota_one, .count = 1}, BESIDE}},
    {.name = "loan-quota-small",
     .options = "loan=1000",
     .size = 4 << 20,
     .flows = {{.client = &out, .server = &quota_one, .count = 1}, BESIDE}},
    {.name = "loan-quota-bufs",
     .options = "bufs=8",
     .size = 4 << 20,
     .flows = {{.client = &out, .server = &quota_one, .count = 1}, BESIDE}},
    /* The fewest that an engine takes: who keeps what it gets leaves the others one. */
    {.name = "loan-quota-fewest-bufs",
     .options = "bufs=2",
     .size = 1 << 20,
     .flows = {{.client = &out, .server = &quota_one, .count = 1}, BESIDE}},
    {.name = "starved-and-closed",
     .options = "bufs=2",
     .calm = true,
     .server_turn = starved_turn,
     .skip = skip_one_each,
     .flows = {{.client = &starved_client, .server = &starved, .count = STARVED_CONNS}}},
    {.name = "turns",
     .size = 6 << 20,
     .calm = true,
     .server_turn = turns_turn,
     .skip = skip_one_each,
     .flows = {{.client = &out, .server = &turns, .count = TURNS_CONNS}}},
    {.name = "files",
     .families = FAMILY_ALL,
     .flows = {{.client = &files, .server = &pass_on, .count = 2}}},
    {.name = "mixed-segments",
     .families = FAMILY_ALL,
     .flows = {{.client = &mixed_client, .server = &mixed_server, .count = 2}}},
    {.name = "parts-of-a-buffer",
     .flows = {{.client = &parts_client, .server = &parts_server, .count = 2}}},
    {.name = "many-segments",
     .families = FAMILY_ALL,
     .flows = {{.client = &many, .server = &pass_on, .count = 2}}},
    {.name = "guarded",
     .size = 100 << 10,
     .messages = 120,
     .families = FAMILY_ALL,
     .flows = {{.client = &guarded, .server = &pass_on, .count = 2}}},
    {.name = "own-buffers",
     .size = 70 << 10,
     .families = FAMILY_ALL,
     .flows = {{.client = &own_buffers, .server = &pass_on, .count = 2}}},
    {.name = "invalid-sends", .flows = {{.client = &invalid, .server = &pass_on, .count = 1}}},
    {.name = "ball", .flows = {{.client = &ball_client, .server = &pass_on, .count = 2}}},
    {0},
};

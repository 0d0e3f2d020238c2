/* The pump between an engine and a protocol that are both made up here. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/clock.h"
#include "pump/pump.h"

/* --- an engine that only remembers --- */

struct fake {
    struct engine engine; /* first */
    unsigned sends, segs, closes, ends;
    bool aborted;
    uint64_t bytes;
    uint64_t cookies[256];
    uint64_t sizes[256];
    int send_result;
    void *context;
};

static int fake_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
                     uint64_t cookie)
{
    struct fake *fake = (struct fake *)engine;
    uint64_t size = 0;

    if (fake->send_result < 0)
        return fake->send_result;
    for (unsigned i = 0; i < count; i++) {
        size += segs[i].size;
        if (segs[i].buf != NULL)
            buf_unref(segs[i].buf); /* released at once */
    }
    fake->cookies[fake->sends] = cookie;
    fake->sizes[fake->sends++] = size;
    fake->segs += count;
    fake->bytes += size;
    return 0;
}

static int fake_close(struct engine *engine, uint64_t conn, bool abort)
{
    struct fake *fake = (struct fake *)engine;
    fake->closes++;
    fake->aborted = abort;
    return 0;
}

static int fake_send_end(struct engine *engine, uint64_t conn)
{
    ((struct fake *)engine)->ends++;
    return 0;
}

static int fake_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                        void *context, uint64_t *conn)
{
    ((struct fake *)engine)->context = context;
    *conn = 77;
    return 0;
}

static const struct engine_ops fake_ops = {
    .name = "fake",
    .send = fake_send,
    .send_end = fake_send_end,
    .conn_close = fake_close,
    .connect = fake_connect,
};

/* --- a protocol that does as it is told --- */

struct script {
    unsigned left;   /* outputs it still has */
    uint64_t size;   /* of each */
    uint64_t cookie; /* of each */
    int input_result, eof_result, output_result;
    unsigned inputs, asked, sent_calls;
    unsigned on_sent_more; /* outputs that come with sent() */
    struct buf *buf;       /* what it sends, else memory */
    unsigned mutes;
    bool says_last, says_close, says_time;
    unsigned ticks, drains;
    uint64_t told_ns, next_ns; /* tick(): the time that it was told last, and what it asks for */
    int tick_result, drain_result;
};

static uint8_t payload[1 << 20];

static int script_input(void *state, struct buf *buf)
{
    struct script *script = state;
    script->inputs++;
    return script->input_result;
}

static int script_eof(void *state)
{
    return ((struct script *)state)->eof_result;
}

static int script_output(void *state, struct proto_output *out)
{
    struct script *script = state;
    script->asked++;
    if (script->output_result < 0)
        return script->output_result;
    if (script->left == 0)
        return 0;
    script->left--;
    out->segs[0] = script->buf != NULL ? seg_buf(buf_ref(script->buf), script->buf->data, 1)
                                       : seg_memory(payload, script->size);
    out->cookie = script->cookie;
    out->last = script->says_last;
    out->close = script->says_close;
    out->time = script->says_time;
    return 1;
}

static bool script_sent(void *state, uint64_t cookie, unsigned what)
{
    struct script *script = state;
    script->sent_calls++;
    cr_assert_eq(cookie, script->cookie);
    script->left += script->on_sent_more;
    script->on_sent_more = 0;
    return script->left > 0;
}

static void script_mute(void *state)
{
    ((struct script *)state)->mutes++;
}

static const struct proto_ops script_proto = {
    .name = "script",
    .mute = script_mute,
    .input = script_input,
    .eof = script_eof,
    .output = script_output,
    .sent = script_sent,
};

static int script_tick(void *state, uint64_t now_ns, uint64_t *next_ns)
{
    struct script *script = state;
    script->ticks++;
    script->told_ns = now_ns;
    if (script->next_ns != 0)
        *next_ns = script->next_ns;
    return script->tick_result;
}

static int script_drain(void *state)
{
    struct script *script = state;
    script->drains++;
    return script->drain_result;
}

/* The same, with a sense of time and a way to end. */
static const struct proto_ops timed_proto = {
    .name = "timed",
    .input = script_input,
    .eof = script_eof,
    .output = script_output,
    .sent = script_sent,
    .tick = script_tick,
    .drain = script_drain,
};

static enum engine_reason closed_reason;
static int closed_err, closed_count, opened_count;

static void owner_opened(struct pump_conn *conn)
{
    opened_count++;
    pump_kick(conn);
}

static void owner_closed(struct pump_conn *conn, enum engine_reason reason, int err)
{
    closed_count++;
    closed_reason = reason;
    closed_err = err;
}

static const struct pump_owner owner = {owner_opened, owner_closed};

struct fixture {
    struct fake fake;
    struct script script;
    struct pump_conn conn;
    struct timers timers;
};

static void set_up_with(struct fixture *f, const struct proto_ops *proto)
{
    memset(f, 0, sizeof(*f));
    f->fake.engine.ops = &fake_ops;
    f->fake.engine.events = &pump_events;
    f->script.size = 100;
    f->conn.proto = proto;
    f->conn.timers = &f->timers;
    f->conn.state = &f->script;
    f->conn.owner = &owner;
    closed_err = closed_count = opened_count = 0;
    cr_assert_eq(pump_connect(&f->conn, &f->fake.engine, NULL, NULL), 0);
    cr_assert_eq(f->fake.context, &f->conn);
    pump_events.on_open(&f->conn);
    cr_assert_eq(opened_count, 1);
}

static void set_up(struct fixture *f)
{
    set_up_with(f, &script_proto);
}

static void keep(struct buf *buf)
{
}

static void receive(struct fixture *f)
{
    struct buf buf = {.data = payload, .size = 5, .refs = 1, .release = keep};
    pump_events.on_recv(&f->conn, &buf, 0);
}

Test(pump, output_is_pulled_after_input_until_there_is_none, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.left = 3;
    receive(&f);
    cr_assert_eq(f.fake.sends, 3);
    cr_assert_eq(pump_under_way(&f.conn), 300);
    cr_assert_eq(f.conn.received_bytes, 5);
}

Test(pump, a_protocol_that_says_last_is_not_asked_again, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    unsigned asked = f.script.asked;
    f.script.says_last = true;
    f.script.left = 1;
    receive(&f);
    cr_assert_eq(f.fake.sends, 1);
    cr_assert_eq(f.script.asked, asked + 1);
}

Test(pump, the_reference_that_comes_with_a_segment_goes_with_it, .timeout = 10)
{
    struct fixture f;
    struct buf buf = {.data = payload, .size = 5, .refs = 1, .release = keep};
    set_up(&f);
    f.script.buf = &buf;
    f.script.left = 2;
    pump_kick(&f.conn);
    cr_assert_eq(f.fake.sends, 2);
    cr_assert_eq(buf.refs, 1, "each was the engine's to drop, once");
    f.fake.send_result = -ENOMEM;
    f.script.left = 1;
    pump_kick(&f.conn);
    cr_assert_eq(buf.refs, 1, "the pump's, when sending failed");
}

Test(pump, a_kick_outside_of_events_pulls_at_once, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.left = 1;
    pump_kick(&f.conn);
    cr_assert_eq(f.fake.sends, 1);
}

Test(pump, it_stops_asking_when_enough_is_queued_and_goes_on_when_it_drained, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.size = 1 << 20;
    f.script.left = 10;
    pump_kick(&f.conn);
    unsigned first = f.fake.sends;
    cr_assert_eq(first, PUMP_QUEUE_BYTES >> 20);
    cr_assert(f.conn.flags & PUMP_HELD);
    /* Not at the first byte, to send in large pieces: at half. */
    for (unsigned i = 0; i < first; i++)
        pump_events.on_sent(&f.conn, f.fake.cookies[i], f.fake.sizes[i],
                            ENGINE_SENT | ENGINE_RELEASED);
    cr_assert_gt(f.fake.sends, first);
    cr_assert_leq(pump_under_way(&f.conn), (uint64_t)PUMP_QUEUE_BYTES);
}

Test(pump, only_the_protocols_own_cookies_reach_it_and_it_is_asked_again, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.size = PUMP_ASK_BYTES;
    f.script.left = 1;
    pump_kick(&f.conn);
    pump_events.on_sent(&f.conn, f.fake.cookies[0], f.fake.sizes[0], ENGINE_SENT | ENGINE_RELEASED);
    cr_assert_eq(f.script.sent_calls, 0);
    cr_assert_eq(pump_under_way(&f.conn), 0);
    f.script.size = 100;
    f.script.cookie = 9;
    f.script.left = 1;
    pump_kick(&f.conn);
    f.script.on_sent_more = 2;
    pump_events.on_sent(&f.conn, f.fake.cookies[1], 100, ENGINE_SENT);
    cr_assert_eq(f.script.sent_calls, 1);
    cr_assert_eq(f.fake.sends, 4, "what sent() made possible goes out");
    cr_assert_eq(pump_under_way(&f.conn), 200);
    pump_events.on_sent(&f.conn, f.fake.cookies[1], 100, ENGINE_RELEASED);
    cr_assert_eq(pump_under_way(&f.conn), 200, "RELEASED alone takes nothing off the queue");
}

Test(pump, of_many_small_sends_it_asks_about_few_and_knows_what_is_on_its_way, .timeout = 10)
{
    struct fixture f;
    unsigned asked = 0;

    set_up(&f);
    f.script.size = PUMP_ASK_BYTES / 8;
    f.script.left = 60;
    pump_kick(&f.conn);
    cr_assert_eq(f.fake.sends, 60);
    cr_assert_eq(pump_under_way(&f.conn), 60 * f.script.size);
    for (unsigned i = 0; i < f.fake.sends; i++) {
        if (f.fake.cookies[i] == 0)
            continue; /* nobody asked, so the engine does not tell */
        asked++;
        pump_events.on_sent(&f.conn, f.fake.cookies[i], f.fake.sizes[i], ENGINE_SENT);
    }
    cr_assert(asked > 0 && asked <= 60 / 4, "one in half of that: %u", asked);
    cr_assert_lt(pump_under_way(&f.conn), 2 * PUMP_ASK_BYTES, "too high by little");
}

Test(pump, a_queue_full_of_small_sends_drains_too, .timeout = 10)
{
    struct fixture f;

    set_up(&f);
    f.script.size = PUMP_ASK_BYTES - 1;
    f.script.left = 200;
    pump_kick(&f.conn);
    for (unsigned told = 0; told < f.fake.sends; told++)
        if (f.fake.cookies[told] != 0)
            pump_events.on_sent(&f.conn, f.fake.cookies[told], f.fake.sizes[told], ENGINE_SENT);
    cr_assert_eq(f.script.left, 0);
}

Test(pump, a_broken_protocol_aborts_and_its_errno_is_told, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.input_result = -EBADMSG;
    f.script.left = 1;
    receive(&f);
    cr_assert_eq(f.fake.closes, 1);
    cr_assert(f.fake.aborted);
    cr_assert_eq(f.fake.sends, 0);
    receive(&f);
    cr_assert_eq(f.script.inputs, 1, "nothing is read any more");
    pump_events.on_closed(&f.conn, ENGINE_CLOSED_LOCALLY, 0);
    cr_assert_eq(closed_count, 1);
    cr_assert_eq(closed_err, EBADMSG);
    cr_assert_eq(f.conn.handle, ENGINE_CONN_NONE);
}

Test(pump, an_output_that_fails_aborts_too, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.output_result = -ENOMEM;
    pump_kick(&f.conn);
    cr_assert(f.fake.aborted);
}

Test(pump, a_send_that_fails_aborts_too, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.fake.send_result = -ENOMEM;
    f.script.left = 1;
    pump_kick(&f.conn);
    cr_assert(f.fake.aborted);
    pump_events.on_closed(&f.conn, ENGINE_CLOSED_LOCALLY, 0);
    cr_assert_eq(closed_err, ENOMEM);
}

/* What the other end said before it went is read to its end, and the engine says how that was. */
Test(pump, a_connection_that_has_failed_is_read_on_and_not_asked_for_output, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.fake.send_result = -EPIPE;
    f.script.left = 3;
    pump_kick(&f.conn);
    cr_assert_eq(f.fake.closes, 0);
    cr_assert_eq(f.script.left, 2, "asked for more than nobody takes");
    cr_assert_eq(f.script.mutes, 1, "it is to give back what it keeps");
    receive(&f);
    receive(&f);
    cr_assert_eq(f.script.inputs, 2);
    cr_assert_eq(f.script.left, 2);
    cr_assert_eq(f.fake.closes, 0);
    pump_events.on_closed(&f.conn, ENGINE_CLOSED_RESET, ECONNRESET);
    cr_assert_eq(closed_count, 1);
    cr_assert_eq(closed_err, ECONNRESET);
}

/* It may hold loans for an output that it will not be asked for: they would keep the engine from
 * telling the end. */
Test(pump, who_is_closed_gives_back_what_was_kept, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    pump_close(&f.conn, false);
    cr_assert_eq(f.script.mutes, 1);
    cr_assert_eq(f.fake.closes, 1);
}

Test(pump, closing_in_order_waits_for_the_last_output, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.size = 1 << 20;
    f.script.left = 6;
    f.script.input_result = PROTO_CLOSE;
    receive(&f);
    cr_assert_eq(f.fake.closes, 0, "output is still held back");
    for (unsigned i = 0; i < f.fake.sends; i++)
        pump_events.on_sent(&f.conn, f.fake.cookies[i], f.fake.sizes[i], ENGINE_SENT);
    cr_assert_eq(f.fake.sends, 6);
    cr_assert_eq(f.fake.closes, 1);
    cr_assert_not(f.fake.aborted);
}

Test(pump, eof_without_a_say_closes_in_order, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    f.script.eof_result = PROTO_CLOSE;
    pump_events.on_eof(&f.conn);
    cr_assert_eq(f.fake.closes, 1);
    cr_assert_not(f.fake.aborted);
    pump_close(&f.conn, false);
    cr_assert_eq(f.fake.closes, 1, "a second close in order is none");
    pump_close(&f.conn, true);
    cr_assert_eq(f.fake.closes, 2, "an abort goes through");
}

Test(pump, a_protocol_is_told_the_time_when_its_connection_begins, .timeout = 10)
{
    struct fixture f;
    uint64_t before_ns = clock_ns();
    set_up_with(&f, &timed_proto);
    cr_assert_eq(f.script.ticks, 1);
    cr_assert_geq(f.script.told_ns, before_ns);
    cr_assert_eq(timers_next_ns(&f.timers), CLOCK_NEVER, "it asked for nothing");
    receive(&f);
    cr_assert_eq(f.script.ticks, 1, "what has nothing to do with time reads no clock");
    timers_free(&f.timers);
}

Test(pump, a_protocol_is_called_when_it_asked_to_be_and_its_output_goes_out, .timeout = 10)
{
    struct fixture f;
    set_up_with(&f, &timed_proto);
    f.script.input_result = PROTO_TIME;
    f.script.next_ns = 5000;
    receive(&f);
    cr_assert_eq(f.script.ticks, 2);
    cr_assert_eq(timers_next_ns(&f.timers), 5000);
    f.script.next_ns = 0;
    f.script.left = 1;
    cr_assert_eq(timers_run(&f.timers, 6000), 1);
    cr_assert_eq(f.script.told_ns, 6000);
    cr_assert_eq(f.fake.sends, 1);
    cr_assert_eq(timers_next_ns(&f.timers), CLOCK_NEVER);
    timers_free(&f.timers);
}

Test(pump, a_protocol_may_ask_for_the_time_before_its_next_input, .timeout = 10)
{
    struct fixture f;
    set_up_with(&f, &timed_proto);
    f.script.input_result = PROTO_TIME_BEFORE;
    receive(&f);
    cr_assert_eq(f.script.ticks, 1, "not now");
    f.script.input_result = PROTO_OK;
    f.script.told_ns = 0;
    receive(&f);
    cr_assert_eq(f.script.ticks, 2);
    cr_assert_gt(f.script.told_ns, 0);
    cr_assert_eq(f.script.inputs, 2);
    receive(&f);
    cr_assert_eq(f.script.ticks, 2, "once for each time that it asked");
    f.script.input_result = PROTO_TIME_BEFORE;
    receive(&f);
    f.script.tick_result = -ETIMEDOUT;
    receive(&f);
    cr_assert_eq(f.script.inputs, 4, "what its time ended reads no more");
    cr_assert_eq(f.fake.closes, 1);
    timers_free(&f.timers);
}

Test(pump, an_output_may_ask_for_the_time_too, .timeout = 10)
{
    struct fixture f;
    set_up_with(&f, &timed_proto);
    f.script.says_time = true;
    f.script.left = 1;
    f.script.next_ns = 7000;
    pump_kick(&f.conn);
    cr_assert_eq(f.script.ticks, 2);
    cr_assert_eq(timers_next_ns(&f.timers), 7000);
    pump_events.on_closed(&f.conn, ENGINE_CLOSED_BY_PEER, 0);
    cr_assert_eq(timers_next_ns(&f.timers), CLOCK_NEVER, "nobody is called after the end");
    timers_free(&f.timers);
}

Test(pump, a_time_out_may_end_the_connection, .timeout = 10)
{
    struct fixture f;
    set_up_with(&f, &timed_proto);
    f.script.input_result = PROTO_TIME;
    f.script.next_ns = 5000;
    receive(&f);
    f.script.tick_result = -ETIMEDOUT;
    timers_run(&f.timers, 5000);
    cr_assert(f.fake.aborted);
    pump_events.on_closed(&f.conn, ENGINE_CLOSED_LOCALLY, 0);
    cr_assert_eq(closed_err, ETIMEDOUT);
    timers_free(&f.timers);
}

Test(pump, draining_closes_at_once_what_knows_no_end, .timeout = 10)
{
    struct fixture f;
    set_up(&f);
    pump_drain(&f.conn);
    cr_assert_eq(f.fake.closes, 1);
    cr_assert_not(f.fake.aborted);
}

Test(pump, draining_waits_for_the_output_that_says_close, .timeout = 10)
{
    struct fixture f;
    set_up_with(&f, &timed_proto);
    pump_drain(&f.conn);
    cr_assert_eq(f.script.drains, 1);
    cr_assert_eq(f.fake.closes, 0);
    receive(&f);
    cr_assert_eq(f.script.inputs, 1, "it is still heard");
    f.script.left = 1;
    f.script.says_close = f.script.says_last = true;
    pump_kick(&f.conn);
    cr_assert_eq(f.fake.sends, 1);
    cr_assert_eq(f.fake.ends, 1, "FIN");
    cr_assert_eq(f.fake.closes, 0, "what the other end still says would be answered with a RST");
    receive(&f);
    pump_kick(&f.conn);
    pump_events.on_eof(&f.conn);
    cr_assert_eq(f.script.inputs, 1, "it is read, and nobody hears it");
    cr_assert_eq(f.fake.sends, 1);
    pump_events.on_closed(&f.conn, ENGINE_CLOSED_BY_PEER, 0);
    cr_assert_eq(closed_err, 0);
    cr_assert_eq(timers_next_ns(&f.timers), CLOCK_NEVER);
    timers_free(&f.timers);
}

Test(pump, what_is_drained_and_never_closed_by_the_other_end_is_aborted, .timeout = 10)
{
    struct fixture f;
    set_up_with(&f, &timed_proto);
    f.script.drain_result = PROTO_CLOSE;
    pump_drain(&f.conn);
    cr_assert_eq(f.fake.ends, 1);
    timers_run(&f.timers, timers_next_ns(&f.timers));
    cr_assert_eq(f.fake.closes, 1);
    cr_assert(f.fake.aborted);
    pump_events.on_closed(&f.conn, ENGINE_CLOSED_LOCALLY, 0);
    timers_free(&f.timers);
}

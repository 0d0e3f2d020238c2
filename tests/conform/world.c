/*
 * A process of a test: opens the instances, connects and accepts what the body's flows ask for,
 * and polls until all is closed. The server's process says its addresses through a pipe.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/conform/conform.h"

/* Flags that other threads set are looked at this often, should a wake-up get lost; that it
 * did is another test's to find. */
#define LANE_LOOK_NS (50 * NS_PER_MS)

struct lane_mail {
    unsigned flow;
    struct engine_accepted accepted;
};

struct world *world_of_process;

/* --- lanes --- */

void lane_open(struct lane *lane, struct world *world)
{
    const struct body *body = world->body;
    struct lab_error err = {""};
    struct engine_config config = {
        .options = world->spec.options,
        .message_size = body->size,
        .conns_hint = body->flows[0].count + body->flows[1].count,
    };

    if (lane->world == NULL) /* others may be reading it */
        lane->world = world;
    lane->thread = pthread_self();
    int r = world->spec.ops->open(&lane->engine, &config, &checker_events, &err);
    CHECK(r == 0, "cannot open %s: %s: %s", world->spec.text, strerror(-r), err.text);
    CHECK(lane->engine->ops == world->spec.ops && lane->engine->events == &checker_events,
          "ops and events are not what was opened");
    CHECK(lane->engine->caps.conns_max >= 1, "an instance without connections");
}

int lane_poll(struct lane *lane, uint64_t deadline_ns)
{
    lane->calls_up = 0;
    lane->in_poll = true;
    int r = lane->engine->ops->poll(lane->engine, deadline_ns);
    lane->in_poll = false;
    CHECK(r >= 0, "poll: %s", strerror(-r));
    CHECK((unsigned)r == lane->calls_up, "poll says %d upward calls, there were %u", r,
          lane->calls_up);
    return r;
}

void lane_close(struct lane *lane)
{
    lane->in_close = true;
    lane->engine->ops->close(lane->engine);
    lane->in_close = false;
    lane->engine = NULL;
    CHECK(lane->open_count == 0, "closed, and %u ends were not told", lane->open_count);
    while (lane->ends != NULL) {
        struct end *end = lane->ends;
        lane->ends = end->next;
        end_free(end);
    }
}

int lane_listen(struct lane *lane, unsigned flow, const struct addr *addr, struct addr *bound,
                struct lab_error *err)
{
    lane->listeners[flow] = (struct listener){lane, flow};
    checker_down_begin(lane);
    int r = lane->engine->ops->listen(lane->engine, addr, &lane->listeners[flow], bound, err);
    checker_down_end(lane);
    return r;
}

static void lane_forget(struct lane *lane, struct end *end)
{
    lane->ends = end->next;
    lane->open_count--;
    end_free(end);
}

struct end *lane_connect(struct lane *lane, unsigned flow, unsigned index, const struct addr *addr,
                         int *result)
{
    struct end *end = end_new(lane, flow, index, SIDE_CLIENT);

    checker_down_begin(lane);
    *result = lane->engine->ops->connect(lane->engine, addr, NULL, end, &end->handle);
    checker_down_end(lane);
    if (*result < 0) {
        lane_forget(lane, end);
        return NULL;
    }
    CHECK(end->handle != ENGINE_CONN_NONE, "connect gave the handle that is none");
    if (end->role->connected != NULL)
        end->role->connected(end);
    return end;
}

struct end *lane_attach(struct lane *lane, unsigned flow, const struct engine_accepted *accepted,
                        int *result)
{
    struct world *world = lane->world;

    pthread_mutex_lock(&world->lock);
    unsigned index = world->accepted_count[flow]++;
    pthread_mutex_unlock(&world->lock);
    struct end *end = end_new(lane, flow, index, SIDE_SERVER);
    checker_down_begin(lane);
    *result = lane->engine->ops->attach(lane->engine, accepted, end, &end->handle);
    checker_down_end(lane);
    if (*result < 0) {
        lane_forget(lane, end);
        return NULL;
    }
    CHECK(end->handle != ENGINE_CONN_NONE, "attach gave the handle that is none");
    end_began(end);
    return end;
}

static void world_wake_all(struct world *world)
{
    pthread_mutex_lock(&world->lock);
    for (struct lane *lane = world->lanes; lane != NULL; lane = lane->next)
        if (lane->wakeable != NULL)
            lane->wakeable->ops->wake(lane->wakeable);
    pthread_mutex_unlock(&world->lock);
}

void world_nudge(struct world *world, enum side side, unsigned flow)
{
    atomic_store(&world->nudged[side][flow], true);
    world_wake_all(world);
}

static void lane_nudge(struct lane *lane)
{
    for (struct end *end = lane->ends; end != NULL; end = end->next) {
        if (end->nudged || end->state != END_OPEN || end->role->nudge == NULL ||
            !atomic_load(&lane->world->nudged[end->side][end->flow]))
            continue;
        end->nudged = true;
        end->role->nudge(end);
    }
}

/* Attaches what was accepted elsewhere. */
static void lane_take_mail(struct lane *lane)
{
    struct world *world = lane->world;

    for (;;) {
        struct lane_mail mail;
        int r;
        pthread_mutex_lock(&world->lock);
        bool any = lane->mail_count > 0;
        if (any)
            mail = lane->mail[--lane->mail_count];
        pthread_mutex_unlock(&world->lock);
        if (!any)
            return;
        CHECK(lane_attach(lane, mail.flow, &mail.accepted, &r) != NULL, "attach: %s", strerror(-r));
    }
}

static bool world_is_over(const struct world *world)
{
    for (unsigned i = 0; i < 2; i++)
        if (world->plays[i] && atomic_load(&world->closed[i]) < world->expected[i])
            return false;
    return true;
}

static bool lane_is_over(const struct lane *lane)
{
    if (lane->close_now)
        return true;
    if (lane->ends_left == UINT_MAX)
        return world_is_over(lane->world);
    unsigned closed = 0;
    for (const struct end *end = lane->ends; end != NULL; end = end->next)
        closed += end->state == END_CLOSED;
    return closed == lane->ends_left;
}

static void lane_loop(struct lane *lane)
{
    const struct body *body = lane->world->body;

    while (!lane_is_over(lane)) {
        lane_take_mail(lane);
        lane_nudge(lane);
        if (lane->serves && body->server_turn != NULL)
            body->server_turn(lane);
        lane_poll(lane, clock_ns() + LANE_LOOK_NS);
    }
}

void lane_run(struct lane *lane)
{
    while (lane->open_count > 0)
        lane_poll(lane, clock_ns() + LANE_LOOK_NS);
}

static struct lane *lane_new(struct world *world, unsigned ends_left)
{
    struct lane *lane = calloc(1, sizeof(*lane));

    CHECK(lane != NULL, "no memory");
    lane->world = world;
    lane->ends_left = ends_left;
    pthread_mutex_lock(&world->lock);
    lane->next = world->lanes;
    world->lanes = lane;
    pthread_mutex_unlock(&world->lock);
    return lane;
}

static void lane_open_known(struct lane *lane)
{
    lane_open(lane, lane->world);
    pthread_mutex_lock(&lane->world->lock);
    lane->wakeable = lane->engine;
    pthread_mutex_unlock(&lane->world->lock);
}

static void lane_close_known(struct lane *lane)
{
    pthread_mutex_lock(&lane->world->lock);
    lane->wakeable = NULL;
    pthread_mutex_unlock(&lane->world->lock);
    lane_close(lane);
}

/* --- serving --- */

static void *serving_thread(void *context)
{
    struct lane *lane = context;

    lane_open_known(lane);
    lane_loop(lane);
    lane_close_known(lane);
    world_wake_all(lane->world);
    return NULL;
}

static void lane_mail(struct lane *lane, unsigned flow, const struct engine_accepted *accepted)
{
    struct world *world = lane->world;

    pthread_mutex_lock(&world->lock);
    lane->mail = realloc(lane->mail, (lane->mail_count + 1) * sizeof(*lane->mail));
    CHECK(lane->mail != NULL, "no memory");
    lane->mail[lane->mail_count++] = (struct lane_mail){flow, *accepted};
    if (lane->wakeable != NULL)
        lane->wakeable->ops->wake(lane->wakeable);
    pthread_mutex_unlock(&world->lock);
}

static void lane_start(struct lane *lane, void *(*run)(void *))
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, run, lane) == 0, "cannot start a thread");
    /* lane->thread is its own to write. */
    pthread_mutex_lock(&lane->world->lock);
    lane->joinable = thread;
    lane->joined = false;
    lane->threaded = true;
    pthread_mutex_unlock(&lane->world->lock);
}

void world_accepted(struct lane *lane, unsigned flow, struct engine_accepted *accepted)
{
    struct world *world = lane->world;
    int r;

    CHECK(accepted->remote.size > 0, "accepted from no address");
    if (world->caps.conns_max == 1) {
        struct lane *own = lane_new(world, 1);
        lane_mail(own, flow, accepted);
        lane_start(own, serving_thread);
    } else if (world->body->attach_beside) {
        lane_mail(world->beside, flow, accepted);
    } else {
        CHECK(lane_attach(lane, flow, accepted, &r) != NULL, "attach: %s", strerror(-r));
    }
}

void world_address(const struct world *world, const char *name, struct addr *addr)
{
    char text[ADDR_TEXT_MAX];
    struct lab_error err;

    switch (world->family) {
    case FAMILY_TCP4: snprintf(text, sizeof(text), "127.0.0.1:0"); break;
    case FAMILY_TCP6: snprintf(text, sizeof(text), "[::1]:0"); break;
    default: snprintf(text, sizeof(text), "unix:@lab-conform-%d-%s", world->test_pid, name); break;
    }
    int r = addr_parse(text, 0, "address", addr, &err);
    CHECK(r == 0, "%s", err.text);
}

static unsigned flows_count(const struct body *body)
{
    return body->flows[1].count > 0 ? 2 : 1;
}

static void serving_listen(struct lane *lane, unsigned round)
{
    struct world *world = lane->world;
    char name[16];

    for (unsigned i = 0; i < flows_count(world->body); i++) {
        struct lab_error err = {""};
        struct addr addr = world->addresses[i];
        snprintf(name, sizeof(name), "%u", i);
        if (round == 0)
            world_address(world, name, &addr);
        int r = lane_listen(lane, i, &addr, &world->addresses[i], &err);
        CHECK(r == 0, "listen, round %u: %s: %s", round, strerror(-r), err.text);
    }
}

static void world_join(struct world *world)
{
    for (;;) {
        struct lane *lane;
        pthread_mutex_lock(&world->lock);
        for (lane = world->lanes; lane != NULL; lane = lane->next)
            if (lane->threaded && !lane->joined)
                break;
        if (lane != NULL)
            lane->joined = true;
        pthread_mutex_unlock(&world->lock);
        if (lane == NULL)
            break;
        pthread_join(lane->joinable, NULL);
    }
    while (world->lanes != NULL) {
        struct lane *lane = world->lanes;
        world->lanes = lane->next;
        free(lane->mail);
        free(lane);
    }
}

static void world_begin_round(struct world *world)
{
    for (unsigned i = 0; i < 2; i++) {
        world->expected[i] = world->body->flows[0].count + world->body->flows[1].count;
        atomic_store(&world->begun[i], 0);
        atomic_store(&world->closed[i], 0);
        world->accepted_count[i] = 0;
    }
}

/* --- connecting --- */

void world_next_connect(struct end *end)
{
    struct lane *lane = end->lane;
    struct world *world = lane->world;
    const struct flow *flow = &world->body->flows[end->flow];
    int r;

    if (end->side != SIDE_CLIENT || !flow->sequential || end->index + 1 == flow->count)
        return;
    CHECK(lane_connect(lane, end->flow, end->index + 1, &world->addresses[end->flow], &r) != NULL,
          "connect within on_closed: %s", strerror(-r));
}

static void connecting_flow(struct lane *lane, unsigned flow, unsigned first, unsigned count)
{
    struct world *world = lane->world;
    int r;

    for (unsigned i = first; i < first + count; i++)
        CHECK(lane_connect(lane, flow, i, &world->addresses[flow], &r) != NULL, "connect: %s",
              strerror(-r));
}

static void *connecting_thread(void *context)
{
    struct lane *lane = context;

    lane_open_known(lane);
    connecting_flow(lane, lane->flow, lane->index, 1);
    lane_loop(lane);
    lane_close_known(lane);
    return NULL;
}

/* A thread and an instance for each connection, or for each row of them. */
static void connecting_threads(struct world *world)
{
    for (unsigned f = 0; f < flows_count(world->body); f++) {
        const struct flow *flow = &world->body->flows[f];
        for (unsigned i = 0; i < (flow->sequential ? 1 : flow->count); i++) {
            struct lane *lane = lane_new(world, flow->sequential ? flow->count : 1);
            lane->flow = f;
            lane->index = i;
            lane_start(lane, connecting_thread);
        }
    }
}

static void connecting_all(struct lane *lane)
{
    const struct body *body = lane->world->body;

    for (unsigned f = 0; f < flows_count(body); f++)
        connecting_flow(lane, f, 0, body->flows[f].sequential ? 1 : body->flows[f].count);
}

/* --- the processes --- */

static void client_round(struct world *world)
{
    world_begin_round(world);
    if (world->caps.conns_max == 1) {
        connecting_threads(world);
    } else {
        struct lane *lane = lane_new(world, UINT_MAX);
        lane_open_known(lane);
        connecting_all(lane);
        lane_loop(lane);
        lane_close_known(lane);
    }
    world_join(world);
}

/* Plays the server, and the client too if both sides are in one instance. */
static void server_round(struct world *world, unsigned round, int out)
{
    world_begin_round(world);
    struct lane *lane = lane_new(world, UINT_MAX);
    lane->serves = true;
    lane_open_known(lane);
    serving_listen(lane, round);
    if (world->body->attach_beside) {
        world->beside = lane_new(world, UINT_MAX);
        lane_start(world->beside, serving_thread);
    }
    if (world->body->server_begin != NULL)
        world->body->server_begin(lane);
    if (world->plays[SIDE_CLIENT])
        connecting_all(lane);
    else
        CHECK(write(out, world->addresses, sizeof(world->addresses)) ==
                  (ssize_t)sizeof(world->addresses),
              "the client's process has gone");
    lane_loop(lane);
    lane_close_known(lane);
    world_join(world);
}

static void world_run_pair(struct world *world)
{
    unsigned rounds = world->body->rounds > 0 ? world->body->rounds : 1;
    int addresses[2], status;

    CHECK(pipe(addresses) == 0, "pipe: %s", strerror(errno));
    pid_t server = fork();
    CHECK(server >= 0, "fork: %s", strerror(errno));
    if (server == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* an engine that spins must not outlive its test */
    world->plays[server == 0 ? SIDE_SERVER : SIDE_CLIENT] = true;
    close(addresses[server == 0 ? 0 : 1]);
    for (unsigned i = 0; i < rounds; i++) {
        if (server == 0) {
            server_round(world, i, addresses[1]);
            continue;
        }
        ssize_t n = read(addresses[0], world->addresses, sizeof(world->addresses));
        CHECK(n == (ssize_t)sizeof(world->addresses), "the server's process has gone");
        client_round(world);
    }
    if (server == 0)
        return;
    CHECK(waitpid(server, &status, 0) == server, "waitpid: %s", strerror(errno));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the server's process ended with %d",
          status);
}

void world_run(struct world *world)
{
    world_of_process = world;
    world->test_pid = getpid();
    pthread_mutex_init(&world->lock, NULL);
    if (world->body->alone != NULL) {
        world->body->alone(world);
    } else if (world->caps.both_sides) {
        unsigned rounds = world->body->rounds > 0 ? world->body->rounds : 1;
        world->plays[SIDE_CLIENT] = world->plays[SIDE_SERVER] = true;
        for (unsigned i = 0; i < rounds; i++)
            server_round(world, i, -1);
    } else {
        world_run_pair(world);
    }
    pthread_mutex_destroy(&world->lock);
}

/* In a signal handler: nothing that allocates. */
static void dump_line(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void dump_line(int fd, const char *format, ...)
{
    char line[256];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (length > 0 && write(fd, line, strnlen(line, sizeof(line))) < 0)
        return; /* nobody is there to read it */
}

/* Of a test that is lost anyway: what this reads may be moving. */
void world_dump(const struct world *world, int fd)
{
    static const char *const states[] = {"connecting", "open", "closed"};

    for (const struct lane *lane = world->lanes; lane != NULL; lane = lane->next) {
        dump_line(fd, "  %s lane: %u ends open, in %s\n", lane->serves ? "accepting" : "a",
                  lane->open_count,
                  lane->in_poll    ? "poll"
                  : lane->in_close ? "close"
                                   : "the loop");
        unsigned shown = 0;
        for (const struct end *end = lane->ends; end != NULL && shown < 4; end = end->next) {
            if (end->state == END_CLOSED)
                continue;
            shown++;
            dump_line(fd,
                      "    %s %u of flow %u: %s%s%s%s%s, sent %llu (%u unsent, %u pending), "
                      "received %llu, held %u\n",
                      end->side == SIDE_CLIENT ? "client" : "server", end->index, end->flow,
                      states[end->state], end->paused ? ", paused" : "", end->eof ? ", eof" : "",
                      end->send_ended ? ", ended" : "", end->closing ? ", closing" : "",
                      (unsigned long long)end->sent_bytes, end->unsent, end->sends_pending,
                      (unsigned long long)end->received_bytes, end->held_count);
        }
    }
}

/* An instance of the null engine: see null.h. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "core/line.h"

#include "engines/null.h"

extern const struct engine_ops null_engine;

void null_announce(struct null_engine *e)
{
    while (e->embryos.first != NULL && !e->accept_paused && e->calls < NULL_CALLS_MAX) {
        struct null_conn *c = e->embryos.first;
        struct engine_accepted accepted = {.token = (intptr_t)conns_handle(c)};

        e->embryos.first = c->next_waiting;
        if (e->embryos.first == NULL)
            e->embryos.end = &e->embryos.first;
        if (c->remote != NULL)
            accepted.remote = *c->remote;
        c->flags |= NULL_ANNOUNCED;
        engine_count(&e->engine, ENGINE_ACCEPTS, 1);
        e->calls++;
        e->engine.events->on_accept(e->listeners[c->listener].ctx, &accepted);
    }
}

static void null_add_counts(struct null_engine *e)
{
    engine_count(&e->engine, ENGINE_SENDS, e->sends);
    engine_count(&e->engine, ENGINE_RECVS, e->recvs);
    engine_count(&e->engine, ENGINE_RECV_BYTES, e->recv_bytes);
    engine_count(&e->engine, ENGINE_SENT_BYTES, e->recv_bytes);
    e->sends = e->recvs = e->recv_bytes = 0;
}

static int null_poll(struct engine *engine, uint64_t deadline_ns)
{
    struct null_engine *e = null_self(engine);
    bool woken = park_take(&e->park);

    e->calls = 0;
    engine_count(engine, ENGINE_POLLS, 1);
    /* A turn may end without an upward call and still have given another one something to do. */
    null_rounds(e, NULL_CALLS_MAX);
    null_add_counts(e);
    if (__builtin_expect(e->calls > 0, 1)) {
        engine_count(engine, ENGINE_POLLS_USEFUL, 1);
        return (int)e->calls;
    }
    if (woken || deadline_ns == 0)
        return 0;
    /* Nothing can happen by itself now: whoever could send is this thread. */
    engine_count(engine, ENGINE_SYSTEM_CALLS, 1);
    park_wait(&e->park, deadline_ns);
    return 0;
}

static void null_wake(struct engine *engine)
{
    park_wake(&null_self(engine)->park);
}

/* --- opening and closing --- */

static int null_probe(const struct engine_config *config, struct engine_caps *caps,
                      struct lab_error *err)
{
    const struct engine_common *common = config->options;

    *caps = (struct engine_caps){
        .conns_max = NULL_CONNS_MAX,
        .both_sides = true,
        .unix_sockets = true,
    };
    engine_caps_add(caps, "zero-copy send", CAP_NATIVE, "memory is lent to the far end as it is");
    engine_caps_add(caps, "zero-copy receive", CAP_NATIVE, NULL);
    engine_caps_add(caps, "file send", CAP_EMULATED, "read into a buffer");
    if (common->sndbuf != 0 || common->rcvbuf != 0)
        engine_caps_add(caps, "socket buffer sizes", CAP_NO_EFFECT, "there is no socket");
    if (config->cc != NULL)
        engine_caps_add(caps, "congestion control", CAP_NO_EFFECT, "there is no network");
    return 0;
}

static int null_open(struct engine **engine, const struct engine_config *config,
                     const struct engine_events *events, struct lab_error *err)
{
    const struct engine_common *common = config->options;
    struct null_engine *e = line_calloc(sizeof(*e));
    /* Both ends of every connection. */
    uint32_t hint = config->conns_hint < NULL_CONNS_MAX / 2 ? config->conns_hint * 2 : 0;

    if (e == NULL)
        return lab_fail(err, ENOMEM, "null: no memory for an instance");
    if (conns_open(&e->conns, sizeof(struct null_conn), hint, NULL_CONNS_MAX) < 0 ||
        null_add_chunk(e) < 0) {
        conns_close(&e->conns);
        free(e->chunks);
        free(e);
        return lab_fail(err, ENOMEM, "null: no memory for %u connections", config->conns_hint);
    }
    e->engine.events = events;
    null_probe(config, &e->engine.caps, NULL);
    e->ready.end = &e->ready.first;
    e->embryos.end = &e->embryos.first;
    for (unsigned i = 0; i < 2; i++)
        e->sides[i].waiting.end = &e->sides[i].waiting.first;
    e->quota_bytes = common->loan_bytes;
    e->lent_max = common->bufs != 0 ? (uint32_t)common->bufs : UINT32_MAX;
    e->conn_lent_max = e->lent_max == UINT32_MAX ? UINT32_MAX : (e->lent_max + 1) / 2;
    e->limited = common->bufs != 0;
    e->port_next = NULL_PORT_FIRST;
    e->engine.ops = &null_engine;
    *engine = &e->engine;
    return 0;
}

static void null_close(struct engine *engine)
{
    struct null_engine *e = null_self(engine);
    uint32_t index = 0;
    struct null_conn *c;

    if (engine == NULL)
        return;
    e->closing = true;
    e->accept_paused = true;
    while ((c = conns_next(&e->conns, &index)) != NULL) {
        c->flags |= NULL_ABORTING;
        null_mark(e, c);
    }
    e->calls = 0;
    null_rounds(e, UINT32_MAX);
    /* Loans that are not back: their holders are told, and no return settles anything. */
    for (index = 0; (c = conns_next(&e->conns, &index)) != NULL;)
        c->flags |= NULL_LOST;
    for (index = 0; (c = conns_next(&e->conns, &index)) != NULL;)
        null_force(e, c);
    conns_close(&e->conns);
    while (e->blocks != NULL) {
        struct null_block *block = e->blocks;
        e->blocks = block->next;
        free(block);
    }
    for (unsigned i = 0; i < e->chunks_count; i++) {
        for (unsigned k = 0; k < NULL_CHUNK; k++)
            free(e->chunks[i][k].block);
        free(e->chunks[i]);
    }
    free(e->chunks);
    free(e->listeners);
    free(e);
}

/* --- listening, connecting --- */

static bool null_addr_is_any(const struct addr *addr)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr->sa;

    if (addr->sa.ss_family == AF_INET)
        return in->sin_addr.s_addr == htonl(INADDR_ANY);
    return addr->sa.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

/* Of one family and port, and one host or any. */
static bool null_addr_meets(const struct addr *a, const struct addr *b)
{
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)&a->sa;
    const struct sockaddr_in *b4 = (const struct sockaddr_in *)&b->sa;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)&a->sa;
    const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)&b->sa;

    if (a->sa.ss_family != b->sa.ss_family)
        return false;
    if (a->sa.ss_family != AF_INET && a->sa.ss_family != AF_INET6)
        return a->size == b->size && memcmp(&a->sa, &b->sa, a->size) == 0;
    if (addr_port(a) != addr_port(b))
        return false;
    if (null_addr_is_any(a) || null_addr_is_any(b))
        return true;
    if (a->sa.ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

static struct null_listener *null_find_listener(struct null_engine *e, const struct addr *addr)
{
    for (unsigned i = 0; i < e->listeners_count; i++)
        if (null_addr_meets(&e->listeners[i].addr, addr))
            return &e->listeners[i];
    return NULL;
}

static void null_set_port(struct null_engine *e, struct addr *addr)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&addr->sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr->sa;
    uint16_t port = htons(e->port_next++);

    if (e->port_next == 0)
        e->port_next = NULL_PORT_FIRST;
    if (addr->sa.ss_family == AF_INET)
        in->sin_port = port;
    else if (addr->sa.ss_family == AF_INET6)
        in6->sin6_port = port;
}

static int null_listen(struct engine *engine, const struct addr *addr, void *listener_ctx,
                       struct addr *bound, struct lab_error *err)
{
    struct null_engine *e = null_self(engine);
    struct null_listener made = {.addr = *addr, .ctx = listener_ctx};
    bool any_port = addr->sa.ss_family != AF_UNIX && addr_port(addr) == 0;
    char text[ADDR_TEXT_MAX];

    do {
        if (any_port)
            null_set_port(e, &made.addr);
    } while (any_port && null_find_listener(e, &made.addr) != NULL);
    if (null_find_listener(e, &made.addr) != NULL)
        return lab_fail(err, EADDRINUSE,
                        "null: %s is listened on already; take another address (port 0: a free "
                        "one)",
                        addr_format(addr, text));
    struct null_listener *grown =
        realloc(e->listeners, (e->listeners_count + 1) * sizeof(*e->listeners));
    if (grown == NULL)
        return lab_fail(err, ENOMEM, "null: no memory to listen");
    e->listeners = grown;
    e->listeners[e->listeners_count++] = made;
    if (bound != NULL)
        *bound = made.addr;
    return 0;
}

static void null_accept_pause(struct engine *engine)
{
    null_self(engine)->accept_paused = true;
}

static void null_accept_resume(struct engine *engine)
{
    null_self(engine)->accept_paused = false;
}

/* An embryo that on_accept gave, or NULL. */
static struct null_conn *null_find_embryo(struct null_engine *e,
                                          const struct engine_accepted *accepted)
{
    struct null_conn *c = conns_find(&e->conns, (uint64_t)accepted->token);
    uint32_t wanted = NULL_EMBRYO | NULL_ANNOUNCED;

    return c != NULL && (c->flags & (wanted | NULL_ABORTING)) == wanted ? c : NULL;
}

static void null_accept_refuse(struct engine *engine, struct engine_accepted *accepted)
{
    struct null_engine *e = null_self(engine);
    struct null_conn *c = null_find_embryo(e, accepted);

    if (c == NULL)
        return;
    c->flags |= NULL_ABORTING;
    null_mark(e, c);
}

static int null_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                       uint64_t *conn)
{
    struct null_engine *e = null_self(engine);
    struct null_conn *c = null_find_embryo(e, accepted);

    if (c == NULL || e->closing)
        return c == NULL ? -ESTALE : -ESHUTDOWN;
    c->flags &= ~(uint32_t)(NULL_EMBRYO | NULL_ANNOUNCED);
    c->ctx = ctx;
    free(c->remote);
    c->remote = NULL;
    null_mark(e, c);
    if (c->far != NULL)
        null_mark(e, c->far);
    *conn = conns_handle(c);
    return 0;
}

/* Makes the far end of a connecting one and has it announced. */
static int null_pair(struct null_engine *e, struct null_conn *c, const struct addr *local,
                     const struct null_listener *listener)
{
    struct null_conn *far = null_conn_new(e, NULL_EMBRYO, NULL);
    struct addr *remote = malloc(sizeof(*remote));

    if (far == NULL || remote == NULL) {
        if (far != NULL)
            conns_give(&e->conns, far);
        free(remote);
        return -ENOMEM;
    }
    *remote = local != NULL && local->size != 0 ? *local : listener->addr;
    if (remote->sa.ss_family == AF_UNIX)
        remote->size = sizeof(sa_family_t); /* unnamed, as a client's is */
    else
        null_set_port(e, remote);
    far->remote = remote;
    far->accepted = true;
    far->listener = (unsigned)(listener - e->listeners);
    far->far = c;
    c->far = far;
    null_list_add(&e->embryos, far);
    return 0;
}

static int null_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                        void *ctx, uint64_t *conn)
{
    struct null_engine *e = null_self(engine);
    struct null_listener *listener = null_find_listener(e, remote);

    if (e->closing)
        return -ESHUTDOWN;
    struct null_conn *c = null_conn_new(e, listener != NULL ? NULL_OPEN_DUE : NULL_REFUSED, ctx);
    if (c == NULL)
        return -ENOMEM;
    if (listener != NULL && null_pair(e, c, local, listener) < 0) {
        conns_give(&e->conns, c);
        return -ENOMEM;
    }
    null_mark(e, c);
    *conn = conns_handle(c);
    return 0;
}

static const struct metric_def null_metrics[] = {ENGINE_METRICS, {0}};

const struct engine_ops null_engine = {
    .name = "null",
    .help = "no network: everything completes in memory, the harness's own ceiling",
    .flags = ENGINE_FOR_TESTS,
    .options_size = sizeof(struct engine_common),
    .metrics = null_metrics,
    .probe = null_probe,
    .open = null_open,
    .close = null_close,
    .poll = null_poll,
    .wake = null_wake,
    .listen = null_listen,
    .accept_pause = null_accept_pause,
    .accept_resume = null_accept_resume,
    .accept_refuse = null_accept_refuse,
    .attach = null_attach,
    .connect = null_connect,
    .recv_pause = null_recv_pause,
    .recv_resume = null_recv_resume,
    .send = null_send,
    .send_end = null_send_end,
    .conn_close = null_conn_close,
};

/*
 * See stack.h: connections. lwIP's callbacks pass on what happened and return; what moves a
 * connection between the library's lists is wrapped so that they are the right ones (reach.h).
 */
#include <errno.h>
#include <string.h>

#include "engines/dpdk/stack_internal.h"

#define STACK_WRITE_MOST 0xffffu
#define STACK_BACKLOG    255
#define STACK_WINDOW     131070u /* wide: what 16 bits can announce, scaled by the library's 1 */
#define STACK_ACK_LAZY   24576u  /* bytes of full segments before they are acknowledged */
#define STACK_REFILL     8192u   /* bytes of room that are worth a write of a stream */
#define STACK_OWED_MOST  WIRE_BURST_MAX
#define STACK_OWED_LONG  8u /* bursts without a pause, after which all have theirs */

static struct tcp_pcb *pcb_of(const struct stack_conn *conn)
{
    return (struct tcp_pcb *)(uintptr_t)conn;
}

/* --- addresses --- */

static void addr_from_lwip(const ip_addr_t *address, u16_t port, struct addr *addr)
{
    if (IP_IS_V6(address)) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = lwip_htons(port)};
        memcpy(&in6.sin6_addr, ip_2_ip6(address)->addr, sizeof(in6.sin6_addr));
        *addr = (struct addr){.size = sizeof(in6)};
        memcpy(&addr->sa, &in6, sizeof(in6));
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = lwip_htons(port)};
        in.sin_addr.s_addr = ip_2_ip4(address)->addr;
        *addr = (struct addr){.size = sizeof(in)};
        memcpy(&addr->sa, &in, sizeof(in));
    }
}

static void addr_to_lwip(const struct addr *addr, ip_addr_t *address)
{
    memset(address, 0, sizeof(*address));
    if (addr->sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&addr->sa;
        memcpy(ip_2_ip6(address)->addr, &in6->sin6_addr, sizeof(in6->sin6_addr));
        IP_SET_TYPE(address, IPADDR_TYPE_V6);
    } else {
        const struct sockaddr_in *in = (const void *)&addr->sa;
        ip_2_ip4(address)->addr = in->sin_addr.s_addr;
        IP_SET_TYPE(address, IPADDR_TYPE_V4);
    }
}

/* --- acknowledgements --- */

/*
 * lwIP acknowledges every other segment, which costs the sender as much as a segment does. Of full
 * ones, so many bytes are acknowledged at once, and what is left when nothing more has come, or
 * after some bursts: one connection's stream must not keep another from its own. Here are those to
 * whom something is owed.
 */
static struct {
    struct {
        struct tcp_pcb *pcb;
        uint32_t bytes;
    } to[STACK_OWED_MOST];
    unsigned count, bursts;
} owed;

static void owe(struct tcp_pcb *pcb, uint32_t bytes)
{
    unsigned i = 0;

    while (i < owed.count && owed.to[i].pcb != pcb)
        i++;
    if (i == owed.count) {
        if (owed.count == STACK_OWED_MOST)
            return;
        owed.to[owed.count].pcb = pcb;
        owed.to[owed.count++].bytes = 0;
    }
    owed.to[i].bytes += bytes;
    if (owed.to[i].bytes >= STACK_ACK_LAZY) {
        owed.to[i].bytes = 0;
        tcp_ack_now(pcb);
    } else {
        tcp_clear_flags(pcb, TF_ACK_DELAY | TF_ACK_NOW);
    }
}

/* By context: lwIP may have freed the connection when it says so, but then its memory lies in a
 * list of reach.c, and still has that. */
static void owe_no_more(const void *context)
{
    for (unsigned i = 0; i < owed.count; i++)
        if (owed.to[i].pcb->callback_arg == context)
            owed.to[i--] = owed.to[--owed.count];
}

void stack_acknowledge(bool useful)
{
    if (useful && ++owed.bursts < STACK_OWED_LONG)
        return;
    owed.bursts = 0;
    while (owed.count > 0) {
        struct tcp_pcb *pcb = owed.to[--owed.count].pcb;
        if (owed.to[owed.count].bytes > 0) {
            tcp_ack_now(pcb);
            tcp_output(pcb);
        }
    }
}

/* --- what the library tells --- */

static uint32_t conns_heard; /* those whose callbacks are set */

/* A pbuf that is none of ours (put together from fragments): into frames, by copying. */
static bool receive_copied(void *context, struct pbuf *p)
{
    for (u16_t done = 0; done < p->len;) {
        size_t room, left = (size_t)(p->len - done);
        struct wire_frame *frame = wire_frame_new(&room);
        if (frame == NULL)
            return false;
        room = room < left ? room : left;
        memcpy(frame->buf.data, (uint8_t *)p->payload + done, room);
        frame->buf.size = (uint32_t)room;
        done = (u16_t)(done + room);
        stack.config.events->received(context, frame);
    }
    pbuf_free(p);
    return true;
}

static err_t conn_received(void *context, struct tcp_pcb *pcb, struct pbuf *p, err_t err);

static void conn_listen_no_more(struct tcp_pcb *pcb)
{
    if (pcb->recv == conn_received)
        conns_heard--;
    owe_no_more(pcb->callback_arg);
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
}

static err_t conn_received(void *context, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct pbuf *next;

    if (p == NULL) {
        stack.config.events->ended(context);
        return ERR_OK;
    }
    if (p->tot_len >= pcb->mss && reach_is_on())
        owe(pcb, p->tot_len);
    for (; p != NULL; p = next) {
        next = p->next;
        p->next = NULL;
        p->tot_len = p->len;
        struct wire_frame *frame = stack_frame_of(p);
        if (__builtin_expect(frame != NULL && p->len > 0, 1)) {
            frame->buf.data = p->payload;
            frame->buf.size = p->len;
            stack.kept--;
            stack.config.events->received(context, frame);
        } else if (p->len == 0) {
            pbuf_free(p);
        } else if (!receive_copied(context, p)) {
            pbuf_free(p);
            if (next != NULL)
                pbuf_free(next);
            conn_listen_no_more(pcb);
            tcp_abort(pcb);
            stack.config.events->gone(context, ENOMEM);
            return ERR_ABRT;
        }
    }
    return ERR_OK;
}

static err_t conn_acknowledged(void *context, struct tcp_pcb *pcb, u16_t bytes)
{
    stack.config.events->acknowledged(context);
    return ERR_OK;
}

static void conn_gone(void *context, err_t err)
{
    int code = ETIMEDOUT;

    conns_heard--;
    owe_no_more(context);
    if (err == ERR_RST)
        code = ECONNRESET;
    else if (err == ERR_CLSD)
        code = 0;
    stack.config.events->gone(context, code);
}

/* lwIP's own window, which is seven segments of 9000 bytes, is too small for both sides to work at
 * once: 0.7 of what twice that gives, and some 0.95 with 45 segments of 1500. */
static void conn_widen(struct tcp_pcb *pcb)
{
    if (conns_heard > stack.config.wide || !(pcb->flags & TF_WND_SCALE))
        return;
    pcb->snd_buf += STACK_WINDOW - TCP_SND_BUF;
    pcb->rcv_wnd = STACK_WINDOW;
}

static err_t conn_connected(void *context, struct tcp_pcb *pcb, err_t err)
{
    conn_widen(pcb);
    stack.config.events->connected(context);
    return ERR_OK;
}

static void conn_listen_to(struct tcp_pcb *pcb, void *context)
{
    conns_heard++;
    tcp_arg(pcb, context);
    tcp_recv(pcb, conn_received);
    tcp_sent(pcb, conn_acknowledged);
    tcp_err(pcb, conn_gone);
    tcp_nagle_disable(pcb);
}

static err_t listener_accepted(void *context, struct tcp_pcb *pcb, err_t err)
{
    if (pcb == NULL || err != ERR_OK)
        return ERR_OK;
    void *conn = stack.config.events->accepted(context, (struct stack_conn *)pcb);
    if (conn == NULL) {
        conn_listen_no_more(pcb);
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    conn_listen_to(pcb, conn);
    conn_widen(pcb);
    return ERR_OK;
}

/* --- listening --- */

static int listen_error(err_t err)
{
    switch (err) {
    case ERR_USE: return -EADDRINUSE;
    case ERR_MEM:
    case ERR_BUF: return -ENOMEM;
    default: return -EADDRNOTAVAIL;
    }
}

int stack_listen(const struct addr *addr, void *context, struct stack_listener **out,
                 struct addr *bound)
{
    bool six = addr->sa.ss_family == AF_INET6;
    ip_addr_t own;
    err_t r = ERR_MEM;

    reach_join();
    struct tcp_pcb *pcb = tcp_new_ip_type(six ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
    if (pcb != NULL) {
        /* One that waits in TIME_WAIT does not keep its port from a listener. */
        ip_set_option(pcb, SOF_REUSEADDR);
        r = tcp_bind(pcb, six ? IP6_ADDR_ANY : IP4_ADDR_ANY, addr_port(addr));
    }
    struct tcp_pcb *listening = NULL;
    if (r == ERR_OK) {
        tcp_bind_netif(pcb, &stack.netif);
        listening = tcp_listen_with_backlog_and_err(pcb, STACK_BACKLOG, &r);
    }
    if (listening != NULL) {
        tcp_arg(listening, context);
        tcp_accept(listening, listener_accepted);
        ip_addr_copy_from_ip4(own, *netif_ip4_addr(&stack.netif));
        if (six)
            ip_addr_copy_from_ip6(own, *netif_ip6_addr(&stack.netif, 1));
        addr_from_lwip(&own, listening->local_port, bound);
        *out = (struct stack_listener *)listening;
        r = ERR_OK;
    } else if (pcb != NULL) {
        tcp_abort(pcb);
    }
    reach_split();
    return r == ERR_OK ? 0 : listen_error(r);
}

void stack_listener_close(struct stack_listener *listener)
{
    reach_join();
    tcp_close((struct tcp_pcb *)listener);
    reach_split();
}

/* --- connecting --- */

static int connect_error(err_t err)
{
    switch (err) {
    case ERR_BUF:
    case ERR_USE: return -EADDRNOTAVAIL;
    case ERR_MEM: return -ENOMEM;
    default: return -ENETUNREACH;
    }
}

static bool local_is_ours(const struct addr *local)
{
    ip_addr_t address;

    if (local == NULL || local->size == 0)
        return true;
    addr_to_lwip(local, &address);
    if (ip_addr_isany(&address))
        return true;
    return IP_IS_V6(&address)
               ? ip6_addr_cmp_zoneless(ip_2_ip6(&address), netif_ip6_addr(&stack.netif, 1))
               : ip4_addr_cmp(ip_2_ip4(&address), netif_ip4_addr(&stack.netif));
}

int stack_connect(const struct addr *remote, const struct addr *local, void *context,
                  struct stack_conn **out)
{
    u16_t port = addr_port(remote);
    ip_addr_t address;

    if (!local_is_ours(local))
        return -EADDRNOTAVAIL;
    addr_to_lwip(remote, &address);
    struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&address));
    if (pcb == NULL)
        return -ENOMEM;
    conn_listen_to(pcb, context);
    tcp_bind_netif(pcb, &stack.netif);
    pcb->local_port = reach_port(&pcb->local_ip, &address, port);
    if (pcb->local_port == 0 && reach_is_on()) {
        conn_listen_no_more(pcb);
        tcp_abort(pcb);
        return -EADDRNOTAVAIL;
    }
    pcb->remote_port = port;
    ip_addr_copy(pcb->remote_ip, address);
    reach_enter(pcb);
    err_t r = tcp_connect(pcb, &address, port, conn_connected);
    if (r != ERR_OK) {
        conn_listen_no_more(pcb);
        pcb->local_port = 0; /* it is in no list */
        tcp_abort(pcb);
    }
    reach_leave();
    if (r != ERR_OK)
        return connect_error(r);
    *out = (struct stack_conn *)pcb;
    return 0;
}

void stack_negotiate(const ip_addr_t *remote, u16_t remote_port, u16_t local_port, u16_t mss)
{
    struct tcp_pcb *pcb = reach_find(remote, remote_port, local_port);

    mss = mss < stack.mss ? mss : stack.mss;
    if (pcb == NULL || mss <= STACK_MSS_LIBRARY)
        return;
    pcb->mss = mss;
    if (pcb->state == ESTABLISHED)
        pcb->cwnd = 4u * mss;
}

/* --- a connection's life --- */

void stack_attach(struct stack_conn *conn, void *context)
{
    tcp_arg(pcb_of(conn), context);
}

void stack_remote(const struct stack_conn *conn, struct addr *remote)
{
    const struct tcp_pcb *pcb = pcb_of(conn);

    addr_from_lwip(&pcb->remote_ip, pcb->remote_port, remote);
}

void stack_limit(struct stack_conn *conn, uint32_t sndbuf)
{
    struct tcp_pcb *pcb = pcb_of(conn);

    if (sndbuf > 0 && sndbuf < pcb->snd_buf)
        pcb->snd_buf = sndbuf;
}

size_t stack_room(const struct stack_conn *conn, uint64_t wanted)
{
    const struct tcp_pcb *pcb = pcb_of(conn);
    size_t room = pcb->snd_buf;

    if (__builtin_expect(wanted <= room, 1))
        return room;
    if (room < STACK_REFILL && (pcb->unacked != NULL || pcb->unsent != NULL))
        return 0;
    return room > pcb->mss ? room - room % pcb->mss : room;
}

size_t stack_write(struct stack_conn *conn, const void *data, size_t size, bool more)
{
    struct tcp_pcb *pcb = pcb_of(conn);
    size_t done = 0;

    if (__builtin_expect(size <= pcb->mss && size <= pcb->snd_buf, 1) &&
        tcp_write(pcb, data, (u16_t)size, TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0)) ==
            ERR_OK)
        return size;
    while (done < size) {
        size_t piece = size - done, room = pcb->snd_buf;
        piece = piece < room ? piece : room;
        if (piece > STACK_WRITE_MOST)
            piece = STACK_WRITE_MOST - STACK_WRITE_MOST % pcb->mss;
        if (piece == 0)
            break;
        u8_t flags = TCP_WRITE_FLAG_COPY;
        if (more || done + piece < size)
            flags |= TCP_WRITE_FLAG_MORE;
        err_t r = tcp_write(pcb, (const uint8_t *)data + done, (u16_t)piece, flags);
        /* The queue of segments may have room for some of it. */
        while (r == ERR_MEM && piece > pcb->mss) {
            piece = piece / 2 > pcb->mss ? piece / 2 : pcb->mss;
            r = tcp_write(pcb, (const uint8_t *)data + done, (u16_t)piece, flags);
        }
        if (r != ERR_OK)
            break;
        done += piece;
    }
    return done;
}

void stack_push(struct stack_conn *conn)
{
    tcp_output(pcb_of(conn));
}

void stack_open_window(struct stack_conn *conn, uint32_t bytes)
{
    struct tcp_pcb *pcb = pcb_of(conn);

    if (stack.config.wide > 0 && (pcb->flags & TF_WND_SCALE)) {
        /* As tcp_recved() does it, but for the window's size; and while much of it is open, the
         * peer can wait to be told of more. */
        uint32_t open = pcb->rcv_ann_right_edge - pcb->rcv_nxt, inflation;
        pcb->rcv_wnd += bytes;
        inflation = tcp_update_rcv_ann_wnd(pcb);
        if (inflation >= STACK_WINDOW / 4 ||
            (inflation >= TCP_WND_UPDATE_THRESHOLD && open < STACK_WINDOW / 4)) {
            tcp_ack_now(pcb);
            tcp_output(pcb);
        }
        return;
    }
    for (; bytes > 0xffff; bytes -= 0xffff)
        tcp_recved(pcb, 0xffff);
    tcp_recved(pcb, (u16_t)bytes);
}

bool stack_end(struct stack_conn *conn)
{
    return tcp_shutdown(pcb_of(conn), 0, 1) == ERR_OK;
}

bool stack_end_acknowledged(const struct stack_conn *conn)
{
    enum tcp_state state = pcb_of(conn)->state;

    return state == FIN_WAIT_2 || state == TIME_WAIT || state == CLOSED;
}

bool stack_is_over(const struct stack_conn *conn)
{
    return pcb_of(conn)->state == TIME_WAIT;
}

void stack_forget(struct stack_conn *conn)
{
    struct tcp_pcb *pcb = pcb_of(conn);

    conn_listen_no_more(pcb);
    if (pcb->state == TIME_WAIT)
        return;
    reach_enter(pcb);
    tcp_close(pcb);
    reach_leave();
}

static void conn_abandon(struct stack_conn *conn, bool reset)
{
    struct tcp_pcb *pcb = pcb_of(conn);

    conn_listen_no_more(pcb);
    reach_enter(pcb);
    tcp_abandon(pcb, reset);
    reach_leave();
}

void stack_abort(struct stack_conn *conn)
{
    conn_abandon(conn, true);
}

void stack_cut(struct stack_conn *conn)
{
    conn_abandon(conn, !stack.config.direct);
}

void stack_forget_early(void)
{
    reach_join();
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next)
        if (pcb->ooseq != NULL)
            tcp_free_ooseq(pcb);
    reach_split();
}

void stack_peer_has_gone(void)
{
    struct tcp_pcb *next;

    if (!stack.config.direct)
        return;
    reach_join();
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = next) {
        next = pcb->next;
        if (pcb->state != SYN_SENT)
            tcp_abandon(pcb, 0);
    }
    while (tcp_tw_pcbs != NULL)
        tcp_abandon(tcp_tw_pcbs, 0);
    reach_split();
}

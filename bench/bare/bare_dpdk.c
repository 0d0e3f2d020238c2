/*
 * A bare DPDK + lwIP echo pair: two processes over memif, the packaged libraries, and every trick
 * around them that was found to be worth something. The limit that lab's dpdk engine is compared
 * with. Both sides poll; neither makes a system call.
 *
 *     bare_dpdk server --port 0 --size 64 --cpu 0
 *     bare_dpdk client --port P --size 64 --cpu 1 --connections 32
 *
 * The port is TCP's, and names the memif: a link of two has no other use for it.
 */
#include "bare.h"

#include "bare_dpdk.h"
#include "bare_dpdk_lwip.h"

#define SERVER_ADDRESS LWIP_MAKEU32(10, 0, 0, 1)
#define CLIENT_ADDRESS LWIP_MAKEU32(10, 0, 0, 2)
#define FIRST_PORT     2048u  /* of the client's connections */
#define REFILL         8192u  /* one way: bytes of the send buffer that are worth a write */
#define LAZY_WINDOW    8192u  /* bytes taken before the stack is told that they are */
#define LAZY_ACK       24576u /* one way: bytes received before that is acknowledged */
#define QUIET_MAX      1024u  /* connections that can owe such an acknowledgement */
#define UNDER_WAY      128u   /* connections that are being opened at once */
#define ROUNDS_A_CLOCK 256u   /* polls between two looks at the clock */

static bool stopped;

static void stop(int signo)
{
    (void)signo;
    stopped = true;
}

/* ---- the loop ---- */

static void acknowledge_all(void);

/* What came in is worked off and answered before more is looked for. */
static inline void poll_link(void)
{
    static unsigned rounds;

    if (!stack_poll()) {
        meter.now.empty_polls++;
        acknowledge_all();
    }
    if (unlikely(rounds++ % ROUNDS_A_CLOCK == 0))
        stack_tick(now_ns());
}

/* ---- server ---- */

/* Of a connection. What was received and cannot be sent back yet waits; the window with it. */
struct peer {
    struct discard discard;
    struct pbuf *first, **last;
    u16_t at; /* bytes of the first that are gone */
    u32_t taken;
    u32_t owed; /* one way: received and not acknowledged */
    bool is_quiet;
    struct tcp_pcb *pcb;
};

static size_t peers_open;

static struct {
    struct peer *of[QUIET_MAX];
    unsigned count;
} quiet;

static inline void take(struct tcp_pcb *pcb, u32_t *taken, u16_t n)
{
    *taken += n;
    if (unlikely(*taken >= LAZY_WINDOW)) {
        stack_taken(pcb, *taken);
        *taken = 0;
    }
}

/*
 * TCP acknowledges every other segment, and each acknowledgement costs the sender as much as a
 * segment does. A fifth of the window at once will do, and what is left when nothing more comes.
 */
static inline void acknowledge_later(struct peer *p, u16_t n)
{
    p->owed += n;
    if (p->owed >= LAZY_ACK || (!p->is_quiet && quiet.count == QUIET_MAX)) {
        p->owed = 0;
        stack_acknowledge(p->pcb);
        return;
    }
    stack_keep_quiet(p->pcb);
    if (!p->is_quiet)
        quiet.of[quiet.count++] = p;
    p->is_quiet = true;
}

static void acknowledge_all(void)
{
    while (quiet.count) {
        struct peer *p = quiet.of[--quiet.count];
        p->is_quiet = false;
        if (p->owed)
            stack_acknowledge(p->pcb);
        p->owed = 0;
    }
}

static void forget(struct peer *p)
{
    for (unsigned i = 0; p->is_quiet && i < quiet.count; i++)
        if (quiet.of[i] == p)
            quiet.of[i] = quiet.of[--quiet.count];
    while (p->first) {
        struct pbuf *next = p->first->next;
        p->first->next = NULL;
        pbuf_free(p->first);
        p->first = next;
    }
    free(p);
    peers_open--;
}

static void peer_lost(void *arg, err_t error)
{
    (void)error;
    forget(arg);
}

/* What is kept goes out as far as there is room. */
static err_t send_kept(void *arg, struct tcp_pcb *pcb, u16_t acked)
{
    struct peer *p = arg;

    (void)acked;
    while (p->first) {
        struct pbuf *b = p->first;
        u16_t left = (u16_t)(b->len - p->at), n = (u16_t)LWIP_MIN(left, tcp_sndbuf(pcb));

        if (!n || tcp_write(pcb, (char *)b->payload + p->at, n, TCP_WRITE_FLAG_COPY))
            break;
        take(pcb, &p->taken, n);
        p->at = (u16_t)(p->at + n);
        if (p->at < b->len)
            break;
        p->first = b->next;
        p->at = 0;
        b->next = NULL;
        pbuf_free(b);
    }
    if (!p->first)
        p->last = &p->first;
    return ERR_OK;
}

static void keep(struct peer *p, struct pbuf *b)
{
    *p->last = b;
    while (b->next)
        b = b->next;
    p->last = &b->next;
}

static uint64_t verified;

static void verify(const struct pbuf *b, uint64_t at)
{
    for (; b; at += b->len, b = b->next)
        for (size_t i = 0, n; i < b->len; i += n) {
            size_t pos = (at + i) % opt.size;
            n = opt.size - pos < b->len - i ? opt.size - pos : b->len - i;
            if (memcmp((char *)b->payload + i, pattern + pos, n))
                die("byte %" PRIu64 " or after it is not what was sent", at + i);
            verified += n;
        }
}

static err_t discard(struct tcp_pcb *pcb, struct peer *p, struct pbuf *b)
{
    u16_t n = b->tot_len;

    if (opt.verify)
        verify(b, p->discard.received);
    pbuf_free(b);
    take(pcb, &p->taken, n);
    acknowledge_later(p, n);
    /* No room: the next one says it. */
    if (ack_due(&p->discard, n) && tcp_sndbuf(pcb) >= 8)
        tcp_write(pcb, &p->discard.acked, 8, TCP_WRITE_FLAG_COPY);
    return ERR_OK;
}

static err_t asked(void *arg, struct tcp_pcb *pcb, struct pbuf *b, err_t error)
{
    struct peer *p = arg;

    (void)error;
    if (unlikely(!b)) {
        tcp_arg(pcb, NULL);
        tcp_err(pcb, NULL);
        forget(p);
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    meter.now.bytes += b->tot_len;
    if (opt.one_way)
        return discard(pcb, p, b);
    if (likely(!p->first && !b->next && b->len <= tcp_sndbuf(pcb)) &&
        likely(!tcp_write(pcb, b->payload, b->len, TCP_WRITE_FLAG_COPY))) {
        take(pcb, &p->taken, b->len);
        pbuf_free(b);
        return ERR_OK;
    }
    keep(p, b);
    return send_kept(p, pcb, 0);
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t error)
{
    struct peer *p;

    (void)arg;
    if (error)
        return error;
    p = zeroed(1, sizeof(*p));
    p->last = &p->first;
    p->pcb = pcb;
    peers_open++;
    stack_ready(pcb);
    tcp_arg(pcb, p);
    tcp_recv(pcb, asked);
    tcp_sent(pcb, opt.one_way ? NULL : send_kept);
    tcp_err(pcb, peer_lost);
    return ERR_OK;
}

/* A free number is one whose abstract socket can be bound; memif binds it a moment later. */
static void choose_port(void)
{
    for (int port = 1024 + getpid() % 50000; !opt.port; port++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, LINK_NAME "%d", port);

        if (!bind(fd, (struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)))
            opt.port = port;
        close(fd);
    }
}

static void run_server(void)
{
    struct sigaction action = {.sa_handler = stop};

    sigaction(SIGTERM, &action, NULL);
    if (!opt.port)
        choose_port();
    if (opt.verify)
        make_pattern();
    link_open(true, opt.cpu, (unsigned)opt.port, opt.mtu);
    stack_open(SERVER_ADDRESS, CLIENT_ADDRESS, opt.mtu);
    stack_listen((u16_t)opt.port, accepted);
    printf("listening on 127.0.0.1:%d\n", opt.port);
    fflush(stdout);
    while (!stopped) {
        poll_link();
        /* Nobody is there: let memif's thread, on the same core, make or end a link meanwhile. */
        if (unlikely(!peers_open))
            usleep(50);
    }
    if (opt.verify)
        fprintf(stderr, "%" PRIu64 " bytes verified\n", verified);
}

/* ---- client ---- */

static struct link {
    struct tcp_pcb *pcb;
    uint64_t op, begun_ns;
    size_t sent, got;
    u32_t taken;
    struct ack_reader acks;
} * links;

static unsigned opened;
static bool over;

static void server_lost(void *arg, err_t error)
{
    server_gone((uint64_t)((struct link *)arg - links), error == ERR_RST ? ECONNRESET : ETIMEDOUT);
}

/* All connections send from the one pattern: tcp_write() copies, and its head is free again. */
static inline void send_message(struct link *l)
{
    put_head(pattern, (uint64_t)(l - links), l->op);
    while (l->sent < opt.size) {
        size_t left = LWIP_MIN(opt.size - l->sent, 65535), n = LWIP_MIN(left, tcp_sndbuf(l->pcb));

        if (!n || tcp_write(l->pcb, pattern + l->sent, (u16_t)n, TCP_WRITE_FLAG_COPY))
            break;
        l->sent += n;
    }
}

static err_t go_on(void *arg, struct tcp_pcb *pcb, u16_t acked)
{
    struct link *l = arg;

    (void)pcb, (void)acked;
    if (unlikely(l->sent < opt.size))
        send_message(l);
    return ERR_OK;
}

static err_t answered(void *arg, struct tcp_pcb *pcb, struct pbuf *b, err_t error)
{
    struct link *l = arg;
    uint64_t i = (uint64_t)(l - links), now;

    (void)error;
    if (unlikely(!b))
        server_gone(i, 0);
    for (const struct pbuf *part = b; part; part = part->next) {
        if (unlikely(l->got + part->len > opt.size ||
                     !is_answer(part->payload, l->got, part->len, i, l->op)))
            wrong_answer(i, l->op, l->got);
        l->got += part->len;
    }
    take(pcb, &l->taken, b->tot_len);
    pbuf_free(b);
    if (l->got < opt.size)
        return ERR_OK;
    now = now_ns();
    if (op_done(now, now - l->begun_ns))
        over = true;
    l->begun_ns = now;
    l->op++;
    l->sent = l->got = 0;
    send_message(l);
    return ERR_OK;
}

/*
 * Whole segments only: what a short one lacks would be lost, since none grows once it is sent.
 * The pattern is repeated for as long as a write may be, so that a write never ends with it.
 */
static err_t write_more(void *arg, struct tcp_pcb *pcb, u16_t acked)
{
    struct link *l = arg;
    u32_t room = LWIP_MIN(pcb->snd_buf, 65535u);

    (void)acked;
    room -= room % pcb->mss;
    if (room < REFILL || tcp_write(pcb, pattern + l->sent, (u16_t)room, TCP_WRITE_FLAG_COPY))
        return ERR_OK;
    l->sent = (l->sent + room) % opt.size;
    return ERR_OK;
}

static err_t acknowledged(void *arg, struct tcp_pcb *pcb, struct pbuf *b, err_t error)
{
    struct link *l = arg;
    uint64_t now;

    (void)error;
    if (!b)
        server_gone((uint64_t)(l - links), 0);
    for (const struct pbuf *part = b; part; part = part->next)
        meter.now.bytes += read_acks(&l->acks, part->payload, part->len);
    take(pcb, &l->taken, b->tot_len);
    pbuf_free(b);
    now = now_ns();
    if (now >= meter.edge && window_edge(now))
        over = true;
    return ERR_OK;
}

static err_t connected(void *arg, struct tcp_pcb *pcb, err_t error)
{
    (void)arg, (void)error;
    stack_ready(pcb);
    tcp_recv(pcb, opt.one_way ? acknowledged : answered);
    tcp_sent(pcb, opt.one_way ? write_more : go_on);
    opened++;
    return ERR_OK;
}

static void wait_for_server(void)
{
    uint64_t end = now_ns() + 3000000000u;

    while (!link_is_up()) {
        if (now_ns() > end)
            die("no server: nobody answers on the memif of port %d", opt.port);
        usleep(1000);
    }
}

static void open_links(void)
{
    for (unsigned i = 0; i < opt.connections || opened < opt.connections;) {
        for (; i < opt.connections && i < opened + UNDER_WAY; i++)
            links[i].pcb = stack_connect((u16_t)(FIRST_PORT + i), (u16_t)opt.port, connected,
                                         server_lost, &links[i]);
        poll_link();
    }
}

static void make_stream(void)
{
    char *once = pattern;

    pattern = pages(opt.size + 65536);
    for (size_t i = 0; i < opt.size + 65536; i++)
        pattern[i] = once[i % opt.size];
    free(once);
}

/* With a reset each: nobody has to remember these connections, and the server sees that all end. */
static void close_links(void)
{
    uint64_t end = now_ns() + 20000000;

    for (unsigned i = 0; i < opt.connections; i++) {
        tcp_err(links[i].pcb, NULL);
        stack_abort(links[i].pcb);
    }
    while (now_ns() < end)
        poll_link();
}

static void run_client(void)
{
    if (opt.connections > 65535 - FIRST_PORT)
        die("--connections: a link of one address has ports for %u", 65535 - FIRST_PORT);
    links = zeroed(opt.connections, sizeof(*links));
    make_pattern();
    if (opt.one_way)
        make_stream();
    link_open(false, opt.cpu, (unsigned)opt.port, opt.mtu);
    stack_open(CLIENT_ADDRESS, SERVER_ADDRESS, opt.mtu);
    wait_for_server();
    open_links();
    start_window();
    for (unsigned i = 0; i < opt.connections; i++) {
        struct link *l = &links[i];

        l->begun_ns = now_ns();
        if (opt.one_way)
            write_more(l, l->pcb, 0);
        else
            send_message(l);
        tcp_output(l->pcb);
    }
    while (!over)
        poll_link();
    print_meter();
    fflush(stdout);
    close_links();
}

int main(int argc, char **argv)
{
    parse_options(argc, argv, CAN_SPIN | CAN_LINK | CAN_VERIFY);
    set_up_process();
    if (opt.server) {
        run_server();
        print_server(&meter.now);
    } else {
        run_client();
    }
    return 0;
}

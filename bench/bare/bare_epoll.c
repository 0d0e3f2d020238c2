/*
 * A bare epoll echo pair: what one thread a side can do with level-triggered epoll, one receive an
 * event and the answer sent at once. The limit that lab's epoll engine is compared with.
 *
 *     bare_epoll server --port 0 --size 64 --cpu 0
 *     bare_epoll client --port P --size 64 --cpu 1 --connections 32
 */
#include "bare_events.h"

#include <sys/signalfd.h>

/* ---- server ---- */

/* By fd. Only a connection whose peer does not read has anything to keep. */
static struct peer {
    struct discard discard;
    char *kept;
    size_t kept_at, kept_end;
} * peers;

/*
 * The accepted sockets block, for a tick at most. A receive that might wait goes on with what came
 * in while it copied (the socket's backlog); one that must not wait returns, and the sender, who
 * is the limit of a bulk stream over loopback, has to deliver the next packets by itself. It is
 * only called when there is something to read, so it does not in fact wait. Echo: no difference.
 */
static void set_least_wait(int listener)
{
    static const struct timeval tick = {.tv_usec = 1};

    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick));
}

static void accept_all(int listener)
{
    int fd;

    /* Until EAGAIN: one accept an event would cost a wait each. */
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        memset(&peers[fd], 0, sizeof(peers[fd]));
        watch(EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
    }
    if (errno == EMFILE || errno == ENFILE)
        die("accept: %s: raise the limit (ulimit -n)", strerror(errno));
}

static void drop(int fd)
{
    free(peers[fd].kept);
    close(fd);
}

/* The socket is full: keep the rest and read no more from this peer before that is gone. */
static void keep(int fd, const char *data, size_t n)
{
    struct peer *p = &peers[fd];

    p->kept = malloc(n);
    if (!p->kept)
        die("no memory for %zu bytes", n);
    memcpy(p->kept, data, n);
    p->kept_at = 0;
    p->kept_end = n;
    meter.now.syscalls++;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT, (uint64_t)fd);
}

static void send_kept(int fd)
{
    struct peer *p = &peers[fd];
    ssize_t n =
        send(fd, p->kept + p->kept_at, p->kept_end - p->kept_at, MSG_NOSIGNAL | MSG_DONTWAIT);

    meter.now.syscalls++;
    if (n < 0 && errno != EAGAIN) {
        drop(fd);
        return;
    }
    p->kept_at += n > 0 ? (size_t)n : 0;
    if (p->kept_at < p->kept_end)
        return;
    free(p->kept);
    p->kept = NULL;
    meter.now.syscalls++;
    watch(EPOLL_CTL_MOD, fd, EPOLLIN, (uint64_t)fd);
}

static inline void answer(int fd, const char *data, size_t n)
{
    ssize_t sent = send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

    meter.now.syscalls++;
    if (likely(sent == (ssize_t)n))
        return;
    if (sent < 0 && errno != EAGAIN)
        drop(fd);
    else
        keep(fd, data + (sent > 0 ? sent : 0), n - (size_t)(sent > 0 ? sent : 0));
}

static inline void serve(int fd, uint32_t ready, char *buffer, size_t room)
{
    ssize_t n;

    if (unlikely(ready & ~(uint32_t)EPOLLIN) && peers[fd].kept) {
        send_kept(fd);
        return;
    }
    n = recv(fd, buffer, room, 0);
    meter.now.syscalls++;
    if (unlikely(n <= 0)) {
        if (n == 0 || errno != EAGAIN)
            drop(fd);
        return;
    }
    meter.now.bytes += (size_t)n;
    if (!opt.one_way)
        answer(fd, buffer, (size_t)n);
    else if (ack_due(&peers[fd].discard, (size_t)n))
        answer(fd, (const char *)&peers[fd].discard.acked, 8);
}

static void run_server(void)
{
    size_t room = opt.one_way ? opt.rbuf : CHUNK_MAX;
    char *buffer = pages(room);
    struct epoll_event events[EVENTS];
    sigset_t term;
    int listener, stop;

    peers = zeroed(files_max(), sizeof(*peers));
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    stop = signalfd(-1, &term, SFD_CLOEXEC);
    listener = make_listener(SOCK_NONBLOCK);
    set_least_wait(listener);
    watch(EPOLL_CTL_ADD, stop, EPOLLIN, (uint64_t)stop);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, (uint64_t)listener);
    for (;;) {
        int n = wait_events(events);
        for (int i = 0; i < n; i++) {
            int fd = (int)events[i].data.u64;
            if (unlikely(fd == listener))
                accept_all(listener);
            else if (unlikely(fd == stop))
                return;
            else
                serve(fd, events[i].events, buffer, room);
        }
    }
}

/* ---- client ---- */

static struct link {
    uint64_t op, begun_ns;
    uint64_t written; /* one way: in all */
    size_t sent, got;
    int fd;
    bool waits_out; /* EPOLLOUT is asked for: the socket was full */
    struct ack_reader acks;
} * links;

static void want_out(unsigned i, bool wanted)
{
    if (links[i].waits_out == wanted)
        return;
    links[i].waits_out = wanted;
    meter.now.syscalls++;
    watch(EPOLL_CTL_MOD, links[i].fd, EPOLLIN | (wanted ? EPOLLOUT : 0), i);
}

/* All connections send from the one pattern: send() copies, so its head is free right after. */
static inline void send_message(unsigned i)
{
    struct link *l = &links[i];
    ssize_t n;

    put_head(pattern, i, l->op);
    n = send(l->fd, pattern + l->sent, opt.size - l->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    meter.now.syscalls++;
    if (unlikely(n < 0 && errno != EAGAIN))
        server_gone(i, errno);
    l->sent += n > 0 ? (size_t)n : 0;
    if (unlikely(l->sent < opt.size || l->waits_out))
        want_out(i, l->sent < opt.size);
}

static inline void begin_echo(unsigned i, uint64_t begun_ns)
{
    links[i].begun_ns = begun_ns;
    send_message(i);
}

/* In an open loop it spins: what is due comes between. */
static inline int wait_answers(struct epoll_event *events)
{
    if (!(opt.rate > 0))
        return wait_events(events);
    due_send(now_ns(), begin_echo);
    int n = epoll_wait(epfd, events, EVENTS, 0);
    meter.now.syscalls += n > 0;
    meter.now.empty_polls += n == 0;
    return n;
}

static void run_echo_client(void)
{
    char *buffer = pages(CHUNK_MAX);
    struct epoll_event events[EVENTS];

    start_window();
    begin_ops(begin_echo);
    for (;;) {
        int ready = wait_answers(events);
        for (int e = 0; e < ready; e++) {
            unsigned i = (unsigned)events[e].data.u64;
            struct link *l = &links[i];
            size_t left = opt.size - l->got;
            uint64_t now;
            ssize_t n;

            if (unlikely(events[e].events & EPOLLOUT) && l->waits_out)
                send_message(i);
            if (!(events[e].events & ~(uint32_t)EPOLLOUT))
                continue;
            n = recv(l->fd, buffer, left < CHUNK_MAX ? left : CHUNK_MAX, 0);
            meter.now.syscalls++;
            if (unlikely(n <= 0)) {
                if (n < 0 && errno == EAGAIN)
                    continue;
                server_gone(i, n ? errno : 0);
            }
            if (unlikely(!is_answer(buffer, l->got, (size_t)n, i, l->op)))
                wrong_answer(i, l->op, l->got);
            l->got += (size_t)n;
            if (l->got < opt.size)
                continue;
            now = now_ns();
            if (op_done(now, now - l->begun_ns))
                return;
            l->op++;
            l->sent = l->got = 0;
            next_op(i, now, begin_echo);
        }
    }
}

/* Until the socket is full, or enough is under way. */
static void write_on(unsigned i)
{
    struct link *l = &links[i];
    struct gather g;
    size_t bytes;

    while ((bytes = gather_writes(&g, &l->acks, l->written)) > 0) {
        ssize_t n = sendmsg(l->fd, &g.message, MSG_NOSIGNAL | MSG_DONTWAIT);
        meter.now.syscalls++;
        if (n < 0 && errno != EAGAIN)
            server_gone(i, errno);
        l->written += n > 0 ? (size_t)n : 0;
        /* With no bound it is full before long: what was acknowledged is looked at between. */
        if (n < (ssize_t)bytes || !opt.ahead) {
            want_out(i, true);
            return;
        }
    }
    want_out(i, false);
}

/* How much is known to have arrived, the server says. */
static void run_one_way_client(void)
{
    char buffer[1024];
    struct epoll_event events[EVENTS];

    start_window();
    for (unsigned i = 0; i < opt.connections; i++)
        write_on(i);
    for (;;) {
        int ready = wait_events(events);
        for (int e = 0; e < ready; e++) {
            unsigned i = (unsigned)events[e].data.u64;
            struct link *l = &links[i];

            if (events[e].events & ~(uint32_t)EPOLLOUT) {
                ssize_t n = recv(l->fd, buffer, sizeof(buffer), 0);
                uint64_t now;
                meter.now.syscalls++;
                if (n <= 0)
                    server_gone(i, n ? errno : 0);
                meter.now.bytes += read_acks(&l->acks, buffer, (size_t)n);
                now = now_ns();
                if (now >= meter.edge && window_edge(now))
                    return;
            }
            if (!l->waits_out || (events[e].events & EPOLLOUT))
                write_on(i);
        }
    }
}

static void run_client(void)
{
    links = zeroed(opt.connections, sizeof(*links));
    make_pattern();
    for (unsigned i = 0; i < opt.connections; i++) {
        links[i].fd = connect_one();
        pace_connects(i, links[i].fd);
    }
    for (unsigned i = 0; i < opt.connections; i++) {
        /* After connecting, which is simpler when it blocks. */
        fcntl(links[i].fd, F_SETFL, O_NONBLOCK);
        watch(EPOLL_CTL_ADD, links[i].fd, EPOLLIN, i);
    }
    if (opt.one_way)
        run_one_way_client();
    else
        run_echo_client();
    print_meter();
}

int main(int argc, char **argv)
{
    opt.rbuf = 256 * KIB;
    parse_options(argc, argv, CAN_SPIN | CAN_SOCKET | CAN_WAIT | CAN_RATE);
    set_up_process();
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (opt.server) {
        run_server();
        print_server(&meter.now);
    } else {
        run_client();
    }
    return 0;
}

/*
 * A bare blocking echo pair: a thread a connection on both sides, each in recv() or send() and
 * nothing else. The limit that lab's blocking engine is compared with.
 *
 *     bare_blocking server --port 0 --size 64 --cpu 0
 *     bare_blocking client --port P --size 64 --cpu 1 --connections 32
 */
#include "bare.h"

#include <poll.h>
#include <pthread.h>

#define STACK (64u * KIB)

/* A connection and its thread. Each counts for itself; the main thread adds up. */
struct thread {
    struct counts used;
    struct thread *next;
    struct hist *hist;
    uint64_t ops;
    unsigned number;
    int fd;
} __attribute__((aligned(64)));

static void start_thread(void *(*body)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t id;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&id, &attr, body, arg);
    if (error)
        die("cannot start another thread: %s", strerror(error));
    pthread_attr_destroy(&attr);
}

/* ---- server ---- */

static _Atomic(struct thread *) served;

static bool send_all(struct thread *t, const char *data, size_t n)
{
    while (n) {
        ssize_t sent = send(t->fd, data, n, MSG_NOSIGNAL);
        t->used.syscalls++;
        if (sent < 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void *serve(void *arg)
{
    struct thread *t = arg;
    struct discard discard = {0};
    size_t room = opt.one_way ? opt.rbuf : CHUNK_MAX;
    char *buffer = malloc(room);
    ssize_t n;

    if (!buffer)
        die("no memory for %zu bytes", room);
    while ((n = recv(t->fd, buffer, room, 0)) > 0) {
        bool good = true;
        t->used.syscalls++;
        t->used.bytes += (size_t)n;
        if (!opt.one_way)
            good = send_all(t, buffer, (size_t)n);
        else if (ack_due(&discard, (size_t)n))
            good = send_all(t, (const char *)&discard.acked, 8);
        if (!good)
            break;
    }
    free(buffer);
    close(t->fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    int listener = *(int *)arg;

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct thread *t;
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                die("accept: %s: raise the limit (ulimit -n)", strerror(errno));
            continue;
        }
        t = aligned_alloc(64, sizeof(*t));
        if (!t)
            die("no memory for a connection");
        *t = (struct thread){.fd = fd, .next = served};
        served = t; /* kept after the connection's end, for its counts */
        start_thread(serve, t);
    }
}

static void run_server(void)
{
    struct counts used = {0};
    sigset_t term;
    int listener, signo;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    listener = make_listener(0);
    start_thread(accept_all, &listener);
    sigwait(&term, &signo);
    for (struct thread *t = served; t; t = t->next) {
        used.syscalls += t->used.syscalls;
        used.bytes += t->used.bytes;
    }
    print_server(&used);
}

/* ---- client ---- */

static struct thread *threads;
static uint64_t start_ns, end_ns; /* the window, the same for all */
static pthread_barrier_t ready;

/*
 * A message that may not fit into both ends' socket buffers has to be read while it is written:
 * else both ends sit in send() for ever.
 */
static void exchange_long(struct thread *t, char *message, char *buffer, uint64_t op)
{
    size_t sent = 0, got = 0;

    while (got < opt.size) {
        struct pollfd p = {.fd = t->fd, .events = POLLIN};
        ssize_t n;
        if (sent < opt.size)
            p.events |= POLLOUT;
        poll(&p, 1, -1);
        t->used.syscalls++;
        if (p.revents & POLLOUT) {
            n = send(t->fd, message + sent, opt.size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            t->used.syscalls++;
            if (n < 0 && errno != EAGAIN)
                server_gone(t->number, errno);
            sent += n > 0 ? (size_t)n : 0;
        }
        if (p.revents & ~POLLOUT) {
            n = recv(t->fd, buffer, CHUNK_MAX, MSG_DONTWAIT);
            t->used.syscalls++;
            if (n == 0 || (n < 0 && errno != EAGAIN))
                server_gone(t->number, n ? errno : 0);
            if (n < 0)
                continue;
            if (got + (size_t)n > opt.size || !is_answer(buffer, got, (size_t)n, t->number, op))
                wrong_answer(t->number, op, got);
            got += (size_t)n;
        }
    }
}

static void exchange(struct thread *t, char *message, char *buffer, uint64_t op)
{
    size_t got = 0;

    if (!send_all(t, message, opt.size))
        server_gone(t->number, errno);
    while (got < opt.size) {
        ssize_t n = recv(t->fd, buffer, opt.size - got, 0);
        t->used.syscalls++;
        if (unlikely(n <= 0))
            server_gone(t->number, n ? errno : 0);
        if (unlikely(!is_answer(buffer, got, (size_t)n, t->number, op)))
            wrong_answer(t->number, op, got);
        got += (size_t)n;
    }
}

static void *echo(void *arg)
{
    struct thread *t = arg;
    char *message = malloc(opt.size), *buffer = malloc(CHUNK_MAX);
    struct counts before = {0};
    uint64_t begun, now;

    if (!message || !buffer)
        die("no memory for a message");
    memcpy(message, pattern, opt.size);
    t->hist = zeroed(1, sizeof(*t->hist));
    pthread_barrier_wait(&ready);
    begun = now_ns();
    for (uint64_t op = 0;; op++) {
        put_head(message, t->number, op);
        if (opt.size <= CHUNK_MAX)
            exchange(t, message, buffer, op);
        else
            exchange_long(t, message, buffer, op);
        now = now_ns();
        if (unlikely(now >= end_ns))
            break;
        if (likely(now >= start_ns)) {
            hist_record(t->hist, now - begun);
            t->ops++;
        } else {
            before = t->used;
        }
        begun = now;
    }
    t->used.bytes = t->ops * opt.size;
    t->used.syscalls -= before.syscalls;
    pthread_barrier_wait(&ready);
    return NULL;
}

/* Acknowledgements are picked up between two calls, and waited for if too much is under way. */
static void *write_on(void *arg)
{
    struct thread *t = arg;
    struct ack_reader acks = {0};
    struct counts before = {0};
    uint64_t now, sent = 0;
    struct gather g;
    char buffer[1024];

    pthread_barrier_wait(&ready);
    do {
        size_t bytes = gather_writes(&g, &acks, sent);
        ssize_t n = bytes ? sendmsg(t->fd, &g.message, MSG_NOSIGNAL) : 0;
        t->used.syscalls += bytes > 0;
        if (n < 0)
            server_gone(t->number, errno);
        sent += (size_t)n;
        n = recv(t->fd, buffer, sizeof(buffer), may_write(&acks, sent) ? MSG_DONTWAIT : 0);
        t->used.syscalls++;
        if (n == 0 || (n < 0 && errno != EAGAIN))
            server_gone(t->number, n ? errno : 0);
        if (n > 0)
            t->used.bytes += read_acks(&acks, buffer, (size_t)n);
        now = now_ns();
        if (now < start_ns)
            before = t->used;
    } while (now < end_ns);
    t->used.syscalls -= before.syscalls;
    t->used.bytes -= before.bytes;
    pthread_barrier_wait(&ready);
    return NULL;
}

static void sleep_until(uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
        ;
}

static void run_client(void)
{
    struct counts used = {0};
    struct hist *hist = zeroed(1, sizeof(*hist));
    uint64_t ops = 0;

    make_pattern();
    threads = aligned_alloc(64, opt.connections * sizeof(*threads));
    if (!threads)
        die("no memory for %u connections", opt.connections);
    pthread_barrier_init(&ready, NULL, opt.connections + 1);
    for (unsigned i = 0; i < opt.connections; i++) {
        threads[i] = (struct thread){.number = i, .fd = connect_one()};
        pace_connects(i, threads[i].fd);
        start_thread(opt.one_way ? write_on : echo, &threads[i]);
    }
    start_window();
    start_ns = meter.edge;
    end_ns = start_ns + (uint64_t)(opt.seconds * 1e9);
    pthread_barrier_wait(&ready);
    sleep_until(start_ns);
    used.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    sleep_until(end_ns);
    used.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - used.cpu_ns;
    pthread_barrier_wait(&ready);
    for (unsigned i = 0; i < opt.connections; i++) {
        used.syscalls += threads[i].used.syscalls;
        used.bytes += threads[i].used.bytes;
        ops += threads[i].ops;
        if (threads[i].hist)
            hist_merge(hist, threads[i].hist);
    }
    print_result(opt.one_way ? NULL : hist, opt.one_way ? used.bytes / opt.size : ops, &used,
                 (double)(end_ns - start_ns) / 1e9);
}

int main(int argc, char **argv)
{
    opt.rbuf = 256 * KIB;
    parse_options(argc, argv, CAN_SOCKET | CAN_WAIT);
    set_up_process();
    if (opt.server)
        run_server();
    else
        run_client();
    return 0;
}

/*
 * A bare io_uring echo pair: one thread a side, multishot accept and receive over a ring of
 * provided buffers, sends batched with the wait. The limit for lab's io_uring engine.
 *
 *     bare_uring server --port 0 --size 64 --cpu 0
 *     bare_uring client --port P --size 64 --cpu 1 --connections 32
 */
#include "bare.h"

#include <liburing.h>
#include <poll.h>
#include <sys/signalfd.h>

#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 16384u
#define GROUP      0

/* Measured: a ring that stays in the second-level cache, and from where a gather beats a copy. */
#define ECHO_RING   (512u * KIB)
#define GATHER_FROM (8u * KIB)

/* What a completion is of; the low half of its user_data; the high half is an fd or a number. */
enum { SEND, SEND_REST, ACK, RECV, ACCEPT, STOP, CLOSE };

static struct io_uring ring;

static void set_up_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = CQ_ENTRIES,
    };
    int error;

    /* Lets a spinning side look into memory whether there is work: a call only when there is. */
    if (opt.spin_ns)
        params.flags |= IORING_SETUP_TASKRUN_FLAG;
    error = io_uring_queue_init_params(SQ_ENTRIES, &ring, &params);
    if (error)
        die("io_uring: %s", strerror(-error));
}

static inline uint64_t tag(unsigned kind, unsigned number)
{
    return kind | (uint64_t)number << 32;
}

static inline unsigned tag_kind(uint64_t data)
{
    return (unsigned)data;
}

static inline unsigned tag_number(uint64_t data)
{
    return (unsigned)(data >> 32);
}

static inline struct io_uring_sqe *next_sqe(uint64_t data)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

    if (unlikely(!sqe)) {
        meter.now.syscalls++;
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    sqe->user_data = data; /* the prep helpers leave it alone */
    return sqe;
}

/* Hands over what is queued, and returns when there is a completion (or at once: not wait). */
static inline void submit_and_wait(bool wait)
{
    uint64_t idle_since = 0;

    if (opt.spin_ns && wait) {
        if (io_uring_sq_ready(&ring)) {
            meter.now.syscalls++;
            io_uring_submit_and_get_events(&ring);
        }
        while (!io_uring_cq_ready(&ring)) {
            if (IO_URING_READ_ONCE(*ring.sq.kflags) & IORING_SQ_TASKRUN) {
                meter.now.syscalls++;
                io_uring_get_events(&ring);
                continue;
            }
            meter.now.empty_polls++;
            __builtin_ia32_pause();
            if (opt.spin_ns != SPIN_FOREVER) {
                uint64_t now = now_ns();
                idle_since = idle_since ? idle_since : now;
                if (now - idle_since >= opt.spin_ns)
                    goto sleep;
            }
        }
        return;
    }
sleep:
    meter.now.syscalls++;
    if (wait)
        io_uring_submit_and_wait(&ring, 1);
    else
        io_uring_submit_and_get_events(&ring);
}

/* ---- receive buffers: as large as a message, in a ring a little larger than what is under way */

static struct {
    struct io_uring_buf_ring *ring;
    char *memory;
    size_t size;
    unsigned count, added;
    unsigned taken; /* not in the ring: filled and not given back yet */
} pool;

static inline char *buffer_at(unsigned buffer)
{
    return pool.memory + buffer * pool.size;
}

static inline unsigned take(const struct io_uring_cqe *cqe)
{
    pool.taken++;
    return cqe->flags >> IORING_CQE_BUFFER_SHIFT;
}

static inline void give_back(unsigned buffer)
{
    pool.taken--;
    io_uring_buf_ring_add(pool.ring, buffer_at(buffer), (unsigned)pool.size, (unsigned short)buffer,
                          (int)(pool.count - 1), (int)pool.added++);
}

static inline void publish_buffers(void)
{
    if (pool.added)
        io_uring_buf_ring_advance(pool.ring, (int)pool.added);
    pool.added = 0;
}

static void make_pool(size_t size, size_t total)
{
    struct io_uring_buf_reg reg = {.bgid = GROUP};
    int error;

    pool.size = (size + 63) / 64 * 64; /* no cache line in two buffers */
    for (pool.count = opt.one_way ? 1 : 4; pool.count < 32768 && pool.count * pool.size < total;)
        pool.count *= 2;
    pool.memory = pages(pool.count * pool.size);
    pool.ring = (struct io_uring_buf_ring *)pages(pool.count * sizeof(struct io_uring_buf));
    reg.ring_addr = (uint64_t)(uintptr_t)pool.ring;
    reg.ring_entries = pool.count;
    error = io_uring_register_buf_ring(&ring, &reg, 0);
    if (error)
        die("io_uring: no buffer ring: %s", strerror(-error));
    io_uring_buf_ring_init(pool.ring);
    pool.taken = pool.count;
    for (unsigned i = 0; i < pool.count; i++)
        give_back(i);
    publish_buffers();
}

static inline void arm_recv(int fd, unsigned number)
{
    struct io_uring_sqe *sqe = next_sqe(tag(RECV, number));

    /* A stream is received one receive at a time: multishot, all that is there is taken before the
     * first piece of it is acknowledged. */
    if (opt.one_way && opt.server)
        io_uring_prep_recv(sqe, fd, NULL, pool.size, 0);
    else
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
}

/*
 * Receives that ended for want of buffers, in order. As many are armed again as there are buffers:
 * a small ring stays in cache and is worth running dry now and then, but to arm all of them each
 * time, for most to fail again, costs more than it saves.
 */
static struct {
    struct {
        int fd;
        unsigned number;
    } * of;
    unsigned first, count, mask;
} starved;

static void make_starved(size_t connections)
{
    for (starved.mask = 63; starved.mask < connections;)
        starved.mask = starved.mask * 2 + 1;
    starved.of = zeroed(starved.mask + 1, sizeof(*starved.of));
}

static void starve(int fd, unsigned number)
{
    unsigned i = (starved.first + starved.count++) & starved.mask;

    starved.of[i].fd = fd;
    starved.of[i].number = number;
}

/* True when some are left that may have their turn at once. */
static inline bool feed_starved(void)
{
    unsigned free = pool.count - pool.taken;

    if (likely(!starved.count) || !free)
        return false;
    for (; starved.count && free; starved.count--, free--) {
        unsigned i = starved.first++ & starved.mask;
        arm_recv(starved.of[i].fd, starved.of[i].number);
    }
    return starved.count;
}

/* ---- server ---- */

#define NONE  UINT32_MAX
#define WHOLE INT32_MAX

/*
 * By fd. Of a connection one send at most is under way, since two may change places when the first
 * has to wait: what was received is a queue of buffers, and its head is what is being sent.
 */
static struct peer {
    struct discard discard;
    uint32_t head, tail;
    uint32_t at;           /* bytes of the head that are gone: it fell short */
    bool sending, blocked; /* blocked: the socket is full, and the ring waits for it */
    bool ended;
} * peers;

static struct {
    uint32_t length, next;
} * held; /* by buffer */

static struct {
    int fd, result;
} * sent; /* the sends that were handed over last */
static unsigned sent_count;
static bool backlog; /* one of them has more to do behind it: go on without waiting */

static void drop(int fd)
{
    struct io_uring_sqe *sqe = next_sqe(tag(CLOSE, 0));

    /* Through the ring: what is queued for this fd is handed over before it closes. */
    io_uring_prep_close(sqe, fd);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/*
 * Either a send goes out whole while it is submitted, and leaves no completion, or (DONTWAIT) it
 * fails at once with one that says how far it got. So the buffers are known to be free when the
 * submission returns, and no completion of a send ends the wait for what is to be received.
 */
static inline void send_head(int fd, struct peer *p)
{
    struct io_uring_sqe *sqe = next_sqe(tag(SEND, sent_count));

    io_uring_prep_send(sqe, fd, buffer_at(p->head), held[p->head].length,
                       MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    p->sending = true;
    backlog |= held[p->head].next != NONE || p->ended;
    sent[sent_count].fd = fd;
    sent[sent_count++].result = WHOLE;
}

static inline void head_gone(int fd, struct peer *p)
{
    uint32_t buffer = p->head;

    p->sending = p->blocked = false;
    p->head = held[buffer].next;
    give_back(buffer);
    if (unlikely(p->head != NONE))
        send_head(fd, p);
    else if (unlikely(p->ended))
        drop(fd);
}

static void head_stuck(int fd, struct peer *p, int result)
{
    uint32_t length = held[p->head].length;

    if (result < 0 && result != -EAGAIN) {
        /* The peer is gone: forget what was for it. Its receive ends too, and that closes. */
        while (held[p->head].next != NONE) {
            uint32_t buffer = p->head;
            p->head = held[buffer].next;
            give_back(buffer);
        }
        head_gone(fd, p);
        return;
    }
    p->at = (p->blocked ? p->at : 0) + (result > 0 ? (uint32_t)result : 0);
    p->blocked = true;
    if (p->at == length)
        head_gone(fd, p);
    else
        io_uring_prep_send(next_sqe(tag(SEND_REST, (unsigned)fd)), fd, buffer_at(p->head) + p->at,
                           length - p->at, MSG_WAITALL | MSG_NOSIGNAL);
}

static inline void echo(int fd, struct peer *p, uint32_t buffer, uint32_t length)
{
    held[buffer].length = length;
    held[buffer].next = NONE;
    if (likely(p->head == NONE)) {
        p->head = p->tail = buffer;
        send_head(fd, p);
        return;
    }
    held[p->tail].next = buffer;
    p->tail = buffer;
    backlog |= !p->blocked;
}

static inline void discard(int fd, struct peer *p, uint32_t buffer, size_t length)
{
    give_back(buffer);
    if (ack_due(&p->discard, length)) {
        struct io_uring_sqe *sqe = next_sqe(tag(ACK, 0));
        io_uring_prep_send(sqe, fd, &p->discard.acked, 8, MSG_WAITALL | MSG_NOSIGNAL);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    }
}

static inline void received(int fd, const struct io_uring_cqe *cqe)
{
    struct peer *p = &peers[fd];
    uint32_t buffer = cqe->flags & IORING_CQE_F_BUFFER ? take(cqe) : NONE;

    if (likely(cqe->res > 0)) {
        meter.now.bytes += (size_t)cqe->res;
        if (opt.one_way) {
            /* Acknowledged behind the next receive: BBR makes more of larger groups. And received
             * behind those that wait for the one buffer. */
            if (starved.count)
                starve(fd, (unsigned)fd);
            else
                arm_recv(fd, (unsigned)fd);
            discard(fd, p, buffer, (size_t)cqe->res);
            return;
        }
        echo(fd, p, buffer, (uint32_t)cqe->res);
        if (unlikely(!(cqe->flags & IORING_CQE_F_MORE)))
            arm_recv(fd, (unsigned)fd);
        return;
    }
    if (buffer != NONE)
        give_back(buffer);
    if (cqe->res == -ENOBUFS) {
        starve(fd, (unsigned)fd);
        return;
    }
    p->ended = true;
    if (p->head == NONE)
        drop(fd);
    else
        backlog |= !p->blocked; /* closed when that is gone */
}

static void arm_accept(int listener)
{
    io_uring_prep_multishot_accept(next_sqe(tag(ACCEPT, (unsigned)listener)), listener, NULL, NULL,
                                   SOCK_CLOEXEC);
}

static void accepted(int listener, const struct io_uring_cqe *cqe)
{
    if (cqe->res == -EMFILE || cqe->res == -ENFILE)
        die("accept: %s: raise the limit (ulimit -n)", strerror(-cqe->res));
    if (cqe->res >= 0) {
        peers[cqe->res] = (struct peer){.head = NONE};
        arm_recv(cqe->res, (unsigned)cqe->res);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        arm_accept(listener);
}

/* What the last submission did with its sends: before any new one, which may reuse the slots. */
static inline void settle_sends(unsigned ready)
{
    unsigned head = *ring.cq.khead, count = sent_count;

    for (unsigned i = 0; i < ready; i++) {
        const struct io_uring_cqe *cqe = &ring.cq.cqes[(head + i) & ring.cq.ring_mask];
        if (unlikely(tag_kind(cqe->user_data) == SEND))
            sent[tag_number(cqe->user_data)].result = cqe->res;
    }
    sent_count = 0;
    for (unsigned i = 0; i < count; i++) {
        int fd = sent[i].fd, result = sent[i].result;
        if (likely(result == WHOLE))
            head_gone(fd, &peers[fd]);
        else
            head_stuck(fd, &peers[fd], result);
    }
}

static void run_server(void)
{
    sigset_t term;
    int listener, stop;

    make_pool(opt.one_way            ? opt.rbuf
              : opt.size < CHUNK_MAX ? opt.size
                                     : CHUNK_MAX,
              opt.one_way ? opt.rbuf : ECHO_RING);
    peers = zeroed(files_max(), sizeof(*peers));
    sent = zeroed(files_max(), sizeof(*sent));
    make_starved(files_max());
    held = zeroed(pool.count, sizeof(*held));
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    stop = signalfd(-1, &term, SFD_CLOEXEC);
    listener = make_listener(0);
    io_uring_prep_poll_add(next_sqe(tag(STOP, 0)), stop, POLLIN);
    arm_accept(listener);
    for (;;) {
        unsigned ready;

        publish_buffers();
        backlog |= feed_starved();
        /* The buffers of sends come back after the submission, in silence: look if one is awaited.
         */
        backlog |= starved.count && sent_count;
        submit_and_wait(!backlog);
        backlog = false;
        ready = io_uring_cq_ready(&ring);
        if (sent_count)
            settle_sends(ready);
        for (unsigned i = 0, head = *ring.cq.khead; i < ready; i++) {
            const struct io_uring_cqe *cqe = &ring.cq.cqes[(head + i) & ring.cq.ring_mask];
            int number = (int)tag_number(cqe->user_data);
            switch (tag_kind(cqe->user_data)) {
            case RECV: received(number, cqe); break;
            case SEND_REST: head_stuck(number, &peers[number], cqe->res); break;
            case ACCEPT: accepted(number, cqe); break;
            case STOP: return;
            }
        }
        io_uring_cq_advance(&ring, ready);
    }
}

/* ---- client ---- */

static struct link {
    uint64_t op, begun_ns;
    uint64_t written; /* one way: in all, or handed over to be */
    size_t handed;    /* one way: by the write that is under way */
    size_t got;
    int fd;
    bool writes;           /* one way: a write is under way */
    char *message;         /* short ones: a whole message; long ones: its head */
    struct gather *gather; /* long messages, and one way */
    struct ack_reader acks;
} * links;

/* The answer to the whole message says that it was sent: a send's success says nothing new. */
static inline void send_message(unsigned i)
{
    struct link *l = &links[i];
    struct io_uring_sqe *sqe = next_sqe(tag(SEND, i));

    put_head(l->message, i, l->op);
    if (opt.size < GATHER_FROM)
        io_uring_prep_send(sqe, l->fd, l->message, opt.size, MSG_WAITALL | MSG_NOSIGNAL);
    else
        io_uring_prep_sendmsg(sqe, l->fd, &l->gather->message, MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void send_failed(const struct io_uring_cqe *cqe)
{
    server_gone(tag_number(cqe->user_data), cqe->res < 0 ? -cqe->res : EPIPE);
}

static inline void begin_echo(unsigned i, uint64_t begun_ns)
{
    links[i].begun_ns = begun_ns;
    send_message(i);
}

/* True when the window is over. */
static inline bool answered(unsigned i, const struct io_uring_cqe *cqe)
{
    struct link *l = &links[i];
    size_t n = (size_t)cqe->res;
    uint32_t buffer;
    uint64_t now;

    if (unlikely(cqe->res <= 0)) {
        if (cqe->res != -ENOBUFS)
            server_gone(i, -cqe->res);
        starve(l->fd, i);
        return false;
    }
    if (unlikely(!(cqe->flags & IORING_CQE_F_MORE)))
        arm_recv(l->fd, i);
    buffer = take(cqe);
    if (unlikely(l->got + n > opt.size || !is_answer(buffer_at(buffer), l->got, n, i, l->op)))
        wrong_answer(i, l->op, l->got);
    give_back(buffer);
    l->got += n;
    if (l->got < opt.size)
        return false;
    now = now_ns();
    if (op_done(now, now - l->begun_ns))
        return true;
    l->op++;
    l->got = 0;
    next_op(i, now, begin_echo);
    return false;
}

/* In an open loop it spins: what is due comes between. */
static inline void wait_answers(void)
{
    bool fed = feed_starved();

    if (!(opt.rate > 0)) {
        submit_and_wait(!fed);
        return;
    }
    due_send(now_ns(), begin_echo);
    if (io_uring_sq_ready(&ring) || IO_URING_READ_ONCE(*ring.sq.kflags) & IORING_SQ_TASKRUN) {
        meter.now.syscalls++;
        io_uring_submit_and_get_events(&ring);
    } else {
        meter.now.empty_polls += !io_uring_cq_ready(&ring);
    }
}

/* The head must last until it is sent; the rest of long messages is shared and stays in cache. */
static void make_message(struct link *l)
{
    size_t own = opt.size < GATHER_FROM ? opt.size : HEAD;

    l->message = malloc(own);
    l->gather = zeroed(1, sizeof(*l->gather));
    if (!l->message)
        die("no memory for a message");
    memcpy(l->message, pattern, own);
    l->gather->parts[0] = (struct iovec){l->message, own};
    l->gather->parts[1] = (struct iovec){pattern + own, opt.size - own};
    l->gather->message = (struct msghdr){.msg_iov = l->gather->parts, .msg_iovlen = 2};
}

static void run_echo_client(void)
{
    start_window();
    for (unsigned i = 0; i < opt.connections; i++) {
        make_message(&links[i]);
        arm_recv(links[i].fd, i);
    }
    begin_ops(begin_echo);
    for (;;) {
        unsigned ready;

        publish_buffers();
        wait_answers();
        ready = io_uring_cq_ready(&ring);
        for (unsigned i = 0, head = *ring.cq.khead; i < ready; i++) {
            const struct io_uring_cqe *cqe = &ring.cq.cqes[(head + i) & ring.cq.ring_mask];
            if (unlikely(tag_kind(cqe->user_data) == SEND))
                send_failed(cqe);
            if (answered(tag_number(cqe->user_data), cqe))
                return;
        }
        io_uring_cq_advance(&ring, ready);
    }
}

static void write_next(unsigned i)
{
    struct link *l = &links[i];

    l->handed = gather_writes(l->gather, &l->acks, l->written);
    l->writes = l->handed > 0;
    if (!l->writes)
        return;
    l->written += l->handed;
    io_uring_prep_sendmsg(next_sqe(tag(SEND, i)), l->fd, &l->gather->message,
                          MSG_WAITALL | MSG_NOSIGNAL);
}

/* One call under way at a time: the next is handed over with the wait that follows. */
static void run_one_way_client(void)
{
    start_window();
    for (unsigned i = 0; i < opt.connections; i++) {
        links[i].gather = zeroed(1, sizeof(*links[i].gather));
        arm_recv(links[i].fd, i);
        write_next(i);
    }
    for (;;) {
        uint64_t now;
        unsigned ready;

        publish_buffers();
        submit_and_wait(!feed_starved());
        ready = io_uring_cq_ready(&ring);
        for (unsigned n = 0, head = *ring.cq.khead; n < ready; n++) {
            const struct io_uring_cqe *cqe = &ring.cq.cqes[(head + n) & ring.cq.ring_mask];
            unsigned i = tag_number(cqe->user_data);
            uint32_t buffer;

            if (tag_kind(cqe->user_data) == SEND) {
                if (cqe->res != (int)links[i].handed)
                    send_failed(cqe);
                write_next(i);
                continue;
            }
            if (cqe->res == -ENOBUFS) {
                starve(links[i].fd, i);
                continue;
            }
            if (cqe->res <= 0)
                server_gone(i, -cqe->res);
            if (!(cqe->flags & IORING_CQE_F_MORE))
                arm_recv(links[i].fd, i);
            buffer = take(cqe);
            meter.now.bytes += read_acks(&links[i].acks, buffer_at(buffer), (size_t)cqe->res);
            give_back(buffer);
            if (!links[i].writes)
                write_next(i);
        }
        io_uring_cq_advance(&ring, ready);
        now = now_ns();
        if (now >= meter.edge && window_edge(now))
            return;
    }
}

static void run_client(void)
{
    make_pool(opt.one_way ? 64 : opt.size < CHUNK_MAX ? opt.size : CHUNK_MAX, ECHO_RING);
    make_pattern();
    make_starved(opt.connections);
    links = zeroed(opt.connections, sizeof(*links));
    for (unsigned i = 0; i < opt.connections; i++) {
        links[i].fd = connect_one();
        pace_connects(i, links[i].fd);
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
    set_up_ring();
    if (opt.server) {
        run_server();
        print_server(&meter.now);
    } else {
        run_client();
    }
    return 0;
}

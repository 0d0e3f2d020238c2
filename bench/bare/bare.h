/*
 * What the bare pairs must do alike and what is not worth reading once for each: options,
 * the pattern that a message is made of and checked against, the histogram, the window, sockets,
 * the lines printed. Included by one .c file each; the hot loops are there, not here.
 */
#ifndef LAB_BENCH_BARE_H
#define LAB_BENCH_BARE_H

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bare_die.h"

#define KIB          1024u
#define HEAD         16u         /* connection number and op number, 8 bytes each */
#define CHUNK_MAX    (64u * KIB) /* largest receive of an echo; longer messages take several */
#define SPIN_FOREVER UINT64_MAX

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static inline uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- options ---- */

static struct {
    const char *unix_path, *cc;
    size_t size, rbuf, ahead;
    uint64_t spin_ns; /* 0: sleep; SPIN_FOREVER: never sleep */
    double seconds, warmup;
    double rate; /* 0: closed loop */
    unsigned connections;
    unsigned mtu;
    int cpu, port;
    bool server, one_way, verify, json;
} opt = {
    .size = 64,
    .seconds = 1,
    .warmup = 0.1,
    .connections = 1,
    .mtu = 1500,
    .cpu = -1,
    .port = 8888,
};

/* What not every pair can do. */
enum { CAN_SPIN = 1, CAN_SOCKET = 2, CAN_LINK = 4, CAN_VERIFY = 8, CAN_WAIT = 16, CAN_RATE = 32 };

/* Options that one pair has beside those of all: take() is given the letter and the value. */
struct more_options {
    const struct option *names; /* the last one has no name */
    void (*take)(int letter, const char *value);
    const char *help;
};
static const struct more_options *more_options;
#define OPTIONS_MAX 40u

__attribute__((noreturn)) static void usage(int status)
{
    fputs("usage: bare_ENGINE server|client [options], the same --size and --one-way on both\n"
          "  --port P          TCP port on 127.0.0.1, default 8888; 0 (server): a free one\n"
          "  --unix PATH       a UNIX socket in the place of TCP\n"
          "  --size S          bytes of a message (k, m: KiB, MiB), default 64\n"
          "  --one-way         a stream of writes of S bytes, acknowledged every S bytes or more\n"
          "  --ahead N         client, one way: bytes under way at most, default any number\n"
          "  --rbuf N          server, one way: bytes of a receive, or of a ring's buffers\n"
          "  --cpu N           run on this CPU only\n"
          "  --cc NAME         TCP congestion control\n"
          "  --spin[=TIME]     poll that long (e.g. 50us) before sleeping; without TIME, always\n"
          "  --mtu N           dpdk: of the link, default 1500\n"
          "  --verify          compare all that comes; dpdk: server, one way\n"
          "  --connections N   client, default 1\n"
          "  --rate N          client; epoll, uring: an open loop, so many ops due a second; it "
          "spins\n"
          "  --seconds T       client: the window, default 1\n"
          "  --warmup T        client: before the window, default 0.1\n"
          "  --json            client: the JSON line alone, nothing on stderr\n",
          status ? stderr : stdout);
    if (more_options)
        fputs(more_options->help, status ? stderr : stdout);
    exit(status);
}

static double parse_number(const char *name, const char *text, const char *units,
                           const double *factors, double low, double high)
{
    char *end;
    double value = strtod(text, &end);

    /* units is a list of words, each ended by a space. */
    for (size_t i = 0; end != text && *end && *units; i++) {
        size_t length = strcspn(units, " ");
        if (strlen(end) == length && !memcmp(end, units, length)) {
            value *= factors[i];
            end += length;
        }
        units += length + 1;
    }
    if (end == text || *end || !(value >= low && value <= high)) {
        fprintf(stderr, "--%s: cannot take \"%s\"\n", name, text);
        exit(2);
    }
    return value;
}

/* Returns what it asks for that not every pair can do. */
static inline unsigned take_common(int c)
{
    static const double one = 1, sizes[] = {1024, 1048576}, times[] = {1, 1e3, 1e6, 1e9};

    switch (c) {
    case 'p': opt.port = (int)parse_number("port", optarg, "", &one, 0, 65535); break;
    case 'u': opt.unix_path = optarg; return CAN_SOCKET;
    case 's': opt.size = (size_t)parse_number("size", optarg, "k m ", sizes, 1, 1 << 30); break;
    case 'o': opt.one_way = true; break;
    case 'r': opt.rbuf = (size_t)parse_number("rbuf", optarg, "k m ", sizes, 64, 1 << 28); break;
    case 'a':
        opt.ahead = (size_t)parse_number("ahead", optarg, "k m ", sizes, 1, 1 << 30);
        return CAN_WAIT;
    case 'c': opt.cpu = (int)parse_number("cpu", optarg, "", &one, 0, CPU_SETSIZE - 1); break;
    case 'C': opt.cc = optarg; return CAN_SOCKET;
    case 'S':
        opt.spin_ns = SPIN_FOREVER;
        if (optarg)
            opt.spin_ns = (uint64_t)parse_number("spin", optarg, "ns us ms s ", times, 1, 1e12);
        return CAN_SPIN;
    case 'n':
        opt.connections = (unsigned)parse_number("connections", optarg, "", &one, 1, 1e6);
        break;
    case 'R':
        opt.rate = parse_number("rate", optarg, "", &one, 1, 1e8);
        opt.spin_ns = opt.server ? opt.spin_ns : SPIN_FOREVER;
        return CAN_RATE;
    case 'd': opt.seconds = parse_number("seconds", optarg, "", &one, 0.001, 3600); break;
    case 'w': opt.warmup = parse_number("warmup", optarg, "", &one, 0, 3600); break;
    case 'j': opt.json = true; break;
    case 'm': opt.mtu = (unsigned)parse_number("mtu", optarg, "", &one, 576, 9216); return CAN_LINK;
    case 'v': opt.verify = true; return CAN_VERIFY;
    case 'h': usage(0);
    case '?': usage(2);
    default: more_options->take(c, optarg);
    }
    return 0;
}

static inline void parse_options(int argc, char **argv, unsigned can)
{
    static const struct option common[] = {
        {"port", 1, 0, 'p'},    {"unix", 1, 0, 'u'},   {"size", 1, 0, 's'},
        {"one-way", 0, 0, 'o'}, {"rbuf", 1, 0, 'r'},   {"cpu", 1, 0, 'c'},
        {"cc", 1, 0, 'C'},      {"spin", 2, 0, 'S'},   {"connections", 1, 0, 'n'},
        {"seconds", 1, 0, 'd'}, {"warmup", 1, 0, 'w'}, {"json", 0, 0, 'j'},
        {"mtu", 1, 0, 'm'},     {"verify", 0, 0, 'v'}, {"help", 0, 0, 'h'},
        {"ahead", 1, 0, 'a'},   {"rate", 1, 0, 'R'},   {NULL, 0, NULL, 0},
    };
    struct option names[OPTIONS_MAX];
    unsigned used = 0, count = sizeof(common) / sizeof(common[0]);
    int c;

    memcpy(names, common, sizeof(common));
    if (more_options)
        for (const struct option *more = more_options->names; names[count - 1] = *more, more->name;
             more++)
            count++;

    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
        usage(0);
    if (argc < 2 || (strcmp(argv[1], "server") && strcmp(argv[1], "client")))
        usage(2);
    opt.server = argv[1][0] == 's';
    optind = 2;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1)
        used |= take_common(c);
    if (optind < argc || (used & ~can) || (opt.cc && opt.unix_path) ||
        (opt.rate > 0 && opt.one_way))
        usage(2);
}

/* ---- the process ---- */

static inline void set_up_process(void)
{
    struct rlimit files;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(opt.cpu, &cpus);
    if (opt.cpu >= 0 && sched_setaffinity(0, sizeof(cpus), &cpus))
        die("cannot run on CPU %d: %s", opt.cpu, strerror(errno));
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (!opt.server && files.rlim_max < opt.connections + 16)
        die("%u connections need %u open files, the hard limit is %llu: raise it (ulimit -Hn)",
            opt.connections, opt.connections + 16, (unsigned long long)files.rlim_max);
    signal(SIGPIPE, SIG_IGN);
}

static inline size_t files_max(void)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur;
}

static inline void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory)
        die("no memory for %zu x %zu bytes", count, size);
    return memory;
}

/* Page-aligned, and on huge pages where it is long enough for that to matter. */
static inline char *pages(size_t size)
{
    size_t align = size >= 2048 * KIB ? 2048 * KIB : 4 * KIB;
    char *memory = aligned_alloc(align, (size + align - 1) / align * align);

    if (!memory)
        die("no memory for %zu bytes", size);
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0, size);
    return memory;
}

static void no_answer(int signo)
{
    static const char text[] = "no answer: the window is long over, the server says nothing\n";

    (void)signo;
    (void)!write(2, text, sizeof(text) - 1);
    _exit(1);
}

/* ---- payload ---- */

/* One message, shared by all connections: what follows the head is the same in each. */
static char *pattern;

static inline void make_pattern(void)
{
    uint32_t x = 2463534242u;

    pattern = pages(opt.size);
    for (size_t i = 0; i < opt.size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        pattern[i] = (char)x;
    }
}

static inline void put_head(char *message, uint64_t connection, uint64_t op)
{
    uint64_t head[2] = {connection, op};

    if (opt.size >= HEAD)
        memcpy(message, head, HEAD);
}

/* Are these n bytes what was sent at pos? */
static inline bool is_answer(const char *got, size_t pos, size_t n, uint64_t connection,
                             uint64_t op)
{
    if (pos < HEAD && opt.size >= HEAD) {
        uint64_t head[2] = {connection, op};
        size_t part = n < HEAD - pos ? n : HEAD - pos;
        if (memcmp(got, (char *)head + pos, part))
            return false;
        got += part;
        pos += part;
        n -= part;
    }
    return !memcmp(got, pattern + pos, n);
}

__attribute__((noreturn)) static inline void wrong_answer(uint64_t connection, uint64_t op,
                                                          size_t pos)
{
    die("connection %" PRIu64 ", op %" PRIu64 ": the answer is not what was sent, at or after "
        "byte %zu",
        connection, op, pos);
}

__attribute__((noreturn)) static inline void server_gone(uint64_t connection, int error)
{
    die("connection %" PRIu64 ": %s", connection, error ? strerror(error) : "the server closed it");
}

/* ---- histogram: 2048 buckets a power of two, so 3 significant digits, up to 68 s ---- */

#define HIST_BITS    11u
#define HIST_BUCKETS ((36u - HIST_BITS + 2) << (HIST_BITS - 1))

struct hist {
    uint64_t total, max;
    uint32_t counts[HIST_BUCKETS];
};

static inline void hist_record(struct hist *h, uint64_t value)
{
    uint64_t v = value < (1ull << 36) ? value : (1ull << 36) - 1;
    unsigned shift = 64 - HIST_BITS - (unsigned)__builtin_clzll(v | ((1u << HIST_BITS) - 1));

    h->counts[(shift << (HIST_BITS - 1)) + (v >> shift)]++;
    h->total++;
    if (value > h->max)
        h->max = value;
}

static inline void hist_merge(struct hist *into, const struct hist *from)
{
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    into->max = from->max > into->max ? from->max : into->max;
}

static inline uint64_t hist_percentile(const struct hist *h, double percentile)
{
    uint64_t sum = 0, rank = (uint64_t)((double)h->total * percentile / 100 + 0.5);

    rank = rank ? rank : 1;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        sum += h->counts[i];
        if (sum >= rank) {
            unsigned shift = i >> (HIST_BITS - 1) ? (i >> (HIST_BITS - 1)) - 1 : 0;
            uint64_t low = (uint64_t)(i - (shift << (HIST_BITS - 1))) << shift;
            uint64_t top = low + (1ull << shift) - 1;
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}

/* ---- what is counted, and the client's window ---- */

struct counts {
    uint64_t syscalls;    /* in the data path; those that found nothing while spinning are apart */
    uint64_t empty_polls; /* these */
    uint64_t bytes;       /* client: answered or acknowledged; server: received */
    uint64_t cpu_ns;
};

static struct {
    struct hist hist;
    struct counts now, begin;
    uint64_t ops, edge, start_ns, end_ns;
} meter;

static inline void start_window(void)
{
    meter.edge = now_ns() + (uint64_t)(opt.warmup * 1e9);
    signal(SIGALRM, no_answer);
    alarm((unsigned)(opt.warmup + opt.seconds) + 10);
}

/* The first completion after the warm-up opens the window, the first after its end closes it. */
static inline bool window_edge(uint64_t now)
{
    meter.now.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (!meter.start_ns) {
        memset(&meter.hist, 0, sizeof(meter.hist));
        meter.begin = meter.now;
        meter.ops = 0;
        meter.start_ns = now;
        meter.edge = now + (uint64_t)(opt.seconds * 1e9);
        return false;
    }
    meter.end_ns = now;
    return true;
}

/* An op is done; true when the window is over. */
static inline bool op_done(uint64_t now, uint64_t latency)
{
    hist_record(&meter.hist, latency);
    meter.ops++;
    meter.now.bytes += opt.size;
    return unlikely(now >= meter.edge) && window_edge(now);
}

/* ---- open loop: ops due at a constant rate; who has been free longest sends ---- */

static struct {
    double next_ns, interval_ns;
    struct idler {
        uint64_t since_ns;
        unsigned link;
    } * idle;
    unsigned head, count;
    struct hist slip;
} due;

static inline void due_give(unsigned link, uint64_t now)
{
    unsigned at = due.head + due.count++;

    due.idle[at < opt.connections ? at : at - opt.connections] = (struct idler){now, link};
}

static inline void due_begin(void)
{
    uint64_t now = now_ns();

    due.idle = zeroed(opt.connections, sizeof(*due.idle));
    due.interval_ns = 1e9 / opt.rate;
    due.next_ns = (double)now;
    for (unsigned i = 0; i < opt.connections; i++)
        due_give(i, now);
}

/* An op that is due, and who sends it: false when there is none of either. Its slip is from when it
 * could have been sent; its latency from when it should have been. */
static inline bool due_take(uint64_t now, unsigned *link, uint64_t *intended_ns)
{
    uint64_t intended = (uint64_t)due.next_ns, possible;

    if (intended > now || !due.count)
        return false;
    possible = due.idle[due.head].since_ns > intended ? due.idle[due.head].since_ns : intended;
    if (meter.start_ns)
        hist_record(&due.slip, now - possible);
    *link = due.idle[due.head].link;
    *intended_ns = intended;
    due.head = due.head + 1 < opt.connections ? due.head + 1 : 0;
    due.count--;
    due.next_ns += due.interval_ns;
    return true;
}

/* Begins what is due, as far as there are connections. */
static inline void due_send(uint64_t now, void (*begin)(unsigned link, uint64_t begun_ns))
{
    uint64_t intended_ns;
    unsigned link;

    while (due_take(now, &link, &intended_ns)) {
        begin(link, intended_ns);
        now = now_ns();
    }
}

/* A connection's answer has come: what follows on it, in either loop. */
static inline void next_op(unsigned link, uint64_t now,
                           void (*begin)(unsigned link, uint64_t begun_ns))
{
    if (opt.rate > 0) {
        due_give(link, now);
        due_send(now, begin);
    } else {
        begin(link, now);
    }
}

/* The first op of each connection, or the schedule. */
static inline void begin_ops(void (*begin)(unsigned link, uint64_t begun_ns))
{
    if (opt.rate > 0)
        due_begin();
    for (unsigned i = 0; i < opt.connections && !(opt.rate > 0); i++)
        begin(i, now_ns());
}

static inline void print_slip(void)
{
    printf("\"slip_ns\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 "}",
           hist_percentile(&due.slip, 50), hist_percentile(&due.slip, 99), due.slip.max);
}

static inline void print_result(const struct hist *h, uint64_t ops, const struct counts *used,
                                double seconds)
{
    static const double at[] = {50, 90, 99, 99.9};
    static const char *const names[] = {"p50", "p90", "p99", "p999"};
    double per_op = ops ? (double)used->syscalls / (double)ops : 0;

    printf("{\"ops\":%" PRIu64 ",\"seconds\":%.6f,\"ops_per_s\":%.1f,\"bytes_per_s\":%.0f,"
           "\"latency_ns\":",
           ops, seconds, (double)ops / seconds, (double)used->bytes / seconds);
    if (h) {
        putchar('{');
        for (unsigned i = 0; i < 4; i++)
            printf("\"%s\":%" PRIu64 ",", names[i], hist_percentile(h, at[i]));
        printf("\"max\":%" PRIu64 "}", h->max);
    } else {
        printf("null");
    }
    if (opt.rate > 0) {
        putchar(',');
        print_slip();
    }
    printf(",\"syscalls\":%" PRIu64 ",\"syscalls_per_op\":%.4f,\"empty_polls\":%" PRIu64
           ",\"cpu_s\":%.6f,\"errors\":0}\n",
           used->syscalls, per_op, used->empty_polls, (double)used->cpu_ns / 1e9);
    if (!opt.json)
        fprintf(stderr, "%.1f k ops/s, %.3f GB/s, p50 %.1f us, p99 %.1f us, %.2f calls an op\n",
                (double)ops / seconds / 1e3, (double)used->bytes / seconds / 1e9,
                h ? (double)hist_percentile(h, 50) / 1e3 : 0,
                h ? (double)hist_percentile(h, 99) / 1e3 : 0, per_op);
}

/* For the clients of one thread. */
static inline void print_meter(void)
{
    struct counts used = {
        .syscalls = meter.now.syscalls - meter.begin.syscalls,
        .empty_polls = meter.now.empty_polls - meter.begin.empty_polls,
        .bytes = meter.now.bytes - meter.begin.bytes,
        .cpu_ns = meter.now.cpu_ns - meter.begin.cpu_ns,
    };

    print_result(opt.one_way ? NULL : &meter.hist, opt.one_way ? used.bytes / opt.size : meter.ops,
                 &used, (double)(meter.end_ns - meter.start_ns) / 1e9);
}

static inline void print_server_ops(const struct counts *used, uint64_t ops)
{
    printf("{\"ops\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"syscalls\":%" PRIu64
           ",\"syscalls_per_op\":%.4f,\"empty_polls\":%" PRIu64 ",\"cpu_s\":%.6f}\n",
           ops, used->bytes, used->syscalls, ops ? (double)used->syscalls / (double)ops : 0,
           used->empty_polls, (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
    fflush(stdout);
    if (opt.unix_path)
        unlink(opt.unix_path);
}

static inline void print_server(const struct counts *used)
{
    print_server_ops(used, used->bytes / opt.size);
}

/* ---- one way ---- */

/* Of a connection that a server discards: acknowledged once `size` more bytes have come. */
struct discard {
    uint64_t received, acked;
};

static inline bool ack_due(struct discard *d, size_t n)
{
    d->received += n;
    if (d->received - d->acked < opt.size)
        return false;
    d->acked = d->received;
    return true;
}

/* Of a client's: acknowledgements are 8 bytes, and a receive may end within one. */
struct ack_reader {
    uint64_t acked;
    unsigned have;
    char part[8];
};

/* Returns the bytes newly acknowledged. */
static inline uint64_t read_acks(struct ack_reader *r, const char *data, size_t n)
{
    uint64_t before = r->acked;

    for (size_t i = 0; i < n; i++) {
        r->part[r->have++] = data[i];
        if (r->have == 8) {
            memcpy(&r->acked, r->part, 8); /* little-endian hosts only, like both ends here */
            r->have = 0;
        }
    }
    return r->acked - before;
}

/* One way: may a write begin, after so many bytes that were sent? */
static inline bool may_write(const struct ack_reader *r, uint64_t sent)
{
    return !opt.ahead || sent + opt.size - r->acked <= opt.ahead;
}

/*
 * All the writes that may be under way go with one call (16 and 4 MiB at most), as an engine would
 * have them: BBR makes its rate of how they come, and one at a time made it pace each by a timer.
 * `sent` is what is in all, the first to go is the rest of one that went in part. Returns the
 * bytes; none: not now.
 */
#define WRITES_MAX   16u
#define GATHER_BYTES (4096 * KIB)
struct gather {
    struct iovec parts[WRITES_MAX];
    struct msghdr message;
};

static inline size_t gather_writes(struct gather *g, const struct ack_reader *r, uint64_t sent)
{
    size_t part = sent % opt.size, bytes = 0;
    unsigned count = 0;

    while (count < WRITES_MAX && (!count || bytes + opt.size <= GATHER_BYTES) &&
           (part || may_write(r, sent + bytes))) {
        g->parts[count++] = (struct iovec){pattern + part, opt.size - part};
        bytes += opt.size - part;
        part = 0;
    }
    g->message = (struct msghdr){.msg_iov = g->parts, .msg_iovlen = count};
    return bytes;
}

/* ---- sockets ---- */

static inline socklen_t make_address(struct sockaddr_storage *storage)
{
    struct sockaddr_in *in = (struct sockaddr_in *)storage;
    struct sockaddr_un *un = (struct sockaddr_un *)storage;

    memset(storage, 0, sizeof(*storage));
    if (!opt.unix_path) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)opt.port);
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof(*in);
    }
    if (strlen(opt.unix_path) >= sizeof(un->sun_path))
        die("--unix: \"%s\" is longer than %zu bytes", opt.unix_path, sizeof(un->sun_path) - 1);
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, opt.unix_path);
    return sizeof(*un);
}

static inline int make_socket(int flags)
{
    static const int on = 1;
    int fd = socket(opt.unix_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    if (fd < 0)
        die("socket: %s", strerror(errno));
    if (!opt.unix_path && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
        die("TCP_NODELAY: %s", strerror(errno));
    if (opt.cc && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, opt.cc, (socklen_t)strlen(opt.cc)))
        die("--cc %s: %s", opt.cc, strerror(errno));
    return fd;
}

/* Accepted sockets inherit the listener's options, so none is set on them. */
static inline int make_listener(int flags)
{
    static const int on = 1;
    struct sockaddr_storage address;
    socklen_t length = make_address(&address);
    int fd = make_socket(flags);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 4096))
        die("cannot listen: %s", strerror(errno));
    if (opt.unix_path) {
        printf("listening on unix:%s\n", opt.unix_path);
    } else {
        getsockname(fd, (struct sockaddr *)&address, &length);
        printf("listening on 127.0.0.1:%d\n", ntohs(((struct sockaddr_in *)&address)->sin_port));
    }
    fflush(stdout);
    return fd;
}

static inline int connect_one(void)
{
    struct sockaddr_storage address;
    socklen_t length = make_address(&address);
    int fd = make_socket(0);

    if (connect(fd, (struct sockaddr *)&address, length))
        die("cannot connect: %s", strerror(errno));
    return fd;
}

/*
 * A server accepts in order, so when one connection is answered all before it have been accepted:
 * asking every 64th keeps any accept queue from overflowing, which costs a second a drop.
 */
static inline void pace_connects(unsigned i, int fd)
{
    char byte = 0;

    if (i % 64 != 63)
        return;
    if (opt.one_way)
        usleep(1000);
    else if (send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1)
        die("connection %u: no answer to its first byte: %s", i, strerror(errno));
}

#endif

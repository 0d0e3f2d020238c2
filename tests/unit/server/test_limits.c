/*
 * What a server does about clients that take their time, over real sockets and each engine of the
 * kernel: it ends them within the limit that was set, counts that, and goes on serving others.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/unit/proto/h2_rig.h"
#include "tests/unit/server/served.h"

#define PATIENCE_NS (30 * NS_PER_S) /* a hang, not a slow machine */
#define LIST        "/image_service.ImageService/ListImages"
#define STREAM      "/image_service.ImageService/StreamImages"

struct rig {
    struct served served;
    char heard[1 << 16]; /* what a client was told, as far as anybody looked */
    size_t heard_size;
};

static void rig_set(struct rig *rig, const char *name, const char *value)
{
    const struct option_def *def = option_find(serve_options, name);
    void *into = &rig->served.config.options;

    if (def == NULL) {
        def = option_find(rig->served.config.workload->options, name);
        into = rig->served.options;
    }
    cr_assert_not_null(def, "no option %s", name);
    cr_assert_eq(option_set(def, into, value, "--", &rig->served.err), 0, "%s",
                 rig->served.err.text);
}

/* Names and values of options; NULL ends them. False: the engine cannot run here. */
static bool rig_open(struct rig *rig, const char *engine, const char *workload,
                     const char *const *options)
{
    memset(rig, 0, sizeof(*rig));
    if (!served_prepare(&rig->served, engine, workload))
        return false;
    for (; options[0] != NULL; options += 2)
        rig_set(rig, options[0], options[1]);
    served_start(&rig->served);
    server_sample(rig->served.server, 0);
    return true;
}

static void rig_close(struct rig *rig)
{
    server_stop(rig->served.server, 100 * NS_PER_MS);
    served_free(&rig->served);
}

static const char *const engines[] = {"epoll", "blocking", "io_uring"};

#define EACH_ENGINE(rig, workload, ...)                                                            \
    for (unsigned e_ = 0; e_ < sizeof(engines) / sizeof(engines[0]); e_++)                         \
        for (bool once_ = rig_open(&(rig), engines[e_], workload,                                  \
                                   (const char *const[]){__VA_ARGS__, NULL});                      \
             once_; once_ = false)

static uint64_t counted(struct rig *rig, const char *name)
{
    Lab__Record *record = malloc(sizeof(*record));

    lab__record__init(record);
    server_sample(rig->served.server, 1);
    server_record(rig->served.server, record);
    const Lab__Metric *metric = record_metric(record, name);
    cr_assert_not_null(metric, "no metric %s", name);
    uint64_t value = (uint64_t)metric->value;
    lab__record__free_unpacked(record, NULL);
    return value;
}

static void pause_shortly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* What the client sees and what is counted come from two threads, in either order. */
static void expect_count(struct rig *rig, const char *name, uint64_t count)
{
    uint64_t until_ns = clock_ns() + PATIENCE_NS;

    while (counted(rig, name) < count && clock_ns() < until_ns)
        pause_shortly();
    cr_assert_eq(counted(rig, name), count, "%s, %s: %lu", rig->served.spec.text, name,
                 (unsigned long)counted(rig, name));
}

/* --- clients --- */

static int client_open(struct rig *rig, int receive_bytes)
{
    const struct addr *address = server_address(rig->served.server);
    int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    rig->heard_size = 0;
    if (receive_bytes > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address->sa, address->size), 0, "%s",
                 strerror(errno));
    return fd;
}

static void client_say(int fd, const struct bytes *bytes)
{
    cr_assert_eq(send(fd, bytes->data, bytes->size, MSG_NOSIGNAL), (ssize_t)bytes->size);
}

/* Reads until done says so of what came, or the connection ends (true). */
static bool client_hear(struct rig *rig, int fd, bool (*done)(const struct rig *rig))
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    while (done == NULL || !done(rig)) {
        cr_assert_gt(poll(&wait, 1, (int)(PATIENCE_NS / NS_PER_MS)), 0, "%s: nothing happens",
                     rig->served.spec.text);
        cr_assert_lt(rig->heard_size, sizeof(rig->heard));
        ssize_t n = recv(fd, rig->heard + rig->heard_size, sizeof(rig->heard) - rig->heard_size, 0);
        if (n <= 0)
            return true;
        rig->heard_size += (size_t)n;
    }
    return false;
}

/* The last whole frame of the type; false: none. */
static bool heard_frame(const struct rig *rig, uint8_t type, struct frame *found)
{
    const uint8_t *at = (const uint8_t *)rig->heard, *end = at + rig->heard_size;
    bool any = false;

    while (end - at >= 9) {
        size_t size = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
        struct frame frame;
        if ((size_t)(end - at) < 9 + size || !next_frame(&at, end, &frame))
            break;
        if (frame.type != type)
            continue;
        *found = frame;
        any = true;
    }
    return any;
}

static bool heard_answer(const struct rig *rig)
{
    struct frame frame;
    return heard_frame(rig, 1, &frame) && (frame.flags & 1);
}

static bool heard_reset(const struct rig *rig)
{
    struct frame frame;
    return heard_frame(rig, 3, &frame);
}

/* Somebody else is served, if not at the first try: the limits are short ones. */
static void expect_service(struct rig *rig)
{
    struct bytes *bytes = calloc(1, sizeof(*bytes));
    uint64_t until_ns = clock_ns() + PATIENCE_NS;
    bool answered = false;

    put_preface(bytes);
    put_request(bytes, 1, LIST);
    while (!answered && clock_ns() < until_ns) {
        int fd = client_open(rig, 0);
        client_say(fd, bytes);
        client_hear(rig, fd, heard_answer);
        answered = heard_answer(rig);
        close(fd);
    }
    cr_assert(answered, "%s: the server does not answer any more", rig->served.spec.text);
    free(bytes);
}

/* SETTINGS with an initial window of so many bytes, and the connection's as large as can be. */
static void put_greeting(struct bytes *bytes, uint32_t window)
{
    const uint8_t setting[] = {
        0,
        4,
        (uint8_t)(window >> 24),
        (uint8_t)(window >> 16),
        (uint8_t)(window >> 8),
        (uint8_t)window,
    };
    put_raw(bytes, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(bytes, 4, 0, 0, setting, sizeof(setting));
    put_frame(bytes, 8, 0, 0, "\x7f\xff\0\0", 4);
}

/* A call for 300 pictures, which are more than all buffers on the way hold. */
static void put_long_call(struct bytes *bytes)
{
    static const char name[] = "\n\vimage-1.jpg";
    struct bytes *block = calloc(1, sizeof(*block)), *message = calloc(1, sizeof(*message));
    size_t size = 300 * (sizeof(name) - 1);
    const uint8_t prefix[5] = {0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size};

    put_request_fields(block, STREAM);
    put_raw(message, prefix, sizeof(prefix));
    for (unsigned i = 0; i < 300; i++)
        put_raw(message, name, sizeof(name) - 1);
    put_frame(bytes, 1, 4, 1, block->data, block->size);
    put_frame(bytes, 0, 1, 1, message->data, message->size);
    free(block);
    free(message);
}

/* --- the limits --- */

Test(server_limits, half_open_connections_are_closed, .timeout = 120)
{
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "handshake", "80ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes));
        put_raw(bytes, "PRI * HTTP/2", 12);
        int silent = client_open(&rig, 0), half = client_open(&rig, 0);
        client_say(half, bytes);
        cr_assert(client_hear(&rig, silent, NULL));
        cr_assert(client_hear(&rig, half, NULL));
        expect_count(&rig, "h2_closed_silent", 2);
        close(silent);
        close(half);
        expect_service(&rig);
        rig_close(&rig);
        free(bytes);
    }
}

Test(server_limits, a_header_block_that_never_ends_ends_the_connection, .timeout = 120)
{
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "request-time", "80ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes)), *block = calloc(1, sizeof(*block));
        struct frame goaway;
        put_preface(bytes);
        put_request_fields(block, LIST);
        put_frame(bytes, 1, 0, 1, block->data, block->size);
        int fd = client_open(&rig, 0);
        client_say(fd, bytes);
        cr_assert(client_hear(&rig, fd, NULL));
        cr_assert(heard_frame(&rig, 7, &goaway));
        cr_assert_eq(goaway.payload[7], H2_ENHANCE_YOUR_CALM);
        expect_count(&rig, "h2_slow_requests", 1);
        close(fd);
        expect_service(&rig);
        rig_close(&rig);
        free(block);
        free(bytes);
    }
}

Test(server_limits, a_message_that_never_ends_is_reset_and_its_connection_lives, .timeout = 120)
{
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "request-time", "80ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes)), *block = calloc(1, sizeof(*block));
        struct frame frame;
        put_preface(bytes);
        put_request_fields(block, LIST);
        put_frame(bytes, 1, 4, 1, block->data, block->size);
        put_frame(bytes, 0, 0, 1, "\0\0\0", 3);
        int fd = client_open(&rig, 0);
        client_say(fd, bytes);
        cr_assert_not(client_hear(&rig, fd, heard_reset));
        cr_assert(heard_frame(&rig, 3, &frame));
        cr_assert_eq(frame.stream, 1);
        cr_assert_eq(frame.payload[3], H2_CANCEL);
        expect_count(&rig, "h2_slow_requests", 1);
        bytes->size = 0;
        put_request(bytes, 3, LIST);
        client_say(fd, bytes);
        cr_assert_not(client_hear(&rig, fd, heard_answer));
        close(fd);
        rig_close(&rig);
        free(block);
        free(bytes);
    }
}

Test(server_limits, who_does_not_answer_a_ping_is_closed, .timeout = 120)
{
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "keepalive", "80ms", "keepalive-timeout", "80ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes));
        struct frame frame;
        put_preface(bytes);
        put_request(bytes, 1, LIST);
        int fd = client_open(&rig, 0);
        client_say(fd, bytes);
        cr_assert(client_hear(&rig, fd, NULL));
        cr_assert(heard_answer(&rig), "it was served before");
        cr_assert(heard_frame(&rig, 6, &frame), "and asked");
        expect_count(&rig, "h2_closed_silent", 1);
        close(fd);
        expect_service(&rig);
        rig_close(&rig);
        free(bytes);
    }
}

Test(server_limits, readers_that_stop_are_closed, .timeout = 120)
{
    static const uint32_t windows[] = {0x7fffffff, 0};
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "stall", "100ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes));
        int fds[2];
        for (unsigned i = 0; i < 2; i++) {
            bytes->size = 0;
            put_greeting(bytes, windows[i]);
            put_long_call(bytes);
            fds[i] = client_open(&rig, 8192);
            client_say(fds[i], bytes);
            expect_count(&rig, "h2_closed_stalled", i + 1);
        }
        expect_count(&rig, "grpc_cancelled", 2);
        expect_service(&rig);
        close(fds[0]);
        close(fds[1]);
        rig_close(&rig);
        free(bytes);
    }
}

Test(server_limits, an_ended_connection_that_is_not_taken_is_cut, .timeout = 120)
{
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "linger", "80ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes));
        put_greeting(bytes, 0x7fffffff);
        put_long_call(bytes);
        int fd = client_open(&rig, 8192);
        client_say(fd, bytes);
        expect_count(&rig, "grpc_calls", 1);
        bytes->size = 0;
        put_frame(bytes, 6, 0, 1, "12345678", 8); /* a PING on a stream */
        client_say(fd, bytes);
        expect_count(&rig, "h2_closed_protocol", 1);
        expect_count(&rig, "connections_cut", 1);
        close(fd);
        expect_service(&rig);
        rig_close(&rig);
        free(bytes);
    }
}

Test(server_limits, an_idle_connection_is_told_to_go_and_ended, .timeout = 120)
{
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "idle", "100ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes));
        struct frame goaway;
        put_preface(bytes);
        put_request(bytes, 1, LIST);
        int fd = client_open(&rig, 0);
        client_say(fd, bytes);
        cr_assert(client_hear(&rig, fd, NULL), "though it answers nothing");
        cr_assert(heard_answer(&rig));
        cr_assert(heard_frame(&rig, 7, &goaway));
        cr_assert_eq(goaway.payload[7], H2_NO_ERROR);
        expect_count(&rig, "connections_idle_closed", 1);
        close(fd);
        rig_close(&rig);
        free(bytes);
    }
}

static bool heard_pong(const struct rig *rig)
{
    struct frame frame;
    return heard_frame(rig, 6, &frame) && (frame.flags & 1);
}

static bool heard_last(const struct rig *rig)
{
    struct frame frame;
    return heard_frame(rig, 6, &frame) && memcmp(frame.payload, "the last", 8) == 0;
}

/* Health's Watch says nothing for as long as nothing changes. */
Test(server_limits, a_silent_connection_with_a_call_is_not_idle, .timeout = 120)
{
    static struct rig rig;
    EACH_ENGINE(rig, "image-stream", "idle", "40ms")
    {
        struct bytes *bytes = calloc(1, sizeof(*bytes));
        put_preface(bytes);
        put_request(bytes, 1, "/grpc.health.v1.Health/Watch");
        int fd = client_open(&rig, 0);
        client_say(fd, bytes);
        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        bytes->size = 0;
        put_frame(bytes, 6, 0, 0, "12345678", 8);
        client_say(fd, bytes);
        cr_assert_not(client_hear(&rig, fd, heard_pong), "%s: it was closed", rig.served.spec.text);
        cr_assert_eq(counted(&rig, "connections_idle_closed"), 0);
        close(fd);
        rig_close(&rig);
        free(bytes);
    }
}

/* --- that they are the options' --- */

static void put_call(struct bytes *bytes, uint32_t stream, const char *path, const char *name,
                     const char *value)
{
    struct bytes *block = calloc(1, sizeof(*block));

    put_request_fields(block, path);
    if (name != NULL)
        put_field(block, name, value);
    put_frame(bytes, 1, 4, stream, block->data, block->size);
    free(block);
}

static void put_resets(struct bytes *bytes)
{
    for (uint32_t stream = 1; stream < 11; stream += 2) {
        put_call(bytes, stream, LIST, NULL, NULL);
        put_frame(bytes, 3, 0, stream, "\0\0\0\10", 4);
    }
}

static void put_pings(struct bytes *bytes)
{
    for (unsigned i = 0; i < 5; i++)
        put_frame(bytes, 6, 0, 0, "12345678", 8);
}

static void put_continuations(struct bytes *bytes)
{
    struct bytes *block = calloc(1, sizeof(*block));

    put_request_fields(block, LIST);
    put_frame(bytes, 1, 0, 1, block->data, block->size);
    for (unsigned i = 0; i < 4; i++) {
        block->size = 0;
        put_field(block, "x-more", "of it");
        put_frame(bytes, 9, i < 3 ? 0 : 4, 1, block->data, block->size);
    }
    free(block);
}

static void put_large_headers(struct bytes *bytes)
{
    static char value[5001];

    memset(value, 'v', 5000);
    put_call(bytes, 1, LIST, "x-large", value);
}

static void put_two_streams(struct bytes *bytes)
{
    put_call(bytes, 1, LIST, NULL, NULL);
    put_call(bytes, 3, LIST, NULL, NULL);
}

static void put_100_bytes(struct bytes *bytes)
{
    static const uint8_t message[105] = {0, 0, 0, 0, 100, 0x7a, 98}; /* a field nobody knows */

    put_frame(bytes, 4, 1, 0, "", 0); /* the server's window counts from here */
    put_call(bytes, 1, STREAM, NULL, NULL);
    put_frame(bytes, 0, 1, 1, message, sizeof(message));
}

static void put_questions(struct bytes *bytes)
{
    put_call(bytes, 1, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", NULL, NULL);
    put_frame(bytes, 0, 0, 1, "\0\0\0\0\2\x3a\0\0\0\0\0\2\x3a", 14);
}

static const struct limit {
    const char *option, *value, *counted;
    void (*put)(struct bytes *bytes);
} limits[] = {
    {"resets-max", "4", "h2_closed_resets", put_resets},
    {"controls-max", "4", "h2_closed_controls", put_pings},
    {"header-frames-max", "3", "h2_closed_headers", put_continuations},
    {"headers-max", "1024", "h2_closed_headers", put_large_headers},
    {"streams-max", "1", "h2_resets", put_two_streams},
    {"request-max", "99", "grpc_failed", put_100_bytes},
    {"server-window", "90", "grpc_cancelled", put_100_bytes},
    {"replies-max", "1", "grpc_failed", put_questions},
};

/* What each of them stops goes through where it is not set. */
Test(server_limits, each_is_what_its_option_says, .timeout = 120)
{
    static struct rig rig;
    struct bytes *bytes = calloc(1, sizeof(*bytes));

    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
        for (unsigned set = 0; set < 2; set++) {
            const char *const options[] = {set ? limits[i].option : NULL, limits[i].value, NULL};
            if (!rig_open(&rig, "epoll", "image-stream", options))
                break;
            bytes->size = 0;
            put_preface(bytes);
            limits[i].put(bytes);
            put_frame(bytes, 6, 0, 0, "the last", 8);
            int fd = client_open(&rig, 0);
            client_say(fd, bytes);
            if (set)
                expect_count(&rig, limits[i].counted, 1);
            else
                cr_assert_not(client_hear(&rig, fd, heard_last), "%s", limits[i].option);
            cr_assert_eq(counted(&rig, limits[i].counted), set, "%s", limits[i].option);
            close(fd);
            rig_close(&rig);
        }
    free(bytes);
}

/* Its echo can never go out: closing in order would take for ever. */
Test(server_limits, an_idle_connection_that_takes_nothing_is_ended_too, .timeout = 120)
{
    static uint8_t message[1 << 20];
    static struct rig rig;
    EACH_ENGINE(rig, "echo", "idle", "100ms", "size", "1MiB")
    {
        int fd = client_open(&rig, 4096);
        struct pollfd wait = {.fd = fd};
        for (unsigned i = 0; i < 64; i++)
            if (send(fd, message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                break;
        cr_assert_eq(poll(&wait, 1, (int)(PATIENCE_NS / NS_PER_MS)), 1, "%s: it is still open",
                     rig.served.spec.text);
        cr_assert(wait.revents & (POLLERR | POLLHUP));
        expect_count(&rig, "connections_idle_closed", 1);
        close(fd);
        rig_close(&rig);
    }
}

/* The control channel: whole messages whatever the pieces, and what no lab would send. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/record.h"
#include "run/channel.h"

TestSuite(channel, .timeout = 20);

struct ends {
    struct channel channel;
    int raw; /* the other end */
};

static void ends_open(struct ends *ends)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    channel_open(&ends->channel, fds[0], fds[0]);
    ends->raw = fds[1];
}

static void ends_close(struct ends *ends)
{
    channel_close(&ends->channel);
    if (ends->raw >= 0)
        close(ends->raw);
}

static void raw_write(struct ends *ends, const void *data, size_t size)
{
    cr_assert_eq(write(ends->raw, data, size), (ssize_t)size);
}

static int take(struct ends *ends, Lab__Report **report)
{
    ProtobufCMessage *message = NULL;
    int r = channel_take(&ends->channel, &lab__report__descriptor, &message);
    *report = (Lab__Report *)message;
    return r;
}

/* A note, framed, in out; its size. */
static size_t note_frame(const char *text, uint8_t *out)
{
    Lab__Report report = LAB__REPORT__INIT;
    uint32_t head;

    report.what_case = LAB__REPORT__WHAT_NOTE;
    report.note = (char *)text;
    size_t size = lab__report__pack(&report, out + 4);
    head = htobe32((uint32_t)size);
    memcpy(out, &head, 4);
    return size + 4;
}

Test(channel, a_message_goes_over)
{
    struct ends ends;
    struct channel far;
    Lab__Report report = LAB__REPORT__INIT, *back;

    ends_open(&ends);
    channel_open(&far, ends.raw, ends.raw);
    report.what_case = LAB__REPORT__WHAT_NOTE;
    report.note = "hello";
    cr_assert_eq(take(&ends, &back), -EAGAIN);
    cr_assert_eq(channel_send(&far, &report.base), 0);
    cr_assert_eq(take(&ends, &back), 0);
    cr_assert_eq(back->what_case, LAB__REPORT__WHAT_NOTE);
    cr_assert_str_eq(back->note, "hello");
    lab__report__free_unpacked(back, NULL);
    ends_close(&ends);
}

Test(channel, a_byte_at_a_time)
{
    struct ends ends;
    uint8_t frame[64];
    Lab__Report *back;
    size_t size = note_frame("piecemeal", frame);

    ends_open(&ends);
    for (size_t i = 0; i < size; i++) {
        cr_assert_eq(take(&ends, &back), -EAGAIN, "before byte %zu", i);
        raw_write(&ends, &frame[i], 1);
    }
    cr_assert_eq(take(&ends, &back), 0);
    cr_assert_str_eq(back->note, "piecemeal");
    lab__report__free_unpacked(back, NULL);
    ends_close(&ends);
}

Test(channel, several_at_once_are_told_apart)
{
    struct ends ends;
    uint8_t frames[256];
    Lab__Report *back;
    size_t size = note_frame("one", frames);

    size += note_frame("", frames + size);
    size += note_frame("three", frames + size);
    ends_open(&ends);
    raw_write(&ends, frames, size);
    static const char *const texts[] = {"one", "", "three"};
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(take(&ends, &back), 0);
        cr_assert_str_eq(back->note, texts[i]);
        lab__report__free_unpacked(back, NULL);
    }
    cr_assert_eq(take(&ends, &back), -EAGAIN);
    ends_close(&ends);
}

Test(channel, every_truncation_is_an_end)
{
    uint8_t frame[64];
    size_t size = note_frame("cut somewhere", frame);

    for (size_t kept = 0; kept < size; kept++) {
        struct ends ends;
        Lab__Report *back;
        ends_open(&ends);
        raw_write(&ends, frame, kept);
        shutdown(ends.raw, SHUT_WR);
        cr_assert_eq(take(&ends, &back), -EPIPE, "after %zu bytes", kept);
        cr_assert_null(back);
        ends_close(&ends);
    }
}

Test(channel, garbage_is_refused_and_stays_refused)
{
    static const char banner[] = "Welcome to host-b! You have mail.\n";
    struct ends ends;
    Lab__Report *back;

    ends_open(&ends);
    raw_write(&ends, banner, sizeof(banner) - 1);
    cr_assert_eq(take(&ends, &back), -EPROTO);
    cr_assert_eq(take(&ends, &back), -EPROTO);
    ends_close(&ends);
}

Test(channel, a_body_that_is_no_message)
{
    static const uint8_t frame[] = {0, 0, 0, 3, 0xff, 0xff, 0xff};
    struct ends ends;
    Lab__Report *back;

    ends_open(&ends);
    raw_write(&ends, frame, sizeof(frame));
    cr_assert_eq(take(&ends, &back), -EPROTO);
    ends_close(&ends);
}

/* The length alone takes no memory: whoever claims 16 MiB has to send them. */
Test(channel, memory_grows_with_what_came)
{
    static const uint8_t head[] = {0x00, 0xff, 0xff, 0xff};
    struct ends ends;
    Lab__Report *back;

    ends_open(&ends);
    raw_write(&ends, head, sizeof(head));
    cr_assert_eq(take(&ends, &back), -EAGAIN);
    cr_assert_leq(ends.channel.room, 2 * 65536u);
    ends_close(&ends);
}

/* Empty slices of two bytes each unpack to a struct each: that is bounded too. */
Test(channel, a_small_message_cannot_unpack_to_a_huge_one)
{
    static uint8_t body[8u << 20];
    struct ends ends;
    Lab__Report *back;
    size_t slices = (sizeof(body) - 16) / 2, at = 0;
    uint32_t inner = (uint32_t)(2 * slices);

    body[at++] = 4 << 3 | 2; /* Report.record */
    for (; inner >= 128; inner >>= 7)
        body[at++] = (uint8_t)(inner | 128);
    body[at++] = (uint8_t)inner;
    for (size_t i = 0; i < slices; i++) {
        body[at++] = 15 << 3 | 2; /* Record.slices */
        body[at++] = 0;
    }
    uint32_t head = htobe32((uint32_t)at);
    ends_open(&ends);
    pid_t writer = fork(); /* more than a socket holds */
    if (writer == 0) {
        if (write(ends.raw, &head, 4) != 4 || write(ends.raw, body, at) != (ssize_t)at)
            _exit(1);
        _exit(0);
    }
    ProtobufCMessage *message = NULL;
    int r = channel_receive(&ends.channel, &lab__report__descriptor, clock_ns() + 10 * NS_PER_S,
                            &message);
    back = (Lab__Report *)message;
    cr_assert_eq(r, -EPROTO, "%d", r);
    cr_assert_null(back);
    ends_close(&ends);
}

Test(channel, the_largest_record_there_may_be_passes)
{
    struct ends ends;
    static char text[4000];
    Lab__Report report = LAB__REPORT__INIT;
    Lab__Record record = LAB__RECORD__INIT;
    Lab__Slice slices[4096], *list[4096];

    memset(text, 'x', sizeof(text) - 1);
    for (unsigned i = 0; i < 4096; i++) {
        lab__slice__init(&slices[i]);
        slices[i].end_ns = UINT64_MAX;
        list[i] = &slices[i];
    }
    record.side = text;
    record.slices = list;
    record.n_slices = 4096;
    report.what_case = LAB__REPORT__WHAT_RECORD;
    report.record = &record;
    ends_open(&ends);
    struct channel far;
    channel_open(&far, ends.raw, ends.raw);
    pid_t writer = fork();
    if (writer == 0)
        _exit(channel_send(&far, &report.base) == 0 ? 0 : 1);
    ProtobufCMessage *message = NULL;
    cr_assert_eq(channel_receive(&ends.channel, &lab__report__descriptor,
                                 clock_ns() + 10 * NS_PER_S, &message),
                 0);
    cr_assert_eq(((Lab__Report *)message)->record->n_slices, 4096);
    protobuf_c_message_free_unpacked(message, NULL);
    ends_close(&ends);
}

/* To a child that has just died: an error, and no signal that ends the controller. */
Test(channel, sending_to_who_is_gone_is_an_error)
{
    struct ends ends;
    Lab__Order order = LAB__ORDER__INIT;
    Lab__Order__Stop stop = LAB__ORDER__STOP__INIT;

    signal(SIGPIPE, SIG_DFL);
    ends_open(&ends);
    close(ends.raw);
    ends.raw = -1;
    order.what_case = LAB__ORDER__WHAT_STOP;
    order.stop = &stop;
    cr_assert_eq(channel_send(&ends.channel, &order.base), -EPIPE);
    ends_close(&ends);
}

Test(channel, pipes_do_as_well)
{
    int fds[2];
    struct channel in, out;
    Lab__Order order = LAB__ORDER__INIT;
    Lab__Order__Stop stop = LAB__ORDER__STOP__INIT;
    ProtobufCMessage *message = NULL;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    channel_open(&in, fds[0], -1);
    channel_open(&out, -1, fds[1]);
    order.what_case = LAB__ORDER__WHAT_STOP;
    order.stop = &stop;
    cr_assert_eq(channel_send(&out, &order.base), 0);
    cr_assert_eq(channel_take(&in, &lab__order__descriptor, &message), 0);
    cr_assert_eq(((Lab__Order *)message)->what_case, LAB__ORDER__WHAT_STOP);
    protobuf_c_message_free_unpacked(message, NULL);
    channel_close(&in);
    channel_close(&out);
}

Test(channel, waiting_ends_at_the_deadline)
{
    struct ends ends;
    ProtobufCMessage *message = NULL;

    ends_open(&ends);
    uint64_t began_ns = clock_ns();
    cr_assert_eq(channel_receive(&ends.channel, &lab__report__descriptor, began_ns + 20 * NS_PER_MS,
                                 &message),
                 -ETIMEDOUT);
    cr_assert_geq(clock_ns() - began_ns, 20 * NS_PER_MS);
    ends_close(&ends);
}

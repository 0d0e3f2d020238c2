/*
 * A schedule and next to nothing else: a loop that reads the clock, and notes how late it was when
 * it saw that an op was due. What it finds late, no generator on that CPU can send in time: it is
 * the part of lab's slip that is the machine's. With BUSY, an op keeps it busy for that share of
 * the time between two of them, as it does any client: after each gap it has to catch up.
 *
 *     bare_clock RATE SECONDS CPU [BUSY]
 */
#include "bare.h"

#define BATCHES     200u
#define BATCH_READS 50u

/* What one of some readings of the clock takes, where nothing comes between: a gap's time is not
 * time in which work got done, so that work is counted in readings. */
static double read_ns(void)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < BATCHES; i++) {
        uint64_t begun = now_ns(), now = begun;
        for (unsigned k = 0; k < BATCH_READS; k++)
            now = now_ns();
        least = now - begun < least ? now - begun : least;
    }
    return least > 0 ? (double)least / BATCH_READS : 1;
}

int main(int argc, char **argv)
{
    static const double one = 1;
    double busy = 0;

    if (argc != 4 && argc != 5)
        die("usage: bare_clock RATE SECONDS CPU [BUSY]");
    uint64_t interval_ns = (uint64_t)(1e9 / parse_number("rate", argv[1], "", &one, 1, 1e8));
    opt.seconds = parse_number("seconds", argv[2], "", &one, 0.001, 3600);
    opt.cpu = (int)parse_number("cpu", argv[3], "", &one, 0, CPU_SETSIZE - 1);
    if (argc == 5)
        busy = parse_number("busy", argv[4], "", &one, 0, 0.99);
    set_up_process();
    uint64_t reads = (uint64_t)(busy * (double)interval_ns / read_ns());
    uint64_t due_ns = now_ns(), end_ns = due_ns + (uint64_t)(opt.seconds * 1e9);
    while (due_ns < end_ns) {
        uint64_t now = now_ns();
        for (; due_ns <= now && due_ns < end_ns; due_ns += interval_ns) {
            hist_record(&due.slip, now - due_ns);
            for (uint64_t k = 0; k < reads; k++)
                now = now_ns();
        }
    }
    putchar('{');
    print_slip();
    puts("}");
    return 0;
}

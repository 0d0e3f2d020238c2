/*
 * A schedule and nothing else: a loop that reads the clock, and notes how late it was when it saw
 * that an op was due. What it finds late, no generator on that CPU can send in time: it is the part
 * of lab's slip that is the machine's.
 *
 *     bare_clock RATE SECONDS CPU
 */
#include "bare.h"

int main(int argc, char **argv)
{
    static const double one = 1;

    if (argc != 4)
        die("usage: bare_clock RATE SECONDS CPU");
    uint64_t interval_ns = (uint64_t)(1e9 / parse_number("rate", argv[1], "", &one, 1, 1e8));
    opt.seconds = parse_number("seconds", argv[2], "", &one, 0.001, 3600);
    opt.cpu = (int)parse_number("cpu", argv[3], "", &one, 0, CPU_SETSIZE - 1);
    set_up_process();
    uint64_t due_ns = now_ns(), end_ns = due_ns + (uint64_t)(opt.seconds * 1e9);
    while (due_ns < end_ns) {
        uint64_t now = now_ns();
        for (; due_ns <= now && due_ns < end_ns; due_ns += interval_ns)
            hist_record(&due.slip, now - due_ns);
    }
    putchar('{');
    print_slip();
    puts("}");
    return 0;
}

/* Number syntax: what is read, what is refused, and that what is written is read again. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "core/parse.h"
#include "core/rng.h"

TestSuite(parse, .timeout = 20);

enum what { SIZE, COUNT, RATE, TIME, SECONDS };

static int read_as(enum what what, const char *text, uint64_t *value, struct lab_error *err)
{
    switch (what) {
    case SIZE: return parse_size(text, "--it", value, err);
    case COUNT: return parse_count(text, "--it", value, err);
    case RATE: return parse_rate(text, "--it", value, err);
    case TIME: return parse_time(text, "--it", false, value, err);
    case SECONDS: return parse_time(text, "--it", true, value, err);
    }
    return -ENOSYS;
}

struct good {
    enum what what;
    char text[32];
    uint64_t value;
};

ParameterizedTestParameters(parse, reads)
{
    static struct good rows[] = {
        {SIZE, "0", 0},
        {SIZE, "64", 64},
        {SIZE, "64B", 64},
        {SIZE, "16k", 16384},
        {SIZE, "16K", 16384},
        {SIZE, "16KiB", 16384},
        {SIZE, "16kB", 16000},
        {SIZE, "16KB", 16000},
        {SIZE, "1M", 1048576},
        {SIZE, "1MiB", 1048576},
        {SIZE, "1m", 1048576},
        {SIZE, "2g", 2147483648},
        {SIZE, "1MB", 1000000},
        {SIZE, "2G", 2147483648},
        {SIZE, "2GiB", 2147483648},
        {SIZE, "2GB", 2000000000},
        {SIZE, "1T", 1099511627776},
        {SIZE, "1TB", 1000000000000},
        {SIZE, "1.5k", 1536},
        {SIZE, "0.5MiB", 524288},
        {SIZE, ".5k", 512},
        {SIZE, "9223372036854775807", INT64_MAX},
        {SIZE, "007", 7},
        {COUNT, "32", 32},
        {COUNT, "10k", 10000},
        {COUNT, "1M", 1000000},
        {COUNT, "1.25M", 1250000},
        {COUNT, "18446744073709551615", UINT64_MAX},
        {COUNT, "18446744073709.551615M", UINT64_MAX},
        {RATE, "500", 500},
        {RATE, "500/s", 500},
        {RATE, "10k/s", 10000},
        {TIME, "0", 0},
        {TIME, "0.0", 0},
        {TIME, "0s", 0},
        {TIME, "1ns", 1},
        {TIME, "50us", 50000},
        {TIME, "50\u00b5s", 50000},
        {TIME, "500ms", 500000000},
        {TIME, "1.5s", 1500000000},
        {TIME, "0.1us", 100},
        {TIME, "5m", 300000000000},
        {TIME, "1h", 3600000000000},
        {SECONDS, "10", 10000000000},
        {SECONDS, "0.5", 500000000},
        {SECONDS, "10ms", 10000000},
        {SECONDS, "0.000000001", 1},
    };
    return cr_make_param_array(struct good, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct good *row, parse, reads)
{
    struct lab_error err = {""};
    uint64_t value = 0;

    cr_assert_eq(read_as(row->what, row->text, &value, &err), 0, "'%s': %s", row->text, err.text);
    cr_assert_eq(value, row->value, "'%s': %llu", row->text, (unsigned long long)value);
}

struct bad {
    enum what what;
    char text[48];
    char says[32];
};

ParameterizedTestParameters(parse, refuses)
{
    static struct bad rows[] = {
        {SIZE, "", "no value"},
        {SIZE, " 1", "not understood"},
        {SIZE, "1 ", "not understood"},
        {SIZE, "1 k", "not understood"},
        {SIZE, "+1", "not understood"},
        {SIZE, "-1", "not understood"},
        {SIZE, "0x10", "not understood"},
        {SIZE, "1e3", "not understood"},
        {SIZE, "1kb", "not understood"},
        {SIZE, "k", "not understood"},
        {SIZE, ".", "not understood"},
        {SIZE, "1.", "whole number"},
        {SIZE, "1.5", "whole number"},
        {SIZE, "1.0001k", "whole number"},
        {SIZE, "1.0000000000000000000", "whole number"},
        {SIZE, "9223372036854775808", "too large"},
        {SIZE, "8388608T", "too large"},
        {SIZE, "99999999999999999999999", "too large"},
        {SIZE, "1\n", "not understood"},
        {COUNT, "1KiB", "not understood"},
        {COUNT, "1B", "not understood"},
        {COUNT, "18446744073709551616", "too large"},
        {COUNT, "18446744073709552k", "too large"},
        {RATE, "10/m", "not understood"},
        {RATE, "/s", "not understood"},
        {RATE, "1/s/s", "not understood"},
        {TIME, "50", "50us, 50ms or 50s"},
        {TIME, "1.5", "no unit"},
        {TIME, "1sec", "not understood"},
        {TIME, "1S", "not understood"},
        {TIME, "0.5ns", "whole number"},
        {TIME, "2562048h", "too large"},
        {TIME, "s", "not understood"},
        {SECONDS, "", "bare number is seconds"},
        {SECONDS, "10x", "bare number is seconds"},
        {SECONDS, "9223372037", "too large"},
        {SECONDS, "0.0000000001", "whole number"},
    };
    return cr_make_param_array(struct bad, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct bad *row, parse, refuses)
{
    struct lab_error err = {""};
    uint64_t value = 77;

    cr_assert_eq(read_as(row->what, row->text, &value, &err), -EINVAL, "'%s'", row->text);
    cr_assert_eq(value, 77, "'%s': touched", row->text);
    cr_assert(strstr(err.text, row->says), "'%s': %s", row->text, err.text);
    cr_assert_eq(strncmp(err.text, "--it: ", 6), 0, "%s", err.text);
    cr_assert_eq(read_as(row->what, row->text, &value, NULL), -EINVAL);
}

/* --- CPU lists --- */

struct list {
    char text[32];
    int result;
    unsigned cpus[8];
};

ParameterizedTestParameters(parse, cpu_lists)
{
    static struct list rows[] = {
        {"0", 1, {0}},
        {"0-3", 4, {0, 1, 2, 3}},
        {"0-3,8,10-11", 7, {0, 1, 2, 3, 8, 10, 11}},
        {"11,10,8,0", 4, {0, 8, 10, 11}},
        {"2,2,1-3,2", 3, {1, 2, 3}},
        {"5-5", 1, {5}},
        {"0-7", 8, {0, 1, 2, 3, 4, 5, 6, 7}},
        {"4294967294", 1, {4294967294}},
        {"0-8", -E2BIG, {0}},
        {"0-4294967294", -E2BIG, {0}},
        {"1,3,5,7,9,11,13,15,17", -E2BIG, {0}},
        {"", -EINVAL, {0}},
        {",", -EINVAL, {0}},
        {"0,", -EINVAL, {0}},
        {",0", -EINVAL, {0}},
        {"0,,1", -EINVAL, {0}},
        {"3-1", -EINVAL, {0}},
        {"-1", -EINVAL, {0}},
        {"1-", -EINVAL, {0}},
        {"1-2-3", -EINVAL, {0}},
        {"0 1", -EINVAL, {0}},
        {"0x1", -EINVAL, {0}},
        {"all", -EINVAL, {0}},
        {"4294967295", -EINVAL, {0}},
        {"99999999999999999999999", -EINVAL, {0}},
    };
    return cr_make_param_array(struct list, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct list *row, parse, cpu_lists)
{
    struct lab_error err = {""};
    unsigned cpus[8];

    cr_assert_eq(parse_cpu_list(row->text, "--client-cpus", cpus, 8, &err), row->result, "'%s': %s",
                 row->text, err.text);
    if (row->result > 0)
        cr_assert_arr_eq(cpus, row->cpus, (size_t)row->result * sizeof(cpus[0]));
    else
        cr_assert(strstr(err.text, "--client-cpus"), "%s", err.text);
}

/* --- suggestions --- */

struct typo {
    char text[80], suggestion[32];
};

ParameterizedTestParameters(parse, suggestions)
{
    static struct typo rows[] = {
        {"spni", "spin"},
        {"SPIN", "spin"},
        {"spi", "spin"},
        {"sping", "spin"},
        {"busy-poll", "busy_poll"},
        {"busypoll", "busy_poll"},
        {"conections", "connections"},
        {"conn", "connections"},
        {"bfus", "bufs"},
        {"b", ""},
        {"", ""},
        {"xyzzy", ""},
        {"bu", ""}, /* bufs and busy_poll begin so */
        {"speed", ""},
        {"a-name-that-is-longer-than-any-option-of-any-engine-could-ever-be-in-earnest", ""},
    };
    return cr_make_param_array(struct typo, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct typo *row, parse, suggestions)
{
    static const char *const names[] = {"spin", "busy_poll", "bufs", "connections", "zc", NULL};
    const char *suggestion = parse_suggest(row->text, names);

    cr_assert_str_eq(suggestion != NULL ? suggestion : "", row->suggestion, "for '%s'", row->text);
}

Test(parse, suggests_nothing_of_nothing)
{
    static const char *const none[] = {NULL};

    cr_assert_null(parse_suggest("spin", none));
}

Test(parse, a_sentence_says_what_was_meant_or_nothing)
{
    static const char *const names[] = {"epoll", "io_uring", NULL};
    char near[PARSE_MEANT_MAX];

    cr_assert_str_eq(parse_meant("io_urng", names, near), ": did you mean 'io_uring'?");
    cr_assert_str_eq(parse_meant("frobnicate", names, near), "");
}

/* --- writing --- */

struct shown {
    double value;
    char time[16], count[16];
};

ParameterizedTestParameters(parse, shown)
{
    static struct shown rows[] = {
        {0, "0ns", "0"},
        {1, "1ns", "1"},
        {999, "999ns", "999"},
        {1000, "1.00us", "1.00k"},
        {9100, "9.10us", "9.10k"},
        {19800, "19.8us", "19.8k"},
        {99940, "99.9us", "99.9k"},
        {99960, "100us", "100.0k"},
        {118234, "118us", "118.2k"},
        {325000, "325us", "325.0k"},
        {999400, "999us", "999.4k"},
        {999600, "1.00ms", "999.6k"},
        {999960, "1.00ms", "1.00M"},
        {1104000, "1.10ms", "1.10M"},
        {1250000, "1.25ms", "1.25M"},
        {3.2e9, "3.20s", "3.20G"},
        {90e9, "90.0s", "90.0G"},
        {1200e9, "20.0m", "1200G"},
        {7200e9, "120m", "7200G"},
        {72000e9, "20.0h", "72000G"},
    };
    return cr_make_param_array(struct shown, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct shown *row, parse, shown)
{
    char text[32];

    cr_assert_str_eq(format_time((uint64_t)row->value, text, sizeof(text)), row->time);
    cr_assert_str_eq(format_count(row->value, text, sizeof(text)), row->count);
}

Test(parse, shows_other_counts)
{
    char text[32];

    cr_assert_str_eq(format_count(0.125, text, sizeof(text)), "0.12");
    cr_assert_str_eq(format_count(12.34, text, sizeof(text)), "12.3");
    cr_assert_str_eq(format_count(999.7, text, sizeof(text)), "1.00k");
    cr_assert_str_eq(format_count(-1500, text, sizeof(text)), "-1.50k");
    cr_assert_str_eq(format_count(NAN, text, sizeof(text)), "-");
    cr_assert_str_eq(format_count(INFINITY, text, sizeof(text)), "-");
    cr_assert_str_eq(format_count(-INFINITY, text, sizeof(text)), "-");
    format_count(1e300, text, sizeof(text));
    cr_assert_lt(strlen(text), sizeof(text));
    format_time(UINT64_MAX, text, sizeof(text));
    cr_assert_lt(strlen(text), sizeof(text));
}

Test(parse, exact_ones_are_read_again)
{
    struct rng rng;
    char text[32];

    cr_assert_str_eq(format_size(0, text, sizeof(text)), "0");
    cr_assert_str_eq(format_size(64, text, sizeof(text)), "64");
    cr_assert_str_eq(format_size(16384, text, sizeof(text)), "16KiB");
    cr_assert_str_eq(format_size(1000, text, sizeof(text)), "1000");
    cr_assert_str_eq(format_size(1536, text, sizeof(text)), "1536");
    cr_assert_str_eq(format_time_exact(0, text, sizeof(text)), "0s");
    cr_assert_str_eq(format_time_exact(1500000, text, sizeof(text)), "1500us");
    cr_assert_str_eq(format_time_exact(500000000, text, sizeof(text)), "500ms");
    cr_assert_str_eq(format_time_exact(90000000000, text, sizeof(text)), "90s");
    cr_assert_str_eq(format_time_exact(300000000000, text, sizeof(text)), "5m");
    rng_seed(&rng, 11);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t value = (rng_next(&rng) >> 1) >> rng_below(&rng, 63), back;

        value -= i % 3 ? value % 1000 : value % 1024;
        format_size(value, text, sizeof(text));
        cr_assert_eq(parse_size(text, "--it", &back, NULL), 0, "%s", text);
        cr_assert_eq(back, value, "%s", text);
        format_time_exact(value, text, sizeof(text));
        cr_assert_eq(parse_time(text, "--it", false, &back, NULL), 0, "%s", text);
        cr_assert_eq(back, value, "%s", text);
    }
}

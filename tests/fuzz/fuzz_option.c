/*
 * Feeds text to the reader of option lists with a table of every type. What is taken must be in
 * its range, and the list that is written of it must be read as the same options.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/option.h"
#include "core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct options {
    uint64_t bufs, rate, size, time_ns, seconds_ns, spin_ns;
    bool flag;
    int choice;
    char text[OPTION_TEXT_MAX];
};

static const char *const choices[] = {"constant", "poisson", "", NULL};

static int custom_set(void *options, const char *value, struct lab_error *err)
{
    return *value == 'x' ? lab_fail(err, EINVAL, "epoll: custom: '%s' begins with x", value) : 0;
}

#define FIELD(name) .offset = offsetof(struct options, name)

static const struct option_def numbers[] = {
    {.name = "bufs", .type = OPTION_COUNT, FIELD(bufs), .fallback = "16", .min = 1, .max = 4096},
    {.name = "rate", .type = OPTION_RATE, FIELD(rate), .min = 10},
    {.name = "size", .type = OPTION_SIZE, FIELD(size), .fallback = "64", .max = 1 << 24},
    {.name = "busy_poll", .type = OPTION_TIME, FIELD(time_ns)},
    {.name = "timeout", .type = OPTION_SECONDS, FIELD(seconds_ns), .fallback = "10s"},
    {0},
};
static const struct option_def others[] = {
    {.name = "spin", .type = OPTION_TIME_OPT, FIELD(spin_ns), .min = 1000, .max = 1000000000},
    {.name = "flag", .type = OPTION_FLAG, FIELD(flag), .fallback = "yes"},
    {.name = "choice", .type = OPTION_CHOICE, FIELD(choice), .choices = choices},
    {.name = "eal", .type = OPTION_TEXT, FIELD(text), .fallback = "--no-huge"},
    {.name = "custom", .type = OPTION_CUSTOM, .set = custom_set},
    {0},
};
static const struct option_def *const tables[] = {numbers, others, NULL};

static void check(int good)
{
    if (!good)
        abort();
}

static void check_ranges(const struct options *o)
{
    check(o->bufs >= 1 && o->bufs <= 4096);
    check(o->rate == 0 || o->rate >= 10);
    check(o->size <= 1 << 24);
    check(o->spin_ns == 0 || o->spin_ns == OPTION_ALWAYS ||
          (o->spin_ns >= 1000 && o->spin_ns <= 1000000000));
    check(o->choice >= 0 && o->choice < 3);
    check(memchr(o->text, '\0', sizeof(o->text)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct options o, again;
    struct lab_error err = {""};
    char *text = malloc(size + 1), written[2048];

    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    memset(&o, 0, sizeof(o));
    option_defaults(numbers, &o);
    option_defaults(others, &o);
    again = o;
    if (option_parse_list(tables, &o, text, "epoll: ", &err) < 0)
        check(err.text[0] != '\0' && text_is_clean(err.text));
    else
        check(err.text[0] == '\0');
    free(text);
    check_ranges(&o);
    check(option_format_list(tables, &o, written, sizeof(written)) == 0);
    check(option_parse_list(tables, &again, written, "epoll: ", NULL) == 0);
    check(again.bufs == o.bufs && again.rate == o.rate && again.size == o.size);
    check(again.time_ns == o.time_ns && again.seconds_ns == o.seconds_ns);
    check(again.spin_ns == o.spin_ns && again.flag == o.flag && again.choice == o.choice);
    check(strcmp(again.text, o.text) == 0);
    return 0;
}

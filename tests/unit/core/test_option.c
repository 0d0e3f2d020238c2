/* Option tables: each type there and back, ranges, lists as in engine specs, and the sentences. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/option.h"

TestSuite(option, .timeout = 10);

struct options {
    uint64_t bufs, rate, size, napi_ns, duration_ns, spin_ns;
    bool zc, nodelay;
    int arrival;
    char eal[OPTION_TEXT_MAX];
    unsigned labels;
    char label[32];
};

static const char *const arrivals[] = {"constant", "poisson", NULL};

static int label_set(void *options, const char *value, struct lab_error *err)
{
    struct options *o = options;

    if (strchr(value, '=') == NULL)
        return lab_fail(err, EINVAL, "label: '%s' is not K=V", value);
    o->labels++;
    strncpy(o->label, value, sizeof(o->label) - 1);
    return 0;
}

#define FIELD(name) .offset = offsetof(struct options, name)

static const struct option_def common[] = {
    {.name = "bufs", .type = OPTION_COUNT, FIELD(bufs), .fallback = "0", .min = 1, .max = 4096},
    {.name = "size", .type = OPTION_SIZE, FIELD(size), .fallback = "64", .min = 1, .max = 1 << 24},
    {0},
};
static const struct option_def own[] = {
    {.name = "spin", .type = OPTION_TIME_OPT, FIELD(spin_ns), .min = 1000, .max = 1000000000},
    {.name = "busy_poll", .type = OPTION_TIME, FIELD(napi_ns), .argument = "HOW-LONG"},
    {.name = "duration", .type = OPTION_SECONDS, FIELD(duration_ns), .fallback = "500ms"},
    {.name = "rate", .type = OPTION_RATE, FIELD(rate), .min = 10},
    {.name = "zc", .type = OPTION_FLAG, FIELD(zc)},
    {.name = "nodelay", .type = OPTION_FLAG, FIELD(nodelay), .fallback = "yes"},
    {.name = "arrival",
     .type = OPTION_CHOICE,
     FIELD(arrival),
     .fallback = "poisson",
     .choices = arrivals},
    {.name = "eal", .type = OPTION_TEXT, FIELD(eal), .fallback = "--no-huge"},
    {.name = "label", .type = OPTION_CUSTOM, .set = label_set, .argument = "K=V"},
    {0},
};
static const struct option_def *const tables[] = {common, own, NULL};

static struct options options_make(void)
{
    struct options o = {0};

    option_defaults(common, &o);
    option_defaults(own, &o);
    return o;
}

static const struct option_def *find(const char *name)
{
    const struct option_def *def = option_find(common, name);

    return def != NULL ? def : option_find(own, name);
}

Test(option, defaults)
{
    struct options o = options_make();

    cr_assert_eq(o.bufs, 0, "a fallback may lie outside of the range");
    cr_assert_eq(o.size, 64);
    cr_assert_eq(o.duration_ns, 500000000);
    cr_assert_eq(o.spin_ns, 0);
    cr_assert_eq(o.nodelay, true);
    cr_assert_eq(o.zc, false);
    cr_assert_eq(o.arrival, 1);
    cr_assert_str_eq(o.eal, "--no-huge");
    for (unsigned t = 0; tables[t] != NULL; t++) {
        for (const struct option_def *def = tables[t]; def->name != NULL; def++)
            cr_assert(option_is_default(def, &o), "%s", def->name);
    }
}

Test(option, finding)
{
    cr_assert_eq(option_find(own, "spin"), &own[0]);
    cr_assert_eq(option_find(own, "busy-poll"), &own[1]);
    cr_assert_eq(option_find(own, "busy_poll"), &own[1]);
    cr_assert_null(option_find(own, "busy"));
    cr_assert_null(option_find(own, "busy_poll_"));
    cr_assert_null(option_find(own, ""));
    cr_assert_null(option_find(own, "bufs"));
}

/* --- one option --- */

struct set {
    char name[16];
    char value[32]; /* "-": none is given */
    char written[32];
};

ParameterizedTestParameters(option, sets)
{
    static struct set rows[] = {
        {"bufs", "4k", "4000"},
        {"bufs", "1", "1"},
        {"size", "16k", "16KiB"},
        {"size", "1000", "1000"},
        {"rate", "10k/s", "10000"},
        {"busy_poll", "1500us", "1500us"},
        {"busy_poll", "0", "0s"},
        {"duration", "10", "10s"},
        {"duration", "10ms", "10ms"},
        {"spin", "-", "always"},
        {"spin", "always", "always"},
        {"spin", "50us", "50us"},
        {"zc", "-", "yes"},
        {"zc", "on", "yes"},
        {"zc", "1", "yes"},
        {"zc", "true", "yes"},
        {"nodelay", "no", "no"},
        {"nodelay", "off", "no"},
        {"arrival", "constant", "constant"},
        {"eal", "-m 128 --vdev=a,b", "-m 128 --vdev=a,b"},
    };
    return cr_make_param_array(struct set, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct set *row, option, sets)
{
    struct options o = options_make(), again = options_make();
    const struct option_def *def = find(row->name);
    const char *value = strcmp(row->value, "-") == 0 ? NULL : row->value;
    struct lab_error err = {""};
    char text[OPTION_TEXT_MAX];

    cr_assert_eq(option_set(def, &o, value, "--", &err), 0, "%s", err.text);
    cr_assert_str_eq(option_format(def, &o, text, sizeof(text)), row->written);
    cr_assert_eq(option_set(def, &again, text, "--", &err), 0, "%s", err.text);
    cr_assert_eq(memcmp(&o, &again, sizeof(o)), 0, "%s is not read as it is written", row->name);
    cr_assert_not(option_is_default(def, &o) && strcmp(row->name, "busy_poll") != 0);
}

struct refused {
    char name[16], value[40], sentence[160];
};

ParameterizedTestParameters(option, refuses)
{
    static struct refused rows[] = {
        {"bufs", "0", "epoll: bufs: 0 is too small; it takes 1 to 4096"},
        {"bufs", "4097", "epoll: bufs: 4097 is too large; it takes 1 to 4096"},
        {"bufs", "x", "epoll: bufs: 'x' is not understood; give a whole number such as"},
        {"bufs", "-", "epoll: bufs needs a value: a number such as 32 or 10k"},
        {"size", "32M", "epoll: size: 32MiB is too large; it takes 1 to 16MiB"},
        {"rate", "9", "epoll: rate: 9 is too small; it takes 10 or more"},
        {"busy_poll", "50", "epoll: busy_poll: '50' has no unit; write 50us, 50ms or 50s"},
        {"busy_poll", "-", "epoll: busy_poll needs a value: a time such as"},
        {"spin", "999ns", "epoll: spin: 999ns is too small; it takes 1us to 1s"},
        {"spin", "2s", "epoll: spin: 2s is too large; it takes 1us to 1s"},
        {"spin", "maybe", "epoll: spin: 'maybe' is not understood; give a time such as"},
        {"zc", "maybe", "epoll: zc: 'maybe' is neither yes nor no"},
        {"arrival", "-", "epoll: arrival needs a value: constant, poisson"},
        {"arrival", "poison",
         "epoll: arrival: 'poison' is not one of constant, poisson; did you mean 'poisson'?"},
        {"arrival", "uniform", "epoll: arrival: 'uniform' is not one of constant, poisson"},
        {"label", "x", "label: 'x' is not K=V"},
        {"label", "-", "epoll: label needs a value: K=V"},
        {"label", "", "epoll: label: the value is empty; it takes K=V"},
        {"eal", "", "epoll: eal: the value is empty; it takes some text, or leave it out"},
    };
    return cr_make_param_array(struct refused, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct refused *row, option, refuses)
{
    struct options o = options_make(), before = options_make();
    const char *value = strcmp(row->value, "-") == 0 ? NULL : row->value;
    struct lab_error err = {""};

    cr_assert_eq(option_set(find(row->name), &o, value, "epoll: ", &err), -EINVAL);
    cr_assert_eq(strncmp(err.text, row->sentence, strlen(row->sentence)), 0, "%s", err.text);
    cr_assert_eq(memcmp(&o, &before, sizeof(o)), 0, "%s was touched", row->name);
}

Test(option, off_is_off)
{
    struct options o = options_make();
    char text[OPTION_TEXT_MAX];

    cr_assert_eq(option_set(find("spin"), &o, NULL, "", NULL), 0);
    cr_assert_eq(o.spin_ns, OPTION_ALWAYS);
    cr_assert_eq(option_set(find("spin"), &o, "off", "", NULL), 0);
    cr_assert_eq(o.spin_ns, 0);
    cr_assert_str_eq(option_format(find("spin"), &o, text, sizeof(text)), "off");
}

Test(option, texts_are_bounded)
{
    struct options o = options_make();
    struct lab_error err;
    char text[OPTION_TEXT_MAX + 1], out[8];

    memset(text, 'x', OPTION_TEXT_MAX);
    text[OPTION_TEXT_MAX] = '\0';
    cr_assert_eq(option_set(find("eal"), &o, text, "dpdk: ", &err), -EINVAL);
    cr_assert(strstr(err.text, "255 bytes at most"), "%s", err.text);
    text[OPTION_TEXT_MAX - 1] = '\0';
    cr_assert_eq(option_set(find("eal"), &o, text, "dpdk: ", &err), 0);
    cr_assert_str_eq(o.eal, text);
    cr_assert_str_eq(option_format(find("eal"), &o, out, sizeof(out)), "xxxxxxx");
}

/* --- unknown names --- */

struct unknown {
    char name[80], context[16], sentence[160];
};

ParameterizedTestParameters(option, unknown)
{
    static struct unknown rows[] = {
        {"spni", "epoll: ",
         "unknown option 'spni' of epoll; did you mean 'spin'? it takes: bufs, size, spin, "},
        {"xyzzy", "epoll: ", "unknown option 'xyzzy' of epoll; it takes: bufs, size, spin, "},
        {"xyzzy", "", "unknown option 'xyzzy'; it takes: bufs, size, "},
        {"duratoin", "--", "unknown option '--duratoin'; did you mean '--duration'?"},
        {"xyzzy", "--", "unknown option '--xyzzy'; --help lists them"},
    };
    return cr_make_param_array(struct unknown, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct unknown *row, option, unknown)
{
    struct lab_error err = {""};

    cr_assert_eq(option_unknown(tables, row->name, row->context, &err), -EINVAL);
    cr_assert_eq(strncmp(err.text, row->sentence, strlen(row->sentence)), 0, "%s", err.text);
}

Test(option, unknown_where_there_is_none)
{
    static const struct option_def *const none[] = {NULL};
    struct lab_error err;

    cr_assert_eq(option_unknown(none, "spin", "null: ", &err), -EINVAL);
    cr_assert_str_eq(err.text, "unknown option 'spin' of null; it takes none");
}

/* --- lists --- */

struct list {
    char text[80];
    char written[80]; /* what option_format_list makes of it */
};

ParameterizedTestParameters(option, lists)
{
    static struct list rows[] = {
        {"", ""},
        {"spin", "spin"},
        {"spin=50us,bufs=4", "bufs=4,spin=50us"},
        {"busy-poll=50us,zc,nodelay=no", "busy_poll=50us,zc,nodelay=no"},
        {"arrival=poisson,size=64", ""},
        {"eal=-m 1\\,b=c\\\\d,bufs=2", "bufs=2,eal=-m 1\\,b=c\\\\d"},
        {"eal=\\x", "eal=\\\\x"},
        {"eal==", "eal=="},
        {"label=a=b,label=c=d", ""},
    };
    return cr_make_param_array(struct list, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct list *row, option, lists)
{
    struct options o = options_make(), again = options_make();
    struct lab_error err = {""};
    char text[256];

    cr_assert_eq(option_parse_list(tables, &o, row->text, "epoll: ", &err), 0, "%s", err.text);
    cr_assert_eq(option_format_list(tables, &o, text, sizeof(text)), 0);
    cr_assert_str_eq(text, row->written);
    cr_assert_eq(option_parse_list(tables, &again, text, "epoll: ", &err), 0, "%s", err.text);
    again.labels = o.labels;
    memcpy(again.label, o.label, sizeof(o.label));
    cr_assert_eq(memcmp(&o, &again, sizeof(o)), 0);
}

ParameterizedTestParameters(option, bad_lists)
{
    static struct list rows[] = {
        {",", "without a name"},
        {"spin,", "without a name"},
        {",spin", "without a name"},
        {"spin,,zc", "without a name"},
        {"=1", "without a name"},
        {"spni", "did you mean 'spin'?"},
        {"bufs", "needs a value"},
        {"bufs=", "no value"},
        {"bufs=1=2", "not understood"},
        {"bufs=1 ,zc", "not understood"},
        {" bufs=1", "unknown option"},
        {"eal=", "the value is empty"},
        {"bufs=4,spin,bufs=5", "epoll: bufs is given twice in 'bufs=4,spin,bufs=5'"},
        {"busy_poll=1us,busy-poll=1us", "busy_poll is given twice"},
        {"spin,spin=20us", "spin is given twice"},
    };
    return cr_make_param_array(struct list, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct list *row, option, bad_lists)
{
    struct options o = options_make();
    struct lab_error err = {""};

    cr_assert_eq(option_parse_list(tables, &o, row->text, "epoll: ", &err), -EINVAL);
    cr_assert(strstr(err.text, row->written), "%s", err.text);
    cr_assert(strstr(err.text, "epoll"), "%s", err.text);
}

Test(option, lists_are_bounded)
{
    struct options o = options_make();
    struct lab_error err;
    static char text[5000];
    char small[16];

    cr_assert_eq(option_parse_list(tables, &o, NULL, "epoll: ", &err), 0);
    memset(text, 'x', sizeof(text) - 1);
    cr_assert_eq(option_parse_list(tables, &o, text, "epoll: ", &err), -EINVAL);
    memcpy(text, "eal=", 4);
    cr_assert_eq(option_parse_list(tables, &o, text, "epoll: ", &err), -EINVAL);
    cr_assert_str_eq(o.eal, "--no-huge");
    text[4 + OPTION_TEXT_MAX - 1] = '\0';
    cr_assert_eq(option_parse_list(tables, &o, text, "epoll: ", &err), 0);
    for (size_t size = 0; size < sizeof(small); size++)
        cr_assert_eq(option_format_list(tables, &o, small, size), -ENOSPC);
}

Test(option, a_word_may_stand_for_zero)
{
    static const struct option_def table[] = {
        {.name = "window", .type = OPTION_SIZE, .min = 1024, .fallback = "auto", .zero = "auto"},
        {0},
    };
    struct lab_error err;
    uint64_t window = 7;
    char text[OPTION_TEXT_MAX];

    option_defaults(table, &window);
    cr_assert_eq(window, 0);
    cr_assert(option_is_default(table, &window));
    cr_assert_str_eq(option_format(table, &window, text, sizeof(text)), "auto");
    cr_assert_eq(option_set(table, &window, "64k", "--", &err), 0);
    cr_assert_eq(window, 65536);
    cr_assert_eq(option_set(table, &window, "auto", "--", &err), 0);
    cr_assert_eq(window, 0);
    cr_assert_eq(option_set(table, &window, "100", "--", &err), -EINVAL);
    cr_assert_eq(option_set(table, &window, "auot", "--", &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, ", or auto"), "%s", err.text);
    cr_assert_eq(option_set(table, &window, "auot", "--", NULL), -EINVAL);
}

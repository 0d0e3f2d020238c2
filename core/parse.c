/*
 * See parse.h. All numbers go through decimal_read: exact integers (1.5k is 1500, 0.3ns is
 * refused), never a double, so that what is printed back is what was typed.
 */
#include "core/parse.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"

#define FRACTION_DIGITS_MAX 18u
#define SUGGEST_LENGTH_MAX  64u

struct unit {
    const char *name;
    uint64_t scale;
};

/* Tables end with a row whose name is NULL; the largest unit comes last. */
static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"k", 1ull << 10},
    {"K", 1ull << 10},
    {"KiB", 1u << 10},
    {"kB", 1000},
    {"KB", 1000},
    {"m", 1ull << 20},
    {"M", 1ull << 20},
    {"MiB", 1u << 20},
    {"MB", 1000000},
    {"g", 1ull << 30},
    {"G", 1ull << 30},
    {"GiB", 1ull << 30},
    {"GB", NS_PER_S},
    {"T", 1ull << 40},
    {"TiB", 1ull << 40},
    {"TB", 1000 * NS_PER_S},
    {NULL, 0},
};

static const struct unit count_units[] = {
    {"", 1}, {"k", 1000}, {"K", 1000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0},
};

static const struct unit time_units[] = {
    {"ns", 1},       {"us", NS_PER_US},    {"\u00b5s", NS_PER_US}, {"ms", NS_PER_MS},
    {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {NULL, 0},
};

#define SIZE_ACCEPTS  "a size in bytes such as 64, 16k (= 16KiB), 16kB (= 16000) or 1MiB"
#define COUNT_ACCEPTS "a whole number such as 32, 10k (= 10000) or 1M"
#define TIME_ACCEPTS  "a time such as 50us, 500ms, 10s, 5m or 1h"

/* --- reading --- */

/* The digits in front: whole part, and the fraction as a number of so many digits. Returns what
 * follows, NULL if there is no number or it does not fit. */
static const char *decimal_read(const char *at, uint64_t *whole, uint64_t *fraction,
                                unsigned *fraction_digits)
{
    bool digits = isdigit((unsigned char)*at);

    *whole = *fraction = 0;
    *fraction_digits = 0;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(*whole, 10u, whole) ||
            __builtin_add_overflow(*whole, (unsigned)(*at - '0'), whole))
            return NULL;
    }
    if (*at != '.')
        return digits ? at : NULL;
    at++;
    if (!isdigit((unsigned char)*at))
        return NULL;
    for (; isdigit((unsigned char)*at); at++) {
        if (++*fraction_digits > FRACTION_DIGITS_MAX)
            return NULL;
        *fraction = *fraction * 10 + (unsigned)(*at - '0');
    }
    return at;
}

static const struct unit *unit_find(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, name) == 0)
            return units;
    }
    return NULL;
}

/* -EINVAL: not understood; -ERANGE: no whole number of the smallest unit, or beyond limit. */
static int quantity_read(const char *text, const struct unit *units, uint64_t limit,
                         uint64_t *value)
{
    uint64_t whole, fraction, power = 1;
    unsigned digits;
    const char *rest = decimal_read(text, &whole, &fraction, &digits);
    const struct unit *unit = rest != NULL ? unit_find(units, rest) : NULL;
    unsigned __int128 product, part;

    if (unit == NULL)
        return rest == NULL && isdigit((unsigned char)*text) ? -ERANGE : -EINVAL;
    while (digits-- > 0)
        power *= 10;
    part = (unsigned __int128)fraction * unit->scale;
    if (part % power != 0)
        return -ERANGE;
    product = (unsigned __int128)whole * unit->scale + part / power;
    if (product > limit)
        return -ERANGE;
    *value = (uint64_t)product;
    return 0;
}

/* The sentence for a quantity that was refused. */
static int quantity_fail(int code, const char *text, const char *what, const char *accepts,
                         struct lab_error *err)
{
    if (code == -ERANGE)
        return lab_fail(err, EINVAL, "%s: '%.60s' is too large or not a whole number; give %s",
                        what, text, accepts);
    if (*text == '\0')
        return lab_fail(err, EINVAL, "%s: no value; give %s", what, accepts);
    return lab_fail(err, EINVAL, "%s: '%.60s' is not understood; give %s", what, text, accepts);
}

int parse_size(const char *text, const char *what, uint64_t *bytes, struct lab_error *err)
{
    /* INT64_MAX: sizes become file offsets and JSON numbers. */
    int result = quantity_read(text, size_units, INT64_MAX, bytes);

    return result < 0 ? quantity_fail(result, text, what, SIZE_ACCEPTS, err) : 0;
}

int parse_count(const char *text, const char *what, uint64_t *count, struct lab_error *err)
{
    int result = quantity_read(text, count_units, UINT64_MAX, count);

    return result < 0 ? quantity_fail(result, text, what, COUNT_ACCEPTS, err) : 0;
}

int parse_rate(const char *text, const char *what, uint64_t *per_s, struct lab_error *err)
{
    size_t length = strlen(text);
    char number[64];

    if (length > 2 && length < sizeof(number) && strcmp(text + length - 2, "/s") == 0) {
        memcpy(number, text, length - 2);
        number[length - 2] = '\0';
        if (quantity_read(number, count_units, UINT64_MAX, per_s) == 0)
            return 0;
    }
    return parse_count(text, what, per_s, err);
}

int parse_time(const char *text, const char *what, bool bare_is_seconds, uint64_t *ns,
               struct lab_error *err)
{
    static const struct unit bare_second[] = {{"", NS_PER_S}, {NULL, 0}};
    /* INT64_MAX, 292 years: a time added to the clock never wraps. */
    int result = quantity_read(text, time_units, INT64_MAX, ns);
    uint64_t bare;

    if (result == 0)
        return 0;
    if (result == -EINVAL) {
        int bare_result = quantity_read(text, bare_second, INT64_MAX, &bare);

        /* 0 is the same in every unit. */
        if (bare_result == 0 && (bare_is_seconds || bare == 0)) {
            *ns = bare;
            return 0;
        }
        if (bare_result == 0)
            return lab_fail(err, EINVAL,
                            "%s: '%.60s' has no unit; write %.60sus, %.60sms or %.60ss", what, text,
                            text, text, text);
        if (bare_result == -ERANGE)
            result = bare_result;
    }
    return quantity_fail(result, text, what,
                         bare_is_seconds ? TIME_ACCEPTS "; a bare number is seconds" : TIME_ACCEPTS,
                         err);
}

/* --- CPU lists --- */

/* Digits at *at into cpu; false if there are none or they do not fit. */
static bool cpu_read(const char **at, unsigned *cpu)
{
    uint64_t value = 0;
    const char *start = *at;

    for (; isdigit((unsigned char)**at) && value <= UINT32_MAX; (*at)++)
        value = value * 10 + (unsigned)(**at - '0');
    *cpu = (unsigned)value;
    return *at != start && value < UINT32_MAX;
}

/* Keeps the list ascending and unique; false if it is full. */
static bool cpu_insert(unsigned *cpus, unsigned *count, unsigned max, unsigned cpu)
{
    unsigned place = *count;

    while (place > 0 && cpus[place - 1] > cpu)
        place--;
    if (place > 0 && cpus[place - 1] == cpu)
        return true;
    if (*count == max)
        return false;
    memmove(cpus + place + 1, cpus + place, (*count - place) * sizeof(*cpus));
    cpus[place] = cpu;
    (*count)++;
    return true;
}

int parse_cpu_list(const char *text, const char *what, unsigned *cpus, unsigned max,
                   struct lab_error *err)
{
    unsigned count = 0;
    const char *at = text;

    do {
        unsigned first, last;

        if (!cpu_read(&at, &first))
            goto bad;
        last = first;
        if (*at == '-') {
            at++;
            if (!cpu_read(&at, &last) || last < first)
                goto bad;
        }
        /* Fails at the first that does not fit, so that 0-4000000000 is no long loop. */
        for (uint64_t cpu = first; cpu <= last; cpu++) {
            if (!cpu_insert(cpus, &count, max, (unsigned)cpu))
                return lab_fail(err, E2BIG, "%s: '%.60s' names more than %u CPUs; give fewer", what,
                                text, max);
        }
    } while (*at++ == ',');
    if (at[-1] == '\0')
        return (int)count;
bad:
    return lab_fail(err, EINVAL, "%s: '%.60s' is not understood; give CPUs such as 0, 0-3 or 0,2-3",
                    what, text);
}

/* --- suggestions --- */

static unsigned min_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits that turn a into b: a letter more, less or other, or two neighbours swapped (optimal
 * string alignment; swapped letters are the commonest slip). Case costs nothing. */
static unsigned edit_distance(const char *a, const char *b, size_t a_length, size_t b_length)
{
    unsigned rows[3][SUGGEST_LENGTH_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (unsigned j = 0; j <= b_length; j++)
        above[j] = j;
    for (unsigned i = 1; i <= a_length; i++) {
        unsigned *spare = before;
        int a_at = tolower((unsigned char)a[i - 1]);

        row[0] = i;
        for (unsigned j = 1; j <= b_length; j++) {
            int b_at = tolower((unsigned char)b[j - 1]);

            row[j] = min_of(min_of(above[j], row[j - 1]) + 1, above[j - 1] + (a_at != b_at));
            if (i > 1 && j > 1 && a_at == tolower((unsigned char)b[j - 2]) &&
                b_at == tolower((unsigned char)a[i - 2]))
                row[j] = min_of(row[j], before[j - 2] + 1);
        }
        before = above;
        above = row;
        row = spare;
    }
    return above[b_length];
}

const char *parse_suggest(const char *text, const char *const *names)
{
    size_t length = strlen(text);
    /* A slip a started group of four letters, but never every letter of what was typed. */
    unsigned nearest = min_of(1 + (unsigned)(length / 4), (unsigned)length - (length > 0)) + 1;
    const char *found = NULL, *prefixed = NULL;
    unsigned prefixes = 0;

    if (length == 0 || length > SUGGEST_LENGTH_MAX)
        return NULL;
    for (; *names != NULL; names++) {
        size_t name_length = strlen(*names);
        unsigned distance;

        if (name_length > SUGGEST_LENGTH_MAX)
            continue;
        if (length >= 2 && strncasecmp(text, *names, length) == 0) {
            prefixes++;
            prefixed = *names;
        }
        distance = edit_distance(text, *names, length, name_length);
        if (distance < nearest) {
            nearest = distance;
            found = *names;
        }
    }
    /* `conn` is far from `connections` in edits, and yet clear. */
    return found == NULL && prefixes == 1 ? prefixed : found;
}

const char *parse_meant(const char *text, const char *const *names, char *out)
{
    const char *near = parse_suggest(text, names);

    out[0] = '\0';
    if (near != NULL)
        snprintf(out, PARSE_MEANT_MAX, ": did you mean '%s'?", near);
    return out;
}

/* --- writing --- */

/* Three significant digits and the unit: value is below 1000 of it after rounding, except in
 * the largest (so that 90 s and 900 s are no minutes yet). units ascend. */
static const char *scaled_format(double value, const struct unit *units, const char *out_of_range,
                                 char *out, size_t out_size)
{
    const struct unit *unit = units;
    double scaled;
    int decimals;

    if (!isfinite(value)) {
        snprintf(out, out_size, "%s", out_of_range);
        return out;
    }
    while (unit[1].name != NULL && value >= 999.5 * (double)unit->scale)
        unit++;
    scaled = value / (double)unit->scale;
    decimals = scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
    if (unit->scale == 1 && scaled == floor(scaled))
        decimals = 0;
    snprintf(out, out_size, "%.*f%s", decimals, scaled, unit->name);
    return out;
}

const char *format_time(uint64_t ns, char *out, size_t out_size)
{
    static const struct unit units[] = {
        {"ns", 1},       {"us", NS_PER_US},    {"ms", NS_PER_MS},
        {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
        {NULL, 0},
    };

    return scaled_format((double)ns, units, "", out, out_size);
}

const char *format_count(double count, char *out, size_t out_size)
{
    static const struct unit units[] = {
        {"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0},
    };
    double size = fabs(count);

    /* Thousands keep a decimal up to 999.9k: two engines at 118.2k and 118.9k differ. */
    if (size >= 99950 && size < 999950) {
        snprintf(out, out_size, "%.1fk", count / 1000);
        return out;
    }
    if (count < 0 && isfinite(count) && out_size > 1) {
        scaled_format(size, units, "-", out + 1, out_size - 1);
        out[0] = '-';
        return out;
    }
    return scaled_format(count, units, "-", out, out_size);
}

/* The largest unit that divides value without a rest. */
static const char *exact_format(uint64_t value, const struct unit *units, char *out,
                                size_t out_size)
{
    const struct unit *unit = units;

    for (const struct unit *u = units; u->name != NULL; u++) {
        if (value != 0 && value % u->scale == 0)
            unit = u;
    }
    snprintf(out, out_size, "%llu%s", (unsigned long long)(value / unit->scale), unit->name);
    return out;
}

const char *format_size(uint64_t bytes, char *out, size_t out_size)
{
    static const struct unit units[] = {
        {"", 1},           {"KiB", 1u << 10},   {"MiB", 1u << 20},
        {"GiB", 1u << 30}, {"TiB", 1ull << 40}, {NULL, 0},
    };

    return exact_format(bytes, units, out, out_size);
}

const char *format_time_exact(uint64_t ns, char *out, size_t out_size)
{
    static const struct unit zero[] = {{"s", 1}, {NULL, 0}};
    static const struct unit units[] = {
        {"ns", 1},       {"us", NS_PER_US},    {"ms", NS_PER_MS},
        {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
        {NULL, 0},
    };

    return exact_format(ns, ns == 0 ? zero : units, out, out_size);
}

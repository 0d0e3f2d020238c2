/*
 * Feeds text to every reader of numbers, CPU lists and addresses, and to the cleaning of text.
 * What is read must come back the same when it is written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/addr.h"
#include "core/parse.h"
#include "core/text.h"

#define CPUS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int good)
{
    if (!good)
        abort();
}

/* An error is one clean line that names the option; none leaves the sentence alone. */
static void check_error(int result, const struct lab_error *err)
{
    if (result < 0)
        check(text_is_clean(err->text) && strncmp(err->text, "--it", 4) == 0);
    else
        check(err->text[0] == '\0');
}

static void try_numbers(const char *text)
{
    struct lab_error err = {""};
    uint64_t value, again;
    char written[32];
    int result;

    result = parse_size(text, "--it", &value, &err);
    check_error(result, &err);
    if (result == 0) {
        format_size(value, written, sizeof(written));
        check(parse_size(written, "--it", &again, NULL) == 0 && again == value);
    }
    err.text[0] = '\0';
    check_error(parse_count(text, "--it", &value, &err), &err);
    err.text[0] = '\0';
    check_error(parse_rate(text, "--it", &value, &err), &err);
    for (int bare = 0; bare < 2; bare++) {
        err.text[0] = '\0';
        result = parse_time(text, "--it", bare, &value, &err);
        check_error(result, &err);
        if (result == 0) {
            format_time_exact(value, written, sizeof(written));
            check(parse_time(written, "--it", false, &again, NULL) == 0 && again == value);
            format_time(value, written, sizeof(written));
            check(parse_time(written, "--it", false, &again, NULL) == 0);
        }
    }
}

static void try_cpu_list(const char *text)
{
    struct lab_error err = {""};
    unsigned cpus[CPUS_MAX];
    int count = parse_cpu_list(text, "--it", cpus, CPUS_MAX, &err);

    check_error(count, &err);
    check(count != 0 && count <= (int)CPUS_MAX);
    for (int i = 1; i < count; i++)
        check(cpus[i] > cpus[i - 1]);
}

static void try_addr(const char *text)
{
    struct lab_error err = {""};
    struct addr addr, again;
    char written[ADDR_TEXT_MAX];
    int result = addr_parse(text, 8888, "--it", &addr, &err);

    check_error(result, &err);
    if (result < 0)
        return;
    addr_format(&addr, written);
    check(text_is_clean(written));
    /* A path with bytes that cannot be shown is shown otherwise. */
    if (addr_is_unix(&addr) && !text_is_clean(text))
        return;
    check(addr_parse(written, 0, "--it", &again, NULL) == 0 || addr_is_unix(&addr));
    if (!addr_is_unix(&addr))
        check(again.size == addr.size && memcmp(&again.sa, &addr.sa, addr.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"connections", "depth", "spin", "busy_poll", "", NULL};
    char *text = malloc(size + 1);

    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    try_numbers(text);
    try_cpu_list(text);
    try_addr(text);
    parse_suggest(text, names);
    check(text_is_clean(text_clean(text)));
    free(text);
    return 0;
}

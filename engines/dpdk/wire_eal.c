/*
 * DPDK's environment, so that it leaves no name anywhere: no run-time folder (--no-shconf; the
 * folder that it would make is pointed at where none can be made), hugepages unlinked, and what
 * it says kept to itself. Unprivileged, without hugepages and without a NIC unless asked.
 */
#include <ctype.h>
#include <errno.h>
#include <rte_bus.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/dpdk/wire.h"

#define EAL_ARGS_MAX   64
#define EAL_TEXT_MAX   1024
#define EAL_MB_LEAST   64u
#define EAL_FRAME_MORE 512u /* of a frame: its mbuf, its private area, the pool's header */

struct eal {
    bool started, failed, verbose;
    char args[EAL_TEXT_MAX];
    size_t args_used;
    char *argv[EAL_ARGS_MAX + 1];
    int argc;
    char said[2][160];
    FILE *log, *help, *out, *err;
};

static struct eal eal;

/* --- what it says --- */

/* The last two lines: what is wrong, and what that has led to. */
static void eal_note(const char *line, size_t size)
{
    static const char own[] = "EAL: ";

    while (size > 0 && isspace((unsigned char)line[size - 1]))
        size--;
    if (size >= sizeof(own) - 1 && strncmp(line, own, sizeof(own) - 1) == 0) {
        line += sizeof(own) - 1;
        size -= sizeof(own) - 1;
    }
    if (size == 0 || strncmp(line, "FATAL: ", 7) == 0) /* which it logs as well */
        return;
    memcpy(eal.said[0], eal.said[1], sizeof(eal.said[0]));
    snprintf(eal.said[1], sizeof(eal.said[1]), "%.*s", (int)size, line);
}

/* To stderr for who asked (-v). What goes to stdout is help, and no answer to why. */
static ssize_t eal_write(void *cookie, const char *text, size_t size)
{
    for (const char *at = text, *end; cookie == NULL && at < text + size; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text + size - at));
        end = end != NULL ? end : text + size;
        eal_note(at, (size_t)(end - at));
    }
    if (eal.verbose && write(STDERR_FILENO, text, size) < 0)
        return 0; /* which says that it failed: fopencookie(3) */
    return (ssize_t)size;
}

static FILE *eal_stream(void *cookie)
{
    static const cookie_io_functions_t functions = {.write = eal_write};
    FILE *stream = fopencookie(cookie, "w", functions);

    if (stream != NULL)
        setvbuf(stream, NULL, _IOLBF, 0);
    return stream;
}

const char *wire_eal_said(void)
{
    static char both[sizeof(eal.said) + 2];

    snprintf(both, sizeof(both), "%s%s%s", eal.said[0], eal.said[0][0] != '\0' ? "; " : "",
             eal.said[1]);
    return both;
}

void wire_eal_hush(void)
{
    memset(eal.said, 0, sizeof(eal.said));
    if (eal.log == NULL) {
        eal.log = eal_stream(NULL);
        eal.help = eal_stream(&eal);
        if (eal.log != NULL)
            rte_openlog_stream(eal.log);
    }
    eal.out = stdout;
    eal.err = stderr;
    if (eal.log == NULL || eal.help == NULL)
        return;
    stdout = eal.help;
    stderr = eal.log;
}

void wire_eal_hush_ends(void)
{
    fflush(stdout);
    fflush(stderr);
    stdout = eal.out;
    stderr = eal.err;
}

/* --- its arguments --- */

static void eal_add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void eal_add(const char *format, ...)
{
    va_list args;

    if (eal.argc == EAL_ARGS_MAX)
        return;
    va_start(args, format);
    int size = vsnprintf(eal.args + eal.args_used, sizeof(eal.args) - eal.args_used, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof(eal.args) - eal.args_used)
        return;
    eal.argv[eal.argc++] = eal.args + eal.args_used;
    eal.args_used += (size_t)size + 1;
}

/* Its one lcore runs where this thread may already: `lab --cpus` has said so. */
static void eal_add_cpus(void)
{
    char list[256] = "";
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        size_t used = strlen(list);
        if (CPU_ISSET(cpu, &set) && used + 8 < sizeof(list))
            snprintf(list + used, sizeof(list) - used, "%s%d", used > 0 ? "," : "", cpu);
    }
    eal_add("--lcores");
    eal_add("0@(%s)", list);
}

/* The pools, the rings of a device, and some for DPDK itself. */
static unsigned eal_megabytes(const struct wire_config *config)
{
    uint64_t frame = config->mtu + EAL_FRAME_MORE;
    uint64_t bytes = 2ull * config->mbufs * frame + 2ull * config->ring * frame;

    bytes += (uint64_t)config->ring * frame;          /* spare ones, to be sent */
    bytes += (uint64_t)config->ring * EAL_FRAME_MORE; /* short ones, lent as copies */
    return EAL_MB_LEAST + (unsigned)(bytes + bytes / 8) / (1u << 20);
}

static void eal_add_all(const struct wire_config *config)
{
    char extra[OPTION_TEXT_MAX], *rest = extra, *word;

    eal.argc = 0;
    eal.args_used = 0;
    eal_add("lab");
    eal_add("--no-telemetry");
    eal_add("--no-shconf");
    eal_add("--single-file-segments");
    eal_add("--file-prefix=lab%d", (int)getpid());
    eal_add_cpus();
    if (config->huge) {
        eal_add("--huge-unlink");
    } else {
        eal_add("--no-huge");
        eal_add("-m");
        eal_add("%u", eal_megabytes(config));
    }
    if (config->driver == WIRE_PCI) {
        eal_add("-a");
        eal_add("%s", config->device);
    } else {
        eal_add("--no-pci");
    }
    snprintf(extra, sizeof(extra), "%s", config->eal);
    while ((word = strsep(&rest, " ")) != NULL)
        if (*word != '\0')
            eal_add("%s", word);
    eal.argv[eal.argc] = NULL;
}

int wire_eal_check(const struct wire_config *config, struct lab_error *err)
{
    char extra[OPTION_TEXT_MAX], *rest = extra, *word;

    snprintf(extra, sizeof(extra), "%s", config->eal);
    while ((word = strsep(&rest, " ")) != NULL) {
        size_t size = strlen(word);
        /* It takes what is left out of a word, too, and -h behind -v. */
        if ((word[0] == '-' && word[1 + strspn(word + 1, "v")] == 'h') ||
            (size > 3 && strncmp(word, "--help", size) == 0))
            return lab_fail(err, EINVAL,
                            "eal=%s: DPDK would print its help and end: dpdk-testpmd --help shows "
                            "it",
                            word);
    }
    return 0;
}

/* --- the start --- */

static int eal_fail(struct lab_error *err)
{
    int code = rte_errno != 0 ? rte_errno : EIO;

    eal.failed = true;
    const char *said = wire_eal_said();
    return lab_fail(err, code, "DPDK's environment did not start (%s): %s", rte_strerror(code),
                    said[0] != '\0' ? said : "it does not say why");
}

/* It makes a folder under this name, or goes on without one: so that a process that is killed
 * leaves none behind, there must be none at any moment. */
static int eal_init_without_folder(void)
{
    char *before = getenv("RUNTIME_DIRECTORY");
    char *kept = before != NULL ? strdup(before) : NULL;

    setenv("RUNTIME_DIRECTORY", "/dev/null", 1);
    int r = rte_eal_init(eal.argc, eal.argv);
    if (kept != NULL)
        setenv("RUNTIME_DIRECTORY", kept, 1);
    else
        unsetenv("RUNTIME_DIRECTORY");
    free(kept);
    return r;
}

int wire_eal_start(const struct wire_config *config, struct lab_error *err)
{
    if (eal.started) {
        /* A thread that DPDK does not know has no cache in its pools. */
        if (rte_lcore_id() == LCORE_ID_ANY)
            rte_thread_register();
        return 0;
    }
    if (eal.failed)
        return lab_fail(err, EIO,
                        "DPDK's environment has failed before in this process, and "
                        "cannot be started twice");
    eal.verbose = config->verbose;
    eal_add_all(config);
    wire_eal_hush();
    int r = eal_init_without_folder();
    wire_eal_hush_ends();
    if (r < 0)
        return eal_fail(err);
    /* It has moved to the end what is no argument, and has not looked at it. */
    if (r + 1 < eal.argc) {
        eal.failed = true;
        return lab_fail(err, EINVAL, "eal=: '%s' is no argument of DPDK's", eal.argv[r + 1]);
    }
    eal.started = true;
    return 0;
}

uint64_t wire_cycles_hz(void)
{
    return rte_get_tsc_hz();
}

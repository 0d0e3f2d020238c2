/* See verdict.h. Each check is a function that looks at one thing; the table is their order, and
 * the first that holds is the headline. */
#include "run/verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/link.h"
#include "core/parse.h"
#include "core/text.h"

#define SENT_IN_TIME_LEAST 0.99
#define SLIP_OF_P50_MOST   0.10
#define SLIP_NS_LEAST      (20 * NS_PER_US)
#define CLIENT_CPU_MOST    0.95
#define SERVER_CPU_BUSY    0.80
#define ANSWERED_LEAST     0.99
#define TREND_MOST         0.10
#define VARIATION_MOST     0.15
#define SLICE_OPS_LEAST    30
#define STEAL_MOST         0.01
#define FOREIGN_MOST       0.02
#define SAMPLE_NS          (4e6) /* CONFIG_HZ is 250 or more nearly everywhere */
#define SAMPLE_SIGMAS      3
#define FREQUENCY_MOST     0.05
#define OPS_LEAST          30
#define SLICES_MAX         64
#define EVIDENCE_BYTES     200
#define SIDES_MAX          32 /* sets of CPUs that processes of a trial are pinned to */

struct judge {
    const struct run_case *c;
    struct run_trial *trial;
    const struct verdict_facts *facts;
};

static void add(struct run_verdict *list, size_t *count, size_t max, const char *name,
                const char *format, va_list args)
{
    if (*count == max)
        return;
    list[*count].name = name;
    char *evidence = list[*count].evidence;
    size_t room = sizeof(list[*count].evidence);
    if ((size_t)vsnprintf(evidence, room, format, args) >= room) {
        evidence[room - sizeof("...")] = '\0'; /* perhaps within a character */
        strcat(text_clean(evidence), "...");
    }
    ++*count;
}

__attribute__((format(printf, 3, 4))) static void verdict(const struct judge *j, const char *name,
                                                          const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(j->trial->verdicts, &j->trial->verdicts_count, RUN_VERDICTS_MAX, name, format, args);
    va_end(args);
}

__attribute__((format(printf, 3, 4))) static void watermark(const struct judge *j, const char *name,
                                                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(j->trial->watermarks, &j->trial->watermarks_count, RUN_WATERMARKS_MAX, name, format, args);
    va_end(args);
}

/* Useful CPU of a side, as a share of the CPUs that it could have used: of its busiest process.
 * NAN: nobody can see it. */
static double side_load(const struct run_trial *trial, const struct run_process *processes,
                        size_t count)
{
    double most = NAN;

    for (size_t i = 0; i < count; i++) {
        if (processes[i].record == NULL || trial->duration_s <= 0)
            continue;
        const Lab__Process *p = processes[i].record->process;
        unsigned cpus[1024];
        int cpu_count = parse_cpu_list(p->cpus, "cpus", cpus, 1024, NULL);
        bool spins = processes[i].ready != NULL && strcmp(processes[i].ready->wait, "spin") == 0;
        /* A poller's CPU is always full: what it did beside looking is what counts, where that is
         * seen. */
        if (spins && p->busy_ns == 0)
            continue;
        double used_ns = (double)(spins ? p->busy_ns : p->cpu_ns);
        double threads = (double)(processes[i].ready != NULL ? processes[i].ready->n_tids : 1);
        double can_use = cpu_count > 0 ? (double)cpu_count : 1;
        if (threads >= 1 && threads < can_use)
            can_use = threads;
        double load = used_ns / (trial->duration_s * 1e9) / can_use;
        if (isnan(most) || load > most)
            most = load;
    }
    return most;
}

static void judge_errors(const struct judge *j)
{
    if (j->trial->errors <= j->facts->max_errors)
        return;
    const struct run_list *kinds = &j->trial->errors_by_kind;
    verdict(j, "errors", "%llu ops failed (%s%s%s)", (unsigned long long)j->trial->errors,
            kinds->count > 0 ? kinds->items[0].name : "unknown", kinds->count > 1 ? ", " : "",
            kinds->count > 1 ? kinds->items[1].name : "");
}

static uint64_t sum_clients(const struct run_trial *trial, size_t offset)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < trial->clients_count; i++)
        if (trial->clients[i].record != NULL)
            sum += *(const uint64_t *)((const char *)trial->clients[i].record + offset);
    return sum;
}

/* The share of the ops that had a free slot which left in time; 1 if there were none. */
static double share_in_time(const struct run_trial *trial)
{
    uint64_t with_slot = sum_clients(trial, offsetof(Lab__Record, with_slot));
    uint64_t in_time = sum_clients(trial, offsetof(Lab__Record, sent_in_time));

    return with_slot > 0 ? (double)in_time / (double)with_slot : 1;
}

static bool slip_is_small(const struct run_trial *trial, double *slip_ns, double *limit_ns)
{
    /* Of few ops p99 is the worst one: an op in a hundred may well be late. */
    if (trial->slip == NULL || trial->latency == NULL || !hist_tells(trial->slip, 99))
        return true;
    *slip_ns = (double)hist_percentile(trial->slip, 99);
    *limit_ns = SLIP_OF_P50_MOST * (double)hist_percentile(trial->latency, 50);
    if (*limit_ns < (double)SLIP_NS_LEAST)
        *limit_ns = (double)SLIP_NS_LEAST;
    return *slip_ns <= *limit_ns;
}

static void judge_generator_open(const struct judge *j)
{
    double slip_ns = 0, limit_ns = 0, in_time = share_in_time(j->trial);

    if (in_time < SENT_IN_TIME_LEAST)
        verdict(j, "generator-bound", "%.1f %% of the ops that had a free slot were sent in time",
                100.0 * in_time);
    else if (!slip_is_small(j->trial, &slip_ns, &limit_ns))
        verdict(j, "generator-bound", "p99 of slip is %.1f us, more than %.1f us", slip_ns / 1e3,
                limit_ns / 1e3);
}

static void judge_generator(const struct judge *j)
{
    if (j->c->asked_ops_per_s > 0) {
        judge_generator_open(j);
        return;
    }
    double client = side_load(j->trial, j->trial->clients, j->trial->clients_count);
    double server = side_load(j->trial, j->trial->servers, j->trial->servers_count);
    if (j->c->both_sides || isnan(client))
        return;
    if (j->c->server_measured && client > CLIENT_CPU_MOST && !(server >= SERVER_CPU_BUSY)) {
        if (isnan(server))
            verdict(j, "generator-bound",
                    "the client's CPU was %.0f %% busy; the server's is not "
                    "observed",
                    100 * client);
        else
            verdict(j, "generator-bound", "the client's CPU was %.0f %% busy, the server's %.0f %%",
                    100 * client, 100 * server);
        return;
    }
    if (!j->c->server_measured && !isnan(server))
        watermark(j, "busier-side", "the %s is the busier side (client %.0f %%, server %.0f %%)",
                  client > server ? "client" : "server", 100 * client, 100 * server);
}

/* What is under way at the window's end is not answered in it, and what was at its beginning is:
 * the two differ by chance. So many ops missing say nothing. */
static double missing_by_chance(const struct run_trial *trial)
{
    const struct hist *h = trial->latency_from_send;
    double under_way = h != NULL ? trial->ops_per_s * hist_mean(h) / 1e9 : 0;

    return 1 + 3 * sqrt(2 * under_way);
}

static void judge_overloaded(const struct judge *j)
{
    double slip_ns = 0, limit_ns = 0;
    double missing = (double)j->trial->scheduled - (double)j->trial->ops;

    /* Who sent too late does not know what the server could have answered. */
    if (j->c->asked_ops_per_s <= 0 || j->trial->scheduled == 0 ||
        share_in_time(j->trial) < SENT_IN_TIME_LEAST ||
        !slip_is_small(j->trial, &slip_ns, &limit_ns))
        return;
    if (missing > missing_by_chance(j->trial) &&
        (double)j->trial->ops < ANSWERED_LEAST * (double)j->trial->scheduled)
        verdict(j, "overloaded", "%.1f %% of the scheduled ops were answered in the window",
                100.0 * (double)j->trial->ops / (double)j->trial->scheduled);
}

/* Rates of the slices, merged until each has ops enough. */
static size_t slice_rates(const struct run_trial *trial, double *rates)
{
    size_t count = 0;
    uint64_t ops = 0, bytes = 0, begun_ns = 0, all = 0;
    bool by_bytes = true;

    for (size_t i = 0; i < trial->slices_count; i++)
        all += trial->slices[i].bytes;
    by_bytes = all > 0;
    for (size_t i = 0; i < trial->slices_count && count < SLICES_MAX; i++) {
        ops += trial->slices[i].ops;
        bytes += trial->slices[i].bytes;
        uint64_t length_ns = trial->slices[i].end_ns - begun_ns;
        if (ops < SLICE_OPS_LEAST || length_ns == 0)
            continue;
        rates[count++] = (double)(by_bytes ? bytes : ops) / (double)length_ns;
        begun_ns = trial->slices[i].end_ns;
        ops = bytes = 0;
    }
    return count;
}

static void judge_unstable(const struct judge *j)
{
    double rates[SLICES_MAX];
    size_t count = slice_rates(j->trial, rates);

    /* Of an open loop the slices show the schedule. */
    if (count < 4 || j->c->asked_ops_per_s > 0)
        return;
    double median = stats_median(rates, count);
    double trend = stats_theil_sen(rates, count) * (double)(count - 1) / median;
    double variation = stats_stddev(rates, count) / stats_mean(rates, count);
    if (fabs(trend) > TREND_MOST)
        verdict(j, "unstable", "the rate %s by %.0f %% of its median over the window (%zu slices)",
                trend > 0 ? "rose" : "fell", 100 * fabs(trend), count);
    else if (variation > VARIATION_MOST)
        verdict(j, "unstable", "the rate varied by %.0f %% over %zu slices", 100 * variation,
                count);
}

/* What of a set of CPUs was used, by whom. */
struct cpu_use {
    const char *list;
    unsigned cpus[HOSTWATCH_CPUS];
    int count;
    double own_ns, busy_ns, steal_ns;
};

static bool cpus_meet(const struct cpu_use *use, const char *list)
{
    unsigned cpus[HOSTWATCH_CPUS];
    int count = parse_cpu_list(list, "cpus", cpus, HOSTWATCH_CPUS, NULL);

    for (int i = 0; i < count; i++)
        for (int k = 0; k < use->count; k++)
            if (cpus[i] == use->cpus[k])
                return true;
    return false;
}

/* The CPU time of this trial's own processes that may have used one of these CPUs. */
static void cpus_add_own(struct cpu_use *use, const struct run_process *processes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (processes[i].record != NULL && cpus_meet(use, processes[i].record->process->cpus))
            use->own_ns += (double)processes[i].record->process->cpu_ns;
}

__attribute__((format(printf, 2, 3))) static void evidence_add(char evidence[EVIDENCE_BYTES],
                                                               const char *format, ...)
{
    size_t used = strlen(evidence);
    va_list args;

    if (used > 0 && used + 2 < EVIDENCE_BYTES)
        used += (size_t)snprintf(evidence + used, EVIDENCE_BYTES - used, ", ");
    va_start(args, format);
    vsnprintf(evidence + used, EVIDENCE_BYTES - used, format, args);
    va_end(args);
}

/* How far the host's idea of what was busy may be from the truth by chance: it looks at each tick
 * who runs, where a process's own clock is exact. */
static double sampling_noise_ns(double busy_ns, double window_ns)
{
    double share = fmin(1, busy_ns / window_ns);

    return SAMPLE_SIGMAS * sqrt(SAMPLE_NS * window_ns * share * (1 - share));
}

/* Both come in ticks: a tick more or less of a CPU says nothing. */
static void disturbed_cpus(const struct judge *j, struct cpu_use *use,
                           char evidence[EVIDENCE_BYTES])
{
    const struct hostwatch *before = j->facts->before, *after = j->facts->after;
    double window_ns = (double)(after->at_ns - before->at_ns) * use->count;
    double tick_ns = (double)after->tick_ns * use->count;
    const char *plural = use->count > 1 ? "s" : "";

    for (int i = 0; i < use->count; i++) {
        unsigned cpu = use->cpus[i];
        use->busy_ns += (double)(after->busy_ns[cpu] - before->busy_ns[cpu]);
        use->steal_ns += (double)(after->steal_ns[cpu] - before->steal_ns[cpu]);
    }
    cpus_add_own(use, j->trial->clients, j->trial->clients_count);
    cpus_add_own(use, j->trial->servers, j->trial->servers_count);
    double foreign_ns = use->busy_ns - use->own_ns;
    if (use->steal_ns > STEAL_MOST * window_ns && use->steal_ns > tick_ns)
        evidence_add(evidence, "%.1f %% steal on CPU%s %s (limit %.0f %%)",
                     100 * use->steal_ns / window_ns, plural, use->list, 100 * STEAL_MOST);
    if (foreign_ns > FOREIGN_MOST * window_ns && foreign_ns > 3 * tick_ns &&
        foreign_ns > sampling_noise_ns(use->own_ns, window_ns))
        evidence_add(evidence, "other programs used %.1f %% of CPU%s %s (limit %.0f %%)",
                     fmin(100, 100 * foreign_ns / window_ns), plural, use->list,
                     100 * FOREIGN_MOST);
    for (int i = 0; i < use->count; i++) {
        double was = (double)before->khz[use->cpus[i]], is = (double)after->khz[use->cpus[i]];
        if (was > 0 && is > 0 && fabs(is - was) > FREQUENCY_MOST * was)
            evidence_add(evidence, "CPU %u went from %.2f to %.2f GHz", use->cpus[i], was / 1e6,
                         is / 1e6);
    }
}

/* Each set of CPUs that a process was pinned to, once. */
static void disturbed_by(const struct judge *j, const struct run_process *processes, size_t count,
                         const char **seen, size_t *seen_count, char evidence[EVIDENCE_BYTES])
{
    for (size_t i = 0; i < count; i++) {
        struct cpu_use use = {0};
        bool again = false;
        if (processes[i].record == NULL || processes[i].clock_offset_ns != 0)
            continue; /* another host's CPUs are not to be seen from here */
        use.list = processes[i].record->process->cpus;
        use.count = parse_cpu_list(use.list, "cpus", use.cpus, HOSTWATCH_CPUS, NULL);
        for (size_t k = 0; k < *seen_count; k++)
            again |= strcmp(seen[k], use.list) == 0;
        if (again || use.count < 1 || use.cpus[use.count - 1] >= HOSTWATCH_CPUS ||
            (unsigned)use.count >= j->facts->cores || *seen_count == SIDES_MAX)
            continue;
        seen[(*seen_count)++] = use.list;
        disturbed_cpus(j, &use, evidence);
    }
}

static void judge_disturbed(const struct judge *j)
{
    const struct hostwatch *before = j->facts->before, *after = j->facts->after;
    const char *seen[SIDES_MAX];
    size_t seen_count = 0;
    char evidence[EVIDENCE_BYTES] = "";

    if (before == NULL || after == NULL)
        return;
    if (before->has_stat && after->has_stat) {
        disturbed_by(j, j->trial->servers, j->trial->servers_count, seen, &seen_count, evidence);
        disturbed_by(j, j->trial->clients, j->trial->clients_count, seen, &seen_count, evidence);
    }
    if (after->swapped_pages != before->swapped_pages)
        evidence_add(evidence, "%llu pages were swapped",
                     (unsigned long long)(after->swapped_pages - before->swapped_pages));
    if (evidence[0] != '\0')
        verdict(j, "disturbed", "%s", evidence);
}

static void judge_too_short(const struct judge *j)
{
    if (j->trial->ops < OPS_LEAST && j->c->asked_ops == 0)
        verdict(j, "too-short", "%llu ops in the window, fewer than %d",
                (unsigned long long)j->trial->ops, OPS_LEAST);
}

/* By a device without a queue (lo, a veth) bbr always paces by itself. */
static void mark_pacing(const struct judge *j)
{
    const char *cc = j->facts->system_cc;
    struct link link;

    bool known = link_parse(j->c->link, LINK_CLIENT, &link, NULL) == 0;
    if (j->c->both_sides || (known && !link.kind->tcp) ||
        (j->c->client_stack && j->c->server_stack))
        return;
    for (size_t i = 0; i < j->c->params.count; i++)
        if (strcmp(j->c->params.items[i].name, "cc") == 0 && j->c->params.items[i].value[0] != '\0')
            cc = j->c->params.items[i].value;
    if (cc != NULL && strcmp(cc, "bbr") == 0 && ((known && link.kind->queueless) || !j->facts->fq))
        watermark(j, "pacing", "bbr without fq paces by timers; --cc cubic does not");
}

static void mark_place(const struct judge *j)
{
    if (!j->facts->apart)
        watermark(j, "shared-host", "both ends on this host");
    if (j->facts->virtual_machine)
        watermark(j, "virtual-machine",
                  "this host is a virtual machine: its CPUs may be others' too");
}

/* What the kind of link is known for. */
static void mark_link(const struct judge *j)
{
    const struct link_remark *remark;
    struct link link;

    /* Of a server elsewhere the link's name is an interface's, or a kind's all the same. */
    bool known = link_parse(j->c->link, LINK_CLIENT, &link, NULL) == 0;
    for (unsigned i = 0; known && (remark = link_remark(&link, i)) != NULL; i++)
        watermark(j, remark->id, "%s", remark->text);
    if (known && link.kind->frames)
        watermark(j, "mtu", "MTU %llu: bulk rates say nothing about links with another",
                  (unsigned long long)link.mtu);
}

static void mark_clocks(const struct judge *j)
{
    uint64_t error_ns = 0;

    for (size_t i = 0; i < j->trial->clients_count; i++)
        if (j->trial->clients[i].clock_error_ns > error_ns)
            error_ns = j->trial->clients[i].clock_error_ns;
    for (size_t i = 0; i < j->trial->servers_count; i++)
        if (j->trial->servers[i].clock_error_ns > error_ns)
            error_ns = j->trial->servers[i].clock_error_ns;
    if (error_ns > 0)
        watermark(j, "other-clock",
                  "a side's clock is another one: its window is off by up to %.0f us",
                  (double)error_ns / 1e3);
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; names != NULL && *names != NULL; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* What an engine does by other means than its own, and what was asked of it in vain. */
static void mark_side(const struct judge *j, const char *side, const struct run_process *process)
{
    static const struct {
        const char *state, *id, *verb;
    } marks[] = {{"emulated", "emulated", "is emulated"},
                 {"no effect", "no-effect", "has no effect"}};
    const Lab__Ready *ready = process->ready;

    for (size_t k = 0; ready != NULL && k < ready->n_capabilities; k++) {
        const Lab__Capability *cap = ready->capabilities[k];
        for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++)
            if (strcmp(cap->state, marks[m].state) == 0 && !is_one_of(cap->name, j->c->unused))
                watermark(j, marks[m].id, "%s: %s %s%s%s", side, cap->name, marks[m].verb,
                          cap->note[0] != '\0' ? ": " : "", cap->note);
    }
}

/* Processes of a side are alike: the first one speaks for them. */
static void mark_sides(const struct judge *j)
{
    const struct run_trial *trial = j->trial;
    const struct {
        const char *name;
        const struct run_process *processes;
        size_t count;
    } sides[] = {{"client", trial->clients, trial->clients_count},
                 {"server", trial->servers, trial->servers_count}};

    for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
        if (sides[i].count == 0)
            continue;
        mark_side(j, sides[i].name, &sides[i].processes[0]);
        if (sides[i].processes[0].note != NULL)
            watermark(j, "note", "%s: %s", sides[i].name, sides[i].processes[0].note);
    }
}

static void mark_drops(const struct judge *j)
{
    char again[64] = "";

    if (j->trial->syn_retries != RUN_UNOBSERVED)
        snprintf(again, sizeof(again), ", SYNs were sent again %lld times",
                 (long long)j->trial->syn_retries);
    if (j->trial->listen_drops > 0)
        watermark(j, "listen-drops",
                  "the host's listen queues dropped %lld connections%s: the tail of 1 to 3 s is "
                  "theirs",
                  (long long)j->trial->listen_drops, again);
}

/* No op failed by it, but the connections were not all there all the time. */
static void mark_lost(const struct judge *j)
{
    double lost = 0;

    for (size_t i = 0; i < j->trial->clients_count; i++) {
        const Lab__Record *record = j->trial->clients[i].record;
        const Lab__Metric *metric =
            record != NULL ? record_metric(record, "connections_lost") : NULL;
        if (metric != NULL && metric->observed)
            lost += metric->value;
    }
    if (lost > 0)
        watermark(j, "connections-lost",
                  "kept connections that the server ended with no op under way, and that were "
                  "opened again: %.0f",
                  lost);
}

void verdict_judge(const struct run_case *c, struct run_trial *trial,
                   const struct verdict_facts *facts)
{
    static void (*const checks[])(const struct judge *) = {
        judge_errors,    judge_generator, judge_overloaded, judge_unstable, judge_disturbed,
        judge_too_short, mark_place,      mark_link,        mark_pacing,    mark_clocks,
        mark_sides,      mark_drops,      mark_lost,
    };
    const struct judge judge = {c, trial, facts};

    trial->verdicts_count = trial->watermarks_count = 0;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        checks[i](&judge);
}

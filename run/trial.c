/*
 * See trial.h. The controller never waits for one process alone: every wait is for all of them,
 * for a signal, or for a moment, so that a process that dies is noticed at once.
 */
#include "run/trial.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/text.h"
#include "run/channel.h"
#include "run/link.h"
#include "run/offset.h"
#include "run/pin.h"
#include "run/spawn.h"

#define TRIAL_SERVER_READY_NS  (10 * NS_PER_S)
#define TRIAL_CLIENT_READY_NS  (30 * NS_PER_S)
#define TRIAL_RECORD_MARGIN_NS (10 * NS_PER_S)
#define TRIAL_HEAD_START_NS    (10 * NS_PER_MS) /* for the window's order to reach everyone */
#define TRIAL_END_PATIENCE_NS  (3 * NS_PER_S)
#define TRIAL_CLOCK_ASKED      8
#define TRIAL_CLOCK_NS         (10 * NS_PER_S)
#define TRIAL_ARGS_MAX         256

struct member {
    struct spawn spawn;
    bool is_server;
    Lab__Ready *ready;
    Lab__Record *record;
    Lab__Finished *finished;
    Lab__Failure *failure;
    char *note;                 /* what it has to tell the user; the first counts */
    bool gone;                  /* its channel ended, or broke */
    bool broke;                 /* it sent what is no message */
    struct lab_error complaint; /* ... why not; "" if that is not known */
    bool elsewhere;             /* on another host, for all that is known */
    uint64_t asked_ns;          /* what time it is there; 0: it has answered; CLOCK_NEVER: only
                                 * whether it answers counts */
    struct offset clock;
};

struct trial {
    const struct trial_config *config;
    const struct run_case *run_case;
    struct run_link *link;  /* NULL: none to tell of */
    struct member *members; /* servers first */
    size_t count, servers;
    uint64_t start_ns, t0_ns, t1_ns;
    bool interrupted;
    unsigned fatal; /* exit code, or 0 */
    char *reason;   /* of the run_trial */
    size_t reason_size;
};

/* --- waiting --- */

static void member_take_ready(struct member *member, Lab__Report *report)
{
    if (member->ready != NULL)
        return;
    if (record_check_ready(report->ready, &member->complaint) < 0) {
        member->broke = true;
        return;
    }
    member->ready = report->ready;
    report->ready = NULL;
}

static void member_take_record(struct member *member, Lab__Report *report)
{
    if (member->record != NULL)
        return;
    if (record_check(report->record, &member->complaint) < 0) {
        member->broke = true;
        return;
    }
    member->record = report->record;
    report->record = NULL;
}

static void member_take_clock(struct member *member, uint64_t theirs_ns)
{
    if (member->asked_ns != 0 && member->asked_ns != CLOCK_NEVER)
        offset_add(&member->clock, member->asked_ns, theirs_ns, clock_ns());
    member->asked_ns = 0;
}

/* Nothing of it is believed before it has been looked at. */
static void member_take_report(struct member *member, Lab__Report *report)
{
    switch (report->what_case) {
    case LAB__REPORT__WHAT_READY: member_take_ready(member, report); break;
    case LAB__REPORT__WHAT_RECORD: member_take_record(member, report); break;
    case LAB__REPORT__WHAT_CLOCK_NS: member_take_clock(member, report->clock_ns); break;
    case LAB__REPORT__WHAT_FINISHED:
        if (member->finished == NULL) {
            member->finished = report->finished;
            report->finished = NULL;
        }
        break;
    case LAB__REPORT__WHAT_NOTE:
        if (member->note == NULL) {
            member->note = text_clean(report->note);
            report->note = NULL;
        }
        break;
    case LAB__REPORT__WHAT_FAILURE:
        if (member->failure == NULL) {
            member->failure = report->failure;
            text_clean(member->failure->text);
            report->failure = NULL;
        }
        break;
    default: break;
    }
    lab__report__free_unpacked(report, NULL);
}

static void member_read(struct member *member)
{
    while (!member->broke) {
        ProtobufCMessage *message = NULL;
        int r = channel_take(&member->spawn.channel, &lab__report__descriptor, &message);
        if (r == -EAGAIN)
            return;
        if (r < 0) {
            member->gone = true;
            member->broke = r != -EPIPE;
            return;
        }
        member_take_report(member, (Lab__Report *)message);
    }
    member->gone = true;
}

/* Waits for anything, until deadline_ns. False when nothing came before it. */
static bool trial_wait(struct trial *trial, uint64_t deadline_ns)
{
    struct pollfd *fds = calloc(1 + 2 * trial->count, sizeof(*fds));
    struct timespec left = clock_poll_timeout(clock_ns(), deadline_ns);

    if (fds == NULL)
        abort();
    fds[0] = (struct pollfd){.fd = trial->config->signals, .events = POLLIN};
    for (size_t i = 0; i < trial->count; i++) {
        struct member *member = &trial->members[i];
        fds[1 + 2 * i].fd = member->gone ? -1 : member->spawn.channel.in;
        fds[2 + 2 * i].fd = member->spawn.err_fd;
        fds[1 + 2 * i].events = fds[2 + 2 * i].events = POLLIN;
    }
    int r = ppoll(fds, 1 + 2 * trial->count, deadline_ns == CLOCK_NEVER ? NULL : &left, NULL);
    if (r > 0 && fds[0].revents != 0)
        trial->interrupted = true;
    for (size_t i = 0; i < trial->count && r > 0; i++) {
        if (fds[2 + 2 * i].revents != 0)
            spawn_listen(&trial->members[i].spawn);
        if (fds[1 + 2 * i].revents != 0)
            member_read(&trial->members[i]);
    }
    free(fds);
    return r > 0;
}

/* --- failing --- */

static void trial_blame(struct trial *trial, struct member *member, const char *when)
{
    size_t index = (size_t)(member - trial->members);
    const char *side = member->is_server ? "server" : "client";
    char how[400];

    if (member->failure != NULL) {
        snprintf(trial->reason, trial->reason_size, "%s", member->failure->text);
        /* What was typed, or what the machine lacks, will not be better next time. */
        if (member->failure->exit_code == 2 || member->failure->exit_code == 77)
            trial->fatal = member->failure->exit_code;
        return;
    }
    if (member->broke) {
        const char *why = member->complaint.text;
        snprintf(trial->reason, trial->reason_size, "the %s sent what is no message of lab %s: %s",
                 side, when,
                 why[0] != '\0' ? why : "does what starts it write to its standard output?");
        return;
    }
    spawn_wait(&member->spawn, clock_ns() + NS_PER_S);
    spawn_describe(&member->spawn, when, how, sizeof(how));
    snprintf(trial->reason, trial->reason_size, "the %s process (%zu, pid %d) %s", side,
             member->is_server ? index : index - trial->servers, (int)member->spawn.pid, how);
}

static bool has_ready(const struct member *member)
{
    return member->ready != NULL;
}

/* Waits until every member from `first` on `has` what is wanted. */
static int trial_wait_all(struct trial *trial, size_t first, bool (*has)(const struct member *),
                          uint64_t limit_ns, const char *when)
{
    for (;;) {
        struct member *missing = NULL;
        for (size_t i = 0; i < trial->count; i++) {
            struct member *member = &trial->members[i];
            bool wanted = i >= first && !has(member);
            if (member->failure != NULL || (member->gone && (wanted || member->record == NULL))) {
                bool others_start = has == has_ready && has_ready(member);
                trial_blame(trial, member, others_start ? "while others started" : when);
                return -ECHILD;
            }
            if (wanted && missing == NULL)
                missing = member;
        }
        if (missing == NULL)
            return 0;
        bool came = trial_wait(trial, limit_ns);
        if (trial->interrupted)
            return -EINTR;
        if (!came && clock_ns() >= limit_ns) {
            trial_blame(trial, missing, when);
            return -ETIMEDOUT;
        }
    }
}

static bool has_finished(const struct member *member)
{
    return member->finished != NULL;
}

static bool has_clock(const struct member *member)
{
    return member->asked_ns == 0;
}

static bool has_record(const struct member *member)
{
    return member->record != NULL;
}

/* --- starting --- */

struct words {
    char *list[TRIAL_ARGS_MAX];
    size_t count;
    char numbers[8][32];
    unsigned numbers_used;
    char cpus[PIN_TEXT_MAX];
};

static void words_add(struct words *words, const char *word)
{
    if (words->count + 1 < TRIAL_ARGS_MAX)
        words->list[words->count++] = (char *)word;
    words->list[words->count] = NULL;
}

static void words_add_number(struct words *words, const char *option, uint64_t number)
{
    char *text = words->numbers[words->numbers_used++];
    snprintf(text, sizeof(words->numbers[0]), "%llu", (unsigned long long)number);
    words_add(words, option);
    words_add(words, text);
}

/* Of those that were chosen each process has a part. */
static void words_add_cpus(struct words *words, const struct run_settings *settings, bool server,
                           unsigned threads, unsigned part)
{
    const char *list = server ? settings->server_cpus : settings->client_cpus;
    bool chosen = server ? settings->server_cpus_chosen : settings->client_cpus_chosen;

    if (!settings->pin || list == NULL || list[0] == '\0')
        return;
    snprintf(words->cpus, sizeof(words->cpus), "%s", list);
    if (chosen)
        pin_part(list, part * threads, threads > 0 ? threads : 1, words->cpus);
    words_add(words, "--cpus");
    words_add(words, words->cpus);
}

static void words_add_all(struct words *words, char *const *more)
{
    for (size_t i = 0; more != NULL && more[i] != NULL; i++)
        words_add(words, more[i]);
}

/* Where it plays; NULL if the case has no link. */
static const struct run_place *trial_place(const struct trial *trial, enum link_side side,
                                           unsigned index, struct words *words)
{
    if (trial->link == NULL)
        return NULL;
    const struct run_place *place = run_link_place(trial->link, side, index);
    words_add(words, "--link");
    words_add(words, place->link);
    return place;
}

static int trial_start_member(struct trial *trial, bool is_server, const struct run_place *place,
                              const char *via, struct words *words)
{
    struct member *member = &trial->members[trial->count];
    struct lab_error err;

    memset(member, 0, sizeof(*member));
    member->is_server = is_server;
    member->elsewhere = via != NULL;
    int r =
        spawn_start(&member->spawn, place != NULL ? &place->spawn : NULL, via, words->list, &err);
    if (r < 0) {
        snprintf(trial->reason, trial->reason_size, "%s", err.text);
        return r;
    }
    trial->count++;
    if (is_server)
        trial->servers++;
    return 0;
}

static int trial_start_servers(struct trial *trial)
{
    const struct run_case *c = trial->run_case;
    const struct run_settings *settings = trial->config->settings;

    for (unsigned i = 0; i < c->server_processes; i++) {
        struct words words = {0};
        words_add(&words, settings->lab_path);
        words_add(&words, "serve");
        words_add(&words, c->workload);
        words_add(&words, "--control");
        if (settings->verbose)
            words_add(&words, "--verbose");
        words_add(&words, "--engine");
        words_add(&words, c->server_spec);
        const struct run_place *place = trial_place(trial, LINK_SERVER, i, &words);
        words_add(&words, "--listen");
        words_add(&words, c->listen != NULL ? c->listen : place != NULL ? place->listen : "");
        words_add_number(&words, "--index", i);
        words_add_cpus(&words, settings, true, c->server_threads, i);
        words_add_all(&words, c->server_args);
        int r = trial_start_member(trial, true, place, settings->server_via, &words);
        if (r < 0)
            return r;
    }
    return trial_wait_all(trial, 0, has_ready, clock_ns() + TRIAL_SERVER_READY_NS,
                          "before it was ready");
}

/* All addresses of all servers, with commas, as clients reach them. Owned. */
static char *trial_addresses(const struct trial *trial)
{
    char *all = strdup(""), *longer, reach[4096];

    for (size_t i = 0; i < trial->servers; i++)
        for (size_t k = 0; k < trial->members[i].ready->n_addresses && all != NULL; k++) {
            const char *said = trial->members[i].ready->addresses[k];
            if (trial->link != NULL &&
                run_link_reach(trial->link, said, reach, sizeof(reach)) != NULL)
                said = reach;
            if (asprintf(&longer, "%s%s%s", all, all[0] != '\0' ? "," : "", said) < 0)
                longer = NULL;
            free(all);
            all = longer;
        }
    return all;
}

static int trial_start_clients(struct trial *trial, const char *addresses)
{
    const struct run_case *c = trial->run_case;
    const struct run_settings *settings = trial->config->settings;

    for (unsigned i = 0; i < c->client_processes; i++) {
        struct words words = {0};
        words_add(&words, settings->lab_path);
        words_add(&words, "drive");
        words_add(&words, c->workload);
        words_add(&words, "--control");
        if (settings->verbose)
            words_add(&words, "--verbose");
        words_add(&words, "--engine");
        words_add(&words, c->client_spec);
        if (c->both_sides) {
            words_add(&words, "--both-sides");
        } else {
            words_add(&words, "--connect");
            words_add(&words, addresses);
        }
        const struct run_place *place = trial_place(trial, LINK_CLIENT, i, &words);
        words_add_number(&words, "--seed", trial->config->seed);
        words_add_number(&words, "--index", i);
        words_add_number(&words, "--processes", c->client_processes);
        words_add_cpus(&words, settings, false, c->client_threads, i);
        words_add_all(&words, c->client_args);
        const char *via = settings->client_via != NULL ? settings->client_via[i] : NULL;
        int r = trial_start_member(trial, false, place, via, &words);
        if (r < 0)
            return r;
    }
    return trial_wait_all(trial, trial->servers, has_ready,
                          clock_ns() + TRIAL_CLIENT_READY_NS + settings->timeout_ns,
                          "before it was ready");
}

/* --- the window --- */

/* What was to be sent could not be: whoever it was for is gone. */
static int trial_tell(struct trial *trial, struct member *member, const Lab__Order *order,
                      const char *when)
{
    if (channel_send(&member->spawn.channel, &order->base) == 0)
        return 0;
    member->gone = true;
    trial_blame(trial, member, when);
    return -ECHILD;
}

/* Its answer is waited for by has_clock. What it says counts from asked_ns, if that is a time. */
static int trial_ask_clock(struct trial *trial, struct member *member, uint64_t asked_ns,
                           const char *when)
{
    Lab__Order__Clock clock = LAB__ORDER__CLOCK__INIT;
    Lab__Order order = LAB__ORDER__INIT;

    order.what_case = LAB__ORDER__WHAT_CLOCK;
    order.clock = &clock;
    member->asked_ns = asked_ns;
    return trial_tell(trial, member, &order, when);
}

/* The clocks of other hosts against ours. */
static int trial_ask_clocks(struct trial *trial)
{
    static const char when[] = "when it was asked the time";
    int r = 0;

    for (unsigned asked = 0; asked < TRIAL_CLOCK_ASKED && r == 0; asked++) {
        for (size_t i = 0; i < trial->count && r == 0; i++)
            if (trial->members[i].elsewhere)
                r = trial_ask_clock(trial, &trial->members[i], clock_ns(), when);
        if (r == 0)
            r = trial_wait_all(trial, 0, has_clock, clock_ns() + TRIAL_CLOCK_NS, when);
    }
    return r;
}

/* Of our clock, on a member's. */
static uint64_t member_time(const struct member *member, uint64_t ours_ns)
{
    return ours_ns + (uint64_t)offset_ns(&member->clock);
}

/* From when on there is load, and what is measured of it. */
static void trial_set_window(struct trial *trial)
{
    const struct run_case *c = trial->run_case;
    uint64_t head_start_ns = TRIAL_HEAD_START_NS;

    for (size_t i = 0; i < trial->count; i++)
        if (head_start_ns < TRIAL_HEAD_START_NS + trial->members[i].clock.round_trip_ns)
            head_start_ns = TRIAL_HEAD_START_NS + trial->members[i].clock.round_trip_ns;
    trial->start_ns = clock_ns() + head_start_ns;
    trial->t0_ns = trial->start_ns + c->warmup_ns;
    trial->t1_ns = c->asked_ops != 0 ? 0 : trial->t0_ns + c->duration_ns;
}

static int trial_tell_window(struct trial *trial, size_t from, size_t to)
{
    int r = 0;

    for (size_t i = from; i < to && r == 0; i++) {
        struct member *member = &trial->members[i];
        Lab__Order__Window window = LAB__ORDER__WINDOW__INIT;
        Lab__Order order = LAB__ORDER__INIT;

        window.start_ns = member_time(member, trial->start_ns);
        window.t0_ns = member_time(member, trial->t0_ns);
        window.t1_ns = trial->t1_ns != 0 ? member_time(member, trial->t1_ns) : 0;
        order.what_case = LAB__ORDER__WHAT_WINDOW;
        order.window = &window;
        r = trial_tell(trial, member, &order, "when it was told the window");
    }
    return r;
}

/* An open-ended window is open on every server before a client hears of it: a server answers what
 * the time is after it has read its counters. */
static int trial_await_servers(struct trial *trial)
{
    static const char when[] = "when its window was to open";
    int r = 0;

    for (size_t i = 0; i < trial->servers && r == 0; i++)
        r = trial_ask_clock(trial, &trial->members[i], CLOCK_NEVER, when);
    if (r == 0)
        r = trial_wait_all(trial, 0, has_clock, clock_ns() + TRIAL_CLOCK_NS, when);
    if (r == 0 && clock_ns() + TRIAL_HEAD_START_NS / 2 > trial->start_ns)
        trial_set_window(trial); /* too late for the clients */
    return r;
}

static int trial_send_window(struct trial *trial)
{
    trial_set_window(trial);
    int r = trial_tell_window(trial, 0, trial->servers);
    if (r == 0 && trial->t1_ns == 0)
        r = trial_await_servers(trial);
    return r != 0 ? r : trial_tell_window(trial, trial->servers, trial->count);
}

/* The clients have finished: so have the servers. */
static int trial_send_end(struct trial *trial)
{
    uint64_t t1_ns = 0;
    int r = 0;

    for (size_t i = trial->servers; i < trial->count; i++) {
        const struct member *client = &trial->members[i];
        uint64_t ours_ns = client->finished->t1_ns - (uint64_t)offset_ns(&client->clock);
        t1_ns = ours_ns > t1_ns ? ours_ns : t1_ns;
    }
    for (size_t i = 0; i < trial->servers && r == 0; i++) {
        Lab__Order__End end = LAB__ORDER__END__INIT;
        Lab__Order order = LAB__ORDER__INIT;

        end.t1_ns = member_time(&trial->members[i], t1_ns);
        order.what_case = LAB__ORDER__WHAT_END;
        order.end = &end;
        r = trial_tell(trial, &trial->members[i], &order, "when the clients had finished");
    }
    return r;
}

/* Where in the trial that is which happens now, once the window has been told. */
static const char *trial_moment(const struct trial *trial)
{
    uint64_t now_ns = clock_ns();

    if (now_ns < trial->start_ns)
        return "before the window";
    return now_ns < trial->t0_ns ? "in the warm-up" : "in the window";
}

/* Sleeps until a moment; only a death or a signal ends it early. */
static int trial_sleep(struct trial *trial, uint64_t until_ns)
{
    while (clock_ns() < until_ns) {
        trial_wait(trial, until_ns);
        if (trial->interrupted)
            return -EINTR;
        for (size_t i = 0; i < trial->count; i++)
            if (trial->members[i].gone) {
                trial_blame(trial, &trial->members[i], trial_moment(trial));
                return -ECHILD;
            }
    }
    return 0;
}

/* In whose network namespace it is, as hostwatch_take asks. */
static pid_t member_host(const struct member *member)
{
    return offset_ns(&member->clock) == 0 ? member->spawn.pid : -1;
}

static void trial_watch(const struct trial *trial, struct hostwatch *watch)
{
    pid_t server = run_ends_apart(trial->config->settings, trial->run_case) ? -1 : 0;

    if (trial->servers > 0)
        server = member_host(&trial->members[0]);
    hostwatch_take(watch, "", server, member_host(&trial->members[trial->servers]));
    for (size_t i = 0; i < trial->count; i++)
        if (offset_ns(&trial->members[i].clock) == 0)
            hostwatch_frequencies(watch, "", trial->members[i].ready->cpus);
}

static int trial_measure(struct trial *trial, struct hostwatch watched[2])
{
    uint64_t timeout_ns = trial->config->settings->timeout_ns;
    int r = trial_send_window(trial);

    if (r == 0)
        r = trial_sleep(trial, trial->t0_ns);
    if (r < 0)
        return r;
    trial_watch(trial, &watched[0]);
    if (trial->t1_ns != 0) {
        r = trial_sleep(trial, trial->t1_ns);
    } else {
        r = trial_wait_all(trial, trial->servers, has_finished, CLOCK_NEVER, "in the window");
        if (r == 0)
            r = trial_send_end(trial);
    }
    if (r < 0)
        return r;
    trial_watch(trial, &watched[1]);
    return trial_wait_all(trial, 0, has_record, clock_ns() + timeout_ns + TRIAL_RECORD_MARGIN_NS,
                          "after the window");
}

/* --- the whole --- */

static int trial_link(struct trial *trial, unsigned seq, struct run_list *settings)
{
    char unique[32];
    struct lab_error err;

    if (trial->run_case->link_spec == NULL)
        return 0;
    snprintf(unique, sizeof(unique), "%d-%u", (int)getpid(), seq);
    int r = run_link_open(&trial->link, trial->run_case, unique, &err);
    if (r < 0)
        snprintf(trial->reason, trial->reason_size, "%s", err.text);
    else
        run_link_settings(trial->link, settings);
    return r;
}

static void trial_end(struct trial *trial)
{
    Lab__Order__Stop stop = LAB__ORDER__STOP__INIT;
    Lab__Order order = LAB__ORDER__INIT;

    order.what_case = LAB__ORDER__WHAT_STOP;
    order.stop = &stop;
    /* Clients first: their connections are then closed by them, not by the server's end. */
    for (size_t i = trial->count; i-- > 0;)
        if (!trial->members[i].gone)
            channel_send(&trial->members[i].spawn.channel, &order.base);
    for (size_t i = trial->count; i-- > 0;)
        spawn_end(&trial->members[i].spawn, TRIAL_END_PATIENCE_NS);
}

static void trial_hand_over(struct trial *trial, struct run_trial *out)
{
    size_t clients = trial->count - trial->servers;

    out->servers = calloc(trial->servers + 1, sizeof(*out->servers));
    out->clients = calloc(clients + 1, sizeof(*out->clients));
    if (out->servers == NULL || out->clients == NULL)
        abort();
    for (size_t i = 0; i < trial->count; i++) {
        struct member *member = &trial->members[i];
        struct run_process *process = member->is_server ? &out->servers[out->servers_count++]
                                                        : &out->clients[out->clients_count++];
        process->ready = member->ready;
        process->note = member->note;
        process->record = member->record;
        process->clock_offset_ns = offset_ns(&member->clock);
        process->clock_error_ns = offset_error_ns(&member->clock);
        if (trial->config->settings->verbose && member->spawn.words_size > 0)
            process->said = strndup(member->spawn.words, member->spawn.words_size);
        if (process->ready != NULL && process->record != NULL)
            record_correct_capabilities(process->ready, process->record);
        if (process->record != NULL) { /* in our time, as all that is compared with it */
            process->record->t0_ns -= (uint64_t)process->clock_offset_ns;
            process->record->t1_ns -= (uint64_t)process->clock_offset_ns;
        }
        if (member->finished != NULL)
            lab__finished__free_unpacked(member->finished, NULL);
        if (member->failure != NULL)
            lab__failure__free_unpacked(member->failure, NULL);
    }
}

int trial_run(const struct trial_config *config, struct run_trial *out, struct hostwatch watched[2],
              unsigned *fatal)
{
    const struct run_case *c = config->run_case;
    bool own_server = !c->both_sides && c->server_address == NULL;
    struct trial trial = {
        .config = config,
        .run_case = c,
        .reason = out->reason,
        .reason_size = sizeof(out->reason),
        .members = calloc(c->server_processes + c->client_processes + 1, sizeof(struct member)),
    };
    char *addresses = NULL;
    time_t now = time(NULL);
    struct tm utc;

    if (trial.members == NULL)
        abort();
    strftime(out->started_at, sizeof(out->started_at), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    int r = trial_link(&trial, out->seq, &out->link_settings);
    if (r == 0 && own_server)
        r = trial_start_servers(&trial);
    if (r == 0 && !c->both_sides) {
        addresses = own_server ? trial_addresses(&trial) : strdup(c->server_address);
        r = addresses != NULL ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = trial_start_clients(&trial, addresses);
    if (r == 0)
        r = trial_ask_clocks(&trial);
    if (r == 0)
        r = trial_measure(&trial, watched);
    out->failed = r < 0;
    out->warmup_s = (double)c->warmup_ns / NS_PER_S;
    trial_end(&trial);
    run_link_close(trial.link);
    trial_hand_over(&trial, out);
    *fatal = trial.fatal;
    free(addresses);
    free(trial.members);
    return trial.interrupted ? -EINTR : 0;
}

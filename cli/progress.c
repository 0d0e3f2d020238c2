/* See progress.h. */
#include "cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/notes.h"
#include "cli/table.h"
#include "cli/term.h"
#include "core/parse.h"
#include "core/text.h"

static void progress_wipe(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}

/* Engines as the plan names them: each once, those that cannot run with their reason. */
static void progress_engines(const struct run_result *run, unsigned width)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    unsigned listed = 0;

    if (stream == NULL)
        return;
    for (size_t i = 0; i < run->cases_count; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcmp(run->cases[k].label, run->cases[i].label) == 0 &&
                   run->cases[k].status == run->cases[i].status;
        if (!seen && run->cases[i].status == RUN_RAN)
            fprintf(stream, "%s%s", listed++ == 0 ? "engines: " : ", ", run->cases[i].label);
    }
    fclose(stream);
    notes_wrap(stderr, text, 4, width);
    free(text);
    for (size_t i = 0; i < run->cases_count; i++) {
        const struct run_case *c = &run->cases[i];
        bool said = c->status == RUN_RAN;
        for (size_t k = 0; k < i && !said; k++)
            said = strcmp(run->cases[k].label, c->label) == 0 &&
                   strcmp(run->cases[k].reason, c->reason) == 0;
        if (!said)
            fprintf(stderr, "skipped: %s: %s\n", c->label, c->reason);
    }
}

static void progress_planned(void *context, const struct run_result *run, double seconds_estimated)
{
    struct progress *progress = context;
    unsigned cases = 0, width = term_columns(stderr);

    for (size_t i = 0; i < run->cases_count; i++)
        cases += run->cases[i].status == RUN_RAN;
    progress->to_go_s = seconds_estimated;
    progress->total = cases * run->settings.rounds;
    if (progress->quiet)
        return;
    fprintf(stderr, "lab run: %u case%s, %u round%s (a trial of each in random order, seed %llu)",
            cases, cases == 1 ? "" : "s", run->settings.rounds,
            run->settings.rounds == 1 ? "" : "s", (unsigned long long)run->settings.seed);
    if (seconds_estimated > 0)
        fprintf(stderr, ", about %.0f s", ceil(seconds_estimated));
    fputc('\n', stderr);
    progress_engines(run, width);
}

static void progress_trial_begins(void *context, const struct run_result *run,
                                  const struct run_case *c, unsigned done, unsigned total,
                                  double seconds_to_go)
{
    struct progress *progress = context;
    unsigned width = term_columns(stderr);
    char line[400], to_go[32] = "";

    progress->to_go_s = seconds_to_go;
    progress->done = done;
    progress->total = total;
    if (progress->quiet || !progress->tty)
        return;
    if (!isnan(seconds_to_go))
        snprintf(to_go, sizeof(to_go), ", %.0f s to go", ceil(seconds_to_go));
    snprintf(line, sizeof(line), "trial %u of %u%s: %s %s over %s", done + 1, total, to_go,
             c->workload, c->label, c->link);
    if (width > 1 && strlen(line) >= width) /* a line that wraps cannot be wiped */
        line[width - 1] = '\0';
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->shown = true;
    (void)run;
}

/* What a side's processes had to say beside their results, a line each. */
static void progress_said(const char *side, const struct run_process *processes, size_t count)
{
    char line[512];

    for (size_t i = 0; i < count; i++)
        for (const char *at = processes[i].said; at != NULL && *at != '\0';) {
            size_t size = strcspn(at, "\n");
            snprintf(line, sizeof(line), "%.*s", (int)size, at);
            if (size > 0)
                fprintf(stderr, "    %s %zu: %s\n", side, i, term_text(text_clean(line)));
            at += size + (at[size] != '\0');
        }
}

static void progress_failed(const struct run_case *c, const struct run_trial *trial)
{
    char *text;

    if (asprintf(&text, "lab: %s, trial %u failed: %s", c->label, trial->round + 1, trial->reason) <
        0)
        return;
    notes_wrap(stderr, term_text(text), 4, term_columns(stderr));
    free(text);
}

static void progress_measured(const struct run_case *c, const struct run_trial *trial)
{
    char rate[32], p99[32] = "n/o";

    if (trial->latency != NULL && !hist_tells(trial->latency, 99))
        strcpy(p99, "-"); /* as in the table */
    else if (trial->latency != NULL)
        format_time(hist_percentile(trial->latency, 99), p99, sizeof(p99));
    fprintf(stderr, "round %u  %s %s over %s: %s ops/s, p99 %s, %s\n", trial->round + 1,
            c->workload, c->label, c->link, format_count(trial->ops_per_s, rate, sizeof(rate)), p99,
            trial->verdicts_count == 0 ? "valid" : trial->verdicts[0].name);
    for (size_t i = 0; i < trial->verdicts_count; i++)
        fprintf(stderr, "    %s: %s\n", trial->verdicts[i].name, trial->verdicts[i].evidence);
}

static void progress_trial_ended(void *context, const struct run_result *run,
                                 const struct run_case *c, const struct run_trial *trial)
{
    struct progress *progress = context;
    bool tells = progress->verbose && !progress->quiet;

    if (!trial->failed && !tells)
        return;
    progress_wipe(progress);
    if (trial->failed)
        progress_failed(c, trial);
    else
        progress_measured(c, trial);
    if (!tells)
        return;
    progress_said("server", trial->servers, trial->servers_count);
    progress_said("client", trial->clients, trial->clients_count);
    (void)run;
}

static void progress_round_ended(void *context, const struct run_result *run, unsigned round)
{
    struct progress *progress = context;
    const struct table_style style = {
        .width = term_columns(stderr), .colour = term_colour(stderr), .provisional = true};

    if (progress->quiet)
        return;
    progress_wipe(progress);
    if (!progress->tty)
        fprintf(stderr, "round %u of %u done\n", round + 1, run->settings.rounds);
    if (round == 0 && run->settings.rounds > 1 && progress->tty) {
        fputs("after the first round, provisional:\n", stderr);
        run_summarise(progress->run);
        table_print(progress->run, stderr, &style);
        fputc('\n', stderr);
    }
}

struct run_observer progress_begin(struct progress *progress, struct run_result *run, bool quiet,
                                   bool verbose)
{
    *progress = (struct progress){
        .run = run, .quiet = quiet, .verbose = verbose, .tty = term_is_tty(stderr)};
    return (struct run_observer){
        .context = progress,
        .planned = progress_planned,
        .trial_begins = progress_trial_begins,
        .trial_ended = progress_trial_ended,
        .round_ended = progress_round_ended,
    };
}

void progress_end(struct progress *progress)
{
    progress_wipe(progress);
}

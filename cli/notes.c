/* See notes.h. */
#include "cli/notes.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/facts.h"
#include "cli/term.h"

#define NOTES_COMMON_MAX 32

struct notes {
    const struct run_result *run;
    char **texts;
    size_t count;
    const struct run_verdict *common[NOTES_COMMON_MAX];
    size_t common_count;
};

static void *notes_memory(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static const struct run_verdict *notes_watermark(const struct run_trial *trial, const char *name)
{
    for (size_t i = 0; i < trial->watermarks_count; i++)
        if (strcmp(trial->watermarks[i].name, name) == 0)
            return &trial->watermarks[i];
    return NULL;
}

/* True if every good trial of the run carries the very same watermark. */
static bool notes_everywhere(const struct run_result *run, const struct run_verdict *mark)
{
    for (size_t i = 0; i < run->cases_count; i++) {
        const struct run_case *c = &run->cases[i];
        for (size_t t = 0; t < c->trials_count; t++) {
            if (c->trials[t].failed)
                continue;
            const struct run_verdict *same = notes_watermark(&c->trials[t], mark->name);
            if (same == NULL || strcmp(same->evidence, mark->evidence) != 0)
                return false;
        }
    }
    return true;
}

static const struct run_trial *notes_first_trial(const struct run_result *run)
{
    for (size_t i = 0; i < run->cases_count; i++)
        for (size_t t = 0; t < run->cases[i].trials_count; t++)
            if (!run->cases[i].trials[t].failed)
                return &run->cases[i].trials[t];
    return NULL;
}

struct notes *notes_new(const struct run_result *run)
{
    struct notes *notes = notes_memory(calloc(1, sizeof(*notes)));
    const struct run_trial *first = notes_first_trial(run);

    notes->run = run;
    for (size_t i = 0; first != NULL && i < first->watermarks_count; i++)
        if (notes->common_count < NOTES_COMMON_MAX && notes_everywhere(run, &first->watermarks[i]))
            notes->common[notes->common_count++] = &first->watermarks[i];
    return notes;
}

void notes_free(struct notes *notes)
{
    if (notes == NULL)
        return;
    for (size_t i = 0; i < notes->count; i++)
        free(notes->texts[i]);
    free(notes->texts);
    free(notes);
}

static void notes_add(struct notes *notes, char *text, char *marks, size_t marks_size)
{
    size_t number = 0, used = strlen(marks);

    while (number < notes->count && strcmp(notes->texts[number], text) != 0)
        number++;
    if (number == notes->count) {
        notes->texts = notes_memory(realloc(notes->texts, (notes->count + 1) * sizeof(char *)));
        notes->texts[notes->count++] = text;
    } else {
        free(text);
    }
    snprintf(marks + used, marks_size - used, "%s[%zu]", used == 0 ? " " : "", number + 1);
}

/* "trial 3", "trials 1, 4" of those for which has() is true; the first one's evidence. */
struct notes_trials {
    char text[120];
    unsigned count;
    const char *evidence;
};

static void notes_trials_add(struct notes_trials *trials, const struct run_trial *trial,
                             const char *evidence)
{
    size_t used = strlen(trials->text);

    trials->count++;
    if (trials->evidence == NULL)
        trials->evidence = evidence;
    if (used + 24 < sizeof(trials->text))
        snprintf(trials->text + used, sizeof(trials->text) - used, "%s%u", used == 0 ? "" : ", ",
                 trial->round + 1);
    else if (trials->text[used - 1] != '.')
        snprintf(trials->text + used, sizeof(trials->text) - used, " ...");
}

static bool notes_seen(const char *name, const char **names, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    names[(*count)++] = name;
    return false;
}

static void notes_verdict(struct notes *notes, const struct run_case *c, const char *name,
                          char *marks, size_t marks_size)
{
    struct notes_trials trials = {0};
    char *text;

    for (size_t t = 0; t < c->trials_count; t++)
        for (size_t i = 0; i < c->trials[t].verdicts_count; i++)
            if (strcmp(c->trials[t].verdicts[i].name, name) == 0)
                notes_trials_add(&trials, &c->trials[t], c->trials[t].verdicts[i].evidence);
    if (asprintf(&text, "%s: trial%s %s %s: %s%s", c->label, trials.count == 1 ? "" : "s",
                 trials.text, name, trials.evidence,
                 trials.count == 1 ? "; kept in the figures"
                                   : " (the first); kept in the figures") < 0)
        abort();
    notes_add(notes, text, marks, marks_size);
}

static void notes_mark(struct notes *notes, const struct run_case *c, const char *name, char *marks,
                       size_t marks_size)
{
    struct notes_trials trials = {0};
    char *text;

    for (size_t t = 0; t < c->trials_count; t++) {
        const struct run_verdict *mark = notes_watermark(&c->trials[t], name);
        if (mark != NULL && !c->trials[t].failed)
            notes_trials_add(&trials, &c->trials[t], mark->evidence);
    }
    bool all = trials.count == facts_trials(c);
    int r = all ? asprintf(&text, "%s: %s", name, trials.evidence)
                : asprintf(&text, "%s: %s (trial%s %s)", name, trials.evidence,
                           trials.count == 1 ? "" : "s", trials.text);
    if (r < 0)
        abort();
    notes_add(notes, text, marks, marks_size);
}

static bool notes_is_common(const struct notes *notes, const char *name)
{
    for (size_t i = 0; i < notes->common_count; i++)
        if (strcmp(notes->common[i]->name, name) == 0)
            return true;
    return false;
}

static void notes_failures(struct notes *notes, const struct run_case *c, char *marks,
                           size_t marks_size)
{
    struct notes_trials trials = {0};
    char *text;

    for (size_t t = 0; t < c->trials_count; t++)
        if (c->trials[t].failed)
            notes_trials_add(&trials, &c->trials[t], c->trials[t].reason);
    if (trials.count == 0)
        return;
    if (asprintf(&text, "%s: trial%s %s failed: %s", c->label, trials.count == 1 ? "" : "s",
                 trials.text, trials.evidence) < 0)
        abort();
    notes_add(notes, text, marks, marks_size);
}

void notes_case(struct notes *notes, const struct run_case *c, char *marks, size_t marks_size)
{
    const char *verdicts[RUN_VERDICTS_MAX * 4], *watermarks[RUN_WATERMARKS_MAX * 4];
    size_t verdicts_count = 0, watermarks_count = 0;

    marks[0] = '\0';
    notes_failures(notes, c, marks, marks_size);
    for (size_t t = 0; t < c->trials_count; t++)
        for (size_t i = 0; i < c->trials[t].verdicts_count && !c->trials[t].failed; i++)
            if (verdicts_count < RUN_VERDICTS_MAX * 4 &&
                !notes_seen(c->trials[t].verdicts[i].name, verdicts, &verdicts_count))
                notes_verdict(notes, c, c->trials[t].verdicts[i].name, marks, marks_size);
    for (size_t t = 0; t < c->trials_count; t++)
        for (size_t i = 0; i < c->trials[t].watermarks_count && !c->trials[t].failed; i++)
            if (watermarks_count < RUN_WATERMARKS_MAX * 4 &&
                !notes_is_common(notes, c->trials[t].watermarks[i].name) &&
                !notes_seen(c->trials[t].watermarks[i].name, watermarks, &watermarks_count))
                notes_mark(notes, c, c->trials[t].watermarks[i].name, marks, marks_size);
}

void notes_wrap(FILE *out, const char *text, unsigned indent, unsigned width)
{
    unsigned at = 0;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (at > indent && width > 0 && at + 1 + word > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > 0) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, word, out);
        at += (unsigned)word;
        text += word;
        text += *text == ' ';
    }
    fputc('\n', out);
}

void notes_print(const struct notes *notes, FILE *out, unsigned width)
{
    char *text;

    for (size_t i = 0; i < notes->count; i++) {
        if (asprintf(&text, "[%zu] %s", i + 1, notes->texts[i]) < 0)
            abort();
        notes_wrap(out, term_text(text), 4, width);
        free(text);
    }
    for (size_t i = 0; i < notes->common_count; i++) {
        if (asprintf(&text, "all rows: %s: %s", notes->common[i]->name,
                     notes->common[i]->evidence) < 0)
            abort();
        notes_wrap(out, term_text(text), 4, width);
        free(text);
    }
}

/* See notes.h. */
#include "cli/notes.h"

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

static bool notes_equal(const struct run_verdict *a, const struct run_verdict *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->evidence, b->evidence) == 0;
}

static bool notes_has_mark(const struct run_trial *trial, const struct run_verdict *mark)
{
    for (size_t i = 0; i < trial->watermarks_count; i++)
        if (notes_equal(&trial->watermarks[i], mark))
            return true;
    return false;
}

/* True if every good trial of the run carries the very same watermark. */
static bool notes_everywhere(const struct run_result *run, const struct run_verdict *mark)
{
    for (size_t i = 0; i < run->cases_count; i++) {
        const struct run_case *c = &run->cases[i];
        for (size_t t = 0; t < c->trials_count; t++) {
            if (!c->trials[t].failed && !notes_has_mark(&c->trials[t], mark))
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

/* In which trials of a case something holds, and the first one's evidence. */
struct notes_trials {
    char text[100]; /* "1, 4" */
    unsigned count, last;
    const char *evidence;
};

static void notes_trials_add(struct notes_trials *trials, const struct run_trial *trial,
                             const char *evidence)
{
    size_t used = strlen(trials->text);
    unsigned number = trial->round + 1;

    if (trials->count > 0 && trials->last == number)
        return; /* twice in a trial: of two CPUs, say */
    trials->count++;
    trials->last = number;
    if (trials->evidence == NULL)
        trials->evidence = evidence;
    if (used + 24 < sizeof(trials->text))
        snprintf(trials->text + used, sizeof(trials->text) - used, "%s%u", used == 0 ? "" : ", ",
                 number);
    else if (trials->text[used - 1] != '.')
        snprintf(trials->text + used, sizeof(trials->text) - used, " ...");
}

/* "disturbed in trials 1, 4: 2.1 % steal on CPU 1"; where it holds throughout, a verdict says
 * so, and a watermark need not. */
static void notes_say(FILE *out, const char *name, const struct notes_trials *trials, unsigned of,
                      bool verdict)
{
    fputs(name, out);
    if (trials->count < of)
        fprintf(out, " in trial%s %s", trials->count == 1 ? "" : "s", trials->text);
    else if (verdict && of > 1)
        fputs(" in all trials", out);
    if (trials->evidence != NULL && trials->evidence[0] != '\0')
        fprintf(out, ": %s", trials->evidence);
}

/* Said for all rows, or (the busier side) by figures of the table. */
static bool notes_is_common(const struct notes *notes, const struct run_verdict *mark)
{
    if (strcmp(mark->name, "busier-side") == 0)
        return true;
    for (size_t i = 0; i < notes->common_count; i++)
        if (notes_equal(notes->common[i], mark))
            return true;
    return false;
}

static const struct run_verdict *notes_list(const struct run_trial *trial, bool verdicts,
                                            size_t *count)
{
    *count = trial->failed ? 0 : verdicts ? trial->verdicts_count : trial->watermarks_count;
    return verdicts ? trial->verdicts : trial->watermarks;
}

/* A verdict is one by its name, whatever it was found by; a watermark by what it remarks. */
static bool notes_same(bool verdicts, const struct run_verdict *a, const struct run_verdict *b)
{
    return verdicts ? strcmp(a->name, b->name) == 0 : facts_same_mark(a, b);
}

/* Whether an entry before the k-th of trial t, or of an earlier trial, is the same. */
static bool notes_said(const struct run_case *c, bool verdicts, size_t t, size_t k,
                       const struct run_verdict *entry)
{
    for (size_t i = 0; i <= t; i++) {
        size_t count;
        const struct run_verdict *list = notes_list(&c->trials[i], verdicts, &count);
        for (size_t n = 0; n < (i == t ? k : count); n++)
            if (notes_same(verdicts, &list[n], entry))
                return true;
    }
    return false;
}

/* In which trials, from t on, it holds. */
static struct notes_trials notes_holds(const struct run_case *c, bool verdicts, size_t t,
                                       const struct run_verdict *entry)
{
    struct notes_trials trials = {0};

    for (; t < c->trials_count; t++) {
        size_t count;
        const struct run_verdict *list = notes_list(&c->trials[t], verdicts, &count);
        for (size_t k = 0; k < count; k++)
            if (notes_same(verdicts, &list[k], entry))
                notes_trials_add(&trials, &c->trials[t], list[k].evidence);
    }
    return trials;
}

/* Calls each() with all that differ of the case's verdicts, or watermarks, once. */
static void notes_each(const struct run_case *c, bool verdicts,
                       void (*each)(void *context, const struct run_verdict *entry,
                                    const struct notes_trials *trials),
                       void *context)
{
    for (size_t t = 0; t < c->trials_count; t++) {
        size_t count;
        const struct run_verdict *list = notes_list(&c->trials[t], verdicts, &count);
        for (size_t k = 0; k < count; k++) {
            if (notes_said(c, verdicts, t, k, &list[k]))
                continue;
            struct notes_trials trials = notes_holds(c, verdicts, t, &list[k]);
            each(context, &list[k], &trials);
        }
    }
}

/* A case's notes in the making. */
struct notes_writer {
    struct notes *notes;
    const struct run_case *c;
    char *marks;
    size_t marks_size;
    FILE *out;
    unsigned said;
};

/* All verdicts of a case are one note: they belong together. */
static void notes_verdict(void *context, const struct run_verdict *verdict,
                          const struct notes_trials *trials)
{
    struct notes_writer *writer = context;

    fputs(writer->said++ == 0 ? "" : "; ", writer->out);
    notes_say(writer->out, verdict->name, trials, facts_trials(writer->c), true);
}

/* Each watermark is one of its own, without the engine's name where it holds throughout, so that
 * rows of which the same is to be known share its number. */
static void notes_mark(void *context, const struct run_verdict *mark,
                       const struct notes_trials *trials)
{
    struct notes_writer *writer = context;
    char *text = NULL;
    size_t size = 0;

    if (notes_is_common(writer->notes, mark))
        return;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        abort();
    if (trials->count < facts_trials(writer->c))
        fprintf(out, "%s: ", writer->c->label);
    notes_say(out, mark->name, trials, facts_trials(writer->c), false);
    fclose(out);
    notes_add(writer->notes, text, writer->marks, writer->marks_size);
}

static void notes_failed(struct notes_writer *writer)
{
    const struct run_case *c = writer->c;
    struct notes_trials trials = {0};

    for (size_t t = 0; t < c->trials_count; t++)
        if (c->trials[t].failed)
            notes_trials_add(&trials, &c->trials[t], c->trials[t].reason);
    writer->said = trials.count;
    if (trials.count > 0)
        notes_say(writer->out, "failed", &trials, (unsigned)c->trials_count, true);
}

/* What failed, what spoils the figures, what is to be known beside them. */
void notes_case(struct notes *notes, const struct run_case *c, char *marks, size_t marks_size)
{
    struct notes_writer writer = {.notes = notes, .c = c, .marks = marks, .marks_size = marks_size};

    marks[0] = '\0';
    for (unsigned kind = 0; kind < 2; kind++) {
        char *text = NULL;
        size_t size = 0;
        writer.out = open_memstream(&text, &size);
        if (writer.out == NULL)
            abort();
        writer.said = 0;
        fprintf(writer.out, "%s: ", c->label);
        if (kind == 0)
            notes_failed(&writer);
        else
            notes_each(c, true, notes_verdict, &writer);
        fputs(kind == 1 ? "; kept in the figures" : "", writer.out);
        fclose(writer.out);
        if (writer.said > 0)
            notes_add(notes, text, marks, marks_size);
        else
            free(text);
    }
    notes_each(c, false, notes_mark, &writer);
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

/*
 * See record.h. Growing by one element at a time is fine here: records are built once a trial,
 * outside of the window.
 */
#include "core/record.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

/* Bounds for what comes from elsewhere, far above what lab itself sends. */
#define LIST_MAX  4096u
#define TIDS_MAX  (1u << 20) /* a thread a connection: as many as --connections takes, and more */
#define TEXT_MAX  4096u
#define TOTAL_MAX (1ull << 53) /* exact as a double; sums over a thousand stay inside 64 bits */

const char *const record_states[] = {"absent", "native", "emulated", "no effect", NULL};

static void *memory_check(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

char *record_text(const char *text)
{
    return text_clean(memory_check(strdup(text != NULL ? text : "")));
}

/* Room for one more pointer; items may be NULL. */
static void *items_grow(void *items, size_t count)
{
    return memory_check(realloc(items, (count + 1) * sizeof(void *)));
}

/* --- building --- */

static Lab__Metric *metric_add(Lab__Record *record, const struct metric_def *def)
{
    Lab__Metric *metric = memory_check(malloc(sizeof(*metric)));

    lab__metric__init(metric);
    metric->name = record_text(def->name);
    metric->unit = record_text(def->unit);
    metric->kind = record_text(metric_kind_name(def->kind));
    metric->better = record_text(metric_better_name(def->better));
    metric->stage = record_text(def->stage);
    metric->hook = record_text(def->hook);
    record->metrics = items_grow(record->metrics, record->n_metrics);
    record->metrics[record->n_metrics++] = metric;
    return metric;
}

void record_add_value(Lab__Record *record, const struct metric_def *def, double value)
{
    Lab__Metric *metric = metric_add(record, def);

    metric->observed = true;
    metric->value = value;
}

void record_add_histogram(Lab__Record *record, const struct metric_def *def, const struct hist *h)
{
    Lab__Metric *metric = metric_add(record, def);

    metric->observed = true;
    metric->count = h->total;
    metric->value = hist_mean(h);
    metric->histogram.len = hist_encode(h, &metric->histogram.data);
    memory_check(metric->histogram.data);
}

void record_add_meter(Lab__Record *record, const struct meter *meter, const uint64_t *before,
                      const uint64_t *after)
{
    for (unsigned i = 0; i < meter->count; i++) {
        const struct metric_def *def = &meter->table[i];
        if (def->kind == METRIC_HISTOGRAM)
            record_add_histogram(record, def, meter->hists[i]);
        else
            record_add_value(record, def,
                             (double)(after[i] - (def->kind == METRIC_GAUGE ? 0 : before[i])));
    }
}

void record_add_unobserved(Lab__Record *record, const struct metric_def *def, const char *reason)
{
    metric_add(record, def)->reason = record_text(reason);
}

void record_add_error(Lab__Record *record, const char *kind, uint64_t count, const char *example)
{
    Lab__ErrorCount *error;

    for (size_t i = 0; i < record->n_errors; i++) {
        if (strcmp(record->errors[i]->kind, kind) == 0) {
            record->errors[i]->count += count;
            return;
        }
    }
    error = memory_check(malloc(sizeof(*error)));
    lab__error_count__init(error);
    error->kind = record_text(kind);
    error->count = count;
    error->example = record_text(example);
    record->errors = items_grow(record->errors, record->n_errors);
    record->errors[record->n_errors++] = error;
}

void record_add_slice(Lab__Record *record, uint64_t end_ns, uint64_t ops, uint64_t bytes)
{
    Lab__Slice *slice = memory_check(malloc(sizeof(*slice)));

    lab__slice__init(slice);
    slice->end_ns = end_ns;
    slice->ops = ops;
    slice->bytes = bytes;
    record->slices = items_grow(record->slices, record->n_slices);
    record->slices[record->n_slices++] = slice;
}

void record_add_setting(Lab__Ready *ready, const char *name, const char *value)
{
    Lab__Setting *setting = memory_check(malloc(sizeof(*setting)));

    lab__setting__init(setting);
    setting->name = record_text(name);
    setting->value = record_text(value);
    ready->settings = items_grow(ready->settings, ready->n_settings);
    ready->settings[ready->n_settings++] = setting;
}

static Lab__Capability *capability_new(const char *name, const char *state, const char *note)
{
    Lab__Capability *capability = memory_check(malloc(sizeof(*capability)));

    lab__capability__init(capability);
    capability->name = record_text(name);
    capability->state = record_text(state);
    capability->note = record_text(note);
    return capability;
}

void record_add_capability(Lab__Ready *ready, const char *name, const char *state, const char *note)
{
    ready->capabilities = items_grow(ready->capabilities, ready->n_capabilities);
    ready->capabilities[ready->n_capabilities++] = capability_new(name, state, note);
}

void record_add_finding(Lab__Record *record, const char *name, const char *state, const char *note)
{
    record->capabilities = items_grow(record->capabilities, record->n_capabilities);
    record->capabilities[record->n_capabilities++] = capability_new(name, state, note);
}

static void text_replace(char **text, const char *with)
{
    if (*text != protobuf_c_empty_string)
        free(*text);
    *text = record_text(with);
}

void record_correct_capabilities(Lab__Ready *ready, const Lab__Record *record)
{
    for (size_t i = 0; i < record->n_capabilities; i++) {
        const Lab__Capability *found = record->capabilities[i];
        for (size_t k = 0; k < ready->n_capabilities; k++) {
            Lab__Capability *said = ready->capabilities[k];
            if (strcmp(said->name, found->name) != 0)
                continue;
            text_replace(&said->state, found->state);
            text_replace(&said->note, found->note);
        }
    }
}

void record_add_address(Lab__Ready *ready, const char *address)
{
    ready->addresses = items_grow(ready->addresses, ready->n_addresses);
    ready->addresses[ready->n_addresses++] = record_text(address);
}

const Lab__Metric *record_metric(const Lab__Record *record, const char *name)
{
    for (size_t i = 0; i < record->n_metrics; i++) {
        if (strcmp(record->metrics[i]->name, name) == 0)
            return record->metrics[i];
    }
    return NULL;
}

/* --- checking --- */

static bool word_is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return false;
}

/* One line, clean, and of a sane length. */
static bool text_is_sane(const char *text)
{
    return text != NULL && strnlen(text, TEXT_MAX) < TEXT_MAX && text_is_clean(text);
}

static bool name_is_sane(const char *name)
{
    return text_is_sane(name) && name[0] != '\0';
}

static int metric_check_histogram(const Lab__Metric *metric, struct hist **scratch,
                                  struct lab_error *err)
{
    if (*scratch == NULL)
        *scratch = memory_check(hist_new());
    if (hist_decode(*scratch, metric->histogram.data, metric->histogram.len) < 0)
        return lab_fail(err, EPROTO, "histogram %s of a record is damaged", metric->name);
    if ((*scratch)->total != metric->count)
        return lab_fail(err, EPROTO, "histogram %s of a record holds %llu values and says %llu",
                        metric->name, (unsigned long long)(*scratch)->total,
                        (unsigned long long)metric->count);
    return 0;
}

static int metrics_check(const Lab__Record *record, struct lab_error *err)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram", NULL};
    static const char *const betters[] = {"more", "less", "neither", NULL};
    struct hist *scratch = NULL;
    int result = 0;

    for (size_t i = 0; i < record->n_metrics && result == 0; i++) {
        const Lab__Metric *m = record->metrics[i];

        if (!name_is_sane(m->name) || !text_is_sane(m->unit) || !text_is_sane(m->stage) ||
            !text_is_sane(m->hook) || !text_is_sane(m->reason) || !word_is_one_of(m->kind, kinds) ||
            !word_is_one_of(m->better, betters))
            result = lab_fail(err, EPROTO, "metric %zu of a record is not understood", i);
        else if (m->observed && !isfinite(m->value))
            result = lab_fail(err, EPROTO, "metric %s of a record is no number", m->name);
        else if (m->observed && strcmp(m->kind, "histogram") == 0)
            result = metric_check_histogram(m, &scratch, err);
    }
    hist_free(scratch);
    return result;
}

static int slices_check(const Lab__Record *record, struct lab_error *err)
{
    uint64_t before = 0;

    for (size_t i = 0; i < record->n_slices; i++) {
        const Lab__Slice *slice = record->slices[i];

        if (slice->end_ns < before || slice->ops > TOTAL_MAX || slice->bytes > TOTAL_MAX)
            return lab_fail(err, EPROTO, "slice %zu of a record makes no sense", i);
        before = slice->end_ns;
    }
    return 0;
}

static int errors_check(const Lab__Record *record, struct lab_error *err)
{
    for (size_t i = 0; i < record->n_errors; i++) {
        const Lab__ErrorCount *error = record->errors[i];

        if (!name_is_sane(error->kind) || !text_is_sane(error->example) || error->count > TOTAL_MAX)
            return lab_fail(err, EPROTO, "error %zu of a record makes no sense", i);
    }
    return 0;
}

static int capabilities_check(const char *message, Lab__Capability *const *list, size_t count,
                              struct lab_error *err)
{
    if (count > LIST_MAX)
        return lab_fail(err, EPROTO, "a %s has more than %u capabilities", message, LIST_MAX);
    for (size_t i = 0; i < count; i++)
        if (!name_is_sane(list[i]->name) || !word_is_one_of(list[i]->state, record_states) ||
            !text_is_sane(list[i]->note))
            return lab_fail(err, EPROTO, "capability %zu of a %s is not understood", i, message);
    return 0;
}

static int version_check(const char *name, uint32_t version, struct lab_error *err)
{
    if (version == RECORD_VERSION)
        return 0;
    return lab_fail(err, EPROTO,
                    "a %s has version %u and this lab speaks %u: run the same build on both sides",
                    name, version, RECORD_VERSION);
}

int record_check(const Lab__Record *record, struct lab_error *err)
{
    static const char *const sides[] = {"client", "server", "both", NULL};
    int result = version_check("record", record->version, err);

    if (result < 0)
        return result;
    if (!word_is_one_of(record->side, sides))
        return lab_fail(err, EPROTO, "a record is of no known side");
    if (record->t1_ns < record->t0_ns)
        return lab_fail(err, EPROTO, "a record ends before it begins");
    if (record->process == NULL || !text_is_sane(record->process->cpus))
        return lab_fail(err, EPROTO, "a record says nothing of its process");
    if (record->n_metrics > LIST_MAX || record->n_slices > LIST_MAX || record->n_errors > LIST_MAX)
        return lab_fail(err, EPROTO, "a record has more than %u metrics, slices or errors",
                        LIST_MAX);
    if (record->ops > TOTAL_MAX || record->bytes > TOTAL_MAX || record->unfinished > TOTAL_MAX ||
        record->scheduled > TOTAL_MAX || record->sent_in_time > TOTAL_MAX ||
        record->with_slot > TOTAL_MAX)
        return lab_fail(err, EPROTO, "a record has totals beyond anything that can be measured");
    result = metrics_check(record, err);
    if (result == 0)
        result = slices_check(record, err);
    if (result == 0)
        result = capabilities_check("record", record->capabilities, record->n_capabilities, err);
    return result < 0 ? result : errors_check(record, err);
}

int record_check_ready(const Lab__Ready *ready, struct lab_error *err)
{
    int result = version_check("READY message", ready->version, err);

    if (result < 0)
        return result;
    if (ready->n_tids > TIDS_MAX)
        return lab_fail(err, EPROTO, "a READY message has more than %u threads", TIDS_MAX);
    if (ready->n_addresses > LIST_MAX || ready->n_settings > LIST_MAX)
        return lab_fail(err, EPROTO, "a READY message has a list of more than %u", LIST_MAX);
    if (!text_is_sane(ready->wait) || !text_is_sane(ready->cpus))
        return lab_fail(err, EPROTO, "a READY message is not understood");
    for (size_t i = 0; i < ready->n_addresses; i++) {
        if (!name_is_sane(ready->addresses[i]))
            return lab_fail(err, EPROTO, "address %zu of a READY message is not understood", i);
    }
    result = capabilities_check("READY message", ready->capabilities, ready->n_capabilities, err);
    for (size_t i = 0; i < ready->n_settings && result == 0; i++) {
        if (!name_is_sane(ready->settings[i]->name) || !text_is_sane(ready->settings[i]->value))
            return lab_fail(err, EPROTO, "setting %zu of a READY message is not understood", i);
    }
    return result;
}

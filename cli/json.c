/* See json.h. */
#include "cli/json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/facts.h"
#include "cli/heading.h"
#include "core/parse.h"
#include "engines/engine.h"

struct json_percentile {
    const char *name;
    double percentile;
};

static const struct json_percentile json_percentiles[] = {
    {"p25", 25}, {"p50", 50}, {"p75", 75},    {"p90", 90},
    {"p95", 95}, {"p99", 99}, {"p999", 99.9}, {"p9999", 99.99},
};

/* --- values --- */

static json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_count(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *json_observed(int64_t count)
{
    return count != RUN_UNOBSERVED ? json_integer(count) : json_null();
}

/* Of a process's memory, which is never 0 but where it cannot be read. */
static json_t *json_memory(uint64_t bytes)
{
    return bytes > 0 ? json_count(bytes) : json_null();
}

/* "" and NULL are null. Bytes that are not UTF-8 have been cleaned where they came in; what got
 * past is not worth losing a run for. */
static json_t *json_text(const char *text)
{
    json_t *value = text == NULL || text[0] == '\0' ? json_null() : json_string(text);
    return value != NULL ? value : json_string("?");
}

static json_t *json_list(const struct run_list *list)
{
    json_t *object = json_object();
    for (size_t i = 0; i < list->count; i++)
        json_object_set_new(object, list->items[i].name, json_text(list->items[i].value));
    return object;
}

/* An option's value as a number where it is one, its unit in its name: size_bytes, duration_s. def
 * may be NULL: it is text then. "" is null. */
static void json_option(json_t *object, const struct option_def *def, const char *option,
                        const char *text)
{
    enum option_type type = def == NULL ? OPTION_TEXT : def->type;
    json_t *value = NULL;
    const char *unit = "";
    char name[96];
    uint64_t number = 0;

    switch (type) {
    case OPTION_FLAG:
        if (text[0] != '\0')
            value = json_boolean(strcmp(text, "yes") == 0);
        break;
    case OPTION_COUNT:
    case OPTION_RATE:
        unit = type == OPTION_RATE ? "_per_s" : "";
        if (parse_count(text, option, &number, NULL) == 0)
            value = json_count(number);
        break;
    case OPTION_SIZE:
        unit = "_bytes";
        if (parse_size(text, option, &number, NULL) == 0)
            value = json_count(number);
        break;
    case OPTION_TIME:
    case OPTION_SECONDS:
        unit = "_s";
        if (parse_time(text, option, true, &number, NULL) == 0)
            value = json_number((double)number / 1e9);
        break;
    default: value = json_text(text);
    }
    snprintf(name, sizeof(name), "%s%s", option, unit);
    for (char *at = name; *at != '\0'; at++)
        if (*at == '-')
            *at = '_';
    json_object_set_new(object, name, value != NULL ? value : json_null());
}

static json_t *json_params(const struct run_case *c)
{
    json_t *object = json_object();

    for (size_t i = 0; i < c->params.count; i++) {
        const struct run_setting *param = &c->params.items[i];
        /* What has no effect is null: the capabilities say why. */
        json_option(object, heading_option(c, param->name), param->name,
                    facts_is_in_vain(c, param->name) ? "" : param->value);
    }
    return object;
}

static json_t *json_base64(const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((size + 2) / 3 * 4 + 1), *at = text;

    if (text == NULL)
        return json_null();
    for (size_t i = 0; i < size; i += 3) {
        uint32_t word = (uint32_t)data[i] << 16;
        word |= i + 1 < size ? (uint32_t)data[i + 1] << 8 : 0;
        word |= i + 2 < size ? data[i + 2] : 0;
        *at++ = digits[word >> 18 & 63];
        *at++ = digits[word >> 12 & 63];
        *at++ = i + 1 < size ? digits[word >> 6 & 63] : '=';
        *at++ = i + 2 < size ? digits[word & 63] : '=';
    }
    *at = '\0';
    json_t *value = json_string(text);
    free(text);
    return value;
}

/* D of the schema; NULL: not observed. */
static json_t *json_hist(const struct hist *h, bool compact)
{
    json_t *object;

    if (h == NULL)
        return json_null();
    object = json_object();
    json_object_set_new(object, "count", json_count(h->total));
    json_object_set_new(object, "min", h->total > 0 ? json_count(h->min) : json_null());
    for (size_t i = 0; i < sizeof(json_percentiles) / sizeof(*json_percentiles); i++) {
        double percentile = json_percentiles[i].percentile;
        json_object_set_new(object, json_percentiles[i].name,
                            hist_tells(h, percentile) ? json_count(hist_percentile(h, percentile))
                                                      : json_null());
    }
    json_object_set_new(object, "max", h->total > 0 ? json_count(h->max) : json_null());
    json_object_set_new(object, "mean", h->total > 0 ? json_number(hist_mean(h)) : json_null());
    json_object_set_new(object, "stddev", h->total > 1 ? json_number(hist_stddev(h)) : json_null());
    uint8_t *encoded = NULL;
    size_t size = compact ? 0 : hist_encode(h, &encoded);
    json_object_set_new(object, "histogram",
                        encoded != NULL ? json_base64(encoded, size) : json_null());
    free(encoded);
    return object;
}

/* All of it is null where nothing was observed, how it was found included. */
static json_t *json_interval(const struct interval *interval, bool any)
{
    const char *method = interval->confidence > 0 ? "order-statistics" : "range";

    any = any && isfinite(interval->median);

    return json_pack(
        "{so so so so so}", "median", any ? json_number(interval->median) : json_null(), "ci_low",
        any ? json_number(interval->low) : json_null(), "ci_high",
        any ? json_number(interval->high) : json_null(), "ci_method",
        any ? json_string(method) : json_null(), "ci_confidence",
        any && interval->confidence > 0 ? json_number(interval->confidence) : json_null());
}

static json_t *json_verdicts(const struct run_verdict *verdicts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_pack("{so so}", "name", json_text(verdicts[i].name),
                                               "evidence", json_text(verdicts[i].evidence)));
    return array;
}

/* --- a trial --- */

static json_t *json_sums(const struct run_trial *trial, enum facts_side side)
{
    struct facts_sums sums = facts_trial_sums(trial, side);

    if (!sums.observed)
        return json_null();
    return json_pack("{so so so so so so so so}", "cpu_s", json_number(sums.cpu_s), "cpu_user_s",
                     json_number(sums.cpu_user_s), "cpu_sys_s", json_number(sums.cpu_sys_s),
                     "busy_s", sums.spins ? json_number(sums.busy_s) : json_null(),
                     "ctx_switches_voluntary", json_count(sums.ctx_switches_voluntary),
                     "ctx_switches_involuntary", json_count(sums.ctx_switches_involuntary),
                     "rss_bytes_max", json_memory(sums.rss_bytes_max), "vsize_bytes",
                     json_memory(sums.vsize_bytes));
}

static void json_process(json_t *array, const char *side, size_t index,
                         const struct run_process *process)
{
    const Lab__Process *p = process->record == NULL ? NULL : process->record->process;
    const char *cpus = p != NULL ? p->cpus : process->ready != NULL ? process->ready->cpus : NULL;
    bool spins = p != NULL && p->spins;

    json_array_append_new(
        array,
        json_pack("{ss si so so so so so so so so so}", "side", side, "index", (int)index, "cpus",
                  json_text(cpus), "cpu_s",
                  p == NULL ? json_null() : json_number((double)p->cpu_ns / 1e9), "cpu_user_s",
                  p == NULL ? json_null() : json_number((double)p->cpu_user_ns / 1e9), "cpu_sys_s",
                  p == NULL ? json_null() : json_number((double)p->cpu_sys_ns / 1e9), "busy_s",
                  spins ? json_number((double)p->busy_ns / 1e9) : json_null(),
                  "ctx_switches_voluntary",
                  p == NULL ? json_null() : json_count(p->ctx_switches_voluntary),
                  "ctx_switches_involuntary",
                  p == NULL ? json_null() : json_count(p->ctx_switches_involuntary),
                  "rss_bytes_max", json_memory(p == NULL ? 0 : p->rss_bytes_max), "vsize_bytes",
                  json_memory(p == NULL ? 0 : p->vsize_bytes)));
}

static json_t *json_processes(const struct run_trial *trial)
{
    json_t *array = json_array();

    for (size_t i = 0; i < trial->clients_count; i++)
        json_process(array, "client", i, &trial->clients[i]);
    for (size_t i = 0; i < trial->servers_count; i++)
        json_process(array, "server", i, &trial->servers[i]);
    return array;
}

/* A metric of one side: counters of its processes added, histograms merged; a gauge has no sum,
 * so that it stays with its process. */
struct json_metric {
    const Lab__Metric *first;
    double sum;
    uint64_t count;
    struct hist *hist;
    bool observed;
};

static void json_metric_add(struct json_metric *into, const Lab__Metric *metric)
{
    if (into->first == NULL) {
        into->first = metric;
        into->observed = true;
    }
    if (!metric->observed) {
        into->first = metric; /* whose reason is said */
        into->observed = false;
        return;
    }
    into->sum += metric->value;
    into->count += metric->count;
    if (metric->histogram.len > 0) {
        struct hist *one = hist_new();
        if (one != NULL && hist_decode(one, metric->histogram.data, metric->histogram.len) == 0) {
            if (into->hist == NULL)
                into->hist = hist_new();
            if (into->hist != NULL)
                hist_merge(into->hist, one);
        }
        hist_free(one);
    }
}

static json_t *json_metric_value(const struct json_metric *metric, bool compact)
{
    if (!metric->observed)
        return json_null();
    if (strcmp(metric->first->kind, "histogram") == 0)
        return json_hist(metric->hist, compact);
    return json_number(metric->sum);
}

static void json_metric_row(json_t *array, const struct json_metric *metric, const char *side,
                            json_t *index, bool compact)
{
    const Lab__Metric *first = metric->first;
    bool histogram = strcmp(first->kind, "histogram") == 0;

    json_array_append_new(
        array,
        json_pack("{so so so ss so so so so so so so}", "name", json_text(first->name), "unit",
                  json_text(first->unit), "kind", json_text(first->kind), "side", side, "stage",
                  json_text(first->stage), "hook", json_text(first->hook), "index", index, "status",
                  json_string(metric->observed ? "observed" : "not-observed"), "reason",
                  metric->observed ? json_null() : json_text(first->reason), "count",
                  metric->observed && histogram ? json_count(metric->count) : json_null(), "value",
                  json_metric_value(metric, compact)));
}

/* These are the trial's own keys. */
static bool json_is_headline(const char *name)
{
    return strcmp(name, "latency_ns") == 0 || strcmp(name, "latency_from_send_ns") == 0 ||
           strcmp(name, "slip_ns") == 0;
}

static void json_metrics_of(json_t *array, const struct run_process *processes, size_t count,
                            const char *side, bool compact)
{
    for (size_t p = 0; p < count; p++) {
        const Lab__Record *record = processes[p].record;
        for (size_t m = 0; record != NULL && m < record->n_metrics; m++) {
            const Lab__Metric *metric = record->metrics[m];
            struct json_metric merged = {0};
            bool gauge = strcmp(metric->kind, "gauge") == 0, seen = false;
            if (json_is_headline(metric->name))
                continue;
            for (size_t q = 0; q < p && !gauge && !seen; q++)
                seen = processes[q].record != NULL &&
                       record_metric(processes[q].record, metric->name) != NULL;
            if (seen)
                continue;
            json_metric_add(&merged, metric);
            for (size_t q = p + 1; q < count && !gauge; q++) {
                const Lab__Metric *other = NULL;
                if (processes[q].record != NULL)
                    other = record_metric(processes[q].record, metric->name);
                if (other != NULL)
                    json_metric_add(&merged, other);
            }
            json_metric_row(array, &merged, side, gauge ? json_integer((json_int_t)p) : json_null(),
                            compact);
            hist_free(merged.hist);
        }
    }
}

static json_t *json_metrics(const struct run_case *c, const struct run_trial *trial, bool compact)
{
    json_t *array = json_array();

    json_metrics_of(array, trial->clients, trial->clients_count, c->both_sides ? "both" : "client",
                    compact);
    json_metrics_of(array, trial->servers, trial->servers_count, "server", compact);
    return array;
}

static json_t *json_slices(const struct run_trial *trial)
{
    json_t *array = json_array();

    for (size_t i = 0; i < trial->slices_count; i++)
        json_array_append_new(array, json_pack("{so so so}", "end_s",
                                               json_number((double)trial->slices[i].end_ns / 1e9),
                                               "ops", json_count(trial->slices[i].ops), "bytes",
                                               json_count(trial->slices[i].bytes)));
    return array;
}

static json_t *json_errors(const struct run_trial *trial)
{
    json_t *object = json_object();

    for (size_t i = 0; i < trial->errors_by_kind.count; i++)
        json_object_set_new(object, trial->errors_by_kind.items[i].name,
                            json_count(strtoull(trial->errors_by_kind.items[i].value, NULL, 10)));
    return object;
}

/* What of a trial is null when it failed. */
static void json_trial_figures(json_t *object, const struct run_case *c,
                               const struct run_trial *trial, bool compact)
{
    bool good = !trial->failed;

    json_object_set_new(object, "ops", good ? json_count(trial->ops) : json_null());
    json_object_set_new(object, "bytes", good ? json_count(trial->bytes) : json_null());
    json_object_set_new(object, "errors", good ? json_count(trial->errors) : json_null());
    json_object_set_new(object, "errors_by_kind", json_errors(trial));
    json_object_set_new(object, "errors_examples", json_list(&trial->errors_examples));
    json_object_set_new(object, "unfinished", good ? json_count(trial->unfinished) : json_null());
    json_object_set_new(object, "scheduled",
                        good && c->asked_ops_per_s > 0 ? json_count(trial->scheduled)
                                                       : json_null());
    json_object_set_new(object, "asked_ops_per_s",
                        c->asked_ops_per_s > 0 ? json_number(c->asked_ops_per_s) : json_null());
    json_object_set_new(object, "ops_per_s", good ? json_number(trial->ops_per_s) : json_null());
    json_object_set_new(object, "bytes_per_s",
                        good ? json_number(trial->bytes_per_s) : json_null());
    json_object_set_new(object, "cpu_ns_per_op",
                        good ? json_number(trial->cpu_ns_per_op) : json_null());
    json_object_set_new(object, "latency_ns", json_hist(good ? trial->latency : NULL, compact));
    json_object_set_new(object, "latency_from_send_ns",
                        json_hist(good ? trial->latency_from_send : NULL, compact));
    json_object_set_new(object, "slip_ns", json_hist(good ? trial->slip : NULL, compact));
}

static void json_trial_verdict(json_t *object, const struct run_trial *trial)
{
    json_t *verdicts = json_verdicts(trial->verdicts, trial->verdicts_count);
    const char *verdict = trial->verdicts_count > 0 ? trial->verdicts[0].name : "valid";

    if (trial->failed) {
        verdict = "failed";
        json_array_insert_new(
            verdicts, 0,
            json_pack("{ss so}", "name", "failed", "evidence", json_text(trial->reason)));
    }
    json_object_set_new(object, "verdict", json_string(verdict));
    json_object_set_new(object, "verdicts", verdicts);
    json_object_set_new(object, "watermarks",
                        json_verdicts(trial->watermarks, trial->watermarks_count));
}

static json_t *json_trial(const struct run_case *c, const struct run_trial *trial, bool compact)
{
    json_t *object = json_object();

    json_object_set_new(object, "seq", json_integer(trial->seq));
    json_object_set_new(object, "round", json_integer(trial->round));
    json_object_set_new(object, "position", json_integer(trial->position));
    json_object_set_new(object, "role", json_string("headline"));
    json_object_set_new(object, "started_at", json_text(trial->started_at));
    json_object_set_new(object, "duration_s",
                        trial->failed ? json_null() : json_number(trial->duration_s));
    json_object_set_new(object, "warmup_s", json_number(trial->warmup_s));
    json_trial_figures(object, c, trial, compact);
    json_trial_verdict(object, trial);
    json_object_set_new(object, "client", json_sums(trial, FACTS_CLIENT));
    json_object_set_new(object, "server", json_sums(trial, FACTS_SERVER));
    json_object_set_new(object, "processes", json_processes(trial));
    json_object_set_new(object, "listen_drops", json_observed(trial->listen_drops));
    json_object_set_new(object, "syn_retries", json_observed(trial->syn_retries));
    json_object_set_new(object, "slices", json_slices(trial));
    json_object_set_new(object, "metrics", json_metrics(c, trial, compact));
    return object;
}

/* --- a case --- */

/* Of the engine that the spec names. */
static const struct option_def *json_engine_option(const char *spec, const char *option)
{
    char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(spec, ":"), spec);
    const struct engine_ops *ops = engine_find(name);
    const struct option_def *def = option_find(engine_common_options, option);
    return def != NULL || ops == NULL ? def : option_find(ops->options, option);
}

static json_t *json_settings(const Lab__Ready *ready, const char *spec)
{
    json_t *object = json_object();

    for (size_t i = 0; ready != NULL && i < ready->n_settings; i++) {
        const char *name = facts_setting_name(ready->settings[i]);
        if (name != NULL)
            json_option(object, json_engine_option(spec, name), name, ready->settings[i]->value);
    }
    return object;
}

/* What the kernel was set to for the link, of the first trial; the others' are made alike. */
static json_t *json_link_settings(const struct run_case *c)
{
    json_t *object = json_object();

    for (size_t i = 0; c->trials_count > 0 && i < c->trials[0].link_settings.count; i++) {
        const struct run_setting *setting = &c->trials[0].link_settings.items[i];
        json_object_set_new(object, setting->name, json_text(setting->value));
    }
    return object;
}

static json_t *json_capabilities(const Lab__Ready *ready)
{
    json_t *object;

    if (ready == NULL)
        return json_null();
    object = json_object();
    for (size_t i = 0; i < ready->n_capabilities; i++)
        json_object_set_new(object, ready->capabilities[i]->name,
                            json_pack("{so so}", "state", json_text(ready->capabilities[i]->state),
                                      "note", json_text(ready->capabilities[i]->note)));
    return object;
}

/* Whether one of the trial's first marks is that remark. */
static bool json_is_marked(const struct run_trial *trial, size_t count,
                           const struct run_verdict *mark)
{
    for (size_t i = 0; i < count; i++)
        if (facts_same_mark(&trial->watermarks[i], mark))
            return true;
    return false;
}

/* Remarks that any trial carries, as the first one words them, and of how many trials each is. */
static json_t *json_watermarks(const struct run_case *c)
{
    json_t *array = json_array();

    for (size_t t = 0; t < c->trials_count; t++) {
        for (size_t i = 0; i < c->trials[t].watermarks_count; i++) {
            const struct run_verdict *mark = &c->trials[t].watermarks[i];
            bool known = json_is_marked(&c->trials[t], i, mark);
            json_int_t trials = 0;
            for (size_t k = 0; k < t && !known; k++)
                known = json_is_marked(&c->trials[k], c->trials[k].watermarks_count, mark);
            if (known)
                continue;
            for (size_t k = t; k < c->trials_count; k++)
                trials += json_is_marked(&c->trials[k], c->trials[k].watermarks_count, mark);
            json_array_append_new(array, json_pack("{ss so sI}", "name", mark->name, "evidence",
                                                   json_text(mark->evidence), "trials", trials));
        }
    }
    return array;
}

static json_t *json_summary(const struct run_case *c, bool compact)
{
    bool any = facts_trials(c) > 0, ratio = any && isfinite(c->vs_reference);
    struct interval vs = c->vs_reference_interval;

    vs.median = c->vs_reference;
    return json_pack("{so so so so so so so so}", "trials", json_count(c->trials_count), "valid",
                     json_count(c->valid), "ops_per_s", json_interval(&c->ops_per_s, any),
                     "bytes_per_s", json_interval(&c->bytes_per_s, any), "cpu_ns_per_op",
                     json_interval(&c->cpu_ns_per_op, any), "vs_reference",
                     json_interval(&vs, ratio), "latency_ns",
                     json_hist(any ? c->latency : NULL, compact), "watermarks", json_watermarks(c));
}

static json_t *json_case(const struct run_case *c, bool compact)
{
    json_t *object = json_object(), *trials = json_array();
    const Lab__Ready *client = facts_ready(c, FACTS_CLIENT), *server = facts_ready(c, FACTS_SERVER);

    json_object_set_new(object, "key", json_text(c->key));
    json_object_set_new(object, "status", json_string(run_status_name(c->status)));
    json_object_set_new(object, "reason", json_text(c->reason));
    json_object_set_new(object, "workload", json_text(c->workload));
    json_object_set_new(object, "engine", json_text(c->client_spec));
    json_object_set_new(object, "server_engine", json_text(c->server_spec));
    json_object_set_new(object, "server_address", json_text(c->server_address));
    json_object_set_new(object, "engine_options", json_settings(client, c->client_spec));
    json_object_set_new(object, "server_engine_options", json_settings(server, c->server_spec));
    json_object_set_new(object, "capabilities",
                        json_pack("{so so}", "client", json_capabilities(client), "server",
                                  json_capabilities(server)));
    json_object_set_new(object, "link", json_text(c->link));
    json_object_set_new(object, "link_settings", json_link_settings(c));
    json_object_set_new(object, "wait", json_text(c->wait));
    json_object_set_new(object, "params", json_params(c));
    json_object_set_new(object, "summary", json_summary(c, compact));
    for (size_t t = 0; t < c->trials_count; t++)
        json_array_append_new(trials, json_trial(c, &c->trials[t], compact));
    json_object_set_new(object, "trials", trials);
    return object;
}

/* --- the run --- */

static json_t *json_lab(void)
{
    json_t *features = json_object();

    for (const struct cli_feature *feature = cli_features; feature->name != NULL; feature++)
        json_object_set_new(features, feature->name,
                            feature->reason == NULL ? json_true() : json_string(feature->reason));
    return json_pack("{ss ss so}", "version", cli_version, "commit", cli_commit, "features",
                     features);
}

static json_t *json_run(const struct run_result *run)
{
    json_t *argv = json_array();

    for (size_t i = 0; i < run->argv.count; i++) {
        json_t *word = json_string(run->argv.items[i].value);
        json_array_append_new(argv, word != NULL ? word : json_string("?"));
    }
    return json_pack("{so so so so so so so so}", "id", json_text(run->id), "started_at",
                     json_text(run->started_at), "argv", argv, "seed",
                     json_count(run->settings.seed), "rounds", json_count(run->settings.rounds),
                     "rounds_done", json_count(run->rounds_done), "labels",
                     json_list(&run->settings.labels), "lab", json_lab());
}

/* A fact about the host: a whole number is one. */
static json_t *json_fact(const char *text)
{
    size_t digits = text != NULL ? strspn(text, "0123456789") : 0;

    if (digits > 0 && digits <= 18 && text[digits] == '\0')
        return json_count(strtoull(text, NULL, 10));
    return json_text(text);
}

static json_t *json_env(const struct run_env *env)
{
    static const char *const always[] = {"kernel", "cpu", "congestion_control"};
    json_t *object = json_object(), *warnings = json_array();

    for (size_t i = 0; i < env->facts.count; i++)
        json_object_set_new(object, env->facts.items[i].name, json_fact(env->facts.items[i].value));
    for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
        if (json_object_get(object, always[i]) == NULL)
            json_object_set_new(object, always[i], json_null());
    for (size_t i = 0; i < env->warnings_count; i++)
        json_array_append_new(warnings,
                              json_pack("{so so so}", "id", json_text(env->warnings[i].id), "text",
                                        json_text(env->warnings[i].text), "fix",
                                        json_text(env->warnings[i].fix)));
    json_object_set_new(object, "fingerprint", json_text(env->fingerprint));
    json_object_set_new(object, "cores", json_integer(env->cores));
    json_object_set_new(object, "warnings", warnings);
    return object;
}

int json_write(const struct run_result *run, bool compact, FILE *out)
{
    json_t *cases = json_array();

    for (size_t i = 0; i < run->cases_count; i++)
        json_array_append_new(cases, json_case(&run->cases[i], compact));
    json_t *root =
        json_pack("{ss si sb so so so}", "schema", "lab-run", "version", 1, "complete",
                  run->complete, "run", json_run(run), "env", json_env(&run->env), "cases", cases);
    if (root == NULL)
        return -ENOMEM;
    errno = 0;
    int r = json_dumpf(root, out, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    json_decref(root);
    if (r < 0 || fputc('\n', out) == EOF || fflush(out) != 0)
        return errno != 0 ? -errno : -EIO;
    return 0;
}

/*
 * Filling the records of core/record.proto. All memory is malloc'd, so that the generated
 * *__free_unpacked(message, NULL) frees a message that was built here too. Out of memory aborts:
 * records are built outside of any measurement and are small.
 */
#ifndef LAB_CORE_RECORD_H
#define LAB_CORE_RECORD_H

#include "core/error.h"
#include "core/hist.h"
#include "core/meter.h"
#include "core/metric.h"
#include "core/record.pb-c.h"

#define RECORD_VERSION 1

/* How a capability stands, in the order of enum cap_state; NULL ends them. */
extern const char *const record_states[];

/* A heap copy for string fields, made clean as core/text.h has it (NULL: ""): what is built here
 * passes the checks below and can be put into JSON. */
char *record_text(const char *text);

void record_add_value(Lab__Record *record, const struct metric_def *def, double value);
void record_add_histogram(Lab__Record *record, const struct metric_def *def, const struct hist *h);
void record_add_unobserved(Lab__Record *record, const struct metric_def *def, const char *reason);
/* Every row of a meter's table: counters by what they grew from one sample to the other, gauges as
 * the later one has them, histograms as they are. before and after: as meter_sum filled them. */
void record_add_meter(Lab__Record *record, const struct meter *meter, const uint64_t *before,
                      const uint64_t *after);
/* Adds to the kind's count; the first example is kept. */
void record_add_error(Lab__Record *record, const char *kind, uint64_t count, const char *example);
void record_add_slice(Lab__Record *record, uint64_t end_ns, uint64_t ops, uint64_t bytes);
void record_add_setting(Lab__Ready *ready, const char *name, const char *value);
void record_add_capability(Lab__Ready *ready, const char *name, const char *state,
                           const char *note);
/* As record_add_capability, of one that turned out to be otherwise than READY said. */
void record_add_finding(Lab__Record *record, const char *name, const char *state, const char *note);
/* What READY said becomes what RECORD has of the same names. */
void record_correct_capabilities(Lab__Ready *ready, const Lab__Record *record);
void record_add_address(Lab__Ready *ready, const char *address);

/* NULL if the record has no such metric. */
const Lab__Metric *record_metric(const Lab__Record *record, const char *name);

/* Bounds and sense of a message that came from elsewhere: version, sane sizes, decodable
 * histograms with as many values as they say, texts that are clean; process is there. 0 or
 * -EPROTO with a sentence. */
int record_check(const Lab__Record *record, struct lab_error *err);
int record_check_ready(const Lab__Ready *ready, struct lab_error *err);

#endif

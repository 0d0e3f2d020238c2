/* A run as the controller would hand it back, made by hand: three engines, or what a test wants. */
#ifndef LAB_TESTS_FAKE_RUN_H
#define LAB_TESTS_FAKE_RUN_H

#include "run/run.h"

struct run_result fake_run(void); /* of two rounds and more, no cases; free with run_result_free */
/* Adds a case; the pointer holds until the next one is added. */
struct run_case *fake_case(struct run_result *run, const char *engine, const char *link);
/* Adds a trial with both sides' records, 10,000 ops of 100 to 200 us. */
struct run_trial *fake_trial(struct run_case *c, double ops_per_s);
void fake_param(struct run_case *c, const char *name, const char *value); /* sets or adds */
/* Six trials around the rate, summarised by hand as far as tables look. */
void fake_measured(struct run_case *c, double ops_per_s);

/* What table_print() or json_write() writes. The caller frees it. */
char *fake_table(struct run_result *run, unsigned width);
char *fake_json(struct run_result *run, bool compact);

#endif

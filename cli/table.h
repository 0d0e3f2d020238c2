/*
 * The results as a person reads them: a table for each workload and set of parameters, what an
 * op cost beneath it, comparisons in a sentence, errors by kind, footnotes.
 */
#ifndef LAB_CLI_TABLE_H
#define LAB_CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "run/run.h"

struct table_style {
    unsigned width; /* columns of the screen; 0: no limit */
    bool colour;
    bool provisional; /* only the rows, and says how many rounds they rest on */
};

/* run has been summarised. */
void table_print(const struct run_result *run, FILE *out, const struct table_style *style);

/* "host  7f3a91c2, 2 cores, Linux 6.18; ..." in a line; below it how it was run. */
void table_print_host(const struct run_result *run, FILE *out, unsigned width);

/* Every effective setting: parameters of each table, what the engines say they were granted. */
void table_print_settings(const struct run_result *run, FILE *out, unsigned width);

#endif

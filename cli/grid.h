/*
 * Text in columns: as wide as its widest cell, numbers to the right. Where the screen is too
 * narrow, the columns that matter least are left out, and it says which.
 */
#ifndef LAB_CLI_GRID_H
#define LAB_CLI_GRID_H

#include <stdbool.h>
#include <stdio.h>

enum grid_align { GRID_LEFT, GRID_RIGHT };

struct grid;

/* Aborts without memory: a few hundred cells. */
struct grid *grid_new(void);
void grid_free(struct grid *grid); /* NULL is fine */

/* Adds a column; returns its index. The higher `spare` the sooner it is left out; 0: never. */
unsigned grid_column(struct grid *grid, enum grid_align align, unsigned spare);
/* Adds an empty row; returns its index. The first one is the heading. */
unsigned grid_row(struct grid *grid);
void grid_set(struct grid *grid, unsigned row, unsigned column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Whether a cell says just that. */
bool grid_has(const struct grid *grid, const char *text);
/* A row that is to stand out. */
void grid_strong(struct grid *grid, unsigned row);

/* width 0: as wide as it gets. */
void grid_print(const struct grid *grid, FILE *out, unsigned width, bool colour);

#endif

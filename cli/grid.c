/* See grid.h. */
#include "cli/grid.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define GRID_COLUMNS_MAX 64
#define GRID_GAP         2

struct grid_line {
    char *cells[GRID_COLUMNS_MAX]; /* NULL: empty */
    bool strong;
};

struct grid {
    struct {
        enum grid_align align;
        unsigned spare;
    } columns[GRID_COLUMNS_MAX];
    unsigned columns_count;
    struct grid_line *lines;
    unsigned lines_count, lines_room;
};

static void *grid_memory(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

struct grid *grid_new(void)
{
    return grid_memory(calloc(1, sizeof(struct grid)));
}

void grid_free(struct grid *grid)
{
    if (grid == NULL)
        return;
    for (unsigned row = 0; row < grid->lines_count; row++)
        for (unsigned column = 0; column < grid->columns_count; column++)
            free(grid->lines[row].cells[column]);
    free(grid->lines);
    free(grid);
}

unsigned grid_column(struct grid *grid, enum grid_align align, unsigned spare)
{
    assert(grid->columns_count < GRID_COLUMNS_MAX);
    grid->columns[grid->columns_count].align = align;
    grid->columns[grid->columns_count].spare = spare;
    return grid->columns_count++;
}

unsigned grid_row(struct grid *grid)
{
    if (grid->lines_count == grid->lines_room) {
        grid->lines_room = grid->lines_room == 0 ? 16 : 2 * grid->lines_room;
        grid->lines = grid_memory(realloc(grid->lines, grid->lines_room * sizeof(*grid->lines)));
    }
    grid->lines[grid->lines_count] = (struct grid_line){0};
    return grid->lines_count++;
}

void grid_set(struct grid *grid, unsigned row, unsigned column, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    assert(row < grid->lines_count && column < grid->columns_count);
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    va_end(arguments);
    free(grid->lines[row].cells[column]);
    grid->lines[row].cells[column] = text;
}

bool grid_has(const struct grid *grid, const char *text)
{
    for (unsigned row = 0; row < grid->lines_count; row++)
        for (unsigned column = 0; column < grid->columns_count; column++)
            if (grid->lines[row].cells[column] != NULL &&
                strcmp(grid->lines[row].cells[column], text) == 0)
                return true;
    return false;
}

void grid_strong(struct grid *grid, unsigned row)
{
    grid->lines[row].strong = true;
}

/* Characters, not bytes: names may be UTF-8. */
static unsigned grid_width(const char *text)
{
    unsigned width = 0;
    for (; text != NULL && *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

struct grid_layout {
    unsigned widths[GRID_COLUMNS_MAX]; /* 0: not shown, or empty throughout */
    unsigned left_out[GRID_COLUMNS_MAX];
    unsigned left_out_count;
};

static unsigned grid_total(const struct grid *grid, const struct grid_layout *layout)
{
    unsigned total = 0;
    for (unsigned column = 0; column < grid->columns_count; column++)
        if (layout->widths[column] > 0)
            total += layout->widths[column] + (total > 0 ? GRID_GAP : 0);
    return total;
}

static void grid_fit(const struct grid *grid, struct grid_layout *layout, unsigned width)
{
    for (unsigned row = 0; row < grid->lines_count; row++) {
        for (unsigned column = 0; column < grid->columns_count; column++) {
            unsigned cell = grid_width(grid->lines[row].cells[column]);
            if (cell > layout->widths[column])
                layout->widths[column] = cell;
        }
    }
    while (width > 0 && grid_total(grid, layout) > width) {
        unsigned victim = 0, spare = 0;
        for (unsigned column = 0; column < grid->columns_count; column++) {
            if (layout->widths[column] > 0 && grid->columns[column].spare > spare) {
                spare = grid->columns[column].spare;
                victim = column;
            }
        }
        if (spare == 0)
            return; /* what is left is needed: better too wide than wrong */
        layout->widths[victim] = 0;
        layout->left_out[layout->left_out_count++] = victim;
    }
}

static void grid_print_line(const struct grid *grid, const struct grid_layout *layout,
                            const struct grid_line *line, FILE *out)
{
    unsigned at = 0, start = 0; /* where the cursor is; where the column begins */

    for (unsigned column = 0; column < grid->columns_count; column++) {
        const char *text = line->cells[column];
        unsigned room = layout->widths[column], width = grid_width(text);
        if (room == 0)
            continue;
        unsigned from = grid->columns[column].align == GRID_RIGHT ? start + room - width : start;
        if (width > 0) { /* no blanks at the end of a line */
            fprintf(out, "%*s%s", (int)(from - at), "", text);
            at = from + width;
        }
        start += room + GRID_GAP;
    }
}

void grid_print(const struct grid *grid, FILE *out, unsigned width, bool colour)
{
    struct grid_layout layout = {0};

    grid_fit(grid, &layout, width);
    for (unsigned row = 0; row < grid->lines_count; row++) {
        bool strong = colour && grid->lines[row].strong;
        fputs(strong ? "\033[1m" : "", out);
        grid_print_line(grid, &layout, &grid->lines[row], out);
        fputs(strong ? "\033[0m\n" : "\n", out);
    }
    if (layout.left_out_count == 0)
        return;
    fputs("(no room for", out);
    for (unsigned i = 0; i < layout.left_out_count; i++)
        fprintf(out, "%s %s", i == 0 ? "" : ",", grid->lines[0].cells[layout.left_out[i]]);
    fputs(")\n", out);
}

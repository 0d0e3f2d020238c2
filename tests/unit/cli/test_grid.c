/* Columns: alignment, no blanks at the end of lines, what is left out where there is no room. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "cli/grid.h"

TestSuite(grid, .timeout = 10);

static char *print(const struct grid *grid, unsigned width)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    grid_print(grid, out, width, false);
    fclose(out);
    return text;
}

static struct grid *make(void)
{
    struct grid *grid = grid_new();
    unsigned name = grid_column(grid, GRID_LEFT, 0), rate = grid_column(grid, GRID_RIGHT, 0);
    unsigned tail = grid_column(grid, GRID_RIGHT, 2), note = grid_column(grid, GRID_LEFT, 1);
    unsigned row = grid_row(grid);

    grid_set(grid, row, name, "engine");
    grid_set(grid, row, rate, "ops/s");
    grid_set(grid, row, tail, "p99.9");
    grid_set(grid, row, note, "valid");
    row = grid_row(grid);
    grid_set(grid, row, name, "epoll");
    grid_set(grid, row, rate, "118.2k");
    grid_set(grid, row, tail, "788us");
    grid_set(grid, row, note, "6/6 best");
    row = grid_row(grid);
    grid_set(grid, row, name, "b");
    grid_set(grid, row, rate, "n/o");
    return grid;
}

static void says(unsigned width, const char *expected)
{
    struct grid *grid = make();
    char *text = print(grid, width);
    cr_assert_str_eq(text, expected, "got:\n%s", text);
    free(text);
    grid_free(grid);
}

Test(grid, aligns_and_leaves_no_blanks_at_the_end)
{
    says(0, "engine   ops/s  p99.9  valid\n"
            "epoll   118.2k  788us  6/6 best\n"
            "b          n/o\n");
}

Test(grid, leaves_out_what_matters_least_first)
{
    says(30, "engine   ops/s  valid\n"
             "epoll   118.2k  6/6 best\n"
             "b          n/o\n"
             "(no room for p99.9)\n");
    says(20, "engine   ops/s\n"
             "epoll   118.2k\n"
             "b          n/o\n"
             "(no room for p99.9, valid)\n");
}

Test(grid, what_is_needed_stays_however_narrow)
{
    says(3, "engine   ops/s\n"
            "epoll   118.2k\n"
            "b          n/o\n"
            "(no room for p99.9, valid)\n");
}

Test(grid, counts_characters_not_bytes)
{
    struct grid *grid = grid_new();
    grid_column(grid, GRID_LEFT, 0);
    grid_column(grid, GRID_LEFT, 0);
    grid_set(grid, grid_row(grid), 0, "a");
    grid_set(grid, 0, 1, "x");
    grid_set(grid, grid_row(grid), 0, "\xc3\xa4\xc3\xb6\xc3\xbc");
    grid_set(grid, 1, 1, "y");
    char *text = print(grid, 0);
    cr_assert_str_eq(text, "a    x\n\xc3\xa4\xc3\xb6\xc3\xbc  y\n");
    free(text);
    grid_free(grid);
}

Test(grid, has_finds_whole_cells)
{
    struct grid *grid = make();
    cr_assert(grid_has(grid, "n/o"));
    cr_assert_not(grid_has(grid, "n"));
    grid_free(grid);
}

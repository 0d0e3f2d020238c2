/*
 * What the terminal can show: its width, whether its locale is UTF-8, whether colour is wanted.
 * COLUMNS, NO_COLOR, TERM and the locale are honoured.
 */
#ifndef LAB_CLI_TERM_H
#define LAB_CLI_TERM_H

#include <stdbool.h>
#include <stdio.h>

/* Once, first thing in main(): reads the locale (numbers stay as in C). */
void term_init(void);

bool term_is_tty(FILE *stream);
/* Columns of the stream's terminal, or COLUMNS; 0: neither, so that nothing is to be cut. */
unsigned term_columns(FILE *stream);
bool term_utf8(void);
/* In place: what the locale cannot show becomes '?'. Returns text. */
char *term_text(char *text);
/* Colour only on a terminal that has it, and not with NO_COLOR. */
bool term_colour(FILE *stream);

#endif

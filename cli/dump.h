/*
 * `lab --dump-options`: every command's options from their tables, for the man page (roff) and
 * for completion (a word a line), so that neither is written by hand.
 */
#ifndef LAB_CLI_DUMP_H
#define LAB_CLI_DUMP_H

/* argv: `man`, `man-links`, `commands`, `engines`, `links`, `workloads`, `words COMMAND` or
 * `choices COMMAND`. Returns an
 * exit code. */
int dump_options(int argc, char **argv);

#endif

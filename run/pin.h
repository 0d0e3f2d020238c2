/*
 * The CPUs of the two sides: physical cores apart, of one package while it has enough of them, and
 * as many as a side has threads at work.
 */
#ifndef LAB_RUN_PIN_H
#define LAB_RUN_PIN_H

#include <sched.h>
#include <stddef.h>

#define PIN_TEXT_MAX 1024 /* of a list */

struct pin_request {
    const char *root;                        /* what stands for /: "" on a real host */
    const cpu_set_t *mine;                   /* what this process may use */
    unsigned servers, clients;               /* threads at work on each side, at least 1 */
    const char *server_given, *client_given; /* lists that were asked for, or NULL */
};

/* Fills the list of a side that has none; a given one is copied. -ENODEV where nothing is left to
 * give: the lists are "". */
int pin_choose(const struct pin_request *request, char server[PIN_TEXT_MAX],
               char client[PIN_TEXT_MAX]);
/* `count` CPUs of a list, from its first-th on (from 0), or, where it has not so many there, from
 * its start: for a case with fewer threads than another, or a process beside others. */
void pin_part(const char *list, unsigned first, unsigned count, char out[PIN_TEXT_MAX]);
/* 0-3,8; what does not fit is left out. Returns out. */
const char *pin_format(const cpu_set_t *set, char *out, size_t out_size);

#endif

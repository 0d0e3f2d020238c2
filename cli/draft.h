/*
 * A case in the making: options of one combination of values, what they ask together, and the
 * case that an engine makes of them.
 */
#ifndef LAB_CLI_DRAFT_H
#define LAB_CLI_DRAFT_H

#include "cli/run_options.h"
#include "client/load.h"
#include "run/run.h"
#include "server/serve.h"

struct draft {
    struct case_options options;
    struct load_options load;
    struct serve_options serve;
    const struct client_workload *client;
    const struct server_workload *server;
    void *client_options, *server_options; /* owned */
    struct link link;                      /* as asked for; kind NULL: each engine's own default */
    bool duration_given, warmup_given;
    bool client_elsewhere, server_elsewhere; /* started by a command of the user's (--client-via) */
    const char *server_only; /* an option that only the server knows and that was given, or NULL */
};

/* Of the workload by that name, all options at their defaults. `context` goes before errors:
 * "--" or "file:line: ". CLI_OK, or CLI_USAGE with a sentence (so all below). */
int draft_begin(struct draft *draft, const char *workload, const char *context,
                struct lab_error *err);
void draft_free(struct draft *draft); /* fine after a draft_begin that failed */

/* option_set(), with the context in front of every error. */
int draft_option_set(const struct option_def *def, void *into, const char *value,
                     const char *context, struct lab_error *err);

/* Sets a value (NULL: given without one) in every table that knows the name; *known tells
 * whether one does. name is to outlive the draft. */
int draft_set(struct draft *draft, const char *name, const char *value, const char *context,
              bool *known, struct lab_error *err);

/* Completes the options, and refuses what does not go together. */
int draft_check(struct draft *draft, struct lab_error *err);

/* Fills the zeroed *c for an engine, whose spec draft_set() has seen. That the engine cannot run
 * here is no error: c->status and c->reason say so. c is to be freed in any case. */
int draft_case(const struct draft *draft, const char *engine, struct run_case *c,
               struct lab_error *err);

/* Appends ";name=value" to the case's key. */
void draft_key_add(char **key, const char *name, const char *value);

#endif

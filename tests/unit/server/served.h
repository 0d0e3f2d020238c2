/* A server in this process, as the tests of it begin one. */
#ifndef LAB_TESTS_UNIT_SERVER_SERVED_H
#define LAB_TESTS_UNIT_SERVER_SERVED_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/serve.h"

struct served {
    struct engine_spec spec;
    struct server_config config;
    void *options; /* the workload's */
    struct server *server;
    struct lab_error err;
};

/* All by default, on a free port; not started. False: the engine cannot run here. */
static inline bool served_prepare(struct served *s, const char *engine, const char *workload)
{
    struct engine_config config = {0};
    struct engine_caps caps = {0};

    memset(s, 0, sizeof(*s));
    int r = engine_spec_parse(engine, &s->spec, &s->err);
    config.options = s->spec.options;
    if (r < 0 || s->spec.ops->probe(&config, &caps, &s->err) < 0) {
        cr_log_warn("skipped: %s", s->err.text);
        return false;
    }
    s->config.spec = &s->spec;
    s->config.workload = server_workload_find(workload);
    s->config.workload_options = s->options = calloc(1, s->config.workload->options_size);
    option_defaults(s->config.workload->options, s->options);
    option_defaults(serve_options, &s->config.options);
    cr_assert_eq(addr_parse("127.0.0.1:0", 0, "", &s->config.listen, &s->err), 0);
    return true;
}

static inline void served_start(struct served *s)
{
    cr_assert_eq(server_start(&s->server, &s->config, &s->err), 0, "%s", s->err.text);
}

/* Once it is stopped. */
static inline void served_free(struct served *s)
{
    engine_spec_free(&s->spec);
    free(s->options);
}

#endif

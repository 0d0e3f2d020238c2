/* See side.h. */
#include "cli/side.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "run/child.h"
#include "run/privilege.h"
#include "run/signals.h"

static int set_link(void *options, const char *value, struct lab_error *err)
{
    struct side_options *side = options;
    if (strlen(value) >= sizeof(side->link))
        return lab_fail(err, EINVAL, "--link takes one link, KIND[:key=value,...]");
    strcpy(side->link, value);
    return 0;
}

const struct option_def side_options[] = {
    {.name = "engine",
     .letter = 'e',
     .type = OPTION_TEXT,
     .offset = offsetof(struct side_options, engine),
     .fallback = "epoll",
     .argument = "SPEC",
     .help = "the engine, as name[:key[=value],...]; see lab engines",
     .group = "Process"},
    {.name = "cc",
     .type = OPTION_TEXT,
     .offset = offsetof(struct side_options, cc),
     .argument = "NAME",
     .help = "TCP congestion control; default: the system's",
     .group = "Process"},
    {.name = "link",
     .type = OPTION_CUSTOM,
     .argument = "LINK",
     .set = set_link,
     .help = "what is talked over, as KIND[:key=value,...], seen from this side; default: the "
             "engine's first",
     .group = "Process"},
    {.name = "cpus",
     .type = OPTION_TEXT,
     .offset = offsetof(struct side_options, cpus),
     .argument = "LIST",
     .help = "run on these CPUs only, as 0-3,8",
     .group = "Process"},
    {.name = "control",
     .type = OPTION_FLAG,
     .offset = offsetof(struct side_options, control),
     .fallback = "no",
     .help = "a controller speaks on stdin and listens on stdout (lab run starts it so)",
     .group = "Process"},
    {.name = "verbose",
     .letter = 'v',
     .type = OPTION_FLAG,
     .offset = offsetof(struct side_options, verbose),
     .fallback = "no",
     .help = "on stderr: what the engine's libraries say, and at a server's end what it counted",
     .group = "Process"},
    {.name = "index",
     .type = OPTION_COUNT,
     .offset = offsetof(struct side_options, index),
     .fallback = "0",
     .max = 65535,
     .argument = "N",
     .help = "which of its side's processes this one is",
     .group = "Process"},
    {0},
};

int side_begin(struct side *side, const struct command *self, const struct args *args)
{
    struct lab_error err;
    bool control = false;

    memset(side, 0, sizeof(*side));
    args_value(args, "control", &control);
    if (!control)
        return CLI_OK;
    if (child_channel_take(&err) < 0)
        return cli_fail(CLI_USAGE, "%s", err.text);
    child_prepare();
    return CLI_OK;
}

void side_note(const char *text)
{
    if (text == NULL)
        return;
    if (child_has_channel())
        child_note(text);
    else
        fprintf(stderr, "lab: %s\n", text);
}

int side_fail(const struct side *side, int exit_code, const char *text)
{
    if (!child_has_channel())
        return cli_fail(exit_code, "%s", text);
    child_fail(exit_code, text);
    return exit_code;
}

/* Ten thousand connections are ordinary; the soft limit of 1024 is for select(2)'s sake. */
static void raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int side_link(struct side *side, enum link_side role)
{
    const struct engine_ops *ops = side->spec.ops;
    const char *text = side->options.link;
    struct lab_error err;

    if (text[0] == '\0' && ops->links == NULL)
        return CLI_OK;
    if (link_parse(text[0] != '\0' ? text : ops->links[0], role, &side->link_of_process, &err) < 0)
        return side_fail(side, CLI_USAGE, err.text);
    if (engine_takes_link(ops, side->link_of_process.kind, &err) < 0)
        return side_fail(side, CLI_UNAVAILABLE, err.text);
    side->link = &side->link_of_process;
    return CLI_OK;
}

int side_prepare(struct side *side, enum link_side role)
{
    struct engine_config config = {0};
    struct engine_caps caps = {0};
    struct lab_error err;
    sigset_t signals;

    int r = engine_spec_parse(side->options.engine, &side->spec, &err);
    if (r < 0) {
        char text[sizeof(err.text) + sizeof("--engine: ")];
        snprintf(text, sizeof(text), "--engine: %s", err.text);
        return side_fail(side, r == -ENOSYS ? CLI_UNAVAILABLE : CLI_USAGE, text);
    }
    int exit_code = side_link(side, role);
    if (exit_code != CLI_OK)
        return exit_code;
    config.options = side->spec.options;
    config.link = side->link;
    config.cc = side->options.cc[0] != '\0' ? side->options.cc : NULL;
    if (side->spec.ops->probe(&config, &caps, &err) < 0)
        return side_fail(side, CLI_UNAVAILABLE, err.text);
    if (caps.both_sides && role == LINK_SERVER) {
        lab_fail(&err, EINVAL,
                 "the %s engine plays both sides in one process, where no other program reaches a "
                 "server: take another engine, or measure it with lab run -e %s",
                 side->spec.ops->name, side->spec.text);
        return side_fail(side, CLI_USAGE, err.text);
    }
    side->privileged = caps.privileged;
    if (side->options.cpus[0] != '\0' && child_pin(side->options.cpus, &err) < 0)
        return side_fail(side, CLI_USAGE, err.text);
    raise_fd_limit();
    signal(SIGPIPE, SIG_IGN);
    signals_of_end(&signals);
    if (!child_has_channel())
        sigprocmask(SIG_BLOCK, &signals, NULL);
    return CLI_OK;
}

bool side_has_file(const struct addr *addr)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&addr->sa;

    return addr_is_unix(addr) && un->sun_path[0] != '\0';
}

int side_drop_rights(const struct side *side)
{
    struct lab_error err;

    if (side->privileged)
        return CLI_OK;
    if (privilege_drop(&err) < 0)
        return side_fail(side, CLI_FAILED, err.text);
    /* The kernel forgets with the rights what the process had asked for to end with its parent. */
    if (child_has_channel())
        child_prepare();
    return CLI_OK;
}

void side_end(struct side *side)
{
    engine_spec_free(&side->spec);
}

void side_settings(const struct side *side, Lab__Ready *ready)
{
    const char *name;
    char value[OPTION_TEXT_MAX], key[64];

    for (unsigned i = 0; engine_spec_option(&side->spec, i, &name, value, sizeof(value)); i++) {
        snprintf(key, sizeof(key), "engine.%s", name);
        record_add_setting(ready, key, value);
    }
    record_add_setting(ready, "cc", side->options.cc[0] != '\0' ? side->options.cc : "system");
}

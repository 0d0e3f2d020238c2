/* See draft.h. */
#include "cli/draft.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/names.h"
#include "cli/preflight.h"
#include "cli/specs.h"
#include "engines/engine.h"
#include "run/link.h"

static void *draft_memory(void *memory)
{
    if (memory == NULL)
        abort(); /* small, and before anything runs */
    return memory;
}

/* --- options --- */

static const char *draft_workload_at(unsigned index)
{
    return client_workloads[index] != NULL ? client_workloads[index]->name : NULL;
}

static int draft_unknown_workload(const char *name, const char *context, struct lab_error *err)
{
    char text[sizeof(err->text)];

    lab_fail(err, EINVAL, "%s%s", strcmp(context, "--") == 0 ? "" : context,
             names_unknown("workload", name, draft_workload_at, text, sizeof(text)));
    return CLI_USAGE;
}

int draft_begin(struct draft *draft, const char *workload, const char *context,
                struct lab_error *err)
{
    *draft = (struct draft){
        .client = client_workload_find(workload),
        .server = server_workload_find(workload),
    };
    if (draft->client == NULL || draft->server == NULL)
        return draft_unknown_workload(workload, context, err);
    if (draft->client->absent != NULL) {
        lab_fail(err, ENOSYS, "%s: %s", workload, draft->client->absent);
        return CLI_UNAVAILABLE;
    }
    draft->client_options = draft_memory(calloc(1, draft->client->options_size));
    draft->server_options = draft_memory(calloc(1, draft->server->options_size));
    option_defaults(case_options, &draft->options);
    option_defaults(load_options, &draft->load);
    option_defaults(serve_options, &draft->serve);
    option_defaults(draft->client->options, draft->client_options);
    option_defaults(draft->server->options, draft->server_options);
    return CLI_OK;
}

void draft_free(struct draft *draft)
{
    free(draft->client_options);
    free(draft->server_options);
    *draft = (struct draft){0};
}

int draft_option_set(const struct option_def *def, void *into, const char *value,
                     const char *context, struct lab_error *err)
{
    struct lab_error why = {0};

    if (option_set(def, into, value, context, &why) == 0)
        return CLI_OK;
    /* A custom option's own sentence knows no file and no line. */
    if (strncmp(context, "--", 2) == 0 || strncmp(why.text, context, strlen(context)) == 0)
        lab_fail(err, EINVAL, "%s", why.text);
    else
        lab_fail(err, EINVAL, "%s%s", context, why.text);
    return CLI_USAGE;
}

static int draft_spec(const char *text, struct lab_error *why)
{
    struct engine_spec spec = {0};
    int r = specs_parse(text, &spec, why);

    engine_spec_free(&spec);
    return r == -ENOSYS ? 0 : r; /* that it is not built is no mistake in it */
}

/* A value with a grammar of its own is read where it is known who said it. */
static int draft_read(struct draft *draft, const char *name, const char *context,
                      struct lab_error *err)
{
    const struct case_options *options = &draft->options;
    struct lab_error why;
    char typed[64];
    int r = 0;

    if (strcmp(name, "link") == 0)
        r = link_parse(options->link, LINK_CLIENT, &draft->link, &why);
    else if (strcmp(name, "engine") == 0 && strcmp(options->engine, "all") != 0)
        r = draft_spec(options->engine, &why);
    else if (strcmp(name, "server-engine") == 0)
        r = draft_spec(options->server_engine, &why);
    if (r == 0)
        return CLI_OK;
    snprintf(typed, sizeof(typed), "--%s: ", name);
    lab_fail(err, EINVAL, "%s%s", strcmp(context, "--") == 0 ? typed : context, why.text);
    return CLI_USAGE;
}

int draft_set(struct draft *draft, const char *name, const char *value, const char *context,
              bool *known, struct lab_error *err)
{
    const struct {
        const struct option_def *options;
        void *into;
        bool client;
    } targets[] = {
        {case_options, &draft->options, true},
        {load_options, &draft->load, true},
        {draft->client->options, draft->client_options, true},
        {serve_options, &draft->serve, false},
        {draft->server->options, draft->server_options, false},
    };
    bool client = false;

    *known = false;
    for (unsigned t = 0; t < sizeof(targets) / sizeof(*targets); t++) {
        const struct option_def *def = option_find(targets[t].options, name);
        if (def == NULL)
            continue;
        *known = true;
        client = client || targets[t].client;
        if (draft_option_set(def, targets[t].into, value, context, err) != CLI_OK)
            return CLI_USAGE;
    }
    if (*known && !client)
        draft->server_only = name;
    if (strcmp(name, "duration") == 0)
        draft->duration_given = true;
    if (strcmp(name, "warmup") == 0)
        draft->warmup_given = draft->options.warmup_ns > 0;
    return draft_read(draft, name, context, err);
}

/* What the options ask of the load together; NULL if that is possible. */
static const char *draft_trouble_load(const struct draft *draft)
{
    const struct load_options *load = &draft->load;

    if (load->ops > 0 && load->loops > 0)
        return "--ops and --loops both say how many: give one of them";
    if (draft->duration_given && (load->ops > 0 || load->loops > 0))
        return "--duration and --ops (or --loops) both say when a trial ends: give one of them";
    if (draft->warmup_given && (load->ops > 0 || load->loops > 0))
        return "--warmup does not go with --ops (or --loops): of so many, every one counts";
    if (load->workers > load->connections)
        return "--workers: more threads than --connections, some would have nothing to do";
    if (load->rate == 0 && (load->arrival != LOAD_CONSTANT || load->pacing != LOAD_PACING_SLEEP))
        return "--arrival and --pacing are for an open loop: add --rate";
    if (load->rate > 0 && load->loops > 0)
        return "--loops is what each connection does by itself: of an open loop (--rate) say --ops";
    if (load->reconnect && load->depth > 1)
        return "--depth: with --reconnect an op is a connection of its own: raise --connections";
    if (!load->reconnect && load->close != LOAD_CLOSE_FIN)
        return "--close says how --reconnect closes: add --reconnect";
    if (load->local_addrs > 1 && draft->link.kind != NULL && !draft->link.kind->local_addrs)
        return "--local-addrs spreads over 127.0.0.0/8: it goes with --link lo only";
    return NULL;
}

static const char *draft_trouble_ends(const struct draft *draft)
{
    const struct case_options *options = &draft->options;
    const struct link_kind *kind = draft->link.kind;

    if (kind != NULL && !kind->tcp && options->cc[0] != '\0')
        return "--cc is TCP's: it does not go with --link unix";
    if (kind != NULL && (draft->link.side != LINK_CLIENT || draft->link.index != 0))
        return "--link: say it as the client sees it; side and index are for single processes";
    if (options->listen[0] != '\0' && (kind != NULL || options->server[0] != '\0'))
        return "--listen says where a server that lab starts listens: it does not go with --link "
               "or --server";
    if (options->server[0] == '\0')
        return NULL;
    if (options->server_engine[0] != '\0')
        return "--server names a server that is there already, and --server-engine one to start: "
               "give one of them";
    if (kind != NULL && !kind->elsewhere)
        return "--link is for a server that lab starts: --server says by its address what is "
               "talked over";
    return NULL;
}

int draft_check(struct draft *draft, struct lab_error *err)
{
    struct load_options *load = &draft->load;

    if (load->connections == 0)
        load->connections = draft->client->connections;
    if (draft->client->check(draft->client_options, load, err) < 0)
        return CLI_USAGE;
    if (load->depth == 0)
        load->depth = 1;
    if (!draft->warmup_given && (load->ops > 0 || load->loops > 0))
        draft->options.warmup_ns = 0;
    const char *trouble = draft_trouble_load(draft);
    if (trouble == NULL)
        trouble = draft_trouble_ends(draft);
    if (trouble != NULL) {
        lab_fail(err, EINVAL, "%s", trouble);
        return CLI_USAGE;
    }
    if (draft->options.server[0] != '\0' && draft->server_only != NULL) {
        lab_fail(err, EINVAL,
                 "--%s is for a server that lab starts, and --server names one that is there "
                 "already: leave one out",
                 draft->server_only);
        return CLI_USAGE;
    }
    bool serves = draft->options.server[0] == '\0' && !draft->server_elsewhere;
    return preflight_host(draft->client_elsewhere && !serves ? "" : draft->options.cc, err);
}

/* --- words for the children --- */

static void draft_arg(char ***args, const struct option_def *def, const void *options)
{
    char value[OPTION_TEXT_MAX + 16];

    option_format(def, options, value, sizeof(value));
    run_args_add(args, def->name, value);
}

static void draft_args_from(char ***args, const struct option_def *table, const void *options)
{
    for (const struct option_def *def = table; def->name != NULL; def++)
        if (!option_is_default(def, options))
            draft_arg(args, def, options);
}

static bool draft_client_knows(const struct draft *draft, const char *name)
{
    return option_find(draft->client->options, name) != NULL ||
           option_find(load_options, name) != NULL;
}

static void draft_args(const struct draft *draft, struct run_case *c)
{
    const struct option_def *cc = option_find(case_options, "cc");

    c->client_args = draft_memory(calloc(1, sizeof(char *)));
    c->server_args = draft_memory(calloc(1, sizeof(char *)));
    draft_args_from(&c->client_args, load_options, &draft->load);
    draft_args_from(&c->client_args, draft->client->options, draft->client_options);
    draft_args_from(&c->server_args, serve_options, &draft->serve);
    draft_args_from(&c->server_args, draft->server->options, draft->server_options);
    if (c->both_sides) { /* the client's process plays the server too */
        const struct option_def *def = draft->server->options;
        draft_args_from(&c->client_args, serve_options, &draft->serve);
        for (; def->name != NULL; def++)
            if (!draft_client_knows(draft, def->name) &&
                !option_is_default(def, draft->server_options))
                draft_arg(&c->client_args, def, draft->server_options);
    }
    if (draft->options.cc[0] != '\0') {
        draft_arg(&c->client_args, cc, &draft->options);
        draft_arg(&c->server_args, cc, &draft->options);
    }
}

/* --- parameters and key --- */

static void draft_param(struct run_list *params, const struct option_def *def, const void *options)
{
    char value[OPTION_TEXT_MAX + 16];
    run_list_add(params, def->name, option_format(def, options, value, sizeof(value)));
}

static void draft_params(const struct draft *draft, struct run_case *c)
{
    static const char *const of_case[] = {"cc", "duration", "warmup"};
    const struct option_def *def;

    for (def = load_options; def->name != NULL; def++)
        draft_param(&c->params, def, &draft->load);
    for (def = draft->client->options; def->name != NULL; def++)
        draft_param(&c->params, def, draft->client_options);
    for (def = serve_options; def->name != NULL && c->server_address == NULL; def++)
        draft_param(&c->params, def, &draft->serve);
    for (def = draft->server->options; def->name != NULL && c->server_address == NULL; def++)
        if (!draft_client_knows(draft, def->name))
            draft_param(&c->params, def, draft->server_options);
    for (unsigned i = 0; i < sizeof(of_case) / sizeof(*of_case); i++)
        draft_param(&c->params, option_find(case_options, of_case[i]), &draft->options);
}

void draft_key_add(char **key, const char *name, const char *value)
{
    char *longer = NULL;

    if (asprintf(&longer, "%s;%s=%s", *key, name, value) < 0)
        abort();
    free(*key);
    *key = longer;
}

/* Of the options, those that are always interesting and those that are not at their default. */
static void draft_key_from(char **key, const struct option_def *table, const void *options)
{
    static const char *const always[] = {"connections", "depth", "size", NULL};
    char value[OPTION_TEXT_MAX + 16], part[64];

    for (const struct option_def *def = table; def->name != NULL; def++) {
        bool shown = !option_is_default(def, options);
        for (unsigned i = 0; always[i] != NULL && !shown; i++)
            shown = strcmp(always[i], def->name) == 0;
        snprintf(part, sizeof(part), ";%s=", def->name);
        if (shown && strstr(*key, part) == NULL)
            draft_key_add(key, def->name, option_format(def, options, value, sizeof(value)));
    }
}

static void draft_key(const struct draft *draft, struct run_case *c)
{
    if (asprintf(&c->key, "%s;engine=%s;server=%s;link=%s", c->workload, c->client_spec,
                 c->server_address != NULL ? c->server_address : c->server_spec, c->link) < 0)
        abort();
    draft_key_from(&c->key, load_options, &draft->load);
    draft_key_from(&c->key, draft->client->options, draft->client_options);
    if (c->server_address == NULL) {
        draft_key_from(&c->key, serve_options, &draft->serve);
        draft_key_from(&c->key, draft->server->options, draft->server_options);
    }
    if (draft->options.cc[0] != '\0')
        draft_key_add(&c->key, "cc", draft->options.cc);
}

/* --- engines --- */

/* An engine of a case: its spec, and what it says it can do here. */
struct draft_engine {
    struct engine_spec spec;
    struct engine_caps caps;
    char *text; /* normalised; owned */
};

static void draft_engine_free(struct draft_engine *engine)
{
    engine_spec_free(&engine->spec);
    free(engine->text);
}

/* Why it cannot run, without the engine's name in front, which stands there already. */
static void draft_cannot(struct run_case *c, enum run_status status, const char *name,
                         const char *reason)
{
    size_t size = strlen(name);

    if (strncmp(reason, name, size) == 0 && strncmp(reason + size, ": ", 2) == 0)
        reason += size + 2;
    c->status = status;
    snprintf(c->reason, sizeof(c->reason), "%s", reason);
}

/* Whether it can run over that link, in that role. */
static void draft_probe(const struct draft *draft, struct draft_engine *engine,
                        const struct link *link, uint64_t message_size, struct run_case *c)
{
    const struct engine_ops *ops = engine->spec.ops;
    struct lab_error why;
    const struct engine_config config = {
        .options = engine->spec.options,
        .message_size = message_size,
        .conns_hint = (uint32_t)draft->load.connections,
        .cc = draft->options.cc[0] == '\0' ? NULL : draft->options.cc,
        .link = link->kind == NULL ? NULL : link,
    };

    if (link->kind != NULL && engine_takes_link(ops, link->kind, &why) < 0)
        draft_cannot(c, RUN_CANNOT_RUN, ops->name, why.text);
    else if (ops->probe(&config, &engine->caps, &why) < 0)
        draft_cannot(c, RUN_CANNOT_RUN, ops->name, why.text);
}

static int draft_engine(const char *text, struct draft_engine *engine, struct run_case *c,
                        struct lab_error *err)
{
    struct lab_error why;

    int r = specs_parse(text, &engine->spec, &why);
    if (r == -ENOSYS) {
        draft_cannot(c, RUN_NOT_BUILT, engine->spec.ops->name, why.text);
    } else if (r < 0) {
        lab_fail(err, EINVAL, "%s", why.text);
        return CLI_USAGE;
    }
    engine->text = draft_memory(strdup(engine->spec.text[0] != '\0' ? engine->spec.text : text));
    return CLI_OK;
}

/* Both ends' engines, and which of their specs is the case's. */
static int draft_engines(const struct draft *draft, const char *text, struct draft_engine *client,
                         struct draft_engine *server, struct run_case *c, struct lab_error *err)
{
    const struct case_options *options = &draft->options;
    bool differs = options->server_engine[0] != '\0';

    int r = draft_engine(text, client, c, err);
    if (r == CLI_OK && options->server[0] == '\0')
        r = draft_engine(differs ? options->server_engine : text, server, c, err);
    if (r != CLI_OK)
        return r;
    c->client_spec = draft_memory(strdup(client->text));
    if (options->server[0] != '\0')
        c->server_address = draft_memory(strdup(options->server));
    else
        c->server_spec = draft_memory(strdup(server->text));
    c->server_measured = c->server_address != NULL || strcmp(c->client_spec, c->server_spec) != 0;
    return CLI_OK;
}

/* --- the link --- */

/* What was asked for; else the first that the client's engine prefers and the server's takes. */
static void draft_link_choose(const struct draft *draft, const struct draft_engine *client,
                              const struct draft_engine *server, struct link *link)
{
    const char *const *links = client->spec.ops->links;
    const char *chosen = links != NULL ? links[0] : NULL;

    *link = draft->link;
    if (link->kind != NULL || links == NULL)
        return;
    for (unsigned i = 0; links[i] != NULL && server->spec.ops != NULL; i++) {
        if (engine_takes_link(server->spec.ops, link_kind_find(links[i]), NULL) == 0) {
            chosen = links[i];
            break;
        }
    }
    link_parse(chosen, LINK_CLIENT, link, NULL);
}

/* Both ends are asked; what each can do decides what the two can do over the link together. */
static int draft_ask(const struct draft *draft, struct draft_engine *client,
                     struct draft_engine *server, struct link *link, struct run_case *c,
                     struct lab_error *err)
{
    struct link other = {0};

    link->to_be_made = link->kind != NULL && link->kind->interface && c->server_address == NULL;
    if (link->kind != NULL)
        link_turn(link, &other);
    if (c->status == RUN_RAN)
        draft_probe(draft, client, link, draft->client->message_bytes(draft->client_options), c);
    if (c->status == RUN_RAN && server->spec.ops != NULL)
        draft_probe(draft, server, &other, draft->server->message_bytes(draft->server_options), c);
    c->both_sides = client->caps.both_sides;
    c->client_stack = client->caps.user_stack;
    c->server_stack = server->caps.user_stack;
    c->client_worker_each = client->caps.conns_max == 1;
    c->server_worker_each = server->caps.conns_max == 1;
    if ((client->caps.both_sides || server->caps.both_sides) && c->server_measured) {
        lab_fail(err, EINVAL,
                 "the %s engine plays both sides itself: it goes with neither --server nor "
                 "--server-engine",
                 client->caps.both_sides ? client->spec.ops->name : server->spec.ops->name);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static uint32_t draft_processes(const struct engine_caps *caps, uint64_t workers)
{
    return caps->one_per_process && workers > 1 ? (uint32_t)workers : 1;
}

/* Of each of these processes. */
static uint32_t draft_threads(const struct engine_caps *caps, uint64_t workers)
{
    return caps->one_per_process || workers == 0 ? 1 : (uint32_t)workers;
}

/* The engine; where the sides differ, client>server. */
static char *draft_label(const struct run_case *c)
{
    bool differ = c->server_spec != NULL && strcmp(c->client_spec, c->server_spec) != 0;
    char *label = NULL;

    if (asprintf(&label, "%s%s%s", c->client_spec, differ ? ">" : "",
                 differ ? c->server_spec : "") < 0)
        abort();
    return label;
}

/* What is talked over, as far as the server's own address tells. */
static const char *draft_link_name(const struct addr *listen)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&listen->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&listen->sa;

    if (addr_is_unix(listen))
        return "unix";
    if (listen->sa.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ? "lo6" : "net";
    return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET ? "lo" : "net";
}

/* Whether the link's own network has that address. */
static bool draft_is_on_link(const struct addr *addr, const struct link *link)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr->sa;

    return addr->sa.ss_family == AF_INET &&
           ((in->sin_addr.s_addr ^ link->address.s_addr) & link_mask(link)) == 0;
}

/* Why that engine cannot talk to a server that is there already; NULL if it can. */
static const char *draft_trouble_server(const struct draft *draft,
                                        const struct draft_engine *client, const struct link *link,
                                        const struct run_case *c)
{
    struct addr addr;

    if (!client->caps.user_stack)
        return draft->link.kind == NULL
                   ? NULL
                   : "kernel sockets reach a --server by its address: leave --link out";
    /* What is no address is told of where --server is read. */
    bool is_address = addr_parse(c->server_address, 1, "", &addr, NULL) == 0;
    if (is_address && strcmp(draft_link_name(&addr), "net") != 0)
        return "a stack in user space is not on this host's loopback and has no UNIX sockets: give "
               "the address that its server says that it listens on";
    /* Its own default leads to a server of its own kind, and nowhere else. */
    if (draft->link.kind == NULL && !(is_address && draft_is_on_link(&addr, link)))
        return "a stack in user space has no way to that server by itself: say with --link which "
               "device leads there";
    return NULL;
}

/* Why the two ends cannot play together over the link; NULL if they can. */
static const char *draft_trouble_link(const struct draft *draft, const struct draft_engine *client,
                                      const struct draft_engine *server, const struct link *link,
                                      const struct run_case *c)
{
    bool stacks = client->caps.user_stack && server->caps.user_stack;
    bool sockets = !client->caps.user_stack && !server->caps.user_stack;
    uint32_t fewer =
        c->client_processes < c->server_processes ? c->client_processes : c->server_processes;
    bool fewer_are_stacks =
        fewer == c->client_processes ? client->caps.user_stack : server->caps.user_stack;

    if (draft->load.local_addrs > 1 && !link->kind->local_addrs)
        return "--local-addrs spreads over 127.0.0.0/8: it goes with --link lo only";
    if (draft->options.listen[0] != '\0' && link->kind->frames)
        return "--listen is for kernel sockets; this engine listens where its link says: leave it "
               "out";
    if (c->server_address != NULL)
        return draft_trouble_server(draft, client, link, c);
    if (link->kind->interface && link->gateway.s_addr != 0)
        return "on a link that the run makes there is nobody but the two ends: leave gateway out";
    if (link->kind->device_needed && link->peer_device[0] == '\0')
        return "the server's device is not said: add peer_device=, or name a server that is there "
               "already with --server";
    if (link->kind->ends == LINK_ENDS_ONE_OF_EACH && (stacks || sockets))
        return "a tap device joins kernel sockets with a stack in user space, and here both ends "
               "are of one sort: name a --server-engine of the other, or take --link veth";
    if (link_has_faults(link) && sockets)
        return "loss, duplicate and reorder are made by stacks in user space, and both ends are "
               "the kernel's: leave them out";
    if (link->offloads && !sockets)
        return "with offloads a stack in user space would get packets of 64 KiB without checksums: "
               "leave them off";
    if (link->kind->frames && c->client_processes != c->server_processes &&
        (fewer > 1 || fewer_are_stacks))
        return "each stack in user space is a process at the end of one link: take as many "
               "--server-workers as --workers";
    return NULL;
}

static int draft_link(const struct draft *draft, const struct draft_engine *client,
                      const struct draft_engine *server, const struct link *link,
                      struct run_case *c, struct lab_error *err)
{
    const char *listen = draft->options.listen;
    struct link told = *link;
    char text[LINK_TEXT_MAX];
    struct addr addr;

    if (c->both_sides || link->kind == NULL) {
        c->link = draft_memory(strdup(c->both_sides ? "memory" : "none"));
        return CLI_OK;
    }
    struct lab_error why;
    const char *trouble = draft_trouble_link(draft, client, server, link, c);
    if (trouble == NULL && c->server_address == NULL && run_link_probe(link, &why) < 0)
        trouble = why.text;
    if (trouble != NULL && c->status == RUN_RAN) {
        c->status = RUN_CANNOT_RUN;
        snprintf(c->reason, sizeof(c->reason), "%s", trouble);
    }
    if (listen[0] != '\0') {
        if (addr_parse(listen, draft->server->port, "--listen", &addr, err) < 0)
            return CLI_USAGE;
        c->link = draft_memory(strdup(draft_link_name(&addr)));
        c->listen = draft_memory(strdup(listen));
        return CLI_OK;
    }
    c->link = draft_memory(strdup(link_format(&told, text)));
    /* Of a server that is there already only a stack's own device is to be told. */
    if (c->server_address != NULL && !client->caps.user_stack)
        return CLI_OK;
    told.both_ways |= link_has_faults(link) && client->caps.user_stack != server->caps.user_stack;
    c->link_spec = draft_memory(strdup(link_format(&told, text)));
    return CLI_OK;
}

/* Descriptors and ports, as far as the kernel's sockets are what moves the bytes. */
static int draft_sockets(const struct draft *draft, const struct draft_engine *client,
                         const struct draft_engine *server, const struct link *link,
                         const struct run_case *c, struct lab_error *err)
{
    bool there = draft->options.server[0] != '\0';
    const struct preflight_sockets sockets = {
        .options = &draft->options,
        .load = &draft->load,
        .kind = link->kind,
        .client = !draft->client_elsewhere && !client->caps.user_stack,
        .server = !there && !draft->server_elsewhere && !server->caps.user_stack,
        .server_workers = draft->serve.workers,
    };

    if (c->both_sides || c->status != RUN_RAN)
        return CLI_OK;
    return preflight_sockets(&sockets, err);
}

int draft_case(const struct draft *draft, const char *engine, struct run_case *c,
               struct lab_error *err)
{
    const struct load_options *load = &draft->load;
    struct draft_engine client = {0}, server = {0};
    struct link link = {0};

    c->workload = draft_memory(strdup(draft->client->name));
    c->unused = draft->server->unused;
    c->vs_reference = __builtin_nan("");
    int r = draft_engines(draft, engine, &client, &server, c, err);
    if (r == CLI_OK) {
        draft_link_choose(draft, &client, &server, &link);
        r = draft_ask(draft, &client, &server, &link, c, err);
    }
    if (r == CLI_OK)
        r = draft_sockets(draft, &client, &server, &link, c, err);
    if (r == CLI_OK) {
        c->label = draft_label(c);
        c->asked_ops = load->ops > 0 ? load->ops : load->loops * load->connections;
        c->asked_ops_per_s = (double)load->rate;
        c->client_processes = draft_processes(&client.caps, load->workers);
        c->server_processes = draft_processes(&server.caps, draft->serve.workers);
        c->connections = load->connections;
        c->paced_by_spinning = load->rate > 0 && load->pacing == LOAD_PACING_SPIN;
        /* A thread a connection mostly waits, unless it is to spin. */
        c->client_threads_shared = c->paced_by_spinning && client.caps.conns_max == 1;
        c->client_threads = c->client_threads_shared ? (uint32_t)load->connections
                                                     : draft_threads(&client.caps, load->workers);
        c->server_threads = draft_threads(&server.caps, draft->serve.workers);
        c->duration_ns = draft->options.duration_ns;
        c->warmup_ns = draft->options.warmup_ns;
        if (c->asked_ops == 0) /* else the ramp is a part of what is counted */
            c->warmup_ns += load->ramp_ns;
        bool spins = client.caps.spins || server.caps.spins;
        snprintf(c->wait, sizeof(c->wait), "%s", spins ? "spin" : "sleep");
        r = draft_link(draft, &client, &server, &link, c, err);
    }
    if (r == CLI_OK) {
        draft_args(draft, c);
        draft_params(draft, c);
        draft_key(draft, c);
    }
    draft_engine_free(&client);
    draft_engine_free(&server);
    return r;
}

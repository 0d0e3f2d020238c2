/* See link.h: what each kind needs is a row of the table at the end. */
#include "run/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run_link {
    const struct run_case *run_case;
    char unique[32];
    struct link seen[2]; /* by each side, of index 0 */
    unsigned count;      /* of links between the sides */
    struct run_place *places[2];
    unsigned places_count[2];
};

/* What a kind of link needs beside its texts; NULL members: nothing. */
struct run_link_kind {
    const char *name;
    /* Completes a side's view, of the link of its index. */
    void (*complete)(const struct run_link *link, struct link *view);
};

/* One socket a link, abstract, and nobody else's. */
static void memif_complete(const struct run_link *link, struct link *view)
{
    if (view->device_text[0] != '\0' || link->run_case->server_address != NULL)
        return;
    snprintf(view->device_text, sizeof(view->device_text), "@lab-%s-%u", link->unique,
             (unsigned)view->index);
    memcpy(view->peer_device_text, view->device_text, sizeof(view->peer_device_text));
}

static const struct run_link_kind run_link_kinds[] = {
    {.name = "lo"},   {.name = "lo6"},
    {.name = "unix"}, {.name = "memif", .complete = memif_complete},
    {.name = "pci"},  {0},
};

static const struct run_link_kind *run_link_kind(const struct link *link)
{
    for (const struct run_link_kind *kind = run_link_kinds; kind->name != NULL; kind++)
        if (strcmp(kind->name, link->kind->name) == 0)
            return kind;
    return NULL;
}

int run_link_probe(const struct link *link, struct lab_error *err)
{
    if (run_link_kind(link) == NULL)
        return lab_fail(err, ENOTSUP, "%s cannot be made by lab yet: take another link",
                        link->kind->name);
    return 0;
}

static int place_fill(const struct run_link *link, enum link_side side, unsigned index,
                      struct lab_error *err)
{
    const struct run_link_kind *kind = run_link_kind(&link->seen[side]);
    struct run_place *place = &link->places[side][index];
    struct link view = link->seen[side];

    int r = link_number(&view, link->places_count[side] > 1 ? index : 0, err);
    if (r < 0)
        return r;
    if (kind->complete != NULL)
        kind->complete(link, &view);
    link_format(&view, place->link);
    if (side == LINK_SERVER && link->run_case->listen == NULL)
        link_listen(&view, link->unique, 0, place->listen);
    return 0;
}

static int places_fill(struct run_link *link, struct lab_error *err)
{
    const struct run_case *c = link->run_case;
    int r = 0;

    link->places_count[LINK_CLIENT] = c->client_processes;
    link->places_count[LINK_SERVER] = c->server_processes;
    link->count =
        c->client_processes > c->server_processes ? c->client_processes : c->server_processes;
    for (unsigned side = 0; side < 2 && r == 0; side++) {
        link->places[side] = calloc(link->places_count[side] + 1, sizeof(struct run_place));
        if (link->places[side] == NULL)
            return lab_fail(err, ENOMEM, "no memory for the processes' places");
        for (unsigned i = 0; i < link->places_count[side] && r == 0; i++)
            r = place_fill(link, side, i, err);
    }
    return r;
}

int run_link_open(struct run_link **out, const struct run_case *c, const char *unique,
                  struct lab_error *err)
{
    struct run_link *link = calloc(1, sizeof(*link));

    if (link == NULL)
        return lab_fail(err, ENOMEM, "no memory for the link");
    link->run_case = c;
    snprintf(link->unique, sizeof(link->unique), "%s", unique);
    int r = link_parse(c->link_spec, LINK_CLIENT, &link->seen[LINK_CLIENT], err);
    if (r == 0) {
        link_turn(&link->seen[LINK_CLIENT], &link->seen[LINK_SERVER]);
        r = run_link_probe(&link->seen[LINK_CLIENT], err);
    }
    if (r == 0)
        r = places_fill(link, err);
    if (r < 0) {
        run_link_close(link);
        return r;
    }
    *out = link;
    return 0;
}

void run_link_close(struct run_link *link)
{
    if (link == NULL)
        return;
    free(link->places[LINK_CLIENT]);
    free(link->places[LINK_SERVER]);
    free(link);
}

const struct run_place *run_link_place(const struct run_link *link, enum link_side side,
                                       unsigned index)
{
    return &link->places[side][index];
}

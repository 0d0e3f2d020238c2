/*
 * How long flow control held a stream, as the end that receives can know it.
 *
 * What was granted in all is a limit, and each grant sets a further one, of which the other end
 * hears half a round trip later. A frame that ends right at a limit was cut there: the other end
 * had not heard of a further one, and is held until more comes. (Our own account never runs dry,
 * since a window is filled up again when half of it is used.)
 *
 * Times are those of the inputs: a clock is read only for one that ends held, and for the next.
 */
#include "proto/h2_internal.h"

void h2_held_begin(struct h2_grants *grants, uint32_t bytes)
{
    grants->limits[0] = bytes;
    grants->count = 1;
}

static uint64_t held_so_far(const struct h2 *h2, const struct h2_grants *grants)
{
    return grants->spent && grants->since_ns != 0 ? h2->now_ns - grants->since_ns : 0;
}

static void held_ends(struct h2 *h2, struct h2_grants *grants)
{
    h2->held -= grants->spent;
    grants->spent = false;
}

static void grants_add(struct h2_grants *grants, uint32_t bytes)
{
    uint64_t limit = grants->limits[grants->count - 1] + bytes;

    if (grants->count < H2_GRANTS_MOST)
        grants->count++;
    grants->limits[grants->count - 1] = limit;
}

static void grants_take(struct h2_grants *grants, size_t size)
{
    grants->received += size;
    while (grants->count > 1 && grants->received > grants->limits[0]) {
        grants->count--;
        for (unsigned i = 0; i < grants->count; i++)
            grants->limits[i] = grants->limits[i + 1];
    }
}

static void grants_look(struct h2 *h2, struct h2_grants *grants)
{
    if (grants->spent || grants->received != grants->limits[0])
        return;
    grants->spent = true;
    grants->since_ns = 0;
    h2->held++;
    h2->held_newly = true;
}

void h2_held_granted(struct h2 *h2, struct h2_stream *stream, uint32_t bytes)
{
    if (stream != NULL)
        grants_add(&stream->grants, bytes);
    else if (h2->grants.received > 0)
        grants_add(&h2->grants, bytes);
    else
        h2->grants.limits[0] += bytes; /* heard of before anything can be sent */
}

void h2_held_settings(struct h2 *h2, uint32_t window_bytes)
{
    for (struct h2_stream *stream = h2->streams; stream != NULL && window_bytes > h2->granted_bytes;
         stream = stream->next)
        grants_add(&stream->grants, window_bytes - h2->granted_bytes);
    h2->granted_bytes = window_bytes;
}

void h2_held_headers(struct h2_stream *stream)
{
    stream->seen_ns = stream->h2->held_ns + held_so_far(stream->h2, &stream->h2->grants);
}

/* A stream that is held by its own window is no more so by the connection's beside it: that one's
 * time lies within, since no frame of the stream comes meanwhile. */
void h2_held_arrives(struct h2 *h2, struct h2_stream *stream, size_t size)
{
    h2->held_ns += held_so_far(h2, &h2->grants);
    held_ends(h2, &h2->grants);
    grants_take(&h2->grants, size);
    if (stream == NULL)
        return;
    stream->held_ns +=
        stream->grants.spent ? held_so_far(h2, &stream->grants) : h2->held_ns - stream->seen_ns;
    stream->seen_ns = h2->held_ns;
    held_ends(h2, &stream->grants);
    grants_take(&stream->grants, size);
}

void h2_held_arrived(struct h2 *h2, struct h2_stream *stream)
{
    grants_look(h2, &h2->grants);
    if (stream != NULL)
        grants_look(h2, &stream->grants);
}

void h2_held_over(struct h2_stream *stream)
{
    held_ends(stream->h2, &stream->grants);
}

static void held_since(struct h2_grants *grants, uint64_t now_ns)
{
    if (grants->spent && grants->since_ns == 0)
        grants->since_ns = now_ns;
}

void h2_held_tick(struct h2 *h2, uint64_t now_ns)
{
    h2->now_ns = now_ns;
    if (!h2->held_newly)
        return;
    h2->held_newly = false;
    held_since(&h2->grants, now_ns);
    for (struct h2_stream *stream = h2->streams; stream != NULL; stream = stream->next)
        held_since(&stream->grants, now_ns);
}

int h2_held_wants(const struct h2 *h2)
{
    if (h2->held == 0)
        return PROTO_OK;
    return PROTO_TIME_BEFORE | (h2->held_newly ? PROTO_TIME : PROTO_OK);
}

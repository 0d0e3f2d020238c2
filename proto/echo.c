/* See echo.h. */
#include "proto/echo.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/line.h"
#include "core/seldom.h"

int echo_pattern_open(struct echo_pattern *pattern, size_t message_bytes)
{
    pattern->bytes = malloc(message_bytes);
    if (pattern->bytes == NULL)
        return -ENOMEM;
    pattern->size = message_bytes;
    /* A period that is no power of two: pieces that were swapped or lost show. */
    for (size_t i = 0; i < message_bytes; i++)
        pattern->bytes[i] = (uint8_t)(i % 251 + 3);
    return 0;
}

void echo_pattern_close(struct echo_pattern *pattern)
{
    free(pattern->bytes);
    pattern->bytes = NULL;
}

/* --- client --- */

/* From the engine, so possibly in the middle of anything: only marks. */
static void echo_place_free(struct buf *buf)
{
    struct echo_place *place = (struct echo_place *)buf;

    place->next = place->client->free;
    place->client->free = place;
}

static struct echo_place *echo_place_at(const struct echo_client *client, unsigned i)
{
    return (struct echo_place *)(client->places + i * client->place_size);
}

/* All are free, the first to be taken first. */
static void echo_free_places(struct echo_client *client)
{
    client->free = NULL;
    for (unsigned i = client->places_count; i-- > 0;) {
        echo_place_at(client, i)->buf.refs = 0;
        echo_place_free(&echo_place_at(client, i)->buf);
    }
}

/* -ENOMEM leaves what there is to echo_client_close. */
static int echo_make_places(struct echo_client *client, unsigned depth)
{
    size_t bytes = client->whole ? client->message_bytes : ECHO_HEADER_BYTES;

    client->place_size = line_round(sizeof(struct echo_place) + bytes);
    /* Answers may be here before the engine lets go of what was asked. With one more than these
     * come to, one is free nearly always. */
    client->places_count = 2 * depth + 1;
    client->places = line_calloc(client->places_count * client->place_size);
    if (client->places == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < client->places_count; i++) {
        struct echo_place *place = echo_place_at(client, i);
        *place = (struct echo_place){
            .buf = {.data = place->bytes, .size = (uint32_t)bytes, .release = echo_place_free},
            .client = client,
        };
        memcpy(place->bytes, client->pattern->bytes,
               bytes < client->message_bytes ? bytes : client->message_bytes);
    }
    echo_free_places(client);
    return 0;
}

int echo_client_open(struct echo_client *client, const struct echo_client_events *events,
                     void *context, const struct echo_pattern *pattern, size_t message_bytes,
                     unsigned depth, bool one_way)
{
    bool whole = message_bytes <= ECHO_WHOLE_BYTES && !one_way;
    bool is_short = whole && message_bytes >= ECHO_HEADER_BYTES && events->first == NULL;
    uint32_t room = 1;

    while (room < depth)
        room *= 2;
    *client = (struct echo_client){
        .events = events,
        .context = context,
        .pattern = pattern,
        .message_bytes = message_bytes,
        .short_bytes = is_short ? (uint32_t)message_bytes : 0,
        .one_way = one_way,
        .whole = whole,
        .ring = &client->the_asked,
        .mask = room - 1,
    };
    if (room > 1)
        client->ring = calloc(room, sizeof(*client->ring));
    if (client->ring == NULL || (!one_way && echo_make_places(client, depth) < 0)) {
        echo_client_close(client);
        return -ENOMEM;
    }
    return 0;
}

void echo_client_close(struct echo_client *client)
{
    if (client->ring != &client->the_asked)
        free(client->ring);
    free(client->places);
    client->ring = NULL;
    client->places = NULL;
}

void echo_client_reset(struct echo_client *client, uint64_t connection)
{
    client->connection = connection;
    client->asked = client->sent = client->answered = 0;
    client->answer_offset = 0;
    client->acked_bytes = client->settled_bytes = client->progress_bytes = 0;
    echo_free_places(client);
}

void echo_client_ask(struct echo_client *client, unsigned slot, uint64_t op)
{
    struct echo_asked *asked = &client->ring[client->asked++ & client->mask];

    asked->op = op;
    asked->slot = slot;
}

/*
 * A free place, with a reference of the engine's and one of the client's. With the last one the
 * engine is asked to tell when it has let go of it, so that sent() asks again what found none.
 */
static inline struct echo_place *echo_take_place(struct echo_client *client,
                                                 struct proto_output *out)
{
    struct echo_place *place = client->free;

    client->free = place->next;
    if (__builtin_expect(client->free == NULL, 0))
        out->cookie = 1;
    place->buf.refs = 2;
    return place;
}

static SELDOM int echo_client_output_slowly(struct echo_client *client, struct proto_output *out)
{
    struct echo_asked *asked = &client->ring[client->sent & client->mask];
    uint64_t header[2] = {htole64(asked->op), htole64(client->connection)};
    size_t size = client->message_bytes;

    if (client->sent == client->asked || (!client->one_way && client->free == NULL))
        return 0;
    out->last = ++client->sent == client->asked;
    if (client->one_way) {
        seg_set_memory(&out->segs[0], client->pattern->bytes, size);
        return 1;
    }
    struct echo_place *place = asked->place = echo_take_place(client, out);
    memcpy(place->bytes, header, size < ECHO_HEADER_BYTES ? size : ECHO_HEADER_BYTES);
    if (client->whole) {
        seg_set_buf(&out->segs[0], &place->buf, place->bytes, size);
        return 1;
    }
    seg_set_buf(&out->segs[0], &place->buf, place->bytes, ECHO_HEADER_BYTES);
    seg_set_memory(&out->segs[1], client->pattern->bytes + ECHO_HEADER_BYTES,
                   size - ECHO_HEADER_BYTES);
    return 2;
}

/* One message a call; the engine gathers them. */
static int echo_client_output(void *state, struct proto_output *out)
{
    struct echo_client *client = state;

    if (__builtin_expect(
            client->short_bytes == 0 || client->sent == client->asked || client->free == NULL, 0))
        return echo_client_output_slowly(client, out);
    struct echo_asked *asked = &client->ring[client->sent & client->mask];
    struct echo_place *place = asked->place = echo_take_place(client, out);
    uint64_t header[2] = {htole64(asked->op), htole64(client->connection)};
    memcpy(place->bytes, header, ECHO_HEADER_BYTES);
    out->last = ++client->sent == client->asked;
    seg_set_buf(&out->segs[0], &place->buf, place->bytes, client->short_bytes);
    return 1;
}

static bool echo_piece_is_right(const struct echo_client *client, const struct echo_asked *asked,
                                const uint8_t *data, size_t size)
{
    const uint8_t *start = asked->place->bytes;
    size_t offset = client->answer_offset;

    if (client->whole)
        return memcmp(start + offset, data, size) == 0;
    if (offset < ECHO_HEADER_BYTES) {
        size_t in_header = ECHO_HEADER_BYTES - offset;
        in_header = in_header < size ? in_header : size;
        if (memcmp(start + offset, data, in_header) != 0)
            return false;
        offset += in_header;
        data += in_header;
        size -= in_header;
    }
    return memcmp(client->pattern->bytes + offset, data, size) == 0;
}

/* The next answer is whole, its last `fresh` bytes untold. */
static inline void echo_client_settle(struct echo_client *client, uint64_t bytes, uint64_t fresh)
{
    struct echo_asked *asked = &client->ring[client->answered++ & client->mask];

    client->answer_offset = 0;
    client->events->answered(client->context, asked->slot, bytes, fresh);
}

static int echo_client_acked(struct echo_client *client, const uint8_t *data, size_t size)
{
    uint64_t before = client->settled_bytes;
    for (size_t i = 0; i < size; i++) {
        client->acked_bytes |= (uint64_t)data[i] << (8 * client->answer_offset);
        if (++client->answer_offset < ECHO_ACK_BYTES)
            continue;
        uint64_t under_way = client->sent - client->answered;
        uint64_t acked = client->acked_bytes;
        client->acked_bytes = 0;
        client->answer_offset = 0;
        if (acked < before || acked > before + under_way * client->message_bytes)
            return -EPROTO;
        if (client->events->progress != NULL && acked > client->progress_bytes)
            client->events->progress(client->context, acked - client->progress_bytes);
        client->progress_bytes = acked;
        while (acked - client->settled_bytes >= client->message_bytes) {
            client->settled_bytes += client->message_bytes;
            echo_client_settle(client, client->message_bytes, 0);
        }
        before = client->settled_bytes;
    }
    return PROTO_OK;
}

static SELDOM int echo_client_input_slowly(struct echo_client *client, const struct buf *buf)
{
    const uint8_t *data = buf->data;
    size_t left = buf->size;

    if (client->one_way)
        return echo_client_acked(client, data, left);
    while (left > 0) {
        /* More than was asked for, or an answer before its question. */
        if (client->answered == client->sent)
            return -EPROTO;
        struct echo_asked *asked = &client->ring[client->answered & client->mask];
        size_t piece = client->message_bytes - client->answer_offset;
        piece = piece < left ? piece : left;
        if (!echo_piece_is_right(client, asked, data, piece))
            return -EBADMSG;
        if (client->answer_offset == 0 && client->events->first != NULL)
            client->events->first(client->context, asked->slot);
        client->answer_offset += (uint32_t)piece;
        data += piece;
        left -= piece;
        if (client->answer_offset == client->message_bytes) {
            /* Told of the last op, its owner may close: what lies behind would never be seen. */
            if (left > 0 && client->answered + 1 == client->sent)
                return -EPROTO;
            buf_unref(&asked->place->buf);
            echo_client_settle(client, client->message_bytes, piece);
        } else if (client->events->progress != NULL) {
            client->events->progress(client->context, piece);
        }
    }
    return PROTO_OK;
}

static int echo_client_input(void *state, struct buf *buf)
{
    struct echo_client *client = state;
    uint32_t size = buf->size;

    /* Most answers are small, and come whole and alone. */
    if (__builtin_expect(size != client->short_bytes || client->answer_offset != 0 ||
                             client->answered == client->sent,
                         0))
        return echo_client_input_slowly(client, buf);
    struct echo_place *place = client->ring[client->answered & client->mask].place;
    if (__builtin_expect(memcmp(place->bytes, buf->data, size) != 0, 0))
        return -EBADMSG;
    if (--place->buf.refs == 0)
        echo_place_free(&place->buf);
    echo_client_settle(client, size, size);
    return PROTO_OK;
}

/* Of a send that took the last place. */
static bool echo_client_sent(void *state, uint64_t cookie, unsigned what)
{
    const struct echo_client *client = state;

    return client->sent != client->asked;
}

const struct proto_ops echo_client_proto = {
    .name = "echo client",
    .input = echo_client_input,
    .output = echo_client_output,
    .sent = echo_client_sent,
};

/* --- server --- */

void echo_server_open(struct echo_server *server, bool one_way, uint64_t ack_bytes,
                      uint64_t close_after)
{
    *server = (struct echo_server){
        .one_way = one_way,
        .ack_bytes = ack_bytes,
        .close_after = close_after,
        .counts = one_way || close_after != 0,
        .pending = &server->pending_one,
        .pending_room = 1,
    };
}

static void echo_server_drop(struct echo_server *server)
{
    for (unsigned i = 0; i < server->pending_count; i++)
        buf_unref(server->pending[i].buf);
    server->pending_count = 0;
}

void echo_server_reset(struct echo_server *server)
{
    echo_server_drop(server);
    server->received_bytes = server->acked_bytes = 0;
    server->ack_in_flight = server->mute = false;
    server->counts = server->one_way || server->close_after != 0;
}

static void echo_server_mute(void *state)
{
    struct echo_server *server = state;

    echo_server_drop(server);
    server->mute = server->counts = true;
}

void echo_server_close(struct echo_server *server)
{
    echo_server_reset(server);
    if (server->pending != &server->pending_one)
        free(server->pending);
    server->pending = NULL;
    server->pending_room = 0;
}

static SELDOM int echo_server_grow(struct echo_server *server)
{
    bool first = server->pending == &server->pending_one;
    unsigned room = server->pending_room * 4;
    struct seg *grown = realloc(first ? NULL : server->pending, room * sizeof(*grown));

    if (grown == NULL)
        return -ENOMEM;
    if (first)
        grown[0] = server->pending_one;
    server->pending = grown;
    server->pending_room = room;
    return 0;
}

static int echo_server_input(void *state, struct buf *buf)
{
    struct echo_server *server = state;
    if (__builtin_expect(server->counts, 0)) {
        server->received_bytes += buf->size;
        if (server->one_way || server->mute)
            return PROTO_OK;
    }
    if (__builtin_expect(server->pending_count == server->pending_room, 0) &&
        echo_server_grow(server) < 0)
        return -ENOMEM;
    seg_set_buf(&server->pending[server->pending_count++], buf_ref(buf), buf->data, buf->size);
    bool enough = server->close_after != 0 && server->received_bytes >= server->close_after;
    return enough ? PROTO_CLOSE : PROTO_OK;
}

static int echo_server_ack(struct echo_server *server, struct proto_output *out)
{
    /* Every whole write is acknowledged, also the last one: counted from the start, not from the
     * last acknowledgement, which may have come in the middle of a write. */
    if (server->ack_in_flight ||
        server->received_bytes / server->ack_bytes == server->acked_bytes / server->ack_bytes)
        return 0;
    uint64_t total = htole64(server->received_bytes);
    memcpy(server->ack, &total, sizeof(total));
    server->acked_bytes = server->received_bytes;
    server->ack_in_flight = true;
    seg_set_memory(&out->segs[0], server->ack, sizeof(server->ack));
    out->cookie = 1;
    out->last = true;
    return 1;
}

static int echo_server_output(void *state, struct proto_output *out)
{
    struct echo_server *server = state;
    if (server->one_way)
        return echo_server_ack(server, out);
    unsigned count = server->pending_count;
    out->segs = server->pending;
    out->last = true;
    server->pending_count = 0;
    return (int)count;
}

static bool echo_server_sent(void *state, uint64_t cookie, unsigned what)
{
    struct echo_server *server = state;
    if (what & PROTO_RELEASED)
        server->ack_in_flight = false;
    return !server->ack_in_flight;
}

const struct proto_ops echo_server_proto = {
    .name = "echo server",
    .input = echo_server_input,
    .output = echo_server_output,
    .sent = echo_server_sent,
    .mute = echo_server_mute,
};

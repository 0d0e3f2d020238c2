/* See echo.h. */
#include "proto/echo.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int echo_client_open(struct echo_client *client, const struct echo_client_events *events,
                     void *context, const struct echo_pattern *pattern, size_t message_bytes,
                     unsigned depth, bool one_way)
{
    bool whole = message_bytes <= ECHO_WHOLE_BYTES && !one_way;

    *client = (struct echo_client){
        .events = events,
        .context = context,
        .pattern = pattern,
        .message_bytes = message_bytes,
        .depth = depth,
        .one_way = one_way,
        .whole = whole,
        .slots = calloc(depth, sizeof(*client->slots)),
        .order = calloc(depth, sizeof(*client->order)),
        .memory = whole ? malloc(depth * ECHO_TURNS * message_bytes) : NULL,
    };
    if (client->slots == NULL || client->order == NULL || (whole && client->memory == NULL)) {
        echo_client_close(client);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < depth * ECHO_TURNS; i++) {
        struct echo_slot *slot = &client->slots[i / ECHO_TURNS];
        uint8_t **start = &slot->start[i % ECHO_TURNS];
        *start = whole ? client->memory + i * message_bytes : slot->headers[i % ECHO_TURNS];
        if (whole)
            memcpy(*start, pattern->bytes, message_bytes);
    }
    return 0;
}

void echo_client_close(struct echo_client *client)
{
    free(client->slots);
    free(client->order);
    free(client->memory);
    client->slots = NULL;
    client->order = NULL;
    client->memory = NULL;
}

void echo_client_reset(struct echo_client *client, uint64_t connection)
{
    client->connection = connection;
    client->answer_at = client->unsent = client->unanswered = 0;
    client->answer_offset = 0;
    client->acked_bytes = client->settled_bytes = client->progress_bytes = 0;
    for (unsigned i = 0; i < client->depth; i++)
        client->slots[i].held = 0;
}

void echo_client_ask(struct echo_client *client, unsigned slot, uint64_t op)
{
    unsigned place = client->answer_at + client->unanswered;
    if (place >= client->depth)
        place -= client->depth;
    client->slots[slot].op = op;
    client->order[place] = (uint16_t)slot;
    client->unanswered++;
    client->unsent++;
}

static void echo_number(const struct echo_client *client, struct echo_slot *slot)
{
    uint64_t header[2] = {htole64(slot->op), htole64(client->connection)};
    if (__builtin_expect(client->message_bytes >= ECHO_HEADER_BYTES, 1))
        memcpy(slot->start[slot->turn], header, ECHO_HEADER_BYTES);
    else
        memcpy(slot->start[slot->turn], header, client->message_bytes);
}

/* Turns to a place that the engine does not hold; false: it holds all. */
static inline bool echo_next_place(struct echo_slot *slot)
{
    slot->turn ^= 1;
    if (__builtin_expect(slot->held >> slot->turn & 1, 0))
        slot->turn ^= 1;
    return (slot->held >> slot->turn & 1) == 0;
}

/* One message a call, so that each has a cookie of its own; the engine gathers them. */
static int echo_client_output(void *state, struct proto_output *out)
{
    struct echo_client *client = state;
    if (client->unsent == 0)
        return 0;
    unsigned place = client->answer_at + client->unanswered - client->unsent;
    if (place >= client->depth)
        place -= client->depth;
    unsigned index = client->order[place];
    struct echo_slot *slot = &client->slots[index];
    if (client->one_way) {
        out->last = --client->unsent == 0;
        seg_set_memory(&out->segs[0], client->pattern->bytes, client->message_bytes);
        return 1;
    }
    /* sent() will ask again. */
    if (!echo_next_place(slot))
        return 0;
    echo_number(client, slot);
    slot->held |= (uint8_t)(1u << slot->turn);
    out->last = --client->unsent == 0;
    out->cookie = (uint64_t)index * ECHO_TURNS + slot->turn + 1;
    if (__builtin_expect(client->whole, 1)) {
        seg_set_memory(&out->segs[0], slot->start[slot->turn], client->message_bytes);
        return 1;
    }
    seg_set_memory(&out->segs[0], slot->start[slot->turn], ECHO_HEADER_BYTES);
    seg_set_memory(&out->segs[1], client->pattern->bytes + ECHO_HEADER_BYTES,
                   client->message_bytes - ECHO_HEADER_BYTES);
    return 2;
}

static bool echo_piece_is_right(const struct echo_client *client, const struct echo_slot *slot,
                                const uint8_t *data, size_t size)
{
    const uint8_t *start = slot->start[slot->turn];
    size_t offset = client->answer_offset;
    if (__builtin_expect(client->whole, 1))
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

static inline void echo_client_settle(struct echo_client *client)
{
    unsigned slot = client->order[client->answer_at];
    if (++client->answer_at == client->depth)
        client->answer_at = 0;
    client->unanswered--;
    client->answer_offset = 0;
    client->events->answered(client->context, slot, client->message_bytes);
}

static int echo_client_acked(struct echo_client *client, const uint8_t *data, size_t size)
{
    uint64_t before = client->settled_bytes;
    for (size_t i = 0; i < size; i++) {
        client->acked_bytes |= (uint64_t)data[i] << (8 * client->answer_offset);
        if (++client->answer_offset < ECHO_ACK_BYTES)
            continue;
        uint64_t under_way = (uint64_t)(client->unanswered - client->unsent);
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
            echo_client_settle(client);
        }
        before = client->settled_bytes;
    }
    return PROTO_OK;
}

/* A piece of the answer of the slot is here, and right. */
static inline void echo_client_came(struct echo_client *client, unsigned slot, size_t piece)
{
    if (client->answer_offset == 0 && client->events->first != NULL)
        client->events->first(client->context, slot);
    if (client->events->progress != NULL)
        client->events->progress(client->context, piece);
}

static SELDOM int echo_client_input_slowly(struct echo_client *client, const struct buf *buf)
{
    const uint8_t *data = buf->data;
    size_t left = buf->size;

    if (client->one_way)
        return echo_client_acked(client, data, left);
    while (left > 0) {
        /* More than was asked for, or an answer before its question. */
        if (client->unanswered == client->unsent)
            return -EPROTO;
        unsigned index = client->order[client->answer_at];
        size_t piece = client->message_bytes - client->answer_offset;
        piece = piece < left ? piece : left;
        if (!echo_piece_is_right(client, &client->slots[index], data, piece))
            return -EBADMSG;
        echo_client_came(client, index, piece);
        client->answer_offset += piece;
        data += piece;
        left -= piece;
        if (client->answer_offset == client->message_bytes)
            echo_client_settle(client);
    }
    return PROTO_OK;
}

static int echo_client_input(void *state, struct buf *buf)
{
    struct echo_client *client = state;

    /* Most answers are small, and come whole and alone. */
    if (__builtin_expect(!client->whole || buf->size != client->message_bytes ||
                             client->answer_offset != 0 || client->unanswered == client->unsent,
                         0))
        return echo_client_input_slowly(client, buf);
    unsigned index = client->order[client->answer_at];
    const struct echo_slot *slot = &client->slots[index];
    if (memcmp(slot->start[slot->turn], buf->data, buf->size) != 0)
        return -EBADMSG;
    echo_client_came(client, index, buf->size);
    echo_client_settle(client);
    return PROTO_OK;
}

static bool echo_client_sent(void *state, uint64_t cookie, unsigned what)
{
    struct echo_client *client = state;
    if (what & PROTO_RELEASED)
        client->slots[(cookie - 1) / ECHO_TURNS].held &=
            (uint8_t) ~(1u << (cookie - 1) % ECHO_TURNS);
    /* Only a slot that was asked again while none of its places was free waits for this. */
    return client->unsent > 0;
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
    };
}

void echo_server_reset(struct echo_server *server)
{
    for (unsigned i = 0; i < server->pending_count; i++)
        buf_unref(server->pending[i].buf);
    server->pending_count = 0;
    server->received_bytes = server->acked_bytes = 0;
    server->ack_in_flight = false;
}

void echo_server_close(struct echo_server *server)
{
    echo_server_reset(server);
    free(server->pending);
    server->pending = NULL;
    server->pending_room = 0;
}

static SELDOM int echo_server_grow(struct echo_server *server)
{
    unsigned room = server->pending_room == 0 ? 4 : server->pending_room * 2;
    struct seg *grown = realloc(server->pending, room * sizeof(*grown));

    if (grown == NULL)
        return -ENOMEM;
    server->pending = grown;
    server->pending_room = room;
    return 0;
}

static int echo_server_input(void *state, struct buf *buf)
{
    struct echo_server *server = state;
    server->received_bytes += buf->size;
    if (server->one_way)
        return PROTO_OK;
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
};

/* See echo.h. */
#include "proto/echo.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/seldom.h"

#define ECHO_LINE 64u /* of the cache: small messages share none */

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
    size_t place_size = whole ? message_bytes : ECHO_HEADER_BYTES;
    size_t places_bytes = depth * ECHO_TURNS * place_size;

    *client = (struct echo_client){
        .events = events,
        .context = context,
        .pattern = pattern,
        .message_bytes = message_bytes,
        .depth = depth,
        .one_way = one_way,
        .whole = whole,
        .place_size = (uint32_t)place_size,
        .places = aligned_alloc(ECHO_LINE, (places_bytes + ECHO_LINE - 1) / ECHO_LINE * ECHO_LINE),
        .slots = &client->the_slot,
        .order = &client->the_order,
    };
    if (depth > 1) {
        client->slots = calloc(depth, sizeof(*client->slots));
        client->order = calloc(depth, sizeof(*client->order));
    }
    if (client->slots == NULL || client->order == NULL || client->places == NULL) {
        echo_client_close(client);
        return -ENOMEM;
    }
    for (unsigned i = 0; whole && i < depth * ECHO_TURNS; i++)
        memcpy(client->places + i * place_size, pattern->bytes, message_bytes);
    return 0;
}

void echo_client_close(struct echo_client *client)
{
    if (client->depth > 1) {
        free(client->slots);
        free(client->order);
    }
    free(client->places);
    client->slots = NULL;
    client->order = NULL;
    client->places = NULL;
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

/* Of the slot's message that is, or was last, under way. */
static inline uint8_t *echo_place(const struct echo_client *client, unsigned index)
{
    unsigned place = index * ECHO_TURNS + client->slots[index].turn;
    return client->places + (size_t)place * client->place_size;
}

static inline void echo_number(const struct echo_client *client, uint64_t op, uint8_t *place)
{
    uint64_t header[2] = {htole64(op), htole64(client->connection)};
    if (__builtin_expect(client->message_bytes >= ECHO_HEADER_BYTES, 1))
        memcpy(place, header, ECHO_HEADER_BYTES);
    else
        memcpy(place, header, client->message_bytes);
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
    uint8_t *start = echo_place(client, index);
    echo_number(client, slot->op, start);
    slot->held |= (uint8_t)(1u << slot->turn);
    out->last = --client->unsent == 0;
    out->cookie = (uint64_t)index * ECHO_TURNS + slot->turn + 1;
    if (__builtin_expect(client->whole, 1)) {
        seg_set_memory(&out->segs[0], start, client->message_bytes);
        return 1;
    }
    seg_set_memory(&out->segs[0], start, ECHO_HEADER_BYTES);
    seg_set_memory(&out->segs[1], client->pattern->bytes + ECHO_HEADER_BYTES,
                   client->message_bytes - ECHO_HEADER_BYTES);
    return 2;
}

static bool echo_piece_is_right(const struct echo_client *client, unsigned index,
                                const uint8_t *data, size_t size)
{
    const uint8_t *start = echo_place(client, index);
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
        if (!echo_piece_is_right(client, index, data, piece))
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
    if (memcmp(echo_place(client, index), buf->data, buf->size) != 0)
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
        .counts = one_way || close_after != 0,
        .pending = &server->pending_one,
        .pending_room = 1,
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
        if (server->one_way)
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
};

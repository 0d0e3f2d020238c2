/* See grpc.h. */
#include "proto/grpc.h"

#include <errno.h>
#include <string.h>

static const char *const status_kinds[GRPC_STATUSES] = {
    "grpc-ok",
    "grpc-cancelled",
    "grpc-unknown",
    "grpc-invalid-argument",
    "grpc-deadline-exceeded",
    "grpc-not-found",
    "grpc-already-exists",
    "grpc-permission-denied",
    "grpc-resource-exhausted",
    "grpc-failed-precondition",
    "grpc-aborted",
    "grpc-out-of-range",
    "grpc-unimplemented",
    "grpc-internal",
    "grpc-unavailable",
    "grpc-data-loss",
    "grpc-unauthenticated",
};

const char *grpc_status_kind(unsigned status)
{
    return status < GRPC_STATUSES ? status_kinds[status] : "grpc-other";
}

bool grpc_status_parse(const uint8_t *text, size_t size, unsigned *status)
{
    *status = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || i == 4)
            return false;
        *status = *status * 10 + (text[i] - '0');
    }
    return size > 0;
}

bool grpc_is_content_type(const uint8_t *value, size_t size)
{
    static const char type[] = "application/grpc";
    size_t least = sizeof(type) - 1;

    return size >= least && memcmp(value, type, least) == 0 &&
           (size == least || value[least] == '+' || value[least] == ';');
}

static const char hex_digits[] = "0123456789ABCDEF";

size_t grpc_message_encode(const char *text, uint8_t *out, size_t out_size)
{
    size_t used = 0;

    for (; *text != '\0'; text++) {
        uint8_t byte = (uint8_t)*text;
        bool plain = byte >= 0x20 && byte <= 0x7e && byte != '%';
        if (used + (plain ? 1 : 3) > out_size)
            break;
        if (plain) {
            out[used++] = byte;
        } else {
            out[used++] = '%';
            out[used++] = (uint8_t)hex_digits[byte >> 4];
            out[used++] = (uint8_t)hex_digits[byte & 15];
        }
    }
    return used;
}

static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

void grpc_message_decode(const uint8_t *text, size_t size, char *out, size_t out_size)
{
    size_t used = 0;

    for (size_t i = 0; i < size && used + 1 < out_size; i++) {
        int high = -1, low = -1;
        if (text[i] == '%' && size - i > 2) {
            high = hex_value(text[i + 1]);
            low = hex_value(text[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            out[used++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[used++] = (char)text[i];
        }
    }
    out[used] = '\0';
}

bool grpc_timeout_parse(const uint8_t *text, size_t size, uint64_t *ns)
{
    uint64_t value = 0, unit;

    if (size < 2 || size > 9)
        return false;
    for (size_t i = 0; i + 1 < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    switch (text[size - 1]) {
    case 'H': unit = 3600000000000ull; break;
    case 'M': unit = 60000000000ull; break;
    case 'S': unit = 1000000000ull; break;
    case 'm': unit = 1000000ull; break;
    case 'u': unit = 1000ull; break;
    case 'n': unit = 1; break;
    default: return false;
    }
    if (__builtin_mul_overflow(value, unit, ns))
        *ns = UINT64_MAX;
    if (value == 0)
        *ns = 1; /* it is over at once, and 0 is no time-out */
    return true;
}

uint8_t *grpc_put_prefix(uint8_t *at, uint32_t size)
{
    *at++ = 0;
    *at++ = (uint8_t)(size >> 24);
    *at++ = (uint8_t)(size >> 16);
    *at++ = (uint8_t)(size >> 8);
    *at++ = (uint8_t)size;
    return at;
}

/* A message is whole; one of no bytes at once. */
static int reader_settle(struct grpc_reader *reader, const struct grpc_reader_events *events,
                         void *context)
{
    if (reader->left > 0)
        return 0;
    reader->prefix_got = 0;
    return events->end(context);
}

int grpc_reader_read(struct grpc_reader *reader, const struct grpc_reader_events *events,
                     void *context, const uint8_t *data, size_t size)
{
    int r = 0;

    while (size > 0 && r == 0) {
        size_t piece;
        if (reader->prefix_got < GRPC_PREFIX_BYTES) {
            piece = GRPC_PREFIX_BYTES - reader->prefix_got;
            piece = piece < size ? piece : size;
            memcpy(reader->prefix + reader->prefix_got, data, piece);
            reader->prefix_got += (uint8_t)piece;
            if (reader->prefix[0] > 1)
                return -EPROTO;
            if (reader->prefix_got == GRPC_PREFIX_BYTES) {
                const uint8_t *p = reader->prefix;
                reader->left =
                    (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
                r = events->message(context, p[0] != 0, reader->left);
                if (r == 0)
                    r = reader_settle(reader, events, context);
            }
        } else {
            piece = reader->left < size ? reader->left : size;
            reader->left -= (uint32_t)piece;
            r = events->data(context, data, piece);
            if (r == 0)
                r = reader_settle(reader, events, context);
        }
        data += piece;
        size -= piece;
    }
    return r;
}

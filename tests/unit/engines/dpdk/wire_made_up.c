/* See wire_made_up.h. */
#include "tests/unit/engines/dpdk/wire_made_up.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engines/dpdk/guard.h"

#define HEADERS 54u

struct sent sent[MADE_SENT_MOST];
unsigned sent_count, sent_others, blocks_left, frames_out;

static unsigned char blocks[MADE_BLOCKS][MADE_BLOCK_BYTES] __attribute__((aligned(64)));
static unsigned char spare[MADE_BLOCK_BYTES];
static void *blocks_free[MADE_BLOCKS];
bool spare_left = true;

const char *wire_blocks_low = (const char *)blocks;
const char *wire_blocks_high = (const char *)blocks + sizeof(blocks);

void made_up_wire(void)
{
    for (blocks_left = 0; blocks_left < MADE_BLOCKS; blocks_left++)
        blocks_free[blocks_left] = blocks[blocks_left];
    sent_count = sent_others = 0;
}

void *wire_block_new(size_t size)
{
    cr_assert_leq(size, MADE_BLOCK_BYTES);
    return blocks_left > 0 ? blocks_free[--blocks_left] : NULL;
}

/* That nobody keeps: one is enough here. */
void *wire_spare_new(size_t size)
{
    cr_assert_leq(size, MADE_BLOCK_BYTES);
    return spare_left ? spare : NULL;
}

void wire_block_free(void *block)
{
    if (block != spare)
        blocks_free[blocks_left++] = block;
}

struct wire_frame *wire_frame_new(size_t *room)
{
    struct wire_frame *frame = aligned_alloc(64, sizeof(*frame) + MADE_FRAME_BYTES);

    cr_assert_not_null(frame);
    memset(frame, 0, sizeof(*frame) + MADE_FRAME_BYTES);
    frame->buf.data = (uint8_t *)(frame + 1);
    *room = MADE_FRAME_BYTES;
    frames_out++;
    return frame;
}

void wire_frame_free(struct wire_frame *frame)
{
    frames_out--;
    free(frame);
}

void wire_mac(const struct wire *wire, uint8_t mac[6])
{
    memcpy(mac, "\x02lab\0\x01", 6);
}

void guard_unmap_begins(void)
{
}

bool guard_admits(int fd)
{
    return true;
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

void put32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void wire_send(struct wire *wire, void *block, const uint8_t *data, size_t size)
{
    const uint8_t *tcp = data + WIRE_HEADER + 20;

    if (size < HEADERS || get16(data + 12) != 0x0800 || data[WIRE_HEADER + 9] != 6) {
        sent_others++;
        return;
    }
    cr_assert_lt(sent_count, MADE_SENT_MOST);
    struct sent *one = &sent[sent_count++];
    *one = (struct sent){
        .to_port = get16(tcp + 2),
        .sequence = get32(tcp + 4),
        .acknowledged = get32(tcp + 8),
        .flags = tcp[13],
        .window = get16(tcp + 14),
    };
    memcpy(one->to_mac, data, sizeof(one->to_mac));
}

static uint32_t sum16(const uint8_t *data, size_t size, uint32_t sum)
{
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += get16(data + i);
    return size % 2 != 0 ? sum + ((uint32_t)data[size - 1] << 8) : sum;
}

static uint16_t folded(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

struct wire_frame *made_up_segment(const struct segment *segment)
{
    size_t room, header = 20 + segment->options_size, size = segment->size;
    struct wire_frame *frame = wire_frame_new(&room);
    uint8_t *data = frame->buf.data, *ip = data + WIRE_HEADER, *tcp = ip + 20;

    frame->buf.size = (uint32_t)(WIRE_HEADER + 20 + header + size);
    cr_assert_leq(frame->buf.size, room);
    put16(data + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(20 + header + size));
    ip[8] = 64;
    ip[9] = segment->protocol != 0 ? segment->protocol : 6;
    put32(ip + 12, segment->from);
    put32(ip + 16, segment->to);
    put16(ip + 10, folded(sum16(ip, 20, 0)));
    put16(tcp, segment->port);
    put16(tcp + 2, MADE_PORT);
    put32(tcp + 4, segment->sequence);
    put32(tcp + 8, segment->acknowledged);
    tcp[12] = (uint8_t)(header / 4 << 4);
    tcp[13] = (uint8_t)segment->flags;
    put16(tcp + 14, 0xffff);
    if (segment->options_size > 0)
        memcpy(tcp + 20, segment->options, segment->options_size);
    memset(tcp + header, 'x', size);
    if (segment->data != NULL)
        memcpy(tcp + header, segment->data, size);
    put16(tcp + 16,
          folded(sum16(tcp, header + size, sum16(ip + 12, 8, 6 + (uint32_t)(header + size)))));
    return frame;
}

struct wire_frame *made_up_arp(uint32_t from, uint32_t to)
{
    static const uint8_t begins[] = {0, 1, 8, 0, 6, 4, 0, 2}; /* of IPv4 over Ethernet, a reply */
    size_t room;
    struct wire_frame *frame = wire_frame_new(&room);
    uint8_t *data = frame->buf.data, *arp = data + WIRE_HEADER;

    frame->buf.size = 60;
    wire_mac(NULL, data);
    memcpy(data + 6, MADE_PEER_MAC, 6);
    put16(data + 12, 0x0806);
    memcpy(arp, begins, sizeof(begins));
    memcpy(arp + 8, MADE_PEER_MAC, 6);
    put32(arp + 14, from);
    wire_mac(NULL, arp + 18);
    put32(arp + 24, to);
    return frame;
}

/* See digest.h. */
#include "core/digest.h"

#include <string.h>

/* Odd, with about as many ones as zeros. */
#define DIGEST_PRIME 0x9e3779b97f4a7c15ull /* 2^64 / the golden ratio, made odd */
#define DIGEST_TURN  29u

static uint64_t turned(uint64_t x, unsigned by)
{
    return x << by | x >> (-by & 63);
}

void digest_begin(struct digest *digest)
{
    /* Lanes that start apart: words that changed places between them show. */
    for (unsigned i = 0; i < DIGEST_LANES; i++)
        digest->lanes[i] = turned(DIGEST_PRIME * (i + 1), i * 7);
    digest->size = 0;
}

/* The lanes are local while it runs: in memory the stores would be waited for. The turn brings
 * high bits down, which a multiplication alone never does. */
static void digest_blocks(struct digest *digest, const uint8_t *data, size_t blocks)
{
    uint64_t lanes[DIGEST_LANES], words[DIGEST_LANES];

    memcpy(lanes, digest->lanes, sizeof(lanes));
    for (; blocks > 0; blocks--, data += DIGEST_BLOCK) {
        memcpy(words, data, sizeof(words));
        for (unsigned i = 0; i < DIGEST_LANES; i++)
            lanes[i] = turned(lanes[i] ^ words[i], DIGEST_TURN) * DIGEST_PRIME;
    }
    memcpy(digest->lanes, lanes, sizeof(lanes));
}

void digest_add(struct digest *digest, const uint8_t *data, size_t size)
{
    size_t held = digest->size % DIGEST_BLOCK;

    digest->size += size;
    if (held > 0) {
        size_t piece = DIGEST_BLOCK - held < size ? DIGEST_BLOCK - held : size;
        memcpy(digest->rest + held, data, piece);
        if (held + piece < DIGEST_BLOCK)
            return;
        digest_blocks(digest, digest->rest, 1);
        data += piece;
        size -= piece;
    }
    digest_blocks(digest, data, size / DIGEST_BLOCK);
    memcpy(digest->rest, data + size / DIGEST_BLOCK * DIGEST_BLOCK, size % DIGEST_BLOCK);
}

uint64_t digest_end(const struct digest *digest)
{
    struct digest last = *digest;
    size_t held = digest->size % DIGEST_BLOCK;
    uint64_t sum = digest->size;

    if (held > 0) {
        memset(last.rest + held, 0, DIGEST_BLOCK - held);
        digest_blocks(&last, last.rest, 1);
    }
    for (unsigned i = 0; i < DIGEST_LANES; i++)
        sum = turned(sum ^ last.lanes[i], DIGEST_TURN) * DIGEST_PRIME;
    return sum ^ sum >> 32;
}

uint64_t digest_of(const uint8_t *data, size_t size)
{
    struct digest digest;

    digest_begin(&digest);
    digest_add(&digest, data, size);
    return digest_end(&digest);
}

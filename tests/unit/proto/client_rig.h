/*
 * The client's end of an image stream in memory, and what it was told.
 */
#ifndef LAB_TESTS_UNIT_PROTO_CLIENT_RIG_H
#define LAB_TESTS_UNIT_PROTO_CLIENT_RIG_H

#include "tests/unit/proto/h2_rig.h"

struct heard {
    unsigned firsts, images, done, failed;
    uint64_t done_bytes, image_bytes;
    const struct side *side;
    uint64_t asked_ns, held_ns, not_held_ns; /* since asked_ns, of all ops together */
    char kind[64], text[IMAGE_TEXT_MOST];
    struct image_client *again; /* asks the slot again when it is done */
    unsigned again_left;
};

struct client_rig {
    struct side side;
    struct image_client client;
    struct image_client_worker worker;
    struct meter meter;
    struct heard heard;
};
void client_open(struct client_rig *rig, const struct image_client_config *config, uint32_t window,
                 unsigned depth);
void client_close(struct client_rig *rig);

#endif

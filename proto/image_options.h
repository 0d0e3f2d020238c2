/*
 * Options that both sides of the image stream have. Whoever types one gives it to client and
 * server alike, by its name, so that the two tables must say the same of it.
 */
#ifndef LAB_PROTO_IMAGE_OPTIONS_H
#define LAB_PROTO_IMAGE_OPTIONS_H

#include "core/option.h"
#include "proto/h2.h"
#include "proto/images.h"

/* Rows over a struct that has `int contract` and `uint64_t frame_bytes`. */
#define IMAGE_OPTIONS(options)                                                                     \
    {                                                                                              \
        .name = "contract",                                                                        \
        .type = OPTION_CHOICE,                                                                     \
        .offset = offsetof(options, contract),                                                     \
        .fallback = "nested",                                                                      \
        .choices = image_contracts,                                                                \
        .help = "the image as a message of its own, or its fields in the answer",                  \
        .group = IMAGE_OPTIONS_GROUP,                                                              \
    },                                                                                             \
    {                                                                                              \
        .name = "frame-size", .type = OPTION_SIZE, .offset = offsetof(options, frame_bytes),       \
        .fallback = "1MiB", .min = H2_FRAME_LEAST, .max = H2_FRAME_MOST,                           \
        .help = "largest DATA frame: announced, and sent if the other end takes it",               \
        .group = IMAGE_OPTIONS_GROUP,                                                              \
    }
#define IMAGE_OPTIONS_GROUP "Image stream"

#endif

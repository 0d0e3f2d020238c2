/*
 * The pictures that the image stream serves when it is given no folder: JPEG, 1920x1200, as large
 * as those that the public benchmark of this contract streams. They are made by pictures_make.c
 * while lab is built, from integers alone: the same bytes everywhere, and nothing to be done when
 * a process starts. Client and server both have them, so both know what is right.
 */
#ifndef LAB_PROTO_PICTURES_H
#define LAB_PROTO_PICTURES_H

#include <stddef.h>
#include <stdint.h>

struct picture {
    const char *name;
    const char *format; /* as the contract has it: the name's ending */
    const uint8_t *bytes;
    size_t size;
};

extern const struct picture pictures[]; /* sorted by name */
extern const unsigned pictures_count;

#endif

/*
 * How far another host's clock is from ours, from questions and answers: the answer was read off
 * somewhere between asking and hearing it, so each exchange gives an interval, and all of them
 * together their intersection. Where 0 lies in it, the clocks are taken for the same one: a
 * namespace of this host, to whose windows no error is to be added.
 */
#ifndef LAB_RUN_OFFSET_H
#define LAB_RUN_OFFSET_H

#include <stdbool.h>
#include <stdint.h>

struct offset {
    bool known;
    int64_t least_ns, most_ns; /* its clock minus ours lies between */
    uint64_t round_trip_ns;    /* the longest that was seen */
};

void offset_add(struct offset *offset, uint64_t asked_ns, uint64_t theirs_ns, uint64_t heard_ns);
/* Its clock minus ours, and by how much that can be wrong; 0 and 0 for the same clock, and where
 * nobody asked. */
int64_t offset_ns(const struct offset *offset);
uint64_t offset_error_ns(const struct offset *offset);

#endif

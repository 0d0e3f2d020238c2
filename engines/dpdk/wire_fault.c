/*
 * Frames lost, doubled and put in another order on purpose, from the link's seed: under the
 * stack, so that it is TCP that has to mend it.
 */
#include <errno.h>
#include <rte_mbuf.h>
#include <stdlib.h>

#include "core/rng.h"
#include "engines/dpdk/wire.h"

struct wire_fault {
    struct rng rng;
    unsigned loss, duplicate, reorder; /* of a thousand */
    struct rte_mbuf *held;             /* goes after the next one */
};

int wire_fault_open(struct wire_fault **out, const struct link *link)
{
    struct wire_fault *fault = calloc(1, sizeof(*fault));

    if (fault == NULL)
        return -ENOMEM;
    rng_seed(&fault->rng, link->seed * 2 + (uint64_t)link->side);
    fault->loss = (unsigned)link->loss_permille;
    fault->duplicate = (unsigned)link->duplicate_permille;
    fault->reorder = (unsigned)link->reorder_permille;
    *out = fault;
    return 0;
}

void wire_fault_close(struct wire_fault *fault)
{
    if (fault == NULL)
        return;
    rte_pktmbuf_free(fault->held);
    free(fault);
}

static bool fault_strikes(struct wire_fault *fault, unsigned permille)
{
    return permille > 0 && rng_below(&fault->rng, 1000) < permille;
}

enum wire_fate wire_fault_decide(struct wire_fault *fault, bool one_is_held)
{
    if (fault_strikes(fault, fault->loss))
        return WIRE_LOST;
    if (!one_is_held && fault_strikes(fault, fault->reorder))
        return WIRE_HELD;
    return fault_strikes(fault, fault->duplicate) ? WIRE_DOUBLED : WIRE_PASSES;
}

unsigned wire_fault_apply(struct wire_fault *fault, struct rte_mbuf **frames, unsigned count,
                          struct rte_mbuf **out, struct wire_counts *counts)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++) {
        struct rte_mbuf *frame = frames[i];
        enum wire_fate fate = wire_fault_decide(fault, fault->held != NULL);
        if (fate == WIRE_LOST) {
            counts->lost++;
            rte_pktmbuf_free(frame);
            continue;
        }
        if (fate == WIRE_HELD) {
            counts->reordered++;
            fault->held = frame;
            continue;
        }
        out[n++] = frame;
        if (fate == WIRE_DOUBLED) {
            /* The stack changes what it receives, so the double has bytes of its own. */
            struct rte_mbuf *twin = rte_pktmbuf_copy(frame, frame->pool, 0, UINT32_MAX);
            if (twin != NULL) {
                counts->doubled++;
                out[n++] = twin;
            }
        }
        if (fault->held != NULL) {
            out[n++] = fault->held;
            fault->held = NULL;
        }
    }
    return n;
}

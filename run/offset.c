/* See offset.h. */
#include "run/offset.h"

void offset_add(struct offset *offset, uint64_t asked_ns, uint64_t theirs_ns, uint64_t heard_ns)
{
    int64_t least_ns = (int64_t)(theirs_ns - heard_ns), most_ns = (int64_t)(theirs_ns - asked_ns);

    /* A clock that was stepped, or drifts by more than a round trip: the last word counts. */
    if (!offset->known || least_ns > offset->most_ns || most_ns < offset->least_ns) {
        offset->least_ns = least_ns;
        offset->most_ns = most_ns;
    }
    offset->known = true;
    if (least_ns > offset->least_ns)
        offset->least_ns = least_ns;
    if (most_ns < offset->most_ns)
        offset->most_ns = most_ns;
    if (heard_ns - asked_ns > offset->round_trip_ns)
        offset->round_trip_ns = heard_ns - asked_ns;
}

static bool same_clock(const struct offset *offset)
{
    return !offset->known || (offset->least_ns <= 0 && offset->most_ns >= 0);
}

int64_t offset_ns(const struct offset *offset)
{
    return same_clock(offset) ? 0 : offset->least_ns + (offset->most_ns - offset->least_ns) / 2;
}

uint64_t offset_error_ns(const struct offset *offset)
{
    return same_clock(offset) ? 0 : (uint64_t)(offset->most_ns - offset->least_ns + 1) / 2;
}

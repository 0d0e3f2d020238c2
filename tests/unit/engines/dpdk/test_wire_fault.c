/* What a link does to frames on purpose, decided from its seed. */
#include <criterion/criterion.h>
#include <string.h>

#include "engines/dpdk/wire.h"

#define FRAMES 100000u

static struct wire_fault *fault_open(const struct link *link)
{
    struct wire_fault *fault;

    cr_assert_eq(wire_fault_open(&fault, link), 0);
    return fault;
}

/* Fates of so many frames; whether one is held is told as the link itself would have it. */
static void decide(const struct link *link, enum wire_fate *fates, unsigned counts[4])
{
    struct wire_fault *fault = fault_open(link);
    bool held = false;

    memset(counts, 0, 4 * sizeof(counts[0]));
    for (unsigned i = 0; i < FRAMES; i++) {
        fates[i] = wire_fault_decide(fault, held);
        counts[fates[i]]++;
        if (fates[i] == WIRE_HELD)
            held = true;
        else if (fates[i] != WIRE_LOST)
            held = false;
    }
    wire_fault_close(fault);
}

static enum wire_fate fates[FRAMES], others[FRAMES];
static unsigned counts[4];

Test(wire_fault, none_were_asked_for)
{
    const struct link link = {.seed = 1};

    decide(&link, fates, counts);
    cr_assert_eq(counts[WIRE_PASSES], FRAMES);
}

Test(wire_fault, each_as_often_as_was_asked_for)
{
    struct link link = {.seed = 7, .loss_permille = 20};

    decide(&link, fates, counts);
    cr_assert_eq(counts[WIRE_LOST] + counts[WIRE_PASSES], FRAMES);
    cr_assert(counts[WIRE_LOST] > 1800 && counts[WIRE_LOST] < 2200, "%u", counts[WIRE_LOST]);

    link = (struct link){.seed = 7, .duplicate_permille = 20};
    decide(&link, fates, counts);
    cr_assert_eq(counts[WIRE_DOUBLED] + counts[WIRE_PASSES], FRAMES);
    cr_assert(counts[WIRE_DOUBLED] > 1800 && counts[WIRE_DOUBLED] < 2200);

    /* While one is held no other can be. */
    link = (struct link){.seed = 7, .reorder_permille = 20};
    decide(&link, fates, counts);
    cr_assert_eq(counts[WIRE_HELD] + counts[WIRE_PASSES], FRAMES);
    cr_assert(counts[WIRE_HELD] > 1750 && counts[WIRE_HELD] < 2200, "%u", counts[WIRE_HELD]);
}

Test(wire_fault, a_thousand_of_a_thousand_are_all)
{
    struct link link = {.seed = 3, .loss_permille = 1000};

    decide(&link, fates, counts);
    cr_assert_eq(counts[WIRE_LOST], FRAMES);
    link = (struct link){.seed = 3, .duplicate_permille = 1000};
    decide(&link, fates, counts);
    cr_assert_eq(counts[WIRE_DOUBLED], FRAMES);
    link = (struct link){.seed = 3, .reorder_permille = 1000};
    decide(&link, fates, counts);
    cr_assert_eq(counts[WIRE_HELD], FRAMES / 2, "every other one");
}

Test(wire_fault, two_in_a_row_are_not_held)
{
    const struct link link = {.seed = 9, .reorder_permille = 500, .loss_permille = 300};
    struct wire_fault *fault = fault_open(&link);

    for (unsigned i = 0; i < FRAMES; i++)
        cr_assert_neq(wire_fault_decide(fault, true), WIRE_HELD);
    wire_fault_close(fault);
}

Test(wire_fault, the_seed_decides)
{
    struct link link = {
        .seed = 5, .loss_permille = 50, .duplicate_permille = 50, .reorder_permille = 50};

    decide(&link, fates, counts);
    decide(&link, others, counts);
    cr_assert_eq(memcmp(fates, others, sizeof(fates)), 0, "the same twice");
    link.seed = 6;
    decide(&link, others, counts);
    cr_assert_neq(memcmp(fates, others, sizeof(fates)), 0, "another seed");
    link.seed = 5;
    link.side = LINK_SERVER;
    decide(&link, others, counts);
    cr_assert_neq(memcmp(fates, others, sizeof(fates)), 0, "the other side");
}

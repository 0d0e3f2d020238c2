/* Tables of connections: handles that go stale, items that stay where they are. */
#include <criterion/criterion.h>

#include "core/rng.h"
#include "engines/conns.h"

TestSuite(conns, .timeout = 10);

struct item {
    struct conns_item header;
    uint64_t mark;
    char rest[100];
};

Test(conns, a_handle_finds_its_item_until_it_is_given_back)
{
    struct conns conns;
    cr_assert_eq(conns_open(&conns, sizeof(struct item), 1, 10), 0);
    struct item *item = conns_take(&conns);
    uint64_t handle = conns_handle(item);

    cr_assert_neq(handle, 0);
    cr_assert_eq(conns_find(&conns, handle), item);
    conns_give(&conns, item);
    cr_assert_null(conns_find(&conns, handle));
    struct item *again = conns_take(&conns);
    cr_assert_eq(again, item, "the memory is used again");
    cr_assert_neq(conns_handle(again), handle);
    cr_assert_null(conns_find(&conns, handle), "the old handle does not meet the new item");
    conns_close(&conns);
}

Test(conns, what_never_was_a_handle_finds_nothing)
{
    struct conns conns;
    cr_assert_eq(conns_open(&conns, sizeof(struct item), 0, 1000), 0);
    const uint64_t wrong[] = {0, 1, 63, 64, UINT32_MAX, 1ull << 32, 2ull << 32, UINT64_MAX};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        cr_assert_null(conns_find(&conns, wrong[i]));
    struct item *item = conns_take(&conns);
    uint64_t handle = conns_handle(item);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        cr_assert(wrong[i] == handle || conns_find(&conns, wrong[i]) == NULL);
    cr_assert_null(conns_find(&conns, handle + 1), "an item that was never taken");
    cr_assert_null(conns_find(&conns, handle + (1ull << 32)), "a free generation");
    conns_close(&conns);
}

Test(conns, items_stay_where_they_are_while_the_table_grows)
{
    enum { COUNT = 10000 };
    static struct item *items[COUNT];
    struct conns conns;

    cr_assert_eq(conns_open(&conns, sizeof(struct item), 3, COUNT), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        items[i] = conns_take(&conns);
        cr_assert_not_null(items[i]);
        items[i]->mark = i;
    }
    cr_assert_null(conns_take(&conns), "max");
    for (uint64_t i = 0; i < COUNT; i++) {
        cr_assert_eq(items[i]->mark, i);
        cr_assert_eq(conns_find(&conns, conns_handle(items[i])), items[i]);
        cr_assert_eq((uintptr_t)items[i] % 64, 0);
    }
    conns_give(&conns, items[7]);
    cr_assert_eq(conns_take(&conns), items[7]);
    conns_close(&conns);
}

Test(conns, walks_see_what_is_in_use_or_was_ever)
{
    struct conns conns;
    struct item *items[100];
    uint32_t index = 0;
    unsigned count = 0;

    cr_assert_eq(conns_open(&conns, sizeof(struct item), 0, 1000), 0);
    cr_assert_null(conns_next(&conns, &index));
    for (unsigned i = 0; i < 100; i++)
        items[i] = conns_take(&conns);
    for (unsigned i = 0; i < 100; i += 2)
        conns_give(&conns, items[i]);
    for (index = 0; conns_next(&conns, &index) != NULL;)
        count++;
    cr_assert_eq(count, 50);
    for (index = 0; conns_next_kept(&conns, &index) != NULL;)
        count++;
    cr_assert_eq(count, 150);
    struct item *item;
    for (index = 0; (item = conns_next(&conns, &index)) != NULL;)
        conns_give(&conns, item);
    cr_assert_eq(conns.count, 0, "giving back while walking");
    conns_close(&conns);
}

Test(conns, random_use_never_confuses_generations)
{
    enum { LIVE = 200 };
    struct {
        uint64_t handle;
        uint64_t mark;
    } live[LIVE] = {0}, dead[LIVE] = {0};
    struct conns conns;
    struct rng rng;

    rng_seed(&rng, 1);
    cr_assert_eq(conns_open(&conns, sizeof(struct item), 0, LIVE), 0);
    for (uint64_t step = 1; step < 100000; step++) {
        unsigned i = (unsigned)rng_below(&rng, LIVE);
        if (live[i].handle == 0) {
            struct item *item = conns_take(&conns);
            cr_assert_not_null(item);
            item->mark = step;
            live[i].handle = conns_handle(item);
            live[i].mark = step;
        } else {
            struct item *item = conns_find(&conns, live[i].handle);
            cr_assert_not_null(item);
            cr_assert_eq(item->mark, live[i].mark);
            conns_give(&conns, item);
            dead[i] = live[i];
            live[i].handle = 0;
        }
        cr_assert(dead[i].handle == 0 || conns_find(&conns, dead[i].handle) == NULL);
    }
    conns_close(&conns);
}

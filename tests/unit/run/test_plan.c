/* The order of trials: complete, balanced, shuffled, and the same from the same seed. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "run/plan.h"

TestSuite(plan, .timeout = 20);

enum { CASES_MAX = 9, ROUNDS_MAX = 40 };

Test(plan, each_round_has_every_case_once)
{
    for (unsigned cases = 1; cases <= CASES_MAX; cases++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            unsigned order[CASES_MAX * ROUNDS_MAX];
            plan_rounds(order, cases, ROUNDS_MAX, seed);
            for (unsigned round = 0; round < ROUNDS_MAX; round++) {
                bool seen[CASES_MAX] = {false};
                for (unsigned at = 0; at < cases; at++) {
                    unsigned name = order[round * cases + at];
                    cr_assert(name < cases && !seen[name], "%u cases, round %u", cases, round);
                    seen[name] = true;
                }
            }
        }
}

Test(plan, positions_are_balanced_over_as_many_rounds_as_cases)
{
    for (unsigned cases = 2; cases <= CASES_MAX; cases++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            unsigned order[CASES_MAX * CASES_MAX], times[CASES_MAX][CASES_MAX] = {{0}};
            plan_rounds(order, cases, cases, seed);
            for (unsigned round = 0; round < cases; round++)
                for (unsigned at = 0; at < cases; at++)
                    times[order[round * cases + at]][at]++;
            for (unsigned name = 0; name < cases; name++)
                for (unsigned at = 0; at < cases; at++)
                    cr_assert_eq(times[name][at], 1, "%u cases: %u is %u times at %u", cases, name,
                                 times[name][at], at);
        }
}

/* Who comes right before whom, where the count is even: each pair once in a square. */
Test(plan, neighbours_are_balanced)
{
    for (unsigned cases = 2; cases <= 8; cases += 2) {
        unsigned order[CASES_MAX * CASES_MAX], times[CASES_MAX][CASES_MAX] = {{0}};
        plan_rounds(order, cases, cases, 3);
        for (unsigned round = 0; round < cases; round++)
            for (unsigned at = 1; at < cases; at++)
                times[order[round * cases + at - 1]][order[round * cases + at]]++;
        for (unsigned a = 0; a < cases; a++)
            for (unsigned b = 0; b < cases; b++)
                cr_assert_eq(times[a][b], a != b, "%u cases: %u before %u", cases, a, b);
    }
}

Test(plan, the_seed_decides)
{
    unsigned first[4 * 12], again[4 * 12], other[4 * 12], different = 0;

    plan_rounds(first, 4, 12, 7);
    plan_rounds(again, 4, 12, 7);
    cr_assert_arr_eq(first, again, sizeof(first));
    for (uint64_t seed = 100; seed < 120; seed++) {
        plan_rounds(other, 4, 12, seed);
        different += memcmp(first, other, sizeof(first)) != 0;
    }
    cr_assert_geq(different, 19);
}

/* A reused square would put the same rounds in the same places again and again. */
Test(plan, the_next_square_is_another_one)
{
    unsigned order[5 * 10], same = 0;

    for (uint64_t seed = 0; seed < 20; seed++) {
        plan_rounds(order, 5, 10, seed);
        same += memcmp(order, order + 25, sizeof(*order) * 25) == 0;
    }
    cr_assert_leq(same, 1);
}

/* The default pictures are the same bytes wherever they were drawn. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "proto/pictures.h"

Test(pictures, are_the_same_everywhere)
{
    static const struct {
        size_t size;
        unsigned long crc;
    } expected[] = {{273075, 0x9280c7a2}, {467749, 0xecc8a2a0}, {204552, 0x8b608ca6}};

    cr_assert_eq(pictures_count, sizeof(expected) / sizeof(expected[0]));
    for (unsigned i = 0; i < pictures_count; i++) {
        cr_expect_eq(pictures[i].size, expected[i].size, "%s has %zu bytes", pictures[i].name,
                     pictures[i].size);
        cr_expect_eq(crc32(0, pictures[i].bytes, (unsigned)pictures[i].size), expected[i].crc,
                     "%s has the checksum 0x%08lx", pictures[i].name,
                     crc32(0, pictures[i].bytes, (unsigned)pictures[i].size));
    }
}

Test(pictures, are_sorted_by_name)
{
    for (unsigned i = 1; i < pictures_count; i++)
        cr_expect_lt(strcmp(pictures[i - 1].name, pictures[i].name), 0);
}

/*
 * The histogram's encoding as a filter, for hist_codec.py:
 *   hist_tool encode < VALUES   a number a line, or `value count`; writes the encoded bytes
 *   hist_tool decode < BYTES    writes `total N`, `p P VALUE` for the usual percentiles, and
 *                               `LOWEST-VALUE COUNT` for each count that is not 0
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hist.h"

#define BYTES_MAX (1u << 20)

static int encode(struct hist *h)
{
    uint64_t value, count;
    char line[128];
    uint8_t *data;
    size_t size;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        int fields = sscanf(line, "%" SCNu64 " %" SCNu64, &value, &count);

        if (fields < 1)
            return 1;
        for (uint64_t i = 0; i < (fields == 2 ? count : 1); i++)
            hist_record(h, value);
    }
    size = hist_encode(h, &data);
    if (size == 0 || fwrite(data, 1, size, stdout) != size)
        return 1;
    free(data);
    return 0;
}

static int decode(struct hist *h)
{
    static const double percentiles[] = {50, 75, 90, 95, 99, 99.9, 99.99, 100};
    static uint8_t data[BYTES_MAX];
    size_t size = fread(data, 1, sizeof(data), stdin);
    int result = hist_decode(h, data, size);

    if (result < 0) {
        fprintf(stderr, "hist_tool: %s\n", strerror(-result));
        return 1;
    }
    printf("total %" PRIu64 "\n", h->total);
    for (unsigned i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
        printf("p %g %" PRIu64 "\n", percentiles[i], hist_percentile(h, percentiles[i]));
    for (uint64_t value = 0; value <= HIST_MAX;) {
        unsigned index = hist_index(value);

        if (h->counts[index] > 0)
            printf("%" PRIu64 " %" PRIu64 "\n", value, h->counts[index]);
        /* Bucket 0 and 1 share the width of 1; from there it doubles every half. */
        value += 1ull << (index < HIST_SUB_COUNT ? 0 : index / HIST_SUB_HALF - 1);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct hist *h = hist_new();
    int result = 2;

    if (h == NULL)
        return 4;
    if (argc == 2 && strcmp(argv[1], "encode") == 0)
        result = encode(h);
    else if (argc == 2 && strcmp(argv[1], "decode") == 0)
        result = decode(h);
    else
        fprintf(stderr, "usage: hist_tool encode|decode\n");
    hist_free(h);
    return result;
}

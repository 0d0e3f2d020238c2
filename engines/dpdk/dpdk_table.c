/* Options and metrics of the dpdk engine, and what it can do here. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engines/dpdk/dpdk.h"

#define FIELD(name) offsetof(struct dpdk_options, name)

static const char *const dpdk_vias[] = {"af_packet", "af_xdp", NULL};

const struct option_def dpdk_options[] = {
    {.name = "burst",
     .type = OPTION_COUNT,
     .offset = FIELD(burst),
     .fallback = "16",
     .min = 1,
     .max = WIRE_BURST_MAX,
     .help = "frames that are received, and handed over, at once"},
    {.name = "ring",
     .type = OPTION_COUNT,
     .offset = FIELD(ring),
     .fallback = "0",
     .max = 16384,
     .help = "slots of a ring of the device; 0: 512"},
    {.name = "mbufs",
     .type = OPTION_COUNT,
     .offset = FIELD(mbufs),
     .fallback = "0",
     .max = 65536,
     .help = "frames of memory in each direction; 0: by connections"},
    {.name = "mtu",
     .type = OPTION_SIZE,
     .offset = FIELD(mtu),
     .fallback = "0",
     .max = 16128,
     .help = "bytes of a packet, both ends alike; 0: the link's"},
    {.name = "zero_copy",
     .type = OPTION_FLAG,
     .offset = FIELD(zero_copy),
     .fallback = "yes",
     .help = "a memif's client lends its frames instead of having them copied"},
    {.name = "via",
     .type = OPTION_CHOICE,
     .offset = FIELD(via),
     .fallback = "af_packet",
     .choices = dpdk_vias,
     .help = "how a device of the kernel's (veth) is driven"},
    {.name = "huge",
     .type = OPTION_FLAG,
     .offset = FIELD(huge),
     .fallback = "no",
     .help = "memory in hugepages, which must be free"},
    {.name = "plain",
     .type = OPTION_FLAG,
     .offset = FIELD(plain),
     .fallback = "no",
     .help = "use lwIP as it is, without the shortcuts of reach.c"},
    {.name = "eal",
     .type = OPTION_TEXT,
     .offset = FIELD(eal),
     .argument = "ARGS",
     .help = "more arguments for DPDK's environment, separated by spaces"},
    {0},
};

const struct metric_def dpdk_metrics[] = {
    ENGINE_METRICS,
    {"frames_received", "", METRIC_COUNTER, METRIC_NEITHER, "", "engine", "frames received"},
    {"frames_sent", "", METRIC_COUNTER, METRIC_NEITHER, "", "engine",
     "frames handed to the device"},
    {"bursts_sent", "", METRIC_COUNTER, METRIC_NEITHER, "", "engine",
     "bursts in which they were handed over"},
    {"ring_full", "", METRIC_COUNTER, METRIC_LESS, "", "engine",
     "bursts that the device's ring had no room for: what is left waits"},
    {"frames_dropped", "", METRIC_COUNTER, METRIC_LESS, "", "engine",
     "frames given up here: no link, or too many that waited"},
    {"allocations_failed", "", METRIC_COUNTER, METRIC_LESS, "", "engine",
     "frames or stack memory that could not be had"},
    {"retransmissions", "", METRIC_COUNTER, METRIC_LESS, "", "engine",
     "times that TCP has sent again"},
    {"time_waits_given_up", "", METRIC_COUNTER, METRIC_NEITHER, "", "engine",
     "connections in TIME_WAIT that made room for others before their time"},
    {"link_faults", "", METRIC_COUNTER, METRIC_NEITHER, "", "engine",
     "frames lost, doubled or reordered on purpose"},
    {"burst_frames", "", METRIC_HISTOGRAM, METRIC_NEITHER, "", "engine",
     "frames of a received burst"},
    {"burst_input_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "engine",
     "from a burst's arrival until all of it is through TCP"},
    {"burst_application_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "engine",
     "the application's share of what a burst has brought"},
    {"burst_output_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "engine",
     "TCP's share of what the application has sent, acknowledgements and windows included"},
    {"burst_transmit_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "engine",
     "from there until what is left of it is with the device"},
    {0},
};
_Static_assert(sizeof(dpdk_metrics) / sizeof(dpdk_metrics[0]) == DPDK_METRICS + 1,
               "a row for each metric");
_Static_assert(DPDK_METRICS <= ENGINE_COUNTERS_MAX, "more metrics than an engine has");

void dpdk_fill_caps(const struct engine_config *config, const char *how, struct engine_caps *caps)
{
    const struct dpdk_options *options = config->options;
    bool memif = config->link == NULL || strcmp(config->link->kind->name, "memif") == 0;
    char note[sizeof(caps->list[0].note)];

    *caps = (struct engine_caps){
        .conns_max = DPDK_CONNS_MAX,
        .spins = true,
        .one_per_process = true,
        .user_stack = true,
        /* To give a device back takes what taking it did, and memif lets in who it was then. */
        .privileged = true,
    };
    engine_caps_add(caps, "received buffers lent", CAP_NATIVE, "the device's frames, not copied");
    engine_caps_add(caps, "zero-copy send", CAP_ABSENT, "lwIP copies into its segments");
    engine_caps_add(caps, "file segments", CAP_EMULATED, "read into memory, then sent");
    if (memif)
        engine_caps_add(caps, "zero-copy memif", options->zero_copy ? CAP_NATIVE : CAP_ABSENT,
                        options->zero_copy ? "of the client's frames" : "zero_copy=no");
    engine_caps_add(caps, "lwIP", CAP_NATIVE, stack_library);
    snprintf(note, sizeof(note), "%s%s", how[0] == '\0' ? "" : "lwIP the plain way: ", how);
    engine_caps_add(caps, "lwIP's shortcuts", how[0] == '\0' ? CAP_NATIVE : CAP_ABSENT, note);
    engine_caps_add(caps, "checksums", CAP_NATIVE, "all, in software");
    unsigned pages = wire_host_hugepages(WIRE_SYSFS, note, sizeof(note));
    engine_caps_add(caps, "hugepages", pages > 0 ? CAP_NATIVE : CAP_ABSENT, note);
    unsigned nics = wire_host_nics(WIRE_SYSFS, note, sizeof(note));
    engine_caps_add(caps, "NICs for DPDK", nics > 0 ? CAP_NATIVE : CAP_ABSENT, note);
    wire_host_iova(WIRE_SYSFS, note, sizeof(note));
    engine_caps_add(caps, "IOVA", CAP_NATIVE, note);
    if (config->cc != NULL)
        engine_caps_add(caps, "congestion control", CAP_NO_EFFECT, "lwIP has NewReno only");
}

int dpdk_probe(const struct engine_config *config, struct engine_caps *caps, struct lab_error *err)
{
    const struct dpdk_options *options = config->options;
    struct wire_config wire;
    int r = dpdk_wire_config(config, &wire, err);

    if (r == 0)
        dpdk_fill_caps(config, stack_unfit(options->plain), caps);
    return r;
}

/*
 * Feeds bytes to the control channel as a controller and a child read them: as they are, and as
 * the body of one framed message, since hardly any input would begin with its own length. What
 * passes the checks must be fit to be judged and shown.
 */
#include <endian.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/record.h"
#include "core/text.h"
#include "run/channel.h"
#include "run/verdict.h"

#define STREAM_MAX (1u << 15) /* less than a pipe holds */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Both sides are played by it: each check reads what it likes. */
static void judge(Lab__Record *record)
{
    char workload[] = "echo", link[] = "lo";
    struct run_case c = {.workload = workload, .link = link, .server_measured = true};
    struct run_process process = {.record = record};
    struct hostwatch *watched = calloc(2, sizeof(*watched));
    struct run_trial trial = {
        .duration_s = 1,
        .clients = &process,
        .clients_count = 1,
        .servers = &process,
        .servers_count = 1,
    };

    check(watched != NULL);
    trial.slices = calloc(record->n_slices + 1, sizeof(*trial.slices));
    check(trial.slices != NULL);
    for (size_t i = 0; i < record->n_slices; i++)
        trial.slices[i] = *record->slices[i];
    trial.slices_count = record->n_slices;
    watched[0].has_stat = watched[1].has_stat = true;
    watched[1].at_ns = 1;
    const struct verdict_facts facts = {
        .before = &watched[0], .after = &watched[1], .cores = UINT32_MAX};
    verdict_judge(&c, &trial, &facts);
    for (size_t i = 0; i < trial.verdicts_count; i++)
        check(text_is_clean(trial.verdicts[i].evidence));
    free(trial.slices);
    free(watched);
}

static void try_record(Lab__Record *record)
{
    struct lab_error err = {0};

    if (record_check(record, &err) < 0) {
        check(err.text[0] != '\0' && text_is_clean(err.text));
        return;
    }
    for (size_t i = 0; i < record->n_metrics; i++) {
        check(!record->metrics[i]->observed || isfinite(record->metrics[i]->value));
        check(record_metric(record, record->metrics[i]->name) != NULL);
    }
    judge(record);
}

static void try_ready(Lab__Ready *ready)
{
    struct lab_error err = {0};

    if (record_check_ready(ready, &err) < 0) {
        check(err.text[0] != '\0' && text_is_clean(err.text));
        return;
    }
    for (size_t i = 0; i < ready->n_addresses; i++)
        check(text_is_clean(ready->addresses[i]));
}

static void try_stream(const uint8_t *data, size_t size,
                       const ProtobufCMessageDescriptor *descriptor)
{
    int fds[2];
    struct channel channel;
    ProtobufCMessage *message = NULL;

    check(pipe2(fds, O_CLOEXEC) == 0);
    check(write(fds[1], data, size) == (ssize_t)size);
    close(fds[1]);
    channel_open(&channel, fds[0], -1);
    while (channel_take(&channel, descriptor, &message) == 0) {
        Lab__Report *report = (Lab__Report *)message;
        if (descriptor == &lab__report__descriptor && report->what_case == LAB__REPORT__WHAT_RECORD)
            try_record(report->record);
        if (descriptor == &lab__report__descriptor && report->what_case == LAB__REPORT__WHAT_READY)
            try_ready(report->ready);
        protobuf_c_message_free_unpacked(message, NULL);
        message = NULL;
    }
    check(message == NULL);
    channel_close(&channel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t framed[4 + STREAM_MAX];
    uint32_t head = htobe32((uint32_t)size);

    if (size > STREAM_MAX)
        return 0;
    memcpy(framed, &head, 4);
    if (size > 0)
        memcpy(framed + 4, data, size);
    try_stream(data, size, &lab__report__descriptor);
    try_stream(framed, size + 4, &lab__report__descriptor);
    try_stream(framed, size + 4, &lab__order__descriptor);
    return 0;
}

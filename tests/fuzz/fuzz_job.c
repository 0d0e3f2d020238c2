/*
 * Feeds bytes to the reader of job files, and what it takes to the options of a run. Names and
 * lines of what was taken must be such that an error can say them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cases.h"
#include "cli/job.h"
#include "core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_section(const struct job_section *section, unsigned lines)
{
    check(section->name != NULL && section->name[0] != '\0' && text_is_clean(section->name));
    check(section->line <= lines);
    for (size_t i = 0; i < section->count; i++) {
        const struct job_pair *pair = &section->pairs[i];
        check(pair->name[0] != '\0' || pair->value != NULL);
        check(text_is_clean(pair->name) && text_is_clean(pair->value));
        check(pair->line >= section->line && pair->line <= lines);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job job;
    struct lab_error err = {0};
    struct args args = {0};
    struct run_options options = {0};
    unsigned lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    if (job_parse((const char *)data, size, "fuzz.job", &job, &err) < 0) {
        check(strncmp(err.text, "fuzz.job", 8) == 0 && job.count == 0 && job.path == NULL);
        return 0;
    }
    check_section(&job.global, lines);
    for (size_t i = 0; i < job.count; i++) {
        check_section(&job.sections[i], lines);
        for (size_t k = 0; k < i; k++)
            check(strcmp(job.sections[k].name, job.sections[i].name) != 0);
    }
    err.text[0] = '\0';
    if (cases_run_options(&args, &job, &options, &err) != 0)
        check(strncmp(err.text, "fuzz.job:", 9) == 0);
    run_options_free(&options);
    job_free(&job);
    return 0;
}

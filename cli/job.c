/*
 * See job.h. libinih hands over names and values without their lines, cuts long lines in
 * silence and never tells of a section that is empty; all three are seen by the reader that it
 * asks for lines, so that an error can say file and line.
 */
#include "cli/job.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/text.h"

#define JOB_GLOBAL      "global"
#define JOB_SECTION_MAX 49 /* libinih cuts names of sections, and of options, at this length */

struct job_reader {
    struct job *job;
    struct lab_error *err;
    const char *at, *end;
    unsigned line;
    int result;
    struct job_section *section; /* NULL before the first heading */
    bool named;                  /* this section has had a name: indented lines go on with it */
    bool goes_on;                /* the present line does so */
    bool any_global;
};

static int job_fail(struct job_reader *reader, unsigned line, const char *text)
{
    if (reader->result == 0)
        reader->result = lab_fail(reader->err, EINVAL, "%s:%u: %s", reader->job->path, line, text);
    return reader->result;
}

/* [Global] or [ global ]: it would become a case of its own, with nobody else's settings. */
static bool job_meant_global(const char *name)
{
    size_t size = strlen(JOB_GLOBAL);

    name += strspn(name, " ");
    return strncasecmp(name, JOB_GLOBAL, size) == 0 &&
           name[size + strspn(name + size, " ")] == '\0';
}

static struct job_section *job_section_add(struct job_reader *reader, const char *name)
{
    struct job *job = reader->job;
    char text[160];

    if (strcmp(name, JOB_GLOBAL) == 0) {
        if (reader->any_global || job->count > 0) {
            job_fail(reader, reader->line, "[global] comes once, before all other sections");
            return NULL;
        }
        reader->any_global = true;
        job->global.line = reader->line;
        return &job->global;
    }
    if (job_meant_global(name)) {
        snprintf(text, sizeof(text), "[%s]: did you mean [global]?", name);
        job_fail(reader, reader->line, text);
        return NULL;
    }
    for (size_t i = 0; i < job->count; i++) {
        if (strcmp(job->sections[i].name, name) == 0) {
            snprintf(text, sizeof(text), "[%s] is in line %u already: give this one another name",
                     name, job->sections[i].line);
            job_fail(reader, reader->line, text);
            return NULL;
        }
    }
    struct job_section *grown = NULL;
    if (job->count < JOB_SECTIONS_MAX)
        grown = realloc(job->sections, (job->count + 1) * sizeof(*grown));
    if (grown == NULL) {
        job_fail(reader, reader->line, "too many sections (at most 1024)");
        return NULL;
    }
    job->sections = grown;
    grown[job->count] = (struct job_section){.name = strdup(name), .line = reader->line};
    if (grown[job->count].name == NULL) {
        job_fail(reader, reader->line, "no memory");
        return NULL;
    }
    return &grown[job->count++];
}

/* A heading, seen before libinih does: it would say nothing of a section without options. */
static void job_heading(struct job_reader *reader, const char *line)
{
    char name[JOB_SECTION_MAX + 1];
    const char *from = line + strspn(line, " \t") + 1;
    const char *to = strchr(from, ']');

    if (to == NULL) {
        job_fail(reader, reader->line, "a heading ends with ']', as in [small messages]");
        return;
    }
    size_t size = (size_t)(to - from);
    if (size == 0 || size > JOB_SECTION_MAX) {
        job_fail(reader, reader->line, "a section's name has 1 to 49 characters");
        return;
    }
    memcpy(name, from, size);
    name[size] = '\0';
    const char *rest = to + 1 + strspn(to + 1, " \t\r\n");
    if (*rest != '\0' && *rest != ';' && *rest != '#') { /* libinih would drop it */
        job_fail(reader, reader->line,
                 "a heading ends with the first ']': after it stands nothing but a ; comment");
        return;
    }
    reader->named = false;
    if (text_is_clean(name))
        reader->section = job_section_add(reader, name);
    else
        job_fail(reader, reader->line, "a section's name is plain text");
}

/* libinih's reader: like fgets, but a line that does not fit is an error. */
static char *job_line(char *out, int room, void *stream)
{
    struct job_reader *reader = stream;
    size_t left = (size_t)(reader->end - reader->at);

    if (left == 0 || reader->result != 0)
        return NULL;
    const char *newline = memchr(reader->at, '\n', left);
    size_t size = newline == NULL ? left : (size_t)(newline - reader->at) + 1;
    reader->line++;
    if (size >= (size_t)room) {
        job_fail(reader, reader->line,
                 "the line is too long (at most 198 characters): go on in a line that is indented");
        return NULL;
    }
    memcpy(out, reader->at, size);
    out[size] = '\0';
    reader->at += size;
    if (memchr(out, '\0', size) != NULL) {
        job_fail(reader, reader->line, "not a text file: it has a zero byte");
        return NULL;
    }
    size_t indent = 0;
    while (isspace((unsigned char)out[indent]))
        indent++;
    reader->goes_on = indent > 0 && reader->named;
    if (out[indent] == '[' && !reader->goes_on)
        job_heading(reader, out);
    return reader->result == 0 ? out : NULL;
}

static bool job_continue(struct job_pair *pair, const char *value)
{
    char *joined = NULL;
    const char *comma = pair->value[0] == '\0' || value[0] == '\0' ? "" : ", ";

    size_t length = strlen(pair->value);
    if (length > 0 && pair->value[length - 1] == ',')
        comma = " ";
    if (asprintf(&joined, "%s%s%s", pair->value, comma, value) < 0)
        return false;
    free(pair->value);
    pair->value = joined;
    return true;
}

static int job_take(struct job_reader *reader, const char *name, const char *value)
{
    struct job_section *section = reader->section;

    if (section == NULL)
        return job_fail(reader, reader->line,
                        "an option before the first heading: put it under [global]");
    /* libinih repeats the name for a line that goes on: a second line of that name looks alike. */
    if (reader->goes_on && section->count > 0)
        return job_continue(&section->pairs[section->count - 1], value)
                   ? 0
                   : job_fail(reader, reader->line, "no memory");
    if (section->count == JOB_PAIRS_MAX)
        return job_fail(reader, reader->line, "too many options in a section (at most 256)");
    struct job_pair *grown = realloc(section->pairs, (section->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return job_fail(reader, reader->line, "no memory");
    section->pairs = grown;
    grown[section->count] = (struct job_pair){strdup(name), strdup(value), reader->line};
    if (grown[section->count].name == NULL || grown[section->count].value == NULL) {
        free(grown[section->count].name);
        free(grown[section->count].value);
        return job_fail(reader, reader->line, "no memory");
    }
    section->count++;
    return 0;
}

static int job_pair_read(void *context, const char *section, const char *name, const char *value)
{
    struct job_reader *reader = context;

    (void)section;
    if (reader->result != 0)
        return 1; /* libinih reads to the end of the line regardless */
    reader->named = true;
    if (strlen(name) >= JOB_SECTION_MAX)
        job_fail(reader, reader->line, "no option has a name as long as that");
    else if (!text_is_clean(name) || !text_is_clean(value))
        job_fail(reader, reader->line, "not plain text");
    else
        job_take(reader, name, value);
    return 1;
}

int job_parse(const char *text, size_t size, const char *path, struct job *job,
              struct lab_error *err)
{
    struct job_reader reader = {.job = job, .err = err, .at = text, .end = text + size};

    *job = (struct job){.path = strdup(path), .global = {.name = strdup(JOB_GLOBAL)}};
    if (job->path == NULL || job->global.name == NULL) {
        job_free(job);
        return lab_fail(err, ENOMEM, "%s: no memory", path);
    }
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        reader.at += 3; /* a byte order mark, which the reader of headings would not know */
    if (size > JOB_BYTES_MAX)
        reader.result = lab_fail(err, EFBIG, "%s: larger than 1 MiB: not a job file", path);
    int line = reader.result == 0 ? ini_parse_stream(job_line, &reader, job_pair_read, &reader) : 0;
    if (line > 0)
        job_fail(&reader, (unsigned)line,
                 "neither `option = value` nor a [heading] (a switch is written `option = yes`)");
    if (reader.result == 0 && line < 0)
        reader.result = lab_fail(err, ENOMEM, "%s: no memory", path);
    if (reader.result == 0 && job->count == 0 && job->global.count == 0)
        reader.result =
            lab_fail(err, EINVAL, "%s: no case in it: write a [heading] and options", path);
    if (reader.result != 0)
        job_free(job);
    return reader.result;
}

int job_read(const char *path, struct job *job, struct lab_error *err)
{
    FILE *file = fopen(path, "re");
    int r;

    *job = (struct job){0};
    if (file == NULL) {
        int code = errno;
        return lab_fail(err, code, "cannot read the job file %s: %s", path, strerror(code));
    }
    char *text = malloc(JOB_BYTES_MAX + 1);
    size_t size = text == NULL ? 0 : fread(text, 1, JOB_BYTES_MAX + 1, file);
    if (text == NULL)
        r = lab_fail(err, ENOMEM, "%s: no memory", path);
    else if (ferror(file) != 0) /* a directory opens, and cannot be read */
        r = lab_fail(err, errno == 0 ? EIO : errno, "cannot read the job file %s: %s", path,
                     strerror(errno));
    else
        r = job_parse(text, size, path, job, err);
    free(text);
    fclose(file);
    return r;
}

static void job_section_free(struct job_section *section)
{
    for (size_t i = 0; i < section->count; i++) {
        free(section->pairs[i].name);
        free(section->pairs[i].value);
    }
    free(section->pairs);
    free(section->name);
}

void job_free(struct job *job)
{
    job_section_free(&job->global);
    for (size_t i = 0; i < job->count; i++)
        job_section_free(&job->sections[i]);
    free(job->sections);
    free(job->path);
    *job = (struct job){0};
}

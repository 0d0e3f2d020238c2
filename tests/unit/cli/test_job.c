/* Job files: what is read, and the sentence with file and line for what is not. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/job.h"

TestSuite(job, .timeout = 10);

static int parse(const char *text, struct job *job, struct lab_error *err)
{
    return job_parse(text, strlen(text), "x.job", job, err);
}

static const struct job_pair *pair(const struct job_section *section, const char *name)
{
    for (size_t i = 0; i < section->count; i++)
        if (strcmp(section->pairs[i].name, name) == 0)
            return &section->pairs[i];
    return NULL;
}

Test(job, sections_in_their_order_with_lines)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(
        parse("; a comment\n[global]\nengine = epoll, io_uring ; inline\n\n"
              "[small] ; one\nsize=64\n# another\n[ empty ]\t# two\n[large] \nsize : 1MiB\n",
              &job, &err),
        0, "%s", err.text);
    cr_assert_eq(job.count, 3);
    cr_assert_str_eq(job.sections[0].name, "small");
    cr_assert_str_eq(job.sections[1].name, " empty ");
    cr_assert_eq(job.sections[1].count, 0);
    cr_assert_str_eq(job.sections[2].name, "large");
    cr_assert_str_eq(pair(&job.global, "engine")->value, "epoll, io_uring");
    cr_assert_eq(pair(&job.global, "engine")->line, 3);
    cr_assert_eq(pair(&job.sections[2], "size")->line, 10);
    job_free(&job);
}

Test(job, values_go_on_in_indented_lines)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(
        parse("[a]\nengine = epoll,\n    io_uring\n  blocking\nsize =\n  1\n  2\n", &job, &err), 0,
        "%s", err.text);
    cr_assert_str_eq(pair(&job.sections[0], "engine")->value, "epoll, io_uring, blocking");
    cr_assert_str_eq(pair(&job.sections[0], "size")->value, "1, 2");
    job_free(&job);
}

Test(job, a_name_that_stands_there_twice_is_two_pairs)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(parse("[global]\nlabel = a=b\nlabel = c=d\n  e\n\tf\n", &job, &err), 0, "%s",
                 err.text);
    cr_assert_eq(job.global.count, 2);
    cr_assert_str_eq(job.global.pairs[0].value, "a=b");
    cr_assert_str_eq(job.global.pairs[1].value, "c=d, e, f");
    cr_assert_eq(job.global.pairs[1].line, 3);
    job_free(&job);
}

Test(job, an_indented_bracket_goes_on_too)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(parse("[a]\nserver = 127.0.0.1:80,\n  [::1]:80\n", &job, &err), 0, "%s", err.text);
    cr_assert_eq(job.count, 1);
    cr_assert_str_eq(pair(&job.sections[0], "server")->value, "127.0.0.1:80, [::1]:80");
    job_free(&job);
}

Test(job, windows_line_ends_and_byte_order_mark)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(parse("\xef\xbb\xbf[a]\r\nsize = 1\r\n", &job, &err), 0, "%s", err.text);
    cr_assert_str_eq(pair(&job.sections[0], "size")->value, "1");
    job_free(&job);
}

Test(job, global_alone_is_one_case)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(parse("[global]\nsize = 1\n", &job, &err), 0);
    cr_assert_eq(job.count, 0);
    cr_assert_eq(job.global.count, 1);
    job_free(&job);
}

struct wrong {
    const char text[80], says[80];
};

ParameterizedTestParameters(job, refused)
{
    static struct wrong wrongs[] = {
        {"", "x.job: no case in it"},
        {"; only a comment\n", "x.job: no case in it"},
        {"size = 1\n[a]\n", "x.job:1: an option before the first heading"},
        {"[a]\nsize 1\n", "x.job:2: neither `option = value` nor a [heading]"},
        {"[a]\n\nreconnect\n", "x.job:3: neither `option = value` nor a [heading]"},
        {"[a\nsize = 1\n", "x.job:1: a heading ends with ']'"},
        {"[]\n", "x.job:1: a section's name has 1 to 49 characters"},
        {"[a]\n[b] junk\n", "x.job:2: a heading ends with the first ']'"},
        {"[b]]\n", "x.job:1: a heading ends with the first ']'"},
        {"[a] size = 1\n", "x.job:1: a heading ends with the first ']'"},
        {"\n[Global]\nsize = 1\n", "x.job:2: [Global]: did you mean [global]?"},
        {"[ GLOBAL ]\n", "x.job:1: [ GLOBAL ]: did you mean [global]?"},
        {"[a]\n[b]\n[a]\n", "x.job:3: [a] is in line 1 already"},
        {"[a]\n[global]\n", "x.job:2: [global] comes once, before all other sections"},
        {"[a]\nsize = \x01\n", "x.job:2: not plain text"},
        {"[\xff]\n", "x.job:1: a section's name is plain text"},
    };
    return cr_make_param_array(struct wrong, wrongs, sizeof(wrongs) / sizeof(*wrongs));
}

ParameterizedTest(struct wrong *wrong, job, refused)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(parse(wrong->text, &job, &err), -EINVAL, "%s was taken", wrong->text);
    cr_assert_eq(strncmp(err.text, wrong->says, strlen(wrong->says)), 0, "%s", err.text);
    cr_assert_null(job.sections);
    cr_assert_null(job.path);
}

Test(job, too_long_a_line_is_not_cut_in_silence)
{
    struct job job;
    struct lab_error err;
    char text[600] = "[a]\nsize = ";

    while (strlen(text) < 400)
        strcat(text, "1, ");
    strcat(text, "2\n");
    cr_assert_eq(parse(text, &job, &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "x.job:2: the line is too long"), "%s", err.text);
}

Test(job, a_zero_byte_is_no_text)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(job_parse("[a]\nsi\0ze=1\n", 12, "x.job", &job, &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "x.job:2:"), "%s", err.text);
}

Test(job, every_truncation_of_a_good_file_is_taken_or_refused_whole)
{
    static const char text[] = "[global]\nengine = epoll,\n  io_uring\n[a b]\nsize = 1 ; x\n[c]\n";
    for (size_t size = 0; size < sizeof(text); size++) {
        struct job job;
        struct lab_error err;
        char *copy = malloc(size == 0 ? 1 : size); /* so that a reader past the end is found out */
        memcpy(copy, text, size);
        if (job_parse(copy, size, "x.job", &job, &err) == 0)
            job_free(&job);
        free(copy);
    }
}

Test(job, a_path_that_is_no_file)
{
    struct job job;
    struct lab_error err;

    cr_assert_eq(job_read("/nowhere/x.job", &job, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "/nowhere/x.job"));
    cr_assert_eq(job_read("/", &job, &err), -EISDIR);
}

/*
 * Feeds text to the readers of engine specs. What is taken must be written in a form that is
 * taken again and means the same; what is refused must leave a sentence and nothing else.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "engines/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int good)
{
    if (!good)
        abort();
}

static void check_taken(const struct engine_spec *spec)
{
    struct engine_spec again;
    const char *name;
    char value[OPTION_TEXT_MAX], value_again[OPTION_TEXT_MAX];

    check(memchr(spec->text, '\0', sizeof(spec->text)) != NULL);
    check(engine_spec_parse(spec->text, &again, NULL) == 0);
    check(again.ops == spec->ops && strcmp(again.text, spec->text) == 0);
    for (unsigned i = 0; engine_spec_option(spec, i, &name, value, sizeof(value)); i++) {
        check(engine_spec_option(&again, i, &name, value_again, sizeof(value_again)));
        check(strcmp(value, value_again) == 0);
    }
    engine_spec_free(&again);
}

static void check_refused(int code, const struct engine_spec *spec, const struct lab_error *err)
{
    check(code == -EINVAL || code == -ENOSYS);
    check(spec->options == NULL);
    check(err->text[0] != '\0' && text_is_clean(err->text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int (*const readers[])(const char *, struct engine_spec *, struct lab_error *) = {
        engine_spec_parse,
        engine_spec_parse_inner,
    };
    char *text = malloc(size + 1);

    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    for (unsigned i = 0; i < sizeof(readers) / sizeof(*readers); i++) {
        struct engine_spec spec = {0};
        struct lab_error err = {""};
        int r = readers[i](text, &spec, &err);
        if (r == 0)
            check_taken(&spec);
        else
            check_refused(r, &spec, &err);
        engine_spec_free(&spec);
    }
    free(text);
    return 0;
}

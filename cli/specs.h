/*
 * Lists of engine specs, `epoll,io_uring:sqpoll,napi=50us,blocking`: a comma parts options of a
 * spec as well as specs, so a new spec begins where an engine's name follows, or where the spec
 * before has no options that could go on.
 */
#ifndef LAB_CLI_SPECS_H
#define LAB_CLI_SPECS_H

#include <stddef.h>

#include "engines/engine.h"

/* Bytes of the first spec in text; text[that] is a comma or the end. */
size_t specs_length(const char *text);

/* engine_spec_parse(), and where a word looks like a mistyped engine the sentence says so. */
int specs_parse(const char *text, struct engine_spec *spec, struct lab_error *err);

#endif

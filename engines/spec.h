/*
 * What engines that wrap another need beside engine_spec_parse (engines/engine.h).
 */
#ifndef LAB_ENGINES_SPEC_H
#define LAB_ENGINES_SPEC_H

#include "engines/engine.h"

/*
 * The inner spec of an option's value, where '+' stands for what would end the outer option: the
 * first ends the inner name, the others are commas, and '++' is a plus. `io_uring+spin+bufs=4` is
 * `io_uring:spin,bufs=4`. Errors as engine_spec_parse's, and -EINVAL for one that wraps in its
 * turn: *inner is untouched then. On success to be freed with engine_spec_free.
 */
int engine_spec_parse_inner(const char *value, struct engine_spec *inner, struct lab_error *err);

#endif

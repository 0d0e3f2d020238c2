/*
 * Addresses as people write them: `127.0.0.1:8888`, `[::1]:8888`, `:8888` (all of loopback's
 * IPv4: 127.0.0.1), `localhost:8888`, `unix:/path`, `unix:@abstract`. An IPv6 address may have a
 * scope, `[fe80::1%eth0]:8888` or its number. No name of a host is looked up here.
 */
#ifndef LAB_CORE_ADDR_H
#define LAB_CORE_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/error.h"

#define ADDR_TEXT_MAX 128

struct addr {
    struct sockaddr_storage sa;
    socklen_t size; /* 0 = no address */
};

/* Parses a numeric address. port_default is used where text names no port; 0 = one is required. A
 * port of 0 that is written out is taken: callers decide. A bare number is a port of 127.0.0.1.
 * `what` names the option in an error. -EINVAL with a sentence, and out untouched. */
int addr_parse(const char *text, uint16_t port_default, const char *what, struct addr *out,
               struct lab_error *err);

/* Writes the form that addr_parse reads; returns out. out has room for ADDR_TEXT_MAX. */
const char *addr_format(const struct addr *addr, char *out);

uint16_t addr_port(const struct addr *addr); /* 0 for unix */
bool addr_is_unix(const struct addr *addr);

#endif

/* See addr.h. Strict: dotted quads and RFC 4291 text through inet_pton, no octal, no names. */
#include "core/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define NO_ADDRESS "is not a numeric address"
#define ACCEPTS    "127.0.0.1:8888, [::1]:8888, :8888, localhost:8888, unix:/path or unix:@name"

static const char unix_prefix[] = "unix:";

static int addr_fail(const char *what, const char *text, const char *why, struct lab_error *err)
{
    return lab_fail(err, EINVAL, "%s: '%.120s' %s; give an address such as " ACCEPTS, what, text,
                    why);
}

/* All of text is digits; -EINVAL if it is no port. */
static int port_read(const char *text, uint16_t *port)
{
    unsigned value = 0;

    if (*text == '\0')
        return -EINVAL;
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text))
            return -EINVAL;
        value = value * 10 + (unsigned)(*text - '0');
        if (value > UINT16_MAX)
            return -EINVAL;
    }
    *port = (uint16_t)value;
    return 0;
}

static int unix_read(const char *text, const char *path, const char *what, struct addr *out,
                     struct lab_error *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool abstract = path[0] == '@';
    size_t length = strlen(path);

    if (length < 1u + abstract)
        return addr_fail(what, text, "has no path", err);
    /* A path keeps its NUL; an abstract name's NUL stands in the place of the @. */
    if (length > sizeof(un.sun_path) - !abstract)
        return addr_fail(what, text, "is too long: a path has 107 bytes at most", err);
    memcpy(un.sun_path, path, length);
    if (abstract)
        un.sun_path[0] = '\0';
    *out = (struct addr){
        .size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract)};
    memcpy(&out->sa, &un, sizeof(un));
    return 0;
}

static bool ipv4_read(const char *host, uint16_t port, struct addr *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (*host == '\0' || strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return false;
    *out = (struct addr){.size = sizeof(in)};
    memcpy(&out->sa, &in, sizeof(in));
    return true;
}

/* What follows the % of fe80::1%eth0 or fe80::1%2; NULL, or what is wrong with it. A number is not
 * looked up: it may be one of another host. */
static const char *scope_read(const char *text, uint32_t *scope)
{
    unsigned long number;

    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0') {
        *scope = if_nametoindex(text);
        return *scope != 0 ? NULL : "has a scope that is no interface here (`ip link` lists them)";
    }
    errno = 0;
    number = strtoul(text, NULL, 10);
    if (errno != 0 || number > UINT32_MAX)
        return "has a scope that is no number of an interface";
    *scope = (uint32_t)number;
    return number != 0 ? NULL : "has a scope that is no number of an interface";
}

/* NULL, or what is wrong with it. */
static const char *ipv6_read(const char *host, uint16_t port, struct addr *out)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    char number[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    const char *why = NULL;

    if (length >= sizeof(number))
        return NO_ADDRESS;
    memcpy(number, host, length);
    number[length] = '\0';
    if (inet_pton(AF_INET6, number, &in6.sin6_addr) != 1)
        return NO_ADDRESS;
    if (host[length] == '%')
        why = scope_read(host + length + 1, &in6.sin6_scope_id);
    else if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr))
        why = "is link-local: say on which interface, as in [fe80::1%eth0]:8888";
    if (why != NULL)
        return why;
    *out = (struct addr){.size = sizeof(in6)};
    memcpy(&out->sa, &in6, sizeof(in6));
    return NULL;
}

/* Where the host and port of text are: host is copied, port is NULL if there is none. */
static int host_split(const char *text, char *host, size_t host_size, bool *bracketed,
                      const char **port)
{
    const char *start = text, *end, *colon = strrchr(text, ':');

    *bracketed = text[0] == '[';
    if (*bracketed) {
        start = text + 1;
        end = strchr(start, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return -EINVAL;
        *port = end[1] == ':' ? end + 2 : NULL;
    } else if (colon == NULL || strchr(text, ':') != colon) {
        /* No colon, or several: IPv6 without brackets names no port. */
        end = text + strlen(text);
        *port = NULL;
    } else {
        end = colon;
        *port = colon + 1;
    }
    if ((size_t)(end - start) >= host_size)
        return -EINVAL;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    return 0;
}

int addr_parse(const char *text, uint16_t port_default, const char *what, struct addr *out,
               struct lab_error *err)
{
    char host[ADDR_TEXT_MAX];
    const char *port_text, *why;
    uint16_t port = port_default;
    bool bracketed;

    if (strncmp(text, unix_prefix, sizeof(unix_prefix) - 1) == 0)
        return unix_read(text, text + sizeof(unix_prefix) - 1, what, out, err);
    if (*text == '\0')
        return addr_fail(what, text, "is empty", err);
    if (strstr(text, "://") != NULL)
        return addr_fail(what, text, "is a URL: only its host and port are wanted", err);
    if (text[strspn(text, "0123456789")] == '\0') { /* a bare port */
        if (port_read(text, &port) < 0)
            return addr_fail(what, text, "is no port: 0 to 65535", err);
        ipv4_read("", port, out);
        return 0;
    }
    if (host_split(text, host, sizeof(host), &bracketed, &port_text) < 0)
        return addr_fail(what, text, "is not an address", err);
    if (port_text != NULL && port_read(port_text, &port) < 0)
        return addr_fail(what, text, "has no valid port: 0 to 65535", err);
    if (port_text == NULL && port_default == 0)
        return addr_fail(what, text, "names no port", err);
    if (bracketed || strchr(host, ':') != NULL)
        why = ipv6_read(host, port, out);
    else
        why = ipv4_read(host, port, out) ? NULL : NO_ADDRESS;
    return why == NULL ? 0 : addr_fail(what, text, why, err);
}

static void unix_format(const struct addr *addr, char *out)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&addr->sa;
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t length = addr->size > head ? addr->size - head : 0;
    char *at = stpcpy(out, unix_prefix);

    if (length > sizeof(un->sun_path))
        length = sizeof(un->sun_path);
    /* Names from a peer may hold any byte; a path ends at its NUL. */
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)un->sun_path[i];

        if (byte == '\0' && i > 0 && un->sun_path[0] != '\0')
            break;
        *at++ = byte == '\0' && i == 0 ? '@' : isprint(byte) ? (char)byte : '?';
    }
    *at = '\0';
}

const char *addr_format(const struct addr *addr, char *out)
{
    char host[INET6_ADDRSTRLEN] = "";

    out[0] = '\0';
    if (addr->size == 0)
        return out;
    if (addr->sa.ss_family == AF_UNIX) {
        unix_format(addr, out);
    } else if (addr->sa.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&addr->sa;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(out, ADDR_TEXT_MAX, "%s:%u", host, ntohs(in->sin_port));
    } else if (addr->sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr->sa;
        char scope[16] = "";

        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        if (in6->sin6_scope_id != 0)
            snprintf(scope, sizeof(scope), "%%%u", in6->sin6_scope_id);
        snprintf(out, ADDR_TEXT_MAX, "[%s%s]:%u", host, scope, ntohs(in6->sin6_port));
    }
    return out;
}

uint16_t addr_port(const struct addr *addr)
{
    if (addr->size != 0 && addr->sa.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&addr->sa)->sin_port);
    if (addr->size != 0 && addr->sa.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&addr->sa)->sin6_port);
    return 0;
}

bool addr_is_unix(const struct addr *addr)
{
    return addr->size != 0 && addr->sa.ss_family == AF_UNIX;
}

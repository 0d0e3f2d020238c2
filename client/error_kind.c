/* See error_kind.h; docs/reading-the-table.md explains each. */
#include "client/error_kind.h"

#include <errno.h>

const char *error_kind(int err, bool connecting, const char **advice)
{
    *advice = "";
    switch (err) {
    case ECONNREFUSED: *advice = ": is the server running there?"; return "connect-refused";
    case EADDRNOTAVAIL:
        *advice = ": local ports ran dry (TIME_WAIT); spread them with --local-addrs, or close "
                  "with --close rst or --close server";
        return "ports-exhausted";
    case EMFILE:
    case ENFILE: *advice = ": raise the limit of file descriptors (ulimit -n)"; return "fd-limit";
    case ENETUNREACH:
    case EHOSTUNREACH: *advice = ": no route to that address"; return "unreachable";
    case ETIMEDOUT: return connecting ? "connect-timeout" : "timeout";
    case ECONNRESET:
    case EPIPE: *advice = ": the server closed it hard"; return "reset";
    case EBADMSG: *advice = ": the answer differs from what was sent"; return "wrong-content";
    case EPROTO:
        *advice = ": the server sent more than, or other than, it was asked for";
        return "protocol";
    case ESHUTDOWN: *advice = ": the server goes away"; return "goaway";
    default: return connecting ? "connect-failed" : "failed";
    }
}

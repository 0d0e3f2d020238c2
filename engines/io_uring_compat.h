/*
 * What newer kernels know and liburing 2.3's headers (kernel headers of 6.1) do not. Each is
 * asked of the kernel before it is used, so a name here promises nothing. Enumerators and structs
 * cannot be tested for by the preprocessor: these carry a name of our own.
 */
#ifndef LAB_ENGINES_IO_URING_COMPAT_H
#define LAB_ENGINES_IO_URING_COMPAT_H

#include <liburing.h>
#include <stdint.h>

/* Linux 6.10: one receive fills several buffers of the ring. */
#ifndef IORING_RECVSEND_BUNDLE
#define IORING_RECVSEND_BUNDLE (1U << 4)
#endif
#ifndef IORING_FEAT_RECVSEND_BUNDLE
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)
#endif

/* Linux 6.2: a zero-copy send's notification says whether it was one. */
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#endif
#ifndef IORING_NOTIF_USAGE_ZC_COPIED
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

/* Linux 6.12: the time-out of a wait is a moment, not a length of time. */
#ifndef IORING_ENTER_ABS_TIMER
#define IORING_ENTER_ABS_TIMER (1U << 5)
#endif

/* Linux 6.6, used by newer liburing of its own accord: the submission queue has no index array. */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

/* Linux 6.9: busy polling of the NAPI instances behind the ring's sockets. */
#define URING_REGISTER_NAPI 27

struct uring_napi {
    uint32_t busy_poll_us;
    uint8_t prefer_busy_poll;
    uint8_t opcode;
    uint8_t pad[2];
    uint32_t op_param;
    uint32_t reserved;
};

#endif

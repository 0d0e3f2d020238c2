/* What lwIP asks of a compiler and a system, for -Dlwip_src: GCC or clang, and Linux. */
#ifndef LAB_ENGINES_DPDK_LWIP_ARCH_CC_H
#define LAB_ENGINES_DPDK_LWIP_ARCH_CC_H

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/types.h>

#ifndef BYTE_ORDER
#define BYTE_ORDER __BYTE_ORDER
#endif
#define LWIP_TIMEVAL_PRIVATE  0
#define LWIP_ERRNO_STDINCLUDE 1
#define LWIP_RAND()           ((u32_t)rand())

/* An instruction each, where the library would call a function. */
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define lwip_htons(x) __builtin_bswap16((u16_t)(x))
#define lwip_htonl(x) __builtin_bswap32((u32_t)(x))
#else
#define lwip_htons(x) ((u16_t)(x))
#define lwip_htonl(x) ((u32_t)(x))
#endif
#define lwip_ntohs(x) lwip_htons(x)
#define lwip_ntohl(x) lwip_htonl(x)

#define LWIP_PLATFORM_ASSERT(what) __assert_fail(what, __FILE__, __LINE__, __func__)
#ifdef LWIP_NOASSERT_ON_ERROR
#define LWIP_ERROR(message, expression, handler)                                                   \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            handler;                                                                               \
        }                                                                                          \
    } while (0)
#endif

typedef unsigned int sys_prot_t;

#endif

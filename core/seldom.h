/*
 * How what every op goes through is kept short: what is seldom needed of it is a function of its
 * own that is never inlined, so that the rest need not save registers for it.
 */
#ifndef LAB_CORE_SELDOM_H
#define LAB_CORE_SELDOM_H

#define SELDOM  __attribute__((noinline))
#define INLINED __attribute__((always_inline)) inline

#endif

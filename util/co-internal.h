/* SPDX-License-Identifier: MIT
 * util/co-internal.h - between co.c (who runs when) and co-stack.c (how to switch).
 */
#ifndef UTIL_CO_INTERNAL_H
#define UTIL_CO_INTERNAL_H

#include "rhea/util/co.h"

#include <stdint.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define CO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CO_TSAN 1
#endif
#endif
#ifdef CO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

typedef struct CoStack {
    uint8_t *base; /* lowest byte that may be used */
    size_t size, guard;
    void *sp;           /* while switched away, by assembly */
    ucontext_t context; /* the same, by the C library */
    void *asan_fake, *tsan;
    struct CoStack *next; /* in the pool */
} CoStack;

CoStack *co_stack_get(void);
void co_stack_put(CoStack *s);
void co_stack_prepare(CoStack *s);
void co_stack_init_thread(CoStack *s);
void co_stack_switch(CoStack *from, CoStack *to, bool from_ends);
void co_stack_arrived(CoStack *s);

/* co.c: the first function on a new stack; never returns. */
void co_entry(void);

#endif

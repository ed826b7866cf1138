/* SPDX-License-Identifier: MIT
 * util/co-stack.c - stacks of coroutines, and switching between them.
 *
 * Models: the x86-64 System V ABI's callee-saved registers (section 3.2.1) in co_switch_asm; anywhere
 *         else, and when the process runs with a shadow stack (Intel CET: `ret` must go where `call` came
 *         from, which only the C library's context functions arrange), swapcontext(). A page without
 *         access below each stack turns an overflow into a fault. Stacks of ended coroutines are kept by
 *         their thread. AddressSanitizer and ThreadSanitizer are told of each switch.
 * Threads: any; a stack belongs to the thread that runs it.
 */
#include "co-internal.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
#ifdef CO_ASAN
    STACK_BYTES = 1024 * 1024, /* red zones make frames several times larger */
#else
    STACK_BYTES = 256 * 1024,  /* only touched pages cost memory */
#endif
    POOL_MAX = 64
};

#if defined(__x86_64__)
#define HAVE_ASM 1
/* void co_switch_asm(void **save_sp, void *load_sp): the saved image is r15 r14 r13 r12 rbx rbp rip. */
__asm__(".text\n"
        ".p2align 4\n"
        ".type co_switch_asm, @function\n"
        "co_switch_asm:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size co_switch_asm, . - co_switch_asm\n");
void co_switch_asm(void **save_sp, void *load_sp);

/* The shadow-stack pointer; stays 0 on CPUs and in processes without one, where RDSSP is a NOP. */
static bool shadow_stack_active(void)
{
    uint64_t ssp = 0;
    __asm__ volatile("rdsspq %0" : "+r"(ssp));
    return ssp != 0;
}
#else
#define HAVE_ASM 0
#endif

static enum { SWITCH_UNKNOWN, SWITCH_ASM, SWITCH_UCONTEXT } switch_kind; /* atomic; set once */

void co_force_switch(const char *name)
{
    int kind = !name ? SWITCH_UNKNOWN : strcmp(name, "asm") == 0 ? SWITCH_ASM : SWITCH_UCONTEXT;
    g_assert(kind != SWITCH_ASM || HAVE_ASM);
    __atomic_store_n(&switch_kind, kind, __ATOMIC_RELAXED);
}

static bool use_asm(void)
{
    int kind = __atomic_load_n(&switch_kind, __ATOMIC_RELAXED);
    if (kind == SWITCH_UNKNOWN) {
        kind = SWITCH_UCONTEXT;
#if HAVE_ASM
        kind = shadow_stack_active() ? SWITCH_UCONTEXT : SWITCH_ASM;
#endif
        __atomic_store_n(&switch_kind, kind, __ATOMIC_RELAXED);
    }
    return kind == SWITCH_ASM;
}

const char *co_switch_name(void)
{
    return use_asm() ? "asm" : "ucontext";
}

/* Stacks that wait for their next coroutine: a thread's own, unmapped when it ends. */
typedef struct StackPool {
    CoStack *first;
    unsigned n;
} StackPool;
static pthread_key_t pool_key;
static pthread_once_t pool_once = PTHREAD_ONCE_INIT;

static void stack_unmap(CoStack *s)
{
    munmap(s->base - s->guard, STACK_BYTES + s->guard);
    g_free(s);
}

static void pool_free(void *opaque)
{
    StackPool *p = opaque;
    while (p->first) {
        CoStack *s = p->first;
        p->first = s->next;
        stack_unmap(s);
    }
    g_free(p);
}

static void pool_setup(void)
{
    pthread_key_create(&pool_key, pool_free);
}

static StackPool *pool_get(void)
{
    pthread_once(&pool_once, pool_setup);
    StackPool *p = pthread_getspecific(pool_key);
    if (!p) {
        p = g_new0(StackPool, 1);
        pthread_setspecific(pool_key, p);
    }
    return p;
}

/* A fiber for each coroutine, not for each stack: the sanitizer counts the frames that never returned, and
 * 65,536 are too many. */
static void tsan_begin(CoStack *s G_GNUC_UNUSED)
{
#ifdef CO_TSAN
    s->tsan = __tsan_create_fiber(0);
#endif
}

CoStack *co_stack_get(void)
{
    StackPool *p = pool_get();
    CoStack *s = p->first;
    if (s) {
        p->first = s->next;
        p->n--;
        tsan_begin(s);
        return s;
    }
    s = g_new0(CoStack, 1);
    s->guard = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map = mmap(NULL, STACK_BYTES + s->guard, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (map == MAP_FAILED || mprotect(map, s->guard, PROT_NONE) < 0) {
        g_error("no memory for a coroutine's stack");
    }
    s->base = map + s->guard;
    s->size = STACK_BYTES;
    tsan_begin(s);
    return s;
}

void co_stack_put(CoStack *s)
{
    StackPool *p = pool_get();
#ifdef CO_ASAN
    __asan_unpoison_memory_region(s->base, s->size); /* frames that never returned */
#endif
#ifdef CO_TSAN
    __tsan_destroy_fiber(s->tsan);
#endif
    if (p->n >= POOL_MAX) {
        stack_unmap(s);
        return;
    }
    s->next = p->first;
    p->first = s;
    p->n++;
}

#if HAVE_ASM
static void stack_entry_asm(void)
{
    co_entry();
    __builtin_unreachable();
}
#endif

/* Prepares the stack so that the first switch to it calls co_entry(). */
void co_stack_prepare(CoStack *s)
{
    s->asan_fake = NULL;
#if HAVE_ASM
    if (use_asm()) {
        uint64_t *sp = (uint64_t *)(s->base + s->size);
        *--sp = 0; /* the ABI: at a function's entry rsp + 8 is a multiple of 16; backtraces end here */
        *--sp = (uintptr_t)stack_entry_asm;
        for (int i = 0; i < 6; i++) {
            *--sp = 0;
        }
        s->sp = sp;
        return;
    }
#endif
    getcontext(&s->context);
    s->context.uc_stack.ss_sp = s->base;
    s->context.uc_stack.ss_size = s->size;
    s->context.uc_link = NULL;
    makecontext(&s->context, co_entry, 0);
}

void co_stack_switch(CoStack *from, CoStack *to, bool from_ends)
{
#ifdef CO_ASAN
    __sanitizer_start_switch_fiber(from_ends ? NULL : &from->asan_fake, to->base, to->size);
#endif
#ifdef CO_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
#if HAVE_ASM
    if (use_asm()) {
        co_switch_asm(&from->sp, to->sp);
    } else
#endif
    {
        swapcontext(&from->context, &to->context);
    }
    co_stack_arrived(from);
}

/* On a stack again, or for the first time (then `s` is the new one). */
void co_stack_arrived(CoStack *s)
{
#ifdef CO_ASAN
    __sanitizer_finish_switch_fiber(s->asan_fake, NULL, NULL);
#endif
}

/* A thread's own stack as a place to come back to. */
void co_stack_init_thread(CoStack *s)
{
#ifdef CO_ASAN
    pthread_attr_t attr;
    void *base;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &base, &s->size);
        pthread_attr_destroy(&attr);
        s->base = base;
    }
#endif
#ifdef CO_TSAN
    s->tsan = __tsan_get_current_fiber();
#endif
}

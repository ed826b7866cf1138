/* SPDX-License-Identifier: MIT
 * mem.c - memory workloads: tables, pointer chases, the C library's string functions, atomics
 */
#include "bench.h"

#include <string.h>

#define SLOTS 65536u

static uint64_t run_hash(uint64_t n)
{
    static uint64_t keys[SLOTS], values[SLOTS];
    uint64_t s = 41, sum = 0;
    memset(keys, 0, sizeof(keys));
    for (uint64_t i = 0; i < n; i++) {
        uint64_t key = bench_random(&s) % 40000u + 1;
        unsigned at = (unsigned)(key * 0x9e3779b97f4a7c15u >> 48);
        while (keys[at] && keys[at] != key) {
            at = (at + 1) % SLOTS;
        }
        values[at] = keys[at] ? values[at] + i : i;
        keys[at] = key;
        sum += values[at];
    }
    return sum;
}

/* One cycle through all cache lines in random order (Sattolo): every load waits for the one before. */
static uint32_t *chain;

static void prepare_chain(size_t bytes)
{
    size_t lines = bytes / 64;
    uint64_t s = 7;
    chain = bench_alloc(bytes);
    for (size_t i = 0; i < lines; i++) {
        chain[i * 16] = (uint32_t)i;
    }
    for (size_t i = lines - 1; i > 0; i--) {
        size_t k = bench_random(&s) % i;
        uint32_t t = chain[i * 16];
        chain[i * 16] = chain[k * 16];
        chain[k * 16] = t;
    }
}

static void prepare_small_chain(void)
{
    prepare_chain(256 << 10);
}

static void prepare_large_chain(void)
{
    prepare_chain(32 << 20);
}

static uint64_t run_chase(uint64_t n)
{
    uint32_t at = 0;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        at = chain[(size_t)at * 16];
        sum += at;
    }
    return sum;
}

static uint8_t *area;

static void prepare_area(void)
{
    area = bench_alloc(64 << 20);
    for (size_t i = 0; i < 64 << 20; i += 4096) {
        area[i] = (uint8_t)(i >> 12);
    }
}

/* One access per page over 64 MB: more pages than any TLB holds. */
static uint64_t run_pages(uint64_t n)
{
    uint64_t sum = 0, at = 0;
    for (uint64_t i = 0; i < n; i++) {
        at = (at + 4096u * 4099u) & ((64u << 20) - 1);
        sum += area[at];
        area[at + 8] = (uint8_t)i;
    }
    return sum;
}

static void prepare_strings(void)
{
    area = bench_alloc(1 << 20);
    memset(area, 'x', 1 << 20);
    for (size_t i = 0; i < 1 << 20; i += 256) {
        area[i + 16 + i / 256 % 230] = 0;
    }
    for (size_t i = 1 << 19; i < 1 << 20; i += 65536) {
        area[i + 65535] = 'q';
    }
}

static uint64_t run_strings(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        const char *a = (const char *)area + (i & 1023) * 256, *b = (const char *)area + (i * 7 & 1023) * 256;
        sum += strlen(a + (i & 7));
        sum += (uint64_t)(strcmp(a, b) > 0);
        const char *m = memchr(a, 0, 512);
        sum += (uint64_t)(m - a);
        sum += strchr(a, 'q') ? 3 : 1;
        sum += (uint64_t)(memcmp(a, b, 24 + (i & 63)) < 0);
    }
    return sum;
}

/* The C library's own copies: the call goes through its dispatch, as in any program. */
static void *(*volatile do_copy)(void *, const void *, size_t) = memcpy;
static void *(*volatile do_move)(void *, const void *, size_t) = memmove;
static void *(*volatile do_set)(void *, int, size_t) = memset;

static uint64_t run_copy_small(uint64_t n)
{
    uint64_t s = 23;
    static uint8_t buf[8192];
    memset(buf, 1, sizeof(buf));
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = bench_random(&s);
        do_copy(buf + (v & 1023), buf + 4096 + (v >> 10 & 1023), v >> 20 & 63);
        do_set(buf + 4096 + (v >> 30 & 1023), (int)(v >> 40), v >> 50 & 63);
        do_move(buf + 2048 + (v >> 40 & 63), buf + 2048 + (v >> 34 & 63), v >> 58);
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(buf); i++) {
        sum = bench_mix(sum, buf[i]);
    }
    return sum;
}

static uint64_t run_copy_large(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        do_set(area + (i & 15), (int)i, 256 << 10);
        do_copy(area + (512 << 10) + (i & 31), area, 256 << 10);
        sum += area[(512 << 10) + 100 + i % 1000];
    }
    return sum;
}

/* REP string instructions spelled out. */
static uint64_t run_rep(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *d = area;
        const void *s;
        uint64_t c = 512, v = i * 0x0101010101010101u;
        __asm__ volatile("rep stosq" : "+D"(d), "+c"(c) : "a"(v) : "memory");
        d = area + 8192 + (i & 7);
        s = area;
        c = 4096;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c) : : "memory");
        d = area + 8192;
        area[8192 + 200 + (i & 127)] = (uint8_t)~i;
        c = 4096;
        __asm__ volatile("repne scasb" : "+D"(d), "+c"(c) : "a"(~i) : "memory", "cc");
        sum += c;
        s = area;
        d = area + 8192 + (i & 7);
        c = 200;
        __asm__ volatile("repe cmpsb" : "+D"(d), "+S"(s), "+c"(c) : : "memory", "cc");
        sum += c + area[8192 + i % 300];
    }
    return sum;
}

/* Accesses that cross lines and pages. */
static uint64_t run_unaligned(uint64_t n)
{
    uint64_t sum = 0;
    memset(area, 0, 16384);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v;
        uint8_t *p = area + (i * 61 & 8191) + 1;
        memcpy(&v, p, 8);
        sum += v ^ i;
        memcpy(p + 4090, &sum, 8);
    }
    return sum;
}

static uint64_t run_atomics(uint64_t n)
{
    static uint64_t a, b, c;
    static uint32_t d;
    static uint8_t e;
    a = b = c = d = e = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t old = __atomic_fetch_add(&a, i, __ATOMIC_SEQ_CST);
        uint64_t expected = old & 1 ? b : b + 1;
        __atomic_compare_exchange_n(&b, &expected, old, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        c += __atomic_exchange_n(&d, (uint32_t)old, __ATOMIC_SEQ_CST);
        __atomic_or_fetch(&c, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&e, 1, __ATOMIC_SEQ_CST);
    }
    return bench_mix(bench_mix(a, b), bench_mix(c, d + e));
}

/* Push, pop and stores that the next load reads at once. */
static uint64_t run_stack(uint64_t n)
{
    uint64_t a = 1, b = 2, c = 3;
    for (uint64_t i = 0; i < n; i++) {
        __asm__ volatile("subq $128, %%rsp\n\t" /* past the red zone */
                         "pushq %0\n\tpushq %1\n\tpushq %2\n\tpopq %0\n\tpopq %2\n\tpopq %1\n\t"
                         "movq %0, 8(%%rsp)\n\taddl %k1, 8(%%rsp)\n\tmovq 8(%%rsp), %0\n\t"
                         "addq $128, %%rsp" : "+r"(a), "+r"(b), "+r"(c) : : "memory", "cc");
        a += i;
    }
    return bench_mix(a, bench_mix(b, c));
}

const Workload bench_mem[] = {
    {"hash", 300000, run_hash, NULL, 0},
    {"chase-256k", 1000000, run_chase, prepare_small_chain, 0},
    {"chase-32m", 300000, run_chase, prepare_large_chain, 0},
    {"pages", 500000, run_pages, prepare_area, 0},
    {"strings", 100000, run_strings, prepare_strings, 0},
    {"copy-small", 300000, run_copy_small, NULL, 0},
    {"copy-large", 500, run_copy_large, prepare_strings, 0},
    {"rep", 2000, run_rep, prepare_strings, 0},
    {"unaligned", 3000000, run_unaligned, prepare_strings, 0},
    {"atomics", 300000, run_atomics, NULL, 0},
    {"stack", 1000000, run_stack, NULL, 0},
    {0},
};

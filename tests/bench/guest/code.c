/* SPDX-License-Identifier: MIT
 * code.c - workloads on code itself: code that changes, code that runs once, very much code
 *
 * The functions are written as bytes: encodings of the Intel SDM, volume 2, with their meaning beside.
 */
#include "bench.h"

#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>

typedef uint64_t (*Function)(uint64_t v);

static uint8_t *code;

static void prepare_code(size_t size)
{
    code = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (code == MAP_FAILED) {
        bench_die("mmap of executable memory");
    }
}

static void prepare_page(void)
{
    prepare_code(8192);
}

static Function function_at(size_t offset)
{
    Function f;
    uint8_t *p = code + offset;
    memcpy(&f, &p, sizeof(f));
    return f;
}

#define SLOT 64
#define ADD_IMM 4
#define IMUL_IMM 11
#define TEST_IMM 16

/* A function of 40 bytes with a branch, different for each seed. */
static void emit(uint8_t *at, uint64_t seed)
{
    static const uint8_t image[] = {
        0x48, 0x89, 0xf8,                         /* mov rax, rdi */
        0x05, 0, 0, 0, 0,                         /* add eax, imm32 */
        0x48, 0x69, 0xc0, 0, 0, 0, 0,             /* imul rax, rax, imm32 */
        0xa9, 0, 0, 0, 0,                         /* test eax, imm32 */
        0x74, 0x07,                               /* je over the next */
        0x48, 0xc1, 0xc8, 0x0d,                   /* ror rax, 13 */
        0x48, 0xff, 0xc0,                         /* inc rax */
        0x48, 0x31, 0xf8,                         /* xor rax, rdi */
        0x48, 0x89, 0xc2,                         /* mov rdx, rax */
        0x48, 0xc1, 0xea, 0x11,                   /* shr rdx, 17 */
        0x48, 0x01, 0xd0,                         /* add rax, rdx */
        0xc3,                                     /* ret */
    };
    memcpy(at, image, sizeof(image));
    uint32_t a = (uint32_t)seed, b = (uint32_t)(seed >> 20) | 1, c = 1u << (seed >> 58 & 31);
    memcpy(at + ADD_IMM, &a, 4);
    memcpy(at + IMUL_IMM, &b, 4);
    memcpy(at + TEST_IMM, &c, 4);
}

/* One function whose constant changes before every call. */
static uint64_t run_smc(uint64_t n)
{
    uint64_t v = 1;
    emit(code, 12345);
    for (uint64_t i = 0; i < n; i++) {
        uint32_t imm = (uint32_t)i * 3;
        memcpy(code + ADD_IMM, &imm, 4);
        v = function_at(0)(v);
    }
    return v;
}

/* A patched function with a loop of its own, as a just-in-time compiler makes it. */
static uint64_t run_smc_loop(uint64_t n)
{
    static const uint8_t image[] = {
        0x48, 0x89, 0xf8,                   /* mov rax, rdi */
        0xb9, 0x40, 0, 0, 0,                /* mov ecx, 64 */
        0x48, 0x69, 0xc0, 0x35, 0, 0, 0,    /* 1: imul rax, rax, imm32 */
        0x48, 0x01, 0xc8,                   /* add rax, rcx */
        0xff, 0xc9,                         /* dec ecx */
        0x75, 0xf2,                         /* jnz 1b */
        0xc3,                               /* ret */
    };
    uint64_t v = 1;
    memcpy(code, image, sizeof(image));
    for (uint64_t i = 0; i < n; i++) {
        code[11] = (uint8_t)(i << 1 & 0x7e) | 1;
        v = function_at(0)(v);
    }
    return v;
}

/* Data in the page of the code that writes it: no code changes. */
static uint64_t run_code_data(uint64_t n)
{
    static const uint8_t image[] = {
        0x48, 0x8d, 0x05, 0xf9, 0x07, 0, 0, /* lea rax, [rip + 0x7f9]: 0x800 in this page */
        0x48, 0x01, 0x38,                   /* add [rax], rdi */
        0x48, 0x8b, 0x00,                   /* mov rax, [rax] */
        0xc3,                               /* ret */
    };
    uint64_t v = 1;
    memcpy(code, image, sizeof(image));
    memset(code + 0x800, 0, 8);
    for (uint64_t i = 0; i < n; i++) {
        v ^= function_at(0)(i + (v & 0xff));
    }
    return v;
}

#define COLD 1024

static void prepare_cold(void)
{
    prepare_code(COLD * SLOT);
}

/* Every function is written, runs once, and is overwritten by another one. */
static uint64_t run_cold(uint64_t n)
{
    uint64_t v = 1, s = 19;
    for (uint64_t i = 0; i < n; i++) {
        if (i % COLD == 0) {
            for (size_t k = 0; k < COLD; k++) {
                emit(code + k * SLOT, bench_random(&s));
            }
        }
        v = function_at(i % COLD * SLOT)(v);
    }
    return v;
}

/* Written once per 50 calls. */
static uint64_t run_jit(uint64_t n)
{
    uint64_t v = 1, s = 29;
    for (uint64_t i = 0; i < n; i++) {
        emit(code + i % COLD * SLOT, bench_random(&s));
        for (int k = 0; k < 50; k++) {
            v = function_at(i % COLD * SLOT)(v);
        }
    }
    return v;
}

#define MANY 16384

static void prepare_many(void)
{
    uint64_t s = 37;
    prepare_code(MANY * SLOT);
    for (size_t k = 0; k < MANY; k++) {
        emit(code + k * SLOT, bench_random(&s));
    }
}

/* A megabyte of code, entered in random order: what looks up translations is measured here. */
static uint64_t run_many(uint64_t n)
{
    uint64_t v = 1, s = 43;
    for (uint64_t i = 0; i < n; i++) {
        v = function_at(bench_random(&s) % MANY * SLOT)(v);
    }
    return v;
}

static jmp_buf target;

static __attribute__((noinline)) void descend(unsigned depth, int value)
{
    BENCH_HIDE(depth);
    if (depth == 0) {
        if (value != 0) { /* always */
            longjmp(target, value);
        }
        return;
    }
    descend(depth - 1, value);
    BENCH_HIDE(depth); /* no tail call */
}

/* Calls that never return: predictors of returns go wrong. */
static uint64_t run_longjmp(uint64_t n)
{
    volatile uint64_t sum = 0, i = 0;
    for (i = 0; i < n; i++) {
        int r = setjmp(target);
        if (r == 0) {
            descend((unsigned)(i & 7), (int)(i & 0xff) + 1);
        }
        sum += (uint64_t)r * 3;
    }
    return sum;
}

const Workload bench_code[] = {
    {"smc", 10000, run_smc, prepare_page, 0},
    {"smc-loop", 10000, run_smc_loop, prepare_page, 0},
    {"code-data", 10000, run_code_data, prepare_page, 0},
    {"cold", 30000, run_cold, prepare_cold, 0},
    {"jit", 10000, run_jit, prepare_cold, 0},
    {"many", 500000, run_many, prepare_many, 0},
    {"longjmp", 300000, run_longjmp, NULL, 0},
    {0},
};

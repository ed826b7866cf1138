/* SPDX-License-Identifier: MIT
 * bench.h - workloads of the performance suite: one table entry each
 *
 * A workload is a function that does `n` units of work and returns a sum of all it computed. The sum
 * depends on n only, never on addresses, time or the machine: every engine must give the same one. The
 * program is linked statically and runs natively and in guests without change.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NEED_SSSE3 = 1,
    NEED_AES = 2,
    NEED_AVX2 = 4,
    NEED_PROC = 8, /* starts itself again: the program's own path must be reachable */
    NEED_DISKS = 16, /* overwrites disks: only for a guest whose command line says so */
    NEED_NET = 32, /* a server of the host's, named in the environment */
    NEED_SCREEN = 64, /* draws on the screen: only where the environment says so */
};

typedef struct Workload {
    const char *name;
    uint64_t base;           /* units that take about 10 ms on a CPU of the 2020s */
    uint64_t (*run)(uint64_t n);
    void (*prepare)(void);   /* before the clock starts */
    unsigned needs;
} Workload;

/* Each file's table ends with an entry without a name. */
extern const Workload bench_int[], bench_mem[], bench_float[], bench_code[], bench_os[], bench_disk[], bench_net[],
    bench_draw[];

extern const char *bench_self; /* absolute path of this program */

/* Marsaglia's xorshift64: the same numbers everywhere. */
static inline uint64_t bench_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static inline uint64_t bench_mix(uint64_t sum, uint64_t v)
{
    sum ^= v;
    return sum * 0x9e3779b97f4a7c15u + (sum >> 29);
}

/* Memory that lives until the child process ends; ends it when there is none. */
void *bench_alloc(size_t size);
/* Ends the child, naming what failed: an error of the guest's kernel is not a result. */
void bench_die(const char *what) __attribute__((noreturn));

/* Keeps the compiler from knowing what a value is. */
#define BENCH_HIDE(x) __asm__ volatile("" : "+r"(x))

#endif

/* SPDX-License-Identifier: MIT
 * tests/cpu/cpuharness.h - one x86 CPU of the interpreter, RAM at 0, no devices: runs exactly n instructions and says
 * what happened.
 * Threads: main.
 */
#ifndef TESTS_CPU_CPUHARNESS_H
#define TESTS_CPU_CPUHARNESS_H

#include "rhea/accel/tcg.h"
#include "rhea/system/machine.h"
#include "rhea/target/x86/cpu.h"

typedef enum CpuMode {
    CH_REAL,  /* real mode, all segments 0 */
    CH_PROT16, CH_PROT32, /* CPL 0, no paging, flat */
    CH_LONG64, /* CPL 0, identity-mapped by 2 MiB user pages; the tables are the last 16 KiB of RAM */
} CpuMode;

typedef struct CpuHarness {
    Loop *loop;
    Machine *m;
    X86Cpu *cpu;
    uint8_t *ram;
    uint64_t ram_size;
} CpuHarness;

typedef struct CpuResult {
    int vector;       /* exception raised by the last instruction, -1: none */
    uint32_t err;
    uint64_t cr2;
    uint64_t insns;   /* retired */
    ExitReason why;   /* EXIT_DEBUG: all n done, or an exception */
} CpuResult;

/* ram_size: a multiple of 2 MiB, at most 1 GiB. model: as -cpu, NULL for "max". */
CpuHarness *ch_new(uint64_t ram_size, const char *model);
void ch_free(CpuHarness *h);
/* A CPU fresh from reset, put into the mode; RSP 0x8000, RIP 0x10000 (real mode: 0x1000). RAM is kept but for the tables. */
void ch_mode(CpuHarness *h, CpuMode mode);
void ch_user(CpuHarness *h); /* CPL 3, after ch_mode(); not in real mode */
/* Writes RAM as a device would: decoded code is dropped. */
void ch_load(CpuHarness *h, uint64_t addr, const void *bytes, size_t n);
/* At most n instructions from cpu->rip. Exceptions are reported, not delivered: RIP is then as the handler would see it. */
CpuResult ch_run(CpuHarness *h, uint64_t n);
/* Without the limit of one instruction a unit: until HLT, a triple fault or a kick. Exceptions are delivered when `deliver`. */
CpuResult ch_go(CpuHarness *h, bool deliver);

#endif

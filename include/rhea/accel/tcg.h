/* SPDX-License-Identifier: MIT
 * rhea/accel/tcg.h - what software acceleration asks of a guest architecture (TargetOps.tcg).
 *
 * The accelerator owns threads, options and statistics; the target owns decoding, units and the run loop.
 */
#ifndef RHEA_ACCEL_TCG_H
#define RHEA_ACCEL_TCG_H

#include "rhea/system/accel.h"

/* What another thread asks a vCPU to drop. */
enum {
    TCG_FLUSH_TLB = 1,   /* cached translations of addresses: the memory map or its write tracking changed */
    TCG_RECHECK_WRITES = 4, /* the right to write RAM unseen: somebody watches more pages now */
    TCG_FLUSH_UNITS = 2, /* decoded units as well: host memory they came from may go away */
};

typedef struct TcgStats {
    uint64_t insns, units_made, units_live, unit_bytes, units_entered_slow, unit_flushes;
    uint64_t invalidations, write_checks, tlb_fills, tlb_flushes, page_flushes, slow_loads, slow_stores;
    uint64_t l2_hits, walks, walk_hits, generations;
} TcgStats;

typedef struct TcgTargetOps {
    bool (*vcpu_init)(Vcpu *cpu, Error **errp);
    void (*vcpu_fini)(Vcpu *cpu);
    VcpuExit (*run)(Vcpu *cpu);              /* the vCPU's thread */
    void (*request_flush)(Vcpu *cpu, unsigned what); /* any thread: done before the next unit */
    /* Any thread: [off, off + len) of ram was written and may hold code this vCPU decoded. */
    void (*code_written)(Vcpu *cpu, RamBlock *ram, uint64_t off, uint64_t len);
    uint64_t (*insns)(Vcpu *cpu);            /* AccelOps.insns */
    void (*stats)(Vcpu *cpu, TcgStats *out); /* any thread; approximate while the vCPU runs */
    void (*describe)(Vcpu *cpu, GString *out); /* any thread: the target's own statistics, indented by two */
    bool (*failed)(Vcpu *cpu); /* any thread: the vCPU found an error of its own translator */
} TcgTargetOps;

/* Bytes of translated code that this vCPU may keep; 0: tier 0 alone. */
size_t tcg_code_size(const Vcpu *cpu);
bool tcg_lockstep(const Vcpu *cpu); /* compare tier 1 with tier 0 */
uint32_t tcg_chaos(const Vcpu *cpu); /* seed of forced evictions, exits and flushes; 0: none */
bool tcg_perf_map(const Vcpu *cpu); /* tell perf where translated code lies */

extern const AccelOps accel_tcg_ops;

#endif

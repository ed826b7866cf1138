/* SPDX-License-Identifier: MIT
 * accel/tcg/tcg.c - software acceleration: options, per-vCPU set-up, requests that cross threads, statistics.
 * The work is the target's (rhea/accel/tcg.h); today that is its interpreter, tier 0.
 * Does not model: a code cache; record and replay.
 * Threads: as AccelOps says for each operation.
 */
#include "rhea/accel/tcg.h"
#include "rhea/system/machine.h"

enum { THREAD_AUTO, THREAD_SINGLE, THREAD_MULTI };
static const char *const thread_names[] = { "auto", "single", "multi", NULL };

typedef struct TcgState {
    int thread;
    uint32_t tier;
    uint64_t tb_size; /* MiB */
    bool lockstep;
} TcgState;

static const Prop tcg_props[] = {
    PROP_ENUM(TcgState, thread, "thread", THREAD_AUTO, thread_names, "one host thread per vCPU (multi), or one for all (single)"),
    PROP_U32(TcgState, tier, "tier", 1, 0, 1, "execution tier: 0 interprets, 1 translates to host code"),
    PROP_SIZE(TcgState, tb_size, "tb-size", 64, 1, 2048, "size of the cache for translated code of all vCPUs, in MiB"),
    PROP_BOOL(TcgState, lockstep, "lockstep", false, "run each unit in tier 0 as well and compare (slow)"),
    { .name = NULL },
};

static const TcgTargetOps *tcg_of(const Vcpu *cpu) { return cpu->target->tcg; }

static bool tcg_machine_init(Machine *m, Error **errp)
{
    const TcgState *s = m->accel_state;
    if (m->board->target && !m->board->target->tcg) { /* board "none" has no CPU to run */
        return error_set(errp, "accelerator 'tcg' has no interpreter for guest architecture '%s'", m->board->target->name);
    }
    if (s->thread == THREAD_MULTI && m->icount.on) {
        error_set(errp, "accelerator 'tcg': 'thread=multi' is not possible with -icount, which counts in one thread");
        error_hint(errp, "leave out thread=multi");
        return false;
    }
    m->serial_mode |= s->thread == THREAD_SINGLE;
    return true;
}

size_t tcg_code_size(const Vcpu *cpu)
{
    const TcgState *s = cpu->machine->accel_state;
#ifdef __x86_64__
    return s->tier == 0 ? 0 : MAX((size_t)(s->tb_size << 20) / MAX(cpu->machine->n_cpus, 1u), (size_t)1 << 20);
#else
    (void)s;
    return 0;
#endif
}

bool tcg_lockstep(const Vcpu *cpu)
{
    return ((const TcgState *)cpu->machine->accel_state)->lockstep;
}

static bool tcg_vcpu_init(Vcpu *cpu, Error **errp)
{
    return tcg_of(cpu)->vcpu_init(cpu, errp);
}

static void tcg_vcpu_fini(Vcpu *cpu)
{
    tcg_of(cpu)->vcpu_fini(cpu);
}

static VcpuExit tcg_run(Vcpu *cpu)
{
    return tcg_of(cpu)->run(cpu);
}

/* exit_request is what the run loop polls, and the core has set it. */
static void tcg_kick(Vcpu *cpu)
{
    (void)cpu;
}

static bool view_has_block(const FlatView *v, const RamBlock *ram)
{
    for (uint32_t i = 0; v && i < v->n; i++) {
        if (v->r[i].ram == ram) {
            return true;
        }
    }
    return false;
}

/* Units are keyed by host address: they outlive remapping, but not the memory they came from. */
static void tcg_memory_changed(Machine *m, const FlatView *was, const FlatView *now)
{
    unsigned what = TCG_FLUSH_TLB;
    for (uint32_t i = 0; was && i < was->n; i++) {
        if (was->r[i].ram && !view_has_block(now, was->r[i].ram)) {
            what |= TCG_FLUSH_UNITS;
            break;
        }
    }
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i]) {
            tcg_of(m->cpus[i])->request_flush(m->cpus[i], what);
        }
    }
}

static void tcg_code_written(Machine *m, RamBlock *ram, uint64_t off, uint64_t len)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i]) {
            tcg_of(m->cpus[i])->code_written(m->cpus[i], ram, off, len);
        }
    }
}

/* Pages are watched that vCPUs may hold the right to write to. */
static void tcg_ram_watched(Machine *m, RamBlock *ram)
{
    (void)ram;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i]) {
            tcg_of(m->cpus[i])->request_flush(m->cpus[i], TCG_RECHECK_WRITES);
        }
    }
}

static uint64_t tcg_insns(Vcpu *cpu)
{
    return tcg_of(cpu)->insns(cpu);
}

static void tcg_describe(Machine *m, GString *out)
{
    g_string_append(out, "accelerator tcg, tier 0 (interpreter)\n");
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        TcgStats s;
        if (!m->cpus[i]) {
            continue;
        }
        tcg_of(m->cpus[i])->stats(m->cpus[i], &s);
        g_string_append_printf(out,
                               "vCPU %u:\n  instructions         %" PRIu64 "\n  units decoded        %" PRIu64
                               " (%" PRIu64 " live, %" PRIu64 " KiB)\n  unit lookups         %" PRIu64
                               "\n  unit flushes         %" PRIu64 "\n  code invalidations   %" PRIu64 " of %" PRIu64
                               " watched writes\n",
                               i, s.insns, s.units_made, s.units_live, s.unit_bytes >> 10, s.units_entered_slow, s.unit_flushes,
                               s.invalidations, s.write_checks);
        g_string_append_printf(out,
                               "  TLB fills            %" PRIu64 "\n  TLB flushes          %" PRIu64 " (and %" PRIu64
                               " pages)\n  slow loads, stores   %" PRIu64 ", %" PRIu64 "\n",
                               s.tlb_fills, s.tlb_flushes, s.page_flushes, s.slow_loads, s.slow_stores);
        g_string_append_printf(out,
                               "  of the fills         %" PRIu64 " from the second level, %" PRIu64 " by walks (%" PRIu64
                               " began at a cached table)\n  window fills         %" PRIu64
                               "\n  jump-cache resets    %" PRIu64 "\n",
                               s.l2_hits, s.walks, s.walk_hits, s.window_fills, s.generations);
    }
}

const AccelOps accel_tcg_ops = {
    .name = "tcg",
    .desc = "software acceleration: translates the guest's instructions to the host's",
    .props = tcg_props,
    .state_size = sizeof(TcgState),
    .machine_init = tcg_machine_init,
    .memory_changed = tcg_memory_changed,
    .vcpu_init = tcg_vcpu_init,
    .vcpu_fini = tcg_vcpu_fini,
    .run = tcg_run,
    .kick = tcg_kick,
    .code_written = tcg_code_written,
    .ram_watched = tcg_ram_watched,
    .insns = tcg_insns,
    .describe = tcg_describe,
};

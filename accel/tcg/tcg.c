/* SPDX-License-Identifier: MIT
 * accel/tcg/tcg.c - software acceleration: options, per-vCPU set-up, requests that cross threads, statistics.
 * The work is the target's (rhea/accel/tcg.h): its interpreter, tier 0, and its translator, tier 1.
 * Does not model: record and replay.
 * Threads: as AccelOps says for each operation.
 */
#include "rhea/accel/tcg.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

enum { THREAD_AUTO, THREAD_SINGLE, THREAD_MULTI };
static const char *const thread_names[] = { "auto", "single", "multi", NULL };

typedef struct TcgState {
    int thread;
    uint32_t tier;
    uint64_t tb_size; /* MiB; 0: by the number of vCPUs */
    uint32_t chaos;
    bool lockstep, perf_map;
} TcgState;
/* Of the default cache, MiB: what cc1 and a kernel need; for each further vCPU; at most. */
enum { TB_SIZE = 96, TB_SIZE_MORE = 32, TB_SIZE_MOST = 512, CHAOS_BYTES = 512 << 10 };

static const Prop tcg_props[] = {
    PROP_ENUM(TcgState, thread, "thread", THREAD_AUTO, thread_names, "one host thread per vCPU (multi), or one for all (single)"),
    PROP_U32(TcgState, tier, "tier", 1, 0, 1, "execution tier: 0 interprets, 1 translates to host code"),
    PROP_SIZE(TcgState, tb_size, "tb-size", 0, 0, 2048,
              "size of the cache for translated code of all vCPUs, in MiB; 0: 96, and 32 for each vCPU after the first, at most 512"),
    PROP_BOOL(TcgState, lockstep, "lockstep", false,
              "a test: run each unit in tier 0 as well and compare (slow); exit status 1 when they differ"),
    PROP_U32(TcgState, chaos, "chaos", 0, 0, UINT32_MAX,
             "a test: seed of random evictions, flushes, exits and changes of tier; 0: none"),
    PROP_BOOL(TcgState, perf_map, "perf-map", false, "tell perf of translated code, in perf-PID.map in the directory for temporary files"),
    { .name = NULL },
};

static const TcgTargetOps *tcg_of(const Vcpu *cpu) { return cpu->target->tcg; }

/* Options of tier 1 with something that leaves no tier 1 to them. */
static bool options_fit(const Machine *m, const TcgState *s, Error **errp)
{
    const struct {
        bool given;
        const char *text;
    } option[] = { { s->lockstep, "lockstep=on" }, { s->chaos, "chaos" }, { s->perf_map, "perf-map=on" }, { s->tb_size, "tb-size" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(option); i++) {
        if (!option[i].given) {
            continue;
        }
#ifndef __x86_64__
        return error_set(errp, "accelerator 'tcg': '%s' needs tier 1, which needs an x86-64 host", option[i].text);
#endif
        const char *why = s->tier == 0 ? "tier=0" : m->icount.on ? "-icount" : s->thread == THREAD_SINGLE ? "thread=single" : NULL;
        if (why) {
            error_fail(errp, "conflict", "accel", NULL,
                       "accelerator 'tcg': '%s' has no meaning with %s, which runs in tier 0 alone",
                       option[i].text, why);
            error_hint(errp, "leave out one of the two");
            return false;
        }
    }
    if (s->chaos && s->tb_size) {
        error_fail(errp, "conflict", "tb-size", NULL,
                   "accelerator 'tcg': 'tb-size' is not possible with 'chaos', which uses a small cache");
        error_hint(errp, "leave out tb-size");
        return false;
    }
    if (s->lockstep && s->chaos) {
        error_fail(errp, "conflict", "lockstep", NULL,
                   "accelerator 'tcg': 'lockstep=on' is not possible with 'chaos', which leaves units half way");
        error_hint(errp, "run them one after the other");
        return false;
    }
    if (s->lockstep && m->max_cpus > 1) {
        error_fail(errp, "conflict", "lockstep", NULL,
                   "accelerator 'tcg': 'lockstep=on' runs code twice, and %u CPUs would see each other's memory change in between",
                   m->max_cpus);
        error_hint(errp, "use -smp 1");
        return false;
    }
    return true;
}

static bool tcg_machine_init(Machine *m, Error **errp)
{
    const TcgState *s = m->accel_state;
    if (m->board->target && !m->board->target->tcg) { /* board "none" has no CPU to run */
        return error_set(errp, "accelerator 'tcg' has no interpreter for guest architecture '%s'", m->board->target->name);
    }
    if (s->thread == THREAD_MULTI && m->icount.on) {
        error_fail(errp, "conflict", "thread", NULL,
                   "accelerator 'tcg': 'thread=multi' is not possible with -icount, which counts in one thread");
        error_hint(errp, "leave out thread=multi");
        return false;
    }
    if (!options_fit(m, s, errp)) {
        return false;
    }
    m->serial_mode |= s->thread == THREAD_SINGLE;
    return true;
}

/* Another accelerator may use the interpreter for single instructions: no tier 1, no tests. */
static const TcgState *state_of(const Vcpu *cpu)
{
    static const TcgState plain;
    return cpu->machine->accel == &accel_tcg_ops ? cpu->machine->accel_state : &plain;
}

size_t tcg_code_size(const Vcpu *cpu)
{
    const TcgState *s = state_of(cpu);
#ifdef __x86_64__
    unsigned n = MAX(cpu->machine->n_cpus, 1u);
    size_t all = (size_t)(s->tb_size ? s->tb_size : MIN(TB_SIZE + (n - 1) * TB_SIZE_MORE, (uint64_t)TB_SIZE_MOST)) << 20;
    return s->tier == 0 ? 0 : s->chaos ? CHAOS_BYTES : MAX(all / n, (size_t)1 << 20);
#else
    (void)s;
    return 0;
#endif
}

bool tcg_lockstep(const Vcpu *cpu)
{
    return state_of(cpu)->lockstep;
}

uint32_t tcg_chaos(const Vcpu *cpu)
{
    return state_of(cpu)->chaos;
}

bool tcg_perf_map(const Vcpu *cpu)
{
    return state_of(cpu)->perf_map;
}

static bool tcg_failed(const Machine *m)
{
    bool failed = false;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        failed |= m->cpus[i] && tcg_of(m->cpus[i])->failed && tcg_of(m->cpus[i])->failed(m->cpus[i]);
    }
    return failed;
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
    const TcgState *state = m->accel_state;
    const char *why = state->tier == 0 ? " as tier=0 says" : m->serial_mode ? ": vCPUs take turns by counted instructions" : "";
    bool alone = !m->cpus || !m->cpus[0] || tcg_code_size(m->cpus[0]) == 0 || m->serial_mode;
    g_string_append_printf(out, "accelerator tcg, %s%s\n",
                           alone ? "tier 0 (interpreter)" : "tier 1 (translator; tier 0 interprets cold and rare code)", why);
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
                               " began at a cached table)\n  jump-cache resets    %" PRIu64 "\n",
                               s.l2_hits, s.walks, s.walk_hits, s.generations);
        if (tcg_of(m->cpus[i])->describe) {
            tcg_of(m->cpus[i])->describe(m->cpus[i], out);
        }
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
    .failed = tcg_failed,
    .debug_kinds = (1 << DEBUG_POINT_KINDS) - 1 + (1 << DEBUG_STEP),
};

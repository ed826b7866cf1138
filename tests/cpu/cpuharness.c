/* SPDX-License-Identifier: MIT
 * tests/cpu/cpuharness.c - see cpuharness.h. A machine in serial mode that is never started: the test calls the
 * accelerator's run() itself.
 * Threads: main.
 */
#include "target/x86/t1.h"
#include "tests/cpu/cpuharness.h"
#include "tests/lib/ramboard.h"

#include <string.h>

enum { CODE = 0x9b, DATA = 0x93 };

static const BoardType board_cpu = {
    .name = "cpu-test", .desc = "one CPU and RAM", .target = &x86_64_target_ops, .max_cpus = 1, .max_ram = UINT64_C(1) << 30,
    .init = ram_board_init,
};

CpuHarness *ch_new(uint64_t ram_size, const char *model)
{
    CpuHarness *h = g_new0(CpuHarness, 1);
    role_become_main();
    rcu_register_thread();
    h->loop = loop_new("main");
    h->m = machine_new(h->loop);
    h->m->board = &board_cpu;
    h->m->accel = &accel_tcg_ops;
    h->m->n_cpus = h->m->max_cpus = 1;
    h->m->ram_size = h->ram_size = ram_size;
    h->m->serial_mode = true;
    h->m->cpu_text = g_strdup(model ? model : "max");
    machine_build(h->m, &error_abort_slot);
    machine_ready(h->m, &error_abort_slot);
    h->cpu = x86_cpu(h->m->cpus[0]);
    bool tier1 = !g_strcmp0(g_getenv("RHEA_TEST_TIER"), "1");
    t1_tune(h->cpu, tier1, g_getenv("RHEA_TEST_COLD") ? 32 : 0);
    h->cpu->vcpu.budget = 0; /* the test decides when it stops */
    h->ram = h->m->ram->host;
    return h;
}

void ch_free(CpuHarness *h)
{
    machine_free(h->m);
    loop_free(h->loop);
    g_free(h);
}

static void set_segs(X86Cpu *cpu, uint32_t code, uint32_t data, unsigned dpl)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        uint32_t attr = (i == SEG_CS ? code : data) | dpl << SA_DPL_SHIFT;
        cpu->seg[i] = (X86Seg){ .base = 0, .limit = UINT32_MAX, .attr = attr,
                                .sel = (uint16_t)((i == SEG_CS ? 8 : 16) | dpl) };
    }
}

static void long_tables(CpuHarness *h)
{
    uint64_t pml4 = h->ram_size - 0x4000, pdpt = pml4 + 0x1000, pd = pdpt + 0x1000, e;
    memset(h->ram + pml4, 0, 0x4000);
    e = pdpt | 7;
    memcpy(h->ram + pml4, &e, 8);
    e = pd | 7;
    memcpy(h->ram + pdpt, &e, 8);
    for (uint64_t i = 0; i < h->ram_size >> 21; i++) {
        e = i << 21 | 0xe7; /* present, writable, user, accessed, dirty, large */
        memcpy(h->ram + pd + 8 * i, &e, 8);
    }
    h->cpu->cr3 = pml4;
}

void ch_mode(CpuHarness *h, CpuMode mode)
{
    X86Cpu *cpu = h->cpu;
    x86_cpu_reset(cpu, RESET_COLD);
    memset(cpu->gpr, 0, sizeof(cpu->gpr));
    cpu->vcpu.halted = false;
    cpu->gpr[R_RSP] = 0x8000;
    cpu->rip = mode == CH_REAL ? 0x1000 : 0x10000;
    cpu->mxcsr = 0x1f80;
    cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    switch (mode) {
    case CH_REAL:
        cpu->cr0 = CR0_ET;
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            cpu->seg[i] = (X86Seg){ .limit = 0xffff, .attr = i == SEG_CS ? CODE : DATA };
        }
        break;
    case CH_PROT16:
        cpu->cr0 = CR0_ET | CR0_PE;
        set_segs(cpu, SA_G | CODE, SA_G | DATA, 0);
        break;
    case CH_PROT32:
        cpu->cr0 = CR0_ET | CR0_PE;
        set_segs(cpu, SA_G | SA_DB | CODE, SA_G | SA_DB | DATA, 0);
        break;
    case CH_LONG64:
        long_tables(h);
        cpu->cr0 = CR0_ET | CR0_PE | CR0_PG | CR0_WP;
        cpu->cr4 |= CR4_PAE;
        cpu->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
        set_segs(cpu, SA_G | SA_L | CODE, SA_G | SA_DB | DATA, 0);
        break;
    }
    cpu->cpl = 0;
    x86_set_eflags(cpu, 2, UINT32_MAX);
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, false);
}

void ch_user(CpuHarness *h)
{
    X86Cpu *cpu = h->cpu;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i].attr |= SA_DPL;
        cpu->seg[i].sel |= 3;
    }
    cpu->cpl = 3;
    x86_update_mode(cpu);
}

void ch_load(CpuHarness *h, uint64_t addr, const void *bytes, size_t n)
{
    as_access(&h->m->as_mem, addr, (void *)bytes, n, true, (MemAttrs){ .debug = true });
}

static CpuResult run(CpuHarness *h)
{
    X86Cpu *cpu = h->cpu;
    uint64_t before = cpu->insn_count;
    cpu->exc_vector = -1;
    VcpuExit e = { .why = EXIT_KICKED };
    do {
        cpu->vcpu.exit_request = 0;
        e = accel_tcg_ops.run(&cpu->vcpu);
    } while (e.why == EXIT_KICKED);
    CpuResult r = { .vector = cpu->exc_stop && e.why == EXIT_DEBUG ? cpu->exc_vector : -1, .err = cpu->exc_err,
                    .cr2 = cpu->cr2, .insns = cpu->insn_count - before, .why = e.why };
    return r;
}

CpuResult ch_run(CpuHarness *h, uint64_t n)
{
    h->cpu->exc_stop = true;
    h->cpu->insn_limit = h->cpu->insn_count + n;
    CpuResult r = run(h);
    h->cpu->insn_limit = 0;
    return r;
}

CpuResult ch_go(CpuHarness *h, bool deliver)
{
    h->cpu->exc_stop = !deliver;
    return run(h);
}

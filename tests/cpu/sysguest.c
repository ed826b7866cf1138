/* SPDX-License-Identifier: MIT
 * tests/cpu/sysguest.c - see sysguest.h.
 * Threads: main.
 */
#include "config.h"
#include "target/x86/t1.h"
#include "tests/cpu/sysguest.h"
#include "tests/lib/ramboard.h"
#include "target/x86/sysint.h"
#include "target/x86/t0.h"
#include "rhea/accel/kvm.h"

extern const AccelOps accel_tcg_ops;

/* RHEA_TEST_ACCEL=kvm: the same guests on KVM. */
bool guest_on_kvm(void)
{
    return !g_strcmp0(g_getenv("RHEA_TEST_ACCEL"), "kvm");
}

const char *guest_accel_props, *guest_dirty_ring;

#ifdef HAVE_KVM
static const AccelOps *guest_accel(void) { return guest_on_kvm() ? &accel_kvm_ops : &accel_tcg_ops; }
#else
static const AccelOps *guest_accel(void) { return &accel_tcg_ops; }
#endif

/* RHEA_TEST_ROWS=file: every guest runs one instruction a unit, and the file gets a byte (ROW_*) for each row of
 * insn.def. test-rows.c runs the guests that way and asks whether any row is left. */
static uint8_t rows_run[4096];

static void rows_write(void)
{
    g_assert_true(g_file_set_contents(getenv("RHEA_TEST_ROWS"), (const char *)rows_run, x86_n_rows, NULL));
}

static void rows_begin(X86Cpu *cpu)
{
    static bool registered;
    if (!getenv("RHEA_TEST_ROWS")) {
        return;
    }
    g_assert_cmpuint(x86_n_rows, <=, sizeof(rows_run));
    cpu->t0->rows_run = rows_run;
    cpu->insn_limit = UINT64_MAX;
    if (!registered) {
        registered = true;
        atexit(rows_write);
    }
}

static const BoardType guest_board = {
    .name = "x86-test",
    .target = &x86_64_target_ops,
    .max_cpus = 4,
    .max_ram = 1 << 30,
    .accel_chips = true,
    .init = ram_board_init,
};

static uint64_t ports_read(void *opaque, MemAccess *a)
{
    Guest *g = opaque;
    g->n_in++;
    return (0x8786858483828180ull + 0x0101010101010101ull * a->off) & (UINT64_MAX >> (64 - 8 * a->size));
}

static void ports_write(void *opaque, MemAccess *a, uint64_t val)
{
    Guest *g = opaque;
    if (g->n_io < G_N_ELEMENTS(g->io)) {
        g->io[g->n_io++] = (GuestIo){ (uint16_t)(0x80 + a->off), (uint8_t)a->size, (uint32_t)val };
    }
}

static const MemOps ports_ops = { .read = ports_read, .write = ports_write, .min = 1, .max = 4, .unaligned = true };

Guest *guest_new(const char *cpu_model)
{
    return guest_new_smp(cpu_model, 1, true);
}

static void accel_option(Machine *m, const char *name, const char *text)
{
    if (text) {
        prop_set_text(m, prop_find(m->accel->props, name), m->accel_state, text, &error_abort_slot);
    }
}

Guest *guest_new_smp(const char *cpu_model, unsigned n, bool serial)
{
    Guest *g = g_new0(Guest, 1);
    role_become_main();
    g->loop = loop_new("main");
    g->m = machine_new(g->loop);
    g->m->board = &guest_board;
    g->m->accel = guest_accel();
    g->m->serial_mode = serial;
    g->m->n_cpus = g->m->max_cpus = g->m->sockets = n;
    g->m->ram_size = G_RAM;
    g->m->cpu_text = g_strdup(cpu_model ? cpu_model : "max");
    if (guest_accel_props || guest_dirty_ring) {
        const AccelOps *a = g->m->accel;
        g->m->accel_state = g_malloc0(a->state_size);
        props_init(a->props, g->m->accel_state);
        accel_option(g->m, "kernel-irqchip", guest_accel_props);
        accel_option(g->m, "dirty-ring-size", guest_dirty_ring);
    }
    machine_build(g->m, &error_abort_slot);
    machine_ready(g->m, &error_abort_slot);
    g->cpu = x86_cpu(g->m->cpus[0]);
    bool tier1 = !g_strcmp0(g_getenv("RHEA_TEST_TIER"), "1");
    if (!guest_on_kvm()) {
        t1_tune(g->cpu, tier1, g_getenv("RHEA_TEST_COLD") ? 32 : 0);
    }
    if (tier1) {
        g->cpu->vcpu.budget = 0; /* translated code does not count instructions */
    }
    region_init_io(&g->ports, NULL, "ports", &ports_ops, g, 16);
    region_map(&g->m->sysio, 0x80, &g->ports, 0);
    g->cpu->vcpu.budget = 0; /* with one, every unit is looked up: no jump cache, no links */
    rows_begin(g->cpu);
    return g;
}

void guest_free(Guest *g)
{
    region_unmap(&g->ports);
    region_fini(&g->ports);
    machine_free(g->m);
    loop_free(g->loop);
    g_free(g);
}

uint64_t guest_ld(Guest *g, hwaddr at, unsigned n)
{
    uint64_t v = 0;
    as_access(&g->m->as_mem, at, &v, n, false, MEM_ATTRS_NONE);
    return v;
}

void guest_st(Guest *g, hwaddr at, unsigned n, uint64_t v)
{
    as_access(&g->m->as_mem, at, &v, n, true, MEM_ATTRS_NONE);
}

void guest_put(Guest *g, hwaddr at, const void *buf, size_t n)
{
    as_access(&g->m->as_mem, at, (void *)buf, n, true, MEM_ATTRS_NONE);
}

void guest_desc(Guest *g, uint16_t sel, uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
                 (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
    guest_st(g, (sel & 4 ? G_LDT : G_GDT) + (sel & ~7u), 8, d);
}

void guest_gate32(Guest *g, hwaddr at, uint16_t sel, uint32_t off, unsigned access)
{
    guest_st(g, at, 8,
             (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)access << 40 | (uint64_t)(off >> 16) << 48);
}

void guest_gate64(Guest *g, hwaddr at, uint16_t sel, uint64_t off, unsigned access, unsigned ist)
{
    guest_gate32(g, at, sel, (uint32_t)off, access);
    guest_st(g, at + 4, 1, ist);
    guest_st(g, at + 8, 8, off >> 32);
}

static void guest_tables(Guest *g)
{
    guest_desc(g, S_CODE0, 0, 0xfffff, 0x9b, 0xc);
    guest_desc(g, S_DATA0, 0, 0xfffff, 0x93, 0xc);
    guest_desc(g, S_CODE3, 0, 0xfffff, 0xfb, 0xc);
    guest_desc(g, S_DATA3, 0, 0xfffff, 0xf3, 0xc);
    guest_desc(g, S_CODE64, 0, 0xfffff, 0x9b, 0xa);
    guest_desc(g, S_CODE64_3, 0, 0xfffff, 0xfb, 0xa);
    guest_desc(g, S_TSS, G_TSS, 0x7ff, 0x8b, 0);
    for (unsigned v = 0; v < 256; v++) {
        guest_st(g, G_HANDLERS + v * 16, 1, 0xf4);
    }
    g->cpu->gdt = (X86Table){ G_GDT, 0xfff };
    g->cpu->idt = (X86Table){ G_IDT, 0xfff };
}

void guest_pm32(Guest *g)
{
    X86Cpu *cpu = g->cpu;
    guest_tables(g);
    for (unsigned v = 0; v < 256; v++) {
        guest_gate32(g, G_IDT + v * 8, S_CODE0, G_HANDLERS + v * 16, 0x8e);
    }
    x86_enter_flat32(cpu, G_CODE, 0, 0);
    cpu->tr = (X86Seg){ .base = G_TSS, .limit = 0x7ff, .attr = 0x8b, .sel = S_TSS };
    guest_st(g, G_TSS + 4, 4, G_STACK0);
    guest_st(g, G_TSS + 8, 2, S_DATA0);
    cpu->gpr[R_RSP] = G_STACK0;
    x86_update_mode(cpu);
}

void guest_paging32(Guest *g)
{
    for (unsigned t = 0; t < 2; t++) {
        guest_st(g, G_PT + t * 4, 4, (G_PT + 0x1000 + t * 0x1000) | 7);
        for (unsigned i = 0; i < 1024; i++) {
            guest_st(g, G_PT + 0x1000 + t * 0x1000 + i * 4, 4, (t * 1024 + i) << 12 | 7);
        }
    }
    g->cpu->cr3 = G_PT;
    g->cpu->cr0 |= CR0_PG | CR0_WP;
    x86_tlb_flush(g->cpu, false);
    x86_update_mode(g->cpu);
}

void guest_long(Guest *g)
{
    X86Cpu *cpu = g->cpu;
    guest_tables(g);
    for (unsigned v = 0; v < 256; v++) {
        guest_gate64(g, G_IDT + v * 16, S_CODE64, G_HANDLERS + v * 16, 0x8e, 0);
    }
    guest_st(g, G_PT, 8, (G_PT + 0x1000) | 7);
    guest_st(g, G_PT + 0x1000, 8, (G_PT + 0x2000) | 7);
    for (unsigned i = 0; i < 4; i++) {
        guest_st(g, G_PT + 0x2000 + i * 8, 8, (uint64_t)i << 21 | 0x87);
    }
    guest_st(g, G_TSS + 4, 8, G_STACK0);
    guest_st(g, G_TSS + 36, 8, G_IST);
    x86_enter_flat32(cpu, G_CODE, 0, 0);
    cpu->tr = (X86Seg){ .base = G_TSS, .limit = 0x7ff, .attr = 0x8b, .sel = S_TSS };
    cpu->cr4 = CR4_PAE;
    cpu->cr3 = G_PT;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    cpu->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET;
    cpu->seg[SEG_CS] = (X86Seg){ .sel = S_CODE64, .limit = 0xffffffff, .attr = 0xa09b };
    cpu->gpr[R_RSP] = G_STACK0;
    x86_tlb_flush(cpu, false);
    x86_update_mode(cpu);
}

void guest_user(Guest *g)
{
    X86Cpu *cpu = g->cpu;
    bool lng = cpu->efer & EFER_LMA;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (X86Seg){ .sel = S_DATA3, .limit = 0xffffffff, .attr = 0xc0f3 };
    }
    cpu->seg[SEG_CS].sel = lng ? S_CODE64_3 : S_CODE3;
    cpu->seg[SEG_CS].attr = lng ? 0xa0fb : 0xc0fb;
    cpu->cpl = 3;
    cpu->gpr[R_RSP] = G_STACK3;
    x86_update_mode(cpu);
}

void guest_continue(Guest *g)
{
    Vcpu *v = &g->cpu->vcpu;
    v->halted = false;
    for (unsigned i = 0; i < 200; i++) {
        VcpuExit e = g->m->accel->run(v);
        if (g->m->accel->regs_pull) {
            g->m->accel->regs_pull(v);
        }
        g_assert_cmpint(e.why, !=, EXIT_ERROR);
        g->shut_down = e.why == EXIT_SHUTDOWN;
        if (e.why == EXIT_HALT || e.why == EXIT_SHUTDOWN) {
            return;
        }
    }
    g_error("guest does not halt: rip 0x%" PRIx64, g->cpu->rip);
}

void guest_run_code(Guest *g, const uint8_t *code, size_t n)
{
    guest_put(g, G_CODE, code, n);
    g->cpu->rip = G_CODE;
    guest_continue(g);
}

int guest_vector(Guest *g)
{
    uint64_t at = g->cpu->rip - 1 - G_HANDLERS;
    return at < 0x1000 && at % 16 == 0 ? (int)(at / 16) : -1;
}

uint64_t guest_frame(Guest *g, unsigned k)
{
    unsigned n = g->cpu->efer & EFER_LMA ? 8 : 4;
    return guest_ld(g, g->cpu->gpr[R_RSP] + k * n, n);
}

/* SPDX-License-Identifier: MIT
 * tests/cpu/diff-t0.c - runs one instruction in the interpreter, in the state an ordinary user process has: long mode,
 * privilege 3, four-level paging with just the test's pages mapped at the addresses they have on the host.
 *
 * The instruction is decoded and its handler called here, without the unit cache: a fault comes back through the
 * jump buffer that x86_raise() uses, with its vector and error code in the CPU.
 */
#include "diff.h"
#include "target/x86/t1.h"
#include "rhea/accel/tcg.h"
#include "tests/lib/ramboard.h"

enum { RAM = 8 << 20, PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT = 0x4000 };
enum { PTE_USER_RW = 7 };

static struct {
    Machine *m;
    X86Cpu *cpu;
    uint8_t *ram;
    X86Features feat;
} t0;

static const BoardType board = { .name = "diff", .desc = "RAM and a CPU", .target = &x86_64_target_ops, .max_cpus = 1,
                                 .max_ram = 1ull << 32, .init = ram_board_init };

static void put64(hwaddr at, uint64_t v) { memcpy(t0.ram + at, &v, 8); }

static void map_page(uint32_t lin) { put64(PT + (((uint64_t)lin >> 21) - 1) * 4096 + (lin >> 12 & 511) * 8, lin | PTE_USER_RW); }

static void make_page_tables(void)
{
    put64(PML4, PDPT | PTE_USER_RW);
    put64(PDPT, PD | PTE_USER_RW);
    put64(PD + 8, PT | PTE_USER_RW); /* 2 MiB to 4 MiB: code and data lie there */
    map_page(DIFF_CODE & ~4095u);
    map_page((DIFF_CODE & ~4095u) + 4096);
    for (uint32_t i = 0; i < DIFF_PAGES; i++) {
        map_page(DIFF_DATA + i * 4096);
    }
}

static void set_segment(X86Cpu *cpu, unsigned n, uint16_t sel, uint32_t attr)
{
    cpu->seg[n] = (X86Seg){ .base = 0, .limit = 0xffffffff, .attr = attr, .sel = sel };
    cpu->seg_base[n] = 0;
}

static void set_mode(X86Cpu *cpu, bool code64)
{
    uint32_t data = SA_P | 3 << SA_DPL_SHIFT | SA_S | SA_RW | SA_ACCESSED | SA_G | SA_DB;
    uint32_t code = SA_P | 3 << SA_DPL_SHIFT | SA_S | SA_CODE | SA_RW | SA_ACCESSED | SA_G;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        set_segment(cpu, i, 0x2b, data);
    }
    set_segment(cpu, SEG_CS, code64 ? 0x33 : 0x23, code | (code64 ? SA_L : SA_DB));
    cpu->cpl = 3;
    x86_update_mode(cpu);
}

void diff_t0_init(void)
{
    role_become_main();
    t0.m = machine_new(loop_new("main"));
    t0.m->board = &board;
    t0.m->accel = &accel_tcg_ops;
    t0.m->ram_size = RAM;
    t0.m->n_cpus = 1;
    t0.m->max_cpus = 1;
    t0.m->serial_mode = true;
    t0.m->cpu_text = g_strdup("max");
    machine_build(t0.m, &error_abort_slot);
    machine_ready(t0.m, &error_abort_slot);
    t0.cpu = x86_cpu(t0.m->cpus[0]);
    t0.ram = t0.m->ram->host;
    t0.feat = x86_all_features();
    make_page_tables();
    X86Cpu *cpu = t0.cpu;
    cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    cpu->cr3 = PML4;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PGE | CR4_UMIP | CR4_OSXSAVE;
    cpu->xcr0 = 7;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    cpu->eflags = FL_IF | 2;
    set_mode(cpu, true);
    rcu_register_thread();
    rcu_read_lock(); /* for ever: the memory map of this process does not change */
    mem_begin_run(cpu);
    x86_tlb_flush(cpu, false);
}

void diff_load_state(X86Cpu *cpu, const DiffState *s)
{
    memcpy(cpu->gpr, s->gpr, sizeof(s->gpr));
    cpu->rip = s->rip;
    cpu->eflags = (s->rflags & ~FL_ARITH) | 2;
    x86_set_eflags_arith(cpu, s->rflags & FL_ARITH);
    cpu->mxcsr = s->fx.mxcsr;
    for (int i = 0; i < 16; i++) {
        memcpy(cpu->xmm[i].b, s->fx.xmm[i], 16);
        memcpy(cpu->xmm[i].b + 16, s->ymmh[i], 16);
    }
    X86Fpu *f = &cpu->fpu;
    f->cw = s->fx.fcw;
    f->sw = s->fx.fsw & ~0x3800;
    f->top = s->fx.fsw >> 11 & 7;
    f->tags = (uint8_t)~s->fx.ftw; /* abridged: 1 = in use; ours: 1 = empty */
    f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(&f->r[(f->top + i) & 7].sig, s->fx.st[i], 8);
        memcpy(&f->r[(f->top + i) & 7].se, s->fx.st[i] + 8, 2);
    }
}

void diff_save_state(X86Cpu *cpu, const DiffState *in, DiffState *s)
{
    *s = *in; /* reserved bytes of the image */
    memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
    s->rip = cpu->rip;
    s->rflags = x86_get_eflags(cpu);
    s->fx.mxcsr = cpu->mxcsr;
    for (int i = 0; i < 16; i++) {
        memcpy(s->fx.xmm[i], cpu->xmm[i].b, 16);
        memcpy(s->ymmh[i], cpu->xmm[i].b + 16, 16);
    }
    const X86Fpu *f = &cpu->fpu;
    s->fx.fcw = f->cw;
    s->fx.fsw = (uint16_t)((f->sw & ~0x3800) | (f->top & 7) << 11);
    s->fx.ftw = (uint8_t)~f->tags;
    s->fx.fop = f->fop;
    s->fx.fip = f->fip;
    s->fx.fdp = f->fdp;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(s->fx.st[i], &f->r[(f->top + i) & 7].sig, 8);
        memcpy(s->fx.st[i] + 8, &f->r[(f->top + i) & 7].se, 2);
    }
}

static OP(stop)
{
    cpu->rip = insn_rip(cpu, d);
    return NULL;
}

void diff_t0_run(const DiffCase *c, DiffResult *r)
{
    X86Cpu *cpu = t0.cpu;
    static X86Insn insn[2];
    /* JUMP() looks at the current unit's links only when nobody asked for an exit: somebody does, always */
    static uint64_t no_links[64];
    memcpy(t0.ram + DIFF_CODE, c->bytes, 16);
    memcpy(t0.ram + DIFF_DATA, c->data, DIFF_DATA_SIZE);
    diff_load_state(cpu, &c->in);
    set_mode(cpu, c->code64);
    cpu->gpr[R_NONE] = 0;
    cpu->gpr[R_UNIT] = DIFF_CODE;
    cpu->unit = (void *)no_links;
    cpu->vcpu.exit_request = 1;
    cpu->exc_in_flight = false;
    r->trap = -1;
    r->err = 0;
    r->cr2 = 0;
    X86DecodeResult dec = x86_decode(cpu->mode, &t0.feat, c->bytes, 15, 0, &insn[0]);
    g_assert(dec == DEC_OK || dec == DEC_UD);
    insn[1] = (X86Insn){ .op = op_stop, .off = insn[0].len };
    if (sigsetjmp(cpu->fault_jmp, 0) == 0) {
        do { /* a repeated instruction stops at every page for the exit request, and goes on */
            const X86Insn *i = &insn[0];
            while (i) {
                i = i->op(cpu, i);
            }
        } while (cpu->rip == DIFF_CODE && !strncmp(x86_rows[c->row].name, "REP", 3));
    } else {
        r->trap = cpu->exc_vector;
        r->err = cpu->exc_err;
        r->cr2 = cpu->cr2;
        cpu->rip = DIFF_CODE;
    }
    diff_save_state(cpu, &c->in, &r->out);
    memcpy(r->data, t0.ram + DIFF_DATA, DIFF_DATA_SIZE);
}

bool diff_t1_run(const DiffCase *c, DiffResult *r)
{
    X86Cpu *cpu = t0.cpu;
    if (!cpu->t1) {
        return false;
    }
    memcpy(t0.ram + DIFF_CODE, c->bytes, 16);
    memcpy(t0.ram + DIFF_DATA, c->data, DIFF_DATA_SIZE);
    diff_load_state(cpu, &c->in);
    set_mode(cpu, c->code64);
    mem_mode_changed(cpu);
    cpu->vcpu.exit_request = 0;
    cpu->exc_in_flight = false;
    r->trap = -1;
    r->err = 0;
    r->cr2 = 0;
    static volatile bool done;
    done = true;
    if (sigsetjmp(cpu->fault_jmp, 0) == 0) {
        t1_begin_run(cpu);
        do {
            done = t1_run_once(cpu, cpu->mode, 1);
        } while (done && cpu->rip == DIFF_CODE && !strncmp(x86_rows[c->row].name, "REP", 3));
    } else {
        t1_left(cpu);
        r->trap = cpu->exc_vector;
        r->err = cpu->exc_err;
        r->cr2 = cpu->cr2;
        cpu->rip = DIFF_CODE;
    }
    diff_save_state(cpu, &c->in, &r->out);
    memcpy(r->data, t0.ram + DIFF_DATA, DIFF_DATA_SIZE);
    return done;
}

/* SPDX-License-Identifier: MIT
 * tests/cpu/blocks-run.c - runs a block in tier 0 or tier 1, in a machine of RAM, one device and a CPU whose
 * page tables have pages of all kinds. Exceptions come back instead of being delivered. Threads: main.
 */
#include "blocks.h"
#include "target/x86/t1.h"
#include "rhea/accel/tcg.h"
#include "tests/lib/ramboard.h"

enum {
    RAM = 8 << 20,
    PML4 = 0x1000,
    PDPT = 0x2000,
    PD = 0x3000,
    PT = 0x4000,
    PDPT2 = 0x5000,
    DEVICE = 0x10000000,
    NOISE = 128 << 10
};
enum { P = 1, W = 2, U = 4, AD = 0x60, NX_BIT = 63 };

static struct {
    Machine *m;
    X86Cpu *cpu;
    uint8_t *ram, *noise;
    MemRegion device;
    uint32_t io_n;
    uint64_t io_hash;
} b;

static uint64_t mix(uint64_t h, uint64_t v)
{
    return (h ^ v) * 0x9e3779b97f4a7c15ull + (h >> 29);
}

/* Devices raise interrupts and move their memory now and then: the CPU leaves its code. */
static void leave_soon(void)
{
    if (b.io_hash % 3 == 0) {
        __atomic_fetch_or(&b.cpu->vcpu.exit_request, 1, __ATOMIC_RELAXED);
    }
    if (b.io_hash % 5 == 0) {
        b.cpu->vcpu.target->tcg->request_flush(&b.cpu->vcpu, b.io_hash % 2 ? TCG_FLUSH_TLB
                                                                           : TCG_FLUSH_TLB | TCG_FLUSH_UNITS);
    }
}

static uint64_t io_read(void *opaque, MemAccess *a)
{
    (void)opaque;
    b.io_n++;
    b.io_hash = mix(b.io_hash, a->off << 8 | a->size);
    leave_soon();
    return mix(a->off, a->size);
}

static void io_write(void *opaque, MemAccess *a, uint64_t val)
{
    (void)opaque;
    b.io_n++;
    b.io_hash = mix(mix(b.io_hash, a->off << 8 | 0x80 | a->size),
                    a->size == 8 ? val : val & ((1ull << 8 * a->size) - 1));
    leave_soon();
}

static const MemOps device_ops = { .read = io_read, .write = io_write, .unaligned = true };

static bool board_init(Machine *m, Error **errp)
{
    if (!ram_board_init(m, errp)) {
        return false;
    }
    region_init_io(&b.device, NULL, "device", &device_ops, NULL, 4096);
    region_map(&m->sysmem, DEVICE, &b.device, 0);
    return true;
}

static const BoardType board = { .name = "blocks",
                                 .desc = "RAM, a device and a CPU",
                                 .target = &x86_64_target_ops,
                                 .max_cpus = 1,
                                 .max_ram = 1ull << 32,
                                 .init = board_init };

static void put64(hwaddr at, uint64_t v)
{
    memcpy(b.ram + at, &v, 8);
}

static void map_page(uint32_t lin, uint64_t phys, unsigned rights, bool code)
{
    put64(PT + (lin >> 12 & 511) * 8 + ((lin >> 21) - 1) * 4096,
          phys | rights | P | (code ? 0 : 1ull << NX_BIT));
}

/* Accessed and dirty bits are clear: both tiers must come to set them. */
static void make_page_tables(void)
{
    put64(PML4, PDPT | P | W | U);
    put64(PML4 + 8 * 511, PDPT | P | W | U);
    put64(PDPT + 8 * 510, PD | P | W | U); /* B_HIGH */
    static const uint64_t bases[] = { B_BASES };
    for (unsigned i = 0; i < G_N_ELEMENTS(bases); i++) {
        uint64_t table = bases[i] >> 39 ? PDPT2 : PDPT;
        put64(PML4 + 8 * (bases[i] >> 39), table | P | W | U);
        put64(table + 8 * (bases[i] >> 30 & 511), PD | P | W | U);
    }
    put64(PDPT, PD | P | W | U);
    put64(PD + 8, PT | P | W | U); /* 2 MiB to 4 MiB */
    for (uint32_t a = B_CODE; a < B_CODE + B_CODE_SIZE; a += 4096) {
        map_page(a, a, W | U, true);
    }
    for (uint32_t a = B_LO; a < B_HI; a += 4096) {
        if (a != B_HOLE && a != B_HOLE2 && a != B_HOLE2 + 4096) {
            map_page(a, a == B_MMIO ? DEVICE : a, a == B_RO ? U : a == B_SUPER ? W : W | U, false);
        }
    }
    map_page(B_ALIAS, B_CODE, W | U, false);
}

void block_init(void)
{
    uint64_t s = 12345;
    role_become_main();
    b.m = machine_new(loop_new("main"));
    b.m->board = &board;
    b.m->accel = &accel_tcg_ops;
    b.m->ram_size = RAM;
    b.m->n_cpus = b.m->max_cpus = 1;
    b.m->serial_mode = true;
    b.m->cpu_text = g_strdup("max");
    machine_build(b.m, &error_abort_slot);
    machine_ready(b.m, &error_abort_slot);
    b.cpu = x86_cpu(b.m->cpus[0]);
    b.ram = b.m->ram->host;
    b.noise = g_malloc(NOISE);
    for (unsigned i = 0; i < NOISE; i += 16) {
        diff_fill_vector(&s, b.noise + i);
    }
    X86Cpu *cpu = b.cpu;
    cpu->vcpu.budget = 0;
    cpu->exc_stop = true;
    cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    cpu->cr3 = PML4;
    cpu->xcr0 = 7;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    rcu_register_thread();
}

uint64_t block_joins(void)
{
    return b.cpu->t1->stats.joins;
}

void block_fini(void)
{
    Loop *loop = b.m->loop;
    rcu_unregister_thread();
    machine_free(b.m);
    loop_free(loop);
    g_free(b.noise);
}

static void set_mode(X86Cpu *cpu, const Block *k)
{
    uint32_t dpl = k->user ? 3 : 0, common = SA_P | dpl << SA_DPL_SHIFT | SA_S | SA_RW | SA_ACCESSED | SA_G;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        uint32_t attr = i == SEG_CS ? common | SA_CODE | (k->code64 ? SA_L : SA_DB) : common | SA_DB;
        uint64_t base = i == SEG_FS ? k->fs_base : i == SEG_GS ? k->gs_base : 0;
        cpu->seg[i] = (X86Seg){ .base = k->code64 ? base : 0,
                                .limit = UINT32_MAX,
                                .attr = attr,
                                .sel = (uint16_t)((i == SEG_CS ? 0x30 : 0x28) | dpl) };
        cpu->seg_base[i] = cpu->seg[i].base;
    }
    cpu->cpl = (uint8_t)dpl;
    cpu->cr4 =
        CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PGE | CR4_UMIP | CR4_OSXSAVE | (k->smap ? CR4_SMAP : 0);
    x86_update_mode(cpu);
}

static void reset_memory(const Block *k, bool keep_code)
{
    uint8_t code[B_CODE_SIZE];
    make_page_tables();
    memcpy(b.ram + B_LO, b.noise + k->noise, B_HI - B_LO);
    for (unsigned i = 0; i < G_N_ELEMENTS(k->counter); i++) {
        memcpy(b.ram + B_COUNTERS + 64 * i, &k->counter[i], 4);
    }
    memset(code, 0xf4, sizeof(code)); /* HLT, for jumps that go astray */
    memcpy(code + (k->at - B_CODE), k->code, k->len);
    if (!keep_code || memcmp(b.ram + B_CODE, code, sizeof(code))) {
        as_access(&b.m->as_mem, B_CODE, code, sizeof(code), true,
                  (MemAttrs){ .debug = true }); /* as a device would: units are dropped */
    }
    b.io_n = 0;
    b.io_hash = 1;
}

static void run_until_stop(X86Cpu *cpu, BlockResult *r)
{
    VcpuExit e;
    do {
        cpu->vcpu.exit_request = 0;
        e = accel_tcg_ops.run(&cpu->vcpu);
    } while (e.why == EXIT_KICKED);
    r->trap = e.why == EXIT_DEBUG ? cpu->exc_vector : -2;
}

/* Units of a few instructions each; what tier 1 does not take runs one instruction in tier 0. */
static void run_pieces(X86Cpu *cpu, BlockResult *r, uint64_t seed)
{
    static volatile bool done;
    static volatile uint64_t s;
    s = seed * 77 + 3;
    t1_tune(cpu, false, 0);
    rcu_read_lock();
    for (;;) {
        done = false;
        if (sigsetjmp(cpu->fault_jmp, 0) == 0) {
            cpu->gpr[R_NONE] = 0;
            cpu->gpr[R_BIAS] = 0x10000;
            x86_update_mode(cpu);
            mem_mode_changed(cpu);
            t1_begin_run(cpu);
            cpu->cur = NULL;
            cpu->unit = NULL;
            cpu->exc_vector = -1;
            uint64_t t = s;
            unsigned n = 1 + (unsigned)(diff_random(&t) >> 40) % 7;
            s = t;
            done = !cpu->vcpu.exit_request && t1_run_once(cpu, cpu->mode, n);
        } else {
            t1_left(cpu);
            r->trap = cpu->exc_vector;
            break;
        }
        if (!done) {
            cpu->insn_limit = cpu->insn_count + 1;
            rcu_read_unlock();
            cpu->vcpu.exit_request = 0;
            VcpuExit e = accel_tcg_ops.run(&cpu->vcpu);
            rcu_read_lock();
            cpu->insn_limit = 0;
            if (e.why != EXIT_KICKED && (e.why != EXIT_DEBUG || cpu->exc_vector >= 0)) {
                r->trap = e.why == EXIT_DEBUG ? cpu->exc_vector : -2;
                break;
            }
        }
    }
    rcu_read_unlock();
}

/* The undefined flags of the instruction that comes next, when it lies in the block's own memory. */
static uint32_t undefined_next(const X86Cpu *cpu)
{
    uint64_t at = cpu->rip & 0x3fffffff; /* B_HIGH is the same memory */
    X86Insn d;
    if (at < B_CODE || at >= B_CODE + B_CODE_SIZE - X86_MAX_INSN ||
        x86_decode(cpu->mode, &cpu->t0->feat, b.ram + at, X86_MAX_INSN, 0, &d) != DEC_OK) {
        return 0;
    }
    return block_undef_after(&d, 0);
}

static void run_steps(X86Cpu *cpu, BlockResult *r, bool invert)
{
    for (;;) {
        uint64_t before = cpu->insn_count;
        uint32_t undef = invert ? undefined_next(cpu) : 0;
        cpu->insn_limit = before + 1;
        cpu->vcpu.exit_request = 0;
        VcpuExit e = accel_tcg_ops.run(&cpu->vcpu);
        cpu->insn_limit = 0;
        if (e.why != EXIT_KICKED && (e.why != EXIT_DEBUG || cpu->exc_vector >= 0)) {
            r->trap = e.why == EXIT_DEBUG ? cpu->exc_vector : -2;
            return;
        }
        if (undef && cpu->insn_count != before) {
            x86_set_eflags_arith(cpu, (x86_get_eflags(cpu) ^ undef) & FL_ARITH);
        }
    }
}

void block_run(const Block *k, BlockHow how, BlockResult *r)
{
    X86Cpu *cpu = b.cpu;
    if (how == BLOCK_T1_MOVED) {
        static Block moved;
        moved = *k;
        moved.base = k->other;
        moved.in.rip += k->other - k->base;
        block_run(&moved, BLOCK_T1, r);
    }
    reset_memory(k, how == BLOCK_T1_MOVED);
    diff_load_state(cpu, &k->in);
    set_mode(cpu, k);
    cpu->vcpu.halted = false;
    cpu->vcpu.exit_request = 0;
    cpu->exc_in_flight = false;
    cpu->exc_vector = -1;
    cpu->exc_err = 0;
    cpu->cr2 = 0;
    cpu->irq_shadow = false;
    x86_tlb_flush(cpu, false); /* page tables are new */
    t1_tune(cpu, how == BLOCK_T1 || how == BLOCK_T1_MOVED, 0);
    if (how == BLOCK_T1_PIECES) {
        run_pieces(cpu, r, k->seed);
    } else if (how >= BLOCK_T0_STEPS) {
        run_steps(cpu, r, how == BLOCK_T0_INVERTED);
    } else {
        run_until_stop(cpu, r);
    }
    r->err = cpu->exc_err;
    r->cr2 = cpu->cr2;
    diff_save_state(cpu, &k->in, &r->out);
    r->io_n = b.io_n;
    r->io_hash = b.io_hash;
    memcpy(r->data, b.ram + B_LO, sizeof(r->data));
    memcpy(r->code, b.ram + B_CODE, sizeof(r->code));
}

void block_disassemble(const Block *k, uint64_t stop, GString *out)
{
    const TargetOps *t = b.cpu->vcpu.target;
    set_mode(b.cpu, k);
    for (unsigned i = 0; i < k->n; i++) {
        const BlockInsn *n = &k->insn[i];
        uint64_t at = k->at + n->off;
        if (k->code[n->off] == 0x90 && n->len > 1) {
            continue; /* shrunk away */
        }
        g_string_append_printf(out, "# %c %6lx ", at + k->base == stop ? '>' : ' ', (long)at);
        for (unsigned p = 0; p < n->len; p++) {
            g_string_append_printf(out, "%02x", k->code[n->off + p]);
        }
        g_string_append_printf(out, "%*s", 32 - 2 * (int)MIN(n->len, 15u), "");
        if (t->disassemble) {
            t->disassemble(&b.cpu->vcpu, at, k->code + n->off, n->len, out);
        }
        g_string_append_c(out, '\n');
    }
}

/* SPDX-License-Identifier: MIT
 * target/x86/debugreg.c - debug registers: instruction, data and I/O breakpoints, MOV DR; port access checks.
 * Models:  Intel SDM volume 3 17.2 (DR0-DR7, GD, LEN, R/W), 17.3.1; volume 1 19.5 (IOPL, I/O permission bit
 * map).
 * Does not model: RTM debugging (DR6.16, DR7.11 read as fixed bits), last-branch records.
 * Threads: the
 * vCPU's thread.
 */
#include "sysint.h"
#include "t0.h"

enum { BP_EXEC, BP_WRITE, BP_IO, BP_RW };

static bool bp_enabled(const X86Cpu *cpu, unsigned i)
{
    return (cpu->dr[7] >> (2 * i)) & 3;
}
static unsigned bp_kind(const X86Cpu *cpu, unsigned i)
{
    return (cpu->dr[7] >> (16 + 4 * i)) & 3;
}
static unsigned bp_len(const X86Cpu *cpu, unsigned i)
{
    static const unsigned len[] = { 1, 2, 8, 4 };
    return len[(cpu->dr[7] >> (18 + 4 * i)) & 3];
}

bool x86_code_bp_enabled(const X86Cpu *cpu)
{
    if (G_LIKELY(!(cpu->dr[7] & 0xff))) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (bp_enabled(cpu, i) && bp_kind(cpu, i) == BP_EXEC) {
            return true;
        }
    }
    return false;
}

void x86_debug_unit_begin(X86Cpu *cpu)
{
    uint64_t lin = cpu->rip + cpu->seg_base[SEG_CS], hits = 0;
    if (!in_code64(cpu)) {
        lin = (uint32_t)lin;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (bp_enabled(cpu, i) && bp_kind(cpu, i) == BP_EXEC && cpu->dr[i] == lin) {
            hits |= 1u << i;
        }
    }
    if (hits && !(cpu->eflags & FL_RF)) {
        /* A fault, but its pushed image has RF as it is (17.3.1.1): deliver it as a trap at the same rip. */
        x86_raise_db_trap(cpu, hits);
    }
    cpu->eflags &= ~FL_RF;
}

/* 17.2.5: the address is aligned down to the length, any overlap counts. */
static uint64_t bp_match(const X86Cpu *cpu, uint64_t at, unsigned n, unsigned kinds)
{
    uint64_t hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (bp_enabled(cpu, i) && (kinds >> bp_kind(cpu, i) & 1)) {
            uint64_t len = bp_len(cpu, i), start = cpu->dr[i] & ~(len - 1);
            if (at < start + len && start < at + n) {
                hits |= 1u << i;
            }
        }
    }
    return hits;
}

void x86_check_data_bp(X86Cpu *cpu, uint64_t lin, unsigned n, bool write)
{
    uint64_t hits = bp_match(cpu, lin, n, write ? 1 << BP_WRITE | 1 << BP_RW : 1 << BP_RW);
    if (hits) {
        cpu->db_hits |= hits;
        x86_unit_leave(cpu);
    }
    if (G_UNLIKELY(cpu->t0->dbg & DBG_WATCH)) {
        dbg_access(cpu, lin, n, write);
    }
}

bool x86_page_has_data_bp(const X86Cpu *cpu, uint64_t lin_page)
{
    lin_page &= TLB_PAGE_MASK;
    return ((cpu->dr[7] & 0xff) && bp_match(cpu, lin_page, 4096, 1 << BP_WRITE | 1 << BP_RW)) ||
           (cpu->t0->dbg & DBG_WATCH && dbg_page_watched(cpu, lin_page));
}

bool x86_data_bp_on(const X86Cpu *cpu)
{
    return cpu->dr[7] & 0xff || cpu->t0->dbg & DBG_WATCH;
}

void x86_check_io_bp(X86Cpu *cpu, uint16_t port, unsigned n)
{
    if ((cpu->dr[7] & 0xff) && (cpu->cr4 & CR4_DE)) {
        uint64_t hits = bp_match(cpu, port, n, 1 << BP_IO);
        if (hits) {
            cpu->db_hits |= hits;
            x86_unit_leave(cpu);
        }
    }
}

/* Volume 1, 19.5.2: two bytes of the map are read, so the last one must be inside the TSS too. */
static void io_check_bitmap(X86Cpu *cpu, uint16_t port, unsigned n)
{
    bool tss32 = (cpu->tr.attr & (SA_TYPE & ~2)) == DT_TSS32 && !(cpu->tr.attr & (SA_S | SA_UNUSABLE));
    if (tss32 && cpu->tr.limit >= 0x67) {
        unsigned at = (unsigned)sys_ld(cpu, cpu->tr.base + 0x66, 2) + port / 8;
        if (at + 1 <= cpu->tr.limit) {
            unsigned map = (unsigned)sys_ld(cpu, cpu->tr.base + at, 2);
            if (!(map >> (port & 7) & ((1u << n) - 1))) {
                return;
            }
        }
    }
    x86_raise_err(cpu, EXC_GP, 0);
}

void x86_check_io(X86Cpu *cpu, uint16_t port, unsigned n)
{
    if ((cpu->cr0 & CR0_PE) && (in_vm86(cpu) || cpu->cpl > iopl(cpu))) {
        io_check_bitmap(cpu, port, n);
    }
}

static MemAttrs io_attrs(const X86Cpu *cpu)
{
    return (MemAttrs){ .cpu = true, .requester = (uint16_t)cpu->vcpu.index, .user = cpu->cpl == 3,
                       .smm = cpu->in_smm };
}

uint64_t x86_io_in(X86Cpu *cpu, uint16_t port, unsigned n)
{
    uint64_t v = UINT64_MAX;
    as_load(&cpu->vcpu.machine->as_io, port, n, &v, io_attrs(cpu));
    x86_check_io_bp(cpu, port, n);
    return n == 4 ? (uint32_t)v : v & ((1u << n * 8) - 1);
}

void x86_io_out(X86Cpu *cpu, uint16_t port, unsigned n, uint64_t val)
{
    as_store(&cpu->vcpu.machine->as_io, port, n, val, io_attrs(cpu));
    x86_check_io_bp(cpu, port, n);
}

/* MOV DR: 4 and 5 are 6 and 7 unless CR4.DE. GD traps every access. */
static unsigned dr_select(X86Cpu *cpu, const X86Insn *d)
{
    unsigned n = d->reg;
    if ((n == 4 || n == 5) && (cpu->cr4 & CR4_DE)) {
        RAISE(EXC_UD);
    }
    if (n > 7) {
        RAISE(EXC_UD);
    }
    if (cpu->dr[7] & DR7_GD) {
        SYNC(d);
        cpu->dr[6] |= DR6_BD;
        x86_raise(cpu, EXC_DB);
    }
    return n == 4 || n == 5 ? n + 2 : n;
}

OP(mov_rd)
{
    unsigned n = dr_select(cpu, d);
    uint64_t v = cpu->dr[n];
    R64(d->rm) = cpu->mode & MODE_CODE64 ? v : (uint32_t)v;
    NEXT;
}

OP(mov_dr)
{
    unsigned n = dr_select(cpu, d);
    bool c64 = cpu->mode & MODE_CODE64;
    uint64_t v = c64 ? R64(d->rm) : (uint32_t)R64(d->rm);
    if (n >= 6 && v >> 32) {
        RAISE_ERR(EXC_GP, 0);
    }
    if (n == 6) {
        cpu->dr[6] = (v & (0xf | DR6_BD | DR6_BS | DR6_BT)) | DR6_FIXED;
    } else if (n == 7) {
        cpu->dr[7] = (v & 0xffff23ff) | DR7_FIXED;
    } else {
        cpu->dr[n] = v;
    }
    if (n != 6) {
        /* Watched pages get their tags on the next fill; the mode word says whether code is checked. */
        x86_tlb_rights_changed(cpu);
        x86_update_mode(cpu);
    }
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

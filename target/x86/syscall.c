/* SPDX-License-Identifier: MIT
 * target/x86/syscall.c - SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, FS/GS base.
 * Models:  Intel SDM volume 2 (64-bit SYSCALL only, SYSENTER everywhere) and AMD APM volume 3 (SYSCALL in
 * legacy and compatibility mode too, SYSENTER #UD in long mode), chosen by the CPU model's vendor. Does not
 * model: AMD's SYSRET leaving the old SS attributes behind (they become flat, as Intel's do).
 * Threads: the
 * vCPU's thread.
 */
#include "sysint.h"
#include "cpuid.h"

enum {
    FLAT_CODE = SA_P | SA_S | SA_CODE | SA_RW | SA_ACCESSED | SA_G,
    FLAT_DATA = SA_P | SA_S | SA_RW | SA_ACCESSED | SA_DB | SA_G
};

static void sys_flat(X86Cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool code64)
{
    uint32_t dpl = cpl << SA_DPL_SHIFT;
    X86Seg c = { .limit = 0xffffffff, .sel = cs, .attr = FLAT_CODE | dpl | (code64 ? SA_L : SA_DB) };
    X86Seg s = { .limit = 0xffffffff, .sel = ss, .attr = FLAT_DATA | dpl };
    x86_seg_commit(cpu, SEG_CS, &c);
    x86_seg_commit(cpu, SEG_SS, &s);
    cpu->cpl = (uint8_t)cpl;
}

/* TF counts at the end of SYSCALL and SYSRET, not at their beginning: FMASK keeps the kernel's entry from being stepped
 * into, and SYSRET traps at its target. Their rows are marked nostep. */
static void sys_step(X86Cpu *cpu)
{
    cpu->db_hits |= cpu->eflags & FL_TF ? DR6_BS : 0;
}

static const uint32_t flags_all =
    FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID;

/* Where SYSCALL and SYSRET exist at all. */
static bool syscall_exists(const X86Cpu *cpu)
{
    return (cpu->efer & EFER_SCE) && (cpu->mode & MODE_PE) && (in_code64(cpu) || x86_vendor_is_amd(cpu));
}

OP(syscall)
{
    if (!syscall_exists(cpu)) {
        RAISE(EXC_UD);
    }
    uint64_t next = insn_next_rip(cpu, d);
    uint16_t cs = (uint16_t)(cpu->star >> 32) & 0xfffc;
    uint32_t fl = x86_get_eflags(cpu);
    if (in_long(cpu)) {
        uint64_t target = in_code64(cpu) ? cpu->lstar : cpu->cstar;
        cpu->gpr[R_RCX] = in_code64(cpu) ? next : (uint32_t)next;
        cpu->gpr[11] = fl & ~FL_RF;
        sys_flat(cpu, cs, (uint16_t)(cs + 8), 0, true);
        x86_set_eflags(cpu, fl & ~(uint32_t)cpu->fmask & ~FL_RF, flags_all);
        cpu->rip = target;
    } else {
        cpu->gpr[R_RCX] = (uint32_t)next;
        sys_flat(cpu, cs, (uint16_t)(cs + 8), 0, false);
        x86_set_eflags(cpu, 0, FL_IF | FL_VM | FL_RF);
        cpu->rip = (uint32_t)cpu->star;
    }
    sys_step(cpu);
    x86_update_mode(cpu);
    END_UNIT;
}

OP(sysret)
{
    if (!syscall_exists(cpu)) {
        RAISE(EXC_UD);
    }
    if (cpu->cpl != 0) {
        RAISE_ERR(EXC_GP, 0);
    }
    uint16_t base = (uint16_t)(cpu->star >> 48);
    uint64_t rcx = cpu->gpr[R_RCX];
    bool to64 = in_code64(cpu) && insn_osize(d) == 3;
    if (to64 && !x86_canonical(cpu, rcx) && !x86_vendor_is_amd(cpu)) {
        RAISE_ERR(EXC_GP, 0);
    }
    sys_flat(cpu, (uint16_t)((base + (to64 ? 16 : 0)) | 3), (uint16_t)((base + 8) | 3), 3, to64);
    cpu->rip = to64 ? rcx : (uint32_t)rcx;
    if (in_long(cpu)) {
        uint32_t fl = (uint32_t)cpu->gpr[11] & 0x3c7fd7;
        x86_set_eflags(cpu, fl & ~FL_RF, flags_all);
    } else {
        x86_set_eflags(cpu, FL_IF, FL_IF);
    }
    sys_step(cpu);
    x86_update_mode(cpu);
    END_UNIT;
}

OP(sysenter)
{
    if (in_real(cpu)) {
        RAISE_ERR(EXC_GP, 0);
    }
    if (in_long(cpu) && x86_vendor_is_amd(cpu)) {
        RAISE(EXC_UD);
    }
    uint16_t cs = (uint16_t)cpu->sysenter_cs & 0xfffc;
    if (cs == 0) {
        RAISE_ERR(EXC_GP, 0);
    }
    bool lng = in_long(cpu);
    x86_set_eflags(cpu, 0, FL_VM | FL_IF | FL_RF);
    sys_flat(cpu, cs, (uint16_t)(cs + 8), 0, lng);
    cpu->gpr[R_RSP] = lng ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu->rip = lng ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    x86_update_mode(cpu);
    END_UNIT;
}

OP(sysexit)
{
    if (in_long(cpu) && x86_vendor_is_amd(cpu)) {
        RAISE(EXC_UD);
    }
    uint16_t cs = (uint16_t)cpu->sysenter_cs & 0xfffc;
    bool to64 = in_code64(cpu) && insn_osize(d) == 3;
    uint64_t rip = cpu->gpr[R_RDX], rsp = cpu->gpr[R_RCX];
    if (cs == 0 || in_real(cpu) || cpu->cpl != 0 ||
        (to64 && (!x86_canonical(cpu, rip) || !x86_canonical(cpu, rsp)))) {
        RAISE_ERR(EXC_GP, 0);
    }
    unsigned at = to64 ? 32 : 16;
    sys_flat(cpu, (uint16_t)((cs + at) | 3), (uint16_t)((cs + at + 8) | 3), 3, to64);
    cpu->gpr[R_RSP] = to64 ? rsp : (uint32_t)rsp;
    cpu->rip = to64 ? rip : (uint32_t)rip;
    x86_update_mode(cpu);
    END_UNIT;
}

OP(swapgs)
{
    uint64_t gs = cpu->seg[SEG_GS].base;
    cpu->seg[SEG_GS].base = cpu->seg_base[SEG_GS] = cpu->kernel_gs_base;
    cpu->kernel_gs_base = gs;
    NEXT;
}

static void fsgs_check(X86Cpu *cpu, const X86Insn *d)
{
    if (!(cpu->cr4 & CR4_FSGSBASE)) {
        RAISE(EXC_UD);
    }
}

static void fsgs_read(X86Cpu *cpu, const X86Insn *d, unsigned seg)
{
    fsgs_check(cpu, d);
    uint64_t v = cpu->seg[seg].base;
    R64(d->rm) = insn_osize(d) == 3 ? v : (uint32_t)v;
}

static void fsgs_write(X86Cpu *cpu, const X86Insn *d, unsigned seg)
{
    fsgs_check(cpu, d);
    uint64_t v = insn_osize(d) == 3 ? R64(d->rm) : (uint32_t)R64(d->rm);
    if (!x86_canonical_base(cpu, v)) {
        RAISE_ERR(EXC_GP, 0);
    }
    cpu->seg[seg].base = cpu->seg_base[seg] = v;
}

OP(rdfsbase) { fsgs_read(cpu, d, SEG_FS); NEXT; }
OP(rdgsbase) { fsgs_read(cpu, d, SEG_GS); NEXT; }
OP(wrfsbase) { fsgs_write(cpu, d, SEG_FS); NEXT; }
OP(wrgsbase) { fsgs_write(cpu, d, SEG_GS); NEXT; }

/* SPDX-License-Identifier: MIT
 * target/x86/seg.c - segment registers, descriptors, limit checks, the stack.
 * Models:  Intel SDM volume 3 chapters 3 and 5 (descriptors, 5.2-5.5 checks), 20.1 (real mode), 20.2 (VM86);
 *          volume 2 MOV, POP, LDS, LLDT. AMD APM volume 2 chapter 4 where the vendors agree.
 * Does not model: the stale bases AMD keeps behind null FS and GS selectors (a null load clears the base).
 * Threads: the vCPU's thread.
 */
#include "sysint.h"

bool x86_desc_read(X86Cpu *cpu, uint16_t sel, X86Desc *d)
{
    uint64_t base;
    uint32_t limit;
    if (sel & 4) {
        if (cpu->ldt.attr & SA_UNUSABLE) {
            return false;
        }
        base = cpu->ldt.base;
        limit = cpu->ldt.limit;
    } else {
        base = cpu->gdt.base;
        limit = cpu->gdt.limit;
    }
    if ((uint32_t)(sel | 7) > limit) {
        return false;
    }
    uint64_t raw;
    d->addr = base + (sel & ~7u);
    if (!in_long(cpu)) {
        d->addr = (uint32_t)d->addr;
    }
    raw = sys_ld(cpu, d->addr, 8);
    d->lo = (uint32_t)raw;
    d->hi = (uint32_t)(raw >> 32);
    return true;
}

uint64_t x86_desc_base64(X86Cpu *cpu, const X86Desc *d)
{
    return desc_base(d) | sys_ld(cpu, d->addr + 8, 4) << 32;
}

void x86_desc_mark_accessed(X86Cpu *cpu, X86Desc *d)
{
    if (!(d->hi & 0x100)) {
        d->hi |= 0x100;
        sys_st(cpu, d->addr + 5, 1, (d->hi >> 8) & 0xff);
    }
}

X86Seg x86_seg_from_desc(uint16_t sel, const X86Desc *d)
{
    return (
        X86Seg){ .base = desc_base(d), .limit = desc_limit(d), .attr = (d->hi >> 8) & 0xf0ff, .sel = sel };
}

X86Seg x86_seg_real(uint16_t sel, unsigned dpl)
{
    return (X86Seg){ .base = (uint32_t)sel << 4, .limit = 0xffff, .sel = sel,
                     .attr = SA_P | SA_S | SA_RW | SA_ACCESSED | dpl << SA_DPL_SHIFT };
}

void x86_seg_commit(X86Cpu *cpu, unsigned seg, const X86Seg *s)
{
    cpu->seg[seg] = *s;
    cpu->seg_base[seg] = s->base;
}

/* Real mode changes selector and base only: limits set in protected mode stay ("big real mode"). */
void x86_set_seg_real(X86Cpu *cpu, unsigned seg, uint16_t sel)
{
    X86Seg s = x86_seg_real(sel, 0);
    if (in_vm86(cpu)) {
        s.attr |= SA_DPL;
    } else if (!(cpu->seg[seg].attr & SA_UNUSABLE)) {
        s.limit = cpu->seg[seg].limit;
        s.attr |= cpu->seg[seg].attr & (SA_DB | SA_G);
    }
    x86_seg_commit(cpu, seg, &s);
    x86_update_mode(cpu);
}

static void seg_load_null(X86Cpu *cpu, unsigned seg, uint16_t sel)
{
    X86Seg s = { .sel = sel, .attr = SA_UNUSABLE };
    if (seg == SEG_SS) {
        s.attr |= (uint32_t)cpu->cpl << SA_DPL_SHIFT;
    }
    x86_seg_commit(cpu, seg, &s);
}

void x86_load_seg_checked(X86Cpu *cpu, unsigned seg, uint16_t sel, unsigned cpl, int vec)
{
    X86Desc d;
    uint32_t err = sel & 0xfffc;
    if (sel_null(sel)) {
        if (seg == SEG_SS && !(in_code64(cpu) && cpl != 3 && (sel & 3) == cpl)) {
            x86_raise_err(cpu, vec, 0);
        }
        seg_load_null(cpu, seg, sel);
        return;
    }
    if (!x86_desc_read(cpu, sel, &d)) {
        x86_raise_err(cpu, vec, err);
    }
    unsigned dpl = desc_dpl(&d), rpl = sel & 3;
    if (seg == SEG_SS) {
        if (rpl != cpl || !desc_is_stack(&d) || dpl != cpl) {
            x86_raise_err(cpu, vec, err);
        }
    } else {
        /* Data, or readable code. */
        if (!desc_s(&d) || (d.hi & 0x0a00) == 0x0800) {
            x86_raise_err(cpu, vec, err);
        }
        if (!desc_conforming(&d) && (rpl > dpl || cpl > dpl)) {
            x86_raise_err(cpu, vec, err);
        }
    }
    if (!desc_present(&d)) {
        x86_raise_err(cpu, seg == SEG_SS ? EXC_SS : EXC_NP, err);
    }
    x86_desc_mark_accessed(cpu, &d);
    X86Seg s = x86_seg_from_desc(sel, &d);
    x86_seg_commit(cpu, seg, &s);
}

void x86_load_seg(X86Cpu *cpu, unsigned seg, uint16_t sel)
{
    if (in_real(cpu) || in_vm86(cpu)) {
        x86_set_seg_real(cpu, seg, sel);
        return;
    }
    x86_load_seg_checked(cpu, seg, sel, cpu->cpl, EXC_GP);
    x86_update_mode(cpu);
}

/* LLDT and the LDT field of a TSS. */
void x86_load_ldt(X86Cpu *cpu, uint16_t sel, int vec)
{
    X86Desc d;
    uint32_t err = sel & 0xfffc;
    if (sel_null(sel)) {
        cpu->ldt = (X86Seg){ .sel = sel, .attr = SA_UNUSABLE };
        return;
    }
    if ((sel & 4) || !x86_desc_read(cpu, sel, &d)) {
        x86_raise_err(cpu, vec, err);
    }
    if (in_long(cpu) && (uint32_t)((sel & ~7u) + 15) > cpu->gdt.limit) {
        x86_raise_err(cpu, vec, err);
    }
    if (desc_s(&d) || desc_type(&d) != DT_LDT) {
        x86_raise_err(cpu, vec, err);
    }
    if (!desc_present(&d)) {
        x86_raise_err(cpu, vec == EXC_TS ? EXC_TS : EXC_NP, err);
    }
    X86Seg s = x86_seg_from_desc(sel, &d);
    if (in_long(cpu)) {
        s.base = x86_desc_base64(cpu, &d);
        if (!x86_canonical_base(cpu, s.base)) {
            x86_raise_err(cpu, EXC_GP, err);
        }
    }
    cpu->ldt = s;
}

/* SDM 5.3: are the n bytes at off inside? */
bool x86_limit_ok(const X86Seg *s, uint64_t off, unsigned n)
{
    uint64_t last = off + n - 1;
    if (!(s->attr & SA_CODE) && (s->attr & SA_CE) && (s->attr & SA_S)) {
        uint64_t top = s->attr & SA_DB ? 0xffffffff : 0xffff;
        return off > s->limit && last <= top;
    }
    return last <= s->limit;
}

uint64_t seg_linear(X86Cpu *cpu, unsigned seg, uint64_t off, unsigned n, bool write)
{
    if (cpu->mode & MODE_CODE64) {
        uint64_t lin = off + cpu->seg_base[seg];
        if (seg == SEG_SS && !x86_canonical(cpu, lin)) {
            x86_raise_err(cpu, EXC_SS, 0);
        }
        return lin;
    }
    const X86Seg *s = &cpu->seg[seg];
    int vec = seg == SEG_SS ? EXC_SS : EXC_GP;
    if ((cpu->mode & (MODE_PE | MODE_VM86)) == MODE_PE) {
        if (s->attr & SA_UNUSABLE) {
            x86_raise_err(cpu, EXC_GP, 0);
        }
        /* Writes: data and writable. Reads: data, or readable code. */
        bool code = s->attr & SA_CODE, rw = s->attr & SA_RW;
        if (write ? code || !rw : code && !rw) {
            x86_raise_err(cpu, EXC_GP, 0);
        }
    }
    if (!x86_limit_ok(s, off, n)) {
        x86_raise_err(cpu, vec, 0);
    }
    return (uint32_t)(s->base + off);
}

/* RSP's width: SDM volume 1, 6.2.3. */
uint64_t x86_stack_mask(const X86Cpu *cpu)
{
    if (cpu->mode & MODE_CODE64) {
        return UINT64_MAX;
    }
    return cpu->seg[SEG_SS].attr & SA_DB ? 0xffffffff : 0xffff;
}

static void stack_set(X86Cpu *cpu, uint64_t sp, uint64_t mask)
{
    if (mask == 0xffff) {
        cpu->gpr[R_RSP] = (cpu->gpr[R_RSP] & ~0xffffull) | (sp & 0xffff);
    } else {
        cpu->gpr[R_RSP] = sp & mask;
    }
}

static uint64_t stack_linear(X86Cpu *cpu, uint64_t sp, unsigned n, bool write)
{
    if ((cpu->mode & (MODE_FLAT | MODE_CODE64)) == MODE_FLAT) {
        return (uint32_t)sp;
    }
    return seg_linear(cpu, SEG_SS, sp, n, write);
}

void x86_push(X86Cpu *cpu, uint64_t val, unsigned osize)
{
    const X86Insn *d = cpu->cur;
    uint64_t mask = x86_stack_mask(cpu), sp = (cpu->gpr[R_RSP] - (1u << osize)) & mask;
    uint64_t lin = stack_linear(cpu, sp, 1u << osize, true);
    if (osize == 3) {
        st64(cpu, d, lin, val);
    } else if (osize == 2) {
        st32(cpu, d, lin, (uint32_t)val);
    } else {
        st16(cpu, d, lin, (uint16_t)val);
    }
    stack_set(cpu, sp, mask);
}

uint64_t x86_pop(X86Cpu *cpu, unsigned osize)
{
    const X86Insn *d = cpu->cur;
    uint64_t mask = x86_stack_mask(cpu), sp = cpu->gpr[R_RSP] & mask;
    uint64_t lin = stack_linear(cpu, sp, 1u << osize, false);
    uint64_t v = osize == 3 ? ld64(cpu, d, lin) : osize == 2 ? ld32(cpu, d, lin) : ld16(cpu, d, lin);
    stack_set(cpu, sp + (1u << osize), mask);
    return v;
}

/* --- stacks being built: nothing visible changes until the commit --- */

X86Stack x86_stack_here(X86Cpu *cpu)
{
    bool c64 = cpu->mode & MODE_CODE64;
    return (X86Stack){ .cpu = cpu, .sp = cpu->gpr[R_RSP], .mask = x86_stack_mask(cpu), .mmu = cpu->mmu,
                       .base = c64 ? 0 : cpu->seg[SEG_SS].base, .seg = c64 ? NULL : &cpu->seg[SEG_SS] };
}

X86Stack x86_stack_new(X86Cpu *cpu, const X86Seg *ss, uint64_t sp, unsigned cpl, uint32_t err)
{
    X86Stack s = {
        .cpu = cpu, .sp = sp, .mask = UINT64_MAX, .seg = ss, .mmu = x86_mmu_for(cpu, cpl), .err = err
    };
    if (ss) {
        s.base = ss->base;
        s.mask = ss->attr & SA_DB ? 0xffffffff : 0xffff;
    }
    return s;
}

static uint64_t stack_at(X86Stack *s, uint64_t off, unsigned bytes)
{
    if (s->seg) {
        if (!x86_limit_ok(s->seg, off, bytes)) {
            x86_raise_err(s->cpu, EXC_SS, s->err);
        }
        return (uint32_t)(s->base + off);
    }
    if (!x86_canonical(s->cpu, off)) {
        x86_raise_err(s->cpu, EXC_SS, s->err);
    }
    return off;
}

void x86_stack_push(X86Stack *s, uint64_t val, unsigned bytes)
{
    uint64_t off = (s->sp - bytes) & s->mask;
    x86_st_slow(s->cpu, stack_at(s, off, bytes), bytes, val, s->mmu);
    s->sp = s->mask == 0xffff ? (s->sp & ~0xffffull) | off : off;
}

uint64_t x86_stack_pop(X86Stack *s, unsigned bytes)
{
    uint64_t off = s->sp & s->mask;
    uint64_t v = x86_ld_slow(s->cpu, stack_at(s, off, bytes), bytes, s->mmu);
    off = (off + bytes) & s->mask;
    s->sp = s->mask == 0xffff ? (s->sp & ~0xffffull) | off : off;
    return v;
}

void x86_stack_commit(X86Cpu *cpu, const X86Stack *s)
{
    stack_set(cpu, s->sp, s->mask);
}

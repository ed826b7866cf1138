/* SPDX-License-Identifier: MIT
 * target/x86/segop.c - instructions on segments: MOV/PUSH/POP Sreg, LDS.., far transfers, INT, LAR, LSL,
 * VERR, ARPL, descriptor-table registers. Models:  Intel SDM volume 2, the instruction pages named; volume
 * 3 20.3 (INT n with VME), 5.10 (pointer checks).
 * Does not model: -
 * Threads: the vCPU's thread.
 */
#include "sysint.h"
#include "cpuid.h"

/* MOV and POP of a segment register end the unit; SS holds events off for one instruction (SDM volume 3, 6.8.3). */
static void segop_load(X86Cpu *cpu, const X86Insn *d, unsigned seg, uint16_t sel)
{
    SYNC(d);
    x86_load_seg(cpu, seg, sel);
    cpu->rip = insn_next_rip(cpu, d);
    cpu->irq_shadow = seg == SEG_SS;
}

OP(mov_sreg_e)
{
    if (d->reg == SEG_CS || d->reg > SEG_GS) {
        RAISE(EXC_UD);
    }
    uint16_t sel = insn_is_mem(d) ? ld16(cpu, d, ea_lin(cpu, d, 2, false)) : R16(d->rm);
    segop_load(cpu, d, d->reg, sel);
    END_UNIT;
}

OP(mov_e_sreg)
{
    if (d->reg > SEG_GS) {
        RAISE(EXC_UD);
    }
    uint16_t sel = cpu->seg[d->reg].sel;
    if (insn_is_mem(d)) {
        st16(cpu, d, ea_lin(cpu, d, 2, true), sel);
    } else if (insn_osize(d) == 1) {
        R16(d->rm) = sel;
    } else {
        R64(d->rm) = sel;
    }
    NEXT;
}

#define SEG_PUSH(name, num)                                  \
    OP(push_##name)                                               \
    {                                                             \
        SYNC(d);                                                  \
        x86_push(cpu, cpu->seg[num].sel, insn_osize(d));          \
        NEXT;                                                     \
    }
#define SEG_POP(name, num)                                        \
    OP(pop_##name)                                                \
    {                                                             \
        SYNC(d);                                                  \
        X86Stack s = x86_stack_here(cpu);                         \
        uint16_t sel = (uint16_t)x86_stack_pop(&s, 1u << insn_osize(d)); \
        segop_load(cpu, d, num, sel);                             \
        x86_stack_commit(cpu, &s);                                \
        END_UNIT;                                                 \
    }
SEG_PUSH(es, SEG_ES)
SEG_PUSH(cs, SEG_CS)
SEG_PUSH(ss, SEG_SS)
SEG_PUSH(ds, SEG_DS)
SEG_PUSH(fs, SEG_FS)
SEG_PUSH(gs, SEG_GS)
SEG_POP(es, SEG_ES)
SEG_POP(ss, SEG_SS)
SEG_POP(ds, SEG_DS)
SEG_POP(fs, SEG_FS)
SEG_POP(gs, SEG_GS)

/* m16:16, m16:32, m16:64 */
static uint64_t far_pointer(X86Cpu *cpu, const X86Insn *d, uint16_t *sel)
{
    unsigned n = 1u << insn_osize(d);
    uint64_t lin = ea_lin(cpu, d, n + 2, false), sel_lin = lin + n;
    if (!(cpu->mode & MODE_CODE64)) {
        sel_lin = (uint32_t)sel_lin;
    }
    *sel = ld16(cpu, d, sel_lin);
    return n == 2 ? ld16(cpu, d, lin) : n == 4 ? ld32(cpu, d, lin) : ld64(cpu, d, lin);
}

static void load_far_pointer(X86Cpu *cpu, const X86Insn *d, unsigned seg)
{
    uint16_t sel;
    uint64_t off = far_pointer(cpu, d, &sel);
    SYNC(d);
    x86_load_seg(cpu, seg, sel); /* LSS sets the pointer too and holds nothing off */
    cpu->rip = insn_next_rip(cpu, d);
    if (insn_osize(d) == 1) {
        R16(d->reg) = (uint16_t)off;
    } else {
        R64(d->reg) = off;
    }
}

OP(lds) { load_far_pointer(cpu, d, SEG_DS); END_UNIT; }
OP(les) { load_far_pointer(cpu, d, SEG_ES); END_UNIT; }
OP(lss) { load_far_pointer(cpu, d, SEG_SS); END_UNIT; }
OP(lfs) { load_far_pointer(cpu, d, SEG_FS); END_UNIT; }
OP(lgs) { load_far_pointer(cpu, d, SEG_GS); END_UNIT; }

OP(jmp_far_a)
{
    SYNC(d);
    x86_far_jump(cpu, (uint16_t)(d->imm >> 32), (uint32_t)d->imm, insn_osize(d));
    END_UNIT;
}

OP(call_far_a)
{
    SYNC(d);
    x86_far_call(cpu, (uint16_t)(d->imm >> 32), (uint32_t)d->imm, insn_osize(d), insn_next_rip(cpu, d));
    END_UNIT;
}

OP(jmp_far_m)
{
    uint16_t sel;
    uint64_t off = far_pointer(cpu, d, &sel);
    SYNC(d);
    x86_far_jump(cpu, sel, off, insn_osize(d));
    END_UNIT;
}

OP(call_far_m)
{
    uint16_t sel;
    uint64_t off = far_pointer(cpu, d, &sel);
    SYNC(d);
    x86_far_call(cpu, sel, off, insn_osize(d), insn_next_rip(cpu, d));
    END_UNIT;
}

OP(retf)
{
    SYNC(d);
    x86_far_ret(cpu, insn_osize(d), 0);
    END_UNIT;
}

OP(retf_i)
{
    SYNC(d);
    x86_far_ret(cpu, insn_osize(d), (uint16_t)d->imm);
    END_UNIT;
}

OP(iret)
{
    SYNC(d);
    x86_iret(cpu, insn_osize(d));
    END_UNIT;
}

/* --- software interrupts --- */

OP(int_n)
{
    int vector = (uint8_t)d->imm;
    SYNC(d);
    if (in_vm86(cpu)) {
        /* Table 20-2. */
        if (x86_vme_redirected(cpu, vector)) {
            cpu->rip = insn_next_rip(cpu, d);
            x86_interrupt_vme(cpu, vector);
            END_UNIT;
        }
        if (iopl(cpu) < 3) {
            RAISE_ERR(EXC_GP, 0);
        }
    }
    cpu->rip = insn_next_rip(cpu, d);
    x86_soft_int(cpu, vector, d->len, false);
    END_UNIT;
}

OP(int3)
{
    SYNC(d);
    cpu->rip = insn_next_rip(cpu, d);
    x86_soft_int(cpu, EXC_BP, d->len, false);
    END_UNIT;
}

OP(into)
{
    cpu->rip = insn_next_rip(cpu, d);
    if (x86_arith_flags(cpu) & FL_OF) {
        SYNC(d);
        x86_soft_int(cpu, EXC_OF, d->len, false);
    }
    END_UNIT;
}

OP(int1)
{
    SYNC(d);
    cpu->rip = insn_next_rip(cpu, d);
    x86_soft_int(cpu, EXC_DB, d->len, true);
    END_UNIT;
}

/* --- pointer checks --- */

static uint16_t segop_selector(X86Cpu *cpu, const X86Insn *d)
{
    return insn_is_mem(d) ? ld16(cpu, d, ea_lin(cpu, d, 2, false)) : R16(d->rm);
}

static void segop_set_zf(X86Cpu *cpu, bool zf)
{
    x86_set_eflags_arith(cpu, (x86_arith_flags(cpu) & ~FL_ZF) | (zf ? FL_ZF : 0));
}

/* Visible at this CPL with this RPL, and of a kind LAR (or LSL) knows. */
static bool segop_visible(X86Cpu *cpu, uint16_t sel, X86Desc *desc, bool lsl)
{
    if (sel_null(sel) || !x86_desc_read(cpu, sel, desc)) {
        return false;
    }
    unsigned dpl = desc_dpl(desc);
    bool reach = cpu->cpl <= dpl && (sel & 3u) <= dpl;
    if (desc_s(desc)) {
        return desc_conforming(desc) || reach;
    }
    unsigned t = desc_type(desc);
    bool kind;
    if (in_long(cpu)) {
        kind = t == DT_LDT || t == DT_TSS32 || t == DT_TSS32_BUSY || (t == DT_CALL32 && !lsl);
    } else {
        kind = t == DT_TSS16 || t == DT_LDT || t == DT_TSS16_BUSY || t == DT_TSS32 || t == DT_TSS32_BUSY ||
               (!lsl && (t == DT_CALL16 || t == DT_TASK || t == DT_CALL32));
    }
    return kind && reach;
}

static void segop_result(X86Cpu *cpu, const X86Insn *d, uint32_t v)
{
    if (insn_osize(d) == 1) {
        R16(d->reg) = (uint16_t)v;
    } else {
        R64(d->reg) = v;
    }
}

OP(lar)
{
    X86Desc desc;
    uint16_t sel = segop_selector(cpu, d);
    SYNC(d);
    bool ok = segop_visible(cpu, sel, &desc, false);
    if (ok) {
        segop_result(cpu, d, desc.hi & 0x00f0ff00);
    }
    segop_set_zf(cpu, ok);
    NEXT;
}

OP(lsl)
{
    X86Desc desc;
    uint16_t sel = segop_selector(cpu, d);
    SYNC(d);
    bool ok = segop_visible(cpu, sel, &desc, true);
    if (ok) {
        segop_result(cpu, d, desc_limit(&desc));
    }
    segop_set_zf(cpu, ok);
    NEXT;
}

static bool segop_verify(X86Cpu *cpu, uint16_t sel, bool write)
{
    X86Desc desc;
    if (sel_null(sel) || !x86_desc_read(cpu, sel, &desc) || !desc_s(&desc)) {
        return false;
    }
    bool code = desc_is_code(&desc), rw = desc.hi & 0x200;
    if (write ? code || !rw : code && !rw) {
        return false;
    }
    return desc_conforming(&desc) || (cpu->cpl <= desc_dpl(&desc) && (sel & 3u) <= desc_dpl(&desc));
}

OP(verr)
{
    uint16_t sel = segop_selector(cpu, d);
    SYNC(d);
    segop_set_zf(cpu, segop_verify(cpu, sel, false));
    NEXT;
}

OP(verw)
{
    uint16_t sel = segop_selector(cpu, d);
    SYNC(d);
    segop_set_zf(cpu, segop_verify(cpu, sel, true));
    NEXT;
}

OP(arpl)
{
    uint64_t lin = insn_is_mem(d) ? ea_lin(cpu, d, 2, true) : 0;
    uint16_t dst = insn_is_mem(d) ? ld16(cpu, d, lin) : R16(d->rm), rpl = R16(d->reg) & 3;
    bool low = (dst & 3) < rpl;
    if (low) {
        dst = (uint16_t)((dst & ~3) | rpl);
    }
    if (insn_is_mem(d)) {
        st16(cpu, d, lin, dst); /* written back either way: a read-only page faults */
    } else {
        R16(d->rm) = dst;
    }
    segop_set_zf(cpu, low);
    NEXT;
}

/* --- table registers --- */

/* 2.5, CR4.UMIP: the store forms are for CPL 0 only. */
static void table_umip(X86Cpu *cpu, const X86Insn *d)
{
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl != 0) {
        RAISE_ERR(EXC_GP, 0);
    }
}

static void table_store(X86Cpu *cpu, const X86Insn *d, const X86Table *t)
{
    table_umip(cpu, d);
    bool c64 = cpu->mode & MODE_CODE64;
    uint8_t buf[10];
    uint16_t limit = t->limit;
    uint64_t base = t->base;
    memcpy(buf, &limit, 2);
    memcpy(buf + 2, &base, 8);
    st_n(cpu, d, ea_lin(cpu, d, c64 ? 10 : 6, true), buf, c64 ? 10 : 6);
}

static void table_load(X86Cpu *cpu, const X86Insn *d, X86Table *t)
{
    bool c64 = cpu->mode & MODE_CODE64;
    uint8_t buf[10] = { 0 };
    uint16_t limit;
    uint64_t base;
    ld_n(cpu, d, ea_lin(cpu, d, c64 ? 10 : 6, false), buf, c64 ? 10 : 6);
    memcpy(&limit, buf, 2);
    memcpy(&base, buf + 2, 8);
    if (!c64 && insn_osize(d) == 1) {
        base &= 0xffffff;
    }
    if (c64 && !x86_canonical_base(cpu, base)) {
        RAISE_ERR(EXC_GP, 0);
    }
    *t = (X86Table){ .base = base, .limit = limit };
}

OP(sgdt) { table_store(cpu, d, &cpu->gdt); NEXT; }
OP(sidt) { table_store(cpu, d, &cpu->idt); NEXT; }
OP(lgdt) { table_load(cpu, d, &cpu->gdt); NEXT; }
OP(lidt) { table_load(cpu, d, &cpu->idt); NEXT; }

static void table_store_word(X86Cpu *cpu, const X86Insn *d, uint64_t v)
{
    table_umip(cpu, d);
    if (insn_is_mem(d)) {
        st16(cpu, d, ea_lin(cpu, d, 2, true), (uint16_t)v);
    } else if (insn_osize(d) == 1) {
        R16(d->rm) = (uint16_t)v;
    } else {
        R64(d->rm) = insn_osize(d) == 2 ? (uint32_t)v : v;
    }
}

OP(sldt) { table_store_word(cpu, d, cpu->ldt.sel); NEXT; }
OP(str) { table_store_word(cpu, d, cpu->tr.sel); NEXT; }
OP(smsw) { table_store_word(cpu, d, cpu->cr0); NEXT; }

OP(lldt)
{
    uint16_t sel = segop_selector(cpu, d);
    SYNC(d);
    x86_load_ldt(cpu, sel, EXC_GP);
    NEXT;
}

OP(ltr)
{
    X86Desc desc;
    uint16_t sel = segop_selector(cpu, d);
    uint32_t err = sel & 0xfffc;
    SYNC(d);
    if (sel_null(sel)) {
        RAISE_ERR(EXC_GP, 0);
    }
    bool lng = in_long(cpu);
    if ((sel & 4) || !x86_desc_read(cpu, sel, &desc) || desc_s(&desc) ||
        (desc_type(&desc) != DT_TSS32 && (lng || desc_type(&desc) != DT_TSS16)) ||
        (lng && (uint32_t)((sel & ~7u) + 15) > cpu->gdt.limit)) {
        RAISE_ERR(EXC_GP, err);
    }
    if (!desc_present(&desc)) {
        RAISE_ERR(EXC_NP, err);
    }
    X86Seg tr = x86_seg_from_desc(sel, &desc);
    if (lng) {
        tr.base = x86_desc_base64(cpu, &desc);
        if (!x86_canonical_base(cpu, tr.base)) {
            RAISE_ERR(EXC_GP, err);
        }
    }
    tr.attr |= 2; /* busy, here and in the table */
    sys_st(cpu, desc.addr + 5, 1, (desc.hi >> 8 & 0xff) | 2);
    cpu->tr = tr;
    NEXT;
}

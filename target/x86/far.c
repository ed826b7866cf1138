/* SPDX-License-Identifier: MIT
 * target/x86/far.c - far JMP, CALL, RET and IRET.
 * Models:  Intel SDM volume 2 (CALL, JMP, RET, IRET operation sections, in their order of checks),
 *          volume 3 5.8 (gates, stack switching), 20.2-20.3 (VM86), 7 (task gates, through task.c).
 * Does not model: shadow stacks (CET).
 * Threads: the vCPU's thread.
 */
#include "sysint.h"

#define ERR(sel) ((uint32_t)((sel) & 0xfffc))

static unsigned far_bytes(unsigned osize)
{
    return 1u << osize;
}

static uint64_t far_offset(uint64_t off, unsigned osize)
{
    return osize == 1 ? (uint16_t)off : osize == 2 ? (uint32_t)off : off;
}

/* The target must lie in the code segment; 64-bit code: be canonical. #GP(err) otherwise. */
static void far_check_target(X86Cpu *cpu, const X86Desc *d, uint64_t off, uint32_t err)
{
    bool ok = in_long(cpu) && desc_long(d) ? x86_canonical(cpu, off) : off <= desc_limit(d);
    if (!ok) {
        x86_raise_err(cpu, EXC_GP, err);
    }
}

static void far_set_cs(X86Cpu *cpu, uint16_t sel, X86Desc *d, uint64_t rip, unsigned cpl)
{
    X86Seg cs = x86_seg_from_desc((uint16_t)((sel & ~3u) | cpl), d);
    x86_seg_commit(cpu, SEG_CS, &cs);
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = rip;
}

/* Real mode and VM86: no descriptors. */
static void far_real(X86Cpu *cpu, uint16_t sel, uint64_t off)
{
    if (off > cpu->seg[SEG_CS].limit) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    x86_set_seg_real(cpu, SEG_CS, sel);
    cpu->rip = off;
}

/* A code segment named by JMP or CALL directly. */
static void far_check_code(X86Cpu *cpu, uint16_t sel, const X86Desc *d)
{
    unsigned dpl = desc_dpl(d), rpl = sel & 3;
    if (desc_conforming(d) ? dpl > cpu->cpl : rpl > cpu->cpl || dpl != cpu->cpl) {
        x86_raise_err(cpu, EXC_GP, ERR(sel));
    }
    if (in_long(cpu) && desc_long(d) && desc_d(d)) {
        x86_raise_err(cpu, EXC_GP, ERR(sel));
    }
    if (!desc_present(d)) {
        x86_raise_err(cpu, EXC_NP, ERR(sel));
    }
}

/* DPL of a gate or TSS against CPL and RPL, then presence. */
static void far_check_gate(X86Cpu *cpu, uint16_t sel, const X86Desc *d)
{
    if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3u)) {
        x86_raise_err(cpu, EXC_GP, ERR(sel));
    }
    if (!desc_present(d)) {
        x86_raise_err(cpu, EXC_NP, ERR(sel));
    }
}

static void far_task_gate(X86Cpu *cpu, uint16_t sel, const X86Desc *gate, X86Switch why, uint64_t next_rip)
{
    X86Desc tss;
    far_check_gate(cpu, sel, gate);
    uint16_t ts = (uint16_t)(gate->lo >> 16);
    if ((ts & 4) || sel_null(ts) || !x86_desc_read(cpu, ts, &tss) || desc_s(&tss) ||
        (desc_type(&tss) != DT_TSS16 && desc_type(&tss) != DT_TSS32)) {
        x86_raise_err(cpu, EXC_GP, ERR(ts));
    }
    if (!desc_present(&tss)) {
        x86_raise_err(cpu, EXC_NP, ERR(ts));
    }
    x86_task_switch(cpu, ts, &tss, why, next_rip, 0, false, 0);
}

/* A call gate's target: selector, offset, size of its pushes. */
typedef struct Gate {
    uint16_t sel;
    uint64_t off;
    unsigned bytes, params;
    X86Desc code;
} Gate;

static Gate far_open_gate(X86Cpu *cpu, uint16_t sel, const X86Desc *d)
{
    Gate g = { .sel = (uint16_t)(d->lo >> 16), .off = d->lo & 0xffff, .params = d->hi & 31 };
    if (in_long(cpu)) {
        /* 16 bytes (SDM figure 5-8); the type field of the second half must be zero. */
        if ((uint32_t)((sel & ~7u) + 15) > ((sel & 4) ? cpu->ldt.limit : cpu->gdt.limit)) {
            x86_raise_err(cpu, EXC_GP, ERR(sel));
        }
        uint64_t high = sys_ld(cpu, d->addr + 8, 8);
        if ((high >> 40) & 0x1f) {
            x86_raise_err(cpu, EXC_GP, ERR(sel));
        }
        g.off |= (d->hi & 0xffff0000) | high << 32;
        g.bytes = 8;
        g.params = 0;
    } else if (desc_type(d) == DT_CALL32) {
        g.off |= d->hi & 0xffff0000;
        g.bytes = 4;
    } else {
        g.bytes = 2;
    }
    far_check_gate(cpu, sel, d);
    if (sel_null(g.sel)) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    if (!x86_desc_read(cpu, g.sel, &g.code) || !desc_is_code(&g.code) || desc_dpl(&g.code) > cpu->cpl) {
        x86_raise_err(cpu, EXC_GP, ERR(g.sel));
    }
    if (in_long(cpu) && (!desc_long(&g.code) || desc_d(&g.code))) {
        x86_raise_err(cpu, EXC_GP, ERR(g.sel));
    }
    return g;
}

static void far_jump_gate(X86Cpu *cpu, uint16_t sel, const X86Desc *d)
{
    Gate g = far_open_gate(cpu, sel, d);
    if (!desc_conforming(&g.code) && desc_dpl(&g.code) != cpu->cpl) {
        x86_raise_err(cpu, EXC_GP, ERR(g.sel));
    }
    if (!desc_present(&g.code)) {
        x86_raise_err(cpu, EXC_NP, ERR(g.sel));
    }
    far_check_target(cpu, &g.code, g.off, 0);
    x86_desc_mark_accessed(cpu, &g.code);
    far_set_cs(cpu, g.sel, &g.code, g.off, cpu->cpl);
    x86_update_mode(cpu);
}

/* Null, out of bounds and type decision common to JMP and CALL. */
static void far_read_target(X86Cpu *cpu, uint16_t sel, X86Desc *d)
{
    if (sel_null(sel)) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    if (!x86_desc_read(cpu, sel, d) || (desc_s(d) && !desc_is_code(d))) {
        x86_raise_err(cpu, EXC_GP, ERR(sel));
    }
}

/* Gates and TSSs that are legal in this mode (SDM table 3-2); everything else is #GP(selector). */
static unsigned far_system_type(X86Cpu *cpu, uint16_t sel, const X86Desc *d)
{
    unsigned t = desc_type(d);
    bool ok = in_long(cpu)
                  ? t == DT_CALL32
                  : t == DT_CALL16 || t == DT_CALL32 || t == DT_TASK || t == DT_TSS16 || t == DT_TSS32;
    if (!ok) {
        x86_raise_err(cpu, EXC_GP, ERR(sel));
    }
    return t;
}

void x86_far_jump(X86Cpu *cpu, uint16_t sel, uint64_t off, unsigned osize)
{
    X86Desc d;
    off = far_offset(off, osize);
    if (in_real(cpu) || in_vm86(cpu)) {
        far_real(cpu, sel, off);
        return;
    }
    far_read_target(cpu, sel, &d);
    if (desc_s(&d)) {
        far_check_code(cpu, sel, &d);
        far_check_target(cpu, &d, off, 0);
        x86_desc_mark_accessed(cpu, &d);
        far_set_cs(cpu, sel, &d, off, cpu->cpl);
        x86_update_mode(cpu);
        return;
    }
    switch (far_system_type(cpu, sel, &d)) {
    case DT_CALL16:
    case DT_CALL32:
        far_jump_gate(cpu, sel, &d);
        break;
    case DT_TASK:
        far_task_gate(cpu, sel, &d, SWITCH_JMP, insn_next_rip(cpu, cpu->cur));
        break;
    default:
        if ((sel & 4) != 0) {
            x86_raise_err(cpu, EXC_GP, ERR(sel));
        }
        far_check_gate(cpu, sel, &d);
        x86_task_switch(cpu, sel, &d, SWITCH_JMP, insn_next_rip(cpu, cpu->cur), 0, false, 0);
    }
}

/* SDM 5.8.5 and 6.12.1: SS:ESP for privilege level dpl, from the current TSS. */
void x86_tss_stack32(X86Cpu *cpu, unsigned dpl, unsigned ext, X86Seg *ss, X86Desc *d, uint32_t *esp)
{
    uint16_t sel;
    uint32_t ts_err = (cpu->tr.sel & 0xfffcu) | ext;
    if (desc_type(&(X86Desc){ .hi = cpu->tr.attr << 8 }) & 8) {
        unsigned at = 4 + dpl * 8;
        if (at + 5 > cpu->tr.limit) {
            x86_raise_err(cpu, EXC_TS, ts_err);
        }
        *esp = (uint32_t)sys_ld(cpu, (uint32_t)(cpu->tr.base + at), 4);
        sel = (uint16_t)sys_ld(cpu, (uint32_t)(cpu->tr.base + at + 4), 2);
    } else {
        unsigned at = 2 + dpl * 4;
        if (at + 3 > cpu->tr.limit) {
            x86_raise_err(cpu, EXC_TS, ts_err);
        }
        *esp = (uint32_t)sys_ld(cpu, (uint32_t)(cpu->tr.base + at), 2);
        sel = (uint16_t)sys_ld(cpu, (uint32_t)(cpu->tr.base + at + 2), 2);
    }
    if (sel_null(sel)) {
        x86_raise_err(cpu, EXC_TS, ext);
    }
    uint32_t err = ERR(sel) | ext;
    if (!x86_desc_read(cpu, sel, d) || (sel & 3u) != dpl || desc_dpl(d) != dpl || !desc_is_stack(d)) {
        x86_raise_err(cpu, EXC_TS, err);
    }
    if (!desc_present(d)) {
        x86_raise_err(cpu, EXC_SS, err);
    }
    *ss = x86_seg_from_desc(sel, d);
}

/* RSPn or ISTn of a 64-bit TSS (SDM figure 7-11). */
uint64_t x86_tss_stack64(X86Cpu *cpu, unsigned slot_offset, unsigned ext)
{
    if (slot_offset + 7 > cpu->tr.limit) {
        x86_raise_err(cpu, EXC_TS, (cpu->tr.sel & 0xfffcu) | ext);
    }
    uint64_t rsp = sys_ld(cpu, cpu->tr.base + slot_offset, 8);
    if (!x86_canonical(cpu, rsp)) {
        x86_raise_err(cpu, EXC_SS, ext);
    }
    return rsp;
}

static void far_call_inner(X86Cpu *cpu, Gate *g, uint64_t ret_rip)
{
    unsigned dpl = desc_dpl(&g->code);
    X86Seg ss;
    X86Desc ssd = { 0 };
    uint64_t sp;
    X86Stack old = x86_stack_here(cpu), new;
    if (in_long(cpu)) {
        sp = x86_tss_stack64(cpu, 4 + dpl * 8, 0);
        ss = (X86Seg){ .sel = (uint16_t)dpl, .attr = SA_UNUSABLE | dpl << SA_DPL_SHIFT };
        new = x86_stack_new(cpu, NULL, sp, dpl, 0);
    } else {
        uint32_t esp;
        x86_tss_stack32(cpu, dpl, 0, &ss, &ssd, &esp);
        new = x86_stack_new(cpu, &ss, esp, dpl, ERR(ss.sel));
    }
    far_check_target(cpu, &g->code, g->off, 0);
    uint32_t params[31];
    for (unsigned i = 0; i < g->params; i++) {
        params[i] = (uint32_t)x86_stack_pop(&old, g->bytes);
    }
    x86_stack_push(&new, cpu->seg[SEG_SS].sel, g->bytes);
    x86_stack_push(&new, cpu->gpr[R_RSP], g->bytes);
    for (unsigned i = g->params; i-- > 0;) {
        x86_stack_push(&new, params[i], g->bytes);
    }
    x86_stack_push(&new, cpu->seg[SEG_CS].sel, g->bytes);
    x86_stack_push(&new, ret_rip, g->bytes);
    x86_desc_mark_accessed(cpu, &g->code);
    if (!in_long(cpu)) {
        x86_desc_mark_accessed(cpu, &ssd);
        ss = x86_seg_from_desc(ss.sel, &ssd);
    }
    far_set_cs(cpu, g->sel, &g->code, g->off, dpl);
    x86_seg_commit(cpu, SEG_SS, &ss);
    x86_stack_commit(cpu, &new);
}

static void far_call_gate(X86Cpu *cpu, uint16_t sel, const X86Desc *d, uint64_t ret_rip)
{
    Gate g = far_open_gate(cpu, sel, d);
    if (!desc_present(&g.code)) {
        x86_raise_err(cpu, EXC_NP, ERR(g.sel));
    }
    if (!desc_conforming(&g.code) && desc_dpl(&g.code) < cpu->cpl) {
        far_call_inner(cpu, &g, ret_rip);
    } else {
        X86Stack s = x86_stack_here(cpu);
        if (in_long(cpu)) {
            /* A 64-bit gate leads to 64-bit code: the pushes are 64-bit, from compatibility mode too. */
            s.seg = NULL;
            s.base = 0;
            s.mask = UINT64_MAX;
        }
        x86_stack_push(&s, cpu->seg[SEG_CS].sel, g.bytes);
        x86_stack_push(&s, ret_rip, g.bytes);
        far_check_target(cpu, &g.code, g.off, 0);
        x86_desc_mark_accessed(cpu, &g.code);
        far_set_cs(cpu, g.sel, &g.code, g.off, cpu->cpl);
        x86_stack_commit(cpu, &s);
    }
    x86_update_mode(cpu);
}

void x86_far_call(X86Cpu *cpu, uint16_t sel, uint64_t off, unsigned osize, uint64_t ret_rip)
{
    X86Desc d;
    unsigned bytes = far_bytes(osize);
    off = far_offset(off, osize);
    if (in_real(cpu) || in_vm86(cpu)) {
        X86Stack s = x86_stack_here(cpu);
        x86_stack_push(&s, cpu->seg[SEG_CS].sel, bytes);
        x86_stack_push(&s, ret_rip, bytes);
        far_real(cpu, sel, off);
        x86_stack_commit(cpu, &s);
        return;
    }
    far_read_target(cpu, sel, &d);
    if (desc_s(&d)) {
        far_check_code(cpu, sel, &d);
        X86Stack s = x86_stack_here(cpu);
        x86_stack_push(&s, cpu->seg[SEG_CS].sel, bytes);
        x86_stack_push(&s, ret_rip, bytes);
        far_check_target(cpu, &d, off, 0);
        x86_desc_mark_accessed(cpu, &d);
        x86_stack_commit(cpu, &s);
        far_set_cs(cpu, sel, &d, off, cpu->cpl);
        x86_update_mode(cpu);
        return;
    }
    switch (far_system_type(cpu, sel, &d)) {
    case DT_CALL16:
    case DT_CALL32:
        far_call_gate(cpu, sel, &d, ret_rip);
        break;
    case DT_TASK:
        far_task_gate(cpu, sel, &d, SWITCH_CALL, ret_rip);
        break;
    default:
        if ((sel & 4) != 0) {
            x86_raise_err(cpu, EXC_GP, ERR(sel));
        }
        far_check_gate(cpu, sel, &d);
        x86_task_switch(cpu, sel, &d, SWITCH_CALL, ret_rip, 0, false, 0);
    }
}

/* --- returns --- */

/* CS of RETF and IRET. */
static void ret_check_cs(X86Cpu *cpu, uint16_t sel, X86Desc *d)
{
    unsigned rpl = sel & 3;
    if (sel_null(sel)) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    if (!x86_desc_read(cpu, sel, d) || !desc_is_code(d) || rpl < cpu->cpl ||
        (desc_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl) ||
        (in_long(cpu) && desc_long(d) && desc_d(d))) {
        x86_raise_err(cpu, EXC_GP, ERR(sel));
    }
    if (!desc_present(d)) {
        x86_raise_err(cpu, EXC_NP, ERR(sel));
    }
}

/* SS of a return to an outer level (or of IRET in 64-bit mode); fills *ss, marks nothing. */
static void ret_check_ss(X86Cpu *cpu, uint16_t sel, unsigned rpl, bool to_code64, X86Seg *ss, X86Desc *d)
{
    if (sel_null(sel)) {
        if (!to_code64 || rpl == 3 || (sel & 3u) != rpl) {
            x86_raise_err(cpu, EXC_GP, 0);
        }
        *ss = (X86Seg){ .sel = sel, .attr = SA_UNUSABLE | rpl << SA_DPL_SHIFT };
        d->addr = 0;
        return;
    }
    if (!x86_desc_read(cpu, sel, d) || (sel & 3u) != rpl || !desc_is_stack(d) || desc_dpl(d) != rpl) {
        x86_raise_err(cpu, EXC_GP, ERR(sel));
    }
    if (!desc_present(d)) {
        x86_raise_err(cpu, EXC_SS, ERR(sel));
    }
    x86_desc_mark_accessed(cpu, d);
    *ss = x86_seg_from_desc(sel, d);
}

/* SDM RET: data segments the outer level may not use become null. */
static void ret_drop_segments(X86Cpu *cpu)
{
    static const unsigned segs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    for (unsigned i = 0; i < G_N_ELEMENTS(segs); i++) {
        X86Seg *s = &cpu->seg[segs[i]];
        bool conforming = (s->attr & (SA_CODE | SA_CE)) == (SA_CODE | SA_CE);
        if (!(s->attr & SA_UNUSABLE) && !conforming && (s->attr & SA_DPL) >> SA_DPL_SHIFT < cpu->cpl) {
            X86Seg null = { .attr = SA_UNUSABLE };
            x86_seg_commit(cpu, segs[i], &null);
        }
    }
}

static void ret_set_rsp(X86Cpu *cpu, uint64_t sp, unsigned bytes)
{
    uint64_t mask = in_code64(cpu) ? UINT64_MAX : cpu->seg[SEG_SS].attr & SA_DB ? 0xffffffff : 0xffff;
    if (mask == 0xffff) {
        /* A 32-bit pop into a 16-bit stack keeps what it loaded above SP. */
        uint64_t high = bytes >= 4 ? sp & 0xffff0000 : cpu->gpr[R_RSP] & ~0xffffull;
        cpu->gpr[R_RSP] = high | (sp & 0xffff);
    } else {
        cpu->gpr[R_RSP] = sp & mask;
    }
}

static void far_ret_real(X86Cpu *cpu, unsigned bytes, unsigned pop_bytes)
{
    X86Stack s = x86_stack_here(cpu);
    uint64_t off = x86_stack_pop(&s, bytes);
    uint16_t sel = (uint16_t)x86_stack_pop(&s, bytes);
    far_real(cpu, sel, off);
    s.sp = (s.sp & ~s.mask) | ((s.sp + pop_bytes) & s.mask);
    x86_stack_commit(cpu, &s);
}

void x86_far_ret(X86Cpu *cpu, unsigned osize, unsigned pop_bytes)
{
    unsigned bytes = far_bytes(osize);
    if (in_real(cpu) || in_vm86(cpu)) {
        far_ret_real(cpu, bytes, pop_bytes);
        return;
    }
    X86Stack s = x86_stack_here(cpu);
    X86Desc d, ssd;
    X86Seg ss;
    uint64_t rip = x86_stack_pop(&s, bytes);
    uint16_t sel = (uint16_t)x86_stack_pop(&s, bytes);
    ret_check_cs(cpu, sel, &d);
    unsigned rpl = sel & 3;
    s.sp =
        s.mask == 0xffff ? (s.sp & ~0xffffull) | ((s.sp + pop_bytes) & 0xffff) : (s.sp + pop_bytes) & s.mask;
    if (rpl == cpu->cpl) {
        far_check_target(cpu, &d, rip, 0);
        x86_desc_mark_accessed(cpu, &d);
        far_set_cs(cpu, sel, &d, rip, rpl);
        x86_stack_commit(cpu, &s);
        x86_update_mode(cpu);
        return;
    }
    uint64_t sp = x86_stack_pop(&s, bytes);
    uint16_t ss_sel = (uint16_t)x86_stack_pop(&s, bytes);
    ret_check_ss(cpu, ss_sel, rpl, in_long(cpu) && desc_long(&d), &ss, &ssd);
    far_check_target(cpu, &d, rip, 0);
    x86_desc_mark_accessed(cpu, &d);
    far_set_cs(cpu, sel, &d, rip, rpl);
    x86_seg_commit(cpu, SEG_SS, &ss);
    ret_set_rsp(cpu, sp + pop_bytes, bytes);
    ret_drop_segments(cpu);
    x86_update_mode(cpu);
}

/* RF matters to the next instruction only, and only if an instruction breakpoint is armed. */
static uint32_t iret_effective(const X86Cpu *cpu, uint32_t fl)
{
    return x86_code_bp_enabled(cpu) ? fl : fl & ~FL_RF;
}

static const uint32_t iret_common = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID;

static void iret_real(X86Cpu *cpu, unsigned osize)
{
    unsigned bytes = far_bytes(osize);
    X86Stack s = x86_stack_here(cpu);
    uint64_t rip = x86_stack_pop(&s, bytes);
    uint16_t sel = (uint16_t)x86_stack_pop(&s, bytes);
    uint32_t fl = (uint32_t)x86_stack_pop(&s, bytes);
    uint32_t mask = iret_common | FL_IF | FL_IOPL;
    far_real(cpu, sel, rip);
    x86_stack_commit(cpu, &s);
    x86_set_eflags(cpu, iret_effective(cpu, fl), osize == 1 ? mask & 0xffff : mask);
}

/* SDM 20.2.5 and 20.3: IOPL 3 returns; below it only the 16-bit form with VME does. */
static void iret_vm86(X86Cpu *cpu, unsigned osize)
{
    bool virt = iopl(cpu) < 3;
    if (virt && (!(cpu->cr4 & CR4_VME) || osize != 1)) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    unsigned bytes = far_bytes(osize);
    X86Stack s = x86_stack_here(cpu);
    uint64_t rip = x86_stack_pop(&s, bytes);
    uint16_t sel = (uint16_t)x86_stack_pop(&s, bytes);
    uint32_t fl = (uint32_t)x86_stack_pop(&s, bytes);
    uint32_t mask = iret_common | FL_IF;
    if (virt) {
        if ((fl & FL_TF) || ((fl & FL_IF) && (cpu->eflags & FL_VIP))) {
            x86_raise_err(cpu, EXC_GP, 0);
        }
        far_real(cpu, sel, rip);
        x86_stack_commit(cpu, &s);
        x86_set_eflags(cpu, (fl & 0xffff) | (fl & FL_IF ? FL_VIF : 0), (iret_common & 0xffff) | FL_VIF);
        return;
    }
    far_real(cpu, sel, rip);
    x86_stack_commit(cpu, &s);
    x86_set_eflags(cpu, iret_effective(cpu, fl), osize == 1 ? mask & 0xffff : mask);
}

/* NT: back to the task that called or was interrupted. */
static void iret_task(X86Cpu *cpu)
{
    X86Desc tss;
    if (in_long(cpu)) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    uint16_t link = (uint16_t)sys_ld(cpu, (uint32_t)cpu->tr.base, 2);
    if (sel_null(link) || (link & 4) || !x86_desc_read(cpu, link, &tss) || desc_s(&tss) ||
        (desc_type(&tss) != DT_TSS16_BUSY && desc_type(&tss) != DT_TSS32_BUSY)) {
        x86_raise_err(cpu, EXC_TS, ERR(link));
    }
    if (!desc_present(&tss)) {
        x86_raise_err(cpu, EXC_NP, ERR(link));
    }
    x86_task_switch(cpu, link, &tss, SWITCH_IRET, insn_next_rip(cpu, cpu->cur), 0, false, 0);
}

static void iret_to_vm86(X86Cpu *cpu, X86Stack *s, uint64_t rip, uint16_t cs, uint32_t fl)
{
    static const unsigned order[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    uint64_t esp = x86_stack_pop(s, 4);
    uint16_t ss = (uint16_t)x86_stack_pop(s, 4), data[4];
    for (unsigned i = 0; i < 4; i++) {
        data[i] = (uint16_t)x86_stack_pop(s, 4);
    }
    if (rip > 0xffff) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    x86_set_eflags(cpu, iret_effective(cpu, fl), iret_common | FL_IF | FL_IOPL | FL_VM | FL_VIF | FL_VIP);
    X86Seg seg = x86_seg_real(cs, 3);
    x86_seg_commit(cpu, SEG_CS, &seg);
    seg = x86_seg_real(ss, 3);
    x86_seg_commit(cpu, SEG_SS, &seg);
    for (unsigned i = 0; i < 4; i++) {
        seg = x86_seg_real(data[i], 3);
        x86_seg_commit(cpu, order[i], &seg);
    }
    cpu->gpr[R_RSP] = (uint32_t)esp;
    cpu->rip = rip;
    cpu->cpl = 3;
    x86_update_mode(cpu);
}

void x86_iret(X86Cpu *cpu, unsigned osize)
{
    unsigned bytes = far_bytes(osize);
    cpu->nmi_blocked = false; /* SDM 6.7.1: even if the instruction faults */
    if (in_real(cpu)) {
        iret_real(cpu, osize);
        return;
    }
    if (in_vm86(cpu)) {
        iret_vm86(cpu, osize);
        return;
    }
    if (cpu->eflags & FL_NT) {
        iret_task(cpu);
        return;
    }
    X86Stack s = x86_stack_here(cpu);
    X86Desc d, ssd;
    X86Seg ss;
    bool code64 = in_code64(cpu);
    uint64_t rip = x86_stack_pop(&s, bytes);
    uint16_t sel = (uint16_t)x86_stack_pop(&s, bytes);
    uint32_t fl = (uint32_t)x86_stack_pop(&s, bytes);
    unsigned old_cpl = cpu->cpl, rpl = sel & 3;
    if (osize == 2 && (fl & FL_VM) && old_cpl == 0 && !in_long(cpu)) {
        iret_to_vm86(cpu, &s, rip, sel, fl);
        return;
    }
    ret_check_cs(cpu, sel, &d);
    bool outer = rpl != old_cpl || code64;
    uint64_t sp = 0;
    if (outer) {
        sp = x86_stack_pop(&s, bytes);
        uint16_t ss_sel = (uint16_t)x86_stack_pop(&s, bytes);
        ret_check_ss(cpu, ss_sel, rpl, in_long(cpu) && desc_long(&d), &ss, &ssd);
    }
    far_check_target(cpu, &d, rip, 0);
    x86_desc_mark_accessed(cpu, &d);
    uint32_t mask = iret_common;
    if (old_cpl <= iopl(cpu)) {
        mask |= FL_IF;
    }
    if (old_cpl == 0) {
        mask |= FL_IOPL | FL_VIF | FL_VIP;
    }
    far_set_cs(cpu, sel, &d, rip, rpl);
    if (outer) {
        x86_seg_commit(cpu, SEG_SS, &ss);
        ret_set_rsp(cpu, sp, bytes);
        if (rpl != old_cpl) {
            ret_drop_segments(cpu);
        }
    } else {
        x86_stack_commit(cpu, &s);
    }
    x86_set_eflags(cpu, iret_effective(cpu, fl), osize == 1 ? mask & 0xffff : mask);
    x86_update_mode(cpu);
}

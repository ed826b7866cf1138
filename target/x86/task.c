/* SPDX-License-Identifier: MIT
 * target/x86/task.c - hardware task switches.
 * Models:  Intel SDM volume 3 chapter 7: 16-bit and 32-bit TSSs, 7.3 (order of steps and exceptions),
 *          table 7-2 (busy flag, NT, link field).
 * Does not model: task switches in IA-32e mode, which do not exist (7.7).
 * Threads: the vCPU's thread.
 */
#include "sysint.h"

#define ERR(sel) ((uint32_t)((sel) & 0xfffc))

enum { TSS32_SIZE = 0x68, TSS16_SIZE = 0x2c, TSS_BUSY = 0x2 };

/* What a TSS holds, whichever form. Segment order is the register numbers' (ES CS SS DS FS GS). */
typedef struct Tss {
    uint32_t cr3, eip, eflags, gpr[8];
    uint16_t seg[6], ldt;
    bool trap;
} Tss;

static uint32_t tss_ld(X86Cpu *cpu, uint64_t base, unsigned at, unsigned n)
{
    return (uint32_t)sys_ld(cpu, (uint32_t)(base + at), n);
}

static void tss_st(X86Cpu *cpu, uint64_t base, unsigned at, unsigned n, uint32_t v)
{
    sys_st(cpu, (uint32_t)(base + at), n, v);
}

static void tss_read(X86Cpu *cpu, uint64_t base, bool is32, Tss *t)
{
    memset(t, 0, sizeof(*t));
    if (is32) {
        t->cr3 = tss_ld(cpu, base, 0x1c, 4);
        t->eip = tss_ld(cpu, base, 0x20, 4);
        t->eflags = tss_ld(cpu, base, 0x24, 4);
        for (unsigned i = 0; i < 8; i++) {
            t->gpr[i] = tss_ld(cpu, base, 0x28 + 4 * i, 4);
        }
        for (unsigned i = 0; i < 6; i++) {
            t->seg[i] = (uint16_t)tss_ld(cpu, base, 0x48 + 4 * i, 2);
        }
        t->ldt = (uint16_t)tss_ld(cpu, base, 0x60, 2);
        t->trap = tss_ld(cpu, base, 0x64, 2) & 1;
        return;
    }
    t->eip = tss_ld(cpu, base, 0x0e, 2);
    t->eflags = tss_ld(cpu, base, 0x10, 2);
    for (unsigned i = 0; i < 8; i++) {
        t->gpr[i] = tss_ld(cpu, base, 0x12 + 2 * i, 2) | 0xffff0000;
    }
    for (unsigned i = 0; i < 4; i++) {
        t->seg[i] = (uint16_t)tss_ld(cpu, base, 0x22 + 2 * i, 2);
    }
    t->ldt = (uint16_t)tss_ld(cpu, base, 0x2a, 2);
}

/* The dynamic fields only: CR3, LDT and the inner stacks are the operating system's. */
static void tss_save(X86Cpu *cpu, uint64_t base, bool is32, uint32_t eip, uint32_t eflags)
{
    if (is32) {
        tss_st(cpu, base, 0x20, 4, eip);
        tss_st(cpu, base, 0x24, 4, eflags);
        for (unsigned i = 0; i < 8; i++) {
            tss_st(cpu, base, 0x28 + 4 * i, 4, (uint32_t)cpu->gpr[i]);
        }
        for (unsigned i = 0; i < 6; i++) {
            tss_st(cpu, base, 0x48 + 4 * i, 2, cpu->seg[i].sel);
        }
        return;
    }
    tss_st(cpu, base, 0x0e, 2, eip);
    tss_st(cpu, base, 0x10, 2, eflags);
    for (unsigned i = 0; i < 8; i++) {
        tss_st(cpu, base, 0x12 + 2 * i, 2, (uint32_t)cpu->gpr[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        tss_st(cpu, base, 0x22 + 2 * i, 2, cpu->seg[i].sel);
    }
}

static void tss_set_busy(X86Cpu *cpu, uint16_t sel, bool busy)
{
    uint64_t at = (uint32_t)(cpu->gdt.base + (sel & ~7u) + 5);
    uint64_t b = sys_ld(cpu, at, 1);
    sys_st(cpu, at, 1, busy ? b | TSS_BUSY : b & ~(uint64_t)TSS_BUSY);
}

/* CS of the new task (SDM table 7-1: steps that report #TS). CPL becomes its RPL. */
static void task_load_cs(X86Cpu *cpu, uint16_t sel)
{
    X86Desc d;
    unsigned rpl = sel & 3;
    if (sel_null(sel)) {
        x86_raise_err(cpu, EXC_TS, ERR(sel));
    }
    if (!x86_desc_read(cpu, sel, &d) || !desc_is_code(&d) ||
        (desc_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)) {
        x86_raise_err(cpu, EXC_TS, ERR(sel));
    }
    if (!desc_present(&d)) {
        x86_raise_err(cpu, EXC_NP, ERR(sel));
    }
    x86_desc_mark_accessed(cpu, &d);
    X86Seg cs = x86_seg_from_desc(sel, &d);
    x86_seg_commit(cpu, SEG_CS, &cs);
}

/* Runs in the context of the new task: its faults have the new EIP. */
static void task_load_segments(X86Cpu *cpu, const Tss *t)
{
    static const unsigned data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    if (t->eflags & FL_VM) {
        x86_load_ldt(cpu, t->ldt, EXC_TS);
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            X86Seg s = x86_seg_real(t->seg[i], 3);
            x86_seg_commit(cpu, i, &s);
        }
        cpu->cpl = 3;
        x86_update_mode(cpu);
        return;
    }
    x86_load_ldt(cpu, t->ldt, EXC_TS);
    cpu->cpl = t->seg[SEG_CS] & 3;
    task_load_cs(cpu, t->seg[SEG_CS]);
    x86_load_seg_checked(cpu, SEG_SS, t->seg[SEG_SS], cpu->cpl, EXC_TS);
    for (unsigned i = 0; i < G_N_ELEMENTS(data); i++) {
        x86_load_seg_checked(cpu, data[i], t->seg[data[i]], cpu->cpl, EXC_TS);
    }
    x86_update_mode(cpu);
}

/* Selectors first, all of them not usable: what a fault in the new task sees (SDM 7.3, step 12). */
static void task_commit(X86Cpu *cpu, const Tss *t, bool is32)
{
    cpu->rip = t->eip;
    for (unsigned i = 0; i < 8; i++) {
        cpu->gpr[i] = t->gpr[i];
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        X86Seg s = { .sel = t->seg[i], .attr = SA_UNUSABLE };
        if (i == SEG_CS || i == SEG_SS) {
            s.attr = cpu->seg[i].attr;
            s.limit = cpu->seg[i].limit;
            s.base = cpu->seg[i].base;
        }
        x86_seg_commit(cpu, i, &s);
    }
    uint32_t fl = t->eflags;
    if (!is32) {
        fl = (fl & 0xffff) | (cpu->eflags & 0xffff0000 & ~(FL_RF | FL_VM));
    }
    const uint32_t all =
        FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID;
    x86_set_eflags(cpu, fl, all);
}

void x86_task_switch(X86Cpu *cpu, uint16_t sel, X86Desc *d, X86Switch why, uint64_t next_rip, unsigned ext,
                     bool has_err, uint32_t err)
{
    bool new32 = desc_type(d) & 8, old32 = (cpu->tr.attr & SA_TYPE) & 8;
    uint64_t base = desc_base(d), old_base = cpu->tr.base;
    uint32_t need = new32 ? TSS32_SIZE : TSS16_SIZE, old_size = old32 ? TSS32_SIZE : TSS16_SIZE;
    if (desc_limit(d) < need - 1) {
        x86_raise_err(cpu, EXC_TS, ERR(sel) | ext);
    }
    if (cpu->tr.limit < old_size - 1) {
        x86_raise_err(cpu, EXC_TS, (cpu->tr.sel & 0xfffcu) | ext);
    }
    /* Everything that may fault before the commit point. */
    Tss t;
    uint16_t old_sel = cpu->tr.sel;
    uint32_t eflags = x86_get_eflags(cpu);
    x86_probe_write(cpu, (uint32_t)old_base, old_size, sys_mmu(cpu));
    tss_read(cpu, base, new32, &t);
    if (why == SWITCH_CALL || why == SWITCH_INT) {
        x86_probe_write(cpu, (uint32_t)base, 2, sys_mmu(cpu));
    }
    bool paged = (cpu->cr0 & CR0_PG) && new32;
    if (why == SWITCH_IRET) {
        eflags &= ~FL_NT;
    } else if (why == SWITCH_INT && cpu->sys->pending_fault) {
        eflags |= FL_RF;
    }
    tss_save(cpu, old_base, old32, (uint32_t)next_rip, eflags);
    if (why == SWITCH_JMP || why == SWITCH_IRET) {
        tss_set_busy(cpu, old_sel, false);
    }
    if (why == SWITCH_CALL || why == SWITCH_INT) {
        tss_st(cpu, base, 0, 2, old_sel);
        t.eflags |= FL_NT;
    }
    if (why != SWITCH_IRET) {
        tss_set_busy(cpu, sel, true);
    }
    /* The commit point: from here on faults belong to the new task. */
    cpu->cur = NULL;
    cpu->cr0 |= CR0_TS;
    cpu->tr = x86_seg_from_desc(sel, d);
    cpu->tr.attr |= TSS_BUSY;
    task_commit(cpu, &t, new32);
    if (paged && cpu->cr3 != t.cr3 && !x86_set_cr3(cpu, t.cr3)) {
        x86_raise_err(cpu, EXC_TS, ERR(sel) | ext);
    }
    for (unsigned i = 0; i < 4; i++) {
        cpu->dr[7] &= ~(1ull << (2 * i)); /* 17.2.4: local enables end with the task */
    }
    task_load_segments(cpu, &t);
    if (t.eip > cpu->seg[SEG_CS].limit) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    if (has_err) {
        unsigned bytes = new32 ? 4 : 2;
        X86Stack s = x86_stack_here(cpu);
        s.err = ext;
        x86_stack_push(&s, err, bytes);
        x86_stack_commit(cpu, &s);
    }
    if (t.trap) {
        cpu->exc_in_flight = false; /* the switch is complete: not a fault of the event that came through a task gate */
        x86_raise_db_trap(cpu, DR6_BT);
    }
}

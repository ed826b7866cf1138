/* SPDX-License-Identifier: MIT
 * target/x86/exception.c - exceptions and interrupts: raising, classifying, delivering.
 * Models:  Intel SDM volume 3 chapter 6: IVT, 16/32/64-bit IDT, error codes (6.13), EXT, IST (6.14.5),
 * contributory classes and #DF (table 6-5), shutdown; 17.3.1.1 (RF in the pushed image); 20.2-20.3 (VM86,
 * VME).
 * Does not model: machine-check delivery by hardware events, #VE, #CP.
 * Threads: the vCPU's thread.
 */
#include "sysint.h"
#include "rhea/util/log.h"

#define ERR(sel) ((uint32_t)((sel) & 0xfffc))

bool x86_has_errcode(int vector)
{
    return vector == EXC_DF || (vector >= EXC_TS && vector <= EXC_PF) || vector == EXC_AC;
}

const char *x86_vector_name(int vector)
{
    static const char *const names[] = {
        "#DE divide error",
        "#DB debug",
        "NMI",
        "#BP breakpoint",
        "#OF overflow",
        "#BR bound range",
        "#UD invalid opcode",
        "#NM device not available",
        "#DF double fault",
        "coprocessor overrun",
        "#TS invalid TSS",
        "#NP segment not present",
        "#SS stack fault",
        "#GP general protection",
        "#PF page fault",
        "vector 15",
        "#MF x87 error",
        "#AC alignment check",
        "#MC machine check",
        "#XM SIMD error",
    };
    return vector >= 0 && vector < (int)G_N_ELEMENTS(names) ? names[vector] : "interrupt";
}

/* --- raising --- */

/* SDM table 6-4. */
static bool exc_contributory(int v)
{
    return v == EXC_DE || (v >= EXC_TS && v <= EXC_GP);
}

static void chain_add(X86Cpu *cpu, int vector, uint32_t err)
{
    X86SysState *s = cpu->sys;
    if (s->n_chain == X86_CHAIN) {
        memmove(s->chain, s->chain + 1, sizeof(s->chain[0]) * (X86_CHAIN - 1));
        s->n_chain--;
    }
    s->chain[s->n_chain++] = (X86Fault){ .vector = vector, .has_err = x86_has_errcode(vector), .err = err,
                                         .cs = cpu->seg[SEG_CS].sel, .cpl = cpu->cpl, .rip = cpu->rip,
                                         .cr2 = vector == EXC_PF ? cpu->cr2 : 0 };
}

static G_GNUC_NORETURN void exc_throw(X86Cpu *cpu, int vector, uint32_t err, bool fault)
{
    if (cpu->cur) {
        cpu->rip = insn_rip(cpu, cpu->cur);
        cpu->cur = NULL;
    }
    if (!cpu->exc_in_flight) {
        cpu->sys->n_chain = 0;
    }
    chain_add(cpu, vector, err);
    if (cpu->exc_in_flight) {
        /* SDM table 6-5: second fault while delivering the first. exc_vector < 0: shutdown. */
        int first = cpu->exc_vector;
        if (first == EXC_DF) {
            vector = -1;
        } else if ((exc_contributory(first) && exc_contributory(vector)) ||
                   (first == EXC_PF && (vector == EXC_PF || exc_contributory(vector)))) {
            vector = EXC_DF;
            err = 0;
            fault = false;
        }
    }
    cpu->exc_vector = vector;
    cpu->exc_err = err;
    cpu->sys->pending_fault = fault;
    siglongjmp(cpu->fault_jmp, 1);
}

void x86_raise(X86Cpu *cpu, int vector)
{
    exc_throw(cpu, vector, 0, true);
}

void x86_raise_err(X86Cpu *cpu, int vector, uint32_t err)
{
    exc_throw(cpu, vector, err, true);
}

void x86_raise_db_trap(X86Cpu *cpu, uint64_t dr6_bits)
{
    cpu->dr[6] |= dr6_bits;
    cpu->db_hits = 0;
    cpu->cur = NULL; /* a trap: rip is already that of the next instruction */
    exc_throw(cpu, EXC_DB, 0, false);
}

void x86_shutdown(X86Cpu *cpu, const char *why, const char *which)
{
    cpu->sys->shutdown_why = why;
    cpu->sys->shutdown_which = which;
    cpu->sys->n_chain = 0;
    cpu->cur = NULL;
    cpu->exc_vector = -1;
    siglongjmp(cpu->fault_jmp, 1);
}

/* --- delivering --- */

static uint32_t int_pushed_flags(X86Cpu *cpu, X86IntKind kind)
{
    uint32_t fl = x86_get_eflags(cpu);
    return kind == INT_EXCEPTION && cpu->sys->pending_fault ? fl | FL_RF : fl;
}

static void int_real(X86Cpu *cpu, int vector, X86IntKind kind)
{
    if ((unsigned)vector * 4 + 3 > cpu->idt.limit) {
        x86_raise_err(cpu, EXC_GP, (uint32_t)vector * 8 + 2);
    }
    uint32_t ptr = (uint32_t)sys_ld(cpu, (uint32_t)(cpu->idt.base + (unsigned)vector * 4), 4);
    X86Stack s = x86_stack_here(cpu);
    x86_stack_push(&s, int_pushed_flags(cpu, kind) & 0xffff, 2);
    x86_stack_push(&s, cpu->seg[SEG_CS].sel, 2);
    x86_stack_push(&s, cpu->rip, 2);
    x86_stack_commit(cpu, &s);
    x86_set_eflags(cpu, 0, FL_IF | FL_TF | FL_AC | FL_RF);
    x86_set_seg_real(cpu, SEG_CS, (uint16_t)(ptr >> 16));
    cpu->rip = ptr & 0xffff;
}

static bool tss_is32(const X86Cpu *cpu)
{
    return (cpu->tr.attr & (SA_TYPE & ~2)) == DT_TSS32 && !(cpu->tr.attr & SA_S);
}

/* SDM 20.3, table 20-2: VME and the redirection bit say whether the 8086 program's own handler gets INT n. */
bool x86_vme_redirected(X86Cpu *cpu, int vector)
{
    if (!(cpu->cr4 & CR4_VME) || !tss_is32(cpu) || cpu->tr.limit < 0x67) {
        return false;
    }
    unsigned map = (unsigned)sys_ld(cpu, (uint32_t)(cpu->tr.base + 0x66), 2);
    unsigned at = map - 32 + (unsigned)vector / 8;
    if (map < 32 || at > cpu->tr.limit) {
        return false;
    }
    return !(sys_ld(cpu, (uint32_t)(cpu->tr.base + at), 1) >> (vector & 7) & 1);
}

/* Through the 8086 program's IVT at linear 0, staying in VM86 (methods 5 and 6). */
void x86_interrupt_vme(X86Cpu *cpu, int vector)
{
    uint32_t ptr = (uint32_t)x86_ld_slow(cpu, (unsigned)vector * 4, 4, cpu->mmu), fl = x86_get_eflags(cpu);
    bool virt = iopl(cpu) < 3;
    if (virt) {
        fl = (fl & ~FL_IF) | FL_IOPL | (fl & FL_VIF ? FL_IF : 0);
    }
    X86Stack s = x86_stack_here(cpu);
    x86_stack_push(&s, fl & 0xffff, 2);
    x86_stack_push(&s, cpu->seg[SEG_CS].sel, 2);
    x86_stack_push(&s, cpu->rip, 2);
    x86_stack_commit(cpu, &s);
    x86_set_eflags(cpu, 0, FL_TF | FL_NT | FL_RF | (virt ? FL_VIF : FL_IF));
    x86_set_seg_real(cpu, SEG_CS, (uint16_t)(ptr >> 16));
    cpu->rip = ptr & 0xffff;
}

static void int_log(X86Cpu *cpu, int vector, X86IntKind kind, bool has_err, uint32_t err)
{
    static const char *const kinds[] = { "hardware", "exception", "software", "icebp" };
    g_autoptr(GString) t = g_string_new(NULL);
    g_string_append_printf(t, "int: cpu %u vector 0x%02x %s", cpu->vcpu.index, (unsigned)vector & 0xff,
                           kinds[kind]);
    if (kind == INT_EXCEPTION) {
        g_string_append_printf(t, " (%s)", x86_vector_name(vector));
    }
    if (has_err) {
        g_string_append_printf(t, " error 0x%04x", err);
    }
    g_string_append_printf(t, " at %04x:%016" PRIx64 " cpl %u ss:rsp %04x:%016" PRIx64 " flags %08x",
                           cpu->seg[SEG_CS].sel, cpu->rip, cpu->cpl, cpu->seg[SEG_SS].sel, cpu->gpr[R_RSP],
                           x86_get_eflags(cpu));
    if (vector == EXC_PF && kind == INT_EXCEPTION) {
        g_string_append_printf(t, " cr2 0x%" PRIx64, cpu->cr2);
    }
    log_printf("%s\n", t->str);
}

/* The gate, already checked for type, DPL and presence. */
typedef struct IntGate {
    int vector;
    X86IntKind kind;
    unsigned ext, bytes;
    bool has_err, trap;
    uint32_t err;
    uint16_t sel;
    uint64_t off;
    unsigned ist;
    X86Desc code;
} IntGate;

/* Target code segment of a gate (SDM 6.12.1.2 and the INT n operation section). Returns the new CPL. */
static unsigned int_check_code(X86Cpu *cpu, IntGate *g)
{
    if (sel_null(g->sel)) {
        x86_raise_err(cpu, EXC_GP, g->ext);
    }
    uint32_t err = ERR(g->sel) | g->ext;
    if (!x86_desc_read(cpu, g->sel, &g->code) || !desc_is_code(&g->code) || desc_dpl(&g->code) > cpu->cpl ||
        (in_long(cpu) && (!desc_long(&g->code) || desc_d(&g->code)))) {
        x86_raise_err(cpu, EXC_GP, err);
    }
    if (!desc_present(&g->code)) {
        x86_raise_err(cpu, EXC_NP, err);
    }
    unsigned cpl = desc_conforming(&g->code) ? cpu->cpl : desc_dpl(&g->code);
    if (in_vm86(cpu) && cpl != 0) {
        x86_raise_err(cpu, EXC_GP, err);
    }
    return cpl;
}

static void int_enter(X86Cpu *cpu, IntGate *g, unsigned cpl)
{
    x86_desc_mark_accessed(cpu, &g->code);
    X86Seg cs = x86_seg_from_desc((uint16_t)((g->sel & ~3u) | cpl), &g->code);
    x86_set_eflags(cpu, 0, FL_TF | FL_VM | FL_RF | FL_NT | (g->trap ? 0 : FL_IF));
    x86_seg_commit(cpu, SEG_CS, &cs);
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = g->off;
    x86_update_mode(cpu);
}

static void int_long(X86Cpu *cpu, IntGate *g)
{
    unsigned cpl = int_check_code(cpu, g);
    uint64_t rsp = cpu->gpr[R_RSP];
    if (g->ist) {
        rsp = x86_tss_stack64(cpu, 28 + g->ist * 8, g->ext);
    } else if (cpl != cpu->cpl) {
        rsp = x86_tss_stack64(cpu, 4 + cpl * 8, g->ext);
    }
    X86Stack s = x86_stack_new(cpu, NULL, rsp & ~15ull, cpl, g->ext);
    x86_stack_push(&s, cpu->seg[SEG_SS].sel, 8);
    x86_stack_push(&s, cpu->gpr[R_RSP], 8);
    x86_stack_push(&s, int_pushed_flags(cpu, g->kind), 8);
    x86_stack_push(&s, cpu->seg[SEG_CS].sel, 8);
    x86_stack_push(&s, cpu->rip, 8);
    if (g->has_err) {
        x86_stack_push(&s, g->err, 8);
    }
    if (!x86_canonical(cpu, g->off)) {
        x86_raise_err(cpu, EXC_GP, g->ext);
    }
    if (cpl != cpu->cpl) {
        X86Seg ss = { .sel = (uint16_t)cpl, .attr = SA_UNUSABLE | cpl << SA_DPL_SHIFT };
        x86_seg_commit(cpu, SEG_SS, &ss);
    }
    cpu->gpr[R_RSP] = s.sp;
    int_enter(cpu, g, cpl);
}

static void int_push_frame(X86Cpu *cpu, X86Stack *s, const IntGate *g)
{
    x86_stack_push(s, int_pushed_flags(cpu, g->kind), g->bytes);
    x86_stack_push(s, cpu->seg[SEG_CS].sel, g->bytes);
    x86_stack_push(s, cpu->rip, g->bytes);
    if (g->has_err) {
        x86_stack_push(s, g->err, g->bytes);
    }
    if (g->off > desc_limit(&g->code)) {
        x86_raise_err(cpu, EXC_GP, g->ext);
    }
}

static void int_inner(X86Cpu *cpu, IntGate *g, unsigned cpl)
{
    static const unsigned order[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
    X86Seg ss;
    X86Desc ssd;
    uint32_t esp;
    bool vm = in_vm86(cpu);
    x86_tss_stack32(cpu, cpl, g->ext, &ss, &ssd, &esp);
    X86Stack s = x86_stack_new(cpu, &ss, esp, cpl, ERR(ss.sel) | g->ext);
    for (unsigned i = 0; vm && i < 4; i++) {
        x86_stack_push(&s, cpu->seg[order[i]].sel, g->bytes);
    }
    x86_stack_push(&s, cpu->seg[SEG_SS].sel, g->bytes);
    x86_stack_push(&s, cpu->gpr[R_RSP], g->bytes);
    int_push_frame(cpu, &s, g);
    x86_desc_mark_accessed(cpu, &ssd);
    ss = x86_seg_from_desc(ss.sel, &ssd);
    x86_seg_commit(cpu, SEG_SS, &ss);
    x86_stack_commit(cpu, &s);
    for (unsigned i = 0; vm && i < 4; i++) {
        X86Seg null = { .attr = SA_UNUSABLE };
        x86_seg_commit(cpu, order[i], &null);
    }
    int_enter(cpu, g, cpl);
}

static void int_legacy(X86Cpu *cpu, IntGate *g)
{
    unsigned cpl = int_check_code(cpu, g);
    if (cpl < cpu->cpl) {
        int_inner(cpu, g, cpl);
        return;
    }
    X86Stack s = x86_stack_here(cpu);
    s.err = g->ext;
    int_push_frame(cpu, &s, g);
    x86_stack_commit(cpu, &s);
    int_enter(cpu, g, cpl);
}

static void int_task_gate(X86Cpu *cpu, const X86Desc *d, unsigned ext, bool has_err, uint32_t err)
{
    X86Desc tss;
    uint16_t sel = (uint16_t)(d->lo >> 16);
    if (sel_null(sel) || (sel & 4) || !x86_desc_read(cpu, sel, &tss) || desc_s(&tss) ||
        (desc_type(&tss) != DT_TSS16 && desc_type(&tss) != DT_TSS32)) {
        x86_raise_err(cpu, EXC_GP, ERR(sel) | ext);
    }
    if (!desc_present(&tss)) {
        x86_raise_err(cpu, EXC_NP, ERR(sel) | ext);
    }
    x86_task_switch(cpu, sel, &tss, SWITCH_INT, cpu->rip, ext, has_err, err);
}

static void int_protected(X86Cpu *cpu, int vector, X86IntKind kind, bool has_err, uint32_t err)
{
    bool lng = in_long(cpu);
    unsigned shift = lng ? 4 : 3, ext = kind != INT_SOFT;
    uint32_t idt_err = (uint32_t)vector * 8 + 2 + ext;
    if (((unsigned)vector << shift) + (1u << shift) - 1 > cpu->idt.limit) {
        x86_raise_err(cpu, EXC_GP, idt_err);
    }
    uint64_t at = cpu->idt.base + ((unsigned)vector << shift), raw;
    raw = sys_ld(cpu, lng ? at : (uint32_t)at, 8);
    X86Desc d = { .lo = (uint32_t)raw, .hi = (uint32_t)(raw >> 32) };
    unsigned type = desc_s(&d) ? 0 : desc_type(&d);
    bool ok = type == DT_INT32 || type == DT_TRAP32 ||
              (!lng && (type == DT_TASK || type == DT_INT16 || type == DT_TRAP16));
    if (!ok || (kind == INT_SOFT && desc_dpl(&d) < cpu->cpl)) {
        x86_raise_err(cpu, EXC_GP, idt_err);
    }
    if (!desc_present(&d)) {
        x86_raise_err(cpu, EXC_NP, idt_err);
    }
    if (type == DT_TASK) {
        int_task_gate(cpu, &d, ext, has_err, err);
        return;
    }
    IntGate g = { .vector = vector,
                  .kind = kind,
                  .ext = ext,
                  .has_err = has_err,
                  .err = err,
                  .trap = type & 1,
                  .sel = (uint16_t)(d.lo >> 16),
                  .off = d.lo & 0xffff,
                  .bytes = type & 8 ? 4 : 2 };
    if (type & 8) {
        g.off |= d.hi & 0xffff0000;
    }
    if (lng) {
        g.off |= sys_ld(cpu, at + 8, 4) << 32;
        g.ist = d.hi & 7;
        int_long(cpu, &g);
    } else {
        int_legacy(cpu, &g);
    }
}

void x86_interrupt(X86Cpu *cpu, int vector, X86IntKind kind, bool has_err, uint32_t err)
{
    if (log_on(LOG_INT)) {
        int_log(cpu, vector, kind, has_err, err);
    }
    if (kind != INT_EXCEPTION) {
        cpu->sys->pending_fault = false;
    }
    if (in_real(cpu)) {
        int_real(cpu, vector, kind);
    } else {
        int_protected(cpu, vector, kind, has_err, err);
    }
    cpu->irq_shadow = false;
    cpu->sys->monitor_armed = false;
}

void x86_soft_int(X86Cpu *cpu, int vector, unsigned insn_len G_GNUC_UNUSED, bool is_icebp)
{
    x86_interrupt(cpu, vector, is_icebp ? INT_ICEBP : INT_SOFT, false, 0);
}

/* #AC and #DB become no double fault: where their own delivery raises them again, hardware is in there for ever.
 * Who waits for this CPU is not. */
enum { DELIVERIES = 64 };

bool x86_deliver_pending(X86Cpu *cpu)
{
    sigjmp_buf outer;
    volatile unsigned deliveries = 0;
    memcpy(&outer, &cpu->fault_jmp, sizeof(outer));
    /* A fault while delivering comes back here with the next vector (or -1) to deliver. */
    (void)sigsetjmp(cpu->fault_jmp, 0);
    cpu->cur = NULL;
    int vector = cpu->exc_vector;
    if (vector >= 0) {
        if (++deliveries > DELIVERIES) {
            x86_shutdown(cpu, "an exception that its own delivery raises,", x86_vector_name(vector));
        }
        cpu->exc_in_flight = true;
        if (vector == EXC_DB) {
            cpu->dr[7] &= ~(uint64_t)DR7_GD; /* SDM 17.2.4 */
        }
        x86_interrupt(cpu, vector, INT_EXCEPTION, x86_has_errcode(vector), cpu->exc_err);
    }
    memcpy(&cpu->fault_jmp, &outer, sizeof(outer));
    cpu->exc_in_flight = false;
    if (cpu->exc_vector >= 0) {
        return true;
    }
    x86_report_shutdown(cpu);
    cpu->sys->shutdown_why = NULL;
    return false;
}

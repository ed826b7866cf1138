/* SPDX-License-Identifier: MIT
 * target/x86/t1-fpu.c - x87 and MMX instructions in translated code, FWAIT and LDMXCSR. While tr1.fpu_live is set the guest's
 * register stack, control and status word are the host's; C code runs with the guest's in X86Cpu.fpu and a
 * clean host unit.
 * Models: SDM vol. 1 8.1 (state, last-instruction pointers, figure 8-9: the image of FNSAVE); vol. 2, LDMXCSR.
 * Does not model: unmasked x87 exceptions, environments and FXSAVE images (tier 0 runs those).
 * Threads: the vCPU's thread.
 *
 * FOP, FIP and the selectors are X86Cpu's, never the host's. A native instruction leaves a note (T1Note), and only where
 * somebody may look before the next one does: at a call of C code, a branch, the unit's end. tr1.fpu_note tells
 * which note was the last; t1_fpu_save() makes FOP, FIP, FCS and FDS of it. FDP is stored by each instruction.
 */
#include "t1.h"
#include "x87.h"

#define FPU(member) h_gs(offsetof(X86Cpu, fpu.member))
#define TR(member)  h_gs(offsetof(X86Cpu, tr1.member))
/* The image of FNSAVE: control, status and tag word, ST(0) to ST(7). FNSAVE and FRSTOR take half as long as XSAVE, FNINIT and
 * XRSTOR of the x87 component. */
enum { X87_MASKS = 0x3f, AREA_CW = 0, AREA_SW = 4, AREA_TAGS = 8, AREA_ST = 28 };

typedef struct T1Note { /* in the cold area */
    uint64_t fip; /* pic: less tr1.fpu_base */
    uint16_t fop;
    bool pic;
} T1Note;

/* --- C code's side --- */

static uint16_t area_word(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

void t1_fpu_save(X86Cpu *cpu)
{
#ifdef __x86_64__
    X86Fpu *f = &cpu->fpu;
    X86Translated *tr = &cpu->tr1;
    const uint8_t *p = tr->fpu_area;
    __asm__ volatile("fnsave %0" : "=m"(tr->fpu_area)); /* and FNINIT */
    uint16_t sw = area_word(p + AREA_SW), tags = area_word(p + AREA_TAGS);
    f->cw = area_word(p + AREA_CW);
    f->sw = sw & (uint16_t)~X87_TOP;
    f->top = sw >> 11 & 7;
    f->tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        X86F80 *r = x87_st(cpu, i);
        memcpy(&r->sig, p + AREA_ST + 10 * i, 8);
        memcpy(&r->se, p + AREA_ST + 10 * i + 8, 2);
        f->tags |= (uint8_t)((tags >> 2 * i & 3) == 3 ? 1u << i : 0);
    }
    if (tr->fpu_note) {
        const T1Note *n = (const T1Note *)(const void *)(cpu->t1->cache.rw + tr->fpu_note);
        f->fip = n->fip + (n->pic ? tr->fpu_base : 0);
        f->fop = n->fop;
        f->fcs = cpu->seg[SEG_CS].sel;
        tr->fpu_note = 0;
    }
    if (tr->fpu_seg) {
        f->fds = cpu->seg[tr->fpu_seg - 1].sel;
        tr->fpu_seg = 0;
    }
    tr->fpu_live = 0;
#else
    (void)cpu;
#endif
}

void t1_fpu_load(X86Cpu *cpu)
{
#ifdef __x86_64__
    const X86Fpu *f = &cpu->fpu;
    uint8_t *p = cpu->tr1.fpu_area;
    uint16_t sw = x87_status(cpu), tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(p + AREA_ST + 10 * i, &x87_st(cpu, i)->sig, 8);
        memcpy(p + AREA_ST + 10 * i + 8, &x87_st(cpu, i)->se, 2);
        tags |= (uint16_t)(f->tags >> i & 1 ? 3u << 2 * i : 0); /* of the others the processor looks itself */
    }
    memcpy(p + AREA_CW, &f->cw, 2);
    memcpy(p + AREA_SW, &sw, 2);
    memcpy(p + AREA_TAGS, &tags, 2);
    /* A note left since the registers were saved tells of an instruction that C code ran, and FIP is right already. */
    cpu->tr1.fpu_note = 0;
    cpu->tr1.fpu_seg = 0;
    cpu->tr1.fpu_live = 1;
    __asm__ volatile("frstor %0" : : "m"(cpu->tr1.fpu_area));
#else
    (void)cpu;
#endif
}

/* --- rows --- */

void t1_fpu_row(T1Row *r, const X86Row *x)
{
    static const char *const in_t0[] = { "FLDENV", "FNSTENV", "FRSTOR", "FNSAVE", "FNINIT", "FXSAVE", "FXRSTOR" };
    for (unsigned i = 0; i < G_N_ELEMENTS(in_t0); i++) {
        if (!strcmp(x->name, in_t0[i])) {
            return;
        }
    }
    const char *n = x->name;
    bool store = g_str_has_prefix(n, "FST") || g_str_has_prefix(n, "FIST") || !strcmp(n, "FBSTP") || g_str_has_prefix(n, "FNST");
    r->cls = T1C_X87;
    r->state = T1S_FPU;
    r->roles = store ? T1R_STORE : 0;
    r->implicit = !strcmp(n, "FNSTSW") && x->operands[0] == 'A' ? 1u << R_RAX : 0;
}

static bool has_name(const X86Row *x, const char *const *list)
{
    for (; *list; list++) {
        if (!strcmp(x->name, *list)) {
            return true;
        }
    }
    return false;
}

/* --- notes --- */

static uint32_t put_note(T1 *t, const X86Insn *d)
{
    t->cold.p = (uint8_t *)(((uintptr_t)t->cold.p + 7) & ~(uintptr_t)7);
    T1Note n = { .fip = (t->pic ? t->rip & ~TLB_PAGE_MASK : t->rip) + d->off, .fop = X87_FOP(d), .pic = t->pic };
    uint32_t at = (uint32_t)(t->cold.p - t->cpu->t1->cache.rw);
    memcpy(t->cold.p, &n, sizeof(n));
    t->cold.p += sizeof(n);
    return at;
}

void t1_fpu_note(const T1 *t, Asm *a, uint32_t note)
{
    if (note) {
        if (t->pic) {
            e_load(a, T0_, TR(pcbase));
            e_store(a, TR(fpu_base), T0_);
        }
        e_store_imm32(a, false, TR(fpu_note), note);
    }
}

void t1_fpu_flush(T1 *t)
{
    t1_fpu_note(t, &t->hot, t->fpu_note);
    t->fpu_note = 0;
}

/* FDP: the effective address, into T1_; EFLAGS are nobody's. */
static void e_effective(T1 *t, const X86Insn *d)
{
    Asm *a = &t->hot;
    bool wide = (d->flags & I_ASIZE) == 3;
    if (d->base == R_UNIT) {
        t1_emit_near(t, a, T1_, t->rip + (uint64_t)(int64_t)d->disp + (d->index == R_BIAS ? 0x10000 : 0), wide);
        return;
    }
    if (d->base == R_NONE && d->index == R_NONE) {
        uint64_t v = (uint64_t)(int64_t)d->disp;
        e_mov_ri(a, T1_, wide ? v : (uint32_t)v);
        return;
    }
    int base = d->base == R_NONE ? H_NONE : t1_hreg(d->base), index = d->index == R_NONE ? H_NONE : t1_hreg(d->index);
    bool base_out = d->base != R_NONE && base == H_NONE, index_out = d->index != R_NONE && index == H_NONE;
    if (index_out) {
        e_load(a, T1_, t1_gpr_mem(d->index));
        index = T1_;
    } else if (base_out) {
        e_load(a, T1_, t1_gpr_mem(d->base));
        base = T1_;
    }
    HOp at = h_sib(base, index, index == H_NONE ? 0 : d->scale, d->disp);
    wide ? e_lea(a, T1_, at) : e_lea32(a, T1_, at);
    if (index_out && base_out) {
        e_op(a, wide ? E_W : 0, 0x03, T1_, t1_gpr_mem(d->base));
    }
}

/* --- instructions --- */

/* A control word that unmasks something is loaded by the T0 function. The host loads what was looked at, not what
 * another vCPU may have stored since. */
static void emit_fldcw(T1 *t, HOp rm)
{
    Asm *a = &t->hot;
    e_op(a, E_0F, 0xb7, T1_, rm);
    e_op(a, E_66, 0x89, T1_, FPU(cw));
    e_op(a, 0, 0xf7, 2, h_reg(T1_)); /* NOT */
    e_op(a, 0, 0xf7, 0, h_reg(T1_)); /* TEST */
    e32(a, X87_MASKS);
    T1Side *s = t1_side(t, SIDE_EXEC, e_jcc(a, CC_NE));
    e_op(a, 0, 0xd9, 5, FPU(cw));
    t1_side_done(t, s);
}

bool t1_emit_x87(T1 *t, const X86Insn *d, const T1Row *r)
{
    static const char *const nothing[] = { "FWAIT", "FNENI", "FNDISI", "FNSETPM", NULL };
    static const char *const control[] = { "FLDCW", "FNSTCW", "FNSTSW", "FNCLEX", NULL };
    const X86Row *x = &x86_rows[d->row];
    Asm *a = &t->hot;
    bool mem = insn_is_mem(d), defines = (r->fl_def & FL_ALL_) == FL_ALL_;
    unsigned n = x86_operand_bytes(x->memsize, d), opcode = 0xd8 | X87_FOP(d) >> 8, digit = X87_FOP(d) >> 3 & 7;
    if (t->mode & MODE_FPU_TRAP || (mem && (!t1_mem_ok(d) || !n))) {
        return false;
    }
    if (has_name(x, nothing)) { /* no exception is pending here */
        return true;
    }
    T1Side *side = NULL;
    HOp rm = h_reg(X87_FOP(d) & 7);
    t1_fl_before(t, r->implicit, mem, defines);
    if (mem) {
        rm = t1_mem_check(t, d, n, r->roles & T1R_STORE, 0, &side);
    }
    if (r->fl_read & FL_ALL_) {
        t1_fl_need_host(t, FL_ALL_);
    }
    if (opcode == 0xd9 && mem && digit == 5) {
        emit_fldcw(t, rm);
    } else {
        e_op(a, 0, opcode, digit, rm);
    }
    if (!has_name(x, control)) {
        if (mem) {
            e_effective(t, d);
            e_store(a, FPU(fdp), T1_);
            if (t->fpu_seg != X87_SEG(d) + 1) {
                t->fpu_seg = (uint8_t)(X87_SEG(d) + 1);
                e_op(a, 0, 0xc6, 0, TR(fpu_seg));
                e8(a, t->fpu_seg);
            }
        }
        t->fpu_note = put_note(t, d);
    }
    t1_fl_after(t, d, r, r->implicit);
    if (side) {
        t1_side_done(t, side);
    }
    return true;
}

/* Reserved bits (#GP) and unmasked exceptions are the T0 function's. As with FLDCW, what was looked at is loaded. */
bool t1_emit_ldmxcsr(T1 *t, const X86Insn *d, const T1Row *r)
{
    Asm *a = &t->hot;
    T1Side *side, *odd;
    if (!insn_is_mem(d) || !t1_mem_ok(d)) {
        return false;
    }
    t1_fl_before(t, 0, true, false);
    HOp rm = t1_mem_check(t, d, 4, false, 0, &side);
    e_load32(a, T1_, rm);
    e_mov_rr32(a, T0_, T1_);
    e_alu_ri(a, false, 6, h_reg(T0_), 0x1f80);
    e_op(a, 0, 0xf7, 0, h_reg(T0_));
    e32(a, 0xffff1f80u);
    odd = t1_side(t, SIDE_EXEC, e_jcc(a, CC_NE));
    e_store32(a, h_gs(offsetof(X86Cpu, mxcsr)), T1_);
    e_op(a, E_0F, 0xae, 2, h_gs(offsetof(X86Cpu, mxcsr)));
    t1_fl_after(t, d, r, 0);
    t1_side_done(t, side);
    t1_side_done(t, odd);
    return true;
}

/* --- which state must be in the host's registers --- */

unsigned t1_state_needed(const T1 *t, unsigned from)
{
    unsigned need = 0;
    for (unsigned i = from; i < t->n; i++) {
        const T1Row *r = &t1_rows()[t->insn[i].row];
        if (r->cls == T1C_T0 || t1_traps(&t->insn[i])) {
            break; /* C code runs, and loads what is needed behind it */
        }
        need |= r->state;
    }
    return need;
}

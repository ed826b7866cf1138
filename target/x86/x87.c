/* SPDX-License-Identifier: MIT
 * target/x86/x87.c - x87 loads, stores, arithmetic, comparisons, transcendental functions.
 * Models: Intel SDM volume 1, chapter 8, and the instruction pages of volume 2; the aliases that the manuals
 *   leave out (FSTP1, FXCH4, FCOM2, FFREEP...) as AMD's and Intel's processors execute them.
 * Does not model: control and environment instructions (x87env.c).
 * Threads: the vCPU's.
 */
#include "x87.h"

/* ---- exceptions ---- */

void x87_signal(X86Cpu *cpu)
{
    X86Fpu *f = &cpu->fpu;
    bool was = f->sw & X87_ES;
    bool now = f->sw & ~f->cw & X87_EXC;
    f->sw = now ? f->sw | X87_ES | X87_B : f->sw & ~(X87_ES | X87_B);
    if (was != now && !(cpu->cr0 & CR0_NE) && cpu->ferr) {
        cpu->ferr(cpu->ferr_opaque, now);
    }
}

/* SDM volume 3, 9.2.1 and volume 1, 8.7.2. With NE = 0 the processor stops here until an interrupt comes,
 * unless IGNNE# is asserted. Boards assert IGNNE# while the handler of IRQ 13 runs; handlers run with IF = 0
 * before they touch the FPU, so that interrupts being disabled stands for it. */
bool x87_enter_slow(X86Cpu *cpu, const X86Insn *d)
{
    if (cpu->cr0 & CR0_NE) {
        RAISE(EXC_MF);
    }
    if (cpu->ferr) {
        cpu->ferr(cpu->ferr_opaque, true);
    }
    bool pending = vcpu_irq_pending(&cpu->vcpu) & (X86_IRQ_INTR | X86_IRQ_APIC);
    return !(pending && (cpu->eflags & FL_IF) && !cpu->irq_shadow);
}

bool x87_stack_fault(X86Cpu *cpu, bool overflow)
{
    X86Fpu *f = &cpu->fpu;
    f->sw = (uint16_t)((f->sw & ~X87_C1) | X87_IE | X87_SF | (overflow ? X87_C1 : 0));
    x87_signal(cpu);
    return f->cw & X87_IE;
}

/* ---- loads ---- */

/* Pushes the result of a load unless it was refused. */
static void push_loaded(X86Cpu *cpu, const X86F80 *v, uint16_t sw)
{
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    x87_merge(cpu, sw, 0);
    if (!(sw & X87_REFUSED)) {
        x87_push(cpu);
        *x87_st(cpu, 0) = *v;
    }
}
/* True: there is room for a push. Otherwise the overflow has been dealt with. */
static bool push_room(X86Cpu *cpu)
{
    if (G_LIKELY(x87_is_empty(cpu, 7))) {
        return true;
    }
    if (x87_stack_fault(cpu, true)) {
        x87_push(cpu);
        x87_indefinite(x87_st(cpu, 0));
    }
    return false;
}

#define FP_LOAD(name, bits, conv)                                                                           \
    OP(name)                                                                                                \
    {                                                                                                       \
        X87_ENTER;                                                                                          \
        uint64_t off, lin = x87_ea(cpu, d, bits / 8, false, &off);                                          \
        uint##bits##_t m = ld##bits(cpu, d, lin);                                                           \
        x87_note_mem(cpu, d, off);                                                                          \
        if (push_room(cpu)) {                                                                               \
            X86F80 v = { 0 };                                                                               \
            uint16_t sw = hostfp_from_##conv(&v, &m, x87_env(cpu));                                         \
            push_loaded(cpu, &v, sw);                                                                       \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
FP_LOAD(fld_m32, 32, f32)
FP_LOAD(fld_m64, 64, f64)
FP_LOAD(fild_m16, 16, i16)
FP_LOAD(fild_m32, 32, i32)
FP_LOAD(fild_m64, 64, i64)

OP(fld_m80)
{
    X87_ENTER;
    uint64_t off, lin = x87_ea(cpu, d, 10, false, &off);
    X86F80 v = { 0 };
    ld_n(cpu, d, lin, &v, 10);
    x87_note_mem(cpu, d, off);
    if (push_room(cpu)) {
        push_loaded(cpu, &v, 0);
    }
    NEXT;
}

OP(fbld)
{
    X87_ENTER;
    uint64_t off, lin = x87_ea(cpu, d, 10, false, &off);
    uint8_t m[10];
    ld_n(cpu, d, lin, m, 10);
    x87_note_mem(cpu, d, off);
    if (push_room(cpu)) {
        X86F80 v = { 0 };
        uint16_t sw = hostfp_from_bcd(&v, m, x87_env(cpu));
        push_loaded(cpu, &v, sw);
    }
    NEXT;
}

OP(fld_sti)
{
    X87_ENTER;
    x87_note(cpu, d);
    if (x87_is_empty(cpu, d->rm & 7)) {
        if (x87_stack_fault(cpu, false)) {
            x87_push(cpu);
            x87_indefinite(x87_st(cpu, 0));
        }
    } else if (push_room(cpu)) {
        X86F80 v = *x87_st(cpu, d->rm & 7);
        push_loaded(cpu, &v, 0);
    }
    NEXT;
}

/* FLD1 to FLDZ: reg = 5, rm = which. */
OP(fld_const)
{
    X87_ENTER;
    x87_note(cpu, d);
    if (push_room(cpu)) {
        X86F80 v = { 0 };
        hostfp_const(&v, d->rm & 7, x87_env(cpu));
        push_loaded(cpu, &v, 0);
    }
    NEXT;
}

/* ---- stores ---- */

/* A store that an unmasked exception refuses still faults on its address. */
static void probe_store(X86Cpu *cpu, const X86Insn *d, uint64_t lin, unsigned n)
{
    SYNC(d);
    x86_probe_write(cpu, lin, n, cpu->mmu);
}

/* FST, FIST and their popping forms; the value is computed first, then stored, then the flags change, so
 * that a fault on the store leaves everything as it was. */
#define FP_STORE(name, bits, conv, empty_value, pops, trunc)                                                \
    OP(name)                                                                                                \
    {                                                                                                       \
        X87_ENTER;                                                                                          \
        uint64_t off, lin = x87_ea(cpu, d, bits / 8, true, &off);                                           \
        uint##bits##_t m = empty_value;                                                                     \
        if (G_UNLIKELY(x87_is_empty(cpu, 0))) {                                                             \
            if (cpu->fpu.cw & X87_IE) {                                                                     \
                st##bits(cpu, d, lin, m);                                                                   \
            } else {                                                                                        \
                probe_store(cpu, d, lin, bits / 8);                                                         \
            }                                                                                               \
            x87_note_mem(cpu, d, off);                                                                      \
            if (x87_stack_fault(cpu, false) && (pops)) {                                                    \
                x87_pop(cpu);                                                                               \
            }                                                                                               \
            NEXT;                                                                                           \
        }                                                                                                   \
        uint16_t sw = hostfp_to_##conv(&m, x87_st(cpu, 0), x87_env(cpu) | ((trunc) ? 0xc00 : 0));           \
        bool refused = sw & X87_REFUSED;                                                                    \
        if (G_LIKELY(!refused)) {                                                                           \
            st##bits(cpu, d, lin, m);                                                                       \
        } else {                                                                                            \
            probe_store(cpu, d, lin, bits / 8);                                                             \
        }                                                                                                   \
        x87_note_mem(cpu, d, off);                                                                          \
        x87_merge(cpu, sw, X87_C1);                                                                         \
        if ((pops) && G_LIKELY(!refused)) {                                                                 \
            x87_pop(cpu);                                                                                   \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
FP_STORE(fst_m32, 32, f32, 0xffc00000u, false, false)
FP_STORE(fstp_m32, 32, f32, 0xffc00000u, true, false)
FP_STORE(fst_m64, 64, f64, 0xfff8000000000000u, false, false)
FP_STORE(fstp_m64, 64, f64, 0xfff8000000000000u, true, false)
FP_STORE(fist_m16, 16, i16, 0x8000u, false, false)
FP_STORE(fistp_m16, 16, i16, 0x8000u, true, false)
FP_STORE(fist_m32, 32, i32, 0x80000000u, false, false)
FP_STORE(fistp_m32, 32, i32, 0x80000000u, true, false)
FP_STORE(fistp_m64, 64, i64, 0x8000000000000000u, true, false)
FP_STORE(fisttp_m16, 16, i16, 0x8000u, true, true)
FP_STORE(fisttp_m32, 32, i32, 0x80000000u, true, true)
FP_STORE(fisttp_m64, 64, i64, 0x8000000000000000u, true, true)

OP(fstp_m80)
{
    X87_ENTER;
    uint64_t off, lin = x87_ea(cpu, d, 10, true, &off);
    X86F80 v = *x87_st(cpu, 0);
    bool empty = x87_is_empty(cpu, 0);
    if (empty) {
        x87_indefinite(&v);
    }
    if (!empty || (cpu->fpu.cw & X87_IE)) {
        st_n(cpu, d, lin, &v, 10);
    } else {
        probe_store(cpu, d, lin, 10);
    }
    x87_note_mem(cpu, d, off);
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    if (!empty || x87_stack_fault(cpu, false)) {
        x87_pop(cpu);
    }
    NEXT;
}

OP(fbstp)
{
    X87_ENTER;
    uint64_t off, lin = x87_ea(cpu, d, 10, true, &off);
    uint8_t m[10] = { 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff }; /* packed BCD indefinite */
    bool empty = x87_is_empty(cpu, 0);
    uint16_t sw = empty ? 0 : hostfp_to_bcd(m, x87_st(cpu, 0), x87_env(cpu));
    bool refused = empty ? !(cpu->fpu.cw & X87_IE) : sw & X87_REFUSED;
    if (!refused) {
        st_n(cpu, d, lin, m, 10);
    } else {
        probe_store(cpu, d, lin, 10);
    }
    x87_note_mem(cpu, d, off);
    if (empty) {
        x87_stack_fault(cpu, false);
    } else {
        x87_merge(cpu, sw, X87_C1);
    }
    if (!refused) {
        x87_pop(cpu);
    }
    NEXT;
}

/* FST ST(i), FSTP ST(i) and its aliases. */
static void store_reg(X86Cpu *cpu, const X86Insn *d, bool pops)
{
    X86F80 v = *x87_st(cpu, 0);
    x87_note(cpu, d);
    if (G_UNLIKELY(x87_is_empty(cpu, 0))) {
        if (!x87_stack_fault(cpu, false)) {
            return;
        }
        x87_indefinite(&v);
    }
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    *x87_st(cpu, d->rm & 7) = v;
    x87_set_full(cpu, d->rm & 7);
    if (pops) {
        x87_pop(cpu);
    }
}
OP(fst_sti) { X87_ENTER; store_reg(cpu, d, false); NEXT; }
OP(fstp_sti) { X87_ENTER; store_reg(cpu, d, true); NEXT; }

/* D9 D8+i: of the aliases the one that does not complain about an empty register; it only pops it. */
OP(fstp1)
{
    X87_ENTER;
    if (x87_is_empty(cpu, 0)) {
        x87_note(cpu, d);
        cpu->fpu.sw &= (uint16_t)~X87_C1;
        x87_pop(cpu);
    } else {
        store_reg(cpu, d, true);
    }
    NEXT;
}

OP(fxch)
{
    X87_ENTER;
    x87_note(cpu, d);
    unsigned i = d->rm & 7;
    X86F80 *a = x87_st(cpu, 0), *b = x87_st(cpu, i);
    bool ea = x87_is_empty(cpu, 0), eb = x87_is_empty(cpu, i);
    if (G_UNLIKELY(ea || eb)) {
        if (!x87_stack_fault(cpu, false)) {
            NEXT;
        }
        if (ea) {
            x87_indefinite(a);
        }
        if (eb) {
            x87_indefinite(b);
        }
        x87_set_full(cpu, 0);
        x87_set_full(cpu, i);
    }
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    X86F80 t = *a;
    *a = *b;
    *b = t;
    NEXT;
}

/* FCMOVcc: condition bits of RFLAGS, and the sense. */
static void fcmov(X86Cpu *cpu, const X86Insn *d, bool taken)
{
    x87_note(cpu, d);
    if (x87_is_empty(cpu, 0) || x87_is_empty(cpu, d->rm & 7)) {
        if (x87_stack_fault(cpu, false)) {
            /* the indefinite value is moved, or stays, whatever the condition */
            x87_indefinite(x87_st(cpu, 0));
            x87_set_full(cpu, 0);
        }
        return;
    }
    if (taken) {
        *x87_st(cpu, 0) = *x87_st(cpu, d->rm & 7);
    }
}
#define FCMOV(name, bits, sense)                                                                            \
    OP(name) { X87_ENTER; fcmov(cpu, d, ((x86_arith_flags(cpu) & (bits)) != 0) == (sense)); NEXT; }
FCMOV(fcmovb, FL_CF, true)
FCMOV(fcmove, FL_ZF, true)
FCMOV(fcmovbe, FL_CF | FL_ZF, true)
FCMOV(fcmovu, FL_PF, true)
FCMOV(fcmovnb, FL_CF, false)
FCMOV(fcmovne, FL_ZF, false)
FCMOV(fcmovnbe, FL_CF | FL_ZF, false)
FCMOV(fcmovnu, FL_PF, false)

/* ---- arithmetic ---- */

/* A register operation found an empty operand: the masked response. False: refused. */
static bool underflow_to(X86Cpu *cpu, unsigned dst)
{
    if (!x87_stack_fault(cpu, false)) {
        return false;
    }
    x87_indefinite(x87_st(cpu, dst));
    x87_set_full(cpu, dst);
    return true;
}

#define FP_MEM_ARITH(name, bits, fn)                                                                        \
    OP(name)                                                                                                \
    {                                                                                                       \
        X87_ENTER;                                                                                          \
        uint64_t off, lin = x87_ea(cpu, d, bits / 8, false, &off);                                          \
        uint##bits##_t m = ld##bits(cpu, d, lin);                                                           \
        x87_note_mem(cpu, d, off);                                                                          \
        if (G_UNLIKELY(x87_is_empty(cpu, 0))) {                                                             \
            underflow_to(cpu, 0);                                                                           \
        } else {                                                                                            \
            x87_merge(cpu, hostfp_##fn(x87_st(cpu, 0), &m, x87_env(cpu)), X87_C1);                          \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
#define FP_REG_ARITH(name, fn, dst, src, pops)                                                              \
    OP(name)                                                                                                \
    {                                                                                                       \
        X87_ENTER;                                                                                          \
        unsigned i G_GNUC_UNUSED = d->rm & 7;                                                               \
        x87_note(cpu, d);                                                                                   \
        bool done;                                                                                          \
        if (G_UNLIKELY(x87_is_empty(cpu, dst) || x87_is_empty(cpu, src))) {                                 \
            done = underflow_to(cpu, dst);                                                                  \
        } else {                                                                                            \
            uint16_t sw = hostfp_##fn(x87_st(cpu, dst), x87_st(cpu, src), x87_env(cpu));                    \
            done = !(x87_merge(cpu, sw, X87_C1) & X87_PRE);                                                 \
        }                                                                                                   \
        if ((pops) && G_LIKELY(done)) {                                                                     \
            x87_pop(cpu);                                                                                   \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
#define FP_ARITH_FORMS(op)                                                                                  \
    FP_MEM_ARITH(f##op##_m32, 32, op##_f32)                                                                 \
    FP_MEM_ARITH(f##op##_m64, 64, op##_f64)                                                                 \
    FP_MEM_ARITH(fi##op##_m16, 16, op##_i16)                                                                \
    FP_MEM_ARITH(fi##op##_m32, 32, op##_i32)                                                                \
    FP_REG_ARITH(f##op##_st0_sti, op, 0, i, false)                                                          \
    FP_REG_ARITH(f##op##_sti_st0, op, i, 0, false)                                                          \
    FP_REG_ARITH(f##op##p, op, i, 0, true)
HOSTFP_ARITH(FP_ARITH_FORMS)

/* ---- comparisons ---- */

/* Underflow compares as unordered. The condition codes change even when the exception is unmasked (seen on AMD's
 * Zen 4; the manuals leave it open); only the pop is left out. */
static bool compare_underflow(X86Cpu *cpu)
{
    bool masked = x87_stack_fault(cpu, false);
    cpu->fpu.sw |= X87_C0 | X87_C2 | X87_C3;
    return masked;
}
static bool compare_done(X86Cpu *cpu, uint16_t sw)
{
    unsigned unmasked = x87_merge(cpu, sw & ~X87_C1, X87_CC);
    return !(unmasked & X87_PRE);
}
#define FP_MEM_COM(name, bits, fn, pops)                                                                    \
    OP(name)                                                                                                \
    {                                                                                                       \
        X87_ENTER;                                                                                          \
        uint64_t off, lin = x87_ea(cpu, d, bits / 8, false, &off);                                          \
        uint##bits##_t m = ld##bits(cpu, d, lin);                                                           \
        x87_note_mem(cpu, d, off);                                                                          \
        bool done = G_UNLIKELY(x87_is_empty(cpu, 0))                                                        \
                        ? compare_underflow(cpu)                                                            \
                        : compare_done(cpu, hostfp_##fn(x87_st(cpu, 0), &m, x87_env(cpu)));                 \
        if ((pops) && done) {                                                                               \
            x87_pop(cpu);                                                                                   \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
FP_MEM_COM(fcom_m32, 32, com_f32, false)
FP_MEM_COM(fcomp_m32, 32, com_f32, true)
FP_MEM_COM(fcom_m64, 64, com_f64, false)
FP_MEM_COM(fcomp_m64, 64, com_f64, true)
FP_MEM_COM(ficom_m16, 16, com_i16, false)
FP_MEM_COM(ficomp_m16, 16, com_i16, true)
FP_MEM_COM(ficom_m32, 32, com_i32, false)
FP_MEM_COM(ficomp_m32, 32, com_i32, true)

static void compare_regs(X86Cpu *cpu, const X86Insn *d, unsigned i, unsigned pops, bool unordered)
{
    x87_note(cpu, d);
    bool done;
    if (G_UNLIKELY(x87_is_empty(cpu, 0) || x87_is_empty(cpu, i))) {
        done = compare_underflow(cpu);
    } else {
        X86F80 *a = x87_st(cpu, 0), *b = x87_st(cpu, i);
        uint16_t sw = unordered ? hostfp_ucom(a, b, x87_env(cpu)) : hostfp_com(a, b, x87_env(cpu));
        done = compare_done(cpu, sw);
    }
    for (; done && pops; pops--) {
        x87_pop(cpu);
    }
}
OP(fcom_sti) { X87_ENTER; compare_regs(cpu, d, d->rm & 7, 0, false); NEXT; }
OP(fcomp_sti) { X87_ENTER; compare_regs(cpu, d, d->rm & 7, 1, false); NEXT; }
OP(fcompp) { X87_ENTER; compare_regs(cpu, d, 1, 2, false); NEXT; }
OP(fucom) { X87_ENTER; compare_regs(cpu, d, d->rm & 7, 0, true); NEXT; }
OP(fucomp) { X87_ENTER; compare_regs(cpu, d, d->rm & 7, 1, true); NEXT; }
OP(fucompp) { X87_ENTER; compare_regs(cpu, d, 1, 2, true); NEXT; }

/* FCOMI and kin: the relation goes to ZF, PF, CF; OF, SF, AF become 0. C1 stays as on AMD's processors; Intel's
 * manual clears it. */
static void compare_eflags(X86Cpu *cpu, const X86Insn *d, bool pops, bool unordered)
{
    x87_note(cpu, d);
    unsigned i = d->rm & 7;
    uint16_t sw = X87_C0 | X87_C2 | X87_C3;
    bool done;
    if (G_UNLIKELY(x87_is_empty(cpu, 0) || x87_is_empty(cpu, i))) {
        done = x87_stack_fault(cpu, false);
    } else {
        X86F80 *a = x87_st(cpu, 0), *b = x87_st(cpu, i);
        sw = unordered ? hostfp_ucom(a, b, x87_env(cpu)) : hostfp_com(a, b, x87_env(cpu));
        done = !(x87_merge(cpu, sw, 0) & X87_PRE);
    }
    uint32_t cf = sw & X87_C0 ? FL_CF : 0, pf = sw & X87_C2 ? FL_PF : 0, zf = sw & X87_C3 ? FL_ZF : 0;
    x86_set_eflags_arith(cpu, cf | pf | zf);
    if (pops && done) {
        x87_pop(cpu);
    }
}
OP(fcomi) { X87_ENTER; compare_eflags(cpu, d, false, false); NEXT; }
OP(fcomip) { X87_ENTER; compare_eflags(cpu, d, true, false); NEXT; }
OP(fucomi) { X87_ENTER; compare_eflags(cpu, d, false, true); NEXT; }
OP(fucomip) { X87_ENTER; compare_eflags(cpu, d, true, true); NEXT; }

OP(ftst)
{
    X87_ENTER;
    x87_note(cpu, d);
    if (x87_is_empty(cpu, 0)) {
        compare_underflow(cpu);
    } else {
        compare_done(cpu, hostfp_tst(x87_st(cpu, 0), x87_env(cpu)));
    }
    NEXT;
}

OP(fxam)
{
    X87_ENTER;
    x87_note(cpu, d);
    uint16_t sw = hostfp_xam(x87_st(cpu, 0), x87_env(cpu)) & X87_CC;
    if (x87_is_empty(cpu, 0)) {
        sw = X87_C3 | X87_C0 | (sw & X87_C1);
    }
    cpu->fpu.sw = (uint16_t)((cpu->fpu.sw & ~X87_CC) | sw);
    NEXT;
}

/* ---- one operand ---- */

OP(fchs)
{
    X87_ENTER;
    x87_note(cpu, d);
    if (G_UNLIKELY(x87_is_empty(cpu, 0))) {
        underflow_to(cpu, 0);
    } else {
        x87_st(cpu, 0)->se ^= 0x8000;
        cpu->fpu.sw &= (uint16_t)~X87_C1;
    }
    NEXT;
}

OP(fabs)
{
    X87_ENTER;
    x87_note(cpu, d);
    if (G_UNLIKELY(x87_is_empty(cpu, 0))) {
        underflow_to(cpu, 0);
    } else {
        x87_st(cpu, 0)->se &= 0x7fff;
        cpu->fpu.sw &= (uint16_t)~X87_C1;
    }
    NEXT;
}

/* cc with C2: the instruction reports "not done" in C2; a stack fault clears it. */
#define FP_UNARY(name, fn, cc)                                                                              \
    OP(name)                                                                                                \
    {                                                                                                       \
        X87_ENTER;                                                                                          \
        x87_note(cpu, d);                                                                                   \
        if (G_UNLIKELY(x87_is_empty(cpu, 0))) {                                                             \
            underflow_to(cpu, 0);                                                                           \
            cpu->fpu.sw &= (uint16_t)~((cc) & X87_C2);                                                      \
        } else {                                                                                            \
            x87_merge(cpu, hostfp_##fn(x87_st(cpu, 0), x87_env(cpu)), cc);                                  \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
FP_UNARY(fsqrt, sqrt, X87_C1)
FP_UNARY(frndint, rndint, X87_C1)
FP_UNARY(f2xm1, 2xm1, X87_C1)
FP_UNARY(fsin, sin, X87_C1 | X87_C2)
FP_UNARY(fcos, cos, X87_C1 | X87_C2)

/* ---- two operands, ST(0) and ST(1) ---- */

/* FPREM has a quotient: a finite dividend, a divisor that is not 0, nor a NaN, nor an encoding that is no number
 * (SDM volume 1, table 8-3). */
static bool has_quotient(const X86F80 *a, const X86F80 *b)
{
    unsigned ea = a->se & 0x7fff, eb = b->se & 0x7fff;
    return ea != 0x7fff && (!ea || a->sig >> 63) && (!eb || b->sig >> 63) && (eb || b->sig) &&
           (eb != 0x7fff || b->sig == (uint64_t)1 << 63);
}

/* Without one, or refused by an unmasked exception, C0 and C3 stay as they were and C2 becomes 0. */
#define FP_REMAINDER(name)                                                                                  \
    OP(f##name)                                                                                             \
    {                                                                                                       \
        X87_ENTER;                                                                                          \
        x87_note(cpu, d);                                                                                   \
        if (G_UNLIKELY(x87_is_empty(cpu, 0) || x87_is_empty(cpu, 1))) {                                     \
            underflow_to(cpu, 0);                                                                           \
            cpu->fpu.sw &= (uint16_t)~X87_C2;                                                               \
            NEXT;                                                                                           \
        }                                                                                                   \
        X86F80 *a = x87_st(cpu, 0), *b = x87_st(cpu, 1);                                                    \
        bool quotient = has_quotient(a, b);                                                                 \
        uint16_t sw = hostfp_##name(a, b, x87_env(cpu));                                                    \
        if (quotient && !(sw & ~cpu->fpu.cw & X87_PRE)) {                                                   \
            x87_merge(cpu, sw, X87_CC);                                                                     \
        } else {                                                                                            \
            x87_merge(cpu, sw & ~X87_CC, X87_C1 | X87_C2);                                                  \
        }                                                                                                   \
        NEXT;                                                                                               \
    }
FP_REMAINDER(prem)
FP_REMAINDER(prem1)

OP(fscale)
{
    X87_ENTER;
    x87_note(cpu, d);
    if (G_UNLIKELY(x87_is_empty(cpu, 0) || x87_is_empty(cpu, 1))) {
        underflow_to(cpu, 0);
    } else {
        x87_merge(cpu, hostfp_scale(x87_st(cpu, 0), x87_st(cpu, 1), x87_env(cpu)), X87_C1);
    }
    NEXT;
}

FP_REG_ARITH(fpatan, patan, 1, 0, true)
FP_REG_ARITH(fyl2x, yl2x, 1, 0, true)
FP_REG_ARITH(fyl2xp1, yl2xp1, 1, 0, true)

/* ---- two results ---- */

typedef uint16_t PushingFn(X86F80 *st0, X86F80 *pushed, uint32_t env);
/* c2: the instruction reports an operand out of range in C2 and then pushes nothing. */
static void two_results(X86Cpu *cpu, const X86Insn *d, PushingFn *fn, bool c2)
{
    x87_note(cpu, d);
    bool under = x87_is_empty(cpu, 0);
    if (G_UNLIKELY(under || !x87_is_empty(cpu, 7))) {
        if (x87_stack_fault(cpu, !under)) {
            x87_indefinite(x87_st(cpu, 0));
            x87_set_full(cpu, 0);
            x87_push(cpu);
            x87_indefinite(x87_st(cpu, 0));
        }
        if (c2) {
            cpu->fpu.sw &= (uint16_t)~X87_C2;
        }
        return;
    }
    X86F80 second = { 0 };
    uint16_t sw = fn(x87_st(cpu, 0), &second, x87_env(cpu));
    x87_merge(cpu, sw, X87_C1 | (c2 ? X87_C2 : 0));
    if (!(sw & X87_REFUSED)) {
        x87_push(cpu);
        *x87_st(cpu, 0) = second;
    }
}
OP(fptan) { X87_ENTER; two_results(cpu, d, hostfp_ptan, true); NEXT; }
OP(fsincos) { X87_ENTER; two_results(cpu, d, hostfp_sincos, true); NEXT; }
OP(fxtract) { X87_ENTER; two_results(cpu, d, hostfp_xtract, false); NEXT; }

/* ---- stack management ---- */

OP(fincstp)
{
    X87_ENTER;
    x87_note(cpu, d);
    cpu->fpu.top = (cpu->fpu.top + 1) & 7;
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    NEXT;
}

OP(fdecstp)
{
    X87_ENTER;
    x87_note(cpu, d);
    cpu->fpu.top = (cpu->fpu.top - 1) & 7;
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    NEXT;
}

OP(ffree)
{
    X87_ENTER;
    x87_note(cpu, d);
    x87_set_empty(cpu, d->rm & 7);
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    NEXT;
}

OP(ffreep)
{
    X87_ENTER;
    x87_note(cpu, d);
    x87_set_empty(cpu, d->rm & 7);
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    x87_pop(cpu);
    NEXT;
}

OP(fnop)
{
    X87_ENTER;
    x87_note(cpu, d);
    NEXT;
}

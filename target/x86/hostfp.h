/* SPDX-License-Identifier: MIT
 * target/x86/hostfp.h - floating-point operations of the guest, done by the host: x87 values and SSE vectors.
 * Models: x87 arithmetic in any precision and rounding control (Intel SDM volume 1, chapter 8) and SSE
 *   arithmetic under a guest MXCSR (chapters 10 and 11).
 * Does not model: stacks, tags, pending exceptions (x87.c); traps (sse-fp.c).
 * Threads: any; an operation leaves the host's control words as it found them.
 *
 * hostfp-x86.c and hostfp-fma.c do the work with the same instructions of an x86-64 host; there is no version
 * for other hosts. One in C would implement the same functions in a file beside them.
 */
#ifndef TARGET_X86_HOSTFP_H
#define TARGET_X86_HOSTFP_H

#include "rhea/target/x86/cpu.h"

/* x87 status and control bits. */
enum {
    X87_IE = 1, X87_DE = 2, X87_ZE = 4, X87_OE = 8, X87_UE = 16, X87_PE = 32, X87_EXC = 63, X87_SF = 64,
    X87_ES = 128, X87_C0 = 0x100, X87_C1 = 0x200, X87_C2 = 0x400, X87_C3 = 0x4000, X87_B = 0x8000,
    X87_TOP = 0x3800,
    X87_REFUSED = 0x800, /* result words have no TOP, but this: no push, pop or store was done */
    X87_CC = X87_C0 | X87_C1 | X87_C2 | X87_C3,
    X87_PRE = X87_IE | X87_DE | X87_ZE, /* when unmasked, the operation is not done */
    X87_CW_INIT = 0x37f,
};

/*
 * The environment of an x87 operation: the control word, and in the upper half the guest's sticky exception
 * flags. A result word may contain flags that were sticky already (clearing the host's flags is slow), but
 * never an unmasked one that this operation did not raise. The rest of the result: C0..C3 as the instruction
 * leaves them, those it does not touch undefined.
 */
#define HOSTFP_ENV(cw, sw) ((uint32_t)(cw) | (uint32_t)((sw) & X87_EXC) << 16)

/* dst = dst OP src; src is an 80-bit value or m32, m64, m16int, m32int. */
#define HOSTFP_ARITH(X) X(add) X(sub) X(subr) X(mul) X(div) X(divr)
#define HOSTFP_DECLARE(op)                                                                 \
    uint16_t hostfp_##op(X86F80 *dst, const void *src, uint32_t env);                      \
    uint16_t hostfp_##op##_f32(X86F80 *dst, const void *src, uint32_t env);                \
    uint16_t hostfp_##op##_f64(X86F80 *dst, const void *src, uint32_t env);                \
    uint16_t hostfp_##op##_i16(X86F80 *dst, const void *src, uint32_t env);                \
    uint16_t hostfp_##op##_i32(X86F80 *dst, const void *src, uint32_t env);
HOSTFP_ARITH(HOSTFP_DECLARE)
/* The same shape, dst unchanged, C0, C2, C3 = relation. */
HOSTFP_DECLARE(com)
#undef HOSTFP_DECLARE
uint16_t hostfp_ucom(X86F80 *a, const void *b, uint32_t env);
uint16_t hostfp_tst(X86F80 *a, uint32_t env);
uint16_t hostfp_xam(X86F80 *a, uint32_t env);
/* dst = f(dst). */
uint16_t hostfp_sqrt(X86F80 *dst, uint32_t env);
uint16_t hostfp_rndint(X86F80 *dst, uint32_t env);
uint16_t hostfp_2xm1(X86F80 *dst, uint32_t env);
uint16_t hostfp_sin(X86F80 *dst, uint32_t env);
uint16_t hostfp_cos(X86F80 *dst, uint32_t env);
/* st1 = f(st1, st0), for the instructions that pop. X87_REFUSED: st1 unchanged. */
uint16_t hostfp_patan(X86F80 *st1, const void *st0, uint32_t env);
uint16_t hostfp_yl2x(X86F80 *st1, const void *st0, uint32_t env);
uint16_t hostfp_yl2xp1(X86F80 *st1, const void *st0, uint32_t env);
/* st0 = f(st0, st1). */
uint16_t hostfp_prem(X86F80 *st0, const void *st1, uint32_t env);
uint16_t hostfp_prem1(X86F80 *st0, const void *st1, uint32_t env);
uint16_t hostfp_scale(X86F80 *st0, const void *st1, uint32_t env);
/* st0 = f(st0) and a second result to push unless X87_REFUSED (C2, or an unmasked exception). */
uint16_t hostfp_ptan(X86F80 *st0, X86F80 *pushed, uint32_t env);
uint16_t hostfp_sincos(X86F80 *st0, X86F80 *pushed, uint32_t env);
uint16_t hostfp_xtract(X86F80 *st0, X86F80 *pushed, uint32_t env);
/* Conversions. X87_REFUSED: *dst unchanged. */
uint16_t hostfp_from_f32(X86F80 *dst, const void *src, uint32_t env);
uint16_t hostfp_from_f64(X86F80 *dst, const void *src, uint32_t env);
uint16_t hostfp_from_i16(X86F80 *dst, const void *src, uint32_t env);
uint16_t hostfp_from_i32(X86F80 *dst, const void *src, uint32_t env);
uint16_t hostfp_from_i64(X86F80 *dst, const void *src, uint32_t env);
uint16_t hostfp_from_bcd(X86F80 *dst, const void *src, uint32_t env);
uint16_t hostfp_to_f32(void *dst, const X86F80 *src, uint32_t env);
uint16_t hostfp_to_f64(void *dst, const X86F80 *src, uint32_t env);
uint16_t hostfp_to_i16(void *dst, const X86F80 *src, uint32_t env);
uint16_t hostfp_to_i32(void *dst, const X86F80 *src, uint32_t env);
uint16_t hostfp_to_i64(void *dst, const X86F80 *src, uint32_t env);
uint16_t hostfp_to_bcd(void *dst, const X86F80 *src, uint32_t env);
/* FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ in opcode order (0..6). */
void hostfp_const(X86F80 *dst, unsigned which, uint32_t env);

/*
 * SSE. *dst = op(*dst, *src) as the legacy instruction does it, under the control bits of mxcsr; every
 * exception is masked while it runs. Returns the exception flags it raised (exactly: none of before).
 * Scalar forms change only the low element of dst.
 */
typedef uint32_t HostSse(X86Vec *dst, const X86Vec *src, uint32_t mxcsr);
#define HOSTSSE_LIST(X)                                                                    \
    X(addps) X(addpd) X(addss) X(addsd) X(subps) X(subpd) X(subss) X(subsd)                \
    X(mulps) X(mulpd) X(mulss) X(mulsd) X(divps) X(divpd) X(divss) X(divsd)                \
    X(minps) X(minpd) X(minss) X(minsd) X(maxps) X(maxpd) X(maxss) X(maxsd)                \
    X(sqrtps) X(sqrtpd) X(sqrtss) X(sqrtsd)                                                \
    X(cvtps2pd) X(cvtpd2ps) X(cvtss2sd) X(cvtsd2ss)                                        \
    X(cvtdq2ps) X(cvtdq2pd) X(cvtps2dq) X(cvttps2dq) X(cvtpd2dq) X(cvttpd2dq)              \
    X(comiss) X(comisd) X(ucomiss) X(ucomisd)                                              \
    X(addsubps) X(addsubpd) X(haddps) X(haddpd) X(hsubps) X(hsubpd)
#define HOSTSSE_DECLARE(op) HostSse hostsse_##op;
HOSTSSE_LIST(HOSTSSE_DECLARE)
#undef HOSTSSE_DECLARE
/* The host's DPPS with all products and all elements; exceptions are masked and their flags dropped. False: the host has
 * no SSE4.1, *dst is unchanged. */
bool hostsse_dpps(X86Vec *dst, const X86Vec *src, uint32_t mxcsr);
/* comis*, ucomis*: dst->d[0] becomes the ZF, PF, CF bits.
 * Predicates 0..7 of CMPPS and its kin: */
uint32_t hostsse_cmpps(X86Vec *dst, const X86Vec *src, uint32_t mxcsr, unsigned pred);
uint32_t hostsse_cmppd(X86Vec *dst, const X86Vec *src, uint32_t mxcsr, unsigned pred);
uint32_t hostsse_cmpss(X86Vec *dst, const X86Vec *src, uint32_t mxcsr, unsigned pred);
uint32_t hostsse_cmpsd(X86Vec *dst, const X86Vec *src, uint32_t mxcsr, unsigned pred);
/* Between general registers and scalars; out of range: the integer indefinite value. */
uint32_t hostsse_cvtsi2ss(X86Vec *dst, int64_t v, bool wide, uint32_t mxcsr);
uint32_t hostsse_cvtsi2sd(X86Vec *dst, int64_t v, bool wide, uint32_t mxcsr);
uint32_t hostsse_cvtss2si(int64_t *dst, const X86Vec *src, bool wide, bool trunc, uint32_t mxcsr);
uint32_t hostsse_cvtsd2si(int64_t *dst, const X86Vec *src, bool wide, bool trunc, uint32_t mxcsr);
/* Fused multiply-add as v<op><form><type> dst, a, b does it on 128 bits, and conversions of four elements between half
 * and single precision (imm: of VCVTPS2PH). Only where the host has the instructions. */
typedef uint32_t HostFma(X86Vec *dst, const X86Vec *a, const X86Vec *b, uint32_t mxcsr);
#define HOSTFMA_TYPES(X, op, form) X(op, form, ps) X(op, form, pd) X(op, form, ss) X(op, form, sd)
#define HOSTFMA_FORM(X, form)                                                              \
    HOSTFMA_TYPES(X, fmadd, form) HOSTFMA_TYPES(X, fmsub, form)                            \
    HOSTFMA_TYPES(X, fnmadd, form) HOSTFMA_TYPES(X, fnmsub, form)                          \
    X(fmaddsub, form, ps) X(fmaddsub, form, pd) X(fmsubadd, form, ps) X(fmsubadd, form, pd)
#define HOSTFMA_LIST(X) HOSTFMA_FORM(X, 132) HOSTFMA_FORM(X, 213) HOSTFMA_FORM(X, 231)
#define HOSTFMA_DECLARE(op, form, type) HostFma hostfma_##op##type##_##form;
HOSTFMA_LIST(HOSTFMA_DECLARE)
#undef HOSTFMA_DECLARE
uint32_t hostf16_to_ps(X86Vec *dst, const X86Vec *src, uint32_t mxcsr);
uint32_t hostf16_from_ps(X86Vec *dst, const X86Vec *src, unsigned imm, uint32_t mxcsr);
bool hostfma_present(void);
bool hostf16c_present(void);
/* Approximations: no exceptions, no control bits. */
void hostsse_rcpps(X86Vec *dst, const X86Vec *src);
void hostsse_rsqrtps(X86Vec *dst, const X86Vec *src);

#endif

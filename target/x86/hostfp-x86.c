/* SPDX-License-Identifier: MIT
 * target/x86/hostfp-x86.c - guest floating point by the same instructions of an x86-64 host.
 * Models: see hostfp.h. The x87 part loads the guest's control word with its masks as they are: an unmasked
 *   exception stays pending in the host until FNCLEX, which comes before any waiting instruction, so that
 *   the host computes the unmasked responses too (scaled results, operands kept) and no SIGFPE appears.
 * Does not model: hosts that are not x86-64.
 * Threads: any.
 */
#include "hostfp.h"

#if defined(__x86_64__)

#define CLOBBERS "ax", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc"
/* After the instruction: the status word, and FNCLEX when an unmasked exception is pending. */
#define TAIL "\n\tfnstsw %%ax\n\tmovw %%ax, %[sw]\n\ttestb $0x80, %%al\n\tjz 1f\n\tfnclex\n1:\n\t"

/* Returns the host's TOP, so that what an instruction did to the stack can be told afterwards. */
static inline unsigned x87_begin(uint32_t env)
{
    uint16_t sw, cw = (uint16_t)env;
    asm volatile("fnstsw %0" : "=a"(sw));
    if (sw & X87_EXC & ~(env & env >> 16)) { /* FNCLEX takes longer than all the rest */
        asm volatile("fnclex" ::: "memory");
    }
    if (cw != X87_CW_INIT) {
        asm volatile("fldcw %0" ::"m"(cw));
    }
    return sw >> 11 & 7;
}
/* Registers in use beyond those of `top`. */
static inline unsigned x87_depth(unsigned top, uint16_t sw) { return (top - (sw >> 11)) & 7; }

static inline uint16_t x87_end(uint32_t env, uint16_t sw)
{
    static const uint16_t init = X87_CW_INIT;
    if ((uint16_t)env != X87_CW_INIT) {
        asm volatile("fldcw %0" ::"m"(init));
    }
    return sw & (uint16_t)~X87_TOP;
}

/* dst = dst OP value in memory of a type; the 80-bit form has it in ST(1). */
#define BIN_MEM(name, type, insn)                                                                           \
    uint16_t hostfp_##name(X86F80 *dst, const void *src, uint32_t env)                                      \
    {                                                                                                       \
        uint16_t sw;                                                                                        \
        x87_begin(env);                                                                                     \
        asm volatile("fldt %[d]\n\t" insn " %[s]" TAIL "fstpt %[d]"                                         \
                     : [d] "+m"(*dst), [sw] "=m"(sw) : [s] "m"(*(const type *)src) : CLOBBERS);             \
        return x87_end(env, sw);                                                                            \
    }
#define BIN_F80(name, insn)                                                                                 \
    uint16_t hostfp_##name(X86F80 *dst, const void *src, uint32_t env)                                      \
    {                                                                                                       \
        uint16_t sw;                                                                                        \
        x87_begin(env);                                                                                     \
        asm volatile("fldt %[s]\n\tfldt %[d]\n\t" insn TAIL "fstpt %[d]\n\tfstp %%st(0)"                    \
                     : [d] "+m"(*dst), [sw] "=m"(sw) : [s] "m"(*(const X86F80 *)src) : CLOBBERS);           \
        return x87_end(env, sw);                                                                            \
    }
#define ARITH(op)                                                                                           \
    BIN_F80(op, "f" #op " %%st(1), %%st")                                                                   \
    BIN_MEM(op##_f32, uint32_t, "f" #op "s")                                                                \
    BIN_MEM(op##_f64, uint64_t, "f" #op "l")                                                                \
    BIN_MEM(op##_i16, uint16_t, "fi" #op "s")                                                               \
    BIN_MEM(op##_i32, uint32_t, "fi" #op "l")
HOSTFP_ARITH(ARITH)
BIN_F80(com, "fcom %%st(1)")
BIN_F80(ucom, "fucom %%st(1)")
BIN_MEM(com_f32, uint32_t, "fcoms")
BIN_MEM(com_f64, uint64_t, "fcoml")
BIN_MEM(com_i16, uint16_t, "ficoms")
BIN_MEM(com_i32, uint32_t, "ficoml")
BIN_F80(prem, "fprem")
BIN_F80(prem1, "fprem1")
BIN_F80(scale, "fscale")

#define UNARY(name, insn)                                                                                   \
    uint16_t hostfp_##name(X86F80 *dst, uint32_t env)                                                       \
    {                                                                                                       \
        uint16_t sw;                                                                                        \
        x87_begin(env);                                                                                     \
        asm volatile("fldt %[d]\n\t" insn TAIL "fstpt %[d]" : [d] "+m"(*dst), [sw] "=m"(sw)::CLOBBERS);     \
        return x87_end(env, sw);                                                                            \
    }
UNARY(tst, "ftst")
UNARY(xam, "fxam")
UNARY(sqrt, "fsqrt")
UNARY(rndint, "frndint")
UNARY(2xm1, "f2xm1")
UNARY(sin, "fsin")
UNARY(cos, "fcos")

/* Which exceptions refuse a push or a pop differs between processors (FLD of a denormal with DE unmasked
 * loads on AMD's), so that the host is asked. */
#define POPPING(name, insn)                                                                                 \
    uint16_t hostfp_##name(X86F80 *st1, const void *st0, uint32_t env)                                      \
    {                                                                                                       \
        uint16_t sw;                                                                                        \
        unsigned top = x87_begin(env);                                                                      \
        asm volatile("fldt %[d]\n\tfldt %[s]\n\t" insn TAIL                                                 \
                     : [sw] "=m"(sw) : [s] "m"(*(const X86F80 *)st0), [d] "m"(*st1) : CLOBBERS);            \
        if (x87_depth(top, sw) != 1) {                                                                      \
            asm volatile("fstp %%st(0)\n\tfstp %%st(0)" ::: CLOBBERS);                                      \
            return x87_end(env, sw) | X87_REFUSED;                                                          \
        }                                                                                                   \
        asm volatile("fstpt %0" : "=m"(*st1)::CLOBBERS);                                                    \
        return x87_end(env, sw);                                                                            \
    }
POPPING(patan, "fpatan")
POPPING(yl2x, "fyl2x")
POPPING(yl2xp1, "fyl2xp1")

#define PUSHING(name, insn)                                                                                 \
    uint16_t hostfp_##name(X86F80 *st0, X86F80 *pushed, uint32_t env)                                       \
    {                                                                                                       \
        uint16_t sw;                                                                                        \
        unsigned top = x87_begin(env);                                                                      \
        asm volatile("fldt %[d]\n\t" insn TAIL : [sw] "=m"(sw) : [d] "m"(*st0) : CLOBBERS);                 \
        bool pushes = x87_depth(top, sw) == 2;                                                              \
        if (pushes) {                                                                                       \
            asm volatile("fstpt %0" : "=m"(*pushed)::CLOBBERS);                                             \
        }                                                                                                   \
        asm volatile("fstpt %0" : "=m"(*st0)::CLOBBERS);                                                    \
        return x87_end(env, sw) | (pushes ? 0 : X87_REFUSED);                                               \
    }
PUSHING(ptan, "fptan")
PUSHING(sincos, "fsincos")
PUSHING(xtract, "fxtract")

/* A refused load pushes nothing. */
#define LOAD(name, type, insn)                                                                              \
    uint16_t hostfp_from_##name(X86F80 *dst, const void *src, uint32_t env)                                 \
    {                                                                                                       \
        uint16_t sw;                                                                                        \
        unsigned top = x87_begin(env);                                                                      \
        asm volatile(insn " %[s]" TAIL : [sw] "=m"(sw) : [s] "m"(*(const type *)src) : CLOBBERS);           \
        if (x87_depth(top, sw) != 1) {                                                                      \
            return x87_end(env, sw) | X87_REFUSED;                                                          \
        }                                                                                                   \
        asm volatile("fstpt %0" : "=m"(*dst)::CLOBBERS);                                                    \
        return x87_end(env, sw);                                                                            \
    }
typedef struct Bytes10 { uint8_t b[10]; } Bytes10;
LOAD(f32, uint32_t, "flds")
LOAD(f64, uint64_t, "fldl")
LOAD(i16, uint16_t, "filds")
LOAD(i32, uint32_t, "fildl")
LOAD(i64, uint64_t, "fildll")
LOAD(bcd, Bytes10, "fbld")

#define STORE(name, type, insn)                                                                             \
    uint16_t hostfp_to_##name(void *dst, const X86F80 *src, uint32_t env)                                   \
    {                                                                                                       \
        uint16_t sw;                                                                                        \
        unsigned top = x87_begin(env);                                                                      \
        asm volatile("fldt %[s]\n\t" insn " %[d]" TAIL                                                      \
                     : [sw] "=m"(sw), [d] "+m"(*(type *)dst) : [s] "m"(*src) : CLOBBERS);                   \
        if (x87_depth(top, sw) != 0) {                                                                      \
            asm volatile("fstp %%st(0)" ::: CLOBBERS);                                                      \
            return x87_end(env, sw) | X87_REFUSED;                                                          \
        }                                                                                                   \
        return x87_end(env, sw);                                                                            \
    }
STORE(f32, uint32_t, "fstps")
STORE(f64, uint64_t, "fstpl")
STORE(i16, uint16_t, "fistps")
STORE(i32, uint32_t, "fistpl")
STORE(i64, uint64_t, "fistpll")
STORE(bcd, Bytes10, "fbstp")

void hostfp_const(X86F80 *dst, unsigned which, uint32_t env)
{
    x87_begin(env);
    switch (which) {
    case 0: asm volatile("fld1\n\tfstpt %0" : "=m"(*dst)::CLOBBERS); break;
    case 1: asm volatile("fldl2t\n\tfstpt %0" : "=m"(*dst)::CLOBBERS); break;
    case 2: asm volatile("fldl2e\n\tfstpt %0" : "=m"(*dst)::CLOBBERS); break;
    case 3: asm volatile("fldpi\n\tfstpt %0" : "=m"(*dst)::CLOBBERS); break;
    case 4: asm volatile("fldlg2\n\tfstpt %0" : "=m"(*dst)::CLOBBERS); break;
    case 5: asm volatile("fldln2\n\tfstpt %0" : "=m"(*dst)::CLOBBERS); break;
    default: asm volatile("fldz\n\tfstpt %0" : "=m"(*dst)::CLOBBERS); break;
    }
    x87_end(env, 0);
}

/* SSE: LDMXCSR with the guest's control bits, no flags and every mask set; the instruction; STMXCSR. The
 * flags that stay behind in the host's MXCSR disturb nobody: every operation loads its own. */
enum { SSE_MASKS = 0x1f80, SSE_CTRL = 0xe040, SSE_EXC = 0x3f };
typedef float V16 __attribute__((vector_size(16)));

static inline uint32_t sse_mxcsr(uint32_t guest) { return (guest & SSE_CTRL) | SSE_MASKS; }
static inline uint32_t sse_end(uint32_t mx, uint32_t result)
{
    static const uint32_t init = SSE_MASKS;
    if (G_UNLIKELY(mx != SSE_MASKS)) {
        asm volatile("ldmxcsr %0" ::"m"(init));
    }
    return result & SSE_EXC;
}
#define VEC(p) (*(V16 *)(p))
#define CVEC(p) (*(const V16 *)(p))

#define SSE_OP(name)                                                                                        \
    uint32_t hostsse_##name(X86Vec *dst, const X86Vec *src, uint32_t mxcsr)                                 \
    {                                                                                                       \
        uint32_t mx = sse_mxcsr(mxcsr), res;                                                                \
        V16 v = VEC(dst);                                                                                   \
        asm volatile("ldmxcsr %[mx]\n\t" #name " %[s], %[v]\n\tstmxcsr %[res]"                              \
                     : [v] "+x"(v), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));                    \
        VEC(dst) = v;                                                                                       \
        return sse_end(mx, res);                                                                            \
    }
SSE_OP(addps) SSE_OP(addpd) SSE_OP(addss) SSE_OP(addsd)
SSE_OP(subps) SSE_OP(subpd) SSE_OP(subss) SSE_OP(subsd)
SSE_OP(mulps) SSE_OP(mulpd) SSE_OP(mulss) SSE_OP(mulsd)
SSE_OP(divps) SSE_OP(divpd) SSE_OP(divss) SSE_OP(divsd)
SSE_OP(minps) SSE_OP(minpd) SSE_OP(minss) SSE_OP(minsd)
SSE_OP(maxps) SSE_OP(maxpd) SSE_OP(maxss) SSE_OP(maxsd)
SSE_OP(sqrtps) SSE_OP(sqrtpd) SSE_OP(sqrtss) SSE_OP(sqrtsd)
SSE_OP(cvtps2pd) SSE_OP(cvtpd2ps) SSE_OP(cvtss2sd) SSE_OP(cvtsd2ss)
SSE_OP(cvtdq2ps) SSE_OP(cvtdq2pd) SSE_OP(cvtps2dq) SSE_OP(cvttps2dq) SSE_OP(cvtpd2dq) SSE_OP(cvttpd2dq)

#define SSE_COMIS(name)                                                                                     \
    uint32_t hostsse_##name(X86Vec *dst, const X86Vec *src, uint32_t mxcsr)                                 \
    {                                                                                                       \
        uint32_t mx = sse_mxcsr(mxcsr), res;                                                                \
        uint8_t z, p, c;                                                                                    \
        asm volatile("ldmxcsr %[mx]\n\t" #name " %[s], %[v]\n\tsetz %[z]\n\tsetp %[p]\n\tsetc %[c]\n\t"     \
                     "stmxcsr %[res]"                                                                       \
                     : [z] "=q"(z), [p] "=q"(p), [c] "=q"(c), [res] "=m"(res)                               \
                     : [v] "x"(VEC(dst)), [s] "x"(CVEC(src)), [mx] "m"(mx) : "cc");                         \
        dst->d[0] = (z ? FL_ZF : 0) | (p ? FL_PF : 0) | (c ? FL_CF : 0);                                    \
        return sse_end(mx, res);                                                                            \
    }
SSE_COMIS(comiss) SSE_COMIS(comisd) SSE_COMIS(ucomiss) SSE_COMIS(ucomisd)

#define CMP_CASE(name, n)                                                                                   \
    case n:                                                                                                 \
        asm volatile("ldmxcsr %[mx]\n\t" #name " $" #n ", %[s], %[v]\n\tstmxcsr %[res]"                     \
                     : [v] "+x"(v), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));                    \
        break;
#define SSE_CMP(name)                                                                                       \
    uint32_t hostsse_##name(X86Vec *dst, const X86Vec *src, uint32_t mxcsr, unsigned pred)                  \
    {                                                                                                       \
        uint32_t mx = sse_mxcsr(mxcsr), res = 0;                                                            \
        V16 v = VEC(dst);                                                                                   \
        switch (pred & 7) {                                                                                 \
        CMP_CASE(name, 0) CMP_CASE(name, 1) CMP_CASE(name, 2) CMP_CASE(name, 3)                             \
        CMP_CASE(name, 4) CMP_CASE(name, 5) CMP_CASE(name, 6) CMP_CASE(name, 7)                             \
        }                                                                                                   \
        VEC(dst) = v;                                                                                       \
        return sse_end(mx, res);                                                                            \
    }
SSE_CMP(cmpps) SSE_CMP(cmppd) SSE_CMP(cmpss) SSE_CMP(cmpsd)

#define SSE_FROM_INT(name)                                                                                  \
    uint32_t hostsse_##name(X86Vec *dst, int64_t val, bool wide, uint32_t mxcsr)                            \
    {                                                                                                       \
        uint32_t mx = sse_mxcsr(mxcsr), res;                                                                \
        V16 v = VEC(dst);                                                                                   \
        if (wide) {                                                                                         \
            asm volatile("ldmxcsr %[mx]\n\t" #name "q %[s], %[v]\n\tstmxcsr %[res]"                         \
                         : [v] "+x"(v), [res] "=m"(res) : [s] "r"(val), [mx] "m"(mx));                      \
        } else {                                                                                            \
            asm volatile("ldmxcsr %[mx]\n\t" #name "l %[s], %[v]\n\tstmxcsr %[res]"                         \
                         : [v] "+x"(v), [res] "=m"(res) : [s] "r"((int32_t)val), [mx] "m"(mx));             \
        }                                                                                                   \
        VEC(dst) = v;                                                                                       \
        return sse_end(mx, res);                                                                            \
    }
SSE_FROM_INT(cvtsi2ss) SSE_FROM_INT(cvtsi2sd)

#define SSE_TO_INT(name, tname)                                                                             \
    uint32_t hostsse_##name(int64_t *dst, const X86Vec *src, bool wide, bool trunc, uint32_t mxcsr)         \
    {                                                                                                       \
        uint32_t mx = sse_mxcsr(mxcsr), res;                                                                \
        int64_t q;                                                                                          \
        int32_t l;                                                                                          \
        if (wide && trunc) {                                                                                \
            asm volatile("ldmxcsr %[mx]\n\t" #tname " %[s], %[q]\n\tstmxcsr %[res]"                         \
                         : [q] "=r"(q), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));                \
        } else if (wide) {                                                                                  \
            asm volatile("ldmxcsr %[mx]\n\t" #name " %[s], %[q]\n\tstmxcsr %[res]"                          \
                         : [q] "=r"(q), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));                \
        } else {                                                                                            \
            if (trunc) {                                                                                    \
                asm volatile("ldmxcsr %[mx]\n\t" #tname " %[s], %[l]\n\tstmxcsr %[res]"                     \
                             : [l] "=r"(l), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));            \
            } else {                                                                                        \
                asm volatile("ldmxcsr %[mx]\n\t" #name " %[s], %[l]\n\tstmxcsr %[res]"                      \
                             : [l] "=r"(l), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));            \
            }                                                                                               \
            q = l;                                                                                          \
        }                                                                                                   \
        *dst = q;                                                                                           \
        return sse_end(mx, res);                                                                            \
    }
SSE_TO_INT(cvtss2si, cvttss2si) SSE_TO_INT(cvtsd2si, cvttsd2si)

void hostsse_rcpps(X86Vec *dst, const X86Vec *src)
{
    asm("rcpps %1, %0" : "=x"(VEC(dst)) : "x"(CVEC(src)));
}

void hostsse_rsqrtps(X86Vec *dst, const X86Vec *src)
{
    asm("rsqrtps %1, %0" : "=x"(VEC(dst)) : "x"(CVEC(src)));
}

bool hostsse_dpps(X86Vec *dst, const X86Vec *src, uint32_t mxcsr)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.1")) {
        return false;
    }
    uint32_t mx = sse_mxcsr(mxcsr), res;
    V16 v = VEC(dst);
    asm volatile("ldmxcsr %[mx]\n\tdpps $0xff, %[s], %[v]\n\tstmxcsr %[res]"
                 : [v] "+x"(v), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));
    VEC(dst) = v;
    sse_end(mx, res);
    return true;
}

/* SSE3 by SSE2: the elements brought side by side, one vertical operation with the same operand order. */
#define SSE3_ADDSUB(name, n, ADD, SUB, field)                                                               \
    uint32_t hostsse_##name(X86Vec *dst, const X86Vec *src, uint32_t mxcsr)                                 \
    {                                                                                                       \
        X86Vec sum = *dst, diff = *dst;                                                                     \
        X86Vec s_odd = *src, s_even = *src;                                                                 \
        for (unsigned i = 0; i < (n); i++) { /* lanes of no interest: 0 op 0 raises nothing */              \
            if (i & 1) {                                                                                    \
                diff.field[i] = s_even.field[i] = 0;                                                        \
            } else {                                                                                        \
                sum.field[i] = s_odd.field[i] = 0;                                                          \
            }                                                                                               \
        }                                                                                                   \
        uint32_t fl = hostsse_##ADD(&sum, &s_odd, mxcsr) | hostsse_##SUB(&diff, &s_even, mxcsr);            \
        for (unsigned i = 0; i < (n); i++) {                                                                \
            dst->field[i] = i & 1 ? sum.field[i] : diff.field[i];                                           \
        }                                                                                                   \
        return fl;                                                                                          \
    }
SSE3_ADDSUB(addsubps, 4, addps, subps, d)
SSE3_ADDSUB(addsubpd, 2, addpd, subpd, q)

#define SSE3_HORIZONTAL(name, n, OPER, field)                                                               \
    uint32_t hostsse_##name(X86Vec *dst, const X86Vec *src, uint32_t mxcsr)                                 \
    {                                                                                                       \
        X86Vec a = *dst, b = *dst;                                                                          \
        for (unsigned i = 0; i < (n) / 2; i++) {                                                            \
            a.field[i] = dst->field[2 * i];                                                                 \
            b.field[i] = dst->field[2 * i + 1];                                                             \
            a.field[(n) / 2 + i] = src->field[2 * i];                                                       \
            b.field[(n) / 2 + i] = src->field[2 * i + 1];                                                   \
        }                                                                                                   \
        uint32_t fl = hostsse_##OPER(&a, &b, mxcsr);                                                        \
        dst->q[0] = a.q[0];                                                                                 \
        dst->q[1] = a.q[1];                                                                                 \
        return fl;                                                                                          \
    }
SSE3_HORIZONTAL(haddps, 4, addps, d)
SSE3_HORIZONTAL(haddpd, 2, addpd, q)
SSE3_HORIZONTAL(hsubps, 4, subps, d)
SSE3_HORIZONTAL(hsubpd, 2, subpd, q)

#endif

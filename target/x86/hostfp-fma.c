/* SPDX-License-Identifier: MIT
 * target/x86/hostfp-fma.c - fused multiply-add and half-precision conversion by the same instructions of the host. Their
 *   callers make sure that the host has them: the CPU model offers fma and f16c only then (models.c).
 * Models: see hostfp.h. All three operand orders exist, because which of several NaNs survives depends on them.
 * Does not model: hosts without FMA or F16C.
 * Threads: any.
 */
#include "hostfp.h"

#if defined(__x86_64__)
#include <cpuid.h>

enum { SSE_MASKS = 0x1f80, SSE_CTRL = 0xe040, SSE_EXC = 0x3f, SSE_RC = 0x6000 };
typedef float V16 __attribute__((vector_size(16)));
#define VEC(p) (*(V16 *)(p))
#define CVEC(p) (*(const V16 *)(p))

/* Leaves the host's MXCSR as it was but for the flags, and returns those of the operation. */
static inline uint32_t fma_end(uint32_t mx, uint32_t result)
{
    static const uint32_t init = SSE_MASKS;
    if (G_UNLIKELY(mx != SSE_MASKS)) {
        asm volatile("ldmxcsr %0" ::"m"(init));
    }
    return result & SSE_EXC;
}

bool hostfma_present(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("fma");
}
bool hostf16c_present(void)
{
    unsigned a, b, c, d; /* not every compiler's builtin has a name for it */
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}

#define FMA_OP(op, form, type)                                                                              \
    uint32_t hostfma_##op##type##_##form(X86Vec *dst, const X86Vec *a, const X86Vec *b, uint32_t mxcsr)     \
    {                                                                                                       \
        uint32_t mx = (mxcsr & SSE_CTRL) | SSE_MASKS, res;                                                  \
        V16 v = VEC(dst);                                                                                   \
        asm volatile("ldmxcsr %[mx]\n\tv" #op #form #type " %[b], %[a], %[v]\n\tstmxcsr %[res]"             \
                     : [v] "+x"(v), [res] "=m"(res) : [a] "x"(CVEC(a)), [b] "x"(CVEC(b)), [mx] "m"(mx));    \
        VEC(dst) = v;                                                                                       \
        return fma_end(mx, res);                                                                            \
    }
HOSTFMA_LIST(FMA_OP)

uint32_t hostf16_to_ps(X86Vec *dst, const X86Vec *src, uint32_t mxcsr)
{
    uint32_t mx = (mxcsr & SSE_CTRL) | SSE_MASKS, res;
    V16 v;
    asm volatile("ldmxcsr %[mx]\n\tvcvtph2ps %[s], %[v]\n\tstmxcsr %[res]"
                 : [v] "=x"(v), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));
    VEC(dst) = v;
    return fma_end(mx, res);
}

/* Always rounds by MXCSR: the immediate's own mode goes there. */
uint32_t hostf16_from_ps(X86Vec *dst, const X86Vec *src, unsigned imm, uint32_t mxcsr)
{
    uint32_t mx = (mxcsr & SSE_CTRL) | SSE_MASKS, res;
    V16 v;
    if (!(imm & 4)) {
        mx = (mx & ~(uint32_t)SSE_RC) | (imm & 3) << 13;
    }
    asm volatile("ldmxcsr %[mx]\n\tvcvtps2ph $4, %[s], %[v]\n\tstmxcsr %[res]"
                 : [v] "=x"(v), [res] "=m"(res) : [s] "x"(CVEC(src)), [mx] "m"(mx));
    VEC(dst) = v;
    return fma_end(mx, res);
}

#endif

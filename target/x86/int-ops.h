/* SPDX-License-Identifier: MIT
 * target/x86/int-ops.h - operand access by size, for the integer handlers: registers, and memory that is
 * read, changed and written back.
 */
#ifndef TARGET_X86_INT_OPS_H
#define TARGET_X86_INT_OPS_H

#include "flags.h"

#define RD8(n)  R8(n)
#define RD16(n) ((uint16_t)cpu->gpr[n])
#define RD32(n) ((uint32_t)cpu->gpr[n])
#define RD64(n) (cpu->gpr[n])
#define WR8(n, v)  (R8(n) = (uint8_t)(v))
#define WR16(n, v) (*(uint16_t *)&cpu->gpr[n] = (uint16_t)(v))
#define WR32(n, v) (cpu->gpr[n] = (uint32_t)(v))
#define WR64(n, v) (cpu->gpr[n] = (uint64_t)(v))
#define LOG2_8  0
#define LOG2_16 1
#define LOG2_32 2
#define LOG2_64 3

/* Atomic compare-and-swap on guest memory, which may be misaligned: x86 hosts do that in hardware. Returns what was there. */
#define HOST_CAS(bits)                                                                                      \
    static inline __attribute__((no_sanitize("alignment"))) uint##bits##_t host_cas##bits(void *p, uint##bits##_t was, \
                                                                                          uint##bits##_t now) \
    {                                                                                                       \
        return __sync_val_compare_and_swap((uint##bits##_t *)p, was, now);                                  \
    }                                                                                                       \
    static inline uint##bits##_t host_ld##bits(const void *p)                                               \
    {                                                                                                       \
        uint##bits##_t v;                                                                                   \
        memcpy(&v, p, sizeof(v));                                                                           \
        return v;                                                                                           \
    }                                                                                                       \
    static inline void host_st##bits(void *p, uint##bits##_t v) { memcpy(p, &v, sizeof(v)); }
HOST_CAS(8) HOST_CAS(16) HOST_CAS(32) HOST_CAS(64)
#undef HOST_CAS

/* Loads for a read-modify-write: faults as the write it is. *p is where to store, NULL: the slow way. */
#define RMW(bits)                                                                                           \
    static inline uint##bits##_t rmw_ld##bits(X86Cpu *cpu, const X86Insn *d, uint64_t lin, void **p)        \
    {                                                                                                       \
        const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];                                         \
        uint##bits##_t v;                                                                                   \
        if (tlb_hit(e->wtag, lin, bits / 8)) {                                                              \
            *p = (void *)(lin + e->delta);                                                                  \
        } else {                                                                                            \
            SYNC(d);                                                                                        \
            *p = x86_rmw_ptr(cpu, lin, bits / 8);                                                           \
            if (!*p) {                                                                                      \
                x86_probe_write(cpu, lin, bits / 8, cpu->mmu);                                              \
                return (uint##bits##_t)x86_ld_slow(cpu, lin, bits / 8, cpu->mmu);                           \
            }                                                                                               \
        }                                                                                                   \
        memcpy(&v, *p, sizeof(v));                                                                          \
        return v;                                                                                           \
    }                                                                                                       \
    static inline void rmw_st##bits(X86Cpu *cpu, uint64_t lin, void *p, uint##bits##_t v)                   \
    {                                                                                                       \
        if (G_LIKELY(p)) {                                                                                  \
            memcpy(p, &v, sizeof(v));                                                                       \
        } else {                                                                                            \
            x86_st_slow(cpu, lin, bits / 8, v, cpu->mmu);                                                   \
        }                                                                                                   \
    }
RMW(8) RMW(16) RMW(32) RMW(64)
#undef RMW

#endif

/* SPDX-License-Identifier: MIT
 * target/x86/interp.h - what an instruction's semantic function (a T0 handler) sees and may do.
 *
 * A handler is `OP(name) { ...; NEXT; }`. It reads operands from the decoded instruction `d` and the CPU
 * `cpu`, and ends with NEXT (fall through), or with END_UNIT after it changed rip, mode or paging.
 *
 * Faults: anything that may raise runs before the handler changes registers or memory (or undoes it).
 * Loads and stores record `d` themselves on their slow path; before calling any other function that may
 * raise, write SYNC(d). x86_raise() never returns.
 */
#ifndef TARGET_X86_INTERP_H
#define TARGET_X86_INTERP_H

#include "rhea/target/x86/cpu.h"
#include <string.h>

typedef struct X86Insn X86Insn;
typedef const X86Insn *(*X86Op)(X86Cpu *cpu, const X86Insn *d);

/* One decoded instruction, 32 bytes. Shared by T0 and the re-emitter. */
struct X86Insn {
    X86Op op;
    uint64_t imm;        /* immediate, sign-extended as the row says; branch: displacement; moffs: address */
    int32_t disp;        /* of the memory operand */
    uint8_t reg;         /* ModRM.reg or +r register, REX applied */
    uint8_t rm;          /* register operand when mod == 3, REX applied */
    uint8_t base, index; /* memory operand: gpr[] numbers (VSIB: index is a vector register); R_NONE; R_UNIT for RIP-relative (disp is then
                            relative to the unit's start) */
    uint8_t scale;       /* shift 0..3 */
    uint8_t seg;         /* seg_base[] slot of the memory operand; SEG_FLAT when the base is known to be zero.
                            With I_SEGCHECK: the architectural segment */
    uint8_t len;
    uint8_t flags;       /* I_* */
    uint16_t off;        /* of the first byte, from the unit's start */
    uint16_t row;        /* of insn.def */
};
enum {
    I_ASIZE = 3,      /* log2 of address size in bytes: 1 = 16, 2 = 32, 3 = 64 */
    I_OSIZE_SHIFT = 2, /* log2 of operand size in bytes: 0..3 */
    I_OSIZE = 3 << 2,
    I_MEM = 1 << 4,   /* has a memory operand (mod != 3 or implied) */
    I_SEGCHECK = 1 << 5, /* segment limits and rights must be checked (not flat) */
    I_LOCK = 1 << 6,
    I_REP = 1 << 7,   /* F3; with a REPNE row the row differs, see decode.h */
};

/* Declares itself, so that a handler may live in any file. */
#define OP(name) const X86Insn *op_##name(X86Cpu *cpu, const X86Insn *d); \
    const X86Insn *op_##name(X86Cpu *cpu G_GNUC_UNUSED, const X86Insn *d G_GNUC_UNUSED)

/* Registers by the decoder's numbers. Byte operands hold an offset into gpr[] (AH is 1): insn.def. Writing 32 bits
 * clears the upper half. */
_Static_assert(G_BYTE_ORDER == G_LITTLE_ENDIAN, "byte registers are addressed inside gpr[]");
#define R8(n)  (((uint8_t *)cpu->gpr)[n])
#define R16(n) (((uint16_t *)cpu->gpr)[(n) * 4])
#define R32(n) (((uint32_t *)cpu->gpr)[(n) * 2])
#define R64(n) (cpu->gpr[n])
static inline unsigned insn_osize(const X86Insn *d) { return d->flags >> I_OSIZE_SHIFT & 3; } /* log2 of bytes */
/* VEX rows have more in imm: the immediate byte is (uint8_t)d->imm, then VEX.vvvv, L and W. */
static inline unsigned insn_vvvv(const X86Insn *d) { return d->imm >> 8 & 15; }
static inline bool insn_vex_l(const X86Insn *d) { return d->imm & 1 << 12; }
static inline bool insn_vex_w(const X86Insn *d) { return d->imm & 1 << 13; }
static inline unsigned insn_vlen(const X86Insn *d) { return insn_vex_l(d) ? 32 : 16; } /* bytes of a vector */
static inline unsigned insn_is4(const X86Insn *d) { return d->imm >> 4 & 15; }
static inline bool insn_is_mem(const X86Insn *d) { return d->flags & I_MEM; }

/* A handler returns the instruction to go on with; the loop around it calls that. Files that define T0_TAIL_NEXT (before
 * including this) chain by tail calls instead in optimised builds: in them no handler may take the address of a local
 * variable or use alloca, or the call would grow the stack. Both kinds mix. */
#if defined(RHEA_TAIL_CALLS) && defined(T0_TAIL_NEXT)
#define NEXT return d[1].op(cpu, d + 1)
#else
#define NEXT return d + 1
#endif
/* The unit is over; cpu->rip is set. */
#define END_UNIT return NULL
#define SYNC(d) (cpu->cur = (d))

/* The RIP of d, and of the instruction after it. */
static inline uint64_t insn_rip(const X86Cpu *cpu, const X86Insn *d) { return cpu->gpr[R_UNIT] + d->off; }
static inline uint64_t insn_next_rip(const X86Cpu *cpu, const X86Insn *d) { return cpu->gpr[R_UNIT] + d->off + d->len; }

/* Raises at the instruction in cpu->cur: rip becomes its address, the exception is delivered, execution
 * goes on in the handler. Fault-class. x86_raise_trap(): rip is left as it is (INT n, #DB traps). */
void x86_raise(X86Cpu *cpu, int vector) G_GNUC_NORETURN;
void x86_raise_err(X86Cpu *cpu, int vector, uint32_t err) G_GNUC_NORETURN;
#define RAISE(vec)          do { SYNC(d); x86_raise(cpu, (vec)); } while (0)
#define RAISE_ERR(vec, err) do { SYNC(d); x86_raise_err(cpu, (vec), (err)); } while (0)

/* Offset part of the memory operand, address size applied. */
static inline uint64_t ea_off(const X86Cpu *cpu, const X86Insn *d)
{
    uint64_t a = cpu->gpr[d->base] + (cpu->gpr[d->index] << d->scale) + (int64_t)d->disp;
    switch (d->flags & I_ASIZE) {
    case 1: return (uint16_t)a;
    case 2: return (uint32_t)a;
    default: return a;
    }
}
/* Non-flat segments: checks limit and rights of an access of n bytes, returns the linear address. */
uint64_t seg_linear(X86Cpu *cpu, unsigned seg, uint64_t off, unsigned n, bool write);
/* Linear address of offset off in the segment of the memory operand, for an access of n bytes. */
static inline uint64_t ea_lin_off(X86Cpu *cpu, const X86Insn *d, uint64_t off, unsigned n, bool write)
{
    if (G_UNLIKELY(d->flags & I_SEGCHECK)) {
        SYNC(d);
        return seg_linear(cpu, d->seg, off, n, write);
    }
    off += cpu->seg_base[d->seg];
    return (d->flags & I_ASIZE) == 3 || (cpu->mode & MODE_CODE64) ? off : (uint32_t)off;
}
/* Linear address of the memory operand for an access of n bytes. */
static inline uint64_t ea_lin(X86Cpu *cpu, const X86Insn *d, unsigned n, bool write)
{
    return ea_lin_off(cpu, d, ea_off(cpu, d), n, write);
}
/* The memory form _f (attribute "fast"): 64-bit addresses, no segment check. */
static inline uint64_t ea_fast(const X86Cpu *cpu, const X86Insn *d)
{
    return cpu->gpr[d->base] + (cpu->gpr[d->index] << d->scale) + (uint64_t)(int64_t)d->disp + cpu->seg_base[d->seg];
}
#define EA_F() ea_fast(cpu, d)
/* The memory form _s: 32-bit addresses in a flat segment, outside 64-bit mode. */
static inline uint64_t ea_fast32(const X86Cpu *cpu, const X86Insn *d)
{
    return (uint32_t)(R32(d->base) + (R32(d->index) << d->scale) + (uint32_t)d->disp);
}
#define EA_S() ea_fast32(cpu, d)

/* Linear memory at the current privilege. The slow forms walk, split pages, dispatch MMIO, check
 * canonical addresses and alignment (AC), data breakpoints and self-modification; they raise through
 * cpu->cur. */
uint64_t x86_ld_slow(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu);
void x86_st_slow(X86Cpu *cpu, uint64_t lin, unsigned n, uint64_t val, unsigned mmu);
void x86_ld_slow_n(X86Cpu *cpu, uint64_t lin, unsigned n, void *buf, unsigned mmu);       /* 10, 16, 32... bytes */
void x86_st_slow_n(X86Cpu *cpu, uint64_t lin, unsigned n, const void *buf, unsigned mmu);

#define LDST(bits)                                                                                          \
    static inline uint##bits##_t ld##bits(X86Cpu *cpu, const X86Insn *d, uint64_t lin)                      \
    {                                                                                                       \
        const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];                                         \
        if (tlb_hit(e->rtag, lin, bits / 8)) {                                                              \
            uint##bits##_t v;                                                                               \
            memcpy(&v, (const void *)(lin + e->delta), sizeof(v));                                          \
            return v;                                                                                       \
        }                                                                                                   \
        SYNC(d);                                                                                            \
        return (uint##bits##_t)x86_ld_slow(cpu, lin, bits / 8, cpu->mmu);                                   \
    }                                                                                                       \
    static inline void st##bits(X86Cpu *cpu, const X86Insn *d, uint64_t lin, uint##bits##_t v)              \
    {                                                                                                       \
        const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];                                         \
        if (tlb_hit(e->wtag, lin, bits / 8)) {                                                              \
            memcpy((void *)(lin + e->delta), &v, sizeof(v));                                                \
            return;                                                                                         \
        }                                                                                                   \
        SYNC(d);                                                                                            \
        x86_st_slow(cpu, lin, bits / 8, v, cpu->mmu);                                                       \
    }
LDST(8) LDST(16) LDST(32) LDST(64)
#undef LDST

/* Any size up to 64 bytes, e.g. 16 for SSE. */
static inline void ld_n(X86Cpu *cpu, const X86Insn *d, uint64_t lin, void *buf, unsigned n)
{
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];
    if (tlb_hit(e->rtag, lin, n)) {
        memcpy(buf, (const void *)(lin + e->delta), n);
        return;
    }
    SYNC(d);
    x86_ld_slow_n(cpu, lin, n, buf, cpu->mmu);
}
static inline void st_n(X86Cpu *cpu, const X86Insn *d, uint64_t lin, const void *buf, unsigned n)
{
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];
    if (tlb_hit(e->wtag, lin, n)) {
        memcpy((void *)(lin + e->delta), buf, n);
        return;
    }
    SYNC(d);
    x86_st_slow_n(cpu, lin, n, buf, cpu->mmu);
}
/* A host pointer for a locked or read-modify-write access of n bytes at lin, checked for writing; NULL
 * when it must go the slow way (MMIO, page crossing, watched page: then load, compute, x86_st_slow). */
void *x86_rmw_ptr(X86Cpu *cpu, uint64_t lin, unsigned n);
/* For locked accesses: also for watched pages, then call x86_lock_done() after the access. NULL: MMIO, or it crosses a
 * page or a cache line: then smp_split_begin(), load, store, smp_split_end(), between which no other vCPU runs. */
void *x86_lock_ptr(X86Cpu *cpu, uint64_t lin, unsigned n);
void smp_split_begin(X86Cpu *cpu);
void smp_split_end(X86Cpu *cpu);
void x86_lock_done(X86Cpu *cpu, uint64_t lin, unsigned n);
void x86_ram_stored(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu);

/* Checks that a write of n bytes would succeed, raises if not: for instructions that must not fault half
 * way (PUSHA, ENTER, XSAVE, CALL far). */
void x86_probe_write(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu);
void x86_probe_read(X86Cpu *cpu, uint64_t lin, unsigned n, unsigned mmu);

/* System structures (descriptor tables, TSS, IDT): privilege 0. These accesses are implicit: SMAP keeps them from user
 * pages whatever EFLAGS.AC says (SDM vol. 3 4.6.1). */
static inline unsigned sys_mmu(const X86Cpu *cpu) { return cpu->cr4 & CR4_SMAP ? 2 : 0; }
static inline uint64_t sys_ld(X86Cpu *cpu, uint64_t lin, unsigned n) { return x86_ld_slow(cpu, lin, n, sys_mmu(cpu)); }
static inline void sys_st(X86Cpu *cpu, uint64_t lin, unsigned n, uint64_t v) { x86_st_slow(cpu, lin, n, v, sys_mmu(cpu)); }

#endif

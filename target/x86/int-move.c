/* SPDX-License-Identifier: MIT
 * target/x86/int-move.c - MOV and its relatives, LEA, exchanges, port I/O, flag bits, hints.
 * Models: SDM vol. 2, per instruction; vol. 3 8.1.2.2 (XCHG with memory is always locked).
 * Does not model: caches: CLFLUSH, CLWB check their address only; prefetches do nothing.
 * Threads: the vCPU's thread.
 */
#include "int.h"

#define WR8_(n, v)  (R8(n) = (v))
#define WR16_(n, v) (R16(n) = (v))
#define WR32_(n, v) (R64(n) = (uint32_t)(v))
#define WR64_(n, v) (R64(n) = (v))

#define MOVES(bits)                                                                                         \
    OP(mov_eg_r##bits) { WR##bits##_(d->rm, R##bits(d->reg)); NEXT; }                                       \
    OP(mov_eg_m##bits) { st##bits(cpu, d, ea_lin(cpu, d, bits / 8, true), R##bits(d->reg)); NEXT; }         \
    OP(mov_eg_f##bits) { st##bits(cpu, d, EA_F(), R##bits(d->reg)); NEXT; }                                 \
    OP(mov_ge_r##bits) { WR##bits##_(d->reg, R##bits(d->rm)); NEXT; }                                       \
    OP(mov_ge_m##bits) { WR##bits##_(d->reg, ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false))); NEXT; }    \
    OP(mov_ge_f##bits) { WR##bits##_(d->reg, ld##bits(cpu, d, EA_F())); NEXT; }                             \
    OP(mov_ei_r##bits) { WR##bits##_(d->rm, (uint##bits##_t)d->imm); NEXT; }                                \
    OP(mov_ei_m##bits) { st##bits(cpu, d, ea_lin(cpu, d, bits / 8, true), (uint##bits##_t)d->imm); NEXT; }  \
    OP(mov_ei_f##bits) { st##bits(cpu, d, EA_F(), (uint##bits##_t)d->imm); NEXT; }                          \
    OP(mov_zi##bits) { WR##bits##_(d->reg, (uint##bits##_t)d->imm); NEXT; }                                 \
    OP(mov_ao##bits) { WR##bits##_(0, ld##bits(cpu, d, ea_lin_off(cpu, d, d->imm, bits / 8, false))); NEXT; } \
    OP(mov_oa##bits) { st##bits(cpu, d, ea_lin_off(cpu, d, d->imm, bits / 8, true), R##bits(0)); NEXT; }
MOVES(8) MOVES(16) MOVES(32) MOVES(64)
#define MOVES_SHORT(bits)                                                                                   \
    OP(mov_eg_s##bits) { st##bits(cpu, d, EA_S(), R##bits(d->reg)); NEXT; }                                 \
    OP(mov_ge_s##bits) { WR##bits##_(d->reg, ld##bits(cpu, d, EA_S())); NEXT; }                             \
    OP(mov_ei_s##bits) { st##bits(cpu, d, EA_S(), (uint##bits##_t)d->imm); NEXT; }
MOVES_SHORT(8) MOVES_SHORT(16) MOVES_SHORT(32)

#define EXTEND(name, from, type, bits)                                                                      \
    OP(name##_r##bits) { WR##bits##_(d->reg, (uint##bits##_t)(type)R##from(d->rm)); NEXT; }                 \
    OP(name##_m##bits) { WR##bits##_(d->reg, (uint##bits##_t)(type)ld##from(cpu, d, ea_lin(cpu, d, from / 8, false))); NEXT; } \
    OP(name##_f##bits) { WR##bits##_(d->reg, (uint##bits##_t)(type)ld##from(cpu, d, EA_F())); NEXT; }
#define EXTEND_SHORT(name, from, type, bits)                                                                \
    OP(name##_s##bits) { WR##bits##_(d->reg, (uint##bits##_t)(type)ld##from(cpu, d, EA_S())); NEXT; }
EXTEND(movzxb, 8, uint8_t, 16) EXTEND(movzxb, 8, uint8_t, 32) EXTEND(movzxb, 8, uint8_t, 64)
EXTEND(movzxw, 16, uint16_t, 16) EXTEND(movzxw, 16, uint16_t, 32) EXTEND(movzxw, 16, uint16_t, 64)
EXTEND(movsxb, 8, int8_t, 16) EXTEND(movsxb, 8, int8_t, 32) EXTEND(movsxb, 8, int8_t, 64)
EXTEND(movsxw, 16, int16_t, 16) EXTEND(movsxw, 16, int16_t, 32) EXTEND(movsxw, 16, int16_t, 64)
EXTEND(movsxd, 32, int32_t, 16) EXTEND(movsxd, 32, int32_t, 32) EXTEND(movsxd, 32, int32_t, 64)
EXTEND_SHORT(movzxb, 8, uint8_t, 16) EXTEND_SHORT(movzxb, 8, uint8_t, 32)
EXTEND_SHORT(movzxw, 16, uint16_t, 16) EXTEND_SHORT(movzxw, 16, uint16_t, 32)
EXTEND_SHORT(movsxb, 8, int8_t, 16) EXTEND_SHORT(movsxb, 8, int8_t, 32)
EXTEND_SHORT(movsxw, 16, int16_t, 16) EXTEND_SHORT(movsxw, 16, int16_t, 32)

OP(lea_m16) { R16(d->reg) = (uint16_t)ea_off(cpu, d); NEXT; }
OP(lea_m32) { R64(d->reg) = (uint32_t)ea_off(cpu, d); NEXT; }
OP(lea_m64) { R64(d->reg) = ea_off(cpu, d); NEXT; }
#define LEA_F (cpu->gpr[d->base] + (cpu->gpr[d->index] << d->scale) + (uint64_t)(int64_t)d->disp)
OP(lea_f16) { R16(d->reg) = (uint16_t)LEA_F; NEXT; }
OP(lea_f32) { R64(d->reg) = (uint32_t)LEA_F; NEXT; }
OP(lea_f64) { R64(d->reg) = LEA_F; NEXT; }
OP(lea_s16) { R16(d->reg) = (uint16_t)EA_S(); NEXT; }
OP(lea_s32) { R64(d->reg) = EA_S(); NEXT; }

/* --- exchanges. SWAP: what memory becomes from `was`; then AFTER with `was`. --- */

#define ATOMIC_MEM(bits, NEW, AFTER)                                                                        \
    {                                                                                                       \
        uint64_t lin = ea_lin(cpu, d, bits / 8, true);                                                      \
        uint##bits##_t was, old;                                                                            \
        SYNC(d);                                                                                            \
        void *p = x86_lock_ptr(cpu, lin, bits / 8);                                                         \
        if (G_LIKELY(p)) {                                                                                  \
            was = host_ld##bits(p);                                                            \
            do {                                                                                            \
                old = was;                                                                                  \
                was = host_cas##bits(p, old, (uint##bits##_t)(NEW));                           \
            } while (G_UNLIKELY(was != old));                                                               \
            x86_lock_done(cpu, lin, bits / 8);                                                              \
        } else {                                                                                            \
            smp_split_begin(cpu);                                                                           \
            old = was = (uint##bits##_t)x86_ld_slow(cpu, lin, bits / 8, cpu->mmu);                          \
            x86_st_slow(cpu, lin, bits / 8, (uint##bits##_t)(NEW), cpu->mmu);                               \
            smp_split_end(cpu);                                                                             \
        }                                                                                                   \
        AFTER;                                                                                              \
        NEXT;                                                                                               \
    }
#define XADD_FL(bits) SET_CC(CC_ADD + LOG2_##bits, (uint##bits##_t)(was + add), add)
#define CMPX_FL(bits) SET_CC(CC_SUB + LOG2_##bits, (uint##bits##_t)(acc - was), was)
#define EXCHANGES(bits)                                                                                     \
    OP(xchg_eg_r##bits)                                                                                     \
    {                                                                                                       \
        uint##bits##_t a = R##bits(d->rm), b = R##bits(d->reg);                                             \
        WR##bits##_(d->rm, b);                                                                              \
        WR##bits##_(d->reg, a);                                                                             \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(xchg_eg_m##bits) ATOMIC_MEM(bits, R##bits(d->reg), WR##bits##_(d->reg, was))                         \
    OP(xchg_eg_l##bits) ATOMIC_MEM(bits, R##bits(d->reg), WR##bits##_(d->reg, was))                         \
    OP(xadd_r##bits)                                                                                        \
    {                                                                                                       \
        uint##bits##_t was = R##bits(d->rm), add = R##bits(d->reg);                                         \
        WR##bits##_(d->reg, was);                                                                           \
        WR##bits##_(d->rm, (uint##bits##_t)(was + add));                                                    \
        XADD_FL(bits);                                                                                      \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(xadd_l##bits)                                                                                        \
    {                                                                                                       \
        uint##bits##_t add = R##bits(d->reg);                                                               \
        ATOMIC_MEM(bits, old + add, XADD_FL(bits); WR##bits##_(d->reg, was))                                \
    }                                                                                                       \
    OP(xadd_m##bits)                                                                                        \
    {                                                                                                       \
        uint##bits##_t add = R##bits(d->reg);                                                               \
        ATOMIC_MEM(bits, old + add, XADD_FL(bits); WR##bits##_(d->reg, was))                                \
    }                                                                                                       \
    OP(cmpxchg_r##bits)                                                                                     \
    {                                                                                                       \
        uint##bits##_t was = R##bits(d->rm), acc = R##bits(0);                                              \
        CMPX_FL(bits);                                                                                      \
        if (was == acc) {                                                                                   \
            WR##bits##_(d->rm, R##bits(d->reg));                                                            \
        } else { /* the destination is not written: its upper half stays, as Intel CPUs do */               \
            WR##bits##_(0, was);                                                                            \
        }                                                                                                   \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(cmpxchg_l##bits)                                                                                     \
    {                                                                                                       \
        uint##bits##_t acc = R##bits(0), src = R##bits(d->reg);                                             \
        ATOMIC_MEM(bits, old == acc ? src : old, CMPX_FL(bits); if (was != acc) { WR##bits##_(0, was); })   \
    }                                                                                                       \
    OP(cmpxchg_m##bits)                                                                                     \
    {                                                                                                       \
        uint##bits##_t acc = R##bits(0), src = R##bits(d->reg);                                             \
        ATOMIC_MEM(bits, old == acc ? src : old, CMPX_FL(bits); if (was != acc) { WR##bits##_(0, was); })   \
    }
EXCHANGES(8) EXCHANGES(16) EXCHANGES(32) EXCHANGES(64)

#define XCHG_ZA(bits)                                                                                       \
    OP(xchg_za##bits)                                                                                       \
    {                                                                                                       \
        uint##bits##_t a = R##bits(0), b = R##bits(d->reg);                                                 \
        WR##bits##_(0, b);                                                                                  \
        WR##bits##_(d->reg, a);                                                                             \
        NEXT;                                                                                               \
    }
XCHG_ZA(16) XCHG_ZA(32) XCHG_ZA(64)

static inline void set_zf(X86Cpu *cpu, bool z)
{
    set_flags(cpu, (x86_arith_flags(cpu) & ~FL_ZF) | (z ? FL_ZF : 0));
}

static void cmpxchg8b(X86Cpu *cpu, const X86Insn *d)
{
    uint64_t lin = ea_lin(cpu, d, 8, true), want = (uint32_t)R64(R_RAX) | R64(R_RDX) << 32;
    uint64_t put = (uint32_t)R64(R_RBX) | R64(R_RCX) << 32, was;
    SYNC(d);
    void *p = x86_lock_ptr(cpu, lin, 8);
    if (p) {
        was = host_cas64(p, want, put);
        x86_lock_done(cpu, lin, 8);
    } else {
        smp_split_begin(cpu);
        was = x86_ld_slow(cpu, lin, 8, cpu->mmu);
        x86_st_slow(cpu, lin, 8, was == want ? put : was, cpu->mmu);
        smp_split_end(cpu);
    }
    if (was != want) {
        R64(R_RAX) = (uint32_t)was;
        R64(R_RDX) = was >> 32;
    }
    set_zf(cpu, was == want);
}
OP(cmpxchg8b) { cmpxchg8b(cpu, d); NEXT; }

typedef unsigned __int128 u128;
#if defined(__x86_64__)
__attribute__((target("cx16"), noinline)) static u128 cas16(u128 *p, u128 want, u128 put)
{
    return __sync_val_compare_and_swap(p, want, put);
}
#else
static u128 cas16(u128 *p, u128 want, u128 put)
{
    __atomic_compare_exchange(p, &want, &put, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return want;
}
#endif

static void cmpxchg16b(X86Cpu *cpu, const X86Insn *d)
{
    uint64_t lin = ea_lin(cpu, d, 16, true);
    u128 want = R64(R_RAX) | (u128)R64(R_RDX) << 64, put = R64(R_RBX) | (u128)R64(R_RCX) << 64, was;
    SYNC(d);
    if (lin & 15) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    u128 *p = x86_lock_ptr(cpu, lin, 16);
    if (p) {
        was = cas16(p, want, put);
        x86_lock_done(cpu, lin, 16);
    } else {
        smp_split_begin(cpu);
        x86_ld_slow_n(cpu, lin, 16, &was, cpu->mmu);
        u128 now = was == want ? put : was;
        x86_st_slow_n(cpu, lin, 16, &now, cpu->mmu);
        smp_split_end(cpu);
    }
    if (was != want) {
        R64(R_RAX) = (uint64_t)was;
        R64(R_RDX) = (uint64_t)(was >> 64);
    }
    set_zf(cpu, was == want);
}
OP(cmpxchg16b) { cmpxchg16b(cpu, d); NEXT; }

OP(xlat)
{
    uint64_t off = R64(R_RBX) + R8(0);
    off = (d->flags & I_ASIZE) == 1 ? (uint16_t)off : (d->flags & I_ASIZE) == 2 ? (uint32_t)off : off;
    R8(0) = ld8(cpu, d, ea_lin_off(cpu, d, off, 1, false));
    NEXT;
}

OP(bound)
{
    unsigned os = insn_osize(d);
    uint64_t off = ea_off(cpu, d), lin = ea_lin(cpu, d, 2u << os, false);
    (void)off;
    int32_t v, lo, hi;
    if (os == 1) {
        v = (int16_t)R16(d->reg), lo = (int16_t)ld16(cpu, d, lin), hi = (int16_t)ld16(cpu, d, lin + 2);
    } else {
        v = (int32_t)R32(d->reg), lo = (int32_t)ld32(cpu, d, lin), hi = (int32_t)ld32(cpu, d, lin + 4);
    }
    if (v < lo || v > hi) {
        RAISE(EXC_BR);
    }
    NEXT;
}

/* --- ports --- */

static uint64_t port_in(X86Cpu *cpu, const X86Insn *d, uint16_t port, unsigned n)
{
    SYNC(d);
    x86_check_io(cpu, port, n);
    return x86_io_in(cpu, port, n);
}
static void port_out(X86Cpu *cpu, const X86Insn *d, uint16_t port, unsigned n, uint64_t v)
{
    SYNC(d);
    x86_check_io(cpu, port, n);
    x86_io_out(cpu, port, n, v);
}
#define PORTS(bits)                                                                                         \
    OP(in_i##bits) { WR##bits##_(0, (uint##bits##_t)port_in(cpu, d, (uint8_t)d->imm, bits / 8)); JUMP(insn_next_rip(cpu, d), 0); } \
    OP(in_dx##bits) { WR##bits##_(0, (uint##bits##_t)port_in(cpu, d, R16(R_RDX), bits / 8)); JUMP(insn_next_rip(cpu, d), 0); } \
    OP(out_i##bits) { port_out(cpu, d, (uint8_t)d->imm, bits / 8, R##bits(0)); JUMP(insn_next_rip(cpu, d), 0); } \
    OP(out_dx##bits) { port_out(cpu, d, R16(R_RDX), bits / 8, R##bits(0)); JUMP(insn_next_rip(cpu, d), 0); }
PORTS(8) PORTS(16) PORTS(32)

/* --- flags --- */

OP(cmc) { set_flags(cpu, x86_arith_flags(cpu) ^ FL_CF); NEXT; }
OP(clc) { set_flags(cpu, x86_arith_flags(cpu) & ~FL_CF); NEXT; }
OP(stc) { set_flags(cpu, x86_arith_flags(cpu) | FL_CF); NEXT; }
OP(cld) { cpu->eflags &= ~FL_DF; NEXT; }
OP(std) { cpu->eflags |= FL_DF; NEXT; }
OP(lahf) { R8(1) = (uint8_t)((x86_arith_flags(cpu) & 0xff) | 2); NEXT; }
OP(sahf)
{
    set_flags(cpu, (x86_arith_flags(cpu) & FL_OF) | (R8(1) & (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)));
    NEXT;
}

/* --- hints and fences --- */

OP(nop) { NEXT; }
OP(mfence) { __atomic_thread_fence(__ATOMIC_SEQ_CST); NEXT; }
OP(clflush)
{
    uint64_t lin = ea_lin(cpu, d, 1, false);
    SYNC(d);
    x86_probe_read(cpu, lin, 1, cpu->mmu);
    NEXT;
}

/* A loop of PAUSEs waits for another vCPU, for a device or for time: see x86_spin(). */
OP(pause)
{
    x86_spin(cpu);
    JUMP(insn_next_rip(cpu, d), 0);
}

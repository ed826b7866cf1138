/* SPDX-License-Identifier: MIT
 * target/x86/t1-asm.h - writes x86-64 machine code: prefixes, REX, VEX, ModRM (SDM vol. 2 chapter 2).
 * Operands are host registers 0..15 or memory of the form [base + index << scale + disp], or an address relative to
 * GS, whose base is the vCPU's X86Cpu; when that lies in the lowest 2 GiB, its address takes the place of GS: a byte less, and
 * a cycle less for a load, on AMD's processors at least.
 */
#ifndef TARGET_X86_T1_ASM_H
#define TARGET_X86_T1_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Asm {
    uint8_t *p;
    int32_t low;   /* the X86Cpu; 0: by GS */
    bool r12_used; /* by an instruction as a register, perhaps to write it, since this was cleared */
} Asm;

enum { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI, H_R8, H_NONE = -1 };
enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

typedef struct HOp { /* what ModRM.rm and SIB say */
    int8_t base, index;  /* H_NONE: none. A register operand: base alone */
    uint8_t scale;
    bool mem, gs;
    int32_t disp;
} HOp;

static inline HOp h_reg(int r) { return (HOp){ .base = (int8_t)r, .index = H_NONE }; }
static inline HOp h_mem(int base, int32_t disp) { return (HOp){ .base = (int8_t)base, .index = H_NONE, .mem = true, .disp = disp }; }
static inline HOp h_sib(int base, int index, unsigned scale, int32_t disp)
{
    return (HOp){ .base = (int8_t)base, .index = (int8_t)index, .scale = (uint8_t)scale, .mem = true, .disp = disp };
}
static inline HOp h_gs(size_t off) { return (HOp){ .base = H_NONE, .index = H_NONE, .mem = true, .gs = true, .disp = (int32_t)off }; }
static inline HOp h_gs_idx(int index, size_t off)
{
    return (HOp){ .base = (int8_t)index, .index = H_NONE, .mem = true, .gs = true, .disp = (int32_t)off };
}

static inline void e8(Asm *a, unsigned v) { *a->p++ = (uint8_t)v; }
static inline void e32(Asm *a, uint32_t v) { memcpy(a->p, &v, 4); a->p += 4; }
static inline void e64(Asm *a, uint64_t v) { memcpy(a->p, &v, 8); a->p += 8; }
static inline void e_bytes(Asm *a, const void *b, size_t n) { memcpy(a->p, b, n); a->p += n; }

static inline void e_modrm(Asm *a, unsigned reg, HOp o)
{
    unsigned r = (reg & 7) << 3;
    if (!o.mem) {
        e8(a, 0xc0 | r | (o.base & 7));
        return;
    }
    if (o.base == H_NONE) { /* [disp32] or [index << scale + disp32] */
        e8(a, r | 4);
        e8(a, (unsigned)(o.scale << 6) | (o.index == H_NONE ? 4u : (unsigned)o.index & 7) << 3 | 5);
        e32(a, (uint32_t)o.disp);
        return;
    }
    unsigned b = (unsigned)o.base & 7;
    unsigned mod = o.disp == 0 && b != 5 ? 0 : o.disp >= -128 && o.disp <= 127 ? 0x40 : 0x80;
    if (o.index == H_NONE && b != 4) {
        e8(a, mod | r | b);
    } else {
        e8(a, mod | r | 4);
        e8(a, (unsigned)(o.scale << 6) | (o.index == H_NONE ? 4u : (unsigned)o.index & 7) << 3 | b);
    }
    if (mod == 0x40) {
        e8(a, (uint8_t)o.disp);
    } else if (mod) {
        e32(a, (uint32_t)o.disp);
    }
}

static inline HOp cpu_operand(Asm *a, HOp o)
{
    if (o.gs && a->low) {
        o.disp += a->low;
    } else if (o.gs) {
        e8(a, 0x65);
    }
    return o;
}

enum {
    E_W = 1,      /* REX.W */
    E_REX = 2,    /* a REX prefix even when no bit is set: SPL..DIL */
    E_66 = 4, E_F2 = 8, E_F3 = 16, E_LOCK = 32,
    E_MAP_SHIFT = 8, E_0F = 1 << 8, E_0F38 = 2 << 8, E_0F3A = 3 << 8,
};
static inline unsigned rex_bits(unsigned flags, unsigned reg, HOp o)
{
    unsigned rex = flags & E_W ? 8 : 0;
    rex |= reg >> 1 & 4;
    rex |= o.index != H_NONE ? (unsigned)o.index >> 2 & 2 : 0;
    rex |= o.base != H_NONE ? (unsigned)o.base >> 3 & 1 : 0;
    return rex;
}
/* One instruction without its immediate. */
static inline void e_op(Asm *a, unsigned flags, unsigned opcode, unsigned reg, HOp o)
{
    o = cpu_operand(a, o);
    a->r12_used |= reg == 12 || (!o.mem && o.base == 12);
    if (flags & E_LOCK) {
        e8(a, 0xf0);
    }
    if (flags & E_66) {
        e8(a, 0x66);
    }
    if (flags & (E_F2 | E_F3)) {
        e8(a, flags & E_F2 ? 0xf2 : 0xf3);
    }
    unsigned rex = rex_bits(flags, reg, o), map = flags >> E_MAP_SHIFT & 3;
    if (rex || flags & E_REX) {
        e8(a, 0x40 | rex);
    }
    if (map) {
        e8(a, 0x0f);
        if (map > 1) {
            e8(a, map == 2 ? 0x38 : 0x3a);
        }
    }
    e8(a, opcode);
    e_modrm(a, reg, o);
}
/* VEX form; pp: 0, 1 = 66, 2 = F3, 3 = F2; map 1..3. */
static inline void e_vex(Asm *a, bool w, bool l, unsigned pp, unsigned map, unsigned vvvv, unsigned opcode, unsigned reg, HOp o)
{
    unsigned rex = rex_bits(0, reg, o);
    o = cpu_operand(a, o);
    a->r12_used |= reg == 12 || vvvv == 12 || (!o.mem && o.base == 12);
    e8(a, 0xc4);
    e8(a, ((~rex & 7) << 5) | map);
    e8(a, (w ? 0x80u : 0) | (~vvvv & 15) << 3 | (l ? 4u : 0) | pp);
    e8(a, opcode);
    e_modrm(a, reg, o);
}

/* 64-bit moves */
static inline void e_mov_rr(Asm *a, int to, int from) { e_op(a, E_W, 0x8b, (unsigned)to, h_reg(from)); }
static inline void e_mov_rr32(Asm *a, int to, int from) { e_op(a, 0, 0x8b, (unsigned)to, h_reg(from)); }
static inline void e_load(Asm *a, int to, HOp m) { e_op(a, E_W, 0x8b, (unsigned)to, m); }
static inline void e_load32(Asm *a, int to, HOp m) { e_op(a, 0, 0x8b, (unsigned)to, m); }
static inline void e_store(Asm *a, HOp m, int from) { e_op(a, E_W, 0x89, (unsigned)from, m); }
static inline void e_store32(Asm *a, HOp m, int from) { e_op(a, 0, 0x89, (unsigned)from, m); }
static inline void e_lea(Asm *a, int to, HOp m) { e_op(a, E_W, 0x8d, (unsigned)to, m); }
static inline void e_lea32(Asm *a, int to, HOp m) { e_op(a, 0, 0x8d, (unsigned)to, m); }
static inline void e_mov_ri(Asm *a, int to, uint64_t v) /* keeps the flags */
{
    a->r12_used |= to == 12;
    if (v <= UINT32_MAX) {
        if (to >= 8) {
            e8(a, 0x41);
        }
        e8(a, 0xb8 + ((unsigned)to & 7));
        e32(a, (uint32_t)v);
    } else if ((int64_t)v >= INT32_MIN && (int64_t)v < 0) {
        e_op(a, E_W, 0xc7, 0, h_reg(to));
        e32(a, (uint32_t)v);
    } else {
        e8(a, to >= 8 ? 0x49 : 0x48);
        e8(a, 0xb8 + ((unsigned)to & 7));
        e64(a, v);
    }
}
static inline void e_store_imm32(Asm *a, bool w, HOp m, uint32_t v)
{
    e_op(a, w ? E_W : 0, 0xc7, 0, m);
    e32(a, v);
}
/* 81 /n or 83 /n: n 0 add 1 or 4 and 5 sub 6 xor 7 cmp */
static inline void e_alu_ri(Asm *a, bool w, unsigned n, HOp o, int32_t v)
{
    bool b = v >= -128 && v <= 127;
    e_op(a, w ? E_W : 0, b ? 0x83 : 0x81, n, o);
    if (b) {
        e8(a, (uint8_t)v);
    } else {
        e32(a, (uint32_t)v);
    }
}
static inline void e_shift_ri(Asm *a, bool w, unsigned n, int r, unsigned count) /* n 4 shl 5 shr 7 sar */
{
    e_op(a, w ? E_W : 0, 0xc1, n, h_reg(r));
    e8(a, count);
}
/* Jumps with a 32-bit displacement; the result is where that is, for e_patch(). */
static inline uint8_t *e_jcc(Asm *a, unsigned cc)
{
    e8(a, 0x0f);
    e8(a, 0x80 + cc);
    e32(a, 0);
    return a->p - 4;
}
static inline uint8_t *e_jmp(Asm *a)
{
    e8(a, 0xe9);
    e32(a, 0);
    return a->p - 4;
}
static inline void e_patch(uint8_t *at, const uint8_t *target) /* both writable, or both executable addresses */
{
    int32_t d = (int32_t)(target - (at + 4));
    memcpy(at, &d, 4);
}
static inline void e_jmp_to(Asm *a, const uint8_t *target) { e_patch(e_jmp(a), target); }
static inline void e_call_to(Asm *a, const uint8_t *target)
{
    a->r12_used = true;
    e8(a, 0xe8);
    e32(a, 0);
    e_patch(a->p - 4, target);
}

#endif

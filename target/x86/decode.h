/* SPDX-License-Identifier: MIT
 * target/x86/decode.h - from guest bytes to X86Insn, and the tables that scripts/decodegen makes of insn.def.
 * Shared by T0, the re-emitter, the fuzzers and the debug output. Pure functions: no CPU state, any thread.
 */
#ifndef TARGET_X86_DECODE_H
#define TARGET_X86_DECODE_H

#include "interp.h"

enum { X86_MAPS = 7, X86_MAX_INSN = 15 };

/* Row attributes: see the head of insn.def. */
enum {
    RA_LOCK = 1 << 0, RA_RM = 1 << 1, RA_FAST = 1 << 2, RA_SZ = 1 << 3, RA_D64 = 1 << 4, RA_F64 = 1 << 5,
    RA_I64 = 1 << 6, RA_O64 = 1 << 7, RA_PE = 1 << 8, RA_END = 1 << 9, RA_CPL0 = 1 << 10, RA_X87 = 1 << 11,
    RA_MMX = 1 << 12, RA_SSE = 1 << 13, RA_AVX = 1 << 14, RA_NOSTEP = 1 << 15, RA_MODANY = 1 << 16,
    RA_NOFUZZ = 1 << 17, RA_ALIGN = 1 << 18, RA_VEX = 1 << 19, RA_VVVV = 1 << 20,
    RA_IS4 = 1 << 21, RA_VSIB = 1 << 22, RA_IMPL = 1 << 23,
};
enum { OSZ_V, OSZ_Z, OSZ_Y, OSZ_B, OSZ_W, OSZ_D, OSZ_Q };
enum { IMM_NONE, IMM_IB, IMM_IBS, IMM_IW, IMM_IZ, IMM_IV, IMM_JB, IMM_JZ, IMM_AP, IMM_IWIB, IMM_MOFFS };
enum { RK_NONE, RK_GPR, RK_BYTE, RK_SEG, RK_CR, RK_DR, RK_MMX, RK_XMM };
/* memsize of a row: bytes, or by the operand size */
enum { MS_V = 0xf1, MS_Z, MS_Y, MS_FARPTR, MS_BOUND, MS_DESC,
       MS_L, /* VEX.L: 16 or 32; a half, a quarter, an eighth of that; MOVDDUP: 8 or 32 */
       MS_L2, MS_L4, MS_L8, MS_DUP };

/* Operands in the order of the OPERANDS column: where the number comes from, what is done to it, which register
 * file (of the register form), how large (bytes or MS_*, register or memory). */
enum { OPR_NONE, OPR_REG, OPR_RM, OPR_VVVV, OPR_IS4, OPR_IMM, OPR_FIXED };
enum { OPA_NONE /* not said */, OPA_R, OPA_W, OPA_X /* read and written */ };
typedef struct X86Operand { uint8_t role, access, kind; uint16_t size; } X86Operand;
/* What VEX.L and VEX.W do: fixed at 0 or 1, they select a size, or they are ignored. */
enum { VL_NONE, VL_0, VL_1, VL_SIZE, VL_ANY };
enum { VW_0, VW_1, VW_SIZE, VW_ANY };

typedef struct X86Row {
    const char *name, *operands, *enc;
    uint16_t ops;  /* first of its handlers in x86_ops[]: [form][size] */
    uint32_t attrs;
    uint8_t osz, imm, reg, rm;
    uint16_t memsize; /* bytes or MS_* */
    uint8_t feat;
    const char *exc;
    uint16_t fl_read, fl_written, fl_undef;
    uint8_t map, opcode;
    X86Operand opnd[4]; /* OPR_NONE ends them */
    uint8_t vex_l, vex_w;
    uint8_t vsib; /* bytes of an index element: the memory operand is a vector of addresses, d->index a vector register */
} X86Row;

enum { RC_64 = 1, RC_NOT64 = 2, RC_MEM = 4, RC_W0 = 8, RC_W1 = 16, RC_L0 = 32, RC_L1 = 64, RC_B0 = 128, RC_PE = 256 };
typedef struct X86Rule { /* one way to match an opcode; row 0 ends the chain */
    uint16_t row;
    uint8_t mask, val; /* of ModRM */
    uint8_t feat;
    uint16_t cond;
} X86Rule;

extern const X86Row x86_rows[];
extern const unsigned x86_n_rows;
extern const X86Op x86_ops[];
extern const X86Rule x86_rules[];
extern const uint16_t x86_first_rule[X86_MAPS][256][4];
extern const uint8_t x86_has_modrm[X86_MAPS][256];
extern const char *const x86_feature_names[]; /* by number; [0] is NULL */
extern const unsigned x86_n_features;

typedef struct X86Features { uint64_t bit[2]; } X86Features; /* by feature number; those the CPU model has */
static inline bool x86_feature_on(const X86Features *f, unsigned n) { return n == 0 || (f->bit[n >> 6] >> (n & 63) & 1); }
X86Features x86_all_features(void);

typedef enum X86DecodeResult {
    DEC_OK,
    DEC_UD,    /* no such instruction; *insn raises #UD, len is what was looked at */
    DEC_MORE,  /* the `avail` bytes end inside the instruction */
    DEC_LONG,  /* more than 15 bytes: #GP(0) */
} X86DecodeResult;

/* Decodes one instruction of the given mode (MODE_*) from `avail` bytes. `off` is its distance from the unit's first
 * byte. insn->op is the handler, with the checks that depend on the mode alone in front (CPL, CR0.TS...). */
X86DecodeResult x86_decode(uint32_t mode, const X86Features *feat, const uint8_t *bytes, unsigned avail, unsigned off,
                           X86Insn *insn);
/* Bytes of an operand (row->memsize or X86Operand.size) in this instruction; 0: the handler knows. */
static inline unsigned x86_operand_bytes(unsigned size, const X86Insn *d)
{
    unsigned os = 1u << insn_osize(d);
    switch (size) {
    case MS_V: case MS_Y: return os;
    case MS_Z: return MIN(os, 4u);
    case MS_FARPTR: return os + 2;
    case MS_BOUND: return 2 * os;
    case MS_DESC: return os == 8 ? 10 : 6;
    case MS_L: return insn_vlen(d);
    case MS_L2: return insn_vlen(d) / 2;
    case MS_L4: return insn_vlen(d) / 4;
    case MS_L8: return insn_vlen(d) / 8;
    case MS_DUP: return insn_vlen(d) == 32 ? 32 : 8;
    default: return size;
    }
}
/* True when the instruction finishes its unit. */
static inline bool x86_insn_ends(const X86Insn *d) { return d->row == 0 || (x86_rows[d->row].attrs & RA_END); }

/* Handlers that the decoder puts in (t0.c, fp side for the last three: see trap.c). */
OP(raise_ud);
OP(raise_gp);
OP(trap_x87);
OP(trap_mmx);
OP(trap_sse);
OP(trap_avx);

#endif

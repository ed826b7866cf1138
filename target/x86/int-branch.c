/* SPDX-License-Identifier: MIT
 * target/x86/int-branch.c - near branches, conditional moves and sets, and compares fused with the branch behind them.
 * Models: SDM vol. 2 Jcc, JMP, CALL, RET (near), LOOPcc, JrCXZ, CMOVcc, SETcc; vol. 1 6.4 (operand size of branches,
 * Intel: 66 is ignored in 64-bit mode).
 * Threads: the vCPU's thread.
 */
#include "int.h"

/* Target of a relative branch at operand size osize (log2). */
static inline uint64_t rel_target(const X86Cpu *cpu, const X86Insn *d, unsigned osize)
{
    uint64_t to = insn_next_rip(cpu, d) + d->imm;
    return osize == 3 ? to : osize == 2 ? (uint32_t)to : (uint16_t)to;
}

/* SDM vol. 2: a target beyond the CS limit, or not canonical, faults at the branch. */
static inline void check_target(X86Cpu *cpu, const X86Insn *d, uint64_t to)
{
    bool ok = cpu->mode & MODE_CODE64 ? x86_lin_ok(cpu, to)
              : (cpu->mode & MODE_FLAT) || to <= cpu->seg[SEG_CS].limit;
    if (G_UNLIKELY(!ok)) {
        RAISE_ERR(EXC_GP, 0);
    }
}

#define BRANCH_TO(to, slot)                                                                                 \
    do {                                                                                                    \
        uint64_t target_ = (to);                                                                            \
        check_target(cpu, d, target_);                                                                      \
        JUMP(target_, slot);                                                                                \
    } while (0)

#define JCC(name, cc)                                                                                       \
    OP(name##16)                                                                                            \
    {                                                                                                       \
        if (x86_cond(cpu, cc)) {                                                                            \
            BRANCH_TO(rel_target(cpu, d, 1), 1);                                                            \
        }                                                                                                   \
        JUMP(insn_next_rip(cpu, d), 0);                                                                     \
    }                                                                                                       \
    OP(name##32)                                                                                            \
    {                                                                                                       \
        if (x86_cond(cpu, cc)) {                                                                            \
            BRANCH_TO(rel_target(cpu, d, 2), 1);                                                            \
        }                                                                                                   \
        JUMP(insn_next_rip(cpu, d), 0);                                                                     \
    }                                                                                                       \
    OP(name##64)                                                                                            \
    {                                                                                                       \
        if (x86_cond(cpu, cc)) {                                                                            \
            BRANCH_TO(rel_target(cpu, d, 3), 1);                                                            \
        }                                                                                                   \
        JUMP(insn_next_rip(cpu, d), 0);                                                                     \
    }
#define CMOV_SIZE(name, cc, bits, write)                                                                    \
    OP(name##_r##bits)                                                                                      \
    {                                                                                                       \
        uint##bits##_t v = x86_cond(cpu, cc) ? R##bits(d->rm) : R##bits(d->reg);                            \
        write;                                                                                              \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(name##_m##bits)                                                                                      \
    {                                                                                                       \
        uint##bits##_t v = ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false));                               \
        v = x86_cond(cpu, cc) ? v : R##bits(d->reg);                                                        \
        write;                                                                                              \
        NEXT;                                                                                               \
    }
#define CMOV(name, cc)                                                                                      \
    CMOV_SIZE(name, cc, 16, R16(d->reg) = v)                                                                \
    CMOV_SIZE(name, cc, 32, R64(d->reg) = v)                                                                \
    CMOV_SIZE(name, cc, 64, R64(d->reg) = v)
#define SETCC(name, cc)                                                                                     \
    OP(name##_r) { R8(d->rm) = x86_cond(cpu, cc); NEXT; }                                                   \
    OP(name##_m) { st8(cpu, d, ea_lin(cpu, d, 1, true), x86_cond(cpu, cc)); NEXT; }
#define CC_OPS(suffix, cc) JCC(j##suffix, cc) CMOV(cmov##suffix, cc) SETCC(set##suffix, cc)
CC_OPS(o, 0) CC_OPS(no, 1) CC_OPS(b, 2) CC_OPS(nb, 3) CC_OPS(z, 4) CC_OPS(nz, 5) CC_OPS(be, 6) CC_OPS(nbe, 7)
CC_OPS(s, 8) CC_OPS(ns, 9) CC_OPS(p, 10) CC_OPS(np, 11) CC_OPS(l, 12) CC_OPS(nl, 13) CC_OPS(le, 14) CC_OPS(nle, 15)

/* --- compare and branch in one, J: the log2 operand size of the branch, 3 in 64-bit mode, 2 in 32-bit code. The Jcc is
 * d + 1; the flags are set as well, for later readers --- */

#define FUSED_END(J, cond)                                                                                  \
    d++;                                                                                                    \
    if (cond) {                                                                                             \
        BRANCH_TO(rel_target(cpu, d, J), 1);                                                                \
    }                                                                                                       \
    JUMP(insn_next_rip(cpu, d), 0);
#define FUSED_CMP(J, cc, form, bits, A, B, COND)                                                            \
    static const X86Insn *fused##J##_cmp_##form##bits##_##cc(X86Cpu *cpu, const X86Insn *d)                 \
    {                                                                                                       \
        uint##bits##_t a = (A), b = (uint##bits##_t)(B);                                                    \
        int##bits##_t sa G_GNUC_UNUSED = (int##bits##_t)a, sb G_GNUC_UNUSED = (int##bits##_t)b;             \
        SET_CC(CC_SUB + LOG2_##bits, (uint##bits##_t)(a - b), b);                                           \
        FUSED_END(J, COND)                                                                                  \
    }
#define FUSED_TEST(J, cc, form, bits, A, B, COND)                                                           \
    static const X86Insn *fused##J##_test_##form##bits##_##cc(X86Cpu *cpu, const X86Insn *d)                \
    {                                                                                                       \
        uint##bits##_t r = (uint##bits##_t)((A) & (B));                                                     \
        cpu->cc_dst = r;                                                                                    \
        cpu->cc_op = CC_LOGIC + LOG2_##bits;                                                                \
        FUSED_END(J, COND)                                                                                  \
    }
#define CMP_FORMS(cc, COND)                                                                                 \
    FUSED_CMP(3, cc, eg_r, 32, R32(d->rm), R32(d->reg), COND)                                               \
    FUSED_CMP(3, cc, eg_r, 64, R64(d->rm), R64(d->reg), COND)                                               \
    FUSED_CMP(3, cc, ei_r, 8, R8(d->rm), d->imm, COND)                                                      \
    FUSED_CMP(3, cc, ei_r, 32, R32(d->rm), d->imm, COND)                                                    \
    FUSED_CMP(3, cc, ei_r, 64, R64(d->rm), d->imm, COND)                                                    \
    FUSED_CMP(3, cc, ei_f, 8, ld8(cpu, d, EA_F()), d->imm, COND)                                            \
    FUSED_CMP(3, cc, ei_f, 32, ld32(cpu, d, EA_F()), d->imm, COND)                                          \
    FUSED_CMP(3, cc, ei_f, 64, ld64(cpu, d, EA_F()), d->imm, COND)                                          \
    FUSED_CMP(3, cc, eg_f, 64, ld64(cpu, d, EA_F()), R64(d->reg), COND)                                     \
    FUSED_CMP(3, cc, ge_f, 64, R64(d->reg), ld64(cpu, d, EA_F()), COND)                                     \
    FUSED_CMP(2, cc, eg_r, 32, R32(d->rm), R32(d->reg), COND)                                               \
    FUSED_CMP(2, cc, ei_r, 8, R8(d->rm), d->imm, COND)                                                      \
    FUSED_CMP(2, cc, ei_r, 32, R32(d->rm), d->imm, COND)                                                    \
    FUSED_CMP(2, cc, ei_s, 8, ld8(cpu, d, EA_S()), d->imm, COND)                                            \
    FUSED_CMP(2, cc, ei_s, 32, ld32(cpu, d, EA_S()), d->imm, COND)                                          \
    FUSED_CMP(2, cc, eg_s, 32, ld32(cpu, d, EA_S()), R32(d->reg), COND)                                     \
    FUSED_CMP(2, cc, ge_s, 32, R32(d->reg), ld32(cpu, d, EA_S()), COND)
#define TEST_FORMS(cc, C8, C32, C64)                                                                        \
    FUSED_TEST(3, cc, eg_r, 8, R8(d->rm), R8(d->reg), C8)                                                   \
    FUSED_TEST(3, cc, eg_r, 32, R32(d->rm), R32(d->reg), C32)                                               \
    FUSED_TEST(3, cc, eg_r, 64, R64(d->rm), R64(d->reg), C64)                                               \
    FUSED_TEST(3, cc, ei_r, 8, R8(d->rm), d->imm, C8)                                                       \
    FUSED_TEST(3, cc, ei_f, 8, ld8(cpu, d, EA_F()), d->imm, C8)                                             \
    FUSED_TEST(2, cc, eg_r, 8, R8(d->rm), R8(d->reg), C8)                                                   \
    FUSED_TEST(2, cc, eg_r, 32, R32(d->rm), R32(d->reg), C32)                                               \
    FUSED_TEST(2, cc, ei_r, 8, R8(d->rm), d->imm, C8)                                                       \
    FUSED_TEST(2, cc, ei_s, 8, ld8(cpu, d, EA_S()), d->imm, C8)
CMP_FORMS(b, a < b) CMP_FORMS(nb, a >= b) CMP_FORMS(z, a == b) CMP_FORMS(nz, a != b)
CMP_FORMS(be, a <= b) CMP_FORMS(nbe, a > b) CMP_FORMS(l, sa < sb) CMP_FORMS(nl, sa >= sb)
CMP_FORMS(le, sa <= sb) CMP_FORMS(nle, sa > sb)
TEST_FORMS(z, r == 0, r == 0, r == 0)
TEST_FORMS(nz, r != 0, r != 0, r != 0)
TEST_FORMS(s, (int8_t)r < 0, (int32_t)r < 0, (int64_t)r < 0)
TEST_FORMS(ns, (int8_t)r >= 0, (int32_t)r >= 0, (int64_t)r >= 0)
TEST_FORMS(le, (int8_t)r <= 0, (int32_t)r <= 0, (int64_t)r <= 0)
TEST_FORMS(nle, (int8_t)r > 0, (int32_t)r > 0, (int64_t)r > 0)

typedef struct Fused { X86Op plain; X86Op by_cc[16]; } Fused;
#define CMP_ROW(J, form)                                                                                    \
    { op_cmp_##form, { [2] = fused##J##_cmp_##form##_b, fused##J##_cmp_##form##_nb, fused##J##_cmp_##form##_z, \
                       fused##J##_cmp_##form##_nz, fused##J##_cmp_##form##_be, fused##J##_cmp_##form##_nbe, \
                       [12] = fused##J##_cmp_##form##_l, fused##J##_cmp_##form##_nl, fused##J##_cmp_##form##_le, \
                       fused##J##_cmp_##form##_nle } }
#define TEST_ROW(J, form)                                                                                   \
    { op_test_##form, { [4] = fused##J##_test_##form##_z, fused##J##_test_##form##_nz,                      \
                        [8] = fused##J##_test_##form##_s, fused##J##_test_##form##_ns,                      \
                        [14] = fused##J##_test_##form##_le, fused##J##_test_##form##_nle } }
#define PROTO(n) const X86Insn *op_##n(X86Cpu *cpu, const X86Insn *d);
PROTO(cmp_eg_r32) PROTO(cmp_eg_r64) PROTO(cmp_ei_r8) PROTO(cmp_ei_r32) PROTO(cmp_ei_r64) PROTO(cmp_ei_f8) PROTO(cmp_ei_f32)
PROTO(cmp_ei_f64) PROTO(cmp_eg_f64) PROTO(cmp_ge_f64) PROTO(test_eg_r8) PROTO(test_eg_r32) PROTO(test_eg_r64)
PROTO(test_ei_r8) PROTO(test_ei_f8) PROTO(cmp_ei_s8) PROTO(cmp_ei_s32) PROTO(cmp_eg_s32) PROTO(cmp_ge_s32) PROTO(test_ei_s8)
static const Fused fused64[] = {
    CMP_ROW(3, eg_r32), CMP_ROW(3, eg_r64), CMP_ROW(3, ei_r8), CMP_ROW(3, ei_r32), CMP_ROW(3, ei_r64), CMP_ROW(3, ei_f8),
    CMP_ROW(3, ei_f32), CMP_ROW(3, ei_f64), CMP_ROW(3, eg_f64), CMP_ROW(3, ge_f64), TEST_ROW(3, eg_r8),
    TEST_ROW(3, eg_r32), TEST_ROW(3, eg_r64), TEST_ROW(3, ei_r8), TEST_ROW(3, ei_f8),
};
static const Fused fused32[] = {
    CMP_ROW(2, eg_r32), CMP_ROW(2, ei_r8), CMP_ROW(2, ei_r32), CMP_ROW(2, ei_s8), CMP_ROW(2, ei_s32), CMP_ROW(2, eg_s32),
    CMP_ROW(2, ge_s32), TEST_ROW(2, eg_r8), TEST_ROW(2, eg_r32), TEST_ROW(2, ei_r8), TEST_ROW(2, ei_s8),
};

X86Op t0_fuse(const X86Insn *a, const X86Insn *jcc)
{
    const X86Row *j = &x86_rows[jcc->row];
    bool is_jcc = (j->map == 0 && (j->opcode & 0xf0) == 0x70) || (j->map == 1 && (j->opcode & 0xf0) == 0x80);
    if (!is_jcc || insn_osize(jcc) < 2 || jcc->row == 0) {
        return NULL;
    }
    const Fused *f = insn_osize(jcc) == 3 ? fused64 : fused32;
    unsigned n = insn_osize(jcc) == 3 ? G_N_ELEMENTS(fused64) : G_N_ELEMENTS(fused32);
    for (unsigned i = 0; i < n; i++) {
        if (f[i].plain == a->op) {
            return f[i].by_cc[j->opcode & 15];
        }
    }
    return NULL;
}

/* --- unconditional --- */

OP(jmp_j16) { BRANCH_TO(rel_target(cpu, d, 1), 1); }
OP(jmp_j32) { BRANCH_TO(rel_target(cpu, d, 2), 1); }
OP(jmp_j64) { BRANCH_TO(rel_target(cpu, d, 3), 1); }

/* The target is known and checked: through the jump cache, or out to the run loop. */
#define JUMP_INDIRECT(to)                                                                                   \
    do {                                                                                                    \
        X86Unit *found_ = JC_FIND(to);                                                                      \
        if (G_LIKELY(found_)) {                                                                             \
            JUMP_UNIT(found_, to);                                                                          \
        }                                                                                                   \
        cpu->rip = (to);                                                                                    \
        END_UNIT;                                                                                           \
    } while (0)

#define CALL_TO(to, osize, FINISH)                                                                          \
    do {                                                                                                    \
        uint64_t where_ = (to);                                                                             \
        check_target(cpu, d, where_);                                                                       \
        stack_push(cpu, d, insn_next_rip(cpu, d), osize);                                                   \
        FINISH(where_);                                                                                     \
    } while (0)
#define JUMP_1(to) JUMP(to, 1)
OP(call_j16) { CALL_TO(rel_target(cpu, d, 1), 1, JUMP_1); }
OP(call_j32) { CALL_TO(rel_target(cpu, d, 2), 2, JUMP_1); }
OP(call_j64)
{
    uint64_t to = rel_target(cpu, d, 3), sp = cpu->gpr[R_RSP] - 8;
    check_target(cpu, d, to);
    st64(cpu, d, sp, insn_next_rip(cpu, d));
    cpu->gpr[R_RSP] = sp;
    JUMP(to, 1);
}

OP(call_e_r16) { CALL_TO(R16(d->rm), 1, JUMP_INDIRECT); }
OP(call_e_r32) { CALL_TO(R32(d->rm), 2, JUMP_INDIRECT); }
OP(call_e_r64) { CALL_TO(R64(d->rm), 3, JUMP_INDIRECT); }
OP(call_e_m16) { CALL_TO(ld16(cpu, d, ea_lin(cpu, d, 2, false)), 1, JUMP_INDIRECT); }
OP(call_e_m32) { CALL_TO(ld32(cpu, d, ea_lin(cpu, d, 4, false)), 2, JUMP_INDIRECT); }
OP(call_e_m64) { CALL_TO(ld64(cpu, d, ea_lin(cpu, d, 8, false)), 3, JUMP_INDIRECT); }
#define JMP_TO(to)                                                                                          \
    do {                                                                                                    \
        uint64_t where_ = (to);                                                                             \
        check_target(cpu, d, where_);                                                                       \
        JUMP_INDIRECT(where_);                                                                              \
    } while (0)
OP(jmp_e_r16) { JMP_TO(R16(d->rm)); }
OP(jmp_e_r32) { JMP_TO(R32(d->rm)); }
OP(jmp_e_r64) { JMP_TO(R64(d->rm)); }
OP(jmp_e_m16) { JMP_TO(ld16(cpu, d, ea_lin(cpu, d, 2, false))); }
OP(jmp_e_m32) { JMP_TO(ld32(cpu, d, ea_lin(cpu, d, 4, false))); }
OP(jmp_e_m64) { JMP_TO(ld64(cpu, d, ea_lin(cpu, d, 8, false))); }

#define RET_OF(osize, extra)                                                                                \
    {                                                                                                       \
        uint64_t to = stack_ld(cpu, d, cpu->gpr[R_RSP], osize);                                             \
        check_target(cpu, d, to);                                                                           \
        sp_set(cpu, cpu->gpr[R_RSP] + (1u << (osize)) + (extra));                                           \
        JUMP_INDIRECT(to);                                                                                  \
    }
OP(ret16) RET_OF(1, 0)
OP(ret32) RET_OF(2, 0)
OP(ret64)
{
    uint64_t to = ld64(cpu, d, cpu->gpr[R_RSP]);
    check_target(cpu, d, to);
    cpu->gpr[R_RSP] += 8;
    JUMP_INDIRECT(to);
}
OP(ret_i16) RET_OF(1, d->imm)
OP(ret_i32) RET_OF(2, d->imm)
OP(ret_i64) RET_OF(3, d->imm)

/* --- counted: the counter has the address size --- */

static inline uint64_t counter(const X86Cpu *cpu, const X86Insn *d)
{
    unsigned as = d->flags & I_ASIZE;
    return as == 3 ? cpu->gpr[R_RCX] : as == 2 ? (uint32_t)cpu->gpr[R_RCX] : (uint16_t)cpu->gpr[R_RCX];
}
static inline void counter_set(X86Cpu *cpu, const X86Insn *d, uint64_t v)
{
    if ((d->flags & I_ASIZE) == 1) {
        R16(R_RCX) = (uint16_t)v;
    } else {
        cpu->gpr[R_RCX] = (d->flags & I_ASIZE) == 2 ? (uint32_t)v : v;
    }
}
#define LOOP_IF(cond)                                                                                       \
    {                                                                                                       \
        uint64_t n = counter(cpu, d) - 1, to = rel_target(cpu, d, insn_osize(d));                           \
        n = (d->flags & I_ASIZE) == 1 ? (uint16_t)n : (d->flags & I_ASIZE) == 2 ? (uint32_t)n : n;          \
        if (n && (cond)) {                                                                                  \
            check_target(cpu, d, to);                                                                       \
            counter_set(cpu, d, n);                                                                         \
            JUMP(to, 1);                                                                                    \
        }                                                                                                   \
        counter_set(cpu, d, n);                                                                             \
        JUMP(insn_next_rip(cpu, d), 0);                                                                     \
    }
OP(loop) LOOP_IF(true)
OP(loope) LOOP_IF(x86_cond(cpu, 4))
OP(loopne) LOOP_IF(x86_cond(cpu, 5))
OP(jrcxz)
{
    if (counter(cpu, d) == 0) {
        BRANCH_TO(rel_target(cpu, d, insn_osize(d)), 1);
    }
    JUMP(insn_next_rip(cpu, d), 0);
}

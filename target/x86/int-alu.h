/* SPDX-License-Identifier: MIT
 * target/x86/int-alu.h - arithmetic handlers for one operand size; int-alu.c includes it four times with BITS set.
 * Models: SDM vol. 2: ADD ADC SUB SBB CMP AND OR XOR TEST INC DEC NEG NOT.
 */
#define SZ    (BITS == 8 ? 0 : BITS == 16 ? 1 : BITS == 32 ? 2 : 3)
#define BYTES (BITS / 8)
#define T     CAT(CAT(uint, BITS), _t)
#define REG   CAT(R, BITS)
#if BITS == 32
#define WREG(n, v) (R64(n) = (uint32_t)(v))
#else
#define WREG(n, v) (REG(n) = (T)(v))
#endif
#define LDT CAT(ld, BITS)
#define STT CAT(st, BITS)
#define OPN(x)     OPN2(x, BITS)
#define OPN2(x, b) OPN3(x, b)
#define OPN3(x, b) OP(x##b)
#if BITS == 64
#define SHORT(...) /* no 64-bit operands in 32-bit code */
#else
#define SHORT(...) __VA_ARGS__
#endif

/* Bodies. CALC sets r from a, b and c; FL sets the flags from a, b, r, c. */
#define LOCALS T a G_GNUC_UNUSED, b G_GNUC_UNUSED, r G_GNUC_UNUSED; uint32_t c G_GNUC_UNUSED = 0
#define DO_REG(PRE, CALC, FL) { PRE; a = REG(d->rm); CALC; WREG(d->rm, r); FL; NEXT; }
#define DO_MEM(EA, PRE, CALC, FL)                                                                           \
    {                                                                                                       \
        uint64_t lin = (EA);                                                                                \
        void *p = rmw_ptr(cpu, d, lin, BYTES);                                                                 \
        PRE;                                                                                                \
        if (G_LIKELY(p)) {                                                                                  \
            a = CAT(host_ld, BITS)(p);                                                                                         \
            CALC;                                                                                           \
            CAT(host_st, BITS)(p, r);                                                                                         \
        } else {                                                                                            \
            a = (T)x86_ld_slow(cpu, lin, BYTES, cpu->mmu);                                                  \
            CALC;                                                                                           \
            x86_st_slow(cpu, lin, BYTES, r, cpu->mmu);                                                      \
        }                                                                                                   \
        FL;                                                                                                 \
        NEXT;                                                                                               \
    }
#define DO_LOCK(PRE, CALC, FL)                                                                              \
    {                                                                                                       \
        uint64_t lin = ea_lin(cpu, d, BYTES, true);                                                         \
        SYNC(d);                                                                                            \
        void *p = x86_lock_ptr(cpu, lin, BYTES);                                                               \
        PRE;                                                                                                \
        if (G_LIKELY(p)) {                                                                                  \
            T was = CAT(host_ld, BITS)(p);                                                                       \
            do {                                                                                            \
                a = was;                                                                                    \
                CALC;                                                                                       \
                was = CAT(host_cas, BITS)(p, a, r);                                                 \
            } while (G_UNLIKELY(was != a));                                                                 \
            x86_lock_done(cpu, lin, BYTES);                                                                 \
        } else {                                                                                            \
            smp_split_begin(cpu);                                                                           \
            a = (T)x86_ld_slow(cpu, lin, BYTES, cpu->mmu);                                                  \
            CALC;                                                                                           \
            x86_st_slow(cpu, lin, BYTES, r, cpu->mmu);                                                      \
            smp_split_end(cpu);                                                                             \
        }                                                                                                   \
        FL;                                                                                                 \
        NEXT;                                                                                               \
    }

#define ALU(n, PRE, CALC, FL)                                                                               \
    OPN(n##_eg_r) { LOCALS; b = REG(d->reg); DO_REG(PRE, CALC, FL) }                                        \
    OPN(n##_eg_m) { LOCALS; b = REG(d->reg); DO_MEM(ea_lin(cpu, d, BYTES, true), PRE, CALC, FL) }           \
    OPN(n##_eg_f) { LOCALS; b = REG(d->reg); DO_MEM(EA_F(), PRE, CALC, FL) }                                \
    SHORT(OPN(n##_eg_s) { LOCALS; b = REG(d->reg); DO_MEM(EA_S(), PRE, CALC, FL) })                         \
    OPN(n##_eg_l) { LOCALS; b = REG(d->reg); DO_LOCK(PRE, CALC, FL) }                                       \
    OPN(n##_ei_r) { LOCALS; b = (T)d->imm; DO_REG(PRE, CALC, FL) }                                          \
    OPN(n##_ei_m) { LOCALS; b = (T)d->imm; DO_MEM(ea_lin(cpu, d, BYTES, true), PRE, CALC, FL) }             \
    OPN(n##_ei_f) { LOCALS; b = (T)d->imm; DO_MEM(EA_F(), PRE, CALC, FL) }                                  \
    SHORT(OPN(n##_ei_s) { LOCALS; b = (T)d->imm; DO_MEM(EA_S(), PRE, CALC, FL) })                           \
    OPN(n##_ei_l) { LOCALS; b = (T)d->imm; DO_LOCK(PRE, CALC, FL) }                                         \
    OPN(n##_ge_r) { LOCALS; a = REG(d->reg); b = REG(d->rm); PRE; CALC; WREG(d->reg, r); FL; NEXT; }        \
    OPN(n##_ge_m) { LOCALS; b = LDT(cpu, d, ea_lin(cpu, d, BYTES, false)); a = REG(d->reg); PRE; CALC; WREG(d->reg, r); FL; NEXT; } \
    OPN(n##_ge_f) { LOCALS; b = LDT(cpu, d, EA_F()); a = REG(d->reg); PRE; CALC; WREG(d->reg, r); FL; NEXT; } \
    SHORT(OPN(n##_ge_s) { LOCALS; b = LDT(cpu, d, EA_S()); a = REG(d->reg); PRE; CALC; WREG(d->reg, r); FL; NEXT; })

#define FL_LOGIC (cpu->cc_dst = r, cpu->cc_op = CC_LOGIC + SZ)
#define CARRY_IN c = x86_carry(cpu)
ALU(add, , r = (T)(a + b), SET_CC(CC_ADD + SZ, r, b))
ALU(sub, , r = (T)(a - b), SET_CC(CC_SUB + SZ, r, b))
ALU(adc, CARRY_IN, r = (T)(a + b + c), (cpu->cc_src2 = c, SET_CC(CC_ADC + SZ, r, b)))
ALU(sbb, CARRY_IN, r = (T)(a - b - c), (cpu->cc_src2 = c, SET_CC(CC_SBB + SZ, r, b)))
ALU(and, , r = (T)(a & b), FL_LOGIC)
ALU(or, , r = (T)(a | b), FL_LOGIC)
ALU(xor, , r = (T)(a ^ b), FL_LOGIC)

/* CMP and TEST write nothing but flags. */
#define CMPLIKE(n, A, B, CALC, FL) { LOCALS; a = (A); b = (B); CALC; FL; NEXT; }
#define LDM LDT(cpu, d, ea_lin(cpu, d, BYTES, false))
#define LDF LDT(cpu, d, EA_F())
#define LDS LDT(cpu, d, EA_S())
#define CMP_CALC r = (T)(a - b)
#define CMP_FL   SET_CC(CC_SUB + SZ, r, b)
OPN(cmp_eg_r) CMPLIKE(cmp, REG(d->rm), REG(d->reg), CMP_CALC, CMP_FL)
OPN(cmp_eg_m) CMPLIKE(cmp, LDM, REG(d->reg), CMP_CALC, CMP_FL)
OPN(cmp_eg_f) CMPLIKE(cmp, LDF, REG(d->reg), CMP_CALC, CMP_FL)
SHORT(OPN(cmp_eg_s) CMPLIKE(cmp, LDS, REG(d->reg), CMP_CALC, CMP_FL))
OPN(cmp_ge_r) CMPLIKE(cmp, REG(d->reg), REG(d->rm), CMP_CALC, CMP_FL)
OPN(cmp_ge_m) CMPLIKE(cmp, REG(d->reg), LDM, CMP_CALC, CMP_FL)
OPN(cmp_ge_f) CMPLIKE(cmp, REG(d->reg), LDF, CMP_CALC, CMP_FL)
SHORT(OPN(cmp_ge_s) CMPLIKE(cmp, REG(d->reg), LDS, CMP_CALC, CMP_FL))
OPN(cmp_ei_r) CMPLIKE(cmp, REG(d->rm), (T)d->imm, CMP_CALC, CMP_FL)
OPN(cmp_ei_m) CMPLIKE(cmp, LDM, (T)d->imm, CMP_CALC, CMP_FL)
OPN(cmp_ei_f) CMPLIKE(cmp, LDF, (T)d->imm, CMP_CALC, CMP_FL)
SHORT(OPN(cmp_ei_s) CMPLIKE(cmp, LDS, (T)d->imm, CMP_CALC, CMP_FL))
OPN(test_eg_r) CMPLIKE(test, REG(d->rm), REG(d->reg), r = a & b, FL_LOGIC)
OPN(test_eg_m) CMPLIKE(test, LDM, REG(d->reg), r = a & b, FL_LOGIC)
OPN(test_eg_f) CMPLIKE(test, LDF, REG(d->reg), r = a & b, FL_LOGIC)
SHORT(OPN(test_eg_s) CMPLIKE(test, LDS, REG(d->reg), r = a & b, FL_LOGIC))
OPN(test_ei_r) CMPLIKE(test, REG(d->rm), (T)d->imm, r = a & b, FL_LOGIC)
OPN(test_ei_m) CMPLIKE(test, LDM, (T)d->imm, r = a & b, FL_LOGIC)
OPN(test_ei_f) CMPLIKE(test, LDF, (T)d->imm, r = a & b, FL_LOGIC)
SHORT(OPN(test_ei_s) CMPLIKE(test, LDS, (T)d->imm, r = a & b, FL_LOGIC))

#define UNARY(n, PRE, CALC, FL)                                                                             \
    OPN(n##_e_r) { LOCALS; DO_REG(PRE, CALC, FL) }                                                          \
    OPN(n##_e_m) { LOCALS; DO_MEM(ea_lin(cpu, d, BYTES, true), PRE, CALC, FL) }                             \
    OPN(n##_e_f) { LOCALS; DO_MEM(EA_F(), PRE, CALC, FL) }                                                  \
    SHORT(OPN(n##_e_s) { LOCALS; DO_MEM(EA_S(), PRE, CALC, FL) })                                           \
    OPN(n##_e_l) { LOCALS; DO_LOCK(PRE, CALC, FL) }
UNARY(inc, CARRY_IN, r = (T)(a + 1), SET_CC(CC_INC + SZ, r, c))
UNARY(dec, CARRY_IN, r = (T)(a - 1), SET_CC(CC_DEC + SZ, r, c))
UNARY(neg, , r = (T)(0 - a), SET_CC(CC_SUB + SZ, r, a))
UNARY(not, , r = (T)~a, (void)0)
#if BITS == 16 || BITS == 32
OPN(inc_z) { LOCALS; a = REG(d->reg); CARRY_IN; r = (T)(a + 1); WREG(d->reg, r); SET_CC(CC_INC + SZ, r, c); NEXT; }
OPN(dec_z) { LOCALS; a = REG(d->reg); CARRY_IN; r = (T)(a - 1); WREG(d->reg, r); SET_CC(CC_DEC + SZ, r, c); NEXT; }
#endif

#undef SZ
#undef BYTES
#undef T
#undef REG
#undef WREG
#undef LDT
#undef STT
#undef OPN
#undef OPN2
#undef OPN3
#undef SHORT
#undef LOCALS
#undef DO_REG
#undef DO_MEM
#undef DO_LOCK
#undef ALU
#undef FL_LOGIC
#undef CARRY_IN
#undef CMPLIKE
#undef LDM
#undef LDF
#undef LDS
#undef CMP_CALC
#undef CMP_FL
#undef UNARY
#undef BITS

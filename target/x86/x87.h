/* SPDX-License-Identifier: MIT
 * target/x86/x87.h - the x87 register stack and exception rules, for x87.c, x87env.c, mmx.c and xsave.c.
 * Models: Intel SDM volume 1, 8.1 to 8.6.
 * Does not model: arithmetic (hostfp.h).
 * Threads: the vCPU's.
 */
#ifndef TARGET_X86_X87_H
#define TARGET_X86_X87_H

#include "hostfp.h"
#include "interp.h"

/* x87 rows decode with imm = FOP (bits 0..10: opcode bits 2..0, then ModRM) and bits 16..18 = the
 * architectural segment of the memory operand. */
#define X87_FOP(d) ((uint16_t)((d)->imm & 0x7ff))
#define X87_SEG(d) ((unsigned)((d)->imm >> 16) & 7)

static inline X86F80 *x87_st(X86Cpu *cpu, unsigned i) { return &cpu->fpu.r[(cpu->fpu.top + i) & 7]; }
static inline bool x87_is_empty(const X86Cpu *cpu, unsigned i)
{
    return cpu->fpu.tags >> ((cpu->fpu.top + i) & 7) & 1;
}
static inline void x87_set_full(X86Cpu *cpu, unsigned i)
{
    cpu->fpu.tags &= (uint8_t)~(1u << ((cpu->fpu.top + i) & 7));
}
static inline void x87_set_empty(X86Cpu *cpu, unsigned i)
{
    cpu->fpu.tags |= (uint8_t)(1u << ((cpu->fpu.top + i) & 7));
}
static inline void x87_pop(X86Cpu *cpu)
{
    x87_set_empty(cpu, 0);
    cpu->fpu.top = (cpu->fpu.top + 1) & 7;
}
/* Makes room for a value the caller stores to ST(0). */
static inline void x87_push(X86Cpu *cpu)
{
    cpu->fpu.top = (cpu->fpu.top - 1) & 7;
    x87_set_full(cpu, 0);
}
static inline uint32_t x87_env(const X86Cpu *cpu) { return HOSTFP_ENV(cpu->fpu.cw, cpu->fpu.sw); }

/* Status word as the guest sees it. */
static inline uint16_t x87_status(const X86Cpu *cpu) { return (uint16_t)(cpu->fpu.sw | cpu->fpu.top << 11); }
uint16_t x87_full_tags(const X86Cpu *cpu);
/* From memory: the control word's fixed bits, TOP split off, ES and B recomputed, FERR# updated. */
void x87_load_control(X86Cpu *cpu, uint16_t cw);
void x87_load_status(X86Cpu *cpu, uint16_t sw);
void x87_load_full_tags(X86Cpu *cpu, uint16_t tags);
void x87_reset(X86Cpu *cpu); /* FNINIT */

/* #NM for CR0.EM and TS comes from the decoder (trap.c). In front of a waiting instruction a pending error
 * counts: #MF, or FERR#; false: leave the unit in front of the instruction and let the interrupt in. */
bool x87_enter_slow(X86Cpu *cpu, const X86Insn *d);
#define X87_ENTER                                                                                           \
    do {                                                                                                    \
        if (G_UNLIKELY(cpu->fpu.sw & X87_ES) && !x87_enter_slow(cpu, d)) {                                  \
            cpu->rip = insn_rip(cpu, d);                                                                    \
            END_UNIT;                                                                                       \
        }                                                                                                   \
    } while (0)

/* The pointers FNSTENV and FXSAVE show. */
static inline void x87_note(X86Cpu *cpu, const X86Insn *d)
{
    cpu->fpu.fop = X87_FOP(d);
    cpu->fpu.fip = insn_rip(cpu, d);
    cpu->fpu.fcs = cpu->seg[SEG_CS].sel;
}
static inline void x87_note_mem(X86Cpu *cpu, const X86Insn *d, uint64_t off)
{
    x87_note(cpu, d);
    cpu->fpu.fdp = off;
    cpu->fpu.fds = X87_SEG(d) < SEG_COUNT ? cpu->seg[X87_SEG(d)].sel : 0;
}

/* ES and B (and FERR#) after new flags. */
void x87_signal(X86Cpu *cpu);
/* Takes flags and the condition bits in cc over from a host status word; what of the flags is unmasked. */
static inline unsigned x87_merge(X86Cpu *cpu, uint16_t sw, unsigned cc)
{
    X86Fpu *f = &cpu->fpu;
    f->sw = (uint16_t)((f->sw & ~cc) | (sw & (cc | X87_EXC)));
    unsigned unmasked = sw & ~f->cw & X87_EXC;
    if (G_UNLIKELY(unmasked)) {
        x87_signal(cpu);
    }
    return unmasked;
}
/* Stack underflow or overflow. True: masked, the caller stores the indefinite value. */
bool x87_stack_fault(X86Cpu *cpu, bool overflow);
static inline void x87_indefinite(X86F80 *r)
{
    r->sig = 0xc000000000000000u;
    r->se = 0xffff;
}

/* Effective addresses of 2..10-byte operands; *off for FDP. */
static inline uint64_t x87_ea(X86Cpu *cpu, const X86Insn *d, unsigned n, bool write, uint64_t *off)
{
    *off = ea_off(cpu, d);
    return ea_lin(cpu, d, n, write);
}

/* MMX instructions wait like x87 ones; then the whole stack becomes valid with TOP = 0. */
#define MMX_ENTER X87_ENTER
static inline void mmx_begin(X86Cpu *cpu)
{
    cpu->fpu.top = 0;
    cpu->fpu.tags = 0;
}
static inline void mmx_write(X86Cpu *cpu, unsigned reg, uint64_t v)
{
    cpu->fpu.r[reg & 7].sig = v;
    cpu->fpu.r[reg & 7].se = 0xffff;
}
static inline uint64_t mmx_read(const X86Cpu *cpu, unsigned reg) { return cpu->fpu.r[reg & 7].sig; }

#endif

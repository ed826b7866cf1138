/* SPDX-License-Identifier: MIT
 * target/x86/sys.h - the seam between the engine (decode, T0, TLB: decode.c, t0.c, mem.c) and the
 * system side (mmu.c, seg.c, exception.c, control.c, msr.c, cpuid.c).
 */
#ifndef TARGET_X86_SYS_H
#define TARGET_X86_SYS_H

#include "interp.h"

typedef enum X86Access { ACC_READ, ACC_WRITE, ACC_EXEC } X86Access;
typedef struct X86Xlat {
    hwaddr phys;        /* of lin itself, A20 applied */
    uint64_t page_size; /* of the mapping */
    bool write_ok;      /* a write would succeed now, dirty bit already set */
    bool exec_ok;
    bool read_ok;       /* false only for a fetch from a user page under SMAP: enter no read tag */
    bool global;
} X86Xlat;

/* mmu.c (system side). Walks the guest's tables for an access through MMU index `mmu`; sets A (and D for
 * writes) with atomic updates. False: *pf_err is the #PF error code, CR2 is not set yet. No paging:
 * identity. */
bool x86_translate(X86Cpu *cpu, uint64_t lin, X86Access acc, unsigned mmu, X86Xlat *out, uint32_t *pf_err);
/* From the second-level TLB alone; *out says what is allowed. False: it is not there. */
bool x86_translate_known(X86Cpu *cpu, uint64_t lin, unsigned mmu, X86Xlat *out);
/* Without side effects, supervisor rights: monitor and debugger. */
bool x86_translate_debug(X86Cpu *cpu, uint64_t lin, hwaddr *phys);
bool x86_canonical(const X86Cpu *cpu, uint64_t lin); /* true outside long mode */
/* The same for what a register of bases takes (MSRs, GDTR, LDTR, INVLPG): by what the processor can, whatever
 * CR4.LA57 says (SDM vol. 3 4.5.2). */
bool x86_canonical_base(const X86Cpu *cpu, uint64_t lin);
/* WRPKRU, XRSTOR; IA32_PKRS: drops what the TLB knows of keys that change. */
void x86_set_pkru(X86Cpu *cpu, uint32_t val);
void x86_set_pkrs(X86Cpu *cpu, uint32_t val);
/* Records the walk for the triple-fault report, sets CR2, raises #PF. */
void x86_raise_pf(X86Cpu *cpu, uint64_t lin, uint32_t err) G_GNUC_NORETURN;

/* Physical memory as this CPU sees it in its present mode. */
static inline AddressSpace *x86_memory(const X86Cpu *cpu)
{
    Machine *m = cpu->vcpu.machine;
    return G_UNLIKELY(cpu->in_smm) && m->as_smm ? m->as_smm : &m->as_mem;
}

/* mem.c (engine). TLB flushes are declared in cpu.h. Physical memory for walks and tables: */
uint64_t x86_phys_ld(X86Cpu *cpu, hwaddr pa, unsigned n);
void x86_phys_st(X86Cpu *cpu, hwaddr pa, unsigned n, uint64_t v);
/* Compare-and-swap on a page-table entry in RAM; true if it was `was` (or the entry is not in RAM). */
bool x86_phys_cas(X86Cpu *cpu, hwaddr pa, unsigned n, uint64_t was, uint64_t now);

/* Host pointer to the bytes from lin to the end of its page when they are plain RAM (no watch, no MMIO); raises when the
 * access is not allowed. NULL: go element by element. */
void *x86_block_ptr(X86Cpu *cpu, uint64_t lin, X86Access acc, unsigned *room);

/* exception.c (system side). x86_raise*() (interp.h) store {vector, err} and long-jump to the run loop,
 * which calls x86_deliver_pending(). That never long-jumps out: faults while delivering become #DF or a
 * triple fault. False: triple fault (the run loop returns EXIT_SHUTDOWN). */
bool x86_deliver_pending(X86Cpu *cpu);
/* Software interrupt, from a handler; rip is the return address. May raise. */
void x86_soft_int(X86Cpu *cpu, int vector, unsigned insn_len, bool is_icebp);
/* #DB as a trap after the instruction that just retired (single step, data breakpoint hits collected in
 * DR6): called by the run loop when TF or a hit asks for it. */
void x86_raise_db_trap(X86Cpu *cpu, uint64_t dr6_bits) G_GNUC_NORETURN;
/* At a unit boundary with irq_pending != 0: takes the highest-priority event (INIT, SMI, NMI, INTR) if the
 * CPU may take one now, of those in `wanted`; honours irq_shadow. May long-jump like an exception. True: something was taken. */
bool x86_take_irq(X86Cpu *cpu, uint32_t wanted);
bool x86_irq_ready(const Vcpu *v);
/* Outside the list of exceptions: the processor stops, and the report says why. */
void x86_shutdown(X86Cpu *cpu, const char *why, const char *which) G_GNUC_NORETURN;
/* The text of the triple-fault report: fault chain, registers, last page walk. */
void x86_explain_shutdown(X86Cpu *cpu, GString *out);

/* seg.c (system side); all may raise through cpu->cur. */
void x86_load_seg(X86Cpu *cpu, unsigned seg, uint16_t sel);      /* MOV Sreg, POP Sreg, LDS... in the current mode */
void x86_set_seg_real(X86Cpu *cpu, unsigned seg, uint16_t sel);  /* real mode, VM86 */
void x86_far_jump(X86Cpu *cpu, uint16_t sel, uint64_t off, unsigned osize); /* log2 bytes */
void x86_far_call(X86Cpu *cpu, uint16_t sel, uint64_t off, unsigned osize, uint64_t ret_rip);
void x86_far_ret(X86Cpu *cpu, unsigned osize, unsigned pop_bytes);
void x86_iret(X86Cpu *cpu, unsigned osize);

/* unit cache (engine) */
void x86_units_flush(X86Cpu *cpu);
/* The unit being executed may have changed what it decoded from: finish this instruction, then leave. */
void x86_unit_leave(X86Cpu *cpu);

/* Stack of the current stack-address size; osize log2 bytes. push does not change RSP when it faults. */
void x86_push(X86Cpu *cpu, uint64_t val, unsigned osize);
uint64_t x86_pop(X86Cpu *cpu, unsigned osize);

/* debug registers (system side): called by mem.c for accesses to pages tagged TLB_SLOW_CHECK. */
void x86_check_data_bp(X86Cpu *cpu, uint64_t lin, unsigned n, bool write); /* hits go to cpu->db_hits; leaves the unit */
/* Before each unit (of one instruction) while MODE_DEBUG is set: raises #DB when an instruction breakpoint matches
 * cpu->rip and RF is clear; then clears RF. */
void x86_debug_unit_begin(X86Cpu *cpu);
bool x86_page_has_data_bp(const X86Cpu *cpu, uint64_t lin_page);
bool x86_data_bp_on(const X86Cpu *cpu); /* may some page have one? */
/* dbg.c: a debugger's watchpoints. */
void dbg_access(X86Cpu *cpu, uint64_t lin, unsigned n, bool write);
bool dbg_page_watched(const X86Cpu *cpu, uint64_t page);
/* I/O breakpoints, port permission (IOPL, TSS bitmap) for IN/OUT/INS/OUTS. */
void x86_check_io(X86Cpu *cpu, uint16_t port, unsigned n);
uint64_t x86_io_in(X86Cpu *cpu, uint16_t port, unsigned n);
void x86_io_out(X86Cpu *cpu, uint16_t port, unsigned n, uint64_t val);

#endif

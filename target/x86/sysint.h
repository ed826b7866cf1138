/* SPDX-License-Identifier: MIT
 * target/x86/sysint.h - what the files of the system side share: descriptors, task switches, delivery.
 * Models: the vocabulary of Intel SDM volume 3, chapters 3, 5, 6 and 8.
 * Does not model: anything by itself.
 * Threads: the vCPU's thread.
 */
#ifndef TARGET_X86_SYSINT_H
#define TARGET_X86_SYSINT_H

#include "sys.h"

/* One link of the fault chain, for the report printed at a triple fault. */
typedef struct X86Fault {
    int vector;
    bool has_err;
    uint32_t err;
    uint16_t cs;
    uint8_t cpl;
    uint64_t rip, cr2;
} X86Fault;

/* The last page walk that ended in a fault. */
typedef struct X86Walk {
    bool valid;
    uint8_t n;
    uint32_t err;
    uint64_t lin;
    struct {
        const char *name;
        hwaddr pa;
        uint64_t entry;
    } e[5];
} X86Walk;

enum { X86_CHAIN = 4 };
typedef struct X86SysState {
    X86Fault chain[X86_CHAIN]; /* from the first exception to the ones its delivery raised */
    unsigned n_chain;
    X86Walk walk;              /* of the last #PF */
    X86Walk scratch;           /* of the walk in progress */
    bool pending_fault;        /* the exception in flight is a fault: pushes RF = 1 */
    const char *shutdown_why, *shutdown_which; /* x86_shutdown() */
    unsigned reports;          /* shutdown reports printed so far */
    bool monitor_armed;
    bool mwait_any;            /* MWAIT with "masked interrupts break" is waiting */
    uint16_t pk_user, pk_super; /* protection keys that TLB entries may have been made with */
} X86SysState;

/* A descriptor as read from a table. */
typedef struct X86Desc {
    uint32_t lo, hi;
    uint64_t addr; /* linear address it came from */
} X86Desc;

enum { /* system descriptor types (SDM 3.5, table 3-2) */
    DT_TSS16 = 1, DT_LDT = 2, DT_TSS16_BUSY = 3, DT_CALL16 = 4, DT_TASK = 5, DT_INT16 = 6, DT_TRAP16 = 7,
    DT_TSS32 = 9, DT_TSS32_BUSY = 11, DT_CALL32 = 12, DT_INT32 = 14, DT_TRAP32 = 15,
};

static inline bool sel_null(uint16_t sel) { return (sel & ~3) == 0; }
static inline unsigned desc_type(const X86Desc *d) { return (d->hi >> 8) & 15; }
static inline unsigned desc_dpl(const X86Desc *d) { return (d->hi >> 13) & 3; }
static inline bool desc_s(const X86Desc *d) { return d->hi & (1u << 12); }
static inline bool desc_present(const X86Desc *d) { return d->hi & (1u << 15); }
static inline bool desc_is_code(const X86Desc *d) { return (d->hi & 0x1800) == 0x1800; }
static inline bool desc_conforming(const X86Desc *d) { return (d->hi & 0x1c00) == 0x1c00; }
static inline bool desc_long(const X86Desc *d) { return d->hi & (1u << 21); }
static inline bool desc_d(const X86Desc *d) { return d->hi & (1u << 22); }
/* Data segment, writable: what a stack needs. */
static inline bool desc_is_stack(const X86Desc *d) { return (d->hi & 0x1a00) == 0x1200; }
static inline uint32_t desc_base(const X86Desc *d)
{
    return (d->lo >> 16) | ((d->hi & 0xff) << 16) | (d->hi & 0xff000000);
}
static inline uint32_t desc_limit(const X86Desc *d)
{
    uint32_t l = (d->lo & 0xffff) | (d->hi & 0xf0000);
    return d->hi & (1u << 23) ? (l << 12) | 0xfff : l;
}

static inline bool in_real(const X86Cpu *cpu) { return !(cpu->cr0 & CR0_PE); }
static inline bool in_vm86(const X86Cpu *cpu) { return (cpu->eflags & FL_VM) && (cpu->cr0 & CR0_PE); }
static inline bool in_long(const X86Cpu *cpu) { return cpu->efer & EFER_LMA; }
static inline bool in_code64(const X86Cpu *cpu) { return in_long(cpu) && (cpu->seg[SEG_CS].attr & SA_L); }
static inline unsigned iopl(const X86Cpu *cpu) { return (cpu->eflags & FL_IOPL) >> 12; }

/* mmu.c */
void x86_mmu_name_walk(const X86Walk *w, GString *out);

/* seg.c */
bool x86_desc_read(X86Cpu *cpu, uint16_t sel, X86Desc *d);      /* false: beyond the table's limit */
uint64_t x86_desc_base64(X86Cpu *cpu, const X86Desc *d);        /* of a 16-byte system descriptor */
void x86_desc_mark_accessed(X86Cpu *cpu, X86Desc *d);
X86Seg x86_seg_from_desc(uint16_t sel, const X86Desc *d);
X86Seg x86_seg_real(uint16_t sel, unsigned dpl);
void x86_seg_commit(X86Cpu *cpu, unsigned seg, const X86Seg *s); /* no mode update */
uint64_t x86_stack_mask(const X86Cpu *cpu);
/* The checks of MOV Sreg: raises `vec` (EXC_GP, or EXC_TS in a task switch); commits. */
void x86_load_seg_checked(X86Cpu *cpu, unsigned seg, uint16_t sel, unsigned cpl, int vec);
void x86_load_ldt(X86Cpu *cpu, uint16_t sel, int vec);
bool x86_limit_ok(const X86Seg *s, uint64_t off, unsigned n);   /* by the expand-down rules */

/* far.c: a stack being built or taken apart; nothing is committed before the caller does. */
typedef struct X86Stack {
    X86Cpu *cpu;
    uint64_t sp, base, mask;
    const X86Seg *seg;  /* NULL: 64-bit, no limit */
    unsigned mmu;
    uint32_t err;       /* error code of #SS */
} X86Stack;
X86Stack x86_stack_here(X86Cpu *cpu);
X86Stack x86_stack_new(X86Cpu *cpu, const X86Seg *ss, uint64_t sp, unsigned cpl, uint32_t err);
void x86_stack_push(X86Stack *s, uint64_t val, unsigned bytes);
uint64_t x86_stack_pop(X86Stack *s, unsigned bytes);
void x86_stack_commit(X86Cpu *cpu, const X86Stack *s);
/* SS:ESP of an inner privilege level from the TSS, checked as SDM 6.12.1 says; ext is or-ed into error codes.
 */
void x86_tss_stack32(X86Cpu *cpu, unsigned dpl, unsigned ext, X86Seg *ss, X86Desc *d, uint32_t *esp);
uint64_t x86_tss_stack64(X86Cpu *cpu, unsigned slot_offset, unsigned ext);
unsigned x86_mmu_for(const X86Cpu *cpu, unsigned cpl);

/* task.c */
typedef enum X86Switch { SWITCH_JMP, SWITCH_CALL, SWITCH_IRET, SWITCH_INT } X86Switch;
void x86_task_switch(X86Cpu *cpu, uint16_t sel, X86Desc *d, X86Switch why, uint64_t next_rip, unsigned ext,
                     bool has_err, uint32_t err);

/* exception.c */
typedef enum X86IntKind { INT_HARD, INT_EXCEPTION, INT_SOFT, INT_ICEBP } X86IntKind;
/* Through IVT or IDT; raises on faults, with state as it was. rip is what is pushed. */
void x86_interrupt(X86Cpu *cpu, int vector, X86IntKind kind, bool has_err, uint32_t err);
void x86_interrupt_vme(X86Cpu *cpu, int vector);
bool x86_vme_redirected(X86Cpu *cpu, int vector); /* VM86 with VME: the program handles it itself */
void x86_report_shutdown(X86Cpu *cpu); /* report.c: to stderr */
bool x86_has_errcode(int vector);
const char *x86_vector_name(int vector);

/* debugreg.c */
enum { DR6_FIXED = 0xffff0ff0, DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR6_BT = 1 << 15, DR7_FIXED = 0x400,
       DR7_GD = 1 << 13 };
bool x86_code_bp_enabled(const X86Cpu *cpu);
void x86_check_io_bp(X86Cpu *cpu, uint16_t port, unsigned n);

/* reset.c */
void x86_cpu_init_event(X86Cpu *cpu); /* INIT */
void x86_cpu_start(X86Cpu *cpu, uint8_t vector); /* SIPI */

/* control.c */
bool x86_set_cr0(X86Cpu *cpu, uint64_t val); /* false: #GP */
bool x86_set_cr3(X86Cpu *cpu, uint64_t val);
bool x86_set_cr4(X86Cpu *cpu, uint64_t val);
bool x86_set_efer(X86Cpu *cpu, uint64_t val);
uint64_t x86_efer_allowed(const X86Cpu *cpu); /* LMA included */

/* smm.c */
void x86_smm_enter(X86Cpu *cpu); /* takes an SMI: between instructions */
uint64_t x86_cr4_allowed(const X86Cpu *cpu); /* what the CPU model has */
bool x86_load_pdptes(X86Cpu *cpu, uint64_t cr3);

/* msr.c */
bool x86_msr_read(X86Cpu *cpu, uint32_t msr, uint64_t *val);
bool x86_msr_write(X86Cpu *cpu, uint32_t msr, uint64_t val);
void x86_msr_reset(X86Cpu *cpu);

/* pvclock.c */
enum { X86_MSR_KVM_WALL_CLOCK = 0x4b564d00, X86_MSR_KVM_SYSTEM_TIME = 0x4b564d01, X86_MSR_KVM_STEAL_TIME = 0x4b564d03 };
bool x86_pvclock_write(X86Cpu *cpu, uint32_t msr, uint64_t val); /* false: #GP */
void x86_pvclock_update(X86Cpu *cpu);                           /* the TSC was written */
uint64_t x86_tsc_at(const X86Cpu *cpu, int64_t ns);             /* TSC at that virtual time */

/* kvm-ops.c: no event is pending or on its way any more */
void x86_kvm_reset(X86Cpu *cpu);
void x86_kvm_pre_save(X86Cpu *cpu); /* parked, and pulled */

/* xsave.c */
uint64_t x86_xcr0_allowed(const X86Cpu *cpu);
void x86_guest_error(X86Cpu *cpu, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

#endif

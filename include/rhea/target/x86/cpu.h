/* SPDX-License-Identifier: MIT
 * rhea/target/x86/cpu.h - architectural state of an x86 CPU and what boards and controllers may do to it.
 * Models: Intel SDM volumes 1 and 3, AMD APM volume 2.
 * Threads: the state belongs to the vCPU's thread (or to anybody while it is parked); the functions
 * marked "any thread" say so.
 */
#ifndef RHEA_TARGET_X86_CPU_H
#define RHEA_TARGET_X86_CPU_H

#include "rhea/accel/tlb.h"
#include "rhea/system/machine.h"
#include <setjmp.h>

enum { R_RAX, R_RCX, R_RDX, R_RBX, R_RSP, R_RBP, R_RSI, R_RDI, R_R8, R_R15 = 15,
       R_NONE = 16,  /* reads as zero: no base or index */
       R_UNIT = 17,  /* linear-less RIP of the current unit's first byte, for RIP-relative operands */
       R_BIAS = 18, /* 0x10000: lets the decoder express RIP-relative displacements near 2 GiB */
       R_COUNT = 19 };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT,
       SEG_FLAT = 6 /* slot of seg_base[] that is always zero */ };

/* RFLAGS */
#define FL_CF   0x1u
#define FL_PF   0x4u
#define FL_AF   0x10u
#define FL_ZF   0x40u
#define FL_SF   0x80u
#define FL_TF   0x100u
#define FL_IF   0x200u
#define FL_DF   0x400u
#define FL_OF   0x800u
#define FL_IOPL 0x3000u
#define FL_NT   0x4000u
#define FL_RF   0x10000u
#define FL_VM   0x20000u
#define FL_AC   0x40000u
#define FL_VIF  0x80000u
#define FL_VIP  0x100000u
#define FL_ID   0x200000u
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)
#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE  (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_LA57 (1u << 12)
#define CR4_FSGSBASE (1u << 16)
#define CR4_PCIDE (1u << 17)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define CR4_PKE  (1u << 22)
#define CR4_PKS  (1u << 24)
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)
#define EFER_SVME (1u << 12)
#define EFER_FFXSR (1u << 14)

enum { EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10, EXC_NP, EXC_SS,
       EXC_GP, EXC_PF, EXC_MF = 16, EXC_AC, EXC_MC, EXC_XM };

/* Bits of Vcpu.irq_pending. Level-like bits (INTR, APIC) are kept true by their controller. */
enum {
    X86_IRQ_INTR = 1 << 0,  /* the 8259's INT pin, when it goes to the CPU (LINT0 as ExtINT or no APIC) */
    X86_IRQ_APIC = 1 << 1,  /* the local APIC has something deliverable */
    X86_IRQ_NMI = 1 << 2,
    X86_IRQ_INIT = 1 << 3,
    X86_IRQ_SIPI = 1 << 4,  /* vector in X86Cpu.sipi_vector */
    X86_IRQ_SMI = 1 << 5,
    X86_IRQ_MCE = 1 << 6,
    X86_IRQ_TLB = 1 << 7,   /* internal: somebody asks for a TLB and code-view flush */
};

/* Mode word: everything that changes how bytes decode or how memory is reached. Part of the key of a
 * decoded unit; recomputed by x86_update_mode(). */
enum {
    MODE_CODE32 = 1 << 0,   /* default operand/address size 32 (CS.D) */
    MODE_CODE64 = 1 << 1,   /* 64-bit code segment */
    MODE_LMA = 1 << 2,
    MODE_PE = 1 << 3,
    MODE_VM86 = 1 << 4,
    MODE_SS32 = 1 << 5,     /* stack address size 32 (SS.B); 64 in 64-bit mode */
    MODE_CPL_SHIFT = 6,     /* two bits */
    MODE_CPL3 = 3 << 6,
    MODE_FLAT = 1 << 8,     /* ES, CS, SS, DS: base 0, limit 4 GiB, usable: no checks needed (not FS, GS) */
    MODE_TF = 1 << 9,       /* single step: units of one instruction */
    MODE_FPU_TRAP = 1 << 10,  /* CR0.EM or TS: x87 raises #NM */
    MODE_SSE_TRAP = 1 << 11,  /* SSE raises #NM (TS) or #UD (EM, !OSFXSR): look why at execution */
    MODE_AVX_OK = 1 << 12,
    MODE_DEBUG = 1 << 13,   /* an enabled code breakpoint: units of one instruction, checked */
    MODE_IOPL_SHIFT = 14,   /* two bits; VM86 and sensitive instructions */
    MODE_SMM = 1 << 16,
    MODE_USER_MMU_SHIFT = 17, /* two bits: MMU index 0 kernel, 1 user, 2 kernel with SMAP and AC = 0 */
};

/* Descriptor attributes as in bits 8..23 of a descriptor's high half, shifted down by 8. */
enum { SA_TYPE = 0xf, SA_ACCESSED = 1, SA_RW = 2, SA_CE = 4, SA_CODE = 8, SA_S = 0x10, SA_DPL = 0x60, SA_DPL_SHIFT = 5,
       SA_P = 0x80, SA_AVL = 0x1000, SA_L = 0x2000, SA_DB = 0x4000, SA_G = 0x8000,
       SA_UNUSABLE = 0x10000 /* null selector loaded */ };
typedef struct X86Seg {
    uint64_t base;
    uint32_t limit; /* last valid offset, granularity applied (expand-down: the lower bound) */
    uint32_t attr;
    uint16_t sel;
} X86Seg;
typedef struct X86Table { uint64_t base; uint16_t limit; } X86Table;

/* An event that an accelerator was about to deliver when its state was pulled: whatever runs the CPU next delivers it first. */
enum { X86_HELD_NONE, X86_HELD_EXCEPTION, X86_HELD_NMI, X86_HELD_INTERRUPT };
typedef struct X86Held {
    uint8_t kind, vector;
    uint32_t err; /* of exceptions that have one */
} X86Held;

typedef union X86Vec { /* 256 bits; the legacy SSE part is q[0..1] */
    uint8_t b[32]; uint16_t w[16]; uint32_t d[8]; uint64_t q[4];
    int8_t sb[32]; int16_t sw[16]; int32_t sd[8]; int64_t sq[4];
    float f32[8]; double f64[4];
} X86Vec __attribute__((aligned(32)));

typedef struct X86F80 { uint64_t sig; uint16_t se; uint8_t pad[6]; } X86F80;
typedef struct X86Fpu {
    /* Physical registers R0..R7 as 80-bit values in 16-byte slots: significand, then sign and exponent.
     * ST(i) is r[(top + i) & 7]; MMi is the significand of r[i]. */
    X86F80 r[8];
    uint16_t cw, sw;   /* sw without TOP: see top */
    uint8_t top;
    uint8_t tags;      /* one bit a register: 1 = empty (full tag word is computed) */
    uint16_t fop;      /* 11 bits */
    uint16_t fcs, fds;
    uint64_t fip, fdp;
} X86Fpu;

/* What a SYSCALL or SYSRET between two kinds of 64-bit code does besides RIP and flags, noted when tier 0 did one: translated code
 * does it again as long as nothing changed that it depends on. */
typedef struct X86Transition {
    uint32_t from, to;      /* modes; from 0: none is known */
    uint32_t generation;    /* of `to`, when it was noted */
    uint32_t fl_keep;       /* SYSCALL: what FMASK leaves */
    uint64_t rip, salt;     /* SYSCALL: where to */
    uint64_t cs_limit_attr, ss_limit_attr, shadow_start;
    uint32_t cs_sel, ss_sel, mmu;
} X86Transition;

/* What translated code reaches through GS (target/x86/t1.h). */
enum { T1_JC_BITS = 14, T1_JC_SIZE = 1 << T1_JC_BITS };
/* Behind it: sets of two. A page's entries lie in T1_JC2_NEAR sets that follow each other. */
enum { T1_JC2_NEAR_BITS = 6, T1_JC2_NEAR = 1 << T1_JC2_NEAR_BITS, T1_JC2_PAGE_BITS = 9,
       T1_JC2_SETS = 1 << (T1_JC2_PAGE_BITS + T1_JC2_NEAR_BITS), T1_JC2_WAYS = 2 };
typedef struct X86JumpTarget { uint64_t tag; const void *code; } X86JumpTarget; /* tag: address ^ salt */
typedef struct X86Translated {
    struct X86Cpu *self;
    uint64_t host_rsp, shadow_rsp, shadow_start; /* C's stack; where the shadow return stack was left, and begins */
    /* [0]: of code in MMU index 0; [1]: in others. STAC and CLAC of translated code change over. saved: while it rests */
    uint64_t shadow_base[2], shadow_limit[2], shadow_saved[2];
    uint64_t salt;          /* XORed into a jump-cache tag: differs with address space and mode */
    uint64_t canonical;     /* added to a canonical address, clears the bits that are copies of its highest */
    uint32_t gen[2];        /* of the jump cache: supervisor, user */
    X86Transition trans[2]; /* SYSCALL, SYSRET */
    uint64_t efl, lahf, part[2], tmp; /* for POPFQ on the way back; flags set aside; scratch */
    uint64_t pcbase;        /* linear address of the page that the running unit lies in, when its code does not know */
    uint64_t fpu_base;      /* pcbase at the last x87 instruction */
    void *link;             /* behind the exit of a link, which led out; NULL: another way */
    const void *next;       /* where to go on after an instruction that ended a unit, or a side path */
    const void *resume;     /* a side path: by which of T1Thunks.resume[] */
    const void *flag_case[24]; /* code that loads EFLAGS, by cc_op - 64 */
    uint64_t stash[16];     /* distances to host memory that the running unit has looked up (t1-group.c) */
    uint32_t left_early;    /* units left half way */
    uint32_t host_mxcsr;
    bool stale;             /* the jump caches led to code that is no more */
    uint8_t vec_live;       /* in the host's registers are: 1: the vectors' low halves, 2: all of them */
    uint8_t fpu_live;       /* the x87 state is the host's */
    uint8_t fpu_seg;        /* segment of the last x87 memory operand, + 1; 0: fpu.fds is right */
    uint32_t fpu_note;      /* tells the last x87 instruction (t1-fpu.c); 0: fpu.fop, fip, fcs are right */
    uint8_t fpu_area[108];  /* for FNSAVE */
    uint8_t win_touched[3][2]; /* 0: all these windows are empty: [mmu][store] */
    uint32_t win_thrash;       /* number of the window whose count of misses ran out, + 1; 0: none */
    int32_t win_misses[3][2][TLB_WINDOWS]; /* to go */
    X86JumpTarget jc[T1_JC_SIZE];
    X86JumpTarget jc2[T1_JC2_SETS][T1_JC2_WAYS]; /* a tag of 0: empty; salts are not 0, so no address has it */
} X86Translated;

struct X86Insn;
struct X86Unit;
struct X86CpuModel;
typedef struct X86Cpu X86Cpu;

/* Lazy arithmetic flags: how to compute FL_ARITH from cc_dst, cc_src, cc_src2. CC_FLAGS: they are in
 * cc_src. The size in the low two bits (0 = 8 ... 3 = 64) of the sized ones. */
enum CcOp { CC_FLAGS = 0, CC_ADD = 4, CC_ADC = 8, CC_SUB = 12, CC_SBB = 16, CC_LOGIC = 20, CC_INC = 24, CC_DEC = 28,
            CC_SHL = 32, CC_SAR = 36, CC_MUL = 40, CC_BMILG = 44, CC_COUNT = 48 };
/* ADD/SUB: dst = result, src = second operand. ADC/SBB: the same, src2 = carry in. LOGIC: dst. INC/DEC: dst,
 * src = old CF. SHL/SAR: dst = result, src = last-but-one value (CF in its top/bottom bit). MUL: dst = low
 * result, src = nonzero if CF = OF = 1. */

/* What a local APIC (hw/intc/apic-regs.c) or a board without one gives the CPU. All on the vCPU's thread. */
typedef struct X86ApicOps {
    int (*ack)(void *apic);                 /* take the highest deliverable vector, -1: spurious/none */
    bool (*msr_read)(void *apic, uint32_t msr, uint64_t *val);  /* IA32_APIC_BASE, x2APIC, TSC_DEADLINE; false: #GP */
    bool (*msr_write)(void *apic, uint32_t msr, uint64_t val);
    uint8_t (*get_tpr)(void *apic);         /* CR8 = bits 7..4 */
    void (*set_tpr)(void *apic, uint8_t tpr);
    void (*init)(void *apic);               /* INIT: APIC state except its ID and base */
    /* Registers as the first 1 KiB of the xAPIC page, for an accelerator that has the local APICs inside; and an end of
     * interrupt that it tells. */
    void (*get_page)(void *apic, uint32_t page[256]);
    void (*set_page)(void *apic, const uint32_t page[256]);
    void (*tell_eoi)(void *apic, uint8_t vector);
} X86ApicOps;

struct X86Cpu {
    Vcpu vcpu; /* first */

    /* hot: registers and lazy flags */
    uint64_t gpr[R_COUNT];
    uint64_t rip;           /* of the next instruction; inside a unit only slow paths keep it exact */
    uint64_t cc_dst, cc_src, cc_src2;
    uint32_t cc_op;
    uint32_t eflags;        /* all but FL_ARITH; bit 1 set. FL_DF here */
    uint32_t mode;
    uint8_t mmu;            /* TLB table for data at the current privilege */
    uint8_t lin_shift;      /* 64 - width of linear addresses: 16, or 7 with CR4.LA57 */
    uint8_t cpl;
    bool irq_shadow;        /* STI, MOV SS, POP SS: one instruction without interrupts (and debug traps) */
    bool nmi_blocked;
    uint64_t seg_base[7];   /* copy of seg[].base; [SEG_FLAT] = 0 */
    const struct X86Insn *cur; /* the instruction being executed, when something may fault; see interp.h */
    struct X86Unit *unit;
    Tlb *tlb;

    /* system registers */
    X86Seg seg[SEG_COUNT], ldt, tr;
    X86Table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8_shadow, xcr0, xss;
    uint64_t dr[8];
    uint64_t efer, star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_offset, tsc_adjust, tsc_aux, misc_enable, spec_ctrl, mtrr_def, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
    uint64_t mcg_cap, mcg_status, mcg_ctl, mc_bank[4 * 10], smbase, feature_control, bios_sign_id;
    uint64_t pdpte[4];      /* PAE */
    uint32_t pkru, pkrs;    /* rights of protection keys: user pages, supervisor pages */

    /* vectors */
    X86Fpu fpu;
    X86Vec xmm[16];
    uint32_t mxcsr;

    /* events */
    bool exc_in_flight;     /* delivering: for #DF and triple-fault classification */
    int exc_vector;
    uint32_t exc_err;
    X86Held held;
    uint64_t db_hits;       /* DR6 bits of data and I/O breakpoints hit by the current instruction: when not zero
                               after it retired, the run loop calls x86_raise_db_trap(cpu, db_hits) */
    uint32_t sipi_vector;   /* atomic */
    bool wait_sipi;
    bool in_smm;
    bool no_smm;            /* the board says -machine smm=off: SMIs are dropped */
    uint32_t smi_count;
    uint64_t pv_wall, pv_time; /* pvclock.c: where the guest wants wall clock and system time; bit 0 of pv_time: on */
    uint64_t pv_steal; /* on KVM: where the guest wants the time that the host took; bit 0: on */
    uint64_t hv[40];   /* Hyper-V's synthetic registers, in the order of x86_hyperv_msr() */
    bool is_bsp;

    /* controllers */
    uint8_t controllers_[0]; /* what an instruction changes by itself lies before */
    const X86ApicOps *apic_ops;
    void *apic;
    int (*pic_ack)(void *opaque); /* 8259 interrupt acknowledge, for ExtINT; -1: none (spurious 7 comes as 7) */
    void *pic_opaque;
    void (*ferr)(void *opaque, bool level); /* CR0.NE = 0: FERR# to IRQ 13 */
    void *ferr_opaque;
    bool a20_gate;          /* true: A20 enabled (normal) */

    /* model */
    const struct X86CpuModel *model; /* machine-owned, see cpuid.h */
    uint32_t phys_bits;
    uint32_t apic_id;
    uint64_t tsc_hz;

    /* engine */
    sigjmp_buf fault_jmp;   /* x86_raise() and unit exits land here */
    struct T0State *t0;     /* unit cache and counters */
    struct T1State *t1;     /* translated code; NULL: tier 0 alone */
    struct X86Kvm *kvm;     /* the KVM accelerator's half of this CPU; NULL: another accelerator */
    struct X86SysState *sys; /* private to the system side: fault chain record, last walk */
    uint64_t insn_count;    /* retired, updated per unit */
    bool exc_stop;          /* tests: run() returns EXIT_DEBUG at an exception instead of delivering it; see exc_vector */
    uint64_t insn_limit;    /* nonzero: run() returns EXIT_DEBUG once insn_count is there; one instruction a unit */

    X86Translated tr1;
    /* At constant offsets from X86Cpu for generated code. `tlb` above points to tlb_mem while an accelerator uses it. Last:
     * the start is hot, most of the rest is never touched. */
    TlbWindow win[TLB_MMUS][2][TLB_WINDOWS] __attribute__((aligned(64))); /* [mmu][0: load, 1: store][slot] */
    Tlb tlb_mem __attribute__((aligned(64)));
};
/* After changes of CR4, EFER, and the MSRs of SYSCALL and SYSRET; what else matters is part of the mode. */
static inline void x86_transitions_drop(X86Cpu *cpu) { cpu->tr1.trans[0].from = cpu->tr1.trans[1].from = 0; }
static inline X86Cpu *x86_cpu(Vcpu *v) { return (X86Cpu *)v; }

extern const TargetOps x86_64_target_ops;

/* flags.c: the arithmetic flags, computed; the whole RFLAGS; and setting it. */
uint32_t x86_arith_flags(const X86Cpu *cpu);
uint32_t x86_get_eflags(const X86Cpu *cpu);
void x86_set_eflags_arith(X86Cpu *cpu, uint32_t arith); /* cc_op = CC_FLAGS */
/* Replaces the bits in mask, arithmetic ones included; updates the mode when TF, VM, AC, IOPL change. */
void x86_set_eflags(X86Cpu *cpu, uint32_t value, uint32_t mask);

/* Recomputes mode, cpl-derived fields and mmu index from CR0, CR4, EFER, segments, EFLAGS. */
void x86_update_mode(X86Cpu *cpu);
/* A 64-bit address that memory accesses and branches take: see x86_canonical() for one in any mode. */
static inline bool x86_lin_ok(const X86Cpu *cpu, uint64_t lin)
{
    return (uint64_t)((int64_t)(lin << cpu->lin_shift) >> cpu->lin_shift) == lin;
}
/* Own thread, target/x86/tlb.c. All PCIDs; one page of the current PCID and global; after a load of CR3 (keep: with bit
 * 63, nothing of the PCID goes); INVPCID types 0 and 1; rights that follow from CR0.WP or protection keys. */
void x86_tlb_flush(X86Cpu *cpu, bool keep_global);
void x86_tlb_flush_page(X86Cpu *cpu, uint64_t lin);
void x86_tlb_new_cr3(X86Cpu *cpu, bool keep);
void x86_tlb_flush_pcid_page(X86Cpu *cpu, unsigned pcid, uint64_t lin);
void x86_tlb_flush_pcid(X86Cpu *cpu, unsigned pcid);
void x86_tlb_rights_changed(X86Cpu *cpu);

/* Boards and devices. Any thread. */
void x86_set_a20(X86Cpu *cpu, bool enabled);
/* On the vCPU's thread or while parked: reset as the BSP or as an AP that waits for SIPI. */
void x86_cpu_reset(X86Cpu *cpu, ResetKind kind);
/* For direct kernel boots: flat 32-bit protected mode at eip, as PVH and Multiboot ask. */
void x86_enter_flat32(X86Cpu *cpu, uint32_t eip, uint32_t ebx, uint32_t eax);
/* At a Linux kernel's 32-bit entry, or with page tables at its 64-bit entry. The GDT holds flat code at 10h, data at 18h. */
typedef struct X86LinuxEntry {
    uint64_t entry, boot_params, gdt, cr3; /* cr3: 0 is the 32-bit entry */
    uint16_t gdt_limit;
} X86LinuxEntry;
void x86_enter_linux(X86Cpu *cpu, const X86LinuxEntry *e);
void x86_set_memory_cached(X86Cpu *cpu); /* memory type write-back everywhere, for boots without firmware */
/* TSC as the guest sees it now. */
uint64_t x86_read_tsc(X86Cpu *cpu);
int64_t x86_tsc_to_ns(X86Cpu *cpu, uint64_t tsc); /* virtual time at which the guest's TSC reaches tsc */
bool x86_has_feature(const X86Cpu *cpu, const char *flag);
/* The APIC id of the machine's CPU number `index`, from -smp's topology. */
uint32_t x86_apic_id(const Machine *m, unsigned index);

#endif

/* SPDX-License-Identifier: MIT
 * target/x86/kvm.h - what the files of the x86 half of the KVM accelerator share.
 * Models: struct X86Kvm holds what KVM keeps of a CPU and X86Cpu has no member for, and the vCPU's
 *   fixed tables.
 * Threads: the vCPU's own, but for the counters, which any thread reads.
 */
#ifndef TARGET_X86_KVM_H
#define TARGET_X86_KVM_H

#include "cpuid.h"
#include "rhea/accel/kvm.h"
#include "sysint.h"
#include <linux/kvm.h>

typedef struct KvmMsr { /* one register that travels */
    uint32_t index;
    uint32_t off;  /* of the uint64_t in X86Cpu */
    uint64_t seen; /* what KVM has */
    bool known;
    bool wide;     /* one for the whole machine: the first vCPU brings it to a new KVM */
} KvmMsr;

typedef struct X86Kvm {
    bool cpuid_told, sregs2, xsave2;
    /* Can KVM run paged 32-bit code here? Found out when the first CPU is created. */
    bool no_paging32;
    /* What the last KVM_RUN told. */
    uint8_t given;      /* vector of the last maskable interrupt given to it, 0 none; where KVM emulates */
    uint64_t given_rip; /* and where the guest was */
    bool window_known;  /* run->ready_for_interrupt_injection is of this state */
    uint64_t apic_base; /* run->apic_base as the local APIC knows it */
    /* State without a place in X86Cpu: injected and pending events, components of XSAVE this program does not
     * know. */
    struct kvm_vcpu_events events;
    bool nmi_changed;          /* of events: push it */
    uint32_t mp_seen;        /* KVM_MP_STATE_* of the last pull */
    uint8_t *xsave;
    size_t xsave_size;
    uint64_t pushed_fip, pushed_fdp; /* KVM's image has no room for FCS and FDS */
    int64_t tsc_seen; /* X86Cpu.tsc_offset of the last pull: when it differs, somebody wrote the TSC */
    bool tsc_known;   /* there was a pull or a push */
    KvmMsr *msrs;
    unsigned n_msrs;
    struct kvm_msrs *msr_buffer;
    /* Debuggers (kvm-debug.c). */
    struct X86KvmDebug *debug; /* vCPU 0 has it for all */
    bool debug_software, block_irq, debugged;
    /* Completion (kvm-complete.c). */
    uint64_t entries, completed, last_completed, software_insns;
    uint64_t burst;    /* instructions to run in software at the next failure */
    uint64_t *row_count; /* completions, per row of insn.def; own thread, others may read */
    bool *row_said;      /* of the first vCPU, atomic: told for the machine */
} X86Kvm;

/* kvm-regs.c */
bool kvm_x86_pull_regs(X86Cpu *cpu, Error **errp); /* KVM_GET_REGS, SREGS(2), DEBUGREGS */
bool kvm_x86_push_regs(X86Cpu *cpu, Error **errp);
bool kvm_x86_port_regs(Vcpu *v, uint64_t *gpr, bool set);
bool kvm_x86_probe_paging32(const Machine *m);
/* kvm-fpu.c */
bool kvm_x86_fpu_init(X86Cpu *cpu, Error **errp);
bool kvm_x86_pull_fpu(X86Cpu *cpu, Error **errp); /* XSAVE, XCRS */
bool kvm_x86_push_fpu(X86Cpu *cpu, Error **errp);
/* kvm-msrs.c */
bool kvm_x86_msrs_init(X86Cpu *cpu, Error **errp);
bool kvm_x86_pull_msrs(X86Cpu *cpu, Error **errp);
bool kvm_x86_push_msrs(X86Cpu *cpu, Error **errp);
void kvm_x86_align_tsc(Machine *m); /* all parked, and pulled */
void kvm_x86_tsc_stays(Machine *m, int64_t ns);
/* kvm-events.c */
bool kvm_x86_settle(X86Cpu *cpu, Error **errp); /* MP_STATE; before the others */
bool kvm_x86_pull_events(X86Cpu *cpu, Error **errp); /* VCPU_EVENTS */
bool kvm_x86_push_events(X86Cpu *cpu, bool fresh, Error **errp);
bool kvm_x86_pull_lapic(X86Cpu *cpu, Error **errp); /* LAPIC, and IA32_TSC_DEADLINE, where local APICs are in the kernel */
bool kvm_x86_push_lapic(X86Cpu *cpu, Error **errp);
KvmNext kvm_x86_enter(Vcpu *v, VcpuExit *out);
void kvm_x86_left(Vcpu *v);
KvmNext kvm_x86_exit(Vcpu *v, VcpuExit *out);
/* kvm-cpuid.c */
void kvm_x86_know_shown(X86Cpu *cpu); /* before anybody asks for its features */
bool kvm_x86_tell_cpuid(X86Cpu *cpu, Error **errp);
/* kvm-hyperv.c */
bool kvm_x86_hyperv_init(X86Cpu *cpu, Error **errp); /* before its registers are asked for */
KvmNext kvm_x86_hyperv_exit(X86Cpu *cpu);
Json *kvm_x86_crash_info(Vcpu *v);
/* kvm-debug.c */
void kvm_x86_debug_init(X86Cpu *cpu);
void kvm_x86_debug_fini(X86Cpu *cpu);
bool kvm_x86_debug_point(Machine *m, const DebugPoint *p, bool add, Error **errp);
void kvm_x86_debug_running(Machine *m, bool running); /* main loop, every vCPU parked */
bool kvm_x86_debugged_in_software(const X86Cpu *cpu);
bool kvm_x86_push_debug(X86Cpu *cpu, Error **errp);
bool kvm_x86_planted_at(X86Cpu *cpu, uint64_t pc); /* a breakpoint is hit, and noted */
bool kvm_x86_pass_alias(X86Cpu *cpu, uint64_t pc, KvmNext *next, VcpuExit *out);
bool kvm_x86_step_planted(X86Cpu *cpu, KvmNext *next, VcpuExit *out); /* a step over an INT3 of ours */
KvmNext kvm_x86_debug_exit(X86Cpu *cpu, VcpuExit *out);
/* kvm-complete.c */
bool kvm_x86_complete_init(X86Cpu *cpu, Error **errp);
void kvm_x86_complete_fini(X86Cpu *cpu);
void kvm_x86_complete_describe(const X86Kvm *k, GString *out); /* any thread: how many, and of what kinds */
/* KVM cannot run this state, but the interpreter can (system-management mode, A20 masked, paging it lacks).
 */
const char *kvm_x86_needs_software(const X86Cpu *cpu);
KvmNext kvm_x86_run_software(X86Cpu *cpu, uint64_t insns, VcpuExit *out);
KvmNext kvm_x86_complete(X86Cpu *cpu, VcpuExit *out); /* after KVM_INTERNAL_ERROR_EMULATION */

/* Fails with the name of the ioctl and why. */
static inline bool kvm_x86_failed(const X86Cpu *cpu, const char *what, int r, Error **errp)
{
    return error_set_errno(errp, -r, "vCPU %u: %s failed", cpu->vcpu.index, what);
}

/* The argument of KVM_GET_MSRS and KVM_SET_MSRS for one register. */
typedef struct KvmOneMsr {
    uint32_t n, pad;
    struct kvm_msr_entry e;
} KvmOneMsr;
_Static_assert(offsetof(KvmOneMsr, e) == offsetof(struct kvm_msrs, entries), "as the kernel lays it out");
static inline KvmOneMsr kvm_x86_one_msr(uint32_t index)
{
    return (KvmOneMsr){ .n = 1, .e.index = index };
}

extern const KvmTargetOps x86_kvm_ops;

#endif

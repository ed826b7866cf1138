/* SPDX-License-Identifier: MIT
 * rhea/accel/kvm.h - what the KVM accelerator asks of a guest architecture (TargetOps.kvm), and gives it.
 *
 * The accelerator owns descriptors, memory slots, threads and the run loop; the target owns register classes,
 * events and the exits that are its own. The rules are in docs/devel/kvm.md. Threads: the vCPU's own thread
 * (or any while it is parked) unless said otherwise.
 */
#ifndef RHEA_ACCEL_KVM_H
#define RHEA_ACCEL_KVM_H

#include "rhea/system/accel.h"

struct kvm_run;

/* Where interrupt controllers are emulated. SPLIT: local APICs in the kernel, 8259s, I/O APIC and PIT here.
 */
typedef enum KvmIrqchip { IRQCHIP_OFF, IRQCHIP_SPLIT, IRQCHIP_ON } KvmIrqchip;

typedef enum KvmNext {
    KVM_NEXT_ENTER, /* enter the guest */
    KVM_NEXT_AGAIN, /* look at requests and events again first */
    KVM_NEXT_LEAVE, /* leave run() with *out */
} KvmNext;

typedef struct KvmTargetOps {
    bool (*machine_init)(Machine *m, Error **errp); /* main loop: the VM exists, no vCPU yet */
    bool (*vcpu_init)(Vcpu *cpu,
                      Error **errp); /* main loop: KVM's vCPU exists, boards have not seen it yet */
    void (*vcpu_fini)(Vcpu *cpu);
    bool (*pull)(Vcpu *cpu, Error **errp); /* every register class into the CPU struct */
    bool (*push)(Vcpu *cpu, bool fresh, Error **errp); /* and back */
    bool (*can_push)(const Vcpu *cpu);     /* false: KVM cannot have this state, the interpreter runs it */
    KvmNext (*enter)(
        Vcpu *cpu,
        VcpuExit *out);      /* before KVM_RUN: events; KVM_NEXT_ENTER when there is nothing else to do */
    void (*left)(Vcpu *cpu); /* after KVM_RUN: what struct kvm_run tells */
    KvmNext (*exit)(Vcpu *cpu, VcpuExit *out);     /* an exit the accelerator does not know by itself */
    /* While a port access of KVM's is dispatched: general registers from KVM, or to it. False: reported. */
    bool (*port_regs)(Vcpu *cpu, uint64_t *gpr, bool set);
    /* Main loop, every vCPU parked: AccelOps.debug_point. May be NULL. */
    bool (*debug_point)(Machine *m, const DebugPoint *p, bool add, Error **errp);
    /* Every vCPU parked: the machine begins to run, or stopped. */
    void (*debug_running)(Machine *m, bool running);
    void (*caches_drop)(Vcpu *cpu, unsigned what); /* any thread: TCG_FLUSH_* of what executes in software */
    void (*code_written)(Vcpu *cpu, RamBlock *ram, uint64_t off, uint64_t len); /* any thread */
    Json *(*crash_info)(Vcpu *cpu); /* what the guest told of its crash, for GUEST_PANICKED; NULL: nothing */
    void (*describe)(Vcpu *cpu, GString *out); /* any thread: statistics, indented by two */
} KvmTargetOps;

extern const AccelOps accel_kvm_ops;

/* Can KVM be used here? *errp: why not, and the cure. */
bool kvm_available(Error **errp);
/* Does this machine run on KVM? Any thread. */
bool kvm_used(const Machine *m);
KvmIrqchip kvm_irqchip(const Machine *m);
bool kvm_completes(const Machine *m); /* complete=on: instructions that KVM gives up on run in software */
uint64_t kvm_complete_limit(const Machine *m);
/* KVM_CHECK_EXTENSION on the VM: 0 is absent. */
int kvm_cap(const Machine *m, unsigned cap);
/* ioctl(2) on /dev/kvm, the VM, a vCPU; -errno when it fails. Repeats after EINTR. */
int kvm_sys_ioctl(const Machine *m, unsigned long request, void *arg);
int kvm_vm_ioctl(const Machine *m, unsigned long request, void *arg);
int kvm_vcpu_ioctl(const Vcpu *cpu, unsigned long request, void *arg);
/* KVM_ENABLE_CAP on the VM; -errno. */
int kvm_enable_cap(const Machine *m, unsigned cap, uint64_t arg);
/* A vCPU of a new VM, to try something on; the caller closes both. -1: none. */
int kvm_scratch_vcpu(const Machine *m, int *vm_fd);
/* Nanoseconds by which the stopped paravirtual clock is ahead of virtual time. */
int64_t kvm_clock_ahead(const Machine *m);
struct kvm_run *kvm_vcpu_run(const Vcpu *cpu);
/* Makes the CPU struct what counts: pulls unless it does already. What is changed there reaches KVM before
 * the next entry. False: reported, and the machine stops. */
bool kvm_own_state(Vcpu *cpu);
bool kvm_state_owned(const Vcpu *cpu); /* it does already: what KVM is told now, the next push undoes */
/* Tells why the vCPU cannot go on, with registers, and is the end of run(): returns KVM_NEXT_LEAVE. */
KvmNext kvm_give_up(Vcpu *cpu, VcpuExit *out, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* Host class, for tests and the default choice. A weaker one can do less. */
typedef enum KvmHost {
    KVM_HOST_NONE,     /* /dev/kvm cannot be used */
    KVM_HOST_EMULATED, /* it can, but this CPU offers no hardware virtualisation */
    KVM_HOST_HARDWARE,
} KvmHost;
/* A few file reads and CPUID. why (may be NULL): text of what is missing; g_free. */
KvmHost kvm_host_class(char **why);

#endif

/* SPDX-License-Identifier: MIT
 * target/x86/kvm-ops.c - the x86 half of the KVM accelerator: set-up of VM and vCPU, all register
 *   classes in order.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.36 (SET_TSS_ADDR), 4.41 (SET_IDENTITY_MAP_ADDR), 7.x
 *   (capabilities).
 * Does not model: -
 * Threads: as rhea/accel/kvm.h says for each operation.
 */
#include "kvm.h"
#include "rhea/util/log.h"
#include "t0.h"

#include <string.h>

#ifndef KVM_CAP_DISABLE_QUIRKS2
#define KVM_CAP_DISABLE_QUIRKS2 213
#endif

/* Four pages below the firmware that Intel CPUs without unrestricted guests need for real mode. */
enum { IDENTITY_MAP = 0xfeffc000, TSS_PAGES = 0xfeffd000 };

/* -overcommit cpu-pm=on. */
static bool keep_idle_inside(Machine *m, Error **errp)
{
    uint64_t can = (uint64_t)kvm_cap(m, KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_VALID_EXITS;
    if (!(can & KVM_X86_DISABLE_EXITS_HLT) || kvm_enable_cap(m, KVM_CAP_X86_DISABLE_EXITS, can) < 0) {
        error_set(errp, "-overcommit cpu-pm=on: this host's KVM cannot leave idle CPUs in the guest");
        error_hint(errp, "use cpu-pm=off");
        return false;
    }
    return true;
}

static bool machine_init(Machine *m, Error **errp)
{
    uint64_t map = IDENTITY_MAP;
    if (m->cpu_pm && !keep_idle_inside(m, errp)) {
        return false;
    }
    int r = kvm_vm_ioctl(m, KVM_SET_IDENTITY_MAP_ADDR, &map);
    if (r >= 0) {
        r = kvm_vm_ioctl(m, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS_PAGES);
    }
    if (r < 0) {
        return error_set_errno(errp, -r, "accelerator 'kvm': KVM_SET_TSS_ADDR failed");
    }
    /* Without these the machine works, too: older kernels do not have them. With the quirk KVM would rewrite
     * a guest's VMCALL or VMMCALL; where it emulates guests, it does so without end. */
    int quirks = kvm_cap(m, KVM_CAP_DISABLE_QUIRKS2);
    if (quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN) {
        kvm_enable_cap(m, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
    }
    if (kvm_cap(m, KVM_CAP_EXIT_ON_EMULATION_FAILURE)) {
        kvm_enable_cap(m, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
    }
    return true;
}

static bool vcpu_init(Vcpu *v, Error **errp)
{
    X86Cpu *cpu = x86_cpu(v);
    X86Kvm *k = cpu->kvm = g_new0(X86Kvm, 1);
    k->sregs2 = kvm_cap(v->machine, KVM_CAP_SREGS2) > 0;
    if (v->index) {
        k->no_paging32 = x86_cpu(v->machine->cpus[0])->kvm->no_paging32;
    } else { /* real virtualization has it: no need to ask */
        k->no_paging32 = kvm_host_class(NULL) != KVM_HOST_HARDWARE && !kvm_x86_probe_paging32(v->machine);
    }
    kvm_x86_know_shown(cpu);
    kvm_x86_debug_init(cpu);
    return kvm_x86_fpu_init(cpu, errp) && kvm_x86_hyperv_init(cpu, errp) && kvm_x86_msrs_init(cpu, errp) && kvm_x86_complete_init(cpu, errp);
}

void x86_kvm_reset(X86Cpu *cpu)
{
    if (cpu->kvm) {
        memset(&cpu->kvm->events, 0, sizeof(cpu->kvm->events));
    }
}

void x86_kvm_pre_save(X86Cpu *cpu)
{
    if (cpu->kvm && cpu->vcpu.index == 0) {
        kvm_x86_align_tsc(cpu->vcpu.machine);
    }
}

static void vcpu_fini(Vcpu *v)
{
    X86Cpu *cpu = x86_cpu(v);
    X86Kvm *k = cpu->kvm;
    if (!k) {
        return;
    }
    if (v->machine->moving && v->index == 0) { /* while there is somebody to ask */
        kvm_x86_align_tsc(v->machine);
        kvm_x86_tsc_stays(v->machine, kvm_clock_ahead(v->machine));
    }
    kvm_x86_debug_fini(cpu);
    kvm_x86_complete_fini(cpu);
    g_free(k->xsave);
    g_free(k->msrs);
    g_free(k->msr_buffer);
    g_free(k);
    cpu->kvm = NULL;
}

static bool pull(Vcpu *v, Error **errp)
{
    X86Cpu *cpu = x86_cpu(v);
    if (!kvm_x86_settle(cpu, errp) || !kvm_x86_pull_regs(cpu, errp) || !kvm_x86_pull_fpu(cpu, errp) || !kvm_x86_pull_msrs(cpu, errp) ||
        !kvm_x86_pull_lapic(cpu, errp) || !kvm_x86_pull_events(cpu, errp)) {
        return false;
    }
    cpu->kvm->window_known = false; /* an interrupt given now would be undone by the push */
    x86_update_mode(cpu);
    return true;
}

static bool push(Vcpu *v, bool fresh, Error **errp)
{
    X86Cpu *cpu = x86_cpu(v);
    cpu->kvm->window_known = false;
    return (cpu->kvm->cpuid_told || kvm_x86_tell_cpuid(cpu, errp)) && kvm_x86_push_regs(cpu, errp) &&
           kvm_x86_push_fpu(cpu, errp) && kvm_x86_push_msrs(cpu, errp) &&
           /* An interrupt that came since the pull would be lost by writing a local APIC as it was then. */
           (!fresh || kvm_x86_push_lapic(cpu, errp)) && kvm_x86_push_events(cpu, fresh, errp) &&
           kvm_x86_push_debug(cpu, errp);
}

static bool can_push(const Vcpu *v)
{
    return !kvm_x86_needs_software((const X86Cpu *)v);
}

static void caches_drop(Vcpu *v, unsigned what)
{
    if (x86_cpu(v)->t0) {
        x86_tcg_ops.request_flush(v, what);
    }
}

static void code_written(Vcpu *v, RamBlock *ram, uint64_t off, uint64_t len)
{
    if (x86_cpu(v)->t0) {
        x86_tcg_ops.code_written(v, ram, off, len);
    }
}

static void describe(Vcpu *v, GString *out)
{
    const X86Kvm *k = x86_cpu(v)->kvm;
    if (k) {
        kvm_x86_complete_describe(k, out);
    }
}

const KvmTargetOps x86_kvm_ops = {
    .machine_init = machine_init,
    .vcpu_init = vcpu_init,
    .vcpu_fini = vcpu_fini,
    .pull = pull,
    .push = push,
    .can_push = can_push,
    .enter = kvm_x86_enter,
    .left = kvm_x86_left,
    .exit = kvm_x86_exit,
    .port_regs = kvm_x86_port_regs,
    .debug_point = kvm_x86_debug_point,
    .debug_running = kvm_x86_debug_running,
    .caches_drop = caches_drop,
    .code_written = code_written,
    .crash_info = kvm_x86_crash_info,
    .describe = describe,
};

/* SPDX-License-Identifier: MIT
 * target/x86/kvm-hyperv.c - Hyper-V enlightenments as KVM has them: what this host's offers, what a vCPU needs to be told,
 *   and the exits.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.118 (GET_SUPPORTED_HV_CPUID), 5 (KVM_EXIT_HYPERV), 6.5 (HYPERV_SYNIC),
 *   8.x (HYPERV_VP_INDEX); Hyper-V TLFS 6.0b, appendix B (status codes).
 * Does not model: VMBus. Pages of the synthetic interrupt controller are the guest's own memory where it names them,
 *   cleared by KVM (KVM_CAP_HYPERV_SYNIC, not SYNIC2) as fresh overlay pages would be.
 * Threads: main loop; exits on the vCPU's thread.
 */
#include "hyperv.h"
#include "kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LEAVES_MAX = 64 };
enum { MSR_VP_INDEX = 0x40000002, MSR_CRASH_CTL = 0x40000105 };
#define CRASH_NOTIFY (UINT64_C(1) << 63)
enum { HCALL_POST_MESSAGE = 0x5c, HCALL_SIGNAL_EVENT = 0x5d };
enum { STATUS_INVALID_HYPERCALL_CODE = 2, STATUS_INVALID_CONNECTION_ID = 0x12 };

/* Kernels before 5.11 tell a vCPU only. */
static int ask(const Machine *m, struct kvm_cpuid2 *c)
{
    if (kvm_cap(m, KVM_CAP_SYS_HYPERV_CPUID)) {
        return kvm_sys_ioctl(m, KVM_GET_SUPPORTED_HV_CPUID, c);
    }
    int vm = -1, fd = kvm_scratch_vcpu(m, &vm);
    int r = fd < 0 ? -ENOTTY : ioctl(fd, KVM_GET_SUPPORTED_HV_CPUID, c) < 0 ? -errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    if (vm >= 0) {
        close(vm);
    }
    return r;
}

bool x86_kvm_hyperv(const Machine *m, X86HvHost *host, Error **errp)
{
    g_autofree struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + LEAVES_MAX * sizeof(c->entries[0]));
    *host = (X86HvHost){ .lapic = kvm_irqchip(m) != IRQCHIP_OFF };
    c->nent = LEAVES_MAX;
    if (!kvm_cap(m, KVM_CAP_HYPERV_CPUID) || ask(m, c) < 0) {
        bool some = kvm_cap(m, KVM_CAP_HYPERV) > 0;
        error_set(errp, "-cpu: Hyper-V enlightenments are not there: this host's KVM %s",
                  some ? "does not tell which it has (KVM_CAP_HYPERV_CPUID)" : "has none (KVM_CAP_HYPERV)");
        error_hint(errp, "leave them out%s", some ? ", or use Linux 4.20 or later" : ": Windows runs without");
        return false;
    }
    for (uint32_t i = 0; i < MIN(c->nent, (uint32_t)LEAVES_MAX); i++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[i];
        uint32_t leaf = e->function - 0x40000000;
        if (leaf < HV_LEAVES) {
            memcpy(host->leaf[leaf], (uint32_t[4]){ e->eax, e->ebx, e->ecx, e->edx }, 16);
        }
    }
    return true;
}

static int enable(X86Cpu *cpu, uint32_t cap)
{
    struct kvm_enable_cap c = { .cap = cap };
    return kvm_vcpu_ioctl(&cpu->vcpu, KVM_ENABLE_CAP, &c);
}

static bool set_msr(X86Cpu *cpu, uint32_t index, uint64_t val)
{
    KvmOneMsr one = kvm_x86_one_msr(index);
    one.e.data = val;
    return kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_MSRS, &one) == 1;
}

/* Guests take it for the number of the CPU in masks of processors. */
static bool number_it(X86Cpu *cpu, Error **errp)
{
    KvmOneMsr one = kvm_x86_one_msr(MSR_VP_INDEX);
    if (set_msr(cpu, MSR_VP_INDEX, cpu->vcpu.index) ||
        (kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_MSRS, &one) == 1 && one.e.data == cpu->vcpu.index)) {
        return true;
    }
    error_set(errp, "-cpu hv-vpindex: KVM does not take %u for this vCPU's number", cpu->vcpu.index);
    error_hint(errp, "leave it out, or use Linux 4.15 or later");
    return false;
}

bool kvm_x86_hyperv_init(X86Cpu *cpu, Error **errp)
{
    const X86Hyperv *hv = &cpu->model->hv;
    int r;
    if (!x86_hyperv_on(hv)) {
        return true;
    }
    if (x86_hyperv_has(hv, HV_VPINDEX) && !number_it(cpu, errp)) {
        return false;
    }
    if (x86_hyperv_has(hv, HV_SYNIC) && (r = enable(cpu, KVM_CAP_HYPERV_SYNIC)) < 0) {
        return kvm_x86_failed(cpu, "-cpu hv-synic: KVM_CAP_HYPERV_SYNIC", r, errp);
    }
    if (hv->enforce_cpuid && (r = enable(cpu, KVM_CAP_HYPERV_ENFORCE_CPUID)) < 0) {
        kvm_x86_failed(cpu, "-cpu hv-enforce-cpuid: KVM_CAP_HYPERV_ENFORCE_CPUID", r, errp);
        error_hint(errp, "leave it out, or use Linux 5.14 or later");
        return false;
    }
    /* What the guest reads there says that a crash can be told. */
    return !x86_hyperv_has(hv, HV_CRASH) || cpu->vcpu.index || set_msr(cpu, MSR_CRASH_CTL, CRASH_NOTIFY) ||
           error_set(errp, "-cpu hv-crash: KVM does not take the register for it");
}

/* No VMBus: whoever posts a message or signals an event is told that nobody is connected. */
KvmNext kvm_x86_hyperv_exit(X86Cpu *cpu)
{
    struct kvm_hyperv_exit *x = &kvm_vcpu_run(&cpu->vcpu)->hyperv;
    if (x->type == KVM_EXIT_HYPERV_HCALL) {
        uint16_t code = (uint16_t)x->u.hcall.input;
        x->u.hcall.result = code == HCALL_POST_MESSAGE || code == HCALL_SIGNAL_EVENT ? STATUS_INVALID_CONNECTION_ID
                                                                                     : STATUS_INVALID_HYPERCALL_CODE;
    }
    return KVM_NEXT_AGAIN; /* pages of the interrupt controller moved: they are where the guest says */
}

/* KVM_SYSTEM_EVENT_CRASH: the five numbers that Windows calls the bug check's. NULL: it has no such registers. */
Json *kvm_x86_crash_info(Vcpu *v)
{
    static const char *const names[] = { "arg1", "arg2", "arg3", "arg4", "arg5" };
    X86Cpu *cpu = x86_cpu(v);
    if (!x86_hyperv_has(&cpu->model->hv, HV_CRASH)) {
        return NULL;
    }
    Json *info = json_put(json_new_object(), "type", json_new_string("hyper-v"));
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        KvmOneMsr one = kvm_x86_one_msr(0x40000100 + i);
        bool got = kvm_vcpu_ioctl(v, KVM_GET_MSRS, &one) == 1;
        json_put(info, names[i], json_new_uint(got ? one.e.data : 0));
    }
    return info;
}

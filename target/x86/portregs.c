/* SPDX-License-Identifier: MIT
 * target/x86/portregs.c - general registers while a port is accessed.
 *
 * Threads: the vCPU's own, within its access. The translator and the interpreter have the registers in the CPU
 * struct before each IN and OUT and take them from there afterwards. KVM has them itself while its exit
 * is dealt with: they are read and written there, and KVM ends the instruction at the next entry.
 */
#include "rhea/target/x86/portregs.h"
#include "config.h"
#include "rhea/target/x86/cpu.h"

#include <string.h>
#ifdef HAVE_KVM
#include "rhea/accel/kvm.h"

/* KVM's instruction, not one that the interpreter completes for it. */
static const KvmTargetOps *kvm_has_them(const Vcpu *v)
{
    return ((const X86Cpu *)v)->kvm && !kvm_state_owned(v) ? v->target->kvm : NULL;
}
#endif

bool x86_port_regs_get(uint64_t gpr[16])
{
    Vcpu *v = vcpu_current();
    if (!v) {
        return false;
    }
#ifdef HAVE_KVM
    const KvmTargetOps *kvm = kvm_has_them(v);
    if (kvm) {
        return kvm->port_regs(v, gpr, false);
    }
#endif
    memcpy(gpr, ((X86Cpu *)v)->gpr, 16 * sizeof(gpr[0]));
    return true;
}

void x86_port_regs_set(uint64_t gpr[16])
{
    Vcpu *v = vcpu_current();
#ifdef HAVE_KVM
    const KvmTargetOps *kvm = kvm_has_them(v);
    if (kvm) {
        kvm->port_regs(v, gpr, true);
        return;
    }
#endif
    memcpy(((X86Cpu *)v)->gpr, gpr, 16 * sizeof(gpr[0]));
}

/* SPDX-License-Identifier: MIT
 * target/x86/vmstate.c - saved state of an x86 CPU.
 * Models:  every register a guest can see; the lazy flags are computed before saving.
 * Does not model: caches of translations (dropped on load).
 * Threads: any, while the vCPU is parked.
 */
#include "sysint.h"
#include "cpuid.h"
#include "print.h"

#define VM_U64_N(T, f, n)                                                                                    \
    {                                                                                                        \
        .name = #f, .kind = VM_U64_, .offset = TYPED_OFFSET(T, f[0], uint64_t), .count = (n),                \
        .max = UINT64_MAX                                                                                    \
    }

static const VmField seg_fields[] = {
    VM_U64(X86Seg, base),
    VM_U32(X86Seg, limit),
    VM_U32_MAX(X86Seg, attr, 0x1f0ff),
    VM_U16(X86Seg, sel),
    { 0 },
};
static const VmState seg_state = { .name = "x86-seg", .version = 1, .oldest = 1, .fields = seg_fields };
static const VmField table_fields[] = { VM_U64(X86Table, base), VM_U16(X86Table, limit), { 0 } };
static const VmState table_state = { .name = "x86-table", .version = 1, .oldest = 1, .fields = table_fields };

typedef __typeof__(((X86Fpu *)0)->r[0]) FpuReg;
static const VmField fpu_reg_fields[] = { VM_U64(FpuReg, sig), VM_U16(FpuReg, se), { 0 } };
static const VmState fpu_reg_state = {
    .name = "x86-fpu-reg", .version = 1, .oldest = 1, .fields = fpu_reg_fields
};
static const VmField fpu_fields[] = {
    VM_STRUCT_ARRAY(X86Fpu, r, fpu_reg_state),
    VM_U16(X86Fpu, cw),
    VM_U16(X86Fpu, sw),
    VM_U8_MAX(X86Fpu, top, 7),
    VM_U8(X86Fpu, tags),
    VM_U16_MAX(X86Fpu, fop, 0x7ff),
    VM_U16(X86Fpu, fcs),
    VM_U16(X86Fpu, fds),
    VM_U64(X86Fpu, fip),
    VM_U64(X86Fpu, fdp),
    { 0 },
};
static const VmState fpu_state = { .name = "x86-fpu", .version = 1, .oldest = 1, .fields = fpu_fields };
static const VmField vec_fields[] = { VM_U64_ARRAY(X86Vec, q), { 0 } };
static const VmState vec_state = { .name = "x86-vec", .version = 1, .oldest = 1, .fields = vec_fields };

#define HELD(f, k, m) { .name = "held." #f, .kind = (k), .offset = offsetof(X86Cpu, held.f), .max = (m), .since = 2 }

static const VmField cpu_fields[] = {
    VM_U64_N(X86Cpu, gpr, 16),
    VM_U64(X86Cpu, rip),
    VM_U64(X86Cpu, cc_src),
    VM_U32(X86Cpu, eflags),
    VM_U8_MAX(X86Cpu, cpl, 3),
    VM_BOOL(X86Cpu, irq_shadow),
    VM_BOOL(X86Cpu, nmi_blocked),
    VM_STRUCT_ARRAY(X86Cpu, seg, seg_state),
    VM_STRUCT(X86Cpu, ldt, seg_state),
    VM_STRUCT(X86Cpu, tr, seg_state),
    VM_STRUCT(X86Cpu, gdt, table_state),
    VM_STRUCT(X86Cpu, idt, table_state),
    VM_U64(X86Cpu, cr0),
    VM_U64(X86Cpu, cr2),
    VM_U64(X86Cpu, cr3),
    VM_U64(X86Cpu, cr4),
    VM_U64(X86Cpu, cr8_shadow),
    VM_U64(X86Cpu, xcr0),
    VM_U64(X86Cpu, xss),
    VM_U64_ARRAY(X86Cpu, dr),
    VM_U64(X86Cpu, efer),
    VM_U64(X86Cpu, star),
    VM_U64(X86Cpu, lstar),
    VM_U64(X86Cpu, cstar),
    VM_U64(X86Cpu, fmask),
    VM_U64(X86Cpu, kernel_gs_base),
    VM_U64(X86Cpu, sysenter_cs),
    VM_U64(X86Cpu, sysenter_esp),
    VM_U64(X86Cpu, sysenter_eip),
    VM_U64(X86Cpu, pat),
    VM_U64(X86Cpu, tsc_offset),
    VM_U64(X86Cpu, tsc_adjust),
    VM_U64(X86Cpu, tsc_aux),
    VM_U64(X86Cpu, misc_enable),
    VM_U64(X86Cpu, spec_ctrl),
    VM_U64(X86Cpu, mtrr_def),
    VM_U64_ARRAY(X86Cpu, mtrr_fixed),
    VM_U64_ARRAY(X86Cpu, mtrr_base),
    VM_U64_ARRAY(X86Cpu, mtrr_mask),
    VM_U64(X86Cpu, mcg_cap),
    VM_U64(X86Cpu, mcg_status),
    VM_U64(X86Cpu, mcg_ctl),
    VM_U64_ARRAY(X86Cpu, mc_bank),
    VM_U64(X86Cpu, smbase),
    VM_U32(X86Cpu, smi_count),
    VM_U64(X86Cpu, pv_wall),
    VM_U64(X86Cpu, pv_time),
    VM_U64(X86Cpu, feature_control),
    VM_U64(X86Cpu, bios_sign_id),
    VM_U64_ARRAY(X86Cpu, pdpte),
    VM_U32(X86Cpu, pkru),
    VM_U32(X86Cpu, pkrs),
    VM_STRUCT(X86Cpu, fpu, fpu_state),
    VM_STRUCT_ARRAY(X86Cpu, xmm, vec_state),
    VM_U32(X86Cpu, mxcsr),
    VM_U64(X86Cpu, db_hits),
    VM_U32_MAX(X86Cpu, sipi_vector, 255),
    VM_BOOL(X86Cpu, wait_sipi),
    VM_BOOL(X86Cpu, in_smm),
    VM_BOOL(X86Cpu, a20_gate),
    VM_BOOL(X86Cpu, vcpu.halted),
    VM_U32_MAX(X86Cpu, vcpu.irq_pending, 0xff),
    { .name = "pv_steal", .kind = VM_U64_, .offset = offsetof(X86Cpu, pv_steal), .max = UINT64_MAX, .since = 2 },
    HELD(kind, VM_U8_, X86_HELD_INTERRUPT),
    HELD(vector, VM_U8_, UINT8_MAX),
    HELD(err, VM_U32_, UINT32_MAX),
    { .name = "hv", .kind = VM_U64_, .offset = TYPED_OFFSET(X86Cpu, hv[0], uint64_t),
      .count = G_N_ELEMENTS(((X86Cpu *)NULL)->hv), .max = UINT64_MAX, .since = 3 },
    { 0 },
};

static void cpu_pre_save(void *opaque)
{
    X86Cpu *cpu = opaque;
    x86_set_eflags_arith(cpu, x86_arith_flags(cpu)); /* leaves them in cc_src */
#ifdef HAVE_KVM
    x86_kvm_pre_save(cpu);
#endif
}

/* Contradictions no guest could have produced would confuse the mode word. */
static bool cpu_post_load(void *opaque, Error **errp)
{
    X86Cpu *cpu = opaque;
    bool pg = cpu->cr0 & CR0_PG, pe = cpu->cr0 & CR0_PE, lma = cpu->efer & EFER_LMA;
    if ((pg && !pe) || lma != (pg && (cpu->efer & EFER_LME)) || (lma && !(cpu->cr4 & CR4_PAE))) {
        return error_set(errp, "CPU %u: CR0, CR4 and EFER contradict each other", cpu->vcpu.index);
    }
    if (cpu->cr4 & ~x86_cr4_allowed(cpu)) {
        return error_set(errp, "CPU %u: CR4 is 0x%" PRIx64 ": bits that this CPU model does not have", cpu->vcpu.index,
                         cpu->cr4);
    }
    if ((cpu->in_smm && cpu->no_smm) || cpu->smbase >> 32 || !(cpu->xcr0 & 1) || (cpu->xcr0 & 6) == 4 ||
        cpu->xcr0 & ~x86_xcr0_allowed(cpu) || cpu->xss) {
        return error_set(errp, "CPU %u: system-management mode or extended state that this CPU does not have",
                         cpu->vcpu.index);
    }
    const X86HvMsr *hv;
    for (unsigned i = 0; (hv = x86_hyperv_msr(i)); i++) {
        if (cpu->hv[i] && !x86_hyperv_msr_there(&cpu->model->hv, hv)) {
            return error_set(errp, "CPU %u: Hyper-V register 0x%x is set, which needs an enlightenment that is off",
                             cpu->vcpu.index, hv->index);
        }
    }
    if (cpu->mxcsr & ~0xffffu) {
        return error_set(errp, "CPU %u: reserved bits set in MXCSR", cpu->vcpu.index);
    }
    if (cpu->held.kind == X86_HELD_EXCEPTION && cpu->held.vector > 31) {
        return error_set(errp, "CPU %u: exception %u does not exist", cpu->vcpu.index, cpu->held.vector);
    }
    uint32_t arith = (uint32_t)cpu->cc_src & FL_ARITH;
    x86_set_eflags_arith(cpu, arith);
    cpu->eflags = (cpu->eflags & 0x3f7702) | 2;
    cpu->cur = NULL;
    cpu->exc_in_flight = false;
    cpu->sys->n_chain = 0;
    cpu->sys->monitor_armed = cpu->sys->mwait_any = false;
#ifdef HAVE_KVM
    x86_kvm_reset(cpu);
#endif
    x86_update_mode(cpu);
    if (cpu->tlb) {
        x86_tlb_flush(cpu, false);
        x86_units_flush(cpu);
    }
    return true;
}

const VmState x86_cpu_vmstate = { .name = "x86-cpu",
                                  .version = 3,
                                  .oldest = 1,
                                  .fields = cpu_fields,
                                  .pre_save = cpu_pre_save,
                                  .post_load = cpu_post_load };

/* SPDX-License-Identifier: MIT
 * target/x86/target.c - TargetOps of x86-64: set-up of a vCPU and the doors to the other files.
 * Models:  APIC id layout of Intel SDM volume 3 8.9.1.
 * Does not model: -
 * Threads: init and fini on the main loop, the rest as target.h says.
 */
#include "debug.h"
#include "gdb.h"
#include "sysint.h"
#include "t0.h"
#include "cpuid.h"
#include "print.h"
#ifdef HAVE_KVM
#include "kvm.h"
#endif

static unsigned field_bits(unsigned n)
{
    unsigned b = 0;
    while ((1u << b) < n) {
        b++;
    }
    return b;
}

/* Package, die, core, thread fields, each wide enough for its count. */
uint32_t x86_apic_id(const Machine *m, unsigned index)
{
    unsigned t = MAX(m->threads, 1u), c = MAX(m->cores, 1u), d = MAX(m->dies, 1u);
    unsigned tb = field_bits(t), cb = field_bits(c), db = field_bits(d);
    return index % t | (index / t % c) << tb | (index / t / c % d) << (tb + cb) |
           (index / t / c / d) << (tb + cb + db);
}

static bool target_vcpu_init(Vcpu *v, Error **errp)
{
    X86Cpu *cpu = x86_cpu(v);
    Machine *m = v->machine;
    if (!m->cpu_model &&
        !x86_model_parse(m, m->cpu_text ? m->cpu_text : x86_64_target_ops.default_cpu, errp)) {
        return false;
    }
    cpu->model = m->cpu_model;
    cpu->sys = g_new0(struct X86SysState, 1);
    cpu->phys_bits = cpu->model->phys_bits;
    cpu->tsc_hz = cpu->model->tsc_hz;
    cpu->apic_id = x86_apic_id(m, v->index);
    cpu->is_bsp = v->index == 0;
    cpu->a20_gate = true;
    x86_cpu_reset(cpu, RESET_COLD);
    return true;
}

static void target_vcpu_fini(Vcpu *v)
{
    X86Cpu *cpu = x86_cpu(v);
    g_free(cpu->sys);
    cpu->sys = NULL;
}

static void target_reset(Vcpu *v, ResetKind kind)
{
    X86Cpu *cpu = x86_cpu(v);
    x86_cpu_reset(cpu, kind);
    if (cpu->t0) {
        x86_units_flush(cpu);
    }
}

static bool target_debug_translate(Vcpu *v, uint64_t va, hwaddr *pa)
{
    return x86_translate_debug(x86_cpu(v), va, pa);
}

static uint64_t target_pc(const Vcpu *v)
{
    const X86Cpu *cpu = (const X86Cpu *)v;
    uint64_t pc = cpu->rip + cpu->seg_base[SEG_CS];
    return in_code64(cpu) ? pc : (uint32_t)pc;
}

/* The clock page that KVM wrote last goes on by KVM's measure of the TSC. */
static void target_accel_changed(Vcpu *v)
{
    X86Cpu *cpu = x86_cpu(v);
    if (!cpu->kvm) {
        x86_pvclock_update(cpu);
    }
}

const TargetOps x86_64_target_ops = {
    .name = "x86_64",
    .state_size = sizeof(X86Cpu),
    .vmstate = &x86_cpu_vmstate,
    .default_cpu = "qemu64",
    .model_parse = x86_model_parse,
    .model_free = x86_model_free,
    .model_help = x86_model_help,
    .model_describe = x86_model_describe,
    .vcpu_init = target_vcpu_init,
    .vcpu_fini = target_vcpu_fini,
    .reset = target_reset,
    .irq_ready = x86_irq_ready,
    .print_regs = x86_print_regs,
    .print_mem = x86_print_mem,
    .print_tlb = x86_print_tlb,
    .debug_translate = target_debug_translate,
    .pc = target_pc,
    .get_reg = x86_get_reg,
    .disassemble = x86_disassemble,
    .disassembler_there = x86_disas_works,
    .accel_fits = x86_model_fits,
    .accel_changed = target_accel_changed,
    .gdb = &x86_gdb_ops,
    .tcg = &x86_tcg_ops,
#ifdef HAVE_KVM
    .kvm = &x86_kvm_ops,
#endif
};

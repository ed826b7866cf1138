/* SPDX-License-Identifier: MIT
 * target/x86/kvm-complete.c - instructions and states that KVM gives up on run in the interpreter, on
 *   the same X86Cpu.
 * Models: an instruction KVM cannot emulate (KVM_INTERNAL_ERROR_EMULATION); system-management mode
 *   (KVM's own is not used); masked A20, which KVM does not know; paged 32-bit code where KVM lacks it.
 * Does not model: interrupts from local APICs in the kernel while code runs here: they wait until KVM
 *   goes on.
 * Threads: the vCPU's own. The interpreter keeps nothing between its runs: guests write memory without
 *   its knowledge.
 */
#include "kvm.h"
#include "decode.h"
#include "rhea/util/log.h"
#include "t0.h"

#include <string.h>

enum {
    SLICE = 20000, /* instructions before requests and the reason to be here are looked at again */
    SMM_SLICE = 256,
    BURST_MAX = 4096, /* most instructions after one that KVM gave up on */
    BURST_NEAR = 64,  /* failures with fewer entries in between are near each other */
    MANY = 100000,    /* completions worth a warning */
};

bool kvm_x86_complete_init(X86Cpu *cpu, Error **errp)
{
    X86Kvm *k = cpu->kvm;
    if (!x86_tcg_ops.vcpu_init(&cpu->vcpu, errp)) {
        return false;
    }
    k->burst = 1;
    k->row_said = g_new0(bool, x86_n_rows);
    k->row_count = g_new0(uint64_t, x86_n_rows);
    return true;
}

void kvm_x86_complete_fini(X86Cpu *cpu)
{
    if (cpu->t0) {
        x86_tcg_ops.vcpu_fini(&cpu->vcpu);
    }
    g_clear_pointer(&cpu->kvm->row_said, g_free);
    g_clear_pointer(&cpu->kvm->row_count, g_free);
}

const char *kvm_x86_needs_software(const X86Cpu *cpu)
{
    if (cpu->in_smm) {
        return "system-management mode";
    }
    if (G_UNLIKELY(!__atomic_load_n(&cpu->a20_gate, __ATOMIC_ACQUIRE))) {
        return "masked address line 20";
    }
    if (cpu->kvm->no_paging32 && (cpu->cr0 & CR0_PG) && !(cpu->efer & EFER_LMA)) {
        return "32-bit paging";
    }
    return kvm_x86_debugged_in_software(cpu) ? "a debugger" : NULL;
}

/* insns: so many, or (0) as long as KVM cannot. */
KvmNext kvm_x86_run_software(X86Cpu *cpu, uint64_t insns, VcpuExit *out)
{
    Vcpu *v = &cpu->vcpu;
    X86Kvm *k = cpu->kvm;
    if (!kvm_own_state(v)) {
        out->why = EXIT_ERROR;
        return KVM_NEXT_LEAVE;
    }
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, false);
    x86_units_flush(cpu);
    uint64_t start = cpu->insn_count;
    unsigned budget = v->budget;
    if (insns == 1) {
        cpu->insn_limit = start + 1; /* a unit of one instruction is decoded, not sixty-four */
    } else {
        v->budget = insns ? (unsigned)insns : cpu->in_smm ? SMM_SLICE : SLICE;
    }
    VcpuExit e = x86_tcg_ops.run(v);
    cpu->insn_limit = 0;
    v->budget = budget;
    k->software_insns += cpu->insn_count - start;
    switch (e.why) {
    case EXIT_HALT: return KVM_NEXT_AGAIN;
    case EXIT_SHUTDOWN: *out = e; return KVM_NEXT_LEAVE;
    case EXIT_DEBUG:
        if (v->debug.hit) { /* else the end of insn_limit */
            *out = e;
            return KVM_NEXT_LEAVE;
        }
        out->why = EXIT_KICKED;
        return KVM_NEXT_LEAVE;
    case EXIT_KICKED: /* the slice's end, or a request, which the interpreter has taken: the core looks at it
                       */
    default: out->why = EXIT_KICKED; return KVM_NEXT_LEAVE;
    }
}

/* The row of insn.def at RIP; 0: it cannot be told. */
static unsigned row_at_rip(X86Cpu *cpu, uint64_t *lin)
{
    uint8_t code[X86_MAX_INSN];
    unsigned n = 0;
    X86Insn insn;
    *lin = x86_64_target_ops.pc(&cpu->vcpu);
    while (n < sizeof(code)) {
        hwaddr pa;
        if (!x86_translate_debug(cpu, *lin + n, &pa)) {
            break;
        }
        as_access(&cpu->vcpu.machine->as_mem, pa, code + n, 1, false, (MemAttrs){ .debug = true });
        n++;
    }
    X86Features all = x86_all_features();
    return x86_decode(cpu->mode, &all, code, n, 0, &insn) == DEC_OK ? insn.row : 0;
}

void kvm_x86_complete_describe(const X86Kvm *k, GString *out)
{
    g_string_append_printf(out, "  completed in software %" PRIu64 " (%" PRIu64 " instructions)\n", k->completed,
                           k->software_insns);
    for (unsigned row = 0; k->row_count && row < x86_n_rows; row++) {
        uint64_t n = __atomic_load_n(&k->row_count[row], __ATOMIC_RELAXED);
        if (n) {
            g_string_append_printf(out, "    %-18s %" PRIu64 "\n", row ? x86_rows[row].name : "events and unknown", n);
        }
    }
}

/* Counted; told once for the machine: the first vCPU's table says whether. */
static void note_kind(X86Cpu *cpu)
{
    X86Kvm *said = x86_cpu(cpu->vcpu.machine->cpus[0])->kvm;
    uint64_t lin;
    unsigned row = row_at_rip(cpu, &lin);
    row = cpu->held.kind ? 0 : row;
    __atomic_store_n(&cpu->kvm->row_count[row], cpu->kvm->row_count[row] + 1, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&said->row_said[row], 1, __ATOMIC_RELAXED)) {
        return;
    }
    log_info("KVM gives up on %s at 0x%" PRIx64 ": such instructions run in software",
             row ? x86_rows[row].name : "an event", lin);
}

KvmNext kvm_x86_complete(X86Cpu *cpu, VcpuExit *out)
{
    Vcpu *v = &cpu->vcpu;
    X86Kvm *k = cpu->kvm;
    if (!kvm_own_state(v)) {
        out->why = EXIT_ERROR;
        return KVM_NEXT_LEAVE;
    }
    x86_update_mode(cpu);
    if (kvm_x86_planted_at(cpu, x86_64_target_ops.pc(v))) { /* our INT3 is what it gave up on */
        out->why = EXIT_DEBUG;
        return KVM_NEXT_LEAVE;
    }
    KvmNext next;
    if (v->machine->debug.n_breaks && kvm_x86_pass_alias(cpu, x86_64_target_ops.pc(v), &next, out)) {
        return next;
    }
    note_kind(cpu);
    k->completed++;
    uint64_t limit = kvm_complete_limit(v->machine);
    if (limit && k->completed > limit) {
        return kvm_give_up(v, out, "KVM gave up on more than %" PRIu64 " instructions (complete-limit)",
                           limit);
    }
    if (k->completed == MANY) {
        log_warn("vCPU %u: KVM gave up on %u instructions so far: this guest runs faster with -accel tcg",
                 v->index, MANY);
    }
    /* Where one comes, more do: stay longer each time, and return to single steps when they are far between.
     */
    bool near = k->completed > 1 && k->entries - k->last_completed < BURST_NEAR;
    k->burst = near ? MIN(2 * k->burst, (uint64_t)BURST_MAX) : 1;
    k->last_completed = k->entries;
    return kvm_x86_run_software(cpu, k->burst, out);
}

/* SPDX-License-Identifier: MIT
 * target/x86/kvm-regs.c - general, segment, control and debug registers between X86Cpu and KVM.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.11-4.12 (REGS), 4.13-4.14 (SREGS), 4.131-4.132
 *   (SREGS2: PDPTEs), 4.33-4.34 (DEBUGREGS).
 * Does not model: the interrupt bitmap of SREGS (events travel by VCPU_EVENTS).
 * Threads: the vCPU's own, or any while it is parked.
 */
#include "kvm.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* KVM's order of general registers is not the encoding's. */
static uint64_t *reg_slot(struct kvm_regs *r, unsigned n)
{
    __u64 *const slots[16] = { &r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp, &r->rsi, &r->rdi,
                               &r->r8,  &r->r9,  &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15 };
    return (uint64_t *)slots[n];
}

static struct kvm_segment seg_out(const X86Seg *s, int dpl)
{
    bool usable = !(s->attr & SA_UNUSABLE);
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->sel,
        .type = s->attr & SA_TYPE,
        .present = usable && s->attr & SA_P,
        .dpl = dpl >= 0 ? (uint8_t)dpl : (s->attr & SA_DPL) >> SA_DPL_SHIFT,
        .db = !!(s->attr & SA_DB),
        .s = !!(s->attr & SA_S),
        .l = !!(s->attr & SA_L),
        .g = !!(s->attr & SA_G),
        .avl = !!(s->attr & SA_AVL),
        .unusable = !usable,
    };
}

/* KVM forgets the attributes of a segment that is not there: none of them counts. SS keeps its DPL, which is
 * the CPL. */
static X86Seg seg_in(const struct kvm_segment *k)
{
    X86Seg s = { .base = k->base, .limit = k->limit, .sel = k->selector };
    if (k->unusable || !k->present) {
        s.attr = SA_UNUSABLE | (uint32_t)(k->dpl & 3) << SA_DPL_SHIFT;
        return s;
    }
    s.attr = (k->type & SA_TYPE) | (k->s ? SA_S : 0) | (uint32_t)(k->dpl & 3) << SA_DPL_SHIFT | SA_P |
             (k->avl ? SA_AVL : 0) | (k->l ? SA_L : 0) | (k->db ? SA_DB : 0) | (k->g ? SA_G : 0);
    return s;
}

/* SREGS and SREGS2 begin alike; both become the longer one. */
typedef struct Sregs {
    struct kvm_sregs2 s;
} Sregs;
_Static_assert(offsetof(struct kvm_sregs, apic_base) == offsetof(struct kvm_sregs2, apic_base),
               "common part");
enum { SREGS_COMMON = offsetof(struct kvm_sregs, apic_base) + 8 };

static int sregs_get(X86Cpu *cpu, Sregs *out)
{
    memset(out, 0, sizeof(*out));
    if (cpu->kvm->sregs2) {
        return kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_SREGS2, &out->s);
    }
    struct kvm_sregs old;
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_SREGS, &old);
    memcpy(&out->s, &old, SREGS_COMMON);
    return r;
}

static int sregs_set(X86Cpu *cpu, Sregs *in)
{
    if (cpu->kvm->sregs2) {
        return kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_SREGS2, &in->s);
    }
    struct kvm_sregs old = { 0 };
    memcpy(&old, &in->s, SREGS_COMMON);
    return kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_SREGS, &old);
}

static struct kvm_segment *seg_slot(struct kvm_sregs2 *s, unsigned n)
{
    struct kvm_segment *const slots[SEG_COUNT] = { [SEG_ES] = &s->es, [SEG_CS] = &s->cs, [SEG_SS] = &s->ss,
                                                   [SEG_DS] = &s->ds, [SEG_FS] = &s->fs, [SEG_GS] = &s->gs };
    return slots[n];
}

static bool pae_paging(const X86Cpu *cpu)
{
    return (cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA);
}

static void sregs_in(X86Cpu *cpu, Sregs *in)
{
    struct kvm_sregs2 *s = &in->s;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = seg_in(seg_slot(s, i));
        cpu->seg_base[i] = cpu->seg[i].base;
    }
    cpu->ldt = seg_in(&s->ldt);
    cpu->tr = seg_in(&s->tr);
    cpu->gdt = (X86Table){ s->gdt.base, s->gdt.limit };
    cpu->idt = (X86Table){ s->idt.base, s->idt.limit };
    cpu->cr0 = s->cr0;
    cpu->cr2 = s->cr2;
    cpu->cr3 = s->cr3;
    cpu->cr4 = s->cr4;
    cpu->efer = s->efer;
    if (!cpu->apic_ops) {
        cpu->cr8_shadow = s->cr8;
    }
    if (kvm_irqchip(cpu->vcpu.machine) != IRQCHIP_OFF) {
        cpu->kvm->apic_base = s->apic_base;
    }
    if ((s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) && pae_paging(cpu)) {
        memcpy(cpu->pdpte, s->pdptrs, sizeof(cpu->pdpte));
    }
}

static void sregs_out(X86Cpu *cpu, Sregs *out)
{
    struct kvm_sregs2 *s = &out->s;
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        *seg_slot(s, i) = seg_out(&cpu->seg[i], i == SEG_SS ? cpu->cpl : -1);
    }
    s->ldt = seg_out(&cpu->ldt, -1);
    s->tr = seg_out(&cpu->tr, -1);
    s->gdt = (struct kvm_dtable){ .base = cpu->gdt.base, .limit = cpu->gdt.limit };
    s->idt = (struct kvm_dtable){ .base = cpu->idt.base, .limit = cpu->idt.limit };
    s->cr0 = cpu->cr0;
    s->cr2 = cpu->cr2;
    s->cr3 = cpu->cr3;
    s->cr4 = cpu->cr4;
    s->efer = cpu->efer;
    s->cr8 = cpu->apic_ops ? cpu->apic_ops->get_tpr(cpu->apic) >> 4 : cpu->cr8_shadow;
    uint64_t base = 0;
    if (cpu->apic_ops && cpu->apic_ops->msr_read(cpu->apic, 0x1b, &base)) {
        s->apic_base = cpu->kvm->apic_base = base;
    }
    if (pae_paging(cpu)) {
        s->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
        memcpy(s->pdptrs, cpu->pdpte, sizeof(cpu->pdpte));
    }
}

static uint8_t cpl_of(const X86Cpu *cpu)
{
    if (!(cpu->cr0 & CR0_PE)) {
        return 0;
    }
    return cpu->eflags & FL_VM ? 3 : (cpu->seg[SEG_SS].attr & SA_DPL) >> SA_DPL_SHIFT;
}

bool kvm_x86_pull_regs(X86Cpu *cpu, Error **errp)
{
    struct kvm_regs regs;
    struct kvm_debugregs dbg;
    Sregs sregs;
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_REGS, &regs);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_REGS", r, errp);
    }
    r = sregs_get(cpu, &sregs);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_SREGS", r, errp);
    }
    r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_DEBUGREGS, &dbg);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_DEBUGREGS", r, errp);
    }
    for (unsigned i = 0; i < 16; i++) {
        cpu->gpr[i] = *reg_slot(&regs, i);
    }
    cpu->rip = regs.rip;
    cpu->eflags = ((uint32_t)regs.rflags & 0x3f7702) | 2;
    x86_set_eflags_arith(cpu, (uint32_t)regs.rflags & FL_ARITH);
    sregs_in(cpu, &sregs);
    memcpy(cpu->dr, dbg.db, sizeof(dbg.db));
    cpu->dr[6] = dbg.dr6;
    cpu->dr[7] = dbg.dr7;
    cpu->cpl = cpl_of(cpu);
    return true;
}

bool kvm_x86_port_regs(Vcpu *v, uint64_t *gpr, bool set)
{
    struct kvm_regs regs;
    Error *err = NULL;
    int r = kvm_vcpu_ioctl(v, KVM_GET_REGS, &regs);
    for (unsigned i = 0; r >= 0 && i < 16; i++) {
        *(set ? reg_slot(&regs, i) : &gpr[i]) = set ? gpr[i] : *reg_slot(&regs, i);
    }
    if (r >= 0 && set) {
        r = kvm_vcpu_ioctl(v, KVM_SET_REGS, &regs);
    }
    if (r < 0) {
        kvm_x86_failed(x86_cpu(v), set ? "KVM_SET_REGS" : "KVM_GET_REGS", r, &err);
        error_report(err);
    }
    return r >= 0;
}

bool kvm_x86_push_regs(X86Cpu *cpu, Error **errp)
{
    struct kvm_regs regs = { .rip = cpu->rip, .rflags = x86_get_eflags(cpu) };
    struct kvm_debugregs dbg = { .dr6 = cpu->dr[6], .dr7 = cpu->dr[7] };
    Sregs sregs;
    for (unsigned i = 0; i < 16; i++) {
        *reg_slot(&regs, i) = cpu->gpr[i];
    }
    memcpy(dbg.db, cpu->dr, sizeof(dbg.db));
    sregs_out(cpu, &sregs);
    int r = sregs_set(cpu, &sregs);
    if (r < 0) {
        kvm_x86_failed(cpu, "KVM_SET_SREGS", r, errp);
        error_hint(errp,
                   "CR0 0x%" PRIx64 ", CR4 0x%" PRIx64 ", EFER 0x%" PRIx64
                   ": KVM or this host's CPU does not take one "
                   "of these; -accel tcg may",
                   cpu->cr0, cpu->cr4, cpu->efer);
        return false;
    }
    r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_REGS, &regs);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_SET_REGS", r, errp);
    }
    r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_DEBUGREGS, &dbg);
    return r < 0 ? kvm_x86_failed(cpu, "KVM_SET_DEBUGREGS", r, errp) : true;
}

/* Some hosts whose KVM emulates lose CR0.PG when long mode is off, and the CPU is good for nothing
 * afterwards. */
bool kvm_x86_probe_paging32(const Machine *m)
{
    struct kvm_sregs s;
    int vm = -1, fd = kvm_scratch_vcpu(m, &vm);
    bool kept = true;
    if (fd >= 0 && ioctl(fd, KVM_GET_SREGS, &s) == 0) {
        s.cr0 = (s.cr0 | CR0_PE | CR0_PG) & ~(uint64_t)(CR0_CD | CR0_NW);
        s.efer = 0;
        kept = ioctl(fd, KVM_SET_SREGS, &s) == 0 && ioctl(fd, KVM_GET_SREGS, &s) == 0 && (s.cr0 & CR0_PG);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (vm >= 0) {
        close(vm);
    }
    return kept;
}

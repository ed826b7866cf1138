/* SPDX-License-Identifier: MIT
 * target/x86/smm.c - system-management mode: taking an SMI, the save area, RSM.
 * Models:  AMD APM volume 2 10.2 (SMRAM, table 10-1: the AMD64 save area), 10.3 (entry, table 10-3; NMI, INIT and SMI
 *          are held back; HLT restart), 10.4 (RSM and what shuts it down); Intel SDM volume 3 34.4-34.10 (the 32-bit
 *          save map of processors without 64-bit mode, table 34-1; auto HALT restart; SMBASE relocation).
 *          Processors with 64-bit mode use the AMD64 area whatever their vendor: firmware for virtual machines (SeaBIOS,
 *          edk2's OVMF) knows that one by its revision, 20064h, and no other 64-bit one. For the same reason bit 16 of
 *          the revision is clear: I/O instruction restart is not offered.
 *          Of the descriptor registers the 32-bit map keeps only selectors in documented places; bases, limits and
 *          attributes lie in what table 34-1 calls reserved, 7E00h-7E8Fh.
 * Does not model: A20M# in SMM, SMRR, dual-monitor treatment, the AMD registers SMM_ADDR and SMM_MASK (SMRAM is the
 *          chipset's affair here).
 * Threads: the vCPU's thread.
 */
#include "cpuid.h"
#include "rhea/util/log.h"
#include "sysint.h"
#include "t0.h"

enum {
    AREA = 0xfe00, AREA_BYTES = 0x200, ENTRY = 0x8000,
    REV_64 = 0x20064, REV_32 = 0x20000, /* bit 17: SMBASE relocation */
    /* both: offsets from SMBASE */
    AT_REVISION = 0xfefc,
    /* AMD64 */
    A64_SEG = 0xfe00, A64_GDTR = 0xfe60, A64_LDTR = 0xfe70, A64_IDTR = 0xfe80, A64_TR = 0xfe90, A64_HALT = 0xfec9,
    A64_NMI = 0xfeca, A64_CPL = 0xfecb, A64_EFER = 0xfed0, A64_SMBASE = 0xff00, A64_CR4 = 0xff48, A64_CR3 = 0xff50,
    A64_CR0 = 0xff58, A64_DR7 = 0xff60, A64_DR6 = 0xff68, A64_RFLAGS = 0xff70, A64_RIP = 0xff78, A64_RAX = 0xfff8,
    /* 32 bits */
    A32_DESC = 0xfe00 /* base, limit, attributes of ES..GS, LDTR, TR, GDTR, IDTR */, A32_EFER = 0xfe80, A32_CR4 = 0xfe84,
    A32_NMI = 0xfe88, A32_CPL = 0xfe89, A32_SMBASE = 0xfef8, A32_HALT = 0xff02, A32_ES = 0xffa8, A32_LDTR = 0xffc0,
    A32_TR = 0xffc4, A32_DR7 = 0xffc8, A32_DR6 = 0xffcc, A32_EAX = 0xffd0, A32_EIP = 0xfff0, A32_EFLAGS = 0xfff4,
    A32_CR3 = 0xfff8, A32_CR0 = 0xfffc,
};

/* The area as bytes, and the registers that are not simply copied. */
typedef struct SmmImage { uint8_t b[AREA_BYTES]; } SmmImage;
typedef struct SmmRegs {
    uint64_t cr0, cr3, cr4, efer, rflags, rip, dr6, dr7, gpr[16];
    X86Seg seg[SEG_COUNT], ldt, tr;
    X86Table gdt, idt;
    uint32_t smbase, revision;
    uint8_t halted, nmi_blocked, cpl;
} SmmRegs;

static void put(SmmImage *m, unsigned at, unsigned n, uint64_t v) { memcpy(m->b + (at - AREA), &v, n); }
static uint64_t get(const SmmImage *m, unsigned at, unsigned n)
{
    uint64_t v = 0;
    memcpy(&v, m->b + (at - AREA), n);
    return v;
}

/* Descriptor attributes in the save area: bits 8-15 and 20-23 of the descriptor, side by side (10.2.4). */
static uint16_t attr_pack(uint32_t attr) { return attr & SA_UNUSABLE ? 0 : (uint16_t)((attr & 0xff) | (attr >> 4 & 0xf00)); }
static uint32_t attr_unpack(uint32_t a) { return (a & 0xff) | (a & 0xf00) << 4 | (a & SA_P ? 0 : SA_UNUSABLE); }

static void put_seg64(SmmImage *m, unsigned at, const X86Seg *s)
{
    put(m, at, 2, s->sel);
    put(m, at + 2, 2, attr_pack(s->attr));
    put(m, at + 4, 4, s->limit);
    put(m, at + 8, 8, s->base);
}
static X86Seg get_seg64(const SmmImage *m, unsigned at)
{
    return (X86Seg){ .sel = (uint16_t)get(m, at, 2), .attr = attr_unpack((uint32_t)get(m, at + 2, 2)),
                     .limit = (uint32_t)get(m, at + 4, 4), .base = get(m, at + 8, 8) };
}
static void put_table64(SmmImage *m, unsigned at, const X86Table *t)
{
    put(m, at + 4, 2, t->limit);
    put(m, at + 8, 8, t->base);
}
static X86Table get_table64(const SmmImage *m, unsigned at)
{
    return (X86Table){ .limit = (uint16_t)get(m, at + 4, 2), .base = get(m, at + 8, 8) };
}

static void put_seg32(SmmImage *m, unsigned i, unsigned sel_at, const X86Seg *s)
{
    put(m, sel_at, 4, s->sel);
    put(m, A32_DESC + 12 * i, 4, s->base);
    put(m, A32_DESC + 12 * i + 4, 4, s->limit);
    put(m, A32_DESC + 12 * i + 8, 4, attr_pack(s->attr));
}
static X86Seg get_seg32(const SmmImage *m, unsigned i, unsigned sel_at)
{
    return (X86Seg){ .sel = (uint16_t)get(m, sel_at, 2), .base = get(m, A32_DESC + 12 * i, 4),
                     .limit = (uint32_t)get(m, A32_DESC + 12 * i + 4, 4),
                     .attr = attr_unpack((uint32_t)get(m, A32_DESC + 12 * i + 8, 4)) };
}

/* Control registers and flags: at = where, n = bytes in each of the two layouts. */
static const struct { uint16_t at64, at32; uint8_t n64, n32; size_t off; uint8_t bytes; } simple[] = {
#define REG(a64, n64, a32, n32, f) { a64, a32, n64, n32, offsetof(SmmRegs, f), sizeof(((SmmRegs *)0)->f) }
    REG(A64_CR0, 8, A32_CR0, 4, cr0),       REG(A64_CR3, 8, A32_CR3, 4, cr3),
    REG(A64_CR4, 8, A32_CR4, 4, cr4),       REG(A64_EFER, 8, A32_EFER, 4, efer),
    REG(A64_RFLAGS, 8, A32_EFLAGS, 4, rflags), REG(A64_RIP, 8, A32_EIP, 4, rip),
    REG(A64_DR6, 8, A32_DR6, 4, dr6),       REG(A64_DR7, 8, A32_DR7, 4, dr7),
    REG(A64_SMBASE, 4, A32_SMBASE, 4, smbase), REG(AT_REVISION, 4, AT_REVISION, 4, revision),
    REG(A64_HALT, 1, A32_HALT, 1, halted),  REG(A64_NMI, 1, A32_NMI, 1, nmi_blocked),
    REG(A64_CPL, 1, A32_CPL, 1, cpl),
#undef REG
};

static void image_from_regs(SmmImage *m, const SmmRegs *r, bool wide)
{
    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < G_N_ELEMENTS(simple); i++) {
        uint64_t v = 0;
        memcpy(&v, (const char *)r + simple[i].off, simple[i].bytes);
        put(m, wide ? simple[i].at64 : simple[i].at32, wide ? simple[i].n64 : simple[i].n32, v);
    }
    for (unsigned i = 0; i < (wide ? 16u : 8u); i++) {
        put(m, wide ? A64_RAX - 8 * i : A32_EAX + 4 * i, wide ? 8 : 4, r->gpr[i]);
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (wide) {
            put_seg64(m, A64_SEG + 16 * i, &r->seg[i]);
        } else {
            put_seg32(m, i, A32_ES + 4 * i, &r->seg[i]);
        }
    }
    if (wide) {
        put_seg64(m, A64_LDTR, &r->ldt);
        put_seg64(m, A64_TR, &r->tr);
        put_table64(m, A64_GDTR, &r->gdt);
        put_table64(m, A64_IDTR, &r->idt);
    } else {
        put_seg32(m, 6, A32_LDTR, &r->ldt);
        put_seg32(m, 7, A32_TR, &r->tr);
        put(m, A32_DESC + 96, 8, r->gdt.base | (uint64_t)r->gdt.limit << 32);
        put(m, A32_DESC + 104, 8, r->idt.base | (uint64_t)r->idt.limit << 32);
    }
}

static void regs_from_image(SmmRegs *r, const SmmImage *m, bool wide)
{
    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < G_N_ELEMENTS(simple); i++) {
        uint64_t v = get(m, wide ? simple[i].at64 : simple[i].at32, wide ? simple[i].n64 : simple[i].n32);
        memcpy((char *)r + simple[i].off, &v, simple[i].bytes);
    }
    for (unsigned i = 0; i < (wide ? 16u : 8u); i++) {
        r->gpr[i] = get(m, wide ? A64_RAX - 8 * i : A32_EAX + 4 * i, wide ? 8 : 4);
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        r->seg[i] = wide ? get_seg64(m, A64_SEG + 16 * i) : get_seg32(m, i, A32_ES + 4 * i);
    }
    if (wide) {
        r->ldt = get_seg64(m, A64_LDTR);
        r->tr = get_seg64(m, A64_TR);
        r->gdt = get_table64(m, A64_GDTR);
        r->idt = get_table64(m, A64_IDTR);
    } else {
        r->ldt = get_seg32(m, 6, A32_LDTR);
        r->tr = get_seg32(m, 7, A32_TR);
        r->gdt = (X86Table){ .base = get(m, A32_DESC + 96, 4), .limit = (uint16_t)get(m, A32_DESC + 100, 2) };
        r->idt = (X86Table){ .base = get(m, A32_DESC + 104, 4), .limit = (uint16_t)get(m, A32_DESC + 108, 2) };
    }
}

static bool smm_wide(const X86Cpu *cpu) { return x86_has_bit(cpu, X86_FEAT_LM); }

/* The save area belongs to SMRAM: it is reached as code in SMM reaches it. */
static void smm_area(X86Cpu *cpu, SmmImage *m, bool write)
{
    MemAttrs attrs = { .requester = (uint16_t)cpu->vcpu.index, .cpu = true, .smm = true };
    as_access(x86_memory(cpu), (uint32_t)(cpu->smbase + AREA), m->b, AREA_BYTES, write, attrs);
}

/* Memory looks different now, and paging may have changed. */
static void smm_switch_memory(X86Cpu *cpu)
{
    mem_begin_run(cpu);
    x86_tlb_flush(cpu, false);
    x86_update_mode(cpu);
}

void x86_smm_enter(X86Cpu *cpu)
{
    SmmRegs r = { .cr0 = cpu->cr0, .cr3 = cpu->cr3, .cr4 = cpu->cr4, .efer = cpu->efer, .rflags = x86_get_eflags(cpu),
                  .rip = cpu->rip, .dr6 = cpu->dr[6], .dr7 = cpu->dr[7], .ldt = cpu->ldt, .tr = cpu->tr, .gdt = cpu->gdt,
                  .idt = cpu->idt, .smbase = (uint32_t)cpu->smbase, .revision = smm_wide(cpu) ? REV_64 : REV_32,
                  .halted = cpu->vcpu.halted, .nmi_blocked = cpu->nmi_blocked, .cpl = cpu->cpl };
    memcpy(r.gpr, cpu->gpr, sizeof(r.gpr));
    memcpy(r.seg, cpu->seg, sizeof(r.seg));
    if (log_on(LOG_INT)) {
        log_printf("smi: cpu %u at %04x:%016" PRIx64 " smbase 0x%x%s\n", cpu->vcpu.index, cpu->seg[SEG_CS].sel, cpu->rip,
                   r.smbase, r.halted ? ", halted" : "");
    }
    SmmImage m;
    image_from_regs(&m, &r, smm_wide(cpu));
    cpu->in_smm = true;
    smm_area(cpu, &m, true);

    cpu->smi_count++;
    cpu->vcpu.halted = false;
    cpu->sys->mwait_any = cpu->sys->monitor_armed = false;
    cpu->nmi_blocked = true; /* until IRET or RSM (34.8) */
    cpu->db_hits = 0;
    cpu->irq_shadow = false;
    cpu->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4 = 0;
    cpu->efer = 0;
    x86_transitions_drop(cpu);
    cpu->dr[7] = DR7_FIXED;
    x86_set_eflags(cpu, 2, UINT32_MAX);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (X86Seg){ .limit = UINT32_MAX, .attr = SA_P | SA_S | SA_RW | SA_ACCESSED | SA_G };
    }
    cpu->seg[SEG_CS].attr |= SA_CODE;
    cpu->seg[SEG_CS].sel = (uint16_t)(cpu->smbase >> 4);
    cpu->seg[SEG_CS].base = (uint32_t)cpu->smbase;
    cpu->cpl = 0;
    cpu->rip = ENTRY;
    smm_switch_memory(cpu);
}

/* Why RSM shuts the processor down instead of loading r (10.4, SDM 34.4.2); NULL: it may. */
static const char *smm_refuses(X86Cpu *cpu, const SmmRegs *r)
{
    bool pg = r->cr0 & CR0_PG, lma = pg && (r->efer & EFER_LME);
    if (r->cr0 >> 32 || (pg && !(r->cr0 & CR0_PE)) || ((r->cr0 & CR0_NW) && !(r->cr0 & CR0_CD))) {
        return "CR0";
    }
    if (r->cr4 & ~x86_cr4_allowed(cpu)) {
        return "CR4";
    }
    if (r->efer & ~x86_efer_allowed(cpu) || (lma && !(r->cr4 & CR4_PAE)) || (!lma && (r->cr4 & CR4_PCIDE))) {
        return "EFER";
    }
    if (lma && (r->seg[SEG_CS].attr & SA_L) && (r->seg[SEG_CS].attr & SA_DB)) {
        return "CS";
    }
    if (r->cr3 >> cpu->phys_bits) {
        return "CR3";
    }
    if (r->dr6 >> 32 || r->dr7 >> 32) {
        return "DR6 or DR7";
    }
    return NULL;
}

static void smm_load(X86Cpu *cpu, const SmmRegs *r)
{
    cpu->cr0 = (r->cr0 & 0xe005003f) | CR0_ET;
    cpu->cr3 = r->cr3;
    cpu->cr4 = r->cr4;
    cpu->efer = r->efer & ~(uint64_t)EFER_LMA;
    x86_transitions_drop(cpu);
    if ((r->cr0 & CR0_PG) && (r->efer & EFER_LME)) {
        cpu->efer |= EFER_LMA;
    }
    memcpy(cpu->gpr, r->gpr, (smm_wide(cpu) ? 16 : 8) * sizeof(r->gpr[0]));
    memcpy(cpu->seg, r->seg, sizeof(r->seg));
    cpu->ldt = r->ldt;
    cpu->tr = r->tr;
    cpu->gdt = r->gdt;
    cpu->idt = r->idt;
    cpu->dr[6] = (r->dr6 & 0xe00f) | DR6_FIXED;
    cpu->dr[7] = (r->dr7 & 0xffff2bff) | DR7_FIXED;
    cpu->rip = r->rip;
    cpu->cpl = r->cpl & 3;
    cpu->smbase = r->smbase;
    x86_set_eflags(cpu, ((uint32_t)r->rflags & 0x3f7fd7) | 2, UINT32_MAX);
    cpu->nmi_blocked = r->nmi_blocked & 1;
    cpu->vcpu.halted = r->halted & 1;
    cpu->db_hits = 0;
}

OP(rsm)
{
    if (!cpu->in_smm) {
        RAISE(EXC_UD);
    }
    SmmImage m;
    SmmRegs r;
    SYNC(d);
    smm_area(cpu, &m, false);
    regs_from_image(&r, &m, smm_wide(cpu));
    const char *bad = smm_refuses(cpu, &r);
    if (bad) {
        x86_shutdown(cpu, "RSM found a state in the save area that cannot be loaded, in", bad);
    }
    cpu->in_smm = false;
    smm_load(cpu, &r);
    smm_switch_memory(cpu);
    if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA) && !x86_load_pdptes(cpu, cpu->cr3)) {
        x86_shutdown(cpu, "RSM found a state in the save area that cannot be loaded, in", "page-directory pointers");
    }
    if (log_on(LOG_INT)) {
        log_printf("rsm: cpu %u to %04x:%016" PRIx64 "%s\n", cpu->vcpu.index, cpu->seg[SEG_CS].sel, cpu->rip,
                   cpu->vcpu.halted ? ", halted" : "");
    }
    END_UNIT;
}

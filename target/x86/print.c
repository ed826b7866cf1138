/* SPDX-License-Identifier: MIT
 * target/x86/print.c - info registers, info mem, info tlb.
 * Models:  nothing; the layout follows QEMU's, which scripts read.
 * Does not model: -
 * Threads: the vCPU's thread, or anybody while it is parked.
 */
#include "sysint.h"
#include "cpuid.h"
#include "print.h"
#include "rhea/target/x86/coredump.h"

static void print_segment(const X86Cpu *cpu, const char *name, const X86Seg *s, bool wide, GString *out)
{
    /* The high half of the descriptor: limit nibble and all attributes. */
    uint32_t limit = s->attr & SA_G ? s->limit >> 12 : s->limit;
    uint32_t hi = s->attr & SA_UNUSABLE ? 0 : (s->attr & 0xf0ff) << 8 | (limit & 0xf0000);
    if (wide) {
        g_string_append_printf(out, "%-3s=%04x %016" PRIx64 " %08x %08x", name, s->sel, s->base, s->limit,
                               hi);
    } else {
        g_string_append_printf(out, "%-3s=%04x %08x %08x %08x", name, s->sel, (uint32_t)s->base, s->limit,
                               hi);
    }
    if (in_real(cpu) || !(s->attr & SA_P) || (s->attr & SA_UNUSABLE)) {
        g_string_append_c(out, '\n');
        return;
    }
    g_string_append_printf(out, " DPL=%u ", (s->attr & SA_DPL) >> SA_DPL_SHIFT);
    if (s->attr & SA_S) {
        if (s->attr & SA_CODE) {
            g_string_append_printf(out, "CS%s [%c%c", s->attr & SA_L ? "64" : s->attr & SA_DB ? "32" : "16",
                                   s->attr & SA_CE ? 'C' : '-', s->attr & SA_RW ? 'R' : '-');
        } else {
            g_string_append_printf(out, "DS%s [%c%c", s->attr & SA_DB || wide ? "  " : "16",
                                   s->attr & SA_CE ? 'E' : '-', s->attr & SA_RW ? 'W' : '-');
        }
        g_string_append_printf(out, "%c]", s->attr & SA_ACCESSED ? 'A' : '-');
    } else {
        static const char *const legacy[] = {
            "Reserved",   "TSS16-avl",  "LDT",       "TSS16-busy", "CallGate16", "TaskGate",
            "IntGate16",  "TrapGate16", "Reserved",  "TSS32-avl",  "Reserved",   "TSS32-busy",
            "CallGate32", "Reserved",   "IntGate32", "TrapGate32",
        };
        static const char *const lng[] = {
            "<hiword>",   "Reserved", "LDT",       "Reserved",   "Reserved", "Reserved",
            "Reserved",   "Reserved", "Reserved",  "TSS64-avl",  "Reserved", "TSS64-busy",
            "CallGate64", "Reserved", "IntGate64", "TrapGate64",
        };
        g_string_append(out, (in_long(cpu) ? lng : legacy)[s->attr & SA_TYPE]);
    }
    g_string_append_c(out, '\n');
}

static void print_gprs(const X86Cpu *cpu, bool wide, GString *out)
{
    static const char *const names[] = { "AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP" };
    static const unsigned order[] = { R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_RSP };
    for (unsigned i = 0; i < 8; i++) {
        if (wide) {
            g_string_append_printf(out, "R%s=%016" PRIx64 "%c", names[i], cpu->gpr[order[i]],
                                   i % 4 == 3 ? '\n' : ' ');
        } else {
            g_string_append_printf(out, "E%s=%08x%c", names[i], (uint32_t)cpu->gpr[order[i]],
                                   i % 4 == 3 ? '\n' : ' ');
        }
    }
    for (unsigned i = 8; wide && i < 16; i++) {
        g_string_append_printf(out, "R%-2u=%016" PRIx64 "%c", i, cpu->gpr[i], i % 4 == 3 ? '\n' : ' ');
    }
}

static void print_fpu(const X86Cpu *cpu, GString *out)
{
    const X86Fpu *f = &cpu->fpu;
    bool code64 = in_code64(cpu);
    g_string_append_printf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", f->cw,
                           (f->sw & ~0x3800) | (f->top & 7) << 11, f->top & 7, (uint8_t)~f->tags, cpu->mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        g_string_append_printf(out, "FPR%u=%016" PRIx64 " %04x%c", i, f->r[i].sig, f->r[i].se,
                               i & 1 ? '\n' : ' ');
    }
    if ((cpu->xcr0 & 7) == 7) { /* AVX is on */
        for (unsigned i = 0; i < (code64 ? 16u : 8u); i++) {
            const uint64_t *q = cpu->xmm[i].q;
            g_string_append_printf(out, "YMM%02u=%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 "\n", i, q[3],
                                   q[2], q[1], q[0]);
        }
        return;
    }
    for (unsigned i = 0; i < (code64 ? 16u : 8u); i++) {
        g_string_append_printf(out, "XMM%02u=%016" PRIx64 "%016" PRIx64 "%c", i, cpu->xmm[i].q[1],
                               cpu->xmm[i].q[0], i & 1 ? '\n' : ' ');
    }
}

void x86_print_regs(Vcpu *v, GString *out)
{
    const X86Cpu *cpu = x86_cpu(v);
    static const char *const seg_names[] = { "ES", "CS", "SS", "DS", "FS", "GS" };
    bool wide = in_code64(cpu), lng = in_long(cpu);
    uint32_t fl = x86_get_eflags(cpu);
    print_gprs(cpu, wide, out);
    g_string_append_printf(out, wide ? "RIP=%016" PRIx64 " RFL=%08x" : "EIP=%08" PRIx64 " EFL=%08x", cpu->rip,
                           fl);
    g_string_append_printf(out, " [%c%c%c%c%c%c%c] CPL=%u II=%u A20=%u SMM=%u HLT=%u\n",
                           fl & FL_DF ? 'D' : '-', fl & FL_OF ? 'O' : '-', fl & FL_SF ? 'S' : '-',
                           fl & FL_ZF ? 'Z' : '-', fl & FL_AF ? 'A' : '-', fl & FL_PF ? 'P' : '-',
                           fl & FL_CF ? 'C' : '-', cpu->cpl, cpu->irq_shadow, cpu->a20_gate, cpu->in_smm,
                           v->halted);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        print_segment(cpu, seg_names[i], &cpu->seg[i], lng, out);
    }
    print_segment(cpu, "LDT", &cpu->ldt, lng, out);
    print_segment(cpu, "TR", &cpu->tr, lng, out);
    const X86Table *tables[] = { &cpu->gdt, &cpu->idt };
    for (unsigned i = 0; i < 2; i++) {
        g_string_append_printf(out, lng ? "%s=     %016" PRIx64 " %08x\n" : "%s=     %08" PRIx64 " %08x\n",
                               i ? "IDT" : "GDT", tables[i]->base, tables[i]->limit);
    }
    g_string_append_printf(out, lng ? "CR0=%08x CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08x\n"
                                    : "CR0=%08x CR2=%08" PRIx64 " CR3=%08" PRIx64 " CR4=%08x\n",
                           (uint32_t)cpu->cr0, cpu->cr2, cpu->cr3, (uint32_t)cpu->cr4);
    for (unsigned i = 0; i < 4; i++) {
        g_string_append_printf(out, lng ? "DR%u=%016" PRIx64 "%c" : "DR%u=%08" PRIx64 "%c", i, cpu->dr[i],
                               i == 3 ? '\n' : ' ');
    }
    g_string_append_printf(
        out, lng ? "DR6=%016" PRIx64 " DR7=%016" PRIx64 "\n" : "DR6=%08" PRIx64 " DR7=%08" PRIx64 "\n",
        cpu->dr[6], cpu->dr[7]);
    g_string_append_printf(out, "EFER=%016" PRIx64 "\n", cpu->efer);
    print_fpu(cpu, out);
}

/* --- page tables --- */

enum { P_P = X86_LEAF_P, P_W = X86_LEAF_W, P_U = X86_LEAF_U, P_PS = 0x80 };

typedef struct Dump {
    X86Cpu *cpu;
    GString *out;
    bool tlb;              /* every page; otherwise ranges of equal rights */
    uint64_t start, end;   /* the open range, end exclusive */
    unsigned prot;         /* of the open range: P_* */
    unsigned lines;
} Dump;

enum { DUMP_MAX_LINES = 200000 }; /* a hostile guest maps 2^48 pages onto one frame */

static void dump_close(Dump *d)
{
    if (d->prot & P_P) {
        bool lng = in_long(d->cpu);
        uint64_t mask = lng ? 0xffffffffffffull : 0xffffffffull;
        unsigned w = lng ? 16 : 8;
        /* QEMU prints 48-bit addresses without their sign here. */
        g_string_append_printf(d->out, "%0*" PRIx64 "-%0*" PRIx64 " %0*" PRIx64 " %c%c%c\n", w,
                               d->start & mask, w, ((d->end - 1) & mask) + 1, w, d->end - d->start,
                               d->prot & P_U ? 'u' : '-', 'r', d->prot & P_W ? 'w' : '-');
        d->lines++;
    }
    d->prot = 0;
}

static void dump_page(Dump *d, uint64_t lin, uint64_t size, uint64_t leaf, unsigned rights, uint64_t frame)
{
    static const struct { char c; uint64_t bit;
    } flags[] = {
        { 'X', 1ull << 63 }, { 'G', 0x100 }, { 'P', P_PS }, { 'D', 0x40 }, { 'A', 0x20 },
        { 'C', 0x10 },       { 'T', 8 },     { 'U', 4 },    { 'W', 2 },
    };
    if (!d->tlb) {
        if (d->prot != rights || d->end != lin) {
            dump_close(d);
            d->start = lin;
            d->prot = rights;
        }
        d->end = lin + size;
        return;
    }
    g_string_append_printf(d->out, "%016" PRIx64 ": %016" PRIx64 " ", lin, frame);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        bool on = leaf & flags[i].bit;
        if (flags[i].c == 'P') {
            on = size > 4096;
        }
        g_string_append_c(d->out, on ? flags[i].c : '-');
    }
    g_string_append_c(d->out, '\n');
    d->lines++;
}

static bool dump_visit(void *opaque, const X86Leaf *leaf)
{
    Dump *d = opaque;
    if (leaf->size) {
        dump_page(d, leaf->lin, leaf->size, leaf->entry, leaf->rights, leaf->frame);
    } else {
        dump_close(d);
    }
    return d->lines < DUMP_MAX_LINES;
}

static void dump_all(Vcpu *v, GString *out, bool tlb)
{
    X86Cpu *cpu = x86_cpu(v);
    Dump d = { .cpu = cpu, .out = out, .tlb = tlb };
    if (!(cpu->cr0 & CR0_PG)) {
        g_string_append(out, "PG disabled\n");
        return;
    }
    bool all = x86_each_leaf(v, dump_visit, &d);
    dump_close(&d);
    if (!all) {
        g_string_append(out, "(more)\n");
    }
}

void x86_print_mem(Vcpu *v, GString *out) { dump_all(v, out, false); }
void x86_print_tlb(Vcpu *v, GString *out) { dump_all(v, out, true); }

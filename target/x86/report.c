/* SPDX-License-Identifier: MIT
 * target/x86/report.c - why the CPU shut down: the text printed before a triple fault resets the machine.
 * Models:  nothing; it reads the records kept by exception.c and mmu.c.
 * Does not model: -
 * Threads: the vCPU's thread.
 */
#include "sysint.h"
#include <stdio.h>

/* Guests reset themselves by loading an empty IDT and faulting: no mistake, no report. */
static bool report_is_deliberate(const X86Cpu *cpu)
{
    return !cpu->sys->shutdown_why && !in_real(cpu) && cpu->idt.limit == 0;
}

static void report_fault(const X86Fault *f, unsigned n, GString *out)
{
    g_string_append_printf(out, "%u. %s", n, x86_vector_name(f->vector));
    if (f->has_err) {
        g_string_append_printf(out, ", error code 0x%04x", f->err);
        if (f->vector != EXC_PF && f->err & 0xfffc) {
            g_string_append_printf(out, " (%s entry 0x%x%s)", f->err & 2 ? "IDT" : f->err & 4 ? "LDT" : "GDT",
                                   f->err >> 3, f->err & 1 ? ", while delivering an event" : "");
        }
    }
    if (f->vector == EXC_PF) {
        g_string_append_printf(out, ", address 0x%" PRIx64, f->cr2);
    }
    g_string_append_printf(out, ", at %04x:0x%" PRIx64 ", CPL %u\n", f->cs, f->rip, f->cpl);
}

static void report_gate(X86Cpu *cpu, int vector, GString *out)
{
    bool lng = in_long(cpu), real = in_real(cpu);
    unsigned size = real ? 4 : lng ? 16 : 8;
    uint64_t at = cpu->idt.base + (uint64_t)vector * size;
    uint64_t w[2] = { 0 };
    if ((unsigned)vector * size + size - 1 > cpu->idt.limit) {
        g_string_append_printf(out, "IDT entry 0x%02x lies beyond the limit 0x%x\n", (unsigned)vector,
                               cpu->idt.limit);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        hwaddr pa;
        if (!x86_translate_debug(cpu, lng ? at + i : (uint32_t)(at + i), &pa)) {
            g_string_append_printf(out, "IDT entry 0x%02x at 0x%" PRIx64 " is not mapped\n", (unsigned)vector,
                                   at);
            return;
        }
        w[i / 8] |= x86_phys_ld(cpu, pa, 1) << (i % 8 * 8);
    }
    if (real) {
        g_string_append_printf(out, "IVT entry 0x%02x: %04x:%04x\n", (unsigned)vector,
                               (unsigned)(w[0] >> 16) & 0xffff, (unsigned)w[0] & 0xffff);
        return;
    }
    uint64_t off = (w[0] & 0xffff) | (w[0] >> 32 & 0xffff0000) | (lng ? w[1] << 32 : 0);
    g_string_append_printf(
        out, "IDT entry 0x%02x: selector 0x%04x, offset 0x%" PRIx64 ", type %u, DPL %u, %s\n",
        (unsigned)vector, (unsigned)(w[0] >> 16) & 0xffff, off, (unsigned)(w[0] >> 40) & 15,
        (unsigned)(w[0] >> 45) & 3, w[0] >> 47 & 1 ? "present" : "NOT PRESENT");
}

void x86_explain_shutdown(X86Cpu *cpu, GString *out)
{
    const X86SysState *s = cpu->sys;
    if (s->shutdown_why) {
        g_string_append_printf(out, "shutdown of CPU %u: %s %s\n", cpu->vcpu.index, s->shutdown_why, s->shutdown_which);
    } else {
        g_string_append_printf(out, "triple fault on CPU %u; the chain of exceptions:\n", cpu->vcpu.index);
    }
    for (unsigned i = 0; i < s->n_chain; i++) {
        report_fault(&s->chain[i], i + 1, out);
    }
    if (s->n_chain) {
        report_gate(cpu, s->chain[0].vector, out);
        if (s->chain[0].vector != EXC_DF) {
            report_gate(cpu, EXC_DF, out);
        }
    }
    for (unsigned i = 0; i < s->n_chain; i++) {
        if (s->chain[i].vector == EXC_PF) {
            x86_mmu_name_walk(&s->walk, out);
            break;
        }
    }
    x86_64_target_ops.print_regs(&cpu->vcpu, out);
}

void x86_report_shutdown(X86Cpu *cpu)
{
    X86SysState *s = cpu->sys;
    if (report_is_deliberate(cpu) || s->reports > 3) {
        return;
    }
    if (s->reports++ == 3) {
        fprintf(stderr, "CPU %u: further triple faults are not reported\n", cpu->vcpu.index);
        return;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    x86_explain_shutdown(cpu, out);
    fputs(out->str, stderr);
}

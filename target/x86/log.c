/* SPDX-License-Identifier: MIT
 * target/x86/log.c - the debug log of the interpreter: -d in_asm (units as they are decoded), exec, cpu.
 * Does not model: anything.
 * Threads: the vCPU's thread.
 */
#include "debug.h"
#include "t0.h"
#include "rhea/util/log.h"

/* Text of the bytes at rip. Without capstone, rows of the instruction table. */
static void disassemble(GString *s, const X86Unit *u, uint64_t rip, const uint8_t *bytes)
{
    for (unsigned i = 0; i < u->n; i++) {
        const X86Insn *d = &u->insn[i];
        const X86Row *r = &x86_rows[d->row];
        g_string_append_printf(s, "0x%08" PRIx64 ":  ", rip + d->off);
        if (!bytes || !x86_disas(u->mode, rip + d->off, bytes + d->off, d->len, s)) {
            g_string_append_printf(s, "%s %s (%u bytes)", r->name, r->operands, d->len);
        }
        g_string_append_c(s, '\n');
    }
}

void t0_log_unit(X86Cpu *cpu, const X86Unit *u, uint64_t rip)
{
    g_autoptr(GString) s = g_string_new(NULL);
    bool one_piece = u->key && !u->key2;
    g_string_append_printf(s, "----------------\nIN: cpu %u\n", cpu->vcpu.index);
    disassemble(s, u, rip, one_piece ? (const uint8_t *)u->key : NULL);
    log_printf("%s\n", s->str);
}

void t0_log_enter(X86Cpu *cpu, const X86Unit *u, uint64_t rip)
{
    if (log_on(LOG_EXEC)) {
        log_printf("exec: cpu %u rip %016" PRIx64 " mode %08x, %u instructions\n", cpu->vcpu.index, rip, u->mode, u->n);
    }
    if (log_on(LOG_CPU)) {
        g_autoptr(GString) s = g_string_new(NULL);
        if (cpu->vcpu.target && cpu->vcpu.target->print_regs) {
            cpu->vcpu.target->print_regs(&cpu->vcpu, s);
        }
        log_printf("%s", s->str);
    }
}

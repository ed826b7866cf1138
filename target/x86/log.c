/* SPDX-License-Identifier: MIT
 * target/x86/log.c - the debug log of the interpreter: -d in_asm (units as they are decoded), exec, cpu.
 * Does not model: anything.
 * Threads: the vCPU's thread.
 */
#include "config.h"
#include "t0.h"
#include "rhea/util/log.h"

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>
#endif

/* Text of the bytes at rip. Without capstone, rows of the instruction table. */
static void disassemble(GString *s, const X86Unit *u, uint64_t rip, const uint8_t *bytes)
{
#ifdef HAVE_CAPSTONE
    cs_mode mode = u->mode & MODE_CODE64 ? CS_MODE_64 : u->mode & MODE_CODE32 ? CS_MODE_32 : CS_MODE_16;
    csh cs;
    if (bytes && cs_open(CS_ARCH_X86, mode, &cs) == CS_ERR_OK) {
        cs_insn *insn;
        size_t n = cs_disasm(cs, bytes, u->bytes, rip, 0, &insn);
        for (size_t i = 0; i < n; i++) {
            g_string_append_printf(s, "0x%08" PRIx64 ":  %s %s\n", insn[i].address, insn[i].mnemonic, insn[i].op_str);
        }
        if (n) {
            cs_free(insn, n);
        }
        cs_close(&cs);
        return;
    }
#endif
    for (unsigned i = 0; i < u->n; i++) {
        const X86Row *r = &x86_rows[u->insn[i].row];
        g_string_append_printf(s, "0x%08" PRIx64 ":  %s %s (%u bytes)\n", rip + u->insn[i].off, r->name, r->operands,
                               u->insn[i].len);
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

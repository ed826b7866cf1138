/* SPDX-License-Identifier: MIT
 * target/x86/debug.c - what a monitor asks of the CPU: registers by name.
 *
 * Models: Intel SDM volume 1, section 3.4 (names of registers and of their parts).
 * Does not model: x87, MMX and SSE registers by name; they are no integers.
 * Threads: the vCPU's thread, between instructions.
 */
#include "debug.h"
#include <string.h>

static const char *const gpr_names[4][16] = { /* 8, 16, 32, 64 bits */
    { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b", "r15b" },
    { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w" },
    { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d",
      "r15d" },
    { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" },
};
static const char *const high_names[4] = { "ah", "ch", "dh", "bh" };
static const char *const seg_names[SEG_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs" };

static bool get_gpr(const X86Cpu *cpu, const char *name, uint64_t *val)
{
    for (unsigned size = 0; size < 4; size++) {
        for (unsigned i = 0; i < 16; i++) {
            if (!strcmp(gpr_names[size][i], name)) {
                *val = size == 3 ? cpu->gpr[i] : cpu->gpr[i] & ((UINT64_C(1) << (8 << size)) - 1);
                return true;
            }
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        if (!strcmp(high_names[i], name)) {
            *val = cpu->gpr[i] >> 8 & 0xff;
            return true;
        }
    }
    return false;
}

static bool get_segment(const X86Cpu *cpu, const char *name, uint64_t *val)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        size_t n = strlen(seg_names[i]);
        if (!strncmp(seg_names[i], name, n)) {
            if (!name[n]) {
                *val = cpu->seg[i].sel;
                return true;
            }
            if (!strcmp(name + n, "_base") || !strcmp(name + n, ".base")) {
                *val = cpu->seg[i].base;
                return true;
            }
            if (!strcmp(name + n, "_limit") || !strcmp(name + n, ".limit")) {
                *val = cpu->seg[i].limit;
                return true;
            }
        }
    }
    return false;
}

bool x86_get_reg(Vcpu *v, const char *name, uint64_t *val)
{
    const X86Cpu *cpu = x86_cpu(v);
    const struct { const char *name; uint64_t value; } others[] = {
        { "rip", cpu->rip }, { "eip", (uint32_t)cpu->rip }, { "ip", (uint16_t)cpu->rip },
        { "pc", v->target->pc(v) }, { "eflags", x86_get_eflags(cpu) }, { "rflags", x86_get_eflags(cpu) },
        { "cr0", cpu->cr0 }, { "cr2", cpu->cr2 }, { "cr3", cpu->cr3 }, { "cr4", cpu->cr4 }, { "efer", cpu->efer },
        { "dr0", cpu->dr[0] }, { "dr1", cpu->dr[1] }, { "dr2", cpu->dr[2] }, { "dr3", cpu->dr[3] },
        { "dr6", cpu->dr[6] }, { "dr7", cpu->dr[7] }, { "gdtr", cpu->gdt.base }, { "idtr", cpu->idt.base },
        { "ldtr", cpu->ldt.sel }, { "tr", cpu->tr.sel }, { "mxcsr", cpu->mxcsr }, { "cpl", cpu->cpl },
    };
    if (get_gpr(cpu, name, val) || get_segment(cpu, name, val)) {
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        if (!strcmp(others[i].name, name)) {
            *val = others[i].value;
            return true;
        }
    }
    return false;
}

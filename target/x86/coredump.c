/* SPDX-License-Identifier: MIT
 * target/x86/coredump.c - a CPU's registers as the notes of an ELF core file.
 *
 * Models: NT_PRSTATUS of Linux (struct elf_prstatus of i386 and x86-64, asm/user_32.h, user_64.h); the note
 * "QEMU" that crash and makedumpfile read (version 1). Threads: see the header.
 */
#include "rhea/target/x86/coredump.h"
#include "sysint.h"
#include <string.h>

enum { NT_PRSTATUS = 1, NT_QEMU = 0, QEMU_NOTE_VERSION = 1 };

static void put(GByteArray *out, uint64_t val, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t b = (uint8_t)(val >> 8 * i);
        g_byte_array_append(out, &b, 1);
    }
}

static void put_zeros(GByteArray *out, unsigned n)
{
    static const uint8_t zeros[96];
    g_byte_array_append(out, zeros, n);
}

/* The header of a note, whose content follows; name and content are padded to four bytes. */
static void put_note(GByteArray *out, const char *name, unsigned type, unsigned size)
{
    unsigned len = (unsigned)strlen(name) + 1;
    put(out, len, 4);
    put(out, size, 4);
    put(out, type, 4);
    g_byte_array_append(out, (const uint8_t *)name, len);
    put_zeros(out, -len & 3);
}

bool x86_dump_is_long(const Vcpu *v)
{
    return ((const X86Cpu *)v)->efer & EFER_LMA;
}

static void put_gprs(GByteArray *out, const X86Cpu *cpu, const uint8_t *order, unsigned n, unsigned width)
{
    for (unsigned i = 0; i < n; i++) {
        put(out, cpu->gpr[order[i]], width);
    }
}

static void prstatus_64(const X86Cpu *cpu, unsigned id, GByteArray *out)
{
    static const uint8_t order[] = { 15, 14, 13,    12,    R_RBP, R_RBX, 11,   10,
                                     9,  8,  R_RAX, R_RCX, R_RDX, R_RSI, R_RDI };
    static const uint8_t data_segs[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };
    put_note(out, "CORE", NT_PRSTATUS, 336);
    put_zeros(out, 32);
    put(out, id, 4);
    put_zeros(out, 76);
    put_gprs(out, cpu, order, G_N_ELEMENTS(order), 8);
    put(out, cpu->gpr[R_RAX], 8); /* the system call's number: there is none */
    put(out, cpu->rip, 8);
    put(out, cpu->seg[SEG_CS].sel, 8);
    put(out, x86_get_eflags(cpu), 8);
    put(out, cpu->gpr[R_RSP], 8);
    put(out, cpu->seg[SEG_SS].sel, 8);
    put(out, cpu->seg[SEG_FS].base, 8);
    put(out, cpu->seg[SEG_GS].base, 8);
    for (unsigned i = 0; i < G_N_ELEMENTS(data_segs); i++) {
        put(out, cpu->seg[data_segs[i]].sel, 8);
    }
    put_zeros(out, 8);
}

static void prstatus_32(const X86Cpu *cpu, unsigned id, GByteArray *out)
{
    static const uint8_t order[] = { R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_RAX };
    static const uint8_t segs[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };
    put_note(out, "CORE", NT_PRSTATUS, 144);
    put_zeros(out, 24);
    put(out, id, 4);
    put_zeros(out, 44);
    put_gprs(out, cpu, order, G_N_ELEMENTS(order), 4);
    for (unsigned i = 0; i < G_N_ELEMENTS(segs); i++) {
        put(out, cpu->seg[segs[i]].sel, 4);
    }
    put(out, cpu->gpr[R_RAX], 4);
    put(out, cpu->rip, 4);
    put(out, cpu->seg[SEG_CS].sel, 4);
    put(out, x86_get_eflags(cpu), 4);
    put(out, cpu->gpr[R_RSP], 4);
    put(out, cpu->seg[SEG_SS].sel, 4);
    put_zeros(out, 4);
}

void x86_dump_prstatus(Vcpu *v, unsigned id, bool wide, GByteArray *out)
{
    if (wide) {
        prstatus_64(x86_cpu(v), id, out);
    } else {
        prstatus_32(x86_cpu(v), id, out);
    }
}

/* flags: the upper half of the descriptor, without its parts of the base. */
static void put_segment(GByteArray *out, const X86Seg *s)
{
    uint32_t limit = s->attr & SA_G ? s->limit >> 12 : s->limit;
    uint32_t flags = s->attr & SA_UNUSABLE ? 0 : (s->attr & 0xf0ff) << 8 | (limit & 0xf0000);
    put(out, s->sel, 4);
    put(out, s->limit, 4);
    put(out, flags, 4);
    put(out, 0, 4);
    put(out, s->base, 8);
}

static void put_table(GByteArray *out, const X86Table *t)
{
    X86Seg s = { .base = t->base, .limit = t->limit };
    put_segment(out, &s);
}

void x86_dump_state(Vcpu *v, GByteArray *out)
{
    static const uint8_t order[] = { R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RSP, R_RBP,
                                     8,     9,     10,    11,    12,    13,    14,    15 };
    static const uint8_t segs[] = { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS };
    const unsigned size = 8 + 18 * 8 + 10 * 24 + 6 * 8;
    const X86Cpu *cpu = x86_cpu(v);
    put_note(out, "QEMU", NT_QEMU, size);
    put(out, QEMU_NOTE_VERSION, 4);
    put(out, size, 4);
    put_gprs(out, cpu, order, G_N_ELEMENTS(order), 8);
    put(out, cpu->rip, 8);
    put(out, x86_get_eflags(cpu), 8);
    for (unsigned i = 0; i < G_N_ELEMENTS(segs); i++) {
        put_segment(out, &cpu->seg[segs[i]]);
    }
    put_segment(out, &cpu->ldt);
    put_segment(out, &cpu->tr);
    put_table(out, &cpu->gdt);
    put_table(out, &cpu->idt);
    const uint64_t control[] = { cpu->cr0, 0, cpu->cr2, cpu->cr3, cpu->cr4 };
    for (unsigned i = 0; i < G_N_ELEMENTS(control); i++) {
        put(out, control[i], 8);
    }
    put(out, cpu->kernel_gs_base, 8);
}

/* SPDX-License-Identifier: MIT
 * tests/cpu/sysguest.h - a bare x86 CPU with RAM, driven step by step: the test writes descriptor tables,
 * page tables and code, runs to the next HLT and looks at registers and memory.
 * Threads: main. Any number of
 * guests at once.
 */
#ifndef TESTS_CPU_SYSGUEST_H
#define TESTS_CPU_SYSGUEST_H

#include "rhea/system/machine.h"
#include "rhea/target/x86/cpu.h"

enum { /* the guest's memory map */
       G_IDT = 0x1000,
       G_GDT = 0x2000,
       G_TSS = 0x3000,
       G_TSS2 = 0x3800,
       G_LDT = 0x3c00,
       G_STACK0 = 0x8000,
       G_STACK3 = 0xa000,
       G_IST = 0xb000,
       G_CODE = 0x10000,
       G_DATA = 0x18000,
       G_HANDLERS = 0x20000,
       G_PT = 0x100000,
       G_RAM = 0x800000,
};
enum { /* selectors of the default GDT */
       S_CODE0 = 0x08,
       S_DATA0 = 0x10,
       S_CODE3 = 0x1b,
       S_DATA3 = 0x23,
       S_TSS = 0x28,
       S_CODE64 = 0x38,
       S_CODE64_3 = 0x4b,
       S_FREE = 0x58, /* from here on for the test */
};

typedef struct GuestIo {
    uint16_t port;
    uint8_t n;
    uint32_t val;
} GuestIo;

typedef struct Guest {
    Loop *loop;
    Machine *m;
    X86Cpu *cpu;
    bool shut_down;
    MemRegion ports; /* 0x80..0x8f; each byte reads as the low half of its number */
    GuestIo io[32];  /* what was written there */
    unsigned n_io, n_in;
} Guest;

bool guest_on_kvm(void);
extern const char *guest_dirty_ring;  /* dirty-ring-size= of it; NULL: none */
extern const char *guest_accel_props; /* kernel-irqchip= of the next guest on KVM; NULL: auto */
/* NULL: "max" */
Guest *guest_new(const char *cpu_model);
/* Several CPUs. Unless serial, each has its thread and runs with machine_start(); g->cpu is the first one. */
Guest *guest_new_smp(const char *cpu_model, unsigned n, bool serial);
void guest_free(Guest *g);

uint64_t guest_ld(Guest *g, hwaddr at, unsigned n);
void guest_st(Guest *g, hwaddr at, unsigned n, uint64_t v);
void guest_put(Guest *g, hwaddr at, const void *buf, size_t n);

/* Descriptors: type and flags as in bits 8-15 and 20-23 of the high half (0x9a, 0xc). */
void guest_desc(Guest *g, uint16_t sel, uint32_t base, uint32_t limit, unsigned access, unsigned flags);
void guest_gate32(Guest *g, hwaddr at, uint16_t sel, uint32_t off, unsigned access);
void guest_gate64(Guest *g, hwaddr at, uint16_t sel, uint64_t off, unsigned access, unsigned ist);

/* Flat protected mode, CPL 0, default GDT, 32-bit TSS, an IDT whose every vector leads to a HLT of its own.
 */
void guest_pm32(Guest *g);
/* The same in 64-bit mode; identity map of 8 MiB with 2 MiB user pages at G_PT. */
void guest_long(Guest *g);
/* CPL 3 in the current mode, at G_CODE. */
void guest_user(Guest *g);
/* Two-level identity map of 4 KiB pages for 8 MiB, entries P W U. */
void guest_paging32(Guest *g);

/* Code at G_CODE, rip there, and on to the next HLT (or shutdown). */
#define guest_run(g, name) guest_run_code((g), (name), (size_t)(name##_end - (name)))
void guest_run_code(Guest *g, const uint8_t *code, size_t n);
void guest_continue(Guest *g);
/* The vector whose handler the CPU halted in, -1 when it is elsewhere. */
int guest_vector(Guest *g);
/* The interrupt frame's slot k, counted from the top of the stack (error code first when there is one). */
uint64_t guest_frame(Guest *g, unsigned k);

#define g_assert_fault(g, vec, err)                          \
    do {                                                     \
        g_assert_cmpint(guest_vector(g), ==, (vec));         \
        g_assert_cmphex(guest_frame((g), 0), ==, (err));     \
    } while (0)

/* Guest code, assembled by the compiler's assembler: GUEST_CODE(name, 32, "text"). */
#define GUEST_CODE(name, bits, text)                                                                         \
    __asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text "\nhlt\n" #name                        \
            "_end:\n.code64\n.popsection\n");                                                                \
    extern const uint8_t name[], name##_end[]

#endif

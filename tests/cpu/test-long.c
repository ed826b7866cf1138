/* SPDX-License-Identifier: MIT
 * tests/cpu/test-long.c - 64-bit mode: interrupt frames, IST, IRETQ, SYSCALL, SYSENTER, bases, page faults,
 * MSRs.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/cpuid.h"
#include "target/x86/sysint.h"

GUEST_CODE(code_ud, 64, "ud2");
GUEST_CODE(code_int80, 64, "int $0x80\n mov $1, %ebx");
GUEST_CODE(code_read, 64, "mov (%rdi), %rax");
GUEST_CODE(code_write, 64, "mov %rax, (%rdi)");
GUEST_CODE(code_jump, 64, "jmp *%rdi");
GUEST_CODE(code_push, 64, "push %rax");

static void test_frames(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    g->cpu->gpr[R_RSP] = G_STACK0 + 8; /* the frame is aligned to 16 */
    guest_run(g, code_ud);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, G_STACK0 - 40);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE);
    g_assert_cmphex(guest_frame(g, 1), ==, S_CODE64);
    g_assert_cmphex(guest_frame(g, 3), ==, G_STACK0 + 8);
    g_assert_cmphex(guest_frame(g, 4), ==, 0x10);

    guest_long(g); /* IST 1 */
    guest_gate64(g, G_IDT + EXC_UD * 16, S_CODE64, G_HANDLERS + EXC_UD * 16, 0x8e, 1);
    guest_run(g, code_ud);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, G_IST - 40);

    guest_long(g); /* from CPL 3 and back */
    guest_gate64(g, G_IDT + 0x80 * 16, S_CODE64, G_HANDLERS + 0x800, 0xee, 0);
    guest_user(g);
    guest_run(g, code_int80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmpuint(g->cpu->cpl, ==, 0);
    g_assert_cmphex(g->cpu->seg[SEG_SS].sel, ==, 0); /* null SS */
    g_assert_cmphex(guest_frame(g, 3), ==, G_STACK3);
    guest_st(g, G_HANDLERS + 0x801, 2, 0xcf48);
    guest_continue(g);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 2), ==, S_CODE64_3);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 1);

    guest_long(g); /* the gate's code segment is not 64-bit */
    guest_gate64(g, G_IDT + EXC_UD * 16, S_CODE0, G_HANDLERS, 0x8e, 0);
    guest_run(g, code_ud);
    g_assert_fault(g, EXC_GP, S_CODE0 | 1);
    guest_free(g);
}

static void test_pages(void)
{
    Guest *g = guest_new(NULL);
    const hwaddr pde = G_PT + 0x2000 + 8 * 2; /* 4..6 MiB */
    const struct { uint64_t pde; bool user; int code; int err;
    } cases[] = {
        { 0x400083, false, 1, -1 },
        { 0x400081, false, 1, 3 },
        { 0x400000, false, 0, 0 },
        { 0x400083, true, 0, 5 },
        { 0x400085, true, 1, 7 },
        { 0x402087, false, 0, 9 } /* reserved bit */,
        { 0x400087 | 1ull << 45, false, 0, 9 },
        { 0x400083 | 1ull << 63, false, 2, 0x11 } /* NX */,
        { 0x400083, true, 2, 0x15 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_long(g);
        guest_st(g, pde, 8, cases[i].pde);
        guest_st(g, 0x400010, 1, 0xf4);
        if (cases[i].user) {
            guest_user(g);
        }
        g->cpu->gpr[R_RDI] = 0x400010;
        switch (cases[i].code) {
        case 0: guest_run(g, code_read); break;
        case 1: guest_run(g, code_write); break;
        default: guest_run(g, code_jump);
        }
        if (cases[i].err < 0) {
            g_assert_cmpint(guest_vector(g), ==, -1);
            g_assert_cmphex(guest_ld(g, pde, 8), ==, cases[i].pde | 0x60);
        } else {
            g_assert_fault(g, EXC_PF, cases[i].err);
            g_assert_cmphex(g->cpu->cr2, ==, 0x400010);
        }
    }
    guest_long(g); /* NXE off: bit 63 is reserved */
    g->cpu->efer &= ~(uint64_t)EFER_NXE;
    guest_st(g, pde, 8, 0x400083 | 1ull << 63);
    g->cpu->gpr[R_RDI] = 0x400000;
    guest_run(g, code_read);
    g_assert_fault(g, EXC_PF, 9);

    guest_long(g); /* non-canonical: #GP, through the stack #SS */
    g->cpu->gpr[R_RDI] = 1ull << 47;
    guest_run(g, code_read);
    g_assert_fault(g, EXC_GP, 0);
    guest_long(g);
    guest_gate64(g, G_IDT + EXC_SS * 16, S_CODE64, G_HANDLERS + EXC_SS * 16, 0x8e, 1);
    g->cpu->gpr[R_RSP] = 1ull << 47 | 0x100;
    guest_run(g, code_push);
    g_assert_fault(g, EXC_SS, 0);
    guest_free(g);
}

/* An extra level above guest_long()'s tables: linear 0 and, through entry 256, 0xff00... */
static void guest_long57(Guest *g)
{
    guest_long(g);
    guest_st(g, G_PT + 0x8000, 8, G_PT | 7);
    guest_st(g, G_PT + 0x8000 + 256 * 8, 8, G_PT | 7);
    g->cpu->cr3 = G_PT + 0x8000;
    g->cpu->cr4 |= CR4_LA57;
    x86_tlb_flush(g->cpu, false);
    x86_update_mode(g->cpu);
}

GUEST_CODE(code_cr4, 64, "mov %rdi, %cr4");
GUEST_CODE(code_wrlstar, 64, "mov $0xc0000082, %ecx\n mov %edi, %eax\n mov %rdi, %rdx\n shr $32, %rdx\n wrmsr");

static void test_la57(void)
{
    const uint64_t high = 0xff00000000000000ull;
    Guest *g = guest_new("max,+la57");
    uint32_t r[4];
    x86_cpuid(g->cpu, 7, 0, r);
    g_assert_true(r[2] >> 16 & 1);
    x86_cpuid(g->cpu, 0x80000008, 0, r);
    g_assert_cmphex(r[0] >> 8 & 0xff, ==, 57);

    guest_long57(g);
    guest_st(g, 0x400000, 8, 0x1234);
    g->cpu->gpr[R_RDI] = high | 0x400000;
    guest_run(g, code_read);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x1234);
    g_assert_cmphex(guest_ld(g, G_PT + 0x8000 + 256 * 8, 8), ==, G_PT | 0x27);

    guest_long57(g); /* a jump there: canonical */
    guest_st(g, 0x400000, 1, 0xf4);
    g->cpu->gpr[R_RDI] = high | 0x400000;
    guest_run(g, code_jump);
    g_assert_cmphex(g->cpu->rip, ==, high | 0x400001);

    guest_long57(g); /* a hole in the fifth level */
    g->cpu->gpr[R_RDI] = 3ull << 48;
    guest_run(g, code_read);
    g_assert_fault(g, EXC_PF, 0);
    g_assert_cmphex(g->cpu->cr2, ==, 3ull << 48);

    guest_long57(g); /* reserved: PS in a PML5E */
    guest_st(g, G_PT + 0x8000 + 256 * 8, 8, G_PT | 0x87);
    g->cpu->gpr[R_RDI] = high;
    guest_run(g, code_read);
    g_assert_fault(g, EXC_PF, 9);

    guest_long57(g);
    g->cpu->gpr[R_RDI] = 1ull << 56; /* not canonical */
    guest_run(g, code_read);
    g_assert_fault(g, EXC_GP, 0);

    guest_long57(g); /* LA57 does not change in long mode, either way */
    g->cpu->gpr[R_RDI] = CR4_PAE;
    guest_run(g, code_cr4);
    g_assert_fault(g, EXC_GP, 0);
    guest_long(g);
    g->cpu->gpr[R_RDI] = CR4_PAE | CR4_LA57;
    guest_run(g, code_cr4);
    g_assert_fault(g, EXC_GP, 0);

    guest_long(g); /* 48 bits in use: registers of bases take 57 all the same, jumps do not */
    g->cpu->gpr[R_RDI] = high;
    guest_run(g, code_wrlstar);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->lstar, ==, high);
    guest_long(g);
    g->cpu->gpr[R_RDI] = high;
    guest_run(g, code_jump);
    g_assert_fault(g, EXC_GP, 0);
    guest_free(g);

    g = guest_new("max");
    guest_long(g);
    g->cpu->gpr[R_RDI] = high;
    guest_run(g, code_wrlstar);
    g_assert_fault(g, EXC_GP, 0);
    x86_cpuid(g->cpu, 0x80000008, 0, r);
    g_assert_cmphex(r[0] >> 8 & 0xff, ==, 48);
    guest_free(g);
}

GUEST_CODE(code_wrpkru, 64, "mov %esi, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n wrpkru\n mov $-1, %edx\n rdpkru\n"
                            "mov %eax, %ebx\n mov (%rdi), %rax");
GUEST_CODE(code_wrpkru_bad, 64, "mov $1, %ecx\n rdpkru");
/* Read with all rights first, so that the TLB holds the page; then without, and write. */
GUEST_CODE(code_pk_tlb, 64, "xor %eax, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n wrpkru\n mov %rax, (%rdi)\n"
                            "mov %esi, %eax\n wrpkru\n mov %rax, (%rdi)");
GUEST_CODE(code_xsave_pkru, 64, "mov %cr4, %rax\n or $0x40000, %rax\n mov %rax, %cr4\n xor %ecx, %ecx\n xor %edx, %edx\n"
           "mov $0x203, %eax\n xsetbv\n mov $0x55555554, %eax\n wrpkru\n mov $0x200, %eax\n xor %edx, %edx\n"
           "xsave 0x18000\n xor %eax, %eax\n wrpkru\n mov $0x200, %eax\n xrstor 0x18000\n rdpkru\n mov %eax, %r8d\n"
           "mov $0x200, %eax\n movq $0, 0x18200\n xrstor 0x18000\n rdpkru\n mov %eax, %esi");

static void test_pku(void)
{
    const hwaddr pde = G_PT + 0x2000 + 8 * 2; /* 4..6 MiB */
    const uint64_t key5 = 5ull << 59;
    const struct { uint64_t pde, cr4; uint32_t pkru, pkrs; bool user, write, wp; int err;
    } cases[] = {
        { 0x400087, CR4_PKE, 0, 0, true, false, true, -1 },
        { 0x400087, CR4_PKE, 1 << 10, 0, true, false, true, 0x25 }, /* access disabled */
        { 0x400087, CR4_PKE, 1 << 10, 0, false, false, true, 0x21 }, /* for the supervisor, too */
        { 0x400087, CR4_PKE, 2 << 10, 0, true, false, true, -1 }, /* write disabled: reads go */
        { 0x400087, CR4_PKE, 2 << 10, 0, true, true, true, 0x27 },
        { 0x400087, CR4_PKE, 2 << 10, 0, false, true, true, 0x23 },
        { 0x400087, CR4_PKE, 2 << 10, 0, false, true, false, -1 }, /* CR0.WP = 0 */
        { 0x400087, 0, 3 << 10, 0, true, true, true, -1 },
        { 0x400083, CR4_PKE, 3 << 10, 0, false, true, true, -1 }, /* a supervisor page: PKRU does not count */
        { 0x400083, CR4_PKE | CR4_PKS, 0, 1 << 10, false, false, true, 0x21 },
        { 0x400083, CR4_PKS, 0, 2 << 10, false, true, true, 0x23 },
        { 0x400087, CR4_PKS, 0, 3 << 10, false, true, true, -1 },
    };
    Guest *g = guest_new("max,+pku,+pks");
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_long(g);
        guest_st(g, pde, 8, cases[i].pde | key5);
        g->cpu->cr4 |= cases[i].cr4;
        g->cpu->cr0 = cases[i].wp ? g->cpu->cr0 : g->cpu->cr0 & ~(uint64_t)CR0_WP;
        g->cpu->pkru = cases[i].pkru;
        g->cpu->pkrs = cases[i].pkrs;
        x86_tlb_flush(g->cpu, false);
        if (cases[i].user) {
            guest_user(g);
        }
        g->cpu->gpr[R_RDI] = 0x400010;
        if (cases[i].write) {
            guest_run(g, code_write);
        } else {
            guest_run(g, code_read);
        }
        if (cases[i].err >= 0) {
            g_assert_fault(g, EXC_PF, cases[i].err);
        } else {
            g_assert_cmpint(guest_vector(g), ==, cases[i].user ? EXC_GP : -1); /* HLT at CPL 3 */
        }
    }
    guest_long(g); /* the instructions */
    g->cpu->cr4 |= CR4_PKE;
    guest_st(g, pde, 8, 0x400087 | key5);
    g->cpu->gpr[R_RDI] = 0x400010;
    g->cpu->gpr[R_RSI] = 0x55555554 & ~(3u << 10);
    guest_run(g, code_wrpkru);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0x55555554 & ~(3u << 10));
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 0);
    guest_run(g, code_wrpkru_bad);
    g_assert_fault(g, EXC_GP, 0);
    guest_long(g); /* a right taken away reaches what the TLB holds */
    g->cpu->cr4 |= CR4_PKE;
    guest_st(g, pde, 8, 0x400087 | key5);
    g->cpu->gpr[R_RDI] = 0x400010;
    g->cpu->gpr[R_RSI] = 2u << 10;
    guest_run(g, code_pk_tlb);
    g_assert_fault(g, EXC_PF, 0x23);
    guest_long(g); /* PKE clear */
    guest_run(g, code_wrpkru);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    guest_long(g); /* XSAVE component 9 */
    g->cpu->cr4 |= CR4_PKE;
    guest_run(g, code_xsave_pkru);
    g_assert_cmpint(guest_vector(g), ==, -1);
    uint32_t r[4];
    x86_cpuid(g->cpu, 0xd, 9, r);
    g_assert_cmpuint(r[0], ==, 8);
    g_assert_cmphex(guest_ld(g, G_DATA + r[1], 8), ==, 0x55555554);
    g_assert_cmphex(guest_ld(g, G_DATA + 512, 8), ==, 0);
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, 0); /* not in XSTATE_BV: initial */
    uint32_t end = r[1] + 8;
    x86_cpuid(g->cpu, 0xd, 0, r);
    g_assert_cmpuint(r[1], ==, end);
    x86_cpuid(g->cpu, 7, 0, r);
    g_assert_cmphex(r[2] & 0x18, ==, 0x18); /* OSPKE */
    g_assert_cmphex(g->cpu->gpr[8], ==, 0x55555554);
    guest_free(g);
}

GUEST_CODE(code_syscall, 64, "syscall\n mov $9, %edx");
GUEST_CODE(code_sysretq, 64, "mov %rcx, %rsi\n pushf\n pop %r10\n sysretq");
GUEST_CODE(code_sysenter, 64, "sysenter");
GUEST_CODE(code_sysexit, 64, "mov $0x10000, %edx\n mov $0xa000, %ecx\n sysexitq");

static void test_syscall(const void *arg)
{
    bool amd = !strcmp(arg, "amd");
    Guest *g = guest_new(amd ? "max" : "max,vendor=GenuineIntel");
    guest_long(g);
    guest_put(g, G_DATA, code_sysretq, (size_t)(code_sysretq_end - code_sysretq));
    g->cpu->star = (uint64_t)0x38 << 32 | (uint64_t)0x3b << 48; /* SYSCALL 38h 40h; SYSRET 4Bh 43h */
    g->cpu->lstar = G_DATA;
    g->cpu->fmask = FL_IF | FL_DF;
    guest_user(g);
    g->cpu->eflags |= FL_IF;
    guest_run(g, code_syscall);
    g_assert_fault(g, EXC_GP, 0); /* HLT at CPL 3 */
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, G_CODE + 2);
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 9);
    g_assert_false(g->cpu->gpr[10] & FL_IF);
    g_assert_cmphex(guest_frame(g, 2), ==, 0x4b);
    g_assert_cmphex(guest_frame(g, 5), ==, 0x43);
    g_assert_true(guest_frame(g, 3) & FL_IF);

    guest_long(g); /* SCE off */
    g->cpu->efer &= ~(uint64_t)EFER_SCE;
    guest_run(g, code_syscall);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);

    guest_long(g);
    g->cpu->sysenter_cs = 0x38;
    g->cpu->sysenter_esp = G_IST;
    g->cpu->sysenter_eip = G_DATA;
    guest_st(g, G_DATA, 1, 0xf4);
    guest_user(g);
    guest_run(g, code_sysenter);
    if (amd) {
        g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    } else {
        g_assert_cmphex(g->cpu->rip, ==, G_DATA + 1);
        g_assert_cmphex(g->cpu->gpr[R_RSP], ==, G_IST);
        g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, 0x38);
        g_assert_cmpuint(g->cpu->cpl, ==, 0);
        /* SYSEXIT: to CPL 3 at G_CODE, whose first byte is now HLT. */
        guest_put(g, G_DATA, code_sysexit, (size_t)(code_sysexit_end - code_sysexit));
        guest_st(g, G_CODE, 1, 0xf4);
        g->cpu->rip = G_DATA;
        guest_continue(g);
        g_assert_fault(g, EXC_GP, 0);
        g_assert_cmphex(guest_frame(g, 2), ==, 0x5b);
        g_assert_cmphex(guest_frame(g, 4), ==, 0xa000);
    }
    guest_free(g);
}

static void test_bases(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    GUEST_CODE(code_bases, 64,
               "mov $0xc0000101, %ecx\n mov $0x18000, %eax\n xor %edx, %edx\n wrmsr\n"
               "mov %gs:8, %rbx\n swapgs\n mov %cr4, %rax\n or $0x10000, %rax\n mov %rax, %cr4\n"
               "rdgsbase %rsi\n mov $0x18100, %edi\n wrfsbase %rdi\n mov %fs:0, %r8");
    guest_st(g, 0x18008, 8, 0xabcdef);
    guest_st(g, 0x18100, 8, 0x77);
    g->cpu->kernel_gs_base = 0xffff800000000000ull;
    guest_run(g, code_bases);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0xabcdef);
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, 0xffff800000000000ull);
    g_assert_cmphex(g->cpu->gpr[8], ==, 0x77);
    g_assert_cmphex(g->cpu->kernel_gs_base, ==, 0x18000);
    guest_free(g);
}

static void test_msrs(void)
{
    Guest *g = guest_new("max,vendor=GenuineIntel");
    X86Cpu *cpu = g->cpu;
    uint64_t v;
    guest_long(g);
    g_assert_false(x86_msr_read(cpu, 0x12345, &v));
    g_assert_true(x86_msr_read(cpu, 0x277, &v));
    g_assert_cmphex(v, ==, 0x0007040600070406ull);
    g_assert_false(x86_msr_write(cpu, 0x277, 2));
    g_assert_true(x86_msr_write(cpu, 0x277, 0x0606060606060606ull));
    g_assert_false(x86_msr_write(cpu, 0xc0000082, 1ull << 57)); /* not canonical */
    g_assert_true(x86_msr_read(cpu, 0x10a, &v));
    g_assert_true(v & 1); /* RDCL_NO */
    g_assert_true(x86_msr_write(cpu, 0x3a, 1));
    g_assert_false(x86_msr_write(cpu, 0x3a, 1)); /* locked */
    g_assert_true(x86_msr_write(cpu, 0x10, 1000));
    g_assert_true(x86_msr_read(cpu, 0x3b, &v));
    g_assert_cmphex(v, ==, 1000);
    g_assert_true(x86_msr_write(cpu, 0x3b, 0));
    g_assert_cmphex(x86_read_tsc(cpu), ==, 0); /* the test's clock stands still */
    g_assert_false(x86_msr_write(cpu, 0xc0000080, EFER_LMA | EFER_SCE)); /* LME cannot go while paging */
    guest_run(g, code_ud); /* still alive */
    GUEST_CODE(code_badmsr, 64, "mov $0x12345, %ecx\n rdmsr");
    guest_long(g);
    guest_run(g, code_badmsr);
    g_assert_fault(g, EXC_GP, 0);
    guest_free(g);
}

/* The structure of the paravirtual clock gives the time that the TSC gives. */
static void test_pvclock(void)
{
    static const char *const models[] = { "max", "max,tsc-frequency=2.4G", "max,tsc-frequency=33M", "max,tsc-frequency=99G" };
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        Guest *g = guest_new(models[i]);
        guest_long(g);
        guest_st(g, G_DATA, 4, 7); /* an odd version from before */
        g_assert_true(x86_msr_write(g->cpu, X86_MSR_KVM_SYSTEM_TIME, G_DATA | 1));
        g_assert_cmphex(guest_ld(g, G_DATA, 4) & 1, ==, 0);
        g_assert_cmphex(guest_ld(g, G_DATA + 29, 1), ==, 1); /* stable */
        uint64_t stamp = guest_ld(g, G_DATA + 8, 8), base = guest_ld(g, G_DATA + 16, 8);
        uint64_t mul = guest_ld(g, G_DATA + 24, 4);
        int8_t shift = (int8_t)guest_ld(g, G_DATA + 28, 1);
        g_assert_cmphex(mul >> 31, ==, 1);
        const int64_t later = (int64_t)base + 3600 * INT64_C(1000000000); /* an hour: the error of mul stays below 1 us */
        uint64_t ticks = x86_tsc_at(g->cpu, later) - stamp;
        unsigned __int128 t = shift < 0 ? ticks >> -shift : (unsigned __int128)ticks << shift;
        int64_t ns = (int64_t)base + (int64_t)(t * mul >> 32);
        g_assert_cmpint(ABS(ns - later), <, 2000);
        /* the TSC is written: so is the structure */
        uint64_t version = guest_ld(g, G_DATA, 4);
        g_assert_true(x86_msr_write(g->cpu, 0x10, 0));
        g_assert_cmphex(guest_ld(g, G_DATA, 4), ==, version + 2);
        g_assert_cmpuint(guest_ld(g, G_DATA + 8, 8), <, (uint64_t)g->cpu->tsc_hz * 100);
        g_assert_true(x86_msr_write(g->cpu, X86_MSR_KVM_WALL_CLOCK, G_DATA + 64));
        g_assert_cmpint(ABS((int64_t)guest_ld(g, G_DATA + 68, 4) - g_get_real_time() / 1000000), <, 100);
        g_assert_false(x86_msr_write(g->cpu, X86_MSR_KVM_WALL_CLOCK, 3));
        g_assert_false(x86_msr_write(g->cpu, X86_MSR_KVM_SYSTEM_TIME, 2));
        g_assert_true(x86_msr_write(g->cpu, X86_MSR_KVM_SYSTEM_TIME, UINT64_C(1) << 60 | 1)); /* nobody there */
        guest_free(g);
    }
}

static void test_controls(void)
{
    Guest *g = guest_new(NULL);
    X86Cpu *cpu = g->cpu;
    guest_long(g);
    g_assert_false(x86_set_cr0(cpu, cpu->cr0 & ~(uint64_t)CR0_PG)); /* in 64-bit code */
    g_assert_false(x86_set_cr0(cpu, cpu->cr0 | CR0_NW));
    g_assert_false(x86_set_cr4(cpu, cpu->cr4 & ~(uint64_t)CR4_PAE));
    g_assert_false(x86_set_cr4(cpu, cpu->cr4 | CR4_LA57));
    g_assert_false(x86_set_cr3(cpu, 1ull << 52));
    g_assert_true(x86_set_cr4(cpu, cpu->cr4 | CR4_PCIDE));
    g_assert_true(x86_set_cr3(cpu, G_PT | 5 | 1ull << 63));
    g_assert_cmphex(cpu->cr3, ==, G_PT | 5);
    GUEST_CODE(code_invpcid, 64, "xor %eax, %eax\n push $0\n push $0x1000\n invpcid (%rsp), %rax");
    guest_run(g, code_invpcid); /* descriptor bits 63:12 are reserved */
    g_assert_fault(g, EXC_GP, 0);
    /* UMIP */
    guest_long(g);
    g_assert_true(x86_set_cr4(cpu, cpu->cr4 | CR4_UMIP));
    GUEST_CODE(code_sidt, 64, "sidt (%rdi)");
    cpu->gpr[R_RDI] = G_DATA;
    guest_run(g, code_sidt);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(guest_ld(g, G_DATA, 2), ==, 0xfff);
    g_assert_cmphex(guest_ld(g, G_DATA + 2, 8), ==, G_IDT);
    guest_user(g);
    guest_run(g, code_sidt);
    g_assert_fault(g, EXC_GP, 0);
    guest_free(g);
}

GUEST_CODE(code_invpcid_type, 64, "push %rcx\n push %rbx\n invpcid (%rsp), %rax");

static void test_invpcid(void)
{
    const struct { uint64_t type, pcid, lin; bool pcide, gp; } cases[] = {
        { 0, 0, 0x400000, false, false }, { 0, 1, 0x400000, false, true }, { 0, 1, 0x400000, true, false },
        { 0, 0, 1ull << 57, false, true }, { 1, 0, 1ull << 57, false, false }, { 1, 1, 0, false, true },
        { 2, 1, 0, false, false },        { 3, 1, 0, false, false },       { 4, 0, 0, false, true },
        { 0, 0x1000, 0, true, true },     { 1, 0x1000, 0, true, true },    { 2, 0x1000, 0, true, true },
        { 3, 0x1000, 0, true, true },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("case %u", i);
        guest_long(g);
        g_assert_true(!cases[i].pcide || x86_set_cr4(g->cpu, g->cpu->cr4 | CR4_PCIDE));
        g->cpu->gpr[R_RAX] = cases[i].type;
        g->cpu->gpr[R_RBX] = cases[i].pcid;
        g->cpu->gpr[R_RCX] = cases[i].lin;
        guest_run(g, code_invpcid_type);
        if (cases[i].gp) {
            g_assert_fault(g, EXC_GP, 0);
        } else {
            g_assert_cmpint(guest_vector(g), ==, -1);
        }
    }
    /* Which translations go: a global page survives types 0 (of another address), 1 and 3, but not 2. */
    const hwaddr pde = G_PT + 0x2000 + 8 * 2; /* 4..6 MiB */
    const bool stale[] = { true, true, false, true };
    for (unsigned type = 0; type < 4; type++) {
        guest_long(g);
        g_assert_true(x86_set_cr4(g->cpu, g->cpu->cr4 | CR4_PGE));
        guest_st(g, 0x400000, 4, 0x44);
        guest_st(g, 0x600000, 4, 0x66);
        guest_st(g, pde, 8, 0x400187);
        g->cpu->gpr[R_RDI] = 0x400000;
        guest_run(g, code_read);
        g_assert_cmphex(g->cpu->gpr[R_RAX] & 0xffff, ==, 0x44);
        guest_st(g, pde, 8, 0x600187);
        g->cpu->gpr[R_RAX] = type;
        g->cpu->gpr[R_RBX] = 0;
        g->cpu->gpr[R_RCX] = 0x200000;
        guest_run(g, code_invpcid_type);
        guest_run(g, code_read);
        g_assert_cmphex(g->cpu->gpr[R_RAX] & 0xffff, ==, stale[type] ? 0x44 : 0x66);
    }
    guest_free(g);
}

static void test_a20(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    GUEST_CODE(code_read32, 32, "mov (%edi), %eax");
    guest_st(g, 0x5000, 4, 0x11);
    guest_st(g, 0x105000, 4, 0x22);
    g->cpu->gpr[R_RDI] = 0x105000;
    guest_run(g, code_read32);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x22);
    x86_set_a20(g->cpu, false);
    guest_run(g, code_read32);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x11);
    guest_free(g);
}

static void test_state(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_run(g, code_ud);
    g_autoptr(GByteArray) a = g_byte_array_new(), b = g_byte_array_new();
    vmstate_save(x86_64_target_ops.vmstate, g->cpu, a);
    uint32_t mode = g->cpu->mode;
    x86_cpu_reset(g->cpu, RESET_COLD);
    const uint8_t *p = a->data;
    g_assert_true(vmstate_load(x86_64_target_ops.vmstate, g->cpu, &p, a->data + a->len, &error_abort_slot));
    g_assert_cmphex(g->cpu->mode, ==, mode);
    vmstate_save(x86_64_target_ops.vmstate, g->cpu, b);
    g_assert_cmpmem(a->data, a->len, b->data, b->len);
    g_autoptr(GString) text = g_string_new(NULL);
    x86_64_target_ops.print_regs(&g->cpu->vcpu, text);
    g_assert_nonnull(strstr(text->str, "CS =0038 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]"));
    g_string_truncate(text, 0);
    x86_64_target_ops.print_mem(&g->cpu->vcpu, text);
    g_assert_cmpstr(text->str, ==, "0000000000000000-0000000000800000 0000000000800000 urw\n");
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/long/frames", test_frames);
    g_test_add_func("/cpu/long/pages", test_pages);
    g_test_add_func("/cpu/long/la57", test_la57);
    g_test_add_func("/cpu/long/protection-keys", test_pku);
    g_test_add_data_func("/cpu/long/syscall-amd", "amd", test_syscall);
    g_test_add_data_func("/cpu/long/syscall-intel", "intel", test_syscall);
    g_test_add_func("/cpu/long/bases", test_bases);
    g_test_add_func("/cpu/long/msrs", test_msrs);
    g_test_add_func("/cpu/long/controls", test_controls);
    g_test_add_func("/cpu/long/pvclock", test_pvclock);
    g_test_add_func("/cpu/long/invpcid", test_invpcid);
    g_test_add_func("/cpu/long/a20", test_a20);
    g_test_add_func("/cpu/long/state", test_state);
    return g_test_run();
}

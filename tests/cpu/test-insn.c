/* SPDX-License-Identifier: MIT
 * tests/cpu/test-insn.c - the instructions that cpu-diff cannot try on the host: ports, segment registers, far
 * pointers, descriptor tables, privilege, time, random numbers. SDM volume 2, the page of each; test-rows.c asks that
 * every such row of insn.def is executed by some guest.
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

static Guest *pm32(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    return g;
}

#define R(r) (g->cpu->gpr[R_##r])

/* --- ports --- */

GUEST_CODE(code_in, 32, "in $0x81, %al\n mov %eax, %ebx\n in $0x84, %eax\n mov %eax, %ecx\n mov $0x82, %dl\n"
                        "mov $0x11111111, %eax\n in %dx, %al\n mov %eax, %esi\n mov $0x22222222, %eax\n in %dx, %ax\n"
                        "mov %eax, %edi\n in %dx, %eax\n mov %eax, %ebp\n in $0x84, %ax");
GUEST_CODE(code_out, 32, "mov $0x44332211, %eax\n mov $0x88, %edx\n out %al, $0x80\n out %ax, $0x82\n"
                         "out %eax, $0x84\n out %al, %dx\n out %ax, %dx\n out %eax, %dx");

static void test_ports(void)
{
    Guest *g = pm32();
    R(RAX) = 0xaabbccdd;
    R(RDX) = 0;
    guest_run(g, code_in);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(R(RBX), ==, 0xaabbcc81);
    g_assert_cmphex(R(RCX), ==, 0x87868584);
    g_assert_cmphex(R(RSI), ==, 0x11111182);
    g_assert_cmphex(R(RDI), ==, 0x22228382);
    g_assert_cmphex(R(RBP), ==, 0x85848382);
    g_assert_cmphex(R(RAX), ==, 0x85848584);
    g->n_io = 0;
    guest_run(g, code_out);
    const GuestIo want[] = { { 0x80, 1, 0x11 }, { 0x82, 2, 0x2211 }, { 0x84, 4, 0x44332211 },
                             { 0x88, 1, 0x11 }, { 0x88, 2, 0x2211 }, { 0x88, 4, 0x44332211 } };
    g_assert_cmpuint(g->n_io, ==, G_N_ELEMENTS(want));
    for (unsigned i = 0; i < g->n_io; i++) {
        g_assert_cmphex(g->io[i].port, ==, want[i].port);
        g_assert_cmpuint(g->io[i].n, ==, want[i].n);
        g_assert_cmphex(g->io[i].val, ==, want[i].val);
    }
    guest_free(g);
}

GUEST_CODE(code_ins, 32, "insb\n insw\n insl\n mov $3, %ecx\n rep insb\n mov $2, %ecx\n rep insw\n mov $1, %ecx\n rep insl\n"
                         "mov $1, %ecx\n repne insb\n mov $2, %ecx\n repne insl\n std\n insb\n cld");
GUEST_CODE(code_outs, 32, "outsb\n outsw\n outsl\n mov $2, %ecx\n rep outsb\n mov $2, %ecx\n rep outsl\n"
                          "mov $1, %ecx\n repne outsb\n mov $1, %ecx\n repne outsw\n std\n outsb\n cld");

static void test_string_ports(void)
{
    Guest *g = pm32();
    R(RDX) = 0x80;
    R(RDI) = G_DATA;
    guest_run(g, code_ins);
    static const uint8_t want[] = { 0x80, 0x80, 0x81, 0x80, 0x81, 0x82, 0x83, 0x80, 0x80, 0x80, 0x80, 0x81, 0x80, 0x81,
                                    0x80, 0x81, 0x82, 0x83, 0x80, 0x80, 0x81, 0x82, 0x83, 0x80, 0x81, 0x82, 0x83, 0x80 };
    for (unsigned i = 0; i < sizeof(want); i++) {
        g_assert_cmphex(guest_ld(g, G_DATA + i, 1), ==, want[i]);
    }
    g_assert_cmphex(R(RDI), ==, G_DATA + sizeof(want) - 2);
    g_assert_cmphex(R(RCX), ==, 0);
    for (unsigned i = 0; i < 64; i++) {
        guest_st(g, G_DATA + i, 1, i + 1);
    }
    R(RSI) = G_DATA;
    g->n_io = 0;
    guest_run(g, code_outs);
    const GuestIo out[] = { { 0x80, 1, 1 }, { 0x80, 2, 0x302 }, { 0x80, 4, 0x7060504 }, { 0x80, 1, 8 }, { 0x80, 1, 9 },
                            { 0x80, 4, 0xd0c0b0a }, { 0x80, 4, 0x11100f0e }, { 0x80, 1, 0x12 }, { 0x80, 2, 0x1413 },
                            { 0x80, 1, 0x15 } };
    g_assert_cmpuint(g->n_io, ==, G_N_ELEMENTS(out));
    for (unsigned i = 0; i < g->n_io; i++) {
        g_assert_cmpuint(g->io[i].n, ==, out[i].n);
        g_assert_cmphex(g->io[i].val, ==, out[i].val);
    }
    g_assert_cmphex(R(RSI), ==, G_DATA + 0x13);
    guest_free(g);
}

/* --- segment registers --- */

GUEST_CODE(code_push_segs, 32, "push %cs\n pop %eax\n push %ss\n pop %ebx\n push %ds\n pop %ecx\n push %es\n pop %edx\n"
                               "push %fs\n pop %esi\n push %gs\n pop %edi\n mov %esp, %ebp\n pushw %fs\n sub %esp, %ebp\n"
                               "add $2, %esp");
GUEST_CODE(code_pop_segs, 32, "push %eax\n pop %ds\n push %eax\n pop %es\n push %eax\n pop %fs\n push %eax\n pop %gs\n"
                              "push %ebx\n pop %ss\n pushw %bx\n popw %gs\n mov %gs, %ecx\n mov %fs, (%edi)\n"
                              "mov %es, %dx\n mov %ds, %esi");
GUEST_CODE(code_segs64, 64, "push %fs\n pop %rax\n push %gs\n pop %rbx\n push %rcx\n pop %fs\n push %rcx\n pop %gs\n"
                            "mov %gs, %rdx\n mov %fs, %esi\n pushw %fs\n popw %gs\n mov %rsp, %rdi");

static void test_segs(void)
{
    Guest *g = pm32();
    guest_desc(g, S_FREE, 0, 0xfffff, 0x93, 0xc);
    g->cpu->seg[SEG_FS].sel = S_FREE;
    g->cpu->seg[SEG_GS].sel = 0x7777;
    guest_run(g, code_push_segs);
    g_assert_cmphex(R(RAX) & 0xffff, ==, S_CODE0);
    g_assert_cmphex(R(RBX) & 0xffff, ==, g->cpu->seg[SEG_SS].sel);
    g_assert_cmphex(R(RCX) & 0xffff, ==, g->cpu->seg[SEG_DS].sel);
    g_assert_cmphex(R(RDX) & 0xffff, ==, g->cpu->seg[SEG_ES].sel);
    g_assert_cmphex(R(RSI) & 0xffff, ==, S_FREE);
    g_assert_cmphex(R(RDI) & 0xffff, ==, 0x7777);
    g_assert_cmphex(R(RBP), ==, 2);
    g_assert_cmphex(R(RSP), ==, G_STACK0);

    guest_desc(g, S_FREE, 0, 0xfffff, 0x92, 0xc);
    R(RAX) = S_FREE;
    R(RBX) = S_DATA0;
    R(RDX) = 0xffffffff;
    R(RDI) = G_DATA;
    guest_st(g, G_DATA, 4, 0xffffffff);
    guest_run(g, code_pop_segs);
    g_assert_cmphex(g->cpu->seg[SEG_DS].sel, ==, S_FREE);
    g_assert_cmphex(g->cpu->seg[SEG_ES].sel, ==, S_FREE);
    g_assert_cmphex(g->cpu->seg[SEG_FS].sel, ==, S_FREE);
    g_assert_cmphex(g->cpu->seg[SEG_GS].sel, ==, S_DATA0);
    g_assert_cmphex(g->cpu->seg[SEG_SS].sel, ==, S_DATA0);
    g_assert_cmphex(R(RCX), ==, S_DATA0); /* zero-extended */
    g_assert_cmphex(guest_ld(g, G_DATA, 4), ==, 0xffff0000 | S_FREE);
    g_assert_cmphex(R(RDX), ==, 0xffff0000 | S_FREE);
    g_assert_cmphex(R(RSP), ==, G_STACK0);
    g_assert_cmphex(guest_ld(g, G_GDT + S_FREE + 5, 1), ==, 0x93);

    guest_long(g);
    g->cpu->seg[SEG_FS].sel = 0x1234;
    g->cpu->seg[SEG_GS].sel = 0x4321;
    R(RCX) = S_DATA0;
    guest_run(g, code_segs64);
    g_assert_cmphex(R(RAX) & 0xffff, ==, 0x1234);
    g_assert_cmphex(R(RBX) & 0xffff, ==, 0x4321);
    g_assert_cmphex(R(RDX), ==, S_DATA0);
    g_assert_cmphex(R(RSI), ==, S_DATA0);
    g_assert_cmphex(R(RDI), ==, G_STACK0);
    guest_free(g);
}

/* A fault in POP Sreg leaves the stack pointer and the register alone. */
static void test_pop_seg_fault(void)
{
    Guest *g = pm32();
    GUEST_CODE(code_pop_seg_fault, 32, "push $0x1000\n pop %es");
    g->cpu->seg[SEG_ES].sel = 0x10;
    guest_run(g, code_pop_seg_fault);
    g_assert_fault(g, EXC_GP, 0x1000);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + 5);
    g_assert_cmphex(R(RSP), ==, G_STACK0 - 4 - 16);
    g_assert_cmphex(g->cpu->seg[SEG_ES].sel, ==, 0x10);
    guest_free(g);
}

GUEST_CODE(code_lfp, 32, "lds (%ebx), %eax\n les 8(%ebx), %ecx\n lfs 16(%ebx), %edx\n lgs 24(%ebx), %esi\n"
                         "lss 32(%ebx), %esp\n les 8(%ebx), %di");
GUEST_CODE(code_lfp64, 64, "lfs (%rbx), %eax\n lgs 8(%rbx), %ecx\n lss 16(%rbx), %edx");

static void test_far_pointers(void)
{
    Guest *g = pm32();
    for (unsigned i = 0; i < 5; i++) {
        guest_st(g, G_DATA + 8 * i, 4, 0x11110000 + i);
        guest_st(g, G_DATA + 8 * i + 4, 2, i == 4 ? S_DATA0 : S_FREE + 8 * i);
        guest_desc(g, (uint16_t)(S_FREE + 8 * i), 0, 0xfffff, 0x93, 0xc);
    }
    guest_st(g, G_DATA + 10, 2, S_FREE + 8); /* les 8(%ebx), %di takes its selector from there */
    R(RBX) = G_DATA;
    R(RDI) = 0xaaaaaaaa;
    guest_run(g, code_lfp);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(R(RAX), ==, 0x11110000);
    g_assert_cmphex(R(RCX), ==, (S_FREE + 8) << 16 | 1);
    g_assert_cmphex(R(RDX), ==, 0x11110002);
    g_assert_cmphex(R(RSI), ==, 0x11110003);
    g_assert_cmphex(R(RSP), ==, 0x11110004);
    g_assert_cmphex(R(RDI), ==, 0xaaaa0001);
    g_assert_cmphex(g->cpu->seg[SEG_DS].sel, ==, S_FREE);
    g_assert_cmphex(g->cpu->seg[SEG_ES].sel, ==, S_FREE + 8);
    g_assert_cmphex(g->cpu->seg[SEG_FS].sel, ==, S_FREE + 16);
    g_assert_cmphex(g->cpu->seg[SEG_GS].sel, ==, S_FREE + 24);
    g_assert_cmphex(g->cpu->seg[SEG_SS].sel, ==, S_DATA0);

    guest_long(g);
    guest_st(g, G_DATA + 4, 2, S_DATA0);
    guest_st(g, G_DATA + 8, 4, 0x22220000);
    guest_st(g, G_DATA + 12, 2, 0);
    guest_st(g, G_DATA + 20, 2, S_DATA0);
    R(RBX) = G_DATA;
    R(RAX) = R(RCX) = ~0ull;
    guest_run(g, code_lfp64);
    g_assert_cmphex(R(RAX), ==, 0x11110000);
    g_assert_cmphex(R(RCX), ==, 0x22220000);
    g_assert_cmphex(R(RDX), ==, 0x11110002);
    g_assert_true(g->cpu->seg[SEG_GS].attr & SA_UNUSABLE);
    guest_free(g);
}

GUEST_CODE(code_far, 32, "lcall *(%ebx)\n mov $1, %ecx\n lcallw *8(%ebx)\n mov $2, %edx\n ljmp *16(%ebx)");
GUEST_CODE(code_lret, 32, "mov (%esp), %eax\n mov 4(%esp), %esi\n lret");
GUEST_CODE(code_lretw, 32, "mov (%esp), %edi\n lretw");
GUEST_CODE(code_hlt, 32, "nop");
GUEST_CODE(code_far64, 64, ".byte 0x48\n lcall *(%rbx)\n mov $1, %ecx\n ljmp *16(%rbx)");
GUEST_CODE(code_lret64, 64, "mov (%rsp), %rax\n mov 8(%rsp), %rsi\n lretq");

static void test_far_transfers(void)
{
    Guest *g = pm32();
    guest_desc(g, S_FREE, 0, 0xffff, 0x9b, 4);
    guest_put(g, G_DATA, code_lret, (size_t)(code_lret_end - code_lret));
    guest_put(g, 0x7000, code_lretw, (size_t)(code_lretw_end - code_lretw));
    guest_put(g, 0x7100, code_hlt, (size_t)(code_hlt_end - code_hlt));
    guest_st(g, G_DATA + 0x100, 4, G_DATA);
    guest_st(g, G_DATA + 0x104, 2, S_CODE0);
    guest_st(g, G_DATA + 0x108, 2, 0x7000);
    guest_st(g, G_DATA + 0x10a, 2, S_FREE);
    guest_st(g, G_DATA + 0x110, 4, 0x7100);
    guest_st(g, G_DATA + 0x114, 2, S_FREE);
    R(RBX) = G_DATA + 0x100;
    /* The 16-bit return address cannot name 0x10000: the caller lives at the base of a segment of its own. */
    guest_desc(g, S_FREE + 8, G_CODE, 0xffff, 0x9b, 4);
    g->cpu->seg[SEG_CS] = (X86Seg){ .sel = S_FREE + 8, .base = G_CODE, .limit = 0xffff, .attr = 0x409b };
    guest_put(g, G_CODE, code_far, (size_t)(code_far_end - code_far));
    g->cpu->rip = 0;
    x86_update_mode(g->cpu);
    guest_continue(g);
    g_assert_cmphex(R(RAX), ==, 2);
    g_assert_cmphex(R(RSI) & 0xffff, ==, S_FREE + 8);
    g_assert_cmphex(R(RCX), ==, 1);
    g_assert_cmphex(R(RDI), ==, (S_FREE + 8) << 16 | 0xb);
    g_assert_cmphex(R(RDX), ==, 2);
    g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, S_FREE);
    g_assert_cmphex(g->cpu->rip, ==, 0x7102);
    g_assert_cmphex(R(RSP), ==, G_STACK0);

    guest_long(g);
    guest_put(g, G_DATA, code_lret64, (size_t)(code_lret64_end - code_lret64));
    guest_st(g, G_DATA + 0x100, 8, G_DATA);
    guest_st(g, G_DATA + 0x108, 2, S_CODE64);
    guest_st(g, G_DATA + 0x110, 4, 0x7100); /* m16:32 */
    guest_st(g, G_DATA + 0x114, 2, S_CODE64);
    R(RBX) = G_DATA + 0x100;
    guest_run(g, code_far64);
    g_assert_cmphex(R(RAX), ==, G_CODE + 3);
    g_assert_cmphex(R(RSI) & 0xffff, ==, S_CODE64);
    g_assert_cmphex(R(RCX), ==, 1);
    g_assert_cmphex(g->cpu->rip, ==, 0x7102);
    guest_free(g);
}

/* --- software interrupts --- */

static void test_soft_interrupts(void)
{
    Guest *g = pm32();
    GUEST_CODE(code_int3, 32, "int3");
    GUEST_CODE(code_int1, 32, ".byte 0xf1");
    GUEST_CODE(code_into, 32, "xor %eax, %eax\n into\n mov $0x7fffffff, %eax\n inc %eax\n into");
    g->cpu->eflags |= FL_IF;
    guest_run(g, code_int3);
    g_assert_cmpint(guest_vector(g), ==, EXC_BP);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + 1);
    g_assert_false(g->cpu->eflags & FL_IF);
    guest_run(g, code_int1);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + 1);
    g_assert_cmphex(g->cpu->dr[6] & 0xf00f, ==, 0);
    guest_run(g, code_into);
    g_assert_cmpint(guest_vector(g), ==, EXC_OF);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + (code_into_end - code_into) - 1);

    guest_pm32(g); /* gates of DPL 0 from CPL 3: INT3 is software and may not, INT1 is not and may */
    guest_user(g);
    guest_run(g, code_int3);
    g_assert_fault(g, EXC_GP, EXC_BP * 8 + 2);
    guest_pm32(g);
    guest_user(g);
    guest_run(g, code_int1);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    guest_free(g);
}

/* --- descriptor tables --- */

GUEST_CODE(code_lldt, 32, "lldt %ax\n sldt %ebx\n sldt (%edi)\n mov %cx, %es\n lldt 4(%edi)\n sldt %dx");
GUEST_CODE(code_ltr, 32, "ltr %ax\n str %ebx\n str (%edi)");

static void test_ldt_tr(void)
{
    Guest *g = pm32();
    guest_desc(g, S_FREE, G_LDT, 0xff, 0x82, 0);
    guest_desc(g, S_FREE + 8, G_TSS2, 0x67, 0x89, 0);
    guest_desc(g, 0x0c, 0x5000, 0xfffff, 0x93, 0xc);
    R(RAX) = S_FREE;
    R(RCX) = 0x0c;
    R(RBX) = R(RDX) = 0xffffffff;
    R(RDI) = G_DATA;
    guest_st(g, G_DATA, 8, 0x0000ffffffff);
    guest_run(g, code_lldt);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(R(RBX), ==, S_FREE);
    g_assert_cmphex(guest_ld(g, G_DATA, 4), ==, 0xffff0000 | S_FREE);
    g_assert_cmphex(g->cpu->seg[SEG_ES].base, ==, 0x5000);
    g_assert_cmphex(R(RDX), ==, 0xffff0000);
    g_assert_true(g->cpu->ldt.attr & SA_UNUSABLE);

    R(RAX) = S_FREE + 8;
    guest_run(g, code_ltr);
    g_assert_cmphex(R(RBX), ==, S_FREE + 8);
    g_assert_cmphex(guest_ld(g, G_GDT + S_FREE + 8 + 5, 1), ==, 0x8b); /* busy */
    g_assert_cmphex(g->cpu->tr.base, ==, G_TSS2);
    guest_run(g, code_ltr); /* again: busy is #GP */
    g_assert_fault(g, EXC_GP, S_FREE + 8);
    const struct { uint16_t sel; uint8_t access; bool ltr; int vec; } bad[] = {
        { S_FREE, 0x02, false, EXC_NP },      { S_FREE, 0x89, false, EXC_GP }, { S_FREE | 4, 0x82, false, EXC_GP },
        { S_FREE + 8, 0x09, true, EXC_NP },   { S_FREE + 8, 0x82, true, EXC_GP }, { 0, 0x89, true, EXC_GP },
        { (S_FREE + 8) | 4, 0x89, true, EXC_GP },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        guest_pm32(g);
        guest_desc(g, bad[i].sel & ~4, G_LDT, 0xff, bad[i].access, 0);
        R(RAX) = bad[i].sel;
        if (bad[i].ltr) {
            guest_run(g, code_ltr);
        } else {
            guest_run(g, code_lldt);
        }
        g_assert_fault(g, bad[i].vec, bad[i].sel);
    }
    guest_free(g);
}

GUEST_CODE(code_tables, 32, "sgdt (%edi)\n sidt 8(%edi)\n lidt 16(%edi)\n sidt 24(%edi)\n lgdtw 32(%edi)\n sgdt 40(%edi)\n"
                            "lgdt (%edi)\n lidt 8(%edi)");

static void test_table_registers(void)
{
    Guest *g = pm32();
    R(RDI) = G_DATA;
    guest_st(g, G_DATA + 16, 2, 0x123);
    guest_st(g, G_DATA + 18, 4, 0x89abcdef);
    guest_st(g, G_DATA + 32, 2, 0x456); /* 16-bit operand: 24 bits of base */
    guest_st(g, G_DATA + 34, 4, 0xff002000);
    guest_run(g, code_tables);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(guest_ld(g, G_DATA, 8) & 0xffffffffffff, ==, (uint64_t)G_GDT << 16 | 0xfff);
    g_assert_cmphex(guest_ld(g, G_DATA + 8, 8) & 0xffffffffffff, ==, (uint64_t)G_IDT << 16 | 0xfff);
    g_assert_cmphex(guest_ld(g, G_DATA + 24, 8) & 0xffffffffffff, ==, 0x89abcdef0123);
    g_assert_cmphex(guest_ld(g, G_DATA + 40, 8) & 0xffffffffffff, ==, 0x000020000456);
    g_assert_cmphex(g->cpu->gdt.base, ==, G_GDT);
    guest_free(g);
}

GUEST_CODE(code_smsw, 32, "smsw %eax\n smsw %bx\n smsw (%edi)\n lmsw %cx\n smsw %edx\n clts\n smsw %esi\n lmsw 4(%edi)\n"
                          "mov %cr0, %ebp");

static void test_msw(void)
{
    Guest *g = pm32();
    g->cpu->cr0 |= CR0_NE | CR0_AM;
    R(RBX) = 0xffffffff;
    R(RCX) = 0xa; /* TS, MP, no PE: PE stays */
    R(RDI) = G_DATA;
    guest_st(g, G_DATA, 8, 0x4ffffffffull);
    guest_run(g, code_smsw);
    g_assert_cmphex(R(RAX), ==, CR0_NE | CR0_AM | CR0_ET | CR0_PE);
    g_assert_cmphex(R(RBX), ==, 0xffff0000 | CR0_NE | CR0_ET | CR0_PE);
    g_assert_cmphex(guest_ld(g, G_DATA, 4), ==, 0xffff0000 | CR0_NE | CR0_ET | CR0_PE);
    g_assert_cmphex(R(RDX) & 0xf, ==, 0xb);
    g_assert_cmphex(R(RSI) & 0xf, ==, 3);
    g_assert_cmphex(R(RBP) & 0xf, ==, 5); /* EM set, MP and TS cleared, PE still there */
    guest_free(g);
}

/* Types that LAR and LSL know (SDM vol. 2, their tables), at CPL 3 with the DPL and RPL rules. */
GUEST_CODE(code_lar, 32, "mov $0x55, %ebx\n mov $0x55, %ecx\n lar %ax, %ebx\n setz %dl\n lsl %eax, %ecx\n setz %dh\n"
                         "verr %ax\n setz %al\n verw %si\n setz %ah");
GUEST_CODE(code_lar64, 64, "mov $0x55, %ebx\n mov $0x55, %ecx\n lar %ax, %ebx\n setz %dl\n lsl %eax, %ecx\n setz %dh\n"
                           "verr %ax\n setz %al\n verw %si\n setz %ah");

static void one_lar(Guest *g, bool lng, unsigned access, unsigned rpl, unsigned cpl)
{
    static const char *const known[2][2] = { { "123459bc", "1239b" }, { "29bc", "29b" } }; /* LAR, LSL */
    unsigned type = access & 15, dpl = access >> 5 & 3, sel = S_FREE | rpl;
    bool s = access & 0x10, code = s && type & 8, conforming = s && (type & 12) == 12;
    (lng ? guest_long : guest_pm32)(g);
    guest_desc(g, S_FREE, 0, 0x12345, access, 0x8);
    if (cpl == 3) {
        guest_user(g);
    }
    R(RAX) = R(RSI) = sel;
    R(RDX) = 0;
    if (lng) {
        guest_run(g, code_lar64);
    } else {
        guest_run(g, code_lar);
    }
    bool reach = conforming || (cpl <= dpl && rpl <= dpl);
    bool lar = reach && (s || memchr(known[lng][0], "0123456789abcdef"[type], strlen(known[lng][0])));
    bool lsl = reach && (s || memchr(known[lng][1], "0123456789abcdef"[type], strlen(known[lng][1])));
    g_test_message("long %d access %x rpl %u cpl %u", lng, access, rpl, cpl);
    g_assert_cmphex(R(RDX) & 0xff, ==, lar);
    g_assert_cmphex(R(RDX) >> 8 & 0xff, ==, lsl);
    g_assert_cmphex(R(RBX), ==, lar ? (access << 8 | 0x800000) : 0x55);
    g_assert_cmphex(R(RCX), ==, lsl ? 0x12345fff : 0x55);
    bool verr = s && reach && (!code || type & 2), verw = s && reach && !code && type & 2;
    g_assert_cmphex(R(RAX) & 0xff, ==, verr);
    g_assert_cmphex(R(RAX) >> 8 & 0xff, ==, verw);
}

static void test_lar(void)
{
    Guest *g = guest_new(NULL);
    for (unsigned bits = 0; bits < 32; bits++) {
        for (unsigned lng = 0; lng < 2; lng++) {
            one_lar(g, lng, 0x80 | bits, 0, 0);
            one_lar(g, lng, 0x80 | bits, 3, 0);
            one_lar(g, lng, 0x80 | bits, 0, 3);
            one_lar(g, lng, 0xe0 | bits, 3, 3);
            one_lar(g, lng, 0x60 | bits, 0, 3); /* not present does not matter */
        }
    }
    guest_free(g);
}

static void test_arpl(void)
{
    Guest *g = pm32();
    GUEST_CODE(code_arpl, 32, "arpl %bx, %ax\n setz %cl\n arpl %bx, (%edi)\n setz %ch\n arpl %bx, %ax\n setz %dl");
    R(RAX) = 0xffff0010;
    R(RBX) = 2;
    R(RDI) = G_DATA;
    R(RCX) = R(RDX) = 0;
    guest_st(g, G_DATA, 4, 0x13);
    guest_run(g, code_arpl);
    g_assert_cmphex(R(RAX), ==, 0xffff0012);
    g_assert_cmphex(R(RCX), ==, 1);
    g_assert_cmphex(R(RDX), ==, 0);
    g_assert_cmphex(guest_ld(g, G_DATA, 4), ==, 0x13);
    guest_free(g);
}

/* --- the rest --- */

GUEST_CODE(code_time, 64, "rdtsc\n shl $32, %rdx\n lea (%rdx,%rax), %rsi\n rdtscp\n mov %ecx, %edi\n shl $32, %rdx\n"
                          "lea (%rdx,%rax), %rbp\n rdpid %r8\n mov $0, %eax\n cpuid");

static void test_time_and_cpuid(void)
{
    Guest *g = guest_new("max,vendor=GenuineIntel");
    guest_long(g);
    g->cpu->tsc_aux = 0x12345678;
    R(R8) = ~0ull;
    R(RSI) = ~0ull;
    uint64_t before = x86_read_tsc(g->cpu);
    guest_run(g, code_time);
    g_assert_cmpuint(R(RSI), >=, before);
    g_assert_cmpuint(R(RBP), >=, R(RSI));
    g_assert_cmpuint(x86_read_tsc(g->cpu), >=, R(RBP));
    g_assert_cmphex(R(RDI), ==, 0x12345678);
    g_assert_cmphex(R(R8), ==, 0x12345678);
    g_assert_cmphex(R(RBX), ==, 0x756e6547);
    g_assert_cmphex(R(RDX), ==, 0x49656e69);
    g_assert_cmphex(R(RCX), ==, 0x6c65746e);

    guest_long(g); /* CR4.TSD: CPL 0 only */
    GUEST_CODE(code_rdtsc, 64, "rdtsc");
    GUEST_CODE(code_rdtscp, 64, "rdtscp");
    g->cpu->cr4 |= CR4_TSD;
    guest_run(g, code_rdtsc);
    g_assert_cmpint(guest_vector(g), ==, -1);
    guest_user(g);
    guest_run(g, code_rdtsc);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
    guest_long(g);
    g->cpu->cr4 |= CR4_TSD;
    guest_user(g);
    guest_run(g, code_rdtscp);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
    guest_long(g);
    GUEST_CODE(code_rdpmc, 64, "rdpmc");
    guest_run(g, code_rdpmc);
    g_assert_fault(g, EXC_GP, 0);
    GUEST_CODE(code_rsm, 64, "rsm");
    guest_run(g, code_rsm);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD); /* outside SMM (SDM RSM) */
    guest_free(g);
}

static void test_random(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(code_random, 64, "stc\n rdrand %rax\n pushf\n pop %rcx\n rdrand %rbx\n mov %rax, %rdx\n rdseed %rsi\n pushf\n pop %rbp\n"
                         "rdseed %rdi\n mov $-1, %r8\n rdrand %r8d\n mov $-1, %r9\n rdseed %r9w");
    uint32_t low8 = 0;
    bool low9 = false;
    for (unsigned i = 0; i < 20; i++) {
        guest_long(g);
        guest_run(g, code_random);
        g_assert_cmphex(R(RCX) & (FL_ARITH), ==, FL_CF);
        g_assert_cmphex(R(RBP) & (FL_ARITH), ==, FL_CF);
        g_assert_cmphex(R(RDX), !=, R(RBX));
        g_assert_cmphex(R(RSI), !=, R(RDI));
        g_assert_cmphex(R(R8) >> 32, ==, 0);
        g_assert_cmphex(g->cpu->gpr[9] >> 16, ==, 0xffffffffffff);
        low8 |= (uint32_t)R(R8);
        low9 |= (g->cpu->gpr[9] & 0xffff) != 0xffff;
    }
    g_assert_true(low8 && low9);
    guest_free(g);
}

static void test_bases(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(code_bases, 64, "wrfsbase %rax\n wrgsbase %rbx\n rdfsbase %rcx\n rdgsbase %edx\n wrfsbase %esi\n rdfsbase %rdi");
    GUEST_CODE(code_bad, 64, "wrgsbase %rax");
    guest_long(g);
    g->cpu->cr4 |= CR4_FSGSBASE;
    R(RAX) = 0xffff812345678000;
    R(RBX) = 0x7123456789a0;
    R(RSI) = ~0ull;
    R(RDX) = ~0ull;
    guest_run(g, code_bases);
    g_assert_cmphex(R(RCX), ==, 0xffff812345678000);
    g_assert_cmphex(R(RDX), ==, 0x456789a0);
    g_assert_cmphex(R(RDI), ==, 0xffffffff);
    R(RAX) = 1ull << 60;
    guest_run(g, code_bad);
    g_assert_fault(g, EXC_GP, 0);
    g->cpu->cr4 &= ~(uint64_t)CR4_FSGSBASE;
    guest_run(g, code_bad);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    guest_free(g);
}

static void test_flags_and_caches(void)
{
    Guest *g = pm32();
    GUEST_CODE(code_flags_and_caches, 32, "sti\n pushf\n pop %eax\n cli\n pushf\n pop %ebx\n invd\n wbinvd\n mov $1, %edx");
    guest_run(g, code_flags_and_caches);
    g_assert_true(R(RAX) & FL_IF);
    g_assert_false(R(RBX) & FL_IF);
    g_assert_cmphex(R(RDX), ==, 1);
    static const uint8_t privileged[][3] = { { 0xfa, 0xf4 }, { 0xfb, 0xf4 }, { 0x0f, 0x08, 0xf4 }, { 0x0f, 0x09, 0xf4 },
                                             { 0xf4, 0xf4 }, { 0x0f, 0x06, 0xf4 }, { 0x0f, 0x30, 0xf4 }, { 0x0f, 0x32, 0xf4 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(privileged); i++) {
        guest_pm32(g);
        guest_user(g);
        guest_run_code(g, privileged[i], 3);
        g_assert_fault(g, EXC_GP, 0);
        g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
    }
    guest_free(g);
}

static void test_monitor(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(code_monitor, 64, "mov %rdi, %rax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor\n mwait\n mov $1, %ebx");
    GUEST_CODE(code_hint, 64, "mov %rdi, %rax\n mov $1, %ecx\n monitor");
    if (!x86_has_feature(g->cpu, "monitor")) {
        guest_free(g);
        g = guest_new("max,+monitor");
    }
    guest_long(g);
    R(RDI) = G_DATA;
    guest_run(g, code_monitor);
    g_assert_cmphex(R(RBX), !=, 1); /* it waits */
    g->cpu->vcpu.halted = false;
    guest_continue(g);
    g_assert_cmphex(R(RBX), ==, 1);
    guest_run(g, code_hint); /* ECX: no extensions */
    g_assert_fault(g, EXC_GP, 0);
    guest_long(g);
    R(RDI) = 1ull << 40; /* not mapped: checked like a load */
    guest_run(g, code_monitor);
    g_assert_fault(g, EXC_PF, 0);
    guest_long(g);
    guest_user(g);
    guest_run(g, code_monitor);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/insn/ports", test_ports);
    g_test_add_func("/cpu/insn/string-ports", test_string_ports);
    g_test_add_func("/cpu/insn/segs", test_segs);
    g_test_add_func("/cpu/insn/pop-seg-fault", test_pop_seg_fault);
    g_test_add_func("/cpu/insn/far-pointers", test_far_pointers);
    g_test_add_func("/cpu/insn/far-transfers", test_far_transfers);
    g_test_add_func("/cpu/insn/soft-interrupts", test_soft_interrupts);
    g_test_add_func("/cpu/insn/ldt-tr", test_ldt_tr);
    g_test_add_func("/cpu/insn/table-registers", test_table_registers);
    g_test_add_func("/cpu/insn/msw", test_msw);
    g_test_add_func("/cpu/insn/lar", test_lar);
    g_test_add_func("/cpu/insn/arpl", test_arpl);
    g_test_add_func("/cpu/insn/time-and-cpuid", test_time_and_cpuid);
    g_test_add_func("/cpu/insn/random", test_random);
    g_test_add_func("/cpu/insn/bases", test_bases);
    g_test_add_func("/cpu/insn/flags-and-caches", test_flags_and_caches);
    g_test_add_func("/cpu/insn/monitor", test_monitor);
    return g_test_run();
}

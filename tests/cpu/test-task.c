/* SPDX-License-Identifier: MIT
 * tests/cpu/test-task.c - hardware task switches, SDM volume 3 chapter 7: 16-bit and 32-bit TSSs by JMP, CALL, IRET,
 * interrupts and task gates; what each saves and loads; busy flags, NT and links (table 7-2); the exceptions of
 * table 7-1 with their error codes; the T flag.
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

enum { TSS_B = G_TSS2, TSS_C = G_TSS2 + 0x100, /* 32 and 16 bits */
       S_B = S_FREE, S_C = S_FREE + 8, S_GATE_B = S_FREE + 16, S_LDT = S_FREE + 24, S_BAD = S_FREE + 32,
       STACK_B = 0x9000, CR3_B = G_PT + 0x8000 };

GUEST_CODE(jmp_b, 32, "ljmp $0x58, $0\n mov $7, %edx");
GUEST_CODE(call_b, 32, "lcall $0x58, $0\n mov $7, %edx");
GUEST_CODE(jmp_c, 32, "ljmp $0x60, $0\n mov $7, %edx");
GUEST_CODE(call_c, 32, "lcall $0x60, $0\n mov $7, %edx");
GUEST_CODE(jmp_gate, 32, "ljmp $0x68, $0\n mov $7, %edx");
GUEST_CODE(call_gate, 32, "lcall $0x68, $0\n mov $7, %edx");
GUEST_CODE(int_n, 32, "int $0x81\n mov $7, %edx");
GUEST_CODE(ud, 32, "ud2");
GUEST_CODE(gp, 32, "mov $0x1000, %eax\n mov %ax, %es");
GUEST_CODE(hlt, 32, "");
GUEST_CODE(inc_iret, 32, "inc %eax\n iret\n inc %ebx\n iret");

typedef struct Code { const uint8_t *from, *end; } Code;
#define CODE(name) { name, name##_end }

static void tss_b(Guest *g, unsigned at, unsigned n, uint32_t v) { guest_st(g, TSS_B + at, n, v); }
static void tss_c(Guest *g, unsigned at, uint32_t v) { guest_st(g, TSS_C + at, 2, v); }

static const uint16_t segs_b[6] = { S_DATA0, S_CODE0, S_DATA0, S_DATA0, S_DATA3, 0 }; /* ES CS SS DS FS GS */

static void setup(Guest *g)
{
    guest_pm32(g);
    guest_desc(g, S_B, TSS_B, 0x67, 0x89, 0);
    guest_desc(g, S_C, TSS_C, 0x2b, 0x81, 0);
    guest_gate32(g, G_GDT + S_GATE_B, S_B, 0, 0x85);
    guest_desc(g, S_LDT, G_LDT, 0xff, 0x82, 0);
    guest_gate32(g, G_IDT + 0x81 * 8, S_B, 0, 0x85);
    g->cpu->cr0 &= ~(uint64_t)CR0_TS;
    g->cpu->dr[6] = DR6_FIXED;
    g->cpu->dr[7] = 0x400;
    for (unsigned i = 0; i < 0x68; i += 4) {
        tss_b(g, i, 4, 0);
        guest_st(g, TSS_C + i, 4, 0);
    }
    tss_b(g, 0x1c, 4, CR3_B);
    tss_b(g, 0x20, 4, G_DATA);
    tss_b(g, 0x24, 4, FL_CF | FL_DF | FL_ID | 2);
    for (unsigned i = 0; i < 8; i++) {
        tss_b(g, 0x28 + 4 * i, 4, i == R_RSP ? STACK_B : 0xb0000000 + i);
        tss_c(g, 0x12 + 2 * i, i == R_RSP ? STACK_B : 0xc000 + i);
        g->cpu->gpr[i] = i == R_RSP ? G_STACK0 : 0xa0000000 + i;
    }
    for (unsigned i = 0; i < 6; i++) {
        tss_b(g, 0x48 + 4 * i, 4, segs_b[i]);
    }
    tss_b(g, 0x60, 2, S_LDT);
    tss_c(g, 0x0e, 0x7800);
    tss_c(g, 0x10, FL_ZF | 2);
    for (unsigned i = 0; i < 4; i++) {
        tss_c(g, 0x22 + 2 * i, segs_b[i]);
    }
    guest_put(g, G_DATA, hlt, (size_t)(hlt_end - hlt));
    guest_put(g, 0x7800, hlt, (size_t)(hlt_end - hlt));
}

static void run(Guest *g, const Code *c)
{
    guest_run_code(g, c->from, (size_t)(c->end - c->from));
    g_assert_false(g->shut_down);
}

static unsigned type_of(Guest *g, uint16_t sel) { return (unsigned)guest_ld(g, G_GDT + sel + 5, 1) & 15; }

/* The outgoing 32-bit task, saved at G_TSS with `eip`. */
static void check_saved(Guest *g, uint32_t eip)
{
    g_assert_cmphex(guest_ld(g, G_TSS + 0x20, 4), ==, eip);
    g_assert_cmphex(guest_ld(g, G_TSS + 0x24, 4) & (FL_ARITH | FL_NT | FL_DF), ==, FL_PF | FL_ZF);
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(guest_ld(g, G_TSS + 0x28 + 4 * i, 4), ==, i == R_RSP ? G_STACK0 : 0xa0000000 + i);
    }
    g_assert_cmphex(guest_ld(g, G_TSS + 0x4c, 2), ==, S_CODE0);
    g_assert_cmphex(guest_ld(g, G_TSS + 0x48, 2), ==, 0x10);
    g_assert_cmphex(guest_ld(g, G_TSS + 0x1c, 4), ==, 0x11223344); /* CR3 and LDT are not saved */
    g_assert_cmphex(guest_ld(g, G_TSS + 0x60, 2), ==, 0x5566);
}

static void check_loaded32(Guest *g)
{
    X86Cpu *cpu = g->cpu;
    g_assert_cmphex(cpu->rip, ==, G_DATA + 1);
    g_assert_cmphex(cpu->tr.sel, ==, S_B);
    g_assert_cmphex(cpu->tr.base, ==, TSS_B);
    g_assert_cmphex(cpu->ldt.sel, ==, S_LDT);
    g_assert_cmphex(cpu->ldt.base, ==, G_LDT);
    g_assert_true(cpu->cr0 & CR0_TS);
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(cpu->gpr[i], ==, i == R_RSP ? STACK_B : 0xb0000000 + i);
    }
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmphex(cpu->seg[i].sel, ==, segs_b[i]);
    }
    g_assert_cmphex(x86_get_eflags(cpu) & (FL_ARITH | FL_DF | FL_ID), ==, FL_CF | FL_DF | FL_ID);
}

static void test_switch32(void)
{
    const struct { Code c; bool nests; unsigned len; } cases[] = {
        { CODE(jmp_b), false, 7 },  { CODE(call_b), true, 7 }, { CODE(jmp_gate), false, 7 },
        { CODE(call_gate), true, 7 }, { CODE(int_n), true, 2 },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        setup(g);
        guest_st(g, G_TSS + 0x1c, 4, 0x11223344);
        guest_st(g, G_TSS + 0x60, 2, 0x5566);
        for (unsigned s = 0; s < SEG_COUNT; s++) {
            g->cpu->seg[s].sel = s == SEG_CS ? S_CODE0 : S_DATA0;
        }
        x86_set_eflags_arith(g->cpu, FL_PF | FL_ZF);
        tss_b(g, 0, 2, 0x7777);
        g_test_message("case %u", i);
        run(g, &cases[i].c);
        check_saved(g, G_CODE + cases[i].len);
        check_loaded32(g);
        g_assert_cmphex(type_of(g, S_B), ==, 11);
        g_assert_cmphex(type_of(g, S_TSS), ==, cases[i].nests ? 11 : 9); /* table 7-2 */
        g_assert_cmphex(guest_ld(g, TSS_B, 2), ==, cases[i].nests ? S_TSS : 0x7777);
        g_assert_cmphex(g->cpu->eflags & FL_NT, ==, cases[i].nests ? FL_NT : 0);
    }
    guest_free(g);
}

/* CALL and back twice: the task goes on where its IRET left it. */
static void test_nested(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(twice, 32, "lcall $0x58, $0\n mov %ecx, %edx\n lcall $0x68, $0\n inc %edx");
    setup(g);
    guest_put(g, G_DATA, inc_iret, (size_t)(inc_iret_end - inc_iret));
    guest_run(g, twice);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 0xa0000002);
    g_assert_cmphex(g->cpu->tr.sel, ==, S_TSS);
    g_assert_cmphex(type_of(g, S_B), ==, 9);
    g_assert_cmphex(type_of(g, S_TSS), ==, 11);
    g_assert_cmphex(guest_ld(g, TSS_B + 0x28, 4), ==, 0xb0000001); /* one INC EAX */
    g_assert_cmphex(guest_ld(g, TSS_B + 0x34, 4), ==, 0xb0000004); /* one INC EBX */
    g_assert_cmphex(guest_ld(g, TSS_B + 0x24, 4) & FL_NT, ==, 0);  /* IRET clears NT in what it saves */
    g_assert_cmphex(g->cpu->eflags & FL_NT, ==, 0);
    guest_free(g);
}

static void test_switch16(void)
{
    Guest *g = guest_new(NULL);
    for (unsigned call = 0; call < 2; call++) {
        setup(g);
        run(g, call ? &(Code)CODE(call_c) : &(Code)CODE(jmp_c));
        X86Cpu *cpu = g->cpu;
        g_assert_cmphex(cpu->rip, ==, 0x7801);
        g_assert_cmphex(cpu->tr.sel, ==, S_C);
        g_assert_cmphex(type_of(g, S_C), ==, 3);
        g_assert_cmphex(type_of(g, S_TSS), ==, call ? 11 : 9);
        g_assert_cmphex(guest_ld(g, TSS_C, 2), ==, call ? S_TSS : 0);
        g_assert_cmphex(guest_ld(g, G_TSS + 0x20, 4), ==, G_CODE + 7);
        for (unsigned i = 0; i < 8; i++) {
            g_assert_cmphex(cpu->gpr[i] & 0xffff, ==, i == R_RSP ? STACK_B : 0xc000 + i);
        }
        g_assert_cmphex(x86_get_eflags(cpu) & 0xffff & ~FL_NT, ==, FL_ZF | 2);
        g_assert_cmphex(cpu->ldt.sel, ==, 0);
        g_assert_true(cpu->seg[SEG_FS].attr & SA_UNUSABLE); /* a 16-bit TSS has no FS and GS */
        g_assert_true(cpu->seg[SEG_GS].attr & SA_UNUSABLE);
    }
    /* From it to the 32-bit one by CALL and back by IRET: saved and loaded as 16 bits. */
    setup(g);
    guest_put(g, G_DATA, inc_iret, (size_t)(inc_iret_end - inc_iret));
    guest_put(g, 0x7800, call_b, (size_t)(call_b_end - call_b));
    tss_c(g, 0x2a, S_LDT);
    run(g, &(Code)CODE(jmp_c));
    g_assert_cmphex(g->cpu->rip, ==, 0x7800 + (uint64_t)(call_b_end - call_b));
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 7);
    g_assert_cmphex(g->cpu->tr.sel, ==, S_C);
    g_assert_cmphex(guest_ld(g, TSS_C + 0x0e, 2), ==, 0x7807);
    g_assert_cmphex(guest_ld(g, TSS_C + 0x12, 2), ==, 0xc000);
    g_assert_cmphex(guest_ld(g, TSS_B, 2), ==, S_C);
    g_assert_cmphex(type_of(g, S_B), ==, 9);
    g_assert_cmphex(type_of(g, S_C), ==, 3);
    guest_free(g);
}

/* Exceptions through task gates: the error code is on the new stack; #DF too. EIP saved is the faulting one. */
static void test_task_gates(void)
{
    Guest *g = guest_new(NULL);
    setup(g);
    guest_gate32(g, G_IDT + EXC_UD * 8, S_B, 0, 0x85);
    run(g, &(Code)CODE(ud));
    g_assert_cmphex(g->cpu->tr.sel, ==, S_B);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, STACK_B);
    g_assert_cmphex(guest_ld(g, G_TSS + 0x20, 4), ==, G_CODE);
    g_assert_true(guest_ld(g, G_TSS + 0x24, 4) & FL_RF); /* a fault */
    setup(g);
    guest_gate32(g, G_IDT + EXC_GP * 8, S_B, 0, 0x85);
    run(g, &(Code)CODE(gp));
    g_assert_cmphex(g->cpu->tr.sel, ==, S_B);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, STACK_B - 4);
    g_assert_cmphex(guest_ld(g, STACK_B - 4, 4), ==, 0x1000);
    setup(g);
    guest_gate32(g, G_IDT + EXC_GP * 8, S_CODE0, 0, 0x0e); /* not present: #GP becomes #DF */
    guest_gate32(g, G_IDT + EXC_DF * 8, S_B, 0, 0x85);
    run(g, &(Code)CODE(gp));
    g_assert_cmphex(g->cpu->tr.sel, ==, S_B);
    g_assert_cmphex(guest_ld(g, STACK_B - 4, 4), ==, 0);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, STACK_B - 4);
    g_assert_cmphex(g->cpu->rip, ==, G_DATA + 1);
    /* Even when the stack is gone, which is what such a gate is for. */
    setup(g);
    guest_gate32(g, G_IDT + EXC_DF * 8, S_B, 0, 0x85);
    g->cpu->seg[SEG_SS].limit = 0xfff;
    g->cpu->seg[SEG_SS].attr &= ~SA_G;
    x86_update_mode(g->cpu);
    run(g, &(Code)CODE(gp));
    g_assert_cmphex(g->cpu->tr.sel, ==, S_B);
    g_assert_cmphex(g->cpu->rip, ==, G_DATA + 1);
    /* A 16-bit task: a 16-bit error code. */
    setup(g);
    guest_desc(g, S_BAD, 0, 0xffff, 0x93, 0);
    tss_c(g, 0x22 + 2 * SEG_SS, S_BAD);
    guest_gate32(g, G_IDT + EXC_GP * 8, S_C, 0, 0x85);
    run(g, &(Code)CODE(gp));
    g_assert_cmphex(g->cpu->gpr[R_RSP] & 0xffff, ==, STACK_B - 2);
    g_assert_cmphex(guest_ld(g, STACK_B - 2, 2), ==, 0x1000);
    guest_free(g);
}

/* INT n's gate: DPL counts for software, not for the processor's own; a busy or missing TSS names itself. */
static void test_gate_errors(void)
{
    Guest *g = guest_new(NULL);
    setup(g);
    guest_user(g);
    run(g, &(Code)CODE(int_n));
    g_assert_fault(g, EXC_GP, 0x81 * 8 + 2);
    setup(g);
    guest_desc(g, S_B, TSS_B, 0x67, 0x8b, 0);
    run(g, &(Code)CODE(int_n));
    g_assert_fault(g, EXC_GP, S_B);
    setup(g);
    guest_desc(g, S_B, TSS_B, 0x67, 0x09, 0);
    run(g, &(Code)CODE(int_n));
    g_assert_fault(g, EXC_NP, S_B);
    setup(g);
    guest_gate32(g, G_IDT + EXC_UD * 8, S_B, 0, 0x85);
    guest_desc(g, S_B, TSS_B, 0x67, 0x09, 0);
    run(g, &(Code)CODE(ud));
    g_assert_fault(g, EXC_NP, S_B | 1); /* EXT: not software */
    setup(g);
    guest_gate32(g, G_IDT + 0x81 * 8, S_B | 4, 0, 0x85); /* in the LDT */
    run(g, &(Code)CODE(int_n));
    g_assert_fault(g, EXC_GP, S_B | 4);
    setup(g);
    guest_gate32(g, G_GDT + S_GATE_B, S_B, 0, 0x05);
    run(g, &(Code)CODE(jmp_gate));
    g_assert_fault(g, EXC_NP, S_GATE_B);
    setup(g);
    guest_user(g);
    run(g, &(Code)CODE(jmp_gate)); /* DPL 0 from CPL 3 */
    g_assert_fault(g, EXC_GP, S_GATE_B);
    setup(g);
    guest_gate32(g, G_GDT + S_GATE_B, S_B, 0, 0xe5);
    guest_st(g, G_TSS + 0x1c, 4, 0);
    guest_user(g);
    run(g, &(Code)CODE(jmp_gate)); /* the gate's DPL is what counts, not the TSS's */
    g_assert_cmphex(g->cpu->tr.sel, ==, S_B);
    g_assert_cmpuint(g->cpu->cpl, ==, 0);
    guest_free(g);
}

/* Before the switch: nothing changes. */
static void test_refused(void)
{
    const struct { Code c; uint16_t sel; unsigned access, limit; int vec; uint32_t err; } cases[] = {
        { CODE(jmp_b), S_B, 0x89, 0x66, EXC_TS, S_B },  { CODE(call_b), S_B, 0x89, 0x66, EXC_TS, S_B },
        { CODE(jmp_c), S_C, 0x81, 0x2a, EXC_TS, S_C },  { CODE(jmp_b), S_B, 0x8b, 0x67, EXC_GP, S_B },
        { CODE(call_b), S_B, 0x8b, 0x67, EXC_GP, S_B }, { CODE(jmp_c), S_C, 0x83, 0x2b, EXC_GP, S_C },
        { CODE(jmp_b), S_B, 0x09, 0x67, EXC_NP, S_B },  { CODE(call_gate), S_B, 0x8b, 0x67, EXC_GP, S_B },
        { CODE(call_gate), S_B, 0x09, 0x67, EXC_NP, S_B }, { CODE(call_gate), S_B, 0x89, 0x66, EXC_TS, S_B },
        { CODE(jmp_b), S_B, 0x80, 0x67, EXC_GP, S_B },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        setup(g);
        guest_desc(g, cases[i].sel, cases[i].sel == S_B ? TSS_B : TSS_C, cases[i].limit, cases[i].access, 0);
        guest_st(g, G_TSS + 0x20, 4, 0x99);
        g_test_message("case %u", i);
        run(g, &cases[i].c);
        g_assert_fault(g, cases[i].vec, cases[i].err);
        g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
        g_assert_cmphex(g->cpu->tr.sel, ==, S_TSS);
        g_assert_cmphex(type_of(g, S_TSS), ==, 11);
        g_assert_cmphex(guest_ld(g, G_TSS + 0x20, 4), ==, 0x99);
        g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0xa0000003);
        g_assert_false(g->cpu->cr0 & CR0_TS);
    }
    setup(g); /* DPL of the TSS */
    guest_user(g);
    run(g, &(Code)CODE(jmp_b));
    g_assert_fault(g, EXC_GP, S_B);
    guest_free(g);
}

/* IRET with NT: the link must name a busy TSS in the GDT (table 7-1). */
static void test_bad_links(void)
{
    GUEST_CODE(nt_iret, 32, "pushf\n orl $0x4000, (%esp)\n popf\n iret");
    const struct { uint16_t link; unsigned access; int vec; } cases[] = {
        { S_B, 0x89, EXC_TS }, { S_B, 0x82, EXC_TS }, { S_B | 4, 0x8b, EXC_TS }, { 0, 0x8b, EXC_TS },
        { 0xff8, 0x8b, EXC_TS }, { S_B, 0x0b, EXC_NP }, { 0x2000, 0x8b, EXC_TS },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        setup(g);
        guest_desc(g, S_B, TSS_B, 0x67, cases[i].access, 0);
        guest_st(g, G_TSS, 2, cases[i].link);
        guest_run(g, nt_iret);
        g_assert_fault(g, cases[i].vec, cases[i].link & 0xfffc);
        g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + (uint64_t)(nt_iret_end - nt_iret) - 2);
    }
    setup(g);
    guest_desc(g, S_B, TSS_B, 0x67, 0x8b, 0);
    guest_st(g, G_TSS, 2, S_B);
    guest_run(g, nt_iret);
    g_assert_cmphex(g->cpu->tr.sel, ==, S_B);
    g_assert_cmphex(type_of(g, S_TSS), ==, 9);
    g_assert_cmphex(guest_ld(g, G_TSS + 0x24, 4) & FL_NT, ==, 0);
    g_assert_cmphex(g->cpu->eflags & FL_NT, ==, 0);
    guest_free(g);
}

/* After the switch: in the new task, with its EIP; #TS, #NP or #SS name the selector (6.15, #TS). */
static void test_new_task_faults(void)
{
    const struct { unsigned at; uint16_t sel; unsigned access, flags; int vec; uint32_t err; } cases[] = {
        { 0x4c, 0, 0, 0, EXC_TS, 0 },                  { 0x4c, S_BAD, 0x93, 0xc, EXC_TS, S_BAD },
        { 0x4c, S_BAD, 0x1b, 0xc, EXC_NP, S_BAD },     { 0x4c, S_BAD, 0xfb, 0xc, EXC_TS, S_BAD },
        { 0x4c, 0x3000, 0, 0, EXC_TS, 0x3000 },        { 0x50, 0, 0, 0, EXC_TS, 0 },
        { 0x50, S_BAD, 0x91, 0xc, EXC_TS, S_BAD },     { 0x50, S_BAD, 0xf3, 0xc, EXC_TS, S_BAD },
        { 0x50, S_BAD, 0x13, 0xc, EXC_SS, S_BAD },     { 0x50, 0x3000, 0, 0, EXC_TS, 0x3000 },
        { 0x54, S_BAD, 0x99, 0xc, EXC_TS, S_BAD },     { 0x54, S_BAD, 0x13, 0xc, EXC_NP, S_BAD },
        { 0x54, 0x3000, 0, 0, EXC_TS, 0x3000 },        { 0x48, S_BAD, 0x82, 0, EXC_TS, S_BAD },
        { 0x58, S_BAD, 0x13, 0xc, EXC_NP, S_BAD },     { 0x5c, S_BAD, 0x89, 0, EXC_TS, S_BAD },
        { 0x60, S_BAD, 0x93, 0xc, EXC_TS, S_BAD },     { 0x60, S_BAD, 0x02, 0, EXC_TS, S_BAD },
        { 0x60, 0x0c, 0, 0, EXC_TS, 0x0c },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        setup(g);
        tss_b(g, cases[i].at, 4, cases[i].sel);
        if (cases[i].sel == S_BAD) {
            guest_desc(g, S_BAD, 0, 0xfffff, cases[i].access, cases[i].flags);
        }
        tss_b(g, 0x24, 4, 2);
        g_test_message("case %u", i);
        run(g, &(Code)CODE(jmp_b));
        g_assert_fault(g, cases[i].vec, cases[i].err);
        g_assert_cmphex(g->cpu->tr.sel, ==, S_B);
        g_assert_cmphex(guest_frame(g, 1), ==, G_DATA);
        g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0xb0000003);
    }
    setup(g); /* EIP outside CS */
    guest_desc(g, S_BAD, 0, 0x7fff, 0x9b, 0x4);
    tss_b(g, 0x4c, 4, S_BAD);
    run(g, &(Code)CODE(jmp_b));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_DATA);
    g_assert_cmphex(guest_frame(g, 2), ==, S_BAD);
    guest_free(g);
}

/* 17.3.1.5: T in the new TSS traps before its first instruction. DR7's local enables go, the global ones stay. */
static void test_debug_trap(void)
{
    Guest *g = guest_new(NULL);
    setup(g);
    tss_b(g, 0x64, 2, 1);
    g->cpu->dr[7] = 0x400 | 0x5 | 0x8 | 0x300; /* L0, L1, G1, LE, GE; on addresses nothing runs at */
    g->cpu->dr[0] = g->cpu->dr[1] = 0x500000;
    run(g, &(Code)CODE(jmp_b));
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0), ==, G_DATA);
    g_assert_cmphex(g->cpu->dr[6], ==, DR6_FIXED | DR6_BT);
    g_assert_cmphex(g->cpu->dr[7] & 0xff, ==, 0x8);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0xb0000003);
    /* Through the gate of #DF: the trap is an event of its own, not a third fault. */
    setup(g);
    tss_b(g, 0x64, 2, 1);
    guest_gate32(g, G_IDT + EXC_GP * 8, S_CODE0, 0, 0x0e);
    guest_gate32(g, G_IDT + EXC_DF * 8, S_B, 0, 0x85);
    run(g, &(Code)CODE(gp));
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0), ==, G_DATA);
    guest_free(g);
}

/* CR3 comes with the task when paging is on. */
static void test_cr3(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(read_iret, 32, "mov 0x18800, %eax\n iret");
    GUEST_CODE(read_call, 32, "mov 0x18800, %esi\n lcall $0x58, $0\n mov 0x18800, %edi");
    setup(g);
    guest_paging32(g);
    guest_st(g, CR3_B, 4, (CR3_B + 0x1000) | 7);
    for (unsigned i = 0; i < 1024; i++) {
        guest_st(g, CR3_B + 0x1000 + i * 4, 4, i << 12 | 7);
    }
    guest_st(g, CR3_B + 0x1000 + (0x18800 >> 12) * 4, 4, 0x300000 | 7);
    guest_st(g, 0x18800, 4, 0xaaaa);
    guest_st(g, 0x300800, 4, 0xbbbb);
    guest_put(g, 0x7c00, read_iret, (size_t)(read_iret_end - read_iret));
    tss_b(g, 0x20, 4, 0x7c00);
    guest_st(g, G_TSS + 0x1c, 4, G_PT);
    guest_run(g, read_call);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, 0xaaaa);
    g_assert_cmphex(guest_ld(g, TSS_B + 0x28, 4), ==, 0xbbbb);
    g_assert_cmphex(g->cpu->gpr[R_RDI], ==, 0xaaaa);
    g_assert_cmphex(g->cpu->cr3, ==, G_PT);
    guest_free(g);
}

/* EFLAGS.VM in a TSS: the task is an 8086 program (20.2.4). */
static void test_vm86_task(void)
{
    Guest *g = guest_new(NULL);
    setup(g);
    tss_b(g, 0x24, 4, FL_VM | FL_IOPL | 2);
    tss_b(g, 0x20, 4, 0x10);
    for (unsigned i = 0; i < 6; i++) {
        tss_b(g, 0x48 + 4 * i, 4, i == SEG_CS ? 0x1800 : 0x900 + i);
    }
    tss_b(g, 4, 4, STACK_B);
    tss_b(g, 8, 2, S_DATA0);
    guest_st(g, 0x18010, 1, 0xf4);
    run(g, &(Code)CODE(jmp_b));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, 0x10);
    g_assert_cmphex(guest_frame(g, 2), ==, 0x1800);
    g_assert_true(guest_frame(g, 3) & FL_VM);
    g_assert_cmphex(guest_frame(g, 5), ==, 0x900 + SEG_SS);
    g_assert_cmphex(guest_frame(g, 6), ==, 0x900 + SEG_ES);
    g_assert_cmphex(guest_frame(g, 9), ==, 0x900 + SEG_GS);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, STACK_B - 40);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/task/switch32", test_switch32);
    g_test_add_func("/cpu/task/nested", test_nested);
    g_test_add_func("/cpu/task/switch16", test_switch16);
    g_test_add_func("/cpu/task/task-gates", test_task_gates);
    g_test_add_func("/cpu/task/gate-errors", test_gate_errors);
    g_test_add_func("/cpu/task/refused", test_refused);
    g_test_add_func("/cpu/task/bad-links", test_bad_links);
    g_test_add_func("/cpu/task/new-task-faults", test_new_task_faults);
    g_test_add_func("/cpu/task/debug-trap", test_debug_trap);
    g_test_add_func("/cpu/task/cr3", test_cr3);
    g_test_add_func("/cpu/task/vm86-task", test_vm86_task);
    return g_test_run();
}

/* SPDX-License-Identifier: MIT
 * tests/cpu/test-sys.c - protected mode: exceptions, gates, tasks, paging, breakpoints, interrupts, VM86.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

GUEST_CODE(code_ud, 32, "ud2");
GUEST_CODE(code_load_ds, 32, "mov %ax, %ds");
GUEST_CODE(code_load_ss, 32, "mov %ax, %ss");
GUEST_CODE(code_int80, 32, "int $0x80\n mov $1, %ebx");
GUEST_CODE(code_write, 32, "mov %eax, (%edi)");
GUEST_CODE(code_read, 32, "mov (%edi), %eax");

static void test_exceptions(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_run(g, code_ud);
    g_assert_fault(g, EXC_UD, G_CODE);
    g_assert_cmphex(guest_frame(g, 1), ==, S_CODE0);
    g_assert_true(guest_frame(g, 2) & FL_RF); /* a fault */

    guest_pm32(g);
    g->cpu->gpr[R_RAX] = 0x1000;   /* beyond the GDT */
    guest_run(g, code_load_ds);
    g_assert_fault(g, EXC_GP, 0x1000);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);

    guest_pm32(g);
    guest_desc(g, S_FREE, 0, 0xfffff, 0x12, 0xc); /* not present */
    g->cpu->gpr[R_RAX] = S_FREE;
    guest_run(g, code_load_ds);
    g_assert_fault(g, EXC_NP, S_FREE);
    guest_pm32(g);
    g->cpu->gpr[R_RAX] = S_FREE;
    guest_run(g, code_load_ss);
    g_assert_fault(g, EXC_SS, S_FREE);
    guest_pm32(g);
    g->cpu->gpr[R_RAX] = 3; /* null SS */
    guest_run(g, code_load_ss);
    g_assert_fault(g, EXC_GP, 0);

    /* The accessed bit. */
    guest_pm32(g);
    guest_desc(g, S_FREE, 0, 0xfffff, 0x92, 0xc);
    g->cpu->gpr[R_RAX] = S_FREE;
    guest_run(g, code_load_ds);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(guest_ld(g, G_GDT + S_FREE + 5, 1), ==, 0x93);
    guest_free(g);
}

static void test_limits(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_desc(g, S_FREE, 0x1000, 0xfff, 0x93, 0x4);
    g->cpu->gpr[R_RAX] = S_FREE;
    guest_run(g, code_load_ds);
    g->cpu->gpr[R_RDI] = 0xffc;
    guest_run(g, code_write);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(guest_ld(g, 0x1ffc, 2), ==, S_FREE);
    g->cpu->gpr[R_RDI] = 0xffd;
    guest_run(g, code_write);
    g_assert_fault(g, EXC_GP, 0);

    guest_pm32(g); /* expand-down: the other side */
    guest_desc(g, S_FREE, 0, 0x17fff, 0x97, 0x4);
    g->cpu->gpr[R_RAX] = S_FREE;
    guest_run(g, code_load_ds);
    g->cpu->gpr[R_RDI] = G_DATA;
    guest_run(g, code_write);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g->cpu->gpr[R_RDI] = 0x17fff;
    guest_run(g, code_write);
    g_assert_fault(g, EXC_GP, 0);
    guest_free(g);
}

static void test_inner_interrupt(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_gate32(g, G_IDT + 0x80 * 8, S_CODE0, G_HANDLERS + 0x800, 0xef); /* trap gate, DPL 3 */
    guest_user(g);
    g->cpu->eflags |= FL_IF;
    guest_run(g, code_int80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmpuint(g->cpu->cpl, ==, 0);
    g_assert_true(g->cpu->eflags & FL_IF);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, G_STACK0 - 20);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + 2);
    g_assert_cmphex(guest_frame(g, 1), ==, S_CODE3);
    g_assert_cmphex(guest_frame(g, 3), ==, G_STACK3);
    g_assert_cmphex(guest_frame(g, 4), ==, S_DATA3);
    /* And back: HLT at CPL 3 is #GP, with EBX set on the way. */
    guest_st(g, G_HANDLERS + 0x801, 1, 0xcf);
    guest_continue(g);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 1);

    /* A gate of DPL 0: #GP with the IDT entry, EXT clear. */
    guest_pm32(g);
    guest_user(g);
    guest_run(g, code_int80);
    g_assert_fault(g, EXC_GP, 0x80 * 8 + 2);
    guest_free(g);
}

GUEST_CODE(code_callgate, 32,
           "pushl $0x11111111\n pushl $0x22222222\n lcall $0x5b, $0\n mov %esp, %esi\n mov $7, %edi");
GUEST_CODE(code_gate_target, 32, "mov 8(%esp), %eax\n mov 12(%esp), %ebx\n mov %cs, %ecx\n lret $8");

static void test_call_gate(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_put(g, G_DATA, code_gate_target, (size_t)(code_gate_target_end - code_gate_target));
    guest_gate32(g, G_GDT + S_FREE, S_CODE0, G_DATA, 0xec);
    guest_st(g, G_GDT + S_FREE + 4, 1, 2); /* two parameters */
    guest_user(g);
    guest_run(g, code_callgate);
    g_assert_fault(g, EXC_GP, 0); /* the HLT at CPL 3 */
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x22222222);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0x11111111);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, S_CODE0);
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, G_STACK3);
    g_assert_cmphex(g->cpu->gpr[R_RDI], ==, 7);

    /* DPL 0: not from CPL 3. */
    guest_pm32(g);
    guest_gate32(g, G_GDT + S_FREE, S_CODE0, G_DATA, 0x8c);
    guest_user(g);
    guest_run(g, code_callgate);
    g_assert_fault(g, EXC_GP, S_FREE);
    guest_free(g);
}

GUEST_CODE(code_task_call, 32, "lcall $0x58, $0\n mov $5, %edx");
GUEST_CODE(code_task2, 32, "inc %eax\n str %cx\n iret");

static void setup_task2(Guest *g)
{
    guest_desc(g, S_FREE, G_TSS2, 0x67, 0x89, 0);
    guest_st(g, G_TSS2 + 0x20, 4, G_DATA);
    guest_st(g, G_TSS2 + 0x24, 4, 2);
    guest_st(g, G_TSS2 + 0x28, 4, 41);
    guest_st(g, G_TSS2 + 0x38, 4, G_IST);
    static const uint16_t sels[] = { S_DATA0, S_CODE0, S_DATA0, S_DATA0, 0, 0 };
    for (unsigned i = 0; i < 6; i++) {
        guest_st(g, G_TSS2 + 0x48 + i * 4, 4, sels[i]);
    }
    guest_put(g, G_DATA, code_task2, (size_t)(code_task2_end - code_task2));
}

static void test_task_switch(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    setup_task2(g);
    /* The old task's segments come back from its TSS. */
    guest_run(g, code_task_call);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 5);
    g_assert_cmphex(g->cpu->tr.sel, ==, S_TSS);
    g_assert_cmphex(guest_ld(g, G_TSS2 + 0x28, 4), ==, 42);         /* EAX of the other task */
    g_assert_cmphex(guest_ld(g, G_TSS2 + 0x2c, 2), ==, S_FREE);     /* its ECX: STR */
    g_assert_cmphex(guest_ld(g, G_TSS2, 2), ==, S_TSS);             /* back link */
    g_assert_cmphex(guest_ld(g, G_GDT + S_FREE + 5, 1), ==, 0x89);  /* no longer busy */
    g_assert_cmphex(guest_ld(g, G_GDT + S_TSS + 5, 1), ==, 0x8b);
    g_assert_true(g->cpu->cr0 & CR0_TS);

    /* A task gate for #UD; the TSS's limit is too small for the other. */
    guest_pm32(g);
    setup_task2(g);
    guest_gate32(g, G_IDT + EXC_UD * 8, S_FREE, 0, 0x85);
    guest_st(g, G_DATA, 1, 0xf4);
    guest_run(g, code_ud);
    g_assert_cmphex(g->cpu->rip, ==, G_DATA + 1);
    g_assert_true(g->cpu->eflags & FL_NT);
    g_assert_cmphex(guest_ld(g, G_TSS + 0x20, 4), ==, G_CODE);
    guest_pm32(g);
    setup_task2(g);
    guest_desc(g, S_FREE, G_TSS2, 0x66, 0x89, 0);
    guest_run(g, code_task_call);
    g_assert_fault(g, EXC_TS, S_FREE);
    guest_free(g);
}

static void test_double_and_triple(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_gate32(g, G_IDT + EXC_GP * 8, S_CODE0, 0, 0x0e); /* not present */
    g->cpu->gpr[R_RAX] = 0x1000;
    guest_run(g, code_load_ds);
    g_assert_fault(g, EXC_DF, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);

    /* #UD is benign: its missing handler is plain #NP, with EXT and IDT set. */
    guest_pm32(g);
    guest_gate32(g, G_IDT + EXC_UD * 8, S_CODE0, 0, 0x0e);
    guest_run(g, code_ud);
    g_assert_fault(g, EXC_NP, EXC_UD * 8 + 3);

    guest_pm32(g);
    guest_gate32(g, G_IDT + EXC_GP * 8, S_CODE0, 0, 0x0e);
    guest_gate32(g, G_IDT + EXC_DF * 8, S_CODE0, 0, 0x0e);
    g->cpu->gpr[R_RAX] = 0x1000;
    g->cpu->sys->reports = 100; /* not on stderr */
    guest_run(g, code_load_ds);
    g_assert_true(g->shut_down);
    g_autoptr(GString) text = g_string_new(NULL);
    x86_explain_shutdown(g->cpu, text);
    g_assert_nonnull(strstr(text->str, "1. #GP general protection, error code 0x1000"));
    g_assert_nonnull(strstr(text->str, "2. #NP segment not present"));
    g_assert_nonnull(strstr(text->str, "3. #NP"));
    g_assert_nonnull(strstr(text->str, "NOT PRESENT"));
    g_assert_nonnull(strstr(text->str, "EIP=00010000"));
    guest_free(g);
}

/* 6.15: #AC is benign, so that one which the delivery of #AC raises is no double fault. */
GUEST_CODE(code_ac_for_ever, 32, "mov $0x18001, %esp\n push %eax\n nop");

static void test_endless_delivery(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_gate32(g, G_IDT + EXC_AC * 8, S_CODE3, G_HANDLERS + EXC_AC * 16, 0xee); /* no other stack */
    g->cpu->cr0 |= CR0_AM;
    guest_user(g);
    x86_set_eflags(g->cpu, FL_AC, FL_AC);
    g->cpu->sys->reports = 100; /* not on stderr */
    guest_run(g, code_ac_for_ever);
    g_assert_true(g->shut_down);
    guest_free(g);
}

#define PTE(at) (G_PT + 0x1000 + ((at) >> 12) * 4)

static void run_paged(Guest *g, bool user, uint32_t pte, const uint8_t *code, size_t n)
{
    guest_pm32(g);
    guest_paging32(g);
    guest_st(g, PTE(G_DATA), 4, pte);
    if (user) {
        guest_user(g);
    }
    g->cpu->gpr[R_RDI] = G_DATA + 4;
    guest_run_code(g, code, n);
}
#define PAGED(g, user, pte, code) run_paged((g), (user), (pte), (code), (size_t)(code##_end - (code)))

static void test_paging32(void)
{
    Guest *g = guest_new(NULL);
    PAGED(g, false, G_DATA | 3, code_write);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(guest_ld(g, PTE(G_DATA), 4), ==, G_DATA | 0x63); /* A and D */
    PAGED(g, false, G_DATA | 3, code_read);
    g_assert_cmphex(guest_ld(g, PTE(G_DATA), 4), ==, G_DATA | 0x23);
    g_assert_cmphex(guest_ld(g, G_PT, 4) & 0x20, ==, 0x20);
    PAGED(g, false, 0, code_read);
    g_assert_fault(g, EXC_PF, 0);
    g_assert_cmphex(g->cpu->cr2, ==, G_DATA + 4);
    PAGED(g, false, 0, code_write);
    g_assert_fault(g, EXC_PF, 2);
    PAGED(g, false, G_DATA | 1, code_write); /* WP */
    g_assert_fault(g, EXC_PF, 3);
    PAGED(g, true, G_DATA | 3, code_read);
    g_assert_fault(g, EXC_PF, 5);
    PAGED(g, true, G_DATA | 5, code_write);
    g_assert_fault(g, EXC_PF, 7);

    /* PSE: reserved bit 21 of a 4 MiB entry. */
    guest_pm32(g);
    guest_paging32(g);
    g->cpu->cr4 |= CR4_PSE;
    guest_st(g, G_PT + 4, 4, 0x400000 | 0x87);
    g->cpu->gpr[R_RDI] = 0x400010;
    guest_run(g, code_write);
    g_assert_cmpint(guest_vector(g), ==, -1);
    guest_st(g, G_PT + 4, 4, 0x600000 | 0x87);
    x86_tlb_flush(g->cpu, false);
    guest_run(g, code_write);
    g_assert_fault(g, EXC_PF, 0xb);
    guest_free(g);
}

static void test_smep_smap(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_paging32(g);
    g->cpu->cr4 |= CR4_SMAP;
    for (unsigned p = 0; p < 0x100; p++) { /* everything supervisor but G_DATA */
        guest_st(g, PTE(p << 12), 4, p << 12 | (p << 12 == G_DATA ? 7 : 3));
    }
    x86_update_mode(g->cpu);
    g->cpu->gpr[R_RDI] = G_DATA;
    guest_run(g, code_read);
    g_assert_fault(g, EXC_PF, 1);
    GUEST_CODE(code_stac, 32, "stac\n mov (%edi), %eax\n clac");
    guest_run(g, code_stac);
    g_assert_cmpint(guest_vector(g), ==, -1);
    GUEST_CODE(code_jump, 32, "jmp *%edi");
    g->cpu->cr4 |= CR4_SMEP;
    x86_tlb_flush(g->cpu, false);
    guest_run(g, code_jump);
    g_assert_fault(g, EXC_PF, 0x11);
    g_assert_cmphex(guest_frame(g, 1), ==, G_DATA);
    guest_free(g);
}

GUEST_CODE(code_step, 32, "pushf\n orl $0x100, (%esp)\n popf\n nop\n nop");

static void test_single_step(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_run(g, code_step);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    unsigned nop = (unsigned)(code_step_end - code_step) - 3;
    g_assert_cmphex(guest_frame(g, 0), ==,
                    G_CODE + nop + 1); /* after the first NOP: POPF itself does not trap */
    g_assert_false(guest_frame(g, 2) & FL_RF);
    g_assert_true(g->cpu->dr[6] & DR6_BS);
    g_assert_false(g->cpu->eflags & FL_TF);
    guest_st(g, G_HANDLERS + 17, 1, 0xcf);
    guest_continue(g); /* IRET: one more */
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + nop + 2);
    guest_free(g);
}

static void test_breakpoints(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    GUEST_CODE(code_two, 32, "mov %eax, (%edi)\n mov $3, %ecx");
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->dr[0] = G_DATA + 2;
    g->cpu->dr[7] = 0x400 | 1 | 0x50000; /* DR0: write, two bytes */
    x86_tlb_flush(g->cpu, false);
    x86_update_mode(g->cpu);
    guest_run(g, code_two);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + 2); /* a trap */
    g_assert_cmphex(g->cpu->dr[6] & 0xf, ==, 1);

    guest_pm32(g); /* instruction breakpoint: a fault, RF makes it pass */
    g->cpu->dr[6] = 0xffff0ff0;
    g->cpu->dr[1] = G_CODE + 2;
    g->cpu->dr[7] = 0x400 | 4;
    x86_update_mode(g->cpu);
    guest_run(g, code_two);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + 2);
    g_assert_cmphex(g->cpu->dr[6] & 0xf, ==, 2);
    guest_st(g, g->cpu->gpr[R_RSP] + 8, 4, guest_frame(g, 2) | FL_RF);
    guest_st(g, G_HANDLERS + 17, 1, 0xcf);
    guest_continue(g);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 3);

    guest_pm32(g); /* GD */
    GUEST_CODE(code_getdr, 32, "mov %dr7, %eax");
    g->cpu->dr[7] = 0x400 | DR7_GD;
    guest_run(g, code_getdr);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_true(g->cpu->dr[6] & DR6_BD);
    g_assert_false(g->cpu->dr[7] & DR7_GD);
    guest_free(g);
}

static int ack_vector;
static int test_ack(void *opaque)
{
    X86Cpu *cpu = opaque;
    vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_INTR);
    return ack_vector;
}

GUEST_CODE(code_sti, 32, "sti\n inc %eax\n inc %ebx");

static void test_interrupts(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    g->cpu->pic_ack = test_ack;
    g->cpu->pic_opaque = g->cpu;
    ack_vector = 0x31;
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_INTR);
    guest_run(g, code_sti);
    g_assert_cmpint(guest_vector(g), ==, 0x31);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + 2); /* the shadow covers one instruction */
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 1);
    g_assert_false(g->cpu->eflags & FL_IF);

    /* NMI: blocked until IRET. */
    guest_pm32(g);
    g->cpu->eflags &= ~FL_IF;
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_NMI);
    GUEST_CODE(code_nop, 32, "nop");
    guest_run(g, code_nop);
    g_assert_cmpint(guest_vector(g), ==, EXC_NMI);
    g_assert_true(g->cpu->nmi_blocked);
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_NMI);
    g_assert_false(x86_irq_ready(&g->cpu->vcpu));
    guest_st(g, G_HANDLERS + 2 * 16 + 1, 1, 0xcf);
    guest_continue(g);
    g_assert_cmpint(guest_vector(g), ==, EXC_NMI);
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE);
    guest_free(g);
}

static void test_init_sipi(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    g->cpu->is_bsp = false;
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_INIT);
    guest_continue(g);
    g_assert_true(g->cpu->wait_sipi);
    g_assert_cmphex(g->cpu->cr0, ==, 0x10);
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_NMI); /* nothing but SIPI counts now */
    g_assert_false(x86_irq_ready(&g->cpu->vcpu));
    guest_st(g, 0x12000, 1, 0xf4);
    g->cpu->sipi_vector = 0x12;
    vcpu_interrupt_clear(&g->cpu->vcpu, X86_IRQ_NMI);
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_SIPI);
    g->cpu->vcpu.halted = true;
    g_assert_true(x86_irq_ready(&g->cpu->vcpu));
    guest_continue(g);
    g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, 0x1200);
    g_assert_cmphex(g->cpu->rip, ==, 1);
    guest_free(g);
}

GUEST_CODE(code_enter_vm86, 32,
           "push $0\n push $0\n push $0\n push $0x1800\n push $0x900\n push $0xff0\n push %eax\n push "
           "$0x1800\n push $0\n iret");
GUEST_CODE(code_vm86_int, 16, "mov $0x1234, %ax\n int $0x21\n mov $0x55, %bx");

static void vm86_run(Guest *g, uint32_t flags)
{
    guest_put(g, G_DATA, code_vm86_int, (size_t)(code_vm86_int_end - code_vm86_int));
    g->cpu->gpr[R_RAX] = flags;
    guest_run(g, code_enter_vm86);
}

static void test_vm86(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_gate32(g, G_IDT + 0x21 * 8, S_CODE0, G_HANDLERS + 0x210, 0xee);
    vm86_run(g, FL_VM | FL_IOPL | 2);
    g_assert_cmpint(guest_vector(g), ==, 0x21);
    g_assert_cmphex(g->cpu->gpr[R_RAX] & 0xffff, ==, 0x1234);
    g_assert_cmphex(g->cpu->gpr[R_RSP], ==, G_STACK0 - 36);
    g_assert_cmphex(guest_frame(g, 0), ==, 5);
    g_assert_cmphex(guest_frame(g, 1), ==, 0x1800);
    g_assert_true(guest_frame(g, 2) & FL_VM);
    g_assert_cmphex(guest_frame(g, 4), ==, 0x900);
    g_assert_cmphex(guest_frame(g, 5), ==, 0x1800); /* ES */
    g_assert_true(g->cpu->seg[SEG_DS].attr & SA_UNUSABLE);

    guest_pm32(g); /* IOPL 0: #GP to the monitor */
    vm86_run(g, FL_VM | 2);
    g_assert_fault(g, EXC_GP, 0);

    guest_pm32(g); /* VME: the program's own handler, VIF instead of IF */
    g->cpu->cr4 |= CR4_VME;
    guest_st(g, G_TSS + 0x66, 2, 0x88);
    guest_st(g, G_TSS + 0x68, 8, 0); /* redirection map: all to the program */
    guest_st(g, 0x21 * 4, 4, 0x18000030);
    guest_st(g, G_DATA + 0x30, 1, 0xf4); /* HLT in VM86: #GP */
    vm86_run(g, FL_VM | FL_VIF | 2);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, 0x30);
    g_assert_false(guest_frame(g, 3) & FL_VIF);
    g_assert_cmphex(guest_ld(g, 0x9000 + 0xff0 - 6, 2), ==, 5);
    g_assert_true(guest_ld(g, 0x9000 + 0xff0 - 2, 2) & FL_IF);
    guest_free(g);
}

static void test_io_permission(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(code_in, 32, "mov $0x80, %edx\n inb %dx, %al");
    guest_pm32(g);
    guest_st(g, G_TSS + 0x66, 2, 0x68);
    guest_st(g, G_TSS + 0x68 + 0x10, 2, 0);
    guest_user(g);
    guest_run(g, code_in);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + 6); /* the HLT: IN itself was allowed */
    guest_pm32(g);
    guest_st(g, G_TSS + 0x68 + 0x10, 2, 1);
    guest_user(g);
    guest_run(g, code_in);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + 5);
    guest_free(g);
}

static void test_real_to_long(void)
{
    Guest *g = guest_new(NULL);
    /* From the reset state: real mode, then protected, paging with LME, 64-bit code. */
    guest_long(g);
    x86_cpu_reset(g->cpu, RESET_COLD);
    g_assert_cmphex(g->cpu->seg[SEG_CS].base, ==, 0xffff0000);
    g_assert_cmphex(g->cpu->rip, ==, 0xfff0);
    GUEST_CODE(code_modes, 16,
               "xor %ax, %ax\n mov %ax, %ds\n lgdtl 0x7000\n"
               "mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n mov $0x100000, %eax\n mov %eax, %cr3\n"
               "mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
               "mov %cr0, %eax\n or $0x80000001, %eax\n mov %eax, %cr0\n"
               "ljmpl $0x38, $0x18000");
    GUEST_CODE(code_in64, 64, "mov $0x1122334455667788, %rax\n mov %rax, %r9");
    guest_st(g, 0x7000, 2, 0xfff);
    guest_st(g, 0x7002, 4, G_GDT);
    guest_put(g, G_DATA, code_in64, (size_t)(code_in64_end - code_in64));
    x86_set_seg_real(g->cpu, SEG_CS, G_CODE >> 4);
    guest_put(g, G_CODE, code_modes, (size_t)(code_modes_end - code_modes));
    g->cpu->rip = 0;
    guest_continue(g);
    g_assert_false(g->shut_down);
    g_assert_cmphex(g->cpu->gpr[9], ==, 0x1122334455667788);
    g_assert_true(g->cpu->efer & EFER_LMA);
    g_assert_true(g->cpu->mode & MODE_CODE64);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/sys/exceptions", test_exceptions);
    g_test_add_func("/cpu/sys/limits", test_limits);
    g_test_add_func("/cpu/sys/inner-interrupt", test_inner_interrupt);
    g_test_add_func("/cpu/sys/call-gate", test_call_gate);
    g_test_add_func("/cpu/sys/task-switch", test_task_switch);
    g_test_add_func("/cpu/sys/double-triple", test_double_and_triple);
    g_test_add_func("/cpu/sys/endless-delivery", test_endless_delivery);
    g_test_add_func("/cpu/sys/paging32", test_paging32);
    g_test_add_func("/cpu/sys/smep-smap", test_smep_smap);
    g_test_add_func("/cpu/sys/single-step", test_single_step);
    g_test_add_func("/cpu/sys/breakpoints", test_breakpoints);
    g_test_add_func("/cpu/sys/interrupts", test_interrupts);
    g_test_add_func("/cpu/sys/init-sipi", test_init_sipi);
    g_test_add_func("/cpu/sys/vm86", test_vm86);
    g_test_add_func("/cpu/sys/io-permission", test_io_permission);
    g_test_add_func("/cpu/sys/real-to-long", test_real_to_long);
    return g_test_run();
}

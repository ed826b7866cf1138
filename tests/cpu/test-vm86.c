/* SPDX-License-Identifier: MIT
 * tests/cpu/test-vm86.c - virtual-8086 mode and its extensions (SDM volume 3 20.2-20.4, tables 20-1, 20-2), protected
 * mode virtual interrupts, and the I/O permission bitmap (volume 1 19.5.2).
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

enum { CS86 = 0x1800, SS86 = 0x900, SP86 = 0xf00, MAP = 0x88 }; /* MAP: I/O bitmap; 32 bytes before it, redirection */

typedef struct Code { const uint8_t *from, *end; } Code;
#define CODE(name) { name, name##_end }
#define R(r) (g->cpu->gpr[R_##r])

static uint8_t forbidden; /* the map's byte for ports 0x80..0x87 */

/* Straight into VM86 at CS86:0. */
static void enter(Guest *g, const Code *c, uint32_t flags, uint32_t cr4)
{
    uint64_t ax = R(RAX), cx = R(RCX), dx = R(RDX); /* the test's */
    guest_pm32(g);
    R(RAX) = ax;
    R(RCX) = cx;
    R(RDX) = dx;
    guest_gate32(g, G_IDT + 0x21 * 8, S_CODE0, G_HANDLERS + 0x210, 0xee);
    guest_st(g, G_TSS + 0x66, 2, MAP);
    for (unsigned i = 0x68; i < 0x400; i += 8) {
        guest_st(g, G_TSS + i, 8, i == MAP + 0x10 ? forbidden : 0);
    }
    g->cpu->cr4 = (g->cpu->cr4 & ~(uint64_t)(CR4_VME | CR4_PVI)) | cr4;
    const uint32_t all = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_VM | FL_VIF | FL_VIP | FL_AC;
    x86_set_eflags(g->cpu, flags | FL_VM, all);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        uint16_t sel = i == SEG_CS ? CS86 : i == SEG_SS ? SS86 : 0x7c0;
        g->cpu->seg[i] = (X86Seg){ .sel = sel, .base = (uint32_t)sel << 4, .limit = 0xffff, .attr = 0xf3 };
    }
    g->cpu->cpl = 3;
    R(RSP) = SP86;
    R(RBX) = 0;
    guest_put(g, CS86 << 4, c->from, (size_t)(c->end - c->from));
    g->cpu->rip = 0;
    x86_update_mode(g->cpu);
    guest_continue(g);
    g_assert_false(g->shut_down);
}

/* The program ended at its HLT, which is #GP in VM86; the frame is then that of the program. */
#define assert_done(g, c)                                                                     \
    do {                                                                                      \
        g_assert_fault(g, EXC_GP, 0);                                                         \
        g_assert_cmphex(guest_frame(g, 1), ==, (uint64_t)((c)->end - (c)->from) - 1);         \
    } while (0)
#define assert_gp_at(g, at)                               \
    do {                                                  \
        g_assert_fault(g, EXC_GP, 0);                     \
        g_assert_cmphex(guest_frame(g, 1), ==, (at));     \
    } while (0)
static uint32_t flags_of(Guest *g) { return (uint32_t)guest_frame(g, 3); }
static uint16_t pushed(Guest *g, unsigned at) { return (uint16_t)guest_ld(g, (SS86 << 4) + at, 2); }

GUEST_CODE(v_cli, 16, "cli");
GUEST_CODE(v_sti, 16, "sti");
GUEST_CODE(v_pushf, 16, "pushf");
GUEST_CODE(v_pushfd, 16, "pushfl");
GUEST_CODE(v_popf, 16, "push %ax\n popf");
GUEST_CODE(v_popfd, 16, "push %eax\n popfl");
GUEST_CODE(v_int, 16, "int $0x21");
GUEST_CODE(v_int3, 16, "int3");
GUEST_CODE(v_iret, 16, "push %ax\n push %cs\n push $8\n iret\n nop\n nop\n nop\n nop");
GUEST_CODE(v_iretd, 16, "push %eax\n pushl %ecx\n push %edx\n iretl\n nop");

/* 20.2.7: below IOPL 3 they trap, unless VME; IN and OUT never look at IOPL here. */
static void test_iopl(void)
{
    const struct { Code c; unsigned at; bool needs_iopl, vme; } cases[] = {
        { CODE(v_cli), 0, true, true },     { CODE(v_sti), 0, true, true },     { CODE(v_pushf), 0, true, true },
        { CODE(v_pushfd), 0, true, false }, { CODE(v_popf), 1, true, true },    { CODE(v_popfd), 2, true, false },
        { CODE(v_iret), 4, true, true },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (unsigned iopl = 0; iopl < 4; iopl++) {
            for (unsigned vme = 0; vme < 2; vme++) {
                R(RAX) = 2;
                g_test_message("case %u, iopl %u, vme %u", i, iopl, vme);
                enter(g, &cases[i].c, iopl << 12 | 2, vme ? CR4_VME : 0);
                if (iopl == 3 || (vme && cases[i].vme)) {
                    assert_done(g, &cases[i].c);
                } else {
                    assert_gp_at(g, cases[i].at);
                }
            }
        }
    }
    guest_free(g);
}

/* IOPL 3: the real flags. */
static void test_real_flags(void)
{
    Guest *g = guest_new(NULL);
    enter(g, &(Code)CODE(v_sti), FL_IOPL | 2, 0);
    g_assert_true(flags_of(g) & FL_IF);
    enter(g, &(Code)CODE(v_cli), FL_IOPL | FL_IF | 2, CR4_VME);
    g_assert_false(flags_of(g) & (FL_IF | FL_VIF));
    enter(g, &(Code)CODE(v_pushf), FL_IOPL | FL_IF | FL_CF | 2, 0);
    g_assert_cmphex(pushed(g, SP86 - 2), ==, FL_IOPL | FL_IF | FL_CF | 2);
    R(RAX) = FL_IF | FL_ZF | 2; /* IOPL in the image is ignored */
    enter(g, &(Code)CODE(v_popf), FL_IOPL | 2, 0);
    g_assert_cmphex(flags_of(g) & (FL_IF | FL_ZF | FL_IOPL | FL_VM), ==, FL_IF | FL_ZF | FL_IOPL | FL_VM);
    R(RAX) = FL_VM | FL_VIF | FL_VIP | FL_AC | FL_ID | 2; /* VM, VIF, VIP stay; AC and ID are loaded */
    enter(g, &(Code)CODE(v_popfd), FL_IOPL | 2, CR4_VME);
    g_assert_cmphex(flags_of(g) & (FL_VM | FL_VIF | FL_VIP | FL_AC | FL_ID), ==, FL_VM | FL_AC | FL_ID);
    R(RAX) = FL_ID | FL_IF | 2;
    R(RCX) = CS86;
    R(RDX) = (uint64_t)(v_iretd_end - v_iretd) - 1;
    enter(g, &(Code)CODE(v_iretd), FL_IOPL | 2, 0);
    assert_done(g, &(Code)CODE(v_iretd));
    g_assert_cmphex(flags_of(g) & (FL_ID | FL_IF | FL_IOPL | FL_VM), ==, FL_ID | FL_IF | FL_IOPL | FL_VM);
    guest_free(g);
}

/* VME and IOPL < 3: IF stands for VIF (20.3). */
static void test_virtual_flags(void)
{
    Guest *g = guest_new(NULL);
    enter(g, &(Code)CODE(v_sti), 2, CR4_VME);
    g_assert_cmphex(flags_of(g) & (FL_IF | FL_VIF), ==, FL_VIF);
    enter(g, &(Code)CODE(v_cli), FL_IF | FL_VIF | 2, CR4_VME);
    g_assert_cmphex(flags_of(g) & (FL_IF | FL_VIF), ==, FL_IF);
    enter(g, &(Code)CODE(v_sti), FL_VIP | 2, CR4_VME); /* an interrupt waits: to the monitor */
    assert_gp_at(g, 0);
    enter(g, &(Code)CODE(v_pushf), FL_IF | 2, CR4_VME);
    g_assert_cmphex(pushed(g, SP86 - 2), ==, FL_IOPL | 2);
    enter(g, &(Code)CODE(v_pushf), FL_VIF | 2, CR4_VME);
    g_assert_cmphex(pushed(g, SP86 - 2), ==, FL_IOPL | FL_IF | 2);
    R(RAX) = FL_IF | FL_ZF | 2;
    enter(g, &(Code)CODE(v_popf), 2, CR4_VME);
    g_assert_cmphex(flags_of(g) & (FL_IF | FL_VIF | FL_ZF | FL_IOPL), ==, FL_VIF | FL_ZF);
    R(RAX) = 2;
    enter(g, &(Code)CODE(v_popf), FL_IF | FL_VIF | 2, CR4_VME);
    g_assert_cmphex(flags_of(g) & (FL_IF | FL_VIF), ==, FL_IF);
    R(RAX) = FL_IF | 2;
    enter(g, &(Code)CODE(v_popf), FL_VIP | 2, CR4_VME);
    assert_gp_at(g, 1);
    R(RAX) = FL_TF | 2;
    enter(g, &(Code)CODE(v_popf), 2, CR4_VME);
    assert_gp_at(g, 1);
    R(RAX) = FL_IF | FL_CF | 2;
    enter(g, &(Code)CODE(v_iret), 2, CR4_VME);
    assert_done(g, &(Code)CODE(v_iret));
    g_assert_cmphex(flags_of(g) & (FL_IF | FL_VIF | FL_CF), ==, FL_VIF | FL_CF);
    R(RAX) = FL_IF | 2;
    enter(g, &(Code)CODE(v_iret), FL_VIP | 2, CR4_VME);
    assert_gp_at(g, 4);
    guest_free(g);
}

/* Table 20-2: INT n by VME, the redirection bit and IOPL. INT3 and INTO are not redirected nor IOPL-sensitive. */
static void test_int_n(void)
{
    Guest *g = guest_new(NULL);
    for (unsigned k = 0; k < 16; k++) {
        bool vme = k & 1, bit = k & 2, iopl3 = k & 4, limit = k & 8;
        guest_st(g, 0x21 * 4, 4, CS86 << 16 | 0x40);
        g_test_message("vme %d, bit %d, iopl %d, short TSS %d", vme, bit, iopl3 ? 3 : 0, limit);
        guest_st(g, (CS86 << 4) + 0x40, 1, 0xf4);
        /* enter() clears the map: the bit is set through a second start. */
        enter(g, &(Code)CODE(v_pushf), FL_IOPL | 2, 0);
        Code c = CODE(v_int);
        guest_put(g, CS86 << 4, c.from, (size_t)(c.end - c.from));
        guest_st(g, G_TSS + MAP - 32 + 4, 1, bit ? 2 : 0xfd);
        g->cpu->tr.limit = limit ? 0x67 : 0x7ff;
        g->cpu->cr4 = (g->cpu->cr4 & ~(uint64_t)CR4_VME) | (vme ? CR4_VME : 0);
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            uint16_t sel = i == SEG_CS ? CS86 : SS86;
            g->cpu->seg[i] = (X86Seg){ .sel = sel, .base = (uint32_t)sel << 4, .limit = 0xffff, .attr = 0xf3 };
        }
        x86_set_eflags(g->cpu, FL_VM | (iopl3 ? FL_IOPL | FL_IF : FL_VIF) | FL_NT | 2,
                       FL_VM | FL_IOPL | FL_IF | FL_VIF | FL_NT);
        g->cpu->cpl = 3;
        R(RSP) = SP86;
        g->cpu->rip = 0;
        x86_update_mode(g->cpu);
        guest_continue(g);
        bool redirected = vme && !bit && !limit;
        if (redirected) { /* methods 5 and 6 */
            assert_gp_at(g, 0x40);
            g_assert_cmphex(pushed(g, SP86 - 6), ==, 2);
            g_assert_cmphex(pushed(g, SP86 - 4), ==, CS86);
            g_assert_cmphex(pushed(g, SP86 - 2) & (FL_IF | FL_IOPL | FL_NT), ==, FL_IF | FL_IOPL | FL_NT);
            g_assert_cmphex(flags_of(g) & (FL_VIF | FL_NT | FL_TF), ==, 0);
            g_assert_cmphex(flags_of(g) & FL_IF, ==, 0);
        } else if (iopl3) { /* methods 1 and 4 */
            g_assert_cmpint(guest_vector(g), ==, 0x21);
            g_assert_cmphex(guest_frame(g, 0), ==, 2);
        } else {
            assert_gp_at(g, 0);
        }
    }
    enter(g, &(Code)CODE(v_int3), 2, 0);
    g_assert_fault(g, EXC_GP, EXC_BP * 8 + 2); /* by its gate's DPL, as in protected mode */
    guest_free(g);
}

/* A gate to CPL 1 or to a conforming segment is no way out of VM86 (20.2.1). */
static void test_handler_cpl(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(v_int22, 16, "int $0x22");
    guest_pm32(g);
    guest_desc(g, S_FREE, 0, 0xfffff, 0x9f, 0xc); /* conforming, DPL 0: CPL would stay 3 */
    guest_gate32(g, G_IDT + 0x22 * 8, S_FREE, G_HANDLERS + 0x220, 0xee);
    Code c = CODE(v_int22);
    guest_put(g, CS86 << 4, c.from, (size_t)(c.end - c.from));
    x86_set_eflags(g->cpu, FL_VM | FL_IOPL | 2, FL_VM | FL_IOPL);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        uint16_t sel = i == SEG_CS ? CS86 : SS86;
        g->cpu->seg[i] = (X86Seg){ .sel = sel, .base = (uint32_t)sel << 4, .limit = 0xffff, .attr = 0xf3 };
    }
    g->cpu->cpl = 3;
    R(RSP) = SP86;
    g->cpu->rip = 0;
    x86_update_mode(g->cpu);
    guest_continue(g);
    g_assert_fault(g, EXC_GP, S_FREE);
    guest_free(g);
}

/* PVI: CLI and STI at CPL 3 with IOPL < 3; nothing else is virtual (20.4). */
static void test_pvi(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(p_sti, 32, "sti\n nop");
    GUEST_CODE(p_cli, 32, "cli\n nop");
    GUEST_CODE(p_pushf, 32, "pushf\n pop %ebx\n push $0x202\n popf");
    const struct { Code c; uint32_t before, after; uint32_t cr4; bool gp; } cases[] = {
        { CODE(p_sti), 0, FL_VIF, CR4_PVI, false },      { CODE(p_cli), FL_VIF | FL_IF, FL_IF, CR4_PVI, false },
        { CODE(p_sti), FL_VIP, 0, CR4_PVI, true },       { CODE(p_cli), FL_VIP | FL_VIF, FL_VIP, CR4_PVI, false },
        { CODE(p_sti), 0, 0, 0, true },                  { CODE(p_cli), 0, 0, CR4_VME, true },
        { CODE(p_sti), FL_IOPL, FL_IOPL | FL_IF, CR4_PVI, false },
        { CODE(p_pushf), FL_VIF, FL_VIF, CR4_PVI, false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_pm32(g);
        g->cpu->cr4 = (g->cpu->cr4 & ~(uint64_t)(CR4_VME | CR4_PVI)) | cases[i].cr4;
        guest_user(g);
        x86_set_eflags(g->cpu, cases[i].before, FL_VIF | FL_VIP | FL_IF | FL_IOPL);
        g_test_message("case %u", i);
        guest_run_code(g, cases[i].c.from, (size_t)(cases[i].c.end - cases[i].c.from));
        uint64_t end = G_CODE + (uint64_t)(cases[i].c.end - cases[i].c.from) - 1;
        assert_gp_at(g, cases[i].gp ? G_CODE : end);
        if (!cases[i].gp) {
            g_assert_cmphex(flags_of(g) & (FL_VIF | FL_VIP | FL_IF | FL_IOPL), ==, cases[i].after);
        }
    }
    g_assert_false(R(RBX) & FL_IF); /* PUSHF shows IF, not VIF */
    guest_free(g);
}

/* --- ports --- */

GUEST_CODE(io_in1, 32, "in %dx, %al\n mov $1, %ebx");
GUEST_CODE(io_in2, 32, "in %dx, %ax\n mov $1, %ebx");
GUEST_CODE(io_in4, 32, "in %dx, %eax\n mov $1, %ebx");
GUEST_CODE(io_out1, 32, "out %al, %dx\n mov $1, %ebx");
GUEST_CODE(io_insb, 32, "insb\n mov $1, %ebx");

static bool io_allowed(Guest *g, const Code *c, unsigned port, unsigned iopl)
{
    guest_user(g);
    x86_set_eflags(g->cpu, iopl << 12, FL_IOPL);
    R(RDX) = port;
    R(RDI) = G_DATA;
    R(RBX) = 0;
    guest_run_code(g, c->from, (size_t)(c->end - c->from));
    g_assert_fault(g, EXC_GP, 0); /* the instruction or the HLT */
    bool done = R(RBX) == 1;
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + (done ? (uint64_t)(c->end - c->from) - 1 : 0));
    return done;
}

static void test_bitmap(void)
{
    const struct { Code c; unsigned n; } code[] = {
        { CODE(io_in1), 1 }, { CODE(io_in2), 2 }, { CODE(io_in4), 4 }, { CODE(io_out1), 1 }, { CODE(io_insb), 1 },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(code); i++) {
        for (unsigned bit = 0x80; bit < 0x90; bit++) { /* one port forbidden */
            for (unsigned port = 0x80; port < 0x8c; port++) {
                guest_pm32(g);
                guest_st(g, G_TSS + 0x66, 2, MAP);
                for (unsigned k = 0; k < 4; k++) {
                    guest_st(g, G_TSS + MAP + 0x10 + k, 1, (bit - 0x80) / 8 == k ? 1u << (bit & 7) : 0);
                }
                bool hit = port <= bit && bit < port + code[i].n;
                g_assert_cmpint(io_allowed(g, &code[i].c, port, 0), ==, !hit);
                if (hit) {
                    guest_pm32(g);
                    g_assert_true(io_allowed(g, &code[i].c, port, 3)); /* IOPL >= CPL: no map */
                }
            }
        }
    }
    /* The end of the segment: both bytes that are read must be inside (19.5.2). */
    const struct { unsigned limit; bool ok; } ends[] = {
        { MAP + 0x10, false }, { MAP + 0x11, true }, { MAP + 0xf, false }, { 0x67, false }, { 0x66, false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
        guest_pm32(g);
        g->cpu->tr.limit = ends[i].limit;
        guest_st(g, G_TSS + 0x66, 2, MAP);
        guest_st(g, G_TSS + MAP + 0x10, 2, 0);
        g_assert_cmpint(io_allowed(g, &(Code)CODE(io_in1), 0x80, 0), ==, ends[i].ok);
    }
    guest_pm32(g); /* a base beyond the limit: no map */
    guest_st(g, G_TSS + 0x66, 2, 0xffff);
    g_assert_false(io_allowed(g, &(Code)CODE(io_in1), 0x80, 0));
    guest_pm32(g); /* 16-bit TSSs have none */
    g->cpu->tr.attr = 0x83;
    guest_st(g, G_TSS + 2, 4, (uint32_t)S_DATA0 << 16 | G_STACK0); /* SP0, SS0 */
    guest_st(g, G_TSS + 0x66, 2, MAP);
    guest_st(g, G_TSS + MAP + 0x10, 2, 0);
    g_assert_false(io_allowed(g, &(Code)CODE(io_in1), 0x80, 0));
    guest_free(g);
}

/* VM86: the map counts whatever IOPL is. */
static void test_vm86_ports(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(v_in, 16, "in $0x80, %al\n mov $1, %bx");
    Code c = CODE(v_in);
    for (unsigned iopl = 0; iopl < 4; iopl += 3) {
        enter(g, &c, iopl << 12 | 2, 0);
        assert_done(g, &c);
        g_assert_cmphex(R(RBX) & 0xffff, ==, 1);
        forbidden = 1;
        enter(g, &c, iopl << 12 | 2, 0);
        assert_gp_at(g, 0);
        forbidden = 0;
    }
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/vm86/iopl", test_iopl);
    g_test_add_func("/cpu/vm86/real-flags", test_real_flags);
    g_test_add_func("/cpu/vm86/virtual-flags", test_virtual_flags);
    g_test_add_func("/cpu/vm86/int-n", test_int_n);
    g_test_add_func("/cpu/vm86/handler-cpl", test_handler_cpl);
    g_test_add_func("/cpu/vm86/pvi", test_pvi);
    g_test_add_func("/cpu/vm86/bitmap", test_bitmap);
    g_test_add_func("/cpu/vm86/ports", test_vm86_ports);
    return g_test_run();
}

/* SPDX-License-Identifier: MIT
 * tests/cpu/test-gates.c - ways between privilege levels: call gates of 16, 32 and 64 bits with their parameters,
 * stacks and exceptions (SDM volume 3 5.8, volume 2 CALL, JMP, RET), conforming segments and RPLs (5.5-5.8), null SS
 * (5.8.6, 6.14), IST; SYSCALL, SYSRET, SYSENTER and SYSEXIT in every mode as each vendor has them.
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

typedef struct Code { const uint8_t *from, *end; } Code;
#define CODE(name) { name, name##_end }
#define R(r) (g->cpu->gpr[R_##r])
enum { S_GATE = S_FREE, S_CODE1 = S_FREE + 0x18, S_DATA1 = S_FREE + 0x20, S_X = S_FREE + 0x28, SP1 = 0x9000, TARGET = 0x7000 };

GUEST_CODE(call_gate, 32, "lcall $0x5b, $0x12345678\n mov $7, %ebp");
GUEST_CODE(call_gate0, 32, "lcall $0x58, $0x12345678\n mov $7, %ebp");
GUEST_CODE(jmp_gate, 32, "ljmp $0x5b, $0x12345678");
GUEST_CODE(hlt, 32, "");

static void put_code(Guest *g, hwaddr at, const Code *c) { guest_put(g, at, c->from, (size_t)(c->end - c->from)); }

static void run(Guest *g, const Code *c)
{
    guest_run_code(g, c->from, (size_t)(c->end - c->from));
    g_assert_false(g->shut_down);
}

/* CPL 3; a gate for CPL 3 at S_GATE to ring 1 at TARGET (HLT there: #GP to ring 0). */
static void setup(Guest *g, unsigned type, unsigned params)
{
    guest_pm32(g);
    guest_desc(g, S_CODE1, 0, 0xfffff, 0xbb, 0xc);
    guest_desc(g, S_DATA1, 0, 0xfffff, 0xb3, 0xc);
    guest_gate32(g, G_GDT + S_GATE, S_CODE1 | 1, TARGET, 0xe0 | type);
    guest_st(g, G_GDT + S_GATE + 4, 1, params);
    guest_st(g, G_TSS + 12, 4, SP1);
    guest_st(g, G_TSS + 16, 2, S_DATA1 | 1);
    put_code(g, TARGET, &(Code)CODE(hlt));
    guest_user(g);
}

/* What the gate pushed, and the way back with RET n. */
static void test_parameters(void)
{
    GUEST_CODE(ret_far, 32, ".byte 0xca, 0, 0"); /* the count is filled in */
    GUEST_CODE(ret_far16, 32, ".byte 0x66, 0xca, 0, 0");
    Guest *g = guest_new(NULL);
    for (unsigned wide = 0; wide < 2; wide++) {
        for (unsigned n = 0; n < 32; n++) {
            unsigned w = wide ? 4 : 2;
            setup(g, wide ? DT_CALL32 : DT_CALL16, n);
            for (unsigned i = 0; i < 32; i++) {
                guest_st(g, G_STACK3 + i * w, w, 0x1010101 * (i + 1));
            }
            run(g, &(Code)CODE(call_gate));
            g_assert_fault(g, EXC_GP, 0); /* HLT in ring 1 */
            g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
            g_assert_cmphex(guest_frame(g, 2), ==, S_CODE1 | 1);
            g_assert_cmphex(guest_frame(g, 5), ==, S_DATA1 | 1);
            uint64_t sp = guest_frame(g, 4);
            uint64_t mask = w == 2 ? 0xffff : 0xffffffff;
            g_assert_cmphex(sp, ==, SP1 - (4 + n) * w);
            g_assert_cmphex(guest_ld(g, sp, w), ==, (G_CODE + 7) & mask);
            g_assert_cmphex(guest_ld(g, sp + w, 2), ==, S_CODE3);
            for (unsigned i = 0; i < n; i++) {
                g_assert_cmphex(guest_ld(g, sp + (2 + i) * w, w), ==, (0x1010101u * (i + 1)) & mask);
            }
            g_assert_cmphex(guest_ld(g, sp + (2 + n) * w, w), ==, G_STACK3);
            g_assert_cmphex(guest_ld(g, sp + (3 + n) * w, 2), ==, S_DATA3);
        }
    }
    for (unsigned wide = 0; wide < 2; wide++) { /* and back; the 16-bit return address needs a low caller */
        unsigned w = wide ? 4 : 2;
        Code back = CODE(ret_far16);
        back = wide ? (Code)CODE(ret_far) : back;
        setup(g, wide ? DT_CALL32 : DT_CALL16, 3);
        put_code(g, TARGET, &back);
        guest_st(g, TARGET + (wide ? 1 : 2), 2, 3 * w);
        put_code(g, 0x6000, &(Code)CODE(call_gate));
        g->cpu->rip = 0x6000;
        guest_continue(g);
        g_assert_fault(g, EXC_GP, 0);
        g_assert_cmphex(guest_frame(g, 1), ==, 0x600c);
        g_assert_cmphex(guest_frame(g, 2), ==, S_CODE3);
        g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3 + 3 * w); /* RET n takes them off both stacks */
        g_assert_cmphex(guest_frame(g, 5), ==, S_DATA3);
        g_assert_cmphex(R(RBP), ==, 7);
    }
    guest_free(g);
}

/* CALL through a gate to a more privileged ring: each check with its vector and error code, in the SDM's order. */
static void test_gate_errors(void)
{
    Guest *g = guest_new(NULL);
    enum { GATE_SEL, GATE_ACCESS, CODE_ACCESS, SS_SEL, SS_ACCESS, SS_LIMIT, SS_FLAGS, TSS_LIMIT, GATE_OFF, GATE_CPL, RPL };
    const struct { int what; uint32_t v; int vec; uint32_t err; } cases[] = {
        { GATE_ACCESS, 0x8c, EXC_GP, S_GATE },       { GATE_ACCESS, 0x6c, EXC_NP, S_GATE },
        { GATE_ACCESS, 0xee, EXC_GP, S_GATE },       { GATE_SEL, 0, EXC_GP, 0 },
        { GATE_SEL, 3, EXC_GP, 0 },                  { GATE_SEL, S_DATA1, EXC_GP, S_DATA1 },
        { GATE_SEL, 0x3000, EXC_GP, 0x3000 },        { CODE_ACCESS, 0x3b, EXC_NP, S_CODE1 },
        { SS_SEL, 0, EXC_TS, 0 },                    { SS_SEL, S_DATA1, EXC_TS, S_DATA1 }, /* RPL 0 */
        { SS_SEL, 0x3001, EXC_TS, 0x3000 },          { SS_ACCESS, 0xb1, EXC_TS, S_DATA1 },
        { SS_ACCESS, 0xbb, EXC_TS, S_DATA1 },        { SS_ACCESS, 0x93, EXC_TS, S_DATA1 },
        { SS_ACCESS, 0x33, EXC_SS, S_DATA1 },        { SS_LIMIT, SP1 - 9, EXC_SS, S_DATA1 },
        { TSS_LIMIT, 16, EXC_TS, S_TSS },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint32_t v = cases[i].v;
        setup(g, DT_CALL32, 0);
        switch (cases[i].what) {
        case GATE_ACCESS: guest_gate32(g, G_GDT + S_GATE, S_CODE1, TARGET, v); break;
        case GATE_SEL: guest_gate32(g, G_GDT + S_GATE, (uint16_t)v, TARGET, 0xec); break;
        case CODE_ACCESS: guest_desc(g, S_CODE1, 0, 0xfffff, v, 0xc); break;
        case SS_SEL: guest_st(g, G_TSS + 16, 2, v); break;
        case SS_ACCESS: guest_desc(g, S_DATA1, 0, 0xfffff, v, 0xc); break;
        case SS_LIMIT: guest_desc(g, S_DATA1, 0, v, 0xb3, 4); break;
        default: g->cpu->tr.limit = v; break;
        }
        g_test_message("case %u", i);
        run(g, &(Code)CODE(call_gate));
        g_assert_fault(g, cases[i].vec, cases[i].err);
        g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
        g_assert_cmphex(guest_frame(g, 2), ==, S_CODE3);
        g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3);
    }
    setup(g, DT_CALL32, 0); /* the offset lies outside the target */
    guest_desc(g, S_CODE1, 0, 0x6fff, 0xbb, 4);
    run(g, &(Code)CODE(call_gate));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3);
    setup(g, DT_CALL32, 0); /* DPL 2 gate: CPL 3 no; CPL 0 with RPL 3 no, with RPL 0 to a ring above no */
    guest_gate32(g, G_GDT + S_GATE, S_CODE0, TARGET, 0xcc);
    run(g, &(Code)CODE(call_gate0));
    g_assert_fault(g, EXC_GP, S_GATE);
    guest_pm32(g);
    run(g, &(Code)CODE(call_gate));
    g_assert_fault(g, EXC_GP, S_GATE);
    guest_pm32(g);
    run(g, &(Code)CODE(call_gate0)); /* same privilege: no other stack */
    g_assert_cmphex(g->cpu->rip, ==, TARGET + 1);
    g_assert_cmphex(R(RSP), ==, G_STACK0 - 8);
    guest_gate32(g, G_GDT + S_GATE, S_CODE3, TARGET, 0x8c);
    guest_pm32(g);
    run(g, &(Code)CODE(call_gate0)); /* a gate does not lead outwards */
    g_assert_fault(g, EXC_GP, S_CODE3 & ~3);
    guest_free(g);
}

/* Conforming code: CPL stays, CALL and JMP alike; JMP through a gate never changes privilege (5.8.4). */
static void test_conforming(void)
{
    Guest *g = guest_new(NULL);
    setup(g, DT_CALL32, 2);
    guest_desc(g, S_CODE1, 0, 0xfffff, 0x9f, 0xc); /* conforming, DPL 0 */
    run(g, &(Code)CODE(call_gate));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
    g_assert_cmphex(guest_frame(g, 2), ==, S_CODE1 | 3);
    g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3 - 8); /* no parameters are copied */
    setup(g, DT_CALL32, 0);
    guest_desc(g, S_CODE1, 0, 0xfffff, 0x9f, 0xc);
    run(g, &(Code)CODE(jmp_gate));
    g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
    g_assert_cmphex(guest_frame(g, 2), ==, S_CODE1 | 3);
    setup(g, DT_CALL32, 0);
    run(g, &(Code)CODE(jmp_gate));
    g_assert_fault(g, EXC_GP, S_CODE1);
    guest_free(g);
}

/* Direct far JMP: DPL, CPL and RPL (5.8.1). */
static void test_direct(void)
{
    GUEST_CODE(ljmp_m, 32, "ljmp *(%edi)");
    Guest *g = guest_new(NULL);
    for (unsigned conforming = 0; conforming < 2; conforming++) {
        for (unsigned cpl = 0; cpl < 4; cpl += 3) {
            for (unsigned dpl = 0; dpl < 4; dpl++) {
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    guest_pm32(g);
                    guest_desc(g, S_X, 0, 0xfffff, 0x9b | conforming << 2 | dpl << 5, 0xc);
                    put_code(g, TARGET, &(Code)CODE(hlt));
                    if (cpl) {
                        guest_user(g);
                    }
                    guest_st(g, G_DATA, 4, TARGET);
                    guest_st(g, G_DATA + 4, 2, S_X | rpl);
                    R(RDI) = G_DATA;
                    run(g, &(Code)CODE(ljmp_m));
                    bool ok = conforming ? dpl <= cpl : dpl == cpl && rpl <= cpl;
                    if (!ok) {
                        g_assert_fault(g, EXC_GP, S_X);
                        g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
                    } else if (cpl == 0) {
                        g_assert_cmphex(g->cpu->rip, ==, TARGET + 1);
                        g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, S_X);
                    } else {
                        g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
                        g_assert_cmphex(guest_frame(g, 2), ==, S_X | 3);
                    }
                }
            }
        }
    }
    guest_free(g);
}

/* Loading DS and SS: type, DPL, CPL, RPL (5.5-5.7). */
static void test_data_segments(void)
{
    GUEST_CODE(load_ds, 32, "mov %eax, %ds\n mov $7, %ebp");
    GUEST_CODE(load_ss, 32, "mov %eax, %ss\n mov $7, %ebp");
    Guest *g = guest_new(NULL);
    for (unsigned type = 0; type < 16; type++) {
        for (unsigned k = 0; k < 2 * 4 * 4 * 2; k++) {
            unsigned cpl = k & 1 ? 3 : 0, dpl = k >> 1 & 3, rpl = k >> 3 & 3;
            bool ss = k >> 5, code = type & 8, conforming = code && type & 4, rw = type & 2;
            guest_pm32(g);
            guest_desc(g, S_X, 0, (type & 12) == 4 ? 0 : 0xfffff, 0x90 | type | dpl << 5, 0xc);
            if (cpl) {
                guest_user(g);
            }
            R(RAX) = S_X | rpl;
            R(RBP) = 0;
            run(g, ss ? &(Code)CODE(load_ss) : &(Code)CODE(load_ds));
            bool ok = ss ? !code && rw && dpl == cpl && rpl == cpl
                         : (!code || rw) && (conforming || (dpl >= cpl && dpl >= rpl));
            g_assert_cmphex(R(RBP), ==, ok ? 7 : 0);
            if (!ok) {
                g_assert_fault(g, EXC_GP, S_X);
            }
        }
    }
    guest_free(g);
}

/* RET to an outer ring: data segments it may not have become null, conforming code stays (SDM RET). */
static void test_return_segments(void)
{
    GUEST_CODE(go_out, 32, "push %eax\n push %ebx\n push %ecx\n push %edx\n lret");
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_desc(g, S_X, 0, 0xfffff, 0x9f, 0xc);
    g->cpu->seg[SEG_DS] = (X86Seg){ .sel = S_DATA0, .limit = 0xffffffff, .attr = 0xc093 };
    g->cpu->seg[SEG_ES] = (X86Seg){ .sel = S_DATA3, .limit = 0xffffffff, .attr = 0xc0f3 };
    g->cpu->seg[SEG_FS] = (X86Seg){ .sel = S_X, .limit = 0xffffffff, .attr = 0xc09f };
    g->cpu->seg[SEG_GS] = (X86Seg){ .sel = S_CODE0, .limit = 0xffffffff, .attr = 0xc09b };
    x86_update_mode(g->cpu);
    R(RAX) = S_DATA3;
    R(RBX) = G_STACK3;
    R(RCX) = S_CODE3;
    R(RDX) = TARGET;
    put_code(g, TARGET, &(Code)CODE(hlt));
    run(g, &(Code)CODE(go_out));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
    g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3);
    g_assert_true(g->cpu->seg[SEG_DS].attr & SA_UNUSABLE);
    g_assert_cmphex(g->cpu->seg[SEG_DS].sel, ==, 0);
    g_assert_cmphex(g->cpu->seg[SEG_ES].sel, ==, S_DATA3);
    g_assert_cmphex(g->cpu->seg[SEG_FS].sel, ==, S_X);
    g_assert_true(g->cpu->seg[SEG_GS].attr & SA_UNUSABLE);
    const struct { uint64_t ss, cs, rip; int vec; uint32_t err; } bad[] = {
        { S_DATA0, S_CODE3, TARGET, EXC_GP, S_DATA0 }, { 3, S_CODE3, TARGET, EXC_GP, 0 },
        { S_DATA3 & ~3, S_CODE3, TARGET, EXC_GP, S_DATA3 & ~3 }, { S_DATA3, S_CODE3 & ~3, TARGET, EXC_GP, S_CODE3 & ~3 },
        { S_DATA3, 3, TARGET, EXC_GP, 0 }, { S_DATA3, S_DATA3, TARGET, EXC_GP, S_DATA3 & ~3 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        guest_pm32(g);
        R(RAX) = bad[i].ss;
        R(RBX) = G_STACK3;
        R(RCX) = bad[i].cs;
        R(RDX) = bad[i].rip;
        run(g, &(Code)CODE(go_out));
        g_assert_fault(g, bad[i].vec, bad[i].err);
        g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + 4);
        g_assert_cmphex(R(RSP), ==, G_STACK0 - 16 - 16);
    }
    guest_free(g);
}

/* --- 64 bits --- */

GUEST_CODE(call_gate64, 64, "lcall *(%rdi)\n mov $7, %ebp");
GUEST_CODE(seen64, 64, "mov (%rsp), %rax\n mov 8(%rsp), %rbx\n mov 16(%rsp), %rcx\n mov 24(%rsp), %rdx\n mov %ss, %esi\n"
                       "mov %rsp, %r8\n mov %cs, %r9d\n lretq");

static void gate64(Guest *g, uint16_t sel, uint64_t off, unsigned access, uint64_t high)
{
    guest_gate32(g, G_GDT + S_GATE, sel, (uint32_t)off, access);
    guest_st(g, G_GDT + S_GATE + 8, 8, off >> 32 | high);
    guest_st(g, G_DATA, 4, 0xdead); /* the offset of the pointer does not matter */
    guest_st(g, G_DATA + 4, 2, S_GATE | 3);
}

static void test_gate64(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    gate64(g, S_CODE64, TARGET, 0xec, 0);
    put_code(g, TARGET, &(Code)CODE(seen64));
    guest_user(g);
    R(RDI) = G_DATA;
    run(g, &(Code)CODE(call_gate64));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(R(RBP), ==, 7);
    g_assert_cmphex(R(RAX), ==, G_CODE + 2);
    g_assert_cmphex(R(RBX) & 0xffff, ==, S_CODE64_3);
    g_assert_cmphex(R(RCX), ==, G_STACK3);
    g_assert_cmphex(R(RDX) & 0xffff, ==, S_DATA3);
    g_assert_cmphex(R(RSI), ==, 0); /* null SS at CPL 0 */
    g_assert_cmphex(R(R8), ==, G_STACK0 - 32);
    g_assert_cmphex(g->cpu->gpr[9], ==, S_CODE64);
    g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3);

    const struct { uint16_t sel; uint64_t off, high; unsigned access; int vec; uint32_t err; } bad[] = {
        { S_CODE0, TARGET, 0, 0xec, EXC_GP, S_CODE0 },    { S_CODE64, TARGET, 1ull << 40, 0xec, EXC_GP, S_GATE },
        { S_CODE64, 1ull << 47, 0, 0xec, EXC_GP, 0 },     { S_CODE64, TARGET, 0, 0xe4, EXC_GP, S_GATE },
        { S_CODE64, TARGET, 0, 0x8c, EXC_GP, S_GATE },    { S_CODE64, TARGET, 0, 0x6c, EXC_NP, S_GATE },
        { 0, TARGET, 0, 0xec, EXC_GP, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        guest_long(g);
        gate64(g, bad[i].sel, bad[i].off, bad[i].access, bad[i].high);
        guest_user(g);
        R(RDI) = G_DATA;
        g_test_message("case %u", i);
        run(g, &(Code)CODE(call_gate64));
        g_assert_fault(g, bad[i].vec, bad[i].err);
        g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
        g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3);
    }
    guest_long(g); /* RSP0 is not canonical: #SS with the new selector, which is null */
    gate64(g, S_CODE64, TARGET, 0xec, 0);
    guest_gate64(g, G_IDT + EXC_SS * 16, S_CODE64, G_HANDLERS + EXC_SS * 16, 0x8e, 1);
    guest_st(g, G_TSS + 4, 8, 1ull << 47);
    guest_user(g);
    R(RDI) = G_DATA;
    run(g, &(Code)CODE(call_gate64));
    g_assert_fault(g, EXC_SS, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
    guest_free(g);
}

/* Null SS: by MOV at CPL 0 to 2 in 64-bit mode with RPL = CPL only (SDM MOV); IRETQ takes it below CPL 3. */
static void test_null_ss(void)
{
    GUEST_CODE(load_ss64, 64, "mov %eax, %ss\n mov $7, %ebp");
    GUEST_CODE(iretq, 64, "push %rax\n push %rbx\n pushf\n push %rcx\n push %rdx\n iretq");
    Guest *g = guest_new(NULL);
    for (unsigned rpl = 0; rpl < 4; rpl++) {
        for (unsigned user = 0; user < 2; user++) {
            guest_long(g);
            if (user) {
                guest_user(g);
            }
            R(RAX) = rpl;
            R(RBP) = 0;
            run(g, &(Code)CODE(load_ss64));
            bool ok = !user && rpl == 0;
            g_assert_cmphex(R(RBP), ==, ok ? 7 : 0);
            if (!ok) {
                g_assert_fault(g, EXC_GP, 0);
                g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
            }
        }
    }
    const struct { uint64_t ss, cs; bool ok; uint32_t err; } cases[] = {
        { 0, S_CODE64, true, 0 },         { 0, S_CODE64_3, false, 0 },        { 3, S_CODE64_3, false, 0 },
        { 1, S_CODE64, false, 0 },        { 0, S_CODE0, false, 0 }, /* compatibility mode needs a stack */
        { S_DATA0, S_CODE0, true, 0 },    { S_DATA3, S_CODE64, false, S_DATA3 & ~3 },
        { S_DATA0, S_CODE64_3, false, S_DATA0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_long(g);
        put_code(g, TARGET, &(Code)CODE(hlt));
        R(RAX) = cases[i].ss;
        R(RBX) = 0x9000;
        R(RCX) = cases[i].cs;
        R(RDX) = TARGET;
        g_test_message("case %u", i);
        run(g, &(Code)CODE(iretq));
        if (cases[i].ok) {
            g_assert_cmphex(g->cpu->rip, ==, TARGET + 1);
            g_assert_cmphex(R(RSP), ==, 0x9000);
            g_assert_cmphex(g->cpu->seg[SEG_SS].sel, ==, cases[i].ss);
        } else {
            g_assert_fault(g, EXC_GP, cases[i].err);
        }
    }
    guest_free(g);
}

/* 6.14.5: each of the seven stacks, from CPL 0 as well as 3, aligned to 16; a missing slot is #TS of the TSS. */
static void test_ist(void)
{
    GUEST_CODE(ud64, 64, "ud2");
    Guest *g = guest_new(NULL);
    for (unsigned ist = 1; ist < 8; ist++) {
        for (unsigned user = 0; user < 2; user++) {
            guest_long(g);
            guest_gate64(g, G_IDT + EXC_UD * 16, S_CODE64, G_HANDLERS + EXC_UD * 16, 0x8e, ist);
            guest_st(g, G_TSS + 28 + ist * 8, 8, 0xc00b + ist * 0x100);
            if (user) {
                guest_user(g);
            }
            run(g, &(Code)CODE(ud64));
            g_assert_cmpint(guest_vector(g), ==, EXC_UD);
            g_assert_cmphex(R(RSP), ==, 0xc000 + ist * 0x100 - 40);
            g_assert_cmphex(guest_frame(g, 3), ==, user ? G_STACK3 : G_STACK0);
            g_assert_cmphex(g->cpu->seg[SEG_SS].sel, ==, user ? 0 : 0x10);
        }
    }
    guest_long(g);
    guest_gate64(g, G_IDT + EXC_UD * 16, S_CODE64, G_HANDLERS + EXC_UD * 16, 0x8e, 7);
    g->cpu->tr.limit = 28 + 7 * 8 + 6;
    run(g, &(Code)CODE(ud64));
    g_assert_fault(g, EXC_TS, S_TSS | 1);
    guest_long(g);
    guest_gate64(g, G_IDT + EXC_UD * 16, S_CODE64, G_HANDLERS + EXC_UD * 16, 0x8e, 1);
    guest_st(g, G_TSS + 36, 8, 1ull << 47);
    run(g, &(Code)CODE(ud64));
    g_assert_cmpint(guest_vector(g), ==, EXC_SS);
    guest_free(g);
}

/* --- fast system calls --- */

GUEST_CODE(sysc32, 32, "syscall\n mov $7, %ebp");
GUEST_CODE(sysc64, 64, "syscall\n mov $7, %ebp");
GUEST_CODE(sysr32, 32, "sysret");
GUEST_CODE(sysretq, 64, "sysretq");
GUEST_CODE(sysretl, 64, "sysretl");
GUEST_CODE(syse32, 32, "sysenter");
GUEST_CODE(sysx32, 32, "sysexit");
GUEST_CODE(sysx64, 64, "sysexitl");

static void to_compat(Guest *g)
{
    guest_user(g);
    g->cpu->seg[SEG_CS].sel = S_CODE3;
    g->cpu->seg[SEG_CS].attr = 0xc0fb;
    x86_update_mode(g->cpu);
}

static void setup_syscall(Guest *g, bool lng)
{
    (lng ? guest_long : guest_pm32)(g);
    g->cpu->star = (uint64_t)0x38 << 32 | (uint64_t)0x3b << 48 | TARGET; /* kernel 38h 40h; user 3Bh 43h 4Bh */
    g->cpu->lstar = TARGET + 0x100;
    g->cpu->cstar = TARGET + 0x200;
    g->cpu->fmask = FL_IF | FL_CF;
    g->cpu->efer |= EFER_SCE;
    for (unsigned i = 0; i < 3; i++) {
        put_code(g, TARGET + i * 0x100, &(Code)CODE(hlt));
    }
}

static void test_syscall(const void *model)
{
    Guest *g = guest_new(model);
    bool amd = strstr(model, "AuthenticAMD");
    const uint32_t fl = FL_IF | FL_CF | FL_ZF;
    setup_syscall(g, true); /* 64-bit mode */
    guest_user(g);
    x86_set_eflags(g->cpu, fl, fl);
    run(g, &(Code)CODE(sysc64));
    g_assert_cmphex(g->cpu->rip, ==, TARGET + 0x101);
    g_assert_cmphex(R(RCX), ==, G_CODE + 2);
    g_assert_cmphex(g->cpu->gpr[11] & fl, ==, fl);
    g_assert_cmphex(x86_get_eflags(g->cpu) & fl, ==, FL_ZF);
    g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, 0x38);
    g_assert_cmphex(g->cpu->seg[SEG_SS].sel, ==, 0x40);
    g_assert_cmpuint(g->cpu->cpl, ==, 0);
    g_assert_cmphex(R(RSP), ==, G_STACK3);

    setup_syscall(g, true); /* compatibility mode: AMD's CSTAR, Intel #UD */
    to_compat(g);
    x86_set_eflags(g->cpu, fl, fl);
    run(g, &(Code)CODE(sysc32));
    if (amd) {
        g_assert_cmphex(g->cpu->rip, ==, TARGET + 0x201);
        g_assert_cmphex(R(RCX), ==, G_CODE + 2);
        g_assert_cmphex(g->cpu->gpr[11] & fl, ==, fl);
        g_assert_true(g->cpu->mode & MODE_CODE64);
    } else {
        g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    }
    setup_syscall(g, false); /* legacy mode: AMD's STAR[31:0], flags but IF stay */
    guest_user(g);
    x86_set_eflags(g->cpu, fl, fl);
    run(g, &(Code)CODE(sysc32));
    if (amd) {
        g_assert_cmphex(g->cpu->rip, ==, TARGET + 1);
        g_assert_cmphex(R(RCX), ==, G_CODE + 2);
        g_assert_cmphex(x86_get_eflags(g->cpu) & fl, ==, FL_CF | FL_ZF);
        g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, 0x38);
        g_assert_cmpuint(g->cpu->cpl, ==, 0);
    } else {
        g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    }
    guest_free(g);
}

static void test_sysret(const void *model)
{
    Guest *g = guest_new(model);
    bool amd = strstr(model, "AuthenticAMD");
    for (unsigned wide = 0; wide < 2; wide++) {
        setup_syscall(g, true);
        R(RCX) = TARGET | 0xabcdull << 32;
        R(RCX) = wide ? TARGET : R(RCX);
        g->cpu->gpr[11] = FL_IF | FL_ZF | FL_VM | FL_RF | 2; /* VM and RF are not loaded */
        run(g, wide ? &(Code)CODE(sysretq) : &(Code)CODE(sysretl));
        g_assert_fault(g, EXC_GP, 0);
        g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
        g_assert_cmphex(guest_frame(g, 2), ==, wide ? 0x4b : 0x3b);
        g_assert_cmphex(guest_frame(g, 5), ==, 0x43);
        g_assert_cmphex(guest_frame(g, 3) & (FL_IF | FL_ZF | FL_VM), ==, FL_IF | FL_ZF);
    }
    setup_syscall(g, true); /* a bad RIP: Intel faults at CPL 0 before, AMD at CPL 3 after */
    R(RCX) = 1ull << 47;
    g->cpu->gpr[11] = 2;
    run(g, &(Code)CODE(sysretq));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, amd ? 1ull << 47 : G_CODE);
    g_assert_cmphex(guest_frame(g, 2), ==, amd ? 0x4b : S_CODE64);
    setup_syscall(g, true);
    guest_user(g);
    run(g, &(Code)CODE(sysretq));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
    setup_syscall(g, false); /* legacy */
    R(RCX) = TARGET;
    g->cpu->star = (uint64_t)0x13 << 48; /* 13h, 1Bh: the selectors only, the segments are flat */
    run(g, &(Code)CODE(sysr32));
    if (amd) {
        g_assert_fault(g, EXC_GP, 0);
        g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
        g_assert_cmphex(guest_frame(g, 2), ==, 0x13);
        g_assert_true(guest_frame(g, 3) & FL_IF);
    } else {
        g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    }
    guest_free(g);
}

static void test_sysenter(const void *model)
{
    Guest *g = guest_new(model);
    bool amd = strstr(model, "AuthenticAMD");
    for (unsigned mode = 0; mode < 3; mode++) { /* legacy, compatibility, real */
        setup_syscall(g, mode == 1);
        g->cpu->sysenter_cs = 0x38;
        g->cpu->sysenter_esp = 0xc000;
        g->cpu->sysenter_eip = TARGET;
        if (mode == 1) {
            to_compat(g);
        } else {
            guest_user(g);
        }
        x86_set_eflags(g->cpu, FL_IF | FL_CF, FL_IF | FL_CF);
        g->cpu->sysenter_cs = mode == 2 ? 3 : 0x38; /* null: #GP */
        run(g, &(Code)CODE(syse32));
        if (mode == 2) {
            g_assert_fault(g, EXC_GP, 0);
        } else if (mode == 1 && amd) {
            g_assert_cmpint(guest_vector(g), ==, EXC_UD);
        } else {
            g_assert_cmphex(g->cpu->rip, ==, TARGET + 1);
            g_assert_cmphex(R(RSP), ==, 0xc000);
            g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, 0x38);
            g_assert_cmphex(g->cpu->seg[SEG_SS].sel, ==, 0x40);
            g_assert_cmphex(x86_get_eflags(g->cpu) & (FL_IF | FL_CF), ==, FL_CF);
            g_assert_cmpint(!!(g->cpu->mode & MODE_CODE64), ==, mode == 1);
        }
    }
    for (unsigned lng = 0; lng < 2; lng++) {
        setup_syscall(g, lng);
        g->cpu->sysenter_cs = 0x38;
        R(RDX) = TARGET;
        R(RCX) = G_STACK3;
        run(g, lng ? &(Code)CODE(sysx64) : &(Code)CODE(sysx32));
        if (lng && amd) {
            g_assert_cmpint(guest_vector(g), ==, EXC_UD);
            continue;
        }
        g_assert_fault(g, EXC_GP, 0); /* HLT at CPL 3, in 32-bit code */
        g_assert_cmphex(guest_frame(g, 1), ==, TARGET);
        g_assert_cmphex(guest_frame(g, 2), ==, 0x4b);
        g_assert_cmphex(guest_frame(g, 4), ==, G_STACK3);
        g_assert_cmphex(guest_frame(g, 5), ==, 0x53);
    }
    setup_syscall(g, false); /* from CPL 3: #GP */
    g->cpu->sysenter_cs = 0x38;
    guest_user(g);
    run(g, &(Code)CODE(sysx32));
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/gates/parameters", test_parameters);
    g_test_add_func("/cpu/gates/gate-errors", test_gate_errors);
    g_test_add_func("/cpu/gates/conforming", test_conforming);
    g_test_add_func("/cpu/gates/direct", test_direct);
    g_test_add_func("/cpu/gates/data-segments", test_data_segments);
    g_test_add_func("/cpu/gates/return-segments", test_return_segments);
    g_test_add_func("/cpu/gates/gate64", test_gate64);
    g_test_add_func("/cpu/gates/null-ss", test_null_ss);
    g_test_add_func("/cpu/gates/ist", test_ist);
    g_test_add_data_func("/cpu/gates/syscall-amd", "max,vendor=AuthenticAMD", test_syscall);
    g_test_add_data_func("/cpu/gates/syscall-intel", "max,vendor=GenuineIntel", test_syscall);
    g_test_add_data_func("/cpu/gates/sysret-amd", "max,vendor=AuthenticAMD", test_sysret);
    g_test_add_data_func("/cpu/gates/sysret-intel", "max,vendor=GenuineIntel", test_sysret);
    g_test_add_data_func("/cpu/gates/sysenter-amd", "max,vendor=AuthenticAMD", test_sysenter);
    g_test_add_data_func("/cpu/gates/sysenter-intel", "max,vendor=GenuineIntel", test_sysenter);
    return g_test_run();
}

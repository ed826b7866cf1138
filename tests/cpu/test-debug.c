/* SPDX-License-Identifier: MIT
 * tests/cpu/test-debug.c - debug exceptions, SDM volume 3 chapter 17.2-17.3: data, I/O and instruction breakpoints of
 * every length and alignment, single steps over the instructions that are special, DR6 and DR7.
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

enum { LEN1 = 0, LEN2 = 1, LEN8 = 2, LEN4 = 3, BP_X = 0, BP_W = 1, BP_IO = 2, BP_RW = 3 };

static void dr_set(Guest *g, unsigned n, uint64_t at, unsigned kind, unsigned len)
{
    g->cpu->dr[n] = at;
    g->cpu->dr[7] |= 0x400 | 1u << (2 * n + (at & 1)) | kind << (16 + 4 * n) | len << (18 + 4 * n); /* L or G */
    x86_tlb_flush(g->cpu, false);
    x86_update_mode(g->cpu);
}

static void dr_clear(Guest *g)
{
    g->cpu->dr[6] = DR6_FIXED;
    g->cpu->dr[7] = 0x400;
    x86_tlb_flush(g->cpu, false);
    x86_update_mode(g->cpu);
}

static Guest *long_guest(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    g->cpu->cr4 |= CR4_OSFXSR | CR4_DE;
    dr_clear(g);
    return g;
}

static void pm32(Guest *g)
{
    guest_pm32(g);
    g->cpu->eflags &= ~FL_TF;
    dr_clear(g);
}

/* Halted in the #DB handler; the pushed RIP and what DR6 says. */
#define g_assert_db(g, rip_, bits)                                       \
    do {                                                                 \
        g_assert_cmpint(guest_vector(g), ==, EXC_DB);                    \
        g_assert_cmphex(guest_frame((g), 0), ==, (rip_));                \
        g_assert_cmphex((g)->cpu->dr[6], ==, DR6_FIXED | (bits));        \
    } while (0)

/* --- data breakpoints --- */

GUEST_CODE(rd1, 64, "mov (%rdi), %al");
GUEST_CODE(rd2, 64, "mov (%rdi), %ax");
GUEST_CODE(rd4, 64, "mov (%rdi), %eax");
GUEST_CODE(rd8, 64, "mov (%rdi), %rax");
GUEST_CODE(rd16, 64, "movups (%rdi), %xmm0");
GUEST_CODE(wr1, 64, "mov %al, (%rdi)");
GUEST_CODE(wr2, 64, "mov %ax, (%rdi)");
GUEST_CODE(wr4, 64, "mov %eax, (%rdi)");
GUEST_CODE(wr8, 64, "mov %rax, (%rdi)");
GUEST_CODE(wr16, 64, "movups %xmm0, (%rdi)");

typedef struct Code { const uint8_t *from, *end; } Code;
#define CODE(name) { name, name##_end }

/* 17.2.5: the field's start is the register with the low bits of the length cleared; any overlap hits. */
static void test_data(void)
{
    static const Code code[2][5] = { { CODE(rd1), CODE(rd2), CODE(rd4), CODE(rd8), CODE(rd16) },
                                     { CODE(wr1), CODE(wr2), CODE(wr4), CODE(wr8), CODE(wr16) } };
    static const unsigned bytes[] = { 1, 2, 8, 4 };
    const uint64_t base = G_DATA + 0x1000 - 24; /* the middle is a page border */
    Guest *g = long_guest();
    unsigned n = 0, hits = 0;
    for (unsigned len = 0; len < 4; len++) {
        for (unsigned kind = BP_W; kind <= BP_RW; kind += 2) {
            for (unsigned at = 16; at < 32; at++) {
                unsigned reg = at & 3;
                dr_clear(g);
                dr_set(g, reg, base + at, kind, len);
                for (unsigned k = 0; k < 2 * 5 * 48; k++) {
                    unsigned write = k & 1, size = k / 2 % 5, to = k / 10, start = at & ~(bytes[len] - 1);
                    bool hit = (write || kind == BP_RW) && to < start + bytes[len] && start < to + (1u << size);
                    const Code *c = &code[write][size];
                    g->cpu->dr[6] = DR6_FIXED;
                    g->cpu->gpr[R_RSP] = G_STACK0;
                    g->cpu->gpr[R_RDI] = base + to;
                    guest_run_code(g, c->from, (size_t)(c->end - c->from));
                    if (hit) {
                        g_assert_db(g, G_CODE + (uint64_t)(c->end - c->from) - 1, 1u << reg);
                    } else if (guest_vector(g) != -1) {
                        g_error("len %u kind %u at %u: access of %u at %u (write %u) hits", bytes[len], kind, at,
                                1u << size, to, write);
                    }
                    hits += hit;
                    n++;
                }
            }
        }
    }
    g_test_message("%u accesses, %u hits", n, hits);
    guest_free(g);
}

/* Several registers at once; a disabled one does not trap; LE, GE and reserved bits change nothing. */
static void test_data_many(void)
{
    Guest *g = long_guest();
    dr_set(g, 0, G_DATA, BP_RW, LEN1);
    dr_set(g, 1, G_DATA + 1, BP_RW, LEN1);
    dr_set(g, 2, G_DATA + 2, BP_RW, LEN2);
    dr_set(g, 3, G_DATA + 3, BP_W, LEN1);
    g->cpu->gpr[R_RDI] = G_DATA;
    guest_run(g, rd4);
    g_assert_db(g, G_CODE + 2, 7);
    guest_long(g); /* DR6 is sticky: only software clears it */
    g->cpu->gpr[R_RDI] = G_DATA + 3;
    guest_run(g, wr1);
    g_assert_db(g, G_CODE + 2, 0xf);
    guest_long(g);
    dr_clear(g);
    g->cpu->dr[0] = G_DATA;
    g->cpu->dr[7] = 0x400 | 0x300 | 3u << 16; /* LE, GE; not enabled */
    x86_tlb_flush(g->cpu, false);
    g->cpu->gpr[R_RDI] = G_DATA;
    guest_run(g, rd4);
    g_assert_cmpint(guest_vector(g), ==, -1);
    guest_free(g);
}

GUEST_CODE(acc_push, 64, "push %rax");
GUEST_CODE(acc_pop, 64, "pop %rax");
GUEST_CODE(acc_call, 64, "call 1f\n 1:");
GUEST_CODE(acc_xadd, 64, "lock xadd %eax, (%rdi)");
GUEST_CODE(acc_cmpxchg, 64, "cmpxchg %ecx, (%rdi)");
GUEST_CODE(acc_cmpxchg16b, 64, "lock cmpxchg16b (%rdi)");
GUEST_CODE(acc_add, 64, "add %eax, (%rdi)");
GUEST_CODE(acc_bts, 64, "bts %rcx, (%rdi)");
GUEST_CODE(acc_enter, 64, "enter $16, $0");
GUEST_CODE(acc_movs, 64, "movsb");
GUEST_CODE(acc_fxsave, 64, "fxsave (%rdi)");
GUEST_CODE(acc_lea, 64, "lea (%rdi), %rax");
GUEST_CODE(acc_prefetch, 64, "prefetcht0 (%rdi)");
GUEST_CODE(acc_nop, 64, "nopl (%rdi)");
GUEST_CODE(acc_sidt, 64, "sidt (%rdi)");
GUEST_CODE(acc_pushf, 64, "pushf");

/* Every way to memory sees them; what computes addresses only does not. */
static void test_data_ways(void)
{
    const struct { Code c; uint64_t at; bool hit; } cases[] = {
        { CODE(acc_push), G_STACK0 - 8, true },   { CODE(acc_pop), G_STACK0, true },
        { CODE(acc_call), G_STACK0 - 8, true },   { CODE(acc_xadd), G_DATA, true },
        { CODE(acc_cmpxchg), G_DATA, true },      { CODE(acc_cmpxchg16b), G_DATA + 8, true },
        { CODE(acc_add), G_DATA + 3, true },      { CODE(acc_bts), G_DATA + 0x208, true },
        { CODE(acc_enter), G_STACK0 - 8, true },  { CODE(acc_movs), G_DATA, true },
        { CODE(acc_fxsave), G_DATA + 32, true },  { CODE(acc_lea), G_DATA, false },
        { CODE(acc_prefetch), G_DATA, false },    { CODE(acc_nop), G_DATA, false },
        { CODE(acc_sidt), G_DATA + 9, true },     { CODE(acc_pushf), G_STACK0 - 8, true },
    };
    Guest *g = long_guest();
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_long(g);
        g->cpu->cr4 |= CR4_OSFXSR;
        dr_clear(g);
        dr_set(g, 2, cases[i].at, BP_RW, LEN1);
        g->cpu->gpr[R_RDI] = G_DATA;
        g->cpu->gpr[R_RSI] = G_DATA + 0x800;
        g->cpu->gpr[R_RCX] = 0x1040; /* BTS: bit 0x1040 is byte 0x208 */
        g_test_message("case %u", i);
        guest_run_code(g, cases[i].c.from, (size_t)(cases[i].c.end - cases[i].c.from));
        if (cases[i].hit) {
            g_assert_db(g, G_CODE + (uint64_t)(cases[i].c.end - cases[i].c.from) - 1, 4);
        } else {
            g_assert_cmpint(guest_vector(g), ==, -1);
        }
    }
    guest_free(g);
}

/* 17.3.1.2: a repeated string instruction traps after the iteration, RIP at the instruction. */
static void test_data_rep(void)
{
    Guest *g = long_guest();
    GUEST_CODE(rep, 64, "rep movsb");
    GUEST_CODE(back, 64, "std\n rep stosl\n cld");
    dr_set(g, 1, G_DATA + 5, BP_W, LEN1);
    g->cpu->gpr[R_RSI] = G_DATA + 0x800;
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->gpr[R_RCX] = 10;
    guest_run(g, rep);
    g_assert_db(g, G_CODE, 2);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 4);
    g_assert_cmphex(g->cpu->gpr[R_RDI], ==, G_DATA + 6);
    guest_st(g, G_HANDLERS + 17, 2, 0xcf48);
    guest_continue(g); /* and on to the end */
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 0);

    g->cpu->dr[6] = DR6_FIXED;
    g->cpu->gpr[R_RDI] = G_DATA + 12;
    g->cpu->gpr[R_RCX] = 4;
    guest_run(g, back);
    g_assert_db(g, G_CODE + 1, 2);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 1);
    g_assert_cmphex(g->cpu->gpr[R_RDI], ==, G_DATA);
    /* The last iteration: RIP behind it. */
    g->cpu->dr[6] = DR6_FIXED;
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->gpr[R_RCX] = 6;
    g->cpu->eflags &= ~FL_DF;
    guest_run(g, rep);
    g_assert_db(g, G_CODE + 2, 2);
    guest_free(g);
}

/* An instruction that hits and then faults has not completed: #PF alone; the hit comes when it does (6.9). */
static void test_data_then_fault(void)
{
    Guest *g = long_guest();
    GUEST_CODE(movs, 64, "movsb");
    const hwaddr pde = G_PT + 0x2000 + 8 * 3;
    guest_st(g, pde, 8, 0);
    dr_set(g, 0, G_DATA, BP_RW, LEN1);
    g->cpu->gpr[R_RSI] = G_DATA;
    g->cpu->gpr[R_RDI] = 0x600000;
    guest_run(g, movs);
    g_assert_fault(g, EXC_PF, 2);
    g_assert_cmphex(g->cpu->dr[6], ==, DR6_FIXED);
    guest_st(g, pde, 8, 0x600087);
    guest_st(g, G_HANDLERS + EXC_PF * 16 + 1, 6, 0xcf4808c48348); /* add $8, %rsp; iretq */
    guest_continue(g);
    g_assert_db(g, G_CODE + 1, 1);
    guest_free(g);
}

/* The frame of an exception hits as well: the trap comes before the handler's first instruction. */
static void test_data_frame(void)
{
    Guest *g = long_guest();
    GUEST_CODE(ud_frame, 64, "ud2");
    dr_set(g, 3, G_STACK0 - 16, BP_W, LEN8);
    guest_run(g, ud_frame);
    g_assert_db(g, G_HANDLERS + EXC_UD * 16, 8);
    guest_free(g);
}

/* --- I/O breakpoints --- */

static void test_io(void)
{
    GUEST_CODE(in1, 64, "in %dx, %al");
    GUEST_CODE(in4, 64, "in %dx, %eax");
    GUEST_CODE(out2, 64, "out %ax, %dx");
    GUEST_CODE(ins, 64, "rep insb");
    GUEST_CODE(outs, 64, "outsl");
    const struct { Code c; unsigned n; bool rep; } code[] = {
        { CODE(in1), 1, false }, { CODE(in4), 4, false }, { CODE(out2), 2, false }, { CODE(outs), 4, false },
        { CODE(ins), 1, true },
    };
    static const unsigned bytes[] = { 1, 2, 8, 4 };
    Guest *g = long_guest();
    for (unsigned i = 0; i < G_N_ELEMENTS(code); i++) {
        for (unsigned len = 0; len < 4; len++) {
            for (unsigned at = 0x80; at < 0x88 && len != LEN8; at++) {
                for (unsigned port = 0x80; port < 0x8c; port++) {
                    unsigned start = at & ~(bytes[len] - 1);
                    bool hit = port < start + bytes[len] && start < port + code[i].n;
                    guest_long(g);
                    g->cpu->cr4 |= CR4_DE;
                    dr_clear(g);
                    dr_set(g, 3, at, BP_IO, len);
                    g->cpu->gpr[R_RDX] = port;
                    g->cpu->gpr[R_RDI] = g->cpu->gpr[R_RSI] = G_DATA;
                    g->cpu->gpr[R_RCX] = 2;
                    guest_run_code(g, code[i].c.from, (size_t)(code[i].c.end - code[i].c.from));
                    if (hit) {
                        g_assert_db(g, G_CODE + (code[i].rep ? 0 : (uint64_t)(code[i].c.end - code[i].c.from) - 1), 8);
                        g_assert_cmphex(g->cpu->gpr[R_RCX], ==, code[i].rep ? 1 : 2);
                    } else {
                        g_assert_cmpint(guest_vector(g), ==, -1);
                    }
                }
            }
        }
    }
    guest_free(g);
}

/* --- instruction breakpoints --- */

static void test_code(void)
{
    GUEST_CODE(nops, 32, "nop\n mov $0x12345678, %ebx\n inc %ecx\n jmp 1f\n nop\n 1: mov (%edi), %eax\n inc %ecx");
    Guest *g = guest_new(NULL);
    const struct { unsigned off; bool hit; } cases[] = { { 0, true }, { 1, true }, { 2, false }, { 5, false }, { 6, true },
                                                         { 7, true }, { 9, false }, { 10, true }, { 12, true }, { 13, true } };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (unsigned len = 0; len < 2; len++) {
            pm32(g);
            dr_set(g, i & 3, G_CODE + cases[i].off, BP_X, LEN1);
            g->cpu->gpr[R_RDI] = G_DATA;
            g->cpu->gpr[R_RCX] = 0;
            guest_run(g, nops);
            if (!cases[i].hit) {
                g_assert_cmpint(guest_vector(g), ==, -1);
                continue;
            }
            g_assert_db(g, G_CODE + cases[i].off, 1u << (i & 3));
            g_assert_false(guest_frame(g, 2) & FL_RF); /* 17.3.1.1: not set by this fault */
            /* RF in the image: on to the end, through the instruction once. */
            guest_st(g, g->cpu->gpr[R_RSP] + 8, 4, guest_frame(g, 2) | FL_RF);
            guest_st(g, G_HANDLERS + 17, 1, 0xcf);
            guest_continue(g);
            g_assert_cmpint(guest_vector(g), ==, -1);
            g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 2);
            g_assert_false(g->cpu->eflags & FL_RF);
        }
    }
    /* RF lasts one instruction: the next breakpoint hits. And a fault under RF pushes it set. */
    pm32(g);
    dr_set(g, 0, G_CODE, BP_X, LEN1);
    dr_set(g, 1, G_CODE + 1, BP_X, LEN1);
    guest_run(g, nops);
    g_assert_db(g, G_CODE, 1);
    guest_st(g, g->cpu->gpr[R_RSP] + 8, 4, guest_frame(g, 2) | FL_RF);
    guest_continue(g);
    g_assert_db(g, G_CODE + 1, 3);
    pm32(g);
    GUEST_CODE(ud, 32, "ud2");
    dr_set(g, 0, G_CODE, BP_X, LEN1);
    guest_run(g, ud);
    g_assert_db(g, G_CODE, 1);
    guest_st(g, g->cpu->gpr[R_RSP] + 8, 4, guest_frame(g, 2) | FL_RF);
    guest_continue(g);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    g_assert_true(guest_frame(g, 2) & FL_RF);
    /* A breakpoint where nothing is mapped: before the fetch, which would fault (table 6-2). */
    pm32(g);
    guest_paging32(g);
    GUEST_CODE(jump, 32, "jmp *%edi");
    guest_st(g, G_PT + 0x1000 + (G_DATA >> 12) * 4, 4, 0);
    dr_set(g, 0, G_DATA, BP_X, LEN1);
    g->cpu->gpr[R_RDI] = G_DATA;
    guest_run(g, jump);
    g_assert_db(g, G_DATA, 1);
    guest_free(g);
}

/* --- single steps --- */

/* Runs from code to code with TF set; every #DB in order of its RIP, counted from G_CODE. */
static unsigned steps(Guest *g, const uint8_t *code, size_t n, int64_t *rip, unsigned max)
{
    unsigned k = 0;
    bool lng = g->cpu->efer & EFER_LMA;
    guest_st(g, G_HANDLERS + 17, 2, lng ? 0xcf48 : 0xcf);
    g->cpu->eflags |= FL_TF;
    x86_update_mode(g->cpu);
    guest_run_code(g, code, n);
    while (k < max && guest_vector(g) == EXC_DB) {
        g_assert_true(g->cpu->dr[6] & DR6_BS);
        g_assert_false(g->cpu->eflags & FL_TF);
        rip[k++] = (int64_t)guest_frame(g, 0) - G_CODE;
        if (rip[k - 1] == (int64_t)n) {
            break; /* behind the HLT is nothing */
        }
        guest_continue(g);
    }
    return k;
}

static void check_steps(Guest *g, const uint8_t *code, size_t n, const int64_t *want)
{
    int64_t rip[32];
    unsigned k = steps(g, code, n, rip, 32);
    for (unsigned i = 0; i < k || want[i] >= 0; i++) {
        if (i >= k || want[i] < 0 || rip[i] != want[i]) {
            g_error("step %u of %u: %" PRId64 ", not %" PRId64, i, k, i < k ? rip[i] : -1, want[i]);
        }
    }
}
#define g_assert_steps(g, name, ...)                                                                         \
    check_steps((g), (name), (size_t)(name##_end - (name)), (const int64_t[]){ __VA_ARGS__, -1 })

static void test_steps(void)
{
    Guest *g = guest_new(NULL);
    /* The HLT at the end traps too: TF is set when it begins. */
    GUEST_CODE(plain, 32, "nop\n inc %eax\n jmp 1f\n nop\n 1: nop");
    pm32(g);
    g_assert_steps(g, plain, 1, 2, 5, 6, 7);
    GUEST_CODE(rep32, 32, "rep stosb\n nop");
    pm32(g);
    g->cpu->gpr[R_RCX] = 3;
    g->cpu->gpr[R_RDI] = G_DATA;
    g_assert_steps(g, rep32, 0, 0, 2, 3, 4);
    pm32(g);
    g->cpu->gpr[R_RCX] = 0;
    g_assert_steps(g, rep32, 2, 3, 4);
    /* SS: the instruction after it is not a place to stop (6.8.3); LSS does not hold anything off. */
    GUEST_CODE(movss, 32, "mov %ss, %eax\n mov %eax, %ss\n nop\n nop\n push %eax\n pop %ss\n nop");
    pm32(g);
    g_assert_steps(g, movss, 2, 5, 6, 7, 9, 10);
    GUEST_CODE(lss, 32, "lss (%edi), %esp\n nop");
    pm32(g);
    guest_st(g, G_DATA, 4, G_STACK0);
    guest_st(g, G_DATA + 4, 2, S_DATA0);
    g->cpu->gpr[R_RDI] = G_DATA;
    g_assert_steps(g, lss, 3, 4, 5);
    /* POPF that clears TF still traps; what follows does not. */
    GUEST_CODE(popf_off, 32, "push $2\n popf\n nop");
    pm32(g);
    g_assert_steps(g, popf_off, 2, 3);
    /* STI does not hold a step off. */
    GUEST_CODE(sti, 32, "sti\n nop");
    pm32(g);
    g_assert_steps(g, sti, 1, 2, 3);
    GUEST_CODE(cpuid, 32, "cpuid\n mov %cr3, %eax\n mov %eax, %cr3\n invlpg (%eax)");
    pm32(g);
    g_assert_steps(g, cpuid, 2, 5, 8, 11, 12);
    guest_free(g);
}

/* POPF and IRET that set TF: the first trap comes after the instruction that follows. */
static void test_step_begins(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(popf_on, 32, "push $0x102\n popf\n nop\n nop");
    pm32(g);
    guest_run(g, popf_on);
    g_assert_db(g, G_CODE + 7, DR6_BS);
    GUEST_CODE(iret_on, 32, "push $0x102\n push $8\n push $0x12345678\n iret\n nop\n nop\n nop");
    pm32(g);
    const uint8_t *at = iret_on;
    guest_put(g, G_CODE, at, (size_t)(iret_on_end - iret_on));
    guest_st(g, G_CODE + 8, 4, G_CODE + 14);
    g->cpu->rip = G_CODE;
    guest_continue(g);
    g_assert_db(g, G_CODE + 15, DR6_BS);
    guest_free(g);
}

/* INT n, INT3 and INT1 clear TF on their way: no trap before the handler; its flags image has TF. */
static void test_step_int(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(int80, 32, "int $0x80\n nop");
    GUEST_CODE(int3, 32, "int3\n nop");
    const Code code[] = { CODE(int80), CODE(int3) };
    for (unsigned i = 0; i < 2; i++) {
        pm32(g);
        g->cpu->eflags |= FL_TF;
        x86_update_mode(g->cpu);
        guest_run_code(g, code[i].from, (size_t)(code[i].end - code[i].from));
        g_assert_cmpint(guest_vector(g), ==, i ? EXC_BP : 0x80);
        g_assert_true(guest_frame(g, 2) & FL_TF);
        g_assert_false(g->cpu->eflags & FL_TF);
        g_assert_cmphex(g->cpu->dr[6], ==, DR6_FIXED);
        /* Back: TF again, so the NOP traps. */
        guest_st(g, G_HANDLERS + (i ? EXC_BP : 0x80) * 16 + 1, 1, 0xcf);
        guest_continue(g);
        g_assert_db(g, G_CODE + (i ? 2 : 3), DR6_BS);
    }
    /* A fault: no step is reported, the handler runs with TF clear. */
    GUEST_CODE(ud_tf, 32, "ud2");
    pm32(g);
    g->cpu->eflags |= FL_TF;
    x86_update_mode(g->cpu);
    guest_run(g, ud_tf);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    g_assert_true(guest_frame(g, 2) & FL_TF);
    g_assert_cmphex(g->cpu->dr[6], ==, DR6_FIXED);
    guest_free(g);
}

/* HLT completes, then the trap wakes the CPU up again. */
static void test_step_hlt(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(hlt, 32, "hlt\n nop");
    pm32(g);
    g->cpu->eflags |= FL_TF;
    x86_update_mode(g->cpu);
    guest_run(g, hlt);
    g_assert_db(g, G_CODE + 1, DR6_BS);
    guest_free(g);
}

/* SYSCALL and SYSRET look at TF when they are done: FMASK takes it away before it traps, and SYSRET traps at its
 * target. SYSENTER leaves TF alone and traps at the entry. */
static void test_step_syscall(void)
{
    Guest *g = guest_new("max,vendor=GenuineIntel");
    GUEST_CODE(sysc, 64, "syscall");
    GUEST_CODE(entry, 64, "nop");
    GUEST_CODE(sysr, 64, "sysretq");
    for (unsigned masked = 0; masked < 2; masked++) {
        guest_long(g);
        dr_clear(g);
        guest_put(g, G_DATA, entry, (size_t)(entry_end - entry));
        g->cpu->star = (uint64_t)0x38 << 32 | (uint64_t)0x3b << 48;
        g->cpu->lstar = G_DATA;
        g->cpu->fmask = masked ? FL_TF : 0;
        guest_user(g);
        g->cpu->eflags |= FL_TF;
        x86_update_mode(g->cpu);
        guest_run(g, sysc);
        g_assert_true(g->cpu->gpr[11] & FL_TF);
        if (masked) {
            g_assert_cmphex(g->cpu->rip, ==, G_DATA + 2);
            g_assert_cmphex(g->cpu->dr[6], ==, DR6_FIXED);
        } else {
            g_assert_db(g, G_DATA, DR6_BS);
        }
        g->cpu->eflags &= ~FL_TF;
    }
    guest_long(g);
    dr_clear(g);
    guest_put(g, G_DATA, entry, (size_t)(entry_end - entry));
    g->cpu->gpr[R_RCX] = G_DATA;
    g->cpu->gpr[11] = FL_TF | 2;
    guest_run(g, sysr);
    g_assert_db(g, G_DATA, DR6_BS);
    g_assert_cmphex(guest_frame(g, 1), ==, 0x4b);

    guest_long(g);
    dr_clear(g);
    GUEST_CODE(syse, 64, "sysenter");
    g->cpu->sysenter_cs = 0x38;
    g->cpu->sysenter_esp = G_IST;
    g->cpu->sysenter_eip = G_DATA;
    guest_user(g);
    g->cpu->eflags |= FL_TF;
    x86_update_mode(g->cpu);
    guest_run(g, syse);
    g_assert_db(g, G_DATA, DR6_BS);
    guest_free(g);
}

/* A data breakpoint of MOV SS waits for the next instruction; INT n there is taken first (6.8.3). */
static void test_movss_data(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(movss_bp, 32, "mov (%edi), %ss\n nop\n nop");
    GUEST_CODE(movss_int, 32, "mov (%edi), %ss\n int $0x80");
    pm32(g);
    guest_st(g, G_DATA, 2, S_DATA0);
    g->cpu->gpr[R_RDI] = G_DATA;
    dr_set(g, 0, G_DATA, BP_RW, LEN2);
    guest_run(g, movss_bp);
    g_assert_db(g, G_CODE + 3, 1);
    pm32(g);
    dr_set(g, 0, G_DATA, BP_RW, LEN2);
    guest_run(g, movss_int);
    g_assert_db(g, G_HANDLERS + 0x800, 1);
    guest_free(g);
}

/* A step and a data breakpoint are one #DB. A pending interrupt comes after it (table 6-2). */
static int vector_of(void *opaque)
{
    X86Cpu *cpu = opaque;
    vcpu_interrupt_clear(&cpu->vcpu, X86_IRQ_INTR);
    return 0x40;
}

static void test_together(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(store, 32, "mov %eax, (%edi)\n nop");
    pm32(g);
    dr_set(g, 3, G_DATA, BP_W, LEN4);
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->eflags |= FL_TF;
    x86_update_mode(g->cpu);
    guest_run(g, store);
    g_assert_db(g, G_CODE + 2, DR6_BS | 8);

    pm32(g);
    dr_set(g, 3, G_DATA, BP_W, LEN4);
    GUEST_CODE(sti_store, 32, "sti\n mov %eax, (%edi)\n nop");
    g->cpu->pic_ack = vector_of;
    g->cpu->pic_opaque = g->cpu;
    g->cpu->eflags &= ~FL_IF;
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_INTR);
    guest_run(g, sti_store);
    g_assert_db(g, G_CODE + 3, 8);
    guest_free(g);
}

/* --- the registers --- */

GUEST_CODE(dr_rw, 32, "mov %eax, %dr6\n mov %dr6, %ebx\n mov %eax, %dr7\n mov %dr7, %ecx\n mov %eax, %dr0\n"
                      "mov %dr0, %esi\n mov %edx, %dr7");
GUEST_CODE(dr_rw64, 64, "mov %rax, %dr3\n mov %dr3, %rbx\n mov %rcx, %dr7\n mov $1, %esi");
GUEST_CODE(dr5, 32, ".byte 0x0f, 0x21, 0xe8\n mov $1, %ecx"); /* MOV EAX, DR5 */
GUEST_CODE(get_dr7, 32, "mov %dr7, %eax\n mov $1, %ecx");

static void test_registers(void)
{
    Guest *g = guest_new(NULL);
    pm32(g);
    g->cpu->gpr[R_RAX] = 0xffffdfff; /* not GD, or the next MOV traps */
    g->cpu->gpr[R_RDX] = 0;
    guest_run(g, dr_rw);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0xffffcfff); /* BD clear here; bits 4-11, 16-31 fixed ones, 12 zero */
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 0xffff07ff); /* 10 one; 11, 12, 14, 15 zero */
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, 0xffffdfff);
    g_assert_cmphex(g->cpu->dr[7], ==, 0x400);
    pm32(g);
    g->cpu->gpr[R_RAX] = g->cpu->gpr[R_RDX] = 0;
    guest_run(g, dr_rw);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0xffff0ff0);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 0x400);

    /* DR4 and DR5 are DR6 and DR7 unless CR4.DE. */
    pm32(g);
    g->cpu->cr4 &= ~(uint64_t)CR4_DE;
    guest_run(g, dr5);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x400);
    g->cpu->cr4 |= CR4_DE;
    guest_run(g, dr5);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);

    /* GD: a fault before the access, BD, GD off in the handler; CPL 3 gets #GP first. */
    pm32(g);
    g->cpu->dr[7] = 0x400 | DR7_GD;
    g->cpu->gpr[R_RCX] = 0;
    guest_run(g, get_dr7);
    g_assert_db(g, G_CODE, DR6_BD);
    g_assert_cmphex(g->cpu->dr[7], ==, 0x400);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 0);
    pm32(g);
    g->cpu->dr[7] = 0x400 | DR7_GD;
    guest_user(g);
    guest_run(g, get_dr7);
    g_assert_fault(g, EXC_GP, 0);

    guest_long(g); /* 64 bits; the upper half of DR6 and DR7 must be zero */
    dr_clear(g);
    g->cpu->gpr[R_RAX] = 0x123456789abcdef0;
    g->cpu->gpr[R_RCX] = 1ull << 32;
    g->cpu->gpr[R_RSI] = 0;
    guest_run(g, dr_rw64);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0x123456789abcdef0);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, 0);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/debug/data", test_data);
    g_test_add_func("/cpu/debug/data-many", test_data_many);
    g_test_add_func("/cpu/debug/data-ways", test_data_ways);
    g_test_add_func("/cpu/debug/data-rep", test_data_rep);
    g_test_add_func("/cpu/debug/data-then-fault", test_data_then_fault);
    g_test_add_func("/cpu/debug/data-frame", test_data_frame);
    g_test_add_func("/cpu/debug/io", test_io);
    g_test_add_func("/cpu/debug/code", test_code);
    g_test_add_func("/cpu/debug/steps", test_steps);
    g_test_add_func("/cpu/debug/step-begins", test_step_begins);
    g_test_add_func("/cpu/debug/step-int", test_step_int);
    g_test_add_func("/cpu/debug/step-hlt", test_step_hlt);
    g_test_add_func("/cpu/debug/step-syscall", test_step_syscall);
    g_test_add_func("/cpu/debug/movss-data", test_movss_data);
    g_test_add_func("/cpu/debug/together", test_together);
    g_test_add_func("/cpu/debug/registers", test_registers);
    return g_test_run();
}

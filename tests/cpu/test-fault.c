/* SPDX-License-Identifier: MIT
 * tests/cpu/test-fault.c - instructions that fault half way are as if never begun (SDM volume 3 6.5), repeated ones
 * stand at the element that faulted (volume 1 7.3.9.3); write intent of read-modify-write; code at a page's end;
 * alignment checks (volume 3 6.15, #AC, table 6-7).
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

enum { PT_HIGH = G_PT + 0x10000, LOW = 0x600000, PAGE = 0x601000, HIGH = 0x602000 }; /* PAGE comes and goes */
enum { P = 1, W = 2, U = 4 };
#define NX (1ull << 63)

/* Long mode, 6..8 MiB in pages of 4 KiB. */
static void split_long(Guest *g)
{
    guest_long(g);
    for (unsigned i = 0; i < 512; i++) {
        guest_st(g, PT_HIGH + 8 * i, 8, LOW + ((uint64_t)i << 12) + (P | W | U));
    }
    guest_st(g, G_PT + 0x2000 + 3 * 8, 8, PT_HIGH | P | W | U);
    x86_tlb_flush(g->cpu, false);
}

static void page_set(Guest *g, uint64_t lin, uint64_t bits)
{
    guest_st(g, PT_HIGH + (lin - LOW) / 4096 * 8, 8, bits ? lin | bits : 0);
    x86_tlb_flush_page(g->cpu, lin);
}

/* The handler of #PF: the error code off, and back. */
static void resume(Guest *g)
{
    guest_st(g, G_HANDLERS + EXC_PF * 16 + 1, 6, 0xcf4808c48348);
    guest_continue(g);
    g_assert_cmpint(guest_vector(g), ==, -1);
}

/* --- repeated strings --- */

GUEST_CODE(movs1, 64, "rep movsb"); GUEST_CODE(movs2, 64, "rep movsw");
GUEST_CODE(movs4, 64, "rep movsl"); GUEST_CODE(movs8, 64, "rep movsq");
GUEST_CODE(stos1, 64, "rep stosb"); GUEST_CODE(stos2, 64, "rep stosw");
GUEST_CODE(stos4, 64, "rep stosl"); GUEST_CODE(stos8, 64, "rep stosq");
GUEST_CODE(lods1, 64, "rep lodsb"); GUEST_CODE(lods2, 64, "rep lodsw");
GUEST_CODE(lods4, 64, "rep lodsl"); GUEST_CODE(lods8, 64, "rep lodsq");
GUEST_CODE(cmps1, 64, "repe cmpsb"); GUEST_CODE(cmps2, 64, "repe cmpsw");
GUEST_CODE(cmps4, 64, "repe cmpsl"); GUEST_CODE(cmps8, 64, "repe cmpsq");
GUEST_CODE(scas1, 64, "repe scasb"); GUEST_CODE(scas2, 64, "repe scasw");
GUEST_CODE(scas4, 64, "repe scasl"); GUEST_CODE(scas8, 64, "repe scasq");
GUEST_CODE(ins1, 64, "rep insb"); GUEST_CODE(ins2, 64, "rep insw"); GUEST_CODE(ins4, 64, "rep insl");
GUEST_CODE(outs1, 64, "rep outsb"); GUEST_CODE(outs2, 64, "rep outsw"); GUEST_CODE(outs4, 64, "rep outsl");

typedef struct Code { const uint8_t *from, *end; } Code;
#define CODE(name) { name, name##_end }
enum { SRC = 1, DST = 2, DST_W = 4 };
static const struct { const char *name; unsigned uses; Code c[4]; } strings[] = {
    { "movs", SRC | DST | DST_W, { CODE(movs1), CODE(movs2), CODE(movs4), CODE(movs8) } },
    { "stos", DST | DST_W, { CODE(stos1), CODE(stos2), CODE(stos4), CODE(stos8) } },
    { "lods", SRC, { CODE(lods1), CODE(lods2), CODE(lods4), CODE(lods8) } },
    { "cmps", SRC | DST, { CODE(cmps1), CODE(cmps2), CODE(cmps4), CODE(cmps8) } },
    { "scas", DST, { CODE(scas1), CODE(scas2), CODE(scas4), CODE(scas8) } },
    { "ins", DST | DST_W, { CODE(ins1), CODE(ins2), CODE(ins4), { NULL, NULL } } },
    { "outs", SRC, { CODE(outs1), CODE(outs2), CODE(outs4), { NULL, NULL } } },
};

/* `before` elements and `odd` bytes of the next lie outside PAGE, which is missing; then it is mapped. */
static void one_string(Guest *g, unsigned op, unsigned log2, bool back, unsigned which, unsigned before, unsigned odd)
{
    const unsigned n = 1u << log2, count = before + 5;
    const int64_t step = back ? -(int64_t)n : (int64_t)n;
    uint64_t bad = back ? HIGH + before * n - n + odd : PAGE - before * n - odd, good = G_DATA + 0x800;
    uint64_t rsi = which == SRC ? bad : good, rdi = which == DST ? bad : good;
    split_long(g);
    for (unsigned i = 0; i < 512; i++) { /* all elements equal: CMPS and SCAS go on to the end */
        guest_st(g, G_DATA + 0x400 + i * 8, 8, 0);
        guest_st(g, PAGE - 256 + i * 8, 8, 0);
        guest_st(g, HIGH - 256 + i * 8, 8, 0);
    }
    page_set(g, PAGE, 0);
    g->cpu->gpr[R_RSI] = rsi;
    g->cpu->gpr[R_RDI] = rdi;
    g->cpu->gpr[R_RCX] = count;
    g->cpu->gpr[R_RDX] = 0x80;
    g->cpu->gpr[R_RAX] = 0;
    g->n_io = g->n_in = 0;
    x86_set_eflags(g->cpu, back ? FL_DF : 0, FL_DF);
    const Code *c = &strings[op].c[log2];
    g_test_message("rep %s%u %s, %u elements and %u bytes before the %s's page", strings[op].name, n,
                   back ? "down" : "up", before, odd, which == SRC ? "source" : "destination");
    guest_run_code(g, c->from, (size_t)(c->end - c->from));
    bool write = which == DST && strings[op].uses & DST_W;
    g_assert_fault(g, EXC_PF, write ? 2 : 0);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
    uint64_t at = bad + (uint64_t)(step * (int64_t)before); /* the element's first byte */
    g_assert_cmphex(g->cpu->cr2, ==, MAX(at, (uint64_t)PAGE));
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, count - before);
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, rsi + (strings[op].uses & SRC ? (uint64_t)(step * (int64_t)before) : 0));
    g_assert_cmphex(g->cpu->gpr[R_RDI], ==, rdi + (strings[op].uses & DST ? (uint64_t)(step * (int64_t)before) : 0));
    g_assert_cmphex(g->n_in, ==, !strcmp(strings[op].name, "ins") ? before : 0); /* no port is read in vain */
    guest_st(g, PT_HIGH + 8, 8, PAGE | P | W | U);
    resume(g);
    g_assert_cmphex(g->cpu->gpr[R_RCX], ==, 0);
    g_assert_cmphex(g->cpu->gpr[R_RSI], ==, rsi + (strings[op].uses & SRC ? (uint64_t)(step * (int64_t)count) : 0));
    g_assert_cmphex(g->cpu->gpr[R_RDI], ==, rdi + (strings[op].uses & DST ? (uint64_t)(step * (int64_t)count) : 0));
    if (!strcmp(strings[op].name, "outs")) {
        g_assert_cmpuint(g->n_io, ==, count);
    } else if (!strcmp(strings[op].name, "ins")) {
        for (unsigned i = 0; i < count; i++) {
            uint64_t v = 0x83828180ull & (UINT64_MAX >> (64 - 8 * n));
            g_assert_cmphex(guest_ld(g, rdi + (uint64_t)(step * (int64_t)i), n), ==, v);
        }
    }
}

static void test_strings(void)
{
    Guest *g = guest_new(NULL);
    for (unsigned op = 0; op < G_N_ELEMENTS(strings); op++) {
        for (unsigned log2 = 0; log2 < 4 && strings[op].c[log2].from; log2++) {
            for (unsigned k = 0; k < 2 * 2 * 3; k++) {
                unsigned which = k & 1 ? SRC : DST, before = k / 4 * 3;
                if (!(strings[op].uses & which)) {
                    continue;
                }
                one_string(g, op, log2, k & 2, which, before, 0);
                if (log2) {
                    one_string(g, op, log2, k & 2, which, before, (1u << log2) / 2);
                }
            }
        }
    }
    guest_free(g);
}

/* --- instructions that must not do half --- */

GUEST_CODE(f_pusha, 32, "pusha");
GUEST_CODE(f_pushaw, 32, "pushaw");
GUEST_CODE(f_enter, 32, "enter $16, $3");
GUEST_CODE(f_enter0, 32, "enter $0x1000, $0");
GUEST_CODE(f_call, 32, "call 1f\n 1:");
GUEST_CODE(f_calli, 32, "call *%esp");
GUEST_CODE(f_push, 32, "push %eax");
GUEST_CODE(f_pushm, 32, "push (%edi)");
GUEST_CODE(f_lcall, 32, "lcall $0x1b, $0x18000");
GUEST_CODE(f_pushf, 32, "pushf");
GUEST_CODE(f_popa, 32, "popa");
GUEST_CODE(f_lret, 32, "lret");
GUEST_CODE(f_iret, 32, "iret");
GUEST_CODE(f_ret, 32, "ret $8");
GUEST_CODE(f_popm, 32, "pop (%edi)");
GUEST_CODE(f_leave, 32, "leave");
GUEST_CODE(f_popf, 32, "popf");
GUEST_CODE(f_pop_ds, 32, "pop %ds");
GUEST_CODE(f_xchg, 32, "xchg %eax, (%esi)");
GUEST_CODE(f_les, 32, "les (%esi), %eax");
GUEST_CODE(f_movsd, 32, "movsl");
GUEST_CODE(f_cmps, 32, "cmpsl");
GUEST_CODE(f_xadd, 32, "xadd %eax, (%esi)");
GUEST_CODE(f_fsave, 32, "fnsave (%esi)");
GUEST_CODE(f_fxsave, 32, "fxsave 0xf0(%esi)");
GUEST_CODE(f_movups, 32, "movups %xmm0, (%esi)");
GUEST_CODE(f_adc, 32, "stc\n adc %eax, (%esi)");

/* 32-bit, CPL 3: the page under the one that RSP, RBP and RSI point into is missing (or the one above). */
static void test_no_half(void)
{
    const struct { Code c; bool down; unsigned room; } cases[] = { /* room: bytes that are there */
        { CODE(f_pusha), true, 20 },  { CODE(f_pushaw), true, 6 }, { CODE(f_enter), true, 8 },
        { CODE(f_enter0), true, 64 }, { CODE(f_call), true, 2 },   { CODE(f_calli), true, 0 },
        { CODE(f_push), true, 2 },    { CODE(f_pushm), true, 0 },  { CODE(f_lcall), true, 2 },
        { CODE(f_pushf), true, 1 },   { CODE(f_popa), false, 20 }, { CODE(f_lret), false, 4 },
        { CODE(f_iret), false, 8 },   { CODE(f_ret), false, 2 },   { CODE(f_popm), false, 2 },
        { CODE(f_leave), false, 2 },  { CODE(f_popf), false, 2 },  { CODE(f_pop_ds), false, 2 },
        { CODE(f_xchg), false, 2 },   { CODE(f_les), false, 4 },   { CODE(f_movsd), false, 2 },
        { CODE(f_cmps), false, 1 },   { CODE(f_xadd), false, 3 },  { CODE(f_fsave), false, 50 },
        { CODE(f_fxsave), false, 0x100 }, { CODE(f_movups), false, 8 }, { CODE(f_adc), false, 2 },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_pm32(g);
        guest_paging32(g);
        g->cpu->cr4 |= CR4_OSFXSR;
        const hwaddr pte = G_PT + 0x2000 + (PAGE - 0x400000) / 4096 * 4;
        guest_st(g, pte, 4, 0);
        guest_user(g);
        uint32_t at = cases[i].down ? HIGH + cases[i].room : PAGE - cases[i].room;
        for (unsigned r = 0; r < 8; r++) {
            g->cpu->gpr[r] = 0x1000001 * (r + 1);
        }
        g->cpu->gpr[R_RSP] = g->cpu->gpr[R_RBP] = g->cpu->gpr[R_RSI] = at;
        g->cpu->gpr[R_RDI] = G_DATA;
        guest_st(g, at, 8, (uint64_t)S_CODE3 << 32 | G_CODE); /* LRET's and IRET's words */
        x86_set_eflags(g->cpu, FL_ZF, FL_ARITH);
        for (unsigned b = 0; b < 64; b++) {
            guest_st(g, HIGH + b, 1, 0x5a);
        }
        uint64_t was[8];
        memcpy(was, g->cpu->gpr, sizeof(was));
        uint16_t ds = g->cpu->seg[SEG_DS].sel;
        X86Fpu fpu = g->cpu->fpu;
        g_test_message("case %u", i);
        guest_run_code(g, cases[i].c.from, (size_t)(cases[i].c.end - cases[i].c.from));
        g_assert_cmpint(guest_vector(g), ==, EXC_PF);
        g_assert_cmphex(g->cpu->cr2 & ~0xfffull, ==, PAGE);
        g_assert_cmphex(guest_frame(g, 2), ==, S_CODE3);
        g_assert_cmphex(guest_frame(g, 4), ==, at);
        for (unsigned r = 0; r < 8; r++) {
            if (r != R_RSP) {
                g_assert_cmphex(g->cpu->gpr[r], ==, was[r]);
            }
        }
        g_assert_cmphex(g->cpu->seg[SEG_DS].sel, ==, ds);
        g_assert_true(x86_get_eflags(g->cpu) & FL_ZF);
        g_assert_cmpmem(&fpu, sizeof(fpu), &g->cpu->fpu, sizeof(fpu));
        for (unsigned b = 0; b < 64 && cases[i].down; b++) { /* nothing was pushed either */
            g_assert_cmphex(guest_ld(g, HIGH + b, 1), ==, 0x5a);
        }
    }
    guest_free(g);
}

/* --- write intent --- */

GUEST_CODE(w_cmpxchg, 64, "mov $1, %eax\n cmpxchg %ecx, (%rdi)");
GUEST_CODE(w_cmpxchg8b, 64, "mov $1, %eax\n cmpxchg8b (%rdi)");
GUEST_CODE(w_cmpxchg16b, 64, "mov $1, %eax\n lock cmpxchg16b (%rdi)");
GUEST_CODE(w_xadd, 64, "mov $1, %eax\n xadd %ecx, (%rdi)");
GUEST_CODE(w_bts, 64, "mov $1, %eax\n btsl $3, (%rdi)");
GUEST_CODE(w_btsl, 64, "mov $1, %eax\n lock btsl $3, (%rdi)");
GUEST_CODE(w_not, 64, "mov $1, %eax\n notb (%rdi)");
GUEST_CODE(w_shl0, 64, "mov $1, %eax\n xor %ecx, %ecx\n shll %cl, (%rdi)");
GUEST_CODE(w_xchg, 64, "mov $1, %eax\n xchg %ecx, (%rdi)");
GUEST_CODE(w_inc, 64, "mov $1, %eax\n lock incq (%rdi)");
GUEST_CODE(w_setz, 64, "mov $1, %eax\n setz (%rdi)");
GUEST_CODE(w_cmov, 64, "mov $1, %eax\n cmp %eax, %eax\n cmovnz (%rdi), %ecx");
GUEST_CODE(r_bt, 64, "mov $1, %eax\n btl $3, (%rdi)");
GUEST_CODE(r_cmp, 64, "mov $1, %eax\n cmp %ecx, (%rdi)");
GUEST_CODE(r_test, 64, "mov $1, %eax\n test %ecx, (%rdi)");
GUEST_CODE(r_imul, 64, "mov $1, %eax\n imul (%rdi), %ecx");

static void test_write_intent(void)
{
    const struct { Code c; bool writes; } cases[] = {
        { CODE(w_cmpxchg), true }, { CODE(w_cmpxchg8b), true }, { CODE(w_cmpxchg16b), true }, { CODE(w_xadd), true },
        { CODE(w_bts), true },     { CODE(w_btsl), true },      { CODE(w_not), true },        { CODE(w_xchg), true },
        { CODE(w_inc), true },     { CODE(w_setz), true },      { CODE(w_cmov), false },      { CODE(r_bt), false },
        { CODE(r_cmp), false },    { CODE(r_test), false },     { CODE(r_imul), false },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (unsigned state = 0; state < 3; state++) { /* read-only, read before; read-only; missing */
            split_long(g);
            page_set(g, PAGE, state == 2 ? 0 : P | U);
            g->cpu->gpr[R_RDI] = PAGE + 16;
            if (state == 0) {
                GUEST_CODE(touch, 64, "mov (%rdi), %rax");
                guest_run(g, touch);
            }
            g_test_message("case %u, state %u", i, state);
            guest_run_code(g, cases[i].c.from, (size_t)(cases[i].c.end - cases[i].c.from));
            if (cases[i].writes || state == 2) {
                g_assert_fault(g, EXC_PF, (cases[i].writes ? 2 : 0) | (state == 2 ? 0 : 1));
                g_assert_cmphex(g->cpu->cr2, ==, PAGE + 16);
                g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 1);
            } else {
                g_assert_cmpint(guest_vector(g), ==, -1);
            }
        }
    }
    (void)w_shl0; /* a count of zero: the SDM leaves open whether it writes */
    (void)w_shl0_end;
    guest_free(g);
}

/* BTS with a register reaches 2^60 bytes either way (SDM BT, BTS). */
static void test_bit_strings(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(bts64, 64, "bts %rcx, (%rdi)");
    GUEST_CODE(bts32, 64, "bts %ecx, (%rdi)");
    GUEST_CODE(bts16, 64, "bts %cx, (%rdi)");
    const struct { Code c; int64_t bit; int64_t byte; } cases[] = {
        { CODE(bts64), -1, -8 }, { CODE(bts64), 64 * 512, 4096 }, { CODE(bts64), -64 * 512, -4096 },
        { CODE(bts32), -1, -4 }, { CODE(bts32), 32 * 1024 + 31, 4096 }, { CODE(bts16), -1, -2 }, { CODE(bts16), 0x7fff, 0xffe },
        { CODE(bts64), 1ll << 40, 1ll << 37 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t base = PAGE + 0x800, at = base + (uint64_t)cases[i].byte;
        bool there = at >= LOW && at < 0x800000;
        split_long(g);
        if (there) {
            page_set(g, at & ~0xfffull, P);
        }
        g->cpu->gpr[R_RDI] = base;
        g->cpu->gpr[R_RCX] = (uint64_t)cases[i].bit;
        guest_run_code(g, cases[i].c.from, (size_t)(cases[i].c.end - cases[i].c.from));
        g_assert_fault(g, EXC_PF, there ? 3 : 2);
        g_assert_cmphex(g->cpu->cr2, ==, at);
    }
    guest_free(g);
}

/* --- code at the end of a page --- */

static void test_code_crossing(void)
{
    static const uint8_t insn[] = { 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xf4 }; /* MOV RAX, imm64; HLT */
    Guest *g = guest_new(NULL);
    for (unsigned split = 1; split < 10; split++) {
        for (unsigned why = 0; why < 4; why++) { /* not present, NX, supervisor (user mode), fine */
            for (unsigned user = 0; user < 2; user++) {
                split_long(g);
                guest_put(g, PAGE - split, insn, sizeof(insn));
                page_set(g, PAGE, why == 0 ? 0 : why == 1 ? P | W | U | NX : why == 2 ? P | W : P | W | U);
                if (user) {
                    guest_user(g);
                }
                g->cpu->gpr[R_RAX] = 0;
                g->cpu->rip = PAGE - split;
                guest_continue(g);
                bool fault = why < 2 || (why == 2 && user);
                if (fault) {
                    g_assert_fault(g, EXC_PF, 0x10 | (user ? 4 : 0) | (why ? 1 : 0));
                    g_assert_cmphex(g->cpu->cr2, ==, PAGE);
                    g_assert_cmphex(guest_frame(g, 1), ==, PAGE - split);
                    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0);
                } else {
                    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x0807060504030201);
                }
            }
        }
    }
    /* Ends with the page: the next page matters to the next instruction only. */
    split_long(g);
    guest_put(g, PAGE - 10, insn, 10);
    page_set(g, PAGE, 0);
    g->cpu->rip = PAGE - 10;
    guest_continue(g);
    g_assert_fault(g, EXC_PF, 0x10);
    g_assert_cmphex(guest_frame(g, 1), ==, PAGE);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x0807060504030201);
    /* #UD is known before the missing page is needed: 0F 0B ends there. */
    split_long(g);
    guest_st(g, PAGE - 2, 2, 0x0b0f);
    page_set(g, PAGE, 0);
    g->cpu->rip = PAGE - 2;
    guest_continue(g);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    /* More than 15 bytes: #GP, also when the sixteenth would not be there. */
    for (unsigned n = 14; n <= 15; n++) {
        split_long(g);
        for (unsigned i = 0; i < n; i++) {
            guest_st(g, PAGE - n + i, 1, 0x66);
        }
        guest_st(g, PAGE, 2, 0xf490);
        if (n == 15) {
            page_set(g, PAGE, 0);
        }
        g->cpu->rip = PAGE - n;
        guest_continue(g);
        if (n == 14) {
            g_assert_cmphex(g->cpu->rip, ==, PAGE + 2);
        } else {
            g_assert_fault(g, EXC_GP, 0);
        }
    }
    guest_free(g);
}

/* --- alignment --- */

GUEST_CODE(a_r1, 64, "mov (%rdi), %al");
GUEST_CODE(a_r2, 64, "mov (%rdi), %ax");
GUEST_CODE(a_r4, 64, "mov (%rdi), %eax");
GUEST_CODE(a_r8, 64, "mov (%rdi), %rax");
GUEST_CODE(a_w2, 64, "mov %ax, (%rdi)");
GUEST_CODE(a_w4, 64, "mov %eax, (%rdi)");
GUEST_CODE(a_w8, 64, "mov %rax, (%rdi)");
GUEST_CODE(a_fld4, 64, "flds (%rdi)");
GUEST_CODE(a_fld8, 64, "fldl (%rdi)");
GUEST_CODE(a_fld10, 64, "fldt (%rdi)");
GUEST_CODE(a_movss, 64, "movss (%rdi), %xmm0");
GUEST_CODE(a_movsd, 64, "movsd (%rdi), %xmm0");
GUEST_CODE(a_movaps, 64, "movaps (%rdi), %xmm0");
GUEST_CODE(a_xadd, 64, "lock xadd %eax, (%rdi)");
GUEST_CODE(a_add, 64, "add %eax, (%rdi)");
GUEST_CODE(a_cmpxchg, 64, "cmpxchg %rcx, (%rdi)");
GUEST_CODE(a_movs, 64, "mov $0x18800, %esi\n movsl");
GUEST_CODE(a_stos, 64, "mov $3, %ecx\n rep stosq");
GUEST_CODE(a_push, 64, "mov %rdi, %rsp\n push %rax");
GUEST_CODE(a_pop, 64, "mov %rdi, %rsp\n pop %rax");
GUEST_CODE(a_ret, 64, "mov %rdi, %rsp\n ret");

static void test_alignment(void)
{
    const struct { Code c; unsigned align; int vec; unsigned at; } cases[] = {
        { CODE(a_r1), 1, EXC_AC, 0 },     { CODE(a_r2), 2, EXC_AC, 0 },     { CODE(a_r4), 4, EXC_AC, 0 },
        { CODE(a_r8), 8, EXC_AC, 0 },     { CODE(a_w2), 2, EXC_AC, 0 },     { CODE(a_w4), 4, EXC_AC, 0 },
        { CODE(a_w8), 8, EXC_AC, 0 },     { CODE(a_fld4), 4, EXC_AC, 0 },   { CODE(a_fld8), 8, EXC_AC, 0 },
        { CODE(a_fld10), 8, EXC_AC, 0 },  { CODE(a_movss), 4, EXC_AC, 0 },  { CODE(a_movsd), 8, EXC_AC, 0 },
        { CODE(a_movaps), 16, EXC_GP, 0 }, { CODE(a_xadd), 4, EXC_AC, 0 },  { CODE(a_add), 4, EXC_AC, 0 },
        { CODE(a_cmpxchg), 8, EXC_AC, 0 }, { CODE(a_movs), 4, EXC_AC, 5 },  { CODE(a_stos), 8, EXC_AC, 5 },
        { CODE(a_push), 8, EXC_AC, 3 },   { CODE(a_pop), 8, EXC_AC, 3 },    { CODE(a_ret), 8, EXC_AC, 3 },
    };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (unsigned off = 0; off < 16; off++) {
            for (unsigned how = 0; how < 5; how++) { /* all; no AM; no AC; CPL 0; AC after the TLB is warm */
                split_long(g);
                g->cpu->cr4 |= CR4_OSFXSR;
                g->cpu->cr0 |= how == 1 ? 0 : CR0_AM;
                for (unsigned b = 0; b < 24; b += 8) {
                    guest_st(g, G_DATA + 0x100 + b, 8, 0);
                }
                guest_st(g, G_DATA + 0x100 + off, 8, G_CODE + (uint64_t)(cases[i].c.end - cases[i].c.from) - 1); /* RET's */
                if (how != 3) {
                    guest_user(g);
                }
                g->cpu->gpr[R_RDI] = G_DATA + 0x100 + off;
                x86_set_eflags(g->cpu, how == 2 || how == 4 ? 0 : FL_AC, FL_AC | FL_DF);
                g_test_message("case %u, offset %u, %u", i, off, how);
                if (how == 4) {
                    guest_run_code(g, cases[i].c.from, (size_t)(cases[i].c.end - cases[i].c.from));
                    guest_long(g);
                    g->cpu->cr4 |= CR4_OSFXSR;
                    g->cpu->cr0 |= CR0_AM;
                    guest_st(g, G_PT + 0x2000 + 3 * 8, 8, PT_HIGH | P | W | U);
                    guest_st(g, G_DATA + 0x100 + off, 8, G_CODE + (uint64_t)(cases[i].c.end - cases[i].c.from) - 1);
                    guest_user(g);
                    g->cpu->gpr[R_RDI] = G_DATA + 0x100 + off;
                    x86_set_eflags(g->cpu, FL_AC, FL_AC);
                }
                guest_run_code(g, cases[i].c.from, (size_t)(cases[i].c.end - cases[i].c.from));
                bool bad = off % cases[i].align && (cases[i].vec == EXC_GP || how == 0 || how == 4);
                if (bad) {
                    g_assert_fault(g, cases[i].vec, 0);
                    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + cases[i].at);
                } else if (how == 3) {
                    g_assert_cmpint(guest_vector(g), ==, -1);
                } else {
                    g_assert_fault(g, EXC_GP, 0); /* the HLT */
                    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + (uint64_t)(cases[i].c.end - cases[i].c.from) - 1);
                }
            }
        }
    }
    guest_free(g);
}

/* CPL 1 and 2 are not checked, implicit accesses of CPL 3 are not either (6.15). */
static void test_alignment_where(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(read32, 32, "mov 1(%edi), %eax\n mov $1, %edx");
    GUEST_CODE(load_es, 32, "mov %ax, %es\n mov $1, %edx");
    for (unsigned cpl = 0; cpl < 4; cpl++) {
        guest_pm32(g);
        g->cpu->cr0 |= CR0_AM;
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            g->cpu->seg[i].attr |= cpl << SA_DPL_SHIFT;
            g->cpu->seg[i].sel |= cpl;
        }
        g->cpu->cpl = (uint8_t)cpl;
        x86_set_eflags(g->cpu, FL_AC, FL_AC);
        g->cpu->gpr[R_RDI] = G_DATA;
        g->cpu->gpr[R_RDX] = 0;
        guest_put(g, G_CODE, read32, (size_t)(read32_end - read32)); /* with HLT: #GP above CPL 0 */
        g->cpu->rip = G_CODE;
        x86_update_mode(g->cpu);
        guest_continue(g);
        g_assert_cmpint(guest_vector(g), ==, cpl == 3 ? EXC_AC : cpl ? EXC_GP : -1);
        g_assert_cmphex(g->cpu->gpr[R_RDX], ==, cpl != 3);
    }
    guest_pm32(g);
    g->cpu->cr0 |= CR0_AM;
    g->cpu->ldt = (X86Seg){ .base = G_LDT + 1, .limit = 0xff, .attr = 0x82, .sel = S_FREE };
    guest_st(g, G_LDT + 1 + 8, 8, guest_ld(g, G_GDT + (S_DATA3 & ~7), 8));
    guest_user(g);
    x86_set_eflags(g->cpu, FL_AC, FL_AC);
    g->cpu->gpr[R_RAX] = 0xf;
    g->cpu->gpr[R_RDX] = 0;
    guest_run(g, load_es);
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 1);
    guest_free(g);
}

/* --- jumps to addresses that are not canonical: #GP at the jump, whatever the jump caches of translated code hold ---
 *
 * RDI: k << 48, for k from 1 to 7fffh: with one of them the address has the tag of code elsewhere, of the handler at CPL 0 for one,
 * or that of an empty slot. RCX counts #GP; the handler goes on at R8.
 */
#define WILD_LOOP(jump)                                                                                     \
    "mov %rsp, %r9\n xor %ecx, %ecx\n mov $1, %edi\n shl $48, %rdi\n lea 2f(%rip), %r8\n 1: mov %rbx, %rax\n xor %rdi, %rax\n" jump \
    "\n mov $99, %ecx\n jmp 3f\n 2: mov %r9, %rsp\n mov $1, %eax\n shl $48, %rax\n add %rax, %rdi\n jns 1b\n 3: int $0x40"
GUEST_CODE(wild_jmp, 64, WILD_LOOP("jmp *%rax"));
GUEST_CODE(wild_call, 64, WILD_LOOP("call *%rax"));
GUEST_CODE(wild_ret, 64, WILD_LOOP("push %rax\n ret"));
GUEST_CODE(wild_ret_n, 64, WILD_LOOP("sub $24, %rsp\n push %rax\n ret $24"));
GUEST_CODE(wild_mem, 64, WILD_LOOP("mov %rax, -0x20(%rsp)\n jmp *-0x20(%rsp)"));
GUEST_CODE(count_gp, 64, "add $8, %rsp\n inc %ecx\n mov %r8, (%rsp)\n iretq");

static void test_wild_jumps(void)
{
    static const Code kinds[] = { CODE(wild_jmp), CODE(wild_call), CODE(wild_ret), CODE(wild_ret_n), CODE(wild_mem) };
    static const uint64_t to[] = { G_HANDLERS + 0x2000, G_CODE, UINT64_MAX, 1ull << 63, 0 };
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_put(g, G_HANDLERS + 0x2000, count_gp, (size_t)(count_gp_end - count_gp));
    guest_gate64(g, G_IDT + EXC_GP * 16, S_CODE64, G_HANDLERS + 0x2000, 0x8e, 0);
    guest_gate64(g, G_IDT + 0x40 * 16, S_CODE64, G_HANDLERS + 0x40 * 16, 0xee, 0);
    for (unsigned user = 0; user < 2; user++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
            for (unsigned k = 0; k < G_N_ELEMENTS(to); k++) {
                g->cpu->cpl = 0;
                guest_long(g);
                guest_gate64(g, G_IDT + EXC_GP * 16, S_CODE64, G_HANDLERS + 0x2000, 0x8e, 0);
                guest_gate64(g, G_IDT + 0x40 * 16, S_CODE64, G_HANDLERS + 0x40 * 16, 0xee, 0);
                if (user) {
                    guest_user(g);
                }
                g->cpu->gpr[R_RBX] = to[k];
                guest_run_code(g, kinds[i].from, (size_t)(kinds[i].end - kinds[i].from));
                g_assert_cmpint(guest_vector(g), ==, 0x40);
                g_assert_cmpuint(g->cpu->gpr[R_RCX], ==, 0x7fff);
                g_assert_cmphex(guest_frame(g, 3), ==, user ? G_STACK3 : G_STACK0);
            }
        }
    }
    guest_free(g);
}

/* Returns to where no call came from: to every address that could mark an empty stack of return addresses. */
GUEST_CODE(lone_ret, 64, "push %rbx\n ret");
GUEST_CODE(lone_rets, 64, "push %rbx\n push %rbx\n push $1f-lone_rets+0x10000\n ret\n 1: add $8, %rsp\n ret");

static void test_lone_returns(void)
{
    static const struct { uint64_t to; int vector; } cases[] = {
        { 0, -1 }, { G_DATA, -1 }, { 1ull << 63, EXC_GP }, { 1ull << 47, EXC_GP }, { UINT64_MAX, EXC_PF },
        { 0x7fffffffffff, EXC_PF }, { ~0ull << 47, EXC_PF },
    };
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_st(g, 0, 4, 0xf4f4f4f4);
    guest_st(g, G_DATA, 4, 0xf4f4f4f4);
    for (unsigned i = 0; i < 100; i++) { /* cold, then translated */
        const uint64_t to = cases[i % G_N_ELEMENTS(cases)].to;
        for (unsigned twice = 0; twice < 2; twice++) {
            g->cpu->gpr[R_RSP] = G_STACK0;
            g->cpu->gpr[R_RBX] = to;
            twice ? (void)guest_run(g, lone_rets) : (void)guest_run(g, lone_ret);
            g_assert_cmpint(guest_vector(g), ==, cases[i % G_N_ELEMENTS(cases)].vector);
            if (guest_vector(g) == EXC_GP) { /* at RET, which has not taken the address from the stack */
                g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + (twice ? (uint64_t)(lone_rets_end - lone_rets) - 2 : 1));
                g_assert_cmphex(guest_ld(g, guest_frame(g, 4), 8), ==, to);
            } else {
                g_assert_cmphex(guest_vector(g) < 0 ? g->cpu->rip - 1 : guest_frame(g, 1), ==, to);
            }
        }
    }
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/fault/strings", test_strings);
    g_test_add_func("/cpu/fault/no-half", test_no_half);
    g_test_add_func("/cpu/fault/write-intent", test_write_intent);
    g_test_add_func("/cpu/fault/bit-strings", test_bit_strings);
    g_test_add_func("/cpu/fault/code-crossing", test_code_crossing);
    g_test_add_func("/cpu/fault/wild-jumps", test_wild_jumps);
    g_test_add_func("/cpu/fault/lone-returns", test_lone_returns);
    g_test_add_func("/cpu/fault/alignment", test_alignment);
    g_test_add_func("/cpu/fault/alignment-where", test_alignment_where);
    return g_test_run();
}

/* SPDX-License-Identifier: MIT
 * tests/cpu/test-fastpath.c - what translated code does without leaving, when what it relies on changes: system calls after new
 * MSRs, returns over CLAC, an instruction in two pages of which the second is remapped, REP over the end of what is mapped, checks
 * of memory accesses that are made before their turn or for several at once (target/x86/t1-group.c, t1-mem.c); moves and divisions
 * whose operands are special (t1-move.c).
 * Everything first runs often enough to be known.
 */
#include "tests/cpu/sysguest.h"

enum { TIMES = 40, P_PT = 0x180000, P_FIRST = 0x500000, P_SECOND = 0x600000, L_PAGES = 0x400000, ENTRY2 = 0x31000 };

/* 4 KiB pages at 4 MiB: page i is the frame P_FIRST + i pages. */
static void small_pages(Guest *g, unsigned flags)
{
    guest_st(g, G_PT + 0x2000 + 8 * 2, 8, P_PT | 7);
    for (unsigned i = 0; i < 512; i++) {
        guest_st(g, P_PT + 8 * i, 8, i < 4 ? (P_FIRST + 4096 * i) | flags : 0);
    }
}

/* R12: the sum of what R11 was; R13: how often; R14: in the second entry. RAX 1 ends, 2 goes on with other MSRs. */
GUEST_CODE(code_user, 64,
           "mov $40, %ebx\n"
           "1: xor %eax, %eax\n cmp $20, %ebx\n stc\n syscall\n lea (%r15, %r11), %r15\n"
           "dec %ebx\n jnz 1b\n"
           "mov $2, %eax\n syscall\n"
           "mov $40, %ebx\n"
           "1: xor %eax, %eax\n syscall\n dec %ebx\n jnz 1b\n"
           "mov $1, %eax\n syscall");
GUEST_CODE(code_entry, 64,
           "cmp $1, %eax\n je 3f\n ja 2f\n"
           "pushf\n pop %rax\n lea (%r9, %rax), %r9\n inc %r13\n add %r11, %r12\n sysretq\n"
           "2: mov %rcx, %r10\n mov $0xc0000082, %ecx\n mov $0x31000, %eax\n xor %edx, %edx\n wrmsr\n"
           "mov $0xc0000084, %ecx\n mov $0x601, %eax\n wrmsr\n"
           "mov %r10, %rcx\n sysretq\n"
           "3:");
GUEST_CODE(code_entry2, 64,
           "cmp $1, %eax\n je 3f\n inc %r14\n pushf\n pop %rax\n and $0x601, %eax\n add %rax, %rbp\n mov %ss, %eax\n mov %eax, %r8d\n"
           "sysretq\n 3:");

static void test_syscalls(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_put(g, G_DATA, code_entry, (size_t)(code_entry_end - code_entry));
    guest_put(g, ENTRY2, code_entry2, (size_t)(code_entry2_end - code_entry2));
    g->cpu->star = (uint64_t)0x38 << 32 | (uint64_t)0x3b << 48;
    g->cpu->lstar = G_DATA;
    g->cpu->fmask = FL_DF; /* IF stays: the flags at the first entry hold it */
    guest_user(g);
    g->cpu->eflags |= FL_IF | FL_DF;
    for (unsigned i = 8; i < 16; i++) {
        g->cpu->gpr[i] = 0;
    }
    g->cpu->gpr[R_RBP] = 0;
    guest_run(g, code_user);
    const uint32_t fixed = FL_IF | FL_DF | FL_CF | 2;
    uint64_t flags = 0; /* of CMP with 20, then STC */
    for (unsigned i = 40; i; i--) {
        uint32_t r = i - 20;
        flags += fixed | (r ? 0 : FL_ZF) | (r >> 31 ? FL_SF : 0) | (__builtin_parity(r & 255) ? 0 : FL_PF) |
                 (((i ^ 20 ^ r) & 16) ? FL_AF : 0);
    }
    g_assert_cmphex(g->cpu->gpr[12], ==, flags);
    g_assert_cmphex(g->cpu->gpr[15], ==, flags);
    g_assert_cmpuint(g->cpu->gpr[13], ==, TIMES);
    g_assert_cmpuint(g->cpu->gpr[14], ==, TIMES);
    g_assert_cmphex(g->cpu->gpr[R_RBP], ==, FL_CF * TIMES); /* the new mask: no IF, no DF; CF is of the CMP */
    g_assert_cmphex(g->cpu->gpr[8], ==, 0x40);
    g_assert_cmphex(g->cpu->gpr[9], ==, (FL_IF | FL_SF | FL_AF | FL_PF | FL_CF | 2) * TIMES); /* after the CMP */
    g_assert_cmpuint(g->cpu->cpl, ==, 0);
    g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, 0x38);
    guest_free(g);
}

/* RDI: a function, RSI: a user page, R8: the function of the last call. */
GUEST_CODE(code_clac, 64,
           "mov $40, %ebx\n"
           "1: cmp $1, %ebx\n cmove %r8, %rdi\n stac\n call *%rdi\n mov (%rsi), %rax\n inc %rdx\n clac\n"
           "dec %ebx\n jnz 1b\n hlt\n");
GUEST_CODE(code_plain, 64, "nop\n ret");
GUEST_CODE(code_closes, 64, "clac\n ret");
GUEST_CODE(code_opens, 64, "stac\n ret");
GUEST_CODE(code_stac, 64,
           "mov $40, %ebx\n"
           "1: cmp $1, %ebx\n cmove %r8, %rdi\n cmove %rsi, %rcx\n call *%rdi\n mov (%rcx), %rax\n inc %rdx\n clac\n"
           "dec %ebx\n jnz 1b\n hlt\n");

static void test_ac(void)
{
    Guest *g = guest_new(NULL);
    for (unsigned opens = 0; opens < 2; opens++) {
        guest_long(g);
        guest_put(g, G_DATA, code_plain, (size_t)(code_plain_end - code_plain));
        const uint8_t *f = opens ? code_opens : code_closes;
        guest_put(g, G_DATA + 0x40, f, 4);
        small_pages(g, 7);
        for (unsigned i = 0; i < 4; i++) { /* supervisor pages but that one */
            guest_st(g, G_PT + 0x2000 + 8 * i, 8, i == 2 ? P_PT | 7 : 0x83 | (uint64_t)i << 21);
        }
        g->cpu->cr4 |= CR4_SMAP;
        g->cpu->gpr[R_RDI] = G_DATA;
        g->cpu->gpr[8] = G_DATA + 0x40;
        g->cpu->gpr[R_RSI] = L_PAGES;
        g->cpu->gpr[R_RCX] = G_DATA;
        g->cpu->gpr[R_RDX] = 0;
        opens ? guest_run(g, code_stac) : guest_run(g, code_clac);
        if (opens) { /* AC is set by what is called: the access is allowed */
            g_assert_cmpuint(g->cpu->gpr[R_RDX], ==, TIMES);
            g_assert_cmpint(guest_vector(g), ==, -1);
        } else { /* AC is clear when the last call returns */
            g_assert_cmpint(guest_vector(g), ==, EXC_PF);
            g_assert_cmpuint(g->cpu->gpr[R_RDX], ==, TIMES - 1);
            g_assert_cmphex(g->cpu->cr2, ==, L_PAGES);
        }
    }
    guest_free(g);
}

/* RDI: MOV EAX, imm32; RET, with two bytes of the immediate in the next page. RSI: that page's entry. */
GUEST_CODE(code_crossing, 64,
           "mov $40, %ecx\n"
           "1: call *%rdi\n add %rax, %rbx\n dec %ecx\n jnz 1b\n"
           "mov %r8, (%rsi)\n invlpg 0x401000\n call *%rdi\n mov %rax, %rdx\n"
           "mov $0x600000, %ebp\n movw $0x0a0b, (%rbp)\n call *%rdi\n");

static void test_crossing(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    small_pages(g, 3);
    static const uint8_t first[] = { 0xb8, 1, 2 }, second[] = { 3, 4, 0xc3 }, other[] = { 5, 6, 0xc3 };
    guest_put(g, P_FIRST + 4096 - sizeof(first), first, sizeof(first));
    guest_put(g, P_FIRST + 4096, second, sizeof(second));
    guest_put(g, P_SECOND, other, sizeof(other));
    g->cpu->gpr[R_RDI] = L_PAGES + 4096 - sizeof(first);
    g->cpu->gpr[R_RSI] = P_PT + 8;
    g->cpu->gpr[8] = P_SECOND | 3;
    g->cpu->gpr[R_RBX] = 0;
    guest_run(g, code_crossing);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 0x04030201ull * TIMES);
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 0x06050201);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x0a0b0201); /* the second page's bytes were written */
    guest_free(g);
}

GUEST_CODE(code_stos, 64, "mov $40, %ebx\n 1: mov %r8, %rdi\n mov $7, %ecx\n rep stosq\n dec %ebx\n jnz 1b\n"
                          "mov %r9, %rdi\n mov %r10, %rcx\n rep stosq");
GUEST_CODE(code_movs, 64, "mov $40, %ebx\n 1: mov %r8, %rdi\n mov %r8, %rsi\n mov $7, %ecx\n rep movsb\n dec %ebx\n jnz 1b\n"
                          "mov %r9, %rdi\n lea -3(%rdi), %rsi\n mov %r10, %rcx\n rep movsb");

static void test_rep(void)
{
    Guest *g = guest_new(NULL);
    const struct { bool movs; unsigned off, n, fault; } cases[] = {
        { false, 0, 512, 0 }, { false, 0x123, 100, 0 }, { false, 0xffc, 1, 0 }, { false, 0xf00, 600, 0 }, { false, 0, 0, 0 },
        { false, 0x3ff0, 5, 0x3ff0 + 16 }, { true, 0x10, 4000, 0 }, { true, 0xff0, 64, 0 }, { true, 0x3ff0, 40, 0x4000 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        unsigned size = cases[i].movs ? 1 : 8, done = cases[i].n;
        guest_long(g);
        small_pages(g, 3);
        for (unsigned k = 0; k < 0x4000; k += 8) {
            guest_st(g, P_FIRST + k, 8, k * 0x9e3779b97f4a7c15ull);
        }
        g->cpu->gpr[R_RAX] = 0x1122334455667788;
        g->cpu->gpr[8] = L_PAGES + 0x2000;
        g->cpu->gpr[9] = L_PAGES + cases[i].off;
        g->cpu->gpr[10] = cases[i].n;
        cases[i].movs ? guest_run(g, code_movs) : guest_run(g, code_stos);
        if (cases[i].fault) {
            done = (cases[i].fault - cases[i].off) / size;
            g_assert_cmpint(guest_vector(g), ==, EXC_PF);
            g_assert_cmphex(g->cpu->cr2, ==, L_PAGES + cases[i].fault);
        } else {
            g_assert_cmpint(guest_vector(g), ==, -1);
        }
        g_assert_cmphex(g->cpu->gpr[R_RDI], ==, L_PAGES + cases[i].off + done * size);
        g_assert_cmpuint(g->cpu->gpr[R_RCX], ==, cases[i].n - done);
        for (unsigned k = 0; k < done * size; k++) { /* MOVS reads what it wrote three bytes before */
            unsigned at = cases[i].off + k;
            uint8_t want = cases[i].movs ? (uint8_t)guest_ld(g, P_FIRST + at - 3, 1) : (uint8_t)(0x1122334455667788 >> k % 8 * 8);
            g_assert_cmphex(guest_ld(g, P_FIRST + at, 1), ==, want);
        }
    }
    guest_free(g);
}

/* Bit numbers in registers reach far beyond the operand, to both sides. */
GUEST_CODE(code_bits, 64,
           "bts %rbx, (%rdi)\n setc %r8b\n lock btr %rcx, (%rdi)\n setc %r9b\n btc %edx, (%rdi)\n setc %r10b\n"
           "bt %rbx, (%rdi)\n setc %r11b\n btsw %bp, (%rdi)\n setc %r12b");

static void test_bits(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_st(g, G_DATA - 32, 8, 0xff);
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->gpr[R_RBX] = 1000;
    g->cpu->gpr[R_RCX] = (uint64_t)-256 + 3;
    g->cpu->gpr[R_RDX] = 0x700000000ull | (uint32_t)-200; /* 32 bits: -200 */
    g->cpu->gpr[R_RBP] = 0x10000 | (uint16_t)-90;
    guest_run(g, code_bits);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(guest_ld(g, G_DATA + 125, 1), ==, 1);
    g_assert_cmphex(guest_ld(g, G_DATA - 32, 1), ==, 0xf7);
    g_assert_cmphex(guest_ld(g, G_DATA - 25, 1), ==, 1);
    g_assert_cmphex(guest_ld(g, G_DATA - 12, 1), ==, 0x40);
    const uint8_t carry[] = { 0, 1, 0, 1, 0 };
    for (unsigned i = 0; i < sizeof(carry); i++) {
        g_assert_cmpuint(g->cpu->gpr[8 + i] & 0xff, ==, carry[i]);
    }
    guest_free(g);
}

/* Additions of two words: what lies between ADD and ADC is checked in front of the ADD. RSI: two pages that are not neighbours
 * in host memory; R8: the distance of the second words in elements, R9 in the last round; RDI: where the sum goes, in the last round
 * R10. RBP, R11: the sums of all; R12: what the flags were. */
GUEST_CODE(code_chain, 64,
           "mov $40, %ebx\n"
           "1: cmp $1, %ebx\n cmove %r9, %r8\n cmove %r10, %rdi\n"
           "2: mov (%rsi), %rax\n lea 1(%r8), %rcx\n add 8(%rsi), %rax\n mov (%rsi, %rcx, 8), %rdx\n adc %rdx, %rbp\n"
           "mov %rax, (%rdi)\n adc $0, %r11\n pushf\n pop %rax\n lea (%r12, %rax), %r12\n"
           "dec %ebx\n cmp $1, %ebx\n ja 2b\n je 1b\n hlt\n");
/* One loop without stores, whose copy checks windows: both words share one. */
GUEST_CODE(code_window, 64,
           "mov $40, %ebx\n"
           "1: mov (%rsi), %rax\n lea 1(%r8), %rcx\n add 8(%rsi), %rax\n mov (%rsi, %rcx, 8), %rdx\n adc %rdx, %rbp\n"
           "adc $0, %r11\n add %rax, %r13\n dec %ebx\n jnz 1b\n");

static void test_chain(void)
{
    enum { P_CODE = P_FIRST + 3 * 4096, OTHER = 512 + 16 };
    const uint64_t a = 0xfffffffffffffff0, b = 0x20, c = 0x8000000000000001;
    Guest *g = guest_new(NULL);
    for (unsigned what = 0; what < 5; what++) { /* all is well; then the last word, or the last sum's place, is not mapped or read only or code */
        guest_long(g);
        small_pages(g, 3);
        guest_st(g, P_PT + 8, 8, P_SECOND | 3);
        guest_st(g, P_PT + 8 * 2, 8, what == 3 ? (P_FIRST + 8192) | 1 : (P_FIRST + 8192) | 3);
        g->cpu->cr0 |= CR0_WP;
        guest_st(g, P_FIRST, 8, a);
        guest_st(g, P_FIRST + 8, 8, b);
        guest_st(g, P_SECOND + 8 * (OTHER + 1 - 512), 8, c);
        for (unsigned i = 8; i < 16; i++) {
            g->cpu->gpr[i] = 0;
        }
        g->cpu->gpr[R_RBP] = 0;
        g->cpu->gpr[R_RSI] = L_PAGES;
        g->cpu->gpr[R_RDI] = L_PAGES + 64;
        g->cpu->gpr[8] = OTHER;
        g->cpu->gpr[9] = what == 1 ? 512 * 4 : OTHER;
        g->cpu->gpr[10] = what == 2 ? L_PAGES + 0x4000 : what == 3 ? L_PAGES + 0x2000 : what == 4 ? G_CODE + 0x80 : L_PAGES + 64;
        if (what == 0) {
            guest_run(g, code_window);
            g_assert_cmpint(guest_vector(g), ==, -1);
            g_assert_cmphex(g->cpu->gpr[R_RBP], ==, (c + 1) * TIMES);
            g_assert_cmphex(g->cpu->gpr[13], ==, (a + b) * TIMES);
            g_assert_cmphex(g->cpu->gpr[11], ==, TIMES / 2);
            g->cpu->gpr[R_RBP] = g->cpu->gpr[11] = 0;
        }
        guest_run(g, code_chain);
        bool faults = what && what < 4;
        unsigned times = TIMES - faults;
        uint64_t flags = 0, sum = 0;
        for (unsigned i = 0; i < times; i++) { /* the flags of ADC $0: what was above 2^63 wraps every second time */
            uint64_t old = sum, high;
            sum += c + 1;
            high = i / 2 + (sum < old);
            flags += 2 | (__builtin_parity(high & 255) ? 0 : FL_PF) | (high ? 0 : FL_ZF) |
                     ((sum < old && (high & 15) == 0) ? FL_AF : 0);
        }
        g_assert_cmphex(g->cpu->gpr[R_RBP], ==, what == 2 || what == 3 ? sum + c + 1 : sum);
        g_assert_cmphex(g->cpu->gpr[11], ==, times / 2);
        g_assert_cmphex(g->cpu->gpr[12], ==, flags);
        if (faults) {
            g_assert_cmpint(guest_vector(g), ==, EXC_PF);
            g_assert_cmphex(g->cpu->cr2, ==, what == 1 ? L_PAGES + 8 * (512 * 4 + 1) : g->cpu->gpr[10]);
            g_assert_cmphex(g->cpu->gpr[R_RAX], ==, a + b);
            g_assert_cmphex(guest_frame(g, 0), ==, what == 1 ? 0 : what == 2 ? 2 : 3);
            g_assert_cmphex(guest_frame(g, 3) & FL_CF, ==, what == 1 ? FL_CF : (sum + c + 1 < sum ? FL_CF : 0));
        } else {
            g_assert_cmpint(guest_vector(g), ==, -1);
            g_assert_cmphex(guest_ld(g, what == 4 ? G_CODE + 0x80 : P_FIRST + 64, 8), ==, a + b);
        }
    }
    guest_free(g);
}

/* Accesses near each other: the last round is at R9 instead of R8. RDX is the sum of what was read. */
GUEST_CODE(code_near, 64,
           "mov $40, %ebx\n"
           "1: cmp $1, %ebx\n cmove %r9, %r8\n"
           "mov %rbx, (%r8)\n add 8(%r8), %rdx\n mov %ebx, 16(%r8)\n lea 24(%r8), %rsi\n incq (%rsi)\n"
           "mov %rsi, %rdi\n sub $32, %rdi\n movw $0x77, (%rdi)\n"
           "dec %ebx\n jnz 1b");
/* The same on the stack: R8 and R9 are the top. */
GUEST_CODE(code_near_stack, 64,
           "mov %rsp, %rbp\n mov $40, %ebx\n"
           "1: cmp $1, %ebx\n cmove %r9, %r8\n"
           "mov %r8, %rsp\n push %rbx\n push %r10\n sub $8, %rsp\n mov %ebx, (%rsp)\n add $8, %rsp\n pop %rax\n pop %rcx\n add %rax, %rdx\n"
           "mov %rbp, %rsp\n dec %ebx\n jnz 1b");

enum { SEAM = L_PAGES + 4096 };

static Guest *near_guest(uint64_t second)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    small_pages(g, 3);
    guest_st(g, P_PT + 8, 8, second);
    g->cpu->cr0 |= CR0_WP;
    x86_update_mode(g->cpu);
    g->cpu->gpr[8] = L_PAGES + 0x100;
    g->cpu->gpr[R_RDX] = 0;
    return g;
}

/* What is at this address of the two pages, of which the second is the frame at P_SECOND. */
static uint64_t near_word(Guest *g, uint64_t at, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t b = at + i;
        v |= guest_ld(g, b < SEAM ? b - L_PAGES + P_FIRST : b - SEAM + P_SECOND, 1) << (8 * i);
    }
    return v;
}

static void check_near(int off, bool second)
{
    /* The accesses in order: where, how long, writes. */
    static const struct { int at; unsigned n; bool write; } all[] = { { 0, 8, true }, { 8, 8, false }, { 16, 4, true }, { 24, 8, true }, { -8, 2, true } };
    for (unsigned ro = second; ro < 2; ro++) { /* absent or read-only, unless the second page is all right */
        Guest *g = near_guest(second ? P_SECOND | 3 : ro ? P_SECOND | 1 : 0);
        uint64_t at = (uint64_t)(SEAM + off), cr2 = 0;
        for (unsigned i = 0; i < 128; i++) {
            guest_st(g, P_FIRST + 4096 - 64 + i, 1, i);
            guest_st(g, P_SECOND + i, 1, i + 64);
        }
        const uint64_t read = near_word(g, at + 8, 8), counted = near_word(g, at + 24, 8);
        unsigned done = 0;
        for (; done < G_N_ELEMENTS(all) && !cr2; done++) {
            uint64_t from = at + (uint64_t)(int64_t)all[done].at;
            bool bad = !second && from + all[done].n > SEAM && (!ro || all[done].write);
            cr2 = bad ? MAX(from, SEAM) : 0;
            done -= bad;
        }
        g->cpu->gpr[9] = at;
        guest_run(g, code_near);
        g_assert_cmpint(guest_vector(g), ==, cr2 ? EXC_PF : -1);
        if (cr2) {
            g_assert_cmphex(g->cpu->cr2, ==, cr2);
            g_assert_cmphex(guest_frame(g, 0), ==, (all[done].write ? 2u : 0u) | (ro ? 1u : 0u));
        }
        g_assert_cmpuint(g->cpu->gpr[R_RBX], ==, cr2 ? 1 : 0);
        g_assert_cmphex(near_word(g, at, 8) == 1, ==, done > 0);
        g_assert_cmphex(g->cpu->gpr[R_RDX], ==, done > 1 ? read : 0);
        g_assert_cmphex(near_word(g, at + 16, 4) == 1, ==, done > 2);
        g_assert_cmphex(near_word(g, at + 24, 8), ==, counted + (done > 3));
        g_assert_cmphex(near_word(g, at - 8, 2) == 0x77, ==, done > 4);
        guest_free(g);
    }
}

static void test_near(void)
{
    static const int offs[] = { -48, -33, -32, -31, -25, -24, -20, -17, -16, -12, -9, -8, -7, -4, -1, 0, 1, 4, 7, 8, 9, 16 };
    for (unsigned i = 0; i < G_N_ELEMENTS(offs); i++) {
        check_near(offs[i], true);
        check_near(offs[i], false);
    }
    for (int off = -8; off <= 32; off += 4) {
        Guest *g = near_guest(P_SECOND | 3);
        g->cpu->gpr[9] = (uint64_t)(SEAM + off);
        g->cpu->gpr[10] = 5;
        guest_run(g, code_near_stack);
        g_assert_cmpint(guest_vector(g), ==, -1);
        g_assert_cmpuint(g->cpu->gpr[R_RDX], ==, 5 * TIMES);
        g_assert_cmphex(near_word(g, (uint64_t)(SEAM + off - 8), 8), ==, 1);
        g_assert_cmphex(near_word(g, (uint64_t)(SEAM + off - 16), 8), ==, 5);
        g_assert_cmphex(near_word(g, (uint64_t)(SEAM + off - 24), 4), ==, 1);
        guest_free(g);
    }
}

/* XCHG with RAX of registers that the host's do not hold; addresses of eight bytes, whose lower half means another place. */
GUEST_CODE(code_moves, 64,
           "mov $40, %ebx\n"
           "1: mov $11, %eax\n mov $12, %r12d\n mov $13, %r13d\n mov $14, %r14d\n mov $15, %r15d\n"
           "xchg %rax, %r12\n xchg %rax, %r13\n xchg %rax, %r14\n xchg %eax, %r15d\n mov %rax, %rbp\n"
           "movabs 0x100040000, %rax\n mov %rax, %r8\n inc %rax\n movabs %rax, 0x100040000\n"
           "movabs 0x100040008, %al\n mov %al, %r9b\n"
           "dec %ebx\n jnz 1b");

static void test_moves(void)
{
    enum { AT = 0x40000, FRAME = 0x240000 };
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_st(g, P_PT, 8, 0x200000 | 0x83); /* 4 GiB are the memory from 2 MiB on */
    guest_st(g, G_PT + 0x1000 + 8 * 4, 8, P_PT | 7);
    guest_st(g, AT, 8, 0xbad);
    guest_st(g, FRAME, 8, 0x1122334455667788);
    guest_st(g, FRAME + 8, 1, 0x77);
    g->cpu->gpr[9] = 0;
    guest_run(g, code_moves);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmpuint(g->cpu->gpr[12], ==, 11);
    g_assert_cmpuint(g->cpu->gpr[13], ==, 12);
    g_assert_cmpuint(g->cpu->gpr[14], ==, 13);
    g_assert_cmpuint(g->cpu->gpr[15], ==, 14);
    g_assert_cmpuint(g->cpu->gpr[R_RBP], ==, 15);
    g_assert_cmphex(guest_ld(g, FRAME, 8), ==, 0x1122334455667788 + TIMES);
    g_assert_cmphex(g->cpu->gpr[8], ==, 0x1122334455667788 + TIMES - 1);
    g_assert_cmphex(g->cpu->gpr[9], ==, 0x77);
    g_assert_cmphex(guest_ld(g, AT, 8), ==, 0xbad);
    guest_free(g);
}

/* The last round divides R8 by R9 after many that were nothing special. */
GUEST_CODE(code_divide, 64,
           "mov $40, %ebx\n"
           "1: mov $100, %eax\n mov $7, %ecx\n cmp $1, %ebx\n cmove %r8, %rax\n cmove %r9, %rcx\n"
           "cqto\n idiv %rcx\n mov %rax, %r10\n dec %ebx\n jnz 1b");
GUEST_CODE(code_divide32, 64,
           "mov $40, %ebx\n"
           "1: mov $100, %eax\n mov $7, %ecx\n cmp $1, %ebx\n cmove %r8, %rax\n cmove %r9, %rcx\n mov %ecx, (%rdi)\n"
           "cltd\n idivl (%rdi)\n movslq %eax, %r10\n dec %ebx\n jnz 1b");
GUEST_CODE(code_divide_unsigned, 64,
           "mov $40, %ebx\n"
           "1: mov $100, %eax\n mov $7, %ecx\n xor %edx, %edx\n cmp $1, %ebx\n cmove %r8, %rdx\n cmove %r9, %rcx\n"
           "div %rcx\n mov %rax, %r10\n dec %ebx\n jnz 1b");

static void test_divisions(void)
{
    enum { WIDE, NARROW, UNSIGNED };
    static const struct { unsigned kind; int64_t a, b; bool faults; int64_t result; } t[] = {
        { WIDE, 7, -1, false, -7 },         { WIDE, INT64_MIN, -1, true, 0 },  { WIDE, 7, 0, true, 0 },
        { WIDE, INT64_MIN, 1, false, INT64_MIN }, { WIDE, INT64_MIN, 2, false, INT64_MIN / 2 },
        { NARROW, 7, -1, false, -7 },       { NARROW, INT32_MIN, -1, true, 0 }, { NARROW, 7, 0, true, 0 },
        { NARROW, INT32_MIN, 1, false, INT32_MIN },
        { UNSIGNED, 7, 7, true, 0 },        { UNSIGNED, 8, 7, true, 0 },       { UNSIGNED, 0, 0, true, 0 },
        { UNSIGNED, 1, 2, false, INT64_MIN + 50 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(t); i++) {
        Guest *g = guest_new(NULL);
        guest_long(g);
        g->cpu->gpr[R_RDI] = G_DATA;
        g->cpu->gpr[8] = (uint64_t)t[i].a;
        g->cpu->gpr[9] = (uint64_t)t[i].b;
        t[i].kind == WIDE     ? guest_run(g, code_divide)
        : t[i].kind == NARROW ? guest_run(g, code_divide32)
                              : guest_run(g, code_divide_unsigned);
        g_assert_cmpint(guest_vector(g), ==, t[i].faults ? EXC_DE : -1);
        g_assert_cmpint((int64_t)g->cpu->gpr[10], ==, t[i].faults ? 14 : t[i].result);
        g_assert_cmpuint(g->cpu->gpr[R_RBX], ==, t[i].faults);
        guest_free(g);
    }
}

/* Aligned vectors at odd addresses of pages that have no fast path: tags of the TLB hold why, and no address may look like one.
 * The first access brings the page into the TLB. */
GUEST_CODE(code_odd, 64,
           "mov %rsi, %dr0\n mov %rcx, %dr7\n mov $40, %ebx\n"
           "1: mov (%rdi), %eax\n mov %eax, (%rdi)\n cmp $1, %ebx\n cmove %r9, %r8\n cmove %r11, %r10\n"
           "movaps (%r8), %xmm0\n movaps %xmm0, (%r10)\n dec %ebx\n jnz 1b");

static void test_odd(void)
{
    enum { HOLE, CODE, WATCHED, KINDS };
    static const uint64_t page[] = { [HOLE] = L_PAGES, [CODE] = G_CODE + 0x800, [WATCHED] = G_DATA + 0x800 };
    for (unsigned i = 0; i < KINDS * 16 * 2; i++) {
        unsigned kind = i / 32, off = i / 2 % 16;
        bool write = i & 1;
        Guest *g = guest_new(NULL);
        guest_long(g);
        small_pages(g, 3);
        guest_st(g, P_PT, 8, 0xe0000000 | 3); /* nothing is there */
        g->cpu->cr4 |= CR4_OSFXSR;
        g->cpu->gpr[R_RDI] = page[kind];
        g->cpu->gpr[R_RSI] = page[kind] + 0x200; /* a data breakpoint elsewhere in the page */
        g->cpu->gpr[R_RCX] = kind == WATCHED ? 0x30001 : 0;
        g->cpu->gpr[8] = g->cpu->gpr[10] = G_DATA;
        g->cpu->gpr[9] = write ? G_DATA : page[kind] + 0x100 + off;
        g->cpu->gpr[11] = write ? page[kind] + 0x100 + off : G_DATA;
        guest_run(g, code_odd);
        g_assert_cmpint(guest_vector(g), ==, off ? EXC_GP : -1);
        guest_free(g);
    }
}

/* A frame that lies in two pages, which are not neighbours in host memory: often enough for tier 1 to take its group apart. */
GUEST_CODE(code_frame, 64,
           "mov $400, %ebx\n"
           "1: mov %rdi, %rsp\n push %rbx\n push %rax\n push %r8\n push %r9\n push %r12\n mov 8(%rsp), %rcx\n add %rcx, (%rsp)\n"
           "pop %r12\n pop %rdx\n pop %r9\n pop %r8\n pop %rax\n add %rdx, %r8\n inc %r9\n dec %ebx\n jnz 1b\n");

static void test_frame(void)
{
    Guest *g = guest_new(NULL);
    for (unsigned off = 0; off <= 48; off += 8) {
        guest_long(g);
        small_pages(g, 3);
        guest_st(g, P_PT + 8, 8, P_SECOND | 3);
        g->cpu->gpr[R_RDI] = L_PAGES + 4096 + off;
        g->cpu->gpr[R_RAX] = g->cpu->gpr[8] = g->cpu->gpr[9] = g->cpu->gpr[12] = 0;
        guest_run(g, code_frame);
        g_assert_cmpint(guest_vector(g), ==, -1);
        uint64_t a = 0, r8 = 0, r9 = 0, r12 = 0;
        for (unsigned b = 400; b; b--) { /* what was pushed last is popped first */
            r12 += r9;
            r8 += r9;
            uint64_t d = r9, was8 = r8 - r9, was_a = a;
            r9 = was8;
            r8 = was_a;
            a = b;
            r8 += d;
            r9++;
        }
        g_assert_cmphex(g->cpu->gpr[12], ==, r12);
        g_assert_cmphex(g->cpu->gpr[8], ==, r8);
        g_assert_cmphex(g->cpu->gpr[9], ==, r9);
        g_assert_cmphex(g->cpu->gpr[R_RAX], ==, a);
    }
    guest_free(g);
}

/* A group whose first member has nearly the lowest displacement: where the others begin is more than 2^31 below its register. What
 * lies 4 GiB higher is mapped, too, so that looking there by mistake finds a page. */
#define FAR_GROUP(name, base, first, second)                                                                 \
    GUEST_CODE(name, 64,                                                                                     \
               "mov $400, %ebx\n"                                                                            \
               "1: mov (%rdi), %rcx\n mov %rcx, (%rdi)\n call 2f\n dec %ebx\n jnz 1b\n hlt\n"               \
               "2: mov %rsi, %" base "\n" first "\n sub $0x38, %" base "\n" second "\n ret\n")
#define FAR_AX "-0x80000000(%rax)"
#define FAR_12 "-0x80000000(%r12)"
FAR_GROUP(code_far_load, "rax", "mov " FAR_AX ", %rdx", "mov " FAR_AX ", %rbp");
FAR_GROUP(code_far_load_r12, "r12", "mov " FAR_12 ", %rdx", "mov " FAR_12 ", %rbp");
FAR_GROUP(code_far_store, "rax", "mov %rbx, " FAR_AX, "mov %rdi, " FAR_AX);
FAR_GROUP(code_far_store_r12, "r12", "mov %rbx, " FAR_12, "mov %rdi, " FAR_12);

static void test_far_group(void)
{
    enum { PD = G_PT + 0x9000, AT = G_DATA + 0x100, OTHER = 0x400000 };
    const struct { const uint8_t *from, *end; } codes[] = { { code_far_load, code_far_load_end },
                                                            { code_far_load_r12, code_far_load_r12_end },
                                                            { code_far_store, code_far_store_end },
                                                            { code_far_store_r12, code_far_store_r12_end } };
    Guest *g = guest_new(NULL);
    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(codes); i++) {
        bool user = i % 2, store = i >= 4;
        guest_long(g);
        guest_st(g, G_PT + 0x1000 + 4 * 8, 8, PD | 7);
        guest_st(g, PD, 8, OTHER | 0x87);
        if (user) {
            guest_user(g);
        }
        guest_st(g, AT, 8, 1000);
        guest_st(g, AT + 0x38, 8, 7);
        g->cpu->gpr[R_RDI] = (UINT64_C(1) << 32) + AT;
        g->cpu->gpr[R_RSI] = UINT64_C(0x80000000) + AT + 0x38;
        guest_run_code(g, codes[i / 2].from, (size_t)(codes[i / 2].end - codes[i / 2].from));
        g_assert_cmpint(guest_vector(g), ==, user ? EXC_GP : -1); /* HLT */
        g_assert_cmpuint(g->cpu->gpr[R_RBX], ==, 0);
        g_assert_cmphex(store ? guest_ld(g, AT + 0x38, 8) : g->cpu->gpr[R_RDX], ==, store ? 1 : 7);
        g_assert_cmphex(store ? guest_ld(g, AT, 8) : g->cpu->gpr[R_RBP], ==, store ? g->cpu->gpr[R_RDI] : 1000);
    }
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/fastpath/syscalls", test_syscalls);
    g_test_add_func("/cpu/fastpath/ac", test_ac);
    g_test_add_func("/cpu/fastpath/crossing", test_crossing);
    g_test_add_func("/cpu/fastpath/rep", test_rep);
    g_test_add_func("/cpu/fastpath/bits", test_bits);
    g_test_add_func("/cpu/fastpath/chain", test_chain);
    g_test_add_func("/cpu/fastpath/frame", test_frame);
    g_test_add_func("/cpu/fastpath/far-group", test_far_group);
    g_test_add_func("/cpu/fastpath/near", test_near);
    g_test_add_func("/cpu/fastpath/odd", test_odd);
    g_test_add_func("/cpu/fastpath/moves", test_moves);
    g_test_add_func("/cpu/fastpath/divisions", test_divisions);
    return g_test_run();
}

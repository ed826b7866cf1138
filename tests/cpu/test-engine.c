/* SPDX-License-Identifier: MIT
 * tests/cpu/test-engine.c - the interpreter's machinery: units, chaining, self-modification, page crossing, faults
 * in the middle, limits, LOCK, the interrupt shadow. Instruction results are the other tests' business.
 * Threads: main.
 */
#include "tests/cpu/cpuharness.h"
#include "target/x86/t1.h"

#include <string.h>

static CpuHarness *h;
#define CODE(...) \
    do { static const uint8_t bytes_[] = { __VA_ARGS__ }; ch_load(h, h->cpu->rip, bytes_, sizeof(bytes_)); } while (0)
#define CODE_AT(at, ...) \
    do { static const uint8_t bytes_[] = { __VA_ARGS__ }; ch_load(h, (at), bytes_, sizeof(bytes_)); } while (0)
#define assert_hex g_assert_cmphex
static bool counts(void) { return !h->cpu->t1 || h->cpu->t1->off; } /* translated code does not count instructions */

static void test_loop(void)
{
    ch_mode(h, CH_LONG64);
    /* mov ecx, 1000; xor eax, eax; 1: add eax, ecx; dec ecx; jnz 1b; hlt */
    CODE(0xb9, 0xe8, 3, 0, 0, 0x31, 0xc0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xf4);
    CpuResult r = ch_go(h, false);
    g_assert_cmpint(r.why, ==, EXIT_HALT);
    assert_hex(h->cpu->gpr[R_RAX], ==, 500500);
    if (counts()) {
        assert_hex(r.insns, ==, 3003);
    }
}

/* A store into the unit being executed takes effect on the very next instruction. */
static void test_smc_next(void)
{
    ch_mode(h, CH_LONG64);
    for (int i = 0; i < 3; i++) {
        h->cpu->rip = 0x10000;
        h->cpu->vcpu.halted = false;
        /* mov byte [rip + 1], 0x42: patches the next instruction's immediate; mov al, 0x11; hlt */
        CODE(0xc6, 0x05, 0x01, 0, 0, 0, 0x42, 0xb0, 0x11, 0xf4);
        g_assert_cmpint(ch_go(h, false).why, ==, EXIT_HALT);
        assert_hex(h->cpu->gpr[R_RAX] & 0xff, ==, 0x42);
        assert_hex(h->cpu->rip, ==, 0x1000a);
    }
}

/* Data beside code in one page: stores do not invalidate; a store into another unit does. */
static void test_smc_granule(void)
{
    ch_mode(h, CH_LONG64);
    CODE_AT(0x10800, 0xb0, 0x07, 0xc3); /* f: mov al, 7; ret */
    h->cpu->rip = 0x10000;
    /* mov ecx, 100; 1: call f; mov [rip + 0x400], ecx; dec ecx; jnz 1b; hlt */
    CODE(0xb9, 100, 0, 0, 0, 0xe8, 0xf6, 0x07, 0, 0, 0x89, 0x0d, 0x00, 0x04, 0, 0, 0xff, 0xc9, 0x75, 0xf1, 0xf4);
    TcgStats a, b;
    h->cpu->vcpu.target->tcg->stats(&h->cpu->vcpu, &a);
    g_assert_cmpint(ch_go(h, false).why, ==, EXIT_HALT);
    h->cpu->vcpu.target->tcg->stats(&h->cpu->vcpu, &b);
    g_assert_cmpuint(b.invalidations - a.invalidations, ==, 0);
    g_assert_cmpuint(b.write_checks - a.write_checks, >=, 99);
    assert_hex(h->cpu->gpr[R_RAX], ==, 7);

    h->cpu->rip = 0x10000;
    h->cpu->vcpu.halted = false;
    /* call f; mov byte [f + 1], 9; call f; hlt */
    CODE(0xe8, 0xfb, 0x07, 0, 0, 0xc6, 0x05, 0xf5, 0x07, 0, 0, 9, 0xe8, 0xef, 0x07, 0, 0, 0xf4);
    g_assert_cmpint(ch_go(h, false).why, ==, EXIT_HALT);
    assert_hex(h->cpu->gpr[R_RAX], ==, 9);
}

static void test_dma_smc(void)
{
    ch_mode(h, CH_LONG64);
    CODE(0xb0, 1, 0xf4);
    ch_go(h, false);
    assert_hex(h->cpu->gpr[R_RAX], ==, 1);
    h->cpu->rip = 0x10000;
    h->cpu->vcpu.halted = false;
    CODE(0xb0, 2, 0xf4);
    ch_go(h, false);
    assert_hex(h->cpu->gpr[R_RAX], ==, 2);
}

/* More units than may be kept: all are dropped while the last one still waits for its link. */
static void test_full(void)
{
    enum { AT = 0x20000, JUMPS = 200000, LEN = 16 };
    ch_mode(h, CH_LONG64);
    for (unsigned i = 0; i < JUMPS; i++) { /* each jumps to the next and is a unit of its own */
        h->ram[AT + LEN * i] = 0xeb;
        h->ram[AT + LEN * i + 1] = LEN - 2;
    }
    CODE_AT(AT + LEN * JUMPS, 0xf4);
    TcgStats a, b;
    h->cpu->vcpu.target->tcg->stats(&h->cpu->vcpu, &a);
    h->cpu->rip = AT;
    CpuResult r = ch_go(h, false);
    g_assert_cmpint(r.why, ==, EXIT_HALT);
    if (counts()) {
        assert_hex(r.insns, ==, JUMPS + 1);
    }
    h->cpu->vcpu.target->tcg->stats(&h->cpu->vcpu, &b);
    g_assert_true(!counts() || b.unit_flushes > a.unit_flushes);
    g_assert_cmpuint(b.unit_bytes, <, 28 << 20);
}

/* mov eax, imm32 over the end of a page, then the second page changes. */
static void test_crossing(void)
{
    ch_mode(h, CH_LONG64);
    h->cpu->rip = 0x10ffd;
    CODE(0xb8, 0x11, 0x22, 0x33, 0x44, 0xf4);
    for (uint32_t i = 0; i < 4; i++) {
        h->cpu->rip = 0x10ffd;
        h->cpu->vcpu.halted = false;
        uint8_t v = (uint8_t)(0x44 + i);
        ch_load(h, 0x11001, &v, 1);
        g_assert_cmpint(ch_go(h, false).why, ==, EXIT_HALT);
        assert_hex(h->cpu->gpr[R_RAX], ==, 0x332211 | (0x44u + i) << 24);
    }
}

static void set_pte_2m(uint64_t index, uint64_t e)
{
    memcpy(h->ram + h->ram_size - 0x4000 + 0x2000 + 8 * index, &e, 8);
    x86_tlb_flush(h->cpu, false);
}

/* The fetch of an instruction that runs into an unmapped page: CR2 is the page's first byte, RIP the instruction. */
static void test_crossing_fault(void)
{
    ch_mode(h, CH_LONG64);
    set_pte_2m(1, 0);
    h->cpu->rip = 0x1ffffc;
    CODE(0x90, 0xb8, 0x11, 0x22);
    CpuResult r = ch_go(h, false);
    g_assert_cmpint(r.vector, ==, EXC_PF);
    assert_hex(r.err, ==, 0x10); /* a fetch: reported because EFER.NXE is set */
    assert_hex(r.cr2, ==, 0x200000);
    assert_hex(h->cpu->rip, ==, 0x1ffffd);
    if (counts()) {
        g_assert_cmpuint(r.insns, ==, 1);
    }
}

/* A store over two pages of which the second is missing writes nothing; registers stay. */
static void test_split_store(void)
{
    ch_mode(h, CH_LONG64);
    set_pte_2m(1, 0);
    memset(h->ram + 0x1ffff8, 0xaa, 8);
    h->cpu->gpr[R_RBX] = 0x1ffffc;
    h->cpu->gpr[R_RSP] = 0x200004;
    CODE(0x48, 0x89, 0x03, 0xf4); /* mov [rbx], rax */
    CpuResult r = ch_go(h, false);
    g_assert_cmpint(r.vector, ==, EXC_PF);
    assert_hex(r.err, ==, 2);
    assert_hex(r.cr2, ==, 0x200000);
    assert_hex(h->ram[0x1fffff], ==, 0xaa);
    h->cpu->rip = 0x10000;
    CODE(0x90, 0x50); /* nop; push rax: 0x1ffffc..0x200003 */
    r = ch_go(h, false);
    g_assert_cmpint(r.vector, ==, EXC_PF);
    assert_hex(h->cpu->gpr[R_RSP], ==, 0x200004);
    assert_hex(h->cpu->rip, ==, 0x10001);
    assert_hex(h->ram[0x1fffff], ==, 0xaa);
}

static int vector_of(const uint8_t *bytes, size_t n, CpuMode mode)
{
    ch_mode(h, mode);
    ch_load(h, h->cpu->rip, bytes, n);
    return ch_run(h, 1).vector;
}
#define VECTOR(mode, ...) vector_of((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), mode)

static void test_legality(void)
{
    g_assert_cmpint(VECTOR(CH_LONG64, 0xf0, 0x90), ==, EXC_UD);                   /* lock nop */
    g_assert_cmpint(VECTOR(CH_LONG64, 0xf0, 0x01, 0xc0), ==, EXC_UD);             /* lock on a register */
    g_assert_cmpint(VECTOR(CH_LONG64, 0xf0, 0x39, 0x04, 0x24), ==, EXC_UD);       /* lock cmp */
    g_assert_cmpint(VECTOR(CH_LONG64, 0xf0, 0x01, 0x04, 0x24), ==, -1);           /* lock add [rsp], eax */
    g_assert_cmpint(VECTOR(CH_LONG64, 0x27), ==, EXC_UD);                         /* daa in 64-bit mode */
    g_assert_cmpint(VECTOR(CH_PROT32, 0x27), ==, -1);
    g_assert_cmpint(VECTOR(CH_LONG64, 0x0f, 0x0b), ==, EXC_UD);
    g_assert_cmpint(VECTOR(CH_LONG64, 0x8d, 0xc0), ==, EXC_UD);                   /* lea of a register */
    g_assert_cmpint(VECTOR(CH_LONG64, 0xf7, 0xf0), ==, EXC_DE);                   /* div eax with eax = 0 */
    g_assert_cmpint(VECTOR(CH_LONG64, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90),
                    ==, -1);                                                      /* 15 bytes */
    g_assert_cmpint(VECTOR(CH_LONG64, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                           0x90), ==, EXC_GP);                                    /* 16 */
}

static void test_noncanonical(void)
{
    ch_mode(h, CH_LONG64);
    h->cpu->gpr[R_RBX] = UINT64_C(0x800000000000);
    h->cpu->gpr[R_RBP] = UINT64_C(0x800000000000);
    CODE(0x8b, 0x03); /* mov eax, [rbx] */
    g_assert_cmpint(ch_run(h, 1).vector, ==, EXC_GP);
    CODE(0x8b, 0x45, 0x00); /* mov eax, [rbp] */
    g_assert_cmpint(ch_run(h, 1).vector, ==, EXC_SS);
    CODE(0xff, 0xe3); /* jmp rbx: faults at the branch */
    CpuResult r = ch_run(h, 1);
    g_assert_cmpint(r.vector, ==, EXC_GP);
    assert_hex(h->cpu->rip, ==, 0x10000);
    h->cpu->gpr[R_RSP] = UINT64_C(0x800000000010);
    CODE(0x50); /* push rax */
    g_assert_cmpint(ch_run(h, 1).vector, ==, EXC_SS);
}

/* mov eax, [rip + disp] with displacements at both ends of 32 bits. */
static void test_rip_relative(void)
{
    ch_mode(h, CH_LONG64);
    CODE(0x8b, 0x05, 0xff, 0xff, 0xff, 0x7f);
    CpuResult r = ch_run(h, 1);
    g_assert_cmpint(r.vector, ==, EXC_PF);
    assert_hex(r.cr2, ==, 0x10006 + 0x7fffffffull);
    CODE(0x8d, 0x05, 0xfa, 0xff, 0xff, 0xff); /* lea eax, [rip - 6] */
    g_assert_cmpint(ch_run(h, 1).vector, ==, -1);
    assert_hex(h->cpu->gpr[R_RAX], ==, 0x10000);
}

/* rep movsb that spreads a pattern, one that runs into a hole, and one over itself backwards. */
static void test_rep(void)
{
    X86Cpu *cpu = h->cpu;
    ch_mode(h, CH_LONG64);
    memset(h->ram + 0x20000, 0, 0x4000);
    memcpy(h->ram + 0x20000, "ab", 2);
    cpu->gpr[R_RSI] = 0x20000;
    cpu->gpr[R_RDI] = 0x20002;
    cpu->gpr[R_RCX] = 0x2000;
    CODE(0xf3, 0xa4, 0xf4);
    ch_go(h, false);
    assert_hex(cpu->gpr[R_RCX], ==, 0);
    assert_hex(cpu->gpr[R_RDI], ==, 0x22002);
    assert_hex(h->ram[0x22001], ==, 'b');
    assert_hex(h->ram[0x22000], ==, 'a');
    assert_hex(h->ram[0x22002], ==, 0);

    set_pte_2m(1, 0);
    cpu->rip = 0x10000;
    cpu->vcpu.halted = false;
    cpu->gpr[R_RDI] = 0x1ff800;
    cpu->gpr[R_RCX] = 0x1000;
    cpu->gpr[R_RAX] = 0x55;
    CODE(0xf3, 0xaa, 0xf4);
    CpuResult r = ch_go(h, false);
    g_assert_cmpint(r.vector, ==, EXC_PF);
    assert_hex(r.cr2, ==, 0x200000);
    assert_hex(cpu->gpr[R_RDI], ==, 0x200000);
    assert_hex(cpu->gpr[R_RCX], ==, 0x800);
    assert_hex(cpu->rip, ==, 0x10000);
    assert_hex(h->ram[0x1fffff], ==, 0x55);

    for (unsigned i = 0; i < 8; i++) {
        h->ram[0x20000 + i] = (uint8_t)i;
    }
    cpu->gpr[R_RSI] = 0x20007;
    cpu->gpr[R_RDI] = 0x20009;
    cpu->gpr[R_RCX] = 8;
    CODE(0xfd, 0xf3, 0xa4, 0xfc, 0xf4);
    ch_go(h, false);
    static const uint8_t want[] = { 0, 1, 0, 1, 2, 3, 4, 5, 6, 7 };
    g_assert_cmpmem(h->ram + 0x20000, 10, want, 10);
}

/* Flags after each of a few pairs whose lazy forms differ, read by pushf. */
static void test_lazy_flags(void)
{
    static const struct { uint8_t code[8]; uint32_t want; } t[] = {
        { { 0xb0, 0x7f, 0x04, 0x01 }, FL_OF | FL_SF | FL_AF },                  /* mov al, 7f; add al, 1 */
        { { 0xb0, 0x00, 0x2c, 0x01 }, FL_CF | FL_SF | FL_AF | FL_PF },          /* sub al, 1 from 0 */
        { { 0xb0, 0x80, 0x2c, 0x01 }, FL_OF | FL_AF },                          /* 80 - 1 */
        { { 0xf9, 0xb0, 0xff, 0xfe, 0xc0 }, FL_CF | FL_ZF | FL_AF | FL_PF },    /* stc; inc keeps CF */
        { { 0xb0, 0x81, 0xd0, 0xe0 }, FL_CF | FL_OF },                          /* shl al, 1 */
        { { 0xb0, 0x01, 0xd0, 0xe8 }, FL_CF | FL_ZF | FL_PF },                  /* shr al, 1 */
        { { 0xf9, 0xb0, 0xff, 0x14, 0x00 }, FL_CF | FL_ZF | FL_AF | FL_PF },    /* adc al, 0 with carry */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(t); i++) {
        ch_mode(h, CH_LONG64);
        ch_load(h, 0x10000, (const uint8_t[]){ 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4 }, 9);
        size_t n = 8;
        while (t[i].code[n - 1] == 0 && n > 1 && !(i == 6 && n == 5)) {
            n--;
        }
        ch_load(h, 0x10000, t[i].code, n);
        g_assert_cmpint(ch_go(h, false).why, ==, EXIT_HALT);
        uint32_t mask = i == 4 || i == 5 ? FL_ARITH & ~FL_AF : FL_ARITH;
        assert_hex(x86_get_eflags(h->cpu) & mask, ==, t[i].want);
    }
}

static void test_real_mode(void)
{
    ch_mode(h, CH_REAL);
    X86Cpu *cpu = h->cpu;
    cpu->gpr[R_RBX] = 0xffff;
    CODE(0x8b, 0x07); /* mov ax, [bx] at ffff: beyond the limit */
    g_assert_cmpint(ch_run(h, 1).vector, ==, EXC_GP);
    CODE(0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, 0xe8, 0x00, 0x00, 0x58, 0xf4); /* mov eax; call next; pop ax; hlt */
    g_assert_cmpint(ch_go(h, false).why, ==, EXIT_HALT);
    assert_hex(cpu->gpr[R_RAX], ==, 0x12341009);
    assert_hex(cpu->gpr[R_RSP], ==, 0x8000);
}

static void test_single_step(void)
{
    ch_mode(h, CH_LONG64);
    x86_set_eflags(h->cpu, FL_TF, FL_TF);
    CODE(0x90, 0x90, 0xf4);
    CpuResult r = ch_go(h, false);
    g_assert_cmpint(r.vector, ==, EXC_DB);
    assert_hex(h->cpu->rip, ==, 0x10001);
    assert_hex(h->cpu->dr[6] & 0x4000, ==, 0x4000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    h = ch_new(8 << 20, NULL);
    g_test_add_func("/engine/loop", test_loop);
    g_test_add_func("/engine/smc/next-instruction", test_smc_next);
    g_test_add_func("/engine/smc/granules", test_smc_granule);
    g_test_add_func("/engine/smc/device", test_dma_smc);
    g_test_add_func("/engine/full", test_full);
    g_test_add_func("/engine/crossing", test_crossing);
    g_test_add_func("/engine/crossing-fault", test_crossing_fault);
    g_test_add_func("/engine/split-store", test_split_store);
    g_test_add_func("/engine/legality", test_legality);
    g_test_add_func("/engine/non-canonical", test_noncanonical);
    g_test_add_func("/engine/rip-relative", test_rip_relative);
    g_test_add_func("/engine/rep", test_rep);
    g_test_add_func("/engine/lazy-flags", test_lazy_flags);
    g_test_add_func("/engine/real-mode", test_real_mode);
    g_test_add_func("/engine/single-step", test_single_step);
    int r = g_test_run();
    ch_free(h);
    return r;
}

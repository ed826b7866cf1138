/* SPDX-License-Identifier: MIT
 * tests/cpu/test-avx.c - what the differential test cannot see of AVX: CR0, CR4 and XCR0, prefixes and modes in which VEX
 *   does not exist, XSAVE of the upper halves, what the table tells a translator.
 * Tests: target/x86/avx-mask.c (stores that fault), decode.c, xsave.c. What avx-fma.c, avx-fp.c, avx-move.c, avx-perm.c and
 * hostfp-fma.c compute is cpu-diff's.
 * Threads: none.
 */
#include "cpuharness.h"
#include "target/x86/decode.h"

enum { CODE = 0x10000, REAL_CODE = 0x1000, DATA = 0x4000 };
static CpuHarness *h;

static CpuResult step(CpuMode mode, const char *bytes, unsigned n)
{
    h->cpu->rip = mode == CH_REAL ? REAL_CODE : CODE;
    ch_load(h, h->cpu->rip, bytes, n);
    return ch_run(h, 1);
}
#define STEP(mode, s) step(mode, s, sizeof(s) - 1)
static void avx_on(CpuMode mode)
{
    ch_mode(h, mode);
    h->cpu->cr4 |= CR4_OSXSAVE | CR4_OSFXSR;
    h->cpu->xcr0 = 7;
    x86_update_mode(h->cpu);
}

#define VADDPS_YMM "\xc5\xf4\x58\xc2"     /* VADDPS ymm0, ymm1, ymm2 */
#define ANDN_EAX "\xc4\xe2\x70\xf2\xc2"   /* ANDN eax, ecx, edx: VEX, but not AVX */

/* SDM vol. 2A, table 2-14 and on: OSXSAVE and XCR0 before TS; EM and OSFXSR do not matter. */
static void test_gate(void)
{
    static const struct { uint64_t cr0, cr4, xcr0; int trap; } t[] = {
        { 0, CR4_OSXSAVE, 7, -1 },          { 0, 0, 7, EXC_UD },         { 0, CR4_OSXSAVE, 3, EXC_UD },
        { CR0_TS, CR4_OSXSAVE, 7, EXC_NM }, { CR0_TS, 0, 7, EXC_UD },    { CR0_TS, CR4_OSXSAVE, 3, EXC_UD },
        { CR0_EM, CR4_OSXSAVE, 7, -1 },
    };
    for (unsigned m = 0; m < 2; m++) {
        CpuMode mode = m ? CH_LONG64 : CH_PROT32;
        for (unsigned i = 0; i < G_N_ELEMENTS(t); i++) {
            ch_mode(h, mode);
            h->cpu->cr0 |= t[i].cr0;
            h->cpu->cr4 = (h->cpu->cr4 & ~(uint64_t)CR4_OSFXSR) | t[i].cr4;
            h->cpu->xcr0 = t[i].xcr0;
            x86_update_mode(h->cpu);
            g_assert_cmpint(STEP(mode, VADDPS_YMM).vector, ==, t[i].trap);
            g_assert_cmpint(STEP(mode, "\xc5\xfc\x77").vector, ==, t[i].trap); /* VZEROALL */
            g_assert_cmpint(STEP(mode, ANDN_EAX).vector, ==, -1);
        }
    }
}

static void test_modes_and_prefixes(void)
{
    avx_on(CH_REAL);
    g_assert_cmpint(STEP(CH_REAL, VADDPS_YMM).vector, ==, EXC_UD);
    g_assert_cmpint(STEP(CH_REAL, ANDN_EAX).vector, ==, EXC_UD);
    static const uint8_t far_ptr[4] = { 0x34, 0x12, 0x50, 0 };
    ch_load(h, DATA, far_ptr, 4);
    g_assert_cmpint(STEP(CH_REAL, "\xc5\x06\x00\x40").vector, ==, -1); /* LDS AX, [4000h] */
    g_assert_cmphex(h->cpu->gpr[R_RAX] & 0xffff, ==, 0x1234);
    g_assert_cmphex(h->cpu->seg[SEG_DS].sel, ==, 0x50);
    X86Features all = x86_all_features();
    X86Insn d;
    uint32_t vm86 = MODE_PE | MODE_VM86 | MODE_CPL3 | MODE_AVX_OK;
    g_assert_cmpint(x86_decode(vm86, &all, (const uint8_t *)VADDPS_YMM, 4, 0, &d), ==, DEC_UD);
    g_assert_cmpint(x86_decode(vm86, &all, (const uint8_t *)"\xc5\x06\x00\x40", 4, 0, &d), ==, DEC_OK);
    g_assert_cmpstr(x86_rows[d.row].name, ==, "LDS");
    avx_on(CH_PROT16);
    g_assert_cmpint(STEP(CH_PROT16, VADDPS_YMM).vector, ==, -1);
    avx_on(CH_PROT32);
    g_assert_cmpint(STEP(CH_PROT32, VADDPS_YMM).vector, ==, -1);
    avx_on(CH_LONG64);
    g_assert_cmpint(STEP(CH_LONG64, "\x66" VADDPS_YMM).vector, ==, EXC_UD);
    g_assert_cmpint(STEP(CH_LONG64, "\xf2" VADDPS_YMM).vector, ==, EXC_UD);
    g_assert_cmpint(STEP(CH_LONG64, "\xf3" VADDPS_YMM).vector, ==, EXC_UD);
    g_assert_cmpint(STEP(CH_LONG64, "\xf0" VADDPS_YMM).vector, ==, EXC_UD);
    g_assert_cmpint(STEP(CH_LONG64, "\x48" VADDPS_YMM).vector, ==, EXC_UD);
    g_assert_cmpint(STEP(CH_LONG64, "\x64" VADDPS_YMM).vector, ==, -1); /* segment and 67 are allowed */
    g_assert_cmpint(STEP(CH_LONG64, "\x67" VADDPS_YMM).vector, ==, -1);
    g_assert_cmpint(STEP(CH_LONG64, "\xc5\xf4\x28\xc2").vector, ==, EXC_UD); /* VMOVAPS has no second source */
}

static void fill(X86Cpu *cpu)
{
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned k = 0; k < 4; k++) {
            cpu->xmm[i].q[k] = 0x0101010101010101u * (4 * i + k + 1);
        }
    }
}

/* Outside 64-bit mode registers 8 to 15 are out of reach of VZEROALL, XSAVE and XRSTOR. */
static void test_upper_registers(void)
{
    X86Cpu *cpu = h->cpu;
    avx_on(CH_PROT32);
    fill(cpu);
    g_assert_cmpint(STEP(CH_PROT32, "\xc5\xf8\x77").vector, ==, -1);
    g_assert_cmphex(cpu->xmm[7].q[2] | cpu->xmm[7].q[3], ==, 0);
    g_assert_cmphex(cpu->xmm[7].q[1], !=, 0);
    g_assert_cmphex(cpu->xmm[8].q[2], !=, 0);
    g_assert_cmpint(STEP(CH_PROT32, "\xc5\xfc\x77").vector, ==, -1);
    g_assert_cmphex(cpu->xmm[7].q[0] | cpu->xmm[7].q[1], ==, 0);
    g_assert_cmphex(cpu->xmm[8].q[0], !=, 0);
}

static uint64_t word(unsigned at, unsigned n)
{
    uint64_t v = 0;
    memcpy(&v, h->ram + DATA + at, n);
    return v;
}
static uint64_t xinuse(void)
{
    h->cpu->gpr[R_RCX] = 1;
    g_assert_cmpint(STEP(CH_LONG64, "\x0f\x01\xd0").vector, ==, -1);
    return h->cpu->gpr[R_RAX];
}

/* SDM vol. 1, 13.4 to 13.12: component 2 at 576 in both formats; XGETBV(1); init and modified state. */
static void test_xsave(void)
{
    static const struct { const char *save; unsigned n; bool compact; } saves[] = {
        { "\x48\x0f\xae\x23", 4, false }, { "\x48\x0f\xae\x33", 4, false }, { "\x48\x0f\xc7\x23", 4, true },
    };
    X86Cpu *cpu = h->cpu;
    for (unsigned i = 0; i < G_N_ELEMENTS(saves); i++) {
        avx_on(CH_LONG64);
        fill(cpu);
        g_assert_cmphex(xinuse() & 6, ==, 6);
        X86Vec before[16];
        memcpy(before, cpu->xmm, sizeof(before));
        memset(h->ram + DATA, 0, 1024);
        cpu->gpr[R_RBX] = DATA;
        cpu->gpr[R_RAX] = 4; /* the upper halves alone */
        cpu->gpr[R_RDX] = 0;
        g_assert_cmpint(step(CH_LONG64, saves[i].save, saves[i].n).vector, ==, -1);
        g_assert_cmphex(word(512, 8), ==, 4);
        g_assert_cmphex(word(520, 8), ==, saves[i].compact ? 1ull << 63 | 4 : 0);
        g_assert_cmphex(word(160, 8), ==, 0);
        for (unsigned r = 0; r < 16; r++) {
            g_assert_cmpmem(h->ram + DATA + 576 + 16 * r, 16, &before[r].q[2], 16);
        }
        g_assert_cmphex(word(24, 4), ==, saves[i].compact ? 0 : 0x1f80); /* MXCSR goes with AVX in the standard format */
        memset(cpu->xmm, 0x55, sizeof(cpu->xmm));
        g_assert_cmpint(STEP(CH_LONG64, "\x48\x0f\xae\x2b").vector, ==, -1); /* XRSTOR */
        for (unsigned r = 0; r < 16; r++) {
            g_assert_cmphex(cpu->xmm[r].q[0], ==, 0x5555555555555555u);
            g_assert_cmpmem(&cpu->xmm[r].q[2], 16, &before[r].q[2], 16);
        }
        h->ram[DATA + 512] = 0; /* initial state */
        g_assert_cmpint(STEP(CH_LONG64, "\x48\x0f\xae\x2b").vector, ==, -1);
        g_assert_cmphex(cpu->xmm[9].q[2] | cpu->xmm[9].q[3], ==, 0);
        g_assert_cmphex(cpu->xmm[9].q[0], ==, 0x5555555555555555u);
        g_assert_cmphex(xinuse() & 6, ==, 2);
        cpu->gpr[R_RAX] = 4;
        h->ram[DATA + 576] = 0xee; /* in its initial state XSAVEOPT and XSAVEC leave the place alone, XSAVE writes it */
        g_assert_cmpint(step(CH_LONG64, saves[i].save, saves[i].n).vector, ==, -1);
        g_assert_cmphex(word(512, 8), ==, 0);
        g_assert_cmphex(word(576, 1), ==, i == 0 ? 0 : 0xee);
    }
    cpu->gpr[R_RCX] = 0;
    cpu->gpr[R_RDX] = 0;
    cpu->gpr[R_RAX] = 5; /* AVX without SSE */
    g_assert_cmpint(STEP(CH_LONG64, "\x0f\x01\xd1").vector, ==, EXC_GP);
    cpu->gpr[R_RAX] = 3;
    g_assert_cmpint(STEP(CH_LONG64, "\x0f\x01\xd1").vector, ==, -1);
    g_assert_cmpint(STEP(CH_LONG64, VADDPS_YMM).vector, ==, EXC_UD);
    cpu->gpr[R_RAX] = 7;
    g_assert_cmpint(STEP(CH_LONG64, "\x0f\x01\xd1").vector, ==, -1);
    g_assert_cmpint(STEP(CH_LONG64, VADDPS_YMM).vector, ==, -1);
}

/* Elements that are not selected do not fault, whatever lies there. */
static void test_mask_store(void)
{
    X86Cpu *cpu = h->cpu;
    uint64_t got;
    avx_on(CH_LONG64);
    fill(cpu);
    cpu->xmm[1].q[0] = cpu->xmm[1].q[1] = UINT64_MAX;
    cpu->xmm[1].q[2] = cpu->xmm[1].q[3] = 0;
    cpu->gpr[R_RBX] = 0x7ffffffffff0; /* the lower half is not mapped, the upper one not canonical */
    g_assert_cmpint(STEP(CH_LONG64, "\xc4\xe2\x75\x2e\x03").vector, ==, EXC_PF);
    cpu->xmm[1].q[0] = cpu->xmm[1].q[1] = 0;
    g_assert_cmpint(STEP(CH_LONG64, "\xc4\xe2\x75\x2e\x03").vector, ==, -1); /* nothing selected: no fault */
    cpu->xmm[1].q[3] = UINT64_MAX; /* a selected element beyond the canonical half */
    g_assert_cmpint(STEP(CH_LONG64, "\xc4\xe2\x75\x2e\x03").vector, ==, EXC_GP);
    cpu->gpr[R_RBX] = DATA;
    memset(h->ram + DATA, 0, 32);
    g_assert_cmpint(STEP(CH_LONG64, "\xc4\xe2\x75\x2e\x03").vector, ==, -1);
    memcpy(&got, h->ram + DATA + 24, 8);
    g_assert_cmphex(got, ==, cpu->xmm[0].q[3]);
    g_assert_cmphex(word(0, 8) | word(8, 8) | word(16, 8), ==, 0);
}

static const X86Row *row_of(const char *bytes, unsigned n, X86Insn *d)
{
    X86Features all = x86_all_features();
    uint32_t mode = MODE_PE | MODE_LMA | MODE_FLAT | MODE_CODE64 | MODE_AVX_OK;
    g_assert_cmpint(x86_decode(mode, &all, (const uint8_t *)bytes, n, 0, d), ==, DEC_OK);
    return &x86_rows[d->row];
}
#define ROW(s) row_of(s, sizeof(s) - 1, &d)
static void check_operand(const X86Row *r, unsigned i, unsigned role, unsigned access, const X86Insn *d, unsigned bytes)
{
    g_assert_cmpuint(r->opnd[i].role, ==, role);
    g_assert_cmpuint(r->opnd[i].access, ==, access);
    g_assert_cmpuint(x86_operand_bytes(r->opnd[i].size, d), ==, bytes);
}

/* The operands as a translator reads them. */
static void test_table(void)
{
    X86Insn d;
    const X86Row *r = ROW("\xc4\x63\x75\x4a\x03\x70"); /* VBLENDVPS ymm8, ymm1, [rbx], ymm7 */
    check_operand(r, 0, OPR_REG, OPA_W, &d, 32);
    check_operand(r, 1, OPR_VVVV, OPA_R, &d, 32);
    check_operand(r, 2, OPR_RM, OPA_R, &d, 32);
    check_operand(r, 3, OPR_IS4, OPA_R, &d, 32);
    g_assert_cmpuint(d.reg, ==, 8);
    g_assert_cmpuint(insn_vvvv(&d), ==, 1);
    g_assert_cmpuint(insn_is4(&d), ==, 7);
    g_assert_cmpuint(r->vex_l, ==, VL_SIZE);
    g_assert_cmpuint(r->vex_w, ==, VW_0);
    r = ROW("\xc4\xe2\xf1\xb9\xc2"); /* VFMADD231SD: L ignored, W fixed */
    check_operand(r, 0, OPR_REG, OPA_X, &d, 8);
    g_assert_cmpuint(r->vex_l, ==, VL_ANY);
    g_assert_cmpuint(r->vex_w, ==, VW_1);
    r = ROW("\xc5\xf9\x7f\x03"); /* VMOVDQA [rbx], xmm0 */
    check_operand(r, 0, OPR_RM, OPA_W, &d, 16);
    check_operand(r, 1, OPR_REG, OPA_R, &d, 16);
    g_assert_true(r->attrs & RA_ALIGN);
    r = ROW("\xc4\xe2\x7d\x32\x03"); /* VPMOVZXBQ ymm0, dword [rbx] */
    check_operand(r, 1, OPR_RM, OPA_R, &d, 4);
    g_assert_cmpuint(x86_operand_bytes(r->memsize, &d), ==, 4);
    r = ROW("\xc5\xff\x12\x03"); /* VMOVDDUP ymm0, [rbx] */
    check_operand(r, 1, OPR_RM, OPA_R, &d, 32);
    r = ROW("\xc4\xe2\xf5\x90\x04\xe3"); /* VPGATHERDQ ymm0, [rbx + xmm4 * 8], ymm1 */
    check_operand(r, 0, OPR_REG, OPA_X, &d, 32);
    check_operand(r, 1, OPR_RM, OPA_R, &d, 8);
    check_operand(r, 2, OPR_VVVV, OPA_X, &d, 32);
    g_assert_cmpuint(r->vsib, ==, 4);
    g_assert_cmpuint(d.index, ==, 4);
    r = ROW("\xc5\xf5\x72\xe2\x05"); /* VPSRAD ymm1, ymm2, 5 */
    check_operand(r, 0, OPR_VVVV, OPA_W, &d, 32);
    check_operand(r, 1, OPR_RM, OPA_R, &d, 32);
    g_assert_cmpuint(r->opnd[2].role, ==, OPR_IMM);
    r = ROW("\xc5\xfc\x77");
    g_assert_true(r->attrs & RA_IMPL);
    g_assert_cmpuint(d.len, ==, 3);
    g_assert_cmpuint(r->vex_l, ==, VL_1);
    r = ROW("\xc4\xe2\x73\xf6\xc2"); /* MULX */
    check_operand(r, 1, OPR_VVVV, OPA_W, &d, 4);
    g_assert_cmpuint(r->vex_w, ==, VW_SIZE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    h = ch_new(2 << 20, NULL);
    g_test_add_func("/cpu/avx/gate", test_gate);
    g_test_add_func("/cpu/avx/modes", test_modes_and_prefixes);
    g_test_add_func("/cpu/avx/upper-registers", test_upper_registers);
    g_test_add_func("/cpu/avx/xsave", test_xsave);
    g_test_add_func("/cpu/avx/mask-store", test_mask_store);
    g_test_add_func("/cpu/avx/table", test_table);
    int r = g_test_run();
    ch_free(h);
    return r;
}

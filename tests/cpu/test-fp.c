/* SPDX-License-Identifier: MIT
 * tests/cpu/test-fp.c - what the differential test cannot see of x87, MMX, SSE: CR0 and CR4, FERR#, the four layouts
 *   of the environment, XSAVE, and the portable AES and carry-less multiplication.
 * Threads: none.
 */
#include "cpuharness.h"
#include "target/x86/crypto.h"
#include "target/x86/x87.h"

enum { CODE = 0x10000, REAL_CODE = 0x1000, DATA = 0x4000 };
static CpuHarness *h;

static CpuResult step(CpuMode mode, const char *bytes, unsigned n)
{
    h->cpu->rip = mode == CH_REAL ? REAL_CODE : CODE;
    ch_load(h, h->cpu->rip, bytes, n);
    return ch_run(h, 1);
}
#define STEP(mode, s) step(mode, s, sizeof(s) - 1)
static void set_cr(uint64_t cr0_or, uint64_t cr4_and)
{
    h->cpu->cr0 |= cr0_or;
    h->cpu->cr4 &= cr4_and;
    x86_update_mode(h->cpu);
}

/* SDM volume 3, tables 12-1 and 13-1; WAIT looks at MP and TS. */
static void test_traps(void)
{
    static const struct { uint64_t cr0, cr4; int fadd, wait, paddb_mmx, addps; } t[] = {
        { 0, CR4_OSFXSR, -1, -1, -1, -1 },
        { CR0_TS, CR4_OSFXSR, EXC_NM, -1, EXC_NM, EXC_NM },
        { CR0_TS | CR0_MP, CR4_OSFXSR, EXC_NM, EXC_NM, EXC_NM, EXC_NM },
        { CR0_EM, CR4_OSFXSR, EXC_NM, -1, EXC_UD, EXC_UD },
        { CR0_EM | CR0_TS, CR4_OSFXSR, EXC_NM, -1, EXC_UD, EXC_UD },
        { 0, 0, -1, -1, -1, EXC_UD },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(t); i++) {
        ch_mode(h, CH_PROT32);
        x87_reset(h->cpu);
        set_cr(t[i].cr0, ~(uint64_t)CR4_OSFXSR | t[i].cr4);
        g_assert_cmpint(STEP(CH_PROT32, "\xd8\xc0").vector, ==, t[i].fadd);
        g_assert_cmpint(STEP(CH_PROT32, "\x9b").vector, ==, t[i].wait);
        g_assert_cmpint(STEP(CH_PROT32, "\x0f\xfc\xc1").vector, ==, t[i].paddb_mmx);
        g_assert_cmpint(STEP(CH_PROT32, "\x0f\x58\xc1").vector, ==, t[i].addps);
    }
}

static int ferr_level = -1;
static void on_ferr(void *opaque, bool level) { ferr_level = level; }

/* 1/0 with ZE unmasked: #MF at the next waiting instruction with NE, FERR# without; FNINIT takes it back. */
static void test_pending(void)
{
    for (unsigned ne = 0; ne < 2; ne++) {
        ch_mode(h, CH_PROT32);
        X86Cpu *cpu = h->cpu;
        set_cr(ne ? CR0_NE : 0, UINT64_MAX);
        x87_reset(cpu);
        cpu->ferr = on_ferr;
        ferr_level = -1;
        x87_load_control(cpu, X87_CW_INIT & ~X87_ZE);
        g_assert_cmpint(STEP(CH_PROT32, "\xd9\xee").vector, ==, -1); /* FLDZ */
        g_assert_cmpint(STEP(CH_PROT32, "\xd9\xe8").vector, ==, -1); /* FLD1 */
        g_assert_cmpint(STEP(CH_PROT32, "\xd8\xf1").vector, ==, -1); /* FDIV ST(1) */
        g_assert_cmphex(x87_status(cpu), ==, X87_ES | X87_B | X87_ZE | 6 << 11);
        g_assert_cmphex(x87_st(cpu, 0)->se, ==, 0x3fff);             /* refused */
        g_assert_cmphex(cpu->fpu.fop, ==, 0x0f1);
        g_assert_cmphex(cpu->fpu.fip, ==, CODE);
        g_assert_cmpint(ferr_level, ==, ne ? -1 : 1);
        g_assert_cmpint(STEP(CH_PROT32, "\xdf\xe0").vector, ==, -1); /* FNSTSW does not wait */
        g_assert_cmpint(STEP(CH_PROT32, "\x9b").vector, ==, ne ? EXC_MF : -1);
        g_assert_cmpint(STEP(CH_PROT32, "\x0f\x77").vector, ==, ne ? EXC_MF : -1);
        g_assert_cmpint(STEP(CH_PROT32, "\xdb\xe3").vector, ==, -1);
        g_assert_cmpint(ferr_level, ==, ne ? -1 : 0);
        g_assert_cmphex(x87_status(cpu), ==, 0);
        cpu->ferr = NULL;
    }
}

static uint32_t word(unsigned at, unsigned n)
{
    uint32_t v = 0;
    memcpy(&v, h->ram + DATA + at, n);
    return v;
}

/* SDM volume 1, figures 8-9 to 8-12. */
static void test_env(void)
{
    for (unsigned k = 0; k < 4; k++) {
        bool real = k < 2, wide = k & 1;
        ch_mode(h, real ? CH_REAL : CH_PROT32);
        X86Cpu *cpu = h->cpu;
        x87_reset(cpu);
        cpu->fpu.fip = 0x12345;
        cpu->fpu.fdp = 0x6789a;
        cpu->fpu.fcs = real ? 0x100 : 8;
        cpu->fpu.fds = real ? 0x200 : 16;
        cpu->fpu.fop = 0x5a5;
        cpu->fpu.tags = 0xfe;
        cpu->fpu.r[0] = (X86F80){ .sig = 1, .se = 0 }; /* denormal: special */
        cpu->gpr[R_RBX] = DATA;
        bool prefix = real == wide;
        CpuResult r = prefix ? (real ? STEP(CH_REAL, "\x66\xd9\x37") : STEP(CH_PROT32, "\x66\xd9\x33"))
                             : (real ? STEP(CH_REAL, "\xd9\x37") : STEP(CH_PROT32, "\xd9\x33"));
        g_assert_cmpint(r.vector, ==, -1);
        unsigned w = wide ? 4 : 2;
        uint32_t ip = real ? 0x13345 : 0x12345, dp = real ? 0x6989a : 0x6789a, hi = wide ? 0xffff0000u : 0;
        g_assert_cmphex(word(0, w), ==, (0x37f | hi));
        g_assert_cmphex(word(2 * w, w), ==, (0xfffe | hi));
        if (real) {
            g_assert_cmphex(word(3 * w, w), ==, ((ip & 0xffff) | hi));
            g_assert_cmphex(word(4 * w, w), ==, (ip >> 16 << 12 | 0x5a5));
            g_assert_cmphex(word(6 * w, w), ==, (dp >> 16 << 12));
        } else {
            g_assert_cmphex(word(3 * w, w), ==, (wide ? ip : ip & 0xffff));
            g_assert_cmphex(word(4 * w, w), ==, (8 | (wide ? 0x5a50000u : 0)));
            g_assert_cmphex(word(5 * w, w), ==, (wide ? dp : dp & 0xffff));
            g_assert_cmphex(word(6 * w, w), ==, (16 | hi));
        }
        g_assert_cmphex(cpu->fpu.cw & X87_EXC, ==, X87_EXC);
    }
}

/* #XM, or #UD without CR4.OSXMMEXCPT; the destination is kept, the flag is set. */
static void test_xm(void)
{
    for (unsigned os = 0; os < 2; os++) {
        ch_mode(h, CH_PROT32);
        X86Cpu *cpu = h->cpu;
        set_cr(0, os ? UINT64_MAX : ~(uint64_t)CR4_OSXMMEXCPT);
        cpu->mxcsr = 0x1f80 & ~(4u << 7);
        cpu->xmm[0] = (X86Vec){ .f32 = { 1, 2, 3, 4 } };
        cpu->xmm[1] = (X86Vec){ .f32 = { 1, 0, 3, 7 } };
        CpuResult r = STEP(CH_PROT32, "\x0f\x5e\xc1"); /* DIVPS */
        g_assert_cmpint(r.vector, ==, os ? EXC_XM : EXC_UD);
        g_assert_cmphex(cpu->mxcsr & 63, ==, 4);
        g_assert_cmpfloat(cpu->xmm[0].f32[3], ==, 4);
    }
}

/* XSAVE, everything cleared, XRSTOR: the same; then with XSTATE_BV = 0 the initial state. */
static void test_xsave(void)
{
    ch_mode(h, CH_LONG64);
    X86Cpu *cpu = h->cpu;
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->xcr0 = 3;
    x86_update_mode(cpu);
    x87_reset(cpu);
    for (unsigned i = 0; i < 8; i++) {
        cpu->fpu.r[i] = (X86F80){ .sig = (uint64_t)1 << 63 | i, .se = (uint16_t)(0x3fff + i) };
        cpu->xmm[8 + i].q[0] = i + 1;
    }
    cpu->fpu.top = 3;
    cpu->fpu.tags = 0x81;
    cpu->fpu.cw = 0x27f;
    cpu->mxcsr = 0x3fa0;
    X86Fpu fpu = cpu->fpu;
    X86Vec last = cpu->xmm[15];
    memset(h->ram + DATA, 0, 1024);
    cpu->gpr[R_RBX] = DATA;
    cpu->gpr[R_RAX] = 7;
    cpu->gpr[R_RDX] = 0;
    g_assert_cmpint(STEP(CH_LONG64, "\x48\x0f\xae\x23").vector, ==, -1);
    g_assert_cmphex(word(512, 4), ==, 3);
    memset(&cpu->fpu, 0, sizeof(cpu->fpu));
    memset(cpu->xmm, 0, sizeof(cpu->xmm));
    cpu->mxcsr = 0x1f80;
    g_assert_cmpint(STEP(CH_LONG64, "\x48\x0f\xae\x2b").vector, ==, -1);
    g_assert_cmpmem(&cpu->fpu, sizeof(fpu), &fpu, sizeof(fpu));
    g_assert_cmpmem(&cpu->xmm[15], 16, &last, 16);
    g_assert_cmphex(cpu->mxcsr, ==, 0x3fa0);
    memset(h->ram + DATA + 512, 0, 8);
    g_assert_cmpint(STEP(CH_LONG64, "\x48\x0f\xae\x2b").vector, ==, -1);
    g_assert_cmphex(cpu->fpu.tags, ==, 0xff);
    g_assert_cmphex(cpu->fpu.cw, ==, 0x37f);
    g_assert_cmphex(cpu->xmm[15].q[0], ==, 0);
    h->ram[DATA + 512] = 0x80; /* a component that XCR0 has not */
    g_assert_cmpint(STEP(CH_LONG64, "\x48\x0f\xae\x2b").vector, ==, EXC_GP);
    cpu->gpr[R_RBX] = DATA + 16;
    g_assert_cmpint(STEP(CH_LONG64, "\x48\x0f\xae\x23").vector, ==, EXC_GP);
    cpu->gpr[R_RCX] = 0;
    cpu->gpr[R_RAX] = 2; /* x87 must stay on */
    g_assert_cmpint(STEP(CH_LONG64, "\x0f\x01\xd1").vector, ==, EXC_GP);
}

/* FIPS 197, appendix B, round 1; and both implementations against each other. */
static void test_crypto(void)
{
    static const uint8_t start[16] = { 0x19, 0x3d, 0xe3, 0xbe, 0xa0, 0xf4, 0xe2, 0x2b, 0x9a, 0xc6, 0x8d, 0x2a,
                                       0xe9, 0xf8, 0x48, 0x08 };
    static const uint8_t key[16] = { 0xa0, 0xfa, 0xfe, 0x17, 0x88, 0x54, 0x2c, 0xb1, 0x23, 0xa3, 0x39, 0x39,
                                     0x2a, 0x6c, 0x76, 0x05 };
    static const uint8_t next[16] = { 0xa4, 0x9c, 0x7f, 0xf2, 0x68, 0x9f, 0x35, 0x2b, 0x6b, 0x5b, 0xea, 0x43,
                                      0x02, 0x6a, 0x50, 0x49 };
    X86Vec v = { 0 }, k = { 0 };
    memcpy(v.b, start, 16);
    memcpy(k.b, key, 16);
    x86_crypto_portable.aesenc(&v, &k);
    g_assert_cmpmem(v.b, 16, next, 16);
    for (unsigned i = 0; i < 2000; i++) {
        X86Vec a = { 0 }, b, c = { 0 };
        for (unsigned n = 0; n < 4; n++) {
            a.d[n] = (uint32_t)g_test_rand_int();
            c.d[n] = (uint32_t)g_test_rand_int();
        }
#define BOTH(fn)                                                                                            \
    b = a;                                                                                                  \
    x86_crypto.fn(&a, &c);                                                                                  \
    x86_crypto_portable.fn(&b, &c);                                                                         \
    g_assert_cmpmem(a.b, 16, b.b, 16);
        BOTH(aesenc)
        BOTH(aesenclast)
        BOTH(aesdec)
        BOTH(aesdeclast)
        uint64_t x = a.q[0], y = a.q[1];
        x86_crypto.clmul(&a, x, y);
        x86_crypto_portable.clmul(&b, x, y);
        g_assert_cmpmem(a.b, 16, b.b, 16);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    h = ch_new(2 << 20, NULL);
    g_test_add_func("/cpu/fp/traps", test_traps);
    g_test_add_func("/cpu/fp/pending", test_pending);
    g_test_add_func("/cpu/fp/env", test_env);
    g_test_add_func("/cpu/fp/xm", test_xm);
    g_test_add_func("/cpu/fp/xsave", test_xsave);
    g_test_add_func("/cpu/fp/crypto", test_crypto);
    int r = g_test_run();
    ch_free(h);
    return r;
}

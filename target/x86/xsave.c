/* SPDX-License-Identifier: MIT
 * target/x86/xsave.c - FXSAVE, FXRSTOR, the XSAVE family, XGETBV, XSETBV.
 * Models: Intel SDM volume 1, 10.5 and chapter 13, for the components x87, SSE, AVX and PKRU. FIP, FDP and FOP are saved
 *   always, as Intel does; AMD's processors save them only while an unmasked exception is pending.
 * Does not model: FFXSR; the modified optimisation of XSAVEOPT and XSAVES (only the init optimisation).
 * Threads: the vCPU's.
 */
#include "cpuid.h"
#include "sysint.h"
#include "x87.h"

enum { XC_X87 = 1, XC_SSE = 2, XC_AVX = 4, XC_PKRU = 1 << 9, AREA_LEGACY = 512, AREA_AVX = 576, AREA_SIZE = 832, AREA_PKRU = 2688,
       AT_MXCSR = 24, AT_ST = 32, AT_XMM = 160, AT_LEGACY_END = 416, AT_BV = 512, AT_COMP = 520,
       MXCSR_INIT = 0x1f80, MXCSR_MASK = 0xffff };

static void put(uint8_t *p, uint64_t v, unsigned n) { memcpy(p, &v, n); }
static uint64_t get(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}
static unsigned xmm_count(const X86Cpu *cpu) { return cpu->mode & MODE_CODE64 ? 16 : 8; }

static void store_range(X86Cpu *cpu, const X86Insn *d, uint64_t lin, const uint8_t *p, unsigned n)
{
    for (unsigned i = 0; i < n; i += 32) {
        st_n(cpu, d, lin + i, p + i, MIN(32u, n - i));
    }
}
static void load_range(X86Cpu *cpu, const X86Insn *d, uint64_t lin, uint8_t *p, unsigned n)
{
    for (unsigned i = 0; i < n; i += 32) {
        ld_n(cpu, d, lin + i, p + i, MIN(32u, n - i));
    }
}

/* ---- the parts of the image ---- */

static void build_x87(X86Cpu *cpu, const X86Insn *d, uint8_t *p)
{
    const X86Fpu *f = &cpu->fpu;
    memset(p, 0, AT_MXCSR);
    put(p, f->cw, 2);
    put(p + 2, x87_status(cpu), 2);
    p[4] = (uint8_t)~f->tags;
    put(p + 6, f->fop, 2);
    if ((cpu->mode & MODE_CODE64) && insn_osize(d) == 3) {
        put(p + 8, f->fip, 8);
        put(p + 16, f->fdp, 8);
    } else {
        put(p + 8, f->fip, 4);
        put(p + 12, f->fcs, 2);
        put(p + 16, f->fdp, 4);
        put(p + 20, f->fds, 2);
    }
    memset(p + AT_ST, 0, 128);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(p + AT_ST + 16 * i, x87_st(cpu, i), 10);
    }
}
/* Processors keep 57 bits of the pointers and show them sign-extended. */
static uint64_t address(uint64_t v) { return (uint64_t)((int64_t)(v << 7) >> 7); }
static void apply_x87(X86Cpu *cpu, const X86Insn *d, const uint8_t *p)
{
    X86Fpu *f = &cpu->fpu;
    f->cw = (uint16_t)((get(p, 2) & 0x1f3f) | 0x40);
    f->tags = (uint8_t)~p[4];
    f->fop = get(p + 6, 2) & 0x7ff;
    if ((cpu->mode & MODE_CODE64) && insn_osize(d) == 3) {
        f->fip = address(get(p + 8, 8));
        f->fdp = address(get(p + 16, 8));
        f->fcs = f->fds = 0;
    } else {
        f->fip = get(p + 8, 4);
        f->fcs = (uint16_t)get(p + 12, 2);
        f->fdp = get(p + 16, 4);
        f->fds = (uint16_t)get(p + 20, 2);
    }
    x87_load_status(cpu, (uint16_t)get(p + 2, 2));
    for (unsigned i = 0; i < 8; i++) {
        memcpy(x87_st(cpu, i), p + AT_ST + 16 * i, 10);
    }
}
static void build_mxcsr(const X86Cpu *cpu, uint8_t *p)
{
    put(p + AT_MXCSR, cpu->mxcsr, 4);
    put(p + AT_MXCSR + 4, MXCSR_MASK, 4);
}

/* Components not in their initial state (SDM volume 1, 13.6). */
static uint64_t in_use(const X86Cpu *cpu)
{
    const X86Fpu *f = &cpu->fpu;
    uint64_t bv = 0, regs = 0, lo = 0, hi = 0;
    for (unsigned i = 0; i < 8; i++) {
        regs |= f->r[i].sig | f->r[i].se;
    }
    if (f->cw != X87_CW_INIT || f->sw || f->top || f->tags != 0xff || f->fop || f->fip || f->fdp || f->fcs ||
        f->fds || regs) {
        bv |= XC_X87;
    }
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        lo |= cpu->xmm[i].q[0] | cpu->xmm[i].q[1];
        hi |= cpu->xmm[i].q[2] | cpu->xmm[i].q[3];
    }
    return bv | (lo ? XC_SSE : 0) | (hi ? XC_AVX : 0) | (cpu->pkru ? XC_PKRU : 0);
}
static void init_component(X86Cpu *cpu, unsigned comp)
{
    if (comp == XC_X87) {
        x87_reset(cpu);
        memset(cpu->fpu.r, 0, sizeof(cpu->fpu.r));
        return;
    }
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        uint64_t *q = cpu->xmm[i].q + (comp == XC_AVX ? 2 : 0);
        q[0] = q[1] = 0;
    }
}

/* ---- FXSAVE, FXRSTOR ---- */

OP(fxsave)
{
    uint8_t p[AREA_LEGACY];
    uint64_t lin = ea_lin(cpu, d, AREA_LEGACY, true);
    SYNC(d);
    if (lin & 15) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    unsigned n = AT_XMM + 16 * xmm_count(cpu);
    build_x87(cpu, d, p);
    build_mxcsr(cpu, p);
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        memcpy(p + AT_XMM + 16 * i, &cpu->xmm[i], 16);
    }
    x86_probe_write(cpu, lin, AREA_LEGACY, cpu->mmu);
    store_range(cpu, d, lin, p, n);
    NEXT;
}

OP(fxrstor)
{
    uint8_t p[AREA_LEGACY];
    uint64_t lin = ea_lin(cpu, d, AREA_LEGACY, false);
    SYNC(d);
    if (lin & 15) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    load_range(cpu, d, lin, p, AREA_LEGACY);
    uint32_t mx = (uint32_t)get(p + AT_MXCSR, 4);
    if (mx & ~(uint32_t)MXCSR_MASK) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    apply_x87(cpu, d, p);
    cpu->mxcsr = mx;
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        memcpy(&cpu->xmm[i], p + AT_XMM + 16 * i, 16);
    }
    NEXT;
}

/* ---- XSAVE and kin ---- */

static void xsave_enter(X86Cpu *cpu, const X86Insn *d)
{
    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        RAISE(EXC_UD);
    }
    if (cpu->cr0 & CR0_TS) {
        RAISE(EXC_NM);
    }
}
static uint64_t edx_eax(const X86Cpu *cpu) { return (uint32_t)cpu->gpr[R_RAX] | cpu->gpr[R_RDX] << 32; }
static uint64_t area_of(X86Cpu *cpu, const X86Insn *d, bool write)
{
    uint64_t lin = ea_lin(cpu, d, AREA_AVX, write);
    SYNC(d);
    if (lin & 63) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    return lin;
}

/* Where PKRU is: CPUID.0DH.9 in the standard form, behind the components there are in the compact one (13.4.3). */
static unsigned pkru_at(bool compact, uint64_t comp)
{
    return !compact ? AREA_PKRU : comp & XC_AVX ? AREA_SIZE : AREA_AVX;
}
/* which: components to write; compact: XSAVEC's layout and rules. */
static void save_area(X86Cpu *cpu, const X86Insn *d, bool init_opt, bool compact)
{
    xsave_enter(cpu, d);
    uint64_t lin = area_of(cpu, d, true), rfbm = edx_eax(cpu) & cpu->xcr0, used = in_use(cpu);
    if (compact && cpu->mxcsr != MXCSR_INIT) {
        used |= XC_SSE;
    }
    uint64_t write = init_opt ? rfbm & used : rfbm;
    uint8_t p[AREA_SIZE];
    x86_probe_write(cpu, lin, rfbm & XC_AVX ? AREA_SIZE : AREA_AVX, cpu->mmu);
    if (rfbm & XC_PKRU) {
        x86_probe_write(cpu, lin + pkru_at(compact, rfbm), 8, cpu->mmu);
    }
    uint64_t bv = compact ? 0 : ld64(cpu, d, lin + AT_BV) & ~rfbm;
    bv |= rfbm & used;
    if (write & XC_X87) {
        build_x87(cpu, d, p);
        store_range(cpu, d, lin, p, AT_MXCSR);
        store_range(cpu, d, lin + AT_ST, p + AT_ST, 128);
    }
    if (compact ? write & XC_SSE : rfbm & (XC_SSE | XC_AVX)) {
        build_mxcsr(cpu, p);
        store_range(cpu, d, lin + AT_MXCSR, p + AT_MXCSR, 8);
    }
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        if (write & XC_SSE) {
            st_n(cpu, d, lin + AT_XMM + 16 * i, &cpu->xmm[i].q[0], 16);
        }
        if (write & XC_AVX) {
            st_n(cpu, d, lin + AREA_AVX + 16 * i, &cpu->xmm[i].q[2], 16);
        }
    }
    if (write & XC_PKRU) {
        st64(cpu, d, lin + pkru_at(compact, rfbm), cpu->pkru);
    }
    st64(cpu, d, lin + AT_BV, bv);
    if (compact) {
        st64(cpu, d, lin + AT_COMP, rfbm | (uint64_t)1 << 63);
    }
}
OP(xsave) { save_area(cpu, d, false, false); NEXT; }
OP(xsaveopt) { save_area(cpu, d, true, false); NEXT; }
OP(xsavec) { save_area(cpu, d, true, true); NEXT; }
OP(xsaves) { save_area(cpu, d, true, true); NEXT; } /* IA32_XSS has no components here */

/* Everything is read and checked before anything changes (SDM volume 1, 13.8, 13.12). */
static void restore_area(X86Cpu *cpu, const X86Insn *d, bool supervisor)
{
    xsave_enter(cpu, d);
    uint64_t lin = area_of(cpu, d, false), rfbm = edx_eax(cpu) & cpu->xcr0;
    uint8_t p[AREA_SIZE];
    load_range(cpu, d, lin + AREA_LEGACY, p + AREA_LEGACY, 64);
    uint64_t bv = get(p + AT_BV, 8), comp = get(p + AT_COMP, 8);
    bool compact = comp >> 63;
    bool bad;
    if (compact) {
        comp &= ~((uint64_t)1 << 63);
        bad = !(supervisor || x86_has_feature(cpu, "xsavec")) || (comp & ~cpu->xcr0) || (bv & ~comp);
        for (unsigned i = AT_COMP + 8; i < AREA_AVX; i++) {
            bad |= p[i] != 0;
        }
    } else {
        bad = supervisor || (bv & ~cpu->xcr0) || comp || get(p + AT_COMP + 8, 8);
    }
    if (bad) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    uint64_t load = rfbm & bv;
    bool need_mxcsr = compact ? load & XC_SSE : rfbm & (XC_SSE | XC_AVX);
    load_range(cpu, d, lin, p, AT_LEGACY_END);
    if (load & XC_AVX) {
        load_range(cpu, d, lin + AREA_AVX, p + AREA_AVX, 16 * xmm_count(cpu));
    }
    uint32_t pkru = load & XC_PKRU ? ld32(cpu, d, lin + pkru_at(compact, comp)) : 0;
    uint32_t mx = (uint32_t)get(p + AT_MXCSR, 4);
    if (need_mxcsr && (mx & ~(uint32_t)MXCSR_MASK)) {
        x86_raise_err(cpu, EXC_GP, 0);
    }
    if (load & XC_X87) {
        apply_x87(cpu, d, p);
    } else if (rfbm & XC_X87) {
        init_component(cpu, XC_X87);
    }
    if (need_mxcsr) {
        cpu->mxcsr = mx;
    } else if (compact && (rfbm & XC_SSE)) {
        cpu->mxcsr = MXCSR_INIT;
    }
    for (unsigned comp_bit = XC_SSE; comp_bit <= XC_AVX; comp_bit <<= 1) {
        if (!(load & comp_bit)) {
            if (rfbm & comp_bit) {
                init_component(cpu, comp_bit);
            }
            continue;
        }
        unsigned from = comp_bit == XC_AVX ? AREA_AVX : AT_XMM, q = comp_bit == XC_AVX ? 2 : 0;
        for (unsigned i = 0; i < xmm_count(cpu); i++) {
            memcpy(&cpu->xmm[i].q[q], p + from + 16 * i, 16);
        }
    }
    if (rfbm & XC_PKRU) {
        x86_set_pkru(cpu, pkru);
    }
}
OP(xrstor) { restore_area(cpu, d, false); NEXT; }
OP(xrstors) { restore_area(cpu, d, true); NEXT; }

/* ---- XCR0 ---- */

OP(xgetbv)
{
    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        RAISE(EXC_UD);
    }
    uint32_t n = (uint32_t)cpu->gpr[R_RCX];
    if (n > 1 || (n == 1 && !x86_has_feature(cpu, "xgetbv1"))) {
        RAISE_ERR(EXC_GP, 0);
    }
    uint64_t v = n ? cpu->xcr0 & (in_use(cpu) | (cpu->mxcsr != MXCSR_INIT ? XC_SSE : 0)) : cpu->xcr0;
    cpu->gpr[R_RAX] = (uint32_t)v;
    cpu->gpr[R_RDX] = v >> 32;
    NEXT;
}

uint64_t x86_xcr0_allowed(const X86Cpu *cpu)
{
    return XC_X87 | XC_SSE | (x86_has_feature(cpu, "avx") ? XC_AVX : 0) | (x86_has_bit(cpu, X86_FEAT_PKU) ? XC_PKRU : 0);
}

/* AVX changes how code decodes: the unit ends here. */
OP(xsetbv)
{
    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        RAISE(EXC_UD);
    }
    uint64_t v = edx_eax(cpu), allowed = x86_xcr0_allowed(cpu);
    if (cpu->cpl != 0 || (uint32_t)cpu->gpr[R_RCX] != 0 || !(v & XC_X87) || (v & ~allowed) ||
        (v & (XC_SSE | XC_AVX)) == XC_AVX) {
        RAISE_ERR(EXC_GP, 0);
    }
    cpu->xcr0 = v;
    x86_update_mode(cpu);
    cpu->rip = insn_next_rip(cpu, d);
    END_UNIT;
}

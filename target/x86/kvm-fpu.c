/* SPDX-License-Identifier: MIT
 * target/x86/kvm-fpu.c - x87, SSE, AVX and PKRU state, and XCR0, between X86Cpu and KVM.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.42-4.45 (XSAVE, XCRS); Intel SDM volume 1, 13.4 (the
 *   area in standard form, components at the host's CPUID.0DH offsets), 10.5.1 (its legacy part, with
 *   64-bit pointers).
 * Does not model: components that X86Cpu has no room for: they stay in the image that KVM gave and go
 *   back with it.
 * Threads: the vCPU's own, or any while it is parked.
 */
#include "kvm.h"
#include "x87.h"

#include <cpuid.h>
#include <string.h>

enum { AT_FIP = 8, AT_FDP = 16, AT_MXCSR = 24, AT_ST = 32, AT_XMM = 160, AT_BV = 512, AT_AVX = 576 };
enum { XC_X87 = 1, XC_SSE = 2, XC_AVX = 4, XC_PKRU = 1 << 9 };

static unsigned component_at(unsigned n)
{
    uint32_t a, b, c, d;
    __cpuid_count(0xd, n, a, b, c, d);
    return b;
}

bool kvm_x86_fpu_init(X86Cpu *cpu, Error **errp)
{
    X86Kvm *k = cpu->kvm;
    int size = kvm_cap(cpu->vcpu.machine, KVM_CAP_XSAVE2);
    k->xsave2 = size > (int)sizeof(struct kvm_xsave);
    k->xsave_size = k->xsave2 ? (size_t)size : sizeof(struct kvm_xsave);
    k->xsave = g_try_malloc0(k->xsave_size);
    return k->xsave || error_set(errp, "vCPU %u: no memory for its extended state", cpu->vcpu.index);
}

static void pull_x87(X86Cpu *cpu, const uint8_t *p, bool used)
{
    X86Fpu *f = &cpu->fpu;
    uint16_t fcs = f->fcs, fds = f->fds;
    if (!used) { /* the initial state: SDM volume 1, table 8-1 after FNINIT */
        *f = (X86Fpu){ .cw = 0x37f, .tags = 0xff };
        return;
    }
    uint16_t sw;
    memcpy(&f->cw, p, 2);
    memcpy(&sw, p + 2, 2);
    f->top = sw >> 11 & 7;
    f->sw = (uint16_t)(sw & ~0x3800);
    f->tags = (uint8_t)~p[4];
    memcpy(&f->fop, p + 6, 2);
    f->fop &= 0x7ff;
    memcpy(&f->fip, p + AT_FIP, 8);
    memcpy(&f->fdp, p + AT_FDP, 8);
    bool same = f->fip == cpu->kvm->pushed_fip && f->fdp == cpu->kvm->pushed_fdp;
    f->fcs = same ? fcs : 0;
    f->fds = same ? fds : 0;
    for (unsigned i = 0; i < 8; i++) {
        X86F80 *r = &f->r[(f->top + i) & 7];
        memset(r, 0, sizeof(*r));
        memcpy(r, p + AT_ST + 16 * i, 10);
    }
}

static void push_x87(const X86Cpu *cpu, uint8_t *p)
{
    const X86Fpu *f = &cpu->fpu;
    uint16_t sw = x87_status(cpu);
    memcpy(p, &f->cw, 2);
    memcpy(p + 2, &sw, 2);
    p[4] = (uint8_t)~f->tags;
    p[5] = 0;
    memcpy(p + 6, &f->fop, 2);
    memcpy(p + AT_FIP, &f->fip, 8);
    memcpy(p + AT_FDP, &f->fdp, 8);
    memset(p + AT_ST, 0, 128);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(p + AT_ST + 16 * i, &f->r[(f->top + i) & 7], 10);
    }
    cpu->kvm->pushed_fip = f->fip;
    cpu->kvm->pushed_fdp = f->fdp;
}

static uint64_t image_bv(const X86Kvm *k)
{
    uint64_t bv;
    memcpy(&bv, k->xsave + AT_BV, 8);
    return bv;
}

static bool has_pkru(const X86Cpu *cpu)
{
    return x86_has_bit(cpu, X86_FEAT_PKU) && component_at(9) && component_at(9) + 4 <= cpu->kvm->xsave_size;
}

bool kvm_x86_pull_fpu(X86Cpu *cpu, Error **errp)
{
    X86Kvm *k = cpu->kvm;
    struct kvm_xcrs xcrs = { 0 };
    int r = kvm_vcpu_ioctl(&cpu->vcpu, k->xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, k->xsave);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_XSAVE", r, errp);
    }
    r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_GET_XCRS, &xcrs);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_GET_XCRS", r, errp);
    }
    uint64_t bv = image_bv(k);
    pull_x87(cpu, k->xsave, bv & XC_X87);
    memcpy(&cpu->mxcsr, k->xsave + AT_MXCSR, 4);
    for (unsigned i = 0; i < 16; i++) {
        memset(&cpu->xmm[i], 0, sizeof(cpu->xmm[i]));
        if (bv & XC_SSE) {
            memcpy(&cpu->xmm[i].q[0], k->xsave + AT_XMM + 16 * i, 16);
        }
        if (bv & XC_AVX) {
            memcpy(&cpu->xmm[i].q[2], k->xsave + AT_AVX + 16 * i, 16);
        }
    }
    cpu->pkru = 0;
    if ((bv & XC_PKRU) && has_pkru(cpu)) {
        memcpy(&cpu->pkru, k->xsave + component_at(9), 4);
    }
    for (unsigned i = 0; i < MIN(xcrs.nr_xcrs, (uint32_t)KVM_MAX_XCRS); i++) {
        if (xcrs.xcrs[i].xcr == 0) {
            cpu->xcr0 = xcrs.xcrs[i].value;
        }
    }
    return true;
}

static bool ymm_in_use(const X86Cpu *cpu)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < 16; i++) {
        any |= cpu->xmm[i].q[2] | cpu->xmm[i].q[3];
    }
    return any;
}

bool kvm_x86_push_fpu(X86Cpu *cpu, Error **errp)
{
    X86Kvm *k = cpu->kvm;
    struct kvm_xcrs xcrs = { .nr_xcrs = 1 };
    uint64_t bv = (image_bv(k) & ~(uint64_t)(XC_AVX | XC_PKRU)) | XC_X87 | XC_SSE;
    push_x87(cpu, k->xsave);
    memcpy(k->xsave + AT_MXCSR, &cpu->mxcsr, 4);
    bool ymm = ymm_in_use(cpu);
    bv |= ymm ? XC_AVX : 0;
    for (unsigned i = 0; i < 16; i++) {
        memcpy(k->xsave + AT_XMM + 16 * i, &cpu->xmm[i].q[0], 16);
        if (ymm) {
            memcpy(k->xsave + AT_AVX + 16 * i, &cpu->xmm[i].q[2], 16);
        }
    }
    if (cpu->pkru && has_pkru(cpu)) {
        bv |= XC_PKRU;
        memcpy(k->xsave + component_at(9), &cpu->pkru, 4);
    }
    memcpy(k->xsave + AT_BV, &bv, 8);
    int r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_XSAVE, k->xsave);
    if (r < 0) {
        return kvm_x86_failed(cpu, "KVM_SET_XSAVE", r, errp);
    }
    xcrs.xcrs[0].value = cpu->xcr0;
    r = kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_XCRS, &xcrs);
    return r < 0 ? kvm_x86_failed(cpu, "KVM_SET_XCRS", r, errp) : true;
}

/* SPDX-License-Identifier: MIT
 * target/x86/x87env.c - x87 control and environment: FLDCW, FNSTSW, FNSTENV, FNSAVE, FNINIT, WAIT and kin.
 * Models: Intel SDM volume 1, 8.1.8 to 8.1.10 (the four environment layouts), volume 3, 23.2 (real mode).
 * Does not model: FDISI, FENI, FSETPM beyond what processors since the 387 do (nothing).
 * Threads: the vCPU's.
 */
#include "x87.h"

void x87_load_control(X86Cpu *cpu, uint16_t cw)
{
    cpu->fpu.cw = (cw & 0x1f3f) | 0x40;
    x87_signal(cpu);
}

void x87_load_status(X86Cpu *cpu, uint16_t sw)
{
    X86Fpu *f = &cpu->fpu;
    f->top = sw >> 11 & 7;
    /* ES keeps its old value for x87_signal() to see the edge */
    f->sw = (uint16_t)((sw & ~(X87_ES | X87_B | 0x3800)) | (f->sw & X87_ES));
    x87_signal(cpu);
}

void x87_reset(X86Cpu *cpu)
{
    X86Fpu *f = &cpu->fpu;
    f->cw = X87_CW_INIT;
    f->sw &= X87_ES;
    x87_signal(cpu);
    f->sw = 0;
    f->top = 0;
    f->tags = 0xff;
    f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
}

/* SDM volume 1, 8.1.7: two bits a physical register: valid, zero, special, empty. */
uint16_t x87_full_tags(const X86Cpu *cpu)
{
    uint16_t t = 0;
    for (unsigned i = 0; i < 8; i++) {
        const X86F80 *r = &cpu->fpu.r[i];
        unsigned exp = r->se & 0x7fff, tag = 0;
        if (cpu->fpu.tags >> i & 1) {
            tag = 3;
        } else if (exp == 0 && r->sig == 0) {
            tag = 1;
        } else if (exp == 0 || exp == 0x7fff || !(r->sig >> 63)) {
            tag = 2;
        }
        t |= (uint16_t)(tag << (2 * i));
    }
    return t;
}

void x87_load_full_tags(X86Cpu *cpu, uint16_t tags)
{
    cpu->fpu.tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        if ((tags >> (2 * i) & 3) == 3) {
            cpu->fpu.tags |= (uint8_t)(1u << i);
        }
    }
}

static bool real_layout(const X86Cpu *cpu) { return !(cpu->mode & MODE_PE) || (cpu->mode & MODE_VM86); }

/* Builds the 14- or 28-byte environment; returns its size. */
static unsigned env_build(const X86Cpu *cpu, uint8_t *p, bool wide)
{
    const X86Fpu *f = &cpu->fpu;
    uint32_t w[7] = { f->cw, x87_status(cpu), x87_full_tags(cpu) };
    if (real_layout(cpu)) {
        uint32_t ip = (uint32_t)f->fip + ((uint32_t)f->fcs << 4);
        uint32_t dp = (uint32_t)f->fdp + ((uint32_t)f->fds << 4);
        w[3] = ip & 0xffff;
        w[4] = (ip >> 16 << 12) | f->fop;
        w[5] = dp & 0xffff;
        w[6] = dp >> 16 << 12;
        if (wide) {
            w[3] |= 0xffff0000u;
            w[5] |= 0xffff0000u;
        }
    } else {
        w[3] = (uint32_t)f->fip;
        w[4] = wide ? f->fcs | (uint32_t)f->fop << 16 : f->fcs;
        w[5] = (uint32_t)f->fdp;
        w[6] = wide ? f->fds | 0xffff0000u : f->fds;
    }
    for (unsigned i = 0; i < 7; i++) {
        if (wide) {
            uint32_t v = i < 3 ? w[i] | 0xffff0000u : w[i];
            memcpy(p + 4 * i, &v, 4);
        } else {
            memcpy(p + 2 * i, &w[i], 2);
        }
    }
    return wide ? 28 : 14;
}

static void env_apply(X86Cpu *cpu, const uint8_t *p, bool wide)
{
    X86Fpu *f = &cpu->fpu;
    uint32_t w[7] = { 0 };
    for (unsigned i = 0; i < 7; i++) {
        memcpy(&w[i], p + (wide ? 4 : 2) * i, wide ? 4 : 2);
    }
    f->cw = (w[0] & 0x1f3f) | 0x40;
    x87_load_full_tags(cpu, (uint16_t)w[2]);
    if (real_layout(cpu)) {
        f->fip = (w[3] & 0xffff) | (w[4] >> 12 << 16);
        f->fop = w[4] & 0x7ff;
        f->fdp = (w[5] & 0xffff) | (w[6] >> 12 << 16);
        f->fcs = f->fds = 0;
        if (!wide) {
            f->fip &= 0xfffff;
            f->fdp &= 0xfffff;
        }
    } else {
        f->fip = wide ? w[3] : w[3] & 0xffff;
        f->fcs = w[4] & 0xffff;
        f->fop = wide ? w[4] >> 16 & 0x7ff : 0;
        f->fdp = wide ? w[5] : w[5] & 0xffff;
        f->fds = w[6] & 0xffff;
    }
    x87_load_status(cpu, (uint16_t)w[1]);
}

static bool env_wide(const X86Insn *d) { return (d->flags & I_OSIZE) >> I_OSIZE_SHIFT != 1; }

OP(fnstenv)
{
    uint8_t buf[28];
    unsigned n = env_build(cpu, buf, env_wide(d));
    uint64_t lin = ea_lin(cpu, d, n, true);
    SYNC(d);
    x86_probe_write(cpu, lin, n, cpu->mmu);
    st_n(cpu, d, lin, buf, n);
    x87_load_control(cpu, cpu->fpu.cw | X87_EXC);
    NEXT;
}

OP(fldenv)
{
    X87_ENTER;
    uint8_t buf[28];
    unsigned n = env_wide(d) ? 28 : 14;
    ld_n(cpu, d, ea_lin(cpu, d, n, false), buf, n);
    env_apply(cpu, buf, env_wide(d));
    NEXT;
}

OP(fnsave)
{
    uint8_t buf[108];
    unsigned n = env_build(cpu, buf, env_wide(d));
    for (unsigned i = 0; i < 8; i++) {
        memcpy(buf + n + 10 * i, x87_st(cpu, i), 10);
    }
    n += 80;
    uint64_t lin = ea_lin(cpu, d, n, true);
    SYNC(d);
    x86_probe_write(cpu, lin, n, cpu->mmu);
    st_n(cpu, d, lin, buf, MIN(n, 64));
    st_n(cpu, d, lin + 64, buf + 64, n - 64);
    x87_reset(cpu);
    NEXT;
}

OP(frstor)
{
    X87_ENTER;
    uint8_t buf[108];
    bool wide = env_wide(d);
    unsigned n = wide ? 108 : 94;
    uint64_t lin = ea_lin(cpu, d, n, false);
    ld_n(cpu, d, lin, buf, 64);
    ld_n(cpu, d, lin + 64, buf + 64, n - 64);
    env_apply(cpu, buf, wide);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(x87_st(cpu, i), buf + n - 80 + 10 * i, 10);
    }
    NEXT;
}

OP(fldcw)
{
    X87_ENTER;
    x87_load_control(cpu, ld16(cpu, d, ea_lin(cpu, d, 2, false)));
    NEXT;
}

OP(fnstcw)
{
    st16(cpu, d, ea_lin(cpu, d, 2, true), cpu->fpu.cw);
    NEXT;
}

OP(fnstsw_m16)
{
    st16(cpu, d, ea_lin(cpu, d, 2, true), x87_status(cpu));
    NEXT;
}

OP(fnstsw_ax)
{
    cpu->gpr[R_RAX] = (cpu->gpr[R_RAX] & ~(uint64_t)0xffff) | x87_status(cpu);
    NEXT;
}

OP(fnclex)
{
    X86Fpu *f = &cpu->fpu;
    f->sw &= (uint16_t)~(X87_EXC | X87_SF);
    x87_signal(cpu);
    NEXT;
}

OP(fninit)
{
    x87_reset(cpu);
    NEXT;
}

/* FNENI, FNDISI, FNSETPM: of the 8087 and 80287, without effect since. */
OP(fn_ignored)
{
    NEXT;
}

/* WAIT: #NM only when MP and TS are both set (EM does not matter). */
OP(fwait)
{
    if (G_UNLIKELY((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))) {
        RAISE(EXC_NM);
    }
    X87_ENTER;
    NEXT;
}

/* SPDX-License-Identifier: MIT
 * target/x86/t1-thunk.c - the code between C and translated code, written once into the code cache: entering, leaving,
 * calling a T0 function, loading and saving vector registers. Register map: t1.h. Calls follow the System V ABI.
 * Threads: the vCPU's thread.
 */
#include "t1.h"
#include "t1-exec.h"

#define TR(member) h_gs(offsetof(X86Cpu, tr1.member))
static const uint8_t saved[] = { 3, 5, 12, 13, 14, 15 }; /* callee-saved: RBX RBP R12-R15 */

static void push(Asm *a, unsigned r)
{
    if (r >= 8) {
        e8(a, 0x41);
    }
    e8(a, 0x50 + (r & 7));
}

static void pop(Asm *a, unsigned r)
{
    if (r >= 8) {
        e8(a, 0x41);
    }
    e8(a, 0x58 + (r & 7));
}

static void guest_regs(Asm *a, bool load)
{
    for (unsigned n = 0; n < 12; n++) {
        if (load) {
            e_load(a, t1_hreg(n), t1_gpr_mem(n));
        } else {
            e_store(a, t1_gpr_mem(n), t1_hreg(n));
        }
    }
}

static void call_c(Asm *a, const void *fn)
{
    e_mov_ri(a, H_RAX, (uint64_t)(uintptr_t)fn);
    e8(a, 0xff);
    e8(a, 0xd0);
}

static void xmm_move(Asm *a, unsigned n, bool load, bool avx)
{
    HOp m = h_gs(offsetof(X86Cpu, xmm) + 32 * n);
    if (avx) { /* VMOVDQU */
        e_vex(a, false, true, 2, 1, 0, load ? 0x6f : 0x7f, n, m);
    } else { /* MOVUPS */
        e_op(a, E_0F, load ? 0x10 : 0x11, n, m);
    }
}

static void cmp_byte_zero(Asm *a, HOp m)
{
    e_op(a, 0, 0x80, 7, m);
    e8(a, 0);
}

/* Subroutine: vector registers to X86Cpu, MXCSR as C wants it. */
static uint8_t *make_save_vec(Asm *a, bool avx)
{
    uint8_t *at = a->p;
    for (unsigned n = 0; n < 16; n++) {
        xmm_move(a, n, false, avx);
    }
    e_op(a, E_0F, 0xae, 3, h_gs(offsetof(X86Cpu, mxcsr)));
    e_op(a, E_0F, 0xae, 2, TR(host_mxcsr));
    if (avx) {
        e_bytes(a, "\xc5\xf8\x77", 3); /* VZEROUPPER */
    }
    e_op(a, 0, 0xc6, 0, TR(vec_live));
    e8(a, 0);
    e8(a, 0xc3);
    return at;
}

static uint8_t *make_load_vec(Asm *a, bool avx)
{
    uint8_t *at = a->p;
    for (unsigned n = 0; n < 16; n++) {
        xmm_move(a, n, true, avx);
    }
    e_op(a, E_0F, 0xae, 2, h_gs(offsetof(X86Cpu, mxcsr)));
    e_op(a, 0, 0xc6, 0, TR(vec_live));
    e8(a, 1);
    e8(a, 0xc3);
    return at;
}

static void save_vec_if_live(Asm *a, const uint8_t *save_vec)
{
    cmp_byte_zero(a, TR(vec_live));
    uint8_t *skip = e_jcc(a, CC_E);
    e_call_to(a, save_vec);
    e_patch(skip, a->p);
}

/* T0_: the T1Rec. Calls fn(cpu, rec); goes on behind the call that led here, or leaves translated code. */
static uint8_t *make_exec(Asm *a, const void *fn, bool flags, bool vec, const uint8_t *save, const uint8_t *load, const uint8_t *leave)
{
    uint8_t *at = a->p;
    guest_regs(a, false);
    save_vec_if_live(a, save);
    e_store(a, TR(shadow_rsp), H_RSP);
    e_load(a, H_RSP, TR(host_rsp));
    e_load(a, H_RDI, TR(self));
    e_mov_rr(a, H_RSI, T0_);
    call_c(a, fn);
    e_load(a, H_RSP, TR(shadow_rsp));
    e_op(a, 0, 0x85, H_RAX, h_reg(H_RAX));
    e_patch(e_jcc(a, CC_NE), leave);
    if (vec) {
        e_call_to(a, load);
    }
    guest_regs(a, true);
    if (flags) {
        e_op(a, 0, 0xff, 6, TR(efl)); /* PUSH */
        e8(a, 0x9d);                  /* POPFQ */
    }
    e8(a, 0xc3);
    return at;
}

static void make_enter(Asm *a)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(saved); i++) {
        push(a, saved[i]);
    }
    e_alu_ri(a, true, 5, h_reg(H_RSP), 8);
    e_store(a, TR(host_rsp), H_RSP);
    e_mov_rr(a, T0_, H_RSI);
    e_load(a, H_RSP, TR(shadow_base));
    guest_regs(a, true);
    e_op(a, 0, 0xff, 4, h_reg(T0_));
}

/* State is in X86Cpu: back to t1_enter's caller. */
static uint8_t *make_leave(Asm *a, const uint8_t *save)
{
    uint8_t *at = a->p;
    save_vec_if_live(a, save);
    e_load(a, H_RSP, TR(host_rsp));
    e_alu_ri(a, true, 0, h_reg(H_RSP), 8);
    for (unsigned i = G_N_ELEMENTS(saved); i-- > 0; ) {
        pop(a, saved[i]);
    }
    e8(a, 0xc3);
    return at;
}

static uint8_t *make_load_flags(Asm *a, const uint8_t *save, const uint8_t *load)
{
    uint8_t *at = a->p;
    guest_regs(a, false);
    cmp_byte_zero(a, TR(vec_live));
    e_op(a, E_0F, 0x95, H_RBX, h_reg(H_RBX)); /* SETNE BL: RBX survives the call */
    save_vec_if_live(a, save);
    e_store(a, TR(shadow_rsp), H_RSP);
    e_load(a, H_RSP, TR(host_rsp));
    e_load(a, H_RDI, TR(self));
    call_c(a, (const void *)t1_load_flags);
    e_load(a, H_RSP, TR(shadow_rsp));
    e_op(a, 0, 0x84, H_RBX, h_reg(H_RBX));
    uint8_t *skip = e_jcc(a, CC_E);
    e_call_to(a, load);
    e_patch(skip, a->p);
    guest_regs(a, true);
    e_op(a, 0, 0xff, 6, TR(efl));
    e8(a, 0x9d);
    e8(a, 0xc3);
    return at;
}

void t1_make_thunks(T1State *s)
{
    Asm asm_ = { s->cache.hot }, *a = &asm_;
    ptrdiff_t off = s->cache.rx_off;
    bool avx = __builtin_cpu_supports("avx");
    s->thunk.enter = (void (*)(X86Cpu *, const void *))(void *)(a->p + off);
    make_enter(a);
    uint8_t *save = make_save_vec(a, avx), *load = make_load_vec(a, avx), *leave = make_leave(a, save);
    s->thunk.exit_link = a->p + off;
    e_store(a, TR(link), T1_);
    s->thunk.exit = a->p + off;
    guest_regs(a, false);
    e_jmp_to(a, leave);
    s->thunk.indirect = a->p + off;
    e_store(a, h_gs(offsetof(X86Cpu, rip)), T1_);
    e_jmp_to(a, s->thunk.exit - off);
    /* T1_: where to leave to when a vector exception is unmasked: then only T0 runs vector code. */
    s->thunk.load_vec = a->p + off;
    e_load32(a, T0_, h_gs(offsetof(X86Cpu, mxcsr)));
    e_op(a, 0, 0xf7, 2, h_reg(T0_)); /* NOT */
    e_op(a, 0, 0xf7, 0, h_reg(T0_)); /* TEST */
    e32(a, 0x1f80);
    e_patch(e_jcc(a, CC_NE), s->thunk.indirect - off);
    e_jmp_to(a, load);
    s->thunk.exec = make_exec(a, (const void *)t1_exec, false, false, save, load, leave) + off;
    s->thunk.exec_flags = make_exec(a, (const void *)t1_exec_flags, true, false, save, load, leave) + off;
    s->thunk.exec_vec = make_exec(a, (const void *)t1_exec_vec, false, true, save, load, leave) + off;
    s->thunk.exec_flags_vec = make_exec(a, (const void *)t1_exec_flags_vec, true, true, save, load, leave) + off;
    s->thunk.load_flags = make_load_flags(a, save, load) + off;
    s->thunk_end = (uint8_t *)(((uintptr_t)a->p + 63) & ~(uintptr_t)63);
    s->cache.hot = s->thunk_end;
}

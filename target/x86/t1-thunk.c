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

/* Subroutine: vector registers to X86Cpu, MXCSR as C wants it. Upper halves stay there in code that may not use AVX. */
static uint8_t *make_save_vec(Asm *a, bool avx)
{
    uint8_t *at = a->p, *low = NULL;
    if (avx) {
        e_op(a, 0, 0x80, 7, TR(vec_live));
        e8(a, 2);
        low = e_jcc(a, CC_NE);
    }
    for (int all = avx; all >= 0; all--) {
        if (!all && low) {
            e_patch(low, a->p);
        }
        for (unsigned n = 0; n < 16; n++) {
            xmm_move(a, n, false, all);
        }
        e_op(a, E_0F, 0xae, 3, h_gs(offsetof(X86Cpu, mxcsr)));
        e_op(a, E_0F, 0xae, 2, TR(host_mxcsr));
        if (all) {
            e_bytes(a, "\xc5\xf8\x77", 3); /* VZEROUPPER */
        }
        e_op(a, 0, 0xc6, 0, TR(vec_live));
        e8(a, 0);
        e8(a, 0xc3);
    }
    return at;
}

static uint8_t *make_load_vec(Asm *a, bool all)
{
    uint8_t *at = a->p;
    for (unsigned n = 0; n < 16; n++) {
        xmm_move(a, n, true, all);
    }
    e_op(a, E_0F, 0xae, 2, h_gs(offsetof(X86Cpu, mxcsr)));
    e_op(a, 0, 0xc6, 0, TR(vec_live));
    e8(a, all ? 2 : 1);
    e8(a, 0xc3);
    return at;
}

/* On C's stack, general and vector registers saved; keeps callee-saved registers. */
static void save_fpu_if_live(Asm *a)
{
    cmp_byte_zero(a, TR(fpu_live));
    uint8_t *skip = e_jcc(a, CC_E);
    e_load(a, H_RDI, TR(self));
    call_c(a, (const void *)t1_fpu_save);
    e_patch(skip, a->p);
}

static void save_vec_if_live(Asm *a, const uint8_t *save_vec)
{
    cmp_byte_zero(a, TR(vec_live));
    uint8_t *skip = e_jcc(a, CC_E);
    e_call_to(a, save_vec);
    e_patch(skip, a->p);
}

/* T0_: the T1Rec. Calls fn(cpu, rec); goes on behind the call that led here, or leaves translated code. load: NULL, or
 * what loads the vectors. */
static uint8_t *make_exec(Asm *a, const void *fn, bool flags, const uint8_t *save, const uint8_t *load, const uint8_t *ended)
{
    uint8_t *at = a->p;
    guest_regs(a, false);
    save_vec_if_live(a, save);
    e_store(a, TR(shadow_rsp), H_RSP);
    e_load(a, H_RSP, TR(host_rsp));
    save_fpu_if_live(a);
    e_load(a, H_RDI, TR(self));
    e_mov_rr(a, H_RSI, T0_);
    call_c(a, fn);
    e_load(a, H_RSP, TR(shadow_rsp));
    e_op(a, 0, 0x85, H_RAX, h_reg(H_RAX));
    e_patch(e_jcc(a, CC_NE), ended);
    if (load) {
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

/* RAX: what t1_exec() said, not 0. 2: on to tr1.next. */
static uint8_t *make_ended(Asm *a, const uint8_t *leave)
{
    uint8_t *at = a->p;
    e_alu_ri(a, false, 7, h_reg(H_RAX), 2);
    e_patch(e_jcc(a, CC_NE), leave);
    e_load(a, H_RSP, TR(shadow_base));
    guest_regs(a, true);
    e_load(a, T1_, h_gs(offsetof(X86Cpu, rip)));
    e_op(a, 0, 0xff, 4, TR(next));
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
    e_load(a, T1_, h_gs(offsetof(X86Cpu, rip)));
    e_op(a, 0, 0xff, 4, h_reg(T0_));
}

/* State is in X86Cpu: back to t1_enter's caller. */
static uint8_t *make_leave(Asm *a, const uint8_t *save)
{
    uint8_t *at = a->p;
    save_vec_if_live(a, save);
    e_load(a, H_RSP, TR(host_rsp));
    save_fpu_if_live(a);
    e_alu_ri(a, true, 0, h_reg(H_RSP), 8);
    for (unsigned i = G_N_ELEMENTS(saved); i-- > 0; ) {
        pop(a, saved[i]);
    }
    e8(a, 0xc3);
    return at;
}

/* EFLAGS as the instruction left them whose operands are in cc_dst and cc_src; only T1_ is lost. */
static void make_flag_cases(T1State *s, X86Cpu *cpu, Asm *a)
{
    static const uint8_t ops[][2] = { { 0x2a, 0x02 }, { 0x02, 0x2a }, { 0, 0 }, { 0, 0x3a }, { 0, 0x84 } }; /* undo, do */
    for (unsigned op = CC_T1; op <= CC_T1_LAHF; op++) {
        unsigned size = op & 3, f = size == 3 ? E_W : size == 1 ? E_66 : 0;
        const uint8_t *o = ops[MIN((op - CC_T1) >> 2, 4u)];
        cpu->tr1.flag_case[op - CC_T1] = a->p + s->cache.rx_off;
        if (op == CC_T1_LAHF) {
            e_mov_rr(a, T1_, H_RAX);
            e_load(a, H_RAX, TR(lahf));
            e_bytes(a, "\x04\x7f\x9e", 3); /* ADD AL, 7fh: OF = bit 0; SAHF */
            e_mov_rr(a, H_RAX, T1_);
        } else {
            e_load(a, T1_, h_gs(offsetof(X86Cpu, cc_dst)));
            if (!o[1]) {
                e_op(a, f, 0x84 | (size != 0), T1_, h_reg(T1_));
            }
            for (unsigned k = 0; k < 2; k++) {
                if (o[k]) {
                    e_op(a, f, o[k] | (size != 0), T1_, h_gs(offsetof(X86Cpu, cc_src)));
                }
            }
        }
        e8(a, 0xc3);
    }
}

static uint8_t *make_load_flags(Asm *a, const uint8_t *save, const uint8_t *const load[3])
{
    uint8_t *at = a->p;
    e_load32(a, T1_, h_gs(offsetof(X86Cpu, cc_op)));
    e_alu_ri(a, false, 5, h_reg(T1_), CC_T1);
    e_alu_ri(a, false, 7, h_reg(T1_), CC_T1_LAHF - CC_T1);
    uint8_t *slow = e_jcc(a, CC_A);
    e_op(a, 0, 0xff, 4, (HOp){ .base = H_NONE, .index = T1_, .scale = 3, .mem = true, .gs = true, .disp = (int32_t)offsetof(X86Cpu, tr1.flag_case) });
    e_patch(slow, a->p);
    guest_regs(a, false);
    e_op(a, E_0F, 0xb6, H_RBX, TR(vec_live)); /* RBX survives the call; x87 is left alone */
    save_vec_if_live(a, save);
    e_store(a, TR(shadow_rsp), H_RSP);
    e_load(a, H_RSP, TR(host_rsp));
    e_load(a, H_RDI, TR(self));
    call_c(a, (const void *)t1_load_flags);
    e_load(a, H_RSP, TR(shadow_rsp));
    for (int live = 1; live <= 2; live++) {
        e_alu_ri(a, false, 7, h_reg(H_RBX), live);
        uint8_t *skip = e_jcc(a, CC_NE);
        e_call_to(a, load[live]);
        e_patch(skip, a->p);
    }
    guest_regs(a, true);
    e_op(a, 0, 0xff, 6, TR(efl));
    e8(a, 0x9d);
    e8(a, 0xc3);
    return at;
}

/* T1_: where to leave to when an exception is unmasked: then only T0 runs such code. */
static uint8_t *make_checked_load_vec(Asm *a, const uint8_t *load, const uint8_t *indirect)
{
    uint8_t *at = a->p;
    e_load32(a, T0_, h_gs(offsetof(X86Cpu, mxcsr)));
    e_op(a, 0, 0xf7, 2, h_reg(T0_)); /* NOT */
    e_op(a, 0, 0xf7, 0, h_reg(T0_)); /* TEST */
    e32(a, 0x1f80);
    e_patch(e_jcc(a, CC_NE), indirect);
    e_jmp_to(a, load);
    return at;
}

/* The same for x87. The vectors are not live afterwards. */
static uint8_t *make_load_fpu(Asm *a, const uint8_t *save, const uint8_t *indirect)
{
    uint8_t *at = a->p;
    _Static_assert(offsetof(X86Fpu, sw) == offsetof(X86Fpu, cw) + 2, "both in one load");
    e_load32(a, T0_, h_gs(offsetof(X86Cpu, fpu.cw)));
    e_alu_ri(a, false, 6, h_reg(T0_), 0x3f);
    e_op(a, 0, 0xf7, 0, h_reg(T0_));
    e32(a, 0x80003f); /* all masks, and ES clear */
    e_patch(e_jcc(a, CC_NE), indirect);
    guest_regs(a, false);
    save_vec_if_live(a, save);
    e_store(a, TR(shadow_rsp), H_RSP);
    e_load(a, H_RSP, TR(host_rsp));
    e_load(a, H_RDI, TR(self));
    call_c(a, (const void *)t1_fpu_load);
    e_load(a, H_RSP, TR(shadow_rsp));
    guest_regs(a, true);
    e8(a, 0xc3);
    return at;
}

void t1_make_thunks(X86Cpu *cpu)
{
    T1State *s = cpu->t1;
    Asm asm_ = { s->cache.fixed }, *a = &asm_;
    ptrdiff_t off = s->cache.rx_off;
    bool avx = __builtin_cpu_supports("avx");
    s->thunk.enter = (void (*)(X86Cpu *, const void *))(void *)(a->p + off);
    make_enter(a);
    uint8_t *save = make_save_vec(a, avx), *low = make_load_vec(a, false), *all = avx ? make_load_vec(a, true) : low;
    const uint8_t *const load[3] = { NULL, low, all };
    uint8_t *leave = make_leave(a, save), *ended = make_ended(a, leave);
    make_flag_cases(s, cpu, a);
    s->thunk.exit_link = a->p + off;
    e_store(a, TR(link), T1_);
    s->thunk.exit = a->p + off;
    guest_regs(a, false);
    e_jmp_to(a, leave);
    uint8_t *indirect = a->p;
    s->thunk.indirect = indirect + off;
    e_store(a, h_gs(offsetof(X86Cpu, rip)), T1_);
    e_jmp_to(a, s->thunk.exit - off);
    s->thunk.no_return = a->p + off; /* a return to the address that marks the empty shadow stack */
    e_load(a, H_RSP, TR(shadow_base));
    e_jmp_to(a, indirect);
    s->thunk.jump = a->p + off; /* to the address in T1_ */
    e_patch(t1_emit_jc_find(a), indirect);
    e_op(a, 0, 0xff, 4, h_gs_idx(T0_, offsetof(X86Cpu, tr1.jc) + 8));
    s->thunk.stale = a->p + off; /* the entry of the address in T1_ leads to code that is no more */
    t1_emit_jc_slot(a);
    e_store_imm32(a, true, h_gs_idx(T0_, offsetof(X86Cpu, tr1.jc)), UINT32_MAX);
    e_jmp_to(a, indirect);
    for (unsigned vec = 1; vec <= 2; vec++) {
        s->thunk.load_vec[vec] = make_checked_load_vec(a, load[vec], indirect) + off;
    }
    s->thunk.load_fpu = make_load_fpu(a, save, indirect) + off;
    for (unsigned k = 0; k < 12; k++) {
        unsigned flags = k & 1, fpu = k >> 1 & 1, vec = k >> 2;
        const void *fn = (const void *)t1_exec_fns[flags][(vec ? T1S_VEC : 0) | (fpu ? T1S_FPU : 0)];
        s->thunk.exec[flags][vec][fpu] = make_exec(a, fn, flags, save, load[vec], ended) + off;
    }
    s->thunk.load_flags = make_load_flags(a, save, load) + off;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned w = 0; w < 2; w++) {
            for (unsigned i = 0; i < TLB_WINDOWS; i++) {
                s->thunk.window[m][w][i] = a->p + off;
                t1_make_window(a, m, w, i);
            }
        }
    }
    g_assert(a->p <= s->cache.fixed + s->cache.reserve);
}

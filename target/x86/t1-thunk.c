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

/* All state into X86Cpu, then fn(cpu, T0_); the shadow stack is back afterwards, ZF = 1: the result was 0. */
static void exec(Asm *a, const void *fn, const uint8_t *save)
{
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
}

/* T0_: the T1Rec. Goes on behind the call that led here, or leaves translated code. load: NULL, or what loads the vectors. */
static uint8_t *make_exec(Asm *a, const void *fn, const uint8_t *save, const uint8_t *load, const uint8_t *ended)
{
    uint8_t *at = a->p;
    exec(a, fn, save);
    e_patch(e_jcc(a, CC_NE), ended);
    if (load) {
        e_call_to(a, load);
    }
    guest_regs(a, true);
    e8(a, 0xc3);
    return at;
}

/* Behind t1_side_exec(). It goes on by RET, wrongly predicted once, but then the host's idea of who returns where is right again. */
static uint8_t *make_resume(Asm *a, bool flags, const uint8_t *load)
{
    uint8_t *at = a->p;
    if (load) {
        e_call_to(a, load);
    }
    guest_regs(a, true);
    if (flags) {
        e_op(a, 0, 0xff, 6, TR(efl)); /* PUSH */
        e8(a, 0x9d);                  /* POPFQ */
    }
    e_load(a, T1_, h_gs(offsetof(X86Cpu, rip)));
    e_op(a, 0, 0xff, 6, TR(next));
    e8(a, 0xc3);
    return at;
}

/* Side paths call this: what they leave behind on the stack is the address of their record. The result takes it in T0_. */
static uint8_t *make_side(Asm *a, T1Thunks *k, ptrdiff_t off, const uint8_t *save, const uint8_t *ended)
{
    k->side = a->p + off;
    pop(a, T0_);
    uint8_t *at = a->p;
    exec(a, (const void *)t1_side_exec, save);
    e_patch(e_jcc(a, CC_NE), ended);
    e_op(a, 0, 0xff, 4, TR(resume));
    return at;
}

/* The same behind a look-up that missed, see e_lookup(): T1_ is the page, T0_ 32 times the entry's number. The jump to where it
 * begins follows the call; then the record. */
static uint8_t *make_fill_side(Asm *a, const uint8_t *fill, const uint8_t *side)
{
    uint8_t *at = a->p;
    e_shift_ri(a, false, 5, T0_, 2);
    e_call_to(a, fill);
    uint8_t *no = e_jcc(a, CC_NE);
    e8(a, 0xc3);
    e_patch(no, a->p);
    pop(a, T0_);
    e_alu_ri(a, true, 0, h_reg(T0_), 5);
    e_jmp_to(a, side);
    return at;
}

/* T1_: a target that the jump cache has not got, T0_: the record of the instruction, which raises when it is not canonical. */
static uint8_t *make_indirect_side(Asm *a, bool la57, const uint8_t *lookup, const uint8_t *side)
{
    uint8_t *at = a->p;
    e_mov_rr(a, T2_, T1_);
    e_shift_ri(a, true, 7, T2_, la57 ? 56 : 47);
    e_alu_ri(a, true, 0, h_reg(T2_), 1);
    e_alu_ri(a, true, 7, h_reg(T2_), 1);
    e_patch(e_jcc(a, CC_BE), lookup);
    e_jmp_to(a, side);
    return at;
}

/* RAX: what t1-exec.c said, not 0. 2: on to tr1.next. */
static uint8_t *make_ended(Asm *a, const uint8_t *leave)
{
    uint8_t *at = a->p;
    e_alu_ri(a, false, 7, h_reg(H_RAX), 2);
    e_patch(e_jcc(a, CC_NE), leave);
    e_load(a, H_RSP, TR(shadow_start));
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
    e_load(a, H_RSP, TR(shadow_start));
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
    for (unsigned op = CC_T1; op < CC_T1_END; op++) {
        unsigned size = op & 3, f = size == 3 ? E_W : size == 1 ? E_66 : 0;
        const uint8_t *o = ops[MIN((op - CC_T1) >> 2, 4u)];
        cpu->tr1.flag_case[op - CC_T1] = a->p + s->cache.rx_off;
        if (op == CC_T1_OVF) { /* CF and OF when src is not 0 */
            e_load(a, T1_, h_gs(offsetof(X86Cpu, cc_src)));
            e_op(a, E_W, 0xf7, 3, h_reg(T1_)); /* NEG: CF when it was not 0 */
            e_op(a, E_W, 0x19, T1_, h_reg(T1_)); /* SBB: -1 or 0 */
            e_op(a, 0, 0x69, T1_, h_reg(T1_)); /* IMUL of 32 bits by a number whose negative does not fit */
            e32(a, 0x80000000u);
        } else if (op == CC_T1_LAHF) {
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
    e_alu_ri(a, false, 7, h_reg(T1_), CC_T1_END - 1 - CC_T1);
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

/* T1_: an address that is not where jc[] has its place for it: in jc2[]? Then to jc[], and there. */
static uint8_t *make_lookup(Asm *a, const uint8_t *indirect)
{
    uint8_t *at = a->p, *hit;
    const size_t jc = offsetof(X86Cpu, tr1.jc), jc2 = offsetof(X86Cpu, tr1.jc2);
    _Static_assert(T1_JC2_WAYS == 2 && sizeof(X86JumpTarget) == 16, "the shifts below");
    e_mov_rr(a, T2_, T1_); /* t1_jc2_set() */
    e_shift_ri(a, true, 5, T2_, 12);
    e_op(a, 0, 0x69, T2_, h_reg(T2_)); /* IMUL */
    e32(a, T1_JC2_FACTOR);
    e_shift_ri(a, false, 5, T2_, 32 - T1_JC2_PAGE_BITS);
    e_shift_ri(a, false, 4, T2_, T1_JC2_NEAR_BITS);
    e_mov_rr(a, T0_, T1_);
    e_shift_ri(a, false, 5, T0_, 6);
    e_op(a, 0, 0x33, T0_, h_reg(T1_));
    e_alu_ri(a, false, 4, h_reg(T0_), T1_JC2_NEAR - 1);
    e_op(a, 0, 0x0b, T2_, h_reg(T0_));
    e_shift_ri(a, false, 4, T2_, 5);
    e_mov_rr(a, T0_, T1_);
    e_op(a, E_W, 0x33, T0_, TR(salt));
    e_op(a, E_W, 0x3b, T0_, h_gs_idx(T2_, jc2));
    hit = e_jcc(a, CC_E);
    e_alu_ri(a, false, 0, h_reg(T2_), 16);
    e_op(a, E_W, 0x3b, T0_, h_gs_idx(T2_, jc2));
    e_patch(e_jcc(a, CC_NE), indirect);
    e_patch(hit, a->p);
    e_load(a, T2_, h_gs_idx(T2_, jc2 + 8));
    t1_emit_jc_slot(a);
    e_op(a, E_W, 0x33, T1_, TR(salt));
    e_store(a, h_gs_idx(T0_, jc), T1_);
    e_store(a, h_gs_idx(T0_, jc + 8), T2_);
    e_op(a, E_W, 0x33, T1_, TR(salt));
    e_op(a, 0, 0xff, 4, h_reg(T2_));
    return at;
}

/* fn(cpu, T1_, n, m): what may change are the registers that C may change, and RBX; T0_ to T2_ stay. Its result is in RAX. */
static void call_light(Asm *a, const void *fn, unsigned n, unsigned m, const uint8_t *save, const uint8_t *const load[3])
{
    e_op(a, E_0F, 0xb6, H_RBX, TR(vec_live)); /* RBX survives the call; x87 is left alone */
    save_vec_if_live(a, save);
    e_store(a, TR(shadow_rsp), H_RSP);
    e_load(a, H_RSP, TR(host_rsp));
    e_load(a, H_RDI, TR(self));
    e_mov_rr(a, H_RSI, T1_);
    e_mov_ri(a, H_RDX, n);
    e_mov_ri(a, H_RCX, m);
    call_c(a, fn);
    e_load(a, H_RSP, TR(shadow_rsp));
    for (int live = 1; live <= 2; live++) {
        e_alu_ri(a, false, 7, h_reg(H_RBX), live);
        uint8_t *skip = e_jcc(a, CC_NE);
        e_call_to(a, load[live]);
        e_patch(skip, a->p);
    }
}

/* The time-stamp counter into EDX:EAX; keeps all else but EFLAGS. */
static uint8_t *make_rdtsc(Asm *a, const uint8_t *save, const uint8_t *const load[3])
{
    static const uint8_t kept[] = { H_RCX, H_RBX, H_RSI, H_RDI, 8, 9, 10, 11 };
    uint8_t *at = a->p;
    for (unsigned i = 0; i < sizeof(kept); i++) {
        e_store(a, t1_gpr_mem(kept[i]), kept[i]);
    }
    call_light(a, (const void *)x86_read_tsc, 0, 0, save, load);
    e_mov_rr(a, H_RDX, H_RAX);
    e_shift_ri(a, true, 5, H_RDX, 32);
    e_mov_rr32(a, H_RAX, H_RAX);
    for (unsigned i = 0; i < sizeof(kept); i++) {
        e_load(a, kept[i], t1_gpr_mem(kept[i]));
    }
    e8(a, 0xc3);
    return at;
}

/* Subroutine of the windows' subroutines. T1_: a page, T0_: 8 times the number of its entry, or of the one before when the access
 * crosses pages. ZF = 1: the page is in the TLB now. All registers stay. */
static uint8_t *make_fill(Asm *a, unsigned mmu, bool write, const uint8_t *save, const uint8_t *const load[3])
{
    static const uint8_t kept[] = { H_RAX, H_RCX, H_RDX, H_RBX, H_RSI, H_RDI, 8, 9, 10, 11 }; /* C may change them; RBX: below */
    uint8_t *at = a->p;
    e_store(a, t1_gpr_mem(H_RAX), H_RAX);
    e_mov_rr(a, H_RAX, T1_);
    e_shift_ri(a, false, 5, H_RAX, 9);
    e_op(a, 0, 0x33, H_RAX, h_reg(T0_));
    e_op(a, 0, 0xf7, 0, h_reg(H_RAX)); /* TEST */
    e32(a, (TLB_SIZE - 1) << 3);
    e_load(a, H_RAX, t1_gpr_mem(H_RAX));
    uint8_t *one = e_jcc(a, CC_E);
    e8(a, 0xc3);
    e_patch(one, a->p);
    for (unsigned i = 1; i < sizeof(kept); i++) {
        e_store(a, t1_gpr_mem(kept[i]), kept[i]);
    }
    call_light(a, (const void *)tlb_fill_quietly, write, mmu, save, load);
    e_bytes(a, "\x3c\x01", 2); /* CMP AL, 1 */
    for (unsigned i = 0; i < sizeof(kept); i++) {
        e_load(a, kept[i], t1_gpr_mem(kept[i]));
    }
    e8(a, 0xc3);
    return at;
}

#define CPU(member) h_gs(offsetof(X86Cpu, member))

/* A segment register becomes flat: its base has no meaning in 64-bit code and is what SYSCALL and SYSRET make it. */
static void put_segment(Asm *a, unsigned seg, HOp limit_attr, HOp sel)
{
    size_t at = offsetof(X86Cpu, seg) + seg * sizeof(X86Seg);
    _Static_assert(offsetof(X86Seg, attr) == offsetof(X86Seg, limit) + 4, "both in one move");
    e_store_imm32(a, true, h_gs(at + offsetof(X86Seg, base)), 0);
    e_load(a, T0_, limit_attr);
    e_store(a, h_gs(at + offsetof(X86Seg, limit)), T0_);
    e_load32(a, T0_, sel);
    e_op(a, E_66, 0x89, T0_, h_gs(at + offsetof(X86Seg, sel)));
}

/* The beginnings: what must go the T0 function's way comes back to the caller. SYSCALL: T0_: the next instruction, T2_: EFLAGS. */
static void transition_syscall(Asm *a, uint8_t **no)
{
    e_op(a, 0, 0xf7, 0, h_reg(T2_)); /* TEST: alignment checks are on, perhaps */
    e32(a, FL_AC);
    no[0] = e_jcc(a, CC_NE);
    e_load32(a, T1_, TR(trans[0].generation));
    e_op(a, 0, 0x3b, T1_, TR(gen[0]));
    no[1] = e_jcc(a, CC_NE);
    e_mov_rr(a, H_RCX, T0_);
    e_mov_rr(a, 11, T2_);
    e_op(a, 0, 0x23, T2_, TR(trans[0].fl_keep));
}

static void transition_sysret(Asm *a, uint8_t **no)
{
    e_mov_rr(a, T0_, H_RCX);
    e_shift_ri(a, true, 5, T0_, 47);
    no[0] = e_jcc(a, CC_NE);
    e_mov_rr32(a, T2_, 11);
    e_op(a, 0, 0xf7, 0, h_reg(T2_));
    e32(a, FL_TF | FL_IOPL | FL_NT | FL_AC | FL_VIF | FL_VIP);
    no[1] = e_jcc(a, CC_NE);
    e_alu_ri(a, false, 7, CPU(vcpu.irq_pending), 0);
    no[2] = e_jcc(a, CC_NE);
    e_load32(a, T1_, TR(trans[1].generation));
    e_op(a, 0, 0x3b, T1_, TR(gen[1]));
    no[3] = e_jcc(a, CC_NE);
    e_alu_ri(a, false, 4, h_reg(T2_), FL_ARITH | FL_IF | FL_DF | FL_ID);
}

/* SYSCALL, SYSRET: op_syscall() and op_sysret() for what X86Transition notes. T1_: the generation of the code that follows. */
static uint8_t *make_transition(Asm *a, bool ret, const uint8_t *lookup)
{
    uint8_t *at = a->p, *no[4] = { 0 };
    const size_t jc = offsetof(X86Cpu, tr1.jc);
    ret ? transition_sysret(a, no) : transition_syscall(a, no);
    e_load(a, T0_, CPU(t0));
    e_store32(a, h_mem(T0_, offsetof(T0State, generation)), T1_);
    e_mov_rr32(a, T0_, T2_);
    e_alu_ri(a, false, 4, h_reg(T0_), FL_ARITH);
    e_store(a, CPU(cc_src), T0_);
    e_store_imm32(a, false, CPU(cc_op), CC_FLAGS);
    e_alu_ri(a, false, 4, h_reg(T2_), (int32_t)~FL_ARITH);
    e_alu_ri(a, false, 1, h_reg(T2_), 2);
    e_store32(a, CPU(eflags), T2_);
    put_segment(a, SEG_CS, TR(trans[ret].cs_limit_attr), TR(trans[ret].cs_sel));
    put_segment(a, SEG_SS, TR(trans[ret].ss_limit_attr), TR(trans[ret].ss_sel));
    e_load32(a, T0_, TR(trans[ret].to));
    e_store32(a, CPU(mode), T0_);
    e_load32(a, T0_, TR(trans[ret].mmu));
    e_op(a, E_REX, 0x88, T0_, CPU(mmu));
    e_op(a, 0, 0xc6, 0, CPU(cpl));
    e8(a, ret ? 3 : 0);
    e_load(a, T0_, TR(trans[ret].salt));
    e_store(a, TR(salt), T0_);
    e_load(a, H_RSP, TR(trans[ret].shadow_start));
    for (unsigned k = 0; k < 2; k++) {
        e_load(a, T2_, TR(shadow_base[k]));
        e_store(a, TR(shadow_saved[k]), T2_);
    }
    ret ? e_mov_rr(a, T1_, H_RCX) : e_load(a, T1_, TR(trans[0].rip));
    e_patch(t1_emit_jc_find(a), lookup);
    e_op(a, 0, 0xff, 4, h_gs_idx(T0_, jc + 8));
    for (unsigned i = 0; i < G_N_ELEMENTS(no); i++) {
        if (no[i]) {
            e_patch(no[i], a->p);
        }
    }
    e8(a, 0xc3);
    return at;
}

void t1_make_thunks(X86Cpu *cpu)
{
    T1State *s = cpu->t1;
    Asm asm_ = { .p = s->cache.fixed, .low = s->low }, *a = &asm_;
    ptrdiff_t off = s->cache.rx_off;
    bool avx = __builtin_cpu_supports("avx");
    uint8_t *from = a->p;
    s->thunk.enter = (void (*)(X86Cpu *, const void *))(void *)(a->p + off);
    make_enter(a);
    uint8_t *save = make_save_vec(a, avx), *low = make_load_vec(a, false), *all = avx ? make_load_vec(a, true) : low;
    const uint8_t *const load[3] = { NULL, low, all };
    uint8_t *leave = make_leave(a, save), *ended = make_ended(a, leave);
    make_flag_cases(s, cpu, a);
    s->thunk.exit_link = a->p + off; /* called; T1_: where to, by a return pad */
    pop(a, T0_);
    e_store(a, TR(link), T0_);
    e_store(a, h_gs(offsetof(X86Cpu, rip)), T1_);
    s->thunk.exit = a->p + off;
    guest_regs(a, false);
    e_jmp_to(a, leave);
    uint8_t *indirect = a->p;
    s->thunk.indirect = indirect + off;
    e_store(a, h_gs(offsetof(X86Cpu, rip)), T1_);
    e_jmp_to(a, s->thunk.exit - off);
    s->thunk.no_return = a->p + off; /* a return to the address that marks the empty shadow stack */
    e_load(a, H_RSP, TR(shadow_start));
    e_jmp_to(a, indirect);
    t1_perf_thunk(cpu, "enter, leave", from, a->p);
    from = a->p;
    s->thunk.lookup = make_lookup(a, indirect) + off;
    s->thunk.jump = a->p + off; /* to the address in T1_ */
    e_patch(t1_emit_jc_find(a), s->thunk.lookup - off);
    e_op(a, 0, 0xff, 4, h_gs_idx(T0_, offsetof(X86Cpu, tr1.jc) + 8));
    s->thunk.stale = a->p + off; /* the entry of the address in T1_ leads to code that is no more */
    e_op(a, 0, 0xc6, 0, TR(stale));
    e8(a, 1);
    e_jmp_to(a, indirect);
    t1_perf_thunk(cpu, "lookup", from, a->p);
    from = a->p;
    s->thunk.rdtsc = make_rdtsc(a, save, load) + off;
    for (unsigned ret = 0; ret < 2; ret++) {
        s->thunk.transition[ret] = make_transition(a, ret, s->thunk.lookup - off) + off;
    }
    t1_perf_thunk(cpu, "transition", from, a->p);
    from = a->p;
    for (unsigned vec = 1; vec <= 2; vec++) {
        s->thunk.load_vec[vec] = make_checked_load_vec(a, load[vec], indirect) + off;
    }
    s->thunk.load_fpu = make_load_fpu(a, save, indirect) + off;
    for (unsigned k = 0; k < 6; k++) {
        unsigned fpu = k & 1, vec = k >> 1;
        const void *fn = (const void *)t1_exec_fns[(vec ? T1S_VEC : 0) | (fpu ? T1S_FPU : 0)];
        s->thunk.exec[vec][fpu] = make_exec(a, fn, save, load[vec], ended) + off;
        s->thunk.resume[fpu][vec] = make_resume(a, fpu, load[vec]) + off;
    }
    const uint8_t *side = make_side(a, &s->thunk, off, save, ended);
    for (unsigned la57 = 0; la57 < 2; la57++) {
        s->thunk.indirect_side[la57] = make_indirect_side(a, la57, s->thunk.lookup - off, side) + off;
    }
    t1_perf_thunk(cpu, "exec", from, a->p);
    from = a->p;
    s->thunk.load_flags = make_load_flags(a, save, load) + off;
    t1_perf_thunk(cpu, "load flags", from, a->p);
    from = a->p;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned w = 0; w < 2; w++) {
            const uint8_t *fill = make_fill(a, m, w, save, load);
            s->thunk.fill[m][w] = fill + off;
            s->thunk.fill_side[m][w] = make_fill_side(a, fill, side) + off;
            for (unsigned i = 0; i < TLB_WINDOWS; i++) {
                s->thunk.window[m][w][i] = a->p + off;
                t1_make_window(a, m, w, i, fill);
            }
        }
    }
    t1_perf_thunk(cpu, "window", from, a->p);
    from = a->p;
    for (unsigned k = 0; k < TLB_MMUS * 8; k++) {
        s->thunk.rep[k >> 3][k >> 2 & 1][k & 3] = a->p + off;
        t1_make_rep(a, k >> 3, k >> 2 & 1, k & 3);
    }
    t1_perf_thunk(cpu, "rep", from, a->p);
    g_assert(a->p <= s->cache.fixed + s->cache.reserve);
}

/* SPDX-License-Identifier: MIT
 * target/x86/t1-mem.c - memory operands of translated code: addresses and the inline look-up in the TLB.
 * An access that does not hit (absent, MMIO, watched, crossing the page, misaligned where that matters) leaves to a side path
 * that runs the whole instruction by its T0 function, so nothing of the instruction may have happened before.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

#define TLB_OFF(mmu, member) (offsetof(X86Cpu, tlb_mem.e) + (size_t)(mmu) * sizeof(((Tlb *)0)->e[0]) + offsetof(TlbEntry, member))
_Static_assert(sizeof(TlbEntry) == 32, "the index is shifted by 5");

bool t1_mem_ok(const X86Insn *d)
{
    return (d->flags & (I_MEM | I_SEGCHECK)) == I_MEM && (d->flags & I_ASIZE) >= 2;
}

static uint64_t rip_relative(const T1 *t, const X86Insn *d)
{
    return t->rip + (uint64_t)(int64_t)d->disp + (d->index == R_BIAS ? 0x10000 : 0);
}

/* Constant address: RIP-relative or absolute. */
bool t1_const_address(const T1 *t, const X86Insn *d, uint64_t *k)
{
    if (d->seg != SEG_FLAT || (d->base == R_UNIT && t->pic)) {
        return false;
    }
    uint64_t v = (uint64_t)(int64_t)d->disp;
    if (d->base == R_UNIT) {
        v = rip_relative(t, d);
    } else if (d->base != R_NONE || d->index != R_NONE) {
        return false;
    }
    *k = (d->flags & I_ASIZE) == 3 ? v : (uint32_t)v;
    return true;
}

static HOp addr_op(const X86Insn *d, int base, int index, int32_t disp)
{
    (void)d;
    return h_sib(base, index, index == H_NONE ? 0 : d->scale, disp);
}

void t1_address(T1 *t, const X86Insn *d, int to, bool linear)
{
    Asm *a = &t->hot;
    bool wide = (d->flags & I_ASIZE) == 3;
    int base = H_NONE, index = H_NONE;
    if (d->base == R_UNIT) {
        t1_emit_near(t, a, to, rip_relative(t, d), wide);
    } else {
        if (d->base != R_NONE) {
            base = t1_hreg(d->base);
            if (base == H_NONE) {
                e_load(a, to, t1_gpr_mem(d->base));
                base = to;
            }
        }
        if (d->index != R_NONE) {
            index = t1_hreg(d->index);
            if (index == H_NONE) {
                e_load(a, base == to ? T1_ : to, t1_gpr_mem(d->index));
                index = base == to ? T1_ : to;
            }
        }
        HOp at = addr_op(d, base, index, d->disp);
        if (!wide) {
            e_lea32(a, to, at);
        } else if (base != to || index != H_NONE || d->disp) {
            e_lea(a, to, at);
        }
    }
    if (linear && d->seg != SEG_FLAT) {
        e_op(a, E_W, 0x03, (unsigned)to, h_gs(offsetof(X86Cpu, seg_base) + 8u * d->seg));
    }
}

#define WIN_OFF(mmu, write, slot, member) \
    (offsetof(X86Cpu, win) + (((size_t)(mmu) * 2 + (write)) * TLB_WINDOWS + (slot)) * sizeof(TlbWindow) + offsetof(TlbWindow, member))

/* Windows are shared by the sites that address through the same register in code near to each other: what one
 * of them touches another is likely to touch. The stack and the segments with a base have their own. */
static unsigned window_slot(const T1 *t, const X86Insn *d)
{
    if (d->seg != SEG_FLAT) {
        return d->seg == SEG_FS ? 1 : 2;
    }
    if (d->base == R_RSP) {
        return T1_STACK_WINDOW;
    }
    if (d->base == R_UNIT) { /* a page of data has one, whatever code it is used by */
        return 3 + (unsigned)(rip_relative(t, d) >> 12) % (TLB_WINDOWS - 3);
    }
    unsigned reg = d->base < 16 ? d->base : d->index & 15u;
    return 3 + (reg + (unsigned)(t->rip >> 4) * 5) % (TLB_WINDOWS - 3);
}

static HOp last_byte(Asm *a, HOp at, int first, unsigned n)
{
    HOp last = at;
    last.disp = (int32_t)((uint32_t)at.disp + n - 1);
    if (last.disp >= at.disp) {
        return last;
    }
    e_lea(a, first, at);
    return h_mem(first, (int32_t)n - 1);
}

/* The look-up in the TLB: delta comes into T0_, T1_ is lost. The page of the last byte is compared, so that an access to two
 * pages misses; an access that must be aligned cannot reach a second page, a misaligned one equals no tag. */
static void e_lookup(T1 *t, T1Side **side, HOp at, unsigned n, bool write, unsigned align)
{
    Asm *a = &t->hot;
    bool plain = at.base != H_NONE && at.index == H_NONE && at.disp == 0;
    uint8_t *again = a->p;
    if (align || n == 1) {
        plain ? e_mov_rr(a, T1_, at.base) : e_lea(a, T1_, at);
        e_mov_rr(a, T0_, T1_);
    } else {
        e_lea(a, T1_, last_byte(a, at, T0_, n));
        plain ? e_mov_rr(a, T0_, at.base) : e_lea(a, T0_, at);
    }
    e_shift_ri(a, true, 5, T0_, 7);
    e_alu_ri(a, true, 4, h_reg(T1_), (int32_t)(-4096 | (align ? align - 1 : 0)));
    e_op(a, 0, 0x81, 4, h_reg(T0_));
    e32(a, (TLB_SIZE - 1) << 5);
    e_op(a, E_W, 0x3b, T1_, h_gs_idx(T0_, write ? TLB_OFF(t->mmu, wtag) : TLB_OFF(t->mmu, rtag)));
    *side = t1_side(t, SIDE_EXEC, e_jcc(a, CC_NE));
    (*side)->again = again;
    (*side)->write = write;
    e_load(a, T0_, h_gs_idx(T0_, TLB_OFF(t->mmu, delta)));
    t->fl.host = false;
}

/* The check of the address in `at` against a window; delta comes into T0_. Measured in docs/devel/translator.md: 0.02 ns, against
 * 0.18 ns and 11 cycles of latency for the TLB itself, because nothing that the address decides is loaded. */
static void e_check(T1 *t, T1Side **side, HOp at, unsigned n, bool write, unsigned align, unsigned slot)
{
    Asm *a = &t->hot;
    uint8_t *from2 = NULL;
    if (t1_site_by_tlb(t)) {
        e_lookup(t, side, at, n, write, align);
        return;
    }
    if (at.base != H_NONE && at.index == H_NONE && at.disp == 0) {
        e_mov_rr(a, T0_, at.base);
    } else {
        e_lea(a, T0_, at);
    }
    if (align) {
        e_op(a, E_REX, 0xf6, 0, h_reg(T0_));
        e8(a, align - 1);
        from2 = e_jcc(a, CC_NE);
    }
    e_op(a, E_W, 0x33, T0_, h_gs(WIN_OFF(t->mmu, write, slot, base)));
    e_op(a, E_W, 0x3b, T0_, h_gs(WIN_OFF(t->mmu, write, slot, lim)));
    T1Side *s = *side = t1_side(t, SIDE_EXEC, e_jcc(a, CC_AE));
    s->from2 = from2;
    s->window = true;
    s->write = write;
    s->slot = (uint8_t)slot;
    s->n = (uint8_t)n;
    s->at = at;
    e_load(a, T0_, h_gs(WIN_OFF(t->mmu, write, slot, delta)));
    s->win_back = a->p;
    t->fl.host = false;
}

/* A member of the entry whose number times 8 is in T0_. */
static HOp entry_member(size_t off)
{
    HOp m = h_sib(H_NONE, T0_, 2, (int32_t)off);
    m.gs = true;
    return m;
}

void t1_make_window(Asm *a, unsigned mmu, bool write, unsigned slot, const uint8_t *fill)
{
    HOp base = h_gs(WIN_OFF(mmu, write, slot, base));
    e_shift_ri(a, true, 5, T0_, 9); /* the entry's number, times 8 */
    e_alu_ri(a, true, 4, h_reg(T1_), -4096);
    e_op(a, 0, 0x81, 4, h_reg(T0_));
    e32(a, (TLB_SIZE - 1) << 3);
    uint8_t *again = a->p;
    e_op(a, E_W, 0x3b, T1_, entry_member(write ? TLB_OFF(mmu, wtag) : TLB_OFF(mmu, rtag)));
    uint8_t *miss = e_jcc(a, CC_NE);
    unsigned id = (mmu * 2 + write) * TLB_WINDOWS + slot;
    e_alu_ri(a, false, 5, h_gs(offsetof(X86Cpu, tr1.win_misses) + 4 * id), 1);
    uint8_t *many = e_jcc(a, CC_S); /* then ZF = 0 */
    e_store(a, base, T1_);
    if (write) {
        e_store_imm32(a, true, h_gs(WIN_OFF(mmu, write, slot, lim)), 4096 - 63);
    } else {
        e_load(a, T1_, h_gs_idx(T0_, offsetof(X86Cpu, tlb_mem.span) + mmu * sizeof(((Tlb *)0)->span[0])));
        e_op(a, E_W, 0x21, T1_, base);     /* AND */
        e_op(a, E_W, 0xf7, 3, h_reg(T1_)); /* NEG */
        e_alu_ri(a, true, 5, h_reg(T1_), 63);
        e_store(a, h_gs(WIN_OFF(mmu, write, slot, lim)), T1_);
    }
    e_load(a, T0_, entry_member(TLB_OFF(mmu, delta)));
    e_store(a, h_gs(WIN_OFF(mmu, write, slot, delta)), T0_);
    e_op(a, 0, 0xc6, 0, h_gs(offsetof(X86Cpu, tr1.win_touched) + mmu * 2 + write));
    e8(a, 1);
    e_op(a, E_W, 0x3b, T1_, h_reg(T1_)); /* ZF */
    e8(a, 0xc3);
    e_patch(miss, a->p);
    e_call_to(a, fill);
    e_patch(e_jcc(a, CC_E), again);
    e8(a, 0xc3);
    e_patch(many, a->p);
    e_store_imm32(a, false, h_gs(offsetof(X86Cpu, tr1.win_thrash)), id + 1);
    e8(a, 0xc3);
}

/* T2_: the last byte of an access that begins at `first`. ZF = 1: both are in one page that the TLB has; T0_ is 8 times the
 * entry's number. */
static void rep_check(Asm *a, unsigned mmu, int first, bool write)
{
    e_lea(a, T2_, h_sib(first, T1_, 0, -1));
    e_mov_rr(a, T0_, first);
    e_shift_ri(a, false, 5, T0_, 9);
    e_alu_ri(a, true, 4, h_reg(T2_), -4096);
    e_alu_ri(a, false, 4, h_reg(T0_), (TLB_SIZE - 1) << 3);
    e_op(a, E_W, 0x3b, T2_, entry_member(write ? TLB_OFF(mmu, wtag) : TLB_OFF(mmu, rtag)));
}

void t1_make_rep(Asm *a, unsigned mmu, bool movs, unsigned size)
{
    uint8_t *miss[4], *none;
    unsigned n = 0;
    e_op(a, 0, 0xf7, 0, h_gs(offsetof(X86Cpu, eflags))); /* TEST */
    e32(a, FL_DF);
    miss[n++] = e_jcc(a, CC_NE);
    e_op(a, E_W, 0x85, H_RCX, h_reg(H_RCX));
    none = e_jcc(a, CC_E);
    e_alu_ri(a, true, 7, h_reg(H_RCX), 4096 >> size);
    miss[n++] = e_jcc(a, CC_A);
    e_lea(a, T1_, h_sib(H_NONE, H_RCX, size, 0));
    rep_check(a, mmu, H_RDI, true);
    miss[n++] = e_jcc(a, CC_NE);
    e_load(a, T2_, entry_member(TLB_OFF(mmu, delta)));
    if (movs) {
        e_bytes(a, "\x41\x56", 2); /* PUSH R14: T2_ */
        rep_check(a, mmu, H_RSI, false);
        e_load(a, T0_, entry_member(TLB_OFF(mmu, delta)));
        e_bytes(a, "\x41\x5e", 2); /* POP R14 */
        miss[n++] = e_jcc(a, CC_NE);
        e_op(a, E_W, 0x03, H_RSI, h_reg(T0_));
    }
    e_op(a, E_W, 0x03, H_RDI, h_reg(T2_));
    if (size == 1) {
        e8(a, 0x66);
    }
    e8(a, 0xf3);
    if (size == 3) {
        e8(a, 0x48);
    }
    e8(a, (movs ? 0xa4u : 0xaau) | (size != 0));
    e_op(a, E_W, 0x2b, H_RDI, h_reg(T2_));
    if (movs) {
        e_op(a, E_W, 0x2b, H_RSI, h_reg(T0_));
    }
    e_patch(none, a->p);
    e_op(a, E_W, 0x3b, T1_, h_reg(T1_)); /* ZF */
    e8(a, 0xc3);
    for (unsigned i = 0; i < n; i++) {
        e_patch(miss[i], a->p);
    }
    e_alu_ri(a, true, 4, h_reg(H_RSP), -1); /* ZF = 0, of DF and of the count that is too large, too */
    e8(a, 0xc3);
}

uint8_t *t1_put_window(T1 *t, T1Side *s, bool back)
{
    Asm *a = &t->cold;
    uint8_t *miss = NULL;
    e_lea(a, T1_, last_byte(a, s->at, T0_, s->n));
    e_lea(a, T0_, s->at);
    e_call_to(a, t->thunk->window[t->mmu][s->write][s->slot] - t->rx_off);
    if (back) {
        e_patch(e_jcc(a, CC_E), s->win_back);
        if (s->from2) { /* misaligned: never by the window */
            e_patch(s->from2, a->p);
            s->from2 = NULL;
        }
    } else {
        miss = e_jcc(a, CC_NE);
    }
    return miss;
}

static HOp const_operand(T1 *t, uint64_t k)
{
    if ((int64_t)k >= INT32_MIN && (int64_t)k <= INT32_MAX) {
        return h_mem(T0_, (int32_t)k);
    }
    e_mov_ri(&t->hot, T2_, k);
    return h_sib(T0_, T2_, 0, 0);
}

/* T0_ has the group's delta, up to the next instruction that uses the register. */
static void delta_known(T1 *t, const T1Group *g)
{
    t->delta = g;
    t->hot.r12_used = false;
}

static void group_checked(T1 *t, T1Group *g, unsigned slot, bool stash)
{
    g->checked = true;
    g->slot = (uint8_t)slot;
    g->stashed = stash;
    if (stash) {
        e_store(&t->hot, h_gs(offsetof(X86Cpu, tr1.stash) + 8u * g->stash), T0_);
    }
    delta_known(t, g);
}

/* A member of a group that has been checked: its delta comes into T0_. */
static void group_delta(T1 *t, T1Group *g)
{
    g->used = true;
    g->end = MAX(g->end, (uint8_t)t->i);
    if (t->delta != g || t->hot.r12_used) {
        e_load(&t->hot, T0_, h_gs(g->stashed ? offsetof(X86Cpu, tr1.stash) + 8u * g->stash : WIN_OFF(t->mmu, g->write, g->slot, delta)));
        delta_known(t, g);
    }
}

/* A constant address: its entry is known now. */
static HOp check_const(T1 *t, uint64_t k, unsigned n, bool write, unsigned align, T1Side **side)
{
    Asm *a = &t->hot;
    T1Group *g = t1_group_led(t, 0);
    size_t entry = tlb_index(k) * sizeof(TlbEntry);
    uint64_t page = k & TLB_PAGE_MASK;
    HOp tag = h_gs(entry + (write ? TLB_OFF(t->mmu, wtag) : TLB_OFF(t->mmu, rtag)));
    bool never = (k & 4095) + n > 4096 || (align && k & (align - 1));
    if (never) {
        page = TLB_NO_TAG - 4095 - 8; /* no tag looks like this: always the side path */
    }
    if ((int64_t)page >= INT32_MIN && (int64_t)page <= INT32_MAX) {
        e_alu_ri(a, true, 7, tag, (int32_t)page);
    } else {
        e_mov_ri(a, T1_, page);
        e_op(a, E_W, 0x3b, T1_, tag);
    }
    *side = t1_side(t, SIDE_EXEC, e_jcc(a, CC_NE));
    t->fl.host = false;
    e_load(a, T0_, h_gs(entry + TLB_OFF(t->mmu, delta)));
    if (g) {
        group_checked(t, g, 0, true);
    }
    return const_operand(t, k);
}

/* The check for an access at at, or for the group that it is the first of. */
static void e_check_all(T1 *t, T1Side **side, HOp at, unsigned n, bool write, unsigned align, unsigned slot, unsigned which)
{
    T1Group *g = t1_group_led(t, which);
    bool tlb = t1_site_by_tlb(t);
    if (g && tlb && align && g->n > align) {
        g = NULL;
    }
    if (g && (int64_t)at.disp + g->lo < INT32_MIN) { /* it would wrap, and another page be looked at */
        g = NULL;
    }
    if (g) {
        at.disp += g->lo;
        n = g->n;
    }
    e_check(t, side, at, n, write, align, slot);
    if (g) {
        group_checked(t, g, slot, tlb);
    }
}

HOp t1_mem_check(T1 *t, const X86Insn *d, unsigned n, bool write, unsigned align, T1Side **side)
{
    uint64_t k;
    T1Group *g = t1_checked(t, 0);
    *side = NULL;
    if (t1_const_address(t, d, &k)) {
        if (g) {
            group_delta(t, g);
            return const_operand(t, k);
        }
        return check_const(t, k, n, write, align, side);
    }
    int base = d->base == R_NONE ? H_NONE : t1_hreg(d->base), index = d->index == R_NONE ? H_NONE : t1_hreg(d->index);
    bool simple = (d->flags & I_ASIZE) == 3 && d->seg == SEG_FLAT && (d->base == R_NONE || (d->base < 16 && base != H_NONE)) &&
                  (d->index == R_NONE || (d->index < 16 && index != H_NONE));
    int64_t off = (int64_t)(rip_relative(t, d) - (t->rip & TLB_PAGE_MASK));
    if (d->base == R_UNIT && (d->flags & I_ASIZE) == 3 && d->seg == SEG_FLAT && off == (int32_t)off) {
        bool odd = align && off & (align - 1);
        e_load(&t->hot, T2_, h_gs(offsetof(X86Cpu, tr1.pcbase)));
        if (g) {
            group_delta(t, g);
        } else {
            e_check_all(t, side, h_mem(T2_, (int32_t)off), n, write, odd ? align : 0, window_slot(t, d), 0);
        }
        return h_sib(T0_, T2_, 0, (int32_t)off);
    }
    if (!simple) {
        if (d->base < 16 && d->index == R_NONE && (d->flags & I_ASIZE) == 3 && d->seg == SEG_FLAT) {
            e_load(&t->hot, T2_, t1_gpr_mem(d->base));
            if (g) {
                group_delta(t, g);
            } else {
                e_check_all(t, side, h_mem(T2_, d->disp), n, write, align, window_slot(t, d), 0);
            }
            return h_sib(T0_, T2_, 0, d->disp);
        }
        t1_address(t, d, T2_, true);
        if (g) {
            group_delta(t, g);
        } else {
            e_check(t, side, h_mem(T2_, 0), n, write, align, window_slot(t, d));
        }
        return h_sib(T0_, T2_, 0, 0);
    }
    HOp at = addr_op(d, base, index, d->disp);
    if (g && index != H_NONE) {
        e_lea(&t->hot, T2_, at);
        group_delta(t, g);
        return h_sib(T0_, T2_, 0, 0);
    }
    if (base != H_NONE && index != H_NONE && t1_site_by_tlb(t)) { /* no addition behind the look-up */
        e_lea(&t->hot, T2_, at);
        e_lookup(t, side, h_mem(T2_, 0), n, write, align);
        return h_sib(T0_, T2_, 0, 0);
    }
    if (g) {
        group_delta(t, g);
        return h_sib(T0_, base, 0, d->disp);
    }
    e_check_all(t, side, at, n, write, align, window_slot(t, d), 0);
    if (base == H_NONE) {
        return h_sib(T0_, index, d->scale, d->disp);
    }
    if (index == H_NONE) {
        return h_sib(T0_, base, 0, d->disp);
    }
    e_op(&t->hot, E_W, 0x03, T0_, h_reg(base)); /* EFLAGS are lost already */
    return h_sib(T0_, index, d->scale, d->disp);
}

void t1_hoisted_checks(T1 *t)
{
    for (unsigned k = 1; k <= t->n_groups; k++) {
        T1Group *g = &t->group[k];
        if (!g->hoisted || g->begin != t->i) {
            continue;
        }
        const X86Insn *d = &t->insn[g->hoisted];
        T1Side *side;
        t1_fl_before(t, 0, true, false);
        t1_address(t, d, T2_, true);
        e_check(t, &side, h_mem(T2_, g->lo), g->n, g->write, 0, window_slot(t, d));
        group_checked(t, g, 0, true);
        side->ahead = true;
        g->used = true; /* so that the side path leaves, and does not do this instruction twice */
        t1_side_done(t, side);
    }
}

/* BT and its like with a bit number in a register, which reaches beyond the operand: the n bytes with that bit. */
HOp t1_bit_check(T1 *t, const X86Insn *d, unsigned n, bool write, T1Side **side)
{
    Asm *a = &t->hot;
    int reg = t1_hreg(d->reg);
    unsigned log2 = n == 8 ? 3 : n == 4 ? 2 : 1;
    HOp bit = reg == H_NONE ? t1_gpr_mem(d->reg) : h_reg(reg);
    t1_address(t, d, T2_, true);
    n == 8 ? e_load(a, T1_, bit) : n == 4 ? e_op(a, E_W, 0x63, T1_, bit) : e_op(a, E_W | E_0F, 0xbf, T1_, bit); /* MOVSX */
    e_shift_ri(a, true, 7, T1_, log2 + 3);
    e_lea(a, T2_, h_sib(T2_, T1_, log2, 0));
    e_check(t, side, h_mem(T2_, 0), n, write, 0, window_slot(t, d));
    return h_sib(T0_, T2_, 0, 0);
}

HOp t1_stack_check(T1 *t, int32_t disp, unsigned n, bool write, T1Side **side)
{
    T1Group *g = t1_checked(t, 1);
    *side = NULL;
    if (g) {
        group_delta(t, g);
        return h_sib(T0_, G_RSP, 0, disp);
    }
    if (t->code64) {
        e_check_all(t, side, h_mem(G_RSP, disp), n, write, 0, T1_STACK_WINDOW, 1);
        return h_sib(T0_, G_RSP, 0, disp);
    }
    e_lea32(&t->hot, T2_, h_mem(G_RSP, disp));
    e_check(t, side, h_mem(T2_, 0), n, write, 0, T1_STACK_WINDOW);
    return h_sib(T0_, T2_, 0, 0);
}

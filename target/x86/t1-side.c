/* SPDX-License-Identifier: MIT
 * target/x86/t1-side.c - side paths: what leaves a unit, and the instructions that have to be done by their T0 functions after
 * all, most of which never are. So they are as short as can be: a call and a record behind it, which t1_side_exec() reads.
 * Threads: the vCPU's thread.
 */
#include "t1-exec.h"

#define CPU(member) h_gs(offsetof(X86Cpu, member))
#define TR(member)  h_gs(offsetof(X86Cpu, tr1.member))

uint8_t *t1_emit_rec_address(Asm *a)
{
    e_bytes(a, "\x4c\x8d\x25\0\0\0\0", 7); /* LEA R12, [RIP + 0] */
    a->r12_used = true;
    return a->p - 4;
}

/* The unit's RIP, to which all its records lead. */
static void put_head(T1 *t)
{
    if (!t->rec_head) {
        uint64_t rip = t->pic ? t->rip & ~TLB_PAGE_MASK : t->rip;
        t->cold.p = (uint8_t *)(((uintptr_t)t->cold.p + 7) & ~(uintptr_t)7);
        t->rec_head = t->cold.p;
        e64(&t->cold, rip);
    }
}

uint8_t *t1_put_rec(T1 *t)
{
    put_head(t);
    t->cold.p = (uint8_t *)(((uintptr_t)t->cold.p + 7) & ~(uintptr_t)7);
    uint8_t *at = t->cold.p;
    T1Rec r = { .insn = t->insn[t->i], .head = (uint32_t)(at - t->rec_head), .pic = t->pic };
    memcpy(at, &r, sizeof(r));
    t->cold.p += sizeof(r);
    return at;
}

static void e16(Asm *a, unsigned v)
{
    e8(a, v);
    e8(a, v >> 8);
}

/* The record, at t->cold.p. near: the jump to s->again or to s->win_back comes right before it. flags: they are still to go to
 * the state. */
static void put_side_rec(T1 *t, const T1Side *s, const uint8_t *near, bool flags)
{
    Asm *a = &t->cold;
    const X86Insn *d = &t->insn[s->insn];
    const T1Flags *f = &s->fl;
    bool leaves = s->back && t1_group_open(t, s->insn), back = s->back && !leaves;
    unsigned state = back ? t1_state_needed(t, s->insn + 1u) : 0, what = t1_vec_needed(t, state) << SR_VEC_SHIFT;
    near = back && near && s->back >= near && s->back - near < 256 ? near : NULL;
    what |= (t->pic ? SR_PIC : 0) | (state & T1S_FPU ? SR_FPU : 0) | (leaves ? SR_LEAVES : near ? SR_NEAR : back ? SR_BACK : 0);
    what |= (s->reload_flags && back ? SR_RELOAD : 0) | (flags ? SR_FLAGS : 0) | (s->undo ? SR_UNDO : 0);
    what |= s->kind == SIDE_EXEC && t1_group_leads_stack(t, s->insn) ? SR_LEADS : 0;
    const uint8_t *at = a->p;
    t->full |= at - t->rec_head > UINT16_MAX;
    e16(a, (unsigned)(at - t->rec_head));
    e16(a, d->off | (unsigned)d->len << 12);
    e16(a, what);
    if (near) {
        e8(a, (unsigned)(s->back - near));
    } else if (back) {
        e32(a, (uint32_t)(s->back - at));
    }
    if (flags) {
        e8(a, f->op);
        e8(a, f->a);
        e8(a, f->b);
        if ((f->op & ~3u) != CC_T1_LOGIC && f->b == R_NONE) {
            e32(a, (uint32_t)f->imm);
        }
    }
    if (s->undo) {
        e32(a, (uint32_t)s->undo);
    }
    e_bytes(a, t->bytes[s->insn], d->len);
}

/* To an instruction of the unit; flags are in the state. */
static void leave_early(T1 *t, Asm *a, uint64_t rip)
{
    if (t->cpu->t1->lockstep) {
        e_alu_ri(a, false, 0, TR(left_early), 1);
    }
    t1_emit_rip(t, a, T1_, rip);
    e_jmp_to(a, t->thunk->jump - t->rx_off);
}

static void put_exec(T1 *t, T1Side *s)
{
    Asm *a = &t->cold;
    const X86Insn *d = &t->insn[s->insn];
    /* Does the record say all that there is to do? */
    bool flags = !s->fl.state && s->fl.op, quiet = !s->note && (flags || (s->fl.state && !s->fl.part));
    if (s->window && t1_group_in_window(t, s->insn, s->ahead, s->slot, s->write)) {
        uint8_t *miss = t1_put_window(t, s, false);
        T1Flags fl = s->fl;
        t1_fpu_note(t, a, s->note);
        t1_fl_to_state(t, a, &fl);
        leave_early(t, a, t->rip + d->off);
        e_patch(miss, a->p);
        if (s->from2) { /* misaligned */
            e_patch(s->from2, a->p);
        }
    } else if (s->window) {
        t1_put_window(t, s, true);
    } else if (s->again && quiet) {
        e_call_to(a, t->thunk->fill_side[t->mmu][s->write] - t->rx_off);
        e_jmp_to(a, s->again);
        put_side_rec(t, s, s->again, flags);
        return;
    } else if (s->again) {
        e_shift_ri(a, false, 5, T0_, 2); /* 8 times the entry's number */
        e_call_to(a, t->thunk->fill[t->mmu][s->write] - t->rx_off);
        e_patch(e_jcc(a, CC_E), s->again);
    }
    if (!quiet) {
        t1_fpu_note(t, a, s->note);
        if (!flags) {
            t1_fl_to_state(t, a, &s->fl);
        }
    }
    e_call_to(a, t->thunk->side - t->rx_off);
    put_side_rec(t, s, NULL, flags);
}

/* A jump whose target the jump cache has not got, or that is not canonical. */
static void put_indirect_miss(T1 *t, T1Side *s)
{
    Asm *a = &t->cold;
    uint8_t *fix = t1_emit_rec_address(a);
    e_jmp_to(a, t->thunk->indirect_side[(t->cpu->cr4 & CR4_LA57) != 0] - t->rx_off);
    e_patch(fix, a->p);
    put_side_rec(t, s, NULL, false);
}

void t1_put_sides(T1 *t)
{
    if (t->n_sides) {
        put_head(t);
    }
    for (unsigned i = 0; i < t->n_sides && !t1_cold_full(t) && !t1_hot_full(t); i++) {
        T1Side *s = &t->side[i];
        uint8_t *from = t->cold.p;
        t1_set_mmu(t, s->mode);
        if (s->kind != SIDE_NONE) {
            e_patch(s->from, from);
        }
        if (s->from2 && !s->window) {
            e_patch(s->from2, from);
        }
        switch (s->kind) {
        case SIDE_NONE: break;
        case SIDE_EXEC: put_exec(t, s); break;
        case SIDE_EXIT:
            if (s->fl.state && !s->fl.part && t1_same_page(t, s->rip)) { /* the conditional jump itself can be linked */
                t1_new_link(t, s->rip)->at = s->from;
            } else { /* half of all branches are taken: near the code that they are part of */
                e_patch(s->from, t->hot.p);
                t1_fl_to_state(t, &t->hot, &s->fl);
                t1_leave_to(t, &t->hot, s->rip);
            }
            break;
        case SIDE_INDIRECT: put_indirect_miss(t, s); break;
        case SIDE_JOIN:
            e_patch(s->from, t->hot.p);
            t1_fl_to_state(t, &t->hot, &s->fl);
            e_jmp_to(&t->hot, s->back);
            break;
        case SIDE_COUNT0:
            e_call_to(&t->cold, t->thunk->load_flags - t->rx_off);
            e_bytes(&t->cold, s->copy, s->n_copy);
            e_jmp_to(&t->cold, s->back);
            break;
        case SIDE_SHADOW: /* full: forget what is on it */
            e_load(&t->cold, H_RSP, TR(shadow_base[t1_shadow(t->mmu)]));
            e_jmp_to(&t->cold, s->back);
            break;
        case SIDE_RET: /* one call too many on it (call, pop), or nothing of use */
            e_op(&t->cold, E_W, 0x3b, T1_, h_mem(H_RSP, 24));
            {
                uint8_t *no = e_jcc(&t->cold, CC_NE);
                e_lea(&t->cold, H_RSP, h_mem(H_RSP, 16));
                e8(&t->cold, 0xc3);
                e_patch(no, t->cold.p);
            }
            e_load(&t->cold, H_RSP, TR(shadow_base[t1_shadow(t->mmu)]));
            e_jmp_to(&t->cold, s->back);
            break;
        case SIDE_POLL:
            t1_fl_to_state(t, &t->cold, &s->fl);
            t1_emit_rip(t, &t->cold, T1_, s->rip);
            e_jmp_to(&t->cold, t->thunk->indirect - t->rx_off);
            break;
        case SIDE_VEC: case SIDE_FPU: /* they leave when an exception is unmasked */
            t1_fl_to_state(t, &t->cold, &s->fl);
            t1_emit_rip(t, &t->cold, T1_, s->rip);
            e_call_to(&t->cold, (s->kind == SIDE_FPU ? t->thunk->load_fpu : t->thunk->load_vec[t->mode & MODE_AVX_OK ? 2 : 1]) - t->rx_off);
            e_jmp_to(&t->cold, s->back);
            break;
        }
        t->cpu->t1->stats.cold_step = MAX(t->cpu->t1->stats.cold_step, (unsigned)(t->cold.p - from));
    }
}

T1Code *t1_put_code(T1 *t, CodeCache *c)
{
    Asm *a = &t->cold;
    size_t insns = t->cpu->t1->lockstep ? t->n * sizeof(X86Insn) : 0;
    a->p = (uint8_t *)(((uintptr_t)a->p + 7) & ~(uintptr_t)7);
    T1Code *code = (T1Code *)(void *)(a->p + t->n_links * T1_EXIT_BYTES);
    t->no_room |= (size_t)(t->cold_end - a->p) < t->n_links * (T1_EXIT_BYTES + sizeof(T1Link)) + sizeof(T1Code) + insns;
    if (t->no_room) {
        return NULL;
    }
    *code = (T1Code){ .rip = t->rip, .pic = t->pic, .uses = t->uses, .n_links = (uint8_t)t->n_links, .n_insns = (uint8_t)t->n };
    for (unsigned i = 0; i < t->n_links; i++) {
        const T1NewLink *l = &t->link[i];
        uint8_t *exit = a->p;
        e_patch(l->at, exit);
        e_call_to(a, t->thunk->exit_link - t->rx_off);
        e8(a, t->n_links - i); /* how many exits from here to the T1Code */
        a->p = exit + T1_EXIT_BYTES;
        code->links[i] = (T1Link){ .at = (uint32_t)(l->at - c->rw), .rip = l->rip & 4095, .n = (uint8_t)i, .pad = l->pad,
                                   .ac = l->mode != t->head_mode };
    }
    a->p = (uint8_t *)(code->links + t->n_links);
    e_bytes(a, t->insn, insns);
    return code;
}

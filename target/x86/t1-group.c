/* SPDX-License-Identifier: MIT
 * target/x86/t1-group.c - accesses of one unit that lie near each other through the same register: the first one's check covers
 * all of them. A function's saved registers, its locals, the members of a structure: most accesses of compiled code.
 * Registers are followed by name: each has a number that tells what it was when it was written last, and a distance that constants
 * have been added to since. Accesses with the same number within GROUP_SPAN bytes are a group.
 * What a check has found stays true up to the end of the unit: windows and the TLB lose what they have only in C code that
 * may change mappings, or watch pages. So wherever the members that follow count on a check, an instruction that has to be done by its T0
 * function, and a window that is filled anew for somebody else, leave the unit (put_exec() in t1-insn.c).
 * Threads: the vCPU's thread.
 */
#include "t1.h"

enum { GROUP_SPAN = 64, /* windows end so many bytes before their pages do */
       HOIST_MAX = 16,  /* instructions that a check is moved */
       ACTIVE = T1_STASH, SYM_CONST = 1, SYM_PC = 2, SYM_FIRST = 3 };

typedef struct Value { uint32_t sym; int64_t off; } Value;

typedef struct Plan {
    T1 *t;
    Value reg[16];
    uint32_t next;
    struct { uint32_t sym; int64_t lo, hi, first; uint8_t group; } active[ACTIVE];
    unsigned turn;
    unsigned since[16];        /* behind the last instruction that wrote the register */
    unsigned straight;         /* behind the last jump, or instruction that may leave */
    unsigned kept, kept_end[T1_HOISTED]; /* hoisted checks; where the last one in each place is used */
} Plan;

static void forget(Plan *p, unsigned reg) { p->reg[reg & 15] = (Value){ .sym = p->next++ }; }

/* The first instruction of a run without jumps before which EFLAGS cost nothing: is there a carry between it and i that is used
 * behind i, or flags that only LAHF could set aside? Additions of many words look like that: ADD, a load, ADC, a store. */
static bool carries_over(const T1 *t, unsigned from, unsigned i)
{
    const T1Row *rows = t1_rows();
    bool written = false, carry = false;
    for (unsigned k = from; k < i; k++) {
        const T1Row *r = &rows[t->insn[k].row];
        unsigned def = r->fl_def & FL_ALL_;
        written = def ? (def & FL_CF) != 0 : written;
        carry = def ? def == FL_ALL_ && r->fl_read & FL_CF : carry;
    }
    if (carry) { /* ADC, SBB: no recipe for their flags */
        return true;
    }
    for (unsigned k = i + 1; written && k < t->n && k < i + 8; k++) {
        const T1Row *r = &rows[t->insn[k].row];
        if (r->cls == T1C_NATIVE && r->fl_read & FL_CF && (r->fl_def & FL_ALL_) == FL_ALL_) {
            return true;
        }
        if (r->fl_def & FL_CF || (r->cls != T1C_NATIVE && r->cls != T1C_LEA && r->cls != T1C_MOV_ZI)) {
            return false;
        }
    }
    return false;
}

/* A load or store of a general register between an instruction that makes a carry and one that uses it: its check goes to
 * where the address is known first, so that it does not destroy EFLAGS. When it misses there, that instruction is done by its T0
 * function, and the unit is left behind it. */
static void hoist(Plan *p, unsigned i)
{
    T1 *t = p->t;
    const X86Insn *d = &t->insn[i];
    const T1Row *r = &t1_rows()[d->row];
    const X86Row *x = &x86_rows[d->row];
    unsigned from = MAX(p->straight, i > HOIST_MAX ? i - HOIST_MAX : 0), n = x86_operand_bytes(x->memsize, d);
    if (r->cls != T1C_NATIVE || x->map || (x->opcode != 0x8b && x->opcode != 0x89) || !insn_is_mem(d) || !t1_mem_ok(d) ||
        (d->flags & I_ASIZE) != 3 || d->seg != SEG_FLAT || d->base >= 16 || (d->index != R_NONE && d->index >= 16)) {
        return;
    }
    from = MAX(from, p->since[d->base]);
    from = MAX(from, d->index == R_NONE ? 0 : p->since[d->index]);
    T1Group *g = &t->group[t->member[i][0]];
    unsigned kept = p->kept % T1_HOISTED;
    if (from >= i || (t->member[i][0] && (g->begin != i || g->which)) || p->kept_end[kept] > from || !carries_over(t, from, i)) {
        return;
    }
    if (!t->member[i][0]) {
        if (t->n_groups == T1_MAX_GROUPS) {
            return;
        }
        g = &t->group[++t->n_groups];
        *g = (T1Group){ .n = (uint16_t)n, .write = r->roles & T1R_STORE, .which = 2 };
        t->member[i][0] = (uint8_t)t->n_groups;
    } else { /* no others: it would have to be known how long its place is needed */
        for (unsigned k = 0; k < ACTIVE; k++) {
            p->active[k].sym = p->active[k].group == t->member[i][0] ? 0 : p->active[k].sym;
        }
    }
    g->members = 2;
    g->hoisted = (uint8_t)i;
    g->begin = (uint8_t)from;
    g->end = (uint8_t)i;
    g->which = 2;
    g->stash = (uint8_t)(T1_STASH + kept);
    p->kept_end[kept] = i + 1;
    p->kept++;
    t->hoists[from] = true;
}

static void forget_all(Plan *p)
{
    for (unsigned i = 0; i < 16; i++) {
        forget(p, i);
    }
    memset(p->active, 0, sizeof(p->active));
}

static bool joins(const Plan *p, unsigned k, Value at, unsigned n, bool write, unsigned align)
{
    const T1Group *g = &p->t->group[p->active[k].group];
    int64_t lo = MIN(p->active[k].lo, at.off), hi = MAX(p->active[k].hi, at.off + (int64_t)n), first = p->active[k].first;
    if (p->active[k].sym != at.sym || (write && !g->write) || (align && (align > g->align || (at.off - first) & (align - 1))) ||
        (g->align && (first - lo) & (g->align - 1))) {
        return false;
    }
    if (at.sym == SYM_CONST) {
        return (((hi - 1) ^ lo) & TLB_PAGE_MASK) == 0;
    }
    return hi - lo <= GROUP_SPAN;
}

/* An access of n bytes at `at`: the which-th of instruction i. */
static void add_access(Plan *p, unsigned i, unsigned which, Value at, unsigned n, bool write, unsigned align)
{
    T1 *t = p->t;
    if (align && (at.sym == SYM_CONST || at.sym == SYM_PC)) {
        if (at.off & (align - 1)) {
            return;
        }
        align = 0;
    }
    for (unsigned k = 0; k < ACTIVE; k++) {
        if (p->active[k].sym && joins(p, k, at, n, write, align)) {
            T1Group *g = &t->group[p->active[k].group];
            p->active[k].lo = MIN(p->active[k].lo, at.off);
            p->active[k].hi = MAX(p->active[k].hi, at.off + (int64_t)n);
            g->lo = (int16_t)(p->active[k].lo - p->active[k].first);
            g->n = (uint16_t)(p->active[k].hi - p->active[k].lo);
            g->members++;
            t->member[i][which] = p->active[k].group;
            return;
        }
    }
    if (t->apart >> i & 1 || n > GROUP_SPAN || t->n_groups == T1_MAX_GROUPS || (at.sym == SYM_CONST && (at.off & 4095) + n > 4096)) {
        return;
    }
    unsigned k = p->turn++ % ACTIVE;
    t->group[++t->n_groups] = (T1Group){ .n = (uint16_t)n, .write = write, .align = (uint8_t)align, .members = 1, .stash = (uint8_t)k,
                                         .begin = (uint8_t)i, .end = (uint8_t)i, .which = (uint8_t)which };
    p->active[k].sym = at.sym;
    p->active[k].lo = p->active[k].first = at.off;
    p->active[k].hi = at.off + n;
    p->active[k].group = (uint8_t)t->n_groups;
    t->member[i][which] = (uint8_t)t->n_groups;
}

/* The address of a memory operand, if it is one whose distance to others can be told. */
static bool address_of(const Plan *p, const X86Insn *d, Value *v)
{
    const T1 *t = p->t;
    uint64_t k;
    if (!t1_mem_ok(d)) {
        return false;
    }
    if (t1_const_address(t, d, &k)) {
        *v = (Value){ SYM_CONST, (int64_t)k };
        return true;
    }
    if ((d->flags & I_ASIZE) != 3 || d->seg != SEG_FLAT || d->index != R_NONE) {
        return false;
    }
    if (d->base == R_UNIT) {
        *v = (Value){ SYM_PC, (int64_t)(t->rip + (uint64_t)(int64_t)d->disp) };
        return true;
    }
    *v = p->reg[d->base & 15];
    v->off += d->disp;
    return d->base < 16;
}

static void add_operand(Plan *p, unsigned i, unsigned n, bool write, unsigned align)
{
    Value v;
    const X86Insn *d = &p->t->insn[i];
    if (n && insn_is_mem(d) && address_of(p, d, &v)) {
        add_access(p, i, 0, v, n, write, align);
    }
}

static void add_stack(Plan *p, unsigned i, int n, bool push)
{
    Value v = p->reg[R_RSP];
    v.off -= push ? n : 0;
    add_access(p, i, 1, v, (unsigned)n, push, 0);
    p->reg[R_RSP].off += push ? -n : n;
}

/* A 64-bit ADD, SUB, INC, DEC of a constant, or MOV between registers: its result is known. */
static bool adjusts(Plan *p, const X86Insn *d, const T1Row *r)
{
    const X86Row *x = &x86_rows[d->row];
    if (x->map || insn_osize(d) != 3 || d->flags & I_LOCK) {
        return false;
    }
    if (x->opcode == 0x05 || x->opcode == 0x2d) {
        p->reg[R_RAX].off += x->opcode == 0x05 ? (int64_t)d->imm : -(int64_t)d->imm;
        return true;
    }
    if (insn_is_mem(d)) {
        return false;
    }
    Value *rm = &p->reg[d->rm & 15];
    switch (x->opcode) {
    case 0x81: case 0x83:
        if (r->recipe != CC_T1_ADD && r->recipe != CC_T1_SUB) {
            return false;
        }
        rm->off += r->recipe == CC_T1_ADD ? (int64_t)d->imm : -(int64_t)d->imm;
        return true;
    case 0x89: *rm = p->reg[d->reg & 15]; return true;
    case 0x8b: p->reg[d->reg & 15] = *rm; return true;
    default: return false;
    }
}

static void native(Plan *p, unsigned i, const T1Row *r)
{
    const X86Insn *d = &p->t->insn[i];
    const X86Row *x = &x86_rows[d->row];
    bool by_bit = x->map == 1 && !(x->attrs & RA_VEX) && (x->opcode == 0xa3 || x->opcode == 0xab || x->opcode == 0xb3 || x->opcode == 0xbb);
    unsigned n = x86_operand_bytes(x->memsize, d);
    if (!by_bit) {
        add_operand(p, i, n, r->roles & T1R_STORE || d->flags & I_LOCK, r->roles & T1R_ALIGN ? n : 0);
    }
    if (r->cls == T1C_NATIVE && adjusts(p, d, r)) {
        return;
    }
    uint32_t regs = t1_regs_written(d, r);
    for (unsigned k = 0; k < 16; k++) {
        if (regs >> k & 1) {
            forget(p, k);
        }
    }
}

static void plan_insn(Plan *p, unsigned i)
{
    const X86Insn *d = &p->t->insn[i];
    const T1Row *r = &t1_rows()[d->row];
    int n = (int)t1_osize(d);
    Value v;
    switch (t1_traps(d) ? T1C_T0 : r->cls) {
    case T1C_NOP: case T1C_JCC: case T1C_JMP: break;
    case T1C_NATIVE: case T1C_VEC: case T1C_MMX: native(p, i, r); break;
    case T1C_LEA:
        if (n == 8 && (d->flags & I_ASIZE) == 3 && d->base < 16 && d->index == R_NONE) {
            v = p->reg[d->base];
            p->reg[d->reg & 15] = (Value){ v.sym, v.off + d->disp };
        } else {
            forget(p, d->reg);
        }
        break;
    case T1C_PUSH_E:
        add_operand(p, i, (unsigned)n, false, 0);
        add_stack(p, i, n, true);
        break;
    case T1C_PUSH_R: case T1C_PUSH_I: add_stack(p, i, n, true); break;
    case T1C_POP_R:
        add_stack(p, i, n, false);
        forget(p, d->reg);
        break;
    case T1C_LEAVE:
        v = p->reg[R_RBP];
        add_access(p, i, 0, v, (unsigned)n, false, 0);
        p->reg[R_RSP] = (Value){ v.sym, v.off + n };
        forget(p, R_RBP);
        break;
    case T1C_MOV_ZI: forget(p, n == 1 ? d->reg >> 3 : d->reg); break;
    case T1C_XCHG_ZA:
        forget(p, R_RAX);
        forget(p, d->reg);
        break;
    case T1C_DIV: case T1C_IDIV:
        add_operand(p, i, (unsigned)n, false, 0);
        forget(p, R_RAX);
        forget(p, R_RDX);
        break;
    case T1C_X87: case T1C_LDMXCSR: forget(p, R_RAX); break; /* FNSTSW */
    case T1C_CALL: add_stack(p, i, n, true); break;
    case T1C_RET: case T1C_RET_I: add_stack(p, i, n, false); break;
    case T1C_JMP_E: add_operand(p, i, (unsigned)n, false, 0); break;
    case T1C_CALL_E:
        add_operand(p, i, (unsigned)n, false, 0);
        add_stack(p, i, n, true);
        break;
    default: forget_all(p); break;
    }
}

/* A jump from `from` meets the code in front of i: what was written or found in between is not known there. */
static void join(Plan *p, unsigned from, unsigned i)
{
    for (unsigned k = 0; k < 16; k++) {
        if (p->since[k] > from + 1) {
            forget(p, k);
            p->since[k] = i + 1;
        }
    }
    for (unsigned k = 0; k < ACTIVE; k++) {
        p->active[k].sym = p->t->group[p->active[k].group].begin > from ? 0 : p->active[k].sym;
    }
    p->straight = i;
}

void t1_plan(T1 *t)
{
    Plan p = { .t = t, .next = SYM_FIRST };
    unsigned from[T1_MAX_INSNS + 1]; /* where the first jump to an instruction is, plus 1; 0: none */
    t->n_groups = 0;
    t->delta = NULL;
    t->group[0].checked = false; /* of what is no member */
    memset(t->hoists, 0, sizeof(t->hoists));
    if (!t->code64 || t->crossing) {
        memset(t->member, 0, t->n * sizeof(t->member[0]));
        memset(t->join, 0, sizeof(t->join));
        t->joins = 0;
        return;
    }
    t1_joins_plan(t);
    memset(from, 0, t->n * sizeof(from[0]));
    for (unsigned i = t->n; i-- > 0;) {
        from[t->join[i]] = t->join[i] ? i + 1 : from[0];
    }
    forget_all(&p);
    for (unsigned i = 0; i < t->n; i++) {
        if (from[i]) {
            join(&p, from[i] - 1, i);
        }
        uint32_t before[16];
        int64_t off[16];
        for (unsigned k = 0; k < 16; k++) {
            before[k] = p.reg[k].sym;
            off[k] = p.reg[k].off;
        }
        t->member[i][0] = t->member[i][1] = 0;
        plan_insn(&p, i);
        hoist(&p, i);
        for (unsigned k = 0; k < 16; k++) {
            if (p.reg[k].sym != before[k] || p.reg[k].off != off[k]) {
                p.since[k] = i + 1;
            }
        }
        switch (t1_rows()[t->insn[i].row].cls) {
        case T1C_NATIVE: case T1C_LEA: case T1C_MOV_ZI: case T1C_NOP: case T1C_VEC: break;
        default: p.straight = i + 1; break;
        }
    }
}

void t1_groups_forget(T1 *t)
{
    t->delta = NULL;
    for (unsigned k = 1; k <= t->n_groups; k++) {
        t->group[k].checked = false;
    }
}

T1Group *t1_group_led(T1 *t, unsigned which)
{
    T1Group *g = &t->group[t->member[t->i][which]];
    return t->member[t->i][which] && g->members > 1 && g->begin == t->i && g->which == which ? g : NULL;
}

T1Group *t1_checked(T1 *t, unsigned which)
{
    T1Group *g = &t->group[t->member[t->i][which]];
    return t->member[t->i][which] && g->checked ? g : NULL;
}

bool t1_group_open(const T1 *t, unsigned insn)
{
    for (unsigned k = 1; k <= t->n_groups; k++) {
        const T1Group *g = &t->group[k];
        if (g->used && g->begin <= insn && insn < g->end) {
            return true;
        }
    }
    return false;
}

bool t1_group_leads_stack(const T1 *t, unsigned insn)
{
    for (unsigned which = 0; which < 2; which++) {
        const T1Group *g = &t->group[t->member[insn][which]];
        if (t->member[insn][which] && g->used && g->begin == insn && g->which == which && (which || t->insn[insn].base == R_RSP)) {
            return true;
        }
    }
    return false;
}

bool t1_group_in_window(const T1 *t, unsigned insn, bool ahead, unsigned slot, bool write)
{
    for (unsigned k = 1; k <= t->n_groups; k++) {
        const T1Group *g = &t->group[k];
        if (g->used && !g->stashed && g->slot == slot && g->write == write && g->begin < insn && insn < g->end + (unsigned)ahead) {
            return true;
        }
    }
    return false;
}

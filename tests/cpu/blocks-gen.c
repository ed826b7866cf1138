/* SPDX-License-Identifier: MIT
 * tests/cpu/blocks-gen.c - makes a random block: registers, instructions from insn.def whose memory operands
 * hit chosen pages, jumps forwards, loops that end, stores into the next instruction. Each fifth is what compilers make of
 * members of structures and conditions.
 *
 * Some registers hold addresses and are written seldom; operands are formed from them, so that each access
 * lands where it was meant to, at the edges of pages now and then. No instruction reads a flag that is
 * undefined there. Threads: main.
 */
#include "blocks.h"

static uint64_t rnd(uint64_t *s)
{
    return diff_random(s);
}
static unsigned pick(uint64_t *s, unsigned n)
{
    return (unsigned)((rnd(s) >> 32) % n);
}
static bool chance(uint64_t *s, unsigned one_in)
{
    return pick(s, one_in) == 0;
}

enum { G_INT, G_BMI, G_SSE, G_AVX, G_X87, G_MMX, G_STRING, G_COUNT };
typedef struct RowList {
    uint16_t row[2048];
    unsigned n;
} RowList;
static RowList lists[G_COUNT];

static bool usable(unsigned n)
{
    static const char *const no[] = { "JMP",   "CALL",   "RET",      "UD0",    "UD1",     "UD2",
                                      "XSAVE", "XSAVEC", "XSAVEOPT", "XRSTOR", "FXRSTOR", "FXSAVE",
                                      "BOUND", "POPA",   "FLDENV",   "FRSTOR", NULL };
    const X86Row *x = &x86_rows[n];
    if (diff_row_excluded(n) || x->attrs & (RA_VSIB | RA_CPL0) || x->imm == IMM_JB || x->imm == IMM_JZ ||
        x->imm == IMM_AP) {
        return false;
    }
    for (unsigned i = 0; no[i]; i++) {
        if (!strcmp(no[i], x->name)) {
            return false;
        }
    }
    return x->memsize < 65 || x->memsize >= MS_V;
}

static void make_lists(void)
{
    static const char *const groups[G_COUNT] = { "integer", "bmi", "sse", "avx", "x87", "mmx", "string" };
    for (unsigned n = 1; n < x86_n_rows; n++) {
        for (unsigned g = 0; usable(n) && g < G_COUNT; g++) {
            if (!strcmp(groups[g], diff_row_group(n)) && lists[g].n < G_N_ELEMENTS(lists[g].row)) {
                lists[g].row[lists[g].n++] = (uint16_t)n;
            }
        }
    }
}

typedef struct Gen {
    Block *b;
    uint64_t s;
    uint32_t mode;
    unsigned want;
    int ptr[3], idx[2];           /* registers that hold addresses and indices */
    uint32_t kept;                /* all of them, a mask */
    uint32_t undef;               /* here */
    uint32_t pending[B_MAX + 16]; /* undefined on a path that jumps to this instruction */
    struct {
        unsigned at, size, insn, end, from;
    } fix[B_MAX]; /* displacements of jumps forwards */
    unsigned n_fix, n_loops;
    bool bad;
} Gen;

static void put(Gen *g, const void *p, unsigned n)
{
    if (g->b->len + n > B_BYTES - 16) {
        g->bad = true;
        return;
    }
    memcpy(g->b->code + g->b->len, p, n);
    g->b->len += n;
}
#define PUT(g, ...) put((g), (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
static void put32(Gen *g, uint32_t v)
{
    put(g, &v, 4);
}

static void begin(Gen *g)
{
    Block *b = g->b;
    g->undef |= g->pending[b->n];
    b->insn[b->n] = (BlockInsn){ .off = (uint16_t)b->len, .undef = g->undef };
}
static void end(Gen *g)
{
    BlockInsn *i = &g->b->insn[g->b->n];
    i->len = (uint16_t)(g->b->len - i->off);
    i->clear = i->set = 0;
    g->b->n++;
    g->bad |= g->b->n >= B_MAX;
}

/* What the last one did to flags. */
static void defines(Gen *g, uint32_t clear, uint32_t set)
{
    g->b->insn[g->b->n - 1].clear = clear;
    g->b->insn[g->b->n - 1].set = set;
}

/* ---- memory operands ---- */

static uint32_t target(Gen *g, unsigned size)
{
    uint64_t *s = &g->s;
    static const uint32_t odd[] = { B_RO,   B_SUPER,         B_MMIO,  B_MMIO,        B_STACK,
                                    B_CODE, B_CODE + 0x1000, B_ALIAS, B_LO - 0x1000, B_HOLE };
    switch (pick(s, 16)) {
    case 0: /* the border of two pages */ return B_LO + pick(s, 10) * 4096 - pick(s, size + 1);
    case 1:
        return odd[pick(s, G_N_ELEMENTS(odd))] + (chance(s, 3) ? pick(s, 4096) & ~15u : pick(s, 4096 - size));
    case 2: return B_RW + 4096 - pick(s, size + 1); /* two writable pages */
    default: return B_RW + pick(s, 8192 - 64);
    }
}

/* Code of this block is written by smc() alone. */
static bool hits_block(const Gen *g, uint32_t t)
{
    uint32_t from = g->b->at - 80, to = g->b->at + B_BYTES;
    uint32_t code = t >= B_ALIAS ? t - B_ALIAS + B_CODE : t;
    return code + 80 > from && code < to;
}

static void choose_mem(Gen *g, unsigned size, bool align, DiffMem *m)
{
    uint64_t *s = &g->s;
    const DiffState *in = &g->b->in;
    uint32_t t = target(g, size);
    if (hits_block(g, t)) {
        t = B_RW + pick(s, 4096);
    }
    if (align && !chance(s, 12)) {
        t &= ~(MAX(size, 16u) - 1);
    }
    *m = (DiffMem){ .memory = true, .base = -1, .index = -1, .wide = chance(s, 3) };
    int64_t sum = 0;
    bool high = false;
    switch (pick(s, 12)) {
    case 0: m->rip_relative = true; break;
    case 1: high = chance(s, 2); break;
    case 2: /* the stack: pushes and pops in front are small */
        m->base = R_RSP;
        sum = (int64_t)in->gpr[R_RSP];
        t = B_STACK + pick(s, 0x1ff0);
        break;
    case 3: /* no base */ m->index = g->idx[pick(s, 2)]; break;
    default:
        m->base = g->ptr[pick(s, 3)];
        sum = (int64_t)in->gpr[m->base];
        high = sum >> 63;
        m->index = chance(s, 2) ? -1 : g->idx[pick(s, 2)];
    }
    m->scale = pick(s, 4);
    if (m->index >= 0) {
        sum += (int64_t)(in->gpr[m->index] << m->scale);
    }
    if (g->b->code64 && chance(s, 24)) {
        m->seg = 4 + pick(s, 2);
        sum += (int64_t)(m->seg == 4 ? g->b->fs_base : g->b->gs_base);
    }
    m->disp = (int32_t)((int64_t)(t + (high && g->b->code64 ? B_HIGH : 0)) - sum);
    if (chance(s, 4) && m->base >= 0 && m->base != R_RSP && m->index < 0 && !m->seg) {
        m->disp = (int32_t)pick(s, 64) - 32; /* near the address register, wherever that points */
    }
}

/* ---- single instructions ---- */

static bool name_in(const X86Row *x, const char *list) /* "ADD SUB " */
{
    g_autofree char *key = g_strconcat(x->name, " ", NULL);
    const char *p = strstr(list, key);
    return p && (p == list || p[-1] == ' ');
}

static unsigned gpr_of(unsigned kind, unsigned field)
{
    return kind == RK_BYTE ? field >> 3 : field;
}

/* General registers that it writes, nearly: what is missed makes later accesses go astray, no more. */
static uint32_t writes(const X86Insn *d)
{
    const X86Row *x = &x86_rows[d->row];
    uint32_t w = 0;
    bool gr = x->reg == RK_GPR || x->reg == RK_BYTE,
         gm = !insn_is_mem(d) && (x->rm == RK_GPR || x->rm == RK_BYTE);
    if (!name_in(x, "CMP TEST BT PUSH ")) {
        w |= gr ? 1u << (gpr_of(x->reg, d->reg) & 15) : 0;
        w |= gm ? 1u << (gpr_of(x->rm, d->rm) & 15) : 0;
        w |= x->attrs & RA_VEX && gr ? 1u << insn_vvvv(d) : 0;
    }
    if (strstr(x->operands, "AL") == x->operands || strstr(x->operands, "rAX") ||
        name_in(x, "MUL IMUL DIV IDIV CBW CWD CMPXCHG XLAT LODS AAA AAS AAD AAM DAA DAS ")) {
        w |= 1u << R_RAX;
    }
    if (name_in(x, "MUL IMUL DIV IDIV CWD ")) {
        w |= 1u << R_RDX;
    }
    if (name_in(x, "LEAVE ENTER ")) {
        w |= 1u << R_RBP | 1u << R_RSP;
    }
    if (strchr(x->operands, 'X') || strchr(x->operands, 'Y')) {
        w |= 1u << R_RSI | 1u << R_RDI | 1u << R_RCX;
    }
    return w;
}

uint32_t block_undef_after(const X86Insn *d, uint32_t undef)
{
    const X86Row *x = &x86_rows[d->row];
    bool shift = name_in(x, "SHL SHR SAR ROL ROR RCL RCR SHLD SHRD ");
    if (shift && strstr(x->operands, "CL")) {
        return undef | x->fl_undef;
    }
    if (shift && x->imm == IMM_IB && (d->imm & (insn_osize(d) == 3 ? 63 : 31)) == 0) {
        return undef;
    }
    if (!strncmp(x->name, "REP", 3)) {
        return undef | x->fl_undef;
    }
    return (undef & ~(uint32_t)x->fl_written) | x->fl_undef;
}

static bool one_insn(Gen *g, unsigned group)
{
    static const unsigned odds[] = { 62, 66, 80, 86, 92, 95, 96 };
    uint64_t *s = &g->s;
    unsigned k = pick(s, 96), list = 0;
    while (k >= odds[list]) {
        list++;
    }
    list = group < G_COUNT ? group : list;
    if (!lists[list].n) {
        return false;
    }
    unsigned row = lists[list].row[pick(s, lists[list].n)];
    const X86Row *x = &x86_rows[row];
    if ((g->b->code64 && x->attrs & RA_I64) || (!g->b->code64 && x->attrs & RA_O64) ||
        (x->feat && !diff_native_has_feature(x86_feature_names[x->feat]))) {
        return false;
    }
    DiffMem m = { 0 };
    unsigned size = x->memsize && x->memsize < MS_V ? x->memsize : 8;
    if (chance(s, 2)) {
        choose_mem(g, size, x->attrs & RA_ALIGN, &m);
    }
    uint8_t bytes[16];
    X86Insn d;
    unsigned disp_at, n = diff_encode(s, row, g->b->code64, g->mode, &m, bytes, &d, &disp_at);
    if (!n) {
        return false;
    }
    if ((writes(&d) & g->kept && !chance(s, 60)) || (writes(&d) & 1u << R_RSP && !chance(s, 10))) {
        return false;
    }
    bool dshift = name_in(x, "SHLD SHRD ");
    if (dshift && insn_osize(&d) == 1) { /* counts above the operand's size are undefined */
        if (x->imm != IMM_IB) {
            return false;
        }
        bytes[n - 1] &= 15;
        d.imm &= 15;
    }
    if (name_in(x, "LEAVE ENTER POPF ") && !chance(s, 6)) {
        return false;
    }
    if (x->fl_read & (g->undef | g->pending[g->b->n])) {
        return false;
    }
    if (insn_is_mem(&d) && m.rip_relative && g->b->code64 && disp_at) { /* relative to the end */
        uint32_t rel = (uint32_t)m.disp - (g->b->at + g->b->len + n);
        memcpy(bytes + disp_at, &rel, 4);
    }
    begin(g);
    put(g, bytes, n);
    uint32_t before = g->undef, none = block_undef_after(&d, 0);
    g->undef = block_undef_after(&d, before);
    end(g);
    g->b->insn[g->b->n - 1].set = none;
    g->b->insn[g->b->n - 1].clear = ~block_undef_after(&d, FL_ARITH);
    return true;
}

/* Undefined flags anew, when instructions have been left out. */
void block_drop(Block *b, unsigned k)
{
    uint32_t pending[B_MAX + 1] = { 0 }, undef = 0;
    memset(b->code + b->insn[k].off, 0x90, b->insn[k].len);
    b->insn[k].clear = b->insn[k].set = 0;
    b->insn[k].to = 0;
    b->insn[k].ends = false;
    for (unsigned i = 0; i < b->n; i++) {
        BlockInsn *n = &b->insn[i];
        n->undef = undef |= pending[i];
        undef = (undef & ~n->clear) | n->set;
        pending[n->to] |= undef;
        undef = n->ends ? 0 : undef;
    }
}

static void mov_ri(Gen *g, unsigned r, uint32_t v)
{
    begin(g);
    if (r >= 8) {
        PUT(g, 0x41);
    }
    PUT(g, (uint8_t)(0xb8 + (r & 7)));
    put32(g, v);
    end(g);
}

/* A register that operands are not made of. */
static unsigned free_reg(Gen *g)
{
    for (;;) {
        unsigned r = pick(&g->s, g->b->code64 ? 16 : 8);
        if (r != R_RSP && !(g->kept >> r & 1)) {
            return r;
        }
    }
}

/* ---- several instructions at once ---- */

/* Nothing jumps between those from `first` on: rather behind them. */
static void together(Gen *g, unsigned first)
{
    unsigned next = g->b->n;
    for (unsigned i = 0; i < g->n_fix; i++) {
        if (g->fix[i].insn > first && g->fix[i].insn < next) {
            g->pending[next] |= g->pending[g->fix[i].insn];
            g->fix[i].insn = next;
        }
    }
    for (unsigned i = first; i < next; i++) {
        g->b->insn[i].keep = true;
    }
}

static void jump_to(Gen *g, unsigned size, unsigned ahead)
{
    unsigned insn = g->b->n + ahead; /* that many behind this one */
    g->fix[g->n_fix].at = g->b->len;
    g->fix[g->n_fix].size = size;
    g->fix[g->n_fix].from = g->b->n;
    g->fix[g->n_fix].insn = MIN(insn, (unsigned)B_MAX);
    g->pending[MIN(insn, (unsigned)B_MAX)] |= g->undef;
    size == 1 ? PUT(g, 0) : put32(g, 0);
    g->fix[g->n_fix++].end = g->b->len;
}

static bool forward(Gen *g)
{
    static const uint16_t reads[8] = { FL_OF, FL_CF, FL_ZF,         FL_CF | FL_ZF,
                                       FL_SF, FL_PF, FL_SF | FL_OF, FL_ZF | FL_SF | FL_OF };
    uint64_t *s = &g->s;
    unsigned ahead = 1 + pick(s, 6), cc = pick(s, 16), kind = pick(s, 8);
    if (g->n_fix + 1 >= B_MAX || (kind < 5 && reads[cc >> 1] & (g->undef | g->pending[g->b->n]))) {
        return false;
    }
    begin(g);
    if (kind < 2) {
        PUT(g, (uint8_t)(0x70 + cc));
        jump_to(g, 1, MIN(ahead, 4u));
    } else if (kind < 5) {
        PUT(g, 0x0f, (uint8_t)(0x80 + cc));
        jump_to(g, 4, ahead);
    } else if (kind == 5) {
        PUT(g, 0xe9);
        jump_to(g, 4, ahead);
        g->undef = 0; /* what follows is reached by jumps alone; pending says with what */
    } else if (kind == 6) {
        PUT(g, 0xe8);
        jump_to(g, 4, ahead);
        g->undef = 0;
    } else {
        if (g->kept >> R_RCX & 1) {
            return false;
        }
        PUT(g, (uint8_t)(0xe2 + pick(s, 2)));
        jump_to(g, 1, MIN(ahead, 4u));
    }
    end(g);
    g->b->insn[g->b->n - 1].ends = kind == 5 || kind == 6;
    return true;
}

/* MOV of an address that is filled in later. */
static uint8_t *mov_address(Gen *g, unsigned r)
{
    unsigned size = g->b->code64 ? 8 : 4;
    begin(g);
    if (g->b->code64) {
        PUT(g, (uint8_t)(0x48 | r >> 3));
    }
    PUT(g, (uint8_t)(0xb8 + (r & 7)));
    put(g, &(uint64_t){ 0 }, size);
    end(g);
    return g->b->code + g->b->len - size;
}

/* The place of what is `back` bytes before the end of the code so far, perhaps where it is mapped once more. */
static void put_address(Gen *g, uint8_t *imm, unsigned back)
{
    uint64_t *s = &g->s;
    uint64_t to = g->b->at + g->b->len - back + (chance(s, 2) ? g->b->base : chance(s, 2) ? g->b->other : 0);
    memcpy(imm, &to, g->b->code64 ? 8 : 4);
}

/* Calls a RET. */
static void routine(Gen *g)
{
    unsigned r = free_reg(g), first = g->b->n;
    uint8_t *imm = mov_address(g, r);
    begin(g);
    for (unsigned n = r >= 8 ? 3 : 2; (g->b->at + g->b->len + n) % 4096 >= 4096 - 64 && (g->b->at + g->b->len + n) % 4096 < 4095;) {
        PUT(g, 0x90); /* so that it returns to an instruction that crosses into the next page */
    }
    if (r >= 8) {
        PUT(g, 0x41);
    }
    PUT(g, 0xff, (uint8_t)(0xd0 | (r & 7)));
    end(g);
    begin(g);
    PUT(g, 0xeb, 1);
    end(g);
    begin(g);
    PUT(g, 0xc3);
    end(g);
    if (!g->bad) {
        put_address(g, imm, 1);
        together(g, first);
    }
}

/* Jumps to an address in a register or on the stack, of the instruction behind. */
static void indirect(Gen *g)
{
    uint64_t *s = &g->s;
    unsigned r = free_reg(g), kind = pick(s, 4), pop = pick(s, 3) * 8, first = g->b->n;
    uint8_t *imm = mov_address(g, r);
    uint32_t undef = g->undef;
    unsigned at = g->b->len;
    if (kind < 2) {
        begin(g);
        if (r >= 8) {
            PUT(g, 0x41);
        }
        PUT(g, 0xff, (uint8_t)((kind ? 0xd0 : 0xe0) | (r & 7))); /* CALL, JMP */
        end(g);
    } else {
        begin(g);
        if (r >= 8) {
            PUT(g, 0x41);
        }
        PUT(g, (uint8_t)(0x50 | (r & 7)));
        end(g);
        begin(g);
        if (kind == 2) {
            PUT(g, 0xc3);
        } else {
            PUT(g, 0xc2, (uint8_t)pop, 0);
        }
        end(g);
    }
    if (g->bad || at < 5) {
        return;
    }
    if (chance(s, 2)) { /* over something that nobody executes */
        begin(g);
        PUT(g, 0x0f, 0x0b);
        end(g);
    }
    put_address(g, imm, 0);
    g->undef = undef;
    together(g, first);
}

/* SUB dword [counter], 1; JG or JNS to an instruction before. */
static bool loop_back(Gen *g)
{
    uint64_t *s = &g->s;
    if (g->n_loops == G_N_ELEMENTS(g->b->counter) || g->b->n < 2) {
        return false;
    }
    unsigned to = g->b->n - 1 - pick(s, MIN(g->b->n - 1, 10u));
    while (to && g->b->insn[to].keep) {
        to--;
    }
    uint32_t where = B_COUNTERS + 64 * g->n_loops;
    g->b->counter[g->n_loops++] = 1 + pick(s, 4);
    begin(g);
    if (g->b->code64) {
        PUT(g, 0x83, 0x2c, 0x25);
    } else {
        PUT(g, 0x83, 0x2d);
    }
    put32(g, where);
    PUT(g, 1);
    g->undef = 0;
    end(g);
    defines(g, FL_ARITH, 0);
    begin(g);
    int rel = (int)g->b->insn[to].off - (int)g->b->len;
    uint8_t cc = chance(s, 2) ? 15 : 9; /* G, NS */
    if (rel - 2 >= -128 && chance(s, 2)) {
        PUT(g, (uint8_t)(0x70 + cc), (uint8_t)(rel - 2));
    } else {
        PUT(g, 0x0f, (uint8_t)(0x80 + cc));
        put32(g, (uint32_t)(rel - 6));
    }
    end(g);
    together(g, g->b->n - 2);
    return true;
}

/* A store to the immediate of an instruction not far behind, perhaps the next, perhaps through the other
 * mapping. */
static void smc(Gen *g)
{
    uint64_t *s = &g->s;
    unsigned r = free_reg(g), src = free_reg(g), gap = pick(s, 3);
    bool wide = chance(s, 2);
    g->b->patches = true;
    begin(g);
    if (src >= 8) {
        PUT(g, 0x44);
    } else if (!wide && g->b->code64) {
        PUT(g, 0x40);
    } else if (!wide && src >= 4) {
        src = R_RAX;
    }
    PUT(g, wide ? 0x89 : 0x88, (uint8_t)(0x04 | (src & 7) << 3), 0x25); /* MOV [disp32], r */
    unsigned at = g->b->len;
    put32(g, 0);
    end(g);
    for (unsigned i = 0; i < gap; i++) {
        one_insn(g, G_INT);
    }
    mov_ri(g, r, (uint32_t)rnd(s));
    uint32_t to = g->b->at + g->b->len - (wide ? 4 : 1 + pick(s, 4));
    if (to < B_CODE + 0xff8 && chance(s, 3)) {
        to += B_ALIAS - B_CODE;
    }
    if (!g->bad) {
        memcpy(g->b->code + at, &to, 4);
    }
}

static void string_op(Gen *g)
{
    uint64_t *s = &g->s;
    if (g->kept & (1u << R_RCX | 1u << R_RSI | 1u << R_RDI)) {
        return;
    }
    mov_ri(g, R_RSI, target(g, 16) & ~0u);
    uint32_t to = target(g, 16);
    mov_ri(g, R_RDI, hits_block(g, to) ? B_RW + pick(s, 4096) : to);
    mov_ri(g, R_RCX, pick(s, chance(s, 4) ? 300 : 12));
    for (unsigned i = 0; i < 20 && !one_insn(g, G_STRING); i++) {
        ;
    }
}

static void divide(Gen *g)
{
    static const uint8_t modrm[] = { 0xf0, 0xf8 };
    uint64_t *s = &g->s;
    unsigned r = free_reg(g);
    if (g->kept & (1u << R_RAX | 1u << R_RDX) || r == R_RAX || r == R_RDX) {
        return;
    }
    begin(g);
    PUT(g, 0x31, 0xd2); /* XOR EDX, EDX */
    g->undef = FL_AF;
    end(g);
    defines(g, FL_ARITH, FL_AF);
    begin(g);
    PUT(g, 0x83, 0xc0 | 0x08 | R_RAX, 1); /* OR EAX, 1 */
    end(g);
    defines(g, FL_ARITH, FL_AF);
    begin(g);
    if (g->b->code64) {
        PUT(g, (uint8_t)(0x40 | pick(s, 2) << 3 | r >> 3));
    }
    PUT(g, 0xf7, (uint8_t)(modrm[pick(s, 2)] | (r & 7)));
    g->undef = FL_ARITH;
    end(g);
    defines(g, FL_ARITH, FL_ARITH);
}

/* ---- what compilers make: members of structures, jumps over some instructions ---- */

static void put_flags(Gen *g, uint32_t clear, uint32_t set)
{
    g->undef = (g->undef & ~clear) | set;
    end(g);
    defines(g, clear, set);
}

/* op r, [p + disp8] or the other way round; -128: registers. */
static void put_rm(Gen *g, uint8_t op, unsigned r, unsigned p, int disp, bool wide)
{
    begin(g);
    PUT(g, (uint8_t)(0x40 | wide << 3 | r >> 3 << 2 | p >> 3), op, (uint8_t)((disp == -128 ? 0xc0 : 0x40) | (r & 7) << 3 | (p & 7)));
    if (disp != -128) {
        if ((p & 7) == 4) {
            PUT(g, 0x24);
        }
        PUT(g, (uint8_t)disp);
    }
}

/* One that leads to memory by itself; the third may be in the upper half. */
static unsigned pointer(Gen *g)
{
    unsigned r = (unsigned)g->ptr[pick(&g->s, 3)];
    uint64_t v = g->b->in.gpr[r];
    v -= v >> 63 ? B_HIGH : 0;
    return v >= B_RW && v < B_RW + 0x8000 ? r : (unsigned)g->ptr[pick(&g->s, 2)];
}

static void member(Gen *g)
{
    static const uint8_t ops[] = { 0x8b, 0x8b, 0x89, 0x89, 0x03, 0x39, 0x3b, 0x29, 0x21, 0x85, 0x13, 0x19 };
    uint64_t *s = &g->s;
    unsigned r = free_reg(g), p = pointer(g), kind = pick(s, 20);
    uint8_t op = ops[pick(s, G_N_ELEMENTS(ops))];
    bool wide = chance(s, 2);
    uint32_t unknown = g->undef | g->pending[g->b->n];
    if (((op & ~0x0eu) == 0x11 || kind == 15) && unknown & FL_CF) { /* ADC, SBB */
        return;
    }
    if (kind < 12) {
        put_rm(g, op, r, p, (int)pick(s, 64) - 32, wide);
        (op & ~2u) == 0x89 ? end(g) : put_flags(g, FL_ARITH, op == 0x21 || op == 0x85 ? FL_AF : 0);
    } else if (kind < 13) { /* ADD p, imm8 */
        put_rm(g, 0x83, 0, p, -128, true);
        PUT(g, (uint8_t)pick(s, 24));
        put_flags(g, FL_ARITH, 0);
    } else if (kind < 14) { /* LEA p, [p + disp8] */
        put_rm(g, 0x8d, p, p, (int)pick(s, 64) - 32, true);
        end(g);
    } else if (kind < 15) {
        put_rm(g, 0x89, pointer(g), p, -128, true);
        end(g);
    } else if (kind < 16) { /* ADC r, imm8 */
        put_rm(g, 0x83, 2, r, -128, wide);
        PUT(g, (uint8_t)rnd(s));
        put_flags(g, FL_ARITH, 0);
    } else if (kind < 17) { /* SHL r, 1 */
        put_rm(g, 0xd1, 4, r, -128, wide);
        put_flags(g, FL_ARITH, FL_AF);
    } else if (kind < 18) { /* INC r */
        put_rm(g, 0xff, 0, r, -128, wide);
        put_flags(g, FL_ARITH & ~(uint32_t)FL_CF, 0);
    } else { /* CMP r, imm8; MOV r, r */
        bool cmp = kind < 19;
        put_rm(g, cmp ? 0x83 : 0x8b, cmp ? 7 : r, cmp ? r : p, -128, wide);
        if (cmp) {
            PUT(g, (uint8_t)rnd(s));
            put_flags(g, FL_ARITH, 0);
        } else {
            end(g);
        }
    }
}

/* ---- the block ---- */

static void choose_registers(Gen *g)
{
    Block *b = g->b;
    uint64_t *s = &g->s;
    unsigned limit = b->code64 ? 16 : 8;
    for (unsigned i = 0; i < limit; i++) {
        b->in.gpr[i] = b->code64 ? diff_edge(s) : (uint32_t)diff_edge(s);
    }
    for (unsigned i = limit; i < 16; i++) {
        b->in.gpr[i] = 0;
    }
    int *all[5] = { &g->ptr[0], &g->ptr[1], &g->ptr[2], &g->idx[0], &g->idx[1] };
    for (unsigned i = 0; i < 5; i++) {
        unsigned r;
        do {
            r = pick(s, limit);
        } while (r == R_RSP || g->kept >> r & 1 || (r <= R_RDX && !chance(s, 6)) ||
                 ((r == R_RSI || r == R_RDI) && i > 1 && b->code64));
        if (!b->code64 && i == 2) { /* eight registers: two pointers, one index */
            g->ptr[2] = g->ptr[0];
            continue;
        }
        if (!b->code64 && i == 4) {
            g->idx[1] = g->idx[0];
            continue;
        }
        *all[i] = (int)r;
        g->kept |= 1u << r;
        uint64_t v = B_RW + pick(s, 0x7000);
        if (i == 2) { /* far away, or in the upper half */
            v += chance(s, 2) ? B_HIGH : rnd(s) & 0x7ff00000;
        } else if (i > 2) {
            v = (uint64_t)(int64_t)((int)pick(s, 200) - 100);
        }
        b->in.gpr[r] = b->code64 ? v : (uint32_t)v;
    }
    b->in.gpr[R_RSP] =
        B_STACK + 0x1000 + (pick(s, 0xe00) & (chance(s, 8) ? ~0u : ~7u)) - (chance(s, 8) ? 0xe00 : 0);
    if (chance(s, 8)) {
        b->in.gpr[R_RSP] = B_STACK + 0x1000 + pick(s, 32) - 16; /* about the border */
    }
    if (chance(s, 30)) {
        b->in.gpr[R_RSP] = (chance(s, 2) ? B_STACK : B_STACK + 0x2000 - 48) + pick(s, 40); /* runs off soon */
    }
}

static void resolve(Gen *g)
{
    Block *b = g->b;
    for (unsigned i = 0; i < g->n_fix; i++) {
        unsigned insn = MIN(g->fix[i].insn, b->n - 1);
        int rel = (int)b->insn[insn].off - (int)g->fix[i].end;
        if (g->fix[i].size == 1 && (rel < -128 || rel > 127)) {
            g->bad = true;
        }
        memcpy(b->code + g->fix[i].at, &rel, g->fix[i].size);
        b->insn[g->fix[i].from].to = (int16_t)insn;
    }
}

static void fill_state(Gen *g)
{
    Block *b = g->b;
    uint64_t *s = &g->s;
    b->in.rip = b->at + b->base;
    b->in.rflags =
        FL_IF | 2 | ((uint32_t)rnd(s) & FL_ARITH) | (chance(s, 8) ? FL_DF : 0) | (chance(s, 3) ? FL_AC : 0);
    diff_fill_fx(s, &b->in.fx);
    if (!chance(s, 6)) {
        b->in.fx.mxcsr |= 0x1f80; /* all exceptions masked: then vectors stay in the host's registers */
        b->in.fx.fcw |= 0x3f;
    }
    for (unsigned i = 0; i < 16; i++) {
        diff_fill_vector(s, b->in.ymmh[i]);
    }
    b->fs_base = pick(s, 4) * 0x1000 - 0x800;
    b->gs_base = rnd(s) & 0xffff;
    b->noise = pick(s, 4096) * 8;
}

bool block_generate(uint64_t seed, Block *b)
{
    Gen g = { .b = b, .s = (seed + 1) * 0x9e3779b97f4a7c15ull };
    uint64_t *s = &g.s;
    if (!lists[0].n) {
        make_lists();
    }
    for (int i = 0; i < 12; i++) {
        rnd(s);
    }
    *b = (Block){ .seed = seed };
    b->code64 = !chance(s, 4);
    b->user = !chance(s, 3);
    b->smap = !b->user && chance(s, 8);
    b->at = B_CODE + (chance(s, 4) ? 0x1000 - pick(s, 300) : pick(s, 0x1000 + 0x900));
    if (b->user && !chance(s, 3)) {
        static const uint64_t bases[] = { B_BASES };
        unsigned i = pick(s, 4), k = (i + 1 + pick(s, 3)) % 4;
        b->base = bases[b->code64 ? i : i | 2];
        b->other = bases[b->code64 ? k : (i ^ 1) | 2];
    }
    g.mode = MODE_PE | MODE_LMA | MODE_FLAT | (b->user ? MODE_CPL3 : 0) |
             (b->code64 ? MODE_CODE64 : MODE_CODE32) | MODE_SS32 | MODE_AVX_OK;
    g.want = chance(s, 4) ? 2 + pick(s, 6) : 2 + pick(s, 39);
    choose_registers(&g);
    unsigned group = chance(s, 6) ? pick(s, 6) : G_COUNT; /* some blocks are of one kind */
    bool members = seed % 5 == 4 && b->code64;
    for (unsigned tries = 0; b->n < g.want && tries < 2000 && !g.bad; tries++) {
        if (members) {
            unsigned what = pick(s, 24);
            what < 5 ? (void)forward(&g) : what < 6 ? (void)loop_back(&g) : member(&g);
            continue;
        }
        switch (pick(s, 28)) {
        case 0:
        case 1: forward(&g); break;
        case 2: loop_back(&g); break;
        case 3:
            chance(s, 2) ? indirect(&g) : chance(s, 2) ? routine(&g) : (void)0;
            break;
        case 4:
            if (chance(s, 3)) {
                smc(&g);
            }
            break;
        case 5:
            if (chance(s, 2)) {
                string_op(&g);
            }
            break;
        case 6:
            if (chance(s, 2)) {
                divide(&g);
            }
            break;
        default: one_insn(&g, group); break;
        }
    }
    for (unsigned i = b->n; i <= B_MAX; i++) {
        g.pending[b->n] |= g.pending[i];
    }
    begin(&g);
    PUT(&g, 0x0f, 0x0b); /* UD2: the end */
    end(&g);
    resolve(&g);
    fill_state(&g);
    return !g.bad && b->n >= 2;
}

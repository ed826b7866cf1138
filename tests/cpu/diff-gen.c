/* SPDX-License-Identifier: MIT
 * tests/cpu/diff-gen.c - makes a random valid encoding of a row of insn.def, with registers, memory and flags chosen
 * so that addresses hit the test's data pages (most of the time) and operands hit the edges.
 */
#include "diff.h"

typedef struct GenRow { /* what the row's ENC says, parsed once */
    bool vex, modrm, plus_r, b0, nf;
    int pp, digit, rm, w, l; /* -1: free */
    char mod;                /* 'm', 'r', 0 */
} GenRow;
static GenRow *gen_rows;

uint64_t diff_random(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545f4914f6cdd1dull;
}
static unsigned pick(uint64_t *s, unsigned n) { return (unsigned)((diff_random(s) >> 32) % n); }
static bool chance(uint64_t *s, unsigned one_in) { return pick(s, one_in) == 0; }

static void parse_enc(const X86Row *row, GenRow *g)
{
    *g = (GenRow){ .pp = -1, .digit = -1, .rm = -1, .w = -1, .l = -1 };
    g_auto(GStrv) tok = g_strsplit(row->enc, " ", -1);
    unsigned n = g_strv_length(tok);
    for (unsigned i = 0; i < n; i++) {
        const char *t = tok[i];
        if (!strcmp(t, "vex")) {
            g->vex = true;
        } else if (!strcmp(t, "np")) {
            g->pp = 0;
        } else if (!strcmp(t, "nf")) {
            g->nf = true;
        } else if (i + 1 < n && tok[i + 1][0] != '/' && tok[i + 1][0] != '+' && tok[i + 1][0] != ':' && g->pp < 0 &&
                   (!strcmp(t, "66") || !strcmp(t, "f3") || !strcmp(t, "f2")) && strcmp(tok[i + 1], "b0")) {
            g->pp = !strcmp(t, "66") ? 1 : !strcmp(t, "f3") ? 2 : 3;
        } else if (t[0] == 'w' || t[0] == 'l') {
            *(t[0] == 'w' ? &g->w : &g->l) = t[1] - '0';
        } else if (t[0] == '/') {
            g->digit = t[1] - '0';
        } else if (t[0] == ':') {
            g->mod = t[1];
        } else if (g_str_has_prefix(t, "rm=")) {
            g->rm = t[3] - '0';
        } else if (!strcmp(t, "+r")) {
            g->plus_r = true;
        } else if (!strcmp(t, "b0") && i) {
            g->b0 = true;
        }
    }
    g->modrm = x86_has_modrm[row->map][row->opcode];
    if (!g->mod && g->modrm) { /* as decodegen infers from the operands */
        g_auto(GStrv) ops = g_strsplit(row->operands, ",", -1);
        for (unsigned i = 0; ops[i]; i++) {
            if (ops[i][0] == 'M') {
                g->mod = 'm';
            } else if (strchr("RNU", ops[i][0]) && ops[i][0] && !strchr(ops[i], '/') && !(row->attrs & RA_MODANY)) {
                g->mod = 'r';
            }
        }
    }
}

void diff_gen_init(void)
{
    gen_rows = g_new0(GenRow, x86_n_rows);
    for (unsigned i = 1; i < x86_n_rows; i++) {
        parse_enc(&x86_rows[i], &gen_rows[i]);
    }
}

static bool name_is(const X86Row *row, const char *const *list)
{
    for (; *list; list++) {
        if (!strcmp(row->name, *list)) {
            return true;
        }
    }
    return false;
}

const char *diff_row_excluded(unsigned n)
{
    const X86Row *row = &x86_rows[n];
    static const char *const host_state[] = { "SGDT", "SIDT", "SLDT", "STR", "SMSW", "CPUID", "RDTSC", "RDTSCP", "RDPMC",
        "RDRAND", "RDSEED", "RDPID", "XGETBV", "RDFSBASE", "RDGSBASE", "WRFSBASE", "WRGSBASE", "LAR", "LSL", "VERR",
        "VERW", "ARPL", NULL };
    static const char *const leaves[] = { "SYSCALL", "SYSENTER", "SYSEXIT", "SYSRET", "INT", "INT3", "INT1", "ICEBP",
        "INTO", "IRET", "RETF", "CALLF", "JMPF", "CALL FAR", "JMP FAR", "RET FAR", "HLT", NULL };
    static const char *const area[] = { "XSAVES", "XRSTORS", "XSETBV", NULL };
    static const char *const seg[] = { "LDS", "LES", "LFS", "LGS", "LSS", NULL };
    if (row->attrs & RA_NOFUZZ) {
        return "marked nofuzz: ports, privilege or time";
    }
    if (row->attrs & RA_CPL0) {
        return "needs privilege 0";
    }
    if (name_is(row, host_state)) {
        return "shows the host's own state";
    }
    if (name_is(row, leaves)) {
        return "enters the host's kernel or another code segment";
    }
    if (name_is(row, area)) {
        return "needs privilege 0";
    }
    if (name_is(row, seg) || strstr(row->operands, "Sw") || g_regex_match_simple("(^|,)([EDSCFG]S)(,|$)", row->operands, 0, 0)) {
        return "segment selectors are the host's";
    }
    if (row->reg == RK_CR || row->reg == RK_DR) {
        return "needs privilege 0";
    }
    return NULL;
}

const char *diff_row_group(unsigned n)
{
    const X86Row *row = &x86_rows[n];
    return row->attrs & RA_X87                                  ? "x87"
           : row->attrs & RA_MMX                                ? "mmx"
           : row->attrs & RA_SSE                                ? "sse"
           : row->attrs & RA_AVX || row->memsize == 832         ? "avx"
           : row->attrs & RA_VEX                                ? "bmi"
           : row->reg == RK_XMM || row->rm == RK_XMM            ? "sse"
           : diff_row_excluded(n)                               ? "system"
           : strstr(row->operands, "X") || strstr(row->operands, "Y") ? "string"
           : row->imm == IMM_JB || row->imm == IMM_JZ           ? "branch"
                                                                : "integer";
}

/* ---- values ---- */

uint64_t diff_edge(uint64_t *s)
{
    static const uint64_t v[] = { 0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
        0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffffffe, 0x100,
        0x10000, 0x100000000, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa };
    switch (pick(s, 4)) {
    case 0: return v[pick(s, G_N_ELEMENTS(v))];
    case 1: return (uint64_t)1 << pick(s, 64);
    case 2: return diff_random(s) >> pick(s, 64);
    default: return diff_random(s);
    }
}

static uint32_t edge_f32(uint64_t *s)
{
    static const uint32_t v[] = { 0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
        0x7f800001, 0x7fbfffff, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000, 0xcf000000, 0x5f000000, 0x3f000000,
        0x4effffff, 0x40490fdb };
    return pick(s, 3) ? (pick(s, 2) ? v[pick(s, G_N_ELEMENTS(v))] : 0x3c000000u + (uint32_t)(diff_random(s) >> 37)) : (uint32_t)(diff_random(s) >> 32);
}

static uint64_t edge_f64(uint64_t *s)
{
    static const uint64_t v[] = { 0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
        0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001, 0x7ff7ffffffffffff, 1,
        0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x41dfffffffc00000, 0x41e0000000000000,
        0xc1e0000000000000, 0x43e0000000000000, 0xc3e0000000000000, 0x3fe0000000000000, 0x36a0000000000000,
        0x47efffffe0000000, 0x400921fb54442d18 };
    return pick(s, 3) ? (pick(s, 2) ? v[pick(s, G_N_ELEMENTS(v))] : 0x3fc0000000000000ull + (diff_random(s) >> 9) % 0x0080000000000000ull)
                      : diff_random(s);
}

static void edge_f80(uint64_t *s, uint8_t out[10])
{
    uint64_t sig = diff_random(s) | 1ull << 63;
    uint16_t se = (uint16_t)(0x3fff - 20 + pick(s, 84) + (pick(s, 2) << 15));
    switch (pick(s, 12)) {
    case 0: sig = 0, se &= 0x8000; break;                                       /* zero */
    case 1: sig = 1ull << 63, se |= 0x7fff; break;                              /* infinity */
    case 2: se |= 0x7fff; sig |= 1ull << 62; break;                             /* quiet NaN */
    case 3: se |= 0x7fff; sig = (sig & ~(1ull << 62)) | 1; break;               /* signalling NaN */
    case 4: se &= 0x8000; sig &= ~(1ull << 63); break;                          /* denormal */
    case 5: se &= 0x8000; break;                                                /* pseudo-denormal */
    case 6: sig &= ~(1ull << 63); break;                                        /* unnormal: unsupported */
    case 7: sig = 1ull << 63; break;                                            /* power of two */
    case 8: se = (uint16_t)diff_random(s); break;
    case 9: sig = (uint64_t)(1 + pick(s, 200)) << 56 | 1ull << 63, se = (uint16_t)(0x3fff + pick(s, 8)); break;
    default: break;
    }
    memcpy(out, &sig, 8);
    memcpy(out + 8, &se, 2);
}

void diff_fill_vector(uint64_t *s, uint8_t v[16])
{
    switch (pick(s, 4)) {
    case 0:
        for (int i = 0; i < 4; i++) {
            uint32_t f = edge_f32(s);
            memcpy(v + 4 * i, &f, 4);
        }
        break;
    case 1:
        for (int i = 0; i < 2; i++) {
            uint64_t f = edge_f64(s);
            memcpy(v + 8 * i, &f, 8);
        }
        break;
    default:
        for (int i = 0; i < 2; i++) {
            uint64_t f = diff_edge(s);
            memcpy(v + 8 * i, &f, 8);
        }
    }
}

void diff_fill_fx(uint64_t *s, DiffFx *fx)
{
    memset(fx, 0, sizeof(*fx));
    fx->fcw = (uint16_t)(0x0040 | (chance(s, 6) ? pick(s, 64) : 0x3f) | (chance(s, 2) ? 3 : pick(s, 2) * 2) << 8 |
                         (chance(s, 2) ? 0 : pick(s, 4)) << 10);
    unsigned top = pick(s, 8);
    unsigned flags = chance(s, 4) ? pick(s, 128) : 0;
    fx->fsw = (uint16_t)(top << 11 | flags | (pick(s, 8) << 8) | pick(s, 2) << 14);
    if (flags & ~fx->fcw & 0x3f) {
        fx->fsw |= 0x8080; /* ES and its copy B */
    }
    fx->ftw = chance(s, 3) ? (uint8_t)diff_random(s) : 0xff;
    for (int i = 0; i < 8; i++) {
        edge_f80(s, fx->st[i]);
    }
    fx->mxcsr = 0x1f80;
    if (chance(s, 3)) {
        fx->mxcsr = (uint32_t)(diff_random(s) & 0xffff) | (chance(s, 3) ? 0 : 0x1f80);
    }
    for (int i = 0; i < 16; i++) {
        diff_fill_vector(s, fx->xmm[i]);
    }
}

/* Vector operands that make an instruction interesting: counts in range, masks, equal operands, half-precision numbers. */
static void correlate(uint64_t *s, DiffCase *c, const X86Row *row, const X86Insn *d)
{
    if (!(row->attrs & RA_AVX)) {
        return;
    }
    unsigned rm = d->flags & I_MEM ? pick(s, 16) : d->rm, v = insn_vvvv(d);
    uint8_t *half[2] = { c->in.fx.xmm[rm & 15], c->in.ymmh[rm & 15] };
    if (!strncmp(row->name, "VPS", 3) && chance(s, 2)) { /* counts of shifts */
        for (unsigned i = 0; i < 32; i += 4) {
            uint32_t n = pick(s, 70);
            memcpy(half[i / 16] + i % 16, &n, 4);
        }
        memset(c->in.fx.xmm[rm & 15] + 4, 0, 4);
    } else if (row->reg == RK_XMM && row->attrs & RA_VVVV && chance(s, 6)) {
        memcpy(c->in.fx.xmm[v], half[0], 16);
        memcpy(c->in.ymmh[v], half[1], 16);
    } else if (!strcmp(row->name, "VPTEST") || !strncmp(row->name, "VTEST", 5)) {
        if (chance(s, 3)) {
            memset(half[0], 0, 16);
            memset(half[1], 0, chance(s, 2) ? 16 : 0);
        } else if (chance(s, 3)) {
            memset(c->in.fx.xmm[d->reg], 0xff, 16);
            memset(c->in.ymmh[d->reg], 0xff, 16);
        }
    } else if (!strncmp(row->name, "VCVTPH", 6) && chance(s, 2)) {
        static const uint16_t edges[] = { 0, 0x8000, 1, 0x3ff, 0x400, 0x7bff, 0x7c00, 0xfc00, 0x7c01, 0x7e00, 0xfdff, 0x3c00 };
        for (unsigned i = 0; i < 16; i += 2) {
            uint16_t h = edges[pick(s, G_N_ELEMENTS(edges))];
            memcpy(half[0] + i, &h, 2);
            for (unsigned k = i; k < DIFF_DATA_SIZE; k += 16) {
                memcpy(c->data + k, &h, 2);
            }
        }
    } else if (!strcmp(row->name, "VCVTPS2PH") && chance(s, 2)) {
        for (unsigned i = 0; i < 32; i += 4) { /* around the range of half precision */
            uint32_t f = (uint32_t)(diff_random(s) >> 32) & 0x807fffff & (chance(s, 2) ? ~0u : 0xffffe000u);
            f |= (127 - 27 + pick(s, 46)) << 23;
            memcpy((i < 16 ? c->in.fx.xmm[d->reg] : c->in.ymmh[d->reg] - 16) + i, &f, 4);
        }
    } else if (row->exc[0] == '6' && chance(s, 4)) { /* all of a masked move, or nothing */
        memset(c->in.fx.xmm[v], chance(s, 2) ? 0xff : 0x7f, 16);
        memset(c->in.ymmh[v], chance(s, 2) ? 0xff : 0x7f, 16);
    }
}

/* ---- encoding ---- */

typedef struct Enc {
    uint8_t b[16];
    unsigned n;
} Enc;
static void put(Enc *e, unsigned v) { if (e->n < 15) { e->b[e->n++] = (uint8_t)v; } }
static void put_n(Enc *e, uint64_t v, unsigned n) { while (n--) { put(e, (unsigned)v & 255); v >>= 8; } }

static unsigned put_modrm(uint64_t *s, const GenRow *g, Enc *e, bool addr16, uint32_t *disp_at, bool vsib)
{
    unsigned reg = g->digit >= 0 ? (unsigned)g->digit : pick(s, 8);
    bool mem = g->mod == 'm' || (g->mod != 'r' && chance(s, 2));
    if (!mem) {
        put(e, 0xc0 | reg << 3 | (g->rm >= 0 ? (unsigned)g->rm : pick(s, 8)));
        return 0;
    }
    unsigned mod = pick(s, 3), rm = vsib ? 4 : pick(s, 8);
    put(e, mod << 6 | reg << 3 | rm);
    *disp_at = e->n;
    if (addr16) {
        put_n(e, diff_random(s), mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 6) ? 2 : 0);
        return 1;
    }
    unsigned base = rm;
    if (rm == 4) {
        unsigned sib = pick(s, 256);
        base = sib & 7;
        put(e, sib);
        *disp_at = e->n;
    }
    put_n(e, diff_random(s), mod == 1 ? 1 : mod == 2 || (mod == 0 && base == 5) ? 4 : 0);
    return 1;
}

static unsigned imm_bytes(const X86Row *row, bool code64, bool p66, bool rexw, bool p67)
{
    switch (row->imm) {
    case IMM_IB: case IMM_IBS: case IMM_JB: return 1;
    case IMM_IW: return 2;
    case IMM_IWIB: return 3;
    case IMM_IZ: return p66 && !rexw ? 2 : 4;
    case IMM_JZ: return p66 && !code64 ? 2 : 4;
    case IMM_IV: return rexw ? 8 : row->osz == OSZ_B ? 1 : p66 ? 2 : 4;
    case IMM_AP: return p66 ? 4 : 6;
    case IMM_MOFFS: return code64 ? (p67 ? 4 : 8) : (p67 ? 2 : 4);
    default: return 0;
    }
}

/* A memory operand that the caller chose. Result: where the displacement lies, 0: the form has no memory. */
static uint32_t put_chosen(const GenRow *g, uint64_t *s, Enc *e, bool code64, const DiffMem *m)
{
    unsigned reg = (g->digit >= 0 ? (unsigned)g->digit : pick(s, 8)) << 3;
    bool small = m->base >= 0 && m->disp >= -128 && m->disp <= 127 && !m->wide;
    unsigned mod = m->base < 0 ? 0 : small ? 0x40 : 0x80;
    if (m->index < 0 && m->base >= 0 && (m->base & 7) != 4) {
        put(e, mod | reg | (m->base & 7));
    } else if (m->base < 0 && m->index < 0 && (m->rip_relative || !code64)) {
        put(e, reg | 5);
    } else {
        put(e, mod | reg | 4);
        put(e, m->scale << 6 | (m->index < 0 ? 4u : (unsigned)m->index & 7) << 3 | (m->base < 0 ? 5u : (unsigned)m->base & 7));
    }
    uint32_t at = e->n;
    put_n(e, (uint32_t)m->disp, mod == 0x40 ? 1 : 4);
    return at;
}

static bool encode(uint64_t *s, unsigned n, bool code64, Enc *e, uint32_t *disp_at, bool *lock, const DiffMem *m)
{
    const X86Row *row = &x86_rows[n];
    const GenRow *g = &gen_rows[n];
    bool string = strstr(row->operands, "X") || strstr(row->operands, "Y");
    bool p66 = !g->vex && (g->pp == 1 || ((g->pp < 0 || g->nf) && chance(s, 4)));
    if (code64 && (row->attrs & RA_F64) && (row->attrs & RA_END)) {
        p66 = false; /* near branches: AMD takes a 16-bit IP, Intel ignores the prefix, and so do we */
    }
    bool p67 = code64 && !string && g->modrm && chance(s, 12);
    bool rexw = code64 && (g->w == 1 || (g->w < 0 && chance(s, 2)));
    bool chosen = m && m->memory && g->modrm && g->mod != 'r';
    unsigned high = chosen ? (m->base >= 8 ? 1u : 0) | (m->index >= 8 ? 2u : 0) : 0; /* REX.B, REX.X */
    e->n = 0;
    if (m && m->memory && g->mod == 'r') {
        return false;
    }
    *lock = (row->attrs & RA_LOCK) && chance(s, 4);
    if (m && m->memory && m->seg >= 4) {
        put(e, m->seg == 4 ? 0x64 : 0x65);
    }
    if (p67 && row->imm != IMM_MOFFS) {
        put(e, 0x67);
    } else {
        p67 = false;
    }
    if (code64 && !g->vex && chance(s, 30)) {
        static const uint8_t seg[] = { 0x2e, 0x36, 0x3e, 0x26 };
        put(e, seg[pick(s, 4)]);
    }
    if (*lock) {
        put(e, 0xf0);
    }
    if (p66) {
        put(e, 0x66);
    }
    if (!g->vex && g->pp >= 2) {
        put(e, g->pp == 2 ? 0xf3 : 0xf2);
    }
    unsigned map = row->map;
    if (g->vex) {
        map -= 3;
        unsigned rxb = !code64 ? 0 : chosen ? (pick(s, 2) << 2 | high) : pick(s, 8), w = g->w >= 0 ? (unsigned)g->w : rexw;
        unsigned vvvv = row->attrs & RA_VVVV ? pick(s, code64 ? 16 : 8) : 0;
        put(e, 0xc4);
        put(e, (~rxb & 7) << 5 | map);
        put(e, w << 7 | (~vvvv & 15) << 3 | (g->l == 1 || (g->l < 0 && chance(s, 2)) ? 4u : 0) | (unsigned)g->pp);
    } else {
        if (code64 && (rexw || high || chance(s, 2))) {
            put(e, 0x40 | rexw << 3 | (chosen ? (pick(s, 2) << 2 | high) : pick(s, 8) & (g->b0 ? 6 : 7)));
        } else {
            rexw = false;
            if (code64 && g->w == 1) {
                return false;
            }
        }
        if (map) {
            put(e, 0x0f);
        }
        if (map >= 2) {
            put(e, map == 2 ? 0x38 : 0x3a);
        }
    }
    put(e, row->opcode); /* decodegen gives +r rows their first opcode */
    if (g->plus_r) {
        e->b[e->n - 1] = (uint8_t)((e->b[e->n - 1] & ~7u) | pick(s, 8));
        if (!strcmp(row->operands, "Zv,rAX") && (e->b[e->n - 1] & 7) == 0) {
            e->b[e->n - 1]++; /* 90 is NOP */
        }
    }
    *disp_at = 0;
    if (chosen) {
        *disp_at = put_chosen(g, s, e, code64, m);
    } else if (g->modrm) {
        if (m && g->mod == 'm') {
            return false;
        }
        GenRow only = *g;
        only.mod = m ? 'r' : g->mod;
        unsigned mem = put_modrm(s, &only, e, false, disp_at, row->attrs & RA_VSIB);
        if (!mem && *lock && !chance(s, 4)) {
            return false; /* LOCK on a register form is #UD: seldom */
        }
    }
    unsigned k = imm_bytes(row, code64, p66, rexw, p67);
    uint64_t imm = diff_edge(s);
    if (row->imm == IMM_IWIB) {
        imm = (diff_random(s) & 0xff) | (uint64_t)pick(s, 40) << 16; /* ENTER frame size, level */
    } else if (row->imm == IMM_MOFFS) {
        imm = DIFF_DATA + 4096 - 8 + pick(s, 16);
    } else if (row->imm == IMM_JZ) {
        imm = (uint64_t)(int64_t)((int)pick(s, 4000) - 2000);
    } else if (row->imm == IMM_IW) {
        imm &= 0xfff;
    }
    put_n(e, imm, k);
    return e->n < 15;
}

unsigned diff_encode(uint64_t *s, unsigned n, bool code64, uint32_t mode, const DiffMem *m, uint8_t bytes[16], X86Insn *d, unsigned *disp_at)
{
    Enc e;
    uint32_t at;
    bool lock;
    X86Features all = x86_all_features();
    if (!encode(s, n, code64, &e, &at, &lock, m)) {
        return 0;
    }
    memset(bytes, 0x90, 16);
    memcpy(bytes, e.b, e.n);
    if (x86_decode(mode, &all, bytes, 15, 0, d) != DEC_OK || d->row != n || d->len != e.n) {
        return 0;
    }
    *disp_at = at;
    return e.n;
}

/* ---- operands ---- */

/* The address the memory operand shall have: around the middle of the data, across the page boundary now and then,
 * at the edges (faults) seldom. */
static uint32_t target_address(uint64_t *s, unsigned size, bool align)
{
    uint32_t a;
    switch (pick(s, 16)) {
    case 0: a = DIFF_DATA + 4096 - pick(s, size + 1); break;
    case 1: a = DIFF_DATA + DIFF_DATA_SIZE - pick(s, size + 1); break;
    case 2: a = DIFF_DATA - pick(s, size + 1); break;
    default: a = DIFF_DATA + 2048 + pick(s, 2048);
    }
    return align && !chance(s, 16) ? a & ~(MAX(size, 16u) - 1) : a;
}

static void set_gpr(DiffCase *c, unsigned r, uint64_t v)
{
    c->in.gpr[r] = c->code64 ? v : (uint32_t)v;
}

static bool is_bit_test(const X86Row *row) { return row->name[0] == 'B' && row->name[1] == 'T' && row->imm == IMM_NONE; }

/* A gather's base and index elements: most addresses in the data, some at their edges; half the mask bits set. */
static bool place_gather(uint64_t *s, DiffCase *c, const X86Row *row, const X86Insn *d, uint32_t disp_at)
{
    uint32_t t = DIFF_DATA + 4096;
    if (d->base == R_NONE) {
        memcpy(c->bytes + disp_at, &t, 4);
    } else {
        set_gpr(c, d->base, t - (uint64_t)(int64_t)d->disp);
    }
    unsigned wild = chance(s, 3) ? 8 : 1000;
    for (unsigned i = 0; i < 32 / row->vsib; i++) {
        int64_t v = (int64_t)pick(s, 800) - 400;
        if (chance(s, wild)) {
            v = chance(s, 2) ? (4096 >> d->scale) - (int)pick(s, 12) : (int64_t)diff_edge(s);
        }
        unsigned at = i * row->vsib;
        memcpy(at < 16 ? &c->in.fx.xmm[d->index][at] : &c->in.ymmh[d->index][at - 16], &v, row->vsib);
    }
    return true;
}

/* An XSAVE area, and which components: those up to AVX, whose places do not depend on the host's XCR0. */
static bool place_area(uint64_t *s, DiffCase *c, const X86Insn *d, uint32_t disp_at)
{
    if (d->base == R_RAX || d->base == R_RDX || d->index != R_NONE) {
        return false;
    }
    unsigned at = 3072 + pick(s, 32) * 64;
    c->area = at;
    uint32_t t = DIFF_DATA + at;
    if (chance(s, 16)) { /* #GP */
        t += 1 + pick(s, 63);
        c->area = 0;
    }
    c->in.gpr[R_RAX] = pick(s, 8);
    c->in.gpr[R_RDX] = 0;
    uint64_t header[8] = { pick(s, 8) };
    if (chance(s, 2)) { /* compacted */
        header[1] = 1ull << 63 | (chance(s, 4) ? pick(s, 8) : header[0] | pick(s, 8));
    }
    if (chance(s, 12)) {
        header[pick(s, 8)] |= 1ull << pick(s, 62);
    }
    header[0] &= ~0x2f8ull; /* components of the host alone */
    header[1] &= ~0x2f8ull;
    memcpy(c->data + at + 512, header, sizeof(header));
    uint32_t mxcsr = (uint32_t)diff_random(s) & (chance(s, 8) ? ~0x20000u : 0xffffu);
    memcpy(c->data + at + 24, &mxcsr, 4);
    if (d->base == R_NONE) {
        memcpy(c->bytes + disp_at, &t, 4);
    } else if (d->base == R_UNIT) {
        t -= DIFF_CODE + c->len;
        memcpy(c->bytes + disp_at, &t, 4);
    } else {
        set_gpr(c, d->base, t - (uint64_t)(int64_t)d->disp);
    }
    return true;
}

static bool place_memory(uint64_t *s, DiffCase *c, const X86Row *row, X86Insn *d, uint32_t disp_at)
{
    bool by_l = row->memsize >= MS_L && row->memsize <= MS_DUP;
    unsigned size = by_l ? x86_operand_bytes(row->memsize, d) : row->memsize && (row->memsize < MS_V || row->memsize >= 512) ? row->memsize : 16;
    bool area = size > 64; /* FXSAVE and the like */
    if (area && row->name[0] == 'X') {
        return place_area(s, c, d, disp_at);
    }
    bool sha = !strncmp(row->name, "SHA", 3) && row->attrs & RA_SSE; /* AMD lets these be misaligned, against its manual */
    uint32_t t = sha ? DIFF_DATA + 2048 + pick(s, 128) * 16 : area ? (DIFF_DATA + 512 + pick(s, 32) * 16) & ~63u : target_address(s, size, row->attrs & RA_ALIGN);
    if (area) { /* MXCSR without reserved bits, mostly */
        uint32_t mxcsr = (uint32_t)diff_random(s) & (chance(s, 8) ? ~0x20000u : 0xffffu);
        memcpy(c->data + (t - DIFF_DATA) + 24, &mxcsr, 4);
    }
    bool asize32 = (d->flags & I_ASIZE) == 2;
    if (row->attrs & RA_VSIB) {
        return place_gather(s, c, row, d, disp_at);
    }
    if (is_bit_test(row)) {
        set_gpr(c, d->reg, chance(s, 8) ? diff_edge(s) & 0x7fff : pick(s, 4096) - 2048ull);
        t = DIFF_DATA + 2048 + pick(s, 2048);
    }
    if (d->base == R_NONE && d->index == R_NONE) { /* absolute */
        memcpy(c->bytes + disp_at, &t, 4);
    } else if (d->base == R_UNIT) {
        uint32_t rel = t - (DIFF_CODE + c->len);
        memcpy(c->bytes + disp_at, &rel, 4);
    } else {
        uint64_t index = 0;
        if (d->index != R_NONE) {
            if (d->index == d->base) { /* base * (1 + 2^scale) = t - disp, rounded */
                uint64_t k = 1 + (1ull << d->scale);
                set_gpr(c, d->base, (t - (uint64_t)(int64_t)d->disp) / k);
                return true;
            }
            if (d->base == R_NONE) {
                set_gpr(c, d->index, (t - (uint64_t)(int64_t)d->disp) >> d->scale);
                return true;
            }
            index = (uint64_t)(int64_t)((int)pick(s, 64) - 32);
            if (is_bit_test(row) && d->index == d->reg) {
                index = c->in.gpr[d->reg];
            }
            set_gpr(c, d->index, index);
            index = c->in.gpr[d->index];
        }
        uint64_t base = t - (uint64_t)(int64_t)d->disp - (index << d->scale);
        if (asize32 && c->code64) {
            base = (uint32_t)base | (diff_random(s) & 0xffffffff00000000ull);
        }
        set_gpr(c, d->base, base);
    }
    return true;
}

static void place_implicit(uint64_t *s, DiffCase *c, const X86Row *row, const X86Insn *d)
{
    static const char *const stack[] = { "PUSH", "POP", "PUSHF", "POPF", "PUSHA", "POPA", "CALL", "RET", "ENTER", "LEAVE", NULL };
    if (name_is(row, stack)) {
        if (!(d->base == R_RSP && (d->flags & I_MEM))) {
            set_gpr(c, R_RSP, target_address(s, 8, false) & (chance(s, 4) ? ~0u : ~7u));
        }
        if (row->name[0] == 'E' || row->name[0] == 'L') {
            set_gpr(c, R_RBP, DIFF_DATA + 2048 + pick(s, 2048));
        }
    }
    if (strstr(row->operands, "X") || strstr(row->operands, "Y") || strstr(row->name, "MASKMOVQ") || strstr(row->name, "MASKMOVDQU")) {
        set_gpr(c, R_RSI, DIFF_DATA + 2048 + pick(s, 4096));
        set_gpr(c, R_RDI, chance(s, 8) ? c->in.gpr[R_RSI] + pick(s, 16) - 8 : DIFF_DATA + 2048 + pick(s, 4096));
        if (!strncmp(row->name, "REP", 3)) {
            set_gpr(c, R_RCX, chance(s, 16) ? pick(s, 4000) : pick(s, 40));
        }
        if (chance(s, 2)) { /* equal bytes, for REPE */
            memset(c->data + 2048, (int)pick(s, 2) * 0x41, 4096 - 64);
            set_gpr(c, R_RAX, c->data[3000] * 0x0101010101010101ull);
        }
    }
    if (!strcmp(row->name, "XLAT")) {
        set_gpr(c, R_RBX, DIFF_DATA + 2048 + pick(s, 1024));
    }
    if (!strcmp(row->name, "JMP") || !strcmp(row->name, "CALL")) {
        if (row->imm == IMM_NONE && !(d->flags & I_MEM)) {
            set_gpr(c, d->rm, diff_edge(s) & 0x7fffffff);
        } else if (row->imm == IMM_NONE) {
            for (unsigned i = 0; i < DIFF_DATA_SIZE; i += 8) { /* every pointer in memory is canonical */
                c->data[i + 6] = c->data[i + 7] = c->data[i + 5] = 0;
                c->data[i + 4] = 0;
            }
        }
    }
    if (!strcmp(row->name, "POPF")) { /* TF stays, for the host's single step; AC and NT would hit the test itself */
        for (unsigned i = 0; i < DIFF_DATA_SIZE; i++) {
            c->data[i] = (uint8_t)((c->data[i] | 1) & ~0x44);
        }
    }
    if (!strncmp(row->name, "SH", 2) && row->name[3] == 'D' && (d->flags & I_OSIZE) == 1 << I_OSIZE_SHIFT) {
        /* counts above the operand's size are undefined */
        if (row->imm == IMM_IB) {
            c->bytes[c->len - 1] &= 15;
        } else {
            set_gpr(c, R_RCX, c->in.gpr[R_RCX] & ~16ull);
        }
    }
    if (!strcmp(row->name, "RET")) {
        for (unsigned i = 4; i < DIFF_DATA_SIZE; i += 8) {
            memset(c->data + i, 0, 4);
        }
    }
    if ((!strcmp(row->name, "DIV") || !strcmp(row->name, "IDIV")) && chance(s, 2)) {
        bool neg = row->name[0] == 'I' && (c->in.gpr[R_RAX] >> 63 & 1);
        set_gpr(c, R_RDX, neg ? ~0ull : pick(s, 4));
    }
    if (!strncmp(row->name, "CMPXCHG", 7) && chance(s, 2) && !(d->flags & I_MEM)) {
        set_gpr(c, R_RAX, c->in.gpr[d->rm & 15]);
    }
}

/* Flags that the row leaves undefined only for some operands: masked by count, as the SDM's tables say. */
static void refine_undefined(DiffCase *c, const X86Row *row, const X86Insn *d)
{
    c->rflags_ignore = row->fl_undef;
    bool doubleshift = !strcmp(row->name, "SHLD") || !strcmp(row->name, "SHRD");
    if (doubleshift && insn_osize(d) == 1) { /* a count above 16 leaves CF undefined */
        c->rflags_ignore |= FL_CF;
    }
}

bool diff_generate(unsigned n, bool code64, uint64_t seed, DiffCase *c, const char **why)
{
    const X86Row *row = &x86_rows[n];
    if ((code64 && (row->attrs & RA_I64)) || (!code64 && (row->attrs & RA_O64))) {
        *why = "not in this mode";
        return false;
    }
    uint64_t s = seed * 0x9e3779b97f4a7c15ull + n + 1;
    X86Features all = x86_all_features();
    uint32_t mode = MODE_PE | MODE_LMA | MODE_FLAT | MODE_CPL3 | MODE_CODE32 | MODE_SS32;
    mode = code64 ? (mode & ~MODE_CODE32) | MODE_CODE64 : mode;
    for (int i = 0; i < 15; i++) {
        diff_random(&s);
    }
    for (int attempt = 0; attempt < 60; attempt++) {
        Enc e;
        uint32_t disp_at;
        bool lock;
        if (!encode(&s, n, code64, &e, &disp_at, &lock, NULL)) {
            continue;
        }
        memset(c->bytes, 0x90, sizeof(c->bytes));
        memcpy(c->bytes, e.b, e.n);
        X86Insn d;
        if (x86_decode(mode, &all, c->bytes, 15, 0, &d) != DEC_OK || d.row != n || d.len != e.n) {
            continue;
        }
        c->code64 = code64;
        c->row = n;
        c->area = 0;
        c->len = e.n;
        for (int i = 0; i < 16; i++) {
            c->in.gpr[i] = 0;
            if (code64 || i < 8) {
                set_gpr(c, (unsigned)i, diff_edge(&s));
            }
        }
        c->in.rip = DIFF_CODE;
        c->in.rflags = FL_IF | 2 | ((uint32_t)diff_random(&s) & (FL_ARITH | FL_DF));
        diff_fill_fx(&s, &c->in.fx);
        for (int i = 0; i < 16; i++) {
            diff_fill_vector(&s, c->in.ymmh[i]);
        }
        if (chance(&s, 8)) { /* as after VZEROUPPER */
            memset(c->in.ymmh, 0, sizeof(c->in.ymmh));
        }
        for (unsigned i = 0; i < DIFF_DATA_SIZE; i += 16) {
            diff_fill_vector(&s, c->data + i);
        }
        correlate(&s, c, row, &d);
        if ((row->attrs & RA_X87) && (d.flags & I_MEM) && chance(&s, 2)) {
            for (unsigned i = 2048; i + 10 < 4096 + 64; i += 10) {
                edge_f80(&s, c->data + i);
            }
        }
        place_implicit(&s, c, row, &d);
        if ((d.flags & I_MEM) && disp_at && row->imm != IMM_MOFFS && strcmp(row->name, "LEA")) {
            if (!place_memory(&s, c, row, &d, disp_at)) {
                continue;
            }
        }
        refine_undefined(c, row, &d);
        return true;
    }
    *why = "no encoding was accepted by the decoder";
    return false;
}

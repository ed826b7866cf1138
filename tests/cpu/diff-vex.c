/* SPDX-License-Identifier: MIT
 * tests/cpu/diff-vex.c - which VEX encodings exist: rows of insn.def with their prefix, L, W, vvvv, ModRM or map changed
 * at random, and random opcodes. Host and decoder must agree on #UD.
 */
#include "diff.h"

#include <stdio.h>

static unsigned pick(uint64_t *s, unsigned n) { return (unsigned)((diff_random(s) >> 32) % n); }
static bool chance(uint64_t *s, unsigned one_in) { return pick(s, one_in) == 0; }

/* VEX instructions of extensions that insn.def has not: AVX-512's and AMX's mask and tile instructions, GFNI, AVX-VNNI,
 * AVX-IFMA, AVX-NE-CONVERT, CMPccXADD, KEYLOCKER's neighbours (SDM vol. 2, appendix A). */
static bool is_unknown_extension(unsigned map, unsigned op)
{
    switch (map) {
    case 1: return (op >= 0x41 && op <= 0x4b) || (op >= 0x90 && op <= 0x99);
    case 2:
        return op == 0x49 || op == 0x4b || op == 0x5c || op == 0x5e || (op >= 0x50 && op <= 0x53) || op == 0x72 ||
               op == 0xb0 || op == 0xb1 || op == 0xb4 || op == 0xb5 || op == 0xcf || op >= 0xd2;
    case 3: return (op >= 0x30 && op <= 0x33) || op == 0xce || op == 0xcf;
    default: return true;
    }
}

/* Bytes of the case; the memory operand is [base] or [base + disp8] with every register at the middle of the data. */
static void make_bytes(uint64_t *s, DiffCase *c)
{
    static const uint8_t junk[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x48, 0x3e };
    unsigned map = 1 + pick(s, 3), op = pick(s, 256), pp = pick(s, 4), l = pick(s, 2), w = pick(s, 2), digit = pick(s, 8);
    if (!chance(s, 3)) {
        unsigned row = 1 + pick(s, x86_n_rows - 1);
        for (; !(x86_rows[row].attrs & RA_VEX); row = row % (x86_n_rows - 1) + 1) {
        }
        map = x86_rows[row].map - 3u;
        op = x86_rows[row].opcode;
        const char *p = strstr(x86_rows[row].enc, "66 "), *f3 = strstr(x86_rows[row].enc, "f3 0f"), *f2 = strstr(x86_rows[row].enc, "f2 0f");
        pp = chance(s, 8) ? pp : f3 ? 2 : f2 ? 3 : p ? 1 : 0;
        w = chance(s, 2) ? w : x86_rows[row].vex_w == VW_1;
        l = chance(s, 2) ? l : x86_rows[row].vex_l == VL_1;
    } else if (chance(s, 16)) {
        map = pick(s, 32);
    }
    unsigned vvvv = chance(s, 2) ? 15 : pick(s, 16), n = 0;
    uint8_t *b = c->bytes;
    memset(b, 0x90, sizeof(c->bytes));
    if (chance(s, 12)) {
        unsigned j = pick(s, sizeof(junk));
        b[n++] = !c->code64 && junk[j] == 0x48 ? 0x3e : junk[j];
    }
    unsigned rxb = c->code64 ? pick(s, 8) : 7;
    if (map == 1 && chance(s, 4)) {
        b[n++] = 0xc5;
        b[n++] = (uint8_t)((rxb & 4 ? 0x80 : 0) | (c->code64 ? vvvv : vvvv | 8) << 3 | l << 2 | pp);
    } else {
        b[n++] = 0xc4;
        b[n++] = (uint8_t)(rxb << 5 | map);
        b[n++] = (uint8_t)(w << 7 | vvvv << 3 | l << 2 | pp);
    }
    b[n++] = (uint8_t)op;
    unsigned mod = chance(s, 2) ? 3 : pick(s, 2), rm = pick(s, 8);
    if (mod == 0 && rm == 5) {
        mod = 3;
    }
    b[n++] = (uint8_t)(mod << 6 | digit << 3 | rm);
    if (mod != 3 && rm == 4) {
        b[n++] = (uint8_t)(pick(s, 8) << 3 | 4); /* base rSP or r12 */
    }
    if (mod == 1) {
        b[n++] = (uint8_t)(pick(s, 4) * 16);
    }
    b[n] = (uint8_t)diff_random(s);
}

static void make_case(uint64_t seed, DiffCase *c)
{
    uint64_t s = seed * 0x9e3779b97f4a7c15ull + 12345;
    for (int i = 0; i < 15; i++) {
        diff_random(&s);
    }
    memset(c, 0, sizeof(*c));
    c->code64 = seed & 1;
    make_bytes(&s, c);
    for (unsigned i = 0; i < (c->code64 ? 16u : 8u); i++) {
        c->in.gpr[i] = (DIFF_DATA + 4096) / 16; /* a scaled index of the same value stays inside or faults; both are fine */
    }
    c->in.gpr[R_RSP] = DIFF_DATA + 4096;
    c->in.rip = DIFF_CODE;
    c->in.rflags = FL_IF | 2;
    c->in.fx.fcw = 0x37f;
    c->in.fx.mxcsr = 0x1f80;
}

/* Runs n cases, prints differences, returns their number. */
unsigned diff_vex_run(uint64_t n, uint64_t seed)
{
    static DiffCase c;
    static DiffResult h, t;
    X86Features all = x86_all_features();
    unsigned bad = 0, agree_ud = 0, legal = 0, skipped = 0;
    for (uint64_t k = 0; k < n && bad < 20; k++) {
        make_case(seed + k, &c);
        uint32_t mode = MODE_PE | MODE_LMA | MODE_FLAT | MODE_CPL3 | MODE_SS32 | MODE_AVX_OK | (c.code64 ? MODE_CODE64 : MODE_CODE32);
        X86Insn d;
        X86DecodeResult dec = x86_decode(mode, &all, c.bytes, 15, 0, &d);
        const X86Row *row = &x86_rows[dec == DEC_OK ? d.row : 0];
        c.row = dec == DEC_OK ? d.row : 0;
        c.len = d.len;
        if (row->feat && !diff_native_has_feature(x86_feature_names[row->feat])) {
            skipped++;
            continue;
        }
        diff_native_run(&c, &h);
        diff_t0_run(&c, &t);
        /* AMD's processors run VPERMQ and VPERMPD with W = 0, too; both manuals have only W = 1. */
        unsigned o = c.bytes[0] == 0xc4 ? 3 : 4;
        bool permq = c.bytes[o - 3] == 0xc4 && (c.bytes[o - 2] & 31) == 3 && c.bytes[o] <= 1 && c.bytes[o - 1] < 0x80;
        if (permq && dec != DEC_OK) {
            skipped++;
            continue;
        }
        bool ours = t.trap == EXC_UD, host = h.trap == EXC_UD;
        if (ours == host) {
            agree_ud += ours;
            legal += !ours;
            continue;
        }
        unsigned at = c.bytes[0] == 0xc4 || c.bytes[0] == 0xc5 ? 0 : 1;
        bool three = c.bytes[at] == 0xc4;
        if (ours && is_unknown_extension(three ? c.bytes[at + 1] & 31 : 1, c.bytes[at + (three ? 3 : 2)])) {
            skipped++;
            continue;
        }
        /* VPINSRQ, VPEXTRQ outside 64-bit mode: Intel's processors ignore W (SDM vol. 2B, VPEXTRQ, footnote), AMD's do not. */
        if (ours && !c.code64 && three && (c.bytes[at + 1] & 31) == 3 && c.bytes[at + 2] & 0x80 &&
            (c.bytes[at + 3] == 0x16 || c.bytes[at + 3] == 0x22)) {
            skipped++;
            continue;
        }
        bad++;
        printf("# vex seed %lu %d-bit: %s %s, host trap %d, t0 trap %d:", (long)(seed + k), c.code64 ? 64 : 32, row->name,
               row->operands, h.trap, t.trap);
        for (unsigned i = 0; i < 12; i++) {
            printf(" %02x", c.bytes[i]);
        }
        printf("\n");
    }
    printf("# vex: %u legal, %u undefined on both, %u of other extensions, %u differences\n", legal, agree_ud, skipped, bad);
    return bad;
}

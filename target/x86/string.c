/* SPDX-License-Identifier: MIT
 * target/x86/string.c - MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS and their repetition.
 * Models: SDM vol. 2 of each, and REP; vol. 1 7.3.9.
 * A repeated instruction works in pieces that end at page borders, on host memory where both sides are plain
 * RAM. Registers are exact after each piece, so that a fault or an interrupt finds RIP at the instruction and
 * RCX, RSI, RDI at the element to go on with.
 * Threads: the vCPU's thread.
 */
#include "int-ops.h"
#include "t0.h"

/* Index and count registers at the instruction's address size. */
static inline uint64_t reg_a(const X86Cpu *cpu, const X86Insn *d, unsigned r)
{
    unsigned a = d->flags & I_ASIZE;
    return a == 3 ? cpu->gpr[r] : a == 2 ? (uint32_t)cpu->gpr[r] : (uint16_t)cpu->gpr[r];
}

static inline void set_reg_a(X86Cpu *cpu, const X86Insn *d, unsigned r, uint64_t v)
{
    unsigned a = d->flags & I_ASIZE;
    if (a == 3) {
        cpu->gpr[r] = v;
    } else if (a == 2) {
        cpu->gpr[r] = (uint32_t)v;
    } else {
        R16(r) = (uint16_t)v;
    }
}

static inline void advance(X86Cpu *cpu, const X86Insn *d, unsigned r, int64_t by)
{
    set_reg_a(cpu, d, r, reg_a(cpu, d, r) + (uint64_t)by);
}

static inline int64_t step(const X86Cpu *cpu, unsigned n) { return cpu->eflags & FL_DF ? -(int64_t)n : (int64_t)n; }

/* DS:rSI or its override; ES:rDI, which has none. */
static uint64_t src_lin(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    uint64_t off = reg_a(cpu, d, R_RSI);
    if (d->flags & I_SEGCHECK) {
        SYNC(d);
        return seg_linear(cpu, d->seg, off, n, false);
    }
    off += cpu->seg_base[d->seg];
    return cpu->mode & MODE_CODE64 ? off : (uint32_t)off;
}

static uint64_t dst_lin(X86Cpu *cpu, const X86Insn *d, unsigned n, bool write)
{
    uint64_t off = reg_a(cpu, d, R_RDI);
    if (cpu->mode & MODE_CODE64 || cpu->mode & MODE_FLAT) {
        return off;
    }
    SYNC(d);
    return seg_linear(cpu, SEG_ES, off, n, write);
}

static uint64_t load(X86Cpu *cpu, const X86Insn *d, uint64_t lin, unsigned n)
{
    switch (n) {
    case 1: return ld8(cpu, d, lin);
    case 2: return ld16(cpu, d, lin);
    case 4: return ld32(cpu, d, lin);
    default: return ld64(cpu, d, lin);
    }
}

static void store(X86Cpu *cpu, const X86Insn *d, uint64_t lin, uint64_t v, unsigned n)
{
    switch (n) {
    case 1: st8(cpu, d, lin, (uint8_t)v); break;
    case 2: st16(cpu, d, lin, (uint16_t)v); break;
    case 4: st32(cpu, d, lin, (uint32_t)v); break;
    default: st64(cpu, d, lin, v); break;
    }
}

static uint64_t acc(const X86Cpu *cpu, unsigned n) { return n == 8 ? cpu->gpr[R_RAX] : cpu->gpr[R_RAX] & ((1ull << 8 * n) - 1); }

static void set_acc(X86Cpu *cpu, uint64_t v, unsigned n)
{
    switch (n) {
    case 1: WR8(0, v); break;
    case 2: WR16(R_RAX, v); break;
    case 4: WR32(R_RAX, v); break;
    default: WR64(R_RAX, v); break;
    }
}

static void compare(X86Cpu *cpu, uint64_t a, uint64_t b, unsigned n)
{
    unsigned log2 = n == 1 ? 0 : n == 2 ? 1 : n == 4 ? 2 : 3;
    SET_CC(CC_SUB + log2, (a - b) & (UINT64_MAX >> (64 - 8 * n)), b);
}

/* ---- one element ---- */

static void one_movs(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    uint64_t from = src_lin(cpu, d, n), to = dst_lin(cpu, d, n, true);
    store(cpu, d, to, load(cpu, d, from, n), n);
    advance(cpu, d, R_RSI, step(cpu, n));
    advance(cpu, d, R_RDI, step(cpu, n));
}

static void one_stos(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    store(cpu, d, dst_lin(cpu, d, n, true), acc(cpu, n), n);
    advance(cpu, d, R_RDI, step(cpu, n));
}

static void one_lods(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    set_acc(cpu, load(cpu, d, src_lin(cpu, d, n), n), n);
    advance(cpu, d, R_RSI, step(cpu, n));
}

static void one_cmps(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    uint64_t a = load(cpu, d, src_lin(cpu, d, n), n), b = load(cpu, d, dst_lin(cpu, d, n, false), n);
    compare(cpu, a, b, n);
    advance(cpu, d, R_RSI, step(cpu, n));
    advance(cpu, d, R_RDI, step(cpu, n));
}

static void one_scas(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    uint64_t b = load(cpu, d, dst_lin(cpu, d, n, false), n);
    compare(cpu, acc(cpu, n), b, n);
    advance(cpu, d, R_RDI, step(cpu, n));
}

static void one_ins(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    SYNC(d);
    uint16_t port = (uint16_t)cpu->gpr[R_RDX];
    x86_check_io(cpu, port, n);
    uint64_t to = dst_lin(cpu, d, n, true);
    x86_probe_write(cpu, to, n, cpu->mmu);
    store(cpu, d, to, x86_io_in(cpu, port, n), n);
    advance(cpu, d, R_RDI, step(cpu, n));
}

static void one_outs(X86Cpu *cpu, const X86Insn *d, unsigned n)
{
    SYNC(d);
    uint16_t port = (uint16_t)cpu->gpr[R_RDX];
    x86_check_io(cpu, port, n);
    uint64_t v = load(cpu, d, src_lin(cpu, d, n), n);
    SYNC(d);
    x86_io_out(cpu, port, n, v);
    advance(cpu, d, R_RSI, step(cpu, n));
}

/* ---- pieces on host memory. Each returns how many elements it did; 0: do one the long way, which also
 * brings the page into the TLB ---- */

/* Forward, flat, 32- or 64-bit addresses: what the piece functions can do. */
static inline bool piece_ok(const X86Cpu *cpu, const X86Insn *d)
{
    return !(cpu->eflags & FL_DF) && !(d->flags & I_SEGCHECK) && (d->flags & I_ASIZE) != 1 &&
           (cpu->mode & (MODE_CODE64 | MODE_FLAT)) && !(cpu->mode & (MODE_TF | MODE_DEBUG)) && !(cpu->t0->dbg & DBG_STEP);
}

static inline uint8_t *host_of(X86Cpu *cpu, uint64_t lin, bool write)
{
    const TlbEntry *e = &cpu->tlb->e[cpu->mmu][tlb_index(lin)];
    return (write ? e->wtag : e->rtag) == (lin & TLB_PAGE_MASK) ? (uint8_t *)(lin + e->delta) : NULL;
}

static inline uint64_t in_page(uint64_t lin, unsigned n) { return (4096 - (lin & 4095)) / n; }

static uint64_t piece_movs(X86Cpu *cpu, const X86Insn *d, unsigned n, uint64_t count)
{
    uint64_t from = src_lin(cpu, d, n), to = dst_lin(cpu, d, n, true);
    const uint8_t *s = host_of(cpu, from, false);
    uint8_t *t = host_of(cpu, to, true);
    if (!s || !t) {
        return 0;
    }
    count = MIN(count, MIN(in_page(from, n), in_page(to, n)));
    size_t bytes = count * n;
    if (t > s && t < s + bytes) { /* the copy reads what it wrote: a pattern spreads */
        for (size_t i = 0; i < bytes; i += n) {
            uint64_t v = 0;
            memcpy(&v, s + i, n);
            memcpy(t + i, &v, n);
        }
    } else {
        memmove(t, s, bytes);
    }
    advance(cpu, d, R_RSI, (int64_t)bytes);
    advance(cpu, d, R_RDI, (int64_t)bytes);
    return count;
}

static uint64_t piece_stos(X86Cpu *cpu, const X86Insn *d, unsigned n, uint64_t count)
{
    uint64_t to = dst_lin(cpu, d, n, true), v = acc(cpu, n);
    uint8_t *t = host_of(cpu, to, true);
    if (!t) {
        return 0;
    }
    count = MIN(count, in_page(to, n));
    if (n == 1 || v == 0) {
        memset(t, (int)v, count * n);
    } else {
        for (uint64_t i = 0; i < count; i++) {
            memcpy(t + i * n, &v, n);
        }
    }
    advance(cpu, d, R_RDI, (int64_t)(count * n));
    return count;
}

/* Looks for the first element that ends the repetition; *stop says that one was found. */
static uint64_t piece_cmps(X86Cpu *cpu, const X86Insn *d, unsigned n, uint64_t count, bool while_equal, bool *stop)
{
    uint64_t from = src_lin(cpu, d, n), to = dst_lin(cpu, d, n, false), i = 0, a = 0, b = 0;
    const uint8_t *s = host_of(cpu, from, false), *t = host_of(cpu, to, false);
    count = MIN(count, MIN(in_page(from, n), in_page(to, n)));
    if (!s || !t || !count) {
        return 0;
    }
    do {
        memcpy(&a, s + i * n, n);
        memcpy(&b, t + i * n, n);
        i++;
    } while (i < count && (a == b) == while_equal);
    *stop = (a == b) != while_equal;
    compare(cpu, a, b, n);
    advance(cpu, d, R_RSI, (int64_t)(i * n));
    advance(cpu, d, R_RDI, (int64_t)(i * n));
    return i;
}

static uint64_t piece_scas(X86Cpu *cpu, const X86Insn *d, unsigned n, uint64_t count, bool while_equal, bool *stop)
{
    uint64_t to = dst_lin(cpu, d, n, false), a = acc(cpu, n), i = 0, b = 0;
    const uint8_t *t = host_of(cpu, to, false);
    count = MIN(count, in_page(to, n));
    if (!t || !count) {
        return 0;
    }
    do {
        memcpy(&b, t + i * n, n);
        i++;
    } while (i < count && (a == b) == while_equal);
    *stop = (a == b) != while_equal;
    compare(cpu, a, b, n);
    advance(cpu, d, R_RDI, (int64_t)(i * n));
    return i;
}

/* ---- repetition ---- */

enum { REP_MOVS, REP_STOS, REP_LODS, REP_CMPS, REP_SCAS, REP_INS, REP_OUTS };

static inline __attribute__((always_inline)) bool repeat(X86Cpu *cpu, const X86Insn *d, int what, unsigned n, bool while_equal)
{
    bool once = cpu->mode & (MODE_TF | MODE_DEBUG) || cpu->t0->dbg & DBG_STEP, stop = false;
    for (;;) {
        uint64_t left = reg_a(cpu, d, R_RCX), done = 0;
        if (left == 0 || stop) {
            return true;
        }
        if (piece_ok(cpu, d)) {
            done = what == REP_MOVS   ? piece_movs(cpu, d, n, left)
                   : what == REP_STOS ? piece_stos(cpu, d, n, left)
                   : what == REP_CMPS ? piece_cmps(cpu, d, n, left, while_equal, &stop)
                   : what == REP_SCAS ? piece_scas(cpu, d, n, left, while_equal, &stop)
                                      : 0;
        }
        if (done == 0) {
            switch (what) {
            case REP_MOVS: one_movs(cpu, d, n); break;
            case REP_STOS: one_stos(cpu, d, n); break;
            case REP_LODS: one_lods(cpu, d, n); break;
            case REP_CMPS: one_cmps(cpu, d, n); break;
            case REP_SCAS: one_scas(cpu, d, n); break;
            case REP_INS: one_ins(cpu, d, n); break;
            default: one_outs(cpu, d, n); break;
            }
            done = 1;
            if (what == REP_CMPS || what == REP_SCAS) {
                stop = x86_cond(cpu, 4) != while_equal;
            }
        }
        set_reg_a(cpu, d, R_RCX, left - done);
        if (left != done && !stop && (once || __atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_RELAXED))) {
            return false;
        }
    }
}

#define FINISHED(done)                                                                                      \
    if (!(done)) {                                                                                          \
        cpu->rip = insn_rip(cpu, d);                                                                        \
        END_UNIT;                                                                                           \
    }                                                                                                       \
    JUMP(insn_next_rip(cpu, d), 0)

#define PLAIN(name, bits)                                                                                   \
    OP(name##bits)                                                                                          \
    {                                                                                                       \
        one_##name(cpu, d, bits / 8);                                                                       \
        NEXT;                                                                                               \
    }
#define PORT(name, bits)                                                                                    \
    OP(name##bits)                                                                                          \
    {                                                                                                       \
        one_##name(cpu, d, bits / 8);                                                                       \
        JUMP(insn_next_rip(cpu, d), 0);                                                                     \
    }
#define REPEATED(op, what, bits, equal)                                                                     \
    OP(op##bits)                                                                                            \
    {                                                                                                       \
        bool done = repeat(cpu, d, what, bits / 8, equal);                                                  \
        FINISHED(done);                                                                                     \
    }
#define STRING(bits)                                                                                        \
    PLAIN(movs, bits)                                                                                       \
    PLAIN(stos, bits)                                                                                       \
    PLAIN(lods, bits)                                                                                       \
    PLAIN(cmps, bits)                                                                                       \
    PLAIN(scas, bits)                                                                                       \
    REPEATED(rep_movs, REP_MOVS, bits, false)                                                               \
    REPEATED(rep_stos, REP_STOS, bits, false)                                                               \
    REPEATED(rep_lods, REP_LODS, bits, false)                                                               \
    REPEATED(repe_cmps, REP_CMPS, bits, true)                                                               \
    REPEATED(repne_cmps, REP_CMPS, bits, false)                                                             \
    REPEATED(repe_scas, REP_SCAS, bits, true)                                                               \
    REPEATED(repne_scas, REP_SCAS, bits, false)
STRING(8) STRING(16) STRING(32) STRING(64)
#define PORTS(bits)                                                                                         \
    PORT(ins, bits)                                                                                         \
    PORT(outs, bits)                                                                                        \
    REPEATED(rep_ins, REP_INS, bits, false)                                                                 \
    REPEATED(rep_outs, REP_OUTS, bits, false)
PORTS(8) PORTS(16) PORTS(32)

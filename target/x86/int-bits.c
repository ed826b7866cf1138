/* SPDX-License-Identifier: MIT
 * target/x86/int-bits.c - bit test, scan, count, byte order, CRC32, BMI1, BMI2, ADX.
 * Models: SDM vol. 2 of each instruction. Flags it leaves undefined get what is cheapest.
 * Threads: the vCPU's thread.
 */
#include "int-ops.h"

/* Forms _r and _m with one operand v read, as statements. */
#define READ_FORMS(name, bits, ...)                                                                         \
    OP(name##_r##bits)                                                                                      \
    {                                                                                                       \
        uint##bits##_t v = RD##bits(d->rm);                                                                 \
        __VA_ARGS__                                                                                         \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(name##_m##bits)                                                                                      \
    {                                                                                                       \
        uint##bits##_t v = ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false));                               \
        __VA_ARGS__                                                                                         \
        NEXT;                                                                                               \
    }

static void set_flags(X86Cpu *cpu, uint32_t mask, uint32_t value)
{
    x86_set_eflags_arith(cpu, (x86_arith_flags(cpu) & ~mask) | value);
}

/* ---- BT, BTS, BTR, BTC ---- */

#define BT_VALUE(v, m)  ((void)(m), (v))
#define BTS_VALUE(v, m) ((v) | (m))
#define BTR_VALUE(v, m) ((v) & ~(m))
#define BTC_VALUE(v, m) ((v) ^ (m))
#define CF_ONLY(c) set_flags(cpu, FL_CF, (c) ? FL_CF : 0)

/* A register bit offset reaches beyond the operand: the memory operand moves by whole operands (SDM vol. 2, BT). */
#define BIT_LIN(bits, writes)                                                                               \
    ({                                                                                                      \
        int64_t words_ = (int64_t)(int##bits##_t)RD##bits(d->reg) >> (LOG2_##bits + 3);                     \
        uint64_t off_ = ea_off(cpu, d) + (uint64_t)(words_ * (bits / 8));                                   \
        off_ = (d->flags & I_ASIZE) == 1 ? (uint16_t)off_ : (d->flags & I_ASIZE) == 2 ? (uint32_t)off_ : off_; \
        bit_linear(cpu, d, off_, bits / 8, writes);                                                         \
    })
static uint64_t bit_linear(X86Cpu *cpu, const X86Insn *d, uint64_t off, unsigned n, bool write)
{
    if (d->flags & I_SEGCHECK) {
        SYNC(d);
        return seg_linear(cpu, d->seg, off, n, write);
    }
    off += cpu->seg_base[d->seg];
    return (d->flags & I_ASIZE) == 3 || (cpu->mode & MODE_CODE64) ? off : (uint32_t)off;
}

#define BT_READ(bits)                                                                                       \
    OP(bt_eg_r##bits) { CF_ONLY(RD##bits(d->rm) >> (RD##bits(d->reg) & (bits - 1)) & 1); NEXT; }             \
    OP(bt_ei_r##bits) { CF_ONLY(RD##bits(d->rm) >> (d->imm & (bits - 1)) & 1); NEXT; }                       \
    OP(bt_eg_m##bits)                                                                                       \
    {                                                                                                       \
        uint##bits##_t v = ld##bits(cpu, d, BIT_LIN(bits, false));                                          \
        CF_ONLY(v >> (RD##bits(d->reg) & (bits - 1)) & 1);                                                  \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(bt_ei_m##bits)                                                                                       \
    {                                                                                                       \
        uint##bits##_t v = ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false));                               \
        CF_ONLY(v >> (d->imm & (bits - 1)) & 1);                                                            \
        NEXT;                                                                                               \
    }
BT_READ(16) BT_READ(32) BT_READ(64)

/* With LOCK: a compare-and-swap loop on the host; where there is no host pointer, all others stand still. */
#define LOCKED_BITS(bits, VALUE, lin_, bit_)                                                                \
    {                                                                                                       \
        uint64_t lin = lin_;                                                                                \
        uint##bits##_t m = (uint##bits##_t)1 << ((bit_) & (bits - 1)), old;                                 \
        SYNC(d);                                                                                            \
        void *p = x86_lock_ptr(cpu, lin, bits / 8);                                                         \
        if (p) {                                                                                            \
            uint##bits##_t seen = host_ld##bits(p);                                                         \
            do {                                                                                            \
                old = seen;                                                                                 \
                seen = host_cas##bits(p, old, (uint##bits##_t)VALUE(old, m));                               \
            } while (seen != old);                                                                          \
            x86_lock_done(cpu, lin, bits / 8);                                                              \
        } else {                                                                                            \
            smp_split_begin(cpu);                                                                           \
            old = (uint##bits##_t)x86_ld_slow(cpu, lin, bits / 8, cpu->mmu);                                \
            x86_st_slow(cpu, lin, bits / 8, (uint##bits##_t)VALUE(old, m), cpu->mmu);                       \
            smp_split_end(cpu);                                                                             \
        }                                                                                                   \
        CF_ONLY(old & m);                                                                                   \
        NEXT;                                                                                               \
    }
#define BIT_FORM(name, VALUE, bits, form, lin_, bit_)                                                       \
    OP(name##_##form##_r##bits)                                                                             \
    {                                                                                                       \
        uint##bits##_t v = RD##bits(d->rm), m = (uint##bits##_t)1 << ((bit_) & (bits - 1));                 \
        CF_ONLY(v & m);                                                                                     \
        WR##bits(d->rm, VALUE(v, m));                                                                       \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(name##_##form##_m##bits)                                                                             \
    {                                                                                                       \
        uint64_t lin = lin_;                                                                                \
        void *p;                                                                                            \
        uint##bits##_t v = rmw_ld##bits(cpu, d, lin, &p), m = (uint##bits##_t)1 << ((bit_) & (bits - 1));   \
        rmw_st##bits(cpu, lin, p, (uint##bits##_t)VALUE(v, m));                                             \
        CF_ONLY(v & m);                                                                                     \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(name##_##form##_l##bits)                                                                             \
    LOCKED_BITS(bits, VALUE, lin_, bit_)
#define BIT_SIZE(name, VALUE, bits)                                                                         \
    BIT_FORM(name, VALUE, bits, eg, BIT_LIN(bits, true), RD##bits(d->reg))                                  \
    BIT_FORM(name, VALUE, bits, ei, ea_lin(cpu, d, bits / 8, true), d->imm)
#define BIT_CHANGE(name, VALUE) BIT_SIZE(name, VALUE, 16) BIT_SIZE(name, VALUE, 32) BIT_SIZE(name, VALUE, 64)
BIT_CHANGE(bts, BTS_VALUE)
BIT_CHANGE(btr, BTR_VALUE)
BIT_CHANGE(btc, BTC_VALUE)

/* ---- scans and counts. BSF and BSR of zero leave the destination alone, as all CPUs do ---- */

#define CTZ(bits, v) ((unsigned)__builtin_ctzll(v))
#define CLZ(bits, v) ((unsigned)__builtin_clzll(v) - (64 - bits))
#define SCANS(bits)                                                                                         \
    READ_FORMS(bsf, bits,                                                                                   \
        if (v) { WR##bits(d->reg, CTZ(bits, v)); }                                                          \
        SET_CC(CC_LOGIC + LOG2_##bits, v, 0);)                                                              \
    READ_FORMS(bsr, bits,                                                                                   \
        if (v) { WR##bits(d->reg, bits - 1 - CLZ(bits, v)); }                                               \
        SET_CC(CC_LOGIC + LOG2_##bits, v, 0);)                                                              \
    READ_FORMS(tzcnt, bits,                                                                                 \
        unsigned r = v ? CTZ(bits, v) : bits;                                                               \
        WR##bits(d->reg, r);                                                                                \
        set_flags(cpu, FL_ZF | FL_CF, (r == 0 ? FL_ZF : 0) | (v ? 0 : FL_CF));)                             \
    READ_FORMS(lzcnt, bits,                                                                                 \
        unsigned r = v ? CLZ(bits, v) : bits;                                                               \
        WR##bits(d->reg, r);                                                                                \
        set_flags(cpu, FL_ZF | FL_CF, (r == 0 ? FL_ZF : 0) | (v ? 0 : FL_CF));)                             \
    READ_FORMS(popcnt, bits,                                                                                \
        WR##bits(d->reg, __builtin_popcountll(v));                                                          \
        x86_set_eflags_arith(cpu, v ? 0 : FL_ZF);)
SCANS(16) SCANS(32) SCANS(64)

/* ---- byte order ---- */

OP(bswap16) { WR16(d->reg, 0); NEXT; } /* undefined by the SDM; CPUs clear the register */
OP(bswap32) { WR32(d->reg, __builtin_bswap32(RD32(d->reg))); NEXT; }
OP(bswap64) { WR64(d->reg, __builtin_bswap64(RD64(d->reg))); NEXT; }

#define MOVBE(bits)                                                                                         \
    OP(movbe_ge_m##bits)                                                                                    \
    {                                                                                                       \
        uint##bits##_t v = ld##bits(cpu, d, ea_lin(cpu, d, bits / 8, false));                               \
        WR##bits(d->reg, __builtin_bswap##bits(v));                                                         \
        NEXT;                                                                                               \
    }                                                                                                       \
    OP(movbe_eg_m##bits)                                                                                    \
    {                                                                                                       \
        st##bits(cpu, d, ea_lin(cpu, d, bits / 8, true), __builtin_bswap##bits(RD##bits(d->reg)));          \
        NEXT;                                                                                               \
    }
MOVBE(16) MOVBE(32) MOVBE(64)

/* ---- CRC32: polynomial 11EDC6F41h, reflected (SDM vol. 2, CRC32) ---- */

static uint32_t crc32c(uint32_t crc, uint64_t v, unsigned bytes)
{
    static uint32_t table[256];
    static gsize ready;
    if (g_once_init_enter(&ready)) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) {
                c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
            }
            table[i] = c;
        }
        g_once_init_leave(&ready, 1);
    }
    for (; bytes; bytes--, v >>= 8) {
        crc = crc >> 8 ^ table[(crc ^ v) & 0xff];
    }
    return crc;
}
#define CRC(bits) READ_FORMS(crc32, bits, WR32(d->reg, crc32c(RD32(d->reg), v, bits / 8));)
CRC(8) CRC(16) CRC(32) CRC(64)

/* ---- ADX ---- */

#define ADX_SIZE(bits)                                                                                      \
    READ_FORMS(adcx, bits,                                                                                  \
        uint##bits##_t r;                                                                                   \
        bool c = __builtin_add_overflow(RD##bits(d->reg), v, &r);                                           \
        c |= __builtin_add_overflow(r, (uint##bits##_t)x86_carry(cpu), &r);                                 \
        WR##bits(d->reg, r);                                                                                \
        set_flags(cpu, FL_CF, c ? FL_CF : 0);)                                                              \
    READ_FORMS(adox, bits,                                                                                  \
        uint##bits##_t r;                                                                                   \
        bool c = __builtin_add_overflow(RD##bits(d->reg), v, &r);                                           \
        c |= __builtin_add_overflow(r, (uint##bits##_t)(x86_arith_flags(cpu) & FL_OF ? 1 : 0), &r);         \
        WR##bits(d->reg, r);                                                                                \
        set_flags(cpu, FL_OF, c ? FL_OF : 0);)
ADX_SIZE(32) ADX_SIZE(64)

/* ---- BMI1 and BMI2: the VEX.vvvv register is B ---- */

#define B_REG insn_vvvv(d)
static uint64_t pext(uint64_t v, uint64_t mask)
{
    uint64_t r = 0;
    for (unsigned k = 0; mask; mask &= mask - 1, k++) {
        r |= (v >> __builtin_ctzll(mask) & 1) << k;
    }
    return r;
}
static uint64_t pdep(uint64_t v, uint64_t mask)
{
    uint64_t r = 0;
    for (; mask; mask &= mask - 1, v >>= 1) {
        r |= (v & 1) << __builtin_ctzll(mask);
    }
    return r;
}

#define BMI(bits)                                                                                           \
    READ_FORMS(andn, bits,                                                                                  \
        uint##bits##_t r = ~RD##bits(B_REG) & v;                                                            \
        WR##bits(d->reg, r);                                                                                \
        SET_CC(CC_LOGIC + LOG2_##bits, r, 0);)                                                              \
    READ_FORMS(blsr, bits,                                                                                  \
        uint##bits##_t r = v & (v - 1);                                                                     \
        WR##bits(B_REG, r);                                                                                 \
        SET_CC(CC_BMILG + LOG2_##bits, r, v == 0);)                                                         \
    READ_FORMS(blsmsk, bits,                                                                                \
        uint##bits##_t r = v ^ (v - 1);                                                                     \
        WR##bits(B_REG, r);                                                                                 \
        SET_CC(CC_BMILG + LOG2_##bits, r, v == 0);)                                                         \
    READ_FORMS(blsi, bits,                                                                                  \
        uint##bits##_t r = v & -v;                                                                          \
        WR##bits(B_REG, r);                                                                                 \
        SET_CC(CC_BMILG + LOG2_##bits, r, v != 0);)                                                         \
    READ_FORMS(bextr, bits,                                                                                 \
        unsigned start = RD##bits(B_REG) & 0xff;                                                            \
        unsigned len = RD##bits(B_REG) >> 8 & 0xff;                                                         \
        uint64_t r = start < bits ? (uint64_t)v >> start : 0;                                               \
        r = len < bits ? r & (((uint64_t)1 << len) - 1) : r;                                                \
        WR##bits(d->reg, r);                                                                                \
        SET_CC(CC_LOGIC + LOG2_##bits, (uint##bits##_t)r, 0);)                                              \
    READ_FORMS(bzhi, bits,                                                                                  \
        unsigned n = RD##bits(B_REG) & 0xff;                                                                \
        uint##bits##_t r = n < bits ? v & (((uint##bits##_t)1 << n) - 1) : v;                               \
        WR##bits(d->reg, r);                                                                                \
        SET_CC(CC_BMILG + LOG2_##bits, r, n >= bits);)                                                      \
    READ_FORMS(pext, bits, WR##bits(d->reg, pext(RD##bits(B_REG), v));)                                     \
    READ_FORMS(pdep, bits, WR##bits(d->reg, pdep(RD##bits(B_REG), v));)                                     \
    READ_FORMS(sarx, bits, WR##bits(d->reg, (int##bits##_t)v >> (RD##bits(B_REG) & (bits - 1)));)           \
    READ_FORMS(shlx, bits, WR##bits(d->reg, v << (RD##bits(B_REG) & (bits - 1)));)                          \
    READ_FORMS(shrx, bits, WR##bits(d->reg, v >> (RD##bits(B_REG) & (bits - 1)));)                          \
    READ_FORMS(rorx, bits,                                                                                  \
        unsigned n = d->imm & (bits - 1);                                                                   \
        WR##bits(d->reg, n ? v >> n | v << (bits - n) : v);)
BMI(32) BMI(64)

/* MULX: the high half is written last, so that it stays when both destinations are one register. */
READ_FORMS(mulx, 32,
    uint64_t r = (uint64_t)RD32(R_RDX) * v;
    WR32(B_REG, r);
    WR32(d->reg, r >> 32);)
READ_FORMS(mulx, 64,
    unsigned __int128 r = (unsigned __int128)RD64(R_RDX) * v;
    WR64(B_REG, r);
    WR64(d->reg, r >> 64);)

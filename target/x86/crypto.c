/* SPDX-License-Identifier: MIT
 * target/x86/crypto.c - AES-NI, PCLMULQDQ, SHA, VAES, VPCLMULQDQ. In C, or by the host's instructions where it has them.
 * Models: Intel SDM volume 2; FIPS 197 (AES), FIPS 180-4 (SHA-1, SHA-256).
 * Does not model: constant-time execution in the C versions.
 * Threads: the vCPU's. The tables and choices are made once, before any CPU runs.
 */
#include "avx.h"
#include "crypto.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- AES, FIPS 197 ---- */

static uint8_t sbox[256], inv_sbox[256];

static uint8_t gf_mul(uint8_t a, uint8_t b)
{
    unsigned r = 0, x = a;
    for (; b; b >>= 1) {
        r ^= b & 1 ? x : 0;
        x = x << 1 ^ (x & 0x80 ? 0x11b : 0);
    }
    return (uint8_t)r;
}

/* 5.1.1: the inverse in GF(2^8), then the affine map. 3 generates the multiplicative group. */
static void aes_make_tables(void)
{
    uint8_t p = 1, q = 1;
    do {
        p = gf_mul(p, 3);
        q = gf_mul(q, 0xf6); /* the inverse of 3 */
        uint8_t s = 0x63;
        for (unsigned i = 0; i < 5; i++) {
            s ^= (uint8_t)(q << i | (i ? q >> (8 - i) : 0));
        }
        sbox[p] = s;
    } while (p != 1);
    sbox[0] = 0x63;
    for (unsigned i = 0; i < 256; i++) {
        inv_sbox[sbox[i]] = (uint8_t)i;
    }
}

static void sub_shift(X86Vec *v, const uint8_t *box, bool inverse)
{
    uint8_t r[16];
    /* Byte i is row i % 4 of column i / 4; rows rotate left by their number. */
    for (unsigned i = 0; i < 16; i++) {
        unsigned row = i & 3, col = inverse ? (i / 4 - row) & 3 : (i / 4 + row) & 3;
        r[i] = box[v->b[col * 4 + row]];
    }
    memcpy(v->b, r, 16);
}
static void mix_columns(X86Vec *v, const uint8_t k[4])
{
    uint8_t r[16];
    for (unsigned i = 0; i < 16; i++) {
        unsigned col = i & ~3u, row = i & 3;
        r[i] = 0;
        for (unsigned j = 0; j < 4; j++) {
            r[i] ^= gf_mul(v->b[col + j], k[(j - row) & 3]);
        }
    }
    memcpy(v->b, r, 16);
}
static const uint8_t mix[4] = { 2, 3, 1, 1 }, inv_mix[4] = { 14, 11, 13, 9 };
static void xor_key(X86Vec *v, const X86Vec *k)
{
    v->q[0] ^= k->q[0];
    v->q[1] ^= k->q[1];
}

static void c_aesenc(X86Vec *v, const X86Vec *k)
{
    X86Vec key = *k;
    sub_shift(v, sbox, false);
    mix_columns(v, mix);
    xor_key(v, &key);
}
static void c_aesenclast(X86Vec *v, const X86Vec *k)
{
    X86Vec key = *k;
    sub_shift(v, sbox, false);
    xor_key(v, &key);
}
static void c_aesdec(X86Vec *v, const X86Vec *k)
{
    X86Vec key = *k;
    sub_shift(v, inv_sbox, true);
    mix_columns(v, inv_mix);
    xor_key(v, &key);
}
static void c_aesdeclast(X86Vec *v, const X86Vec *k)
{
    X86Vec key = *k;
    sub_shift(v, inv_sbox, true);
    xor_key(v, &key);
}
static void c_aesimc(X86Vec *v, const X86Vec *k)
{
    v->q[0] = k->q[0];
    v->q[1] = k->q[1];
    mix_columns(v, inv_mix);
}
static uint32_t sub_word(uint32_t w)
{
    return sbox[w & 255] | (uint32_t)sbox[w >> 8 & 255] << 8 | (uint32_t)sbox[w >> 16 & 255] << 16 |
           (uint32_t)sbox[w >> 24] << 24;
}

/* ---- PCLMULQDQ ---- */

static void c_clmul(X86Vec *v, uint64_t a, uint64_t b)
{
    uint64_t lo = 0, hi = 0;
    for (unsigned i = 0; i < 64; i++) {
        if (b >> i & 1) {
            lo ^= a << i;
            hi ^= i ? a >> (64 - i) : 0;
        }
    }
    v->q[0] = lo;
    v->q[1] = hi;
}

/* ---- the host's instructions ---- */

#if defined(__x86_64__)
#define VEC128(p) _mm_load_si128((const __m128i *)(p))
#define HOST_AES(name, intrin)                                                                              \
    __attribute__((target("aes"))) static void h_##name(X86Vec *v, const X86Vec *k)                         \
    {                                                                                                       \
        _mm_store_si128((__m128i *)v, intrin(VEC128(v), VEC128(k)));                                        \
    }
HOST_AES(aesenc, _mm_aesenc_si128)
HOST_AES(aesenclast, _mm_aesenclast_si128)
HOST_AES(aesdec, _mm_aesdec_si128)
HOST_AES(aesdeclast, _mm_aesdeclast_si128)
__attribute__((target("pclmul"))) static void h_clmul(X86Vec *v, uint64_t a, uint64_t b)
{
    __m128i r = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)a), _mm_cvtsi64_si128((int64_t)b), 0);
    _mm_store_si128((__m128i *)v, r);
}
#endif

/* The tables, and what the host is better at; before main(), so that no CPU thread can be first. */
X86CryptoFns x86_crypto = { c_aesenc, c_aesenclast, c_aesdec, c_aesdeclast, c_clmul };
const X86CryptoFns x86_crypto_portable = { c_aesenc, c_aesenclast, c_aesdec, c_aesdeclast, c_clmul };
__attribute__((constructor)) static void crypto_init(void)
{
    aes_make_tables();
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("aes")) {
        x86_crypto.aesenc = h_aesenc;
        x86_crypto.aesenclast = h_aesenclast;
        x86_crypto.aesdec = h_aesdec;
        x86_crypto.aesdeclast = h_aesdeclast;
    }
    if (__builtin_cpu_supports("pclmul")) {
        x86_crypto.clmul = h_clmul;
    }
#endif
}

#define CRYPTO_OP(name, call)                                                                               \
    OP(name)                                                                                                \
    {                                                                                                       \
        X86Vec tmp;                                                                                         \
        const X86Vec *k = sse_src16(cpu, d, &tmp);                                                          \
        call(&cpu->xmm[d->reg], k);                                                                         \
        NEXT;                                                                                               \
    }
CRYPTO_OP(aesenc, x86_crypto.aesenc)
CRYPTO_OP(aesenclast, x86_crypto.aesenclast)
CRYPTO_OP(aesdec, x86_crypto.aesdec)
CRYPTO_OP(aesdeclast, x86_crypto.aesdeclast)
CRYPTO_OP(aesimc, c_aesimc)
AVX_LANES_FN(vaesenc, x86_crypto.aesenc)
AVX_LANES_FN(vaesenclast, x86_crypto.aesenclast)
AVX_LANES_FN(vaesdec, x86_crypto.aesdec)
AVX_LANES_FN(vaesdeclast, x86_crypto.aesdeclast)
AVX_LANES_FN(vaesimc, c_aesimc)

static void key_assist(X86Vec *v, const X86Vec *b, uint32_t rcon)
{
    uint32_t x1 = sub_word(b->d[1]), x3 = sub_word(b->d[3]);
    v->d[0] = x1;
    v->d[1] = (x1 >> 8 | x1 << 24) ^ rcon;
    v->d[2] = x3;
    v->d[3] = (x3 >> 8 | x3 << 24) ^ rcon;
}
OP(aeskeygenassist)
{
    X86Vec tmp;
    key_assist(&cpu->xmm[d->reg], sse_src16(cpu, d, &tmp), (uint8_t)d->imm);
    NEXT;
}
OP(vaeskeygenassist)
{
    X86Vec tmp, r;
    key_assist(&r, avx_src(cpu, d, &tmp, 16), (uint8_t)d->imm);
    avx_put(&cpu->xmm[d->reg], &r, 16);
    NEXT;
}

OP(pclmulqdq)
{
    X86Vec tmp;
    const X86Vec *b = sse_src16(cpu, d, &tmp);
    X86Vec *a = &cpu->xmm[d->reg];
    x86_crypto.clmul(a, a->q[d->imm & 1], b->q[d->imm >> 4 & 1]);
    NEXT;
}

OP(vpclmulqdq)
{
    X86Vec tmp, r;
    unsigned n = insn_vlen(d), i = d->imm & 1, k = d->imm >> 4 & 1;
    const X86Vec *b = avx_src(cpu, d, &tmp, n), *a = avx_src1(cpu, d);
    x86_crypto.clmul(&r, a->q[i], b->q[k]);
    if (n == 32) {
        X86Vec h;
        x86_crypto.clmul(&h, a->q[2 + i], b->q[2 + k]);
        vec_set_high(&r, &h);
    }
    avx_put(&cpu->xmm[d->reg], &r, n);
    NEXT;
}

/* ---- SHA, FIPS 180-4; word 3 of a register is the earliest. Operands in memory need no
 * alignment, as on AMD's processors; Intel's raise #GP. ---- */

static inline uint32_t rol(uint32_t v, unsigned n) { return v << n | v >> (32 - n); }
static inline uint32_t ror(uint32_t v, unsigned n) { return v >> n | v << (32 - n); }
static inline uint32_t choose(uint32_t x, uint32_t y, uint32_t z) { return (x & y) ^ (~x & z); }
static inline uint32_t majority(uint32_t x, uint32_t y, uint32_t z) { return (x & y) ^ (x & z) ^ (y & z); }

OP(sha1rnds4)
{
    static const uint32_t k[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    X86Vec tmp, *v = &cpu->xmm[d->reg];
    X86Vec w = *sse_src16u(cpu, d, &tmp);
    unsigned f = d->imm & 3;
    uint32_t a = v->d[3], b = v->d[2], c = v->d[1], dd = v->d[0], e = 0;
    for (unsigned i = 0; i < 4; i++) { /* E is already in the first word, by SHA1NEXTE */
        uint32_t m = f == 0 ? choose(b, c, dd) : f == 2 ? majority(b, c, dd) : b ^ c ^ dd;
        uint32_t t = m + rol(a, 5) + w.d[3 - i] + e + k[f];
        e = dd;
        dd = c;
        c = rol(b, 30);
        b = a;
        a = t;
    }
    v->d[3] = a, v->d[2] = b, v->d[1] = c, v->d[0] = dd;
    NEXT;
}

OP(sha1nexte)
{
    X86Vec tmp, *v = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16u(cpu, d, &tmp);
    uint32_t e = rol(v->d[3], 30);
    v->q[0] = b.q[0];
    v->q[1] = b.q[1];
    v->d[3] += e;
    NEXT;
}

OP(sha1msg1)
{
    X86Vec tmp, *v = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16u(cpu, d, &tmp), a = *v;
    v->d[3] = a.d[1] ^ a.d[3];
    v->d[2] = a.d[0] ^ a.d[2];
    v->d[1] = b.d[3] ^ a.d[1];
    v->d[0] = b.d[2] ^ a.d[0];
    NEXT;
}

OP(sha1msg2)
{
    X86Vec tmp, *v = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16u(cpu, d, &tmp), a = *v;
    uint32_t w16 = rol(a.d[3] ^ b.d[2], 1);
    v->d[3] = w16;
    v->d[2] = rol(a.d[2] ^ b.d[1], 1);
    v->d[1] = rol(a.d[1] ^ b.d[0], 1);
    v->d[0] = rol(a.d[0] ^ w16, 1);
    NEXT;
}

OP(sha256rnds2)
{
    X86Vec tmp, *v = &cpu->xmm[d->reg];
    X86Vec s = *sse_src16u(cpu, d, &tmp), wk = cpu->xmm[0], cur = *v;
    uint32_t a = s.d[3], b = s.d[2], c = cur.d[3], dd = cur.d[2];
    uint32_t e = s.d[1], f = s.d[0], g = cur.d[1], h = cur.d[0];
    for (unsigned i = 0; i < 2; i++) {
        uint32_t t = choose(e, f, g) + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + wk.d[i] + h;
        uint32_t t2 = majority(a, b, c) + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22));
        h = g, g = f, f = e;
        e = t + dd;
        dd = c, c = b, b = a;
        a = t + t2;
    }
    v->d[3] = a, v->d[2] = b, v->d[1] = e, v->d[0] = f;
    NEXT;
}

static inline uint32_t small0(uint32_t x) { return ror(x, 7) ^ ror(x, 18) ^ x >> 3; }
static inline uint32_t small1(uint32_t x) { return ror(x, 17) ^ ror(x, 19) ^ x >> 10; }

OP(sha256msg1)
{
    X86Vec tmp, *v = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16u(cpu, d, &tmp), a = *v;
    for (unsigned i = 0; i < 4; i++) {
        v->d[i] = a.d[i] + small0(i < 3 ? a.d[i + 1] : b.d[0]);
    }
    NEXT;
}

OP(sha256msg2)
{
    X86Vec tmp, *v = &cpu->xmm[d->reg];
    X86Vec b = *sse_src16u(cpu, d, &tmp), a = *v;
    uint32_t w16 = a.d[0] + small1(b.d[2]), w17 = a.d[1] + small1(b.d[3]);
    v->d[0] = w16;
    v->d[1] = w17;
    v->d[2] = a.d[2] + small1(w16);
    v->d[3] = a.d[3] + small1(w17);
    NEXT;
}

/* SPDX-License-Identifier: MIT
 * int.c - integer workloads: arithmetic, branches, calls, indirect jumps
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static uint64_t run_alu(uint64_t n)
{
    uint64_t x = 88172645463325252u, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += bench_random(&x) ^ (sum >> 3);
    }
    return sum;
}

static uint64_t run_alu32(uint64_t n)
{
    uint32_t a = 1, b = 2, c = 3, d = 4;
    for (uint64_t i = 0; i < n; i++) {
        a += b ^ (uint32_t)i;
        b = (b << 7 | b >> 25) - c;
        c = (c & d) + (a | 0x55u);
        d = ~d * 3u + (b >> (a & 15));
    }
    return bench_mix((uint64_t)a << 32 | b, (uint64_t)c << 32 | d);
}

/* Text and message buffers shared by the workloads below; each child has its own. */
static uint8_t buffer[65536];

static void prepare_buffer(void)
{
    uint64_t s = 0x243f6a8885a308d3u;
    for (size_t i = 0; i < sizeof(buffer); i++) {
        buffer[i] = (uint8_t)(bench_random(&s) >> 24);
    }
}

static uint32_t crc_table[256];

static void prepare_crc(void)
{
    prepare_buffer();
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) {
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        }
        crc_table[i] = c;
    }
}

static uint64_t run_crc32(uint64_t n)
{
    uint32_t c = ~0u;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *p = buffer + (i & 15) * 4096;
        for (size_t k = 0; k < 4096; k++) {
            c = crc_table[(c ^ p[k]) & 255] ^ c >> 8;
        }
    }
    return c;
}

/* FIPS 180-4, section 6.2.2; the constants are the fractional parts of cube roots, computed here. */
static uint32_t sha_k[64];

static void prepare_sha(void)
{
    prepare_buffer();
    unsigned found = 0;
    for (unsigned p = 2; found < 64; p++) {
        bool prime = true;
        for (unsigned d = 2; d * d <= p; d++) {
            prime = prime && p % d != 0;
        }
        if (prime) {
            /* floor(cbrt(p) * 2^32): the largest r with r^3 <= p * 2^96, by bisection. */
            unsigned __int128 lo = 0, hi = (unsigned __int128)8 << 32;
            while (lo + 1 < hi) {
                unsigned __int128 mid = (lo + hi) / 2;
                /* mid < 2^35, so mid^2 < 2^70; compare mid^3 >> 32 with p << 64 */
                unsigned __int128 cube = (mid * mid >> 16) * mid >> 16;
                if (cube < (unsigned __int128)p << 64) {
                    lo = mid;
                } else {
                    hi = mid;
                }
            }
            sha_k[found++] = (uint32_t)lo;
        }
    }
}

static inline uint32_t ror32(uint32_t v, unsigned c)
{
    return v >> c | v << (32 - c);
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)p[i * 4] << 24 | (uint32_t)p[i * 4 + 1] << 16 | (uint32_t)p[i * 4 + 2] << 8 | p[i * 4 + 3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (ror32(a, 7) ^ ror32(a, 18) ^ a >> 3) + (ror32(b, 17) ^ ror32(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof(v));
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = v[7] + (ror32(v[4], 6) ^ ror32(v[4], 11) ^ ror32(v[4], 25)) +
                      ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha_k[i] + w[i];
        uint32_t t2 = (ror32(v[0], 2) ^ ror32(v[0], 13) ^ ror32(v[0], 22)) +
                      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        v[7] = v[6], v[6] = v[5], v[5] = v[4], v[4] = v[3] + t1;
        v[3] = v[2], v[2] = v[1], v[1] = v[0], v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) {
        h[i] += v[i];
    }
}

static uint64_t run_sha256(uint64_t n)
{
    uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (uint64_t i = 0; i < n; i++) {
        sha_block(h, buffer + (i & 1023) * 64);
    }
    return bench_mix((uint64_t)h[0] << 32 | h[1], (uint64_t)h[6] << 32 | h[7]);
}

/* Byte registers: RC4's key stream. */
static uint64_t run_bytes(uint64_t n)
{
    uint8_t s[256], i = 0, j = 0;
    uint64_t sum = 0;
    for (unsigned k = 0; k < 256; k++) {
        s[k] = (uint8_t)k;
    }
    for (uint64_t k = 0; k < n; k++) {
        i++;
        j = (uint8_t)(j + s[i]);
        uint8_t t = s[i];
        s[i] = s[j];
        s[j] = t;
        sum = (sum << 8 | sum >> 56) ^ s[(uint8_t)(s[i] + s[j])];
    }
    return sum;
}

#define SIEVE (1u << 18)

static uint64_t run_sieve(uint64_t n)
{
    static uint8_t composite[SIEVE];
    uint64_t sum = 0;
    for (uint64_t round = 0; round < n; round++) {
        memset(composite, 0, sizeof(composite));
        for (uint32_t i = 2; i * i < SIEVE; i++) {
            if (!composite[i]) {
                for (uint32_t k = i * i; k < SIEVE; k += i) {
                    composite[k] = 1;
                }
            }
        }
        for (uint32_t i = 2; i < SIEVE; i++) {
            sum += composite[i] ? 0 : i ^ (uint32_t)round;
        }
    }
    return sum;
}

#define LIMBS 24

/* Schoolbook product (MUL, ADC), then division of the product by one limb (DIV). */
static uint64_t run_bignum(uint64_t n)
{
    uint64_t a[LIMBS], b[LIMBS], r[2 * LIMBS], s = 0x13198a2e03707344u, sum = 0;
    for (int i = 0; i < LIMBS; i++) {
        a[i] = bench_random(&s);
        b[i] = bench_random(&s);
    }
    for (uint64_t round = 0; round < n; round++) {
        memset(r, 0, sizeof(r));
        for (int i = 0; i < LIMBS; i++) {
            uint64_t carry = 0;
            for (int k = 0; k < LIMBS; k++) {
                unsigned __int128 t = (unsigned __int128)a[i] * b[k] + r[i + k] + carry;
                r[i + k] = (uint64_t)t;
                carry = (uint64_t)(t >> 64);
            }
            r[i + LIMBS] = carry;
        }
        uint64_t rest = 0, divisor = b[0] | 1u << 31;
        for (int i = 2 * LIMBS - 1; i >= 0; i--) {
            uint64_t low = r[i];
            __asm__("divq %4" : "=a"(r[i]), "=d"(rest) : "0"(low), "1"(rest), "r"(divisor) : "cc");
        }
        sum = bench_mix(sum, rest);
        a[round % LIMBS] = r[round % (2 * LIMBS)] ^ sum;
    }
    return sum;
}

static uint64_t run_divide(uint64_t n)
{
    uint64_t s = 77, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = bench_random(&s);
        uint32_t d = (uint32_t)(v >> 40) | 1;
        sum += v / d + (uint32_t)v % ((d & 0xffff) | 1);
        sum ^= (uint64_t)((int64_t)v / ((int32_t)d | 2));
    }
    return sum;
}

static int32_t matrix[3][32][32];

static uint64_t run_imatmul(uint64_t n)
{
    uint64_t sum = 0;
    for (int i = 0; i < 32; i++) {
        for (int k = 0; k < 32; k++) {
            matrix[0][i][k] = i * 7 - k;
            matrix[1][i][k] = k * 5 + i;
        }
    }
    for (uint64_t round = 0; round < n; round++) {
        for (int i = 0; i < 32; i++) {
            for (int k = 0; k < 32; k++) {
                int32_t t = 0;
                for (int m = 0; m < 32; m++) {
                    t += (int32_t)((uint32_t)matrix[0][i][m] * (uint32_t)matrix[1][m][k]);
                    BENCH_HIDE(t);
                }
                matrix[2][i][k] = t;
            }
        }
        matrix[0][round & 31][round >> 5 & 31] += 3;
        sum = bench_mix(sum, (uint32_t)matrix[2][round * 7 & 31][round & 31]);
    }
    return sum;
}

static uint32_t sorted[4096];

static void prepare_sorted(void)
{
    uint64_t s = 5;
    uint32_t v = 0;
    for (int i = 0; i < 4096; i++) {
        sorted[i] = v += 1 + (uint32_t)(bench_random(&s) >> 44);
    }
}

static uint64_t run_bsearch(uint64_t n)
{
    uint64_t s = 99, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t key = (uint32_t)(bench_random(&s) >> 32) % sorted[4095];
        unsigned lo = 0, hi = 4096;
        while (lo < hi) {
            unsigned mid = (lo + hi) / 2;
            BENCH_HIDE(mid); /* a branch, not a conditional move */
            if (sorted[mid] < key) {
                lo = mid + 1;
            } else if (sorted[mid] > key) {
                hi = mid;
            } else {
                break;
            }
        }
        sum += lo ^ i;
    }
    return sum;
}

static char text[16384];

static void prepare_text(void)
{
    static const char *const words[] = {"{\"key\":", "12345,", "[1,2,3],", "\"string\",", "true,", " \n", "-17.5e3,", "}",
                                        "null,", "name_42 ", "\"a\\\"b\":"};
    uint64_t s = 31;
    size_t len = 0;
    for (;;) {
        const char *w = words[bench_random(&s) % 11];
        if (len + strlen(w) + 1 > sizeof(text)) {
            break;
        }
        memcpy(text + len, w, strlen(w) + 1);
        len += strlen(w);
    }
}

static const char *parse_number(const char *p, int64_t *v)
{
    bool negative = *p == '-';
    int64_t t = 0;
    for (p += negative; (*p >= '0' && *p <= '9') || *p == '.' || *p == 'e'; p++) {
        t = *p == '.' || *p == 'e' ? t : t * 10 + (*p - '0');
    }
    *v = negative ? -t : t;
    return p;
}

/* A tokenizer: short unpredictable branches on characters. */
static uint64_t run_parse(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t round = 0; round < n; round++) {
        const char *p = text;
        int depth = 0;
        while (*p) {
            int64_t v = 0;
            if (*p == ' ' || *p == '\n' || *p == ',' || *p == ':') {
                p++;
                continue;
            }
            if (*p == '-' || (*p >= '0' && *p <= '9')) {
                p = parse_number(p, &v);
            } else if (*p == '"') {
                for (p++; *p && *p != '"'; p++) {
                    p += *p == '\\' && p[1];
                    v = v * 31 + *p;
                }
                p += *p == '"';
            } else if ((*p | 32) >= 'a' && (*p | 32) <= 'z') {
                while ((*p | 32) >= 'a' && (*p | 32) <= 'z') {
                    v = v * 33 ^ *p++;
                }
            } else {
                depth += *p == '{' || *p == '[' ? 1 : *p == '}' || *p == ']' ? -1 : 0;
                v = *p++;
            }
            sum = sum * 3 + (uint64_t)v + (uint64_t)depth;
        }
    }
    return sum;
}

static __attribute__((noinline)) uint64_t fib(unsigned n)
{
    BENCH_HIDE(n); /* else the compiler turns half of the calls into a loop */
    uint64_t a = n < 2 ? n : fib(n - 1);
    BENCH_HIDE(a);
    return n < 2 ? a : a + fib(n - 2);
}

static uint64_t run_calls(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += fib(15 + (unsigned)(i & 3));
    }
    return sum;
}

typedef struct Shape Shape;
struct Shape {
    uint64_t (*const *methods)(const Shape *s, uint64_t v);
    uint64_t a, b;
};

#define METHOD(name, expr) \
    static uint64_t name(const Shape *s, uint64_t v) \
    { \
        return expr; \
    }
METHOD(shape_m0, v + s->a)
METHOD(shape_m1, v ^ s->b)
METHOD(shape_m2, v * 3 + s->a)
METHOD(shape_m3, (v >> 1) + s->b)
METHOD(shape_m4, v - (s->a ^ s->b))
METHOD(shape_m5, (v << 3 | v >> 61) ^ s->a)
static uint64_t (*const methods[4][3])(const Shape *, uint64_t) = {
    {shape_m0, shape_m1, shape_m2}, {shape_m3, shape_m4, shape_m5}, {shape_m5, shape_m0, shape_m3},
    {shape_m2, shape_m4, shape_m1}};
static Shape shapes[256];

static void prepare_shapes(void)
{
    uint64_t s = 3;
    for (int i = 0; i < 256; i++) {
        shapes[i] = (Shape){methods[bench_random(&s) & 3], bench_random(&s), bench_random(&s)};
    }
}

static uint64_t run_virtual(uint64_t n)
{
    uint64_t v = 1;
    for (uint64_t i = 0; i < n; i++) {
        const Shape *s = &shapes[i & 255];
        v = s->methods[i % 3](s, v);
    }
    return v;
}

enum { OP_PUSH, OP_ADD, OP_SUB, OP_MUL, OP_XOR, OP_DUP, OP_SWAP, OP_LOAD, OP_STORE, OP_JNZ, OP_DEC, OP_SHR, OP_END };

/* A stack machine: each operation is an indirect jump. It steps the 3n+1 problem's cousin of xorshift. */
static uint64_t run_interp(uint64_t n)
{
    static const int8_t program[] = {
        OP_LOAD, 1, OP_DUP, OP_SHR, 7, OP_XOR, OP_STORE, 1, OP_LOAD, 2, OP_LOAD, 1, OP_ADD, OP_PUSH, 13, OP_MUL,
        OP_STORE, 2, OP_LOAD, 1, OP_LOAD, 2, OP_SWAP, OP_SUB, OP_STORE, 1, OP_DEC, 0, OP_LOAD, 0, OP_JNZ, -31, OP_END};
    uint64_t vars[3] = {n, 12345678901u, 1}, stack[16];
    unsigned sp = 0;
    for (const int8_t *pc = program;;) {
        switch (*pc++) {
        case OP_PUSH:
            stack[sp++] = (uint64_t)*pc++;
            break;
        case OP_ADD:
            sp--;
            stack[sp - 1] += stack[sp];
            break;
        case OP_SUB:
            sp--;
            stack[sp - 1] -= stack[sp];
            break;
        case OP_MUL:
            sp--;
            stack[sp - 1] *= stack[sp];
            break;
        case OP_XOR:
            sp--;
            stack[sp - 1] ^= stack[sp];
            break;
        case OP_DUP:
            stack[sp] = stack[sp - 1];
            sp++;
            break;
        case OP_SWAP: {
            uint64_t t = stack[sp - 1];
            stack[sp - 1] = stack[sp - 2];
            stack[sp - 2] = t;
            break;
        }
        case OP_LOAD:
            stack[sp++] = vars[*pc++];
            break;
        case OP_STORE:
            vars[*pc++] = stack[--sp];
            break;
        case OP_JNZ:
            if (stack[--sp]) {
                pc += *pc;
            } else {
                pc++;
            }
            break;
        case OP_DEC:
            vars[*pc++]--;
            break;
        case OP_SHR:
            stack[sp - 1] >>= *pc++;
            break;
        case OP_END:
            return bench_mix(vars[1], vars[2]);
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t run_qsort(uint64_t n)
{
    static uint32_t v[1024];
    uint64_t s = 17, sum = 0;
    for (uint64_t round = 0; round < n; round++) {
        for (int i = 0; i < 1024; i++) {
            v[i] = (uint32_t)bench_random(&s);
        }
        qsort(v, 1024, sizeof(v[0]), compare);
        sum = bench_mix(sum, (uint64_t)v[0] << 32 | v[511]);
    }
    return sum;
}

/* Flags without branches: SETcc, CMOVcc, ADC, bit scans and tests. */
static uint64_t run_flags(uint64_t n)
{
    uint64_t x = 0x452821e638d01377u, lo = 0, hi = 0, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = bench_random(&x), first, last;
        __asm__("addq %2, %0\n\tadcq %3, %1" : "+r"(lo), "+r"(hi) : "r"(v), "r"(v >> 5) : "cc");
        __asm__("bsfq %1, %0" : "=r"(first) : "r"(v) : "cc");
        __asm__("bsrq %1, %0" : "=r"(last) : "r"(v) : "cc");
        uint64_t m = lo;
        __asm__("cmpq %2, %1\n\tcmovbq %2, %0" : "+r"(m) : "r"(hi), "r"(v) : "cc");
        uint8_t odd;
        __asm__("btq %2, %1\n\tsetc %0" : "=q"(odd) : "r"(v), "r"(first + last) : "cc");
        sum += m ^ (first << 8) ^ last ^ odd;
    }
    return bench_mix(sum, lo ^ hi);
}

const Workload bench_int[] = {
    {"alu", 5000000, run_alu, NULL, 0},
    {"alu32", 5000000, run_alu32, NULL, 0},
    {"flags", 2000000, run_flags, NULL, 0},
    {"bytes", 5000000, run_bytes, NULL, 0},
    {"crc32", 1000, run_crc32, prepare_crc, 0},
    {"sha256", 40000, run_sha256, prepare_sha, 0},
    {"sieve", 10, run_sieve, NULL, 0},
    {"bignum", 10000, run_bignum, NULL, 0},
    {"divide", 1000000, run_divide, NULL, 0},
    {"imatmul", 400, run_imatmul, NULL, 0},
    {"bsearch", 200000, run_bsearch, prepare_sorted, 0},
    {"parse", 200, run_parse, prepare_text, 0},
    {"calls", 1500, run_calls, NULL, 0},
    {"virtual", 3000000, run_virtual, prepare_shapes, 0},
    {"interp", 200000, run_interp, NULL, 0},
    {"qsort", 100, run_qsort, NULL, 0},
    {0},
};

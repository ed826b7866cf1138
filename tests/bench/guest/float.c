/* SPDX-License-Identifier: MIT
 * float.c - floating point and vector workloads: scalar double, packed SSE2, x87, AES, AVX2, libm
 *
 * Every sum is of bit patterns. Nothing here may be contracted to FMA except where a workload asks for
 * it, so that the same bits come out on every CPU; x87 keeps to the exactly rounded operations.
 */
#include "bench.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

static uint64_t bits(double v)
{
    uint64_t b;
    memcpy(&b, &v, sizeof(b));
    return b;
}

#define BODIES 5

static uint64_t run_nbody(uint64_t n)
{
    double p[BODIES][3], v[BODIES][3], m[BODIES];
    for (int i = 0; i < BODIES; i++) {
        for (int k = 0; k < 3; k++) {
            p[i][k] = (i * 3 + k) * 1.25 + (i ^ k) * 0.5;
            v[i][k] = (k - i) * 0.01;
        }
        m[i] = 1.0 / (i + 1);
    }
    for (uint64_t step = 0; step < n; step++) {
        for (int i = 0; i < BODIES; i++) {
            for (int j = i + 1; j < BODIES; j++) {
                double dx = p[i][0] - p[j][0], dy = p[i][1] - p[j][1], dz = p[i][2] - p[j][2];
                double d2 = dx * dx + dy * dy + dz * dz + 0.01;
                double mag = 0.001 / (d2 * sqrt(d2));
                v[i][0] -= dx * m[j] * mag, v[j][0] += dx * m[i] * mag;
                v[i][1] -= dy * m[j] * mag, v[j][1] += dy * m[i] * mag;
                v[i][2] -= dz * m[j] * mag, v[j][2] += dz * m[i] * mag;
            }
        }
        for (int i = 0; i < BODIES; i++) {
            for (int k = 0; k < 3; k++) {
                p[i][k] += 0.001 * v[i][k];
            }
        }
    }
    return bench_mix(bits(p[0][0]), bench_mix(bits(p[4][2]), bits(v[2][1])));
}

#define DIM 48

static uint64_t run_dgemm(uint64_t n)
{
    static double a[DIM][DIM] __attribute__((aligned(16))), b[DIM][DIM] __attribute__((aligned(16))),
        c[DIM][DIM] __attribute__((aligned(16)));
    for (int i = 0; i < DIM; i++) {
        for (int k = 0; k < DIM; k++) {
            a[i][k] = 1.0 / (i + k + 1);
            b[i][k] = (i - k) * 0.125;
        }
    }
    uint64_t sum = 0;
    for (uint64_t round = 0; round < n; round++) {
        for (int i = 0; i < DIM; i++) {
            for (int k = 0; k < DIM; k += 4) {
                __m128d s0 = _mm_setzero_pd(), s1 = s0;
                for (int m = 0; m < DIM; m++) {
                    __m128d t = _mm_set1_pd(a[i][m]);
                    s0 = _mm_add_pd(s0, _mm_mul_pd(t, _mm_load_pd(&b[m][k])));
                    s1 = _mm_add_pd(s1, _mm_mul_pd(t, _mm_load_pd(&b[m][k + 2])));
                }
                _mm_store_pd(&c[i][k], s0);
                _mm_store_pd(&c[i][k + 2], s1);
            }
        }
        a[round % DIM][3] += 0.5;
        sum = bench_mix(sum, bits(c[round % DIM][round / DIM % DIM]));
    }
    return sum;
}

static uint64_t run_mandelbrot(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        double cr = (double)(i % 96) / 32.0 - 2.0, ci = (double)(i / 96 % 64) / 32.0 - 1.0, x = 0, y = 0;
        unsigned k = 0;
        for (; k < 200 && x * x + y * y < 4.0; k++) {
            double t = x * x - y * y + cr;
            y = 2 * x * y + ci;
            x = t;
        }
        sum = sum * 31 + k;
    }
    return sum;
}

/* Single precision, packed: a filter of eight taps. */
static uint64_t run_fir(uint64_t n)
{
    static float in[1040], out[1024];
    for (int i = 0; i < 1040; i++) {
        in[i] = (float)((i * 37 & 255) - 128);
    }
    uint64_t sum = 0;
    for (uint64_t round = 0; round < n; round++) {
        for (int i = 0; i < 1024; i += 4) {
            __m128 acc = _mm_setzero_ps();
            for (int k = 0; k < 8; k++) {
                acc = _mm_add_ps(acc, _mm_mul_ps(_mm_loadu_ps(in + i + k), _mm_set1_ps(0.25f * (float)(k - 3))));
            }
            _mm_storeu_ps(out + i, _mm_max_ps(_mm_sqrt_ps(_mm_mul_ps(acc, acc)), _mm_set1_ps(1.5f)));
        }
        in[round & 1023] += 1.0f;
        uint32_t b;
        memcpy(&b, &out[round * 5 & 1023], 4);
        sum = bench_mix(sum, b);
    }
    return sum;
}

/* Packed integers of SSE2: saturation, averages, absolute differences, shuffles, compares. */
static uint64_t run_simd(uint64_t n)
{
    static uint8_t a[4096] __attribute__((aligned(16))), b[4096] __attribute__((aligned(16)));
    for (int i = 0; i < 4096; i++) {
        a[i] = (uint8_t)(i * 7);
        b[i] = (uint8_t)(i * 13 ^ i >> 4);
    }
    __m128i sum = _mm_setzero_si128();
    for (uint64_t round = 0; round < n; round++) {
        for (int i = 0; i < 4096; i += 16) {
            __m128i x = _mm_load_si128((__m128i *)(a + i)), y = _mm_load_si128((__m128i *)(b + i));
            __m128i m = _mm_cmpgt_epi8(x, y), d = _mm_sad_epu8(x, y);
            __m128i lo = _mm_unpacklo_epi8(x, _mm_setzero_si128()), hi = _mm_unpackhi_epi8(y, _mm_setzero_si128());
            __m128i p = _mm_packus_epi16(_mm_madd_epi16(lo, hi), _mm_mullo_epi16(lo, hi));
            x = _mm_avg_epu8(_mm_adds_epu8(x, y), _mm_and_si128(m, p));
            sum = _mm_add_epi64(sum, _mm_xor_si128(d, _mm_srli_epi64(_mm_shuffle_epi32(x, 0x4e), 3)));
            _mm_store_si128((__m128i *)(a + i), x);
        }
    }
    return bench_mix((uint64_t)_mm_cvtsi128_si64(sum), (uint64_t)_mm_cvtsi128_si64(_mm_srli_si128(sum, 8)));
}

__attribute__((target("ssse3"))) static uint64_t run_ssse3(uint64_t n)
{
    static uint8_t a[4096] __attribute__((aligned(16))), b[4096] __attribute__((aligned(16)));
    for (int i = 0; i < 4096; i++) {
        a[i] = (uint8_t)(i * 3);
        b[i] = (uint8_t)(i * 29 ^ i >> 5);
    }
    const __m128i swap = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i sum = _mm_setzero_si128();
    for (uint64_t round = 0; round < n; round++) {
        for (int i = 0; i < 4096; i += 16) {
            __m128i x = _mm_load_si128((__m128i *)(a + i)), y = _mm_load_si128((__m128i *)(b + i));
            __m128i t = _mm_madd_epi16(_mm_maddubs_epi16(x, y), _mm_set1_epi16(3));
            x = _mm_alignr_epi8(_mm_shuffle_epi8(x, swap), _mm_abs_epi8(y), 5);
            sum = _mm_add_epi32(sum, _mm_hadd_epi32(t, _mm_mulhrs_epi16(x, y)));
            _mm_store_si128((__m128i *)(a + i), x);
        }
    }
    return bench_mix((uint64_t)_mm_cvtsi128_si64(sum), (uint64_t)_mm_cvtsi128_si64(_mm_srli_si128(sum, 8)));
}

__attribute__((target("aes,sse2"))) static uint64_t run_aes(uint64_t n)
{
    __m128i key[11], s = _mm_set_epi32(1, 2, 3, 4), sum = s;
    for (int i = 0; i < 11; i++) {
        key[i] = _mm_set_epi32(i * 0x01234567, i + 1, i * 77, 0x9abcdef - i);
    }
    for (uint64_t i = 0; i < n; i++) {
        s = _mm_xor_si128(s, key[0]);
        for (int k = 1; k < 10; k++) {
            s = _mm_aesenc_si128(s, key[k]);
        }
        s = _mm_aesenclast_si128(s, key[10]);
        sum = _mm_xor_si128(_mm_aesdec_si128(sum, s), s);
    }
    return bench_mix((uint64_t)_mm_cvtsi128_si64(sum), (uint64_t)_mm_cvtsi128_si64(_mm_srli_si128(sum, 8)));
}

/* The compiler's fused products and 256-bit vectors, doubles and bytes. */
__attribute__((target("avx2,fma"))) static uint64_t run_avx2(uint64_t n)
{
    static double a[1024] __attribute__((aligned(32))), b[1024] __attribute__((aligned(32)));
    static uint8_t c[4096] __attribute__((aligned(32)));
    for (int i = 0; i < 1024; i++) {
        a[i] = 1.0 + i / 1024.0;
        b[i] = (i & 15) * 0.0625;
    }
    memset(c, 7, sizeof(c));
    __m256i sum = _mm256_setzero_si256();
    __m256d acc = _mm256_setzero_pd();
    for (uint64_t round = 0; round < n; round++) {
        for (int i = 0; i < 1024; i += 4) {
            __m256d x = _mm256_load_pd(a + i);
            acc = _mm256_fmadd_pd(x, _mm256_load_pd(b + i), _mm256_mul_pd(acc, _mm256_set1_pd(0.5)));
            __m256i y = _mm256_load_si256((__m256i *)(c + (i * 8 & 4095)));
            y = _mm256_add_epi8(_mm256_shuffle_epi8(y, _mm256_set1_epi8(3)), _mm256_set1_epi8(5));
            _mm256_store_si256((__m256i *)(c + (i * 8 & 4095)), _mm256_permute4x64_epi64(y, 0x4b));
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(y, _mm256_castpd_si256(acc)));
        }
    }
    uint64_t v[4];
    double d[4];
    _mm256_storeu_si256((__m256i *)v, sum);
    _mm256_storeu_pd(d, acc);
    return bench_mix(v[0] ^ v[3], bench_mix(v[1] + v[2], bits(d[0]) ^ bits(d[3])));
}

static uint64_t run_libm(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        double x = (double)(i % 1000) * 0.0137 + 0.1;
        sum = bench_mix(sum, bits(sin(x) + cos(x * 3) + exp(-x) + log(x) + pow(x, 0.7) + atan2(x, 2.5)));
    }
    return sum;
}

static uint64_t run_x87(uint64_t n)
{
    long double x = 1.0L, y = 0.5L, z = 0;
    for (uint64_t i = 0; i < n; i++) {
        x = x * 0.75L + y / (1.0L + (long double)(i & 63));
        y = y * -0.5L + x;
        z += __builtin_sqrtl(x * x + y * y);
    }
    unsigned char raw[16] = {0};
    memcpy(raw, &z, 10);
    uint64_t m, e = 0;
    memcpy(&m, raw, 8);
    memcpy(&e, raw + 8, 2);
    return bench_mix(m, e);
}

/* Integer to floating point and back, rounding, comparisons. */
static uint64_t run_convert(uint64_t n)
{
    uint64_t s = 11, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        int64_t v = (int64_t)(bench_random(&s) >> 20);
        double d = (double)v * 1.0625;
        float f = (float)(int32_t)v;
        sum += (uint64_t)(int64_t)d + (uint64_t)(int64_t)(f * 0.5f);
        sum ^= d > 1e12 ? 5 : (double)f < 0 ? 9 : 2;
    }
    return sum;
}

static uint64_t run_fdivsqrt(uint64_t n)
{
    double a = 2, b = 3;
    for (uint64_t i = 0; i < n; i++) {
        a = sqrt(b + (double)i) / (a + 1.5);
        b = b / (1.0 + a);
    }
    return bench_mix(bits(a), bits(b));
}

const Workload bench_float[] = {
    {"nbody", 20000, run_nbody, NULL, 0},
    {"dgemm", 200, run_dgemm, NULL, 0},
    {"mandelbrot", 50000, run_mandelbrot, NULL, 0},
    {"fir", 5000, run_fir, NULL, 0},
    {"convert", 2000000, run_convert, NULL, 0},
    {"fdivsqrt", 1000000, run_fdivsqrt, NULL, 0},
    {"libm", 100000, run_libm, NULL, 0},
    {"x87", 1000000, run_x87, NULL, 0},
    {"simd-sse2", 10000, run_simd, NULL, 0},
    {"simd-ssse3", 10000, run_ssse3, NULL, NEED_SSSE3},
    {"aes", 500000, run_aes, NULL, NEED_AES},
    {"avx2", 5000, run_avx2, NULL, NEED_AVX2},
    {0},
};

/* SPDX-License-Identifier: MIT
 * backends/audio/convert.c - samples of all formats as floats, and channels onto channels.
 *
 * Models: little-endian integers, unsigned ones around their middle; IEEE floats of full scale 1. A float has
 * 24 bits: the last eight of s32 and u32 are rounded off. Does not model: places of loudspeakers; six
 * channels on two are the even ones left, the odd ones right. Threads: any.
 */
#include "backends/audio/audio_internal.h"

#include <math.h>
#include <string.h>

/* Comparisons with what is no number are false: it becomes 0. */
static inline float into_range(float x)
{
    return x >= 1.0f ? 1.0f : x <= -1.0f ? -1.0f : x == x ? x : 0.0f;
}

#define READ(T, load, expr)                                                                                  \
    for (size_t i = 0; i < samples; i++) {                                                                   \
        T v;                                                                                                 \
        memcpy(&v, (const T *)from + i, sizeof(v));                                                          \
        v = load(v);                                                                                         \
        to[i] = expr;                                                                                        \
    }                                                                                                        \
    break
#define SAME(v) (v)

void audio_to_float(float *to, const void *from, AudioFormat f, size_t samples)
{
    switch (f) {
    case AUDIO_FORMAT_U8: READ(uint8_t, SAME, (v - 128) * (1.0f / 128));
    case AUDIO_FORMAT_S8: READ(int8_t, SAME, v * (1.0f / 128));
    case AUDIO_FORMAT_U16: READ(uint16_t, GUINT16_FROM_LE, (v - 32768) * (1.0f / 32768));
    case AUDIO_FORMAT_S16: READ(int16_t, GINT16_FROM_LE, v * (1.0f / 32768));
    case AUDIO_FORMAT_U32:
        READ(uint32_t, GUINT32_FROM_LE, (int32_t)(v ^ 0x80000000u) * (1.0f / 2147483648.0f));
    case AUDIO_FORMAT_S32: READ(int32_t, GINT32_FROM_LE, v * (1.0f / 2147483648.0f));
    case AUDIO_FORMAT_F32:
        for (size_t i = 0; i < samples; i++) {
            uint32_t bits;
            float v;
            memcpy(&bits, (const uint32_t *)from + i, 4);
            bits = GUINT32_FROM_LE(bits);
            memcpy(&v, &bits, 4);
            to[i] = into_range(v);
        }
        break;
    }
}

/* Full scale down is -scale, full scale up one step less. */
static inline int32_t to_integer(float x, double scale)
{
    double v = rint(into_range(x) * scale);
    return v >= scale ? (int32_t)(scale - 1) : (int32_t)v;
}

#define WRITE(T, expr)                                                                                       \
    for (size_t i = 0; i < samples; i++) {                                                                   \
        T v = (expr);                                                                                        \
        memcpy((T *)to + i, &v, sizeof(v));                                                                  \
    }                                                                                                        \
    break

void audio_from_float(void *to, const float *from, AudioFormat f, size_t samples)
{
    switch (f) {
    case AUDIO_FORMAT_U8: WRITE(uint8_t, to_integer(from[i], 128) + 128);
    case AUDIO_FORMAT_S8: WRITE(int8_t, to_integer(from[i], 128));
    case AUDIO_FORMAT_U16: WRITE(uint16_t, GUINT16_TO_LE(to_integer(from[i], 32768) + 32768));
    case AUDIO_FORMAT_S16: WRITE(int16_t, GINT16_TO_LE(to_integer(from[i], 32768)));
    case AUDIO_FORMAT_U32:
        WRITE(uint32_t, GUINT32_TO_LE((uint32_t)to_integer(from[i], 2147483648.0) ^ 0x80000000u));
    case AUDIO_FORMAT_S32: WRITE(int32_t, GINT32_TO_LE(to_integer(from[i], 2147483648.0)));
    case AUDIO_FORMAT_F32:
        for (size_t i = 0; i < samples; i++) {
            float v = into_range(from[i]);
            uint32_t bits;
            memcpy(&bits, &v, 4);
            bits = GUINT32_TO_LE(bits);
            memcpy((uint32_t *)to + i, &bits, 4);
        }
        break;
    }
}

static void fold_channels(float *to, unsigned tc, const float *from, unsigned fc, size_t frames)
{
    for (size_t i = 0; i < frames; i++) {
        for (unsigned c = 0; c < tc; c++) {
            float sum = 0;
            unsigned n = 0;
            for (unsigned k = c; k < fc; k += tc, n++) {
                sum += from[i * fc + k];
            }
            to[i * tc + c] = sum / n;
        }
    }
}

void audio_map_channels(float *to, unsigned tc, const float *from, unsigned fc, size_t frames)
{
    if (tc == fc) {
        memcpy(to, from, frames * tc * sizeof(float));
        return;
    }
    if (fc > tc) {
        fold_channels(to, tc, from, fc, frames);
        return;
    }
    for (size_t i = 0; i < frames; i++) {
        for (unsigned c = 0; c < tc; c++) {
            to[i * tc + c] = c < fc ? from[i * fc + c] : fc == 1 && c == 1 ? from[i] : 0;
        }
    }
}

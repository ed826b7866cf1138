/* SPDX-License-Identifier: MIT
 * backends/audio/resample.c - from one rate to another.
 *
 * Models: band-limited interpolation: each output frame is the sum of the input frames around it, weighted by
 * a sinc in a Kaiser window (24 zero crossings to each side, beta 8: what is folded back is 80 dB down).
 * Going down, the sinc is as much wider as the rates differ. Positions are fractions of integers, so nothing
 * drifts. Threads: an object's user; the table of the kernel is made once.
 *
 * The weights of all positions between two input frames are rows of a table: one for each position that
 * occurs, or, where these are too many, some between which is interpolated. Making the rows is cheap enough
 * for a guest that changes its rate all the time. A new stream begins with silence of half the kernel's
 * length.
 */
#include "backends/audio/audio_internal.h"

#include <math.h>
#include <string.h>

enum { CROSSINGS = 24, STEPS = 512, ROWS_EXACT = 640, ROWS_BETWEEN = 512 };
#define KAISER_BETA 8.0
#define ROLLOFF     0.92 /* of the lower Nyquist frequency: where the kernel cuts */

typedef float Four __attribute__((vector_size(16)));

struct Resampler {
    unsigned channels;
    uint32_t step_in, step_out; /* the rates without their common divisor */
    unsigned taps;              /* a multiple of four; 0: the rates are equal */
    unsigned n_rows;            /* rows[n_rows] is the first one, one frame on */
    bool exact;
    uint32_t phase;      /* of the next output frame, in 1/step_out of an input frame */
    unsigned have, room; /* input frames: the first is where the next output's kernel begins */
    float *rows;         /* (n_rows + 1) * taps */
    float *hist;         /* channel c: room frames at c * room */
};

/* ---- the kernel ---- */

static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (unsigned k = 1; k < 40; k++) {
        term *= (x / 2 / k) * (x / 2 / k);
        sum += term;
    }
    return sum;
}

/* At i / STEPS zero crossings from the middle. */
static const float *kernel(void)
{
    static float table[CROSSINGS * STEPS + 2];
    static gsize made;
    if (g_once_init_enter(&made)) {
        for (unsigned i = 0; i <= CROSSINGS * STEPS; i++) {
            double u = (double)i / STEPS, w = u / CROSSINGS, x = G_PI * u * ROLLOFF;
            table[i] =
                (i ? sin(x) / x : 1) * bessel_i0(KAISER_BETA * sqrt(1 - w * w)) / bessel_i0(KAISER_BETA);
        }
        g_once_init_leave(&made, 1);
    }
    return table;
}

/* A constant signal stays what it is: the weights of a row are 1 together. */
static void make_row(float *row, unsigned taps, double frac, double scale)
{
    const float *t = kernel();
    double sum = 0;
    for (unsigned k = 0; k < taps; k++) {
        double u = fabs((double)k - (taps / 2 - 1) - frac) * scale * STEPS;
        unsigned i = (unsigned)u;
        row[k] = i < CROSSINGS * STEPS ? t[i] + (float)(u - i) * (t[i + 1] - t[i]) : 0;
        sum += row[k];
    }
    for (unsigned k = 0; k < taps; k++) {
        row[k] /= sum;
    }
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

Resampler *resampler_new(uint32_t in_rate, uint32_t out_rate, unsigned channels)
{
    Resampler *r = g_new0(Resampler, 1);
    uint32_t d = common_divisor(in_rate, out_rate);
    *r = (Resampler){ .channels = channels, .step_in = in_rate / d, .step_out = out_rate / d };
    if (in_rate != out_rate) {
        double scale = MIN(1.0, (double)out_rate / in_rate);
        unsigned half = (unsigned)ceil(CROSSINGS / scale);
        r->taps = 2 * (half + (half & 1));
        r->exact = r->step_out <= ROWS_EXACT * scale + 1;
        r->n_rows = r->exact ? r->step_out : (unsigned)(ROWS_BETWEEN * scale) + 8;
        r->rows = g_new(float, (size_t)(r->n_rows + 1) * r->taps);
        for (unsigned i = 0; i <= r->n_rows; i++) {
            make_row(r->rows + (size_t)i * r->taps, r->taps, (double)i / r->n_rows, scale);
        }
    }
    r->room = r->taps + 2 * AUDIO_CHUNK;
    r->hist = g_new0(float, (size_t)r->room *channels);
    r->have = r->taps;
    return r;
}

void resampler_free(Resampler *r)
{
    if (r) {
        g_free(r->rows);
        g_free(r->hist);
        g_free(r);
    }
}

/* ---- frames ---- */

unsigned resampler_need(const Resampler *r, unsigned out)
{
    if (!out) {
        return 0;
    }
    uint64_t begin = ((uint64_t)(out - 1) * r->step_in + r->phase) / r->step_out;
    uint64_t end = begin + MAX(r->taps, 1u);
    return end > r->have ? end - r->have : 0;
}

unsigned resampler_can(const Resampler *r, unsigned in)
{
    uint64_t have = (uint64_t)r->have + in, taps = MAX(r->taps, 1u);
    if (have < taps) {
        return 0;
    }
    /* Frame n begins at (n * step_in + phase) / step_out, which must not be more than have - taps. */
    return (((have - taps + 1) * r->step_out - r->phase - 1) / r->step_in) + 1;
}

unsigned resampler_tail(const Resampler *r)
{
    return r->taps;
}

void resampler_push(Resampler *r, const float *in, unsigned n)
{
    g_assert(n <= r->room - r->have);
    for (unsigned c = 0; c < r->channels; c++) {
        float *h = r->hist + (size_t)c * r->room + r->have;
        for (unsigned i = 0; i < n; i++) {
            h[i] = in ? in[(size_t)i * r->channels + c] : 0;
        }
    }
    r->have += n;
}

static float weigh(const float *row, const float *h, unsigned taps)
{
    Four sum = { 0 }, sum2 = { 0 };
    for (unsigned k = 0; k < taps; k += 4) {
        Four a, b;
        memcpy(&a, row + k, sizeof(a));
        memcpy(&b, h + k, sizeof(b));
        if (k & 4) {
            sum2 += a * b;
        } else {
            sum += a * b;
        }
    }
    sum += sum2;
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static float at_phase(const Resampler *r, const float *h, uint32_t phase)
{
    if (r->exact) {
        return weigh(r->rows + (size_t)phase * r->taps, h, r->taps);
    }
    double at = (double)phase / r->step_out * r->n_rows;
    unsigned i = (unsigned)at;
    const float *row = r->rows + (size_t)i * r->taps;
    float low = weigh(row, h, r->taps), high = weigh(row + r->taps, h, r->taps);
    return low + (float)(at - i) * (high - low);
}

void resampler_pull(Resampler *r, float *out, unsigned n)
{
    uint64_t at = r->phase; /* of the frame, from where the history begins, in 1/step_out */
    g_assert(resampler_need(r, n) == 0);
    at += out ? 0 : (uint64_t)n * r->step_in;
    for (unsigned i = 0; out && i < n; i++, at += r->step_in) {
        size_t begin = at / r->step_out;
        for (unsigned c = 0; c < r->channels; c++) {
            const float *h = r->hist + (size_t)c * r->room + begin;
            out[(size_t)i * r->channels + c] = r->taps ? at_phase(r, h, at % r->step_out) : *h;
        }
    }
    unsigned gone = MIN(at / r->step_out, r->have);
    r->phase = at - (uint64_t)gone * r->step_out;
    for (unsigned c = 0; c < r->channels; c++) {
        float *h = r->hist + (size_t)c * r->room;
        memmove(h, h + gone, (r->have - gone) * sizeof(float));
    }
    r->have -= gone;
}

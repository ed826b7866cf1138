/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-audio.c - backends/audio/convert.c, backends/audio/resample.c,
 * backends/audio/voice.c, backends/audio/options.c, backends/audio/none.c and backends/audio/wav.c: samples,
 * rates, time, mixing, and drivers with a clock of their own. Time is the test machine's, by hand.
 */
#include "backends/audio/audio_internal.h"
#include "tests/lib/bytes.h"
#include "tests/lib/testmachine.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { MS = 1000000 };
#define SEC 1000000000ll

/* ---- a device that plays or records ---- */

typedef struct Player {
    Device dev;
    char *audiodev;
    bool records; /* configuration */
    Voice *voice;
    AudioSettings s;
    double hz, level; /* of the tone that it plays; 0 Hz: a constant */
    uint64_t frames;  /* asked for, or come */
    uint64_t limit;   /* it has so many; 0: no end */
    bool stops;       /* and stops itself then */
    AudioFormat next; /* or begins anew with this format, if it is another one */
    GArray *heard;    /* float, of the first channel */
} Player;

static unsigned player_play(void *opaque, void *buf, unsigned frames)
{
    Player *p = opaque;
    g_autofree float *f = g_new(float, (size_t)frames * p->s.channels);
    unsigned n = p->limit ? MIN(frames, p->limit - MIN(p->limit, p->frames)) : frames;
    for (unsigned i = 0; i < n; i++) {
        double t = (double)(p->frames + i) / p->s.frequency;
        for (unsigned c = 0; c < p->s.channels; c++) {
            f[i * p->s.channels + c] = p->level * (p->hz ? sin(2 * G_PI * p->hz * t) : 1);
        }
    }
    audio_from_float(buf, f, p->s.format, (size_t)n * p->s.channels);
    p->frames += n;
    if (p->limit && p->frames == p->limit && p->stops) {
        voice_run(p->voice, false);
    } else if (p->limit && p->frames == p->limit && p->next != p->s.format) {
        p->s.format = p->next;
        p->limit = 0;
        voice_run(p->voice, false);
        g_assert_true(voice_set(p->voice, &p->s));
        voice_run(p->voice, true);
    }
    return n;
}

static unsigned player_record(void *opaque, const void *buf, unsigned frames)
{
    Player *p = opaque;
    g_autofree float *f = g_new(float, (size_t)frames * p->s.channels);
    audio_to_float(f, buf, p->s.format, (size_t)frames * p->s.channels);
    for (unsigned i = 0; i < frames; i++) {
        g_array_append_val(p->heard, f[i * p->s.channels]);
    }
    p->frames += frames;
    return frames;
}

static void player_gone(void *opaque)
{
    Player *p = opaque;
    voice_free(p->voice);
    g_array_free(p->heard, TRUE);
}

static bool player_realize(Device *dev, Error **errp)
{
    static const VoiceOps play = { .play = player_play }, record = { .record = player_record };
    Player *p = dev_as(Player, dev);
    p->voice = voice_new(dev, p->audiodev, "out", p->records ? &record : &play, p, errp);
    if (!p->voice) {
        return false;
    }
    p->heard = g_array_new(FALSE, FALSE, sizeof(float));
    device_add_cleanup(dev, player_gone, p);
    return true;
}

static const Prop player_props[] = { PROP_AUDIODEV(Player, audiodev),
                                     PROP_BOOL(Player, records, "records", false, "It records"),
                                     { 0 } };
static const DeviceType player_type = {
    .name = "test-player",
    .size = sizeof(Player),
    .internal = true,
    .props = player_props,
    .realize = player_realize,
};

static Player *player(TestMachine *tm, const char *audiodev, bool records, AudioSettings s)
{
    Device *dev =
        tm_device_type(tm, &player_type, NULL, "audiodev", audiodev, "records", records ? "on" : "off", NULL);
    Player *p = dev_as(Player, dev);
    p->s = s;
    p->next = s.format;
    p->level = 0.5;
    domain_lock(dev->domain);
    g_assert_true(voice_set(p->voice, &s));
    domain_unlock(dev->domain);
    return p;
}

static void run(Player *p, bool on)
{
    domain_lock(p->dev.domain);
    voice_run(p->voice, on);
    domain_unlock(p->dev.domain);
}

static bool add_audiodev(TestMachine *tm, Error **errp, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static bool add_audiodev(TestMachine *tm, Error **errp, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    bool from_text;
    g_autoptr(Json) j = keyval_parse(text, "driver", &from_text, &error_abort_slot);
    return audiodev_new_json(tm->m, j, from_text, errp);
}

static void finish(TestMachine *tm)
{
    machine_stop(tm->m, RUN_FINISHED);
    audiodev_remove_all(tm->m);
    tm_free(tm);
}

/* ---- signals ---- */

/* How much of f is not the tone (its best fit): the ratio of the rest to it, in dB. */
static double noise_db(const float *f, size_t n, double hz, double rate)
{
    double ss = 0, cc = 0, sc = 0, s = 0, c = 0;
    for (size_t i = 0; i < n; i++) {
        double x = sin(2 * G_PI * hz * i / rate), y = cos(2 * G_PI * hz * i / rate);
        ss += x * x, cc += y * y, sc += x * y, s += f[i] * x, c += f[i] * y;
    }
    double d = ss * cc - sc * sc, a = (s * cc - c * sc) / d, b = (c * ss - s * sc) / d, rest = 0, tone = 0;
    for (size_t i = 0; i < n; i++) {
        double t = a * sin(2 * G_PI * hz * i / rate) + b * cos(2 * G_PI * hz * i / rate);
        tone += t * t;
        rest += (f[i] - t) * (f[i] - t);
    }
    return 10 * log10(rest / tone);
}

static void test_formats(void)
{
    static const float in[] = { 0, 0.5f, -0.5f, 1, -1, 2, -2, NAN, INFINITY, 0.25f };
    enum { N = G_N_ELEMENTS(in) };
    for (unsigned f = 0; f < AUDIO_FORMAT__COUNT; f++) {
        uint32_t raw[N];
        float out[N];
        double step = f == AUDIO_FORMAT_F32 ? 0 : pow(2, -(8.0 * audio_sample_size(f) - 1));
        audio_from_float(raw, in, f, N);
        audio_to_float(out, raw, f, N);
        for (unsigned i = 0; i < N; i++) {
            double want = in[i] != in[i] ? 0 : CLAMP(in[i], -1.0, 1.0);
            g_assert_cmpfloat(fabs(out[i] - want), <=, step + 1e-7);
        }
        g_assert_cmpfloat(out[0], ==, 0);
        g_assert_cmpfloat(out[4], ==, -1);
    }
    uint8_t u8[] = { 0, 128, 255 };
    float f[3];
    audio_to_float(f, u8, AUDIO_FORMAT_U8, 3);
    g_assert_cmpfloat(f[0], ==, -1);
    g_assert_cmpfloat(f[1], ==, 0);
    uint32_t bad = 0x7fc00000; /* no number */
    audio_to_float(f, &bad, AUDIO_FORMAT_F32, 1);
    g_assert_cmpfloat(f[0], ==, 0);
}

static void test_channels(void)
{
    const float in[] = { 1, 2, 3, 4, 5, 6 };
    float out[16];
    audio_map_channels(out, 2, in, 1, 2);
    g_assert_true(out[0] == 1 && out[1] == 1 && out[2] == 2 && out[3] == 2);
    audio_map_channels(out, 1, in, 2, 2);
    g_assert_true(out[0] == 1.5f && out[1] == 3.5f);
    audio_map_channels(out, 2, in, 6, 1);
    g_assert_true(out[0] == 3 && out[1] == 4);
    audio_map_channels(out, 8, in, 2, 1);
    g_assert_true(out[0] == 1 && out[1] == 2 && out[2] == 0 && out[7] == 0);
    audio_map_channels(out, 4, in, 1, 1);
    g_assert_true(out[0] == 1 && out[1] == 1 && out[2] == 0);
}

/* Output of a tone at half scale, in pieces of random sizes; its length is exact. */
static GArray *resampled(uint32_t from, uint32_t to, double hz, unsigned frames)
{
    Resampler *r = resampler_new(from, to, 1);
    GArray *out = g_array_new(FALSE, FALSE, sizeof(float));
    float in[AUDIO_CHUNK], piece[AUDIO_CHUNK];
    unsigned at = 0;
    while (out->len < frames) {
        unsigned some = g_test_rand_int_range(1, 700);
        unsigned n = MIN(MIN(frames - out->len, some), resampler_can(r, AUDIO_CHUNK));
        unsigned need = resampler_need(r, n);
        g_assert_cmpuint(need, <=, AUDIO_CHUNK);
        for (unsigned i = 0; i < need; i++, at++) {
            in[i] = 0.5 * (hz ? sin(2 * G_PI * hz * at / from) : 1);
        }
        resampler_push(r, in, need);
        g_assert_cmpuint(resampler_need(r, n), ==, 0);
        g_assert_cmpuint(resampler_can(r, 0), >=, n);
        resampler_pull(r, piece, n);
        g_array_append_vals(out, piece, n);
    }
    /* What was taken is what so many frames last, less the first one. */
    g_assert_cmpuint(at, ==, (uint64_t)(frames - 1) * from / to + (from == to));
    resampler_free(r);
    return out;
}

static void test_resample(void)
{
    static const struct {
        uint32_t from, to;
        double hz, noise;
    } all[] = {
        { 48000, 44100, 1000, -70 }, { 44100, 48000, 440, -70 },    { 8000, 44100, 1000, -70 },
        { 44100, 8000, 997, -70 },   { 11025, 44100, 440, -70 },    { 44101, 48000, 3000, -70 },
        { 47999, 44100, 3000, -70 }, { 192000, 44100, 10000, -70 }, { 44100, 44100, 5000, -100 },
        { 384000, 1000, 100, -70 },  { 1000, 384000, 100, -70 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        unsigned n = MIN(all[i].to, 50000u) + 7;
        GArray *out = resampled(all[i].from, all[i].to, all[i].hz, n);
        unsigned skip = MIN(n / 2, 200 + 100 * all[i].to / MIN(all[i].from, all[i].to));
        double noise = noise_db((float *)out->data + skip, n - skip, all[i].hz, all[i].to);
        g_test_message("%u to %u Hz: %.1f dB", all[i].from, all[i].to, noise);
        g_assert_cmpfloat(noise, <=, all[i].noise);
        g_array_free(out, TRUE);
        out = resampled(all[i].from, all[i].to, 0, n);
        g_assert_cmpfloat(fabs(g_array_index(out, float, n - 1) - 0.5), <, 1e-4);
        g_array_free(out, TRUE);
    }
    /* What the lower rate cannot carry is gone. */
    GArray *out = resampled(48000, 8000, 6000, 8000);
    double power = 0;
    for (unsigned i = 1000; i < 8000; i++) {
        power += pow(g_array_index(out, float, i), 2) / 7000;
    }
    g_assert_cmpfloat(10 * log10(power / 0.125), <, -60);
    g_array_free(out, TRUE);
}

/* ---- time ---- */

static void test_none(void)
{
    static const AudioSettings all[] = {
        { 44100, 2, AUDIO_FORMAT_S16 }, { 48000, 1, AUDIO_FORMAT_U8 }, { 11025, 6, AUDIO_FORMAT_S32 },
        { 44101, 8, AUDIO_FORMAT_F32 }, { 1000, 1, AUDIO_FORMAT_U16 }, { 384000, 2, AUDIO_FORMAT_U32 },
    };
    TestMachine *tm = tm_new(0);
    Player *p[G_N_ELEMENTS(all)], *in[G_N_ELEMENTS(all)];
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        p[i] = player(tm, "", false, all[i]); /* no -audiodev: driver none */
        in[i] = player(tm, "", true, all[i]);
        run(p[i], true);
        run(in[i], true);
        tm_step(tm, 1234567);
    }
    for (unsigned s = 1; s <= 20; s++) {
        tm_step(tm, SEC);
        for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
            uint64_t most = (uint64_t)all[i].frequency * s + all[i].frequency / 50;
            uint64_t least = (uint64_t)all[i].frequency * s - all[i].frequency / 50 - 200;
            g_assert_cmpuint(p[i]->frames, <=, most);
            g_assert_cmpuint(p[i]->frames, >=, least);
            g_assert_cmpuint(in[i]->frames, <=, most);
            g_assert_cmpuint(in[i]->frames, >=, least);
        }
    }
    /* It stops, and comes again; a stopped machine asks for nothing. */
    run(p[0], false);
    uint64_t was = p[0]->frames, other = p[1]->frames;
    tm_step(tm, SEC);
    g_assert_cmpuint(p[0]->frames, ==, was);
    run(p[0], true);
    tm_step(tm, SEC / 10);
    g_assert_cmpuint(p[0]->frames, >, was + 4000);
    g_assert_cmpuint(p[1]->frames, >, other + 50000);
    for (guint i = 0; i < in[1]->heard->len; i++) {
        g_assert_cmpfloat(g_array_index(in[1]->heard, float, i), ==, 0);
    }
    GString *text = g_string_new(NULL);
    voice_describe(p[1]->voice, text, 2);
    g_assert_true(
        g_str_has_prefix(text->str, "  out: audiodev \"\", runs, 48000 Hz, 1 x u8; frames missing 0,"));
    g_string_free(text, TRUE);
    finish(tm);
}

static void test_settings(void)
{
    static const AudioSettings good = { 8000, 1, AUDIO_FORMAT_S16 }, bad[] = {
        { 0, 2, AUDIO_FORMAT_S16 },     { 999, 2, AUDIO_FORMAT_S16 },   { 384001, 2, AUDIO_FORMAT_S16 },
        { 44100, 0, AUDIO_FORMAT_S16 }, { 44100, 9, AUDIO_FORMAT_S16 }, { 44100, 2, (AudioFormat)7 },
    };
    TestMachine *tm = tm_new(0);
    Player *p = player(tm, "", false, good);
    domain_lock(p->dev.domain);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(voice_set(p->voice, &bad[i]));
    }
    voice_run(p->voice, true);
    voice_run(p->voice, true);
    g_assert_true(voice_runs(p->voice));
    g_assert_false(voice_set(p->voice, &good)); /* it runs */
    domain_unlock(p->dev.domain);
    tm_step(tm, SEC);
    g_assert_cmpuint(p->frames, >, 7800);
    finish(tm);
}

/* ---- wav ---- */

typedef struct Wave {
    TestMachine *tm;
    char *dir, *path, *all;
    AudioSettings s;
    GArray *f; /* float, interleaved */
} Wave;

static Wave *wave_new(const char *options)
{
    Wave *w = g_new0(Wave, 1);
    w->tm = tm_new(0);
    w->dir = g_dir_make_tmp("rhea-audio-XXXXXX", NULL);
    w->path = g_build_filename(w->dir, "a.wav", NULL);
    add_audiodev(w->tm, &error_abort_slot, "wav,id=w,path=%s%s", w->path, options);
    return w;
}

static uint32_t le(const uint8_t *p, unsigned n)
{
    return bytes_le(&(Bytes){ p, n }, n);
}

/* Reads the file, which must be whole. */
static void wave_read(Wave *w)
{
    gsize len;
    g_free(w->all);
    g_assert_true(g_file_get_contents(w->path, &w->all, &len, NULL));
    const uint8_t *h = (uint8_t *)w->all;
    g_assert_cmpuint(len, >=, 44);
    g_assert_cmpmem(h, 4, "RIFF", 4);
    g_assert_cmpmem(h + 8, 8, "WAVEfmt ", 8);
    g_assert_cmpmem(h + 36, 4, "data", 4);
    g_assert_cmpuint(le(h + 4, 4), ==, len - 8);
    g_assert_cmpuint(le(h + 40, 4), ==, len - 44);
    unsigned bits = le(h + 34, 2), kind = le(h + 20, 2);
    w->s = (AudioSettings){ le(h + 24, 4), le(h + 22, 2),
                            kind == 3    ? AUDIO_FORMAT_F32
                            : bits == 8  ? AUDIO_FORMAT_U8
                            : bits == 16 ? AUDIO_FORMAT_S16
                                         : AUDIO_FORMAT_S32 };
    unsigned frame = audio_frame_size(&w->s);
    g_assert_cmpuint(le(h + 32, 2), ==, frame);
    g_assert_cmpuint(le(h + 28, 4), ==, frame * w->s.frequency);
    g_assert_cmpuint((len - 44) % frame, ==, 0);
    if (w->f) {
        g_array_free(w->f, TRUE);
    }
    w->f = g_array_sized_new(FALSE, FALSE, sizeof(float), 0);
    g_array_set_size(w->f, (len - 44) / audio_sample_size(w->s.format));
    audio_to_float((float *)w->f->data, h + 44, w->s.format, w->f->len);
}

static void wave_free(Wave *w)
{
    if (w->tm) {
        finish(w->tm);
    }
    g_unlink(w->path);
    g_rmdir(w->dir);
    g_free(w->dir);
    g_free(w->path);
    g_free(w->all);
    if (w->f) {
        g_array_free(w->f, TRUE);
    }
    g_free(w);
}

static void test_wav(void)
{
    Wave *w = wave_new("");
    Player *p = player(w->tm, "w", false, (AudioSettings){ 48000, 1, AUDIO_FORMAT_S16 });
    p->hz = 1000;
    wave_read(w);
    g_assert_cmpuint(w->f->len, ==, 0); /* whole from the first moment */
    run(p, true);
    for (unsigned i = 0; i < 200; i++) {
        tm_step(w->tm, 10 * MS + 12345);
        wave_read(w);
    }
    g_assert_cmpuint(w->s.frequency, ==, 44100);
    g_assert_cmpuint(w->s.channels, ==, 2);
    g_assert_cmpint(w->s.format, ==, AUDIO_FORMAT_S16);
    unsigned n = w->f->len / 2;
    g_assert_cmpuint(n, >=, 88000);
    g_autofree float *left = g_new(float, n);
    for (unsigned i = 0; i < n; i++) {
        left[i] = g_array_index(w->f, float, 2 * i);
        g_assert_cmpfloat(left[i], ==, g_array_index(w->f, float, 2 * i + 1));
    }
    double noise = noise_db(left + 200, n - 200, 1000, 44100);
    g_test_message("wav: %.1f dB", noise);
    g_assert_cmpfloat(noise, <, -70); /* a gap, a click or a drift would be far above it */
    run(p, false);
    tm_step(w->tm, 50 * MS);
    wave_read(w);
    unsigned end = w->f->len;
    tm_step(w->tm, SEC); /* nothing plays: the file does not grow */
    wave_read(w);
    g_assert_cmpuint(w->f->len, ==, end);
    g_assert_cmpfloat(fabs(g_array_index(w->f, float, end - 1)), <, 0.01); /* it faded out */
    wave_free(w);
}

static void test_wav_formats(void)
{
    static const struct {
        const char *name;
        AudioFormat f;
    } all[] = {
        { "u8", AUDIO_FORMAT_U8 },   { "s8", AUDIO_FORMAT_U8 },   { "u16", AUDIO_FORMAT_S16 },
        { "s16", AUDIO_FORMAT_S16 }, { "u32", AUDIO_FORMAT_S32 }, { "s32", AUDIO_FORMAT_S32 },
        { "f32", AUDIO_FORMAT_F32 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        g_autofree char *o =
            g_strdup_printf(",out.frequency=8000,out.channels=%u,out.format=%s", i + 1, all[i].name);
        Wave *w = wave_new(o);
        Player *p = player(w->tm, "w", false, (AudioSettings){ 8000, i + 1, AUDIO_FORMAT_S16 });
        run(p, true);
        tm_step(w->tm, SEC / 10);
        wave_read(w);
        g_assert_cmpint(w->s.format, ==, all[i].f);
        g_assert_cmpuint(w->s.channels, ==, i + 1);
        g_assert_cmpuint(w->f->len, >=, 700);
        for (unsigned k = 0; k < w->f->len; k++) {
            g_assert_cmpfloat(g_array_index(w->f, float, k), ==, 0.5);
        }
        wave_free(w);
    }
}

/* Of voices together; each is at half scale. */
static void test_mix(void)
{
    static const AudioSettings s = { 44100, 2, AUDIO_FORMAT_S16 };
    Wave *w = wave_new(",out.format=f32");
    Player *p[3];
    for (unsigned i = 0; i < 3; i++) {
        p[i] = player(w->tm, "w", false, s);
    }
    p[1]->level = 0.25;
    run(p[0], true);
    run(p[1], true);
    tm_step(w->tm, SEC / 10);
    wave_read(w);
    for (unsigned i = 0; i < w->f->len; i++) {
        g_assert_cmpfloat(fabs(g_array_index(w->f, float, i) - 0.75), <, 1e-6);
    }
    run(p[2], true); /* a third one, from 5 ms after the last look on: full scale is the end */
    tm_step(w->tm, SEC / 10);
    wave_read(w);
    g_assert_cmpfloat(g_array_index(w->f, float, w->f->len - 1), ==, 1);
    unsigned now = w->f->len;
    domain_lock(p[0]->dev.domain);
    voice_volume(p[0]->voice, false, 51, 255);
    voice_volume(p[1]->voice, true, 255, 255);
    voice_volume(p[2]->voice, false, 0, 0);
    domain_unlock(p[0]->dev.domain);
    tm_step(w->tm, SEC / 10);
    wave_read(w);
    for (unsigned i = now + 2; i < w->f->len; i++) { /* a ramp, no jump */
        g_assert_cmpfloat(fabs(g_array_index(w->f, float, i) - g_array_index(w->f, float, i - 2)), <, 0.01);
    }
    g_assert_cmpfloat(fabs(g_array_index(w->f, float, w->f->len - 2) - 0.1), <, 1e-4);
    g_assert_cmpfloat(fabs(g_array_index(w->f, float, w->f->len - 1) - 0.5), <, 1e-4);
    wave_free(w);
}

/* A voice begins when it says so, between two looks. */
static void test_begin(void)
{
    static const AudioSettings s = { 10000, 1, AUDIO_FORMAT_S16 };
    Wave *w = wave_new(",out.frequency=10000,out.channels=1,out.format=f32");
    Player *a = player(w->tm, "w", false, s), *b = player(w->tm, "w", false, s);
    run(a, true);
    tm_step(w->tm, 15 * MS);
    run(b, true);
    tm_step(w->tm, 35 * MS);
    wave_read(w);
    g_assert_cmpuint(w->f->len, ==, 500);
    for (unsigned i = 0; i < 500; i++) {
        g_assert_cmpfloat(fabs(g_array_index(w->f, float, i) - (i < 150 ? 0.5 : 1)), <, 1e-4);
    }
    wave_free(w);
}

/* The device has no more: silence, counted; one that stops itself is no shortage. */
static void test_missing(void)
{
    static const AudioSettings s = { 8000, 1, AUDIO_FORMAT_S16 };
    Wave *w = wave_new(",out.frequency=8000,out.channels=1");
    for (unsigned stops = 0; stops < 2; stops++) {
        Player *p = player(w->tm, "w", false, s);
        p->limit = 1000;
        p->stops = stops;
        run(p, true);
        tm_step(w->tm, SEC / 2);
        g_assert_cmpuint(p->frames, ==, 1000);
        GString *text = g_string_new(NULL);
        voice_describe(p->voice, text, 0);
        g_assert_nonnull(strstr(text->str, stops ? "missing 0," : "missing 3000,"));
        g_assert_nonnull(strstr(text->str, stops ? "stopped" : "runs"));
        g_string_free(text, TRUE);
        run(p, false);
        tm_step(w->tm, SEC / 10);
    }
    wave_free(w);
}

/* A device that stops and begins anew with other samples in the middle of a look, as one on another thread
 * may: none of them are taken for the old ones. */
static void test_restart(void)
{
    Wave *w = wave_new(",timer-period=50000,out.frequency=48000,out.channels=1,out.format=f32");
    Player *p = player(w->tm, "w", false, (AudioSettings){ 192000, 1, AUDIO_FORMAT_F32 });
    p->next = AUDIO_FORMAT_S16; /* two of them, as a float, are full scale */
    p->limit = 1000;            /* what is asked for next belongs to the same look */
    run(p, true);
    tm_step(w->tm, SEC);
    wave_read(w);
    g_assert_cmpuint(p->s.format, ==, AUDIO_FORMAT_S16);
    for (unsigned i = 0; i < w->f->len; i++) {
        g_assert_cmpfloat(fabs(g_array_index(w->f, float, i)), <, 0.6);
    }
    g_assert_cmpfloat(fabs(g_array_index(w->f, float, w->f->len - 1) - 0.5), <, 1e-3);
    wave_free(w);
}

/* fixed-settings=off: the file has those of the device. mixing-engine=off: one voice is heard. */
static void test_not_fixed(void)
{
    Wave *w = wave_new(",out.mixing-engine=off");
    Player *a = player(w->tm, "w", false, (AudioSettings){ 22050, 6, AUDIO_FORMAT_U8 });
    Player *b = player(w->tm, "w", false, (AudioSettings){ 48000, 1, AUDIO_FORMAT_S16 });
    run(a, true);
    tm_step(w->tm, SEC / 10);
    run(b, true);
    tm_step(w->tm, SEC / 10);
    wave_read(w);
    g_assert_cmpuint(w->s.frequency, ==, 22050);
    g_assert_cmpuint(w->s.channels, ==, 6);
    g_assert_cmpint(w->s.format, ==, AUDIO_FORMAT_U8);
    for (unsigned i = 0; i < w->f->len; i++) {
        g_assert_cmpfloat(g_array_index(w->f, float, i), ==, 0.5);
    }
    g_assert_cmpuint(b->frames, >, 4000);
    wave_free(w);
}

/* The main loop comes late: the time is left out, nothing is lost. */
static void test_late(void)
{
    static const AudioSettings s = { 44100, 2, AUDIO_FORMAT_S16 };
    TestMachine *tm = tm_new(0);
    Player *p = player(tm, "", false, s);
    run(p, true);
    tm_step(tm, SEC);
    uint64_t was = p->frames;
    ManualClock *c = (ManualClock *)tm->m->clock;
    clock_manual_set(c, clock_now(&c->clock) + 5 * SEC);
    tm_turns(tm);
    g_assert_cmpuint(p->frames - was, <=, 4410 + 441);
    was = p->frames;
    tm_step(tm, SEC);
    g_assert_cmpuint(p->frames - was, >=, 44100 - 882);
    g_assert_cmpuint(p->frames - was, <=, 44100 + 882);
    finish(tm);
}

/* ---- drivers with a clock of their own ---- */

typedef struct Card {
    TestMachine *tm;
    double drift; /* 1: as the machine's */
    int64_t since;
    double moved; /* frames that it played or recorded */
    uint64_t written, read;
    double worst_low, worst_high;
    bool runs, open, refuses;
    unsigned opened, rests; /* rests: what waited when it was stopped */
} Card;

static double card_moves(Card *k, double rate)
{
    int64_t now = tm_now(k->tm);
    k->moved += k->runs ? (now - k->since) * k->drift * rate / SEC : 0;
    k->since = now;
    return k->moved;
}

static bool card_open(AudioStream *s, Error **errp)
{
    Card *k = s->a->state;
    k->open = !k->refuses;
    k->opened++;
    return k->open || error_set(errp, "no card");
}

static unsigned card_level(AudioStream *s);

static void card_close(AudioStream *s)
{
    ((Card *)s->a->state)->open = false;
}

static void card_run(AudioStream *s, bool on)
{
    Card *k = s->a->state;
    k->rests = card_level(s);
    k->runs = on;
}

static unsigned card_level(AudioStream *s)
{
    Card *k = s->a->state;
    double at = card_moves(k, s->settings.frequency);
    if (s->out && at > k->written) { /* it ran dry, and played silence */
        k->moved = at = k->written;
    }
    return s->out ? k->written - at : at - k->read;
}

static void card_write(AudioStream *s, const void *frames G_GNUC_UNUSED, unsigned n)
{
    ((Card *)s->a->state)->written += n;
}

static unsigned card_read(AudioStream *s, void *frames, unsigned n)
{
    Card *k = s->a->state;
    unsigned some = MIN(n, card_level(s));
    int16_t *f = frames;
    for (unsigned i = 0; i < some; i++, k->read++) {
        f[i] = 16000 * sin(2 * G_PI * 500 * k->read / s->settings.frequency);
    }
    return some;
}

static const AudioDriver card_driver = {
    .name = "card",
    .open = card_open,
    .close = card_close,
    .run = card_run,
    .level = card_level,
    .write = card_write,
    .read = card_read,
};

static void test_clock(void)
{
    static const AudioSettings s = { 48000, 1, AUDIO_FORMAT_S16 };
    static const double drifts[] = { 1, 1.005, 0.995, 1.015, 0.985 };
    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(drifts); i++) {
        bool records = i & 1;
        TestMachine *tm = tm_new(0);
        Card k = { .tm = tm, .drift = drifts[i / 2] };
        Audiodev *a = audiodev_new_driver(tm->m, "card", &card_driver, &k, &s, 50000);
        Player *p = player(tm, "card", records, (AudioSettings){ 44100, 1, AUDIO_FORMAT_S16 });
        AudioStream *st = records ? &a->in : &a->out;
        g_assert_true(k.open);
        run(p, true);
        tm_step(tm, 3 * SEC);
        for (unsigned n = 0; n < 2000; n++) {
            tm_step(tm, 10 * MS);
            unsigned level = card_level(st);
            g_assert_cmpuint(level, >, 60);
            g_assert_cmpuint(level, <, 2 * 2400 + 600);
        }
        g_assert_cmpuint(st->underruns, ==, 0);
        g_assert_cmpuint(st->overruns, ==, 0);
        uint64_t want = 44100 * 23 * k.drift;
        g_assert_cmpuint(p->frames, >, want - 6000);
        g_assert_cmpuint(p->frames, <, want + 6000);
        if (records) {
            float *f = (float *)p->heard->data + p->heard->len - 44100;
            double noise = noise_db(f, 44100, 500, 44100);
            g_test_message("recorded: %.1f dB", noise);
            g_assert_cmpfloat(noise, <, -60);
        }
        k.drift = records ? 0 : 100; /* the card plays all at once, or none comes: it goes on afterwards */
        tm_step(tm, SEC);
        k.drift = 1;
        tm_step(tm, SEC);
        uint64_t was = st->underruns;
        g_assert_cmpuint(was, >, 0);
        tm_step(tm, SEC);
        g_assert_cmpuint(st->underruns, ==, was);
        k.drift = records ? 100 : 0; /* far too much waits: some is left out */
        tm_step(tm, 2 * SEC);
        g_assert_cmpuint(st->overruns, >, 0);
        g_assert_cmpuint(card_level(st), <, 100000);
        run(p, false);
        tm_step(tm, SEC / 2);
        g_assert_false(k.runs);
        finish(tm);
        g_assert_false(k.open);
    }
}

static void test_card_end(void)
{
    static const AudioSettings s = { 48000, 1, AUDIO_FORMAT_S16 };
    TestMachine *tm = tm_new(0);
    Card k = { .tm = tm, .drift = 1 };
    Audiodev *a = audiodev_new_driver(tm->m, "card", &card_driver, &k, &s, 50000);
    Player *p = player(tm, "card", false, s);
    run(p, true);
    tm_step(tm, SEC);
    /* A machine that stands: the card does, too, and what waits is heard afterwards. */
    machine_stop(tm->m, RUN_PAUSED);
    g_assert_false(k.runs);
    unsigned waits = k.rests;
    g_assert_cmpuint(waits, >, 1000);
    machine_start(tm->m);
    g_assert_true(k.runs);
    g_assert_cmpuint(card_level(&a->out), ==, waits);
    tm_step(tm, SEC);
    /* The end of a sound is heard, and a new one that begins meanwhile follows it without a break. */
    for (unsigned i = 0; i < 2; i++) {
        run(p, false);
        tm_step(tm, 40 * MS);
        g_assert_true(k.runs);
        if (i == 0) {
            run(p, true);
            tm_step(tm, SEC);
        }
    }
    tm_step(tm, SEC);
    g_assert_false(k.runs);
    g_assert_cmpuint(k.rests, ==, 0);
    g_assert_cmpuint(a->out.underruns, ==, 0);
    g_assert_cmpuint(a->out.late_frames, ==, 0);
    finish(tm);
}

/* A state that was saved long ago brings its time with it. */
static void test_time_goes_back(void)
{
    static const AudioSettings s = { 48000, 1, AUDIO_FORMAT_S16 };
    TestMachine *tm = tm_new(0);
    Player *p = player(tm, "", false, s);
    tm_step(tm, 100 * SEC);
    run(p, true);
    tm_step(tm, SEC);
    machine_stop(tm->m, RUN_PAUSED);
    clock_manual_set((ManualClock *)tm->m->clock, 5 * SEC);
    machine_start(tm->m);
    uint64_t was = p->frames;
    tm_step(tm, SEC);
    g_assert_cmpuint(p->frames - was, >, 47000);
    g_assert_cmpuint(p->frames - was, <, 49000);
    finish(tm);
}

static void try_card(TestMachine *tm, const char *id, bool refused)
{
    g_autoptr(Error) err = NULL;
    Device *dev = device_new(tm->m, &player_type, tm->m->peripheral, id);
    g_assert_true(device_set(dev, "audiodev", "card", &error_abort_slot));
    g_assert_true(device_realize(dev, NULL, &err) != refused);
    g_assert_true(!refused || strstr(error_text(err), "audiodev 'card': no card"));
    device_remove(dev);
}

/* A card that is not there is each device's error, until it is. One that cannot have a device's settings is
 * not asked for them again and again, but for others; one that has them stays open. */
static void test_card_refuses(void)
{
    static const AudioSettings s = { 48000, 1, AUDIO_FORMAT_S16 }, other = { 8000, 1, AUDIO_FORMAT_S16 };
    static const unsigned opened[] = { 4, 4, 4, 5, 5, 6 };
    TestMachine *tm = tm_new(0);
    Card k = { .tm = tm, .drift = 1, .refuses = true };
    Audiodev *a = audiodev_new_driver(tm->m, "card", &card_driver, &k, &s, 50000);
    try_card(tm, "a", true);
    try_card(tm, "b", true);
    k.refuses = false;
    try_card(tm, "c", false);
    g_assert_cmpuint(k.opened, ==, 3);
    a->out.fixed = false;
    Player *p = player(tm, "card", false, s), *q = player(tm, "card", false, other);
    for (unsigned i = 0; i < 6; i++) {
        k.refuses = i >= 3 && i < 5;
        Player *one = i == 3 || i == 4 ? q : p;
        run(one, true);
        tm_step(tm, SEC);
        g_assert_cmpuint(one->frames, >, 7000);
        run(one, false);
        tm_step(tm, SEC);
        g_assert_cmpuint(k.opened, ==, opened[i]);
    }
    finish(tm);
}

/* ---- options ---- */

static void refused(TestMachine *tm, const char *text, const char *word)
{
    g_autoptr(Error) err = NULL;
    g_assert_false(add_audiodev(tm, &err, "%s", text));
    g_assert_nonnull(strstr(error_text(err), word));
}

static void test_options(void)
{
    TestMachine *tm = tm_new(0);
    refused(tm, "alsa,id=a", "'alsa' is not supported");
    refused(tm, "pipewire,id=a", "pipewire");
    refused(tm, "none,id=a,timer-period=0", "timer-period");
    refused(tm, "wav,id=a,out.channels=9", "out.channels");
    refused(tm, "sdl,id=a,out.buffer-length=10000001", "buffer-length");
    refused(tm, "pa,id=a,out.latency=10000001", "latency");
    refused(tm, "wav,id=a,out.voices=2", "out.voices");
    refused(tm, "wav,id=a,out.buffer-count=2", "buffer-count");
    refused(tm, "none,id=a,in.fixed-settings=off,in.format=s16", "'in'");
    g_assert_true(add_audiodev(tm, &error_abort_slot, "wav,id=w,path=/"));
    g_assert_true(add_audiodev(tm, &error_abort_slot, "none,id=n,out.voices=3"));
    refused(tm, "none,id=n", "already");
    g_autoptr(Error) err = NULL, err2 = NULL;
    Device *dev = device_new(tm->m, &player_type, tm->m->peripheral, "p");
    g_assert_true(device_set(dev, "audiodev", "w", &error_abort_slot));
    g_assert_false(device_realize(dev, NULL, &err));
    g_assert_nonnull(strstr(error_text(err), "cannot write '/'"));
    device_remove(dev);
    dev = device_new(tm->m, &player_type, tm->m->peripheral, "q");
    g_assert_true(device_set(dev, "audiodev", "x", &error_abort_slot));
    g_assert_false(device_realize(dev, NULL, &err2));
    g_assert_nonnull(strstr(error_text(err2), "there is no audiodev 'x'"));
    device_remove(dev);
    GString *s = g_string_new(NULL);
    audiodev_help(s);
    g_assert_true(g_str_has_prefix(s->str, "Available audio drivers:\nnone\nwav\n"));
    g_string_free(s, TRUE);
    finish(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/audio/formats", test_formats);
    g_test_add_func("/audio/channels", test_channels);
    g_test_add_func("/audio/resample", test_resample);
    g_test_add_func("/audio/none", test_none);
    g_test_add_func("/audio/settings", test_settings);
    g_test_add_func("/audio/wav", test_wav);
    g_test_add_func("/audio/wav-formats", test_wav_formats);
    g_test_add_func("/audio/mix", test_mix);
    g_test_add_func("/audio/begin", test_begin);
    g_test_add_func("/audio/missing", test_missing);
    g_test_add_func("/audio/restart", test_restart);
    g_test_add_func("/audio/not-fixed", test_not_fixed);
    g_test_add_func("/audio/late", test_late);
    g_test_add_func("/audio/clock", test_clock);
    g_test_add_func("/audio/card-end", test_card_end);
    g_test_add_func("/audio/card-refuses", test_card_refuses);
    g_test_add_func("/audio/time-goes-back", test_time_goes_back);
    g_test_add_func("/audio/options", test_options);
    return g_test_run();
}

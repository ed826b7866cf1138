/* SPDX-License-Identifier: MIT
 * tests/device/test-hda.c - hw/audio/intel-hda.c, hw/audio/hda-stream.c, hw/audio/hda-codec.c: the test is
 * the driver of a controller with codecs: registers, commands, what is played and recorded to the sample,
 * interrupts, saved state, hostile drivers. RHEA_SOUND_CASES: steps of those. Threads: main.
 */
#include "q35test.h"
#include "soundhost.h"

#include <string.h>

enum { FN_HDA = PCI_DEVFN(4, 0), BAR = 0xc0000000, RAM = 16 << 20, MS = 1000000 };
enum { CORB = 0x100000, RIRB = 0x101000, BDL = 0x102000, POSITIONS = 0x103000, SOUND = 0x200000 };
enum { GCTL = 0x08, STATESTS = 0x0e, INTCTL = 0x20, INTSTS = 0x24, SSYNC = 0x38 };
enum { IN_STREAM = 0x80, OUT_STREAM = 0x100, RUN = 2, IOCE = 4, TAG = 20 };
enum { FORMAT_48K = 0x0011, RATE = 48000 };
enum { DAC = 2, PIN_OUT = 3, ADC = 4, PIN_IN = 5 };

typedef struct Hda {
    TestMachine *tm;
    Device *dev;
    SoundHost host;
    uint8_t corbwp, rirbrp;
} Hda;
static Hda *current; /* for plug() */
static const char *second_codec, *msi;

static uint32_t rd(Hda *g, unsigned off, unsigned n)
{
    return (uint32_t)tm_read(g->tm, BAR + off, n);
}

static void wr(Hda *g, unsigned off, uint32_t v, unsigned n)
{
    tm_write(g->tm, BAR + off, n, v);
}

static void plug(TestMachine *tm)
{
    Machine *m = tm->m;
    soundhost_open(&current->host, m, RATE);
    Device *d = tm_device(tm, "ich9-intel-hda", m->board->default_bus(m, &pci_bus_type), "addr", "4.0", "msi",
                          msi ? msi : "off", NULL);
    current->dev = d;
    tm_device(tm, "hda-duplex", d->buses->pdata[0], NULL);
    if (second_codec) {
        tm_device(tm, second_codec, d->buses->pdata[0], "cad", "7", "mixer", "off", NULL);
    }
}

/* Out of reset, rings and position buffer in place. */
static void begin(Hda *g)
{
    q35_set(g->tm, FN_HDA, 0x10, BAR, 4);
    q35_set(g->tm, FN_HDA, 4, 6, 2);
    wr(g, GCTL, 0, 4);
    wr(g, GCTL, 1, 4);
    g->corbwp = g->rirbrp = 0;
    wr(g, 0x40, CORB, 4);
    wr(g, 0x50, RIRB, 4);
    wr(g, 0x5a, 1, 2);
    wr(g, 0x4c, 2, 1);
    wr(g, 0x5c, 2, 1);
    wr(g, 0x70, POSITIONS | 1, 4);
    wr(g, INTCTL, 0xc00000ff, 4);
}

static Hda *hda_new(void)
{
    Hda *g = current = g_new0(Hda, 1);
    g->tm = q35_new_with(RAM, NULL, plug);
    begin(g);
    return g;
}

static void hda_free(Hda *g)
{
    soundhost_close(&g->host, g->tm->m);
    tm_free(g->tm);
    g_free(g);
}

static void post(Hda *g, uint32_t cmd)
{
    tm_write(g->tm, CORB + 4u * ++g->corbwp, 4, cmd);
}

/* The answer of a command through the rings. */
static uint32_t ask(Hda *g, unsigned cad, unsigned nid, uint32_t verb)
{
    post(g, cad << 28 | nid << 20 | verb);
    wr(g, 0x48, g->corbwp, 2);
    g_assert_cmpuint(rd(g, 0x58, 2), ==, ++g->rirbrp);
    g_assert_cmphex(tm_read(g->tm, RIRB + 8u * g->rirbrp + 4, 4), ==, cad);
    return (uint32_t)tm_read(g->tm, RIRB + 8u * g->rirbrp, 4);
}

static uint32_t param(Hda *g, unsigned nid, unsigned which)
{
    return ask(g, 0, nid, 0xf0000 | which);
}

static void entry(Hda *g, unsigned i, uint64_t at, uint32_t len, bool ioc)
{
    tm_write(g->tm, BDL + 16 * i, 8, at);
    tm_write(g->tm, BDL + 16 * i + 8, 4, len);
    tm_write(g->tm, BDL + 16 * i + 12, 4, ioc);
}

/* n frames at SOUND: those of SoundHost's ramp. */
static void ramp(Hda *g, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        tm_write(g->tm, SOUND + 4 * i, 4, (i + 1) | ~(i + 1) << 16);
    }
}

/* Stream and converter have tag 3; bytes: of the cyclic buffer. */
static void start(Hda *g, unsigned stream, unsigned nid, unsigned last, uint32_t bytes)
{
    wr(g, stream, 1, 1);
    wr(g, stream, 0, 1);
    wr(g, stream + 0x18, BDL, 4);
    wr(g, stream + 0x0c, last, 2);
    wr(g, stream + 0x08, bytes, 4);
    wr(g, stream + 0x12, FORMAT_48K, 2);
    ask(g, 0, nid, 0x20000 | FORMAT_48K);
    ask(g, 0, nid, 0x70600 | 3 << 4);
    wr(g, stream, 3 << TAG | IOCE | RUN, 4);
}

/* Frames from the from-th on, and nothing between. */
static void expect_ramp(GArray *heard, unsigned from, unsigned frames)
{
    const int16_t *p = (const int16_t *)heard->data;
    g_assert_cmpuint(heard->len, >=, 2 * frames);
    for (unsigned i = 0; i < frames; i++) {
        g_assert_cmpint(p[2 * i], ==, (int16_t)(from + i + 1));
        g_assert_cmpint(p[2 * i + 1], ==, (int16_t)~(from + i + 1));
    }
}

/* ---- 3.3, 4.3: registers and reset ---- */

static void test_registers(void)
{
    second_codec = "hda-output";
    Hda *g = hda_new();
    g_assert_cmphex(q35_get(g->tm, FN_HDA, 0, 4), ==, 0x293e8086);
    g_assert_cmphex(q35_get(g->tm, FN_HDA, 8, 4), ==, 0x04030003);
    g_assert_cmphex(rd(g, 0, 4), ==, 0x01004401);
    g_assert_cmphex(rd(g, STATESTS, 2), ==, 1 | 1 << 7);
    wr(g, STATESTS, 1, 2);
    g_assert_cmphex(rd(g, STATESTS, 2), ==, 1 << 7);
    g_assert_cmphex(rd(g, 0x4e, 1), ==, 0x42);

    /* The wall clock has 24 MHz, and is seen twice. */
    uint32_t wall = rd(g, 0x30, 4);
    tm_step(g->tm, MS);
    g_assert_cmpuint(rd(g, 0x30, 4) - wall, ==, 24000);
    g_assert_cmpuint(rd(g, 0x2030, 4), ==, rd(g, 0x30, 4));
    g_assert_cmpuint(rd(g, 0x2000, 4), ==, 0);

    /* Bytes of a register are written by themselves; low bits of addresses are none. */
    wr(g, 0x118, 0x12345678, 4);
    wr(g, 0x119, 0xab, 1);
    g_assert_cmphex(rd(g, 0x118, 4), ==, 0x1234ab00);
    g_assert_cmphex(rd(g, 0x11a, 2), ==, 0x1234);
    wr(g, SSYNC, 0xffffffff, 4);
    g_assert_cmphex(rd(g, 0x34, 4), ==, 0xff);
    wr(g, GCTL, 1 | 2 | 1 << 8, 4);
    g_assert_cmphex(rd(g, GCTL, 4), ==, 1 | 1 << 8);
    g_assert_cmphex(rd(g, 0x10, 2), ==, 2);

    /* In reset nothing but what wakes up can be written. */
    wr(g, 0x0c, 0x7fff, 2);
    wr(g, GCTL, 0, 4);
    wr(g, 0x118, 0x1000, 4);
    g_assert_cmphex(rd(g, 0x118, 4), ==, 0);
    g_assert_cmphex(rd(g, SSYNC, 4), ==, 0);
    g_assert_cmphex(rd(g, 0x30, 4), ==, 0);
    g_assert_cmphex(rd(g, 0x0c, 4), ==, 0x00807fff);
    wr(g, GCTL, 1, 4);
    wr(g, INTCTL, 0xc0000000, 4);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0xc0000000); /* codecs are there, and WAKEEN wants to know */
    wr(g, STATESTS, 0x7fff, 2);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0);
    hda_free(g);
    second_codec = NULL;
}

/* ---- 4.4, 7.3: commands ---- */

static void test_commands(void)
{
    Hda *g = hda_new();
    g_assert_cmphex(param(g, 0, 0), ==, 0x1af40022);
    g_assert_cmphex(param(g, 0, 4), ==, 0x10001);
    g_assert_cmphex(param(g, 1, 4), ==, 0x20004);
    g_assert_cmphex(param(g, 1, 5), ==, 1);
    g_assert_cmphex(param(g, DAC, 9), ==, 0x1d);
    g_assert_cmphex(param(g, DAC, 0x0a), ==, 0x201fc);
    g_assert_cmphex(param(g, DAC, 0x12), ==, 0x80034a4a);
    g_assert_cmphex(param(g, ADC, 9), ==, 0x10011b);
    g_assert_cmphex(param(g, PIN_OUT, 9), ==, 0x400101);
    g_assert_cmphex(ask(g, 0, PIN_OUT, 0xf0200), ==, DAC);
    g_assert_cmphex(ask(g, 0, ADC, 0xf0200), ==, PIN_IN);
    g_assert_cmphex(param(g, 6, 9), ==, 0);

    /* What is set is read, until the function's reset; pin configurations stay. */
    g_assert_cmphex(ask(g, 0, PIN_IN, 0xf1c00), ==, 0x00805020);
    ask(g, 0, PIN_IN, 0x71f12);
    ask(g, 0, 1, 0x72155);
    ask(g, 0, DAC, 0x70631);
    ask(g, 0, DAC, 0x24011);
    ask(g, 0, DAC, 0x3a085); /* left: mute */
    ask(g, 0, DAC, 0x3907f); /* right: more than there is */
    ask(g, 0, PIN_OUT, 0x70700);
    ask(g, 0, 1, 0x70503);
    g_assert_cmphex(ask(g, 0, DAC, 0xf0600), ==, 0x31);
    g_assert_cmphex(ask(g, 0, DAC, 0xa0000), ==, 0x4011);
    g_assert_cmphex(ask(g, 0, DAC, 0xba000), ==, 0x85);
    g_assert_cmphex(ask(g, 0, DAC, 0xb8000), ==, 0x4a);
    g_assert_cmphex(ask(g, 0, 1, 0xf0500), ==, 0x33);
    ask(g, 0, 1, 0x7ff00);
    g_assert_cmphex(ask(g, 0, DAC, 0xf0600), ==, 0);
    g_assert_cmphex(ask(g, 0, DAC, 0xba000), ==, 0x4a);
    g_assert_cmphex(ask(g, 0, PIN_OUT, 0xf0700), ==, 0x40);
    g_assert_cmphex(ask(g, 0, 1, 0xf0500), ==, 0);
    g_assert_cmphex(ask(g, 0, PIN_IN, 0xf1c00), ==, 0x12805020);
    g_assert_cmphex(ask(g, 0, 1, 0xf2000), ==, 0x1af45522);

    /* Several at once: an interrupt for every fourth answer, and one when there is no more. */
    wr(g, 0x5d, 5, 1);
    wr(g, 0x5a, 4, 2);
    wr(g, 0x5c, 3, 1);
    for (unsigned i = 0; i < 6; i++) {
        post(g, 0xf0000);
    }
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0);
    wr(g, 0x48, g->corbwp, 2);
    g->rirbrp += 6;
    g_assert_cmpuint(rd(g, 0x58, 2), ==, g->rirbrp);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0xc0000000);
    wr(g, 0x5d, 1, 1);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0);

    /* The rings wrap, are stopped and begin again. */
    for (unsigned i = 0; i < 600; i++) {
        g_assert_cmphex(param(g, 0, 2), ==, 0x100101);
    }
    wr(g, 0x4c, 0, 1);
    wr(g, 0x4a, 0x8000, 2);
    g_assert_cmphex(rd(g, 0x4a, 2), ==, 0x8000);
    wr(g, 0x4a, 0, 2);
    g_assert_cmphex(rd(g, 0x4a, 2), ==, 0);
    wr(g, 0x58, 0x8000, 2);
    wr(g, 0x48, 0, 2);
    g->corbwp = g->rirbrp = 0;
    wr(g, 0x4c, 2, 1);
    g_assert_cmphex(param(g, 0, 0), ==, 0x1af40022);

    /* Nobody is at address 3: no answer. Without a ring for it the answer is lost. */
    post(g, 3u << 28 | 0xf0000);
    wr(g, 0x48, g->corbwp, 2);
    g_assert_cmpuint(rd(g, 0x58, 2), ==, g->rirbrp);
    wr(g, 0x5c, 0, 1);
    post(g, 0xf0000);
    wr(g, 0x48, g->corbwp, 2);
    g_assert_cmphex(rd(g, 0x5d, 1) & 4, ==, 4);

    /* A ring where no memory is. */
    wr(g, 0x44, 0xffff, 4);
    wr(g, 0x48, ++g->corbwp, 2);
    g_assert_cmphex(rd(g, 0x4c, 2), ==, 1 << 8);

    /* 3.4.3: immediate commands. */
    wr(g, 0x60, 0xf0000, 4);
    wr(g, 0x68, 1, 2);
    g_assert_cmphex(rd(g, 0x68, 2), ==, 2);
    g_assert_cmphex(rd(g, 0x64, 4), ==, 0x1af40022);
    wr(g, 0x68, 2, 2);
    wr(g, 0x60, 0x300f0000, 4);
    wr(g, 0x68, 1, 2);
    g_assert_cmphex(rd(g, 0x68, 2), ==, 0);
    hda_free(g);
}

/* ---- 3.6: streams ---- */

/* Buffers of odd sizes, of which two interrupt; the list wraps. */
static void test_play(void)
{
    enum { FRAMES = 1200 };
    Hda *g = hda_new();
    ramp(g, FRAMES);
    entry(g, 0, SOUND, 4 * 100, false);
    entry(g, 1, SOUND + 400, 4 * 700 + 2, true); /* ends within a frame */
    entry(g, 2, SOUND + 3202, 4 * 400 - 2, true);
    start(g, OUT_STREAM, DAC, 2, 4 * FRAMES);
    g_assert_cmphex(rd(g, OUT_STREAM + 3, 1), ==, 0x20);
    tm_step(g->tm, 10 * MS); /* 480 frames */
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 4 * 480);
    g_assert_cmpuint(rd(g, 0x2104, 4), ==, 4 * 480);
    g_assert_cmpuint(tm_read(g->tm, POSITIONS + 8 * 4, 4), ==, 4 * 480);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0);
    tm_step(g->tm, 10 * MS);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0x80000010);
    g_assert_cmphex(rd(g, OUT_STREAM + 3, 1), ==, 0x24);
    wr(g, OUT_STREAM + 3, 4, 1);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0);
    tm_step(g->tm, 10 * MS);
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 4 * 240); /* wrapped */
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0x80000010);

    /* It stands while it does not run, or is kept; and goes on where it was. */
    wr(g, OUT_STREAM, 3 << TAG | IOCE, 3);
    tm_step(g->tm, 50 * MS);
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 4 * 240);
    wr(g, SSYNC, 0x10, 4);
    wr(g, OUT_STREAM, 3 << TAG | IOCE | RUN, 3);
    tm_step(g->tm, 50 * MS);
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 4 * 240);
    g_autoptr(GArray) first = soundhost_take(&g->host);
    wr(g, SSYNC, 0, 4);
    tm_step(g->tm, 10 * MS);
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 4 * 720);
    g_autoptr(GArray) second = soundhost_take(&g->host);
    expect_ramp(first, 0, FRAMES);
    expect_ramp(second, 240, 480);

    /* 3.3.35: the stream's reset. */
    wr(g, OUT_STREAM, 1, 1);
    g_assert_cmphex(rd(g, OUT_STREAM, 4), ==, 1);
    g_assert_cmphex(rd(g, OUT_STREAM + 4, 4), ==, 0);
    g_assert_cmphex(rd(g, OUT_STREAM + 0x18, 4), ==, 0);
    hda_free(g);
}

static int16_t last_heard(Hda *g, unsigned side)
{
    const int16_t *p = (const int16_t *)g->host.heard->data;
    return p[g->host.heard->len - 2 + side];
}

/* Amplifiers and pins; of a stream's four channels a converter has two. */
static void test_channels(void)
{
    enum { FRAMES = 480 };
    Hda *g = hda_new();
    for (unsigned i = 0; i < FRAMES; i++) {
        tm_write(g->tm, SOUND + 8 * i, 8, UINT64_C(0x4000300020001000));
    }
    entry(g, 0, SOUND, 8 * FRAMES, false);
    entry(g, 1, SOUND, 8 * FRAMES, false);
    start(g, OUT_STREAM, DAC, 1, 16 * FRAMES);
    ask(g, 0, DAC, 0x20000 | FORMAT_48K | 3);
    static const struct {
        uint32_t verb, nid;
        int left, right;
    } rows[] = {
        { 0x70630, DAC, 0x1000, 0x2000 },      { 0x70632, DAC, 0x3000, 0x4000 },
        { 0x70633, DAC, 0x4000, 0 },           { 0x70639, DAC, 0, 0 },
        { 0x70632, DAC, 0x3000, 0x4000 },      { 0x3a044, DAC, 0x3000 / 2, 0x4000 }, /* -6 dB */
        { 0x390ca, DAC, 0x3000 / 2, 0 },       { 0x3b04a, DAC, 0x3000, 0x4000 },
        { 0x36080, DAC, 0x3000, 0x4000 },      { 0x70700, PIN_OUT, 0, 0 },
        { 0x70740, PIN_OUT, 0x3000, 0x4000 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        ask(g, 0, rows[i].nid, rows[i].verb);
        uint32_t at = rd(g, OUT_STREAM + 4, 4);
        tm_step(g->tm, 30 * MS);
        g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, (at + 3 * 480 * 8) % (16 * FRAMES));
        g_assert_cmpint(ABS(last_heard(g, 0) - rows[i].left), <, 40);
        g_assert_cmpint(ABS(last_heard(g, 1) - rows[i].right), <, 40);
    }
    /* Asleep, or without a stream, it takes nothing. */
    static const struct {
        uint32_t verb, nid;
    } stops[] = { { 0x70503, 1 }, { 0x70602, DAC }, { 0x70642, DAC }, { 0x28011, DAC } };
    for (unsigned i = 0; i < G_N_ELEMENTS(stops); i++) {
        ask(g, 0, stops[i].nid, stops[i].verb);
        uint32_t at = rd(g, OUT_STREAM + 4, 4);
        tm_step(g->tm, 30 * MS);
        g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, at);
        ask(g, 0, 1, 0x70500);
        ask(g, 0, DAC, 0x70632);
        ask(g, 0, DAC, 0x20000 | FORMAT_48K | 3);
        tm_step(g->tm, 30 * MS);
        g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), !=, at);
    }
    hda_free(g);
}

static void expect_recorded(Hda *g, unsigned frames)
{
    for (unsigned i = 0; i < frames; i++) {
        uint32_t n = (uint32_t)tm_read(g->tm, SOUND + 4 * i, 4);
        g_assert_cmphex(n & 0xffff, ==, (tm_read(g->tm, SOUND, 2) + i) & 0xffff);
        g_assert_cmphex(n >> 16, ==, ~n & 0xffff);
    }
}

/* Two engines with the same tag: the direction says which one a converter has. */
static void test_record(void)
{
    enum { FRAMES = 960 };
    Hda *g = hda_new();
    entry(g, 0, SOUND, 4 * FRAMES / 2, false);
    entry(g, 1, SOUND + 4 * FRAMES / 2, 4 * FRAMES / 2, true);
    start(g, IN_STREAM + 0x20, ADC, 1, 4 * FRAMES);
    tm_step(g->tm, 10 * MS);
    g_assert_cmpuint(rd(g, IN_STREAM + 0x24, 4), ==, 4 * 480);
    g_assert_cmpuint(tm_read(g->tm, POSITIONS + 8, 4), ==, 4 * 480);
    tm_step(g->tm, 10 * MS);
    g_assert_cmpuint(rd(g, IN_STREAM + 0x24, 4), ==, 0);
    g_assert_cmphex(rd(g, INTSTS, 4), ==, 0x80000002);
    expect_recorded(g, FRAMES);
    ask(g, 0, ADC, 0x370ca); /* mute */
    tm_step(g->tm, 40 * MS);
    g_assert_cmphex(tm_read(g->tm, SOUND, 4), ==, 0);
    hda_free(g);
}

/* A message for each cause that comes new, none on the pin. */
static void test_messages(void)
{
    enum { MESSAGE = 0x104000 };
    msi = "auto";
    Hda *g = hda_new();
    unsigned cap = 0x60;
    g_assert_cmphex(q35_get(g->tm, FN_HDA, 0x34, 1), ==, cap);
    q35_set(g->tm, FN_HDA, cap + 4, MESSAGE, 4);
    q35_set(g->tm, FN_HDA, cap + 12, 0x5a, 2);
    q35_set(g->tm, FN_HDA, cap + 2, 1, 2);
    wr(g, 0x5d, 5, 1);
    wr(g, 0x5c, 3, 1);
    param(g, 0, 0);
    g_assert_cmphex(tm_read(g->tm, MESSAGE, 4), ==, 0x5a);
    g_assert_cmphex(q35_get(g->tm, FN_HDA, 6, 2) & 8, ==, 0);
    tm_write(g->tm, MESSAGE, 4, 0);
    param(g, 0, 0); /* the first was not dealt with */
    g_assert_cmphex(tm_read(g->tm, MESSAGE, 4), ==, 0);
    entry(g, 0, SOUND, 400, true);
    entry(g, 1, SOUND, 400, true);
    start(g, OUT_STREAM, DAC, 1, 800);
    tm_step(g->tm, 10 * MS);
    g_assert_cmphex(tm_read(g->tm, MESSAGE, 4), ==, 0x5a);
    hda_free(g);
    msi = NULL;
}

/* A machine that is saved while it plays, and one that goes on; nothing is lost between. */
static void test_state(void)
{
    enum { FRAMES = 4800 };
    Hda *g = hda_new();
    ramp(g, FRAMES);
    entry(g, 0, SOUND, 4 * 3000, true);
    entry(g, 1, SOUND + 12000, 4 * (FRAMES - 3000), true);
    start(g, OUT_STREAM, DAC, 1, 4 * FRAMES);
    tm_step(g->tm, 20 * MS);
    uint32_t wall = rd(g, 0x30, 4);
    g_autoptr(GByteArray) state = tm_save(g->tm);
    tm_step(g->tm, 30 * MS);
    wr(g, GCTL, 0, 4);
    g_array_unref(soundhost_take(&g->host));
    g_assert_true(tm_load(g->tm, state, &error_abort_slot));
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 4 * 960);
    g_assert_cmpuint(rd(g, 0x30, 4), >=, wall);
    tm_step(g->tm, 20 * MS);
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 4 * 1920);
    g_autoptr(GArray) heard = soundhost_take(&g->host);
    expect_ramp(heard, 960, 900);
    tm_reset(g->tm);
    begin(g);
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 0);
    hda_free(g);
}

/* The controller goes, and its codecs with it, in the middle of a sound. */
static void test_unplug(void)
{
    Hda *g = hda_new();
    entry(g, 0, SOUND, 4096, true);
    start(g, OUT_STREAM, DAC, 0, 4096);
    start(g, IN_STREAM, ADC, 0, 4096);
    tm_step(g->tm, 10 * MS);
    g_assert_cmpuint(rd(g, IN_STREAM + 4, 4), ==, 4 * 480);
    pci_unplugged(g->dev);
    tm_step(g->tm, 50 * MS);
    g_assert_cmphex(q35_get(g->tm, FN_HDA, 0, 4), ==, 0xffffffff);
    g_assert_cmphex(rd(g, GCTL, 4), ==, 0xffffffff);
    hda_free(g);
}

/* ---- hostile drivers ---- */

static void test_useless_lists(void)
{
    Hda *g = hda_new();
    /* Empty buffers only: the FIFO runs empty, again and again. */
    for (unsigned i = 0; i < 256; i++) {
        entry(g, i, SOUND, 0, i == 9);
    }
    start(g, OUT_STREAM, DAC, 255, 0);
    tm_step(g->tm, 100 * MS);
    g_assert_cmphex(rd(g, OUT_STREAM + 3, 1), ==, 0x2c);
    g_assert_cmpuint(rd(g, OUT_STREAM + 4, 4), ==, 0);
    /* Single bytes. */
    for (unsigned i = 0; i < 256; i++) {
        entry(g, i, SOUND, 1, false);
    }
    start(g, OUT_STREAM, DAC, 255, 3);
    tm_step(g->tm, 100 * MS);
    g_assert_cmphex(rd(g, OUT_STREAM + 3, 1), ==, 0x28);
    /* A list, and a buffer, where nothing is: the stream ends (3.3.36). */
    for (unsigned i = 0; i < 2; i++) {
        start(g, OUT_STREAM, DAC, 1, 4096);
        if (i) {
            entry(g, 0, UINT64_C(0xff00000000000000), 4096, true);
        } else {
            wr(g, OUT_STREAM + 0x1c, 0xff000000, 4);
        }
        tm_step(g->tm, 20 * MS);
        g_assert_cmphex(rd(g, OUT_STREAM + 3, 1), ==, 0x10);
        g_assert_cmphex(rd(g, OUT_STREAM, 1), ==, IOCE);
    }
    /* The buffer is the controller's own registers. */
    entry(g, 0, BAR, 4096, true);
    start(g, IN_STREAM, ADC, 0, 4096);
    tm_step(g->tm, 20 * MS);
    hda_free(g);
}

static uint32_t pick(const uint32_t *from, unsigned n)
{
    return from[(uint32_t)g_test_rand_int() % n];
}

static void storm_step(Hda *g)
{
    static const uint32_t places[] = { SOUND, BDL, CORB, RIRB, BAR, RAM - 100, 0, POSITIONS },
                          lengths[] = { 0, 1, 2, 128, 4096, 1920, 0xffffffff, 64 },
                          nodes[] = { 0, 1, DAC, PIN_OUT, ADC, PIN_IN, 6, 0xff },
                          verbs[] = { 0x706, 0x707, 0x200, 0x240, 0x3b0, 0x370, 0x705, 0x7ff, 0x71c, 0xf00 },
                          regs[] = { 0x08, 0x20, 0x34, 0x40, 0x48, 0x4c, 0x50, 0x58, 0x5c, 0x60, 0x68, 0x70 };
    uint32_t r = (uint32_t)g_test_rand_int(), v = (uint32_t)g_test_rand_int();
    uint32_t stream = 0x80 + (r >> 8 & 7) * 0x20;
    switch (r & 15) {
    case 0: wr(g, r >> 4 & 0x7fff & ~(r >> 30), v, 1u << (r >> 28 & 3)); break;
    case 1: wr(g, pick(regs, G_N_ELEMENTS(regs)), v, 4); break;
    case 2:
    case 3: entry(g, r >> 8 & 7, pick(places, 8), pick(lengths, 8), v & 1); break;
    case 4: wr(g, stream + (r >> 4 & 0x1c), v, 4); break;
    case 5:
    case 6:
        wr(g, stream + 0x18, BDL, 4);
        wr(g, stream + 0x0c, v & 7, 2);
        wr(g, stream, (v >> 8 & 3) << TAG | IOCE | RUN, 4);
        break;
    case 7: begin(g); break;
    case 8: rd(g, r >> 4 & 0x3fff & ~3u, 4); break;
    default:
        post(g, (r >> 30 ? 0 : v & 0xf0000000) | pick(nodes, 8) << 20 |
                    pick(verbs, G_N_ELEMENTS(verbs)) << 8 | (v >> 4 & 0x3f));
        wr(g, 0x48, g->corbwp, 2);
        break;
    }
    tm_step(g->tm, (r >> 16 & 7) * MS);
}

static void test_storm(void)
{
    unsigned cases = soundhost_cases(3000);
    second_codec = "hda-micro";
    Hda *g = hda_new();
    for (unsigned c = 0; c < cases; c++) {
        storm_step(g);
        if (c % 500 == 499) {
            g_autoptr(GByteArray) state = tm_save(g->tm);
            g_assert_true(tm_load(g->tm, state, &error_abort_slot));
        }
    }
    /* A driver that keeps the rules works then. */
    tm_reset(g->tm);
    begin(g);
    g_array_set_size(g->host.heard, 0);
    ramp(g, 480);
    entry(g, 0, SOUND, 4 * 480, true);
    start(g, OUT_STREAM, DAC, 0, 4 * 480);
    tm_step(g->tm, 20 * MS);
    g_autoptr(GArray) heard = soundhost_take(&g->host);
    expect_ramp(heard, 0, 480);
    hda_free(g);
    second_codec = NULL;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hda/registers", test_registers);
    g_test_add_func("/hda/commands", test_commands);
    g_test_add_func("/hda/play", test_play);
    g_test_add_func("/hda/channels", test_channels);
    g_test_add_func("/hda/record", test_record);
    g_test_add_func("/hda/messages", test_messages);
    g_test_add_func("/hda/state", test_state);
    g_test_add_func("/hda/unplug", test_unplug);
    g_test_add_func("/hda/useless-lists", test_useless_lists);
    g_test_add_func("/hda/storm", test_storm);
    return g_test_run();
}

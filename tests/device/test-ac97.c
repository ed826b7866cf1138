/* SPDX-License-Identifier: MIT
 * tests/device/test-ac97.c - hw/audio/ac97.c and hw/audio/ac97-codec.c: the test is the driver: the codec's
 * registers, lists of buffers that are played and recorded, their interrupts, rates, volumes, saved state,
 * and hostile lists. RHEA_SOUND_CASES: rounds of these. Threads: main.
 */
#include "q35test.h"
#include "soundhost.h"

#include <string.h>

enum {
    AC97 = PCI_DEVFN(4, 0),
    NAM = 0xc000,
    NABM = 0xc400,
    RAM = 16 << 20,
    LIST = 0x100000,
    DATA = 0x200000,
    MS = 1000000
};
enum { PI = NABM, PO = NABM + 0x10, MC = NABM + 0x20, CIV = 4, LVI = 5, SR = 6, PICB = 8, PIV = 10, CR = 11 };
enum { GLOB_CNT = NABM + 0x2c, GLOB_STA = NABM + 0x30, ACC_SEMA = NABM + 0x34 };
enum { DCH = 1, CELV = 2, LVBCI = 4, BCIS = 8, RUN = 1, RESET = 2, LVBIE = 4, IOCE = 16 };

static SoundHost host;

static void plug(TestMachine *tm)
{
    soundhost_open(&host, tm->m, 48000);
    tm_device(tm, "AC97", tm->m->board->default_bus(tm->m, &pci_bus_type), "addr", "4.0", "audiodev", "host",
              NULL);
}

static TestMachine *open_guest(void)
{
    TestMachine *tm = q35_new_with(RAM, NULL, plug);
    q35_set(tm, AC97, 0x10, NAM, 4);
    q35_set(tm, AC97, 0x14, NABM, 4);
    q35_set(tm, AC97, 4, 5, 2);
    q35_out(tm, GLOB_CNT, 2, 4);
    q35_out(tm, NAM + 2, 0, 2);
    q35_out(tm, NAM + 0x18, 0x0808, 2);
    q35_out(tm, NAM + 0x1c, 0, 2);
    q35_out(tm, NAM + 0x1e, 0, 2);
    return tm;
}

static void close_guest(TestMachine *tm)
{
    Machine *m = tm->m;
    machine_stop(m, RUN_FINISHED);
    soundhost_close(&host, m);
    tm_free(tm);
}

static bool pin(TestMachine *tm)
{
    Device *dev = q35_find(tm, device_type_find("AC97"));
    return device_irq(dev, 0)->level;
}

/* Entry i: samples of a ramp that goes on from entry to entry. */
static void entry(TestMachine *tm, unsigned i, unsigned samples, uint16_t flags)
{
    tm_write(tm, LIST + 8 * i, 4, DATA + 0x10000 * i);
    tm_write(tm, LIST + 8 * i + 4, 4, samples | (uint32_t)flags << 16);
}

static void ramp(TestMachine *tm, unsigned i, unsigned samples, unsigned first)
{
    for (unsigned k = 0; k < samples; k++) {
        tm_write(tm, DATA + 0x10000 * i + 2 * k, 2, (uint16_t)(first + k / 2));
    }
}

/* All of it; silence may be between, but nothing is lost and nothing comes twice. */
static void heard_ramp(unsigned frames)
{
    const int16_t *f = (int16_t *)host.heard->data;
    unsigned next = 1;
    for (unsigned i = 0; i < host.heard->len / 2; i++) {
        g_assert_cmpint(f[2 * i], ==, f[2 * i + 1]);
        g_assert_true(f[2 * i] == (int)next || f[2 * i] == 0);
        next += f[2 * i] != 0;
    }
    g_assert_cmpuint(next, ==, frames + 1);
}

static void test_codec(void)
{
    TestMachine *tm = open_guest();
    g_assert_cmphex(q35_get(tm, AC97, 0, 4), ==, 0x24158086);
    g_assert_cmphex(q35_get(tm, AC97, 8, 4), ==, 0x04010001);
    g_assert_cmphex(q35_in(tm, GLOB_STA, 4), ==, 0x100);
    q35_out(tm, NAM, 0, 2);
    g_assert_cmphex(q35_in(tm, NAM + 2, 2), ==, 0x8000);
    g_assert_cmphex(q35_in(tm, NAM + 0x18, 2), ==, 0x8808);
    g_assert_cmphex(q35_in(tm, NAM + 0x26, 2), ==, 0x0f);
    g_assert_cmphex(q35_in(tm, NAM + 0x28, 2) & 9, ==, 9);
    g_assert_cmphex(q35_in(tm, NAM + 0x7c, 4), ==, 0x76008384);
    q35_out(tm, NAM + 2, 0x3f3f, 2); /* five bits: the sixth is the end */
    g_assert_cmphex(q35_in(tm, NAM + 2, 2), ==, 0x1f1f);
    q35_out(tm, NAM + 0x2c, 22050, 2); /* fixed */
    g_assert_cmpuint(q35_in(tm, NAM + 0x2c, 2), ==, 48000);
    q35_out(tm, NAM + 0x2a, 0xffff, 2);
    g_assert_cmphex(q35_in(tm, NAM + 0x2a, 2), ==, 9);
    static const unsigned rates[][2] = {
        { 22050, 22050 }, { 100, 8000 }, { 60000, 48000 }, { 44100, 44100 }
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
        for (unsigned r = 0x2c; r <= 0x34; r += r == 0x2c ? 6 : 2) {
            q35_out(tm, NAM + r, rates[i][0], 2);
            g_assert_cmpuint(q35_in(tm, NAM + r, 2), ==, rates[i][1]);
        }
    }
    q35_out(tm, NAM + 0x2a, 0, 2);
    g_assert_cmpuint(q35_in(tm, NAM + 0x2c, 2), ==, 48000);
    q35_out(tm, NAM + 0x26, 0x0300, 2); /* converters off */
    g_assert_cmphex(q35_in(tm, NAM + 0x26, 2), ==, 0x030c);
    q35_out(tm, NAM + 0x7c, 0, 2);
    q35_out(tm, NAM + 0x5a, 0xffff, 2);
    g_assert_cmphex(q35_in(tm, NAM + 0x7c, 2), ==, 0x8384);
    g_assert_cmphex(q35_in(tm, NAM + 0x5a, 2), ==, 0);
    /* The semaphore is taken by reading, given back by the codec's access. */
    g_assert_cmphex(q35_in(tm, ACC_SEMA, 1), ==, 0);
    g_assert_cmphex(q35_in(tm, ACC_SEMA, 1), ==, 1);
    q35_in(tm, NAM, 2);
    g_assert_cmphex(q35_in(tm, ACC_SEMA, 1), ==, 0);
    q35_out(tm, GLOB_CNT, 0, 4); /* the link is down */
    g_assert_cmphex(q35_in(tm, GLOB_STA, 4), ==, 0);
    close_guest(tm);
}

/* Three buffers of 10 ms each; the second one has an interrupt. */
static void test_play(void)
{
    TestMachine *tm = open_guest();
    for (unsigned i = 0; i < 3; i++) {
        entry(tm, i, 960, i == 1 ? 0x8000 : 0);
        ramp(tm, i, 960, 1 + 480 * i);
    }
    q35_out(tm, PO, LIST | 7, 4);
    g_assert_cmphex(q35_in(tm, PO, 4), ==, LIST);
    q35_out(tm, PO + LVI, 2, 1);
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, DCH);
    q35_out(tm, PO + CR, RUN | IOCE | LVBIE, 1);
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, 0);
    g_assert_cmpuint(q35_in(tm, PO + PICB, 2), ==, 960);
    g_assert_cmphex(q35_in(tm, PO + PIV, 1), ==, 1);
    tm_step(tm, 10 * MS + 1);
    g_assert_cmphex(q35_in(tm, PO + CIV, 1), ==, 1);
    g_assert_false(pin(tm));
    tm_step(tm, 10 * MS);
    g_assert_cmphex(q35_in(tm, PO + CIV, 4), ==, 0x00080202); /* CIV, LVI, SR: all in one */
    g_assert_true(pin(tm));
    g_assert_cmphex(q35_in(tm, GLOB_STA, 4), ==, 0x140);
    q35_out(tm, PO + SR, BCIS, 2);
    g_assert_false(pin(tm));
    tm_step(tm, 10 * MS);
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, DCH | CELV | LVBCI);
    g_assert_cmpuint(q35_in(tm, PO + PICB, 2), ==, 0);
    g_assert_true(pin(tm));
    q35_out(tm, PO + SR, LVBCI, 2);
    /* One more buffer: it goes on when LVI says so. */
    entry(tm, 3, 960, 0);
    ramp(tm, 3, 960, 1 + 480 * 3);
    q35_out(tm, PO + LVI, 3, 1);
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, 0);
    tm_step(tm, 30 * MS);
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, DCH | CELV | LVBCI);
    g_assert_cmphex(q35_in(tm, PO + CIV, 1), ==, 3);
    heard_ramp(480 * 4);
    /* Reset: all but the interrupt enables. */
    q35_out(tm, PO + CR, RESET | IOCE, 1);
    g_assert_cmphex(q35_in(tm, PO, 4), ==, 0);
    g_assert_cmphex(q35_in(tm, PO + CIV, 4), ==, DCH << 16);
    g_assert_cmphex(q35_in(tm, PO + PICB, 4), ==, (uint32_t)IOCE << 24);
    close_guest(tm);
}

/* A pause, a save and a load in the middle of a buffer; then it goes on where it was. */
static void test_pause(void)
{
    TestMachine *tm = open_guest();
    entry(tm, 0, 9600, 0);
    ramp(tm, 0, 9600, 1);
    q35_out(tm, PO, LIST, 4);
    q35_out(tm, PO + LVI, 0, 1);
    q35_out(tm, PO + CR, RUN, 1);
    tm_step(tm, 30 * MS);
    unsigned left = q35_in(tm, PO + PICB, 2);
    g_assert_cmpuint(left, ==, 9600 - 2880);
    q35_out(tm, PO + CR, 0, 1);
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, DCH);
    tm_step(tm, 100 * MS);
    g_assert_cmpuint(q35_in(tm, PO + PICB, 2), ==, left);
    q35_out(tm, PO + CR, RUN, 1);
    tm_step(tm, 20 * MS);
    g_assert_cmpuint(q35_in(tm, PO + PICB, 2), ==, left - 1920);
    GByteArray *state = tm_save(tm);
    q35_out(tm, PO + CR, 0, 1);
    q35_out(tm, PO + CR, RESET, 1);
    g_assert_true(tm_load(tm, state, &error_abort_slot));
    g_byte_array_unref(state);
    g_assert_cmpuint(q35_in(tm, PO + PICB, 2), ==, left - 1920);
    tm_step(tm, 100 * MS);
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, DCH | CELV | LVBCI);
    heard_ramp(4800);
    close_guest(tm);
}

static void test_record(void)
{
    TestMachine *tm = open_guest();
    for (unsigned which = 0; which < 2; which++) {
        unsigned box = which ? MC : PI, first = which ? 8 : 0;
        entry(tm, first, 480, 0x8000);
        entry(tm, first + 1, 2001, 0); /* odd: half a frame */
        entry(tm, first + 2, 479, 0x8000);
        q35_out(tm, box, LIST + 8 * first, 4);
        q35_out(tm, box + LVI, 2, 1);
        uint16_t began = host.sent;
        q35_out(tm, box + CR, RUN | LVBIE, 1);
        tm_step(tm, 100 * MS);
        g_assert_cmphex(q35_in(tm, box + SR, 2), ==, DCH | CELV | LVBCI | BCIS);
        g_assert_true(pin(tm));
        g_assert_cmphex(q35_in(tm, GLOB_STA, 4), ==, which ? 0x180 : 0x120);
        q35_out(tm, box + SR, LVBCI | BCIS, 2);
        uint16_t start = tm_read(tm, DATA + 0x10000 * first, 2);
        g_assert_cmpuint(start, >, began);
        g_assert_cmpuint(start, <=, began + 481);
        for (unsigned i = 0; i < 2960; i++) {
            hwaddr at = i < 480    ? DATA + 0x10000 * first + 2 * i
                        : i < 2481 ? DATA + 0x10000 * (first + 1) + 2 * (i - 480)
                                   : DATA + 0x10000 * (first + 2) + 2 * (i - 2481);
            uint16_t v = start + i / 2;
            g_assert_cmphex(tm_read(tm, at, 2), ==, i & 1 ? (uint16_t)~v : v);
        }
        tm_step(tm, 20 * MS);
    }
    q35_out(tm, NAM + 0x1c, 0x8000, 2); /* muted: zeros */
    entry(tm, 0, 4800, 0);
    q35_out(tm, PI + CR, RESET, 1);
    q35_out(tm, PI, LIST, 4);
    q35_out(tm, PI + CR, RUN, 1);
    tm_step(tm, 100 * MS);
    g_assert_cmphex(tm_read(tm, DATA + 4000, 8), ==, 0);
    close_guest(tm);
}

/* A constant level through rates and volumes; the ring of all entries goes on as long as LVI runs ahead. */
static void test_volume(void)
{
    static const struct {
        uint16_t master, pcm, left, right;
    } all[] = {
        { 0, 0x0808, 10000, 10000 },    { 0x8000, 0x0808, 0, 0 },        { 0, 0x8808, 0, 0 },
        { 0x0404, 0x0808, 5012, 5012 }, { 0x0004, 0x0808, 10000, 5012 }, { 0x0800, 0x0000, 10000, 10000 },
        { 0x1f1f, 0x1f1f, 0, 0 },
    };
    TestMachine *tm = open_guest();
    for (unsigned i = 0; i < 32; i++) {
        entry(tm, i, 882, 0);
        for (unsigned k = 0; k < 882; k++) {
            tm_write(tm, DATA + 0x10000 * i + 2 * k, 2, 10000);
        }
    }
    q35_out(tm, NAM + 0x2a, 1, 2);
    q35_out(tm, NAM + 0x2c, 44100, 2);
    q35_out(tm, PO, LIST, 4);
    q35_out(tm, PO + LVI, 31, 1);
    q35_out(tm, PO + CR, RUN, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        q35_out(tm, NAM + 2, all[i].master, 2);
        q35_out(tm, NAM + 0x18, all[i].pcm, 2);
        for (unsigned k = 0; k < 20; k++) {
            tm_step(tm, 10 * MS);
            q35_out(tm, PO + LVI, (q35_in(tm, PO + CIV, 1) + 31) % 32, 1);
        }
        const int16_t *f = (int16_t *)host.heard->data + host.heard->len - 2;
        g_assert_cmpint(ABS(f[0] - all[i].left), <=, 30);
        g_assert_cmpint(ABS(f[1] - all[i].right), <=, 30);
    }
    g_assert_cmphex(q35_in(tm, PO + SR, 2), ==, 0);
    /* The rate changes while it plays. */
    q35_out(tm, NAM + 0x2c, 8000, 2);
    unsigned civ = q35_in(tm, PO + CIV, 1);
    tm_step(tm, 550 * MS); /* ten entries of 441 frames */
    g_assert_cmpuint((q35_in(tm, PO + CIV, 1) - civ) % 32, >=, 9);
    g_assert_cmpuint((q35_in(tm, PO + CIV, 1) - civ) % 32, <=, 11);
    close_guest(tm);
}

/* Lists that end at once, that nobody can read, and registers at random. */
static void test_storm(void)
{
    unsigned cases = soundhost_cases(1500);
    TestMachine *tm = open_guest();
    for (unsigned c = 0; c < cases; c++) {
        uint32_t r = (uint32_t)g_test_rand_int();
        for (unsigned i = 0; i < 8; i++) {
            uint32_t k = (uint32_t)g_test_rand_int();
            hwaddr at = LIST + 8 * (k & 31);
            tm_write(tm, at, 4, k >> 29 ? DATA + (k & 0xffff0) : (uint32_t)g_test_rand_int());
            tm_write(tm, at + 4, 4, k >> 28 & 1 ? k : k & 0xc00000ff);
        }
        for (unsigned i = 0; i < 6; i++, r = (uint32_t)g_test_rand_int()) {
            static const uint8_t often[] = { LVI, CR, SR, 0 };
            unsigned box = NABM + 16 * (r % 3), n = 1u << (r >> 4 & 1);
            if (r & 0x100) {
                q35_out(tm, NABM + (r >> 9 & 0x3c), (uint32_t)g_test_rand_int(), 4);
            } else if (r & 0x200) {
                q35_out(tm, NAM + (r >> 10 & 0x7e), (uint32_t)g_test_rand_int(), 2);
            } else if (r & 0x400) {
                q35_out(tm, box, LIST + (r >> 11 & 0xf8), 4);
                q35_out(tm, box + CR, RUN | (r >> 20 & 0x1c), 1);
            } else {
                q35_out(tm, box + often[r >> 11 & 3], r >> 16, n);
            }
            q35_in(tm, NABM + (r >> 24 & 0x3c), 4);
        }
        q35_out(tm, GLOB_CNT, 2, 4);
        tm_step(tm, (r & 15) * MS);
        g_array_set_size(host.heard, 0);
        if (c % 64 == 63) {
            GByteArray *state = tm_save(tm);
            g_assert_true(tm_load(tm, state, &error_abort_slot));
            g_byte_array_unref(state);
        }
    }
    close_guest(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ac97/codec", test_codec);
    g_test_add_func("/ac97/play", test_play);
    g_test_add_func("/ac97/pause", test_pause);
    g_test_add_func("/ac97/record", test_record);
    g_test_add_func("/ac97/volume", test_volume);
    g_test_add_func("/ac97/storm", test_storm);
    return g_test_run();
}

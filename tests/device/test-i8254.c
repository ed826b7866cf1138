/* SPDX-License-Identifier: MIT
 * tests/device/test-i8254.c - hw/timer/i8254.c (and hpet.c in its place) and hw/misc/pcspk.c: the interval
 * timer, port 61h and the speaker, by data sheet section. Threads: main.
 */
#include "rhea/hw/pcmisc.h"
#include "rhea/hw/timer.h"
#include "tests/device/isatest.h"
#include "tests/device/soundhost.h"

static IsaTest *setup(void)
{
    IsaTest *t = isatest_new();
    isatest_add(t, &i8254_type);
    isatest_add(t, &pcspk_type);
    return t;
}

/* To the time just after clock pulse n. */
static void to_pulse(IsaTest *t, uint64_t n)
{
    int64_t at = ((unsigned __int128)n * 1000000000 + PIT_HZ - 1) / PIT_HZ;
    g_assert_cmpint(at, >=, tm_now(t->tm));
    tm_step(t->tm, at - tm_now(t->tm));
}

static uint64_t pulse(IsaTest *t)
{
    return (unsigned __int128)tm_now(t->tm) * PIT_HZ / 1000000000;
}

static void program(IsaTest *t, unsigned counter, unsigned mode, uint16_t count, bool bcd)
{
    outb(t, 0x43, counter << 6 | 0x30 | mode << 1 | bcd);
    outb(t, 0x40 + counter, count & 0xff);
    outb(t, 0x40 + counter, count >> 8);
}

static uint16_t count(IsaTest *t, unsigned counter)
{
    outb(t, 0x43, counter << 6);
    uint8_t low = inb(t, 0x40 + counter);
    return low | inb(t, 0x40 + counter) << 8;
}

static uint8_t status(IsaTest *t, unsigned counter)
{
    outb(t, 0x43, 0xe0 | 2 << counter);
    return inb(t, 0x40 + counter);
}

static bool out(IsaTest *t, unsigned counter)
{
    return status(t, counter) & 0x80;
}

static void gate2(IsaTest *t, bool level)
{
    outb(t, 0x61, level);
}

static void test_mode0(void)
{
    IsaTest *t = setup();
    program(t, 0, 0, 100, false);
    uint64_t p = pulse(t);
    g_assert_false(out(t, 0));
    g_assert_cmphex(status(t, 0) & 0x7f, ==, 0x70); /* null count until the next pulse */
    to_pulse(t, p + 1);
    g_assert_cmphex(status(t, 0) & 0x7f, ==, 0x30);
    g_assert_cmpuint(count(t, 0), ==, 100);
    to_pulse(t, p + 100);
    g_assert_cmpuint(count(t, 0), ==, 1);
    g_assert_false(t->tm->level[0]);
    to_pulse(t, p + 101); /* N + 1 pulses after the write */
    g_assert_true(out(t, 0));
    g_assert_true(t->tm->level[0]);
    to_pulse(t, p + 103);
    g_assert_cmphex(count(t, 0), ==, 0xfffe); /* wraps and goes on */
    outb(t, 0x40, 5);                         /* the first byte stops and lowers OUT */
    g_assert_false(out(t, 0));
    outb(t, 0x40, 0);
    p = pulse(t);
    to_pulse(t, p + 6);
    g_assert_cmpuint(t->tm->rises[0], ==, 2);
    isatest_free(t);
}

static void test_mode1(void)
{
    IsaTest *t = setup();
    program(t, 2, 1, 20, false);
    g_assert_true(out(t, 2));
    to_pulse(t, pulse(t) + 50);
    g_assert_true(out(t, 2)); /* waits for the trigger */
    gate2(t, true);
    uint64_t p = pulse(t);
    g_assert_true(out(t, 2));
    to_pulse(t, p + 1);
    g_assert_false(out(t, 2));
    to_pulse(t, p + 20);
    g_assert_false(out(t, 2));
    to_pulse(t, p + 21);
    g_assert_true(out(t, 2));
    gate2(t, false);
    gate2(t, true);
    p = pulse(t);
    to_pulse(t, p + 10);
    gate2(t, false);
    gate2(t, true); /* retriggered: 20 more */
    to_pulse(t, p + 30);
    g_assert_false(out(t, 2));
    to_pulse(t, p + 31);
    g_assert_true(out(t, 2));
    isatest_free(t);
}

static void test_mode2(void)
{
    IsaTest *t = setup();
    program(t, 0, 2, 1000, false);
    uint64_t p = pulse(t);
    to_pulse(t, p + 1);
    g_assert_true(out(t, 0));
    g_assert_cmpuint(count(t, 0), ==, 1000);
    to_pulse(t, p + 1000);
    g_assert_false(out(t, 0)); /* low for the pulse at count 1 */
    g_assert_cmpuint(count(t, 0), ==, 1);
    to_pulse(t, p + 1001);
    g_assert_true(out(t, 0));
    unsigned rises = t->tm->rises[0];
    to_pulse(t, p + 1 + 10 * 1000);
    g_assert_cmpuint(t->tm->rises[0] - rises, ==, 9);
    /* A new count takes over at the end of the period. */
    to_pulse(t, p + 1 + 10 * 1000 + 300);
    outb(t, 0x40, 200);
    outb(t, 0x40, 0);
    g_assert_cmpuint(count(t, 0), ==, 700);
    g_assert_cmphex(status(t, 0) & 0x40, ==, 0x40);
    to_pulse(t, p + 1 + 11 * 1000);
    g_assert_cmpuint(count(t, 0), ==, 200);
    rises = t->tm->rises[0];
    to_pulse(t, p + 1 + 11 * 1000 + 1000);
    g_assert_cmpuint(t->tm->rises[0] - rises, ==, 5);
    isatest_free(t);
}

static void test_mode3(void)
{
    IsaTest *t = setup();
    gate2(t, true);
    program(t, 2, 3, 10, false);
    uint64_t p = pulse(t) + 1;
    static const uint8_t even[] = { 10, 8, 6, 4, 2, 10, 8, 6, 4, 2 };
    for (unsigned i = 0; i < 20; i++) {
        to_pulse(t, p + i);
        g_assert_cmpuint(count(t, 2), ==, even[i % 10]);
        g_assert_cmpint(out(t, 2), ==, i % 10 < 5);
    }
    gate2(t, false); /* OUT high at once, a rise starts over */
    g_assert_true(out(t, 2));
    program(t, 2, 3, 5, false);
    to_pulse(t, pulse(t) + 3);
    gate2(t, true);
    p = pulse(t) + 1;
    static const uint8_t odd[] = { 4, 2, 0, 4, 2 };
    for (unsigned i = 0; i < 10; i++) {
        to_pulse(t, p + i);
        g_assert_cmpuint(count(t, 2), ==, odd[i % 5]);
        g_assert_cmpint(out(t, 2), ==, i % 5 < 3);
    }
    isatest_free(t);

    t = setup(); /* the usual 18.2 Hz, and 1000 Hz */
    program(t, 0, 3, 0, false);
    tm_step(t->tm, 1000000000);
    g_assert_cmpuint(t->tm->rises[0], ==, 18 + 1); /* one for OUT going high with the control word */
    program(t, 0, 3, 1193, false);
    unsigned rises = t->tm->rises[0];
    tm_step(t->tm, 1000000000);
    g_assert_cmpuint(t->tm->rises[0] - rises, ==, 1000);
    isatest_free(t);
}

static void test_modes4_5(void)
{
    IsaTest *t = setup();
    program(t, 0, 4, 30, false);
    uint64_t p = pulse(t);
    g_assert_true(out(t, 0));
    to_pulse(t, p + 31);
    g_assert_false(out(t, 0)); /* the strobe */
    unsigned rises = t->tm->rises[0];
    to_pulse(t, p + 32);
    g_assert_true(out(t, 0));
    g_assert_cmpuint(t->tm->rises[0] - rises, ==, 1);
    program(t, 2, 5, 12, false);
    to_pulse(t, pulse(t) + 40);
    g_assert_true(out(t, 2));
    gate2(t, true);
    p = pulse(t);
    to_pulse(t, p + 12);
    g_assert_true(out(t, 2));
    to_pulse(t, p + 13);
    g_assert_false(out(t, 2));
    to_pulse(t, p + 14);
    g_assert_true(out(t, 2));
    isatest_free(t);
}

static void test_access(void)
{
    IsaTest *t = setup();
    gate2(t, true);
    program(t, 2, 0, 0x1234, true); /* BCD 1234 */
    uint64_t p = pulse(t);
    to_pulse(t, p + 1 + 35);
    g_assert_cmphex(count(t, 2), ==, 0x1199);
    /* A latched count waits for its read; a second latch is ignored. */
    outb(t, 0x43, 0x80);
    to_pulse(t, p + 1 + 235);
    outb(t, 0x43, 0x80);
    g_assert_cmphex(inb(t, 0x42), ==, 0x99);
    g_assert_cmphex(inb(t, 0x42), ==, 0x11);
    g_assert_cmphex(inb(t, 0x42), ==, 0x99);
    g_assert_cmphex(inb(t, 0x42), ==, 0x09);
    /* Read-back of both: status first, then count. */
    outb(t, 0x43, 0xc8);
    g_assert_cmphex(inb(t, 0x42), ==, 0x31);
    g_assert_cmphex(inb(t, 0x42), ==, 0x99);
    g_assert_cmphex(inb(t, 0x42), ==, 0x09);
    /* LSB only, MSB only. */
    outb(t, 0x43, 0x90 | 0);
    outb(t, 0x42, 200);
    p = pulse(t);
    to_pulse(t, p + 1 + 50);
    g_assert_cmpuint(inb(t, 0x42), ==, 150);
    outb(t, 0x43, 0xa0);
    outb(t, 0x42, 2);
    p = pulse(t);
    to_pulse(t, p + 1 + 256);
    g_assert_cmpuint(inb(t, 0x42), ==, 1);
    g_assert_cmphex(inb(t, 0x43), ==, 0xff);
    /* Gate low holds mode 0. */
    gate2(t, false);
    to_pulse(t, pulse(t) + 1000);
    g_assert_cmpuint(inb(t, 0x42), ==, 1);
    isatest_free(t);
}

static void test_port61(void)
{
    IsaTest *t = setup();
    outb(t, 0x61, 0xff);
    g_assert_cmphex(inb(t, 0x61) & 0xcf, ==, 0x0f);
    program(t, 2, 0, 50, false);
    g_assert_cmphex(inb(t, 0x61) & 0x20, ==, 0);
    to_pulse(t, pulse(t) + 60);
    g_assert_cmphex(inb(t, 0x61) & 0x20, ==, 0x20);
    unsigned toggles = 0;
    uint8_t was = inb(t, 0x61) & 0x10;
    for (unsigned i = 0; i < 1000; i++) { /* 1 ms: a toggle each 15.085 us */
        tm_step(t->tm, 1000);
        toggles += (inb(t, 0x61) & 0x10) != was;
        was = inb(t, 0x61) & 0x10;
    }
    g_assert_cmpuint(toggles, >=, 65);
    g_assert_cmpuint(toggles, <=, 67);
    g_assert_true(isatest_refuses(t, &pcspk_type, "audiodev", "snd0", "there is no audiodev 'snd0'"));
    isatest_free(t);
}

/* --- the speaker --- */

static SoundHost host;

static IsaTest *setup_speaker(void)
{
    IsaTest *t = isatest_new();
    soundhost_open(&host, t->tm->m, 48000);
    isatest_add(t, &i8254_type);
    Device *spk = device_new(t->tm->m, &pcspk_type, t->tm->m->peripheral, NULL);
    g_assert_true(device_set(spk, "audiodev", "host", &error_abort_slot));
    g_assert_true(device_realize(spk, t->bus, &error_abort_slot));
    return t;
}

static void free_speaker(IsaTest *t)
{
    soundhost_close(&host, t->tm->m);
    isatest_free(t);
}

static unsigned heard(void)
{
    return host.heard->len / 2; /* both channels are the same */
}

/* Rises through 0 between two frames, and how long the shortest and longest time between two of them was. */
static unsigned rises(unsigned from, unsigned to, unsigned *least, unsigned *most)
{
    const int16_t *f = (int16_t *)host.heard->data;
    unsigned n = 0, last = 0;
    *least = UINT32_MAX;
    *most = 0;
    for (unsigned i = from + 1; i < to; i++) {
        if (f[2 * i - 2] < 0 && f[2 * i] >= 0) {
            *least = n ? MIN(*least, i - last) : *least;
            *most = n ? MAX(*most, i - last) : 0;
            last = i;
            n++;
        }
    }
    return n;
}

static void test_speaker(void)
{
    enum { MS = 1000000 };
    IsaTest *t = setup_speaker();
    unsigned least, most;
    program(t, 2, 3, PIT_HZ / 1000, false);
    tm_step(t->tm, 100 * MS);
    g_assert_cmpuint(heard(), ==, 0); /* it is off */
    outb(t, 0x61, 3);
    for (unsigned i = 0; i < 1000; i++) { /* a second; reading the port disturbs nothing */
        tm_step(t->tm, MS);
        inb(t, 0x61);
    }
    g_assert_cmpuint(heard(), >=, 47000);
    unsigned n = rises(4800, 4800 + 38400, &least, &most);
    g_assert_cmpuint(n, >=, 799);
    g_assert_cmpuint(n, <=, 801);
    g_assert_cmpuint(least, >=, 47);
    g_assert_cmpuint(most, <=, 49);
    /* Another pitch: it goes over at the end of a half period, without a gap. */
    unsigned at = heard();
    program(t, 2, 3, PIT_HZ / 2000, false);
    tm_step(t->tm, 500 * MS);
    rises(at - 480, heard(), &least, &most);
    g_assert_cmpuint(least, >=, 20);
    g_assert_cmpuint(most, <=, 49);
    n = rises(at + 2400, at + 2400 + 19200, &least, &most);
    g_assert_cmpuint(n, >=, 799);
    g_assert_cmpuint(n, <=, 801);
    g_assert_cmpuint(most, <=, 25);
    /* Off: silence, then no more frames. On again after a save and a load. */
    outb(t, 0x61, 0);
    tm_step(t->tm, 1000 * MS);
    at = heard();
    g_assert_cmpint(g_array_index(host.heard, int16_t, 2 * at - 1), ==, 0);
    tm_step(t->tm, 1000 * MS);
    g_assert_cmpuint(heard(), ==, at);
    outb(t, 0x61, 3);
    tm_step(t->tm, 10 * MS);
    GByteArray *state = tm_save(t->tm);
    outb(t, 0x61, 0);
    tm_step(t->tm, 1000 * MS);
    at = heard();
    g_assert_true(tm_load(t->tm, state, &error_abort_slot));
    g_byte_array_unref(state);
    tm_step(t->tm, 500 * MS);
    n = rises(at + 2400, at + 2400 + 19200, &least, &most);
    g_assert_cmpuint(n, >=, 799);
    g_assert_cmpuint(n, <=, 801);
    tm_reset(t->tm);
    tm_step(t->tm, 100 * MS);
    at = heard();
    tm_step(t->tm, 100 * MS);
    g_assert_cmpuint(heard(), ==, at);
    free_speaker(t);
}

/* A back end that comes seldom takes what there is in pieces, and all of it. */
static void test_speaker_seldom(void)
{
    enum { MS = 1000000 };
    IsaTest *t = setup_speaker();
    unsigned least, most;
    Audiodev *a = audiodev_get(t->tm->m, "host", &error_abort_slot);
    a->period_ns = 250 * MS;
    audiodev_unref(a);
    program(t, 2, 3, PIT_HZ / 1000, false);
    outb(t, 0x61, 3);
    tm_step(t->tm, 5000ll * MS);
    g_assert_cmpuint(heard(), >=, 5 * 47000);
    unsigned n = rises(4800, 4800 + 4 * 48000, &least, &most);
    g_assert_cmpuint(n, >=, 3998);
    g_assert_cmpuint(n, <=, 4002);
    g_assert_cmpuint(least, >=, 47);
    g_assert_cmpuint(most, <=, 49);
    free_speaker(t);
}

/* Bit 1 alone, with OUT2 high: widths of pulses are levels. */
static void test_speaker_pulses(void)
{
    enum { STEP = 62500 }; /* three samples */
    IsaTest *t = setup_speaker();
    program(t, 2, 3, 100, false);
    for (unsigned i = 0; i < 16000; i++) { /* a tone of 250 Hz: 64 pulses a period, wide and narrow ones */
        unsigned wide = i / 32 & 1 ? 3 : 1;
        outb(t, 0x61, 2);
        tm_step(t->tm, STEP / 4 * wide);
        outb(t, 0x61, 0);
        tm_step(t->tm, STEP - STEP / 4 * wide);
    }
    /* Means of three samples have the tone. */
    const int16_t *f = (int16_t *)host.heard->data;
    unsigned n = 0;
    int last = 0;
    for (unsigned i = 9600; i + 3 < heard(); i += 3) {
        int mean = f[2 * i] + f[2 * i + 2] + f[2 * i + 4];
        mean = mean > 3000 ? 1 : mean < -3000 ? -1 : last;
        n += mean > 0 && last < 0;
        last = mean;
    }
    g_assert_cmpuint(n, >=, 198);
    g_assert_cmpuint(n, <=, 202);
    free_speaker(t);
}

/* --- ticks that no CPU could take yet --- */

typedef struct Taker {
    IrqLine *line;
    bool waits, busy; /* an edge came; nobody takes it */
    unsigned edges;
} Taker;

static bool taker_waits(void *opaque)
{
    return ((Taker *)opaque)->waits;
}

static void taker_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    Taker *k = sink;
    k->edges += level;
    k->waits |= level && k->busy;
}

static const IrqSinkOps taker_sink = { .set = taker_set };

static unsigned edges_in(IsaTest *t, Taker *k, int64_t ns)
{
    unsigned before = k->edges;
    tm_step(t->tm, ns);
    return k->edges - before;
}

static void test_lost_ticks(void)
{
    enum { MS = 1000000, COUNT = PIT_HZ / 250 }; /* 4 ms */
    IsaTest *t = isatest_new();
    Device *pit = isatest_add(t, &i8254_type);
    isatest_add(t, &pcspk_type);
    Taker k = { .line = device_irq(pit, 0) };
    irq_connect(k.line, &taker_sink, &k, 0);
    i8254_set_pending(pit, taker_waits, &k);
    program(t, 0, 2, COUNT, false);
    g_assert_cmpuint(edges_in(t, &k, 100 * MS), ==, 25);
    k.busy = true; /* 40 ms in which nobody takes any: the first edge waits, nine are owed */
    g_assert_cmpuint(edges_in(t, &k, 40 * MS), ==, 1);
    k.busy = k.waits = false;
    unsigned soon = edges_in(t, &k, 10 * MS);
    g_assert_cmpuint(soon, >=, 9); /* long before they could have come by themselves */
    g_assert_cmpuint(soon + edges_in(t, &k, 50 * MS), ==, 9 + 15);
    g_assert_cmpuint(edges_in(t, &k, 100 * MS), ==, 25); /* and no more than that */

    k.busy = true; /* of a very long time 200 ms are made up for */
    g_assert_cmpuint(edges_in(t, &k, 5000 * (int64_t)MS), ==, 1);
    k.busy = k.waits = false;
    soon = edges_in(t, &k, 100 * MS);
    g_assert_cmpuint(soon, >=, 50 + 24);
    g_assert_cmpuint(soon, <=, 50 + 26);
    g_assert_cmpuint(edges_in(t, &k, 100 * MS), ==, 25);

    k.busy = true; /* told that one was taken, it sends the next at once */
    edges_in(t, &k, 40 * MS);
    k.busy = k.waits = false;
    for (unsigned i = 0; i < 9; i++) {
        unsigned before = k.edges;
        i8254_taken(pit);
        g_assert_cmpuint(k.edges - before, ==, 1);
    }
    i8254_taken(pit);
    g_assert_cmpuint(edges_in(t, &k, 40 * MS), ==, 10);

    k.busy = true; /* programming it anew forgets them */
    edges_in(t, &k, 40 * MS);
    k.busy = k.waits = false;
    program(t, 0, 2, COUNT, false);
    g_assert_cmpuint(edges_in(t, &k, 39 * MS), ==, 9);
    isatest_free(t);
}

static void test_fast_counter(void)
{
    IsaTest *t = setup(); /* a hostile rate does not make a timer per pulse */
    program(t, 0, 2, 2, false);
    unsigned rises = t->tm->rises[0];
    tm_step(t->tm, 10000000);
    g_assert_cmpuint(t->tm->rises[0] - rises, <=, 510);
    g_assert_cmpuint(t->tm->rises[0] - rises, >=, 400);
    isatest_free(t);
}

/* While an HPET stands in for OUT0 nothing waits for its edges, but the counter counts on. */
static void test_replaced(void)
{
    enum { MS = 1000000, CONFIG = HPET_BASE + 0x10, COUNT = PIT_HZ / 250 };
    IsaTest *t = isatest_new();
    Machine *m = t->tm->m;
    Device *hpet = tm_device_type(t->tm, &hpet_type, NULL, NULL), *pit = isatest_add(t, &i8254_type);
    device_map_mem(hpet, device_region(hpet, 0), HPET_BASE, 0);
    irq_connect(device_irq(pit, 0), &hpet_legacy_sink, hpet, 0);
    tm_connect(t->tm, hpet, HPET_LINE_IRQ0, 0);
    hpet_set_pit(hpet, pit);
    program(t, 0, 3, COUNT, false);
    uint64_t p = pulse(t);
    unsigned *rises = &t->tm->rises[0], before = *rises;
    tm_step(t->tm, 100 * MS);
    g_assert_cmpuint(*rises - before, ==, 25);
    tm_write(t->tm, CONFIG, 8, 3);
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GByteArray) state = tm_save(t->tm);
        g_assert_cmpint(loop_deadline(m->loop, m->clock), ==, TIMER_OFF);
        before = *rises;
        tm_step(t->tm, 101 * MS);
        g_assert_cmpuint(*rises, ==, before);
        g_assert_cmpint(count(t, 0), ==, COUNT - 2 * ((pulse(t) - p - 1) % COUNT % (COUNT / 2)));
        program(t, 0, 2, 100, false); /* nor after that */
        g_assert_true(tm_load(t->tm, state, &error_abort_slot));
    }
    tm_write(t->tm, CONFIG, 8, 1);
    g_assert_cmpint(loop_deadline(m->loop, m->clock), !=, TIMER_OFF);
    tm_step(t->tm, 4 * MS);
    before = *rises;
    tm_step(t->tm, 100 * MS);
    g_assert_cmpuint(*rises - before, ==, 25);
    isatest_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8254/mode0", test_mode0);
    g_test_add_func("/i8254/mode1", test_mode1);
    g_test_add_func("/i8254/mode2", test_mode2);
    g_test_add_func("/i8254/mode3", test_mode3);
    g_test_add_func("/i8254/modes4-5", test_modes4_5);
    g_test_add_func("/i8254/access", test_access);
    g_test_add_func("/i8254/port61", test_port61);
    g_test_add_func("/i8254/speaker", test_speaker);
    g_test_add_func("/i8254/speaker-seldom", test_speaker_seldom);
    g_test_add_func("/i8254/speaker-pulses", test_speaker_pulses);
    g_test_add_func("/i8254/fast-counter", test_fast_counter);
    g_test_add_func("/i8254/lost-ticks", test_lost_ticks);
    g_test_add_func("/i8254/replaced", test_replaced);
    return g_test_run();
}

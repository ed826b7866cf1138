/* SPDX-License-Identifier: MIT
 * tests/device/test-hpet.c - the HPET, by specification section.
 * Threads: main.
 */
#include "rhea/hw/timer.h"
#include "tests/lib/testmachine.h"

enum { CAP = 0, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, T0 = 0x100, T1 = 0x120, T2 = 0x140 };
enum { CMP = 8, FSB = 0x10 };

typedef struct Hpet {
    TestMachine *tm;
    Device *dev;
    unsigned sent;
    MsiMessage last;
} Hpet;

static void message(void *opaque, MsiMessage msg)
{
    Hpet *h = opaque;
    h->sent++;
    h->last = msg;
}

static Hpet *setup(const char *intcap, const char *msi)
{
    Hpet *h = g_new0(Hpet, 1);
    h->tm = tm_new(1 << 20);
    h->tm->m->msi_sink = message;
    h->tm->m->msi_opaque = h;
    h->tm->m->msi_base = 0xfee00000;
    h->tm->m->msi_size = 0x100000;
    h->dev = tm_device_type(h->tm, &hpet_type, NULL, "hpet-intcap", intcap, "msi", msi, NULL);
    device_map_mem(h->dev, device_region(h->dev, 0), HPET_BASE, 0);
    for (unsigned k = 0; k < HPET_LINES; k++) {
        tm_connect(h->tm, h->dev, k, k);
    }
    return h;
}

static void teardown(Hpet *h)
{
    tm_free(h->tm);
    g_free(h);
}

static uint64_t get(Hpet *h, unsigned off)
{
    return tm_read(h->tm, HPET_BASE + off, 8);
}

static void put(Hpet *h, unsigned off, uint64_t val)
{
    tm_write(h->tm, HPET_BASE + off, 8, val);
}

static void test_counter(void)
{
    Hpet *h = setup("4", "off");
    g_assert_cmphex(get(h, CAP), ==, UINT64_C(0x009896808086a201));
    g_assert_cmphex(tm_read(h->tm, HPET_BASE + 4, 4), ==, 10000000); /* femtoseconds */
    tm_step(h->tm, 1000);
    g_assert_cmpuint(get(h, COUNTER), ==, 0);
    put(h, COUNTER, UINT64_C(0x1fffffff0));
    put(h, CONFIG, 1);
    tm_step(h->tm, 1000);
    g_assert_cmphex(get(h, COUNTER), ==, UINT64_C(0x1fffffff0) + 100);
    put(h, COUNTER, 5); /* only while halted */
    g_assert_cmphex(get(h, COUNTER), ==, UINT64_C(0x1fffffff0) + 100);
    g_assert_cmphex(tm_read(h->tm, HPET_BASE + COUNTER + 4, 4), ==, 2);
    put(h, CONFIG, 0);
    tm_step(h->tm, 1000);
    tm_write(h->tm, HPET_BASE + COUNTER + 4, 4, 7);
    g_assert_cmphex(get(h, COUNTER), ==, UINT64_C(0x700000054));
    teardown(h);
}

static void test_one_shot(void)
{
    Hpet *h = setup("0x4", "off");
    put(h, CONFIG, 1);
    put(h, T2, 0x004 | 2 << 9);
    put(h, T2 + CMP, get(h, COUNTER) + 1000);
    tm_step(h->tm, 9990);
    g_assert_cmpuint(h->tm->rises[2], ==, 0);
    tm_step(h->tm, 10);
    g_assert_cmpuint(h->tm->rises[2], ==, 1);
    g_assert_false(h->tm->level[2]);
    tm_step(h->tm, 1000000000);
    g_assert_cmpuint(h->tm->rises[2], ==, 1);
    /* 32-bit mode fires at each wrap. */
    put(h, T2, 0x104 | 2 << 9);
    put(h, T2 + CMP, (get(h, COUNTER) + 1000) & UINT32_MAX);
    tm_step(h->tm, 10000);
    g_assert_cmpuint(h->tm->rises[2], ==, 2);
    tm_step(h->tm, INT64_C(10) << 32);
    g_assert_cmpuint(h->tm->rises[2], ==, 3);
    /* A route that the timer does not have reads back as what it was. */
    put(h, T2, 0x004 | 7 << 9);
    g_assert_cmphex(get(h, T2) & 0x3e00, ==, 2 << 9);
    g_assert_cmphex(get(h, T2) >> 32, ==, 4);
    teardown(h);
}

static void test_periodic(void)
{
    Hpet *h = setup("0x4", "off");
    put(h, CONFIG, 1);
    put(h, T0, 0x04c | 2 << 9); /* enable, periodic, accumulator write */
    put(h, T0 + CMP, get(h, COUNTER) + 50000);
    put(h, T0 + CMP, 100000); /* the period: 1 ms */
    g_assert_cmphex(get(h, T0) & 0x40, ==, 0);
    tm_step(h->tm, 499990);
    g_assert_cmpuint(h->tm->rises[2], ==, 0);
    tm_step(h->tm, 10);
    g_assert_cmpuint(h->tm->rises[2], ==, 1);
    tm_step(h->tm, 100 * 1000000);
    g_assert_cmpuint(h->tm->rises[2], ==, 101);
    put(h, T0 + CMP, 200000);
    tm_step(h->tm, 1000000 + 10 * 2000000);
    g_assert_cmpuint(h->tm->rises[2], ==, 112);
    put(h, T0 + CMP, 1); /* a hostile rate does not flood the main loop */
    tm_step(h->tm, 2000000 + 10 * 1000000);
    g_assert_cmpuint(h->tm->rises[2], <=, 112 + 1300);
    teardown(h);
}

/* A periodic timer without its interrupt costs nothing, and reads as if it ran. */
static void test_resting(void)
{
    Hpet *h = setup("0x4", "off");
    put(h, CONFIG, 1);
    put(h, T0, 0x048 | 2 << 9); /* periodic, accumulator write; not enabled */
    uint64_t first = get(h, COUNTER) + 50000;
    put(h, T0 + CMP, first);
    put(h, T0 + CMP, 100000); /* 1 ms */
    g_assert_cmphex(get(h, T0 + CMP), ==, first);
    tm_step(h->tm, 500000);
    g_assert_cmphex(get(h, T0 + CMP), ==, first + 100000);
    int64_t next = loop_deadline(h->tm->m->loop, h->tm->m->clock);
    g_assert_true(next < 0 || next > clock_now(h->tm->m->clock) + 100 * 1000000);
    tm_step(h->tm, 10 * 1000000);
    g_assert_cmphex(get(h, T0 + CMP), ==, first + 11 * 100000);
    tm_step(h->tm, 300000);
    put(h, T0, 0x00c | 2 << 9); /* enabled: the next one comes when it would have come */
    tm_step(h->tm, 699990);
    g_assert_cmpuint(h->tm->rises[2], ==, 0);
    tm_step(h->tm, 10);
    g_assert_cmpuint(h->tm->rises[2], ==, 1);
    put(h, T0, 0x008 | 2 << 9);
    tm_step(h->tm, 5 * 1000000);
    g_assert_cmpuint(h->tm->rises[2], ==, 1);
    put(h, CONFIG, 0); /* halted between two matches */
    g_assert_cmphex(get(h, T0 + CMP), ==, first + 17 * 100000);
    teardown(h);
}

static void test_level(void)
{
    Hpet *h = setup("0x100004", "off");
    put(h, CONFIG, 1);
    put(h, T1, 0x006 | 20 << 9);
    put(h, T1 + CMP, get(h, COUNTER) + 1000);
    tm_step(h->tm, 20000);
    g_assert_true(h->tm->level[20]);
    g_assert_cmphex(get(h, STATUS), ==, 2);
    put(h, STATUS, 1);
    g_assert_true(h->tm->level[20]);
    put(h, STATUS, 2);
    g_assert_false(h->tm->level[20]);
    /* Disabled: the status bit without the line. */
    put(h, T1, 0x002 | 20 << 9);
    put(h, T1 + CMP, get(h, COUNTER) + 1000);
    tm_step(h->tm, 20000);
    g_assert_false(h->tm->level[20]);
    g_assert_cmphex(get(h, STATUS), ==, 2);
    put(h, T1, 0x006 | 20 << 9);
    g_assert_true(h->tm->level[20]);
    put(h, CONFIG, 0);
    g_assert_false(h->tm->level[20]);
    teardown(h);
}

static void test_legacy(void)
{
    Hpet *h = setup("4", "off");
    domain_lock(h->tm->m->platform);
    hpet_legacy_sink.set(h->dev, 0, true);
    g_assert_true(h->tm->level[HPET_LINE_IRQ0]); /* the PIT passes */
    hpet_legacy_sink.set(h->dev, 1, true);
    g_assert_true(h->tm->level[HPET_LINE_IRQ8]);
    domain_unlock(h->tm->m->platform);
    put(h, CONFIG, 3);
    g_assert_false(h->tm->level[HPET_LINE_IRQ0]);
    g_assert_false(h->tm->level[HPET_LINE_IRQ8]);
    unsigned irq0 = h->tm->rises[HPET_LINE_IRQ0], irq8 = h->tm->rises[HPET_LINE_IRQ8];
    put(h, T0, 0x004);
    put(h, T0 + CMP, get(h, COUNTER) + 1000);
    put(h, T1, 0x004);
    put(h, T1 + CMP, get(h, COUNTER) + 2000);
    tm_step(h->tm, 30000);
    g_assert_cmpuint(h->tm->rises[HPET_LINE_IRQ0] - irq0, ==, 1);
    g_assert_cmpuint(h->tm->rises[HPET_LINE_IRQ8] - irq8, ==, 1);
    g_assert_cmpuint(h->tm->rises[2], ==, 0);
    put(h, CONFIG, 1); /* back: the levels come through */
    g_assert_true(h->tm->level[HPET_LINE_IRQ0]);
    teardown(h);
}

static bool takes_none(void *opaque)
{
    return *(bool *)opaque;
}

/* Timer 0 in the PIT's place: ticks that no CPU took follow, the next at once when one was taken. */
static void test_lost_ticks(void)
{
    enum { MS = 1000000, TICK = 4 * MS / 10 };
    Hpet *h = setup("4", "off");
    bool busy = false;
    unsigned *rises = &h->tm->rises[HPET_LINE_IRQ0];
    hpet_set_pending(h->dev, takes_none, &busy);
    put(h, CONFIG, 3);
    put(h, T0, 0x04c);
    put(h, T0 + CMP, get(h, COUNTER) + TICK);
    put(h, T0 + CMP, TICK);
    tm_step(h->tm, 100 * MS + 10);
    g_assert_cmpuint(*rises, ==, 25);
    busy = true;
    tm_step(h->tm, 40 * MS);
    g_assert_cmpuint(*rises, ==, 25);
    busy = false;
    hpet_taken(h->dev);
    hpet_taken(h->dev);
    g_assert_cmpuint(*rises, ==, 27);
    tm_step(h->tm, 40 * MS); /* eight more that are owed, and ten that are due */
    g_assert_cmpuint(*rises, ==, 45);
    tm_step(h->tm, 40 * MS);
    g_assert_cmpuint(*rises, ==, 55);
    busy = true; /* a new period forgets what is owed */
    tm_step(h->tm, 40 * MS);
    busy = false;
    put(h, T0, 0x04c);
    put(h, T0 + CMP, get(h, COUNTER) + TICK);
    put(h, T0 + CMP, TICK);
    hpet_taken(h->dev);
    g_assert_cmpuint(*rises, ==, 55);
    teardown(h);
}

static void test_message(void)
{
    Hpet *h = setup("4", "on");
    g_assert_cmphex(get(h, T0) & 0x8000, ==, 0x8000);
    put(h, CONFIG, 1);
    put(h, T0 + FSB, UINT64_C(0xfee0100000000031));
    put(h, T0, 0x4004);
    put(h, T0 + CMP, get(h, COUNTER) + 1000);
    tm_step(h->tm, 20000);
    g_assert_cmpuint(h->sent, ==, 1);
    g_assert_cmphex(h->last.addr, ==, 0xfee01000);
    g_assert_cmphex(h->last.data, ==, 0x31);
    g_assert_cmpuint(h->tm->rises[2], ==, 0);
    teardown(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hpet/counter", test_counter);
    g_test_add_func("/hpet/one-shot", test_one_shot);
    g_test_add_func("/hpet/periodic", test_periodic);
    g_test_add_func("/hpet/resting", test_resting);
    g_test_add_func("/hpet/level", test_level);
    g_test_add_func("/hpet/legacy-replacement", test_legacy);
    g_test_add_func("/hpet/lost-ticks", test_lost_ticks);
    g_test_add_func("/hpet/message", test_message);
    return g_test_run();
}

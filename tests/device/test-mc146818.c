/* SPDX-License-Identifier: MIT
 * tests/device/test-mc146818.c - the real-time clock, by data sheet section.
 * Threads: main.
 */
#include "rhea/hw/timer.h"
#include "tests/device/isatest.h"
#include <string.h>

enum { START = 951782398 }; /* 2000-02-28 23:59:58 UTC, a Monday */
#define MS INT64_C(1000000)

static void options(Machine *m)
{
    m->rtc.start_s = START;
    m->rtc.clock = 2; /* virtual time */
}

static void options_slew(Machine *m)
{
    options(m);
    m->rtc.slew = true; /* -rtc driftfix=slew */
}

static IsaTest *setup(void)
{
    IsaTest *t = isatest_new_with(options);
    isatest_add(t, &mc146818_type);
    return t;
}

static uint8_t get(IsaTest *t, uint8_t reg)
{
    outb(t, 0x70, reg);
    return inb(t, 0x71);
}

static void put(IsaTest *t, uint8_t reg, uint8_t val)
{
    outb(t, 0x70, reg);
    outb(t, 0x71, val);
}

static void expect_time(IsaTest *t, const char *want)
{
    g_autofree char *is =
        g_strdup_printf("%02x%02x-%02x-%02x %02x:%02x:%02x %x", get(t, 0x32), get(t, 9), get(t, 8), get(t, 7),
                        get(t, 4), get(t, 2), get(t, 0), get(t, 6));
    g_assert_cmpstr(is, ==, want);
}

static void test_calendar(void)
{
    IsaTest *t = setup();
    g_assert_cmphex(get(t, 0x0a) & 0x7f, ==, 0x26);
    g_assert_cmphex(get(t, 0x0b), ==, 0x02);
    g_assert_cmphex(get(t, 0x0d), ==, 0x80);
    expect_time(t, "2000-02-28 23:59:58 2");
    tm_step(t->tm, 2000 * MS);
    expect_time(t, "2000-02-29 00:00:00 3"); /* 2000 is a leap year */
    tm_step(t->tm, 86400 * 1000 * MS);
    expect_time(t, "2000-03-01 00:00:00 4");
    /* Binary, then 12 hours. */
    put(t, 0x0b, 0x06);
    tm_step(t->tm, (13 * 3600 + 45 * 60 + 30) * 1000 * MS);
    g_assert_cmpuint(get(t, 4), ==, 13);
    g_assert_cmpuint(get(t, 2), ==, 45);
    g_assert_cmpuint(get(t, 9), ==, 0);
    g_assert_cmpuint(get(t, 0x32), ==, 20);
    put(t, 0x0b, 0x00);
    g_assert_cmphex(get(t, 4), ==, 0x81); /* 1 PM */
    tm_step(t->tm, (10 * 3600 + 14 * 60 + 30) * 1000 * MS);
    g_assert_cmphex(get(t, 4), ==, 0x12); /* midnight is 12 AM */
    put(t, 0x0d, 0x12);
    g_assert_cmphex(get(t, 0x0d), ==, 0x80);
    put(t, 0x40, 0x5a);
    g_assert_cmphex(get(t, 0xc0), ==, 0x5a); /* bit 7 of the index is the NMI mask */
    g_assert_cmphex(inb(t, 0x70), ==, 0xff);
    isatest_free(t);
}

static void test_set(void)
{
    IsaTest *t = setup();
    put(t, 0x0b, 0x82); /* SET */
    static const uint8_t bytes[][2] = { { 0, 0x50 }, { 2, 0x59 }, { 4, 0x23 }, { 6, 6 }, { 7, 0x31 },
                                        { 8, 0x12 }, { 9, 0x99 }, { 0x32, 0x20 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(bytes); i++) {
        put(t, bytes[i][0], bytes[i][1]);
    }
    tm_step(t->tm, 60000 * MS);
    expect_time(t, "2099-12-31 23:59:50 6"); /* stands still */
    put(t, 0x0b, 0x02);
    tm_step(t->tm, 10000 * MS);
    expect_time(t, "2100-01-01 00:00:00 6"); /* 2100-01-01 is a Friday */
    /* The divider: the first update comes half a second after it starts. */
    put(t, 0x0a, 0x76);
    tm_step(t->tm, 7777 * MS);
    uint8_t s = get(t, 0);
    put(t, 0x0a, 0x26);
    tm_step(t->tm, 499 * MS);
    g_assert_cmphex(get(t, 0), ==, s);
    g_assert_cmphex(get(t, 0x0a) & 0x80, ==, 0x80);
    tm_step(t->tm, 1 * MS);
    g_assert_cmphex(get(t, 0), ==, s + 1);
    /* Without SET, one byte at a time. */
    put(t, 4, 0x07);
    g_assert_cmphex(get(t, 4), ==, 0x07);
    isatest_free(t);
}

static void test_update(void)
{
    IsaTest *t = setup();
    get(t, 0x0c);
    tm_step(t->tm, 997 * MS);
    g_assert_cmphex(get(t, 0x0a) & 0x80, ==, 0);
    tm_step(t->tm, 1 * MS); /* within 2.228 ms of the second */
    g_assert_cmphex(get(t, 0x0a) & 0x80, ==, 0x80);
    g_assert_cmphex(get(t, 0x0c) & 0x10, ==, 0);
    tm_step(t->tm, 2 * MS);
    g_assert_cmphex(get(t, 0x0a) & 0x80, ==, 0);
    g_assert_cmphex(get(t, 0x0c) & 0x10, ==, 0x10); /* UF without UIE */
    g_assert_cmpuint(t->tm->rises[8], ==, 0);
    put(t, 0x0b, 0x12);
    tm_step(t->tm, 999 * MS);
    g_assert_false(t->tm->level[8]);
    tm_step(t->tm, 1 * MS);
    g_assert_true(t->tm->level[8]);
    g_assert_cmphex(get(t, 0x0c) & 0x90, ==, 0x90);
    g_assert_false(t->tm->level[8]);
    put(t, 0x0b, 0x92); /* SET clears UIE */
    g_assert_cmphex(get(t, 0x0b), ==, 0x82);
    isatest_free(t);
}

static void test_alarm(void)
{
    IsaTest *t = setup(); /* 23:59:58 */
    put(t, 1, 0x05);
    put(t, 3, 0x00);
    put(t, 5, 0x00);
    get(t, 0x0c);
    put(t, 0x0b, 0x22);
    tm_step(t->tm, 6999 * MS);
    g_assert_false(t->tm->level[8]);
    tm_step(t->tm, 1 * MS);
    g_assert_true(t->tm->level[8]);
    g_assert_cmphex(get(t, 0x0c) & 0xa0, ==, 0xa0);
    put(t, 5, 0xff); /* every hour */
    tm_step(t->tm, 3600 * 1000 * MS);
    g_assert_cmphex(get(t, 0x0c) & 0xa0, ==, 0xa0);
    put(t, 1, 0xc0); /* every second */
    put(t, 3, 0xc0);
    for (unsigned i = 0; i < 3; i++) {
        tm_step(t->tm, 1000 * MS);
        g_assert_cmphex(get(t, 0x0c) & 0xa0, ==, 0xa0);
    }
    put(t, 1, 0x75); /* no such second */
    tm_step(t->tm, 86400 * 1000 * MS);
    g_assert_cmphex(get(t, 0x0c) & 0x20, ==, 0);
    isatest_free(t);
}

static void test_periodic(void)
{
    static const struct {
        uint8_t rs;
        unsigned per_second;
    } rates[] = { { 3, 8192 }, { 6, 1024 }, { 15, 2 }, { 1, 256 }, { 2, 128 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
        IsaTest *t = setup();
        unsigned ticks = 0;
        put(t, 0x0a, 0x20 | rates[i].rs);
        put(t, 0x0b, 0x42);
        int64_t end = tm_now(t->tm) + 1000 * MS;
        while (tm_now(t->tm) < end) {
            tm_step(t->tm, MIN(end - tm_now(t->tm), 50000));
            if (t->tm->level[8]) {
                g_assert_cmphex(get(t, 0x0c) & 0xc0, ==, 0xc0);
                ticks++;
            }
        }
        g_assert_cmpuint(ticks, >=, rates[i].per_second - 1);
        g_assert_cmpuint(ticks, <=, rates[i].per_second + 1);
        isatest_free(t);
    }
    IsaTest *t = setup(); /* rate 0 and a stopped divider give none; PF comes without PIE */
    get(t, 0x0c);
    put(t, 0x0a, 0x20);
    tm_step(t->tm, 900 * MS);
    g_assert_cmphex(get(t, 0x0c) & 0x40, ==, 0);
    put(t, 0x0a, 0x26);
    tm_step(t->tm, 1 * MS);
    g_assert_cmphex(get(t, 0x0c), ==, 0x40);
    isatest_free(t);
}

/* Ticks the guest was late for: dropped, or delivered once it reads register C again. */
static unsigned late_ticks(void (*opts)(Machine *m), const char *policy)
{
    IsaTest *t = isatest_new_with(opts);
    isatest_add(t, &mc146818_type, "lost_tick_policy", policy);
    unsigned ticks = 0;
    put(t, 0x0a, 0x26);
    put(t, 0x0b, 0x42);
    tm_step(t->tm, 500 * MS); /* nobody answers for half a second */
    for (unsigned i = 0; i < 20000; i++) {
        tm_step(t->tm, 100000);
        if (t->tm->level[8]) {
            get(t, 0x0c);
            ticks++;
        }
    }
    isatest_free(t);
    return ticks;
}

static void test_lost_ticks(void)
{
    unsigned dropped = late_ticks(options, "discard"), slewed = late_ticks(options, "slew");
    g_assert_cmpuint(dropped, >=, 2040);
    g_assert_cmpuint(dropped, <=, 2056);
    g_assert_cmpuint(slewed, >=, 2040 + 500);
    g_assert_cmpuint(slewed, <=, 2056 + 520);
    g_assert_cmpuint(late_ticks(options_slew, "discard"), ==, slewed); /* the option is the property */
}

/* What is owed comes at twice the rate, only when the guest is ready for it, and is no debt for ever. */
static void test_slew_rate(void)
{
    IsaTest *t = isatest_new_with(options_slew);
    isatest_add(t, &mc146818_type);
    unsigned ticks = 0;
    put(t, 0x0a, 0x2a); /* 64 Hz */
    put(t, 0x0b, 0x42);
    tm_step(t->tm, 500 * MS);
    g_assert_cmpuint(t->tm->rises[8], ==, 1); /* the line is high: more would be lost */
    get(t, 0x0c);
    for (unsigned i = 0; i < 2500; i++) { /* a quarter of a second: 16 periods */
        tm_step(t->tm, 100000);
        if (t->tm->level[8]) {
            get(t, 0x0c);
            ticks++;
        }
    }
    g_assert_cmpuint(ticks, >=, 31);
    g_assert_cmpuint(ticks, <=, 33);
    put(t, 0x0b, 0x02); /* PIE off: nothing is owed to a guest that no longer listens */
    put(t, 0x0b, 0x42);
    get(t, 0x0c);
    ticks = 0;
    for (unsigned i = 0; i < 2500; i++) {
        tm_step(t->tm, 100000);
        if (t->tm->level[8]) {
            get(t, 0x0c);
            ticks++;
        }
    }
    g_assert_cmpuint(ticks, >=, 15);
    g_assert_cmpuint(ticks, <=, 17);
    isatest_free(t);
}

/* The debt can be forgiven, and a new one arises. */
static void test_forget(void)
{
    IsaTest *t = isatest_new_with(options_slew);
    Device *rtc = isatest_add(t, &mc146818_type);
    put(t, 0x0a, 0x2a); /* 64 Hz */
    put(t, 0x0b, 0x42);
    for (unsigned again = 0; again < 2; again++) {
        unsigned ticks = 0;
        tm_step(t->tm, 500 * MS);
        if (!again) {
            domain_lock(rtc->domain);
            mc146818_forget_ticks(rtc);
            domain_unlock(rtc->domain);
        }
        for (unsigned i = 0; i < 2500; i++) { /* a quarter of a second: 16 periods */
            if (t->tm->level[8]) {
                get(t, 0x0c);
                ticks++;
            }
            tm_step(t->tm, 100000);
        }
        g_assert_cmpuint(ticks, >=, again ? 31 : 15);
        g_assert_cmpuint(ticks, <=, again ? 34 : 18);
    }
    isatest_free(t);
}

static void test_reset(void)
{
    IsaTest *t = isatest_new_with(options);
    Device *rtc = isatest_add(t, &mc146818_type);
    mc146818_set_cmos(rtc, 0x34, 0x12);
    mc146818_set_cmos(rtc, 0x04, 0x12); /* time is not the board's */
    g_assert_cmphex(mc146818_get_cmos(rtc, 0x34), ==, 0x12);
    outb(t, 0x72, 0x85);
    outb(t, 0x73, 0x5a);
    put(t, 0x0f, 0x0a);
    put(t, 0x34, 0x99);
    put(t, 0x0b, 0x72);
    put(t, 4, 0x03);
    machine_reset(t->tm->m, RESET_WARM);
    g_assert_cmphex(get(t, 0x0b), ==, 0x02);
    outb(t, 0x72, 0x05);
    g_assert_cmphex(inb(t, 0x73), ==, 0x5a);
    g_assert_cmphex(inb(t, 0x72), ==, 0xff);
    g_assert_cmphex(get(t, 0x0f), ==, 0x0a); /* the battery keeps RAM and time */
    g_assert_cmphex(get(t, 4), ==, 0x03);
    machine_reset(t->tm->m, RESET_COLD);
    g_assert_cmphex(get(t, 0x0f), ==, 0x00);
    g_assert_cmphex(get(t, 0x34), ==, 0x12);
    g_assert_cmphex(get(t, 4), ==, 0x23);
    isatest_free(t);
}

/* A saved state may say anything of the distance from the host's clock. */
static void test_hostile_offset(void)
{
    const int64_t limit = INT64_C(1) << 40;
    const int64_t bad[] = { INT64_MIN, INT64_MIN + 1, -limit - 1, limit + 1, INT64_MAX };
    IsaTest *t = isatest_new_with(options);
    Device *rtc = isatest_add(t, &mc146818_type);
    const VmState *state = mc146818_type.vmstate;
    const VmField *f = state->fields;
    while (strcmp(f->name, "offset_s")) {
        f++;
    }
    int64_t *offset = (int64_t *)((char *)rtc + f->offset), good = *offset;
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(Error) err = NULL;
        *offset = bad[i];
        g_assert_false(state->post_load(rtc, &err));
        g_assert_nonnull(strstr(error_text(err), "beyond any calendar"));
    }
    *offset = good;
    g_assert_true(state->post_load(rtc, &error_abort_slot));
    isatest_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mc146818/calendar", test_calendar);
    g_test_add_func("/mc146818/set", test_set);
    g_test_add_func("/mc146818/update", test_update);
    g_test_add_func("/mc146818/alarm", test_alarm);
    g_test_add_func("/mc146818/periodic", test_periodic);
    g_test_add_func("/mc146818/lost-ticks", test_lost_ticks);
    g_test_add_func("/mc146818/slew-rate", test_slew_rate);
    g_test_add_func("/mc146818/forget", test_forget);
    g_test_add_func("/mc146818/reset", test_reset);
    g_test_add_func("/mc146818/hostile-offset", test_hostile_offset);
    return g_test_run();
}

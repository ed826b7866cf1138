/* SPDX-License-Identifier: MIT
 * tests/device/test-uart16550.c - the serial port and the debug console, by data sheet section.
 * Threads: main.
 */
#include "rhea/backends/char.h"
#include "rhea/hw/pcmisc.h"
#include "tests/device/isatest.h"

enum { BASE = 0x3f8, DATA = BASE, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

typedef struct Serial {
    IsaTest *t;
    Chardev *be;
} Serial;

static Serial setup(void)
{
    Serial s = { .t = isatest_new() };
    s.be = chardev_new_buffer(s.t->tm->m, "c");
    isatest_add(s.t, &isa_serial_type, "chardev", "c");
    outb(s.t, LCR, 0x83);
    outb(s.t, DATA, 1); /* 115200 */
    outb(s.t, IER, 0);
    outb(s.t, LCR, 0x03);
    return s;
}

static void feed(Serial *s, const char *text)
{
    chardev_buffer_feed(s->be, (const uint8_t *)text, strlen(text));
    tm_turns(s->t->tm);
}

static void test_registers(void)
{
    Serial s = setup();
    IsaTest *t = s.t;
    outb(t, IER, 0xff);
    g_assert_cmphex(inb(t, IER), ==, 0x0f);
    outb(t, IER, 0);
    outb(t, MCR, 0xff);
    g_assert_cmphex(inb(t, MCR), ==, 0x1f);
    outb(t, MCR, 0);
    g_assert_cmphex(inb(t, MSR), ==, 0xb4); /* the loop's ring has ended */
    outb(t, SCR, 0xa5);
    g_assert_cmphex(inb(t, SCR), ==, 0xa5);
    outb(t, LCR, 0x9b);
    g_assert_cmphex(inb(t, LCR), ==, 0x9b);
    outb(t, DATA, 0x34);
    outb(t, IER, 0x12);
    g_assert_cmphex(inb(t, DATA), ==, 0x34);
    g_assert_cmphex(inb(t, IER), ==, 0x12);
    outb(t, LCR, 0x03);
    g_assert_cmphex(inb(t, IER), ==, 0);
    g_assert_cmphex(inb(t, LSR), ==, 0x60);
    g_assert_cmphex(inb(t, MSR), ==, 0xb0);
    g_assert_cmphex(inb(t, IIR), ==, 0x01);
    outb(t, FCR, 0x01);
    g_assert_cmphex(inb(t, IIR), ==, 0xc1);
    outb(t, LSR, 0);
    g_assert_cmphex(inb(t, LSR), ==, 0x60);
    isatest_free(t);
}

static void test_transmit(void)
{
    Serial s = setup();
    IsaTest *t = s.t;
    uint8_t got[8];
    outb(t, IER, 0x02); /* enabling THRE while empty interrupts at once */
    g_assert_true(t->tm->level[4]);
    g_assert_cmphex(inb(t, IIR), ==, 0x02);
    g_assert_false(t->tm->level[4]); /* read as the cause = acknowledged */
    g_assert_cmphex(inb(t, IIR), ==, 0x01);
    outb(t, IER, 0x00);
    outb(t, IER, 0x02); /* and again: what Linux tests */
    g_assert_cmphex(inb(t, IIR), ==, 0x02);
    outb(t, DATA, 'x');
    g_assert_cmphex(inb(t, LSR) & 0x60, ==, 0x60);
    g_assert_cmphex(inb(t, IIR), ==, 0x02);
    outb(t, DATA, 'y');
    tm_turns(t->tm);
    g_assert_cmpuint(chardev_buffer_take(s.be, got, sizeof(got)), ==, 2);
    g_assert_cmpmem(got, 2, "xy", 2);
    isatest_free(t);
}

/* A back end that takes nothing: THRE stays low, and no byte is lost when it takes again. */
static void test_backpressure(void)
{
    Serial s = setup();
    IsaTest *t = s.t;
    outb(t, FCR, 0x01);
    unsigned sent = 0;
    while (inb(t, LSR) & 0x20) {
        outb(t, DATA, sent & 0xff);
        g_assert_cmpuint(++sent, <, 1 << 22);
    }
    g_assert_cmphex(inb(t, LSR) & 0x60, ==, 0);
    outb(t, IER, 0x02);
    g_assert_false(t->tm->level[4]);
    for (unsigned i = 0; i < 15; i++) { /* fill the FIFO */
        outb(t, DATA, sent++ & 0xff);
    }
    g_autofree uint8_t *got = g_malloc(sent);
    size_t n = 0;
    for (unsigned i = 0; i < 1000 && n < sent; i++) {
        n += chardev_buffer_take(s.be, got + n, sent - n);
        tm_turns(t->tm);
    }
    g_assert_cmpuint(n, ==, sent);
    for (unsigned i = 0; i < sent; i++) {
        g_assert_cmphex(got[i], ==, i & 0xff);
    }
    g_assert_cmphex(inb(t, LSR) & 0x60, ==, 0x60);
    g_assert_true(t->tm->level[4]);
    isatest_free(t);
}

static void test_receive(void)
{
    Serial s = setup();
    IsaTest *t = s.t;
    outb(t, IER, 0x01);
    feed(&s, "ab"); /* 16450 mode: one at a time, the rest waits at the host */
    g_assert_true(t->tm->level[4]);
    g_assert_cmphex(inb(t, IIR), ==, 0x04);
    g_assert_cmphex(inb(t, LSR), ==, 0x61);
    g_assert_cmphex(inb(t, DATA), ==, 'a');
    tm_turns(t->tm);
    g_assert_cmphex(inb(t, DATA), ==, 'b');
    tm_turns(t->tm);
    g_assert_cmphex(inb(t, LSR), ==, 0x60);
    g_assert_false(t->tm->level[4]);
    /* FIFO with trigger level 4, then the time-out for what stays below it. */
    outb(t, FCR, 0x41);
    feed(&s, "123");
    g_assert_false(t->tm->level[4]);
    feed(&s, "4");
    g_assert_true(t->tm->level[4]);
    g_assert_cmphex(inb(t, IIR), ==, 0xc4);
    g_assert_cmphex(inb(t, DATA), ==, '1');
    g_assert_cmphex(inb(t, IIR), ==, 0xc1);
    tm_step(t->tm, 340000); /* four times ten bits at 115200 are 347 us */
    g_assert_cmphex(inb(t, IIR), ==, 0xc1);
    tm_step(t->tm, 10000);
    g_assert_true(t->tm->level[4]);
    g_assert_cmphex(inb(t, IIR), ==, 0xcc);
    g_assert_cmphex(inb(t, DATA), ==, '2');
    g_assert_cmphex(inb(t, IIR), ==, 0xc1);
    outb(t, FCR, 0x43); /* clear */
    g_assert_cmphex(inb(t, LSR), ==, 0x60);
    tm_step(t->tm, 1000000);
    g_assert_cmphex(inb(t, IIR), ==, 0xc1);
    feed(&s, "0123456789abcdefghij");
    for (unsigned i = 0; i < 20; i++) {
        g_assert_cmphex(inb(t, DATA), ==, "0123456789abcdefghij"[i]);
        tm_turns(t->tm);
    }
    isatest_free(t);
}

static void test_loopback(void)
{
    Serial s = setup();
    IsaTest *t = s.t;
    outb(t, MCR, 0x1a); /* loop, RTS, OUT2: the pattern of every autodetection */
    g_assert_cmphex(inb(t, MSR) & 0xf0, ==, 0x90);
    outb(t, MCR, 0x10);
    inb(t, MSR);
    outb(t, IER, 0x08);
    outb(t, MCR, 0x11);
    g_assert_cmphex(inb(t, IIR), ==, 0x00);
    g_assert_true(t->tm->level[4]);
    g_assert_cmphex(inb(t, MSR), ==, 0x22); /* DSR and its delta */
    g_assert_cmphex(inb(t, MSR), ==, 0x20);
    g_assert_false(t->tm->level[4]);
    outb(t, MCR, 0x15); /* ring: counts when it ends */
    g_assert_cmphex(inb(t, MSR), ==, 0x60);
    outb(t, MCR, 0x11);
    g_assert_cmphex(inb(t, MSR), ==, 0x24);
    outb(t, IER, 0x05);
    outb(t, DATA, 0x5a);
    g_assert_cmphex(inb(t, IIR), ==, 0x04);
    outb(t, DATA, 0x5b); /* the holding register is full: overrun, the old character stays */
    g_assert_cmphex(inb(t, IIR), ==, 0x06);
    g_assert_cmphex(inb(t, LSR), ==, 0x63);
    g_assert_cmphex(inb(t, LSR), ==, 0x61);
    g_assert_cmphex(inb(t, DATA), ==, 0x5a);
    uint8_t got[4];
    tm_turns(t->tm);
    g_assert_cmpuint(chardev_buffer_take(s.be, got, sizeof(got)), ==, 0);
    isatest_free(t);
}

static void test_places(void)
{
    IsaTest *t = isatest_new();
    isatest_add(t, &isa_serial_type);
    isatest_add(t, &isa_serial_type);
    isatest_add(t, &isa_serial_type, "index", "3");
    g_assert_cmphex(inb(t, 0x2fd), ==, 0x60);
    g_assert_cmphex(inb(t, 0x2ed), ==, 0x60);
    g_assert_cmphex(inb(t, 0x3ed), ==, 0xff);
    outb(t, 0x2f9, 2);
    g_assert_true(t->tm->level[3]);
    outb(t, 0x2e9, 2); /* shares line 3 */
    outb(t, 0x2f9, 0);
    g_assert_true(t->tm->level[3]);
    outb(t, 0x2e9, 0);
    g_assert_false(t->tm->level[3]);
    g_assert_true(isatest_refuses(t, &isa_serial_type, "index", "1", "taken"));
    g_assert_true(isatest_refuses(t, &isa_serial_type, "index", "4", "out of range"));
    g_assert_true(isatest_refuses(t, &isa_serial_type, "iobase", "0x3fc", "isa-serial"));
    g_assert_true(isatest_refuses(t, &isa_serial_type, "iobase", "0x10000", "0xffff"));
    g_assert_true(isatest_refuses(t, &isa_serial_type, "irq", "16", "0 to 15"));
    g_assert_true(isatest_refuses(t, &isa_serial_type, "irq", "2", "cascade"));
    isatest_add(t, &isa_serial_type, "iobase", "0x1230", "irq", "7");
    g_assert_cmphex(inb(t, 0x1235), ==, 0x60);
    isatest_free(t);
}

static void test_debugcon(void)
{
    IsaTest *t = isatest_new();
    Chardev *be = chardev_new_buffer(t->tm->m, "d");
    g_assert_true(isatest_refuses(t, &isa_debugcon_type, NULL, NULL, "chardev"));
    isatest_add(t, &isa_debugcon_type, "chardev", "d");
    g_assert_cmphex(inb(t, 0xe9), ==, 0xe9);
    for (const char *p = "hello"; *p; p++) {
        outb(t, 0xe9, *p);
    }
    tm_turns(t->tm);
    uint8_t got[8];
    g_assert_cmpuint(chardev_buffer_take(be, got, sizeof(got)), ==, 5);
    g_assert_cmpmem(got, 5, "hello", 5);
    isatest_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    chardev_register();
    g_test_add_func("/uart16550/registers", test_registers);
    g_test_add_func("/uart16550/transmit", test_transmit);
    g_test_add_func("/uart16550/backpressure", test_backpressure);
    g_test_add_func("/uart16550/receive", test_receive);
    g_test_add_func("/uart16550/loopback", test_loopback);
    g_test_add_func("/uart16550/places", test_places);
    g_test_add_func("/debugcon/output", test_debugcon);
    return g_test_run();
}

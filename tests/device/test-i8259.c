/* SPDX-License-Identifier: MIT
 * tests/device/test-i8259.c - the 8259A pair, by data sheet section.
 * Threads: main.
 */
#include "rhea/hw/intc.h"
#include "tests/device/isatest.h"

enum { CMD1 = 0x20, DATA1, CMD2 = 0xa0, DATA2 };
enum { INT_LINE = 40 };

typedef struct Pics {
    IsaTest *t;
    Device *master;
} Pics;

static void init_pair(IsaTest *t, uint8_t icw4)
{
    outb(t, CMD1, 0x11);
    outb(t, DATA1, 0x20);
    outb(t, DATA1, 0x04);
    outb(t, DATA1, icw4);
    outb(t, CMD2, 0x11);
    outb(t, DATA2, 0x70);
    outb(t, DATA2, 0x02);
    outb(t, DATA2, icw4 & ~0x10);
}

static Pics setup(uint8_t icw4)
{
    Pics p = { .t = isatest_new() };
    p.master = i8259_create_pair(p.t->bus, p.t->tm->m->unattached, &error_abort_slot);
    tm_connect(p.t->tm, p.master, 0, INT_LINE);
    init_pair(p.t, icw4);
    return p;
}

static void drive(Pics *p, unsigned irq, bool level)
{
    i8259_pair_sink.set(p->master, irq, level);
}

static bool int_line(Pics *p)
{
    g_assert_cmpint(i8259_int_level(p->master), ==, p->t->tm->level[INT_LINE]);
    return p->t->tm->level[INT_LINE];
}

static uint8_t isr(Pics *p, uint16_t cmd)
{
    outb(p->t, cmd, 0x0b);
    return inb(p->t, cmd);
}

static uint8_t irr(Pics *p, uint16_t cmd)
{
    outb(p->t, cmd, 0x0a);
    return inb(p->t, cmd);
}

static void test_init(void)
{
    Pics p = { .t = isatest_new() };
    p.master = i8259_create_pair(p.t->bus, p.t->tm->m->unattached, &error_abort_slot);
    tm_connect(p.t->tm, p.master, 0, INT_LINE);
    drive(&p, 1, true);
    g_assert_false(int_line(&p)); /* not initialised */
    init_pair(p.t, 1);
    g_assert_false(int_line(&p)); /* ICW1 forgets the edge */
    drive(&p, 1, false);
    drive(&p, 1, true);
    g_assert_true(int_line(&p));
    outb(p.t, DATA1, 0xfd);
    g_assert_cmphex(inb(p.t, DATA1), ==, 0xfd);
    outb(p.t, DATA1, 0x02);
    g_assert_false(int_line(&p));
    outb(p.t, CMD1, 0x11); /* clears IMR; silent until ICW4 */
    g_assert_cmphex(inb(p.t, DATA1), ==, 0);
    isatest_free(p.t);
}

static void test_nesting(void)
{
    Pics p = setup(1);
    drive(&p, 4, true);
    drive(&p, 1, true);
    g_assert_cmphex(irr(&p, CMD1), ==, 0x12);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x21); /* the higher priority */
    g_assert_cmphex(isr(&p, CMD1), ==, 0x02);
    g_assert_cmphex(irr(&p, CMD1), ==, 0x10);
    g_assert_false(int_line(&p)); /* level 4 is below what is in service */
    drive(&p, 0, true);
    g_assert_true(int_line(&p));
    g_assert_cmpint(i8259_ack(p.master), ==, 0x20);
    g_assert_cmphex(isr(&p, CMD1), ==, 0x03);
    outb(p.t, CMD1, 0x20); /* non-specific EOI ends level 0 */
    g_assert_cmphex(isr(&p, CMD1), ==, 0x02);
    outb(p.t, CMD1, 0x61); /* specific EOI of level 1 */
    g_assert_cmphex(isr(&p, CMD1), ==, 0x00);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x24);
    isatest_free(p.t);
}

static void test_cascade(void)
{
    Pics p = setup(1);
    drive(&p, 12, true);
    g_assert_true(int_line(&p));
    g_assert_cmphex(irr(&p, CMD1), ==, 0x04);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x74);
    g_assert_cmphex(isr(&p, CMD1), ==, 0x04);
    g_assert_cmphex(isr(&p, CMD2), ==, 0x10);
    drive(&p, 8, true); /* higher on the slave, but level 2 is in service: waits without SFNM */
    g_assert_false(int_line(&p));
    outb(p.t, CMD2, 0x20);
    outb(p.t, CMD1, 0x20);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x70);
    isatest_free(p.t);

    p = setup(0x11); /* special fully nested */
    drive(&p, 12, true);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x74);
    drive(&p, 8, true);
    g_assert_true(int_line(&p));
    g_assert_cmpint(i8259_ack(p.master), ==, 0x70);
    isatest_free(p.t);
}

static void test_spurious(void)
{
    Pics p = setup(1);
    drive(&p, 3, true);
    outb(p.t, DATA1, 0x08); /* masked between INT and INTA */
    g_assert_cmpint(i8259_ack(p.master), ==, 0x27);
    g_assert_cmphex(isr(&p, CMD1), ==, 0);
    outb(p.t, 0x4d1, 0x20); /* IRQ 13 is edge-only, 9 and 10 may be level */
    g_assert_cmphex(inb(p.t, 0x4d1), ==, 0);
    outb(p.t, 0x4d1, 0x06);
    outb(p.t, DATA1, 0x00);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x23);
    outb(p.t, CMD1, 0x20);
    drive(&p, 10, true); /* level: the slave's request goes away, the master's edge is latched */
    drive(&p, 10, false);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x77);
    g_assert_cmphex(isr(&p, CMD2), ==, 0);
    g_assert_cmphex(isr(&p, CMD1), ==, 0x04); /* needs an EOI, the slave does not */
    isatest_free(p.t);
}

static void test_level(void)
{
    Pics p = setup(1);
    outb(p.t, 0x4d0, 0xff);
    g_assert_cmphex(inb(p.t, 0x4d0), ==, 0xf8);
    drive(&p, 5, true);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x25);
    outb(p.t, CMD1, 0x20);
    g_assert_true(int_line(&p)); /* still high: again */
    g_assert_cmpint(i8259_ack(p.master), ==, 0x25);
    drive(&p, 5, false);
    outb(p.t, CMD1, 0x20);
    g_assert_false(int_line(&p));
    /* Edge: once, however long the input stays high. */
    drive(&p, 1, true);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x21);
    outb(p.t, CMD1, 0x20);
    g_assert_false(int_line(&p));
    isatest_free(p.t);
}

static void test_rotation(void)
{
    Pics p = setup(1);
    outb(p.t, CMD1, 0xc3); /* set priority: 3 is lowest, 4 highest */
    drive(&p, 3, true);
    drive(&p, 4, true);
    drive(&p, 0, true);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x24);
    outb(p.t, CMD1, 0xa0); /* rotate on non-specific EOI: 4 becomes lowest */
    g_assert_cmpint(i8259_ack(p.master), ==, 0x20);
    outb(p.t, CMD1, 0xe0); /* rotate on specific EOI of 0 */
    g_assert_cmpint(i8259_ack(p.master), ==, 0x23);
    outb(p.t, CMD1, 0x20);
    isatest_free(p.t);

    p = setup(3); /* automatic EOI */
    outb(p.t, CMD1, 0x80);
    drive(&p, 1, true);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x21);
    g_assert_cmphex(isr(&p, CMD1), ==, 0);
    drive(&p, 1, false);
    drive(&p, 1, true);
    drive(&p, 6, true);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x26); /* 1 rotated to the bottom */
    isatest_free(p.t);
}

static void test_special_mask_and_poll(void)
{
    Pics p = setup(1);
    drive(&p, 1, true);
    g_assert_cmpint(i8259_ack(p.master), ==, 0x21);
    drive(&p, 4, true);
    g_assert_false(int_line(&p));
    outb(p.t, DATA1, 0x02);
    outb(p.t, CMD1, 0x68);
    g_assert_true(int_line(&p)); /* a masked level in service does not inhibit */
    outb(p.t, CMD1, 0x48);
    g_assert_false(int_line(&p));
    outb(p.t, CMD1, 0x20);
    outb(p.t, CMD1, 0x0c); /* poll: the read is the acknowledge */
    g_assert_cmphex(inb(p.t, CMD1), ==, 0x84);
    g_assert_cmphex(isr(&p, CMD1), ==, 0x10);
    outb(p.t, CMD1, 0x0c);
    g_assert_cmphex(inb(p.t, DATA1), ==, 0x00);
    g_assert_cmphex(inb(p.t, DATA1), ==, 0x02);
    isatest_free(p.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8259/initialization", test_init);
    g_test_add_func("/i8259/fully-nested", test_nesting);
    g_test_add_func("/i8259/cascade", test_cascade);
    g_test_add_func("/i8259/spurious", test_spurious);
    g_test_add_func("/i8259/level", test_level);
    g_test_add_func("/i8259/rotation", test_rotation);
    g_test_add_func("/i8259/special-mask-and-poll", test_special_mask_and_poll);
    return g_test_run();
}

/* SPDX-License-Identifier: MIT
 * tests/device/test-ioapic.c - the I/O APIC, by data sheet section.
 * Threads: main.
 */
#include "rhea/hw/intc.h"
#include "tests/device/isatest.h"

typedef struct Apic {
    TestMachine *tm;
    Device *dev;
    unsigned sent;
    MsiMessage last;
} Apic;

static void message(void *opaque, MsiMessage msg)
{
    Apic *a = opaque;
    a->sent++;
    a->last = msg;
}

static Apic *setup(const char *version)
{
    Apic *a = g_new0(Apic, 1);
    a->tm = tm_new(1 << 20);
    a->tm->m->msi_sink = message;
    a->tm->m->msi_opaque = a;
    a->tm->m->msi_base = 0xfee00000;
    a->tm->m->msi_size = 0x100000;
    a->dev = tm_device_type(a->tm, &ioapic_type, NULL, "version", version, NULL);
    device_map_mem(a->dev, device_region(a->dev, 0), IOAPIC_BASE, 0);
    return a;
}

static void teardown(Apic *a)
{
    tm_free(a->tm);
    g_free(a);
}

static void put(Apic *a, uint8_t reg, uint32_t val)
{
    tm_write(a->tm, IOAPIC_BASE, 4, reg);
    tm_write(a->tm, IOAPIC_BASE + 0x10, 4, val);
}

static uint32_t get(Apic *a, uint8_t reg)
{
    tm_write(a->tm, IOAPIC_BASE, 4, reg);
    return tm_read(a->tm, IOAPIC_BASE + 0x10, 4);
}

static void drive(Apic *a, unsigned pin, bool level)
{
    ioapic_sink.set(a->dev, pin, level);
}

static void test_registers(void)
{
    Apic *a = setup("0x11");
    g_assert_cmphex(get(a, 1), ==, 0x00170011);
    put(a, 0, 0xffffffff);
    g_assert_cmphex(get(a, 0), ==, 0x0f000000);
    g_assert_cmphex(get(a, 2), ==, 0x0f000000);
    for (unsigned pin = 0; pin < 24; pin++) {
        g_assert_cmphex(get(a, 0x10 + 2 * pin), ==, 0x10000); /* masked after reset */
        put(a, 0x10 + 2 * pin, 0xffffffff);
        put(a, 0x11 + 2 * pin, 0xffffffff);
        g_assert_cmphex(get(a, 0x10 + 2 * pin), ==, 0x1afff); /* bits 12 and 14 are read-only */
        g_assert_cmphex(get(a, 0x11 + 2 * pin), ==, 0xff000000);
    }
    g_assert_cmphex(get(a, 0x40), ==, 0);
    put(a, 0x40, 1);
    teardown(a);
}

static void test_edge(void)
{
    Apic *a = setup("0x20");
    put(a, 0x11 + 2 * 4, 0x05000000);
    put(a, 0x10 + 2 * 4, 0x0041);
    drive(a, 4, true);
    g_assert_cmpuint(a->sent, ==, 1);
    g_assert_cmphex(a->last.addr, ==, 0xfee05000);
    g_assert_cmphex(a->last.data, ==, 0x0041);
    drive(a, 4, true);
    g_assert_cmpuint(a->sent, ==, 1);
    drive(a, 4, false);
    put(a, 0x10 + 2 * 4, 0x10041);
    drive(a, 4, true); /* an edge on a masked pin is not kept */
    put(a, 0x10 + 2 * 4, 0x0041);
    g_assert_cmpuint(a->sent, ==, 1);
    drive(a, 4, false);
    put(a, 0x10 + 2 * 4, 0x0941); /* logical, lowest priority */
    drive(a, 4, true);
    g_assert_cmphex(a->last.addr, ==, 0xfee0500c);
    g_assert_cmphex(a->last.data, ==, 0x0141);
    put(a, 0x10 + 2 * 2, 0x8400); /* NMI is edge-triggered whatever the bit says */
    drive(a, 2, true);
    g_assert_cmphex(a->last.data, ==, 0x0400);
    g_assert_cmphex(get(a, 0x10 + 2 * 2) & 0x4000, ==, 0);
    teardown(a);
}

static void test_level(void)
{
    Apic *a = setup("0x20");
    put(a, 0x10 + 2 * 9, 0x8051);
    drive(a, 9, true);
    g_assert_cmpuint(a->sent, ==, 1);
    g_assert_cmphex(a->last.data, ==, 0xc051);
    g_assert_cmphex(get(a, 0x10 + 2 * 9), ==, 0xc051); /* remote IRR */
    drive(a, 9, false);
    drive(a, 9, true);
    g_assert_cmpuint(a->sent, ==, 1); /* one until the EOI */
    ioapic_eoi(a->dev, 0x52);
    g_assert_cmpuint(a->sent, ==, 1);
    ioapic_eoi(a->dev, 0x51);
    g_assert_cmpuint(a->sent, ==, 2); /* still asserted */
    drive(a, 9, false);
    tm_write(a->tm, IOAPIC_BASE + 0x40, 4, 0x51);
    g_assert_cmphex(get(a, 0x10 + 2 * 9), ==, 0x8051);
    g_assert_cmpuint(a->sent, ==, 2);
    put(a, 0x10 + 2 * 9, 0x18051);
    drive(a, 9, true); /* masked, but a level lasts */
    g_assert_cmpuint(a->sent, ==, 2);
    put(a, 0x10 + 2 * 9, 0x08051);
    g_assert_cmpuint(a->sent, ==, 3);
    put(a, 0x10 + 2 * 9, 0x10051); /* to edge and back forgets remote IRR */
    g_assert_cmphex(get(a, 0x10 + 2 * 9), ==, 0x10051);
    put(a, 0x10 + 2 * 9, 0x08051);
    g_assert_cmpuint(a->sent, ==, 4);
    teardown(a);
}

static void test_versions(void)
{
    Apic *a = setup("0x11"); /* no EOI register */
    put(a, 0x10 + 2 * 9, 0x8051);
    drive(a, 9, true);
    tm_write(a->tm, IOAPIC_BASE + 0x40, 4, 0x51);
    g_assert_cmphex(get(a, 0x10 + 2 * 9), ==, 0xc051);
    teardown(a);

    TestMachine *tm = tm_new(0);
    g_autoptr(Error) err = NULL;
    Device *dev = device_new(tm->m, &ioapic_type, tm->m->peripheral, NULL);
    g_assert_true(device_set(dev, "version", "0x12", &err));
    g_assert_false(device_realize(dev, NULL, &err));
    g_assert_nonnull(strstr(error_text(err), "0x12"));
    device_remove(dev);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ioapic/registers", test_registers);
    g_test_add_func("/ioapic/edge", test_edge);
    g_test_add_func("/ioapic/level", test_level);
    g_test_add_func("/ioapic/versions", test_versions);
    return g_test_run();
}

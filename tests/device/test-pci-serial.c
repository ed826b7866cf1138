/* SPDX-License-Identifier: MIT
 * tests/device/test-pci-serial.c - the serial port as a PCI function: identity, BAR, interrupt pin.
 * Threads: main.
 */
#include "rhea/hw/pcmisc.h"
#include "tests/device/pctest.h"

enum { COMMAND = 0x04, BAR0 = 0x10, DEVFN = PCI_DEVFN(5, 0), PORT = 0xc100 };

static void test_function(void)
{
    PcTest *t = pctest_new(16 << 20, NULL);
    Device *dev = device_create(t->m, &pci_serial_type, t->m->peripheral, NULL, t->pci->bus,
                                &error_abort_slot, "addr", "5", NULL);
    g_assert_cmphex(pctest_config_read(t, DEVFN, 0, 4), ==, 0x00021b36);
    g_assert_cmphex(pctest_config_read(t, DEVFN, 8, 4), ==, 0x07000201);
    g_assert_cmphex(pctest_config_read(t, DEVFN, 0x3d, 1), ==, 1);
    pctest_config_write(t, DEVFN, BAR0, 0xffffffff, 4);
    g_assert_cmphex(pctest_config_read(t, DEVFN, BAR0, 4), ==, 0xfffffff9); /* eight ports */
    pctest_config_write(t, DEVFN, BAR0, PORT, 4);
    g_assert_cmphex(pctest_in(t, PORT + 5, 1), ==, 0xff);
    pctest_config_write(t, DEVFN, COMMAND, 1, 2);
    g_assert_cmphex(pctest_in(t, PORT + 5, 1), ==, 0x60);
    g_assert_false(device_irq(dev, 0)->level);
    pctest_out(t, PORT + 1, 2, 1); /* the transmitter is empty */
    g_assert_true(device_irq(dev, 0)->level);
    g_assert_cmphex(pctest_config_read(t, DEVFN, 0x06, 2) & 8, ==, 8); /* interrupt status */
    pctest_in(t, PORT + 2, 1);
    g_assert_false(device_irq(dev, 0)->level);
    pctest_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/pci-serial/function", test_function);
    return g_test_run();
}

/* SPDX-License-Identifier: MIT
 * tests/device/test-msix.c - hw/pci/msix.c: MSI-X table, masks, pending bits, reset and saved state, by PCI
 * Local Bus 3.0, 6.8.2 and 6.8.3. Threads: main.
 */
#include "pctest.h"
#include "rhea/hw/msix.h"

enum { FN = PCI_DEVFN(4, 0), CAP = 0x40, BAR = 0x40000000, PBA = BAR + 0x800, VECTORS = 40 };

typedef struct Probe {
    Device dev;
    PciMsix msix;
} Probe;

static bool probe_realize(Device *dev, Error **errp)
{
    Probe *p = dev_as(Probe, dev);
    if (!pci_msix_init(&p->msix, dev, VECTORS, 1, errp)) {
        return false;
    }
    device_add_region(dev, &p->msix.bar);
    return true;
}

static const PciOps probe_ops = {
    .vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .bar = { [1] = { PCI_BAR_MEM32 } },
};
static const VmField probe_fields[] = { VM_STRUCT(Probe, msix, pci_msix_state), { 0 } };
static const VmState probe_state = { .name = "probe", .version = 1, .oldest = 1, .fields = probe_fields };
static const DeviceType probe_type = {
    .name = "probe", .size = sizeof(Probe), .bus_type = &pci_bus_type, .bus_ops = &probe_ops,
    .realize = probe_realize, .vmstate = &probe_state,
};

static MsiMessage last;
static unsigned sent;

static void take_msi(void *opaque G_GNUC_UNUSED, MsiMessage msg)
{
    last = msg;
    sent++;
}

static Probe *open_probe(PcTest **t)
{
    *t = pctest_new(16 * MIB, NULL);
    Machine *m = (*t)->m;
    m->msi_sink = take_msi;
    m->msi_base = 0xfee00000;
    m->msi_size = 0x100000;
    sent = 0;
    Device *d = device_create(m, &probe_type, m->peripheral, NULL, (*t)->pci->bus, &error_abort_slot, "addr",
                              "4", NULL);
    pctest_config_write(*t, FN, 0x14, BAR, 4);
    pctest_config_write(*t, FN, 4, 6, 2); /* memory space, bus master */
    return dev_as(Probe, d);
}

static void notify(Probe *p, unsigned vector)
{
    domain_lock(p->dev.domain);
    pci_msix_notify(&p->msix, vector);
    domain_unlock(p->dev.domain);
}

static void set_vector(PcTest *t, unsigned v, uint32_t data, bool masked)
{
    pctest_write(t, BAR + 16 * v, 0xfee01003, 4); /* the low bits of an address are zero */
    pctest_write(t, BAR + 16 * v + 4, 0, 4);
    pctest_write(t, BAR + 16 * v + 8, data, 4);
    pctest_write(t, BAR + 16 * v + 12, masked ? UINT32_MAX : 0, 4);
}

static void test_capability(void)
{
    PcTest *t;
    open_probe(&t);
    g_assert_cmphex(pctest_config_read(t, FN, 0x34, 1), ==, CAP);
    g_assert_cmphex(pctest_config_read(t, FN, 6, 2) & 0x10, ==, 0x10);
    g_assert_cmphex(pctest_config_read(t, FN, CAP, 4), ==, (VECTORS - 1) << 16 | 0x11);
    g_assert_cmphex(pctest_config_read(t, FN, CAP + 4, 4), ==, 1);
    g_assert_cmphex(pctest_config_read(t, FN, CAP + 8, 4), ==, 0x801);
    pctest_config_write(t, FN, CAP + 2, 0xffff, 2); /* size and reserved bits are read-only */
    g_assert_cmphex(pctest_config_read(t, FN, CAP + 2, 2), ==, 0xc000 | (VECTORS - 1));
    pctest_config_write(t, FN, CAP + 4, 0xffffffff, 4);
    g_assert_cmphex(pctest_config_read(t, FN, CAP + 4, 4), ==, 1);
    g_assert_cmphex(pctest_read(t, BAR + 12, 4), ==, 1); /* masked after reset */
    g_assert_cmphex(pctest_read(t, BAR + 16 * VECTORS + 12, 4), ==, 0);
    set_vector(t, 3, 0x1234, true);
    g_assert_cmphex(pctest_read(t, BAR + 48, 8), ==, 0xfee01000);
    g_assert_cmphex(pctest_read(t, BAR + 56, 8), ==, 0x100001234);
    pctest_free(t);
}

static void test_masks(void)
{
    PcTest *t;
    Probe *p = open_probe(&t);
    set_vector(t, 2, 0x42, false);
    set_vector(t, 35, 0x63, true);
    notify(p, 2); /* not enabled: nothing, not even pending */
    g_assert_cmphex(pctest_read(t, PBA, 4), ==, 0);
    pctest_config_write(t, FN, CAP + 2, 0x8000, 2);
    notify(p, 2);
    g_assert_cmpuint(sent, ==, 1);
    g_assert_cmphex(last.addr, ==, 0xfee01000);
    g_assert_cmphex(last.data, ==, 0x42);
    notify(p, VECTORS);
    notify(p, 0xffff);
    g_assert_cmpuint(sent, ==, 1);

    /* a masked vector waits, and is sent once */
    notify(p, 35);
    notify(p, 35);
    g_assert_cmpuint(sent, ==, 1);
    g_assert_cmphex(pctest_read(t, PBA, 8), ==, UINT64_C(1) << 35);
    pctest_write(t, PBA, 0, 8);
    g_assert_cmphex(pctest_read(t, PBA, 8), ==, UINT64_C(1) << 35);
    pctest_write(t, BAR + 16 * 35 + 12, 0, 4);
    g_assert_cmpuint(sent, ==, 2);
    g_assert_cmphex(last.data, ==, 0x63);
    g_assert_cmphex(pctest_read(t, PBA, 8), ==, 0);

    /* the function's mask holds all; its end lets go what waits */
    pctest_config_write(t, FN, CAP + 2, 0xc000, 2);
    notify(p, 2);
    notify(p, 35);
    g_assert_cmpuint(sent, ==, 2);
    g_assert_cmphex(pctest_read(t, PBA, 8), ==, UINT64_C(1) << 35 | 4);
    domain_lock(p->dev.domain);
    pci_msix_drop(&p->msix, 2);
    domain_unlock(p->dev.domain);
    pctest_config_write(t, FN, CAP + 2, 0x8000, 2);
    g_assert_cmpuint(sent, ==, 3);

    /* a message is a write by a bus master */
    pctest_config_write(t, FN, 4, 2, 2);
    notify(p, 2);
    g_assert_cmpuint(sent, ==, 3);
    pctest_free(t);
}

static void test_reset_and_state(void)
{
    PcTest *t, *u;
    Probe *p = open_probe(&t);
    set_vector(t, 2, 0x42, true);
    pctest_config_write(t, FN, CAP + 2, 0x8000, 2);
    notify(p, 2);
    g_autoptr(GByteArray) state = g_byte_array_new();
    device_tree_save(t->m->root, state);
    machine_reset(t->m, RESET_COLD);
    g_assert_cmphex(pctest_config_read(t, FN, CAP + 2, 2), ==, VECTORS - 1);
    pctest_config_write(t, FN, 0x14, BAR, 4);
    pctest_config_write(t, FN, 4, 6, 2);
    g_assert_cmphex(pctest_read(t, PBA, 4), ==, 0);
    g_assert_cmphex(pctest_read(t, BAR + 32, 4), ==, 0);
    pctest_free(t);

    open_probe(&u);
    const uint8_t *at = state->data;
    device_tree_load(u->m->root, &at, state->data + state->len, &error_abort_slot);
    g_assert_cmphex(pctest_read(u, PBA, 4), ==, 4);
    pctest_write(u, BAR + 16 * 2 + 12, 0, 4);
    g_assert_cmpuint(sent, ==, 1);
    g_assert_cmphex(last.data, ==, 0x42);
    pctest_free(u);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/msix/capability", test_capability);
    g_test_add_func("/msix/masks", test_masks);
    g_test_add_func("/msix/reset-and-state", test_reset_and_state);
    return g_test_run();
}

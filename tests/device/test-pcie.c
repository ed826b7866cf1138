/* SPDX-License-Identifier: MIT
 * tests/device/test-pcie.c - bridges, root ports, the PCI Express capability, ECAM and MSI: hw/pci/bridge.c,
 * root-port.c, pcie.c, msi.c and the bus numbers of pci-config.c.
 * Threads: main.
 */
#include "pctest.h"
#include "rhea/hw/msi.h"
#include "rhea/hw/pcie.h"

enum { ECAM = 0xb0000000, PORT = PCI_DEVFN(4, 0), ISA = PCI_DEVFN(1, 0) };

typedef struct Probe {
    Device dev;
    MemRegion io, mem;
    IrqLine irq;
    PciMsi msi;
} Probe;

static uint64_t probe_read(void *opaque G_GNUC_UNUSED, MemAccess *a)
{
    return 0x5a0000 | a->off;
}

static void probe_write(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED, uint64_t val G_GNUC_UNUSED) {}

static bool probe_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = probe_read, .write = probe_write, .min = 1, .max = 4, .impl_min = 4, .impl_max = 4
    };
    Probe *p = dev_as(Probe, dev);
    region_init_io(&p->io, dev, "probe-io", &ops, p, 0x20);
    region_init_io(&p->mem, dev, "probe-mem", &ops, p, 0x1000);
    device_add_region(dev, &p->io);
    device_add_region(dev, &p->mem);
    device_add_irq(dev, &p->irq);
    pci_set_wmask(dev, 0x104, 0xff00, 4);
    return pci_msi_init(&p->msi, dev, 4, errp);
}

static const PciOps probe_ops = {
    .vendor = 0x1234,
    .device = 0x5678,
    .class_code = 0xff0000,
    .intx_pin = 1,
    .express = true,
    .bar = { { PCI_BAR_IO }, { PCI_BAR_MEM32 } },
};
static const DeviceType probe_type = {
    .name = "probe",
    .size = sizeof(Probe),
    .bus_type = &pci_bus_type,
    .bus_ops = &probe_ops,
    .realize = probe_realize,
};

typedef struct Pcie {
    PcTest *t;
    Device *port;
    Probe *probe; /* behind the port */
    PcieEcam ecam;
} Pcie;

static Device *add(Pcie *p, const char *type, const char *id, Bus *bus, const char *addr, Error **errp)
{
    const DeviceType *t = strcmp(type, "probe") ? device_type_find(type) : &probe_type;
    return device_create(p->t->m, t, p->t->m->peripheral, id, bus, errp, "addr", addr, NULL);
}

static void open_pcie(Pcie *p)
{
    memset(p, 0, sizeof(*p));
    p->t = pctest_new(16 * MIB, NULL);
    p->t->pci->express = true;
    p->port = add(p, "pcie-root-port", "rp", p->t->pci->bus, "4", &error_abort_slot);
    p->probe = dev_as(Probe, add(p, "probe", "p", p->port->buses->pdata[0], "0", &error_abort_slot));
    pcie_ecam_init(&p->ecam, NULL, p->t->pci);
    region_map(&p->t->m->sysmem, ECAM, &p->ecam.region, 2);
}

static void close_pcie(Pcie *p)
{
    region_unmap(&p->ecam.region);
    region_fini(&p->ecam.region);
    pctest_free(p->t);
}

static uint32_t get(Pcie *p, unsigned bus, unsigned devfn, unsigned off, unsigned n)
{
    return pctest_read(p->t, ECAM + (bus << 20) + (devfn << 12) + off, n);
}

static void set(Pcie *p, unsigned bus, unsigned devfn, unsigned off, uint32_t v, unsigned n)
{
    pctest_write(p->t, ECAM + (bus << 20) + (devfn << 12) + off, v, n);
}

/* Bus 2 behind the port, I/O C000h-CFFFh, memory E0000000h-E00FFFFFh. */
static void program_port(Pcie *p)
{
    set(p, 0, PORT, 0x18, 0x00020200, 4);
    set(p, 0, PORT, 0x1c, 0xc0c0, 2);
    set(p, 0, PORT, 0x20, 0xe000e000, 4);
    set(p, 0, PORT, 0x24, 0x0000fff0, 4); /* closed */
    set(p, 0, PORT, 0x04, 7, 2);
    set(p, 2, 0, 0x10, 0xc001, 4);
    set(p, 2, 0, 0x14, 0xe0001000, 4);
    set(p, 2, 0, 0x04, 7, 2);
}

static unsigned find_cap(Pcie *p, unsigned bus, unsigned devfn, unsigned id)
{
    unsigned at = get(p, bus, devfn, 0x34, 1);
    for (unsigned i = 0; at && i < 48; i++) {
        if (get(p, bus, devfn, at, 1) == id) {
            return at;
        }
        at = get(p, bus, devfn, at + 1, 1);
    }
    return 0;
}

static void test_ecam(void)
{
    Pcie p;
    open_pcie(&p);
    g_assert_cmphex(get(&p, 0, 0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(get(&p, 0, ISA, 2, 2), ==, 0x7000);
    g_assert_cmphex(get(&p, 0, ISA, 0x0e, 1), ==, 0x80);
    g_assert_cmphex(get(&p, 0, PCI_DEVFN(9, 0), 0, 4), ==, 0xffffffff);
    g_assert_cmphex(get(&p, 0, 0, 0x100, 4), ==, 0xffffffff); /* a conventional function has no more */
    g_assert_cmphex(get(&p, 0, PORT, 0x100, 4), ==, 0);
    g_assert_cmphex(get(&p, 0, PORT, 0, 4), ==, 0x000c1b36);
    g_assert_cmphex(get(&p, 0, PORT, 0x0e, 1), ==, 1);
    program_port(&p);
    set(&p, 2, 0, 0x104, 0x12345678, 4); /* extended space obeys the mask, too */
    g_assert_cmphex(get(&p, 2, 0, 0x104, 4), ==, 0x5600);
    g_assert_cmphex(pctest_config_read(p.t, 2 << 8, 0, 4), ==, 0x56781234); /* and by the ports */
    close_pcie(&p);
}

static void test_numbers(void)
{
    Pcie p;
    open_pcie(&p);
    g_assert_cmphex(get(&p, 1, 0, 0, 4), ==, 0xffffffff);
    set(&p, 0, PORT, 0x18, 0x00050300, 4);
    g_assert_cmphex(get(&p, 0, PORT, 0x18, 4), ==, 0x00050300);
    g_assert_cmphex(get(&p, 3, 0, 0, 4), ==, 0x56781234);
    g_assert_cmphex(get(&p, 3, PCI_DEVFN(1, 0), 0, 4), ==, 0xffffffff);
    g_assert_cmphex(get(&p, 4, 0, 0, 4), ==, 0xffffffff); /* in the range, but no bridge has it */
    g_assert_cmphex(get(&p, 2, 0, 0, 4), ==, 0xffffffff);
    g_assert_cmphex(pci_func(&p.probe->dev)->dma.requester, ==, 0x300);
    set(&p, 0, PORT, 0x18, 0x00030400, 4); /* subordinate below secondary: nothing behind */
    g_assert_cmphex(get(&p, 4, 0, 0, 4), ==, 0xffffffff);
    machine_reset(p.t->m, RESET_COLD);
    g_assert_cmphex(get(&p, 0, PORT, 0x18, 4), ==, 0);
    g_assert_cmphex(get(&p, 0, 0, 0, 4), ==, 0x12378086);
    close_pcie(&p);
}

static void test_windows(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    g_assert_cmphex(pctest_in(p.t, 0xc004, 4), ==, 0x5a0004);
    g_assert_cmphex(pctest_read(p.t, 0xe0001010, 4), ==, 0x5a0010);
    set(&p, 0, PORT, 0x20, 0xe010e010, 4); /* the window moves away */
    g_assert_cmphex(pctest_read(p.t, 0xe0001010, 4), ==, 0xffffffff);
    set(&p, 0, PORT, 0x24, 0xe000e000, 4); /* the prefetchable one lets it pass as well */
    g_assert_cmphex(pctest_read(p.t, 0xe0001010, 4), ==, 0x5a0010);
    set(&p, 0, PORT, 0x28, 1, 4); /* base above limit: closed */
    g_assert_cmphex(pctest_read(p.t, 0xe0001010, 4), ==, 0xffffffff);
    set(&p, 0, PORT, 0x20, 0xe000e000, 4);
    g_assert_cmphex(pctest_read(p.t, 0xe0001010, 4), ==, 0x5a0010);
    set(&p, 0, PORT, 0x04, 5, 2); /* no memory any more, I/O stays */
    g_assert_cmphex(pctest_read(p.t, 0xe0001010, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_in(p.t, 0xc004, 4), ==, 0x5a0004);
    set(&p, 0, PORT, 0x1c, 0xd0d0, 2);
    g_assert_cmphex(pctest_in(p.t, 0xc004, 4), ==, 0xffffffff);
    close_pcie(&p);
}

static void test_master(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    uint32_t v = 0x11223344;
    g_assert_cmpint(dma_write(&pci_func(&p.probe->dev)->dma, 0x5000, &v, 4), ==, MEM_OK);
    g_assert_cmphex(pctest_read(p.t, 0x5000, 4), ==, v);
    set(&p, 0, PORT, 0x04, 3, 2); /* the port forwards them all the same: see bridge.c */
    v = 0x55667788;
    g_assert_cmpint(dma_write(&pci_func(&p.probe->dev)->dma, 0x5000, &v, 4), ==, MEM_OK);
    set(&p, 2, 0, 0x04, 3, 2);
    v = 0;
    g_assert_cmpint(dma_write(&pci_func(&p.probe->dev)->dma, 0x5000, &v, 4), !=, MEM_OK);
    g_assert_cmphex(pctest_read(p.t, 0x5000, 4), ==, 0x55667788);
    close_pcie(&p);
}

static void test_pins(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    set(&p, 0, ISA, 0x63, 11, 1); /* INTA of slot 4 is PIRQD */
    IrqOr *line = &piix3_isa_bus(p.t->piix3)->irq_or[11];
    irq_set(&p.probe->irq, true);
    g_assert_true(line->out.level);
    set(&p, 0, PORT, 0x04, 0x407, 2); /* INTx disable is about the port's own */
    g_assert_true(line->out.level);
    set(&p, 2, 0, 0x04, 0x407, 2);
    g_assert_false(line->out.level);
    set(&p, 2, 0, 0x04, 7, 2);
    g_assert_true(line->out.level);
    machine_reset(p.t->m, RESET_COLD);
    g_assert_false(line->out.level);
    close_pcie(&p);
}

static void test_capability(void)
{
    Pcie p;
    open_pcie(&p);
    unsigned cap = find_cap(&p, 0, PORT, 0x10);
    g_assert_cmphex(cap, !=, 0);
    g_assert_cmphex(get(&p, 0, PORT, cap + 2, 2), ==, 0x0142);
    g_assert_cmphex(get(&p, 0, PORT, cap + 0x12, 2), ==, 0x2011); /* up: somebody is there */
    g_assert_cmphex(get(&p, 0, PORT, cap + 0x1a, 2), ==, 0x40);
    set(&p, 0, PORT, cap + 8, 0xffff, 2);
    g_assert_cmphex(get(&p, 0, PORT, cap + 8, 2), ==, 0x78ff);
    program_port(&p);
    unsigned end = find_cap(&p, 2, 0, 0x10);
    g_assert_cmphex(get(&p, 2, 0, end + 2, 2), ==, 0x0002);
    Error *err = NULL;
    g_assert_null(add(&p, "probe", "q", p.port->buses->pdata[0], "1", &err));
    g_assert_cmpstr(
        error_text(err), ==,
        "device 'q': PCI address 01.0: bus 'rp' belongs to a PCI Express port and has slot 0 only");
    error_free(err);
    err = NULL;
    g_assert_null(add(&p, "pcie-root-port", "rp2", p.t->pci->bus, "5", &err));
    g_assert_cmpstr(error_text(err), ==, "device 'rp2': slot 0 of chassis 0 is taken by 'rp'");
    error_free(err);
    err = NULL;
    g_assert_null(add(&p, "pcie-root-port", "rp3", p.port->buses->pdata[0], "0.1", &err));
    error_free(err);
    Device *plain = add(&p, "probe", "r", p.t->pci->bus, "6", &error_abort_slot);
    g_assert_cmphex(pci_func(plain)->express_cap, ==, 0); /* on the root bus: a conventional function */
    close_pcie(&p);
}

static void test_secondary_reset(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    set(&p, 2, 0, 0x3c, 0x55, 1);
    set(&p, 0, PORT, 0x3e, 0x40, 2);
    g_assert_cmphex(get(&p, 2, 0, 0x3c, 1), ==, 0);
    g_assert_cmphex(get(&p, 2, 0, 0x04, 2), ==, 0);
    g_assert_cmphex(get(&p, 0, PORT, 0x04, 2), ==, 7); /* the bridge itself goes on */
    close_pcie(&p);
}

static void test_msi(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    unsigned cap = find_cap(&p, 2, 0, 5);
    g_assert_cmphex(get(&p, 2, 0, cap + 2, 2), ==, 0x0184); /* four messages, 64 bits, maskable */
    set(&p, 2, 0, cap + 4, 0x6003, 4);
    g_assert_cmphex(get(&p, 2, 0, cap + 4, 4), ==, 0x6000);
    set(&p, 2, 0, cap + 12, 0x4a3f, 2);
    pci_msi_notify(&p.probe->msi, 0);
    g_assert_cmphex(pctest_read(p.t, 0x6000, 4), ==, 0); /* not enabled */
    set(&p, 2, 0, cap + 2, 0x0021, 2);                   /* four granted */
    pci_msi_notify(&p.probe->msi, 2);
    g_assert_cmphex(pctest_read(p.t, 0x6000, 4), ==, 0x4a3e);
    set(&p, 2, 0, cap + 2, 0x0011, 2); /* two: what is above becomes the last of them */
    pci_msi_notify(&p.probe->msi, 3);
    g_assert_cmphex(pctest_read(p.t, 0x6000, 4), ==, 0x4a3f);
    pctest_write(p.t, 0x6000, 0, 4);
    set(&p, 2, 0, cap + 16, 1, 4);
    pci_msi_notify(&p.probe->msi, 0);
    g_assert_cmphex(pctest_read(p.t, 0x6000, 4), ==, 0);
    g_assert_cmphex(get(&p, 2, 0, cap + 20, 4), ==, 1);
    set(&p, 2, 0, cap + 16, 0, 4);
    g_assert_cmphex(pctest_read(p.t, 0x6000, 4), ==, 0x4a3e);
    g_assert_cmphex(get(&p, 2, 0, cap + 20, 4), ==, 0);
    machine_reset(p.t->m, RESET_COLD);
    program_port(&p);
    g_assert_cmphex(get(&p, 2, 0, cap + 2, 2), ==, 0x0184);
    g_assert_cmphex(get(&p, 2, 0, cap + 4, 4), ==, 0);
    close_pcie(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/pcie/ecam", test_ecam);
    g_test_add_func("/pcie/numbers", test_numbers);
    g_test_add_func("/pcie/windows", test_windows);
    g_test_add_func("/pcie/master", test_master);
    g_test_add_func("/pcie/pins", test_pins);
    g_test_add_func("/pcie/capability", test_capability);
    g_test_add_func("/pcie/secondary-reset", test_secondary_reset);
    g_test_add_func("/pcie/msi", test_msi);
    return g_test_run();
}

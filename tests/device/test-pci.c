/* SPDX-License-Identifier: MIT
 * tests/device/test-pci.c - PCI configuration, BARs, interrupt pins; PAM, SMRAM, PM of the chipset:
 * hw/pci/pci.c, pci-config.c, pci-print.c, hw/i386/i440fx.c, shadow.c, piix3.c, pirq.c, piix4pm.c, pm1.c.
 */
#include "hw/i386/shadow.h"
#include "pctest.h"

enum { HOST = 0, ISA = PCI_DEVFN(1, 0), PM = PCI_DEVFN(1, 3) };

/* A function with one I/O, one 32-bit and one 64-bit BAR; its registers read back their offset. */
typedef struct Probe {
    Device dev;
    MemRegion io, mem, big;
    IrqLine irq;
    uint32_t last;
} Probe;

static uint64_t probe_read(void *opaque G_GNUC_UNUSED, MemAccess *a)
{
    return 0x5a0000 | a->off;
}

static void probe_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    ((Probe *)opaque)->last = val;
}

static bool probe_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = {
        .read = probe_read, .write = probe_write, .min = 1, .max = 4, .impl_min = 4, .impl_max = 4
    };
    Probe *p = dev_as(Probe, dev);
    region_init_io(&p->io, dev, "probe-io", &ops, p, 0x18);
    region_init_io(&p->mem, dev, "probe-mem", &ops, p, 0x1000);
    region_init_io(&p->big, dev, "probe-big", &ops, p, 0x10000);
    device_add_region(dev, &p->io);
    device_add_region(dev, &p->mem);
    device_add_region(dev, &p->big);
    device_add_irq(dev, &p->irq);
    return pci_add_capability(dev, 0x09, 8) == 0x40 && pci_add_capability(dev, 0x09, 0x10) == 0x48;
}

static const PciOps probe_ops = {
    .vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .intx_pin = 1,
    .bar = { { PCI_BAR_IO }, { PCI_BAR_MEM32 }, { PCI_BAR_MEM64, true } },
};
static const DeviceType probe_type = {
    .name = "probe",
    .size = sizeof(Probe),
    .bus_type = &pci_bus_type,
    .bus_ops = &probe_ops,
    .realize = probe_realize,
};

static Probe *add_probe(PcTest *t, const char *addr)
{
    Device *d = device_create(t->m, &probe_type, t->m->peripheral, NULL, t->pci->bus, &error_abort_slot,
                              "addr", addr, NULL);
    return dev_as(Probe, d);
}

static void test_identity(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    g_assert_cmphex(pctest_config_read(t, HOST, 0, 4), ==, 0x12378086);
    g_assert_cmphex(pctest_config_read(t, ISA, 0, 4), ==, 0x70008086);
    g_assert_cmphex(pctest_config_read(t, ISA, 0x0e, 1), ==, 0x80);
    g_assert_cmphex(pctest_config_read(t, PM, 2, 2), ==, 0x7113);
    g_assert_cmphex(pctest_config_read(t, PCI_DEVFN(5, 0), 0, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_config_read(t, PCI_DEVFN(5, 0), 1, 1), ==, 0xff);
    /* the address register answers doublewords only, and enable must be set */
    pctest_out(t, 0xcf8, 0x80000000, 4);
    pctest_out(t, 0xcfa, 0x1234, 2);
    g_assert_cmphex(pctest_in(t, 0xcf8, 4), ==, 0x80000000);
    pctest_out(t, 0xcf8, 0x00000000, 4);
    g_assert_cmphex(pctest_in(t, 0xcfc, 4), ==, 0xffffffff);
    /* read-only bits stay */
    pctest_config_write(t, HOST, 0, 0, 4);
    pctest_config_write(t, HOST, 4, 0, 2);
    g_assert_cmphex(pctest_config_read(t, HOST, 0, 4), ==, 0x12378086);
    g_assert_cmphex(pctest_config_read(t, HOST, 4, 2), ==, 0x0006);
    pctest_free(t);
}

static void test_bars(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    Probe *p = add_probe(t, "4");
    unsigned fn = PCI_DEVFN(4, 0);
    for (unsigned k = 0; k < 4; k++) {
        pctest_config_write(t, fn, 0x10 + 4 * k, 0xffffffff, 4);
    }
    g_assert_cmphex(pctest_config_read(t, fn, 0x10, 4), ==, 0xffffffe1); /* 18h rounds up to 20h */
    g_assert_cmphex(pctest_config_read(t, fn, 0x14, 4), ==, 0xfffff000);
    g_assert_cmphex(pctest_config_read(t, fn, 0x18, 4), ==, 0xffff000c);
    g_assert_cmphex(pctest_config_read(t, fn, 0x1c, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_config_read(t, fn, 0x20, 4), ==, 0);
    pctest_config_write(t, fn, 4, 3, 2); /* sizing with decoding on must not map the top of the space */
    pctest_config_write(t, fn, 0x10, 0xc001, 4);
    pctest_config_write(t, fn, 0x14, 0xe0000000, 4);
    pctest_config_write(t, fn, 0x18, 0x00000000, 4);
    pctest_config_write(t, fn, 0x1c, 0x00000080, 4);
    g_assert_cmphex(pctest_in(t, 0xc004, 4), ==, 0x5a0004);
    g_assert_cmphex(pctest_in(t, 0xc01c, 4), ==, 0xffffffff); /* inside the BAR, behind the registers */
    g_assert_cmphex(pctest_read(t, 0xe0000010, 4), ==, 0x5a0010);
    g_assert_cmphex(pctest_read(t, 0x8000000020, 4), ==, 0x5a0020);
    pctest_write(t, 0xe0000000, 0x77, 4);
    g_assert_cmphex(p->last, ==, 0x77);
    pctest_config_write(t, fn, 0x14, 0xe1000000, 4);
    g_assert_cmphex(pctest_read(t, 0xe0000010, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_read(t, 0xe1000010, 4), ==, 0x5a0010);
    pctest_config_write(t, fn, 4, 1, 2);
    g_assert_cmphex(pctest_read(t, 0xe1000010, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_in(t, 0xc004, 4), ==, 0x5a0004);
    pctest_config_write(t, fn, 0x14, 0, 4); /* address 0 is "not set", RAM stays */
    pctest_config_write(t, fn, 4, 3, 2);
    pctest_write(t, 0x10, 0x1122, 2);
    g_assert_cmphex(pctest_read(t, 0x10, 2), ==, 0x1122);
    /* capabilities: 40h -> 48h has the first one as its successor */
    g_assert_cmphex(pctest_config_read(t, fn, 0x34, 1), ==, 0x48);
    g_assert_cmphex(pctest_config_read(t, fn, 0x49, 1), ==, 0x40);
    g_assert_cmphex(pctest_config_read(t, fn, 0x06, 2) & 0x10, ==, 0x10);
    machine_reset(t->m, RESET_COLD);
    g_assert_cmphex(pctest_config_read(t, fn, 4, 2), ==, 0);
    g_assert_cmphex(pctest_config_read(t, fn, 0x10, 4), ==, 1);
    g_assert_cmphex(pctest_in(t, 0xc004, 4), ==, 0xffffffff);
    pctest_free(t);
}

static bool isa_level(PcTest *t, unsigned irq)
{
    return piix3_isa_bus(t->piix3)->irq_or[irq].out.level;
}

static void test_intx(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    Probe *a = add_probe(t, "4"), *b = add_probe(t, "8"); /* four slots apart: the same PIRQ (D) */
    unsigned fn = PCI_DEVFN(4, 0);
    pctest_config_write(t, ISA, 0x63, 11, 1);
    irq_set(&a->irq, true);
    g_assert_true(isa_level(t, 11));
    g_assert_cmphex(pctest_config_read(t, fn, 6, 2) & 8, ==, 8);
    irq_set(&b->irq, true);
    irq_set(&a->irq, false);
    g_assert_true(isa_level(t, 11));
    irq_set(&b->irq, false);
    g_assert_false(isa_level(t, 11));
    irq_set(&a->irq, true);
    pctest_config_write(t, fn, 4, 0x400, 2); /* INTx disable hides the level, not the status bit */
    g_assert_false(isa_level(t, 11));
    g_assert_cmphex(pctest_config_read(t, fn, 6, 2) & 8, ==, 8);
    pctest_config_write(t, fn, 4, 0, 2);
    g_assert_true(isa_level(t, 11));
    pctest_config_write(t, ISA, 0x63, 10, 1); /* rerouting moves it */
    g_assert_false(isa_level(t, 11));
    g_assert_true(isa_level(t, 10));
    pctest_config_write(t, ISA, 0x63, 0x80, 1);
    g_assert_false(isa_level(t, 10));
    pctest_config_write(t, ISA, 0x63, 13, 1); /* reserved */
    g_assert_false(isa_level(t, 13));
    machine_reset(t->m, RESET_COLD);
    g_assert_cmphex(pctest_config_read(t, ISA, 0x63, 1), ==, 0x80);
    pctest_free(t);
}

static void test_places(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    g_autoptr(Error) err = NULL, err2 = NULL, err3 = NULL, err4 = NULL;
    Device *first =
        device_create(t->m, &probe_type, t->m->peripheral, "first", t->pci->bus, &error_abort_slot, NULL);
    g_assert_cmpuint(pci_func(first)->devfn, ==, PCI_DEVFN(2, 0));
    g_assert_null(
        device_create(t->m, &probe_type, t->m->peripheral, NULL, t->pci->bus, &err, "addr", "2", NULL));
    g_assert_nonnull(strstr(error_text(err), "first"));
    g_assert_null(
        device_create(t->m, &probe_type, t->m->peripheral, NULL, t->pci->bus, &err2, "addr", "2.1", NULL));
    g_assert_nonnull(strstr(error_text(err2), "multifunction"));
    g_assert_null(
        device_create(t->m, &probe_type, t->m->peripheral, NULL, t->pci->bus, &err3, "addr", "20", NULL));
    add_probe(t, "9.1");
    g_assert_null(
        device_create(t->m, &probe_type, t->m->peripheral, NULL, t->pci->bus, &err4, "addr", "9", NULL));
    g_assert_nonnull(strstr(error_text(err4), "multifunction"));
    g_autoptr(GString) out = g_string_new(NULL);
    pci_print(t->pci, out);
    g_assert_nonnull(strstr(out->str, "Host bridge: PCI device 8086:1237"));
    g_assert_nonnull(strstr(out->str, "id \"first\""));
    /* removal leaves nothing behind */
    pctest_config_write(t, PCI_DEVFN(2, 0), 0x14, 0xe0000000, 4);
    pctest_config_write(t, PCI_DEVFN(2, 0), 4, 2, 2);
    g_assert_cmphex(pctest_read(t, 0xe0000000, 4), ==, 0x5a0000);
    device_remove(first);
    g_assert_cmphex(pctest_read(t, 0xe0000000, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_config_read(t, PCI_DEVFN(2, 0), 0, 4), ==, 0xffffffff);
    pctest_free(t);
}

static void test_pam(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    RamBlock *bios = ram_new(t->m, "bios", 0x40000, &error_abort_slot);
    for (unsigned i = 0; i < bios->size; i++) {
        bios->host[i] = 0x80 | (i >> 12);
    }
    pc_shadow_set_bios(i440fx_shadow(t->i440fx), bios);
    machine_reset(t->m, RESET_COLD);
    uint8_t rom_f0000 = 0x80 | 0x30;
    g_assert_cmphex(pctest_read(t, 0xf0000, 1), ==, rom_f0000);
    pctest_write(t, 0xf0000, 0x11, 1); /* lost */
    g_assert_cmphex(pctest_read(t, 0xf0000, 1), ==, rom_f0000);
    pctest_config_write(t, HOST, 0x59, 0x20, 1); /* write-only: the classic shadow copy */
    pctest_write(t, 0xf0000, 0x22, 1);
    pctest_write(t, 0xf1000, 0x4433221100, 8);
    g_assert_cmphex(pctest_read(t, 0xf0000, 1), ==, rom_f0000);
    pctest_config_write(t, HOST, 0x59, 0x10, 1); /* read-only: RAM, writes lost */
    g_assert_cmphex(pctest_read(t, 0xf0000, 1), ==, 0x22);
    g_assert_cmphex(pctest_read(t, 0xf1000, 8), ==, 0x4433221100);
    pctest_write(t, 0xf0000, 0x33, 1);
    g_assert_cmphex(pctest_read(t, 0xf0000, 1), ==, 0x22);
    pctest_config_write(t, HOST, 0x59, 0xff, 1); /* both; the lower half is reserved */
    g_assert_cmphex(pctest_config_read(t, HOST, 0x59, 1), ==, 0x30);
    pctest_write(t, 0xf0000, 0x44, 1);
    g_assert_cmphex(pctest_read(t, 0xf0000, 1), ==, 0x44);
    /* each 16 KiB segment by itself */
    for (unsigned k = 0; k < 12; k++) {
        hwaddr at = 0xc0000 + k * 0x4000;
        pctest_config_write(t, HOST, 0x5a + k / 2, k % 2 ? 0x30 : 0x03, 1);
        pctest_write(t, at, 0xa0 + k, 1);
        pctest_write(t, at + 0x3fff, 0xb0 + k, 1);
        g_assert_cmphex(pctest_read(t, at, 1), ==, 0xa0 + k);
        g_assert_cmphex(pctest_read(t, at + 0x3fff, 1), ==, 0xb0 + k);
        pctest_config_write(t, HOST, 0x5a + k / 2, 0, 1);
        g_assert_cmphex(pctest_read(t, at, 1), ==,
                        at < 0xe0000 ? 0xff : 0x80 | ((at - 0xe0000) >> 12) | 0x20);
    }
    machine_reset(t->m, RESET_WARM);
    g_assert_cmphex(pctest_read(t, 0xf0000, 1), ==, rom_f0000);
    ram_unref(bios);
    pctest_free(t);
}

static void test_smram(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    pctest_write(t, 0xa0000, 0x55, 1);
    g_assert_cmphex(pctest_read(t, 0xa0000, 1), ==, 0xff); /* PCI, nobody there */
    pctest_config_write(t, HOST, 0x72, 0x4a, 1);
    pctest_write(t, 0xa0000, 0x55, 1);
    g_assert_cmphex(pctest_read(t, 0xa0000, 1), ==, 0x55);
    pctest_config_write(t, HOST, 0x72, 0x5a, 1); /* locking closes it for good */
    g_assert_cmphex(pctest_read(t, 0xa0000, 1), ==, 0xff);
    pctest_config_write(t, HOST, 0x72, 0x4a, 1);
    g_assert_cmphex(pctest_config_read(t, HOST, 0x72, 1), ==, 0x1a);
    g_assert_cmphex(pctest_read(t, 0xa0000, 1), ==, 0xff);
    machine_reset(t->m, RESET_WARM);
    pctest_config_write(t, HOST, 0x72, 0x4a, 1);
    g_assert_cmphex(pctest_read(t, 0xa0000, 1), ==, 0x55);
    /* CPUs in SMM see it while it is enabled, closed or not */
    MemAttrs attrs = { .cpu = true, .smm = true };
    uint64_t v = 0;
    pctest_config_write(t, HOST, 0x72, 0x1a, 1);
    g_assert_cmphex(pctest_read(t, 0xa0000, 1), ==, 0xff);
    as_load(t->m->as_smm, 0xa0000, 1, &v, attrs);
    g_assert_cmphex(v, ==, 0x55);
    as_store(t->m->as_smm, 0xbffff, 1, 0x66, attrs);
    g_assert_cmphex(t->m->ram->host[0xbffff], ==, 0x66);
    as_load(t->m->as_smm, 0xf0000, 1, &v, attrs); /* the rest is as ever */
    g_assert_cmphex(v, ==, pctest_read(t, 0xf0000, 1));
    machine_reset(t->m, RESET_WARM);
    as_load(t->m->as_smm, 0xa0000, 1, &v, attrs);
    g_assert_cmphex(v, ==, 0xff); /* not enabled after reset */
    pctest_free(t);
}

static ManualClock manual;
static unsigned smis;

static void count_smi(void *sink G_GNUC_UNUSED, unsigned pin G_GNUC_UNUSED, bool level)
{
    smis += level;
}

static const IrqSinkOps smi_sink = { .set = count_smi };

static void use_manual_clock(Machine *m)
{
    clock_manual_init(&manual, 0);
    m->clock_override = &manual.clock;
}

static void test_pm(void)
{
    PcTest *t = pctest_new(16 * MIB, use_manual_clock);
    g_assert_cmphex(pctest_in(t, 0x600, 4), ==, 0xffffffff);
    pctest_config_write(t, PM, 0x40, 0x601, 4);
    g_assert_cmphex(pctest_in(t, 0x608, 4), ==, 0xffffffff); /* not enabled yet */
    pctest_config_write(t, PM, 0x80, 1, 1);
    manual.ns = 1000000000;
    g_assert_cmpuint(pctest_in(t, 0x608, 4), ==, 3579545);
    g_assert_cmphex(pctest_in(t, 0x600, 2), ==, 0);
    manual.ns = 2400000000; /* 2^23 ticks take 2.34 s */
    g_assert_cmphex(pctest_in(t, 0x600, 2), ==, 1);
    pctest_out(t, 0x602, 1, 2);
    pctest_out(t, 0x604, 1, 2);
    g_assert_true(isa_level(t, 9) == false); /* not wired in this machine */
    pctest_out(t, 0x600, 1, 2);
    g_assert_cmphex(pctest_in(t, 0x600, 2), ==, 0);
    /* ACPI on and off through the command port */
    pctest_out(t, 0x604, 0, 2);
    pctest_out(t, 0xb2, 0xf1, 1);
    g_assert_cmphex(pctest_in(t, 0x604, 2), ==, 1);
    pctest_out(t, 0xb2, 0xf0, 1);
    g_assert_cmphex(pctest_in(t, 0x604, 2), ==, 0);
    /* SMI#: neither APMC_EN nor SMI_EN alone is enough */
    irq_connect(piix4_pm_smi(t->pm), &smi_sink, NULL, 0);
    smis = 0;
    g_assert_cmphex(pctest_config_read(t, PM, 0x5b, 1), ==, 0);
    pctest_out(t, 0x628, 1, 1);
    pctest_out(t, 0xb2, 0x55, 1);
    pctest_out(t, 0x628, 0, 1);
    pctest_config_write(t, PM, 0x5b, 2, 1);
    pctest_out(t, 0xb2, 0x55, 1);
    g_assert_cmpuint(smis, ==, 0);
    g_assert_cmphex(pctest_in(t, 0x618, 1), ==, 0);
    pctest_out(t, 0x628, 1, 1);
    pctest_out(t, 0xb3, 0x56, 1); /* the status port raises nothing */
    pctest_out(t, 0xb2, 0x55, 1);
    g_assert_cmpuint(smis, ==, 1);
    g_assert_cmphex(pctest_in(t, 0x618, 1), ==, 0x20);
    pctest_out(t, 0x618, 0xdf, 1);
    g_assert_cmphex(pctest_in(t, 0x618, 1), ==, 0x20);
    pctest_out(t, 0x618, 0x20, 1);
    g_assert_cmphex(pctest_in(t, 0x618, 1), ==, 0);
    /* byte and word halves of the enable register */
    pctest_out(t, 0x603, 1, 1);
    g_assert_cmphex(pctest_in(t, 0x602, 2), ==, 0x101);
    g_assert_cmphex(pctest_in(t, 0x600, 4), ==, 0x01010000);
    /* SMBus: no slave answers */
    pctest_config_write(t, PM, 0x90, 0x701, 4);
    pctest_config_write(t, PM, 0xd2, 1, 1);
    pctest_out(t, 0x702, 0x48, 1);
    g_assert_cmphex(pctest_in(t, 0x700, 1), ==, 4);
    pctest_out(t, 0x700, 0x1e, 1);
    g_assert_cmphex(pctest_in(t, 0x700, 1), ==, 0);
    /* moved, both bases at once in the same place: no crash, PM or SMBus answers */
    pctest_config_write(t, PM, 0x40, 0x701, 4);
    pctest_in(t, 0x700, 1);
    pctest_config_write(t, PM, 0x40, 0xffc1, 4);
    g_assert_cmphex(pctest_in(t, 0xffc4, 2), ==, 0);
    pctest_free(t);
}

typedef struct SciProbe { bool level; unsigned rises; } SciProbe;

static void sci_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    SciProbe *p = sink;
    p->rises += level && !p->level;
    p->level = level;
}

/* ACPI 4.8.2.2: the button sets its status bit; the SCI follows status and enable, as a level. */
static void test_power_button(void)
{
    static const IrqSinkOps ops = { .set = sci_set };
    PcTest *t = pctest_new(16 * MIB, use_manual_clock);
    SciProbe sci = { 0 };
    irq_connect(piix4_pm_sci(t->pm), &ops, &sci, 0);
    pctest_config_write(t, PM, 0x40, 0x601, 4);
    pctest_config_write(t, PM, 0x80, 1, 1);
    machine_start(t->m);
    machine_request_powerdown(t->m);
    while (loop_turn(t->loop, false)) {
    }
    g_assert_cmphex(pctest_in(t, 0x600, 2), ==, 0x100);
    g_assert_false(sci.level);
    pctest_out(t, 0x602, 0x100, 2);
    g_assert_false(sci.level);
    pctest_out(t, 0xb2, 0xf1, 1);
    g_assert_true(sci.level);
    pctest_out(t, 0x600, 0x100, 2);
    g_assert_false(sci.level);
    /* the PM timer's carry: enabled, it interrupts when bit 23 changes, once per acknowledgement */
    pctest_out(t, 0x602, 0x001, 2);
    manual.ns = 2500000000;
    loop_clock_changed(t->loop, t->m->clock);
    while (loop_turn(t->loop, false)) {
    }
    g_assert_true(sci.level);
    g_assert_cmpuint(sci.rises, ==, 2);
    pctest_out(t, 0x600, 0x001, 2);
    g_assert_false(sci.level);
    machine_reset(t->m, RESET_COLD);
    g_assert_false(sci.level);
    /* soft off */
    pctest_config_write(t, PM, 0x40, 0x601, 4);
    pctest_config_write(t, PM, 0x80, 1, 1);
    g_assert_cmpint(t->m->state, ==, RUN_RUNNING);
    pctest_out(t, 0x604, 0x0401, 2); /* type alone does nothing */
    pctest_out(t, 0x604, 0x3401, 2); /* a sleep that does not exist: logged */
    pctest_out(t, 0x604, 0x2001, 2);
    while (loop_turn(t->loop, false)) {
    }
    g_assert_cmpint(t->m->state, !=, RUN_RUNNING);
    pctest_free(t);
}

/* CF9h: a reset when bit 2 rises, not while it stays. */
static void test_reset_control(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    pctest_config_write(t, HOST, 0x59, 0x30, 1);
    pctest_out(t, 0xcf9, 0x02, 1);
    while (loop_turn(t->loop, false)) {
    }
    g_assert_cmphex(pctest_config_read(t, HOST, 0x59, 1), ==, 0x30);
    g_assert_cmphex(pctest_in(t, 0xcf9, 1), ==, 0x02);
    pctest_out(t, 0xcf9, 0x06, 1);
    while (loop_turn(t->loop, false)) {
    }
    g_assert_cmphex(pctest_config_read(t, HOST, 0x59, 1), ==, 0);
    g_assert_cmphex(pctest_in(t, 0xcf9, 1), ==, 0);
    pctest_free(t);
}

static void test_random_config(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    Probe *p = add_probe(t, "4");
    g_autoptr(GRand) r = g_rand_new_with_seed(1);
    static const unsigned fns[] = { HOST, ISA, PM, PCI_DEVFN(4, 0), PCI_DEVFN(7, 2) };
    for (unsigned i = 0; i < 20000; i++) {
        unsigned n = 1u << g_rand_int_range(r, 0, 3), off = g_rand_int_range(r, 0, 256) & ~(n - 1);
        unsigned fn = fns[g_rand_int_range(r, 0, G_N_ELEMENTS(fns))];
        if (i % 3) {
            pctest_config_write(t, fn, off, g_rand_int(r), n);
        } else {
            pctest_config_read(t, fn, off, n);
        }
        if (i % 7 == 0) {
            irq_set(&p->irq, i & 8);
        }
        if (i % 1000 == 0) {
            g_autoptr(GByteArray) a = g_byte_array_new(), b = g_byte_array_new();
            device_tree_save(t->m->root, a);
            const uint8_t *at = a->data;
            device_tree_load(t->m->root, &at, a->data + a->len, &error_abort_slot);
            device_tree_save(t->m->root, b);
            g_assert_cmpmem(a->data, a->len, b->data, b->len);
        }
    }
    machine_reset(t->m, RESET_COLD);
    g_assert_cmphex(pctest_config_read(t, HOST, 0, 4), ==, 0x12378086);
    pctest_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/pci/identity", test_identity);
    g_test_add_func("/pci/bars", test_bars);
    g_test_add_func("/pci/intx", test_intx);
    g_test_add_func("/pci/places", test_places);
    g_test_add_func("/pci/pam", test_pam);
    g_test_add_func("/pci/smram", test_smram);
    g_test_add_func("/pci/pm", test_pm);
    g_test_add_func("/pci/power-button", test_power_button);
    g_test_add_func("/pci/reset-control", test_reset_control);
    g_test_add_func("/pci/random", test_random_config);
    return g_test_run();
}

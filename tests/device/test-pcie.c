/* SPDX-License-Identifier: MIT
 * tests/device/test-pcie.c - bridges, root ports, the PCI Express capability, ECAM and MSI: hw/pci/bridge.c,
 * root-port.c, pcie.c, msi.c and the bus numbers of pci-config.c.
 * Threads: main, and one in place of a CPU.
 */
#include "pctest.h"
#include "rhea/hw/msi.h"
#include "rhea/hw/pcie.h"
#include "rhea/util/rcu.h"

#include <pthread.h>

enum { ECAM = 0xb0000000, PORT = PCI_DEVFN(4, 0), ISA = PCI_DEVFN(1, 0) };

typedef struct Probe {
    Device dev;
    MemRegion io, mem;
    IrqLine irq;
    PciMsi msi;
    unsigned resets;
} Probe;

static Domain *far_domain; /* of a "far" probe */

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

static void probe_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    role_assert_main();
    g_assert_true(domain_held(dev->domain));
    dev_as(Probe, dev)->resets++;
}

static Domain *far_choose_domain(Device *dev G_GNUC_UNUSED)
{
    return far_domain;
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
    .reset = probe_reset,
};
/* As a device that an I/O thread serves. */
static const DeviceType far_type = {
    .name = "far",
    .size = sizeof(Probe),
    .base = &probe_type,
    .choose_domain = far_choose_domain,
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
    p->probe =
        dev_as(Probe, device_create(p->t->m, &probe_type, p->t->m->peripheral, "p", p->port->buses->pdata[0],
                                    &error_abort_slot, "addr", "0", "multifunction", "on", NULL));
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

enum { CONTROL = 0x3e, RESET_BIT = 0x40 };

static void turn(Pcie *p)
{
    while (loop_turn(p->t->loop, false)) {
    }
}

/* Nobody behind the port answers, and nobody there writes memory. */
static void expect_shut(Pcie *p)
{
    uint32_t v = 1;
    g_assert_cmphex(get(p, 2, 0, 0, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_in(p->t, 0xc004, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_read(p->t, 0xe0001010, 4), ==, 0xffffffff);
    g_assert_cmpint(dma_write(&pci_func(&p->probe->dev)->dma, 0x5000, &v, 4), !=, MEM_OK);
    g_assert_cmphex(get(p, 0, PORT, 0x04, 2), ==, 7); /* the bridge itself goes on */
}

static void expect_open(Pcie *p)
{
    g_assert_cmphex(get(p, 2, 0, 0, 4), ==, 0x56781234);
    g_assert_cmphex(get(p, 2, 0, 0x3c, 1), ==, 0);
    g_assert_cmphex(get(p, 2, 0, 0x04, 2), ==, 0);
    program_port(p);
    g_assert_cmphex(pctest_in(p->t, 0xc004, 4), ==, 0x5a0004);
    g_assert_cmphex(pctest_read(p->t, 0xe0001010, 4), ==, 0x5a0010);
}

static void test_secondary_reset(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    set(&p, 2, 0, 0x3c, 0x55, 1);
    unsigned before = p.probe->resets;
    set(&p, 0, PORT, CONTROL, RESET_BIT, 2);
    expect_shut(&p);
    set(&p, 2, 0, 0x3c, 0xaa, 1); /* lost */
    g_assert_cmphex(pci_func(&p.probe->dev)->config[0x3c], ==, 0x55);
    g_assert_cmpuint(p.probe->resets, ==, before); /* the main loop's to do */
    turn(&p);
    g_assert_cmpuint(p.probe->resets, ==, before + 1);
    expect_shut(&p);
    set(&p, 0, PORT, CONTROL, RESET_BIT | 1, 2); /* it was set before: no second reset */
    turn(&p);
    g_assert_cmpuint(p.probe->resets, ==, before + 1);
    expect_shut(&p);
    set(&p, 0, PORT, CONTROL, 0, 2);
    expect_open(&p);
    close_pcie(&p);
}

/* A pulse that is over before the main loop comes to it. */
static void test_reset_pulse(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    unsigned before = p.probe->resets;
    for (unsigned i = 0; i < 3; i++) {
        set(&p, 0, PORT, CONTROL, RESET_BIT, 2);
        set(&p, 0, PORT, CONTROL, 0, 2);
    }
    expect_shut(&p);
    turn(&p);
    g_assert_cmpuint(p.probe->resets, ==, before + 1);
    expect_open(&p);
    /* a reset of the machine between: the pulse's is done with it */
    set(&p, 0, PORT, CONTROL, RESET_BIT, 2);
    machine_reset(p.t->m, RESET_WARM);
    g_assert_cmpuint(p.probe->resets, ==, before + 2);
    program_port(&p);
    turn(&p);
    g_assert_cmpuint(p.probe->resets, ==, before + 2);
    g_assert_cmphex(get(&p, 2, 0, 0x04, 2), ==, 7);
    close_pcie(&p);
}

/* Those that other threads serve are reset, too, each in its own domain. */
static void test_reset_domains(void)
{
    Pcie p;
    open_pcie(&p);
    far_domain = domain_new("far", p.t->loop);
    Bus *behind = p.port->buses->pdata[0];
    Probe *far = dev_as(Probe, device_create(p.t->m, &far_type, p.t->m->peripheral, "far", behind,
                                             &error_abort_slot, "addr", "0.1", NULL));
    program_port(&p);
    set(&p, 2, 1, 0x04, 7, 2);
    unsigned before = far->resets;
    uint32_t v = 1;
    g_assert_cmpint(dma_write(&pci_func(&far->dev)->dma, 0x5000, &v, 4), ==, MEM_OK);
    set(&p, 0, PORT, CONTROL, RESET_BIT, 2);
    g_assert_cmphex(get(&p, 2, 1, 0, 4), ==, 0xffffffff);
    g_assert_cmpint(dma_write(&pci_func(&far->dev)->dma, 0x5000, &v, 4), !=, MEM_OK);
    set(&p, 0, PORT, CONTROL, 0, 2);
    turn(&p);
    g_assert_cmpuint(far->resets, ==, before + 1);
    g_assert_cmphex(get(&p, 2, 1, 0x04, 4), ==, 0x00100000);
    close_pcie(&p);
    domain_free(far_domain);
}

/* What is wanted is done before the machine counts as stopped; the bit itself is saved. */
static void test_reset_saved(void)
{
    Pcie p;
    open_pcie(&p);
    program_port(&p);
    machine_start(p.t->m);
    unsigned before = p.probe->resets;
    set(&p, 0, PORT, CONTROL, RESET_BIT, 2);
    machine_stop(p.t->m, RUN_PAUSED);
    g_assert_cmpuint(p.probe->resets, ==, before + 1);
    g_autoptr(GByteArray) state = g_byte_array_new();
    device_tree_save(p.port, state);
    set(&p, 0, PORT, CONTROL, 0, 2);
    expect_open(&p);
    const uint8_t *at = state->data;
    device_tree_load(p.port, &at, state->data + state->len, &error_abort_slot);
    expect_shut(&p);
    set(&p, 0, PORT, CONTROL, RESET_BIT, 2); /* it was set when the state was saved */
    turn(&p);
    g_assert_cmpuint(p.probe->resets, ==, before + 1);
    set(&p, 0, PORT, CONTROL, 0, 2);
    expect_open(&p);
    close_pcie(&p);
}

typedef struct Presser {
    Pcie *p;
    bool end;         /* atomic */
    unsigned presses; /* atomic */
} Presser;

static void *press(void *opaque)
{
    Presser *w = opaque;
    do {
        set(w->p, 0, PORT, CONTROL, RESET_BIT, 2);
        set(w->p, 0, PORT, CONTROL, 0, 2);
        __atomic_fetch_add(&w->presses, 1, __ATOMIC_RELEASE);
    } while (!__atomic_load_n(&w->end, __ATOMIC_ACQUIRE));
    rcu_unregister_thread();
    return NULL;
}

/* A CPU that resets all the time what the host adds to and removes from: the main loop alone walks that tree,
 * which the probe's reset asserts. */
static void test_reset_and_hotplug(void)
{
    Pcie p;
    open_pcie(&p);
    Machine *m = p.t->m;
    Device *serial = add(&p, "virtio-serial-pci", "vs", p.port->buses->pdata[0], "0.1", &error_abort_slot);
    unsigned before = p.probe->resets;
    Presser w = { .p = &p };
    pthread_t cpu;
    g_assert_cmpint(pthread_create(&cpu, NULL, press, &w), ==, 0);
    for (unsigned round = 0; round < 100; round++) {
        Device *ports[4];
        for (unsigned i = 0; i < G_N_ELEMENTS(ports); i++) {
            g_autofree char *id = g_strdup_printf("vp%u", i);
            ports[i] = device_create(m, device_type_find("virtserialport"), m->peripheral, id,
                                     serial->buses->pdata[0], &error_abort_slot, NULL);
        }
        unsigned was = __atomic_load_n(&w.presses, __ATOMIC_ACQUIRE);
        while (__atomic_load_n(&w.presses, __ATOMIC_ACQUIRE) == was) {
            g_thread_yield();
        }
        loop_turn(p.t->loop, false);
        for (unsigned i = 0; i < G_N_ELEMENTS(ports); i++) {
            device_remove(ports[i]);
        }
    }
    __atomic_store_n(&w.end, true, __ATOMIC_RELEASE);
    pthread_join(cpu, NULL);
    turn(&p);
    g_assert_cmpuint(p.probe->resets, >, before);
    set(&p, 0, PORT, 0x18, 0x00020200, 4);
    g_assert_cmphex(get(&p, 2, 1, 0, 2), ==, 0x1af4);
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
    g_test_add_func("/pcie/secondary-reset/pulse", test_reset_pulse);
    g_test_add_func("/pcie/secondary-reset/domains", test_reset_domains);
    g_test_add_func("/pcie/secondary-reset/saved", test_reset_saved);
    g_test_add_func("/pcie/secondary-reset/hotplug", test_reset_and_hotplug);
    g_test_add_func("/pcie/msi", test_msi);
    return g_test_run();
}

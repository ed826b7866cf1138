/* SPDX-License-Identifier: MIT
 * hw/i386/i440fx.c - the 82441FX host bridge: its bus, PAM, SMRAM.
 *
 * Models: Intel 440FX PCIset, 82441FX (PMC) data sheet (290549): PAM0-PAM6 (3.2.16), SMRAM (3.2.20): open to
 *         all, enabled for CPUs in SMM, locked; what these do: shadow.c; CONFIG_ADDRESS and CONFIG_DATA (3.1):
 *         config-ports.c.
 * Does not model: DRAM timing and row boundary registers beyond their storage, the AGP-less bus
 *         arbiter, the turbo reset register, ECC.
 * Threads: the configuration ports as config-ports.c says; PAM and SMRAM writes run in this function's domain.
 */
#include "config-ports.h"
#include "pc_internal.h"
#include "shadow.h"
#include <string.h>

enum {
    REG_DBC = 0x53, REG_DRAMC = 0x57, REG_DRAMT = 0x58, REG_PAM0 = 0x59, REG_DRB0 = 0x60, REG_SMRAM = 0x72,
    REG_CLT = 0x71, REG_ERRCMD = 0x90,
    SMRAM_WRITABLE = SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE,
};

/* ---- 00: the configuration ports and the bus ---- */

typedef struct I440fxHost {
    Device dev;
    MemRegion pci_mem; /* wiring */
    PciBus *bus;
    PcConfigPorts ports;
} I440fxHost;

static bool host_realize(Device *dev, Error **errp)
{
    I440fxHost *s = dev_as(I440fxHost, dev);
    region_init(&s->pci_mem, dev, "pci", UINT64_MAX);
    device_map_mem(dev, &s->pci_mem, 0, -1);
    s->bus = pci_bus_new(dev, "pci.0", &s->pci_mem, &dev->machine->sysio, NULL, NULL);
    s->ports.bus = s->bus;
    return pc_config_ports_init(&s->ports, dev, errp);
}

static void host_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    pc_config_ports_reset(&dev_as(I440fxHost, dev)->ports);
}

static const VmField host_fields[] = { VM_STRUCT(I440fxHost, ports, pc_config_ports_state), { 0 } };
static const VmState host_state = { .name = "i440FX-pcihost", .version = 1, .oldest = 1, .fields = host_fields };

const DeviceType i440fx_host_type = {
    .name = "i440FX-pcihost", .desc = "i440FX PCI host", .size = sizeof(I440fxHost), .category = "Bridge",
    .internal = true, .firmware_name = "pci@i0cf8", .vmstate = &host_state, .realize = host_realize,
    .reset = host_reset,
};

PciBus *i440fx_host_bus(Device *host)
{
    return dev_as(I440fxHost, host)->bus;
}

MemRegion *i440fx_host_mem(Device *host)
{
    return &dev_as(I440fxHost, host)->pci_mem;
}

/* ---- 00:00.0: attribute registers ---- */

typedef struct I440fx {
    Device dev;
    PcShadow shadow; /* wiring */
} I440fx;

static void i440fx_update_memory(I440fx *s)
{
    pc_shadow_update(&s->shadow, pci_func(&s->dev)->config + REG_PAM0, pci_get(&s->dev, REG_SMRAM, 1), 0, 0);
}

static void i440fx_config_written(Device *dev, unsigned off, unsigned len)
{
    I440fx *s = dev_as(I440fx, dev);
    if (off <= REG_SMRAM && off + len > REG_SMRAM) {
        uint8_t v = pci_get(dev, REG_SMRAM, 1);
        if (v & SMRAM_LOCK) { /* D_LCK: D_OPEN becomes 0 and all but D_CLS read-only until reset */
            pci_set_byte(dev, REG_SMRAM, v & ~SMRAM_OPEN);
            pci_set_wmask(dev, REG_SMRAM, SMRAM_CLOSED, 1);
        }
        if (v & SMRAM_CLOSED) {
            guest_unimp(dev, "SMRAM is closed to data accesses of SMM code: they reach it all the same");
        }
    }
    if ((off < REG_PAM0 + 7 && off + len > REG_PAM0) || (off <= REG_SMRAM && off + len > REG_SMRAM)) {
        i440fx_update_memory(s);
    }
}

static bool i440fx_realize(Device *dev, Error **errp)
{
    I440fx *s = dev_as(I440fx, dev);
    if (!pc_shadow_init(&s->shadow, dev, pci_func(dev)->bus->mem, errp)) {
        return false;
    }
    i440fx_update_memory(s);
    pci_set_wmask(dev, 0x04, 0x0140, 2); /* memory and bus master are hard-wired on (3.2.3) */
    pci_set_wmask(dev, REG_PAM0, 0x30, 1);
    for (unsigned reg = REG_PAM0 + 1; reg < REG_PAM0 + 7; reg++) {
        pci_set_wmask(dev, reg, 0x33, 1);
    }
    static const uint8_t storage[] = { 0x50, 0x51, 0x53, 0x57, 0x58, 0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67,
                                       0x68, 0x70, 0x71, 0x90, 0xb8 };
    for (unsigned i = 0; i < G_N_ELEMENTS(storage); i++) {
        pci_set_wmask(dev, storage[i], 0xff, 1);
    }
    return true;
}

PcShadow *i440fx_shadow(Device *i440fx)
{
    return &dev_as(I440fx, i440fx)->shadow;
}

/* Defaults of section 3.2. */
static void i440fx_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    uint8_t *c = pci_func(dev)->config;
    memset(c + 0x50, 0, 0xb0);
    pci_set_word(dev, 0x04, 0x0006);
    pci_set_word(dev, 0x06, 0x0280);
    c[REG_DBC] = 0x83;
    c[REG_DRAMC] = 0x01;
    c[REG_DRAMT] = 0x10;
    memset(c + REG_DRB0, 0x01, 8);
    c[REG_CLT] = 0x10;
    c[REG_SMRAM] = 0x02;
    pci_set_wmask(dev, REG_SMRAM, SMRAM_WRITABLE, 1);
}

static void i440fx_reset_done(Device *dev)
{
    i440fx_update_memory(dev_as(I440fx, dev));
}

static bool i440fx_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    I440fx *s = opaque;
    bool locked = pci_get(&s->dev, REG_SMRAM, 1) & SMRAM_LOCK;
    pci_set_wmask(&s->dev, REG_SMRAM, locked ? SMRAM_CLOSED : SMRAM_WRITABLE, 1);
    i440fx_update_memory(s);
    return true;
}

static const VmField i440fx_fields[] = { { 0 } };
static const VmState i440fx_state = {
    .name = "i440FX", .version = 1, .oldest = 1, .fields = i440fx_fields, .post_load = i440fx_post_load,
};

static const PciOps i440fx_ops = {
    .vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 2, .no_hotplug = true,
    .config_written = i440fx_config_written,
};

const DeviceType i440fx_type = {
    .name = "i440FX", .desc = "82441FX host bridge", .size = sizeof(I440fx), .category = "Bridge", .internal = true,
    .bus_type = &pci_bus_type, .bus_ops = &i440fx_ops, .vmstate = &i440fx_state,
    .realize = i440fx_realize, .reset = i440fx_reset, .reset_done = i440fx_reset_done,
};

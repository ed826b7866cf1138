/* SPDX-License-Identifier: MIT
 * hw/i386/q35-mch.c - the 82Q35 memory controller hub: configuration ports, ECAM, PAM, SMRAM, TSEG.
 *
 * Models: Intel 3 Series Express Chipset, 82Q35 MCH (316966): 5.1 (host bridge registers), PCIEXBAR (5.1.16),
 *         PAM0-PAM6 (5.1.17 to 5.1.23), TOLUD, SMRAM and ESMRAMC (5.1.29, 5.1.30): open to all, TSEG, locked.
 * Does not model: EPBAR, MCHBAR, DMIBAR and what is behind them (their registers are storage), the graphics
 *         port and device, high SMRAM (H_SMRAME is storage), DRAM timing.
 * Threads: configuration ports and ECAM: see config-ports.c and pcie.c; the registers run in the function's
 *         domain.
 */
#include "config-ports.h"
#include "ich9.h"
#include "rhea/hw/pcie.h"
#include <string.h>

/* ---- the host: ports, ECAM, the bus ---- */

typedef struct Q35Host {
    Device dev;
    MemRegion pci_mem; /* wiring */
    PciBus *bus;
    PcieEcam ecam;
    PcConfigPorts ports;
} Q35Host;

static void host_cleanup(void *opaque)
{
    Q35Host *s = opaque;
    if (region_mapped(&s->ecam.region)) {
        region_unmap(&s->ecam.region);
    }
    region_fini(&s->ecam.region);
}

static bool host_realize(Device *dev, Error **errp)
{
    Q35Host *s = dev_as(Q35Host, dev);
    region_init(&s->pci_mem, dev, "pci", UINT64_MAX);
    device_map_mem(dev, &s->pci_mem, 0, -1);
    s->bus = pci_bus_new(dev, "pcie.0", &s->pci_mem, &dev->machine->sysio, NULL, NULL);
    s->bus->express = true;
    s->bus->bus->no_hotplug = "plug it into a pcie-root-port that the machine was started with: -device "
                              "pcie-root-port,id=ID,chassis=N, then bus=ID";
    s->ports.bus = s->bus;
    pcie_ecam_init(&s->ecam, dev, s->bus);
    device_add_cleanup(dev, host_cleanup, s);
    return pc_config_ports_init(&s->ports, dev, errp);
}

static void host_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    pc_config_ports_reset(&dev_as(Q35Host, dev)->ports);
}

static const VmField host_fields[] = { VM_STRUCT(Q35Host, ports, pc_config_ports_state), { 0 } };
static const VmState host_state = { .name = "q35-pcihost", .version = 1, .oldest = 1, .fields = host_fields };

const DeviceType q35_host_type = {
    .name = "q35-pcihost", .desc = "Q35 PCI Express host", .firmware_name = "pci@i0cf8",
    .size = sizeof(Q35Host), .category = "Bridge",
    .internal = true, .vmstate = &host_state, .realize = host_realize, .reset = host_reset,
};

PciBus *q35_host_bus(Device *host)
{
    return dev_as(Q35Host, host)->bus;
}

MemRegion *q35_host_mem(Device *host)
{
    return &dev_as(Q35Host, host)->pci_mem;
}

/* ---- 00:00.0 ---- */

enum {
    REG_PCIEXBAR = 0x60, REG_PAM0 = 0x90, REG_SMRAM = 0x9d, REG_ESMRAMC = 0x9e, REG_TOLUD = 0xb0,
    PCIEXBAR_ENABLE = 1, PCIEXBAR_RESET = 0xe0000000u,
    ESMRAMC_TSEG = 0x01, ESMRAMC_ERROR = 0x40, ESMRAMC_CACHE = 0x38, ESMRAMC_WRITABLE = 0x87,
    SMRAM_WRITABLE = SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE,
};

typedef struct Mch {
    Device dev;
    PcShadow shadow; /* wiring */
    Q35Host *host;
    uint64_t below_4g;
} Mch;

uint64_t mch_ecam(Device *mch, uint64_t *size)
{
    static const uint32_t sizes[4] = { 256 << 20, 128 << 20, 64 << 20, 0 }; /* 11: reserved */
    uint32_t low = pci_get(mch, REG_PCIEXBAR, 4);
    *size = sizes[low >> 1 & 3];
    uint64_t at = (uint64_t)(pci_get(mch, REG_PCIEXBAR + 4, 4) & 0xf) << 32 | low;
    return (low & PCIEXBAR_ENABLE) && *size ? at & ~(*size - 1) : 0;
}

static void mch_update_ecam(Mch *s)
{
    uint64_t size, at = mch_ecam(&s->dev, &size);
    MemRegion *r = &s->host->ecam.region;
    mem_begin(s->dev.machine);
    if (region_mapped(r) && (!at || r->at != at || r->size != size)) {
        region_unmap(r);
    }
    if (at && !region_mapped(r)) {
        region_set_size(r, size);
        region_map(&s->dev.machine->sysmem, at, r, 2); /* above memory, as the data sheet warns */
    }
    mem_commit(s->dev.machine);
}

/* TSEG ends where RAM below 4 GiB ends; 1, 2 or 8 MiB. */
static uint64_t mch_tseg_size(Mch *s)
{
    static const uint8_t mib[4] = { 1, 2, 8, 0 };
    uint8_t v = pci_get(&s->dev, REG_ESMRAMC, 1);
    uint64_t size = v & ESMRAMC_TSEG ? (uint64_t)mib[v >> 1 & 3] << 20 : 0;
    return size <= s->below_4g / 2 ? size : 0;
}

static void mch_update_memory(Mch *s)
{
    uint64_t tseg = mch_tseg_size(s);
    pc_shadow_update(&s->shadow, pci_func(&s->dev)->config + REG_PAM0, pci_get(&s->dev, REG_SMRAM, 1),
                     s->below_4g - tseg, tseg);
}

/* D_LCK: D_OPEN becomes 0 and all but D_CLS is read-only until reset, in ESMRAMC too. */
static void mch_update_lock(Mch *s)
{
    uint8_t v = pci_get(&s->dev, REG_SMRAM, 1);
    bool locked = v & SMRAM_LOCK;
    if (locked) {
        pci_set_byte(&s->dev, REG_SMRAM, v & ~SMRAM_OPEN);
    }
    pci_set_wmask(&s->dev, REG_SMRAM, locked ? SMRAM_CLOSED : SMRAM_WRITABLE, 1);
    pci_set_wmask(&s->dev, REG_ESMRAMC, locked ? 0 : ESMRAMC_WRITABLE, 1);
}

static bool covers(unsigned off, unsigned len, unsigned first, unsigned n)
{
    return off < first + n && off + len > first;
}

static void mch_config_written(Device *dev, unsigned off, unsigned len)
{
    Mch *s = dev_as(Mch, dev);
    if (covers(off, len, REG_SMRAM, 1)) {
        mch_update_lock(s);
        if (pci_get(dev, REG_SMRAM, 1) & SMRAM_CLOSED) {
            guest_unimp(dev, "SMRAM is closed to data accesses of SMM code: they reach it all the same");
        }
    }
    if (covers(off, len, REG_PAM0, PAM_REGISTERS) || covers(off, len, REG_SMRAM, 2)) {
        mch_update_memory(s);
    }
    if (covers(off, len, REG_PCIEXBAR, 8) && s->host) {
        mch_update_ecam(s);
    }
}

static const struct {
    uint8_t reg;
    uint8_t wmask;
} mch_storage[] = {
    /* what firmware programs for the rest */
    { 0x40, 0x01 }, { 0x41, 0xf0 }, { 0x42, 0xff }, { 0x43, 0xff }, { 0x44, 0x0f }, /* EPBAR */
    { 0x48, 0x01 }, { 0x49, 0xc0 }, { 0x4a, 0xff }, { 0x4b, 0xff }, { 0x4c, 0x0f }, /* MCHBAR */
    { 0x54, 0x03 }, { 0x68, 0x01 }, { 0x69, 0xf0 }, { 0x6a, 0xff }, { 0x6b, 0xff },
    { 0x6c, 0x0f }, /* DMIBAR */
    { 0x97, 0x00 }, { 0xa0, 0xff }, { 0xa1, 0x03 }, { 0xa2, 0xff }, { 0xa3, 0x03 },
    { 0xb0, 0xf0 }, { 0xb1, 0xff }, { 0xc8, 0xff }, { 0xca, 0xff }, { 0xdc, 0xff },
    { 0xdd, 0xff }, { 0xde, 0xff }, { 0xdf, 0xff },
};

static bool mch_realize(Device *dev, Error **errp)
{
    Mch *s = dev_as(Mch, dev);
    if (!pc_shadow_init(&s->shadow, dev, pci_func(dev)->bus->mem, errp)) {
        return false;
    }
    pci_set_wmask(dev, 0x04, 0x0100, 2); /* memory and bus master are hard-wired on (5.1.3) */
    pci_set_wmask(dev, REG_PCIEXBAR, 0xfc000007, 4);
    pci_set_wmask(dev, REG_PCIEXBAR + 4, 0x0f, 4);
    pci_set_wmask(dev, REG_PAM0, 0x30, 1);
    for (unsigned reg = REG_PAM0 + 1; reg < REG_PAM0 + PAM_REGISTERS; reg++) {
        pci_set_wmask(dev, reg, 0x33, 1);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(mch_storage); i++) {
        pci_set_wmask(dev, mch_storage[i].reg, mch_storage[i].wmask, 1);
    }
    return true;
}

static void mch_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Mch *s = dev_as(Mch, dev);
    uint8_t *c = pci_func(dev)->config;
    memset(c + 0x40, 0, 0xc0);
    pci_set_word(dev, 0x04, 0x0006);
    pci_set_word(dev, 0x06, 0x0080);
    pci_set_long(dev, REG_PCIEXBAR, PCIEXBAR_RESET);
    c[REG_SMRAM] = 0x02;
    c[REG_ESMRAMC] = ESMRAMC_CACHE;
    pci_set_word(dev, REG_TOLUD, s->below_4g >> 20 << 4);
    mch_update_lock(s);
}

static void mch_reset_done(Device *dev)
{
    Mch *s = dev_as(Mch, dev);
    mch_update_memory(s);
    if (s->host) {
        mch_update_ecam(s);
    }
}

static bool mch_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Mch *s = opaque;
    mch_update_lock(s);
    mch_reset_done(&s->dev);
    return true;
}

static const VmField mch_fields[] = { { 0 } };
static const VmState mch_state = {
    .name = "mch", .version = 1, .oldest = 1, .fields = mch_fields, .post_load = mch_post_load,
};

static const PciOps mch_ops = {
    .vendor = 0x8086,
    .device = 0x29c0,
    .class_code = 0x060000,
    .revision = 2,
    .no_hotplug = true,
    .config_written = mch_config_written,
};

const DeviceType mch_type = {
    .name = "mch", .desc = "82Q35 memory controller hub", .size = sizeof(Mch), .category = "Bridge",
    .internal = true,
    .bus_type = &pci_bus_type, .bus_ops = &mch_ops, .vmstate = &mch_state,
    .realize = mch_realize, .reset = mch_reset, .reset_done = mch_reset_done,
};

void mch_attach(Device *mch, Device *host, uint64_t below_4g)
{
    Mch *s = dev_as(Mch, mch);
    s->host = dev_as(Q35Host, host);
    s->below_4g = below_4g;
}

PcShadow *mch_shadow(Device *mch)
{
    return &dev_as(Mch, mch)->shadow;
}

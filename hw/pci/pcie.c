/* SPDX-License-Identifier: MIT
 * hw/pci/pcie.c - the PCI Express capability and the memory-mapped configuration space.
 *
 * Models: PCI Express Base Specification 3.0: 7.2.2 (ECAM), 7.8 (capability, version 2) of endpoints and root
 *         ports: a link of one lane at 2.5 GT/s. Slots: pcie-slot.c.
 * Does not model: power management of the link, link disable and retraining, error reporting (7.10).
 * Threads: the function's domain; ECAM accesses take that of the addressed function.
 */
#include "rhea/hw/pcie.h"
#include "pci_internal.h"
#include "rhea/system/machine.h"

enum { /* offsets in the capability */
       EXP_CAP_ID = 0x10,
       EXP_FLAGS = 0x02,
       EXP_DEVCAP = 0x04,
       EXP_DEVCTL = 0x08,
       EXP_DEVSTA = 0x0a,
       EXP_LNKCAP = 0x0c,
       EXP_LNKCTL = 0x10,
       EXP_LNKSTA = 0x12,
       EXP_RTCTL = 0x1c,
       EXP_RTSTA = 0x20,
       EXP_LNKCAP2 = 0x2c,
       EXP_SIZE = 0x3c,
       FLAGS_VERSION = 2,
       FLAGS_SLOT = 1 << 8,
       DEVCAP_ROLE_BASED = 1 << 15,
       DEVCTL_DEFAULT = 0x2810, /* 512-byte reads, no-snoop and relaxed ordering allowed */
       DEVCTL_WRITABLE = 0x78ff,
       LINK_X1_2500 = 0x11,
       LNKCAP_ACTIVE_REPORTING = 1 << 20,
       LNKCTL_WRITABLE = 0xc8, /* read completion boundary, common clock, extended synch */
       RTCTL_WRITABLE = 0x0f,
};

void pcie_reset(PciFunc *f)
{
    if (!f->express_cap) {
        return;
    }
    uint8_t *c = f->config + f->express_cap;
    pci_put16(c + EXP_DEVCTL, DEVCTL_DEFAULT);
    pci_put16(c + EXP_DEVSTA, 0);
    pci_put16(c + EXP_LNKCTL, 0);
    pci_put16(c + EXP_LNKSTA, LINK_X1_2500);
    pci_put16(c + EXP_RTCTL, 0);
    pci_put32(c + EXP_RTSTA, 0);
    pcie_slot_reset(f);
}

bool pcie_add_capability(Device *dev, PcieKind kind, unsigned port, unsigned slot, Error **errp)
{
    PciFunc *f = pci_func(dev);
    unsigned at = pci_add_capability(dev, EXP_CAP_ID, EXP_SIZE);
    if (!at) {
        return error_set(errp, "'%s': no room for the PCI Express capability", device_name(dev));
    }
    bool is_port = kind == PCIE_ROOT_PORT;
    f->express_cap = at;
    pci_set_word(dev, at + EXP_FLAGS, FLAGS_VERSION | kind << 4 | (is_port ? FLAGS_SLOT : 0));
    pci_set_long(dev, at + EXP_DEVCAP, DEVCAP_ROLE_BASED);
    pci_set_long(dev, at + EXP_LNKCAP, LINK_X1_2500 | (is_port ? LNKCAP_ACTIVE_REPORTING : 0) | port << 24);
    pci_set_long(dev, at + EXP_LNKCAP2, 1 << 1); /* 2.5 GT/s */
    pci_set_wmask(dev, at + EXP_DEVCTL, DEVCTL_WRITABLE, 2);
    pci_set_wmask(dev, at + EXP_LNKCTL, LNKCTL_WRITABLE, 2);
    if (is_port) {
        pcie_slot_init(f, slot);
        pci_set_wmask(dev, at + EXP_RTCTL, RTCTL_WRITABLE, 2);
    }
    pcie_reset(f);
    return true;
}

/* ---- ECAM: bus in bits 27:20, device and function in 19:12 ---- */

static uint64_t ecam_read(void *opaque, MemAccess *a)
{
    PcieEcam *e = opaque;
    return pci_config_read(e->bus, a->off >> 12, a->off & 0xfff, a->size);
}

static void ecam_write(void *opaque, MemAccess *a, uint64_t val)
{
    PcieEcam *e = opaque;
    pci_config_write(e->bus, a->off >> 12, a->off & 0xfff, val, a->size);
}

void pcie_ecam_init(PcieEcam *e, Device *owner, PciBus *root)
{
    static const MemOps ops = { .read = ecam_read,
                                .write = ecam_write,
                                .min = 1,
                                .max = 8,
                                .impl_min = 1,
                                .impl_max = 4,
                                .lockless = true };
    e->bus = root;
    region_init_io(&e->region, owner, "pcie-ecam", &ops, e, PCIE_ECAM_SIZE);
}

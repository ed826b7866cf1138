/* SPDX-License-Identifier: MIT
 * hw/pci/pci_internal.h - registers of the configuration header and the seam inside hw/pci.
 */
#ifndef HW_PCI_INTERNAL_H
#define HW_PCI_INTERNAL_H

#include "rhea/hw/pci.h"

/* PCI Local Bus 3.0, figure 6-1 (type 00h header). */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CLASS = 0x0a,
    PCI_CACHE_LINE = 0x0c,
    PCI_LATENCY = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBVENDOR = 0x2c,
    PCI_SUBDEVICE = 0x2e,
    PCI_ROM = 0x30,
    PCI_CAP_PTR = 0x34,
    PCI_INT_LINE = 0x3c,
    PCI_INT_PIN = 0x3d,
    /* PCI-to-PCI Bridge 1.2, figure 3-1 (type 01h header) */
    PCI_PRIMARY = 0x18,
    PCI_SECONDARY = 0x19,
    PCI_SUBORDINATE = 0x1a,
    PCI_IO_BASE = 0x1c,
    PCI_SEC_STATUS = 0x1e,
    PCI_MEM_BASE = 0x20,
    PCI_PREF_BASE = 0x24,
    PCI_PREF_BASE_HI = 0x28,
    PCI_PREF_LIMIT_HI = 0x2c,
    PCI_BRIDGE_CTL = 0x3e,
    PCI_HEADER_END = 0x40,
};
enum {
    PCI_CMD_IO = 1 << 0, PCI_CMD_MEM = 1 << 1, PCI_CMD_MASTER = 1 << 2, PCI_CMD_PARITY = 1 << 6,
    PCI_CMD_SERR = 1 << 8, PCI_CMD_INTX_OFF = 1 << 10,
    PCI_STATUS_INTX = 1 << 3, PCI_STATUS_CAPS = 1 << 4, PCI_STATUS_W1C = 0xf900,
    PCI_HEADER_MULTI = 0x80, PCI_HEADER_BRIDGE = 1, PCI_BRIDGE_RESET = 1 << 6,
    PCI_BAR_IS_IO = 1, PCI_BAR_IS_64 = 4, PCI_BAR_IS_PREFETCH = 8, PCI_ROM_ENABLE = 1,
};

static inline unsigned pci_le16(const uint8_t *p) { return p[0] | p[1] << 8; }
static inline uint32_t pci_le32(const uint8_t *p) { return pci_le16(p) | (uint32_t)pci_le16(p + 2) << 16; }
static inline void pci_put16(uint8_t *p, unsigned v) { p[0] = v; p[1] = v >> 8; }
static inline void pci_put32(uint8_t *p, uint32_t v) { pci_put16(p, v); pci_put16(p + 2, v >> 16); }

/* pci-config.c */
extern const IrqSinkOps pci_intx_sink;  /* sink = PciFunc *, pin = 0..3 */
bool pci_bars_setup(PciFunc *f, Error **errp); /* windows and masks from the exported regions */
void pci_bars_update(PciFunc *f);       /* map what the command and base registers say */
void pci_bars_fini(PciFunc *f);
void pci_intx_update(PciFunc *f);
hwaddr pci_bar_addr(const PciFunc *f, unsigned k);

/* msix.c; nothing for a function without MSI-X */
void pci_msix_control_written(PciFunc *f, unsigned off, unsigned len);
void pci_msix_reset(PciFunc *f);
/* msi.c; nothing for a function without MSI */
void pci_msi_written(PciFunc *f, unsigned off, unsigned len);
void pci_msi_reset(PciFunc *f);
/* pci.c */
const PciOps *pci_ops_of(const DeviceType *t);
/* pcie.c; nothing for a function without the capability */
void pcie_reset(PciFunc *f);
/* pcie-slot.c; nothing for a bridge that is no port. In its domain, or before the machine is up. */
void pcie_slot_init(PciFunc *f, unsigned number); /* registers, once the capability is there */
void pcie_slot_reset(PciFunc *f);
void pcie_slot_settle(PciFunc *f);   /* who is there is what the guest finds: power is on for him, no event */
void pcie_slot_written(PciFunc *f);  /* after the guest wrote anywhere in configuration space */
void pcie_slot_loaded(PciFunc *f);
void pcie_slot_fini(PciFunc *f);
void pcie_slot_emptied(PciFunc *f);  /* the last function behind it is gone */
/* bridge.c; f->bridge is not NULL */
void pci_bridge_written(PciFunc *f, unsigned off, unsigned len);
void pci_bridge_reset(PciFunc *f);
void pci_bridge_sync(PciFunc *f);       /* numbers, windows and pins as the registers say */
void pci_bridge_own_pin(PciFunc *f, unsigned pin, bool level);
bool pci_bus_is_shut(const PciBus *bus); /* a bridge above is at its secondary bus reset; any thread */

#endif

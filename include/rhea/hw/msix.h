/* SPDX-License-Identifier: MIT
 * rhea/hw/msix.h - MSI-X for PCI functions (PCI Local Bus 3.0, section 6.8.2): one BAR that holds the vector
 * table and the pending bits.
 *
 * The PciMsix is embedded in its device, whose VmState table has VM_STRUCT(T, member, pci_msix_state).
 * Reset and the capability's control word are the bus's business. All calls: the device's domain.
 */
#ifndef RHEA_HW_MSIX_H
#define RHEA_HW_MSIX_H

#include "rhea/hw/pci.h"
#include "rhea/system/msiroute.h"

enum { PCI_MSIX_VECTORS = 128 }; /* most that one function has here; the specification allows 2048 */

typedef struct PciMsix {
    Device *dev;
    MemRegion bar;
    unsigned n;      /* vectors */
    uint8_t cap;     /* offset of the capability */
    uint32_t pba_at; /* offset of the pending bits in the BAR */
    uint32_t table[PCI_MSIX_VECTORS][4]; /* address, upper address, data, vector control */
    uint32_t pending[PCI_MSIX_VECTORS / 32];
    MsiRoute *routes; /* by vector */
} PciMsix;

/* In realize: adds the capability and prepares x->bar, which the device exports as base address register
 * `bar_no` (32-bit memory). n: 1 to PCI_MSIX_VECTORS. */
bool pci_msix_init(PciMsix *x, Device *dev, unsigned n, unsigned bar_no, Error **errp);
bool pci_msix_enabled(const PciMsix *x); /* while it is, the function must not use its interrupt pin */
/* Sends the vector's message, or keeps it pending while it is masked. Nothing while MSI-X is disabled or for
 * a vector that does not exist. */
void pci_msix_notify(PciMsix *x, unsigned vector);
void pci_msix_drop(PciMsix *x, unsigned vector); /* no longer pending: its cause is gone */

extern const VmState pci_msix_state;

#endif

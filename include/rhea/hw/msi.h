/* SPDX-License-Identifier: MIT
 * rhea/hw/msi.h - MSI for PCI functions (PCI Local Bus 3.0, section 6.8.1): 64-bit addresses, masks.
 *
 * All of its state is in configuration space, so the bus saves and resets it. All calls: the device's domain.
 */
#ifndef RHEA_HW_MSI_H
#define RHEA_HW_MSI_H

#include "rhea/hw/pci.h"
#include "rhea/system/msiroute.h"

typedef struct PciMsi {
    Device *dev;
    uint8_t cap;      /* offset of the capability */
    uint8_t n;        /* messages */
    MsiRoute *routes; /* by message */
} PciMsi;

/* In realize. n: 1, 2, 4, ... 32 messages at most. */
bool pci_msi_init(PciMsi *x, Device *dev, unsigned n, Error **errp);
bool pci_msi_enabled(const PciMsi *x); /* while it is, the function must not use its interrupt pin */
/* Sends the message, or keeps it pending while it is masked; one that software did not grant becomes the
 * last granted one. Nothing while MSI is disabled. */
void pci_msi_notify(PciMsi *x, unsigned vector);

#endif

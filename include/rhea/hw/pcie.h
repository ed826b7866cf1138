/* SPDX-License-Identifier: MIT
 * rhea/hw/pcie.h - bridges and PCI Express: secondary buses, the Express capability, memory-mapped
 * configuration space (ECAM).
 *
 * A bridge device embeds a PciBridge and has PciOps.header_type 1; the bus does the rest: numbers, windows,
 * interrupt pins of what is behind, secondary bus reset. All calls: main loop, in realize.
 */
#ifndef RHEA_HW_PCIE_H
#define RHEA_HW_PCIE_H

#include "rhea/hw/pci.h"

enum { PCI_BRIDGE_MEM, PCI_BRIDGE_PREF, PCI_BRIDGE_IO, PCI_BRIDGE_WINDOWS };

/* Of a port; the registers are in its configuration space. Its domain's. */
typedef struct PcieSlot {
    bool present;        /* there is a slot */
    bool hotplug;        /* before pcie_add_capability(): its devices come and go */
    bool asserted;       /* an event asks for an interrupt */
    bool take, refused;  /* what the guest answered, for the main loop */
    uint16_t control;    /* the register before the guest's last write */
    int64_t asked_until; /* virtual time: the guest was asked to let go, and is not asked again before; 0: it was not */
    Task task;
} PcieSlot;

typedef struct PciBridge {
    Device *dev;
    PciBus *secondary;
    MemRegion mem, io;                     /* what the devices behind it see */
    MemRegion window[PCI_BRIDGE_WINDOWS];  /* parts of these, in the bus above */
    pthread_mutex_t lock;                  /* guards what follows */
    uint64_t behind[4][4];                 /* by pin of this bridge: a bit for each function behind it */
    bool own[4];                           /* what the bridge itself asks for */
    PcieSlot slot;
    /* Secondary bus reset; the bridge's domain's, `shut` atomic. */
    bool in_reset;     /* the control register's bit before the guest's last write */
    bool reset_wanted; /* who is behind has still to be reset, by the main loop */
    bool shut;         /* one of the two: no guest reaches who is behind */
    DomainTask reset;
} PciBridge;

/* Makes the secondary bus: named as the bridge's id, else `name`. express: a PCI Express port, with one slot. */
bool pci_bridge_init(PciBridge *b, Device *dev, const char *name, bool express, Error **errp);
/* What the registers say; base > limit: closed. */
void pci_bridge_window(const PciBridge *b, unsigned k, hwaddr *base, hwaddr *limit);

typedef enum PcieKind { PCIE_ENDPOINT = 0, PCIE_ROOT_PORT = 4 } PcieKind; /* PCI Express Base 3.0, table 7-11 */
/* Also makes the function's extended configuration space reachable. port, slot: of a port only. */
bool pcie_add_capability(Device *dev, PcieKind kind, unsigned port, unsigned slot, Error **errp);

/* For the bus behind a port whose slot has hotplug: attention button, power and presence (6.7). */
extern const BusHotplug pcie_slot_hotplug;
/* Power is on and the link up for who is behind the port, without an event: somebody else tells the guest. The
 * port's domain. */
void pcie_slot_power_on(Device *port);

/* PCI Express Base 3.0, 7.2.2: 1 MiB for each bus. The owner maps `region` and may make it smaller. */
typedef struct PcieEcam {
    MemRegion region;
    PciBus *bus;
} PcieEcam;
enum { PCIE_ECAM_SIZE = 256 << 20 };
void pcie_ecam_init(PcieEcam *e, Device *owner, PciBus *root);

/* Of class and subclass, 16 bits; NULL: one without a name here. Any thread. */
const char *pci_class_name(unsigned code);

#endif

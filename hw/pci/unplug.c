/* SPDX-License-Identifier: MIT
 * hw/pci/unplug.c - a function goes while the machine is up.
 *
 * Models: nothing that a guest sees: it has let go, or it finds what it would find in a slot without power:
 *         configuration reads are all-ones, memory is nobody's.
 * Threads: main loop, no domain held; the function's domain is taken for each step that its guest could see
 *         half of. Order: cut off, reset (what is under way comes back to a device that has forgotten it),
 *         removed (which waits for it).
 */
#include "pci_internal.h"
#include "rhea/hw/pcie.h"
#include "rhea/system/hotplug.h"
#include "rhea/system/machine.h"

bool pci_may_hotplug(const Device *dev)
{
    const PciOps *ops = pci_ops_of(dev->type);
    return ops && !ops->no_hotplug;
}

bool pci_slot_is_seen(const Device *dev)
{
    const PciFunc *f = dev->bus_data;
    return f->bus->slot[f->devfn & ~7u];
}

static void cut_off(PciFunc *f)
{
    domain_lock(f->dev->domain);
    f->gone = true;
    pci_put16(f->config + PCI_COMMAND, 0);
    f->bus_master = false;
    pci_bars_update(f);
    f->intx_level = false;
    pci_intx_update(f);
    domain_unlock(f->dev->domain);
}

static void tell_port(PciBus *bus)
{
    Device *port = bus->bridge ? bus->bridge->dev : NULL;
    for (unsigned fn = 0; port && fn < 8; fn++) {
        port = bus->slot[fn] ? NULL : port;
    }
    if (port) {
        domain_lock(port->domain);
        pcie_slot_emptied(pci_func(port));
        domain_unlock(port->domain);
    }
}

void pci_unplugged(Device *dev)
{
    PciFunc *f = pci_func(dev);
    PciBus *bus = f->bus;
    role_assert_main();
    if (dev->going) {
        return;
    }
    cut_off(f);
    device_reset_hold(dev, RESET_COLD);
    device_unplugged(dev);
    tell_port(bus);
}

void pci_slot_unplugged(PciBus *bus, unsigned slot)
{
    for (unsigned fn = 8; fn; fn--) {
        Device *d = bus->slot[PCI_DEVFN(slot, fn - 1)];
        if (d && pci_may_hotplug(d)) {
            pci_unplugged(d);
        }
    }
}

/* SPDX-License-Identifier: MIT
 * hw/pci/root-port.c - "pcie-root-port": a PCI Express root port with one slot behind it.
 *
 * Models: PCI Express Base Specification 3.0, 7.8 (root port with a slot), MSI for what a port reports,
 *         subsystem ids by capability (PCI-to-PCI Bridge 1.2, 3.2.5.13). Hot-plug: pcie-slot.c, or ACPI's
 *         where the board takes the slots over.
 * Does not model: error reporting, power management events.
 * Threads: the device's domain.
 */
#include "rhea/hw/msi.h"
#include "rhea/hw/pcie.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

enum { SSVID_CAP_ID = 0x0d, SSVID_CAP_SIZE = 8 };

typedef struct RootPort {
    Device dev;
    uint8_t port, chassis; /* configuration */
    uint16_t slot;
    bool hotplug;
    PciBridge bridge; /* wiring */
    PciMsi msi;
} RootPort;

static bool root_port_check(const RootPort *s, PciBus *bus, Error **errp)
{
    if (!bus->express || bus->bridge) {
        error_fail(errp, "invalid-value", "bus", NULL,
                   "'pcie-root-port' must be on the root bus of a PCI Express board, not on '%s'",
                   bus->bus->name);
        error_hint(errp, "use -M q35 and bus=pcie.0");
        return false;
    }
    for (unsigned devfn = 0; devfn < 256; devfn++) { /* chassis and slot together name a slot (3.2.6) */
        Device *d = bus->slot[devfn];
        const RootPort *other = d && d->type == s->dev.type ? dev_as(RootPort, d) : NULL;
        if (other && other->chassis == s->chassis && other->slot == s->slot) {
            error_fail(errp, "in-use", "slot", NULL,
                       "slot %u of chassis %u is taken by '%s'", s->slot, s->chassis, device_name(d));
            error_hint(errp, "give each root port another chassis= or slot=");
            return false;
        }
    }
    return true;
}

static bool root_port_realize(Device *dev, Error **errp)
{
    RootPort *s = dev_as(RootPort, dev);
    PciBus *bus = pci_func(dev)->bus;
    g_autofree char *name =
        g_strdup_printf("pcie-port.%02x.%x", pci_func(dev)->devfn >> 3, pci_func(dev)->devfn & 7);
    if (!root_port_check(s, bus, errp) || !pci_bridge_init(&s->bridge, dev, name, true, errp)) {
        return false;
    }
    Bus *behind = s->bridge.secondary->bus;
    s->bridge.slot.hotplug = s->hotplug;
    behind->hotplug = s->hotplug ? &pcie_slot_hotplug : NULL;
    behind->no_hotplug = "leave hotplug=off out of that port's options";
    if (!pcie_add_capability(dev, PCIE_ROOT_PORT, s->port, s->slot, errp) ||
        !pci_msi_init(&s->msi, dev, 1, errp)) {
        return false;
    }
    uint8_t cap = pci_add_capability(dev, SSVID_CAP_ID, SSVID_CAP_SIZE);
    pci_set_word(dev, cap + 4, bus->subvendor);
    pci_set_word(dev, cap + 6, bus->subdevice);
    return true;
}

static const Prop root_port_props[] = {
    PROP_U8(RootPort, port, "port", 0, 0, UINT8_MAX, "Port number of the link"),
    PROP_U8(RootPort, chassis, "chassis", 0, 0, UINT8_MAX, "Chassis that the slot is in"),
    PROP_U16(RootPort, slot, "slot", 0, 0, 0x1fff, "Number of the slot, unique in its chassis"),
    PROP_BOOL(RootPort, hotplug, "hotplug", true, "Devices may come and go while the machine runs"),
    { 0 },
};

static const PciOps root_port_ops = {
    .vendor = 0x1b36,
    .device = 0x000c,
    .class_code = 0x060400,
    .header_type = 1,
    .intx_pin = 1,
    .no_hotplug = true,
    .express = true,
};

const DeviceType pcie_root_port_type = {
    .name = "pcie-root-port",
    .desc = "PCI Express root port",
    .size = sizeof(RootPort),
    .category = "Bridge",
    .bus_type = &pci_bus_type,
    .bus_ops = &root_port_ops,
    .props = root_port_props,
    .realize = root_port_realize,
};

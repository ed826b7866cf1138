/* SPDX-License-Identifier: MIT
 * hw/pci/pci-print.c - the text of `info pci`.
 *
 * Models: class names of the PCI Code and ID Assignment Specification 1.11, section 1.
 * Does not model: anything; it reads what pci.c keeps.
 * Threads: takes each function's domain for the time of its lines.
 */
#include "pci_internal.h"
#include "rhea/hw/pcie.h"
#include "rhea/system/machine.h"
#include <inttypes.h>

static const struct { uint16_t code; const char *name;
} pci_classes[] = {
    { 0x0001, "VGA controller" },
    { 0x0100, "SCSI controller" },
    { 0x0101, "IDE controller" },
    { 0x0102, "Floppy controller" },
    { 0x0106, "SATA controller" },
    { 0x0108, "NVMe controller" },
    { 0x0180, "Storage controller" },
    { 0x0200, "Ethernet controller" },
    { 0x0280, "Network controller" },
    { 0x0300, "VGA controller" },
    { 0x0380, "Display controller" },
    { 0x0400, "Video controller" },
    { 0x0401, "Audio controller" },
    { 0x0403, "Audio controller" },
    { 0x0500, "RAM controller" },
    { 0x0600, "Host bridge" },
    { 0x0601, "ISA bridge" },
    { 0x0604, "PCI bridge" },
    { 0x0680, "Bridge" },
    { 0x0700, "Serial port" },
    { 0x0780, "Communication controller" },
    { 0x0880, "System peripheral" },
    { 0x0900, "Keyboard controller" },
    { 0x0c03, "USB controller" },
    { 0x0c05, "SMBus" },
    { 0x00ff, "Device" },
};

const char *pci_class_name(unsigned code)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(pci_classes); i++) {
        if (pci_classes[i].code == code) {
            return pci_classes[i].name;
        }
    }
    return NULL;
}

static void pci_print_bars(const PciFunc *f, GString *out)
{
    for (unsigned k = 0; k < PCI_BARS; k++) {
        if (!f->bar[k].region) {
            continue;
        }
        const PciBarDesc *d = &f->bar[k].desc;
        hwaddr at = f->bar[k].mapped ? f->bar[k].at : UINT64_MAX;
        hwaddr last = f->bar[k].mapped ? at + f->bar[k].size - 1 : f->bar[k].size - 2;
        if (d->kind == PCI_BAR_IO) {
            g_string_append_printf(out, "      BAR%u: I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n", k, at,
                                   last);
        } else {
            g_string_append_printf(
                out, "      BAR%u: %u bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n", k,
                d->kind == PCI_BAR_MEM64 ? 64 : 32, d->prefetch ? " prefetchable" : "", at, last);
        }
    }
    if (f->rom_ram) {
        hwaddr at = f->rom_mapped ? f->rom_at : UINT64_MAX;
        g_string_append_printf(out, "      BAR6: 32 bit memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n", at,
                               f->rom_mapped ? at + f->rom_ram->size - 1 : f->rom_ram->size - 2);
    }
}

static void pci_print_bridge(const PciFunc *f, GString *out)
{
    static const char *const names[] = { "memory", "prefetchable memory", "IO" };
    g_string_append_printf(out, "      BUS %u.\n      secondary bus %u.\n      subordinate bus %u.\n",
                           f->config[PCI_PRIMARY], f->config[PCI_SECONDARY], f->config[PCI_SUBORDINATE]);
    for (unsigned k = 0; k < PCI_BRIDGE_WINDOWS; k++) {
        hwaddr base, limit;
        pci_bridge_window(f->bridge, k, &base, &limit);
        g_string_append_printf(out, "      %s range [0x%08" PRIx64 ", 0x%08" PRIx64 "]\n", names[k], base,
                               limit);
    }
}

static void pci_print_func(const PciFunc *f, GString *out)
{
    unsigned class = pci_le16(f->config + PCI_CLASS);
    const char *name = pci_class_name(class);
    g_string_append_printf(out, "  Bus %2u, device %3u, function %u:\n    ", f->bus->number, f->devfn >> 3,
                           f->devfn & 7);
    if (name) {
        g_string_append(out, name);
    } else {
        g_string_append_printf(out, "Class %04x", class);
    }
    g_string_append_printf(out, ": PCI device %04x:%04x\n", pci_le16(f->config),
                           pci_le16(f->config + PCI_DEVICE_ID));
    if (!f->bridge) {
        g_string_append_printf(out, "      PCI subsystem %04x:%04x\n", pci_le16(f->config + PCI_SUBVENDOR),
                               pci_le16(f->config + PCI_SUBDEVICE));
    }
    if (f->config[PCI_INT_PIN]) {
        g_string_append_printf(out, "      IRQ %u, pin %c\n", f->config[PCI_INT_LINE],
                               'A' + f->config[PCI_INT_PIN] - 1);
    }
    if (f->bridge) {
        pci_print_bridge(f, out);
    }
    pci_print_bars(f, out);
    g_string_append_printf(out, "      id \"%s\"\n", f->dev->id ? f->dev->id : "");
}

void pci_print(PciBus *bus, GString *out)
{
    rcu_read_lock();
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        Device *d = rcu_get(&bus->slot[devfn]);
        if (d) {
            bool locked = !domain_held(d->domain);
            if (locked) {
                domain_lock(d->domain);
            }
            pci_print_func(pci_func(d), out);
            if (locked) {
                domain_unlock(d->domain);
            }
        }
    }
    rcu_read_unlock();
}

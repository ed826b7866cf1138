/* SPDX-License-Identifier: MIT
 * hw/pci/pci.c - the PCI bus: who sits where, what a function looks like after reset.
 *
 * Models: PCI Local Bus Specification 3.0, chapter 6 (type 00h header, capability list, expansion ROM). Type
 *         01h: bridge.c; PCI Express: pcie.c.
 * Does not model: 66 MHz and power states. Hot-plug: unplug.c and what Bus.hotplug leads to.
 * Threads: places are given and taken on the main loop; configuration space belongs to the function's
 * domain; bus->slot[] is published by RCU so that configuration cycles need no bus lock.
 */
#include "pci_internal.h"
#include "rhea/hw/pcie.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

static const Prop pci_child_props[] = {
    PROP_PCI_ADDR(PciFunc, addr_prop, "addr", "Slot and optional function: DEV[.FN], hexadecimal"),
    PROP_BOOL(PciFunc, multifunction, "multifunction", false,
              "Slot has several functions; set on function 0"),
    PROP_STR(PciFunc, romfile, "romfile", NULL,
             "Option ROM image; empty: none; default: the type's own, a network card's from iPXE"),
    PROP_I32(PciFunc, rombar, "rombar", 1, 0, 1, "1: the option ROM is in the ROM BAR; 0: no option ROM"),
    PROP_U32(PciFunc, romsize, "romsize", UINT32_MAX, 0, UINT32_MAX,
             "Bytes of the ROM BAR, a power of two; 4294967295: what the image needs"),
    PROP_ONLY_UINT("acpi-index", 0, "the ACPI tables name no PCI devices",
                   "leave it out; give addr=, from which guests make up names"),
    PROP_NEVER("failover_pair_id", "cards that stand in for others are not supported",
               "leave it out"),
    PROP_NEVER("x-pcie-extcap-init", PROP_OLD_MACHINES),
    PROP_NEVER("x-pcie-lnksta-dllla", PROP_OLD_MACHINES),
    { 0 },
};

const PciOps *pci_ops_of(const DeviceType *t)
{
    for (; t; t = t->base) {
        if (t->bus_ops) {
            return t->bus_ops;
        }
    }
    return NULL;
}

static void pci_describe_holder(GString *s, Device *d)
{
    g_string_append_printf(s, "'%s'", d->type->name);
    if (d->id) {
        g_string_append_printf(s, ", id '%s'", d->id);
    }
}

static bool pci_slot_empty(const PciBus *b, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++) {
        if (b->slot[PCI_DEVFN(slot, fn)]) {
            return false;
        }
    }
    return true;
}

/* 3.0, 6.2.1 (header type bit 7): software looks at functions 1..7 only if function 0 says so. */
static bool pci_check_multifunction(PciBus *b, Device *dev, unsigned devfn, bool multi, Error **errp)
{
    unsigned slot = devfn >> 3, fn = devfn & 7;
    Device *zero = b->slot[PCI_DEVFN(slot, 0)];
    if (fn != 0) {
        if (zero && dev->hotplugged) { /* the guest has looked at the slot already */
            error_fail(errp, "conflict", "addr", NULL,
                       "PCI address %02x.%x: '%s' is function 0 of that slot, and the guest has seen it",
                       slot, fn, device_name(zero));
            error_hint(errp, "use another slot, or remove '%s' and add it again as the last function",
                       device_name(zero));
            return false;
        }
        if (zero && !pci_func(zero)->multifunction) {
            error_fail(errp, "conflict", "multifunction", NULL,
                       "PCI address %02x.%x: '%s' is function 0 of that slot and has multifunction=off",
                       slot, fn, zero->id ? zero->id : zero->type->name);
            error_hint(errp, "set multifunction=on on the device at %02x.0", slot);
            return false;
        }
        return true;
    }
    if (!multi && !pci_slot_empty(b, slot)) {
        error_fail(errp, "conflict", "multifunction", NULL,
                   "PCI address %02x.0: other functions of that slot are in use, but '%s' has "
                   "multifunction=off",
                   slot, device_name(dev));
        error_hint(errp, "set multifunction=on on '%s'", device_name(dev));
        return false;
    }
    return true;
}

static bool pci_pick_devfn(PciBus *b, Device *dev, unsigned *devfn, Error **errp)
{
    PciFunc *f = pci_func(dev);
    if (f->addr_prop < 0) {
        for (unsigned slot = b->first_free; slot < b->n_slots; slot++) {
            if (pci_slot_empty(b, slot)) {
                *devfn = PCI_DEVFN(slot, 0);
                return true;
            }
        }
        error_fail(errp, "no-place", "bus", NULL,
                   "no free slot on PCI bus '%s' for '%s'", b->bus->name, device_name(dev));
        error_hint(errp, "%s",
                   b->n_slots == 1
                       ? "remove the device there, or give every device a pcie-root-port of its own"
                       : "remove a device, or put several into one slot: multifunction=on,addr=SLOT.0, "
                         "addr=SLOT.1, ...");
        return false;
    }
    *devfn = f->addr_prop;
    if (*devfn >> 3 >= b->n_slots && *devfn <= 255) {
        error_fail(errp, "out-of-range", "addr", NULL,
                   "PCI address %02x.%x: bus '%s' belongs to a PCI Express port and has slot 0 only",
                   *devfn >> 3, *devfn & 7, b->bus->name);
        error_hint(errp, "use addr=0, or give every device a pcie-root-port of its own");
        return false;
    }
    Device *holder = *devfn < 256 ? b->slot[*devfn] : NULL;
    if (*devfn > 255 || holder) {
        g_autoptr(GString) who = g_string_new(NULL);
        if (holder) {
            pci_describe_holder(who, holder);
        }
        if (!holder) {
            return error_fail(errp, "out-of-range", "addr", "slots are 0 to 1f, functions 0 to 7",
                              "PCI address 0x%x is beyond slot 1f, function 7", *devfn);
        }
        error_fail(errp, "in-use", "addr", NULL,
                   "PCI address %02x.%x on bus '%s' is in use by %s", *devfn >> 3, *devfn & 7, b->bus->name,
                   who->str);
        error_hint(errp, b->n_slots > 1 ? "leave addr out: the next free slot is taken"
                                        : "give every device a pcie-root-port of its own");
        return false;
    }
    return pci_check_multifunction(b, dev, *devfn, f->multifunction, errp);
}

static void pci_init_header(PciFunc *f)
{
    const PciOps *o = f->ops;
    uint8_t *c = f->config;
    pci_put16(c + PCI_VENDOR_ID, o->vendor);
    pci_put16(c + PCI_DEVICE_ID, o->device);
    c[PCI_REVISION] = o->revision;
    c[PCI_CLASS_PROG] = o->class_code;
    pci_put16(c + PCI_CLASS, o->class_code >> 8);
    c[PCI_HEADER_TYPE] = o->header_type | (f->multifunction ? PCI_HEADER_MULTI : 0);
    if (o->header_type != PCI_HEADER_BRIDGE) {
        pci_put16(c + PCI_SUBVENDOR, o->subvendor ? o->subvendor : f->bus->subvendor);
        pci_put16(c + PCI_SUBDEVICE, o->subvendor ? o->subdevice : f->bus->subdevice);
    }
    c[PCI_INT_PIN] = o->intx_pin;
    pci_put16(f->wmask + PCI_COMMAND,
              PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER | PCI_CMD_PARITY | PCI_CMD_SERR | PCI_CMD_INTX_OFF);
    pci_put16(f->w1cmask + PCI_STATUS, PCI_STATUS_W1C);
    f->wmask[PCI_CACHE_LINE] = 0xff;
    f->wmask[PCI_LATENCY] = 0xff;
    f->wmask[PCI_INT_LINE] = 0xff;
    f->cap_next = PCI_HEADER_END;
}

void pci_choose_ops(Device *dev, const PciOps *ops)
{
    PciFunc *f = pci_func(dev);
    f->ops = ops;
    pci_init_header(f);
}

bool pci_behind_port(Device *dev)
{
    const PciBus *b = pci_func(dev)->bus;
    return b->express && b->bridge;
}

void pci_enable_bus_master(Device *dev)
{
    PciFunc *f = pci_func(dev);
    f->config[PCI_COMMAND] |= PCI_CMD_MASTER;
    f->bus_master = true;
}

static bool pci_prepare(Bus *bus, Device *dev, Error **errp)
{
    PciBus *b = bus->impl;
    PciFunc *f = pci_func(dev);
    unsigned devfn;
    f->ops = pci_ops_of(dev->type);
    if (!f->ops) {
        return error_set(errp, "'%s' is not a PCI device", dev->type->name);
    }
    if (!f->rombar && f->romfile && f->romfile[0]) {
        error_fail(errp, "conflict", "romfile", NULL,
                   "romfile=%s with rombar=0: the image would be visible nowhere", f->romfile);
        error_hint(errp, "leave rombar at 1");
        return false;
    }
    if (!pci_pick_devfn(b, dev, &devfn, errp)) {
        return false;
    }
    f->dev = dev;
    f->bus = b;
    f->devfn = devfn;
    f->dma = (DmaContext){ .as = &dev->machine->as_mem,
                           .requester = b->number << 8 | devfn,
                           .enabled = &f->bus_master };
    pci_init_header(f);
    return true;
}

/* PCI Firmware 3.0, 5.1: firmware runs images for the function's own ids only. A type's own ROM serves all
 * of its variants, so its ids become the variant's; an image for PCs still sums up to zero, by a reserved
 * byte. */
static void pci_fit_rom(const PciFunc *f, uint8_t *rom, size_t len)
{
    enum { ROM_HEADER = 0x1a, ROM_DATA = 24, FOR_PC = 0, SPARE = 6, LAST = 0x80 };
    for (size_t at = 0; len - at >= ROM_HEADER && pci_le16(rom + at) == 0xaa55;) {
        uint8_t *image = rom + at, *data = image + pci_le16(image + 0x18);
        size_t room = len - at, size;
        if ((size_t)(data - image) + ROM_DATA > room || memcmp(data, "PCIR", 4)) {
            return;
        }
        size = pci_le16(data + 16) * 512u;
        if (!size || size > room) {
            return;
        }
        uint8_t was = 0, is = 0;
        for (unsigned i = 4; i < 8; i++) {
            was += data[i];
        }
        pci_put16(data + 4, f->ops->vendor);
        pci_put16(data + 6, f->ops->device);
        for (unsigned i = 4; i < 8; i++) {
            is += data[i];
        }
        if (data[20] == FOR_PC) {
            image[SPARE] += was - is;
        }
        if (data[21] & LAST) {
            return;
        }
        at += size;
    }
}

/* The image becomes read-only memory of the next power of two, at least 2 KiB (3.0, 6.2.5.2). */
static bool pci_load_rom(PciFunc *f, Error **errp)
{
    const char *name = f->romfile ? f->romfile : f->ops->romfile;
    if (!f->rombar || !name || !name[0]) {
        if (f->romsize != UINT32_MAX) {
            error_fail(errp, "conflict", "romsize", NULL,
                       "romsize=%u: '%s' has no option ROM", f->romsize, device_name(f->dev));
            error_hint(errp, "give romfile=, or leave it out");
            return false;
        }
        return true;
    }
    Error *missing = NULL;
    g_autofree char *path = machine_find_firmware(f->dev->machine, name, &missing);
    if (!path) {
        error_prefix(&missing, "option ROM of '%s'", device_name(f->dev));
        if (f->romfile || f->romsize != UINT32_MAX) {
            return error_propagate(errp, missing);
        }
        if (f->dev->machine->firmware_path->len) { /* what the type has of its own: all but booting works */
            log_info("%s: firmware cannot boot from it%s%s", error_text(missing),
                     error_hint_text(missing) ? "; " : "",
                     error_hint_text(missing) ? error_hint_text(missing) : "");
        }
        error_free(missing);
        return true;
    }
    g_autofree char *data = NULL;
    gsize len;
    g_autoptr(GError) gerr = NULL;
    if (!g_file_get_contents(path, &data, &len, &gerr)) {
        return error_set(errp, "option ROM of '%s': %s", device_name(f->dev), gerr->message);
    }
    if (len == 0 || len > 16 * 1024 * 1024) {
        return error_fail(errp, "too-large", "romfile", "name another file",
                          "option ROM '%s' has %zu bytes; 1 byte to 16 MiB are possible", path, (size_t)len);
    }
    uint64_t size = RAM_PAGE_SIZE;
    if (f->romsize != UINT32_MAX) {
        if (f->romsize & (f->romsize - 1) || f->romsize < MAX(len, RAM_PAGE_SIZE)) {
            error_fail(errp, "conflict", "romsize", NULL,
                       "romsize=%u: the option ROM '%s' has %zu bytes", f->romsize, path, (size_t)len);
            error_hint(errp, "give a power of two from 4096 on that is not smaller, or leave it out");
            return false;
        }
        size = f->romsize;
    }
    while (size < len) {
        size <<= 1;
    }
    g_autofree char *ram_name = g_strdup_printf("%s.rom", f->dev->path ? f->dev->path : f->dev->type->name);
    f->rom_ram = ram_new(f->dev->machine, ram_name, size, errp);
    if (!f->rom_ram) {
        return false;
    }
    memcpy(f->rom_ram->host, data, len);
    if (!f->romfile) {
        pci_fit_rom(f, f->rom_ram->host, len);
    }
    ram_written(f->rom_ram, 0, len);
    region_init_rom(&f->rom_window, f->dev, "option-rom", f->rom_ram);
    pci_put32(f->wmask + PCI_ROM, (uint32_t)~(size - 1) | PCI_ROM_ENABLE);
    return true;
}

static bool pci_attach(Bus *bus, Device *dev, Error **errp)
{
    PciBus *b = bus->impl;
    PciFunc *f = pci_func(dev);
    if (!pci_bars_setup(f, errp) || !pci_load_rom(f, errp) ||
        (pci_behind_port(dev) && f->ops->express && !f->express_cap &&
         !pcie_add_capability(dev, PCIE_ENDPOINT, 0, 0, errp))) {
        pci_bars_fini(f);
        return false;
    }
    if (f->ops->intx_pin && dev->irqs->len) {
        f->intx = device_irq(dev, 0);
        irq_connect(f->intx, &pci_intx_sink, f, f->ops->intx_pin - 1);
    }
    rcu_publish(&b->slot[f->devfn], dev);
    if (b->bridge && !dev->hotplugged) { /* else whoever tells the guest does, in the port's domain */
        pcie_slot_settle(pci_func(b->bridge->dev));
    }
    return true;
}

static void pci_detach(Bus *bus, Device *dev)
{
    PciBus *b = bus->impl;
    PciFunc *f = pci_func(dev);
    if (b->slot[f->devfn] == dev) {
        rcu_publish(&b->slot[f->devfn], (Device *)NULL);
    }
    f->intx_level = false;
    pci_intx_update(f);
    pci_bars_fini(f);
}

/* 3.0, 2.2.1 (RST#): writable header registers return to zero. Device-specific space is the device's. */
static void pci_child_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    PciFunc *f = pci_func(dev);
    for (unsigned i = 0; i < PCI_HEADER_END; i++) {
        f->config[i] &= ~(f->wmask[i] | f->w1cmask[i]);
    }
    f->config[PCI_STATUS] &= ~PCI_STATUS_INTX;
    pci_msix_reset(f);
    pci_msi_reset(f);
    pcie_reset(f);
    if (f->bridge) {
        pci_bridge_reset(f);
    }
    f->bus_master = false;
    f->intx_level = false;
}

static void pci_child_reset_done(Device *dev)
{
    PciFunc *f = pci_func(dev);
    pci_bars_update(f);
    if (f->bridge) {
        pci_bridge_sync(f);
    }
    pci_intx_update(f);
}

/* What the stream may not change: identity and structure of the header. */
static bool pci_post_load(void *opaque, Error **errp)
{
    PciFunc *f = opaque;
    const uint8_t *c = f->config;
    if (pci_le16(c) != f->ops->vendor || pci_le16(c + PCI_DEVICE_ID) != f->ops->device ||
        (c[PCI_HEADER_TYPE] & 0x7f) != f->ops->header_type || c[PCI_INT_PIN] != f->ops->intx_pin) {
        return error_set(errp, "saved PCI function %04x:%04x is not this device (%04x:%04x)", pci_le16(c),
                         pci_le16(c + PCI_DEVICE_ID), f->ops->vendor, f->ops->device);
    }
    f->bus_master = c[PCI_COMMAND] & PCI_CMD_MASTER;
    pci_bars_update(f);
    if (f->bridge) {
        pcie_slot_loaded(f);
        pci_bridge_sync(f);
    }
    pci_intx_update(f);
    return true;
}

static bool pci_has_extended(const void *opaque)
{
    return ((const PciFunc *)opaque)->express_cap;
}

static const VmField pci_extended_fields[] = {
    { .name = "config",
      .kind = VM_BYTES_,
      .offset = offsetof(PciFunc, config) + PCI_CONFIG_SIZE,
      .count = PCIE_CONFIG_SIZE - PCI_CONFIG_SIZE },
    { 0 },
};
static const VmState pci_extended_state = {
    .name = "pci-extended", .version = 1, .oldest = 1, .fields = pci_extended_fields,
    .needed = pci_has_extended,
};
static const VmState *const pci_child_optional[] = { &pci_extended_state, NULL };
static const VmField pci_child_fields[] = {
    { .name = "config", .kind = VM_BYTES_, .offset = offsetof(PciFunc, config), .count = PCI_CONFIG_SIZE },
    VM_BOOL(PciFunc, intx_level),
    { 0 },
};
static const VmState pci_child_state = {
    .name = "pci-function", .version = 1, .oldest = 1, .fields = pci_child_fields,
    .optional = pci_child_optional, .post_load = pci_post_load,
};

static void pci_describe_child(Device *dev, GString *out, int indent)
{
    PciFunc *f = pci_func(dev);
    g_string_append_printf(out, "%*sclass %04x, addr %02x:%02x.%x, pci id %04x:%04x (sub %04x:%04x)\n",
                           indent, "", pci_le16(f->config + PCI_CLASS), f->bus->number, f->devfn >> 3,
                           f->devfn & 7, pci_le16(f->config), pci_le16(f->config + PCI_DEVICE_ID),
                           pci_le16(f->config + PCI_SUBVENDOR), pci_le16(f->config + PCI_SUBDEVICE));
}

/* PCI Bus Binding to IEEE 1275, 2.2.1.3 and 2.5: what the class is called, or ids; slot and function. */
static void pci_firmware_name(Device *dev, GString *out)
{
    static const struct { uint16_t class_code; const char *name; } names[] = {
        { 0x0100, "scsi" }, { 0x0101, "ide" }, { 0x0200, "ethernet" }, { 0x0604, "pci-bridge" },
        { 0x0c03, "usb" },
    };
    const PciFunc *f = pci_func(dev);
    const char *name = NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        name = f->ops->class_code >> 8 == names[i].class_code ? names[i].name : name;
    }
    if (name) {
        g_string_append_printf(out, "/%s@%x", name, f->devfn >> 3);
    } else {
        g_string_append_printf(out, "/pci%x,%x@%x", f->ops->vendor, f->ops->device, f->devfn >> 3);
    }
    if (f->devfn & 7) {
        g_string_append_printf(out, ",%x", f->devfn & 7);
    }
}

const BusType pci_bus_type = {
    .name = "PCI",
    .child_size = sizeof(PciFunc),
    .child_props = pci_child_props,
    .child_vmstate = &pci_child_state,
    .prepare = pci_prepare,
    .attach = pci_attach,
    .detach = pci_detach,
    .child_reset = pci_child_reset,
    .child_reset_done = pci_child_reset_done,
    .describe_child = pci_describe_child,
    .firmware_name = pci_firmware_name,
};

PciBus *pci_bus_new(Device *bridge, const char *name, MemRegion *mem, MemRegion *io, const PciHostOps *ops,
                    void *host)
{
    PciBus *b = g_new0(PciBus, 1);
    device_add_cleanup(bridge, g_free, b);
    b->machine = bridge->machine;
    b->mem = mem;
    b->io = io;
    b->host_ops = ops;
    b->host = host;
    b->subordinate = 255;
    b->n_slots = 32;
    b->subvendor = 0x1af4; /* what drivers of emulated devices look for */
    b->subdevice = 0x1100;
    b->bus = bus_new(&pci_bus_type, bridge, name, b);
    return b;
}

void pci_set_byte(Device *dev, unsigned off, uint8_t v)
{
    pci_func(dev)->config[off] = v;
}

void pci_set_word(Device *dev, unsigned off, uint16_t v)
{
    pci_put16(pci_func(dev)->config + off, v);
}

void pci_set_long(Device *dev, unsigned off, uint32_t v)
{
    pci_put32(pci_func(dev)->config + off, v);
}

uint32_t pci_get(Device *dev, unsigned off, unsigned len)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < len; i++) {
        v |= (uint32_t)pci_func(dev)->config[off + i] << (8 * i);
    }
    return v;
}

void pci_set_wmask(Device *dev, unsigned off, uint32_t mask, unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        pci_func(dev)->wmask[off + i] = mask >> (8 * i);
    }
}

uint8_t pci_add_capability(Device *dev, uint8_t id, uint8_t size)
{
    PciFunc *f = pci_func(dev);
    unsigned at = (f->cap_next + 3) & ~3u;
    if (at + size > PCI_CONFIG_SIZE) {
        return 0;
    }
    f->config[at] = id;
    f->config[at + 1] = f->config[PCI_CAP_PTR];
    f->config[PCI_CAP_PTR] = at;
    f->config[PCI_STATUS] |= PCI_STATUS_CAPS;
    f->cap_next = at + size;
    return at;
}

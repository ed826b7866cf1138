/* SPDX-License-Identifier: MIT
 * hw/usb/bus.c - USB buses and ports: where devices are plugged in, and how they are found.
 *
 * Models: QEMU's names: a port is `port=1`, behind a hub `port=1.2`; without the property it is the first
 *         free one. When only one is left, a hub goes there first.
 * Threads: plugging: the main loop, which takes the platform domain for what guests see.
 */
#include "rhea/hw/usb.h"
#include "rhea/system/hotplug.h"
#include "rhea/system/machine.h"
#include "rhea/system/qompath.h"
#include "rhea/util/errorcode.h"

#include <string.h>

const char *usb_speed_name(UsbSpeed s)
{
    static const char *const names[USB_SPEEDS] = { "1.5", "12", "480", "5000" };
    return names[s];
}

/* ---- buses ---- */

static void bus_fini(void *opaque)
{
    UsbBus *b = opaque;
    g_ptr_array_free(b->ports, TRUE);
    b->ports = NULL;
}

/* What is plugged into a hub goes before it. */
static bool bus_unplug(Bus *bus, Device *dev, Error **errp G_GNUC_UNUSED)
{
    for (guint i = 0; usb_device_of(UsbDevice, dev)->is_hub && i < bus->children->len; i++) {
        UsbDevice *d = usb_device_of(UsbDevice, bus->children->pdata[i]);
        if (d->port && d->port->hub == usb_device_of(UsbDevice, dev)) {
            bus_unplug(bus, &d->dev, errp);
            i = UINT_MAX; /* the list has changed */
        }
    }
    device_unplugged(dev);
    return true;
}

void usb_bus_init(UsbBus *b, Device *host, const UsbBusOps *ops, void *opaque)
{
    static const BusHotplug hotplug = { .unplug = bus_unplug };
    b->number = qom_count_buses(host->machine->root, &usb_bus_type);
    g_autofree char *name =
        host->id ? g_strdup_printf("%s.0", host->id) : g_strdup_printf("usb-bus.%u", b->number);
    b->ops = ops;
    b->host = opaque;
    b->ports = g_ptr_array_new();
    b->bus = bus_new(&usb_bus_type, host, name, b);
    b->bus->hotplug = &hotplug;
    device_add_cleanup(host, bus_fini, b);
}

static UsbBus *find_bus(const Device *dev, const char *name)
{
    for (guint i = 0; i < dev->buses->len; i++) {
        const Bus *b = dev->buses->pdata[i];
        if (b->type == &usb_bus_type && g_str_equal(b->name, name)) {
            return b->impl;
        }
    }
    for (guint i = 0; i < dev->children->len; i++) {
        UsbBus *b = find_bus(dev->children->pdata[i], name);
        if (b) {
            return b;
        }
    }
    return NULL;
}

static void companion_fini(void *opaque)
{
    UsbBus *b = opaque;
    if (b->master) {
        b->master->ops->companion_gone(b->master, b);
    }
}

bool usb_companion_init(UsbBus *b, Device *host, const UsbBusOps *ops, void *opaque, const char *master,
                        UsbPort *const *ports, unsigned n, unsigned first, Error **errp)
{
    UsbBus *m = find_bus(host->machine->root, master);
    if (!m) {
        return error_fail(errp, "not-found", "masterbus",
                          "add its controller before: -device ich9-usb-ehci1,id=ID has the bus ID.0",
                          "there is no USB bus '%s'", master);
    }
    if (!m->ops->companion) {
        return error_fail(errp, "not-supported", "masterbus",
                          "name the bus of an ich9-usb-ehci1, ich9-usb-ehci2 or usb-ehci",
                          "the controller of USB bus '%s' has no companions", master);
    }
    *b = (UsbBus){ .bus = m->bus, .ops = ops, .host = opaque, .ports = m->ports, .number = m->number };
    for (unsigned i = 0; i < n; i++) {
        ports[i]->bus = b;
        ports[i]->index = i;
        ports[i]->speeds = 1 << USB_LOW | 1 << USB_FULL;
    }
    if (!m->ops->companion(m, b, ports, n, first, errp)) {
        return false;
    }
    b->master = m;
    device_add_cleanup(host, companion_fini, b);
    return true;
}

void usb_port_add(UsbBus *b, UsbPort *p, UsbDevice *hub, unsigned index, unsigned speeds,
                  void (*changed)(UsbPort *p), void *opaque)
{
    *p = (UsbPort){ .bus = b,
                    .hub = hub,
                    .index = index,
                    .speeds = speeds,
                    .changed = changed,
                    .opaque = opaque,
                    .linked = true };
    if (hub && hub->port) {
        g_snprintf(p->path, sizeof(p->path), "%.18s.%u", hub->port->path, index + 1);
    } else {
        g_snprintf(p->path, sizeof(p->path), "%u", index + 1);
    }
    g_ptr_array_add(b->ports, p);
}

void usb_port_remove(UsbPort *p)
{
    if (p->linked && p->bus->ports) {
        g_ptr_array_remove(p->bus->ports, p);
    }
    p->linked = false;
}

/* ---- where a device goes ---- */

static UsbPort *port_named(const UsbBus *b, const char *path)
{
    for (guint i = 0; i < b->ports->len; i++) {
        UsbPort *p = b->ports->pdata[i];
        if (g_str_equal(p->path, path)) {
            return p;
        }
    }
    return NULL;
}

/* A port is taken from when its device is prepared: UsbDevice.port. */
static bool port_taken(const UsbBus *b, const UsbPort *p)
{
    for (guint i = 0; i < b->bus->children->len; i++) {
        const UsbDevice *d = usb_device_of(UsbDevice, b->bus->children->pdata[i]);
        if (d->port == p) {
            return true;
        }
    }
    return p->dev != NULL;
}

static UsbPort *port_free(const UsbBus *b, unsigned *n)
{
    UsbPort *first = NULL;
    *n = 0;
    for (guint i = 0; i < b->ports->len; i++) {
        UsbPort *p = b->ports->pdata[i];
        if (!port_taken(b, p)) {
            first = first ? first : p;
            ++*n;
        }
    }
    return first;
}

/* The last free port gets a hub, and the device that one's first port. */
static UsbPort *choose_port(UsbBus *b, Device *dev, Error **errp)
{
    unsigned n;
    UsbPort *p = port_free(b, &n);
    if (n == 1 && !usb_device_of(UsbDevice, dev)->is_hub && !g_str_equal(dev->type->name, "usb-hub")) {
        const DeviceType *hub = device_type_find("usb-hub");
        if (hub && usb_port_tier(p) < USB_HUBS &&
            !device_create(dev->machine, hub, dev->machine->unattached, NULL, b->bus, errp, NULL)) {
            return NULL;
        }
        p = port_free(b, &n);
    }
    if (!p) {
        error_fail(errp, "no-place", "bus", NULL, "no port of bus '%s' is free", b->bus->name);
        error_hint(errp, "add a controller, or plug a usb-hub into a port instead of a device");
    }
    return p;
}

static bool bus_prepare(Bus *bus, Device *dev, Error **errp)
{
    UsbBus *b = bus->impl;
    UsbDevice *d = usb_device_of(UsbDevice, dev);
    const UsbChild *c = dev->bus_data;
    if (!c->port) {
        d->port = choose_port(b, dev, errp);
        return d->port;
    }
    UsbPort *p = port_named(b, c->port);
    if (!p || port_taken(b, p)) {
        error_fail(errp, p ? "in-use" : "not-found", "port", NULL,
                   p ? "port '%s' of bus '%s' is taken" : "there is no port '%s' on bus '%s'", c->port,
                   bus->name);
        error_hint(errp,
                   "'info usb' in the monitor lists what is plugged in; leave out port= for a free one");
        return false;
    }
    d->port = p;
    return true;
}

bool usb_choose_speed(UsbDevice *d, unsigned speeds)
{
    for (unsigned s = USB_SPEEDS; s; s--) {
        if ((speeds >> (s - 1) & 1) && d->desc->config[s - 1].bytes) {
            d->speed = s - 1;
            return true;
        }
    }
    return false;
}

static bool bus_attach(Bus *bus, Device *dev, Error **errp)
{
    UsbDevice *d = usb_device_of(UsbDevice, dev);
    UsbPort *p = d->port;
    if (!usb_choose_speed(d, p->speeds)) {
        error_fail(errp, "conflict", "bus", NULL,
                   "the device does not work at a speed that port %s of bus '%s' has", p->path, bus->name);
        error_hint(errp,
                   "use a bus of another controller: qemu-xhci has ports of all speeds, as has EHCI with "
                   "companions");
        return false;
    }
    domain_lock(dev->domain);
    p->dev = d;
    p->changed(p);
    domain_unlock(dev->domain);
    return true;
}

static void bus_detach(Bus *bus, Device *dev)
{
    UsbBus *b = bus->impl;
    UsbDevice *d = usb_device_of(UsbDevice, dev);
    UsbPort *p = d->port;
    bool held = domain_held(dev->domain);
    if (!p) {
        return;
    }
    if (!held) {
        domain_lock(dev->domain);
    }
    if (p->dev == d) {
        b->ops->gone(b, d);
        p->dev = NULL;
        if (!b->bus->owner->retracted) {
            p->changed(p);
        }
    }
    d->port = NULL;
    if (!held) {
        domain_unlock(dev->domain);
    }
}

static void bus_firmware_name(Device *dev, GString *out)
{
    const UsbDevice *d = usb_device_of(UsbDevice, dev);
    if (!d->port) {
        return;
    }
    char **parts = g_strsplit(d->port->path, ".", -1);
    for (unsigned i = 0; parts[i]; i++) {
        const char *name = parts[i + 1]                                  ? "hub"
                           : g_str_equal(dev->type->name, "usb-storage") ? "storage"
                                                                         : "usb-device";
        g_string_append_printf(out, "/%s@%s", name, parts[i]);
    }
    g_strfreev(parts);
}

static void bus_describe(Device *dev, GString *out, int indent)
{
    const UsbDevice *d = usb_device_of(UsbDevice, dev);
    g_string_append_printf(out, "%*saddr %u.%u, port %s, speed %s, name %s%s\n", indent, "",
                           d->port ? d->port->bus->number : 0, d->addr, d->port ? d->port->path : "-",
                           usb_speed_name(d->speed), d->desc->strings[2], d->port ? ", attached" : "");
}

#define USB_NO_CAPTURE "packets are not recorded", "leave it out; the guest's usbmon can"
static const Prop child_props[] = {
    PROP_STR(UsbChild, port, "port", NULL,
             "Port of the bus, as 1 or behind a hub 1.2; default: the first free"),
    PROP_STR(UsbChild, serial, "serial", NULL, "Serial number"),
    PROP_ONLY_BOOL("attached", true, "a device is plugged in as long as there is one", "use device_add"),
    PROP_ONLY_BOOL("msos-desc", false, "descriptors of Microsoft's are not made", "leave it out"),
    PROP_NEVER("pcap", USB_NO_CAPTURE),
    { 0 },
};

const BusType usb_bus_type = {
    .name = "usb-bus",
    .child_size = sizeof(UsbChild),
    .child_props = child_props,
    .prepare = bus_prepare,
    .attach = bus_attach,
    .detach = bus_detach,
    .describe_child = bus_describe,
    .firmware_name = bus_firmware_name,
};

/* ---- who is where ---- */

static UsbPort *hub_port(const UsbDevice *hub, unsigned index)
{
    const UsbBus *b = hub->port->bus;
    for (guint i = 0; i < b->ports->len; i++) {
        UsbPort *p = b->ports->pdata[i];
        if (p->hub == hub && p->index == index) {
            return p;
        }
    }
    return NULL;
}

UsbDevice *usb_find_address(UsbPort *p, uint8_t addr)
{
    UsbDevice *d = p->dev;
    if (!d || !d->ready) {
        return NULL;
    }
    if (d->addr == addr) {
        return d;
    }
    for (guint i = 0; d->is_hub && i < p->bus->ports->len; i++) {
        UsbPort *below = p->bus->ports->pdata[i];
        UsbDevice *found = below->hub == d ? usb_find_address(below, addr) : NULL;
        if (found) {
            return found;
        }
    }
    return NULL;
}

UsbDevice *usb_find_route(UsbPort *root, uint32_t route)
{
    UsbDevice *d = root->dev;
    for (unsigned tier = 0; d && tier < 5 && (route & 15); tier++, route >>= 4) {
        UsbPort *p = d->is_hub ? hub_port(d, (route & 15) - 1) : NULL;
        d = p ? p->dev : NULL;
    }
    return d;
}

unsigned usb_port_tier(const UsbPort *p)
{
    unsigned n = 0;
    for (; p->hub && p->hub->port; p = p->hub->port) {
        n++;
    }
    return n;
}

UsbPort *usb_root_port(const UsbDevice *d)
{
    while (d->port && d->port->hub) {
        d = d->port->hub;
    }
    return d->port;
}

/* ---- info usb ---- */

static void print_below(const Device *dev, GString *out, unsigned *buses)
{
    for (guint i = 0; i < dev->buses->len; i++) {
        const Bus *bus = dev->buses->pdata[i];
        if (bus->type != &usb_bus_type) {
            continue;
        }
        ++*buses;
        for (guint c = 0; c < bus->children->len; c++) {
            const UsbDevice *d = usb_device_of(UsbDevice, bus->children->pdata[c]);
            g_string_append_printf(out, "  Device %u.%u, Port %s, Speed %s Mb/s, Product %s%s%s\n",
                                   ((UsbBus *)bus->impl)->number, d->addr, d->port ? d->port->path : "-",
                                   usb_speed_name(d->speed), d->desc->strings[2], d->dev.id ? ", ID: " : "",
                                   d->dev.id ? d->dev.id : "");
        }
    }
    for (guint i = 0; i < dev->children->len; i++) {
        print_below(dev->children->pdata[i], out, buses);
    }
}

void usb_print(Machine *m, GString *out)
{
    unsigned buses = 0;
    print_below(m->root, out, &buses);
    if (!buses) {
        g_string_append(out, "USB support not enabled\n");
    }
}

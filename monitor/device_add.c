/* SPDX-License-Identifier: MIT
 * monitor/device_add.c - `device_add`: from option text or JSON to a realized device; one path for the
 * command line and the monitor.
 *
 * Does not model: buses are found by name anywhere in the tree, not by path; CPUs and memory modules, which
 *         cannot be added.
 * Threads: main loop, no domain held.
 */
#include "rhea/monitor/monitor.h"
#include "rhea/schema/type.h"
#include "rhea/system/hotplug.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <string.h>

static Bus *bus_named(Device *dev, const char *name)
{
    for (guint i = 0; dev->buses && i < dev->buses->len; i++) {
        Bus *b = dev->buses->pdata[i];
        if (g_str_equal(b->name, name)) {
            return b;
        }
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        Bus *b = bus_named(dev->children->pdata[i], name);
        if (b) {
            return b;
        }
    }
    return NULL;
}

/* The first of the type, wherever it is: of what boards know nothing of. */
static Bus *bus_of_type(const Device *dev, const BusType *type)
{
    for (guint i = 0; dev->buses && i < dev->buses->len; i++) {
        Bus *b = dev->buses->pdata[i];
        if (b->type == type) {
            return b;
        }
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        Bus *b = bus_of_type(dev->children->pdata[i], type);
        if (b) {
            return b;
        }
    }
    return NULL;
}

/* By id, or by path: devices without an id have one, too. */
static Device *device_named(Device *dev, const char *name)
{
    const char *is = *name == '/' ? dev->path : dev->id;
    if (is && g_str_equal(is, name)) {
        return dev;
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        Device *d = device_named(dev->children->pdata[i], name);
        if (d) {
            return d;
        }
    }
    return NULL;
}

/* What QEMU can plug in as a device, and here is given to the machine as a whole. */
static bool is_refused(const char *driver, Error **errp)
{
    static const struct {
        const char *pattern, *what, *cure;
    } rows[] = {
        { "*-cpu", "CPUs cannot be added to a machine", "start it with as many as it may need: -smp" },
        { "pc-dimm", "memory modules cannot be added to a machine", "start it with more memory: -m" },
        { "nvdimm", "memory modules cannot be added to a machine", "start it with more memory: -m" },
        { "virtio-mem*", "memory cannot be added to a machine", "start it with more memory: -m" },
        { "usb-host", "the host's USB devices cannot be given to a guest",
          "usb-storage, usb-kbd and others are emulated" },
        { "*ehci*", "EHCI controllers are not emulated", "qemu-xhci has ports of all speeds" },
        { "ohci*", "OHCI controllers are not emulated", "qemu-xhci has ports of all speeds" },
        { "usb-redir", "there is no USB redirection", "usb-storage, usb-kbd and others are emulated" },
        { "usb-uas", "there are no UAS disks", "usb-storage" },
        { "usb-bot", "a USB disk has one unit, which is its own", "usb-storage" },
        { "usb-audio", "there is no USB sound", "a sound card on PCI, if -device help lists one" },
        { "usb-net", "there are no network cards on USB", "virtio-net-pci, e1000e" },
        { "usb-serial", "there are no serial ports on USB", "isa-serial, pci-serial, virtserialport" },
        { "usb-braille", "there are no braille displays", "isa-serial" },
        { "usb-wacom-tablet", "it knows one tablet", "usb-tablet" },
        { "usb-mtp", "there are no media players on USB", "usb-storage" },
        { "usb-ccid", "there are no smart cards", "leave it out" },
        { "u2f-*", "there are no security keys", "leave it out" },
        { "virtio-input-host*", "the host's input devices are not handed to guests",
          "virtio-keyboard-pci, virtio-mouse-pci and virtio-tablet-pci take what a viewer sends" },
        { "virtio-gpu-gl*", "there is no 3D: it needs OpenGL and virglrenderer",
          "virtio-gpu-pci draws in 2D" },
        { "virtio-vga-gl", "there is no 3D: it needs OpenGL and virglrenderer", "virtio-vga draws in 2D" },
        { "vhost-user-gpu*", "no graphics card is another process's", "virtio-gpu-pci" },
        { "vhost-user-vga", "no graphics card is another process's", "virtio-vga" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (g_pattern_match_simple(rows[i].pattern, driver)) {
            error_set(errp, "device '%s': %s", driver, rows[i].what);
            error_hint(errp, "%s", rows[i].cure);
            error_set_code(errp, "not-supported", "driver");
            return true;
        }
    }
    return false;
}

static const DeviceType *type_for_option(const char *driver, Error **errp)
{
    const DeviceType *type = device_type_find(driver);
    if (type && !type->internal) {
        return type;
    }
    if (type) {
        error_fail(errp, "not-supported", "driver", "-device help lists what can be added",
                   "device '%s' is part of the board and cannot be added", driver);
        return NULL;
    }
    if (is_refused(driver, errp)) {
        return NULL;
    }
    error_fail(errp, "not-found", "driver", NULL, "'%s' is not a device this emulator has", driver);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const DeviceType *const *t = device_table; *t; t++) {
        if (!(*t)->internal) {
            g_ptr_array_add(names, (gpointer)(*t)->name);
        }
    }
    g_ptr_array_add(names, NULL);
    error_hint_nearest(errp, driver, (const char *const *)names->pdata);
    error_hint_else(errp, "-device help lists those it has");
    error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
    return NULL;
}

/* Takes what is left of the option once driver, id and bus are known. */
static bool set_props(Device *dev, const Json *opts, Error **errp)
{
    json_object_object_foreach((Json *)opts, key, value)
    {
        if (strcmp(key, "driver") && strcmp(key, "id") && strcmp(key, "bus") &&
            !device_set_json(dev, key, value, errp)) {
            return false;
        }
    }
    return true;
}

/* What to do about a bus that is not there. */
static void hint_bus(const DeviceType *type, Error **errp)
{
    static const struct {
        const char *bus, *makers; /* devices that bring one along */
    } rows[] = { { "virtio-serial-bus", "virtio-serial-pci (on microvm virtio-serial-device)" },
                 { "usb-bus", "qemu-xhci, usb-ehci, piix3-usb-uhci" } };
    for (unsigned i = 0; type->bus_type && i < G_N_ELEMENTS(rows); i++) {
        if (g_str_equal(type->bus_type->name, rows[i].bus)) {
            error_hint(errp, "add one first: -device %s", rows[i].makers);
            return;
        }
    }
    error_hint(errp, "'info qtree' in the monitor lists the buses of a machine");
}

static Bus *choose_bus(Machine *m, const DeviceType *type, const char *name, Error **errp)
{
    Bus *bus = name ? bus_named(m->root, name)
             : type->bus_type && m->board->default_bus ? m->board->default_bus(m, type->bus_type) : NULL;
    if (!bus && !name && type->bus_type) {
        bus = bus_of_type(m->root, type->bus_type);
    }
    if (bus && bus->type == type->bus_type) {
        return bus;
    }
    if (name) {
        error_fail(errp, bus ? "invalid-value" : "not-found", "bus", NULL,
                   bus ? "bus '%s' is no place for device '%s'" : "there is no bus '%s' for device '%s'",
                   name, type->name);
    } else {
        error_fail(errp, "no-place", "driver", NULL,
                   "board '%s' has no %s bus for device '%s'", m->board->name,
                   type->bus_type ? type->bus_type->name : "pluggable", type->name);
    }
    hint_bus(type, errp);
    return NULL;
}

bool device_add_json(Machine *m, const Json *opts, Error **errp)
{
    const char *driver = json_get_string(json_member(opts, "driver", NULL));
    const char *id = json_get_string(json_member(opts, "id", NULL));
    const char *busname = json_get_string(json_member(opts, "bus", NULL));
    if (!driver) {
        return error_fail(errp, "missing-member", "driver", "-device help lists the devices",
                          "'driver' is missing: which device?");
    }
    const DeviceType *type = type_for_option(driver, errp);
    if (!type) {
        return false;
    }
    if (id && device_named(m->root, id)) {
        error_fail(errp, "already-exists", "id", NULL, "there is already a device with id '%s'", id);
        error_hint(errp, "give another id; one that is removed is free again after DEVICE_DELETED");
        return false;
    }
    Bus *bus = choose_bus(m, type, busname, errp);
    if (!bus) {
        return false;
    }
    Device *dev = device_new(m, type, m->peripheral, id);
    if (!set_props(dev, opts, errp) || !device_plug(dev, bus, errp)) {
        device_remove(dev);
        return false;
    }
    return true;
}

bool device_add_option(Machine *m, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) opts = keyval_parse(text, "driver", &from_text, errp);
    return opts && device_add_json(m, opts, errp);
}

bool device_del(Machine *m, const char *id, Error **errp)
{
    Device *top = *id == '/' ? m->root : m->peripheral, *dev = top ? device_named(top, id) : NULL;
    if (!dev) {
        error_fail(errp, "not-found", "id", "'qom-list /machine/peripheral' lists those that have one",
                   *id == '/' ? "there is no device at '%s'" : "there is no device with id '%s'", id);
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
        return false;
    }
    return device_unplug(dev, errp);
}

/* SPDX-License-Identifier: MIT
 * system/hotplug.c - devices that come and go while the machine is up: what all buses have in common.
 * Models: docs/devel/hotplug.md; QEMU 7.2's events.
 * Threads: main loop, without a domain held.
 */
#include "internal.h"
#include "system/trace.h"

#include "rhea/system/hotplug.h"
#include "rhea/util/errorcode.h"

bool machine_is_up(const Machine *m)
{
    return m->priv->ready;
}

bool device_hotpluggable(const Device *dev, const Bus *bus)
{
    return bus &&
           (bus->type->hotplug || (bus->hotplug && (!bus->hotplug->suits || bus->hotplug->suits(dev))));
}

static bool check_bus(const Device *dev, const Bus *bus, Error **errp)
{
    if (!bus || (!bus->type->hotplug && !bus->hotplug)) {
        error_fail(errp, "not-hotpluggable", "bus", NULL,
                   "bus '%s' does not support hotplugging", bus ? bus->name : "(none)");
        error_hint(errp, "%s", bus && bus->no_hotplug ? bus->no_hotplug : "use -device on the command line");
        return false;
    }
    if (!device_hotpluggable(dev, bus)) {
        error_fail(errp, "not-hotpluggable", "driver", NULL,
                   "device '%s' does not support hotplugging", dev->type->name);
        error_hint(errp, "what the machine has of it is on the command line, and stays until it ends");
        return false;
    }
    return true;
}

bool device_plug(Device *dev, Bus *bus, Error **errp)
{
    role_assert_main();
    if (!machine_is_up(dev->machine)) {
        return device_realize(dev, bus, errp);
    }
    if (!check_bus(dev, bus, errp)) {
        return false;
    }
    dev->hotplugged = true;
    if (!device_realize(dev, bus, errp)) {
        return false;
    }
    if (bus->hotplug && bus->hotplug->plugged) {
        bus->hotplug->plugged(bus, dev);
    }
    return true;
}

bool device_unplug(Device *dev, Error **errp)
{
    role_assert_main();
    trace_device_unplug(dev->type->name, dev->path);
    if (dev->going) { /* something of its own is still under way */
        error_fail(errp, "busy", "id", NULL,
                   "device '%s' is already in the process of unplug", device_name(dev));
        error_hint(errp, "wait for DEVICE_DELETED");
        return false;
    }
    if (!check_bus(dev, dev->bus, errp)) {
        return false;
    }
    if (!dev->bus->hotplug) {
        device_unplugged(dev);
        return true;
    }
    return dev->bus->hotplug->unplug(dev->bus, dev, errp);
}

static Json *event_data(const Device *dev)
{
    Json *data = json_new_object();
    if (dev->id) {
        json_put(data, "device", json_new_string(dev->id));
    }
    return json_put(data, "path", json_new_string(dev->path));
}

void device_unplugged(Device *dev)
{
    role_assert_main();
    if (dev->going) {
        return;
    }
    Machine *m = dev->machine;
    g_autoptr(GPtrArray) all = device_collect(dev), events = g_ptr_array_new();
    for (guint i = 0; i < all->len; i++) {
        Device *d = all->pdata[i];
        d->going = true;
        g_ptr_array_add(events, event_data(d));
    }
    device_remove(dev);
    for (guint i = events->len; i; i--) { /* what was plugged into it went first */
        machine_event(m, "DEVICE_DELETED", events->pdata[i - 1]);
    }
}

void device_unplug_refused(Device *dev)
{
    trace_device_unplug_refused(dev->type->name, dev->path);
    machine_event(dev->machine, "DEVICE_UNPLUG_GUEST_ERROR", event_data(dev));
}

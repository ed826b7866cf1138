/* SPDX-License-Identifier: MIT
 * system/device_props.c - properties of devices by name, and complaints about guests.
 * Threads: properties on the main loop; guest_error() and guest_unimp() anywhere.
 */
#include "internal.h"
#include "rhea/system/liveprop.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <string.h>

enum { GUEST_LOG_PER_SECOND = 200 };

const Prop *device_find_prop(Device *dev, const char *name, void **base)
{
    const BusType *on_bus = NULL;
    for (const DeviceType *t = dev->type; t; t = t->base) {
        const Prop *p = prop_find(t->props, name);
        if (p) {
            *base = dev;
            return p;
        }
        on_bus = on_bus ? on_bus : t->bus_type;
    }
    *base = dev->bus_data;
    return dev->bus_data ? prop_find(on_bus->child_props, name) : NULL;
}

static const Prop *need_prop(Device *dev, const char *name, void **base, Error **errp)
{
    const Prop *p = device_find_prop(dev, name, base);
    if (!p) {
        error_fail(errp, "unknown-member", name, NULL,
                   "device '%s' has no property '%s'", dev->type->name, name);
        error_hint(errp, "-device %s,help lists its properties", dev->type->name);
    }
    return p;
}

static const Prop *writable_prop(Device *dev, const char *name, void **base, Error **errp)
{
    if (dev->realized) {
        error_fail(errp, "not-changeable", name, "give it when the device is made",
                   "property '%s' of device '%s' cannot be changed once it is plugged in", name,
                   device_name(dev));
        return NULL;
    }
    return need_prop(dev, name, base, errp);
}

bool device_set(Device *dev, const char *prop, const char *text, Error **errp)
{
    void *base;
    const Prop *p = writable_prop(dev, prop, &base, errp);
    return p && prop_set_text(dev->machine, p, base, text, errp);
}

bool device_set_json(Device *dev, const char *prop, const Json *value, Error **errp)
{
    void *base;
    const Prop *p = writable_prop(dev, prop, &base, errp);
    return p && prop_set_json(dev->machine, p, base, value, errp);
}

Json *device_get(Device *dev, const char *prop, Error **errp)
{
    void *base;
    const Prop *p = need_prop(dev, prop, &base, errp);
    return p ? prop_get(p, base) : NULL;
}

const LiveProp *live_prop_find(const DeviceType *type, const char *name)
{
    for (const DeviceType *t = type; t; t = t->base) {
        for (const LiveProp *p = t->live; p && p->name; p++) {
            if (!strcmp(p->name, name)) {
                return p;
            }
        }
    }
    return NULL;
}

void live_props_foreach(const DeviceType *type, void (*fn)(const LiveProp *p, void *opaque), void *opaque)
{
    for (const DeviceType *t = type; t; t = t->base) {
        for (const LiveProp *p = t->live; p && p->name; p++) {
            fn(p, opaque);
        }
    }
}

/* At most so many lines a second and device: a guest in a loop must not fill the host's disk. Counters are
 * atomics; a line too many at the turn of a second does no harm. */
static bool may_speak(Device *dev)
{
    if (!dev) {
        return true;
    }
    int64_t second = g_get_monotonic_time() / G_USEC_PER_SEC;
    if (__atomic_exchange_n(&dev->guest_log.second, second, __ATOMIC_RELAXED) != second) {
        __atomic_store_n(&dev->guest_log.said, 0, __ATOMIC_RELAXED);
        unsigned lost = __atomic_exchange_n(&dev->guest_log.lost, 0, __ATOMIC_RELAXED);
        if (lost) {
            log_printf("%s: %u more messages were not written\n", device_name(dev), lost);
        }
    }
    if (__atomic_add_fetch(&dev->guest_log.said, 1, __ATOMIC_RELAXED) <= GUEST_LOG_PER_SECOND) {
        return true;
    }
    __atomic_add_fetch(&dev->guest_log.lost, 1, __ATOMIC_RELAXED);
    return false;
}

static void speak(Device *dev, const char *fmt, va_list ap)
{
    if (may_speak(dev)) {
        g_autofree char *text = g_strdup_vprintf(fmt, ap);
        log_printf("%s: %s\n", dev ? device_name(dev) : "machine", text);
    }
}

void guest_error(Device *dev, const char *fmt, ...)
{
    if (log_on(LOG_GUEST_ERRORS)) {
        va_list ap;
        va_start(ap, fmt);
        speak(dev, fmt, ap);
        va_end(ap);
    }
}

void guest_unimp(Device *dev, const char *fmt, ...)
{
    if (log_on(LOG_UNIMP)) {
        va_list ap;
        va_start(ap, fmt);
        speak(dev, fmt, ap);
        va_end(ap);
    }
}

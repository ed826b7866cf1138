/* SPDX-License-Identifier: MIT
 * system/bootorder.c - which devices firmware tries to boot from, and in which order: the property bootindex.
 *
 * Models: Open Firmware device paths (IEEE 1275-1994, 3.2.1) as PC firmware matches them: a component per
 * bus, from the host bridge down, "/NAME@UNIT-ADDRESS". Threads: main loop.
 */
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

typedef struct BootDevice {
    Machine *m;
    Device *dev;
    int32_t index;
    const char *suffix;
} BootDevice;

void device_firmware_path(Device *dev, GString *out)
{
    if (dev->bus) {
        device_firmware_path(dev->bus->owner, out);
        if (dev->bus->type->firmware_name) {
            dev->bus->type->firmware_name(dev, out);
        }
    } else if (dev->type->firmware_name) {
        g_string_append_printf(out, "/%s", dev->type->firmware_name);
    }
}

static void boot_device_remove(void *opaque)
{
    BootDevice *b = opaque;
    g_ptr_array_remove(b->m->boot_devices, b);
    if (!b->m->boot_devices->len) {
        g_clear_pointer(&b->m->boot_devices, g_ptr_array_unref);
    }
    g_free(b);
}

bool machine_add_boot_device(Device *dev, int32_t index, const char *suffix, Error **errp)
{
    Machine *m = dev->machine;
    if (index < 0) {
        return true;
    }
    guint at = 0;
    m->boot_devices = m->boot_devices ? m->boot_devices : g_ptr_array_new();
    for (; at < m->boot_devices->len; at++) {
        const BootDevice *o = m->boot_devices->pdata[at];
        if (o->index == index) {
            error_fail(errp, "already-exists", "bootindex", NULL,
                       "bootindex=%d is that of '%s' already", index, device_name(o->dev));
            error_hint(errp, "each device needs another one; the smallest is tried first");
            return false;
        }
        if (o->index > index) {
            break;
        }
    }
    BootDevice *b = g_new0(BootDevice, 1);
    *b = (BootDevice){ .m = m, .dev = dev, .index = index, .suffix = suffix };
    g_ptr_array_insert(m->boot_devices, (gint)at, b);
    device_add_cleanup(dev, boot_device_remove, b);
    return true;
}

void machine_boot_paths(Machine *m, GString *out)
{
    for (guint i = 0; m->boot_devices && i < m->boot_devices->len; i++) {
        const BootDevice *b = m->boot_devices->pdata[i];
        device_firmware_path(b->dev, out);
        g_string_append_printf(out, "%s\n", b->suffix);
    }
}

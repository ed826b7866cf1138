/* SPDX-License-Identifier: MIT
 * system/qompath.c - the second path of a virtio device on PCI, by which libvirt finds its disks.
 *
 * Models: QEMU's virtio-X-pci, a proxy with a child `virtio-backend` of type virtio-X-device. Type names say
 *         which these are.
 * Threads: main loop; no state.
 */
#include "rhea/system/qompath.h"
#include <string.h>

bool qom_has_backend(const Device *dev)
{
    return g_str_has_prefix(dev->type->name, "virtio-") && strstr(dev->type->name, "-pci");
}

char *qom_device_name(const Device *dev)
{
    return qom_has_backend(dev) ? g_strconcat(dev->path, "/" QOM_VIRTIO_BACKEND, NULL)
                                : g_strdup(dev->id ? dev->id : dev->path);
}

bool qom_is_path(const Device *dev, const char *path)
{
    g_autofree char *name = qom_device_name(dev);
    return !g_strcmp0(dev->path, path) || !g_strcmp0(name, path);
}

unsigned qom_count_buses(const Device *dev, const BusType *type)
{
    unsigned n = 0;
    for (guint i = 0; i < dev->buses->len; i++) {
        n += ((const Bus *)dev->buses->pdata[i])->type == type;
    }
    for (guint i = 0; i < dev->children->len; i++) {
        n += qom_count_buses(dev->children->pdata[i], type);
    }
    return n;
}

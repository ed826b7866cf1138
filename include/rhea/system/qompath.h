/* SPDX-License-Identifier: MIT
 * rhea/system/qompath.h - where QEMU's object tree has two objects and ours one: a virtio device on PCI, whose
 * inner object `virtio-backend` is what programs know its disk by; and names that QEMU gives. MAIN_LOOP.
 */
#ifndef RHEA_SYSTEM_QOMPATH_H
#define RHEA_SYSTEM_QOMPATH_H

#include "rhea/system/device.h"

#define QOM_VIRTIO_BACKEND "virtio-backend"

bool qom_has_backend(const Device *dev);
/* What query-block and its like call a device: the inner object's path, otherwise the id, or the path where there is
 * none; g_free. */
char *qom_device_name(const Device *dev);
/* Its path or its name. */
bool qom_is_path(const Device *dev, const char *path);
/* Buses of a type below dev: QEMU's name of a bus whose owner has no id is the type's and how many there were. */
unsigned qom_count_buses(const Device *dev, const BusType *type);

#endif

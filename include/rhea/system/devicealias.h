/* SPDX-License-Identifier: MIT
 * rhea/system/devicealias.h - second names of device types.
 */
#ifndef RHEA_SYSTEM_DEVICEALIAS_H
#define RHEA_SYSTEM_DEVICEALIAS_H

#include "rhea/system/device.h"

/* QEMU's shorter or older name of it ("virtio-gpu" of virtio-gpu-pci), which device_type_find() finds, too.
 * NULL: it has none. Any thread. */
const char *device_type_alias(const DeviceType *type);

#endif

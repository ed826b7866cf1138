/* SPDX-License-Identifier: MIT
 * rhea/hw/virtio-mmio.h - virtio transports in memory, for boards: each is a place for one virtio device.
 */
#ifndef RHEA_HW_VIRTIO_MMIO_H
#define RHEA_HW_VIRTIO_MMIO_H

#include "rhea/system/device.h"

enum { VIRTIO_MMIO_SIZE = 0x200 };
/* Created by boards. Property index: its bus is "virtio-mmio-bus.INDEX". Exported region 0: VIRTIO_MMIO_SIZE
 * bytes; line 0 is level-triggered, active high. */
extern const DeviceType virtio_mmio_type;
/* One device sits on each; Bus.owner is the transport. */
extern const BusType virtio_mmio_bus_type;
Bus *virtio_mmio_bus(Device *transport);
bool virtio_mmio_used(Device *transport); /* is there a device? */

#endif

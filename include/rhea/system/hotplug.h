/* SPDX-License-Identifier: MIT
 * rhea/system/hotplug.h - devices that come and go while the machine is up.
 *
 * A device comes by device_plug(). Where the bus has a BusHotplug, it goes in two steps: device_unplug() asks
 * the guest, and device_unplugged() is called when the guest has answered, or needs not be asked.
 * Events: DEVICE_DELETED, DEVICE_UNPLUG_GUEST_ERROR. All MAIN_LOOP, no domain held.
 */
#ifndef RHEA_SYSTEM_HOTPLUG_H
#define RHEA_SYSTEM_HOTPLUG_H

#include "rhea/system/device.h"

/* All devices of the command line are there: machine_ready() has been. */
bool machine_is_up(const Machine *m);
/* A device that is plugged in (or is about to be, into `bus`) could be taken out again. */
bool device_hotpluggable(const Device *dev, const Bus *bus);

/* device_realize(); on a machine that is up only where devices may come, and the guest is told. */
bool device_plug(Device *dev, Bus *bus, Error **errp);
/* Asks for its removal, which may have happened on return, or never happen. */
bool device_unplug(Device *dev, Error **errp);
/* It goes now, with what is plugged into it: DEVICE_DELETED for each. No effect on one that is going already;
 * may turn the main loop. */
void device_unplugged(Device *dev);
/* The guest keeps it: DEVICE_UNPLUG_GUEST_ERROR. */
void device_unplug_refused(Device *dev);

#endif

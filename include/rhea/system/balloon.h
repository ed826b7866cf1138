/* SPDX-License-Identifier: MIT
 * rhea/system/balloon.h - the machine's balloon: the device by which a guest gives memory back, as monitors
 *   reach it. Main loop, no domain held.
 */
#ifndef RHEA_SYSTEM_BALLOON_H
#define RHEA_SYSTEM_BALLOON_H

#include "rhea/system/device.h"

typedef struct BalloonOps {
    void (*set)(Device *dev, uint64_t bytes); /* what the guest shall keep, up to Machine.ram_size */
    uint64_t (*actual)(Device *dev);          /* what it has kept, bytes */
} BalloonOps;

/* In the device's realize; undone with it. There is one in a machine. */
bool balloon_register(Device *dev, const BalloonOps *ops, Error **errp);

/* More than the machine has means all of it. */
bool balloon_set(Machine *m, uint64_t bytes, Error **errp);
bool balloon_actual(Machine *m, uint64_t *bytes, Error **errp);

#endif

/* SPDX-License-Identifier: MIT
 * tests/device/guestways.h - how a guest reaches devices that own no region: over a serial link behind a
 * controller, through the CPU they belong to, or as files of fw_cfg.
 */
#ifndef TESTS_DEVICE_GUESTWAYS_H
#define TESTS_DEVICE_GUESTWAYS_H

#include "rhea/system/device.h"

typedef struct GuestWay {
    const DeviceType *type;
    const char *name;
    /* One access; what was read, or 0. */
    uint64_t (*access)(Device *dev, GRand *rand, bool write, uint64_t val);
    void (*feed)(Device *dev, GRand *rand); /* something comes from the outside; may be NULL */
} GuestWay;

const GuestWay *guest_way_find(const DeviceType *type); /* NULL: regions and configuration space are all */

#endif

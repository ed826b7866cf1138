/* SPDX-License-Identifier: MIT
 * rhea/system/liveprop.h - properties of a device that say how it goes, and may be set while it does: what
 *   QMP's qom-get and qom-set reach beside the ones it was made with.
 */
#ifndef RHEA_SYSTEM_LIVEPROP_H
#define RHEA_SYSTEM_LIVEPROP_H

#include "rhea/system/device.h"

/* Constant tables beside the code (DeviceType.live), which end with a NULL name. get, set: main loop, no domain
 * held; the device is realized. A Prop of the same name is what such a device begins with. */
typedef struct LiveProp {
    const char *name, *type, *doc; /* type: as QEMU's clients see it, "int" */
    Json *(*get)(Device *dev);     /* the caller's */
    bool (*set)(Device *dev, const Json *value, Error **errp); /* NULL: it is only read */
} LiveProp;

/* The type's own, then those of its bases; NULL: there is none with this name. */
const LiveProp *live_prop_find(const DeviceType *type, const char *name);
void live_props_foreach(const DeviceType *type, void (*fn)(const LiveProp *p, void *opaque), void *opaque);

#endif

/* SPDX-License-Identifier: MIT
 * rhea/system/msiroute.h - messages that a device sends again and again, a route for each: an accelerator that
 * has local APICs inside makes an eventfd of it that leads to them. Any thread.
 */
#ifndef RHEA_SYSTEM_MSIROUTE_H
#define RHEA_SYSTEM_MSIROUTE_H

#include "rhea/system/irq.h"

typedef struct MsiRoute { /* embedded in its device; zero: none yet */
    /* private: the accelerator's */
    MsiMessage msg;
    int fd;
    unsigned gsi;
    bool open;
    uint64_t sent;
    struct MsiRoute *next;
} MsiRoute;
void msi_route_send(Machine *m, MsiRoute *r, MsiMessage msg); /* as msi_send() */
void msi_route_drop(Machine *m, MsiRoute *r);                 /* before it goes */

/* An accelerator's. */
typedef struct MsiRouteOps {
    bool (*send)(Machine *m, MsiRoute *r, MsiMessage msg); /* false: not by a route */
    void (*drop)(Machine *m, MsiRoute *r);
} MsiRouteOps;
void msi_routes_provide(Machine *m, const MsiRouteOps *ops); /* main loop; NULL: no longer */

#endif

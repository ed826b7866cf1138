/* SPDX-License-Identifier: MIT
 * net/tap_internal.h - host interfaces, as their files share them. Main loop.
 */
#ifndef NET_TAP_INTERNAL_H
#define NET_TAP_INTERNAL_H

#include "net_internal.h"
#include <net/if.h>

enum { TAP_QUEUES = 64 };

/* An interface that was opened; the descriptors are the caller's, also after an error. */
typedef struct TapPlan {
    int fds[TAP_QUEUES];
    unsigned n;
    bool vnet;         /* its frames have headers (struct virtio_net_hdr) */
    char ifname[IFNAMSIZ];
    char *downscript;  /* to be run at the end; NULL: none */
} TapPlan;

/* tap-open.c */
bool tap_plan(TapPlan *p, Machine *m, const NetdevTapOptions *o, Error **errp);
bool tap_plan_bridge(TapPlan *p, const NetdevBridgeOptions *o, Error **errp);
bool tap_describe_fd(int fd, char *name, bool *vnet);
bool tap_run_script(const char *script, const char *ifname, Error **errp);

#endif

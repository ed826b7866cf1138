/* SPDX-License-Identifier: MIT
 * monitor/qmp_rate.h - events that a guest can cause at will come to a client once a second at most: the
 *   first at once, of those that follow the last one. Main loop.
 */
#ifndef MONITOR_QMP_RATE_H
#define MONITOR_QMP_RATE_H

#include "rhea/util/json.h"
#include "rhea/util/loop.h"

typedef struct QmpRate {
    Loop *loop;
    const Clock *clock;
    void (*send)(void *opaque, Json *message); /* takes the message */
    void *opaque;
    GHashTable *held; /* by the event's name */
} QmpRate;

void qmp_rate_init(QmpRate *r, Loop *loop, void (*send)(void *opaque, Json *message), void *opaque);
void qmp_rate_fini(QmpRate *r);
void qmp_rate_clear(QmpRate *r); /* what waits is dropped, and time begins anew: another client */
/* Takes message, and sends it now, or later, or another one of its kind instead. */
void qmp_rate_event(QmpRate *r, const char *name, Json *message);

#endif

/* SPDX-License-Identifier: MIT
 * monitor/qmp_internal.h - what the files of QMP share.
 */
#ifndef MONITOR_QMP_INTERNAL_H
#define MONITOR_QMP_INTERNAL_H

#include "qmp_frame.h"
#include "qmp_rate.h"
#include "rhea/monitor/qmp.h"

enum {
    QMP_QUEUE_MAX = 8,        /* commands that wait before no more input is taken */
    QMP_OUT_PAUSE = 64 << 10, /* unread output from which on no command is taken */
    QMP_OUT_EVENTS = 1 << 20, /* unread output from which on events are dropped */
};

struct QmpSession {
    Machine *machine;
    CharPort port;
    bool pretty;
    bool open, negotiated, oob; /* of the client that is there */
    bool running;               /* an in-band command is on the stack */
    unsigned client;            /* counts clients: replies are for the one who asked */
    QmpFramer framer;
    GQueue waiting;             /* Json *: commands in the order in which they came */
    Task next;                  /* runs one of them */
    GString *out;
    size_t out_done;            /* bytes of `out` that were written */
    unsigned events_lost;
    MachineListener listener;
    QmpRate rate;
};

Json *qmp_version_json(void); /* of the greeting and query-version */
/* An error as a reply shows it: class, desc, data. */
Json *qmp_error_json(const Error *err);
void qmp_session_send(QmpSession *s, Json *message); /* takes it */
char *qmp_cpu_type(Machine *m); /* "qemu64-x86_64-cpu"; g_free */
void qmp_accept_capabilities(QmpSession *s, bool oob);

#endif

/* SPDX-License-Identifier: MIT
 * monitor/gdb_internal.h - what the files of the GDB server share.
 */
#ifndef MONITOR_GDB_INTERNAL_H
#define MONITOR_GDB_INTERNAL_H

#include "gdb_packet.h"
#include "monitor_internal.h"
#include "rhea/monitor/gdb.h"

typedef struct GdbServer {
    Machine *m;
    char *device;           /* as the user gave it */
    char *chardev_id;       /* one of its own; NULL: the user's */
    CharPort port;
    MachineListener listener;
    Monitor console;        /* of `monitor COMMAND`: remembers the CPU and formats */
    GString *out;           /* what the host did not take yet */
    bool busy;              /* handling a packet or stopping the machine, which may turn the loop */

    /* of this connection */
    unsigned session;       /* its number */
    bool open, no_ack, multiprocess, tells_breaks, physical;
    bool waiting;           /* the debugger resumed the machine and waits for a stop */
    unsigned sstep;         /* DEBUG_STEP_* for its steps */
    unsigned cpu;           /* of g, m, p, s without a number, ... */
    unsigned resume_cpu;    /* of Hc, for `s` */
    unsigned signal;        /* of the last stop, for `?` */
    GString *last;          /* the packet to repeat when it was not understood */
    GString *reply;         /* being made */
    GdbParser in;
} GdbServer;

enum { GDB_EINVAL = 22, GDB_EBUSY = 16, GDB_EFAULT = 14, GDB_ESRCH = 3 };

/* gdb_server.c */
void gdb_send(GdbServer *s, const char *payload, size_t len);
void gdb_error(GdbServer *s, unsigned code); /* as the reply; "" when the packet is not known */
/* A stop is the answer to a resume, or to `?`. */
void gdb_send_stop(GdbServer *s, bool find_hit);
void gdb_resume(GdbServer *s, const DebugAction *action);

/* gdb_cmd.c: one packet. The reply is what s->reply holds then, if it returns true. */
bool gdb_handle_packet(GdbServer *s, const char *data, size_t len);
void gdb_put_thread(GdbServer *s, unsigned cpu);
/* ANY and ALL give the first. */
bool gdb_thread_cpu(const GdbServer *s, GdbThread id, unsigned *cpu);

/* gdb_query.c */
bool gdb_handle_query(GdbServer *s, const char *data);

#endif

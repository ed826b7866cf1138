/* SPDX-License-Identifier: MIT
 * rhea/monitor/qmp.h - QMP sessions: the machine protocol on a character device.
 *
 * Commands and events are rows of tables that schemagen writes from schema/qmp*.idl; programs link the
 * tables, the session knows none of them. MAIN_LOOP.
 */
#ifndef RHEA_MONITOR_QMP_H
#define RHEA_MONITOR_QMP_H

#include "rhea/backends/char.h"
#include "rhea/schema/type.h"
#include "rhea/system/machine.h"

typedef struct QmpSession QmpSession;

struct QmpCall {       /* what a handler gets */
    Machine *machine;
    QmpSession *session; /* NULL: none, the call comes from the program itself */
};

/* The command and event tables to use; end with NULL; set by the program before the first session. What the
 * program knows of object types besides devices, boards and accelerators (CPU models) is asked from it; may
 * be NULL. */
typedef struct QmpTables {
    const QmpCommand *const *commands;
    const QmpEvent *const *events;
    void (*each_type)(void (*fn)(void *opaque, const char *name, const char *parent, bool abstract),
                      void *opaque);
    bool (*type_props)(const char *type, GArray *out); /* appends ObjectPropertyInfo; false: no such type */
    void (*cpu_props)(Vcpu *cpu, GArray *out);           /* of a CPU: the same */
    bool (*cpu_value)(Vcpu *cpu, const char *name, Json **out); /* false: no such property */
} QmpTables;
void qmp_set_tables(const QmpTables *tables);
const QmpTables *qmp_tables(void);
const QmpCommand *qmp_find(const char *name); /* NULL: there is none */

/* The front end of `c` from now on: a greeting for each client that connects, one client at a time. pretty:
 * indented output. Fails on a mux, where the streams of several front ends would mix. */
QmpSession *qmp_session_new(Machine *m, Chardev *c, bool pretty, Error **errp);
void qmp_session_free(QmpSession *s);
/* The oldest descriptor that came along with the client's messages and that nobody took; -1: none. The
 * caller's. */
int qmp_session_take_fd(QmpSession *s);

/* Runs one command as a session would, without the session: `arguments` may be NULL. The result (owned), or
 * NULL. */
Json *qmp_run(Machine *m, QmpSession *s, const QmpCommand *c, const Json *arguments, Error **errp);

/* The reply of query-qmp-schema for the tables in use (owned). */
Json *qmp_schema_json(void);

extern const QmpCommand qmp_commands[]; /* of schema/qmp.idl: about running, devices, character devices */
extern const QmpEvent qmp_events[];

#endif

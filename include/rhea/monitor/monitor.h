/* SPDX-License-Identifier: MIT
 * rhea/monitor/monitor.h - the human monitor. Commands are table rows owned by the folder that owns
 * the state; programs link the tables, the monitor core knows no subsystem.
 */
#ifndef RHEA_MONITOR_MONITOR_H
#define RHEA_MONITOR_MONITOR_H

#include "rhea/backends/char.h"
#include "rhea/system/machine.h"

typedef struct Monitor Monitor;
typedef struct HmpCommand {
    const char *name;  /* "system_reset"; aliases by '|': "quit|q" */
    const char *args;  /* for help: "[item]" */
    const char *help;
    /* MAIN_LOOP, no domain held. argv[0] is the command. Text goes to out. */
    void (*run)(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
    const struct HmpCommand *sub; /* `info`: subcommands; tables may each bring some under one name */
    /* Candidates for argument `arg` (1 is the first), g_strdup'ed; the caller filters by what is typed. */
    void (*complete)(Machine *m, unsigned arg, GPtrArray *out);
} HmpCommand;

Monitor *monitor_new(Machine *m, Chardev *c, Error **errp); /* prompt, line editing, history, completion */
void monitor_free(Monitor *mon);
/* One command line, as the prompt would run it: for scripts, tests, human-monitor-command. */
void monitor_run_line(Monitor *mon, Machine *m, const char *line, GString *out);
/* The command tables to use; ends with NULL; set by the program before the first monitor. */
void monitor_set_commands(const HmpCommand *const *tables);
extern const HmpCommand monitor_core_commands[]; /* info status/..., quit, stop, cont, x, xp, log, help */
int monitor_get_cpu(Monitor *mon);      /* mon may be NULL: 0 */
const char *monitor_history(Monitor *mon, unsigned i); /* 0 is the oldest; NULL behind the end */
void monitor_help(GString *out, const char *cmd, const char *sub); /* NULL: everything */

/* `-device` and `device_add`: "DRIVER,PROP=VALUE,..." or JSON with "driver". Once the machine is up only
 * on buses that allow hot-plugging (rhea/system/hotplug.h). */
bool device_add_option(Machine *m, const char *text, Error **errp);
/* {"accel": NAME, properties}: the stopped machine goes on with that accelerator. */
bool monitor_accel_json(Machine *m, const Json *opts, Error **errp);
bool device_add_json(Machine *m, const Json *opts, Error **errp);
/* id: or a path. Asks the guest where it has a part in it: DEVICE_DELETED tells when the device is gone. */
bool device_del(Machine *m, const char *id, Error **errp);

#endif

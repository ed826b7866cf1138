/* SPDX-License-Identifier: MIT
 * monitor/monitor_internal.h - what the monitor's own files share.
 */
#ifndef MONITOR_INTERNAL_H
#define MONITOR_INTERNAL_H

#include "readline.h"
#include "rhea/monitor/monitor.h"

struct Monitor {
    Machine *machine;
    CharPort port;
    Readline *line;
    GString *pending;     /* what the host did not take yet */
    bool open, greeted, focused, ending; /* open: somebody is at the far end */
    unsigned cpu;         /* of `cpu N` */
    char dump_format;     /* remembered by x and xp */
    unsigned dump_size;
    MachineListener listener;
};

/* expr.c: integers, $registers of `cpu` (may be NULL), + - * / % & | ^ ~ ( ) 'c'. */
bool monitor_eval(Vcpu *cpu, const char *text, uint64_t *out, Error **errp);

Vcpu *monitor_cpu(Monitor *mon, Machine *m); /* the monitor's current one; NULL when there are none */
void monitor_say_error(GString *out, Error *err); /* frees it */
const HmpCommand *monitor_find(const HmpCommand *const *tables, const char *name);
/* Names (aliases apart) of all commands, or of `sub`'s; NULL-terminated, strings borrowed until freed with
 * g_strfreev. */
char **monitor_names(const HmpCommand *sub);
const HmpCommand *const *monitor_tables(void);
void monitor_prompt(Monitor *mon);

extern const HmpCommand monitor_info_commands[];
/* memory.c */
void hmp_x(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_xp(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_print(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_in(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_out(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_gva2gpa(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
/* stats.c */
void hmp_info_stats(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_sum(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_gpa2hva(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
/* objects.c */
void hmp_qom_list(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_qom_get(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_qom_set(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_info_iothreads(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_info_memory_size(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_info_hotpluggable_cpus(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
/* qmp_trace.c */
void hmp_trace_event(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void hmp_info_trace_events(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void complete_trace_event(Machine *m, unsigned arg, GPtrArray *out);
/* accel.c */
void hmp_accel(Monitor *mon, Machine *m, int argc, char **argv, GString *out);
void complete_accel(Machine *m, unsigned arg, GPtrArray *out);
/* info.c */
void hmp_info_history(Monitor *mon, Machine *m, int argc, char **argv, GString *out);

#endif

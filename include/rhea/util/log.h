/* SPDX-License-Identifier: MIT
 * rhea/util/log.h - operator messages, guest-error log and the -d debug log.
 * Any thread. Process-wide by design: a log has one file, machines only write to it.
 */
#ifndef RHEA_UTIL_LOG_H
#define RHEA_UTIL_LOG_H

#include "rhea/util/error.h"
#include <stdint.h>
#include <stdio.h>

/* Items of `-d`, with QEMU's names (log_items[] has the help texts). */
typedef enum LogMask {
    LOG_IN_ASM = 1 << 0,       /* in_asm: guest code when it is first decoded */
    LOG_INT = 1 << 1,          /* int: exceptions and interrupts taken */
    LOG_EXEC = 1 << 2,         /* exec: each block entered */
    LOG_CPU_RESET = 1 << 3,    /* cpu_reset: state at each CPU reset */
    LOG_GUEST_ERRORS = 1 << 4, /* guest_errors */
    LOG_UNIMP = 1 << 5,        /* unimp: features the guest asked for that do not exist */
    LOG_MMU = 1 << 6,          /* mmu: page walks that fault, flushes */
    LOG_CPU = 1 << 7,          /* cpu: registers at each block entry */
    LOG_NOCHAIN = 1 << 8,      /* nochain: accepted, blocks are looked up one by one */
} LogMask;

typedef struct LogItem {
    LogMask mask;
    const char *name, *help;
} LogItem;
extern const LogItem log_items[]; /* ends with a NULL name */

extern unsigned log_mask; /* read on hot paths with log_on(); written before the machine runs or by `log` */
static inline bool log_on(unsigned mask)
{
    return G_UNLIKELY(__atomic_load_n(&log_mask, __ATOMIC_RELAXED) & mask);
}

/* "int,exec", "all", "none", "trace:PATTERN" (rhea/util/trace.h); "help" is handled by the caller. Unknown
 * names fail with the nearest one. */
bool log_set_items(const char *items, Error **errp);
bool log_set_file(const char *path, Error **errp); /* NULL: stderr; %d in the path becomes the pid */

/* Writes to the debug log, unconditionally: callers test log_on() first. One call is one atomic write. */
void log_printf(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void log_vprintf(const char *fmt, va_list ap) G_GNUC_PRINTF(1, 0);

/* For the operator, on stderr: "PROGRAM: warning: ...". */
void log_warn(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void log_info(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void log_warn_once(bool *said, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

void log_set_program(const char *name); /* borrowed, default g_get_prgname() */
const char *log_program(void);
/* -msg: what messages for the operator begin with. Before other threads exist. */
void log_set_timestamps(bool on);
bool log_has_timestamps(void);
void log_set_guest_name(const char *name); /* NULL: none */
char *log_prefix(void);                    /* "TIME GUEST PROGRAM: "; g_free */

#endif

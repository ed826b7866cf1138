/* SPDX-License-Identifier: MIT
 * rhea/system/host.h - what programs that manage this process share with it: descriptors they hand over by name, and the
 * host's threads of CPUs. MAIN_LOOP.
 */
#ifndef RHEA_SYSTEM_HOST_H
#define RHEA_SYSTEM_HOST_H

#include "rhea/system/machine.h"
#include <sys/types.h>

/* Takes fd, whatever the result. An older descriptor of that name is closed. */
bool machine_fd_put(Machine *m, const char *name, int fd, Error **errp);
/* The descriptor, which is the caller's now and has no name any more; -1: there is none of that name. */
int machine_fd_take(Machine *m, const char *name, Error **errp);

/* Sets of descriptors, by number: opening /dev/fdset/N gives a copy of the one in set N whose access fits. */
bool fdset_add(Machine *m, uint64_t set, int fd, const char *opaque, Error **errp); /* takes fd, in any case */
uint64_t fdset_unused(Machine *m);                                                 /* the lowest number */
/* fd: -1: all of the set. What was opened before stays open. */
bool fdset_remove(Machine *m, uint64_t set, int fd, Error **errp);
typedef struct FdsetEntry {
    uint64_t set;
    int fd;
    char *opaque; /* may be NULL */
} FdsetEntry;
void fdset_foreach(Machine *m, void (*fn)(const FdsetEntry *e, void *opaque), void *opaque); /* by set */
/* open(2), for which /dev/fdset/N is the set. */
int fdset_open(Machine *m, const char *path, int flags, mode_t mode);

int vcpu_host_thread(const Vcpu *cpu); /* gettid(2)'s number; the process's own while the CPU has no thread */

#endif

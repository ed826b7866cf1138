/* SPDX-License-Identifier: MIT
 * rhea/system/host.h - what programs that manage this process share with it: descriptors they hand over by name, and the
 * host's threads of CPUs. MAIN_LOOP.
 */
#ifndef RHEA_SYSTEM_HOST_H
#define RHEA_SYSTEM_HOST_H

#include "rhea/system/machine.h"

/* Takes fd, whatever the result. An older descriptor of that name is closed. */
bool machine_fd_put(Machine *m, const char *name, int fd, Error **errp);
/* The descriptor, which is the caller's now and has no name any more; -1: there is none of that name. */
int machine_fd_take(Machine *m, const char *name, Error **errp);

int vcpu_host_thread(const Vcpu *cpu); /* gettid(2)'s number; the process's own while the CPU has no thread */

#endif

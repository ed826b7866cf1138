/* SPDX-License-Identifier: MIT
 * tools/system/sandbox.h - -sandbox: which system calls this process may make.
 */
#ifndef TOOLS_SYSTEM_SANDBOX_H
#define TOOLS_SYSTEM_SANDBOX_H

#include "rhea/util/error.h"

typedef struct Sandbox {
    bool on;
    bool uring; /* an image asks for it; otherwise its calls fail with ENOSYS */
    bool obsolete, privileges, spawn, resources; /* groups that are allowed, see sandbox.c */
} Sandbox;

bool sandbox_available(Error **errp); /* this build has it */
/* From here on all threads make no other calls than those of `s`; what else is tried ends the process with a
 * line on stderr. `starting`: changes of user and root directory follow; a second call without it forbids
 * them. Main thread; there is no way back. */
bool sandbox_enter(const Sandbox *s, bool starting, Error **errp);

#endif

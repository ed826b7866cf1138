/* SPDX-License-Identifier: MIT
 * rhea/system/busy.h - work for whose time a machine must stand. MAIN_LOOP.
 */
#ifndef RHEA_SYSTEM_BUSY_H
#define RHEA_SYSTEM_BUSY_H

#include "rhea/system/machine.h"

/* why: constant ("a dump of guest memory is being written"), NULL: no longer. Commands that start it look
 * here. */
void machine_set_busy(Machine *m, const char *why);
const char *machine_busy(const Machine *m);

#endif

/* SPDX-License-Identifier: MIT
 * rhea/monitor/gdb.h - the server of GDB's remote serial protocol: -gdb, -s, `gdbserver`.
 */
#ifndef RHEA_MONITOR_GDB_H
#define RHEA_MONITOR_GDB_H

#include "rhea/backends/char.h"
#include "rhea/system/machine.h"

#define GDB_DEFAULT_DEVICE "tcp::1234"

/* Serves debuggers on DEV, as -serial takes one ("tcp:..." is a server that does not wait, unless it says
 * otherwise), in place of the device before; "none": no longer. MAIN_LOOP, after machine_build(). */
bool gdb_server_start(Machine *m, const char *dev, Error **errp);
void gdb_server_stop(Machine *m);
const char *gdb_server_device(const Machine *m); /* NULL: nobody listens */

#endif

/* SPDX-License-Identifier: MIT
 * rhea/backends/export.h - a machine's disks for others: its NBD server and what that exports. MAIN_LOOP.
 */
#ifndef RHEA_BACKENDS_EXPORT_H
#define RHEA_BACKENDS_EXPORT_H

#include "rhea/block/nbd.h"
#include "rhea/system/machine.h"

bool export_server_start(Machine *m, const SockSpec *where, unsigned max_connections, Error **errp);
/* A listening socket, which is taken in any case. */
bool export_server_start_fd(Machine *m, int fd, unsigned max_connections, Error **errp);
bool export_server_stop(Machine *m, Error **errp); /* its exports end, too */
/* id, name and node must be there; `shared` is chosen here. */
bool export_add(Machine *m, const NbdExportConfig *config, BlockBitmap *const *bitmaps, unsigned count,
                Error **errp);
bool export_del(Machine *m, const char *id, bool hard, Error **errp);
void export_foreach(Machine *m, void (*fn)(const NbdExport *e, void *opaque), void *opaque);
/* The medium of a drive, or a node, by name. */
BlockNode *export_find_node(Machine *m, const char *name, Error **errp);

#endif

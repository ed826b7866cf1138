/* SPDX-License-Identifier: MIT
 * rhea/backends/object.h - what users make with -object and object-add: memory backends, groups of I/O
 * limits, I/O threads, sources of random numbers, secrets. MAIN_LOOP.
 */
#ifndef RHEA_BACKENDS_OBJECT_H
#define RHEA_BACKENDS_OBJECT_H

#include "rhea/system/machine.h"

/* prealloc: the default of a memory backend's property of that name. */
bool object_new_json(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp);
bool object_remove(Machine *m, const char *id, Error **errp); /* not while somebody uses it */

/* "memory-backend-ram", "throttle-group" ... */
bool object_is_kind(const char *qom_type);
bool object_is_for_drives(const char *qom_type); /* it must be there before they are */
void object_help(GString *out);                  /* the kinds */
void object_help_kind(const char *qom_type, GString *out);

#endif

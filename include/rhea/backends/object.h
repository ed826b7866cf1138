/* SPDX-License-Identifier: MIT
 * rhea/backends/object.h - what users make with -object and object-add: memory backends, groups of I/O
 * limits, I/O threads, sources of random numbers, secrets, TLS credentials. MAIN_LOOP.
 */
#ifndef RHEA_BACKENDS_OBJECT_H
#define RHEA_BACKENDS_OBJECT_H

#include "rhea/schema/type.h"
#include "rhea/system/machine.h"

/* What kinds of object with the same options share: constant tables. */
typedef struct ObjectFamily {
    const char *const *names; /* of the kinds */
    const TypeDesc *options;  /* a union by qom-type */
    bool for_drives;          /* must be there before drives */
    bool (*exists)(Machine *m, const char *id);
    bool (*make)(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp); /* id is free */
    bool (*remove)(Machine *m, const char *id, Error **errp);
    /* What follows may be NULL. */
    const char *parent; /* the abstract type, "object" unless told */
    bool for_nets;      /* can only be made when networks are there */
    /* Properties while it is there, at /objects/ID; "type" is one. NULL: there is none of this name. */
    Json *(*get)(Machine *m, const char *id, const char *name);
    bool (*set)(Machine *m, const char *id, const char *name, const Json *value, Error **errp);
} ObjectFamily;

/* A family of a layer above. Once per process; at most eight. */
void object_register(const ObjectFamily *f);
/* Kinds that were registered; options: as theirs. */
void object_foreach_registered(void (*fn)(const char *name, const ObjectFamily *f, void *opaque),
                               void *opaque);
Json *object_get(Machine *m, const char *id, const char *name); /* the caller's; NULL: no such thing */
bool object_set(Machine *m, const char *id, const char *name, const Json *value, Error **errp);

/* prealloc: the default of a memory backend's property of that name. */
bool object_new_json(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp);
bool object_remove(Machine *m, const char *id, Error **errp); /* not while somebody uses it */

/* "memory-backend-ram", "throttle-group" ... */
bool object_is_kind(const char *qom_type);
bool object_is_for_drives(const char *qom_type); /* it must be there before they are */
bool object_is_for_nets(const char *qom_type);   /* they must be there before it is */
void object_help(GString *out);                  /* the kinds */
void object_help_kind(const char *qom_type, GString *out);

#endif

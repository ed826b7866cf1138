/* SPDX-License-Identifier: MIT
 * rhea/backends/hostmem.h - memory backends: guest memory as -object memory-backend-... describes it.
 * MAIN_LOOP.
 */
#ifndef RHEA_BACKENDS_HOSTMEM_H
#define RHEA_BACKENDS_HOSTMEM_H

#include "rhea/system/machine.h"

typedef struct HostMem HostMem;

/* The object of -object: maps the memory, and allocates it when that is asked for. `prealloc`: the default of
 * its property of that name. */
HostMem *hostmem_new_json(Machine *m, const Json *opts, bool from_text, bool prealloc, Error **errp);
HostMem *hostmem_find(Machine *m, const char *id);
/* The memory of a backend, a reference: once only. `user` is who has it ("-machine memory-backend"). */
RamBlock *hostmem_claim(Machine *m, const char *id, const char *user, Error **errp);
/* Warns of those that nobody claimed. */
void hostmem_check_used(Machine *m);
bool hostmem_remove(Machine *m, const char *id, Error **errp); /* not while somebody uses it */
void hostmem_remove_all(Machine *m);

/* What a backend is; strings are borrowed. */
typedef struct HostMemInfo {
    const char *id, *policy; /* as -object has it: "default", "bind"... */
    uint64_t size;           /* bytes */
    bool merge, dump, prealloc, share, reserve;
    const unsigned *nodes;   /* of the host, ascending */
    size_t n_nodes;
} HostMemInfo;
void hostmem_foreach(Machine *m, void (*fn)(const HostMemInfo *info, void *opaque), void *opaque);

bool hostmem_is_kind(const char *qom_type); /* "memory-backend-ram" ... */

/* prealloc.c: makes the host allocate [host, host+size), whose contents stay. */
typedef struct HostMemFill {
    uint8_t *host;
    uint64_t size, page; /* page: of the mapping */
    unsigned threads;
    bool touch; /* page by page instead of by MADV_POPULATE_WRITE: what hosts before Linux 5.14 get */
    void (*progress)(void *opaque, uint64_t done); /* NULL: silent; this thread, each progress_ms */
    void *opaque;
    unsigned progress_ms;
} HostMemFill;
bool hostmem_fill(const HostMemFill *fill, Error **errp);

#endif

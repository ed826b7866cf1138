/* SPDX-License-Identifier: MIT
 * backends/hostmem/hostmem_internal.h - between core.c (objects) and map.c (the host's memory).
 */
#ifndef HOSTMEM_INTERNAL_H
#define HOSTMEM_INTERNAL_H

#include "rhea/backends/hostmem.h"
#include "schema/hostmem.h"

typedef struct HostMemMapping {
    RamMapping ram;
    bool created; /* the file: it goes when the backend fails */
    bool holes;   /* it has no contents */
} HostMemMapping;

static inline bool hostmem_shared(const HostMemOptions *o)
{
    return o->has_share ? o->share : o->qom_type == HOST_MEM_KIND_MEMORY_BACKEND_MEMFD;
}

/* Options that fit each other become memory with its policy and its advice. On failure nothing stays. */
bool hostmem_map(const HostMemOptions *o, HostMemMapping *map, Error **errp);
void hostmem_unmap(const HostMemOptions *o, HostMemMapping *map);
/* The host's nodes that `host-nodes` names, ascending (unsigned); NULL gives none. The caller's. */
GArray *hostmem_nodes(const Json *host_nodes);
/* Adds what can be done when pages of this size have run out. */
void hostmem_room_hint(uint64_t page, Error **errp);

#endif

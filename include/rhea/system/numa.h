/* SPDX-License-Identifier: MIT
 * rhea/system/numa.h - the guest's NUMA nodes: memory and CPUs that belong together, and how far apart they are.
 *
 * Filled in after all options were read (Machine.max_cpus and the topology are known), checked by
 * numa_complete(), constant from then on. MAIN_LOOP.
 */
#ifndef RHEA_SYSTEM_NUMA_H
#define RHEA_SYSTEM_NUMA_H

#include "rhea/system/memory.h"

enum {
    NUMA_MAX_NODES = 128,
    NUMA_LOCAL = 10,
    NUMA_REMOTE = 20,
    NUMA_MAX_DISTANCE = 255,
    NUMA_CPU_UNSET = -1
};

typedef struct NumaNode {
    bool given;
    RamBlock *ram;     /* owned; NULL: CPUs only */
    MemRegion region;  /* its place in Machine.ram_region */
} NumaNode;

typedef struct MachineNuma { /* Machine.numa */
    unsigned n;              /* nodes; their numbers have no gaps once it is complete */
    NumaNode node[NUMA_MAX_NODES];
    int16_t *cpu_node;       /* Machine.max_cpus of them */
    bool has_distances;      /* otherwise the guest's own assumption: 10 at home, 20 elsewhere */
    uint8_t distance[NUMA_MAX_NODES][NUMA_MAX_NODES]; /* [from][to]; 0: not given */
} MachineNuma;

/* The place of a CPU as -smp makes it; -1: any. */
typedef struct NumaCpu { int64_t socket, die, core, thread; } NumaCpu;

/* A node; number -1: the next. ram: a reference that is taken on success, or NULL. Its number, or -1. */
int numa_add_node(Machine *m, int64_t number, RamBlock *ram, Error **errp);
bool numa_add_cpus(Machine *m, unsigned node, uint64_t first, uint64_t last, Error **errp); /* by index */
bool numa_add_cpu(Machine *m, uint64_t node, const NumaCpu *where, Error **errp);           /* by place */
bool numa_set_distance(Machine *m, uint64_t from, uint64_t to, uint64_t value, Error **errp);
/* Everything was given: checks it, fills in what follows from the rest. */
bool numa_complete(Machine *m, Error **errp);
void numa_free(Machine *m);

uint64_t numa_node_size(const NumaNode *node);
uint64_t numa_ram_size(const MachineNuma *numa);
unsigned numa_distance(const MachineNuma *numa, unsigned from, unsigned to);

#endif

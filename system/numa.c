/* SPDX-License-Identifier: MIT
 * system/numa.c - the guest's NUMA nodes: built up from options, checked as a whole.
 * Models: nodes numbered from 0, memory laid out in the order of their numbers; distances as ACPI 6.3, 5.2.17
 *         has them: 10 is local, 255 is unreachable.
 * Does not model: attributes of memory (HMAT), memory that is plugged in later.
 * Threads: main loop.
 */
#include "rhea/system/numa.h"
#include "rhea/util/errorcode.h"
#include "internal.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"

static MachineNuma *numa_get(Machine *m)
{
    if (!m->numa) {
        unsigned cpus = MAX(m->max_cpus, m->n_cpus);
        m->numa = g_new0(MachineNuma, 1);
        m->numa->cpu_node = g_new(int16_t, MAX(cpus, 1));
        for (unsigned i = 0; i < MAX(cpus, 1); i++) {
            m->numa->cpu_node[i] = NUMA_CPU_UNSET;
        }
    }
    return m->numa;
}

static bool numa_known(const MachineNuma *numa, uint64_t node, Error **errp)
{
    if (node < NUMA_MAX_NODES && numa && numa->node[node].given) {
        return true;
    }
    error_fail(errp, "not-found", NULL, NULL, "there is no NUMA node %" G_GUINT64_FORMAT, node);
    error_hint(errp, "-numa node,nodeid=%" G_GUINT64_FORMAT " makes one", node);
    return false;
}

/* ---- from options ---- */

int numa_add_node(Machine *m, int64_t number, RamBlock *ram, Error **errp)
{
    MachineNuma *numa = numa_get(m);
    if (number < 0) {
        number = numa->n;
    }
    if (number >= NUMA_MAX_NODES) {
        error_fail(errp, "out-of-range", "nodeid", "give a smaller number",
                   "NUMA node %" G_GINT64_FORMAT ": the last possible one is %d", number, NUMA_MAX_NODES - 1);
        return -1;
    }
    NumaNode *node = &numa->node[number];
    if (node->given) {
        error_fail(errp, "already-exists", "nodeid", NULL,
                   "NUMA node %" G_GINT64_FORMAT " is there already", number);
        error_hint(errp, "give each node another nodeid=");
        return -1;
    }
    node->given = true;
    node->ram = ram;
    numa->n++;
    return (int)number;
}

static unsigned numa_cpus(const Machine *m)
{
    return MAX(m->max_cpus, m->n_cpus);
}

static NumaCpu numa_cpu_place(const Machine *m, unsigned index)
{
    unsigned threads = MAX(m->threads, 1), cores = MAX(m->cores, 1), dies = MAX(m->dies, 1);
    return (NumaCpu){ .thread = index % threads,
                      .core = index / threads % cores,
                      .die = index / threads / cores % dies,
                      .socket = index / threads / cores / dies };
}

static bool numa_claim_cpu(MachineNuma *numa, unsigned node, unsigned cpu, Error **errp)
{
    if (numa->cpu_node[cpu] != NUMA_CPU_UNSET && numa->cpu_node[cpu] != (int)node) {
        return error_fail(errp, "already-exists", "cpus", "name each CPU once",
                          "CPU %u belongs to NUMA node %d already", cpu, numa->cpu_node[cpu]);
    }
    numa->cpu_node[cpu] = (int16_t)node;
    return true;
}

bool numa_add_cpus(Machine *m, unsigned node, uint64_t first, uint64_t last, Error **errp)
{
    if (!numa_known(m->numa, node, errp)) {
        return false;
    }
    if (first > last) {
        return error_fail(errp, "invalid-value", "cpus", "exchange the two",
                          "CPUs %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT ": the first is behind the last",
                          first, last);
    }
    if (last >= numa_cpus(m)) {
        error_fail(errp, "out-of-range", "cpus", NULL,
                   "there is no CPU %" G_GUINT64_FORMAT ", the last is %u", last, numa_cpus(m) - 1);
        error_hint(errp, "-smp says how many there are");
        return false;
    }
    for (uint64_t i = first; i <= last; i++) {
        if (!numa_claim_cpu(m->numa, node, (unsigned)i, errp)) {
            return false;
        }
    }
    return true;
}

static bool numa_same(int64_t want, int64_t is)
{
    return want < 0 || want == is;
}

bool numa_add_cpu(Machine *m, uint64_t node, const NumaCpu *where, Error **errp)
{
    unsigned found = 0;
    if (!numa_known(m->numa, node, errp)) {
        return false;
    }
    for (unsigned i = 0; i < numa_cpus(m); i++) {
        NumaCpu is = numa_cpu_place(m, i);
        if (numa_same(where->socket, is.socket) && numa_same(where->die, is.die) &&
            numa_same(where->core, is.core) && numa_same(where->thread, is.thread)) {
            if (!numa_claim_cpu(m->numa, (unsigned)node, i, errp)) {
                return false;
            }
            found++;
        }
    }
    if (!found) {
        error_fail(errp, "not-found", NULL, "-smp says how many there are of each",
                   "no CPU has this place: there are %u sockets of %u dies of %u cores of %u threads",
                   m->sockets, m->dies, m->cores, m->threads);
        error_hint(errp, "numbers count from 0; -smp says how many there are");
    }
    return found > 0;
}

bool numa_set_distance(Machine *m, uint64_t from, uint64_t to, uint64_t value, Error **errp)
{
    if (!numa_known(m->numa, from, errp) || !numa_known(m->numa, to, errp)) {
        return false;
    }
    if (value < NUMA_LOCAL || value > NUMA_MAX_DISTANCE) {
        error_fail(errp, "out-of-range", "val", "give a value from 10 to 255",
                   "a distance of %" G_GUINT64_FORMAT " is not possible: 10 is local, 255 unreachable",
                   value);
        return false;
    }
    if (from == to && value != NUMA_LOCAL) {
        return error_fail(errp, "invalid-value", "val", "leave it out",
                          "the distance of node %" G_GUINT64_FORMAT " from itself is 10, not %"
                          G_GUINT64_FORMAT,
                          from, value);
    }
    m->numa->distance[from][to] = (uint8_t)value;
    m->numa->has_distances = true;
    return true;
}

/* ---- as a whole ---- */

static bool numa_check_numbers(const MachineNuma *numa, Error **errp)
{
    for (unsigned i = 0; i < numa->n; i++) {
        if (!numa->node[i].given) {
            error_fail(errp, "missing-member", "nodeid", NULL,
                       "there are %u NUMA nodes, but no node %u", numa->n, i);
            error_hint(errp, "their numbers count from 0 without gaps");
            return false;
        }
    }
    return true;
}

static bool numa_check_memory(Machine *m, Error **errp)
{
    uint64_t sum = numa_ram_size(m->numa);
    if (sum == m->ram_size) {
        return true;
    }
    g_autofree char *all = text_from_size(m->ram_size), *nodes = text_from_size(sum);
    error_fail(errp, "conflict", "memdev", NULL,
               "the NUMA nodes have %s of memory, the machine %s", sum ? nodes : "nothing", all);
    error_hint(errp, "give nodes a memdev= each, of the size of -m together");
    return false;
}

/* Without any cpus= whole sockets go round the nodes; what only some options leave out goes to node 0. */
static void numa_place_cpus(Machine *m)
{
    MachineNuma *numa = m->numa;
    g_autoptr(GString) left = g_string_new(NULL);
    unsigned n_left = 0;
    for (unsigned i = 0; i < numa_cpus(m); i++) {
        if (numa->cpu_node[i] == NUMA_CPU_UNSET) {
            g_string_append_printf(left, "%s%u", n_left ? ", " : "", i);
            n_left++;
        }
    }
    for (unsigned i = 0; i < numa_cpus(m); i++) {
        if (numa->cpu_node[i] == NUMA_CPU_UNSET) {
            numa->cpu_node[i] = n_left == numa_cpus(m) ? numa_cpu_place(m, i).socket % numa->n : 0;
        }
    }
    if (n_left && n_left < numa_cpus(m) && numa->n > 1) {
        log_warn("-numa: no node has CPU %s; taken to be in node 0", left->str);
    }
}

/* One direction is enough while the other is the same everywhere. */
static bool numa_complete_distances(MachineNuma *numa, Error **errp)
{
    bool asymmetric = false;
    for (unsigned i = 0; i < numa->n; i++) {
        numa->distance[i][i] = NUMA_LOCAL;
        for (unsigned k = 0; k < i; k++) {
            uint8_t a = numa->distance[i][k], b = numa->distance[k][i];
            if (!a && !b) {
                error_fail(errp, "missing-member", "dist", NULL,
                           "the distance between NUMA nodes %u and %u is missing", k, i);
                error_hint(errp, "-numa dist,src=%u,dst=%u,val=20", k, i);
                return false;
            }
            asymmetric |= a && b && a != b;
        }
    }
    for (unsigned i = 0; i < numa->n; i++) {
        for (unsigned k = 0; k < numa->n; k++) {
            if (!numa->distance[i][k] && asymmetric) {
                error_fail(errp, "missing-member", "dist", NULL,
                           "the distance from NUMA node %u to %u is missing", i, k);
                error_hint(errp,
                           "when one pair differs by direction, both directions of all pairs are needed");
                return false;
            }
            if (!numa->distance[i][k]) {
                numa->distance[i][k] = numa->distance[k][i];
            }
        }
    }
    return true;
}

bool numa_complete(Machine *m, Error **errp)
{
    MachineNuma *numa = m->numa;
    if (!numa_check_numbers(numa, errp) || !numa_check_memory(m, errp)) {
        return false;
    }
    numa_place_cpus(m);
    return !numa->has_distances || numa_complete_distances(numa, errp);
}

/* ---- use ---- */

uint64_t numa_node_size(const NumaNode *node)
{
    return node->ram ? node->ram->size : 0;
}

uint64_t numa_ram_size(const MachineNuma *numa)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++) {
        sum += numa_node_size(&numa->node[i]);
    }
    return sum;
}

unsigned numa_distance(const MachineNuma *numa, unsigned from, unsigned to)
{
    return numa->has_distances ? numa->distance[from][to] : from == to ? NUMA_LOCAL : NUMA_REMOTE;
}

/* One region for each node in a container, in the order of their numbers. */
void numa_map_ram(Machine *m, const char *name)
{
    MachineNuma *numa = m->numa;
    uint64_t at = 0;
    region_init(&m->ram_region, NULL, name, m->ram_size);
    for (unsigned i = 0; i < numa->n; i++) {
        NumaNode *node = &numa->node[i];
        if (node->ram) {
            m->ram = m->ram ? m->ram : ram_ref(node->ram);
            region_init_ram(&node->region, NULL, node->ram->name, node->ram);
            region_map(&m->ram_region, at, &node->region, 0);
            at += node->ram->size;
        }
    }
}

void numa_unmap_ram(Machine *m)
{
    for (unsigned i = 0; m->numa && i < m->numa->n; i++) {
        MemRegion *r = &m->numa->node[i].region;
        if (r->name) {
            region_unmap(r);
            region_fini(r);
        }
    }
}

void numa_free(Machine *m)
{
    if (!m->numa) {
        return;
    }
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++) {
        ram_unref(m->numa->node[i].ram);
    }
    g_free(m->numa->cpu_node);
    g_clear_pointer(&m->numa, g_free);
}

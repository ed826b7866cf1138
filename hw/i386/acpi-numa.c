/* SPDX-License-Identifier: MIT
 * hw/i386/acpi-numa.c - the ACPI tables about NUMA nodes.
 *
 * Models: ACPI 6.3: SRAT (5.2.16) with local APIC, x2APIC and memory affinity structures, SLIT (5.2.17) when
 *         distances were given.
 * Does not model: HMAT, memory that is plugged in.
 * Threads: built with the other tables.
 */
#include "acpi-pc.h"

enum { SRAT_LOCAL_APIC = 0, SRAT_MEMORY = 1, SRAT_X2APIC = 2, SRAT_ENABLED = 1 };
enum { LOW_END = 0xa0000, HIGH_BEGIN = 0x100000 }; /* video memory and ROMs lie between */

static void srat_cpu(GByteArray *t, uint32_t apic_id, uint32_t node)
{
    bool x2 = apic_id >= 255;
    acpi_put(t, x2 ? SRAT_X2APIC : SRAT_LOCAL_APIC, 1);
    acpi_put(t, x2 ? 24 : 16, 1);
    if (x2) {
        acpi_put(t, 0, 2);
        acpi_put(t, node, 4);
        acpi_put(t, apic_id, 4);
        acpi_put(t, SRAT_ENABLED, 4);
        acpi_put(t, 0, 4); /* clock domain */
        acpi_put(t, 0, 4);
    } else {
        acpi_put(t, node & 0xff, 1);
        acpi_put(t, apic_id, 1);
        acpi_put(t, SRAT_ENABLED, 4);
        acpi_put(t, 0, 1); /* a SAPIC's */
        acpi_put(t, node >> 8, 3);
        acpi_put(t, 0, 4);
    }
}

static void srat_memory(GByteArray *t, uint64_t at, uint64_t size, uint32_t node)
{
    acpi_put(t, SRAT_MEMORY, 1);
    acpi_put(t, 40, 1);
    acpi_put(t, node, 4);
    acpi_put(t, 0, 2);
    acpi_put(t, at, 8);
    acpi_put(t, size, 8);
    acpi_put(t, 0, 4);
    acpi_put(t, SRAT_ENABLED, 4);
    acpi_put(t, 0, 8);
}

/* [from, from+size) of RAM as the guest sees it: with a hole below 1 MiB and one below 4 GiB. */
static void srat_node(GByteArray *t, const PcLayout *l, uint64_t from, uint64_t size, uint32_t node)
{
    const struct {
        uint64_t begin, end, at;
    } parts[] = {
        { 0, MIN(LOW_END, l->below_4g), 0 },
        { HIGH_BEGIN, l->below_4g, HIGH_BEGIN },
        { l->below_4g, l->below_4g + l->above_4g, 4 * GIB },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        uint64_t begin = MAX(from, parts[i].begin), end = MIN(from + size, parts[i].end);
        if (begin < end) {
            srat_memory(t, parts[i].at + (begin - parts[i].begin), end - begin, node);
        }
    }
}

static void build_slit(AcpiBuilder *b, const MachineNuma *numa)
{
    guint at = acpi_table_begin(b, "SLIT", 1);
    acpi_put(b->tables, numa->n, 8);
    for (unsigned from = 0; from < numa->n; from++) {
        for (unsigned to = 0; to < numa->n; to++) {
            acpi_put(b->tables, numa_distance(numa, from, to), 1);
        }
    }
    acpi_table_end(b, at, true);
}

void pc_acpi_numa(AcpiBuilder *b, const PcAcpi *p)
{
    const MachineNuma *numa = p->numa;
    uint64_t from = 0;
    guint at = acpi_table_begin(b, "SRAT", 3);
    acpi_put(b->tables, 1, 4); /* for compatibility */
    acpi_put(b->tables, 0, 8);
    for (unsigned i = 0; i < p->max_cpus; i++) {
        srat_cpu(b->tables, p->apic_id[i], numa->cpu_node[i]);
    }
    for (unsigned i = 0; i < numa->n; i++) {
        uint64_t size = numa_node_size(&numa->node[i]);
        srat_node(b->tables, &p->layout, from, size, i);
        from += size;
    }
    acpi_table_end(b, at, true);
    if (numa->has_distances) {
        build_slit(b, numa);
    }
}

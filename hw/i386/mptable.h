/* SPDX-License-Identifier: MIT
 * hw/i386/mptable.h - the MP configuration table.
 */
#ifndef HW_I386_MPTABLE_H
#define HW_I386_MPTABLE_H

#include <glib.h>
#include <stdint.h>

typedef struct MpTable {
    const uint32_t *apic_id; /* n_cpus of them, below 255 */
    unsigned n_cpus;
    uint32_t signature, features; /* CPUID leaf 1, EAX and EDX */
    uint8_t ioapic_id;
    uint16_t level; /* ISA lines that are level-triggered, active high */
} MpTable;

GByteArray *mp_table_build(const MpTable *mp, uint32_t at);

#endif

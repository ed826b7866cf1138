/* SPDX-License-Identifier: MIT
 * hw/i386/e820.c - where RAM is, and the map of it that firmware gets.
 *
 * Models: the layout of PCs with a hole below 4 GiB for PCI; the fw_cfg file "etc/e820": packed entries of
 *         address, length, type (ACPI 6.3, 15.1: 1 usable, 2 reserved).
 * Does not model: holes below 1 MiB, which firmware adds by itself.
 * Threads: main loop, before the machine runs.
 */
#include "pc_internal.h"
#include "rhea/util/text.h"

const PcLayoutLimits pc_layout_limits = { .most = 0xe0000000, .when_more = 0xc0000000 };

bool pc_layout(uint64_t ram_size, uint64_t max_below_4g, const PcLayoutLimits *limits, PcLayout *out,
               Error **errp)
{
    uint64_t max = max_below_4g ? max_below_4g : limits->most;
    if (max > limits->most || max < MIB) {
        g_autofree char *text = text_from_size(max), *most = text_from_size(limits->most);
        return error_set(errp, "max-ram-below-4g=%s is not between 1 MiB and %s", text, most);
    }
    uint64_t low = max;
    if (ram_size >= max && low > limits->when_more) {
        low = limits->when_more;
    }
    out->below_4g = MIN(ram_size, low);
    out->above_4g = ram_size - out->below_4g;
    return true;
}

void pc_map_layout(Machine *m, const PcLayout *l, MemRegion *low, MemRegion *high)
{
    region_init_alias(low, NULL, "ram-below-4g", &m->ram_region, 0, l->below_4g);
    region_map(&m->sysmem, 0, low, 0);
    if (l->above_4g) {
        region_init_alias(high, NULL, "ram-above-4g", &m->ram_region, l->below_4g, l->above_4g);
        region_map(&m->sysmem, 4 * GIB, high, 0);
    }
}

static void e820_add(GByteArray *out, uint64_t addr, uint64_t len, uint32_t type)
{
    struct { uint64_t addr, len; uint32_t type; } __attribute__((packed)) e = {
        GUINT64_TO_LE(addr), GUINT64_TO_LE(len), GUINT32_TO_LE(type),
    };
    g_byte_array_append(out, (uint8_t *)&e, sizeof(e));
}

GBytes *pc_e820_table(const PcLayout *l)
{
    GByteArray *out = g_byte_array_new();
    e820_add(out, 0, l->below_4g, E820_RAM);
    if (l->above_4g) {
        e820_add(out, 4 * GIB, l->above_4g, E820_RAM);
    }
    return g_byte_array_free_to_bytes(out);
}

/* SPDX-License-Identifier: MIT
 * system/flatview.c - looking things up in a rendered view, and printing trees and views.
 * Threads: views are immutable; readers hold rcu_read_lock(). Printing a tree takes the topology lock.
 */
#include "internal.h"

#include <inttypes.h>

/* A hint may be left over from a freed view: it is compared, never followed, until it is known to be an
 * element of this one. */
static inline bool hint_in_view(const FlatView *v, const FlatRange *hint)
{
    uintptr_t off = (uintptr_t)hint - (uintptr_t)v->r;
    return off < (uintptr_t)v->n * sizeof(FlatRange) && off % sizeof(FlatRange) == 0;
}

const FlatRange *flatview_find(const FlatView *v, hwaddr addr, const FlatRange **hint)
{
    if (hint && hint_in_view(v, *hint) && addr - (*hint)->start < (*hint)->size) {
        return *hint;
    }
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const FlatRange *f = &v->r[mid];
        if (addr < f->start) {
            hi = mid;
        } else if (addr - f->start < f->size) {
            if (hint) {
                *hint = f;
            }
            return f;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

static const char *region_kind(const MemRegion *r)
{
    if (r->rom_device) {
        return "romd";
    }
    if (r->ram) {
        return r->readonly ? "rom" : "ram";
    }
    return r->container ? "container" : "i/o";
}

static uint64_t last_of(hwaddr at, uint64_t size)
{
    return size == UINT64_MAX ? UINT64_MAX : at + (size ? size - 1 : 0);
}

static void print_tree(const MemRegion *r, hwaddr base, GString *out, unsigned depth)
{
    g_string_append_printf(out, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ", 2 * depth, "", base,
                           last_of(base, r->size), r->priority,
                           r->alias ? region_kind(r->alias) : region_kind(r));
    if (r->alias) {
        g_string_append_printf(out, "alias %s @%s %016" PRIx64 "-%016" PRIx64, r->name, r->alias->name,
                               r->alias_off, last_of(r->alias_off, r->size));
    } else {
        g_string_append(out, r->name);
    }
    g_string_append(out, r->enabled ? "\n" : " [disabled]\n");
    for (GList *l = r->children; l && depth < 32; l = l->next) {
        const MemRegion *c = l->data;
        print_tree(c, base + c->at, out, depth + 1);
    }
}

static void print_flat(AddressSpace *as, GString *out)
{
    rcu_read_lock();
    const FlatView *v = as_view(as);
    for (uint32_t i = 0; i < v->n; i++) {
        const FlatRange *f = &v->r[i];
        const char *kind = f->host && f->readonly && !f->region->rom_device ? "rom" : region_kind(f->region);
        g_string_append_printf(out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", f->start,
                               f->start + (f->size - 1), f->region->priority, kind, f->region->name);
        if (f->off) {
            g_string_append_printf(out, " @%016" PRIx64, f->off);
        }
        g_string_append_c(out, '\n');
    }
    if (!v->n) {
        g_string_append(out, "  (nothing is mapped)\n");
    }
    rcu_read_unlock();
}

void as_print(AddressSpace *as, GString *out, bool flat)
{
    g_string_append_printf(out, flat ? "flat view of address space: %s\n" : "address-space: %s\n", as->name);
    mem_begin(as->machine);
    if (flat) {
        print_flat(as, out);
    } else if (as->root) {
        print_tree(as->root, 0, out, 1);
    }
    mem_commit(as->machine);
    g_string_append_c(out, '\n');
}

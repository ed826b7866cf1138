/* SPDX-License-Identifier: MIT
 * system/region.c - the tree of memory regions and how it is rendered into flat views.
 * Models: nested containers, overlaps ranked by priority, aliases, regions switched off.
 * Threads: edits under the machine's topology lock (order 2), from the main loop or a register handler;
 * a region that belongs to no machine yet is private to whoever builds it.
 */
#include "internal.h"
#include "system/trace.h"

#include "rhea/system/doorbell.h"

#include <inttypes.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

enum { REGION_DEPTH_MAX = 64 };

/* ---- construction ---- */

static void region_adopt(MemRegion *r, Machine *m)
{
    if (!r || !m || r->machine == m) {
        return;
    }
    r->machine = m;
    region_adopt(r->alias, m);
    for (GList *l = r->children; l; l = l->next) {
        region_adopt(l->data, m);
    }
}

void region_init(MemRegion *r, Device *owner, const char *name, uint64_t size)
{
    *r = (MemRegion){ .owner = owner, .name = name, .size = size, .enabled = true, .container = true,
                      .machine = owner ? owner->machine : NULL };
}

void region_init_io(MemRegion *r, Device *owner, const char *name, const MemOps *ops, void *opaque,
                    uint64_t size)
{
    region_init(r, owner, name, size);
    r->container = false;
    r->ops = ops;
    r->opaque = opaque;
}

void region_init_ram(MemRegion *r, Device *owner, const char *name, RamBlock *ram)
{
    region_init(r, owner, name, ram->size);
    r->container = false;
    r->ram = ram_ref(ram);
}

void region_init_rom(MemRegion *r, Device *owner, const char *name, RamBlock *ram)
{
    region_init_ram(r, owner, name, ram);
    r->readonly = true;
}

void region_init_rom_device(MemRegion *r, Device *owner, const char *name, const MemOps *ops, void *opaque,
                            RamBlock *ram)
{
    region_init_ram(r, owner, name, ram);
    r->rom_device = true;
    r->ops = ops;
    r->opaque = opaque;
}

void region_init_alias(MemRegion *r, Device *owner, const char *name, MemRegion *of, hwaddr off,
                       uint64_t size)
{
    region_init(r, owner, name, size);
    r->container = false;
    r->alias = of;
    r->alias_off = off;
    if (!r->machine) {
        r->machine = of->machine;
    }
    region_adopt(of, r->machine);
}

void region_fini(MemRegion *r)
{
    g_assert(!r->parent);
    while (r->children) {
        region_unmap(r->children->data);
    }
    if (r->machine && r->ops) {
        mmio_posted_withdraw(r->machine, r);
    }
    ram_unref(r->ram);
    r->ram = NULL;
}

/* ---- edits ---- */

static void edit_begin(MemRegion *r)
{
    if (r->machine) {
        mem_begin(r->machine);
    }
}

static void edit_end(MemRegion *r)
{
    if (r->machine) {
        r->machine->priv->topology_dirty = true;
        mem_commit(r->machine);
    }
}

static void region_link(MemRegion *parent, MemRegion *child)
{
    GList *before = parent->children;
    while (before && ((MemRegion *)before->data)->priority > child->priority) {
        before = before->next;
    }
    parent->children = g_list_insert_before(parent->children, before, child);
    child->parent = parent;
}

void region_map(MemRegion *parent, hwaddr at, MemRegion *child, int priority)
{
    g_assert(!child->parent && child != parent);
    region_adopt(child, parent->machine);
    edit_begin(parent);
    child->at = at;
    child->priority = priority;
    region_link(parent, child);
    edit_end(parent);
}

void region_unmap(MemRegion *child)
{
    MemRegion *parent = child->parent;
    if (!parent) {
        return;
    }
    edit_begin(parent);
    parent->children = g_list_remove(parent->children, child);
    child->parent = NULL;
    edit_end(parent);
}

/* One scalar of a region changes, and only a real change is rendered. */
#define REGION_EDIT(r, member, value)  \
    do {                               \
        if ((r)->member != (value)) {  \
            edit_begin(r);             \
            (r)->member = (value);     \
            edit_end(r);               \
        }                              \
    } while (0)

void region_set_enabled(MemRegion *r, bool enabled)
{
    REGION_EDIT(r, enabled, enabled);
}

void region_set_readonly(MemRegion *r, bool readonly)
{
    REGION_EDIT(r, readonly, readonly);
}

void region_set_addr(MemRegion *r, hwaddr at)
{
    REGION_EDIT(r, at, at);
}

void region_set_size(MemRegion *r, uint64_t size)
{
    REGION_EDIT(r, size, size);
}

void region_set_alias_off(MemRegion *r, hwaddr off)
{
    REGION_EDIT(r, alias_off, off);
}

/* ---- rendering ---- */

static inline u128 size_of(const MemRegion *r)
{
    return r->size == UINT64_MAX ? (u128)1 << 64 : r->size;
}

static inline u128 range_end(const FlatRange *f)
{
    return (u128)f->start + f->size;
}

/* First range that ends after addr. */
static guint ranges_from(GArray *out, u128 addr)
{
    guint lo = 0, hi = out->len;
    while (lo < hi) {
        guint mid = (lo + hi) / 2;
        if (range_end(&g_array_index(out, FlatRange, mid)) > addr) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static void ranges_insert(GArray *out, guint at, MemRegion *r, i128 base, u128 start, u128 end, bool readonly)
{
    if (end - start > (u128)1 << 63) { /* so that FlatRange.size can say 2^64 in two pieces */
        u128 half = start + ((u128)1 << 63);
        ranges_insert(out, at, r, base, start, half, readonly);
        ranges_insert(out, at + 1, r, base, half, end, readonly);
        return;
    }
    FlatRange f = { .start = (hwaddr)start, .size = (uint64_t)(end - start), .region = r };
    f.off = (uint64_t)((i128)start - base);
    if (r->ram) {
        f.ram = r->ram;
        f.ram_off = r->ram_off + f.off;
        f.host = r->ram->host + f.ram_off;
        f.readonly = readonly || r->rom_device;
    }
    g_array_insert_val(out, at, f);
}

/* Shows [start, end) of a leaf wherever nothing of higher rank is shown already. */
static void render_leaf(GArray *out, MemRegion *r, i128 base, u128 start, u128 end, bool readonly)
{
    if (r->ram) { /* never beyond what exists on the host */
        u128 have = base + (i128)(r->ram->size - r->ram_off);
        end = end < have ? end : have;
    }
    guint i = ranges_from(out, start);
    for (u128 cur = start; cur < end;) {
        const FlatRange *f = i < out->len ? &g_array_index(out, FlatRange, i) : NULL;
        if (f && f->start <= cur) {
            cur = range_end(f);
            i++;
            continue;
        }
        u128 gap = f && f->start < end ? f->start : end;
        guint was = out->len;
        ranges_insert(out, i, r, base, cur, gap, readonly);
        i += out->len - was;
        cur = gap;
    }
}

/* base: where offset 0 of r lies, which aliases can move below zero. */
static void render(GArray *out, MemRegion *r, i128 base, u128 lo, u128 hi, bool readonly, unsigned depth)
{
    g_assert(depth < REGION_DEPTH_MAX); /* an alias of its own container: the board is wrong, not the guest */
    i128 end = base + (i128)size_of(r);
    if (!r->enabled || end <= (i128)lo || base >= (i128)hi) {
        return;
    }
    u128 start = base > (i128)lo ? (u128)base : lo;
    hi = end < (i128)hi ? (u128)end : hi;
    readonly |= r->readonly;
    if (r->alias) {
        render(out, r->alias, base - (i128)r->alias_off, start, hi, readonly, depth + 1);
        return;
    }
    for (GList *l = r->children; l; l = l->next) {
        MemRegion *c = l->data;
        render(out, c, base + (i128)c->at, start, hi, readonly, depth + 1);
    }
    if (!r->container) {
        render_leaf(out, r, base, start, hi, readonly);
    }
}

static bool range_joins(const FlatRange *a, const FlatRange *b)
{
    return a->region == b->region && a->readonly == b->readonly && a->start + a->size == b->start &&
           a->off + a->size == b->off && a->ram == b->ram && a->size + b->size > a->size;
}

static FlatView *view_render(AddressSpace *as)
{
    g_autoptr(GArray) out = g_array_new(FALSE, TRUE, sizeof(FlatRange));
    if (as->root) {
        u128 hi = (u128)1 << (as->is_io ? 16 : 64);
        render(out, as->root, 0, 0, hi, false, 0);
    }
    FlatView *v = g_malloc0(sizeof(FlatView) + out->len * sizeof(FlatRange));
    for (guint i = 0; i < out->len; i++) {
        const FlatRange *f = &g_array_index(out, FlatRange, i);
        if (v->n && range_joins(&v->r[v->n - 1], f)) {
            v->r[v->n - 1].size += f->size;
        } else {
            v->r[v->n++] = *f;
        }
    }
    for (uint32_t i = 0; i < v->n; i++) {
        ram_ref(v->r[i].ram);
    }
    return v;
}

static void view_free(void *opaque)
{
    FlatView *v = opaque;
    for (uint32_t i = 0; v && i < v->n; i++) {
        ram_unref(v->r[i].ram);
    }
    g_free(v);
}

static bool view_equal(const FlatView *a, const FlatView *b)
{
    if (!a || !b || a->n != b->n) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        const FlatRange *x = &a->r[i], *y = &b->r[i];
        if (x->start != y->start || x->size != y->size || x->region != y->region || x->off != y->off ||
            x->ram_off != y->ram_off || x->ram != y->ram || x->readonly != y->readonly) {
            return false;
        }
    }
    return true;
}

static void as_update(AddressSpace *as)
{
    Machine *m = as->machine;
    FlatView *was = as->view, *now = view_render(as);
    if (view_equal(was, now)) {
        view_free(now);
        return;
    }
    now->generation = ++m->priv->view_generation;
    trace_memory_view(as->name, now->generation, now->n);
    rcu_publish(&as->view, now);
    for (GSList *l = as->listeners; l; l = l->next) {
        MemListener *lis = l->data;
        lis->update(lis, was, now);
    }
    bool cpus_see_it = as == &m->as_mem || as == m->as_smm;
    if (cpus_see_it && m->accel && m->accel->memory_changed && m->priv->vcpus_made) {
        m->accel->memory_changed(m, was, now);
    }
    if ((as == &m->as_mem || as == &m->as_io) && m->priv->doorbells) {
        doorbells_mapped(m);
    }
    rcu_defer(view_free, was);
}

/* ---- transactions ---- */

void mem_begin(Machine *m)
{
    pthread_mutex_lock(&m->priv->topology);
    m->priv->topology_depth++;
}

void mem_commit(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    g_assert(p->topology_depth > 0);
    if (p->topology_depth == 1 && p->topology_dirty) {
        p->topology_dirty = false;
        for (GSList *l = p->spaces; l; l = l->next) {
            as_update(l->data);
        }
    }
    p->topology_depth--;
    pthread_mutex_unlock(&p->topology);
}

/* ---- address spaces ---- */

void as_init(AddressSpace *as, Machine *m, const char *name, MemRegion *root)
{
    *as = (AddressSpace){ .name = name, .machine = m, .root = root, .is_io = as->is_io };
    region_adopt(root, m);
    mem_begin(m);
    as->view = g_malloc0(sizeof(FlatView));
    m->priv->spaces = g_slist_append(m->priv->spaces, as);
    m->priv->topology_dirty = true;
    mem_commit(m);
}

void as_fini(AddressSpace *as)
{
    Machine *m = as->machine;
    mem_begin(m);
    m->priv->spaces = g_slist_remove(m->priv->spaces, as);
    FlatView *was = as->view;
    rcu_publish(&as->view, g_malloc0(sizeof(FlatView)));
    rcu_defer(view_free, was);
    g_slist_free(as->listeners);
    as->listeners = NULL;
    mem_commit(m);
    rcu_defer(view_free, as->view); /* late readers find it empty, not gone */
}

void as_add_listener(AddressSpace *as, MemListener *l)
{
    mem_begin(as->machine);
    as->listeners = g_slist_append(as->listeners, l);
    l->update(l, NULL, as->view);
    mem_commit(as->machine);
}

void as_remove_listener(AddressSpace *as, MemListener *l)
{
    mem_begin(as->machine);
    as->listeners = g_slist_remove(as->listeners, l);
    mem_commit(as->machine);
}

const FlatView *as_view(AddressSpace *as)
{
    return rcu_get(&as->view);
}

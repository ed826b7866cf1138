/* SPDX-License-Identifier: MIT
 * system/device_state.c - reset, save and load of a tree of devices.
 * Models: two-phase reset; a state tree is
 *     u32 devices, each: u16 n, path[n], u16 n, type[n], u32 length, sections, u32 lines, a byte each
 *   sections: bus child state, then each type of the inheritance chain, base first; lines: levels of the
 *   exported interrupt lines.
 * Threads: main loop, which alone changes the tree; vCPUs parked, or (reset only) no guest reaches the
 * devices: hot-plug, secondary bus reset. Each device's domain is held around its callbacks.
 */
#include "internal.h"

#include <string.h>

/* ---- walking ---- */

static void collect(Device *dev, GPtrArray *out, GHashTable *seen)
{
    if (!dev->realized || !g_hash_table_add(seen, dev)) {
        return;
    }
    g_ptr_array_add(out, dev);
    for (guint i = 0; i < dev->children->len; i++) {
        collect(dev->children->pdata[i], out, seen);
    }
    for (guint b = 0; b < dev->buses->len; b++) {
        Bus *bus = dev->buses->pdata[b];
        for (guint i = 0; i < bus->children->len; i++) {
            collect(bus->children->pdata[i], out, seen);
        }
    }
}

GPtrArray *device_collect(Device *dev)
{
    GPtrArray *out = g_ptr_array_new();
    GHashTable *seen = g_hash_table_new(NULL, NULL);
    collect(dev, out, seen);
    g_hash_table_destroy(seen);
    return out;
}

/* Main-loop code that already holds the device's domain (a board's reset port, say) keeps it. */
static bool enter(Device *dev) TSA_NO_ANALYSIS
{
    if (!dev->domain || domain_held(dev->domain)) {
        return false;
    }
    domain_lock(dev->domain);
    return true;
}

static void leave(Device *dev, bool entered) TSA_NO_ANALYSIS
{
    if (entered) {
        domain_unlock(dev->domain);
    }
}

/* ---- reset ---- */

static void reset_one(Device *dev, ResetKind kind)
{
    const DeviceType *chain[8];
    unsigned n = device_type_chain(dev->type, chain);
    bool entered = enter(dev);
    if (dev->bus && dev->bus->type->child_reset) {
        dev->bus->type->child_reset(dev, kind);
    }
    for (unsigned i = 0; i < n; i++) {
        if (chain[i]->reset && !(i && chain[i]->reset == chain[i - 1]->reset)) {
            chain[i]->reset(dev, kind);
        }
    }
    leave(dev, entered);
}

static void reset_done_one(Device *dev)
{
    const DeviceType *chain[8];
    unsigned n = device_type_chain(dev->type, chain);
    bool entered = enter(dev);
    if (dev->bus && dev->bus->type->child_reset_done) {
        dev->bus->type->child_reset_done(dev);
    }
    for (unsigned i = 0; i < n; i++) {
        if (chain[i]->reset_done && !(i && chain[i]->reset_done == chain[i - 1]->reset_done)) {
            chain[i]->reset_done(dev);
        }
    }
    leave(dev, entered);
}

void device_reset(Device *dev, ResetKind kind)
{
    g_autoptr(GPtrArray) all = device_collect(dev);
    for (guint i = 0; i < all->len; i++) {
        reset_one(all->pdata[i], kind);
    }
    for (guint i = 0; i < all->len; i++) {
        Device *d = all->pdata[i];
        if (!d->reset_hold) {
            reset_done_one(d);
        }
    }
}

void device_reset_hold(Device *dev, ResetKind kind)
{
    g_autoptr(GPtrArray) all = device_collect(dev);
    for (guint i = 0; i < all->len; i++) {
        Device *d = all->pdata[i];
        if (!d->reset_hold++) {
            reset_one(d, kind);
        }
    }
}

void device_reset_release(Device *dev)
{
    g_autoptr(GPtrArray) all = device_collect(dev);
    for (guint i = 0; i < all->len; i++) {
        Device *d = all->pdata[i];
        g_assert(d->reset_hold > 0);
        if (!--d->reset_hold) {
            reset_done_one(d);
        }
    }
}

/* ---- save ---- */

static void put(GByteArray *out, uint32_t v, unsigned size)
{
    v = GUINT32_TO_LE(v);
    g_byte_array_append(out, (const uint8_t *)&v, size);
}

static void put_text(GByteArray *out, const char *s)
{
    size_t n = strlen(s);
    g_assert(n <= UINT16_MAX);
    put(out, (uint32_t)n, 2);
    g_byte_array_append(out, (const uint8_t *)s, (guint)n);
}

static void save_one(Device *dev, GByteArray *out)
{
    put_text(out, dev->path);
    put_text(out, dev->type->name);
    guint length_at = out->len;
    put(out, 0, 4);
    bool entered = enter(dev);
    if (dev->bus && dev->bus->type->child_vmstate) {
        vmstate_save(dev->bus->type->child_vmstate, dev->bus_data, out);
    }
    const DeviceType *chain[8];
    unsigned n = device_type_chain(dev->type, chain);
    for (unsigned i = 0; i < n; i++) {
        if (chain[i]->vmstate) {
            vmstate_save(chain[i]->vmstate, dev, out);
        }
    }
    put(out, dev->irqs->len, 4);
    for (guint i = 0; i < dev->irqs->len; i++) {
        const IrqLine *line = dev->irqs->pdata[i];
        put(out, line->level, 1);
    }
    leave(dev, entered);
    uint32_t length = GUINT32_TO_LE(out->len - length_at - 4);
    memcpy(out->data + length_at, &length, 4);
}

void device_tree_save(Device *root, GByteArray *out)
{
    g_autoptr(GPtrArray) all = device_collect(root);
    put(out, all->len, 4);
    for (guint i = 0; i < all->len; i++) {
        save_one(all->pdata[i], out);
    }
}

/* ---- load ---- */

static bool get(const uint8_t **p, const uint8_t *end, unsigned size, uint32_t *v, Error **errp)
{
    *v = 0;
    if ((size_t)(end - *p) < size) {
        return error_set(errp, "device state ends too early");
    }
    memcpy(v, *p, size);
    *v = GUINT32_FROM_LE(*v);
    *p += size;
    return true;
}

/* At most 1000 bytes: paths and type names are ours, and short. */
static bool get_text(const uint8_t **p, const uint8_t *end, char text[static 1001], Error **errp)
{
    uint32_t n;
    if (!get(p, end, 2, &n, errp)) {
        return false;
    }
    if (n > 1000 || (size_t)(end - *p) < n || memchr(*p, 0, n)) {
        return error_set(errp, "device state holds a name that is no name");
    }
    memcpy(text, *p, n);
    text[n] = 0;
    *p += n;
    return true;
}

typedef struct LoadedLine {
    Device *dev;
    IrqLine *line;
    bool level;
} LoadedLine;

/* What is on its way through a load. */
typedef struct Loading {
    GHashTable *waiting; /* path: Device */
    GArray *lines;       /* LoadedLine */
} Loading;

static bool load_lines(Loading *l, Device *dev, const uint8_t **p, const uint8_t *end, Error **errp)
{
    uint32_t n;
    if (!get(p, end, 4, &n, errp)) {
        return false;
    }
    if (n != dev->irqs->len) {
        return error_set(errp, "state of device '%s' has %u interrupt lines, the device has %u", dev->path, n,
                         dev->irqs->len);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t level;
        if (!get(p, end, 1, &level, errp)) {
            return false;
        }
        if (level > 1) {
            return error_set(errp, "state of device '%s' has an interrupt line that is neither high nor low",
                             dev->path);
        }
        irq_set(dev->irqs->pdata[i], level);
        LoadedLine done = { dev, dev->irqs->pdata[i], level };
        g_array_append_val(l->lines, done);
    }
    return true;
}

/* A line that another device's load moved behind its own device's: what it leads to may have been loaded
 * after that, from a state in which it had not moved, and would wait for a change for ever. It is told
 * again. */
static void tell_moved_lines(const Loading *l)
{
    for (guint i = 0; i < l->lines->len; i++) {
        const LoadedLine *d = &g_array_index(l->lines, LoadedLine, i);
        bool entered = enter(d->dev);
        if (d->line->level != d->level && d->line->ops) {
            d->line->ops->set(d->line->sink, d->line->pin, d->line->level);
        }
        leave(d->dev, entered);
    }
}

static bool load_sections(Loading *l, Device *dev, const uint8_t **p, const uint8_t *end, Error **errp)
{
    if (dev->bus && dev->bus->type->child_vmstate &&
        !vmstate_load(dev->bus->type->child_vmstate, dev->bus_data, p, end, errp)) {
        return false;
    }
    const DeviceType *chain[8];
    unsigned n = device_type_chain(dev->type, chain);
    for (unsigned i = 0; i < n; i++) {
        if (chain[i]->vmstate && !vmstate_load(chain[i]->vmstate, dev, p, end, errp)) {
            return false;
        }
    }
    if (!load_lines(l, dev, p, end, errp)) {
        return false;
    }
    return *p == end || error_set(errp, "state of device '%s' has bytes left over", dev->path);
}

static bool load_one(Loading *l, const uint8_t **p, const uint8_t *end, Error **errp)
{
    char path[1001], type[1001];
    uint32_t length;
    if (!get_text(p, end, path, errp) || !get_text(p, end, type, errp) || !get(p, end, 4, &length, errp)) {
        return false;
    }
    if ((size_t)(end - *p) < length) {
        return error_set(errp, "device state ends too early");
    }
    Device *dev = g_hash_table_lookup(l->waiting, path);
    if (!dev || strcmp(dev->type->name, type)) {
        g_autofree char *shown = g_strescape(path, NULL);
        g_autofree char *shown_type = g_strescape(type, NULL);
        error_set(
            errp,
            "the state is of a machine with a device '%s' of type '%s' (or has it twice); this one is not",
            shown, shown_type);
        error_hint(errp, "start with the devices of the machine that was saved, in the same order");
        return false;
    }
    g_hash_table_remove(l->waiting, path);
    const uint8_t *mine = *p, *mine_end = *p + length;
    *p = mine_end;
    bool entered = enter(dev);
    bool ok = load_sections(l, dev, &mine, mine_end, errp);
    leave(dev, entered);
    if (!ok) {
        error_prefix(errp, "device '%s'", dev->path);
    }
    return ok;
}

bool device_tree_load(Device *root, const uint8_t **p, const uint8_t *end, Error **errp)
{
    g_autoptr(GPtrArray) all = device_collect(root);
    Loading l = { g_hash_table_new(g_str_hash, g_str_equal), g_array_new(FALSE, FALSE, sizeof(LoadedLine)) };
    for (guint i = 0; i < all->len; i++) {
        Device *d = all->pdata[i];
        g_hash_table_insert(l.waiting, d->path, d);
    }
    Error *err = NULL;
    uint32_t n;
    bool ok = get(p, end, 4, &n, &err);
    if (ok && n != all->len) {
        ok = error_set(&err, "the state is of a machine with %u devices, this one has %u", n, all->len);
    }
    for (uint32_t i = 0; ok && i < n; i++) {
        ok = load_one(&l, p, end, &err);
    }
    if (ok) {
        tell_moved_lines(&l);
    }
    g_hash_table_destroy(l.waiting);
    g_array_unref(l.lines);
    if (!ok) { /* half of it may be in place: nothing to run on */
        device_reset(root, RESET_SNAPSHOT);
        return error_propagate(errp, err);
    }
    return true;
}

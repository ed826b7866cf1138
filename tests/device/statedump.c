/* SPDX-License-Identifier: MIT
 * tests/device/statedump.c - reads saved device trees without a machine.
 * Models: the formats of system/device_state.c and system/vmstate.c, written a second time on purpose.
 * Threads: any.
 */
#include "tests/device/statedump.h"
#include "system/internal.h"

#include <string.h>

enum { SECTION_MAGIC = 0x534d5652 };

typedef struct Item { /* one number of the state */
    char *name;       /* "DEVICE: section/field[i]" */
    char *key;        /* "section/field" */
    uint64_t val;
} Item;
typedef struct Reader {
    const uint8_t *p, *end;
    GPtrArray *items; /* Item * */
    const char *device;
    bool bad;
} Reader;

static uint64_t take(Reader *r, unsigned n)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->p) < n) {
        r->bad = true;
        return 0;
    }
    memcpy(&v, r->p, n);
    r->p += n;
    return GUINT64_FROM_LE(v);
}

static char *take_text(Reader *r, unsigned length_size)
{
    uint64_t n = take(r, length_size);
    if ((uint64_t)(r->end - r->p) < n) {
        r->bad = true;
        n = 0;
    }
    r->p += n;
    return g_strndup((const char *)r->p - n, n);
}

typedef struct Entry {
    char *name;
    unsigned kind;
    uint64_t count;
    GPtrArray *sub; /* Entry * */
} Entry;

static void entry_free(void *opaque)
{
    Entry *e = opaque;
    if (e->sub) {
        g_ptr_array_free(e->sub, TRUE);
    }
    g_free(e->name);
    g_free(e);
}

static GPtrArray *read_dictionary(Reader *r)
{
    GPtrArray *d = g_ptr_array_new_with_free_func(entry_free);
    uint64_t n = take(r, 2);
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        Entry *e = g_new0(Entry, 1);
        e->name = take_text(r, 1);
        e->kind = (unsigned)take(r, 1);
        e->count = take(r, 4);
        e->sub = e->kind == VM_STRUCT_ ? read_dictionary(r) : NULL;
        g_ptr_array_add(d, e);
    }
    return d;
}

static void add_item(Reader *r, const char *key, uint64_t i, uint64_t val)
{
    Item *it = g_new(Item, 1);
    *it = (Item){ .name = g_strdup_printf("%s: %s[%" G_GUINT64_FORMAT "]", r->device, key, i),
                  .key = g_strdup(key),
                  .val = val };
    g_ptr_array_add(r->items, it);
}

static void read_values(Reader *r, GPtrArray *dict, const char *prefix)
{
    static const unsigned sizes[] = { [VM_U8_] = 1,   [VM_U16_] = 2,   [VM_U32_] = 4,  [VM_U64_] = 8,
                                      [VM_BOOL_] = 1, [VM_BYTES_] = 1, [VM_TIMER_] = 8 };
    for (guint k = 0; k < dict->len && !r->bad; k++) {
        const Entry *e = dict->pdata[k];
        g_autofree char *key = g_strdup_printf("%s/%s", prefix, e->name);
        for (uint64_t i = 0; i < e->count && !r->bad; i++) {
            if (e->kind == VM_STRUCT_) {
                read_values(r, e->sub, key);
            } else if (e->kind == VM_FIFO8_) {
                uint64_t used = take(r, 4);
                add_item(r, key, i, used);
                for (uint64_t b = 0; b < used && !r->bad; b++) {
                    add_item(r, key, b, take(r, 1));
                }
            } else {
                add_item(r, key, i, take(r, sizes[e->kind]));
            }
        }
    }
}

static void read_section(Reader *r)
{
    if (take(r, 4) != SECTION_MAGIC) {
        r->bad = true;
        return;
    }
    g_autofree char *name = take_text(r, 1);
    take(r, 2);
    take(r, 4);
    GPtrArray *dict = read_dictionary(r);
    read_values(r, dict, name);
    g_ptr_array_free(dict, TRUE);
    for (uint64_t n = take(r, 2); n && !r->bad; n--) {
        read_section(r);
    }
    take(r, 4);
}

static void item_free(void *opaque)
{
    Item *it = opaque;
    g_free(it->name);
    g_free(it->key);
    g_free(it);
}

static GPtrArray *read_tree(const GByteArray *tree)
{
    Reader r = { .p = tree->data,
                 .end = tree->data + tree->len,
                 .items = g_ptr_array_new_with_free_func(item_free) };
    for (uint64_t n = take(&r, 4); n && !r.bad; n--) {
        g_free(take_text(&r, 2)); /* the path */
        g_autofree char *type = take_text(&r, 2);
        uint64_t length = take(&r, 4);
        const uint8_t *end = r.p + length;
        r.device = type;
        while (!r.bad && end - r.p >= 4 && !memcmp(r.p, "RVMS", 4)) {
            read_section(&r);
        }
        uint64_t lines = take(&r, 4);
        for (uint64_t i = 0; i < lines && !r.bad; i++) {
            add_item(&r, "interrupt lines", i, take(&r, 1));
        }
        g_assert_true(r.bad || r.p == end);
    }
    g_assert_false(r.bad);
    return r.items;
}

char *statedump_diff(const GByteArray *was, const GByteArray *now, const char *const *except)
{
    if (was->len == now->len && !memcmp(was->data, now->data, was->len)) {
        return NULL;
    }
    g_autoptr(GPtrArray) a = read_tree(was), b = read_tree(now);
    for (guint i = 0; i < MIN(a->len, b->len); i++) {
        const Item *x = a->pdata[i], *y = b->pdata[i];
        if (except && g_strv_contains(except, x->key) && !strcmp(x->name, y->name)) {
            continue;
        }
        if (strcmp(x->name, y->name)) {
            return g_strdup_printf("%s is where %s was", y->name, x->name);
        }
        if (x->val != y->val) {
            return g_strdup_printf("%s is 0x%" G_GINT64_MODIFIER "x, not 0x%" G_GINT64_MODIFIER "x", x->name,
                                   y->val, x->val);
        }
    }
    return a->len == b->len ? NULL : g_strdup("there is more or less of it");
}

void statedump_fix_checksums(GByteArray *tree)
{
    for (guint i = tree->len;
         i-- > 0;) { /* sections start before those inside them: backwards is innermost first */
        Reader r = { .p = tree->data + i, .end = tree->data + tree->len };
        if (take(&r, 4) != SECTION_MAGIC || r.bad) {
            continue;
        }
        g_free(take_text(&r, 1));
        take(&r, 2);
        uint64_t length = take(&r, 4);
        if (r.bad || (uint64_t)(r.end - r.p) < length + 4) {
            continue;
        }
        size_t at = (size_t)(r.p - tree->data) + length;
        uint32_t crc = GUINT32_TO_LE(vmstate_crc32(0, tree->data + i, at - i));
        memcpy(tree->data + at, &crc, 4);
    }
}

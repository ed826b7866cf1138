/* SPDX-License-Identifier: MIT
 * system/vmstate.c - the interpreter of saved-state tables.
 * Models: one section, all numbers little-endian:
 *     u32 magic, u8 n, name[n], u16 version, u32 length of content, content, u32 CRC-32 of all before
 *   content: dictionary, values, u16 number of optional sections, those sections
 *   dictionary: u16 fields, each: u8 n, name[n], u8 kind, u32 count, and for a struct its dictionary
 *   values, in the dictionary's order: numbers by size; bytes; FIFO: u32 used, bytes oldest first;
 *     timer: u64 expiry; struct: values of each element
 *   A reader can walk (and skip) everything with the stream alone.
 * Threads: the caller holds what guards the object. The stream is hostile: every length is checked
 *   against what is there, nothing is allocated by its numbers.
 */
#include "internal.h"

#include <string.h>

enum { VM_MAGIC = 0x534d5652 /* "RVMS" */, VM_DEPTH_MAX = 8, VM_FIELDS_MAX = 1024 };

/* ---- bytes out and in ---- */

static void put(GByteArray *out, uint64_t v, unsigned size)
{
    v = GUINT64_TO_LE(v);
    g_byte_array_append(out, (const uint8_t *)&v, size);
}

static void put_name(GByteArray *out, const char *name)
{
    size_t n = strlen(name);
    g_assert(n < 256);
    put(out, n, 1);
    g_byte_array_append(out, (const uint8_t *)name, (guint)n);
}

typedef struct In {
    const uint8_t *p, *end;
    Error **errp;
    const char *section;
} In;

static bool get(In *in, unsigned size, uint64_t *v)
{
    *v = 0;
    if ((size_t)(in->end - in->p) < size) {
        return error_set(in->errp, "state section '%s' ends too early", in->section);
    }
    memcpy(v, in->p, size);
    *v = GUINT64_FROM_LE(*v);
    in->p += size;
    return true;
}

static bool get_bytes(In *in, uint64_t n, const uint8_t **at)
{
    *at = in->p;
    if ((uint64_t)(in->end - in->p) < n) {
        return error_set(in->errp, "state section '%s' ends too early", in->section);
    }
    in->p += n;
    return true;
}

static bool get_name(In *in, char name[static 256])
{
    uint64_t n;
    const uint8_t *at;
    if (!get(in, 1, &n) || !get_bytes(in, n, &at)) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (at[i] < 0x21 || at[i] > 0x7e) {
            return error_set(in->errp, "state section '%s' has a name that is no name", in->section);
        }
    }
    memcpy(name, at, n);
    name[n] = 0;
    return true;
}

uint32_t vmstate_crc32(uint32_t crc, const void *data, size_t len)
{
    static uint32_t table[256];
    static gsize once;
    if (g_once_init_enter(&once)) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (unsigned k = 0; k < 8; k++) {
                c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0); /* ISO 3309, reflected */
            }
            table[i] = c;
        }
        g_once_init_leave(&once, 1);
    }
    const uint8_t *p = data;
    crc = ~crc;
    while (len--) {
        crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
    }
    return ~crc;
}

static unsigned number_size(VmKind k)
{
    switch (k) {
    case VM_U8_:
    case VM_BOOL_: return 1;
    case VM_U16_: return 2;
    case VM_U32_: return 4;
    case VM_U64_:
    case VM_TIMER_: return 8;
    default: return 0;
    }
}

static size_t field_count(const VmField *f)
{
    return f->count ? f->count : 1;
}

/* ---- save ---- */

static void save_dictionary(const VmState *s, GByteArray *out)
{
    unsigned n = 0;
    for (const VmField *f = s->fields; f && f->name; f++) {
        n++;
    }
    put(out, n, 2);
    for (const VmField *f = s->fields; f && f->name; f++) {
        put_name(out, f->name);
        put(out, f->kind, 1);
        put(out, field_count(f), 4);
        if (f->kind == VM_STRUCT_) {
            save_dictionary(f->sub, out);
        }
    }
}

static void save_values(const VmState *s, void *opaque, GByteArray *out);

static void save_element(const VmField *f, uint8_t *at, size_t i, GByteArray *out)
{
    switch (f->kind) {
    case VM_U8_: put(out, at[i], 1); break;
    case VM_BOOL_: put(out, ((bool *)at)[i], 1); break;
    case VM_U16_: put(out, ((uint16_t *)at)[i], 2); break;
    case VM_U32_: put(out, ((uint32_t *)at)[i], 4); break;
    case VM_U64_: put(out, ((uint64_t *)at)[i], 8); break;
    case VM_TIMER_: put(out, (uint64_t)timer_expires(&((Timer *)at)[i]), 8); break;
    case VM_STRUCT_: save_values(f->sub, at + i * f->stride, out); break;
    case VM_FIFO8_: {
        const Fifo8 *q = &((Fifo8 *)at)[i];
        put(out, fifo8_used(q), 4);
        for (uint32_t k = 0; k < fifo8_used(q); k++) {
            put(out, fifo8_peek_or(q, k, 0), 1);
        }
        break;
    }
    case VM_BYTES_: break;
    }
}

static void save_values(const VmState *s, void *opaque, GByteArray *out)
{
    g_assert(!s->optional || s->name);
    if (s->pre_save) {
        s->pre_save(opaque);
    }
    for (const VmField *f = s->fields; f && f->name; f++) {
        uint8_t *at = (uint8_t *)opaque + f->offset;
        if (f->kind == VM_BYTES_) {
            g_byte_array_append(out, at, (guint)field_count(f));
            continue;
        }
        for (size_t i = 0; i < field_count(f); i++) {
            save_element(f, at, i, out);
        }
    }
}

void vmstate_save(const VmState *s, void *opaque, GByteArray *out)
{
    guint start = out->len;
    put(out, VM_MAGIC, 4);
    put_name(out, s->name);
    put(out, s->version, 2);
    guint length_at = out->len;
    put(out, 0, 4);
    save_dictionary(s, out);
    save_values(s, opaque, out);
    guint count_at = out->len, count = 0;
    put(out, 0, 2);
    for (const VmState *const *o = s->optional; o && *o; o++) {
        if (!(*o)->needed || (*o)->needed(opaque)) {
            vmstate_save(*o, opaque, out);
            count++;
        }
    }
    out->data[count_at] = count & 0xff;
    out->data[count_at + 1] = count >> 8 & 0xff;
    uint32_t length = GUINT32_TO_LE(out->len - length_at - 4);
    memcpy(out->data + length_at, &length, 4);
    put(out, vmstate_crc32(0, out->data + start, out->len - start), 4);
}

/* ---- load ---- */

typedef struct StreamField {
    const VmField *f;        /* NULL: only ever skipped */
    struct StreamDict *sub;  /* of structs */
} StreamField;
typedef struct StreamDict {
    unsigned n;
    StreamField fields[];
} StreamDict;

static void dict_free(StreamDict *d)
{
    for (unsigned i = 0; d && i < d->n; i++) {
        dict_free(d->fields[i].sub);
    }
    g_free(d);
}

static const VmField *find_field(const VmState *s, const char *name)
{
    for (const VmField *f = s->fields; f && f->name; f++) {
        if (!strcmp(f->name, name)) {
            return f;
        }
    }
    return NULL;
}

static StreamDict *load_dictionary(In *in, const VmState *s, uint16_t version, unsigned depth);

static bool load_dict_entry(In *in, const VmState *s, StreamDict *d, uint16_t version, unsigned depth)
{
    char name[256];
    uint64_t kind, count;
    if (!get_name(in, name) || !get(in, 1, &kind) || !get(in, 4, &count)) {
        return false;
    }
    const VmField *f = find_field(s, name);
    if (!f) {
        return error_set(in->errp, "state section '%s' has an unknown field '%s'", in->section, name);
    }
    if (kind != f->kind || count != field_count(f)) {
        return error_set(in->errp, "field '%s' of state section '%s' is of another kind or size", name,
                         in->section);
    }
    for (unsigned i = 0; i < d->n; i++) {
        if (d->fields[i].f == f) {
            return error_set(in->errp, "field '%s' of state section '%s' comes twice", name, in->section);
        }
    }
    StreamField *e = &d->fields[d->n++];
    e->f = f;
    if (f->kind == VM_STRUCT_) {
        e->sub = load_dictionary(in, f->sub, version, depth + 1);
        return e->sub != NULL;
    }
    return true;
}

static bool check_missing(In *in, const VmState *s, const StreamDict *d, uint16_t version)
{
    for (const VmField *f = s->fields; f && f->name; f++) {
        bool there = f->since > version;
        for (unsigned i = 0; !there && i < d->n; i++) {
            there = d->fields[i].f == f;
        }
        if (!there) {
            return error_set(in->errp, "state section '%s' lacks field '%s'", in->section, f->name);
        }
    }
    return true;
}

static StreamDict *load_dictionary(In *in, const VmState *s, uint16_t version, unsigned depth)
{
    uint64_t n;
    if (!get(in, 2, &n)) {
        return NULL;
    }
    if (n > VM_FIELDS_MAX || n > (uint64_t)(in->end - in->p) / 6 || depth > VM_DEPTH_MAX) {
        error_set(in->errp, "state section '%s' has an impossible dictionary", in->section);
        return NULL;
    }
    StreamDict *d = g_malloc0(sizeof(*d) + n * sizeof(StreamField));
    bool ok = true;
    for (uint64_t i = 0; ok && i < n; i++) {
        ok = load_dict_entry(in, s, d, version, depth);
    }
    if (!ok || !check_missing(in, s, d, version)) {
        dict_free(d);
        return NULL;
    }
    return d;
}

static bool load_values(In *in, const StreamDict *d, const VmState *s, void *opaque);

static bool load_fifo(In *in, const VmField *f, Fifo8 *q)
{
    uint64_t used;
    const uint8_t *at;
    if (!get(in, 4, &used)) {
        return false;
    }
    if (used > q->capacity) {
        return error_set(in->errp, "field '%s' of state section '%s' holds more than its capacity", f->name,
                         in->section);
    }
    if (!get_bytes(in, used, &at)) {
        return false;
    }
    fifo8_clear(q);
    for (uint64_t i = 0; i < used; i++) {
        fifo8_push(q, at[i]);
    }
    return true;
}

static void load_timer(Timer *t, int64_t expires)
{
    if (!t->loop) {
        return; /* this instance was built without it */
    }
    if (expires == TIMER_OFF) {
        timer_cancel(t);
    } else {
        timer_arm(t, expires);
    }
}

static bool load_element(In *in, const StreamField *e, uint8_t *at, size_t i)
{
    const VmField *f = e->f;
    uint64_t v = 0;
    if (f->kind == VM_STRUCT_) {
        return load_values(in, e->sub, f->sub, at + i * f->stride);
    }
    if (f->kind == VM_FIFO8_) {
        return load_fifo(in, f, &((Fifo8 *)at)[i]);
    }
    if (!get(in, number_size(f->kind), &v)) {
        return false;
    }
    if (f->kind != VM_TIMER_ && v > f->max) {
        return error_set(in->errp,
                         "field '%s' of state section '%s' is out of range: 0x%" G_GINT64_MODIFIER "x",
                         f->name, in->section, v);
    }
    switch (f->kind) {
    case VM_U8_: at[i] = (uint8_t)v; break;
    case VM_BOOL_: ((bool *)at)[i] = v != 0; break;
    case VM_U16_: ((uint16_t *)at)[i] = (uint16_t)v; break;
    case VM_U32_: ((uint32_t *)at)[i] = (uint32_t)v; break;
    case VM_U64_: ((uint64_t *)at)[i] = v; break;
    case VM_TIMER_: load_timer(&((Timer *)at)[i], (int64_t)v); break;
    default: break;
    }
    return true;
}

static bool load_values(In *in, const StreamDict *d, const VmState *s, void *opaque)
{
    for (unsigned k = 0; k < d->n; k++) {
        const VmField *f = d->fields[k].f;
        uint8_t *at = (uint8_t *)opaque + f->offset;
        if (f->kind == VM_BYTES_) {
            const uint8_t *from;
            if (!get_bytes(in, field_count(f), &from)) {
                return false;
            }
            memcpy(at, from, field_count(f));
            continue;
        }
        for (size_t i = 0; i < field_count(f); i++) {
            if (!load_element(in, &d->fields[k], at, i)) {
                return false;
            }
        }
    }
    Error *err = NULL;
    if (s->post_load && !s->post_load(opaque, &err)) {
        error_prefix(&err, "state section '%s'", in->section);
        if (!err) {
            error_set(&err, "state section '%s' is refused", in->section);
        }
        return error_propagate(in->errp, err);
    }
    return true;
}

static bool load_section(const VmState *s, void *opaque, const uint8_t **p, const uint8_t *end, Error **errp,
                         unsigned depth);

static bool load_optional(In *in, const VmState *s, void *opaque, unsigned depth)
{
    uint64_t n;
    if (!get(in, 2, &n)) {
        return false;
    }
    guint64 seen = 0;
    for (uint64_t i = 0; i < n; i++) {
        In peek = *in;
        uint64_t magic;
        char name[256];
        if (!get(&peek, 4, &magic) || !get_name(&peek, name)) {
            return false;
        }
        unsigned k = 0;
        while (s->optional && s->optional[k] && strcmp(s->optional[k]->name, name)) {
            k++;
        }
        if (!s->optional || !s->optional[k] || (seen >> (k & 63) & 1)) {
            return error_set(in->errp, "state section '%s' has an unknown or repeated subsection '%s'",
                             in->section, name);
        }
        seen |= UINT64_C(1) << (k & 63);
        if (!load_section(s->optional[k], opaque, &in->p, in->end, in->errp, depth + 1)) {
            return false;
        }
    }
    return true;
}

/* Name and version; leaves in->end at the end of the content. */
static bool load_header(In *in, const VmState *s, uint64_t *version)
{
    const uint8_t *start = in->p, *content;
    uint64_t magic, length, crc;
    char name[256];
    if (!get(in, 4, &magic)) {
        return false;
    }
    if (magic != VM_MAGIC) {
        return error_set(in->errp, "no state section where '%s' is expected", s->name);
    }
    if (!get_name(in, name)) {
        return false;
    }
    if (strcmp(name, s->name)) {
        return error_set(in->errp, "state section '%s' where '%s' is expected", name, s->name);
    }
    if (!get(in, 2, version) || !get(in, 4, &length) || !get_bytes(in, length, &content) ||
        !get(in, 4, &crc)) {
        return false;
    }
    if (crc != vmstate_crc32(0, start, (size_t)(content + length - start))) {
        return error_set(in->errp, "state section '%s' is damaged: its checksum is wrong", s->name);
    }
    if (*version > s->version || *version < s->oldest) {
        error_set(in->errp, "state section '%s' has version %u, this build loads %u to %u", s->name,
                  (unsigned)*version, s->oldest, s->version);
        error_hint(in->errp, "load it with the release that wrote it");
        return false;
    }
    in->p = content;
    in->end = content + length;
    return true;
}

static bool load_section(const VmState *s, void *opaque, const uint8_t **p, const uint8_t *end, Error **errp,
                         unsigned depth)
{
    In in = { .p = *p, .end = end, .errp = errp, .section = s->name };
    uint64_t version;
    if (depth > VM_DEPTH_MAX) {
        return error_set(errp, "state sections nest too deeply");
    }
    if (!load_header(&in, s, &version)) {
        return false;
    }
    StreamDict *d = load_dictionary(&in, s, (uint16_t)version, 0);
    bool ok = d && load_values(&in, d, s, opaque) && load_optional(&in, s, opaque, depth);
    dict_free(d);
    if (!ok) {
        return false;
    }
    if (in.p != in.end) {
        return error_set(errp, "state section '%s' has bytes left over", s->name);
    }
    *p = in.end + 4; /* the checksum */
    return true;
}

bool vmstate_load(const VmState *s, void *opaque, const uint8_t **p, const uint8_t *end, Error **errp)
{
    return load_section(s, opaque, p, end, errp, 0);
}

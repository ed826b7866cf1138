/* SPDX-License-Identifier: MIT
 * system/prop.c - the interpreter of property tables.
 * Models: QEMU's option values: on/off, numbers, sizes with suffix, names, PCI addresses, back-end ids.
 * Threads: main loop (configuration).
 */
#include "rhea/system/prop.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <inttypes.h>
#include <string.h>

static const PropBinder *binders[PROP_AUDIO_ + 1]; /* process-wide by contract: set before any machine */
static const char *const on_off_auto[] = { "auto", "on", "off", NULL };

void prop_register_binder(PropKind kind, const PropBinder *binder)
{
    g_assert(kind <= PROP_AUDIO_);
    binders[kind] = binder;
}

static void slot_set_uint(const Prop *p, void *slot, uint64_t v)
{
    switch (p->kind) {
    case PROP_BOOL_: *(bool *)slot = v != 0; break;
    case PROP_U8_: *(uint8_t *)slot = (uint8_t)v; break;
    case PROP_U16_: *(uint16_t *)slot = (uint16_t)v; break;
    case PROP_U32_: *(uint32_t *)slot = (uint32_t)v; break;
    case PROP_U64_:
    case PROP_SIZE_: *(uint64_t *)slot = v; break;
    case PROP_I32_:
    case PROP_PCI_ADDR_: *(int32_t *)slot = (int32_t)v; break;
    case PROP_ENUM_:
    case PROP_ONOFFAUTO_: *(int *)slot = (int)v; break;
    default: break;
    }
}

void props_init(const Prop *table, void *base)
{
    for (const Prop *p = table; p && p->name; p++) {
        void *slot = (char *)base + p->offset;
        if (!prop_is_listed(p)) {
            continue;
        }
        if (p->kind == PROP_STR_) {
            *(char **)slot = g_strdup(p->sdef);
        } else {
            slot_set_uint(p, slot, p->def);
        }
    }
}

void props_fini(const Prop *table, void *base)
{
    for (const Prop *p = table; p && p->name; p++) {
        void *slot = (char *)base + p->offset;
        if (!prop_is_listed(p)) {
            continue;
        }
        if (p->kind == PROP_STR_) {
            g_clear_pointer((char **)slot, g_free);
        } else if (binders[p->kind] && binders[p->kind]->release) {
            binders[p->kind]->release(slot);
        }
    }
}

static bool name_equal(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_'))) {
            return false;
        }
    }
    return *a == *b;
}

const Prop *prop_find(const Prop *table, const char *name)
{
    for (const Prop *p = table; p && p->name; p++) {
        if (name_equal(p->name, name)) {
            return p;
        }
    }
    return NULL;
}

static bool set_enum(const Prop *p, void *slot, const char *const *names, const char *text, Error **errp)
{
    for (int i = 0; names && names[i]; i++) {
        if (!strcmp(names[i], text)) {
            *(int *)slot = i;
            return true;
        }
    }
    g_autofree char *all = names ? g_strjoinv(", ", (char **)names) : g_strdup("none");
    error_fail(errp, "invalid-value", p->name, NULL, "property '%s' does not accept '%s'", p->name, text);
    error_hint(errp, "possible values: %s", all);
    return false;
}

static bool set_int(const Prop *p, void *slot, int64_t v, Error **errp)
{
    int64_t lo = (int64_t)p->min, hi = (int64_t)p->max;
    if (v < lo || v > hi) {
        return error_fail(errp, "out-of-range", p->name, NULL,
                          "property '%s' does not accept %" PRId64 ": the range is %" PRId64 " to %" PRId64,
                          p->name, v, lo, hi);
    }
    *(int32_t *)slot = (int32_t)v;
    return true;
}

static bool set_uint(const Prop *p, void *slot, uint64_t v, Error **errp)
{
    uint64_t hi = p->max;
    if (v < p->min || v > hi) {
        return error_fail(errp, "out-of-range", p->name, NULL,
                          "property '%s' does not accept %" PRIu64 ": the range is %" PRIu64 " to %" PRIu64,
                          p->name, v, p->min, hi);
    }
    slot_set_uint(p, slot, v);
    return true;
}

/* DEV[.FN], both hexadecimal; devices 0..1f, functions 0..7. */
static bool set_pci_addr(const Prop *p, void *slot, const char *text, Error **errp)
{
    char *end;
    bool ok = g_ascii_isxdigit(text[0]);
    unsigned long dev = strtoul(text, &end, 16), fn = 0;
    if (ok && *end == '.') {
        ok = g_ascii_isxdigit(end[1]);
        fn = strtoul(end + 1, &end, 16);
    }
    if (!ok || *end || dev > 31 || fn > 7) {
        error_fail(errp, "invalid-value", p->name, NULL, "property '%s' does not accept '%s'", p->name, text);
        error_hint(errp, "give slot and optional function in hexadecimal, such as 06.0 or 1f");
        return false;
    }
    *(int32_t *)slot = (int32_t)(dev << 3 | fn);
    return true;
}

static bool set_bound(Machine *m, const Prop *p, void *slot, const char *id, Error **errp)
{
    const PropBinder *b = binders[p->kind];
    if (!b) {
        error_fail(errp, "not-supported", p->name, NULL,
                   "property '%s' needs a back end of a kind this program does not have", p->name);
        error_hint(errp, "leave out %s=%s", p->name, id);
        return false;
    }
    g_autofree char *was = b->name ? b->name(slot) : NULL;
    if (was && b->release) {
        b->release(slot);
    }
    return b->bind(m, p, slot, id, errp);
}

static bool set_text(Machine *m, const Prop *p, void *slot, const char *text, Error **errp)
{
    uint64_t u;
    int64_t i;
    switch (p->kind) {
    case PROP_BOOL_: return text_to_bool(text, slot, errp);
    case PROP_U8_:
    case PROP_U16_:
    case PROP_U32_:
    case PROP_U64_: return text_to_u64(text, &u, errp) && set_uint(p, slot, u, errp);
    case PROP_SIZE_: return text_to_size(text, 'b', &u, errp) && set_uint(p, slot, u, errp);
    case PROP_I32_: return text_to_i64(text, &i, errp) && set_int(p, slot, i, errp);
    case PROP_STR_:
        g_free(*(char **)slot);
        *(char **)slot = g_strdup(text);
        return true;
    case PROP_ENUM_: return set_enum(p, slot, p->names, text, errp);
    case PROP_ONOFFAUTO_: return set_enum(p, slot, on_off_auto, text, errp);
    case PROP_PCI_ADDR_: return set_pci_addr(p, slot, text, errp);
    case PROP_IOTHREAD_:
    case PROP_CHARDEV_:
    case PROP_BLOCK_:
    case PROP_NETDEV_:
    case PROP_MAC_:
    case PROP_AUDIO_: return set_bound(m, p, slot, text, errp);
    }
    return error_fail(errp, "wrong-type", p->name, "leave it out",
                      "property '%s' has no textual form", p->name);
}

/* Of PROP_ONLY_...: the one value that is taken has no place to go to. */
static bool set_only(Machine *m, const Prop *p, const Json *value, Error **errp)
{
    uint64_t given = 0, only = 0;
    Prop plain = *p;
    plain.why = plain.cure = NULL;
    slot_set_uint(&plain, &only, p->def);
    if (p->kind != PROP_STR_ && prop_set_json(m, &plain, &given, value, NULL) && given == only) {
        return true;
    }
    g_autofree char *text =
        json_get_string(value) ? g_strdup(json_get_string(value)) : json_format(value, false);
    error_fail(errp, "not-supported", p->name, NULL,
               "property '%s' does not accept '%s': %s", p->name, text, p->why);
    error_hint(errp, "%s", p->cure);
    return false;
}

bool prop_set_text(Machine *m, const Prop *p, void *base, const char *text, Error **errp)
{
    Error *err = NULL;
    if (p->why) {
        g_autoptr(Json) value = json_new_string(text);
        return set_only(m, p, value, errp);
    }
    if (set_text(m, p, (char *)base + p->offset, text, &err)) {
        return true;
    }
    if (err && !strstr(error_text(err), p->name)) {
        error_prefix(&err, "property '%s'", p->name);
    }
    error_member_default(&err, p->name);
    return error_propagate(errp, err);
}

bool prop_set_json(Machine *m, const Prop *p, void *base, const Json *value, Error **errp)
{
    void *slot = (char *)base + p->offset;
    const char *text = json_get_string(value);
    if (p->why) {
        return set_only(m, p, value, errp);
    }
    if (text) {
        return prop_set_text(m, p, base, text, errp);
    }
    bool b;
    uint64_t u;
    int64_t i;
    switch (p->kind) {
    case PROP_BOOL_:
        if (json_get_bool(value, &b)) {
            *(bool *)slot = b;
            return true;
        }
        break;
    case PROP_U8_:
    case PROP_U16_:
    case PROP_U32_:
    case PROP_U64_:
    case PROP_SIZE_:
        if (json_get_uint(value, &u)) {
            return set_uint(p, slot, u, errp);
        }
        break;
    case PROP_I32_:
        if (json_get_int(value, &i)) {
            return set_int(p, slot, i, errp);
        }
        break;
    case PROP_PCI_ADDR_: /* as a number: devfn, -1 for any */
        if (json_get_int(value, &i) && i >= -1 && i <= 255) {
            *(int32_t *)slot = (int32_t)i;
            return true;
        }
        break;
    case PROP_ONOFFAUTO_:
        if (json_get_bool(value, &b)) {
            *(int *)slot = b ? ON : OFF;
            return true;
        }
        break;
    default: break;
    }
    g_autofree char *type = prop_type_name(p);
    return error_fail(errp, "wrong-type", p->name,
                      "give a value of that type, or the text that -device takes",
                      "property '%s' is of type %s and does not accept a JSON value of kind %s", p->name,
                      type, json_kind_name(json_kind(value)));
}

Json *prop_get(const Prop *p, const void *base)
{
    const void *slot = (const char *)base + p->offset;
    uint64_t only = 0;
    if (p->why) {
        slot_set_uint(p, &only, p->def);
        slot = &only;
    }
    switch (p->kind) {
    case PROP_BOOL_: return json_new_bool(*(const bool *)slot);
    case PROP_U8_: return json_new_uint(*(const uint8_t *)slot);
    case PROP_U16_: return json_new_uint(*(const uint16_t *)slot);
    case PROP_U32_: return json_new_uint(*(const uint32_t *)slot);
    case PROP_U64_:
    case PROP_SIZE_: return json_new_uint(*(const uint64_t *)slot);
    case PROP_I32_: return json_new_int(*(const int32_t *)slot);
    case PROP_STR_: {
        const char *s = *(char *const *)slot;
        return json_new_string(s ? s : "");
    }
    case PROP_ENUM_: return json_new_string(p->names[*(const int *)slot]);
    case PROP_ONOFFAUTO_: return json_new_string(on_off_auto[*(const int *)slot]);
    case PROP_PCI_ADDR_: {
        int32_t v = *(const int32_t *)slot;
        if (v < 0) {
            return json_new_int(-1);
        }
        char text[16];
        g_snprintf(text, sizeof(text), "%02x.%x", (unsigned)v >> 3 & 31, (unsigned)v & 7);
        return json_new_string(text);
    }
    case PROP_IOTHREAD_:
    case PROP_CHARDEV_:
    case PROP_BLOCK_:
    case PROP_NETDEV_:
    case PROP_MAC_:
    case PROP_AUDIO_: {
        const PropBinder *b = binders[p->kind];
        g_autofree char *id = b && b->name ? b->name(slot) : NULL;
        return json_new_string(id ? id : "");
    }
    }
    return NULL;
}

char *prop_type_name(const Prop *p)
{
    switch (p->kind) {
    case PROP_BOOL_: return g_strdup("bool");
    case PROP_U8_: return g_strdup("uint8");
    case PROP_U16_: return g_strdup("uint16");
    case PROP_U32_: return g_strdup("uint32");
    case PROP_U64_: return g_strdup("uint64");
    case PROP_I32_:
    case PROP_PCI_ADDR_: return g_strdup("int32");
    case PROP_SIZE_: return g_strdup("size");
    case PROP_ENUM_: return g_strjoinv("|", (char **)p->names);
    case PROP_ONOFFAUTO_: return g_strdup("OnOffAuto");
    default: return g_strdup("str");
    }
}

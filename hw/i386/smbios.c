/* SPDX-License-Identifier: MIT
 * hw/i386/smbios.c - the SMBIOS structures of the board and what -smbios changes in them.
 *
 * Models: DSP0134 2.8.0: entry point (5.2.1), structures 0, 1, 2 (on request), 3, 4, 11 (on request), 16,
 *         17, 19, 32, 127; fw_cfg files "etc/smbios/smbios-anchor" and "etc/smbios/smbios-tables".
 * Does not model: the 64-bit entry point, cache structures, slots and ports.
 * Threads: main loop, before the machine runs.
 */
#include "pc_internal.h"
#include "config.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/loader.h"
#include "rhea/util/text.h"
#include <stdio.h>
#include <string.h>

enum {
    H_BIOS = 0x000,
    H_SYSTEM = 0x100,
    H_BOARD = 0x200,
    H_CHASSIS = 0x300,
    H_CPU = 0x400,
    H_OEM = 0xe00,
    H_ARRAY = 0x1000,
    H_DIMM = 0x1100,
    H_MAPPED = 0x1300,
    H_BOOT = 0x2000,
    H_END = 0x7f00,
    H_NONE = 0xffff,
    H_NO_ERROR = 0xfffe,
    ANCHOR_SIZE = 31,
    MAX_BLOB = 65535,
};

/* What -smbios type=N accepts. */
static const struct { unsigned type; const char *keys[12]; } smbios_keys[] = {
    { 0, { "vendor", "version", "date", "release", "uefi" } },
    { 1, { "manufacturer", "product", "version", "serial", "uuid", "sku", "family" } },
    { 2, { "manufacturer", "product", "version", "serial", "asset", "location" } },
    { 3, { "manufacturer", "version", "serial", "asset", "sku" } },
    { 4, { "sock_pfx", "manufacturer", "version", "serial", "asset", "part", "max-speed", "current-speed",
           "processor-id" } },
    { 11, { "value" } },
    { 17, { "loc_pfx", "bank", "manufacturer", "serial", "asset", "part", "speed" } },
};

typedef struct Smbios {
    Machine *m;
    GByteArray *out;
    guint start;       /* of the open structure */
    GPtrArray *text;   /* its strings, borrowed */
    unsigned count, largest;
    bool replaced[256]; /* types that came from file= */
} Smbios;

static bool smbios_type_of(const Json *o, uint64_t *type)
{
    const Json *t = json_member(o, "type", NULL);
    const char *text = json_get_string(t);
    return text ? text_to_u64(text, type, NULL) : json_get_uint(t, type);
}

static const char *const *smbios_keys_of(uint64_t type)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(smbios_keys); i++) {
        if (smbios_keys[i].type == type) {
            return smbios_keys[i].keys;
        }
    }
    return NULL;
}

static bool smbios_check_object(const Json *o, Error **errp)
{
    uint64_t type;
    if (!smbios_type_of(o, &type)) {
        return error_set(errp, "-smbios needs type=N or file=NAME");
    }
    const char *const *keys = smbios_keys_of(type);
    if (!keys) {
        error_set(errp, "-smbios type=%" G_GUINT64_FORMAT " cannot be set by fields", type);
        error_hint(errp, "types 0, 1, 2, 3, 4, 11 and 17 can; others come whole with -smbios file=NAME");
        return false;
    }
    json_object_object_foreach((Json *)o, key, value) {
        (void)value;
        if (strcmp(key, "type") && !g_strv_contains(keys, key)) {
            error_set(errp, "-smbios type=%" G_GUINT64_FORMAT " has no field '%s'", type, key);
            error_hint_nearest(errp, key, keys);
            return false;
        }
    }
    return true;
}

/* The last -smbios type=N that names the field wins; NULL when none does. */
static const char *smbios_opt(Smbios *s, unsigned type, const char *key)
{
    const char *found = NULL;
    for (size_t i = 0; s->m->smbios && i < json_length(s->m->smbios); i++) {
        const Json *o = json_at(s->m->smbios, i);
        uint64_t t;
        if (smbios_type_of(o, &t) && t == type) {
            const Json *v = json_member(o, key, NULL);
            const char *text = v ? json_object_get_string((Json *)v) : NULL;
            found = text ? text : found;
        }
    }
    return found;
}

static bool smbios_named(Smbios *s, unsigned type)
{
    for (size_t i = 0; s->m->smbios && i < json_length(s->m->smbios); i++) {
        uint64_t t;
        if (smbios_type_of(json_at(s->m->smbios, i), &t) && t == type) {
            return true;
        }
    }
    return false;
}

static bool smbios_number(Smbios *s, unsigned type, const char *key, uint64_t def, uint64_t max,
                          uint64_t *out, Error **errp)
{
    const char *text = smbios_opt(s, type, key);
    *out = def;
    if (text && (!text_to_u64(text, out, NULL) || *out > max)) {
        return error_set(errp, "-smbios type=%u,%s=%s is not a number up to %" G_GUINT64_FORMAT, type, key,
                         text, max);
    }
    return true;
}

static void put(Smbios *s, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t b = v >> (8 * i);
        g_byte_array_append(s->out, &b, 1);
    }
}

static void smbios_begin(Smbios *s, uint8_t type, uint16_t handle)
{
    s->start = s->out->len;
    g_ptr_array_set_size(s->text, 0);
    put(s, type, 1);
    put(s, 0, 1);
    put(s, handle, 2);
}

/* A string is its number in the set after the structure; 0: none (6.1.3). */
static void put_text(Smbios *s, const char *text)
{
    if (!text || !text[0]) {
        put(s, 0, 1);
        return;
    }
    g_ptr_array_add(s->text, (char *)text);
    put(s, s->text->len, 1);
}

static void put_opt(Smbios *s, unsigned type, const char *key, const char *def)
{
    const char *text = smbios_opt(s, type, key);
    put_text(s, text ? text : def);
}

static void smbios_end(Smbios *s)
{
    s->out->data[s->start + 1] = s->out->len - s->start;
    for (guint i = 0; i < s->text->len; i++) {
        const char *text = s->text->pdata[i];
        g_byte_array_append(s->out, (const uint8_t *)text, strlen(text) + 1);
    }
    put(s, 0, s->text->len ? 1 : 2);
    s->count++;
    s->largest = MAX(s->largest, s->out->len - s->start);
}

static bool smbios_bios(Smbios *s, Error **errp)
{
    const char *release = smbios_opt(s, 0, "release"), *uefi = smbios_opt(s, 0, "uefi");
    unsigned major = 0, minor = 0;
    char junk;
    bool is_uefi = false;
    if (release && (sscanf(release, "%u.%u%c", &major, &minor, &junk) != 2 || major > 254 || minor > 254)) {
        return error_set(errp, "-smbios type=0,release=%s is not MAJOR.MINOR, each up to 254", release);
    }
    if (uefi && !text_to_bool(uefi, &is_uefi, errp)) {
        error_prefix(errp, "-smbios type=0,uefi");
        return false;
    }
    smbios_begin(s, 0, H_BIOS);
    put_opt(s, 0, "vendor", "Rhea");
    put_opt(s, 0, "version", RHEA_VERSION);
    put(s, 0xe800, 2);
    put_opt(s, 0, "date", "01/01/2026");
    put(s, 0, 1);               /* ROM size: 64 KiB * (n + 1) */
    put(s, 1 << 3, 8);          /* characteristics: not supported */
    put(s, 0, 1);
    put(s, 0x14 | (is_uefi ? 8 : 0), 1); /* virtual machine, targeted content distribution; UEFI */
    put(s, major, 1);
    put(s, minor, 1);
    put(s, 0xff, 1);
    put(s, 0xff, 1);
    smbios_end(s);
    return true;
}

/* The first three fields are little-endian since 2.6 (7.2.1). */
static bool smbios_put_uuid(Smbios *s, Error **errp)
{
    const char *text = smbios_opt(s, 1, "uuid");
    text = text ? text : s->m->uuid && s->m->uuid[0] ? s->m->uuid : NULL;
    uint8_t b[16] = { 0 };
    if (text && !text_to_uuid(text, b)) {
        return error_set(errp, "'%s' is not a UUID", text);
    }
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    for (unsigned i = 0; i < 16; i++) {
        put(s, b[order[i]], 1);
    }
    return true;
}

static bool smbios_system(Smbios *s, Error **errp)
{
    smbios_begin(s, 1, H_SYSTEM);
    put_opt(s, 1, "manufacturer", "Rhea");
    put_opt(s, 1, "product", "Standard PC (i440FX + PIIX, 1996)");
    put_opt(s, 1, "version", s->m->board->name);
    put_opt(s, 1, "serial", NULL);
    if (!smbios_put_uuid(s, errp)) {
        return false;
    }
    put(s, 6, 1); /* woken by the power switch */
    put_opt(s, 1, "sku", NULL);
    put_opt(s, 1, "family", NULL);
    smbios_end(s);
    return true;
}

static void smbios_board(Smbios *s)
{
    smbios_begin(s, 2, H_BOARD);
    put_opt(s, 2, "manufacturer", "Rhea");
    put_opt(s, 2, "product", "Standard PC (i440FX + PIIX, 1996)");
    put_opt(s, 2, "version", s->m->board->name);
    put_opt(s, 2, "serial", NULL);
    put_opt(s, 2, "asset", NULL);
    put(s, 1, 1); /* hosting board */
    put_opt(s, 2, "location", NULL);
    put(s, H_CHASSIS, 2);
    put(s, 0x0a, 1); /* motherboard */
    put(s, 0, 1);
    smbios_end(s);
}

static void smbios_chassis(Smbios *s)
{
    smbios_begin(s, 3, H_CHASSIS);
    put_opt(s, 3, "manufacturer", "Rhea");
    put(s, 1, 1); /* other */
    put_opt(s, 3, "version", s->m->board->name);
    put_opt(s, 3, "serial", NULL);
    put_opt(s, 3, "asset", NULL);
    put(s, 0x02030303, 4); /* boot-up, power, thermal: safe; security: unknown */
    put(s, 0, 4);
    put(s, 0, 4);          /* height, cords, contained elements */
    put_opt(s, 3, "sku", NULL);
    smbios_end(s);
}

static bool smbios_cpus(Smbios *s, Error **errp)
{
    uint64_t max_speed, speed, id;
    if (!smbios_number(s, 4, "max-speed", 2000, UINT16_MAX, &max_speed, errp) ||
        !smbios_number(s, 4, "current-speed", 2000, UINT16_MAX, &speed, errp) ||
        !smbios_number(s, 4, "processor-id", 0, UINT64_MAX, &id, errp)) {
        return false;
    }
    const Machine *m = s->m;
    unsigned cores = MAX(m->cores, 1) * MAX(m->dies, 1), threads = cores * MAX(m->threads, 1),
             sockets = MAX(m->sockets, 1);
    const char *prefix = smbios_opt(s, 4, "sock_pfx");
    for (unsigned i = 0; i < sockets && i < 256; i++) {
        g_autofree char *socket = g_strdup_printf("%s %u", prefix ? prefix : "CPU", i);
        smbios_begin(s, 4, H_CPU + i);
        put_text(s, socket);
        put(s, 3, 1); /* central processor */
        put(s, 1, 1); /* family: other */
        put_opt(s, 4, "manufacturer", "Rhea");
        put(s, id, 8);
        put_opt(s, 4, "version", m->board->name);
        put(s, 0, 1); /* voltage, external clock: unknown */
        put(s, 0, 2);
        put(s, max_speed, 2);
        put(s, speed, 2);
        put(s, 0x41, 1); /* populated, enabled */
        put(s, 1, 1);
        put(s, UINT64_C(0xffffffffffff), 6); /* no cache structures */
        put_opt(s, 4, "serial", NULL);
        put_opt(s, 4, "asset", NULL);
        put_opt(s, 4, "part", NULL);
        put(s, MIN(cores, 255), 1);
        put(s, MIN(cores, 255), 1);
        put(s, MIN(threads, 255), 1);
        put(s, 2, 2); /* characteristics: unknown */
        put(s, 1, 2);
        smbios_end(s);
    }
    return true;
}

/* 7.12: every value= of every -smbios type=11 is one string. */
static void smbios_oem_strings(Smbios *s)
{
    smbios_begin(s, 11, H_OEM);
    for (size_t i = 0; i < json_length(s->m->smbios); i++) {
        const Json *o = json_at(s->m->smbios, i);
        uint64_t t;
        const Json *v = smbios_type_of(o, &t) && t == 11 ? json_member(o, "value", NULL) : NULL;
        if (v && json_kind(v) == JSON_ARRAY) {
            for (size_t k = 0; k < json_length(v); k++) {
                g_ptr_array_add(s->text, (char *)json_object_get_string(json_at(v, k)));
            }
        } else if (v) {
            g_ptr_array_add(s->text, (char *)json_object_get_string((Json *)v));
        }
    }
    put(s, MIN(s->text->len, 255), 1);
    smbios_end(s);
}

static void smbios_dimm(Smbios *s, unsigned i, uint64_t size, uint16_t speed)
{
    const char *prefix = smbios_opt(s, 17, "loc_pfx");
    g_autofree char *name = g_strdup_printf("%s %u", prefix ? prefix : "DIMM", i);
    uint64_t mib = size / MIB;
    smbios_begin(s, 17, H_DIMM + i);
    put(s, H_ARRAY, 2);
    put(s, H_NO_ERROR, 2);
    put(s, 0xffff, 2);
    put(s, 0xffff, 2);
    put(s, mib < 0x7fff ? mib : 0x7fff, 2);
    put(s, 9, 1); /* DIMM */
    put(s, 0, 1);
    put_text(s, name);
    put_opt(s, 17, "bank", NULL);
    put(s, 7, 1); /* RAM */
    put(s, 2, 2); /* other */
    put(s, speed, 2);
    put_opt(s, 17, "manufacturer", "Rhea");
    put_opt(s, 17, "serial", NULL);
    put_opt(s, 17, "asset", NULL);
    put_opt(s, 17, "part", NULL);
    put(s, 0, 1);
    put(s, mib < 0x7fff ? 0 : mib, 4);
    put(s, speed, 2);
    put(s, 0, 6);
    smbios_end(s);
}

static void smbios_mapped(Smbios *s, unsigned i, uint64_t start, uint64_t size)
{
    uint64_t first = start / KIB, last = (start + size - 1) / KIB;
    bool small = last < UINT32_MAX;
    smbios_begin(s, 19, H_MAPPED + i);
    put(s, small ? first : UINT32_MAX, 4);
    put(s, small ? last : UINT32_MAX, 4);
    put(s, H_ARRAY, 2);
    put(s, 1, 1);
    put(s, small ? 0 : start, 8);
    put(s, small ? 0 : start + size - 1, 8);
    smbios_end(s);
}

static bool smbios_memory(Smbios *s, const PcLayout *l, Error **errp)
{
    const uint64_t dimm = 16 * GIB;
    uint64_t size = l->below_4g + l->above_4g, speed;
    if (!smbios_number(s, 17, "speed", 0, UINT16_MAX, &speed, errp)) {
        return false;
    }
    unsigned n = MIN((size + dimm - 1) / dimm, 256);
    bool small = size / KIB < 0x80000000u;
    smbios_begin(s, 16, H_ARRAY);
    put(s, 1, 1); /* other location */
    put(s, 3, 1); /* system memory */
    put(s, 6, 1); /* multi-bit ECC: software takes "none" for a cheap board */
    put(s, small ? size / KIB : 0x80000000u, 4);
    put(s, H_NO_ERROR, 2);
    put(s, n, 2);
    put(s, small ? 0 : size, 8);
    smbios_end(s);
    for (unsigned i = 0; i < n; i++) {
        smbios_dimm(s, i, i == n - 1 ? size - i * dimm : dimm, speed);
    }
    smbios_mapped(s, 0, 0, l->below_4g);
    if (l->above_4g) {
        smbios_mapped(s, 1, 4 * GIB, l->above_4g);
    }
    return true;
}

/* file=: structures as they are. Each needs a length of at least 4 and its double zero. */
static bool smbios_add_file(Smbios *s, const char *path, Error **errp)
{
    g_autoptr(GBytes) data = loader_read_file("-smbios", path, MAX_BLOB, errp);
    if (!data) {
        return false;
    }
    gsize n;
    const uint8_t *p = g_bytes_get_data(data, &n);
    for (gsize at = 0; at < n;) {
        gsize len = at + 4 <= n ? p[at + 1] : 0, end = at + len;
        while (len >= 4 && end + 2 <= n && (p[end] || p[end + 1])) {
            end++;
        }
        if (len < 4 || end + 2 > n) {
            return error_set(errp, "-smbios file '%s': no complete structure at offset %zu", path,
                             (size_t)at);
        }
        end += 2;
        s->replaced[p[at]] = true;
        g_byte_array_append(s->out, p + at, end - at);
        s->count++;
        s->largest = MAX(s->largest, end - at);
        at = end;
    }
    return true;
}

static bool smbios_take_options(Smbios *s, Error **errp)
{
    for (size_t i = 0; s->m->smbios && i < json_length(s->m->smbios); i++) {
        const Json *o = json_at(s->m->smbios, i);
        const char *file = json_get_string(json_member(o, "file", NULL));
        if (file ? !smbios_add_file(s, file, errp) : !smbios_check_object(o, errp)) {
            return false;
        }
    }
    return true;
}

static bool smbios_structures(Smbios *s, const PcLayout *l, Error **errp)
{
    const bool *r = s->replaced;
    if ((!r[0] && !smbios_bios(s, errp)) || (!r[1] && !smbios_system(s, errp))) {
        return false;
    }
    if (!r[2] && smbios_named(s, 2)) {
        smbios_board(s);
    }
    if (!r[3]) {
        smbios_chassis(s);
    }
    if (!r[4] && !smbios_cpus(s, errp)) {
        return false;
    }
    if (!r[11] && smbios_named(s, 11)) {
        smbios_oem_strings(s);
    }
    if (!r[16] && !r[17] && !r[19] && !smbios_memory(s, l, errp)) {
        return false;
    }
    if (!r[32]) {
        smbios_begin(s, 32, H_BOOT);
        put(s, 0, 6);
        put(s, 0, 1); /* no errors */
        smbios_end(s);
    }
    if (!r[127]) {
        smbios_begin(s, 127, H_END);
        smbios_end(s);
    }
    if (s->out->len > MAX_BLOB) {
        return error_set(errp, "SMBIOS structures have %u bytes; %d are possible", s->out->len, MAX_BLOB);
    }
    return true;
}

static uint8_t smbios_sum(const uint8_t *p, unsigned n)
{
    uint8_t sum = 0;
    while (n--) {
        sum += *p++;
    }
    return sum;
}

/* 5.2.1; firmware fills in the address and the checksums anew. */
static void smbios_anchor(const Smbios *s, uint8_t a[ANCHOR_SIZE])
{
    memset(a, 0, ANCHOR_SIZE);
    memcpy(a, "_SM_", 4);
    a[5] = ANCHOR_SIZE;
    a[6] = 2;
    a[7] = 8;
    a[8] = s->largest;
    a[9] = s->largest >> 8;
    memcpy(a + 16, "_DMI_", 5);
    a[22] = s->out->len;
    a[23] = s->out->len >> 8;
    a[28] = s->count;
    a[29] = s->count >> 8;
    a[30] = 0x28;
    a[21] = -smbios_sum(a + 16, 15);
    a[4] = -smbios_sum(a, ANCHOR_SIZE);
}

bool pc_smbios_build(Machine *m, Device *fw, const PcLayout *l, Error **errp)
{
    Smbios s = { .m = m, .out = g_byte_array_new(), .text = g_ptr_array_new() };
    uint8_t anchor[ANCHOR_SIZE];
    bool ok = smbios_take_options(&s, errp) && smbios_structures(&s, l, errp);
    if (ok) {
        smbios_anchor(&s, anchor);
        ok = fw_cfg_add_file_bytes(fw, "etc/smbios/smbios-anchor", anchor, sizeof(anchor), errp) &&
             fw_cfg_add_file_bytes(fw, "etc/smbios/smbios-tables", s.out->data, s.out->len, errp);
    }
    g_byte_array_unref(s.out);
    g_ptr_array_unref(s.text);
    return ok;
}

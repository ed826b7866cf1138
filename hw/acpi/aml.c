/* SPDX-License-Identifier: MIT
 * hw/acpi/aml.c - writes ACPI Machine Language and resource descriptors.
 *
 * Models: ACPI 6.3, 20.2 (AML grammar: names, data objects, package lengths, terms), 6.4 (resource data
 *         types), 5.7/6.1.5 (compressed EISA ids).
 * Does not model: most of the language; only what boards use is here.
 * Threads: none; it writes to the caller's array.
 */
#include "rhea/hw/acpi.h"
#include <string.h>

void aml_init(Aml *a, GByteArray *out)
{
    a->out = out;
    a->open = g_array_new(FALSE, FALSE, sizeof(guint));
}

void aml_fini(Aml *a)
{
    g_assert(a->open->len == 0);
    g_array_unref(a->open);
}

void aml_byte(Aml *a, uint8_t b)
{
    g_byte_array_append(a->out, &b, 1);
}

static void aml_bytes(Aml *a, uint64_t v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        aml_byte(a, v >> (8 * i));
    }
}

void aml_int(Aml *a, uint64_t v)
{
    if (v <= 1) {
        aml_byte(a, v); /* ZeroOp, OneOp */
    } else if (v <= UINT8_MAX) {
        aml_byte(a, 0x0a);
        aml_bytes(a, v, 1);
    } else if (v <= UINT16_MAX) {
        aml_byte(a, 0x0b);
        aml_bytes(a, v, 2);
    } else if (v <= UINT32_MAX) {
        aml_byte(a, 0x0c);
        aml_bytes(a, v, 4);
    } else {
        aml_byte(a, 0x0e);
        aml_bytes(a, v, 8);
    }
}

void aml_string(Aml *a, const char *s)
{
    aml_byte(a, 0x0d);
    g_byte_array_append(a->out, (const uint8_t *)s, strlen(s) + 1);
}

/* Segments are four characters, padded with underscores (20.2.2). */
static void aml_segment(Aml *a, const char *s, size_t len)
{
    g_assert(len >= 1 && len <= 4);
    for (unsigned i = 0; i < 4; i++) {
        aml_byte(a, i < len ? s[i] : '_');
    }
}

void aml_path(Aml *a, const char *path)
{
    while (*path == '\\' || *path == '^') {
        aml_byte(a, *path++);
    }
    g_auto(GStrv) seg = g_strsplit(path, ".", -1);
    unsigned n = *path ? g_strv_length(seg) : 0;
    if (n == 0) {
        aml_byte(a, 0x00); /* NullName: the root alone */
    } else if (n == 2) {
        aml_byte(a, 0x2e);
    } else if (n > 2) {
        aml_byte(a, 0x2f);
        aml_byte(a, n);
    }
    for (unsigned i = 0; i < n; i++) {
        aml_segment(a, seg[i], strlen(seg[i]));
    }
}

/* Three letters of five bits and four hexadecimal digits, in big-endian order (6.1.5). */
void aml_eisaid(Aml *a, const char *id)
{
    g_assert(strlen(id) == 7);
    uint32_t v = (uint32_t)((id[0] - 0x40) & 0x1f) << 26 | (uint32_t)((id[1] - 0x40) & 0x1f) << 21 |
                 (uint32_t)((id[2] - 0x40) & 0x1f) << 16 | (uint32_t)g_ascii_strtoull(id + 3, NULL, 16);
    aml_byte(a, 0x0c);
    aml_bytes(a, GUINT32_SWAP_LE_BE(v), 4);
}

static void aml_open(Aml *a)
{
    g_array_append_val(a->open, a->out->len);
}

/* PkgLength counts itself (20.2.4): up to 63 in one byte, then 4 bits and one to three more bytes. */
void aml_end(Aml *a)
{
    g_assert(a->open->len > 0);
    guint at = g_array_index(a->open, guint, a->open->len - 1), body = a->out->len - at;
    g_array_set_size(a->open, a->open->len - 1);
    unsigned n = body + 1 < 0x40 ? 1 : body + 2 < 0x1000 ? 2 : body + 3 < 0x100000 ? 3 : 4;
    uint32_t total = body + n;
    uint8_t len[4];
    len[0] = n == 1 ? total : (n - 1) << 6 | (total & 0xf);
    for (unsigned i = 1; i < n; i++) {
        len[i] = total >> (4 + 8 * (i - 1));
    }
    g_byte_array_set_size(a->out, a->out->len + n);
    memmove(a->out->data + at + n, a->out->data + at, body);
    memcpy(a->out->data + at, len, n);
}

void aml_scope(Aml *a, const char *path)
{
    aml_byte(a, 0x10);
    aml_open(a);
    aml_path(a, path);
}

void aml_device(Aml *a, const char *name)
{
    aml_byte(a, 0x5b);
    aml_byte(a, 0x82);
    aml_open(a);
    aml_path(a, name);
}

void aml_method(Aml *a, const char *name, unsigned args, bool serialized)
{
    aml_byte(a, 0x14);
    aml_open(a);
    aml_path(a, name);
    aml_byte(a, args | (serialized ? 8 : 0));
}

void aml_package(Aml *a, unsigned n)
{
    aml_byte(a, 0x12);
    aml_open(a);
    aml_byte(a, n);
}

void aml_processor(Aml *a, const char *name, uint8_t id)
{
    aml_byte(a, 0x5b);
    aml_byte(a, 0x83);
    aml_open(a);
    aml_path(a, name);
    aml_byte(a, id);
    aml_bytes(a, 0, 4); /* no P_BLK */
    aml_byte(a, 0);
}

void aml_if(Aml *a)
{
    aml_byte(a, 0xa0);
    aml_open(a);
}

void aml_else(Aml *a)
{
    aml_byte(a, 0xa1);
    aml_open(a);
}

void aml_name(Aml *a, const char *name)
{
    aml_byte(a, 0x08);
    aml_path(a, name);
}

void aml_name_int(Aml *a, const char *name, uint64_t v)
{
    aml_name(a, name);
    aml_int(a, v);
}

void aml_name_eisaid(Aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_eisaid(a, id);
}

void aml_return(Aml *a)
{
    aml_byte(a, 0xa4);
}

void aml_notify(Aml *a, const char *path, uint64_t value)
{
    aml_byte(a, 0x86);
    aml_path(a, path);
    aml_int(a, value);
}

void aml_op_region(Aml *a, const char *name, uint8_t space, uint64_t at, uint64_t len)
{
    aml_byte(a, 0x5b);
    aml_byte(a, 0x80);
    aml_path(a, name);
    aml_byte(a, space);
    aml_int(a, at);
    aml_int(a, len);
}

void aml_field(Aml *a, const char *region, uint8_t flags)
{
    aml_byte(a, 0x5b);
    aml_byte(a, 0x81);
    aml_open(a);
    aml_path(a, region);
    aml_byte(a, flags);
}

void aml_field_unit(Aml *a, const char *name, unsigned bits)
{
    g_assert(bits < 0x40); /* a one-byte PkgLength holds the width */
    if (name) {
        aml_segment(a, name, strlen(name));
    } else {
        aml_byte(a, 0x00);
    }
    aml_byte(a, bits);
}

void aml_create_dword_field(Aml *a, unsigned local, unsigned byte_index, const char *name)
{
    aml_byte(a, 0x8a);
    aml_byte(a, local);
    aml_int(a, byte_index);
    aml_path(a, name);
}

/* A buffer whose size is known at the end only: the size is a word, patched by aml_resources_end(). */
void aml_resources(Aml *a)
{
    aml_byte(a, 0x11);
    aml_open(a);
    aml_byte(a, 0x0b);
    aml_bytes(a, 0, 2);
}

void aml_resources_end(Aml *a)
{
    aml_byte(a, 0x79); /* end tag; checksum 0 means "not used" (6.4.2.9) */
    aml_byte(a, 0x00);
    guint at = g_array_index(a->open, guint, a->open->len - 1), n = a->out->len - at - 3;
    a->out->data[at + 1] = n;
    a->out->data[at + 2] = n >> 8;
    aml_end(a);
}

void aml_res_io(Aml *a, uint16_t at, uint8_t len)
{
    aml_byte(a, 0x47);
    aml_byte(a, 0x01); /* decodes 16 bits */
    aml_bytes(a, at, 2);
    aml_bytes(a, at, 2);
    aml_byte(a, 1);
    aml_byte(a, len);
}

void aml_res_irq(Aml *a, unsigned irq)
{
    aml_byte(a, 0x22); /* without flags: edge, active high, exclusive */
    aml_bytes(a, 1u << irq, 2);
}

void aml_res_dma(Aml *a, unsigned channel)
{
    aml_byte(a, 0x2a);
    aml_byte(a, 1u << channel);
    aml_byte(a, 0); /* compatible timing, 8 bits, no bus master */
}

void aml_res_memory32(Aml *a, uint32_t at, uint32_t len, bool writable)
{
    aml_byte(a, 0x86);
    aml_bytes(a, 9, 2);
    aml_byte(a, writable);
    aml_bytes(a, at, 4);
    aml_bytes(a, len, 4);
}

void aml_res_interrupts(Aml *a, const uint32_t *irqs, unsigned n)
{
    aml_byte(a, 0x89);
    aml_bytes(a, 2 + 4 * n, 2);
    aml_byte(a, 0x09); /* consumer, level, active high, shared */
    aml_byte(a, n);
    for (unsigned i = 0; i < n; i++) {
        aml_bytes(a, irqs[i], 4);
    }
}

void aml_res_interrupt(Aml *a, uint32_t gsi, bool edge)
{
    aml_byte(a, 0x89);
    aml_bytes(a, 6, 2);
    aml_byte(a, edge ? 0x03 : 0x01); /* consumer, active high */
    aml_byte(a, 1);
    aml_bytes(a, gsi, 4);
}

/* Address space descriptors (6.4.3.5) of a bridge: producer, fixed ends. */
void aml_res_window(Aml *a, AmlRange kind, uint64_t first, uint64_t last)
{
    unsigned w = kind != AML_RANGE_MEMORY ? 2 : last <= UINT32_MAX ? 4 : 8;
    aml_byte(a, w == 2 ? 0x88 : w == 4 ? 0x87 : 0x8a);
    aml_bytes(a, 3 + 5 * w, 2);
    aml_byte(a, kind);
    aml_byte(a, 0x0c);
    aml_byte(a, kind == AML_RANGE_MEMORY ? 0x01
                : kind == AML_RANGE_IO   ? 0x03
                                         : 0x00); /* read-write; entire range */
    aml_bytes(a, 0, w);
    aml_bytes(a, first, w);
    aml_bytes(a, last, w);
    aml_bytes(a, 0, w);
    aml_bytes(a, last - first + 1, w);
}

/* SPDX-License-Identifier: MIT
 * hw/acpi/tables.c - table headers, the root tables, and the script by which firmware links them.
 *
 * Models: ACPI 6.3, 5.2 (RSDP, RSDT, XSDT, FACS, header, GAS); the loader script of the fw_cfg file
 *         "etc/table-loader": 128-byte commands ALLOCATE, ADD_POINTER, ADD_CHECKSUM and
 *         WRITE_POINTER as its public specification lays them out.
 * Threads: none; it writes to the caller's arrays.
 */
#include "rhea/hw/acpi.h"
#include <string.h>

enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3, LOADER_WRITE_POINTER = 4 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };
enum { LOADER_ENTRY = 128, LOADER_NAME = 56, HEADER_SIZE = 36, HEADER_LENGTH = 4, HEADER_CHECKSUM = 9 };

void acpi_builder_init(AcpiBuilder *b)
{
    b->tables = g_byte_array_new();
    b->rsdp = g_byte_array_new();
    b->loader = g_byte_array_new();
    b->roots = g_array_new(FALSE, FALSE, sizeof(guint));
}

void acpi_builder_fini(AcpiBuilder *b)
{
    g_byte_array_unref(b->tables);
    g_byte_array_unref(b->rsdp);
    g_byte_array_unref(b->loader);
    g_array_unref(b->roots);
}

void acpi_put(GByteArray *out, uint64_t v, unsigned bytes)
{
    guint at = out->len;
    g_byte_array_set_size(out, at + bytes);
    acpi_set(out, at, v, bytes);
}

void acpi_set(GByteArray *out, guint at, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        out->data[at + i] = v >> (8 * i);
    }
}

void acpi_put_gas(GByteArray *out, uint8_t space, uint8_t bits, uint8_t access, uint64_t addr)
{
    acpi_put(out, space, 1);
    acpi_put(out, bits, 1);
    acpi_put(out, 0, 1);
    acpi_put(out, access, 1);
    acpi_put(out, addr, 8);
}

/* A command is one 128-byte entry: number, then its operands packed. */
static void loader_begin(AcpiBuilder *b, uint32_t command, const char *file)
{
    char name[LOADER_NAME] = { 0 };
    g_strlcpy(name, file, sizeof(name));
    acpi_put(b->loader, command, 4);
    g_byte_array_append(b->loader, (uint8_t *)name, sizeof(name));
}

static void loader_end(AcpiBuilder *b)
{
    guint pad = (LOADER_ENTRY - b->loader->len % LOADER_ENTRY) % LOADER_ENTRY;
    static const uint8_t zero[LOADER_ENTRY];
    g_byte_array_append(b->loader, zero, pad);
}

static void loader_allocate(AcpiBuilder *b, const char *file, uint32_t align, uint8_t zone)
{
    loader_begin(b, LOADER_ALLOCATE, file);
    acpi_put(b->loader, align, 4);
    acpi_put(b->loader, zone, 1);
    loader_end(b);
}

static void loader_pointer(AcpiBuilder *b, const char *in, guint at, unsigned bytes, const char *to)
{
    char name[LOADER_NAME] = { 0 };
    g_strlcpy(name, to, sizeof(name));
    loader_begin(b, LOADER_ADD_POINTER, in);
    g_byte_array_append(b->loader, (uint8_t *)name, sizeof(name));
    acpi_put(b->loader, at, 4);
    acpi_put(b->loader, bytes, 1);
    loader_end(b);
}

static void loader_checksum(AcpiBuilder *b, const char *file, guint at, guint start, guint len)
{
    loader_begin(b, LOADER_ADD_CHECKSUM, file);
    acpi_put(b->loader, at, 4);
    acpi_put(b->loader, start, 4);
    acpi_put(b->loader, len, 4);
    loader_end(b);
}

/* Commands run in order; the files must exist before anything points into them. Checksums of tables that
 * hold pointers come after those pointers, which acpi_table_end() guarantees. */
static void acpi_allocate(AcpiBuilder *b)
{
    if (b->loader->len == 0) {
        loader_allocate(b, ACPI_FILE_RSDP, 16, ZONE_FSEG);
        loader_allocate(b, ACPI_FILE_TABLES, 64, ZONE_HIGH);
    }
}

guint acpi_table_begin(AcpiBuilder *b, const char *sig, uint8_t revision)
{
    acpi_allocate(b);
    while (b->tables->len % 16) {
        acpi_put(b->tables, 0, 1);
    }
    guint at = b->tables->len;
    g_byte_array_append(b->tables, (const uint8_t *)sig, 4);
    acpi_put(b->tables, 0, 4);
    acpi_put(b->tables, revision, 1);
    acpi_put(b->tables, 0, 1);
    g_byte_array_append(b->tables, (const uint8_t *)"RHEA  ", 6);
    g_byte_array_append(b->tables, (const uint8_t *)"RHEAPC  ", 8);
    acpi_put(b->tables, 1, 4);
    g_byte_array_append(b->tables, (const uint8_t *)"RHEA", 4);
    acpi_put(b->tables, 1, 4);
    return at;
}

void acpi_table_end(AcpiBuilder *b, guint at, bool root)
{
    guint len = b->tables->len - at;
    acpi_set(b->tables, at + HEADER_LENGTH, len, 4);
    loader_checksum(b, ACPI_FILE_TABLES, at + HEADER_CHECKSUM, at, len);
    if (root) {
        g_array_append_val(b->roots, at);
    }
}

void acpi_link(AcpiBuilder *b, guint at, unsigned bytes, guint target)
{
    acpi_set(b->tables, at, target, bytes);
    loader_pointer(b, ACPI_FILE_TABLES, at, bytes, ACPI_FILE_TABLES);
}

void acpi_place_file(AcpiBuilder *b, const char *file, uint32_t align)
{
    loader_allocate(b, file, align, ZONE_HIGH);
}

void acpi_link_file(AcpiBuilder *b, guint at, unsigned bytes, const char *file)
{
    acpi_set(b->tables, at, 0, bytes);
    loader_pointer(b, ACPI_FILE_TABLES, at, bytes, file);
}

void acpi_tell_address(AcpiBuilder *b, const char *told, const char *file, uint32_t offset)
{
    char name[LOADER_NAME] = { 0 };
    g_strlcpy(name, file, sizeof(name));
    loader_begin(b, LOADER_WRITE_POINTER, told);
    g_byte_array_append(b->loader, (uint8_t *)name, sizeof(name));
    acpi_put(b->loader, 0, 4);
    acpi_put(b->loader, offset, 4);
    acpi_put(b->loader, 8, 1);
    loader_end(b);
}

/* 5.2.10: 64 bytes, aligned to 64; no checksum. */
guint acpi_put_facs(AcpiBuilder *b)
{
    acpi_allocate(b);
    guint at = b->tables->len;
    g_assert(at % 64 == 0);
    g_byte_array_append(b->tables, (const uint8_t *)"FACS", 4);
    acpi_put(b->tables, 64, 4);
    g_byte_array_set_size(b->tables, at + 64);
    memset(b->tables->data + at + 8, 0, 56);
    b->tables->data[at + 32] = 1; /* version */
    return at;
}

static guint acpi_put_root(AcpiBuilder *b, const char *sig, unsigned bytes)
{
    guint at = acpi_table_begin(b, sig, 1);
    for (guint i = 0; i < b->roots->len; i++) {
        guint entry = b->tables->len;
        acpi_put(b->tables, 0, bytes);
        acpi_link(b, entry, bytes, g_array_index(b->roots, guint, i));
    }
    acpi_table_end(b, at, false);
    return at;
}

/* 5.2.5.3: the RSDP has one checksum over its first 20 bytes and one over all 36. */
void acpi_finish(AcpiBuilder *b)
{
    guint rsdt = acpi_put_root(b, "RSDT", 4), xsdt = acpi_put_root(b, "XSDT", 8);
    g_byte_array_append(b->rsdp, (const uint8_t *)"RSD PTR ", 8);
    acpi_put(b->rsdp, 0, 1);
    g_byte_array_append(b->rsdp, (const uint8_t *)"RHEA  ", 6);
    acpi_put(b->rsdp, 2, 1);
    acpi_put(b->rsdp, rsdt, 4);
    acpi_put(b->rsdp, 36, 4);
    acpi_put(b->rsdp, xsdt, 8);
    acpi_put(b->rsdp, 0, 4);
    loader_pointer(b, ACPI_FILE_RSDP, 16, 4, ACPI_FILE_TABLES);
    loader_pointer(b, ACPI_FILE_RSDP, 24, 8, ACPI_FILE_TABLES);
    loader_checksum(b, ACPI_FILE_RSDP, 8, 0, 20);
    loader_checksum(b, ACPI_FILE_RSDP, 32, 0, 36);
}

static uint64_t loader_number(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return v;
}

/* All pointers lead into the tables. */
void acpi_link_at(AcpiBuilder *b, uint64_t tables_at)
{
    for (guint at = 0; at < b->loader->len; at += LOADER_ENTRY) {
        const uint8_t *e = b->loader->data + at;
        GByteArray *file = strcmp((const char *)e + 4, ACPI_FILE_RSDP) ? b->tables : b->rsdp;
        const uint8_t *operand = e + 4 + LOADER_NAME;
        if (e[0] == LOADER_ADD_POINTER) {
            operand += LOADER_NAME;
            guint field = loader_number(operand, 4);
            acpi_set(file, field, loader_number(file->data + field, operand[4]) + tables_at, operand[4]);
        } else if (e[0] == LOADER_ADD_CHECKSUM) {
            guint field = loader_number(operand, 4), start = loader_number(operand + 4, 4);
            uint8_t sum = 0;
            file->data[field] = 0;
            for (guint i = 0, n = loader_number(operand + 8, 4); i < n; i++) {
                sum += file->data[start + i];
            }
            file->data[field] = -sum;
        }
    }
}

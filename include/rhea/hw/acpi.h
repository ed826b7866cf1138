/* SPDX-License-Identifier: MIT
 * rhea/hw/acpi.h - writers of ACPI Machine Language, of tables, and of the firmware's linker script.
 *
 * Everything appends to byte arrays. Blocks of AML are bracketed by a begin and aml_end(); the package
 * length is worked out at the end.
 */
#ifndef RHEA_HW_ACPI_H
#define RHEA_HW_ACPI_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- AML (ACPI 6.3, chapter 20) ---- */
typedef struct Aml {
    GByteArray *out;
    GArray *open; /* guint: where the contents of each open block begin */
} Aml;

void aml_init(Aml *a, GByteArray *out);
void aml_fini(Aml *a); /* all blocks must be closed */

void aml_byte(Aml *a, uint8_t b);
void aml_int(Aml *a, uint64_t v);          /* shortest encoding */
void aml_string(Aml *a, const char *s);
void aml_path(Aml *a, const char *path);   /* "\\_SB.PCI0", "^FOO", "_HID" */
void aml_eisaid(Aml *a, const char *id);   /* "PNP0A03" */

void aml_scope(Aml *a, const char *path);
void aml_device(Aml *a, const char *name);
void aml_method(Aml *a, const char *name, unsigned args, bool serialized);
void aml_package(Aml *a, unsigned n);
void aml_processor(Aml *a, const char *name, uint8_t id);
void aml_if(Aml *a);   /* the predicate follows */
void aml_else(Aml *a);
void aml_end(Aml *a);

void aml_name(Aml *a, const char *name);   /* the value follows */
void aml_name_int(Aml *a, const char *name, uint64_t v);
void aml_name_eisaid(Aml *a, const char *name, const char *id);
void aml_return(Aml *a);                   /* the value follows */
void aml_op_region(Aml *a, const char *name, uint8_t space, uint64_t at, uint64_t len);
void aml_field(Aml *a, const char *region, uint8_t flags);
void aml_field_unit(Aml *a, const char *name, unsigned bits); /* NULL: a gap */
void aml_create_dword_field(Aml *a, unsigned local, unsigned byte_index, const char *name);
enum { AML_LOCAL0 = 0x60, AML_ARG0 = 0x68, AML_STORE = 0x70, AML_AND = 0x7b, AML_OR = 0x7d, AML_NIL = 0x00 };
void aml_notify(Aml *a, const char *path, uint64_t value);
enum { AML_SPACE_MEMORY = 0, AML_SPACE_IO = 1, AML_SPACE_PCI_CONFIG = 2, AML_FIELD_BYTE = 1, AML_FIELD_DWORD = 3 };

/* Resource templates (6.4): between aml_resources() and aml_resources_end(). */
void aml_resources(Aml *a);
void aml_resources_end(Aml *a);
void aml_res_io(Aml *a, uint16_t at, uint8_t len);
void aml_res_irq(Aml *a, unsigned irq);
void aml_res_dma(Aml *a, unsigned channel);
void aml_res_memory32(Aml *a, uint32_t at, uint32_t len, bool writable);
void aml_res_interrupts(Aml *a, const uint32_t *irqs, unsigned n); /* level, active high, shared */
void aml_res_interrupt(Aml *a, uint32_t gsi, bool edge);           /* active high, exclusive */
typedef enum { AML_RANGE_MEMORY, AML_RANGE_IO, AML_RANGE_BUS } AmlRange;
void aml_res_window(Aml *a, AmlRange kind, uint64_t first, uint64_t last); /* 16, 32 or 64 bits as needed */

/* ---- tables and their linker script ---- */
#define ACPI_FILE_RSDP   "etc/acpi/rsdp"
#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_LOADER "etc/table-loader"

typedef struct AcpiBuilder {
    GByteArray *tables, *rsdp, *loader;
    GArray *roots; /* guint: tables that the RSDT and XSDT list */
} AcpiBuilder;

void acpi_builder_init(AcpiBuilder *b);
void acpi_builder_fini(AcpiBuilder *b);
guint acpi_table_begin(AcpiBuilder *b, const char *sig, uint8_t revision); /* offset of the header */
void acpi_table_end(AcpiBuilder *b, guint at, bool root); /* length, checksum */
void acpi_put(GByteArray *out, uint64_t v, unsigned bytes);      /* little-endian */
void acpi_set(GByteArray *out, guint at, uint64_t v, unsigned bytes);
/* tables[at] (bytes wide) becomes a pointer to tables[target]. */
void acpi_link(AcpiBuilder *b, guint at, unsigned bytes, guint target);
/* Another file of fw_cfg gets memory of its own, before anything points into it; then tables[at] becomes a pointer
 * to it, and the guest's firmware writes the address of its byte `offset` into the file `told`, 8 bytes. */
void acpi_place_file(AcpiBuilder *b, const char *file, uint32_t align);
void acpi_link_file(AcpiBuilder *b, guint at, unsigned bytes, const char *file);
void acpi_tell_address(AcpiBuilder *b, const char *told, const char *file, uint32_t offset);
void acpi_put_gas(GByteArray *out, uint8_t space, uint8_t bits, uint8_t access, uint64_t addr);
guint acpi_put_facs(AcpiBuilder *b);   /* first of all: it wants the strictest alignment */
void acpi_finish(AcpiBuilder *b);      /* RSDT, XSDT, RSDP */
/* Does what firmware would by the linker script: the tables lie at this address, the RSDP is the guest's to find. */
void acpi_link_at(AcpiBuilder *b, uint64_t tables_at);

#endif

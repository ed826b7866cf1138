/* SPDX-License-Identifier: MIT
 * hw/i386/boot.h - the seam between the formats of -kernel.
 */
#ifndef HW_I386_BOOT_H
#define HW_I386_BOOT_H

#include "pc_internal.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/loader.h"
#include <string.h>

typedef struct BootRequest {
    Machine *m;
    Device *fw;
    const PcLayout *layout;
    const char *kernel, *append; /* append: "" when not given */
    const char *initrd;          /* NULL when not given */
    GBytes *file;                /* the kernel */
} BootRequest;

/* Memory at the end of low RAM that firmware keeps (its tables and run-time data). */
enum { BOOT_FIRMWARE_RESERVE = 1 << 20, BOOT_LOW_END = 0x90000 };

/* The top of what a kernel and its modules may use. */
static inline uint64_t boot_ram_end(const BootRequest *r)
{
    return r->layout->below_4g > 2 * BOOT_FIRMWARE_RESERVE ? r->layout->below_4g - BOOT_FIRMWARE_RESERVE : 0;
}

/* Numbers that flatboot.S finds in the setup item. */
typedef struct FlatBoot {
    uint32_t eax, ebx, entry, kind, map, map_len, mem_lower, image, image_len, extra, extra_len;
} FlatBoot;
enum { FLAT_MULTIBOOT = 0, FLAT_PVH = 1, FLAT_MAP_ENTRY = 24, FLAT_MAP_MAX = 32 };

/* Each: is it this format? Then load it. */
bool boot_linux_probe(GBytes *file);
bool boot_linux_load(BootRequest *r, Error **errp);
bool boot_multiboot_probe(GBytes *file);
bool boot_multiboot_load(BootRequest *r, Error **errp);
bool boot_pvh_load(BootRequest *r, Error **errp); /* any ELF file */

/* Boots without firmware: boot-direct.c, with the formats' parts in boot-linux.c and boot-pvh.c. */
enum { /* where the guest finds what a loader leaves, below what the kernels need */
    DIRECT_GDT = 0x5000,
    DIRECT_PAGES = 0x6000, /* PML4, PDPT, four page directories: 4 GiB as they are */
    DIRECT_INFO = 0x10000, /* boot_params, or the PVH start info */
    DIRECT_CMDLINE = 0x20000,
    DIRECT_CMDLINE_MAX = 0x10000,
    DIRECT_E820_MAX = 32,
};
typedef enum DirectKind { DIRECT_LINUX32, DIRECT_LINUX64, DIRECT_PVH } DirectKind;
typedef struct DirectBoot {
    /* the board's */
    E820Entry map[DIRECT_E820_MAX];
    unsigned n_map;
    uint64_t rsdp; /* 0: there are no ACPI tables */
    bool long_mode; /* the CPU has it */
    uint32_t reset_register; /* a byte in memory; reset_value in it resets the machine. 0: there is none */
    uint8_t reset_value;
    /* the kernel's */
    GArray *blobs; /* DirectBlob */
    DirectKind kind;
    uint64_t entry;
} DirectBoot;
void direct_boot_init(DirectBoot *d);
void direct_boot_fini(DirectBoot *d);
bool direct_boot_load(DirectBoot *d, BootRequest *r, Error **errp); /* r->file: read by this */
/* Takes a reference; file_backed as fw_cfg_set_file_backed() has it. */
void direct_boot_add(DirectBoot *d, uint64_t at, GBytes *data, bool file_backed);
void direct_boot_add_take(DirectBoot *d, uint64_t at, GByteArray *data);
/* At reset, after the CPUs': copies everything into memory, sets the first CPU's registers. */
void direct_boot_enter(const DirectBoot *d, Machine *m);
bool boot_linux_direct(BootRequest *r, DirectBoot *d, Error **errp);
bool boot_pvh_direct(BootRequest *r, DirectBoot *d, Error **errp);
/* What the file looks like when it is no kernel. */
bool boot_refuse(const BootRequest *r, Error **errp);

/* boot-rom.c: publishes one of our ROMs as fw_cfg file genroms/NAME. */
bool boot_add_rom(Device *fw, const char *name, const uint8_t *code, size_t len, Error **errp);
bool boot_flat_publish(BootRequest *r, const FlatBoot *fb, GBytes *image, GBytes *extra, Error **errp);
#define BOOT_ROM_LINUX "genroms/linuxboot_dma.bin"
#define BOOT_ROM_FLAT  "genroms/flatboot.bin"

static inline uint32_t boot_le32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline void boot_set32(uint8_t *p, uint32_t v)
{
    p[0] = v;
    p[1] = v >> 8;
    p[2] = v >> 16;
    p[3] = v >> 24;
}

#endif

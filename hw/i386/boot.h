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

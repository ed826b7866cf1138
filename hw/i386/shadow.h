/* SPDX-License-Identifier: MIT
 * hw/i386/shadow.h - memory that a host bridge hides and shows: C0000h-FFFFFh, SMRAM, TSEG.
 */
#ifndef HW_I386_SHADOW_H
#define HW_I386_SHADOW_H

#include "rhea/system/machine.h"

enum { PAM_REGISTERS = 7, PAM_SEGMENTS = 13, PAM_READ = 1, PAM_WRITE = 2 };
enum { SMRAM_OPEN = 0x40, SMRAM_CLOSED = 0x20, SMRAM_LOCK = 0x10, SMRAM_ENABLE = 0x08 }; /* both bridges' */

/* One segment of C0000h-FFFFFh has three overlays above RAM, one enabled at a time: everything to PCI;
 * RAM read, writes lost on PCI; PCI read, writes to RAM. None enabled: plain RAM. */
typedef struct PamSegment {
    MemRegion to_pci, read_ram, write_ram;
} PamSegment;

typedef struct PcShadow {
    Device *dev;
    MemRegion ram_rom;     /* RAM as ROM, source of read_ram aliases */
    RamBlock *behind;      /* what PCI shows at C0000h: the BIOS copy, ones below it */
    MemRegion behind_rom;  /* the same at C0000h of PCI memory */
    MemRegion shadow;      /* reads `behind`, writes RAM */
    PamSegment pam[PAM_SEGMENTS];
    MemRegion vga_window;  /* A0000h-BFFFFh to PCI unless SMRAM is open */
    MemRegion smm_root, smm_all, smm_window, smm_tseg; /* memory of CPUs in SMM: everything, and their RAM */
    AddressSpace smm_memory;
    MemRegion vga_nobody;  /* what answers there when no graphics card does: RAM must not show through */
    MemRegion tseg_nobody; /* what CPUs outside SMM find in TSEG */
} PcShadow;

bool pc_shadow_init(PcShadow *s, Device *dev, MemRegion *pci_mem, Error **errp); /* in the bridge's realize */
/* pam: PAM0 to PAM6; smram: the SMRAM register; tseg_size 0: no TSEG. */
void pc_shadow_update(PcShadow *s, const uint8_t *pam, uint8_t smram, hwaddr tseg, uint64_t tseg_size);
/* Before the first reset: `bios` is what a read without RAM finds; its last 128 KiB are at E0000h. */
void pc_shadow_set_bios(PcShadow *s, RamBlock *bios);

#endif

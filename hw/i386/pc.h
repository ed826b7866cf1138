/* SPDX-License-Identifier: MIT
 * hw/i386/pc.h - the board's state, shared by pc.c (devices), pc-glue.c (wires), pc-firmware.c (what
 * firmware is told).
 */
#ifndef HW_I386_PC_H
#define HW_I386_PC_H

#include "acpi-pc.h"

typedef struct PcBoard { /* Machine.board_state */
    /* -machine properties */
    bool hpet, i8042, graphics, dump_guest_core, mem_merge, fd_bootchk, usb, sata, smbus;
    int acpi, pit, pic, smm, vmport; /* OnOffAuto */
    uint64_t max_ram_below_4g;
    char *memory_encryption;

    PcLayout layout;
    MemRegion ram_low, ram_high;
    RamBlock *bios;
    MemRegion bios_region;
    Device *host, *i440fx, *piix3, *pm, *fw, *rtc, *ide, *glue, *pic_master, *ioapic;
    Device *timer, *hpet_dev; /* the PIT, the HPET; NULL: none */
    PciBus *pci;
    IsaBus *isa;
    PcAcpi tables;
    char *boot_order;   /* checked; lower case */
    char *boot_once;
    unsigned boots;     /* resets so far */
} PcBoard;

/* pc-glue.c: the device "pc-glue" owns lines that belong to no chip: GSI fan-out, A20, FERR#, INTR. */
extern const DeviceType pc_glue_type;
bool pc_glue_wire(Machine *m, PcBoard *s, Error **errp);
/* The vCPUs exist before the board: gives them their local APICs and pins. */
bool pc_glue_attach_cpus(Machine *m, PcBoard *s, Error **errp);

/* pc-firmware.c */
bool pc_load_bios(Machine *m, PcBoard *s, Error **errp);
bool pc_check_boot_order(PcBoard *s, Machine *m, Error **errp);
bool pc_publish(Machine *m, PcBoard *s, Error **errp);   /* fw_cfg, CMOS, tables, kernel */
void pc_set_boot_order(PcBoard *s, const char *order);   /* into CMOS; platform domain held */

#endif

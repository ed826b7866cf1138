/* SPDX-License-Identifier: MIT
 * hw/i386/pc.h - the boards' state, shared by pc.c and pc-q35.c (devices), pc-glue.c (wires), pc-firmware.c
 * (what firmware is told).
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
    char *pflash[2]; /* names of block nodes */
    char *pcspk_audiodev;

    PcLayout layout;
    MemRegion ram_low, ram_high;
    RamBlock *bios;
    MemRegion bios_region;
    Device *host, *fw, *rtc, *ide, *fdc, *glue, *pic_master, *ioapic;
    MemRegion *pci_mem;       /* the host's: PCI memory space, below RAM in priority */
    struct PcShadow *shadow;  /* the host bridge's */
    IrqLine *smi;             /* the chipset's; NULL: none */
    Device *timer, *hpet_dev; /* the PIT, the HPET; NULL: none */
    PciBus *pci;
    IsaBus *isa;
    PcAcpi tables;
    char *boot_order;   /* checked; lower case */
    char *boot_once;
    bool wants_fdc;     /* a floppy controller is part of the board */
    bool hotplug_root;  /* devices of the root bus come and go, by ACPI */
    unsigned boots;     /* resets so far */
    const char *kernel_rom; /* fw_cfg's file that starts -kernel, a constant; NULL: there is none */
} PcBoard;

enum { PC_MAX_CPUS = 255 };

/* pc.c: what the boards have in common; create_bridges fills in host to isa, and smi, and tables' devices. */
bool pc_board_init(Machine *m, const PcLayoutLimits *limits,
                   bool (*create_bridges)(Machine *m, PcBoard *s, Error **errp), Error **errp);
bool pc_board_ready(Machine *m, Error **errp);
void pc_board_reset(Machine *m, ResetKind kind);
void pc_board_fini(Machine *m);
#define PC_BOARD_PROPS                                                                                       \
    PROP_BOOL(PcBoard, hpet, "hpet", true, "High precision event timer"),                                    \
        PROP_BOOL(PcBoard, i8042, "i8042", true, "PS/2 keyboard controller"),                                \
        PROP_ONOFFAUTO(PcBoard, acpi, "acpi", AUTO, "ACPI hardware and tables"),                             \
        PROP_ONOFFAUTO(PcBoard, pit, "pit", AUTO, "8254 timer and speaker"),                                 \
        PROP_ONOFFAUTO(PcBoard, pic, "pic", AUTO, "8259 interrupt controllers (always there)"),              \
        PROP_ONOFFAUTO(PcBoard, smm, "smm", AUTO, "System management mode (auto: on)"),                      \
        PROP_ONOFFAUTO(PcBoard, vmport, "vmport", AUTO, "VMware port (auto: on)"),                           \
        X86_BOARD_PROPS(PcBoard),                                                                            \
        PROP_BOOL(PcBoard, fd_bootchk, "fd-bootchk", true, "Check the floppy's boot signature"),             \
        MACHINE_RAM_PROPS(PcBoard),                                                                          \
        PROP_STR(PcBoard, pcspk_audiodev, "pcspk-audiodev", NULL, "Audio back end of the PC speaker"),       \
        PROP_SIZE(PcBoard, max_ram_below_4g, "max-ram-below-4g", 0, 0, UINT64_MAX, "Most RAM below 4 GiB"),  \
        PROP_STR(PcBoard, pflash[0], "pflash0", NULL, "Block node of the firmware's flash"),                 \
        PROP_STR(PcBoard, pflash[1], "pflash1", NULL, "Block node of the flash for firmware's variables")

/* pc-glue.c: the device "pc-glue" owns lines that belong to no chip: GSI fan-out, A20, FERR#, INTR. */
extern const DeviceType pc_glue_type;
bool pc_glue_wire(Machine *m, PcBoard *s, Error **errp);
/* The vCPUs exist before the board: gives them their local APICs and pins. */
bool pc_glue_attach_cpus(Machine *m, PcBoard *s, Error **errp);

/* pc-firmware.c */
bool pc_load_bios(Machine *m, PcBoard *s, Error **errp);
Bus *pc_plain_bus(const PcBoard *s, const BusType *type); /* of PCI, ISA, fw_cfg; NULL: another type */
Bus *pc_floppy_bus(const PcBoard *s);
Device *pc_find_fdc(const PcBoard *s); /* the board's or one of -device; NULL: there is none */
bool pc_check_boot_order(PcBoard *s, Machine *m, Error **errp);
bool pc_publish(Machine *m, PcBoard *s, Error **errp);   /* fw_cfg, CMOS, tables, kernel */
void pc_set_boot_order(PcBoard *s, const char *order);   /* into CMOS; platform domain held */
void pc_renew_boot_order(Machine *m, PcBoard *s);        /* in fw_cfg; platform domain held */

#endif

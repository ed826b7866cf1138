/* SPDX-License-Identifier: MIT
 * hw/i386/microvm.h - the board's state, shared by microvm.c (devices, wires) and microvm-boot.c (tables,
 * kernel).
 */
#ifndef HW_I386_MICROVM_H
#define HW_I386_MICROVM_H

#include "acpi-pc.h"
#include "boot.h"

enum {
    MICROVM_TRANSPORTS = 8,
    MICROVM_GED_BASE = 0xfea00000,
    MICROVM_VIRTIO_BASE = 0xfeb00000,
    MICROVM_GED_IRQ = 9,
    MICROVM_VIRTIO_GSI = 16, /* with ACPI: inputs of the I/O APIC that no ISA line has */
};

typedef struct MicrovmBoard { /* Machine.board_state */
    /* -machine properties */
    bool isa_serial, option_roms, auto_cmdline, graphics, dump_guest_core, mem_merge, usb;
    int acpi, rtc, pic, pit, pcie, ioapic2, smm; /* OnOffAuto */
    char *memory_encryption;

    PcLayout layout;
    MemRegion ram_low, ram_high, bios_high, bios_low;
    RamBlock *bios;
    GBytes *bios_file; /* NULL: no firmware, the kernel is entered directly */
    Device *bridge, *pic_master, *ioapic, *timer, *rtc_dev, *fw, *ged, *transport[MICROVM_TRANSPORTS];
    IsaBus *isa;
    PcAcpi tables;     /* what boards share; no devices */
    DirectBoot direct;
    bool is_direct;
} MicrovmBoard;

/* Interrupt of transport i: an I/O APIC input with ACPI, else an ISA line that the command line can name. */
unsigned microvm_virtio_irq(const MicrovmBoard *s, unsigned i);
bool microvm_prepare_boot(Machine *m, MicrovmBoard *s, Error **errp); /* firmware, if it is to run */
bool microvm_publish(Machine *m, MicrovmBoard *s, Error **errp);      /* all devices exist */
void microvm_enter(Machine *m, MicrovmBoard *s);                      /* at reset */
/* microvm-acpi.c */
void microvm_acpi_build(AcpiBuilder *b, const MicrovmBoard *s);

#endif

/* SPDX-License-Identifier: MIT
 * hw/i386/pc_internal.h - what the pieces of the PC boards tell each other.
 */
#ifndef HW_I386_PC_INTERNAL_H
#define HW_I386_PC_INTERNAL_H

#include "rhea/hw/isa.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"
#include "rhea/system/ramprops.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)
#define KIB (UINT64_C(1) << 10)

/* The board's own sources on the ISA lines (IsaBus.irq_or). */
enum { PC_IRQ_SOURCE_PIRQ = ISA_SOURCE_BOARD, PC_IRQ_SOURCE_SCI, PC_IRQ_SOURCE_HPET,
       PC_IRQ_SOURCE_HPET_LEGACY, PC_IRQ_SOURCE_FERR, PC_IRQ_SOURCE_IDE };

/* i440fx.c. The host device makes the bus "pci.0"; the function at 00:00.0 owns PAM and SMRAM. */
extern const DeviceType i440fx_host_type, i440fx_type;
PciBus *i440fx_host_bus(Device *host);
MemRegion *i440fx_host_mem(Device *host); /* PCI memory space, below RAM in priority */
struct PcShadow *i440fx_shadow(Device *i440fx); /* shadow.h */

/* piix3.c */
extern const DeviceType piix3_type;
IsaBus *piix3_isa_bus(Device *piix3); /* "isa.0" */

/* piix4pm.c */
extern const DeviceType piix4_pm_type;
IrqLine *piix4_pm_smi(Device *pm);
IrqLine *piix4_pm_sci(Device *pm);
extern const IrqSinkOps piix4_gpe_sink; /* sink: the function; a pulse on pin n: GPE n. Its domain */
struct AcpiPcihp *piix4_pm_hotplug(Device *pm, bool *root_too); /* NULL: switched off */
/* The I/O base software has chosen: 0 when not enabled yet. The function's domain, or parked vCPUs. */
uint16_t piix4_pm_base(Device *pm);
enum {
    PIIX4_PM_SMI_CMD = 0xb2,
    PIIX4_PM_HOTPLUG = 0xae00, /* rhea/hw/pcihp.h */
    PIIX4_ACPI_ENABLE = 0xf1,
    PIIX4_ACPI_DISABLE = 0xf0,
    PIIX4_PM_DEFAULT_BASE = 0x600
};

/* e820.c: the memory map that firmware starts from. */
typedef struct E820Entry { uint64_t addr, len; uint32_t type; } E820Entry;
enum { E820_RAM = 1, E820_RESERVED = 2 };
typedef struct PcLayout { uint64_t below_4g, above_4g; } PcLayout;
/* RAM ends at `most`, or at `when_more` if it would reach the former: then what is below and above 4 GiB are
 * whole gigabytes, which guests map with large pages. */
typedef struct PcLayoutLimits { uint64_t most, when_more; } PcLayoutLimits;
extern const PcLayoutLimits pc_layout_limits; /* of the pc board */
bool pc_layout(uint64_t ram_size, uint64_t max_below_4g, const PcLayoutLimits *limits, PcLayout *out,
               Error **errp);
/* The machine's RAM in its address space; high is left alone when nothing is above 4 GiB. */
void pc_map_layout(Machine *m, const PcLayout *l, MemRegion *low, MemRegion *high);
GBytes *pc_e820_table(const PcLayout *l); /* fw_cfg file "etc/e820" */

/* Options of all boards here, for members of their states of these names. */
#define X86_BOARD_PROPS(Board)                                                                               \
    PROP_BOOL(Board, usb, "usb", false, "USB: UHCI on pc, EHCI and UHCI on q35"),                           \
        PROP_BOOL(Board, graphics, "graphics", true, "off: firmware uses the serial console"),               \
        PROP_STR(Board, memory_encryption, "memory-encryption", NULL,                                        \
                 "Encrypted guest memory (not available)")

/* smbios.c */
bool pc_smbios_build(Machine *m, Device *fw, const PcLayout *l, Error **errp);

/* boot-rom.c: puts a -kernel file into fw_cfg; *rom is the fw_cfg file of the ROM that starts it, NULL when
 * there is no -kernel. */
bool pc_boot_kernel(Machine *m, Device *fw, const PcLayout *l, const char **rom, Error **errp);
/* pc-firmware.c: fw_cfg's "bootorder", lines of device paths, that ROM first. Once all devices are there. */
bool pc_publish_boot_order(Machine *m, Device *fw, const char *kernel_rom, Error **errp);

#endif

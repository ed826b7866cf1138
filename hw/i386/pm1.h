/* SPDX-License-Identifier: MIT
 * hw/i386/pm1.h - the ACPI fixed hardware that PIIX4 and ICH9 have in common: PM1 event and control blocks
 * and the PM timer; and an SMBus host controller with nobody on its bus.
 *
 * Embedded in the device, whose VmState table has VM_STRUCT(T, pm1, acpi_pm1_state). The device's domain.
 */
#ifndef HW_I386_PM1_H
#define HW_I386_PM1_H

#include "rhea/system/machine.h"

enum { PM1_STS = 0x00, PM1_EN = 0x02, PM1_CNT = 0x04, PM1_TMR = 0x08, PM1_SIZE = 0x0c };

typedef struct AcpiPm1 {
    Device *dev;
    uint16_t sts, en, cnt; /* guest-visible state */
    int64_t overflow_ns;   /* when bit 23 of the timer toggles next */
    Timer timer;
} AcpiPm1;

void acpi_pm1_init(AcpiPm1 *p, Device *dev,
                   void (*fire)(void *dev)); /* fire: leads to acpi_pm1_update() */
void acpi_pm1_reset(AcpiPm1 *p);
void acpi_pm1_loaded(AcpiPm1 *p);   /* post_load: drops bits that do not exist */
void acpi_pm1_read(AcpiPm1 *p, uint8_t *low); /* all PM1_SIZE bytes */
/* One 16-bit register; `mask` says which of its bytes the access covers. */
void acpi_pm1_write(AcpiPm1 *p, unsigned reg, uint16_t val, uint16_t mask);
void acpi_pm1_enable_sci(AcpiPm1 *p, bool on);
void acpi_pm1_power_button(AcpiPm1 *p);
/* Arms the timer. Is the SCI asked for? gpe: a general-purpose event is pending. */
bool acpi_pm1_update(AcpiPm1 *p, bool gpe);
extern const VmState acpi_pm1_state;

enum { SMB_STS = 0, SMB_CNT = 2, SMB_SIZE = 16, SMB_STS_INTR = 0x02, SMB_STS_DEV_ERR = 0x04,
       SMB_STS_FAILED = 0x10, SMB_CNT_INTREN = 0x01, SMB_CNT_KILL = 0x02, SMB_CNT_START = 0x40 };
/* A write to the registers at base + off; sts_w1c: status bits that ones clear. */
void smb_host_write(uint8_t *regs, unsigned off, uint8_t val, uint8_t sts_w1c);

#endif

/* SPDX-License-Identifier: MIT
 * rhea/hw/ged.h - registers of hardware-reduced ACPI: events, sleep, reset. For boards.
 */
#ifndef RHEA_HW_GED_H
#define RHEA_HW_GED_H

#include "rhea/system/device.h"

/* "acpi-ged": exported region 0 has GED_SIZE bytes; line 0 is up while an event waits. */
extern const DeviceType acpi_ged_type;
enum {
    GED_EVENTS = 0,        /* 4 bytes: bits of what happened; reading takes them */
    GED_SLEEP_CONTROL = 4, /* the FADT's registers, a byte each */
    GED_SLEEP_STATUS = 5,
    GED_RESET = 6,
    GED_SIZE = 8,
    GED_POWER_BUTTON = 1 << 0,
    GED_RESET_VALUE = 0x42,
    GED_SLEEP_S5 = 5, /* SLP_TYP of soft off, for \_S5 */
};

#endif

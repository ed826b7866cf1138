/* SPDX-License-Identifier: MIT
 * rhea/hw/guestinfo.h - devices that are files of fw_cfg, by which host and guest tell each other of themselves.
 *
 * Plugged into the bus of fw_cfg, one of each at most.
 */
#ifndef RHEA_HW_GUESTINFO_H
#define RHEA_HW_GUESTINFO_H

#include "rhea/hw/acpi.h"
#include "rhea/system/device.h"

/* "vmgenid": the guest hears when it goes on as a copy of what it was. */
extern const DeviceType vmgenid_type;
enum { VMGENID_GPE = 5, VMGENID_TEXT = 37 }; /* the general-purpose event of its line 0; a GUID as text, with its NUL */
void vmgenid_describe(AcpiBuilder *b); /* its ACPI table, and how firmware places the GUID */
/* The machine's GUID; false: it has no such device. MAIN_LOOP. */
bool vmgenid_get(Machine *m, char guid[static VMGENID_TEXT]);

/* "vmcoreinfo": the guest's kernel tells where its notes for dumps are. */
extern const DeviceType vmcoreinfo_type;
/* An ELF note of `size` bytes (1 MiB at most) at guest-physical address `paddr`, as the guest says: not checked. False:
 * there is no such device, or the guest said nothing that counts. MAIN_LOOP, vCPUs parked or not. */
bool vmcoreinfo_get(Machine *m, uint64_t *paddr, uint32_t *size);

#endif

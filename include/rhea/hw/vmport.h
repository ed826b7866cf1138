/* SPDX-License-Identifier: MIT
 * rhea/hw/vmport.h - the VMware port and the pointer behind it. Platform domain.
 */
#ifndef RHEA_HW_VMPORT_H
#define RHEA_HW_VMPORT_H

#include "rhea/system/device.h"

extern const DeviceType vmport_type, vmmouse_type; /* "vmport" at 5658h, "vmmouse" */

/* Parameters and results of a command: the vCPU's registers, the lower halves. */
typedef struct VmportRegs {
    uint32_t eax, ebx, ecx, edx, esi, edi;
} VmportRegs;
enum { VMPORT_MAGIC = 0x564d5868, VMPORT_COMMANDS = 96 };

/* While the board is made. run: eax is all ones before, which says that there is no such command. */
void vmport_register(Device *vmport, unsigned command, void (*run)(void *opaque, VmportRegs *r), void *opaque);
void vmport_execute(Device *vmport, VmportRegs *r); /* what an IN of EAX does */
void vmmouse_execute(Device *vmmouse, unsigned command, VmportRegs *r); /* 39 to 41: what the port calls */
/* mouse: the PS/2 mouse whose interrupt tells that something has come; or NULL. While the board is made. */
void vmmouse_wire(Device *vmmouse, Device *vmport, Device *mouse);

#endif

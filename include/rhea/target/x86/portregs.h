/* SPDX-License-Identifier: MIT
 * rhea/target/x86/portregs.h - general registers while a port is accessed, for devices that take them as
 * parameters (the VMware port).
 */
#ifndef RHEA_TARGET_X86_PORTREGS_H
#define RHEA_TARGET_X86_PORTREGS_H

#include <stdbool.h>
#include <stdint.h>

/* In a port's handler: the registers R_RAX to R_R15 of the vCPU whose IN or OUT it is, as they are before the
 * instruction. False: no vCPU of the machine does it (a monitor, a test), or KVM does not tell. Its thread. */
bool x86_port_regs_get(uint64_t gpr[16]);
/* What they are after the instruction; an IN then writes what it read into AL, AX or EAX. After a get. */
void x86_port_regs_set(uint64_t gpr[16]);

#endif

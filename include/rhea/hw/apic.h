/* SPDX-License-Identifier: MIT
 * rhea/hw/apic.h - local APICs: one device per vCPU, one bus per machine that carries messages between them.
 *
 * Leaf objects: one lock per machine guards all local APICs; under it only vcpu_interrupt() is called. Never
 * call anything here while holding a lock that msi_send() may need to be called under in reverse: I/O APIC,
 * then local APIC.
 */
#ifndef RHEA_HW_APIC_H
#define RHEA_HW_APIC_H

#include "rhea/system/device.h"
#include "rhea/system/vcpu.h"

extern const DeviceType apic_type; /* "apic": created by boards only */
enum { APIC_DEFAULT_BASE = 0xfee00000 };

/* MAIN_LOOP. Gives an x86 vCPU its local APIC (X86Cpu.apic, apic_ops). The first one maps the register page,
 * and becomes the machine's MSI sink (Machine.msi_sink, window FEE00000h-FEEFFFFFh). */
Device *apic_create(Machine *m, Vcpu *cpu, Device *parent, Error **errp);
/* Where end-of-interrupt messages of level-triggered vectors go; NULL: nowhere. Before the machine runs. */
void apic_set_eoi_target(Machine *m, Device *ioapic);
/* LINT0 (8259's INT) and LINT1 (NMI). apic: X86Cpu.apic. Any thread. */
void apic_set_lint(void *apic, unsigned pin, bool level);
/* Does some local APIC hold a request for this vector that its CPU has not taken? Any thread. */
bool apic_vector_waits(Machine *m, uint8_t vector);
/* Does a local APIC have this vector requested or in service, as far as the devices know (vCPUs parked)? */
bool apic_vector_open(Machine *m, uint8_t vector);
/* fn is told each vector that a CPU takes, on the vCPU's thread, without a lock. While the machine is
 * built. */
void apic_on_take(Machine *m, void (*fn)(void *opaque, uint8_t vector), void *opaque);
/* `info lapic` of one vCPU. */
void apic_print(Vcpu *cpu, GString *out);

#endif

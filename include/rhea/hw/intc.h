/* SPDX-License-Identifier: MIT
 * rhea/hw/intc.h - the PC's interrupt controllers: 8259A pair and 82093AA I/O APIC.
 *
 * Both are leaf objects with a lock of their own: their registers are not dispatched under a domain, and
 * inputs may be driven from any thread. They call the sink of INT, and msi_send(), with that lock held:
 * never call anything here while holding a lock that those take (the local APIC's).
 */
#ifndef RHEA_HW_INTC_H
#define RHEA_HW_INTC_H

#include "rhea/system/device.h"

/* "isa-i8259": ISA device; properties master, iobase, elcr_addr, elcr_mask. Exported line 0 is INT. */
extern const DeviceType i8259_type;
/* One chip's inputs: sink = Device *, pin 0..7. */
extern const IrqSinkOps i8259_sink;
/* IRQ 0..15 of a cascaded pair: sink = the master's Device *; pin 2 leads nowhere. */
extern const IrqSinkOps i8259_pair_sink;
/* Creates master (20h, ELCR 4D0h) and slave (A0h, 4D1h) and cascades them on IR2. The board connects
 * device_irq(master, 0) to the CPU (LINT0 or INTR) and the ISA lines to i8259_pair_sink. */
Device *i8259_create_pair(Bus *isa, Device *parent, Error **errp);
Device *i8259_slave(Device *master);
/* The CPU's interrupt acknowledge cycle; master's Device *. Returns the vector; a request that vanished
 * gives the spurious IR7 (slave: 15). Any thread, no lock of INT's sink held. */
int i8259_ack(Device *master);
bool i8259_int_level(Device *master); /* is INT asserted? */
/* How often each of a chip's inputs was raised since the machine began: for people. Any thread. */
void i8259_counts(Device *chip, uint64_t out[static 8]);
bool i8259_waits(Device *chip, unsigned pin); /* is a request of this input, not masked, not acknowledged yet? */

/* "ioapic": no bus; property version (0x11 or 0x20). Exported region 0: 4 KiB, usually at FEC00000h.
 * Interrupts leave as messages through msi_send(). */
extern const DeviceType ioapic_type;
/* sink = Device *, pin 0..23; high means asserted, whatever the polarity bit says. */
extern const IrqSinkOps ioapic_sink;
enum { IOAPIC_PINS = 24, IOAPIC_BASE = 0xfec00000 };
/* A local APIC's EOI broadcast for a level-triggered vector. Any thread, no local APIC lock held. */
void ioapic_eoi(Device *ioapic, uint8_t vector);
/* The vector of this input when it is edge-triggered and not masked, else -1. Does it wait in some local APIC? */
int ioapic_edge_vector(Device *ioapic, unsigned pin);
void ioapic_counts(Device *ioapic, uint64_t out[static IOAPIC_PINS]); /* as i8259_counts() */
bool ioapic_waits(Device *ioapic, unsigned pin);

#endif

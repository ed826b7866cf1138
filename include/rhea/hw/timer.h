/* SPDX-License-Identifier: MIT
 * rhea/hw/timer.h - the PC's timers: 8254 PIT, MC146818 RTC with CMOS RAM, HPET. Platform domain.
 */
#ifndef RHEA_HW_TIMER_H
#define RHEA_HW_TIMER_H

#include "rhea/system/device.h"

/* "isa-pit": ISA device at 40h. Exported line 0 is OUT0; the bus connects it to IRQ 0. A board with an HPET
 * reconnects it to hpet_legacy_sink pin 0. */
extern const DeviceType i8254_type;
enum { PIT_HZ = 1193182 };
/* For port 61h. In the PIT's domain. */
void i8254_set_gate(Device *pit, unsigned channel, bool level);
bool i8254_gate(Device *pit, unsigned channel);
bool i8254_out(Device *pit, unsigned channel);
/* tell: such an accelerator's port 61h, whenever it is read. In realize of who stands for the port. */
void i8254_on_port61(Device *pit, void (*tell)(void *opaque, bool gate, bool speaker), void *opaque);
/* Port 61h, bit 1, of which only such accelerators make anything. */
void i8254_set_speaker(Device *pit, bool on);
/* An HPET stands in for OUT0, which leads nowhere meanwhile. */
void i8254_set_replaced(Device *pit, bool replaced);
/* For who listens to OUT2: before() is called when counter 2 is about to change; i8254_high() is for how many pulses of
 * [from, to), none after now, it was high. An accelerator that has the PIT inside tells neither. */
void i8254_listen(Device *pit, void (*before)(void *opaque), void *opaque);
uint64_t i8254_high(Device *pit, uint64_t from, uint64_t to);
bool i8254_is_inside(Device *pit);
uint64_t i8254_ticks(Device *pit); /* input clock pulses since virtual time 0 */
/* pending: does the last edge of OUT0 still wait for a CPU? Then the next one would be lost, and is kept back for a while.
 * Without it edges come when they are due. While the machine is built. */
void i8254_set_pending(Device *pit, bool (*pending)(void *opaque), void *opaque);
void i8254_taken(Device *pit); /* it was taken: one that was kept back may come. Any thread, no lock held */

/* "mc146818rtc": ISA device at 70h, IRQ 8 (with an HPET: hpet_legacy_sink pin 1). Starts at the machine's
 * -rtc base. The board fills in CMOS RAM before the first reset; these bytes are also what power-on
 * (RESET_COLD) restores. Time, alarm and status registers (0..0Dh, 32h) are the clock's own. */
extern const DeviceType mc146818_type;
void mc146818_set_cmos(Device *rtc, unsigned index, uint8_t val);
uint8_t mc146818_get_cmos(Device *rtc, unsigned index);
/* Periodic interrupts that are owed (lost_tick_policy=slew) are owed no more. In the clock's domain. */
void mc146818_forget_ticks(Device *rtc);

/* "hpet": no bus; properties timers, hpet-intcap, msi. Exported region 0: 1 KiB, usually at FED00000h.
 * Exported lines: 0..23 I/O APIC inputs (those in hpet-intcap are ever driven), HPET_LINE_IRQ0/8: what
 * goes to ISA IRQ 0 and 8: the PIT and RTC as fed in through hpet_legacy_sink, or timers 0 and 1 while
 * legacy replacement is on. */
extern const DeviceType hpet_type;
enum { HPET_LINE_IRQ0 = 24, HPET_LINE_IRQ8 = 25, HPET_LINES = 26, HPET_BASE = 0xfed00000 };
/* As i8254_set_pending() and i8254_taken(): timer 0 in the PIT's place. */
void hpet_set_pending(Device *hpet, bool (*pending)(void *opaque), void *opaque);
void hpet_taken(Device *hpet);
void hpet_set_pit(Device *hpet, Device *pit); /* is told of legacy replacement; may be NULL */
extern const IrqSinkOps hpet_legacy_sink; /* sink = Device *; pin 0: PIT OUT0, pin 1: RTC IRQ */

#endif

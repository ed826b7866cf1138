/* SPDX-License-Identifier: MIT
 * hw/i386/pirq.h - what ISA bridges of PCI boards share: PCI interrupts that are steered to ISA lines.
 */
#ifndef HW_I386_PIRQ_H
#define HW_I386_PIRQ_H

#include "pc_internal.h"

enum { PIRQ_DISABLE = 0x80, PIRQ_PIN_WORDS = 4 }; /* a pin has one bit for each function of the bus */

void pirq_connect(IrqLine out[ISA_IRQS], IsaBus *isa);
/* Under the bridge's lock, as the next: the level that one function gives to a pin. */
void pirq_set_pin(uint64_t pin[PIRQ_PIN_WORDS], unsigned devfn, bool level);
/* Drives all lines. pirqs: bit p is the level of PIRQ p; route: its routing register. */
void pirq_steer(IrqLine out[ISA_IRQS], const uint8_t *route, unsigned n, unsigned pirqs);

#endif

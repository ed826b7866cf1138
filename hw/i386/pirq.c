/* SPDX-License-Identifier: MIT
 * hw/i386/pirq.c - PCI interrupts that an ISA bridge steers to ISA lines.
 *
 * Models: the routing registers that Intel's bridges have in common: PIIX3 data sheet (290550) 2.2.9, ICH9
 *         data sheet (316972) 13.1.11. Which pin is which PIRQ is the bridge's.
 * Threads: any function's domain, under the bridge's leaf lock.
 */
#include "pirq.h"

enum { VALID_IRQS = 0xdef8 }; /* 0, 1, 2, 8 and 13 are reserved values */

void pirq_connect(IrqLine out[ISA_IRQS], IsaBus *isa)
{
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        if (VALID_IRQS >> irq & 1) {
            irq_connect(&out[irq], &irq_or_sink, &isa->irq_or[irq], PC_IRQ_SOURCE_PIRQ);
        }
    }
}

void pirq_set_pin(uint64_t pin[PIRQ_PIN_WORDS], unsigned devfn, bool level)
{
    uint64_t *w = &pin[devfn / 64], bit = UINT64_C(1) << (devfn & 63);
    *w = level ? *w | bit : *w & ~bit;
}

/* A line is the OR of what is steered to it. */
void pirq_steer(IrqLine out[ISA_IRQS], const uint8_t *route, unsigned n, unsigned pirqs)
{
    unsigned lines = 0;
    for (unsigned p = 0; p < n; p++) {
        if (!(route[p] & PIRQ_DISABLE) && (pirqs >> p & 1)) {
            lines |= 1u << (route[p] & 0xf);
        }
    }
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        if (VALID_IRQS >> irq & 1) {
            irq_set(&out[irq], lines >> irq & 1);
        }
    }
}

/* SPDX-License-Identifier: MIT
 * hw/intc/apic-print.c - a local APIC as text, for monitors.
 * Threads: read on the CPU's thread, where its registers are up to date.
 */
#include "apic_internal.h"

static void apic_text(Apic *a, GString *out)
{
    static const char *const names[LVT_COUNT] = { "LVTT", "LVTTHMR", "LVTPC", "LVT0", "LVT1", "LVTERR" };
    static const char *const modes[] = { "Fixed", "LowPri", "SMI", "3", "NMI", "INIT", "SIPI", "ExtINT" };
    pthread_mutex_lock(&a->bus->lock);
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        uint32_t l = a->lvt[i];
        g_string_append_printf(out, "%-8s 0x%08x %-8s %-6s %s%s (vec %u)\n", names[i], l,
                               l & LVT_LEVEL ? "active-hi level" : "active-hi edge",
                               l & LVT_MASKED ? "masked" : "",
                               i == LVT_TIMER ? (l & LVT_DEADLINE   ? "tsc-deadline "
                                                 : l & LVT_PERIODIC ? "periodic "
                                                                    : "one-shot ")
                                              : "",
                               modes[i == LVT_TIMER || i == LVT_ERROR ? 0 : l >> 8 & 7], l & 0xff);
    }
    g_string_append_printf(out, "TIMER    DCR=0x%x (divide by %u) initial_count = %u current_count = %u\n",
                           a->tdcr, 1u << apic_timer_shift(a), a->tmict,
                           apic_timer_count(a, apic_timer_now(a)));
    g_string_append_printf(out, "SPIV     0x%08x APIC %s, spurious vec %u\n", a->svr,
                           a->svr & SVR_ENABLE ? "enabled" : "disabled", a->svr & 0xff);
    g_string_append_printf(out, "BASE     0x%" PRIx64 " %s%s\n", a->base,
                           apic_x2(a)   ? "x2apic"
                           : apic_on(a) ? "xapic"
                                        : "off",
                           a->base & BASE_BSP ? " bsp" : "");
    g_string_append_printf(out, "ICR      0x%08x%08x\nESR      0x%08x\n", (uint32_t)(a->icr >> 32),
                           (uint32_t)a->icr, a->esr);
    const struct { const char *name; const uint32_t *r; } sets[] = { { "ISR", a->isr }, { "IRR", a->irr } };
    for (unsigned k = 0; k < 2; k++) {
        g_string_append_printf(out, "%-8s", sets[k].name);
        for (unsigned v = 0; v < 256; v++) {
            if (apic_bit_get(sets[k].r, v)) {
                g_string_append_printf(out, " %u%s", v, apic_bit_get(a->tmr, v) ? "(level)" : "");
            }
        }
        g_string_append(out, apic_bits_highest(sets[k].r) < 0 ? " (none)\n" : "\n");
    }
    g_string_append_printf(out, "\nAPR 0x%02x TPR 0x%02x DFR 0x%02x LDR 0x%02x PPR 0x%02x\n", apic_ppr(a),
                           a->tpr, a->dfr >> 28, a->ldr >> 24, apic_ppr(a));
    pthread_mutex_unlock(&a->bus->lock);
}

typedef struct ApicText { Apic *a; GString *out; } ApicText;

static void text_on_cpu(void *opaque)
{
    const ApicText *t = opaque;
    apic_text(t->a, t->out);
}

void apic_print(Vcpu *cpu, GString *out)
{
    Apic *a = x86_cpu(cpu)->apic_ops == &apic_cpu_ops ? x86_cpu(cpu)->apic : NULL;
    if (!a) {
        g_string_append(out, "no local APIC\n");
        return;
    }
    g_string_append_printf(out, "dumping local APIC state for CPU %u\n\n", cpu->index);
    vcpu_run_on_wait(cpu, text_on_cpu, &(ApicText){ a, out }); /* there its registers are up to date */
}

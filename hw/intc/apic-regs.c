/* SPDX-License-Identifier: MIT
 * hw/intc/apic-regs.c - the local APIC's registers in the page and as MSRs, its base address; what the CPU
 * asks; its registers for an accelerator that has the APIC inside.
 * Models: Intel SDM volume 3, 10.4 (registers), 10.5.1 (LVT), 10.9 (spurious vector), 10.12 (x2APIC).
 * Does not model: CMCI, different register pages per CPU: a write to one CPU's APIC base moves the page for
 * all.
 * Threads: see apic_internal.h.
 */
#include "apic_internal.h"
#include <string.h>

/* --- registers: one set of functions for the page and the MSRs --- */

static bool reg_read(Apic *a, unsigned r, uint32_t *val)
{
    bool x2 = apic_x2(a);
    switch (r) {
    case R_ID: *val = x2 ? a->id : a->id << 24; return true;
    case R_VERSION: *val = APIC_VERSION; return true;
    case R_TPR: *val = a->tpr; return true;
    case R_APR: *val = apic_ppr(a); return !x2;
    case R_PPR: *val = apic_ppr(a); return true;
    case R_EOI: *val = 0; return !x2;
    case R_RRD: *val = 0; return !x2;
    case R_LDR: *val = a->ldr; return true;
    case R_DFR: *val = a->dfr; return !x2;
    case R_SVR: *val = a->svr; return true;
    case R_ISR ... R_ISR + 7: *val = a->isr[r - R_ISR]; return true;
    case R_TMR ... R_TMR + 7: *val = a->tmr[r - R_TMR]; return true;
    case R_IRR ... R_IRR + 7: *val = a->irr[r - R_IRR]; return true;
    case R_ESR: *val = a->esr; return true;
    case R_ICR: *val = (uint32_t)a->icr; return true;
    case R_ICR_HIGH: *val = (uint32_t)(a->icr >> 32); return !x2;
    case R_LVT ... R_LVT + LVT_COUNT - 1: *val = a->lvt[r - R_LVT]; return true;
    case R_TMICT: *val = apic_timer_is_deadline(a) ? 0 : a->tmict; return true;
    case R_TMCCT: *val = apic_timer_count(a, apic_timer_now(a)); return true;
    case R_TDCR: *val = a->tdcr; return true;
    default: *val = 0; return false;
    }
}

uint32_t apic_lvt_mask(const Apic *a, unsigned entry)
{
    static const uint32_t masks[LVT_COUNT] = { 0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };
    return masks[entry] | (entry == LVT_TIMER && x86_has_feature(a->cpu, "tsc-deadline") ? LVT_DEADLINE : 0);
}

static bool lvt_write(Apic *a, unsigned entry, uint32_t val)
{
    uint32_t mask = apic_lvt_mask(a, entry), was = a->lvt[entry];
    if (apic_x2(a) && val & ~(mask | 0x1000 | LVT_REMOTE)) {
        return false;
    }
    val = (val & mask) | (was & LVT_REMOTE);
    if (!apic_soft_on(a)) {
        val |= LVT_MASKED;
    }
    a->lvt[entry] = val;
    if (entry == LVT_TIMER && ((was ^ val) & (LVT_PERIODIC | LVT_DEADLINE))) {
        if ((was ^ val) & LVT_DEADLINE) {
            a->tmict = 0; /* 10.5.4.1: changing to or from TSC-deadline disarms */
            a->tsc_deadline = 0;
        }
        apic_timer_rearm(a, apic_timer_now(a), 0);
    } else if (entry == LVT_LINT0 || entry == LVT_LINT1) {
        if (!(val & LVT_LEVEL)) {
            a->lvt[entry] &= ~(uint32_t)LVT_REMOTE;
        }
        apic_lint_level(a, entry - LVT_LINT0);
    }
    return true;
}

static bool svr_write(Apic *a, uint32_t val)
{
    if (apic_x2(a) && val & ~0x3ffu) {
        return false;
    }
    a->svr = val & 0x3ff;
    if (!(val & SVR_ENABLE)) {
        for (unsigned i = 0; i < LVT_COUNT; i++) {
            a->lvt[i] |= LVT_MASKED; /* 10.4.7.2 */
        }
    }
    return true;
}

/* False: no such register, or a value x2APIC mode refuses. *eoi: vector to broadcast. */
static bool reg_write(Apic *a, unsigned r, uint32_t val, int *eoi)
{
    bool x2 = apic_x2(a), ok = true;
    switch (r) {
    case R_ID: ok = !x2; break; /* 10.4.6: read-only here, as on recent processors */
    case R_TPR:
        ok = !x2 || val < 256;
        a->tpr = ok ? val & 0xff : a->tpr;
        break;
    case R_EOI:
        ok = !x2 || val == 0;
        *eoi = ok ? apic_eoi(a) : -1;
        break;
    case R_LDR:
        ok = !x2;
        a->ldr = ok ? val & 0xff000000 : a->ldr;
        break;
    case R_DFR:
        ok = !x2;
        a->dfr = ok ? val | 0x0fffffff : a->dfr;
        break;
    case R_SVR: ok = svr_write(a, val); break;
    case R_ESR:
        ok = !x2 || val == 0;
        if (ok) {
            a->esr = a->esr_next;
            a->esr_next = 0;
        }
        break;
    case R_ICR:
        a->icr = (a->icr & ~0xffffffffull) | (val & 0xccfff);
        apic_send_ipi(a);
        break;
    case R_ICR_HIGH:
        ok = !x2;
        a->icr = ok ? (uint32_t)a->icr | (uint64_t)(val & 0xff000000) << 32 : a->icr;
        break;
    case R_LVT ... R_LVT + LVT_COUNT - 1: ok = lvt_write(a, r - R_LVT, val); break;
    case R_TMICT:
        if (!apic_timer_is_deadline(a)) {
            a->tmict = val;
            a->timer_start = apic_timer_now(a);
            apic_timer_rearm(a, a->timer_start, 0);
        }
        break;
    case R_TDCR: {
        ok = !x2 || !(val & ~0xbu);
        if (ok) {
            int64_t now = apic_timer_now(a);
            uint32_t left = apic_timer_count(a, now);
            a->tdcr = val & 0xb;
            if (left && !apic_timer_is_deadline(a)) { /* go on from the present count at the new rate */
                a->timer_start = now - (int64_t)((uint64_t)(a->tmict - left) << apic_timer_shift(a));
            }
            apic_timer_rearm(a, now, 0);
        }
        break;
    }
    case R_SELF:
        ok = x2 && val < 256;
        if (ok && val < 16) {
            apic_error(a, ESR_SEND_VECTOR);
        } else if (ok) {
            apic_accept(a, (uint8_t)val, false);
        }
        break;
    default: ok = false;
    }
    apic_update(a);
    return ok;
}

static Apic *page_apic(ApicBus *bus, const MemAccess *acc)
{
    unsigned i = acc->attrs.cpu ? acc->attrs.requester : 0;
    return i < bus->n ? bus->apics[i] : NULL;
}

static uint64_t page_read(void *opaque, MemAccess *acc)
{
    ApicBus *bus = opaque;
    Apic *a = page_apic(bus, acc);
    uint32_t val = 0;
    if (!a) {
        return UINT32_MAX;
    }
    pthread_mutex_lock(&bus->lock);
    if (!apic_on(a) || apic_x2(a)) {
        val = UINT32_MAX; /* the page is not there */
    } else if (!(acc->off & 15) && !reg_read(a, acc->off >> 4, &val)) {
        apic_error(a, ESR_REGISTER);
    }
    pthread_mutex_unlock(&bus->lock);
    return val;
}

static void page_write(void *opaque, MemAccess *acc, uint64_t val)
{
    ApicBus *bus = opaque;
    Apic *a = page_apic(bus, acc);
    int eoi = -1;
    if (!a || acc->attrs.debug) {
        return;
    }
    pthread_mutex_lock(&bus->lock);
    bool bad = false;
    if (apic_on(a) && !apic_x2(a) && !(acc->off & 15)) {
        bad = !reg_write(a, acc->off >> 4, (uint32_t)val, &eoi);
        if (bad) {
            apic_error(a, ESR_REGISTER);
        }
    }
    pthread_mutex_unlock(&bus->lock);
    if (bad) {
        guest_error(&a->dev, "write of 0x%" PRIx64 " to offset 0x%" PRIx64 ": no such register", val,
                    acc->off);
    }
    apic_tell_eoi(a, eoi);
}

const MemOps apic_page_ops = {
    .read = page_read, .write = page_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4,
    .unaligned = true, .lockless = true,
};

/* --- what the CPU asks --- */

static int op_ack(void *opaque)
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    int v = apic_deliverable(a);
    if (v >= 0) {
        apic_bit_put(a->irr, (unsigned)v, false);
        apic_bit_put(a->isr, (unsigned)v, true);
    }
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
    if (v >= 0 && a->bus->on_take) {
        a->bus->on_take(a->bus->take_opaque, (uint8_t)v);
    }
    return v;
}

static uint8_t op_get_tpr(void *opaque)
{
    Apic *a = opaque;
    return (uint8_t)a->tpr; /* written by this thread only */
}

static void op_set_tpr(void *opaque, uint8_t tpr)
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    a->tpr = tpr;
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
}

static bool op_msr_read(void *opaque, uint32_t msr, uint64_t *val)
{
    Apic *a = opaque;
    uint32_t v = 0;
    bool ok = true;
    pthread_mutex_lock(&a->bus->lock);
    if (msr == 0x1b) {
        *val = a->base;
    } else if (msr == 0x6e0) {
        ok = x86_has_feature(a->cpu, "tsc-deadline");
        *val = a->tsc_deadline;
    } else if (msr == 0x800 + R_ICR) {
        ok = apic_x2(a);
        *val = a->icr;
    } else {
        ok = apic_x2(a) && reg_read(a, msr - 0x800, &v);
        *val = v;
    }
    pthread_mutex_unlock(&a->bus->lock);
    return ok;
}

void apic_reset_state(Apic *a)
{
    memset(a->irr, 0, sizeof(a->irr));
    memset(a->isr, 0, sizeof(a->isr));
    memset(a->tmr, 0, sizeof(a->tmr));
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        a->lvt[i] = LVT_MASKED;
    }
    a->icr = a->tsc_deadline = 0;
    a->tpr = a->esr = a->esr_next = a->tmict = a->tdcr = 0;
    a->timer_start = 0;
    a->dfr = 0xffffffff;
    a->svr = 0xff;
    a->ldr = apic_x2(a) ? (a->id >> 4) << 16 | 1u << (a->id & 15) : 0;
    timer_cancel(&a->timer);
}

/* 10.12.5.1, figure 10-32. Lock held. False: an illegal transition. */
static bool base_write(Apic *a, uint64_t val)
{
    uint64_t known = BASE_BSP | BASE_EN | (x86_has_feature(a->cpu, "x2apic") ? BASE_EXTD : 0);
    known |= ((1ull << a->cpu->phys_bits) - 1) & ~0xfffull;
    bool en = val & BASE_EN, ext = val & BASE_EXTD;
    if (val & ~known || (ext && !en) || (apic_x2(a) && en && !ext) || (!apic_on(a) && ext)) {
        return false;
    }
    uint64_t was = a->base;
    a->base = val;
    if (!en && (was & BASE_EN)) {
        a->base &= ~(uint64_t)BASE_EXTD;
        apic_reset_state(a);
    } else if (ext && !(was & BASE_EXTD)) {
        a->ldr = (a->id >> 4) << 16 | 1u << (a->id & 15);
        a->icr = 0;
    }
    apic_update(a);
    return true;
}

static bool op_base_write(Apic *a, uint64_t val)
{
    hwaddr page = val & ~0xfffull;
    pthread_mutex_lock(&a->bus->lock);
    bool moved = page != (a->base & ~0xfffull), ok = base_write(a, val);
    pthread_mutex_unlock(&a->bus->lock);
    if (ok && moved) {
        region_set_addr(&a->bus->page, page);
    }
    return ok;
}

static bool op_msr_write(void *opaque, uint32_t msr, uint64_t val)
{
    Apic *a = opaque;
    int eoi = -1;
    bool ok = true;
    if (msr == 0x1b) {
        return op_base_write(a, val);
    }
    pthread_mutex_lock(&a->bus->lock);
    if (msr == 0x6e0) {
        ok = x86_has_feature(a->cpu, "tsc-deadline");
        if (ok && apic_timer_is_deadline(a)) {
            a->tsc_deadline = val;
            apic_timer_rearm(a, apic_timer_now(a), 0);
        }
    } else if (msr == 0x800 + R_ICR) {
        ok = apic_x2(a) && !(val & 0xfff32000ull);
        if (ok) {
            a->icr = val;
            apic_send_ipi(a);
            apic_update(a);
        }
    } else {
        ok = apic_x2(a) && !(val >> 32) && reg_write(a, msr - 0x800, (uint32_t)val, &eoi);
    }
    pthread_mutex_unlock(&a->bus->lock);
    apic_tell_eoi(a, eoi);
    return ok;
}

/* 10.4.7.3: INIT keeps the id and IA32_APIC_BASE. */
static void op_init(void *opaque)
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    apic_reset_state(a);
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
}

/* --- an accelerator that has the APIC inside --- */

static void op_get_page(void *opaque, uint32_t page[256])
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    for (unsigned r = 0; r < 64; r++) {
        uint32_t val = 0;
        reg_read(a, r, &val);
        page[4 * r] = val;
    }
    page[4 * R_ID] = a->id << 24; /* in either mode */
    page[4 * R_ICR_HIGH] = (uint32_t)(a->icr >> 32);
    page[4 * R_DFR] = a->dfr;
    pthread_mutex_unlock(&a->bus->lock);
}

static void op_set_page(void *opaque, const uint32_t page[256])
{
    Apic *a = opaque;
    pthread_mutex_lock(&a->bus->lock);
    a->ldr = page[4 * R_LDR];
    a->dfr = apic_x2(a) ? a->dfr : page[4 * R_DFR] | 0x0fffffff;
    a->tpr = page[4 * R_TPR] & 0xff;
    a->svr = page[4 * R_SVR] & 0x3ff;
    a->esr = page[4 * R_ESR];
    a->esr_next = 0;
    a->icr = page[4 * R_ICR] | (uint64_t)page[4 * R_ICR_HIGH] << 32;
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        a->lvt[i] = page[4 * (R_LVT + i)] & (apic_lvt_mask(a, i) | LVT_REMOTE);
    }
    for (unsigned i = 0; i < 8; i++) {
        a->isr[i] = page[4 * (R_ISR + i)];
        a->tmr[i] = page[4 * (R_TMR + i)];
        a->irr[i] = page[4 * (R_IRR + i)];
    }
    a->tmict = page[4 * R_TMICT];
    a->tdcr = page[4 * R_TDCR] & 0xb;
    uint32_t left = MIN(page[4 * R_TMCCT], a->tmict);
    a->timer_start = apic_timer_now(a) - (int64_t)((uint64_t)(a->tmict - left) << apic_timer_shift(a));
    pthread_mutex_unlock(&a->bus->lock);
}

static void op_tell_eoi(void *opaque, uint8_t vector)
{
    apic_tell_eoi(opaque, vector);
}

const X86ApicOps apic_cpu_ops = {
    .ack = op_ack,
    .msr_read = op_msr_read,
    .msr_write = op_msr_write,
    .get_tpr = op_get_tpr,
    .set_tpr = op_set_tpr,
    .init = op_init,
    .get_page = op_get_page,
    .set_page = op_set_page,
    .tell_eoi = op_tell_eoi,
};

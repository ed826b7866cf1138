/* SPDX-License-Identifier: MIT
 * hw/timer/hpet.c - high precision event timer.
 * Models:         IA-PC HPET specification 1.0a: 64-bit main counter of 10 ns, up to 32 comparators,
 *                 one-shot and periodic, 32-bit mode, edge and level interrupts, legacy replacement,
 *                 delivery by message (property msi).
 * Does not model: comparators that differ from each other; interrupts closer than 10 us are merged, but timer
 * 0's in place of the PIT follow when no CPU could take them in time (tickdebt.h).
 * Threads:        the device's domain; PIT and RTC, which feed hpet_legacy_sink, share it.
 *
 * Nothing ticks: the counter is the virtual clock plus an offset, each comparator has one timer. That of a
 * periodic one which interrupts nobody rests (Linux leaves one behind): its comparator is brought up to date
 * when somebody looks.
 */
#include "hw/timer/tickdebt.h"
#include "rhea/hw/timer.h"
#include "rhea/system/machine.h"

enum {
    R_CAP = 0x000,
    R_CONFIG = 0x010,
    R_STATUS = 0x020,
    R_COUNTER = 0x0f0,
    R_TIMERS = 0x100,
    R_SIZE = 0x400
};
enum { T_CONFIG = 0x00, T_COMPARATOR = 0x08, T_FSB = 0x10, T_STRIDE = 0x20 };
enum {
    HPET_NS = 10,
    HPET_PERIOD_FS = HPET_NS * 1000000,
    HPET_MAX_TIMERS = 32,
    HPET_MIN_NS = 10000,
    HPET_PINS = 24
};
enum { CFG_ENABLE = 1, CFG_LEGACY = 2 };
enum {
    TN_LEVEL = 0x02,
    TN_ENABLE = 0x04,
    TN_PERIODIC = 0x08,
    TN_PERIODIC_CAP = 0x10,
    TN_64BIT_CAP = 0x20,
    TN_SETVAL = 0x40,
    TN_32BIT = 0x100,
    TN_ROUTE = 0x3e00,
    TN_FSB = 0x4000,
    TN_FSB_CAP = 0x8000,
    TN_WRITABLE = TN_LEVEL | TN_ENABLE | TN_PERIODIC | TN_SETVAL | TN_32BIT | TN_ROUTE | TN_FSB
};

typedef struct Hpet Hpet;
typedef struct HpetTimer {
    Hpet *hpet; /* wiring */
    unsigned n;
    Timer timer;
    /* guest-visible state */
    uint32_t config; /* low half; the high half is the routing capability */
    uint64_t comparator, period;
    uint64_t fsb;     /* value in 31:0, address in 63:32 */
    bool setval_high; /* a low half took SETVAL, the high half still comes */
    /* not guest-visible */
    bool resting; /* the comparator lags behind and the timer is not armed */
} HpetTimer;

struct Hpet {
    Device dev;
    uint32_t n_timers, intcap; /* configuration */
    bool msi;
    MemRegion regs; /* wiring */
    IrqLine line[HPET_LINES];
    Device *pit;
    /* guest-visible state */
    uint32_t config, status;
    uint64_t counter;   /* while halted: the count; while running: what to add to the clock */
    bool fed[2];        /* levels of PIT and RTC */
    uint32_t level_out; /* timers that hold a line */
    TickDebt debt;      /* of timer 0 while it stands in for the PIT */
    HpetTimer t[HPET_MAX_TIMERS];
};

static uint64_t hpet_clock(const Hpet *h)
{
    return (uint64_t)clock_now(h->dev.machine->clock) / HPET_NS;
}

static uint64_t hpet_counter(const Hpet *h)
{
    return h->config & CFG_ENABLE ? hpet_clock(h) + h->counter : h->counter;
}

static bool hpet_legacy(const Hpet *h)
{
    return (h->config & (CFG_ENABLE | CFG_LEGACY)) == (CFG_ENABLE | CFG_LEGACY);
}

/* Specification 2.3.8 and 2.2.1: where timer n's interrupt goes; HPET_LINES: nowhere. */
static unsigned hpet_route(const Hpet *h, const HpetTimer *t)
{
    if (hpet_legacy(h) && t->n < 2) {
        return t->n ? HPET_LINE_IRQ8 : HPET_LINE_IRQ0;
    }
    unsigned pin = (t->config & TN_ROUTE) >> 9;
    return pin < HPET_PINS && h->intcap >> pin & 1 ? pin : HPET_LINES;
}

/* Recomputes every line that is held by a level: PIT and RTC passed through, level-triggered timers. */
static void hpet_update(Hpet *h)
{
    uint32_t high = 0;
    if (h->pit) { /* first: one that is back tells its output at once, which comes here again */
        i8254_set_replaced(h->pit, hpet_legacy(h));
    }
    if (!hpet_legacy(h)) {
        high = (uint32_t)h->fed[0] << HPET_LINE_IRQ0 | (uint32_t)h->fed[1] << HPET_LINE_IRQ8;
    }
    for (unsigned n = 0; n < h->n_timers; n++) {
        const HpetTimer *t = &h->t[n];
        unsigned line = hpet_route(h, t);
        bool on =
            h->config & CFG_ENABLE && t->config & TN_ENABLE && t->config & TN_LEVEL && !(t->config & TN_FSB);
        if (on && h->status >> n & 1 && line < HPET_LINES) {
            high |= 1u << line;
        }
    }
    h->level_out = high;
    for (unsigned line = 0; line < HPET_LINES; line++) {
        irq_set(&h->line[line], high >> line & 1);
    }
}

static void hpet_interrupt(Hpet *h, HpetTimer *t)
{
    if (t->config & TN_LEVEL) {
        h->status |= 1u << t->n; /* "status bits are set whether or not the interrupt is enabled" */
        hpet_update(h);
    }
    if (!(t->config & TN_ENABLE)) {
        return;
    }
    if (t->config & TN_FSB) {
        msi_send(h->dev.machine, (MsiMessage){ .addr = t->fsb >> 32, .data = (uint32_t)t->fsb });
    } else if (!(t->config & TN_LEVEL)) {
        unsigned line = hpet_route(h, t);
        if (line < HPET_LINES && !(h->level_out >> line & 1)) {
            irq_pulse(&h->line[line]);
        }
    }
}

static bool hpet_is_32bit(const HpetTimer *t)
{
    return t->config & TN_32BIT;
}

/* Counts until the comparator matches, never 0: a match is the moment of becoming equal. */
static uint64_t hpet_distance(const HpetTimer *t, uint64_t now)
{
    uint64_t d = t->comparator - now;
    if (hpet_is_32bit(t)) {
        d &= UINT32_MAX;
        return d ? d : UINT64_C(1) << 32;
    }
    return d ? d : UINT64_MAX;
}

static void hpet_arm(Hpet *h, HpetTimer *t, int64_t at_least)
{
    if (!(h->config & CFG_ENABLE)) {
        timer_cancel(&t->timer);
        return;
    }
    uint64_t d = hpet_distance(t, hpet_counter(h));
    if (d > INT64_MAX / HPET_NS / 2) { /* 1400 years */
        timer_cancel(&t->timer);
        return;
    }
    int64_t now = clock_now(h->dev.machine->clock);
    timer_arm(&t->timer, MAX((now / HPET_NS + (int64_t)d) * HPET_NS, at_least));
}

/* The guest set the timer anew. */
static void hpet_restart(Hpet *h, HpetTimer *t)
{
    h->debt.owed = t->n ? h->debt.owed : 0;
    t->resting = false;
    hpet_arm(h, t, 0);
}

static bool hpet_keeps_ticks(const Hpet *h, const HpetTimer *t)
{
    return h->debt.pending && t->n == 0 && hpet_legacy(h) && t->period &&
           (t->config & (TN_ENABLE | TN_PERIODIC | TN_LEVEL | TN_FSB)) == (TN_ENABLE | TN_PERIODIC);
}

/* Moves the comparator to its first value after now. Result: how many it passed. */
static uint64_t hpet_advance(HpetTimer *t, uint64_t now)
{
    bool narrow = hpet_is_32bit(t);
    uint64_t period = narrow ? (uint32_t)t->period : t->period, late = now - t->comparator;
    if (!period || (narrow ? (int32_t)late : (int64_t)late) < 0) {
        return 0;
    }
    uint64_t n = (narrow ? (uint32_t)late : late) / period + 1;
    t->comparator += n * period;
    t->comparator &= narrow ? UINT32_MAX : UINT64_MAX;
    return n;
}

static void hpet_catch_up(const Hpet *h, HpetTimer *t)
{
    if (t->resting) {
        hpet_advance(t, hpet_counter(h));
    }
}

/* The timer comes for a match, or to look whether an interrupt that is owed may come. */
static void hpet_fire_kept(Hpet *h, HpetTimer *t)
{
    uint64_t passed = hpet_advance(t, hpet_counter(h));
    int64_t now = clock_now(h->dev.machine->clock);
    if (tick_due(&h->debt, passed, t->period * HPET_NS)) {
        hpet_interrupt(h, t);
    }
    hpet_arm(h, t, now + HPET_MIN_NS);
    if (h->debt.owed && hpet_distance(t, hpet_counter(h)) > h->debt.retry_ns / HPET_NS) {
        timer_arm(&t->timer, now + h->debt.retry_ns);
    }
}

static void hpet_fire(void *opaque)
{
    HpetTimer *t = opaque;
    Hpet *h = t->hpet;
    if (!(h->config & CFG_ENABLE)) {
        return;
    }
    if (hpet_keeps_ticks(h, t)) {
        hpet_fire_kept(h, t);
        return;
    }
    if (t->config & TN_PERIODIC && t->period) {
        hpet_advance(t, hpet_counter(h)); /* what lies between is merged into one */
        t->resting = !(t->config & (TN_ENABLE | TN_LEVEL));
        if (t->resting) {
            return;
        }
    }
    hpet_interrupt(h, t);
    hpet_arm(h, t, clock_now(h->dev.machine->clock) + HPET_MIN_NS);
}

void hpet_set_pending(Device *dev, bool (*pending)(void *opaque), void *opaque)
{
    Hpet *h = dev_as(Hpet, dev);
    h->debt.pending = pending;
    h->debt.opaque = opaque;
}

void hpet_taken(Device *dev)
{
    Hpet *h = dev_as(Hpet, dev);
    if (domain_current()) {
        return;
    }
    domain_lock(dev->domain);
    HpetTimer *t = &h->t[0];
    if (hpet_keeps_ticks(h, t) && (h->debt.owed || (int64_t)(hpet_counter(h) - t->comparator) >= 0)) {
        hpet_fire_kept(h, t);
    }
    domain_unlock(dev->domain);
}

void hpet_set_pit(Device *dev, Device *pit)
{
    dev_as(Hpet, dev)->pit = pit;
}

static void hpet_legacy_set(void *sink, unsigned pin, bool level)
{
    Hpet *h = dev_as(Hpet, (Device *)sink);
    if (pin < 2 && h->fed[pin] != level) {
        h->fed[pin] = level;
        hpet_update(h);
    }
}

const IrqSinkOps hpet_legacy_sink = { .set = hpet_legacy_set };

static uint64_t hpet_read_timer(const Hpet *h, HpetTimer *t, unsigned reg)
{
    switch (reg) {
    case T_CONFIG:
        return (uint64_t)h->intcap << 32 | t->config | TN_PERIODIC_CAP | TN_64BIT_CAP |
               (h->msi ? TN_FSB_CAP : 0);
    case T_COMPARATOR: hpet_catch_up(h, t); return t->comparator;
    case T_FSB: return t->fsb;
    default: return 0;
    }
}

/* The aligned 64-bit register that holds off. */
static uint64_t hpet_read_reg(Hpet *h, unsigned off)
{
    if (off >= R_TIMERS) {
        unsigned n = (off - R_TIMERS) / T_STRIDE;
        return n < h->n_timers ? hpet_read_timer(h, &h->t[n], (off - R_TIMERS) % T_STRIDE) : 0;
    }
    switch (off) {
    case R_CAP: /* period, vendor, legacy replacement, 64-bit counter, number of timers, revision */
        return (uint64_t)HPET_PERIOD_FS << 32 | 0x80860000 | 0x8000 | 0x2000 | (h->n_timers - 1) << 8 | 0x01;
    case R_CONFIG: return h->config;
    case R_STATUS: return h->status;
    case R_COUNTER: return hpet_counter(h);
    default: return 0;
    }
}

static uint64_t hpet_read(void *opaque, MemAccess *a)
{
    Hpet *h = opaque;
    uint64_t val = hpet_read_reg(h, a->off & ~7u);
    return a->size == 8 ? val : (uint32_t)(val >> (a->off & 4) * 8);
}

static void hpet_write_config(Hpet *h, uint32_t val)
{
    uint64_t count = hpet_counter(h);
    for (unsigned n = 0; n < h->n_timers; n++) {
        hpet_catch_up(h, &h->t[n]);
    }
    h->config = val & (CFG_ENABLE | CFG_LEGACY);
    h->counter = h->config & CFG_ENABLE ? count - hpet_clock(h) : count;
    hpet_update(h);
    for (unsigned n = 0; n < h->n_timers; n++) {
        hpet_restart(h, &h->t[n]);
    }
}

static void hpet_write_timer_config(Hpet *h, HpetTimer *t, uint32_t val)
{
    uint32_t writable = TN_WRITABLE & ~(h->msi ? 0 : TN_FSB);
    unsigned pin = (val & TN_ROUTE) >> 9;
    hpet_catch_up(h, t);
    if (pin >= HPET_PINS || !(h->intcap >> pin & 1)) {
        writable &= ~TN_ROUTE; /* 2.3.8: "if not supported, the value read back will not match" */
    }
    t->config = (t->config & ~writable) | (val & writable);
    t->setval_high = false;
    if (t->config & TN_32BIT) {
        t->comparator = (uint32_t)t->comparator;
        t->period = (uint32_t)t->period;
    }
    if (!(t->config & TN_LEVEL)) {
        h->status &= ~(1u << t->n);
    }
    hpet_update(h);
    hpet_restart(h, t);
}

/* 2.3.9: in periodic mode a write sets the period, with SETVAL the accumulator (the comparator) as well. */
static void hpet_write_comparator(Hpet *h, HpetTimer *t, uint64_t val, uint64_t mask)
{
    bool high_only = !(mask & UINT32_MAX);
    bool periodic = t->config & TN_PERIODIC;
    hpet_catch_up(h, t);
    if (hpet_is_32bit(t)) {
        mask &= UINT32_MAX;
    }
    if (!periodic || t->config & TN_SETVAL || (high_only && t->setval_high)) {
        t->comparator = (t->comparator & ~mask) | (val & mask);
    }
    if (periodic) {
        t->period = (t->period & ~mask) | (val & mask);
    }
    t->setval_high = !high_only && mask == UINT32_MAX && t->config & TN_SETVAL;
    t->config &= ~TN_SETVAL;
    hpet_restart(h, t);
}

static void hpet_write_timer(Hpet *h, HpetTimer *t, unsigned reg, uint64_t val, uint64_t mask)
{
    switch (reg) {
    case T_CONFIG:
        if (mask & UINT32_MAX) {
            hpet_write_timer_config(h, t, val);
        }
        break;
    case T_COMPARATOR: hpet_write_comparator(h, t, val, mask); break;
    case T_FSB:
        if (h->msi) {
            t->fsb = (t->fsb & ~mask) | (val & mask);
        }
        break;
    }
}

static void hpet_write(void *opaque, MemAccess *a, uint64_t val)
{
    Hpet *h = opaque;
    unsigned shift = a->size == 8 ? 0 : (a->off & 4) * 8, off = a->off & ~7u;
    uint64_t mask = a->size == 8 ? UINT64_MAX : UINT64_C(0xffffffff) << shift;
    val <<= shift;
    if (off >= R_TIMERS) {
        unsigned n = (off - R_TIMERS) / T_STRIDE;
        if (n < h->n_timers) {
            hpet_write_timer(h, &h->t[n], (off - R_TIMERS) % T_STRIDE, val, mask);
        }
        return;
    }
    switch (off) {
    case R_CONFIG:
        if (mask & UINT32_MAX) {
            hpet_write_config(h, val);
        }
        break;
    case R_STATUS: /* write 1 to clear */
        h->status &= ~(uint32_t)(val & mask);
        hpet_update(h);
        break;
    case R_COUNTER:
        if (h->config & CFG_ENABLE) {
            guest_error(&h->dev, "write to the main counter while it runs");
            break;
        }
        h->counter = (h->counter & ~mask) | (val & mask);
        break;
    default:
        guest_error(&h->dev, "write to HPET offset %03x, which is read-only or absent", (unsigned)a->off);
        break;
    }
}

static bool hpet_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = hpet_read, .write = hpet_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 8
    };
    Hpet *h = dev_as(Hpet, dev);
    if (!h->intcap || h->intcap >> HPET_PINS) {
        return error_set(errp, "hpet-intcap 0x%x names no I/O APIC input, or one above 23", h->intcap);
    }
    region_init_io(&h->regs, dev, "hpet", &ops, h, R_SIZE);
    device_add_region(dev, &h->regs);
    for (unsigned k = 0; k < HPET_LINES; k++) {
        device_add_irq(dev, &h->line[k]);
    }
    for (unsigned n = 0; n < HPET_MAX_TIMERS; n++) {
        HpetTimer *t = &h->t[n];
        t->hpet = h;
        t->n = n;
        device_add_timer(dev, &t->timer, hpet_fire);
        t->timer.opaque = t; /* all comparators share the function */
    }
    return true;
}

static void hpet_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Hpet *h = dev_as(Hpet, dev);
    h->config = h->status = h->level_out = 0;
    h->debt.owed = h->debt.retry_ns = 0;
    h->counter = 0;
    unsigned first = 0; /* the route that reads back after reset is one that works */
    while (!(h->intcap >> first & 1)) {
        first++;
    }
    for (unsigned n = 0; n < HPET_MAX_TIMERS; n++) {
        HpetTimer *t = &h->t[n];
        t->config = first << 9;
        t->comparator = UINT64_MAX;
        t->period = t->fsb = 0;
        t->setval_high = t->resting = false;
        timer_cancel(&t->timer);
    }
}

static void hpet_reset_done(Device *dev)
{
    hpet_update(dev_as(Hpet, dev));
}

static void hpet_pre_save(void *opaque)
{
    Hpet *h = opaque;
    for (unsigned n = 0; n < h->n_timers; n++) {
        if (h->t[n].resting) {
            hpet_catch_up(h, &h->t[n]);
            hpet_restart(h, &h->t[n]);
        }
    }
}

static bool hpet_post_load(void *opaque, Error **errp)
{
    Hpet *h = opaque;
    for (unsigned n = 0; n < h->n_timers; n++) {
        if (h->t[n].config & ~TN_WRITABLE || (h->t[n].config & TN_FSB && !h->msi)) {
            return error_set(errp, "configuration 0x%x of HPET timer %u has bits that do not exist",
                             h->t[n].config, n);
        }
    }
    for (unsigned n = 0; n < HPET_MAX_TIMERS; n++) {
        h->t[n].resting = false;
    }
    for (unsigned n = h->n_timers; n < HPET_MAX_TIMERS; n++) {
        timer_cancel(&h->t[n].timer); /* does not exist, whatever the stream says */
    }
    hpet_update(h);
    return true;
}

static const Prop hpet_props[] = {
    PROP_U32(Hpet, n_timers, "timers", 3, 3, HPET_MAX_TIMERS, "Number of comparators"),
    PROP_U32(Hpet, intcap, "hpet-intcap", 4, 0, UINT32_MAX,
             "I/O APIC inputs the timers may use, one bit each"),
    PROP_BOOL(Hpet, msi, "msi", false, "Timers may interrupt by message"),
    { 0 },
};
static const VmField hpet_timer_fields[] = {
    VM_U32(HpetTimer, config),
    VM_U64(HpetTimer, comparator),
    VM_U64(HpetTimer, period),
    VM_U64(HpetTimer, fsb),
    VM_BOOL(HpetTimer, setval_high),
    VM_TIMER(HpetTimer, timer),
    { 0 },
};
static const VmState hpet_timer_state = {
    .name = "hpet-timer", .version = 1, .oldest = 1, .fields = hpet_timer_fields
};
static const VmField hpet_fields[] = {
    VM_U32_MAX(Hpet, config, CFG_ENABLE | CFG_LEGACY),
    VM_U32(Hpet, status),
    VM_U64(Hpet, counter),
    VM_STRUCT_ARRAY(Hpet, t, hpet_timer_state),
    VM_TICK_DEBT(Hpet, debt),
    { 0 },
};
static const VmState hpet_state = {
    .name = "hpet",
    .version = 1,
    .oldest = 1,
    .fields = hpet_fields,
    .pre_save = hpet_pre_save,
    .post_load = hpet_post_load,
};

const DeviceType hpet_type = {
    .name = "hpet",
    .desc = "High precision event timer",
    .size = sizeof(Hpet),
    .internal = true,
    .props = hpet_props,
    .vmstate = &hpet_state,
    .realize = hpet_realize,
    .reset = hpet_reset,
    .reset_done = hpet_reset_done,
};

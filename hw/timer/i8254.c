/* SPDX-License-Identifier: MIT
 * hw/timer/i8254.c - 8254 programmable interval timer.
 * Models:         Intel 82C54 data sheet (231244): all six modes, binary and BCD, the three access forms,
 *                 counter latch, read-back of count and status, gates, null count, reload rules of modes 2
 *                 and 3.
 * Does not model: counting below one input clock; a count of 1 in modes 2 and 3 (illegal) gives a constant
 *                 output.
 * Threads:        the device's domain.
 *
 * Periodic edges that no CPU could take in time follow (lost_tick_policy=delay, tickdebt.h).
 *
 * Where an accelerator has the chip inside, this is where its state is while somebody looks (i8254-inside.c).
 *
 * Nothing ticks. A counter is the clock pulse at which its counting element was loaded plus what was
 * loaded; count and OUT follow from the virtual clock. One timer exists, for the rising edges of OUT0.
 */
#include "hw/timer/i8254_internal.h"

enum { R_COUNTER0, R_COUNTER1, R_COUNTER2, R_CONTROL };
enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_WORD };
enum { STATUS_OUT = 0x80, STATUS_NULL = 0x40 };
/* Two edges of OUT0 closer than this reach the guest as one; a host timer cannot do better, and a guest
 * must not be able to keep the main loop busy. */
enum { PIT_MIN_EDGE_NS = 20000 };
uint64_t pit_pulses(int64_t ns)
{
    return (unsigned __int128)MAX(ns, 0) * PIT_HZ / 1000000000;
}

static int64_t pit_pulse_time(uint64_t pulse)
{
    return ((unsigned __int128)pulse * 1000000000 + PIT_HZ - 1) / PIT_HZ;
}

uint64_t pit_now(const Pit *p)
{
    return pit_pulses(clock_now(p->dev.machine->clock));
}

uint64_t i8254_ticks(Device *dev)
{
    return pit_now(dev_as(Pit, dev));
}

bool pit_is_periodic(const PitCounter *c)
{
    return c->mode == 2 || c->mode == 3;
}

bool pit_is_triggered(const PitCounter *c)
{
    return c->mode == 1 || c->mode == 5;
}

/* Clock pulses counted since the element was loaded. */
uint64_t pit_elapsed(const PitCounter *c, uint64_t now)
{
    if (!c->running) {
        return c->start;
    }
    return now > c->start ? now - c->start : 0;
}

/* Modes 2 and 3: lets a new count take over if its time has come. */
static void pit_sync(PitCounter *c, uint64_t now)
{
    if (!c->reload || !c->running || now < c->switch_at) {
        return;
    }
    if (c->mode == 3) {
        uint64_t pos = (c->switch_at - c->start) % c->active;
        bool high_at_0 = !c->low_first;
        c->low_first = pos == 0 ? !high_at_0 : high_at_0; /* the half that begins at switch_at */
    }
    c->start = c->switch_at;
    c->active = c->count;
    c->reload = false;
}

/* Length of the first half of a mode 3 period: the high half has the odd pulse. */
static uint32_t pit_first_half(const PitCounter *c)
{
    return c->low_first ? c->active / 2 : (c->active + 1) / 2;
}

bool pit_out(const PitCounter *c, uint64_t now)
{
    uint64_t e = pit_elapsed(c, now);
    bool began = c->loaded && (c->running ? now >= c->start : c->start > 0);
    switch (c->mode) {
    case 0: return c->loaded && e >= c->active;
    case 1: return !c->active || !began || e >= c->active;
    case 2: return !c->loaded || !c->gate || !c->running || e % c->active != c->active - 1 || c->active == 1;
    case 3:
        return !c->loaded || !c->gate || !c->running || (e % c->active < pit_first_half(c)) != c->low_first;
    default: /* 4, 5: low for the one pulse of the terminal count */
        return !c->active || !began || e != c->active;
    }
}

uint16_t pit_to_code(const PitCounter *c, uint32_t value)
{
    if (!c->bcd) {
        return value;
    }
    value %= 10000;
    return value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

/* What the counting element holds. */
static uint16_t pit_count(const PitCounter *c, uint64_t now)
{
    uint64_t e = pit_elapsed(c, now);
    uint32_t wrap = c->bcd ? 10000 : 65536;
    if (!c->active) {
        return pit_to_code(c, c->loaded ? c->count % wrap : 0);
    }
    if (c->mode == 2) {
        return pit_to_code(c, (c->active - e % c->active) % wrap);
    }
    if (c->mode == 3) {
        uint32_t pos = e % c->active, half = pit_first_half(c);
        pos = pos < half ? pos : pos - half;
        return pit_to_code(c, ((c->active & ~1u) - 2 * pos) %
                                  wrap); /* counts by two, an odd count from one less */
    }
    return pit_to_code(c, (c->active % wrap + wrap - e % wrap) % wrap); /* goes on below zero */
}

/* The next pulse after `now` at which OUT rises; 0: none. */
uint64_t pit_next_rise(const PitCounter *c, uint64_t now)
{
    if (!c->loaded || !c->running || !c->active) {
        return 0;
    }
    uint64_t e = pit_elapsed(c, now), period = c->active;
    uint64_t rise;
    switch (c->mode) {
    case 0:
    case 1: return e < period ? c->start + period : 0;
    case 2:
    case 3:
        if (period == 1) {
            return 0;
        }
        rise = c->mode == 3 && c->low_first ? pit_first_half(c) : 0;
        rise += c->start + (e / period) * period;
        /* Counting begins with OUT high already: the load itself is no edge. */
        rise += rise <= now || rise == c->start ? period : 0;
        if (c->reload && c->switch_at < rise) {
            PitCounter next = *c;
            pit_sync(&next, c->switch_at);
            return next.mode == 3 && next.low_first ? c->switch_at + pit_first_half(&next) : c->switch_at;
        }
        return rise;
    default: return e <= period ? c->start + period + 1 : 0;
    }
}

/* Looks for the next edge of OUT0, unless it leads nowhere: firmware leaves a counter behind that would wake
 * an idle host 18 times a second. */
static void pit_wait_for_edge(Pit *p)
{
    uint64_t rise = p->rise = p->replaced ? 0 : pit_next_rise(&p->c[0], pit_now(p));
    p->debt.owed = 0; /* counter 0 was programmed, or the machine reset */
    if (rise) {
        timer_arm(&p->timer, pit_pulse_time(rise));
    } else {
        timer_cancel(&p->timer);
    }
}

/* Drives OUT0 and looks for its next edge. In modes 2 and 3 the low phase reaches the line only just
 * before it ends: nobody listens to falling edges, and this halves the number of host timers. */
void pit_update_irq(Pit *p)
{
    PitCounter *c = &p->c[0];
    if (p->inside.attached) {
        irq_set(&p->irq, false);
        timer_cancel(&p->timer);
        p->debt.owed = p->rise = 0;
        return;
    }
    uint64_t now = pit_now(p);
    pit_sync(c, now);
    bool out = pit_out(c, now);
    if (out || !pit_is_periodic(c)) {
        irq_set(&p->irq, out);
    }
    pit_wait_for_edge(p);
}

static bool pit_keeps_ticks(const Pit *p)
{
    const PitCounter *c = &p->c[0];
    return p->debt.pending && p->lost_tick_policy == LOST_DELAY && pit_is_periodic(c) && c->active;
}

static void pit_edge(Pit *p)
{
    irq_set(&p->irq, false);
    irq_set(&p->irq, true);
}

/* The timer comes for an edge that is due, or to look whether one that is owed may come. */
static void pit_fire_kept(Pit *p, uint64_t now)
{
    PitCounter *c = &p->c[0];
    uint64_t due = p->rise && now >= p->rise ? 1 + (now - p->rise) / c->active : 0;
    if (tick_due(&p->debt, due, (uint64_t)c->active * 1000000000 / PIT_HZ)) {
        pit_edge(p);
    }
    pit_sync(c, now);
    p->rise = pit_next_rise(c, now);
    int64_t soon = clock_now(p->dev.machine->clock);
    int64_t at = MAX(pit_pulse_time(p->rise), soon + PIT_MIN_EDGE_NS);
    if (p->rise) {
        timer_arm(&p->timer, p->debt.owed ? MIN(at, soon + p->debt.retry_ns) : at);
    }
}

static void pit_fire(void *opaque)
{
    Pit *p = opaque;
    PitCounter *c = &p->c[0];
    uint64_t now = pit_now(p);
    if (p->replaced) { /* a state from before this was looked at */
        p->rise = 0;
        return;
    }
    if (pit_keeps_ticks(p)) {
        pit_fire_kept(p, now);
        return;
    }
    pit_sync(c, now);
    pit_edge(p);
    /* Modes 4, 5, 0 and 1 stay high from here on; 2 and 3 come back. */
    uint64_t rise = pit_next_rise(c, now);
    if (rise) {
        timer_arm(&p->timer, MAX(pit_pulse_time(rise), clock_now(p->dev.machine->clock) + PIT_MIN_EDGE_NS));
    }
}

uint32_t pit_decode(const PitCounter *c, uint16_t code)
{
    if (!c->bcd) {
        return code ? code : 65536;
    }
    uint32_t v = (code >> 12) * 1000 + (code >> 8 & 15) * 100 + (code >> 4 & 15) * 10 + (code & 15);
    v = MIN(v, 10000); /* digits above 9 are the guest's error, the count stays in range */
    return v ? v : 10000;
}

static void pit_start(PitCounter *c, uint64_t at)
{
    c->active = c->count;
    c->low_first = c->reload = false;
    c->running = true;
    c->start = at;
}

/* With the gate low the count is loaded all the same, but does not move. */
static void pit_hold(PitCounter *c)
{
    if (!c->gate) {
        c->running = false;
        c->start = 0;
    }
}

/* A complete count was written: "the count register is transferred to the CE on the next CLK pulse". */
static void pit_load(PitCounter *c, uint16_t code, uint64_t now)
{
    bool first = !c->loaded;
    c->count = pit_decode(c, code);
    c->loaded = true;
    switch (c->mode) {
    case 0:
    case 4:
        pit_start(c, now + 1);
        pit_hold(c);
        break;
    case 2:
    case 3:
        if (first || !c->running) {
            pit_start(c, now + 1);
            pit_hold(c);
            break;
        }
        pit_sync(c, now);
        c->reload = true;
        uint64_t e = pit_elapsed(c, now), begin = c->start + e / c->active * c->active;
        c->switch_at = begin + c->active;
        if (c->mode == 3 && e % c->active < pit_first_half(c)) {
            c->switch_at = begin + pit_first_half(c);
        }
        break;
    default: /* 1, 5: waits for a trigger; one that runs is not disturbed */ break;
    }
}

static void pit_before(Pit *p)
{
    if (p->before) {
        p->before(p->before_opaque);
    }
}

static void pit_write_counter(Pit *p, PitCounter *c, uint8_t val, uint64_t now)
{
    switch (c->access) {
    case ACCESS_LOW: pit_load(c, val, now); break;
    case ACCESS_HIGH: pit_load(c, val << 8, now); break;
    case ACCESS_WORD:
        if (c->write_second) {
            c->write_second = false;
            pit_load(c, val << 8 | c->write_low, now);
            break;
        }
        c->write_low = val;
        c->write_second = true;
        if (c->mode == 0 &&
            c->loaded) { /* "writing the first byte disables counting, OUT is set low immediately" */
            c->start = MIN(pit_elapsed(c, now), c->active - 1);
            c->running = false;
        }
        break;
    default: guest_error(&p->dev, "count for counter %d before its control word", (int)(c - p->c)); break;
    }
}

static uint8_t pit_status(const PitCounter *c, uint64_t now)
{
    bool null = !c->loaded || c->write_second || c->reload || (c->running && now < c->start) ||
                (pit_is_triggered(c) && c->active != c->count);
    return (pit_out(c, now) ? STATUS_OUT : 0) | (null ? STATUS_NULL : 0) | c->access << 4 | c->mode << 1 |
           c->bcd;
}

static void pit_latch_count(PitCounter *c, uint64_t now)
{
    if (!c->latch_left) { /* "latched until read"; further latch commands are ignored */
        c->latch = pit_count(c, now);
        c->latch_left = c->access == ACCESS_WORD ? 2 : 1;
    }
}

static void pit_write_control(Pit *p, uint8_t val, uint64_t now)
{
    unsigned select = val >> 6;
    if (select == 3) { /* read-back command; count and status bits are active low */
        for (unsigned i = 0; i < 3; i++) {
            PitCounter *c = &p->c[i];
            if (!(val & 2 << i)) {
                continue;
            }
            pit_sync(c, now);
            if (!(val & 0x20)) {
                pit_latch_count(c, now);
            }
            if (!(val & 0x10) && !c->status_latched) {
                c->status_latch = pit_status(c, now);
                c->status_latched = true;
            }
        }
        return;
    }
    PitCounter *c = &p->c[select];
    unsigned access = val >> 4 & 3, mode = val >> 1 & 7;
    if (access == ACCESS_LATCH) {
        pit_sync(c, now);
        pit_latch_count(c, now);
        return;
    }
    bool gate = c->gate;
    *c = (PitCounter){ .mode = mode > 5 ? mode - 4 : mode, .access = access, .bcd = val & 1, .gate = gate };
}

/*
 * Only what touches counter 0 looks at its timer. Arming it may wake the main loop, and a host under load
 * then takes the CPU from the guest right after it started counter 2 to measure its TSC with it: the
 * guest would find its clock far too slow.
 */
static void pit_write(void *opaque, MemAccess *a, uint64_t val)
{
    Pit *p = opaque;
    uint64_t now = pit_now(p);
    bool counter0 = a->off == R_COUNTER0;
    pit_pull(p);
    if (a->off >= R_COUNTER2) {
        pit_before(p);
    }
    if (a->off == R_CONTROL) {
        counter0 = val >> 6 == 0 && (val & 0x30);
        pit_write_control(p, val, now);
    } else {
        pit_write_counter(p, &p->c[a->off], val, now);
    }
    if (counter0) {
        pit_update_irq(p);
    }
    pit_changed(p);
}

static uint64_t pit_read(void *opaque, MemAccess *a)
{
    Pit *p = opaque;
    if (a->off == R_CONTROL) {
        return 0xff; /* write-only: the bus floats */
    }
    PitCounter *c = &p->c[a->off];
    pit_pull(p);
    if (a->off == R_COUNTER2) {
        pit_before(p);
    }
    uint64_t now = pit_now(p);
    if (c->status_latched) {
        c->status_latched = false;
        pit_changed(p);
        return c->status_latch;
    }
    pit_sync(c, now);
    uint16_t count = c->latch_left ? c->latch : pit_count(c, now);
    bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_WORD && c->read_second);
    c->latch_left -= c->latch_left ? 1 : 0;
    if (c->access == ACCESS_WORD) {
        c->read_second = !c->read_second;
        pit_changed(p);
    }
    return high ? count >> 8 : count & 0xff;
}

static void pit_gate_moved(PitCounter *c, bool level, uint64_t now)
{
    switch (c->mode) {
    case 0: /* low disables counting */
    case 4:
        if (c->write_second && c->mode == 0) {
            break; /* stopped by the first byte of a new count */
        }
        if (level && !c->running) {
            c->start = now - MIN(c->start, now);
            c->running = true;
        } else if (!level && c->running) {
            c->start = pit_elapsed(c, now);
            c->running = false;
        }
        break;
    case 2: /* low stops and sets OUT high, a rise reloads on the next pulse */
    case 3:
        if (level) {
            pit_start(c, now + 1);
        } else {
            c->start = pit_elapsed(c, now) % c->active;
            c->running = false;
        }
        break;
    default: /* a rise triggers */
        if (level) {
            pit_start(c, now + 1);
        }
        break;
    }
}

void i8254_set_gate(Device *dev, unsigned channel, bool level)
{
    Pit *p = dev_as(Pit, dev);
    PitCounter *c = &p->c[channel];
    pit_pull(p);
    uint64_t now = pit_now(p);
    if (c->gate == level) {
        return;
    }
    if (channel == 2) {
        pit_before(p);
    }
    pit_sync(c, now);
    c->gate = level;
    if (c->loaded) {
        pit_gate_moved(c, level, now);
    }
    if (channel == 0) {
        pit_update_irq(p);
    }
    pit_changed(p);
}

void i8254_set_pending(Device *dev, bool (*pending)(void *opaque), void *opaque)
{
    Pit *p = dev_as(Pit, dev);
    p->debt.pending = pending;
    p->debt.opaque = opaque;
}

/* On the vCPU's thread: on a busy host it need not wait for the timer's, and ticks follow at once. */
void i8254_taken(Device *dev)
{
    Pit *p = dev_as(Pit, dev);
    if (domain_current() || p->inside.attached) {
        return;
    }
    domain_lock(dev->domain);
    uint64_t now = pit_now(p);
    if (pit_keeps_ticks(p) && (p->debt.owed || (p->rise && now >= p->rise))) {
        pit_fire_kept(p, now);
    }
    domain_unlock(dev->domain);
}

bool i8254_gate(Device *dev, unsigned channel)
{
    Pit *p = dev_as(Pit, dev);
    pit_pull(p);
    return p->c[channel].gate;
}

bool i8254_out(Device *dev, unsigned channel)
{
    Pit *p = dev_as(Pit, dev);
    pit_pull(p);
    uint64_t now = pit_now(p);
    if (channel == 2) {
        pit_before(p);
    }
    pit_sync(&p->c[channel], now);
    return pit_out(&p->c[channel], now);
}

void i8254_listen(Device *dev, void (*before)(void *opaque), void *opaque)
{
    Pit *p = dev_as(Pit, dev);
    p->before = before;
    p->before_opaque = opaque;
}

bool i8254_is_inside(Device *dev)
{
    return dev_as(Pit, dev)->inside.attached;
}

/* Of the first e pulses since a counter of mode 3 began. */
static uint64_t pit_square_high(const PitCounter *c, uint64_t e)
{
    uint64_t half = pit_first_half(c), rest = e % c->active, high = c->low_first ? c->active - half : half;
    uint64_t part = c->low_first ? (rest > half ? rest - half : 0) : MIN(rest, half);
    return e / c->active * high + part;
}

static uint64_t pit_high(const PitCounter *c, uint64_t from, uint64_t to)
{
    if (!c->loaded || !c->running || !c->active) {
        return pit_out(c, from) ? to - from : 0;
    }
    if (c->mode == 3 && c->gate && from >= c->start) {
        return pit_square_high(c, to - c->start) - pit_square_high(c, from - c->start);
    }
    uint64_t n = 0;
    for (; from < to; from++) {
        n += pit_out(c, from);
    }
    return n;
}

uint64_t i8254_high(Device *dev, uint64_t from, uint64_t to)
{
    PitCounter c = dev_as(Pit, dev)->c[2];
    uint64_t n = 0;
    if (c.reload && c.running && c.switch_at < to) {
        uint64_t at = MAX(c.switch_at, from);
        n = pit_high(&c, from, at);
        pit_sync(&c, at);
        from = at;
    }
    return n + pit_high(&c, from, to);
}

void i8254_on_port61(Device *dev, void (*tell)(void *opaque, bool gate, bool speaker), void *opaque)
{
    Pit *p = dev_as(Pit, dev);
    p->port61 = tell;
    p->port61_opaque = opaque;
}

void i8254_set_speaker(Device *dev, bool on)
{
    Pit *p = dev_as(Pit, dev);
    pit_pull(p);
    if (p->speaker != on) {
        p->speaker = on;
        pit_changed(p);
    }
}

void i8254_set_replaced(Device *dev, bool replaced)
{
    Pit *p = dev_as(Pit, dev);
    if (p->replaced != replaced) {
        pit_pull(p);
        p->replaced = replaced;
        pit_update_irq(p);
        pit_changed(p);
    }
}

static bool pit_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = {
        .read = pit_read, .write = pit_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    Pit *p = dev_as(Pit, dev);
    region_init_io(&p->regs, dev, "pit", &ops, p, 4);
    device_add_region(dev, &p->regs);
    device_add_irq(dev, &p->irq);
    device_add_timer(dev, &p->timer, pit_fire);
    return pit_inside_init(p);
}

/* The data sheet leaves everything undefined until a control word: here mode 0, no count, OUT low. */
static void pit_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Pit *p = dev_as(Pit, dev);
    for (unsigned i = 0; i < 3; i++) {
        p->c[i] = (PitCounter){ .access = ACCESS_WORD,
                                .blank = true,
                                .gate = i != 2 }; /* gates 0 and 1 are tied high */
    }
    p->debt.owed = p->debt.retry_ns = 0;
    p->rise = 0;
    timer_cancel(&p->timer);
}

static void pit_reset_done(Device *dev)
{
    Pit *p = dev_as(Pit, dev);
    pit_update_irq(p);
    pit_replace_state(p);
}

static bool pit_post_load(void *opaque, Error **errp)
{
    Pit *p = opaque;
    const uint64_t end = UINT64_C(1) << 53; /* pulses in the range of a signed 64-bit nanosecond clock */
    for (unsigned i = 0; i < 3; i++) {
        PitCounter *c = &p->c[i];
        bool must_have = c->running || (c->loaded && !pit_is_triggered(c));
        if ((must_have && !c->active) || (c->loaded && !c->count) || c->start > end || c->switch_at > end ||
            (c->reload && c->switch_at < c->start)) {
            return error_set(errp, "counter %u of the PIT runs without a count or out of time", i);
        }
    }
    if (p->rise > end) {
        return error_set(errp, "the PIT's next edge is out of time");
    }
    for (unsigned i = 0; i < 3; i++) {
        p->c[i].blank = false;
    }
    PitCounter first = p->c[0];
    pit_sync(&first, pit_now(p));
    bool was_inside = !p->rise && !timer_armed(&p->timer) && pit_next_rise(&first, pit_now(p));
    /* The line comes with the state: with an edge due that was not heard yet it is low, whatever OUT0 is. */
    if (p->inside.attached) {
        pit_update_irq(p);
    } else if (was_inside) { /* nobody waits for its edges yet */
        uint64_t owed = p->debt.owed;
        p->c[0] = first;
        pit_wait_for_edge(p);
        p->debt.owed = owed;
    }
    pit_replace_state(p);
    return true;
}

static void pit_describe(Device *dev, GString *out, int indent)
{
    Pit *p = dev_as(Pit, dev);
    Domain *d = domain_current() ? NULL : dev->domain;
    if (d) {
        domain_lock(d);
    }
    pit_pull(p);
    if (d) {
        domain_unlock(d);
    }
    for (unsigned i = 0; i < 3; i++) {
        PitCounter *c = &p->c[i];
        g_string_append_printf(out, "%*scounter %u: mode %u%s count %u gate %d out %d\n", indent, "", i,
                               c->mode, c->bcd ? " bcd" : "", c->count, c->gate, pit_out(c, pit_now(p)));
    }
}

static const VmField pit_counter_fields[] = {
    VM_U8_MAX(PitCounter, mode, 5),
    VM_U8_MAX(PitCounter, access, 3),
    VM_U8_MAX(PitCounter, bcd, 1),
    VM_U8(PitCounter, write_low),
    VM_BOOL(PitCounter, write_second),
    VM_BOOL(PitCounter, read_second),
    VM_BOOL(PitCounter, loaded),
    VM_BOOL(PitCounter, running),
    VM_BOOL(PitCounter, low_first),
    VM_BOOL(PitCounter, reload),
    VM_BOOL(PitCounter, gate),
    VM_BOOL(PitCounter, status_latched),
    VM_U8(PitCounter, status_latch),
    VM_U8_MAX(PitCounter, latch_left, 2),
    VM_U16(PitCounter, latch),
    VM_U32_MAX(PitCounter, count, 65536),
    VM_U32_MAX(PitCounter, active, 65536),
    VM_U64(PitCounter, start),
    VM_U64(PitCounter, switch_at),
    { 0 },
};
static const VmState pit_counter_state = {
    .name = "pit-counter", .version = 1, .oldest = 1, .fields = pit_counter_fields
};
static const char *const pit_policies[] = { "discard", "delay", NULL };
static const Prop pit_props[] = {
    PROP_ENUM(Pit, lost_tick_policy, "lost_tick_policy", LOST_DELAY, pit_policies,
              "Ticks that no CPU could take in time: discard, or delay (they follow)"),
    { 0 },
};
static const VmField pit_fields[] = { VM_STRUCT_ARRAY(Pit, c, pit_counter_state),
                                      VM_TIMER(Pit, timer),
                                      VM_TICK_DEBT(Pit, debt),
                                      VM_U64(Pit, rise),
                                      { 0 } };
static const VmState pit_state = { .name = "i8254",
                                   .version = 1,
                                   .oldest = 1,
                                   .fields = pit_fields,
                                   .pre_save = pit_pull,
                                   .post_load = pit_post_load };
static const IsaOps pit_isa = { .iobase = { 0x40 }, .irq = 0 };

const DeviceType i8254_type = {
    .name = "isa-pit",
    .desc = "8254 interval timer",
    .size = sizeof(Pit),
    .bus_type = &isa_bus_type,
    .bus_ops = &pit_isa,
    .internal = true,
    .props = pit_props,
    .vmstate = &pit_state,
    .realize = pit_realize,
    .reset = pit_reset,
    .reset_done = pit_reset_done,
    .describe = pit_describe,
};

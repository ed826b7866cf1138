/* SPDX-License-Identifier: MIT
 * hw/timer/i8254-inside.c - the 8254 while an accelerator has the chip (AccelChipUser): its state comes here
 *                 when somebody looks at it or the machine stops, and goes back.
 * Models:         counters as the accelerator tells them: what was written, and for how long they have
 *                 counted. A counter that nobody loaded since the state was last here keeps its place in
 *                 time, which the accelerator may not know or may have begun anew.
 * Does not model: where a counter 0 that the guest loaded is in its period: it begins when it is looked at
 *                 first.
 * Threads:        the device's domain, or the main loop while vCPUs are parked.
 */
#include "hw/timer/i8254_internal.h"

static bool pit_same_load(const PitImageCounter *a, const PitImageCounter *b)
{
    return a->known == b->known && a->mode == b->mode && a->access == b->access && a->bcd == b->bcd &&
           a->count == b->count && a->gate == b->gate && a->stamp == b->stamp;
}

/* A counter loaded since we last looked. */
static void pit_counter_in(Pit *p, PitCounter *c, const PitImageCounter *k)
{
    uint64_t now = pit_now(p), gone = k->age_ns < 0 ? 0 : MIN(pit_pulses(k->age_ns), now);
    c->blank = !k->known;
    c->mode = k->mode > 5 ? k->mode - 4 : k->mode;
    c->access = k->access ? k->access : 3;
    c->bcd = k->bcd;
    c->gate = k->gate;
    c->loaded = k->known;
    c->reload = c->low_first = false;
    c->count = c->loaded ? pit_decode(c, (uint16_t)k->count) : 0;
    c->active = c->count;
    c->running = c->loaded && (c->gate || pit_is_triggered(c));
    c->start = c->running ? now - gone : !c->loaded ? 0 : pit_is_periodic(c) ? gone % c->active : gone;
    c->switch_at = 0;
}

void pit_pull(void *opaque)
{
    Pit *p = opaque;
    Machine *m = p->dev.machine;
    PitImage k;
    if (!accel_chip_live(&p->inside) || !m->accel->irqchip->chip_get(m, CHIP_PIT, &k)) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(k.c); i++) {
        PitCounter *c = &p->c[i];
        if (!p->kept_valid || !pit_same_load(&k.c[i], &p->kept[i])) {
            pit_counter_in(p, c, &k.c[i]);
        }
        c->write_second = k.c[i].write_second;
        c->write_low = c->write_second ? k.c[i].write_low : 0;
        c->read_second = k.c[i].read_second;
        c->status_latched = k.c[i].status_latched;
        c->status_latch = k.c[i].status;
        c->latch_left = k.c[i].latch_left;
        c->latch = k.c[i].latch;
        p->kept[i] = k.c[i];
    }
    p->kept_valid = true;
    p->speaker = k.speaker;
    if (p->port61) {
        p->port61(p->port61_opaque, k.c[2].gate, k.speaker);
    }
}

/* What is left of a count that runs down once; else the count. */
static uint32_t pit_count_to_tell(const PitCounter *c, uint64_t now)
{
    if (!c->loaded) {
        return 65536;
    }
    uint32_t count = c->reload || !c->active ? c->count : c->active;
    bool once = c->mode == 0 || c->mode == 4 || (pit_is_triggered(c) && c->running);
    uint64_t e = once ? pit_elapsed(c, now) : 0;
    count = e >= count ? 1 : count - (uint32_t)e;
    uint16_t code = pit_to_code(c, count);
    return code ? code : 65536;
}

static void pit_tell(Pit *p, bool rest)
{
    Machine *m = p->dev.machine;
    uint64_t now = pit_now(p);
    PitImage k = { .speaker = p->speaker,
                   .replaced = p->replaced || rest,
                   .reinject = p->lost_tick_policy == LOST_DELAY };
    for (unsigned i = 0; i < G_N_ELEMENTS(k.c); i++) {
        const PitCounter *c = &p->c[i];
        k.c[i] = (PitImageCounter){
            .known = !c->blank,
            .mode = c->mode,
            .access = c->access,
            .bcd = c->bcd,
            .count = pit_count_to_tell(c, now),
            .gate = c->gate,
            .status_latched = c->status_latched,
            .write_second = c->write_second,
            .read_second = c->read_second,
            .status = c->status_latch,
            .write_low = c->write_low,
            .latch_left = c->latch_left,
            .latch = c->latch,
        };
    }
    p->kept_valid =
        m->accel->irqchip->chip_set(m, CHIP_PIT, &k) && m->accel->irqchip->chip_get(m, CHIP_PIT, &k);
    for (unsigned i = 0; i < G_N_ELEMENTS(k.c); i++) {
        p->kept[i] = k.c[i];
    }
}

static void pit_push(void *opaque)
{
    pit_tell(opaque, false);
}

/* The chip would go on while the machine stands: it is read, and its output cut. */
static void pit_stop(void *opaque)
{
    Pit *p = opaque;
    if (accel_chip_live(&p->inside)) {
        pit_pull(p);
        pit_tell(p, true);
        p->inside.fresh = true;
    }
}

void pit_changed(Pit *p)
{
    if (accel_chip_live(&p->inside)) {
        pit_tell(p, false);
    }
}

void pit_replace_state(Pit *p)
{
    p->kept_valid = false;
    accel_chip_changed(p->dev.machine, &p->inside);
}

static void pit_accel(void *opaque)
{
    Pit *p = opaque;
    p->kept_valid = false;
    bool was = p->inside.attached;
    if (accel_chip_attach(p->dev.machine, &p->inside) || was) {
        pit_update_irq(p);
    }
}

static void pit_gone(void *opaque)
{
    Pit *p = opaque;
    accel_chip_detach(p->dev.machine, &p->inside);
    machine_remove_listener(p->dev.machine, &p->listener);
}

bool pit_inside_init(Pit *p)
{
    Machine *m = p->dev.machine;
    p->inside = (AccelChipUser){
        .chip = CHIP_PIT, .pull = pit_pull, .push = pit_push, .stop = pit_stop, .opaque = p
    };
    p->listener = (MachineListener){ .accel = pit_accel, .opaque = p };
    accel_chip_attach(m, &p->inside);
    machine_add_listener(m, &p->listener);
    device_add_cleanup(&p->dev, pit_gone, p);
    return true;
}

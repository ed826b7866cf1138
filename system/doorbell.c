/* SPDX-License-Identifier: MIT
 * system/doorbell.c - doorbells: where they lie, and who is told when they ring.
 * Models: a doorbell lies where the flat view has its register, or nowhere; the accelerator is told of each
 *   change (DoorbellOps).
 * Threads: the list and descriptors belong to the main loop (and home loops), places to the topology lock.
 */
#include "internal.h"

#include "rhea/system/doorbell.h"
#include <sys/eventfd.h>
#include <unistd.h>

static bool works(const Machine *m)
{
    return m->priv->doorbell_ops && m->priv->vcpus_made;
}

void doorbells_provide(Machine *m, const DoorbellOps *ops)
{
    m->priv->doorbell_ops = ops;
}

static bool place_of(const Doorbell *d, const FlatView *v, hwaddr *at)
{
    for (uint32_t i = 0; v && i < v->n; i++) {
        const FlatRange *r = &v->r[i];
        if (r->region == d->region && d->off >= r->off && d->off - r->off < r->size) {
            *at = r->start + (d->off - r->off);
            return true;
        }
    }
    return false;
}

/* Topology lock held. */
static void settle(Machine *m, Doorbell *d)
{
    hwaddr at = 0;
    bool arm = d->open && place_of(d, as_view(d->io ? &m->as_io : &m->as_mem), &at);
    if (d->armed && (!arm || at != d->at)) {
        m->priv->doorbell_ops->watch(m, d, false);
        d->armed = false;
    }
    if (arm && !d->armed) {
        d->at = at;
        d->armed = m->priv->doorbell_ops->watch(m, d, true); /* else writes are dispatched */
    }
}

static void settle_locked(Machine *m, Doorbell *d)
{
    mem_begin(m);
    settle(m, d);
    mem_commit(m);
}

void doorbells_mapped(Machine *m)
{
    for (Doorbell *d = m->priv->doorbells; d; d = d->next) {
        settle(m, d);
    }
}

static void hear(void *opaque, unsigned revents G_GNUC_UNUSED)
{
    Doorbell *d = opaque;
    uint64_t n;
    if (read(d->fd, &n, sizeof(n)) == (ssize_t)sizeof(n)) {
        __atomic_add_fetch(&d->rung, 1, __ATOMIC_RELAXED);
        domain_lock(d->owner->domain);
        d->ring(d->opaque);
        domain_unlock(d->owner->domain);
    }
}

/* On the loop that will hear it. */
static void listen_there(void *opaque)
{
    Doorbell *d = opaque;
    fd_watch_add(domain_loop(d->owner->domain), &d->watch, NULL);
}

static void deaf_there(void *opaque)
{
    Doorbell *d = opaque;
    fd_watch_remove(&d->watch);
}

static void on_home_loop(Machine *m, Doorbell *d, void (*fn)(void *opaque))
{
    Loop *home = domain_loop(d->owner->domain);
    if (home == m->loop) { /* perhaps nobody runs it yet */
        fn(d);
    } else {
        loop_call(home, fn, d);
    }
}

static void open_one(Machine *m, Doorbell *d)
{
    if (d->open || !works(m)) {
        return;
    }
    d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->watch = (FdWatch){ .fd = d->fd, .events = LOOP_IN, .ready = hear, .opaque = d };
    if (d->fd >= 0) {
        on_home_loop(m, d, listen_there);
    }
    if (d->fd < 0 || !d->watch.loop) {
        if (d->fd >= 0) {
            close(d->fd);
        }
        return; /* no descriptors are left: writes are dispatched */
    }
    d->open = true;
    settle_locked(m, d);
}

static void close_one(Machine *m, Doorbell *d)
{
    if (d->open) {
        d->open = false;
        settle_locked(m, d);
        on_home_loop(m, d, deaf_there);
        close(d->fd);
    }
}

void doorbell_add(Doorbell *d, Device *owner)
{
    Machine *m = owner->machine;
    role_assert_main();
    d->owner = owner;
    mem_begin(m);
    d->next = m->priv->doorbells;
    m->priv->doorbells = d;
    mem_commit(m);
    open_one(m, d);
}

void doorbell_remove(Doorbell *d)
{
    Machine *m = d->owner->machine;
    role_assert_main();
    close_one(m, d);
    mem_begin(m);
    for (Doorbell **at = &m->priv->doorbells; *at; at = &(*at)->next) {
        if (*at == d) {
            *at = d->next;
            break;
        }
    }
    mem_commit(m);
}

void doorbells_open(Machine *m)
{
    for (Doorbell *d = m->priv->doorbells; d; d = d->next) {
        open_one(m, d);
    }
}

void doorbells_flush(Machine *m)
{
    for (Doorbell *d = m->priv->doorbells, *next; d; d = next) {
        next = d->next;
        if (d->open) {
            hear(d, 0);
        }
    }
}

void doorbells_close(Machine *m)
{
    doorbells_flush(m);
    for (Doorbell *d = m->priv->doorbells; d; d = d->next) {
        close_one(m, d);
    }
}

unsigned doorbells_count(Machine *m, uint64_t *rung)
{
    unsigned n = 0;
    *rung = 0;
    for (Doorbell *d = m->priv->doorbells; d; d = d->next) {
        n += d->armed;
        *rung += __atomic_load_n(&d->rung, __ATOMIC_RELAXED);
    }
    return n;
}

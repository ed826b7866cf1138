/* SPDX-License-Identifier: MIT
 * backends/char/port.c - the front-end side of character devices: bounded rings both ways, delivery by
 * posting.
 *
 * Threads: char_write(), char_accept_input() and the callbacks: the port's domain, or the main loop for ports
 * without one. Connecting and detaching: main loop.
 */
#include "char_internal.h"
#include "rhea/util/errorcode.h"
#include <string.h>

/* ---- front-end side ---- */

static void port_private_free(void *opaque)
{
    CharPortPrivate *p = opaque;
    ring_fini(&p->in);
    g_free(p->holder);
    g_free(p);
}

static void port_post_deliver(CharPortPrivate *p)
{
    if (p->port->domain) {
        domain_post(&p->deliver_domain);
    } else {
        loop_post(p->chr->loop, &p->deliver_loop);
    }
}

void char_port_post_writable(CharPortPrivate *p)
{
    if (p->port->domain) {
        domain_post(&p->writable_domain);
    } else {
        loop_post(p->chr->loop, &p->writable_loop);
    }
}

/* Takes the next event whose place in the byte stream has been reached; else says how many bytes may go
 * before the next event. */
static bool port_next_locked(CharPortPrivate *p, CharEvent *event, size_t *avail)
{
    *avail = p->in.used;
    if (p->n_events) {
        uint64_t before = p->events[0].at - p->in_taken;
        if (before == 0) {
            *event = p->events[0].event;
            p->n_events--;
            memmove(p->events, p->events + 1, p->n_events * sizeof(p->events[0]));
            return true;
        }
        *avail = MIN(*avail, before);
    }
    return false;
}

/* In the port's domain: hands over what waits, as far as the front end has room. */
static void port_deliver(void *opaque)
{
    CharPortPrivate *p = opaque;
    Chardev *c = p->chr;
    bool took = false;
    p->running++;
    while (!p->dead && p->ready && p->port->handler) {
        const CharHandler *h = p->port->handler;
        CharEvent event;
        size_t avail;
        pthread_mutex_lock(&c->lock);
        bool is_event = port_next_locked(p, &event, &avail);
        pthread_mutex_unlock(&c->lock);
        if (is_event) {
            if (h->event) {
                h->event(p->port->opaque, event);
            }
            continue;
        }
        if (!avail) {
            break;
        }
        uint8_t buf[CHAR_IO_CHUNK];
        size_t room = h->room ? h->room(p->port->opaque) : 1;
        size_t want = MIN(MIN(avail, room), sizeof(buf));
        if (!want) {
            break;
        }
        pthread_mutex_lock(&c->lock);
        size_t n = ring_peek(&p->in, 0, buf, want);
        ring_drop(&p->in, n);
        p->in_taken += n;
        pthread_mutex_unlock(&c->lock);
        took = true;
        if (h->receive) {
            h->receive(p->port->opaque, buf, n);
        }
    }
    p->running--;
    if (p->dead) { /* a callback detached the port */
        if (!p->running) { /* else this was a turn of the loop inside another delivery, which looks too */
            port_private_free(p);
        }
    } else if (took) {
        loop_post(c->loop, &c->resume);
    }
}

static void port_writable(void *opaque)
{
    CharPortPrivate *p = opaque;
    if (p->dead) {
        return;
    }
    void (*cb)(void *) = p->writable_cb;
    p->writable_cb = NULL;
    if (cb) {
        cb(p->port->opaque);
    }
}

void char_port_push(CharPortPrivate *p, const uint8_t *buf, size_t len)
{
    pthread_mutex_lock(&p->chr->lock);
    p->in_pushed += ring_push(&p->in, buf, len);
    pthread_mutex_unlock(&p->chr->lock);
    if (p->ready) {
        port_post_deliver(p);
    }
}

/* Focus that came and went before the front end looked is no event. */
static bool cancel_mux_in_locked(CharPortPrivate *p)
{
    for (unsigned i = 0; i < p->n_events; i++) {
        if (p->events[i].event == CHAR_MUX_IN) {
            p->n_events--;
            memmove(p->events + i, p->events + i + 1, (p->n_events - i) * sizeof(p->events[0]));
            return true;
        }
    }
    return false;
}

void char_port_event(CharPortPrivate *p, CharEvent event)
{
    pthread_mutex_lock(&p->chr->lock);
    if (event == CHAR_MUX_OUT && cancel_mux_in_locked(p)) {
        /* nothing to say */
    } else { /* a front end that does not look learns how it ended */
        p->n_events -= p->n_events == CHAR_EVENTS && (event == CHAR_OPENED || event == CHAR_CLOSED);
        if (p->n_events < CHAR_EVENTS) {
            p->events[p->n_events].event = event;
            p->events[p->n_events++].at = p->in_pushed;
        }
    }
    pthread_mutex_unlock(&p->chr->lock);
    if (p->ready) {
        port_post_deliver(p);
    }
}

/* The one that is answered has gone, which the front end has not heard of yet. */
static bool port_is_late_locked(const CharPortPrivate *p)
{
    for (unsigned i = 0; p->port->handler && p->port->handler->answers && i < p->n_events; i++) {
        if (p->events[i].event == CHAR_CLOSED) {
            return true;
        }
    }
    return false;
}

size_t char_write(CharPort *p, const uint8_t *buf, size_t len)
{
    CharPortPrivate *priv = p->priv;
    if (!priv) {
        return len; /* nothing connected: like a line without a cable */
    }
    Chardev *c = priv->chr;
    pthread_mutex_lock(&c->lock);
    size_t n = port_is_late_locked(priv)   ? len
               : c->mux && c->m.stamps ? mux_push_locked(c, buf, len)
                                       : ring_push(&c->out, buf, len);
    c->out_full |= n < len;
    pthread_mutex_unlock(&c->lock);
    loop_post(c->loop, &c->flush);
    return n;
}

void char_notify_writable(CharPort *p, void (*cb)(void *opaque))
{
    CharPortPrivate *priv = p->priv;
    if (!priv) {
        return;
    }
    Chardev *c = priv->chr;
    priv->writable_cb = cb;
    pthread_mutex_lock(&c->lock);
    bool room = ring_room(&c->out) > 0;
    c->out_full |= !room;
    pthread_mutex_unlock(&c->lock);
    if (room) {
        char_port_post_writable(priv);
    }
}

void char_attach(CharPort *p, const CharHandler *h, void *opaque, Domain *domain)
{
    p->handler = h;
    p->opaque = opaque;
    p->domain = domain;
    CharPortPrivate *priv = p->priv;
    if (!priv) {
        return;
    }
    if (domain) {
        domain_task_init(&priv->deliver_domain, domain, port_deliver, priv);
        domain_task_init(&priv->writable_domain, domain, port_writable, priv);
    }
    priv->ready = true;
    char_port_set_open(p, true);
    Chardev *c = priv->chr;
    if (c->mux) {
        mux_set_focus(c, priv->tag);
    }
    if (c->open) {
        char_port_event(priv, CHAR_OPENED);
    }
    port_post_deliver(priv);
    loop_post(c->loop, &c->resume);
}

void char_accept_input(CharPort *p)
{
    CharPortPrivate *priv = p->priv;
    if (priv && priv->ready && __atomic_load_n(&priv->in.used, __ATOMIC_RELAXED)) {
        port_post_deliver(priv);
    }
}

void char_port_set_open(CharPort *p, bool open)
{
    if (p->priv) {
        Chardev *c = p->priv->chr;
        __atomic_store_n(&p->priv->open, open, __ATOMIC_RELAXED);
        if (c->backend->front) {
            loop_post(c->loop, &c->front);
        }
    }
}

bool char_is_open(const CharPort *p)
{
    return p->priv && __atomic_load_n(&p->priv->chr->open, __ATOMIC_RELAXED);
}

void char_set_serial(CharPort *p, const CharSerialParams *params)
{
    if (p->priv && p->priv->chr->backend->set_serial) {
        p->priv->chr->backend->set_serial(p->priv->chr, params);
    }
}

void char_port_set_holder(CharPort *p, const char *name)
{
    if (p->priv) {
        g_free(p->priv->holder);
        p->priv->holder = g_strdup(name);
    }
}

/* MAIN_LOOP. Tasks may be queued on another thread's loop: the structure is then freed there, behind them. */
void char_detach(CharPort *p)
{
    CharPortPrivate *priv = p->priv;
    p->handler = NULL;
    if (!priv) {
        return;
    }
    Chardev *c = priv->chr;
    unsigned tag = priv->tag;
    pthread_mutex_lock(&c->lock);
    c->fe[tag] = NULL;
    c->n_fe--;
    pthread_mutex_unlock(&c->lock);
    p->priv = NULL;
    p->be = NULL;
    priv->dead = true;
    Loop *home = p->domain ? domain_loop(p->domain) : c->loop;
    if (home == c->loop) {
        loop_unpost(home, &priv->deliver_domain.task);
        loop_unpost(home, &priv->writable_domain.task);
        loop_unpost(home, &priv->deliver_loop);
        loop_unpost(home, &priv->writable_loop);
        if (!priv->running) {
            port_private_free(priv);
        }
    } else {
        priv->reap = (Task){ .run = port_private_free, .opaque = priv };
        loop_post(home, &priv->reap);
    }
    if (c->mux && c->focus == tag) {
        for (unsigned i = 0; i < CHAR_MUX_PORTS; i++) {
            if (c->fe[i]) {
                mux_set_focus(c, i);
                break;
            }
        }
    }
}

/* ---- connecting ---- */

static char *find_holder(Device *dev, const CharPort *port)
{
    for (const DeviceType *t = dev->type; t; t = t->base) {
        for (const Prop *p = t->props; p && p->name; p++) {
            if (p->kind == PROP_CHARDEV_ && (const char *)dev + p->offset == (const char *)port) {
                return g_strdup_printf("device '%s'", device_name(dev));
            }
        }
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        char *found = find_holder(dev->children->pdata[i], port);
        if (found) {
            return found;
        }
    }
    return NULL;
}

char *chardev_holder(const Chardev *c)
{
    for (unsigned i = 0; i < CHAR_MUX_PORTS; i++) {
        if (c->fe[i]) {
            char *found = c->fe[i]->holder ? g_strdup(c->fe[i]->holder)
                        : c->machine->root ? find_holder(c->machine->root, c->fe[i]->port) : NULL;
            return found ? found : g_strdup("another device of this command line");
        }
    }
    return NULL;
}

bool chardev_connect(Chardev *c, CharPort *port, Error **errp)
{
    role_assert_main();
    if (port->priv) {
        return error_fail(errp, "in-use", "chardev", "leave it out, or remove the device first",
                          "this front end already uses chardev '%s'", port->priv->chr->id);
    }
    unsigned limit = c->mux ? CHAR_MUX_PORTS : 1, tag = 0;
    while (tag < limit && c->fe[tag]) {
        tag++;
    }
    if (tag == limit) {
        g_autofree char *holder = chardev_holder(c);
        if (c->mux) {
            return error_fail(errp, "too-many", "chardev", "use another chardev",
                              "chardev '%s' has %d front ends already, no more can share it", c->id,
                              CHAR_MUX_PORTS);
        }
        error_fail(errp, "in-use", "chardev", NULL, "chardev '%s' is already in use by %s", c->id, holder);
        error_hint(errp, "mux=on lets up to %d front ends share a chardev", CHAR_MUX_PORTS);
        return false;
    }
    CharPortPrivate *p = g_new0(CharPortPrivate, 1);
    p->chr = c;
    p->port = port;
    p->tag = tag;
    ring_init(&p->in, CHAR_IN_BYTES);
    p->deliver_loop = (Task){ .run = port_deliver, .opaque = p };
    p->writable_loop = (Task){ .run = port_writable, .opaque = p };
    port->priv = p;
    port->be = c;
    pthread_mutex_lock(&c->lock);
    c->fe[tag] = p;
    c->n_fe++;
    pthread_mutex_unlock(&c->lock);
    return true;
}

/* SPDX-License-Identifier: MIT
 * backends/char/change.c - a chardev becomes another one, and what uses it does not notice more than that the
 * other end went and came.
 *
 * Models: QEMU's chardev-change: a new back end takes the id and the front end of the old one, which stays as
 *         it is when the new one cannot be made.
 * Does not model: shared chardevs (mux=on). Front ends on the main loop (monitors, GDB) stay where they are.
 * Threads: main loop, no domain held.
 */
#include "char_internal.h"
#include "rhea/util/errorcode.h"

static bool can_change(const Chardev *old, const CharConfig *cfg, Error **errp)
{
    const CharPortPrivate *p = old->fe[0];
    if (old->mux || cfg->mux) {
        error_fail(errp, "conflict", NULL, NULL,
                   "chardev '%s' is%s shared (mux=on), which it cannot be for a change", old->id,
                   old->mux ? "" : " to be");
        error_hint(errp, "use a chardev without mux=on");
        return false;
    }
    if (p && !p->port->domain) {
        g_autofree char *holder = chardev_holder(old);
        error_fail(errp, "in-use", "id", NULL,
                   "chardev '%s' is in use by %s, which cannot be moved to another one", old->id, holder);
        error_hint(errp, "add another chardev, and use that");
        return false;
    }
    return true;
}

/* With the front end's domain, nobody but us looks at where it leads. What it was sent already stays. */
static void move_port(CharPortPrivate *p, Chardev *from, Chardev *to)
{
    domain_lock(p->port->domain);
    pthread_mutex_lock(&from->lock);
    from->fe[0] = NULL;
    from->n_fe = 0;
    pthread_mutex_unlock(&from->lock);
    pthread_mutex_lock(&to->lock);
    to->fe[0] = p;
    to->n_fe = 1;
    p->chr = to;
    p->port->be = to;
    pthread_mutex_unlock(&to->lock);
    to->wants_fds = from->wants_fds;
    if (from->open) {
        char_port_event(p, CHAR_CLOSED);
    }
    if (to->open) {
        char_port_event(p, CHAR_OPENED);
    }
    if (p->writable_cb) {
        char_port_post_writable(p);
    }
    domain_unlock(p->port->domain);
}

Chardev *chardev_change(Machine *m, const char *id, const CharConfig *cfg, Error **errp)
{
    Chardev *old = chardev_find(m, id);
    if (!old) {
        error_fail(errp, "not-found", "id", NULL, "there is no chardev with id '%s'", id);
        chardev_id_hint(m, id, errp);
        return NULL;
    }
    if (!can_change(old, cfg, errp)) {
        return NULL;
    }
    Chardev *c = chardev_open(m, id, cfg, errp);
    if (!c) {
        return NULL;
    }
    if (old->fe[0]) {
        move_port(old->fe[0], old, c);
    }
    guint place;
    g_ptr_array_find(m->chardevs, old, &place);
    m->chardevs->pdata[place] = c;
    chardev_close(old);
    chardev_update_watch(c);
    return c;
}

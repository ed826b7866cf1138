/* SPDX-License-Identifier: MIT
 * net/announce.c - announce-self: cards tell the network where they are, in several rounds.
 *
 * Models: QEMU's command of this name: the first round at once, pauses that grow by a step up to a maximum. A
 *         driver that can is asked to speak itself; for others a RARP frame is sent (RFC 903).
 * Threads: main loop.
 */
#include "net_internal.h"

typedef struct Announcement {
    MachineNet *net;
    char *id;
    GStrv cards; /* NULL: all */
    Timer timer;
    int64_t pause_ms, step_ms, max_ms, rounds;
} Announcement;

static void announcement_free(Announcement *a)
{
    timer_cancel(&a->timer);
    g_ptr_array_remove(a->net->announcements, a);
    g_strfreev(a->cards);
    g_free(a->id);
    g_free(a);
}

static void announce_round(void *opaque)
{
    Announcement *a = opaque;
    GPtrArray *all = a->net->clients;
    for (guint i = 0; i < all->len; i++) {
        NetClient *c = all->pdata[i];
        if (c->kind == &net_nic_kind &&
            (!a->cards || g_strv_contains((const char *const *)a->cards, c->name))) {
            net_nic_announce(c);
        }
    }
    if (--a->rounds <= 0) {
        announcement_free(a);
        return;
    }
    timer_arm(&a->timer, clock_now(&clock_host_monotonic) + a->pause_ms * 1000000);
    a->pause_ms = MIN(a->pause_ms + a->step_ms, a->max_ms);
}

void net_announce_stop(MachineNet *n)
{
    while (n->announcements->len) {
        announcement_free(n->announcements->pdata[0]);
    }
}

void net_announce(Machine *m, const AnnounceParameters *p)
{
    role_assert_main();
    MachineNet *n = m->net;
    if (!n) { /* nobody to announce, and what there is goes with its last client */
        return;
    }
    const char *id = p->id ? p->id : "";
    for (guint i = 0; i < n->announcements->len; i++) {
        Announcement *old = n->announcements->pdata[i];
        if (g_str_equal(old->id, id)) { /* it begins anew */
            announcement_free(old);
            break;
        }
    }
    Announcement *a = g_new0(Announcement, 1);
    *a = (Announcement){ .net = n,
                         .id = g_strdup(id),
                         .pause_ms = p->initial,
                         .step_ms = p->step,
                         .max_ms = p->max,
                         .rounds = p->rounds };
    if (p->interfaces.n) {
        a->cards = g_new0(char *, p->interfaces.n + 1);
        for (size_t i = 0; i < p->interfaces.n; i++) {
            a->cards[i] = g_strdup(p->interfaces.items[i]);
        }
    }
    timer_init(&a->timer, m->loop, &clock_host_monotonic, announce_round, a);
    g_ptr_array_add(n->announcements, a);
    announce_round(a);
}

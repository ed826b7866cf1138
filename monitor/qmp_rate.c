/* SPDX-License-Identifier: MIT
 * monitor/qmp_rate.c - see qmp_rate.h.
 *
 * Models: QEMU 7.2's table of events that are limited, of those that are here.
 * Threads: main loop.
 */
#include "qmp_rate.h"

enum { RATE_NS = 1000 * 1000 * 1000 };

/* Not VSERPORT_CHANGE, which QEMU limits for each port: who waits for a port to be opened must not wait for
 * the second to end. */
static const char *const limited[] = { "BALLOON_CHANGE", "RTC_CHANGE", "WATCHDOG", NULL };

typedef struct Held {
    QmpRate *rate;
    Timer timer;   /* armed: one was sent within the last second */
    Json *waiting; /* NULL: none came since */
} Held;

static void held_free(void *opaque)
{
    Held *h = opaque;
    timer_cancel(&h->timer);
    json_unref(h->waiting);
    g_free(h);
}

void qmp_rate_init(QmpRate *r, Loop *loop, void (*send)(void *opaque, Json *message), void *opaque)
{
    *r = (QmpRate){ .loop = loop, .clock = &clock_host_monotonic, .send = send, .opaque = opaque };
    r->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, held_free);
}

void qmp_rate_fini(QmpRate *r)
{
    g_clear_pointer(&r->held, g_hash_table_destroy);
}

void qmp_rate_clear(QmpRate *r)
{
    g_hash_table_remove_all(r->held);
}

static void held_send(Held *h, Json *message)
{
    timer_arm(&h->timer, clock_now(h->rate->clock) + RATE_NS);
    h->rate->send(h->rate->opaque, message); /* the last: it may end the session's client */
}

static void held_due(void *opaque)
{
    Held *h = opaque;
    Json *message = g_steal_pointer(&h->waiting);
    if (message) {
        held_send(h, message);
    }
}

/* NULL: this event is not limited. */
static Held *held_find(QmpRate *r, const char *name)
{
    Held *h = g_hash_table_lookup(r->held, name);
    if (h || !g_strv_contains(limited, name)) {
        return h;
    }
    h = g_new0(Held, 1);
    h->rate = r;
    timer_init(&h->timer, r->loop, r->clock, held_due, h);
    g_hash_table_insert(r->held, g_strdup(name), h);
    return h;
}

void qmp_rate_event(QmpRate *r, const char *name, Json *message)
{
    Held *h = held_find(r, name);
    if (!h) {
        r->send(r->opaque, message);
    } else if (timer_armed(&h->timer)) {
        json_unref(h->waiting);
        h->waiting = message;
    } else {
        held_send(h, message);
    }
}

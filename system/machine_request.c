/* SPDX-License-Identifier: MIT
 * system/machine_request.c - what devices and vCPUs ask of the machine, done on the main loop; events.
 * Models: QEMU's -action, -no-reboot, -no-shutdown and the events and reasons QMP clients know. Unlike there,
 *         -action watchdog=poweroff tells of its end by SHUTDOWN as well.
 * Threads: requests from any thread, noted under the leaf lock; carried out on the main loop.
 */
#include "internal.h"
#include "system/trace.h"
#include "rhea/system/busy.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "schema/options.h"

typedef struct QueuedEvent {
    const char *name;
    Json *data;
} QueuedEvent;

typedef struct PowerdownHook {
    void (*fn)(void *opaque);
    void *opaque;
} PowerdownHook;

const char *shutdown_reason(ShutdownCause c)
{
    switch (c) {
    case SHUTDOWN_NONE: return "none";
    case SHUTDOWN_GUEST_SHUTDOWN:
    case SHUTDOWN_DEBUG_EXIT:
    case SHUTDOWN_WATCHDOG: return "guest-shutdown";
    case SHUTDOWN_GUEST_RESET: return "guest-reset";
    case SHUTDOWN_GUEST_PANIC: return "guest-panic";
    case SHUTDOWN_HOST_QUIT: return "host-qmp-quit";
    case SHUTDOWN_HOST_SIGNAL: return "host-signal";
    case SHUTDOWN_HOST_RESET: return "host-qmp-system-reset";
    case SHUTDOWN_HOST_ERROR: return "host-error";
    }
    return "none";
}

bool shutdown_by_guest(ShutdownCause c)
{
    return c == SHUTDOWN_GUEST_SHUTDOWN || c == SHUTDOWN_GUEST_RESET || c == SHUTDOWN_GUEST_PANIC ||
           c == SHUTDOWN_DEBUG_EXIT || c == SHUTDOWN_WATCHDOG;
}

/* ---- events ---- */

static void trace_event(const char *name, const Json *data)
{
    g_autofree char *text = data ? json_format(data, false) : NULL;
    trace_machine_event(name, text);
}

static void deliver(Machine *m, const char *name, const Json *data)
{
    if (trace_machine_event_on()) {
        trace_event(name, data);
    }
    for (GSList *l = m->listeners, *next; l; l = next) {
        next = l->next;
        MachineListener *lis = l->data;
        if (lis->event) {
            lis->event(lis->opaque, name, data);
        }
    }
}

static void deliver_queued(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        QueuedEvent *e = g_queue_pop_head(&p->events);
        pthread_mutex_unlock(&p->lock);
        if (!e) {
            return;
        }
        deliver(m, e->name, e->data);
        json_unref(e->data);
        g_free(e);
    }
}

/* Names are literals. On the main loop and outside any domain the event is told at once, after those that
 * wait; else it waits for the main loop. A flood from the guest is bounded: the oldest wait, new ones go. */
void machine_event(Machine *m, const char *name, Json *data)
{
    enum { EVENTS_MAX = 1024 };
    struct MachinePrivate *p = m->priv;
    QueuedEvent *e = g_new(QueuedEvent, 1);
    *e = (QueuedEvent){ .name = name, .data = data };
    pthread_mutex_lock(&p->lock);
    bool room = p->events.length < EVENTS_MAX;
    if (room) {
        g_queue_push_tail(&p->events, e);
    }
    pthread_mutex_unlock(&p->lock);
    if (!room) {
        json_unref(data);
        g_free(e);
    } else if (role_is_main() && !domain_current()) {
        deliver_queued(m);
    } else {
        loop_post(m->loop, &p->request_task);
    }
}

void machine_add_listener(Machine *m, MachineListener *l)
{
    role_assert_main();
    m->listeners = g_slist_append(m->listeners, l);
}

void machine_add_first_listener(Machine *m, MachineListener *l)
{
    role_assert_main();
    m->listeners = g_slist_prepend(m->listeners, l);
}

void machine_remove_listener(Machine *m, MachineListener *l)
{
    role_assert_main();
    m->listeners = g_slist_remove(m->listeners, l);
}

static Json *reason_data(ShutdownCause c)
{
    Json *d = json_new_object();
    json_put(d, "guest", json_new_bool(shutdown_by_guest(c)));
    return json_put(d, "reason", json_new_string(shutdown_reason(c)));
}

/* ---- asking ---- */

/* The first cause is the one that is told. */
static void want_shutdown(Machine *m, ShutdownCause cause, int exit_status, Json *panic_info)
{
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    if (!p->wanted.shutdown) {
        p->wanted.shutdown = cause;
        p->wanted.exit_status = exit_status;
        p->wanted.panic_info = g_steal_pointer(&panic_info);
    }
    pthread_mutex_unlock(&p->lock);
    json_unref(panic_info);
    loop_post(m->loop, &p->request_task);
}

void machine_request_shutdown(Machine *m, ShutdownCause cause, int exit_status)
{
    want_shutdown(m, cause, exit_status, NULL);
}

void machine_request_panic(Machine *m, Json *info)
{
    want_shutdown(m, SHUTDOWN_GUEST_PANIC, 0, info);
}

void machine_request_reset(Machine *m, ShutdownCause cause)
{
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    p->wanted.reset = cause;
    pthread_mutex_unlock(&p->lock);
    loop_post(m->loop, &p->request_task);
}

void machine_request_powerdown(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    p->wanted.powerdown = true;
    pthread_mutex_unlock(&p->lock);
    loop_post(m->loop, &p->request_task);
}

void machine_request_stop(Machine *m, RunState why)
{
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    p->wanted.stop = true;
    p->wanted.stop_why = why;
    pthread_mutex_unlock(&p->lock);
    loop_post(m->loop, &p->request_task);
}

void machine_watchdog_expired(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    p->wanted.watchdog = true;
    pthread_mutex_unlock(&p->lock);
    loop_post(m->loop, &p->request_task);
}

bool machine_inject_nmi(Machine *m, Error **errp)
{
    if (!m->nmi) {
        return error_fail(errp, "no-cpu", NULL, "use a machine type with a local APIC, such as pc",
                          "this machine has no CPU that takes an NMI");
    }
    m->nmi(m);
    return true;
}

/* ---- doing ---- */

/* Most actions are what somebody else might have asked for. */
static void heed_watchdog(Machine *m, MachineWants *w)
{
    machine_event(m, "WATCHDOG", json_put(json_new_object(), "action",
                                          json_new_string(watchdog_action_names[m->action.watchdog])));
    switch ((WatchdogAction)m->action.watchdog) {
    case WATCHDOG_ACTION_RESET: w->reset = w->reset ? w->reset : SHUTDOWN_GUEST_RESET; break;
    case WATCHDOG_ACTION_SHUTDOWN: w->powerdown = true; break;
    case WATCHDOG_ACTION_POWEROFF: w->shutdown = w->shutdown ? w->shutdown : SHUTDOWN_WATCHDOG; break;
    case WATCHDOG_ACTION_PAUSE:
        w->stop = true;
        w->stop_why = RUN_WATCHDOG;
        break;
    case WATCHDOG_ACTION_DEBUG: log_info("watchdog: timer fired"); break;
    case WATCHDOG_ACTION_INJECT_NMI: machine_inject_nmi(m, NULL); break;
    case WATCHDOG_ACTION_NONE: break;
    }
}

static void panic_event(Machine *m, const char *action, Json *info)
{
    Json *data = json_put(json_new_object(), "action", json_new_string(action));
    if (info) {
        json_put(data, "info", info);
    }
    machine_event(m, "GUEST_PANICKED", data);
}

/* True when the panic goes on to a shutdown. */
static bool do_panic(Machine *m, Json *info)
{
    if (m->action.panic_none) {
        panic_event(m, "run", info);
        return false;
    }
    if (m->action.panic_pause || (m->action.no_shutdown && !m->action.panic_exit_failure)) {
        panic_event(m, "pause", info);
        machine_stop(m, RUN_GUEST_PANICKED);
        return false;
    }
    panic_event(m, "poweroff", info);
    machine_stop(m, RUN_GUEST_PANICKED);
    return true;
}

static void do_shutdown(Machine *m, ShutdownCause cause, int exit_status, Json *panic_info)
{
    struct MachinePrivate *p = m->priv;
    if (cause == SHUTDOWN_GUEST_PANIC) {
        if (!do_panic(m, panic_info)) {
            return;
        }
        exit_status = m->action.panic_exit_failure ? 1 : exit_status;
    }
    machine_event(m, "SHUTDOWN", reason_data(cause));
    bool stays = m->action.no_shutdown && (cause == SHUTDOWN_GUEST_SHUTDOWN ||
                                           cause == SHUTDOWN_GUEST_RESET || cause == SHUTDOWN_HOST_RESET);
    p->exit_status = stays ? p->exit_status : exit_status; /* who listens to the state may ask */
    machine_stop(m, stays ? RUN_SHUTDOWN : RUN_FINISHED);
    if (!stays) {
        p->quitting = true;
        loop_quit(m->loop);
    }
}

static void do_reset(Machine *m, ShutdownCause cause)
{
    machine_reset(m, RESET_WARM);
    machine_event(m, "RESET", reason_data(cause));
    if (!machine_running(m)) {
        machine_set_state(m, RUN_PRELAUNCH);
    }
}

static void do_powerdown(Machine *m) TSA_NO_ANALYSIS
{
    machine_event(m, "POWERDOWN", NULL);
    for (GSList *l = m->priv->powerdown_hooks; l; l = l->next) {
        PowerdownHook *h = l->data;
        domain_lock(m->platform);
        h->fn(h->opaque);
        domain_unlock(m->platform);
    }
}

static void run_requests(void *opaque)
{
    Machine *m = opaque;
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    MachineWants w = p->wanted;
    p->wanted = (MachineWants){ 0 };
    pthread_mutex_unlock(&p->lock);
    deliver_queued(m);
    if (p->quitting) {
        json_unref(w.panic_info);
        return;
    }
    if (w.watchdog) {
        heed_watchdog(m, &w);
    }
    if (w.reset && m->action.reboot_is_shutdown && !w.shutdown) {
        w.shutdown = w.reset;
    }
    if (w.shutdown) {
        do_shutdown(m, w.shutdown, w.exit_status, w.panic_info);
        if (p->quitting) {
            return;
        }
    }
    if (w.reset && !m->action.reboot_is_shutdown) {
        do_reset(m, w.reset);
    }
    if (w.powerdown) {
        do_powerdown(m);
    }
    /* What a vCPU hit when somebody else was just stopping the machine is told later, or comes again. */
    bool stale = w.stop_why == RUN_DEBUG && (w.reset || !machine_running(m));
    if (w.stop && !stale) {
        machine_stop(m, w.stop_why);
    }
}

int machine_exit_status(const Machine *m)
{
    if (m->priv->exit_status == 0 && m->accel && m->accel->failed && m->accel->failed(m)) {
        return 1;
    }
    return m->priv->exit_status;
}

void machine_on_powerdown(Machine *m, void (*fn)(void *opaque), void *opaque)
{
    PowerdownHook *h = g_new(PowerdownHook, 1);
    *h = (PowerdownHook){ .fn = fn, .opaque = opaque };
    m->priv->powerdown_hooks = g_slist_append(m->priv->powerdown_hooks, h);
}

void machine_requests_init(Machine *m)
{
    m->priv->request_task = (Task){ .run = run_requests, .opaque = m };
}

void machine_requests_fini(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    loop_unpost(m->loop, &p->request_task);
    QueuedEvent *e;
    while ((e = g_queue_pop_head(&p->events))) {
        json_unref(e->data);
        g_free(e);
    }
    g_slist_free_full(p->powerdown_hooks, g_free);
}

/* ---- work for whose time the machine stands ---- */

void machine_set_busy(Machine *m, const char *why)
{
    role_assert_main();
    m->priv->busy = why;
}

const char *machine_busy(const Machine *m)
{
    return m->priv->busy;
}

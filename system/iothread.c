/* SPDX-License-Identifier: MIT
 * system/iothread.c - I/O threads: a loop, a thread that runs it, and a domain at home there.
 *
 * Models: -object iothread. Does not model: threads shared by machines; a CPU affinity of their own (taskset
 *         takes the thread-id that query-iothreads tells).
 * Threads: main loop; what runs on the threads is the devices'.
 */
#include "internal.h"

#include "rhea/system/iothread.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/rcu.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct IoThread {
    char *id;
    IoThreadPoll poll;
    Loop *loop;
    Domain *domain;
    pthread_t thread;
    int tid;
    unsigned users; /* properties that name it */
};

/* ---- the thread ---- */

static void *iothread_main(void *opaque)
{
    IoThread *t = opaque;
    char name[16];
    g_snprintf(name, sizeof(name), "IO %s", t->id);
    pthread_setname_np(pthread_self(), name);
    rcu_register_thread();
    loop_run(t->loop);
    rcu_unregister_thread();
    return NULL;
}

static void note_tid(void *opaque)
{
    IoThread *t = opaque;
    t->tid = (int)syscall(SYS_gettid);
}

static void iothread_free(IoThread *t)
{
    loop_quit(t->loop);
    pthread_join(t->thread, NULL);
    loop_free(t->loop);
    domain_free(t->domain);
    g_free(t->id);
    g_free(t);
}

/* Signals are the main thread's business. */
static int start(IoThread *t)
{
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int err = pthread_create(&t->thread, NULL, iothread_main, t);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    return err;
}

bool iothread_new(Machine *m, const char *id, IoThreadPoll poll, Error **errp)
{
    role_assert_main();
    if (m->icount.on) {
        error_fail(errp, "conflict", "id", NULL,
                   "'%s': -icount has one thread do everything, so that each run is the same", id);
        error_hint(errp, "leave out the iothread, and iothread= of devices");
        return false;
    }
    IoThread *t = g_new0(IoThread, 1);
    t->id = g_strdup(id);
    t->poll = poll;
    t->loop = loop_new(id);
    t->domain = domain_new(id, t->loop);
    loop_set_poll(t->loop, poll.max_ns, poll.grow, poll.shrink);
    int err = start(t);
    if (err) {
        error_set_errno(errp, err, "'%s': cannot make a thread", id);
        domain_free(t->domain);
        loop_free(t->loop);
        g_free(t->id);
        g_free(t);
        return false;
    }
    loop_call(t->loop, note_tid, t);
    if (!m->priv->iothreads) {
        m->priv->iothreads = g_ptr_array_new();
    }
    g_ptr_array_add(m->priv->iothreads, t);
    return true;
}

IoThread *iothread_find(Machine *m, const char *id)
{
    GPtrArray *all = m->priv->iothreads;
    for (guint i = 0; all && i < all->len; i++) {
        IoThread *t = all->pdata[i];
        if (!strcmp(t->id, id)) {
            return t;
        }
    }
    return NULL;
}

bool iothread_remove(Machine *m, const char *id, Error **errp)
{
    IoThread *t = iothread_find(m, id);
    g_assert(t && !domain_current());
    if (t->users) {
        error_fail(errp, "in-use", "id", NULL,
                   "object '%s' is in use by %u device%s", id, t->users, t->users > 1 ? "s" : "");
        error_hint(errp, "remove the device first: device_del");
        return false;
    }
    machine_unwatch_loop(m, t->loop);
    g_ptr_array_remove(m->priv->iothreads, t);
    iothread_free(t);
    return true;
}

void iothreads_free(Machine *m)
{
    GPtrArray *all = m->priv->iothreads;
    for (guint i = 0; all && i < all->len; i++) {
        iothread_free(all->pdata[i]);
    }
    g_clear_pointer(&m->priv->iothreads, g_ptr_array_unref);
}

void iothread_foreach(Machine *m, void (*fn)(const IoThread *t, void *opaque), void *opaque)
{
    GPtrArray *all = m->priv->iothreads;
    for (guint i = 0; all && i < all->len; i++) {
        fn(all->pdata[i], opaque);
    }
}

const char *iothread_id(const IoThread *t)
{
    return t->id;
}

IoThreadPoll iothread_poll(const IoThread *t)
{
    return t->poll;
}

int iothread_tid(const IoThread *t)
{
    return t->tid;
}

Domain *iothread_domain(const IoThread *t)
{
    return t->domain;
}

static void nothing(void *opaque G_GNUC_UNUSED)
{
}

void iothreads_settle(Machine *m)
{
    GPtrArray *all = m->priv->iothreads;
    for (guint i = 0; all && i < all->len; i++) {
        IoThread *t = all->pdata[i];
        loop_call(t->loop, nothing, NULL);
    }
}

/* ---- the property ---- */

static bool bind_iothread(Machine *m, const Prop *p G_GNUC_UNUSED, void *slot, const char *id, Error **errp)
{
    IoThread **at = slot, *t = iothread_find(m, id);
    if (!t) {
        error_fail(errp, "not-found", NULL, NULL, "there is no iothread '%s'", id);
        error_hint(errp, "make it with -object iothread,id=%s", id);
        return false;
    }
    t->users++;
    if (*at) {
        (*at)->users--;
    }
    *at = t;
    return true;
}

static char *iothread_name(const void *slot)
{
    IoThread *const *at = slot;
    return *at ? g_strdup((*at)->id) : NULL;
}

static void release_iothread(void *slot)
{
    IoThread **at = slot;
    if (*at) {
        (*at)->users--;
        *at = NULL;
    }
}

void iothread_register(void)
{
    static const PropBinder binder = { bind_iothread, iothread_name, release_iothread };
    prop_register_binder(PROP_IOTHREAD_, &binder);
}

/* SPDX-License-Identifier: MIT
 * ui/screen-wait.c - waiting for what is on a screen.
 *
 * A waiter is a listener of its console: it looks when something has changed, at most every LOOK_MS, and
 * costs nothing else. Standing still is measured by the guest's clock, from the last look that found
 * something else; time-outs by the host's. Threads: main loop. Tests: tests/unit/ui/test-screen.c. */
#include "rhea/system/machine.h"
#include "rhea/ui/screen.h"
#include "rhea/util/errorcode.h"

#include "consoles.h"

enum { LOOK_MS = 40, MS = 1000000 };

typedef struct Waiter {
    ConsoleListener listener; /* first */
    unsigned id;
    ScreenWish wish;
    char *text;
    ScreenDone done;
    void *opaque;
    Clock const *guest;
    Timer look, still, timeout; /* soon, on the guest's clock, on the host's */
    uint64_t seen;              /* what stood still so far */
    int64_t since;              /* the guest's time then */
    bool any_seen;
} Waiter;

/* The process has one machine. */
static GPtrArray *waiters;
static unsigned last_id;

static void waiter_free(Waiter *w)
{
    console_remove_listener(&w->listener);
    timer_cancel(&w->look);
    timer_cancel(&w->still);
    timer_cancel(&w->timeout);
    g_ptr_array_remove(waiters, w);
    if (!waiters->len) {
        g_clear_pointer(&waiters, g_ptr_array_unref);
    }
    font_set_free(w->wish.font);
    g_free(w->text);
    g_free(w);
}

static void end(Waiter *w, ScreenEnd how)
{
    w->done(w->opaque, w->id, w->listener.console, w->wish.font, how);
    waiter_free(w);
}

/* A number for what must stand still: of the text, or of the region's pixels. 0: there is nothing. */
static uint64_t stands(Waiter *w, Surface *s)
{
    ConsoleText t;
    uint64_t sum = 0;
    if (!w->wish.region.width && console_text(w->listener.console, &t)) {
        sum = UINT64_C(0xcbf29ce484222325);
        for (size_t i = 0; i < (size_t)t.columns * (size_t)t.rows; i++) {
            sum = (sum ^ t.cells[i]) * UINT64_C(0x100000001b3);
        }
        g_free(t.cells);
    } else if (s) {
        screen_sum(s, &w->wish.region, &sum);
    }
    return sum;
}

static bool text_there(Waiter *w)
{
    ConsoleText t;
    bool by_font;
    bool found = screen_read(w->listener.console, w->wish.font, &t, &by_font);
    if (found) {
        found = screen_has(&t, w->text);
        g_free(t.cells);
    }
    return found;
}

static bool stood_still(Waiter *w, Surface *s)
{
    uint64_t now = stands(w, s);
    int64_t t = clock_now(w->guest);
    if (!w->any_seen || now != w->seen) {
        w->any_seen = true;
        w->seen = now;
        w->since = t;
    }
    int64_t due = w->since + w->wish.unchanged_ms * MS;
    if (t < due) {
        timer_arm(&w->still, due);
        return false;
    }
    return true;
}

static void look(void *opaque)
{
    Waiter *w = opaque;
    Surface *s = console_surface(w->listener.console);
    uint64_t sum = 0;
    bool so = !w->wish.unchanged_ms || stood_still(w, s);
    so = so && (!w->wish.has_sum || (s && screen_sum(s, &w->wish.region, &sum) && sum == w->wish.sum));
    so = so && (!w->text || text_there(w));
    surface_unref(s);
    if (so) {
        end(w, SCREEN_SEEN);
    }
}

static void timed_out(void *opaque)
{
    end(opaque, SCREEN_TIMEOUT);
}

static void soon(Waiter *w)
{
    timer_arm(&w->look, clock_now(&clock_host_monotonic));
}

static void on_surface(ConsoleListener *l, Surface *s G_GNUC_UNUSED)
{
    soon((Waiter *)l);
}

static void on_damage(ConsoleListener *l, int x G_GNUC_UNUSED, int y G_GNUC_UNUSED, int w G_GNUC_UNUSED,
                      int h G_GNUC_UNUSED)
{
    soon((Waiter *)l);
}

/* Its console is freed by who calls this: the end is told from here. */
static void on_gone(ConsoleListener *l)
{
    end((Waiter *)l, SCREEN_GONE);
}

static const ConsoleListenerOps listener_ops = { .surface = on_surface,
                                                 .damage = on_damage,
                                                 .gone = on_gone };

unsigned screen_wait(Console *c, const ScreenWish *wish, ScreenDone done, void *opaque, Error **errp)
{
    Machine *m = console_machine(c);
    role_assert_main();
    if (waiters && waiters->len >= SCREEN_WAITERS) {
        error_fail(errp, "too-many", NULL, "wait for one of them to end, or cancel it",
                   "%d are waiting for screens already", SCREEN_WAITERS);
        return 0;
    }
    Waiter *w = g_new0(Waiter, 1);
    *w = (Waiter){ .listener = { .ops = &listener_ops, .period_ms = LOOK_MS },
                   .id = ++last_id ? last_id : ++last_id,
                   .wish = *wish,
                   .text = g_strdup(wish->text),
                   .done = done,
                   .opaque = opaque,
                   .guest = m->clock };
    waiters = waiters ? waiters : g_ptr_array_new();
    g_ptr_array_add(waiters, w);
    timer_init(&w->look, m->loop, &clock_host_monotonic, look, w);
    timer_init(&w->still, m->loop, m->clock, look, w);
    timer_init(&w->timeout, m->loop, &clock_host_monotonic, timed_out, w);
    timer_arm(&w->timeout, clock_now(&clock_host_monotonic) + wish->timeout_ms * MS);
    console_add_listener(c, &w->listener);
    soon(w);
    return w->id;
}

bool screen_wait_cancel(unsigned id)
{
    role_assert_main();
    for (guint i = 0; waiters && i < waiters->len; i++) {
        Waiter *w = waiters->pdata[i];
        if (w->id == id) {
            waiter_free(w);
            return true;
        }
    }
    return false;
}

void screen_wait_forget(void)
{
    while (waiters) {
        waiter_free(waiters->pdata[0]);
    }
}

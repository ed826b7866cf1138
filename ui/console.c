/* SPDX-License-Identifier: MIT
 * ui/console.c - consoles: what devices show, collected and told to those who look.
 * Models: rhea/ui/console.h.
 * Threads: devices call in their domains, on any thread; what they say is kept under Console.lock (a leaf)
 * until the main loop tells the listeners. Listeners, timer and list belong to the main loop alone.
 */
#include "consoles.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { NS_PER_MS = 1000000, MAX_RECTS = 16 };

typedef struct Rect {
    int x1, y1, x2, y2; /* x2 and y2 are outside */
} Rect;

typedef struct ConsoleNews { /* what listeners have not heard of yet */
    bool surface, shape, place;
    unsigned n_rects;
    Rect rect[MAX_RECTS];
} ConsoleNews;

struct Console {
    Machine *m;
    Device *dev;
    unsigned head;
    char *label;
    const ConsoleOps *ops;
    void *opaque;
    Domain *domain;  /* NULL: nobody else's */
    unsigned active; /* atomic: listeners that look, and looks of the moment */
    bool slow;       /* atomic: the picture stands, the timer has its longer period */

    pthread_mutex_t lock; /* around what devices say */
    Surface *surface;
    CursorShape cursor; /* image NULL: hidden */
    int cursor_x, cursor_y;
    bool cursor_on;
    ConsoleNews news;

    GPtrArray *listeners; /* main loop */
    Surface *shown;       /* what they were told of */
    CursorShape shown_cursor;
    Timer timer;
    unsigned period_ms, quiet;
    bool told_watched;
    ConsoleWish wish;
};

/* ---- the device's side ---- */

bool console_watched(const Console *c)
{
    return __atomic_load_n(&c->active, __ATOMIC_ACQUIRE) != 0;
}

static int64_t rect_area(const Rect *r)
{
    return (int64_t)(r->x2 - r->x1) * (r->y2 - r->y1);
}

static Rect rect_union(const Rect *a, const Rect *b)
{
    return (Rect){ MIN(a->x1, b->x1), MIN(a->y1, b->y1), MAX(a->x2, b->x2), MAX(a->y2, b->y2) };
}

/* Joins it to one that touches it; when there is no room left, to the one that grows least. */
static void news_add_rect(ConsoleNews *n, Rect r)
{
    unsigned best = 0;
    int64_t least = INT64_MAX;
    for (unsigned i = 0; i < n->n_rects; i++) {
        Rect u = rect_union(&n->rect[i], &r);
        int64_t more = rect_area(&u) - rect_area(&n->rect[i]) - rect_area(&r);
        if (more < least) {
            least = more;
            best = i;
        }
    }
    if (n->n_rects && (least <= 0 || n->n_rects == MAX_RECTS)) {
        n->rect[best] = rect_union(&n->rect[best], &r);
    } else {
        n->rect[n->n_rects++] = r;
    }
}

/* There is, or will be, something to tell: not only after the longer period. */
void console_hurry(Console *c)
{
    if (__atomic_load_n(&c->slow, __ATOMIC_RELAXED) &&
        __atomic_exchange_n(&c->slow, false, __ATOMIC_ACQ_REL)) {
        timer_arm(&c->timer, clock_now(c->timer.clock) + CONSOLE_RATE_MS * (int64_t)NS_PER_MS);
    }
}

void console_damage(Console *c, int x, int y, int w, int h)
{
    if (!console_watched(c)) {
        return; /* the first listener gets all of the picture */
    }
    pthread_mutex_lock(&c->lock);
    int width = c->surface ? surface_width(c->surface) : 0;
    int height = c->surface ? surface_height(c->surface) : 0;
    Rect r = { CLAMP(x, 0, width), CLAMP(y, 0, height), (int)CLAMP((int64_t)x + w, 0, width),
               (int)CLAMP((int64_t)y + h, 0, height) };
    bool some = r.x1 < r.x2 && r.y1 < r.y2;
    if (some) {
        news_add_rect(&c->news, r);
    }
    pthread_mutex_unlock(&c->lock);
    if (some) {
        console_hurry(c);
    }
}

/* Lock held. */
static void damage_all(Console *c)
{
    c->news.n_rects = c->surface ? 1 : 0;
    if (c->surface) {
        c->news.rect[0] = (Rect){ 0, 0, surface_width(c->surface), surface_height(c->surface) };
    }
}

void console_set_surface(Console *c, Surface *s)
{
    pthread_mutex_lock(&c->lock);
    Surface *old = c->surface;
    c->surface = s;
    c->news.surface = true;
    damage_all(c);
    pthread_mutex_unlock(&c->lock);
    surface_unref(old);
    console_hurry(c);
}

void console_set_cursor(Console *c, const CursorShape *shape)
{
    pthread_mutex_lock(&c->lock);
    Surface *old = c->cursor.image;
    c->cursor = shape ? *shape : (CursorShape){ 0 };
    if (c->cursor.image) {
        surface_ref(c->cursor.image);
    }
    c->news.shape = true;
    pthread_mutex_unlock(&c->lock);
    surface_unref(old);
    console_hurry(c);
}

void console_move_cursor(Console *c, int x, int y, bool visible)
{
    pthread_mutex_lock(&c->lock);
    c->cursor_x = x;
    c->cursor_y = y;
    c->cursor_on = visible;
    c->news.place = true;
    pthread_mutex_unlock(&c->lock);
    console_hurry(c);
}

/* ---- telling listeners ---- */

static void enter(Console *c)
{
    if (c->domain) {
        domain_lock(c->domain);
    }
}

static void leave(Console *c)
{
    if (c->domain) {
        domain_unlock(c->domain);
    }
}

static Surface *take_surface(Surface *s)
{
    return s ? surface_ref(s) : NULL;
}

/* A listener that a callback has removed hears nothing more: it may be freed. One that comes hears of the
 * surface first: what changed before that may lie outside of the one that it knows. */
static bool still_there(Console *c, ConsoleListener *l)
{
    return g_ptr_array_find(c->listeners, l, NULL) && !l->paused && !l->fresh;
}

static void tell_damage(Console *c, ConsoleListener *l, const ConsoleNews *n)
{
    for (unsigned i = 0; i < n->n_rects && still_there(c, l); i++) {
        const Rect *r = &n->rect[i];
        l->ops->damage(l, r->x1, r->y1, r->x2 - r->x1, r->y2 - r->y1);
    }
    if (still_there(c, l) && l->ops->frame) {
        l->ops->frame(l);
    }
}

static void tell(Console *c, ConsoleListener *l, const ConsoleNews *n, int x, int y, bool on)
{
    if (n->surface && still_there(c, l) && l->ops->surface) {
        l->ops->surface(l, c->shown);
    }
    if (n->shape && still_there(c, l) && l->ops->cursor) {
        l->ops->cursor(l, c->shown_cursor.image ? &c->shown_cursor : NULL);
    }
    if (n->place && still_there(c, l) && l->ops->cursor_at) {
        l->ops->cursor_at(l, x, y, on);
    }
    if (n->n_rects && c->shown) {
        tell_damage(c, l, n);
    }
}

/* Everything since the last time; true: there was something. */
static bool flush(Console *c)
{
    pthread_mutex_lock(&c->lock);
    ConsoleNews news = c->news;
    int x = c->cursor_x, y = c->cursor_y;
    bool on = c->cursor_on;
    Surface *old = NULL, *old_cursor = NULL;
    if (news.surface) {
        old = c->shown;
        c->shown = take_surface(c->surface);
    }
    if (news.shape) {
        old_cursor = c->shown_cursor.image;
        c->shown_cursor = c->cursor;
        take_surface(c->cursor.image);
    }
    c->news = (ConsoleNews){ 0 };
    pthread_mutex_unlock(&c->lock);
    bool any = news.surface || news.shape || news.place || news.n_rects;
    g_autoptr(GPtrArray) all = any ? g_ptr_array_copy(c->listeners, NULL, NULL) : NULL;
    for (guint i = 0; any && i < all->len; i++) {
        if (still_there(c, all->pdata[i])) {
            tell(c, all->pdata[i], &news, x, y, on);
        }
    }
    surface_unref(old);
    surface_unref(old_cursor);
    return any;
}

static void arm(Console *c, unsigned ms)
{
    timer_arm(&c->timer, clock_now(c->timer.clock) + (int64_t)ms * NS_PER_MS);
}

static void draw(Console *c)
{
    if (c->ops && c->ops->update) {
        enter(c);
        c->ops->update(c->opaque);
        leave(c);
    }
}

static void tick(void *opaque)
{
    Console *c = opaque;
    draw(c);
    bool any = flush(c);
    if (!console_watched(c)) {
        return;
    }
    c->quiet = any ? 0 : c->quiet + 1;
    bool slow = c->quiet >= CONSOLE_QUIET && c->period_ms < CONSOLE_IDLE_MS;
    __atomic_store_n(&c->slow, slow, __ATOMIC_RELEASE);
    arm(c, slow ? CONSOLE_IDLE_MS : c->period_ms);
}

/* After listeners came, went or changed: the device hears whether anybody looks, the timer follows. */
static void settle(Console *c)
{
    unsigned n = 0, period = UINT_MAX;
    for (guint i = 0; i < c->listeners->len; i++) {
        ConsoleListener *l = c->listeners->pdata[i];
        if (!l->paused) {
            n++;
            period = MIN(period, l->period_ms ? l->period_ms : CONSOLE_RATE_MS);
        }
    }
    bool shorter = period < c->period_ms || !c->told_watched;
    c->period_ms = period;
    __atomic_store_n(&c->active, n, __ATOMIC_RELEASE);
    if (n && !c->told_watched && c->ops && c->ops->watched) {
        enter(c);
        c->ops->watched(c->opaque, true);
        leave(c);
    } else if (!n && c->told_watched && c->ops && c->ops->watched) {
        enter(c);
        c->ops->watched(c->opaque, false);
        leave(c);
    }
    c->told_watched = n != 0;
    c->quiet = 0;
    if (!n) {
        __atomic_store_n(&c->slow, false, __ATOMIC_RELEASE);
        timer_cancel(&c->timer);
    } else if (shorter) {
        arm(c, 0);
    }
}

/* One listener is told of the whole picture; the others know it. */
static void tell_all(Console *c, ConsoleListener *l)
{
    flush(c); /* so that `shown` is the present one; this one hears nothing of that */
    if (!g_ptr_array_find(c->listeners, l, NULL)) {
        return;
    }
    l->fresh = false;
    pthread_mutex_lock(&c->lock);
    int x = c->cursor_x, y = c->cursor_y;
    bool on = c->cursor_on;
    pthread_mutex_unlock(&c->lock);
    ConsoleNews news = { .surface = true, .shape = c->shown_cursor.image != NULL, .place = on };
    if (c->shown) {
        news.n_rects = 1;
        news.rect[0] = (Rect){ 0, 0, surface_width(c->shown), surface_height(c->shown) };
    }
    tell(c, l, &news, x, y, on);
}

/* ---- the viewer's side ---- */

void console_add_listener(Console *c, ConsoleListener *l)
{
    role_assert_main();
    g_assert(!l->console);
    g_ptr_array_add(c->listeners, l);
    l->console = c;
    l->fresh = true;
    settle(c);
    if (!l->paused) {
        tell_all(c, l);
    }
}

void console_remove_listener(ConsoleListener *l)
{
    Console *c = l->console;
    role_assert_main();
    if (c) {
        g_ptr_array_remove(c->listeners, l);
        l->console = NULL;
        settle(c);
    }
}

void console_listener_pause(ConsoleListener *l, bool paused)
{
    Console *c = l->console;
    bool was = l->paused;
    role_assert_main();
    l->paused = paused;
    l->fresh |= paused;
    if (c && paused != was) {
        settle(c);
        if (!paused) {
            tell_all(c, l);
        }
    }
}

void console_listener_period(ConsoleListener *l, unsigned ms)
{
    role_assert_main();
    l->period_ms = ms;
    if (l->console) {
        settle(l->console);
    }
}

/* Nobody may look otherwise: then the device draws everything for this moment. */
void console_refresh(Console *c)
{
    role_assert_main();
    bool moment = !console_watched(c);
    if (moment && c->ops && c->ops->watched) {
        __atomic_add_fetch(&c->active, 1, __ATOMIC_ACQ_REL);
        enter(c);
        c->ops->watched(c->opaque, true);
        leave(c);
        draw(c);
        enter(c);
        c->ops->watched(c->opaque, false);
        leave(c);
        __atomic_sub_fetch(&c->active, 1, __ATOMIC_ACQ_REL);
    } else {
        draw(c);
    }
    flush(c);
}

Surface *console_surface(Console *c)
{
    pthread_mutex_lock(&c->lock);
    Surface *s = take_surface(c->surface);
    pthread_mutex_unlock(&c->lock);
    return s;
}

static bool read_text(Console *c, ConsoleText *out)
{
    role_assert_main();
    if (!c->ops || !c->ops->text) {
        return false;
    }
    enter(c);
    bool ok = c->ops->text(c->opaque, out);
    leave(c);
    return ok;
}

bool console_text(Console *c, ConsoleText *out)
{
    *out = (ConsoleText){ 0 };
    return read_text(c, out);
}

bool console_text_coloured(Console *c, ConsoleText *out)
{
    *out = (ConsoleText){ .coloured = true };
    return read_text(c, out);
}

void console_wish(Console *c, const ConsoleWish *wish)
{
    role_assert_main();
    if (memcmp(&c->wish, wish, sizeof(*wish)) != 0) {
        c->wish = *wish;
        if (c->ops && c->ops->wish) {
            enter(c);
            c->ops->wish(c->opaque, wish);
            leave(c);
        }
    }
}

/* ---- life ---- */

Console *console_new(Machine *m, Device *dev, unsigned head, const ConsoleOps *ops, void *opaque)
{
    Console *c = g_new0(Console, 1);
    role_assert_main();
    c->m = m;
    c->dev = dev;
    c->head = head;
    c->ops = ops;
    c->opaque = opaque;
    c->domain = dev ? dev->domain : NULL;
    c->period_ms = CONSOLE_RATE_MS;
    pthread_mutex_init(&c->lock, NULL);
    c->listeners = g_ptr_array_new();
    timer_init(&c->timer, m->loop, &clock_host_monotonic, tick, c);
    consoles_add(m, c);
    return c;
}

void console_free(Console *c)
{
    role_assert_main();
    __atomic_store_n(&c->active, 0, __ATOMIC_RELEASE);
    while (c->listeners->len) {
        ConsoleListener *l = c->listeners->pdata[c->listeners->len - 1];
        g_ptr_array_set_size(c->listeners, (gint)c->listeners->len - 1);
        l->console = NULL;
        if (l->ops->gone) {
            l->ops->gone(l);
        }
    }
    timer_cancel(&c->timer);
    consoles_remove(c->m, c);
    surface_unref(c->surface);
    surface_unref(c->shown);
    surface_unref(c->cursor.image);
    surface_unref(c->shown_cursor.image);
    g_ptr_array_free(c->listeners, TRUE);
    pthread_mutex_destroy(&c->lock);
    g_free(c->label);
    g_free(c);
}

void console_set_label(Console *c, const char *label)
{
    g_free(c->label);
    c->label = g_strdup(label);
}

Machine *console_machine(const Console *c)
{
    return c->m;
}

unsigned console_head(const Console *c)
{
    return c->head;
}

Device *console_device(const Console *c)
{
    return c->dev;
}

char *console_label(const Console *c)
{
    if (c->label || !c->dev) {
        return g_strdup(c->label ? c->label : "terminal");
    }
    return c->head ? g_strdup_printf("%s.%u", device_name(c->dev), c->head) : g_strdup(device_name(c->dev));
}

bool console_is_graphic(const Console *c)
{
    return c->dev != NULL;
}

/* SPDX-License-Identifier: MIT
 * ui/consoles.c - a machine's consoles in order, by number and by device; and who wants to hear of changes.
 * Models: rhea/ui/console.h.
 * Threads: main loop.
 */
#include "consoles.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

typedef struct Watch {
    void (*changed)(void *opaque);
    void *opaque;
} Watch;

struct MachineConsoles {
    GPtrArray *list; /* Console * */
    GArray *watches; /* Watch */
};

static struct MachineConsoles *consoles_of(Machine *m)
{
    if (!m->consoles) {
        m->consoles = g_new0(struct MachineConsoles, 1);
        m->consoles->list = g_ptr_array_new();
        m->consoles->watches = g_array_new(FALSE, FALSE, sizeof(Watch));
    }
    return m->consoles;
}

/* The last one out puts the light off. */
static void consoles_trim(Machine *m)
{
    struct MachineConsoles *all = m->consoles;
    if (all && !all->list->len && !all->watches->len) {
        g_ptr_array_free(all->list, TRUE);
        g_array_free(all->watches, TRUE);
        g_free(all);
        m->consoles = NULL;
    }
}

static void tell_watches(Machine *m)
{
    struct MachineConsoles *all = m->consoles;
    g_autofree Watch *now = g_memdup2(all->watches->data, all->watches->len * sizeof(Watch));
    guint n = all->watches->len;
    for (guint i = 0; i < n; i++) {
        now[i].changed(now[i].opaque);
    }
}

void consoles_add(Machine *m, Console *c)
{
    GPtrArray *list = consoles_of(m)->list;
    guint at = list->len;
    while (at && console_is_graphic(c) && !console_is_graphic(list->pdata[at - 1])) {
        at--; /* graphics cards come before terminals, which exist earlier */
    }
    g_ptr_array_insert(list, (gint)at, c);
    tell_watches(m);
}

void consoles_remove(Machine *m, Console *c)
{
    g_ptr_array_remove(m->consoles->list, c);
    tell_watches(m);
    consoles_trim(m);
}

void console_watch_list(Machine *m, void (*changed)(void *opaque), void *opaque)
{
    role_assert_main();
    GArray *w = consoles_of(m)->watches;
    for (guint i = 0; i < w->len; i++) {
        if (g_array_index(w, Watch, i).opaque == opaque) {
            g_array_remove_index(w, i);
            break;
        }
    }
    if (changed) {
        Watch one = { changed, opaque };
        g_array_append_val(w, one);
    }
    consoles_trim(m);
}

Console *console_by_index(Machine *m, unsigned index)
{
    role_assert_main();
    return m->consoles && index < m->consoles->list->len ? m->consoles->list->pdata[index] : NULL;
}

void console_hurry_all(Machine *m)
{
    role_assert_main();
    for (guint i = 0; m->consoles && i < m->consoles->list->len; i++) {
        console_hurry(m->consoles->list->pdata[i]);
    }
}

unsigned console_index(const Console *c)
{
    guint i = 0;
    g_ptr_array_find(console_machine(c)->consoles->list, c, &i);
    return i;
}

static Device *find_device(Device *below, const char *id)
{
    if (g_strcmp0(below->id, id) == 0 || g_strcmp0(below->path, id) == 0) {
        return below;
    }
    Device *found = NULL;
    for (guint i = 0; !found && below->children && i < below->children->len; i++) {
        found = find_device(below->children->pdata[i], id);
    }
    return found;
}

Console *console_by_device(Machine *m, const char *id, unsigned head, Error **errp)
{
    Device *dev = find_device(m->root, id);
    bool any = false;
    for (unsigned i = 0;; i++) {
        Console *c = console_by_index(m, i);
        if (!c) {
            break;
        }
        any = any || (dev && console_device(c) == dev);
        if (dev && console_device(c) == dev && console_head(c) == head) {
            return c;
        }
    }
    if (!dev) {
        error_fail(errp, "not-found", "device", "info qtree lists them", "there is no device '%s'", id);
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
    } else if (any) {
        error_fail(errp, "not-found", "head", "count from 0", "device '%s' has no head %u", id, head);
    } else {
        error_fail(errp, "wrong-type", "device", "name a graphics card", "device '%s' shows nothing", id);
    }
    return NULL;
}

/* By its chardev's id. */
static Console *find_terminal(Machine *m, const char *label)
{
    Console *c;
    for (unsigned i = 0; (c = console_by_index(m, i)); i++) {
        g_autofree char *own = console_is_graphic(c) ? NULL : console_label(c);
        if (g_strcmp0(own, label) == 0) {
            return c;
        }
    }
    return NULL;
}

Console *console_find(Machine *m, const char *device, unsigned head, Error **errp)
{
    Console *term = device ? find_terminal(m, device) : NULL;
    if (term && !head) {
        return term;
    }
    if (device) {
        return console_by_device(m, device, head, errp);
    }
    unsigned i = 0;
    Console *c = console_by_index(m, i);
    while (c && !console_is_graphic(c)) {
        c = console_by_index(m, ++i);
    }
    if (!c) {
        error_fail(errp, "not-found", "device", "start with -vga std", "the machine has no graphics card");
    }
    return c;
}

/* SPDX-License-Identifier: MIT
 * system/device.c - the life of devices and buses: creation, realize with unwinding, removal.
 * Models: docs/devel/machine-core.md, "devices".
 * Threads: main loop, without a domain held.
 */
#include "internal.h"
#include "rhea/util/errorcode.h"
#include "system/trace.h"

#include <inttypes.h>
#include <semaphore.h>
#include <string.h>

typedef enum ResourceKind { RES_REGION, RES_IRQ, RES_TIMER, RES_TASK, RES_FIFO, RES_CLEANUP } ResourceKind;
typedef struct Resource {
    ResourceKind kind;
    void *what;
    void (*fn)(void *opaque);
} Resource;

unsigned device_type_chain(const DeviceType *type, const DeviceType *chain[static 8])
{
    unsigned n = 0;
    for (const DeviceType *t = type; t; t = t->base) {
        g_assert(n < 8);
        chain[n++] = t;
    }
    for (unsigned i = 0; i < n / 2; i++) {
        const DeviceType *t = chain[i];
        chain[i] = chain[n - 1 - i];
        chain[n - 1 - i] = t;
    }
    return n;
}

bool device_is_a(const Device *dev, const DeviceType *type)
{
    for (const DeviceType *t = dev->type; t; t = t->base) {
        if (t == type) {
            return true;
        }
    }
    return false;
}

const char *device_name(const Device *dev)
{
    return dev->id ? dev->id : dev->type->name;
}

/* ---- creation ---- */

static const DeviceType *type_with_bus(const DeviceType *type)
{
    while (type && !type->bus_type) {
        type = type->base;
    }
    return type;
}

/* -global DRIVER.PROP=VALUE: for the type or one it derives from, by each of its names. A bad value is told
 * when the device is realized, where there is somebody to tell. */
static void apply_globals(Device *dev)
{
    Machine *m = dev->machine;
    for (guint i = 0; m->globals && i < m->globals->len; i++) {
        GlobalProp *g = m->globals->pdata[i];
        for (const DeviceType *t = dev->type; t; t = t->base) {
            if (!device_type_is_called(t, g->driver)) {
                continue;
            }
            void *base;
            g->used = true;
            if (g->is_default && !device_find_prop(dev, g->prop, &base)) {
                break;
            }
            Error *err = NULL;
            if (!device_set(dev, g->prop, g->value, &err)) {
                error_prefix(&err, "-global %s.%s=%s", g->driver, g->prop, g->value);
                error_propagate(&dev->early_error, err);
            }
            break;
        }
    }
}

Device *device_new(Machine *m, const DeviceType *type, Device *parent, const char *id)
{
    role_assert_main();
    g_assert(type->size >= sizeof(Device));
    Device *dev = g_malloc0(type->size);
    dev->type = type;
    dev->id = g_strdup(id);
    dev->parent = parent;
    dev->machine = m;
    dev->domain = m->platform;
    dev->children = g_ptr_array_new();
    dev->buses = g_ptr_array_new();
    dev->regions = g_ptr_array_new();
    dev->irqs = g_ptr_array_new();
    const DeviceType *chain[8];
    unsigned n = device_type_chain(type, chain);
    for (unsigned i = 0; i < n; i++) {
        props_init(chain[i]->props, dev);
    }
    const DeviceType *on_bus = type_with_bus(type);
    if (on_bus && on_bus->bus_type->child_size) {
        dev->bus_data = g_malloc0(on_bus->bus_type->child_size);
        props_init(on_bus->bus_type->child_props, dev->bus_data);
    }
    apply_globals(dev);
    return dev;
}

static void device_free(Device *dev)
{
    const DeviceType *chain[8];
    unsigned n = device_type_chain(dev->type, chain);
    for (unsigned i = 0; i < n; i++) {
        props_fini(chain[i]->props, dev);
    }
    const DeviceType *on_bus = type_with_bus(dev->type);
    if (dev->bus_data) {
        props_fini(on_bus->bus_type->child_props, dev->bus_data);
        g_free(dev->bus_data);
    }
    error_free(dev->early_error);
    g_ptr_array_free(dev->children, TRUE);
    g_ptr_array_free(dev->buses, TRUE);
    g_ptr_array_free(dev->regions, TRUE);
    g_ptr_array_free(dev->irqs, TRUE);
    g_free(dev->id);
    g_free(dev->path);
    g_free(dev);
}

Bus *bus_new(const BusType *type, Device *owner, const char *name, void *impl)
{
    Bus *bus = g_new0(Bus, 1);
    bus->type = type;
    bus->name = g_strdup(name);
    bus->owner = owner;
    bus->impl = impl;
    bus->children = g_ptr_array_new();
    if (owner) {
        g_ptr_array_add(owner->buses, bus);
    }
    return bus;
}

static void bus_free(Bus *bus)
{
    g_ptr_array_free(bus->children, TRUE);
    g_free(bus->name);
    g_free(bus);
}

/* ---- resources ---- */

static void add_resource(Device *dev, ResourceKind kind, void *what, void (*fn)(void *opaque))
{
    Resource *r = g_new(Resource, 1);
    *r = (Resource){ .kind = kind, .what = what, .fn = fn };
    dev->resources = g_slist_prepend(dev->resources, r);
}

void device_add_region(Device *dev, MemRegion *r)
{
    g_ptr_array_add(dev->regions, r);
    add_resource(dev, RES_REGION, r, NULL);
}

void device_add_irq(Device *dev, IrqLine *line)
{
    g_ptr_array_add(dev->irqs, line);
}

void device_add_timer(Device *dev, Timer *t, void (*fire)(void *opaque))
{
    Loop *loop = domain_loop(dev->domain);
    timer_init(t, loop, dev->machine->clock, fire, dev);
    t->guard = domain_guard(dev->domain);
    machine_watch_loop(dev->machine, loop);
    add_resource(dev, RES_TIMER, t, NULL);
}

void device_add_task(Device *dev, DomainTask *t, void (*run)(void *opaque))
{
    domain_task_init(t, dev->domain, run, dev);
    add_resource(dev, RES_TASK, t, NULL);
}

void device_add_fifo8(Device *dev, Fifo8 *f, uint32_t capacity)
{
    fifo8_init(f, capacity);
    add_resource(dev, RES_FIFO, f, NULL);
}

void device_add_cleanup(Device *dev, void (*fn)(void *opaque), void *opaque)
{
    add_resource(dev, RES_CLEANUP, opaque, fn);
}

/* The enabled leaf (not a container: those only hold others) that shares a port with [at, at + size). */
static MemRegion *find_overlap(MemRegion *parent, hwaddr base, hwaddr at, uint64_t size, int priority)
{
    for (GList *l = parent->children; l; l = l->next) {
        MemRegion *c = l->data;
        hwaddr start = base + c->at;
        if (!c->enabled || c->priority != priority || start >= at + size || at >= start + c->size) {
            continue;
        }
        if (!c->container) {
            return c;
        }
        MemRegion *in = find_overlap(c, start, at, size, priority);
        if (in) {
            return in;
        }
    }
    return NULL;
}

bool device_map_io(Device *dev, MemRegion *r, uint16_t port, Error **errp)
{
    Machine *m = dev->machine;
    if (port + r->size > 0x10000) {
        return error_fail(errp, "out-of-range", "iobase", "ports go up to 0xffff",
                          "%s: ports 0x%x..0x%" PRIx64 " do not exist", device_name(dev), port,
                          port + r->size - 1);
    }
    mem_begin(m);
    MemRegion *holder = find_overlap(&m->sysio, 0, port, r->size, 0);
    if (!holder) {
        region_map(&m->sysio, port, r, 0);
        add_resource(dev, RES_REGION, r, NULL);
    }
    mem_commit(m);
    if (holder) {
        const char *who = holder->owner ? device_name(holder->owner) : holder->name;
        error_fail(errp, "in-use", "iobase", NULL,
                   "%s: ports 0x%x..0x%x are taken by %s (%s)", device_name(dev), port,
                   (unsigned)(port + r->size - 1), who, holder->name);
        error_hint(errp, "give one of the two another iobase");
        return false;
    }
    return true;
}

void device_map_mem(Device *dev, MemRegion *r, hwaddr at, int priority)
{
    region_map(&dev->machine->sysmem, at, r, priority);
    add_resource(dev, RES_REGION, r, NULL);
}

/* ---- removal ---- */

/* Tasks of the tree that wait on the machine's loop run now. True if any did. */
bool device_run_tasks(Device *dev)
{
    bool any = false;
    for (GSList *l = dev->resources; l; l = l->next) {
        Resource *r = l->data;
        DomainTask *t = r->what;
        if (r->kind == RES_TASK && domain_loop(t->domain) == dev->machine->loop &&
            __atomic_load_n(&t->task.queued, __ATOMIC_ACQUIRE)) {
            loop_unpost(dev->machine->loop, &t->task);
            t->task.run(t->task.opaque); /* takes the domain */
            any = true;
        }
    }
    for (guint i = 0; i < dev->children->len; i++) {
        any |= device_run_tasks(dev->children->pdata[i]);
    }
    return any;
}

static void stop_timer_or_task(void *opaque)
{
    Resource *r = opaque;
    if (r->kind == RES_TIMER) {
        timer_cancel(r->what);
    } else {
        DomainTask *t = r->what;
        loop_unpost(domain_loop(t->domain), &t->task);
    }
}

/* A timer or task ends on its home loop, so that the loop is not inside it. */
static void end_on_home_loop(Device *dev, Resource *r)
{
    Loop *home = domain_loop(dev->domain);
    if (home == dev->machine->loop) {
        stop_timer_or_task(r);
    } else {
        loop_call(home, stop_timer_or_task, r);
    }
}

static void release_resource(Device *dev, Resource *r)
{
    switch (r->kind) {
    case RES_REGION: region_fini(r->what); break;
    case RES_TIMER:
    case RES_TASK: end_on_home_loop(dev, r); break;
    case RES_FIFO: fifo8_fini(r->what); break;
    case RES_CLEANUP: r->fn(r->what); break;
    case RES_IRQ: break;
    }
}

static void call_unrealize(Device *dev)
{
    const DeviceType *chain[8];
    for (unsigned n = device_type_chain(dev->type, chain); n; n--) {
        const DeviceType *t = chain[n - 1];
        if (t->unrealize && !(t->base && t->base->unrealize == t->unrealize)) {
            t->unrealize(dev);
        }
    }
}

/* First half: after it no guest access can begin. */
static void retract(Device *dev, bool attached)
{
    for (guint i = dev->children->len; i; i--) {
        retract(dev->children->pdata[i - 1], ((Device *)dev->children->pdata[i - 1])->realized);
    }
    for (guint b = 0; b < dev->buses->len; b++) {
        Bus *bus = dev->buses->pdata[b];
        for (guint i = bus->children->len; i; i--) {
            Device *c = bus->children->pdata[i - 1];
            if (c->realized && c->parent != dev) {
                retract(c, true);
            }
        }
    }
    if (dev->retracted) {
        return;
    }
    dev->retracted = true;
    mem_begin(dev->machine);
    for (GSList *l = dev->resources; l; l = l->next) {
        Resource *r = l->data;
        MemRegion *reg = r->what;
        if (r->kind == RES_REGION) {
            region_unmap(reg);
            if (reg->ops) {
                mmio_posted_withdraw(dev->machine, reg);
            }
        }
    }
    if (dev->bus && attached && dev->bus->type->detach) {
        dev->bus->type->detach(dev->bus, dev);
    }
    mem_commit(dev->machine);
}

static void unwind(Device *dev);

/* Second half, after a grace period: nobody is inside. Children first. */
static void dispose(Device *dev)
{
    if (dev->realized || dev->bus) {
        unwind(dev);
    }
    if (dev->bus) {
        g_ptr_array_remove(dev->bus->children, dev);
    }
    if (dev->parent) {
        g_ptr_array_remove(dev->parent->children, dev);
    }
    device_free(dev);
}

static void unwind(Device *dev)
{
    for (guint b = dev->buses->len; b; b--) {
        Bus *bus = dev->buses->pdata[b - 1];
        while (bus->children->len) {
            dispose(bus->children->pdata[bus->children->len - 1]);
        }
    }
    while (dev->children->len) {
        dispose(dev->children->pdata[dev->children->len - 1]);
    }
    if (dev->realized) {
        call_unrealize(dev);
    }
    dev->realized = false;
    while (dev->resources) {
        Resource *r = dev->resources->data;
        dev->resources = g_slist_delete_link(dev->resources, dev->resources);
        release_resource(dev, r);
        g_free(r);
    }
    while (dev->buses->len) {
        bus_free(g_ptr_array_remove_index(dev->buses, dev->buses->len - 1));
    }
}

static void grace_is_over(void *opaque)
{
    sem_post(opaque);
}

/* rcu_barrier(), with CPUs that run: one that stays in guest code for long is a reader for as long, and may
 * do so until a timer of the main loop's interrupts it. */
static void wait_grace(Machine *m)
{
    sem_t over;
    int r;
    sem_init(&over, 0, 0);
    rcu_defer(grace_is_over, &over);
    do {
        for (unsigned i = 0; m->priv->ready && machine_running(m) && m->cpus && i < m->n_cpus; i++) {
            vcpu_kick(m->cpus[i]);
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        r = sem_timedwait(&over, &until);
    } while (r < 0);
    sem_destroy(&over);
}

/* The whole tree goes: a line may lead to a device that is freed before the one that lowers it. */
static void cut_lines(Device *dev)
{
    for (guint k = 0; k < dev->irqs->len; k++) {
        irq_connect(dev->irqs->pdata[k], NULL, NULL, 0);
    }
    for (guint i = 0; i < dev->children->len; i++) {
        cut_lines(dev->children->pdata[i]);
    }
}

void device_free_tree(Device *dev)
{
    g_assert(!domain_current());
    retract(dev, dev->realized);
    wait_grace(dev->machine);
    if (!dev->parent) {
        cut_lines(dev);
    }
    unwind(dev);
    dispose(dev);
}

/* Exported lines of a whole tree that ends: a last change of level must not reach a device already freed. */
void device_cut_lines(Device *dev)
{
    for (guint i = 0; i < dev->irqs->len; i++) {
        IrqLine *line = dev->irqs->pdata[i];
        line->ops = NULL;
    }
    for (guint i = 0; i < dev->children->len; i++) {
        device_cut_lines(dev->children->pdata[i]);
    }
}

void device_remove(Device *dev)
{
    role_assert_main();
    trace_device_remove(dev->type->name, dev->path);
    device_free_tree(dev);
}

/* ---- realize ---- */

static bool id_is_taken(const Device *dev)
{
    for (guint i = 0; dev->id && dev->parent && i < dev->parent->children->len; i++) {
        const Device *c = dev->parent->children->pdata[i];
        if (c != dev && c->id && !strcmp(c->id, dev->id)) {
            return true;
        }
    }
    return false;
}

static bool check_place(Device *dev, Bus *bus, Error **errp)
{
    const DeviceType *on_bus = type_with_bus(dev->type);
    if (dev->early_error) {
        Error *err = dev->early_error;
        dev->early_error = NULL;
        return error_propagate(errp, err);
    }
    if (id_is_taken(dev)) {
        return error_fail(errp, "already-exists", "id", "give another id",
                          "duplicate device id '%s'", dev->id);
    }
    if (on_bus && !bus) {
        error_fail(errp, "no-place", "bus", NULL,
                   "device '%s' needs a bus of type %s", dev->type->name, on_bus->bus_type->name);
        error_hint(errp, "choose a machine that has one, or name it with bus=");
        return false;
    }
    if (on_bus && bus->type != on_bus->bus_type) {
        return error_fail(errp, "invalid-value", "bus", NULL,
                          "device '%s' needs a bus of type %s, '%s' is of type %s", dev->type->name,
                          on_bus->bus_type->name, bus->name, bus->type->name);
    }
    return true;
}

static bool call_realize(Device *dev, Error **errp)
{
    const DeviceType *chain[8];
    unsigned n = device_type_chain(dev->type, chain);
    for (unsigned i = 0; i < n; i++) {
        bool inherited = i && chain[i]->realize == chain[i - 1]->realize;
        if (chain[i]->realize && !inherited && !chain[i]->realize(dev, errp)) {
            return false;
        }
    }
    return true;
}

static void set_path(Device *dev)
{
    const char *above = dev->parent && dev->parent->path ? dev->parent->path : "";
    if (dev->id) {
        dev->path = g_strdup_printf("%s/%s", above, dev->id);
    } else {
        unsigned n = dev->parent ? dev->parent->child_serial++ : 0;
        dev->path = g_strdup_printf("%s/device[%u]", above, n);
    }
}

bool device_realize(Device *dev, Bus *bus, Error **errp)
{
    role_assert_main();
    g_assert(!dev->realized);
    Machine *m = dev->machine;
    if (!check_place(dev, bus, errp)) {
        return false;
    }
    dev->retracted = false;
    set_path(dev);
    dev->bus = bus;
    Error *err = NULL;
    for (const DeviceType *t = dev->type; t; t = t->base) {
        if (t->choose_domain) {
            dev->domain = t->choose_domain(dev);
            break;
        }
    }
    bool prepared = !bus || !bus->type->prepare || bus->type->prepare(bus, dev, &err);
    bool ok = prepared && call_realize(dev, &err) &&
              (!bus || !bus->type->attach || bus->type->attach(bus, dev, &err));
    if (!ok) {
        retract(dev, prepared);
        wait_grace(m);
        unwind(dev);
        dev->bus = NULL;
        g_ptr_array_set_size(dev->regions, 0);
        g_ptr_array_set_size(dev->irqs, 0);
        g_clear_pointer(&dev->path, g_free);
        error_prefix(&err, "device '%s'", device_name(dev));
        return error_propagate(errp, err);
    }
    if (bus) {
        g_ptr_array_add(bus->children, dev);
    }
    if (dev->parent) {
        g_ptr_array_add(dev->parent->children, dev);
    }
    dev->realized = true;
    trace_device_realize(dev->type->name, dev->path, bus ? bus->name : NULL);
    if (m->priv->ready) { /* plugged into a machine that is up: it starts from reset */
        device_reset(dev, RESET_COLD);
    }
    return true;
}

Device *device_create(Machine *m, const DeviceType *type, Device *parent, const char *id, Bus *bus,
                      Error **errp, ...)
{
    Device *dev = device_new(m, type, parent, id);
    Error *err = NULL;
    va_list ap;
    va_start(ap, errp);
    bool ok = true;
    for (const char *name; ok && (name = va_arg(ap, const char *));) {
        ok = device_set(dev, name, va_arg(ap, const char *), &err);
    }
    va_end(ap);
    if (!ok || !device_realize(dev, bus, &err)) {
        device_remove(dev);
        error_propagate(errp, err);
        return NULL;
    }
    return dev;
}

/* SPDX-License-Identifier: MIT
 * system/debug.c - break- and watchpoints of a machine, single steps, and running some of its vCPUs.
 * Models: docs/devel/gdbstub.md. What a point means to guest code is the accelerator's business.
 * Threads: main loop while the machine does not run; debug_note_hit() on the vCPU's thread.
 */
#include "internal.h"
#include "rhea/util/errorcode.h"

bool debug_supported(const Machine *m, Error **errp)
{
    if (!m->cpus || !m->n_cpus || !m->board->target->gdb) {
        return error_fail(errp, "no-cpu", NULL, "use a machine type that has one, such as pc",
                          "machine '%s' has no CPU to debug", m->board->name);
    }
    if (!m->accel->debug_kinds) {
        error_fail(errp, "not-supported", NULL, NULL,
                   "accelerator '%s' cannot stop guest code for a debugger", m->accel->name);
        error_hint(errp, "use -accel tcg");
        return false;
    }
    return true;
}

static bool point_same(const DebugPoint *a, const DebugPoint *b)
{
    return a->kind == b->kind && a->addr == b->addr && (a->kind < DEBUG_WATCH_WRITE || a->len == b->len);
}

static unsigned point_index(const MachineDebug *d, const DebugPoint *p)
{
    unsigned i = 0;
    while (i < d->n && !point_same(&d->points[i], p)) {
        i++;
    }
    return i;
}

static void points_changed(MachineDebug *d)
{
    d->n_breaks = d->n_watches = 0;
    for (unsigned i = 0; i < d->n; i++) {
        *(d->points[i].kind < DEBUG_WATCH_WRITE ? &d->n_breaks : &d->n_watches) += 1;
    }
    d->serial = d->serial == UINT32_MAX ? 1 : d->serial + 1;
}

static bool stands(const Machine *m, Error **errp)
{
    return !machine_running(m) || error_set(errp, "points cannot be changed while the machine runs");
}

bool debug_point_add(Machine *m, DebugPoint p, Error **errp)
{
    static const char *const names[] = { "software breakpoints", "hardware breakpoints", "write watchpoints",
                                         "read watchpoints", "access watchpoints" };
    MachineDebug *d = &m->debug;
    role_assert_main();
    g_assert(p.kind < DEBUG_POINT_KINDS);
    if (!stands(m, errp)) {
        return false;
    }
    if (!(m->accel->debug_kinds >> p.kind & 1)) {
        return error_set(errp, "accelerator '%s' has no %s", m->accel->name, names[p.kind]);
    }
    if (p.kind >= DEBUG_WATCH_WRITE && (!p.len || p.addr + (p.len - 1) < p.addr)) {
        return error_set(errp, "a watchpoint of 0x%" PRIx64 " bytes at 0x%" PRIx64 " makes no sense", p.len,
                         p.addr);
    }
    if (point_index(d, &p) < d->n) {
        return true;
    }
    if (d->n == DEBUG_POINTS_MAX) {
        return error_set(errp, "there are %u points already", d->n);
    }
    if (m->accel->debug_point && !m->accel->debug_point(m, &p, true, errp)) {
        return false;
    }
    d->points = g_renew(DebugPoint, d->points, d->n + 1);
    d->points[d->n++] = p;
    points_changed(d);
    return true;
}

static bool point_remove(Machine *m, DebugPoint p, Error **errp)
{
    MachineDebug *d = &m->debug;
    unsigned i = point_index(d, &p);
    if (i == d->n) {
        return true;
    }
    if (m->accel->debug_point && !m->accel->debug_point(m, &p, false, errp)) {
        return false;
    }
    d->points[i] = d->points[--d->n];
    points_changed(d);
    return true;
}

bool debug_point_remove(Machine *m, DebugPoint p, Error **errp)
{
    role_assert_main();
    return stands(m, errp) && point_remove(m, p, errp);
}

static void points_clear(Machine *m)
{
    MachineDebug *d = &m->debug;
    while (d->n) {
        Error *err = NULL;
        if (!point_remove(m, d->points[d->n - 1], &err)) { /* it can no longer be undone: forget it */
            error_free(err);
            d->n--;
            points_changed(d);
        }
    }
    g_clear_pointer(&d->points, g_free);
}

void debug_points_clear(Machine *m)
{
    role_assert_main();
    g_assert(!machine_running(m));
    points_clear(m);
}

void debug_end(Machine *m)
{
    bool running = machine_running(m);
    role_assert_main();
    if (running) {
        vcpus_pause(m);
    }
    points_clear(m);
    debug_release(m);
    if (running) {
        machine_clock_pause(m, false);
        vcpus_resume(m);
    }
}

void debug_note_hit(Vcpu *cpu, DebugKind kind, uint64_t addr)
{
    if (!cpu->debug.hit) {
        cpu->debug.hit_kind = kind;
        cpu->debug.hit_addr = addr;
        cpu->debug.hit = true;
    }
}

Vcpu *debug_take_hit(Machine *m, DebugKind *kind, uint64_t *addr)
{
    g_assert(!machine_running(m));
    for (unsigned k = 1; m->cpus && k <= m->n_cpus; k++) {
        unsigned i = (m->debug.told + k) % m->n_cpus;
        VcpuDebug *d = &m->cpus[i]->debug;
        if (d->hit) {
            *kind = d->hit_kind;
            *addr = d->hit_addr;
            d->hit = false;
            m->debug.told = i;
            return m->cpus[i];
        }
    }
    return NULL;
}

void debug_drop_repeatable(Machine *m)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        VcpuDebug *d = &m->cpus[i]->debug;
        d->hit &= d->hit_kind >= DEBUG_WATCH_WRITE && d->hit_kind <= DEBUG_WATCH_ACCESS;
    }
}

void debug_release(Machine *m)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        m->cpus[i]->debug = (VcpuDebug){ 0 };
    }
    m->priv->timers_held = false;
}

void debug_resume(Machine *m, const DebugAction *action, unsigned step)
{
    bool some = false, all_wait = true;
    if (machine_running(m)) {
        return;
    }
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        bool steps = action[i] == DEBUG_RUN_ONE;
        cpu->debug.held = action[i] == DEBUG_HOLD;
        cpu->debug.hit = false;
        cpu->debug.step = steps ? step | DEBUG_STEP_ON : 0;
        some |= steps;
        /* One that waits for an interrupt steps over the wait, which may need a timer. */
        all_wait &= !steps || cpu->halted;
    }
    /* With counted time a timer that is due ends the vCPUs' turn: it cannot wait. */
    m->priv->timers_held = some && !all_wait && (step & DEBUG_STEP_NO_TIMER) && !m->icount.on;
    machine_start_held(m);
}

/* SPDX-License-Identifier: MIT
 * system/accel_move.c - a stopped machine goes on with another accelerator.
 * Models: docs/devel/machine-core.md, "Another accelerator". Everything a guest can see is in the CPU
 *   structs and devices while vCPUs are parked, so the old accelerator lets go, and the new one is set up as
 *   at the start.
 * Does not model: moving with instruction-counted time, or between threads and turns (serial mode).
 * Threads: main loop, every vCPU parked. vCPU threads stay; what belongs to one is done there.
 */
#include "internal.h"

#include "rhea/system/doorbell.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

/* After a failure that could not be undone: the state is whole, but nothing runs it until another move
 * succeeds. */
static const AccelOps accel_nothing = { .name = "none", .desc = "no accelerator" };

typedef struct Call {
    Vcpu *cpu;
    void (*fn)(Vcpu *cpu);
} Call;

static void call_run(void *opaque)
{
    Call *c = opaque;
    c->fn(c->cpu);
}

static void on_each(Machine *m, void (*fn)(Vcpu *cpu))
{
    for (unsigned i = 0; fn && i < m->n_cpus; i++) {
        Call c = { m->cpus[i], fn };
        vcpu_run_on_wait(m->cpus[i], call_run, &c);
    }
}

static void view_changed(Machine *m, const FlatView *was, const FlatView *now)
{
    if (m->accel->memory_changed) {
        m->accel->memory_changed(m, was, now);
    }
}

/* Others may be about to kick it, or whoever asked for this call still is: not the accelerator that goes. */
static void cpu_set_ready(Vcpu *cpu, bool ready)
{
    pthread_mutex_lock(&cpu->lock);
    cpu->accel_ready = ready;
    pthread_mutex_unlock(&cpu->lock);
}

static void cpu_leave(Vcpu *cpu)
{
    cpu_set_ready(cpu, false);
    if (cpu->machine->accel->vcpu_fini) {
        cpu->machine->accel->vcpu_fini(cpu);
    }
}

/* The CPU structs count already. */
static void let_go(Machine *m)
{
    if (m->priv->accel_up) {
        doorbells_close(m);
    }
    on_each(m, cpu_leave);
    if (m->priv->accel_up && m->accel->machine_fini) {
        m->accel->machine_fini(m);
    }
    m->priv->accel_up = false;
}

static bool same_points(Machine *m, Error **errp)
{
    static const char *const what[] = { "software breakpoints", "hardware breakpoints", "write watchpoints",
                                        "read watchpoints", "access watchpoints" };
    for (unsigned i = 0; i < m->debug.n; i++) {
        const DebugPoint *p = &m->debug.points[i];
        if (!(m->accel->debug_kinds >> p->kind & 1)) {
            return error_fail(errp, "conflict", NULL, "remove it in the debugger, then try again",
                              "the debugger has %s, which accelerator '%s' lacks", what[p->kind],
                              m->accel->name);
        }
        if (m->accel->debug_point && !m->accel->debug_point(m, p, true, errp)) {
            return false;
        }
    }
    return true;
}

static bool take_up(Machine *m, const AccelOps *a, void *state, Error **errp)
{
    const TargetOps *t = m->board->target;
    bool serial = m->serial_mode;
    m->accel = a;
    m->accel_state = state;
    m->priv->accel_up = true;
    if (a->machine_init && !a->machine_init(m, errp)) {
        return false;
    }
    if (m->serial_mode != serial) {
        m->serial_mode = serial;
        return error_fail(errp, "not-supported", NULL, "start the machine with the other accelerator",
                          "this machine's CPUs have threads of their own, and must go on so");
    }
    if (t->accel_fits && !t->accel_fits(m, errp)) {
        return false;
    }
    for (unsigned i = 0; i < m->n_cpus; i++) {
        if (a->vcpu_init && !a->vcpu_init(m->cpus[i], errp)) {
            return false;
        }
        cpu_set_ready(m->cpus[i], true);
    }
    mem_begin(m);
    view_changed(m, NULL, as_view(&m->as_mem));
    mem_commit(m);
    doorbells_open(m);
    if (!same_points(m, errp)) {
        return false;
    }
    on_each(m, a->regs_push);
    return true;
}

static bool can_move(const Machine *m, const AccelOps *to, Error **errp)
{
    if (!m->cpus || !m->n_cpus || !m->accel || !to->run) {
        return error_fail(errp, "no-cpu", NULL, "name an accelerator that runs one: x-rhea-query-accel",
                          "%s '%s' runs no CPU", !to->run ? "accelerator" : "machine",
                          !to->run ? to->name : m->board->name);
    }
    if (machine_running(m)) {
        error_fail(errp, "running", NULL, NULL, "the machine is running");
        error_hint(errp, "stop it first");
        return false;
    }
    if (m->icount.on) {
        return error_fail(errp, "not-supported", NULL, "start the machine without -icount",
                          "with -icount time is counted in instructions of accelerator 'tcg'");
    }
    if (m->serial_mode) {
        return error_fail(errp, "not-supported", NULL, "start the machine with thread=multi",
                          "this machine's CPUs take turns in one thread, and must go on so");
    }
    if (to->available && !to->available(errp)) {
        return false;
    }
    return true;
}

static void tell_all(Machine *m)
{
    for (GSList *l = m->listeners, *next; l; l = next) {
        const MachineListener *lis = l->data;
        next = l->next;
        if (lis->accel) {
            lis->accel(lis->opaque);
        }
    }
    on_each(m, m->board->target->accel_changed);
}

static void free_state(const AccelOps *a, void *state)
{
    if (state) {
        props_fini(a->props, state);
        g_free(state);
    }
}

/* Back to what ran before; it did, so it should again. */
static void go_back(Machine *m, const AccelOps *a, void *state)
{
    Error *err = NULL;
    let_go(m);
    if (take_up(m, a, state, &err)) {
        return;
    }
    error_prefix(&err, "accelerator '%s' could not be taken up again", a->name);
    error_report(err);
    let_go(m);
    free_state(a, state);
    m->accel = &accel_nothing;
    m->accel_state = NULL;
    machine_set_state(m, RUN_INTERNAL_ERROR);
}

bool machine_move(Machine *m, const AccelOps *to, void *state, Error **errp)
{
    role_assert_main();
    if (!can_move(m, to, errp)) {
        free_state(to, state);
        return false;
    }
    const AccelOps *from = m->accel;
    void *old = m->accel_state;
    on_each(m, from->regs_pull);
    on_each(m, from->regs_settle);
    m->moving = true;
    let_go(m);
    bool ok = take_up(m, to, state, errp);
    if (!ok) {
        go_back(m, from, old);
        free_state(to, state);
    } else {
        free_state(from, old);
    }
    m->moving = false;
    tell_all(m);
    return ok;
}

void machine_clock_not_before(Machine *m, int64_t ns)
{
    role_assert_main();
    if (!m->priv->quitting && m->clock == &m->stop_clock.clock && clock_now(m->clock) < ns) {
        clock_stop_set(&m->stop_clock, ns);
    }
}

/* SPDX-License-Identifier: MIT
 * system/vcpu.c - virtual CPUs: their threads, the exit loop, sleeping and waking, stopping them all.
 * Models: docs/devel/threads.md, "vCPUs".
 * Threads: Vcpu.lock guards only sleep and wake-up; what a sleeper looks at is atomic or its own. A
 *   waker first makes the reason visible, then takes the lock and signals; the sleeper looks at every
 *   reason with the lock held. So no wake-up is lost. park_lock (leaf) guards the parked flags.
 */
#include "internal.h"
#include "rhea/util/lock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static __thread Vcpu *current;

Vcpu *vcpu_current(void)
{
    return current;
}

/* ---- asking ---- */

void vcpu_kick(Vcpu *cpu)
{
    Machine *m = cpu->machine;
    __atomic_store_n(&cpu->exit_request, 1, __ATOMIC_SEQ_CST);
    if (current != cpu) { /* nobody else sleeps there */
        pthread_mutex_lock(&cpu->lock);
        if (cpu->accel_ready && m->accel->kick) { /* under the lock: see cpu_leave() */
            m->accel->kick(cpu);
        }
        pthread_mutex_unlock(&cpu->lock);
        pthread_cond_signal(&cpu->wake); /* without the lock, which it would wake up to wait for */
    }
    if (m->priv->serial_task.run) {
        loop_post(m->loop, &m->priv->serial_task);
    }
}

void vcpu_nap(Vcpu *cpu, int64_t ns)
{
    int64_t end = clock_now(&clock_host_monotonic) + ns;
    const struct timespec until = { .tv_sec = end / 1000000000, .tv_nsec = end % 1000000000 };
    pthread_mutex_lock(&cpu->lock);
    while (!__atomic_load_n(&cpu->exit_request, __ATOMIC_SEQ_CST) &&
           pthread_cond_timedwait(&cpu->wake, &cpu->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&cpu->lock);
}

void vcpu_interrupt(Vcpu *cpu, uint32_t mask)
{
    __atomic_fetch_or(&cpu->irq_pending, mask, __ATOMIC_SEQ_CST);
    vcpu_kick(cpu);
}

void vcpu_interrupt_clear(Vcpu *cpu, uint32_t mask)
{
    __atomic_fetch_and(&cpu->irq_pending, ~mask, __ATOMIC_SEQ_CST);
}

void vcpu_run_on(Vcpu *cpu, Task *work)
{
    if (__atomic_exchange_n(&work->queued, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    work->next = __atomic_load_n(&cpu->work, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&cpu->work, &work->next, work, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
    }
    vcpu_kick(cpu);
}

static bool is_dead(const Vcpu *cpu)
{
    return __atomic_load_n(&cpu->dead, __ATOMIC_SEQ_CST);
}

typedef struct WorkWait {
    Task task;
    void (*run)(void *opaque);
    void *opaque;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
} WorkWait;

static void work_wait_run(void *opaque)
{
    WorkWait *w = opaque;
    w->run(w->opaque);
    pthread_mutex_lock(&w->lock);
    w->finished = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

void vcpu_run_on_wait(Vcpu *cpu, void (*run)(void *opaque), void *opaque)
{
    if (!cpu->thread || current == cpu || is_dead(cpu)) {
        run(opaque);
        return;
    }
    g_assert(!domain_current());
    WorkWait w = { .run = run, .opaque = opaque };
    w.task = (Task){ .run = work_wait_run, .opaque = &w };
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.done, NULL);
    vcpu_run_on(cpu, &w.task);
    pthread_mutex_lock(&w.lock);
    while (!w.finished) {
        pthread_cond_wait(&w.done, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.lock);
}

/* ---- the vCPU's side ---- */

/* The list is a stack, newest first: turned round, so that work runs in order of arrival. */
static void run_work(Vcpu *cpu)
{
    Task *newest = __atomic_exchange_n(&cpu->work, NULL, __ATOMIC_SEQ_CST), *oldest = NULL;
    while (newest) {
        Task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        Task *t = oldest;
        oldest = t->next;
        __atomic_store_n(&t->queued, 0, __ATOMIC_RELEASE);
        t->run(t->opaque);
    }
}

static inline bool has_work(const Vcpu *cpu)
{
    return __atomic_load_n(&cpu->work, __ATOMIC_SEQ_CST) != NULL;
}

static inline bool must_park(const Vcpu *cpu)
{
    return __atomic_load_n(&cpu->stop_request, __ATOMIC_SEQ_CST);
}

static inline bool must_quit(const Vcpu *cpu)
{
    return __atomic_load_n(&cpu->machine->priv->vcpu_quit, __ATOMIC_SEQ_CST);
}

bool vcpu_is_wanted(const Vcpu *cpu)
{
    return must_park(cpu) || has_work(cpu) || must_quit(cpu);
}

static bool wants_to_run(const Vcpu *cpu)
{
    if (!cpu->machine->accel->run) {
        return false; /* accel/test: there is no CPU, only its outline */
    }
    return !cpu->halted || !cpu->target || cpu->target->irq_ready(cpu) ||
           (cpu->machine->accel->runs_halted && cpu->machine->accel->runs_halted(cpu));
}

/* Before anybody else may look at the CPU struct. */
static void pull_regs(Vcpu *cpu)
{
    if (cpu->accel_ready && cpu->machine->accel->regs_pull) {
        cpu->machine->accel->regs_pull(cpu);
    }
}

static void set_parked(Vcpu *cpu, bool parked)
{
    struct MachinePrivate *p = cpu->machine->priv;
    pthread_mutex_lock(&p->park_lock);
    cpu->parked = parked;
    pthread_cond_broadcast(&p->parked);
    pthread_mutex_unlock(&p->park_lock);
}

/* Sleeps until there is work, the end, or (awake == NULL: a parked CPU) no reason to be parked. */
static void sleep_until(Vcpu *cpu, bool parked)
{
    pthread_mutex_lock(&cpu->lock);
    while (!has_work(cpu) && !must_quit(cpu) &&
           (parked ? must_park(cpu) : !must_park(cpu) && !wants_to_run(cpu))) {
        pthread_cond_wait(&cpu->wake, &cpu->lock);
    }
    pthread_mutex_unlock(&cpu->lock);
}

/* This vCPU cannot go on by itself: it parks as if the machine had been stopped, until a reset or cont. */
static void stop_self(Vcpu *cpu)
{
    __atomic_store_n(&cpu->stop_request, true, __ATOMIC_SEQ_CST);
}

static void dispatch_access(Vcpu *cpu, const VcpuExit *e)
{
    Machine *m = cpu->machine;
    AddressSpace *as = e->why == EXIT_PIO ? &m->as_io : &m->as_mem;
    MemAttrs attrs = { .cpu = true, .requester = cpu->index };
    uint8_t *p = e->data;
    for (unsigned i = 0; i < (e->count ? e->count : 1); i++, p += e->size) {
        uint64_t v = 0;
        if (e->write) {
            memcpy(&v, p, e->size);
            as_store(as, e->addr, e->size, GUINT64_FROM_LE(v), attrs);
        } else {
            as_load(as, e->addr, e->size, &v, attrs);
            v = GUINT64_TO_LE(v);
            memcpy(p, &v, e->size);
        }
    }
}

static void handle_exit(Vcpu *cpu, const VcpuExit *e)
{
    Machine *m = cpu->machine;
    switch (e->why) {
    case EXIT_KICKED:
    case EXIT_HALT: /* cpu->halted is set: the loop sleeps */
        break;
    case EXIT_MMIO:
    case EXIT_PIO: dispatch_access(cpu, e); break;
    case EXIT_SHUTDOWN:
        stop_self(cpu);
        machine_request_reset(m, SHUTDOWN_GUEST_RESET);
        break;
    case EXIT_DEBUG:
        stop_self(cpu);
        machine_request_stop(m, RUN_DEBUG);
        break;
    case EXIT_ERROR:
        stop_self(cpu);
        machine_request_stop(m, RUN_INTERNAL_ERROR);
        break;
    }
}

/* ---- one vCPU alone ---- */

/* Either the stopper sees our in_guest, or we see its stop_pending: each stores before it loads. */
static void guest_enter(Vcpu *cpu)
{
    struct MachinePrivate *p = cpu->machine->priv;
    for (;;) {
        __atomic_store_n(&cpu->in_guest, true, __ATOMIC_SEQ_CST);
        if (G_LIKELY(!__atomic_load_n(&p->stop_pending, __ATOMIC_SEQ_CST))) {
            return;
        }
        pthread_mutex_lock(&p->stop_lock);
        __atomic_store_n(&cpu->in_guest, false, __ATOMIC_SEQ_CST);
        pthread_cond_broadcast(&p->stop_changed);
        while (p->stop_owner) {
            pthread_cond_wait(&p->stop_changed, &p->stop_lock);
        }
        pthread_mutex_unlock(&p->stop_lock);
    }
}

static void guest_leave(Vcpu *cpu)
{
    struct MachinePrivate *p = cpu->machine->priv;
    __atomic_store_n(&cpu->in_guest, false, __ATOMIC_SEQ_CST);
    if (G_UNLIKELY(__atomic_load_n(&p->stop_pending, __ATOMIC_SEQ_CST))) {
        pthread_mutex_lock(&p->stop_lock);
        pthread_cond_broadcast(&p->stop_changed);
        pthread_mutex_unlock(&p->stop_lock);
    }
}

static bool others_in_guest(const Vcpu *cpu)
{
    Machine *m = cpu->machine;
    for (unsigned i = 0; i < m->n_cpus; i++) {
        if (m->cpus[i] != cpu && __atomic_load_n(&m->cpus[i]->in_guest, __ATOMIC_SEQ_CST)) {
            return true;
        }
    }
    return false;
}

void vcpus_stop_others(Vcpu *cpu)
{
    enum { SPINS = 1000 }; /* most leave within a microsecond, a wake-up takes fifty */
    Machine *m = cpu->machine;
    struct MachinePrivate *p = m->priv;
    if (m->serial_mode) {
        return;
    }
    g_assert(current == cpu && !domain_current());
    pthread_mutex_lock(&p->stop_lock);
    while (p->stop_owner) { /* stand still for that one: nothing of our instruction was done yet */
        __atomic_store_n(&cpu->in_guest, false, __ATOMIC_SEQ_CST);
        pthread_cond_broadcast(&p->stop_changed);
        pthread_cond_wait(&p->stop_changed, &p->stop_lock);
    }
    p->stop_owner = cpu;
    __atomic_store_n(&p->stop_pending, true, __ATOMIC_SEQ_CST);
    __atomic_store_n(&cpu->in_guest, true, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&p->stop_lock);
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Vcpu *o = m->cpus[i];
        if (o != cpu && __atomic_load_n(&o->in_guest, __ATOMIC_SEQ_CST)) {
            __atomic_store_n(&o->exit_request, 1, __ATOMIC_SEQ_CST);
            if (m->accel->kick) {
                m->accel->kick(o);
            }
        }
    }
    for (unsigned i = 0; i < SPINS && others_in_guest(cpu); i++) {
    }
    pthread_mutex_lock(&p->stop_lock);
    while (others_in_guest(cpu)) {
        pthread_cond_wait(&p->stop_changed, &p->stop_lock);
    }
    pthread_mutex_unlock(&p->stop_lock);
}

void vcpus_resume_others(Vcpu *cpu)
{
    struct MachinePrivate *p = cpu->machine->priv;
    if (cpu->machine->serial_mode) {
        return;
    }
    pthread_mutex_lock(&p->stop_lock);
    g_assert(p->stop_owner == cpu);
    p->stop_owner = NULL;
    __atomic_store_n(&p->stop_pending, false, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&p->stop_changed);
    pthread_mutex_unlock(&p->stop_lock);
}

/* One round: what was asked for, then guest code if there is any to run. exit_request is cleared before
 * anything is looked at: whatever is asked later makes run() return again. */
static void vcpu_round(Vcpu *cpu)
{
    __atomic_exchange_n(&cpu->exit_request, 0, __ATOMIC_SEQ_CST);
    if (has_work(cpu)) {
        pull_regs(cpu);
        run_work(cpu);
    }
    if (must_park(cpu) || must_quit(cpu) || !wants_to_run(cpu)) {
        return;
    }
    guest_enter(cpu);
    VcpuExit e = cpu->machine->accel->run(cpu);
    guest_leave(cpu);
    handle_exit(cpu, &e);
}

static void report_dead(Vcpu *cpu)
{
    Error *err = NULL;
    error_set(&err, "vCPU %u: its thread has ended, which nothing in this program asks of it", cpu->index);
    error_hint(&err, "save the guest's work and start anew: this machine cannot go on");
    error_report(err);
    machine_request_stop(cpu->machine, RUN_INTERNAL_ERROR);
}

/* Whatever ended it (a library, a debugger): the machine stops, and nobody waits for this thread. */
static void thread_died(void *opaque)
{
    Vcpu *cpu = opaque;
    if (cpu->machine->accel->thread_ends) {
        cpu->machine->accel->thread_ends(cpu);
    }
    guest_leave(cpu);
    pull_regs(cpu);
    __atomic_store_n(&cpu->dead, true, __ATOMIC_SEQ_CST);
    run_work(cpu);
    report_dead(cpu);
    set_parked(cpu, true);
    rcu_unregister_thread();
}

static void *vcpu_thread(void *opaque)
{
    Vcpu *cpu = opaque;
    current = cpu;
    __atomic_store_n(&cpu->machine->priv->vcpu_threads[cpu->index], gettid(), __ATOMIC_RELAXED);
    rcu_register_thread();
    set_parked(cpu, must_park(cpu));
    pthread_cleanup_push(thread_died, cpu);
    while (!must_quit(cpu)) {
        vcpu_round(cpu);
        if (must_park(cpu)) {
            pull_regs(cpu);
            set_parked(cpu, true);
            while (must_park(cpu) && !must_quit(cpu)) {
                sleep_until(cpu, true);
                run_work(cpu);
            }
            set_parked(cpu, false);
        } else if (!wants_to_run(cpu)) {
            sleep_until(cpu, false);
        }
    }
    pthread_cleanup_pop(0);
    run_work(cpu);
    set_parked(cpu, true);
    rcu_unregister_thread();
    return NULL;
}

/* ---- serial mode, and accelerators without CPU: the loop's thread is every vCPU's thread in turn ---- */

static void serial_one(Vcpu *cpu)
{
    current = cpu;
    vcpu_round(cpu);
    current = NULL;
}

/* Looked at after all had their turn: a later one may have woken an earlier one. */
static bool serial_wanted(Machine *m)
{
    for (unsigned i = 0; i < m->n_cpus; i++) {
        const Vcpu *cpu = m->cpus[i];
        if (has_work(cpu) || (!must_park(cpu) && wants_to_run(cpu))) {
            return true;
        }
    }
    return false;
}

/* With counted time the round ends where a timer is due; the next one goes on with the next vCPU. */
static bool serial_round_counted(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    bool parked = true;
    /* A round that was posted before all fell asleep must not wake them: it would cut the sleep anywhere. */
    if ((icount_sleeping(m) && !serial_wanted(m)) || !icount_round_begin(m)) {
        return false;
    }
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[p->serial_next % m->n_cpus];
        cpu->budget = icount_budget(m);
        if (!cpu->budget) {
            return true;
        }
        p->serial_next = (cpu->index + 1) % m->n_cpus;
        serial_one(cpu);
        parked &= must_park(cpu);
    }
    return serial_wanted(m) || (!parked && icount_idle(m));
}

static void serial_round(void *opaque)
{
    Machine *m = opaque;
    struct MachinePrivate *p = m->priv;
    bool again = false;
    if (!m->cpus) {
        return;
    }
    if (p->icount) {
        again = serial_round_counted(m);
    } else {
        for (unsigned i = 0; i < m->n_cpus; i++) {
            serial_one(m->cpus[i]);
        }
        again = serial_wanted(m);
    }
    if (again && !must_quit(m->cpus[0])) {
        loop_post(m->loop, &p->serial_task);
    }
}

/* ---- all of them; main loop ---- */

static size_t storage_size(const TargetOps *t)
{
    return MAX(t->state_size, sizeof(Vcpu));
}

/* Zeroed; fresh pages are left alone: a large software TLB costs memory only where it is used. In the lowest
 * 2 GiB if there is room, where translated code reaches it by 32-bit addresses. */
static void *storage_new(size_t size)
{
    void *p = MAP_FAILED;
#ifdef MAP_32BIT
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
#endif
    if (p == MAP_FAILED) {
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    return p == MAP_FAILED ? NULL : p;
}

static bool vcpu_create(Machine *m, unsigned index, Error **errp)
{
    const TargetOps *t = m->board->target;
    Vcpu *cpu = storage_new(storage_size(t));
    if (!cpu) {
        return error_set(errp, "no memory for vCPU %u", index);
    }
    cpu->machine = m;
    cpu->target = t;
    cpu->index = index;
    cpu->stop_request = true;
    cpu->parked = true;
    cpu->budget = m->serial_mode ? VCPU_SERIAL_BUDGET : 0;
    lock_init_adaptive(&cpu->lock);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&cpu->wake, &attr);
    pthread_condattr_destroy(&attr);
    m->cpus[index] = cpu;
    if (t->vcpu_init && !t->vcpu_init(cpu, errp)) {
        return false;
    }
    cpu->target_ready = true;
    if (m->accel->vcpu_init && !m->accel->vcpu_init(cpu, errp)) {
        return false;
    }
    cpu->accel_ready = true;
    return true;
}

bool vcpus_create(Machine *m, Error **errp)
{
    struct MachinePrivate *p = m->priv;
    if (!m->board->target) {
        m->n_cpus = 0;
        p->vcpus_made = true;
        return true;
    }
    m->cpus = g_new0(Vcpu *, m->n_cpus);
    for (unsigned i = 0; i < m->n_cpus; i++) {
        if (!vcpu_create(m, i, errp)) {
            return false;
        }
    }
    mem_begin(m); /* memory_changed is not called before this, and always after */
    p->vcpus_made = true;
    mem_commit(m);
    if (m->serial_mode || !m->accel->run) {
        p->serial_task = (Task){ .run = serial_round, .opaque = m };
        return true;
    }
    p->vcpu_threads = g_new0(int, m->n_cpus);
    for (unsigned i = 0; i < m->n_cpus; i++) {
        g_autofree char *name = g_strdup_printf("vcpu%u", i);
        GError *gerr = NULL;
        m->cpus[i]->thread = g_thread_try_new(name, vcpu_thread, m->cpus[i], &gerr);
        if (!m->cpus[i]->thread) {
            error_set(errp, "no thread for vCPU %u: %s", i, gerr->message);
            g_error_free(gerr);
            return false;
        }
    }
    return true;
}

void vcpus_destroy(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    if (!m->cpus) {
        return;
    }
    g_assert(!domain_current());
    __atomic_store_n(&p->vcpu_quit, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < m->n_cpus; i++) {
        if (m->cpus[i] && m->cpus[i]->thread) {
            vcpu_kick(m->cpus[i]);
            g_thread_join(m->cpus[i]->thread);
            m->cpus[i]->thread = NULL;
        }
    }
    if (p->serial_task.run) {
        loop_unpost(m->loop, &p->serial_task);
        p->serial_task.run = NULL; /* devices that go later may still interrupt */
    }
    for (unsigned i = 0; i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        if (!cpu) {
            continue;
        }
        if (cpu->accel_ready && m->accel->vcpu_fini) {
            m->accel->vcpu_fini(cpu);
        }
        cpu->accel_ready = false;
        if (cpu->target_ready && cpu->target->vcpu_fini) {
            cpu->target->vcpu_fini(cpu);
        }
    }
}

void vcpus_free(Machine *m)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        if (cpu) {
            pthread_mutex_destroy(&cpu->lock);
            pthread_cond_destroy(&cpu->wake);
            munmap(cpu, storage_size(cpu->target));
        }
    }
    g_clear_pointer(&m->cpus, g_free);
}

void vcpus_pause(Machine *m)
{
    struct MachinePrivate *p = m->priv;
    g_assert(!domain_current()); /* a vCPU may be waiting for it */
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        __atomic_store_n(&cpu->stop_request, true, __ATOMIC_SEQ_CST);
        vcpu_kick(cpu);
    }
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        pthread_mutex_lock(&p->park_lock);
        while (cpu->thread && !cpu->parked) {
            pthread_cond_wait(&p->parked, &p->park_lock);
        }
        pthread_mutex_unlock(&p->park_lock);
    }
}

void vcpus_resume(Machine *m)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        Vcpu *cpu = m->cpus[i];
        if (cpu->debug.held) {
            continue;
        }
        if (is_dead(cpu)) {
            report_dead(cpu);
            continue;
        }
        __atomic_store_n(&cpu->stop_request, false, __ATOMIC_SEQ_CST);
        vcpu_kick(cpu);
    }
}

typedef struct ResetCall {
    Vcpu *cpu;
    ResetKind kind;
} ResetCall;

static void reset_vcpu(void *opaque)
{
    ResetCall *c = opaque;
    Machine *m = c->cpu->machine;
    if (c->cpu->target->reset) {
        c->cpu->target->reset(c->cpu, c->kind);
    }
    if (m->accel->regs_push) {
        m->accel->regs_push(c->cpu);
    }
}

void vcpus_reset(Machine *m, ResetKind kind)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        ResetCall c = { .cpu = m->cpus[i], .kind = kind };
        vcpu_run_on_wait(m->cpus[i], reset_vcpu, &c);
    }
}

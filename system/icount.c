/* SPDX-License-Identifier: MIT
 * system/icount.c - virtual time from the number of executed instructions: runs that repeat exactly.
 *
 * Models: -icount. One thread runs everything (serial mode). Virtual time is base_ns + (instructions -
 *         base_insns) << shift. A vCPU runs until the next virtual timer is due, at most a slice; then the
 *         loop fires timers, then the next vCPU runs. With every vCPU halted time jumps to the next timer:
 *         after as much host time (sleep=on) or at once.
 * Does not model: record and replay: what comes from the host (consoles, networks) arrives when it does.
 * Threads: main loop.
 */
#include "internal.h"
#include "rhea/util/errorcode.h"

enum {
    SHIFT_MAX = 10,
    ALIGN_AHEAD_NS = 3000000,   /* align=on: how far virtual time may run ahead of the host's */
    AUTO_PERIOD_NS = 100000000, /* shift=auto looks at the difference this often */
    AUTO_SLACK_NS = 10000000,
};

struct Icount {
    Clock clock;
    Machine *machine;
    unsigned shift;
    uint64_t base_insns;
    int64_t base_ns;
    int64_t host_zero;     /* host time when virtual time was 0, stops left out: align=on, shift=auto */
    int64_t stopped_at;    /* host time of the last stop */
    int64_t judged_at, judged_lag; /* shift=auto */
    bool idle;             /* sleeping since idle_host until virtual time idle_until */
    int64_t idle_host, idle_until;
    Timer wake;            /* host time: ends the sleep, or lets the host catch up */
};

static uint64_t icount_insns(const Machine *m)
{
    uint64_t n = 0;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i] && m->cpus[i]->accel_ready) {
            n += m->accel->insns(m->cpus[i]);
        }
    }
    return n;
}

static int64_t icount_now(const Clock *clock)
{
    const Icount *ic = clock->opaque;
    return ic->base_ns + (int64_t)((icount_insns(ic->machine) - ic->base_insns) << ic->shift);
}

static int64_t host_now(void) { return clock_now(&clock_host_monotonic); }

/* A timer became the first one: a vCPU that is running may have to stop earlier than it was told. */
static void icount_armed(const Clock *clock)
{
    const Icount *ic = clock->opaque;
    Vcpu *cpu = vcpu_current();
    if (cpu && cpu->machine == ic->machine) {
        __atomic_store_n(&cpu->exit_request, 1, __ATOMIC_RELAXED);
    }
}

static void icount_rebase(Icount *ic, int64_t ns)
{
    ic->base_insns = icount_insns(ic->machine);
    ic->base_ns = ns;
}

static void icount_wake(void *opaque)
{
    Icount *ic = opaque;
    loop_post(ic->machine->loop, &ic->machine->priv->serial_task);
}

bool icount_check(Machine *m, Error **errp)
{
    if (!m->icount.on) {
        return true;
    }
    if (!m->accel->insns) {
        error_fail(errp, "conflict", "accel", NULL,
                   "-icount: accelerator '%s' does not count instructions", m->accel->name);
        error_hint(errp, "use -accel tcg");
        return false;
    }
    m->serial_mode = true;
    return true;
}

const Clock *icount_new(Machine *m)
{
    Icount *ic = g_new0(Icount, 1);
    ic->clock = (Clock){ .now = icount_now, .opaque = ic, .stands = true, .armed = icount_armed };
    ic->machine = m;
    ic->shift = m->icount.automatic ? 3 : m->icount.shift;
    ic->stopped_at = ic->host_zero = host_now();
    timer_init(&ic->wake, m->loop, &clock_host_monotonic, icount_wake, ic);
    m->priv->icount = ic;
    return &ic->clock;
}

void icount_free(Machine *m)
{
    if (m->priv->icount) {
        timer_cancel(&m->priv->icount->wake);
        g_clear_pointer(&m->priv->icount, g_free);
    }
}

void icount_set(Machine *m, int64_t ns)
{
    Icount *ic = m->priv->icount;
    icount_rebase(ic, ns);
    ic->host_zero = host_now() - ns;
}

void icount_paused(Machine *m, bool paused)
{
    Icount *ic = m->priv->icount;
    timer_cancel(&ic->wake);
    ic->idle = false;
    if (paused) {
        ic->stopped_at = host_now();
    } else {
        ic->host_zero += host_now() - ic->stopped_at;
    }
}

static int64_t next_deadline(Machine *m)
{
    int64_t first = TIMER_OFF;
    for (guint i = 0; i < m->priv->loops->len; i++) {
        first = MIN(first, loop_deadline(m->priv->loops->pdata[i], m->clock));
    }
    return first;
}

unsigned icount_budget(Machine *m)
{
    const Icount *ic = m->priv->icount;
    int64_t deadline = next_deadline(m), now = clock_now(m->clock);
    if (deadline <= now) {
        return 0;
    }
    uint64_t insns = UINT64_MAX;
    if (deadline != TIMER_OFF) {
        insns = ((uint64_t)(deadline - now) + (1u << ic->shift) - 1) >> ic->shift;
    }
    return (unsigned)MIN(insns, (uint64_t)VCPU_SERIAL_BUDGET);
}

/* Virtual time, minus what it would be if it went like the host's. */
static int64_t icount_ahead(const Icount *ic)
{
    return clock_now(&ic->clock) - (host_now() - ic->host_zero);
}

/* Slower guests get more time for each instruction, so that their clocks keep up with the host's. */
static void icount_adjust(Icount *ic)
{
    int64_t host = host_now(), ahead = icount_ahead(ic);
    if (host - ic->judged_at < AUTO_PERIOD_NS) {
        return;
    }
    bool grows = ahead > ic->judged_lag, shrinks = ahead < ic->judged_lag;
    unsigned shift = ic->shift;
    if (ahead > AUTO_SLACK_NS && grows && shift > 0) {
        shift--;
    } else if (ahead < -AUTO_SLACK_NS && shrinks && shift < SHIFT_MAX) {
        shift++;
    }
    if (shift != ic->shift) {
        icount_rebase(ic, clock_now(&ic->clock));
        ic->shift = shift;
    }
    ic->judged_at = host;
    ic->judged_lag = ahead;
}

bool icount_sleeping(Machine *m)
{
    const Icount *ic = m->priv->icount;
    return ic->idle && host_now() - ic->idle_host < ic->idle_until - clock_now(&ic->clock);
}

bool icount_round_begin(Machine *m)
{
    Icount *ic = m->priv->icount;
    if (ic->idle) { /* as much as the host has slept, not beyond the timer: so it is the same in every run */
        int64_t now = clock_now(&ic->clock), slept = host_now() - ic->idle_host;
        icount_rebase(ic, slept >= ic->idle_until - now ? ic->idle_until : now + MAX(slept, 0));
        ic->idle = false;
        timer_cancel(&ic->wake);
    }
    if (m->icount.automatic) {
        icount_adjust(ic);
    }
    int64_t ahead = m->icount.align ? icount_ahead(ic) : 0;
    if (ahead > ALIGN_AHEAD_NS) {
        timer_arm(&ic->wake, host_now() + ahead);
        return false;
    }
    return true;
}

bool icount_idle(Machine *m)
{
    Icount *ic = m->priv->icount;
    int64_t deadline = next_deadline(m), now = clock_now(&ic->clock);
    if (deadline == TIMER_OFF || deadline <= now) {
        return deadline <= now;
    }
    if (m->icount.no_sleep) {
        icount_rebase(ic, deadline);
        return true;
    }
    ic->idle = true;
    ic->idle_host = host_now();
    ic->idle_until = deadline;
    timer_arm(&ic->wake, ic->idle_host + (deadline - now));
    return false;
}

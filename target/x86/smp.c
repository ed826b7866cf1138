/* SPDX-License-Identifier: MIT
 * target/x86/smp.c - vCPUs among each other: requests that cross threads, code that another vCPU writes, locked accesses
 * no host instruction can do, and giving way in spin loops.
 * Models: SDM vol. 3 8.1.2 (locked accesses of any alignment), 8.1.3 (cross-modifying code); PAUSE.
 * Does not model: PAUSE-loop exiting, split-lock detection.
 * Threads: each function says; the protocol and its argument are in docs/devel/threads.md, "Code and other vCPUs".
 */
#include "t0.h"
#include <sched.h>
#include <time.h>

/* --- requests from other threads --- */

static void request(Vcpu *v, uint32_t what)
{
    T0State *t = x86_cpu(v)->t0;
    __atomic_fetch_or(&t->wanted, what, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&v->exit_request, EXIT_SELF, __ATOMIC_SEQ_CST);
}

static bool is_own(const Vcpu *v)
{
    return vcpu_current() == v || !v->thread;
}

/* Any thread. */
void smp_request_flush(Vcpu *v, unsigned what)
{
    X86Cpu *cpu = x86_cpu(v);
    T0State *t = cpu->t0;
    if (!t) {
        return;
    }
    if (what & TCG_FLUSH_UNITS) { /* the memory that waiting notes are about may go away; all units go, too */
        pthread_mutex_lock(&t->lock);
        t->n_inbox = 0;
        pthread_mutex_unlock(&t->lock);
    }
    request(v, what);
    if (is_own(v) && t->running) { /* our own instruction changed the map: now, and a new view */
        if (what & TCG_FLUSH_TLB) {
            mem_begin_run(cpu);
            x86_tlb_flush(cpu, false);
        }
        x86_unit_leave(cpu);
    }
}

/* Any thread; t->lock held. `full`: what to ask for instead when there is no room. `wanted` is set before the caller
 * counts the request in `asked`: whoever sees the count sees the request. */
static void note(Vcpu *v, CodeWrite w, uint32_t full)
{
    T0State *t = x86_cpu(v)->t0;
    if (t->n_inbox < INBOX_MAX) {
        t->inbox[t->n_inbox++] = w;
        request(v, WANT_INBOX);
    } else {
        request(v, full);
    }
}

/* Any thread. */
void smp_code_written(Vcpu *v, RamBlock *ram, uint64_t off, uint64_t len)
{
    X86Cpu *cpu = x86_cpu(v);
    T0State *t = cpu->t0;
    if (!t || !len) {
        return;
    }
    if (is_own(v)) {
        unit_code_written(cpu, ram, off, len);
        return;
    }
    pthread_mutex_lock(&t->lock);
    note(v, (CodeWrite){ ram, off, len }, TCG_FLUSH_UNITS);
    pthread_mutex_unlock(&t->lock);
}

/* The vCPU's thread, between units or inside an instruction that asked for a flush. */
void t0_take_requests(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    CodeWrite in[INBOX_MAX];
    /* Under the lock a request and its count are seen together: a request that was taken without its count would
     * never be answered, and the asker waits for that. */
    pthread_mutex_lock(&t->lock);
    uint32_t asked = __atomic_load_n(&t->asked, __ATOMIC_ACQUIRE);
    uint32_t what = __atomic_exchange_n(&t->wanted, 0, __ATOMIC_SEQ_CST);
    unsigned n = t->n_inbox;
    memcpy(in, t->inbox, n * sizeof(in[0]));
    t->n_inbox = 0;
    pthread_mutex_unlock(&t->lock);
    if (n) {
        for (unsigned i = 0; i < n; i++) {
            if (in[i].len) {
                unit_code_written(cpu, in[i].ram, in[i].off, in[i].len);
            } else if (tlb_unmap_writes(cpu, (uintptr_t)in[i].ram->host + in[i].off)) {
                ram_written(in[i].ram, in[i].off, RAM_PAGE_SIZE); /* may have been stored to meanwhile */
            }
        }
    }
    if (what & (TCG_FLUSH_TLB | TCG_RECHECK_WRITES)) {
        tlb_recheck_writes(cpu);
    }
    if (what & TCG_FLUSH_TLB) {
        mem_begin_run(cpu);
        x86_tlb_flush(cpu, false);
    }
    if (what & TCG_FLUSH_UNITS) {
        units_drop_all(cpu);
    }
    __atomic_store_n(&t->done, asked, __ATOMIC_RELEASE);
}

/* --- pages that become code --- */

typedef struct Asking {
    X86Cpu *cpu;
    const CodePage *page;
} Asking;

/* Nobody had code of the page: the others may hold write tags for it. One that is not running answers before it runs. */
static void ask_others(void *opaque)
{
    const Asking *a = opaque;
    Machine *m = a->cpu->vcpu.machine;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        Vcpu *v = m->cpus[i];
        T0State *t = v && v != &a->cpu->vcpu ? x86_cpu(v)->t0 : NULL;
        if (!t) {
            continue;
        }
        pthread_mutex_lock(&t->lock);
        note(v, (CodeWrite){ a->page->ram, a->page->ram_off, 0 }, TCG_RECHECK_WRITES);
        if (t->running) {
            __atomic_fetch_add(&t->asked, 1, __ATOMIC_RELEASE);
        }
        pthread_mutex_unlock(&t->lock);
    }
}

void smp_watch_page(X86Cpu *cpu, CodePage *p)
{
    T0State *t = cpu->t0;
    Machine *m = cpu->vcpu.machine;
    ram_code_join(p->ram, p->ram_off >> RAM_PAGE_BITS, ask_others, &(Asking){ cpu, p });
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        const T0State *o = m->cpus[i] && m->cpus[i] != &cpu->vcpu ? x86_cpu(m->cpus[i])->t0 : NULL;
        if (!o) {
            continue;
        }
        /* Also what another vCPU asked for when it made this page code. */
        uint32_t asked = __atomic_load_n(&o->asked, __ATOMIC_ACQUIRE);
        if (asked != __atomic_load_n(&o->done, __ATOMIC_ACQUIRE)) {
            t->await[i] = (Await){ .ticket = asked, .open = true };
            t->awaiting = true;
        }
    }
    if (t->awaiting) { /* the unit to be built is the only one to run before the answers */
        __atomic_fetch_or(&cpu->vcpu.exit_request, EXIT_SELF, __ATOMIC_RELAXED);
    }
}

bool smp_settled(X86Cpu *cpu)
{
    enum { SPINS = 200 };
    T0State *t = cpu->t0;
    Machine *m = cpu->vcpu.machine;
    for (unsigned spin = 0; spin < SPINS; spin++) {
        bool open = false;
        for (unsigned i = 0; i < m->n_cpus; i++) {
            Await *a = &t->await[i];
            if (a->open) {
                uint32_t done = __atomic_load_n(&x86_cpu(m->cpus[i])->t0->done, __ATOMIC_ACQUIRE);
                a->open = (int32_t)(done - a->ticket) < 0;
                open |= a->open;
            }
        }
        if (!open) { /* what they reported came before their answers: it is in `wanted` now */
            t->awaiting = false;
            return !__atomic_load_n(&t->wanted, __ATOMIC_ACQUIRE);
        }
        if (__atomic_load_n(&cpu->vcpu.exit_request, __ATOMIC_ACQUIRE)) {
            return false; /* among others: somebody waits for our answer */
        }
    }
    sched_yield();
    return false;
}

void smp_run_begin(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    pthread_mutex_lock(&t->lock);
    t->running = true;
    pthread_mutex_unlock(&t->lock);
}

/* Whoever finds `running` false under the lock knows that every store of this vCPU was heard or came before. */
void smp_run_end(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    for (;;) {
        pthread_mutex_lock(&t->lock);
        if (!__atomic_load_n(&t->wanted, __ATOMIC_SEQ_CST)) {
            t->running = false;
            __atomic_store_n(&t->done, t->asked, __ATOMIC_RELEASE);
            pthread_mutex_unlock(&t->lock);
            return;
        }
        pthread_mutex_unlock(&t->lock);
        t0_take_requests(cpu);
    }
}

/* --- locked accesses that are several host accesses --- */

void smp_split_begin(X86Cpu *cpu)
{
    if (cpu->vcpu.machine->n_cpus > 1 && !cpu->t0->stopped_others) {
        vcpus_stop_others(&cpu->vcpu);
        cpu->t0->stopped_others = true;
    }
}

/* Also when a fault left the instruction. */
void smp_split_end(X86Cpu *cpu)
{
    if (G_UNLIKELY(cpu->t0->stopped_others)) {
        cpu->t0->stopped_others = false;
        vcpus_resume_others(&cpu->vcpu);
    }
}

/* --- spin loops --- */

enum {
    SPIN_GAP = 64,       /* PAUSEs with more instructions between them are no loop */
    SPIN_YIELD = 32,     /* every so many the thread yields, or in serial mode lets the next vCPU run */
    SPIN_SLEEP = 2048,   /* and after so many it sleeps: yielding alone does not help against another scheduling class */
    SPIN_SLEEP_NS = 50000,
    /* a single vCPU: */
    SPIN_LOOK = 16,             /* every so many PAUSEs it looks at the time */
    SPIN_DENSE_NS = 64000,      /* they are a loop when they took no longer */
    SPIN_PATIENCE_NS = 1000000, /* such a loop naps from then on, */
    SPIN_NAP_NS = 50000,        /* so long each time */
};

/* Nobody but time and devices can end the loop. Kernels wait a tenth of a second for the rate of a timer; waiting so long
 * without the host's CPU is not noticed. sched_yield() would cost timer ticks on a busy host: naps are short, and whatever
 * interrupts the vCPU ends them. */
static void spin_alone(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    if (++t->spins % SPIN_LOOK || cpu->vcpu.machine->serial_mode) {
        return;
    }
    int64_t now = clock_now(&clock_host_monotonic), took = now - t->spin_seen;
    t->spin_seen = now;
    if (took > SPIN_DENSE_NS) { /* no loop; or the host was busy elsewhere */
        t->spin_ns -= t->spin_ns / 4;
        return;
    }
    t->spin_ns = MIN(t->spin_ns + took, SPIN_PATIENCE_NS);
    if (t->spin_ns == SPIN_PATIENCE_NS) {
        vcpu_nap(&cpu->vcpu, SPIN_NAP_NS);
        t->spin_seen = clock_now(&clock_host_monotonic);
    }
}

void x86_spin(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    if (cpu->vcpu.machine->n_cpus < 2) {
        spin_alone(cpu);
        return;
    }
    bool loop = cpu->insn_count - t->spin_at <= SPIN_GAP;
    t->spin_at = cpu->insn_count;
    t->spins = loop ? t->spins + 1 : 0;
    if (!t->spins || t->spins % SPIN_YIELD) {
        return;
    }
    if (cpu->vcpu.machine->serial_mode) {
        __atomic_fetch_or(&cpu->vcpu.exit_request, EXIT_CORE, __ATOMIC_RELAXED);
    } else if (t->spins % SPIN_SLEEP) {
        sched_yield();
    } else {
        nanosleep(&(struct timespec){ .tv_nsec = SPIN_SLEEP_NS }, NULL);
    }
}

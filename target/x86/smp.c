/* SPDX-License-Identifier: MIT
 * target/x86/smp.c - what a vCPU owes the others: giving up the host's processor while it waits for them.
 * Models: SDM vol. 2 PAUSE (a hint; it may take any time).
 * Does not model: PAUSE-loop exiting.
 * Threads: the vCPU's thread.
 */
#include "t0.h"
#include <sched.h>
#include <time.h>

enum {
    SPIN_GAP = 64,       /* PAUSEs with more instructions between them are no loop */
    SPIN_YIELD = 32,     /* every so many the thread yields, or in serial mode lets the next vCPU run */
    SPIN_SLEEP = 2048,   /* and after so many it sleeps: yielding alone does not help against another scheduling class */
    SPIN_SLEEP_NS = 50000,
};

void x86_spin(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
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

/* SPDX-License-Identifier: MIT
 * rhea/system/vcpu.h - virtual CPUs: threads, interrupts requests, the exit loop.
 */
#ifndef RHEA_SYSTEM_VCPU_H
#define RHEA_SYSTEM_VCPU_H

#include "rhea/system/debug.h"
#include "rhea/system/memory.h"
#include "rhea/util/loop.h"

typedef struct TargetOps TargetOps;

typedef enum ExitReason {
    EXIT_KICKED,   /* exit_request was seen: look at work, stop, interrupts */
    EXIT_MMIO,     /* KVM: dispatch and come back */
    EXIT_PIO,
    EXIT_HALT,     /* vcpu->halted is set; sleep until irq_ready() */
    EXIT_SHUTDOWN, /* triple fault or equivalent: the machine resets (or what -action says) */
    EXIT_DEBUG,    /* breakpoint, single step: the debugger owns it */
    EXIT_ERROR,    /* the accelerator gave up; already reported */
} ExitReason;
typedef struct VcpuExit {
    ExitReason why;
    bool write;
    unsigned size;
    hwaddr addr;
    uint8_t *data;
    unsigned count;
} VcpuExit;

/* First member of every target's CPU struct. */
struct Vcpu {
    Machine *machine;
    const TargetOps *target;
    unsigned index;
    void *accel;              /* the accelerator's own per-vCPU state */
    /* Atomic, any thread. Bits are the target's (X86_IRQ_*); set by vcpu_interrupt(). */
    uint32_t irq_pending;
    uint8_t exit_request;     /* atomic: leave guest code soon; cleared by the vCPU's thread */
    bool halted;              /* own thread: executed HLT (or awaits SIPI); wakes when irq_ready() */
    bool parked;              /* own thread: stopped with the machine */
    bool stop_request;        /* atomic */
    GThread *thread;
    bool dead;                /* atomic: the thread has ended by itself; parked then */
    pthread_mutex_t lock;     /* guards the wait below */
    pthread_cond_t wake;
    Task *work;               /* atomic list of vcpu_run_on() tasks */
    bool in_guest;            /* atomic: between entering run() and leaving it */
    unsigned budget;          /* > 0 (serial mode): run() returns EXIT_KICKED after about this many instructions */
    VcpuDebug debug;
    bool target_ready, accel_ready; /* private: what vcpu_fini undoes */
};
enum { VCPU_SERIAL_BUDGET = 20000 };

/* Any thread: atomic OR into irq_pending, then kick if the vCPU may be running or asleep. */
void vcpu_interrupt(Vcpu *cpu, uint32_t mask);
void vcpu_interrupt_clear(Vcpu *cpu, uint32_t mask);
static inline uint32_t vcpu_irq_pending(const Vcpu *cpu) { return __atomic_load_n(&cpu->irq_pending, __ATOMIC_ACQUIRE); }
/* Any thread: makes it leave guest code (exit_request, AccelOps.kick) or wake from halt. */
void vcpu_kick(Vcpu *cpu);
/* The vCPU's thread, inside run(): sleeps for ns at most, until somebody kicks it. */
void vcpu_nap(Vcpu *cpu, int64_t ns);
/* Any thread: run on the vCPU's thread between instructions. The _wait form must not be called with a
 * domain held; on the vCPU's own thread, or while its thread does not run, it calls work->run directly. */
void vcpu_run_on(Vcpu *cpu, Task *work);
void vcpu_run_on_wait(Vcpu *cpu, void (*run)(void *opaque), void *opaque);
/* The vCPU's thread, inside run(), no domain held: returns when no other vCPU is inside run(); none enters until
 * vcpus_resume_others(), which must come soon. Two that call at once follow each other. Nothing in serial mode. */
void vcpus_stop_others(Vcpu *cpu);
void vcpus_resume_others(Vcpu *cpu);
Vcpu *vcpu_current(void); /* the vCPU whose thread this is, or NULL */
/* On its thread: somebody waits for it to park, to work or to end. A register handler that waits for something
 * of the main loop's (no domain held meanwhile) gives up then, else both wait for each other. */
bool vcpu_is_wanted(const Vcpu *cpu);

#endif

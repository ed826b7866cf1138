/* SPDX-License-Identifier: MIT
 * rhea/system/debug.h - what a debugger asks of a machine, whatever runs its CPUs: break- and watchpoints, single steps,
 * which vCPUs run, and why they stopped.
 *
 * Points and steps change while the machine does not run; vCPUs read them when they enter run() and while they are in it.
 * A vCPU that hits one notes it in Vcpu.debug.hit and returns EXIT_DEBUG; the machine then stops with RUN_DEBUG.
 * Threads: main loop, unless said otherwise.
 */
#ifndef RHEA_SYSTEM_DEBUG_H
#define RHEA_SYSTEM_DEBUG_H

#include "rhea/util/error.h"
#include <stdint.h>

typedef struct Machine Machine;
typedef struct Vcpu Vcpu;

typedef enum DebugKind { /* the first five have the numbers of GDB's Z packets */
    DEBUG_BREAK_SOFT, DEBUG_BREAK_HARD, DEBUG_WATCH_WRITE, DEBUG_WATCH_READ, DEBUG_WATCH_ACCESS,
    DEBUG_POINT_KINDS,
    DEBUG_STEP = DEBUG_POINT_KINDS, /* of a hit */
} DebugKind;
typedef struct DebugPoint {
    DebugKind kind;
    uint64_t addr, len; /* linear; len counts for watchpoints */
} DebugPoint;

enum { /* VcpuDebug.step; QEMU's sstepbits */
    DEBUG_STEP_ON = 1,
    DEBUG_STEP_NO_IRQ = 2,   /* no interrupt is taken in place of the instruction */
    DEBUG_STEP_NO_TIMER = 4, /* virtual timers wait meanwhile */
};

typedef struct VcpuDebug { /* in Vcpu; written while it is parked, but for `hit` */
    uint8_t step;          /* DEBUG_STEP_* */
    bool held;             /* stays parked while the others run */
    bool hit;              /* own thread, then whoever parked it: what follows is true and was not told yet */
    DebugKind hit_kind;
    uint64_t hit_addr;     /* of a watchpoint: the first byte of it that was touched */
} VcpuDebug;

enum { DEBUG_POINTS_MAX = 1024 };
typedef struct MachineDebug { /* in Machine */
    DebugPoint *points;
    unsigned n, n_breaks, n_watches;
    unsigned told;         /* the vCPU whose hit was told last: the others come first the next time */
    uint32_t serial;       /* another one whenever points change; never 0 after that */
} MachineDebug;

typedef enum DebugAction { DEBUG_HOLD, DEBUG_RUN, DEBUG_RUN_ONE } DebugAction;

/* Are there CPUs, and can the accelerator stop them? */
bool debug_supported(const Machine *m, Error **errp);
/* Adding one that is there, and removing one that is not, are no errors. */
bool debug_point_add(Machine *m, DebugPoint p, Error **errp);
bool debug_point_remove(Machine *m, DebugPoint p, Error **errp);
void debug_points_clear(Machine *m);
/* The debugger is gone: no points, and nothing is held; the machine goes on running if it did. */
void debug_end(Machine *m);
/* Starts the machine: action[i] says what vCPU i does. step: DEBUG_STEP_* of those that step. */
void debug_resume(Machine *m, const DebugAction *action, unsigned step);
/* The machine is stopped: a vCPU that has something to tell, which it then has told; NULL: none. */
Vcpu *debug_take_hit(Machine *m, DebugKind *kind, uint64_t *addr);
/* Forgets hits that come again by themselves when the vCPU goes on: breakpoints and steps. */
void debug_drop_repeatable(Machine *m);
/* The vCPU's thread, or accelerators on its behalf: the first hit of a run is the one that is told. */
void debug_note_hit(Vcpu *cpu, DebugKind kind, uint64_t addr);

#endif

/* SPDX-License-Identifier: MIT
 * system/internal.h - what the files of the machine core share and nobody else sees.
 * Threads: each group of members names its lock. Locks are pthread's: ThreadSanitizer follows those.
 */
#ifndef RHEA_SYSTEM_INTERNAL_H
#define RHEA_SYSTEM_INTERNAL_H

#include "rhea/system/dma.h"
#include "rhea/system/machine.h"

/* What a guest may have queued at most by pointing DMA at registers; more is dropped and logged. */
enum { POSTED_WRITES_MAX = 4096 };

typedef struct PostedWrite {
    DomainTask task;
    MemRegion *region; /* NULL: withdrawn, the region went away */
    Machine *machine;
    hwaddr off;
    unsigned size;
    uint64_t val;
    MemAttrs attrs;
    GList link;
} PostedWrite;

typedef struct Icount Icount;

/* What was asked of the machine since the main loop last looked. */
typedef struct MachineWants {
    ShutdownCause shutdown, reset;
    int exit_status;
    bool powerdown, stop, watchdog;
    RunState stop_why;
    Json *panic_info; /* of shutdown; NULL: nothing to tell */
} MachineWants;

struct MachinePrivate {
    /* Region trees and address spaces: the topology lock (order 2). */
    pthread_mutex_t topology; /* recursive */
    unsigned topology_depth;
    bool topology_dirty;
    GSList *spaces; /* AddressSpace * */
    struct Doorbell *doorbells;  /* doorbell.c */
    const struct DoorbellOps *doorbell_ops;
    const struct MsiRouteOps *msi_routes; /* atomic */
    struct Coalesced *coalesced;          /* coalesce.c */
    uint32_t view_generation;

    /* Leaf lock `lock`: the rest of this group. */
    pthread_mutex_t lock;
    GList *ram_blocks; /* RamBlock *, in order of creation; not references */
    GQueue posted;     /* PostedWrite.link */
    GQueue events;     /* QueuedEvent *, see machine_request.c */
    MachineWants wanted;

    /* Main loop only. */
    Task request_task;
    bool built, ready, vcpus_made, accel_up;
    bool quitting;
    int exit_status;
    unsigned unattached_serial;
    GPtrArray *loops;             /* Loop *: where this machine's timers live */
    GPtrArray *iothreads;         /* IoThread *; NULL: none */
    bool timers_held;             /* virtual timers wait although time passes: a debugger's step */
    GSList *powerdown_hooks;      /* PowerdownHook * */
    const char *busy;             /* see busy.h; NULL: nothing keeps the machine from running */
    GPtrArray *jobs;              /* Job *, in order of creation; NULL: none yet. job.c */
    GHashTable *fds;              /* char * to descriptor, see host.c; NULL: none yet */
    Device *balloon;              /* balloon.c; NULL: none */
    const struct BalloonOps *balloon_ops;
    unsigned ram_keep;            /* atomic: RAM_KEEP_..., ramdiscard.c */
    int *vcpu_threads;            /* atomic, by index: the host's number of a CPU's thread; 0: not known */

    /* vCPU threads: park_lock. */
    pthread_mutex_t park_lock;
    pthread_cond_t parked;
    bool vcpu_quit;               /* atomic */
    Task serial_task;             /* serial mode: one round of all vCPUs */
    unsigned serial_next;         /* with -icount: who runs first in it */
    Icount *icount;               /* NULL: time is not counted */

    /* vcpus_stop_others(): stop_lock, which the kicked vCPUs take, too. */
    pthread_mutex_t stop_lock;
    pthread_cond_t stop_changed;  /* a vCPU left run(), or the owner is done */
    Vcpu *stop_owner;
    bool stop_pending;            /* atomic: stop_owner != NULL */
};

/* numa.c: Machine.ram and ram_region from nodes; and back */
void numa_map_ram(Machine *m, const char *name);
void numa_unmap_ram(Machine *m);

/* access.c */
MemResult mmio_read(MemRegion *r, hwaddr off, unsigned size, uint64_t *val, MemAttrs attrs);
MemResult mmio_write(MemRegion *r, hwaddr off, unsigned size, uint64_t val, MemAttrs attrs);
/* Queues a register write in the owner's domain; false (and a guest error) when the queue is full. */
bool mmio_post_write(MemRegion *r, hwaddr off, unsigned size, uint64_t val, MemAttrs attrs);
/* Main loop: does what is queued there now, in order. True if there was anything. */
bool mmio_posted_flush(Machine *m);
/* Withdraws what is queued for a region, or (r == NULL, main loop) frees everything queued. */
void mmio_posted_withdraw(Machine *m, MemRegion *r);
/* Largest aligned power of two <= 8 that starts at addr and does not exceed len. */
unsigned access_piece(hwaddr addr, size_t len);

/* ram.c */
void ram_load_bytes(void *buf, const uint8_t *host, size_t len);
void ram_store_bytes(RamBlock *ram, uint8_t *host, uint64_t ram_off, const void *buf, size_t len);

/* device.c */
void device_cut_lines(Device *dev); /* its exported interrupt lines, and those below it, lead nowhere */
void device_free_tree(Device *dev); /* like device_remove(), for roots */
bool device_run_tasks(Device *dev);
/* Every realized device below and including dev, parents before children, each once. */
GPtrArray *device_collect(Device *dev);
/* Calls into each type of the inheritance chain, base first. */
unsigned device_type_chain(const DeviceType *type, const DeviceType *chain[static 8]);

/* vcpu.c; main loop */
bool vcpus_create(Machine *m, Error **errp);
void vcpus_destroy(Machine *m); /* threads end; target and accelerator let go; structs stay */
void vcpus_free(Machine *m);
void vcpus_pause(Machine *m);  /* returns when all are parked */
void vcpus_resume(Machine *m);
void vcpus_reset(Machine *m, ResetKind kind); /* all parked */

/* icount.c; main loop */
bool icount_check(Machine *m, Error **errp);
const Clock *icount_new(Machine *m);
void icount_free(Machine *m);
void icount_set(Machine *m, int64_t ns);       /* virtual time of a loaded state */
void icount_paused(Machine *m, bool paused);
bool icount_sleeping(Machine *m);              /* every vCPU waits for a timer, that for the host */
bool icount_round_begin(Machine *m);           /* false: not now, the host has to catch up */
unsigned icount_budget(Machine *m);            /* instructions to the next timer, or a slice; 0: it is due */
bool icount_idle(Machine *m);                  /* no vCPU wants to run. True: time moved on, a timer is due */

/* machine.c, machine_request.c */
void machine_free_options(Machine *m);
void machine_set_state(Machine *m, RunState now);
void machine_requests_init(Machine *m);
void machine_requests_fini(Machine *m);
void machine_watch_loop(Machine *m, Loop *loop); /* the loop has timers on m->clock */
void machine_unwatch_loop(Machine *m, Loop *loop);
void iothreads_free(Machine *m); /* nothing uses them any more */
void machine_clock_pause(Machine *m, bool paused);
void machine_start_held(Machine *m); /* machine_start() that keeps what a debugger said of vCPUs and timers */

/* debug.c; main loop: every vCPU runs on, as if there were no debugger */
void debug_release(Machine *m);
const char *shutdown_reason(ShutdownCause c);
bool shutdown_by_guest(ShutdownCause c);

/* vmstate.c */
uint32_t vmstate_crc32(uint32_t crc, const void *data, size_t len);

#endif

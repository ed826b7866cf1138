/* SPDX-License-Identifier: MIT
 * accel/kvm/kvm_internal.h - what the files of the KVM accelerator share.
 * Threads: each member says who may touch it.
 */
#ifndef ACCEL_KVM_INTERNAL_H
#define ACCEL_KVM_INTERNAL_H

#include "rhea/accel/kvm.h"
#include "rhea/system/coalesce.h"
#include "rhea/system/machine.h"
#include "rhea/system/msiroute.h"
#include <linux/kvm.h>
#include <pthread.h>

typedef struct KvmSlot { /* guarded by KvmVm.slot_lock */
    bool used;
    uint64_t gpa, size;
    uint8_t *host;
    RamBlock *ram;
    uint64_t ram_off;
    uint32_t flags; /* KVM_MEM_* */
} KvmSlot;

typedef struct KvmStats { /* written by the vCPU's thread, read by any: approximate */
    uint64_t runs, io, mmio, hlt, irq_window, signals, other;
} KvmStats;

/* dirtyring.c; guarded by KvmVm.slot_lock */
typedef struct KvmDirtyRing {
    struct kvm_dirty_gfn *gfns; /* NULL: there is none */
    uint32_t entries, next;     /* a power of two; KVM's reset index, which counts on beyond the end */
    bool lost;                  /* KVM overran: it fills somewhere ahead */
    unsigned pulls;             /* that found something */
    unsigned full_pulls, stuck; /* when it was full last; how often in a row with nothing in it */
    Vcpu *cpu;
    struct KvmDirtyRing *next_ring;
} KvmDirtyRing;

typedef struct KvmVcpu { /* Vcpu.accel */
    int fd, stats_fd; /* stats_fd: -1 where the kernel has none */
    struct kvm_run *run;
    size_t run_size;
    pthread_t thread; /* who calls run(); valid when in_run was ever set */
    uint8_t in_run;   /* atomic: about to enter KVM_RUN, or in it */
    bool fresh;       /* own thread: what is pushed next is a reset's or a loaded state's */
    bool own;         /* own thread: the CPU struct is what counts, KVM's registers are stale */
    bool io_pending;  /* own thread: an access was dispatched, KVM has not finished its instruction */
    KvmStats stats;
    KvmDirtyRing ring;
} KvmVcpu;

typedef struct KvmVm { /* Machine.accel_state */
    /* options */
    int irqchip_option;
    uint32_t dirty_ring_size;
    bool complete;
    uint64_t complete_limit;
    /* the rest is machine_init's, and zero without; constant then */
    int sys_fd, vm_fd, stats_fd;
    KvmIrqchip irqchip;
    size_t run_size;
    unsigned max_slots;
    bool readonly_slots;
    bool up;
    uint64_t clock_stopped; /* main loop: the paravirtual clock when the machine stopped */
    MachineListener listener;
    /* route.c */
    pthread_mutex_t route_lock; /* leaf */
    GArray *fixed_routes;       /* struct kvm_irq_routing_entry; NULL: no routes */
    struct kvm_irq_routing_entry pin_routes[ACCEL_IOAPIC_PINS]; /* split; type 0: none yet */
    MsiRoute *msi_routes;
    unsigned n_msi_routes;
    uint64_t gsi_used[16]; /* a bit for each number of a message */
    /* chips.c, main loop */
    AccelChipUser *chips; /* in the order of AccelChip */
    bool has_pit;
    /* coalesce.c */
    size_t ring_at;    /* of the ring behind the run structure; 0: there is none */
    unsigned ring_max; /* entries */
    bool coalesces_io;
    MemListener mem_listener, io_listener;
    pthread_mutex_t ring_lock; /* above devices' domains */
    bool ring_busy;            /* atomic */
    uint64_t coalesced;        /* under ring_lock */
    /* memory.c */
    pthread_mutex_t slot_lock; /* leaf */
    KvmSlot *slots;
    unsigned n_slots; /* allocated */
    /* dirtyring.c, under slot_lock */
    KvmDirtyRing *rings;
    GArray *harvested; /* NULL: dirty pages come from the log */
    uint64_t ring_pages, ring_full, ring_overruns;
    /* The gate: vCPUs stay out of KVM_RUN while slots change. */
    pthread_mutex_t gate_lock;
    pthread_cond_t gate_changed;
    bool gate_closed; /* atomic */
} KvmVm;

static inline KvmVm *kvm_vm(const Machine *m)
{
    return m->accel_state;
}
static inline KvmVcpu *kvm_of(const Vcpu *cpu)
{
    return cpu->accel;
}

/* open.c: -1 with *errp: the cause and the cure. */
#define KVM_DEVICE "/dev/kvm"
int kvm_open(const char *path, Error **errp);
int kvm_create_vm(int fd, Error **errp);


/* memory.c */
bool kvm_memory_init(Machine *m, Error **errp);
void kvm_memory_fini(Machine *m);
void kvm_memory_changed(Machine *m, const FlatView *was, const FlatView *now);
void kvm_dirty_log(Machine *m, RamBlock *ram, bool on);
void kvm_dirty_pull(Machine *m, RamBlock *ram);
/* slot_lock held. A page, which is ignored when it is none; all that is logged, of which nothing is known. */
void kvm_page_written(Machine *m, uint32_t slot, uint64_t page);
void kvm_slots_written(Machine *m);

/* dirtyring.c */
bool kvm_rings_init(Machine *m, Error **errp); /* before there are vCPUs */
void kvm_rings_fini(Machine *m);
bool kvm_ring_open(Vcpu *cpu, Error **errp);
void kvm_ring_close(Vcpu *cpu);
void kvm_rings_pull(Machine *m);  /* slot_lock held: what is in them is told */
void kvm_rings_flush(Machine *m); /* slot_lock held: and what processors hold back comes next time */
KvmNext kvm_ring_full(Vcpu *cpu, VcpuExit *out); /* own thread: KVM_EXIT_DIRTY_RING_FULL */
/* What is in the ring, in order: each page is told, then marked as harvested. The kernel takes the marked
 * entries back, which moves `next` on. */
typedef struct KvmHarvest {
    unsigned pages, marked;
    bool overrun; /* pages were lost: any may have been written */
} KvmHarvest;
typedef void (*KvmPageFn)(void *opaque, uint32_t slot, uint64_t page);
KvmHarvest kvm_ring_harvest(KvmDirtyRing *r, KvmPageFn page, void *opaque);
/* Marks an entry that holds nothing: the kernel counts it as filled. */
void kvm_ring_unstick(KvmDirtyRing *r);

/* stats.c: descriptors, or -1 */
int kvm_stats_open_vm(const Machine *m);
int kvm_stats_open_vcpu(const Vcpu *cpu);
bool kvm_stats(Machine *m, const Vcpu *cpu, GArray *out, Error **errp); /* AccelOps.stats */

/* irqchip.c */
bool kvm_irqchip_init(Machine *m, Error **errp);
extern const IrqChipOps kvm_irqchip_ops;

/* route.c: what interrupts by number (GSI) lead to */
void kvm_routes_init(Machine *m);
void kvm_routes_fini(Machine *m);
void kvm_route_add(Machine *m, const struct kvm_irq_routing_entry *e); /* while the VM is made */
int kvm_routes_tell(Machine *m);
void kvm_route_pin(Machine *m, unsigned pin, MsiMessage msg);
unsigned kvm_routes_count(Machine *m, uint64_t *sent);

/* chips.c: 8259s, I/O APIC and PIT in the kernel (kernel-irqchip=on) */
bool kvm_chips_init(Machine *m, Error **errp);
void kvm_chips_fini(Machine *m);
void kvm_chips_running(Machine *m,
                       bool running); /* main loop: as the machine's state changes, vCPUs parked */
void kvm_chip_attach(Machine *m, AccelChipUser *u);
void kvm_chip_detach(Machine *m, AccelChipUser *u);
void kvm_chip_line(Machine *m, AccelChip chip, unsigned pin, bool level);
bool kvm_chip_get(Machine *m, AccelChip chip, void *image);
bool kvm_chip_set(Machine *m, AccelChip chip, const void *image);

/* coalesce.c */
void kvm_coalesce_init(Machine *m);
void kvm_coalesce_fini(Machine *m);
void kvm_coalesced_writes(Vcpu *cpu); /* own thread, no domain held, after each KVM_RUN */

/* vcpu.c */
bool kvm_vcpu_init(Vcpu *cpu, Error **errp);
void kvm_vcpu_fini(Vcpu *cpu);
VcpuExit kvm_run_loop(Vcpu *cpu);
void kvm_kick(Vcpu *cpu);
void kvm_thread_ends(Vcpu *cpu);
void kvm_regs_pull(Vcpu *cpu);
void kvm_regs_push(Vcpu *cpu);
void kvm_regs_settle(Vcpu *cpu);
void kvm_push_fresh(void *opaque);
void kvm_signal_init(void);

/* exits.c */
KvmNext kvm_exit(Vcpu *cpu, VcpuExit *out);
bool kvm_dispatch_io(Vcpu *cpu); /* false: the exit is no access */
KvmNext kvm_run_failed(Vcpu *cpu, int err, VcpuExit *out);

/* gate.c */
void kvm_gate_close(Machine *m); /* returns when no vCPU is in KVM_RUN and none will enter */
void kvm_gate_open(Machine *m);

#endif

/* SPDX-License-Identifier: MIT
 * rhea/system/accel.h - the door to accelerators (kvm, tcg, test).
 */
#ifndef RHEA_SYSTEM_ACCEL_H
#define RHEA_SYSTEM_ACCEL_H

#include "rhea/system/irq.h"
#include "rhea/system/prop.h"
#include "rhea/system/vcpu.h"

/* The PC's chips that an accelerator may have inside, and their states as both sides tell them to each other. */
typedef enum AccelChip { CHIP_PIC_MASTER, CHIP_PIC_SLAVE, CHIP_IOAPIC, CHIP_PIT, ACCEL_CHIPS } AccelChip;

typedef struct PicImage { /* 8259: names as in its data sheet */
    uint8_t pins, irr, imr, isr, elcr, elcr_mask, base;
    uint8_t lowest; /* level of lowest priority */
    uint8_t icw;    /* the ICW that comes next: 2, 3, 4; 0: initialised */
    bool read_isr, poll, special_mask, rotate_aeoi, auto_eoi, fully_nested, icw4;
} PicImage;

enum { ACCEL_IOAPIC_PINS = 24, ACCEL_IOAPIC_VERSION = 0x11 };
typedef struct IoapicImage {
    uint8_t id, select;
    uint32_t pins; /* levels that count: of level-triggered inputs */
    uint64_t rte[ACCEL_IOAPIC_PINS];
} IoapicImage;

typedef struct PitImageCounter {
    bool known;     /* a control word was written */
    uint8_t mode, access, bcd;
    uint32_t count; /* as written; 65536 for 0 */
    bool gate, status_latched, write_second, read_second;
    uint8_t status, write_low;
    uint8_t latch_left; /* bytes of the latched count */
    uint16_t latch;
    int64_t age_ns; /* since the count was loaded; -1: nobody knows */
    int64_t stamp;  /* of the load, on a clock of the accelerator's: another load has another. 0: none */
} PitImageCounter;
typedef struct PitImage {
    PitImageCounter c[3];
    bool speaker;   /* port 61h, bit 1; bit 0 is counter 2's gate */
    bool replaced;  /* OUT0 leads nowhere: an HPET has its place */
    bool reinject;  /* ticks that came too late follow */
} PitImage;

/* A device that stands for a chip inside: it holds its state while vCPUs are parked and somebody looks, or
 * changed it. Embedded in the device; accel_chip_*() below. */
typedef struct AccelChipUser {
    AccelChip chip;
    void (*pull)(void *opaque); /* the accelerator's state into the device */
    void (*push)(void *opaque); /* and back */
    void (*stop)(void *opaque); /* the machine stopped: for chips that go on by themselves; may be NULL */
    void *opaque;
    bool attached, fresh;       /* fresh: the device's state is what counts, and is pushed when the machine starts */
    struct AccelChipUser *next;
} AccelChipUser;

/* Interrupt controllers inside an accelerator. Any thread; leaf calls. */
typedef struct IrqChipOps {
    bool (*lapic_inside)(const Machine *m);       /* false: local APICs are the board's, and the others are not called */
    void (*msi)(Machine *m, MsiMessage msg);      /* to the local APICs */
    /* An I/O APIC of the board: what pin sends from now on. Ends of level-triggered ones come by X86ApicOps.tell_eoi. */
    void (*route_pin)(Machine *m, unsigned pin, MsiMessage msg);
    /* 8259s, I/O APIC and PIT, too? When false, the following are not called. */
    bool (*chips_inside)(const Machine *m);
    void (*attach)(Machine *m, AccelChipUser *u); /* main loop; at the start u->fresh is set */
    void (*detach)(Machine *m, AccelChipUser *u); /* main loop; harmless when not attached */
    void (*line)(Machine *m, AccelChip chip, unsigned pin, bool level);
    /* image: PicImage, IoapicImage, PitImage. False: reported already. */
    bool (*chip_get)(Machine *m, AccelChip chip, void *image);
    bool (*chip_set)(Machine *m, AccelChip chip, const void *image);
} IrqChipOps;

/* A number that an accelerator counts, as QEMU's query-stats tells it. */
typedef enum AccelStatKind {
    STAT_CUMULATIVE, STAT_INSTANT, STAT_PEAK,
    STAT_LINEAR_HISTOGRAM, /* value k: of those from k * bucket_size on */
    STAT_LOG2_HISTOGRAM,   /* value k: of those from 2^(k-1) on, the first: of 0 */
} AccelStatKind;
typedef enum AccelStatUnit { STAT_PLAIN, STAT_BYTES, STAT_SECONDS, STAT_CYCLES, STAT_BOOLEAN } AccelStatUnit;
typedef struct AccelStat {
    char *name;
    AccelStatKind kind;
    AccelStatUnit unit;
    unsigned base; /* values are in base^exponent units */
    int exponent;
    uint32_t bucket_size;
    unsigned n;
    uint64_t *values;
} AccelStat;
GArray *accel_stats_new(void); /* of AccelStat, which it frees */

typedef struct AccelOps {
    const char *name;    /* "kvm", "tcg", "test" */
    const char *alias;   /* "qtest" for test */
    const char *desc;
    const Prop *props;   /* of `-accel NAME,prop=...`; offsets into a state of props_size bytes */
    size_t state_size;   /* Machine.accel_state, zeroed, props filled in */
    /* Can it work here at all? Says why not. Used by priority lists; NULL: always. */
    bool (*available)(Error **errp);
    bool (*machine_init)(Machine *m, Error **errp);
    void (*machine_fini)(Machine *m); /* leaves the options: machine_init may follow again (machine_move) */
    /* Topology lock held, any thread: flush what caches translations. as is the memory space only. */
    void (*memory_changed)(Machine *m, const FlatView *was, const FlatView *now);
    bool (*vcpu_init)(Vcpu *cpu, Error **errp);
    void (*vcpu_fini)(Vcpu *cpu);
    /* The vCPU's thread, no domain held; returns soon after a kick. NULL: vCPUs have no threads and never run. */
    VcpuExit (*run)(Vcpu *cpu);
    /* The vCPU's thread, as it ends out of turn, wherever it was: it waits for nothing and nobody waits for it. May be NULL. */
    void (*thread_ends)(Vcpu *cpu);
    void (*kick)(Vcpu *cpu);     /* any thread; exit_request is already set */
    /* Own thread, or any while it is parked. pull: from now until run() the CPU struct is what counts and may be changed;
     * cheap when it does already. The core calls it before work and when a vCPU parks. push: the CPU struct was filled
     * anew (reset, load) and counts, whatever the accelerator has. NULL: it always counts. */
    void (*regs_pull)(Vcpu *cpu), (*regs_push)(Vcpu *cpu);
    /* Own thread, the machine stopped: what others have sent this CPU since it parked (they stop later), which only the
     * accelerator knows, comes into the CPU struct and its devices: for saving and moving. NULL: nothing is sent that way. */
    void (*regs_settle)(Vcpu *cpu);
    /* Own thread: run() itself waits while the CPU is halted. NULL: the core does. */
    bool (*runs_halted)(const Vcpu *cpu);
    /* A write of [off, off+len) hit pages whose DIRTY_CODE flag is set. Any thread. */
    void (*code_written)(Machine *m, RamBlock *ram, uint64_t off, uint64_t len);
    const Clock *(*clock)(Machine *m); /* NULL: a StopClock on the host's time */
    /* Instructions the vCPU executed, exact also while it accesses a device; its own thread, or while it does not
     * run. NULL: not counted, so no -icount. */
    uint64_t (*insns)(Vcpu *cpu);
    void (*describe)(Machine *m, GString *out); /* `info jit` */
    /* Main thread, at the end: a check of the accelerator's own found an error, which it has reported: the program's
     * exit status is a failure. NULL: there is none. */
    bool (*failed)(const Machine *m);
    /* Debuggers (rhea/system/debug.h): bit k: run() honours points of DebugKind k, bit DEBUG_STEP: single steps. run()
     * looks at Machine.debug when its serial changed, and at Vcpu.debug.step. */
    unsigned debug_kinds;
    /* Main loop, no vCPU runs: one that needs more than that, such as a debug register of the host's. May be NULL. */
    bool (*debug_point)(Machine *m, const DebugPoint *p, bool add, Error **errp);
    /* Any thread: page_flags bits of this block were set (a dirty client took its bits). An accelerator
     * whose vCPUs write without looking at page_flags drops such fast paths, and calls ram_written() for
     * each page that had one. May be NULL. */
    void (*ram_watched)(Machine *m, RamBlock *ram);
    /* Accelerators whose guests write RAM without passing through here. log: dirty_enable() gave the block its first
     * client, or took its last (see RamBlock.dirty). pull: before bits are taken; calls ram_written() for each page that
     * was written since. Any thread, may be called at once from several. NULL: there is nothing to log. */
    void (*dirty_log)(Machine *m, RamBlock *ram, bool on);
    void (*dirty_pull)(Machine *m, RamBlock *ram);
    /* Main loop, the machine may run: appends the statistics of a vCPU, or (NULL) of the VM. NULL: there are none. */
    bool (*stats)(Machine *m, const Vcpu *cpu, GArray *out, Error **errp);
    const IrqChipOps *irqchip; /* NULL: all controllers are the board's */
} AccelOps;

/* Are local APICs inside the machine's accelerator? */
bool accel_has_lapic(const Machine *m);
/* The others? */
bool accel_has_chips(const Machine *m);
/* In realize, and whenever another accelerator has taken over: attaches where chips are inside. Returns whether. */
bool accel_chip_attach(Machine *m, AccelChipUser *u);
void accel_chip_detach(Machine *m, AccelChipUser *u);
/* An input. Any thread; nothing in the middle of a move to an accelerator without chips, which asks for levels then. */
void accel_chip_line(Machine *m, const AccelChipUser *u, unsigned pin, bool level);
/* The device's state was replaced (reset, load): goes inside now, or when the machine starts. */
void accel_chip_changed(Machine *m, AccelChipUser *u);
/* Is the accelerator's state what counts? Then whoever looks pulls first, and whoever changes it pushes. */
static inline bool accel_chip_live(const AccelChipUser *u) { return u->attached && !u->fresh; }

extern const AccelOps *const accel_table[]; /* linked by programs and tests; ends with NULL */
const AccelOps *accel_find(const char *name);

#endif

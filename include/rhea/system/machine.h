/* SPDX-License-Identifier: MIT
 * rhea/system/machine.h - a machine: everything hangs off it; several can live in one process.
 *
 * Life: machine_new, set options (fields marked "option"), machine_build (board, accelerator, vCPUs),
 * device_create for -device, machine_start, loop_run, machine_free. MAIN_LOOP unless said otherwise.
 */
#ifndef RHEA_SYSTEM_MACHINE_H
#define RHEA_SYSTEM_MACHINE_H

#include "rhea/system/accel.h"
#include "rhea/system/device.h"
#include "rhea/system/numa.h"
#include "rhea/system/target.h"

typedef struct BoardType {
    const char *name;  /* "pc-0.1" */
    const char *alias; /* "pc" */
    const char *desc;
    bool is_default, deprecated;
    uint8_t ide_buses, ide_units; /* places for if=ide drives: buses, and drives on each; 0: two of both */
    const char *default_nic; /* the card of -nic without model=; NULL: none fits */
    const char *default_vga; /* the graphics card without -vga; NULL: the board has no place for one */
    bool numa;         /* the guest is told of Machine.numa; without it none is accepted */
    const TargetOps *target;
    bool accel_chips; /* 8259s, I/O APIC and PIT are a PC's: an accelerator may have them inside */
    const char *cpu_features; /* on in every CPU model unless -cpu says otherwise, where the accelerator has them; or NULL */
    unsigned max_cpus;
    uint64_t default_ram, min_ram, max_ram;
    size_t state_size;       /* Machine.board_state, zeroed, props filled in */
    const Prop *props;       /* of -machine, offsets into board_state */
    bool (*init)(Machine *m, Error **errp); /* creates the devices, maps RAM, loads firmware */
    void (*fini)(Machine *m);               /* what the device tree does not own */
    bool (*ready)(Machine *m, Error **errp); /* all devices exist: build tables, load kernel; before first reset */
    void (*reset)(Machine *m, ResetKind kind); /* after all devices' reset_done */
    Bus *(*default_bus)(Machine *m, const BusType *type); /* for -device without bus= */
} BoardType;

typedef enum RunState {
    RUN_PRELAUNCH, /* not started yet (-S) */
    RUN_RUNNING,
    RUN_PAUSED,
    RUN_SHUTDOWN,  /* guest powered off, -no-shutdown */
    RUN_GUEST_PANICKED,
    RUN_INTERNAL_ERROR,
    RUN_IO_ERROR,  /* a disk's werror= or rerror= */
    RUN_DEBUG,
    RUN_WATCHDOG,  /* -action watchdog=pause */
    RUN_FINISHED,  /* the process is about to end */
} RunState;
const char *run_state_name(RunState s); /* QEMU's names: "prelaunch", "running", "paused", ... */

typedef enum ShutdownCause { SHUTDOWN_NONE, SHUTDOWN_GUEST_SHUTDOWN, SHUTDOWN_GUEST_RESET, SHUTDOWN_GUEST_PANIC,
    SHUTDOWN_HOST_QUIT, SHUTDOWN_HOST_SIGNAL, SHUTDOWN_HOST_RESET, SHUTDOWN_HOST_ERROR, SHUTDOWN_DEBUG_EXIT,
    SHUTDOWN_WATCHDOG /* -action watchdog=poweroff: the program ends in any case */ } ShutdownCause;

typedef struct MachineListener { /* monitor, UI: told on the main loop */
    void (*state)(void *opaque, RunState was, RunState now);
    void (*event)(void *opaque, const char *name, const Json *data); /* "RESET", "POWERDOWN", ... */
    void (*accel)(void *opaque); /* the machine goes on with another accelerator; every vCPU is parked */
    void *opaque;
} MachineListener;

struct Machine {
    /* options, set before machine_build() */
    const BoardType *board;
    const AccelOps *accel;
    char *name, *uuid;                     /* -name, -uuid ("" when unset) */
    char *cpu_text;                        /* -cpu; NULL: the target's default */
    unsigned n_cpus, max_cpus;             /* -smp */
    unsigned sockets, dies, cores, threads;
    uint64_t ram_size;
    RamBlock *ram_given;                   /* -machine memory-backend=: what machine_init_ram() takes; owned */
    MachineNuma *numa;                     /* -numa; NULL: one node. Then machine_init_ram() takes its memory */
    char *kernel, *initrd, *append, *bios; /* -kernel ... */
    char *boot_order, *boot_once, *boot_splash;
    bool boot_menu, boot_strict;
    int boot_menu_timeout_ms;              /* splash-time; -1 unset */
    int boot_reboot_timeout_ms;            /* -1 unset */
    GPtrArray *firmware_path;              /* char *: -L first, then the distribution's */
    GPtrArray *fw_cfg_files;               /* FwCfgFileOption *: -fw_cfg */
    GPtrArray *globals;                    /* GlobalProp *: -global, and compat */
    Json *smbios;                          /* array of -smbios objects, or NULL */
    struct {
        bool utc, localtime;
        int64_t start_s; /* INT64_MIN: now */
        int clock;       /* 0 host, 1 rt, 2 vm */
        bool slew;       /* driftfix=slew: periodic interrupts that came too late for the guest come again */
    } rtc;                                 /* -rtc */
    struct {
        bool reboot_is_shutdown, no_shutdown, panic_exit_failure, panic_pause, panic_none;
        unsigned watchdog; /* a WatchdogAction of schema/options.h; 0: reset */
    } action;
    bool no_defaults;
    const DeviceType *vga;                 /* -vga: the board makes it; NULL: no graphics card */
    bool seeded;                           /* -seed: guest-visible random numbers are a sequence */
    uint64_t seed;                         /* atomic once it runs: the sequence's state */
    bool cpu_pm;                           /* -overcommit cpu-pm=on: idle CPUs stay in the guest */
    bool debugger_waits;                   /* -S */
    bool moving;                           /* inside machine_move(): the guest knows what it has */
    bool serial_mode;                      /* one thread runs everything (tests, -accel tcg,thread=single, icount) */
    struct { bool on, automatic, align, no_sleep; unsigned shift; } icount; /* -icount */
    const Clock *clock_override;           /* tests: a manual clock */

    /* running parts */
    void *board_state, *accel_state, *cpu_model;
    Loop *loop;           /* the main loop */
    Domain *platform;
    const Clock *clock;   /* virtual time */
    StopClock stop_clock; /* what `clock` is, unless the accelerator or a test brings one */
    Device *root;         /* "/machine" */
    Device *peripheral, *unattached; /* containers below root */
    MemRegion sysmem, sysio;
    AddressSpace as_mem, as_io;
    AddressSpace *as_smm;         /* x86: what a vCPU in system-management mode sees; NULL: as_mem. The board's */
    MemRegion ram_region;
    RamBlock *ram;        /* all of it; with Machine.numa: that of the first node that has some */
    Vcpu **cpus;
    RunState state;
    GSList *listeners;    /* MachineListener * */
    MachineDebug debug;
    struct GdbServer *gdb; /* the monitor layer's; NULL: nobody listens for debuggers */
    struct MachinePrivate *priv;

    /* x86: the interrupt acknowledge cycle and MSI window, filled in by the board */
    void (*msi_sink)(void *opaque, MsiMessage msg);
    void *msi_opaque;
    hwaddr msi_base, msi_size;
    void (*nmi)(Machine *m); /* the board's NMI button; any thread */
    bool chips_stay; /* the guest knows its I/O APIC as one that accelerators do not have (accel_has_chips) */
    GPtrArray *serial_chardevs;   /* Chardev * for -serial N; a NULL entry is "none" */
    GPtrArray *chardevs;          /* all of them, in order of creation; backends/char owns it */
    struct MachineBlock *block;   /* disks; backends/block owns it */
    struct MachineNet *net;       /* networks; net/ owns it */
    struct MachineConsoles *consoles; /* what the guest shows; ui/ owns it, NULL: nothing */
    struct MachineInput *input;       /* keyboards and pointers; likewise */
    /* Waits for requests in flight once the vCPUs are parked; cancel: those that wait for the machine to go on after an
     * error end as well. NULL: there are none. */
    void (*drain_backends)(Machine *m, bool cancel);
    GPtrArray *boot_devices;      /* private to bootorder.c: devices with a bootindex, in order; NULL: none */
    GPtrArray *hostmems;          /* HostMem *: memory backends; backends/hostmem owns it */
};
typedef struct GlobalProp { char *driver, *prop, *value; bool used, is_default; } GlobalProp;
typedef struct FwCfgFileOption { char *name, *file, *string; } FwCfgFileOption;

Machine *machine_new(Loop *loop);
bool machine_build(Machine *m, Error **errp); /* board->init, vCPUs; not yet running */
bool machine_ready(Machine *m, Error **errp); /* board->ready, first reset; state prelaunch */
void machine_free(Machine *m);                /* stops vCPU threads first */

void machine_start(Machine *m);               /* cont */
void machine_stop(Machine *m, RunState why);  /* stop: returns when every vCPU is parked */
/* Now, with vCPUs parked during it, after the requests in flight have ended (which turns the main loop). */
void machine_reset(Machine *m, ResetKind kind);
static inline bool machine_running(const Machine *m) { return m->state == RUN_RUNNING; }

/* The stopped machine goes on with accelerator `to`; state: its options (AccelOps.state_size bytes, from props_init()), taken
 * over. False: it stays with the one it has. */
bool machine_move(Machine *m, const AccelOps *to, void *state, Error **errp);
/* For accelerators, while the machine stands: virtual time is at least that. */
void machine_clock_not_before(Machine *m, int64_t ns);

/* Any thread: asked for by devices and accelerators, done on the main loop soon after. */
void machine_request_shutdown(Machine *m, ShutdownCause cause, int exit_status);
void machine_request_panic(Machine *m, Json *info); /* takes info: GUEST_PANICKED tells it; may be NULL */
void machine_request_reset(Machine *m, ShutdownCause cause);
void machine_request_powerdown(Machine *m);   /* the ACPI power button */
void machine_request_stop(Machine *m, RunState why);
void machine_watchdog_expired(Machine *m);    /* then what -action watchdog= says */
bool machine_inject_nmi(Machine *m, Error **errp); /* at once, to all CPUs; any thread */
/* The exit status of the process once loop_run() returned because of a shutdown. */
int machine_exit_status(const Machine *m);

void machine_add_listener(Machine *m, MachineListener *l);
/* An accelerator's: it has the CPUs' state before devices hear that the machine runs. */
void machine_add_first_listener(Machine *m, MachineListener *l);
void machine_remove_listener(Machine *m, MachineListener *l);
void machine_event(Machine *m, const char *name, Json *data); /* any thread; takes data */

/* For BoardType.init: fills in Machine.ram and ram_region (not mapped yet), ram_size bytes of them, from what the
 * options gave or from new memory. */
bool machine_init_ram(Machine *m, const char *name, Error **errp);
/* Then, what -machine mem-merge= and dump-guest-core= say of it; a memory backend's own options count more. */
void machine_advise_ram(Machine *m, bool merge, bool dump);

/* Called on the main loop with the platform domain held when the power button is pressed. */
void machine_on_powerdown(Machine *m, void (*fn)(void *opaque), void *opaque);

/* The property bootindex, in a device's realize: firmware tries devices with the smallest first; two of a machine with
 * the same one are refused; -1: none. suffix (constant): what comes behind the device's path. Undone with the device. */
bool machine_add_boot_device(Device *dev, int32_t index, const char *suffix, Error **errp);
void machine_boot_paths(Machine *m, GString *out); /* appends their paths, a line each */
#define PROP_BOOTINDEX(T, f) \
    PROP_I32(T, f, "bootindex", -1, -1, INT32_MAX, "Place in the firmware's boot order, the smallest first; -1: none")

/* Finds a firmware or option ROM file by name on m->firmware_path; the error lists the places looked
 * at and the Debian package that has it. g_free. */
char *machine_find_firmware(Machine *m, const char *name, Error **errp);

/* 64 random bits for the guest: the host's, or the next of -seed's sequence. False: the host has none now. Any thread. */
bool machine_random(Machine *m, uint64_t *out);

/* Whole-machine state: vCPUs, device tree, RAM when with_ram. vCPUs must be parked. */
void machine_save(Machine *m, GByteArray *out, bool with_ram);
bool machine_load(Machine *m, const uint8_t *data, size_t len, Error **errp);

extern const BoardType board_none; /* address spaces and RAM, no CPU: tests, `-machine none` */
extern const BoardType *const board_table[]; /* linked by programs and tests; ends with NULL */
const BoardType *board_find(const char *name);

#endif

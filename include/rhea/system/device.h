/* SPDX-License-Identifier: MIT
 * rhea/system/device.h - devices, buses, and their life.
 *
 * A DeviceType is constant data. Each device file exports one; hw/meson.build lists them and the build
 * writes the table. What device_add_*() adds is undone in reverse on a failed realize or on removal, so
 * most devices need no unrealize.
 */
#ifndef RHEA_SYSTEM_DEVICE_H
#define RHEA_SYSTEM_DEVICE_H

#include "rhea/system/domain.h"
#include "rhea/system/irq.h"
#include "rhea/system/memory.h"
#include "rhea/system/prop.h"
#include "rhea/system/vmstate.h"

typedef struct Bus Bus;
typedef struct BusType BusType;
typedef enum { RESET_COLD, RESET_WARM, RESET_SNAPSHOT } ResetKind;

typedef struct DeviceType {
    const char *name, *desc;
    const char *alias; /* QEMU's second name of it, or NULL; of this type alone */
    size_t size;
    const struct DeviceType *base; /* single inheritance by embedding; NULL for most devices. The core calls
                                    * realize, reset, reset_done of each type, base first (unrealize: last);
                                    * a derived type does not call its base's. */
    const BusType *bus_type;       /* the kind of bus it plugs into; NULL: wired by a board only */
    const void *bus_ops;           /* e.g. const PciOps *: what this bus asks of its devices */
    const char *category;          /* for `-device help`: "Input", "Misc", "Network", ... */
    bool internal;                 /* not for -device: boards create it */
    const Prop *props;
    const struct LiveProp *live;   /* rhea/system/liveprop.h: properties that change later on; or NULL */
    const VmState *vmstate;
    const char *firmware_name;     /* of a device without a bus, where firmware's device paths begin; or NULL */
    Domain *(*choose_domain)(Device *dev); /* MAIN_LOOP; before all of realize; NULL: the base's, platform */
    bool (*realize)(Device *dev, Error **errp);  /* MAIN_LOOP; on false the core unwinds what was added so far */
    void (*unrealize)(Device *dev);              /* only for what the core does not track */
    void (*reset)(Device *dev, ResetKind kind);  /* own state only: touches no line, no memory, no peer */
    void (*reset_done)(Device *dev);             /* may drive outputs from the now consistent state */
    /* For `info qtree` style dumps: device-specific lines. */
    void (*describe)(Device *dev, GString *out, int indent);
} DeviceType;

struct Device { /* first member of every device struct, named `dev` */
    const DeviceType *type;
    char *id;       /* NULL: anonymous */
    char *path;     /* "/machine/peripheral/ID" or "/machine/unattached/device[N]" */
    Device *parent; /* owner in the tree; NULL only for the machine's root */
    Bus *bus;       /* the bus it sits on, or NULL */
    void *bus_data; /* BusType.child_size bytes, owned by the core */
    Machine *machine;
    Domain *domain; /* set before realize; platform unless chosen */
    GPtrArray *children, *buses; /* Device *, Bus * */
    GPtrArray *regions, *irqs;   /* exported, in order: MemRegion *, IrqLine * */
    GSList *resources;           /* private: unwind list */
    unsigned reset_hold;         /* > 0: held in reset */
    bool realized;
    bool hotplugged;             /* it came while the machine was up; set before realize */
    bool going;                  /* device_unplugged() is at it: it goes for good, not with the machine */
    bool retracted;              /* private: unmapped, about to go */
    unsigned child_serial;       /* private: names anonymous children */
    Error *early_error;          /* private: a bad -global, told by device_realize() */
    struct { int64_t second; unsigned said, lost; } guest_log; /* private, atomic: rate limit */
};
#define dev_as(T, d) ((T *)((char *)(d) - offsetof(T, dev)))

struct BusType {
    const char *name;      /* "ISA", "PCI", "i2c-bus": what `-device bus=` and info qtree print */
    size_t child_size;     /* zeroed per-child data at dev->bus_data */
    const Prop *child_props;     /* offsets into bus_data */
    const VmState *child_vmstate;
    /* Before type->realize: pick the address, set up bus_data. Fails when the place is taken. */
    bool (*prepare)(Bus *bus, Device *dev, Error **errp);
    /* After type->realize: map exported regions, connect exported lines. */
    bool (*attach)(Bus *bus, Device *dev, Error **errp);
    void (*detach)(Bus *bus, Device *dev); /* undo both (attach perhaps never ran); exported regions are
                                            * already unmapped, bus_data lives until a grace period later */
    void (*child_reset)(Device *dev, ResetKind kind); /* bus_data's part of reset, before type->reset */
    void (*child_reset_done)(Device *dev);
    void (*describe_child)(Device *dev, GString *out, int indent);
    void (*firmware_name)(Device *dev, GString *out); /* appends "/NAME@ADDRESS": the child in firmware's paths */
    bool hotplug; /* devices come and go at once while the machine is up; else see Bus.hotplug */
};
/* Devices come and go on a bus while the machine is up, and the guest has a part in it: what a bus's owner
 * does for that. MAIN_LOOP, no domain held. */
typedef struct BusHotplug {
    bool (*suits)(const Device *dev); /* of its type: may it come and go? Perhaps not realized yet */
    void (*plugged)(Bus *bus, Device *dev); /* it is there, and reset: the guest is told */
    /* Asks the guest to let go of it; once it does, device_unplugged(). False: not now. */
    bool (*unplug)(Bus *bus, Device *dev, Error **errp);
} BusHotplug;
struct Bus {
    const BusType *type;
    const BusHotplug *hotplug; /* NULL: none; the owner's */
    const char *no_hotplug;    /* then: what to do instead; NULL: the usual. Constant */
    char *name;       /* "pci.0", "isa.0" */
    Device *owner;
    void *impl;       /* the owner's bus struct, e.g. PciBus * */
    GPtrArray *children;
};

/* All MAIN_LOOP. device_new returns a device with default properties, owned by `parent` once realized;
 * an unrealized one is dropped with device_remove(). type with bus_type == NULL: bus is NULL. */
Device *device_new(Machine *m, const DeviceType *type, Device *parent, const char *id);
bool device_set(Device *dev, const char *prop, const char *text, Error **errp);
bool device_set_json(Device *dev, const char *prop, const Json *value, Error **errp);
Json *device_get(Device *dev, const char *prop, Error **errp);
const Prop *device_find_prop(Device *dev, const char *name, void **base); /* own, base types', bus child's */
bool device_realize(Device *dev, Bus *bus, Error **errp);
void device_remove(Device *dev); /* unmap, wait for a grace period, unrealize, free; children first */
/* new + set... + realize for a board's fixed devices; a failure ends in *errp as usual. props: pairs of
 * name, text; ends with NULL. */
Device *device_create(Machine *m, const DeviceType *type, Device *parent, const char *id, Bus *bus, Error **errp,
                      ...) G_GNUC_NULL_TERMINATED;

Bus *bus_new(const BusType *type, Device *owner, const char *name, void *impl); /* in the owner's realize */

/* In realize only. */
void device_add_region(Device *dev, MemRegion *r);     /* exported in order; a bus or board maps region k */
void device_add_irq(Device *dev, IrqLine *line);       /* exported in order; a bus or board connects line k
                                                          (a board may also add its own wires to a device) */
void device_add_timer(Device *dev, Timer *t, void (*fire)(void *opaque)); /* virtual clock, home loop, domain held; opaque = dev */
void device_add_task(Device *dev, DomainTask *t, void (*run)(void *opaque)); /* opaque = dev */
void device_add_fifo8(Device *dev, Fifo8 *f, uint32_t capacity);
void device_add_cleanup(Device *dev, void (*fn)(void *opaque), void *opaque); /* anything else */
/* Maps into the machine's memory or I/O space; unmapped with the device. */
bool device_map_io(Device *dev, MemRegion *r, uint16_t port, Error **errp);   /* refuses an overlap, naming the holder */
void device_map_mem(Device *dev, MemRegion *r, hwaddr at, int priority);
static inline MemRegion *device_region(Device *d, unsigned k) { return k < d->regions->len ? (MemRegion *)d->regions->pdata[k] : NULL; }
static inline IrqLine *device_irq(Device *d, unsigned k) { return k < d->irqs->len ? (IrqLine *)d->irqs->pdata[k] : NULL; }

/* Two phases over the tree below dev: everybody's reset, then everybody's reset_done. The device's
 * domain is held around each call. */
void device_reset(Device *dev, ResetKind kind);
/* Holds the tree in reset (reset now, reset_done when the last hold is released). */
void device_reset_hold(Device *dev, ResetKind kind);
void device_reset_release(Device *dev);

bool device_is_a(const Device *dev, const DeviceType *type);
void device_firmware_path(Device *dev, GString *out); /* appends "/pci@i0cf8/ide@1,1/...": as firmware names it */
const char *device_name(const Device *dev); /* id or type name, for messages */
void guest_error(Device *dev, const char *fmt, ...) G_GNUC_PRINTF(2, 3); /* -d guest_errors; rate-limited; never fatal */
void guest_unimp(Device *dev, const char *fmt, ...) G_GNUC_PRINTF(2, 3); /* -d unimp */

/* Saved state of the whole tree below dev (each device: bus child state, base types' tables from the
 * root down, own table). */
void device_tree_save(Device *root, GByteArray *out);
bool device_tree_load(Device *root, const uint8_t **p, const uint8_t *end, Error **errp);

/* The build's table of all types, ends with NULL; linked by programs and tests. */
extern const DeviceType *const device_table[];
bool device_type_is_called(const DeviceType *type, const char *name); /* by either of its names */
const DeviceType *device_type_find(const char *name);                 /* by either; NULL: there is none */

#endif

/* SPDX-License-Identifier: MIT
 * hw/intc/ioapic.c - 82093AA I/O APIC: 24 inputs redirected to local APICs as messages.
 * Models:         82093AA data sheet (290566), sections 3.1-3.2 (registers), 3.4 (redirection); version 20h
 *                 adds the EOI register of the ICH data sheets. Messages: Intel SDM vol. 3, 11.11 "Message
 *                 Signalled Interrupts".
 * Does not model: the serial APIC bus and its arbitration (the arbitration register follows the id), input
 *                 polarity (drivers of lines speak of asserted, not of high), delivery status (delivery is
 *                 immediate).
 * Inside:         where an accelerator has the chip (AccelChipUser), lines go there, and here is its state
 *                 while somebody looks at it.
 * Threads:        a leaf object: `lock` guards everything, registers are dispatched without a domain;
 *                 msi_send() is called with the lock held.
 */
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/system/machine.h"
#include <pthread.h>
#include <string.h>

enum { R_SELECT = 0x00, R_WINDOW = 0x10, R_EOI = 0x40 };
enum { REG_ID, REG_VERSION, REG_ARB, REG_TABLE = 0x10 };
enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_EXTINT = 7 };
#define RTE_VECTOR     UINT64_C(0xff)
#define RTE_MODE(rte)  ((rte) >> 8 & 7)
#define RTE_LOGICAL    UINT64_C(0x800)
#define RTE_STATUS     UINT64_C(0x1000)
#define RTE_REMOTE_IRR UINT64_C(0x4000)
#define RTE_LEVEL      UINT64_C(0x8000)
#define RTE_MASKED     UINT64_C(0x10000)
#define RTE_WRITABLE                                                                                         \
    (UINT64_C(0xff000000000000ff) | 0x1af00) /* destination; mask, trigger, polarity, modes, vector */

typedef struct Ioapic {
    Device dev;
    uint32_t version; /* configuration */
    MemRegion regs;   /* wiring */
    MachineListener listener;
    AccelChipUser inside;
    pthread_mutex_t lock;
    uint64_t raised[IOAPIC_PINS]; /* for people: no part of the state */
    /* guest-visible state */
    uint8_t id, select;
    uint32_t pins; /* input levels */
    uint64_t rte[IOAPIC_PINS];
} Ioapic;

static MsiMessage ioapic_message(uint64_t rte)
{
    return (MsiMessage){
        .addr = 0xfee00000 | (rte >> 56) << 12 | (RTE_MODE(rte) == MODE_LOWEST) << 3 |
                (rte & RTE_LOGICAL ? 4 : 0),
        .data = (rte & RTE_VECTOR) | RTE_MODE(rte) << 8 | (rte & RTE_LEVEL ? 0xc000 : 0),
    };
}

static void ioapic_send(Ioapic *s, uint64_t rte)
{
    msi_send(s->dev.machine, ioapic_message(rte));
}

/* Local APICs inside the accelerator tell ends of interrupts of routes they know. */
static void ioapic_tell_route(Ioapic *s, unsigned n)
{
    Machine *m = s->dev.machine;
    if (accel_has_lapic(m) && !s->inside.attached) {
        m->accel->irqchip->route_pin(m, n, ioapic_message(s->rte[n]));
    }
}

/* Delivers a level-triggered request that is not in service yet. Only fixed and lowest-priority delivery
 * have an EOI, hence a remote IRR; the data sheet makes the others edge-triggered whatever bit 15 says. */
static void ioapic_service_level(Ioapic *s, unsigned n)
{
    uint64_t rte = s->rte[n];
    if (!s->inside.attached && rte & RTE_LEVEL && !(rte & (RTE_MASKED | RTE_REMOTE_IRR)) &&
        s->pins >> n & 1 && RTE_MODE(rte) <= MODE_LOWEST) {
        s->rte[n] |= RTE_REMOTE_IRR;
        ioapic_send(s, rte);
    }
}

static void ioapic_set_pin(void *sink, unsigned n, bool level)
{
    Ioapic *s = dev_as(Ioapic, (Device *)sink);
    if (n >= IOAPIC_PINS) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    uint64_t rte = s->rte[n];
    bool rising = level && !(s->pins >> n & 1);
    s->pins = (s->pins & ~(1u << n)) | (uint32_t)level << n;
    s->raised[n] += rising;
    if (s->inside.attached) {
        accel_chip_line(s->dev.machine, &s->inside, n, level);
    } else if (rte & RTE_LEVEL && RTE_MODE(rte) <= MODE_LOWEST) {
        ioapic_service_level(s, n);
    } else if (rising && !(rte & RTE_MASKED)) { /* an edge on a masked pin is ignored, not held (bit 16) */
        ioapic_send(s, rte & ~RTE_LEVEL);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- inside an accelerator ---- */

_Static_assert((int)IOAPIC_PINS == (int)ACCEL_IOAPIC_PINS, "one chip");

static void ioapic_pull_locked(Ioapic *s)
{
    Machine *m = s->dev.machine;
    IoapicImage k;
    if (!accel_chip_live(&s->inside) || !m->accel->irqchip->chip_get(m, CHIP_IOAPIC, &k)) {
        return;
    }
    s->id = k.id & 15;
    s->select = k.select;
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        s->rte[n] = k.rte[n] & (RTE_WRITABLE | RTE_REMOTE_IRR);
    }
}

/* A request of a level-triggered input is made anew unless it is in service; an edge was sent when it came.
 */
static void ioapic_push_locked(Ioapic *s)
{
    Machine *m = s->dev.machine;
    IoapicImage k = { .id = s->id, .select = s->select };
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        k.rte[n] = s->rte[n];
        k.pins |= s->rte[n] & RTE_LEVEL ? s->pins & 1u << n : 0;
    }
    m->accel->irqchip->chip_set(m, CHIP_IOAPIC, &k);
}

static void ioapic_pull(void *opaque)
{
    Ioapic *s = opaque;
    pthread_mutex_lock(&s->lock);
    ioapic_pull_locked(s);
    pthread_mutex_unlock(&s->lock);
}

/* vCPUs parked, what local APICs have is in their devices. An accelerator that has them can have been stopped
 * between an end of interrupt and telling it (KVM_EXIT_IOAPIC_EOI), and nothing of that can be read: a
 * request that no local APIC has is over. */
static void ioapic_forget_ended(Ioapic *s)
{
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        uint8_t vector = s->rte[n] & RTE_VECTOR;
        if (s->rte[n] & RTE_REMOTE_IRR && !apic_vector_open(s->dev.machine, vector)) {
            s->rte[n] &= ~RTE_REMOTE_IRR;
        }
    }
}

static void ioapic_pre_save(void *opaque)
{
    Ioapic *s = opaque;
    ioapic_pull(s);
    pthread_mutex_lock(&s->lock);
    if (accel_has_lapic(s->dev.machine) && !s->inside.attached) {
        ioapic_forget_ended(s);
    }
    pthread_mutex_unlock(&s->lock);
}

static void ioapic_push(void *opaque)
{
    Ioapic *s = opaque;
    pthread_mutex_lock(&s->lock);
    ioapic_push_locked(s);
    pthread_mutex_unlock(&s->lock);
}

static void ioapic_changed(Ioapic *s)
{
    if (accel_chip_live(&s->inside)) {
        ioapic_push_locked(s);
    }
}

const IrqSinkOps ioapic_sink = { .set = ioapic_set_pin };

static void ioapic_eoi_locked(Ioapic *s, uint8_t vector)
{
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        if ((s->rte[n] & (RTE_VECTOR | RTE_LEVEL | RTE_REMOTE_IRR)) ==
            (vector | RTE_LEVEL | RTE_REMOTE_IRR)) {
            s->rte[n] &= ~RTE_REMOTE_IRR;
            ioapic_service_level(s, n);
        }
    }
}

void ioapic_eoi(Device *dev, uint8_t vector)
{
    Ioapic *s = dev_as(Ioapic, dev);
    pthread_mutex_lock(&s->lock);
    ioapic_eoi_locked(s, vector); /* inside, nobody tells of ends */
    pthread_mutex_unlock(&s->lock);
}

int ioapic_edge_vector(Device *dev, unsigned pin)
{
    Ioapic *s = dev_as(Ioapic, dev);
    pthread_mutex_lock(&s->lock);
    ioapic_pull_locked(s);
    uint64_t rte = s->rte[pin];
    pthread_mutex_unlock(&s->lock);
    bool edge = !(rte & (RTE_MASKED | RTE_LEVEL)) && RTE_MODE(rte) <= MODE_LOWEST;
    return edge ? (int)(rte & RTE_VECTOR) : -1;
}

void ioapic_counts(Device *ioapic, uint64_t out[static IOAPIC_PINS])
{
    Ioapic *s = dev_as(Ioapic, ioapic);
    pthread_mutex_lock(&s->lock);
    memcpy(out, s->raised, sizeof(s->raised));
    pthread_mutex_unlock(&s->lock);
}

bool ioapic_waits(Device *dev, unsigned pin)
{
    int v = ioapic_edge_vector(dev, pin);
    return v >= 0 && apic_vector_waits(dev->machine, (uint8_t)v);
}

static uint32_t ioapic_read_reg(const Ioapic *s)
{
    unsigned entry = (s->select - REG_TABLE) / 2;
    if (s->select >= REG_TABLE && entry < IOAPIC_PINS) {
        return s->rte[entry] >> (s->select & 1) * 32;
    }
    switch (s->select) {
    case REG_ID:
    case REG_ARB: return (uint32_t)s->id << 24;
    case REG_VERSION: return s->version | (IOAPIC_PINS - 1) << 16;
    default: return 0;
    }
}

static void ioapic_write_reg(Ioapic *s, uint32_t val)
{
    unsigned entry = (s->select - REG_TABLE) / 2;
    if (s->select == REG_ID) {
        s->id = val >> 24 & 0xf;
        return;
    }
    if (s->select < REG_TABLE || entry >= IOAPIC_PINS) {
        guest_error(&s->dev, "write to I/O APIC register %02x, which is read-only or absent", s->select);
        return;
    }
    unsigned shift = (s->select & 1) * 32;
    uint64_t mask = RTE_WRITABLE & UINT64_C(0xffffffff) << shift;
    uint64_t rte = (s->rte[entry] & ~mask) | ((uint64_t)val << shift & mask);
    if (!(rte & RTE_LEVEL)) {
        rte &= ~RTE_REMOTE_IRR; /* how software without an EOI register forgets a request */
    }
    s->rte[entry] = rte;
    ioapic_tell_route(s, entry);
    ioapic_service_level(s, entry);
}

static uint64_t ioapic_read(void *opaque, MemAccess *a)
{
    Ioapic *s = opaque;
    uint32_t val = 0;
    pthread_mutex_lock(&s->lock);
    ioapic_pull_locked(s);
    switch (a->off & 0xff) { /* the data sheet decodes FEC0xy00h and FEC0xy10h */
    case R_SELECT: val = s->select; break;
    case R_WINDOW: val = ioapic_read_reg(s); break;
    }
    pthread_mutex_unlock(&s->lock);
    return val;
}

static void ioapic_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ioapic *s = opaque;
    unsigned off = a->off & 0xff;
    pthread_mutex_lock(&s->lock);
    ioapic_pull_locked(s);
    if (off == R_SELECT) {
        s->select = val;
    } else if (off == R_WINDOW) {
        ioapic_write_reg(s, val);
    } else if (off == R_EOI && s->version >= 0x20) {
        ioapic_eoi_locked(s, val);
    } else {
        guest_error(&s->dev, "write to I/O APIC offset %03x, where nothing is", (unsigned)a->off);
    }
    ioapic_changed(s);
    pthread_mutex_unlock(&s->lock);
}

/* Another accelerator has to learn what pins send, or their levels. */
static void ioapic_accel(void *opaque)
{
    Ioapic *s = opaque;
    Machine *m = s->dev.machine;
    pthread_mutex_lock(&s->lock);
    ioapic_forget_ended(s);
    accel_chip_attach(m, &s->inside);
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        if (s->inside.attached) {
            accel_chip_line(m, &s->inside, n, s->pins >> n & 1);
        } else {
            ioapic_tell_route(s, n);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

/* Requests of level-triggered inputs that came out of an accelerator unserviced, or were forgotten. Not
 * earlier: local APICs inside have their state only now, and would lose them. */
static void ioapic_runs(void *opaque, RunState was G_GNUC_UNUSED, RunState now)
{
    Ioapic *s = opaque;
    pthread_mutex_lock(&s->lock);
    for (unsigned n = 0; now == RUN_RUNNING && n < IOAPIC_PINS; n++) {
        ioapic_service_level(s, n);
    }
    pthread_mutex_unlock(&s->lock);
}

static void ioapic_gone(void *opaque)
{
    Ioapic *s = opaque;
    accel_chip_detach(s->dev.machine, &s->inside);
    machine_remove_listener(s->dev.machine, &s->listener);
}

static bool ioapic_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = ioapic_read,
                                .write = ioapic_write,
                                .min = 1,
                                .max = 4,
                                .impl_min = 4,
                                .impl_max = 4,
                                .lockless = true };
    Ioapic *s = dev_as(Ioapic, dev);
    bool in = accel_has_chips(dev->machine);
    s->version = s->version ? s->version : in ? ACCEL_IOAPIC_VERSION : 0x20;
    if (in && s->version != ACCEL_IOAPIC_VERSION) {
        error_set(errp, "the I/O APIC inside accelerator '%s' is of version 0x11, not 0x%x",
                  dev->machine->accel->name, s->version);
        error_hint(errp, "leave ioapic.version unset, or use kernel-irqchip=split");
        return false;
    }
    if (s->version != 0x11 && s->version != 0x20) {
        return error_set(errp, "ioapic version 0x%x does not exist, 0x11 and 0x20 do", s->version);
    }
    dev->machine->chips_stay = s->version != ACCEL_IOAPIC_VERSION;
    pthread_mutex_init(&s->lock, NULL);
    s->inside = (AccelChipUser){ .chip = CHIP_IOAPIC, .pull = ioapic_pull, .push = ioapic_push, .opaque = s };
    accel_chip_attach(dev->machine, &s->inside);
    region_init_io(&s->regs, dev, "ioapic", &ops, s, 0x1000);
    device_add_region(dev, &s->regs);
    s->listener = (MachineListener){ .state = ioapic_runs, .accel = ioapic_accel, .opaque = s };
    machine_add_listener(dev->machine, &s->listener);
    device_add_cleanup(dev, ioapic_gone, s);
    return true;
}

static void ioapic_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Ioapic *s = dev_as(Ioapic, dev);
    pthread_mutex_lock(&s->lock);
    s->id = s->select = 0;
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        s->rte[n] = RTE_MASKED;
    }
    pthread_mutex_unlock(&s->lock); /* `pins` stays: the inputs belong to those who drive them */
}

static void ioapic_reset_done(Device *dev)
{
    accel_chip_changed(dev->machine, &dev_as(Ioapic, dev)->inside);
}

static bool ioapic_post_load(void *opaque, Error **errp)
{
    Ioapic *s = opaque;
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        if (s->rte[n] & ~(RTE_WRITABLE | RTE_REMOTE_IRR)) {
            return error_set(errp, "redirection entry %u is 0x%" PRIx64 ", reserved bits are set", n,
                             s->rte[n]);
        }
        ioapic_tell_route(s, n);
    }
    accel_chip_changed(s->dev.machine, &s->inside);
    return true;
}

static void ioapic_describe(Device *dev, GString *out, int indent)
{
    static const char *const modes[] = { "fixed", "lowest", "smi",      "reserved",
                                         "nmi",   "init",   "reserved", "extint" };
    Ioapic *s = dev_as(Ioapic, dev);
    pthread_mutex_lock(&s->lock);
    ioapic_pull_locked(s);
    g_string_append_printf(out, "%*sioapic: id=%u select=0x%02x pins=0x%06x\n", indent, "", s->id, s->select,
                           s->pins);
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        uint64_t rte = s->rte[n];
        g_string_append_printf(out, "%*s  pin %2u 0x%016" PRIx64 " dest=%u vec=%u %s %s%s%s%s\n", indent, "",
                               n, rte, (unsigned)(rte >> 56), (unsigned)(rte & RTE_VECTOR),
                               modes[RTE_MODE(rte)], rte & RTE_LEVEL ? "level" : "edge",
                               rte & RTE_LOGICAL ? " logical" : " physical",
                               rte & RTE_MASKED ? " masked" : "", rte & RTE_REMOTE_IRR ? " remote-irr" : "");
    }
    pthread_mutex_unlock(&s->lock);
}

static const Prop ioapic_props[] = {
    PROP_U32(Ioapic, version, "version", 0, 0, 0xff,
             "0x20, or 0x11: without the EOI register; 0: 0x11 inside an accelerator, else 0x20"),
    { 0 },
};
static const VmField ioapic_fields[] = {
    VM_U8_MAX(Ioapic, id, 15),
    VM_U8(Ioapic, select),
    VM_U32_MAX(Ioapic, pins, 0xffffff),
    VM_U64_ARRAY(Ioapic, rte),
    { 0 },
};
static const VmState ioapic_state = { .name = "ioapic",
                                      .version = 1,
                                      .oldest = 1,
                                      .fields = ioapic_fields,
                                      .pre_save = ioapic_pre_save,
                                      .post_load = ioapic_post_load };

const DeviceType ioapic_type = {
    .name = "ioapic",
    .desc = "82093AA I/O APIC",
    .size = sizeof(Ioapic),
    .internal = true,
    .props = ioapic_props,
    .vmstate = &ioapic_state,
    .realize = ioapic_realize,
    .reset = ioapic_reset,
    .reset_done = ioapic_reset_done,
    .describe = ioapic_describe,
};

/* SPDX-License-Identifier: MIT
 * hw/intc/i8259.c - 8259A programmable interrupt controller and the PC's pair of them.
 * Models:         Intel 8259A data sheet (231468): ICW1-4, OCW1-3, fully and special fully nested modes,
 *                 rotation, special mask, poll, automatic EOI, edge and level sense, spurious IR7; PIIX3
 *                 data sheet, edge/level control registers 4D0h/4D1h.
 * Does not model: MCS-80/85 mode (ICW4 bit 0 clear answers like 8086 mode), buffered mode. An edge request
 *                 stays latched when its input falls before INTA: a virtual CPU may be late by any time,
 *                 and the real chip's answer, a spurious interrupt, would lose timer ticks.
 * Inside:         where an accelerator has the pair (AccelChipUser), lines go there, and here is its state
 *                 while somebody looks at it.
 * Threads:        a leaf object: `lock` guards everything, registers are dispatched without a domain. The
 *                 lock order is slave, master, then the sink of INT.
 */
#include "rhea/hw/intc.h"
#include "rhea/hw/isa.h"
#include "rhea/system/machine.h"
#include <pthread.h>
#include <string.h>

enum { R_CMD, R_DATA };
enum { ICW1 = 0x10, ICW1_IC4 = 0x01, ICW1_SNGL = 0x02, ICW1_LTIM = 0x08 };
enum { ICW4_AEOI = 0x02, ICW4_SFNM = 0x10 };
enum { OCW3 = 0x08, OCW3_RIS = 0x01, OCW3_RR = 0x02, OCW3_POLL = 0x04, OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
enum { PIC_CASCADE_PIN = 2, PIC_ELCR_AUTO = 0x100 };

typedef struct Pic {
    Device dev;
    /* configuration */
    bool master;
    uint32_t elcr_addr;
    uint32_t elcr_mask; /* PIC_ELCR_AUTO: the PIIX3's, by place */
    /* wiring */
    MemRegion regs, elcr_reg;
    IrqLine intr;
    struct Pic *slave; /* of the master, set once by the board */
    pthread_mutex_t lock;
    AccelChipUser inside;
    MachineListener listener;
    uint64_t raised[8]; /* for people: no part of the state */
    /* guest-visible state */
    uint8_t pins;  /* input levels */
    uint8_t latch; /* edges seen and not yet acknowledged */
    uint8_t isr, imr, elcr;
    uint8_t lowest; /* the level of lowest priority; 7 unless rotated */
    uint8_t base;   /* ICW2 bits 7:3 */
    uint8_t icw1, icw3, icw4;
    uint8_t step; /* the ICW that comes next: 2, 3, 4; 0: initialised, 1: never initialised */
    bool read_isr, poll, special_mask, rotate_aeoi;
} Pic;

static uint8_t pic_level_mask(const Pic *p)
{
    return p->icw1 & ICW1_LTIM ? 0xff : p->elcr;
}

static uint8_t pic_irr(const Pic *p)
{
    uint8_t level = pic_level_mask(p);
    return (p->latch & ~level) | (p->pins & level);
}

/* Data sheet, "Fully Nested Mode": the highest request above everything in service; -1: none. */
static int pic_pending(const Pic *p)
{
    if (p->step) {
        return -1; /* between ICW1 and the last ICW the chip is not in operation */
    }
    uint8_t request = pic_irr(p) & ~p->imr;
    uint8_t service = p->special_mask ? p->isr & ~p->imr : p->isr;
    for (unsigned i = 1; i <= 8; i++) {
        unsigned n = (p->lowest + i) & 7;
        uint8_t bit = 1 << n;
        /* Special fully nested: a slave in service may still raise something of higher priority. */
        bool nests = p->icw4 & ICW4_SFNM && p->master && n == PIC_CASCADE_PIN;
        if (service & bit && !(nests && request & bit)) {
            return -1;
        }
        if (request & bit) {
            return n;
        }
    }
    return -1;
}

static void pic_update(Pic *p)
{
    if (!p->inside.attached) {
        irq_set(&p->intr, pic_pending(p) >= 0);
    }
}

/* Data sheet, "Interrupt Sequence", first INTA: level n goes into service. */
static void pic_accept(Pic *p, unsigned n)
{
    p->latch &= ~(1 << n);
    if (!(p->icw4 & ICW4_AEOI)) {
        p->isr |= 1 << n;
    } else if (p->rotate_aeoi) {
        p->lowest = n;
    }
}

/* The wire between the two chips is inside as well. */
static void pic_line(Pic *p, unsigned n)
{
    Machine *m = p->dev.machine;
    if (p->inside.attached && !(p->slave && n == PIC_CASCADE_PIN)) {
        accel_chip_line(m, &p->inside, n, p->pins >> n & 1);
    }
}

static void pic_set_pin(Pic *p, unsigned n, bool level)
{
    uint8_t bit = 1 << n;
    pthread_mutex_lock(&p->lock);
    if (level && !(p->pins & bit)) {
        p->latch |= bit;
        p->raised[n]++;
    }
    p->pins = level ? p->pins | bit : p->pins & ~bit;
    pic_update(p);
    pic_line(p, n);
    pthread_mutex_unlock(&p->lock);
}

static void pic_sink_set(void *sink, unsigned pin, bool level)
{
    if (pin < 8) {
        pic_set_pin(dev_as(Pic, (Device *)sink), pin, level);
    }
}

static void pic_pair_set(void *sink, unsigned pin, bool level)
{
    Pic *master = dev_as(Pic, (Device *)sink);
    if (pin < 8 && pin != PIC_CASCADE_PIN) {
        pic_set_pin(master, pin, level);
    } else if (pin >= 8 && pin < 16 && master->slave) {
        pic_set_pin(master->slave, pin - 8, level);
    }
}

const IrqSinkOps i8259_sink = { .set = pic_sink_set };
const IrqSinkOps i8259_pair_sink = { .set = pic_pair_set };

/* ---- inside an accelerator ---- */

/* Lock held. What the image has no place for stays: ICW3, bits of ICW1 and ICW4 without effect. */
static void pic_pull_locked(Pic *p)
{
    Machine *m = p->dev.machine;
    PicImage k;
    if (!accel_chip_live(&p->inside) || !m->accel->irqchip->chip_get(m, p->inside.chip, &k)) {
        return;
    }
    p->elcr = k.elcr & p->elcr_mask;
    p->latch = k.irr & ~pic_level_mask(p);
    p->isr = k.isr;
    p->imr = k.imr;
    p->lowest = k.lowest & 7;
    if (k.icw) {
        p->step = k.icw;
    } else if (p->step != 1 || k.base) { /* an image cannot tell that there was no ICW1 yet */
        p->step = 0;
    }
    p->base = k.base & 0xf8;
    p->icw1 = (p->icw1 & ~ICW1_IC4) | (k.icw4 ? ICW1_IC4 : 0);
    p->icw4 = (p->icw4 & ~(ICW4_AEOI | ICW4_SFNM)) | (k.auto_eoi ? ICW4_AEOI : 0) |
              (k.fully_nested ? ICW4_SFNM : 0);
    p->read_isr = k.read_isr;
    p->poll = k.poll;
    p->special_mask = k.special_mask;
    p->rotate_aeoi = k.rotate_aeoi;
    if (p->slave) {
        uint8_t bit = 1 << PIC_CASCADE_PIN;
        p->pins = (p->pins & ~bit) | (k.irr & bit);
    } else if (!p->master) {
        p->intr.level = pic_pending(p) >= 0;
    }
}

static void pic_push_locked(Pic *p)
{
    Machine *m = p->dev.machine;
    uint8_t own = p->slave ? ~(1 << PIC_CASCADE_PIN) : 0xff; /* the slave, pushed next, says it anew */
    PicImage k = {
        .pins = p->pins & own,
        .irr = pic_irr(p) & own,
        .imr = p->imr,
        .isr = p->isr,
        .elcr = p->elcr,
        .elcr_mask = (uint8_t)p->elcr_mask,
        .base = p->base,
        .lowest = p->lowest,
        .icw = p->step == 1 ? 0 : p->step,
        .read_isr = p->read_isr,
        .poll = p->poll,
        .special_mask = p->special_mask,
        .rotate_aeoi = p->rotate_aeoi,
        .auto_eoi = p->icw4 & ICW4_AEOI,
        .fully_nested = p->icw4 & ICW4_SFNM,
        .icw4 = p->icw1 & ICW1_IC4,
    };
    m->accel->irqchip->chip_set(m, p->inside.chip, &k);
}

static void pic_pull(void *opaque)
{
    Pic *p = opaque;
    pthread_mutex_lock(&p->lock);
    pic_pull_locked(p);
    pthread_mutex_unlock(&p->lock);
}

static void pic_push(void *opaque)
{
    Pic *p = opaque;
    pthread_mutex_lock(&p->lock);
    pic_push_locked(p);
    pthread_mutex_unlock(&p->lock);
}

/* Lock held, behind a change by us. */
static void pic_changed(Pic *p)
{
    if (accel_chip_live(&p->inside)) {
        pic_push_locked(p);
    }
    pic_update(p);
}

/* Inside or outside from now on. */
static void pic_attach(Pic *p)
{
    Machine *m = p->dev.machine;
    pthread_mutex_lock(&p->lock);
    bool was = p->inside.attached;
    if (!was && accel_has_chips(m)) {
        irq_set(&p->intr, false);
    }
    if (accel_chip_attach(m, &p->inside)) {
        for (unsigned n = 0; n < 8; n++) {
            pic_line(p, n);
        }
    } else if (was && p->slave) { /* the slave says anew whether it has something */
        uint8_t bit = 1 << PIC_CASCADE_PIN;
        p->pins &= ~bit;
        p->latch &= ~bit;
    } else if (was && !p->master) {
        p->intr.level = false;
    }
    pic_update(p);
    pthread_mutex_unlock(&p->lock);
}

/* The master's listener: both, in this order. */
static void pic_accel(void *opaque)
{
    Pic *p = opaque;
    pic_attach(p);
    if (p->slave) {
        pic_attach(p->slave);
    }
}

static void pic_gone(void *opaque)
{
    Pic *p = opaque;
    accel_chip_detach(p->dev.machine, &p->inside);
    if (p->master) {
        machine_remove_listener(p->dev.machine, &p->listener);
    }
}

/* One chip's part of an acknowledge cycle; its input level, and *vector. */
static unsigned pic_intack(Pic *p, int *vector)
{
    pthread_mutex_lock(&p->lock);
    int n = pic_pending(p);
    if (n >= 0) {
        pic_accept(p, n);
    }
    *vector = p->base | (n < 0 ? 7 : n); /* "default IR7", no bit set in ISR */
    pic_update(p);
    pthread_mutex_unlock(&p->lock);
    return n < 0 ? 7 : n;
}

int i8259_ack(Device *dev)
{
    Pic *p = dev_as(Pic, dev);
    int vector;
    /* The master's lock is not held while the slave answers: the slave's INT takes it. */
    if (pic_intack(p, &vector) == PIC_CASCADE_PIN && p->slave) {
        pic_intack(p->slave, &vector);
    }
    return vector;
}

bool i8259_int_level(Device *dev)
{
    Pic *p = dev_as(Pic, dev);
    pthread_mutex_lock(&p->lock);
    bool level = pic_pending(p) >= 0;
    pthread_mutex_unlock(&p->lock);
    return level;
}

void i8259_counts(Device *chip, uint64_t out[static 8])
{
    Pic *p = dev_as(Pic, chip);
    pthread_mutex_lock(&p->lock);
    memcpy(out, p->raised, sizeof(p->raised));
    pthread_mutex_unlock(&p->lock);
}

bool i8259_waits(Device *dev, unsigned pin)
{
    Pic *p = dev_as(Pic, dev);
    pthread_mutex_lock(&p->lock);
    bool waits = !p->step && (pic_irr(p) & ~p->imr) >> pin & 1;
    pthread_mutex_unlock(&p->lock);
    return waits;
}

Device *i8259_slave(Device *master)
{
    Pic *p = dev_as(Pic, master)->slave;
    return p ? &p->dev : NULL;
}

/* Data sheet, "Initialization Command Words": ICW1 clears the edge latch, IMR and the modes. */
static void pic_write_icw1(Pic *p, uint8_t val)
{
    p->icw1 = val;
    p->latch = 0;
    p->isr = 0;
    p->imr = 0;
    p->lowest = 7;
    p->icw3 = 0;
    p->icw4 = 0;
    p->read_isr = p->poll = p->special_mask = p->rotate_aeoi = false;
    p->step = 2;
}

static void pic_write_icw(Pic *p, uint8_t val)
{
    switch (p->step) {
    case 2:
        p->base = val & 0xf8;
        p->step = !(p->icw1 & ICW1_SNGL) ? 3 : p->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    case 3:
        p->icw3 = val;
        p->step = p->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    default:
        p->icw4 = val;
        p->step = 0;
        break;
    }
}

/* Data sheet, OCW2: R, SL, EOI in bits 7:5, level in 2:0. */
static void pic_write_ocw2(Pic *p, uint8_t val)
{
    unsigned level = val & 7;
    int highest = -1;
    uint8_t service =
        p->special_mask ? p->isr & ~p->imr : p->isr; /* masked ISR bits survive a non-specific EOI */
    for (unsigned i = 1; i <= 8 && highest < 0; i++) {
        unsigned n = (p->lowest + i) & 7;
        highest = service & (1 << n) ? (int)n : -1;
    }
    switch (val >> 5) {
    case 0: /* rotate in automatic EOI mode: clear, set */
    case 4: p->rotate_aeoi = val & 0x80; break;
    case 1: /* non-specific EOI, with rotation */
    case 5:
        if (highest >= 0) {
            p->isr &= ~(1 << highest);
            p->lowest = val & 0x80 ? highest : p->lowest;
        }
        break;
    case 3: /* specific EOI, with rotation */
    case 7:
        p->isr &= ~(1 << level);
        p->lowest = val & 0x80 ? level : p->lowest;
        break;
    case 6: /* set priority */ p->lowest = level; break;
    default: /* 2: no operation */ break;
    }
}

static void pic_write_ocw3(Pic *p, uint8_t val)
{
    if (val & OCW3_RR) {
        p->read_isr = val & OCW3_RIS;
    }
    if (val & OCW3_ESMM) {
        p->special_mask = val & OCW3_SMM;
    }
    p->poll = val & OCW3_POLL; /* the poll overrides a register read asked for by the same word */
}

static void pic_write(void *opaque, MemAccess *a, uint64_t val)
{
    Pic *p = opaque;
    pthread_mutex_lock(&p->lock);
    pic_pull_locked(p);
    if (a->off == R_CMD && val & ICW1) {
        pic_write_icw1(p, val);
    } else if (a->off == R_CMD && val & OCW3) {
        pic_write_ocw3(p, val);
    } else if (a->off == R_CMD) {
        pic_write_ocw2(p, val);
    } else if (p->step > 1) {
        pic_write_icw(p, val);
    } else {
        p->imr = val;
    }
    pic_changed(p);
    pthread_mutex_unlock(&p->lock);
}

static uint64_t pic_read(void *opaque, MemAccess *a)
{
    Pic *p = opaque;
    uint8_t val;
    pthread_mutex_lock(&p->lock);
    pic_pull_locked(p);
    if (p->poll &&
        !a->attrs.debug) { /* "Poll Command": the next read is treated as an interrupt acknowledge */
        int n = pic_pending(p);
        if (n >= 0) {
            pic_accept(p, n);
        }
        p->poll = false;
        val = n < 0 ? 0 : 0x80 | n;
        pic_changed(p);
    } else if (a->off == R_DATA) {
        val = p->imr;
    } else {
        val = p->read_isr ? p->isr : pic_irr(p);
    }
    pthread_mutex_unlock(&p->lock);
    return val;
}

static uint64_t pic_elcr_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    Pic *p = opaque;
    pthread_mutex_lock(&p->lock);
    pic_pull_locked(p);
    uint8_t val = p->elcr;
    pthread_mutex_unlock(&p->lock);
    return val;
}

static void pic_elcr_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Pic *p = opaque;
    pthread_mutex_lock(&p->lock);
    pic_pull_locked(p);
    p->elcr = val & p->elcr_mask;
    pic_changed(p);
    pthread_mutex_unlock(&p->lock);
}

static bool pic_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = pic_read,
                                .write = pic_write,
                                .min = 1,
                                .max = 1,
                                .impl_min = 1,
                                .impl_max = 1,
                                .lockless = true };
    static const MemOps elcr_ops = { .read = pic_elcr_read,
                                     .write = pic_elcr_write,
                                     .min = 1,
                                     .max = 1,
                                     .impl_min = 1,
                                     .impl_max = 1,
                                     .lockless = true };
    Pic *p = dev_as(Pic, dev);
    pthread_mutex_init(&p->lock, NULL);
    if (p->elcr_mask == PIC_ELCR_AUTO) {
        p->elcr_mask = p->master ? 0xf8 : 0xde; /* IRQ 0, 1, 2, 8 and 13 are always edge-triggered */
    }
    if (p->elcr_addr == UINT32_MAX) {
        p->elcr_addr = p->master ? 0x4d0 : 0x4d1;
    }
    region_init_io(&p->regs, dev, "pic", &ops, p, 2);
    region_init_io(&p->elcr_reg, dev, "elcr", &elcr_ops, p, 1);
    device_add_region(dev, &p->regs);
    device_add_irq(dev, &p->intr);
    p->inside = (AccelChipUser){
        .chip = p->master ? CHIP_PIC_MASTER : CHIP_PIC_SLAVE, .pull = pic_pull, .push = pic_push, .opaque = p
    };
    accel_chip_attach(dev->machine, &p->inside);
    if (p->master) {
        p->listener = (MachineListener){ .accel = pic_accel, .opaque = p };
        machine_add_listener(dev->machine, &p->listener);
    }
    device_add_cleanup(dev, pic_gone, p);
    return device_map_io(dev, &p->elcr_reg, p->elcr_addr, errp);
}

static void pic_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Pic *p = dev_as(Pic, dev);
    pthread_mutex_lock(&p->lock);
    pic_write_icw1(p, 0);
    p->base = 0;
    p->elcr = 0;
    p->step = 1; /* `pins` stays: the inputs belong to those who drive them */
    pthread_mutex_unlock(&p->lock);
}

static void pic_reset_done(Device *dev)
{
    Pic *p = dev_as(Pic, dev);
    pthread_mutex_lock(&p->lock);
    pic_update(p);
    pthread_mutex_unlock(&p->lock);
    accel_chip_changed(dev->machine, &p->inside);
}

static bool pic_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Pic *p = opaque;
    p->base &= 0xf8;
    p->elcr &= p->elcr_mask;
    pic_reset_done(&p->dev);
    return true;
}

static void pic_describe(Device *dev, GString *out, int indent)
{
    Pic *p = dev_as(Pic, dev);
    pthread_mutex_lock(&p->lock);
    pic_pull_locked(p);
    g_string_append_printf(
        out, "%*spic%d: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x rr_sel=%d elcr=%02x fnm=%d\n",
        indent, "", !p->master, pic_irr(p), p->imr, p->isr, (p->lowest + 1) & 7, p->base, p->read_isr,
        p->elcr, (p->icw4 & ICW4_SFNM) != 0);
    pthread_mutex_unlock(&p->lock);
}

Device *i8259_create_pair(Bus *isa, Device *parent, Error **errp)
{
    Machine *m = isa->owner->machine;
    Device *master = device_create(m, &i8259_type, parent, NULL, isa, errp, "master", "on", NULL);
    Device *slave =
        master ? device_create(m, &i8259_type, parent, NULL, isa, errp, "master", "off", NULL) : NULL;
    if (!slave) {
        return NULL;
    }
    dev_as(Pic, master)->slave = dev_as(Pic, slave);
    irq_connect(device_irq(slave, 0), &i8259_sink, master, PIC_CASCADE_PIN);
    return master;
}

static const uint16_t pic_iobase[] = { 0x20, 0xa0 };
static const IsaOps pic_isa = { .iobase = { 0x20 }, .irq = -1, .iobase_n = pic_iobase, .n = 2 };
static const Prop pic_props[] = {
    PROP_BOOL(Pic, master, "master", false, "Interrupts the CPU; else a slave of another 8259"),
    PROP_U32(Pic, elcr_addr, "elcr_addr", UINT32_MAX, 0, UINT32_MAX,
             "Port of the edge/level register (unset: by place)"),
    PROP_U32(Pic, elcr_mask, "elcr_mask", PIC_ELCR_AUTO, 0, PIC_ELCR_AUTO,
             "Inputs that may be level-triggered (256: by place)"),
    { 0 },
};
static const VmField pic_fields[] = {
    VM_U8(Pic, pins),   VM_U8(Pic, latch),          VM_U8(Pic, isr),           VM_U8(Pic, imr),
    VM_U8(Pic, elcr),   VM_U8_MAX(Pic, lowest, 7),  VM_U8(Pic, base),          VM_U8(Pic, icw1),
    VM_U8(Pic, icw3),   VM_U8(Pic, icw4),           VM_U8_MAX(Pic, step, 4),   VM_BOOL(Pic, read_isr),
    VM_BOOL(Pic, poll), VM_BOOL(Pic, special_mask), VM_BOOL(Pic, rotate_aeoi), { 0 },
};
static const VmState pic_state = { .name = "i8259",
                                   .version = 1,
                                   .oldest = 1,
                                   .fields = pic_fields,
                                   .pre_save = pic_pull,
                                   .post_load = pic_post_load };

const DeviceType i8259_type = {
    .name = "isa-i8259",
    .desc = "8259A interrupt controller",
    .size = sizeof(Pic),
    .bus_type = &isa_bus_type,
    .bus_ops = &pic_isa,
    .internal = true,
    .props = pic_props,
    .vmstate = &pic_state,
    .realize = pic_realize,
    .reset = pic_reset,
    .reset_done = pic_reset_done,
    .describe = pic_describe,
};

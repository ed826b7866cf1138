/* SPDX-License-Identifier: MIT
 * hw/i386/piix3.c - the PIIX3 function 0: ISA bridge and PCI interrupt steering.
 *
 * Models: Intel 82371SB (PIIX3) data sheet (290550), 2.2: configuration registers of function 0, PIRQRC
 *         60h-63h, and the default values of the rest. The slot-to-PIRQ wiring is the board's.
 * Does not model: APM clock throttling, MBIRQ steering, distributed DMA; the registers are storage.
 *         ELCR belongs to the 8259s, the reset control register to i440fx.c.
 * Threads: registers in the function's domain; the pins come from any function's domain and are kept
 *         under a leaf lock, so that telling a level twice is harmless.
 */
#include "pirq.h"
#include <pthread.h>
#include <string.h>

enum { REG_PIRQ = 0x60, PIRQS = 4 };

typedef struct Piix3 {
    Device dev;
    IsaBus *isa;                /* wiring */
    IrqLine out[ISA_IRQS];
    pthread_mutex_t lock;       /* guards what follows */
    uint64_t intx[PIRQS * PIRQ_PIN_WORDS]; /* guest-visible state, of each PIRQ */
    uint8_t route[PIRQS];       /* derived: copy of PIRQRC */
} Piix3;

static bool piix3_pirq_level(const Piix3 *s, unsigned pirq)
{
    const uint64_t *w = &s->intx[PIRQ_PIN_WORDS * pirq];
    return w[0] | w[1] | w[2] | w[3];
}

static void piix3_update_locked(Piix3 *s)
{
    unsigned pirqs = 0;
    for (unsigned p = 0; p < PIRQS; p++) {
        pirqs |= (unsigned)piix3_pirq_level(s, p) << p;
    }
    pirq_steer(s->out, s->route, PIRQS, pirqs);
}

/* INTA of slot 1 is PIRQA, of slot 2 PIRQB, ...: the rotation firmware and the _PRT assume. */
static void piix3_set_intx(void *host, unsigned devfn, unsigned pin, bool level)
{
    Piix3 *s = host;
    unsigned pirq = (pin + (devfn >> 3) + 3) & 3;
    pthread_mutex_lock(&s->lock);
    pirq_set_pin(&s->intx[PIRQ_PIN_WORDS * pirq], devfn, level);
    piix3_update_locked(s);
    pthread_mutex_unlock(&s->lock);
}

static void piix3_take_routes(Piix3 *s)
{
    pthread_mutex_lock(&s->lock);
    for (unsigned p = 0; p < PIRQS; p++) {
        s->route[p] = pci_get(&s->dev, REG_PIRQ + p, 1);
    }
    piix3_update_locked(s);
    pthread_mutex_unlock(&s->lock);
}

static void piix3_config_written(Device *dev, unsigned off, unsigned len)
{
    if (off < REG_PIRQ + PIRQS && off + len > REG_PIRQ) {
        piix3_take_routes(dev_as(Piix3, dev));
    }
}

static const struct { uint8_t reg, value, wmask;
} piix3_regs[] = {
    /* defaults of 2.2 */
    { 0x4c, 0x4d, 0x7f }, { 0x4e, 0x03, 0xff }, { 0x4f, 0x00, 0x01 }, { 0x60, 0x80, 0x8f },
    { 0x61, 0x80, 0x8f }, { 0x62, 0x80, 0x8f }, { 0x63, 0x80, 0x8f }, { 0x69, 0x02, 0xfe },
    { 0x6a, 0x00, 0x91 }, { 0x70, 0x80, 0xef }, { 0x71, 0x80, 0xef }, { 0x76, 0x0c, 0x8f },
    { 0x77, 0x0c, 0x8f }, { 0x78, 0x02, 0xff }, { 0x79, 0x00, 0xff }, { 0x80, 0x00, 0x7f },
    { 0x82, 0x00, 0x0f }, { 0xa0, 0x08, 0x1f }, { 0xa2, 0x00, 0xff }, { 0xa3, 0x00, 0x01 },
    { 0xa4, 0x00, 0xff }, { 0xa5, 0x00, 0xff }, { 0xa6, 0x00, 0xff }, { 0xa7, 0x00, 0xff },
    { 0xa8, 0x0f, 0xff }, { 0xaa, 0x00, 0x00 }, { 0xac, 0x00, 0xff }, { 0xae, 0x00, 0xff },
};

static void piix3_clear_lock(void *opaque)
{
    pthread_mutex_destroy(&((Piix3 *)opaque)->lock);
}

static bool piix3_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const PciHostOps host_ops = { .set_intx = piix3_set_intx };
    Piix3 *s = dev_as(Piix3, dev);
    PciBus *bus = pci_func(dev)->bus;
    pthread_mutex_init(&s->lock, NULL);
    device_add_cleanup(dev, piix3_clear_lock, s);
    s->isa = isa_bus_new(dev, "isa.0");
    pirq_connect(s->out, s->isa);
    bus->host_ops = &host_ops;
    bus->host = s;
    for (unsigned i = 0; i < G_N_ELEMENTS(piix3_regs); i++) {
        pci_set_byte(dev, piix3_regs[i].reg, piix3_regs[i].value);
        pci_set_wmask(dev, piix3_regs[i].reg, piix3_regs[i].wmask, 1);
    }
    pci_set_wmask(dev, 0x04, 0x0148, 2); /* I/O, memory and bus master are always on (2.2.3) */
    piix3_take_routes(s);
    return true;
}

static void piix3_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Piix3 *s = dev_as(Piix3, dev);
    for (unsigned i = 0; i < G_N_ELEMENTS(piix3_regs); i++) {
        pci_set_byte(dev, piix3_regs[i].reg, piix3_regs[i].value);
    }
    pci_set_word(dev, 0x04, 0x0007);
    pci_set_word(dev, 0x06, 0x0200);
    pthread_mutex_lock(&s->lock);
    memset(s->intx, 0, sizeof(s->intx)); /* the functions' own reset_done says who still asks */
    pthread_mutex_unlock(&s->lock);
}

static void piix3_reset_done(Device *dev)
{
    piix3_take_routes(dev_as(Piix3, dev));
}

static bool piix3_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    piix3_take_routes(opaque);
    return true;
}

static const VmField piix3_fields[] = { VM_U64_ARRAY(Piix3, intx), { 0 } };
static const VmState piix3_state = {
    .name = "PIIX3", .version = 1, .oldest = 1, .fields = piix3_fields, .post_load = piix3_post_load,
};

static const PciOps piix3_ops = {
    .vendor = 0x8086, .device = 0x7000, .class_code = 0x060100, .no_hotplug = true,
    .config_written = piix3_config_written,
};

const DeviceType piix3_type = {
    .name = "PIIX3",
    .desc = "PIIX3 ISA bridge",
    .size = sizeof(Piix3),
    .category = "Bridge",
    .internal = true,
    .bus_type = &pci_bus_type,
    .bus_ops = &piix3_ops,
    .vmstate = &piix3_state,
    .realize = piix3_realize,
    .reset = piix3_reset,
    .reset_done = piix3_reset_done,
};

IsaBus *piix3_isa_bus(Device *piix3)
{
    return dev_as(Piix3, piix3)->isa;
}

/* SPDX-License-Identifier: MIT
 * rhea/hw/isa.h - the ISA bus: fixed ports, sixteen interrupt lines, 8237 DMA channels.
 *
 * An ISA device is a DeviceType with bus_type = &isa_bus_type and bus_ops = const IsaOps *. Exported
 * region k is mapped at its port; exported line 0 goes to the `irq` property's line.
 */
#ifndef RHEA_HW_ISA_H
#define RHEA_HW_ISA_H

#include "rhea/system/device.h"

typedef struct IsaOps {
    uint16_t iobase[4];  /* default port of exported region k; 0: not mapped by the bus. `iobase` moves
                            region 0, the others keep their distance from it */
    int8_t irq;          /* default line, -1: none */
    /* Defaults of the n-th device of this type, when it may occur several times (serial ports):
     * `index` property picks; iobase_n[i], irq_n[i]; count 0 = no such list. */
    const uint16_t *iobase_n;
    const int8_t *irq_n;
    unsigned n;
    bool irq_shared;     /* others that say so too may use its line (serial ports); else they are refused */
} IsaOps;

/* What the user gave. The bus replaces UINT32_MAX by what it chose, before the type's realize. */
typedef struct IsaChild { /* Device.bus_data */
    uint32_t iobase;  /* property; UINT32_MAX: the default */
    uint32_t irq;     /* property; UINT32_MAX: the default; after prepare UINT32_MAX means none */
    uint32_t index;   /* property; UINT32_MAX: the next of its type */
} IsaChild;

enum {
    ISA_IRQS = 16, ISA_GSIS = 24,
    /* Sources of irq_or[]: 0..31 are given to ISA devices; a board uses 32..63 as it likes (PIRQ router,
     * HPET, SCI): irq_connect(&line, &irq_or_sink, &bus->irq_or[k], ISA_SOURCE_BOARD + i). */
    ISA_SOURCE_BOARD = 32,
};

typedef struct IsaDmaOps IsaDmaOps; /* rhea/hw/isadma.h */
typedef struct IsaDmaUser {
    const IsaDmaOps *ops;
    Device *dev;
} IsaDmaUser;

typedef struct IsaBus {
    Bus *bus;
    IrqLine irq_in[ISA_IRQS];  /* connected by the board to what stands for "IRQ k": PIC and IOAPIC */
    IrqLine gsi_in[ISA_GSIS - ISA_IRQS]; /* I/O APIC inputs 16..23, for pc-testdev; may stay unconnected */
    IrqOr irq_or[ISA_IRQS];    /* several sources may share a line; each gate drives irq_in[k] */
    IrqOr gsi_or[ISA_GSIS - ISA_IRQS];
    struct IsaIrqPin {
        struct IsaBus *bus;
        unsigned irq, n_users;
        struct { Device *dev; IrqLine *line; bool shared; } user[ISA_SOURCE_BOARD];
    } pin[ISA_IRQS];
    Device *dma[2];            /* 8237 pair, or NULL: see isadma.h */
    IsaDmaUser dma_user[8];
} IsaBus;
extern const BusType isa_bus_type;
IsaBus *isa_bus_new(Device *bridge, const char *name); /* in the bridge's realize */
static inline IsaChild *isa_child(Device *dev) { return dev->bus_data; }
static inline IsaBus *isa_bus_of(Device *dev) { return dev->bus->impl; }

/* In realize (or the bus's attach): connects one more line of an ISA device; undone with the device. Fails
 * when the line belongs to somebody that does not share, naming the holder, or cannot be on the bus (2). */
bool isa_connect_irq(Device *dev, IrqLine *line, unsigned irq, bool shared, Error **errp);
/* The first device of a type on the bus, or NULL. */
Device *isa_find_device(IsaBus *bus, const DeviceType *type);

#endif

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
    uint16_t iobase[4];  /* default port of exported region k; 0: not mapped by the bus */
    int8_t irq;          /* default line, -1: none */
    /* Defaults of the n-th device of this type, when it may occur several times (serial ports):
     * `index` property picks; iobase_n[i], irq_n[i]; count 0 = no such list. */
    const uint16_t *iobase_n;
    const int8_t *irq_n;
    unsigned n;
} IsaOps;

typedef struct IsaDmaOps IsaDmaOps;
typedef struct IsaChild { /* Device.bus_data */
    uint32_t iobase;  /* property; UINT32_MAX: the default */
    uint32_t irq;     /* property; UINT32_MAX: the default */
    uint32_t index;   /* property; UINT32_MAX: the next of its type */
} IsaChild;

typedef struct IsaBus {
    Bus *bus;
    IrqLine irq_in[16];      /* connected by the board to PIC and IOAPIC */
    IrqOr irq_or[16];        /* several devices may share a line */
    unsigned irq_users[16];
    struct Device *dma[2];   /* 8237 pair, or NULL */
} IsaBus;
extern const BusType isa_bus_type;
IsaBus *isa_bus_new(Device *bridge, const char *name); /* in the bridge's realize */
static inline IsaChild *isa_child(Device *dev) { return dev->bus_data; }

#endif

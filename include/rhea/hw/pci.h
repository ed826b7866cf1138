/* SPDX-License-Identifier: MIT
 * rhea/hw/pci.h - PCI: functions, BARs, INTx, configuration space (PCI Local Bus 3.0). Bridges, PCI Express
 * and MSI: pcie.h, msi.h, msix.h.
 *
 * A PCI device is a DeviceType with bus_type = &pci_bus_type and bus_ops = const PciOps *. Its exported
 * regions go, in order, to the BARs that PciOps.bar[] describes (kind other than PCI_BAR_NONE); exported
 * line 0 is the interrupt pin PciOps.intx_pin. The function's configuration space is bus data:
 * pci_func(dev). The bus resets the writable bits of the header; the device resets the rest.
 */
#ifndef RHEA_HW_PCI_H
#define RHEA_HW_PCI_H

#include "rhea/system/device.h"
#include "rhea/system/dma.h"

#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))
enum { PCI_CONFIG_SIZE = 256, PCIE_CONFIG_SIZE = 4096, PCI_BARS = 6 };

typedef enum PciBarKind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 } PciBarKind;
typedef struct PciBarDesc {
    PciBarKind kind;
    bool prefetch;
    uint64_t size; /* 0: the exported region's size, rounded up to a power of two */
} PciBarDesc;

typedef struct PciOps {
    uint16_t vendor, device, subvendor, subdevice; /* sub*: 0 = the board's default 1af4:1100 */
    uint32_t class_code; /* 24 bits: class, subclass, prog-if */
    uint8_t revision, header_type;
    uint8_t intx_pin;    /* 0 none, 1 INTA ... 4 INTD */
    bool no_hotplug;
    bool express; /* behind a PCI Express port it is an Express endpoint; elsewhere a conventional function */
    PciBarDesc bar[PCI_BARS];
    const char *romfile; /* default option ROM, NULL none */
    /* After the core handled a write of [off, off+len); config space holds the masked new value. In the
     * function's domain. May be NULL. */
    void (*config_written)(Device *dev, unsigned off, unsigned len);
    void (*config_read)(Device *dev, unsigned off, unsigned len); /* before: refresh live registers */
} PciOps;

typedef struct PciBus PciBus;
typedef struct PciFunc { /* Device.bus_data of PCI devices */
    Device *dev;
    PciBus *bus;
    int32_t addr_prop;       /* "addr" property: -1 = next free slot */
    bool multifunction;      /* property */
    char *romfile;           /* property */
    int32_t rombar;          /* property: 1 default */
    uint32_t romsize;        /* property: bytes; UINT32_MAX: as the image */
    uint8_t devfn;
    /* What lies above PCI_CONFIG_SIZE can be reached in functions with a PCI Express capability only. */
    uint8_t config[PCIE_CONFIG_SIZE], wmask[PCIE_CONFIG_SIZE], w1cmask[PCIE_CONFIG_SIZE];
    struct { MemRegion *region; MemRegion window; PciBarDesc desc; uint64_t size; hwaddr at; bool mapped; } bar[PCI_BARS];
    MemRegion rom_window; RamBlock *rom_ram; hwaddr rom_at; bool rom_mapped;
    const PciOps *ops;
    IrqLine *intx;
    bool intx_level;
    bool bus_master;         /* command bit 2, for DmaContext.enabled */
    DmaContext dma;
    struct PciMsix *msix;    /* rhea/hw/msix.h; NULL: has none */
    struct PciMsi *msi;      /* rhea/hw/msi.h; NULL: has none */
    struct PciBridge *bridge; /* rhea/hw/pcie.h; NULL: no bridge */
    bool gone;               /* no guest reaches it any more, nor does it reach a guest; its domain's */
    uint8_t express_cap;     /* the PCI Express capability; 0: none */
    uint8_t cap_next;        /* where the next capability goes */
} PciFunc;
static inline PciFunc *pci_func(Device *dev) { return dev->bus_data; }

extern const BusType pci_bus_type;

typedef struct PciHostOps { /* how a host bridge routes what its bus collects */
    void (*set_intx)(void *host, unsigned devfn, unsigned pin /* 0..3 */, bool level);
} PciHostOps;
struct PciBus {
    Bus *bus;
    Machine *machine;
    struct PciBridge *bridge;   /* it lies behind this one; NULL: the root bus, number 0 */
    uint8_t number, subordinate; /* behind a bridge: its registers; atomic */
    uint8_t n_slots;            /* 32; 1 behind a PCI Express port */
    bool express;               /* the root complex's bus, or one behind a port */
    MemRegion *mem, *io;        /* where BARs are mapped */
    Device *slot[256];          /* RCU: by devfn */
    void *hotplug;              /* of Bus.hotplug: who tells the guest */
    unsigned hotplug_number;    /* and which of his buses this is */
    const PciHostOps *host_ops;
    void *host;
    uint8_t first_free;         /* lowest slot automatic placement uses */
    uint16_t subvendor, subdevice; /* subsystem ids of devices that name none */
};
/* For Bus.hotplug: not of the chipset. */
bool pci_may_hotplug(const Device *dev);
/* Functions are there once function 0 is: those before it tell nobody, and need not be asked for. */
bool pci_slot_is_seen(const Device *dev);
/* device_unplugged() for a function, and for all of a slot that may go: from the first instruction on no guest
 * sees it, its memory is not written and no interrupt comes from it. MAIN_LOOP, no domain held. */
void pci_unplugged(Device *dev);
void pci_slot_unplugged(PciBus *bus, unsigned slot);
/* In the bridge's realize. */
PciBus *pci_bus_new(Device *bridge, const char *name, MemRegion *mem, MemRegion *io, const PciHostOps *ops, void *host);

/* Configuration cycles as a host bridge sees them: `bus` is the root; resolves under RCU, dispatches in the
 * function's domain. Absent functions read all-ones. len 1, 2, 4. off: up to PCIE_CONFIG_SIZE. */
uint32_t pci_config_read(PciBus *bus, unsigned bdf, unsigned off, unsigned len);
void pci_config_write(PciBus *bus, unsigned bdf, unsigned off, uint32_t val, unsigned len);

/* In realize, before anything below: the function is another variant of its type, whose header and BARs are
 * those of `ops`. */
void pci_choose_ops(Device *dev, const PciOps *ops);
bool pci_behind_port(Device *dev); /* the bus is that of a PCI Express port */
/* As if the guest had set that bit of its command register. */
void pci_enable_bus_master(Device *dev);
/* For devices, in realize or their own domain. */
void pci_set_byte(Device *dev, unsigned off, uint8_t v);
void pci_set_word(Device *dev, unsigned off, uint16_t v);
void pci_set_long(Device *dev, unsigned off, uint32_t v);
uint32_t pci_get(Device *dev, unsigned off, unsigned len);
/* Bits of [off, off+len) the guest may change. */
void pci_set_wmask(Device *dev, unsigned off, uint32_t mask, unsigned len);
/* Adds a capability, returns its offset (0: no room). */
uint8_t pci_add_capability(Device *dev, uint8_t id, uint8_t size);
void pci_print(PciBus *bus, GString *out); /* `info pci` */

#endif

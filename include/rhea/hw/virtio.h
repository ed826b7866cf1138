/* SPDX-License-Identifier: MIT
 * rhea/hw/virtio.h - what virtio devices share: feature bits, rings, transports (virtio 1.2).
 *
 * A device has a type for each transport, which share all but that: they derive from virtio_pci_any_type (and
 * the two whose interface is fixed) and virtio_mmio_device_type, which have the common properties and the
 * reset; virtio-types.h makes them. The struct embeds a VirtioDevice as its first member; realize, the same
 * for all, ends with virtio_start(); post_load calls virtio_post_load().
 * Guest memory is never trusted: a ring that breaks the rules sets DEVICE_NEEDS_RESET, and the device does
 * nothing more until it is reset. All calls: the device's domain.
 */
#ifndef RHEA_HW_VIRTIO_H
#define RHEA_HW_VIRTIO_H

#include "rhea/hw/msix.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/system/doorbell.h"
#include "rhea/util/iov.h"

enum { VIRTIO_QUEUES = 64, VIRTIO_QUEUE_MAX = 1024, VIRTIO_CONFIG_MAX = 256, VIRTIO_NO_VECTOR = 0xffff };
#define VIRTIO_VECTORS_AUTO UINT32_MAX
#define VIRTIO_PACKED_WRAP 0x8000u
/* 1.2, 2.1: device status. */
enum {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED = 128,
};
/* 1.2, section 6: feature bits of rings and transports. */
#define VIRTIO_F_NOTIFY_ON_EMPTY (UINT64_C(1) << 24) /* legacy interfaces only: these two */
#define VIRTIO_F_ANY_LAYOUT      (UINT64_C(1) << 27)
#define VIRTIO_F_INDIRECT_DESC   (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX       (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1       (UINT64_C(1) << 32)
#define VIRTIO_F_ACCESS_PLATFORM (UINT64_C(1) << 33)
#define VIRTIO_F_RING_PACKED     (UINT64_C(1) << 34)
#define VIRTIO_F_RING_RESET      (UINT64_C(1) << 40)

typedef struct VirtQueue {
    uint64_t desc, avail, used; /* guest addresses */
    uint16_t size;
    uint16_t vector;
    uint16_t last_avail, used_idx; /* free-running, as in the rings; packed: packed.c */
    uint16_t signalled;            /* used_idx at the last interrupt */
    bool signalled_valid, enabled;
    /* No part of saved state: */
    uint16_t in_use;     /* taken, not given back: who holds some back takes them again */
    uint16_t filled, first_flags; /* packed: places behind used_idx that are filled, but not shown yet */
    bool resetting;      /* the driver asked for its reset (2.6.1), see virtio_queue_resetting() */
    unsigned generation; /* of its resets: tells buffers taken before the last one */
} VirtQueue;

/* A buffer taken from a queue: pinned guest memory. Devices have their own part of a request behind it. */
typedef struct VirtDesc VirtDesc;
typedef struct VirtElem {
    VirtQueue *q;
    uint16_t head; /* its first descriptor; in a packed ring its id */
    uint16_t n_ring, ring_room; /* descriptors that it takes in a packed ring, copied to ring[]; else 1 */
    VirtDesc *ring;
    unsigned n, n_out, room; /* maps; the first n_out are read by the device; so many fit in */
    DmaMap *maps;
    IoVec out, in;
    unsigned generation;
    struct VirtElem *next; /* pool.c's */
} VirtElem;

/* pool.c: the elements of one queue. */
typedef struct VirtPool {
    unsigned size;  /* entries that the queue may have; 0 before virtio_start(): queue_size */
    uint8_t *elems; /* as many, of elem_size bytes */
    unsigned fresh; /* from this one on they have never been used */
    VirtElem *free;
    unsigned kept;  /* room of those in `free` */
    unsigned out;   /* taken, of any generation */
} VirtPool;

typedef struct VirtioDevice VirtioDevice;
/* How the driver reaches the device. */
typedef struct VirtioTransport {
    void (*interrupt)(VirtioDevice *v, unsigned vector, uint8_t isr_bit);
    void (*update)(VirtioDevice *v); /* the line follows v->isr */
    void (*reset)(VirtioDevice *v);  /* its own part of the machine's reset; may be NULL */
} VirtioTransport;
/* What a PCI function may be: the places in VirtioClass.pci. */
enum { VIRTIO_PCI_MODERN, VIRTIO_PCI_TRANSITIONAL, VIRTIO_PCI_LEGACY, VIRTIO_PCI_VARIANTS };

/* Where a PCI function has its modern interface, when that is not where the others have it. */
typedef struct VirtioPciPlaces {
    uint8_t msix_bar, modern_bar;
    uint16_t common, isr;              /* offsets in the modern BAR, whose end is the usual one */
    MemRegion *(*bar)(VirtioDevice *v); /* what that BAR shows, with v->bar in it; NULL: v->bar */
} VirtioPciPlaces;

typedef struct VirtioClass {
    uint16_t id;                                          /* section 5: 2 is a disk */
    const PciOps *pci;                                    /* VIRTIO_PCI_OPS() */
    const VirtioPciPlaces *places;                        /* or NULL */
    const char *boot_path;                                /* firmware's name of what it boots from; or NULL */
    void (*kick)(VirtioDevice *v, VirtQueue *q);          /* buffers may be there */
    void (*get_config)(VirtioDevice *v, uint8_t *config); /* fills config_size bytes */
    void (*config_written)(VirtioDevice *v, unsigned off, unsigned len, uint32_t val);
    void (*reset)(VirtioDevice *v);   /* the driver's reset; may be NULL */
    /* The driver's reset, of that queue or of all (NULL), waits for buffers: those that the device just
     * keeps, it lets go (virtq_unpop()); NULL: it keeps none. */
    void (*forget)(VirtioDevice *v, const VirtQueue *q);
    /* DRIVER_OK, or a legacy driver's features: they are chosen; may be NULL */
    void (*started)(VirtioDevice *v);
    unsigned config_size;
    size_t elem_size;               /* of what the device keeps for a buffer; begins with a VirtElem */
    void (*elem_fini)(VirtElem *e); /* frees what that part owns, which stays from one buffer to the next */
} VirtioClass;

struct VirtioDevice {
    Device dev;
    const VirtioClass *class;
    const VirtioTransport *transport;
    DmaContext *dma;
    PciOps pci_ops; /* from here: PCI's */
    PciMsix msix;
    MemRegion bar, legacy_bar;
    IrqLine intx;
    uint8_t pci_cfg_cap;
    uint32_t notify_step;     /* bytes from one queue's notification register to the next one's */
    uint32_t vectors;         /* properties, from here */
    int32_t bootindex;
    int disable_legacy;
    bool disable_modern, page_per_vq;
    bool ioeventfd;           /* notifications may be doorbells */
    struct VirtioBell *bells; /* of queues, or NULL */
    unsigned n_bells;
    struct VirtioMmio *mmio; /* the other's */
    bool indirect, event_idx; /* properties: what rings may have */
    bool may_pack;
    bool queue_reset, notify_on_empty, any_layout, access_platform;
    bool has_legacy;          /* there is a legacy interface */
    uint64_t features; /* offered */
    unsigned n_queues, queue_size;
    unsigned in_flight;  /* buffers pinned, of any generation */
    bool reset_waits;    /* the driver asked for a reset; buffers are in flight */
    /* the driver's */
    uint64_t driver_features;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t config_vector, queue_select;
    uint8_t status, isr;
    uint8_t config_generation; /* changes with the configuration (2.5) */
    bool packed;         /* the rings are; follows from the features */
    bool legacy;         /* it came by the legacy interface */
    uint32_t
        guest_page; /* that one's in memory: the unit of queues' places, bytes; how their parts are aligned */
    uint32_t legacy_align[VIRTIO_QUEUES];
    uint8_t legacy_echo; /* bits of the status that mean nothing there, as they were written */
    VirtQueue q[VIRTIO_QUEUES];
    VirtPool pool[VIRTIO_QUEUES]; /* no part of the state */
};

/* queue.c */
static inline bool virtio_has(const VirtioDevice *v, uint64_t feature)
{
    return v->driver_features & feature;
}
/* As the driver reads it: 0 says that a reset is complete (2.4.1), also one asked for while buffers from
 * before another reset, a bridge's, are under way. */
static inline uint8_t virtio_status(const VirtioDevice *v)
{
    return v->reset_waits && !v->status ? VIRTIO_NEEDS_RESET : v->status;
}
bool virtio_queue_live(const VirtioDevice *v, const VirtQueue *q);
/* Was it taken since the last reset of its queue? */
static inline bool virtq_is_current(const VirtElem *e)
{
    return e->generation == e->q->generation;
}
VirtElem *virtq_pop(VirtioDevice *v, VirtQueue *q); /* NULL: none left, or broken */
/* A buffer that had been taken when the state was saved; NULL: the queue is off, or it is broken. */
VirtElem *virtq_retake(VirtioDevice *v, VirtQueue *q, uint16_t head);
/* The same for packed rings, whose elements are saved themselves; NULL also: that is none. */
void virtq_save_elem(const VirtioDevice *v, const VirtElem *e, Fifo8 *out);
VirtElem *virtq_load_elem(VirtioDevice *v, Fifo8 *in);
enum { VIRTIO_SAVED_DESC = 3 + 16 }; /* bytes for each descriptor at most */
/* Asks for a kick; true: more came meanwhile, pop again. */
bool virtq_rearm(VirtioDevice *v, VirtQueue *q);
/* Gives the buffer back with so many bytes written (to the front of `in`), and unpins it. */
void virtq_push(VirtioDevice *v, VirtElem *e, uint32_t written);
/* The same in two steps, for what takes several buffers: entries behind the last used one are written,
 * `ahead` of them before, then shown all at once. False: the queue is gone. Then virtio_reset_continue(). */
bool virtq_fill(VirtioDevice *v, VirtElem *e, uint32_t written, unsigned ahead);
void virtq_flush(VirtioDevice *v, VirtQueue *q, unsigned n);
/* As if it had not been taken; the newest first. */
void virtq_unpop(VirtioDevice *v, VirtElem *e);
void virtio_error(VirtioDevice *v, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* pool.c, for queue.c and virtio.c */
void virtio_pools_init(VirtioDevice *v);
/* Entries that this queue may have. */
static inline unsigned virtio_queue_max(const VirtioDevice *v, const VirtQueue *q)
{
    return v->pool[q - v->q].size;
}
void virtio_pools_fini(void *opaque);
bool virtq_has_elem(VirtioDevice *v, const VirtQueue *q);
VirtElem *virtq_elem_take(VirtioDevice *v, VirtQueue *q); /* empty; there is one */
void virtq_elem_give(VirtioDevice *v, VirtElem *e);       /* nothing is mapped any more */

/* virtio.c. For transports: */
void virtio_init(VirtioDevice *v, const VirtioClass *class, const VirtioTransport *transport, DmaContext *dma,
                 unsigned n_queues, unsigned queue_size);
void virtio_set_status(VirtioDevice *v, uint8_t val);
uint32_t virtio_offered(const VirtioDevice *v);     /* the half of the features that is selected */
void virtio_choose(VirtioDevice *v, uint32_t val);
VirtQueue *virtio_selected(VirtioDevice *v);        /* NULL: there is none with this number */
uint16_t virtio_vector(const VirtioDevice *v, uint32_t val);
void virtio_queue_set_size(VirtioDevice *v, VirtQueue *q, uint32_t val);
void virtio_queue_enable(VirtioDevice *v, VirtQueue *q, uint32_t val);
/* Its reset goes on while buffers are out (4.1.4.3). */
bool virtio_queue_resetting(const VirtioDevice *v, const VirtQueue *q);
/* The driver wrote to the register: buffers that are out are forgotten. */
void virtio_queue_reset_asked(VirtioDevice *v, VirtQueue *q, uint32_t val);
void virtio_kick(VirtioDevice *v, unsigned n);
/* What legacy interfaces share. Features: the low half, without rings of later versions. */
uint32_t virtio_legacy_offered(const VirtioDevice *v);
void virtio_legacy_choose(VirtioDevice *v, uint32_t val);
void virtio_legacy_set_status(VirtioDevice *v, uint8_t val);
/* 2.7.2: the three parts, one behind the other from `at` on, the third aligned; at 0: none. */
void virtio_legacy_set_queue(VirtioDevice *v, VirtQueue *q, uint64_t at, uint32_t align);
extern const VmState virtio_queue_state;
/* For the transports' tables: the version that the devices' have since there are legacy interfaces, N. */
#define VIRTIO_SINCE(N)                                                                                      \
    { .name = "config_generation",                                                                           \
      .kind = VM_U8_,                                                                                        \
      .max = UINT8_MAX,                                                                                      \
      .since = (N),                                                                                          \
      .offset = TYPED_OFFSET(VirtioDevice, config_generation, uint8_t) },                                    \
        { .name = "legacy",                                                                                  \
          .kind = VM_BOOL_,                                                                                  \
          .max = 1,                                                                                          \
          .since = (N),                                                                                      \
          .offset = TYPED_OFFSET(VirtioDevice, legacy, bool) },                                              \
    {                                                                                                        \
        .name = "guest_page", .kind = VM_U32_, .max = UINT32_C(1) << 31, .since = (N),                       \
        .offset = TYPED_OFFSET(VirtioDevice, guest_page, uint32_t)                                           \
    }
void virtio_reset(VirtioDevice *v);
/* For devices: */
/* Bases: of PCI devices with properties for their interface, with both, without the legacy one. */
extern const DeviceType virtio_pci_any_type, virtio_pci_transitional_type, virtio_pci_modern_type,
    virtio_mmio_device_type;
extern const DeviceType virtio_pci_type; /* base of the three */
/* The last of realize: v->features are the class's own, those of rings are added. */
bool virtio_start(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size,
                  Error **errp);
/* Of devices that came with virtio 1.0: refuses disable-legacy=off and disable-modern=on. what: "sound". */
bool virtio_modern_only(int disable_legacy, bool disable_modern, const char *what, Error **errp);
void virtio_reset_continue(VirtioDevice *v); /* after a buffer went back: a reset may have waited for it */
void virtio_config_changed(VirtioDevice *v); /* other than by the driver: it is told */
void virtio_interrupt(VirtioDevice *v, unsigned vector, uint8_t isr_bit);
bool virtio_post_load(VirtioDevice *v, Error **errp); /* in the type's post_load */

/* virtio-pci.c */
/* 4.1.2: 0x1040 and the class's id, revision 1; with a legacy interface an id of its own below, revision 0,
 * and the class's id in the subsystem's. */
#define VIRTIO_PCI_VARIANT_(DEVICE, REVISION, CLASS_CODE, ROM) \
    .vendor = 0x1af4, .device = (DEVICE), .class_code = (CLASS_CODE), .revision = (REVISION), .intx_pin = 1, \
    .romfile = (ROM), .express = true, .config_written = virtio_pci_config_written, \
    .config_read = virtio_pci_config_read
#define VIRTIO_PCI_OPS(ID, LEGACY_ID, CLASS_CODE) VIRTIO_PCI_ROM_OPS(ID, LEGACY_ID, CLASS_CODE, NULL)
/* ROM: what firmware boots from it with, or NULL. */
#define VIRTIO_PCI_ROM_OPS(ID, LEGACY_ID, CLASS_CODE, ROM) \
    { \
        [VIRTIO_PCI_MODERN] = { VIRTIO_PCI_VARIANT_(0x1040 + (ID), 1, CLASS_CODE, ROM), \
                                .bar = { [1] = { PCI_BAR_MEM32 }, [4] = { PCI_BAR_MEM64, true } } }, \
        [VIRTIO_PCI_TRANSITIONAL] = { VIRTIO_PCI_VARIANT_(LEGACY_ID, 0, CLASS_CODE, ROM), \
                                      .subvendor = 0x1af4, .subdevice = (ID), \
                                      .bar = { [0] = { PCI_BAR_IO }, [1] = { PCI_BAR_MEM32 }, \
                                               [4] = { PCI_BAR_MEM64, true } } }, \
        [VIRTIO_PCI_LEGACY] = { VIRTIO_PCI_VARIANT_(LEGACY_ID, 0, CLASS_CODE, ROM), \
                                .subvendor = 0x1af4, .subdevice = (ID), \
                                .bar = { { PCI_BAR_IO }, { PCI_BAR_MEM32 } } }, \
    }
bool virtio_pci_init(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size,
                     Error **errp);
void virtio_pci_config_written(Device *dev, unsigned off, unsigned len); /* PciOps */
void virtio_pci_config_read(Device *dev, unsigned off, unsigned len);
extern const VmState virtio_pci_state;
void virtio_pin_update(VirtioDevice *v);

/* virtio-bell.c: doorbells for the device's kicks, `room` of them at most, and one of them. In realize; they
 * go with the device. Main loop. */
void virtio_bells_init(VirtioDevice *v, unsigned room);
void virtio_bell_add(VirtioDevice *v, unsigned queue, const Doorbell *where);

/* virtio-pci-legacy.c: v->legacy_bar */
enum { VIRTIO_LEGACY_NOTIFY = 0x10 };
void virtio_pci_legacy_init(VirtioDevice *v);

/* virtio-mmio.c: the device sits on a bus of virtio_mmio_bus_type. */
bool virtio_mmio_init(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size,
                      Error **errp);
bool virtio_mmio_is_legacy(const Bus *bus); /* the registers of devices on that one are */
extern const VmState virtio_mmio_state;

#endif

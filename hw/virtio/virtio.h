/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio.h - what virtio devices share: feature bits, split rings, transports (virtio 1.2).
 *
 * A device has a type for each transport, which share all but that. The struct embeds a VirtioDevice as its
 * first member; realize calls virtio_begin(), then virtio_pci_init() or virtio_mmio_init(); reset calls
 * virtio_reset(); the types' tables of saved state have VM_STRUCT(T, v, virtio_pci_state) or
 * virtio_mmio_state. Guest memory is never trusted: a ring that breaks the rules sets DEVICE_NEEDS_RESET, and
 * the device does nothing more until it is reset. All calls: the device's domain.
 */
#ifndef HW_VIRTIO_H
#define HW_VIRTIO_H

#include "rhea/hw/msix.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/system/doorbell.h"
#include "rhea/util/iov.h"

enum { VIRTIO_QUEUES = 64, VIRTIO_QUEUE_MAX = 1024, VIRTIO_CONFIG_MAX = 256, VIRTIO_NO_VECTOR = 0xffff };
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
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

typedef struct VirtQueue {
    uint64_t desc, avail, used; /* guest addresses */
    uint16_t size;
    uint16_t vector;
    uint16_t last_avail, used_idx; /* free-running, as in the rings */
    uint16_t signalled;            /* used_idx at the last interrupt */
    bool signalled_valid, enabled;
    uint16_t in_use; /* taken, not given back; no part of saved state: who holds some back takes them again */
} VirtQueue;

/* A buffer taken from a queue: pinned guest memory. Devices have their own part of a request behind it. */
typedef struct VirtElem {
    VirtQueue *q;
    uint16_t head;
    unsigned n, n_out, room; /* maps; the first n_out are read by the device; so many fit in */
    DmaMap *maps;
    IoVec out, in;
    unsigned generation;
    struct VirtElem *next; /* pool.c's */
} VirtElem;

/* pool.c: the elements of one queue. */
typedef struct VirtPool {
    uint8_t *elems; /* as many as the queue may have entries, of elem_size bytes */
    unsigned fresh; /* from this one on they have never been used */
    VirtElem *free;
    unsigned kept;  /* room of those in `free` */
} VirtPool;

typedef struct VirtioDevice VirtioDevice;
/* How the driver reaches the device. */
typedef struct VirtioTransport {
    void (*interrupt)(VirtioDevice *v, unsigned vector, uint8_t isr_bit);
    void (*update)(VirtioDevice *v); /* the line follows v->isr */
    void (*reset)(VirtioDevice *v);  /* its own part of the machine's reset; may be NULL */
} VirtioTransport;

typedef struct VirtioClass {
    uint16_t id;                                          /* section 5: 2 is a disk */
    void (*kick)(VirtioDevice *v, VirtQueue *q);          /* buffers may be there */
    void (*get_config)(VirtioDevice *v, uint8_t *config); /* fills config_size bytes */
    void (*config_written)(VirtioDevice *v, unsigned off, unsigned len, uint32_t val);
    void (*reset)(VirtioDevice *v);   /* the driver's reset; may be NULL */
    void (*started)(VirtioDevice *v); /* DRIVER_OK: the features are chosen; may be NULL */
    unsigned config_size;
    size_t elem_size;               /* of what the device keeps for a buffer; begins with a VirtElem */
    void (*elem_fini)(VirtElem *e); /* frees what that part owns, which stays from one buffer to the next */
} VirtioClass;

struct VirtioDevice {
    Device dev;
    const VirtioClass *class;
    const VirtioTransport *transport;
    DmaContext *dma;
    PciMsix msix; /* from here: PCI's */
    MemRegion bar;
    IrqLine intx;
    uint8_t pci_cfg_cap;
    bool ioeventfd;           /* notifications may be doorbells */
    struct VirtioBell *bells; /* one a queue, or NULL */
    struct VirtioMmio *mmio; /* the other's */
    uint64_t features; /* offered */
    unsigned n_queues, queue_size;
    unsigned generation; /* of resets: tells buffers taken before the last one */
    unsigned in_flight;  /* buffers pinned, of any generation */
    bool reset_waits;    /* the driver asked for a reset; buffers are in flight */
    /* the driver's */
    uint64_t driver_features;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t config_vector, queue_select;
    uint8_t status, isr;
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
VirtElem *virtq_pop(VirtioDevice *v, VirtQueue *q); /* NULL: none left, or broken */
/* A buffer that had been taken when the state was saved; NULL: the queue is off, or it is broken. */
VirtElem *virtq_retake(VirtioDevice *v, VirtQueue *q, uint16_t head);
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
void virtio_kick(VirtioDevice *v, unsigned n);
extern const VmState virtio_queue_state;
/* For devices: */
/* Before all else in realize, such as drive_open(): what requests live in goes when nothing is under way. */
void virtio_begin(VirtioDevice *v);
void virtio_reset(VirtioDevice *v);
void virtio_reset_done(VirtioDevice *v);
void virtio_reset_continue(VirtioDevice *v); /* after a buffer went back: a reset may have waited for it */
void virtio_interrupt(VirtioDevice *v, unsigned vector, uint8_t isr_bit);
bool virtio_post_load(VirtioDevice *v, Error **errp); /* in the type's post_load */

/* virtio-pci.c */
bool virtio_pci_init(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size,
                     unsigned vectors, Error **errp);
void virtio_pci_config_written(Device *dev, unsigned off, unsigned len); /* PciOps */
void virtio_pci_config_read(Device *dev, unsigned off, unsigned len);
extern const VmState virtio_pci_state;

/* virtio-mmio.c: the device sits on a bus of virtio_mmio_bus_type. */
void virtio_mmio_init(VirtioDevice *v, const VirtioClass *class, unsigned n_queues, unsigned queue_size);
extern const VmState virtio_mmio_state;

#endif

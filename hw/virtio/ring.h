/* SPDX-License-Identifier: MIT
 * hw/virtio/ring.h - what queue.c and packed.c, the two layouts of a queue, share.
 */
#ifndef HW_VIRTIO_RING_H
#define HW_VIRTIO_RING_H

#include "rhea/hw/virtio.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_SIZE = 16 };

struct VirtDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next; /* next: in packed rings the buffer's id */
};

/* queue.c. False: virtio_error() was called. */
bool virtio_read(VirtioDevice *v, uint64_t at, void *buf, size_t len);
bool virtio_write(VirtioDevice *v, uint64_t at, const void *buf, size_t len);
bool virtio_read16(VirtioDevice *v, uint64_t at, uint16_t *val);
bool virtio_write16(VirtioDevice *v, uint64_t at, uint16_t val);
bool virtq_add_part(VirtioDevice *v, VirtElem *e, const VirtDesc *d, unsigned limit);
/* An element read by `ok`: counted, or given back. */
VirtElem *virtq_taken(VirtioDevice *v, VirtElem *e, bool ok);

/* packed.c: as the functions of virtio.h without "packed" in their names; the queue is live. */
VirtElem *packed_pop(VirtioDevice *v, VirtQueue *q);
bool packed_rearm(VirtioDevice *v, VirtQueue *q);
void packed_unpop(VirtQueue *q, unsigned n_ring);
bool packed_fill(VirtioDevice *v, VirtQueue *q, uint16_t id, unsigned n_ring, uint32_t written,
                 unsigned ahead);
bool packed_show(VirtioDevice *v, VirtQueue *q);             /* what was filled becomes visible */
bool packed_wants_interrupt(VirtioDevice *v, VirtQueue *q);

#endif

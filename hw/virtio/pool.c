/* SPDX-License-Identifier: MIT
 * hw/virtio/pool.c - the elements that a queue's buffers are taken in: made with the device, used again.
 *
 * Models: nothing a guest sees. A queue has as many elements as it may have entries. All can be out while the
 *         driver has taken none: those from before a reset are still under way. Then the queue waits.
 * Threads: the device's domain.
 */
#include "rhea/hw/virtio.h"

enum { POOL_KEEP = 2048 }; /* descriptors of a queue for which its free elements keep room */

static VirtPool *pool_of(VirtioDevice *v, const VirtQueue *q)
{
    return &v->pool[q - v->q];
}

static VirtElem *pool_at(const VirtioDevice *v, const VirtPool *p, unsigned i)
{
    return (VirtElem *)(p->elems + (size_t)i * v->class->elem_size);
}

void virtio_pools_init(VirtioDevice *v)
{
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        VirtPool *p = &v->pool[i];
        p->size = p->size ? p->size : v->queue_size;
        if (i < v->n_queues) { /* memory of zeroes, which is there once it is used */
            p->elems = g_malloc0_n(p->size, v->class->elem_size);
        }
    }
}

static void elem_fini(const VirtioDevice *v, VirtElem *e)
{
    iov_fini(&e->out);
    iov_fini(&e->in);
    g_clear_pointer(&e->maps, g_free);
    g_clear_pointer(&e->ring, g_free);
    e->room = e->ring_room = 0;
    if (v->class->elem_fini) {
        v->class->elem_fini(e);
    }
}

void virtio_pools_fini(void *opaque)
{
    VirtioDevice *v = opaque;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        VirtPool *p = &v->pool[i];
        for (unsigned k = 0; k < p->fresh; k++) {
            elem_fini(v, pool_at(v, p, k));
        }
        g_free(p->elems);
        *p = (VirtPool){ .elems = NULL };
    }
}

bool virtq_has_elem(VirtioDevice *v, const VirtQueue *q)
{
    const VirtPool *p = pool_of(v, q);
    return p->free || p->fresh < p->size;
}

VirtElem *virtq_elem_take(VirtioDevice *v, VirtQueue *q)
{
    VirtPool *p = pool_of(v, q);
    VirtElem *e = p->free;
    if (e) {
        p->free = e->next;
        p->kept -= e->room;
    } else {
        e = pool_at(v, p, p->fresh++);
    }
    e->q = q;
    e->generation = q->generation;
    p->out++;
    return e;
}

void virtq_elem_give(VirtioDevice *v, VirtElem *e)
{
    VirtPool *p = pool_of(v, e->q);
    if (p->kept + e->room > POOL_KEEP) {
        elem_fini(v, e);
    }
    iov_clear(&e->out);
    iov_clear(&e->in);
    e->n = e->n_out = 0;
    p->kept += e->room;
    p->out--;
    e->next = p->free;
    p->free = e;
}

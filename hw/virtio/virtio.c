/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio.c - what a virtio device is whatever carries it: status, features, queues, saved state.
 *
 * Models: virtio 1.2, 2.1 (status), 2.2 (feature bits), 2.4 (reset), 2.7 (layout of queues).
 * Does not model: transitional devices.
 * Threads: the device's domain.
 */
#include "virtio.h"
#include <inttypes.h>
#include <string.h>

void virtio_begin(VirtioDevice *v)
{
    device_add_cleanup(&v->dev, virtio_pools_fini, v);
}

void virtio_init(VirtioDevice *v, const VirtioClass *class, const VirtioTransport *transport, DmaContext *dma,
                 unsigned n_queues, unsigned queue_size)
{
    v->class = class;
    v->transport = transport;
    v->dma = dma;
    v->n_queues = n_queues;
    v->queue_size = queue_size;
    v->features |= VIRTIO_F_VERSION_1;
    virtio_pools_init(v);
    virtio_reset(v);
}

void virtio_interrupt(VirtioDevice *v, unsigned vector, uint8_t isr_bit)
{
    v->transport->interrupt(v, vector, isr_bit);
}

/* ---- reset and status ---- */

static void virtio_driver_reset(VirtioDevice *v)
{
    v->generation++;
    v->reset_waits = false;
    v->driver_features = 0;
    v->device_feature_select = v->driver_feature_select = 0;
    v->config_vector = VIRTIO_NO_VECTOR;
    v->queue_select = 0;
    v->status = v->isr = 0;
    memset(v->q, 0, sizeof(v->q));
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        v->q[i].size = v->queue_size;
        v->q[i].vector = VIRTIO_NO_VECTOR;
    }
    if (v->class->reset) {
        v->class->reset(v);
    }
}

void virtio_reset(VirtioDevice *v)
{
    virtio_driver_reset(v);
    if (v->transport->reset) {
        v->transport->reset(v);
    }
}

void virtio_reset_done(VirtioDevice *v)
{
    v->transport->update(v);
}

void virtio_reset_continue(VirtioDevice *v)
{
    if (v->reset_waits && v->in_flight == 0) {
        virtio_driver_reset(v);
        v->transport->update(v);
    }
}

/* 2.2.2: the driver's choice must be a subset, and it must know that it drives a modern device. */
static bool virtio_features_good(VirtioDevice *v)
{
    return !(v->driver_features & ~v->features) && virtio_has(v, VIRTIO_F_VERSION_1);
}

uint32_t virtio_offered(const VirtioDevice *v)
{
    return v->device_feature_select < 2 ? v->features >> (32 * v->device_feature_select) : 0;
}

void virtio_choose(VirtioDevice *v, uint32_t val)
{
    if (v->driver_feature_select < 2 && !(v->status & VIRTIO_FEATURES_OK)) {
        unsigned shift = 32 * v->driver_feature_select;
        v->driver_features &= ~((uint64_t)UINT32_MAX << shift);
        v->driver_features |= (uint64_t)val << shift;
    }
}

void virtio_set_status(VirtioDevice *v, uint8_t val)
{
    if (val == 0) { /* 4.1.4.3.2: the register reads zero once no buffer is in use any more */
        v->reset_waits = true;
        virtio_reset_continue(v);
        return;
    }
    if (v->reset_waits) {
        return;
    }
    uint8_t was = v->status;
    if ((val & ~was & VIRTIO_FEATURES_OK) && !virtio_features_good(v)) {
        guest_error(&v->dev, "virtio: features 0x%" PRIx64 " chosen of 0x%" PRIx64 " offered",
                    v->driver_features, v->features);
        val &= ~VIRTIO_FEATURES_OK;
    }
    if ((val & VIRTIO_DRIVER_OK) && !(val & VIRTIO_FEATURES_OK)) {
        guest_error(&v->dev, "virtio: DRIVER_OK without FEATURES_OK");
        val &= ~VIRTIO_DRIVER_OK;
    }
    v->status = (val & ~VIRTIO_NEEDS_RESET) | (was & (VIRTIO_NEEDS_RESET | VIRTIO_FEATURES_OK));
    if ((v->status & ~was & VIRTIO_DRIVER_OK) && v->class->started) {
        v->class->started(v);
    }
    for (unsigned i = 0; (v->status & ~was & VIRTIO_DRIVER_OK) && i < v->n_queues; i++) {
        virtio_kick(v, i);
    }
}

/* ---- queues ---- */

void virtio_kick(VirtioDevice *v, unsigned n)
{
    if (n < v->n_queues && virtio_queue_live(v, &v->q[n])) {
        v->class->kick(v, &v->q[n]);
    }
}

VirtQueue *virtio_selected(VirtioDevice *v)
{
    return v->queue_select < v->n_queues ? &v->q[v->queue_select] : NULL;
}

uint16_t virtio_vector(const VirtioDevice *v, uint32_t val)
{
    return val < v->msix.n ? val : VIRTIO_NO_VECTOR; /* 4.1.5.1.2.1: reads back as "none" */
}

/* 2.7: alignment of the three parts. */
static bool virtio_queue_good(const VirtQueue *q)
{
    return q->size && !(q->size & (q->size - 1)) && !(q->desc & 15) && !(q->avail & 1) && !(q->used & 3);
}

void virtio_queue_set_size(VirtioDevice *v, VirtQueue *q, uint32_t val)
{
    if (val == 0 || val > v->queue_size || (val & (val - 1))) {
        guest_error(&v->dev, "virtio: %u is no size for a queue of up to %u", val, v->queue_size);
    } else {
        q->size = val;
    }
}

void virtio_queue_enable(VirtioDevice *v, VirtQueue *q, uint32_t val)
{
    if (val == 1 && virtio_queue_good(q)) {
        q->enabled = true;
    } else {
        guest_error(&v->dev, "virtio: queue %u cannot be enabled: %s", v->queue_select,
                    val == 1 ? "its parts are not aligned" : "the value must be 1");
    }
}

/* ---- saved state ---- */

static const VmField queue_fields[] = {
    VM_U64(VirtQueue, desc),
    VM_U64(VirtQueue, avail),
    VM_U64(VirtQueue, used),
    VM_U16(VirtQueue, size),
    VM_U16(VirtQueue, vector),
    VM_U16(VirtQueue, last_avail),
    VM_U16(VirtQueue, used_idx),
    VM_U16(VirtQueue, signalled),
    VM_BOOL(VirtQueue, signalled_valid),
    VM_BOOL(VirtQueue, enabled),
    { 0 },
};
const VmState virtio_queue_state = { .name = "virtqueue", .version = 1, .oldest = 1, .fields = queue_fields };

bool virtio_post_load(VirtioDevice *v, Error **errp)
{
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        VirtQueue *q = &v->q[i];
        if (q->size > v->queue_size || !virtio_queue_good(&(VirtQueue){ .size = q->size }) ||
            (q->enabled && (i >= v->n_queues || !virtio_queue_good(q)))) {
            return error_set(errp, "saved virtqueue %u: %u entries at 0x%" PRIx64, i, q->size, q->desc);
        }
        q->vector = virtio_vector(v, q->vector);
        q->in_use = 0;
    }
    v->config_vector = virtio_vector(v, v->config_vector);
    v->generation++;
    v->reset_waits = false;
    if ((v->status & VIRTIO_FEATURES_OK) && !virtio_features_good(v)) {
        return error_set(errp,
                         "saved virtio features 0x%" PRIx64 " are not among those of this device, 0x%" PRIx64,
                         v->driver_features, v->features);
    }
    v->transport->update(v);
    return true;
}

/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-bell.c - notifications that leave no guest: doorbells in place of a transport's registers.
 * Models: virtio 1.2, 4.1.4.4 and 4.2.2 (QueueNotify) without NOTIFICATION_DATA: a write says which queue to
 *         look at, and nothing else.
 * Threads: set up and taken down on the main loop; they ring on the device's home loop.
 */
#include "rhea/hw/virtio.h"

struct VirtioBell {
    Doorbell bell;
    VirtioDevice *v;
    unsigned queue;
};

static void virtio_ring(void *opaque)
{
    struct VirtioBell *b = opaque;
    virtio_kick(b->v, b->queue);
}

static void virtio_bells_gone(void *opaque)
{
    VirtioDevice *v = opaque;
    for (unsigned i = 0; i < v->n_bells; i++) {
        doorbell_remove(&v->bells[i].bell);
    }
    g_clear_pointer(&v->bells, g_free);
}

void virtio_bells_init(VirtioDevice *v, unsigned room)
{
    v->bells = g_new0(struct VirtioBell, room);
    device_add_cleanup(&v->dev, virtio_bells_gone, v);
}

void virtio_bell_add(VirtioDevice *v, unsigned queue, const Doorbell *where)
{
    struct VirtioBell *b = &v->bells[v->n_bells++];
    *b = (struct VirtioBell){ .bell = *where, .v = v, .queue = queue };
    b->bell.ring = virtio_ring;
    b->bell.opaque = b;
    doorbell_add(&b->bell, &v->dev);
}

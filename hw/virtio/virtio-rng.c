/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-rng.c - a source of random numbers: `-device virtio-rng-pci`; on boards with transports in
 * memory virtio-rng-device.
 *
 * Models: virtio 1.2, 5.4 (entropy device). Buffers are filled where the driver's kick arrives, since no
 *         source makes it wait; a buffer may come back shorter than it is (5.4.6). max-bytes and period limit
 *         what a guest takes from the host's source.
 * Threads: the device's domain.
 */
#include "rhea/backends/rng.h"
#include "rhea/system/machine.h"
#include "rhea/hw/virtio-types.h"

enum {
    RNG_CLASS = 4,
    RNG_QUEUE = 8,
    RNG_BUFFER = 64 << 10, /* bytes of one buffer that are filled at most */
    RNG_TURN = 256 << 10,  /* bytes until others have their turn */
    RNG_COST = 256,        /* what a buffer counts there, beside its bytes */
    RNG_RETRY_NS = 5 * 1000 * 1000, /* of virtual time: a guest that stands gets nothing */
};

typedef struct VirtioRng {
    VirtioDevice v;
    char *rng_id;       /* properties */
    uint64_t max_bytes; /* in each period; INT64_MAX: no limit */
    uint32_t period;    /* milliseconds */
    Rng *rng;           /* NULL: the program's own source */
    DomainTask more;
    Timer period_end;   /* armed: `left` counts until then */
    Timer retry;        /* the source was empty, and a buffer waits in the ring */
    uint64_t left;      /* of max_bytes */
    bool goes_on;       /* `more` is about to run */
} VirtioRng;
#define rng_of(V) ((VirtioRng *)(V))

static bool rng_limited(const VirtioRng *s)
{
    return s->max_bytes != INT64_MAX;
}

/* Counts from the first byte of a period on. */
static void rng_spend(VirtioRng *s, size_t n)
{
    if (rng_limited(s)) {
        if (!timer_armed(&s->period_end)) {
            timer_arm(&s->period_end, clock_now(s->v.dev.machine->clock) + (int64_t)s->period * 1000000);
        }
        s->left -= n;
    }
}

/* Bytes that were put into the buffer. */
static size_t rng_fill(VirtioRng *s, const VirtElem *e)
{
    size_t room = MIN(e->in.bytes, RNG_BUFFER), done = 0;
    room = rng_limited(s) ? MIN(room, s->left) : room;
    for (unsigned i = 0; done < room; i++) {
        size_t want = MIN(e->in.iov[i].iov_len, room - done);
        size_t got = rng_read(s->v.dev.machine, s->rng, e->in.iov[i].iov_base, want);
        done += got;
        if (got < want) {
            break;
        }
    }
    return done;
}

static void rng_serve(void *opaque)
{
    VirtioRng *s = opaque;
    VirtQueue *q = &s->v.q[0];
    VirtElem *e;
    size_t turn = 0;
    if (timer_armed(&s->retry)) {
        return;
    }
    do {
        while (s->left && (e = virtq_pop(&s->v, q)) != NULL) {
            size_t n = rng_fill(s, e);
            if (n == 0 && e->in.bytes) {
                virtq_unpop(&s->v, e);
                timer_arm(&s->retry, clock_now(s->v.dev.machine->clock) + RNG_RETRY_NS);
                return;
            }
            rng_spend(s, n);
            virtq_push(&s->v, e, (uint32_t)n);
            turn += n + RNG_COST;
            if (turn >= RNG_TURN) {
                s->goes_on = true;
                domain_post(&s->more);
                return;
            }
        }
    } while (s->left && virtq_rearm(&s->v, q)); /* with none left, the period's end looks at the ring */
}

static void rng_go_on(void *opaque)
{
    rng_of(opaque)->goes_on = false;
    rng_serve(opaque);
}

static void rng_kick(VirtioDevice *v, VirtQueue *q G_GNUC_UNUSED)
{
    rng_serve(rng_of(v));
}

static void rng_period_ends(void *opaque)
{
    VirtioRng *s = opaque;
    s->left = s->max_bytes;
    rng_serve(s);
}

static void rng_config_written(VirtioDevice *v G_GNUC_UNUSED, unsigned off G_GNUC_UNUSED,
                               unsigned len G_GNUC_UNUSED, uint32_t val G_GNUC_UNUSED)
{
}

static void rng_get_config(VirtioDevice *v G_GNUC_UNUSED, uint8_t *config G_GNUC_UNUSED)
{
}

/* The driver's reset: what it has taken in this period stays taken. */
static void rng_driver_reset(VirtioDevice *v)
{
    timer_cancel(&rng_of(v)->retry);
}

static const PciOps rng_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(RNG_CLASS, 0x1005, 0x00ff00);

static const VirtioClass rng_class = {
    .id = RNG_CLASS,
    .pci = rng_pci_ops,
    .kick = rng_kick,
    .get_config = rng_get_config, /* 5.4.4: there is none */
    .config_written = rng_config_written,
    .reset = rng_driver_reset,
    .elem_size = sizeof(VirtElem),
};

static bool rng_realize(Device *dev, Error **errp)
{
    VirtioRng *s = rng_of(dev_as(VirtioDevice, dev));
    if (s->rng_id && !(s->rng = rng_claim(dev, s->rng_id, errp))) {
        return false;
    }
    device_add_task(dev, &s->more, rng_go_on);
    device_add_timer(dev, &s->period_end, rng_period_ends);
    device_add_timer(dev, &s->retry, rng_serve);
    s->left = s->max_bytes;
    return virtio_start(&s->v, &rng_class, 1, RNG_QUEUE, errp);
}

static void rng_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    VirtioRng *s = rng_of(dev_as(VirtioDevice, dev));
    timer_cancel(&s->period_end);
    s->goes_on = false;
    s->left = s->max_bytes;
}

static bool rng_post_load(void *opaque, Error **errp)
{
    VirtioRng *s = opaque;
    s->left = MIN(s->left, s->max_bytes);
    if (!rng_limited(s) || (s->left == 0 && !timer_armed(&s->period_end))) {
        s->left = s->max_bytes;
    }
    if (!virtio_post_load(&s->v, errp)) {
        return false;
    }
    if (s->goes_on) {
        domain_post(&s->more);
    }
    return true;
}

#define RNG_FIELDS \
    VM_TIMER(VirtioRng, period_end), VM_TIMER(VirtioRng, retry), VM_U64(VirtioRng, left), \
        VM_BOOL(VirtioRng, goes_on)

VIRTIO_STATES(rng, VirtioRng, "virtio-rng", 3, 3, 4, 4, RNG_FIELDS, .post_load = rng_post_load);

#define RNG_PROPS \
    PROP_STR(VirtioRng, rng_id, "rng", NULL, \
             "The -object rng-random or rng-builtin that is read; default: rng-builtin"), \
    PROP_U64(VirtioRng, max_bytes, "max-bytes", INT64_MAX, 1, INT64_MAX, \
             "Bytes that the guest gets in each period; the default: no limit"), \
    PROP_U32(VirtioRng, period, "period", 1 << 16, 1, UINT32_MAX, "The period of max-bytes, milliseconds")

VIRTIO_PROPS(rng, VirtioRng, RNG_PROPS);
VIRTIO_TYPES(virtio_rng, rng, VirtioRng, "virtio-rng", "Virtio random numbers", rng_pci_props, rng_mmio_props,
             .category = "Misc", .realize = rng_realize, .reset = rng_reset);

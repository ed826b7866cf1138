/* SPDX-License-Identifier: MIT
 * hw/virtio/packed.c - packed virtqueues: one ring of descriptors, which the driver makes available and the
 * device overwrites as used.
 *
 * Models: virtio 1.2, 2.8: wrap counters (2.8.1), chains (2.8.6), indirect descriptors (2.8.7), event
 *         suppression (2.8.10) with and without descriptor events, buffers used out of order.
 * Does not model: in-order use, NOTIFICATION_DATA.
 * Threads: the device's domain. The driver runs at the same time: every value is read once, then checked.
 *
 * VirtQueue's desc is the ring, avail the driver's event suppression, used the device's. A place in the ring
 * (last_avail, used_idx, signalled) has the wrap counter in bit 15, as event suppression has it.
 */
#include "ring.h"

enum {
    DESC_AVAIL = 1 << 7,
    DESC_USED = 1 << 15,
    DESC_ID = 12, /* offsets in a descriptor */
    DESC_LEN = 8,
    DESC_FLAGS = 14,
    EVENT_ENABLE = 0, /* of event suppression */
    EVENT_DISABLE = 1,
    EVENT_DESC = 2,
    WRAP = VIRTIO_PACKED_WRAP,
};

static unsigned index_of(uint16_t at)
{
    return at & (WRAP - 1u);
}

static uint16_t moved(const VirtQueue *q, uint16_t at, unsigned n)
{
    unsigned i = index_of(at) + n, wrap = at & WRAP;
    return (uint16_t)(i >= q->size ? (i - q->size) | (wrap ^ WRAP) : i | wrap);
}

static uint64_t place(const VirtQueue *q, uint16_t at)
{
    return q->desc + (uint64_t)index_of(at) * DESC_SIZE;
}

/* 2.8.1: both bits tell: available, and not yet used. */
static bool packed_ready(VirtioDevice *v, const VirtQueue *q)
{
    uint16_t flags, wrap = q->last_avail & WRAP;
    if (!virtio_read16(v, place(q, q->last_avail) + DESC_FLAGS, &flags)) {
        return false;
    }
    return !(flags & DESC_AVAIL) == !wrap && !(flags & DESC_USED) == !!wrap;
}

static bool packed_desc(VirtioDevice *v, uint64_t at, VirtDesc *d)
{
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t id, flags;
    } le;
    if (!virtio_read(v, at, &le, DESC_SIZE)) {
        return false;
    }
    *d = (VirtDesc){ GUINT64_FROM_LE(le.addr), GUINT32_FROM_LE(le.len), GUINT16_FROM_LE(le.flags),
                     GUINT16_FROM_LE(le.id) };
    return true;
}

/* 2.8.7: a table of parts one behind the other; of their flags only WRITE means anything, but tables do not
 * nest. */
static bool packed_table(VirtioDevice *v, VirtElem *e, const VirtDesc *table)
{
    unsigned n = table->len / DESC_SIZE;
    if (!virtio_has(v, VIRTIO_F_INDIRECT_DESC) || (table->flags & DESC_NEXT) || e->n_ring != 1 ||
        table->len == 0 || table->len % DESC_SIZE || n > e->q->size) {
        virtio_error(v, "an indirect descriptor of %u bytes, flags 0x%x, as number %u of a chain", table->len,
                     table->flags, e->n_ring);
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        VirtDesc d;
        if (!packed_desc(v, table->addr + (uint64_t)i * DESC_SIZE, &d)) {
            return false;
        }
        if (d.flags & DESC_INDIRECT) {
            virtio_error(v, "an indirect descriptor inside an indirect table");
            return false;
        }
        if (!virtq_add_part(v, e, &d, e->q->size)) {
            return false;
        }
    }
    return true;
}

static void remember(VirtElem *e, const VirtDesc *d)
{
    if (e->n_ring == e->ring_room) {
        e->ring_room = e->ring_room ? 2 * e->ring_room : 2;
        e->ring = g_renew(VirtDesc, e->ring, e->ring_room);
    }
    e->ring[e->n_ring++] = *d;
}

/* One descriptor of the chain; *more: another one follows. */
static bool packed_link(VirtioDevice *v, VirtElem *e, const VirtDesc *d, bool *more)
{
    const VirtQueue *q = e->q;
    if (e->n_ring + q->in_use >= q->size) {
        virtio_error(v, "a chain of more than %u descriptors with %u in use, in a ring of %u", e->n_ring,
                     q->in_use, q->size);
        return false;
    }
    remember(e, d);
    e->head = d->next; /* 2.8.6: the last one's id counts */
    *more = d->flags & DESC_NEXT;
    return d->flags & DESC_INDIRECT ? packed_table(v, e, d) : virtq_add_part(v, e, d, q->size);
}

VirtElem *packed_pop(VirtioDevice *v, VirtQueue *q)
{
    if (!packed_ready(v, q) || !virtq_has_elem(v, q)) {
        return NULL;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* all of the chain was written before its first flags */
    VirtElem *e = virtq_elem_take(v, q);
    bool ok = true, more = true;
    e->n_ring = 0;
    for (uint16_t at = q->last_avail; ok && more; at = moved(q, at, 1)) {
        VirtDesc d;
        ok = packed_desc(v, place(q, at), &d) && packed_link(v, e, &d, &more);
    }
    e = virtq_taken(v, e, ok);
    if (e) {
        q->last_avail = moved(q, q->last_avail, e->n_ring);
    }
    return e;
}

void packed_unpop(VirtQueue *q, unsigned n_ring)
{
    q->last_avail = moved(q, q->last_avail, q->size - n_ring) ^ WRAP; /* a round forward, less that */
}

bool packed_rearm(VirtioDevice *v, VirtQueue *q)
{
    uint16_t event[2] = { GUINT16_TO_LE(q->last_avail), GUINT16_TO_LE(EVENT_DESC) };
    if (!virtio_write(v, q->used, event, sizeof(event))) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* look again after asking */
    return packed_ready(v, q) && virtq_has_elem(v, q);
}

/* Used descriptors come one behind the other, whoever had the place; the next is as far behind as the buffer
 * was long (2.8.5). The first one's flags show it and those behind: they wait. */
bool packed_fill(VirtioDevice *v, VirtQueue *q, uint16_t id, unsigned n_ring, uint32_t written,
                 unsigned ahead)
{
    struct {
        uint32_t len;
        uint16_t id;
    } le = { GUINT32_TO_LE(written), GUINT16_TO_LE(id) };
    q->filled = ahead ? q->filled : 0;
    uint16_t at = moved(q, q->used_idx, q->filled);
    uint16_t flags = (at & WRAP ? DESC_AVAIL | DESC_USED : 0) | (written ? DESC_WRITE : 0);
    q->filled += n_ring;
    if (!virtio_write(v, place(q, at) + DESC_LEN, &le, DESC_FLAGS - DESC_LEN)) {
        return false;
    }
    if (ahead == 0) {
        q->first_flags = flags;
        return true;
    }
    return virtio_write16(v, place(q, at) + DESC_FLAGS, flags);
}

bool packed_show(VirtioDevice *v, VirtQueue *q)
{
    bool ok = virtio_write16(v, place(q, q->used_idx) + DESC_FLAGS, q->first_flags);
    q->used_idx = moved(q, q->used_idx, q->filled);
    return ok;
}

/* How far `from` lies before `to`, in two rounds of the ring. */
static unsigned distance(const VirtQueue *q, uint16_t from, uint16_t to)
{
    unsigned round = 2u * q->size, a = index_of(from) + (from & WRAP ? 0 : q->size),
             b = index_of(to) + (to & WRAP ? 0 : q->size);
    return (b + round - a) % round;
}

bool packed_wants_interrupt(VirtioDevice *v, VirtQueue *q)
{
    uint16_t le[2], was = q->signalled;
    bool valid = q->signalled_valid, events = virtio_has(v, VIRTIO_F_EVENT_IDX);
    if (!virtio_read(v, q->avail, le, sizeof(le))) {
        return false;
    }
    uint16_t event = GUINT16_FROM_LE(le[0]), flags = GUINT16_FROM_LE(le[1]) & 3;
    q->signalled = q->used_idx;
    q->signalled_valid = true;
    if (flags != EVENT_DESC || !events || !valid || index_of(event) >= q->size) {
        return flags != EVENT_DISABLE;
    }
    unsigned now = distance(q, event, q->used_idx);
    return now != 0 && now <= distance(q, was, q->used_idx);
}

/* ---- saved: the ring has a buffer's descriptors no more, once others were used ---- */

static void put(Fifo8 *f, unsigned n, uint64_t val)
{
    for (unsigned i = 0; i < n; i++) {
        fifo8_push(f, (uint8_t)(val >> (8 * i)));
    }
}

static uint64_t get(Fifo8 *f, unsigned n)
{
    uint64_t val = 0;
    for (unsigned i = 0; i < n; i++) {
        val |= (uint64_t)fifo8_pop_or(f, 0) << (8 * i);
    }
    return val;
}

void virtq_save_elem(const VirtioDevice *v, const VirtElem *e, Fifo8 *out)
{
    put(out, 1, (uint64_t)(e->q - v->q));
    put(out, 2, e->n_ring);
    for (unsigned i = 0; i < e->n_ring; i++) {
        const VirtDesc *d = &e->ring[i];
        put(out, 8, d->addr);
        put(out, 4, d->len);
        put(out, 2, d->flags);
        put(out, 2, d->next);
    }
}

VirtElem *virtq_load_elem(VirtioDevice *v, Fifo8 *in)
{
    unsigned k = (unsigned)get(in, 1), n = (unsigned)get(in, 2);
    VirtQueue *q = k < v->n_queues ? &v->q[k] : NULL;
    if (!q || !v->packed || !virtio_queue_live(v, q) || !virtq_has_elem(v, q)) {
        return NULL;
    }
    VirtElem *e = virtq_elem_take(v, q);
    bool ok = true, more = true;
    e->n_ring = 0;
    for (unsigned i = 0; ok && i < n; i++) {
        VirtDesc d = { .addr = get(in, 8) };
        d.len = (uint32_t)get(in, 4);
        d.flags = (uint16_t)get(in, 2);
        d.next = (uint16_t)get(in, 2);
        ok = more && packed_link(v, e, &d, &more);
    }
    return virtq_taken(v, e, ok && !more);
}

/* SPDX-License-Identifier: MIT
 * hw/virtio/queue.c - split virtqueues, and what packed ones (packed.c) share with them.
 *
 * Models: virtio 1.2, 2.7 (split rings), 2.7.5.3 (indirect descriptors), 2.7.7 and 2.7.10 (suppression of
 *         interrupts and notifications, event index), 2.1.2 (DEVICE_NEEDS_RESET).
 *         What legacy drivers do otherwise (2.7.2, 3.1.2): they may use queues before DRIVER_OK.
 * Does not model: in-order use; buffers outside RAM.
 * Threads: the device's domain. The driver runs at the same time: every value is read once, then checked.
 */
#include "hw/trace.h"
#include "ring.h"
#include <inttypes.h>
#include <stdarg.h>

enum {
    AVAIL_NO_INTERRUPT = 1,
    RING_IDX = 2,
    RING_ENTRIES = 4, /* offsets in both rings */
};

void virtio_error(VirtioDevice *v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    guest_error(&v->dev, "virtio: %s; the device needs a reset", text);
    if (!(v->status & VIRTIO_NEEDS_RESET)) {
        v->status |= VIRTIO_NEEDS_RESET;
        if (v->status & VIRTIO_DRIVER_OK) {
            virtio_interrupt(v, v->config_vector, 2);
        }
    }
}

bool virtio_queue_live(const VirtioDevice *v, const VirtQueue *q)
{
    uint8_t want = v->legacy ? 0 : VIRTIO_DRIVER_OK;
    return q->enabled && !v->reset_waits && (v->status & (want | VIRTIO_NEEDS_RESET)) == want;
}

static DmaContext *virtio_dma(VirtioDevice *v)
{
    return v->dma;
}

bool virtio_read(VirtioDevice *v, uint64_t at, void *buf, size_t len)
{
    if (dma_read(virtio_dma(v), at, buf, len) != MEM_OK) {
        virtio_error(v, "%zu bytes of a ring at 0x%" PRIx64 " cannot be read", len, at);
        return false;
    }
    return true;
}

bool virtio_read16(VirtioDevice *v, uint64_t at, uint16_t *val)
{
    uint16_t le = 0;
    bool ok = virtio_read(v, at, &le, 2);
    *val = GUINT16_FROM_LE(le);
    return ok;
}

bool virtio_write(VirtioDevice *v, uint64_t at, const void *buf, size_t len)
{
    if (dma_write(virtio_dma(v), at, buf, len) != MEM_OK) {
        virtio_error(v, "%zu bytes of a ring at 0x%" PRIx64 " cannot be written", len, at);
        return false;
    }
    return true;
}

bool virtio_write16(VirtioDevice *v, uint64_t at, uint16_t val)
{
    uint16_t le = GUINT16_TO_LE(val);
    return virtio_write(v, at, &le, 2);
}

static bool desc_read(VirtioDevice *v, uint64_t table, unsigned i, VirtDesc *d)
{
    VirtDesc le;
    if (!virtio_read(v, table + (uint64_t)i * DESC_SIZE, &le, DESC_SIZE)) {
        return false;
    }
    *d = (VirtDesc){ GUINT64_FROM_LE(le.addr), GUINT32_FROM_LE(le.len), GUINT16_FROM_LE(le.flags),
                     GUINT16_FROM_LE(le.next) };
    return true;
}

/* Unpins the memory, of which so many bytes were written. */
static void elem_done(VirtioDevice *v, VirtElem *e, size_t written)
{
    for (unsigned i = 0; i < e->n; i++) {
        size_t len = 0;
        for (unsigned k = 0; k < e->maps[i].n; k++) {
            len += e->maps[i].iov[k].iov_len;
        }
        size_t touched = i < e->n_out ? 0 : MIN(len, written);
        written -= touched;
        dma_unmap(&e->maps[i], touched);
    }
    virtq_elem_give(v, e);
}

/* 2.7.4.2: device-readable parts come first. An empty part is legal in no driver and refused. */
bool virtq_add_part(VirtioDevice *v, VirtElem *e, const VirtDesc *d, unsigned limit)
{
    bool write = d->flags & DESC_WRITE;
    if (e->n == limit) {
        virtio_error(v, "a chain of more than %u descriptors, or a loop", limit);
        return false;
    }
    if (!write && e->n != e->n_out) {
        virtio_error(v, "a device-readable descriptor behind a device-writable one");
        return false;
    }
    if (d->len == 0 || d->addr + d->len < d->addr) {
        virtio_error(v, "a descriptor of %u bytes at 0x%" PRIx64, d->len, d->addr);
        return false;
    }
    if (e->n == e->room) {
        e->room = e->room ? 2 * e->room : 4;
        e->maps = g_renew(DmaMap, e->maps, e->room);
    }
    DmaMap *m = &e->maps[e->n];
    if (!dma_map(virtio_dma(v), d->addr, d->len, write, m)) {
        virtio_error(v, "a descriptor of %u bytes at 0x%" PRIx64 " lies outside RAM", d->len, d->addr);
        return false;
    }
    e->n++;
    e->n_out += !write;
    for (unsigned k = 0; k < m->n; k++) {
        iov_add(write ? &e->in : &e->out, m->iov[k].iov_base, m->iov[k].iov_len);
    }
    return true;
}

/* Follows a chain. Its length is bounded by the table's (2.7.5: no loops), indirect tables do not nest. */
static bool elem_read(VirtioDevice *v, VirtElem *e, unsigned head)
{
    const VirtQueue *q = e->q;
    uint64_t table = q->desc;
    unsigned entries = q->size, i = head;
    bool indirect = false;
    for (unsigned steps = 0;; steps++) {
        VirtDesc d;
        if (i >= entries || steps > q->size + 1u) {
            virtio_error(v,
                         i >= entries ? "descriptor %u of a table of %u"
                                      : "descriptor %u again: a loop in a table of %u",
                         i, entries);
            return false;
        }
        if (!desc_read(v, table, i, &d)) {
            return false;
        }
        if (d.flags & DESC_INDIRECT) {
            if (!virtio_has(v, VIRTIO_F_INDIRECT_DESC) || indirect || (d.flags & DESC_NEXT) || d.len == 0 ||
                d.len % DESC_SIZE || d.len / DESC_SIZE > q->size) {
                virtio_error(v, "an indirect descriptor of %u bytes, flags 0x%x%s", d.len, d.flags,
                             indirect ? ", inside an indirect table" : "");
                return false;
            }
            table = d.addr;
            entries = d.len / DESC_SIZE;
            indirect = true;
            i = 0;
            continue;
        }
        if (!virtq_add_part(v, e, &d, q->size)) {
            return false;
        }
        if (!(d.flags & DESC_NEXT)) {
            return true;
        }
        i = d.next;
    }
}

VirtElem *virtq_taken(VirtioDevice *v, VirtElem *e, bool ok)
{
    if (!ok) {
        elem_done(v, e, 0);
        return NULL;
    }
    e->q->in_use += e->n_ring;
    v->in_flight++;
    if (trace_virtio_pop_on()) {
        trace_virtio_pop(device_name(&v->dev), (unsigned)(e->q - v->q), e->head, e->out.bytes, e->in.bytes);
    }
    return e;
}

/* The chain that begins at `head`; NULL: it breaks the rules. */
static VirtElem *virtq_take(VirtioDevice *v, VirtQueue *q, uint16_t head)
{
    VirtElem *e = virtq_elem_take(v, q);
    e->head = head;
    e->n_ring = 1;
    return virtq_taken(v, e, elem_read(v, e, head));
}

VirtElem *virtq_retake(VirtioDevice *v, VirtQueue *q, uint16_t head)
{
    bool ok = !v->packed && virtio_queue_live(v, q) && q->in_use < q->size && virtq_has_elem(v, q);
    return ok ? virtq_take(v, q, head) : NULL;
}

VirtElem *virtq_pop(VirtioDevice *v, VirtQueue *q)
{
    uint16_t idx, head;
    if (!virtio_queue_live(v, q)) {
        return NULL;
    }
    if (v->packed) {
        return packed_pop(v, q);
    }
    if (!virtio_read16(v, q->avail + RING_IDX, &idx)) {
        return NULL;
    }
    uint16_t ready = idx - q->last_avail;
    if (ready == 0) {
        return NULL;
    }
    if (ready > q->size || q->in_use >= q->size) {
        virtio_error(v, "%u buffers made available, %u in use, in a queue of %u", ready, q->in_use, q->size);
        return NULL;
    }
    if (!virtq_has_elem(v, q)) { /* virtq_push() goes on */
        return NULL;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the entry was written before the index */
    if (!virtio_read16(v, q->avail + RING_ENTRIES + 2 * (q->last_avail & (q->size - 1u)), &head)) {
        return NULL;
    }
    VirtElem *e = virtq_take(v, q, head);
    q->last_avail += e != NULL;
    return e;
}

bool virtq_rearm(VirtioDevice *v, VirtQueue *q)
{
    uint16_t idx;
    if (!virtio_queue_live(v, q) || !virtio_has(v, VIRTIO_F_EVENT_IDX)) {
        return false; /* without the event index every buffer is announced */
    }
    if (v->packed) {
        return packed_rearm(v, q);
    }
    uint64_t avail_event = q->used + RING_ENTRIES + 8 * (uint64_t)q->size;
    if (!virtio_write16(v, avail_event, q->last_avail)) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* 2.7.10: look again after asking */
    return virtio_read16(v, q->avail + RING_IDX, &idx) && idx != q->last_avail && virtq_has_elem(v, q);
}

/* 6.3, Legacy Interface: the driver has no more buffers with the device. */
static bool virtq_is_empty(VirtioDevice *v, const VirtQueue *q)
{
    uint16_t idx;
    return virtio_has(v, VIRTIO_F_NOTIFY_ON_EMPTY) && q->in_use == 0 &&
           virtio_read16(v, q->avail + RING_IDX, &idx) && idx == q->last_avail;
}

/* 2.7.7.2: does the driver want to hear of the buffers used since the last interrupt? */
static bool virtq_wants_interrupt(VirtioDevice *v, VirtQueue *q)
{
    uint16_t val, was = q->signalled;
    bool valid = q->signalled_valid;
    if (!virtio_has(v, VIRTIO_F_EVENT_IDX)) {
        return virtio_read16(v, q->avail, &val) && (!(val & AVAIL_NO_INTERRUPT) || virtq_is_empty(v, q));
    }
    if (!virtio_read16(v, q->avail + RING_ENTRIES + 2 * (uint64_t)q->size, &val)) {
        return false;
    }
    q->signalled = q->used_idx;
    q->signalled_valid = true;
    return !valid || (uint16_t)(q->used_idx - val - 1) < (uint16_t)(q->used_idx - was) ||
           virtq_is_empty(v, q);
}

void virtq_unpop(VirtioDevice *v, VirtElem *e)
{
    if (virtq_is_current(e)) {
        if (v->packed) {
            packed_unpop(e->q, e->n_ring);
        } else {
            e->q->last_avail--;
        }
        e->q->in_use -= e->n_ring;
    }
    elem_done(v, e, 0);
    v->in_flight--;
}

bool virtq_fill(VirtioDevice *v, VirtElem *e, uint32_t written, unsigned ahead)
{
    VirtQueue *q = e->q;
    bool old = !virtq_is_current(e), current = !old && virtio_queue_live(v, q);
    uint16_t head = e->head, n_ring = e->n_ring;
    if (trace_virtio_push_on()) {
        trace_virtio_push(device_name(&v->dev), (unsigned)(q - v->q), head, written);
    }
    if (!old) {
        q->in_use -= n_ring;
    }
    elem_done(v, e, written);
    v->in_flight--;
    if (current && v->packed) {
        return packed_fill(v, q, head, n_ring, written, ahead);
    }
    uint32_t entry[2] = { GUINT32_TO_LE(head), GUINT32_TO_LE(written) };
    uint16_t at = (uint16_t)(q->used_idx + ahead) & (q->size - 1u);
    return current && virtio_write(v, q->used + RING_ENTRIES + 8 * (uint64_t)at, entry, 8);
}

void virtq_flush(VirtioDevice *v, VirtQueue *q, unsigned n)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    q->used_idx += v->packed ? 0 : n;
    if (v->packed ? packed_show(v, q) : virtio_write16(v, q->used + RING_IDX, q->used_idx)) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (v->packed ? packed_wants_interrupt(v, q) : virtq_wants_interrupt(v, q)) {
            virtio_interrupt(v, q->vector, 1);
        }
    }
}

void virtq_push(VirtioDevice *v, VirtElem *e, uint32_t written)
{
    VirtQueue *q = e->q;
    bool waited = !virtq_is_current(e) && !virtq_has_elem(v, q);
    if (virtq_fill(v, e, written, 0)) {
        virtq_flush(v, q, 1);
    }
    virtio_reset_continue(v);
    if (waited && virtio_queue_live(v, q)) {
        v->class->kick(v, q);
    }
}

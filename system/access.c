/* SPDX-License-Identifier: MIT
 * system/access.c - carrying out loads and stores: RAM, registers, posted register writes.
 * Models: docs/devel/machine-core.md, "dispatch": size and alignment rules of MemOps.
 * Threads: any that holds no domain, or the one it needs. One that holds another domain does not wait
 *   for the target: its writes are posted, its reads give all-ones.
 */
#include "internal.h"
#include "system/trace.h"

#include "rhea/system/iothread.h"
#include <inttypes.h>
#include <string.h>

static inline uint64_t ones(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

static inline uint64_t swap_bytes(uint64_t v, unsigned size)
{
    return size == 1 ? v : GUINT64_SWAP_LE_BE(v) >> (64 - 8 * size);
}

/* ---- RAM: little-endian values, single-copy atomic when aligned, as guests expect ---- */

static inline uint64_t host_load(const uint8_t *p, unsigned size)
{
    bool aligned = !((uintptr_t)p & (size - 1));
    uint64_t v = 0;
    switch (aligned ? size : 0) {
    case 1: return __atomic_load_n(p, __ATOMIC_RELAXED);
    case 2: return GUINT16_FROM_LE(__atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED));
    case 4: return GUINT32_FROM_LE(__atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED));
    case 8: return GUINT64_FROM_LE(__atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED));
    }
    memcpy(&v, p, size);
    return GUINT64_FROM_LE(v);
}

static inline void host_store(uint8_t *p, unsigned size, uint64_t v)
{
    bool aligned = !((uintptr_t)p & (size - 1));
    switch (aligned ? size : 0) {
    case 1: __atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED); return;
    case 2: __atomic_store_n((uint16_t *)p, GUINT16_TO_LE((uint16_t)v), __ATOMIC_RELAXED); return;
    case 4: __atomic_store_n((uint32_t *)p, GUINT32_TO_LE((uint32_t)v), __ATOMIC_RELAXED); return;
    case 8: __atomic_store_n((uint64_t *)p, GUINT64_TO_LE(v), __ATOMIC_RELAXED); return;
    }
    v = GUINT64_TO_LE(v);
    memcpy(p, &v, size);
}

/* ---- register callbacks ---- */

typedef struct Sizes {
    unsigned min, max, impl_min, step; /* step: largest piece a callback gets */
} Sizes;

static inline Sizes ops_sizes(const MemOps *ops)
{
    Sizes s = { .min = ops->min ? ops->min : 1, .max = ops->max ? ops->max : 8,
                .impl_min = ops->impl_min ? ops->impl_min : 1 };
    unsigned impl_max = ops->impl_max ? ops->impl_max : 8;
    s.step = impl_max < s.max ? impl_max : s.max;
    return s;
}

static inline bool ops_accept(const MemOps *ops, const Sizes *s, hwaddr off, unsigned size)
{
    unsigned natural = size < s->max ? size : s->max;
    return size >= s->min && (ops->unaligned || !(off & (natural - 1)));
}

static MemResult refuse(MemRegion *r, hwaddr off, unsigned size, bool write)
{
    guest_error(r->owner, "%s: %u-byte %s at offset 0x%" PRIx64 " is not possible", r->name, size,
                write ? "write" : "read", off);
    return MEM_DECODE_ERROR;
}

static inline uint64_t call_read(MemRegion *r, hwaddr off, unsigned size, MemAttrs attrs, MemResult *res)
{
    MemAccess a = { .off = off, .size = size, .attrs = attrs, .result = MEM_OK };
    uint64_t v = r->ops->read(r->opaque, &a) & ones(size);
    *res = *res == MEM_OK ? a.result : *res;
    return r->ops->big_endian ? swap_bytes(v, size) : v;
}

static inline void call_write(MemRegion *r, hwaddr off, unsigned size, uint64_t v, MemAttrs attrs,
                              MemResult *res)
{
    MemAccess a = { .off = off, .size = size, .attrs = attrs, .result = MEM_OK };
    v &= ones(size);
    r->ops->write(r->opaque, &a, r->ops->big_endian ? swap_bytes(v, size) : v);
    *res = *res == MEM_OK ? a.result : *res;
}

/* Pieces no larger than step; below impl_min the addressed bytes of an aligned unit. */
static MemResult read_pieces(MemRegion *r, const Sizes *s, hwaddr off, unsigned size, uint64_t *val,
                             MemAttrs attrs)
{
    MemResult res = MEM_OK;
    uint64_t v = 0;
    for (unsigned done = 0; done < size;) {
        unsigned piece = size - done < s->step ? size - done : s->step;
        hwaddr at = off + done;
        uint64_t got;
        if (piece < s->impl_min) {
            hwaddr unit = at & ~(hwaddr)(s->impl_min - 1);
            unsigned lane = at - unit;
            piece = piece < s->impl_min - lane ? piece : s->impl_min - lane;
            got = call_read(r, unit, s->impl_min, attrs, &res) >> (8 * lane) & ones(piece);
        } else {
            got = call_read(r, at, piece, attrs, &res);
        }
        v |= got << (8 * done);
        done += piece;
    }
    *val = v;
    return res;
}

static MemResult write_pieces(MemRegion *r, const Sizes *s, hwaddr off, unsigned size, uint64_t val,
                              MemAttrs attrs)
{
    MemResult res = MEM_OK;
    for (unsigned done = 0; done < size;) {
        unsigned piece = size - done < s->step ? size - done : s->step;
        hwaddr at = off + done;
        uint64_t v = val >> (8 * done);
        if (piece < s->impl_min) {
            hwaddr unit = at & ~(hwaddr)(s->impl_min - 1);
            unsigned lane = at - unit;
            piece = piece < s->impl_min - lane ? piece : s->impl_min - lane;
            call_write(r, unit, s->impl_min, (v & ones(piece)) << (8 * lane), attrs, &res);
        } else {
            call_write(r, at, piece, v, attrs, &res);
        }
        done += piece;
    }
    return res;
}

/* The domain a callback needs, if it is not held: locked, and returned for the unlock. *foreign: this
 * thread holds a different one, so waiting could deadlock. */
static inline Domain *enter(MemRegion *r, bool *foreign) TSA_NO_ANALYSIS
{
    Domain *d = r->owner && !r->ops->lockless ? r->owner->domain : NULL;
    Domain *cur = domain_current();
    *foreign = d && cur && cur != d;
    if (!d || cur) {
        return NULL;
    }
    domain_lock(d);
    return d;
}

static inline void leave(Domain *d) TSA_NO_ANALYSIS
{
    if (d) {
        domain_unlock(d);
    }
}

MemResult mmio_read(MemRegion *r, hwaddr off, unsigned size, uint64_t *val, MemAttrs attrs)
{
    const MemOps *ops = r->ops;
    Sizes s = ops_sizes(ops);
    if (G_UNLIKELY(!ops->read || !ops_accept(ops, &s, off, size))) {
        *val = ones(size);
        return refuse(r, off, size, false);
    }
    bool foreign;
    Domain *d = enter(r, &foreign);
    if (G_UNLIKELY(foreign)) {
        *val = ones(size);
        guest_error(r->owner, "%s: read at offset 0x%" PRIx64 " by another device", r->name, off);
        return MEM_DEVICE_ERROR;
    }
    MemResult res = MEM_OK;
    if (G_LIKELY(size <= s.step && size >= s.impl_min)) {
        *val = call_read(r, off, size, attrs, &res);
    } else {
        res = read_pieces(r, &s, off, size, val, attrs);
    }
    leave(d);
    trace_mmio_read(r->name, off, size, *val);
    return res;
}

MemResult mmio_write(MemRegion *r, hwaddr off, unsigned size, uint64_t val, MemAttrs attrs)
{
    const MemOps *ops = r->ops;
    Sizes s = ops_sizes(ops);
    if (G_UNLIKELY(!ops->write || !ops_accept(ops, &s, off, size))) {
        return refuse(r, off, size, true);
    }
    bool foreign;
    Domain *d = enter(r, &foreign);
    if (G_UNLIKELY(foreign)) {
        return mmio_post_write(r, off, size, val, attrs) ? MEM_OK : MEM_DEVICE_ERROR;
    }
    MemResult res = MEM_OK;
    trace_mmio_write(r->name, off, size, val);
    if (G_LIKELY(size <= s.step && size >= s.impl_min)) {
        call_write(r, off, size, val, attrs, &res);
    } else {
        res = write_pieces(r, &s, off, size, val, attrs);
    }
    leave(d);
    return res;
}

/* ---- posted writes ---- */

static void posted_run(void *opaque)
{
    PostedWrite *w = opaque;
    struct MachinePrivate *p = w->machine->priv;
    rcu_read_lock(); /* whoever withdraws and then waits for a grace period waits for this write, too */
    pthread_mutex_lock(&p->lock);
    g_queue_unlink(&p->posted, &w->link);
    MemRegion *r = w->region;
    pthread_mutex_unlock(&p->lock);
    if (r) {
        mmio_write(r, w->off, w->size, w->val, w->attrs);
    }
    rcu_read_unlock();
    g_free(w);
}

bool mmio_post_write(MemRegion *r, hwaddr off, unsigned size, uint64_t val, MemAttrs attrs)
{
    Machine *m = r->machine;
    Domain *d = r->owner && r->owner->domain ? r->owner->domain : m ? m->platform : NULL;
    if (!d) {
        return false;
    }
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    bool room = p->posted.length < POSTED_WRITES_MAX;
    if (room) {
        PostedWrite *w = g_new0(PostedWrite, 1);
        domain_task_init(&w->task, d, posted_run, w);
        w->region = r;
        w->machine = m;
        w->off = off;
        w->size = size;
        w->val = val;
        w->attrs = attrs;
        w->link.data = w;
        g_queue_push_tail_link(&p->posted, &w->link);
        domain_post(&w->task); /* inside the lock: the queue's order is the order of the writes */
    }
    pthread_mutex_unlock(&p->lock);
    if (!room) {
        guest_error(r->owner, "%s: too many posted writes, one is dropped", r->name);
    }
    return room;
}

bool mmio_posted_flush(Machine *m) TSA_NO_ANALYSIS
{
    struct MachinePrivate *p = m->priv;
    bool any = false;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        PostedWrite *w = g_queue_peek_head(&p->posted);
        pthread_mutex_unlock(&p->lock);
        if (!w) {
            return any;
        }
        if (domain_loop(w->task.domain) != m->loop) {
            iothreads_settle(m); /* it is done there, before this returns */
            any = true;
            continue;
        }
        loop_unpost(m->loop, &w->task.task);
        Domain *d = w->task.domain;
        domain_lock(d);
        posted_run(w);
        domain_unlock(d);
        any = true;
    }
}

void mmio_posted_withdraw(Machine *m, MemRegion *r)
{
    struct MachinePrivate *p = m->priv;
    pthread_mutex_lock(&p->lock);
    for (GList *l = p->posted.head; l;) {
        PostedWrite *w = l->data;
        l = l->next;
        if (!r) {
            g_queue_unlink(&p->posted, &w->link);
            loop_unpost(domain_loop(w->task.domain), &w->task.task);
            g_free(w);
        } else if (w->region == r) {
            w->region = NULL;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- ranges ---- */

MemResult range_load(const FlatRange *r, hwaddr addr, unsigned size, uint64_t *val, MemAttrs attrs)
{
    uint64_t o = addr - r->start;
    if (r->host) {
        *val = host_load(r->host + o, size);
        return MEM_OK;
    }
    return mmio_read(r->region, r->off + o, size, val, attrs);
}

MemResult range_store(const FlatRange *r, hwaddr addr, unsigned size, uint64_t val, MemAttrs attrs)
{
    uint64_t o = addr - r->start;
    if (r->host && (!r->readonly || attrs.debug)) {
        host_store(r->host + o, size, val);
        ram_written(r->ram, r->ram_off + o, size);
        return MEM_OK;
    }
    if (r->region->ops) {
        return mmio_write(r->region, r->off + o, size, val, attrs);
    }
    return MEM_OK; /* ROM: dropped */
}

/* ---- address spaces ---- */

/* One hint per kind of space and thread; flatview_find() distrusts it. */
static __thread const FlatRange *last_range[2];

MemResult as_load(AddressSpace *as, hwaddr addr, unsigned size, uint64_t *val, MemAttrs attrs)
{
    MemResult res;
    rcu_read_lock();
    const FlatRange *r = flatview_find(as_view(as), addr, &last_range[as->is_io]);
    if (G_UNLIKELY(!r)) {
        *val = ones(size);
        res = MEM_DECODE_ERROR;
    } else if (G_UNLIKELY(addr - r->start > r->size - size || r->size < size)) {
        uint64_t v = 0;
        res = as_access(as, addr, &v, size, false, attrs);
        *val = GUINT64_FROM_LE(v);
    } else {
        res = range_load(r, addr, size, val, attrs);
    }
    rcu_read_unlock();
    return res;
}

MemResult as_store(AddressSpace *as, hwaddr addr, unsigned size, uint64_t val, MemAttrs attrs)
{
    MemResult res;
    rcu_read_lock();
    const FlatRange *r = flatview_find(as_view(as), addr, &last_range[as->is_io]);
    if (G_UNLIKELY(!r)) {
        res = MEM_DECODE_ERROR;
    } else if (G_UNLIKELY(addr - r->start > r->size - size || r->size < size)) {
        uint64_t v = GUINT64_TO_LE(val);
        res = as_access(as, addr, &v, size, true, attrs);
    } else {
        res = range_store(r, addr, size, val, attrs);
    }
    rcu_read_unlock();
    return res;
}

unsigned access_piece(hwaddr addr, size_t len)
{
    unsigned n = 8;
    while (n > len || (addr & (n - 1))) {
        n /= 2;
    }
    return n;
}

/* One piece of an arbitrary access: n bytes inside r. */
static MemResult range_copy(const FlatRange *r, hwaddr addr, uint8_t *buf, size_t n, bool write,
                            MemAttrs attrs)
{
    uint64_t o = addr - r->start;
    if (r->host && (!write || !r->readonly || attrs.debug)) {
        if (write) {
            ram_store_bytes(r->ram, r->host + o, r->ram_off + o, buf, n);
        } else {
            ram_load_bytes(buf, r->host + o, n);
        }
        return MEM_OK;
    }
    MemResult res = MEM_OK;
    for (size_t done = 0; done < n;) {
        unsigned piece = access_piece(r->off + o + done, n - done);
        uint64_t v = 0;
        MemResult one;
        if (write) {
            memcpy(&v, buf + done, piece);
            one = range_store(r, addr + done, piece, GUINT64_FROM_LE(v), attrs);
        } else {
            one = range_load(r, addr + done, piece, &v, attrs);
            v = GUINT64_TO_LE(v);
            memcpy(buf + done, &v, piece);
        }
        res = res == MEM_OK ? one : res;
        done += piece;
    }
    return res;
}

/* Bytes from addr (which no range holds) to the next range. */
static uint64_t hole_size(const FlatView *v, hwaddr addr)
{
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->r[mid].start > addr) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo < v->n ? v->r[lo].start - addr : UINT64_MAX - addr + (addr != 0);
}

MemResult as_access(AddressSpace *as, hwaddr addr, void *buf, size_t len, bool write, MemAttrs attrs)
{
    MemResult res = MEM_OK;
    uint8_t *p = buf;
    rcu_read_lock();
    const FlatView *v = as_view(as);
    const FlatRange *hint = NULL;
    while (len) {
        const FlatRange *r = flatview_find(v, addr, &hint);
        uint64_t room = r ? r->size - (addr - r->start) : hole_size(v, addr);
        size_t n = len < room ? len : (size_t)room;
        MemResult one = MEM_DECODE_ERROR;
        if (r) {
            one = range_copy(r, addr, p, n, write, attrs);
        } else if (!write) {
            memset(p, 0xff, n);
        }
        res = res == MEM_OK ? one : res;
        addr += n;
        p += n;
        len -= n;
    }
    rcu_read_unlock();
    return res;
}

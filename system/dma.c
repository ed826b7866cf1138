/* SPDX-License-Identifier: MIT
 * system/dma.c - how devices reach guest memory without ever re-entering a device.
 * Models: bus-master cycles; posted writes as on PCI (PCI Local Bus 3.0, 3.2.5).
 * Threads: any, any domain held; takes none.
 */
#include "internal.h"

#include <inttypes.h>
#include <string.h>

static bool dma_allowed(const DmaContext *dma)
{
    return !dma->enabled || __atomic_load_n(dma->enabled, __ATOMIC_RELAXED);
}

static inline MemAttrs dma_attrs(const DmaContext *dma)
{
    return (MemAttrs){ .requester = dma->requester };
}

/* A write into the window of the local APICs is an interrupt when it is one aligned doubleword. */
static bool dma_is_msi(AddressSpace *as, hwaddr addr, size_t n)
{
    const Machine *m = as->machine;
    return m->msi_sink && as == &m->as_mem && addr - m->msi_base < m->msi_size && n >= 4 && !(addr & 3);
}

/* n bytes inside r, which is not RAM for this direction. Returns how many were dealt with. */
static size_t dma_to_device(DmaContext *dma, const FlatRange *r, hwaddr addr, uint8_t *buf, size_t n,
                            bool to_guest, MemResult *res)
{
    if (!to_guest) {
        memset(buf, 0xff, n);
        guest_error(r->region->owner, "%s: DMA read of registers at 0x%" PRIx64, r->region->name, addr);
        *res = MEM_DEVICE_ERROR;
        return n;
    }
    uint64_t v = 0;
    if (dma_is_msi(dma->as, addr, n)) {
        memcpy(&v, buf, 4);
        dma->as->machine->msi_sink(dma->as->machine->msi_opaque,
                                   (MsiMessage){ .addr = addr, .data = (uint32_t)GUINT64_FROM_LE(v) });
        return 4;
    }
    if (!r->region->ops) {
        return n; /* ROM */
    }
    uint64_t off = r->off + (addr - r->start);
    unsigned piece = access_piece(off, n);
    memcpy(&v, buf, piece);
    if (!mmio_post_write(r->region, off, piece, GUINT64_FROM_LE(v), dma_attrs(dma))) {
        *res = MEM_DEVICE_ERROR;
    }
    return piece;
}

/* Where nothing lies: how many of len bytes, from addr on, up to what is next, or the window of interrupts.
 * A guest can name as many as a device takes, so they are not looked for one by one. */
static size_t hole_bytes(const AddressSpace *as, const FlatView *v, hwaddr addr, size_t len,
                         bool to_guest)
{
    const Machine *m = as->machine;
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) { /* the first range behind addr */
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->r[mid].start > addr) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    hwaddr room = (lo < v->n ? v->r[lo].start : 0) - addr; /* 0: the end of all addresses */
    if (to_guest && m->msi_sink && as == &m->as_mem && m->msi_base + m->msi_size > addr) {
        room = MIN(room - 1, addr < m->msi_base ? m->msi_base - addr - 1 : 0) + 1;
    }
    return room - 1 < len ? (size_t)room : len;
}

MemResult dma_copy(DmaContext *dma, hwaddr addr, void *buf, size_t len, bool to_guest)
{
    uint8_t *p = buf;
    if (!dma_allowed(dma)) {
        if (!to_guest) {
            memset(buf, 0xff, len);
        }
        return MEM_DECODE_ERROR;
    }
    MemResult res = MEM_OK;
    rcu_read_lock();
    const FlatView *v = as_view(dma->as);
    const FlatRange *hint = NULL;
    while (len) {
        const FlatRange *r = flatview_find(v, addr, &hint);
        MemResult one = MEM_OK;
        size_t n;
        if (!r) {
            bool msi = to_guest && dma_is_msi(dma->as, addr, len);
            n = msi ? 4 : hole_bytes(dma->as, v, addr, len, to_guest);
            if (msi) {
                uint32_t data;
                memcpy(&data, p, 4);
                dma->as->machine->msi_sink(dma->as->machine->msi_opaque,
                                           (MsiMessage){ .addr = addr, .data = GUINT32_FROM_LE(data) });
            } else {
                one = MEM_DECODE_ERROR;
                if (!to_guest) { /* towards the guest the buffer may be constant */
                    memset(p, 0xff, n);
                }
            }
        } else {
            uint64_t room = r->size - (addr - r->start);
            n = len < room ? len : (size_t)room;
            uint64_t o = addr - r->start;
            if (r->host && !to_guest) {
                ram_load_bytes(p, r->host + o, n);
            } else if (r->host && !r->readonly) {
                ram_store_bytes(r->ram, r->host + o, r->ram_off + o, p, n);
            } else {
                n = dma_to_device(dma, r, addr, p, n, to_guest, &one);
            }
        }
        res = res == MEM_OK ? one : res;
        addr += n;
        p += n;
        len -= n;
    }
    rcu_read_unlock();
    return res;
}

bool dma_map(DmaContext *dma, hwaddr addr, size_t len, bool to_guest, DmaMap *map)
{
    *map = (DmaMap){ .to_guest = to_guest };
    if (!dma_allowed(dma)) {
        return false;
    }
    bool ok = true;
    rcu_read_lock();
    const FlatView *v = as_view(dma->as);
    const FlatRange *hint = NULL;
    while (ok && len) {
        const FlatRange *r = flatview_find(v, addr, &hint);
        ok = r && r->host && !(to_guest && r->readonly) && map->n < G_N_ELEMENTS(map->iov);
        if (ok) {
            uint64_t o = addr - r->start, room = r->size - o;
            size_t n = len < room ? len : (size_t)room;
            map->iov[map->n] = (struct iovec){ .iov_base = r->host + o, .iov_len = n };
            map->ram[map->n] = ram_ref(r->ram);
            map->ram_off[map->n++] = r->ram_off + o;
            addr += n;
            len -= n;
        }
    }
    rcu_read_unlock();
    if (!ok) {
        dma_unmap(map, 0);
    }
    return ok;
}

void dma_unmap(DmaMap *map, size_t touched)
{
    for (unsigned i = 0; i < map->n; i++) {
        size_t n = touched < map->iov[i].iov_len ? touched : map->iov[i].iov_len;
        if (map->to_guest && n) {
            ram_written(map->ram[i], map->ram_off[i], n);
        }
        touched -= n;
        ram_unref(map->ram[i]);
    }
    map->n = 0;
}

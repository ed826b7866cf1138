/* SPDX-License-Identifier: MIT
 * hw/usb/xhci-ring.c - xHCI's rings: fetching TRBs, writing events, interrupts.
 *
 * Models: xHCI 1.1, 4.9 (rings; event rings of one segment, which is what ERST Max says), 4.17
 * (interrupters). Does not model: interrupt moderation (4.17.2): nothing is held back. Threads: the platform
 * domain. Hostile rings: links are counted, addresses that are no memory stop the controller (host system
 * error).
 */
#include "xhci.h"

#include <string.h>

enum { IMAN_IP = 1, IMAN_IE = 2, ERDP_EHB = 8, ERST_MIN = 16, ERST_MAX = 4096 };

void xhci_died(Xhci *x)
{
    guest_error(&x->dev, "xhci: a structure is not in memory; the controller stops");
    x->usbsts |= STS_HSE | STS_HALTED;
    x->usbcmd &= ~(uint32_t)CMD_RUN;
}

bool xhci_read(Xhci *x, uint64_t at, void *buf, size_t len)
{
    if (dma_read(&pci_func(&x->dev)->dma, at, buf, len) == MEM_OK) {
        return true;
    }
    xhci_died(x);
    return false;
}

bool xhci_write(Xhci *x, uint64_t at, const void *buf, size_t len)
{
    if (dma_write(&pci_func(&x->dev)->dma, at, buf, len) == MEM_OK) {
        return true;
    }
    xhci_died(x);
    return false;
}

bool xhci_read32(Xhci *x, uint64_t at, uint32_t *v, unsigned n)
{
    bool ok = xhci_read(x, at, v, 4 * (size_t)n);
    for (unsigned i = 0; i < n; i++) {
        v[i] = ok ? GUINT32_FROM_LE(v[i]) : 0;
    }
    return ok;
}

bool xhci_write32(Xhci *x, uint64_t at, const uint32_t *v, unsigned n)
{
    uint32_t le[8];
    for (unsigned i = 0; i < n && i < G_N_ELEMENTS(le); i++) {
        le[i] = GUINT32_TO_LE(v[i]);
    }
    return xhci_write(x, at, le, 4 * (size_t)MIN(n, G_N_ELEMENTS(le)));
}

/* ---- the consumer's side ---- */

bool xhci_fetch(Xhci *x, XhciRing *r, XhciTrb *t, bool *bad)
{
    *bad = false;
    for (unsigned links = 0; links < XHCI_LINKS; links++) {
        uint32_t w[4];
        if (!xhci_read32(x, r->dequeue, w, 4)) {
            *bad = true;
            return false;
        }
        *t = (XhciTrb){
            .param = w[0] | (uint64_t)w[1] << 32, .status = w[2], .control = w[3], .addr = r->dequeue
        };
        if ((t->control & TRB_CYCLE) != r->ccs) {
            return false;
        }
        if (trb_type(t) != TRB_LINK) {
            r->dequeue += XHCI_TRB;
            return true;
        }
        r->dequeue = t->param & ~UINT64_C(15);
        r->ccs ^= !!(t->control & TRB_TOGGLE);
    }
    guest_error(&x->dev, "xhci: a ring of links only at 0x%" G_GINT64_MODIFIER "x", r->dequeue);
    *bad = true;
    return false;
}

/* ---- interrupts (4.17) ---- */

void xhci_update_interrupt(Xhci *x)
{
    bool level = false;
    for (unsigned i = 0; i < x->intrs; i++) {
        level |= (x->intr[i].iman & (IMAN_IP | IMAN_IE)) == (IMAN_IP | IMAN_IE);
    }
    irq_set(&x->intx, level && (x->usbcmd & CMD_INTE) && !pci_msix_enabled(&x->msix) &&
                          (!x->msi.dev || !pci_msi_enabled(&x->msi)));
}

static void interrupt(Xhci *x, unsigned n)
{
    XhciIntr *i = &x->intr[n];
    i->erdp |= ERDP_EHB;
    i->iman |= IMAN_IP;
    x->usbsts |= STS_EINT;
    bool asks = (i->iman & IMAN_IE) && (x->usbcmd & CMD_INTE);
    if (asks && pci_msix_enabled(&x->msix)) {
        i->iman &= ~(uint32_t)IMAN_IP; /* 5.5.2.1: a message clears it */
        pci_msix_notify(&x->msix, n);
    } else if (asks && x->msi.dev && pci_msi_enabled(&x->msi)) {
        i->iman &= ~(uint32_t)IMAN_IP;
        pci_msi_notify(&x->msi, n);
    }
    xhci_update_interrupt(x);
}

/* ---- event rings (4.9.4) ---- */

static bool load_segment(Xhci *x, XhciIntr *i)
{
    uint32_t e[4];
    i->fresh = false;
    i->size = i->at = 0;
    i->pcs = true;
    if (i->erstsz != 1 || !xhci_read32(x, i->erstba, e, 4)) {
        return false;
    }
    if (e[2] < ERST_MIN || e[2] > ERST_MAX) {
        guest_error(&x->dev, "xhci: a segment of %u events, 16 to 4096 are possible", e[2]);
        return false;
    }
    i->base = (e[0] & ~UINT32_C(63)) | (uint64_t)e[1] << 32;
    i->size = e[2];
    return true;
}

static bool put_event(Xhci *x, XhciIntr *i, const uint32_t *w)
{
    uint32_t e[4] = { w[0], w[1], w[2], w[3] | (i->pcs ? TRB_CYCLE : 0) };
    if (!xhci_write32(x, i->base + (uint64_t)i->at * XHCI_TRB, e, 4)) {
        return false;
    }
    if (++i->at == i->size) {
        i->at = 0;
        i->pcs = !i->pcs;
    }
    return true;
}

/* Events that fit until software takes some. */
static unsigned event_room(const XhciIntr *i)
{
    uint64_t off = (i->erdp & ~UINT64_C(15)) - i->base;
    if (off >= (uint64_t)i->size * XHCI_TRB) { /* software's pointer is elsewhere: it is not believed */
        return i->size - 1;
    }
    return (unsigned)(off / XHCI_TRB + i->size - i->at - 1) % i->size;
}

void xhci_event(Xhci *x, unsigned n, unsigned type, unsigned cc, uint64_t param, uint32_t status,
                uint32_t control)
{
    XhciIntr *i = &x->intr[n < x->intrs ? n : 0];
    if (i->fresh) {
        load_segment(x, i);
    }
    unsigned room = i->size ? event_room(i) : 0;
    uint32_t w[4] = { (uint32_t)param, (uint32_t)(param >> 32), (status & 0xffffff) | cc << 24,
                      type << 10 | control };
    if (room == 1) { /* the last place says that it is the last one (4.9.4) */
        uint32_t full[4] = { 0, 0, (uint32_t)CC_RING_FULL << 24, TRB_HOST_EVENT << 10 };
        memcpy(w, full, sizeof(w));
    }
    if (!room) {
        guest_error(&x->dev, "xhci: event ring %u is full or not there, an event of type %u is lost", n,
                    type);
    } else if (put_event(x, i, w) && !(i->erdp & ERDP_EHB)) {
        interrupt(x, (unsigned)(i - x->intr));
    }
}

void xhci_write_erdp(Xhci *x, XhciIntr *i, uint64_t val)
{
    bool busy = (i->erdp & ERDP_EHB) && !(val & ERDP_EHB);
    i->erdp = (val & ~(uint64_t)ERDP_EHB) | (busy ? ERDP_EHB : 0);
    uint64_t off = (i->erdp & ~UINT64_C(15)) - i->base;
    if (!busy && i->size && !i->fresh && off < (uint64_t)i->size * XHCI_TRB && off / XHCI_TRB != i->at) {
        interrupt(x, (unsigned)(i - x->intr)); /* events are left */
    }
}

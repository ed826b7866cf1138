/* SPDX-License-Identifier: MIT
 * hw/usb/xhci-xfer.c - xHCI's transfer rings: TDs become packets, their ends become events.
 *
 * Models: xHCI 1.1, 4.10 and 4.11 (transfers, short packets, event data), 4.8.3 (states of endpoints). What
 * an endpoint answers with NAK stays in its ring until the device says that it has something: an idle
 *         keyboard costs nothing.
 * Does not model: streams; isochronous schedules (no device has such an endpoint).
 * Threads: the platform domain. A TD has XHCI_TD_TRBS parts and XHCI_TD_MAX bytes at most; of one ring,
 *          XHCI_TURN are dealt with, or XHCI_TURN_BYTES moved, until others have their turn. A TD under way
 *          is no saved state: the ring stands before it until it ends.
 */
#include "xhci.h"

#include <string.h>

static void transfer_free(XhciTransfer *t)
{
    g_free(t->p.data);
    g_free(t->trbs);
    g_free(t);
}

/* Also where the ring is (6.2.3), for software that stops the endpoint. */
void xhci_set_ep_state(Xhci *x, unsigned slot, unsigned dci, XhciEpState state)
{
    XhciSlot *s = &x->slot[slot];
    XhciEp *e = &s->ep[dci];
    uint64_t at = s->context + 32 * (uint64_t)dci;
    uint32_t c[4];
    e->state = state;
    if (!xhci_read32(x, at, c, 4)) {
        return;
    }
    c[0] = (c[0] & ~7u) | state;
    c[2] = (uint32_t)e->ring.dequeue | e->ring.ccs;
    c[3] = (uint32_t)(e->ring.dequeue >> 32);
    xhci_write32(x, at, c, 4);
}

static void transfer_event(Xhci *x, unsigned slot, unsigned dci, const XhciTrb *t, unsigned cc,
                           uint32_t length, bool data)
{
    xhci_event(x, t->status >> 22, TRB_TRANSFER_EVENT, cc, data ? t->param : t->addr, length,
               slot << 24 | dci << 16 | (data ? 1 << 2 : 0));
}

void xhci_stop_ep(Xhci *x, unsigned slot, unsigned dci, bool tell)
{
    XhciEp *e = &x->slot[slot].ep[dci];
    XhciTransfer *t = e->t;
    e->again = false;
    if (!t) {
        return;
    }
    e->t = NULL;
    usb_cancel_packet(&t->p);
    if (tell) {
        transfer_event(x, slot, dci, &t->trbs[0], CC_STOPPED, t->trbs[0].status & 0x1ffff, false);
    }
    transfer_free(t);
}

/* ---- a TD's parts ---- */

static bool carries_data(const XhciTrb *t)
{
    unsigned type = trb_type(t);
    return type == TRB_NORMAL || type == TRB_DATA || type == TRB_ISOCH || type == TRB_SETUP;
}

static uint32_t trb_length(const XhciTrb *t)
{
    return carries_data(t) ? t->status & 0x1ffff : 0;
}

/* All TRBs up to the one that is not chained. 0: the rest is not there yet; *cc: what is wrong. */
static unsigned gather(Xhci *x, XhciRing *r, XhciTrb **out, uint64_t *bytes, unsigned *cc)
{
    GArray *all = NULL;
    XhciTrb t;
    bool bad;
    *bytes = 0;
    *cc = CC_SUCCESS;
    *out = NULL;
    do {
        if (!xhci_fetch(x, r, &t, &bad)) {
            *cc = bad ? CC_TRB : CC_SUCCESS;
            break;
        }
        if (!all) {
            all = g_array_new(FALSE, FALSE, sizeof(XhciTrb));
        }
        g_array_append_val(all, t);
        *bytes += trb_length(&t);
        if (all->len == XHCI_TD_TRBS || *bytes > XHCI_TD_MAX) {
            *cc = CC_TRB;
            break;
        }
        if (!(t.control & TRB_CHAIN)) {
            unsigned n = all->len;
            *out = (XhciTrb *)g_array_free(all, FALSE);
            return n;
        }
    } while (true);
    if (all) {
        g_array_free(all, TRUE);
    }
    return 0;
}

/* Moves `len` bytes between the packet and what the TRBs point to. */
static bool copy_data(Xhci *x, XhciTransfer *t, uint32_t len, bool to_guest)
{
    uint32_t at = 0;
    for (unsigned i = 0; i < t->n && at < len; i++) {
        const XhciTrb *b = &t->trbs[i];
        uint32_t n = MIN(trb_length(b), len - at);
        if (b->control & TRB_IDT) { /* up to 8 bytes in the TRB itself, never to the guest */
            uint64_t le = GUINT64_TO_LE(b->param);
            memset(t->p.data + at, 0, to_guest ? 0 : n);
            memcpy(t->p.data + at, &le, to_guest ? 0 : MIN(n, 8));
        } else if (n && !(to_guest ? xhci_write(x, b->param, t->p.data + at, n)
                                   : xhci_read(x, b->param, t->p.data + at, n))) {
            return false;
        }
        at += n;
    }
    return true;
}

/* ---- the end of a TD ---- */

static unsigned completion_code(const XhciTransfer *t)
{
    switch (t->p.result) {
    case USB_OK: return t->p.actual < t->p.len ? CC_SHORT : CC_SUCCESS;
    case USB_STALL: return CC_STALL;
    case USB_BABBLE: return CC_BABBLE;
    default: return CC_TRANSACTION;
    }
}

/* Events of TRBs that ask for them; of a short one that, and the event data behind it; of a failed one. */
static void tell(Xhci *x, const XhciTransfer *t, unsigned cc)
{
    bool failed = cc != CC_SUCCESS && cc != CC_SHORT, is_short = false;
    uint32_t left = t->p.actual, edtla = 0;
    for (unsigned i = 0; i < t->n; i++) {
        const XhciTrb *b = &t->trbs[i];
        uint32_t len = trb_length(b), n = MIN(len, left);
        left -= n;
        edtla += n;
        bool ends = carries_data(b) && n < len, ioc = b->control & TRB_IOC;
        if (trb_type(b) == TRB_EVENT_DATA) {
            if (ioc) {
                transfer_event(x, t->slot, t->dci, b, is_short || failed ? cc : CC_SUCCESS, edtla, true);
            }
            edtla = 0;
        } else if (failed && (ends || i + 1 == t->n)) {
            transfer_event(x, t->slot, t->dci, b, cc, len - n, false);
            return;
        } else if (ends && !is_short) {
            is_short = true;
            if (ioc || (b->control & TRB_ISP)) {
                transfer_event(x, t->slot, t->dci, b, CC_SHORT, len - n, false);
            }
        } else if (ioc && !is_short) {
            transfer_event(x, t->slot, t->dci, b, CC_SUCCESS, len - n, false);
        }
    }
}

/* The packet has ended, the TD with it. */
static void finish(XhciTransfer *t)
{
    Xhci *x = t->x;
    XhciEp *e = &x->slot[t->slot].ep[t->dci];
    unsigned cc = completion_code(t);
    if (t->p.pid == USB_IN && t->p.actual && !copy_data(x, t, t->p.actual, true)) {
        cc = CC_TRB;
    }
    if (cc == CC_SUCCESS || cc == CC_SHORT) {
        e->ring = t->next;
    } else { /* 4.8.3: software sees the TD that it was, and says where to go on */
        xhci_set_ep_state(x, t->slot, t->dci, cc == CC_TRB ? EP_ERROR : EP_HALTED);
    }
    if (x->usbcmd & CMD_RUN) {
        tell(x, t, cc);
    }
    transfer_free(t);
}

static void packet_done(UsbPacket *p)
{
    XhciTransfer *t = p->opaque;
    Xhci *x = t->x;
    unsigned slot = t->slot, dci = t->dci;
    x->slot[slot].ep[dci].t = NULL;
    if (p->result == USB_NAK) { /* the TD stays in its ring */
        transfer_free(t);
        return;
    }
    finish(t);
    xhci_kick(x, slot, dci);
}

/* ---- its beginning ---- */

/* By the first TRB, and for other than control endpoints by the endpoint's type. False: it makes no sense. */
static bool choose_pid(const XhciTransfer *t, const XhciEp *e, UsbPid *pid)
{
    const XhciTrb *b = &t->trbs[0];
    if (e->type != EPTYPE_CONTROL) {
        unsigned type = trb_type(b);
        *pid = e->type > EPTYPE_IN ? USB_IN : USB_OUT;
        return type == TRB_NORMAL || type == TRB_ISOCH || type == TRB_EVENT_DATA || type == TRB_NOOP;
    }
    *pid = trb_type(b) == TRB_SETUP ? USB_SETUP : b->control & TRB_DIR_IN ? USB_IN : USB_OUT;
    return (trb_type(b) == TRB_SETUP && (b->control & TRB_IDT) && trb_length(b) == 8) ||
           trb_type(b) == TRB_DATA || trb_type(b) == TRB_STATUS || trb_type(b) == TRB_NOOP;
}

/* False: it stays in the ring. */
static bool start(Xhci *x, XhciTransfer *t, XhciEp *e, uint64_t bytes)
{
    XhciSlot *s = &x->slot[t->slot];
    t->p = (UsbPacket){ .ep = t->dci >> 1, .len = (uint32_t)bytes, .done = packet_done, .opaque = t };
    if (!choose_pid(t, e, &t->p.pid)) {
        guest_error(&x->dev, "xhci: TRB of type %u on endpoint %u", trb_type(&t->trbs[0]), t->dci);
        t->p.result = USB_ERROR;
        finish(t);
        return true;
    }
    if (trb_type(&t->trbs[0]) == TRB_NOOP || (trb_type(&t->trbs[0]) == TRB_EVENT_DATA && !bytes)) {
        t->p.result = USB_OK; /* 4.11.7: no packet */
        t->p.len = 0;
        finish(t);
        return true;
    }
    t->p.data = g_malloc(bytes + 1);
    if (t->p.pid != USB_IN && !copy_data(x, t, (uint32_t)bytes, false)) {
        t->p.result = USB_ERROR;
        finish(t);
        return true;
    }
    xhci_find_loaded(x);
    t->p.result = USB_ERROR;
    UsbResult r = s->dev ? usb_handle_packet(s->dev, &t->p) : USB_ERROR;
    if (r == USB_NAK) {
        return false;
    }
    if (r == USB_ASYNC) {
        e->t = t;
    } else {
        finish(t);
    }
    return true;
}

void xhci_kick(Xhci *x, unsigned slot, unsigned dci)
{
    XhciEp *e = &x->slot[slot].ep[dci];
    uint64_t moved = 0;
    /* A disk's request that ends would begin the next one, and stopping the machine wait for all of them. */
    e->again = !machine_running(x->dev.machine);
    if (e->again) {
        return;
    }
    for (unsigned turn = 0; e->state == EP_RUNNING && !e->t && (x->usbcmd & CMD_RUN); turn++) {
        XhciRing r = e->ring;
        uint64_t bytes;
        unsigned cc;
        XhciTrb *trbs;
        if (turn == XHCI_TURN || moved >= XHCI_TURN_BYTES) {
            e->again = true;
            domain_post(&x->more);
            return;
        }
        unsigned n = gather(x, &r, &trbs, &bytes, &cc);
        if (!n) {
            if (cc != CC_SUCCESS) {
                XhciTrb at = { .addr = e->ring.dequeue };
                xhci_set_ep_state(x, slot, dci, EP_ERROR);
                transfer_event(x, slot, dci, &at, cc, 0, false);
            }
            return;
        }
        XhciTransfer *t = g_new0(XhciTransfer, 1);
        t->x = x;
        t->slot = (uint8_t)slot;
        t->dci = (uint8_t)dci;
        t->trbs = trbs;
        t->n = n;
        t->next = r;
        moved += bytes;
        if (!start(x, t, e, bytes)) {
            transfer_free(t);
            return;
        }
    }
}

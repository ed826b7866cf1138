/* SPDX-License-Identifier: MIT
 * hw/usb/xhci-cmd.c - xHCI's command ring: slots, addresses, endpoints.
 *
 * Models: xHCI 1.1, 4.6 (commands), 6.2 (contexts of 32 bytes). Does not model: streams, bandwidth, virtual
 *         functions; of NEC's own commands the one that Linux sends (firmware's version).
 * Threads: the platform domain.
 */
#include "xhci.h"

#include <string.h>

enum { CTX = 32, COMMANDS_TURN = 256, NEC_VERSION = 0x3025, NEC_CC = 1 };

/* ---- slots ---- */

static int slot_by_route(const Xhci *x, unsigned port, uint32_t route)
{
    for (unsigned n = 1; n <= x->slots; n++) {
        const XhciSlot *s = &x->slot[n];
        if (s->enabled && s->state != SLOT_DISABLED && s->port == port && s->route == route) {
            return (int)n;
        }
    }
    return 0;
}

void xhci_find_device(Xhci *x, XhciSlot *s)
{
    const XhciPort *p = s->port >= 1 && s->port <= x->n_ports ? &x->ports[s->port - 1] : NULL;
    UsbDevice *d = p ? usb_find_route(p->port, s->route) : NULL;
    bool super = d && d->speed == USB_SUPER;
    s->dev = d && super == p->super ? d : NULL;
}

void xhci_find_loaded(Xhci *x)
{
    for (unsigned n = 1; x->loaded && n <= x->slots; n++) {
        if (x->slot[n].enabled && x->slot[n].state != SLOT_DISABLED) {
            xhci_find_device(x, &x->slot[n]);
        }
    }
    x->loaded = false;
}

static void disable_ep(Xhci *x, unsigned n, unsigned dci)
{
    xhci_stop_ep(x, n, dci, false);
    if (x->slot[n].ep[dci].state != EP_DISABLED) {
        xhci_set_ep_state(x, n, dci, EP_DISABLED);
    }
}

void xhci_drop_slot(Xhci *x, unsigned n)
{
    XhciSlot *s = &x->slot[n];
    for (unsigned dci = 1; dci <= XHCI_EPS; dci++) {
        xhci_stop_ep(x, n, dci, false);
    }
    *s = (XhciSlot){ 0 };
}

static unsigned enable_slot(Xhci *x, unsigned *slot)
{
    for (unsigned n = 1; n <= MIN(x->slots, x->config & 0xff); n++) {
        if (!x->slot[n].enabled) {
            x->slot[n].enabled = true;
            *slot = n;
            return CC_SUCCESS;
        }
    }
    return CC_NO_SLOTS;
}

static bool set_slot_state(Xhci *x, XhciSlot *s, XhciSlotState state, unsigned addr)
{
    uint32_t w = (uint32_t)state << 27 | addr;
    s->state = state;
    return xhci_write32(x, s->context + 12, &w, 1);
}

/* ---- endpoints ---- */

/* The input context `in` of one, which becomes part of the output context and runs. */
static unsigned enable_ep(Xhci *x, unsigned n, unsigned dci, uint64_t in)
{
    XhciSlot *s = &x->slot[n];
    XhciEp *e = &s->ep[dci];
    uint32_t c[8];
    if (!xhci_read32(x, in, c, 8)) {
        return CC_TRB;
    }
    unsigned type = c[1] >> 3 & 7;
    bool is_in = dci & 1;
    if ((c[0] >> 10 & 0x1f) || !type || (dci == 1) != (type == EPTYPE_CONTROL) ||
        (dci > 1 && (type > EPTYPE_IN) != is_in)) {
        return CC_PARAMETER; /* streams, or an endpoint of another kind than its place */
    }
    xhci_stop_ep(x, n, dci, false);
    e->type = (uint8_t)type;
    e->state = EP_RUNNING;
    e->ring = (XhciRing){ (c[2] & ~UINT32_C(15)) | (uint64_t)c[3] << 32, c[2] & 1 };
    c[0] = (c[0] & ~7u) | EP_RUNNING;
    return xhci_write32(x, s->context + (uint64_t)CTX * dci, c, 8) ? CC_SUCCESS : CC_TRB;
}

/* ---- commands of a slot ---- */

static unsigned address_device(Xhci *x, unsigned n, const XhciTrb *t)
{
    XhciSlot *s = &x->slot[n];
    uint64_t in = t->param & ~UINT64_C(15);
    uint32_t flags[2], c[8], out[2];
    bool bsr = t->control & TRB_BSR;
    if (!xhci_read32(x, in, flags, 2) || !xhci_read32(x, in + CTX, c, 8) ||
        !xhci_read32(x, x->dcbaap + 8 * (uint64_t)n, out, 2)) {
        return CC_TRB;
    }
    if ((flags[1] & 3) != 3 || flags[0]) {
        return CC_TRB;
    }
    if (s->state > (bsr ? SLOT_DISABLED : SLOT_DEFAULT)) {
        return CC_CONTEXT_STATE;
    }
    unsigned port = c[1] >> 16 & 0xff;
    uint32_t route = c[0] & 0xfffff;
    int other = slot_by_route(x, port, route);
    if (port < 1 || port > x->n_ports || (other && other != (int)n)) {
        return CC_TRB;
    }
    s->context = (out[0] & ~UINT32_C(63)) | (uint64_t)out[1] << 32;
    s->port = (uint8_t)port;
    s->route = route;
    s->intr = (uint16_t)(c[2] >> 22);
    xhci_find_device(x, s);
    if (!s->dev || !s->dev->ready) {
        return CC_TRANSACTION;
    }
    usb_device_set_address(s->dev, bsr ? 0 : (uint8_t)n);
    c[3] = 0;
    unsigned cc = xhci_write32(x, s->context, c, 8) ? enable_ep(x, n, 1, in + 2 * CTX) : CC_TRB;
    if (cc == CC_SUCCESS && !set_slot_state(x, s, bsr ? SLOT_DEFAULT : SLOT_ADDRESSED, bsr ? 0 : n)) {
        cc = CC_TRB;
    }
    return cc;
}

static unsigned configure(Xhci *x, unsigned n, const XhciTrb *t)
{
    XhciSlot *s = &x->slot[n];
    uint64_t in = t->param & ~UINT64_C(15);
    uint32_t flags[2] = { 0, 0 }, is[4], c[4];
    bool none = t->control & TRB_DECONFIGURE;
    if (s->state < SLOT_ADDRESSED) {
        return CC_CONTEXT_STATE;
    }
    if (!xhci_read32(x, s->context, c, 4) ||
        (!none && (!xhci_read32(x, in, flags, 2) || !xhci_read32(x, in + CTX, is, 4)))) {
        return CC_TRB;
    }
    if ((flags[0] & 3) || (!none && !(flags[1] & 1))) {
        return CC_TRB;
    }
    unsigned cc = CC_SUCCESS;
    for (unsigned dci = 2; dci <= XHCI_EPS; dci++) {
        if (none || (flags[0] >> dci & 1)) {
            disable_ep(x, n, dci);
        }
    }
    for (unsigned dci = 2; cc == CC_SUCCESS && dci <= XHCI_EPS; dci++) {
        if (flags[1] >> dci & 1) {
            cc = enable_ep(x, n, dci, in + (uint64_t)CTX * (dci + 1));
        }
    }
    if (cc != CC_SUCCESS) {
        return cc;
    }
    uint32_t entries = none ? 1u << 27 : is[0] & 0xf8000000;
    c[0] = (c[0] & 0x07ffffff & ~(none ? 0 : 3u << 25)) | entries | (none ? 0 : is[0] & 3u << 25);
    c[1] = none ? c[1] : (c[1] & 0x00ffffff) | (is[1] & 0xff000000); /* a hub's ports */
    c[3] = (c[3] & 0xff) | (uint32_t)(none ? SLOT_ADDRESSED : SLOT_CONFIGURED) << 27;
    s->state = none ? SLOT_ADDRESSED : SLOT_CONFIGURED;
    return xhci_write32(x, s->context, c, 4) ? CC_SUCCESS : CC_TRB;
}

static unsigned evaluate(Xhci *x, unsigned n, const XhciTrb *t)
{
    XhciSlot *s = &x->slot[n];
    uint64_t in = t->param & ~UINT64_C(15);
    uint32_t flags[2], c[4], is[4];
    if (s->state < SLOT_DEFAULT) {
        return CC_CONTEXT_STATE;
    }
    if (!xhci_read32(x, in, flags, 2)) {
        return CC_TRB;
    }
    if (flags[1] & 1) {
        if (!xhci_read32(x, in + CTX, is, 4) || !xhci_read32(x, s->context, c, 4)) {
            return CC_TRB;
        }
        c[1] = (c[1] & ~0xffffu) | (is[1] & 0xffff);
        c[2] = (c[2] & ~0xffc00000u) | (is[2] & 0xffc00000u);
        s->intr = (uint16_t)(c[2] >> 22);
        if (!xhci_write32(x, s->context, c, 4)) {
            return CC_TRB;
        }
    }
    if (flags[1] & 2) {
        if (!xhci_read32(x, in + 2 * CTX, is, 4) || !xhci_read32(x, s->context + CTX, c, 4)) {
            return CC_TRB;
        }
        c[1] = (c[1] & 0xffff) | (is[1] & 0xffff0000);
        if (!xhci_write32(x, s->context + CTX, c, 4)) {
            return CC_TRB;
        }
    }
    return CC_SUCCESS;
}

static unsigned reset_device(Xhci *x, unsigned n)
{
    XhciSlot *s = &x->slot[n];
    if (s->state < SLOT_ADDRESSED) {
        return CC_CONTEXT_STATE;
    }
    xhci_stop_ep(x, n, 1, false);
    for (unsigned dci = 2; dci <= XHCI_EPS; dci++) {
        disable_ep(x, n, dci);
    }
    if (s->dev) {
        usb_device_set_address(s->dev, 0);
    }
    return set_slot_state(x, s, SLOT_DEFAULT, 0) ? CC_SUCCESS : CC_TRB;
}

/* ---- commands of an endpoint ---- */

static unsigned endpoint_command(Xhci *x, unsigned n, const XhciTrb *t)
{
    unsigned dci = t->control >> 16 & 0x1f, type = trb_type(t);
    XhciEp *e = &x->slot[n].ep[dci];
    if (!dci) {
        return CC_TRB;
    }
    if (e->state == EP_DISABLED) {
        return CC_EP_DISABLED;
    }
    if (type == TRB_STOP_EP) {
        if (e->state != EP_RUNNING) {
            return CC_CONTEXT_STATE;
        }
        xhci_stop_ep(x, n, dci, true);
        xhci_set_ep_state(x, n, dci, EP_STOPPED);
        return CC_SUCCESS;
    }
    if (type == TRB_RESET_EP) {
        if (e->state != EP_HALTED) {
            return CC_CONTEXT_STATE;
        }
        xhci_set_ep_state(x, n, dci, EP_STOPPED);
        return CC_SUCCESS;
    }
    if (e->state != EP_STOPPED && e->state != EP_ERROR) {
        return CC_CONTEXT_STATE;
    }
    e->ring = (XhciRing){ t->param & ~UINT64_C(15), t->param & 1 };
    xhci_set_ep_state(x, n, dci, EP_STOPPED);
    return CC_SUCCESS;
}

static unsigned slot_command(Xhci *x, unsigned n, const XhciTrb *t)
{
    if (n < 1 || n > x->slots || !x->slot[n].enabled) {
        return n < 1 || n > x->slots ? CC_TRB : CC_SLOT_DISABLED;
    }
    switch (trb_type(t)) {
    case TRB_DISABLE_SLOT:
        if (x->slot[n].state != SLOT_DISABLED) {
            set_slot_state(x, &x->slot[n], SLOT_DISABLED, 0);
        }
        xhci_drop_slot(x, n);
        return CC_SUCCESS;
    case TRB_ADDRESS: return address_device(x, n, t);
    case TRB_CONFIGURE: return configure(x, n, t);
    case TRB_EVALUATE: return evaluate(x, n, t);
    case TRB_RESET_DEVICE: return reset_device(x, n);
    default: return endpoint_command(x, n, t);
    }
}

static void run_command(Xhci *x, const XhciTrb *t)
{
    unsigned cc = CC_TRB, slot = t->control >> 24, event = TRB_COMMAND_EVENT;
    uint32_t parameter = 0;
    switch (trb_type(t)) {
    case TRB_ENABLE_SLOT:
        slot = 0;
        cc = enable_slot(x, &slot);
        break;
    case TRB_DISABLE_SLOT:
    case TRB_ADDRESS:
    case TRB_CONFIGURE:
    case TRB_EVALUATE:
    case TRB_RESET_EP:
    case TRB_STOP_EP:
    case TRB_SET_DEQUEUE:
    case TRB_RESET_DEVICE: cc = slot_command(x, slot, t); break;
    case TRB_NOOP_COMMAND: cc = CC_SUCCESS; break;
    case TRB_NEC_FIRMWARE:
        if (x->nec) {
            cc = CC_SUCCESS;
            event = TRB_NEC_COMMAND_EVENT;
            parameter = NEC_VERSION;
        }
        break;
    default: guest_error(&x->dev, "xhci: command %u", trb_type(t)); break;
    }
    if (!(x->usbsts & STS_HSE)) {
        xhci_event(x, 0, event, cc, t->addr, parameter, slot << 24);
    }
}

void xhci_run_commands(Xhci *x)
{
    XhciTrb t;
    bool bad = false;
    x->command_more = false;
    for (unsigned n = 0; x->command_runs && (x->usbcmd & CMD_RUN); n++) {
        if (n == COMMANDS_TURN) {
            x->command_more = true;
            domain_post(&x->more);
            return;
        }
        if (!xhci_fetch(x, &x->command, &t, &bad)) {
            break;
        }
        run_command(x, &t);
    }
    if (bad) {
        xhci_died(x);
    }
}

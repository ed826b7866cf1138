/* SPDX-License-Identifier: MIT
 * hw/usb/ehci-sched.c - EHCI's schedules: the frame list, the asynchronous ring, queue heads.
 *
 * Models: EHCI 1.0: 3.5 and 3.6 (qTD, queue head), 4.4 (periodic schedule), 4.8 (asynchronous schedule and
 *         doorbell), 4.10 (queues), 4.15.1 (what interrupts). All state of a transfer is in memory, so that
 *         a packet under way is no saved state: its qTD is active until the packet has ended.
 * Does not model: NAK counters and pings (nothing here gets tired of asking), split transactions (they reach
 *         no transaction translator: 4.12 with a hub that does not answer).
 * Threads: the platform domain. A bulk qTD is one packet to its device. Of one walk WALK_STEPS structures are
 *          looked at and WALK_BYTES moved, so rings without an end have one.
 */
#include "ehci.h"

#include <string.h>

enum { WALK_STEPS = 256, WALK_BYTES = 256 << 10, VISIT_QTDS = 16, PERIODIC_PATIENCE = EHCI_LIST + 64 };
enum { QH_WORDS = 12, QH_OVERLAY = 3, QTD_WORDS = 8, PAGE = 4096, PAGES = 5, FSTN = 6, FSTN_WORDS = 1 };
enum { INFO_DTC = 1 << 14, INFO_SPEED_HIGH = 2 };
enum {
    TOKEN_PING = 1,
    TOKEN_XACT = 1 << 3,
    TOKEN_BABBLE = 1 << 4,
    TOKEN_DBE = 1 << 5,
    TOKEN_HALTED = 1 << 6,
    TOKEN_ACTIVE = 1 << 7,
    TOKEN_CERR = 3 << 10,
    TOKEN_PAGE = 7 << 12,
    TOKEN_IOC = 1 << 15
};
#define TOKEN_TOGGLE     (UINT32_C(1) << 31)
#define TOKEN_BYTES(T)   ((T) >> 16 & 0x7fff)
#define TOKEN_ALL_BYTES  (UINT32_C(0x7fff) << 16)
#define TOKEN_AT_PAGE(T) ((T) >> 12 & 7)

typedef struct Qh { /* as it lies in memory */
    uint32_t link, info, caps, current, next, alt, token, buf[PAGES];
} Qh;
G_STATIC_ASSERT(sizeof(Qh) == 4 * QH_WORDS);

typedef enum QhEnd { QH_NOTHING, QH_WAITS, QH_DONE } QhEnd; /* QH_DONE: a qTD has moved on */

/* ---- memory ---- */

bool ehci_load(Ehci *e, uint32_t at, uint32_t *v, unsigned n)
{
    if (dma_read(&pci_func(&e->dev)->dma, at, v, 4 * (size_t)n) != MEM_OK) {
        ehci_died(e, "a structure is not in memory");
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        v[i] = GUINT32_FROM_LE(v[i]);
    }
    return true;
}

bool ehci_store(Ehci *e, uint32_t at, const uint32_t *v, unsigned n)
{
    uint32_t le[QH_WORDS];
    for (unsigned i = 0; i < n; i++) {
        le[i] = GUINT32_TO_LE(v[i]);
    }
    if (dma_write(&pci_func(&e->dev)->dma, at, le, 4 * (size_t)n) != MEM_OK) {
        ehci_died(e, "a structure cannot be written");
        return false;
    }
    return true;
}

/* The overlay, also what the guest sees of the transfer (4.10.3). */
static bool store_overlay(Ehci *e, uint32_t at, const Qh *q)
{
    return ehci_store(e, at + 4 * QH_OVERLAY, &q->current, QH_WORDS - QH_OVERLAY);
}

/* The transfer's bytes from where it stands. False: not in memory. */
static bool copy_data(Ehci *e, const Qh *q, uint8_t *data, unsigned len, bool to_guest)
{
    unsigned page = TOKEN_AT_PAGE(q->token), off = q->buf[0] & (PAGE - 1);
    while (len) {
        unsigned n = MIN(len, PAGE - off);
        if (page >= PAGES || dma_copy(&pci_func(&e->dev)->dma, (q->buf[page] & ~(PAGE - 1u)) + off, data, n,
                                      to_guest) != MEM_OK) {
            return false;
        }
        data += n;
        len -= n;
        off = 0;
        page++;
    }
    return true;
}

/* ---- packets ---- */

static void drop(EhciPacket *k)
{
    if (k->used) {
        if (!k->ended) {
            usb_cancel_packet(&k->p);
        }
        g_clear_pointer(&k->p.data, g_free);
        k->used = false;
    }
}

void ehci_drop_packets(Ehci *e, bool async, bool periodic)
{
    for (unsigned i = 0; i < EHCI_PACKETS; i++) {
        if (e->packets[i].periodic ? periodic : async) {
            drop(&e->packets[i]);
        }
    }
}

void ehci_drop_packets_of(Ehci *e, const UsbDevice *d)
{
    for (unsigned i = 0; i < EHCI_PACKETS; i++) {
        const UsbDevice *of = e->packets[i].used ? e->packets[i].p.dev : NULL;
        while (of && of != d) {
            of = of->port ? of->port->hub : NULL;
        }
        if (of) {
            drop(&e->packets[i]);
        }
    }
}

static EhciPacket *packet_of(Ehci *e, uint32_t qh)
{
    for (unsigned i = 0; i < EHCI_PACKETS; i++) {
        if (e->packets[i].used && e->packets[i].qh == qh) {
            return &e->packets[i];
        }
    }
    return NULL;
}

static EhciPacket *packet_free(Ehci *e)
{
    for (unsigned i = 0; i < EHCI_PACKETS; i++) {
        if (!e->packets[i].used) {
            return &e->packets[i];
        }
    }
    return NULL;
}

static void packet_done(UsbPacket *p)
{
    EhciPacket *k = p->opaque;
    k->ended = true;
    domain_post(&k->e->kick);
}

/* Queue heads that their driver took out of a schedule: what is under way for them is forgotten. */
static void forget_unseen(Ehci *e, bool periodic, unsigned patience)
{
    for (unsigned i = 0; i < EHCI_PACKETS; i++) {
        EhciPacket *k = &e->packets[i];
        if (k->used && k->periodic == periodic && ++k->unseen > patience) {
            drop(k);
        }
    }
}

UsbDevice *ehci_find_device(Ehci *e, unsigned addr)
{
    enum { PORT_PED = 4, PORT_SUSPEND = 0x80 };
    for (unsigned i = 0; i < EHCI_PORTS; i++) {
        EhciPort *p = &e->ports[i];
        bool on = (p->portsc & (PORT_PED | PORT_SUSPEND)) == PORT_PED;
        UsbDevice *d = on ? usb_find_address(&p->port, (uint8_t)addr) : NULL;
        if (d) {
            return d;
        }
    }
    return NULL;
}

/* ---- the end of a transaction (4.10.3, 4.10.4, 4.15.1) ---- */

static QhEnd retire(Ehci *e, uint32_t at, Qh *q, bool is_short)
{
    bool halted = q->token & TOKEN_HALTED;
    if (!store_overlay(e, at, q)) {
        return QH_DONE;
    }
    if (!(q->token & TOKEN_ACTIVE)) {
        ehci_store(e, (q->current & ~31u) + 8, &q->token, 1);
        e->usbsts |= (q->token & TOKEN_IOC || is_short ? EHCI_USBINT : 0) | (halted ? EHCI_ERRINT : 0);
    }
    return QH_DONE;
}

static QhEnd halt(Ehci *e, uint32_t at, Qh *q, uint32_t why)
{
    q->token &= ~(uint32_t)TOKEN_ACTIVE;
    q->token |= TOKEN_HALTED | why;
    return retire(e, at, q, false);
}

/* Nobody answers: as often as the counter says, which takes no time here; without a counter for ever. */
static QhEnd no_answer(Ehci *e, uint32_t at, Qh *q)
{
    if (q->token & TOKEN_CERR) {
        q->token &= ~(uint32_t)TOKEN_CERR;
        return halt(e, at, q, TOKEN_XACT);
    }
    q->token |= TOKEN_XACT;
    store_overlay(e, at, q);
    return QH_WAITS;
}

static QhEnd moved(Ehci *e, uint32_t at, Qh *q, const UsbPacket *p)
{
    unsigned size = q->info >> 16 & 0x7ff, packets = size ? MAX((p->actual + size - 1) / size, 1) : 1;
    bool is_short = p->pid == USB_IN && p->actual < p->len;
    if (p->pid == USB_IN && p->actual && !copy_data(e, q, p->data, p->actual, true)) {
        ehci_died(e, "a buffer is not in memory");
        return QH_DONE;
    }
    unsigned n = p->pid == USB_IN ? p->actual : p->len, to = (q->buf[0] & (PAGE - 1)) + n;
    uint32_t left = TOKEN_BYTES(q->token) - n, page = TOKEN_AT_PAGE(q->token) + to / PAGE;
    q->token &= ~(TOKEN_ALL_BYTES | TOKEN_PAGE);
    q->token |= left << 16 | (page & 7) << 12;
    q->token ^= packets & 1 ? TOKEN_TOGGLE : 0;
    q->buf[0] = (q->buf[0] & ~(PAGE - 1u)) | to % PAGE;
    if (!left || is_short) {
        q->token &= ~(uint32_t)TOKEN_ACTIVE;
    }
    return retire(e, at, q, is_short);
}

static QhEnd finish(Ehci *e, uint32_t at, Qh *q, const UsbPacket *p)
{
    switch (p->result) {
    case USB_OK: return moved(e, at, q, p);
    case USB_NAK: return QH_WAITS;
    case USB_STALL: return halt(e, at, q, 0);
    case USB_BABBLE: return halt(e, at, q, TOKEN_BABBLE);
    default: return no_answer(e, at, q);
    }
}

/* ---- queue heads (4.10) ---- */

/* The next transfer becomes the overlay (4.10.2). False: there is none that is active. */
static bool advance(Ehci *e, uint32_t at, Qh *q)
{
    uint32_t td[QTD_WORDS];
    bool alternate = TOKEN_BYTES(q->token) && !(q->alt & EHCI_LINK_END);
    uint32_t from = alternate ? q->alt : q->next;
    if ((from & EHCI_LINK_END) || !ehci_load(e, from & ~31u, td, QTD_WORDS) || !(td[2] & TOKEN_ACTIVE)) {
        return false;
    }
    uint32_t keep = (q->info & INFO_DTC ? 0 : TOKEN_TOGGLE) | TOKEN_PING;
    q->current = from & ~31u;
    q->next = td[0];
    q->alt = (td[1] & ~0x1eu) | (q->info >> 28) << 1; /* the NAK counter is loaded anew */
    q->token = (td[2] & ~keep) | (q->token & keep);
    memcpy(q->buf, td + 3, sizeof(q->buf));
    q->buf[1] &= ~0xffu; /* what splits remember */
    q->buf[2] &= ~0xfffu;
    return store_overlay(e, at, q);
}

/* Hands the transfer, or of a periodic one a microframe's part, to the device. */
static QhEnd execute(Ehci *e, uint32_t at, Qh *q, bool periodic, EhciWalk *w)
{
    static const uint8_t pids[4] = { USB_OUT, USB_IN, USB_SETUP, 0 };
    unsigned pid = pids[q->token >> 8 & 3], total = TOKEN_BYTES(q->token), page = TOKEN_AT_PAGE(q->token);
    unsigned most = periodic ? (q->info >> 16 & 0x7ff) * MAX(q->caps >> 30, 1) : total;
    if (!pid || page >= PAGES || total + (q->buf[0] & (PAGE - 1)) > (PAGES - page) * PAGE ||
        (total && !most)) {
        guest_error(&e->dev, "ehci: a transfer of %u bytes from page %u on makes no sense", total, page);
        return halt(e, at, q, TOKEN_DBE);
    }
    EhciPacket *k = packet_free(e);
    UsbDevice *d = ehci_find_device(e, q->info & 0x7f);
    if (!d || (q->info >> 12 & 3) != INFO_SPEED_HIGH) {
        return no_answer(e, at, q);
    }
    if (!k) {
        return QH_WAITS;
    }
    unsigned len = MIN(total, most);
    *k = (EhciPacket){ .e = e, .qh = at, .qtd = q->current, .token = q->token, .periodic = periodic };
    k->p = (UsbPacket){ .pid = pid,
                        .ep = q->info >> 8 & 15,
                        .data = g_malloc(MAX(len, 1)),
                        .len = len,
                        .done = packet_done,
                        .opaque = k };
    w->bytes += len;
    if (pid != USB_IN && !copy_data(e, q, k->p.data, len, false)) {
        ehci_died(e, "a buffer is not in memory");
        g_clear_pointer(&k->p.data, g_free);
        return QH_DONE;
    }
    k->used = usb_handle_packet(d, &k->p) == USB_ASYNC;
    if (k->used) {
        return QH_WAITS;
    }
    QhEnd end = finish(e, at, q, &k->p);
    g_clear_pointer(&k->p.data, g_free);
    return end;
}

/* The packet that a device has, or had, for this queue head. */
static QhEnd resume(Ehci *e, uint32_t at, Qh *q, EhciPacket *k)
{
    if (q->current != k->qtd || q->token != k->token) { /* the driver has changed it */
        drop(k);
        return QH_NOTHING;
    }
    k->unseen = 0;
    if (!k->ended) {
        return QH_WAITS;
    }
    QhEnd end = finish(e, at, q, &k->p);
    drop(k);
    return end;
}

/* most: how often something may be done. *link: where to go on; EHCI_LINK_END if there is no queue head. */
static QhEnd run_qh(Ehci *e, uint32_t at, bool periodic, unsigned most, EhciWalk *w, uint32_t *link)
{
    Qh q;
    QhEnd end = QH_NOTHING;
    bool any = false;
    *link = EHCI_LINK_END;
    if (!ehci_load(e, at, &q.link, QH_WORDS)) {
        return QH_DONE;
    }
    *link = q.link;
    EhciPacket *k = packet_of(e, at);
    if (k) {
        end = resume(e, at, &q, k);
        any = end == QH_DONE;
    }
    for (unsigned n = 0; end != QH_WAITS && n < most && w->steps < WALK_STEPS && w->bytes < WALK_BYTES &&
                         (e->usbcmd & EHCI_RS);
         n++) {
        if (!(q.token & TOKEN_ACTIVE)) {
            w->steps++;
            if ((q.token & TOKEN_HALTED) || !advance(e, at, &q)) {
                break;
            }
        }
        end = execute(e, at, &q, periodic, w);
        any |= end == QH_DONE;
    }
    return any ? QH_DONE : end;
}

/* ---- schedules ---- */

/* Once round the ring (4.8), from where it begins. */
bool ehci_run_async(Ehci *e)
{
    EhciWalk w = { .steps = 0 };
    uint32_t at = e->async;
    do {
        uint32_t link;
        w.steps++;
        w.done_any |= run_qh(e, at, false, VISIT_QTDS, &w, &link) == QH_DONE;
        if ((link & EHCI_TYPE) != EHCI_TYPE_QH) {
            break; /* 3.6: queue heads are all that may be here */
        }
        at = link & ~31u;
    } while (at != e->async && w.steps < WALK_STEPS && w.bytes < WALK_BYTES && (e->usbcmd & EHCI_RS));
    forget_unseen(e, false, WALK_STEPS);
    e->usbsts &= ~(uint32_t)EHCI_RECLAMATION;
    e->usbsts |= w.done_any ? EHCI_RECLAMATION : 0;
    return w.done_any;
}

/* 4.8.2: nothing that was taken out of the ring is known any more. */
void ehci_doorbell(Ehci *e)
{
    bool on = (e->usbcmd & (EHCI_RS | EHCI_ASE)) == (EHCI_RS | EHCI_ASE);
    for (unsigned i = 0; i < EHCI_PACKETS; i++) {
        e->packets[i].unseen += e->packets[i].periodic ? 0 : 2 * WALK_STEPS;
    }
    if (on) {
        ehci_run_async(e);
    }
    e->usbcmd &= ~(uint32_t)EHCI_IAAD;
    e->usbsts |= EHCI_IAA;
}

/* What the frame list says for one frame (4.4). */
bool ehci_run_frame(Ehci *e)
{
    EhciWalk w = { .steps = 0 };
    uint32_t link;
    if (!ehci_load(e, e->periodic + 4 * (e->frame % EHCI_LIST), &link, 1)) {
        return true;
    }
    while (!(link & EHCI_LINK_END) && w.steps < WALK_STEPS && w.bytes < WALK_BYTES && (e->usbcmd & EHCI_RS)) {
        uint32_t at = link & ~31u, caps;
        w.steps++;
        switch (link & EHCI_TYPE) {
        case EHCI_TYPE_ITD: w.done_any |= ehci_run_itd(e, at, &w, &link); break;
        case EHCI_TYPE_SITD: w.done_any |= ehci_run_sitd(e, at, &link); break;
        case EHCI_TYPE_QH: /* once in each microframe of its mask */
            if (!ehci_load(e, at + 8, &caps, 1)) {
                return true;
            }
            w.done_any |=
                run_qh(e, at, true, (unsigned)__builtin_popcount(caps & 0xff), &w, &link) == QH_DONE;
            break;
        default: /* FSTN (3.7): nothing here is split over frames */
            if (!ehci_load(e, at, &link, FSTN_WORDS)) {
                return true;
            }
            break;
        }
    }
    forget_unseen(e, true, PERIODIC_PATIENCE);
    return w.done_any;
}

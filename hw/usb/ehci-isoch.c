/* SPDX-License-Identifier: MIT
 * hw/usb/ehci-isoch.c - EHCI's isochronous transfers.
 *
 * Models: EHCI 1.0: 3.3 and 4.7 (iTD), 3.4 and 4.12.3 (siTD). The eight transactions of an iTD are done at
 *         the end of its frame. A siTD speaks to the transaction translator of a high-speed hub: no hub here
 *         has one, so that nobody answers, which an OUT does not notice and an IN calls a transaction error.
 * Threads: the platform domain. A structure is one step of its walk; an iTD moves 8 times 3 KiB at most.
 */
#include "ehci.h"

enum { ITD_WORDS = 16, ITD_SLOTS = 8, ITD_PAGES = 7, PAGE = 4096, PACKET_MOST = 3 * 1024 };
enum {
    ITD_ACTIVE = 1u << 31,
    ITD_DBE = 1 << 30,
    ITD_BABBLE = 1 << 29,
    ITD_XACT = 1 << 28,
    ITD_IOC = 1 << 15
};
enum { ITD_IN = 1 << 11 };
enum { SITD_ACTIVE = 1 << 7, SITD_XACT = 1 << 3, SITD_IN = 1u << 31, SITD_IOC = 1u << 31 };

/* The bytes of one transaction: they may cross into the next page. False: not in memory, or not in the iTD.
 */
static bool copy(Ehci *e, const uint32_t *itd, uint32_t slot, uint8_t *data, unsigned len, bool to_guest)
{
    unsigned page = slot >> 12 & 7, off = slot & (PAGE - 1);
    while (len) {
        unsigned n = MIN(len, PAGE - off);
        if (page >= ITD_PAGES || dma_copy(&pci_func(&e->dev)->dma, (itd[9 + page] & ~(PAGE - 1u)) + off, data,
                                          n, to_guest) != MEM_OK) {
            return false;
        }
        data += n;
        len -= n;
        off = 0;
        page++;
    }
    return true;
}

/* One of the eight: what its word becomes. */
static uint32_t transaction(Ehci *e, const uint32_t *itd, uint32_t slot)
{
    uint8_t data[PACKET_MOST];
    unsigned most = (itd[10] & 0x7ff) * MAX(itd[11] & 3, 1), len = slot >> 16 & 0xfff;
    bool in = itd[10] & ITD_IN;
    uint32_t rest = slot & 0xffff;
    UsbPacket p = { .pid = in ? USB_IN : USB_OUT,
                    .ep = itd[9] >> 8 & 15,
                    .data = data,
                    .len = MIN(MIN(len, most), PACKET_MOST),
                    .result = USB_ERROR };
    if (len > PACKET_MOST || (!in && !copy(e, itd, slot, data, p.len, false))) {
        return rest | (uint32_t)ITD_DBE | len << 16;
    }
    UsbDevice *d = ehci_find_device(e, itd[9] & 0x7f);
    if (d && usb_handle_packet(d, &p) == USB_ASYNC) { /* it has no time */
        usb_cancel_packet(&p);
        p.result = USB_NAK;
    }
    if (!in) { /* there is no handshake */
        return rest | len << 16;
    }
    if (p.result == USB_ERROR || p.result == USB_STALL) {
        return rest | ITD_XACT;
    }
    if (p.result == USB_BABBLE) {
        return rest | ITD_BABBLE;
    }
    return rest | (copy(e, itd, slot, data, p.actual, true) ? 0 : ITD_DBE) | p.actual << 16;
}

bool ehci_run_itd(Ehci *e, uint32_t at, EhciWalk *w, uint32_t *next)
{
    uint32_t itd[ITD_WORDS];
    bool any = false;
    *next = EHCI_LINK_END;
    if (!ehci_load(e, at, itd, ITD_WORDS)) {
        return true;
    }
    *next = itd[0];
    for (unsigned i = 1; i <= ITD_SLOTS; i++) {
        if (!(itd[i] & (uint32_t)ITD_ACTIVE)) {
            continue;
        }
        any = true;
        bool ioc = itd[i] & ITD_IOC;
        itd[i] = transaction(e, itd, itd[i]);
        w->bytes += itd[i] >> 16 & 0xfff;
        if (!ehci_store(e, at + 4 * i, &itd[i], 1)) {
            return true;
        }
        e->usbsts |= (ioc ? EHCI_USBINT : 0) | (itd[i] & (ITD_DBE | ITD_BABBLE | ITD_XACT) ? EHCI_ERRINT : 0);
    }
    return any;
}

bool ehci_run_sitd(Ehci *e, uint32_t at, uint32_t *next)
{
    uint32_t sitd[4];
    *next = EHCI_LINK_END;
    if (!ehci_load(e, at, sitd, 4)) {
        return true;
    }
    *next = sitd[0];
    if (!(sitd[3] & SITD_ACTIVE)) {
        return false;
    }
    bool in = sitd[1] & (uint32_t)SITD_IN;
    sitd[3] &= ~(uint32_t)SITD_ACTIVE;
    sitd[3] |= in ? SITD_XACT : 0;
    sitd[3] &= in ? UINT32_MAX : ~(UINT32_C(0x3ff) << 16);
    e->usbsts |= (sitd[3] & (uint32_t)SITD_IOC ? EHCI_USBINT : 0) | (in ? EHCI_ERRINT : 0);
    ehci_store(e, at + 12, &sitd[3], 1);
    return true;
}

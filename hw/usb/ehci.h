/* SPDX-License-Identifier: MIT
 * hw/usb/ehci.h - what the pieces of the EHCI controllers tell each other. All in the platform domain.
 */
#ifndef HW_USB_EHCI_H
#define HW_USB_EHCI_H

#include "rhea/hw/pci.h"
#include "rhea/hw/usb.h"

enum { EHCI_PORTS = 6, EHCI_PACKETS = 32, EHCI_LIST = 1024 };
enum { EHCI_FRAME_NS = 1000000, EHCI_UFRAME_NS = 125000 };
enum { EHCI_RS = 1, EHCI_HCRESET = 2, EHCI_PSE = 0x10, EHCI_ASE = 0x20, EHCI_IAAD = 0x40 };
enum {
    EHCI_USBINT = 1,
    EHCI_ERRINT = 2,
    EHCI_PCD = 4,
    EHCI_FLR = 8,
    EHCI_HSE = 0x10,
    EHCI_IAA = 0x20,
    EHCI_STATUS = 0x3f, /* what interrupts; cleared by writing ones */
    EHCI_HALTED = 0x1000,
    EHCI_RECLAMATION = 0x2000,
    EHCI_PSS = 0x4000,
    EHCI_ASS = 0x8000
};
enum { EHCI_LINK_END = 1, EHCI_TYPE = 6, EHCI_TYPE_ITD = 0, EHCI_TYPE_QH = 2, EHCI_TYPE_SITD = 4 };

/* A transaction's packet, or several ones of a qTD, that a device has. */
typedef struct EhciPacket {
    UsbPacket p;
    struct Ehci *e;
    uint32_t qh, qtd, token; /* what it was made of */
    bool used, ended, periodic;
    unsigned unseen; /* walks since its queue head was met */
} EhciPacket;

typedef struct EhciPort {
    UsbPort port;      /* the bus's */
    UsbPort *theirs;   /* the companion's view of it; NULL: there is none */
    UsbBus *companion; /* with `theirs` only */
    uint32_t portsc;
} EhciPort;

typedef struct Ehci {
    Device dev;
    MemRegion bar;
    IrqLine intx;
    UsbBus bus;
    Timer tick;
    DomainTask kick; /* a packet has ended */
    EhciPort ports[EHCI_PORTS];
    EhciPacket packets[EHCI_PACKETS];
    unsigned companions;
    uint32_t maxframes; /* property */
    /* guest-visible state */
    uint32_t usbcmd, usbsts, usbintr, frame, periodic, async, configflag;
    int64_t last;   /* when `frame`, modulo 2048, began */
    uint32_t quiet; /* ticks in which nothing happened: it decides when the next one is */
} Ehci;

/* One go over a schedule: what it may still do. */
typedef struct EhciWalk {
    unsigned steps, bytes; /* structures that were looked at, bytes that were moved */
    bool done_any;
} EhciWalk;

/* ehci.c */
void ehci_died(Ehci *e, const char *why); /* a host system error: it stops */
void ehci_update(Ehci *e);                /* the interrupt */
void ehci_soon(Ehci *e);                  /* something may have changed in a schedule */

/* ehci-sched.c. Memory: false: there is none, and the controller has stopped. n: 32-bit words. */
bool ehci_load(Ehci *e, uint32_t at, uint32_t *v, unsigned n);
bool ehci_store(Ehci *e, uint32_t at, const uint32_t *v, unsigned n);
UsbDevice *ehci_find_device(Ehci *e, unsigned addr);
void ehci_drop_packets(Ehci *e, bool async, bool periodic);
void ehci_drop_packets_of(Ehci *e, const UsbDevice *d); /* and of devices behind it */
bool ehci_run_async(Ehci *e);                           /* true: something was done */
bool ehci_run_frame(Ehci *e);
void ehci_doorbell(Ehci *e);

/* ehci-isoch.c: one frame's part. True: something was done. */
bool ehci_run_itd(Ehci *e, uint32_t at, EhciWalk *w, uint32_t *next);
bool ehci_run_sitd(Ehci *e, uint32_t at, uint32_t *next);

#endif

/* SPDX-License-Identifier: MIT
 * hw/usb/xhci.h - the parts of the xHCI controller: xhci.c has registers and ports, xhci-ring.c the rings,
 * xhci-cmd.c commands, xhci-xfer.c transfers. Sections are those of the xHCI specification, revision 1.1.
 */
#ifndef HW_USB_XHCI_H
#define HW_USB_XHCI_H

#include "rhea/hw/msi.h"
#include "rhea/hw/msix.h"
#include "rhea/hw/usb.h"
#include "rhea/system/machine.h"

enum { XHCI_PORTS = 15, XHCI_SLOTS = 64, XHCI_INTRS = 16, XHCI_EPS = 31, XHCI_TRB = 16 };
enum { XHCI_TD_TRBS = 1024, XHCI_TD_MAX = 4 << 20, XHCI_LINKS = 32 };
enum { XHCI_TURN = 64, XHCI_TURN_BYTES = 1 << 20 };
enum { /* 6.4.6 */
       TRB_NORMAL = 1,
       TRB_SETUP,
       TRB_DATA,
       TRB_STATUS,
       TRB_ISOCH,
       TRB_LINK,
       TRB_EVENT_DATA,
       TRB_NOOP,
       TRB_ENABLE_SLOT,
       TRB_DISABLE_SLOT,
       TRB_ADDRESS,
       TRB_CONFIGURE,
       TRB_EVALUATE,
       TRB_RESET_EP,
       TRB_STOP_EP,
       TRB_SET_DEQUEUE,
       TRB_RESET_DEVICE,
       TRB_NOOP_COMMAND = 23,
       TRB_TRANSFER_EVENT = 32,
       TRB_COMMAND_EVENT,
       TRB_PORT_EVENT,
       TRB_HOST_EVENT = 37,
       TRB_NEC_COMMAND_EVENT = 48,
       TRB_NEC_FIRMWARE = 49
};
enum {
    TRB_CYCLE = 1,
    TRB_TOGGLE = 2,
    TRB_ISP = 4,
    TRB_CHAIN = 1 << 4,
    TRB_IOC = 1 << 5,
    TRB_IDT = 1 << 6,
    TRB_BSR = 1 << 9,
    TRB_DECONFIGURE = 1 << 9,
    TRB_DIR_IN = 1 << 16
};
enum { /* 6.4.5 */
       CC_SUCCESS = 1,
       CC_BABBLE = 3,
       CC_TRANSACTION = 4,
       CC_TRB = 5,
       CC_STALL = 6,
       CC_NO_SLOTS = 9,
       CC_SLOT_DISABLED = 11,
       CC_EP_DISABLED = 12,
       CC_SHORT = 13,
       CC_PARAMETER = 17,
       CC_CONTEXT_STATE = 19,
       CC_RING_FULL = 21,
       CC_RING_STOPPED = 24,
       CC_COMMAND_ABORTED = 25,
       CC_STOPPED = 26
};
typedef enum XhciEpState { EP_DISABLED, EP_RUNNING, EP_HALTED, EP_STOPPED, EP_ERROR, EP_STATES } XhciEpState;
typedef enum XhciSlotState {
    SLOT_DISABLED,
    SLOT_DEFAULT,
    SLOT_ADDRESSED,
    SLOT_CONFIGURED,
    SLOT_STATES
} XhciSlotState;
enum { EPTYPE_CONTROL = 4, EPTYPE_IN = 4 }; /* 6.2.3: 1 to 3 OUT, 5 to 7 IN */

typedef struct XhciTrb {
    uint64_t param;
    uint32_t status, control;
    uint64_t addr; /* where it was */
} XhciTrb;
static inline unsigned trb_type(const XhciTrb *t)
{
    return t->control >> 10 & 0x3f;
}

typedef struct XhciRing { /* the consumer's side */
    uint64_t dequeue;
    bool ccs;
} XhciRing;

typedef struct XhciTransfer { /* one TD that a device has */
    UsbPacket p;
    struct Xhci *x;
    uint8_t slot, dci;
    XhciTrb *trbs;
    unsigned n;
    XhciRing next; /* behind it */
} XhciTransfer;

typedef struct XhciEp {
    XhciRing ring;
    uint8_t state, type;
    bool again;      /* more to do in another turn */
    XhciTransfer *t; /* NULL: none under way */
} XhciEp;

typedef struct XhciSlot {
    uint64_t context;
    uint8_t state, port; /* port: number, from 1 */
    uint16_t intr;
    uint32_t route;
    bool enabled;
    UsbDevice *dev;          /* NULL: nobody is there (any more) */
    XhciEp ep[XHCI_EPS + 1]; /* by device context index; 0 unused */
} XhciSlot;

typedef struct XhciIntr {
    uint32_t iman, imod, erstsz;
    uint64_t erstba, erdp;
    uint64_t base;     /* of the one segment */
    uint32_t size, at; /* TRBs */
    bool fresh, pcs;   /* fresh: the segment table is to be read */
} XhciIntr;

typedef struct XhciPort {
    uint32_t portsc;
    UsbPort *port;
    bool super;
} XhciPort;

typedef struct Xhci {
    Device dev;
    MemRegion bar, cap, oper, run, bell;
    IrqLine intx;
    PciMsix msix;
    PciMsi msi;
    UsbBus bus;
    UsbPort uport[XHCI_PORTS];
    DomainTask more;
    MachineListener listener;
    bool nec;
    bool loaded; /* slots do not know their devices yet */
    /* properties */
    uint32_t p2, p3, slots, intrs;
    int use_msi, use_msix;
    bool super_first;
    /* guest-visible state */
    unsigned n_ports;
    XhciPort ports[2 * XHCI_PORTS];
    uint32_t usbcmd, usbsts, dnctrl, config;
    uint64_t dcbaap;
    XhciRing command;
    bool command_runs, command_more;
    int64_t started;
    XhciIntr intr[XHCI_INTRS];
    XhciSlot slot[XHCI_SLOTS + 1]; /* by number; 0 unused */
} Xhci;

enum {
    CMD_RUN = 1,
    CMD_RESET = 2,
    CMD_INTE = 4,
    CMD_CSS = 1 << 8,
    CMD_CRS = 1 << 9,
    STS_HALTED = 1,
    STS_HSE = 4,
    STS_EINT = 8,
    STS_PCD = 16,
    STS_SRE = 1 << 10
};

/* xhci-ring.c */
bool xhci_read(Xhci *x, uint64_t at, void *buf,
               size_t len); /* false: no memory; the controller has stopped */
bool xhci_write(Xhci *x, uint64_t at, const void *buf, size_t len);
bool xhci_read32(Xhci *x, uint64_t at, uint32_t *v, unsigned n);
bool xhci_write32(Xhci *x, uint64_t at, const uint32_t *v, unsigned n);
void xhci_died(Xhci *x); /* a host system error */
/* The next TRB that is not a link; r moves behind it. False: there is none (yet); *bad: the ring leads
 * nowhere. */
bool xhci_fetch(Xhci *x, XhciRing *r, XhciTrb *t, bool *bad);
void xhci_event(Xhci *x, unsigned intr, unsigned type, unsigned cc, uint64_t param, uint32_t status,
                uint32_t control);
void xhci_update_interrupt(Xhci *x);
void xhci_write_erdp(Xhci *x, XhciIntr *i, uint64_t val);

/* xhci-cmd.c */
void xhci_run_commands(Xhci *x);
void xhci_drop_slot(Xhci *x, unsigned n); /* its transfers end, the slot is free */
void xhci_find_device(Xhci *x, XhciSlot *s);
void xhci_find_loaded(Xhci *x); /* after a load: every slot's */

/* xhci-xfer.c */
void xhci_kick(Xhci *x, unsigned slot, unsigned dci);
void xhci_stop_ep(Xhci *x, unsigned slot, unsigned dci, bool tell); /* what is under way ends */
void xhci_set_ep_state(Xhci *x, unsigned slot, unsigned dci, XhciEpState state);

extern const DeviceType qemu_xhci_type, nec_usb_xhci_type;

#endif

/* SPDX-License-Identifier: MIT
 * hw/net/e1000.h - the 82540EM network card, as its files share it, and what the 82574L (e1000e.c) has of it.
 * Numbers are those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
 * (317453), abbreviated SDM here.
 */
#ifndef HW_NET_E1000_H
#define HW_NET_E1000_H

#include "nic.h"
#include "rhea/hw/pci.h"
#include "rhea/net/net.h"
#include "rhea/system/machine.h"

enum { /* 13.3: registers */
       E_CTRL = 0x0000,
       E_STATUS = 0x0008,
       E_EECD = 0x0010,
       E_EERD = 0x0014,
       E_CTRL_EXT = 0x0018,
       E_MDIC = 0x0020,
       E_FCAL = 0x0028,
       E_FCAH = 0x002c,
       E_FCT = 0x0030,
       E_VET = 0x0038,
       E_ICR = 0x00c0,
       E_ITR = 0x00c4,
       E_ICS = 0x00c8,
       E_IMS = 0x00d0,
       E_IMC = 0x00d8,
       E_RCTL = 0x0100,
       E_FCTTV = 0x0170,
       E_TXCW = 0x0178,
       E_RXCW = 0x0180,
       E_TCTL = 0x0400,
       E_TIPG = 0x0410,
       E_AIFS = 0x0458,
       E_LEDCTL = 0x0e00,
       E_PBA = 0x1000,
       E_FCRTL = 0x2160,
       E_FCRTH = 0x2168,
       E_RDBAL = 0x2800,
       E_RDBAH = 0x2804,
       E_RDLEN = 0x2808,
       E_RDH = 0x2810,
       E_RDT = 0x2818,
       E_RDTR = 0x2820,
       E_RXDCTL = 0x2828,
       E_RADV = 0x282c,
       E_RSRPD = 0x2c00,
       E_TDBAL = 0x3800,
       E_TDBAH = 0x3804,
       E_TDLEN = 0x3808,
       E_TDH = 0x3810,
       E_TDT = 0x3818,
       E_TIDV = 0x3820,
       E_TXDCTL = 0x3828,
       E_TADV = 0x382c,
       E_TSPMT = 0x3830,
       E_STATS = 0x4000, /* 64 of them, cleared by reading */
       E_RXCSUM = 0x5000,
       E_MTA = 0x5200,
       E_RA = 0x5400,
       E_VFTA = 0x5600,
       E_WUC = 0x5800,
       E_WUFC = 0x5808,
       E_WUS = 0x5810,
       E_MANC = 0x5820,
       E_SIZE = 0x20000,
       E_REGS = 0x6000 / 4, /* what is kept */
};
enum { /* 13.7 to 13.7.30: the statistics that are counted */
       E_MPC = 0x4010,
       E_GPRC = 0x4074,
       E_BPRC = 0x4078,
       E_MPRC = 0x407c,
       E_GPTC = 0x4080,
       E_GORCL = 0x4088,
       E_GOTCL = 0x4090,
       E_RNBC = 0x40a0,
       E_TORL = 0x40c0,
       E_TOTL = 0x40c8,
       E_TPR = 0x40d0,
       E_TPT = 0x40d4,
       E_MPTC = 0x40f0,
       E_BPTC = 0x40f4,
       E_TSCTC = 0x40f8,
};
enum { CTRL_SLU = 1 << 6, CTRL_RST = 1 << 26, CTRL_VME = 1 << 30 };
/* 13.4.17: causes of an interrupt */
enum { INT_TXDW = 1 << 0, INT_TXQE = 1 << 1, INT_LSC = 1 << 2 };
enum { INT_RXDMT0 = 1 << 4, INT_RXO = 1 << 6, INT_RXT0 = 1 << 7, INT_MDAC = 1 << 9 };
enum { DESC_BYTES = 16, QUEUE_STEP = 0x100, TX_MAX = 65536 + 256, PHY_REGS = 32, RX_LONGEST = 16384 };
enum { RCTL_EN = 1 << 1 };
enum { RXD_DD = 1, RXD_EOP = 2, RXD_IXSM = 4, RXD_VP = 8, RXD_TCPCS = 0x20, RXD_IPCS = 0x40 };

typedef struct E1000Context { /* 3.3.6: what segmentation and checksums refer to */
    uint8_t ipcss, ipcso, tucss, tucso, hdrlen, cmd;
    uint16_t ipcse, tucse, mss;
    uint32_t paylen;
} E1000Context;

typedef struct E1000Tx { /* a transmit queue's frame that is being put together */
    uint8_t queue;   /* set by the device, like what follows */
    uint32_t cause;  /* of the interrupt that says it is done */
    E1000Context ctx, tso; /* of checksums; of segmentation */
    NetHdr hdr;      /* of a complete one */
    bool stalled;    /* complete, and the network had no room */
    bool skip;       /* longer than any frame: the rest is not looked at */
    bool tse;
    uint8_t popts, css, cso, cmd;
    uint16_t special;
    uint32_t len;
    uint8_t data[TX_MAX];
} E1000Tx;

struct E1000;
typedef struct E1000Kind { /* in what cards differ */
    const char *name;
    const uint16_t *eeprom, *phy; /* words behind the address; registers after the PHY's reset */
    const NicOps *nic;
    uint32_t (*read)(struct E1000 *s, unsigned at); /* at: a multiple of four, below E_SIZE */
    void (*write)(struct E1000 *s, unsigned at, uint32_t val);
    void (*interrupt)(struct E1000 *s, uint32_t cause);
    void (*throttled)(void *dev);    /* ITR's time is over */
    void (*go_on)(void *s);          /* transmits what is there */
} E1000Kind;

typedef struct E1000 {
    Device dev;
    NetPort port;
    NetMac mac;
    int32_t bootindex;
    MemRegion mem, io;
    IrqLine irq;
    Microwire eeprom;
    const E1000Kind *kind;
    DomainTask more; /* transmits on */
    NetQueueInfo count[2]; /* of the 82574's queues */
    /* guest-visible state */
    uint32_t reg[E_REGS];
    uint32_t io_addr;
    uint16_t phy[PHY_REGS];
    bool line;
    Timer throttle; /* ITR: no interrupt before */
    E1000Tx tx;
} E1000;

static inline uint32_t *e1000_reg(E1000 *s, unsigned at)
{
    return &s->reg[at / 4];
}

/* Everything by one register access: what queue's register is meant, of those that each queue has. */
static inline uint32_t *e1000_queue_reg(E1000 *s, unsigned at, unsigned queue)
{
    return e1000_reg(s, at + queue * QUEUE_STEP);
}

/* e1000.c */
bool e1000_setup(E1000 *s, const E1000Kind *kind, Error **errp); /* realize, in common */
uint32_t e1000_read(E1000 *s, unsigned at);                /* a register that no card has for itself */
void e1000_write(E1000 *s, unsigned at, uint32_t val);     /* likewise */
void e1000_link_changed(Device *dev, bool up);
bool e1000_loaded(E1000 *s, Error **errp); /* post_load, in common */
extern const VmState e1000_common_state;
void e1000_count(E1000 *s, unsigned at, uint32_t n);   /* sticks at its maximum */
void e1000_count64(E1000 *s, unsigned at, uint32_t n); /* low register, high behind it */
bool e1000_throttled(E1000 *s); /* no interrupt now, the timer looks again; else none before it fires */
void e1000_reset_address(E1000 *s); /* RA[0] is the card's own */

/* e1000-phy.c */
void e1000_make_eeprom(E1000 *s);
uint32_t e1000_eecd_read(const E1000 *s);
void e1000_eecd_write(E1000 *s, uint32_t val);
/* done: the bit that says so; the address is above it. */
void e1000_eerd_write(E1000 *s, uint32_t val, unsigned done);
void e1000_mdic_write(E1000 *s, uint32_t val);
void e1000_phy_reset(E1000 *s);
void e1000_phy_link(E1000 *s, bool up);

/* e1000-tx.c */
void e1000_transmit(E1000 *s, E1000Tx *t); /* until the ring is empty or the network full */
void e1000_tx_reset(E1000Tx *t);
bool e1000_tx_loaded(E1000Tx *t, Error **errp); /* after a load */
extern const VmState e1000_tx_state;

/* e1000-rx.c */
bool e1000_receive(Device *dev, const NetFrame *f);
bool e1000_accepts(E1000 *s, const NetFrame *f); /* the filters of 3.2.1 */
/* A frame as it lies in memory: at least 60 bytes, without its tag when that is stripped, with a CRC when it
 * is not. out: RX_LONGEST + 64 bytes. */
size_t e1000_lay_out(E1000 *s, const NetFrame *f, uint8_t *out, uint8_t *status, uint16_t *tag);
uint8_t e1000_csum_status(E1000 *s, const NetFrame *f); /* what the network has checked already */
uint32_t e1000_buffer_bytes(uint32_t rctl);
void e1000_count_received(E1000 *s, const NetFrame *f);

#endif

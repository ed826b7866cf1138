/* SPDX-License-Identifier: MIT
 * hw/net/e1000.h - the 82540EM network card, as its files share it. Numbers are those of Intel's "PCI/PCI-X
 * Family of Gigabit Ethernet Controllers Software Developer's Manual" (317453), abbreviated SDM here.
 */
#ifndef HW_NET_E1000_H
#define HW_NET_E1000_H

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
enum { DESC_BYTES = 16, RING_STEP = 512, TX_MAX = 65536 + 256, EEPROM_WORDS = 64, PHY_REGS = 32 };

typedef struct E1000Context { /* 3.3.6: what segmentation and checksums refer to */
    uint8_t ipcss, ipcso, tucss, tucso, hdrlen, cmd;
    uint16_t ipcse, tucse, mss;
    uint32_t paylen;
} E1000Context;

typedef struct E1000 {
    Device dev;
    NetPort port;
    NetMac mac;
    int32_t bootindex;
    MemRegion mem, io;
    IrqLine irq;
    uint16_t eeprom[EEPROM_WORDS]; /* made at set-up */
    DomainTask more;
    /* guest-visible state */
    uint32_t reg[E_REGS];
    uint32_t io_addr;
    uint16_t phy[PHY_REGS];
    bool line;
    Timer throttle; /* ITR: no interrupt before */
    /* the EEPROM's wires */
    uint8_t ee_count, ee_bit;
    uint16_t ee_shift, ee_out;
    /* the frame that is being put together */
    E1000Context ctx;
    NetHdr tx_hdr;   /* of a complete one */
    bool tx_stalled; /* complete, and the network had no room */
    bool tx_skip;    /* longer than any frame: the rest is not looked at */
    bool tx_tse;
    uint8_t tx_popts, tx_css, tx_cso, tx_cmd;
    uint16_t tx_special;
    uint32_t tx_len;
    uint8_t tx[TX_MAX];
} E1000;

static inline uint32_t *e1000_reg(E1000 *s, unsigned at)
{
    return &s->reg[at / 4];
}

/* e1000.c */
void e1000_interrupt(E1000 *s, uint32_t cause);
void e1000_count(E1000 *s, unsigned at, uint32_t n);   /* sticks at its maximum */
void e1000_count64(E1000 *s, unsigned at, uint32_t n); /* low register, high behind it */

/* e1000-phy.c */
void e1000_make_eeprom(E1000 *s);
uint32_t e1000_eecd_read(const E1000 *s);
void e1000_eecd_write(E1000 *s, uint32_t val);
void e1000_eerd_write(E1000 *s, uint32_t val);
void e1000_mdic_write(E1000 *s, uint32_t val);
void e1000_phy_reset(E1000 *s);
void e1000_phy_link(E1000 *s, bool up);

/* e1000-tx.c */
void e1000_transmit(E1000 *s); /* until the ring is empty or the network full */

/* e1000-rx.c */
bool e1000_receive(Device *dev, const NetFrame *f);

#endif

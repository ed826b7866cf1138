/* SPDX-License-Identifier: MIT
 * hw/net/e1000e.h - the 82574L network card, as its files share it. Numbers of sections are those of Intel's
 * "82574 GbE Controller Family Datasheet" (317694).
 */
#ifndef HW_NET_E1000E_H
#define HW_NET_E1000E_H

#include "e1000.h"
#include "rhea/hw/msi.h"
#include "rhea/hw/msix.h"

enum { /* 10.1: registers that the 82540EM does not have */
       E_EIAC = 0x00dc,
       E_IAM = 0x00e0,
       E_IVAR = 0x00e4,
       E_EITR = 0x00e8,
       E_EXTCNF_CTRL = 0x0f00,
       E_EEMNGCTL = 0x1010,
       E_PSRCTL = 0x2170,
       E_TARC = 0x3840,
       E_RFCTL = 0x5008,
       E_MRQC = 0x5818,
       E_FACTPS = 0x5b30,
       E_SWSM = 0x5b50,
       E_FWSM = 0x5b54,
       E_RETA = 0x5c00,
       E_RSSRK = 0x5c80,
};
enum { E_QUEUES = 2, E_VECTORS = 5 };
/* 10.2.4.1: causes of an interrupt, from RXQ0 on the five that MSI-X vectors are for */
enum { INT_RXQ0 = 1 << 20, INT_TXQ0 = 1 << 22, INT_OTHER = 1 << 24, INT_FIRST_VECTOR = 20 };

typedef struct E1000e {
    E1000 e; /* all that both cards have; its tx is queue 0 */
    E1000Tx tx1;
    PciOps ops;
    PciMsix msix;
    PciMsi msi;
    uint16_t subsys_ven, subsys; /* properties */
    Timer moderate[E_VECTORS];   /* EITR: no message of this vector before */
    uint32_t waiting;            /* causes whose messages were put off */
} E1000e;
#define e1000e_of(S) ((E1000e *)(S))

/* e1000e-rx.c */
bool e1000e_receive(Device *dev, const NetFrame *f);

#endif

/* SPDX-License-Identifier: MIT
 * hw/ide/ahci.h - the seam inside the AHCI controller: registers and interrupts (ahci.c), commands of a port
 * (ahci-port.c).
 */
#ifndef HW_IDE_AHCI_H
#define HW_IDE_AHCI_H

#include "ide.h"
#include "rhea/hw/msi.h"

enum { AHCI_PORTS = 6, AHCI_SLOTS = 32, AHCI_NO_SLOT = 0xff, AHCI_CHUNK = 512 << 10 };
enum { /* PxIS, PxIE (AHCI 1.3.1, 3.3.5) */
       PORT_DHRS = 1 << 0,
       PORT_PSS = 1 << 1,
       PORT_SDBS = 1 << 3,
       PORT_PCS = 1 << 6,
       PORT_PRCS = 1 << 22,
       PORT_OFS = 1 << 24,
       PORT_HBFS = 1 << 29,
       PORT_TFES = 1 << 30,
};
enum { /* PxCMD (3.3.7) */
       CMD_ST = 1 << 0,
       CMD_SUD = 1 << 1,
       CMD_POD = 1 << 2,
       CMD_CLO = 1 << 3,
       CMD_FRE = 1 << 4,
       CMD_CCS_SHIFT = 8,
       CMD_FR = 1 << 14,
       CMD_CR = 1 << 15,
       CMD_ATAPI = 1 << 24,
       CMD_DLAE = 1 << 25,
};
enum { SERR_X = 1 << 26 }; /* PxSERR.DIAG.X: a device was found */

typedef struct AhciSg { /* where a command's data is, and how far it has got */
    uint64_t table;
    uint32_t n, index, off;
} AhciSg;

typedef struct AhciTag { /* a queued command */
    struct AhciPort *port;
    struct AhciQueued *request; /* in flight; NULL: none, or it waits for forgotten ones to end */
    /* guest-visible state */
    bool active, write, fua;
    uint64_t lba;
    uint32_t left; /* sectors, from the start of the chunk in flight */
    AhciSg sg;     /* there, too */
} AhciTag;

typedef struct AhciPort {
    IdeChannel ide;
    struct Ahci *hba;
    bool running; /* in ahci_port_run() */
    AhciTag tag[AHCI_SLOTS];
    /* guest-visible state */
    uint64_t clb, fb;
    uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
    uint8_t slot, last_slot; /* the command that is not queued and runs, AHCI_NO_SLOT: none; the latest */
    bool halted, soft_reset; /* after an error, until ST is cleared; between the two FISes of a reset */
    bool packet, pio_in;     /* of that command: ACMD is still to be sent; data came by PIO */
    uint8_t acmd[16];
    uint32_t moved; /* bytes: PRDBC */
    AhciSg sg;
} AhciPort;

typedef struct Ahci {
    Device dev;
    MemRegion abar;
    IrqLine intx;
    PciMsi msi;
    DomainTask resume;
    AhciPort port[AHCI_PORTS];
    uint32_t ghc, is; /* guest-visible state */
} Ahci;

/* ahci.c */
void ahci_port_event(AhciPort *p, uint32_t bits); /* sets bits of PxIS */

/* ahci-port.c */
extern const IdeOps ahci_ide_ops;
extern const VmState ahci_tag_state, ahci_sg_state;
void ahci_port_run(AhciPort *p);       /* starts what can be started, goes on with what can go on */
void ahci_port_resume(AhciPort *p);    /* after a load, or when the last forgotten request has ended */
void ahci_port_forget(AhciPort *p);    /* the tags' requests: a loaded port has made none */
void ahci_port_stop(AhciPort *p);      /* ST was cleared: forgets all commands */
void ahci_port_signature(AhciPort *p); /* the device's first FIS after a reset */
void ahci_port_defaults(AhciPort *p);  /* the registers after a reset; the drive is left alone */

#endif

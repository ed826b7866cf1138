/* SPDX-License-Identifier: MIT
 * hw/i386/tco.h - the TCO timer of the ICH9: a watchdog, in the 32 bytes at PMBASE + 60h.
 *
 * Embedded in the LPC bridge, whose VmState table has VM_STRUCT(T, tco, ich_tco_state). The device's domain.
 */
#ifndef HW_I386_TCO_H
#define HW_I386_TCO_H

#include "rhea/system/machine.h"

enum { TCO_BASE = 0x60, TCO_SIZE = 0x20 };
enum { TCO_SMI = 1, TCO_REBOOT = 2 }; /* what follows from an access or from time */

typedef struct IchTco {
    Device *dev;
    uint16_t initial, sts1, sts2, cnt1, cnt2; /* guest-visible state */
    uint8_t dat_in, dat_out, wdcnt, sw_irq, message[2];
    bool timed_out; /* once, since the last reload */
    uint16_t left;  /* while halted: the count; 0: never loaded */
    Timer timer;
} IchTco;

void ich_tco_init(IchTco *t, Device *dev, void (*fire)(void *dev)); /* fire: leads to ich_tco_expired() */
void ich_tco_reset(IchTco *t, ResetKind kind);
void ich_tco_read(const IchTco *t, uint8_t *r);                /* all TCO_SIZE bytes */
unsigned ich_tco_write(IchTco *t, unsigned reg, uint8_t val);  /* one byte: TCO_SMI or 0 */
unsigned ich_tco_expired(IchTco *t, bool no_reboot);           /* TCO_SMI, TCO_REBOOT, both or 0 */
bool ich_tco_locked(const IchTco *t);                          /* SMI_EN's TCO_EN stays as it is */
extern const VmState ich_tco_state;

#endif

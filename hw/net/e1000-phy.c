/* SPDX-License-Identifier: MIT
 * hw/net/e1000-phy.c - the 82540EM's EEPROM and its PHY.
 *
 * Models: SDM 5.3 to 5.6 (a 64-word Microwire EEPROM by its wires and by EERD), 8.1 and the registers of
 *         IEEE 802.3 clause 22 and of the M88E1011 that drivers look at. Auto-negotiation is over as soon as
 * it begins: 1000 Mbit/s, full duplex. Does not model: writing of the EEPROM. Threads: the device's domain.
 */
#include "e1000.h"

enum {
    EECD_SK = 1,
    EECD_CS = 2,
    EECD_DI = 4,
    EECD_DO = 8,
    EECD_REQ = 0x40,
    EECD_GNT = 0x80,
    EECD_PRES = 0x100
};
enum { EE_SUM = 0xbaba };
enum {
    PHY_CTRL,
    PHY_STATUS,
    PHY_ID1,
    PHY_ID2,
    PHY_LPA = 5,
    PHY_GSTATUS = 10,
    PHY_EXT = 15,
    PHY_M88_STATUS = 17
};
enum {
    BMCR_RESET = 0x8000,
    BMCR_RESTART = 0x0200,
    BMSR_LINK = 0x0004,
    BMSR_DONE = 0x0020,
    M88_LINK = 0x0400
};
enum { MDIC_READ = 2, MDIC_WRITE = 1, MDIC_READY = 1 << 28, MDIC_INT = 1 << 29, MDIC_ERROR = 1 << 30 };

/* ---- EEPROM ---- */

/* 5.6: address, subsystem, checksum over all words. */
void e1000_make_eeprom(E1000 *s)
{
    uint16_t *word = s->eeprom.word, sum = 0;
    for (unsigned i = 0; i < NIC_MICROWIRE_WORDS - 1; i++) {
        word[i] = i < 3 ? nic_le16(s->mac.b + 2 * i) : s->kind->eeprom[i];
        sum = (uint16_t)(sum + word[i]);
    }
    word[NIC_MICROWIRE_WORDS - 1] = (uint16_t)(EE_SUM - sum);
}

uint32_t e1000_eecd_read(const E1000 *s)
{
    uint32_t v = s->reg[E_EECD / 4] & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ);
    return v | EECD_PRES | (v & EECD_REQ ? EECD_GNT : 0) | (s->eeprom.out ? EECD_DO : 0);
}

void e1000_eecd_write(E1000 *s, uint32_t val)
{
    *e1000_reg(s, E_EECD) = val;
    if (!microwire_set(&s->eeprom, val & EECD_CS, val & EECD_SK, val & EECD_DI)) {
        guest_error(&s->dev, "%s: command 0x%x of the EEPROM, which is only read", s->dev.type->name,
                    s->eeprom.shift >> 6);
    }
}

void e1000_eerd_write(E1000 *s, uint32_t val, unsigned done)
{
    unsigned shift = done == 4 ? 8 : done + 1;
    if (val & 1) {
        unsigned at = (val & 0xffff) >> shift;
        uint16_t word = at < NIC_MICROWIRE_WORDS ? s->eeprom.word[at] : 0;
        val = (uint32_t)word << 16 | at << shift | 1u << done;
    }
    *e1000_reg(s, E_EERD) = val;
}

/* ---- PHY ---- */

void e1000_phy_link(E1000 *s, bool up)
{
    unsigned done = up ? BMSR_LINK | BMSR_DONE : 0;
    s->phy[PHY_STATUS] = (uint16_t)((s->phy[PHY_STATUS] & ~(BMSR_LINK | BMSR_DONE)) | done);
    s->phy[PHY_M88_STATUS] = (uint16_t)((s->phy[PHY_M88_STATUS] & ~M88_LINK) | (up ? M88_LINK : 0));
}

void e1000_phy_reset(E1000 *s)
{
    for (unsigned i = 0; i < PHY_REGS; i++) {
        s->phy[i] = s->kind->phy[i];
    }
    e1000_phy_link(s, net_port_link_up(&s->port));
}

static void phy_write(E1000 *s, unsigned at, uint16_t val)
{
    switch (at) {
    case PHY_CTRL:
        if (val & BMCR_RESET) {
            e1000_phy_reset(s);
        } else {
            s->phy[at] = val & ~BMCR_RESTART;
        }
        if (val & (BMCR_RESET | BMCR_RESTART)) {
            s->kind->interrupt(s, INT_LSC);
        }
        break;
    case PHY_STATUS:
    case PHY_ID1:
    case PHY_ID2:
    case PHY_LPA:
    case PHY_GSTATUS:
    case PHY_EXT:
    case PHY_M88_STATUS: break; /* read-only */
    default: s->phy[at] = val; break;
    }
}

void e1000_mdic_write(E1000 *s, uint32_t val)
{
    unsigned at = val >> 16 & 31, phy = val >> 21 & 31, op = val >> 26 & 3;
    val &= ~(uint32_t)(MDIC_READY | MDIC_ERROR);
    if (phy != 1 || (op != MDIC_READ && op != MDIC_WRITE)) {
        val |= MDIC_ERROR;
    } else if (op == MDIC_READ) {
        val = (val & ~UINT32_C(0xffff)) | s->phy[at];
    } else {
        phy_write(s, at, (uint16_t)val);
    }
    *e1000_reg(s, E_MDIC) = val | MDIC_READY;
    if (val & MDIC_INT) {
        s->kind->interrupt(s, INT_MDAC);
    }
}

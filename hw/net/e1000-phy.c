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
enum { EE_COMMAND = 9, EE_READ = 6, EE_SUM = 0xbaba };
enum {
    PHY_CTRL,
    PHY_STATUS,
    PHY_ID1,
    PHY_ID2,
    PHY_ANAR,
    PHY_LPA,
    PHY_GCTRL = 9,
    PHY_GSTATUS,
    PHY_EXT = 15,
    PHY_M88_CTRL,
    PHY_M88_STATUS
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
    static const uint16_t fixed[EEPROM_WORDS] = {
        [0x03] = 0x0400, [0x05] = 0xffff, [0x08] = 0xffff, [0x09] = 0xffff, [0x0a] = 0x4408, [0x0b] = 0x1100,
        [0x0c] = 0x1af4, [0x0d] = 0x100e, [0x0e] = 0x8086, [0x0f] = 0x3040, [0x21] = 0x7863, [0x2f] = 0xffff,
    };
    uint16_t sum = 0;
    for (unsigned i = 0; i < EEPROM_WORDS; i++) {
        s->eeprom[i] = i < 3 ? (uint16_t)(s->mac.b[2 * i] | s->mac.b[2 * i + 1] << 8) : fixed[i];
        sum = (uint16_t)(sum + s->eeprom[i]);
    }
    s->eeprom[EEPROM_WORDS - 1] = (uint16_t)(EE_SUM - sum);
}

uint32_t e1000_eecd_read(const E1000 *s)
{
    uint32_t v = s->reg[E_EECD / 4] & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ);
    return v | EECD_PRES | (v & EECD_REQ ? EECD_GNT : 0) | (s->ee_bit ? EECD_DO : 0);
}

/* A command is a one, two bits and six of address; then, after a zero, come the bits of the word and of those
 * that follow it. */
static void eeprom_clock(E1000 *s, bool di)
{
    if (s->ee_count < EE_COMMAND) {
        if (s->ee_count == 0 && !di) {
            return; /* not begun */
        }
        s->ee_shift = (uint16_t)(s->ee_shift << 1 | di);
        if (++s->ee_count == EE_COMMAND) {
            bool read = s->ee_shift >> 6 == EE_READ;
            s->ee_out = s->eeprom[s->ee_shift & 63];
            s->ee_bit = !read;
            if (!read) {
                guest_error(&s->dev, "e1000: command 0x%x of the EEPROM, which is only read",
                            s->ee_shift >> 6);
            }
        }
        return;
    }
    if (s->ee_shift >> 6 != EE_READ) {
        return;
    }
    s->ee_bit = s->ee_out >> 15;
    s->ee_out = (uint16_t)(s->ee_out << 1);
    if (++s->ee_count == EE_COMMAND + 16) {
        s->ee_shift = EE_READ << 6 | ((s->ee_shift + 1) & 63);
        s->ee_out = s->eeprom[s->ee_shift & 63];
        s->ee_count = EE_COMMAND;
    }
}

void e1000_eecd_write(E1000 *s, uint32_t val)
{
    uint32_t was = *e1000_reg(s, E_EECD);
    *e1000_reg(s, E_EECD) = val;
    if (!(val & EECD_CS) || !(was & EECD_CS)) {
        s->ee_count = 0;
        s->ee_shift = 0;
        s->ee_bit = 1; /* ready */
    }
    if ((val & EECD_CS) && (val & ~was & EECD_SK)) {
        eeprom_clock(s, val & EECD_DI);
    }
}

void e1000_eerd_write(E1000 *s, uint32_t val)
{
    if (val & 1) {
        unsigned at = val >> 8 & 0xff;
        uint16_t word = at < EEPROM_WORDS ? s->eeprom[at] : 0;
        val = (uint32_t)word << 16 | (val & 0xff00) | 0x10;
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
    static const uint16_t fresh[PHY_REGS] = {
        [PHY_CTRL] = 0x1140, [PHY_STATUS] = 0x7949,   [PHY_ID1] = 0x0141,        [PHY_ID2] = 0x0c20,
        [PHY_ANAR] = 0x0de1, [PHY_LPA] = 0x45e1,      [PHY_GCTRL] = 0x0e00,      [PHY_GSTATUS] = 0x3c00,
        [PHY_EXT] = 0x3000,  [PHY_M88_CTRL] = 0x0360, [PHY_M88_STATUS] = 0xa800, [20] = 0x0d60,
    };
    for (unsigned i = 0; i < PHY_REGS; i++) {
        s->phy[i] = fresh[i];
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
            e1000_interrupt(s, INT_LSC);
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
        e1000_interrupt(s, INT_MDAC);
    }
}

/* SPDX-License-Identifier: MIT
 * hw/i386/tco.c - the TCO timer of the ICH9.
 *
 * Models: Intel ICH9 data sheet (316972), 13.9: reload and count, messages between SMI handler and software,
 *         status and control registers; the first timeout asks for an SMI, the second in a row for a reboot.
 * Differs: after a reset the timer rests until it is loaded, whereas the chip counts at once: firmware
 *         written for this board does not stop it.
 * Does not model: NMI_NOW, intrusion, SMBus and century events; the interrupts of TCO_DAT_OUT and SW_IRQ_GEN,
 *         which are storage.
 * Threads: the device's domain.
 */
#include "tco.h"

enum {
    TCO_RLD = 0x00,
    TCO_DAT_IN = 0x02,
    TCO_DAT_OUT = 0x03,
    TCO1_STS = 0x04,
    TCO2_STS = 0x06,
    TCO1_CNT = 0x08,
    TCO2_CNT = 0x0a,
    TCO_MESSAGE1 = 0x0c,
    TCO_MESSAGE2 = 0x0d,
    TCO_WDCNT = 0x0e,
    SW_IRQ_GEN = 0x10,
    TCO_TMR = 0x12,
};
enum {
    STS1_SW_SMI = 1 << 1,
    STS1_INT = 1 << 2,
    STS1_TIMEOUT = 1 << 3,
    STS1_BITS = 0x138f,
    STS2_SECOND = 1 << 1,
    STS2_BITS = 0x17,
    CNT1_NMI_NOW = 1 << 8,
    CNT1_NMI2SMI = 1 << 9,
    CNT1_HALT = 1 << 11,
    CNT1_LOCK = 1 << 12,
    CNT2_BITS = 0x3e,
    CNT2_DEFAULT = 0x08,
    SW_IRQ_DEFAULT = 0x03,
    SW_IRQ_BITS = 0x03,
    COUNT_BITS = 0x3ff,
    DEFAULT_COUNT = 4,
    LEAST_COUNT = 2, /* smaller ones are ignored */
};
#define TCO_TICK_NS INT64_C(600000000)

static int64_t tco_now(const IchTco *t)
{
    return clock_now(t->dev->machine->clock);
}

static bool tco_runs(const IchTco *t)
{
    return timer_expires(&t->timer) != TIMER_OFF;
}

static uint16_t tco_count(const IchTco *t)
{
    if (!tco_runs(t)) {
        return t->left;
    }
    int64_t ns = timer_expires(&t->timer) - tco_now(t);
    return ns > 0 ? MIN((ns + TCO_TICK_NS - 1) / TCO_TICK_NS, COUNT_BITS) : 0;
}

/* From now on, with so many ticks to go. */
static void tco_run(IchTco *t, uint16_t count)
{
    t->left = count;
    if (t->cnt1 & CNT1_HALT || !count) {
        timer_cancel(&t->timer);
    } else {
        timer_arm(&t->timer, tco_now(t) + count * TCO_TICK_NS);
    }
}

static void tco_reload(IchTco *t)
{
    if (t->initial >= LEAST_COUNT) {
        tco_run(t, t->initial);
    }
}

unsigned ich_tco_expired(IchTco *t, bool no_reboot)
{
    bool second = t->timed_out;
    t->sts1 |= STS1_TIMEOUT;
    t->timed_out = true;
    if (second) {
        t->sts2 |= STS2_SECOND;
    }
    if (second && !no_reboot) {
        t->left = 0;
        return TCO_REBOOT;
    }
    tco_run(t, MAX(t->initial, LEAST_COUNT));
    return TCO_SMI;
}

void ich_tco_read(const IchTco *t, uint8_t *r)
{
    uint16_t count = tco_count(t);
    const struct {
        uint8_t at;
        uint16_t val;
    } words[] = {
        { TCO_RLD, count },
        { TCO1_STS, t->sts1 },
        { TCO2_STS, t->sts2 },
        { TCO1_CNT, t->cnt1 },
        { TCO2_CNT, t->cnt2 },
        { TCO_TMR, t->initial },
        { TCO_DAT_IN, t->dat_in | t->dat_out << 8 },
        { TCO_MESSAGE1, t->message[0] | t->message[1] << 8 },
        { TCO_WDCNT, t->wdcnt },
        { SW_IRQ_GEN, t->sw_irq },
    };
    for (unsigned i = 0; i < TCO_SIZE; i++) {
        r[i] = 0;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        r[words[i].at] = words[i].val;
        r[words[i].at + 1] = words[i].val >> 8;
    }
}

static uint16_t with_byte(uint16_t was, unsigned reg, uint8_t val)
{
    return reg & 1 ? (was & 0xff) | val << 8 : (was & 0xff00) | val;
}

static void tco_write_control(IchTco *t, uint16_t val)
{
    bool halted = t->cnt1 & CNT1_HALT, halt = val & CNT1_HALT;
    uint16_t count = tco_count(t);
    if (val & CNT1_NMI_NOW) {
        guest_unimp(t->dev, "TCO1_CNT's NMI_NOW does nothing");
    }
    t->cnt1 = (val & (CNT1_HALT | CNT1_NMI2SMI)) | ((t->cnt1 | val) & CNT1_LOCK);
    if (halt != halted) {
        tco_run(t, count);
    }
}

unsigned ich_tco_write(IchTco *t, unsigned reg, uint8_t val)
{
    switch (reg) {
    case TCO_RLD:
    case TCO_RLD + 1: /* any value */
        t->timed_out = false;
        tco_reload(t);
        break;
    case TCO_DAT_IN:
        t->dat_in = val;
        t->sts1 |= STS1_SW_SMI;
        return TCO_SMI;
    case TCO_DAT_OUT:
        t->dat_out = val;
        t->sts1 |= STS1_INT;
        break;
    case TCO1_STS:
    case TCO1_STS + 1: t->sts1 &= ~(val << 8 * (reg & 1)); break;
    case TCO2_STS: t->sts2 &= ~val; break;
    case TCO1_CNT:
    case TCO1_CNT + 1: tco_write_control(t, with_byte(t->cnt1, reg, val)); break;
    case TCO2_CNT: t->cnt2 = val & CNT2_BITS; break;
    case TCO_MESSAGE1:
    case TCO_MESSAGE2: t->message[reg - TCO_MESSAGE1] = val; break;
    case TCO_WDCNT: t->wdcnt = val; break;
    case SW_IRQ_GEN: t->sw_irq = val & SW_IRQ_BITS; break;
    case TCO_TMR:
    case TCO_TMR + 1: t->initial = with_byte(t->initial, reg, val) & COUNT_BITS; break;
    default: break;
    }
    return 0;
}

bool ich_tco_locked(const IchTco *t)
{
    return t->cnt1 & CNT1_LOCK;
}

void ich_tco_init(IchTco *t, Device *dev, void (*fire)(void *dev))
{
    t->dev = dev;
    device_add_timer(dev, &t->timer, fire);
}

/* The second timeout's bit is in the resume well: software finds there why it starts. */
void ich_tco_reset(IchTco *t, ResetKind kind)
{
    timer_cancel(&t->timer);
    t->initial = DEFAULT_COUNT;
    t->sts1 = t->cnt1 = t->left = 0;
    t->sts2 = kind == RESET_WARM ? t->sts2 & STS2_SECOND : 0;
    t->cnt2 = CNT2_DEFAULT;
    t->dat_in = t->dat_out = t->wdcnt = t->message[0] = t->message[1] = 0;
    t->sw_irq = SW_IRQ_DEFAULT;
    t->timed_out = false;
}

static const VmField tco_fields[] = {
    VM_U16_MAX(IchTco, initial, COUNT_BITS),
    VM_U16_MAX(IchTco, sts1, STS1_BITS),
    VM_U16_MAX(IchTco, sts2, STS2_BITS),
    VM_U16_MAX(IchTco, cnt1, CNT1_LOCK | CNT1_HALT | CNT1_NMI2SMI),
    VM_U16_MAX(IchTco, cnt2, CNT2_BITS),
    VM_U8(IchTco, dat_in),
    VM_U8(IchTco, dat_out),
    VM_U8(IchTco, wdcnt),
    VM_U8_MAX(IchTco, sw_irq, SW_IRQ_BITS),
    VM_U8_ARRAY(IchTco, message),
    VM_BOOL(IchTco, timed_out),
    VM_U16_MAX(IchTco, left, COUNT_BITS),
    VM_TIMER(IchTco, timer),
    { 0 },
};
const VmState ich_tco_state = { .name = "ich9-tco", .version = 1, .oldest = 1, .fields = tco_fields };

/* SPDX-License-Identifier: MIT
 * hw/pci/pcie-slot.c - the slot behind a PCI Express port, and its native hot-plug.
 *
 * Models: PCI Express Base Specification 3.0: 7.8.9 to 7.8.11 (slot registers), 6.7 (hot-plug): attention
 *         button, attention and power indicators, power controller, presence detect; the link is up when
 *         somebody is there and has power (7.8.8). Events interrupt by MSI, or by the pin where that is off
 *         (6.7.3.4). A device that comes sets presence detect and presses the button. To let go the button is
 *         pressed; the guest has let go once power and power indicator are off. A guest whose indicator
 *         blinks and then stays on has refused.
 * Does not model: manual retention latches and their sensors, interlocks, power faults, notifications of
 *         completed commands (7.8.9: the port says so). A slot without power can be reached all the same: who
 *         never touches the registers finds what is plugged in.
 * Threads: the port's domain; answers are carried out by the main loop.
 */
#include "pci_internal.h"
#include "rhea/hw/msi.h"
#include "rhea/hw/pcie.h"
#include "rhea/system/hotplug.h"
#include "rhea/system/machine.h"

enum { /* offsets in the capability */
       EXP_LNKSTA = 0x12,
       EXP_SLTCAP = 0x14,
       EXP_SLTCTL = 0x18,
       EXP_SLTSTA = 0x1a,
       LNKSTA_ACTIVE = 1 << 13,
       SLTCAP_BUTTON = 1 << 0,
       SLTCAP_POWER = 1 << 1,
       SLTCAP_ATTENTION_LED = 1 << 3,
       SLTCAP_POWER_LED = 1 << 4,
       SLTCAP_HOTPLUG = 1 << 6,
       SLTCAP_NO_COMMAND_COMPLETED = 1 << 18,
       SLTCAP_NUMBER_SHIFT = 19,
       /* control: enables of the events that are the same bits in the status, then the rest */
       SLTCTL_EVENTS = 0x1f,
       SLTCTL_INTERRUPT = 1 << 5,
       SLTCTL_ATTENTION_OFF = 3 << 6,
       SLTCTL_LED = 3 << 8,
       SLTCTL_LED_ON = 1 << 8,
       SLTCTL_LED_BLINKS = 2 << 8,
       SLTCTL_LED_OFF = 3 << 8,
       SLTCTL_NO_POWER = 1 << 10,
       SLTCTL_LINK_EVENT = 1 << 12,
       SLTCTL_WRITABLE = 0x17ff,
       SLTSTA_BUTTON = 1 << 0,
       SLTSTA_PRESENCE_EVENT = 1 << 3,
       SLTSTA_PRESENT = 1 << 6,
       SLTSTA_LINK_EVENT = 1 << 8,
       SLTSTA_W1C = 0x11f,
};
enum {
    ASK_AGAIN_S = 5
}; /* a guest takes so long to believe the button: until then a second press takes it back */

static uint8_t *reg(const PciFunc *f, unsigned off)
{
    return (uint8_t *)f->config + f->express_cap + off;
}

static PcieSlot *slot_of(const PciFunc *f)
{
    return f->bridge && f->bridge->slot.present ? &f->bridge->slot : NULL;
}

static bool taken(const PciFunc *f)
{
    return f->bridge->secondary && rcu_get(&f->bridge->secondary->slot[0]);
}

static void set_bits(uint8_t *r, unsigned bits, bool on)
{
    pci_put16(r, on ? pci_le16(r) | bits : pci_le16(r) & ~bits);
}

static void slot_update(PciFunc *f, bool quiet)
{
    bool there = taken(f), up = there && !(pci_le16(reg(f, EXP_SLTCTL)) & SLTCTL_NO_POWER);
    unsigned status = pci_le16(reg(f, EXP_SLTSTA)), events = 0;
    events |= there != !!(status & SLTSTA_PRESENT) ? SLTSTA_PRESENCE_EVENT : 0;
    events |= up != !!(pci_le16(reg(f, EXP_LNKSTA)) & LNKSTA_ACTIVE) ? SLTSTA_LINK_EVENT : 0;
    set_bits(reg(f, EXP_LNKSTA), LNKSTA_ACTIVE, up);
    set_bits(reg(f, EXP_SLTSTA), SLTSTA_PRESENT, there);
    set_bits(reg(f, EXP_SLTSTA), quiet ? 0 : events, true);
}

/* 6.7.3.4: a message when the condition becomes true, the pin as long as it is. */
static void slot_interrupt(PciFunc *f)
{
    PcieSlot *s = slot_of(f);
    unsigned control = pci_le16(reg(f, EXP_SLTCTL)), enabled = control & SLTCTL_EVENTS;
    enabled |= control & SLTCTL_LINK_EVENT ? SLTSTA_LINK_EVENT : 0;
    bool was = s->asserted, msi = f->msi && pci_msi_enabled(f->msi);
    s->asserted = (control & SLTCTL_INTERRUPT) && (pci_le16(reg(f, EXP_SLTSTA)) & enabled);
    if (msi && s->asserted && !was) {
        pci_msi_notify(f->msi, 0);
    }
    if (f->intx_level != (s->asserted && !msi)) {
        f->intx_level = s->asserted && !msi;
        pci_intx_update(f);
    }
}

static bool is_off(unsigned control)
{
    return (control & SLTCTL_NO_POWER) && (control & SLTCTL_LED) == SLTCTL_LED_OFF;
}

/* ---- what the bus calls ---- */

static void slot_answered(void *opaque)
{
    PciBridge *b = opaque;
    domain_lock(b->dev->domain);
    bool take = b->slot.take, refused = b->slot.refused;
    b->slot.take = b->slot.refused = false;
    domain_unlock(b->dev->domain);
    Device *d = refused ? b->secondary->slot[0] : NULL;
    if (d) {
        device_unplug_refused(d);
    }
    if (take) {
        pci_slot_unplugged(b->secondary, 0);
    }
}

static void slot_answer(PciFunc *f, bool *what)
{
    PcieSlot *s = slot_of(f);
    *what = true;
    s->asked_until = 0;
    loop_post(f->dev->machine->loop, &s->task);
}

void pcie_slot_init(PciFunc *f, unsigned number)
{
    PcieSlot *s = &f->bridge->slot;
    Device *dev = f->dev;
    s->present = true;
    s->task = (Task){ .run = slot_answered, .opaque = f->bridge };
    unsigned parts =
        s->hotplug ? SLTCAP_BUTTON | SLTCAP_POWER | SLTCAP_ATTENTION_LED | SLTCAP_POWER_LED | SLTCAP_HOTPLUG
                   : 0;
    pci_set_long(dev, f->express_cap + EXP_SLTCAP,
                 SLTCAP_NO_COMMAND_COMPLETED | number << SLTCAP_NUMBER_SHIFT | parts);
    pci_put16(f->w1cmask + f->express_cap + EXP_SLTSTA, SLTSTA_W1C);
    if (s->hotplug) {
        pci_set_wmask(dev, f->express_cap + EXP_SLTCTL, SLTCTL_WRITABLE, 2);
    }
}

void pcie_slot_fini(PciFunc *f)
{
    PcieSlot *s = slot_of(f);
    if (s) {
        loop_unpost(f->dev->machine->loop, &s->task);
    }
}

void pcie_slot_settle(PciFunc *f)
{
    PcieSlot *s = slot_of(f);
    if (!s) {
        return;
    }
    if (s->hotplug) {
        uint8_t *control = reg(f, EXP_SLTCTL);
        set_bits(control, SLTCTL_LED | SLTCTL_NO_POWER, false);
        set_bits(control, taken(f) ? SLTCTL_LED_ON : SLTCTL_LED_OFF | SLTCTL_NO_POWER, true);
        s->control = pci_le16(control);
    }
    slot_update(f, true);
}

void pcie_slot_power_on(Device *port)
{
    pcie_slot_settle(pci_func(port));
}

/* What the guest was asked for and had not done is done now, as everywhere (QEMU's device_del says so). */
void pcie_slot_reset(PciFunc *f)
{
    PcieSlot *s = slot_of(f);
    if (!s) {
        return;
    }
    if (s->asked_until) {
        slot_answer(f, &s->take);
    }
    s->asserted = false;
    pci_put16(reg(f, EXP_SLTCTL), s->hotplug ? SLTCTL_ATTENTION_OFF : 0);
    set_bits(reg(f, EXP_SLTSTA), SLTSTA_W1C, false);
    pcie_slot_settle(f);
}

void pcie_slot_written(PciFunc *f)
{
    PcieSlot *s = slot_of(f);
    if (!s || !s->hotplug) {
        return;
    }
    unsigned now = pci_le16(reg(f, EXP_SLTCTL)), was = s->control;
    s->control = now;
    if (now != was) {
        slot_update(f, false);
        if (is_off(now) && !is_off(was) && taken(f)) {
            slot_answer(f, &s->take);
        } else if (s->asked_until && (was & SLTCTL_LED) == SLTCTL_LED_BLINKS &&
                   (now & (SLTCTL_LED | SLTCTL_NO_POWER)) == SLTCTL_LED_ON) {
            slot_answer(f, &s->refused);
        }
    }
    slot_interrupt(f);
}

void pcie_slot_loaded(PciFunc *f)
{
    PcieSlot *s = slot_of(f);
    if (s) {
        s->control = pci_le16(reg(f, EXP_SLTCTL));
        s->asked_until = 0;
        slot_update(f, true);
        s->asserted = true; /* no second message for what was told */
        slot_interrupt(f);
    }
}

void pcie_slot_emptied(PciFunc *f)
{
    PcieSlot *s = slot_of(f);
    if (s) {
        s->asked_until = 0;
        slot_update(f, false);
        slot_interrupt(f);
    }
}

/* ---- native hot-plug ---- */

static void press_button(PciFunc *f)
{
    set_bits(reg(f, EXP_SLTSTA), SLTSTA_BUTTON, true);
    slot_interrupt(f);
}

static void slot_plugged(Bus *bus, Device *dev)
{
    Device *port = ((PciBus *)bus->impl)->bridge->dev;
    PciFunc *f = pci_func(port);
    domain_lock(port->domain);
    if (dev->machine->state == RUN_PRELAUNCH) { /* nobody has looked yet */
        pcie_slot_settle(f);
    } else if (taken(f)) { /* by function 0: then all of them are there */
        slot_update(f, false);
        press_button(f);
    }
    domain_unlock(port->domain);
}

static bool slot_ask(PciFunc *f, const Device *dev, Error **errp)
{
    PcieSlot *s = slot_of(f);
    int64_t now = clock_now(dev->machine->clock);
    if (now < s->asked_until) {
        error_set(errp, "device '%s' is already in the process of unplug", device_name(dev));
        error_hint(errp, "wait for DEVICE_DELETED; the guest can be asked again after %d seconds of its time",
                   ASK_AGAIN_S);
        return false;
    }
    if ((pci_le16(reg(f, EXP_SLTCTL)) & SLTCTL_LED) == SLTCTL_LED_BLINKS) {
        error_set(
            errp,
            "device '%s' cannot be removed now: its guest is busy with the slot (the power indicator blinks)",
            device_name(dev));
        error_hint(errp, "try again when it is not any more");
        return false;
    }
    s->asked_until = now + ASK_AGAIN_S * INT64_C(1000000000);
    press_button(f);
    return true;
}

static bool slot_unplug(Bus *bus, Device *dev, Error **errp)
{
    Device *port = ((PciBus *)bus->impl)->bridge->dev;
    PciFunc *f = pci_func(port);
    if (!pci_slot_is_seen(dev)) {
        pci_unplugged(dev);
        return true;
    }
    domain_lock(port->domain);
    bool off = is_off(pci_le16(reg(f, EXP_SLTCTL))), ok = off || slot_ask(f, dev, errp);
    domain_unlock(port->domain);
    if (off) { /* the guest does not use it */
        pci_slot_unplugged(bus->impl, 0);
    }
    return ok;
}

const BusHotplug pcie_slot_hotplug = {
    .suits = pci_may_hotplug,
    .plugged = slot_plugged,
    .unplug = slot_unplug,
};

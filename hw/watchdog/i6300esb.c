/* SPDX-License-Identifier: MIT
 * hw/watchdog/i6300esb.c - `-device i6300esb`: the two-stage watchdog timer of Intel's 6300ESB.
 *
 * Models: Intel 6300ESB data sheet (300641), chapter 16: configuration (60h) and lock (68h) registers;
 *         preload values, interrupt status and reload register in memory, with their unlocking sequence;
 *         watchdog and free-running mode. A PCI clock is 30 ns.
 * Differs: WDT_TOUT# going low is what -action watchdog= acts upon; when the guest survives that and reloads
 *         the timer, the pin is high again, so that it can happen once more.
 * Does not model: the interrupts of the first stage (IRQ: an input of an I/O APIC that is not there; SMI),
 *         which only set their status bit; periods below 100 us.
 * Threads: the device's domain.
 */
#include "rhea/hw/pci.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/system/machine.h"

/* Configuration space. */
enum {
    CFG_WDT = 0x60,
    CFG_LOCK = 0x68,
    WDT_INT_TYPE = 3,
    WDT_INT_DISABLED = 3,
    WDT_PRE_SEL = 1 << 2,
    WDT_OUTPUT_OFF = 1 << 5,
    LOCK_LOCKED = 1,
    LOCK_ENABLE = 2,
    LOCK_FREE_RUNNING = 4,
};
/* Memory. */
enum {
    REG_PRELOAD1 = 0x00,
    REG_PRELOAD2 = 0x04,
    REG_STATUS = 0x08,
    REG_RELOAD = 0x0c,
    REG_SIZE = 0x10,
    RELOAD_RELOAD = 1 << 8,
    RELOAD_TIMEOUT = 1 << 9,
    PRELOAD_MASK = 0xfffff,
    UNLOCK_FIRST = 0x80,
    UNLOCK_SECOND = 0x86,
    UNLOCKED = 2, /* writes of the sequence */
};
enum { PCI_CLOCK_NS = 30, MIN_PERIOD_NS = 100000, SLOW_SHIFT = 15, FAST_SHIFT = 5 };

typedef struct Esb {
    Device dev;
    MemRegion regs;      /* wiring */
    uint32_t preload[2]; /* guest-visible state */
    uint8_t unlock;      /* writes of the unlocking sequence so far */
    uint8_t stage;       /* which preload value counts down: 0 or 1 */
    bool stage1_over;    /* WDT_INT_ACT */
    bool timed_out;      /* WDT_TIMEOUT: in the RTC's well, so that resets leave it alone */
    bool low;            /* free-running mode: WDT_TOUT# */
    Timer timer;
    uint8_t lock; /* derived: the lock register as it was */
} Esb;

static uint16_t esb_config(Esb *s)
{
    return pci_get(&s->dev, CFG_WDT, 2);
}

/* Loads the down-counter for a stage. */
static void esb_start(Esb *s, unsigned stage)
{
    unsigned shift = esb_config(s) & WDT_PRE_SEL ? FAST_SHIFT : SLOW_SHIFT;
    int64_t period = ((int64_t)s->preload[stage] << shift) * PCI_CLOCK_NS; /* 2^35 clocks at most */
    s->stage = stage;
    timer_arm(&s->timer, clock_now(s->dev.machine->clock) + MAX(period, MIN_PERIOD_NS));
}

/* Free-running mode has the second stage only. */
static void esb_restart(Esb *s)
{
    if (s->lock & LOCK_ENABLE) {
        esb_start(s, s->lock & LOCK_FREE_RUNNING ? 1 : 0);
    }
}

static void esb_output_low(Esb *s)
{
    if (!(esb_config(s) & WDT_OUTPUT_OFF)) {
        machine_watchdog_expired(s->dev.machine);
    }
}

static void esb_expired(void *opaque)
{
    Esb *s = opaque;
    bool free_running = s->lock & LOCK_FREE_RUNNING;
    if (!(s->lock & LOCK_ENABLE)) {
        return;
    }
    if (!free_running && s->stage == 0) {
        s->stage1_over = true;
        if ((esb_config(s) & WDT_INT_TYPE) != WDT_INT_DISABLED) {
            guest_unimp(&s->dev, "the watchdog's interrupt of the first stage is wired to nothing");
        }
        esb_start(s, 1);
        return;
    }
    s->timed_out = true;
    s->low = !free_running || !s->low; /* free running: the pin changes */
    if (s->low) {
        esb_output_low(s);
    }
    if (free_running) {
        esb_start(s, 1);
    }
}

/* ---- memory ---- */

static uint32_t esb_get(const Esb *s, hwaddr reg)
{
    switch (reg) {
    case REG_PRELOAD1:
    case REG_PRELOAD2: return s->preload[reg / 4];
    case REG_STATUS: return s->stage1_over;
    default: return s->timed_out ? RELOAD_TIMEOUT : 0;
    }
}

static uint64_t esb_read(void *opaque, MemAccess *a)
{
    return esb_get(opaque, a->off & ~3u) >> (8 * (a->off & 3));
}

static void esb_write_reload(Esb *s, uint32_t val, bool low_byte)
{
    bool open = s->unlock == UNLOCKED;
    if (low_byte && val == UNLOCK_FIRST) {
        s->unlock = 1;
        return;
    }
    if (low_byte && val == UNLOCK_SECOND && s->unlock == 1) {
        s->unlock = UNLOCKED;
        return;
    }
    s->unlock = 0;
    if (!open) {
        guest_error(&s->dev, "reload register written without the unlocking sequence");
        return;
    }
    if (val & RELOAD_TIMEOUT) {
        s->timed_out = false;
    }
    if (val & RELOAD_RELOAD) {
        s->low = false;
        esb_restart(s);
    }
}

static void esb_write(void *opaque, MemAccess *a, uint64_t val)
{
    Esb *s = opaque;
    unsigned reg = a->off & ~3u, shift = 8 * (a->off & 3);
    uint32_t mask = (a->size == 4 ? UINT32_MAX : (1u << (8 * a->size)) - 1) << shift;
    uint32_t now = ((uint32_t)val << shift) & mask;
    if (reg == REG_STATUS) {
        s->stage1_over = s->stage1_over && !(now & 1);
    } else if (reg == REG_RELOAD) {
        esb_write_reload(s, now, shift == 0);
    } else if (s->unlock == UNLOCKED) {
        s->unlock = 0;
        s->preload[reg / 4] = ((s->preload[reg / 4] & ~mask) | now) & PRELOAD_MASK;
    } else {
        s->unlock = 0;
        guest_error(&s->dev, "preload value written without the unlocking sequence");
    }
}

/* ---- configuration space ---- */

/* Once locked, the register stays as it is until a reset. */
static void esb_take_lock(Esb *s)
{
    s->lock = pci_get(&s->dev, CFG_LOCK, 1);
    uint32_t open = LOCK_LOCKED | LOCK_ENABLE | LOCK_FREE_RUNNING;
    pci_set_wmask(&s->dev, CFG_LOCK, s->lock & LOCK_LOCKED ? 0 : open, 1);
}

static void esb_config_written(Device *dev, unsigned off, unsigned len)
{
    Esb *s = dev_as(Esb, dev);
    uint8_t was = s->lock;
    if (off > CFG_LOCK || off + len <= CFG_LOCK) {
        return;
    }
    esb_take_lock(s);
    if (!(s->lock & LOCK_ENABLE)) {
        timer_cancel(&s->timer);
    } else if (!(was & LOCK_ENABLE)) {
        s->low = false;
        esb_restart(s);
    }
}

/* ---- life ---- */

static bool esb_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = { .read = esb_read, .write = esb_write, .min = 1, .max = 4 };
    Esb *s = dev_as(Esb, dev);
    region_init_io(&s->regs, dev, "i6300esb", &ops, s, REG_SIZE);
    device_add_region(dev, &s->regs);
    device_add_timer(dev, &s->timer, esb_expired);
    pci_set_wmask(dev, CFG_WDT, WDT_INT_TYPE | WDT_PRE_SEL | WDT_OUTPUT_OFF, 2);
    return true;
}

static void esb_reset(Device *dev, ResetKind kind)
{
    Esb *s = dev_as(Esb, dev);
    pci_set_word(dev, CFG_WDT, 0);
    pci_set_byte(dev, CFG_LOCK, 0);
    esb_take_lock(s);
    timer_cancel(&s->timer);
    s->preload[0] = s->preload[1] = PRELOAD_MASK;
    s->unlock = s->stage = 0;
    s->stage1_over = s->low = false;
    s->timed_out = s->timed_out && kind == RESET_WARM;
}

static bool esb_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    esb_take_lock(opaque);
    return true;
}

static const VmField esb_fields[] = {
    { .name = "preload",
      .kind = VM_U32_,
      .offset = TYPED_OFFSET(Esb, preload[0], uint32_t),
      .count = 2,
      .max = PRELOAD_MASK },
    VM_U8_MAX(Esb, unlock, UNLOCKED),
    VM_U8_MAX(Esb, stage, 1),
    VM_BOOL(Esb, stage1_over),
    VM_BOOL(Esb, timed_out),
    VM_BOOL(Esb, low),
    VM_TIMER(Esb, timer),
    { 0 },
};
static const VmState esb_state = {
    .name = "i6300esb",
    .version = 1,
    .oldest = 1,
    .fields = esb_fields,
    .post_load = esb_post_load,
};

static const PciOps esb_pci = {
    .vendor = 0x8086,
    .device = 0x25ab,
    .class_code = 0x088000,
    .bar = { { .kind = PCI_BAR_MEM32 } },
    .config_written = esb_config_written,
};

const DeviceType i6300esb_type = {
    .name = "i6300esb",
    .desc = "Intel 6300ESB",
    .size = sizeof(Esb),
    .bus_type = &pci_bus_type,
    .bus_ops = &esb_pci,
    .category = "Watchdog",
    .vmstate = &esb_state,
    .realize = esb_realize,
    .reset = esb_reset,
};

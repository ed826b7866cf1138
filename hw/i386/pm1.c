/* SPDX-License-Identifier: MIT
 * hw/i386/pm1.c - ACPI fixed hardware common to PIIX4 and ICH9, and an SMBus host without slaves.
 *
 * Models: ACPI 6.3, 4.8.3 (fixed events, PM timer of 24 bits, power button, sleep type 0 as soft off);
 *         82371AB (290562) 7.2 and 7.3, ICH9 (316972) 13.8.3 and 18.2.
 * Does not model: S3 and S4, the sleep button, SMBus slaves.
 * Threads: the device's domain.
 */
#include "pm1.h"

#define PM_TIMER_HZ 3579545
enum {
    PM_TIMER = 1 << 0, PM_GLOBAL = 1 << 5, PM_POWER_BUTTON = 1 << 8, PM_RTC = 1 << 10, PM_WAKE = 1 << 15,
    PM_STATUS_BITS = PM_TIMER | 1 << 4 | PM_GLOBAL | PM_POWER_BUTTON | PM_RTC | PM_WAKE,
    PM_ENABLE_BITS = PM_TIMER | PM_GLOBAL | PM_POWER_BUTTON | PM_RTC,
    CNT_SCI_ENABLE = 1, CNT_SLEEP_ENABLE = 1 << 13, CNT_BITS = 0x1c03,
};

static int64_t pm_now(AcpiPm1 *p)
{
    return clock_now(p->dev->machine->clock);
}

static uint64_t pm_ticks(int64_t ns)
{
    return (unsigned __int128)(uint64_t)ns * PM_TIMER_HZ / 1000000000u;
}

static int64_t pm_ticks_to_ns(uint64_t ticks)
{
    return (int64_t)(((unsigned __int128)ticks * 1000000000u + PM_TIMER_HZ - 1) / PM_TIMER_HZ);
}

static void pm_schedule_overflow(AcpiPm1 *p)
{
    uint64_t next = (pm_ticks(pm_now(p)) | 0x7fffff) + 1;
    p->overflow_ns = pm_ticks_to_ns(next);
}

/* TMR_STS is set by every change of bit 23, whether or not anybody waits for it: so it is worked out
 * when looked at, and a timer runs only while its interrupt is enabled. */
static uint16_t pm_status(AcpiPm1 *p)
{
    if (pm_now(p) >= p->overflow_ns) {
        p->sts |= PM_TIMER;
    }
    return p->sts;
}

bool acpi_pm1_update(AcpiPm1 *p, bool gpe)
{
    bool pending = (pm_status(p) & p->en & PM_ENABLE_BITS) || gpe;
    if ((p->en & PM_TIMER) && !(p->sts & PM_TIMER)) {
        timer_arm(&p->timer, p->overflow_ns);
    } else {
        timer_cancel(&p->timer);
    }
    return pending && (p->cnt & CNT_SCI_ENABLE);
}

void acpi_pm1_power_button(AcpiPm1 *p)
{
    p->sts |= PM_POWER_BUTTON;
}

void acpi_pm1_enable_sci(AcpiPm1 *p, bool on)
{
    p->cnt = on ? p->cnt | CNT_SCI_ENABLE : p->cnt & ~CNT_SCI_ENABLE;
}

static void pm_write_status(AcpiPm1 *p, uint16_t val)
{
    uint16_t was = pm_status(p);
    p->sts = was & ~(val & PM_STATUS_BITS);
    if (was & val & PM_TIMER) {
        pm_schedule_overflow(p);
    }
}

static void pm_write_control(AcpiPm1 *p, uint16_t val)
{
    p->cnt = val & CNT_BITS;
    if (!(val & CNT_SLEEP_ENABLE)) {
        return;
    }
    unsigned type = val >> 10 & 7; /* SLP_TYP; 0 is soft off, as the \_S5 object says */
    if (type == 0) {
        machine_request_shutdown(p->dev->machine, SHUTDOWN_GUEST_SHUTDOWN, 0);
    } else {
        guest_unimp(p->dev, "sleep type %u: only soft off (0) exists", type);
    }
}

void acpi_pm1_read(AcpiPm1 *p, uint8_t *low)
{
    uint32_t ticks = pm_ticks(pm_now(p)) & 0xffffff;
    const uint16_t pairs[] = { pm_status(p), p->en, p->cnt, 0, ticks, ticks >> 16 };
    for (unsigned i = 0; i < G_N_ELEMENTS(pairs); i++) {
        low[2 * i] = pairs[i];
        low[2 * i + 1] = pairs[i] >> 8;
    }
}

void acpi_pm1_write(AcpiPm1 *p, unsigned reg, uint16_t val, uint16_t mask)
{
    switch (reg) {
    case PM1_STS:
        pm_write_status(p, val & mask);
        break;
    case PM1_EN:
        p->en = (p->en & ~mask) | (val & mask & PM_ENABLE_BITS);
        break;
    case PM1_CNT:
        pm_write_control(p, (p->cnt & ~mask) | (val & mask));
        break;
    case PM1_TMR:
    case PM1_TMR + 2:
        guest_error(p->dev, "write to the read-only PM timer");
        break;
    default:
        break;
    }
}

void acpi_pm1_init(AcpiPm1 *p, Device *dev, void (*fire)(void *dev))
{
    p->dev = dev;
    device_add_timer(dev, &p->timer, fire);
}

void acpi_pm1_reset(AcpiPm1 *p)
{
    p->sts = p->en = p->cnt = 0;
    pm_schedule_overflow(p);
}

void acpi_pm1_loaded(AcpiPm1 *p)
{
    p->sts &= PM_STATUS_BITS;
    p->en &= PM_ENABLE_BITS;
    p->cnt &= CNT_BITS;
}

static const VmField pm1_fields[] = {
    VM_U16(AcpiPm1, sts),         VM_U16(AcpiPm1, en),      VM_U16(AcpiPm1, cnt),
    VM_I64(AcpiPm1, overflow_ns), VM_TIMER(AcpiPm1, timer), { 0 },
};
const VmState acpi_pm1_state = { .name = "acpi-pm1", .version = 1, .oldest = 1, .fields = pm1_fields };

/* A command starts when START is written; no slave answers, so every one ends as a device error. */
void smb_host_write(uint8_t *regs, unsigned off, uint8_t val, uint8_t sts_w1c)
{
    switch (off & (SMB_SIZE - 1)) {
    case SMB_STS:
        regs[SMB_STS] &= ~(val & sts_w1c);
        break;
    case SMB_STS + 1: /* the slave's status: nothing ever happens there */
        break;
    case SMB_CNT:
        regs[SMB_CNT] = val & ~SMB_CNT_START;
        if (val & SMB_CNT_KILL) {
            regs[SMB_STS] |= SMB_STS_FAILED;
        } else if (val & SMB_CNT_START) {
            regs[SMB_STS] |= SMB_STS_DEV_ERR;
        }
        break;
    default:
        regs[off & (SMB_SIZE - 1)] = val;
    }
}

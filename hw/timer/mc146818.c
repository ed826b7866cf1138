/* SPDX-License-Identifier: MIT
 * hw/timer/mc146818.c - MC146818A real-time clock with two banks of 128 bytes of CMOS RAM.
 * Models:         Motorola MC146818A data sheet: time, calendar and alarm bytes in binary or BCD, 12 or 24
 *                 hours, update cycle with UIP, SET, divider reset, periodic, alarm and update-ended
 *                 interrupts; the AT's ports 70h/71h and century byte 32h, the second bank at 72h/73h that
 *                 chipsets added.
 * Does not model: daylight saving (bit DSE is only stored), the square wave output, 4 and 1 MHz time bases
 *                 (the clock stands still, as with a 32 kHz crystal it nearly would), NMI masking by port
 *                 70h bit 7.
 * Threads:        the device's domain; mc146818_set_cmos() in it or before the machine runs.
 *
 * Time is an offset to a clock: host wall time, host monotonic or virtual time (-rtc clock=). Flags are
 * found by looking back over the time since the last look; a timer runs only for interrupts the guest
 * enabled.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/timer.h"
#include "rhea/system/coalesce.h"
#include "rhea/system/machine.h"
#include <time.h>

enum {
    R_SECONDS,
    R_SECONDS_ALARM,
    R_MINUTES,
    R_MINUTES_ALARM,
    R_HOURS,
    R_HOURS_ALARM,
    R_DAY_OF_WEEK,
    R_DAY,
    R_MONTH,
    R_YEAR,
    R_A,
    R_B,
    R_C,
    R_D,
    R_CENTURY = 0x32
};
enum { A_UIP = 0x80, A_DV = 0x70, A_DV_RUN = 0x20, A_RS = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 0x08, B_DM = 0x04, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, C_FLAGS = C_PF | C_AF | C_UF };
enum { D_VRT = 0x80, HOUR_PM = 0x80, ALARM_ANY = 0xc0, CMOS_SIZE = 128 };
enum { DAY_S = 86400, LOST_MAX = 65536 };
enum { LOST_DISCARD, LOST_SLEW };
#define NS        INT64_C(1000000000)
#define UPDATE_NS INT64_C(2228000) /* tBUC 244 us + tUC 1984 us: from UIP rising to the end of the update */

typedef struct Rtc {
    Device dev;
    /* configuration */
    int32_t base_year;
    int lost_tick_policy;
    const Clock *ref; /* what time is an offset to */
    int64_t first_offset_s;
    uint32_t first_phase_ns;
    uint8_t first_cmos[CMOS_SIZE];
    /* wiring */
    MemRegion regs;
    Coalesced late;  /* the index: it matters to the access behind it only */
    IrqLine irq;
    Timer timer;
    /* guest-visible state */
    uint8_t index, ext_index;
    uint8_t ext[CMOS_SIZE];  /* second bank: RAM only */
    uint8_t cmos[CMOS_SIZE]; /* time bytes are fresh only after rtc_refresh(), or while the clock stands */
    int64_t offset_s;        /* RTC second = (ref ns + phase_ns) / 1 s + offset_s, unless it stands still */
    uint32_t phase_ns;
    bool standing;
    uint64_t seen_pulse;    /* periodic pulses up to here are in PF */
    int64_t seen_second;    /* seconds up to here are in UF and AF */
    uint64_t pulses_behind; /* in a saved state: how far seen_* were behind */
    int64_t seconds_behind;
    uint32_t lost; /* periodic interrupts owed (lost_tick_policy=slew) */
} Rtc;

static int64_t rtc_virtual(const Rtc *r)
{
    return clock_now(r->dev.machine->clock);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The second that the clock shows, and how far it has got in it. */
static int64_t rtc_second(const Rtc *r, int64_t *frac)
{
    int64_t ns = clock_now(r->ref) + r->phase_ns, second = floor_div(ns, NS);
    *frac = ns - second * NS;
    return second + r->offset_s;
}

/* Length of a period in 32768 Hz pulses (data sheet, table 5: RS 1 and 2 are out of the row). */
static uint32_t rtc_period(const Rtc *r)
{
    unsigned rs = r->cmos[R_A] & A_RS;
    if (!rs || (r->cmos[R_A] & A_DV) != A_DV_RUN) {
        return 0;
    }
    return 1u << (rs <= 2 ? rs + 6 : rs - 1);
}

static uint64_t rtc_pulse(int64_t ns)
{
    return (unsigned __int128)MAX(ns, 0) * 32768 / NS;
}

static int64_t rtc_pulse_time(uint64_t pulse)
{
    return ((unsigned __int128)pulse * NS + 32767) / 32768;
}

/* Bytes: binary or BCD, 12 or 24 hours (register B). */
static uint8_t rtc_encode(const Rtc *r, unsigned v)
{
    return r->cmos[R_B] & B_DM ? v : v / 10 % 10 << 4 | v % 10;
}

static unsigned rtc_decode(const Rtc *r, uint8_t v)
{
    return r->cmos[R_B] & B_DM ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t rtc_encode_hour(const Rtc *r, unsigned hour)
{
    if (r->cmos[R_B] & B_24H) {
        return rtc_encode(r, hour);
    }
    return rtc_encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned rtc_decode_hour(const Rtc *r, uint8_t v)
{
    if (r->cmos[R_B] & B_24H) {
        return rtc_decode(r, v);
    }
    return rtc_decode(r, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Days from 1970-01-01 of a date of the proleptic Gregorian calendar, and back. Months are counted from
 * March, so that the leap day ends the year. */
static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t yoe = year - era * 400, doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_of_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097), doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = yoe + era * 400 + (*month <= 2);
}

static void rtc_store_time(Rtc *r, int64_t seconds)
{
    int64_t days = floor_div(seconds, DAY_S), sod = seconds - days * DAY_S, year;
    unsigned month, day;
    date_of_days(days, &year, &month, &day);
    unsigned shown = CLAMP(year - r->base_year, 0, 9999);
    r->cmos[R_SECONDS] = rtc_encode(r, sod % 60);
    r->cmos[R_MINUTES] = rtc_encode(r, sod / 60 % 60);
    r->cmos[R_HOURS] = rtc_encode_hour(r, sod / 3600);
    r->cmos[R_DAY_OF_WEEK] =
        rtc_encode(r, (days % 7 + 11) % 7 + 1); /* 1970-01-01 was a Thursday; Sunday is 1 */
    r->cmos[R_DAY] = rtc_encode(r, day);
    r->cmos[R_MONTH] = rtc_encode(r, month);
    r->cmos[R_YEAR] = rtc_encode(r, shown % 100);
    r->cmos[R_CENTURY] = rtc_encode(r, shown / 100);
}

static int64_t rtc_load_time(const Rtc *r)
{
    int64_t year = r->base_year + rtc_decode(r, r->cmos[R_CENTURY]) * 100 + rtc_decode(r, r->cmos[R_YEAR]);
    unsigned month = CLAMP(rtc_decode(r, r->cmos[R_MONTH]), 1, 12);
    unsigned day = CLAMP(rtc_decode(r, r->cmos[R_DAY]), 1, 31);
    return days_of_date(year, month, day) * DAY_S + rtc_decode_hour(r, r->cmos[R_HOURS]) * 3600 +
           rtc_decode(r, r->cmos[R_MINUTES]) * 60 + rtc_decode(r, r->cmos[R_SECONDS]);
}

static bool rtc_alarm_part(const Rtc *r, unsigned reg, unsigned value)
{
    uint8_t alarm = r->cmos[reg];
    if (alarm >= ALARM_ANY) {
        return true; /* data sheet: 11XXXXXX is "don't care" */
    }
    return (reg == R_HOURS_ALARM ? rtc_decode_hour(r, alarm) : rtc_decode(r, alarm)) == value;
}

static bool rtc_alarm_possible(const Rtc *r)
{
    uint8_t hour = r->cmos[R_HOURS_ALARM], min = r->cmos[R_MINUTES_ALARM], sec = r->cmos[R_SECONDS_ALARM];
    return (hour >= ALARM_ANY || rtc_decode_hour(r, hour) < 24) &&
           (min >= ALARM_ANY || rtc_decode(r, min) < 60) && (sec >= ALARM_ANY || rtc_decode(r, sec) < 60);
}

/* The first second after `after` that the alarm matches; INT64_MAX: never. */
static int64_t rtc_next_alarm(const Rtc *r, int64_t after)
{
    int64_t t = after + 1, end = t + DAY_S;
    while (rtc_alarm_possible(r) && t < end) { /* at most 24 + 60 + 60 steps */
        int64_t sod = t - floor_div(t, DAY_S) * DAY_S;
        if (!rtc_alarm_part(r, R_HOURS_ALARM, sod / 3600)) {
            t += 3600 - sod % 3600;
        } else if (!rtc_alarm_part(r, R_MINUTES_ALARM, sod / 60 % 60)) {
            t += 60 - sod % 60;
        } else if (!rtc_alarm_part(r, R_SECONDS_ALARM, sod % 60)) {
            t++;
        } else {
            return t;
        }
    }
    return INT64_MAX;
}

/* Brings flags up to date: what happened since the last look. */
static void rtc_catch_up(Rtc *r)
{
    uint64_t pulse = rtc_pulse(rtc_virtual(r));
    uint32_t period = rtc_period(r);
    if (period && pulse / period > r->seen_pulse / period) {
        uint64_t missed = pulse / period - r->seen_pulse / period - !(r->cmos[R_C] & C_PF);
        if (r->lost_tick_policy == LOST_SLEW && r->cmos[R_B] & B_PIE) {
            r->lost = MIN(r->lost + missed, LOST_MAX);
        }
        r->cmos[R_C] |= C_PF;
    }
    r->seen_pulse = MAX(pulse, r->seen_pulse);
    if (r->standing) {
        return;
    }
    int64_t frac, second = rtc_second(r, &frac);
    if (second > r->seen_second) {
        r->cmos[R_C] |= C_UF;
        r->cmos[R_C] |= rtc_next_alarm(r, r->seen_second) <= second ? C_AF : 0;
    }
    r->seen_second = second; /* a host clock that was set back starts over */
}

static void rtc_update_irq(Rtc *r)
{
    uint8_t flags = r->cmos[R_C] & C_FLAGS;
    bool raised = flags & r->cmos[R_B]; /* enables and flags have the same bits */
    r->cmos[R_C] = flags | (raised ? C_IRQF : 0);
    irq_set(&r->irq, raised);
}

/* Arms the timer for the next event that would interrupt. */
static void rtc_arm(Rtc *r)
{
    int64_t now = rtc_virtual(r), next = TIMER_OFF;
    uint8_t wanted = r->cmos[R_B] & ~r->cmos[R_C];
    uint32_t period = rtc_period(r);
    if (period && r->cmos[R_B] & B_PIE && (wanted & C_PF || r->lost_tick_policy == LOST_SLEW)) {
        next = rtc_pulse_time((r->seen_pulse / period + 1) * period);
        if (r->lost && wanted & C_PF) { /* what is owed comes at twice the rate */
            next = MIN(next, now + rtc_pulse_time(period) / 2);
        }
    }
    if (!r->standing && wanted & (C_UF | C_AF)) {
        int64_t frac, second = rtc_second(r, &frac);
        int64_t at = wanted & C_UF ? second + 1 : rtc_next_alarm(r, second);
        if (at != INT64_MAX) {
            next = MIN(next, now + (at - second) * NS - frac);
        }
    }
    if (next == TIMER_OFF) {
        timer_cancel(&r->timer);
    } else {
        timer_arm(&r->timer, next);
    }
}

static void rtc_fire(void *opaque)
{
    Rtc *r = opaque;
    uint64_t before = r->seen_pulse;
    rtc_catch_up(r);
    uint32_t period = rtc_period(r);
    if (r->lost && !(r->cmos[R_C] & C_PF) && period && before / period == r->seen_pulse / period) {
        r->lost--;
        r->cmos[R_C] |= C_PF;
    }
    rtc_update_irq(r);
    rtc_arm(r);
}

/* Time bytes as of now; no effect while the clock stands. */
static void rtc_refresh(Rtc *r)
{
    int64_t frac;
    if (!r->standing) {
        rtc_store_time(r, rtc_second(r, &frac));
    }
}

/* Time bytes become the time; the position within the second is kept. */
static void rtc_adopt(Rtc *r)
{
    int64_t frac;
    int64_t step = rtc_load_time(r) - rtc_second(r, &frac);
    r->offset_s += step;
    r->seen_second = rtc_second(r, &frac);
    if (!step) {
        return;
    }
    int64_t expected = (floor_div(clock_now(r->ref) + r->first_phase_ns, NS)) + r->first_offset_s;
    Json *data = json_new_object();
    json_put(data, "offset", json_new_int(r->seen_second - expected));
    json_put(data, "qom-path", json_new_string(r->dev.path ? r->dev.path : ""));
    machine_event(r->dev.machine, "RTC_CHANGE", data);
}

/* Register A's divider and register B's SET decide whether the clock runs. */
static void rtc_write_control(Rtc *r, unsigned reg, uint8_t val)
{
    rtc_refresh(r);
    bool ran = (r->cmos[R_A] & A_DV) == A_DV_RUN;
    if (reg == R_A) {
        r->cmos[R_A] = val & ~A_UIP;
        r->seen_pulse = rtc_pulse(rtc_virtual(r));
    } else {
        /* SET inhibits the update and clears UIE (data sheet, register B); a new format converts nothing. */
        r->cmos[R_B] = val & B_SET ? val & ~B_UIE : val;
        r->lost = val & B_PIE ? r->lost : 0;
    }
    bool runs = (r->cmos[R_A] & A_DV) == A_DV_RUN, standing = !runs || r->cmos[R_B] & B_SET;
    if (runs && !ran) { /* "the first update cycle begins one-half second later" */
        int64_t now = clock_now(r->ref), frac = now - floor_div(now, NS) * NS;
        r->phase_ns = (NS / 2 - frac + NS) % NS;
    }
    bool was_standing = r->standing;
    r->standing = standing;
    if (was_standing && !standing) {
        rtc_adopt(r);
    }
}

static bool rtc_is_time(unsigned reg)
{
    return reg == R_CENTURY ||
           (reg <= R_YEAR && reg != R_SECONDS_ALARM && reg != R_MINUTES_ALARM && reg != R_HOURS_ALARM);
}

static void rtc_write_reg(Rtc *r, unsigned reg, uint8_t val)
{
    if (reg == R_C || reg == R_D) {
        guest_error(&r->dev, "write to read-only register %02x", reg);
        return;
    }
    rtc_catch_up(r);
    if (reg == R_A || reg == R_B) {
        rtc_write_control(r, reg, val);
    } else if (rtc_is_time(reg)) {
        rtc_refresh(r);
        r->cmos[reg] = val;
        if (!r->standing) {
            rtc_adopt(r);
        }
    } else {
        r->cmos[reg] = val;
    }
    rtc_update_irq(r);
    rtc_arm(r);
}

static uint8_t rtc_read_reg(Rtc *r, unsigned reg, bool debug)
{
    int64_t frac;
    if (rtc_is_time(reg)) {
        rtc_refresh(r);
        return r->cmos[reg];
    }
    switch (reg) {
    case R_A:
        rtc_second(r, &frac);
        return r->cmos[R_A] | (!r->standing && frac >= NS - UPDATE_NS ? A_UIP : 0);
    case R_C: {
        rtc_catch_up(r);
        rtc_update_irq(r);
        uint8_t val = r->cmos[R_C];
        if (!debug) {
            r->cmos[R_C] = 0;
            rtc_update_irq(r);
            rtc_arm(r);
        }
        return val;
    }
    case R_D: return D_VRT;
    default: return r->cmos[reg];
    }
}

static uint64_t rtc_read(void *opaque, MemAccess *a)
{
    Rtc *r = opaque;
    switch (a->off) {
    case 1: return rtc_read_reg(r, r->index, a->attrs.debug);
    case 3: return r->ext[r->ext_index];
    default: return 0xff; /* index registers are write-only */
    }
}

static void rtc_write(void *opaque, MemAccess *a, uint64_t val)
{
    Rtc *r = opaque;
    switch (a->off) {
    case 0: r->index = val & (CMOS_SIZE - 1); break;
    case 1: rtc_write_reg(r, r->index, val); break;
    case 2: r->ext_index = val & (CMOS_SIZE - 1); break;
    default: r->ext[r->ext_index] = val; break;
    }
}

void mc146818_set_cmos(Device *dev, unsigned index, uint8_t val)
{
    Rtc *r = dev_as(Rtc, dev);
    if (index > R_D && index != R_CENTURY && index < CMOS_SIZE) {
        r->cmos[index] = r->first_cmos[index] = val;
    }
}

void mc146818_forget_ticks(Device *dev)
{
    Rtc *r = dev_as(Rtc, dev);
    rtc_catch_up(r);
    r->lost = 0;
    rtc_update_irq(r);
    rtc_arm(r);
}

uint8_t mc146818_get_cmos(Device *dev, unsigned index)
{
    return index < CMOS_SIZE ? rtc_read_reg(dev_as(Rtc, dev), index, true) : 0;
}

/* -rtc base=, clock=, driftfix= */
static void rtc_take_options(Rtc *r)
{
    Machine *m = r->dev.machine;
    if (m->rtc.slew) {
        r->lost_tick_policy = LOST_SLEW;
    }
    const Clock *const clocks[] = { &clock_host_wall, &clock_host_monotonic, m->clock };
    r->ref = clocks[CLAMP(m->rtc.clock, 0, 2)];
    int64_t base = clock_now(&clock_host_wall);
    if (m->rtc.start_s != INT64_MIN) {
        base = m->rtc.start_s * NS;
    } else if (m->rtc.localtime) {
        time_t seconds = base / NS;
        struct tm tm;
        base += localtime_r(&seconds, &tm) ? tm.tm_gmtoff * NS : 0;
    }
    int64_t ahead = base - clock_now(r->ref);
    r->first_offset_s = floor_div(ahead, NS);
    r->first_phase_ns = ahead - r->first_offset_s * NS;
}

static bool rtc_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = {
        .read = rtc_read, .write = rtc_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    Rtc *r = dev_as(Rtc, dev);
    rtc_take_options(r);
    region_init_io(&r->regs, dev, "rtc", &ops, r, 4);
    r->late = (Coalesced){ .region = &r->regs, .off = 0, .size = 1 };
    coalesced_add(&r->late, dev);
    device_add_region(dev, &r->regs);
    device_add_irq(dev, &r->irq);
    device_add_timer(dev, &r->timer, rtc_fire);
    return true;
}

/* The battery keeps time and RAM over a warm reset; RESET of the data sheet clears enables and flags. */
static void rtc_reset(Device *dev, ResetKind kind)
{
    Rtc *r = dev_as(Rtc, dev);
    int64_t frac;
    if (kind == RESET_WARM) {
        rtc_write_control(r, R_B, r->cmos[R_B] & ~(B_PIE | B_AIE | B_UIE | B_SQWE));
    } else {
        memcpy(r->cmos, r->first_cmos, sizeof(r->cmos));
        memset(r->ext, 0, sizeof(r->ext));
        r->cmos[R_A] = A_DV_RUN | 6;
        r->cmos[R_B] = B_24H;
        r->offset_s = r->first_offset_s;
        r->phase_ns = r->first_phase_ns;
        r->standing = false;
    }
    r->cmos[R_C] = 0;
    r->index = r->ext_index = 0;
    r->lost = 0;
    r->seen_pulse = rtc_pulse(rtc_virtual(r));
    r->seen_second = rtc_second(r, &frac);
    timer_cancel(&r->timer);
}

static void rtc_reset_done(Device *dev)
{
    rtc_update_irq(dev_as(Rtc, dev));
}

/* Bytes that are only a cache of the time are not state, and what was seen is kept relative to now. */
static void rtc_pre_save(void *opaque)
{
    Rtc *r = opaque;
    int64_t frac;
    r->pulses_behind = MAX(rtc_pulse(rtc_virtual(r)), r->seen_pulse) - r->seen_pulse;
    r->seconds_behind = r->standing ? 0 : MAX(rtc_second(r, &frac) - r->seen_second, 0);
    if (!r->standing) {
        for (unsigned reg = 0; reg < CMOS_SIZE; reg++) {
            r->cmos[reg] = rtc_is_time(reg) ? 0 : r->cmos[reg];
        }
    }
}

static bool rtc_post_load(void *opaque, Error **errp)
{
    Rtc *r = opaque;
    if (r->offset_s > INT64_C(1) << 40 || r->offset_s < -(INT64_C(1) << 40)) { /* INT64_MIN has no ABS() */
        return error_set(errp, "the clock is %" PRId64 " s off, beyond any calendar", r->offset_s);
    }
    bool standing = (r->cmos[R_A] & A_DV) != A_DV_RUN || r->cmos[R_B] & B_SET;
    if (r->cmos[R_A] & A_UIP || standing != r->standing) {
        return error_set(errp, "registers A %02x and B %02x contradict the state of the clock", r->cmos[R_A],
                         r->cmos[R_B]);
    }
    uint64_t pulse = rtc_pulse(rtc_virtual(r));
    int64_t frac;
    r->seen_pulse = pulse - MIN(pulse, r->pulses_behind);
    r->seen_second = rtc_second(r, &frac) - CLAMP(r->seconds_behind, 0, INT64_C(1) << 40);
    rtc_update_irq(r);
    return true;
}

static const char *const rtc_policies[] = { "discard", "slew", NULL };
static const Prop rtc_props[] = {
    PROP_I32(Rtc, base_year, "base_year", 0, 0, 3000, "Year that the year and century bytes count from"),
    PROP_ENUM(Rtc, lost_tick_policy, "lost_tick_policy", LOST_DISCARD, rtc_policies,
              "Periodic interrupts the guest was late for: discard, or slew (deliver later)"),
    { 0 },
};
static const VmField rtc_fields[] = {
    VM_U8_MAX(Rtc, index, CMOS_SIZE - 1),
    VM_U8_MAX(Rtc, ext_index, CMOS_SIZE - 1),
    VM_U8_ARRAY(Rtc, ext),
    VM_U8_ARRAY(Rtc, cmos),
    VM_I64(Rtc, offset_s),
    VM_U32_MAX(Rtc, phase_ns, NS - 1),
    VM_BOOL(Rtc, standing),
    VM_U64(Rtc, pulses_behind),
    VM_I64(Rtc, seconds_behind),
    VM_U32_MAX(Rtc, lost, LOST_MAX),
    VM_TIMER(Rtc, timer),
    { 0 },
};
static const VmState rtc_state = { .name = "mc146818rtc",
                                   .version = 1,
                                   .oldest = 1,
                                   .fields = rtc_fields,
                                   .pre_save = rtc_pre_save,
                                   .post_load = rtc_post_load };
static const IsaOps rtc_isa = { .iobase = { 0x70 }, .irq = 8 };

const DeviceType mc146818_type = {
    .name = "mc146818rtc",
    .desc = "MC146818A real-time clock",
    .size = sizeof(Rtc),
    .bus_type = &isa_bus_type,
    .bus_ops = &rtc_isa,
    .category = "Misc",
    .props = rtc_props,
    .vmstate = &rtc_state,
    .realize = rtc_realize,
    .reset = rtc_reset,
    .reset_done = rtc_reset_done,
};

/* SPDX-License-Identifier: MIT
 * hw/block/fdc.c - the floppy disk controller "isa-fdc": registers, phases, and the commands that move no
 *                  data.
 *
 * Models: 82078 data sheet (290475) in PC-AT mode: 2.1 (registers), 4.0 (reset), 5.0 (phases), 6.5.8 to
 *         6.5.22; status registers A and B read as nobody drives them.
 * Does not model: SCAN commands, FORMAT AND WRITE, SAVE, RESTORE, OPTION, power down (they are invalid
 *         commands); the time that seeks take; tape drives, precompensation, FIFO thresholds.
 * Threads: the device's domain.
 */
#include "fdc.h"
#include "rhea/system/machine.h"

#include <string.h>

enum { R_SRA, R_SRB, R_DOR, R_TDR, R_MSR, R_FIFO };
enum { DOR_SELECT = 3, DOR_RESET = 4 /* 0: in reset */, DOR_GATE = 8 };
enum { MSR_RQM = 0x80, MSR_DIO = 0x40, MSR_NON_DMA = 0x20, MSR_BUSY = 0x10 };
enum { CONFIG_EIS = 0x40, CONFIG_EFIFO = 0x20, CONFIG_POLL = 0x10, PART_ID = 0x01 };

Floppy *fdc_drive(const Fdc *s)
{
    unsigned unit = s->fifo[1] & 3;
    return unit < FDC_UNITS ? s->drive[unit] : NULL;
}

unsigned fdc_drive_kind(Device *fdc, unsigned unit)
{
    const Fdc *s = dev_as(Fdc, fdc);
    return unit < FDC_UNITS && s->drive[unit] ? s->drive[unit]->kind : 0;
}

void fdc_update(Fdc *s)
{
    bool byte = fdc_host_turn(s) && !fdc_dma(s);
    irq_set(&s->irq, (s->dor & DOR_GATE) && (s->irq_latched || byte));
}

static void command_ended(Fdc *s)
{
    s->phase = FDC_COMMAND;
    s->pos = s->len = 0;
}

void fdc_results(Fdc *s, const uint8_t *bytes, unsigned n, bool irq)
{
    memcpy(s->fifo, bytes, n);
    s->phase = FDC_RESULT;
    s->pos = 0;
    s->len = (uint8_t)n;
    s->irq_latched = s->irq_latched || irq;
    fdc_update(s);
}

/* ---- reset (4.0) ---- */

/* What DOR and DSR do. LOCK keeps the FIFO's part of the configuration. */
static void soft_reset(Fdc *s)
{
    fdc_forget(s);
    fdc_dma_off(s);
    command_ended(s);
    s->irq_latched = false;
    s->config &= s->lock ? 0x2f : 0;
    s->config |= s->lock ? 0 : CONFIG_EFIFO;
    s->pretrk = s->lock ? s->pretrk : 0;
    s->perpendicular &= 0x3c;
    memset(s->pcn, 0, sizeof(s->pcn));
    s->senses = 0;
    s->tc = false;
}

/* Polling finds that all drives have become ready. */
static void leave_reset(Fdc *s)
{
    for (unsigned i = 0; i < 4; i++) {
        s->sense[i] = (uint8_t)(ST0_POLL | i);
    }
    s->senses = 0xf;
    s->irq_latched = true;
}

/* ---- commands ---- */

static void seek_ended(Fdc *s, unsigned unit, uint8_t st0)
{
    s->sense[unit] = (uint8_t)(st0 | unit);
    s->senses |= (uint8_t)(1 << unit);
    s->irq_latched = true;
    command_ended(s);
}

static void seek_to(Fdc *s, unsigned track)
{
    Floppy *d = fdc_drive(s);
    s->pcn[s->fifo[1] & 3] = (uint8_t)track;
    if (d) {
        floppy_step(d, track);
    }
}

void fdc_implied_seek(Fdc *s, unsigned track)
{
    const Floppy *d = fdc_drive(s);
    if ((s->config & CONFIG_EIS) && d && d->track != track) {
        seek_to(s, track);
    }
}

static void run_seek(Fdc *s)
{
    unsigned unit = s->fifo[1] & 3;
    seek_to(s, s->fifo[2]);
    seek_ended(s, unit, ST0_SEEK_END | (s->fifo[1] & 4));
}

static void run_relative_seek(Fdc *s)
{
    unsigned unit = s->fifo[1] & 3, at = s->pcn[unit], by = s->fifo[2];
    bool in = s->fifo[0] & 0x40;
    seek_to(s, in ? MIN(at + by, 255u) : at - MIN(at, by));
    seek_ended(s, unit, ST0_SEEK_END | (s->fifo[1] & 4));
}

static void run_recalibrate(Fdc *s)
{
    unsigned unit = s->fifo[1] & 3;
    bool there = fdc_drive(s) != NULL;
    seek_to(s, 0); /* without a drive the track 0 signal never comes */
    seek_ended(s, unit, there ? ST0_SEEK_END : ST0_SEEK_END | ST0_ABNORMAL | ST0_EQUIPMENT);
}

static void run_sense_interrupt(Fdc *s)
{
    s->irq_latched = false;
    for (unsigned i = 0; i < 4; i++) {
        if (s->senses & 1 << i) {
            s->senses &= (uint8_t)~(1 << i);
            fdc_results(s, (uint8_t[]){ s->sense[i], s->pcn[i] }, 2, false);
            return;
        }
    }
    fdc_results(s, (uint8_t[]){ ST0_INVALID }, 1, false);
}

static void run_sense_drive(Fdc *s)
{
    const Floppy *d = fdc_drive(s);
    uint8_t st3 = 0x28 | (s->fifo[1] & 7);
    if (d) {
        st3 |= (uint8_t)((d->port.client && d->port.read_only) << 6 | (d->track == 0) << 4);
    }
    fdc_results(s, &st3, 1, false);
}

static void run_specify(Fdc *s)
{
    memcpy(s->specify, s->fifo + 1, 2);
    command_ended(s);
}

static void run_configure(Fdc *s)
{
    s->config = s->fifo[2] & 0x7f;
    s->pretrk = s->fifo[3];
    command_ended(s);
}

static void run_perpendicular(Fdc *s)
{
    uint8_t v = s->fifo[1]; /* OW: drive bits count only with it */
    s->perpendicular = v & 0x80 ? v & 0x3f : (s->perpendicular & 0x3c) | (v & 3);
    command_ended(s);
}

static void run_lock(Fdc *s)
{
    s->lock = s->fifo[0] & 0x80;
    fdc_results(s, (uint8_t[]){ s->lock ? 0x10 : 0 }, 1, false);
}

static void run_dumpreg(Fdc *s)
{
    uint8_t out[10];
    memcpy(out, s->pcn, 4);
    memcpy(out + 4, s->specify, 2);
    out[6] = s->eot;
    out[7] = (uint8_t)(s->lock << 7) | s->perpendicular;
    out[8] = s->config;
    out[9] = s->pretrk;
    fdc_results(s, out, sizeof(out), false);
}

static void run_version(Fdc *s)
{
    fdc_results(s, (uint8_t[]){ 0x90 }, 1, false);
}

static void run_part_id(Fdc *s)
{
    fdc_results(s, (uint8_t[]){ PART_ID }, 1, false);
}

/* 6.5.9: bytes with bit 7 clear describe a drive each; one with it set ends the command, bit 6: at once. */
static void run_drive_spec(Fdc *s)
{
    uint8_t v = s->fifo[1];
    if (!(v & 0x80)) {
        s->spec[v >> 5 & 3] = v & 0x1f;
        s->pos = 1; /* another one */
    } else if (v & 0x40) {
        command_ended(s);
    } else {
        fdc_results(s, (uint8_t *)s->spec, 4, false);
    }
}

static const struct {
    uint8_t mask, value, params;
    void (*run)(Fdc *s);
} commands[] = {
    { 0x1f, 0x06, 8, fdc_transfer },           { 0x3f, 0x05, 8, fdc_transfer },
    { 0x1f, 0x0c, 8, fdc_transfer },           { 0x3f, 0x09, 8, fdc_transfer },
    { 0xbf, 0x02, 8, fdc_transfer },           { 0x1f, 0x16, 8, fdc_transfer },
    { 0xbf, 0x0d, 5, fdc_format },             { 0xbf, 0x0a, 1, fdc_read_id },
    { 0xff, 0x07, 1, run_recalibrate },        { 0xff, 0x08, 0, run_sense_interrupt },
    { 0xff, 0x03, 2, run_specify },            { 0xff, 0x04, 1, run_sense_drive },
    { 0xff, 0x8e, 1, run_drive_spec },         { 0xff, 0x0f, 2, run_seek },
    { 0xbf, 0x8f, 2, run_relative_seek },      { 0xff, 0x10, 0, run_version },
    { 0xff, 0x13, 3, run_configure },          { 0xff, 0x12, 1, run_perpendicular },
    { 0x7f, 0x14, 0, run_lock },               { 0xff, 0x0e, 0, run_dumpreg },
    { 0xff, 0x18, 0, run_part_id },
};

static int find_command(uint8_t first)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if ((first & commands[i].mask) == commands[i].value) {
            return (int)i;
        }
    }
    return -1;
}

static void command_byte(Fdc *s, uint8_t val)
{
    int k = find_command(s->pos ? s->fifo[0] : val);
    if (k < 0) { /* only a first byte gets here */
        guest_error(&s->dev, "floppy controller: command 0x%02x is unknown", val);
        fdc_results(s, (uint8_t[]){ ST0_INVALID }, 1, false);
        return;
    }
    s->fifo[s->pos++] = val;
    s->len = commands[k].params + 1;
    if (s->pos == s->len) {
        commands[k].run(s);
    }
}

/* ---- registers (2.1) ---- */

static uint8_t fifo_read(Fdc *s)
{
    uint8_t val = 0xff;
    if (s->phase == FDC_RESULT) {
        val = s->fifo[s->pos++];
        s->irq_latched = false;
        if (s->pos == s->len) {
            command_ended(s);
        }
    } else if (s->phase == FDC_TO_HOST && !fdc_dma(s)) {
        val = s->buf[s->buf_pos++];
        fdc_host_moved(s);
    }
    fdc_update(s);
    return val;
}

static void fifo_write(Fdc *s, uint8_t val)
{
    if (!(s->dor & DOR_RESET)) {
        return;
    }
    if (s->phase == FDC_COMMAND) {
        command_byte(s, val);
    } else if (s->phase == FDC_FROM_HOST && !fdc_dma(s)) {
        s->buf[s->buf_pos++] = val;
        fdc_host_moved(s);
    } else {
        guest_error(&s->dev, "floppy controller: a byte 0x%02x that it does not wait for", val);
    }
    fdc_update(s);
}

static uint8_t main_status(const Fdc *s)
{
    uint8_t side = fdc_dma(s) ? 0 : MSR_NON_DMA;
    if (!(s->dor & DOR_RESET)) {
        return 0;
    }
    switch (s->phase) {
    case FDC_COMMAND: return MSR_RQM | (s->pos ? MSR_BUSY : 0);
    case FDC_RESULT: return MSR_RQM | MSR_DIO | MSR_BUSY;
    case FDC_TO_HOST: return MSR_BUSY | side | (side ? MSR_RQM | MSR_DIO : 0);
    case FDC_FROM_HOST: return MSR_BUSY | side | (side ? MSR_RQM : 0);
    default: return MSR_BUSY | side;
    }
}

static uint64_t fdc_read(void *opaque, MemAccess *a)
{
    Fdc *s = opaque;
    switch (a->off) {
    case R_DOR: return s->dor;
    case R_TDR: return s->tdr;
    case R_MSR: return main_status(s);
    case R_FIFO: return a->attrs.debug ? 0xff : fifo_read(s);
    default: return 0xff;
    }
}

static void dor_write(Fdc *s, uint8_t val)
{
    uint8_t was = s->dor;
    s->dor = val;
    if (was & ~val & DOR_RESET) {
        soft_reset(s);
    } else if (val & ~was & DOR_RESET) {
        leave_reset(s);
    }
    fdc_pump(s); /* the gate may be open now */
}

static void fdc_write(void *opaque, MemAccess *a, uint64_t val)
{
    Fdc *s = opaque;
    switch (a->off) {
    case R_DOR: dor_write(s, (uint8_t)val); break;
    case R_TDR: s->tdr = val & 3; break;
    case R_MSR: /* DSR */
        s->rate = val & 3;
        if (val & 0x80) { /* clears itself */
            soft_reset(s);
            if (s->dor & DOR_RESET) {
                leave_reset(s);
            }
            fdc_update(s);
        }
        break;
    case R_FIFO: fifo_write(s, (uint8_t)val); break;
    default: break;
    }
}

/* 3F7h: DIR is bit 7 alone (the others are the hard disk's), CCR the data rate. */
static uint64_t dir_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    const Fdc *s = opaque;
    unsigned unit = s->dor & DOR_SELECT;
    const Floppy *d = unit < FDC_UNITS ? s->drive[unit] : NULL;
    return d && d->changed ? 0x80 : 0;
}

static void ccr_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    ((Fdc *)opaque)->rate = val & 3;
}

/* ---- life ---- */

static void dma_ready(Device *dev, unsigned channel G_GNUC_UNUSED)
{
    fdc_pump(dev_as(Fdc, dev));
}

static void order_fini(void *order)
{
    co_mutex_fini(order);
}

static bool fdc_realize(Device *dev, Error **errp)
{
    static const MemOps ops = {
        .read = fdc_read, .write = fdc_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const MemOps dir_ops = {
        .read = dir_read, .write = ccr_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const IsaDmaOps dma_ops = { .ready = dma_ready };
    Fdc *s = dev_as(Fdc, dev);
    if (!isa_dma_claim(dev, 2, &dma_ops, errp)) {
        return false;
    }
    co_mutex_init(&s->order);
    device_add_cleanup(dev, order_fini, &s->order);
    device_add_task(dev, &s->resume, fdc_resume);
    region_init_io(&s->ports, dev, "fdc", &ops, s, 6);
    region_init_io(&s->dir, dev, "fdc-dir", &dir_ops, s, 1);
    device_add_region(dev, &s->ports);
    device_add_region(dev, &s->dir);
    device_add_irq(dev, &s->irq);
    s->bus = bus_new(&floppy_bus_type, dev, "floppy-bus.0", s);
    return true;
}

static void fdc_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Fdc *s = dev_as(Fdc, dev);
    fdc_forget(s);
    s->dreq = s->irq_latched = s->lock = s->tc = false;
    s->dor = s->tdr = s->pretrk = s->perpendicular = s->senses = 0;
    s->rate = 2; /* 250 kbit/s */
    s->config = CONFIG_EFIFO;
    memset(s->specify, 0, sizeof(s->specify));
    memset(s->spec, 0, sizeof(s->spec));
    memset(s->pcn, 0, sizeof(s->pcn));
    memset(s->sense, 0, sizeof(s->sense));
    memset(s->fifo, 0, sizeof(s->fifo));
    memset(s->buf, 0, sizeof(s->buf));
    s->c = s->h = s->r = s->n = s->head = s->eot = s->left = 0;
    s->buf_pos = s->buf_len = 0;
    command_ended(s);
}

static void fdc_reset_done(Device *dev)
{
    fdc_update(dev_as(Fdc, dev));
}

static bool fdc_post_load(void *opaque, Error **errp)
{
    Fdc *s = opaque;
    int k = find_command(s->fifo[0]);
    bool command = s->phase == FDC_COMMAND, good;
    if (command) {
        good = s->pos ? k >= 0 && s->len == commands[k].params + 1 && s->pos < s->len : s->len == 0;
    } else if (s->phase == FDC_RESULT) {
        good = s->len <= FDC_FIFO && s->pos < s->len;
    } else {
        bool format = k >= 0 && commands[k].run == fdc_format;
        good = k >= 0 && (format || commands[k].run == fdc_transfer) &&
               s->buf_len <= (format ? 4 : FLOPPY_SECTOR) && (!fdc_host_turn(s) || s->buf_pos < s->buf_len);
    }
    if (!good || s->buf_pos > FLOPPY_SECTOR) {
        return error_set(errp, "the saved command of a floppy controller contradicts itself");
    }
    fdc_forget(s);
    domain_post(&s->resume);
    return true;
}

static const VmField fdc_fields[] = {
    VM_U8(Fdc, dor), VM_U8_MAX(Fdc, tdr, 3), VM_U8_MAX(Fdc, rate, 3),
    VM_U8_ARRAY(Fdc, specify), VM_U8_MAX(Fdc, config, 0x7f), VM_U8(Fdc, pretrk),
    VM_U8_MAX(Fdc, perpendicular, 0x3f), VM_U8_ARRAY(Fdc, spec),
    VM_BOOL(Fdc, lock), VM_BOOL(Fdc, irq_latched), VM_BOOL(Fdc, dreq),
    VM_U8_ARRAY(Fdc, pcn), VM_U8_ARRAY(Fdc, sense), VM_U8_MAX(Fdc, senses, 15),
    VM_U8_MAX(Fdc, phase, FDC_PHASES - 1),
    VM_U8_ARRAY(Fdc, fifo), VM_U8_MAX(Fdc, pos, FDC_FIFO), VM_U8_MAX(Fdc, len, FDC_FIFO),
    VM_U8(Fdc, c), VM_U8(Fdc, h), VM_U8(Fdc, r), VM_U8(Fdc, n), VM_U8_MAX(Fdc, head, 1), VM_U8(Fdc, eot),
    VM_U8(Fdc, left), VM_BOOL(Fdc, tc),
    VM_U8_ARRAY(Fdc, buf), VM_U16_MAX(Fdc, buf_pos, FLOPPY_SECTOR), VM_U16_MAX(Fdc, buf_len, FLOPPY_SECTOR),
    { 0 },
};
static const VmState fdc_state = {
    .name = "isa-fdc", .version = 1, .oldest = 1, .fields = fdc_fields, .post_load = fdc_post_load
};
static const IsaOps fdc_isa = { .iobase = { 0x3f0, 0x3f7 }, .irq = 6 };

const DeviceType isa_fdc_type = {
    .name = "isa-fdc",
    .desc = "floppy disk controller (82078)",
    .size = sizeof(Fdc),
    .category = "Storage",
    .bus_type = &isa_bus_type,
    .bus_ops = &fdc_isa,
    .vmstate = &fdc_state,
    .realize = fdc_realize,
    .reset = fdc_reset,
    .reset_done = fdc_reset_done,
};

/* SPDX-License-Identifier: MIT
 * hw/ide/channel.c - the registers of an ATA channel, as its host adapter passes accesses on.
 *
 * Models: ATA/ATAPI-6 (T13/1410D): command block and control registers (7), software reset (9.1, 9.2), DEVICE
 *         RESET (8.7), both drives' latching of parameters, HOB reads (6.20). Does not model: a drive's
 * timing. Threads: the domain of the adapter.
 */
#include "ide.h"

static IdeDrive *selected(const IdeChannel *c)
{
    return c->drive[c->select & DEV_UNIT ? 1 : 0];
}

void ide_channel_update(IdeChannel *c)
{
    const IdeDrive *d = selected(c);
    c->ops->irq(c->host, c, d && d->intrq && !(c->control & CTL_NIEN));
}

static uint32_t data_access(IdeDrive *d, IdePhase phase, uint32_t val, unsigned size)
{
    if (!d || d->phase != phase) {
        return UINT32_MAX;
    }
    for (unsigned i = 0; i < size && d->pos < d->len; i++, d->pos++) {
        if (phase == IDE_PIO_OUT) {
            d->buf[d->pos] = (uint8_t)(val >> (8 * i));
        } else {
            val = (val & ~(0xffu << (8 * i))) | (uint32_t)d->buf[d->pos] << (8 * i);
        }
    }
    if (d->pos == d->len) {
        d->kind->block_end(d);
    }
    return val;
}

uint8_t ide_alt_status(IdeChannel *c)
{
    const IdeDrive *d = selected(c);
    if (!d) {
        return c->drive[0] || c->drive[1] ? 0 : 0x7f; /* pull-down on DD7 (9.16.1) when nobody is there */
    }
    return c->control & CTL_SRST ? ST_BSY : d->status;
}

uint32_t ide_command_read(IdeChannel *c, unsigned reg, unsigned size)
{
    IdeDrive *d = selected(c);
    if (reg == REG_DATA) {
        return data_access(d, IDE_PIO_IN, 0, size);
    }
    if (reg == REG_COMMAND) {
        uint8_t st = ide_alt_status(c);
        if (d) {
            d->intrq = false;
            ide_channel_update(c);
        }
        return st;
    }
    if (!d) {
        return c->drive[0] || c->drive[1] ? 0 : 0xff;
    }
    if (reg == REG_DEVICE) {
        return c->select | 0xa0;
    }
    if (reg == REG_FEATURE) {
        return d->error;
    }
    return c->control & CTL_HOB ? d->hob[reg] : d->reg[reg];
}

static void command_write(IdeChannel *c, IdeDrive *d, uint8_t cmd)
{
    if (!d || c->control & CTL_SRST) {
        return;
    }
    if (cmd == IDE_DEVICE_RESET && d->kind->packet) { /* at any time, without an interrupt */
        ide_drive_reset_registers(d);
        ide_channel_update(c);
        return;
    }
    if (d->status & (ST_BSY | ST_DRQ)) {
        guest_error(&d->dev, "ATA command 0x%02x while another one runs", cmd);
        return;
    }
    d->intrq = false;
    d->error = 0;
    d->len = d->pos = 0;
    ide_channel_update(c);
    d->kind->command(d, cmd);
}

void ide_command_write(IdeChannel *c, unsigned reg, uint32_t val, unsigned size)
{
    IdeDrive *d = selected(c);
    if (reg == REG_DATA) {
        data_access(d, IDE_PIO_OUT, val, size);
        return;
    }
    c->control &= (uint8_t)~CTL_HOB; /* any write ends it (6.20) */
    if (reg == REG_DEVICE) {
        c->select = val & 0x5f;
        ide_channel_update(c);
    } else if (reg == REG_COMMAND) {
        command_write(c, d, (uint8_t)val);
    } else {
        for (unsigned i = 0; i < IDE_UNITS; i++) { /* both drives latch it */
            IdeDrive *o = c->drive[i];
            if (o && !(o->status & (ST_BSY | ST_DRQ))) {
                o->hob[reg] = o->reg[reg];
                o->reg[reg] = (uint8_t)val;
            }
        }
    }
}

void ide_control_write(IdeChannel *c, uint8_t val)
{
    bool reset = val & ~c->control & CTL_SRST;
    c->control = val & (CTL_NIEN | CTL_SRST | CTL_HOB);
    if (reset) {
        c->select = 0;
        for (unsigned i = 0; i < IDE_UNITS; i++) {
            if (c->drive[i]) {
                ide_drive_reset_registers(c->drive[i]);
            }
        }
    }
    ide_channel_update(c);
}

void ide_dma_kick(IdeChannel *c)
{
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        IdeDrive *d = c->drive[i];
        if (d && ide_phase_dma(d)) {
            d->kind->start(d);
            return;
        }
    }
}

void ide_dma_cancel(IdeChannel *c)
{
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        IdeDrive *d = c->drive[i];
        if (d && ide_phase_dma(d)) {
            ide_drive_forget(d);
        }
    }
}

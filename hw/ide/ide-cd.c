/* SPDX-License-Identifier: MIT
 * hw/ide/ide-cd.c - the ATAPI CD and DVD drive "ide-cd": packets, data transfers, its tray and medium.
 *
 * Models: ATA/ATAPI-6 (T13/1410D): the PACKET command feature set (6.8), PACKET by PIO and DMA
 * (8.25, 9.8, 9.9), IDENTIFY PACKET DEVICE (8.16); data by blocks of the host's byte count limit. Does not
 * model: overlapped and queued packets, DMADIR, writing, audio. Threads: the domain of the adapter; the tray
 * is moved from outside on the main loop with the domain held.
 */
#include "ide-cd.h"
#include "rhea/system/machine.h"

#include <string.h>

/* ---- ends of commands ---- */

void cd_good(IdeCd *s)
{
    s->d.left = s->have = 0;
    s->d.reg[REG_COUNT] = CD_REASON_DONE;
    ide_drive_finish(&s->d, 0);
}

/* 8.25.5: the sense key goes to the error register's upper half. */
void cd_check(IdeCd *s, uint32_t sense)
{
    s->sense = sense;
    s->d.left = s->have = 0;
    s->d.reg[REG_COUNT] = CD_REASON_DONE;
    ide_drive_finish(&s->d, (uint8_t)(sense >> 16 << 4 | (sense >> 16 == 5 ? ER_ABRT : 0)));
}

static void dma_good(IdeCd *s)
{
    IdeChannel *c = s->d.channel;
    cd_good(s);
    c->ops->dma_done(c->host, c);
}

/* ---- data ---- */

/* The next block of buf[pos..have): no more than the limit, which is even when it is not the last (8.25.4).
 */
static void pio_block(IdeCd *s, uint32_t pos)
{
    IdeDrive *d = &s->d;
    uint32_t n = s->have - pos;
    n = n > d->block ? d->block & ~1u : n;
    d->reg[REG_COUNT] = CD_REASON_IN;
    d->reg[REG_LBA1] = (uint8_t)n;
    d->reg[REG_LBA2] = (uint8_t)(n >> 8);
    ide_drive_drq(d, IDE_PIO_IN, pos, pos + n);
    ide_drive_interrupt(d);
}

/* A limit of 0, or of 1 for more than a byte, moves nothing. */
static bool limit_fits(const IdeCd *s, uint64_t total)
{
    return s->dma || s->d.block > 1 || (s->d.block == 1 && total == 1);
}

void cd_reply(IdeCd *s, uint32_t len, uint32_t allowed)
{
    len = MIN(len, allowed);
    if (!len) {
        cd_good(s);
    } else if (!limit_fits(s, len)) {
        cd_check(s, SENSE_BAD_FIELD);
    } else if (s->dma) {
        s->have = s->d.len = len;
        s->d.pos = 0;
        ide_drive_busy(&s->d, IDE_DMA_REPLY);
    } else {
        s->have = len;
        pio_block(s, 0);
    }
}

void cd_read(IdeCd *s, uint64_t lba, uint32_t n, uint8_t format)
{
    uint32_t size = cdsector_size(format);
    if (lba > s->blocks || n > s->blocks - lba) {
        cd_check(s, SENSE_BAD_ADDRESS);
    } else if (!n || !size) {
        cd_good(s);
    } else if (!limit_fits(s, (uint64_t)n * size)) {
        cd_check(s, SENSE_BAD_FIELD);
    } else {
        s->format = format;
        s->d.lba = lba;
        s->d.left = n;
        ide_drive_busy(&s->d, s->dma ? IDE_DMA_IN : IDE_LOAD);
    }
}

static void cd_start(IdeDrive *d)
{
    IdeCd *s = cd_of(d);
    IdeChannel *c = d->channel;
    if (d->request || d->phase < IDE_LOAD || (ide_phase_dma(d) && !c->ops->dma_ready(c->host, c))) {
        return;
    }
    if (d->phase == IDE_DMA_REPLY) {
        if (c->ops->dma_copy(c->host, c, d->buf, d->len, true)) {
            dma_good(s);
        }
        return;
    }
    if (d->forgotten) {
        return;
    }
    if (!d->port.client || !cd_ready(s) || d->lba > s->blocks ||
        d->left > s->blocks - d->lba) { /* taken out meanwhile */
        cd_check(s, s->tray_open ? SENSE_TRAY_OPEN : s->blocks ? SENSE_BAD_ADDRESS : SENSE_NO_MEDIUM);
        return;
    }
    uint32_t n = MIN(d->left, (uint32_t)IDE_DMA_BYTES / CD_BLOCK);
    if (d->phase == IDE_LOAD) {
        n = MIN(n, IDE_BUF / cdsector_size(s->format));
    }
    IdeRequest *q = ide_request_new((size_t)n * CD_BLOCK);
    q->blocks = n;
    ide_request_submit(d, q, DRIVE_READ, d->lba * CD_BLOCK, 0);
}

static void make_sectors(const IdeCd *s, uint8_t *out, const IdeRequest *q)
{
    uint32_t size = cdsector_size(s->format);
    for (uint32_t i = 0; i < q->blocks; i++) {
        cdsector_make(out + (size_t)i * size, q->data + (size_t)i * CD_BLOCK, (uint32_t)s->d.lba + i,
                      s->format);
    }
}

static bool dma_sectors(const IdeCd *s, IdeRequest *q)
{
    IdeChannel *c = s->d.channel;
    if (s->format == CD_USER) {
        return c->ops->dma_copy(c->host, c, q->data, q->bytes, true);
    }
    size_t bytes = (size_t)q->blocks * cdsector_size(s->format);
    g_autofree uint8_t *raw = g_malloc(bytes);
    make_sectors(s, raw, q);
    return c->ops->dma_copy(c->host, c, raw, bytes, true);
}

static void cd_done(IdeDrive *d, IdeRequest *q)
{
    IdeCd *s = cd_of(d);
    if (q->r.result < 0) {
        cd_check(s, SENSE_READ_ERROR);
        return;
    }
    if (d->phase == IDE_DMA_IN) {
        if (!dma_sectors(s, q)) {
            return; /* too little room: the drive waits for a host that gives no more, until a reset */
        }
        d->lba += q->blocks;
        d->left -= q->blocks;
        if (d->left) {
            cd_start(d);
        } else {
            dma_good(s);
        }
        return;
    }
    if (s->format == CD_USER) {
        memcpy(d->buf, q->data, q->bytes);
    } else {
        make_sectors(s, d->buf, q);
    }
    s->have = q->blocks * cdsector_size(s->format);
    d->lba += q->blocks;
    d->left -= q->blocks;
    pio_block(s, 0);
}

/* The host has written a packet, or read a block. */
static void cd_block_end(IdeDrive *d)
{
    IdeCd *s = cd_of(d);
    uint8_t packet[CD_PACKET];
    if (d->phase == IDE_PIO_OUT) {
        memcpy(packet, d->buf, sizeof(packet));
        d->pos = d->len = 0;
        atapi_command(s, packet);
    } else if (!d->left && !s->have) { /* IDENTIFY's one block */
        d->phase = IDE_IDLE;
        d->status = d->kind->idle;
        d->pos = d->len = 0;
    } else if (d->pos < s->have) {
        pio_block(s, d->pos);
    } else if (d->left) {
        ide_drive_busy(d, IDE_LOAD);
    } else {
        cd_good(s);
    }
}

/* ---- commands of the ATA kind ---- */

/* 8.25: bit 0 of the features: DMA. Bit 1 (overlap) is one of a feature set this drive does not have. */
static void command_packet(IdeCd *s)
{
    IdeDrive *d = &s->d;
    if (d->reg[REG_FEATURE] & 2) {
        ide_drive_finish(d, ER_ABRT);
        return;
    }
    uint32_t limit = d->reg[REG_LBA1] | (uint32_t)d->reg[REG_LBA2] << 8;
    s->dma = d->reg[REG_FEATURE] & 1;
    d->block = MIN(limit, 0xfffeu);
    d->left = s->have = 0;
    d->reg[REG_COUNT] = CD_REASON_COMMAND;
    ide_drive_drq(d, IDE_PIO_OUT, 0, CD_PACKET);
}

static void cd_command(IdeDrive *d, uint8_t cmd)
{
    IdeCd *s = cd_of(d);
    s->have = d->left = 0;
    switch (cmd) {
    case 0xa0: command_packet(s); break;
    case 0xa1: /* IDENTIFY PACKET DEVICE */
        atapi_identify(s, d->buf);
        ide_drive_drq(d, IDE_PIO_IN, 0, IDE_SECTOR);
        ide_drive_interrupt(d);
        break;
    case 0x20:
    case 0x21:
    case 0xec: /* 8.15.5.2, 8.34.5.2: refused, and the signature tells why */
        memcpy(d->reg + REG_COUNT, d->kind->signature, sizeof(d->kind->signature));
        ide_drive_finish(d, ER_ABRT);
        break;
    case 0x90: ide_drive_diagnostic(d->channel); break;
    case 0xef: ide_drive_finish(d, d->reg[REG_FEATURE] == 0x03 && ide_drive_set_mode(d) ? 0 : ER_ABRT); break;
    case 0xe5: /* CHECK POWER MODE: active */
        d->reg[REG_COUNT] = 0xff;
        ide_drive_finish(d, 0);
        break;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3: ide_drive_finish(d, 0); break; /* STANDBY, IDLE: there is nothing to spin up */
    default: ide_drive_finish(d, ER_ABRT);
    }
}

static void cd_registers_reset(IdeDrive *d)
{
    IdeCd *s = cd_of(d);
    s->have = s->format = 0;
    s->dma = false;
    s->sense = SENSE_NONE;
}

static const IdeKind cd_kind = {
    .signature = { 1, 1, 0x14, 0xeb },
    .idle = ST_DRDY,
    .after_reset = 0, /* 9.12: DRDY comes with the first command that succeeds */
    .packet = true,
    .command = cd_command,
    .block_end = cd_block_end,
    .start = cd_start,
    .done = cd_done,
    .reset = cd_registers_reset,
};

/* ---- tray and medium ---- */

static void tray_moved(IdeCd *s, bool open)
{
    s->tray_open = open;
    if (open) {
        s->eject_wanted = false;
        s->event = CD_EVENT_REMOVED;
    } else if (s->blocks) {
        s->attention |= CD_ATT_MEDIUM;
        s->event = CD_EVENT_NEW;
    }
}

void cd_move_tray(IdeCd *s, bool open)
{
    if (s->tray_open != open) {
        tray_moved(s, open);
        drive_tray_moved(&s->d.port, open);
    }
}

static bool media_tray_open(Device *dev)
{
    return cd_of(dev_as(IdeDrive, dev))->tray_open;
}

static bool media_locked(Device *dev)
{
    return cd_of(dev_as(IdeDrive, dev))->locked;
}

static void media_ask(Device *dev)
{
    cd_of(dev_as(IdeDrive, dev))->eject_wanted = true;
}

static void media_set_tray(Device *dev, bool open)
{
    tray_moved(cd_of(dev_as(IdeDrive, dev)), open);
}

static void media_changed(Device *dev)
{
    IdeCd *s = cd_of(dev_as(IdeDrive, dev));
    bool had = s->blocks;
    s->blocks = (uint32_t)MIN(drive_size(&s->d.port) / CD_BLOCK, (int64_t)UINT32_MAX);
    if (!s->tray_open && (had || s->blocks)) {
        s->attention |= s->blocks ? CD_ATT_MEDIUM : 0;
        s->event = s->blocks ? CD_EVENT_NEW : CD_EVENT_REMOVED;
    }
}

static const DriveMediaOps media_ops = {
    .tray_open = media_tray_open,
    .locked = media_locked,
    .ask = media_ask,
    .set_tray = media_set_tray,
    .changed = media_changed,
};

/* ---- the device ---- */

static bool cd_realize(Device *dev, Error **errp)
{
    IdeDrive *d = dev_as(IdeDrive, dev);
    IdeCd *s = cd_of(d);
    d->kind = &cd_kind;
    if (!ide_drive_check_texts(d, errp) || !drive_open_removable(&d->port, dev, &media_ops, false, errp)) {
        return false;
    }
    s->blocks = (uint32_t)MIN(drive_size(&d->port) / CD_BLOCK, (int64_t)UINT32_MAX);
    ide_drive_default_serial(d);
    return true;
}

/* The tray stays where it is: nothing but its motor moves it. */
static void cd_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    IdeCd *s = cd_of(dev_as(IdeDrive, dev));
    s->attention = CD_ATT_RESET;
    s->event = CD_EVENT_NONE;
    s->locked = s->eject_wanted = false;
}

static bool cd_post_load(void *opaque, Error **errp)
{
    IdeCd *s = opaque;
    IdeDrive *d = &s->d;
    ide_drive_forget(d);
    uint32_t size = cdsector_size(s->format);
    bool medium = d->phase == IDE_LOAD || d->phase == IDE_DMA_IN;
    bool in = d->phase == IDE_PIO_IN, out = d->phase == IDE_PIO_OUT;
    if (d->phase == IDE_STORE || d->phase == IDE_FLUSH || d->phase == IDE_DMA_OUT ||
        d->phase > IDE_DMA_REPLY || s->format & ~0xf8 ||
        (d->left && (!size || (!s->dma && d->block < 2))) || (medium && !d->left) ||
        (ide_phase_dma(d) && !s->dma) || ((in || out) && d->pos >= d->len) || (out && d->len != CD_PACKET) ||
        (d->phase == IDE_DMA_REPLY && (!d->len || d->pos)) || d->pos > d->len ||
        (in && s->have && (s->dma || !d->block || d->len > s->have || d->len - d->pos > d->block)) ||
        (in && s->have && d->len < s->have && d->block < 2) || (in && !s->have && d->left)) {
        return error_set(errp, "the saved transfer of an IDE CD drive contradicts itself");
    }
    domain_post(&d->resume);
    return true;
}

static const VmField cd_fields[] = {
    VM_U32_MAX(IdeCd, sense, 0xfffff),
    VM_U32_MAX(IdeCd, have, IDE_BUF),
    VM_U8_MAX(IdeCd, attention, CD_ATT_RESET | CD_ATT_MEDIUM),
    VM_U8_MAX(IdeCd, event, CD_EVENT_REMOVED),
    VM_U8(IdeCd, format),
    VM_BOOL(IdeCd, tray_open),
    VM_BOOL(IdeCd, locked),
    VM_BOOL(IdeCd, eject_wanted),
    VM_BOOL(IdeCd, dma),
    { 0 },
};
static const VmState cd_state = {
    .name = "ide-cd",
    .version = 1,
    .oldest = 1,
    .fields = cd_fields,
    .post_load = cd_post_load,
};

#define CD_BLOCKS "a CD has blocks of 2048 bytes, whatever the image lies on", "leave it out"
static const Prop cd_props[] = {
    PROP_STR(IdeCd, d.model, "model", "RHEA DVD-ROM", "Model, at most 40 characters"),
    PROP_ONLY_SIZE("logical_block_size", 0, CD_BLOCKS),
    PROP_ONLY_SIZE("physical_block_size", 0, CD_BLOCKS),
    PROP_ONLY_SIZE("min_io_size", 0, CD_BLOCKS),
    PROP_ONLY_SIZE("opt_io_size", 0, CD_BLOCKS),
    PROP_ONLY_SIZE("discard_granularity", UINT32_MAX, "a CD is never written", "leave it out"),
    PROP_ONLY_AUTO("backend_defaults", CD_BLOCKS),
    { 0 },
};

const DeviceType ide_cd_type = {
    .name = "ide-cd",
    .desc = "ATAPI CD and DVD drive",
    .size = sizeof(IdeCd),
    .category = "Storage",
    .base = &ide_drive_type,
    .bus_type = &ide_bus_type,
    .props = cd_props,
    .vmstate = &cd_state,
    .realize = cd_realize,
    .reset = cd_reset,
};

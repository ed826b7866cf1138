/* SPDX-License-Identifier: MIT
 * hw/ide/ide-hd.c - the ATA channel and the disk "ide-hd".
 *
 * Models: ATA/ATAPI-6 (T13/1410D): command block and control registers (7), reset and signature (9.1, 9.12),
 *         PIO and DMA data transfers (9.5 to 9.7), the general feature set (8), 48-bit addresses (6.20).
 * Does not model: queued and streaming commands, security, SMART, host protected area, read look-ahead.
 * Threads: the domain of the adapter (platform). A command that needs the medium hands in one request; what
 *         it will do follows from saved state alone, so that a loaded drive hands it in again. A reset
 * forgets the request; it ends by itself, and the drive's later ones come after it.
 */
#include "ide.h"
#include "rhea/system/machine.h"

#include <errno.h>
#include <string.h>

enum { ST_ERR = 0x01, ST_DRQ = 0x08, ST_DSC = 0x10, ST_DRDY = 0x40, ST_BSY = 0x80 };
enum { ER_ABRT = 0x04, ER_IDNF = 0x10, ER_UNC = 0x40 };
enum { REG_DATA, REG_FEATURE, REG_COUNT, REG_LBA0, REG_LBA1, REG_LBA2, REG_DEVICE, REG_COMMAND };
enum { DEV_UNIT = 0x10, DEV_LBA = 0x40, CTL_NIEN = 0x02, CTL_SRST = 0x04, CTL_HOB = 0x80 };

typedef struct IdeRequest {
    DriveRequest r;
    IdeDrive *d; /* NULL: forgotten */
    unsigned sectors;
    uint8_t *data;
} IdeRequest;

static void drive_start(IdeDrive *d);

/* ---- status and interrupts ---- */

static IdeDrive *selected(const IdeChannel *c)
{
    return c->drive[c->select & DEV_UNIT ? 1 : 0];
}

void ide_channel_update(IdeChannel *c)
{
    const IdeDrive *d = selected(c);
    c->ops->irq(c->host, c, d && d->intrq && !(c->control & CTL_NIEN));
}

static void drive_interrupt(IdeDrive *d)
{
    d->intrq = true;
    ide_channel_update(d->channel);
}

static void drive_finish(IdeDrive *d, uint8_t error)
{
    d->phase = IDE_IDLE;
    d->error = error;
    d->status = ST_DRDY | ST_DSC | (error ? ST_ERR : 0);
    d->pos = d->len = 0;
    drive_interrupt(d);
}

static void drive_forget(IdeDrive *d)
{
    if (d->request) {
        d->request->d = NULL;
        d->request = NULL;
    }
}

/* 9.1: after a reset, the signature of a device without PACKET commands. */
static void drive_reset_registers(IdeDrive *d)
{
    drive_forget(d);
    memset(d->reg, 0, sizeof(d->reg));
    memset(d->hob, 0, sizeof(d->hob));
    d->reg[REG_COUNT] = d->reg[REG_LBA0] = 1;
    d->status = ST_DRDY | ST_DSC;
    d->error = 1;
    d->phase = IDE_IDLE;
    d->intrq = d->lba48 = d->fua = false;
    d->lba = d->left = d->pos = d->len = d->block = 0;
    memset(d->buf, 0, sizeof(d->buf));
}

/* ---- addresses ---- */

static uint64_t drive_address(const IdeDrive *d)
{
    const uint8_t *r = d->reg, *h = d->hob;
    if (d->lba48) {
        return (uint64_t)h[REG_LBA2] << 40 | (uint64_t)h[REG_LBA1] << 32 | (uint64_t)h[REG_LBA0] << 24 |
               (uint64_t)r[REG_LBA2] << 16 | (uint64_t)r[REG_LBA1] << 8 | r[REG_LBA0];
    }
    unsigned dev = d->channel->select;
    if (dev & DEV_LBA) {
        return (uint64_t)(dev & 0xf) << 24 | r[REG_LBA2] << 16 | r[REG_LBA1] << 8 | r[REG_LBA0];
    }
    uint64_t cyl = r[REG_LBA2] << 8 | r[REG_LBA1];
    if (!r[REG_LBA0] || r[REG_LBA0] > d->spt || (dev & 0xf) >= d->heads) {
        return UINT64_MAX;
    }
    return (cyl * d->heads + (dev & 0xf)) * d->spt + r[REG_LBA0] - 1;
}

static void drive_set_address(IdeDrive *d, uint64_t lba)
{
    uint8_t *r = d->reg, *h = d->hob;
    if (d->lba48 || d->channel->select & DEV_LBA) {
        for (unsigned i = 0; i < 3; i++) {
            r[REG_LBA0 + i] = (uint8_t)(lba >> (8 * i));
            h[REG_LBA0 + i] = d->lba48 ? (uint8_t)(lba >> (24 + 8 * i)) : h[REG_LBA0 + i];
        }
        if (!d->lba48) {
            d->channel->select = (d->channel->select & 0xf0) | (lba >> 24 & 0xf);
        }
    } else {
        uint64_t track = lba / d->spt, cyl = track / d->heads;
        r[REG_LBA0] = (uint8_t)(lba % d->spt + 1);
        r[REG_LBA1] = (uint8_t)cyl;
        r[REG_LBA2] = (uint8_t)(cyl >> 8);
        d->channel->select = (d->channel->select & 0xf0) | (uint8_t)(track % d->heads);
    }
}

/* ---- requests to the medium ---- */

static void drive_step(IdeDrive *d, unsigned sectors)
{
    d->lba += sectors;
    d->left -= MIN(sectors, d->left);
}

static void drive_fail(IdeDrive *d)
{
    drive_set_address(d, d->lba);
    drive_finish(d, d->phase == IDE_FLUSH ? ER_ABRT : ER_UNC);
}

static void drive_drq(IdeDrive *d, IdePhase phase, uint32_t len)
{
    d->phase = phase;
    d->pos = 0;
    d->len = len;
    d->status = ST_DRDY | ST_DSC | ST_DRQ;
}

static uint32_t next_block(const IdeDrive *d)
{
    return (uint32_t)MIN((uint64_t)d->left * IDE_SECTOR, d->block);
}

static void dma_finish(IdeDrive *d)
{
    drive_set_address(d, d->lba);
    drive_finish(d, 0);
    d->channel->ops->dma_done(d->channel->host, d->channel);
}

static void drive_done(IdeDrive *d, IdeRequest *q)
{
    IdeChannel *c = d->channel;
    switch (d->phase) {
    case IDE_LOAD:
        memcpy(d->buf, q->data, d->len);
        drive_step(d, d->len / IDE_SECTOR);
        drive_drq(d, IDE_PIO_IN, d->len);
        drive_interrupt(d);
        return;
    case IDE_STORE:
        drive_step(d, d->len / IDE_SECTOR);
        if (d->left) {
            drive_drq(d, IDE_PIO_OUT, next_block(d));
            drive_interrupt(d);
        } else {
            drive_set_address(d, d->lba - 1);
            drive_finish(d, 0);
        }
        return;
    case IDE_DMA_IN:
        if (!c->ops->dma_copy(c->host, c, q->data, (size_t)q->sectors * IDE_SECTOR, true)) {
            return; /* too little room: the drive waits for a host that gives no more, until a reset */
        }
        G_GNUC_FALLTHROUGH;
    case IDE_DMA_OUT:
        drive_step(d, q->sectors);
        if (d->left) {
            drive_start(d);
        } else {
            dma_finish(d);
        }
        return;
    default: drive_finish(d, 0);
    }
}

static void request_done(DriveRequest *r)
{
    IdeRequest *q = r->opaque;
    IdeDrive *d = q->d;
    if (d) {
        bool dma = d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT;
        d->request = NULL;
        if (r->result == 0) {
            drive_done(d, q);
        } else {
            drive_fail(d);
            if (dma) {
                d->channel->ops->dma_done(d->channel->host, d->channel);
            }
        }
    }
    g_free(q->data);
    g_free(q);
}

/* Hands in the request that the phase asks for. */
static void drive_start(IdeDrive *d)
{
    IdeChannel *c = d->channel;
    static const uint8_t ops[IDE_PHASES] = { [IDE_LOAD] = DRIVE_READ,
                                             [IDE_STORE] = DRIVE_WRITE,
                                             [IDE_FLUSH] = DRIVE_FLUSH,
                                             [IDE_DMA_IN] = DRIVE_READ,
                                             [IDE_DMA_OUT] = DRIVE_WRITE };
    bool dma = d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT;
    if (d->request || d->phase < IDE_LOAD || (dma && !c->ops->dma_ready(c->host, c))) {
        return;
    }
    if (!d->port.client) {
        drive_fail(d);
        return;
    }
    unsigned sectors = dma ? MIN(d->left, (unsigned)IDE_DMA_SECTORS) : d->len / IDE_SECTOR;
    IdeRequest *q = g_new0(IdeRequest, 1);
    q->sectors = sectors;
    q->data = g_malloc((size_t)sectors * IDE_SECTOR + 1);
    if (d->phase == IDE_STORE) {
        memcpy(q->data, d->buf, d->len);
    } else if (d->phase == IDE_DMA_OUT &&
               !c->ops->dma_copy(c->host, c, q->data, (size_t)sectors * IDE_SECTOR, false)) {
        g_free(q->data);
        g_free(q);
        return;
    }
    q->d = d;
    q->r =
        (DriveRequest){ .op = ops[d->phase],
                        .off = (int64_t)(d->lba * IDE_SECTOR),
                        .order = &d->order,
                        .done = request_done,
                        .opaque = q,
                        .flags = d->fua || (ops[d->phase] == DRIVE_WRITE && !d->write_cache) ? BLK_FUA : 0 };
    iov_init_buf(&q->r.v, q->data, (size_t)sectors * IDE_SECTOR);
    d->request = q;
    drive_submit(&d->port, &q->r);
}

static void drive_busy(IdeDrive *d, IdePhase phase)
{
    d->phase = phase;
    d->status = ST_BSY | ST_DRDY;
    drive_start(d);
}

/* ---- commands ---- */

static bool drive_range(IdeDrive *d, bool lba48)
{
    d->lba48 = lba48;
    d->lba = drive_address(d);
    d->left = lba48 ? d->hob[REG_COUNT] << 8 | d->reg[REG_COUNT] : d->reg[REG_COUNT];
    d->left = d->left ? d->left : lba48 ? 65536 : 256;
    if (d->lba >= d->sectors || d->left > d->sectors - d->lba) {
        drive_finish(d, ER_IDNF);
        return false;
    }
    return true;
}

static void command_transfer(IdeDrive *d, IdePhase phase, bool lba48, unsigned block)
{
    if (!block) { /* READ MULTIPLE before SET MULTIPLE MODE */
        drive_finish(d, ER_ABRT);
        return;
    }
    if (!drive_range(d, lba48)) {
        return;
    }
    d->block = block * IDE_SECTOR;
    switch (phase) {
    case IDE_LOAD:
        d->len = next_block(d);
        drive_busy(d, phase);
        break;
    case IDE_PIO_OUT: drive_drq(d, phase, next_block(d)); break; /* the first block: no interrupt (9.5) */
    default:                                                     /* DMA */
        d->status = ST_DRDY | ST_DSC | ST_DRQ;
        d->phase = phase;
        drive_start(d);
    }
}

static void command_set_features(IdeDrive *d)
{
    unsigned mode = d->reg[REG_COUNT];
    switch (d->reg[REG_FEATURE]) {
    case 0x02:
        d->write_cache = true;
        drive_finish(d, 0);
        return;
    case 0x82:
        d->write_cache = false;
        drive_busy(d, IDE_FLUSH);
        return;
    case 0x03: /* transfer mode: PIO default and 0 to 4, multiword and Ultra DMA 0 to 2 */
        if (mode <= 1 || (mode >= 8 && mode <= 12) ||
            ((mode >> 3 == 4 || mode >> 3 == 8) && (mode & 7) <= 2)) {
            d->dma_mode = mode >= 0x20 ? (uint8_t)mode : d->dma_mode;
            drive_finish(d, 0);
            return;
        }
        break;
    case 0x66:
    case 0xcc:
    case 0xaa:
    case 0x55: drive_finish(d, 0); return; /* defaults, look-ahead */
    default: break;
    }
    drive_finish(d, ER_ABRT);
}

static void command_set_multiple(IdeDrive *d)
{
    unsigned n = d->reg[REG_COUNT];
    bool good = n <= IDE_MULTIPLE && !(n & (n - 1));
    d->multiple = good ? (uint8_t)n : d->multiple;
    drive_finish(d, good ? 0 : ER_ABRT);
}

static void command_init_params(IdeDrive *d)
{
    if (!d->reg[REG_COUNT] || d->reg[REG_COUNT] > IDE_SPT) {
        drive_finish(d, ER_ABRT);
        return;
    }
    d->spt = d->reg[REG_COUNT];
    d->heads = (d->channel->select & 0xf) + 1;
    drive_finish(d, 0);
}

static void command_native_max(IdeDrive *d, bool lba48)
{
    d->lba48 = lba48;
    drive_set_address(d, lba48 ? d->sectors - 1 : MIN(d->sectors, IDE_LBA28_MAX) - 1);
    drive_finish(d, 0);
}

/* 8.9: both drives do it; the signature is the result, drive 0 interrupts. */
static void command_diagnostic(IdeChannel *c)
{
    c->select = 0;
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        if (c->drive[i]) {
            drive_reset_registers(c->drive[i]);
        }
    }
    if (c->drive[0]) {
        drive_interrupt(c->drive[0]);
    }
}

static void drive_command(IdeDrive *d, uint8_t cmd)
{
    d->intrq = false;
    d->error = 0;
    d->lba48 = d->fua = false;
    d->len = d->pos = 0;
    ide_channel_update(d->channel);
    switch (cmd) {
    case 0xec: /* IDENTIFY DEVICE */
        ide_identify_disk(d, d->buf);
        d->left = 0;
        d->block = IDE_SECTOR;
        drive_drq(d, IDE_PIO_IN, IDE_SECTOR);
        drive_interrupt(d);
        break;
    case 0x20:
    case 0x21: command_transfer(d, IDE_LOAD, false, 1); break;
    case 0x24: command_transfer(d, IDE_LOAD, true, 1); break;
    case 0xc4: command_transfer(d, IDE_LOAD, false, d->multiple); break;
    case 0x29: command_transfer(d, IDE_LOAD, true, d->multiple); break;
    case 0x30:
    case 0x31: command_transfer(d, IDE_PIO_OUT, false, 1); break;
    case 0x34: command_transfer(d, IDE_PIO_OUT, true, 1); break;
    case 0xc5: command_transfer(d, IDE_PIO_OUT, false, d->multiple); break;
    case 0x39: command_transfer(d, IDE_PIO_OUT, true, d->multiple); break;
    case 0xc8:
    case 0xc9: command_transfer(d, IDE_DMA_IN, false, 1); break;
    case 0x25: command_transfer(d, IDE_DMA_IN, true, 1); break;
    case 0xca:
    case 0xcb: command_transfer(d, IDE_DMA_OUT, false, 1); break;
    case 0x35:
    case 0x3d:
        d->fua = cmd == 0x3d;
        command_transfer(d, IDE_DMA_OUT, true, 1);
        break;
    case 0x40:
    case 0x41:
    case 0x42: /* READ VERIFY: the medium is not worn */
        if (drive_range(d, cmd == 0x42)) {
            drive_finish(d, 0);
        }
        break;
    case 0x90: command_diagnostic(d->channel); break;
    case 0xe7:
    case 0xea: drive_busy(d, IDE_FLUSH); break;
    case 0xef: command_set_features(d); break;
    case 0xc6: command_set_multiple(d); break;
    case 0x91: command_init_params(d); break;
    case 0xf8: command_native_max(d, false); break;
    case 0x27: command_native_max(d, true); break;
    case 0xe5:
    case 0x98: /* CHECK POWER MODE: active */
        d->reg[REG_COUNT] = 0xff;
        drive_finish(d, 0);
        break;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
    case 0x70:
    case 0x10: drive_finish(d, 0); break; /* STANDBY, IDLE, SEEK, RECALIBRATE */
    default: drive_finish(d, ER_ABRT);
    }
}

/* ---- registers ---- */

static void data_end(IdeDrive *d)
{
    if (d->phase == IDE_PIO_OUT) {
        drive_busy(d, IDE_STORE);
    } else if (d->left) {
        d->len = next_block(d);
        drive_busy(d, IDE_LOAD);
    } else {
        if (d->lba) {
            drive_set_address(d, d->lba - 1);
        }
        d->phase = IDE_IDLE;
        d->status = ST_DRDY | ST_DSC;
        d->pos = d->len = 0;
    }
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
        data_end(d);
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
        if (d && !(d->status & (ST_BSY | ST_DRQ)) && !(c->control & CTL_SRST)) {
            drive_command(d, (uint8_t)val);
        } else if (d) {
            guest_error(&d->dev, "ATA command 0x%02x while another one runs", val & 0xff);
        }
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
                drive_reset_registers(c->drive[i]);
            }
        }
    }
    ide_channel_update(c);
}

void ide_dma_kick(IdeChannel *c)
{
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        IdeDrive *d = c->drive[i];
        if (d && (d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT)) {
            drive_start(d);
            return;
        }
    }
}

void ide_dma_cancel(IdeChannel *c)
{
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        IdeDrive *d = c->drive[i];
        if (d && (d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT)) {
            drive_forget(d);
        }
    }
}

/* ---- the disk ---- */

static void drive_resume(void *opaque)
{
    drive_start(opaque);
}

static bool hd_check(IdeDrive *d, Error **errp)
{
    const struct {
        const char *name, *text;
        size_t max;
    } texts[] = { { "serial", d->serial, 20 }, { "ver", d->ver, 8 }, { "model", d->model, 40 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (texts[i].text && strlen(texts[i].text) > texts[i].max) {
            return error_set(errp, "'%s' has room for %zu characters, not for '%s'", texts[i].name,
                             texts[i].max, texts[i].text);
        }
    }
    if (!d->port.block) {
        error_set(errp, "a disk needs an image: 'drive' is missing");
        error_hint(errp, "drive=ID of a -drive if=none,id=ID or of a -blockdev node");
        return false;
    }
    if (!d->port.node) {
        return error_set(errp, "drive '%s' has no image", d->port.drive->id);
    }
    if (d->physical_block & (d->physical_block - 1)) {
        return error_set(errp, "physical_block_size=%u is not a power of two", d->physical_block);
    }
    return true;
}

static void order_fini(void *order)
{
    co_mutex_fini(order);
}

static bool hd_realize(Device *dev, Error **errp)
{
    IdeDrive *d = dev_as(IdeDrive, dev);
    d->channel = dev->bus->impl;
    co_mutex_init(&d->order);
    device_add_cleanup(dev, order_fini, &d->order);
    if (!hd_check(d, errp) || !drive_open(&d->port, dev, false, errp)) {
        return false;
    }
    d->sectors = (uint64_t)drive_size(&d->port) / IDE_SECTOR;
    if (!d->sectors || d->sectors >> 48) {
        return error_set(
            errp, "an ATA disk has 1 to 2^48 sectors of 512 bytes, the image has %" G_GINT64_FORMAT " bytes",
            drive_size(&d->port));
    }
    if (!d->serial) {
        const IdeChild *child = dev->bus_data;
        unsigned bus = g_str_has_suffix(dev->bus->name, "1") ? 1 : 0;
        d->serial = g_strdup_printf("RH%05u", 2 * bus + child->unit + 1);
    }
    device_add_task(dev, &d->resume, drive_resume);
    return true;
}

static void hd_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    IdeDrive *d = dev_as(IdeDrive, dev);
    drive_reset_registers(d);
    d->multiple = IDE_MULTIPLE;
    d->heads = IDE_HEADS;
    d->spt = IDE_SPT;
    d->dma_mode = 0x42; /* Ultra DMA 2 */
    d->write_cache = true;
}

static void hd_reset_done(Device *dev)
{
    ide_channel_update(dev_as(IdeDrive, dev)->channel);
}

static bool hd_post_load(void *opaque, Error **errp)
{
    IdeDrive *d = opaque;
    drive_forget(d);
    bool whole = !(d->len % IDE_SECTOR) && !(d->block % IDE_SECTOR) && d->block <= IDE_BUF;
    bool medium = d->phase >= IDE_LOAD && d->phase != IDE_FLUSH;
    if (!d->heads || !d->spt || d->multiple & (d->multiple - 1) || d->pos > d->len || !whole ||
        (d->left && d->phase != IDE_IDLE && d->phase != IDE_FLUSH &&
         (d->lba >= d->sectors || d->left > d->sectors - d->lba || !d->block)) ||
        (medium && !d->left) || ((d->phase == IDE_PIO_IN || d->phase == IDE_PIO_OUT) && d->pos >= d->len) ||
        ((d->phase == IDE_LOAD || d->phase == IDE_STORE || d->phase == IDE_PIO_OUT) &&
         (!d->len || d->len / IDE_SECTOR > d->left)) ||
        (d->phase == IDE_FLUSH && d->len)) {
        return error_set(errp, "the saved transfer of an IDE disk contradicts itself");
    }
    domain_post(&d->resume);
    return true;
}

static const VmField hd_fields[] = {
    VM_U8_ARRAY(IdeDrive, reg),
    VM_U8_ARRAY(IdeDrive, hob),
    VM_U8(IdeDrive, status),
    VM_U8(IdeDrive, error),
    VM_U8_MAX(IdeDrive, phase, IDE_PHASES - 1),
    VM_U8_MAX(IdeDrive, multiple, IDE_MULTIPLE),
    VM_U8_MAX(IdeDrive, heads, IDE_HEADS),
    VM_U8_MAX(IdeDrive, spt, IDE_SPT),
    VM_U8(IdeDrive, dma_mode),
    VM_BOOL(IdeDrive, intrq),
    VM_BOOL(IdeDrive, lba48),
    VM_BOOL(IdeDrive, fua),
    VM_BOOL(IdeDrive, write_cache),
    VM_U64(IdeDrive, lba),
    VM_U32_MAX(IdeDrive, left, 65536),
    VM_U32_MAX(IdeDrive, pos, IDE_BUF),
    VM_U32_MAX(IdeDrive, len, IDE_BUF),
    VM_U32_MAX(IdeDrive, block, IDE_BUF),
    VM_U8_ARRAY(IdeDrive, buf),
    { 0 },
};
static const VmState hd_state = {
    .name = "ide-hd",
    .version = 1,
    .oldest = 1,
    .fields = hd_fields,
    .post_load = hd_post_load,
};

static const Prop hd_props[] = {
    PROP_DRIVE(IdeDrive, port, "drive", "The image: a drive's id or a block node's name"),
    PROP_STR(IdeDrive, serial, "serial", NULL, "Serial number, at most 20 characters"),
    PROP_STR(IdeDrive, ver, "ver", "0.1", "Firmware version, at most 8 characters"),
    PROP_STR(IdeDrive, model, "model", "RHEA HARDDISK", "Model, at most 40 characters"),
    PROP_U32(IdeDrive, logical_block, "logical_block_size", IDE_SECTOR, IDE_SECTOR, IDE_SECTOR, "Always 512"),
    PROP_U32(IdeDrive, physical_block, "physical_block_size", IDE_SECTOR, IDE_SECTOR, 32768,
             "Bytes the disk says it writes at once"),
    { 0 },
};

const DeviceType ide_hd_type = {
    .name = "ide-hd",
    .desc = "ATA disk",
    .size = sizeof(IdeDrive),
    .category = "Storage",
    .bus_type = &ide_bus_type,
    .props = hd_props,
    .vmstate = &hd_state,
    .realize = hd_realize,
    .reset = hd_reset,
    .reset_done = hd_reset_done,
};

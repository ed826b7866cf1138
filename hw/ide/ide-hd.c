/* SPDX-License-Identifier: MIT
 * hw/ide/ide-hd.c - the ATA disk "ide-hd".
 *
 * Models: ATA/ATAPI-6 (T13/1410D): PIO and DMA data transfers (9.5 to 9.7), the general feature set (8),
 * 48-bit addresses (6.20). Does not model: queued and streaming commands, security, SMART, host protected
 *         area, read look-ahead. TRIM is in trim.c. Threads: the domain of the adapter.
 */
#include "ide.h"
#include "rhea/util/errorcode.h"

#include <string.h>

static IdeDisk *disk_of(IdeDrive *d)
{
    return (IdeDisk *)d;
}

/* ---- addresses ---- */

static uint64_t disk_address(const IdeDrive *d)
{
    const IdeDisk *k = (const IdeDisk *)d;
    const uint8_t *r = d->reg, *h = d->hob;
    if (k->lba48) {
        return (uint64_t)h[REG_LBA2] << 40 | (uint64_t)h[REG_LBA1] << 32 | (uint64_t)h[REG_LBA0] << 24 |
               (uint64_t)r[REG_LBA2] << 16 | (uint64_t)r[REG_LBA1] << 8 | r[REG_LBA0];
    }
    unsigned dev = d->channel->select;
    if (dev & DEV_LBA) {
        return (uint64_t)(dev & 0xf) << 24 | r[REG_LBA2] << 16 | r[REG_LBA1] << 8 | r[REG_LBA0];
    }
    uint64_t cyl = r[REG_LBA2] << 8 | r[REG_LBA1];
    if (!r[REG_LBA0] || r[REG_LBA0] > k->spt || (dev & 0xf) >= k->heads) {
        return UINT64_MAX;
    }
    return (cyl * k->heads + (dev & 0xf)) * k->spt + r[REG_LBA0] - 1;
}

static void disk_set_address(IdeDrive *d, uint64_t lba)
{
    IdeDisk *k = disk_of(d);
    uint8_t *r = d->reg, *h = d->hob;
    if (k->lba48 || d->channel->select & DEV_LBA) {
        for (unsigned i = 0; i < 3; i++) {
            r[REG_LBA0 + i] = (uint8_t)(lba >> (8 * i));
            h[REG_LBA0 + i] = k->lba48 ? (uint8_t)(lba >> (24 + 8 * i)) : h[REG_LBA0 + i];
        }
        if (!k->lba48) {
            d->channel->select = (d->channel->select & 0xf0) | (lba >> 24 & 0xf);
        }
    } else {
        uint64_t track = lba / k->spt, cyl = track / k->heads;
        r[REG_LBA0] = (uint8_t)(lba % k->spt + 1);
        r[REG_LBA1] = (uint8_t)cyl;
        r[REG_LBA2] = (uint8_t)(cyl >> 8);
        d->channel->select = (d->channel->select & 0xf0) | (uint8_t)(track % k->heads);
    }
}

/* ---- requests to the medium ---- */

static void disk_step(IdeDrive *d, unsigned sectors)
{
    d->lba += sectors;
    d->left -= MIN(sectors, d->left);
}

static void disk_fail(IdeDrive *d)
{
    disk_set_address(d, d->lba);
    ide_drive_finish(d, d->phase == IDE_FLUSH ? ER_ABRT : ER_UNC);
}

static uint32_t next_block(const IdeDrive *d)
{
    return (uint32_t)MIN((uint64_t)d->left * IDE_SECTOR, d->block);
}

static void dma_finish(IdeDrive *d)
{
    disk_set_address(d, d->lba);
    ide_drive_finish(d, 0);
    d->channel->ops->dma_done(d->channel->host, d->channel);
}

static void disk_start(IdeDrive *d);

static void disk_done(IdeDrive *d, IdeRequest *q)
{
    IdeChannel *c = d->channel;
    if (d->phase == IDE_TRIM) {
        ide_trim_done(d, q);
        return;
    }
    if (q->r.result < 0) {
        bool dma = ide_phase_dma(d);
        disk_fail(d);
        if (dma) {
            c->ops->dma_done(c->host, c);
        }
        return;
    }
    switch (d->phase) {
    case IDE_LOAD:
        memcpy(d->buf, q->data, d->len);
        disk_step(d, d->len / IDE_SECTOR);
        ide_drive_drq(d, IDE_PIO_IN, 0, d->len);
        ide_drive_interrupt(d);
        return;
    case IDE_STORE:
        disk_step(d, d->len / IDE_SECTOR);
        if (d->left) {
            ide_drive_drq(d, IDE_PIO_OUT, 0, next_block(d));
            ide_drive_interrupt(d);
        } else {
            disk_set_address(d, d->lba - 1);
            ide_drive_finish(d, 0);
        }
        return;
    case IDE_DMA_IN:
        if (!c->ops->dma_copy(c->host, c, q->data, q->bytes, true)) {
            return; /* too little room: the drive waits for a host that gives no more, until a reset */
        }
        G_GNUC_FALLTHROUGH;
    case IDE_DMA_OUT:
        disk_step(d, q->blocks);
        if (d->left) {
            disk_start(d);
        } else {
            dma_finish(d);
        }
        return;
    default: ide_drive_finish(d, 0);
    }
}

/* Hands in the request that the phase asks for. */
static void disk_start(IdeDrive *d)
{
    IdeDisk *k = disk_of(d);
    IdeChannel *c = d->channel;
    static const uint8_t ops[IDE_PHASES] = { [IDE_LOAD] = DRIVE_READ,
                                             [IDE_STORE] = DRIVE_WRITE,
                                             [IDE_FLUSH] = DRIVE_FLUSH,
                                             [IDE_DMA_IN] = DRIVE_READ,
                                             [IDE_DMA_OUT] = DRIVE_WRITE };
    bool dma = d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT, trim = d->phase >= IDE_TRIM_DATA;
    bool bus = dma || d->phase == IDE_TRIM_DATA;
    if (d->request || d->forgotten || d->phase < IDE_LOAD || (bus && !c->ops->dma_ready(c->host, c))) {
        return;
    }
    if (!d->port.client) {
        disk_fail(d);
        return;
    }
    if (trim) {
        ide_trim_start(d);
        return;
    }
    unsigned sectors = dma ? MIN(d->left, (unsigned)IDE_DMA_BYTES / IDE_SECTOR) : d->len / IDE_SECTOR;
    IdeRequest *q = ide_request_new((size_t)sectors * IDE_SECTOR);
    q->blocks = sectors;
    if (d->phase == IDE_STORE) {
        memcpy(q->data, d->buf, d->len);
    } else if (d->phase == IDE_DMA_OUT && !c->ops->dma_copy(c->host, c, q->data, q->bytes, false)) {
        ide_request_free(q);
        return;
    }
    bool through = k->fua || (ops[d->phase] == DRIVE_WRITE && !k->write_cache);
    ide_request_submit(d, q, ops[d->phase], d->lba * IDE_SECTOR, through ? BLK_FUA : 0);
}

/* ---- commands ---- */

static bool disk_range(IdeDrive *d, bool lba48)
{
    IdeDisk *k = disk_of(d);
    k->lba48 = lba48;
    d->lba = disk_address(d);
    d->left = lba48 ? d->hob[REG_COUNT] << 8 | d->reg[REG_COUNT] : d->reg[REG_COUNT];
    d->left = d->left ? d->left : lba48 ? 65536 : 256;
    if (d->lba >= k->sectors || d->left > k->sectors - d->lba) {
        ide_drive_finish(d, ER_IDNF);
        return false;
    }
    return true;
}

static void command_transfer(IdeDrive *d, IdePhase phase, bool lba48, unsigned block)
{
    if (!block) { /* READ MULTIPLE before SET MULTIPLE MODE */
        ide_drive_finish(d, ER_ABRT);
        return;
    }
    if (!disk_range(d, lba48)) {
        bool write = phase == IDE_PIO_OUT || phase == IDE_DMA_OUT;
        drive_account_invalid(&d->port, write ? DRIVE_STAT_WRITE : DRIVE_STAT_READ);
        return;
    }
    d->block = block * IDE_SECTOR;
    switch (phase) {
    case IDE_LOAD:
        d->len = next_block(d);
        ide_drive_busy(d, phase);
        break;
    case IDE_PIO_OUT:
        ide_drive_drq(d, phase, 0, next_block(d));
        break; /* the first block: no interrupt (9.5) */
    default:   /* DMA */
        d->status = ST_DRDY | ST_DSC | ST_DRQ;
        d->phase = phase;
        disk_start(d);
    }
}

static void command_set_features(IdeDrive *d)
{
    IdeDisk *k = disk_of(d);
    switch (d->reg[REG_FEATURE]) {
    case 0x02:
        k->write_cache = true;
        ide_drive_finish(d, 0);
        return;
    case 0x82:
        k->write_cache = false;
        ide_drive_busy(d, IDE_FLUSH);
        return;
    case 0x03:
        if (ide_drive_set_mode(d)) {
            ide_drive_finish(d, 0);
            return;
        }
        break;
    case 0x66:
    case 0xcc:
    case 0xaa:
    case 0x55: ide_drive_finish(d, 0); return; /* defaults, look-ahead */
    default: break;
    }
    ide_drive_finish(d, ER_ABRT);
}

static void command_set_multiple(IdeDrive *d)
{
    IdeDisk *k = disk_of(d);
    unsigned n = d->reg[REG_COUNT];
    bool good = n <= IDE_MULTIPLE && !(n & (n - 1));
    k->multiple = good ? (uint8_t)n : k->multiple;
    ide_drive_finish(d, good ? 0 : ER_ABRT);
}

static void command_init_params(IdeDrive *d)
{
    IdeDisk *k = disk_of(d);
    if (!d->reg[REG_COUNT] || d->reg[REG_COUNT] > MAX(DISK_SECS, k->shape.secs)) {
        ide_drive_finish(d, ER_ABRT);
        return;
    }
    k->spt = d->reg[REG_COUNT];
    k->heads = (d->channel->select & 0xf) + 1;
    ide_drive_finish(d, 0);
}

static void command_native_max(IdeDrive *d, bool lba48)
{
    IdeDisk *k = disk_of(d);
    k->lba48 = lba48;
    disk_set_address(d, lba48 ? k->sectors - 1 : MIN(k->sectors, IDE_LBA28_MAX) - 1);
    ide_drive_finish(d, 0);
}

static void disk_command(IdeDrive *d, uint8_t cmd)
{
    IdeDisk *k = disk_of(d);
    k->lba48 = k->fua = false;
    switch (cmd) {
    case 0xec: /* IDENTIFY DEVICE */
        ide_identify_disk(k, d->buf);
        d->left = 0;
        d->block = IDE_SECTOR;
        ide_drive_drq(d, IDE_PIO_IN, 0, IDE_SECTOR);
        ide_drive_interrupt(d);
        break;
    case 0x20:
    case 0x21: command_transfer(d, IDE_LOAD, false, 1); break;
    case 0x24: command_transfer(d, IDE_LOAD, true, 1); break;
    case 0xc4: command_transfer(d, IDE_LOAD, false, k->multiple); break;
    case 0x29: command_transfer(d, IDE_LOAD, true, k->multiple); break;
    case 0x30:
    case 0x31: command_transfer(d, IDE_PIO_OUT, false, 1); break;
    case 0x34: command_transfer(d, IDE_PIO_OUT, true, 1); break;
    case 0xc5: command_transfer(d, IDE_PIO_OUT, false, k->multiple); break;
    case 0x39: command_transfer(d, IDE_PIO_OUT, true, k->multiple); break;
    case 0xc8:
    case 0xc9: command_transfer(d, IDE_DMA_IN, false, 1); break;
    case 0x25: command_transfer(d, IDE_DMA_IN, true, 1); break;
    case 0xca:
    case 0xcb: command_transfer(d, IDE_DMA_OUT, false, 1); break;
    case 0x35:
    case 0x3d:
        k->fua = cmd == 0x3d;
        command_transfer(d, IDE_DMA_OUT, true, 1);
        break;
    case 0x40:
    case 0x41:
    case 0x42: /* READ VERIFY: the medium is not worn */
        if (disk_range(d, cmd == 0x42)) {
            ide_drive_finish(d, 0);
        }
        break;
    case 0x06: ide_trim_command(d); break; /* DATA SET MANAGEMENT */
    case 0x90: ide_drive_diagnostic(d->channel); break;
    case 0xe7:
    case 0xea: ide_drive_busy(d, IDE_FLUSH); break;
    case 0xef: command_set_features(d); break;
    case 0xc6: command_set_multiple(d); break;
    case 0x91: command_init_params(d); break;
    case 0xf8: command_native_max(d, false); break;
    case 0x27: command_native_max(d, true); break;
    case 0xe5:
    case 0x98: /* CHECK POWER MODE: active */
        d->reg[REG_COUNT] = 0xff;
        ide_drive_finish(d, 0);
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
    case 0x10: ide_drive_finish(d, 0); break; /* STANDBY, IDLE, SEEK, RECALIBRATE */
    default: ide_drive_finish(d, ER_ABRT);
    }
}

static void disk_block_end(IdeDrive *d)
{
    if (d->phase == IDE_PIO_OUT) {
        ide_drive_busy(d, IDE_STORE);
    } else if (d->left) {
        d->len = next_block(d);
        ide_drive_busy(d, IDE_LOAD);
    } else {
        if (d->lba) {
            disk_set_address(d, d->lba - 1);
        }
        d->phase = IDE_IDLE;
        d->status = ST_DRDY | ST_DSC;
        d->pos = d->len = 0;
    }
}

static void disk_reset(IdeDrive *d)
{
    IdeDisk *k = disk_of(d);
    k->lba48 = k->fua = false;
}

static const IdeKind disk_kind = {
    .signature = { 1, 1, 0, 0 },
    .idle = ST_DRDY | ST_DSC,
    .after_reset = ST_DRDY | ST_DSC,
    .queued = true,
    .command = disk_command,
    .block_end = disk_block_end,
    .start = disk_start,
    .done = disk_done,
    .reset = disk_reset,
};

/* ---- the disk ---- */

static bool hd_check(IdeDrive *d, Error **errp)
{
    IdeDisk *k = disk_of(d);
    if (!ide_drive_check_texts(d, errp)) {
        return false;
    }
    if (!d->port.block) {
        error_fail(errp, "missing-member", "drive", NULL, "a disk needs an image: 'drive' is missing");
        error_hint(errp, "drive=ID of a -drive if=none,id=ID or of a -blockdev node");
        return false;
    }
    if (!d->port.node) {
        return error_fail(errp, "no-medium", "drive", "give the drive a file=",
                          "drive '%s' has no image", d->port.drive->id);
    }
    if (k->rotation_rate > 1 && (k->rotation_rate <= 0x400 || k->rotation_rate == 0xffff)) {
        error_fail(errp, "out-of-range", "rotation_rate", NULL,
                   "rotation_rate=%u cannot be told", k->rotation_rate);
        error_hint(errp, "1: does not rotate; 1025 to 65534: rounds a minute; 0: not told");
        return false;
    }
    return true;
}

static bool hd_realize(Device *dev, Error **errp)
{
    IdeDrive *d = dev_as(IdeDrive, dev);
    IdeDisk *k = disk_of(d);
    d->kind = &disk_kind;
    if (!hd_check(d, errp) || !drive_open(&d->port, dev, false, errp)) {
        return false;
    }
    k->sectors = (uint64_t)drive_size(&d->port) / IDE_SECTOR;
    if (!k->sectors || k->sectors >> 48) {
        return error_fail(errp, "out-of-range", "drive", "give an image of another size",
                          "an ATA disk has 1 to 2^48 sectors of 512 bytes, the image has %" G_GINT64_FORMAT
                          " bytes",
                          drive_size(&d->port));
    }
    if (!disk_shape_check(&k->shape, k->sectors, IDE_MAX_CYLS, DISK_HEADS, 255, errp)) {
        return false;
    }
    if (k->shape.logical != IDE_SECTOR) {
        error_fail(errp, "not-supported", "logical_block_size", NULL,
                   "logical_block_size=%u: an ATA disk has sectors of 512 bytes", (unsigned)k->shape.logical);
        error_hint(errp, "physical_block_size= may be larger; virtio-blk-pci has other sizes");
        return false;
    }
    if (k->shape.granularity && k->shape.granularity != IDE_SECTOR &&
        k->shape.granularity != DISK_GRANULARITY_AUTO) {
        error_fail(errp, "not-supported", "discard_granularity", NULL,
                   "discard_granularity=%u: an ATA disk cannot tell of it", (unsigned)k->shape.granularity);
        error_hint(errp, "0: no TRIM; leave it out for TRIM; virtio-blk-pci has other granularities");
        return false;
    }
    if (d->write_cache == AUTO) {
        d->write_cache = d->port.drive && d->port.drive->write_through ? OFF : ON;
    }
    ide_drive_default_serial(d);
    return true;
}

static void hd_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    IdeDrive *d = dev_as(IdeDrive, dev);
    IdeDisk *k = disk_of(d);
    k->multiple = IDE_MULTIPLE;
    k->heads = (uint8_t)k->shape.heads;
    k->spt = (uint8_t)k->shape.secs;
    k->write_cache = d->write_cache == ON;
}

static bool hd_post_load(void *opaque, Error **errp)
{
    IdeDrive *d = opaque;
    IdeDisk *k = disk_of(d);
    ide_drive_forget(d);
    bool whole = !(d->len % IDE_SECTOR) && !(d->block % IDE_SECTOR) && d->block <= IDE_BUF &&
                 d->left <= 65536 && d->phase != IDE_DMA_REPLY;
    bool trim = d->phase >= IDE_TRIM_DATA, medium = d->phase >= IDE_LOAD && d->phase != IDE_FLUSH && !trim;
    if (!k->heads || !k->spt || k->multiple & (k->multiple - 1) || d->pos > d->len || !whole ||
        (d->left && d->phase != IDE_IDLE && d->phase != IDE_FLUSH &&
         (d->lba >= k->sectors || d->left > k->sectors - d->lba || !d->block)) ||
        (trim && !ide_trim_loaded(k)) || (medium && !d->left) ||
        ((d->phase == IDE_PIO_IN || d->phase == IDE_PIO_OUT) && d->pos >= d->len) ||
        ((d->phase == IDE_LOAD || d->phase == IDE_STORE || d->phase == IDE_PIO_OUT) &&
         (!d->len || d->len / IDE_SECTOR > d->left)) ||
        (d->phase == IDE_FLUSH && d->len)) {
        return error_set(errp, "the saved transfer of an IDE disk contradicts itself");
    }
    domain_post(&d->resume);
    return true;
}

static const VmField hd_fields[] = {
    VM_U8_MAX(IdeDisk, multiple, IDE_MULTIPLE),
    VM_U8_MAX(IdeDisk, heads, DISK_HEADS),
    VM_U8(IdeDisk, spt),
    VM_BOOL(IdeDisk, lba48),
    VM_BOOL(IdeDisk, fua),
    VM_BOOL(IdeDisk, write_cache),
    { 0 },
};
static const VmState hd_state = {
    .name = "ide-hd",
    .version = 1,
    .oldest = 1,
    .fields = hd_fields,
    .post_load = hd_post_load,
};

#define ATA_NO_IO_SIZES                                                                                      \
    "an ATA disk cannot tell of it", "leave it out; physical_block_size= is what it can tell"
static const Prop hd_props[] = {
    PROP_STR(IdeDisk, d.model, "model", "RHEA HARDDISK", "Model, at most 40 characters"),
    PROP_DISK_SHAPE(IdeDisk, shape),
    PROP_U16(IdeDisk, rotation_rate, "rotation_rate", 0, 0, UINT16_MAX,
             "Rounds a minute that the disk tells of; 1: it does not rotate; 0: not told"),
    PROP_ONLY_SIZE("min_io_size", 0, ATA_NO_IO_SIZES),
    PROP_ONLY_SIZE("opt_io_size", 0, ATA_NO_IO_SIZES),
    PROP_ONLY_AUTO("bios-chs-trans", "the firmware is not told how to count cylinders, it chooses by itself",
                   "leave it out; cyls=, heads= and secs= are what the disk itself says"),
    { 0 },
};

const DeviceType ide_hd_type = {
    .name = "ide-hd",
    .desc = "ATA disk",
    .size = sizeof(IdeDisk),
    .category = "Storage",
    .base = &ide_drive_type,
    .bus_type = &ide_bus_type,
    .props = hd_props,
    .vmstate = &hd_state,
    .realize = hd_realize,
    .reset = hd_reset,
};

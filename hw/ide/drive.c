/* SPDX-License-Identifier: MIT
 * hw/ide/drive.c - what the drives of an ATA channel have in common: state, ends of commands, requests.
 *
 * Models: ATA/ATAPI-6 (T13/1410D): signature after a reset (9.12), EXECUTE DEVICE DIAGNOSTIC (8.9), transfer
 * modes (8.46.11). Threads: the domain of the adapter. A command that needs the medium hands in one request;
 * what it will do follows from saved state alone, so that a loaded drive hands it in again. A reset forgets
 * the request; it ends by itself, and the drive's next one is not made before that.
 */
#include "ide.h"
#include "rhea/system/machine.h"

#include <string.h>

void ide_drive_interrupt(IdeDrive *d)
{
    d->intrq = true;
    ide_channel_update(d->channel);
}

void ide_drive_drq(IdeDrive *d, IdePhase phase, uint32_t pos, uint32_t len)
{
    d->phase = phase;
    d->pos = pos;
    d->len = len;
    d->status = d->kind->idle | ST_DRDY | ST_DRQ;
}

void ide_drive_finish(IdeDrive *d, uint8_t error)
{
    d->phase = IDE_IDLE;
    d->error = error;
    d->status = d->kind->idle | (error ? ST_ERR : 0);
    d->pos = d->len = 0;
    ide_drive_interrupt(d);
}

void ide_drive_busy(IdeDrive *d, IdePhase phase)
{
    d->phase = phase;
    d->status = ST_BSY | ST_DRDY;
    d->kind->start(d);
}

void ide_drive_reset_registers(IdeDrive *d)
{
    ide_drive_forget(d);
    memset(d->reg, 0, sizeof(d->reg));
    memset(d->hob, 0, sizeof(d->hob));
    memcpy(d->reg + REG_COUNT, d->kind->signature, sizeof(d->kind->signature));
    d->status = d->kind->after_reset;
    d->error = 1;
    d->phase = IDE_IDLE;
    d->intrq = false;
    d->lba = d->left = d->pos = d->len = d->block = 0;
    memset(d->buf, 0, sizeof(d->buf));
    if (d->kind->reset) {
        d->kind->reset(d);
    }
}

/* The signature is the result, drive 0 interrupts. */
void ide_drive_diagnostic(IdeChannel *c)
{
    c->select = 0;
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        if (c->drive[i]) {
            ide_drive_reset_registers(c->drive[i]);
        }
    }
    if (c->drive[0]) {
        ide_drive_interrupt(c->drive[0]);
    }
}

/* PIO default and 0 to 4, multiword and Ultra DMA 0 to 2. */
bool ide_drive_set_mode(IdeDrive *d)
{
    unsigned mode = d->reg[REG_COUNT];
    if (mode <= 1 || (mode >= 8 && mode <= 12) || ((mode >> 3 == 4 || mode >> 3 == 8) && (mode & 7) <= 2)) {
        d->dma_mode = mode >= 0x20 ? (uint8_t)mode : d->dma_mode;
        return true;
    }
    return false;
}

/* ---- requests to the medium ---- */

void ide_drive_forget(IdeDrive *d)
{
    if (d->request) {
        d->request = NULL;
        d->forgotten++;
    }
}

/* A drive that is being unplugged is not on its cable any more: it starts nothing. */
void ide_drive_forgotten_ended(IdeDrive *d)
{
    IdeChannel *c = d->channel;
    if (--d->forgotten || c->drive[((const IdeChild *)d->dev.bus_data)->unit] != d) {
        return;
    }
    d->kind->start(d);
    if (c->ops->resume) {
        c->ops->resume(c->host, c);
    }
}

IdeRequest *ide_request_new(size_t bytes)
{
    IdeRequest *q = g_new0(IdeRequest, 1);
    q->bytes = bytes;
    q->data = g_malloc(bytes + 1);
    return q;
}

void ide_request_free(IdeRequest *q)
{
    g_free(q->data);
    g_free(q);
}

static void request_done(DriveRequest *r)
{
    IdeRequest *q = r->opaque;
    IdeDrive *d = q->d;
    if (d->request == q) {
        d->request = NULL;
        d->kind->done(d, q);
        ide_request_free(q);
    } else {
        ide_request_free(q);
        ide_drive_forgotten_ended(d);
    }
}

void ide_request_submit(IdeDrive *d, IdeRequest *q, DriveOp op, uint64_t off, unsigned flags)
{
    q->d = d;
    q->r = (DriveRequest){
        .op = op, .off = (int64_t)off, .bytes = q->range, .order = &d->order, .done = request_done,
        .opaque = q, .flags = flags
    };
    iov_init_buf(&q->r.v, q->data, q->bytes);
    d->request = q;
    drive_submit(&d->port, &q->r);
}

/* ---- life ---- */

bool ide_drive_check_texts(const IdeDrive *d, Error **errp)
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
    return true;
}

void ide_drive_default_serial(IdeDrive *d)
{
    if (!d->serial) {
        const IdeChild *child = d->dev.bus_data;
        const char *dot = strrchr(d->dev.bus->name, '.');
        unsigned bus = dot ? (unsigned)g_ascii_strtoull(dot + 1, NULL, 10) : 0;
        d->serial = g_strdup_printf("RH%05u", d->channel->units * bus + child->unit + 1);
    }
}

static void order_fini(void *order)
{
    co_mutex_fini(order);
}

static void drive_resume(void *opaque)
{
    IdeDrive *d = opaque;
    d->kind->start(d);
}

static bool drive_realize(Device *dev, Error **errp)
{
    IdeDrive *d = dev_as(IdeDrive, dev);
    d->channel = dev->bus->impl;
    co_mutex_init(&d->order);
    device_add_cleanup(dev, order_fini, &d->order);
    device_add_task(dev, &d->resume, drive_resume);
    return machine_add_boot_device(dev, d->bootindex, "", errp);
}

static void drive_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    IdeDrive *d = dev_as(IdeDrive, dev);
    ide_drive_reset_registers(d);
    d->dma_mode = 0x42; /* Ultra DMA 2 */
}

static void drive_reset_done(Device *dev)
{
    ide_channel_update(dev_as(IdeDrive, dev)->channel);
}

/* The types' own tables check how these go together. */
static const VmField drive_fields[] = {
    VM_U8_ARRAY(IdeDrive, reg),
    VM_U8_ARRAY(IdeDrive, hob),
    VM_U8(IdeDrive, status),
    VM_U8(IdeDrive, error),
    VM_U8_MAX(IdeDrive, phase, IDE_PHASES - 1),
    VM_U8(IdeDrive, dma_mode),
    VM_BOOL(IdeDrive, intrq),
    VM_U64(IdeDrive, lba),
    VM_U32(IdeDrive, left),
    VM_U32_MAX(IdeDrive, pos, IDE_BUF),
    VM_U32_MAX(IdeDrive, len, IDE_BUF),
    VM_U32_MAX(IdeDrive, block, 0xffff),
    VM_U8_ARRAY(IdeDrive, buf),
    { 0 },
};
static const VmState drive_state = { .name = "ide-drive", .version = 1, .oldest = 1, .fields = drive_fields };

static const Prop drive_props[] = {
    PROP_DRIVE(IdeDrive, port, "drive", "The image: a drive's id or a block node's name"),
    PROP_DRIVE_USE(IdeDrive, port),
    PROP_BOOTINDEX(IdeDrive, bootindex),
    PROP_STR(IdeDrive, serial, "serial", NULL, "Serial number, at most 20 characters"),
    PROP_STR(IdeDrive, ver, "ver", "0.1", "Firmware version, at most 8 characters"),
    PROP_U64(IdeDrive, wwn, "wwn", 0, 0, UINT64_MAX, "World wide name; 0: none"),
    PROP_ONOFFAUTO(
        IdeDrive, write_cache, "write-cache", AUTO,
        "A disk's writes may be cached until a flush, unless its guest switches that; auto: as the drive"),
    { 0 },
};

const DeviceType ide_drive_type = {
    .name = "ide-drive",
    .size = sizeof(IdeDrive),
    .internal = true,
    .bus_type = &ide_bus_type,
    .props = drive_props,
    .vmstate = &drive_state,
    .realize = drive_realize,
    .reset = drive_reset,
    .reset_done = drive_reset_done,
};

/* SPDX-License-Identifier: MIT
 * hw/ide/trim.c - the TRIM function of an ATA disk's DATA SET MANAGEMENT command.
 *
 * Models: ACS-2 (T13/2015-D) 7.10: blocks of 512 bytes with 64 entries each (a 48-bit address and a 16-bit
 *         count of sectors; a count of 0 says nothing), as many blocks as word 105 of IDENTIFY DEVICE allows.
 *         An entry beyond the end aborts the command before anything is discarded. Does not model: fixed
 *         contents of what was trimmed (word 69, bits 5 and 14): the image decides.
 * Threads: the domain of the adapter.
 *
 * The entries are taken into the drive's buffer at once; neighbours become one request. Saved state says
 * which are done, and one that is discarded twice does no harm.
 */
#include "ide.h"

#include <errno.h>

enum { TRIM_ENTRY = 8, FEATURE_TRIM = 1 };

typedef struct TrimRange {
    uint64_t lba, sectors;
} TrimRange;

static TrimRange entry(const IdeDrive *d, uint32_t at)
{
    uint64_t v = 0;
    for (unsigned i = TRIM_ENTRY; i--;) {
        v = v << 8 | d->buf[at + i];
    }
    return (TrimRange){ .lba = v & UINT64_C(0xffffffffffff), .sectors = v >> 48 };
}

static bool entries_fit(const IdeDisk *k)
{
    for (uint32_t at = 0; at < k->d.len; at += TRIM_ENTRY) {
        TrimRange r = entry(&k->d, at);
        if (r.sectors && (r.lba >= k->sectors || r.sectors > k->sectors - r.lba)) {
            return false;
        }
    }
    return true;
}

static void trim_end(IdeDrive *d, uint8_t error)
{
    ide_drive_finish(d, error);
    d->channel->ops->dma_done(d->channel->host, d->channel);
}

/* Discards what the next entries say, up to a gap between two of them. */
static void trim_next(IdeDrive *d)
{
    TrimRange all = { 0 };
    uint32_t at = d->pos;
    for (; at < d->len; at += TRIM_ENTRY) {
        TrimRange r = entry(d, at);
        if (all.sectors && r.sectors && r.lba != all.lba + all.sectors) {
            break;
        }
        all.lba = all.sectors ? all.lba : r.lba;
        all.sectors += r.sectors;
    }
    if (!all.sectors) {
        trim_end(d, 0);
        return;
    }
    IdeRequest *q = ide_request_new(0);
    q->blocks = (at - d->pos) / TRIM_ENTRY;
    q->range = (int64_t)(all.sectors * IDE_SECTOR);
    ide_request_submit(d, q, DRIVE_DISCARD, all.lba * IDE_SECTOR, 0);
}

void ide_trim_start(IdeDrive *d)
{
    IdeChannel *c = d->channel;
    if (d->phase == IDE_TRIM_DATA) {
        if (!c->ops->dma_copy(c->host, c, d->buf, d->len, false)) {
            return; /* too few descriptors: it waits, as for any data */
        }
        if (!entries_fit((const IdeDisk *)d)) {
            trim_end(d, ER_ABRT);
            return;
        }
        d->phase = IDE_TRIM;
        d->status = ST_BSY | ST_DRDY;
    }
    trim_next(d);
}

void ide_trim_done(IdeDrive *d, const IdeRequest *q)
{
    if (q->r.result < 0 && q->r.result != -ENOTSUP) { /* an image that cannot give back space keeps it */
        trim_end(d, ER_ABRT);
        return;
    }
    d->pos += q->blocks * TRIM_ENTRY;
    trim_next(d);
}

void ide_trim_command(IdeDrive *d)
{
    unsigned blocks = d->hob[REG_COUNT] << 8 | d->reg[REG_COUNT];
    if (d->reg[REG_FEATURE] != FEATURE_TRIM || !blocks || blocks > IDE_TRIM_BLOCKS ||
        !ide_can_trim((const IdeDisk *)d)) {
        ide_drive_finish(d, ER_ABRT);
        return;
    }
    d->pos = d->left = 0;
    d->len = blocks * IDE_SECTOR;
    d->block = IDE_SECTOR;
    d->status = ST_DRDY | ST_DSC | ST_DRQ;
    d->phase = IDE_TRIM_DATA;
    d->kind->start(d);
}

bool ide_trim_loaded(const IdeDisk *k)
{
    const IdeDrive *d = &k->d;
    return d->len && d->pos <= d->len && !(d->pos % TRIM_ENTRY) && !d->left &&
           (d->phase == IDE_TRIM ? entries_fit(k) : !d->pos);
}

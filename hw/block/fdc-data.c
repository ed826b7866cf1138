/* SPDX-License-Identifier: MIT
 * hw/block/fdc-data.c - the floppy controller's commands that pass over the medium.
 *
 * Models: 82078 data sheet (290475), 6.5.1 to 6.5.7: READ, WRITE, VERIFY, READ TRACK, FORMAT and READ ID, by
 *         DMA and by the FIFO; multi-track, implied seek, the results' sector (table 6-6).
 * Does not model: data address marks: none is a deleted one, and none is kept; FM; other sectors than those
 *         of 512 bytes; the time that the disk takes.
 * Threads: the controller's domain. One sector at a time; what a request does follows from saved state, so
 *         that a loaded controller hands it in again, and a reset only forgets it: the next one is not made
 *         before that has ended.
 */
#include "fdc.h"
#include "rhea/system/machine.h"

#include <string.h>

struct FdcRequest {
    Fdc *s;        /* forgotten: s->request is another one, or none */
    unsigned unit; /* of the drive */
    DriveRequest r;
    uint8_t data[FLOPPY_SECTOR];
};

static unsigned op(const Fdc *s)
{
    return s->fifo[0] & CMD_OP;
}

static bool writes(const Fdc *s)
{
    return op(s) == OP_WRITE || op(s) == OP_WRITE_DELETED || op(s) == OP_FORMAT;
}

static void finish(Fdc *s, uint8_t st0, uint8_t st1, uint8_t st2)
{
    uint8_t unit = s->fifo[1] & 3;
    st0 |= (uint8_t)((st1 || st2 ? ST0_ABNORMAL : 0) | s->head << 2 | unit);
    uint8_t bytes[7] = { st0, st1, st2, s->c, s->h, s->r, s->n };
    fdc_dma_off(s);
    fdc_results(s, bytes, sizeof(bytes), true);
}

/* ---- the place ---- */

/* Can IDs be read under the head? */
static bool readable(const Fdc *s)
{
    const Floppy *d = fdc_drive(s);
    return d && d->format && d->port.client && (s->fifo[0] & CMD_MFM) && s->rate == d->format->rate &&
           d->track < d->format->cylinders && s->head < d->format->heads;
}

/* False: the command has ended, since the sector is not there. */
static bool sector_found(Fdc *s)
{
    const Floppy *d = fdc_drive(s);
    if (!readable(s)) {
        finish(s, 0, ST1_NO_ID, 0);
        return false;
    }
    if (s->c != d->track) {
        finish(s, 0, ST1_NO_DATA, s->c == 0xff ? ST2_BAD_CYLINDER : ST2_CYLINDER);
        return false;
    }
    if (s->h != s->head || s->n != 2 || s->r == 0 || s->r > d->format->sectors) {
        finish(s, 0, ST1_NO_DATA, 0);
        return false;
    }
    return true;
}

/* True: that was the cylinder's last sector. */
static bool advance(Fdc *s)
{
    bool multi = (s->fifo[0] & CMD_MT) && op(s) != OP_READ_TRACK;
    if (s->r != s->eot) {
        s->r++;
        return false;
    }
    s->r = 1;
    s->h ^= multi;
    if (multi && s->head == 0) {
        s->head = 1;
        return false;
    }
    s->c++;
    return true;
}

/* ---- the medium ---- */

void fdc_forget(Fdc *s)
{
    if (s->request) {
        s->request = NULL;
        s->forgotten++;
    }
}

static void sector_next(Fdc *s);

static void sector_done(Fdc *s)
{
    bool end;
    if (op(s) == OP_FORMAT) {
        end = s->left-- == 0;
        if (end || s->tc) {
            finish(s, 0, 0, 0);
            return;
        }
        sector_next(s);
        return;
    }
    end = advance(s);
    if (op(s) == OP_READ_DELETED) { /* this one was not deleted */
        finish(s, 0, 0, ST2_DELETED);
    } else if (s->tc) {
        finish(s, 0, 0, 0);
    } else if (end) {
        finish(s, 0, ST1_END, 0);
    } else {
        sector_next(s);
    }
}

static void medium_done(Fdc *s, int result)
{
    if (result < 0) {
        finish(s, 0, ST1_DATA, ST2_DATA);
    } else if (s->phase == FDC_READ) {
        s->phase = FDC_TO_HOST;
        s->buf_pos = 0;
        s->buf_len = FLOPPY_SECTOR;
        fdc_pump(s);
    } else {
        sector_done(s);
    }
}

static void request_done(DriveRequest *r)
{
    FdcRequest *q = r->opaque;
    Fdc *s = q->s;
    iov_fini(&r->v);
    if (s->request == q) {
        s->request = NULL;
        if (s->phase == FDC_READ) {
            memcpy(s->buf, q->data, FLOPPY_SECTOR);
        }
        medium_done(s, r->result);
    } else if (--s->forgotten == 0 && s->drive[q->unit]) { /* else it is being taken away */
        fdc_resume(s);
    }
    g_free(q);
}

/* Phase FDC_READ or FDC_WRITE: hands in the sector. */
static void medium_start(Fdc *s)
{
    Floppy *d = fdc_drive(s);
    bool write = s->phase == FDC_WRITE;
    if (!sector_found(s)) { /* the disk may be another one by now */
        return;
    }
    int64_t off = ((d->track * d->format->heads + s->head) * d->format->sectors + s->r - 1) * FLOPPY_SECTOR;
    if (off + FLOPPY_SECTOR > drive_size(&d->port)) { /* the image ends before the disk does */
        memset(s->buf, 0, write ? 0 : sizeof(s->buf));
        medium_done(s, write ? -1 : 0);
        return;
    }
    if (s->forgotten) { /* the end of the last one comes back here */
        return;
    }
    FdcRequest *q = g_new0(FdcRequest, 1);
    q->s = s;
    q->unit = s->fifo[1] & 3;
    q->r = (DriveRequest){ .op = write ? DRIVE_WRITE : DRIVE_READ, .off = off, .order = &s->order,
                           .done = request_done, .opaque = q };
    if (write) {
        memcpy(q->data, s->buf, FLOPPY_SECTOR);
    }
    iov_init_buf(&q->r.v, q->data, FLOPPY_SECTOR);
    s->request = q;
    drive_submit(&d->port, &q->r);
}

/* ---- the host ---- */

void fdc_dma_off(Fdc *s)
{
    if (s->dreq) {
        s->dreq = false;
        isa_dma_request(isa_bus_of(&s->dev), 2, false);
    }
}

void fdc_host_moved(Fdc *s)
{
    if (s->buf_pos < s->buf_len && !s->tc) {
        return;
    }
    fdc_dma_off(s);
    if (s->phase == FDC_TO_HOST) {
        sector_done(s);
    } else if (op(s) != OP_FORMAT) {
        memset(s->buf + s->buf_pos, 0, sizeof(s->buf) - s->buf_pos); /* 6.5.2: a rest is written as zeros */
        s->phase = FDC_WRITE;
        medium_start(s);
    } else if (s->buf_pos < s->buf_len) { /* half an ID: the rest of the track stays as it is */
        finish(s, 0, 0, 0);
    } else {
        s->c = s->buf[0];
        s->h = s->buf[1];
        s->r = s->buf[2];
        s->n = s->buf[3];
        memset(s->buf, s->fifo[5], sizeof(s->buf));
        s->phase = FDC_WRITE;
        medium_start(s);
    }
}

void fdc_pump(Fdc *s)
{
    while (fdc_host_turn(s) && fdc_dma(s) && (s->dor & 8)) {
        if (!s->dreq) { /* the channel may be ready: then it comes back here */
            s->dreq = true;
            isa_dma_request(isa_bus_of(&s->dev), 2, true);
            continue;
        }
        size_t n = isa_dma_transfer(isa_bus_of(&s->dev), 2, s->buf + s->buf_pos, s->buf_len - s->buf_pos,
                                    s->phase == FDC_TO_HOST, &s->tc);
        if (!n) {
            break;
        }
        s->buf_pos += n;
        fdc_host_moved(s);
    }
    fdc_update(s);
}

void fdc_resume(void *opaque)
{
    Fdc *s = opaque;
    if (s->request) {
        return;
    }
    if (s->phase == FDC_READ || s->phase == FDC_WRITE) {
        medium_start(s);
    } else {
        fdc_pump(s);
    }
}

/* ---- commands ---- */

static void sector_next(Fdc *s)
{
    if (op(s) == OP_FORMAT) {
        s->phase = FDC_FROM_HOST;
        s->buf_pos = 0;
        s->buf_len = 4;
        fdc_pump(s);
    } else if (!sector_found(s)) {
        return;
    } else if (writes(s)) {
        s->phase = FDC_FROM_HOST;
        s->buf_pos = 0;
        s->buf_len = FLOPPY_SECTOR;
        fdc_pump(s);
    } else {
        s->phase = FDC_READ;
        medium_start(s);
    }
}

/* 6.5.4: the sectors are there, or one of them is not; with EC so many as DTL says. */
static void verify(Fdc *s)
{
    bool count = s->fifo[1] & 0x80;
    for (unsigned n = s->fifo[8]; sector_found(s); n--) {
        bool end = advance(s);
        if (end || (count && n <= 1)) {
            finish(s, 0, count && n > 1 ? ST1_END : 0, 0);
            return;
        }
    }
}

static bool write_allowed(Fdc *s)
{
    const Floppy *d = fdc_drive(s);
    if (d && d->port.client && d->port.read_only) {
        finish(s, 0, ST1_PROTECTED, 0);
        return false;
    }
    return true;
}

void fdc_transfer(Fdc *s)
{
    const uint8_t *p = s->fifo;
    s->head = p[1] >> 2 & 1;
    s->c = p[2];
    s->h = p[3];
    s->r = op(s) == OP_READ_TRACK ? 1 : p[4];
    s->n = p[5];
    s->eot = p[6];
    s->tc = false;
    fdc_implied_seek(s, s->c);
    if (writes(s) && !write_allowed(s)) {
        return;
    }
    if (op(s) == OP_VERIFY) {
        verify(s);
    } else if (op(s) == OP_READ_DELETED && (p[0] & CMD_SK)) {
        finish(s, 0, ST1_NO_DATA, 0); /* all are skipped */
    } else {
        sector_next(s);
    }
}

void fdc_format(Fdc *s)
{
    const Floppy *d = fdc_drive(s);
    s->head = s->fifo[1] >> 2 & 1;
    s->c = d ? d->track : 0;
    s->h = s->head;
    s->r = 1;
    s->n = s->fifo[2];
    s->tc = false;
    s->left = (uint8_t)(s->fifo[3] - 1);
    if (!readable(s)) {
        finish(s, 0, ST1_NO_ID, 0);
    } else if (write_allowed(s)) {
        sector_next(s);
    }
}

void fdc_read_id(Fdc *s)
{
    Floppy *d = fdc_drive(s);
    s->head = s->fifo[1] >> 2 & 1;
    if (!readable(s)) {
        s->c = s->h = s->r = s->n = 0;
        finish(s, 0, ST1_NO_ID, 0);
        return;
    }
    d->id = d->id < d->format->sectors ? d->id + 1 : 1;
    s->c = d->track;
    s->h = s->head;
    s->r = d->id;
    s->n = 2;
    finish(s, 0, 0, 0);
}

/* SPDX-License-Identifier: MIT
 * hw/usb/storage-scsi.c - the SCSI commands of a USB disk.
 *
 * Models: SPC-3 (INQUIRY with vital product data, MODE SENSE, REQUEST SENSE, REPORT LUNS), SBC-2 (READ,
 *         WRITE, VERIFY, READ CAPACITY, SYNCHRONIZE CACHE). Sense data of the fixed format.
 * Does not model: UNMAP, WRITE SAME, reservations, mode select, formatting.
 * Threads: the platform domain.
 */
#include "storage.h"

#include <string.h>

enum { SENSE_NONE = 0, SENSE_ILLEGAL = 5, SENSE_PROTECT = 7 };
enum { ASC_COMMAND = 0x20, ASC_RANGE = 0x21, ASC_FIELD = 0x24, ASC_PROTECTED = 0x27 };

static uint64_t be(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    while (n--) {
        v = v << 8 | *p++;
    }
    return v;
}

static void put_be(uint8_t *p, unsigned n, uint64_t v)
{
    while (n--) {
        p[n] = (uint8_t)v;
        v >>= 8;
    }
}

static void put_text(uint8_t *p, unsigned n, const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = *text ? (uint8_t)*text++ : ' ';
    }
}

void storage_sense(UsbStorage *s, uint8_t key, uint8_t code, uint8_t qualifier)
{
    s->sense[0] = key;
    s->sense[1] = code;
    s->sense[2] = qualifier;
    s->status = key != SENSE_NONE;
    s->avail = key ? 0 : s->avail;
}

static void refuse(UsbStorage *s, uint8_t code)
{
    storage_sense(s, code == ASC_PROTECTED ? SENSE_PROTECT : SENSE_ILLEGAL, code, 0);
}

/* What the reply has, as much as the command allows. */
static void reply(UsbStorage *s, unsigned len, uint64_t allowed)
{
    s->kind = STORE_REPLY;
    s->pos = 0;
    s->avail = MIN(len, allowed);
}

/* ---- INQUIRY ---- */

static unsigned vital_data(UsbStorage *s, uint8_t *b)
{
    static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1 };
    const char *serial = s->u.serial ? s->u.serial : "";
    unsigned n = (unsigned)MIN(strlen(serial), 36);
    b[1] = s->cdb[2];
    switch (s->cdb[2]) {
    case 0x00:
        b[3] = sizeof(pages);
        memcpy(b + 4, pages, sizeof(pages));
        return 4 + sizeof(pages);
    case 0x80: /* serial number */
        b[3] = (uint8_t)n;
        memcpy(b + 4, serial, n);
        return 4 + n;
    case 0x83: /* identification: vendor's text */
        b[3] = (uint8_t)(4 + n);
        b[4] = 2;
        b[7] = (uint8_t)n;
        memcpy(b + 8, serial, n);
        return 8 + n;
    case 0xb0: /* block limits */
        b[3] = 0x3c;
        put_be(b + 6, 2, MIN(s->shape.min_io / s->shape.logical, UINT16_MAX));
        put_be(b + 12, 4, s->shape.opt_io / s->shape.logical);
        return 64;
    case 0xb1: /* characteristics: does not rotate */
        b[3] = 0x3c;
        put_be(b + 4, 2, 1);
        return 64;
    default: return 0;
    }
}

static void inquiry(UsbStorage *s)
{
    uint8_t *b = s->reply;
    unsigned n = 36;
    if (s->cdb[1] & 1) {
        n = vital_data(s, b);
        if (!n) {
            refuse(s, ASC_FIELD);
            return;
        }
    } else if (s->cdb[2]) {
        refuse(s, ASC_FIELD);
        return;
    } else {
        b[1] = s->removable ? 0x80 : 0;
        b[2] = 5; /* SPC-3 */
        b[3] = 2;
        b[4] = 31;
        put_text(b + 8, 8, "QEMU");
        put_text(b + 16, 16, "QEMU HARDDISK");
        put_text(b + 32, 4, "2.5+");
    }
    reply(s, n, be(s->cdb + 3, 2));
}

/* ---- MODE SENSE ---- */

static void mode_sense(UsbStorage *s)
{
    bool ten = s->cdb[0] == 0x5a;
    uint8_t *b = s->reply, page = s->cdb[2] & 0x3f;
    unsigned head = ten ? 8 : 4, n = head;
    if (s->cdb[2] >> 6 == 3 || (page != 0x08 && page != 0x3f && page != 0x1c && page != 0)) {
        refuse(s, s->cdb[2] >> 6 == 3 ? 0x39 : ASC_FIELD);
        return;
    }
    b[ten ? 3 : 2] = s->drive.read_only ? 0x80 : 0;
    if (!(s->cdb[1] & 8)) { /* a block descriptor */
        b[ten ? 7 : 3] = 8;
        put_be(b + n, 4, MIN(s->blocks, 0xffffff));
        put_be(b + n + 4, 4, s->shape.logical & 0xffffff);
        n += 8;
    }
    if (page == 0x08 || page == 0x3f) { /* caching */
        b[n] = 0x08;
        b[n + 1] = 0x12;
        b[n + 2] = s->cdb[2] >> 6 == 1 ? 0 : s->write_cache == ON ? 4 : 0; /* nothing can be changed */
        n += 20;
    }
    put_be(b, ten ? 2 : 1, n - (ten ? 2 : 1));
    reply(s, n, ten ? be(s->cdb + 7, 2) : s->cdb[4]);
}

/* ---- the medium ---- */

static void transfer(UsbStorage *s, uint64_t lba, uint64_t n, bool write)
{
    s->avail = 0;
    if (lba > s->blocks || n > s->blocks - lba) {
        drive_account_invalid(&s->drive, write ? DRIVE_STAT_WRITE : DRIVE_STAT_READ);
        refuse(s, ASC_RANGE);
    } else if (write && s->drive.read_only) {
        refuse(s, ASC_PROTECTED);
    } else {
        s->kind = write ? STORE_WRITE : STORE_READ;
        s->pos = lba * s->shape.logical;
        s->avail = n * s->shape.logical;
    }
}

static void read_write(UsbStorage *s)
{
    const uint8_t *c = s->cdb;
    bool write = (c[0] & 0x0f) == 0x0a;
    switch (c[0] >> 5) {
    case 0: transfer(s, be(c + 1, 3) & 0x1fffff, c[4] ? c[4] : 256, write); break;
    case 1: transfer(s, be(c + 2, 4), be(c + 7, 2), write); break;
    case 4: transfer(s, be(c + 2, 8), be(c + 10, 4), write); break;
    default: transfer(s, be(c + 2, 4), be(c + 6, 4), write); break;
    }
}

static void verify(UsbStorage *s)
{
    bool sixteen = s->cdb[0] == 0x8f;
    uint64_t n = sixteen ? be(s->cdb + 10, 4) : be(s->cdb + 7, 2);
    if (s->cdb[1] & 6) { /* comparison with data */
        refuse(s, ASC_FIELD);
        return;
    }
    transfer(s, be(s->cdb + 2, sixteen ? 8 : 4), n, false);
    s->avail = 0; /* the medium is not worn */
    s->kind = STORE_REPLY;
}

static void read_capacity(UsbStorage *s)
{
    put_be(s->reply, 4, MIN(s->blocks - 1, UINT32_MAX));
    put_be(s->reply + 4, 4, s->shape.logical);
    reply(s, 8, 8);
}

static void read_capacity16(UsbStorage *s)
{
    if ((s->cdb[1] & 31) != 0x10) {
        refuse(s, ASC_FIELD);
        return;
    }
    put_be(s->reply, 8, s->blocks - 1);
    put_be(s->reply + 8, 4, s->shape.logical);
    s->reply[13] = (uint8_t)g_bit_nth_lsf(s->shape.physical / s->shape.logical, -1);
    reply(s, 32, be(s->cdb + 10, 4));
}

static void request_sense(UsbStorage *s, const uint8_t was[3])
{
    uint8_t *b = s->reply;
    b[0] = 0x70;
    b[2] = was[0];
    b[7] = 10;
    b[12] = was[1];
    b[13] = was[2];
    reply(s, 18, s->cdb[4]);
}

static void report_luns(UsbStorage *s)
{
    s->reply[3] = 8; /* number 0 is the one */
    reply(s, 16, be(s->cdb + 6, 4));
}

void storage_execute(UsbStorage *s)
{
    uint8_t was[3];
    memcpy(was, s->sense, sizeof(was));
    memset(s->reply, 0, sizeof(s->reply));
    s->kind = STORE_REPLY;
    s->avail = s->pos = 0;
    s->flush = false;
    storage_sense(s, SENSE_NONE, 0, 0);
    switch (s->cdb[0]) {
    case 0x00: /* TEST UNIT READY */
    case 0x1b: /* START STOP UNIT, PREVENT REMOVAL: there is nothing to take out */
    case 0x1e: break;
    case 0x03: request_sense(s, was); break;
    case 0x12: inquiry(s); break;
    case 0x1a:
    case 0x5a: mode_sense(s); break;
    case 0x25: read_capacity(s); break;
    case 0x9e: read_capacity16(s); break;
    case 0x08:
    case 0x28:
    case 0x88:
    case 0xa8:
    case 0x0a:
    case 0x2a:
    case 0x8a:
    case 0xaa: read_write(s); break;
    case 0x2f:
    case 0x8f: verify(s); break;
    case 0x35:
    case 0x91: s->flush = true; break;
    case 0xa0: report_luns(s); break;
    default: refuse(s, ASC_COMMAND);
    }
}

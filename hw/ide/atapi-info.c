/* SPDX-License-Identifier: MIT
 * hw/ide/atapi-info.c - what a CD drive tells about itself and its disc: IDENTIFY PACKET DEVICE, INQUIRY,
 * MODE SENSE, GET CONFIGURATION, READ TOC, READ DISC INFORMATION, READ DVD STRUCTURE, MECHANISM STATUS.
 *
 * Models: ATA/ATAPI-6 8.16, SPC-2 7.3 and 8.4, MMC-3 chapter 5 (features, mode pages) and 6 (commands): one
 * closed session with one data track. Does not model: changers, CD text, protected DVDs. Threads: the
 * adapter's domain.
 */
#include "ide-cd.h"

#include <string.h>

enum { PROFILE_CD = 0x08, PROFILE_DVD = 0x10 };

/* ---- the drive ---- */

void atapi_identify(const IdeCd *s, uint8_t *b)
{
    const IdeDrive *d = &s->d;
    memset(b, 0, IDE_SECTOR);
    ide_put_word(b, 0, 0x85c0); /* ATAPI, CD-ROM, removable, DRQ within 50 us, packets of 12 bytes */
    ide_put_text(b, 10, 10, d->serial);
    ide_put_text(b, 23, 4, d->ver);
    ide_put_text(b, 27, 20, d->model);
    ide_put_word(b, 49, 0x0b00); /* DMA, LBA, IORDY */
    ide_put_word(b, 50, 0x4000);
    ide_put_word(b, 51, 0x0200);
    ide_put_word(b, 53, 6);
    ide_put_word(b, 63, 7 | (d->dma_mode >> 3 == 4 ? 0x100u << (d->dma_mode & 7) : 0));
    ide_put_word(b, 64, 3); /* PIO 3 and 4 */
    for (unsigned w = 65; w <= 68; w++) {
        ide_put_word(b, w, 120);
    }
    ide_put_word(b, 80, 0x7e);   /* ATA-1 to ATA/ATAPI-6 */
    ide_put_word(b, 82, 0x0210); /* DEVICE RESET, PACKET */
    ide_put_word(b, 83, 0x4000);
    ide_put_word(b, 84, 0x4000);
    ide_put_word(b, 85, 0x0210);
    ide_put_word(b, 87, 0x4000);
    ide_put_wwn(b, d->wwn);
    ide_put_word(b, 88, 7 | (d->dma_mode >> 3 == 8 ? 0x100u << (d->dma_mode & 7) : 0));
}

static void put_padded(uint8_t *b, unsigned n, const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        b[i] = *text ? (uint8_t)*text++ : ' ';
    }
}

uint32_t atapi_inquiry(IdeCd *s, const uint8_t *p, uint32_t *sense)
{
    uint8_t *b = s->d.buf;
    memset(b, 0, 64);
    b[0] = 0x05;
    if (p[1] & 1) { /* vital product data: the pages, the serial number */
        static const uint8_t pages[] = { 0x00, 0x80 };
        b[1] = p[2];
        if (p[2] == 0x00) {
            b[3] = sizeof(pages);
            memcpy(b + 4, pages, sizeof(pages));
            return 4 + sizeof(pages);
        }
        if (p[2] != 0x80) {
            return 0;
        }
        b[3] = 20;
        put_padded(b + 4, 20, s->d.serial);
        return 24;
    }
    if (p[2]) {
        return 0;
    }
    b[1] = 0x80; /* removable */
    b[3] = 0x21; /* ATAPI (SFF-8020i 10.8.1), data format 1 */
    b[4] = 31;
    const char *vendor = s->d.model, *blank = strchr(vendor, ' ');
    unsigned n = blank && blank - vendor <= 8 ? (unsigned)(blank - vendor) : 0;
    put_padded(b + 8, 8, "");
    memcpy(b + 8, vendor, n);
    put_padded(b + 16, 16, n ? blank + 1 : vendor);
    put_padded(b + 32, 4, s->d.ver);
    return 36;
}

/* Mode pages (MMC-3 5.5, SFF-8020i 10.8.6): errors, CD parameters, audio, capabilities. */
static uint32_t mode_page(const IdeCd *s, uint8_t *b, unsigned page)
{
    switch (page) {
    case 0x01:
        b[1] = 6;
        b[3] = 5; /* retries */
        break;
    case 0x0d:
        b[1] = 6;
        b[5] = 60; /* seconds in a minute, frames in a second */
        b[7] = 75;
        break;
    case 0x0e:
        b[1] = 14;
        b[2] = 4; /* immediate */
        b[7] = 75;
        break;
    default: /* 0x2a */
        b[1] = 18;
        b[2] = 0x1f;                       /* reads CD-R, CD-RW, method 2, DVD-ROM, DVD-R */
        b[4] = 0x70;                       /* mode 2 form 1 and 2, several sessions */
        b[6] = 0x29 | (s->locked ? 2 : 0); /* a tray that opens and can be locked */
        put_be16(b + 8, 50 * 176);
        put_be16(b + 12, 128); /* KiB of buffer */
        put_be16(b + 14, 50 * 176);
        break;
    }
    b[0] = (uint8_t)page;
    return b[1] + 2u;
}

uint32_t atapi_mode_sense(IdeCd *s, const uint8_t *p, uint32_t *sense)
{
    static const uint8_t pages[] = { 0x01, 0x0d, 0x0e, 0x2a };
    uint8_t *b = s->d.buf;
    unsigned control = p[2] >> 6, page = p[2] & 0x3f;
    uint32_t len = 8;
    if (control == 3) {
        *sense = SENSE_NO_SAVED_PAGES;
        return 0;
    }
    memset(b, 0, 128);
    for (unsigned i = 0; i < sizeof(pages); i++) {
        if (page == pages[i] || page == 0x3f) {
            uint32_t n = mode_page(s, b + len, pages[i]);
            if (control == 1) { /* what MODE SELECT could change: nothing */
                memset(b + len + 2, 0, n - 2);
            }
            len += n;
        }
    }
    if (len == 8) {
        return 0;
    }
    put_be16(b, len - 2);
    b[2] = s->tray_open ? 0x71
           : !s->blocks ? 0x70
                        : 0x01; /* SFF-8020i table 62: door open, no disc, 120 mm data */
    return len;
}

/* ---- features (MMC-3 5.3) ---- */

static unsigned current_profile(const IdeCd *s)
{
    return !cd_ready(s) ? 0 : s->blocks > CD_MAX_BLOCKS ? PROFILE_DVD : PROFILE_CD;
}

uint32_t atapi_get_configuration(IdeCd *s, const uint8_t *p, uint32_t *sense)
{
    unsigned profile = current_profile(s), from = get_be16(p + 2), which = p[1] & 3;
    bool cd = profile == PROFILE_CD, dvd = profile == PROFILE_DVD, disc = cd || dvd;
    const struct {
        uint16_t code;
        uint8_t version, persistent, current, len;
        uint8_t data[8];
    } features[] = {
        { 0x0000, 0, 1, 1, 8, { 0, PROFILE_DVD, dvd, 0, 0, PROFILE_CD, cd, 0 } }, /* profiles */
        { 0x0001, 0, 1, 1, 4, { 0, 0, 0, 2 } },                                   /* core: ATAPI */
        { 0x0002, 0, 1, 1, 4, { 0 } },                                     /* morphing: events are polled */
        { 0x0003, 0, 1, 1, 4, { 0x29 } },                                  /* tray, eject, lock */
        { 0x0010, 0, 0, disc, 8, { 0, 0, CD_BLOCK >> 8, 0, 0, 1, 0, 0 } }, /* random reads */
        { 0x001e, 0, 0, cd, 0, { 0 } },                                    /* CD read */
        { 0x001f, 0, 0, dvd, 0, { 0 } },                                   /* DVD read */
        { 0x0100, 0, 1, 1, 0, { 0 } },                                     /* power management */
        { 0x0105, 0, 1, 1, 0, { 0 } },                                     /* time-out */
    };
    uint8_t *b = s->d.buf;
    uint32_t len = 8;
    if (which == 3) {
        return 0;
    }
    memset(b, 0, 8);
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        unsigned code = features[i].code;
        if ((which == 2 ? code != from : code < from) || (which == 1 && !features[i].current)) {
            continue;
        }
        put_be16(b + len, code);
        b[len + 2] = (uint8_t)(features[i].version << 2 | features[i].persistent << 1 | features[i].current);
        b[len + 3] = features[i].len;
        memcpy(b + len + 4, features[i].data, features[i].len);
        len += 4u + features[i].len;
    }
    put_be32(b, len - 4);
    put_be16(b + 6, profile);
    return len;
}

uint32_t atapi_mechanism(IdeCd *s, const uint8_t *p, uint32_t *sense)
{
    uint8_t *b = s->d.buf;
    memset(b, 0, 8);
    b[1] = s->tray_open ? 0x10 : 0;
    b[5] = 1; /* slots; their table is a changer's */
    return 8;
}

/* ---- the disc ---- */

static void put_address(uint8_t *b, uint32_t lba, bool msf)
{
    if (!msf) {
        put_be32(b, lba);
        return;
    }
    uint32_t frame = lba + CD_MSF_OFFSET, minute = frame / (60 * 75);
    b[0] = 0;
    b[1] = (uint8_t)MIN(minute, 255u);
    b[2] = (uint8_t)(frame / 75 % 60);
    b[3] = (uint8_t)(frame % 75);
}

/* Reserved, ADR 1 and control 4 (a data track), number, reserved, address. */
static uint32_t put_track(uint8_t *b, unsigned track, uint32_t lba, bool msf)
{
    b[0] = b[3] = 0;
    b[1] = 0x14;
    b[2] = (uint8_t)track;
    put_address(b + 4, lba, msf);
    return 8;
}

/* Format 2: session, ADR and control, track 0, point, minute to frame here, zero, and of the point. */
static uint32_t put_point(uint8_t *b, unsigned point, const uint8_t *pmsf)
{
    memset(b, 0, 11);
    b[0] = 1;
    b[1] = 0x14;
    b[3] = (uint8_t)point;
    memcpy(b + 8, pmsf, 3);
    return 11;
}

uint32_t atapi_read_toc(IdeCd *s, const uint8_t *p, uint32_t *sense)
{
    uint8_t *b = s->d.buf, at[4];
    bool msf = p[1] & 2;
    unsigned format = p[2] & 0xf ? p[2] & 0xf : p[9] >> 6; /* SFF-8020i had it in the last byte */
    uint32_t len = 4;
    b[2] = b[3] = 1; /* first and last track, or session */
    if (format == 0) {
        if (p[6] > 1 && p[6] != 0xaa) {
            return 0;
        }
        if (p[6] <= 1) {
            len += put_track(b + len, 1, 0, msf);
        }
        len += put_track(b + len, 0xaa, s->blocks, msf);
    } else if (format == 1) {
        len += put_track(b + len, 1, 0, msf);
    } else if (format == 2 && p[6] <= 1) {
        static const uint8_t first[] = { 1, 0, 0 };
        len += put_point(b + len, 0xa0, first);
        len += put_point(b + len, 0xa1, first);
        put_address(at, s->blocks, true);
        len += put_point(b + len, 0xa2, at + 1);
        put_address(at, 0, true);
        len += put_point(b + len, 1, at + 1);
    } else {
        return 0;
    }
    put_be16(b, len - 2);
    return len;
}

uint32_t atapi_disc_info(IdeCd *s, const uint8_t *p, uint32_t *sense)
{
    uint8_t *b = s->d.buf;
    memset(b, 0, 34);
    put_be16(b, 32);
    b[2] = 0x0e;                   /* the last session is complete, the disc is closed */
    b[3] = b[4] = b[5] = b[6] = 1; /* first track, sessions, first and last track of the last session */
    b[7] = 0x20;                   /* for unrestricted use */
    memset(b + 16, 0xff, 8);       /* no more lead-in or lead-out */
    return 34;
}

/* MMC-3 6.28: the physical format, and that there is no copy protection. */
uint32_t atapi_dvd_structure(IdeCd *s, const uint8_t *p, uint32_t *sense)
{
    uint8_t *b = s->d.buf;
    memset(b, 0, 4 + CD_BLOCK);
    if (current_profile(s) != PROFILE_DVD) {
        *sense = 0x053002; /* the medium has another format */
        return 0;
    }
    if (p[6] || p[1] & 0xf || (p[7] != 0 && p[7] != 1)) {
        return 0;
    }
    if (p[7] == 1) {
        put_be16(b, 6);
        return 8;
    }
    put_be16(b, CD_BLOCK + 2);
    b[4] = 0x01; /* DVD-ROM, version 1 */
    b[5] = 0x0f; /* 120 mm, no largest rate */
    b[6] = 0x01; /* one layer, embossed */
    put_be32(b + 8, 0x30000);
    put_be32(b + 12, 0x30000 + s->blocks - 1);
    return 4 + CD_BLOCK;
}

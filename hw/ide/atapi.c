/* SPDX-License-Identifier: MIT
 * hw/ide/atapi.c - the packet commands of a CD drive: which there are, when they may run, what they do.
 *
 * Models: MMC-3 chapter 6 and SFF-8020i: TEST UNIT READY, REQUEST SENSE, START STOP UNIT, PREVENT ALLOW
 * MEDIUM REMOVAL, READ, READ CD, SEEK, GET EVENT STATUS NOTIFICATION; SPC-2 5.6.5: unit attention. Does not
 * model: writing, audio, subchannels, asynchronous events. Threads: the domain of the adapter.
 */
#include "ide-cd.h"

#include <string.h>

enum { NEEDS_MEDIUM = 1, NO_ATTENTION = 2 }; /* NO_ATTENTION: runs while a unit attention waits */

static void cmd_nothing(IdeCd *s, const uint8_t *p)
{
    cd_good(s);
}

/* Fixed format (SPC-2 7.23.2). A unit attention that waits is told first. */
static void cmd_request_sense(IdeCd *s, const uint8_t *p)
{
    if (!s->sense && s->attention) {
        s->sense = s->attention & CD_ATT_RESET ? SENSE_POWER_ON : SENSE_NEW_MEDIUM;
        s->attention &= (uint8_t)(s->attention & CD_ATT_RESET ? ~CD_ATT_RESET : ~CD_ATT_MEDIUM);
    }
    uint8_t *b = s->d.buf;
    memset(b, 0, 18);
    b[0] = 0x70;
    b[2] = (uint8_t)(s->sense >> 16);
    b[7] = 10;
    b[12] = (uint8_t)(s->sense >> 8);
    b[13] = (uint8_t)s->sense;
    s->sense = SENSE_NONE;
    cd_reply(s, 18, p[4]);
}

static void cmd_start_stop(IdeCd *s, const uint8_t *p)
{
    bool start = p[4] & 1, move = p[4] & 2;
    if (p[4] >> 4 || !move) { /* power conditions; the disc turns or not */
        cd_good(s);
    } else if (!start && s->locked && !s->tray_open) {
        cd_check(s, SENSE_LOCKED);
    } else {
        cd_move_tray(s, !start);
        cd_good(s);
    }
}

static void cmd_prevent_allow(IdeCd *s, const uint8_t *p)
{
    s->locked = p[4] & 1;
    cd_good(s);
}

static void cmd_read_capacity(IdeCd *s, const uint8_t *p)
{
    put_be32(s->d.buf, s->blocks - 1);
    put_be32(s->d.buf + 4, CD_BLOCK);
    cd_reply(s, 8, 8);
}

static void cmd_read(IdeCd *s, const uint8_t *p)
{
    cd_read(s, get_be32(p + 2), p[0] == 0x28 ? get_be16(p + 7) : get_be32(p + 6), CD_USER);
}

static void cmd_seek(IdeCd *s, const uint8_t *p)
{
    if (get_be32(p + 2) >= s->blocks) {
        cd_check(s, SENSE_BAD_ADDRESS);
    } else {
        cd_good(s);
    }
}

/* Byte 1: the kind of sector that is expected: any, or mode 1. Byte 9: which of its parts; bytes are only
 * what the sector has: mode 1 has no subheader. Error flags and subchannels are not part of an image. */
static void read_cd(IdeCd *s, const uint8_t *p, uint32_t lba, uint32_t n)
{
    unsigned kind = p[1] >> 2 & 7, parts = p[9];
    if (kind > 5 || parts & (CD_C2 | 1) || p[10] & 7) {
        cd_check(s, SENSE_BAD_FIELD);
    } else if (n && kind != 0 && kind != 2) {
        cd_check(s, SENSE_WRONG_TRACK);
    } else {
        cd_read(s, lba, n, (uint8_t)parts);
    }
}

static void cmd_read_cd(IdeCd *s, const uint8_t *p)
{
    read_cd(s, p, get_be32(p + 2), (uint32_t)p[6] << 16 | get_be16(p + 7));
}

static void cmd_read_cd_msf(IdeCd *s, const uint8_t *p)
{
    uint32_t from = (p[3] * 60u + p[4]) * 75 + p[5], to = (p[6] * 60u + p[7]) * 75 + p[8];
    if (from < CD_MSF_OFFSET || to < from || p[4] >= 60 || p[7] >= 60 || p[5] >= 75 || p[8] >= 75) {
        cd_check(s, SENSE_BAD_ADDRESS);
    } else {
        read_cd(s, p, from - CD_MSF_OFFSET, to - from);
    }
}

/* Polled, and of the media class (4) only: what happened to tray and medium since the last time. */
static void cmd_event_status(IdeCd *s, const uint8_t *p)
{
    uint8_t *b = s->d.buf;
    uint32_t len = 4;
    if (!(p[1] & 1)) {
        cd_check(s, SENSE_BAD_FIELD); /* an asynchronous answer would need queued packets */
        return;
    }
    memset(b, 0, 8);
    b[3] = 1 << 4; /* the classes that exist */
    b[2] = 0x80;   /* none of what was asked for */
    if (p[4] & 1 << 4) {
        b[2] = 4;
        b[4] = s->eject_wanted ? CD_EVENT_EJECT : s->event;
        b[5] = (s->tray_open ? 1 : 0) | (cd_ready(s) ? 2 : 0);
        len = 8;
        if (get_be16(p + 7) > 4) { /* it was told */
            s->event = s->eject_wanted ? s->event : CD_EVENT_NONE;
            s->eject_wanted = false;
        }
    }
    put_be16(b, len - 2);
    cd_reply(s, len, get_be16(p + 7));
}

typedef struct Packet {
    uint8_t op, flags;
    uint8_t allocation; /* where the two bytes of the allocation length are; 4: one byte */
    void (*run)(IdeCd *s, const uint8_t *p);
    uint32_t (*answer)(IdeCd *s, const uint8_t *p, uint32_t *sense);
} Packet;
static const Packet packets[] = {
    { 0x00, NEEDS_MEDIUM, 0, cmd_nothing, NULL }, /* TEST UNIT READY */
    { 0x03, NO_ATTENTION, 0, cmd_request_sense, NULL },
    { 0x12, NO_ATTENTION, 4, NULL, atapi_inquiry },
    { 0x1b, 0, 0, cmd_start_stop, NULL },
    { 0x1e, 0, 0, cmd_prevent_allow, NULL },
    { 0x25, NEEDS_MEDIUM, 0, cmd_read_capacity, NULL },
    { 0x28, NEEDS_MEDIUM, 0, cmd_read, NULL },
    { 0x2b, NEEDS_MEDIUM, 0, cmd_seek, NULL },
    { 0x43, NEEDS_MEDIUM, 7, NULL, atapi_read_toc },
    { 0x46, NO_ATTENTION, 7, NULL, atapi_get_configuration },
    { 0x4a, NO_ATTENTION, 0, cmd_event_status, NULL },
    { 0x51, NEEDS_MEDIUM, 7, NULL, atapi_disc_info },
    { 0x5a, 0, 7, NULL, atapi_mode_sense },
    { 0xa8, NEEDS_MEDIUM, 0, cmd_read, NULL },
    { 0xad, NEEDS_MEDIUM, 8, NULL, atapi_dvd_structure },
    { 0xb9, NEEDS_MEDIUM, 0, cmd_read_cd_msf, NULL },
    { 0xbb, 0, 0, cmd_nothing, NULL }, /* SET CD SPEED: this one is as fast as it is */
    { 0xbd, 0, 8, NULL, atapi_mechanism },
    { 0xbe, NEEDS_MEDIUM, 0, cmd_read_cd, NULL },
};

static const Packet *packet_find(uint8_t op)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(packets); i++) {
        if (packets[i].op == op) {
            return &packets[i];
        }
    }
    return NULL;
}

static bool tell_attention(IdeCd *s)
{
    if (!s->attention) {
        return false;
    }
    bool reset = s->attention & CD_ATT_RESET;
    s->attention &= (uint8_t)(reset ? ~CD_ATT_RESET : ~CD_ATT_MEDIUM);
    cd_check(s, reset ? SENSE_POWER_ON : SENSE_NEW_MEDIUM);
    return true;
}

void atapi_command(IdeCd *s, const uint8_t *p)
{
    const Packet *c = packet_find(p[0]);
    if (!c) {
        cd_check(s, SENSE_BAD_COMMAND);
        return;
    }
    if (!(c->flags & NO_ATTENTION) && tell_attention(s)) {
        return;
    }
    if (p[0] != 0x03) {
        s->sense = SENSE_NONE;
    }
    if (c->flags & NEEDS_MEDIUM && !cd_ready(s)) {
        cd_check(s, s->tray_open ? SENSE_TRAY_OPEN : SENSE_NO_MEDIUM);
        return;
    }
    if (c->run) {
        c->run(s, p);
        return;
    }
    uint32_t sense = SENSE_BAD_FIELD, len = c->answer(s, p, &sense);
    if (!len) {
        cd_check(s, sense);
    } else {
        cd_reply(s, len, c->allocation == 4 ? p[4] : get_be16(p + c->allocation));
    }
}

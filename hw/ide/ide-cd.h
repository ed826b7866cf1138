/* SPDX-License-Identifier: MIT
 * hw/ide/ide-cd.h - the CD drive, as its files share it: packets (ide-cd.c), commands (atapi.c), answers
 * (atapi-info.c), whole sectors (cdsector.c).
 */
#ifndef HW_IDE_CD_H
#define HW_IDE_CD_H

#include "ide.h"

enum { CD_BLOCK = 2048, CD_RAW = 2352, CD_PACKET = 12, CD_MSF_OFFSET = 150 };
enum { CD_MAX_BLOCKS = 80 * 60 * 75 }; /* more than a disc of 80 minutes: it is shown as a DVD */
/* What READ CD byte 9 asks for of each sector. */
enum { CD_SYNC = 0x80, CD_SUBHEADER = 0x40, CD_HEADER = 0x20, CD_USER = 0x10, CD_EDC = 0x08, CD_C2 = 0x06 };
enum { CD_ATT_RESET = 1, CD_ATT_MEDIUM = 2 }; /* unit attention conditions that wait */
enum { CD_REASON_COMMAND = 1, CD_REASON_IN = 2, CD_REASON_DONE = 3 };
enum { CD_EVENT_NONE = 0, CD_EVENT_EJECT = 1, CD_EVENT_NEW = 2, CD_EVENT_REMOVED = 3 };
/* key << 16 | asc << 8 | ascq (MMC-3 annex F) */
enum {
    SENSE_NONE = 0,
    SENSE_NO_MEDIUM = 0x023a01,
    SENSE_TRAY_OPEN = 0x023a02,
    SENSE_READ_ERROR = 0x031100,
    SENSE_BAD_COMMAND = 0x052000,
    SENSE_BAD_ADDRESS = 0x052100,
    SENSE_BAD_FIELD = 0x052400,
    SENSE_NO_SAVED_PAGES = 0x053900,
    SENSE_LOCKED = 0x055302,
    SENSE_WRONG_TRACK = 0x056400,
    SENSE_NEW_MEDIUM = 0x062800,
    SENSE_POWER_ON = 0x062900,
};

typedef struct IdeCd {
    IdeDrive d;
    uint32_t blocks; /* of the medium; 0: none */
    /* guest-visible state */
    uint32_t sense, have; /* have: bytes of buf that are data */
    uint8_t attention, event, format; /* format: CD_* of the sectors that are being read */
    bool tray_open, locked, eject_wanted, dma;
} IdeCd;
static inline IdeCd *cd_of(IdeDrive *d) { return (IdeCd *)d; }
static inline bool cd_ready(const IdeCd *s) { return s->blocks && !s->tray_open; }

/* ide-cd.c: ends of a packet command. */
void cd_check(IdeCd *s, uint32_t sense);                  /* CHECK CONDITION */
void cd_good(IdeCd *s);
void cd_reply(IdeCd *s, uint32_t len, uint32_t allowed);  /* buf[0..len), at most `allowed` of it */
void cd_read(IdeCd *s, uint64_t lba, uint32_t n, uint8_t format);
void cd_move_tray(IdeCd *s, bool open);                   /* the guest did it */

/* atapi.c */
void atapi_command(IdeCd *s, const uint8_t *p);

/* atapi-info.c: fill buf, return the length; 0: the field is not possible (sense in *sense). */
uint32_t atapi_inquiry(IdeCd *s, const uint8_t *p, uint32_t *sense);
uint32_t atapi_mode_sense(IdeCd *s, const uint8_t *p, uint32_t *sense);
uint32_t atapi_get_configuration(IdeCd *s, const uint8_t *p, uint32_t *sense);
uint32_t atapi_read_toc(IdeCd *s, const uint8_t *p, uint32_t *sense);
uint32_t atapi_disc_info(IdeCd *s, const uint8_t *p, uint32_t *sense);
uint32_t atapi_dvd_structure(IdeCd *s, const uint8_t *p, uint32_t *sense);
uint32_t atapi_mechanism(IdeCd *s, const uint8_t *p, uint32_t *sense);
void atapi_identify(const IdeCd *s, uint8_t *b); /* IDE_SECTOR bytes */

/* cdsector.c */
uint32_t cdsector_size(uint8_t format);
/* Fills cdsector_size() bytes. */
void cdsector_make(uint8_t *out, const uint8_t *user, uint32_t lba, uint8_t format);

static inline uint32_t get_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static inline uint32_t get_be32(const uint8_t *p) { return get_be16(p) << 16 | get_be16(p + 2); }
static inline void put_be16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void put_be32(uint8_t *p, uint32_t v) { put_be16(p, v >> 16); put_be16(p + 2, v); }

#endif

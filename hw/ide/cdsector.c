/* SPDX-License-Identifier: MIT
 * hw/ide/cdsector.c - the 2352 bytes of a CD sector that an image does not have: sync, header, EDC, parity.
 *
 * Models: ECMA-130 chapter 14 (mode 1 sectors), annex A (error correction by a product-like code). Threads:
 * any.
 */
#include "ide-cd.h"

#include <string.h>

enum {
    SYNC = 12,
    HEADER = 4,
    EDC_AT = 2064,
    P_AT = 2076,
    ROW = 43,
    DATA_WORDS = 24 * ROW,
    P_WORDS = 26 * ROW
};

uint32_t cdsector_size(uint8_t format)
{
    return (format & CD_SYNC ? SYNC : 0) + (format & CD_HEADER ? HEADER : 0) +
           (format & CD_USER ? CD_BLOCK : 0) + (format & CD_EDC ? CD_RAW - EDC_AT : 0);
}

/* 14.3: (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), the least significant bit of each byte first. */
static uint32_t edc(const uint8_t *p, size_t n)
{
    uint32_t r = 0;
    while (n--) {
        r ^= *p++;
        for (unsigned i = 0; i < 8; i++) {
            r = r >> 1 ^ (r & 1 ? 0xd8018001 : 0);
        }
    }
    return r;
}

/* GF(2^8) of annex A: x^8 + x^4 + x^3 + x^2 + 1. */
static uint8_t gf_double(uint8_t v)
{
    return (uint8_t)(v << 1 ^ (v & 0x80 ? 0x1d : 0));
}

/* The two parity symbols of a code word d: with H = sum of d's symbols by Horner's rule in alpha and S their
 * plain sum, p0 = (H alpha^2 + S) / (alpha + 1) and p1 = S + p0 make both checks zero. */
static void parity(uint8_t h, uint8_t sum, uint8_t *p0, uint8_t *p1)
{
    uint8_t v = gf_double(gf_double(h)) ^ sum, r = 0;
    for (unsigned inverse = 0xf4; inverse; inverse >>= 1, v = gf_double(v)) { /* 0xf4 * (alpha + 1) = 1 */
        r ^= inverse & 1 ? v : 0;
    }
    *p0 = r;
    *p1 = sum ^ r;
}

/* b: from the header on. Words of two bytes, each byte a code of its own (A.3). */
static void add_parity(uint8_t *b)
{
    for (unsigned i = 0; i < 2 * ROW; i++) { /* P: columns of 24 words; rows 24 and 25 are the parity */
        uint8_t h = 0, sum = 0;
        for (unsigned row = 0; row < 24; row++) {
            uint8_t v = b[2 * ROW * row + i];
            h = gf_double(h) ^ v;
            sum ^= v;
        }
        parity(h, sum, &b[2 * DATA_WORDS + i], &b[2 * (DATA_WORDS + ROW) + i]);
    }
    for (unsigned i = 0; i < 52; i++) { /* Q: 26 diagonals of 43 words through data and P */
        uint8_t h = 0, sum = 0;
        for (unsigned m = 0; m < ROW; m++) {
            uint8_t v = b[2 * ((44 * m + ROW * (i / 2)) % P_WORDS) + i % 2];
            h = gf_double(h) ^ v;
            sum ^= v;
        }
        parity(h, sum, &b[2 * P_WORDS + i], &b[2 * (P_WORDS + 26) + i]);
    }
}

static uint8_t bcd(uint32_t v)
{
    return (uint8_t)(v / 10 % 10 << 4 | v % 10);
}

void cdsector_make(uint8_t *out, const uint8_t *user, uint32_t lba, uint8_t format)
{
    uint8_t raw[CD_RAW] = { 0 };
    uint32_t frame = lba + CD_MSF_OFFSET;
    memset(raw + 1, 0xff, 10);
    raw[SYNC] = bcd(frame / (60 * 75));
    raw[SYNC + 1] = bcd(frame / 75 % 60);
    raw[SYNC + 2] = bcd(frame % 75);
    raw[SYNC + 3] = 1; /* mode */
    memcpy(raw + SYNC + HEADER, user, CD_BLOCK);
    if (format & CD_EDC) {
        uint32_t sum = edc(raw, EDC_AT);
        for (unsigned i = 0; i < 4; i++) {
            raw[EDC_AT + i] = (uint8_t)(sum >> (8 * i));
        }
        add_parity(raw + SYNC);
    }
    static const struct {
        uint8_t part;
        uint16_t from, len;
    } parts[] = {
        { CD_SYNC, 0, SYNC },
        { CD_HEADER, SYNC, HEADER },
        { CD_USER, SYNC + HEADER, CD_BLOCK },
        { CD_EDC, EDC_AT, CD_RAW - EDC_AT },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (format & parts[i].part) {
            memcpy(out, raw + parts[i].from, parts[i].len);
            out += parts[i].len;
        }
    }
}

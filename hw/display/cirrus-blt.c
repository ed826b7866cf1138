/* SPDX-License-Identifier: MIT
 * hw/display/cirrus-blt.c - the BLT engine of Cirrus cards.
 * Models: CL-GD5446 Technical Reference Manual (1996), "BitBLT engine": copies within memory in both
 * directions and from the CPU, patterns of 8 x 8 pixels in colour and of one bit, colour expansion,
 * transparency by colour and by bit, solid fills, left side clipping, sixteen raster operations, start by
 * command and by the destination's address. An operation is over when the register's write is; one whose
 * source the CPU writes, when the last of its bytes came. Does not model: copies to the CPU, which reset the
 * engine, as in QEMU 7.2; suspended operations; the order of bytes within a line whose source and destination
 * overlap: a line is read whole before it is written. Threads: the device's domain.
 *
 * Every address is a sum that is masked with the memory's size where memory is touched (get_bytes(),
 * put_line()): there is no other way to memory here, and no register or sum can lead out of it.
 */
#include "cirrus.h"

#include <string.h>

enum {
    MODE_BACK = 1,
    MODE_TO_CPU = 2,
    MODE_FROM_CPU = 4,
    MODE_TRANSPARENT = 8,
    MODE_PATTERN = 0x40,
    MODE_EXPAND = 0x80
};
enum { EXT_DWORDS = 1, EXT_INVERT = 2, EXT_SOLID = 4 };
enum { PATTERN_MAX = 8 * 32, ROP_SOURCE = 0x0d };

/* ---- registers ---- */

static uint32_t field(const uint8_t *gr, unsigned index, unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned k = 0; k < bytes; k++) {
        v |= (uint32_t)gr[index + k] << (8 * k);
    }
    return v;
}

static void decode(const uint8_t *gr, CirrusBlit *b)
{
    unsigned skip = gr[GR_BLT_SKIP];
    *b = (CirrusBlit){ .width = (field(gr, GR_BLT_WIDTH, 2) & 0x1fff) + 1,
                       .height = (field(gr, GR_BLT_HEIGHT, 2) & 0x7ff) + 1,
                       .dst = field(gr, GR_BLT_DST, 3),
                       .src = field(gr, GR_BLT_SRC, 3),
                       .dst_pitch = field(gr, GR_BLT_DST_PITCH, 2) & 0x1fff,
                       .src_pitch = field(gr, GR_BLT_SRC_PITCH, 2) & 0x1fff,
                       .mode = gr[GR_BLT_MODE],
                       .extensions = gr[GR_BLT_EXTENSIONS],
                       .rop = gr[GR_BLT_ROP],
                       .pixel = (uint8_t)((gr[GR_BLT_MODE] >> 4 & 3) + 1),
                       .key = (uint16_t)field(gr, GR_BLT_KEY, 2) };
    for (unsigned k = 0; k < 4; k++) {
        b->fg |= (uint32_t)gr[k ? 0xf + 2 * k : 1] << (8 * k);
        b->bg |= (uint32_t)gr[k ? 0xe + 2 * k : 0] << (8 * k);
    }
    /* Pixels; bytes where they are three. */
    b->skip = (uint8_t)(b->pixel == 3 ? skip & 0x1f : (skip & 7) * b->pixel);
    if (!(b->mode & (MODE_PATTERN | MODE_EXPAND))) {
        b->skip = 0;
    }
}

static uint32_t pixels(const CirrusBlit *b)
{
    return (b->width + b->pixel - 1) / b->pixel;
}

/* ---- raster operations ---- */

/* d = d op s */
static void combine(uint8_t *restrict d, const uint8_t *restrict s, size_t n, uint8_t rop)
{
#define EACH(code, expression)                                                                               \
    case code:                                                                                               \
        for (size_t i = 0; i < n; i++) {                                                                     \
            d[i] = (uint8_t)(expression);                                                                    \
        }                                                                                                    \
        break
    switch (rop) {
        EACH(0x00, 0);
        EACH(0x05, s[i] & d[i]);
        EACH(0x09, s[i] & ~d[i]);
        EACH(0x0b, ~d[i]);
        EACH(0x0e, 0xff);
        EACH(0x50, ~s[i] & d[i]);
        EACH(0x59, s[i] ^ d[i]);
        EACH(0x6d, s[i] | d[i]);
        EACH(0x90, ~(s[i] | d[i]));
        EACH(0x95, ~(s[i] ^ d[i]));
        EACH(0xad, s[i] | ~d[i]);
        EACH(0xd0, ~s[i]);
        EACH(0xd6, ~s[i] | d[i]);
        EACH(0xda, ~(s[i] & d[i]));
    case ROP_SOURCE: memcpy(d, s, n); break;
    default: break; /* 06h, the destination; the others are none */
    }
#undef EACH
}

/* ---- memory ---- */

static void get_bytes(const Cirrus *c, uint32_t at, uint8_t *out, uint32_t n)
{
    while (n) {
        uint32_t off = at & (c->used - 1), len = MIN(n, c->used - off);
        memcpy(out, c->vga.ram->host + off, len);
        out += len;
        at += len;
        n -= len;
    }
}

/* keep NULL: all bytes; else those where it is not 0. */
static void put_line(Cirrus *c, uint32_t at, const uint8_t *src, const uint8_t *keep, uint32_t n, uint8_t rop)
{
    while (n) {
        uint32_t off = at & (c->used - 1), len = MIN(n, c->used - off);
        uint8_t *d = c->vga.ram->host + off;
        if (keep) {
            for (uint32_t i = 0; i < len; i++) {
                d[i] = keep[i] ? src[i] : d[i];
            }
            keep += len;
        } else {
            combine(d, src, len, rop);
        }
        ram_written(c->vga.ram, off, len);
        src += len;
        at += len;
        n -= len;
    }
}

/* A line of the destination from its lowest address on. Transparent by colour: pixels that would become the
 * key stay. */
static void put_source(Cirrus *c, const CirrusBlit *b, uint32_t at, const uint8_t *src)
{
    uint32_t n = b->width;
    if (b->skip >= n) {
        return;
    }
    if (!(b->mode & MODE_TRANSPARENT) || b->mode & MODE_EXPAND) {
        put_line(c, at + b->skip, src + b->skip, NULL, n - b->skip, b->rop);
        return;
    }
    uint8_t *result = c->below, keep[CIRRUS_ROW_MAX];
    unsigned size = b->pixel == 1 ? 1 : 2; /* keys of three and four bytes there are none */
    get_bytes(c, at, result, n);
    combine(result, src, n, b->rop);
    for (uint32_t x = 0; x < n; x++) {
        uint32_t first = size == 1 ? x : x & ~1u;
        bool low = result[first] == (b->key & 255);
        bool same = size == 1 ? low : low && first + 1 < n && result[first + 1] == b->key >> 8;
        keep[x] = !same;
    }
    put_line(c, at + b->skip, result + b->skip, keep + b->skip, n - b->skip, ROP_SOURCE);
}

/* ---- colour expansion ---- */

/* Bit k of a line: of a pattern, or of a whole line of them. */
static bool bit_of(const uint8_t *bits, uint32_t k)
{
    return bits[k / 8] >> (7 - k % 8) & 1;
}

/* wrap: the bits are those of a pattern's line, and come again. */
static void put_bits(Cirrus *c, const CirrusBlit *b, uint32_t at, const uint8_t *bits, bool wrap)
{
    uint8_t *src = c->row, keep[CIRRUS_ROW_MAX + 4];
    bool transparent = b->mode & MODE_TRANSPARENT, invert = transparent && b->extensions & EXT_INVERT;
    uint32_t colour[2] = { b->bg, b->fg };
    for (uint32_t x = 0, k = 0; x < b->width; x += b->pixel, k++) {
        bool one = bit_of(bits, wrap ? k & 7 : k);
        for (unsigned i = 0; i < b->pixel; i++) {
            src[x + i] = (uint8_t)(colour[one] >> (8 * i));
            keep[x + i] = one != invert;
        }
    }
    if (!transparent) {
        put_source(c, b, at, src);
    } else if (b->skip < b->width) {
        get_bytes(c, at, c->below, b->width);
        combine(c->below, src, b->width, b->rop);
        put_line(c, at + b->skip, c->below + b->skip, keep + b->skip, b->width - b->skip, ROP_SOURCE);
    }
}

/* ---- operations ---- */

/* Bytes of a pattern in colour: rows of 8, 16 or 32, of which 24 count where pixels have three. */
static unsigned pattern_row(const CirrusBlit *b)
{
    return b->pixel == 1 ? 8 : b->pixel == 2 ? 16 : 32;
}

/* pattern: eight lines; the first one used is chosen by the source address's lowest bits. */
static void put_pattern(Cirrus *c, const CirrusBlit *b, const uint8_t *pattern)
{
    bool expand = b->mode & MODE_EXPAND;
    unsigned row = expand ? 1 : pattern_row(b), period = 8u * b->pixel;
    for (uint32_t y = 0; y < b->height; y++) {
        const uint8_t *line = pattern + ((b->src + y) & 7) * row;
        uint32_t at = b->dst + y * b->dst_pitch;
        if (expand) {
            put_bits(c, b, at, line, true);
            continue;
        }
        for (uint32_t x = 0; x < b->width; x += period) {
            memcpy(c->row + x, line, MIN(period, b->width - x));
        }
        put_source(c, b, at, c->row);
    }
}

static void fill(Cirrus *c, const CirrusBlit *b)
{
    for (uint32_t x = 0; x < b->width; x++) {
        c->row[x] = (uint8_t)(b->fg >> (8 * (x % b->pixel)));
    }
    for (uint32_t y = 0; y < b->height; y++) {
        put_line(c, b->dst + y * b->dst_pitch, c->row, NULL, b->width, b->rop);
    }
}

/* Bits in memory: each line begins at a byte, behind the one before. */
static void expand(Cirrus *c, const CirrusBlit *b)
{
    uint32_t bytes = (pixels(b) + 7) / 8;
    uint8_t bits[CIRRUS_ROW_MAX / 8];
    for (uint32_t y = 0; y < b->height; y++) {
        get_bytes(c, b->src + y * bytes, bits, bytes);
        put_bits(c, b, b->dst + y * b->dst_pitch, bits, false);
    }
}

/* Backwards, addresses are those of the last byte, and lines go up. */
static void copy(Cirrus *c, const CirrusBlit *b)
{
    bool back = b->mode & MODE_BACK, simple = b->rop == ROP_SOURCE && !(b->mode & MODE_TRANSPARENT);
    uint32_t src = b->src - (back ? b->width - 1 : 0), dst = b->dst - (back ? b->width - 1 : 0);
    for (uint32_t y = 0; y < b->height; y++) {
        uint32_t from = src & (c->used - 1), to = dst & (c->used - 1);
        if (simple && from + b->width <= c->used && to + b->width <= c->used) {
            memmove(c->vga.ram->host + to, c->vga.ram->host + from, b->width);
            ram_written(c->vga.ram, to, b->width);
        } else {
            get_bytes(c, src, c->row, b->width);
            put_source(c, b, dst, c->row);
        }
        src = back ? src - b->src_pitch : src + b->src_pitch;
        dst = back ? dst - b->dst_pitch : dst + b->dst_pitch;
    }
}

/* Bytes of a line from the CPU: of bits whole ones or whole double words, of pixels whole double words; a
 * pattern comes at once. */
static uint32_t line_bytes(const CirrusBlit *b)
{
    if (b->mode & MODE_PATTERN) {
        return b->mode & MODE_EXPAND ? 8 : 8 * pattern_row(b);
    }
    if (b->mode & MODE_EXPAND) {
        return b->extensions & EXT_DWORDS ? (pixels(b) + 31) / 32 * 4 : (pixels(b) + 7) / 8;
    }
    return (b->width + 3) & ~3u;
}

static void run(Cirrus *c, const CirrusBlit *b)
{
    if (b->mode & MODE_PATTERN && b->mode & MODE_EXPAND && b->extensions & EXT_SOLID) {
        fill(c, b);
    } else if (b->mode & MODE_PATTERN) {
        uint8_t pattern[PATTERN_MAX];
        unsigned n = line_bytes(b);
        get_bytes(c, b->src & ~(n - 1), pattern, n); /* it lies at a multiple of its size */
        put_pattern(c, b, pattern);
    } else if (b->mode & MODE_EXPAND) {
        expand(c, b);
    } else {
        copy(c, b);
    }
}

/* ---- the CPU's data ---- */

static void begin_feed(Cirrus *c, const CirrusBlit *b)
{
    CirrusFeed *f = &c->feed;
    f->lines = b->mode & MODE_PATTERN ? 1 : b->height;
    f->line = f->have = 0;
    f->need = line_bytes(b);
    memcpy(f->gr, c->gr, sizeof(f->gr));
    c->gr[GR_BLT_START] |= BLT_BUSY | BLT_PROGRESS | BLT_START;
    cirrus_update_window(&c->vga);
}

static void end_line(Cirrus *c)
{
    CirrusFeed *f = &c->feed;
    CirrusBlit b;
    decode(f->gr, &b);
    uint32_t at = b.dst + f->line * b.dst_pitch;
    if (b.mode & MODE_PATTERN) {
        put_pattern(c, &b, f->data);
    } else if (b.mode & MODE_EXPAND) {
        put_bits(c, &b, at, f->data, false);
    } else {
        put_source(c, &b, at, f->data);
    }
    f->have = 0;
    f->line++;
    if (--f->lines == 0) {
        cirrus_blt_reset(c);
    }
}

void cirrus_blt_feed(Cirrus *c, uint64_t val, unsigned size)
{
    CirrusFeed *f = &c->feed;
    for (unsigned i = 0; i < size && f->lines; i++) { /* what is left of an access at the end is padding */
        f->data[f->have++] = (uint8_t)(val >> (8 * i));
        if (f->have == f->need) {
            end_line(c);
        }
    }
}

bool cirrus_feed_good(const CirrusFeed *f)
{
    CirrusBlit b;
    decode(f->gr, &b);
    return !f->lines ||
           (f->lines <= 0x800 && f->line <= 0x800 && f->need == line_bytes(&b) && f->have < f->need);
}

/* ---- control ---- */

void cirrus_blt_reset(Cirrus *c)
{
    bool fed = c->feed.lines != 0;
    c->feed.lines = 0;
    c->gr[GR_BLT_START] &= (uint8_t) ~(BLT_BUSY | BLT_START | BLT_PROGRESS | BLT_BUFFERED);
    if (fed) {
        cirrus_update_window(&c->vga);
    }
}

void cirrus_blt_control(Cirrus *c, bool start)
{
    CirrusBlit b;
    if (c->gr[GR_BLT_START] & BLT_RESET) {
        cirrus_blt_reset(c);
        return;
    }
    if (!start || c->feed.lines) {
        return;
    }
    decode(c->gr, &b);
    if (!c->blitter || b.mode & MODE_TO_CPU) {
        cirrus_blt_reset(c);
    } else if (b.mode & MODE_FROM_CPU &&
               !(b.mode & MODE_PATTERN && b.mode & MODE_EXPAND && b.extensions & EXT_SOLID)) {
        begin_feed(c, &b);
    } else {
        run(c, &b);
        cirrus_blt_reset(c);
    }
}

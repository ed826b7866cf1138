/* SPDX-License-Identifier: MIT
 * tests/device/cirrusmodel.c - see cirrusmodel.h.
 * Models: CL-GD5446 Technical Reference Manual (1996), "BitBLT engine". Raster operations are truth tables:
 * bit 3 of one is the result for source 1 and destination 1, bit 2 for 1 and 0, bit 1 for 0 and 1, bit 0 for
 * 0 and 0.
 */
#include "tests/device/cirrusmodel.h"

#include <glib.h>

static const struct {
    uint8_t code, table;
} rops[16] = { { 0x00, 0x0 }, { 0x90, 0x1 }, { 0x50, 0x2 }, { 0xd0, 0x3 }, { 0x09, 0x4 }, { 0x0b, 0x5 },
               { 0x59, 0x6 }, { 0xda, 0x7 }, { 0x05, 0x8 }, { 0x95, 0x9 }, { 0x06, 0xa }, { 0xd6, 0xb },
               { 0x0d, 0xc }, { 0xad, 0xd }, { 0x6d, 0xe }, { 0x0e, 0xf } };

uint8_t cirrus_rop(unsigned k)
{
    return rops[k % 16].code;
}

static uint8_t combined(uint8_t code, uint8_t s, uint8_t d)
{
    unsigned t = 0xa, out = 0; /* what is none leaves the destination */
    for (unsigned k = 0; k < 16; k++) {
        t = rops[k].code == code ? rops[k].table : t;
    }
    for (unsigned bit = 0; bit < 8; bit++) {
        out |= (t >> ((s >> bit & 1) * 2 + (d >> bit & 1)) & 1) << bit;
    }
    return (uint8_t)out;
}

static unsigned pixel_size(const CirrusOp *op)
{
    return (op->mode >> 4 & 3u) + 1;
}

static bool is_solid(const CirrusOp *op)
{
    return op->mode & OP_PATTERN && op->mode & OP_EXPAND && op->extensions & OP_SOLID;
}

/* Bytes of a pattern's row in colour. */
static unsigned row_size(const CirrusOp *op)
{
    static const unsigned sizes[] = { 8, 16, 32, 32 };
    return sizes[pixel_size(op) - 1];
}

static uint32_t line_bytes(const CirrusOp *op)
{
    uint32_t n = (op->width + pixel_size(op) - 1) / pixel_size(op);
    if (op->mode & OP_EXPAND) {
        return op->mode & OP_FROM_CPU && op->extensions & OP_DWORDS ? (n + 31) / 32 * 4 : (n + 7) / 8;
    }
    return (op->width + 3) / 4 * 4;
}

uint32_t cirrus_op_bytes(const CirrusOp *op)
{
    if (!(op->mode & OP_FROM_CPU) || is_solid(op)) {
        return 0;
    }
    return op->mode & OP_PATTERN ? (op->mode & OP_EXPAND ? 8 : 8 * row_size(op))
                                 : line_bytes(op) * op->height;
}

typedef struct Source {
    const uint8_t *bytes; /* the CPU's, or memory */
    uint32_t mask, at;    /* of the present line, or of the pattern */
} Source;

static uint8_t byte_at(const Source *s, uint32_t off)
{
    return s->bytes[(s->at + off) & s->mask];
}

/* The byte of colour, and for bits which one it is (else true). */
static uint8_t source_byte(const CirrusOp *op, const Source *s, uint32_t x, uint32_t y, bool *one)
{
    unsigned px = pixel_size(op), lane = x % px, pattern_line = (op->src + y) & 7;
    uint32_t k = x / px;
    *one = true;
    if (op->mode & OP_EXPAND) {
        if (op->mode & OP_PATTERN) {
            *one = is_solid(op) || byte_at(s, pattern_line) >> (7 - k % 8) & 1;
        } else {
            *one = byte_at(s, k / 8) >> (7 - k % 8) & 1;
        }
        return (uint8_t)((*one ? op->fg : op->bg) >> (8 * lane));
    }
    return op->mode & OP_PATTERN ? byte_at(s, pattern_line * row_size(op) + k % 8 * px + lane)
                                 : byte_at(s, x);
}

static bool is_skipped(const CirrusOp *op, uint32_t x)
{
    unsigned px = pixel_size(op);
    if (!(op->mode & (OP_PATTERN | OP_EXPAND)) || is_solid(op)) {
        return false;
    }
    return x < (px == 3 ? op->skip & 0x1fu : (op->skip & 7u) * px);
}

static void line(uint8_t *mem, uint32_t size, const CirrusOp *op, const Source *s, uint32_t at, uint32_t y)
{
    g_autofree uint8_t *result = g_malloc(op->width);
    g_autofree bool *one = g_new(bool, op->width);
    for (uint32_t x = 0; x < op->width; x++) {
        uint8_t colour = source_byte(op, s, x, y, &one[x]);
        result[x] = combined(op->rop, colour, mem[(at + x) & (size - 1)]);
    }
    bool wide = pixel_size(op) > 1;
    for (uint32_t x = 0; x < op->width; x++) {
        bool keep = is_skipped(op, x);
        if (op->mode & OP_TRANSPARENT && op->mode & OP_EXPAND && !is_solid(op)) {
            keep |= one[x] == ((op->extensions & OP_INVERT) != 0);
        } else if (op->mode & OP_TRANSPARENT && !is_solid(op)) {
            uint32_t first = wide ? x & ~1u : x;
            bool low = result[first] == (op->key & 255);
            keep |= wide ? low && first + 1 < op->width && result[first + 1] == op->key >> 8 : low;
        }
        if (!keep) {
            mem[(at + x) & (size - 1)] = result[x];
        }
    }
}

void cirrus_model(uint8_t *mem, uint32_t size, const CirrusOp *op, const uint8_t *cpu)
{
    uint8_t pattern[256];
    bool back = op->mode & OP_BACK && !(op->mode & (OP_PATTERN | OP_EXPAND | OP_FROM_CPU));
    uint32_t n = op->mode & OP_EXPAND ? 8 : 8 * row_size(op);
    for (uint32_t i = 0; i < n && op->mode & OP_PATTERN; i++) {
        pattern[i] = cpu && cirrus_op_bytes(op) ? cpu[i] : mem[((op->src & ~(n - 1)) + i) & (size - 1)];
    }
    for (uint32_t y = 0; y < op->height; y++) {
        uint32_t last = op->width - 1;
        uint32_t at = back ? op->dst - y * op->dst_pitch - last : op->dst + y * op->dst_pitch;
        Source s = { .bytes = mem, .mask = size - 1 };
        s.at = op->mode & OP_EXPAND ? op->src + y * line_bytes(op)
               : back               ? op->src - y * op->src_pitch - last
                                    : op->src + y * op->src_pitch;
        if (op->mode & OP_PATTERN) {
            s = (Source){ .bytes = pattern, .mask = 255 };
        } else if (op->mode & OP_FROM_CPU) {
            s = (Source){ .bytes = cpu, .mask = UINT32_MAX, .at = y * line_bytes(op) };
        }
        line(mem, size, op, &s, at, y);
    }
}

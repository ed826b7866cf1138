/* SPDX-License-Identifier: MIT
 * hw/display/cirrus.h - Cirrus Logic's GD 54xx: what it has beyond the VGA.
 */
#ifndef HW_DISPLAY_CIRRUS_H
#define HW_DISPLAY_CIRRUS_H

#include "vga.h"

enum { /* registers, as the manual numbers them */
       SR_KEY = 6,
       SR_MODE = 7,
       SR_DRAM = 0xf,
       SR_CURSOR_X = 0x10,
       SR_CURSOR_Y,
       SR_CURSOR,
       SR_CURSOR_PATTERN,
       SR_MEMORY = 0x15,
       SR_CONFIG = 0x17,
       SR_MCLK = 0x1f,
       GR_BANK0 = 9,
       GR_BANK1,
       GR_MODE,
       GR_BLT_WIDTH = 0x20,
       GR_BLT_HEIGHT = 0x22,
       GR_BLT_DST_PITCH = 0x24,
       GR_BLT_SRC_PITCH = 0x26,
       GR_BLT_DST = 0x28,
       GR_BLT_SRC = 0x2c,
       GR_BLT_SKIP = 0x2f,
       GR_BLT_MODE,
       GR_BLT_START,
       GR_BLT_ROP,
       GR_BLT_EXTENSIONS,
       GR_BLT_KEY,
       CR_INTERLACE = 0x1a,
       CR_EXTENSIONS,
       CR_START_HIGH = 0x1d,
       CR_ID = 0x27
};
enum { SR_MODE_PACKED = 1, SR_CURSOR_ON = 1, SR_CURSOR_DAC = 2, SR_CURSOR_64 = 4 };
enum { SR_CONFIG_MMIO = 4, SR_CONFIG_BUS = 0x38, SR_CONFIG_LINEAR = 0x40 };
enum { GR_MODE_DUAL = 1, GR_MODE_BY8 = 2, GR_MODE_WRITES = 4, GR_MODE_16BIT = 0x10, GR_MODE_16K = 0x20 };
enum {
    BLT_BUSY = 1,
    BLT_START = 2,
    BLT_RESET = 4,
    BLT_PROGRESS = 8,
    BLT_BUFFERED = 0x10,
    BLT_AUTOSTART = 0x80
};
enum {
    CIRRUS_MMIO_SIZE = 0x100,
    CIRRUS_ROW_MAX = 8192,
    CIRRUS_CURSORS = 16384 /* bytes at the memory's end */
};

/* What one operation is about: registers, decoded; every number is bounded by its register's width. */
typedef struct CirrusBlit {
    uint32_t width, height; /* bytes, lines; at least 1 */
    uint32_t dst, src;
    uint32_t dst_pitch, src_pitch;
    uint8_t mode, extensions, rop;
    uint8_t pixel; /* bytes, 1 to 4 */
    uint8_t skip;  /* bytes at the left of each line that stay */
    uint32_t fg, bg;
    uint16_t key;
} CirrusBlit;

/* An operation whose source the CPU writes: its registers, and what has come of the present line. */
typedef struct CirrusFeed {
    uint32_t lines; /* to come; 0: there is none */
    uint32_t line;  /* the present one */
    uint32_t have;  /* bytes of it, fewer than need */
    uint32_t need;  /* at most CIRRUS_ROW_MAX */
    uint8_t gr[64];
    uint8_t data[CIRRUS_ROW_MAX];
} CirrusFeed;

typedef struct Cirrus {
    Vga vga;
    uint32_t size_mb; /* properties */
    bool blitter;
    bool pci;
    uint32_t used; /* bytes of memory that the chip knows of: where its cursors and registers are */

    /* Index registers as they were written; the VGA's have the part that it knows. */
    uint8_t sr_index, gr_index, cr_index;
    uint8_t sr[32], gr[64], cr[64]; /* those that the VGA has not, or has fewer bits of */
    uint16_t cursor_x, cursor_y;
    uint8_t cursor_dac[48];
    uint8_t hidden_dac, dac_looks; /* reads of 3C6h in a row, up to 4 */
    CirrusFeed feed;

    MemRegion bank[2]; /* the window's halves, or all of it in the first: memory without us between */
    MemRegion bar, lfb_ram, lfb_io, blt_io, blt_mmio, mmio_bar; /* on PCI */
    uint8_t row[CIRRUS_ROW_MAX + 4], below[CIRRUS_ROW_MAX + 4]; /* of one operation */

    struct CirrusCursor {
        bool on, big;
        int x, y;
        uint32_t pattern;
    } cursor, drawn;      /* as registers say, and as it was drawn last */
    bool cursor_coloured; /* since then: its colours may be others */
} Cirrus;

static inline Cirrus *cirrus_of(const Vga *v)
{
    return (Cirrus *)v; /* its first member */
}

/* In realize, size_mb, blitter and pci set. mem: where the window goes. */
bool cirrus_init(Cirrus *c, Device *dev, MemRegion *mem, Error **errp);
void cirrus_reset(Cirrus *c);
extern const VmState cirrus_state;

/* cirrus.c: registers. */
uint8_t cirrus_port_read(Cirrus *c, unsigned port);
void cirrus_port_write(Cirrus *c, unsigned port, uint8_t val);
void cirrus_gr_write(Cirrus *c, unsigned index, uint8_t val);

/* cirrus-mem.c */
extern const MemOps cirrus_window_ops;
void cirrus_update_window(Vga *v);
/* Regions behind BARs, and the window's; undone by cirrus_unmap(). */
void cirrus_init_regions(Cirrus *c);
void cirrus_map_window(Cirrus *c);
void cirrus_unmap(Cirrus *c);
static inline bool cirrus_is_packed(const Cirrus *c)
{
    return c->sr[SR_MODE] & SR_MODE_PACKED;
}

/* cirrus-blt.c: after a write of the start register; start: BLT_START went from 0 to 1, or the operation
 * starts itself. */
void cirrus_blt_control(Cirrus *c, bool start);
void cirrus_blt_reset(Cirrus *c);
/* The CPU's data, of one access. */
void cirrus_blt_feed(Cirrus *c, uint64_t val, unsigned size);
/* What a saved state must keep to. */
bool cirrus_feed_good(const CirrusFeed *f);

/* cirrus-draw.c */
void cirrus_look(const Vga *v, VgaLook *l);
void cirrus_before(Vga *v);
void cirrus_over(const Vga *v, int y, uint32_t *row);

#endif

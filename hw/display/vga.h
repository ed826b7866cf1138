/* SPDX-License-Identifier: MIT
 * hw/display/vga.h - what graphics cards with a VGA have in common: registers, memory, drawing.
 *
 * Video memory is four planes, interleaved: byte p of the 32-bit word w is plane p's byte w. So a latch is
 * one word, and chained memory (256 colours, Bochs' linear modes) is memory in order. A real card spreads
 * chained bytes over all words of its planes; here they are packed, and likewise characters of odd/even
 * modes: start address and offset count in words of 32 bits in each mode.
 */
#ifndef HW_DISPLAY_VGA_H
#define HW_DISPLAY_VGA_H

#include "edid.h"
#include "rhea/system/coalesce.h"
#include "rhea/system/device.h"
#include "rhea/ui/console.h"

enum { /* Bochs' VBE interface: indices of port 1CEh */
       DISPI_ID,
       DISPI_XRES,
       DISPI_YRES,
       DISPI_BPP,
       DISPI_ENABLE,
       DISPI_BANK,
       DISPI_VIRT_WIDTH,
       DISPI_VIRT_HEIGHT,
       DISPI_X_OFFSET,
       DISPI_Y_OFFSET,
       DISPI_REGS,
       DISPI_MEMORY_64K = DISPI_REGS
};
enum { DISPI_ENABLED = 1, DISPI_GETCAPS = 2, DISPI_8BIT_DAC = 0x20, DISPI_LFB = 0x40, DISPI_NOCLEAR = 0x80 };
enum {
    VGA_WINDOW = 0xa0000,
    VGA_WINDOW_SIZE = 0x20000,
    VGA_MAX_COLUMNS = 256,
    VGA_MAX_ROWS = 1024,
    VGA_GLYPHS = 256,
    VGA_GLYPH_ROWS = 32,
    VGA_LINE_MAX = SURFACE_MAX_SIDE + 64
};

/* What decides about every pixel beside memory and palette: when it changes, all is drawn anew. */
typedef enum VgaKind { VGA_BLANK, VGA_TEXT, VGA_PLANAR, VGA_CGA4, VGA_256, VGA_PACKED } VgaKind;
typedef struct VgaLook {
    VgaKind kind;
    int width, height;     /* of the surface */
    uint32_t start, pitch; /* words of 32 bits; bytes of VGA_PACKED */
    uint32_t mask;         /* addresses wrap there */
    int bpp;               /* of VGA_PACKED */
    int columns;           /* words of a line: characters, or eight dots */
    int split;             /* the line after which address 0 begins */
    uint8_t double_x;      /* dots that a pixel is wide: 1 or 2 */
    uint8_t double_y;      /* 1: each line twice */
    uint8_t row_lines;     /* lines of a row, of a character */
    uint8_t preset;        /* the first one that is seen of the first row */
    uint8_t pan, byte_pan; /* to the left: pixels, words */
    bool split_pan;        /* not below the split */
    int8_t scan_bit; /* -1, or where bit 0 of the line in its row goes in the address: CGA's two banks */
    bool scan_bit2;  /* and bit 1 above it: Hercules' four */
    uint8_t cell_width, underline, cursor_first, cursor_last, attr_mode, font[2];
    bool big_endian;
    bool over; /* something lies over the picture (VgaExtra.over): it is never memory itself */
} VgaLook;

typedef struct Vga Vga;
/* What a card has beyond the VGA. All but the operations of regions in the device's domain, as they are. */
typedef struct VgaExtra {
    /* Instead of the VGA's; opaque: the Vga. Offsets: into the window, and from 3B0h on. */
    const MemOps *window_ops, *port_ops;
    void (*update_window)(Vga *v); /* after a register that decides how memory is reached */
    void (*look)(const Vga *v, VgaLook *l); /* l: what a VGA would show */
    /* In an update, dirty pages taken: sets over_from and over_to, lines drawn whether written or not. */
    void (*before)(Vga *v);
    void (*over)(const Vga *v, int y, uint32_t *row); /* draws over a line of the picture */
} VgaExtra;

struct Vga {
    Device *owner;
    const VgaExtra *extra; /* before vga_init(); NULL: a VGA with Bochs' interface */
    RamBlock *ram;
    MemRegion ram_region;
    MemRegion window; /* A0000h to BFFFFh: container of the next two */
    MemRegion window_io;
    MemRegion window_ram;   /* chained memory, enabled whenever nothing stands between the CPU and it */
    MemRegion ports;        /* 3B0h to 3DFh */
    MemRegion port_part[5]; /* those of them that a VGA has */
    MemRegion dispi_ports;  /* 1CEh to 1D0h */
    Coalesced late[3];      /* indices */
    uint32_t ram_size;      /* bytes, a power of two */

    /* registers */
    uint8_t misc, feature, seq_index, seq[8], gc_index, gc[16], crtc_index, crtc[32];
    uint8_t attr_index, attr[32];
    bool attr_data; /* the flip-flop: 3C0h takes data next */
    uint8_t dac_mask, dac_state, dac_sub, dac_read, dac_write, dac_cache[3], dac[768];
    bool blanked; /* what software sees of horizontal blanking: it turns with each look */
    uint32_t latch;
    uint16_t dispi_index, dispi[DISPI_REGS];
    bool big_endian;

    bool big_endian_at_first; /* after a reset: a property */
    bool dispi_only;          /* there is no VGA behind it */
    const ConsoleOps *ops;    /* of a card that shows more than this; NULL: vga_console_ops */
    void *ops_opaque;

    /* drawing */
    Console *console;
    Surface *surface;
    VgaLook look;
    bool redraw, colours_changed;
    uint32_t palette[256]; /* of 256-colour modes, x8r8g8b8 */
    uint32_t colour[16];   /* of the attribute controller */
    uint32_t spread[256];  /* bit 7 - k of a byte is bit 4 k: one plane of eight pixels */
    unsigned blink;        /* as drawn: bit 0 the cursor is on, bit 1 blinking characters are */
    uint32_t *cells;       /* text as it was drawn last: VGA_MAX_COLUMNS + 1 for each of VGA_MAX_ROWS */
    uint8_t glyphs[2][VGA_GLYPHS * VGA_GLYPH_ROWS];
    unsigned long *dirty; /* a bit for each page, taken for one update */
    uint32_t *line;       /* VGA_LINE_MAX pixels */
    int over_from, over_to; /* VgaExtra.before */
};

/* Of the machine's VGA on PCI. */
#define VGA_STATE_PROP                                                                                       \
    PROP_ONLY_BOOL("global-vmstate", false, "saved states know the card by its place", "leave it out")

/* size_mb: of memory; a power of two from 1 to 512, else refused. In realize; undone with the device. */
bool vga_init(Vga *v, Device *owner, uint32_t size_mb, Error **errp);
/* Where the window of a card on PCI goes, which has its ports: the root bus's memory. */
MemRegion *vga_pci_memory(Device *dev);
/* The picture is this one's again. */
void vga_show(Vga *v);
/* Ports and window of the machine's VGA. mem: where the window goes. In realize. */
bool vga_map_legacy(Vga *v, MemRegion *mem, Error **errp);
void vga_reset(Vga *v);      /* DeviceType.reset: registers */
void vga_reset_done(Vga *v); /* and what follows from them */
extern const VmState vga_state;

/* vga.c: port is 3B0h to 3DFh. */
uint8_t vga_port_read(Vga *v, unsigned port);
void vga_port_write(Vga *v, unsigned port, uint8_t val);
void vga_update_window(Vga *v); /* after a register that decides how memory is reached */
/* Ports are at 3Bxh in monochrome modes, at 3Dxh in others. */
static inline bool vga_port_is_absent(const Vga *v, unsigned port)
{
    return port >> 4 == (v->misc & 1 ? 0x3b : 0x3d);
}

/* vga-mem.c: addr is an offset into the window. */
uint8_t vga_mem_read(Vga *v, uint32_t addr);
void vga_mem_write(Vga *v, uint32_t addr, uint8_t val);
extern const MemOps vga_window_ops;
/* The same behind window and banks: addr counts what the window shows of memory. */
uint8_t vga_planes_read(Vga *v, uint32_t addr);
void vga_planes_write(Vga *v, uint32_t addr, uint8_t val);
/* Where the window lies: offset and size within 128 KiB. */
void vga_window_place(const Vga *v, uint32_t *off, uint32_t *size);
bool vga_is_chained(const Vga *v);

/* vga-rom.c: a video BIOS for SeaBIOS; what is not there is not needed. In realize. */
bool vga_publish_rom(Machine *m, const char *name, Error **errp);

/* Where a card's window goes on the ISA bus. */
MemRegion *vga_isa_memory(Device *dev);

/* vga-dispi.c */
uint16_t dispi_read(Vga *v, unsigned index);
void dispi_write(Vga *v, unsigned index, uint16_t val);
static inline bool dispi_on(const Vga *v)
{
    return v->dispi[DISPI_ENABLE] & DISPI_ENABLED;
}
uint32_t dispi_pitch(const Vga *v); /* bytes; of 4 bits a pixel: of one plane */
uint32_t dispi_bank(const Vga *v);  /* bytes */
extern const MemOps dispi_port_ops;

/* The PCI cards' registers in memory. */
typedef struct VgaMmio {
    Vga *vga; /* NULL: there is no VGA behind it */
    MemRegion region, edid_region, vga_region, dispi_region, extended_region;
    uint8_t edid[EDID_SIZE];
} VgaMmio;
void vga_mmio_init(VgaMmio *m, Vga *v, Device *owner, const EdidInfo *edid, bool ports, bool extended);

/* vga-draw.c */
void vga_find_look(const Vga *v, VgaLook *look);
extern const ConsoleOps vga_console_ops;                     /* opaque: Vga * */
bool vga_dirty(const Vga *v, uint64_t from, uint64_t bytes); /* of video memory, since the last update */
/* vga-text.c: what changed since the last time, or all. blink: see Vga. */
void vga_draw_text(Vga *v, bool all, unsigned blink);
bool vga_text(void *opaque, ConsoleText *out);

#endif

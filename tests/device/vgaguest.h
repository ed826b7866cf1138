/* SPDX-License-Identifier: MIT
 * tests/device/vgaguest.h - a driver of a VGA: the BIOS's modes, and what is on the screen.
 */
#ifndef TESTS_DEVICE_VGAGUEST_H
#define TESTS_DEVICE_VGAGUEST_H

#include "rhea/ui/console.h"
#include "tests/lib/testmachine.h"

typedef struct VgaMode { /* as IBM's BIOS sets it up */
    uint8_t misc, seq[5], crtc[25], gc[9], attr[21];
} VgaMode;
extern const VgaMode vga_text_80x25, vga_4, vga_6, vga_0d, vga_12, vga_13, vga_x; /* x: 13h, unchained */

typedef struct VgaGuest {
    Machine *m;
    Console *console;
} VgaGuest;
void vga_guest_open(VgaGuest *g, Machine *m); /* with the first console */
void vga_out(VgaGuest *g, unsigned port, uint8_t val);
uint8_t vga_in(VgaGuest *g, unsigned port);
void vga_reg(VgaGuest *g, unsigned port, uint8_t index, uint8_t val); /* 3C4h, 3CEh, 3D4h */
void vga_attr(VgaGuest *g, uint8_t index, uint8_t val);
void vga_dispi(VgaGuest *g, uint16_t index, uint16_t val);
uint16_t vga_dispi_get(VgaGuest *g, uint16_t index);
void vga_set_mode(VgaGuest *g, const VgaMode *mode);
void vga_dac(VgaGuest *g, uint8_t index, uint32_t rgb); /* six bits each */
void vga_poke(VgaGuest *g, hwaddr at, uint8_t val);
uint8_t vga_peek(VgaGuest *g, hwaddr at);
/* Draws, and gives the picture as 32-bit pixels 00RRGGBB; -1 outside. */
uint32_t vga_pixel(VgaGuest *g, int x, int y);
void vga_size(VgaGuest *g, int *w, int *h);
uint32_t vga_hash(VgaGuest *g); /* CRC-32 of the pixels */

#endif

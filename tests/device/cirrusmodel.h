/* SPDX-License-Identifier: MIT
 * tests/device/cirrusmodel.h - what the BLT engine of Cirrus cards shall do, byte by byte and slowly.
 */
#ifndef TESTS_DEVICE_CIRRUSMODEL_H
#define TESTS_DEVICE_CIRRUSMODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { OP_BACK = 1, OP_FROM_CPU = 4, OP_TRANSPARENT = 8, OP_PATTERN = 0x40, OP_EXPAND = 0x80 };
enum { OP_DWORDS = 1, OP_INVERT = 2, OP_SOLID = 4 };

typedef struct CirrusOp { /* as the registers have it, but for width and height, which count from 1 */
    uint32_t width, height, dst_pitch, src_pitch, dst, src;
    uint8_t skip, mode, rop, extensions;
    uint32_t fg, bg;
    uint16_t key;
} CirrusOp;

/* On memory of `size` bytes, a power of two. cpu: the bytes that the CPU writes, cirrus_op_bytes() of them.
 */
void cirrus_model(uint8_t *mem, uint32_t size, const CirrusOp *op, const uint8_t *cpu);
uint32_t cirrus_op_bytes(const CirrusOp *op); /* 0: it takes nothing from the CPU */
/* The raster operation number k of sixteen. */
uint8_t cirrus_rop(unsigned k);

#endif

/* SPDX-License-Identifier: MIT
 * block/bigendian.h - numbers as qcow2 and NBD have them: the most significant byte first, at any address.
 */
#ifndef BLOCK_BIGENDIAN_H
#define BLOCK_BIGENDIAN_H

#include <glib.h>
#include <stdint.h>
#include <string.h>

#define BIG_ENDIAN_ACCESS(bits)                                                                              \
    static inline uint##bits##_t get##bits(const uint8_t *p)                                                 \
    {                                                                                                        \
        uint##bits##_t v;                                                                                    \
        memcpy(&v, p, sizeof(v));                                                                            \
        return GUINT##bits##_FROM_BE(v);                                                                     \
    }                                                                                                        \
    static inline void put##bits(uint8_t *p, uint##bits##_t v)                                               \
    {                                                                                                        \
        v = GUINT##bits##_TO_BE(v);                                                                          \
        memcpy(p, &v, sizeof(v));                                                                            \
    }

BIG_ENDIAN_ACCESS(16)
BIG_ENDIAN_ACCESS(32)
BIG_ENDIAN_ACCESS(64)

#endif

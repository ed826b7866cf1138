/* SPDX-License-Identifier: MIT
 * hw/display/edid.h - what a monitor says about itself.
 */
#ifndef HW_DISPLAY_EDID_H
#define HW_DISPLAY_EDID_H

#include "rhea/system/prop.h"

enum { EDID_BLOCK = 128, EDID_SIZE = 2 * EDID_BLOCK, EDID_MAX_SIDE = 4095 };

typedef struct EdidInfo {
    bool on;                 /* edid= */
    uint32_t xres, yres;     /* the preferred mode; 0: 1280 x 800 */
    uint32_t xmax, ymax;     /* no larger mode is listed; 0: no limit */
    uint32_t refresh_rate;   /* thousandths of a Hertz; 0: 75 Hz */
    uint32_t width_mm, height_mm; /* of the screen, at most 4095; one of them 0: 100 dots per inch */
} EdidInfo;

#define EDID_PROPS(T, m)                                                                                     \
    PROP_BOOL(T, m.on, "edid", true, "The monitor describes itself to the guest"),                           \
        PROP_U32(T, m.xres, "xres", 0, 0, EDID_MAX_SIDE, "Preferred width; 0: 1280"),                        \
        PROP_U32(T, m.yres, "yres", 0, 0, EDID_MAX_SIDE, "Preferred height; 0: 800"),                        \
        PROP_U32(T, m.xmax, "xmax", 0, 0, 16000, "Largest width the monitor lists; 0: any"),                 \
        PROP_U32(T, m.ymax, "ymax", 0, 0, 12000, "Largest height the monitor lists; 0: any"),                \
        PROP_U32(T, m.refresh_rate, "refresh_rate", 0, 0, 1000000,                                           \
                 "Refresh rate in thousandths of a Hertz; 0: 75 Hz")

void edid_make(const EdidInfo *info, uint8_t out[EDID_SIZE]);

#endif

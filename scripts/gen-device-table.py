#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes device_table.c: gen-device-table.py OUTPUT SYMBOL..."""
import sys

out, symbols = sys.argv[1], sys.argv[2:]
with open(out, "w") as f:
    f.write("/* SPDX-License-Identifier: MIT\n"
            " * Written by scripts/gen-device-table.py from hw_devices of hw/meson.build. */\n")
    f.write('#include "rhea/system/device.h"\n\n')
    for s in symbols:
        f.write(f"extern const DeviceType {s};\n")
    f.write("\nconst DeviceType *const device_table[] = {\n")
    for s in symbols:
        f.write(f"    &{s},\n")
    f.write("    NULL,\n};\n")

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Assembles an option ROM into a C array: build-option-rom.py SOURCE.S OUTPUT.c SYMBOL LD CC..."""
import os
import subprocess
import sys

source, output, symbol, ld, cc = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]
obj, raw = output + ".o", output + ".bin"
subprocess.check_call(cc + ["-m16", "-ffreestanding", "-fno-pic", "-I", os.path.dirname(source), "-c", source,
                            "-o", obj])
subprocess.check_call([ld, "-m", "elf_i386", "-Ttext", "0", "-e", "start", "--oformat", "binary",
                       "-o", raw, obj])
data = open(raw, "rb").read()
with open(output, "w") as f:
    f.write("/* SPDX-License-Identifier: MIT\n * Written by scripts/build-option-rom.py. */\n")
    f.write("#include <stddef.h>\n#include <stdint.h>\n")
    f.write(f"extern const uint8_t {symbol}[];\nextern const size_t {symbol}_size;\n")
    f.write(f"const size_t {symbol}_size = {len(data)};\nconst uint8_t {symbol}[] = {{\n")
    for i in range(0, len(data), 16):
        f.write("    " + " ".join(f"0x{b:02x}," for b in data[i:i + 16]) + "\n")
    f.write("};\n")

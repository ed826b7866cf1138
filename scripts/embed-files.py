#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts text files into a C source, as WebPages of ui/web.h: embed-files.py OUTPUT.c FILE..."""
import os
import sys

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
with open(sys.argv[1], "w", encoding="ascii") as out:
    out.write("/* SPDX-License-Identifier: MIT\n * Written by scripts/embed-files.py. */\n")
    out.write("#include \"web.h\"\n\n")
    pages = []
    for i, path in enumerate(sys.argv[2:]):
        name = os.path.basename(path)
        with open(path, "rb") as f:
            data = f.read()
        out.write(f"static const char file_{i}[] = {{\n")
        for at in range(0, len(data), 16):
            out.write("    " + " ".join(f"{b}," for b in data[at:at + 16]) + "\n")
        out.write("};\n")
        url = "/" if name == "index.html" else "/" + name
        kind = TYPES[os.path.splitext(name)[1]] + "; charset=utf-8"
        pages.append(f"    {{ \"{url}\", \"{kind}\", file_{i}, sizeof(file_{i}) }},\n")
    out.write("\nconst WebPage web_pages[] = {\n" + "".join(pages) + "    { 0 },\n};\n")

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test-checks.py ROOT: check-layers and check-style find what they are for, in a tree made for it."""
import os
import subprocess
import sys
import tempfile

HEAD = "/* SPDX-License-Identifier: MIT\n * {name} - sample.\n */\n"
LAYERS = "util:\nsystem: util\nhw: util system\ntests: *\n"


def write(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(text)


def sample(path, body=""):
    return HEAD.format(name=os.path.basename(path)) + body


def run(source, tool, root, *files):
    p = subprocess.run([sys.executable, os.path.join(source, "scripts", tool), root] + list(files),
                       capture_output=True, text=True, check=False)
    return p.returncode, p.stdout + p.stderr


LAYER_CASES = [  # path, include, what the message holds; None: clean
    ("hw/a.c", "rhea/util/error.h", None),
    ("hw/a.c", "rhea/hw/isa.h", None),
    ("hw/a.c", "a_internal.h", None),
    ("tests/a.c", "hw/a_internal.h", None),
    ("util/a.c", "rhea/system/device.h", "util/a.c:4: 'util' must not include 'rhea/system/device.h'"),
    ("system/a.c", "rhea/hw/isa.h", "'system' must not include"),
    ("include/rhea/util/a.h", "rhea/system/device.h", "'util' must not include"),
    ("hw/a.c", "rhea/nowhere/a.h", "belongs to no layer"),
    ("hw/char/a.c", "hw/pci/pci_internal.h", "private header of another folder"),
    ("hw/char/a.c", "../pci/pci_internal.h", "private header of another folder"),
    ("elsewhere/a.c", "rhea/util/error.h", "folder 'elsewhere' is not in"),
]

STYLE_CASES = [  # path, text or None for a sample with the body, body, what the message holds
    ("util/a.c", None, "int x;\n", None),
    ("util/a.c", "int x;\n", "", ":1: the SPDX line is missing"),
    ("util/a.c", "/* SPDX-License-Identifier: MIT */\nint x;\n", "", ":2: the header must go on"),
    ("util/a.c", None, "\tint x;\n", ":4: tab"),
    ("util/a.c", None, "int x; \n", ":4: blanks at the end"),
    ("util/a.c", None, "int x;\r\n", "carriage return"),
    ("util/a.c", None, "int x;", ":4: no newline"),
    ("util/a.c", None, "int x;\n\n", ":5: blank line at the end"),
    ("util/a.c", None, "/* " + "x" * 108 + "\n", ":4: 111 columns"),
    ("util/a.c", None, "/*" + "x" * 108 + "\n", None),
    ("hw/a.c", None, "/* " + "x" * 108 + "\n", None),
    ("util/a.c", None, "int x;\n" * 1198, "1201 lines"),
    ("util/a.c", None, "int x;\n" * 1197, None),
    ("util/a.c", None, "static GMutex lock;\n", ":4: GMutex: ThreadSanitizer"),
    ("util/a.c", None, "/* TO" + "DO later */\n", "without an issue number"),
    ("util/a.c", None, "/* TO" + "DO(#12): later */\n", None),
    ("util/a.c", None, 'char *p = "/ho' + 'me/joe/x";\n', "somebody's machine"),
    ("util/a.py", "#!/usr/bin/env python3\n# SPDX-License-Identifier: MIT\n", "", None),
    ("util/a.py", "#!/usr/bin/env python3\n", "", "the SPDX line is missing"),
]


def main():
    source, failed = sys.argv[1], 0
    for path, include, message in LAYER_CASES:
        with tempfile.TemporaryDirectory() as root:
            write(root, "docs/devel/layers.txt", LAYERS)
            write(root, path, sample(path, f'#include "{include}"\n'))
            code, out = run(source, "check-layers", root)
            if (code == 0) != (message is None) or (message and message not in out):
                failed += 1
                print(f"layers, {path} with {include}: expected {message!r}, got {code} {out!r}")
    with tempfile.TemporaryDirectory() as root:
        write(root, "docs/devel/layers.txt", "a: b\nb: a\n")
        code, out = run(source, "check-layers", root)
        if code == 0 or "cycle" not in out:
            failed += 1
            print(f"layers: the cycle was not found: {out!r}")
    for path, text, body, message in STYLE_CASES:
        with tempfile.TemporaryDirectory() as root:
            write(root, "tests/style/wide-lines.txt", "hw/\n")
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8", newline="") as f:
                f.write(sample(path, body) if text is None else text)
            code, out = run(source, "check-style", root, path)
            if (code == 0) != (message is None) or (message and message not in out):
                failed += 1
                print(f"style, {path} {text or body!r:.60}: expected {message!r}, got {code} {out!r}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

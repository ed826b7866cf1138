#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Debian installer's first screens, read and typed at by programs while every host CPU has other work: x-rhea-screen-wait
(ui/screen-wait.c, ui/screen.c, ui/font-set.c, ui/font.c, tools/system/screenwait.c) and x-rhea-type-text
(tools/system/typetext.c). What was typed must be on the screen, letter by letter: no key is lost, none comes twice.

In graphics (bochs-drm) the text is recognised by its font, in text mode (nomodeset) it is the VGA's. RHEA_SCREEN_RUNS=N: so
many runs, in turns."""
import contextlib
import os
import subprocess
import sys

import rheatest as rt
from display import machine
from qmp import Client, expect
from rheatest import guest_assets

SYMBOLS = "aB9.C-d~!@#$%^&*()+{}|:<>?`[];',/=Zz"
# What must be on the screen, what is typed then, and how it must show.
STEPS = [
    ("Select a language", "\n", None),
    ("Select your location", "\n", None),
    ("Configure the keyboard", "\n", None),
    ("Name server addresses:", "192.0.2.53 198.51.100.7", "192.0.2.53 198.51.100.7"),
    (None, "\n", None),
    ("Hostname:", "Rhea-Test-42xYz", "debianRhea-Test-42xYz"),
    (None, "\n", None),
    ("Domain name:", SYMBOLS, SYMBOLS),
]


@contextlib.contextmanager
def load():
    """Two programs for each CPU of this host that do nothing else."""
    all_of = []
    try:
        for _ in range(2 * len(os.sched_getaffinity(0))):
            all_of.append(subprocess.Popen([sys.executable, "-c", "import os\np = os.getppid()\nwhile os.getppid() == p: sum(range(9999))"]))
        yield
    finally:
        for p in all_of:
            p.kill()
            p.wait()


def seen(c, text):
    number = c.call("x-rhea-screen-wait", text=text, timeout=int(200000 * rt.SLOW))["id"]
    e = c.event("X_RHEA_SCREEN_WAIT")["data"]
    if e["id"] != number or not e["seen"]:
        raise rt.Failure(f"'{text}' is not on the screen: {e.get('error')}\n" + "\n".join(x for x in e["screen"]["lines"] if x))
    return e["screen"]


def walk(append, by_font):
    kernel, initrd = rt.asset(guest_assets.installer)
    with machine("-M", "pc", "-vga", "std", "-kernel", kernel, "-initrd", initrd, "-append", "vga=normal fb=false quiet " + append,
                 "-nic", "user,restrict=on,model=e1000", mem="1G", timeout=800) as (_, path):
        c = Client(path)
        c.s.settimeout(300 * rt.SLOW)
        with load():
            for title, typed, shown in STEPS:
                if title:
                    screen = seen(c, title)
                    expect(screen["by-font"] == by_font, f"{title}: by font {screen['by-font']}")
                c.call("x-rhea-type-text", text=typed)
                c.event("X_RHEA_TEXT_TYPED")
                if shown:
                    seen(c, shown)
        c.close()


def installer_screens():
    for n in range(int(os.environ.get("RHEA_SCREEN_RUNS", "1"))):
        walk(*[("", True), ("nomodeset", False)][n % 2])


ALL = [installer_screens]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

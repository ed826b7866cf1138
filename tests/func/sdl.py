#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A window on a desktop of the test's own (ui/sdl.c, ui/sdl-input.c, ui/display.c): Xvfb with Debian's openbox. What the window shows is
the guest's picture, pixel for pixel; keys typed into it and the pointer's places arrive in the guest; it follows the
guest's size, can be resized and fill the screen, and closing it ends the program. Skipped where Xvfb, xdotool or xwd are not
installed."""
import contextlib
import os
import sys
import tempfile

import qmp
import rheatest as rt
from desktop import MODULES, SCREEN, SCRIPT, desktop, do, event, geometry, pixels, same_picture, until, window


def sdl_window():
    with desktop(), tempfile.TemporaryDirectory(prefix="rhea-sdl-") as d:
        sock = os.path.join(d, "qmp")
        args = ("-display", "sdl", "-vga", "std", "-device", "virtio-tablet-pci", "-qmp", f"unix:{sock},server=on,wait=off",
                "-name", "guest one")
        with rt.booted(MODULES, SCRIPT, "console=tty0 console=ttyS0 quiet vga=normal", *args, flavour="generic") as vm:
            vm.expect("@@ready@@")
            with contextlib.closing(qmp.Client(sock)) as q:
                check_window(vm, q, d)
            vm.seen = 0
            rt.once_output(vm)


def check_window(vm, q, d):
    w = until(vm, "a window", window)
    title = do("getwindowname", w)
    qmp.expect("guest one" in title, f"the title is {title!r}")
    until(vm, "the guest's picture in the window", lambda: same_picture(q, d, w))
    size = geometry(w)[2:]
    do("windowactivate", "--sync", w)
    do("type", "--delay", 30, "hello 42")
    do("key", "Return")
    vm.expect("typed hello 42")
    until(vm, "the picture after typing", lambda: same_picture(q, d, w))
    for part in 0.25, 0.75:
        x, y = int(size[0] * part), int(size[1] * part)
        do("mousemove", "--window", w, x, y)
        event(vm, 3, 0, x * 0x7fff // (size[0] - 1))
        event(vm, 3, 1, y * 0x7fff // (size[1] - 1))
    do("click", 1)
    event(vm, 1, 272, 1)
    event(vm, 1, 272, 0)
    do("windowsize", w, 1000, 800)
    until(vm, "the new size", lambda: geometry(w)[2:] == (1000, 800))
    until(vm, "a scaled picture", lambda: any(pixels(w)[2]))
    do("key", "ctrl+alt+u")
    until(vm, "the guest's size again", lambda: geometry(w)[2:] == size)
    do("key", "ctrl+alt+f")
    until(vm, "full screen", lambda: geometry(w)[2:] == SCREEN)
    do("key", "ctrl+alt+f")
    until(vm, "a window again", lambda: geometry(w)[2:] == size)
    do("type", "--delay", 30, "the end") # no modifier has stayed down
    do("key", "Return")
    vm.expect("typed the end")


def sdl_close():
    """Closing the last window ends the program, unless it was told not to."""
    with desktop():
        with rt.Vm("-M", "pc", "-display", "sdl", "-S") as vm:
            w = until(vm, "a window", window)
            do("windowactivate", "--sync", w)
            do("key", "alt+F4")
            vm.wait(0)


rt.main(*(globals()[n] for n in sys.argv[1:] or ("sdl_window", "sdl_close")))

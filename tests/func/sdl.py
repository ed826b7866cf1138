#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A window on a desktop of the test's own (ui/sdl.c, ui/sdl-input.c, ui/display.c): Xvfb with Debian's openbox. What the window shows is
the guest's picture, pixel for pixel; keys typed into it and the pointer's places arrive in the guest; it follows the
guest's size, can be resized and fill the screen, and closing it ends the program; the window's own keys and options. Skipped where Xvfb, xdotool or xwd are not
installed."""
import contextlib
import os
import subprocess
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


def windows():
    with contextlib.suppress(subprocess.CalledProcessError):
        return do("search", "--onlyvisible", "--name", "^Rhea").split()
    return []


def title(w):
    return do("getwindowname", w).strip()


def key(w, keys):
    do("windowactivate", "--sync", w)
    do("key", keys)


@contextlib.contextmanager
def machine(display, *args):
    """A guest that does nothing, and is stopped: its PS/2 keyboard and mouse keep what comes."""
    with desktop(), tempfile.TemporaryDirectory(prefix="rhea-sdl-") as d:
        sock, bios = os.path.join(d, "qmp"), os.path.join(d, "bios")
        with open(bios, "wb") as f:
            f.write(b"\xf4" * 65536)
        with rt.Vm("-M", "pc", "-accel", "tcg", "-m", "16M", "-nodefaults", "-S", "-bios", bios, "-name", "two", "-vga", "std", "-display", display,
                   "-qmp", f"unix:{sock},server=on,wait=off", *args) as vm:
            until(vm, "a window", window)
            with contextlib.closing(qmp.Client(sock)) as q:
                q.call("query-status") # SDL may have replaced the first window by then
                yield vm, q, until(vm, "the window", window)


def sdl_keys():
    """The window's own keys: other consoles' windows, sizes, the grab. Without the focus no key stays down."""
    with machine("sdl", "-device", "secondary-vga,id=other") as (vm, q, w):
        qmp.expect(title(w).startswith("Rhea (two) - ") and title(w).endswith(" [stopped]"), f"of two windows: {title(w)}")
        size = geometry(w)[2:]
        key(w, "ctrl+alt+2")
        until(vm, "the other window", lambda: len(windows()) == 2)
        until(vm, "its focus", lambda: do("getactivewindow").strip() not in ("", w))
        key(w, "ctrl+alt+2")
        until(vm, "one window again", lambda: windows() == [w])
        key(w, "ctrl+alt+1") # the last one stays
        key(w, "ctrl+alt+equal")
        until(vm, "a larger window", lambda: geometry(w)[2] == size[0] * 125 // 100)
        qmp.expect(windows() == [w], "the last window can be seen")
        key(w, "ctrl+alt+minus")
        until(vm, "a smaller one", lambda: geometry(w)[2] == size[0] * 125 // 100 * 80 // 100)
        key(w, "ctrl+alt+equal")
        until(vm, "a larger one", lambda: geometry(w)[2] > size[0])
        key(w, "ctrl+alt+u")
        until(vm, "the guest's size", lambda: geometry(w)[2:] == size)
        key(w, "ctrl+alt+g")
        until(vm, "the grab", lambda: "press Ctrl-Alt-G" in title(w))
        key(w, "ctrl+alt+g")
        until(vm, "no grab", lambda: "press" not in title(w))
        do("windowactivate", "--sync", w)
        while int(q.call("human-monitor-command", command_line="i /b 0x64").split()[-1], 16) & 1:
            qmp.scan_codes(q, 1) # it is full of modifiers, and has no room for another key
        do("keydown", "x")
        while qmp.scan_codes(q, 1) != b"\x22": # what came before it are modifiers
            pass
        do("windowminimize", w)
        qmp.expect(qmp.scan_codes(q, 2) == b"\xf0\x22", "and up, without the focus")
        do("keyup", "x")


def sdl_options():
    """grab-mod=, full-screen=, window-close=, show-cursor=, gl=."""
    with machine("sdl,grab-mod=rctrl,full-screen=on,window-close=off,show-cursor=on,gl=off") as (vm, q, w):
        until(vm, "full screen", lambda: geometry(w)[2:] == SCREEN)
        now = q.call("query-display-options")
        qmp.expect(now == {"type": "sdl", "grab-mod": "rctrl", "full-screen": True, "window-close": False, "show-cursor": True, "gl": "off"}, f"{now}")
        key(w, "Control_R+f")
        until(vm, "a window", lambda: geometry(w)[2:] != SCREEN)
        size = geometry(w)[2:]
        key(w, "ctrl+alt+f") # the guest's
        key(w, "Control_R+g")
        until(vm, "the grab", lambda: "press Right-Ctrl-G" in title(w))
        key(w, "Control_R+f")
        until(vm, "full screen again", lambda: geometry(w)[2:] == SCREEN)
        key(w, "Control_R+f")
        until(vm, "a window again", lambda: geometry(w)[2:] == size)
        qmp.expect("press Right-Ctrl-G" in title(w), f"the grab that was there before: {title(w)}")
        key(w, "Control_R+g")
        until(vm, "no grab", lambda: "press" not in title(w))
        key(w, "alt+F4")
        key(w, "Control_R+f")
        until(vm, "it is still there", lambda: geometry(w)[2:] == SCREEN)
        until(vm, "the pointer is grabbed there", lambda: "press" in title(w))
        key(w, "Control_R+f")
        until(vm, "and not in a window", lambda: geometry(w)[2:] == size and "press" not in title(w))


rt.main(*(globals()[n] for n in sys.argv[1:] or ("sdl_window", "sdl_close", "sdl_keys", "sdl_options")))

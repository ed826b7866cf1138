#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A desktop program on each graphics card: Debian's graphical installer, by BIOS and by UEFI, against pictures that people
have looked at; the pointer goes to its button, by tablet and by PS/2 mouse, and a click leads to the next page. Covers
hw/display/vga-draw.c, vga-dispi.c, bochs-display.c, edid.c, ui/console.c, ui/picture.c, ui/input.c, hw/usb/hid.c,
hw/input/ps2mouse.c and what they stand on."""
import sys
import time

import rheatest as rt
from display import OVMF, Screen, cut, machine
from rheatest import guest_assets



def around(x, y):
    """Where the pointer is left out: cards with a cursor of their own do not draw it."""
    return x - 12, y - 12, x + 28, y + 28


def first_pointer(width, height):
    """Where it is at the beginning."""
    return around(width // 2, height // 2)


def button(width, height):
    """The middle of "Continue"."""
    return width - 61, height - 26


def edge(width, height):
    """The button's left end, where no pointer comes to: it has another colour below a pointer."""
    return width - 109, height - 38, width - 89, height - 12


# The list's scroll bar, of which GTK draws the handle a pixel higher or lower from run to run.
FREE = {"gtk": [], "gtk-1024": [(986, 170, 1006, 706)]}


# Card: what it is called on the command line, and its pictures. All that show the EDID's mode in 24 bits show the same;
# Cirrus's has 1024 x 768 in 16.
CARDS = {
    "std": (("-vga", "std"), "gtk"),
    "bochs": (("-device", "bochs-display"), "gtk"),
    "virtio": (("-device", "virtio-vga"), "gtk"),
    "cirrus": (("-vga", "cirrus"), "gtk-1024"),
}


def installer(card, *args):
    """The kernel's own driver of each card, and X on top of it; vga= is for those that have none."""
    kernel, initrd = rt.asset(guest_assets.installer, "gtk")
    return machine("-M", "q35", *CARDS[card][0], "-kernel", kernel, "-initrd", initrd, "-append", "vga=788 --- quiet", *args,
                   mem="1G", timeout=350)


class Pointer:
    """The machine's, by QMP."""

    def __init__(self, screen):
        self.qmp = screen.qmp

    def send(self, *events):
        self.qmp.call("input-send-event", events=[{"type": t, "data": d} for t, d in events])

    def place(self, x, y, width, height):
        self.send(*(("abs", {"axis": a, "value": round(v * 32767 / (most - 1))}) for a, v, most in (("x", x, width), ("y", y, height))))

    def move(self, dx, dy):
        self.send(("rel", {"axis": "x", "value": dx}), ("rel", {"axis": "y", "value": dy}))

    def click(self):
        for down in (True, False):
            self.send(("btn", {"button": "left", "down": down}))


def pages(card, *args):
    """The first page; a click on "Continue", by tablet; the second one."""
    picture = CARDS[card][1]
    size = Screen.picture(picture + "-language")[:2]
    with installer(card, "-device", "qemu-xhci", "-device", "usb-tablet", *args) as (_, path):
        screen = Screen(path)
        screen.expect(picture + "-language", [first_pointer(*size), *FREE[picture]], timeout=150)
        mouse, end = Pointer(screen), edge(*size)
        mouse.place(*button(*size), *size)
        screen.until(lambda now, was: cut(now, end) != cut(was, end), picture + "-language", "the button does not light up")
        mouse.click()
        screen.expect(picture + "-location", [around(*button(*size)), *FREE[picture]], timeout=150)


def screens_mouse():
    """A PS/2 mouse: to the corner, whatever X makes of its speed, and back in small steps."""
    with installer("std") as (_, path):
        screen = Screen(path)
        screen.expect("gtk-language", [first_pointer(1280, 800)], timeout=150)
        mouse, end = Pointer(screen), edge(1280, 800)
        for _ in range(20):
            mouse.move(100, 100)
        corner = (1270, 790, 1280, 800)
        screen.until(lambda now, was: cut(now, corner) != cut(was, corner), "gtk-language", "no pointer in the corner")
        for _ in range(40):
            mouse.move(-4, -2)
            time.sleep(0.2) # X takes what comes at once for a fast movement
            if cut(screen.look(), end) != cut(screen.picture("gtk-language"), end):
                break
        else:
            raise rt.Failure("the button does not light up")
        mouse.click()
        screen.expect("gtk-location", [(end[2], end[1], 1280, 800)], timeout=150)


def row(card, uefi):
    def test():
        pages(card, *(("-bios", rt.asset(*OVMF)) if uefi else ()))
    test.__name__ = f"screens_{card}{'_uefi' if uefi else ''}"
    return test


ALL = [row(card, uefi) for card in CARDS for uefi in (False, True)] + [screens_mouse]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What guests show, against pictures that people have looked at (tests/func/screens): hw/display, ui, screendump.

A screen is looked at again and again until it is the one that is expected; what may differ (a cursor that blinks, a
firmware's version) is left out. After a time-out the last picture is kept, and its name is told."""
import contextlib
import os
import struct
import sys
import tempfile
import time
import zlib

import rheatest as rt
from cdrom import tool
from qmp import Client
from rheatest import guest_assets

OVMF = guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd"
SCREENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "screens")


def read_png(path):
    """(width, height, lines of RGB bytes) of what screendump writes: 8-bit RGB, every line filtered with "up"."""
    with open(path, "rb") as f:
        data = f.read()
    width, height = struct.unpack(">II", data[16:24])
    at, packed = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + n] if kind == b"IDAT" else b""
        at += 12 + n
    raw, row, out, n = zlib.decompress(packed), 0, [], width * 3
    high = int.from_bytes(b"\x80" * n, "little")
    low = high ^ (1 << 8 * n) - 1
    for y in range(height):
        line = raw[y * (n + 1):(y + 1) * (n + 1)]
        assert line[0] == 2, "not written by screendump"
        more = int.from_bytes(line[1:], "little") # all bytes of a line at once: sums without the highest bits, then those
        row = (row & low) + (more & low) ^ (row ^ more) & high
        out.append(row.to_bytes(n, "little"))
    return width, height, out


def differs(one, two, free):
    """The first pixel that is another one, outside of the free rectangles; None: there is none."""
    if one[:2] != two[:2]:
        return f"{one[0]} x {one[1]} pixels, not {two[0]} x {two[1]}"
    for y, (a, b) in enumerate(zip(one[2], two[2])):
        if a == b:
            continue
        for x in range(one[0]):
            if a[3 * x:3 * x + 3] != b[3 * x:3 * x + 3] and not any(
                    x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in free):
                return f"pixel {x}, {y} is {a[3 * x:3 * x + 3].hex()}, not {b[3 * x:3 * x + 3].hex()}"
    return None


def cut(picture, rect):
    """The lines of a part of a picture."""
    x1, y1, x2, y2 = rect
    return [line[3 * x1:3 * x2] for line in picture[2][y1:y2]]


class Screen:
    """The screen of a machine with QMP: the first one, or that of a device and head."""

    def __init__(self, path, **where):
        self.qmp, self.where = Client(path), where

    @staticmethod
    def picture(name):
        return read_png(os.path.join(SCREENS, name + ".png"))

    def look(self, keep=None):
        """What is there now. keep: the name of a file for it."""
        with tempfile.TemporaryDirectory(prefix="rhea-func-") as d:
            now = keep or os.path.join(d, "now.png")
            self.qmp.call("screendump", filename=now, format="png", **self.where)
            return read_png(now)

    def watch(self, folder):
        """From now on somebody looks: what is drawn is what has changed. The machine's end is the recording's."""
        self.qmp.call("x-rhea-screen-record-start", directory=os.path.join(folder, "record"), **self.where)

    def until(self, condition, name, what, timeout=200):
        """Waits for condition(picture, picture of that name); after that the failure is `what`."""
        was, end = self.picture(name), time.monotonic() + timeout * rt.SLOW
        while not condition(self.look(), was):
            if time.monotonic() > end:
                raise rt.Failure(f"{name}: {what}")
            time.sleep(0.3)

    def expect(self, name, free=(), timeout=200):
        """Until the screen is the picture of that name. RHEA_SCREENS_NEW: pictures that do not exist are made."""
        want = os.path.join(SCREENS, name + ".png")
        fd, now = tempfile.mkstemp(prefix=f"rhea-{name}-", suffix=".png")
        os.close(fd)
        end = time.monotonic() + timeout * rt.SLOW
        new = os.environ.get("RHEA_SCREENS_NEW") and not os.path.exists(want)
        if new:
            time.sleep(float(os.environ["RHEA_SCREENS_NEW"]))
        while True:
            picture = self.look(now)
            if new:
                os.replace(now, want)
                return
            why = differs(picture, read_png(want), free)
            if not why:
                os.unlink(now)
                return
            if time.monotonic() > end:
                raise rt.Failure(f"{name}: {why}; the screen is in {now}")
            time.sleep(0.3)


@contextlib.contextmanager
def monitor():
    """Arguments for a machine with QMP, and where it is."""
    with tempfile.TemporaryDirectory(prefix="rhea-func-") as d:
        path = os.path.join(d, "qmp")
        yield path, ("-qmp", f"unix:{path},server=on,wait=off")


@contextlib.contextmanager
def machine(*args, mem="256M", timeout=200):
    with monitor() as (path, qmp), rt.Vm("-nodefaults", "-accel", "tcg", "-m", mem, "-display", "none", *qmp, *args, timeout=timeout) as vm:
        yield vm, path


def seabios(board, *card):
    """SeaBIOS finds nothing to boot from: text of 80 x 25. Its version is left out, and all below: it tries again."""
    with machine("-M", board, *card, "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log") as (vm, path):
        vm.expect("No bootable device")
        Screen(path).expect("seabios", [(0, 0, 720, 16), (0, 32, 720, 400)])


# Cards that begin as a VGA.
CARDS = [("-vga", "std"), ("-device", "virtio-vga")]


def display_seabios():
    """On pc and q35, each with its card of -vga std; the other VGAs."""
    seabios("q35", "-vga", "std")
    for card in [*CARDS, ("-device", "isa-vga"), ("-vga", "cirrus"), ("-device", "isa-cirrus-vga")]:
        seabios("pc", *card)


def display_grub():
    """GRUB's menu, by BIOS in text and by UEFI in graphics of the firmware's."""
    with tempfile.TemporaryDirectory(prefix="rhea-func-") as d:
        top, iso = os.path.join(d, "top"), os.path.join(d, "grub.iso")
        os.makedirs(os.path.join(top, "boot/grub"))
        with open(os.path.join(top, "boot/grub/grub.cfg"), "w", encoding="ascii") as f:
            f.write("set timeout=-1\nmenuentry 'The first one' { true }\nmenuentry 'The second one' { true }\n")
        tool("grub-mkrescue", "--install-modules=normal iso9660 part_msdos", "--fonts=", "--themes=", "--locales=", "-o", iso, top)
        for card in [*CARDS, ("-vga", "cirrus")]:
            with machine("-M", "pc", *card, "-cdrom", iso) as (_, path): # its version is in the first lines
                Screen(path).expect("grub", [(0, 0, 720, 48), (0, 350, 720, 400)])


def display_memtest():
    """memtest86+ writes its characters itself. What it measures, and its version, are left out."""
    image = rt.asset(guest_assets.memtest)
    for card in [*CARDS, ("-vga", "cirrus")]:
        with machine("-M", "pc", *card, "-kernel", image, mem="64M") as (_, path):
            Screen(path).expect("memtest", [(144, 0, 252, 16), (72, 16, 252, 96), (261, 0, 720, 96), (0, 112, 378, 144),
                                            (459, 112, 720, 144), (190, 368, 560, 384), (540, 384, 720, 400)])


def read_ppm(path):
    """As read_png()."""
    with open(path, "rb") as f:
        magic, size, depth, data = f.read().split(b"\n", 3)
    width, height = map(int, size.split())
    assert (magic, depth, len(data)) == (b"P6", b"255", width * height * 3)
    return width, height, [data[i:i + width * 3] for i in range(0, len(data), width * 3)]


def display_screendump():
    """screendump in both formats, of each card and head; what there is not is refused."""
    free = [(0, 0, 720, 16), (0, 32, 720, 400)]
    with machine("-M", "pc", "-device", "VGA,id=one", "-device", "bochs-display,id=two", "-device",
                 "virtio-gpu-pci,id=three,max_outputs=2") as (vm, path):
        screen = Screen(path, device="one")
        screen.expect("seabios", free)
        call = screen.qmp.try_call
        folder = os.path.dirname(path)
        png, ppm = os.path.join(folder, "png"), os.path.join(folder, "ppm")
        for where, size in (({}, (720, 400)), ({"device": "one"}, (720, 400)), ({"device": "one", "head": 0}, (720, 400)),
                            ({"device": "two"}, None)):
            for name, form in ((png, {"format": "png"}), (ppm, {"format": "ppm"}), (ppm, {})):
                answer = call("screendump", filename=name, **form, **where)
                if "error" in answer:
                    vm.fail(f"screendump of {where}: {answer}")
            got = read_png(png)
            if size and (got[:2] != size or differs(got, screen.picture("seabios"), free)) or differs(got, read_ppm(ppm), []):
                vm.fail(f"screendump of {where} shows something else: {got[:2]}")
            if not size and any(map(any, got[2])):
                vm.fail(f"{where}, where nothing is shown, is not black")
        for wrong, says in (({"device": "four"}, "four"), ({"device": "one", "head": 1}, "no head 1"),
                            ({"device": "three", "head": 1}, "shows nothing at present"), ({"device": "three", "head": 2}, "no head 2"),
                            ({"format": "gif"}, "gif"), ({"filename": "/proc/none/none"}, "/proc/none/none")):
            error = call("screendump", **({"filename": png} | wrong)).get("error", {}).get("desc", "no error")
            if says not in error:
                vm.fail(f"screendump of {wrong}: {error}")


PICTURE = r"""
exec > /dev/tty0
printf '\033[2J\033[H\033[?25l\033[?1c'
i=0
while [ $i -lt 8 ]; do
    printf '\033[3%dmcolour %d \033[1mbright\033[0m \033[4%dm ground \033[0m\n' $i $i $i
    i=$((i + 1))
done
printf '\033[7mreversed\033[0m  the quick brown fox jumps over the lazy dog 0123456789\n'
"""


# Many times the screen's height: the console scrolls by moving memory, or by where the picture begins.
SCROLL = r"""
i=0
while [ $i -lt 400 ]; do
    printf '\033[3%dm%*s\033[0m line %d\n' $((i % 8)) $((i % 50)) '#' $i
    i=$((i + 1))
done
"""
PAUSE = "\necho @@drawn@@ > /dev/ttyS0\nread line < /dev/ttyS0\n"


def console(name, modules, *card, append="", board="pc"):
    """Debian's kernel shows a text console there: what a program writes to it is on the screen, scrolled text, too, which
    is drawn while somebody looks."""
    script = PICTURE + PAUSE + SCROLL + PAUSE + "exec > /dev/ttyS0"
    with monitor() as (path, qmp), rt.booted(modules, script, f"quiet loglevel=1 vt.global_cursor_default=0 {append}", *card, *qmp,
                                             flavour="generic", board=board) as vm:
        vm.expect("@@drawn@@")
        screen = Screen(path)
        screen.expect(name)
        screen.watch(os.path.dirname(path))
        vm.send("go on\n")
        vm.expect("@@drawn@@")
        screen.expect(name + "-scrolled")
        vm.send("go on\n")
        vm.expect("@@rhea-end 0@@")
        vm.wait(0)


BOCHS = ["drivers/gpu/drm/" + m for m in ("drm", "drm_kms_helper", "ttm/ttm", "drm_ttm_helper", "drm_vram_helper", "tiny/bochs")]
CIRRUS = ["drivers/gpu/drm/" + m for m in ("drm", "drm_kms_helper", "drm_shmem_helper", "tiny/cirrus")]


def display_vgacon():
    """The VGA's text mode, by the kernel's oldest console."""
    for card in CARDS:
        console("vgacon", [], *card)


def display_vesafb():
    """A mode of the video BIOS that the kernel's setup code chose: 1024 x 768 in 16 bits."""
    for card in CARDS:
        console("vesafb", [], *card, append="vga=0x317")


def display_bochs():
    """bochs-drm on the standard VGA, and on bochs-display."""
    console("bochs", BOCHS, "-vga", "std", board="q35")
    console("bochs", BOCHS, "-device", "bochs-display")


def display_cirrus():
    """Cirrus's card: text, its video BIOS's modes with and without a palette, and the kernel's driver."""
    console("vgacon", [], "-vga", "cirrus")
    console("cirrus-8", [], "-vga", "cirrus", append="vga=0x305")
    console("vesafb", [], "-vga", "cirrus", append="vga=0x317")
    console("vesafb", CIRRUS, "-vga", "cirrus", board="q35")


def display_ovmf():
    """OVMF sets the mode, on each card that it knows; the kernel goes on with it (efifb)."""
    firmware = rt.asset(*OVMF)
    for card in [*CARDS, ("-device", "bochs-display")]:
        console("bochs", [], *card, "-bios", firmware, board="q35")
    for card in ("-device", "ramfb"), ("-vga", "cirrus"):
        console("efi-ramfb", [], *card, "-bios", firmware, board="q35")


ALL = [display_seabios, display_grub, display_memtest, display_screendump, display_vgacon, display_vesafb, display_bochs,
       display_cirrus, display_ovmf]
if __name__ == "__main__":
    chosen = [t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    rt.main(*chosen)

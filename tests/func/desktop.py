# SPDX-License-Identifier: MIT
"""A desktop of a test's own: Xvfb with Debian's openbox, and what people do there (xdotool) and see (xwd)."""
import contextlib
import os
import re
import shutil
import struct
import subprocess
import time

import rheatest as rt

SCREEN = (1280, 1024)
# A guest whose console is on its screen: what is typed there goes to the serial line, and so do the tablet's events.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "drivers/input/evdev", "drivers/virtio/virtio_input")
SCRIPT = """for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/input/event1 ] && break; sleep 1; done
for e in /dev/input/event*; do
    n=$(cat /sys/class/input/${e##*/}/device/name)
    case "$n" in *Tablet*) tablet=$e ;; esac
done
hexdump -v -e '"tablet " 24/1 "%02x" "\\n"' < $tablet > /dev/ttyS0 &
echo "this is the guest's screen" > /dev/tty1
echo @@ready@@
while read line < /dev/tty1; do
    echo "typed $line"
    [ "$line" = "the end" ] && break
done
kill %1
"""


def xvfb():
    """An Xvfb and its number. Two that begin at once may choose the same one: then one of them ends."""
    for _ in range(5):
        read, write = os.pipe()
        x = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "%dx%dx24" % SCREEN, "-nolisten", "tcp"],
                             pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as f:
            number = f.readline().strip()
        if number:
            return x, number
        x.wait()
    raise rt.Skip("Xvfb does not start here")


@contextlib.contextmanager
def desktop():
    """DISPLAY is that of an Xvfb with openbox."""
    for program in ("Xvfb", "xdotool", "xwd", "openbox"):
        if not shutil.which(program):
            raise rt.Skip(f"{program} is not installed")
    x, number = xvfb()
    wm = None
    try:
        os.environ["DISPLAY"] = ":" + number
        os.environ["SDL_VIDEODRIVER"] = "x11"
        wm = subprocess.Popen(["openbox"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # SDL waits for ever when its window is mapped just while the window manager begins.
        while subprocess.run(["xdotool", "get_desktop"], capture_output=True, check=False).returncode != 0:
            if wm.poll() is not None:
                raise rt.Skip("openbox does not start here")
            time.sleep(0.05)
        yield
    finally:
        for p in wm, x:
            if p:
                p.terminate()
                p.wait()


def do(*args):
    return subprocess.run(["xdotool", *map(str, args)], check=True, capture_output=True, text=True).stdout


def until(vm, what, test, seconds=30):
    """Waits for what the desktop does, which nobody tells of."""
    return rt.until(test, seconds, lambda late: vm.fail(f"{what}: {late}"))


def window(name="^Rhea"):
    """The first one with such a title (a regular expression); None: there is none."""
    with contextlib.suppress(subprocess.CalledProcessError):
        return do("search", "--onlyvisible", "--name", name).split()[0]
    return None


def geometry(w):
    g = dict(line.split("=") for line in do("getwindowgeometry", "--shell", w).split())
    return int(g["X"]), int(g["Y"]), int(g["WIDTH"]), int(g["HEIGHT"])


def pixels(w):
    """(width, height, bytes: red, green, blue) of a window: X Window Dump, version 7, as xwd writes it."""
    data = subprocess.run(["xwd", "-silent", "-id", w], check=True, capture_output=True).stdout
    head = struct.unpack(">25I", data[:100])
    width, height, order, bpp, stride, colours = head[4], head[5], head[7], head[11], head[12], head[19]
    if bpp != 32 or order != 0:
        raise rt.Failure(f"a window of {bpp} bits a pixel, byte order {order}")
    out, start = bytearray(width * height * 3), head[0] + 12 * colours
    for y in range(height):
        line = data[start + y * stride:][:4 * width]
        for part in range(3):
            out[y * width * 3 + part:(y + 1) * width * 3:3] = line[2 - part::4]
    return width, height, bytes(out)


def screendump(q, d):
    path = os.path.join(d, "screen.ppm")
    q.call("screendump", filename=path)
    with open(path, "rb") as f:
        data = f.read()
    m = re.match(rb"P6\n(\d+) (\d+)\n255\n", data)
    return int(m.group(1)), int(m.group(2)), data[m.end():]


def lower_part(picture, height):
    """Of a window: without the menus at its top."""
    return picture[0], min(picture[1], height), picture[2][max(picture[1] - height, 0) * picture[0] * 3:]


def nearly(got, want):
    if got[:2] != want[:2]:
        return False
    different = sum(a != b for a, b in zip(got[2], want[2]))
    return different <= 3 * 9 * 16 # the text cursor blinks between the two


def same_picture(q, d, w):
    """The window shows the guest's picture; there may be menus above it."""
    want = screendump(q, d)
    return nearly(lower_part(pixels(w), want[1]), want)


def event(vm, kind, code, value):
    """A struct input_event of the guest's tablet: behind its time."""
    vm.expect("tablet .{32}" + struct.pack("<HHi", kind, code, value).hex())

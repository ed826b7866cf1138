# SPDX-License-Identifier: MIT
"""A desktop of a test's own: Xvfb with Debian's openbox, and what people do there (xdotool) and see (xwd)."""
import contextlib
import os
import shutil
import struct
import subprocess
import time

import rheatest as rt

SCREEN = (1280, 1024)


@contextlib.contextmanager
def desktop():
    """DISPLAY is that of an Xvfb with openbox."""
    for program in ("Xvfb", "xdotool", "xwd", "openbox"):
        if not shutil.which(program):
            raise rt.Skip(f"{program} is not installed")
    read, write = os.pipe()
    x = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "%dx%dx24" % SCREEN, "-nolisten", "tcp"],
                         pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    wm = None
    try:
        with os.fdopen(read) as f:
            number = f.readline().strip()
        if not number:
            raise rt.Skip("Xvfb does not start here")
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
    end = time.monotonic() + seconds * rt.SLOW
    while True:
        got = test()
        if got:
            return got
        if time.monotonic() > end:
            vm.fail(f"{what}: not within {seconds * rt.SLOW:.0f} s")
        time.sleep(0.05)


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

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""VNC servers (ui/vnc.c, ui/vnc_client.c, ui/vnc_clients.c, ui/vnc_input.c, ui/vnc_picture.c) with viewers that people use: TigerVNC's and
GTK-VNC's, on a desktop of the test's own, by TCP and by unix socket. They need the password; their windows show the guest's picture, pixel for
pixel, and follow its size; keys and the pointer arrive in the guest; an order of the monitor's ends them. Skipped where they are not
installed."""
import contextlib
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

import qmp
import rheatest as rt
from desktop import (MODULES, SCRIPT, desktop, do, geometry, nearly, same_picture, screendump, until, window)

PASSWORD = "se cret"


@contextlib.contextmanager
def guest(place):
    """A machine that has not begun yet, with its server at a unix socket or a port. Yields it, QMP, the address as
    viewers want it, and a folder."""
    with tempfile.TemporaryDirectory(prefix="rhea-vnc-") as d:
        sock, unix = os.path.join(d, "qmp"), os.path.join(d, "vnc")
        vnc = (f"unix:{unix}" if place == "unix" else "127.0.0.1:0,to=999") + ",password=on"
        args = ("-vnc", vnc, "-vga", "std", "-device", "virtio-tablet-pci", "-qmp", f"unix:{sock},server=on,wait=off", "-name", "guest", "-S")
        # 791: the kernel's console is a picture of 1024 x 768, which the viewer has to follow.
        with rt.booted(MODULES, SCRIPT, "console=tty0 console=ttyS0 quiet vga=791", *args, flavour="generic") as vm:
            with contextlib.closing(qmp.Client(sock)) as q:
                q.call("set_password", protocol="vnc", password=PASSWORD)
                port = q.call("query-vnc")["service"]
                yield vm, q, unix if place == "unix" else f"127.0.0.1:{int(port) - 5900}", d


def need(program):
    if not shutil.which(program):
        raise rt.Skip(f"{program} is not installed")


@contextlib.contextmanager
def viewer(d, *command, **env):
    """It runs; its folder is the test's. Yields it, and the file with what it says."""
    with open(os.path.join(d, "said"), "w+b") as said:
        p = subprocess.Popen(command, env={**os.environ, "HOME": d, "LC_ALL": "C.UTF-8", **env}, stdin=subprocess.DEVNULL,
                             stdout=said, stderr=said)
        try:
            yield p, said
        finally:
            p.kill()
            p.wait()


def ended(vm, p):
    until(vm, "the viewer's end", lambda: p.poll() is not None)


def point(vm, w, size, top, part):
    """Clicks at a place until the guest hears of it: a viewer may tell of the pointer only after its first click."""
    x, y = int(size[0] * part), int(size[1] * part)
    want = [(3, axis, value * 0x7fff // (side - 1)) for axis, (value, side) in enumerate(((x, size[0]), (y, size[1])))]
    start = vm.seen
    for what in (*want, (1, 272, 1), (1, 272, 0)):
        vm.seen = start
        while not vm.look("tablet .{32}" + struct.pack("<HHi", *what).hex(), 1):
            do("mousemove", "--window", w, x, top + y, "click", 1)


def drive(vm, q, d, title, grows=True):
    """The viewer is connected to a machine that stands still. grows: its window follows the picture's size."""
    client = q.event("VNC_INITIALIZED")["data"]["client"]
    w = until(vm, "a window", lambda: window(title))
    until(vm, "the first picture", lambda: same_picture(q, d, w))
    first = screendump(q, d)[:2]
    q.call("cont")
    vm.expect("@@ready@@")
    size = screendump(q, d)[:2]
    menus = geometry(w)[3] - first[1]
    if not grows: # it draws smaller instead of growing, until its user makes it larger
        do("windowsize", w, size[0], size[1] + menus)
    until(vm, "the kernel's picture", lambda: same_picture(q, d, w))
    qmp.expect(size == (1024, 768) and first != size, f"the picture has changed its size: {first}, {size}")
    do("windowactivate", "--sync", w)
    _, _, wide, high = geometry(w)
    do("type", "--delay", 30, "Hello 42 (ok)")
    do("key", "Return")
    vm.expect(r"typed Hello 42 \(ok\)")
    until(vm, "the picture after typing", lambda: same_picture(q, d, w))
    for part in 0.25, 0.75:
        point(vm, w, size, high - size[1], part)
    # A window of another size: the guest's picture stays what it is, and so does what is typed.
    do("windowsize", w, wide - 100, high - 100)
    until(vm, "the new size", lambda: geometry(w)[2:] == (wide - 100, high - 100))
    do("windowactivate", "--sync", w)
    do("type", "--delay", 30, "still here")
    do("key", "Return")
    vm.expect("typed still here")
    do("windowsize", w, wide, high)
    until(vm, "the picture again", lambda: same_picture(q, d, w))
    q.call("set_password", protocol="vnc", password="other", connected="disconnect")
    gone = q.event("VNC_DISCONNECTED")["data"]["client"]
    qmp.expect(gone == client, f"{gone} is {client}")
    # Nobody looks; the guest goes on, and its end is the test's.
    q.call("x-rhea-type-text", text="the end\n")
    vm.expect("typed the end")
    vm.seen = 0
    rt.once_output(vm)


def tigervnc(place):
    need("xtigervncviewer")
    options = ("-AlertOnFatalError=0", "-ReconnectOnError=0", "-MenuKey=F12")
    with desktop(), guest(place) as (vm, q, address, d):
        with viewer(d, "xtigervncviewer", *options, address, VNC_PASSWORD="wrong") as (p, said):
            q.event("VNC_DISCONNECTED")
            ended(vm, p)
            said.seek(0)
            text = said.read().decode()
            qmp.expect("uthentication" in text and "fail" in text, f"the viewer tells of a wrong password: {text}")
        with viewer(d, "xtigervncviewer", *options, address, VNC_PASSWORD=PASSWORD) as (p, _):
            drive(vm, q, d, "TigerVNC$")
            ended(vm, p)


def viewer_tigervnc():
    tigervnc("port")


def viewer_tigervnc_unix():
    tigervnc("unix")


def gtkvnc(place):
    need("gvncviewer")
    with desktop(), guest(place) as (vm, q, address, d), viewer(d, "gvncviewer", address):
        w = until(vm, "the question for the password", lambda: window("^Authentication required"))
        do("windowactivate", "--sync", w)
        do("type", "--delay", 30, PASSWORD)
        do("key", "Return")
        drive(vm, q, d, "GVncViewer$", False)


def viewer_gtk():
    gtkvnc("port")


def viewer_gtk_unix():
    gtkvnc("unix")


def read_png(path):
    """(width, height, RGB bytes) of 8-bit RGB, perhaps with alpha, whatever its filters (PNG specification, 9)."""
    with open(path, "rb") as f:
        data = f.read()
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    qmp.expect(depth == 8 and colour in (2, 6), f"{depth} bits, colours {colour}")
    step = 3 if colour == 2 else 4
    at, packed = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + n] if kind == b"IDAT" else b""
        at += 12 + n
    raw, n, above, out = zlib.decompress(packed), width * step, bytes(width * step), []
    for y in range(height):
        kind, line = raw[y * (n + 1)], bytearray(raw[y * (n + 1) + 1:(y + 1) * (n + 1)])
        for i in range(n if kind else 0):
            left, up, corner = (line[i - step], above[i], above[i - step]) if i >= step else (0, above[i], 0)
            if kind == 4:
                a, b, c = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                more = left if a <= b and a <= c else up if b <= c else corner
            else:
                more = left if kind == 1 else up if kind == 2 else (left + up) // 2
            line[i] = line[i] + more & 255
        above = bytes(line)
        if step == 4:
            del line[3::4]
        out.append(bytes(line))
    return width, height, b"".join(out)


def viewer_capture():
    """GTK-VNC's program that makes a picture of a screen."""
    need("gvnccapture")
    with guest("port") as (vm, q, address, d):
        out = os.path.join(d, "out.png")
        q.call("cont")
        vm.expect("@@ready@@")
        pid, terminal = pty.fork() # it asks a terminal for the password
        if pid == 0:
            os.execvp("gvnccapture", ["gvnccapture", address, out])
        text = b""
        with contextlib.suppress(OSError): # the other side of the terminal is closed
            while True:
                if select.select([terminal], [], [], 1)[0]:
                    text += os.read(terminal, 1000)
                elif b"Password:" in text: # what comes before it has stopped the echo is thrown away: once more then
                    os.write(terminal, PASSWORD.encode() + b"\n")
        status = os.waitpid(pid, 0)[1]
        os.close(terminal)
        qmp.expect(status == 0, f"gvnccapture ended with {status}: {text.decode()}")
        one, two = read_png(out), screendump(q, d)
        qmp.expect(one[:2] == two[:2] == (1024, 768) and nearly(one, two), f"{one[:2]}, {two[:2]}")


if __name__ == "__main__":
    steps = ("viewer_tigervnc", "viewer_tigervnc_unix", "viewer_gtk", "viewer_gtk_unix", "viewer_capture")
    rt.main(*(globals()[n] for n in sys.argv[1:] or steps))

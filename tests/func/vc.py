#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Text consoles: the monitor and serial lines on terminals of the program's own (ui/vc.c, ui/term.c, ui/term-screen.c), which a VNC client chooses by Ctrl-Alt-N (ui/vnc_input.c) and types at."""
import contextlib
import os
import socket
import sys
import tempfile
import threading

import rheatest as rt
from display import monitor
from qmp import Client, expect
from rheatest import guest_assets
from vnc import DESKTOP_SIZE, Closed, Rfb

CTRL, ALT, ENTER = 0xffe3, 0xffe9, 0xff0d


def look(c, text, device, seconds):
    c.s.settimeout(2 * seconds * rt.SLOW)
    number = c.call("x-rhea-screen-wait", text=text, device=device, timeout=int(1000 * seconds * rt.SLOW))["id"]
    e = c.event("X_RHEA_SCREEN_WAIT")["data"]
    expect(e["id"] == number, f"{e}")
    return e


def wait(c, text, device):
    e = look(c, text, device, 100)
    expect(e["seen"], f"'{text}' on {device}: {e}")
    return e["screen"]["lines"]


class Viewer(Rfb):
    """Looks all the time, so that the server is never held up by what nobody reads."""

    def __init__(self, address):
        super().__init__(address, encodings=(0, DESKTOP_SIZE))
        self.sized = threading.Condition()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        with contextlib.suppress(Closed, OSError):
            self.update()
            while True:
                self.update(incremental=True)
                with self.sized:
                    self.sized.notify_all()

    def await_size(self, size):
        with self.sized:
            expect(self.sized.wait_for(lambda: (self.w, self.h) == size, 60 * rt.SLOW), f"{self.w} x {self.h}, not {size}")

    def close(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.s.close()


def choose(r, n):
    for down in (True, False):
        for sym in (CTRL, ALT, ord(str(n)))[::1 if down else -1]:
            r.key(sym, down)


def type_keys(r, text):
    for ch in text:
        sym = ENTER if ch == "\n" else ord(ch)
        r.key(sym, True)
        r.key(sym, False)


def type_until(c, r, text, want, device):
    """On a busy host a key may be down for so long that it repeats: then once more."""
    for _ in range(5):
        type_keys(r, text)
        e = look(c, want, device, 8)
        if e["seen"]:
            return e["screen"]["lines"]
    raise rt.Failure(f"'{want}' on {device}: {e}")


@contextlib.contextmanager
def vnc_machine(*args):
    with tempfile.TemporaryDirectory(prefix="rhea-vc-") as d, monitor() as (path, qmp):
        address = os.path.join(d, "vnc")
        with rt.Vm("-M", "pc", "-accel", "tcg", "-nic", "none", "-vnc", f"unix:{address},key-delay-ms=0", *qmp, *args, timeout=300) as vm:
            yield vm, Client(path), address


def vc_default():
    """With a viewer the serial port is on a terminal beside the card: 2 is the monitor, 3 that one."""
    with vnc_machine("-m", "32M", "-S", "-monitor", "vc", "-name", "theirs") as (_, c, address):
        names = {x["label"]: x["filename"] for x in c.call("query-chardev")}
        expect(names["compat_monitor1"] == names["serial0"] == "vc", f"{names}") # -qmp has the first number
        wait(c, "(qemu)", "compat_monitor1")
        r = Viewer(address)
        choose(r, 2)
        r.await_size((640, 384))
        lines = type_until(c, r, "info name\n", "theirs", "compat_monitor1")
        expect(any(x.endswith("info name") for x in lines), f"{lines}")
        choose(r, 1)
        r.await_size((720, 400))
        r.close()
        c.call("x-rhea-screen-text", device="serial0")
        expect("pointer" not in str(c.call("query-mice")), "no mouse of a terminal's")
    with vnc_machine("-m", "32M", "-S", "-nodefaults", "-display", "none") as (_, c, address):
        expect(not any(x["filename"] == "vc" for x in c.call("query-chardev")), "-nodefaults")


def vc_linux():
    """A guest's serial console: what it writes is seen, what is typed arrives."""
    initrd = rt.once("echo $((6 * 7)) is ready; while read line; do printf '\\033[7mit was %s\\033[0m\\n' \"$line\"; done < /dev/ttyS0")
    try:
        with vnc_machine("-m", "256M", "-vga", "none", "-monitor", "none", "-serial", "vc:100Cx30C", "-no-reboot", "-kernel",
                         rt.asset(guest_assets.kernel, "cloud"), "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet") as (_, c, address):
            wait(c, "42 is ready", "serial0")
            r = Viewer(address)
            r.await_size((800, 480))
            type_until(c, r, "typed here\n", "it was typed here", "serial0")
            r.close()
    finally:
        os.unlink(initrd)


ALL = [vc_default, vc_linux]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

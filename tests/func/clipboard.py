#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is copied on one desktop can be pasted on the other (ui/vdagent.c, ui/clipboard.c, ui/sdl.c, ui/vnc_client.c, ui/vnc_clients.c,
backends/char/upper.c): -chardev qemu-vdagent against Debian's spice-vdagent. The guest has no desktop of its own: it joins the
agent's port with another one, at whose end, on the host, the agent serves a second Xvfb. Texts go both ways between that one and the
window's, and to a VNC client; the window's pointer reaches the agent's. Skipped where the agent, xclip or Xvfb are missing."""
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile

import guest_agent
import rheatest as rt
from desktop import desktop, do, geometry, until, window

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "drivers/char/virtio_console")
JOIN = guest_agent.FIND_PORT + """a=$(find_port com.redhat.spice.0)
b=$(find_port org.test)
exec 3<>$a 4<>$b
echo @@ready@@
cat <&3 >&4 &
(while true; do cat <&4 >&3; sleep 0.1; done) & # a port that nobody is connected to ends at once
read line < /dev/ttyS0
kill %1 %2
"""
TEXT = "Zwölf Boxkämpfer\njagen «Viktor» — 漢字\n"


class Copier:
    """xclip on one display: it serves what it copied until somebody else copies."""

    def __init__(self, display):
        self.display = display

    def copy(self, text):
        subprocess.run(["xclip", "-selection", "clipboard", "-display", self.display], input=text.encode(), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def paste(self):
        p = subprocess.run(["xclip", "-o", "-selection", "clipboard", "-display", self.display], capture_output=True, check=False,
                           timeout=30 * rt.SLOW)
        return p.stdout.decode()


@contextlib.contextmanager
def agent(port, d, display):
    """Debian's agent for that display; the file that its events for the pointer go to."""
    sock, events = os.path.join(d, "session"), os.path.join(d, "events")
    with open(events, "wb"), open(os.path.join(d, "log"), "wb") as log:
        daemon = subprocess.Popen(["spice-vdagentd", "-x", "-d", "-X", "-f", "-u", events, "-s", port, "-S", sock], stdout=log, stderr=log)
        session = None
        try:
            while not os.path.exists(sock) and daemon.poll() is None:
                pass
            session = subprocess.Popen(["spice-vdagent", "-x", "-d", "-s", port, "-S", sock], stdout=log, stderr=log,
                                       env={**os.environ, "DISPLAY": display})
            yield events
        finally:
            for p in session, daemon:
                if p:
                    p.terminate()
                    p.wait()


class Viewer:
    """A VNC client that knows no encoding but raw, and looks at texts only (RFC 6143, 7.1 to 7.3, 7.5.6, 7.6.4)."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * rt.SLOW)
        self.s.connect(path)
        self.s.sendall(self.read(12))
        self.read(self.read(1)[0])
        self.s.sendall(b"\1")
        self.read(4)
        self.s.sendall(b"\1")
        self.read(struct.unpack(">20xI", self.read(24))[0])

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise rt.Failure("the VNC server has closed")
            data += more
        return data

    def copy(self, text):
        data = text.encode("latin-1")
        self.s.sendall(struct.pack(">B3xI", 6, len(data)) + data)

    def text(self):
        while True:
            kind = self.read(1)[0]
            if kind == 3:
                return self.read(struct.unpack(">3xI", self.read(7))[0]).decode("latin-1")
            if kind != 2: # a bell is one byte; nothing else was asked for
                raise rt.Failure(f"message {kind} of the VNC server")


def absolute(path):
    """The last place that the agent's pointer was sent to: struct input_event."""
    with open(path, "rb") as f:
        data = f.read()
    place = {}
    for at in range(0, len(data) - 23, 24):
        kind, code, value = struct.unpack("<16xHHi", data[at:at + 24])
        if kind == 3:
            place[code] = value
    return place.get(0), place.get(1)


def clipboard():
    for program in ("spice-vdagentd", "spice-vdagent", "xclip"):
        if not shutil.which(program):
            raise rt.Skip(f"{program} is not installed")
    with desktop():
        inside = Copier(os.environ["DISPLAY"])
        with desktop(), tempfile.TemporaryDirectory(prefix="rhea-clip-") as d:
            outside = Copier(os.environ["DISPLAY"])
            port, vnc = os.path.join(d, "port"), os.path.join(d, "vnc")
            with rt.booted(MODULES, JOIN, "quiet", "-display", "sdl", "-vga", "std", "-vnc", f"unix:{vnc}", "-device", "virtio-serial-pci",
                           "-chardev", "qemu-vdagent,id=v,clipboard=on", "-device", "virtserialport,chardev=v,name=com.redhat.spice.0",
                           "-chardev", f"pty,id=c,path={port}", "-device",
                           "virtserialport,chardev=c,name=org.test") as vm:
                vm.expect("@@ready@@")
                with agent(port, d, inside.display) as events:
                    try:
                        check(vm, inside, outside, Viewer(vnc), events)
                    except BaseException:
                        with open(os.path.join(d, "log"), encoding="utf-8", errors="replace") as f:
                            print(f.read()[-3000:])
                        raise
                vm.send("end\n")
                vm.expect("@@rhea-end 0@@")
                vm.wait(0)


def check(vm, inside, outside, viewer, events):
    w = until(vm, "a window", window)
    do("windowactivate", "--sync", w)
    do("mousemove", 0, 0)
    outside.copy(TEXT)
    do("mousemove", "--window", w, 5, 5)
    until(vm, "the host's text in the guest", lambda: inside.paste() == TEXT)
    if viewer.text() != TEXT.encode("latin-1", "replace").decode("latin-1"):
        raise rt.Failure("the viewer got another text")
    inside.copy("from the guest")
    until(vm, "the guest's text on the host", lambda: outside.paste() == "from the guest")
    if viewer.text() != "from the guest":
        raise rt.Failure("the viewer got another text")
    viewer.copy("from afar: é")
    until(vm, "the viewer's text in the guest", lambda: inside.paste() == "from afar: é")
    until(vm, "the viewer's text on the host", lambda: outside.paste() == "from afar: é")
    width, height = geometry(w)[2:]
    for x, y in (width // 4, height // 4), (width // 2, height * 3 // 4):
        do("mousemove", "--window", w, x, y)
        until(vm, "the pointer's place", lambda x=x, y=y: absolute(events)[0] is not None and
              abs(absolute(events)[0] - x) <= 1 and abs(absolute(events)[1] - y) <= 1)


if __name__ == "__main__":
    rt.main(clipboard)

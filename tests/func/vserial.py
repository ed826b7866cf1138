#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's kernel with ports of virtio serial devices (hw/virtio/virtio-serial.c, virtio-serial-port.c, backends/char):
data both ways, clients that come and go, ports that are plugged in and out, a console, and Debian's guest agent."""
import contextlib
import hashlib
import json
import os
import random
import socket
import sys
import tempfile

import guest_agent
import qmp
import rheatest as rt

PCI = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "drivers/char/virtio_console")
MMIO = ("virtio_ring", "virtio", "virtio_mmio", "drivers/char/virtio_console")
PIECE, TIMES = 4 << 20, 3
DATA = random.Random(6).randbytes(PIECE)
TALK = guest_agent.FIND_PORT + """p=$(find_port org.test)
exec 3<>$p
dd bs=64k count=%d iflag=fullblock <&3 2>/dev/null | sha256sum
for i in $(seq %d); do cat /data; done >&3
echo all written
n=0
while [ $n -lt 3 ]; do
    if read -r w <&3; then echo "answer $w" >&3; n=$((n+1)); else sleep 0.1; fi
done
exec 3>&-
echo closed
exec 3<>$p
until read -r w <&3; do sleep 0.1; done
echo "last $w"
""" % (TIMES * PIECE >> 16, TIMES)


class Line:
    """A client of a character device's socket."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(300 * rt.SLOW)
        self.s.connect(path)
        self.data = b""

    def read(self, n):
        while len(self.data) < n:
            more = self.s.recv(1 << 16)
            qmp.expect(more, "the socket has ended")
            self.data += more
        data, self.data = self.data[:n], self.data[n:]
        return data

    def until(self, word):
        while word not in self.data:
            more = self.s.recv(1 << 16)
            qmp.expect(more, f"the socket has ended before {word}: {self.data[-500:]}")
            self.data += more
        at = self.data.index(word) + len(word)
        data, self.data = self.data[:at], self.data[at:]
        return data

    def say(self, text):
        self.s.sendall(text.encode() if isinstance(text, str) else text)

    def close(self):
        self.s.close()


@contextlib.contextmanager
def guest(modules, script, *args, append="quiet", **kwargs):
    """The machine, which stands, a QMP session, and the path of a socket for a character device "c"."""
    with tempfile.TemporaryDirectory(prefix="rhea-vserial-") as d:
        path, sock = os.path.join(d, "c"), os.path.join(d, "q")
        with rt.booted(modules, script, append, "-S", "-qmp", f"unix:{sock},server=on,wait=off", "-chardev",
                       f"socket,id=c,path={path},server=on,wait=off", *args, **kwargs) as vm:
            c = qmp.Client(sock)
            c.s.settimeout(300 * rt.SLOW)
            front(c, append != "quiet")
            yield vm, c, path


def front(c, is_open):
    got = [x["frontend-open"] for x in c.call("query-chardev") if x["label"] == "c"]
    qmp.expect(got == [is_open], f"query-chardev: {got}")


def changed(c, name, is_open):
    qmp.expect(c.event("VSERPORT_CHANGE")["data"] == {"id": name, "open": is_open}, f"{name} is open: {is_open}")


def opened(c, name):
    """And it stays so meanwhile."""
    changed(c, name, True)
    front(c, True)


def fill(tree):
    with open(os.path.join(tree, "data"), "wb") as f:
        f.write(DATA)


def data(modules, controller, board):
    with guest(modules, TALK, "-device", controller, "-device", "virtserialport,id=ch,chardev=c,name=org.test", board=board,
               fill=fill) as (vm, c, path):
        line = Line(path)
        c.call("cont")
        opened(c, "ch")
        line.say(DATA * TIMES)
        vm.expect(hashlib.sha256(DATA * TIMES).hexdigest())
        for i in range(TIMES):
            qmp.expect(line.read(PIECE) == DATA, f"piece {i} of what the guest writes")
        vm.expect("all written")
        for i in range(3):  # the guest's port stays open
            line.close()
            line = Line(path)
            line.say(f"word{i}\n")
            qmp.expect(line.read(13) == f"answer word{i}\n".encode(), "the answer")
        vm.expect("closed")
        changed(c, "ch", False)
        opened(c, "ch")
        line.say("word\n")
        vm.expect("last word")
        vm.expect("@@rhea-end 0@@")
        vm.wait(0)


def vserial_pc():
    data(PCI, "virtio-serial-pci,id=virtio-serial0", "pc")


def vserial_q35():
    data(PCI, "virtio-serial-pci,packed=on,disable-legacy=on", "q35")


def vserial_legacy():
    data(PCI, "virtio-serial-pci,disable-modern=on,max_ports=4,vectors=0", "pc")


def vserial_microvm():
    data(MMIO, "virtio-serial-device", "microvm")


HOTPLUG = guest_agent.FIND_PORT + """p=$(find_port org.late)
echo "found $p"
exec 3<>$p
until read -r w <&3; do sleep 0.1; done
echo "answer $w" >&3
while [ -e /sys/class/virtio-ports/$(basename $p) ]; do sleep 0.1; done
exec 3>&-
echo gone
exec 3<>$(find_port org.again)
until read -r w <&3; do sleep 0.1; done
echo "last $w"
"""


def vserial_hotplug():
    """A port comes and goes while the guest runs, and another one takes its place."""
    with guest(PCI, HOTPLUG, "-device", "virtio-serial-pci,id=virtio-serial0") as (vm, c, path):
        c.call("cont")
        vm.expect("rhea-begin")
        where = {"driver": "virtserialport", "bus": "virtio-serial0.0", "nr": 7, "chardev": "c"}
        c.call("device_add", id="late", name="org.late", **where)
        vm.expect("found /dev/vport0p7")
        line = Line(path)
        opened(c, "late")
        line.say("word\n")
        qmp.expect(line.read(12) == b"answer word\n", "the answer")
        m = c.try_call("chardev-remove", id="c")
        qmp.expect("error" in m, f"it is in use: {m}")
        c.call("device_del", id="late")
        qmp.expect(c.event("DEVICE_DELETED")["data"]["device"] == "late", "DEVICE_DELETED")
        vm.expect("gone")
        c.call("device_add", id="again", name="org.again", **where)
        opened(c, "again")
        line.say("word\n")
        vm.expect("last word")
        vm.wait(0)


CONSOLE = """until (: </dev/hvc0) 2>/dev/null; do sleep 0.1; done
exec </dev/hvc0 >/dev/hvc0 2>&1
stty -echo
echo "shell on hvc0"
while read -r line; do eval "$line"; done
"""


def vserial_console():
    """The kernel's messages, and a shell on hvc0."""
    with guest(PCI, CONSOLE, "-device", "virtio-serial-pci", "-device", "virtconsole,id=con,chardev=c",
               append="console=hvc0") as (vm, c, path):
        line = Line(path)
        c.call("cont")
        opened(c, "con")
        line.until(b"shell on hvc0")
        line.say("echo $((6 * 7)) is it\n")
        line.until(b"42 is it")
        line.say("dmesg; echo and $((6 * 8))\n")
        text = line.until(b"and 48")
        qmp.expect(b"Linux version 6.1" in text and b"[hvc0] enabled" in text, f"the kernel's messages:\n{text[-2000:]}")
        line.say("for i in $(seq 3000); do echo line number $i of very many; done; echo and $((6 * 9))\n")
        text = line.until(b"and 54")
        lines = [w for w in text.replace(b"\r", b"").split(b"\n") if w.startswith(b"line number")]
        qmp.expect(lines == [b"line number %d of very many" % i for i in range(1, 3001)], f"{len(lines)} lines")
        line.say("poweroff -f\n")
        vm.wait(0)


def vserial_agent():
    """Debian's qemu-guest-agent, as libvirt talks to it."""
    with guest(PCI, guest_agent.RUN, "-device", "virtio-serial-pci,id=virtio-serial0", "-device",
               "virtserialport,bus=virtio-serial0.0,nr=1,chardev=c,id=channel0,name=org.qemu.guest_agent.0",
               board="q35", fill=guest_agent.fill) as (vm, c, path):
        c.call("cont")
        opened(c, "channel0")
        for number in (1234, 5678):
            line = Line(path)
            line.say(b"\xff" + json.dumps({"execute": "guest-sync", "arguments": {"id": number}}).encode() + b"\n")
            while json.loads(line.until(b"\n").strip(b"\xff")).get("return") != number:
                pass
            line.say('{"execute": "guest-ping"}\n')
            qmp.expect(json.loads(line.until(b"\n")) == {"return": {}}, "guest-ping")
            line.say('{"execute": "guest-info"}\n')
            info = json.loads(line.until(b"\n"))["return"]
            qmp.expect(info["version"].startswith("7.2"), f"the agent's version: {info['version']}")
            line.say('{"execute": "guest-shutdown"}\n') if number == 5678 else line.close()
        vm.expect(r"shutdown -h -P \+0")
        vm.wait(0)


rt.main(*(globals()[n] for n in sys.argv[1:] or ("vserial_pc", "vserial_q35", "vserial_legacy", "vserial_microvm",
                                             "vserial_hotplug", "vserial_console", "vserial_agent")))

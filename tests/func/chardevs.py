#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Character devices of a running program by QMP and the human monitor: changed, broken off, read and written as ring
buffers (backends/char/change.c, memory.c, monitor/qmp_char.c, core.c). Where a QEMU 7.2 is installed, it is asked the
same, and must answer the same."""
import os
import shutil
import socket
import subprocess
import sys

import qmp
import rheatest as rt

RING = {"type": "ringbuf", "data": {"size": 16}}
NULL = {"type": "null", "data": {}}


def peer():
    qemu = shutil.which("qemu-system-x86_64")
    version = subprocess.run([qemu, "-version"], capture_output=True, text=True, check=False).stdout if qemu else ""
    return qemu if " version 7.2." in version else None


def answer(m):
    """What a program can tell apart: the result, or the class of the error."""
    return m["return"] if "return" in m else m["error"]["class"]


# A call with its arguments, and the answer.
CALLS = [
    ("chardev-add", {"id": "r", "backend": RING}, {}),
    ("chardev-add", {"id": "r", "backend": RING}, "GenericError"),
    ("chardev-add", {"id": "odd", "backend": {"type": "ringbuf", "data": {"size": 17}}}, "GenericError"),
    ("ringbuf-write", {"device": "r", "data": "hello"}, {}),
    ("ringbuf-read", {"device": "r", "size": 3}, "hel"),
    ("ringbuf-read", {"device": "r", "size": 100}, "lo"),
    ("ringbuf-read", {"device": "r", "size": 100}, ""),
    ("ringbuf-write", {"device": "r", "data": "0123456789abcdefXYZ"}, {}),
    ("ringbuf-read", {"device": "r", "size": 4, "format": "utf8"}, "3456"),
    ("ringbuf-read", {"device": "r", "size": 4, "format": "base64"}, "Nzg5YQ=="),
    ("ringbuf-write", {"device": "r", "data": "AAH/gA==", "format": "base64"}, {}),
    ("ringbuf-read", {"device": "r", "size": 8}, "bcdefXYZ"),
    ("ringbuf-read", {"device": "r", "size": 1000, "format": "base64"}, "AAH/gA=="),
    ("ringbuf-read", {"device": "r", "size": 1000, "format": "base64"}, ""),
    ("ringbuf-write", {"device": "r", "data": "?", "format": "base64"}, "GenericError"),
    ("ringbuf-write", {"device": "r", "data": "grün ☃", "format": "utf8"}, {}),
    ("ringbuf-read", {"device": "r", "size": 16}, "grün ☃"),
    ("ringbuf-write", {"device": "r", "data": "", "format": "utf8"}, {}),
    ("ringbuf-write", {"device": "r", "data": "x", "format": "hex"}, "GenericError"),
    ("ringbuf-read", {"device": "r", "size": 0}, "GenericError"),
    ("ringbuf-read", {"device": "r", "size": -1}, "GenericError"),
    ("ringbuf-read", {"device": "r"}, "GenericError"),
    ("ringbuf-read", {"device": "nobody", "size": 1}, "GenericError"),
    ("ringbuf-write", {"device": "nobody", "data": "x"}, "GenericError"),
    ("ringbuf-read", {"device": "com", "size": 1}, "GenericError"),
    ("ringbuf-write", {"device": "com", "data": "x"}, "GenericError"),
    ("human-monitor-command", {"command-line": "ringbuf_write r text"}, ""),
    ("human-monitor-command", {"command-line": "ringbuf_read r 2"}, "te\r\n"),
    ("human-monitor-command", {"command-line": "ringbuf_read r 20"}, "xt\r\n"),
    ("ringbuf-write", {"device": "r", "data": "a\tb\\\u007fc", "format": "utf8"}, {}),
    ("human-monitor-command", {"command-line": "ringbuf_read r 20"}, "a\tb\\\\\\u007Fc\r\n"),
    ("chardev-send-break", {"id": "com"}, {}),
    ("chardev-send-break", {"id": "r"}, {}),
    ("chardev-send-break", {"id": "nobody"}, "GenericError"),
    ("human-monitor-command", {"command-line": "chardev-send-break com"}, ""),
    ("chardev-change", {"id": "nobody", "backend": NULL}, "GenericError"),
    ("chardev-change", {"id": "r", "backend": NULL}, {}),
    ("ringbuf-read", {"device": "r", "size": 1}, "GenericError"),
    ("chardev-change", {"id": "com", "backend": RING}, {}),
    ("ringbuf-read", {"device": "com", "size": 1}, ""),
    ("chardev-change", {"id": "com", "backend": {"type": "file", "data": {"out": "/nowhere/to/be/found"}}}, "GenericError"),
    ("ringbuf-read", {"device": "com", "size": 1}, ""),
    ("cont", {}, {}),
    ("chardev-change", {"id": "port", "backend": NULL}, {}),
    ("chardev-change", {"id": "con", "backend": RING}, {}),
    ("chardev-change", {"id": "shared", "backend": NULL}, "GenericError"),
    ("chardev-change", {"id": "compat_monitor0", "backend": NULL}, "GenericError"),
    ("human-monitor-command", {"command-line": "chardev-change com null"}, ""),
    ("ringbuf-read", {"device": "com", "size": 1}, "GenericError"),
    ("chardev-remove", {"id": "com"}, "GenericError"),
    ("chardev-remove", {"id": "r"}, {}),
    ("chardev-remove", {"id": "r"}, "GenericError"),
    ("device_add", {"driver": "virtserialport", "id": "late", "bus": "vs.0", "chardev": "spare", "name": "late"}, {}),
    ("chardev-remove", {"id": "spare"}, "GenericError"),
    ("device_add", {"driver": "virtserialport", "bus": "vs.0", "name": "late"}, "GenericError"),
    ("device_add", {"driver": "virtserialport", "bus": "vs.0", "nr": 0}, "GenericError"),
    ("device_add", {"driver": "virtserialport", "bus": "vs.0", "nr": 1}, "GenericError"),
    ("device_add", {"driver": "virtserialport", "bus": "vs.0", "nr": 31}, "GenericError"),
    ("device_del", {"id": "late"}, {}),
]
DEVICES = ["-chardev", "null,id=com", "-device", "isa-serial,chardev=com", "-chardev", "null,id=spare", "-device",
           "virtio-serial-pci,id=vs", "-chardev", "null,id=port", "-device", "virtserialport,chardev=port,name=p",
           "-chardev", "null,id=con", "-device", "virtconsole,chardev=con", "-chardev", "null,id=shared,mux=on"]


FRONTS = {"com": True, "spare": False, "port": False, "con": True}


def ask(binary):
    with qmp.Vm("-M", "pc", "-m", "32M", *DEVICES, binary=binary) as vm:
        c = qmp.Client(vm.path)
        fronts = {x["label"]: x["frontend-open"] for x in c.call("query-chardev")}
        return [("query-chardev", {}, {k: v for k, v in fronts.items() if k in FRONTS})] + [
            (name, args, answer(c.try_call(name, **args))) for name, args, _ in CALLS]


def compare(binary):
    wanted = [("query-chardev", {}, FRONTS)] + CALLS
    wrong = [f"{g[0]} {g[1]}: {g[2]!r}, not {w[2]!r}" for g, w in zip(ask(binary), wanted) if g != w]
    qmp.expect(not wrong, "\n".join(wrong))


def chardev_calls():
    compare(None)


def chardev_peer():
    if not peer():
        raise rt.Skip("no QEMU 7.2 is installed")
    compare(peer())


def chardev_moves():
    """A serial line that goes from one socket to another one: who was there sees the end."""
    with qmp.Vm("-M", "pc", "-m", "32M", "-chardev", "null,id=com", "-device", "isa-serial,chardev=com") as vm:
        c = qmp.Client(vm.path)
        peers = []
        for i in range(3):
            path = os.path.join(vm.dir, f"s{i}")
            addr = {"type": "unix", "data": {"path": path}}
            c.call("chardev-change", id="com", backend={"type": "socket", "data": {"addr": addr}})
            if peers:
                qmp.expect(peers[-1].recv(1) == b"", "the old connection has ended")
            qmp.expect(not os.path.exists(os.path.join(vm.dir, f"s{i - 1}")), "the old socket is gone")
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(20 * rt.SLOW)
            s.connect(path)
            peers.append(s)
        m = c.try_call("chardev-change", id="com", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": "/nowhere/to/be/found"}}}})
        qmp.expect("error" in m, f"no such place: {m}")
        peers[-1].sendall(b"still there")
        pty = c.call("chardev-change", id="com", backend={"type": "pty", "data": {}})["pty"]
        qmp.expect(os.path.exists(pty), "a terminal")
        for s in peers:
            s.close()


rt.main(*(globals()[n] for n in sys.argv[1:] or ("chardev_calls", "chardev_peer", "chardev_moves")))

# SPDX-License-Identifier: MIT
"""A network of a test's own: the script runs again in a network namespace, whose loopback, interfaces and name server nobody else
sees. Used by nettap.py, net.py and netchurn.py."""
import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import rheatest as rt

_HERE = "RHEA_OWN_NETWORK"
DOMAIN = "rhea.test"
_ADDRESSES = {1: socket.inet_aton("10.0.2.2"), 28: socket.inet_pton(socket.AF_INET6, "fec0::2")}


def ip(*args):
    subprocess.run(("ip",) + args, check=True)


def entered():
    return bool(os.environ.get(_HERE))


def enter(probe, fetch):
    """Runs this script again in a network of its own: as root, or as a user who is root there. probe: a command of the shell
    that has to work there. fetch: is called before, while packages can be had."""
    if entered():
        ip("link", "set", "lo", "up")
        return
    for how in ("-nm",), ("-rnm",):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run(["unshare", *how, "sh", "-c", probe], capture_output=True, check=False).returncode == 0:
                fetch()
                os.environ[_HERE] = "1"
                os.execvp("unshare", ["unshare", *how, sys.executable, *sys.argv])
    raise rt.Skip("what needs a network namespace is not permitted here: " + probe)


def answer(query):
    """A DNS answer (RFC 1035, 4.1): host.DOMAIN is the user-mode network's host, other names are not there."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    kind, = struct.unpack_from(">H", query, at + 1)
    known = ".".join(labels) == f"host.{DOMAIN}"
    data = _ADDRESSES.get(kind) if known else None
    flags = 0x8580 if known else 0x8583
    head = query[:2] + struct.pack(">HHHHH", flags, 1, 1 if data else 0, 0, 0) + query[12:at + 5]
    return head + (struct.pack(">HHHIH", 0xc00c, kind, 1, 60, len(data)) + data if data else b"")


def serve_names():
    """A name server of both families, until the script ends; /etc/resolv.conf leads to it. Only after enter()."""
    for family, address in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        with contextlib.suppress(OSError):  # a host without IPv6
            s = socket.socket(family, socket.SOCK_DGRAM)
            s.bind((address, 53))
            threading.Thread(target=_serve, args=(s,), daemon=True).start()
    with tempfile.NamedTemporaryFile("w", prefix="rhea-names-") as f:
        f.write("nameserver 127.0.0.1\nnameserver ::1\n")
        f.flush()
        subprocess.run(["mount", "--bind", f.name, "/etc/resolv.conf"], check=True)


def _serve(s):
    while True:
        query, sender = s.recvfrom(2000)
        s.sendto(answer(query), sender)

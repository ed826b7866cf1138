#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Commands about networks (net/options.c, net/core.c, net/announce.c, net/hub.c, tools/system/net.c, qmp_net.c, hmp_net.c), each beside the
QEMU that is installed: the same ones work, and the others fail with the same class. Back ends of every kind come and go while the
machine runs, and -nic and -net make each kind with each card."""
import os
import shutil
import subprocess
import sys
import tempfile

import qmp
import rheatest as rt
from qmp import expect

UNIX = {"type": "unix", "path": "{d}/s"}
ANNOUNCE = {"initial": 50, "max": 550, "rounds": 1, "step": 100}  # no timer: QEMU 7.2 can end when its back end goes meanwhile
# This process's own, so that no other test, whose ports the kernel chooses, is there.
OWN = f"127.{1 + (os.getpid() >> 16) % 254}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
# What differs on purpose: a name is for one card or back end, a client waits for its connection, limits are told.
CALLS = [("query-rx-filter", a) for a in ({"name": "v"}, {"name": "e"}, {"name": "n1"}, {"name": "none"})] + \
    [("set_link", {"name": name, "up": up}) for name in ("n1", "e", "v", "n2") for up in (False, True)] + \
    [("set_link", a) for a in ({"name": "none", "up": True}, {"name": "e"}, {"name": "e", "up": 1})] + \
    [("announce-self", a) for a in ({}, ANNOUNCE, {**ANNOUNCE, "interfaces": ["v", "e"], "id": "a"}, {**ANNOUNCE, "interfaces": ["none"]},
                                    {**ANNOUNCE, "id": "a"}, {**ANNOUNCE, "max": 1})] + \
    [("netdev_del", {"id": i}) for i in ("n1", "n1", "e", "none")] + [("set_link", {"name": "e", "up": True})] + \
    [("netdev_add", a) for a in (
        {"type": "user", "id": "k"}, {"type": "user", "id": "k"}, {"type": "user"}, {"id": "q"}, {"type": "user", "id": "q", "foo": 1},
        {"type": "nothing", "id": "q"}, {"type": "none", "id": "q"}, {"type": "nic", "id": "q"}, {"type": "user", "id": "1q"},
        {"type": "user", "id": "q", "net": "bad"}, {"type": "hubport", "id": "h"}, {"type": "hubport", "id": "h", "hubid": 0},
        {"type": "hubport", "id": "h2", "hubid": 0, "netdev": "none"}, {"type": "hubport", "id": "h3", "hubid": 0, "netdev": "k"},
        {"type": "stream", "id": "st", "addr": UNIX, "server": True}, {"type": "dgram", "id": "q"}, {"type": "socket", "id": "q"},
        {"type": "dgram", "id": "dg", "local": {"type": "unix", "path": "{d}/1"}, "remote": {"type": "unix", "path": "{d}/2"}},
        {"type": "socket", "id": "so", "listen": "{own}:7070"}, {"type": "tap", "id": "q", "ifname": "x", "fd": "999"},
        {"type": "bridge", "id": "q", "helper": "/bin/false"}, {"type": "l2tpv3", "id": "q", "src": "127.0.0.1", "dst": "127.0.0.1"})] + \
    [("netdev_del", {"id": i}) for i in ("st", "dg", "so", "h3", "h", "k")] + \
    [("device_add", {"driver": "e1000", "id": "e9", "netdev": i}) for i in ("n2", "none")] + [("query-rx-filter", {"name": "v"})]


def qemu():
    path = shutil.which("qemu-system-x86_64")
    if not path:
        raise rt.Skip("qemu-system-x86_64 is not installed")
    return path


def answers(binary):
    """What each call gives: True, or the class of its error."""
    with tempfile.TemporaryDirectory(prefix="rhea-net-") as d:
        with qmp.Vm("-M", "pc", "-nodefaults", "-netdev", "user,id=n1", "-netdev", "user,id=n2", "-device", "e1000,netdev=n1,id=e",
                    "-device", "virtio-net-pci,netdev=n2,id=v", binary=binary) as vm:
            c = qmp.Client(vm.path)
            if binary != rt.BIN and c.greeting["QMP"]["version"]["qemu"]["minor"] != 2:
                raise rt.Skip("the QEMU that is installed is not 7.2")
            out = []
            for name, arguments in CALLS:
                text = qmp.json.dumps(arguments).replace("{d}", d).replace("{own}", OWN)
                m = c.try_call(name, **qmp.json.loads(text))
                out.append(m["error"]["class"] if "error" in m else True)
            return out


def commands_like_qemu():
    wrong = [f"{call}: {ours}, QEMU {theirs}" for call, ours, theirs in zip(CALLS, answers(rt.BIN), answers(qemu())) if ours != theirs]
    expect(not wrong, "\n".join(wrong))


def run(*args):
    return subprocess.run([rt.BIN, "-display", "none", *args], input="quit\n", capture_output=True, text=True, check=False)


def listed(*args):
    return run(*args).stdout.splitlines()


def cards_and_kinds():
    """Each card in both older ways, each kind of back end that needs nothing of the host with a card."""
    first, *cards = listed("-nic", "model=help")
    expect(first == "Supported NIC models:" and "e1000" in cards and listed("-net", "nic,model=?") == [first, *cards], f"the cards: {cards}")
    first, *kinds = listed("-netdev", "help")
    expect(first == "Available netdev backend types:" and {"user", "tap", "stream"} <= set(kinds), f"the kinds: {kinds}")
    monitor = ("-nodefaults", "-S", "-monitor", "stdio")
    with tempfile.TemporaryDirectory(prefix="rhea-net-") as d:
        backs = ("user", "hubport,hubid=1", f"stream,addr.type=unix,addr.path={d}/s,server=on", "socket,udp=127.0.0.1:9,localaddr=127.0.0.1:0",
                 f"dgram,local.type=unix,local.path={d}/1,remote.type=unix,remote.path={d}/2", f"x-rhea-switch,name=test-{os.getpid()}")
        rows = [("-nic", f"user,model={card}") for card in cards] + [("-nic", f"{back},model=e1000,mac=52:54:00:00:00:01") for back in backs]
        rows += [("-net", f"nic,model={card}", "-net", "user") for card in cards] + \
            [("-net", "nic,model=e1000,macaddr=52:54:00:00:00:01", "-net", back) for back in backs if not back.startswith("hubport")]
        for row in rows:
            board = "microvm" if "virtio-net-device" in row[1] else "pc"
            end = run("-M", board, *row, *monitor)
            expect(end.returncode == 0 and not end.stderr, f"{row}: {end.returncode} {end.stderr}")


ALL = [commands_like_qemu, cards_and_kinds]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

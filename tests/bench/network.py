#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A virtio network card's throughput under Rhea and under an installed QEMU, in alternation: the same guest, on user-mode networking
and on a tap interface, with a server on the host: TCP out of the guest and into it, and round trips of 64 bytes. Ratios above
1: Rhea is faster. Wall time by the guest's clock; the emulators' CPU time beside it.

    tests/bench/network.py [--runs N] [--only NAME,...] [--quick] [--seconds S] [--cpu MODEL] [--card MODEL] [--rhea PROGRAM]
                       [--qemu PROGRAM|none] [--machine ...]

Everything runs in a network namespace of its own, which needs the right to make one.
"""
import os
import shlex
import socket
import struct
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../func")]  # there are two modules "disk"
import compare  # noqa: E402
import engines as en  # noqa: E402
import net as func_net  # noqa: E402
import ownnet  # noqa: E402
import rheatest as rt  # noqa: E402

NAMES = [f"{k}-{w}" for k in ("user", "tap") for w in ("send", "receive", "ping")]
UNIT, PING = 65536, 64


def flavour(card):
    return "generic" if card in func_net.CARDS else "cloud"


class Server(threading.Thread):
    """A thread of this process: it waits while the guest computes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.s = socket.create_server(("0.0.0.0", 0))
        self.port = self.s.getsockname()[1]
        self.buf = bytearray(1 << 18)
        self.start()

    def run(self):
        while True:
            c, _ = self.s.accept()
            with c:
                c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    self.serve(c)
                except ConnectionError:
                    pass # the guest's program says so

    def serve(self, c):
        what, n = struct.unpack("<QQ", c.recv(16, socket.MSG_WAITALL))
        if what == ord("s"):
            left = n * UNIT
            while left:
                left -= c.recv_into(self.buf, min(left, len(self.buf))) or sys.exit("a guest went away")
            c.sendall(b"x")
        elif what == ord("r"):
            left = n * UNIT
            while left:
                piece = min(left, len(self.buf))
                c.sendall(memoryview(self.buf)[:piece])
                left -= piece
            c.recv(1)
        else:
            for _ in range(n):
                c.sendall(c.recv(PING, socket.MSG_WAITALL))


class Bench(compare.Bench):
    def __init__(self, a, tmp):
        super().__init__(a, NAMES)
        self.tmp, self.server = tmp, Server()
        for i in range(len(self.programs)):
            ownnet.ip("tuntap", "add", f"t{i}", "mode", "tap", "vnet_hdr")
            ownnet.ip("addr", "add", f"10.77.{i}.1/24", "dev", f"t{i}")
            ownnet.ip("link", "set", f"t{i}", "up")

    def initrd(self, i):
        return compare.small_initrd(
            os.path.join(self.tmp, f"tree{i}"), os.path.join(self.tmp, f"i{i}.cpio"), flavour(self.a.card), func_net.DRIVERS[self.a.card],
            f"until test -e /sys/class/net/eth1; do sleep 0.1; done\n"
            f"ip addr add 10.0.2.15/24 dev eth0; ip addr add 10.77.{i}.2/24 dev eth1; ip link set eth0 up; ip link set eth1 up\n"
            f"export BENCH_NET_user=10.0.2.2:{self.server.port} BENCH_NET_tap=10.77.{i}.1:{self.server.port}\n"
            "/bench/bench </dev/console >/dev/console 2>&1")

    def guest(self, name, program, copy):
        i = [n for n, _ in self.programs].index(name)
        device = f"{self.a.card},addr=%d,netdev=%s"
        g = en.Guest(name, program, self.initrd(i), self.a.cpu, "512M", shlex.split(self.a.machine) + [
            "-netdev", "user,id=user", "-device", device % (4, "user"),
            "-netdev", f"tap,id=tap,ifname=t{i},script=no,downscript=no", "-device", device % (5, "tap")])
        g.args[g.args.index("-kernel") + 1] = en.guest_assets.kernel(flavour(self.a.card))
        return g

    def first(self, name):
        return 50 if name.endswith("-ping") else 100

    def cell(self, name, wall):
        n = self.units[name]
        return f"{wall / n * 1e6:>16.1f} us" if name.endswith("-ping") else f"{n * UNIT / wall / 1e6:>14.1f} MB/s"

    def run(self):
        self.measure("ab", self.a.runs)
        print(f"\n{'':<20}{'units':>9}" + "".join(f"{n:>19}" for n, _ in self.programs) + f"{'speed':>9}{'cpu':>9}", flush=True)
        self.sum_up()


def fetch(a):
    """What comes from the host's network, which the namespace does not reach."""
    en.build_program()
    with tempfile.TemporaryDirectory() as tmp:
        rt.module_tree(os.path.join(tmp, "tree"), flavour(a.card), func_net.DRIVERS[a.card])
    en.guest_assets.kernel(flavour(a.card))


def options(ap):
    ap.add_argument("--card", default="virtio-net-pci", choices=sorted(func_net.DRIVERS))


def main():
    a = compare.parse(__doc__, NAMES, options)
    ownnet.enter("ip tuntap add t0 mode tap", lambda: fetch(a))
    with tempfile.TemporaryDirectory(prefix="rhea-net-") as tmp:
        compare.print_head(a, f"{a.card}, ")
        Bench(a, tmp).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

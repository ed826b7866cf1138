#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests on interfaces of the host's (net/tap.c, net/tap-open.c, net/child.c): two on bridges that a pair of veths joins, one with
inherited descriptors (one queue, and two, also of a card with two), whose other side is a server of the host's, and one that the distribution's bridge helper
connects. All in a network namespace of the test's own: skipped where that is not permitted."""
import contextlib
import fcntl
import functools
import hashlib
import http.server
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request

import netpairs
import ownnet
import qmp
import rheatest as rt
from ownnet import ip

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x400454CA, 2, 0x1000, 0x4000, 0x100
PROBE = "ip tuntap add t0 mode tap && ip link add b0 type bridge && ip link add v0 type veth"
HELPER = "/usr/lib/qemu/qemu-bridge-helper"


def bridge(name, *ports):
    ip("link", "add", name, "type", "bridge")
    ip("link", "set", name, "up")
    for port in ports:
        ip("link", "set", port, "master", name, "up")


def tap_bridges():
    """The first interface has headers, the second has none: neither side sees what the other cannot."""
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    for i in range(2):
        bridge(f"b{i}", f"v{i}")
    with tempfile.TemporaryDirectory() as d:
        for i in range(2):
            with open(os.path.join(d, f"up{i}"), "w", opener=functools.partial(os.open, mode=0o755)) as f:
                f.write(f"#!/bin/sh\nip link set $1 master b{i} up\n")
        netpairs.pair(f"tap,id=n,ifname=g0,script={d}/up0,downscript=no",
                      f"tap,id=n,script={d}/up1,downscript=no,vnet_hdr=off,sndbuf=200000")
    if os.path.exists("/sys/class/net/g0"):
        raise rt.Failure("the interface is still there")


def open_tap(name, flags):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | flags))
    return fd


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def server(address, size):
    """A server of the host's with the file that guests fetch; its sum, and a function that fetches the guest's."""
    with tempfile.TemporaryDirectory() as d:
        data = random.Random(9).randbytes(size)
        with open(os.path.join(d, "f"), "wb") as f:
            f.write(data)
        s = http.server.ThreadingHTTPServer((address, 80), functools.partial(Quiet, directory=d))
        t = threading.Thread(target=s.serve_forever, daemon=True)
        t.start()
        try:
            yield hashlib.sha1(data).hexdigest()
        finally:
            s.shutdown()
            s.server_close()
            t.join()


def fetch(url):
    with urllib.request.urlopen(url, timeout=120 * rt.SLOW) as r:
        return hashlib.sha1(r.read()).hexdigest()


def with_host(netdev, fds=()):
    """Guest 1 and the host, which is 10.9.0.2: both fetch from each other, long TCP segments are left to the other side."""
    with server("10.9.0.2", 8 << 20) as digest, netpairs.initrd(128) as (path, _), \
            netpairs.guest(path, 1, "-netdev", netdev, pass_fds=fds) as vm:
        for fd in fds:
            os.close(fd)
        vm.expect("@@exchanged@@")
        back = fetch("http://10.9.0.1/f")
        vm.seen = 0
        vm.send("\n")
        text = rt.once_output(vm)
        rt.healthy(text.splitlines())
        if netpairs.sums(text, "got") != [digest] or netpairs.sums(text, "own") != [back]:
            raise rt.Failure(f"what came is not what was sent:\n{text}")


def tap_fds():
    for flags, queues in (0, 1), (IFF_VNET_HDR, 1), (IFF_VNET_HDR | IFF_MULTI_QUEUE, 2):
        fds = [open_tap("g1", flags) for _ in range(queues)]
        for fd in fds:
            os.set_inheritable(fd, True)
        ip("addr", "add", "10.9.0.2/24", "dev", "g1")
        ip("link", "set", "g1", "up")
        with_host(f"tap,id=n,fds={':'.join(map(str, fds))}" if queues > 1 else f"tap,id=n,fd={fds[0]}", fds)


@contextlib.contextmanager
def own_folder(path):
    """What this test writes below the path nobody else sees."""
    with tempfile.TemporaryDirectory() as d, contextlib.ExitStack() as stack:
        for target, args in (d, ("tmpfs", "none")), (path, ("overlay", "none", "-o", f"lowerdir={path},upperdir={d}/up,workdir={d}/work")):
            run = subprocess.run(["mount", "-t", *args, target], capture_output=True, text=True, check=False)
            if run.returncode:
                raise rt.Skip(f"mounts are not permitted here: {run.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", target], check=True)
            if target == d:
                os.mkdir(os.path.join(d, "up"))
                os.mkdir(os.path.join(d, "work"))
        yield


def tap_helper():
    """Debian's helper: with a bridge that it is allowed to use, and with one that it is not."""
    if not os.access(HELPER, os.X_OK) or os.geteuid() != 0:
        raise rt.Skip(f"{HELPER} is not there, or not for us")
    with own_folder("/etc"):
        os.makedirs("/etc/qemu", exist_ok=True)
        with open("/etc/qemu/bridge.conf", "w", encoding="ascii") as f:
            f.write("allow b9\n")
        bridge("b9")
        ip("addr", "add", "10.9.0.2/24", "dev", "b9")
        run = subprocess.run([rt.BIN, "-M", "none", "-netdev", "bridge,id=n,br=b8"], capture_output=True, text=True, check=False)
        if run.returncode != 1 or "ended with status 1" not in run.stderr or "bridge.conf" not in run.stderr:
            raise rt.Failure(f"a bridge that is not allowed: {run.returncode} {run.stderr}")
        with_host("bridge,id=n,br=b9")


QUEUES = """set -e
for m in %(modules)s; do insmod /lib/modules/$m.ko; done
ip link set lo up
ip addr add 10.9.0.1/24 dev eth0
ip link set eth0 up
echo features $(cat /sys/bus/virtio/devices/virtio0/features)
echo "queues $(ls /sys/class/net/eth0/queues | sort | tr '\\n' ' ')"
for cpu in 1 2; do # a mask: the first one, the second one
    taskset $cpu wget -q -O /got http://10.9.0.2/f
    echo "got $(sha1sum < /got)"
done
echo "@@exchanged %(blocks)d@@"
read line < /dev/ttyS0
""" + rt.health(stalls=False)


HASH_REPORT, RSS = 57, 60


def two_queues(hashes):
    size = 4 << 20
    fds = [open_tap("g2", IFF_VNET_HDR | IFF_MULTI_QUEUE) for _ in range(2)]
    for fd in fds:
        os.set_inheritable(fd, True)
    ip("addr", "add", "10.9.0.2/24", "dev", "g2")
    ip("link", "set", "g2", "up")
    card = [a for prop in ("mq",) + (("rss", "hash") if hashes else ()) for a in ("-global", f"virtio-net-pci.{prop}=on")]
    with server("10.9.0.2", size) as digest, netpairs.initrd(0, QUEUES) as (path, d), \
            netpairs.guest(path, 1, "-netdev", f"tap,id=n,fds={fds[0]}:{fds[1]}", "-smp", "2", *card, "-qmp",
                           f"unix:{d}/q,server=on,wait=off", pass_fds=fds) as vm:
        for fd in fds:
            os.close(fd)
        c = qmp.Client(f"{d}/q")
        vm.expect("@@exchanged 0@@")
        infos = {i["type"]: i["queues"] for i in c.call("x-rhea-query-net")}
        vm.seen = 0
        vm.send("\n")
        text = rt.once_output(vm)
    rt.healthy(text.splitlines())
    for bit in HASH_REPORT, RSS:
        qmp.expect(text.split("features ")[1][bit] == "01"[hashes], f"feature {bit}:\n{text}")
    qmp.expect("queues rx-0 rx-1 tx-0 tx-1" in text, f"the kernel's queues:\n{text}")
    qmp.expect(netpairs.sums(text, "got") == [digest] * 2, f"what came:\n{text}")
    for kind in "nic", "tap": # on a busy host a part of a flow may be acknowledged by the other CPU, and change over
        qmp.expect(len(infos[kind]) == 2 and all(q["got-bytes"] > size // 40 and q["sent-frames"] for q in infos[kind]),
                   f"both queues are used: {infos}")


def tap_queues():
    """Two queues each way on two CPUs: what one CPU asks for comes by its own queue, of the interface and of the card. Then with a
    driver that knows hashes, whose headers are longer."""
    for hashes in False, True:
        two_queues(hashes)


ALL = [tap_bridges, tap_fds, tap_queues, tap_helper]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    tests = [t for t in ALL if not wanted or t.__name__ in wanted]
    try:
        ownnet.enter(PROBE, netpairs.fetch)
    except rt.Skip as e:
        print(f"1..{len(tests)}")
        for number, t in enumerate(tests, 1):
            print(f"ok {number} - {t.__name__} # SKIP {e}")
        sys.exit(0)
    rt.main(*tests)

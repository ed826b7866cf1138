#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's cloud kernel gives memory back by its balloon driver, and reports free pages: what the guest then sees of its
memory, what the host has of it, events and statistics as libvirt asks for them. Covers hw/virtio/virtio-balloon.c,
balloon-pages.c, system/ramdiscard.c, balloon.c, monitor/qmp_balloon.c, qmp_rate.c, live properties of qmp_qom.c."""
import contextlib
import os
import re
import sys
import tempfile
import time

import qmp
import rheatest as rt
from rheatest import guest_assets

MIB = 1 << 20
ALL, SMALL, FILE = 512, 256, 380  # MiB: of the machine, of a guest with a balloon, of a file that the guest writes and removes
SLACK = 40  # MiB of memory that the program itself may take meanwhile: caches of translated code
PCI = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "drivers/virtio/virtio_balloon")
MMIO = ("virtio_ring", "virtio", "virtio_mmio", "drivers/virtio/virtio_balloon")
BALLOON = "virtio-balloon-pci,id=b0"

# Each line that is sent has the guest say how much memory it has, until that line is "end".
SCRIPT = f"""mkdir /t
mount -t tmpfs -o size={FILE + 8}m none /t
dd if=/dev/zero of=/t/f bs=1M count={FILE} 2>/dev/null
echo features $(cat /sys/bus/virtio/devices/virtio0/features)
echo @@filled@@
while read line < /dev/ttyS0 && [ "$line" != end ]; do
  [ "$line" != remove ] || rm /t/f
  [ "$line" != write ] || dd if=/dev/zero of=/t/f bs=1M count=300 2>/dev/null
  echo memory $(sed -n 's/^Mem[TF][a-z]*: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) done
done
"""


class Guest:
    """A guest that has written all its memory once; c: its monitor."""

    def __init__(self, vm, c):
        self.vm, self.c = vm, c
        self.features = vm.expect(r"features ([01]{64})").group(1).decode()
        vm.expect("@@filled@@")

    def memory(self, line="show"):
        """MiB in all, and free, as the guest sees it."""
        self.vm.send(line + "\n")
        m = self.vm.expect(r"memory (\d+) (\d+) done")
        return int(m.group(1)) // 1024, int(m.group(2)) // 1024

    def rss(self):
        """MiB that the program has of the host's memory."""
        with open(f"/proc/{self.vm.p.pid}/smaps_rollup") as f:
            return int(re.search(r"^Rss: *(\d+) kB", f.read(), re.M).group(1)) // 1024

    def wait_rss(self, most):
        while self.rss() > most:
            if time.monotonic() > self.vm.deadline:
                self.vm.fail(f"the program has {self.rss()} MiB of memory, not {most} or less")
            time.sleep(0.2)

    def wait_actual(self, mib):
        """The event that tells of so much; those before it tell of the way there."""
        while True:
            actual = self.c.event("BALLOON_CHANGE")["data"]["actual"]
            qmp.expect(0 < actual <= ALL * MIB and actual % 4096 == 0, f"an amount of memory: {actual}")
            if actual == mib * MIB:
                qmp.expect(self.c.call("query-balloon") == {"actual": actual}, "query-balloon says what the event says")
                return

    def get(self, name):
        return self.c.call("qom-get", path="/machine/peripheral/b0", property=name)

    def stats(self, after):
        """The guest's statistics, later ones than that."""
        while True:
            s = self.get("guest-stats")
            if s["last-update"] > after:
                return s
            if time.monotonic() > self.vm.deadline:
                self.vm.fail(f"no statistics after {after}: {s}")
            time.sleep(0.2)

    def end(self):
        self.vm.send("end\n")
        self.vm.seen = 0
        rt.healthy(rt.once_output(self.vm).splitlines())


@contextlib.contextmanager
def guest(device, *args, modules=PCI, board="pc", accel="tcg"):
    with tempfile.TemporaryDirectory(prefix="rhea-balloon-") as d:
        tree, sock = os.path.join(d, "tree"), os.path.join(d, "qmp")
        rt.module_tree(tree, "cloud", modules)
        names = " ".join(m.split("/")[-1] for m in modules)
        initrd = rt.once(f"set -e\nfor m in {names}; do insmod /lib/modules/$m.ko; done\n{SCRIPT}{rt.HEALTH}", tree)
        try:
            with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-device", device, *args, "-qmp",
                          f"unix:{sock},server=on,wait=off", board=board, accel=accel, mem=f"{ALL}M", timeout=300) as vm:
                c = qmp.Client(sock)
                c.s.settimeout(300 * rt.SLOW)
                yield Guest(vm, c)
        finally:
            os.unlink(initrd)


def down_and_up(g):
    """The guest's memory goes to the half, and comes back."""
    full = g.memory("remove")
    before = g.rss()
    g.c.call("balloon", value=SMALL * MIB)
    g.wait_actual(SMALL)
    qmp.expect(g.c.call("human-monitor-command", command_line="info balloon") == f"balloon: actual={SMALL}\r\n", "info balloon")
    little = g.memory()
    qmp.expect(full[0] - little[0] == ALL - SMALL, f"MemTotal was {full[0]} MiB, and is {little[0]}")
    # What of these pages the guest had never written was not the host's to get back.
    gone = before - g.rss()
    qmp.expect(gone > ALL - SMALL - (ALL - FILE) - SLACK, f"the host got {gone} MiB back")
    qmp.expect(g.c.call("human-monitor-command", command_line=f"balloon {ALL}") == "", "the human monitor's balloon")
    g.wait_actual(ALL)
    qmp.expect(g.memory()[0] == full[0], "MemTotal is what it was")
    return f"{before} MiB, {gone} of them given back"


def balloon_pc():
    with guest(BALLOON) as g:
        note = down_and_up(g)
        qmp.expect(g.features[32] == "1" and g.features[:6] == "010000", f"features {g.features}")  # no page poison: it has none
        g.end()
    return note


def balloon_legacy():
    with guest(BALLOON + ",disable-modern=on") as g:
        qmp.expect(g.features[32] == "0", f"virtio 1.0: {g.features}")
        down_and_up(g)
        g.end()


def balloon_q35_memfd():
    """Packed rings, a port of PCI Express, memory that other processes may share."""
    with guest("pcie-root-port,id=p0", "-device", "virtio-balloon-pci-non-transitional,id=b0,bus=p0,packed=on", "-object",
               f"memory-backend-memfd,id=m,size={ALL}M", "-machine", "memory-backend=m", board="q35") as g:
        qmp.expect(g.features[34] == "1", f"no packed ring: {g.features}")
        down_and_up(g)
        g.end()


def balloon_file():
    """A file: what the guest gives away becomes holes. In memory: on a disk the file system may fill holes beside pages
    that are written again, and makes each of them by itself."""
    where = "/dev/shm"
    if not os.path.isdir(where) or os.statvfs(where).f_bavail * os.statvfs(where).f_bsize < 2 * ALL * MIB:
        raise rt.Skip(f"{where} has not {2 * ALL} MiB")
    with tempfile.TemporaryDirectory(prefix="rhea-balloon-mem-", dir=where) as d:
        path = os.path.join(d, "mem")
        with guest(BALLOON, "-object", f"memory-backend-file,id=m,size={ALL}M,share=on,mem-path={path}", "-machine",
                   "memory-backend=m") as g:
            g.memory("remove")
            before = os.stat(path).st_blocks // 2048
            g.c.call("balloon", value=SMALL * MIB)
            g.wait_actual(SMALL)
            gone = before - os.stat(path).st_blocks // 2048
            qmp.expect(gone > ALL - SMALL - (ALL - FILE) - SLACK, f"of {before} MiB {gone} became holes")
            g.end()


def balloon_microvm():
    with guest("virtio-balloon-device,id=b0", modules=MMIO, board="microvm") as g:
        down_and_up(g)
        g.end()


def balloon_oom():
    """A guest that would end programs for the lack of memory takes it back."""
    with guest(BALLOON + ",deflate-on-oom=on") as g:
        full = g.memory("remove")
        g.c.call("balloon", value=192 * MIB)
        g.wait_actual(192)
        qmp.expect(g.memory()[0] == full[0], "it is still the guest's memory")
        g.memory("write")
        actual = g.c.call("query-balloon")["actual"]
        qmp.expect(actual > 280 * MIB, f"a file of 300 MiB, and the balloon leaves {actual >> 20} MiB")
        g.end()


def balloon_stats():
    with guest(BALLOON) as g:
        names = {p["name"]: p["type"] for p in g.c.call("qom-list", path="/machine/peripheral/b0")}
        qmp.expect(names.get("guest-stats-polling-interval") == "int" and "guest-stats" in names, f"properties: {names}")
        qmp.expect(g.get("guest-stats-polling-interval") == 0, "nobody polls")
        first = g.stats(0)  # of the driver's beginning
        g.c.call("qom-set", path="/machine/peripheral/b0", property="guest-stats-polling-interval", value=1)
        qmp.expect(g.get("guest-stats-polling-interval") == 1, "the interval")
        total, free = g.memory("remove")
        old = g.stats(first["last-update"])
        now = g.stats(old["last-update"])
        stats = {k: v for k, v in now["stats"].items() if v != 2**64 - 1}
        qmp.expect(stats["stat-total-memory"] // MIB == total, f"{total} MiB: {stats}")
        qmp.expect(abs(stats["stat-free-memory"] // MIB - free) < 32, f"{free} MiB free: {stats}")
        qmp.expect(stats["stat-minor-faults"] > 1000 and stats["stat-available-memory"] > 0, f"counters: {stats}")
        g.c.call("qom-set", path="/machine/peripheral/b0", property="guest-stats-polling-interval", value=0)
        g.end()
    return f"{len(stats)} of {len(now['stats'])} statistics"


def free_page_reporting():
    """Nobody asks the guest: it gives back what it frees."""
    with guest(BALLOON + ",free-page-reporting=on") as g:
        qmp.expect(g.features[5] == "1", f"no reporting: {g.features}")
        before = g.rss()
        g.memory("remove")
        g.wait_rss(before - FILE + 2 * SLACK)
        after = g.rss()
        g.memory("write")  # the pages come back as zeros
        qmp.expect(g.rss() > after + 200, f"{g.rss()} MiB after a file was written, {after} before")
        g.end()
    return f"{before} MiB before, {after} after"


def qmp_balloon():
    """Without a guest: what programs ask, and what they are told when there is nothing to ask."""
    def error(c, name, **arguments):
        return c.try_call(name, **arguments)["error"]

    with qmp.Vm("-M", "pc", "-m", "64M") as vm:
        c = qmp.Client(vm.path)
        for name, arguments in (("query-balloon", {}), ("balloon", {"value": 32 * MIB})):
            qmp.expect(error(c, name, **arguments)["class"] == "DeviceNotActive", f"{name}: a class that libvirt knows")
        qmp.expect("virtio-balloon" in c.call("human-monitor-command", command_line="info balloon"), "info balloon names the device")
        c.call("quit")
    with qmp.Vm("-M", "q35", "-m", "64M", "-device", "virtio-balloon-pci,id=b0") as vm:
        c = qmp.Client(vm.path)
        at = {"path": "/machine/peripheral/b0"}
        qmp.expect(c.call("query-balloon") == {"actual": 64 * MIB}, "no driver: all is the guest's")
        c.call("balloon", value=32 * MIB)
        qmp.expect(c.call("query-balloon") == {"actual": 64 * MIB}, "it was only asked for")
        qmp.expect(error(c, "balloon", value=0)["class"] == "GenericError", "a guest without memory")
        listed = {p["name"]: p["type"] for p in c.call("qom-list", **at)}
        of_type = {p["name"]: p["type"] for p in c.call("device-list-properties", typename="virtio-balloon-pci")}
        for names in (listed, of_type):
            qmp.expect(names.get("guest-stats-polling-interval") == "int" and "guest-stats" in names, f"live properties: {names}")
        stats = c.call("qom-get", property="guest-stats", **at)
        qmp.expect(stats["last-update"] == 0 and set(stats["stats"].values()) == {2**64 - 1} and len(stats["stats"]) == 10,
                   f"nobody told anything: {stats}")
        c.call("qom-set", property="guest-stats-polling-interval", value=5, **at)
        qmp.expect(c.call("qom-get", property="guest-stats-polling-interval", **at) == 5, "the interval")
        for value in (-1, 2**32, "x", {}, None):
            e = error(c, "qom-set", property="guest-stats-polling-interval", value=value, **at)
            qmp.expect(e["data"]["member"] == "value", f"{value!r} is refused: {e}")
        qmp.expect("only read" in error(c, "qom-set", property="guest-stats", value={}, **at)["desc"], "statistics are the guest's")
        qmp.expect("cannot change" in error(c, "qom-set", property="page-poison", value=False, **at)["desc"], "others are fixed")
        c.call("quit")


rt.main(*(globals()[n] for n in sys.argv[1:] or ("balloon_pc", "balloon_legacy", "balloon_q35_memfd", "balloon_file", "balloon_microvm",
                                                 "balloon_oom", "balloon_stats", "free_page_reporting", "qmp_balloon")))

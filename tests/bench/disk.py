#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A virtio disk's throughput under Rhea and under an installed QEMU, in alternation: the same guest on copies of the same raw
and qcow2 images, sequential (64 KiB) and random (4 KiB) reads and writes, 1 and 32 at a time. Ratios above 1: Rhea is
faster. Wall time by the guest's clock; the emulators' CPU time beside it.

    tests/bench/disk.py [--runs N] [--only NAME,...] [--quick] [--seconds S] [--cpu MODEL] [--size MIB] [--folder DIR]
                        [--rhea PROGRAM] [--qemu PROGRAM|none] [--drive OPTIONS] [--device OPTIONS] [--machine ...]

--drive and --device add options to both, e.g. --drive cache=none,aio=native. What the guest reads is checked there.
"""
import argparse
import os
import shlex
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../func"))
import engines as en  # noqa: E402
import rheatest as rt  # noqa: E402
import suite  # noqa: E402

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
NAMES = [f"{k}-{p}-{d}-{q}" for k in ("raw", "qcow2") for p in ("seq", "rand") for d in ("read", "write") for q in (1, 32)]
IMG = os.path.join(os.path.dirname(suite.RHEA), "../img/rhea-img")


def initrd(tmp):
    tree = os.path.join(tmp, "tree")
    rt.module_tree(tree, "cloud", MODULES)
    en.small_tree(tree)
    return en.guest_assets.initramfs(os.path.join(tmp, "i.cpio"), "cd /tmp\n" + "".join(
        f"insmod /lib/modules/{m}.ko\n" for m in MODULES) + "until test -e /dev/vdb; do sleep 0.1; done\n"
        "for d in vda vdb; do echo none > /sys/block/$d/queue/scheduler; done\n"
        "/bench/bench --disks </dev/console >/dev/console 2>&1", tree)


def make_images(folder, size):
    """A raw image each of whose pages begins with its number, that as qcow2, and two copies of both, brought to the disk and
    read again: in how large pieces the page cache has a file decides the time of writes to it. A quarter can be between two
    copies all the same; so the emulators change places half way."""
    first = os.path.join(folder, "first.raw")
    with open(first, "wb") as f:
        for start in range(0, size // 4096, 256):
            f.write(b"".join(struct.pack("<Q", n) + b"\x5a" * 4088 for n in range(start, start + 256)))
    subprocess.run([IMG, "convert", "-f", "raw", "-O", "qcow2", first, os.path.join(folder, "first.qcow2")], check=True)
    for form in ("raw", "qcow2"):
        one = os.path.join(folder, f"first.{form}")
        for name in "ab":
            shutil.copyfile(one, os.path.join(folder, f"{name}.{form}"))
        os.unlink(one)
        for name in "ab":
            with open(os.path.join(folder, f"{name}.{form}"), "rb") as f:
                os.fsync(f.fileno())
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while f.read(1 << 20):
                    pass


class Bench:
    def __init__(self, a, tmp, folder):
        self.a, self.folder, self.initrd = a, folder, initrd(tmp)
        self.programs = [(n, p) for n, p in (("rhea", a.rhea), ("qemu", a.qemu)) if p]
        self.names = [n for n in NAMES if not a.only or n in a.only]
        self.guests, self.units = [], {}
        self.got = {n: {p: [] for p, _ in self.programs} for n in self.names}

    def guest(self, name, program, copy):
        more = "," + self.a.drive if self.a.drive else ""
        device = "virtio-blk-pci" + ("," + self.a.device if self.a.device else "")
        extra = shlex.split(self.a.machine)
        for form in ("raw", "qcow2"):
            extra += ["-drive", f"file={self.folder}/{copy}.{form},format={form},if=none,id={form}{more}",
                      "-device", f"{device},drive={form}"]
        return en.Guest(name, program, self.initrd, self.a.cpu, "512M", extra)

    def first(self, name):
        """Units to begin with."""
        return 400 if "-seq-" in name else 1000

    def cell(self, name, wall):
        """What a median says, in columns."""
        n = self.units[name]
        return f"{n * (65536 if '-seq-' in name else 4096) / wall / 1e6:>10.1f}{n / wall / 1e3:>9.2f}"

    def enough(self, name):
        n = self.first(name)
        for _ in range(8):
            longest = max(g.ask(f"run {name} {n} 1", 300)["wall"] for g in self.guests)
            if longest >= 0.7 * self.a.seconds:
                break
            n = round(n * min(20, max(1.3, self.a.seconds / longest)))
        return n

    def measure(self, copies, runs):
        try:
            for (name, program), copy in zip(self.programs, copies):
                self.guests.append(self.guest(name, program, copy))
            for name in self.names:
                if name not in self.units:
                    self.units[name] = self.enough(name)
                for _ in range(runs):
                    for g in self.guests:
                        self.got[name][g.name].append(g.ask(f"run {name} {self.units[name]} 1", 300))
                print(".", end="", file=sys.stderr, flush=True)
        finally:
            for g in self.guests:
                g.close()
            self.guests = []

    def row(self, name):
        got = self.got[name]
        line, ratios = f"{name:<20}{self.units[name]:>9}", []
        for samples in got.values():
            line += self.cell(name, statistics.median(s["wall"] for s in samples))
        for what in ("wall", "cpu"):
            if len(got) == 2:
                ratios.append(statistics.median(q[what] / r[what] for r, q in zip(got["rhea"], got["qemu"])))
                line += f"{ratios[-1]:>9.2f}"
        print(line, flush=True)
        return ratios

    def run(self):
        self.measure("ab", (self.a.runs + 1) // 2)
        if self.a.runs > 1:
            self.measure("ba", self.a.runs // 2)
        print(f"\n{'':<20}{'requests':>9}" + "".join(f"{n + ' MB/s':>10}{'kIOPS':>9}" for n, _ in self.programs) +
              f"{'speed':>9}{'cpu':>9}", flush=True)
        self.sum_up()

    def sum_up(self):
        rows = {n: self.row(n) for n in self.names}
        if len(self.programs) == 2:
            for k, what in enumerate(("speed", "CPU time")):
                values = [r[k] for r in rows.values()]
                print(f"{what}: geometric mean {suite.geomean(values):.2f}, lowest {min(values):.2f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=6)
    ap.add_argument("--only", help="names of rows, separated by commas: " + ", ".join(NAMES))
    ap.add_argument("--quick", action="store_true", help="one short run of each")
    ap.add_argument("--seconds", type=float, default=2.0, help="time the slower emulator shall take for a run")
    ap.add_argument("--cpu", default="max")
    ap.add_argument("--size", type=int, default=512, help="MiB of an image")
    ap.add_argument("--folder", help="where the images are made; a temporary one if not given")
    ap.add_argument("--rhea", default=suite.RHEA)
    ap.add_argument("--qemu", default=shutil.which("qemu-system-x86_64"))
    ap.add_argument("--drive", default="", help="further options of -drive, for both")
    ap.add_argument("--device", default="", help="further options of -device, for both")
    ap.add_argument("--machine", default="", help="further arguments, for both")
    a = ap.parse_args()
    a.only = set(a.only.split(",")) if a.only else None
    if a.only and a.only - set(NAMES):
        ap.error(f"no such row: {sorted(a.only - set(NAMES))[0]}")
    if a.quick:
        a.runs, a.seconds = 1, 0.5
    a.qemu = None if a.qemu == "none" else a.qemu
    with tempfile.TemporaryDirectory(prefix="rhea-disk-", dir=a.folder) as tmp:
        print(f"rhea: {suite.version(a.rhea)}\nqemu: {suite.version(a.qemu) if a.qemu else 'none'}\ncpu model {a.cpu}, {a.runs} "
              f"runs, load {os.getloadavg()[0]:.1f}, options '{a.drive}' '{a.device}' '{a.machine}'")
        make_images(tmp, a.size << 20)
        Bench(a, tmp, tmp).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

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
    """A raw image each of whose pages begins with its number, that as qcow2, and two copies of both. Nobody works on what was
    written otherwise: how large the pieces are that a file was written in shows in the time of small writes for as long as
    the page cache holds it."""
    first = os.path.join(folder, "first.raw")
    with open(first, "wb") as f:
        for start in range(0, size // 4096, 256):
            f.write(b"".join(struct.pack("<Q", n) + b"\x5a" * 4088 for n in range(start, start + 256)))
    subprocess.run([IMG, "convert", "-f", "raw", "-O", "qcow2", first, os.path.join(folder, "first.qcow2")], check=True)
    for form in ("raw", "qcow2"):
        one = os.path.join(folder, f"first.{form}")
        for name in ("rhea", "qemu"):
            shutil.copyfile(one, os.path.join(folder, f"{name}.{form}"))
        os.unlink(one)


class Bench:
    def __init__(self, a, tmp, folder):
        self.a = a
        image = initrd(tmp)
        self.guests = [self.guest(n, p, image, folder) for n, p in (("rhea", a.rhea), ("qemu", a.qemu)) if p]

    def guest(self, name, program, image, folder):
        more = "," + self.a.drive if self.a.drive else ""
        device = "virtio-blk-pci" + ("," + self.a.device if self.a.device else "")
        extra = shlex.split(self.a.machine)
        for form in ("raw", "qcow2"):
            extra += ["-drive", f"file={folder}/{name}.{form},format={form},if=none,id={form}{more}",
                      "-device", f"{device},drive={form}"]
        return en.Guest(name, program, image, self.a.cpu, "512M", extra)

    def units(self, name):
        n = 400 if "-seq-" in name else 1000
        for _ in range(8):
            longest = max(g.ask(f"run {name} {n} 1", 300)["wall"] for g in self.guests)
            if longest >= 0.7 * self.a.seconds:
                break
            n = round(n * min(20, max(1.3, self.a.seconds / longest)))
        return n

    def row(self, name):
        n, got = self.units(name), {g.name: [] for g in self.guests}
        for _ in range(self.a.runs):
            for g in self.guests:
                got[g.name].append(g.ask(f"run {name} {n} 1", 300))
        unit = 65536 if "-seq-" in name else 4096
        line, ratios = f"{name:<20}{n:>9}", []
        for g in self.guests:
            wall = statistics.median(s["wall"] for s in got[g.name])
            line += f"{n * unit / wall / 1e6:>10.1f}{n / wall / 1e3:>9.2f}"
        for what in ("wall", "cpu"):
            if len(self.guests) == 2:
                ratios.append(statistics.median(q[what] / r[what] for r, q in zip(got["rhea"], got["qemu"])))
                line += f"{ratios[-1]:>9.2f}"
        print(line, flush=True)
        return ratios

    def run(self):
        print(f"{'':<20}{'requests':>9}" + "".join(f"{g.name + ' MB/s':>10}{'kIOPS':>9}" for g in self.guests) +
              f"{'speed':>9}{'cpu':>9}", flush=True)
        try:
            rows = {n: self.row(n) for n in NAMES if not self.a.only or n in self.a.only}
        finally:
            for g in self.guests:
                g.close()
        if len(self.guests) == 2:
            for k, what in enumerate(("speed", "CPU time")):
                values = [r[k] for r in rows.values()]
                print(f"{what}: geometric mean {suite.geomean(values):.2f}, lowest {min(values):.2f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=5)
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

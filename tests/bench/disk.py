#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A virtio disk's throughput under Rhea and under an installed QEMU, in alternation: the same guest on copies of the same raw
and qcow2 images, sequential (64 KiB) and random (4 KiB) reads and writes, 1 and 32 at a time. Ratios above 1: Rhea is
faster. Wall time by the guest's clock; the emulators' CPU time beside it.

    tests/bench/disk.py [--runs N] [--only NAME,...] [--quick] [--seconds S] [--cpu MODEL] [--size MIB] [--folder DIR]
                        [--rhea PROGRAM] [--qemu PROGRAM|none] [--drive OPTIONS] [--device OPTIONS] [--machine ...]

--drive and --device add options to both, e.g. --drive cache=none,aio=native. What the guest reads is checked there.
"""
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../func")]  # there are two modules "disk"
import compare  # noqa: E402
import engines as en  # noqa: E402
import suite  # noqa: E402

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
NAMES = [f"{k}-{p}-{d}-{q}" for k in ("raw", "qcow2") for p in ("seq", "rand") for d in ("read", "write") for q in (1, 32)]
IMG = os.path.join(os.path.dirname(suite.RHEA), "../img/rhea-img")


def initrd(tmp):
    return compare.small_initrd(
        os.path.join(tmp, "tree"), os.path.join(tmp, "i.cpio"), "cloud", MODULES,
        "until test -e /dev/vdb; do sleep 0.1; done\n"
        "for d in vda vdb; do echo none > /sys/block/$d/queue/scheduler; done\n"
        "/bench/bench --disks </dev/console >/dev/console 2>&1")


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


class Bench(compare.Bench):
    def __init__(self, a, tmp, folder):
        super().__init__(a, NAMES)
        self.folder, self.initrd = folder, initrd(tmp)

    def guest(self, name, program, copy):
        more = "," + self.a.drive if self.a.drive else ""
        device = "virtio-blk-pci" + ("," + self.a.device if self.a.device else "")
        extra = shlex.split(self.a.machine)
        for form in ("raw", "qcow2"):
            extra += ["-drive", f"file={self.folder}/{copy}.{form},format={form},if=none,id={form}{more}",
                      "-device", f"{device},drive={form}"]
        return en.Guest(name, program, self.initrd, self.a.cpu, "512M", extra)

    def first(self, name):
        return 400 if "-seq-" in name else 1000

    def cell(self, name, wall):
        n = self.units[name]
        return f"{n * (65536 if '-seq-' in name else 4096) / wall / 1e6:>10.1f}{n / wall / 1e3:>9.2f}"

    def run(self):
        self.measure("ab", (self.a.runs + 1) // 2)
        if self.a.runs > 1:
            self.measure("ba", self.a.runs // 2)
        print(f"\n{'':<20}{'requests':>9}" + "".join(f"{n + ' MB/s':>10}{'kIOPS':>9}" for n, _ in self.programs) +
              f"{'speed':>9}{'cpu':>9}", flush=True)
        self.sum_up()


def options(ap):
    ap.add_argument("--size", type=int, default=512, help="MiB of an image")
    ap.add_argument("--folder", help="where the images are made; a temporary one if not given")
    ap.add_argument("--drive", default="", help="further options of -drive, for both")
    ap.add_argument("--device", default="", help="further options of -device, for both")


def main():
    a = compare.parse(__doc__, NAMES, options)
    with tempfile.TemporaryDirectory(prefix="rhea-disk-", dir=a.folder) as tmp:
        compare.print_head(a, f"drives '{a.drive}', devices '{a.device}', ")
        make_images(tmp, a.size << 20)
        Bench(a, tmp, tmp).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SeaBIOS boots a sector from an IDE disk, which reads and writes others by INT 13h: raw and qcow2 images, -snapshot,
a second disk, AHCI, NBD, the order of bootindex (hw/ide/, backends/block/, tools/system/drives.c, system/bootorder.c)."""

import os
import signal
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
BIN = os.path.join(BUILD, "tools/system/rhea-system-x86_64")
IMG = os.path.join(BUILD, "tools/img/rhea-img")
NBD = os.path.join(BUILD, "tools/nbd/rhea-nbd")
TEXT = b"sector eight of the disk\n"


def boot_sector():
    """Prints sector 8 on COM1, writes it to sector 5 of the same disk, ends with status 33 (or 35 for an error)."""
    code = bytes.fromhex("31c08ed88ec08ed0bc007c"  # data and stack below 7c00h
                         "be407cb442cd137223"      # extended read by the packet at 7c40h
                         "52be0080ac84c07406baf803eeebf55a"
                         "be507cb80043cd137209"    # extended write by the one at 7c50h
                         "b010baf400eef4ebfd"
                         "b011baf400eef4ebfd")
    assert len(code) <= 0x40
    read = struct.pack("<BBHHHQ", 16, 0, 1, 0x8000, 0, 8)
    write = struct.pack("<BBHHHQ", 16, 0, 1, 0x8000, 0, 5)
    return (code.ljust(0x40, b"\0") + read + write).ljust(510, b"\0") + b"\x55\xaa"


def image(path):
    with open(path, "wb") as f:
        f.write(boot_sector())
        f.seek(8 * 512)
        f.write(TEXT)
        f.truncate(1 << 20)


def run(*args):
    p = subprocess.run([BIN, "-display", "none", "-serial", "stdio", "-monitor", "none", "-device",
                        "isa-debug-exit,iobase=0xf4,iosize=4", *args], stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=60)
    assert p.returncode == 33 and TEXT in p.stdout, (args, p.returncode, p.stdout[-300:], p.stderr)


def sector5(path):
    with open(path, "rb") as f:
        f.seek(5 * 512)
        return f.read(len(TEXT))


def bootindex(d):
    """Of three disks that could boot, SeaBIOS takes the one with the smallest bootindex."""
    names = ("ide0", "ide1", "virtio")
    args, cases = [], []
    for n in names:
        path = os.path.join(d, n)
        args += ["-drive", f"file={path},format=raw,if=none,id={n}"]
    for order in ((0, 1, 2), (2, 1, 3), (3, 7, 1)):
        devices = []
        for n, index in zip(names, order):
            image(os.path.join(d, n))
            driver = "virtio-blk-pci" if n == "virtio" else "ide-hd"
            devices += ["-device", f"{driver},drive={n},bootindex={index}"]
        run(*args, *devices)
        booted = [n for n in names if sector5(os.path.join(d, n)) == TEXT]
        cases.append((f"bootindex {order}", booted == [names[order.index(min(order))]]))
    return cases


def main():
    with tempfile.TemporaryDirectory() as d:
        raw, qcow2, out = (os.path.join(d, n) for n in ("a.raw", "a.qcow2", "out.raw"))
        cases = []
        image(raw)
        subprocess.run([IMG, "convert", "-O", "qcow2", raw, qcow2], check=True)
        run("-snapshot", "-drive", f"file={raw},format=raw")
        cases.append(("-snapshot changes nothing", sector5(raw) == bytes(len(TEXT))))
        run("-drive", f"file={raw},format=raw")
        cases.append(("raw", sector5(raw) == TEXT))
        run("-hda", qcow2)
        subprocess.run([IMG, "check", qcow2], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([IMG, "convert", "-O", "raw", qcow2, out], check=True)
        cases.append(("qcow2", sector5(out) == TEXT))
        image(raw)
        run("-blockdev", f"raw,node-name=n,file.driver=file,file.filename={raw}", "-device",
            "ide-hd,drive=n,bus=ide.1,unit=1,serial=x")
        cases.append(("-blockdev, the last place", sector5(raw) == TEXT))
        image(raw)
        run("-M", "q35", "-drive", f"file={raw},format=raw")
        cases.append(("q35: the first AHCI port", sector5(raw) == TEXT))
        image(raw)
        served, pid = os.path.join(d, "served"), os.path.join(d, "pid")
        for fmt in ("raw", "qcow2"):  # behind NBD; a qcow2 image in the export is found by its content
            subprocess.run([IMG, "convert", "-O", fmt, raw, served], check=True)
            with open(served, "r+b") as f:
                f.truncate(4 << 20)
            subprocess.run([NBD, "--fork", "-t", "-f", "raw", "-k", os.path.join(d, "s"), "--pid-file", pid, served], check=True)
            with open(pid, encoding="ascii") as f:
                server = int(f.read())
            try:
                run("-drive", f"file=nbd+unix:///?socket={os.path.join(d, 's')}" + (",format=raw" if fmt == "raw" else ""))
            finally:
                os.kill(server, signal.SIGTERM)
            while os.path.exists(pid):  # it goes after the server's locks
                time.sleep(0.01)
            subprocess.run([IMG, "convert", "-f", fmt, "-O", "raw", served, out], check=True)
            cases.append((f"{fmt} behind NBD", sector5(out) == TEXT))
        cases += bootindex(d)
    for i, (name, ok) in enumerate(cases):
        print(f"{'ok' if ok else 'not ok'} {i + 1} - {name}")
    print(f"1..{len(cases)}")
    return 0 if all(ok for _, ok in cases) else 1


sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Floppy disks with real software (hw/block/fdc.c, fdc-data.c, floppy.c): SeaBIOS boots a sector that reads and writes
others on pc and q35, GRUB boots and reads the last track, Linux reads, writes, and sees media change."""
import hashlib
import os
import struct
import subprocess
import sys
import tempfile

import rheatest as rt
from cdrom import Hmp, tool
from rheatest import guest_assets

TEXT = b"words of the last track\n"


def chs(cylinder, head, sector):
    return struct.pack("<BBB", sector, cylinder, 0xba) + struct.pack("<BB", 0, head)


def boot_sector(read, write):
    """Prints a sector of drive A on COM1, writes it to another one, ends with status 33 (or 35 for an error)."""
    head = bytes.fromhex("31c08ed88ec08ed0bc007c")
    show = bytes.fromhex("be0080ac84c07406baf803eeebf5")
    good, bad = bytes.fromhex("b010baf400eef4ebfd"), bytes.fromhex("b011baf400eef4ebfd")

    def bios(function, place, skip):
        return bytes([0xb8, 1, function, 0xb9]) + chs(*place) + bytes.fromhex("bb0080cd1372") + bytes([skip])
    second = bios(3, write, len(good))
    first = bios(2, read, len(show) + len(second) + len(good))
    return (head + first + show + second + good + bad).ljust(510, b"\0") + b"\x55\xaa"


def image(path, kib, sectors):
    with open(path, "wb") as f:
        f.write(boot_sector((79, 1, sectors), (40, 0, 2)))
        f.seek(kib * 1024 - 512)
        f.write(TEXT.ljust(512, b"\0"))


def run(*args):
    p = subprocess.run([rt.BIN, "-nodefaults", "-display", "none", "-serial", "stdio", "-m", "64M", "-accel", "tcg", "-device",
                        "isa-debug-exit,iobase=0xf4,iosize=4", *args], stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=60 * rt.SLOW, check=False)
    return p.returncode, p.stdout, p.stderr.decode()


def floppy_boot():
    with tempfile.TemporaryDirectory(prefix="rhea-floppy-") as d:
        disk = os.path.join(d, "disk")
        for kib, sectors, board, args in (
                (1440, 18, "pc", ["-fda", disk]), (2880, 36, "pc", ["-drive", f"if=floppy,format=raw,file={disk}"]),
                (1440, 18, "q35", ["-drive", f"if=floppy,format=raw,file={disk}"]), (720, 9, "pc", ["-fda", disk]),
                (2880, 36, "q35", ["-device", "isa-fdc", "-drive", f"if=none,id=f,format=raw,file={disk}", "-device",
                                   "floppy,drive=f"])):
            image(disk, kib, sectors)
            status, out, err = run("-M", board, *args)
            with open(disk, "rb") as f:
                f.seek((40 * 2 * sectors + 1) * 512)
                written = f.read(len(TEXT))
            if status != 33 or TEXT not in out or written != TEXT:
                raise rt.Failure(f"{kib} KiB on {board}: status {status}, {out[-300:]}, on disk {written}\n{err}")
        image(disk, 1440, 18)
        status, out, err = run("-M", "pc", "-drive", f"if=floppy,format=raw,readonly=on,file={disk}")
        if status != 35 or TEXT not in out:
            raise rt.Failure(f"a disk that is write-protected: status {status}, {out[-300:]}\n{err}")


def grub_disk(d, script, *modules):
    """A disk of 1440 KiB in this folder that starts GRUB, which runs the script."""
    disk, core, cfg = (os.path.join(d, n) for n in ("disk", "core.img", "grub.cfg"))
    with open(cfg, "w") as f:
        f.write(script)
    tool("grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "(fd0)/", "-c", cfg, "biosdisk", *modules)
    with open(disk, "wb") as f:
        for part in ("/usr/lib/grub/i386-pc/boot.img", core):
            with open(part, "rb") as src:
                f.write(src.read())
        f.truncate(1440 << 10)
    return disk


def floppy_grub():
    with tempfile.TemporaryDirectory(prefix="rhea-floppy-") as d:
        disk = grub_disk(d, "serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n"
                         "echo started from $root\nhexdump -s 1474048 -n 32 (fd0)\nhalt\n",
                         "serial", "terminal", "echo", "hexdump", "halt", "acpi", "sleep")
        with open(disk, "r+b") as f:
            f.seek(1474048)
            f.write(TEXT)
        with rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg", "-m", "64M", "-display", "none", "-serial", "stdio", "-fda",
                   disk, "-boot", "a", timeout=120) as vm:
            vm.expect("started from")
            vm.expect(" ".join(f"{b:02x}" for b in TEXT[:8]))
            vm.wait(0)


GUEST = """set -e
insmod /lib/modules/floppy.ko
until test -b /dev/fd0; do sleep 0.2; done
dmesg | grep -i 'fdc\\|floppy'
show() { dd if=/dev/fd0 bs=18k 2>/dev/null | sha1sum | sed 's/ .*//; s/^/sum /'; }
show
yes "a line for the disk" | dd of=/dev/fd0 bs=1k count=700 seek=100 iflag=fullblock conv=fsync 2>/dev/null
show
echo @@change@@; read line < /dev/ttyS0
show
echo x | dd of=/dev/fd0 conv=fsync 2>&1 | grep -i 'read-only\\|not permitted'
echo @@eject@@; read line < /dev/ttyS0
if dd if=/dev/fd0 of=/dev/null bs=512 count=1 2>/dev/null; then echo something there; else echo nothing there; fi
echo @@insert@@; read line < /dev/ttyS0
show
"""


def floppy_linux():
    with tempfile.TemporaryDirectory(prefix="rhea-floppy-") as d:
        disks = [os.path.join(d, f"disk{i}") for i in range(3)]
        data = [hashlib.sha512(bytes([i])).digest() * (1440 * 1024 // 64) for i in range(3)]
        for path, content in zip(disks, data):
            with open(path, "wb") as f:
                f.write(content)
        tree, sock = os.path.join(d, "tree"), os.path.join(d, "hmp")
        rt.module_tree(tree, "generic", ("floppy",))
        initrd = rt.once(GUEST, tree)
        changed = bytearray(data[0])
        changed[100 << 10:800 << 10] = (b"a line for the disk\n" * 40000)[:700 << 10]

        def sums(vm, content):
            got = vm.expect(r"sum ([0-9a-f]{40})").group(1).decode()
            if got != hashlib.sha1(content).hexdigest():
                vm.fail(f"the guest reads something else: {got}")
        try:
            with rt.linux(guest_assets.kernel("generic"), initrd, "quiet", "-drive",
                          f"if=floppy,format=raw,id=fd,file={disks[0]}", "-monitor", f"unix:{sock},server=on,wait=off",
                          timeout=400) as vm:
                sums(vm, data[0])
                sums(vm, changed)
                vm.expect("@@change@@")
                hmp = Hmp(sock)
                hmp(f"change fd {disks[1]} raw read-only")
                vm.send("\n")
                sums(vm, data[1])
                vm.expect("@@eject@@")
                hmp("eject fd")
                vm.send("\n")
                vm.expect("nothing there")
                vm.expect("@@insert@@")
                hmp(f"change fd {disks[2]} raw")
                vm.send("\n")
                sums(vm, data[2])
                vm.expect("@@rhea-end 0@@")
                vm.wait(0)
        finally:
            os.unlink(initrd)
        for path, content in zip(disks, (changed, data[1], data[2])):
            with open(path, "rb") as f:
                if f.read() != content:
                    raise rt.Failure(f"{path} has other contents")


ALL = [floppy_boot, floppy_grub, floppy_linux]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

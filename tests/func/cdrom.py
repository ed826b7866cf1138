#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CDs with real software (hw/ide/ide-cd.c, atapi.c, ahci.c, backends/block/media.c, tools/system/hmp_block.c): ISOLINUX boots
Linux from one, GRUB's rescue image runs its script, Linux reads files by DMA, locks the tray, and sees media change."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

MODULES = ("scsi/scsi_common", "scsi/scsi_mod", "ata/libata", "cdrom/cdrom", "scsi/sr_mod") # and the controller's
GUEST = """set -e
for m in scsi_common scsi_mod libata $driver cdrom sr_mod isofs; do insmod /lib/modules/$m.ko; done
until test -e /dev/sr0; do sleep 0.2; done
dmesg | grep 'ata[0-9].*\\(ATAPI\\|UDMA\\)'
mkdir /mnt
show() {
    mount -t iso9660 -o ro /dev/sr0 /mnt
    echo sum $(sha1sum < /mnt/data.bin)
}
show
echo @@mounted@@; read line < /dev/ttyS0
umount /mnt
echo @@unmounted@@; read line < /dev/ttyS0
show
umount /mnt
eject
echo @@ejected@@; read line < /dev/ttyS0
dd if=/dev/sr0 of=/dev/null bs=2k count=1 2>&1 | grep -v records || true
echo @@empty@@; read line < /dev/ttyS0
until show 2>/dev/null; do sleep 0.5; done
"""


EJECT = """#include <fcntl.h>
#include <linux/cdrom.h>
#include <sys/ioctl.h>
int main(void) { return ioctl(open("/dev/sr0", O_RDONLY | O_NONBLOCK), CDROMEJECT) != 0; }
"""


def tool(name, *args):
    if not shutil.which(name):
        raise rt.Skip(f"{name} is not installed (scripts/check does it)")
    p = subprocess.run([name, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       check=False)
    if p.returncode:
        raise rt.Failure(f"{name} ended with status {p.returncode}: {p.stdout.decode(errors='replace')[-2000:]}")


def plain(d, *args, timeout=120):
    return rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg", "-m", "256M", "-display", "none", "-serial", "stdio",
                 "-no-reboot", *args, timeout=timeout)


def cd_isolinux():
    """ISOLINUX loads Debian's cloud kernel through the BIOS, once as -cdrom, once by bootindex before a disk."""
    with tempfile.TemporaryDirectory(prefix="rhea-cd-") as d:
        top, iso, disk = (os.path.join(d, n) for n in ("top", "boot.iso", "disk.raw"))
        os.makedirs(os.path.join(top, "isolinux"))
        bios = "usr/lib/syslinux/modules/bios/"
        for package, path in (("isolinux", "usr/lib/ISOLINUX/isolinux.bin"),
                              ("syslinux-common", bios + "ldlinux.c32"), ("syslinux-common", bios + "libcom32.c32"),
                              ("syslinux-common", bios + "libutil.c32")):
            shutil.copy(rt.asset(guest_assets.from_package, package, path), os.path.join(top, "isolinux"))
        shutil.copy(rt.asset(guest_assets.kernel, "cloud"), os.path.join(top, "isolinux/linux"))
        shutil.move(rt.once("echo started by $(cat /proc/cmdline)\n"), os.path.join(top, "isolinux/initrd"))
        with open(os.path.join(top, "isolinux/isolinux.cfg"), "w") as f:
            f.write("SERIAL 0 115200\nDEFAULT l\nPROMPT 0\nLABEL l\nKERNEL linux\n"
                    "APPEND initrd=initrd console=ttyS0 quiet from-isolinux\n")
        tool("xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-b", "isolinux/isolinux.bin", "-c",
             "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", top)
        with open(disk, "wb") as f: # a disk whose sector hangs: the order matters
            f.write(b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa")
            f.truncate(1 << 20)
        hda = ("-drive", f"file={disk},format=raw,if=none,id=hd", "-device", "ide-hd,drive=hd,bootindex=2")
        for args in (("-cdrom", iso),
                     hda + ("-drive", f"file={iso},if=none,id=cd,media=cdrom", "-device",
                            "ide-cd,drive=cd,bus=ide.1,bootindex=1")):
            with plain(d, *args) as vm:
                vm.expect("ISOLINUX 6")
                if "from-isolinux" not in rt.once_output(vm):
                    vm.fail("Linux has another command line")


def cd_grub():
    """grub-mkrescue's image, by BIOS from IDE and AHCI and by UEFI: GRUB runs its script to the end, which reads a file of
    the CD and powers off."""
    with tempfile.TemporaryDirectory(prefix="rhea-cd-") as d:
        top, iso = os.path.join(d, "top"), os.path.join(d, "grub.iso")
        os.makedirs(os.path.join(top, "boot/grub"))
        with open(os.path.join(top, "words"), "w") as f:
            f.write("words of the disc\n")
        with open(os.path.join(top, "boot/grub/grub.cfg"), "w") as f:
            f.write("serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n"
                    "insmod hashsum\necho on $grub_platform: \ncat /words\nls -l /words\nsha1sum /words\necho end of the script\nhalt\n")
        tool("grub-mkrescue", "--install-modules=normal echo cat ls hashsum serial halt iso9660 gcry_sha1 terminal "
             "acpi part_gpt part_msdos", "--fonts=", "--themes=", "--locales=", "-o", iso, top)
        firmware = rt.asset(guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd")
        for platform, args in (("pc", ()), ("pc", ("-M", "q35")), ("efi", ("-M", "q35", "-bios", firmware))):
            with plain(d, "-cdrom", iso, *args) as vm:
                vm.expect(f"on {platform}:")
                vm.expect("words of the disc")
                vm.expect(hashlib.sha1(b"words of the disc\n").hexdigest())
                vm.expect("end of the script")
                vm.wait(0)


class Hmp:
    def __init__(self, path):
        import socket
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * rt.SLOW)
        self.s.connect(path)
        self.prompt()

    def prompt(self):
        got = b""
        while not got.endswith(b"(qemu) "):
            more = self.s.recv(4096)
            if not more:
                raise rt.Failure(f"the monitor hung up: {got!r}")
            got += more
        return got.decode(errors="replace").replace("\r", "")

    def __call__(self, line, want=""):
        self.s.sendall(line.encode() + b"\n")
        got = self.prompt()
        if want not in got:
            raise rt.Failure(f"'{line}' at the monitor says {got!r}, not {want!r}")


def disc(d, name, size):
    top = os.path.join(d, name)
    os.mkdir(top)
    data = hashlib.sha256(name.encode()).digest() * (size // 32)
    with open(os.path.join(top, "data.bin"), "wb") as f:
        f.write(data)
    tool("xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", name, "-o", top + ".iso", top)
    return top + ".iso", "sum " + hashlib.sha1(data).hexdigest()


def modules(tree, controllers):
    rt.asset(guest_assets.kernel, "generic")
    with open(os.path.join(guest_assets.cache_dir(), "kernel-generic.name")) as f:
        package = f.read().strip()
    for n in ("bin", "sbin", "usr/bin", "usr/sbin", "etc", "root", "lib/modules"):
        os.makedirs(os.path.join(tree, n))
    source = os.path.join(tree, "root/eject.c")
    with open(source, "w") as f:
        f.write(EJECT)
    tool("cc", "-static", "-o", os.path.join(tree, "bin/eject"), source)
    for m in [f"drivers/{m}" for m in MODULES] + [f"drivers/ata/{c}" for c in controllers] + ["fs/isofs/isofs"]:
        path = rt.asset(guest_assets.from_package, package, f"lib/modules/*/kernel/{m}.ko")
        shutil.copy(path, os.path.join(tree, "lib/modules"))


def linux(driver, controllers, speed, name, board, *args):
    """Checksums, a locked tray, eject from both sides, change: Linux's sr_mod on the controller's driver. The drive is
    called `name` at the monitor."""
    with tempfile.TemporaryDirectory(prefix="rhea-cd-") as d:
        (one, sum1), (two, sum2) = disc(d, "one", 6 << 20), disc(d, "two", 3 << 20)
        tree, path = os.path.join(d, "tree"), os.path.join(d, "monitor")
        modules(tree, controllers)
        initrd = rt.once(f"driver='{driver}'\n" + GUEST, tree)
        try:
            with rt.linux(guest_assets.kernel("generic"), initrd, "quiet", *[a.format(one=one) for a in args], "-monitor",
                          f"unix:{path},server=on,wait=off", timeout=180, board=board) as vm:
                vm.expect(f"ATAPI: RHEA DVD-ROM.*{speed}")
                vm.expect(sum1)
                vm.expect("@@mounted@@")
                hmp = Hmp(path)
                hmp("info block", f"{one} (raw, read-only)")
                hmp(f"info block {name}", "Removable device: locked, tray closed")
                hmp(f"eject {name}", f"Error: '{name}' is locked by the guest")
                hmp("eject hd9", "Error: there is no drive or device 'hd9'")
                vm.send("\n")
                vm.expect("@@unmounted@@")
                hmp("info block", "Removable device: not locked, tray closed")
                hmp(f"change {name} /nonexistent", "No such file")
                hmp(f"change {name} {two} raw")
                vm.send("\n")
                vm.expect(sum2)
                vm.expect("@@ejected@@")
                hmp("info block", "tray open")
                hmp(f"eject {name}")
                hmp("info block", f"{name}: [not inserted]")
                vm.send("\n")
                vm.expect("[Nn]o medium")
                vm.expect("@@empty@@")
                hmp(f"change {name} {one}")
                vm.send("\n")
                vm.expect(sum1)
                vm.expect("@@rhea-end 0@@")
                vm.wait(0)
        finally:
            os.unlink(initrd)


def cd_linux():
    """ata_piix on pc."""
    linux("ata_piix", ["ata_piix"], "UDMA/33", "ide1-cd0", "pc", "-drive", "file={one},format=raw,media=cdrom,index=2")


def cd_ahci():
    """ahci on q35: packets through its command lists; the drive is a -device with a name of its own."""
    linux("libahci ahci", ["libahci", "ahci"], "UDMA/33", "cd0", "q35", "-drive",
          "file={one},format=raw,media=cdrom,if=none,id=cd0", "-device", "ide-cd,bus=ide.2,drive=cd0")


ALL = [cd_isolinux, cd_grub, cd_linux, cd_ahci]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

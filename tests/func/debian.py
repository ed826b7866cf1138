#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A whole Debian 12, made with debootstrap (scripts/debian_image.py), on qcow2: its GRUB is started by SeaBIOS from IDE,
AHCI and virtio-blk and by OVMF (hw/ide, hw/virtio/blk*, block/qcow2*, hw/block/pflash.c, system/bootorder.c). It installs a
package, writes, reboots with a check of the file system by force, trims, powers off. Afterwards the image is clean for
our tool and for qemu-img, the file system for the host's e2fsck, and what was written is there."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets
import debian_image

IMG = os.path.join(rt.BUILD, "tools/img/rhea-img")
LINES = "".join(f"{i}\n" for i in range(1, 400001)).encode()
SUM = hashlib.sha256(LINES).hexdigest()
COMPLAINTS = "BUG:|WARNING:|Oops|I/O error|EXT4-fs (error|warning)|exception Emask|failed command|hung_task|segfault"


def tool(*args):
    name = shutil.which(args[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not name:
        raise rt.Skip(f"{args[0]} is not installed (scripts/check does it)")
    p = subprocess.run([name, *args[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       check=False)
    if p.returncode:
        raise rt.Failure(f"{' '.join(args)}: status {p.returncode}: {p.stdout.decode(errors='replace')[-2000:]}")
    return p.stdout.decode(errors="replace")


def machine(*args):
    return rt.Vm("-nodefaults", "-accel", "tcg", "-m", "512M", "-display", "none", "-serial", "stdio", *args, timeout=200)


def log_in(vm, platform, check=""):
    """From the firmware to a shell of root's, which neither echoes nor prompts."""
    vm.expect(f"GRUB of {platform} starts Debian{check}")
    vm.expect("rhea-guest login: ")
    vm.send("root\n")
    vm.expect("Password: ")
    vm.send("rhea\n")
    vm.expect("root@rhea-guest:")
    vm.send("stty -echo; TERM=dumb PS1= exec sh\n")
    sh(vm, "true")


def sh(vm, command):
    """What the command prints; it must end with status 0."""
    vm.send(f'({command}) </dev/null 2>&1; echo "@@$?@@"\n')
    start = vm.seen
    m = vm.expect(r"@@(\d+)@@\r?\n")
    text = vm.out[start:m.start()].decode(errors="replace").replace("\r", "")
    if m.group(1) != b"0":
        vm.fail(f"in the guest, '{command}' ended with status {m.group(1).decode()}:\n{text}")
    return text


def need(vm, text, *words):
    for word in words:
        if word not in text:
            vm.fail(f"the guest did not print '{word}' but:\n{text}")


def sound(vm):
    text = sh(vm, f"dmesg | grep -E '{COMPLAINTS}' || true; systemctl --failed --plain --no-legend")
    if text.strip():
        vm.fail(f"the guest complains:\n{text}")


def root_driver(vm, driver):
    """The root file system's disk is behind this driver's PCI function."""
    text = sh(vm, "d=$(findmnt -n -o SOURCE / | sed 's,/dev/,,; s/[0-9]*$//'); p=$(readlink -f /sys/block/$d | "
              "grep -o '0000:[0-9a-f:.]*' | tail -n 1); basename $(readlink /sys/bus/pci/devices/$p/driver)")
    need(vm, text, driver)


def use(vm):
    """The first session: a package, files, the place of a file that is to be trimmed; GRUB is to check at the next boot."""
    text = sh(vm, "apt-get update && apt-get install -y rhea-words && rhea-words")
    need(vm, text, "Setting up rhea-words (1.0)", debian_image.WORDS.splitlines()[-1].decode())
    need(vm, sh(vm, "cat /var/lib/rhea-words.sum"), hashlib.sha256(debian_image.WORDS).hexdigest())
    sh(vm, "mkdir /data; cd /data; seq 400000 > lines; i=0; while [ $i -lt 300 ]; do echo $i > small$i; i=$((i+1)); done;"
       "head -c 33554432 /dev/urandom > large; sync; sha256sum lines large small* > /srv/sums")
    place = sh(vm, "filefrag -v /data/large")
    start, end = map(int, re.search(r"^ *\d+: +\d+\.\. +\d+: +(\d+)\.\. +(\d+):", place, re.M).groups())
    sh(vm, "grub-editenv - set next_entry=fsck; sync")
    sound(vm)
    return [debian_image.ROOT_AT + block * 4096 for block in (start, end)]


def come_back(vm, driver):
    """The second session: all is there, the file system was checked; space that was freed is discarded."""
    root_driver(vm, driver)
    need(vm, sh(vm, "cd /data; sha256sum --quiet -c /srv/sums && rhea-words; sha256sum lines; cat small299"), SUM, "299",
         debian_image.WORDS.splitlines()[-1].decode())
    text = sh(vm, "cat /run/initramfs/fsck.log; grub-editenv - list")
    if not re.search(r"rhea-root: \d+/\d+ files", text) or "next_entry=fsck" in text:
        vm.fail(f"the file system was not checked, or GRUB did not note its choice:\n{text}")
    need(vm, sh(vm, "rm /data/large; sync; fstrim -v /"), "trimmed")
    sound(vm)
    vm.send("poweroff\n")
    vm.wait(0)
    vm.expect("reboot: Power down")


def fresh(d, copy=False):
    """An image of the test's own: the cached one's contents, or an overlay on it."""
    base, image = rt.asset(debian_image.image, IMG), os.path.join(d, "disk.qcow2")
    if copy:
        tool(IMG, "convert", "-O", "qcow2", base, image)
    else:
        tool(IMG, "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", image)
    return image


def afterwards(d, image, trimmed):
    tool(IMG, "check", image)
    tool("qemu-img", "check", image)
    raw, lines = os.path.join(d, "disk.raw"), os.path.join(d, "lines")
    begin, end = trimmed # of the first extent; some of its clusters have neighbours that are in use
    begin, end = (begin + 65535) & ~65535, end & ~65535
    for e in json.loads(tool(IMG, "map", "--output=json", image)):
        if e["data"] and e["start"] < end and e["start"] + e["length"] > begin:
            raise rt.Failure(f"what the guest trimmed ({begin} to {end}) is still allocated: {e}")
    tool(IMG, "convert", "-O", "raw", image, raw)
    root = f"{raw}?offset={debian_image.ROOT_AT}"
    tool("e2fsck", "-fn", root)
    tool("debugfs", "-R", f"dump /data/lines {lines}", root)
    with open(lines, "rb") as f:
        if f.read() != LINES:
            raise rt.Failure("the host reads another file than the guest wrote")


def boots(board, driver, drive, *devices, copy=False):
    """Both sessions in one run of the emulator, a reset in between."""
    with tempfile.TemporaryDirectory(prefix="rhea-debian-") as d:
        image = fresh(d, copy)
        with machine("-M", board, "-drive", f"file={image},format=qcow2,discard=unmap,{drive}", *devices) as vm:
            log_in(vm, "pc")
            root_driver(vm, driver)
            trimmed = use(vm)
            vm.send("reboot\n")
            log_in(vm, "pc", " with a check")
            come_back(vm, driver)
        afterwards(d, image, trimmed)


def debian_image_made():
    """Made once and kept: first, so that the tests that need it do not wait for each other."""
    tool(IMG, "check", rt.asset(debian_image.image, IMG))


def debian_ide():
    boots("pc", "ata_piix", "if=ide", copy=True)


def debian_ahci():
    boots("q35", "ahci", "if=ide")


def debian_virtio():
    boots("pc", "virtio-pci", "if=virtio", "-smp", "2")


def debian_ovmf():
    """OVMF from flash on q35: the first run has the disk on AHCI, the second on virtio-blk."""
    with tempfile.TemporaryDirectory(prefix="rhea-debian-") as d:
        image, variables = fresh(d), os.path.join(d, "variables")
        code, store = (rt.asset(guest_assets.from_package, "ovmf", f"usr/share/OVMF/OVMF_{n}_4M.fd") for n in ("CODE", "VARS"))
        shutil.copy(store, variables)
        disk = f"file={image},format=qcow2,discard=unmap,if="
        virtio = ("-device", "virtio-blk-pci,drive=d,bootindex=1") # OVMF has noted the other disk as the one to start
        args = ("-M", "q35", "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}", "-drive",
                f"if=pflash,unit=1,format=raw,file={variables}", "-drive")
        with machine(*args, disk + "ide") as vm:
            log_in(vm, "efi")
            root_driver(vm, "ahci")
            need(vm, sh(vm, "cat /sys/firmware/efi/fw_platform_size; ls /boot/efi/EFI/BOOT"), "64", "BOOTX64.EFI")
            trimmed = use(vm)
            vm.send("poweroff\n")
            vm.wait(0)
        tool(IMG, "check", image)
        with machine(*args, disk + "none,id=d", *virtio) as vm:
            log_in(vm, "efi", " with a check")
            come_back(vm, "virtio-pci")
        afterwards(d, image, trimmed)


ALL = [debian_image_made, debian_ide, debian_ahci, debian_virtio, debian_ovmf]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

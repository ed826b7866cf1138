#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Booting over the network (hw/net, hw/virtio/virtio-net.c, hw/pci/pci.c's option ROMs, net/user*.c's BOOTP and TFTP,
system/bootorder.c): the Debian installer's kernel with a small initrd, out of a folder. SeaBIOS starts iPXE from the card's ROM,
which loads Debian's pxelinux, or, as a script of its own, kernel and initrd; OVMF finds a UEFI driver in the same ROM, and
loads Debian's shim and GRUB."""
import os
import shutil
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

SCRIPT = "echo 'installed by' $(uname -s); cat /proc/cmdline" + rt.HEALTH
APPEND = "console=ttyS0 panic=-1 quiet over=network"
IPXE = f"#!ipxe\nkernel linux {APPEND}\ninitrd initrd.gz\nboot\n"
PXELINUX = f"SERIAL 0 115200\nDEFAULT it\nLABEL it\nKERNEL linux\nAPPEND initrd=initrd.gz {APPEND}\n"
GRUB = f"serial --unit=0\nlinux /linux {APPEND}\ninitrd /initrd.gz\nboot\n"


def write(top, name, text):
    path = os.path.join(top, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def folder(top):
    """What the TFTP server gives out."""
    kernel, _ = rt.asset(guest_assets.installer)
    source = os.path.dirname(kernel)
    shutil.copy(kernel, os.path.join(top, "linux"))
    shutil.move(rt.once(SCRIPT), os.path.join(top, "initrd.gz"))
    for name in ("pxelinux.0", "bootnetx64.efi", "grubx64.efi"):
        shutil.copy(os.path.join(source, name), top)
    shutil.copy(os.path.join(source, "boot-screens/ldlinux.c32"), top)
    write(top, "boot.ipxe", IPXE)
    write(top, "pxelinux.cfg/default", PXELINUX)
    for place in ("grub", "debian-installer/amd64/grub", "EFI/debian"):
        write(top, f"{place}/grub.cfg", GRUB)


def boots(board, card, bootfile, *args, steps=(), timeout=300):
    with tempfile.TemporaryDirectory(prefix="rhea-pxe-") as top:
        folder(top)
        with rt.Vm("-nodefaults", "-accel", "tcg", "-M", board, "-m", "512M", "-display", "none", "-serial", "stdio", "-no-reboot",
                   "-netdev", f"user,id=n,tftp={top},bootfile={bootfile}", "-device", f"{card},netdev=n,bootindex=1", *args,
                   timeout=timeout) as vm:
            for step in steps:
                vm.expect(step)
            text = rt.once_output(vm)
        rt.healthy(text.splitlines())
        for what in ("installed by Linux", "over=network"):
            if what not in text:
                raise rt.Failure(f"'{what}' is not in the guest's output:\n{text}")


def seabios(card, board="pc,graphics=off", bootfile="boot.ipxe"):
    start = rt.bios("iPXE initialising devices...") + r"(WARNING: [^.]*)?" + rt.bios("ok")
    boots(board, card, bootfile, steps=(start, rt.bios("boot.ipxe... ok" if "ipxe" in bootfile else "PXELINUX")))


def pxe_e1000():
    """By Debian's pxelinux: through iPXE's PXE interface, which is 16-bit code."""
    seabios("e1000", bootfile="pxelinux.0")


def pxe_e1000e():
    seabios("e1000e", "q35,graphics=off")


def pxe_virtio():
    seabios("virtio-net-pci")


def pxe_rtl8139():
    seabios("rtl8139")


def pxe_pcnet():
    seabios("pcnet")


def pxe_ne2k_pci():
    seabios("ne2k_pci")


def pxe_ovmf():
    """OVMF's own network stack above the ROM's driver."""
    firmware = rt.asset(guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd")
    boots("q35", "e1000e", "bootnetx64.efi", "-bios", firmware, timeout=600)


ALL = [pxe_e1000, pxe_e1000e, pxe_virtio, pxe_rtl8139, pxe_pcnet, pxe_ne2k_pci, pxe_ovmf]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

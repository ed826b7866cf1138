#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Debian installer's mini.iso, as a CD: ISOLINUX by SeaBIOS from IDE and from AHCI, shim and GRUB by OVMF, each told
at its own prompt to use the serial console; the installer asks for the language (hw/ide/ide-cd.c, atapi.c, ahci-port.c).
SeaBIOS and ISOLINUX have no display: with graphics=off the firmware's console is the serial line."""
import re
import sys

import rheatest as rt
from rheatest import guest_assets

# The word "url" makes the installer keep to the preferred console (its reopen-console). Without it a second one runs on
# tty1, and the two race for debconf's database: the loser ends. The dot hides the parameter from everybody else.
ARGS = "console=ttyS0 DEBIAN_FRONTEND=text rhea.url"


def installer(board, *args):
    iso = rt.asset(guest_assets.mini_iso)
    return rt.Vm("-nodefaults", "-accel", "tcg", "-M", board, "-m", "1G", "-display", "none", "-serial", "stdio", "-cdrom",
                 iso, *args, timeout=150)


def language(vm):
    vm.expect("Select a language")
    vm.expect("[Pp]rompt: ")


def keys(vm, text):
    """One after the other: the BIOS remembers 15 keys, and forgets those that follow."""
    for c in text:
        vm.send(c)
        vm.expect(re.escape(c))


def isolinux(board):
    with installer(board + ",graphics=off") as vm:
        vm.expect(rt.bios("ISOLINUX 6"))
        vm.expect(rt.bios("Debian GNU/Linux installer menu (BIOS mode)"))
        vm.expect(rt.bios("TAB to edit a menu entry"))
        vm.send("\x1b")
        vm.expect(rt.bios("boot: "))
        keys(vm, "install vga=normal " + ARGS)
        vm.send("\r")
        language(vm)


def mini_pc():
    isolinux("pc")


def mini_q35():
    isolinux("q35")


def mini_ovmf():
    firmware = rt.asset(guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd")
    with installer("q35", "-bios", firmware) as vm:
        vm.expect("GNU GRUB")
        vm.expect("Install")
        vm.send("e")
        vm.expect("screen editing is supported")
        vm.expect("/linux")
        vm.send("\x0e\x0e\x0e\x05 " + ARGS) # down to the end of that line, below an empty one and another
        vm.expect("rhea.url")
        vm.send("\x18")
        language(vm)


ALL = [mini_pc, mini_q35, mini_ovmf]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

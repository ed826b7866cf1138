#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Other real software: firmware alone, the Debian installer, memtest86+, GNU Mach."""
import os
import sys

import rheatest as rt
from rheatest import guest_assets


def seabios():
    """SeaBIOS finds nothing to boot and says so on its debug port."""
    with rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg", "-display", "none", "-m", "128M",
               "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log", timeout=60) as vm:
        vm.expect("SeaBIOS")
        vm.expect("No bootable device")


def installer():
    """The installer's own kernel and initrd reach the first question on the serial console."""
    kernel, initrd = rt.asset(guest_assets.installer)
    with rt.linux(kernel, initrd, "DEBIAN_FRONTEND=text", timeout=600, mem="1G") as vm:
        vm.expect("Select a language|Choose the language|language to be used")


def memtest():
    """memtest86+ draws its screen on the serial line and starts testing."""
    image = rt.asset(guest_assets.memtest)
    with rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg", "-display", "none", "-m", "64M", "-serial", "stdio",
               "-kernel", image, "-append", "console=ttyS0,115200", timeout=300) as vm:
        vm.expect("Memtest86")
        vm.expect(r"Pass|Test #|Testing")


def gnumach():
    """GNU Mach, loaded by Multiboot, prints its banner and the memory it found."""
    image = rt.asset(guest_assets.gnumach)
    with rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg", "-display", "none", "-m", "256M", "-serial", "stdio",
               "-no-reboot", "-kernel", image, "-append", "console=com0", timeout=120) as vm:
        vm.expect("GNU Mach")


ALL = [seabios, installer, memtest, gnumach]
if __name__ == "__main__":
    chosen = [t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    rt.main(*chosen)

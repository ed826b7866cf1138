#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Other real software: firmware alone, the Debian installer, memtest86+, GNU Mach."""
import os
import re
import sys
import tempfile

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


def mach(image, *args):
    return rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg", "-display", "none", "-m", "256M", "-serial", "stdio",
                 "-no-reboot", "-kernel", image, "-append", "console=com0", *args, timeout=120)


def gnumach():
    """GNU Mach, loaded by Multiboot, prints its banner, the memory it found, and that nothing else was loaded."""
    with mach(rt.asset(guest_assets.gnumach)) as vm:
        vm.expect("GNU Mach")
        vm.expect(r"biosmem: physical memory map:")
        vm.expect(r"biosmem: 0+:0*9f000, available")
        vm.expect(r"biosmem: 0*100000:0*ff[0-9a-f]+000, available")
        vm.expect("No bootstrap code loaded with the kernel")


def gnumach_modules():
    """Multiboot modules of -initrd reach the kernel, each with its command line."""
    with tempfile.TemporaryDirectory(prefix="rhea-func-") as d:
        one, two = os.path.join(d, "one"), os.path.join(d, "two")
        for path, text in ((one, "no program"), (two, "nor this" * 1000)):
            with open(path, "w") as f:
                f.write(text)
        with mach(rt.asset(guest_assets.gnumach), "-initrd", f"{one} first $(task-create),{two} second") as vm:
            vm.expect(re.escape(f"module 0: {one} first $(task-create)"))
            vm.expect(re.escape(f"module 1: {two} second"))
            vm.expect("2 multiboot modules")
            vm.expect("Cannot load user executable module")


ALL = [seabios, installer, memtest, gnumach, gnumach_modules]
if __name__ == "__main__":
    chosen = [t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    rt.main(*chosen)

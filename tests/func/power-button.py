#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The monitor's system_powerdown presses the ACPI power button; a Linux guest hears it and powers off."""
import os
import re
import shutil
import socket
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

# The button is an input device; a key event is 24 bytes, its type 1, code 116 and value 1 the last eight.
SCRIPT = """
insmod /modules/button.ko && insmod /modules/evdev.ko || exit 1
for e in /sys/class/input/event*; do
    [ "$(cat $e/device/name)" = "Power Button" ] && button=${e##*/}
done
[ "$button" ] || { echo "no power button in:"; cat /proc/bus/input/devices; exit 1; }
exec 3< /dev/input/$button # from here on events are kept
echo @@waiting@@
dd bs=24 count=1 <&3 2>/dev/null | tail -c 8 | od -An -tu2
grep -E '^ *9:|acpi$' /proc/interrupts
"""


def tree_with_modules(kernel, names):
    """A folder for the initramfs that holds these modules of the kernel's package."""
    version = os.path.basename(kernel).split("-", 1)[1]
    modules = os.path.join(os.path.dirname(os.path.dirname(kernel)), "lib/modules", version, "kernel/drivers")
    tree = tempfile.mkdtemp(prefix="rhea-func-")
    for d in ("bin", "sbin", "usr/bin", "usr/sbin", "etc", "modules"):
        os.makedirs(os.path.join(tree, d))
    for name in names:
        shutil.copy(os.path.join(modules, name), os.path.join(tree, "modules"))
    return tree


def press(path):
    """HMP system_powerdown, over the monitor's socket; waits for the next prompt."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30 * rt.SLOW)
        s.connect(path)
        s.sendall(b"system_powerdown\n")
        got = b""
        while got.count(b"(qemu) ") < 2:
            data = s.recv(4096)
            if not data:
                raise rt.Failure(f"the monitor hung up: {got!r}")
            got += data


def powerdown(flavour):
    kernel = rt.asset(guest_assets.kernel, flavour)
    tree = tree_with_modules(kernel, ["acpi/button.ko", "input/evdev.ko"])
    initrd = rt.once(SCRIPT, tree)
    path = os.path.join(tree, "monitor")
    try:
        with rt.linux(kernel, initrd, "quiet", "-monitor", f"unix:{path},server=on,wait=off", timeout=180) as vm:
            vm.expect(r"@@rhea-begin@@\r?\n")
            start = vm.seen
            vm.expect("@@waiting@@")
            press(path)
            m = vm.expect(r"@@rhea-end (\d+)@@")
            text = vm.out[start:m.start()].decode("utf-8", "replace")
            if m.group(1) != b"0" or not re.search(r"^ *1 +116 +1 +0\r?$", text, re.M):
                vm.fail(f"the button's event is not what was read: {text}")
            if not re.search(r"^ *9: +[1-9].*acpi", text, re.M):
                vm.fail(f"the button came without an SCI: {text}")
            vm.wait(0)
            if vm.err():
                vm.fail("something was told at the end")
    finally:
        os.unlink(initrd)
        shutil.rmtree(tree, ignore_errors=True)


def powerdown_generic():
    powerdown("generic")


def powerdown_cloud():
    powerdown("cloud")


ALL = [powerdown_generic, powerdown_cloud]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""-M microvm (hw/i386/microvm.c, microvm-acpi.c, microvm-boot.c, boot-direct.c, mptable.c, hw/acpi/ged.c,
hw/virtio/virtio-mmio.c): Debian's kernels are entered without firmware, with and without ACPI; a virtio disk; power-off and
reboot."""
import hashlib
import os
import re
import sys
import tempfile

import rheatest as rt
import virtio
from rheatest import guest_assets

MODULES = ("virtio_ring", "virtio", "virtio_mmio", "virtio_blk")
DISK = (virtio.FIND_DISK + """cat /bin/busybox | dd of=/dev/vda bs=64k seek=16 conv=fsync
echo 3 > /proc/sys/vm/drop_caches
size=$(stat -c %%s /bin/busybox)
dd if=/dev/vda bs=64k skip=16 2>/dev/null | head -c $size | sha1sum
grep -c processor /proc/cpuinfo
""") % " ".join(MODULES)


def vm(kernel, initrd, board, append, *args, timeout=240):
    return rt.Vm("-nodefaults", "-M", board, "-accel", "tcg", "-m", "512M", "-display", "none", "-serial", "stdio",
                 "-kernel", kernel, "-initrd", initrd, "-append", f"console=ttyS0 panic=-1 {append}".strip(), *args,
                 timeout=timeout)


def check(text, *words):
    for w in words:
        if not re.search(w, text):
            raise rt.Failure(f"/{w}/ is not in the guest's output:\n{text}")


def guest(script, board, *args, flavour="cloud", tree=None, append="", end="off"):
    """Runs the script; end: how the guest ends, 'off' or, where it cannot, 'halt'."""
    kernel = rt.asset(guest_assets.kernel, flavour)
    initrd = rt.once(script, tree, arch="i386" if flavour == "i686" else "amd64")
    try:
        with vm(kernel, initrd, board, append, "-no-reboot", *args) as v:
            if end == "off":
                return rt.once_output(v)
            v.expect(r"@@rhea-begin@@\r?\n")
            start = v.seen
            m = v.expect(r"@@rhea-end 0@@")
            v.expect(r"reboot: (System halted|Power down)")
            return v.out[start:m.start()].decode("utf-8", "replace").replace("\r", "")
    finally:
        os.unlink(initrd)


def disk(legacy, *args):
    with tempfile.TemporaryDirectory(prefix="rhea-microvm-") as d:
        image, tree = os.path.join(d, "disk.qcow2"), os.path.join(d, "tree")
        rt.module_tree(tree, "cloud", MODULES)
        virtio.run("create", "-q", "-f", "qcow2", image, "64M")
        text = guest(DISK, "microvm", "-smp", "2", "-drive", f"file={image},format=qcow2,if=none,id=d0", *args, tree=tree,
                     append="quiet")
        with open(guest_assets.busybox(), "rb") as f:
            check(text, hashlib.sha1(f.read()).hexdigest(), "serial number-9", r"IO-APIC +16-fasteoi +virtio0", r"\n2\n")
        bits = text.split("features ")[1].split()[0]
        if (bits[32] == "0") != legacy:
            raise rt.Failure(f"the features are {bits}")
        virtio.run("check", image)


def microvm_disk():
    """ACPI, two CPUs, a disk that is written and read, by the interface of before virtio 1.0, as in QEMU, and by that one's,
    once by another thread; power-off through the sleep register."""
    device = "virtio-blk-device,drive=d0,serial=number-9"
    disk(True, "-device", device)
    disk(False, "-device", device + ",num-queues=2,iothread=t", "-object", "iothread,id=t", "-global",
         "virtio-mmio.force-legacy=false")


def microvm_no_acpi():
    """Without ACPI the kernel is told of devices by its command line; it has no way to power off."""
    text = guest("cat /proc/cmdline; test ! -e /sys/firmware/acpi; cat /proc/interrupts", "microvm,acpi=off", "-blockdev",
                 "null-co,node-name=n", "-device", "virtio-blk-device,drive=n,bus=virtio-mmio-bus.2", append="quiet",
                 end="halt")
    check(text, r"virtio_mmio.device=512@0xfeb00400:7\n", r"XT-PIC +timer|LOC:")


def microvm_mp_table():
    """The generic kernel reads the MP table: two CPUs, the I/O APIC."""
    text = guest("grep -c processor /proc/cpuinfo; cat /proc/interrupts; dmesg | grep -i 'mp-table\\|MPTABLE'",
                 "microvm,acpi=off", "-smp", "2", flavour="generic", end="halt")
    check(text, r"^2\n", r"IO-APIC +\d+-edge", r"MPTABLE: Product ID: MICROVM")


def microvm_i686():
    """A 32-bit kernel, at the 32-bit entry point."""
    check(guest("uname -m; cat /proc/interrupts", "microvm", flavour="i686", append="quiet"), r"i686", r"IO-APIC +\d+-")


def microvm_reboot():
    """A reboot through the reset register starts the kernel again from a fresh copy; by a triple fault without ACPI."""
    kernel = rt.asset(guest_assets.kernel, "cloud")
    initrd = rt.once("reboot -f; sleep 100")
    try:
        with vm(kernel, initrd, "microvm", "") as v:
            for _ in range(2):
                v.expect(r"Linux version 6")
                v.expect(r"@@rhea-begin@@")
                v.expect(r"reboot: Restarting system")
            v.expect(r"Linux version 6")
        with vm(kernel, initrd, "microvm,acpi=off,rtc=off", "reboot=t", "-no-reboot") as v:
            v.expect(r"reboot: Restarting system")
            v.wait(0)
    finally:
        os.unlink(initrd)


def microvm_bare():
    """No 8259, 8254 or clock: the TSC's frequency comes from the paravirtual clock."""
    text = guest("cat /proc/interrupts; cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
                 "microvm,pic=off,pit=off,rtc=off", "-cpu", "max", append="quiet")
    check(text, r"\n(tsc|kvm-clock)$", r"LOC:")


def microvm_firmware():
    """With -bios the kernel goes through firmware, which finds tables and kernel in fw_cfg."""
    path = "/usr/share/seabios/bios-microvm.bin"
    if not os.path.exists(path):
        raise rt.Skip(f"{path} (package seabios) is not there")
    check(guest("dmesg | grep -i 'acpi: dsdt\\|bios'", "microvm", "-bios", path), r"DSDT 0x0.*RHEA")


def microvm_bootindex():
    """SeaBIOS starts the disk with the smaller bootindex, by both interfaces: sectors that say who they are."""
    path = "/usr/share/seabios/bios-microvm.bin"
    if not os.path.exists(path):
        raise rt.Skip(f"{path} (package seabios) is not there")
    with tempfile.TemporaryDirectory(prefix="rhea-microvm-") as d:
        args = []
        for i in range(2): # mov dx, 3f8h; mov al, '1' + i; out dx, al; jmp $
            with open(os.path.join(d, str(i)), "wb") as f:
                f.write(bytes([0xba, 0xf8, 0x03, 0xb0, ord("1") + i, 0xee, 0xeb, 0xfe]).ljust(510, b"\0") + b"\x55\xaa")
                f.truncate(1 << 20)
            args += ["-drive", f"file={d}/{i},format=raw,if=none,id=d{i}"]
        for legacy in "on", "off":
            for first in 0, 1:
                index = [f"virtio-blk-device,drive=d{i},bootindex={5 if i == first else 6}" for i in range(2)]
                with rt.Vm("-nodefaults", "-M", "microvm", "-accel", "tcg", "-m", "64M", "-display", "none", "-serial", "stdio",
                           *args, "-device", index[0], "-device", index[1], "-global",
                           f"virtio-mmio.force-legacy={legacy}") as v:
                    v.expect(f"(^|[^0-9]){first + 1}$")


ALL = [microvm_disk, microvm_no_acpi, microvm_mp_table, microvm_i686, microvm_reboot, microvm_bare, microvm_firmware, microvm_bootindex]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The board q35 (hw/i386/pc-q35.c, q35-mch.c, ich9-*.c, acpi-q35.c): SeaBIOS, OVMF and Debian's cloud kernel on it, a
disk behind a root port (hw/pci/bridge.c, root-port.c, pcie.c), a disk and a CD on AHCI (hw/ide/ahci*.c)."""
import hashlib
import os
import subprocess
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

IMG = os.path.join(os.environ["RHEA_BUILD_ROOT"], "tools/img/rhea-img") if "RHEA_BUILD_ROOT" in os.environ \
    else os.path.join(rt.BUILD, "tools/img/rhea-img")
VIRTIO = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
AHCI = ("crypto/crct10dif_common", "lib/crc-t10dif", "lib/crc64", "lib/crc64-rocksoft", "block/t10-pi",
        "scsi_common", "scsi_mod", "sd_mod", "drivers/cdrom/cdrom", "sr_mod", "libata", "libahci", "ahci")
LIST = """for d in /sys/bus/pci/devices/*; do
echo pci $(basename $d) $(cat $d/vendor) $(cat $d/device) $(cat $d/class) $(stat -c %s $d/config)
done
"""


def q35_seabios():
    """SeaBIOS knows the chipset, puts the configuration space into memory, and finds nothing to boot."""
    with rt.Vm("-nodefaults", "-M", "q35", "-accel", "tcg", "-display", "none", "-m", "128M",
               "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log", timeout=60) as vm:
        vm.expect("SeaBIOS")
        vm.expect("Q35")
        vm.expect("00000000b0000000 - 00000000c0000000 = 2 RESERVED")
        vm.expect("No bootable device")


def need(text, *lines):
    for line in lines:
        if line not in text:
            raise rt.Failure(f"the guest did not print '{line}':\n{text}")


def boot(script, *args, modules=(), append="", kernel="cloud", **kw):
    with tempfile.TemporaryDirectory(prefix="rhea-q35-") as d:
        tree = os.path.join(d, "tree")
        rt.module_tree(tree, kernel, modules)
        load = "".join(f"insmod /lib/modules/{os.path.basename(m)}.ko\n" for m in modules)
        initrd = rt.once("set -e\n" + load + script, tree)
        try:
            with rt.linux(guest_assets.kernel(kernel), initrd, append, *args, timeout=300, board="q35", **kw) as vm:
                return rt.once_output(vm), vm.text()
        finally:
            os.unlink(initrd)


def q35_linux():
    """Two CPUs; the kernel uses ECAM, gets the Express capabilities from _OSC, and powers off by ACPI."""
    text, log = boot(LIST + "nproc\ncat /proc/interrupts\ndd if=/dev/mem of=/dev/null count=1 2>/dev/null || true\n",
                     "-smp", "2", mem="3G")
    need(text, "pci 0000:00:00.0 0x8086 0x29c0 0x060000 256", "pci 0000:00:1f.0 0x8086 0x2918 0x060100 256",
         "pci 0000:00:1f.3 0x8086 0x2930 0x0c0500 256", "\n2\n", "IO-APIC   9-fasteoi   acpi")
    need(log, "MMCONFIG at [mem 0xb0000000-0xbfffffff] reserved", "OS now controls [PCIeCapability]")
    for bad in ("ACPI Error", "ACPI BIOS Error", "ACPI Warning", "can't claim"):
        if bad in log:
            raise rt.Failure(f"the kernel complains: {bad}\n{log}")


def q35_root_port():
    """A virtio disk behind a root port: bus 1, link up, MSI-X; written and read, also after the kernel reset the port's bus."""
    with tempfile.TemporaryDirectory(prefix="rhea-q35-") as d:
        image = os.path.join(d, "disk.raw")
        subprocess.run([IMG, "create", "-q", "-f", "raw", image, "16M"], check=True)
        script = LIST + """sleep 1
readlink -f /sys/block/vda/device/..
cat /sys/bus/pci/devices/0000:01:00.0/current_link_speed
grep virtio /proc/interrupts
dd if=/bin/busybox of=/dev/vda bs=64k conv=fsync 2>/dev/null
n=$(stat -c %s /bin/busybox)
echo 3 > /proc/sys/vm/drop_caches
head -c $n /dev/vda | cmp - /bin/busybox && echo equal
pci=/sys/bus/pci/devices/0000:01:00.0
echo bus > $pci/reset_method
echo 0000:01:00.0 > /sys/bus/pci/drivers/virtio-pci/unbind
echo 1 > $pci/reset && echo "bus reset"
echo 0000:01:00.0 > /sys/bus/pci/drivers/virtio-pci/bind
until [ -b /dev/vda ]; do usleep 20000; done
head -c $n /dev/vda | cmp - /bin/busybox && echo "equal after it"
"""
        text, _ = boot(script, "-device", "pcie-root-port,id=rp1,bus=pcie.0,addr=2,chassis=1,multifunction=on",
                       "-device", "pcie-root-port,id=rp2,bus=pcie.0,addr=2.1,chassis=2",
                       "-drive", f"file={image},format=raw,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0,bus=rp1",
                       modules=VIRTIO)
        need(text, "pci 0000:00:02.0 0x1b36 0x000c 0x060400 4096", "pci 0000:00:02.1 0x1b36 0x000c 0x060400 4096",
             "pci 0000:01:00.0 0x1af4 0x1042 0x010000 4096", "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0",
             "2.5 GT/s", "virtio0-req.0", "equal", "bus reset", "equal after it")
        with open(image, "rb") as f, open(guest_assets.busybox(), "rb") as g:
            want = g.read()
            if f.read(len(want)) != want:
                raise rt.Failure("what the guest wrote is not on the image")


def q35_ahci():
    """Linux on AHCI: queued commands, MSI, ten at once; a CD beside it; the image holds what was written."""
    with tempfile.TemporaryDirectory(prefix="rhea-q35-") as d:
        image, cd = os.path.join(d, "disk.qcow2"), os.path.join(d, "cd.iso")
        subprocess.run([IMG, "create", "-q", "-f", "qcow2", image, "64M"], check=True)
        with open(cd, "wb") as f:
            f.write(bytes(range(256)) * 4096)
        script = LIST + """sleep 2
cat /sys/block/sda/device/queue_depth /sys/block/sda/device/model
grep ahci /proc/interrupts
n=$(stat -c %s /bin/busybox)
for i in 0 1 2 3 4 5 6 7 8 9; do dd if=/bin/busybox of=/dev/sda bs=64k seek=$((64 * i)) conv=fsync 2>/dev/null & done
wait
echo 3 > /proc/sys/vm/drop_caches
for i in 0 1 2 3 4 5 6 7 8 9; do
( dd if=/dev/sda bs=64k skip=$((64 * i)) count=64 2>/dev/null | head -c $n | cmp - /bin/busybox && echo equal $i ) & done
wait
dd if=/dev/sda of=/dev/null bs=4k count=100 iflag=direct 2>/dev/null && echo direct
echo cd $(md5sum < /dev/sr0)
"""
        text, log = boot(script, "-drive", f"file={image},format=qcow2,if=ide,serial=ahci-7", "-cdrom", cd,
                         modules=AHCI, kernel="generic")
        with open(cd, "rb") as f:
            want = hashlib.md5(f.read()).hexdigest()
        need(text, "pci 0000:00:1f.2 0x8086 0x2922 0x010601 256", "\n32\n", "RHEA HARDDISK", "PCI-MSI", "direct",
             f"cd {want}", *(f"equal {i}" for i in range(10)))
        need(log, "NCQ (depth 32)")
        for bad in ("exception Emask", "failed command", "hard resetting link", "COMRESET failed"):
            if bad in log:
                raise rt.Failure(f"the kernel complains: {bad}\n{log}")
        subprocess.run([IMG, "check", "-q", image], check=True)
        raw = os.path.join(d, "disk.raw")
        subprocess.run([IMG, "convert", "-O", "raw", image, raw], check=True)
        with open(raw, "rb") as f, open(guest_assets.busybox(), "rb") as g:
            busybox = g.read()
            f.seek(9 * 64 * 65536)
            if f.read(len(busybox)) != busybox:
                raise rt.Failure("what the guest wrote is not on the image")


def q35_ovmf():
    """OVMF comes up to its shell on the serial console."""
    firmware = rt.asset(guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd")
    with rt.Vm("-nodefaults", "-M", "q35", "-accel", "tcg", "-display", "none", "-m", "256M", "-serial", "stdio",
               "-bios", firmware, timeout=300) as vm:
        vm.expect("Shell>")


ALL = [q35_seabios, q35_linux, q35_root_port, q35_ahci, q35_ovmf]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

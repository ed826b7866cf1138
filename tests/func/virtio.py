#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's cloud kernel on a qcow2 disk over virtio-blk (hw/virtio): what the guest writes is read back, discarded, on
the image afterwards, and the image is sound."""
import hashlib
import os
import subprocess
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

IMG = os.path.join(os.environ["RHEA_BUILD_ROOT"], "tools/img/rhea-img")
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
SCRIPT = """set -e
for m in %s; do insmod /lib/modules/$m.ko; done
sleep 1
test $(cat /sys/block/vda/size) = 131072
echo serial $(cat /sys/block/vda/serial)
grep virtio /proc/interrupts
f=$(mktemp)
dd if=/dev/zero bs=1M count=8 | tr '\\000' 'R' > $f
cat /bin/busybox >> $f
sha1sum < $f
size=$(stat -c %%s $f)
dd if=$f of=/dev/vda bs=64k seek=16 conv=fsync
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/vda bs=64k skip=16 2>/dev/null | head -c $size | sha1sum
dd if=/dev/zero of=/dev/vda bs=512 seek=5 count=1 conv=fsync
blkdiscard -o 52428800 -l 1048576 /dev/vda
""" % " ".join(MODULES)


def run(*args):
    return subprocess.run([IMG, *args], check=True, stdout=subprocess.PIPE, text=True).stdout


def disk(*args):
    with tempfile.TemporaryDirectory(prefix="rhea-virtio-") as d:
        image, raw, tree = (os.path.join(d, n) for n in ("disk.qcow2", "disk.raw", "tree"))
        rt.module_tree(tree, "cloud", MODULES)
        run("create", "-q", "-f", "qcow2", image, "64M")
        initrd = rt.once(SCRIPT, tree)
        try:
            with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-drive",
                          f"file={image},format=qcow2,id=d0,discard=unmap,{args[0]}", *args[1:], timeout=300) as vm:
                text = rt.once_output(vm)
        finally:
            os.unlink(initrd)
        sums = [w[0] for w in map(str.split, text.splitlines()) if len(w) == 2 and w[1] == "-"]
        if len(sums) != 2 or sums[0] != sums[1] or "serial number-7" not in text or "virtio0-req" not in text:
            raise rt.Failure(f"the guest read something else than it wrote, or missed something:\n{text}")
        run("check", image)
        run("convert", "-O", "raw", image, raw)
        with open(raw, "rb") as f:
            data = f.read()
        found = any(hashlib.sha1(data[1 << 20:(1 << 20) + n]).hexdigest() == sums[0]
                    for n in [(8 << 20) + os.path.getsize(guest_assets.busybox())])
        if len(data) != 64 << 20 or not found:
            raise rt.Failure("what the guest wrote is not on the image")


def virtio_drive():
    disk("if=virtio,serial=number-7")


def virtio_queues():
    disk("if=none", "-device", "virtio-blk-pci,drive=d0,serial=number-7,num-queues=4,queue-size=64", "-smp", "2")


ALL = [virtio_drive, virtio_queues]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

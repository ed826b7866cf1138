#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's cloud kernel on a qcow2 disk over virtio-blk (hw/virtio): what the guest writes is read back, discarded, on
the image afterwards, and the image is sound. A host without space stops the machine until there is some
(backends/block/errors.c)."""
import hashlib
import os
import subprocess
import sys
import shutil
import tempfile

import qmp
import rheatest as rt
from rheatest import guest_assets

IMG = os.path.join(os.environ["RHEA_BUILD_ROOT"], "tools/img/rhea-img")
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
# Takes the modules' names; the disk has 64 MiB.
FIND_DISK = """set -e
for m in %s; do insmod /lib/modules/$m.ko; done
sleep 1
test $(cat /sys/block/vda/size) = 131072
echo serial $(cat /sys/block/vda/serial)
echo features $(cat /sys/bus/virtio/devices/virtio0/features)
grep virtio /proc/interrupts
"""
SCRIPT = (FIND_DISK + """f=$(mktemp)
dd if=/dev/zero bs=1M count=8 | tr '\\000' 'R' > $f
cat /bin/busybox >> $f
sha1sum < $f
size=$(stat -c %%s $f)
dd if=$f of=/dev/vda bs=64k seek=16 conv=fsync
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/vda bs=64k skip=16 2>/dev/null | head -c $size | sha1sum
dd if=/dev/zero of=/dev/vda bs=512 seek=5 count=1 conv=fsync
blkdiscard -o 52428800 -l 1048576 /dev/vda
""") % " ".join(MODULES)


def run(*args):
    return subprocess.run([IMG, *args], check=True, stdout=subprocess.PIPE, text=True).stdout


def disk(*args, version_1=True, packed=False, **kwargs):
    with tempfile.TemporaryDirectory(prefix="rhea-virtio-") as d:
        image, raw, tree = (os.path.join(d, n) for n in ("disk.qcow2", "disk.raw", "tree"))
        rt.module_tree(tree, "cloud", MODULES)
        run("create", "-q", "-f", "qcow2", image, "64M")
        initrd = rt.once(SCRIPT, tree)
        try:
            with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-drive",
                          f"file={image},format=qcow2,id=d0,discard=unmap,{args[0]}", *args[1:], timeout=300, **kwargs) as vm:
                text = rt.once_output(vm)
        finally:
            os.unlink(initrd)
        bits = text.split("features ")[1].split()[0]
        qmp.expect((bits[32] == "1", bits[34] == "1") == (version_1, packed), f"the features are {bits}")
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


def virtio_legacy():
    """The interface of before virtio 1.0, with the pin, with MSI-X; one of both at a PCI Express port."""
    disk("if=none", "-device", "virtio-blk-pci,drive=d0,serial=number-7,disable-modern=on", version_1=False)
    disk("if=none", "-device", "virtio-blk-pci,drive=d0,serial=number-7,disable-modern=on,disable-legacy=off,num-queues=2",
         "-smp", "2", version_1=False, board="q35")


def virtio_transitional():
    disk("if=none", "-device", "virtio-blk-pci-transitional,drive=d0,serial=number-7")
    disk("if=none", "-device", "pcie-root-port,id=rp", "-device",
         "virtio-blk-pci,drive=d0,serial=number-7,bus=rp,disable-legacy=off,page-per-vq=on", board="q35")


def virtio_packed():
    disk("if=none", "-device", "virtio-blk-pci,drive=d0,serial=number-7,packed=on,num-queues=2", "-smp", "2", packed=True)
    disk("if=none", "-device", "virtio-blk-pci,drive=d0,serial=number-7,packed=on,indirect_desc=off,event_idx=off,queue-size=32",
         packed=True, board="q35")


def virtio_queues():
    disk("if=none", "-device", "virtio-blk-pci,drive=d0,serial=number-7,num-queues=4,queue-size=64", "-smp", "2")


EACH_QUEUE = """set -e
for m in %s; do insmod /lib/modules/$m.ko; done
until test -e /dev/vda; do sleep 0.2; done
echo queues $(ls /sys/block/vda/mq | wc -l)
for cpu in 0 1 2 3; do taskset -c $cpu dd if=/dev/vda of=/dev/null bs=4k count=8 skip=$((cpu * 8)) iflag=direct 2>/dev/null; done
while read line; do
    set -- $line
    case $line in *virtio0-req*) n=0; for i in $2 $3 $4 $5; do n=$((n + i)); done; eval echo "irq \\${$#} \\$n";; esac
done < /proc/interrupts
""" % " ".join(MODULES)


def virtio_default_queues():
    """Without num-queues there is a queue for each vCPU, and Linux uses each of four."""
    with tempfile.TemporaryDirectory(prefix="rhea-virtio-") as d:
        image, tree = os.path.join(d, "disk"), os.path.join(d, "tree")
        run("create", "-q", "-f", "raw", image, "64M")
        rt.module_tree(tree, "cloud", MODULES)
        initrd = rt.once(EACH_QUEUE, tree)
        try:
            with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-smp", "4", "-drive",
                          f"file={image},format=raw,if=virtio", timeout=300) as vm:
                lines = [w.split() for w in rt.once_output(vm).splitlines()]
        finally:
            os.unlink(initrd)
    counts = {w[1]: int(w[2]) for w in lines if w[:1] == ["irq"]}
    qmp.expect(["queues", "4"] in lines and sorted(counts) == [f"virtio0-req.{i}" for i in range(4)]
               and min(counts.values()) > 0, f"the guest says {lines}")


def virtio_iothread():
    """The disk's requests are another thread's (system/iothread.c)."""
    disk("if=none", "-object", "iothread,id=io0", "-device",
         "virtio-blk-pci,drive=d0,serial=number-7,iothread=io0,num-queues=2", "-smp", "2")


FILL = """set -e
for m in %s; do insmod /lib/modules/$m.ko; done
until test -e /dev/vda; do sleep 0.2; done
yes "a line of what is written" | head -c 25165824 > /data
dd if=/data of=/dev/vda bs=64k seek=16 conv=fsync
echo 3 > /proc/sys/vm/drop_caches
sum=$(sha1sum < /data)
test "$(dd if=/dev/vda bs=64k skip=16 count=384 2>/dev/null | sha1sum)" = "$sum"
echo the sum is ${sum%%%% *}
dmesg | grep -i 'i/o error' || true
""" % " ".join(MODULES)


def fill(d, kind, *args):
    """The guest writes 24 MiB to an image on a tmpfs that has room for 16."""
    tree, sock, raw, tmpfs = (os.path.join(d, n) for n in ("tree", "qmp", "raw", "tmpfs"))
    os.mkdir(tmpfs)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", tmpfs], check=True)
    image, filler = os.path.join(tmpfs, "disk"), os.path.join(tmpfs, "filler")
    run("create", "-q", "-f", kind, image, "64M")
    with open(filler, "wb") as f:
        f.write(bytes(24 << 20))
    rt.module_tree(tree, "cloud", MODULES)
    initrd = rt.once(FILL, tree)
    try:
        with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-qmp", f"unix:{sock},server=on,wait=off", "-drive",
                      f"file={image},format={kind},id=d0,{args[0]}", *args[1:], timeout=300) as vm:
            c = qmp.Client(sock)
            c.s.settimeout(300 * rt.SLOW)
            error = c.event("BLOCK_IO_ERROR")["data"]
            qmp.expect(error["device"] == "d0" and error["operation"] == "write" and error["action"] == "stop" and
                      error["nospace"] is True, f"the event {error}")
            c.event("STOP")
            qmp.expect(c.call("query-status")["status"] == "io-error", "the state")
            qmp.expect(c.call("query-block")[0]["io-status"] == "nospace", "the disk's state")
            c.call("cont") # too early: it fails again
            c.event("RESUME")
            c.event("STOP")
            os.unlink(filler)
            c.call("cont")
            c.event("RESUME")
            qmp.expect(c.call("query-block")[0]["io-status"] == "ok", "the disk's state afterwards")
            text = rt.once_output(vm)
    finally:
        os.unlink(initrd)
    want = hashlib.sha1((b"a line of what is written\n" * (1 << 20))[:24 << 20]).hexdigest()
    qmp.expect(f"the sum is {want}\n" in text and "rror" not in text, f"what the guest says:\n{text}")
    if kind == "qcow2":
        run("check", image)
        run("convert", "-O", "raw", image, raw)
    with open(raw if kind == "qcow2" else image, "rb") as f:
        f.seek(1 << 20)
        qmp.expect(hashlib.sha1(f.read(24 << 20)).hexdigest() == want, "what is on the image")
    subprocess.run(["umount", tmpfs], check=True)


def in_namespace(name):
    """Runs the step `name` of this script where it may mount."""
    how = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    if not shutil.which("unshare") or subprocess.run([*how, "true"], capture_output=True, check=False).returncode:
        raise rt.Skip("mount namespaces are not available here")
    p = subprocess.run([*how, sys.executable, __file__, name], stdout=subprocess.PIPE, text=True, check=False)
    qmp.expect(p.returncode == 0, p.stdout)


def virtio_enospc():
    in_namespace("enospc_qcow2")
    in_namespace("enospc_raw")


def enospc_qcow2():
    with tempfile.TemporaryDirectory(prefix="rhea-virtio-") as d:
        fill(d, "qcow2", "if=virtio")


def enospc_raw():
    with tempfile.TemporaryDirectory(prefix="rhea-virtio-") as d:
        fill(d, "raw", "if=none", "-device", "virtio-blk-pci,drive=d0,werror=stop,iothread=t", "-object", "iothread,id=t")


GROW = """set -e
for m in %s; do insmod /lib/modules/$m.ko; done
until test -e /dev/vda; do sleep 0.2; done
echo @@size $(cat /sys/block/vda/size)@@
until test $(cat /sys/block/vda/size) = 131072; do sleep 0.2; done
dmesg | grep 'new size'
head -c 1048576 /bin/busybox > /data
dd if=/data of=/dev/vda bs=64k seek=1008 conv=fsync
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/vda bs=64k skip=1008 2>/dev/null | cmp - /data && echo the new space holds
""" % " ".join(MODULES)


def virtio_resize():
    """A qcow2 disk grows under Linux by QMP, a raw one by the monitor's command; the new space is used."""
    for kind in "qcow2", "raw":
        with tempfile.TemporaryDirectory(prefix="rhea-virtio-") as d:
            image, tree, sock = (os.path.join(d, n) for n in ("disk", "tree", "qmp"))
            run("create", "-q", "-f", kind, image, "32M")
            rt.module_tree(tree, "cloud", MODULES)
            initrd = rt.once(GROW, tree)
            try:
                with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-qmp", f"unix:{sock},server=on,wait=off",
                              "-drive", f"file={image},format={kind},id=d0,if=virtio", timeout=300) as vm:
                    vm.expect("@@size 65536@@")
                    vm.seen = 0
                    c = qmp.Client(sock)
                    if kind == "qcow2":
                        c.call("block_resize", device="d0", size=64 << 20)
                    else:
                        said = c.call("human-monitor-command", command_line="block_resize d0 64")
                        qmp.expect(said == "", f"the monitor says {said}")
                    text = rt.once_output(vm)
            finally:
                os.unlink(initrd)
            qmp.expect("the new space holds" in text, f"what the guest says:\n{text}")


LIMIT = """set -e
for m in %s; do insmod /lib/modules/$m.ko; done
until test -e /dev/vda; do sleep 0.2; done
begin=$(cut -d' ' -f1 /proc/uptime)
dd if=/dev/vda of=/dev/null bs=64k count=384 iflag=direct
echo from $begin to $(cut -d' ' -f1 /proc/uptime)
""" % " ".join(MODULES)


def virtio_limit():
    """Linux reads 24 MiB at 4 MiB a second, no faster. How much slower is the host's business."""
    limit, size = 4 << 20, 24 << 20
    with tempfile.TemporaryDirectory(prefix="rhea-virtio-") as d:
        image, tree = os.path.join(d, "disk"), os.path.join(d, "tree")
        run("create", "-q", "-f", "raw", image, "64M")
        rt.module_tree(tree, "cloud", MODULES)
        initrd = rt.once(LIMIT, tree)
        try:
            with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-drive",
                          f"file={image},format=raw,if=virtio,throttling.bps-total={limit}", timeout=300) as vm:
                words = rt.once_output(vm).split()
        finally:
            os.unlink(initrd)
    i = words.index("from")
    rate = size / (float(words[i + 3]) - float(words[i + 1]))
    qmp.expect(rate < 1.05 * limit, f"{rate:.0f} bytes a second are more than {limit}")
    return f"{100 * rate / limit:.1f} % of the limit"


ALL = [virtio_drive, virtio_legacy, virtio_transitional, virtio_packed, virtio_queues, virtio_default_queues, virtio_iothread, virtio_enospc, virtio_resize,
       virtio_limit]
INNER = [enospc_qcow2, enospc_raw]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL + (INNER if wanted else []) if not wanted or t.__name__ in wanted])

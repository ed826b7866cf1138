#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Devices come to a running Debian kernel and go again (hw/acpi/pcihp*.c, hw/pci/unplug.c, pcie-slot.c, system/hotplug.c,
monitor/device_add.c): a disk many times under one id, each time with other contents, a random number generator, network
cards, a disk controller with its disk (hw/ide/ahci.c). By ACPI on pc and behind a root port of q35, after SeaBIOS and after
OVMF; by the port's own registers."""
import hashlib
import os
import random
import sys
import tempfile

import q35
import qmp
import rheatest as rt
from qmp import expect
from rheatest import guest_assets

VIRTIO = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
          "drivers/char/hw_random/virtio-rng", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net")
E1000 = ("drivers/net/ethernet/intel/e1000/e1000",)
SIZE = 1 << 20
MAC = "52:54:00:ab:cd:ef"

DISK = """n=0
while [ $n -lt %d ]; do
  until d=$(ls /sys/block | grep ^vd) && [ -b /dev/$d ]; do usleep 20000; done
  echo "disk $n $(md5sum < /dev/$d)"
  while [ -e /sys/block/$d ]; do usleep 20000; done
  echo "disk $n gone"
  n=$((n + 1))
done
"""
RNG = """rng=/sys/class/misc/hw_random/rng_current
until grep -q virtio $rng 2>/dev/null; do usleep 20000; done
echo "rng $(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | hexdump -v -e '16/1 "%02x"')"
while grep -q virtio $rng; do usleep 20000; done
echo "rng gone"
"""
NET = """until [ -e /sys/class/net/eth0/address ]; do usleep 20000; done
echo "net $(cat /sys/class/net/eth0/address)"
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
until ping -c 1 -W 5 10.0.2.2 | grep 'bytes from'; do usleep 20000; done
while [ -e /sys/class/net/eth0 ]; do usleep 20000; done
echo "net gone"
"""


CONTROLLER = """until [ -b /dev/sda ]; do usleep 20000; done
echo "sda $(md5sum < /dev/sda)"
dd if=/dev/sda of=/dev/null bs=4k iflag=direct 2>/dev/null &
while [ -e /sys/block/sda ]; do usleep 20000; done
echo "sda gone"
until [ $(ls /sys/class/ata_port | wc -l) = 6 ]; do usleep 20000; done
echo "6 ports"
while ls /sys/class/ata_port | grep -q ata; do usleep 20000; done
echo "ports gone"
"""


class Guest:
    """A kernel that runs the script after its modules are there, and a session of the machine's."""

    def __init__(self, board, script, *args, flavour="cloud", modules=VIRTIO, accel="tcg"):
        self.dir = tempfile.TemporaryDirectory(prefix="rhea-hotplug-")
        tree, self.sock = os.path.join(self.dir.name, "tree"), os.path.join(self.dir.name, "qmp")
        self.image = os.path.join(self.dir.name, "disk.raw")
        rt.module_tree(tree, flavour, modules)
        names = " ".join(m.split("/")[-1] for m in modules)
        self.initrd = rt.once(f"set -e\nfor m in {names}; do insmod /lib/modules/$m.ko; done\n"
                              f"echo kernel is ready\n{script}read -r go </dev/console\n{rt.HEALTH}", tree)
        self.bus = {}
        if board == "q35":
            args += ("-device", "pcie-root-port,id=rp0,chassis=1,addr=2,multifunction=on",
                     "-device", "pcie-root-port,id=rp1,chassis=2,addr=2.1")
            self.bus = {"bus": "rp1"}
        self.vm = rt.linux(guest_assets.kernel(flavour), self.initrd, "quiet", "-qmp", f"unix:{self.sock},server=on,wait=off",
                           *args, board=board, accel=accel, timeout=300)

    def __enter__(self):
        self.vm.__enter__()
        self.qmp = qmp.Client(self.sock)
        self.qmp.s.settimeout(300 * rt.SLOW)
        self.vm.expect("kernel is ready")
        return self

    def __exit__(self, *exc):
        try:
            self.vm.__exit__(*exc)
        finally:
            os.unlink(self.initrd)
            self.dir.cleanup()

    def ids(self):
        """What query-pci and the tree of objects know."""
        def below(devices):
            for d in devices:
                yield d["qdev_id"]
                yield from below(d.get("pci_bridge", {}).get("devices", []))
        pci = {i for bus in self.qmp.call("query-pci") for i in below(bus["devices"])}
        tree = {p["name"] for p in self.qmp.call("qom-list", path="/machine/peripheral")}
        return pci, tree

    def add(self, driver, **props):
        self.qmp.call("device_add", driver=driver, id="x", **self.bus, **props)
        pci, tree = self.ids()
        expect("x" in pci and "x" in tree, f"the new device is known: {pci} {tree}")
        expect(self.qmp.call("qom-get", path="/machine/peripheral/x", property="hotplugged") is True, "hotplugged")

    def remove(self):
        self.qmp.call("device_del", id="x")
        data = self.qmp.event("DEVICE_DELETED")["data"]
        expect(data == {"device": "x", "path": "/machine/peripheral/x"}, f"the event: {data}")
        pci, tree = self.ids()
        expect("x" not in pci and "x" not in tree, f"the device is gone: {pci} {tree}")

    def disks(self, rounds):
        for n in range(rounds):
            data = random.Random(n).randbytes(SIZE)
            with open(self.image, "wb") as f:
                f.write(data)
            self.qmp.call("blockdev-add", **{"driver": "raw", "node-name": "n0", "file": {"driver": "file", "filename": self.image}})
            self.add("virtio-blk-pci", drive="n0")
            self.vm.expect(f"disk {n} {hashlib.md5(data).hexdigest()}")
            self.remove()
            self.vm.expect(f"disk {n} gone")
            self.qmp.call("blockdev-del", **{"node-name": "n0"})

    def rng(self):
        self.add("virtio-rng-pci")
        self.vm.expect("rng [0-9a-f]{32}")
        self.remove()
        self.vm.expect("rng gone")

    def net(self, card):
        self.add(card, netdev="n0", mac=MAC)
        self.vm.expect(f"net {MAC}")
        self.vm.expect("bytes from 10.0.2.2")
        self.remove()
        self.vm.expect("net gone")

    def end(self):
        self.vm.send("\n")  # not before: the machine ends with its guest
        self.vm.seen = 0
        text = rt.once_output(self.vm)
        rt.healthy(text.splitlines())
        return text


NETDEV = ("-netdev", "user,id=n0")


def everything(board, rounds, *args, **kwargs):
    with Guest(board, DISK % rounds + RNG + NET, *NETDEV, *args, **kwargs) as g:
        g.disks(rounds)
        g.rng()
        g.net("virtio-net-pci")
        g.end()
        return g.vm.text()


def hotplug_pc():
    log = everything("pc", 20)
    for bad in ("ACPI Error", "ACPI BIOS Error", "ACPI Warning"):
        expect(bad not in log, f"the kernel complains: {bad}\n{log}")


def hotplug_q35():
    everything("q35", 20, "-smp", "2")


def hotplug_native():
    """By the registers of the port: the guest takes five seconds to believe its attention button."""
    everything("q35", 2, "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")


def hotplug_iothread():
    """The disk is served by a thread of its own, and is in use when it is asked to go."""
    script = DISK.replace("while [ -e /sys", "dd if=/dev/$d of=/dev/null bs=4k iflag=direct 2>/dev/null &\n  while [ -e /sys")
    with Guest("pc", script % 10, "-object", "iothread,id=t0", "-smp", "2") as g:
        add = g.add
        g.add = lambda driver, **props: add(driver, iothread="t0", **props)
        g.disks(10)
        g.end()


def hotplug_e1000():
    with Guest("pc", NET, *NETDEV, flavour="generic", modules=E1000) as g:
        g.net("e1000")
        g.end()


def hotplug_ahci():
    """A controller goes with the disk on it, which is being read, and one without drives comes and goes."""
    data = random.Random(3).randbytes(4 * SIZE)
    with tempfile.NamedTemporaryFile(prefix="rhea-hotplug-") as image:
        image.write(data)
        image.flush()
        with Guest("pc", CONTROLLER, "-device", "ich9-ahci,id=x", "-blockdev",
                   f"driver=raw,node-name=n0,file.driver=file,file.filename={image.name}", "-device", "ide-hd,id=sda,bus=x.2,drive=n0",
                   flavour="generic", modules=q35.AHCI) as g:
            g.vm.expect(f"sda {hashlib.md5(data).hexdigest()}")
            g.qmp.call("device_del", id="x")
            deleted = [g.qmp.event("DEVICE_DELETED")["data"].get("device") for _ in range(2)]
            expect(deleted == ["sda", "x"], f"the drive goes first: {deleted}")
            g.vm.expect("sda gone")
            g.qmp.call("blockdev-del", **{"node-name": "n0"})
            g.add("ich9-ahci")
            g.vm.expect("6 ports")
            g.remove()
            g.vm.expect("ports gone")
            g.end()


def hotplug_ovmf():
    firmware = rt.asset(guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd")
    everything("q35", 3, "-bios", firmware)


def hotplug_kvm():
    everything("pc", 20, accel=rt.kvm())


def hotplug_kvm_q35():
    everything("q35", 20, accel=rt.kvm())


ALL = [hotplug_pc, hotplug_q35, hotplug_native, hotplug_iothread, hotplug_e1000, hotplug_ahci, hotplug_ovmf, hotplug_kvm, hotplug_kvm_q35]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

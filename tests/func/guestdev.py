#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's cloud kernel with the small devices that guests are given beside disks and networks: random numbers
(hw/virtio/virtio-rng.c, backends/rng.c), panics (hw/misc/pvpanic.c, hw/i386/acpi-pc.c)."""
import os
import random
import sys
import tempfile

import qmp
import rheatest as rt

PCI = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
MMIO = ("virtio_ring", "virtio", "virtio_mmio")


def guest(modules, script, *args, board="pc", flavour="cloud", talk=None, **kwargs):
    """What the script says after its modules are there; talk: is called with the machine before that."""
    with rt.booted(modules, script, "quiet", *args, board=board, flavour=flavour, **kwargs) as vm:
        if talk:
            talk(vm)
        return rt.once_output(vm)


RNG = ("drivers/char/hw_random/virtio-rng",)
READ = """cat /sys/class/misc/hw_random/rng_current
echo features $(cat /sys/bus/virtio/devices/virtio0/features)
for i in 1 2 3 4; do echo "bytes $(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | hexdump -v -e '16/1 "%02x"')"; done
dd if=/dev/hwrng of=/r bs=4096 count=8 iflag=fullblock 2>/dev/null
echo size $(stat -c %s /r) $(gzip -c /r | wc -c)
"""


def read_rng(transport, *args, board="pc", **kwargs):
    text = guest(transport + RNG, READ, *args, board=board, **kwargs)
    size, packed = text.split("size ")[1].split()[:2]
    qmp.expect("virtio_rng.0" in text and size == "32768" and int(packed) > 32000, f"the guest's random numbers:\n{text}")
    return text


def rng_builtin():
    text = read_rng(PCI, "-device", "virtio-rng-pci")
    qmp.expect(text.split("features ")[1][32] == "1", f"no virtio 1.0: {text}")
    read_rng(PCI, "-object", "rng-builtin,id=r0", "-device", "virtio-rng-pci,rng=r0,packed=on", board="q35")


def rng_legacy():
    text = read_rng(PCI, "-device", "virtio-rng-pci,disable-modern=on")
    qmp.expect(text.split("features ")[1][32] == "0", f"virtio 1.0: {text}")


def rng_microvm():
    read_rng(MMIO, "-device", "virtio-rng-device", board="microvm")


def rng_file():
    """The guest gets the file's bytes and no others."""
    with tempfile.NamedTemporaryFile() as f:
        data = random.Random(3).randbytes(8 << 20)
        f.write(data)
        f.flush()
        text = read_rng(PCI, "-object", f"rng-random,id=r0,filename={f.name}", "-device",
                        "virtio-rng-pci,rng=r0,max-bytes=1048576,period=1000")
    pieces = [bytes.fromhex(line.split()[1]) for line in text.splitlines() if line.startswith("bytes ")]
    qmp.expect(len(pieces) == 4 and all(p in data for p in pieces), f"the bytes are not the file's:\n{text}")


# Unlike a reset, a panic with panic=0 stays where it is: the host ends it.
PANIC = """echo 1 > /proc/sys/kernel/sysrq
cat /sys/bus/pci/drivers/pvpanic-pci/*/vendor /sys/bus/acpi/devices/QEMU0001:00/path 2>/dev/null || true
echo panics now
echo c > /proc/sysrq-trigger
"""
PVPANIC = ("drivers/misc/pvpanic/pvpanic",)


def panic(modules, told, *args, board="pc"):
    """Linux says that it panics by the register; told: what it found before."""
    with tempfile.TemporaryDirectory(prefix="rhea-guestdev-") as d:
        sock = os.path.join(d, "qmp")
        with rt.booted(modules, PANIC, "quiet panic=0", *args, "-qmp", f"unix:{sock},server=on,wait=off", "-action",
                       "panic=pause", board=board) as vm:
            c = qmp.Client(sock)
            c.s.settimeout(300 * rt.SLOW)
            vm.expect(told + r"[^$]*panics now")
            qmp.expect(c.event("GUEST_PANICKED")["data"]["action"] == "pause", "the event's action")
            c.event("STOP")
            qmp.expect(c.call("query-status")["status"] == "guest-panicked", "the state")
            c.call("quit")
            vm.wait(0)


def pvpanic_pci():
    panic(PVPANIC + ("drivers/misc/pvpanic/pvpanic-pci",), "0x1b36", "-device", "pvpanic-pci", board="q35")


def pvpanic_isa():
    """By the port that the ACPI tables tell."""
    panic(PVPANIC + ("drivers/misc/pvpanic/pvpanic-mmio",), r"PEVT", "-device", "pvpanic,ioport=0x506")


rt.main(*(globals()[n] for n in sys.argv[1:] or ("rng_builtin", "rng_legacy", "rng_microvm", "rng_file", "pvpanic_pci",
                                             "pvpanic_isa")))

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's cloud kernel with the small devices that guests are given beside disks and networks: random numbers
(hw/virtio/virtio-rng.c, backends/rng.c), panics (hw/misc/pvpanic.c, hw/i386/acpi-pc.c), the VM generation ID and notes for
dumps (hw/misc/vmgenid.c, vmcoreinfo.c, fw_cfg.c, hw/acpi/tables.c)."""
import os
import random
import re
import struct
import sys
import tempfile
import uuid

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


FW_CFG = ("drivers/firmware/qemu_fw_cfg",)
GENID = """cat /sys/bus/acpi/devices/QEMUVGID:00/status /sys/bus/acpi/drivers/vmgenid/QEMUVGID:00/path
grep -i 'system ram' /proc/iomem
echo "placed $(hexdump -v -e '8/1 "%02x"' /sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_addr/raw)."
read line < /dev/console
"""


class Memory:
    """The guest's, as the host sees it, while its script waits; what(read, vm): looks."""

    def __init__(self, what):
        self.what, self.dir = what, tempfile.TemporaryDirectory(prefix="rhea-guestdev-")
        self.sock = os.path.join(self.dir.name, "qmp")
        self.args = ("-qmp", f"unix:{self.sock},server=on,wait=off")

    def __call__(self, vm):
        dump = os.path.join(self.dir.name, "memory")
        with self.dir:
            c = qmp.Client(self.sock)
            c.s.settimeout(300 * rt.SLOW)

            def read(addr, size):
                c.call("pmemsave", val=addr, size=size, filename=dump)
                with open(dump, "rb") as f:
                    return f.read()

            self.what(read, vm, c)
            c.close()
        vm.seen = 0
        vm.send("go\n")


def genid(board):
    """Linux's driver is bound, and where firmware told that it is the GUID is, in memory that Linux does not use."""
    wanted = uuid.UUID("324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87")

    def look(read, vm, c):
        addr = int.from_bytes(bytes.fromhex(vm.expect(r"placed ([0-9a-f]{16})\.").group(1).decode()), "little")
        qmp.expect(addr % 4096 == 40 and read(addr, 16) == wanted.bytes_le, f"the GUID at {addr:#x}: {read(addr, 16).hex()}")
        ram = [[int(n, 16) for n in m.groups()] for m in re.finditer(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", vm.text())]
        qmp.expect(ram and not any(first <= addr <= last for first, last in ram), f"memory of Linux's own: {addr:#x}")
        qmp.expect(c.call("query-vm-generation-id") == {"guid": str(wanted)}, "query-vm-generation-id")
        qmp.expect(c.call("human-monitor-command", command_line="info vm-generation-id").strip() == str(wanted), "the human monitor")

    memory = Memory(look)
    text = guest(FW_CFG, GENID, "-device", f"vmgenid,guid={wanted},id=g", *memory.args, board=board, flavour="generic", talk=memory)
    qmp.expect(re.search(r"^15\n\\_SB_?\.VGEN$", text, re.M), f"Linux's driver:\n{text}")


def vmgenid_pc():
    genid("pc")


def vmgenid_q35():
    genid("q35")


CORE = """f=/sys/firmware/qemu_fw_cfg/by_name/etc/vmcoreinfo/raw
echo "note $(hexdump -v -e '16/1 "%02x"' $f)."
read line < /dev/console
"""


def vmcoreinfo():
    """The kernel's note is where it says, and is one of its own."""
    def look(read, vm, c):
        _, given, size, paddr = struct.unpack("<HHIQ", bytes.fromhex(vm.expect(r"note ([0-9a-f]{32})\.").group(1).decode()))
        qmp.expect(given == 1 and 24 < size < 1 << 20, f"format {given}, {size} bytes")
        note = read(paddr, size)
        qmp.expect(note[12:22] == b"VMCOREINFO" and b"OSRELEASE=" in note, f"the note: {note[:100]}")

    memory = Memory(look)
    guest(FW_CFG, CORE, "-device", "vmcoreinfo", *memory.args, board="q35", flavour="generic", talk=memory)


rt.main(*(globals()[n] for n in sys.argv[1:] or ("rng_builtin", "rng_legacy", "rng_microvm", "rng_file", "pvpanic_pci",
                                             "pvpanic_isa", "vmgenid_pc", "vmgenid_q35", "vmcoreinfo")))

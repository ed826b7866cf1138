#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's kernel finds USB devices behind each controller: keys and places that QMP sends arrive on /dev/input/event*, a
disk that comes and goes is read and written. Covers hw/usb/."""
import hashlib
import os
import random
import sys
import tempfile

import qmp
import rheatest as rt

CORE = ("drivers/usb/common/usb-common", "drivers/usb/core/usbcore")
HID = ("drivers/hid/hid", "drivers/hid/hid-generic", "drivers/hid/usbhid/usbhid", "drivers/input/evdev")
DISK = ("crypto/crct10dif_common", "crypto/crct10dif_generic", "lib/crc-t10dif", "lib/crc64", "crypto/crc64_rocksoft_generic",
        "lib/crc64-rocksoft", "block/t10-pi", "drivers/scsi/scsi_common", "drivers/scsi/scsi_mod", "drivers/scsi/sd_mod",
        "drivers/usb/storage/usb-storage")
HOSTS = {"xhci": ("xhci-hcd", "xhci-pci"), "uhci": ("uhci-hcd",), "ehci": ("ehci-hcd", "ehci-pci"),
         "both": ("ehci-hcd", "ehci-pci", "uhci-hcd")}

# listen NAME EVENTS: so many events of that device, type, code and value of each.
INPUT = r"""
find() { until e=$(grep -lx "$1" /sys/class/input/event*/device/name); do sleep 0.1; done; e=${e#/sys/class/input/}; echo ${e%%/*}; }
listen() {
  exec 3< /dev/input/$(find "$1")
  echo "@listening@"
  dd bs=24 count=$2 <&3 2>/dev/null | hexdump -v -e '4/4 "%x," 1/2 " %u" 1/2 " %u" 1/4 " %u\n"' > /events
  exec 3<&-
  echo "@events $(cut -d' ' -f2- /events | tr '\n' ',')@"
}
"""
MIB = 1 << 20


def modules(host):
    return CORE + tuple(f"drivers/usb/host/{m}" for m in HOSTS[host]) + HID + DISK


class Monitor:
    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="rhea-usb-")
        self.sock = os.path.join(self.dir.name, "qmp")
        self.args = ("-qmp", f"unix:{self.sock},server=on,wait=off")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.dir.cleanup()

    def connect(self):
        self.c = qmp.Client(self.sock)
        self.c.s.settimeout(300 * rt.SLOW)
        return self.c


def key(name, down):
    return {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": name}}}


def place(axis, value):
    return {"type": "abs", "data": {"axis": axis, "value": value}}


def heard(vm, want, kinds=(1, 3)):
    """What listen() tells, of these types: keys and places."""
    got = vm.expect(r"@events ([^@]*),@").group(1).decode()
    events = [tuple(int(n) for n in e.split()) for e in got.split(",")]
    qmp.expect([e for e in events if e[0] in kinds] == want, f"events {events}, wanted {want}")


def inputs(host, *args, board="pc"):
    """Keys and places arrive, and the keyboard's LEDs are the guest's."""
    script = INPUT + """
listen "QEMU QEMU USB Keyboard" 6
listen "QEMU QEMU USB Tablet" 3
listen "QEMU QEMU USB Tablet" 3
"""
    with Monitor() as m, rt.booted(modules(host), script + rt.HEALTH, "quiet", *args, *m.args, flavour="generic",
                                   board=board) as vm:
        vm.expect("@listening@")
        c = m.connect()
        c.call("input-send-event", events=[key("a", True)])
        c.call("input-send-event", events=[key("a", False)])
        heard(vm, [(1, 30, 1), (1, 30, 0)])
        for x, y in ((0x1234, 0x5678), (0x7fff, 1)):
            vm.expect("@listening@")
            c.call("input-send-event", events=[place("x", x), place("y", y)])
            heard(vm, [(3, 0, x), (3, 1, y)])
        info = c.call("human-monitor-command", command_line="info usb")
        qmp.expect("Product QEMU USB Tablet" in info and "Product QEMU USB Keyboard" in info, f"info usb: {info}")
        vm.seen = 0
        rt.healthy(rt.once_output(vm).splitlines())


def disk(host, controller, *props, board="pc", size=16, more=(), first=""):
    """A disk that is plugged in later on: what it has, what the guest writes, and that it goes."""
    script = f"""{first}
echo @ready@
until [ -b /dev/sda ]; do sleep 0.1; done
echo "size $(cat /sys/block/sda/size) sum $(sha256sum < /dev/sda)"
dd if=/dev/sda of=/dev/sda bs=4k count=32 skip=100 seek=3 conv=notrunc,fsync 2>/dev/null
dd if=/dev/sda of=/dev/sda bs=512 count=3 skip=7 seek=2001 conv=notrunc,fsync 2>/dev/null
echo 1 > /proc/sys/vm/drop_caches
echo "then $(sha256sum < /dev/sda)"
while [ -b /dev/sda ]; do sleep 0.1; done
echo @gone@
"""
    data = bytearray(random.Random(1).randbytes(size * MIB))
    with Monitor() as m:
        image = os.path.join(m.dir.name, "disk")
        with open(image, "wb") as f:
            f.write(data)
        with rt.booted(modules(host), script + rt.HEALTH, "quiet", "-device", controller, *more, "-drive",
                       f"if=none,id=d,format=raw,file={image}", *m.args, flavour="generic", board=board) as vm:
            vm.expect("@ready@")
            c = m.connect()
            c.call("device_add", driver="usb-storage", id="stick", drive="d", **dict(p.split("=") for p in props))
            got = vm.expect(r"size (\d+) sum ([0-9a-f]{64})")
            qmp.expect(int(got.group(1)) == size * 2048, f"sectors: {got.group(1)}")
            qmp.expect(got.group(2).decode() == hashlib.sha256(data).hexdigest(), "what the guest reads")
            data[3 * 4096:35 * 4096] = data[100 * 4096:132 * 4096]
            data[2001 * 512:2004 * 512] = data[7 * 512:10 * 512]
            want = hashlib.sha256(data).hexdigest()
            qmp.expect(vm.expect(r"then ([0-9a-f]{64})").group(1).decode() == want, "what the guest wrote, and reads")
            c.call("device_del", id="stick")
            vm.expect("@gone@")
            with open(image, "rb") as f:
                qmp.expect(hashlib.sha256(f.read()).hexdigest() == want, "the image")
            vm.seen = 0
            rt.healthy(rt.once_output(vm).splitlines())


def xhci_inputs():
    inputs("xhci", "-device", "qemu-xhci,id=usb", "-device", "usb-kbd,bus=usb.0,port=2", "-device", "usb-tablet,bus=usb.0")


def xhci_full_speed():
    """The slower speed, an older interrupt, and q35."""
    inputs("xhci", "-device", "nec-usb-xhci,id=usb,msix=off", "-device", "usb-kbd,usb_version=1", "-device",
           "usb-tablet,usb_version=1", board="q35")


def xhci_disk():
    disk("xhci", "qemu-xhci,id=usb", "port=1")


def xhci_disk_usb2():
    disk("xhci", "nec-usb-xhci,id=usb,p3=0", "port=1")


def uhci_inputs():
    """What -usb and -usbdevice make."""
    inputs("uhci", "-usb", "-usbdevice", "tablet", "-usbdevice", "keyboard")


def uhci_hub_disk():
    """Behind a hub: packets of 64 bytes."""
    disk("uhci", "ich9-usb-uhci1,id=usb", "port=1.2", board="q35", size=1, more=("-device", "usb-hub,port=1"))


def boots(controller):
    """SeaBIOS starts from a disk, whose first sector says so."""
    code = b"\xba\xf8\x03" + b"".join(bytes((0xb0, c, 0xee)) for c in b"@started@") + b"\xfa\xf4"
    with tempfile.TemporaryDirectory(prefix="rhea-usb-") as d:
        image = os.path.join(d, "disk")
        with open(image, "wb") as f:
            f.write(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512))
        with rt.Vm("-nodefaults", "-M", "pc", "-display", "none", "-serial", "stdio", "-device", controller, "-drive",
                   f"if=none,id=d,format=raw,file={image}", "-device", "usb-storage,drive=d,bootindex=1", timeout=120) as vm:
            vm.expect("@started@")


def xhci_boots():
    boots("qemu-xhci")


def uhci_boots():
    boots("piix3-usb-uhci")


def ehci_inputs():
    """What -usb and -usbdevice make of q35: both have high speed."""
    inputs("both", "-usb", "-usbdevice", "tablet", "-usbdevice", "keyboard", board="q35")


# As libvirt writes it: EHCI and its companions are functions of one slot.
LIBVIRT = ("ich9-usb-ehci1,id=usb,bus=pci.0,addr=0x5.0x7",) + tuple(
    x for i in range(3) for x in ("-device", f"ich9-usb-uhci{i + 1},masterbus=usb.0,firstport={2 * i},bus=pci.0,"
                                  + ("multifunction=on," if i == 0 else "") + f"addr=0x5.0x{i}"))


def ehci_companions():
    """Devices of full speed, also behind a hub, are the companions'."""
    inputs("both", "-device", *LIBVIRT, "-device", "usb-hub,bus=usb.0,port=3", "-device",
           "usb-tablet,id=input0,bus=usb.0,port=1,usb_version=1", "-device", "usb-kbd,bus=usb.0,port=3.2")


def ehci_disk():
    disk("both", LIBVIRT[0], "port=1", more=LIBVIRT[1:])


def ehci_alone_disk():
    disk("ehci", "usb-ehci,id=usb", "port=6", board="q35")


def ehci_boots():
    boots("usb-ehci")


def xhci_heads():
    """Two tablets of two displays, of which the guest reads one: what happens on the other does not come there."""
    script = INPUT + 'listen "QEMU QEMU USB Tablet" 3\n'
    with Monitor() as m, rt.booted(modules("xhci"), script + rt.HEALTH, "quiet", "-device", "VGA,id=v0", "-device",
                                   "secondary-vga,id=v1", "-device", "qemu-xhci", "-device", "usb-tablet,display=v0,port=1",
                                   "-device", "usb-tablet,display=v1,port=2", *m.args, flavour="generic", board="q35") as vm:
        vm.expect("@listening@")
        c = m.connect()
        said = c.try_call("input-send-event", device="v1", events=[place("x", 7), place("y", 8)])
        qmp.expect(said["error"]["data"]["code"] == "device-not-active", f"nobody listens to that one: {said}")
        c.call("input-send-event", device="v0", events=[place("x", 9), place("y", 10)])
        heard(vm, [(3, 0, 9), (3, 1, 10)])
        said = c.try_call("device_add", driver="usb-tablet", display="v9")
        qmp.expect("v9" in said["error"]["desc"], f"a display that there is not: {said}")
        vm.seen = 0
        rt.healthy(rt.once_output(vm).splitlines())


ASLEEP = "until grep -q suspended /sys/bus/usb/devices/1-1/power/runtime_status; do sleep 0.2; done"


def uhci_hub_sleeps():
    """The hub's driver has suspended it: the disk wakes it up."""
    disk("uhci", "piix3-usb-uhci,id=usb", "port=1.2", size=1, more=("-device", "usb-hub,port=1"), first=ASLEEP)


def xhci_hub_sleeps():
    disk("xhci", "qemu-xhci,id=usb", "port=1.2", size=1, more=("-device", "usb-hub,port=1"), first=ASLEEP)


TESTS = ["xhci_heads", "ehci_inputs", "ehci_companions", "ehci_disk", "ehci_alone_disk", "ehci_boots",
         "uhci_hub_sleeps", "xhci_hub_sleeps", "xhci_boots", "uhci_boots", "uhci_inputs", "uhci_hub_disk", "xhci_inputs", "xhci_full_speed", "xhci_disk", "xhci_disk_usb2"]
if __name__ == "__main__":
    rt.main(*(globals()[n] for n in sys.argv[1:] or TESTS))

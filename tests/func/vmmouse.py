#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Linux's psmouse driver finds VMware's pointer behind the PS/2 mouse and asks for absolute places, which QMP sends. Covers
hw/input/vmmouse.c, hw/misc/vmport.c, target/x86/portregs.c: parameters in the registers of real vCPUs."""
import os
import struct
import sys
import tempfile

import qmp
import rheatest as rt
import usb

MODULES = ("drivers/input/evdev", "drivers/input/mouse/psmouse")
SCRIPT = usb.INPUT + """
listen "VirtualPS/2 VMware VMMouse" 7
listen "VirtualPS/2 VMware VMMouse" 3
cat /sys/bus/serio/devices/*/protocol
"""
# The driver looks for it under VMware and KVM only. This is how the kernel knows a VMware without CPUID leaves.
VMWARE = ("-cpu", "max,-hypervisor", "-smbios", "type=1,serial=VMware-42")


def pointer(*args, board, accel):
    with usb.Monitor() as m, rt.booted(MODULES, SCRIPT + rt.HEALTH, "quiet", *args, *m.args, flavour="generic", board=board,
                                       accel=accel) as vm:
        vm.expect("@listening@")
        c = m.connect()
        left = {"type": "btn", "data": {"down": True, "button": "left"}}
        c.call("input-send-event", events=[usb.place("x", 0x1234), usb.place("y", 0x5678)])
        c.call("input-send-event", events=[left])
        c.call("input-send-event", events=[{"type": "btn", "data": {"down": False, "button": "left"}}])
        got = vm.expect(r"@events ([^@]*),@").group(1).decode()
        events = [tuple(int(n) for n in e.split()) for e in got.split(",")]
        want = [(3, 0, 0x2468), (3, 1, 0xacf0), (1, 272, 1), (1, 272, 0)]
        qmp.expect([e for e in events if e[0] in (1, 3)] == want, f"events {events}, wanted {want}")
        vm.expect("@listening@")
        c.call("input-send-event", events=[usb.place("x", 0x7fff), usb.place("y", 1)])
        usb.heard(vm, [(3, 0, 0xfffe), (3, 1, 2)])
        mice = c.call("query-mice")
        qmp.expect([x for x in mice if x["current"]] == [{"name": "vmmouse", "index": 1, "current": True, "absolute": True}],
                   f"query-mice: {mice}")
        vm.seen = 0
        lines = rt.healthy(rt.once_output(vm).splitlines())
        qmp.expect("VirtualPS/2" in lines, f"protocols: {lines}")


def vmmouse_pc():
    pointer(*VMWARE, board="pc", accel="tcg")


def vmmouse_q35():
    pointer(*VMWARE, board="q35", accel="tcg")


def vmmouse_kvm():
    pointer(board="q35", accel=rt.kvm())


def vmmouse_off():
    """Without the port the mouse is a PS/2 mouse."""
    script = "until cat /sys/bus/serio/devices/*/protocol 2>/dev/null | grep PS/2; do sleep 0.1; done\n"
    with rt.booted(MODULES, script + rt.HEALTH, "quiet", *VMWARE, flavour="generic", board="pc,vmport=off") as vm:
        lines = rt.healthy(rt.once_output(vm).splitlines())
        qmp.expect(any("PS/2" in line for line in lines) and "VirtualPS/2" not in lines, f"protocols: {lines}")


def boot_sector():
    """Calls the port with each of its commands, and says on COM1 whether the registers are what they should be."""
    magic, read_id, version_id = 0x564d5868, 0x45414552, 0x3442554a
    #        command, EBX before; EAX, EBX, ECX after, None: not looked at
    calls = ((10, 0, 6, magic, 2), (41, read_id, None, read_id, 41), (40, 7, 1, 7, 40), (39, 1, version_id, 1, 39),
             (40, 0, 0, 0, 40), (11, 5, 0xffffffff, 5, 11))

    def print_and_stop(text):
        return b"\xba\xf8\x03" + b"".join(bytes((0xb0, c, 0xee)) for c in text) + b"\xfa\xf4"

    code = b""
    for command, ebx, *after in calls:
        code += struct.pack("<2sI2sI2sI2sI2s", b"\x66\xb8", magic, b"\x66\xbb", ebx, b"\x66\xb9", command, b"\x66\xba", 0x5658,
                            b"\x66\xed")
        for compare, value in zip((b"\x66\x3d", b"\x66\x81\xfb", b"\x66\x81\xf9"), after):
            if value is not None: # a jump over the end, which is near enough
                end = print_and_stop(b"!")
                code += compare + struct.pack("<I", value) + bytes((0x74, len(end))) + end
    code += print_and_stop(b"@good@")
    return code.ljust(510, b"\0") + b"\x55\xaa"


def registers(accel):
    with tempfile.TemporaryDirectory(prefix="rhea-vmmouse-") as d:
        image = os.path.join(d, "disk")
        with open(image, "wb") as f:
            f.write(boot_sector() + bytes(1 << 20))
        with rt.Vm("-nodefaults", "-M", "pc", "-accel", accel, "-display", "none", "-serial", "stdio", "-drive",
                   f"format=raw,file={image}", timeout=120) as vm:
            said = vm.expect(r"@good@|!").group(0)
            qmp.expect(said == b"@good@", "registers after a command")
            vm.p.terminate()  # KVM may have told what it is not
            vm.wait(0)


def vmport_tcg():
    registers("tcg")


def vmport_kvm():
    """Also where KVM emulates guests."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise rt.Skip("/dev/kvm cannot be opened")
    registers("kvm")


TESTS = ["vmport_tcg", "vmport_kvm", "vmmouse_pc", "vmmouse_q35", "vmmouse_kvm", "vmmouse_off"]
if __name__ == "__main__":
    rt.main(*(globals()[n] for n in sys.argv[1:] or TESTS))

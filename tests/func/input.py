#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Linux's drivers see what QMP sends: keys, movements, buttons, the wheel and places, by virtio on PCI and in memory, by PS/2, by
USB. Covers hw/virtio/virtio-input.c, hw/input/i8042.c, hw/input/ps2kbd.c, hw/input/ps2mouse.c, hw/usb/hid.c (the mouse)."""
import sys

import qmp
import rheatest as rt
import usb

EV_KEY, EV_REL, EV_ABS, WHEEL, FINE_WHEEL = 1, 2, 3, 8, 11
PCI = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
MMIO = ("virtio_ring", "virtio", "virtio_mmio")
VIRTIO = ("drivers/input/evdev", "drivers/virtio/virtio_input")


class Step:
    """What is sent to a device, the events that come of it, and how many with their frames (SYN and what the driver adds)."""
    def __init__(self, name, frames, events, want):
        self.name, self.events, self.want, self.count = name, events, want, len(want) + frames


def button(name, down):
    return {"type": "btn", "data": {"down": down, "button": name}}


def move(axis, value):
    return {"type": "rel", "data": {"axis": axis, "value": value}}


def keyboard(name, more=0):
    """more: events that the driver adds to a key's or button's."""
    return [Step(name, 2 + 2 * more, [[usb.key("a", True)], [usb.key("a", False)]], [(EV_KEY, 30, 1), (EV_KEY, 30, 0)])]


def mouse(name, more=0, wheel=()):
    """wheel: further events of its turn."""
    return [Step(name, 1, [[move("x", 5), move("y", -3)]], [(EV_REL, 0, 5), (EV_REL, 1, 2**32 - 3)]),
            Step(name, 2 + 2 * more, [[button("left", True)], [button("left", False)]], [(EV_KEY, 272, 1), (EV_KEY, 272, 0)]),
            Step(name, 1, [[button("wheel-up", True)], [button("wheel-up", False)]], [(EV_REL, WHEEL, 1), *wheel])]


def tablet(name):
    return [Step(name, 1, [[usb.place("x", x), usb.place("y", y)]], [(EV_ABS, 0, x), (EV_ABS, 1, y)])
            for x, y in ((0x1234, 0x5678), (0x7fff, 1))]


def check(modules, steps, *args, board="pc"):
    script = usb.INPUT + "".join(f'listen "{s.name}" {s.count}\n' for s in steps)
    with usb.Monitor() as m, rt.booted(modules, script + rt.HEALTH, "quiet", *args, *m.args, flavour="generic", board=board) as vm:
        c = None
        for s in steps:
            vm.expect("@listening@")
            c = c or m.connect()
            for events in s.events:
                c.call("input-send-event", events=events)
            usb.heard(vm, s.want, (EV_KEY, EV_REL, EV_ABS))
        mice = c.call("query-mice")
        qmp.expect(len([x for x in mice if x["current"]]) == 1, f"query-mice: {mice}")
        vm.seen = 0
        rt.healthy(rt.once_output(vm).splitlines())


ALL_VIRTIO = keyboard("QEMU Virtio Keyboard") + mouse("QEMU Virtio Mouse") + tablet("QEMU Virtio Tablet")


def input_virtio():
    """One pointer at a time gets what is sent: the mouse takes movements, the tablet places."""
    check(PCI + VIRTIO, ALL_VIRTIO, "-device", "virtio-tablet-pci", "-device", "virtio-mouse-pci", "-device", "virtio-keyboard-pci",
          board="q35")


def input_microvm():
    check(MMIO + VIRTIO, ALL_VIRTIO, "-device", "virtio-tablet-device", "-device", "virtio-mouse-device", "-device",
          "virtio-keyboard-device", "-global", "virtio-mmio.force-legacy=off", board="microvm")


def input_ps2():
    check(("drivers/input/evdev", "drivers/input/mouse/psmouse"), keyboard("AT Translated Set 2 keyboard", 1)
          + mouse("ImExPS/2 Generic Explorer Mouse"))


def input_usb_mouse():
    check(usb.modules("xhci"), mouse("QEMU QEMU USB Mouse", 1, [(EV_REL, FINE_WHEEL, 120)]), "-device", "qemu-xhci", "-device", "usb-mouse")


if __name__ == "__main__":
    rt.main(*(globals()[n] for n in sys.argv[1:] or ("input_virtio", "input_microvm", "input_ps2", "input_usb_mouse")))

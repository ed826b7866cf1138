#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Commands of the human monitor that have no other test: objects, memory, interrupts, mouse, boot order (monitor/objects.c,
memory.c, tools/system/hmp.c, hmp_block.c, qmp_input.c, screendump.c, qmp_vnc.c, the counters of hw/intc); every command's help."""
import os
import re
import shutil
import subprocess
import sys
import time

import qmp
import rheatest as rt
from qmp import expect


class Hmp:
    def __init__(self, client):
        self.client = client

    def __call__(self, line):
        return self.client.call("human-monitor-command", command_line=line).replace("\r", "")


def says(hmp, line, pattern):
    text = hmp(line)
    expect(re.fullmatch(pattern, text, re.S), f"{line}: {text!r}")
    return text


def hmp_objects():
    """qom-*, and what info tells of the machine's parts."""
    with qmp.Vm("-M", "pc", "-m", "32M", "-smp", "2", "-object", "iothread,id=io0,poll-max-ns=7", "-device", "virtio-balloon-pci,id=b") as vm:
        c = qmp.Client(vm.path)
        hmp = Hmp(c)
        expect(hmp("qom-list") == "/\n" and "peripheral (child<container>)\n" in hmp("qom-list /machine"), "qom-list")
        expect("guest-stats-polling-interval (" in hmp("qom-list /machine/peripheral/b"), "a device's properties")
        interval = "/machine/peripheral/b guest-stats-polling-interval"
        expect(hmp(f"qom-get {interval}") == "0\n" and hmp(f"qom-set {interval} 5") == "" and hmp(f"qom-get {interval}") == "5\n", "qom-set")
        expect(hmp(f"qom-set -j {interval} 6") == "" and hmp(f"qom-get {interval}") == "6\n", "qom-set -j")
        expect(hmp("qom-get /machine/peripheral/b type") == '"virtio-balloon-pci"\n', "a text")
        for line, want in (("qom-set -j x y {", "Error: "), (f"qom-set {interval} x", "Error: "), ("qom-get /machine nope", "has no property"),
                           ("qom-list /nope", "Error: "), ("qom-set /machine/peripheral/b type x", "cannot change"),
                           ("qom-get /machine", "are expected"), ("qom-set a b", "are expected"), ("qom-list a b", "is expected")):
            expect(want in hmp(line), f"{line}: {hmp(line)}")
        says(hmp, "info iothreads", r"io0:\n  thread_id=\d+\n  poll-max-ns=7\n  poll-grow=\d+\n  poll-shrink=\d+\n  aio-max-batch=\d+\n")
        expect(hmp("info memory_size_summary").startswith(f"base memory: {32 << 20}\n"), "the memory")
        says(hmp, "info hotpluggable-cpus", r'Hotpluggable CPUs:\n(  type: "qemu64-x86_64-cpu"\n  vcpus_count: "1"\n  qom_path: "\S+"\n'
             r'  CPUInstance Properties:\n(    [\w-]+: "\d+"\n)+){2}')
        expect(hmp("info qdm") == subprocess.run([rt.BIN, "-device", "help"], capture_output=True, text=True, check=True).stdout, "info qdm")
        expect("not in suspended state" in hmp("system_wakeup"), "nobody sleeps")


def hmp_memory():
    """sum and gpa2hva; interrupts that a guest took."""
    with qmp.Vm("-M", "q35", "-m", "32M") as vm:
        c = qmp.Client(vm.path)
        hmp = Hmp(c)
        path = os.path.join(vm.dir, "saved")
        hmp(f"pmemsave 0xf0000 0x10000 {path}")
        total = 0
        with open(path, "rb") as f:
            for byte in f.read():
                total = ((total >> 1 | total << 15) + byte) & 0xffff
        expect(hmp("sum 0xf0000 0x10000") == f"{total:05d}\n", "the checksum")
        if shutil.which("sum"):
            other = subprocess.run(["sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
            expect(other == f"{total:05d}", "as sum(1) has it")
        says(hmp, "gpa2hva 0x1000", r"Host virtual address for 0x1000 \(\S+\) is 0x[0-9a-f]+\n")
        expect(hmp("gpa2hva 0xfee00000").endswith("is not RAM\n") and hmp("gpa2hva 0x900000000000").startswith("No memory is mapped"), "others")
        for line, want in (("sum 0", "are expected"), ("sum 0x900000000000 1", "Cannot access memory at 0x900000000000"),
                           ("sum 0 0x80000000", "possible at a time"), ("sum x 1", "Error: ")):
            expect(want in hmp(line), f"{line}: {hmp(line)}")
        expect("IRQ statistics for isa-i8259:\n" in hmp("info irq") and "IRQ statistics for ioapic:\n" in hmp("info irq"), "controllers")
        c.call("cont")
        while not re.search(r"isa-i8259:\n 0: [1-9]\d*\n", hmp("info irq")):  # firmware's clock ticks
            time.sleep(0.05)
        expect(c.call("rtc-reset-reinjection") == {}, "rtc-reset-reinjection")
        expect(" 0: " in c.call("x-query-irq")["human-readable-text"], "x-query-irq")


def hmp_input():
    """The mouse, and what firmware boots."""
    with qmp.Vm("-M", "pc", "-m", "32M", "-boot", "order=c,once=d") as vm:
        hmp = Hmp(qmp.Client(vm.path))

        def cmos(index):
            hmp(f"o /b 0x70 {index}")
            return hmp("i /b 0x71").split("= ")[1].strip()
        expect(hmp("i /xb 0x71") == hmp("i /b 0x71"), f"/xb: {hmp('i /xb 0x71')}")
        expect((cmos(0x3d), cmos(0x38)) == ("0x03", "0x00"), f"once=d: {cmos(0x3d)} {cmos(0x38)}")
        expect(hmp("boot_set nda") == "boot device list now set to nda\n", "boot_set")
        expect((cmos(0x3d), cmos(0x38)) == ("0x34", "0x10"), f"n, d, a: {cmos(0x3d)} {cmos(0x38)}")
        for _ in range(2):
            hmp("system_reset")
            expect(cmos(0x3d) == "0x34", "it stays")
        for line, want in (("boot_set x", "'x' is not a boot device"), ("boot_set", "are expected"), ('boot_set ""', "no boot device"),
                           ("boot_set abcd", "at most three"), ("mouse_move 1", "is expected"), ("mouse_move 1 x", "'x' is no number"),
                           ("mouse_move 1 99999", "no number of steps"), ("mouse_button 8", "is expected"), ("mouse_set 1", "not found"),
                           ("mouse_set x", "is expected")):
            expect(want in hmp(line), f"{line}: {hmp(line)}")
        expect(hmp("mouse_set 0") == "", "the one that there is")

        def byte():
            return int(hmp("i /b 0x60").split("= ")[1], 16)

        def mouse(command):  # by the controller's second port; its answer is fa
            hmp("o /b 0x64 0xd4")
            hmp(f"o /b 0x60 {command}")
            expect(byte() == 0xfa, f"the mouse takes {command}")
        hmp("o /b 0x64 0xa8")
        mouse(0xf0)  # it reports when asked (eb)
        packets = []
        for line in ("mouse_move 5 -3", "mouse_button 1", "mouse_button 2", "mouse_button 4", "mouse_button 0"):
            expect(hmp(line) == "", line)
            mouse(0xeb)
            packets.append((byte(), byte(), byte()))
        # Byte 0: left 1, right 2, middle 4, always 8; the sign of y in bit 5. y counts upwards there.
        expect(packets[0] == (0x08, 5, 3), f"{packets}")
        expect([p[0] & 7 for p in packets[1:]] == [1, 4, 2, 0], f"{packets}")
    with qmp.Vm("-M", "none") as vm:
        hmp = Hmp(qmp.Client(vm.path))
        for line in ("mouse_move 1 1", "mouse_button 1", "mouse_set 0"):
            expect(hmp(line).startswith("Error: "), line)
        expect("has no list of boot devices" in hmp("boot_set c"), "boot_set")
        expect(hmp("info irq") == "", "no interrupt controllers")


def hmp_disks():
    """Drives that come later, and their limits."""
    with qmp.Vm("-M", "pc", "-m", "32M") as vm:
        c = qmp.Client(vm.path)
        hmp = Hmp(c)
        path = os.path.join(vm.dir, "disk")
        with open(path, "wb") as f:
            f.truncate(1 << 20)
        expect(hmp(f"drive_add 0 if=none,id=d,file={path},format=raw") == "OK\n", "drive_add")
        expect(hmp("device_add virtio-blk-pci,drive=d,id=v") == "", "its device")
        expect(hmp("block_set_io_throttle d 0 1k 2k 0 30 0") == "", "limits")
        now = next(b for b in c.call("query-block") if b["device"] == "d")["inserted"]
        expect([now[k] for k in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")] == [0, 1024, 2048, 0, 30, 0], f"{now}")
        expect(hmp("drive_add -n 0 null-co,node-name=n,size=512") == "OK\n", "a node")
        expect(any(n["node-name"] == "n" for n in c.call("query-named-block-nodes")), "the node is there")
        expect(hmp("info block-jobs") == "No active jobs\n", "info block-jobs")
        for line, want in ((f"drive_add 0 file={path}", "say if=none"), ("drive_add x", "are expected"), ("drive_add 0 if=none,fiel=x", "fiel"),
                           ("drive_add -n 0 nope,node-name=m", "nope"), ("block_set_io_throttle d 1", "six limits"),
                           ("block_set_io_throttle x 0 0 0 0 0 0", "Error: "), ("block_set_io_throttle d x 0 0 0 0 0", "Error: ")):
            expect(want in hmp(line), f"{line}: {hmp(line)}")


def hmp_screens():
    """screendump's words in any order, and passwords of VNC servers, whose -d VALUE is anywhere, too."""
    with qmp.Vm("-M", "pc", "-m", "32M", "-vga", "std", "-device", "secondary-vga,id=two", "-vnc", "127.0.0.1:0,to=99,id=v,password=on") as vm:
        hmp = Hmp(qmp.Client(vm.path))
        path = os.path.join(vm.dir, "picture")

        def begins():
            with open(path, "rb") as f:
                head = f.read(4)
            os.unlink(path)
            return head
        for line, magic in (("FILE", b"P6\n"), ("-f png FILE", b"\x89PNG"), ("FILE -f png", b"\x89PNG"), ("FILE two -f png 0", b"\x89PNG"),
                            ("-f ppm FILE two 0", b"P6\n")):
            expect(hmp("screendump " + line.replace("FILE", path)) == "" and begins().startswith(magic), line)
        for line, want in (("screendump", "are expected"), ("screendump -f png", "are expected"), ("screendump x -f", "are expected"),
                           ("screendump x -f bmp", "unknown format 'bmp'"), ("screendump x two 1", "no head 1"), ("screendump x two -1", "are expected"),
                           ("screendump x two 70000", "no head 70000"), ("screendump x nope", "no device 'nope'"), ("set_password vnc x -d", "is expected"),
                           ("set_password vnc x -d w", "no VNC server 'w'"), ("expire_password vnc -d v x", "'x' is no time"),
                           ("set_password -d v vnc", "is expected")):
            expect(want in hmp(line), f"{line}: {hmp(line)}")
        for line in ("set_password vnc x -d v", "set_password -d v vnc x keep", "set_password vnc x -d v fail", "expire_password -d v vnc never"):
            expect(hmp(line) == "", f"{line}: {hmp(line)}")


ALL = [hmp_disks, hmp_objects, hmp_memory, hmp_input, hmp_screens]

if __name__ == "__main__":
    rt.main(*[t for t in ALL if len(sys.argv) == 1 or t.__name__ in sys.argv[1:]])

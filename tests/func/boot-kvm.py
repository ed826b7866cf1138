#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real software on KVM. Where KVM emulates guests, much of it lives from what the interpreter does for KVM: how far it
gets there, and how often, is asserted."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets


def emulated():
    """Does this host's KVM emulate guests? As accel/kvm/open.c tells."""
    with open("/proc/cpuinfo") as f:
        ext = re.search(r"^flags.*\b(vmx|svm)\b", f.read(), re.M)
    return not (ext and (os.path.isdir("/sys/module/kvm_intel") or os.path.isdir("/sys/module/kvm_amd")))


class KvmVm(rt.Vm):
    """A machine on KVM with a monitor on a socket."""

    def __init__(self, *args, accel="kvm", timeout=120):
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise rt.Skip("/dev/kvm cannot be opened")
        self.mon_dir = tempfile.mkdtemp(prefix="rhea-mon-")
        self.mon = os.path.join(self.mon_dir, "mon")
        super().__init__("-nodefaults", "-M", "pc", "-accel", accel, "-display", "none", "-no-reboot",
                         "-chardev", f"socket,id=m,path={self.mon},server=on,wait=off", "-mon", "m", *args, timeout=timeout)

    def hmp(self, *commands):
        """What the monitor says to each."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(self.mon)
        text, said = b"", []
        for command in ("",) + commands:
            s.sendall(command.encode() + b"\n")
            while not text.endswith(b"(qemu) ") or (command and command.encode() not in text):
                data = s.recv(65536)
                if not data:
                    self.fail("the monitor is gone")
                text += data
            said.append(text.decode("utf-8", "replace"))
            text = b""
        s.close()
        return said[1:]

    def finish(self):
        """Reads `info kvm`, ends the machine; returns what was counted."""
        self.hmp("stop")
        text = self.hmp("info kvm")[0]
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(self.mon)
        s.sendall(b"quit\n")
        self.wait(0)
        s.close()
        os.unlink(self.mon) if os.path.exists(self.mon) else None
        os.rmdir(self.mon_dir)
        for line in self.err().splitlines():
            if not re.search(r": (info: (KVM gives up on|this host's KVM shows|kernel-irqchip=off: where KVM emulates)|warning: CPU model)", line):
                self.fail(f"unexpected: {line}")
        number = lambda what: sum(int(n) for n in re.findall(what + r" +(\d+)", text))
        kinds = {}
        for name, n in re.findall(r"^    (\w[\w ()-]*?) +(\d+)\r?$", text, re.M):
            kinds[name] = kinds.get(name, 0) + int(n)
        return {"entries": number("entries"), "completed": number("completed in software"), "kinds": kinds,
                "software": sum(int(n) for n in re.findall(r"\((\d+) instructions\)", text))}


SEABIOS = ["-m", "128M", "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log"]


def seabios(*args, accel="kvm"):
    with KvmVm(*SEABIOS, *args, accel=accel, timeout=120) as vm:
        vm.expect("SeaBIOS")
        vm.expect("No bootable device")
        return vm.finish()


def kvm_seabios():
    """SeaBIOS comes to its end with one CPU; its system-management handler ran in the interpreter."""
    n = seabios()
    assert n["software"] > 0, n
    if emulated():  # it has nothing that such a KVM gives up on
        assert n["completed"] == 0 and not n["kinds"], n
    return n


def kvm_seabios_smp():
    """... and with four, started by INIT and start-up IPI."""
    with KvmVm(*SEABIOS, "-smp", "4", timeout=200) as vm:
        vm.expect(r"Found 4 cpu\(s\) max supported 4 cpu\(s\)")
        vm.expect("No bootable device")
        return vm.finish()


def kvm_seabios_split():
    """... and with local APICs in the kernel."""
    with KvmVm(*SEABIOS, "-smp", "2", accel="kvm,kernel-irqchip=split", timeout=200) as vm:
        vm.expect(r"Found 2 cpu\(s\) max supported 2 cpu\(s\)")
        vm.expect("No bootable device")
        return vm.finish()


def kvm_seabios_on():
    """... and with all interrupt controllers and the PIT in the kernel."""
    with KvmVm(*SEABIOS, "-smp", "2", accel="kvm,kernel-irqchip=on", timeout=200) as vm:
        vm.expect(r"Found 2 cpu\(s\) max supported 2 cpu\(s\)")
        vm.expect("No bootable device")
        assert "kernel-irqchip=on" in vm.hmp("info jit")[0]
        return vm.finish()


def kvm_seabios_moved():
    """... and when it moves to software and back all the time, each time to another interrupt controller."""
    with KvmVm(*SEABIOS, "-smp", "2", "-cpu", "qemu64,-x2apic", accel="kvm,kernel-irqchip=on", timeout=200) as vm:
        vm.expect("SeaBIOS")
        where = ["tcg", "kvm,kernel-irqchip=off", "kvm,kernel-irqchip=on", "tcg,tier=0", "kvm,kernel-irqchip=split",
                 "kvm,kernel-irqchip=on"]
        for i in range(24):
            said = vm.hmp("stop", "accel " + where[i % 6], "accel", "cont")
            name = where[i % 6].split(",")[0]
            assert re.search(rf"^{name}\r?$", said[2], re.M), said
        vm.expect(r"Found 2 cpu\(s\) max supported 2 cpu\(s\)")
        vm.expect("No bootable device")
        return vm.finish()


def kvm_memtest():
    """memtest86+ tests memory. It begins with FWAIT, at which emulating KVMs give up."""
    image = rt.asset(guest_assets.memtest)
    with KvmVm("-m", "64M", "-serial", "stdio", "-kernel", image, "-append", "console=ttyS0,115200", timeout=400) as vm:
        vm.expect("Memtest86")
        vm.expect(r"Pass|Test #|Testing")
        n = vm.finish()
    if emulated():
        assert n["completed"] == 1 and n["kinds"] == {"FWAIT": 1}, n
    return n


def make(*command):
    """Runs a tool that makes an image."""
    if not shutil.which(command[0]):
        raise rt.Skip(f"{command[0]} is not installed")
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise rt.Skip(f"{command[0]}: {made.stderr.strip()[-200:]}")


def kvm_isolinux():
    """ISOLINUX, as a hybrid image on an IDE disk, reaches its prompt. On the way is a 32-bit IRET, at which emulating KVMs give up."""
    parts = [rt.asset(guest_assets.from_package, package, path) for package, path in (
        ("isolinux", "usr/lib/ISOLINUX/isolinux.bin"), ("isolinux", "usr/lib/ISOLINUX/isohdpfx.bin"),
        ("syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32"))]
    with tempfile.TemporaryDirectory(prefix="rhea-iso-") as d:
        tree, image = os.path.join(d, "tree", "isolinux"), os.path.join(d, "image")
        os.makedirs(tree)
        shutil.copy(parts[0], tree)
        shutil.copy(parts[2], tree)
        with open(os.path.join(tree, "isolinux.cfg"), "w") as f:
            f.write("SERIAL 0 115200\nPROMPT 1\nTIMEOUT 0\nDEFAULT none\n")
        make("xorriso", "-as", "mkisofs", "-o", image, "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot",
             "-boot-load-size", "4", "-boot-info-table", "-isohybrid-mbr", parts[1], os.path.dirname(tree))
        with KvmVm("-m", "128M", "-serial", "stdio", "-drive", f"file={image},format=raw,if=ide,snapshot=on", timeout=200) as vm:
            vm.expect("ISOLINUX")
            vm.expect("boot: ")
            n = vm.finish()
    if emulated():  # one a timer tick and BIOS call in protected mode: 325 and 505 were seen
        assert set(n["kinds"]) == {"IRET"} and 50 <= n["completed"] <= 20000 and n["software"] > n["completed"], n
    return n


def kvm_ipxe():
    """iPXE, from the option ROM of a network card, gets to its prompt and takes a command there. Where KVM emulates, it cannot
    wake 32-bit code by an interrupt, nor return from that: both are completed."""
    rom = rt.asset(guest_assets.from_package, "ipxe-qemu", "usr/lib/ipxe/qemu/pxe-e1000.rom")
    with KvmVm("-M", "pc,graphics=off", "-m", "64M", "-serial", "stdio", "-netdev", "user,id=n", "-device",
               f"e1000,netdev=n,romfile={rom},bootindex=0", timeout=600) as vm:
        vm.expect(rt.bios("iPXE initialising devices...ok"))
        vm.expect(rt.bios("Press Ctrl-B for the iPXE command line"))
        vm.send("\x02" * 3)  # the one that comes first counts; at the prompt they move the cursor to where it is
        vm.expect(rt.bios("iPXE> "))
        for key in "echo so it ${gone}works":  # the BIOS keeps fifteen keys
            vm.send(key)
            vm.expect(re.escape(key))
        vm.send("\r")
        vm.expect("\n" + rt.bios("so it works"))
        n = vm.finish()
    if emulated():  # a few for each tick while it waits: it depends on time
        assert set(n["kinds"]) == {"events and unknown", "IRET"} and n["completed"] >= 2, n
    return n


def kvm_grub():
    """GRUB, on an IDE disk, runs a script to its end."""
    with tempfile.TemporaryDirectory(prefix="rhea-grub-") as d:
        image = os.path.join(d, "image")
        os.makedirs(os.path.join(d, "tree", "boot", "grub"))
        with open(os.path.join(d, "tree", "boot", "grub", "grub.cfg"), "w") as f:
            f.write("serial --unit=0 --speed=115200\nterminal_output serial\nterminal_input serial\necho begins\n"
                    "for n in 1 2 3; do echo round $n; done\necho the script ends\n")
        make("grub-mkrescue", "-o", image, os.path.join(d, "tree"))
        with KvmVm("-m", "128M", "-serial", "stdio", "-drive", f"file={image},format=raw,if=ide,snapshot=on", timeout=600) as vm:
            for text in ("begins", "round 1", "round 2", "round 3", "the script ends"):
                vm.expect(text)
            n = vm.finish()
    if emulated():
        assert n["completed"] == 0 and n["software"] > 0, n
    return n


def kvm_gnumach():
    """GNU Mach, a 32-bit kernel with paging, which emulating KVMs cannot run at all."""
    image = rt.asset(guest_assets.gnumach)
    with KvmVm("-m", "256M", "-cpu", "max", "-serial", "stdio", "-kernel", image, "-append", "console=com0",
               timeout=200) as vm:
        vm.expect("GNU Mach")
        vm.expect("No bootstrap code loaded with the kernel")
        n = vm.finish()
    if emulated():
        assert n["software"] > 10000000, n
    return n


def kvm_firmware():
    """OVMF gets through its first phase: FWAIT, FLDCW and LDMXCSR come before anything else there."""
    path = rt.asset(guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd")
    with KvmVm("-m", "256M", "-bios", path, "-debugcon", "null", "-serial", "stdio", timeout=200) as vm:
        if not emulated():
            vm.expect("Shell>|UEFI")
            return vm.finish()
        for what in ("FWAIT", "FLDCW", "LDMXCSR"):
            while what not in vm.err():
                if vm._pump(0.5) is False or vm.p.poll() is not None:
                    vm.fail(f"ended before {what}")
        said = [m for m in re.findall(r"KVM gives up on (\w+) at", vm.err())]
        n = vm.finish()
    assert said[:3] == ["FWAIT", "FLDCW", "LDMXCSR"], said
    assert all(n["kinds"][what] == 1 for what in said[:3]) and n["completed"] == sum(n["kinds"].values()), n
    return n


ALL = [kvm_seabios, kvm_seabios_smp, kvm_seabios_split, kvm_seabios_on, kvm_seabios_moved, kvm_memtest, kvm_isolinux, kvm_ipxe, kvm_grub, kvm_gnumach, kvm_firmware]
if __name__ == "__main__":
    chosen = [t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    rt.main(*chosen)

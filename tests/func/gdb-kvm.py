#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GDB debugs a small ring-0 guest on KVM: with KVM's own debugging (local APICs in the kernel), and as the default of this
host does it. What its KVM lacks is left out for the reason that the server gives."""
import os
import shutil
import subprocess
import sys
import tempfile

import rheatest as rt
from gdb import Debugger, wait_for_socket

GUEST = """
.section .text
.globl _start, work, counter, seen
.align 4
.long 0x1badb002, 0, -0x1badb002
_start: mov $stack, %esp
 xor %eax, %eax
 xor %ebx, %ebx
again: call work
after: add %eax, %ebx
 mov %ebx, counter
stored: jmp again
work: add $1, %eax
 incl seen
 ret
.section .data
.align 4
counter: .long 0
seen: .long 0
.space 1024
stack: .long 0
"""


def make_guest(folder):
    """A multiboot kernel, and its symbols: GDB takes a CPU that is described as 64-bit for those of 64-bit code only."""
    if not shutil.which("gcc"):
        raise rt.Skip("no gcc to make the guest with")
    source, elf = os.path.join(folder, "guest.s"), os.path.join(folder, "guest")
    with open(source, "w") as f:
        f.write(GUEST)
    made = subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x200000", "-Wl,--build-id=none",
                           "-o", elf, source], capture_output=True, text=True)
    if made.returncode:
        raise rt.Skip(f"gcc makes no 32-bit program: {made.stderr.strip()[-200:]}")
    symbols = elf + ".symbols"
    subprocess.run(["objcopy", "-O", "elf64-x86-64", elf, symbols], check=True, stderr=subprocess.DEVNULL)
    return elf, symbols


def session(gdb):
    gdb.expect("hbreak _start", "Hardware assisted breakpoint")
    gdb.expect("continue", "_start", limit=200)
    gdb.run("delete")
    gdb.expect("info registers", "rip +0x20000c")
    assert gdb.value("$cs & 3") == 0, "not in ring 0"
    gdb.expect("x/2i $pc", "mov +\\$0x.*,%esp", "xor +%eax,%eax")
    for _ in range(3):
        gdb.run("stepi")
    gdb.expect("p $pc", "again")
    gdb.expect("break work", "Breakpoint")
    for n in range(1, 6):
        gdb.expect("continue", "work")
        assert gdb.value("*(int *)&seen") == n - 1
    gdb.expect("x/1i $pc", "add +\\$0x1,%eax")  # the guest's code, not the breakpoint's
    gdb.run("stepi")
    assert gdb.value("$eax") == 5
    gdb.expect("backtrace", "#0 .*work")
    gdb.run("delete")
    gdb.run("set *(int *)&seen = 0x11223344")
    gdb.expect("x/4xb &seen", "0x44\\s+0x33\\s+0x22\\s+0x11")
    gdb.run("set $eax = 0x100")
    gdb.expect("hbreak *&stored", "Hardware assisted breakpoint")
    gdb.expect("continue", "stored")
    assert gdb.value("*(int *)&counter") == gdb.value("$ebx")
    assert gdb.value("*(int *)&seen") == 0x11223345 or gdb.value("$eax") == 0x100
    gdb.run("delete")
    gdb.run("watch *(int *)&counter")
    said = gdb.run("continue")
    watched = "Old value" in said
    if not watched and "no watchpoints" not in said and "Could not insert" not in said:
        raise rt.Failure(f"gdb: watch: {said}")
    gdb.run("delete")
    gdb.run("detach")
    return "watchpoints, too" if watched else "this KVM has no watchpoints"


def debug(chip):
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise rt.Skip("/dev/kvm cannot be opened")
    with tempfile.TemporaryDirectory(prefix="rhea-gdb-") as folder:
        elf, symbols = make_guest(folder)
        path = os.path.join(folder, "gdb")
        with rt.Vm("-nodefaults", "-M", "pc", "-accel", "kvm" + chip, "-m", "32M", "-display", "none", "-kernel", elf, "-S",
                   "-gdb", f"unix:{path},server=on,wait=off", timeout=300) as vm:
            wait_for_socket(vm, path)
            gdb = Debugger(symbols)
            try:
                gdb.expect(f"target remote {path}", "Remote debugging")
                told = session(gdb)
                vm.p.terminate()
                vm.wait(0)
                return told
            finally:
                gdb.end()


def gdb_kvm():
    """As this host runs guests by default."""
    return debug("")


def gdb_kvm_split():
    """KVM_SET_GUEST_DEBUG, also where KVM emulates."""
    return debug(",kernel-irqchip=split")


ALL = [gdb_kvm, gdb_kvm_split]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

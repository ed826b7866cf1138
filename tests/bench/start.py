#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Start of a machine under Rhea and under an installed QEMU, in alternation: from the start of the process to the guest's
first instruction (a firmware image whose first instruction writes to the debug port), to a kernel's first instruction (a
small PVH kernel), and the memory (Pss) of a process that waits with -S. CPU time is that of all threads until then.

    tests/bench/start.py [--runs N] [--peer PROGRAM] [--accel A] [--boards B,...] [--most RATIO]

Prints medians and their ratios. With --most, fails when the wall time or the memory is a larger part of the peer's.
"""
import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RHEA = os.environ.get("RHEA_BIN") or os.path.join(ROOT, "build/tools/system/rhea-system-x86_64")

# mov $'!', %al; out %al, $0xe9; 1: hlt; jmp 1b
CODE = b"\xb0!\xe6\xe9\xf4\xeb\xfd"


def firmware(path):
    """64 KiB whose reset vector is the code."""
    with open(path, "wb") as f:
        f.write(CODE.rjust(65536 - 16 + len(CODE), b"\xf4").ljust(65536, b"\xf4"))


def kernel(path):
    """An ELF file with a PVH note; the code is at 1 MiB."""
    base = 0x100000
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", base + 0x1000)
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, base + 0x1000, 52, 0, 0, 52, 32, 2, 0, 0, 0)
    load = struct.pack("<IIIIIIII", 1, 0x1000, base + 0x1000, base + 0x1000, len(CODE), 0x1000, 5, 0x1000)
    notes = struct.pack("<IIIIIIII", 4, 0x200, base, base, len(note), len(note), 4, 4)
    with open(path, "wb") as f:
        f.write((header + load + notes).ljust(0x200, b"\0"))
        f.write(note.ljust(0xe00, b"\0") + CODE)


def cpu_ns(pid):
    total = 0
    for t in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{t}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def begin(program, accel, *args):
    return subprocess.Popen([program, "-accel", accel, "-nodefaults", "-display", "none", "-m", "512M", *args],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(p):
    p.kill()
    p.communicate()


def first_instruction(program, accel, *args):
    """Milliseconds of wall and of CPU time until the guest's first byte."""
    start = time.monotonic()
    p = begin(program, accel, "-debugcon", "stdio", *args)
    byte = p.stdout.read(1)
    wall = time.monotonic() - start
    if byte != b"!":
        end(p)
        sys.exit(f"{program} {' '.join(args)}: no byte from the guest")
    cpu = cpu_ns(p.pid)
    end(p)
    return 1e3 * wall, 1e-6 * cpu


def idle(program, accel, *args):
    """Pss in MiB, once it does nothing any more."""
    p = begin(program, accel, "-S", *args)
    was, deadline = -1, time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(0.3)
        now = cpu_ns(p.pid)
        if now == was:
            break
        was = now
    kib = pss_kib(p.pid)
    end(p)
    return kib / 1024


def compare(name, unit, runs, programs, measure):
    """measure(program): a tuple of figures, one for each unit. Returns the ratio of the first."""
    first = None
    got = {p: [] for p in programs}
    for _ in range(runs):
        for p in programs:
            got[p].append(measure(p))
    for i, u in enumerate(unit):
        median = [statistics.median(x[i] for x in got[p]) for p in programs]
        line = f"{name:34} {u:9} rhea {median[0]:8.1f}"
        if len(programs) > 1:
            line += f"   peer {median[1]:8.1f}   ratio {median[0] / median[1]:.2f}"
            first = first if i else median[0] / median[1]
        print(line, flush=True)
    return first


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--runs", type=int, default=9)
    ap.add_argument("--accel", default="tcg")
    ap.add_argument("--peer", default=shutil.which("qemu-system-x86_64"))
    ap.add_argument("--boards", default="none,pc,microvm", help="those to measure")
    ap.add_argument("--most", type=float)
    a = ap.parse_args()
    programs = [RHEA] + ([a.peer] if a.peer else [])
    boards = a.boards.split(",")
    ratios = {}

    def measure(name, unit, function):
        ratios[name] = compare(name, unit, a.runs, programs, function)

    with tempfile.TemporaryDirectory() as d:
        bios, elf = os.path.join(d, "bios"), os.path.join(d, "kernel")
        firmware(bios)
        kernel(elf)
        for board in boards:
            if board != "none":
                measure(f"{board}: first instruction", ("ms wall", "ms CPU"),
                        lambda p, b=board: first_instruction(p, a.accel, "-M", b, "-bios", bios))
        if "microvm" in boards:
            measure("microvm: the kernel's first", ("ms wall", "ms CPU"),
                    lambda p: first_instruction(p, a.accel, "-M", "microvm", "-kernel", elf))
        for board in boards:
            measure(f"{board}: idle with -S", ("MiB Pss",), lambda p, b=board: (idle(p, a.accel, "-M", b),))
    if not a.peer:
        print("no peer is installed (qemu-system-x86_64): no ratios")
    elif a.most:
        wrong = [f"{name}: {r:.2f}" for name, r in ratios.items() if r > a.most]
        if wrong:
            sys.exit(f"more than {a.most:g} of the peer's: " + ", ".join(wrong))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmark of starts (tests/bench/start.py) comes to its end beside an installed QEMU: process start to a guest's
first instruction on microvm, and the memory of a process that waits with -S. Its figures are printed, not judged.

    bench-start.py [start_tcg|start_kvm]
"""
import os
import shutil
import subprocess
import sys

import rheatest as rt


def start(accel):
    peer = shutil.which("qemu-system-x86_64")
    if not peer:
        raise rt.Skip("qemu-system-x86_64 is not installed")
    if rt.SLOW >= 20:
        raise rt.Skip("a program with sanitizers has time and memory of its own")
    if accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise rt.Skip("/dev/kvm cannot be opened")
    r = subprocess.run([sys.executable, os.path.join(rt.ROOT, "tests/bench/start.py"), "--runs", "2", "--accel", accel, "--peer", peer,
                        "--boards", "microvm"], capture_output=True, text=True, timeout=300,
                       env={**os.environ, "RHEA_BIN": rt.BIN}, check=False)
    if r.returncode:
        raise rt.Failure(r.stdout + r.stderr)
    return "; ".join(" ".join(line.split()) for line in r.stdout.splitlines())


def start_tcg():
    return start("tcg")


def start_kvm():
    return start("kvm")


ALL = [start_tcg, start_kvm]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

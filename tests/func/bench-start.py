#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmarks of starts come to their ends beside an installed QEMU; their figures are printed, not judged.
tests/bench/start.py: process start to a guest's first instruction on microvm, and the memory of a process that waits with -S.
tests/bench/probe.py: what management programs wait for, and a domain's start by libvirt.

    bench-start.py [start_tcg|start_kvm|probe_tcg|probe_libvirt]
"""
import os
import shutil
import subprocess
import sys

import rheatest as rt


def bench(script, *args):
    peer = shutil.which("qemu-system-x86_64")
    if not peer:
        raise rt.Skip("qemu-system-x86_64 is not installed")
    if rt.SLOW >= 20:
        raise rt.Skip("a program with sanitizers has time and memory of its own")
    r = subprocess.run([sys.executable, os.path.join(rt.ROOT, "tests/bench", script), "--peer", peer, *args], capture_output=True,
                       text=True, timeout=300, env={**os.environ, "RHEA_BIN": rt.BIN}, check=False)
    if r.returncode:
        raise rt.Failure(r.stdout + r.stderr)
    return "; ".join(" ".join(line.split()) for line in r.stdout.splitlines())


def start(accel):
    return bench("start.py", "--runs", "2", "--accel", accel, "--boards", "microvm")


def start_tcg():
    return start("tcg")


def start_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise rt.Skip("/dev/kvm cannot be opened")
    return start("kvm")


def probe_tcg():
    return bench("probe.py", "--runs", "2", "--trips", "100", "--only", "greeting,trips,probe")


def probe_libvirt():
    if not shutil.which("libvirtd", path=f"{os.environ['PATH']}:/usr/sbin"):
        raise rt.Skip("libvirtd is not installed")
    return bench("probe.py", "--runs", "2", "--only", "libvirt")


ALL = [start_tcg, start_kvm, probe_tcg, probe_libvirt]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boot of Debian's cloud kernel to userspace: user+sys CPU time under Rhea and under an installed QEMU,
in alternation; prints medians, their ratio, and Rhea's memory beyond guest RAM.

    tests/bench/boot.py [--runs N] [--cpu MODEL] [--peer PROGRAM] [--kernel cloud|generic]
"""
import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))
import engines  # noqa: E402
import guest_assets  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RHEA = os.environ.get("RHEA_BIN") or os.path.join(ROOT, "build/tools/system/rhea-system-x86_64")


def guest_ram_resident(pid, ram_bytes):
    """Resident KiB of the mapping that is the guest's RAM, and of the whole process."""
    resident = {}  # by start address: a mapping that changes while the file is read is listed twice
    try:
        with open(f"/proc/{pid}/smaps") as f:
            for line in f:
                m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
                if m:
                    start, size = int(m.group(1), 16), int(m.group(2), 16) - int(m.group(1), 16)
                    twin = "rhea-code" in line and "x" not in m.group(3)  # the same memory, mapped executable too
                elif line.startswith("Rss:") and not twin:
                    resident[start] = (int(line.split()[1]), size >= ram_bytes)
    except OSError:
        pass
    return sum(k for k, is_ram in resident.values() if is_ram), sum(k for k, _ in resident.values())


def run_peer(*args, **more):
    """run(), with three tries: QEMU's guest panics on a busy host that delays its timer's first interrupts."""
    for _ in range(2):
        try:
            return run(*args, **more)
        except engines.EngineError as e:
            print(f"the peer is run again: {str(e).splitlines()[0]}", flush=True)
    return run(*args, **more)


def run(program, kernel, initrd, cpu, timeout=600, extra=("-accel", "tcg")):
    """CPU seconds of one boot, and the largest resident memory beyond guest RAM seen (MiB)."""
    args = [program, *extra, "-nodefaults", "-M", "pc", "-cpu", cpu, "-m", "512M", "-display", "none",
            "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append",
            "console=ttyS0 quiet panic=-1"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    peak, most = [0], [1]

    def watch():
        while p.poll() is None:
            ram, total = guest_ram_resident(p.pid, 500 << 20)
            if ram >= most[0]: # smaps is not read atomically: at exit the RAM may be gone and the rest not
                most[0] = ram
                peak[0] = max(peak[0], total - ram)
            time.sleep(0.05)

    t = threading.Thread(target=watch)
    t.start()
    try:
        out, _ = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        p.kill()
        out, _ = p.communicate()
    t.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if p.returncode != 0 or b"@@rhea-end 0@@" not in out:
        raise engines.EngineError(f"{program}: the guest did not finish (status {p.returncode}):\n" +
                                  out[-1500:].decode("utf-8", "replace"))
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak[0] / 1024


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--cpu", default="qemu64")
    ap.add_argument("--kernel", default="cloud")
    ap.add_argument("--peer", default=shutil.which("qemu-system-x86_64"))
    a = ap.parse_args()
    kernel = guest_assets.kernel(a.kernel)
    with tempfile.TemporaryDirectory() as d:
        initrd = guest_assets.initramfs(os.path.join(d, "i.cpio"), "true")
        mine, theirs, ratios, mem = [], [], [], []
        for i in range(a.runs):
            s, m = run(RHEA, kernel, initrd, a.cpu)
            mine.append(s)
            mem.append(m)
            if a.peer:
                theirs.append(run_peer(a.peer, kernel, initrd, a.cpu)[0])
                ratios.append(s / theirs[-1])
            print(f"run {i + 1}: rhea {s:.2f} s" + (f", peer {theirs[-1]:.2f} s, ratio {ratios[-1]:.2f}" if a.peer else ""), flush=True)
    print(f"rhea: median {statistics.median(mine):.2f} s CPU, {max(mem):.1f} MiB beyond guest RAM")
    if a.peer:
        print(f"peer: median {statistics.median(theirs):.2f} s CPU; median of ratios {statistics.median(ratios):.2f}")
    else:
        print("no peer is installed (qemu-system-x86_64): no ratio")


if __name__ == "__main__":
    try:
        main()
    except engines.EngineError as e:
        sys.exit(str(e))

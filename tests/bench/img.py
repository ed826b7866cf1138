#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rhea-img beside qemu-img: convert raw to qcow2, back, and compressed, create, check, compare.

usage: img.py [--mib N] [--runs N] [--dir DIR] [--compressed-mib N]

Makes one mixed image (a quarter each of zeros, random bytes, text and repeated bytes; the same in every run) in a temporary
folder, runs both programs by turns, and prints medians of wall time and of CPU time, their ratios (above 1: rhea-img is
faster) and the highest memory of each. What is written is compared. Exit status 1: a bound of the issue is not met.
"""
import argparse
import ctypes
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
RHEA = os.environ.get("RHEA_IMG") or os.path.join(BUILD, "tools/img/rhea-img")
PROGRAMS = {"rhea": os.path.abspath(RHEA), "qemu": shutil.which("qemu-img")}


def make_image(name, size):
    rng, at = random.Random(7), 0
    with open(name, "wb") as f:
        while at < size:
            n, kind = min(rng.randrange(64 << 10, 4 << 20), size - at), rng.randrange(4)
            if kind == 0:
                f.seek(n, 1)
            elif kind == 1:
                f.write(rng.randbytes(n))
            elif kind == 2:
                words = b"".join(b"record %08d has value %d; " % (rng.randrange(10**8), rng.randrange(99)) for _ in range(2000))
                f.write((words * (n // len(words) + 1))[:n])
            else:
                f.write(bytes([rng.randrange(1, 256)]) * n)
            at += n
        f.truncate(size)


def adopt_orphans():
    """Children of children that have ended become ours (PR_SET_CHILD_SUBREAPER)."""
    if ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0):
        sys.exit("prctl: " + os.strerror(ctypes.get_errno()))


def run(args):
    """Wall seconds, CPU seconds, KiB."""
    # What wait4() says of a process's memory begins with what its parent had: so the parent is a shell, which has ended
    # when the program starts.
    script = 'exec 3<&0; { read -r go <&3; exec "$@" >/dev/null 3<&-; } & exec echo $!'
    with subprocess.Popen(["sh", "-c", script, "sh", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        pid = int(p.stdout.readline())
        p.wait()
        start = time.monotonic()
        p.stdin.write(b"go\n")
        p.stdin.flush()
        _, status, used = os.wait4(pid, 0)
        wall = time.monotonic() - start
    if status:
        sys.exit(f"{args}: status {os.waitstatus_to_exitcode(status)}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss


def remove(name):
    if os.path.exists(name):
        os.unlink(name)


def measure(title, args, rounds, output, check):
    got = {p: [] for p in PROGRAMS}
    for i in range(rounds):
        for p in sorted(PROGRAMS, reverse=i % 2 == 0):
            if output:
                remove(output)
            os.sync()  # nobody pays for what another one wrote
            got[p].append(run([PROGRAMS[p], *args]))
            if i == 0:
                check()
    wall, cpu = ({p: statistics.median(g[k] for g in got[p]) for p in got} for k in (0, 1))
    memory = {p: max(g[2] for g in got[p]) for p in got}
    ratio, cpu_ratio = wall["qemu"] / wall["rhea"], cpu["qemu"] / max(cpu["rhea"], 0.001)
    print(f"{title:16} {wall['rhea']:8.3f} {wall['qemu']:8.3f} {ratio:6.2f}   {cpu['rhea']:7.3f} {cpu['qemu']:7.3f} "
          f"{cpu_ratio:6.2f}   {memory['rhea'] / 1024:6.1f} {memory['qemu'] / 1024:6.1f}", flush=True)
    return ratio, memory["rhea"] <= memory["qemu"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--compressed-mib", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dir")
    a = parser.parse_args()
    if not PROGRAMS["qemu"]:
        sys.exit("qemu-img (qemu-utils) must be installed")
    adopt_orphans()
    bad = []
    with tempfile.TemporaryDirectory(prefix="rhea-bench-", dir=a.dir) as folder:
        os.chdir(folder)
        make_image("in.raw", a.mib << 20)
        make_image("small.raw", a.compressed_mib << 20)
        subprocess.run([PROGRAMS["qemu"], "convert", "-O", "qcow2", "in.raw", "in.qcow2"], check=True)

        def same(one, two):
            return lambda: subprocess.run([PROGRAMS["qemu"], "compare", "-q", one, two], check=True)

        print(f"{a.runs} runs, load {os.getloadavg()[0]:.1f}")
        print(f"{'seconds':16} {'rhea':>8} {'qemu':>8} {'ratio':>6}   {'CPU':>7} {'qemu':>7} {'ratio':>6}   {'MiB':>6} {'qemu':>6}")
        rows = [("raw to qcow2", ["convert", "-f", "raw", "-O", "qcow2", "in.raw", "o.qcow2"], "o.qcow2",
                 same("in.raw", "o.qcow2"), 1.3),
                ("qcow2 to raw", ["convert", "-f", "qcow2", "-O", "raw", "in.qcow2", "o.raw"], "o.raw",
                 same("in.raw", "o.raw"), 1.3),
                ("raw to qcow2 -c", ["convert", "-c", "-f", "raw", "-O", "qcow2", "small.raw", "c.qcow2"], "c.qcow2",
                 same("small.raw", "c.qcow2"), 1.3),
                ("create", ["create", "-q", "-f", "qcow2", "n.qcow2", "100G"], "n.qcow2", lambda: None, 1.0),
                ("check", ["check", "-q", "in.qcow2"], None, lambda: None, 1.0),
                ("compare", ["compare", "-q", "in.raw", "in.qcow2"], None, lambda: None, 1.0)]
        for title, args, output, check, bound in rows:
            ratio, memory = measure(title, args, a.runs, output, check)
            if ratio < bound:
                bad.append(f"{title}: {ratio:.2f} times as fast, not {bound}")
            if not memory:
                bad.append(f"{title}: more memory than qemu-img")
        os.chdir("/")
    print("\n".join(bad) if bad else "all bounds are met")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

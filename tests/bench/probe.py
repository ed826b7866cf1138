#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libvirt's probe of an emulator, replayed: start with -daemonize, connect, the commands libvirt 9 sends in its order, until the
last answer. Also the ten commands that took longest, and query-status round trips. With a peer in alternation.

    tests/bench/probe.py [--runs N] [--peer PROGRAM] [--accel A] [--most MS]

Prints medians. With --most, fails when the median of the whole probe is more than that many milliseconds.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RHEA = os.environ.get("RHEA_BIN") or os.path.join(ROOT, "build/tools/system/rhea-system-x86_64")

DEVICES = """virtio-blk-pci virtio-net-pci virtio-scsi-pci virtio-net-ccw virtio-scsi-ccw vfio-pci scsi-hd ide-hd PIIX4_PM
    usb-redir usb-storage kvm-pit VGA vmware-svga qxl virtio-gpu-pci virtio-gpu-device ICH9-LPC virtio-balloon-pci
    virtio-balloon-ccw virtio-balloon-device intel-iommu mch nvdimm pcie-root-port usb-host vhost-user-fs-device
    virtio-mem-pci virtio-iommu-pci""".split()


def commands():
    """(name, arguments) as libvirt 9 sends them to an emulator without KVM."""
    yield "qmp_capabilities", None
    for name in ("query-version", "query-target", "query-qmp-schema", "query-commands", "query-kvm", "qom-list-types"):
        yield name, None
    for t in DEVICES:
        yield "device-list-properties", {"typename": t}
    for t in ("memory-backend-file", "memory-backend-memfd", "max-x86_64-cpu"):
        yield "qom-list-properties", {"typename": t}
    yield "query-machines", None
    yield "qom-list-properties", {"typename": "none-machine"}
    for name in ("query-cpu-definitions", "query-tpm-models", "query-tpm-types", "query-command-line-options",
                 "query-migrate-capabilities"):
        yield name, None
    yield "query-cpu-model-expansion", {"type": "static", "model": {"name": "max"}}
    yield "query-cpu-model-expansion", {"type": "static", "model": {"name": "max", "props": {"migratable": False}}}


def cpu_ms(pid):
    total = 0
    for t in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{t}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e6


class Session:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)
        self.data = b""
        self.message()  # the greeting

    def message(self):
        parts = [self.data]
        while b"\n" not in parts[-1]:
            parts.append(self.s.recv(1 << 20))
            if not parts[-1]:
                raise EOFError("the connection ended")
        line, _, self.data = b"".join(parts).partition(b"\n")
        return line

    def call(self, name, arguments):
        request = {"execute": name, "id": "libvirt-1"}
        if arguments:
            request["arguments"] = arguments
        self.s.sendall(json.dumps(request).encode() + b"\r\n")
        line = self.message()
        while line.startswith(b'{"timestamp"'):
            line = self.message()
        return line


def probe(program, accel, trips):
    """Milliseconds: the start, the commands, all, CPU time of the daemon; microseconds of query-status; a list of (CPU ms,
    bytes, command, answered)."""
    folder = tempfile.mkdtemp(prefix="rhea-probe-")
    path, pidfile = os.path.join(folder, "q"), os.path.join(folder, "pid")
    try:
        began = time.monotonic()
        subprocess.run([program, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", f"none,accel={accel}",
                        "-qmp", f"unix:{path},server=on,wait=off", "-pidfile", pidfile, "-daemonize"],
                       check=True, stdin=subprocess.DEVNULL, env={"HOME": folder, "LC_ALL": "C", "PATH": os.environ["PATH"]})
        session = Session(path)
        started = time.monotonic()
        with open(pidfile, encoding="ascii") as f:
            pid = int(f.read())
        each = []
        for name, arguments in commands():
            t = cpu_ms(pid)
            answer = session.call(name, arguments)
            label = name + (" " + next(iter(arguments.values())) if name.endswith("properties") else "")
            each.append((cpu_ms(pid) - t, len(answer), label, b'"error"' not in answer[:12]))
        done, cpu = time.monotonic(), cpu_ms(pid)
        t = time.monotonic()
        for _ in range(trips):
            session.call("query-status", None)
        trip = (time.monotonic() - t) / max(trips, 1) * 1e6
        os.kill(pid, signal.SIGTERM)
        try:
            while True:
                session.message()  # until it is gone
        except (EOFError, ConnectionResetError):
            pass
        return (started - began) * 1e3, (done - started) * 1e3, (done - began) * 1e3, cpu, trip, each
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--trips", type=int, default=2000)
    parser.add_argument("--peer", default=shutil.which("qemu-system-x86_64"))
    parser.add_argument("--accel", default="tcg")
    parser.add_argument("--most", type=float)
    args = parser.parse_args()
    programs = {"rhea": RHEA, **({"peer": args.peer} if args.peer else {})}
    results = {name: [] for name in programs}
    for _ in range(args.runs):
        for name, program in programs.items():
            results[name].append(probe(program, args.accel, args.trips))
    print(f"{'':6} {'start ms':>9} {'commands ms':>12} {'all ms':>8} {'cpu ms':>7} {'query-status us':>16} {'bytes':>8} {'answered':>9}")
    whole = {}
    for name, runs in results.items():
        start, asked, whole[name], cpu, trip = (statistics.median(r[i] for r in runs) for i in range(5))
        each = runs[0][-1]
        print(f"{name:6} {start:9.1f} {asked:12.1f} {whole[name]:8.1f} {cpu:7.1f} {trip:16.1f} {sum(e[1] for e in each):8} "
              f"{sum(e[3] for e in each):>4} of {len(each)}")
    print("\nRhea's longest commands (median CPU ms, bytes):")
    times = [(statistics.median(r[-1][i][0] for r in results["rhea"]), e[1], e[2]) for i, e in enumerate(results["rhea"][0][-1])]
    for ms, size, label in sorted(times, reverse=True)[:10]:
        print(f"{ms:8.2f} {size:8}  {label}")
    if args.most and whole["rhea"] > args.most:
        sys.exit(f"the probe took {whole['rhea']:.1f} ms, more than {args.most}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a management program waits for, under Rhea and under an installed QEMU in alternation:

    greeting  the start of the process until its monitor's greeting, with -M none and with -M q35 -S; the monitor is a socket
              that the program inherits, and somebody has connected to it already, as with libvirt
    trips     round trips of query-status on a session, one after the other
    probe     libvirt 9's questions to an emulator, replayed: start with -daemonize, connect, its commands in its order, until
              the last answer; and which commands took longest
    libvirt   Debian's libvirt starts a domain (disk, CD, network, agent, balloon, random numbers) paused, asked by virsh

    tests/bench/probe.py [--only PART,...] [--runs N] [--trips N] [--peer PROGRAM] [--accel A] [--most RATIO]

Prints medians and their ratios. CPU time is that of the emulator's threads until then. With --most, fails when a wall time is a
larger part of the peer's.
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

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
import start  # noqa: E402

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


class Session:
    """A client of the monitor on a socket, which listens."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)
        self.data = b""

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


class Waiting:
    """An emulator that waits with -S, its monitor on a socket that it inherits. A context: the Session, the greeting taken."""

    def __init__(self, program, machine, accel):
        self.folder = tempfile.TemporaryDirectory(prefix="rhea-probe-")
        path = os.path.join(self.folder.name, "q")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            self.session = Session(path)
            fd = listener.fileno()
            began = time.monotonic()
            self.p = subprocess.Popen([program, "-S", "-no-user-config", "-nodefaults", "-display", "none", "-machine", machine, "-accel",
                                       accel, "-chardev", f"socket,id=m,fd={fd},server=on,wait=off", "-mon", "chardev=m,mode=control"],
                                      stdin=subprocess.DEVNULL, pass_fds=[fd])
        try:
            self.session.message()
            self.wall_ms = (time.monotonic() - began) * 1e3
            self.cpu_ms = start.cpu_ns(self.p.pid) / 1e6
            self.session.call("qmp_capabilities", None)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.p.kill()
        self.p.wait()
        self.session.s.close()
        self.folder.cleanup()


def greeting(program, machine, accel):
    with Waiting(program, machine, accel) as w:
        return w.wall_ms, w.cpu_ms


def round_trips(program, accel, n):
    """Microseconds of each: wall, CPU."""
    with Waiting(program, "q35", accel) as w:
        cpu, began = start.cpu_ns(w.p.pid), time.monotonic()
        for _ in range(n):
            w.session.call("query-status", None)
        return (time.monotonic() - began) * 1e6 / n, (start.cpu_ns(w.p.pid) - cpu) / 1e3 / n


def probe(program, accel, each):
    """Milliseconds: all of it, the start, the commands; CPU time of the daemon. each gets (CPU ms, bytes, command)."""
    folder = tempfile.mkdtemp(prefix="rhea-probe-")
    path, pidfile = os.path.join(folder, "q"), os.path.join(folder, "pid")
    try:
        began = time.monotonic()
        subprocess.run([program, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", f"none,accel={accel}",
                        "-qmp", f"unix:{path},server=on,wait=off", "-pidfile", pidfile, "-daemonize"],
                       check=True, stdin=subprocess.DEVNULL, env={"HOME": folder, "LC_ALL": "C", "PATH": os.environ["PATH"]})
        session = Session(path)
        session.message()
        started = time.monotonic()
        with open(pidfile, encoding="ascii") as f:
            pid = int(f.read())
        for name, arguments in commands():
            t = start.cpu_ns(pid)
            answer = session.call(name, arguments)
            label = name + (" " + next(iter(arguments.values())) if name.endswith("properties") else "")
            each.append(((start.cpu_ns(pid) - t) / 1e6, len(answer), label))
        done, cpu = time.monotonic(), start.cpu_ns(pid) / 1e6
        os.kill(pid, signal.SIGTERM)
        try:
            while True:
                session.message()  # until it is gone
        except (EOFError, ConnectionResetError):
            pass
        return (done - began) * 1e3, (started - began) * 1e3, (done - started) * 1e3, cpu
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def longest(each):
    """The commands of all runs: each has them in the same order."""
    n = sum(1 for _ in commands())
    times = [(statistics.median(e[0] for e in each[i::n]), each[i][1], each[i][2]) for i in range(n)]
    print("  Rhea's longest commands (median CPU ms, bytes):")
    for ms, size, label in sorted(times, reverse=True)[:10]:
        print(f"  {ms:8.2f} {size:8}  {label}")


class Libvirt:
    """libvirt with a domain for each program, and a virsh that takes commands. A context."""

    def __init__(self, programs):
        sys.path.append(os.path.join(start.ROOT, "tests/func"))
        import virt  # needs what a bench of the program alone does not

        self.v = virt.Virt(*programs)
        self.virt, self.programs, self.domains = virt, programs, {}

    def __enter__(self):
        self.v.__enter__()
        try:
            self.define()
            self.shell = subprocess.Popen([self.v.tools["stdbuf"], "-oL", *self.v.virsh_args()], env=self.v.env, cwd=self.v.dir,
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **self.v.who)
        except BaseException:
            self.v.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *exc):
        self.shell.stdin.close()
        self.shell.wait()
        self.v.__exit__(*exc)

    def define(self):
        """Here libvirt asks each program what it can do, and keeps the answers."""
        disk = os.path.join(self.v.images, "disk")
        with open(disk, "wb") as f:
            f.truncate(64 << 20)
        self.v.give_away()
        for i, program in enumerate(self.programs):
            self.domains[program] = self.virt.Domain(self.v, f"bench{i}", "q35", "<os><type machine='q35'>hvm</type></os>", f"""
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<memballoon model='virtio'/>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>""", emulator=self.v.emulators[program])

    def command(self, text):
        """Until virsh has done it, and what we ask it to say then."""
        self.shell.stdin.write(text + "\necho @@done\n")
        self.shell.stdin.flush()
        said, line = "", ""
        while line.strip() != "@@done":
            line = self.shell.stdout.readline()
            if not line:
                raise EOFError(f"virsh ended: {said}")
            said += line
        if "error:" in said:
            raise OSError(f"virsh {text}: {said}\n{self.v.tail()}")

    def starts(self, program):
        dom = self.domains[program]
        began = time.monotonic()
        self.command(f"start {dom.name} --paused")
        wall = (time.monotonic() - began) * 1e3
        cpu = start.cpu_ns(dom.pid()) / 1e6
        self.command(f"destroy {dom.name}")
        return wall, cpu


PARTS = ("greeting", "trips", "probe", "libvirt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--trips", type=int, default=10000)
    parser.add_argument("--peer", default=shutil.which("qemu-system-x86_64"))
    parser.add_argument("--accel", default="tcg")
    parser.add_argument("--most", type=float)
    args = parser.parse_args()
    only = args.only.split(",")
    if set(only) - set(PARTS):
        parser.error(f"--only takes {', '.join(PARTS)}")
    programs = [start.RHEA] + ([args.peer] if args.peer else [])
    ratios, each = {}, {p: [] for p in programs}

    def measure(name, unit, function):
        ratios[name] = start.compare(name, unit, args.runs, programs, function)

    for machine in ("none", "q35") if "greeting" in only else ():
        measure(f"greeting, -M {machine}", ("ms wall", "ms CPU"), lambda p, m=machine: greeting(p, m, args.accel))
    if "trips" in only:
        measure(f"query-status, {args.trips} times", ("us wall", "us CPU"), lambda p: round_trips(p, args.accel, args.trips))
    if "probe" in only:
        measure("libvirt's probe", ("ms wall", "ms start", "ms asked", "ms CPU"), lambda p: probe(p, args.accel, each[p]))
        longest(each[start.RHEA])
    if "libvirt" in only:
        with Libvirt(programs) as lv:
            measure("libvirt's start, paused", ("ms wall", "ms CPU"), lv.starts)
    if not args.peer:
        print("no peer is installed (qemu-system-x86_64): no ratios")
    elif args.most:
        wrong = [f"{name}: {r:.2f}" for name, r in ratios.items() if r > args.most]
        if wrong:
            sys.exit(f"more than {args.most:g} of the peer's: " + ", ".join(wrong))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Performance of software acceleration: the same static programs on the host, in a guest under Rhea and in a
guest under an installed QEMU, in alternation. Prints each emulator's slowdown against the host and the
ratio QEMU/Rhea (above 1: Rhea is faster) from the emulators' own CPU time; wall time beside it.

    tests/bench/suite.py [--groups kernels,os,programs,boot,smp] [--only NAME,...] [--runs N] [--quick]
                         [--cpu MODEL] [--rhea PROGRAM] [--rhea-args '...'] [--qemu PROGRAM|none]
                         [--seconds S] [--json FILE] [--list]
"""
import argparse
import json
import math
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boot as boot_bench  # noqa: E402
import engines as en  # noqa: E402
from engines import EngineError, Refused, guest_assets  # noqa: E402

KERNELS = ("int", "mem", "float", "code")
GROUPS = ("kernels", "os", "programs", "boot", "smp")
SMP = ("alu", "sha256", "chase-256k", "copy-large", "atomics", "getppid", "pagefault", "fork")
RHEA = os.environ.get("RHEA_BIN") or os.path.join(en.ROOT, "build/tools/system/rhea-system-x86_64")


def geomean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


class Suite:
    def __init__(self, args, tmp):
        self.a, self.tmp = args, tmp
        self.rows, self.problems, self.notes, self.accounts = [], [], [], {}

    def say(self, text=""):
        print(text, flush=True)

    def problem(self, text):
        self.problems.append(text)
        self.say(f"WRONG: {text}")

    def emulators(self, initrd, mem="512M", extra=()):
        """The guests that start; None in place of the peer when there is none."""
        rhea = en.Guest("rhea", self.a.rhea, initrd, self.a.cpu, mem, list(extra) + shlex.split(self.a.rhea_args))
        peer = en.Guest("qemu", self.a.qemu, initrd, self.a.cpu, mem, extra) if self.a.qemu else None
        return rhea, peer

    def close(self, native, rhea, peer):
        for e in filter(None, (rhea, peer)):
            try:
                rate = e.clock_rate()
                if rate is not None:
                    self.notes.append(f"{e.name}: guest clock {rate:.4f} s per host second over this guest's life")
                    if abs(rate - 1) > 0.02:
                        self.problem(f"{e.name}: the guest's clock runs at {rate:.3f} of the host's: its wall times are wrong")
                if rate is not None:
                    self.notes.append(f"{e.name}: {self.at_rest(e)}")
            except EngineError as err:
                self.problem(str(err))
            e.close()
            self.accounts[e.name] = self.accounts.get(e.name, 0.0) + e.spent
        native.close()

    @staticmethod
    def at_rest(guest, seconds=10):
        """What a guest that has done its work costs while it does nothing."""
        ram, total = boot_bench.guest_ram_resident(guest.line.p.pid, 400 << 20)
        guest.settle()
        before = guest.clock()
        time.sleep(seconds)
        share = (guest.clock() - before) / seconds
        return f"{(total - ram) / 1024:.1f} MiB beyond guest RAM after the workloads; idle, it uses {100 * share:.2f} % of a CPU"

    def workloads(self, native, guests, wanted):
        """[(group, name, base)] of what all engines can run; what one cannot is told."""
        lists = [(e, e.list()) for e in [native] + guests]
        for name, (group, base, _) in lists[0][1].items():
            if name == "nothing" or not wanted(group, name):
                continue
            lack = [f"{e.name} {known[name][2]}" for e, known in lists if known[name][2] != "yes"]
            if lack:
                self.notes.append(f"{name}: skipped: {', '.join(lack)}")
            else:
                yield group, name, base

    def scale(self, command, guests, base):
        """Units with which the slowest guest takes about the time asked for; this also warms all up."""
        n = max(1, base // 16)
        for g in guests:  # the first time pays for pages and translations
            g.ask(command.format(n=n, reps=1), self.a.timeout)
        for _ in range(8):
            longest = max(g.ask(command.format(n=n, reps=1), self.a.timeout)["cpu"] for g in guests)
            if 0.7 * self.a.seconds <= longest <= 1.5 * self.a.seconds or (n == 1 and longest > self.a.seconds):
                break
            n = max(1, round(n * min(30, self.a.seconds / longest)))
        return n

    def measure(self, group, name, command, base, native, guests):
        row = {"group": group, "name": name, "samples": {e.name: [] for e in [native] + guests}}
        try:
            n = row["n"] = self.scale(command, guests, base)
            first = native.ask(command.format(n=n, reps=1), self.a.timeout)
        except EngineError as e:
            self.problem(f"{name}: {e}")
            return
        reps = max(1, min(1000, math.ceil(0.04 / max(first["cpu"], 1e-6)))) if "{reps}" in command else 1
        for _ in range(self.a.runs):
            # A single native run is short and easily disturbed.
            for e in guests + [native] * (3 if self.a.runs < 3 else 1):
                r = reps if e is native else 1
                try:
                    s = e.ask(command.format(n=n, reps=r), self.a.timeout)
                except EngineError as err:
                    self.problem(f"{name}: {err}")
                    return
                if s["sum"] != first["sum"]:
                    self.problem(f"{name} {n}: {e.name} computed {s['sum']}, the host {first['sum']}")
                    if "{reps}" not in command:
                        self.say("".join(f"  {x.name} printed: {x.said()}\n" for x in dict.fromkeys((e, native))))
                    return
                row["samples"][e.name].append({k: v / r if e is native and k != "sum" else v for k, v in s.items()})
        self.finish(row)

    def finish(self, row):
        """Medians and ratios of a row; prints its line."""
        samples = row["samples"]
        for what in ("cpu", "wall"):
            row[what] = {e: statistics.median(s[what] for s in v) for e, v in samples.items() if v}
            for e, v in list(row[what].items()):
                if e != "native" and "native" in row[what]:
                    row[what][e + "_slowdown"] = v / max(row[what]["native"], 1e-9)
            if samples.get("qemu"):
                pairs = zip(samples["qemu"], samples["rhea"])
                row[what]["ratio"] = statistics.median(q[what] / max(r[what], 1e-9) for q, r in pairs)
        self.rows.append(row)
        self.say(self.text(row))

    HEAD = (f"{'workload':<12} {'native':>9} {'rhea':>8} {'qemu':>8} {'rhea':>8} {'qemu':>8} {'qemu':>7} | {'wall:':<5}"
            f"{'rhea':>7} {'qemu':>8} {'qemu':>7}\n"
            f"{'':<12} {'ms cpu':>9} {'s cpu':>8} {'s cpu':>8} {'x native':>8} {'x native':>8} {'/rhea':>7} | "
            f"{'x native':>12} {'x native':>8} {'/rhea':>7}")

    @staticmethod
    def text(row):
        def f(v, width, form):
            return " " * (width - 1) + "-" if v is None else f"{v:{width}{form}}"

        c, w = row["cpu"], row["wall"]
        native = c.get("native")
        return (f"{row['name']:<12} {f(native and native * 1e3, 9, '.3f')} {f(c.get('rhea'), 8, '.3f')} {f(c.get('qemu'), 8, '.3f')} "
                f"{f(c.get('rhea_slowdown'), 8, '.1f')} {f(c.get('qemu_slowdown'), 8, '.1f')} {f(c.get('ratio'), 7, '.2f')} | "
                f"{f(w.get('rhea_slowdown'), 12, '.1f')} {f(w.get('qemu_slowdown'), 8, '.1f')} {f(w.get('ratio'), 7, '.2f')}")

    def run_kernels(self, groups):
        tree = en.small_tree(os.path.join(self.tmp, "small"))
        initrd = en.initramfs(tree, os.path.join(self.tmp, "small.cpio"))
        native = en.Native(tree)
        rhea, peer = self.emulators(initrd)
        guests = [g for g in (rhea, peer) if g]
        try:
            last = None
            for group, name, base in self.workloads(native, guests, lambda g, n: g in groups and self.wanted(n)):
                if group != last:
                    self.say(f"-- {group}")
                    last = group
                self.measure(group, name, f"run {name} {{n}} {{reps}}", base, native, guests)
        finally:
            self.close(native, rhea, peer)

    def run_programs(self):
        tree = en.programs_tree(os.path.join(self.tmp, "programs"))
        initrd = en.initramfs(tree, os.path.join(self.tmp, "programs.cpio"))
        native = en.Native(tree, chroot=True)
        rhea, peer = self.emulators(initrd, "2048M")
        guests = [g for g in (rhea, peer) if g]
        self.say("-- programs")
        self.a.seconds = max(self.a.seconds, 1.0)  # shorter, and starting the program is all that is measured
        try:
            for name, base in en.programs():
                if self.wanted(name):
                    self.measure("programs", name, f"script /bench/programs/{name}.sh {{n}}", base, native, guests)
        finally:
            self.close(native, rhea, peer)

    def run_boot(self):
        """A kernel to userspace and off again: CPU time, no native figure."""
        self.say("-- boot")
        initrd = guest_assets.initramfs(os.path.join(self.tmp, "boot.cpio"), "true")
        more = shlex.split(self.a.rhea_args)
        programs = [("rhea", self.a.rhea, en.accel(more) + more)] + ([("qemu", self.a.qemu, en.accel(()))] if self.a.qemu else [])
        row = {"group": "boot", "name": "boot", "samples": {e: [] for e, _, _ in programs}}
        for _ in range(self.a.runs):
            for e, program, extra in programs:
                start = time.monotonic()
                boot = boot_bench.run if e == "rhea" else boot_bench.run_peer
                cpu, memory = boot(program, guest_assets.kernel("cloud"), initrd, self.a.cpu, extra=extra)
                row["samples"][e].append({"cpu": cpu, "wall": time.monotonic() - start, "extra_mib": memory})
                self.accounts[e] = self.accounts.get(e, 0.0) + cpu
        self.finish(row)

    def run_smp(self):
        """Two jobs at once on two virtual CPUs against one job."""
        tree = en.small_tree(os.path.join(self.tmp, "small"))
        initrd = en.initramfs(tree, os.path.join(self.tmp, "smp.cpio"))
        native = en.Native(tree)
        rhea, peer = self.emulators(initrd, extra=("-smp", "2"))
        up = [native]
        try:
            for g in filter(None, (rhea, peer)):
                try:
                    g.ensure()
                    up.append(g)
                except Refused as e:
                    self.notes.append("smp: skipped: " + " ".join(str(e).split()))
            if rhea not in up:
                return
            self.say(f"-- smp: two jobs on two CPUs against one; wall time scaling, 2.00 is perfect\n{'':<17}"
                     "(CPU time of the two / twice that of one)" + "".join(f"{e.name:>15}" for e in up))
            for name in SMP:
                if self.wanted("smp-" + name):
                    self.scaling(name, native, up)
        finally:
            self.close(native, rhea, peer)

    def scaling(self, name, native, up):
        base = native.list()[name][1]
        row = {"group": "smp", "name": "smp-" + name, "samples": {e.name: [] for e in up}, "scaling": {}, "cpu_cost": {}}
        try:
            row["n"] = n = self.scale(f"run {name} {{n}} {{reps}}", up[1:], base)
            for _ in range(self.a.runs):
                for e in up:
                    m = n * 10 if e is native else n
                    one, two = (e.ask(f"jobs {k} {name} {m}", self.a.timeout) for k in (1, 2))
                    if one["sum"] != two["sum"]:
                        raise EngineError(f"{e.name}: one job computed {one['sum']}, each of two {two['sum']}")
                    row["samples"][e.name].append({"one": one, "two": two})
        except EngineError as e:
            self.problem(f"smp {name}: {e}")
            return
        for e, v in row["samples"].items():
            row["scaling"][e] = statistics.median(2 * s["one"]["wall"] / s["two"]["wall"] for s in v)
            row["cpu_cost"][e] = statistics.median(s["two"]["cpu"] / (2 * s["one"]["cpu"]) for s in v)
        self.rows.append(row)
        self.say(f"{row['name']:<58}" + "".join(f"{row['scaling'][e.name]:>8.2f} ({row['cpu_cost'][e.name]:.2f})" for e in up))

    def wanted(self, name):
        return not self.a.only or name in self.a.only

    def summary(self):
        if self.rows:
            self.say("\ngeometric means of CPU time  rhea x native  qemu x native  qemu/rhea")
        means = {}
        order = []
        for r in self.rows:
            if r["group"] not in order + ["smp"]:
                order.append(r["group"])
        sets = [(g, [r for r in self.rows if r["group"] == g]) for g in order]
        kernels = [r for r in self.rows if r["group"] in KERNELS]
        if len({r["group"] for r in kernels}) > 1:
            sets.append(("kernels", kernels))
        for g, rows in sets:
            m = {k: geomean([r["cpu"].get(k) for r in rows]) for k in ("rhea_slowdown", "qemu_slowdown", "ratio")}
            means[g] = m
            cells = "".join(f"{'-' if m[k] is None else format(m[k], '.2f'):>{w}}"
                            for k, w in (("rhea_slowdown", 15), ("qemu_slowdown", 15), ("ratio", 11)))
            self.say(f"{g + f' ({len(rows)})':<27}{cells}")
        for name, spent in self.accounts.items():
            self.say(f"{name}: {spent:.1f} s of user and system time in all, boots included")
        for n in self.notes:
            self.say("note: " + n)
        for p in self.problems:
            self.say("WRONG: " + p)
        return means


def catalog():
    """{name: (group, "yes" or what this host lacks)} of all workloads."""
    with tempfile.TemporaryDirectory(prefix="rhea-suite-") as tmp:
        native = en.Native(en.small_tree(tmp))
        found = {name: (group, ok) for name, (group, _, ok) in native.list().items()
                 if name != "nothing" and group != "disk"}  # that one is disk.py's
        native.close()
    found.update((n, ("programs", "yes")) for n, _ in en.programs())
    found["boot"] = ("boot", "yes")
    found.update(("smp-" + n, ("smp", "yes")) for n in SMP)
    return found


def version(program):
    r = subprocess.run([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return r.stdout.splitlines()[0] if r.stdout else "?"


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--groups", help="all, by default")
    ap.add_argument("--only", help="names of workloads, separated by commas")
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--quick", action="store_true", help="an impression: kernels and os, one short run of each")
    ap.add_argument("--cpu", default="max", help="CPU model of both emulators (max)")
    ap.add_argument("--seconds", type=float, default=1.5, help="CPU time the slower emulator shall take per run")
    ap.add_argument("--timeout", type=float, default=120)
    ap.add_argument("--rhea", default=RHEA)
    ap.add_argument("--rhea-args", default="", help="further arguments of Rhea, e.g. '-accel tcg,tier=0'")
    ap.add_argument("--qemu", default=shutil.which("qemu-system-x86_64"), help="'none' measures Rhea alone")
    ap.add_argument("--json")
    ap.add_argument("--list", action="store_true", help="print the workloads and end")
    a = ap.parse_args()
    a.only = set(a.only.split(",")) if a.only else None
    a.catalog = catalog()
    unknown = sorted((a.only or set()) - set(a.catalog))
    if unknown:
        ap.error(f"no such workload: {unknown[0]}; --list prints them")
    if a.quick:
        a.runs, a.seconds = 1, 0.25
    a.groups = (a.groups or ("kernels,os" if a.quick and not a.only else ",".join(GROUPS))).split(",")
    # The kernels' own groups: a group is run when it holds something wanted.
    held = {group for name, (group, _) in a.catalog.items() if not a.only or name in a.only}
    unknown = [g for g in a.groups if g not in GROUPS + KERNELS]
    if unknown or a.runs < 1:
        ap.error(f"no such group: {unknown[0]}" if unknown else "--runs must be at least 1")
    expanded = [g for word in a.groups for g in (KERNELS if word == "kernels" else (word,))]
    a.groups = [g for g in expanded if g in held]
    if not a.groups:
        ap.error("none of the groups holds a workload of --only")
    if a.qemu == "none":
        a.qemu = None
    return a


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # temporary files go, too
    a = parse()
    if a.list:
        for name, (group, ok) in a.catalog.items():
            print(f"{group:<9} {name}" + ("" if ok == "yes" else f" ({ok} on this host)"))
        return 0
    with tempfile.TemporaryDirectory(prefix="rhea-suite-") as tmp:
        s = Suite(a, tmp)
        s.say(f"rhea: {version(a.rhea)} {a.rhea_args}\nqemu: {version(a.qemu) if a.qemu else 'none is installed'}\n"
              f"cpu model {a.cpu}, {a.runs} runs, load {os.getloadavg()[0]:.1f}\n")
        s.say(s.HEAD)
        start = time.monotonic()
        groups = [g for g in a.groups if g in KERNELS + ("os",)]
        parts = [lambda: s.run_kernels(groups)] if groups else []
        parts += [f for g, f in (("programs", s.run_programs), ("boot", s.run_boot), ("smp", s.run_smp)) if g in a.groups]
        for part in parts:
            try:
                part()
            except EngineError as e:
                s.problem(str(e))
        means = s.summary()
        s.say(f"{time.monotonic() - start:.0f} s")
        if a.json:
            with open(a.json, "w") as f:
                json.dump({"rhea": version(a.rhea), "rhea_args": a.rhea_args, "qemu": version(a.qemu) if a.qemu else None,
                           "cpu": a.cpu, "runs": a.runs, "host": platform.platform(), "time": time.time(),
                           "workloads": s.rows, "means": means, "notes": s.notes, "problems": s.problems,
                           "cpu_seconds": s.accounts}, f, indent=1)
        return 1 if s.problems else 0


if __name__ == "__main__":
    sys.exit(main())

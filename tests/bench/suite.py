#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Performance of software acceleration: the same static programs on the host, in a guest under Rhea and in a
guest under an installed QEMU, in alternation. Prints each emulator's slowdown against the host and the
ratio QEMU/Rhea (above 1: Rhea is faster) from the emulators' own CPU time; wall time beside it.

    tests/bench/suite.py [--groups kernels,os] [--only NAME,...] [--runs N] [--quick]
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
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import engines as en  # noqa: E402
from engines import EngineError  # noqa: E402

KERNELS = ("int", "mem", "float", "code")
GROUPS = ("kernels", "os")
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
            except EngineError as err:
                self.problem(str(err))
            e.close()
            self.accounts[e.name] = self.accounts.get(e.name, 0.0) + e.spent
        native.close()

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
        n, longest = max(1, base // 16), 0.0
        for _ in range(6):
            longest = max(g.ask(command.format(n=n, reps=1), self.a.timeout)["cpu"] for g in guests)
            if longest >= self.a.seconds / 8:
                break
            n = max(n + 1, min(n * 40, int(n * self.a.seconds / 3 / max(longest, 1e-4))))
        return max(1, round(n * self.a.seconds / longest))

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

    def wanted(self, name):
        return not self.a.only or name in self.a.only

    def summary(self):
        self.say("\ngeometric means of CPU time  rhea x native  qemu x native  qemu/rhea")
        means = {}
        order = []
        for r in self.rows:
            if r["group"] not in order:
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


def version(program):
    r = subprocess.run([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return r.stdout.splitlines()[0] if r.stdout else "?"


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--groups", default="kernels,os")
    ap.add_argument("--only", help="names of workloads, separated by commas")
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--quick", action="store_true", help="an impression: kernels and os, one short run of each")
    ap.add_argument("--cpu", default="max", help="CPU model of both emulators (max)")
    ap.add_argument("--seconds", type=float, default=1.5, help="CPU time the slower emulator shall take per run")
    ap.add_argument("--timeout", type=float, default=120)
    ap.add_argument("--rhea", default=RHEA)
    ap.add_argument("--rhea-args", default="", help="further arguments, e.g. '-accel tcg,...'")
    ap.add_argument("--qemu", default=shutil.which("qemu-system-x86_64"), help="'none' measures Rhea alone")
    ap.add_argument("--json")
    ap.add_argument("--list", action="store_true", help="print the workloads and end")
    a = ap.parse_args()
    a.only = set(a.only.split(",")) if a.only else None
    if a.quick:
        a.runs, a.seconds = 1, 0.25
        if a.groups == ap.get_default("groups"):
            a.groups = "kernels,os"
    a.groups = a.groups.split(",")
    unknown = [g for g in a.groups if g not in GROUPS + KERNELS]
    if unknown or a.runs < 1:
        ap.error(f"no such group: {unknown[0]}" if unknown else "--runs must be at least 1")
    if a.qemu == "none":
        a.qemu = None
    return a


def main():
    a = parse()
    with tempfile.TemporaryDirectory(prefix="rhea-suite-") as tmp:
        s = Suite(a, tmp)
        if a.list:
            native = en.Native(en.small_tree(os.path.join(tmp, "small")))
            for name, (group, _, ok) in native.list().items():
                print(f"{group:<6} {name}" + ("" if ok == "yes" else f" ({ok} on this host)"))
            native.close()
            return 0
        s.say(f"rhea: {version(a.rhea)} {a.rhea_args}\nqemu: {version(a.qemu) if a.qemu else 'none is installed'}\n"
              f"cpu model {a.cpu}, {a.runs} runs, load {os.getloadavg()[0]:.1f}\n")
        s.say(s.HEAD)
        start = time.monotonic()
        groups = [g for g in KERNELS if "kernels" in a.groups or g in a.groups] + (["os"] if "os" in a.groups else [])
        try:
            if groups:
                s.run_kernels(groups)
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

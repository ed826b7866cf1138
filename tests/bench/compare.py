# SPDX-License-Identifier: MIT
"""What disk.py, network.py and drawing.py have in common: options, two guests that do the same work by turns, rows of
medians and ratios. Ratios above 1: Rhea is faster."""
import argparse
import os
import shutil
import statistics
import sys

import engines as en
import suite


def parse(doc, names, more):
    """The command line; more(parser) adds what one benchmark has beside the options of all."""
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=6)
    ap.add_argument("--only", help="names of rows, separated by commas: " + ", ".join(names))
    ap.add_argument("--quick", action="store_true", help="one short run of each")
    ap.add_argument("--seconds", type=float, default=2.0, help="time the slower emulator shall take for a run")
    ap.add_argument("--cpu", default="max")
    ap.add_argument("--rhea", default=suite.RHEA)
    ap.add_argument("--qemu", default=shutil.which("qemu-system-x86_64"))
    ap.add_argument("--machine", default="", help="further arguments, for both")
    more(ap)
    a = ap.parse_args()
    a.only = set(a.only.split(",")) if a.only else None
    if a.only and a.only - set(names):
        ap.error(f"no such row: {sorted(a.only - set(names))[0]}")
    if a.quick:
        a.runs, a.seconds = 1, 0.5
    a.qemu = None if a.qemu == "none" else a.qemu
    return a


def print_head(a, what):
    print(f"rhea: {suite.version(a.rhea)}\nqemu: {suite.version(a.qemu) if a.qemu else 'none'}\ncpu model {a.cpu}, {what}"
          f"{a.runs} runs, load {os.getloadavg()[0]:.1f}, options '{a.machine}'")


class Bench:
    """One benchmark gives guest(), first(), cell() and run()."""

    def __init__(self, a, names):
        self.a = a
        self.programs = [(n, p) for n, p in (("rhea", a.rhea), ("qemu", a.qemu)) if p]
        self.names = [n for n in names if not a.only or n in a.only]
        self.guests, self.units = [], {}
        self.got = {n: {p: [] for p, _ in self.programs} for n in self.names}

    def guest(self, name, program, copy):
        """An engines.Guest; copy: an element of measure()'s copies."""
        raise NotImplementedError

    def first(self, name):
        """Units to begin with."""
        raise NotImplementedError

    def cell(self, name, wall):
        """What a median says, in columns."""
        raise NotImplementedError

    def ask(self, guest, name, units):
        return guest.ask(f"run {name} {units} 1", 300)

    def enough(self, name):
        n = self.first(name)
        for _ in range(8):
            longest = max(self.ask(g, name, n)["wall"] for g in self.guests)
            if longest >= 0.7 * self.a.seconds:
                break
            n = max(n + 1, round(n * min(20, max(1.3, self.a.seconds / longest))))
        return n

    def measure(self, copies, runs, names=None):
        try:
            for (name, program), copy in zip(self.programs, copies):
                self.guests.append(self.guest(name, program, copy))
            for name in names or self.names:
                if name not in self.units:
                    self.units[name] = self.enough(name)
                for _ in range(runs):
                    for g in self.guests:
                        self.got[name][g.name].append(self.ask(g, name, self.units[name]))
                print(".", end="", file=sys.stderr, flush=True)
        finally:
            for g in self.guests:
                g.close()
            self.guests = []

    def row(self, name):
        got = self.got[name]
        line, ratios = f"{name:<20}{self.units[name]:>9}", []
        for samples in got.values():
            line += self.cell(name, statistics.median(s["wall"] for s in samples))
        for what in ("wall", "cpu"):
            if len(got) == 2:
                ratios.append(statistics.median(q[what] / r[what] for r, q in zip(got["rhea"], got["qemu"])))
                line += f"{ratios[-1]:>9.2f}"
        print(line + self.tail(name), flush=True)
        return ratios

    def tail(self, name):
        """What a row says behind its ratios."""
        return ""

    def sum_up(self):
        rows = {n: self.row(n) for n in self.names}
        if len(self.programs) == 2 and rows:
            for k, what in enumerate(("speed", "CPU time")):
                values = [r[k] for r in rows.values()]
                print(f"{what}: geometric mean {suite.geomean(values):.2f}, lowest {min(values):.2f}")


def small_initrd(tree, out, flavour, modules, script):
    """The workload program with a kernel's modules: loaded in order, then the script, then the program."""
    import rheatest as rt
    if modules:
        rt.module_tree(tree, flavour, modules)
    en.small_tree(tree)
    return en.guest_assets.initramfs(out, "cd /tmp\n" + "".join(
        f"insmod /lib/modules/{os.path.basename(m)}.ko\n" for m in modules) + script, tree)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Drawing under Rhea and under an installed QEMU, by turns: the same guest with the same card writes lines to its console (text mode;
frame buffer of the video BIOS's mode; bochs-drm's; virtio-gpu's) and fills, copies and moves whole screens through /dev/fb0. Rows that end in
`-seen` have a VNC viewer that asks for changes all the time. Ratios above 1: Rhea is faster. Wall time by the guest's clock; the
emulators' CPU time beside it, and how many updates the viewer was sent in a second. Then what an idle guest costs: without a
card, with one that nobody looks at, and with a viewer on a picture that stands still.

    tests/bench/drawing.py [--runs N] [--only NAME,...] [--quick] [--seconds S] [--cpu MODEL] [--rhea PROGRAM]
                           [--qemu PROGRAM|none] [--machine ...] [--idle S] [--vga CARD]
"""
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../func")]
import compare  # noqa: E402
import engines as en  # noqa: E402

BOCHS = ["drivers/gpu/drm/" + m for m in ("drm", "drm_kms_helper", "ttm/ttm", "drm_ttm_helper", "drm_vram_helper", "tiny/bochs")]
GPU = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "drivers/virtio/virtio_dma_buf"]
GPU += ["drivers/gpu/drm/" + m for m in ("drm", "drm_kms_helper", "drm_shmem_helper", "virtio/virtio-gpu")]
# What is on the screen: modules, the kernel's further command line, what is drawn.
SCREENS = {"text": ([], "", ("scroll",)),
           "vesa": ([], " vga=0x317", ("scroll", "fill", "blit", "move")),
           "bochs": (BOCHS, "", ("scroll", "fill", "blit")),
           "virtio": (GPU, "", ("scroll", "fill", "blit"))}
VGA = {"virtio": "virtio"} # where --vga does not count
NAMES = [f"{k}-{w}{seen}" for k, (_, _, work) in SCREENS.items() for seen in ("", "-seen") for w in work]
IDLE = [f"idle-{k}" for k in ("no-card", "hidden", "seen")]


class Look:
    """A viewer while this is entered; rates: updates a second are appended to it."""

    def __init__(self, path, rates=None):
        self.path, self.rates = path, rates

    def __enter__(self):
        self.p = subprocess.Popen([sys.executable, os.path.join(HERE, "viewer.py"), self.path], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, preexec_fn=en.die_with_parent)
        if self.p.stdout.readline() != "ready\n":
            raise en.EngineError(f"the viewer ended with status {self.p.wait()}")
        self.start = time.monotonic()
        return self

    def __exit__(self, *exc):
        seconds = time.monotonic() - self.start
        self.p.stdin.close()
        said = self.p.stdout.read().split()
        self.p.wait()
        if self.rates is not None and said:
            self.rates.append(int(said[0]) / seconds)


class Bench(compare.Bench):
    def __init__(self, a, tmp):
        super().__init__(a, NAMES)
        self.tmp, self.initrds = tmp, {}
        self.rates = {n: {p: [] for p, _ in self.programs} for n in self.names}

    def initrd(self, kind):
        if kind not in self.initrds:
            self.initrds[kind] = compare.small_initrd(
                os.path.join(self.tmp, "tree-" + kind), os.path.join(self.tmp, kind + ".cpio"), "generic", SCREENS[kind][0],
                "echo 0 > /sys/class/graphics/fbcon/cursor_blink; printf '\\033[?25l' > /dev/tty0\n"
                "export BENCH_SCREEN=1\n/bench/bench </dev/console >/dev/console 2>&1")
        return self.initrds[kind]

    def socket(self, name):
        return os.path.join(self.tmp, name + ".vnc")

    def guest(self, name, program, copy):
        """copy: a name of SCREENS."""
        return self.guest_with(name, program, copy, ["-vga", VGA.get(copy, self.a.vga), "-vnc", "unix:" + self.socket(name)])

    def guest_with(self, name, program, kind, card):
        g = en.Guest(name, program, self.initrd(kind), self.a.cpu, "512M", shlex.split(self.a.machine) + card)
        g.args[g.args.index("-kernel") + 1] = en.guest_assets.kernel("generic")
        g.args[g.args.index("-append") + 1] += SCREENS[kind][1]
        return g

    def first(self, name):
        return 200 if "-scroll" in name else 10

    def ask(self, guest, name, units):
        command = f"run {name.split('-')[1]} {units} 1"
        if not name.endswith("-seen"):
            return guest.ask(command, 300)
        guest.ensure()
        with Look(self.socket(guest.name), self.rates[name][guest.name]):
            return guest.ask(command, 300)

    def cell(self, name, wall):
        n = self.units[name] / wall
        return f"{n:>11.0f} lines/s" if "-scroll" in name else f"{n:>9.1f} screens/s"

    def tail(self, name):
        rates = [f"{statistics.median(r):.0f}" for r in self.rates[name].values() if r]
        return f"   {' and '.join(rates)} updates/s" if rates else ""

    def idle_cost(self, guest, seconds):
        """CPU time of a second, in per cent of a core."""
        guest.ensure()
        time.sleep(2) # a picture that stands still is looked at less often
        before, start = guest.clock(), time.monotonic()
        time.sleep(seconds)
        return 100 * (guest.clock() - before) / (time.monotonic() - start)

    def idle(self, seconds):
        costs = {k: {p: [] for p, _ in self.programs} for k in IDLE}
        for _ in range(max(1, self.a.runs // 2)):
            for name, program in self.programs:
                for what, card in ((IDLE[0], ["-vga", "none"]), (None, None)):
                    g = self.guest_with(name, program, "text", card) if card else self.guest(name, program, "text")
                    try:
                        costs[what or IDLE[1]][name].append(self.idle_cost(g, seconds))
                        if not what:
                            with Look(self.socket(name)):
                                costs[IDLE[2]][name].append(self.idle_cost(g, seconds))
                    finally:
                        g.close()
                print(".", end="", file=sys.stderr, flush=True)
        print(f"\n{'an idle guest':<29}" + "".join(f"{n:>19}" for n, _ in self.programs))
        for what in IDLE:
            print(f"{what:<29}" + "".join(f"{statistics.median(v):>10.2f} % core" + "  " for v in costs[what].values()))

    def run(self):
        for kind in SCREENS:
            names = [n for n in self.names if n.startswith(kind + "-")]
            if names:
                self.measure([kind] * 2, self.a.runs, names)
        if self.names:
            print(f"\n{'':<20}{'units':>9}" + "".join(f"{n:>19}" for n, _ in self.programs) + f"{'speed':>9}{'cpu':>9}", flush=True)
            self.sum_up()
        if self.a.idle > 0:
            self.idle(self.a.idle)


def options(ap):
    ap.add_argument("--idle", type=float, default=10.0, help="seconds of each look at an idle guest; 0: none")
    ap.add_argument("--vga", default="std", help="the card")


def main():
    a = compare.parse(__doc__, NAMES, options)
    with tempfile.TemporaryDirectory(prefix="rhea-draw-") as tmp:
        compare.print_head(a, f"-vga {a.vga}, ")
        Bench(a, tmp).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

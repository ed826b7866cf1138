#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The workloads of the performance suite compute in a guest what they compute on the host: each runs once,
with a small size; nothing is timed.

    bench-sums.py [bench_workloads|bench_programs|bench_smp [CPU]]
"""
import os
import sys
import tempfile

import rheatest as rt

sys.path.insert(0, os.path.join(rt.ROOT, "tests/bench"))
import engines as en  # noqa: E402

CPU = "max"


def compare(native, guest, command):
    """None, or what is wrong."""
    timeout = 60 * rt.SLOW
    try:
        mine, host = guest.ask(command, timeout)["sum"], native.ask(command, timeout)["sum"]
    except en.EngineError as e:
        return str(e)
    return None if mine == host else f"{command}: the guest computed {mine}, the host {host}"


def compare_all(tmp, tree, commands, chroot=False, mem="512M", extra=()):
    """Runs commands(native, guest) on both; says how many there were."""
    rt.asset(rt.guest_assets.kernel, "cloud")
    initrd = en.initramfs(tree, os.path.join(tmp, "i.cpio"))
    native, guest = en.Native(tree, chroot), en.Guest("rhea", rt.BIN, initrd, CPU, mem, extra)
    guest.boot_timeout = 180 * rt.SLOW
    try:
        todo = commands(native, guest)
        wrong = [w for w in (compare(native, guest, c) for c in todo) if w]
    finally:
        guest.close()
        native.close()
    if wrong:
        raise rt.Failure("\n".join(wrong))
    return f"{len(todo)} sums equal"


def small_sizes(native, guest, form="run {name} {n} 1"):
    offered, wanted = guest.list(), native.list()
    both = [n for n in wanted if offered[n][2] == wanted[n][2] == "yes"]
    if set(offered) != set(wanted) or len(both) < 50:
        raise rt.Failure(f"only {len(both)} workloads can run on both sides")
    return [form.format(name=n, n=max(1, wanted[n][1] // 50)) for n in both]


def bench_workloads():
    with tempfile.TemporaryDirectory(prefix="rhea-sums-") as tmp:
        return compare_all(tmp, en.small_tree(os.path.join(tmp, "tree")), small_sizes)


def bench_programs():
    with tempfile.TemporaryDirectory(prefix="rhea-sums-") as tmp:
        try:
            tree = rt.asset(en.programs_tree, os.path.join(tmp, "tree"))
        except en.EngineError as e:
            raise rt.Skip(str(e)) from e
        return compare_all(tmp, tree, lambda *_: [f"script /bench/programs/{n}.sh {max(1, b // 20)}"
                                                  for n, b in en.programs()], chroot=True, mem="2048M")


def bench_smp():
    """Two processes do the same at once on two virtual CPUs: both must compute what one computes."""
    with tempfile.TemporaryDirectory(prefix="rhea-sums-") as tmp:
        return compare_all(tmp, en.small_tree(os.path.join(tmp, "tree")),
                           lambda *both: small_sizes(*both, form="jobs 2 {name} {n}"), extra=("-smp", "2"))


TESTS = {"bench_workloads": bench_workloads, "bench_programs": bench_programs, "bench_smp": bench_smp}

if __name__ == "__main__":
    if len(sys.argv) > 2:
        CPU = sys.argv[2]
    rt.main(*[TESTS[sys.argv[1]]] if len(sys.argv) > 1 else TESTS.values())

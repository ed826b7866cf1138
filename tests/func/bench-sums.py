#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The workloads of the performance suite compute in a guest what they compute on the host: each runs once,
with a small size; nothing is timed."""
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


def bench_sums():
    with tempfile.TemporaryDirectory(prefix="rhea-sums-") as tmp:
        tree = en.small_tree(os.path.join(tmp, "tree"))
        rt.asset(rt.guest_assets.kernel, "cloud")
        initrd = en.initramfs(tree, os.path.join(tmp, "i.cpio"))
        native, guest = en.Native(tree), en.Guest("rhea", rt.BIN, initrd, CPU)
        guest.boot_timeout = 120 * rt.SLOW
        try:
            offered, wanted = guest.list(), native.list()
            both = [n for n in wanted if offered[n][2] == wanted[n][2] == "yes"]
            if set(offered) != set(wanted) or len(both) < 50:
                raise rt.Failure(f"only {len(both)} workloads can run on both sides")
            wrong = [w for w in (compare(native, guest, f"run {n} {max(1, wanted[n][1] // 50)} 1") for n in both) if w]
        finally:
            guest.close()
            native.close()
    if wrong:
        raise rt.Failure("\n".join(wrong))
    return f"{len(both)} workloads equal; not on both: {', '.join(set(wanted) - set(both)) or 'none'}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        CPU = sys.argv[1]
    rt.main(bench_sums)

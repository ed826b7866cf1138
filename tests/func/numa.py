#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's cloud kernel sees the NUMA nodes of -numa (tools/system/numa.c, system/numa.c, hw/i386/acpi-numa.c): memory,
CPUs and distances of each."""
import os
import re
import sys

import rheatest as rt
from rheatest import guest_assets

SCRIPT = """dmesg | grep -E 'SRAT|SLIT|NODE_DATA'
for n in /sys/devices/system/node/node*; do
  echo ${n##*/} cpus $(cat $n/cpulist) distance $(cat $n/distance)
  grep MemTotal $n/meminfo
done
echo online $(cat /sys/devices/system/node/online) memory $(cat /sys/devices/system/node/has_memory)
"""


def guest(*args):
    initrd = rt.once(SCRIPT)
    try:
        with rt.linux(rt.asset(guest_assets.kernel, "cloud"), initrd, "", *args, mem="512M", timeout=240) as vm:
            return rt.once_output(vm)
    finally:
        os.unlink(initrd)


def ram(name, mib):
    return ["-object", f"memory-backend-ram,id={name},size={mib}M"]


def check(text, *words):
    for w in words:
        if not re.search(w, text):
            raise rt.Failure(f"/{w}/ is not in the guest's output:\n{text}")


def numa_two():
    text = guest(*ram("a", 192), *ram("b", 320), "-smp", "4", "-numa", "node,memdev=a,cpus=0,cpus=2-3", "-numa",
                 "node,memdev=b,cpus=1", "-numa", "dist,src=0,dst=1,val=33")
    check(text, r"SRAT: PXM 0 -> APIC 0x00 -> Node 0", r"SRAT: PXM 1 -> APIC 0x01 -> Node 1",
          r"SRAT: Node 0 PXM 0 \[mem 0x00100000-0x0bffffff\]", r"SRAT: Node 1 PXM 1 \[mem 0x0c000000-0x1fffffff\]",
          r"SLIT", r"node0 cpus 0,2-3 distance 10 33", r"node1 cpus 1 distance 33 10", r"online 0-1 memory 0-1")
    sizes = [int(n) for n in re.findall(r"MemTotal:\s+(\d+)", text)]
    if not (140 << 10 < sizes[0] <= 192 << 10 and 240 << 10 < sizes[1] <= 320 << 10):
        raise rt.Failure(f"memory of the nodes: {sizes}")


def numa_places():
    """By place; a node without memory; CPUs that no option names; no SLIT."""
    text = guest(*ram("a", 512), "-smp", "4,sockets=2,cores=2", "-numa", "node,memdev=a", "-numa", "node", "-numa",
                 "cpu,node-id=1,socket-id=1", "-numa", "cpu,node-id=0,socket-id=0")
    check(text, r"node0 cpus 0-1 distance 10 20", r"node1 cpus 2-3 distance 20 10", r"online 0-1 memory 0\n")
    if "SLIT" in text:
        raise rt.Failure(f"a SLIT without distances:\n{text}")


ALL = [numa_two, numa_places]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Several vCPUs: topology, load on each, IPIs and TLB shootdowns, CPUs going offline, reboot, repeatable runs."""
import os
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

TOPOLOGY = """
grep -c ^processor /proc/cpuinfo
for c in /sys/devices/system/cpu/cpu[0-9]*; do
    echo $(basename $c) $(cat $c/topology/physical_package_id $c/topology/core_id \\
        $c/topology/thread_siblings_list)
done
"""
LOAD = """
spin=$(mktemp)
cat > $spin <<'X'
i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo spun $1
X
n=0; for c in /sys/devices/system/cpu/cpu[0-9]*; do
    taskset $(printf %x $((1 << n))) sh $spin $n & n=$((n+1))
done; wait
# Processes that start and end on all CPUs: mappings come and go, pages of code are shared, pipes cross CPUs.
for r in 1 2 3; do for n in 1 2 3 4; do (seq 400 | sort -n | tail -1 | grep -qx 400 && echo piped) & done; wait; done
"""
OFFLINE = """
for r in 1 2 3; do
    echo 0 > /sys/devices/system/cpu/cpu1/online; cat /sys/devices/system/cpu/online
    echo 1 > /sys/devices/system/cpu/cpu1/online; cat /sys/devices/system/cpu/online
done
"""


def boot(flavour, cpu, smp, script, *args, timeout=240, accel="tcg"):
    kernel = rt.asset(guest_assets.kernel, flavour)
    initrd = rt.once(script)
    try:
        with rt.linux(kernel, initrd, "quiet mitigations=off", "-cpu", cpu, "-smp", smp, *args, timeout=timeout,
                      accel=accel) as vm:
            return rt.healthy(rt.once_output(vm).split("\n"))
    finally:
        os.unlink(initrd)


def want(lines, *expected):
    for e in expected:
        if e not in lines:
            raise rt.Failure(f"'{e}' is not a line of the guest's output:\n" + "\n".join(lines))


def smp_two():
    out = boot("cloud", "qemu64", "2", TOPOLOGY + LOAD + OFFLINE + rt.HEALTH)
    want(out, "2", "cpu0 0 0 0", "cpu1 1 0 1", "spun 0", "spun 1", "0", "0-1")
    assert out.count("piped") == 12 and out.count("0-1") == 3, out


def smp_intel_threads():
    out = boot("cloud", "max,vendor=GenuineIntel", "4,sockets=1,cores=2,threads=2", TOPOLOGY + LOAD + rt.HEALTH)
    want(out, "4", "cpu0 0 0 0-1", "cpu1 0 0 0-1", "cpu2 0 1 2-3", "cpu3 0 1 2-3", "spun 3")
    assert out.count("piped") == 12, out


def smp_dies():
    out = boot("cloud", "max,vendor=GenuineIntel", "4,sockets=1,dies=2,cores=2",
               "cat /sys/devices/system/cpu/cpu*/topology/die_id /sys/devices/system/cpu/cpu3/topology/package_cpus_list")
    assert out[:5] == ["0", "0", "1", "1", "0-3"], out


def smp_amd_generic():
    out = boot("generic", "EPYC", "4,maxcpus=8,sockets=2,cores=2,threads=2", TOPOLOGY + LOAD + rt.HEALTH, timeout=400)
    want(out, "4", "cpu0 0 0 0-1", "cpu3 0 1 2-3", "spun 3")


def smp_eight():
    out = boot("cloud", "qemu64", "8", "nproc" + LOAD + rt.HEALTH, timeout=400)
    want(out, "8", "spun 7")


def smp_reboot():
    """The second boot brings the other CPU up again."""
    kernel = rt.asset(guest_assets.kernel, "cloud")
    initrd = rt.once("nproc; echo b > /proc/sysrq-trigger; sleep 100")
    try:
        with rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg", "-m", "256M", "-display", "none", "-serial", "stdio",
                   "-smp", "2", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet",
                   timeout=240) as vm:
            for _ in range(2):
                vm.expect(r"@@rhea-begin@@\r?\n2\r?\n")
    finally:
        os.unlink(initrd)


def counted(smp, *args):
    kernel = rt.asset(guest_assets.kernel, "cloud")
    initrd = rt.once("cat /proc/uptime /proc/interrupts; head -c 16 /dev/urandom | od -x")
    logs = []
    try:
        for _ in range(2):
            with tempfile.NamedTemporaryFile(suffix=".log") as log:
                with rt.Vm("-nodefaults", "-M", "pc", "-m", "256M", "-display", "none", "-serial", f"file:{log.name}",
                           "-no-reboot", "-smp", smp, "-seed", "7", "-rtc", "base=2020-01-01,clock=vm", "-kernel", kernel,
                           "-initrd", initrd, "-append", "console=ttyS0 panic=-1", *args, timeout=240) as vm:
                    vm.wait(0)
                logs.append(open(log.name, "rb").read())
    finally:
        os.unlink(initrd)
    if b"@@rhea-end 0@@" not in logs[0]:
        raise rt.Failure("the guest did not come to its end:\n" + logs[0].decode("utf-8", "replace")[-1500:])
    if logs[0] != logs[1]:
        a, b = logs[0].split(b"\n"), logs[1].split(b"\n")
        first = next((x, y) for x, y in zip(a + [b""], b + [b""]) if x != y)
        raise rt.Failure(f"two runs differ, first in {first}")


def icount_one():
    counted("1", "-icount", "shift=3,sleep=off")


def icount_two():
    counted("2", "-icount", "shift=3")


def single_thread():
    out = boot("cloud", "qemu64", "2", "nproc" + LOAD + rt.HEALTH, accel="tcg,thread=single", timeout=400)
    want(out, "2", "spun 1")


ALL = [smp_two, smp_intel_threads, smp_dies, smp_amd_generic, smp_eight, smp_reboot, icount_one, icount_two, single_thread]
if __name__ == "__main__":
    chosen = [t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    rt.main(*chosen)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests on one switch: three that name the same one (net/switch.c, net/frames.c), of which the first, which serves, is killed, and the
other two are on one network again; and two at the distribution's vde_switch (net/vde.c)."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import netpairs
import rheatest as rt

SCRIPT = """set -e
for m in %(modules)s; do insmod /lib/modules/$m.ko; done
me=$(sed 's/.* me=//; s/ .*//' /proc/cmdline)
ip link set lo up
ip addr add 10.9.0.$me/24 dev eth0
ip link set eth0 up
echo "@@up@@"
while read word other; do
    [ "$word" = ping ] || break
    i=0
    until ping -c 1 -W 1 10.9.0.$other > /dev/null; do i=$((i + 1)); [ $i -lt 500 ]; done
    ping -c 3 -W 10 10.9.0.$other | grep 'bytes from' | head -1
    echo "@@pinged $other@@"
done < /dev/ttyS0
""" + rt.health(stalls=False) + "# %(blocks)d"


@contextlib.contextmanager
def guests(netdev, count):
    with netpairs.initrd(script=SCRIPT) as (path, _), contextlib.ExitStack() as stack:
        yield [stack.enter_context(netpairs.guest(path, i + 1, "-netdev", netdev)) for i in range(count)]


def ping(vms, who, other):
    vms[who - 1].send(f"ping {other}\n")
    vms[who - 1].expect(f"bytes from 10.9.0.{other}(.|\n)*@@pinged {other}@@")


def finish(vm):
    vm.send("end\n")
    vm.seen = 0
    rt.healthy(rt.once_output(vm).splitlines())


def switch_takeover():
    with guests(f"x-rhea-switch,id=n,name=test-{os.getpid()}", 3) as vms:
        rt.expect_all("@@up@@", *vms)
        for who, other in (1, 2), (2, 3), (3, 1):
            ping(vms, who, other)
        vms[0].p.send_signal(signal.SIGKILL)
        vms[0].p.wait()
        ping(vms, 2, 3)
        ping(vms, 3, 2)
        for vm in vms[1:]:
            finish(vm)


def switch_vde():
    program = shutil.which("vde_switch")
    if not program:
        raise rt.Skip("vde_switch is not installed")
    run = subprocess.run([rt.BIN, "-M", "none", "-netdev", "vde,id=n,sock=/nonexistent"], capture_output=True, text=True, check=False)
    if "RTLD_DEEPBIND" in run.stderr:
        raise rt.Skip("libvdeplug does not go with sanitizers")
    listed = subprocess.run([rt.BIN, "-netdev", "help"], capture_output=True, text=True, check=True).stdout
    if "vde" not in listed.split():
        raise rt.Skip("this build has no libvdeplug")
    with tempfile.TemporaryDirectory(prefix="rhea-vde-") as d, \
            subprocess.Popen([program, "-s", f"{d}/sw"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as switch:
        try:
            end = time.monotonic() + 60 * rt.SLOW
            while not os.path.exists(f"{d}/sw/ctl"):
                if switch.poll() is not None or time.monotonic() > end:
                    raise rt.Failure("vde_switch does not serve")
                time.sleep(0.05)
            with guests(f"vde,id=n,sock={d}/sw", 2) as vms:
                rt.expect_all("@@up@@", *vms)
                ping(vms, 1, 2)
                ping(vms, 2, 1)
                for vm in vms:
                    finish(vm)
        finally:
            switch.terminate()


ALL = [switch_takeover, switch_vde]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

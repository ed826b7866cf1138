#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Translated code under stress: chaos (everything that may happen to it happens often), lockstep (each unit in both tiers), many
boots in a row, several vCPUs under load for a long time.

Tests: target/x86/t1-chaos.c, t1-lockstep.c, and with them all of tier 1. RHEA_CHAOS_SEED: of the first boot; RHEA_SOAK_SECONDS:
how long the load runs in the guest, 1200 unless told."""
import hashlib
import os
import re
import sys
import time

import rheatest as rt
from rheatest import guest_assets

# What a boot must leave behind: sums, each of which goes through other instructions.
SCRIPT = r"""
seq 400 | md5sum; seq 400 | sha1sum; seq 400 | sha512sum; seq 400 | gzip -9 | gunzip | md5sum
seq 400 | awk '{ s += $1 * 1.5; t += $1 / 7 } END { printf "%.3f %.6f\n", s, t }'
i=0; while [ $i -lt 8 ]; do i=$((i + 1)); (exit 3) || true; done; echo forked $i
"""


def boot(flavour, *args, script=SCRIPT + rt.HEALTH, accel="tcg", cpu="max", timeout=240):
    """Boots, runs the script; returns the lines it wrote and what the emulator said."""
    kernel = rt.asset(guest_assets.kernel, flavour)
    initrd = rt.once(script, arch="i386" if flavour == "i686" else "amd64")
    try:
        with rt.linux(kernel, initrd, "quiet", "-cpu", cpu, *args, timeout=timeout, accel=accel) as vm:
            out = rt.healthy(rt.once_output(vm).rstrip("\n").split("\n"))
            return out, vm.err()
    finally:
        os.unlink(initrd)


def check(out):
    """The sums are Python's."""
    text = "".join(f"{i}\n" for i in range(1, 401)).encode()
    want = [hashlib.new(h, text).hexdigest() + "  -" for h in ("md5", "sha1", "sha512", "md5")]
    want += ["%.3f %.6f" % (sum(i * 1.5 for i in range(1, 401)), sum(i / 7 for i in range(1, 401))), "forked 8"]
    if out != want:
        raise rt.Failure("got:\n" + "\n".join(out) + "\nnot:\n" + "\n".join(want))


def chaos(seed, flavour="cloud", timeout=800):
    out, err = boot(flavour, accel=f"tcg,chaos={seed}", timeout=timeout)
    check(out)
    if err:
        raise rt.Failure(f"chaos={seed}: {err}")


def lockstep_summary(err):
    m = re.search(r"^lockstep: (\d+) units run, (\d+) compared, (\d+) different$", err, re.M)
    if not m:
        raise rt.Failure("no summary of lockstep:\n" + err)
    units, compared, different = (int(x) for x in m.groups())
    if different or compared < units * 0.9:
        raise rt.Failure(err)
    return f"{compared} units compared"


def lockstep(flavour, timeout):
    # Ten to forty times slower: complaints about time are no failure.
    out, err = boot(flavour, script=SCRIPT, accel="tcg,lockstep=on", timeout=timeout)
    check(out)
    return lockstep_summary(err)


def chaos_cloud():
    chaos(os.environ.get("RHEA_CHAOS_SEED", "1"))


def lockstep_firmware():
    """SeaBIOS in lockstep: real mode, protected mode, SMM, its decompressor."""
    vm = rt.Vm("-nodefaults", "-M", "pc", "-accel", "tcg,lockstep=on", "-display", "none", "-m", "128M",
               "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log", timeout=120)
    with vm:
        vm.expect("No bootable device")
        vm.p.terminate()
        vm.wait(0)
        return lockstep_summary(vm.err())


# --- long ---

def chaos_twenty():
    first = int(os.environ.get("RHEA_CHAOS_SEED", "100"))
    for seed in range(first, first + 20):
        chaos(seed)


def chaos_generic():
    chaos(7, "generic", timeout=2400)


def boots_fifty():
    times = []
    for _ in range(50):
        start = time.monotonic()
        out, err = boot("cloud")
        check(out)
        if err:
            raise rt.Failure(err)
        times.append(time.monotonic() - start)
    return f"{min(times):.1f} to {max(times):.1f} s"


def lockstep_cloud():
    return lockstep("cloud", 900)


def lockstep_generic():
    return lockstep("generic", 3600)


def lockstep_i686():
    return lockstep("i686", 3600)


SOAK = """
end=$(($(cut -d. -f1 /proc/uptime) + SECONDS_)); n=0; out=$(mktemp)
while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do
    for c in 1 2 3 4 5 6; do
        ( [ "$(seq $((c * 500)) | sort -rn | gzip | gunzip | tail -1)" = 1 ] && seq 3000 | sha1sum | cut -c1-8 ) > $out.$c &
    done
    echo 0 > /sys/devices/system/cpu/cpu3/online; wait; echo 1 > /sys/devices/system/cpu/cpu3/online
    for c in 1 2 3 4 5 6; do grep -qx SUM_ $out.$c || echo wrong $c; done
    n=$((n + 1))
done
nproc; echo rounds $n
"""


def soak_four():
    """Four vCPUs: processes, pipes, shared pages of code, a CPU that goes and comes, for RHEA_SOAK_SECONDS of the guest's time."""
    seconds = int(os.environ.get("RHEA_SOAK_SECONDS", "1200"))
    digest = hashlib.sha1("".join(f"{i}\n" for i in range(1, 3001)).encode()).hexdigest()[:8]
    script = SOAK.replace("SECONDS_", str(seconds)).replace("SUM_", digest) + rt.HEALTH
    out, err = boot("cloud", "-smp", "4", script=script, timeout=120 + 4 * seconds)
    rounds = re.fullmatch(r"rounds (\d+)", out[-1])
    if err or out[:-1] != ["4"] or not rounds or int(rounds.group(1)) < 2:
        raise rt.Failure("\n".join(out[-20:]) + err)
    return f"{rounds.group(1)} rounds in {seconds} s"


def chaos_four():
    """Four vCPUs, each with chaos."""
    out, err = boot("cloud", "-smp", "4", accel="tcg,chaos=3", timeout=1200)
    check(out)
    if err:
        raise rt.Failure(err)


ALL = [chaos_cloud, lockstep_firmware, chaos_twenty, chaos_generic, boots_fifty, lockstep_cloud, lockstep_generic, lockstep_i686,
       soak_four, chaos_four]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

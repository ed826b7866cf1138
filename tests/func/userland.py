#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs in the guest give the host's own answers: the same files run in a chroot on the host
and in a Linux guest, and their output is compared."""
import os
import subprocess
import sys

import rheatest as rt
from rheatest import guest_assets

PACKAGES = ["openssl", "xz-utils", "zstd", "gzip", "python3", "perl-base", "sqlite3", "tcc", "libc6-dev", "coreutils",
            "dash", "diffutils"]
CPU = "qemu64"


def host_has(*flags):
    with open("/proc/cpuinfo") as f:
        have = set(next((line for line in f if line.startswith("flags")), "").split())
    return have.issuperset(flags)


def userland():
    tree = rt.asset(guest_assets.rootfs_tree, PACKAGES)
    script = open(os.path.join(rt.ROOT, "tests/func/userland.sh")).read()
    if CPU in ("max", "host") and host_has("avx2", "fma"):  # the guest has them, too: the C library may pick them
        script = script.replace("hwcaps=-AVX2,-FMA,-FMA4,-AVX,-AVX512F", "hwcaps=-AVX512F,-AVX512VL,-FMA4")
    name = f"/userland-{CPU.split(',')[0]}.sh"  # the tree is shared by tests that run beside each other
    with open(tree + name, "w") as f:
        f.write(script)
    for d in ("tmp", "dev"):
        os.makedirs(os.path.join(tree, d), exist_ok=True)
    open(os.path.join(tree, "dev/null"), "w").close()  # the guest mounts its own over it
    enter = ["chroot", tree] if os.geteuid() == 0 else ["unshare", "-r", "chroot", tree]
    shell = "/bin/dash"
    host = subprocess.run(enter + [shell, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    if host.returncode != 0 and "Operation not permitted" in host.stdout:
        raise rt.Skip("neither root nor user namespaces: no chroot on the host to compare with")
    if host.returncode != 0:
        raise rt.Failure(f"the script failed on the host:\n{host.stdout}")
    initrd = rt.once(f"{shell} {name}", tree)
    try:
        with rt.linux(guest_assets.kernel("cloud"), initrd, "quiet", "-cpu", CPU, timeout=900, mem="1536M") as vm:
            guest = rt.once_output(vm)
    finally:
        os.unlink(initrd)
    if guest.strip() != host.stdout.strip():
        a, b = host.stdout.strip().splitlines(), guest.strip().splitlines()
        diff = [f"host:  {x}\nguest: {y}" for x, y in zip(a, b) if x != y] or [f"{len(a)} and {len(b)} lines"]
        raise rt.Failure("the guest's answers differ:\n" + "\n".join(diff[:10]))
    return f"{len(guest.splitlines())} lines equal"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        CPU = sys.argv[1].removeprefix("userland_")
    rt.main(userland)

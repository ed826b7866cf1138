#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's kernels boot to a busybox userland and power off, under several CPU models."""
import os
import sys

import rheatest as rt
from rheatest import guest_assets


def boot(flavour, cpu, script="uname -rm; cat /proc/cpuinfo /proc/interrupts", timeout=180):
    kernel = rt.asset(guest_assets.kernel, flavour)
    initrd = rt.once(script, arch="i386" if flavour == "i686" else "amd64")
    try:
        with rt.linux(kernel, initrd, "quiet", "-cpu", cpu, timeout=timeout) as vm:
            return rt.once_output(vm)
    finally:
        os.unlink(initrd)


def check(text, *words):
    for w in words:
        if w not in text:
            raise rt.Failure(f"'{w}' is not in the guest's output:\n{text}")


def cloud_qemu64():
    check(boot("cloud", "qemu64"), "cloud-amd64", "processor", "timer", "LOC:")


def cloud_max():
    check(boot("cloud", "max"), "cloud-amd64", "sse4_2", "LOC:")


def cloud_intel():
    check(boot("cloud", "Westmere"), "GenuineIntel", "LOC:")


def cloud_amd():
    check(boot("cloud", "Opteron_G3"), "AuthenticAMD", "LOC:")


def generic_qemu64():
    check(boot("generic", "qemu64"), "6.1.0-", "LOC:")


def generic_max():
    check(boot("generic", "max"), "sse4_2", "LOC:")


def i686():
    check(boot("i686", "qemu64", "uname -rm; cat /proc/interrupts"), "686", "LOC:")


ALL = [cloud_qemu64, cloud_max, cloud_intel, cloud_amd, generic_qemu64, generic_max, i686]
if __name__ == "__main__":
    chosen = [t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    rt.main(*chosen)

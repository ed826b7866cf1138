#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's OVMF in two flash chips (hw/block/pflash.c, hw/i386/pc-firmware.c): a variable that its shell sets is there
after a reset, and in another run; the code's image is not written."""
import os
import shutil
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

GUID = "11111111-2222-3333-4444-555555555555"


def boot(board, *args):
    return rt.Vm("-nodefaults", "-M", board, "-accel", "tcg", "-display", "none", "-m", "256M", "-serial", "stdio", *args,
                 timeout=300)


def shell(vm, command):
    """What the command prints, without the terminal's control sequences."""
    vm.send(command + "\r")
    vm.expect(r"\n")
    start = vm.seen
    m = vm.expect(r"Shell> ")
    return vm.out[start:m.start()].decode(errors="replace")


def value(vm, text, times):
    """Waits for the shell; the variable has this text."""
    for _ in range(times):
        vm.expect("Shell> ")
    out = shell(vm, f"setvar RheaTest -guid {GUID}")
    if text.encode().hex(" ") not in out.lower():
        vm.fail(f"the variable is not '{text}': {out}")


def store(board, first, second):
    with tempfile.TemporaryDirectory(prefix="rhea-pflash-") as d:
        code, variables = os.path.join(d, "code"), os.path.join(d, "variables")
        shutil.copy(rt.asset(guest_assets.from_package, "ovmf", "usr/share/OVMF/OVMF_CODE_4M.fd"), code)
        shutil.copy(rt.asset(guest_assets.from_package, "ovmf", "usr/share/OVMF/OVMF_VARS_4M.fd"), variables)
        with open(code, "rb") as f:
            before = f.read()
        names = {"code": code, "variables": variables}
        with boot(board, *[a.format(**names) for a in first]) as vm:
            vm.expect("Shell> ")
            shell(vm, f"setvar RheaTest -guid {GUID} -nv -bs =\"once\"")
            shell(vm, f"setvar RheaTest -guid {GUID} -nv -bs =\"twice upon\"")
            vm.send("reset\r")
            value(vm, "twice upon", 1)
            vm.send("reset -s\r")
            vm.wait(0)
        with boot(board + (second[0] if second[0].startswith(",") else ""),
                  *[a.format(**names) for a in second if not a.startswith(",")]) as vm:
            value(vm, "twice upon", 1)
            vm.send("reset -s\r")
            vm.wait(0)
        with open(code, "rb") as f:
            if f.read() != before or os.path.getsize(variables) != 540672:
                raise rt.Failure("the images are not what they were")


DRIVES = ["-drive", "if=pflash,unit=0,format=raw,readonly=on,file={code}",
          "-drive", "if=pflash,unit=1,format=raw,file={variables}"]
NODES = [",pflash0=c,pflash1=v", "-blockdev", "raw,node-name=c,read-only=on,file.driver=file,file.filename={code}",
         "-blockdev", "raw,node-name=v,file.driver=file,file.filename={variables}"]


def pflash_q35():
    store("q35", DRIVES, NODES)


def pflash_pc():
    store("pc", DRIVES, DRIVES)


ALL = [pflash_q35, pflash_pc]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

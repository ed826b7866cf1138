#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""-sandbox in the whole program (tools/system/sandbox.c): all threads are filtered, a forbidden call made by a debugger
ends it with a line, and a guest uses disks of every engine. Other tests run once more below `sandboxed/`."""
import os
import shutil
import signal
import subprocess
import sys

import qmp
import rheatest as rt
import virtio

SPEC = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def states(vm):
    """Seccomp and NoNewPrivs of each thread."""
    found = []
    for task in os.listdir(f"/proc/{vm.p.pid}/task"):
        with open(f"/proc/{vm.p.pid}/task/{task}/status") as f:
            lines = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        found.append((lines["Name"].strip(), lines["Seccomp"].strip(), lines["NoNewPrivs"].strip()))
    return found


def sandbox_threads():
    """Every thread, those that come later as well; a user that is changed to before the filter gets narrow."""
    for more in ([], ["-runas", f"{os.getuid()}:{os.getgid()}"] if os.getuid() == 0 else []):
        with qmp.Vm("-M", "pc", "-m", "32M", "-smp", "2", "-sandbox", SPEC, *more) as vm:
            c = qmp.Client(vm.path)
            c.call("object-add", qom_type="iothread", id="late")
            c.call("cont")
            found = states(vm)
            qmp.expect(len(found) >= 4 and all(s[1:] == ("2", "1") for s in found), f"all are filtered: {found}")
    with qmp.Vm("-M", "none", "-sandbox", "off") as vm:
        qmp.Client(vm.path)
        qmp.expect(all(s[1] == "0" for s in states(vm)), "off is off")
    options = {o["option"]: {p["name"]: p["type"] for p in o["parameters"]} for o in all_options()}
    qmp.expect(options["sandbox"] == {"enable": "boolean", "obsolete": "string", "elevateprivileges": "string",
                                      "spawn": "string", "resourcecontrol": "string"}, "libvirt finds the option")


def all_options():
    with qmp.Vm("-M", "none") as vm:
        return qmp.Client(vm.path).call("query-command-line-options")


def refuse(groups, number, name):
    """A debugger has the program make a system call: it ends, and says which it was."""
    with qmp.Vm("-M", "none", "-sandbox", groups) as vm:
        qmp.Client(vm.path).call("query-version")
        gdb = subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(vm.p.pid), "-ex", "handle SIGSYS nostop noprint pass",
                              "-ex", f"print (long)syscall({number}, 0, 0, 0)"], capture_output=True, text=True, check=False,
                             timeout=120 * rt.SLOW, stdin=subprocess.DEVNULL)
        if "ptrace: " in gdb.stderr or "Could not attach" in gdb.stderr:
            raise rt.Skip(f"no debugger may attach here: {gdb.stderr.strip()[-200:]}")
        status = vm.p.wait(20 * rt.SLOW)
        vm.err.seek(0)
        text = vm.err.read().decode()
        qmp.expect(status == -signal.SIGSYS and f"does not allow system call {number} ({name})" in text,
                   f"status {status}, said: {text}; gdb: {gdb.stdout[-500:]} {gdb.stderr[-500:]}")
        vm.p.returncode = 0  # this end was wanted


def sandbox_refused():
    if not shutil.which("gdb"):
        raise rt.Skip("there is no gdb")
    if rt.SLOW > 4:
        raise rt.Skip("sanitizers take the signal for an error of the program")
    refuse(SPEC, 57, "fork")
    refuse("on,spawn=allow,obsolete=allow,resourcecontrol=allow,elevateprivileges=allow", 101, "ptrace")


def sandbox_aio():
    """Disks of every engine."""
    for how in ("aio=native,cache=none", "aio=io_uring", "aio=threads"):
        virtio.disk(f"if=none,{how}", "-object", "iothread,id=io0", "-device",
                    "virtio-blk-pci,drive=d0,serial=number-7,iothread=io0", "-sandbox", SPEC)


def sandbox_uring():
    """A ring that no image of the command line asks for is not there: threads do its work."""
    with qmp.Vm("-M", "none", "-sandbox", SPEC) as vm:
        c = qmp.Client(vm.path)
        path = os.path.join(vm.dir, "disk")
        with open(path, "wb") as f:
            f.truncate(1 << 20)
        c.call("blockdev-add", **{"driver": "file", "filename": path, "node-name": "n", "aio": "io_uring"})
        vm.err.seek(0)
        text = vm.err.read().decode()
        qmp.expect("aio=io_uring is not available" in text and "using aio=threads" in text, f"it is told: {text}")
        c.call("quit")
        vm.p.wait(20 * rt.SLOW)


ALL = [sandbox_threads, sandbox_refused, sandbox_aio, sandbox_uring]

if __name__ == "__main__":
    rt.main(*[t for t in ALL if len(sys.argv) == 1 or t.__name__ in sys.argv[1:]])

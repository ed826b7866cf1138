#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GDB debugs a boot of Debian's kernel: breakpoints by symbol, backtrace, finish, watchpoints, steps, detach.

The kernel's debug package is a download of 283 MB, so the symbols are made: kernel_symbols.py.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import kernel_symbols
import rheatest as rt
from rheatest import guest_assets


class Remote:
    """As much of GDB's protocol as reading memory needs."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * rt.SLOW)
        self.s.connect(path)
        self.buf = b""
        self.ask("QStartNoAckMode")

    def ask(self, text):
        body = text.encode()
        self.s.sendall(b"$" + body + b"#%02x" % (sum(body) & 255))
        while True:
            m = re.search(rb"\$([^#]*)#..", self.buf, re.S)
            if m:
                self.buf = self.buf[m.end():]
                return m.group(1).decode()
            data = self.s.recv(65536)
            if not data:
                raise rt.Failure(f"the GDB server hung up after {text}")
            self.buf += data

    def read(self, at, size):
        out = bytearray()
        while len(out) < size:
            got = self.ask(f"m{at + len(out):x},{min(4096, size - len(out)):x}")
            if not got or got[0] == "E":
                raise rt.Failure(f"no memory at {at + len(out):#x}: {got}")
            out += bytes.fromhex(got)
        return bytes(out)


class Debugger:
    """gdb, fed line by line."""

    def __init__(self, *args):
        gdb = shutil.which("gdb")
        if not gdb:
            raise rt.Skip("gdb is not installed")
        self.p = subprocess.Popen([gdb, "-q", "-nx", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(self.p.stdout.fileno(), False)
        self.log = ""
        self.n = 0
        for setting in ("pagination off", "confirm off", "width 0", "height 0", "remotetimeout 60", "tcp auto-retry on"):
            self.run(f"set {setting}")

    def run(self, command, limit=120):
        """The output of one command."""
        self.n += 1
        mark = f"@@{self.n}@@"
        self.p.stdin.write(f"{command}\necho {mark}\\n\n".encode())
        self.p.stdin.flush()
        got = b""
        end = time.monotonic() + limit * rt.SLOW
        while f"{mark}\n".encode() not in got:
            data = self.p.stdout.read()
            if data:
                got += data
            elif data == b"" or time.monotonic() > end:
                self.log += got.decode(errors="replace")
                raise rt.Failure(f"gdb: no end of '{command}':\n{self.log[-4000:]}")
            else:
                time.sleep(0.01)
        text = got.decode(errors="replace").replace("(gdb) ", "").split(mark)[0]
        self.log += f"(gdb) {command}\n{text}"
        return text

    def expect(self, command, *patterns, limit=120):
        text = self.run(command, limit)
        for p in patterns:
            if not re.search(p, text, re.S):
                raise rt.Failure(f"gdb: '{command}' shows no /{p}/:\n{self.log[-4000:]}")
        return text

    def value(self, expression):
        return int(re.search(r"= (0x[0-9a-f]+|\d+)", self.run(f"p/x {expression}")).group(1), 0)

    def end(self):
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        self.p.stdout.close()


def wait_for_socket(vm, path):
    """Until it listens, which is later than its name's appearance: /proc/net/unix has the flag for that."""
    def listens():
        with open("/proc/net/unix", encoding="utf-8") as f:
            return any(line.split()[3] == "00010000" and line.split()[-1] == path for line in f)

    while not listens():
        if vm.p.poll() is not None or time.monotonic() > vm.deadline:
            vm.fail("there is no GDB socket")
        time.sleep(0.05)


def make_symbols(kernel, folder):
    """One boot to ask the kernel for its symbols and tables; they hold for every boot with nokaslr."""
    path = os.path.join(folder, "first")
    # The guest stays until it is told to go; the script has no terminal of its own.
    initrd = rt.once("cat /proc/kallsyms; echo @@kallsyms@@; until read x </dev/ttyS0 && [ \"$x\" = go ]; do sleep 0.1; done")
    try:
        with rt.linux(kernel, initrd, "quiet nokaslr", "-gdb", f"unix:{path},server=on,wait=off") as vm:
            vm.expect(r"@@rhea-begin@@\r?\n")
            start = vm.seen
            m = vm.expect("@@kallsyms@@")
            text = vm.out[start:m.start()].decode().replace("\r", "")
            remote = Remote(path)
            elf = os.path.join(folder, "kernel.elf")
            kernel_symbols.write_elf(elf, text, remote.read)
            remote.ask("D")
            vm.send("go\n")
            vm.expect(r"@@rhea-end 0@@")
            vm.wait(0)
    finally:
        os.unlink(initrd)
    return elf


def stops(gdb):
    """Breakpoints, stack and steps, in the first seconds of the kernel."""
    gdb.expect("info registers rip", "0xfff0")
    gdb.expect("hbreak start_kernel", "Hardware assisted breakpoint 1")
    gdb.expect("continue", r"Breakpoint 1, 0x[0-9a-f]+ in start_kernel")
    gdb.expect("backtrace", r"#0 .*start_kernel.*#1 .*secondary_startup|#0 .*start_kernel.*#1 .*x86_64_start")
    entry = gdb.value("$rip")
    gdb.expect("stepi", "in __fentry__")  # a CALL that is not yet patched
    gdb.expect("backtrace", r"#1 .*start_kernel.*#2 .*secondary_startup")
    gdb.expect("finish", "in start_kernel")
    if gdb.value("$rip") != entry + 5:
        raise rt.Failure(f"finish went wrong:\n{gdb.log[-1000:]}")
    gdb.run("delete")
    gdb.expect("break kernel_clone", "Breakpoint 2")
    gdb.expect("continue", r"Breakpoint 2, 0x[0-9a-f]+ in kernel_clone")
    gdb.expect("backtrace", r"#0 .*kernel_clone.*#1 .*(user_mode_thread|kernel_thread).*#2 .*rest_init.*start_kernel")
    gdb.run("delete")
    gdb.expect("finish", r"Run till exit", r"in (user_mode_thread|kernel_thread)")
    gdb.expect("p/d $rax", r"= 1\n")  # the process number of init
    gdb.expect("up", r"#1 .*rest_init")
    gdb.expect("info symbol $rip", "rest_init")
    gdb.expect("tbreak kernel_init_freeable", "Temporary breakpoint 3")
    gdb.expect("continue", r"Temporary breakpoint 3, 0x[0-9a-f]+ in kernel_init_freeable")
    gdb.expect("backtrace", r"#0 .*kernel_init_freeable.*#1 .*kernel_init.*#2 .*ret_from_fork")


def watches(gdb):
    gdb.expect("watch *(unsigned long *)&jiffies_64", "Hardware watchpoint 4")
    for _ in range(3):
        text = gdb.expect("continue", "Hardware watchpoint 4", r"Old value = \d+", r"New value = \d+")
        old, new = (int(v) for v in re.findall(r"(?:Old|New) value = (\d+)", text))
        if new <= old:
            raise rt.Failure(f"jiffies went from {old} to {new}")
    gdb.expect("backtrace", r"#0 .*(do_timer|tick_do_update_jiffies64|tick_periodic).*timer_interrupt.*common_interrupt")
    gdb.run("delete 4")
    gdb.expect("rwatch *(int *)&nr_threads", "Hardware read watchpoint 5")
    gdb.expect("continue", "Hardware read watchpoint 5", r"Value = \d+", "in copy_process")
    gdb.expect("backtrace", r"#0 .*copy_process.*#1 .*kernel_clone.*ret_from_fork")
    gdb.run("delete 5")
    gdb.expect("awatch *(int *)&system_state", r"Hardware access \(read/write\) watchpoint 6")
    gdb.expect("continue", "watchpoint 6", r"Value = \d")  # somebody looks what the state is
    gdb.run("delete 6")
    gdb.expect("watch *(int *)&system_state", "Hardware watchpoint 7")
    gdb.expect("continue", "Hardware watchpoint 7", r"Old value = 1\s+New value = 2", "in kernel_init ")
    gdb.run("delete 7")


def userland(gdb):
    """The first program of user space, and on without the debugger."""
    gdb.expect("break bprm_execve", "Breakpoint 8")
    gdb.expect("continue", r"Breakpoint 8, 0x[0-9a-f]+ in bprm_execve")
    gdb.expect("backtrace", r"#1 .*kernel_execve.*kernel_init.*ret_from_fork")
    gdb.run("delete")
    gdb.expect("info threads", r"CPU#0", r"CPU#1")
    gdb.expect("thread apply all p/x $cr0", r"Thread 1\.1.*= 0x8", r"Thread 1\.2.*= 0x8")
    gdb.expect("monitor info status", r"VM status: paused")
    gdb.expect("detach", "detached")


def kernel(flavour, tier):
    image = rt.asset(guest_assets.kernel, flavour)
    if not shutil.which("gdb"):
        raise rt.Skip("gdb is not installed")
    folder = tempfile.mkdtemp(prefix="rhea-func-")
    initrd = rt.once("uname -r; grep -c processor /proc/cpuinfo")
    gdb = None
    try:
        elf = make_symbols(image, folder)
        path = os.path.join(folder, "gdb")
        with rt.linux(image, initrd, "quiet nokaslr", "-smp", "2", "-S", "-gdb", f"unix:{path},server=on,wait=off", timeout=300,
                      accel=f"tcg,tier={tier}") as vm:
            wait_for_socket(vm, path)
            gdb = Debugger(elf)
            gdb.expect(f"target remote {path}", "0x")
            stops(gdb)
            watches(gdb)
            userland(gdb)
            if "6.1." not in rt.once_output(vm):
                vm.fail("the guest did not reach its script")
    finally:
        if gdb:
            gdb.end()
        os.unlink(initrd)
        shutil.rmtree(folder, ignore_errors=True)


def gdb_cloud():
    kernel("cloud", 1)


def gdb_cloud_tier0():
    kernel("cloud", 0)


ALL = [gdb_cloud, gdb_cloud_tier0]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

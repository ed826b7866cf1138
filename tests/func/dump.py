#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""dump-guest-memory (tools/system/dump*.c, hw/misc/vmcoreinfo.c, target/x86/coredump.c, tables.c): the files' structure by a reader of the test's
own, by readelf and makedumpfile, their content against pmemsave; a Linux guest's memory and registers by gdb."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

import qmp
import rheatest as rt
from qmp import expect
from rheatest import guest_assets

PAGE = 4096


class Core:
    """An ELF core file."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        d = self.data
        expect(d[:4] == b"\x7fELF" and d[5] == 1, "an ELF file")
        self.wide = d[4] == 2
        kind, self.machine = struct.unpack_from("<HH", d, 16)
        phoff, shoff = struct.unpack_from("<QQ" if self.wide else "<II", d, 32 if self.wide else 28)
        size, phnum = struct.unpack_from("<HH", d, 54 if self.wide else 42)
        if phnum == 0xffff:
            phnum = struct.unpack_from("<I", d, shoff + (44 if self.wide else 28))[0]
        expect(kind == 4, "a core file")
        self.loads, self.notes = [], []
        for i in range(phnum):
            if self.wide:
                p_type, _, off, lin, phys, size_file, size_mem, _ = struct.unpack_from("<IIQQQQQQ", d, phoff + i * size)
            else:
                p_type, off, lin, phys, size_file, size_mem, _, _ = struct.unpack_from("<8I", d, phoff + i * size)
            expect(size_file == size_mem and off + size_file <= len(d), "all of it is in the file")
            if p_type == 4:
                self.read_notes(d[off:off + size_file])
            else:
                self.loads.append((lin, phys, size_mem, off))

    def read_notes(self, d):
        at = 0
        while at < len(d):
            n, size, kind = struct.unpack_from("<III", d, at)
            name, at = d[at + 12:at + 12 + n - 1].decode(), at + 12 + (n + 3 & ~3)
            self.notes.append((name, kind, d[at:at + size]))
            at += size + 3 & ~3

    def physical(self, at, n):
        for _, phys, size, off in self.loads:
            if phys <= at and at + n <= phys + size:
                return self.data[off + at - phys:off + at - phys + n]
        return None

    def linear(self, at, n):
        for lin, _, size, off in self.loads:
            if lin <= at and at + n <= lin + size:
                return self.data[off + at - lin:off + at - lin + n]
        return None


def unflatten(path, out):
    """What `makedumpfile -R` does."""
    with open(path, "rb") as f, open(out, "wb") as to:
        head = f.read(4096)
        expect(head[:16] == b"makedumpfile\0\0\0\0" and struct.unpack(">qq", head[16:32]) == (1, 1), "a flattened file")
        while True:
            at, n = struct.unpack(">qq", f.read(16))
            if (at, n) == (-1, -1):
                break
            to.seek(at)
            to.write(f.read(n))
        expect(not f.read(1), "nothing follows the end")


class Kdump:
    """A kdump-compressed file."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = d = f.read()
        expect(d[:8] == b"KDUMP   " and struct.unpack_from("<I", d, 8)[0] == 6, "a kdump file")
        self.machine = d[12 + 4 * 65:].split(b"\0", 1)[0].decode()
        wide = self.machine == "x86_64"
        status, block, sub, maps = struct.unpack_from("<IIII", d, 424 if wide else 412)
        self.cpus = struct.unpack_from("<I", d, 460 if wide else 448)[0]
        expect(status == 1 and block == PAGE, "compressed by zlib")
        at, n = struct.unpack_from("<QQ" if wide else "<QI", d, PAGE + (48 if wide else 32))
        self.notes = d[at:at + n]
        self.phys_base = struct.unpack_from("<q" if wide else "<i", d, PAGE)[0]
        at, n = struct.unpack_from("<QQ" if wide else "<QI", d, PAGE + (32 if wide else 20))
        self.info = d[at:at + n]
        max_pfn = struct.unpack_from("<Q", d, PAGE + (96 if wide else 72))[0]
        first, half = (1 + sub) * PAGE, maps // 2 * PAGE
        expect(d[first:first + half] == d[first + half:first + 2 * half], "both bitmaps are the same")
        bits = int.from_bytes(d[first:first + half], "little")
        self.frames, desc = {}, first + 2 * half
        while bits:
            low = (bits & -bits).bit_length() - 1
            run = (~(bits >> low) & (bits >> low) + 1).bit_length() - 1
            for pfn in range(low, low + run):
                self.frames[pfn] = desc
                desc += 24
            bits = bits >> low + run << low + run
        expect(max(self.frames) + 1 == max_pfn, "the last frame")

    def page(self, pfn):
        at, size, flags, _ = struct.unpack_from("<QIIQ", self.data, self.frames[pfn])
        raw = self.data[at:at + size]
        raw = zlib.decompress(raw) if flags == 1 else raw
        expect(len(raw) == PAGE, f"frame {pfn} has a page")
        return raw


def fill(c, vm):
    """Something to recognize: the reset vector's page and the first MiB, as pmemsave sees them."""
    path = os.path.join(vm.dir, "saved")
    c.call("pmemsave", val=0, size=0xa0000, filename=path)
    with open(path, "rb") as f:
        low = f.read()
    c.call("pmemsave", val=0xffff0000, size=0x10000, filename=path)
    with open(path, "rb") as f:
        return low, f.read()


def dump(c, path, **args):
    c.call("dump-guest-memory", **{"paging": False, "protocol": f"file:{path}", **args})
    done = c.event("DUMP_COMPLETED")["data"]
    expect(done["result"]["status"] == "completed" and "error" not in done, f"the event: {done}")
    expect(done["result"] == c.call("query-dump") and done["result"]["completed"] == done["result"]["total"], "all of it")
    return done["result"]["total"]


def dump_elf():
    """ELF: headers, notes and memory; a part of it."""
    with qmp.Vm("-M", "pc", "-m", "32M", "-smp", "2", "-cpu", "qemu64") as vm:
        c = qmp.Client(vm.path)
        path = os.path.join(vm.dir, "core")
        expect(c.call("query-dump") == {"status": "none", "completed": 0, "total": 0}, "nothing yet")
        low, high = fill(c, vm)
        total = dump(c, path)
        core = Core(path)
        expect(sum(size for _, _, size, _ in core.loads) == total and total > 32 << 20, f"all of the memory: {total}")
        expect(core.wide and core.machine == 3, "a CPU in real mode is an i386; the memory ends at 4 GiB")
        expect([n[:2] for n in core.notes] == [("CORE", 1)] * 2 + [("QEMU", 0)] * 2, "the notes of two CPUs")
        expect(core.physical(0, 0xa0000) == low and core.physical(0xffff0000, 0x10000) == high, "the memory")
        regs = struct.unpack_from("<17I", core.notes[0][2], 72)
        expect(regs[12:14] == (0xfff0, 0xf000) and struct.unpack_from("<I", core.notes[1][2], 24)[0] == 2, f"registers: {regs}")
        if shutil.which("readelf"):
            text = subprocess.run(["readelf", "-hlnW", path], capture_output=True, text=True, check=True, errors="replace")
            expect("CORE (Core file)" in text.stdout and "NT_PRSTATUS" in text.stdout and not text.stderr, text.stdout + text.stderr)
        expect(dump(c, path, begin=0xff000, length=0x3000) == 0x3000, "a part")
        core = Core(path)
        expect([w[:3] for w in core.loads] == [(0xff000, 0xff000, 0x1000), (0x100000, 0x100000, 0x2000)], f"a part: {core.loads}")
        expect(dump(c, path, begin=0x1000, length=0x2000) == 0x2000, "a part below 4 GiB")
        expect(not Core(path).wide and Core(path).physical(0x1000, 0x2000) == low[0x1000:0x3000], "32-bit headers")
        c.call("human-monitor-command", command_line=f"dump-guest-memory {path} 0xffff0000 0x10000")
        expect(Core(path).loads[0][:3] == (0xffff0000, 0xffff0000, 0x10000), "the human monitor")
        expect(c.call("human-monitor-command", command_line="info dump") == "Status: completed\r\n", "info dump")


def dump_kdump():
    """The compressed format, by our own reader and by makedumpfile."""
    with qmp.Vm("-M", "q35", "-m", "32M", "-smp", "2") as vm:
        c = qmp.Client(vm.path)
        expect(c.call("query-dump-guest-memory-capability") == {"formats": ["elf", "kdump-zlib"]}, "the formats")
        flat, path, elf = (os.path.join(vm.dir, n) for n in ("flat", "kdump", "core"))
        total = dump(c, flat, format="kdump-zlib")
        unflatten(flat, path)
        dump(c, elf)
        core, kdump = Core(elf), Kdump(path)
        expect(kdump.cpus == 2 and kdump.machine == "x86_64", "what it is of")
        expect(kdump.notes == b"".join(struct.pack("<III", 5, len(d), k) + n.encode() + b"\0\0\0\0" + d for n, k, d in core.notes),
               "the notes are those of the ELF file")
        expect(len(kdump.frames) * PAGE == total == sum(size for _, _, size, _ in core.loads), "all of the memory")
        expect(os.path.getsize(path) < total // 8, "it is compressed")
        for pfn in kdump.frames:
            expect(kdump.page(pfn) == core.physical(pfn * PAGE, PAGE), f"the page at {pfn:#x}000")
        if shutil.which("makedumpfile"):
            with open(flat, "rb") as f:
                subprocess.run(["makedumpfile", "-R", path + ".other"], stdin=f, check=True, stdout=subprocess.DEVNULL)
            with open(path, "rb") as ours, open(path + ".other", "rb") as other:
                expect(ours.read() == other.read(), "makedumpfile makes the same of it")


def dump_ways():
    """Descriptors, pipes, in the background; while the machine runs; what is refused."""
    with qmp.Vm("-M", "pc", "-m", "32M") as vm:
        c = qmp.Client(vm.path)
        path = os.path.join(vm.dir, "core")
        c.call("cont")
        c.event("RESUME")
        total = dump(c, path)
        c.event("STOP")
        c.event("RESUME")
        expect(c.call("query-status")["status"] == "running", "it runs again")
        c.call("stop")
        with open(path, "wb") as f:
            c.call("getfd", fds=[f.fileno()], fdname="dump")
        c.call("dump-guest-memory", paging=False, protocol="fd:dump", detach=True)
        c.event("DUMP_COMPLETED")
        expect(sum(w[2] for w in Core(path).loads) == total, "by a descriptor")
        with open(path, "wb") as f:
            c.call("add-fd", fds=[f.fileno()], fdset_id=3)
        dump(c, "/dev/fdset/3", detach=True)
        expect(sum(w[2] for w in Core(path).loads) == total, "by a set")
        # A pipe that nobody reads at first.
        r, w = os.pipe()
        c.call("getfd", fds=[w], fdname="pipe")
        os.close(w)
        c.call("dump-guest-memory", paging=False, protocol="fd:pipe", detach=True, format="kdump-zlib")
        now = c.call("query-dump")
        expect(now["status"] == "active" and now["completed"] < now["total"], f"it goes on: {now}")
        again = c.try_call("dump-guest-memory", paging=False, protocol=f"file:{path}")
        expect("already" in again["error"]["desc"], f"one at a time: {again}")
        expect(c.try_call("cont")["error"]["data"]["code"] == "busy", "the machine must stand")
        data = bytearray()
        while True:
            got = os.read(r, 1 << 16)
            if not got:
                break
            data += got
        os.close(r)
        c.event("DUMP_COMPLETED")
        with open(path, "wb") as f:
            f.write(data)
        unflatten(path, path + ".k")
        expect(len(Kdump(path + ".k").frames) * PAGE == total, "through a pipe")
        # A reader that goes away, a full disk, and the end of the program.
        r, w = os.pipe()
        c.call("getfd", fds=[w], fdname="pipe")
        os.close(w)
        os.close(r)
        failed = c.try_call("dump-guest-memory", paging=False, protocol="fd:pipe")
        expect("Broken pipe" in failed["error"]["desc"], f"nobody reads: {failed}")
        event = c.event("DUMP_COMPLETED")["data"]
        expect(event["result"]["status"] == "failed" and "Broken pipe" in event["error"], f"the event says so: {event}")
        expect("No space" in c.try_call("dump-guest-memory", paging=False, protocol="file:/dev/full")["error"]["desc"], "no space")
        c.event("DUMP_COMPLETED")
        wrong = [({"begin": 0}, "missing-member"), ({"length": 5}, "missing-member"), ({"begin": -1, "length": 1}, "out-of-range"),
                 ({"begin": 0, "length": 0}, "out-of-range"), ({"begin": 1 << 40, "length": 1}, "out-of-range"),
                 ({"format": "kdump-lzo"}, "not-supported"), ({"format": "kdump-snappy"}, "not-supported"),
                 ({"format": "win-dmp"}, "not-supported"), ({"format": "kdump-zlib", "paging": True}, "not-supported"),
                 ({"format": "kdump-zlib", "begin": 0, "length": 1}, "not-supported"), ({"protocol": "tcp:x"}, "invalid-value"),
                 ({"format": "zip"}, "invalid-value")]
        for args, code in wrong:
            m = c.try_call("dump-guest-memory", **{"paging": False, "protocol": f"file:{path}", **args})
            expect(m["error"]["data"]["code"] == code, f"{args}: {m}")
        expect("error" in c.try_call("dump-guest-memory", paging=False, protocol="file:/nowhere/x"), "no such folder")
        expect("error" in c.try_call("dump-guest-memory", paging=False, protocol="fd:none"), "no such descriptor")
        r, w = os.pipe()
        c.call("getfd", fds=[w], fdname="pipe")
        os.close(w)
        c.call("dump-guest-memory", paging=False, protocol="fd:pipe", detach=True)
        c.call("quit")
        expect("ended" in c.event("DUMP_COMPLETED")["data"]["error"], "the end of the program")
        vm.p.wait(20 * rt.SLOW)
        os.close(r)
    with qmp.Vm("-M", "none") as vm:
        c = qmp.Client(vm.path)
        expect("no CPU" in c.try_call("dump-guest-memory", paging=False, protocol="file:/x")["error"]["desc"], "no CPU")


def dump_gdb():
    """A Linux guest: gdb finds by the dump's page tables what the kernel says of itself."""
    if not shutil.which("gdb"):
        raise rt.Skip("there is no gdb")
    with tempfile.TemporaryDirectory(prefix="rhea-dump-") as d:
        sock, path = os.path.join(d, "q"), os.path.join(d, "core")
        initrd = rt.once("grep -E ' (linux_banner|init_task)$' /proc/kallsyms\necho version $(cat /proc/version)\n"
                         "echo @@ready@@\nwhile true; do sleep 1000; done")
        try:
            with rt.linux(rt.asset(guest_assets.kernel, "cloud"), initrd, "quiet", "-smp", "2", "-qmp",
                          f"unix:{sock},server=on,wait=off", mem="256M", timeout=300) as vm:
                vm.expect("@@ready@@")
                text = vm.text()
                c = qmp.Client(sock)
                c.call("stop")
                dump(c, path, paging=True)
                core = Core(path)
                dump(c, path + ".z", format="kdump-zlib")
                dump(c, path + ".p")
                look(core, path, text)
                check_pages(path)
        finally:
            os.unlink(initrd)


def look(core, path, text):
    banner = int(re.search(r"^([0-9a-f]+) \w linux_banner", text, re.M).group(1), 16)
    version = re.search(r"^version (.*?)\s*$", text, re.M).group(1)
    expect(core.wide and core.machine == 62 and len(core.notes) == 4, "long mode")
    expect(core.linear(banner, len(version)).decode() == version, "the banner by the page tables")
    gdb = subprocess.run(["gdb", "-q", "-nx", "-batch", "-core", path, "-ex", f"x/s {banner:#x}", "-ex", "info threads",
                          "-ex", "print/x $rip", "-ex", "x/2xb $rip"], capture_output=True, text=True, check=False,
                         timeout=120 * rt.SLOW, stdin=subprocess.DEVNULL)
    rip = struct.unpack_from("<Q", core.notes[0][2], 112 + 16 * 8)[0]
    for want in (version[:40], f"= {rip:#x}", "* 1 "):
        expect(want in gdb.stdout, f"gdb says {want}: {gdb.stdout} {gdb.stderr}")
    expect("Cannot access" not in gdb.stdout + gdb.stderr and len(re.findall(r"^. \d ", gdb.stdout, re.M)) == 2, gdb.stdout)
    state = core.notes[2][2]
    cr3, idt = struct.unpack_from("<Q", state, len(state) - 3 * 8)[0], struct.unpack_from("<Q", state, 8 + 18 * 8 + 9 * 24 + 16)[0]
    expect(core.physical(cr3 & ~0xfff, PAGE) is not None and core.linear(idt, 16) is not None, "CR3 and the IDT lead somewhere")


def check_pages(path):
    """What is in the compressed dump is what is in the plain one."""
    unflatten(path + ".z", path + ".k")
    kdump, plain = Kdump(path + ".k"), Core(path + ".p")
    expect(kdump.machine == "x86_64" and kdump.notes.count(b"CORE\0") == 2, "what it is of")
    for pfn in kdump.frames:
        expect(kdump.page(pfn) == plain.physical(pfn * PAGE, PAGE), f"the page at {pfn:#x}000")


def dump_note():
    """The kernel's note VMCOREINFO: in both formats, and makedumpfile can filter by it."""
    script = """echo "symbol $(grep ' init_uts_ns$' /proc/kallsyms)"; echo "release $(uname -r)"
echo @@ready@@
read line < /dev/console
"""
    with tempfile.TemporaryDirectory(prefix="rhea-dump-") as d:
        sock, elf, flat, path = (os.path.join(d, n) for n in ("q", "core", "flat", "kdump"))
        with rt.booted(("drivers/firmware/qemu_fw_cfg",), script, "quiet", "-device", "vmcoreinfo", "-qmp",
                       f"unix:{sock},server=on,wait=off", flavour="generic", mem="256M") as vm:
            vm.expect("@@ready@@")
            c = qmp.Client(sock)
            c.call("stop")
            dump(c, elf)
            dump(c, flat, format="kdump-zlib")
            c.close()
            release = re.search(r"release (\S+)", vm.text()).group(1)
            symbol = re.search(r"symbol ([0-9a-f]+) ", vm.text()).group(1)
        notes = [n for n in Core(elf).notes if n[0] == "VMCOREINFO"]
        expect(len(notes) == 1, f"one note: {notes}")
        info = notes[0][2]
        expect(info.startswith(f"OSRELEASE={release}\n".encode()), f"the kernel's: {info[:80]}")
        expect(f"SYMBOL(init_uts_ns)={symbol}\n".encode() in info, "where the kernel's symbols are")
        unflatten(flat, path)
        kdump = Kdump(path)
        expect(kdump.info == info, "the same in the compressed format")
        base = int(re.search(rb"NUMBER\(phys_base\)=(-?\d+)", info).group(1))
        expect(kdump.phys_base == base, f"how far the kernel was moved: {kdump.phys_base:#x}, it says {base:#x}")
        ways = {"filters the ELF file": ["-d", "31", "-c", elf], "reads the compressed one": ["--dump-dmesg", path]}
        for what, args in ways.items() if shutil.which("makedumpfile") else ():
            out = os.path.join(d, "out")
            run = subprocess.run(["makedumpfile", "-f", *args, out], capture_output=True, text=True, check=False,
                                 timeout=300 * rt.SLOW)
            expect(run.returncode == 0, f"makedumpfile {what}: {run.stdout} {run.stderr}")
            with open(out, "rb") as f:
                text = f.read()
            expect(f"Linux version {release} ".encode() in text if "dmesg" in args[0] else len(text) < os.path.getsize(path),
                   f"makedumpfile {what}: {len(text)} bytes")


ALL = [dump_elf, dump_kdump, dump_ways, dump_gdb, dump_note]

if __name__ == "__main__":
    rt.main(*[t for t in ALL if len(sys.argv) == 1 or t.__name__ in sys.argv[1:]])

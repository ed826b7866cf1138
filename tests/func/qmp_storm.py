#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Nonsense for a live QMP monitor (monitor/qmp.c, qmp_frame.c, schema/type.c, util/json-parse.c and every command's handler):
messages of every command made from query-qmp-schema and mutated, streams of bytes, clients that go at every byte. The program
must neither end nor grow, and the next valid command must work.

A number among the arguments, or RHEA_QMP_STORM=N: messages and streams in each step (2,000). RHEA_QMP_SEED=N: another sequence; a failure prints its own."""
import json
import os
import random
import select
import socket
import sys
import tempfile

import qmp
import rheatest as rt

COUNT = int(next(iter(a for a in sys.argv if a.isdigit()), os.environ.get("RHEA_QMP_STORM", "2000")))
SEED = int(os.environ.get("RHEA_QMP_SEED", "1"))
# What a sanitizer keeps of freed memory is small, so that growth shows.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8:malloc_context_size=2"
GROWTH_KB = 128 << 10  # a message of 16 MiB, its values, and the way back
# These end the program, leave this machine, or write to files whose names a message has.
LEFT_OUT = {"quit", "human-monitor-command", "set-action", "x-rhea-accel", "memsave", "pmemsave", "dump-guest-memory", "chardev-add",
            "chardev-change", "object-add", "netdev_add", "nbd-server-start", "screendump", "migrate", "blockdev-add", "system_wakeup",
            "blockdev-change-medium", "drive-backup", "drive-mirror", "blockdev-snapshot-sync", "trace-file", "xen-save-devices-state",
            "qmp_capabilities"}
SAFE = [{"execute": "chardev-add", "arguments": {"id": "c", "backend": {"type": "null", "data": {}}}},
        {"execute": "chardev-add", "arguments": {"id": "d", "backend": {"type": "ringbuf", "data": {"size": 4096}}}},
        {"execute": "object-add", "arguments": {"qom-type": "throttle-group", "id": "g", "limits": {"bps-total": 1 << 30}}},
        {"execute": "object-add", "arguments": {"qom-type": "rng-builtin", "id": "r"}},
        {"execute": "blockdev-add", "arguments": {"driver": "null-co", "node-name": "n", "size": 65536, "read-zeroes": True}},
        {"execute": "object-del", "arguments": {"id": "r"}}]
MACHINE = ("-M", "q35", "-accel", "tcg,tb-size=16", "-m", "16M", "-smp", "2", "-no-shutdown", "-device", "pcie-root-port,id=port,chassis=1", "-blockdev",
           "null-co,node-name=disk,size=1M,read-zeroes=on", "-device", "virtio-blk-pci,drive=disk,id=vd", "-device", "ide-cd,id=cd",
           "-device", "virtio-rng-pci,id=rng", "-device", "i6300esb,id=dog", "-device", "vmgenid,id=gen", "-object", "iothread,id=io")
TEXTS = ("", "vd", "cd", "disk", "port", "rng", "io", "pcie.0", "ide.0", "/machine", "/machine/peripheral/vd", "/machine/unattached",
         "realized", "drive", "a" * 300, "\u00e9\u4e2d\U0001f600", "..", "%s%n", "\x00", "\x7f", "virtio-rng-pci", "tcg-accel")
NUMBERS = (0, 1, -1, 2, 255, 4096, 1 << 31, -(1 << 31), (1 << 32) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63), 1 << 64, 0.5, 1e308)


class Maker:
    """Messages by the schema that the program itself tells."""

    def __init__(self, schema, rand):
        self.types = {t["name"]: t for t in schema}
        self.commands = sorted(t["name"] for t in schema if t["meta-type"] == "command" and t["name"] not in LEFT_OUT
                               and not t["name"].startswith("migrate"))
        self.rand = rand

    def value(self, name, depth):
        t, r = self.types[name], self.rand
        kind = t["meta-type"]
        if depth > 6 or r.random() < 0.03:
            return r.choice((None, True, [], {}, "x", 7, [[]], {"a": {}}))
        if kind == "enum":
            return r.choice([m["name"] for m in t["members"]] + ["nothing"])
        if kind == "array":
            return [self.value(t["element-type"], depth + 1) for _ in range(r.choice((0, 1, 1, 2, 5)))]
        if kind == "alternate":
            return self.value(r.choice(t["members"])["type"], depth + 1)
        if kind == "object":
            return self.members(t, depth)
        return {"string": lambda: r.choice(TEXTS), "boolean": lambda: r.random() < 0.5, "null": lambda: None,
                "value": lambda: r.choice(TEXTS + NUMBERS)}.get(t["json-type"], lambda: r.choice(NUMBERS))()

    def members(self, t, depth):
        out, r = {}, self.rand
        for m in t["members"]:
            if r.random() < (0.4 if "default" in m else 0.95):
                out[m["name"]] = self.value(m["type"], depth + 1)
        branch = [v["type"] for v in t.get("variants", []) if v["case"] == out.get(t.get("tag"))]
        if branch:
            out.update(self.members(self.types[branch[0]], depth))
        return out

    def message(self):
        if self.rand.random() < 0.1:
            return self.rand.choice(SAFE)
        name = self.rand.choice(self.commands)
        return {"execute": name, "arguments": self.value(self.types[name]["arg-type"], 0)}

    def mutated(self):
        """Half of them are whole, the others have a few bytes changed."""
        r = self.rand
        data = bytearray(json.dumps(self.message(), ensure_ascii=r.random() < 0.5).encode("utf-8", "surrogatepass"))
        for _ in range(r.choice((0, 0, 0, 1, 1, 2, 5))):
            at = r.randrange(len(data) + 1)
            what = r.randrange(6)
            if what == 0:
                data[at:at + 1] = bytes([r.randrange(256)])
            elif what == 1:
                del data[at:at + r.choice((1, 1, 2, 10))]
            elif what == 2:
                data[at:at] = r.choice((b"[", b"{", b"]", b"}", b'"', b"\\", b"\\u", b"\\ud800", b"'", b",", b":", b"-", b"\xff", b"\xc3"))
            elif what == 3:
                data[at:at] = r.choice((b"9" * 400, b"1e999999999", b"-0", b"0x10", b"1.", b"1e", b"null", b"[" * 70, b'{"a":' * 70))
            elif what == 4:
                data[at:at] = data[:at][-r.randrange(1, 40):]
            else:
                data[at:at] = r.choice((b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82", b"\x00", b"\n", b"\r", b"\x1b"))
        return bytes(data)


class Storm:
    """A client that is always there, and asks after each nonsense whether all is well."""

    def __init__(self, vm):
        self.vm, self.asked = vm, 0
        self.open()

    def open(self):
        self.c = qmp.Client(self.vm.path)
        self.c.s.settimeout(60 * rt.SLOW)

    def ask(self, before=b""):
        """before is thrown in first; byte 0xff ends whatever it has begun. Large ones are sent while answers are read."""
        self.asked += 1
        mine = f"storm-{self.asked}"
        data = memoryview(before + b"\xff\n" + json.dumps({"execute": "query-status", "id": mine}).encode() + b"\n")
        s = self.c.s
        while data:
            r, w, _ = select.select([s], [s], [], 60 * rt.SLOW)
            qmp.expect(r or w, "the program neither reads nor writes")
            if r:
                self.take(s.recv(1 << 20))
            if w:
                s.setblocking(False)
                try:
                    data = data[s.send(data[:65536]):]
                except BlockingIOError:
                    pass
                s.settimeout(60 * rt.SLOW)
        while True:
            m = self.c.message()
            if m.get("id") == mine:
                qmp.expect("status" in m.get("return", ()), f"query-status: {m}")
                return

    def take(self, more):
        qmp.expect(more, "the connection ended")
        self.c.data += more

    def memory_kb(self):
        with open(f"/proc/{self.vm.p.pid}/status", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("VmRSS:")).split()[1])


def storm(fn):
    """A machine for a step, which gets a Storm; it must be alive and as small as before afterwards."""
    with tempfile.TemporaryDirectory(prefix="rhea-storm-") as d, qmp.Vm(*MACHINE, cwd=d) as vm:
        s = Storm(vm)
        for _ in range(20):
            s.ask()
        before = s.memory_kb()
        fn(s)
        s.ask()
        grown = s.memory_kb() - before
        qmp.expect(grown < GROWTH_KB, f"memory has grown by {grown} KiB")
        return f"{s.asked} questions, memory {before} + {grown} KiB"


def storm_messages():
    """Every command, with arguments that are right, nearly right, and wrong."""
    def run(s):
        rand = random.Random(SEED)
        maker = Maker(s.c.call("query-qmp-schema"), rand)
        for i in range(COUNT):
            data = maker.mutated()
            try:
                s.ask(data)
            except (rt.Failure, OSError, ValueError) as e:
                raise rt.Failure(f"message {i} of seed {SEED}: {data!r}: {e}\nstatus {s.vm.p.poll()}") from e
    return storm(run)


def storm_bytes():
    """Streams that are no messages: nesting, numbers, strings without an end, what is not UTF-8, anything at all."""
    def run(s):
        rand = random.Random(SEED)
        whole = json.dumps({"execute": "query-version"}).encode()
        for i in range(COUNT):
            n = rand.choice((1, 10, 63, 64, 65, 1000, 5000))
            data = rand.choice((
                lambda: b"[" * n, lambda: b'{"a":' * n, lambda: b"[" * n + b"]" * n, lambda: b"]" * n, lambda: b"9" * n,
                lambda: b'{"execute": ' + b"1" * n + b"}", lambda: b"-" * n, lambda: b"0." + b"0" * n, lambda: b"1e" + b"9" * n,
                lambda: b'"' + b"x" * n, lambda: b'"' + b"\\u0000" * n + b'"', lambda: b"'" + b"\xff" * n, lambda: b"\xfe" * n,
                lambda: b'"' + b"\xc3\x28" * n + b'"', lambda: rand.randbytes(n), lambda: b"null" * n, lambda: b"," * n,
                lambda: b"[" + b"0," * n + b"0]", lambda: b"{" + b'"k":1,' * n + b'"k":1}', lambda: whole[:rand.randrange(len(whole))],
                lambda: whole * rand.randrange(1, 40), lambda: b"\n\r\t " * n, lambda: b"\x00" * n))()
            try:
                s.ask(data)
            except (rt.Failure, OSError, ValueError) as e:
                raise rt.Failure(f"stream {i} of seed {SEED}: {data[:200]!r}: {e}\nstatus {s.vm.p.poll()}") from e
        for endless in (b'"' + b"x" * (18 << 20), b"[" + b"1," * (10 << 20), b'{"execute": "' + b"\\u00e9" * (3 << 20)):
            s.ask(endless)
    return storm(run)


def storm_disconnects():
    """Clients that go after each byte of a session, and in the middle of answers."""
    session = b"".join(json.dumps(m).encode() + b"\r\n" for m in (
        {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}, {"execute": "query-name", "id": 1}, {"execute": "stop"},
        {"exec-oob": "query-yank", "id": {"a": [1]}}, {"execute": "qom-list", "arguments": {"path": "/machine"}},
        {"execute": "query-qmp-schema"}))

    def run(s):
        for i in range(max(len(session), COUNT)):
            s.c.close()
            cut = i % (len(session) + 1)
            with socket.socket(socket.AF_UNIX) as c:
                c.settimeout(60 * rt.SLOW)
                c.connect(s.vm.path)
                c.sendall(session[:cut])
                if i % 3 == 1:
                    c.recv(100)
                elif i % 3 == 2:
                    c.shutdown(socket.SHUT_WR)
            s.open()
            s.ask()
    return storm(run)


rt.main(*(globals()[n] for n in [a for a in sys.argv[1:] if not a.isdigit()] or ("storm_messages", "storm_bytes", "storm_disconnects")))

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trace events of whole programs: -trace, -d trace:, the monitors' commands (tools/common/trace.c, monitor/qmp_trace.c, the trace.def
of each folder); what a disk with firmware in front of it shows of them; -T of the tools."""
import os
import re
import subprocess
import sys
import tempfile

import qmp
import rheatest as rt
from qmp import expect

TOOLS = os.path.join(os.path.dirname(os.path.dirname(rt.BIN)), "")


def run(*args, status=0, binary=rt.BIN, stdin=None):
    p = subprocess.run([binary, *args], capture_output=True, text=True, timeout=60 * rt.SLOW, check=False, input=stdin)
    expect(p.returncode == status, f"{args}: status {p.returncode}, {p.stdout} {p.stderr}")
    return p.stdout + p.stderr


def events():
    """Name, arguments and documentation of each."""
    return re.findall(r"^(\w+)\((.*)\)\n    (\S.*)$", run("-trace", "help"), re.M)


def trace_options():
    """What the options take, and what not."""
    known = [e[0] for e in events()]
    expect(len(known) > 30 and known == sorted(set(known)), f"events: {known}")
    for name in ("blk_read", "virtio_kick", "qmp_request", "pci_config_read", "device_realize", "irq_line", "kvm_slot", "net_frame",
                 "memory_view"):
        expect(name in known, f"there is {name}")
    expect(run("-d", "help").count("trace:PATTERN") == 1, "-d help tells of them")
    with tempfile.TemporaryDirectory(prefix="rhea-trace-") as d:
        log, chosen = os.path.join(d, "log"), os.path.join(d, "events")
        with open(chosen, "w", encoding="utf-8") as f:
            f.write("# what a start shows\nrun_state\nmachine_*\n-machine_reset\n")
        base = ["-M", "none", "-S", "-nodefaults", "-display", "none", "-monitor", "stdio"]
        ways = [["-trace", f"events={chosen}", "-D", log], ["-trace", f"events={chosen},file={log}"],
                ["-trace", "run_state", "-trace", f"enable=machine_event,file={log}"],
                ["-d", "trace:run_state,trace:machine_event", "-D", log]]
        for way in ways:
            run(*base, *way, stdin="cont\nquit\n")
            with open(log, encoding="utf-8") as f:
                lines = f.read().splitlines()
            expect("run_state prelaunch -> running" in lines and "machine_event RESUME -" in lines, f"{way}: {lines}")
            expect(any(re.fullmatch(r'machine_event SHUTDOWN \{ ?"guest": ?false, ?"reason": ?"host-qmp-quit" ?\}', x) for x in lines),
                   f"{way}: {lines}")
            expect({x.split()[0] for x in lines} == {"run_state", "machine_event"}, f"{way}: {lines}")
        text = run(*base, "-trace", "run_state", "-msg", "timestamp=on", stdin="quit\n")
        expect(re.search(r"^\d+@\d+\.\d{6}:run_state \w+ -> \S+$", text, re.M), f"time stamps: {text}")
        for args, what in ((["-trace", "nope"], "-trace nope: there is no trace event 'nope'"),
                           (["-trace", "run_stat"], "did you mean 'run_state'?"),
                           (["-trace", "zz*"], "no trace event matches 'zz*'"), (["-trace", "bogus=1"], "'bogus'"),
                           (["-trace", f"events={d}/none"], "could not read"), (["-trace", ""], "nothing is switched on"),
                           (["-trace", f"run_state,file={d}/no/log"], "cannot open log file"), (["-d", "trace:nope"], "no trace event")):
            expect(what in run(*base, *args, status=1, stdin=""), f"{args}: {what}")


def trace_monitors():
    """Both monitors' commands."""
    with qmp.Vm("-M", "none") as vm:
        c = qmp.Client(vm.path)

        def hmp(line):
            return c.call("human-monitor-command", command_line=line).replace("\r", "")
        everything = c.call("trace-event-get-state", name="*")
        expect([e["name"] for e in everything] == [e[0] for e in events()], "all of them")
        expect(all(e["state"] == "disabled" and e["vcpu"] is False for e in everything), "all are off")
        c.call("trace-event-set-state", name="qmp_*", enable=True)
        on = {e["name"] for e in c.call("trace-event-get-state", name="*") if e["state"] == "enabled"}
        expect(on == {"qmp_request", "qmp_message"}, f"those are on: {on}")
        log = os.path.join(vm.dir, "log")
        hmp(f"logfile {log}")
        c.call("query-status")
        c.call("trace-event-set-state", name="qmp_message", enable=False, ignore_unavailable=True)
        c.call("query-name")
        with open(log, encoding="utf-8") as f:
            lines = f.read()
        expect(re.search(r'^qmp_request session 0x[0-9a-f]+ \{"execute": "query-status"', lines, re.M), f"the request: {lines}")
        expect(re.search(r'^qmp_message session 0x[0-9a-f]+ \{.*"prelaunch"', lines, re.M), f"the reply: {lines}")
        expect('"query-name"' in lines and not re.search("^qmp_message .*query-name", lines, re.M), f"one is off: {lines}")
        expect(hmp("info trace-events qmp_*") == "qmp_message : state 0\nqmp_request : state 1\n", "info trace-events")
        expect(hmp("info trace-events").count(" : state ") == len(everything), "all of them")
        expect(hmp("trace-event qmp_request off") == "" and hmp("info trace-events qmp_request") == "qmp_request : state 0\n", "off")
        expect("there is no trace event 'nope'" in hmp("trace-event nope on") and "on or off" in hmp("trace-event qmp_request"), "errors")
        expect("one CPU" in hmp("trace-event qmp_request on 0"), "events are not of a CPU")
        for call in ("trace-event-get-state", "trace-event-set-state"):
            m = c.try_call(call, name="nope", **({"enable": True} if "set" in call else {}))
            expect(m["error"]["desc"].startswith('unknown event "nope"'), f"{call}: {m}")
        expect(c.call("trace-event-get-state", name="nope*") == [], "a pattern may match nothing")
        c.call("trace-event-set-state", name="nope*", enable=True)


def trace_disk():
    """What firmware does with a virtio disk, from finding the card to the first sector."""
    with tempfile.TemporaryDirectory(prefix="rhea-trace-") as d:
        disk, log = os.path.join(d, "disk"), os.path.join(d, "log")
        with open(disk, "wb") as f:
            f.write(bytes.fromhex("b031e6f4ebfc") + b"\xf4" * 504 + b"\x55\xaa" + bytes(1 << 20))  # out 0xf4, 0x31 ends it
        text = run("-M", "pc", "-accel", "tcg", "-m", "32M", "-nodefaults", "-display", "none", "-drive", f"if=none,id=d,file={disk},format=raw",
                   "-device", "virtio-blk-pci,drive=d,id=v", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-D", log, "-trace", "virtio_*", "-trace", "blk_*",
                   "-trace", "pci_*", "-trace", "device_realize", "-trace", "block_node_*", status=0x31 * 2 + 1)
        with open(log, encoding="utf-8") as f:
            text = f.read()
    wanted = [r"block_node_open node \S* driver file file \S*/disk size \d+", r"device_realize virtio-blk-pci /machine/peripheral/v on pci\.0",
              r"pci_config_read v function 0x\w+ offset 0x0 size \d value 0x\w*1af4", r"pci_bar v bar \d address 0x\w+ size 0x\w+ mapped yes",
              r"virtio_status v 0x\w+ -> 0x\w+", r"virtio_features v chosen 0x\w+ of 0x\w+", r"virtio_kick v queue 0",
              r"virtio_pop v queue 0 head \d+ readable 16 writable 513", r"blk_read node \S* client \S* offset 0 bytes 512",
              r"blk_done node \S* client \S* read offset 0: 0", r"virtio_push v queue 0 head \d+ written 513"]
    at = 0
    for w in wanted:
        m = re.compile(f"^{w}$", re.M).search(text, at)
        expect(m, f"'{w}' behind:\n{text[max(0, at - 500):at]}")
        at = m.end()


def trace_tools():
    """-T of rhea-img, rhea-io and rhea-nbd."""
    img, io, nbd = (os.path.join(TOOLS, t, f"rhea-{t}") for t in ("img", "io", "nbd"))
    with tempfile.TemporaryDirectory(prefix="rhea-trace-") as d:
        disk, log = os.path.join(d, "disk"), os.path.join(d, "log")
        run("create", "-f", "qcow2", disk, "1M", binary=img)
        for args in (["-T", "blk_*", "info"], ["--trace=blk_*", "-Tblock_*", "info"], ["--trace", f"enable=block_*,file={log}", "info"]):
            text = run(*args, disk, binary=img)
            expect("virtual size: 1 MiB" in text, text)
            expect("file=" in args[1] or "block_node_open" in text or args[1] == "blk_*", f"{args}: {text}")
        with open(log, encoding="utf-8") as f:
            expect("block_node_open node" in f.read(), "the log is a file")
        text = run("-T", "blk_write", "-c", "write 64k 4k", "-c", "read 0 512", disk, binary=io)
        expect(re.search(r"^blk_write node \S* client \S+ offset 65536 bytes 4096 flags 0x0$", text, re.M), text)
        expect("blk_read" not in text and "wrote 4096/4096" in text, text)
        for tool in (img, io, nbd):
            expect("blk_read(node: str" in run("-T", "help", binary=tool), f"{tool}: help")
            expect("there is no trace event 'nope'" in run("-T", "nope", disk, binary=tool, status=1), f"{tool}: unknown")


ALL = [trace_options, trace_monitors, trace_disk, trace_tools]

if __name__ == "__main__":
    rt.main(*[t for t in ALL if len(sys.argv) == 1 or t.__name__ in sys.argv[1:]])

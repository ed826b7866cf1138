#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Filters of a running guest's network (net/filter*.c, net/flow-rules.c, net/packet.c, backends/object.c, monitor/qmp_qom.c): everything that the first of two guests
sends goes through a relay of the test's own (filter-redirector, out and in again), a copy of what comes to it goes to a reader
(filter-mirror), and a capture (filter-dump) is added, switched on, off and removed by QMP while they exchange their files. What a guest on user-mode networking may reach, and how much went where
(x-rhea-filter-flows)."""
import os
import socket
import struct
import sys
import threading

import net
import netpairs
import nettap
import qmp
import rheatest as rt


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


class Relay(threading.Thread):
    """Reads one socket to its end, and writes all of it to another, if there is one."""

    def __init__(self, source, sink=None):
        super().__init__(daemon=True)
        self.source, self.sink, self.data = source, sink, bytearray()
        self.start()

    def run(self):
        try:
            while more := self.source.recv(65536):
                self.data += more
                if self.sink:
                    self.sink.sendall(more)
        except OSError:
            pass  # the program has ended


def frames(data):
    at = 0
    while at + 4 <= len(data):
        n, = struct.unpack_from(">I", data, at)
        yield bytes(data[at + 4:at + 4 + n])
        at += 4 + n


def captured(path):
    with open(path, "rb") as f:
        data = f.read()
    magic, major, minor, _, _, snaplen, link = struct.unpack_from("=IHHiIII", data)
    qmp.expect((magic, major, minor, snaplen, link) == (0xA1B2C3D4, 2, 4, 4000, 1), "the capture's head")
    at, found = 24, []
    while at < len(data):
        _, us, kept, full = struct.unpack_from("=IIII", data, at)
        qmp.expect(us < 1000000 and kept == min(full, 4000), f"a frame's head: {us} {kept} {full}")
        found.append(data[at + 16:at + 16 + kept])
        at += 16 + kept
    return found


def filters_live():
    sockets = {name: ("-chardev", f"socket,id={name},path=%s/{name},server=on,wait=off") for name in ("out", "in", "copy")}
    with netpairs.initrd(8) as (path, d):
        one = [a for args in sockets.values() for a in (args[0], args[1] % d)]
        one += ["-object", "filter-redirector,id=back,netdev=n,queue=rx,indev=in",
                "-object", "filter-redirector,id=away,netdev=n,queue=rx,outdev=out",
                "-object", "filter-mirror,id=copy,netdev=n,queue=tx,outdev=copy",
                "-qmp", f"unix:{d}/q,server=on,wait=off"]
        with netpairs.guest(path, 1, "-netdev", f"stream,id=n,addr.type=unix,addr.path={d}/s,server=on", *one) as a:
            c = qmp.Client(f"{d}/q")
            relay, copy = Relay(connect(f"{d}/out"), connect(f"{d}/in")), Relay(connect(f"{d}/copy"))
            at = {"path": "/objects/dump"}
            c.call("object-add", qom_type="filter-dump", id="dump", netdev="n", file=f"{d}/x.pcap", maxlen=4000, status="off")
            qmp.expect(c.call("qom-get", property="status", **at) == "off", "it is off")
            qmp.expect({p["name"] for p in c.call("qom-list", **at)} >= {"type", "status", "netdev", "file"}, "its properties")
            qmp.expect("error" in c.try_call("qom-set", property="file", value="x", **at), "the file stays")
            qmp.expect("error" in c.try_call("qom-set", property="status", value=True, **at), "the status is a text")
            qmp.expect("error" in c.try_call("chardev-remove", id="out"), "the filter has it")
            c.call("qom-set", property="status", value="on", **at)
            with netpairs.guest(path, 2, "-netdev", f"stream,id=n,addr.type=unix,addr.path={d}/s") as b:
                rt.expect_all("@@exchanged@@", a, b)
                c.call("qom-set", property="status", value="off", **at)
                text = c.call("human-monitor-command", command_line="info network")
                qmp.expect("dump: type=filter-dump,queue=all,status=off;" in text, text)
                size = os.path.getsize(f"{d}/x.pcap")
                netpairs.finish((a, b))
            qmp.expect(os.path.getsize(f"{d}/x.pcap") == size, "nothing is written while it is off")
        found = captured(f"{d}/x.pcap")
        sent, came = list(frames(relay.data)), list(frames(copy.data))
        for what, where, mac in ("GET /f", sent, 1), ("GET /f", came, 2), ("HTTP/1.1 200", sent, 1), ("HTTP/1.1 200", came, 2):
            source = b"\x52\x54\0\0\x09" + bytes([mac])
            for group, name in (where, "its own"), (found, "the capture"):
                qmp.expect(any(what.encode() in f and f[6:12] == source for f in group), f"{what} from card {mac} is in {name}")


FLOWS = """set -e
for m in %(modules)s; do insmod /lib/modules/$m.ko; done
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
mkdir /srv
dd if=/dev/urandom of=/srv/f bs=64k count=%(blocks)d 2>/dev/null
echo "own $(sha1sum < /srv/f)"
httpd -h /srv -p 80
for n in 1 2; do
    read one two < /dev/ttyS0
    for port in $one $two; do
        wget -q -O /got http://10.0.2.2:$port/f 2> /why || echo "failed $port $(cat /why)"
        [ ! -s /got ] || echo "got $port $(md5sum < /got)"
        rm -f /got
    done
    echo "@@tried$n@@"
done
read line < /dev/ttyS0
""" + rt.health(stalls=False)


def flows_user():
    """A guest on user-mode networking may reach one of two servers, then both; what comes through a forwarded port is answered."""
    forward = net.free_port()
    with netpairs.initrd(8, FLOWS) as (path, d), net.Server() as one, net.Server() as two, \
            netpairs.guest(path, 1, "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{forward}-10.0.2.15:80", "-object",
                           f"x-rhea-filter-flows,id=f,netdev=n,allow=tcp:10.0.2.2:{one.port}", "-qmp",
                           f"unix:{d}/q,server=on,wait=off") as vm:
        c = qmp.Client(f"{d}/q")

        def get(name):
            return c.call("qom-get", path="/objects/f", property=name)

        vm.expect("own ")
        vm.send(f"{one.port} {two.port}\n")
        vm.expect("@@tried1@@")
        qmp.expect(get("rules") == [{"rule": f"tcp:10.0.2.2:{one.port}", "flows": 1}] and get("refused") == 1, "what was allowed")
        flows = {f["port"]: f for f in get("flows") if f["by-guest"]}
        qmp.expect(flows[one.port]["allowed"] and flows[one.port]["got-bytes"] > one.size, f"what came: {flows}")
        qmp.expect(not flows[two.port]["allowed"] and flows[two.port]["got-frames"] == 0, f"what was refused: {flows}")
        served = nettap.fetch(f"http://127.0.0.1:{forward}/f")
        c.call("qom-set", path="/objects/f", property="allow", value=f"tcp:10.0.2.2:{one.port};tcp:10.0.2.2:{two.port}")
        wrong = c.try_call("qom-set", path="/objects/f", property="allow", value="tcp:x")
        qmp.expect("is not PROTO:ADDR" in wrong["error"]["desc"], f"a rule that is none: {wrong}")
        vm.send(f"{two.port} {one.port}\n")
        vm.expect("@@tried2@@")
        qmp.expect(all(r["flows"] for r in get("rules")), "both have been used")
        vm.seen = 0
        vm.send("\n")
        text = rt.once_output(vm)
    rt.healthy(text.splitlines())
    qmp.expect(netpairs.sums(text, "own") == [served], "the forwarded port's answer")
    tries = [line for line in text.splitlines() if line.startswith(("got ", "failed "))]
    want = [f"got {one.port} {one.sum}", f"failed {two.port} ", f"got {two.port} {two.sum}", f"got {one.port} {one.sum}"]
    qmp.expect(len(tries) == 4 and all(t.startswith(w) for t, w in zip(tries, want)) and "refused" in tries[1], f"what happened: {tries}")


ALL = [filters_live, flows_user]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

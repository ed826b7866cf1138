#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Connections without end (net/user*.c, net/nic.c, hw/virtio/virtio-net*.c): a guest makes and closes them over user-mode networking, as
client (TCP, UDP) and as server of forwarded ports, while its cable is pulled out and put back by QMP at random. Descriptors, memory and
libslirp's table are in the end what they were at the beginning. RHEA_NET_CONNECTIONS: how many, 300 unless told; suite `long`: 10,000."""
import contextlib
import os
import random
import socket
import socketserver
import sys
import threading
import time

import net
import ownnet
import qmp
import rheatest as rt

ROOM = 16384  # KiB that may stay: what the translator keeps of a guest, and 255 connections' buffers
TURN = 23  # 20 from the guest that are answered, one lookup, one refused, one from outside
COUNT = int(os.environ.get("RHEA_NET_CONNECTIONS", "300"))
# What a pulled cable ends is no failure; but most have to be answered.
SCRIPT = """
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2 2>/dev/null || true
ip link set eth0 up
ip route add default via 10.0.2.2 2>/dev/null || true
(while true; do echo served | nc -l -p 7770 > /dev/null 2>&1 || true; done) &
n=0; good=0
echo "@@ready@@"
while true; do
    read line < /dev/ttyS0
    [ "$line" != stop ] || break
    for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
        n=$((n + 1))
        [ "$(echo $n | timeout 20 nc -w 5 10.0.2.2 %(tcp)d 2> /dev/null)" = "got $n" ] && good=$((good + 1)) || true
    done
    timeout 5 nslookup host.rhea.test 10.0.2.3 > /dev/null 2>&1 || true
    timeout 5 nc -w 2 10.0.2.2 1 < /dev/null > /dev/null 2>&1 || true
    echo "@@turn $n $good@@"
done
""" + rt.HEALTH


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            self.wfile.write(b"got " + self.rfile.readline())


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


def state(pid, c):
    """Descriptors, memory in KiB but the guest's and the translated code (which are files), and libslirp's connections."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        pss = next(int(line.split()[1]) for line in f if line.startswith("Pss_Anon:"))
    text = c.call("human-monitor-command", command_line="info usernet")
    return len(os.listdir(f"/proc/{pid}/fd")), pss, sum("[" in line and "HOST_FORWARD" not in line for line in text.splitlines())


def from_outside(port):
    """A connection through the forwarded port; closed at once, or after the answer."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.settimeout(2)
        s.sendall(b"x")
        s.shutdown(socket.SHUT_WR)
        s.recv(10)


def churn():
    rand = random.Random(4)
    forward = net.free_port()
    with Tcp(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = SCRIPT % {"tcp": server.server_address[1]}
        path = os.path.join("/tmp", f"rhea-churn-{os.getpid()}")
        with rt.booted(net.DRIVERS["virtio-net-pci"], script, "quiet", "-netdev",
                       f"user,id=n,hostfwd=tcp:127.0.0.1:{forward}-10.0.2.15:7770", "-device", "virtio-net-pci,netdev=n,id=card",
                       "-object", "memory-backend-memfd,id=ram,size=512M", "-qmp", f"unix:{path},server=on,wait=off",
                       board="pc,memory-backend=ram", timeout=300 + COUNT) as vm:
            c = qmp.Client(path)
            vm.expect("@@ready@@")
            states, done, made, good = [state(vm.p.pid, c)], 0, 0, 0
            while done < COUNT:
                vm.send("go\n")
                t = threading.Thread(target=from_outside, args=(forward,))
                t.start()
                if rand.random() < 0.5:
                    for up in False, True:
                        name = rand.choice(("card", "n"))
                        c.call("set_link", name=name, up=up)
                        time.sleep(rand.random() * 0.3)
                    for name in "card", "n":
                        c.call("set_link", name=name, up=True)
                t.join()
                made, good = map(int, vm.expect(rb"@@turn (\d+) (\d+)@@").groups())
                done += TURN
                if len(states) == 1 and done >= COUNT // 5:
                    states.append(settled(vm.p.pid, c, states[0]))
            states.append(settled(vm.p.pid, c, states[0]))
            vm.seen = 0
            vm.send("stop\n")
            rt.healthy(rt.once_output(vm).splitlines())
        server.shutdown()
    first, last = states[0], states[-1]
    note = f"{done} connections, {good} of {made} answered; descriptors, KiB, table: {states}"
    qmp.expect(good > made // 2, f"most are answered: {note}")
    qmp.expect(last[0] <= states[0][0] and last[2] <= states[0][2], f"nothing is left: {note}")
    qmp.expect(last[1] < first[1] + ROOM, f"memory does not grow: {note}")
    return note


def settled(pid, c, wanted):
    """The state, when what has ended is forgotten: TCP waits for late segments, UDP for late answers; then memory goes back."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        now = state(pid, c)
        if now[0] <= wanted[0] and now[1] < wanted[1] + ROOM and now[2] <= wanted[2]:
            break
        time.sleep(2)
    return now


if __name__ == "__main__":
    with contextlib.suppress(rt.Skip):
        ownnet.enter("mount --bind /dev/null /etc/resolv.conf", net.fetch)
        ownnet.serve_names()
    rt.main(churn)

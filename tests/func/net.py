#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""User-mode networking with real software (net/user*.c, hw/virtio/virtio-net*.c, hw/net/*.c, tools/system/net.c): Debian's kernel
with busybox gets an address by DHCP and by IPv6 autoconfiguration, fetches from and sends to a server of the host on
loopback, checksums compared, and answers a connection through a forwarded port. On pc, q35 and microvm."""
import hashlib
import http.server
import os
import random
import socket
import sys
import tempfile
import threading
import time

import rheatest as rt
from rheatest import guest_assets

FAILOVER = ("net/core/failover", "drivers/net/net_failover")
PCI = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci") + FAILOVER
DRIVERS = {
    "virtio-net-pci": PCI + ("drivers/net/virtio_net",),
    "virtio-net-device": ("virtio_ring", "virtio", "virtio_mmio") + FAILOVER + ("drivers/net/virtio_net",),
}
MII = ("drivers/net/mii",)
CARDS = { # of Debian's generic kernel
    "e1000": ("intel/e1000/e1000",),
    "e1000e": ("intel/e1000e/e1000e",),
    "ne2k_pci": ("8390/8390", "8390/ne2k-pci"),
    "pcnet": MII + ("amd/pcnet32",),
    "rtl8139": MII + ("realtek/8139cp",),
}
DRIVERS.update({card: [m if m.startswith("drivers/") else "drivers/net/ethernet/" + m for m in modules]
                for card, modules in CARDS.items()})
SIZE = 8 << 20
SCRIPT = """set -e
for m in %(modules)s; do insmod /lib/modules/$m.ko; done
echo features $(cat /sys/bus/virtio/devices/virtio0/features || true)
d=$(mktemp -d)
cat > $d/bound <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev $interface
ip route add default via $router
echo "dhcp $ip $router $dns $hostname"
END
chmod +x $d/bound
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -s $d/bound -n -q 2>&1
cat /sys/class/net/eth0/carrier /sys/class/net/eth0/address
wget -q -O $d/f http://10.0.2.2:%(port)d/file
echo "fetched $(sha1sum < $d/f)"
base64 $d/f > $d/t # busybox sends texts
echo "sends $(sha1sum < $d/t)"
wget -q -O - --post-file $d/t http://10.0.2.2:%(port)d/upload
i=0
while [ $i -lt 20 ] && ! ip -6 addr show eth0 | grep -q fec0; do sleep 1; i=$((i + 1)); done
ip -6 addr show eth0 | grep -o 'fec0[^ ]*' | sed 's/^/six /'
ping -c 2 -W 5 10.0.2.2 | grep 'bytes from' | head -1
echo "@@listening@@"
nc -l -p 7777 < $d/f > $d/got
echo "got $(sha1sum < $d/got)"
""" + rt.HEALTH


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *args):
        pass

    def answer(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(self.server.data)

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.uploads.append(hashlib.sha1(data).hexdigest())
        self.answer(b"sent %s\n" % self.server.uploads[-1].encode())


class Server:
    def __enter__(self):
        self.s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.s.data = random.Random(5).randbytes(SIZE)
        self.s.uploads = []
        self.sum = hashlib.sha1(self.s.data).hexdigest()
        self.thread = threading.Thread(target=self.s.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.s.shutdown()
        self.s.server_close()
        self.thread.join()

    @property
    def port(self):
        return self.s.server_address[1]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def exchange(port, data):
    """Sends over a forwarded port and reads SIZE bytes, both at once; None: the guest does not listen yet."""
    got = []
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60 * rt.SLOW) as s:
            t = threading.Thread(target=send, args=(s, data))
            t.start()
            try:
                while sum(map(len, got)) < SIZE:
                    more = s.recv(65536)
                    if not more:
                        break
                    got.append(more)
            finally:
                t.join()
            if not got:
                return None
            s.shutdown(socket.SHUT_WR)  # busybox's nc ends with its input, whatever it still has to send
            s.recv(1)
            return b"".join(got)
    except ConnectionResetError:
        if got:
            raise
        return None


def send(s, data):
    try:
        s.sendall(data)
    except OSError:
        pass  # the reader tells


def patient_exchange(port, data):
    for _ in range(100):
        got = exchange(port, data)
        if got:
            return got
        time.sleep(0.2)
    raise rt.Failure("the guest does not answer at its forwarded port")


def guest(board, card, *args, flavour="cloud", bits=None):
    """bits: of virtio's features, which are to be chosen, or not."""
    modules = DRIVERS[card]
    out = random.Random(6).randbytes(1 << 20)
    forward = free_port()
    with tempfile.TemporaryDirectory(prefix="rhea-net-") as d, Server() as server:
        tree = os.path.join(d, "tree")
        rt.module_tree(tree, flavour, modules)
        script = SCRIPT % {"modules": " ".join(m.split("/")[-1] for m in modules), "port": server.port}
        initrd = rt.once(script, tree)
        try:
            with rt.linux(guest_assets.kernel(flavour), initrd, "quiet", "-nic",
                          f"user,model={card},mac=52:54:00:ab:cd:ef,hostname=inside,"
                          f"hostfwd=tcp:127.0.0.1:{forward}-:7777",
                          *args, board=board, timeout=240) as vm:
                vm.expect(r"@@listening@@")
                vm.seen = 0
                back = patient_exchange(forward, out)
                text = rt.once_output(vm)
        finally:
            os.unlink(initrd)
        rt.healthy(text.splitlines())
        for bit, chosen in (bits or {}).items():
            if text.split("features ")[1][bit] != "01"[chosen]:
                raise rt.Failure(f"feature {bit} is {not chosen}:\n{text}")
        for what in ("dhcp 10.0.2.15 10.0.2.2 10.0.2.3 inside", "52:54:00:ab:cd:ef", f"fetched {server.sum}",
                     *(f"{what} {sent}" for what in ("sends", "sent") for sent in server.s.uploads), "six fec0::5054:ff:feab:cdef/64", "bytes from 10.0.2.2",
                     f"got {hashlib.sha1(out).hexdigest()}"):
            if what not in text:
                raise rt.Failure(f"'{what}' is not in the guest's output:\n{text}")
        if len(server.s.uploads) != 1 or hashlib.sha1(back).hexdigest() != server.sum:
            raise rt.Failure("what left the guest is not what it got")


def net_pc():
    guest("pc", "virtio-net-pci")


def net_q35():
    guest("q35", "virtio-net-pci", "-smp", "2")


def net_packed():
    guest("pc", "virtio-net-pci", "-global", "virtio-net-pci.packed=on", bits={15: True, 32: True, 34: True})


def net_legacy():
    """With mergeable buffers and without, which makes the header shorter."""
    for merge in True, False:
        guest("pc", "virtio-net-pci", "-global", "virtio-net-pci.disable-modern=on", "-global",
              f"virtio-net-pci.mrg_rxbuf={'on' if merge else 'off'}", bits={15: merge, 32: False})


def net_microvm():
    guest("microvm", "virtio-net-device")


def card_test(card, board):
    def test():
        guest(board, card, flavour="generic")

    test.__name__ = f"net_{card}" if board == "pc" else f"net_{card}_{board}"
    return test


ALL = [net_pc, net_q35, net_packed, net_legacy, net_microvm] + [card_test(c, b) for c in CARDS for b in ("pc", "q35")]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

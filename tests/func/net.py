#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""User-mode networking with real software (net/user*.c, hw/virtio/virtio-net*.c, hw/net/*.c, tools/system/net.c): Debian's kernel with
busybox gets an address by DHCP, with all that the options say, and by IPv6 autoconfiguration,
resolves names, loads a file by TFTP, gets from and sends to a process of the host's on loopback over both families, sums compared, and
answers connections through forwarded ports of both. On pc, q35 and microvm. RHEA_NET_SIZE: bytes of the large transfers, 8M unless
told. Names need a network of the test's own (ownnet.py); where that is not permitted, a note says so."""
import contextlib
import hashlib
import http.server
import os
import random
import socket
import sys
import tempfile
import threading
import time

import ownnet
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
MIB = 1 << 20
BLOCK = random.Random(5).randbytes(MIB)


def wanted_size():
    text = os.environ.get("RHEA_NET_SIZE", "8M")
    unit = {"M": MIB, "G": 1 << 30}.get(text[-1])
    return int(text[:-1]) * unit if unit else int(text)


SIZE = wanted_size()
# A transfer is so many blocks, each behind its number. Nothing is kept: sums are made of what flows. busybox's nc ends its side
# with its input, and itself with the other side.
SCRIPT = """set -e
for m in %(modules)s; do insmod /lib/modules/$m.ko; done
echo features $(cat /sys/bus/virtio/devices/virtio0/features 2>/dev/null || true)
d=$(mktemp -d)
cat > $d/bound <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev $interface
ip route add default via $router
echo "nameserver $dns" > /etc/resolv.conf
echo "dhcp $ip $router $dns $hostname $domain $boot_file"
echo "search $search"
END
chmod +x $d/bound
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -O search -s $d/bound -n -q 2>&1
cat /sys/class/net/eth0/carrier /sys/class/net/eth0/address
stream() { i=0; while [ $i -lt $1 ]; do echo $i; cat /block; i=$((i + 1)); done; }
now() { cut -d' ' -f1 /proc/uptime; }
get() { t=$(now); echo "$1 $(wget -q -O - http://$2:%(http)d/$3 | md5sum) from $t to $(now)"; }
put() { t=$(now); echo "$1 $(stream $3 | nc $2 %(sink)d) from $t to $(now)"; }
get got4 10.0.2.2 %(blocks)d
put sent4 10.0.2.2 %(blocks)d
(cd $d && tftp -g -r loaded 10.0.2.2)
echo "loaded $(md5sum < $d/loaded)"
ping -c 1 -W 20 10.0.2.2 | grep 'bytes from'
ping -c 1 -W 20 -s 8000 10.0.2.2 | grep 'bytes from' # in fragments, both ways
i=0
until ip -6 addr show eth0 | grep fec0 | grep -qv tentative; do sleep 0.5; i=$((i + 1)); [ $i -lt 60 ]; done
ip -6 addr show eth0 | grep -o 'fec0[^ ]*' | sed 's/^/six /'
rdisc6 -1 eth0 | sed 's/^ */told /'
if [ %(ipv6)d = 1 ]; then
    get got6 '[fec0::2]' 1
    put sent6 fec0::2 1
fi
if [ %(names)d = 1 ]; then
    for server in 10.0.2.3 fec0::3; do for kind in a aaaa; do
        nslookup -type=$kind host.rhea.test $server | sed -n '/^Name/,$ s/^Address/named/p'
    done; done
    nslookup nobody.rhea.test 10.0.2.3 2>&1 | grep NXDOMAIN
    get named host.rhea.test 1
fi
for n in %(listen)s; do
    echo "@@listening$n@@"
    echo "came$n $(stream 1 | nc -l -p 777$n | md5sum)"
done
""" + rt.HEALTH


def stream(blocks):
    for i in range(blocks):
        yield b"%d\n" % i + BLOCK


def stream_length(blocks):
    return sum(len(b"%d\n" % i) + MIB for i in range(blocks))


def stream_sum(blocks):
    h = hashlib.md5()
    for part in stream(blocks):
        h.update(part)
    return h.hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """/N: a stream of so many blocks. Other names: as /8."""
    protocol_version = "HTTP/1.0"

    def log_message(self, *args):
        pass

    def do_GET(self):
        blocks = int(self.path[1:]) if self.path[1:].isdigit() else 8
        self.send_response(200)
        self.send_header("Content-Length", str(stream_length(blocks)))
        self.end_headers()
        for part in stream(blocks):
            self.wfile.write(part)


class Http(http.server.ThreadingHTTPServer):
    def __init__(self, six):
        self.address_family = socket.AF_INET6 if six else socket.AF_INET
        super().__init__(("::" if six else "127.0.0.1", 0), Handler)

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Server:
    """Gives out streams by HTTP; a sink, which reads a stream to its end and answers with its sum. six: IPv6, too."""
    def __init__(self, six=False):
        self.s = Http(six)
        self.sink = socket.create_server(("::" if six else "127.0.0.1", 0), dualstack_ipv6=six,
                                         family=socket.AF_INET6 if six else socket.AF_INET)
        self.sum, self.size = stream_sum(8), stream_length(8)

    def __enter__(self):
        threading.Thread(target=self.drain, daemon=True).start()
        self.thread = threading.Thread(target=self.s.serve_forever, daemon=True)
        self.thread.start()
        return self

    def drain(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.sink.accept()
                with c:
                    h = hashlib.md5()
                    while data := c.recv(1 << 16):
                        h.update(data)
                    c.sendall(h.hexdigest().encode() + b"\n")

    def __exit__(self, *exc):
        self.s.shutdown()
        self.s.server_close()
        self.sink.close()
        self.thread.join()

    @property
    def port(self):
        return self.s.server_address[1]

    @property
    def sink_port(self):
        return self.sink.getsockname()[1]


def free_port(family=socket.AF_INET):
    with socket.socket(family) as s:
        s.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        return s.getsockname()[1]


def exchange(address, blocks):
    """Sends a stream over a forwarded port and reads one, both at once: its sum; None: the guest does not listen yet."""
    h, n = hashlib.md5(), 0
    try:
        with socket.create_connection(address, timeout=60 * rt.SLOW) as s:
            t = threading.Thread(target=send, args=(s, blocks))
            t.start()
            try:
                while n < stream_length(blocks):
                    more = s.recv(65536)
                    if not more:
                        break
                    h.update(more)
                    n += len(more)
            finally:
                t.join()
            if not n:
                return None
            s.shutdown(socket.SHUT_WR)  # busybox's nc ends with its input, whatever it still has to send
            s.recv(1)
            return h.hexdigest()
    except ConnectionResetError:
        if n:
            raise
        return None


def send(s, blocks):
    with contextlib.suppress(OSError):  # the reader tells
        for part in stream(blocks):
            s.sendall(part)


def patient_exchange(address, blocks):
    for _ in range(300):
        got = exchange(address, blocks)
        if got:
            return got
        time.sleep(0.2)
    raise rt.Failure("the guest does not answer at its forwarded port")


def has_ipv6():
    with contextlib.suppress(OSError):
        free_port(socket.AF_INET6)
        return True
    return False


def fill(tree):
    """What the guest needs besides drivers."""
    with open(os.path.join(tree, "block"), "wb") as f:
        f.write(BLOCK)
    rt.add_program(tree, "ndisc6", "bin/rdisc6")


def fetch():
    """All that guests need, while packages can be had."""
    for flavour in "cloud", "generic":
        with tempfile.TemporaryDirectory() as d:
            tree = os.path.join(d, "tree")
            rt.module_tree(tree, flavour, ())
            fill(tree)
    os.unlink(rt.once("true"))


def rates(text, blocks):
    """How long the large transfers took by the guest's clock."""
    told = []
    for what in ("got4", "sent4"):
        words = next(line for line in text.splitlines() if line.startswith(what + " ")).split()
        seconds = max(float(words[-1]) - float(words[-3]), 0.01)
        told.append(f"{what} {blocks} MiB in {seconds:.1f} s, {blocks / seconds:.0f} MiB/s")
    return ", ".join(told)


def guest(board, card, *args, flavour="cloud", bits=None):
    """bits: of virtio's features, which are to be chosen, or not."""
    modules, blocks, six, names = DRIVERS[card], SIZE // MIB, has_ipv6(), ownnet.entered()
    forwards = [("127.0.0.1", free_port())] + ([("::1", free_port(socket.AF_INET6))] if six else [])
    with tempfile.TemporaryDirectory(prefix="rhea-net-") as d, Server(six) as server, contextlib.ExitStack() as stack:
        tree, tftp = os.path.join(d, "tree"), os.path.join(d, "tftp")
        rt.module_tree(tree, flavour, modules)
        fill(tree)
        os.mkdir(tftp)
        with open(os.path.join(tftp, "loaded"), "wb") as f:
            f.write(BLOCK[:100001])
        initrd = rt.once(SCRIPT % {
            "modules": " ".join(m.split("/")[-1] for m in modules), "http": server.port, "sink": server.sink_port, "blocks": blocks,
            "ipv6": six, "names": names, "listen": "0 1" if six else "0"}, tree)
        stack.callback(os.unlink, initrd)
        leads = f"hostfwd=tcp:127.0.0.1:{forwards[0][1]}-:7770" + (
            f",hostfwd=tcp:[::1]:{forwards[1][1]}-[fec0::5054:ff:feab:cdef]:7771" if six else "")
        with rt.linux(guest_assets.kernel(flavour), initrd, "quiet", "-nic",
                      f"user,model={card},mac=52:54:00:ab:cd:ef,hostname=inside,domainname=inner.test,dnssearch=rhea.test,"
                      f"dnssearch=inner.test,tftp={tftp},bootfile=loaded,{leads}",
                      *args, board=board, timeout=240 + 3 * blocks) as vm:
            back = []
            for n, address in enumerate(forwards):
                vm.expect(f"@@listening{n}@@")
                back.append(patient_exchange(address, 1))
            vm.seen = 0
            text = rt.once_output(vm)
    rt.healthy(text.splitlines())
    for bit, chosen in (bits or {}).items():
        if text.split("features ")[1][bit] != "01"[chosen]:
            raise rt.Failure(f"feature {bit} is {not chosen}:\n{text}")
    large, one = stream_sum(blocks), stream_sum(1)
    want = ["dhcp 10.0.2.15 10.0.2.2 10.0.2.3 inside inner.test loaded", "search rhea.test inner.test", "52:54:00:ab:cd:ef",
            f"got4 {large} ", f"sent4 {large} ", f"loaded {hashlib.md5(BLOCK[:100001]).hexdigest()}", "64 bytes from 10.0.2.2",
            "8008 bytes from 10.0.2.2",
            "six fec0::5054:ff:feab:cdef/64", "told Prefix                   : fec0::/64", f"came0 {one}"]
    if six:
        want += [f"got6 {one} ", f"sent6 {one} ", f"came1 {one}"]
    if names:
        want += ["told Recursive DNS server     : fec0::3", f"named {one} ",
                 "named: 10.0.2.2\nnamed: fec0::2\n" * 2 + "** server can't find nobody.rhea.test: NXDOMAIN"]
    for what in want:
        if what not in text:
            raise rt.Failure(f"'{what}' is not in the guest's output:\n{text}")
    if set(back) != {one}:
        raise rt.Failure("what left the guest through forwarded ports is not what it sent")
    return rates(text, blocks) + ("" if names else "; no names: a network of its own is not permitted")


def net_pc():
    return guest("pc", "virtio-net-pci")


def net_q35():
    return guest("q35", "virtio-net-pci", "-smp", "2")


def net_packed():
    return guest("pc", "virtio-net-pci", "-global", "virtio-net-pci.packed=on", bits={15: True, 32: True, 34: True})


def net_legacy():
    """With mergeable buffers and without, which makes the header shorter."""
    return "; ".join([guest("pc", "virtio-net-pci", "-global", "virtio-net-pci.disable-modern=on", "-global",
                            f"virtio-net-pci.mrg_rxbuf={'on' if merge else 'off'}", bits={15: merge, 32: False})
                      for merge in (True, False)])


def net_microvm():
    return guest("microvm", "virtio-net-device")


def card_test(card, board):
    def test():
        return guest(board, card, flavour="generic")

    test.__name__ = f"net_{card}" if board == "pc" else f"net_{card}_{board}"
    return test


ALL = [net_pc, net_q35, net_packed, net_legacy, net_microvm] + [card_test(c, b) for c in CARDS for b in ("pc", "q35")]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    with contextlib.suppress(rt.Skip):
        ownnet.enter("mount --bind /dev/null /etc/resolv.conf", fetch)
        ownnet.serve_names()
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

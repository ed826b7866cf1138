#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two guests on one network (net/stream.c, net/dgram.c, net/socket.c, net/sockets.c, net/l2tpv3.c): Debian's kernel with busybox in each;
they ping each other, fetch a file from each other, checksums compared, and run iperf3 both ways. Over unix and TCP streams, unix and
UDP datagrams, a multicast group, a tunnel and inherited sockets, between two of ours and, where it is installed, with QEMU 7.2 as the other side."""
import contextlib
import os
import re
import shutil
import socket
import sys
import tempfile

import rheatest as rt
from rheatest import guest_assets

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "net/core/failover",
           "drivers/net/net_failover", "drivers/net/virtio_net")
# httpd is there before the address is: who answers a ping also serves its file. Two guests at once on a busy host can starve.
SCRIPT = """set -e
for m in %(modules)s; do insmod /lib/modules/$m.ko; done
me=$(sed 's/.* me=//; s/ .*//' /proc/cmdline)
other=10.9.0.$((3 - me))
mkdir /srv
dd if=/dev/urandom of=/srv/f bs=64k count=%(blocks)d 2>/dev/null
echo "own $(sha1sum < /srv/f)"
httpd -h /srv -p 80
ip link set lo up
ip addr add 10.9.0.$me/24 dev eth0
ip link set eth0 up
i=0
until ping -c 1 -W 1 $other > /dev/null; do i=$((i + 1)); [ $i -lt 500 ]; done
ping -c 3 -W 10 $other | grep 'bytes from' | head -1
wget -q -O /got http://$other/f
echo "got $(sha1sum < /got)"
if [ ! -e /sbin/iperf3 ]; then
    true
elif [ $me = 1 ]; then # each way once
    iperf3 -s -1 > /dev/null && iperf3 -s -1 > /dev/null
else
    for way in "" -R; do
        until iperf3 -c $other -n 4M $way > /perf 2>&1; do i=$((i + 1)); [ $i -lt 500 ]; sleep 0.5; done
        sed -n '/sender\|receiver/s/^/perf /p' /perf
    done
fi
echo "@@exchanged@@"
read line < /dev/ttyS0
""" + rt.health(stalls=False)


IPERF_LIBS = (("libc6", "lib/*/libm.so.6"), ("libiperf0", "usr/lib/*/libiperf.so.0"), ("libsctp1", "usr/lib/*/libsctp.so.1"),
              ("libssl3", "usr/lib/*/libcrypto.so.3"))


@contextlib.contextmanager
def initrd(blocks=32, script=SCRIPT, iperf=False):
    with tempfile.TemporaryDirectory(prefix="rhea-pair-") as d:
        tree = os.path.join(d, "tree")
        rt.module_tree(tree, "cloud", MODULES)
        if iperf:
            rt.add_program(tree, "iperf3", "usr/bin/iperf3", IPERF_LIBS)
        path = rt.once(script % {"modules": " ".join(m.split("/")[-1] for m in MODULES), "blocks": blocks}, tree)
        try:
            yield path, d
        finally:
            os.unlink(path)


def fetch():
    """All that guests need."""
    rt.asset(guest_assets.kernel, "cloud")
    with initrd(iperf=True):
        pass


def guest(path, me, *args, **how):
    """A guest with the address 10.9.0.ME; its card's back end has the id n. QEMU on a busy host fails the kernel's look at the timer."""
    return rt.linux(guest_assets.kernel("cloud"), path, f"quiet no_timer_check me={me} rhea=1", *args, "-device",
                    f"virtio-net-pci,netdev=n,mac=52:54:00:00:09:0{me}", mem="256M", timeout=400, **how)


def sums(text, word):
    return [line.split()[1] for line in text.splitlines() if line.startswith(word + " ")]


def finish(vms):
    """Both exchange their files and end; what each got is what the other had."""
    for vm in vms:
        vm.seen = 0
    rt.expect_all("@@exchanged@@", *vms)
    texts = []
    for vm in vms:
        vm.seen = 0
        vm.send("\n")
        texts.append(rt.once_output(vm))
    for text, other in zip(texts, reversed(texts)):
        rt.healthy(text.splitlines())
        if "bytes from 10.9.0." not in text or sums(text, "got") != sums(other, "own") or not sums(text, "got"):
            raise rt.Failure(f"what came is not what was sent:\n{text}\n--- the other:\n{other}")
    return texts


def pair(one, two, binaries=(rt.BIN, rt.BIN), fds=((), ())):
    """The back ends' options; {d} is a folder. The first one starts first."""
    with initrd(iperf=True) as (path, d), contextlib.ExitStack() as stack:
        vms = [stack.enter_context(guest(path, i + 1, "-netdev", text.format(d=d), binary=binaries[i], pass_fds=fds[i]))
               for i, text in enumerate((one, two))]
        texts = finish(vms)
    for end, amount in ("sender", "[4-9]"), ("receiver", "[1-9]"):  # what it counts before it is told to end
        if len(re.findall(rf"^perf .* {amount}\.\d* MBytes .*{end}", texts[1], re.M)) != 2:
            raise rt.Failure(f"iperf3 does not tell of 4 MB each way:\n{texts[1]}")


def qemu():
    path = shutil.which("qemu-system-x86_64")
    if not path:
        raise rt.Skip("qemu-system-x86_64 is not installed")
    return path


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pair_stream():
    """The client comes first, and waits for its server."""
    pair("stream,id=n,addr.type=unix,addr.path={d}/s,reconnect=1", "stream,id=n,addr.type=unix,addr.path={d}/s,server=on")


def pair_dgram():
    pair("dgram,id=n,local.type=unix,local.path={d}/1,remote.type=unix,remote.path={d}/2",
         "dgram,id=n,local.type=unix,local.path={d}/2,remote.type=unix,remote.path={d}/1")


def pair_fd():
    for kind, text in (socket.SOCK_STREAM, "socket,id=n,fd=%d"), (socket.SOCK_DGRAM, "dgram,id=n,local.type=fd,local.str=%d"):
        a, b = socket.socketpair(socket.AF_UNIX, kind)
        with a, b:
            pair(text % a.fileno(), text % b.fileno(), fds=((a.fileno(),), (b.fileno(),)))


def pair_tcp():
    """The newer name connects to the older one's."""
    port = free_port()
    pair(f"socket,id=n,listen=127.0.0.1:{port}", f"stream,id=n,addr.type=inet,addr.host=127.0.0.1,addr.port={port},reconnect=1")


def pair_udp():
    a, b = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    text = "dgram,id=n,local.type=inet,local.host=127.0.0.1,local.port={},remote.type=inet,remote.host=127.0.0.1,remote.port={}"
    pair(text.format(a, b), text.format(b, a))


def pair_mcast():
    text = f"socket,id=n,mcast=230.0.0.9:{free_port(socket.SOCK_DGRAM)},localaddr=127.0.0.1"
    pair(text, text)


def pair_l2tpv3():
    a, b = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    text = "l2tpv3,id=n,udp=on,src=127.0.0.1,dst=127.0.0.1,counter=on,cookie64=on,srcport={},dstport={},txsession={},rxsession={}," \
        "txcookie={},rxcookie={}"
    pair(text.format(a, b, 5, 6, 7, 8), text.format(b, a, 6, 5, 8, 7))


def pair_tcp_qemu():
    """QEMU listens, then ours does; the older names."""
    for binaries in (qemu(), rt.BIN), (rt.BIN, qemu()):
        port = free_port()
        with initrd() as (path, _), guest(path, 1, "-netdev", f"socket,id=n,listen=127.0.0.1:{port}", binary=binaries[0]) as one:
            one.expect("own ")  # it listens
            with guest(path, 2, "-netdev", f"socket,id=n,connect=127.0.0.1:{port}", binary=binaries[1]) as two:
                finish((one, two))


def pair_udp_qemu():
    a, b = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    pair(f"dgram,id=n,local.type=inet,local.host=127.0.0.1,local.port={a},remote.type=inet,remote.host=127.0.0.1,remote.port={b}",
         f"socket,id=n,udp=127.0.0.1:{a},localaddr=127.0.0.1:{b}", (rt.BIN, qemu()))


def pair_mcast_qemu():
    text = f"socket,id=n,mcast=230.0.0.9:{free_port(socket.SOCK_DGRAM)},localaddr=127.0.0.1"
    pair(text, text, (rt.BIN, qemu()))


ALL = [pair_stream, pair_dgram, pair_tcp, pair_udp, pair_mcast, pair_l2tpv3, pair_fd, pair_tcp_qemu, pair_udp_qemu, pair_mcast_qemu]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests behind the distribution's passt (net/passt.c, net/frames.c, net/child.c): one that is started by the back end and killed while
the guest uses it, and one that stands before the machine, as libvirt has it (a unix stream with reconnect=). The guest gets its
address by DHCP, fetches from a server on the host's loopback, and serves through a forwarded port; checksums compared."""
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import net
import netpairs
import qmp
import rheatest as rt
from rheatest import guest_assets

SCRIPT = """set -e
for m in %(modules)s; do insmod /lib/modules/$m.ko; done
cat > /bound <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add $router dev $interface
echo "dhcp $ip $router"
echo $router > /router
END
chmod +x /bound
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -s /bound -n -q -t 20 2>&1
mkdir /srv
for round in 1 2; do
    wget -q -O /srv/f http://$(cat /router):%(port)d/file
    echo "fetched $round $(md5sum < /srv/f)"
    [ $round = 2 ] || httpd -h /srv -p 80
    echo "@@round $round@@"
    read line < /dev/ttyS0
done
""" + rt.health(stalls=False)


def passt():
    """The program, if it can run here: it wants namespaces of its own."""
    path = shutil.which("passt")
    if not path:
        raise rt.Skip("passt is not installed")
    run = subprocess.run([rt.BIN, "-M", "none", "-netdev", "passt,id=n", "-monitor", "stdio", "-display", "none"], input=b"quit\n",
                         capture_output=True, check=False)
    if run.returncode:
        raise rt.Skip(f"passt does not run here: {run.stderr.decode().strip()}")
    return path


def fetch(port):
    """From the guest's server, which may not be there again at once: a passt that has just begun takes a connection before it
    knows of a guest, and may never tell the guest of it."""
    end = time.monotonic() + 60 * rt.SLOW
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/f", timeout=5 * rt.SLOW) as r:
                return hashlib.md5(r.read()).hexdigest()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def find(needle):
    """The process whose arguments hold this."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().split(b"\0")
            if words[0].endswith(b"passt") and needle.encode() in words:
                return int(pid)
    return None


@contextlib.contextmanager
def ends_with_test(ports):
    """Whatever happens, no passt is left."""
    try:
        yield
    finally:
        for pid in iter(lambda: find(ports), None):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def guest(netdev, restart, own=False):
    """restart(session): ends passt, and returns when a new one serves. own: it ends with the machine."""
    forward = net.free_port()
    with net.Server() as server, tempfile.TemporaryDirectory(prefix="rhea-passt-") as d:
        tree = os.path.join(d, "tree")
        rt.module_tree(tree, "cloud", netpairs.MODULES)
        initrd = rt.once(SCRIPT % {"modules": " ".join(m.split("/")[-1] for m in netpairs.MODULES), "port": server.port}, tree)
        ports = f"127.0.0.1/{forward}:80"
        try:
            with ends_with_test(ports), netdev(ports, d) as options, rt.linux(guest_assets.kernel("cloud"), initrd, "quiet no_timer_check", "-netdev", options,
                                                       "-device", "virtio-net-pci,netdev=n", "-qmp",
                                                       f"unix:{d}/qmp,server=on,wait=off", mem="256M", timeout=300) as vm:
                session = qmp.Client(f"{d}/qmp")
                for i in 1, 2:
                    vm.expect(f"@@round {i}@@")
                    if fetch(forward) != server.sum:
                        raise rt.Failure("what came from the guest is not what it got")
                    if i == 1:
                        restart(session, ports, d)
                        vm.seen = 0
                    vm.send("\n")
                session.s.close()
                vm.seen = 0
                text = rt.once_output(vm)
                if own and find(ports):
                    raise rt.Failure("passt is still there")
        finally:
            os.unlink(initrd)
        rt.healthy(text.splitlines())
        if [line.split()[2] for line in text.splitlines() if line.startswith("fetched")] != [server.sum] * 2 or "dhcp " not in text:
            raise rt.Failure(f"what the guest got is not what was sent:\n{text}")


def wait_event(session, name):
    while not any(e["event"] == name for e in session.events):
        session.events.append(session.message())
    session.events = [e for e in session.events if e["event"] != name]


def passt_guest():
    passt()

    @contextlib.contextmanager
    def netdev(ports, _):
        yield f"passt,id=n,tcp-ports={ports}"

    def restart(session, ports, _):
        os.kill(find(ports), signal.SIGKILL)
        wait_event(session, "NETDEV_STREAM_DISCONNECTED")
        wait_event(session, "NETDEV_STREAM_CONNECTED")

    guest(netdev, restart, own=True)


def passt_libvirt():
    program = passt()

    def start(ports, d):
        # libvirt's arguments; as root it becomes another user, who must be able to make the socket
        os.chmod(d, 0o777)
        subprocess.run([program, "--one-off", "--socket", f"{d}/passt", "--tcp-ports", ports], check=True, capture_output=True)

    @contextlib.contextmanager
    def netdev(ports, d):
        start(ports, d)
        yield f"stream,id=n,addr.type=unix,addr.path={d}/passt,server=off,reconnect=5"

    def restart(session, ports, d):
        os.kill(find(ports), signal.SIGKILL)
        wait_event(session, "NETDEV_STREAM_DISCONNECTED")
        os.unlink(f"{d}/passt")
        start(ports, d)
        wait_event(session, "NETDEV_STREAM_CONNECTED")

    guest(netdev, restart)


ALL = [passt_guest, passt_libvirt]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rt.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's libvirt drives the program as <emulator>: it probes it, then what administrators do with domains, one thing after
the other, on pc and q35 (monitor/qmp*.c, tools/system/qmp_*.c, backends/secret.c, backends/audio/options.c, system/host.c, and all devices
that libvirt gives a guest). Daemons and guests: virt.py.

    libvirt.py probe | pc | q35 | disk_pc | disk_q35 | kvm_pc | kvm_q35
"""
import ctypes
import hashlib
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import tempfile

import guest_agent
import rheatest as rt
import virt
from cdrom import tool
from rheatest import Failure, guest_assets
from virt import expect, until

IMG = os.path.join(rt.BUILD, "tools/img/rhea-img")
MIB = 1 << 20
MAC, MAC2 = "52:54:00:00:00:01", "52:54:00:00:00:02"
SPARE_PORTS = "<controller type='pci' index='0' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 8
CD = {"pc": ("hdc", "ide"), "q35": ("sda", "sata")}  # target and bus


def img(*args):
    subprocess.run([IMG, *args], check=True, stdout=subprocess.DEVNULL)


def fields(text):
    """"name value" or "name=value" lines as numbers or words."""
    pairs = [re.split(r"[= ]+", line.strip(), 1) for line in text.splitlines() if re.search(r"\S[= ]+\S", line.strip())]
    return {k.rstrip(":"): int(v) if re.fullmatch(r"-?\d+", v) else v for k, v in pairs}


# ---- the emulator itself ----

def cpu_models(v, domcaps, usable):
    """Models are usable when the program lacks nothing of them; what libvirt makes of its features can be had."""
    custom = dict(re.findall(r"usable='(yes|no)'[^>]*>([^<]+)", domcaps)[i][::-1] for i in range(domcaps.count("usable=")))
    expect({"Skylake-Server", "Cooperlake", "Icelake-Server", "EPYC-Milan", "Snowridge"} <= custom.keys(), f"models: {custom}")
    expect({"Haswell-noTSX-IBRS", "Broadwell-noTSX", "Opteron_G2"} <= usable, f"usable models: {usable}")
    expect({m for m, yes in custom.items() if yes == "no"} >= {"Skylake-Server", "Cooperlake", "KnightsMill"} & custom.keys(), f"{custom}")
    for name, verdict in (("Westmere", "superset|identical"), ("Cooperlake", "incompatible")):
        v.write("images/cpu.xml", f"<cpu match='exact' mode='custom'><model fallback='forbid'>{name}</model></cpu>")
        p = v.try_virsh("hypervisor-cpu-compare", "--virttype", "qemu", "--emulator", v.emulator, f"{v.images}/cpu.xml")
        expect(re.search(verdict, p.stdout + p.stderr), f"{name} is to be {verdict}: {p.stdout}{p.stderr}")


def probe(v):
    """One round of questions, whatever is asked of libvirt afterwards; what libvirt concludes."""
    def rounds():
        return re.findall(r"capabilities of '(.*?)' via QMP", v.libvirtd_log())

    domcaps = {}
    for machine in ("pc", "q35"):
        domcaps[machine] = v.virsh("domcapabilities", "--emulatorbin", v.emulator, "--virttype", "qemu", "--machine", machine)
        name, = re.findall(r"<machine>(.*)</machine>", domcaps[machine])
        expect(f"<path>{v.emulator}</path>" in domcaps[machine] and name.startswith("pc"), domcaps[machine])
    for word in ("<value>virtio</value>", "<value>cdrom</value>", "<value>pflash</value>", "<mode name='maximum' supported='yes'>"):
        expect(word in domcaps["q35"], f"{word} is not in\n{domcaps['q35']}")
    models = v.virsh("cpu-models", "x86_64").split()
    expect({"qemu64", "Nehalem", "EPYC"} <= set(models), f"{models}")
    usable = re.findall(r"usable='yes'[^>]*>([^<]+)", domcaps["q35"])
    expect({"qemu64", "Westmere"} <= set(usable), f"models that a domain can have: {usable}")
    cpu_models(v, domcaps["q35"], set(usable))
    for name in ("one", "two"):
        plain = f"<domain type='qemu'><name>{name}</name><memory>65536</memory><os><type machine='q35'>hvm</type></os><devices>" \
            f"<emulator>{v.emulator}</emulator></devices></domain>"
        v.write(f"images/{name}.xml", plain)
        v.virsh("define", f"{v.images}/{name}.xml")
        v.virsh("undefine", name)
    ours = [path for path in rounds() if path == v.emulator]
    kvm = subprocess.run(["test", "-w", "/dev/kvm"], check=False, **v.who).returncode == 0
    expect(1 <= len(ours) <= 1 + kvm, f"one round, and one more with KVM: {rounds()}")


# ---- a guest started by its kernel ----

class Guest:
    """What the steps share: each one leaves the domain as the next one wants it."""

    def __init__(self, v, machine):
        self.v, self.machine = v, machine
        kernel = v.place(rt.asset(guest_assets.kernel, "generic"), "kernel")
        virt.initrd(os.path.join(v.images, "initrd"), "{ %s} >/dev/null 2>&1 &" % guest_agent.RUN, guest_agent.fill)
        self.disk = os.path.join(v.images, "disk.qcow2")
        img("create", "-q", "-f", "qcow2", self.disk, "64M")
        self.discs = []
        for i in range(2):
            self.discs.append(os.path.join(v.images, f"disc{i}.iso"))
            with open(self.discs[i], "wb") as f:
                f.write(f"this is disc {i}\n".encode() * 100000)
        v.give_away()
        target, bus = CD[machine]
        self.cd = target
        self.dom = virt.Domain(v, "guest", machine, f"""<os><type machine='{machine}'>hvm</type><kernel>{kernel}</kernel>
<initrd>{v.images}/initrd</initrd><cmdline>console=ttyS0 quiet panic=-1 cryptomgr.notests from-libvirt</cmdline></os>""", f"""
<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{self.disk}'/>
<target dev='vda' bus='virtio'/><serial>DISK1</serial></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{self.discs[0]}'/>
<target dev='{target}' bus='{bus}'/><readonly/></disk>
<interface type='user'><mac address='{MAC}'/><model type='virtio'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
{SPARE_PORTS if machine == "q35" else ""}
<memballoon model='virtio'><stats period='1'/></memballoon>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>""")

    def starts(self, *args):
        """The domain runs, from the first instruction on with its terminal open."""
        self.dom.do("start", "--paused", *args)
        expect(self.dom.state() == "paused", self.dom.state())
        self.dom.open()
        self.dom.do("resume")
        self.up()

    def up(self, after=0):
        self.dom.wait("@@up@@", after)

    def boots_again(self, command):
        """What makes the guest boot; waits until its shell is there again."""
        at = len(self.dom.text())
        command()
        self.up(at)
        expect(self.dom.run("echo $((6 * 7))") == "42", "the shell works")


def define_and_start(g):
    g.v.watch()
    expect("from-libvirt" in g.dom.do("dumpxml") and g.dom.state() == "shut off", "it is defined")
    g.starts()
    info = fields(g.dom.do("dominfo"))
    expect(info["State"] == "running" and info["UUID"] in g.dom.run("cat /sys/class/dmi/id/product_uuid"), f"{info}")
    expect("from-libvirt" in g.dom.run("cat /proc/cmdline"), "the kernel's command line")
    expect(g.dom.run("cat /sys/block/vda/serial") == "DISK1", "the disk's serial number")
    expect(g.dom.run("cat /sys/class/misc/hw_random/rng_current").startswith("virtio_rng"), "random numbers")
    expect(g.dom.run("head -c 65536 /dev/hwrng | wc -c") == "65536", "random numbers")
    expect(len(g.dom.do("vcpuinfo")) > 20 and "running" in g.v.virsh("list"), "it is in the lists")


def sandboxed(g):
    """All of this happens below the filter of system calls, where the program has one: libvirt finds that out."""
    options = [o["option"] for o in g.dom.qmp("query-command-line-options")]
    if "sandbox" not in options:
        raise rt.Skip("this build has no -sandbox")
    with open(f"/proc/{g.dom.pid()}/cmdline", "rb") as f:
        args = f.read().split(b"\0")
    expect(args[args.index(b"-sandbox") + 1].startswith(b"on,obsolete=deny,"), f"libvirt's arguments: {args}")
    for task in os.listdir(f"/proc/{g.dom.pid()}/task"):
        with open(f"/proc/{g.dom.pid()}/task/{task}/status", encoding="utf-8") as f:
            expect("\nSeccomp:\t2\n" in f.read(), f"thread {task} is not filtered")


def serial_console(g):
    """virsh console: through libvirtd to the pseudo-terminal."""
    g.dom.close()
    master, slave = pty.openpty()
    p = subprocess.Popen(g.v.virsh_args("console", "guest", "--force"), env=g.v.env, stdin=slave, stdout=slave, stderr=slave,
                         start_new_session=True, cwd=g.v.dir, **g.v.who)
    os.close(slave)
    got = b""

    def says(text):
        nonlocal got
        if select.select([master], [], [], 0)[0]:
            try:
                got += os.read(master, 65536)
            except OSError:  # its end
                pass
        return text in got
    try:
        until(lambda: says(b"Escape character"), lambda: f"virsh console: {got}")
        os.write(master, b"echo from the $((3 * 7))st century\r\n")
        until(lambda: says(b"from the 21st century"), lambda: f"the guest: {got}")
        os.write(master, b"\x1d")  # ^]
        until(lambda: p.poll() is not None or says(b"no such text"), "virsh to end")
        expect(p.returncode == 0, f"virsh console ended with status {p.returncode}: {got}")
    finally:
        p.kill()
        p.wait()
        os.close(master)
    expect("from the 21st century" in g.dom.text(), "the log has it, too")
    g.dom.open()


def suspend_resume(g):
    g.dom.do("suspend")
    expect(g.dom.state() == "paused", "it is paused")
    at = g.dom.send("echo awake")
    expect("awake" not in g.dom.text()[at:], "a paused guest says nothing")
    g.dom.do("resume")
    expect(g.dom.state() == "running", "it goes on")
    g.dom.run("echo awake", at)


def statistics(g):
    before = fields(g.dom.do("domblkstat", "vda").replace("vda ", ""))
    g.dom.run("dd if=/dev/zero of=/dev/vda bs=64k count=16 seek=100 oflag=direct conv=fsync 2>/dev/null")
    after = fields(g.dom.do("domblkstat", "vda").replace("vda ", ""))
    grown = {k: after[k] - before[k] for k in after}
    expect(grown["wr_bytes"] == MIB and grown["wr_req"] >= 1 and grown["flush_operations"] >= 1, f"{grown}")
    stats = fields(g.v.virsh("domstats", "guest"))
    expect(stats["block.count"] == 2 and stats["block.0.name"] == "vda" and stats["block.0.wr.bytes"] == after["wr_bytes"], f"{stats}")
    expect(stats["block.0.capacity"] == 64 * MIB and stats["vcpu.current"] == 1 and stats["state.state"] == 1, f"{stats}")
    expect(stats["balloon.current"] == 256 * 1024, f"{stats}")
    memory = fields(g.dom.do("dommemstat"))
    expect(memory["rss"] > 0, f"{memory}")
    info = fields(g.dom.do("domblkinfo", "vda"))
    expect(info["Capacity"] == 64 * MIB and info["Allocation"] > 0, f"{info}")


def balloon(g):
    """The guest gives memory back, says how it is, and gets it again."""
    def memory():
        return int(g.dom.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"))

    def told(**want):
        """Until its statistics, in KiB, say so."""
        got = {}
        until(lambda: got.update(fields(g.dom.do("dommemstat"))) or all(got.get(k) == v for k, v in want.items()),
              lambda: f"statistics that say {want}, not {got}")
        return got
    full = memory()
    stats = told(actual=256 * 1024, available=full)
    expect(0 < stats["unused"] < full and 0 < stats["usable"] <= full and stats["last_update"] > 0, f"{stats}")
    g.dom.do("setmem", "192M", "--live")
    g.v.event("'balloon-change'.* 196608KiB")
    expect(memory() == full - 64 * 1024, f"MemTotal was {full} KiB, and is {memory()}")
    told(actual=192 * 1024, available=full - 64 * 1024)
    stats = fields(g.v.virsh("domstats", "--balloon", "guest"))
    expect((stats["balloon.current"], stats["balloon.maximum"], stats["balloon.available"]) ==
           (192 * 1024, 256 * 1024, full - 64 * 1024), f"{stats}")
    g.dom.do("dommemstat", "--period", "2", "--live")
    interval = g.dom.qmp("qom-get", path="/machine/peripheral/balloon0", property="guest-stats-polling-interval")
    expect(interval == 2, f"statistics every {interval} seconds")
    g.dom.do("setmem", "256M", "--live")
    g.v.event("'balloon-change'.* 262144KiB")
    expect(memory() == full, "all of it is there again")
    told(actual=256 * 1024, available=full)


def throttling(g):
    g.dom.do("blkdeviotune", "vda", "--total-bytes-sec", "1000000", "--write-iops-sec", "50", "--write-iops-sec-max", "80", "--live")
    limits = fields(g.dom.do("blkdeviotune", "vda").replace(":", ""))
    expect((limits["total_bytes_sec"], limits["write_iops_sec"], limits["write_iops_sec_max"]) == (1000000, 50, 80), f"{limits}")
    inserted, = [d["inserted"] for d in g.dom.qmp("query-block") if "virtio" in d.get("qdev", "")]
    expect((inserted["bps"], inserted["iops_wr"], inserted["iops_wr_max"]) == (1000000, 50, 80), f"{inserted}")
    g.dom.run("dd if=/dev/vda of=/dev/null bs=4k count=10 iflag=direct 2>/dev/null")
    g.dom.do("blkdeviotune", "vda", "--total-bytes-sec", "0", "--write-iops-sec", "0", "--write-iops-sec-max", "0", "--live")
    limits = fields(g.dom.do("blkdeviotune", "vda").replace(":", ""))
    expect(limits["total_bytes_sec"] == limits["write_iops_sec"] == 0, f"{limits}")


def block_resize(g):
    g.dom.do("blockresize", "vda", "80M")
    g.dom.run(f"until [ $(cat /sys/block/vda/size) = {80 * MIB // 512} ]; do sleep 0.1; done")
    expect(fields(g.dom.do("domblkinfo", "vda"))["Capacity"] == 80 * MIB, "its new size")


def network_link(g):
    def carrier(value):
        g.dom.run(f"until [ \"$(cat /sys/class/net/eth0/carrier)\" = {value} ]; do sleep 0.1; done")
    g.dom.run("ip link set eth0 up")
    carrier(1)
    expect(g.dom.run("cat /sys/class/net/eth0/address") == MAC, "its address")
    for state, value in (("down", 0), ("up", 1)):
        g.dom.do("domif-setlink", MAC, state)
        expect(state in g.dom.do("domif-getlink", MAC), "libvirt knows")
        carrier(value)


def media_change(g):
    def reads():
        return g.dom.run("head -c 15 /dev/sr0")
    expect(reads() == "this is disc 0", "the first disc")
    g.dom.do("change-media", g.cd, "--eject")
    g.v.event("tray-change.*opened")
    g.dom.send("until ! head -c 1 /dev/sr0 >/dev/null 2>&1; do sleep 0.1; done; echo empty")
    g.dom.wait("empty")
    g.dom.do("change-media", g.cd, g.discs[1], "--insert")
    g.v.event("tray-change.*closed")
    g.dom.run("until head -c 1 /dev/sr0 >/dev/null 2>&1; do sleep 0.1; done")
    expect(reads() == "this is disc 1", "the second disc")
    g.dom.do("change-media", g.cd, g.discs[0], "--update", "--force")
    g.dom.run("until [ \"$(head -c 15 /dev/sr0 2>/dev/null)\" = 'this is disc 0' ]; do sleep 0.1; done")
    expect(g.discs[0] in g.dom.do("domblklist"), "libvirt knows")


def comes_and_goes(g, alias, there, attach, detach, times=1, meanwhile=lambda: None):
    """there: what the guest's shell says of a device. times: how often it has come, with this time."""
    attach()
    g.v.event(f"'device-added'.*: {alias}$", times)
    g.dom.run(f"until {there}; do sleep 0.1; done")
    meanwhile()
    detach()
    g.v.event(f"'device-removed'.*: {alias}$", times)
    g.dom.run(f"while {there}; do sleep 0.1; done")
    left = [p["name"] for p in g.dom.qmp("qom-list", path="/machine/peripheral")]
    expect(alias not in left, f"the program has it no more: {left}")


def attach_disk(g):
    """A disk that comes twice, with other contents: the guest reads it and writes on it."""
    raw, image = (os.path.join(g.v.images, name) for name in ("second.raw", "second.qcow2"))
    nodes = len(g.dom.qmp("query-named-block-nodes", flat=True))
    for i in range(2):
        data = random.Random(i).randbytes(MIB)
        with open(raw, "wb") as f:
            f.write(data)
        img("convert", "-O", "qcow2", raw, image)
        g.v.give_away()

        def use():
            expect(g.dom.run("md5sum < /dev/vdb").split()[0] == hashlib.md5(data).hexdigest(), "its contents")
            expect(g.dom.run("cat /sys/block/vdb/serial") == f"second{i}", "its serial number")
            g.dom.run("head -c 65536 /bin/busybox | dd of=/dev/vdb bs=64k seek=3 conv=fsync iflag=fullblock 2>/dev/null")
            expect(image in g.dom.do("domblklist") and fields(g.dom.do("domblkinfo", "vdb"))["Capacity"] == MIB, "libvirt knows")
        written = g.dom.run("head -c 65536 /bin/busybox | md5sum").split()[0]
        comes_and_goes(g, "virtio-disk1", "[ -b /dev/vdb ]",
                       lambda: g.dom.do("attach-disk", image, "vdb", "--subdriver", "qcow2", "--serial", f"second{i}", "--live"),
                       lambda: g.dom.do("detach-disk", "vdb", "--live"), i + 1, use)
        expect("vdb" not in g.dom.do("domblklist"), "libvirt has forgotten it")
        until(lambda: len(g.dom.qmp("query-named-block-nodes", flat=True)) == nodes, "its nodes to go")
        img("check", "-q", image)
        img("convert", "-O", "raw", image, raw)
        with open(raw, "rb") as f:
            f.seek(3 << 16)
            expect(hashlib.md5(f.read(1 << 16)).hexdigest() == written, "what the guest wrote is on the image")


def by_xml(g, name, xml):
    """How devices of attach-device come and go."""
    g.v.write(f"images/{name}.xml", xml)
    path = os.path.join(g.v.images, name + ".xml")
    return lambda: g.dom.do("attach-device", path, "--live"), lambda: g.dom.do("detach-device", path, "--live")


def attach_rng(g):
    def use():
        g.dom.run("echo virtio_rng.1 > /sys/class/misc/hw_random/rng_current")
        expect(g.dom.run("head -c 4096 /dev/hwrng | wc -c") == "4096", "random numbers of the second device")
        g.dom.run("echo virtio_rng.0 > /sys/class/misc/hw_random/rng_current")
    comes_and_goes(g, "rng1", "grep -q virtio_rng.1 /sys/class/misc/hw_random/rng_available", *by_xml(
        g, "rng", "<rng model='virtio'><backend model='builtin'/></rng>"), meanwhile=use)
    g.dom.qmp("object-add", **{"qom-type": "rng-builtin", "id": "objrng1"})  # its source has gone, too: the name is free
    g.dom.qmp("object-del", id="objrng1")


def attach_interface(g):
    def use():
        expect(g.dom.run("cat /sys/class/net/eth1/address") == MAC2, "its address")
        expect(MAC2 in g.dom.do("domiflist"), "libvirt knows")
    comes_and_goes(g, "net1", "[ -e /sys/class/net/eth1 ]", *by_xml(
        g, "net", f"<interface type='user'><mac address='{MAC2}'/><model type='virtio'/></interface>"), meanwhile=use)


def agent(g):
    """libvirt believes in the guest's agent when that has opened its port."""
    g.v.event("'agent-lifecycle'.*'connected'")
    expect(json.loads(g.dom.do("qemu-agent-command", '{"execute": "guest-ping"}')) == {"return": {}}, "guest-ping")
    info = json.loads(g.dom.do("qemu-agent-command", '{"execute": "guest-info"}'))["return"]
    expect(info["version"].startswith("7.2"), f"the agent's version: {info['version']}")
    there = int(fields(g.dom.do("domtime"))["Time"])
    here = int(g.dom.run("date +%s"))
    expect(abs(there - here) <= 60 * rt.SLOW, f"the guest's time by its agent {there}, by its shell {here}")


def send_key(g):
    """Press and release of two keys, each followed by a synchronization event."""
    at = g.dom.send("exec 3<$kbd; echo open; dd bs=24 count=8 <&3 2>/dev/null | hexdump -v -e '12/2 \"%u \" \"\\n\"'; exec 3<&-")
    g.dom.wait("open", at)
    g.dom.do("send-key", "KEY_LEFTSHIFT", "KEY_A")
    out = g.dom.run("", at)
    words = [line.split() for line in out.splitlines()[1:]]  # of input_event: time, type, code, value
    keys = [(int(w[9]), int(w[10])) for w in words if w[8] == "1"]
    expect(keys[:2] == [(42, 1), (30, 1)], f"the keys of the guest: {out}")


def restart_daemon(g):
    """libvirtd goes, once in order and once killed; domains stay, also one that ended meanwhile is told of."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        g.v.stop("events")
        g.v.stop("libvirtd", sig)
        g.v.start_libvirtd()
        until(lambda: g.dom.state() == "running", "the domain to be found again")
        g.v.watch()
        g.dom.do("suspend")
        expect(g.dom.state() == "paused", "the monitor answers")
        g.dom.do("resume")
        expect(g.dom.run("echo still here") == "still here", "the guest has not noticed")


def guest_reboot(g):
    g.boots_again(lambda: g.dom.send("reboot -f"))
    g.v.event("'reboot'")
    expect(g.dom.state() == "running", "it runs on")


def reset(g):
    g.boots_again(lambda: g.dom.do("reset"))
    expect(g.dom.state() == "running", "it runs on")


def acpi_shutdown(g):
    g.dom.do("shutdown", "--mode", "acpi")
    g.dom.ends()
    g.v.event("'lifecycle'.*Shutdown Finished after guest request")
    g.v.event("'lifecycle'.*Stopped Shutdown")


def ends_without_daemon(g):
    """A guest powers off while libvirtd is away."""
    g.starts()
    g.v.stop("events")
    g.v.stop("libvirtd")
    g.dom.send("poweroff -f")
    g.v.start_libvirtd()
    g.dom.ends()


def agent_shutdown(g):
    """The guest's agent is asked to shut it down, and calls the guest's shutdown."""
    g.v.watch()
    g.starts()
    g.v.event("'agent-lifecycle'.*'connected'")
    p = g.v.try_virsh("shutdown", "guest", "--mode", "agent")  # no answer comes: the agent may be gone before libvirt has heard why
    expect(p.returncode == 0 or "agent" in p.stderr, p.stderr)
    g.dom.ends()
    expect("shutdown -h -P +0" in g.dom.text(), "the guest's own shutdown was called")
    g.v.event("'lifecycle'.*Shutdown Finished after guest request")
    g.v.event("'lifecycle'.*Stopped Shutdown")


def destroy(g):
    """In the middle of its boot."""
    g.v.watch()
    g.dom.do("start", "--paused")
    g.dom.do("resume")
    g.dom.do("destroy")
    expect(g.dom.state() == "shut off", "it is gone at once")
    g.v.event("'lifecycle'.*Stopped Destroyed")
    for what in ("Started Booted", "Suspended Paused", "Resumed Unpaused"):
        g.v.event(f"'lifecycle'.*{what}")
    g.dom.close()
    g.dom.do("undefine")
    expect(g.v.virsh("list", "--all", "--name").split() == [], "nothing is left")
    img("check", "-q", g.disk)


BY_KERNEL = [define_and_start, sandboxed, serial_console, suspend_resume, statistics, balloon, throttling, block_resize, network_link,
             media_change, attach_disk, attach_rng, attach_interface, send_key, agent, guest_reboot, reset, restart_daemon, acpi_shutdown,
             ends_without_daemon, agent_shutdown, destroy]


# ---- guests that boot from their disks ----

GRUB = """serial --unit=0 --speed=115200
terminal_output serial
echo GRUB starts Linux
search.file /linux root
linux /linux console=ttyS0 quiet panic=-1 cryptomgr.notests
initrd /initrd
boot
"""


def boot_disk(d, path):
    """A disk that boots by BIOS (GRUB behind the first sector) and by UEFI (a file): kernel and initramfs on a FAT partition."""
    cfg, raw = os.path.join(d, "grub.cfg"), os.path.join(d, "raw")
    with open(cfg, "w", encoding="ascii") as f:
        f.write(GRUB)
    common = ("serial", "terminal", "echo", "part_msdos", "fat", "search_fs_file", "linux", "test")
    tool("grub-mkimage", "-O", "i386-pc", "-o", os.path.join(d, "core"), "-p", "/", "-c", cfg, "biosdisk", *common)
    tool("grub-mkimage", "-O", "x86_64-efi", "-o", os.path.join(d, "efi"), "-p", "/", "-c", cfg, *common)
    with open("/usr/lib/grub/i386-pc/boot.img", "rb") as f:
        first = f.read(440)
    with open(os.path.join(d, "core"), "rb") as f:
        core = f.read()
    expect(len(core) < MIB - 512, "GRUB fits before the partition")
    start, sectors = MIB // 512, 48 * MIB // 512
    entry = b"\x80\x00\x02\x00\xef\xff\xff\xff" + start.to_bytes(4, "little") + sectors.to_bytes(4, "little")
    with open(raw, "wb") as f:
        f.write(first.ljust(446, b"\0") + entry + bytes(48) + b"\x55\xaa" + core)
        f.truncate((start + sectors) * 512)
    at = f"{raw}@@{MIB}"
    tool("mformat", "-i", at, "-F", "-T", str(sectors), "-h", "16", "-s", "63", "::")
    tool("mmd", "-i", at, "::EFI", "::EFI/BOOT")
    tool("mcopy", "-i", at, os.path.join(d, "efi"), "::EFI/BOOT/BOOTX64.EFI")
    tool("mcopy", "-i", at, rt.asset(guest_assets.kernel, "generic"), "::linux")
    virt.initrd(os.path.join(d, "initrd"))
    tool("mcopy", "-i", at, os.path.join(d, "initrd"), "::initrd")
    img("convert", "-O", "qcow2", raw, path)


class Disk:
    def __init__(self, v, machine):
        self.v, self.machine = v, machine
        self.path = os.path.join(v.images, "boot.qcow2")
        with tempfile.TemporaryDirectory(prefix="rhea-virt-") as d:
            boot_disk(d, self.path)
        v.give_away()

    def boots(self, name, os_xml, bus):
        dev = "vda" if bus == "virtio" else "hda" if bus == "ide" else "sda"
        dom = virt.Domain(self.v, name, self.machine, os_xml, f"""
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{self.path}'/><target dev='{dev}' bus='{bus}'/>
<boot order='1'/></disk><memballoon model='none'/>""", memory=384)
        dom.do("start")
        dom.open()
        dom.wait("@@up@@")
        return dom

    def ends(self, dom, *undefine):
        dom.do("shutdown", "--mode", "acpi")
        dom.ends()
        dom.do("undefine", *undefine)


def bios_disk(k):
    dom = k.boots("bios", f"<os><type machine='{k.machine}'>hvm</type></os>", "ide" if k.machine == "pc" else "sata")
    expect("GRUB starts Linux" in dom.text() and "efi" not in dom.run("ls /sys/firmware"), dom.text()[-1000:])
    k.ends(dom)


def uefi_disk(k):
    """q35: libvirt finds the firmware by its descriptor; pc: by its path."""
    code = k.v.place(rt.asset(guest_assets.from_package, "ovmf", "usr/share/OVMF/OVMF_CODE_4M.fd"))
    variables = k.v.place(rt.asset(guest_assets.from_package, "ovmf", "usr/share/OVMF/OVMF_VARS_4M.fd"))
    os_xml = f"""<os><type machine='pc'>hvm</type><loader readonly='yes' type='pflash'>{code}</loader>
<nvram template='{variables}'/></os>"""
    if k.machine == "q35":
        descriptor = {"description": "UEFI of Debian", "interface-types": ["uefi"], "mapping": {
            "device": "flash", "executable": {"filename": code, "format": "raw"},
            "nvram-template": {"filename": variables, "format": "raw"}},
            "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}], "features": [], "tags": []}
        os.makedirs(os.path.join(k.v.env["XDG_CONFIG_HOME"], "qemu/firmware"))
        k.v.write("con/qemu/firmware/10-test.json", json.dumps(descriptor))
        k.v.give_away()
        os_xml = "<os firmware='efi'><type machine='q35'>hvm</type></os>"
    dom = k.boots("uefi", os_xml, "virtio")
    expect("GRUB starts Linux" in dom.text() and "efi" in dom.run("ls /sys/firmware"), dom.text()[-1000:])
    mine, = re.findall(r"<nvram[^>]*>([^<]+)<", dom.do("dumpxml"))
    with open(mine, "rb") as f, open(variables, "rb") as g:
        data, template = f.read(), g.read()
    expect(len(data) == len(template) and data != template, f"'{mine}' holds the domain's variables, made of the template")
    k.ends(dom, "--nvram")


BY_DISK = [bios_disk, uefi_disk]


# ---- on KVM ----

# A boot sector: DS is 0, SI the text's place; each byte goes to the serial port when that is ready; then it halts.
SECTOR = bytes.fromhex("31c0 8ed8 be217c ac 84c0 7412 88c3 bafd03 ec a820 74fb baf803 88d8 ee ebe9 f4 ebfd") + b"@@by KVM@@\r\n\0"
CLONE_NEWNS, MS_REC, MS_PRIVATE, MS_BIND = 0x20000, 1 << 14, 1 << 18, 1 << 12


class Kvm:
    """What libvirt's user needs: where /dev/kvm is root's alone, this process gets a view of the file system of its own, in
    which that user has it."""

    def __init__(self, v, machine):
        self.v, self.machine = v, machine

    @staticmethod
    def prepare():
        """Before the daemons start, which inherit the view."""
        if not os.path.exists("/dev/kvm"):
            raise rt.Skip("/dev/kvm is absent")
        who = virt.unprivileged()
        if subprocess.run(["test", "-r", "/dev/kvm", "-a", "-w", "/dev/kvm"], check=False, **who).returncode == 0:
            return
        if not who:
            raise rt.Skip("/dev/kvm is not this user's")
        libc = ctypes.CDLL(None, use_errno=True)

        def mount(what, where, flags):
            if libc.mount(what, where, None, ctypes.c_ulong(flags), None):
                raise OSError(ctypes.get_errno(), f"mount: {os.strerror(ctypes.get_errno())}")
        with tempfile.TemporaryDirectory(prefix="rhea-kvm-") as d:
            mine = os.path.join(d, "kvm")
            try:
                os.mknod(mine, 0o20600, os.stat("/dev/kvm").st_rdev)
                os.chown(mine, who["user"], -1)
                if libc.unshare(CLONE_NEWNS):
                    raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
                mount(b"none", b"/", MS_REC | MS_PRIVATE)
                mount(mine.encode(), b"/dev/kvm", MS_BIND)
                os.close(os.open("/dev/kvm", os.O_RDWR))
            except OSError as e:
                raise rt.Skip(f"/dev/kvm is not for the user of libvirt's daemons, and cannot be made so: {e}") from e


def kvm_domain(k):
    """Defined, started paused, running: firmware starts the guest's first sector, which says so."""
    image = os.path.join(k.v.images, "sector.raw")
    with open(image, "wb") as f:
        f.write(SECTOR.ljust(510, b"\0") + b"\x55\xaa")
        f.truncate(MIB)
    k.v.give_away()
    dev, bus = ("hda", "ide") if k.machine == "pc" else ("sda", "sata")
    dom = virt.Domain(k.v, "kvm", k.machine, f"<os><type machine='{k.machine}'>hvm</type><boot dev='hd'/></os>", f"""
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='{dev}' bus='{bus}'/></disk>
<memballoon model='none'/>""", kind="kvm")
    k.v.watch()
    dom.do("start", "--paused")
    expect(dom.state() == "paused" and dom.qmp("query-kvm") == {"present": True, "enabled": True}, "it is a KVM guest")
    dom.open()
    dom.do("resume")
    expect(dom.state() == "running", dom.state())
    dom.wait("@@by KVM@@")
    dom.do("destroy")
    k.v.event("'lifecycle'.*Stopped Destroyed")
    dom.close()
    dom.do("undefine")


BY_KVM = [kvm_domain]


def guest_suite(machine):
    return lambda v: Guest(v, machine), BY_KERNEL


def disk_suite(machine):
    return lambda v: Disk(v, machine), BY_DISK


def kvm_suite(machine):
    return lambda v: Kvm(v, machine), BY_KVM


SUITES = {"probe": (lambda v: v, [probe]), "pc": guest_suite("pc"), "q35": guest_suite("q35"), "disk_pc": disk_suite("pc"),
          "disk_q35": disk_suite("q35"), "kvm_pc": kvm_suite("pc"), "kvm_q35": kvm_suite("q35")}


def main(name):
    """The steps of a suite as tests: what they share is made by the first, and what follows a failed step is not tried."""
    if name not in SUITES:
        sys.exit(__doc__)
    make, steps = SUITES[name]
    state = {}

    def begin():
        if name.startswith("kvm"):
            Kvm.prepare()
        state["virt"] = virt.Virt()
        state["virt"].__enter__()
        state["with"] = make(state["virt"])

    def step(fn):
        def run():
            if "with" not in state:
                raise rt.Skip("there is no libvirt, see above")
            expect("failed" not in state, f"not tried: {state.get('failed')} failed")
            try:
                return fn(state["with"])
            except rt.Skip:
                raise
            except BaseException:
                state["failed"] = fn.__name__
                raise
        run.__name__ = fn.__name__
        return run

    def end():
        if "virt" in state:
            state["virt"].__exit__(Failure if "failed" in state or "with" not in state else None)
    begin.__name__ = f"libvirt_{name}"
    rt.main(begin, *[step(fn) for fn in steps], end)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")

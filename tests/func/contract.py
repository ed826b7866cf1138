#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What libvirt 9 needs of an emulator, replayed without it: how it starts the program to ask questions and to run a domain
(arguments, descriptors, environment), what it says on the monitor in its order, and what must come back for it to go on. Covers
tools/system (process.c, options), backends/char/socket.c (inherited listening sockets), monitor/qmp*.c as a whole."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import qmp
import rheatest as rt
from qmp import expect

sys.path.insert(0, os.path.join(rt.ROOT, "tests/bench"))
import probe  # noqa: E402

# Replies without which libvirt's probe fails, and what its code looks into.
MUST_ANSWER = {"qmp_capabilities", "query-version", "query-target", "query-qmp-schema", "query-commands", "query-kvm", "qom-list-types",
               "query-machines", "query-cpu-definitions", "query-command-line-options", "query-migrate-capabilities",
               "query-cpu-model-expansion"}
NEEDED_TYPES = ("tcg-accel", "isa-serial", "rng-random", "rng-builtin", "pcie-root-port", "virtio-rng-pci", "virtio-net-pci", "memory-backend-ram",
                "memory-backend-file", "memory-backend-memfd", "max-x86_64-cpu", "vmcoreinfo", "vmgenid", "i8042", "pvpanic", "mch", "ich9-ahci",
                "PIIX4_PM", "ICH9-LPC", "iothread")
LEFT_OUT_TYPES = ("sev-guest", "sgx-epc")  # listing one of them makes libvirt ask for more


class Client(qmp.Client):
    """libvirt sends one command at a time, and each has an id of its own."""

    def __init__(self, path):
        self.asked = 0
        super().__init__(path, negotiate=False)

    def ask(self, name, arguments=None, fds=()):
        """The reply's result; None where it is an error of the class that libvirt bears."""
        self.asked += 1
        request = {"execute": name, "id": f"libvirt-{self.asked}"}
        if arguments is not None:
            request["arguments"] = arguments
        self.send(request, fds)
        m = self.reply()
        expect(m.get("id") == request["id"], f"the id of {name}: {m}")
        if "error" in m:
            expect(m["error"]["class"] in ("DeviceNotFound", "GenericError", "CommandNotFound") and m["error"]["desc"],
                   f"{name} {arguments}: {m}")
            return None
        return m["return"]

    def need(self, name, arguments=None, fds=()):
        result = self.ask(name, arguments, fds)
        expect(result is not None, f"{name} {arguments} is refused")
        return result

    def ends(self):
        try:
            while True:
                self.message()
        except (rt.Failure, ConnectionResetError):
            pass


class Folder:
    """One for each test, with the environment that libvirt leaves."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="rhea-contract-")
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name):
        return os.path.join(self.path, name)

    def environment(self):
        return {"HOME": self.path, "LC_ALL": "C", "PATH": os.environ["PATH"],
                **{k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}}


def members(schema, name):
    return {m["name"] for m in schema[schema[name]["arg-type"]]["members"]}


def contract_probe():
    """Started with -daemonize: the parent ends when the socket listens and the pid file is written; then the questions."""
    with Folder() as d:
        path, pidfile = d.file("qmp.monitor"), d.file("qmp.pid")
        p = subprocess.run([rt.BIN, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg", "-qmp",
                            f"unix:{path},server=on,wait=off", "-pidfile", pidfile, "-daemonize"], env=d.environment(), check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * rt.SLOW)
        expect((p.returncode, p.stdout) == (0, b""), f"the parent: {p}")
        with open(pidfile, encoding="ascii") as f:
            pid = int(f.read())
        try:
            c = Client(path)  # at once: it listens
            version = c.greeting["QMP"]["version"]["qemu"]
            expect((version["major"], version["minor"]) >= (4, 2), f"the version: {version}")
            answers = {}
            for name, arguments in probe.commands():
                tolerated = arguments and "props" in arguments.get("model", ())  # libvirt looks for what cannot migrate
                result = c.need(name, arguments) if name in MUST_ANSWER and not tolerated else c.ask(name, arguments)
                answers[name, json.dumps(arguments)] = result
                if name == "qom-list-properties":
                    expect(isinstance(result, list), f"{name} {arguments}: libvirt 9.0.0 crashes without a list")
            kvm = answers["query-kvm", "null"]
            expect(not kvm["enabled"] or os.access("/dev/kvm", os.W_OK), f"KVM: {kvm}")
            check_answers({k[0]: v for k, v in answers.items() if k[1] == "null"})
            expect(answers["qom-list-properties", json.dumps({"typename": "none-machine"})] is not None, "none-machine")
        finally:
            os.kill(pid, signal.SIGTERM)
        c.ends()


def check_answers(a):
    types = {t["name"] for t in a["qom-list-types"]}
    expect(not set(NEEDED_TYPES) - types, f"types: {set(NEEDED_TYPES) - types}")
    expect(not set(LEFT_OUT_TYPES) & types, "types that make libvirt ask for more")
    machines = {m.get("alias", m["name"]): m for m in a["query-machines"]}
    expect(machines["none"] and all(machines[n]["default-ram-id"] == "pc.ram" and machines[n]["cpu-max"] >= 255 and
                                    machines[n]["default-cpu-type"] == "qemu64-x86_64-cpu" for n in ("pc", "q35")), f"machines: {machines}")
    expect("max" in {cpu["name"] for cpu in a["query-cpu-definitions"]}, "CPU model max")
    expect(isinstance(a["query-migrate-capabilities"], list), "migration capabilities")
    schema = {t["name"]: t for t in a["query-qmp-schema"]}
    listed = {c["name"] for c in a["query-commands"]}
    expect(listed == {t["name"] for t in a["query-qmp-schema"] if t["meta-type"] == "command"}, "commands and their schema")
    expect("json-cli-hotplug" in schema["device_add"].get("features", ()), "-device takes JSON")
    expect("flat" in members(schema, "query-named-block-nodes") and "reboot" in members(schema, "set-action"), "arguments")
    options = {o["option"]: {p["name"] for p in o["parameters"]} for o in a["query-command-line-options"]}
    expect("hpet" in options["machine"], f"-machine hpet=: {options['machine']}")


SECRET = os.urandom(32)


def has_sandbox():
    """libvirt passes -sandbox where query-command-line-options has it."""
    with qmp.Vm("-M", "none") as vm:
        return "sandbox" in {o["option"] for o in qmp.Client(vm.path).call("query-command-line-options")}


class Domain:
    """The minimal domain: a monitor on a listening socket that is inherited, a serial line to an inherited file."""

    def __init__(self, folder, machine, *more):
        self.path, self.log = folder.file("monitor.sock"), folder.file("serial.log")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(1)
        serial, pid = os.open(self.log, os.O_WRONLY | os.O_CREAT, 0o600), os.open(folder.file("pid"), os.O_RDWR | os.O_CREAT, 0o600)
        with open(folder.file("master-key.aes"), "wb") as f:
            f.write(SECRET)
        kernel = rt.asset(rt.guest_assets.kernel, "cloud")
        secret = {"qom-type": "secret", "id": "masterKey0", "format": "raw", "file": folder.file("master-key.aes")}
        memory = {"qom-type": "memory-backend-ram", "id": "pc.ram", "size": 268435456}
        self.c = None
        self.out = open(folder.file("out"), "w+b")
        args = ["-name", "guest=it,debug-threads=on", "-S", "-object", json.dumps(secret), "-machine",
                f"{machine},usb=off,dump-guest-core=off,memory-backend=pc.ram", "-accel", "tcg", "-cpu", "qemu64", "-m", "256", "-object",
                json.dumps(memory), "-overcommit", "mem-lock=off", "-smp", "1,sockets=1,cores=1,threads=1", "-uuid",
                "12345678-1234-1234-1234-123456789abc", "-display", "none", "-no-user-config", "-nodefaults", "-chardev",
                f"socket,id=charmonitor,fd={listener.fileno()},server=on,wait=off", "-mon", "chardev=charmonitor,id=monitor,mode=control",
                "-rtc", "base=utc", "-no-shutdown", "-boot", "strict=on", "-kernel", kernel, "-append", "console=ttyS0 panic=0 quiet",
                "-add-fd", f"set=0,fd={serial},opaque=serial0-source", "-chardev", "file,id=charserial0,path=/dev/fdset/0,append=on", "-device",
                '{"driver":"isa-serial","chardev":"charserial0","id":"serial0","index":0}', "-audiodev", '{"id":"audio1","driver":"none"}',
                "-global", "kvm-pit.lost_tick_policy=delay", "-global", "PIIX4_PM.disable_s3=1", "-global", "ICH9-LPC.noreboot=off", *more]
        if has_sandbox():
            args += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
        self.p = subprocess.Popen([rt.BIN] + args + ["-msg", "timestamp=on"], env=folder.environment(), stdin=subprocess.DEVNULL,
                                  stdout=self.out, stderr=self.out, pass_fds=(listener.fileno(), serial, pid))
        for fd in (serial, pid):
            os.close(fd)
        self.connect()  # before it accepts: the socket listens already
        listener.close()

    def connect(self):
        try:
            self.c = Client(self.path)
        except (OSError, rt.Failure) as e:
            self.p.wait(20 * rt.SLOW)
            raise rt.Failure(f"the monitor: {e}: {self.said()}") from e
        self.c.s.settimeout(120 * rt.SLOW)
        return self.c

    def said(self):
        self.out.seek(0)
        return self.out.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        if self.p.poll() is None:
            self.p.kill() if kind else self.p.terminate()
        status = self.p.wait(60 * rt.SLOW)
        said = self.said()
        self.out.close()
        expect(kind or status == 0, f"status {status}: {said}")
        expect(kind or re.fullmatch(r"(\d{4}-\d\d-\d\dT[\d:.]+Z [^\n]*\n)*", said), f"messages begin with a time stamp: {said}")


def begin(c):
    """What is said between the greeting and cont."""
    c.need("qmp_capabilities")
    names = [i["capability"] for i in c.need("query-migrate-capabilities")]
    c.need("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    chardevs = {i["label"]: i for i in c.need("query-chardev")}
    expect({"charmonitor", "charserial0"} <= set(chardevs), f"character devices: {chardevs}")
    c.need("query-hotpluggable-cpus")
    cpus = c.need("query-cpus-fast")
    expect(cpus and all(k in cpus[0] for k in ("cpu-index", "thread-id", "qom-path", "target", "props")), f"CPUs: {cpus}")
    flags = [p["name"] for p in c.need("qom-list", {"path": cpus[0]["qom-path"]}) if p["type"] == "bool"]
    for flag in flags:
        expect(c.need("qom-get", {"path": cpus[0]["qom-path"], "property": flag}) in (True, False), f"flag {flag}")
    expect(isinstance(c.need("qom-get", {"path": cpus[0]["qom-path"], "property": "unavailable-features"}), list), "unavailable-features")
    c.need("query-iothreads")
    below = {p["name"]: p["type"] for p in c.need("qom-list", {"path": "/machine/peripheral"})}
    expect(below.get("serial0") == "child<isa-serial>", f"devices: {below}")
    c.need("query-named-block-nodes", {"flat": True})
    c.need("query-block")
    return names


def run(machine):
    with Folder() as d, Domain(d, machine) as dom:
        c = dom.c
        names = begin(c)
        c.need("cont")
        c.event("RESUME")  # without it a domain stays paused for ever
        end = time.monotonic() + 120 * rt.SLOW
        while not os.path.getsize(dom.log) and time.monotonic() < end:
            time.sleep(0.1)
        expect(os.path.getsize(dom.log), "the guest says something on its serial line")
        c.need("stop")
        c.event("STOP")
        c.need("cont")
        c.event("RESUME")
        c.need("system_reset")
        expect(c.event("RESET")["data"]["guest"] is False, "RESET")
        c.need("qom-list", {"path": "/machine/peripheral"})
        c.need("send-key", {"keys": [{"type": "number", "data": 42}, {"type": "number", "data": 30}]})
        c.need("set-action", {"reboot": "shutdown"})
        c.need("set-action", {"reboot": "reset"})
        c.need("inject-nmi") # firmware that has no handler yet may reset the machine: not before what a reset does is set back
        for name, arguments in (("query-stats", {"target": "vcpu"}), ("query-stats", {"target": "vm"}), ("query-blockstats", {}),
                                ("query-blockstats", {"query-nodes": True}), ("query-stats-schemas", {}), ("query-dirty-rate", {})):
            c.ask(name, arguments)
        c.need("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": False} for n in names]})
        expect(c.need("human-monitor-command", {"command-line": "info status"}).startswith("VM status: running"), "the human monitor")
        attach(c, machine)
        # The daemon restarts: another client, which asks what there is.
        c.close()
        c = dom.connect()
        c.need("qmp_capabilities")
        c.need("query-migrate-capabilities")
        expect(c.need("query-status")["status"] == "running", "the state that a new client hears")
        for name in ("query-jobs", "query-block-jobs", "query-chardev", "query-hotpluggable-cpus", "query-cpus-fast", "query-iothreads", "query-block"):
            c.need(name)
        c.need("system_powerdown")
        c.event("POWERDOWN")
        dom.p.send_signal(signal.SIGTERM)
        told = c.event("SHUTDOWN")["data"]
        expect(told == {"guest": False, "reason": "host-signal"}, f"SHUTDOWN: {told}")
        c.ends()


def attach(c, machine):
    """Objects come and go, a descriptor comes along with its command."""
    c.need("object-add", {"qom-type": "rng-builtin", "id": "objrng1"})
    c.need("object-del", {"id": "objrng1"})
    c.need("object-add", {"qom-type": "iothread", "id": "iothread3"})
    expect([t["id"] for t in c.need("query-iothreads")] == ["iothread3"], "the iothread")
    c.need("object-del", {"id": "iothread3"})
    with tempfile.TemporaryFile() as f:
        c.need("getfd", {"fdname": "migrate"}, fds=[f.fileno()])
    c.need("closefd", {"fdname": "migrate"})
    c.need("blockdev-add", {"driver": "null-co", "node-name": "libvirt-1-storage", "size": 1 << 20, "read-zeroes": True})
    c.need("blockdev-add", {"driver": "raw", "node-name": "libvirt-1-format", "read-only": False, "file": "libvirt-1-storage"})
    c.need("blockdev-del", {"node-name": "libvirt-1-format"})
    c.need("blockdev-del", {"node-name": "libvirt-1-storage"})


def contract_pc():
    run("pc")


def contract_q35():
    run("q35")


def contract_power_off():
    """A guest's power-off is told, and the process stays until it is ended."""
    with Folder() as d:
        initrd = rt.once("echo bye")
        try:
            with Domain(d, "q35", "-initrd", initrd) as dom:
                begin(dom.c)
                dom.c.need("cont")
                told = dom.c.event("SHUTDOWN")["data"]
                expect(told == {"guest": True, "reason": "guest-shutdown"}, f"SHUTDOWN: {told}")
                dom.c.event("STOP")
                expect(dom.c.need("query-status")["status"] == "shutdown", "it stays")
        finally:
            os.unlink(initrd)


def contract_wrong():
    """What cannot start says so in one line, which libvirt shows to its user."""
    with Folder() as d:
        p = subprocess.run([rt.BIN, "-nodefaults", "-display", "none", "-device", "nothing", "-msg", "timestamp=on"], env=d.environment(),
                           stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60 * rt.SLOW, check=False)
        expect(p.returncode == 1 and re.fullmatch(rb"\d{4}-\S+Z [^\n]*-device nothing: [^\n]*\n([^\n]*\n)?", p.stderr), f"{p}")


if __name__ == "__main__":
    rt.main(*(globals()[n] for n in sys.argv[1:] or ("contract_probe", "contract_pc", "contract_q35", "contract_power_off", "contract_wrong")))

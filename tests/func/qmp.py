#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""QMP of the whole program over unix sockets, with a client that knows nothing but JSON: what management programs do.
Covers monitor/qmp.c, qmp_frame.c, qmp_schema.c, qmp_core.c, qmp_char.c, qmp_qom.c, qmp_state.c, tools/system (qmp_block.c, qmp_pci.c, qmp_input.c, options -qmp,
-qmp-pretty, -mon mode=control), system/host.c, block/file.c (sets of descriptors)."""
import array
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

import rheatest
from rheatest import Failure, Skip


class Client:
    """One session. Events that come between are kept."""

    def __init__(self, path, negotiate=True):
        self.events, self.data = [], b""
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(20 * rheatest.SLOW)
        end = time.monotonic() + 20 * rheatest.SLOW
        while True:
            try:
                self.s.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.greeting = self.message()
        if negotiate:
            self.call("qmp_capabilities")

    def message(self):
        while b"\n" not in self.data:
            more = self.s.recv(65536)
            if not more:
                raise Failure("the connection ended")
            self.data += more
        line, _, self.data = self.data.partition(b"\n")
        return json.loads(line)

    def send(self, data, fds=()):
        if isinstance(data, dict):
            data = json.dumps(data).encode() + b"\n"
        self.s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])

    def reply(self):
        while True:
            m = self.message()
            if "event" not in m:
                return m
            self.events.append(m)

    def call(self, name, /, fds=(), **arguments):
        m = self.try_call(name, fds, **arguments)
        if "error" in m:
            raise Failure(f"{name} {arguments}: {m['error']}")
        return m["return"]

    def try_call(self, name, /, fds=(), **arguments):
        request = {"execute": name, "id": name}
        if arguments:
            request["arguments"] = {k.replace("_", "-") if "_" in k else k: v for k, v in arguments.items()}
        self.send(request, fds)
        m = self.reply()
        expect(m.get("id") == name, f"the id of {name} comes back: {m}")
        return m

    def event(self, name):
        for i, e in enumerate(self.events):
            if e["event"] == name:
                return self.events.pop(i)
        while True:
            m = self.message()
            expect("event" in m, f"an event, not {m}")
            if m["event"] == name:
                return m
            self.events.append(m)

    def close(self):
        self.s.close()


def expect(ok, what):
    if not ok:
        raise Failure(what)


class Vm:
    """The program with QMP on a socket."""

    def __init__(self, *args, option="-qmp", binary=None, close_fds=True, cwd=None):
        self.dir = tempfile.mkdtemp(prefix="rhea-qmp-")
        self.path = os.path.join(self.dir, "q")
        self.err = open(os.path.join(self.dir, "err"), "w+b")
        base = [binary or rheatest.BIN, "-nodefaults", "-display", "none", "-S"] + ([] if "-accel" in args else ["-accel", "tcg"])
        self.p = subprocess.Popen(base + list(args) + [option, f"unix:{self.path},server=on,wait=off"],
                                  close_fds=close_fds, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.err)

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        if self.p.poll() is None:
            self.p.kill() if kind else self.p.terminate()
        try:
            status = self.p.wait(20 * rheatest.SLOW)
            self.err.seek(0)
            said = self.err.read().decode("utf-8", "replace")
        finally:
            self.p.kill()
            shutil.rmtree(self.dir, ignore_errors=True)
            self.err.close()
        expect(kind or status == 0, f"exit status {status}:\n{said[:6000]}\n...\n{said[-6000:]}")


def qmp_session():
    """The life of a machine, as a management program sees it."""
    with Vm("-M", "pc", "-m", "32M", "-smp", "2", "-name", "guest=it", "-uuid", "12345678-1234-1234-1234-123456789abc",
            "-device", "isa-serial,id=com") as vm:
        c = Client(vm.path)
        expect(c.greeting["QMP"]["version"]["qemu"]["major"] >= 7, "the version is new enough for libvirt")
        expect(c.call("query-status") == {"running": False, "singlestep": False, "status": "prelaunch"}, "prelaunch")
        expect(c.call("query-name") == {"name": "it"}, "the name")
        expect(c.call("query-uuid")["UUID"] == "12345678-1234-1234-1234-123456789abc", "the UUID")
        expect(c.call("query-target") == {"arch": "x86_64"}, "the target")
        expect(c.call("query-kvm")["enabled"] is False, "no KVM with -accel tcg")
        expect(c.call("query-memory-size-summary")["base-memory"] == 32 << 20, "the memory")
        cpus = c.call("query-cpus-fast")
        threads = {str(cpu["thread-id"]) for cpu in cpus}
        expect(len(cpus) == len(threads) == 2 and threads <= set(os.listdir(f"/proc/{vm.p.pid}/task")),
               f"CPUs have threads: {cpus}")
        machines = {m["name"]: m for m in c.call("query-machines")}
        expect("none" in machines and any(m.get("alias") == "pc" for m in machines.values()), "machine types")
        c.call("cont")
        c.event("RESUME")
        expect(c.call("query-status")["status"] == "running", "it runs")
        c.call("stop")
        stamp = c.event("STOP")["timestamp"]
        expect(abs(stamp["seconds"] - time.time()) < 60 and 0 <= stamp["microseconds"] < 1000000, "time stamps")
        c.call("system_reset")
        expect(c.event("RESET")["data"] == {"guest": False, "reason": "host-qmp-system-reset"}, "the reset's reason")
        expect(c.call("human-monitor-command", command_line="info name") == "it\r\n", "the human monitor")
        c.call("quit")
        expect(c.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}, "the end's reason")
        vm.p.wait(20 * rheatest.SLOW)


def qmp_objects():
    """Types, properties, paths."""
    with Vm("-M", "pc", "-m", "32M", "-device", "isa-serial,id=com") as vm:
        c = Client(vm.path)
        types = {t["name"]: t.get("parent") for t in c.call("qom-list-types")}
        expect("tcg-accel" in types and types["isa-serial"] == "isa-device" and "memory-backend-ram" in types,
               "types libvirt looks for")
        devices = {t["name"] for t in c.call("qom-list-types", implements="device")}
        expect("isa-serial" in devices and "tcg-accel" not in devices, "types by what they derive from")
        below = {p["name"]: p["type"] for p in c.call("qom-list", path="/machine/peripheral")}
        expect(below.get("com") == "child<isa-serial>", f"devices by id: {below}")
        props = {p["name"]: p for p in c.call("device-list-properties", typename="isa-serial")}
        for name, p in props.items():
            m = c.try_call("qom-get", path="/machine/peripheral/com", property=name)
            expect("return" in m, f"property {name} can be read: {m}")
        expect(c.call("qom-get", path="/machine/peripheral/com", property="type") == "isa-serial", "the type")
        boards = c.call("qom-list-properties", typename="none-machine")
        expect(isinstance(boards, list), "a list, whatever is in it")
        for name in ("device-list-properties", "qom-list-properties"):
            expect(c.try_call(name, typename="nothing")["error"]["class"] == "DeviceNotFound", "unknown types")
        expect(c.try_call("qom-list", path="/machine/nothing")["error"]["class"] == "DeviceNotFound", "unknown paths")
        for cpu in c.call("query-cpus-fast"):
            expect(c.call("qom-get", path=cpu["qom-path"], property="type").endswith("-x86_64-cpu"), "CPUs are objects")


def qmp_descriptors():
    """getfd, a second client after the first one, and several monitors."""
    with Vm("-M", "none", "-qmp-pretty", "stdio") as vm, tempfile.TemporaryFile() as file:
        c = Client(vm.path)
        expect("error" in c.try_call("getfd", fdname="none"), "getfd without a descriptor")
        before = len(os.listdir(f"/proc/{vm.p.pid}/fd"))
        c.call("getfd", fds=[file.fileno()], fdname="one")
        expect(len(os.listdir(f"/proc/{vm.p.pid}/fd")) == before + 1, "the descriptor has arrived")
        c.call("getfd", fds=[file.fileno()], fdname="one")
        expect(len(os.listdir(f"/proc/{vm.p.pid}/fd")) == before + 1, "the older one is closed")
        c.call("closefd", fdname="one")
        expect(len(os.listdir(f"/proc/{vm.p.pid}/fd")) == before, "and closefd closes it")
        for _ in range(40):
            c.call("query-name", fds=[file.fileno()] * 8)
        c.close()
        c = Client(vm.path)  # what the first one sent and nobody took is gone
        expect(len(os.listdir(f"/proc/{vm.p.pid}/fd")) <= before, "no descriptor is left over")
        c.call("query-version")
        for _ in range(3):
            c.close()
            c = Client(vm.path)
        one, two = socket.socketpair()
        c.call("getfd", fds=[two.fileno()], fdname="sock")
        two.close()
        expect(c.call("human-monitor-command", command_line="chardev-add socket,id=s,fd=sock") == "", "fd=NAME")
        one.close()


def qmp_fdsets():
    """add-fd, -add-fd and /dev/fdset/N."""
    with tempfile.TemporaryFile() as file, tempfile.NamedTemporaryFile() as ro, open(ro.name, "wb") as log:
        os.set_inheritable(log.fileno(), True)
        with Vm("-M", "none", "-add-fd", f"set=2,fd={log.fileno()},opaque=log", "-chardev",
                "null,id=logged,logfile=/dev/fdset/2,logappend=on", close_fds=False) as vm:
            c = Client(vm.path)
            expect(c.call("query-fdsets")[0]["fds"][0]["opaque"] == "log", "the set of the command line")
            added = c.call("add-fd", fds=[file.fileno()], fdset_id=5, opaque="x,y")
            with open(ro.name, "rb") as r:
                expect(c.call("add-fd", fds=[r.fileno()])["fdset-id"] == 0, "the lowest number that is free")
            sets = {s["fdset-id"]: s["fds"] for s in c.call("query-fdsets")}
            expect(sorted(sets) == [0, 2, 5] and sets[5] == [{"fd": added["fd"], "opaque": "x,y"}], f"sets: {sets}")
            out = {"type": "file", "data": {"out": "/dev/fdset/5", "append": True}}
            wrong = c.try_call("chardev-add", id="w", backend=out)  # it is open for reading and writing
            expect("Permission denied" in wrong["error"]["desc"], f"the access must fit: {wrong}")
            with open(f"/proc/self/fd/{file.fileno()}", "wb") as w:
                c.call("add-fd", fds=[w.fileno()], fdset_id=5)
            c.call("chardev-add", id="w", backend=out)
            c.call("remove-fd", fdset_id=5, fd=added["fd"])
            c.call("remove-fd", fdset_id=5)
            expect("no descriptor set 5" in c.try_call("remove-fd", fdset_id=5)["error"]["desc"], "it is gone")
            expect("error" in c.try_call("add-fd"), "a descriptor must come along")
            expect("error" in c.try_call("add-fd", fds=[file.fileno()], fdset_id=-1), "numbers are not negative")
            gone = c.try_call("chardev-add", id="v", backend=out)
            expect("no descriptor set 5" in gone["error"]["desc"], f"a set that is gone: {gone}")
            c.call("chardev-remove", id="w")


def held_files(vm, path):
    """How many descriptors of the program are the file's."""
    folder = f"/proc/{vm.p.pid}/fd"
    links = []
    for fd in os.listdir(folder):
        try:
            links.append(os.readlink(os.path.join(folder, fd)))
        except OSError:
            pass  # closed meanwhile
    return links.count(path)


def qmp_fdset_images():
    """Images by /dev/fdset/N, of the command line and of QMP; sets that end with their last user."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "disk.img")
        with open(path, "wb") as f:
            f.write(b"rhea" * 16384)
        rw, ro = os.open(path, os.O_RDWR | os.O_APPEND), os.open(path, os.O_RDONLY)
        for fd in (rw, ro):
            os.set_inheritable(fd, True)
        with Vm("-M", "pc", "-m", "32M", "-add-fd", f"fd={rw},set=1,opaque=rw", "-add-fd", f"fd={ro},set=1",
                "-add-fd", f"fd={ro},set=3", "-drive", "file=/dev/fdset/1,format=raw,id=d,if=none", "-device", "ide-hd,drive=d",
                close_fds=False) as vm:
            c = Client(vm.path)
            info = c.call("query-block")[0]["inserted"]
            expect(info["file"] == "/dev/fdset/1" and not info["ro"] and info["image"]["virtual-size"] == 65536, f"it is open: {info}")
            expect(held_files(vm, path) == 4, f"three in sets, one in use: what was inherited is closed, {held_files(vm, path)}")
            node = {"driver": "raw", "node-name": "n", "read-only": True, "file": {"driver": "file", "filename": "/dev/fdset/3"}}
            c.call("blockdev-add", **node)
            c.call("blockdev-del", node_name="n")
            wrong = c.try_call("blockdev-add", **{**node, "read-only": False})
            expect("no descriptor of set 3 is open for reading and writing" in wrong["error"]["desc"], f"the access must fit: {wrong}")
            auto = {**node, "read-only": False, "auto-read-only": True, "file": {**node["file"], "auto-read-only": True}}
            c.call("blockdev-add", **auto)
            expect([n for n in c.call("query-named-block-nodes") if n["node-name"] == "n"][0]["ro"], "auto-read-only")
            c.call("blockdev-del", node_name="n")
            gone = c.try_call("blockdev-add", **{**node, "file": {"driver": "file", "filename": "/dev/fdset/9"}})
            expect("no descriptor set 9" in gone["error"]["desc"], f"no such set: {gone}")
            with tempfile.TemporaryFile() as pipe:
                c.call("add-fd", fds=[pipe.fileno()], fdset_id=7)
            c.call("blockdev-add", **{**node, "read-only": False, "file": {"driver": "file", "filename": "/dev/fdset/7"}})
            # The machine runs and nobody is there: what is not in use goes.
            c.close()
            c = Client(vm.path)
            expect(len(c.call("query-fdsets")) == 3, "a stopped machine keeps its sets")
            c.call("cont")
            c.close()
            c = Client(vm.path)
            expect([s["fdset-id"] for s in c.call("query-fdsets")] == [1, 7], f"sets in use stay: {c.call('query-fdsets')}")
            expect(held_files(vm, path) == 3, "and the other one's descriptor is closed")
            c.call("blockdev-del", node_name="n")
            c.close()
            c = Client(vm.path)
            expect([s["fdset-id"] for s in c.call("query-fdsets")] == [1], "a set that is no longer in use goes")
        os.close(rw)
        os.close(ro)


def qmp_mon():
    """-chardev and -mon mode=control,pretty=on; a listening descriptor that is inherited."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "q")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen(1)
        os.set_inheritable(server.fileno(), True)
        p = subprocess.Popen([rheatest.BIN, "-nodefaults", "-display", "none", "-M", "none", "-S",
                              "-chardev", f"socket,id=charmonitor,fd={server.fileno()},server=on,wait=off",
                              "-mon", "chardev=charmonitor,id=monitor,mode=control"], close_fds=False)
        try:
            for _ in range(2):
                c = Client(path)
                expect(c.call("query-chardev")[0]["label"] == "charmonitor", "the chardev")
                c.close()
            Client(path).call("quit")
            expect(p.wait(20 * rheatest.SLOW) == 0, "the end")
        finally:
            p.kill()
            server.close()
    refused = subprocess.run([rheatest.BIN, "-M", "none", "-nodefaults", "-chardev", "null,id=n,mux=on", "-mon",
                              "n,mode=control"], capture_output=True, text=True, check=False)
    expect(refused.returncode == 1 and "mux=on" in refused.stderr, "QMP on a shared chardev is refused")


def qmp_memory():
    """Memory as objects, and memory in files."""
    with Vm("-M", "pc", "-m", "32M", "-object", "memory-backend-ram,id=all,size=32M", "-machine",
            "memory-backend=all") as vm:
        c = Client(vm.path)
        c.call("object-add", **{"qom_type": "memory-backend-ram", "id": "m", "size": 1 << 20})
        again = c.try_call("object-add", **{"qom_type": "memory-backend-memfd", "id": "m", "size": 1 << 20})
        expect("already" in again["error"]["desc"], f"ids are unique: {again}")
        wrong = c.try_call("object-add", **{"qom_type": "memory-backend-ram", "id": "n"})
        expect(wrong["error"]["data"] == {"code": "missing-member", "member": "size", "hint": "give it: bytes"}, f"a size is needed: {wrong}")
        c.call("object-del", id="m")
        expect(c.try_call("object-del", id="m")["error"]["data"]["code"] == "not-found", "it is gone")
        expect("in use" in c.try_call("object-del", id="all")["error"]["desc"], "memory of the machine stays")
        hmp = c.call("human-monitor-command", command_line="object_add memory-backend-ram,id=h,size=1M")
        expect(hmp == "" and c.call("human-monitor-command", command_line="object_del h") == "", "the human monitor")
        path = os.path.join(vm.dir, "dump")
        c.call("pmemsave", val=0xfffffff0, size=16, filename=path)
        with open(path, "rb") as f:
            reset_vector = f.read()
        c.call("memsave", val=0xfffffff0, size=16, filename=path)
        with open(path, "rb") as f:
            expect(len(reset_vector) == 16 and any(reset_vector) and f.read() == reset_vector, "the reset vector")
        for bad in ({"val": 0, "size": -1}, {"val": 0, "size": 1, "cpu_index": 7}):
            expect("out-of-range" == c.try_call("memsave", filename=path, **bad)["error"]["data"]["code"], f"{bad}")
        expect("error" in c.try_call("pmemsave", val=0, size=1, filename="/nowhere/x"), "no such folder")


def qmp_secrets():
    """Secrets: in a file of the command line, by object-add, encrypted; beside a place for sound, as libvirt starts machines."""
    with tempfile.NamedTemporaryFile() as key:
        key.write(bytes(range(32)))
        key.flush()
        with Vm("-M", "none", "-object", json.dumps({"qom-type": "secret", "id": "masterKey0", "format": "raw", "file": key.name}),
                "-audiodev", '{"id":"audio1","driver":"none"}', "-audiodev",
                "none,id=audio2,timer-period=2000,in.voices=0x2,out.mixing-engine=off,out.buffer-length=10000") as vm:
            c = Client(vm.path)
            expect("secret" in {t["name"] for t in c.call("qom-list-types")}, "a type")
            props = {p["name"]: p["type"] for p in c.call("qom-list-properties", typename="secret")}
            expect(props == {"type": "string", "data": "string", "file": "string", "format": "SecretFormat", "keyid": "string",
                             "iv": "string"}, f"its properties: {props}")
            kinds = [e for e in c.call("query-qmp-schema") if e["meta-type"] == "enum" and "rng-random" in e["values"]]
            expect("secret" in kinds[0]["values"], "libvirt writes -object as JSON then")
            one = {"qom_type": "secret", "id": "one"}
            c.call("object-add", **one, data="letmein")
            expect("already" in c.try_call("object-add", **one, data="x")["error"]["desc"], "ids are unique")
            wrong = c.try_call("object-add", **{**one, "id": "two"}, data="x", keyid="one", iv="AAECAwQFBgcICQoLDA0ODw==")
            expect("secret 'one' has 7 bytes, and a key has 32" in wrong["error"]["desc"], f"{wrong}")
            # "letmein" by OpenSSL with key and vector 0, 1, 2...
            coded = {"data": "SI4JuWqmJF8bjD9IJ662eg==", "format": "base64", "keyid": "masterKey0", "iv": "AAECAwQFBgcICQoLDA0ODw=="}
            m = c.try_call("object-add", **{**one, "id": "two"}, **coded)
            expect("return" in m or "no nettle" in m["error"]["desc"], f"encrypted as libvirt does: {m}")
            c.call("object-del", id="masterKey0")
            m = c.try_call("object-add", **{**one, "id": "three"}, **coded)
            expect("no secret 'masterKey0'" in m["error"]["desc"], f"{m}")
            expect(c.call("human-monitor-command", command_line="object_add secret,id=four,data=x") == "", "the human monitor")
            for name in ("one", "four"):
                c.call("object-del", id=name)
            expect(c.try_call("object-del", id="one")["error"]["data"]["code"] == "not-found", "it is gone")
            keyring = c.try_call("object-add", qom_type="secret_keyring", id="k", serial=1)
            expect("secret_keyring" in keyring["error"]["desc"], f"not from the keyring: {keyring}")


def qmp_cpus():
    """CPU models, and the properties of a CPU."""
    with Vm("-M", "pc", "-m", "32M", "-cpu", "Nehalem,-sse4.2", "-smp", "2") as vm:
        c = Client(vm.path)
        models = {m["name"]: m for m in c.call("query-cpu-definitions")}
        expect({"max", "host", "base", "qemu64"} <= set(models), f"CPU models: {sorted(models)}")
        expect(models["qemu64"]["typename"] == "qemu64-x86_64-cpu" and models["base"]["static"], "what they are")
        types = {t["name"] for t in c.call("qom-list-types", implements="cpu")}
        expect({m["typename"] for m in models.values()} == types, "types of CPUs")
        for kind, name in (("static", "base"), ("full", "Nehalem")):
            m = c.call("query-cpu-model-expansion", type=kind, model={"name": "Nehalem", "props": {"sse4.2": False}})
            props = m["model"]["props"]
            expect(m["model"]["name"] == name and props["sse4.1"] and not props["sse4.2"] and props["family"] == 6,
                   f"an expansion: {m}")
        c.call("query-cpu-model-expansion", type="static", model={"name": "max"})
        for model in ({"name": "Nehalem", "props": {"a,b": 1}}, {"name": "Nehalem", "props": {"": True}}, {"name": ""},
                      {"name": "a,b"}, {"name": "Nehalem", "props": [1]}, {"name": "Nehalem", "props": {"sse3": None}},
                      {"name": "Nehalem", "props": {"vendor": {"x": 1, "y": 2}}}):
            expect("error" in c.try_call("query-cpu-model-expansion", type="full", model=model), f"no model: {model}")
        # What was reported can be given back.
        again = ",".join(f"{k}={'on' if v is True else 'off' if v is False else v}" for k, v in props.items())
        path = c.call("query-cpus-fast")[1]["qom-path"]
        listed = {p["name"]: p["type"] for p in c.call("qom-list", path=path)}
        expect(listed["avx2"] == "bool" and listed["unavailable-features"] == "strList", "properties of a CPU")
        for name in listed:
            value = c.call("qom-get", path=path, property=name)
            settled = name in ("phys-bits", "tsc-frequency")  # 0: as the machine has it
            expect(settled or name not in props or value == props[name], f"{name} of a CPU is {value}")
        expect(len(c.call("query-hotpluggable-cpus")) == 2, "places of CPUs")
        c.call("inject-nmi")
        options = {o["option"]: {p["name"] for p in o["parameters"]} for o in c.call("query-command-line-options")}
        expect("hpet" in options["machine"] and "path" in options["chardev"], f"options: {options}")
        expect(len(c.call("query-command-line-options", option="rtc")) == 1, "one option")
    with Vm("-M", "pc", "-m", "32M", "-cpu", "Nehalem," + again) as vm:
        c = Client(vm.path)
        expect(not c.call("qom-get", path=path.replace("[1]", "[0]"), property="sse4.2"), "the same CPU")


def qmp_disks():
    """Nodes, disks, and media that are changed."""
    with tempfile.TemporaryDirectory() as folder:
        images = [os.path.join(folder, f"{i}.img") for i in range(3)]
        for i, image in enumerate(images):
            with open(image, "wb") as f:
                f.truncate((i + 1) << 20)
        drive = f"file={images[0]},format=raw,id=disk,stats-intervals.0=60,stats-intervals.1=3600,stats-account-failed=off"
        with Vm("-M", "pc", "-m", "32M", "-drive", drive, "-device", "ide-cd,id=cd,bus=ide.1,account-invalid=off", "-blockdev",
                "null-co,node-name=null,size=1M", "-device", "virtio-blk-pci,drive=null,id=vd") as vm:
            c = Client(vm.path)
            disks = {d["device"] or d["qdev"]: d for d in c.call("query-block")}
            expect(disks["disk"]["inserted"]["image"]["virtual-size"] == 1 << 20, f"the disk: {disks}")
            cd = disks["cd"]
            expect(cd["removable"] and "inserted" not in cd and cd["tray_open"] is False, f"the empty CD drive: {cd}")
            c.call("block-latency-histogram-set", id="cd", boundaries=[1000, 2000], boundaries_read=[10])
            stats = {s["device"] or s["qdev"]: s for s in c.call("query-blockstats")}
            expect(stats["disk"]["stats"]["wr_operations"] == 0 and stats["disk"]["parent"]["stats"]["wr_highest_offset"] == 0,
                   f"statistics: {stats}")
            expect([t["interval_length"] for t in stats["disk"]["stats"]["timed_stats"]] == [60, 3600] and
                   stats["disk"]["stats"]["account_failed"] is False and stats["disk"]["stats"]["account_invalid"] is True and
                   "driver-specific" not in stats["disk"] and stats["disk"]["parent"]["driver-specific"] ==
                   {"driver": "file", "discard-nb-ok": 0, "discard-nb-failed": 0, "discard-bytes-ok": 0}, f"more: {stats}")
            cd = stats["cd"]["stats"]
            expect(cd["timed_stats"] == [] and cd["account_invalid"] is False and cd["account_failed"] is True, f"the CD: {cd}")
            expect(cd["rd_latency_histogram"] == {"boundaries": [10], "bins": [0, 0]} and
                   cd["flush_latency_histogram"]["bins"] == [0, 0, 0], f"histograms: {cd}")
            c.call("block-latency-histogram-set", id="cd", boundaries_read=[])
            c.call("block-latency-histogram-set", id="cd")
            cd = {s["qdev"]: s for s in c.call("query-blockstats") if "qdev" in s}["cd"]["stats"]
            expect("rd_latency_histogram" not in cd and "wr_latency_histogram" not in cd, f"no histograms: {cd}")
            expect("boundaries" in str(c.try_call("block-latency-histogram-set", id="cd", boundaries=[2, 1])["error"]), "rising")
            expect(len(c.call("query-blockstats", query_nodes=True)) == 3, "the nodes")
            expect("disk: rd_bytes=" in c.call("human-monitor-command", command_line="info blockstats"), "for people")
            c.call("blockdev-add", **{"driver": "raw", "node_name": "f", "read_only": True,
                                      "file": {"driver": "file", "filename": images[1]}})
            nodes = {n["node-name"]: n for n in c.call("query-named-block-nodes", flat=True)}
            expect(nodes["f"]["ro"] and nodes["f"]["image"]["virtual-size"] == 2 << 20, f"nodes: {nodes}")
            expect("error" in c.try_call("blockdev-insert-medium", id="cd", node_name="f"), "the tray is shut")
            c.call("blockdev-open-tray", id="cd")
            expect(c.event("DEVICE_TRAY_MOVED")["data"] == {"device": "", "id": "cd", "tray-open": True}, "its event")
            c.call("blockdev-insert-medium", id="/machine/peripheral/cd", node_name="f")
            c.call("blockdev-close-tray", id="cd")
            cd = [d for d in c.call("query-block") if d.get("qdev") == "cd"][0]
            expect(cd["inserted"]["node-name"] == "f", "the medium")
            busy = c.try_call("blockdev-del", node_name="f")
            expect("in use" in busy["error"]["desc"], f"a node that is used stays: {busy}")
            c.call("eject", id="cd")
            c.call("blockdev-del", node_name="f")
            def bitmap(command, **more):
                c.send({"execute": "block-dirty-bitmap-" + command, "id": "b", "arguments": {"node": "disk", **more}})
                return c.reply()

            expect("return" in bitmap("add", name="a"), "add")
            expect("return" in bitmap("add", name="b", granularity=4096, disabled=True), "add")

            def bitmaps():
                disk = [d for d in c.call("query-block") if d["device"] == "disk"][0]
                return [(b["name"], b["granularity"], b["recording"], b["count"], b["persistent"], b["busy"])
                        for b in disk["inserted"].get("dirty-bitmaps", [])]

            expect(bitmaps() == [("a", 65536, True, 0, False, False), ("b", 4096, False, 0, False, False)], bitmaps())
            expect("return" in bitmap("disable", name="a"), "disable")
            expect("return" in bitmap("enable", name="b"), "enable")
            expect("return" in bitmap("merge", target="b", bitmaps=["a", {"node": "disk", "name": "a"}]), "merge")
            expect("return" in bitmap("clear", name="b"), "clear")
            expect([b[2] for b in bitmaps()] == [False, True], "who records")
            for cmd, more in (("add", {"name": "a"}), ("add", {"name": "x", "granularity": 3}), ("remove", {"name": "x"}),
                              ("add", {"name": "x", "persistent": True}), ("merge", {"target": "b", "bitmaps": ["x"]})):
                expect("error" in bitmap(cmd, **more), f"{cmd} {more} is refused")
            expect("return" in bitmap("remove", name="a"), "remove")
            expect("return" in bitmap("remove", name="b"), "remove")
            expect(bitmaps() == [], "bitmaps that are removed")
            none = {k: 0 for k in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")}
            inner = "/machine/peripheral/vd/virtio-backend"  # QEMU has two objects, and libvirt goes by the inner one's path
            expect(inner in disks and inner in {s.get("qdev") for s in c.call("query-blockstats")}, f"a virtio disk: {disks}")
            for path in ("vd", inner, "/machine/peripheral/vd"):
                c.send({"execute": "block_set_io_throttle", "id": "t", "arguments": {"id": path, **none}})
                expect(c.reply() == {"return": {}, "id": "t"}, f"it is found as {path}")
            expect(c.call("qom-get", path=inner, property="drive") == "null", "its properties")
            expect("error" in c.try_call("qom-list", path="/machine/peripheral/cd/virtio-backend"), "others have none")
            limits = {"id": "/machine/peripheral/cd", **none}
            c.send({"execute": "block_set_io_throttle", "id": "t", "arguments": {**limits, "bps": 1000, "bps_max": 5000,
                                                                               "group": "g"}})
            expect(c.reply() == {"return": {}, "id": "t"}, "limits are set")
            c.send({"execute": "block_set_io_throttle", "id": "t", "arguments": {**limits, "bps": 1, "bps_rd": 1}})
            expect("exclude each other" in c.reply()["error"]["desc"], "limits that contradict each other")
            c.call("object-add", **{"qom_type": "throttle-group", "id": "tg", "limits": {"iops-total": 70}, "x_bps_read": 9})
            c.send({"execute": "block_set_io_throttle", "id": "t", "arguments": {**limits, "group": "tg"}})
            expect(c.reply() == {"return": {}, "id": "t"}, "it joins a group")
            busy = c.try_call("object-del", id="tg")
            expect("in use" in busy["error"]["desc"], f"a group that is used stays: {busy}")
            c.send({"execute": "block_set_io_throttle", "id": "t", "arguments": {**limits, "bps": 1000, "bps_max": 5000,
                                                                               "group": "g"}})
            expect(c.reply() == {"return": {}, "id": "t"}, "it changes to another group")
            c.call("object-del", id="tg")
            gone = c.try_call("blockdev-del", node_name="f")
            expect("there is no block node" in gone["error"]["desc"], f"a node is closed once: {gone}")
            c.call("blockdev-change-medium", id="cd", filename=images[2])
            cd = [d for d in c.call("query-block") if d.get("qdev") == "cd"][0]
            now = cd["inserted"]
            expect(now["bps"] == 1000 and now["bps_max"] == 5000 and now["bps_rd"] == 0 and now["group"] == "g",
                   f"the limits are told: {now}")
            expect(cd["inserted"]["image"]["virtual-size"] == 3 << 20 and cd["tray_open"] is False, f"another medium: {cd}")
            both = c.try_call("eject", id="cd", device="disk")
            expect("exclude" in both["error"]["desc"] and "error" in c.try_call("eject"), "one name")


def qmp_chardevs():
    """chardev-add of each kind that needs nothing, and a socket that is served."""
    with Vm("-M", "none") as vm:
        c = Client(vm.path)
        path = os.path.join(vm.dir, "s")
        c.call("chardev-add", id="sock", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": path}}}})
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)  # it listens, and does not wait
        tcp = {"host": "127.0.0.1", "port": "0"}
        for server in ({}, {"server": True, "wait": False}):
            c.call("chardev-add", id="tcp", backend={"type": "socket", "data": {
                "addr": {"type": "inet", "data": tcp}, **server}})
            c.call("chardev-remove", id="tcp")
        c.call("chardev-add", id="file", backend={"type": "file", "data": {"out": os.path.join(vm.dir, "f")}})
        c.call("chardev-add", id="ring", backend={"type": "ringbuf", "data": {"size": 4096}})
        c.call("chardev-add", id="nil", backend={"type": "null", "data": {}})
        pty = c.call("chardev-add", id="pty", backend={"type": "pty", "data": {}})["pty"]
        expect(os.path.exists(pty), "a terminal")
        labels = {x["label"] for x in c.call("query-chardev")}
        expect({"sock", "file", "ring", "nil", "pty"} <= labels, f"they are all there: {labels}")
        yank = [{"type": "chardev", "id": "sock"}]
        expect(yank[0] in c.call("query-yank"), "what has a connection")

        def wait_for(connected):
            end = time.monotonic() + 20 * rheatest.SLOW
            while time.monotonic() < end:
                name = [x["filename"] for x in c.call("query-chardev") if x["label"] == "sock"][0]
                if connected != name.startswith("disconnected:"):
                    return
                time.sleep(0.02)
            raise Failure(f"the socket is {name}")

        for _ in range(2):  # it listens again
            c.call("yank", instances=yank)
            wait_for(False)
            peer = socket.socket(socket.AF_UNIX)
            peer.settimeout(20 * rheatest.SLOW)
            peer.connect(path)
            wait_for(True)
            c.call("yank", instances=yank)
            expect(peer.recv(1) == b"", "the connection is cut off")
            peer.close()
        expect("error" in c.try_call("yank", instances=yank + [{"type": "chardev", "id": "nil"}]), "no connection")
        for wrong in ({"type": "socket", "data": {}}, {"type": "udp", "data": {}}, {"type": "file"}):
            m = c.try_call("chardev-add", id="x", backend=wrong)
            expect(m["error"]["data"].get("member", "").startswith("backend"), f"the member at fault: {m}")
        for name in labels - {"compat_monitor0"}:
            c.call("chardev-remove", id=name)


def qmp_net():
    """Networks of a running program: back ends, links, filters, forwarded ports and who has one."""
    netdev = {"type": "user", "id": "n0", "hostfwd": [{"str": "tcp:127.0.0.1:0-:22"}]}
    with Vm("-M", "pc", "-m", "32M", "-netdev", json.dumps(netdev), "-device",
            "virtio-net-pci,netdev=n0,id=net0,mac=52:54:00:01:02:03") as vm:
        c = Client(vm.path)
        forward, = c.call("query-hostfwd")
        port = forward.pop("host-port")
        expect(forward == {"id": "n0", "protocol": "tcp", "host-addr": "127.0.0.1", "guest-addr": "", "guest-port": 22},
               f"the forward: {forward}")
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
        taken = c.try_call("hostfwd_add", rule=f"tcp:127.0.0.1:{port}-:23")["error"]["desc"]
        expect(f"TCP port {port} is in use by process {vm.p.pid} (" in taken, f"who has the port: {taken}")
        c.call("hostfwd_remove", id="n0", rule=f"tcp:127.0.0.1:{port}")
        expect(c.call("query-hostfwd") == [], "no forward is left")
        c.call("hostfwd_add", id="n0", rule=f"tcp:127.0.0.1:{port}-:23")

        def ask(command, **arguments):
            c.send({"execute": command, "arguments": arguments})
            return c.reply()

        expect("return" in ask("set_link", name="net0", up=False), "the cable can be pulled out")
        expect("net0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:01:02:03,link=down;" in c.call(
            "human-monitor-command", command_line="info network"), "the cable is out")
        expect("return" in ask("set_link", name="net0", up=True), "and put back")
        expect(ask("set_link", name="x", up=True)["error"]["class"] == "DeviceNotFound", "no such card")
        rx, = ask("query-rx-filter", name="net0")["return"]
        expect(rx["main-mac"] == "52:54:00:01:02:03" and rx["promiscuous"] is True, f"the filter: {rx}")
        infos = {i["name"]: i for i in c.call("x-rhea-query-net")}
        expect(infos["net0"]["peer"] == "n0" and infos["n0"]["type"] == "user" and infos["n0"]["link"], f"counters: {infos}")
        c.call("announce-self", initial=1, max=2, rounds=2, step=1)
        c.call("netdev_add", type="user", id="n1", net="192.168.9.0/24")
        expect("error" in c.try_call("netdev_add", type="user", id="n1"), "the name is taken")
        expect("error" in c.try_call("netdev_add", type="tap", id="n2", fd="x"), "no descriptor has this name")
        expect(c.try_call("netdev_del", id="net0")["error"]["class"] == "DeviceNotFound", "a card is no back end")
        expect(ask("query-rx-filter", name="x")["error"]["class"] == "GenericError", "as QEMU has it")
        for name in ("n1", "n0"):
            c.call("netdev_del", id=name)
        expect(c.try_call("netdev_del", id="n0")["error"]["class"] == "DeviceNotFound", "it is gone")
        expect(c.call("query-hostfwd") == [], "its forwards went with it")


# Additions to QEMU's commands.
class NbdClient:
    """A client of the NBD server that has reached an export, without structured replies."""
    def __init__(self, path, name):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(20 * rheatest.SLOW)
        self.s.connect(path)
        expect(self.read(18)[:8] == b"NBDMAGIC", "the greeting")
        self.s.sendall(struct.pack(">IQIIIH", 3, 0x49484156454F5054, 7, 6 + len(name), len(name), 0)[:-2] + name.encode() + b"\0\0")
        self.error = None
        while True:
            kind, length = struct.unpack(">II", self.read(20)[12:])
            data = self.read(length)
            if kind == 3:
                self.size, self.flags = struct.unpack(">QH", data[2:12])
            else:
                self.error = None if kind == 1 else data.decode()
                break

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise Failure("the NBD connection ended")
            data += more
        return data

    def request(self, kind, off, length, data=b"", get=0):
        self.s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 77, off, length) + data)
        magic, error, handle = struct.unpack(">IIQ", self.read(16))
        expect(magic == 0x67446698 and handle == 77, "a reply")
        return error or self.read(get)


def qmp_exports():
    """The NBD server: started, stopped, with exports that come and go, by QMP and by the human monitor."""
    with tempfile.TemporaryDirectory() as folder:
        images, path = [os.path.join(folder, f"{i}.img") for i in range(2)], os.path.join(folder, "nbd")
        for image in images:
            with open(image, "wb") as f:
                f.truncate(1 << 20)
        with Vm("-M", "pc", "-m", "32M", "-drive", f"file={images[0]},format=raw,id=disk,if=none", "-device", "ide-hd,drive=disk",
                "-blockdev", f"raw,node-name=n,file.driver=file,file.filename={images[1]}") as vm:
            c = Client(vm.path)
            add = {"type": "nbd", "id": "e1", "node_name": "n", "name": "one", "writable": True}
            start = {"addr": {"type": "unix", "data": {"path": path}}, "max_connections": 3}
            expect("does not run" in c.try_call("block-export-add", **add)["error"]["desc"], "a server is needed")
            expect("does not run" in c.try_call("nbd-server-stop")["error"]["desc"], "a server is needed to stop it")
            c.call("nbd-server-start", **start)
            expect("runs already" in c.try_call("nbd-server-start", **start)["error"]["desc"], "one server")
            c.call("block-export-add", **add)
            expect("id 'e1'" in c.try_call("block-export-add", **{**add, "name": "x"})["error"]["desc"], "an id is used once")
            expect("name 'one'" in c.try_call("block-export-add", **{**add, "id": "e2"})["error"]["desc"], "a name is used once")
            expect(c.call("query-block-exports") == [{"id": "e1", "type": "nbd", "node-name": "n", "shutting-down": False}], "the list")
            one = NbdClient(path, "one")
            expect(one.size == 1 << 20 and not one.flags & 2, f"the export: {one.size} {one.flags}")
            expect(one.request(1, 512, 512, b"x" * 512) == b"" and one.request(0, 0, 1024, get=1024) == bytes(512) + b"x" * 512, "I/O")
            expect("error" in c.try_call("block-set-write-threshold", node_name="none", write_threshold=1), "no such node")
            c.call("block-set-write-threshold", node_name="n", write_threshold=4096)
            nodes = {i["node-name"]: i["write_threshold"] for i in c.call("query-named-block-nodes")}
            expect(nodes["n"] == 4096 and set(nodes.values()) == {0, 4096}, f"thresholds: {nodes}")
            expect(one.request(1, 3584, 512, b"x" * 512) == b"" and one.request(1, 4096, 1024, b"x" * 1024) == b"", "writes")
            expect(c.event("BLOCK_WRITE_THRESHOLD")["data"] == {"node-name": "n", "amount-exceeded": 1024, "write-threshold": 4096},
                   "the write beyond it is told")
            expect(NbdClient(path, "none").error == "there is no export of that name", "another name")
            expect("in use" in c.try_call("blockdev-del", node_name="n")["error"]["desc"], "the node is used")
            expect("in use by 1 connection" in c.try_call("block-export-del", id="e1")["error"]["desc"], "safe")
            c.call("block-export-del", id="e1", mode="hard")
            expect(c.event("BLOCK_EXPORT_DELETED")["data"] == {"id": "e1"}, "its event")
            expect(one.s.recv(1) == b"", "the connection is over")
            # A dirty bitmap as a meta context: it stays while it is exported, and does not change under who only reads.
            c.call("block-dirty-bitmap-add", node="n", name="bm")
            bm = {**add, "bitmaps": ["bm"]}
            recording = c.try_call("block-export-add", **{**bm, "writable": False})["error"]["desc"]
            expect("is recording" in recording, f"a bitmap that changes: {recording}")
            expect(c.call("query-block-exports") == [], "nothing is left of it")
            expect("no dirty bitmap 'no'" in c.try_call("block-export-add", **{**add, "bitmaps": ["no"]})["error"]["desc"], "another name")
            c.call("block-export-add", **{**bm, "bitmaps": [{"node": "n", "name": "bm"}]})
            busy = c.try_call("block-dirty-bitmap-remove", node="n", name="bm")
            expect("error" in busy, f"a bitmap that is exported stays: {busy}")
            c.call("block-export-del", id="e1")
            c.event("BLOCK_EXPORT_DELETED")
            c.call("block-dirty-bitmap-remove", node="n", name="bm")
            c.call("blockdev-del", node_name="n")
            # The guest's disk: for reading only, since the guest writes.
            refused = c.try_call("nbd-server-add", device="disk", writable=True)["error"]["desc"]
            expect("does not share write access" in refused, f"a writable export of the guest's disk: {refused}")
            c.call("nbd-server-add", device="disk", name="d", description="text")
            expect(NbdClient(path, "d").flags & 2, "read-only")
            c.call("nbd-server-remove", name="d", mode="hard")
            c.event("BLOCK_EXPORT_DELETED")
            c.call("nbd-server-add", device="disk")
            last = NbdClient(path, "disk")
            c.call("nbd-server-stop")
            expect(c.event("BLOCK_EXPORT_DELETED")["data"] == {"id": "disk"} and last.s.recv(1) == b"", "all end with the server")
            expect(not os.path.exists(path), "its socket is gone")
            hmp = lambda line: c.call("human-monitor-command", command_line=line)
            expect("HOST:PORT" in hmp("nbd_server_start") and "-a only" in hmp(f"nbd_server_start -w unix:{path}"), "arguments")
            expect(hmp(f"nbd_server_start -a unix:{path}") == "", "all drives")
            busy = NbdClient(path, "disk")
            expect("in use" in hmp("nbd_server_remove disk") and hmp("nbd_server_remove -f disk") == "", "removing")
            expect(c.event("BLOCK_EXPORT_DELETED")["data"] == {"id": "disk"} and busy.s.recv(1) == b"", "its event")
            expect(hmp("nbd_server_add disk twice") == "" and "no drive or block node" in hmp("nbd_server_add no"), "adding")
            expect(hmp("nbd_server_stop") == "" and "does not run" in hmp("nbd_server_stop"), "stopping")
            # A socket that was handed over; the program ends with a client connected.
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(path)
                s.listen()
                c.call("getfd", fds=[s.fileno()], fdname="nbdfd")
                c.call("nbd-server-start", addr={"type": "fd", "data": {"str": "nbdfd"}})
            c.call("nbd-server-add", device="disk")
            last = NbdClient(path, "disk")
            expect(last.request(0, 0, 512, get=512) == bytes(512), "a read")


def qmp_state():
    """What libvirt asks before it starts a domain, where the answer is short; memory backends; texts."""
    with Vm("-M", "pc,memory-backend=ram0", "-m", "16M", "-object", "memory-backend-ram,id=ram0,size=16M") as vm:
        c = Client(vm.path)
        for name in ("query-tpm-models", "query-tpm-types", "query-jobs", "query-block-jobs", "query-memory-devices"):
            expect(c.call(name) == [], f"{name} lists nothing")
        for state in (True, False):  # libvirt turns it on in every machine
            one = [{"capability": "events", "state": state}]
            expect(c.call("migrate-set-capabilities", capabilities=one) == {}, "events")
            expect(c.call("query-migrate-capabilities") == one, f"events are {state}")
        expect("error" in c.try_call("migrate-set-capabilities", capabilities=[{"capability": "xbzrle", "state": True}]), "no migration")
        expect(c.call("query-current-machine") == {"wakeup-suspend-support": False}, "no sleep")
        m = c.try_call("system_wakeup")
        expect("Unable to wake up: guest is not in suspended state" in m["error"]["desc"], f"{m}")
        dev, = c.call("query-memdev")
        expect(dev["id"] == "ram0" and dev["size"] == 16 << 20 and dev["dump"] and dev["merge"] and not dev["share"], f"{dev}")
        expect("ram0" in c.call("x-query-ramblock")["human-readable-text"], "its memory")
        expect(c.call("x-query-numa")["human-readable-text"] == "0 nodes\n", "the nodes")
        expect("rom" in c.call("x-query-roms")["human-readable-text"], "the firmware")
        expect(c.call("x-query-jit")["human-readable-text"], "the translator")
        expect("memory backend: ram0" in c.call("human-monitor-command", command_line="info memdev"), "the human monitor")


def qmp_pci():
    """query-pci: the functions, with what firmware did to them and what is behind bridges, as `info pci` has them."""
    with Vm("-M", "none") as vm:
        expect(Client(vm.path).call("query-pci") == [], "no PCI")
    args = ["-M", "q35", "-m", "32M", "-device", "pcie-root-port,id=port,chassis=1", "-device", "virtio-net-pci,bus=port,id=card"]
    with Vm(*args) as vm:
        c = Client(vm.path)
        bus, = c.call("query-pci")
        expect(bus["bus"] == 0, "the root bus")
        host = bus["devices"][0]
        expect((host["slot"], host["class_info"]) == (0, {"desc": "Host bridge", "class": 0x600}) and host["irq_pin"] == 0, f"{host}")
        expect(host["id"]["vendor"] == 0x8086 and "subsystem" in host["id"] and "pci_bridge" not in host, f"{host}")
        port = next(d for d in bus["devices"] if d["qdev_id"] == "port")
        behind = port["pci_bridge"]
        expect(port["class_info"]["class"] == 0x604 and "subsystem" not in port["id"] and behind["bus"]["secondary"] == 0, f"{port}")
        card, = behind["devices"]
        expect(card["qdev_id"] == "card" and card["id"]["vendor"] == 0x1af4 and card["irq_pin"] == 1, f"{card}")
        regions = {r["bar"]: r for r in card["regions"]}
        expect(regions[4]["mem_type_64"] and regions[4]["prefetch"] and regions[4]["address"] == -1, f"{regions}")
        c.call("cont")
        while True:  # until the firmware has given numbers and addresses
            bus, = c.call("query-pci")
            port = next(d for d in bus["devices"] if d["qdev_id"] == "port")
            card, = port["pci_bridge"]["devices"]
            at = {r["bar"]: r["address"] for r in card["regions"]}[4]
            if at != -1 and port["pci_bridge"]["bus"]["secondary"] == 1:
                break
            time.sleep(0.05)
        passes = [port["pci_bridge"]["bus"][k] for k in ("memory_range", "prefetchable_range")]
        expect(any(r["base"] <= at <= r["limit"] for r in passes), f"{at} passes the bridge: {passes}")
        expect(card["bus"] == 1 and "Ethernet" in c.call("human-monitor-command", command_line="info pci"), "the same in words")


def qmp_hotplug():
    """Devices of a machine that no guest answers for: pending until a reset; what goes with them; refusals."""
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "disk")
        with open(image, "wb") as f:
            f.truncate(1 << 20)
        with Vm("-M", "pc", "-m", "32M", "-drive", f"if=none,id=d0,file={image},format=raw") as vm:
            c = Client(vm.path)
            names = lambda: {p["name"] for p in c.call("qom-list", path="/machine/peripheral")}
            for i in range(3):
                c.call("device_add", driver="virtio-rng-pci", id="x", addr="5")
                expect(c.call("qom-get", path="/machine/peripheral/x", property="hotplugged"), "it is hot-plugged")
                expect(c.call("qom-get", path="/machine/peripheral/x", property="hotpluggable"), "and may go")
                expect("in use by" in c.try_call("device_add", driver="e1000", id="y", addr="5")["error"]["desc"], "the slot is taken")
                expect("with id 'x'" in c.try_call("device_add", driver="e1000", id="x")["error"]["desc"], "the id is taken")
                for name in ("x", "/machine/peripheral/x") if i else ("x", "x"):
                    c.call("device_del", id=name)
                expect("x" in names() and not [e for e in c.events if e["event"] == "DEVICE_DELETED"], "it waits for its guest")
                c.call("system_reset")
                expect(c.event("DEVICE_DELETED")["data"] == {"device": "x", "path": "/machine/peripheral/x"}, "it is gone")
                expect("x" not in names(), "it is gone")
            c.call("device_add", driver="virtio-blk-pci", id="x", drive="d0")
            expect([b["device"] for b in c.call("query-block")] == ["d0"], "the drive")
            expect(c.call("human-monitor-command", command_line="device_del x") == "", "nothing to say")
            c.call("system_reset")
            c.event("DEVICE_DELETED")
            expect(c.call("query-block") == [], "the drive goes with its device")
        with Vm("-M", "q35", "-m", "32M", "-smp", "1,maxcpus=3", "-device", "pcie-root-port,id=rp,chassis=1") as vm:
            c = Client(vm.path)
            places = c.call("query-hotpluggable-cpus")
            expect([p.get("qom-path") for p in places] == [None, None, "/machine/unattached/cpu[0]"], f"places of CPUs: {places}")
            wrong = [({"driver": "virtio-rng-pci"}, "bus 'pcie.0' does not support hotplugging", "bus=ID"),
                     ({"driver": "isa-debug-exit"}, "bus 'isa.0' does not support hotplugging", "command line"),
                     ({"driver": places[0]["type"]}, "CPUs cannot be added", "-smp"),
                     ({"driver": "pc-dimm"}, "memory modules cannot be added", "-m")]
            for args, text, cure in wrong:
                e = c.try_call("device_add", id="x", **args)["error"]
                expect(e["class"] == "GenericError" and text in e["desc"] and cure in e["desc"], f"{args}: {e}")
            c.call("device_add", driver="virtio-rng-pci", id="x", bus="rp")
            expect("no free slot" in c.try_call("device_add", driver="e1000", bus="rp")["error"]["desc"], "a full port")
            e = c.try_call("device_del", id="rp")["error"]
            expect("bus 'pcie.0' does not support hotplugging" in e["desc"], f"{e}")
            expect(c.try_call("device_del", id="nobody")["error"]["class"] == "DeviceNotFound", "nobody")


def scan_codes(c, n):
    """Takes that many bytes from the PS/2 keyboard, as a program on the guest's CPU would."""
    def port(number):
        return int(c.call("human-monitor-command", command_line=f"i /b {number:#x}").split()[-1], 16)

    codes = []
    while len(codes) < n:
        if port(0x64) & 1:
            codes.append(port(0x60))
        else:
            time.sleep(0.02)
    return bytes(codes)


def qmp_keys():
    """Keys by name and number, their order, single events; what waits while the machine is stopped; refusals."""
    def code(name):
        return {"type": "qcode", "data": name}

    def key(name, down):
        return {"type": "key", "data": {"key": code(name), "down": down}}

    with Vm("-M", "microvm") as vm:
        c = Client(vm.path)
        expect(c.call("query-mice") == [] and "no keyboard" in c.try_call("send-key", keys=[code("a")])["error"]["desc"], "none")
    folder = tempfile.mkdtemp(prefix="rhea-qmp-")
    try:
        bios = os.path.join(folder, "bios")
        with open(bios, "wb") as f:
            f.write(b"\xf4" * 65536)  # HLT: the guest leaves the keyboard alone
        with Vm("-M", "pc", "-m", "16M", "-bios", bios) as vm:
            c = Client(vm.path)
            hmp = lambda line: c.call("human-monitor-command", command_line=line)
            expect(len(c.call("query-mice")) == 1 and "PS/2" in hmp("info mice"), "a mouse")
            wrong = [({"keys": [code("hyper")]}, "keys.0.data"), ({"keys": [code("a"), code("unmapped")]}, "'unmapped' is none"),
                     ({"keys": [{"type": "number", "data": 0x7f}]}, "scan code 127"),
                     ({"keys": [{"type": "number", "data": -1}]}, "scan code -1"), ({"keys": [code("a")] * 600}, "too many"),
                     ({"keys": [code("a")], "hold_time": -1}, "hold-time")]
            for args, text in wrong:
                m = c.try_call("send-key", **args)
                expect("error" in m and text in str(m["error"]), f"{args.keys()}: {m} says {text}")
            # Stopped: the first key is in the keyboard, the rest comes with the guest's time.
            c.call("send-key", keys=[code("ctrl"), {"type": "number", "data": 30}], hold_time=1)
            expect(scan_codes(c, 1) == b"\x14", "left Ctrl")
            c.call("cont")
            expect(scan_codes(c, 5) == b"\x1c\xf0\x1c\xf0\x14", "the others, released the other way round")
            c.call("send-key", keys=[{"type": "number", "data": 0x80 | 0x48}], hold_time=1)
            expect(scan_codes(c, 5) == b"\xe0\x75\xe0\xf0\x75", "a key with a prefix")
            expect(hmp("sendkey alt-0x3b 1") == "" and scan_codes(c, 6) == b"\x11\x05\xf0\x05\xf0\x11", "the human monitor")
            c.call("send-key", keys=[code("lang1"), code("kp_equals"), code("undo")], hold_time=1)
            expect(scan_codes(c, 4) == b"\xf2\x0f\xf0\x0f", "keys of other countries; one that the keyboard has not")
            expect(hmp("sendkey stop 1") == "" and scan_codes(c, 5) == b"\xe0\x28\xe0\xf0\x28", "another name of the browser's stop")
            expect(hmp("sendkey < 1") == "" and scan_codes(c, 3) == b"\x61\xf0\x61", "and of less")
            for line, text in (("sendkey", "expected"), ("sendkey ctrl-x-nil", "no key 'nil'"), ("sendkey a soon", "milliseconds"),
                               ("sendkey kp_entr", "did you mean 'kp_enter'?"), ("sendkey qqqqqqqqqq", "for example ctrl-alt-delete")):
                expect(text in hmp(line), f"{line} says {text}")
            c.call("input-send-event", events=[key("spc", True), key("spc", False)])
            expect(scan_codes(c, 3) == b"\x29\xf0\x29", "single events")
            m = c.try_call("input-send-event", events=[key("a", True), {"type": "key", "data": {
                "key": {"type": "number", "data": 0x6f}, "down": True}}])
            expect(m["error"]["data"]["member"] == "events.1.data.key.data", f"{m}")
            expect(int(hmp("i /b 0x64").split()[-1], 16) & 1 == 0, "all or none")
            c.call("input-send-event", events=[{"type": "rel", "data": {"axis": "x", "value": 3}},
                                               {"type": "btn", "data": {"button": "left", "down": True}}])
            expect("'nobody'" in c.try_call("input-send-event", device="nobody", events=[])["error"]["desc"], "no such screen")
            expect("error" in c.try_call("input-send-event", events=[{"type": "abs", "data": {"axis": "x", "value": 3}}]), "no tablet")
    finally:
        shutil.rmtree(folder)


def qmp_type_text():
    """Text becomes keys of the layout, however slowly the guest reads; what cannot be typed."""
    with tempfile.TemporaryDirectory(prefix="rhea-qmp-") as folder:
        bios = os.path.join(folder, "bios")
        with open(bios, "wb") as f:
            f.write(b"\xf4" * 65536)
        with Vm("-M", "pc", "-m", "16M", "-bios", bios, "-k", "de") as vm:
            c = Client(vm.path)
            c.call("x-rhea-type-text", text="yZ@\n" * 20)
            expect(c.try_call("x-rhea-type-text", text="a")["error"]["data"]["code"] == "busy", "one at a time")
            c.call("cont")
            # z's place; Shift and y's place; AltGr and q's; Enter
            want = bytes.fromhex("1af01a 1235f035f012 e01115f015e0f011 5af05a") * 20
            got = scan_codes(c, len(want))
            expect(got == want, f"{got.hex()} {want.hex()}")
            expect(c.event("X_RHEA_TEXT_TYPED")["data"] == {"characters": 80}, "how many")
            m = c.try_call("x-rhea-type-text", text="a\u20ac\u4e2d")
            expect("U+4E2D" in m["error"]["desc"] and m["error"]["data"]["member"] == "text", f"{m}")
            expect("are possible" in c.try_call("x-rhea-type-text", text="a" * 65537)["error"]["desc"], "too long")
            hmp = lambda line: c.call("human-monitor-command", command_line=line)
            expect(hmp('type_text "1" 1') == "" and scan_codes(c, 3) == b"\x16\xf0\x16" and "expected" in hmp("type_text"), "hmp")


def qmp_screen():
    """A screen as text and as a sum, and waiting for both (tools/system/screenwait.c): SeaBIOS's, which finds nothing to boot."""
    with Vm("-M", "pc", "-vga", "std", "-device", "bochs-display,id=other") as vm:
        c = Client(vm.path)

        def wait(**how):
            return c.call("x-rhea-screen-wait", **how)["id"]

        def refused(why, name="x-rhea-screen-wait", **how):
            m = c.try_call(name, **how)
            expect("error" in m and why in m["error"]["desc"], f"{why}: {m}")

        first, other = wait(text="No bootable device"), wait(unchanged=300, region={"x": 0, "y": 0, "width": 9, "height": 16})
        expect(first != other, "two waiters")
        lost = wait(text="not there", timeout=200)
        e = c.event("X_RHEA_SCREEN_WAIT")["data"]
        expect(e["id"] == lost and not e["seen"] and "not there before" in e["error"] and "lines" in e["screen"], f"{e}")
        c.call("cont")
        ends = {e["id"]: e for e in (c.event("X_RHEA_SCREEN_WAIT")["data"] for _ in range(2))}
        expect(ends[first]["seen"] and ends[other]["seen"], f"{ends}")
        screen = c.call("x-rhea-screen-text")
        expect(screen == ends[first]["screen"] or screen["lines"], "what was there")
        expect(screen["columns"] == 80 and not screen["by-font"] and any("No bootable device." in x for x in screen["lines"]), f"{screen}")
        corner = {"x": 0, "y": 0, "width": 72, "height": 16}
        total = c.call("x-rhea-screen-sum", region=corner)
        expect((total["width"], total["height"]) == (720, 400) and len(total["sum"]) == 16, f"{total}")
        number = wait(sum=total["sum"], region=corner, text="SeaBIOS")
        expect(c.event("X_RHEA_SCREEN_WAIT")["data"]["id"] == number, "all at once")
        number = wait(text="never", timeout=86400000)
        c.call("x-rhea-screen-wait-cancel", id=number)
        refused("nobody waits", "x-rhea-screen-wait-cancel", id=number)
        number = wait(text="never", device="other")
        expect(not any(c.call("x-rhea-screen-text", device="other")["lines"]), "a screen where nothing is")
        c.call("x-rhea-screen-wait-cancel", id=number)
        refused("one of 'text'")
        refused("goes with", text="a", region=corner)
        refused("one line", text="a\nb")
        refused("sixteen", sum="12")
        refused("not inside", "x-rhea-screen-sum", region={"x": 720, "y": 0, "width": 1, "height": 1})
        refused("no device 'x'", text="a", device="x")
        refused("is not a file", text="a", font=os.path.dirname(vm.path))
        refused("not a PSF", "x-rhea-screen-text", font=__file__)
        for _ in range(64):
            wait(text="never")
        refused("64 are waiting", text="a")
        folder = os.path.join(os.path.dirname(vm.path), "pictures") # ui/record.c
        c.call("x-rhea-screen-record-start", directory=folder, max_files=1, rate=60)
        end = c.event("X_RHEA_SCREEN_RECORDED")["data"]
        expect(end["files"] == 1 and "as many" in end["reason"] and len(os.listdir(folder)) == 1, f"{end}")
        c.call("x-rhea-screen-record-start", directory=folder)
        refused("is being recorded", "x-rhea-screen-record-start", directory=folder)
        expect(c.call("x-rhea-screen-record-stop")["files"] >= 0, "stopped")
        refused("not being recorded", "x-rhea-screen-record-stop")
        refused("cannot be opened", "x-rhea-screen-record-start", directory=vm.path)


OURS = ("X_RHEA_TEXT_TYPED", "x-rhea-type-text", "X_RHEA_SCREEN_WAIT", "x-rhea-screen-wait", "x-rhea-screen-wait-cancel", "x-rhea-screen-text",
        "x-rhea-screen-sum", "x-rhea-screen-record-start", "x-rhea-screen-record-stop", "X_RHEA_SCREEN_RECORDED", "hostfwd_add", "hostfwd_remove", "query-hostfwd", "X_RHEA_ACCEL", "x-rhea-accel", "x-rhea-query-accel", "x-rhea-query-net")
LATER = ("netdev_add/stream.reconnect",)  # of later versions of QEMU
OWN_VALUES = ("x-rhea-filter-flows", "x-rhea-switch", "passt", "web")


def qmp_schema():
    """For each command and event offered, arguments and results are those of the QEMU that is installed."""
    qemu = shutil.which("qemu-system-x86_64")
    if not qemu:
        raise Skip("qemu-system-x86_64 is not installed")
    schemas = []
    for binary in (rheatest.BIN, qemu):
        with Vm("-M", "none", binary=binary) as vm:
            c = Client(vm.path)
            if binary == qemu and c.greeting["QMP"]["version"]["qemu"]["minor"] != 2:
                raise Skip("another QEMU than 7.2 is installed")
            schemas.append({e["name"]: e for e in c.call("query-qmp-schema")})
    ours, theirs = schemas
    wrong = []

    def compare(a, b, where, result, seen):
        a, b = ours[a], theirs[b]
        if (a["name"], b["name"]) in seen:
            return
        seen.add((a["name"], b["name"]))
        if a["meta-type"] != b["meta-type"]:
            wrong.append(f"{where}: {a['meta-type']}, not {b['meta-type']}")
        elif a["meta-type"] == "builtin" and a["name"] != b["name"]:
            wrong.append(f"{where}: {a['name']}, not {b['name']}")
        elif a["meta-type"] == "array":
            compare(a["element-type"], b["element-type"], where + "[]", result, seen)
        elif a["meta-type"] == "enum":
            more = [v for v in a["values"] if v not in (*b["values"], *OWN_VALUES)]
            if more:
                wrong.append(f"{where}: values {more} are our own")
        elif a["meta-type"] == "object":
            known = {m["name"]: m for m in b["members"]}
            for m in a["members"]:
                if f"{where}.{m['name']}" in LATER:
                    continue
                if m["name"] not in known:
                    wrong.append(f"{where}.{m['name']}: our own")
                    continue
                other = known.pop(m["name"])
                if ("default" in m) != ("default" in other):
                    wrong.append(f"{where}.{m['name']}: optional or not")
                compare(m["type"], other["type"], f"{where}.{m['name']}", result, seen)
            missing = [n for n, m in known.items() if "default" not in m]
            if missing:
                wrong.append(f"{where}: {missing} are missing")
            if a.get("tag") != b.get("tag"):
                wrong.append(f"{where}: tag {a.get('tag')}, not {b.get('tag')}")
            cases = {v["case"]: v["type"] for v in b.get("variants", [])}
            for v in a.get("variants", []):
                if v["case"] in cases:
                    compare(v["type"], cases[v["case"]], f"{where}/{v['case']}", result, seen)

    n = 0
    for name, e in ours.items():
        if e["meta-type"] in ("command", "event"):
            n += 1
            if name in OURS:
                expect(name not in theirs, f"{name} is QEMU's")
                continue
            if name not in theirs:
                wrong.append(f"{name}: our own")
                continue
            more = set(e.get("features", [])) - set(theirs[name].get("features", []))
            if more or e.get("allow-oob") != theirs[name].get("allow-oob"):
                wrong.append(f"{name}: features {more} or allow-oob")
            compare(e["arg-type"], theirs[name]["arg-type"], name, False, set())
            if e["meta-type"] == "command":
                compare(e["ret-type"], theirs[name]["ret-type"], name + " result", True, set())
    expect(not wrong, "\n".join(wrong))
    return f"{n} commands and events"


def kvm_usable():
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def qmp_accel():
    """A paused machine moves between tcg and kvm by x-rhea-accel; what cannot be is refused and changes nothing."""
    with Vm("-cpu", "qemu64,-kvm-steal-time") as vm:
        c = Client(vm.path)
        info = c.call("x-rhea-query-accel")
        expect(info["accel"] == "tcg" and "tcg" in info["available"], f"{info}")
        wrong = [({"accel": "tgc"}, "unknown accelerator 'tgc'"), ({"accel": "tcg", "props": {"colour": 1}}, "'colour'"),
                 ({"accel": "tcg", "props": 5}, "must be an object"), ({"accel": "tcg", "props": {"accel": "kvm"}}, "'accel'"),
                 ({"accel": "test"}, "runs no CPU"), ({}, "missing")]
        for args, text in wrong:
            m = c.try_call("x-rhea-accel", **args)
            expect(text in m.get("error", {}).get("desc", ""), f"{args}: {m} says {text}")
            expect(c.call("x-rhea-query-accel")["accel"] == "tcg", "nothing has changed")
        r = c.call("x-rhea-accel", accel="tcg", props={"tier": 0})
        expect(r["was"] == r["accel"] == "tcg" and r["milliseconds"] < 60000, f"{r}")
        e = c.event("X_RHEA_ACCEL")["data"]
        expect(e == {"was": "tcg", "accel": "tcg"}, f"{e}")
        c.call("cont")
        m = c.try_call("x-rhea-accel", accel="tcg")
        expect("the machine is running" in m["error"]["desc"] and "stop it" in m["error"]["desc"], f"{m}")
        c.call("stop")
    if "kvm" not in info["available"] or not kvm_usable():
        return "tcg only: no KVM here"
    with Vm("-accel", "kvm", "-cpu", "qemu64,-x2apic,-kvm-steal-time") as vm:
        c = Client(vm.path)
        expect(c.call("x-rhea-query-accel")["accel"] == "kvm", "it begins on kvm")
        for name, props in (("tcg", {}), ("kvm", {"kernel-irqchip": "off"}), ("tcg", {}), ("kvm", {})):
            m = c.try_call("x-rhea-accel", accel=name, props=props)
            expect(m.get("return", {}).get("accel") == name, f"to {name}: {m}")
            c.call("cont")
            time.sleep(0.2)
            c.call("stop")
        expect("IP=" in c.call("human-monitor-command", command_line="info registers"), "registers are there")


def qmp_stats():
    """Statistics of KVM as QEMU's commands tell them; none with tcg."""
    with Vm() as vm:
        c = Client(vm.path)
        expect(c.call("query-stats", target="vm") == [], "tcg provides none")
        expect(c.call("query-stats-schemas") == [], "no schema")
        text = c.call("human-monitor-command", command_line="info stats vcpu")
        expect("provides none" in text, text)
    if not kvm_usable():
        raise Skip("no KVM here")
    with Vm("-accel", "kvm", "-smp", "2") as vm:
        c = Client(vm.path)
        m = c.try_call("query-stats-schemas")
        if "KVM_CAP_BINARY_STATS_FD" in m.get("error", {}).get("desc", ""):
            raise Skip("this host's KVM has no statistics")
        schema = {s["target"]: {v["name"]: v for v in s["stats"]} for s in m["return"]}
        expect(schema["vcpu"]["exits"] == {"name": "exits", "type": "cumulative", "exponent": 0}, f"{schema['vcpu']['exits']}")
        ns = schema["vcpu"]["halt_wait_ns"]
        expect((ns["unit"], ns["base"], ns["exponent"]) == ("seconds", 10, -9), f"{ns}")
        expect("remote_tlb_flush" in schema["vm"], f"{schema['vm'].keys()}")
        c.call("cont")
        end = time.monotonic() + 20 * rheatest.SLOW
        while True:  # while it runs
            r = c.call("query-stats", target="vcpu", providers=[{"provider": "kvm", "names": ["exits", "io_exits", "nil"]}])
            expect([x["qom-path"] for x in r] == [f"/machine/unattached/cpu[{i}]" for i in range(2)], f"{r}")
            first = {s["name"]: s["value"] for s in r[0]["stats"]}
            expect(set(first) == {"exits", "io_exits"}, f"{first}")
            if first["exits"] > 100:  # hosts that emulate leave some of the others at zero
                break
            expect(time.monotonic() < end, f"exits are counted: {first}")
            time.sleep(0.1)
        r = c.call("query-stats", target="vcpu", vcpus=["/machine/unattached/cpu[1]"])
        expect(len(r) == 1 and r[0]["qom-path"].endswith("[1]"), f"{r}")
        values = {s["name"]: s["value"] for s in r[0]["stats"]}
        expect(set(values) == set(schema["vcpu"]), "values and schema have the same names")
        for name, kind in ((n, s["type"]) for n, s in schema["vcpu"].items()):
            expect(isinstance(values[name], list) == (kind == "log2-histogram"), f"{name}: {values[name]}")
        expect(isinstance(values["guest_mode"], bool) if "guest_mode" in values else True, "a flag is a flag")
        vm_stats = c.call("query-stats", target="vm")
        expect(len(vm_stats) == 1 and "qom-path" not in vm_stats[0], f"{vm_stats}")
        expect(c.call("query-stats", target="vm", providers=[{"provider": "kvm", "names": ["nil"]}]) == [], "no such number")
        for wrong in ({"target": "cpu"}, {"target": "vm", "providers": [{"provider": "tcg"}]}, {}):
            expect("error" in c.try_call("query-stats", **wrong), f"{wrong} is refused")
        hmp = lambda line: c.call("human-monitor-command", command_line=line)
        text = hmp("info stats vcpu exits,halt_wait_ns")
        expect(text.startswith("provider: kvm") and " exits (cumulative): " in text and "(cumulative, ns)" in text, text)
        expect("vm or vcpu" in hmp("info stats"), "what is expected")
        expect("no provider" in hmp("info stats vm * tcg"), "another provider")
        expect("remote_tlb_flush" in hmp("info stats vm * kvm"), "all of the VM's")


ALL = [qmp_accel, qmp_stats, qmp_session, qmp_objects, qmp_memory, qmp_secrets, qmp_cpus, qmp_disks, qmp_exports, qmp_chardevs, qmp_descriptors, qmp_fdsets, qmp_fdset_images, qmp_mon, qmp_net,
       qmp_schema, qmp_state, qmp_pci, qmp_keys, qmp_type_text, qmp_screen,
       qmp_hotplug]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    rheatest.main(*[t for t in ALL if not wanted or t.__name__ in wanted])

# SPDX-License-Identifier: MIT
"""libvirt for functional tests: its daemons on sockets of their own, in folders that vanish with the test, as a user who owns
nothing else (root becomes nobody: libvirt's daemons serve `qemu:///session` then, and touch nothing of the host's). Guests are
domains with a shell on their serial console."""
import ctypes
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import rheatest as rt
from rheatest import Failure, Skip, guest_assets

PR_SET_CHILD_SUBREAPER = 36
VIRTIO = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
CD = ("scsi/scsi_common", "scsi/scsi_mod", "ata/libata", "ata/libahci", "ata/ahci", "ata/ata_piix", "cdrom/cdrom", "scsi/sr_mod")
MODULES = ("net/core/failover",) + tuple(f"drivers/{m}" for m in (
    "net/net_failover", "net/virtio_net", "acpi/button", "input/evdev", "block/virtio_blk", "char/hw_random/virtio-rng",
    "char/virtio_console", "virtio/virtio_balloon") + CD)
# A guest that does what it reads from its console, and powers off when it is asked to.
SHELL = """for m in %s; do insmod /lib/modules/$m.ko; done
%s
dmesg -n 1
events() { for e in /sys/class/input/event*; do [ "$(cat $e/device/name)" = "$1" ] && echo /dev/input/${e##*/}; done; }
until kbd=$(events "AT Translated Set 2 keyboard" | tail -1); [ "$kbd" ]; do sleep 0.1; done
button=$(events "Power Button" | tail -1)
{ dd if=$button of=/dev/null bs=24 count=1 2>/dev/null; poweroff -f; } &
stty -echo < /dev/ttyS0
exec < /dev/ttyS0
echo @@up@@
while IFS= read -r line; do eval "$line"; echo "@@done $?@@"; done
"""


def expect(ok, what):
    if not ok:
        raise Failure(what)


def until(condition, what, seconds=60):
    """Waits for what somebody else does."""
    end = time.monotonic() + seconds * rt.SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"timed out waiting for {what() if callable(what) else what}")
        time.sleep(0.02)


def unprivileged():
    """subprocess's arguments for whom libvirt's daemons run as: root becomes nobody."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Virt:
    """virtlogd and libvirtd with private folders, and virsh. A context. programs: the emulators; those that libvirt's user
    cannot run are copied, emulators[PROGRAM] is where it is then."""

    def __init__(self, *programs):
        self.tools = {t: shutil.which(t, path=f"{os.environ['PATH']}:/usr/sbin") for t in ("libvirtd", "virtlogd", "virsh", "stdbuf")}
        for tool, path in self.tools.items():
            if not path:
                raise Skip(f"{tool} is not installed (scripts/check does it)")
        self.who = unprivileged()
        self.owner = self.who.get("user", os.getuid())
        self.dir = tempfile.mkdtemp(prefix="rhea-virt-", dir="/tmp")  # short: names of sockets have 107 bytes
        self.children = {}
        os.chmod(self.dir, 0o755)
        # A path without programs: libvirtd asks every emulator that it finds, and this is about one.
        self.env = {"PATH": self.folder("bin"), "LC_ALL": "C", "LIBVIRT_AUTOSTART": "0", "HOME": self.folder("user")}
        for name in ("RUNTIME_DIR", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "STATE_HOME"):
            self.env["XDG_" + name] = self.folder(name[:3].lower())
        self.images = self.folder("images")
        self.emulators = {p: self.reachable(p) for p in programs or [rt.BIN]}
        self.emulator = next(iter(self.emulators.values()))
        self.names = {os.path.basename(p)[:15] for p in self.emulators.values()}  # as the kernel calls the processes
        os.makedirs(os.path.join(self.env["XDG_CONFIG_HOME"], "libvirt"))
        self.write("con/libvirt/qemu.conf", 'security_driver = "none"\n')
        self.write("con/libvirt/libvirtd.conf", f'host_uuid = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"\nlog_level = 3\n'
                   f'log_filters = "1:qemu.qemu_process"\nlog_outputs = "1:file:{self.dir}/user/libvirtd.log"\n')
        self.give_away()
        self.uri = f"qemu+unix:///session?socket={self.env['XDG_RUNTIME_DIR']}/libvirt/libvirt-sock"
        # Domains are nobody's children; the emulator's zombies would seem alive to libvirt in a container whose process 1
        # does not reap.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.ending = threading.Event()
        self.reaper = threading.Thread(target=self.reap, daemon=True)

    def folder(self, name):
        path = os.path.join(self.dir, name)
        os.mkdir(path, 0o755)
        return path

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8") as f:
            f.write(text)

    def give_away(self):
        for top, folders, files in os.walk(self.dir):
            for name in [""] + files:
                os.chown(os.path.join(top, name), self.owner, -1)

    def reachable(self, program):
        """The program, or a copy where that user can run it."""
        try:
            subprocess.run([program, "-version"], stdout=subprocess.DEVNULL, check=True, **self.who)
            return os.path.abspath(program)
        except PermissionError:
            return self.place(program, mode=0o755)

    def place(self, path, name=None, mode=0o644):
        """A copy of a file among the images, which domains may read and write."""
        to = os.path.join(self.images, name or os.path.basename(path))
        shutil.copyfile(path, to)
        os.chmod(to, mode)
        os.chown(to, self.owner, -1)
        return to

    def reap(self):
        while not self.ending.wait(0.02):
            try:
                zombie = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if zombie and process_name(zombie.si_pid) in self.names:
                    os.waitpid(zombie.si_pid, 0)
            except ChildProcessError:
                pass

    # ---- daemons ----

    def __enter__(self):
        try:
            self.reaper.start()
            self.daemon("virtlogd", "virtlogd-sock")
            self.start_libvirtd()
        except BaseException:
            self.__exit__(Failure)
            raise
        return self

    def daemon(self, name, sock, *args):
        err = open(os.path.join(self.dir, "user", name + ".err"), "ab")
        path = os.path.join(self.env["XDG_RUNTIME_DIR"], "libvirt", sock)
        p = self.children[name] = subprocess.Popen([self.tools[name], *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL,
                                                   stdout=err, stderr=err, **self.who)
        err.close()

        def listens():
            if p.poll() is not None:
                raise Failure(f"{name} ended with status {p.returncode}:\n{self.log(name + '.err')}{self.log('libvirtd.log')}")
            with socket.socket(socket.AF_UNIX) as s:
                return s.connect_ex(path) == 0
        until(listens, f"{name} to listen")

    def log(self, name, size=3000):
        try:
            with open(os.path.join(self.dir, "user", name), "rb") as f:
                return f.read()[-size:].decode("utf-8", "replace")
        except OSError:
            return ""

    def libvirtd_log(self):
        return self.log("libvirtd.log", 1 << 30)

    def start_libvirtd(self):
        self.daemon("libvirtd", "libvirt-sock", "-f", os.path.join(self.dir, "con/libvirt/libvirtd.conf"))

    def stop(self, name, sig=signal.SIGTERM):
        p = self.children.pop(name, None)
        if p:
            p.send_signal(sig)
            try:
                p.wait(30 * rt.SLOW)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def __exit__(self, kind, *exc):
        try:
            if not kind:
                for name in self.virsh("list", "--name").split():
                    self.virsh("destroy", name)
        finally:
            self.stop("events")
            self.stop("libvirtd")
            self.stop("virtlogd")
            left = [pid for pid in child_pids() if process_name(pid) in self.names]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            until(lambda: not [pid for pid in child_pids() if process_name(pid) in self.names], "emulators to go")
            self.ending.set()
            self.reaper.join()
            wrong = self.complaints()
            if kind and kind is not Failure:
                print("\n".join("# " + line for line in self.tail().splitlines()), flush=True)
            shutil.rmtree(self.dir, ignore_errors=True)
        if not kind:
            expect(not left, "an emulator was still there after its domain was destroyed")
            expect(not wrong, "libvirt or the emulator complains:\n" + "\n".join(wrong))

    def complaints(self):
        """Commands that the emulator refused libvirt, and what sanitizers found."""
        wrong = re.findall(r".*(?:unable to execute QEMU command|AddressSanitizer|LeakSanitizer|runtime error:).*", self.tail(1 << 30))
        return list(dict.fromkeys(wrong))

    def tail(self, size=2000):
        """The ends of all logs."""
        text = self.log("libvirtd.log", size)
        logs = os.path.join(self.env["XDG_CACHE_HOME"], "libvirt/qemu/log")
        for name in sorted(os.listdir(logs)) if os.path.isdir(logs) else []:
            with open(os.path.join(logs, name), "rb") as f:
                text += f"\n--- {name}:\n" + f.read()[-size:].decode("utf-8", "replace")
        return text

    # ---- virsh ----

    def virsh_args(self, *args):
        return [self.tools["virsh"], "-c", self.uri, *args]

    def try_virsh(self, *args):
        return subprocess.run(self.virsh_args(*args), env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=120 * rt.SLOW, check=False, **self.who)

    def virsh(self, *args):
        p = self.try_virsh(*args)
        if p.returncode:
            raise Failure(f"virsh {' '.join(args)}: {p.stderr.strip()}\n--- logs:\n{self.tail()}")
        return p.stdout

    def watch(self):
        """Begins to note events; returns when they are noted."""
        with open(os.path.join(self.dir, "user/events"), "wb") as f:
            p = self.children["events"] = subprocess.Popen(
                [self.tools["stdbuf"], "-oL", *self.virsh_args("event", "--all", "--loop")], env=self.env, cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=f, stderr=f, **self.who)
        for name in self.virsh("list", "--all", "--name").split()[:1]:
            until(lambda: self.virsh("desc", name, "--title", "watched") and "'metadata-change'" in self.log("events"),
                  lambda: f"virsh event to listen (status {p.poll()}):\n{self.log('events')}")

    def event(self, pattern, times=1):
        """Waits until so many events came whose lines match."""
        rx = re.compile(pattern)
        until(lambda: len([line for line in self.log("events", 1 << 30).splitlines() if rx.search(line)]) >= times,
              lambda: f"event /{pattern}/ in:\n{self.log('events')}")


def process_name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
            return f.read().rstrip("\n")
    except OSError:
        return None


def child_pids():
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as f:
                found += [int(pid) for pid in f.read().split()]
        except OSError:
            pass
    return found


def initrd(path, script="", fill=None):
    """An initramfs whose shell waits on the serial console; script: comes before. fill: is called with the folder of its
    files."""
    names = VIRTIO + MODULES
    with tempfile.TemporaryDirectory(prefix="rhea-virt-") as d:
        tree = os.path.join(d, "tree")
        rt.module_tree(tree, "generic", names)
        if fill:
            fill(tree)
        made = rt.once(SHELL % (" ".join(n.split("/")[-1] for n in names), script), tree)
        shutil.move(made, path)


class Domain:
    """A domain, and the shell in its guest."""

    def __init__(self, virt, name, machine, os_xml, devices, memory=256, kind="qemu", emulator=None):
        self.virt, self.name, self.machine = virt, name, machine
        self.log_path = os.path.join(virt.images, name + ".log")
        self.tty = None
        self.xml = f"""<domain type='{kind}'>
<name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
{os_xml}
<features><acpi/></features>
<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>
<devices>
<emulator>{emulator or virt.emulator}</emulator>
<controller type='usb' model='none'/>
<serial type='pty'><log file='{self.log_path}' append='off'/></serial>
{devices}
</devices>
</domain>"""
        path = os.path.join(virt.images, name + ".xml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.xml)
        virt.virsh("define", path)

    def do(self, command, *args):
        return self.virt.virsh(command, self.name, *args)

    def state(self):
        return self.do("domstate").strip()

    def ends(self):
        until(lambda: self.state() == "shut off", lambda: f"{self.name} to end; its console:\n{self.text()[-2000:]}")
        self.close()

    def pid(self):
        """The emulator's process."""
        with open(os.path.join(self.virt.env["XDG_RUNTIME_DIR"], "libvirt/qemu/run", self.name + ".pid"), encoding="ascii") as f:
            return int(f.read())

    def qmp(self, command, **arguments):
        """What a command of the monitor answers, asked through libvirt."""
        request = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(self.do("qemu-monitor-command", request))["return"]

    # ---- the guest ----

    def text(self):
        try:
            with open(self.log_path, "rb") as f:
                return f.read().decode("utf-8", "replace").replace("\r", "")
        except OSError:
            return ""

    def open(self):
        self.close()
        self.tty = os.open(self.do("ttyconsole").strip(), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def close(self):
        if self.tty is not None:
            os.close(self.tty)
            self.tty = None

    def drain(self):
        """The log has it all; what the terminal holds must not stop the guest."""
        while self.tty is not None and select.select([self.tty], [], [], 0)[0]:
            try:
                if not os.read(self.tty, 65536):
                    return
            except OSError:  # the emulator is gone
                return

    def wait(self, pattern, after=0):
        """Waits for text on the console behind that place; the match."""
        rx = re.compile(pattern)

        def there():
            self.drain()
            return rx.search(self.text(), after)
        return until(there, lambda: f"/{pattern}/ on the console of {self.name}:\n{self.text()[-2000:]}", 120)

    def send(self, line):
        """Writes a line to the guest; where its answer will be in text()."""
        at = len(self.text())
        os.write(self.tty, line.encode() + b"\n")
        return at

    def run(self, line, at=None):
        """What a command in the guest prints, which must succeed."""
        at = self.send(line) if at is None else at
        m = self.wait(r"@@done (\d+)@@", at)
        out = self.text()[at:m.start()]
        expect(m.group(1) == "0", f"'{line}' in the guest ended with status {m.group(1)}: {out}")
        return out.strip()

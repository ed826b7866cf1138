# SPDX-License-Identifier: MIT
"""Running the emulator from a functional test: start it, wait for text on a stream, check how it ends.

A test is a script that calls plan() steps and prints TAP; it ends by itself within its limits. Guests
come from scripts/guest_assets.py.
"""
import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.environ.get("RHEA_SOURCE_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("RHEA_BUILD_ROOT") or os.path.join(ROOT, "build")
BIN = os.environ.get("RHEA_BIN") or os.path.join(BUILD, "tools/system/rhea-system-x86_64")
# Sanitizer builds are much slower: the build says so.
SLOW = float(os.environ.get("RHEA_TEST_SLOWDOWN", "1"))

sys.path.insert(0, os.path.join(ROOT, "scripts"))
import guest_assets  # noqa: E402

# Guest script: what the kernel complains of. A sanitizer build is slow enough for a kernel to believe that it hangs; such
# lines say nothing there.
_STALLS = "soft lockup|rcu.*stall|hung"


def health(stalls=SLOW <= 4):
    """Guest script. stalls: False where a busy host alone can make the kernel believe that it hangs."""
    return "\ndmesg | %s grep -E 'BUG:|WARNING:|Oops|general protection|segfault%s' | head -5 | sed 's/^/complaint: /'\n" % (
        ("", f"|{_STALLS}") if stalls else (f"grep -vE '{_STALLS}' |", ""))


HEALTH = health()


def bios(text):
    """The pattern of a text on SeaBIOS's serial console (graphics=off), which every timer tick may come between two characters
    of to put the cursor where the BIOS's is."""
    return r"(?:\x1b\[\d+;\d+H)*".join(re.escape(c) for c in text)


class Skip(Exception):
    pass


class Failure(Exception):
    pass


class Vm:
    """A running emulator whose stdout (the guest's serial line, usually) is watched."""

    def __init__(self, *args, timeout=120, binary=BIN, pass_fds=()):
        self.dir = tempfile.mkdtemp(prefix="rhea-func-")
        self.args = [binary] + [str(a) for a in args]
        self.deadline = time.monotonic() + timeout * SLOW
        self.out = b""
        self.seen = 0
        self.err_path = os.path.join(self.dir, "stderr")
        self.err_file = open(self.err_path, "wb")
        self.p = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err_file,
                                  pass_fds=pass_fds)
        os.set_blocking(self.p.stdout.fileno(), False)

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        try:
            if kind is None and self.p.poll() is None:
                self.end()
        finally:
            if self.p.poll() is None:
                self.p.kill()
            self.p.wait()
            self.p.stdin.close()
            self.p.stdout.close()
            self.err_file.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def end(self):
        """A test that has seen enough: SIGTERM is an orderly end, and a sanitizer finds leaks only in one."""
        self.p.terminate()
        self.wait(0)
        if len(self.err().splitlines()) != 1 or "terminating on signal 15" not in self.err():
            self.fail("SIGTERM is not all that is told at the end")

    def err(self):
        with open(self.err_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def _pump(self, wait):
        r, _, _ = select.select([self.p.stdout], [], [], wait)
        if r:
            data = self.p.stdout.read()
            if data:
                self.out += data
                return True
            if data == b"":
                return False
        return None

    def text(self):
        return self.out.decode("utf-8", "replace").replace("\r", "")

    def fail(self, what):
        tail = self.text()[-3000:]
        raise Failure(f"{what}\n--- command: {' '.join(self.args)}\n--- end of output:\n{tail}\n--- stderr:\n{self.err()[-2000:]}")

    def expect(self, pattern):
        """Waits until the regular expression occurs in the output not yet consumed; returns the match."""
        while True:
            m = self.look(pattern, 1.0)
            if m:
                return m

    def look(self, pattern, wait):
        """The same, but for so many seconds at most; then None. An emulator that ends before fails."""
        rx = re.compile(pattern.encode() if isinstance(pattern, str) else pattern)
        m = rx.search(self.out, self.seen)
        if m:
            self.seen = m.end()
            return m
        left = self.deadline - time.monotonic()
        if left <= 0:
            self.fail(f"timed out waiting for /{pattern}/")
        if self._pump(min(left, wait)) is False and not rx.search(self.out, self.seen):
            self.p.wait()
            self.fail(f"ended with status {self.p.returncode} before /{pattern}/")
        return None

    def send(self, text):
        self.p.stdin.write(text.encode() if isinstance(text, str) else text)
        self.p.stdin.flush()

    def wait(self, status=0):
        """Waits for the emulator to end by itself with the given exit status."""
        while self.p.poll() is None:
            if time.monotonic() > self.deadline:
                self.fail("timed out waiting for the emulator to end")
            if self._pump(0.2) is False:
                time.sleep(0.05)
        while self._pump(0):
            pass
        if self.p.returncode != status:
            self.fail(f"exit status {self.p.returncode}, expected {status}")


def until(test, seconds, fail):
    """Waits for what nobody tells of: until test() says something, which is returned. After so many seconds: fail(words)."""
    end = time.monotonic() + seconds * SLOW
    while True:
        got = test()
        if got:
            return got
        if time.monotonic() > end:
            fail(f"not within {seconds * SLOW:.0f} s")
        time.sleep(0.05)


def linux(kernel, initrd, append="", *args, timeout=120, mem="512M", accel="tcg", board="pc", **how):
    """A Linux guest with its console on stdout."""
    assert "-accel" not in args, "a second -accel is what is tried after the first"
    return Vm("-nodefaults", "-M", board, "-accel", accel, "-m", mem, "-display", "none", "-serial", "stdio",
              "-no-reboot", "-kernel", kernel, "-initrd", initrd,
              "-append", f"console=ttyS0 panic=-1 {append}".strip(), *args, timeout=timeout, **how)


def expect_all(pattern, *vms):
    """Waits until the pattern has come from all of them; fails as soon as one ends without."""
    missing = list(vms)
    while missing:
        missing = [vm for vm in missing if not vm.look(pattern, 0.2)]


def module_tree(top, flavour, modules):
    """A tree for once() with modules of a kernel's package in /lib/modules: names of drivers, or paths below kernel/."""
    asset(guest_assets.kernel, flavour)
    with open(os.path.join(guest_assets.cache_dir(), f"kernel-{flavour}.name")) as f:
        package = f.read().strip()
    for d in ("bin", "sbin", "usr/bin", "usr/sbin", "etc", "root", "lib/modules"):
        os.makedirs(os.path.join(top, d))
    for m in modules:
        where = m if "/" in m else f"drivers/*/{m}"
        path = asset(guest_assets.from_package, package, f"lib/modules/*/kernel/{where}.ko")
        shutil.copy(path, os.path.join(top, "lib/modules"))


def add_program(tree, package, path, libs=()):
    """Puts a Debian program into /sbin of a tree of module_tree(), with the C library and other (package, pattern)s."""
    shutil.copy(asset(guest_assets.from_package, package, path), os.path.join(tree, "sbin"))
    where = os.path.join(tree, "lib/x86_64-linux-gnu")
    os.makedirs(where, exist_ok=True)
    os.makedirs(os.path.join(tree, "lib64"), exist_ok=True)
    for p, pattern in (("libc6", "lib/*/ld-linux-x86-64.so.2"), ("libc6", "lib/*/libc.so.6"), *libs):
        shutil.copy(asset(guest_assets.from_package, p, pattern), where)
    with contextlib.suppress(FileExistsError):
        os.symlink("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", os.path.join(tree, "lib64/ld-linux-x86-64.so.2"))


def once(script, tree=None, arch="amd64"):
    """An initramfs that runs the script and powers off; the caller's temporary file."""
    fd, path = tempfile.mkstemp(prefix="rhea-func-", suffix=".cpio")
    os.close(fd)
    guest_assets.initramfs(path, script, tree, arch)
    return path


@contextlib.contextmanager
def booted(modules, script, append="quiet", *args, flavour="cloud", board="pc", timeout=300, fill=None, **kwargs):
    """A guest that runs the script after its modules are there. fill: is called with the folder of its files."""
    with tempfile.TemporaryDirectory(prefix="rhea-func-") as d:
        tree = os.path.join(d, "tree")
        module_tree(tree, flavour, modules)
        if fill:
            fill(tree)
        names = " ".join(m.split("/")[-1] for m in modules)
        initrd = once(f"set -e\nfor m in {names}; do insmod /lib/modules/$m.ko; done\n{script}", tree)
        try:
            with linux(guest_assets.kernel(flavour), initrd, append, *args, board=board, timeout=timeout, **kwargs) as vm:
                yield vm
        finally:
            os.unlink(initrd)


def kvm():
    """Where KVM emulates guests (accel/kvm/open.c tells) no kernel gets so far."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("/dev/kvm cannot be opened")
    with open("/proc/cpuinfo") as f:
        ext = re.search(r"^flags.*\b(vmx|svm)\b", f.read(), re.M)
    if not (ext and (os.path.isdir("/sys/module/kvm_intel") or os.path.isdir("/sys/module/kvm_amd"))):
        raise Skip("this host's KVM emulates its guests")
    return "kvm"


def healthy(lines):
    """The lines of a script that ended with HEALTH; fails when the kernel complained."""
    bad = [line for line in lines if line.startswith("complaint: ")]
    if bad:
        raise Failure("the guest's kernel complains:\n" + "\n".join(bad))
    return lines


def once_output(vm):
    """The output of the script of once(), checked to have ended with status 0."""
    vm.expect(r"@@rhea-begin@@\r?\n")
    start = vm.seen
    m = vm.expect(r"@@rhea-end (\d+)@@")
    text = vm.out[start:m.start()].decode("utf-8", "replace").replace("\r", "")
    if m.group(1) != b"0":
        vm.fail(f"the script in the guest ended with status {m.group(1).decode()}")
    vm.wait(0)
    return text


def asset(fn, *args):
    """A guest asset, or a skip that says why there is none."""
    try:
        return fn(*args)
    except SystemExit as e:
        raise Skip(str(e))


def main(*tests):
    """Runs test functions, prints TAP, exits 1 when one failed or there is none: its name is wrong then."""
    if not tests:
        sys.exit(f"Bail out! {sys.argv[0]}: no test has the name {' '.join(sys.argv[1:])}")
    print(f"1..{len(tests)}", flush=True)
    bad = False
    for i, t in enumerate(tests, 1):
        start = time.monotonic()
        try:
            note = t()
            print(f"ok {i} - {t.__name__}", flush=True)
            print(f"# {time.monotonic() - start:.1f} s{': ' + str(note) if note else ''}", flush=True)
        except Skip as e:
            print(f"ok {i} - {t.__name__} # SKIP {e}", flush=True)
        except Exception as e:  # a failing test must not hide the others
            bad = True
            print(f"not ok {i} - {t.__name__}", flush=True)
            text = str(e) if isinstance(e, Failure) else traceback.format_exc()
            for line in text.splitlines():
                print(f"# {line}", flush=True)
    sys.exit(1 if bad else 0)

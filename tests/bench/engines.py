# SPDX-License-Identifier: MIT
"""The engines of the performance suite: the host itself and guests under emulators, all running the same
static program (guest/*.c) and driven over a line: a pipe natively, the serial console of a guest.

Nothing but the engine asked runs while it is asked: the others wait for their next command, halted."""
import ctypes
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import guest_assets  # noqa: E402

CFLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-no-pie", "-fno-pie", "-ffp-contract=off", "-pthread",
          "-Wall", "-Wextra"]
# The C library and OpenSSL pick variants by CPUID; these settings have the same ones picked on the host,
# which may offer AVX-512, and in a guest, which may not offer AVX.
EQUAL_CODE = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,-BMI2,-LZCNT,-MOVBE:"
                      "glibc.cpu.x86_non_temporal_threshold=0x800000",
    "OPENSSL_ia32cap": "~0x1000100000000000:0",
}


class EngineError(Exception):
    pass


class Refused(EngineError):
    """The emulator ended before the guest was up; the text says why."""


def build_program():
    """The static workload program, compiled once per version of its sources."""
    sources = sorted(os.path.join(HERE, "guest", f) for f in os.listdir(os.path.join(HERE, "guest"))
                     if f.endswith((".c", ".h")))
    cc = os.environ.get("BENCH_CC", "gcc")
    key = hashlib.sha256((cc + " ".join(CFLAGS)).encode())
    for s in sources:
        with open(s, "rb") as f:
            key.update(f.read())
    out = os.path.join(guest_assets.cache_dir(), "bench", key.hexdigest()[:16])
    if not os.path.exists(out):
        os.makedirs(os.path.dirname(out), exist_ok=True)
        part = f"{out}.{os.getpid()}"
        r = subprocess.run([cc] + CFLAGS + [s for s in sources if s.endswith(".c")] + ["-o", part, "-lm"])
        if r.returncode != 0:
            raise EngineError(f"the workloads could not be compiled with {cc}")
        os.rename(part, out)
    return out


def small_tree(where):
    """Folders a busybox guest needs, and the program."""
    for d in ("bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "root", "tmp", "run", "etc", "bench"):
        os.makedirs(os.path.join(where, d), exist_ok=True)
    shutil.copy(build_program(), os.path.join(where, "bench/bench"))
    return where


PACKAGES = ["openssl", "xz-utils", "zstd", "gzip", "python3", "perl-base", "sqlite3", "tcc", "cpp-12", "libc6-dev", "coreutils",
            "dash", "diffutils", "mawk", "grep", "sed"]


def enter(tree, args):
    """The command line that runs a program in a tree of unpacked packages on the host."""
    return (["chroot"] if os.geteuid() == 0 else ["unshare", "-r", "chroot"]) + [tree] + args


def sample_text(size):
    """Text that packs about as well as prose does: words of a small vocabulary, by a generator."""
    state, words = 1, []
    syllables = ["ab", "ca", "do", "fel", "gri", "ho", "in", "ka", "lo", "mar", "ne", "or", "pa", "qui", "rus", "ti", "xyz"]
    out, length = [], 0
    for i in range(3000):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        words.append("".join(syllables[state >> s & 15] for s in range(30, 34 + 4 * (state >> 62), 4)) + ("s" if i % 5 == 0 else ""))
    while length < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        w = words[(state >> 40) % 3000 * ((state >> 20) % 1000) // 1000] + ("\n" if state >> 59 == 3 else " ")
        out.append(w)
        length += len(w)
    return "".join(out).encode()[:size]


def programs_tree(where):
    """Debian's packages with the scripts of programs/, as links to the cached unpacked tree."""
    top = guest_assets.rootfs_tree(PACKAGES)
    shutil.copytree(top, where, symlinks=True)
    for d in ("bench/programs", "tmp", "dev", "proc"):
        os.makedirs(os.path.join(where, d), exist_ok=True)
    open(os.path.join(where, "dev/null"), "w").close()  # a guest mounts its own over it
    shutil.copy(build_program(), os.path.join(where, "bench/bench"))
    for f in os.listdir(os.path.join(HERE, "programs")):
        shutil.copy(os.path.join(HERE, "programs", f), os.path.join(where, "bench/programs", f))
    with open(os.path.join(where, "bench/text"), "wb") as f:
        f.write(sample_text(4 << 20))
    # What a package's installation does; without it every start of Python compiles its library.
    r = subprocess.run(enter(where, ["/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
                                     "/usr/lib/python3.11/"]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode != 0:
        raise EngineError(f"no chroot on the host to run the programs in: {r.stdout[-300:]}")
    return where


def programs():
    """[(name, base)]: a script's second line says what a unit is and how many take about 10 ms."""
    found = []
    for f in sorted(os.listdir(os.path.join(HERE, "programs"))):
        with open(os.path.join(HERE, "programs", f)) as s:
            m = re.search(r"^# base (\d+):", s.read(), re.M)
        if m:
            found.append((f[:-3], int(m.group(1))))
    return found


def initramfs(tree, out):
    env = " ".join(f"{k}='{v}'" for k, v in EQUAL_CODE.items())
    return guest_assets.initramfs(out, f"cd /tmp; export LC_ALL=C PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 {env}\n"
                                  "/bench/bench </dev/console >/dev/console 2>&1", tree)


def process_clock(pid):
    """User and system nanoseconds of all threads of a process (Linux's id of a process's CPU clock)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def accel(extra):
    """-accel tcg, unless the further arguments have an -accel: of several the first one counts."""
    return [] if "-accel" in extra else ["-accel", "tcg"]


def die_with_parent():
    """In the child: an emulator must not outlive a suite that was killed (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Line:
    """Talks with the program at the other end of two file descriptors."""

    def __init__(self, name, args, env=None, cwd=None):
        self.name, self.args = name, args
        self.err = tempfile.TemporaryFile()
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err, env=env, cwd=cwd,
                                  preexec_fn=die_with_parent)
        os.set_blocking(self.p.stdout.fileno(), False)
        self.out = b""

    def send(self, line):
        try:
            self.p.stdin.write((line + "\n").encode())
            self.p.stdin.flush()
        except BrokenPipeError:
            pass  # the next expect() says how it ended

    def stderr(self):
        self.err.seek(0)
        return self.err.read().decode("utf-8", "replace").strip()

    def expect(self, pattern, timeout):
        """The next match; an error when the other end is silent for too long or ends."""
        rx = re.compile(pattern)
        deadline = time.monotonic() + timeout
        while True:
            m = rx.search(self.out)
            if m:
                self.out = self.out[m.end():]
                return m
            left = deadline - time.monotonic()
            if left <= 0:
                tail = self.out[-600:].decode("utf-8", "replace")
                raise EngineError(f"{self.name}: no answer within {timeout:.0f} s; last output:\n{tail}")
            r, _, _ = select.select([self.p.stdout], [], [], min(left, 1.0))
            data = self.p.stdout.read() if r else None
            if data:
                self.out += data
            elif data == b"":
                self.p.wait()
                tail = self.out[-600:].decode("utf-8", "replace")
                raise Refused(f"{self.name}: ended with status {self.p.returncode}: {self.stderr()[-1500:]}\n{tail}".strip())

    def close(self, grace=20):
        if self.p.poll() is None:
            self.send("quit")
            try:
                self.p.stdin.close()
            except BrokenPipeError:
                pass
            end = time.monotonic() + grace
            while self.p.poll() is None and time.monotonic() < end:
                try:
                    self.p.stdout.read()
                except (OSError, ValueError):
                    pass
                time.sleep(0.02)
            if self.p.poll() is None:
                self.p.kill()
        self.p.wait()
        self.p.stdout.close()
        self.err.close()


class Engine:
    """Common to the host and a guest: commands of guest/main.c, one at a time."""

    is_guest = False

    def __init__(self, name):
        self.name, self.line, self.overhead = name, None, 0.0

    def ensure(self):
        if self.line is None:
            self.start()

    def list(self):
        """{name: (group, base, "yes" or what the CPU lacks)}"""
        self.ensure()
        self.line.send("list")
        text = self.line.expect(rb"(?s)(.*)@@done@@", 60).group(1).decode()
        return {n: (g, int(b), ok) for g, n, b, ok in re.findall(r"@@w (\S+) (\S+) (\d+) (\S+)@@", text)}

    def ask(self, command, timeout):
        """One run: {"sum", "cpu", "wall", "inner_cpu", "host_wall"}, times in seconds. Raises EngineError
        when it fails; the engine then starts anew at the next command if it is not to be trusted."""
        self.ensure()
        try:
            self.line.send(command)
            m = self.line.expect(rb"@@(ready|fail [^@]*)@@\r?\n", timeout)
            if m.group(1) != b"ready":
                raise EngineError(f"{self.name}: {command}: {m.group(1).decode()}")
            self.settle()
            before, start = self.clock(), time.monotonic()
            self.line.send("g")
            m = self.line.expect(rb"@@(?:end ([0-9a-f]{16}) (\d+) (\d+)|(fail [^@]*))@@\r?\n", timeout)
            cpu, host_wall = self.clock() - before, time.monotonic() - start
        except EngineError:
            self.abandon()
            raise
        if m.group(4):
            raise EngineError(f"{self.name}: {command}: {m.group(4).decode()}")
        inner = int(m.group(3)) / 1e9
        return {"sum": m.group(1).decode(), "wall": int(m.group(2)) / 1e9, "inner_cpu": inner, "host_wall": host_wall,
                "cpu": max(cpu - self.overhead, 1e-6) if self.is_guest else inner}

    def said(self):
        """The end of what the last script printed."""
        self.ensure()
        self.line.send("said")
        return self.line.expect(rb"@@said ([^@]*)@@\r?\n", 60).group(1).decode()

    def abandon(self):
        if self.line:
            self.line.p.kill()
            self.line.close()
            self.line = None

    def close(self):
        if self.line:
            self.line.close()
            self.line = None


class Native(Engine):
    def __init__(self, tree, chroot=False):
        super().__init__("native")
        self.tree, self.chroot = tree, chroot
        self.tmp = tempfile.mkdtemp(prefix="rhea-bench-")

    def start(self):
        env = dict(EQUAL_CODE, PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C", HOME="/tmp", PYTHONHASHSEED="0",
                   PYTHONDONTWRITEBYTECODE="1")
        if self.chroot:
            args = enter(self.tree, ["/bench/bench"])
        else:
            args = [os.path.join(self.tree, "bench/bench")]
        self.line = Line(self.name, args, env, self.tmp)
        self.line.expect(rb"@@hello@@\r?\n", 20)

    def clock(self):
        return 0.0

    def settle(self):
        pass

    def close(self):
        super().close()
        shutil.rmtree(self.tmp, ignore_errors=True)


class Guest(Engine):
    """Debian's cloud kernel with the program as its userland."""

    is_guest = True

    def __init__(self, name, program, initrd, cpu, mem="512M", extra=()):
        super().__init__(name)
        self.args = [program, "-nodefaults", "-M", "pc"] + accel(extra) + ["-cpu", cpu, "-m", mem, "-display", "none",
                     "-serial", "stdio", "-no-reboot", "-kernel", guest_assets.kernel("cloud"), "-initrd", initrd,
                     "-append", "console=ttyS0 quiet panic=-1"] + list(extra)
        self.boot_cpu, self.spent, self.first_clock, self.boot_timeout = None, 0.0, None, 600

    def start(self):
        self.line = Line(self.name, self.args)
        try:
            self.line.expect(rb"@@hello@@\r?\n", self.boot_timeout)
            self.boot_cpu = self.boot_cpu or self.clock()
            time.sleep(0.5)  # the kernel's last initializations
            self.first_clock = self.clocks()
            self.calibrate()
        except EngineError:
            self.abandon()
            raise

    def calibrate(self):
        """What a command costs by itself: console, fork, the program's end."""
        self.overhead = 0.0
        costs = sorted(self.ask("run nothing 1 1", 60)["cpu"] for _ in range(5))
        self.overhead = costs[2]

    def clock(self):
        return process_clock(self.line.p.pid) / 1e9

    def settle(self):
        """Wait until the emulator has nothing to do."""
        last = self.clock()
        for _ in range(50):
            time.sleep(0.01)
            now = self.clock()
            if now - last < 0.001:
                return
            last = now

    def clocks(self):
        """(guest's, host's) monotonic seconds; the host's is the middle of the question's round trip."""
        best = None
        for _ in range(5):
            before = time.monotonic()
            self.line.send("clock")
            guest = int(self.line.expect(rb"@@clock (\d+)@@\r?\n", 60).group(1)) / 1e9
            after = time.monotonic()
            if best is None or after - before < best[0]:
                best = (after - before, guest, (before + after) / 2)
        return best[1], best[2]

    def clock_rate(self):
        """Guest seconds per host second since the start, or None when the guest is gone."""
        if self.line is None or self.first_clock is None:
            return None
        guest, host = self.clocks()
        return (guest - self.first_clock[0]) / (host - self.first_clock[1])

    def keep_account(self):
        if self.line and self.line.p.poll() is None:
            self.spent += self.clock()

    def abandon(self):
        self.keep_account()
        super().abandon()

    def close(self):
        self.keep_account()
        super().close()

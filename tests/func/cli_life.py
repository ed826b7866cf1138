#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How the program starts, runs and ends: help, signals, background, pid file, terminal, monitor, qtest."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import traceback

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
BIN = os.path.abspath(os.environ.get("RHEA_BIN") or os.path.join(BUILD, "tools/system/rhea-system-x86_64"))
NAME = os.path.basename(BIN)
LIMIT = 10 * float(os.environ.get("RHEA_TEST_SLOWDOWN", "1"))
BASE = [BIN, "-display", "none", "-M", "none", "-accel", "test"]


def run(*args, stdin=b"", base=BASE):
    p = subprocess.run(base + list(args), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=LIMIT)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def start(*args, base=BASE, **kw):
    return subprocess.Popen(base + list(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **kw)


def wait_for(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"no {what} in {LIMIT} s"
        time.sleep(0.01)


def finish(p):
    out, err = p.communicate(timeout=LIMIT)
    return p.returncode, out.decode(), err.decode()


def read_until(fd, text):
    got = b""
    end = time.monotonic() + LIMIT
    while text not in got:
        left = end - time.monotonic()
        assert left > 0, f"no {text!r} in {got!r}"
        if select.select([fd], [], [], left)[0]:
            chunk = os.read(fd, 4096)
            assert chunk, f"end of file before {text!r} in {got!r}"
            got += chunk
    return got.decode(errors="replace")


def test_help_is_complete(d):
    status, text, err = run("-help", base=[BIN])
    assert (status, err) == (0, "")
    source = open(os.path.join(os.environ.get("RHEA_SOURCE_ROOT", "."), "tools/system/table.c")).read()
    rows = re.findall(r'^    \{ "([^"]+)", ', source, re.M)
    assert len(rows) > 100
    for row in rows:
        for name in row.split("|"):
            found = re.search(rf"(^| )(-| or -|){re.escape(name)}( |$)", text, re.M)
            assert found, f"-{name} is not in -help"
    assert run("-h", base=[BIN]) == run("--help", base=[BIN]) == (0, text, "")


def test_known_to_qemu(d):
    """Each option of QEMU 7.2's -help is known."""
    options = """
        h version machine cpu accel smp numa add-fd set global boot m mem-path mem-prealloc k audio-help
        audio audiodev device name uuid fda fdb hda hdb hdc hdd cdrom blockdev drive mtdblock sd snapshot
        fsdev virtfs iscsi usb usbdevice display nographic spice portrait rotate vga full-screen vnc
        win2k-hack no-fd-bootchk no-acpi no-hpet acpitable smbios netdev nic net chardev tpmdev bios
        pflash kernel append initrd dtb compat fw_cfg serial parallel monitor qmp qmp-pretty mon debugcon
        pidfile singlestep preconfig S overcommit gdb s d D dfilter seed L enable-kvm xen-domid xen-attach
        xen-domid-restrict no-reboot no-shutdown action loadvm daemonize option-rom rtc icount
        watchdog-action echr incoming only-migratable nodefaults chroot runas sandbox readconfig
        no-user-config trace plugin async-teardown msg dump-vmstate enable-sync-profile object
    """.split()
    text = run("-help", base=[BIN])[1]
    for name in options:
        assert re.search(rf"^-{re.escape(name)}( |$)| or -{re.escape(name)}( |$)", text, re.M), name


def test_lists(d):
    assert run("-version", base=[BIN])[1].startswith("Rhea emulator version 0.")
    assert "none " in run("-M", "help", base=[BIN])[1]
    assert "hpet=<bool>" in run("-M", "pc,help", base=[BIN])[1]
    assert "tcg " in run("-accel", "help", base=[BIN])[1]
    assert "qemu64" in run("-cpu", "help", base=[BIN])[1]
    devices = run("-device", "help", base=[BIN])[1]
    assert 'name "isa-serial", bus ISA' in devices
    headings = re.findall("^(.*) devices:$", devices, re.M)
    assert headings == ["Controller/Bridge/Hub", "USB", "Storage", "Network", "Input", "Display", "Sound", "Misc", "Watchdog"], headings
    assert "chardev=<str>" in run("-device", "isa-serial,help", base=[BIN])[1]
    assert "iobase=<" in run("-device", "isa-serial,help", base=[BIN])[1]
    assert "socket" in run("-chardev", "help", base=[BIN])[1]
    assert run("-audiodev", "help", base=[BIN])[1] == "Available audio drivers:\nnone\nwav\nsdl\npa\n"
    assert run("-audio-help", base=[BIN])[1] == run("-audio", "help", base=[BIN])[1] == run("-audiodev", "help", base=[BIN])[1]
    assert "\nac97        Intel 82801AA AC97 Audio\n" in run("-audio", "none,model=help", base=[BIN])[1]
    assert "  keyid=<str>" in run("-object", "secret,help", base=[BIN])[1]
    assert "guest_errors" in run("-d", "help", base=[BIN])[1]
    assert run("-L", d, "-L", "help", base=[BIN])[1].splitlines()[0] == d


def test_cpu_help(d):
    """All models, one model, the host's CPU; a wrong name is refused like that of a machine to run."""
    status, text, err = run("-cpu", "help", base=[BIN])
    assert (status, err) == (0, "")
    names = re.findall(r"^x86 (\S+)", text, re.M)
    assert len(names) > 40
    for want in ("qemu64", "max", "host", "base", "Haswell-noTSX", "EPYC"):
        assert names.count(want) == 1, want
    assert re.search(r"^Recognized CPUID flags .*\n(  .*\n)*.*\bsse4\.2\b", text, re.M)
    for name in names:
        status, text, err = run("-cpu", f"{name},help", base=[BIN])
        assert (status, err) == (0, "") and text.startswith(f"CPU model {name}: "), (name, err)
        assert name == "base" or "\nFeatures:\n  fpu " in text, text
    status, text, err = run("-cpu", "qemu64,-fpu,+popcnt,family=6,help", base=[BIN])
    assert (status, err) == (0, "") and "family 6," in text and " popcnt" in text and "\nFeatures:\n  fpu" not in text
    cpuinfo = open("/proc/cpuinfo").read()
    for key, shown in (("vendor_id", "vendor {}"), ("cpu family", "family {}"), ("model name", "CPU model host: {}\n")):
        found = re.search(rf"^{key}\s*: (.*)$", cpuinfo, re.M)
        if found:
            assert shown.format(found.group(1)) in run("-cpu", "host,help", base=[BIN])[1], found.group(0)
    status, text, err = run("-cpu", "nosuch,help", base=[BIN])
    assert status == 1 and not text and "unknown CPU model 'nosuch'" in err
    status, text, err = run("-cpu", "qemu64,+sse9,help", base=[BIN])
    assert status == 1 and not text and "'sse9'" in err


def test_cpu_host_runs(d):
    """-cpu host is a CPU that runs: firmware starts on it, and the monitor tells of it."""
    monitor = os.path.join(d, "m")
    p = start("-M", "pc", "-cpu", "host", "-nodefaults", "-display", "none", "-S", "-monitor",
              f"unix:{monitor},server=on,wait=off", base=[BIN])
    with socket.socket(socket.AF_UNIX) as s:
        wait_for(lambda: s.connect_ex(monitor) == 0, "monitor")  # its name is there before it listens
        read_until(s.fileno(), b"(qemu) ")
        s.sendall(b"info registers\nquit\n")
        assert re.search(r"EIP=0000fff0", read_until(s.fileno(), b"EFER="))
    status, out, err = finish(p)
    assert (status, out, err) == (0, "", ""), (status, out, err)


def test_dump_config(d):
    status, out, err = run("-m", "1G", "-smp", "1", "-name", "vm,debug-threads=on", "-no-hpet", "-device",
                           "isa-serial,index=2", "-chardev", "null,id=a", "-set", "chardev.a.mux=on", "-mem-prealloc",
                           "-mem-path", "/x", "-object", "memory-backend-ram,id=m,size=1G,host-nodes=0,host-nodes=2-3",
                           "-dump-config", base=[BIN])
    assert (status, err) == (0, "")
    config = json.loads(out)
    assert config["m"]["size"] == 1 << 30
    assert config["name"]["guest"] == "vm" and config["name"]["debug-threads"] is True
    assert config["machine"]["hpet"] is False
    assert config["device"] == [{"driver": "isa-serial", "index": "2"}]
    assert config["mem-prealloc"] is True and config["mem-path"] == "/x"
    assert config["object"] == [{"qom-type": "memory-backend-ram", "id": "m", "size": "1G",
                                 "host-nodes": ["0", "2-3"]}], config["object"]
    assert config["chardev"] == [{"backend": "null", "id": "a", "mux": "on"}]


def test_object_help(d):
    status, out, err = run("-object", "help", base=[BIN])
    assert (status, err) == (0, "") and out.split()[-14:] == [
        "memory-backend-ram", "memory-backend-file", "memory-backend-memfd", "rng-builtin", "rng-random",
        "secret", "tls-creds-anon", "tls-creds-x509", "throttle-group", "filter-buffer", "filter-dump", "filter-mirror", "filter-redirector",
        "x-rhea-filter-flows"], out
    ram = run("-object", "memory-backend-ram,help", base=[BIN])[1]
    file = run("-object", "memory-backend-file,help", base=[BIN])[1]
    assert "policy=<default|preferred|bind|interleave>" in ram and "mem-path=" not in ram and "pmem" not in file
    assert file.startswith("memory-backend-file options:\n  id=<str>") and "  mem-path=<str>" in file


def test_memory_backend(d):
    """The guest's memory is what the options say, seen from outside: a file, with the firmware's pages in it."""
    path, pid = os.path.join(d, "ram"), os.path.join(d, "pid")
    object = {"qom-type": "memory-backend-file", "id": "mem", "size": 64 << 20, "mem-path": path, "share": True,
              "dump": False}
    ways = (["-object", json.dumps(object), "-machine", "memory-backend=mem"], ["-mem-path", path, "-m", "64"],
            ["-mem-prealloc", "-m", "64"])
    for n, way in enumerate(ways):
        p = start("-accel", "tcg", "-nodefaults", "-S", "-pidfile", pid, *way,
                  base=[BIN, "-display", "none"])
        def maps():
            text = open(f"/proc/{p.pid}/smaps").read()
            return re.search(rf"^(?:.*{re.escape(path)}\n)(?:[A-Z].*\n)+" if n < 2 else
                             r"^.*\nSize: +65536 kB\n(?:[A-Z].*\n)+", text, re.M)
        try:
            wait_for(lambda: os.path.exists(pid) and maps(), f"mapping of {way}")
            if n < 2:
                assert os.path.getsize(path) == 64 << 20
                assert " rw-s " in maps().group(0) if n == 0 else " rw-p " in maps().group(0), maps().group(0)
                if n == 0:  # the advice comes after the mapping
                    wait_for(lambda: " dd" in maps().group(0), "memory that dumps leave out")
            else:
                wait_for(lambda: "\nRss:               65536 kB" in maps().group(0), "allocated memory")
        finally:
            p.terminate()
            status, out, err = finish(p)
        assert (status, out) == (0, ""), (status, out, err)
    os.unlink(path)


def test_memory_failure(d):
    """A backend that fails says so, and leaves no file; -set reaches objects."""
    path = os.path.join(d, "full")
    status, out, err = run("-object", f"memory-backend-file,id=a,size=1G,mem-path={path}", "-set", "object.a.readonly=on")
    assert status == 1 and not os.path.exists(path), err
    assert "could not open" in err and "No such file" in err, err


def gdb_ask(s, text):
    s.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 255))
    got = b""
    while not re.search(rb"\$[^#]*#..$", got):
        data = s.recv(4096)
        assert data, got
        got += data
    return re.search(rb"\$([^#]*)#..$", got).group(1).decode()


def test_gdb(d):
    """-gdb with -S stands at the first instruction; the monitor moves the server; `k` ends the process."""
    first, second, monitor = (os.path.join(d, n) for n in ("a", "b", "m"))
    p = start("-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-s", "-gdb",
              f"unix:{first},server=on,wait=off", "-monitor", f"unix:{monitor},server=on,wait=off", base=[BIN])
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(LIMIT)
        wait_for(lambda: s.connect_ex(first) == 0, "socket of the debugger")
        assert gdb_ask(s, "p10") == "f0ff000000000000"
        assert gdb_ask(s, "?") == "T05thread:1;"
    with socket.socket(socket.AF_UNIX) as m:
        m.settimeout(LIMIT)
        wait_for(lambda: m.connect_ex(monitor) == 0, "monitor")
        read_until(m.fileno(), b"(qemu) ")
        m.sendall(f"gdbserver unix:{second},server=on,wait=off\n".encode())
        assert f"Waiting for gdb connection on device 'unix:{second}" in read_until(m.fileno(), b"\n(qemu) ")
        assert not os.path.exists(first), "the first socket stays behind"
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(LIMIT)
            s.connect(second)
            assert gdb_ask(s, "s") == "T05thread:1;"
            assert gdb_ask(s, "p10") == "5be0000000000000"  # SeaBIOS: a far jump
            assert gdb_ask(s, "k") == "W00"
    assert finish(p) == (0, "", f"{NAME}: info: ended by the debugger\n")


def test_signals(d):
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        path = os.path.join(d, "sock")
        p = start("-monitor", f"unix:{path},server=on,wait=off")
        wait_for(lambda: os.path.exists(path), "socket")
        p.send_signal(sig)
        status, out, err = finish(p)
        comm = open("/proc/self/comm").read().strip()
        assert status == 0, (status, err)
        assert err == f"{NAME}: terminating on signal {int(sig)} from pid {os.getpid()} ({comm})\n", err
        assert not os.path.exists(path), "the socket stays behind"


def test_signal_while_waiting(d):
    path = os.path.join(d, "sock")
    p = start("-serial", f"unix:{path},server=on")
    wait_for(lambda: os.path.exists(path), "socket")
    p.send_signal(signal.SIGTERM)
    status, out, err = finish(p)
    assert status == 1 and "ended by a signal while waiting for a connection on unix:" in err, err
    assert not os.path.exists(path)


def test_monitor_stdio(d):
    lines = b"info status\ninfo name\nstop\ninfo status\nquit\n"
    status, out, err = run("-name", "tester", "-monitor", "stdio", stdin=lines)
    out = out.replace("\r", "")
    assert (status, err) == (0, "")
    assert "VM status: running\n" in out and "tester" in out and "VM status: paused\n" in out
    status, out, err = run("-S", "-monitor", "stdio", stdin=b"info status\nc\ninfo status\nq\n")
    assert "paused (prelaunch)" in out and "VM status: running" in out and status == 0


def test_monitor_socket(d):
    path = os.path.join(d, "mon")
    p = start("-chardev", f"socket,id=m,path={path},server=on,wait=off", "-mon", "m")
    for _ in range(2):  # a second client is greeted as the first
        s = socket.socket(socket.AF_UNIX)
        wait_for(lambda s=s: s.connect_ex(path) == 0, "socket")
        assert "monitor - type 'help'" in read_until(s.fileno(), b"(qemu) ")
        s.sendall(b"print 6*7\n")
        assert "0x2a" in read_until(s.fileno(), b"0x2a\r\n(qemu) ")
        s.close()
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.sendall(b"quit\n")
    assert finish(p)[0] == 0
    s.close()


def test_pidfile(d):
    path = os.path.join(d, "pid")
    p = start("-pidfile", path)
    wait_for(lambda: os.path.exists(path) and open(path).read().endswith("\n"), "pid file")
    assert int(open(path).read()) == p.pid
    status, out, err = run("-pidfile", path)
    wanted = (f"{NAME}: -pidfile {path}: it is locked by process {p.pid}\n"
              "end that process, or use another file\n")
    assert (status, err) == (1, wanted), err
    assert os.path.exists(path)
    p.terminate()
    finish(p)
    assert not os.path.exists(path)
    assert run("-pidfile", path, "-device", "nonsense")[0] == 1
    assert not os.path.exists(path), "an error leaves the pid file behind"


def test_daemonize(d):
    pid_path, log = os.path.join(d, "pid"), os.path.join(d, "mon")
    status, out, err = run("-daemonize", "-pidfile", pid_path, "-monitor", f"unix:{log},server=on,wait=off")
    assert (status, out, err) == (0, "", ""), (status, out, err)
    pid = int(open(pid_path).read())
    assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    s = socket.socket(socket.AF_UNIX)
    s.connect(log)
    s.sendall(b"quit\n")
    wait_for(lambda: not os.path.exists(pid_path), "end of the daemon")
    s.close()
    status, out, err = run("-daemonize", "-pidfile", pid_path, "-device", "nonsense")
    assert status == 1 and "'nonsense' is not a device" in err
    assert not os.path.exists(pid_path)


def test_accel_fallback(d):
    for option in ("none,accel=kvm:tcg", "none,accel=hvf:tcg"):
        base = [BIN, "-display", "none", "-M", option, "-monitor", "stdio"]
        status, out, err = run(base=base, stdin=b"quit\n")
        if "kvm" in option and os.access("/dev/kvm", os.R_OK | os.W_OK):
            wanted = ""
        elif "kvm" in option:
            wanted = f"{NAME}: info: accelerator 'kvm': /dev/kvm "
        else:
            wanted = f"{NAME}: info: accelerator 'hvf' is not available: it needs macOS; trying 'tcg'\n"
        assert status == 0 and err.startswith(wanted) and (wanted or not err), err
    status, out, err = run(base=[BIN, "-display", "none", "-M", "none", "-accel", "hvf", "-accel", "xen"])
    assert status == 1 and err.splitlines()[-2].startswith(f"{NAME}: -accel xen: "), err


def test_messages(d):
    status, out, err = run("-name", "vm1", "-msg", "timestamp=on,guest-name=on", "-device", "nonsense")
    assert re.match(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z vm1 {NAME}: -device nonsense: ", err), err


def test_qtest(d):
    base = [BIN, "-display", "none", "-accel", "test", "-qtest", "stdio", "-device",
            "isa-debug-exit,iobase=0x501"]
    status, out, err = run(base=base, stdin=b"writel 0x1000 0x12345678\nreadl 0x1000\noutb 0x501 3\n")
    lines = out.split("\n")
    assert "OK 0x0000000012345678" in lines, lines
    assert status == 7, (status, err)  # isa-debug-exit: (value << 1) | 1


def on_terminal(*args):
    """Starts the program in the foreground of a new terminal; the session's leader waits, as a shell does."""
    fd, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    tell, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for n in range(3):
            os.dup2(slave, n)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execv(BIN, [BIN, *args])
        os.write(told, b"%d\n" % child)
        while True:
            _, status = os.waitpid(child, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                os._exit(0)
    os.close(told)
    pid = int(os.read(tell, 20))
    os.close(tell)
    return pid, fd, slave, before


def gone(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: it went while its file was open
        return True


def test_terminal(d):
    """-nographic on a terminal: raw while it runs, Ctrl-A keys, restored whatever ends it."""
    for how in ("key", "signal", "kill"):
        pid, fd, slave, before = on_terminal("-M", "none", "-accel", "test", "-serial", "mon:stdio")
        wait_for(lambda: not termios.tcgetattr(fd)[3] & termios.ICANON, "raw mode")
        assert not termios.tcgetattr(fd)[3] & termios.ISIG, "Ctrl-C must go to the guest"
        if how == "key":
            os.write(fd, b"\x03")  # does not end it
            os.write(fd, b"\x01h")
            read_until(fd, b"C-a x    end the emulator")
            os.write(fd, b"\x01x")
            read_until(fd, b"terminated")
        elif how == "signal":
            os.kill(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGABRT)
        end = time.monotonic() + LIMIT
        while not gone(pid):  # drain, or it may wait for us
            assert time.monotonic() < end
            if select.select([fd], [], [], 0.01)[0]:
                os.read(fd, 4096)
        after = termios.tcgetattr(slave)
        assert after[3] == before[3] and after[0] == before[0], how
        os.close(slave)
        os.close(fd)


def stopped(pid):
    return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] in "Tt"


def raw(fd):
    return not termios.tcgetattr(fd)[3] & termios.ICANON


def test_suspend(d):
    """kill -TSTP: stops with a usable terminal, continues with a raw one."""
    pid, fd, slave, before = on_terminal("-M", "none", "-accel", "test", "-serial", "mon:stdio")
    wait_for(lambda: raw(fd), "raw mode")
    os.kill(pid, signal.SIGTSTP)
    wait_for(lambda: stopped(pid), "stop")
    assert not raw(fd)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: raw(fd) and not stopped(pid), "raw mode after SIGCONT")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: gone(pid), "end")
    assert termios.tcgetattr(slave)[3] == before[3]
    os.close(slave)
    os.close(fd)


def test_stdout_stays_blocking(d):
    """Other processes share our standard output: its flags are as before."""
    r, w = os.pipe()
    p = subprocess.Popen(BASE + ["-monitor", "stdio"], stdin=subprocess.PIPE, stdout=w)
    read_until(r, b"(qemu) ")
    assert not fcntl.fcntl(w, fcntl.F_GETFL) & os.O_NONBLOCK
    p.communicate(b"quit\n", timeout=LIMIT)
    assert p.returncode == 0 and not fcntl.fcntl(w, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(r)
    os.close(w)


def test_cpu_in_monitor(d):
    """A PC that has not started: the reset state of Intel SDM volume 3, table 9-1."""
    lines = (b"print $cs\np $eip\np $pc\np $cs_base\np $eflags\np $al\nx/1i $pc\nx/2xb $pc\n"
             b"p $nope\ninfo cpus\nquit\n")
    status, out, err = run("-S", "-monitor", "stdio", stdin=lines, base=[BIN, "-display", "none"])
    answers = [l for l in out.replace("\r", "").split("\n") if not l.startswith("(qemu)")][1:]
    assert status == 0, err
    assert answers[:6] == ["0xf000", "0xfff0", "0xfffffff0", "0xffff0000", "0x2", "0"], answers
    if "no disassembler" not in answers[6]:
        assert "ljmp 0xf000:" in answers[6], answers
    assert answers[7].startswith("00000000fffffff0: 0xea "), answers
    assert answers[8] == "Error: unknown register '$nope'", answers
    assert answers[10] == "* CPU #0: pc=0x00000000fffffff0", answers


def test_rtc_driftfix(d):
    """-rtc driftfix=slew is the clock's lost_tick_policy."""
    for option, policy in (("none", "discard"), ("slew", "slew")):
        status, out, err = run("-S", "-monitor", "stdio", "-rtc", f"driftfix={option}", stdin=b"info qtree\nquit\n",
                               base=[BIN, "-display", "none"])
        assert status == 0, err
        assert re.search(rf'lost_tick_policy = "?{policy}"?\r?\n', out), out


def test_pc_ends(d):
    """A running PC with all it has is taken down without a word, or a sanitizer's."""
    base = [BIN, "-display", "none", "-m", "64M"]
    path = os.path.join(d, "mon")
    for how in ("quit", "signal", "reset"):
        p = start("-monitor", f"unix:{path},server=on,wait=off", "-serial", "null", "-device", "isa-debug-exit", base=base)
        s = socket.socket(socket.AF_UNIX)
        wait_for(lambda: s.connect_ex(path) == 0, "socket")  # a socket file is there before somebody listens
        read_until(s.fileno(), b"(qemu) ")
        time.sleep(0.2)  # somewhere in the firmware
        if how == "reset":
            s.sendall(b"system_reset\ninfo status\n")
            read_until(s.fileno(), b"VM status: running")
        if how == "signal":
            p.terminate()
        else:
            s.sendall(b"quit\n")
        status, out, err = finish(p)
        s.close()
        told = f"{NAME}: terminating on signal 15 from pid {os.getpid()} ({open('/proc/self/comm').read().strip()})\n"
        assert (status, err) == (0, told if how == "signal" else ""), (how, status, err)


def test_nodefaults(d):
    out = run("-monitor", "stdio", stdin=b"info chardev\nquit\n")[1]
    assert "serial0: filename=null" in out
    out = run("-nodefaults", "-monitor", "stdio", stdin=b"info chardev\nquit\n")[1]
    assert "serial0" not in out


def test_device_aliases(d):
    """QEMU's second names (system/device_type.c): in -device help, for -device and for -global."""
    listed = dict(re.findall(r'^name "([^"]+)", .*alias "([^"]+)"', run("-device", "help")[1], re.M))
    assert listed["virtio-gpu-pci"] == "virtio-gpu" and listed["virtio-blk-pci"] == "virtio-blk", listed
    qemu = shutil.which("qemu-system-x86_64")
    if qemu:
        text = subprocess.run([qemu, "-device", "help"], capture_output=True, text=True, check=True).stdout
        theirs = dict(re.findall(r'^name "([^"]+)", .*alias "([^"]+)"', text, re.M))
        assert {n: a for n, a in theirs.items() if f'"{n}"' in run("-device", "help")[1]} == listed, theirs
    for name, alias in listed.items():
        assert run("-device", alias + ",help") == run("-device", name + ",help"), alias
    pc = [BIN, "-nodefaults", "-display", "none", "-M", "pc", "-S", "-monitor", "stdio"]
    out = run("-device", "virtio-gpu,id=g", "-global", "virtio-gpu.xres=777",
              stdin=b"qom-get /machine/peripheral/g xres\nqom-get /machine/peripheral/g type\nquit\n", base=pc)
    assert out[0] == 0 and not out[2] and "777" in out[1] and '"virtio-gpu-pci"' in out[1], out


def main():
    tests = [(n[5:], f) for n, f in globals().items() if n.startswith("test_")]
    print(f"1..{len(tests)}")
    bad = 0
    for i, (name, fn) in enumerate(tests, 1):
        d = tempfile.mkdtemp(prefix="rhea-cli-")
        try:
            fn(d)
            print(f"ok {i} - {name}", flush=True)
        except Exception:
            bad += 1
            print(f"not ok {i} - {name}")
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), flush=True)
        finally:
            shutil.rmtree(d, ignore_errors=True)
    return 1 if bad else 0


sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""-display curses (ui/curses.c, ui/curses-term.c, ui/curses-keys.c, ui/strokes.c, util/tty.c) in a terminal, which is tmux: GRUB's screen in its
colours, typed at key by key; the monitor on Alt-2; sizes; its own messages; signals; and the terminal as it was at the end. Skipped where tmux
is not installed."""
import os
import re
import signal
import subprocess
import sys
import tempfile

import rheatest as rt
from floppy import grub_disk
from qmp import expect
from terminal import terminal

BASE = (rt.BIN, "-M", "pc", "-accel", "tcg", "-m", "32M", "-nic", "none", "-display", "curses")


def type_slowly(t, before, text):
    """A key when the one before is seen."""
    for i, ch in enumerate(text):
        t.type(ch)
        t.expect((before + text[:i + 1]).rstrip())


def ends(t):
    """The program ends well, and the terminal is as it was: the shell's lines, echo, the cursor."""
    t.expect("status 0")
    t.until("the cursor", lambda: t.cursor()[2])
    t.clear()
    command(t, "echo again $((6 * 7))", "again 42")


def command(t, text, answer):
    t.type(text)
    t.expect(text)
    t.keys("Enter")
    t.expect(answer)


def quits(t):
    t.keys("M-2")
    t.expect("(qemu)")
    t.type("quit")
    t.expect("(qemu) quit")
    t.keys("Enter")
    ends(t)


def curses_grub():
    with tempfile.TemporaryDirectory(prefix="rhea-curses-") as d, terminal() as t:
        disk = grub_disk(d, "set color_normal=yellow/blue\n", "normal", "echo", "minicmd")
        t.run(*BASE, "-fda", disk, "-boot", "a")
        t.expect("grub>")
        screen = t.text(looks=True)
        expect(re.search(r"\x1b\[[0-9;]*\b93[0-9;]*m", screen) and re.search(r"\x1b\[[0-9;]*\b44[0-9;]*m", screen), f"yellow on blue: {screen!r}")
        type_slowly(t, "grub> ", "echo A-b_@ {x}")
        t.keys("BSpace")
        t.keys("BSpace")
        t.until("two characters less", lambda: "echo A-b_@ {\n" in t.text() or re.search(r"echo A-b_@ \{ *\n", t.text()))
        t.keys("C-a") # to the line's beginning
        t.until("the cursor there", lambda: t.cursor()[0] == 6)
        t.keys("C-e")
        t.keys("BSpace")
        t.until("one less", lambda: re.search(r"echo A-b_@ *\n", t.text()))
        t.keys("Enter")
        t.until("GRUB's answer", lambda: re.search(r"^A-b_@ *$", t.text(), re.M))
        t.keys("Up")
        t.until("the last line", lambda: t.text().rstrip().endswith("grub> echo A-b_@"))
        column, row, seen = t.cursor()
        expect(seen and t.text().splitlines()[row][:column].rstrip() == "grub> echo A-b_@", f"the cursor is at {column}, {row}")
        t.keys("M-2") # the monitor
        t.expect("(qemu)")
        command(t, "info status", "VM status: running")
        command(t, "nö such", "unknown command") # a character that no key of the layout has
        t.keys("M-3") # the serial port
        t.until("an empty screen", lambda: not t.text().strip())
        t.keys("M-1")
        t.expect("grub> echo A-b_@")
        smaller(t)
        quits(t)
        expect(not re.search(r"[\x00-\x06\x10-\x1a]", t.sent().split("status 0")[0].split("grub>", 1)[1]), "control characters")


# mov ax,0b800h; mov es,ax; xor di,di; mov ax,1e00h; next: stosw; inc al; jnz next; stop: hlt; jmp stop
ALL_BYTES = bytes.fromhex("b800b8 8ec0 31ff b8001e ab fec0 75fb f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"


def curses_charset():
    """A guest that writes all bytes there are: characters of the font that it has, and nothing that controls the terminal."""
    with tempfile.TemporaryDirectory(prefix="rhea-curses-") as d, terminal() as t:
        disk = os.path.join(d, "disk")
        with open(disk, "wb") as f:
            f.write(ALL_BYTES)
            f.truncate(1440 << 10)
        for charset in "cp437", "koi8-r":
            t.run(*BASE[:-1], f"curses,charset={charset}", "-fda", disk, "-boot", "a")
            t.expect(bytes(range(0xc0, 0xf0)).decode(charset))
            t.expect(bytes(range(0x21, 0x7f)).decode()[:40])
            t.expect("\u263a\u263b\u2665") # what codes of control look like
            expect("\x1b[93m" in t.text(looks=True) or "93;44m" in t.text(looks=True), "yellow")
            quits(t)
        expect(not re.search(r"[\x00-\x06\x10-\x1a\x7f]", t.sent()), "control characters")


def smaller(t):
    """The last line and the cursor stay in sight; it is told what is not."""
    t.size(40, 10)
    t.until("a note", lambda: "40x10 of 80x25 are seen" in t.sent())
    t.until("the note's end", lambda: "are seen" not in t.text())
    t.expect("grub> echo A-b_@")
    t.size(100, 30) # in the middle
    t.until("a greater terminal", lambda: re.search(r"^ {10}grub> echo A-b_@", t.text(), re.M))
    t.size(80, 25)
    t.until("as before", lambda: re.search(r"^grub> echo A-b_@", t.text(), re.M))


def curses_graphics():
    """A mode that is no text; a message of the program's; the program is stopped and goes on; SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="rhea-curses-") as d, terminal(80, 24) as t:
        pid = os.path.join(d, "pid")
        t.run(*BASE, "-vga", "none", "-device", "ramfb", "-pidfile", pid, "-global", "nonesuch.x=1")
        t.expect("No picture")
        t.keys("M-2")
        t.expect("(qemu)")
        with open(pid, encoding="ascii") as f:
            number = int(f.read())
        os.kill(number, signal.SIGTSTP)
        t.expect("status 1") # 128 and the signal
        t.clear()
        t.type("fg; echo status $?")
        t.keys("Enter")
        t.expect("(qemu)")
        command(t, "info status", "VM status: running")
        os.kill(number, signal.SIGTERM)
        t.expect("terminating on signal 15") # after the end, when it can be seen
        ends(t)


def curses_restores():
    """A fault of the program itself: the terminal is put back before it dies."""
    with tempfile.TemporaryDirectory(prefix="rhea-curses-") as d, terminal() as t:
        pid = os.path.join(d, "pid")
        t.run(*BASE, "-pidfile", pid)
        t.keys("M-2")
        t.expect("(qemu)")
        with open(pid, encoding="ascii") as f:
            os.kill(int(f.read()), signal.SIGABRT)
        t.until("the shell", lambda: re.search("status [1-9]", t.text()))
        t.clear()
        command(t, "echo back $((6 * 7))", "back 42")


def curses_sandbox():
    """Below the filter of system calls, with sizes that change, in a terminal without UTF-8."""
    if "cannot filter" in subprocess.run([rt.BIN, "-sandbox", "on", "-version"], capture_output=True, check=False, text=True).stderr:
        raise rt.Skip("no filter in this build")
    with terminal(LC_ALL="C", ASAN_OPTIONS="detect_leaks=0") as t: # that makes calls of its own
        t.run(*BASE, "-S", "-sandbox", "on,spawn=deny")
        t.keys("M-2")
        t.expect("(qemu)")
        t.size(60, 20)
        t.until("the note", lambda: "60x20 of 80x24 are seen" in t.sent())
        command(t, "info status", "paused")
        quits(t)


def refused(args, want, **how):
    p = subprocess.run([*BASE, *args], capture_output=True, text=True, check=False, timeout=60 * rt.SLOW, **how)
    expect(p.returncode == 1 and want in p.stderr, f"{args}: status {p.returncode}, {p.stderr}")


def curses_wrong():
    refused((), "standard input is no terminal", stdin=subprocess.DEVNULL)
    refused(("-nographic",), "-nographic has the serial port and the monitor")
    refused(("-daemonize",), "-daemonize leaves no terminal")
    with terminal(150, 30) as t:
        for args, text in {
                ("-serial", "stdio"): "stdio is already used by chardev",
                ("-monitor", "stdio"): "stdio is already used by chardev",
                ("-full-screen",): "'full-screen' is not supported",
                ("-display", "curses,charset=KOI-99"): "'charset' does not take 'KOI-99'",
        }.items():
            t.run(*BASE, *args)
            t.expect(text)
            t.expect("status 1")
            t.clear()
        t.run("env", "TERM=nonesuch", *BASE)
        t.expect("the terminal's type 'nonesuch' is not known")
        t.expect("status 1")


ALL = [curses_grub, curses_charset, curses_graphics, curses_restores, curses_sandbox, curses_wrong]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

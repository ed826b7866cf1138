#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gen-manpage.py PROGRAM OUTPUT: the manual page of rhea-system, from what itself says: -help, -version,
-device help, -trace help and the human monitor's help."""
import re
import subprocess
import sys

NAME = "rhea-system-x86_64"
INTRO = """
.SH NAME
{name} \\- machine emulator
.SH SYNOPSIS
.B {name}
.RI [ options ]
.SH DESCRIPTION
Rhea emulates a PC and runs the operating system that the options name. Its command line is that of
QEMU; an option that is known but not supported ends the program with a message that names the
reason and what to use instead.
.PP
Text of the form key=value is separated by commas; a comma inside a value is written twice. Where
key=value items are taken, a JSON object is taken too.
"""
OUTRO = """
.SH KEYS
With
.B \\-nographic
or a serial port on
.B mon:stdio
the escape key Ctrl-A begins a command: h help, x end the emulator, c next of serial port and
monitor, b send a break, t time stamps, s write disk data, Ctrl-A send Ctrl-A.
.SH DEVICES THAT COME AND GO
PCI devices can be added and removed while the guest runs: device_add and device_del in the monitor or
by QMP take what
.B \\-device
takes. On the machine pc any free slot will do; on q35 give a port for each device that may come, for example
.BR "\\-device pcie\\-root\\-port,id=rp1,chassis=1" ,
and later device_add virtio\\-rng\\-pci,id=r1,bus=rp1. device_del asks the guest; the event
DEVICE_DELETED tells when the device is gone, and a reset of the machine completes what the guest did not do.
.SH EXIT STATUS
0 when the guest powered off or the operator ended the program, also by SIGINT, SIGTERM or SIGHUP; 1
after an error, which is told on the standard error; the device isa-debug-exit ends it with twice
the value written plus one.
.SH EXAMPLES
.nf
{name} \\-m 512M \\-nographic \\-kernel vmlinuz \\-initrd initrd.img \\-append console=ttyS0
{name} \\-m 1G \\-display none \\-serial file:serial.log \\-monitor unix:monitor,server=on,wait=off
.fi
"""


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("][", "]\\:[")  # \\: may end a line
    return re.sub(r"^([.'])", r"\\&\1", text)


def output(program, *options, said=""):
    p = subprocess.run([program, *options], input=said, stdout=subprocess.PIPE, check=True, text=True)
    return p.stdout


def devices(text):
    """(name, bus, second name, what it is) of each line of -device help."""
    for line in text.splitlines():
        m = re.match(r'name "([^"]+)"(?:, bus ([^,]+))?(?:, alias "([^"]+)")?(?:, desc "(.*)")?$', line)
        if m:
            yield m.groups()


def commands(program):
    """(name and arguments, what it does) of each line of the human monitor's help and help info."""
    text = output(program, "-M", "none", "-S", "-nodefaults", "-display", "none", "-monitor", "stdio",
                  said="help\nhelp info\nquit\n")
    for line in text.replace("\r", "").splitlines():
        m = re.match(r"((?:\w|\?)\S*(?: \S.*?)?) -- (.+)$", line)
        if m:
            yield m.groups()


def events(program):
    """(name and arguments, what it tells) of each trace event."""
    return re.findall(r"^(\w+\(.*\))\n    (\S.*)$", output(program, "-trace", "help"), re.M)


def entries_of(rows):
    for head, text in rows:
        yield from (".TP", f".B {roff(head)}", roff(text))


def sections(text):
    """(title, [(option, [line...])...]) of each part of -help."""
    for part in text.split("\n\n")[1:]:
        lines = part.splitlines()
        if not lines[0].endswith(":"):
            continue
        entries = []
        for line in lines[1:]:
            if line.startswith("-") and lines[0].startswith("Known"):
                option, _, reason = line.partition(" ")
                entries.append((option, [reason.strip()]))
            elif line.startswith("-") and "  " in line[:17]:  # up to 14 columns: padded, the help follows
                entries.append((line[:15].rstrip(), [line[16:]]))
            elif line.startswith("-"):
                entries.append((line, []))
            else:
                entries[-1][1].append(line.strip())
        yield lines[0][:-1], entries


def main():
    program, target = sys.argv[1:]
    version = output(program, "-version").split()[-1]
    page = [f'.TH {NAME.upper()} 1 "" "Rhea {version}" "User commands"',
            ".nh", ".ad l", INTRO.strip().format(name=roff(NAME))]
    for title, entries in sections(output(program, "-help")):
        page.append(f'.SH {title.upper()}')
        for option, lines in entries:
            page.append(".TP")
            page.append(f".B {roff(option)}")
            for n, line in enumerate(lines):
                page += ([".br"] if n else []) + [roff(line)]
    page += [".SH DEVICES", "What", ".B \\-device", "takes; NAME,help lists the properties of one."]
    page += entries_of((name, (what or name) + (f" (bus {bus})" if bus else "") +
                        (f"; also {alias}" if alias else ""))
                       for name, bus, alias, what in devices(output(program, "-device", "help")))
    page += [".SH MONITOR COMMANDS", "What the human monitor understands. Programs use QMP: rhea\\-qmp(7)."]
    page += entries_of(commands(program))
    page += [".SH TRACE EVENTS", "What", ".B \\-trace", "and the monitor's trace\\-event switch on."]
    page += entries_of(events(program))
    page.append(OUTRO.strip().format(name=roff(NAME)))
    with open(target, "w", encoding="utf-8") as f:
        f.write("\n".join(page) + "\n")


main()

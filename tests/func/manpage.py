#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The manual pages hold every option of -help with what is said of it, every device, every trace event, and every command of both
monitors; they format without a complaint and are installed. The human monitor's help has every command of the tables. Nothing that
can be asked for help is without a text: options, devices, machines, accelerators, objects, and the properties of all of them."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
BIN = os.environ.get("RHEA_BIN") or os.path.join(BUILD, "tools/system/rhea-system-x86_64")
SOURCE = os.environ.get("RHEA_SOURCE_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(BUILD, "docs/rhea-system-x86_64.1")


def output(*args):
    return subprocess.run(args, stdout=subprocess.PIPE, text=True, check=True).stdout


def plain(roff):
    """What a reader sees: one line of words."""
    text = re.sub(r"^\.\\\".*$|^\.(TH|TP|br|nf|fi|nh|ad).*$", "", roff, flags=re.M)
    text = re.sub(r"^\.(B|I|RI|SH) ", "", text, flags=re.M)
    return " ".join(text.replace("\\:", "").replace("\\-", "-").replace("\\&", "").replace("\\e", "\\").split())


def every_option(page):
    lines = output(BIN, "-help").splitlines()
    options = [m.group(1) for m in (re.match(r"(--?[a-z0-9][\w-]*)", l, re.I) for l in lines) if m]
    assert len(options) > 100, f"-help shows only {options}"
    bold = {w for l in re.findall(r"^\.B (.*)$", page.replace("\\-", "-"), re.M) for w in l.split()}
    missing = [o for o in options if o not in bold]
    assert not missing, f"not in the manual page: {missing}"
    assert "-help" in bold and "-nosuchoption" not in bold


def every_word(page):
    text = plain(page)
    for line in output(BIN, "-help").splitlines()[2:]:
        if line.startswith((" ", "-")):
            for part in re.split(r"\s{2,}", re.sub(r"^(-\S+) (there|code) ", r"\1  \2 ", line.strip())):
                words = " ".join(part.split())
                assert words in text, f"the manual page lacks: {words}"


def bold(page):
    return {line.replace("\\-", "-") for line in re.findall(r"^\.B (.*)$", page, re.M)}


def every_device(page):
    names = re.findall(r'^name "([^"]+)"', output(BIN, "-device", "help"), re.M)
    assert len(names) > 30, names
    missing = set(names) - bold(page)
    assert not missing, f"devices that are not in the manual page: {missing}"


def every_event(page):
    names = re.findall(r"^(\w+)\(.*\)$", output(BIN, "-trace", "help"), re.M)
    assert len(names) > 30, names
    missing = set(names) - {h.split("(")[0] for h in bold(page)}
    assert not missing, f"trace events that are not in the manual page: {missing}"


def without_text(what, text):
    """The properties that lack a type or a text: "  NAME=<TYPE>   - TEXT"."""
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    return [f"{what}: {line}" for line in lines if not re.fullmatch(r"  \S+=<[^>]+> +- \S.*", line)], len(lines)


def every_text(page):
    bad, count = [], 0
    options = output(BIN, "-help")
    options = options[:options.index("Known, but not supported yet")].splitlines() + ["", ""]
    for n, line in enumerate(options[:-2]):
        below = options[n + 1] if not options[n + 1].startswith("[") else options[n + 2]
        if re.match(r"-\S", line) and not re.match(r"-.{14} \S", line) and not re.match(r" {16}\S", below):
            bad.append(f"option without a text: {line}")
    devices = re.findall(r'^name "([^"]+)", bus .*?, desc "(.*)"$', output(BIN, "-device", "help"), re.M)
    bad += [f"device without a text: {name}" for name, desc in devices if not desc.strip()]
    machines = re.findall(r"^(\S+) +(\S.*)$", output(BIN, "-M", "help").split("\n", 1)[1], re.M)
    accels = re.findall(r"^(\S+) +(\S.*)$", output(BIN, "-accel", "help").split("\n", 1)[1], re.M)
    assert len(devices) > 30 and len(machines) > 3 and len(accels) > 1, (devices, machines, accels)
    for option, names in (("-device", devices), ("-M", machines), ("-accel", accels)):
        for name, _ in names:
            wrong, n = without_text(f"{option} {name}", output(BIN, option, f"{name},help"))
            bad += wrong
            count += n
    assert count > 200 and not bad, f"{count} properties:\n" + "\n# ".join(bad)


def monitor_help():
    p = subprocess.run([BIN, "-M", "none", "-S", "-nodefaults", "-display", "none", "-monitor", "stdio"], input="help\nhelp info\nquit\n",
                       stdout=subprocess.PIPE, text=True, check=True)
    return p.stdout.replace("\r", "")


def every_command(page):
    """Of the human monitor: the rows of the tables in the source, in its help and in the page."""
    rows = []
    for path in glob.glob(os.path.join(SOURCE, "monitor/*.c")) + glob.glob(os.path.join(SOURCE, "tools/system/*.c")):
        with open(path, encoding="utf-8") as f:
            for table in re.findall(r"HmpCommand \w+\[\] = \{\n(.*?)^\};", f.read(), re.M | re.S):
                rows += re.findall(r'^    \{ "([^"]+)", "', table, re.M)
    assert len(rows) > 60, rows
    text, heads = monitor_help(), {h.split(" ")[-1] if h.startswith("info ") else h.split(" ")[0] for h in bold(page)}
    for row in rows:
        assert re.search(rf"^(info )?{re.escape(row)}( .*)? -- \S.*$", text, re.M), f"'{row}' is not in the monitor's help"
        assert row in heads or any(h.startswith((row + " ", f"info {row}")) for h in bold(page)), f"'{row}' is not in the manual page"


def every_qmp_command(page):
    with open(os.path.join(BUILD, "docs/rhea-qmp.7"), encoding="utf-8") as f:
        manual = f.read().replace("\\-", "-")
    names = []
    for path in glob.glob(os.path.join(SOURCE, "schema/qmp*.idl")):
        with open(path, encoding="utf-8") as f:
            names += re.findall(r"^(?:command|event) ([\w-]+)", f.read(), re.M)
    assert len(names) > 120, names
    missing = [n for n in names if not re.search(rf"^\.\w+ .*\b{re.escape(n)}\b", manual, re.M)]
    assert not missing, f"not in the manual of QMP: {missing}"


def formats(page):
    if not shutil.which("groff"):
        return "groff is not installed"
    p = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", PAGE], stderr=subprocess.PIPE, text=True, check=False)
    assert p.returncode == 0 and not p.stderr, p.stderr
    return None


def installed(page):
    plan = json.loads(output("meson", "introspect", "--installed", BUILD))
    assert any(p.endswith("/docs/rhea-system-x86_64.1") and t.endswith("/man1/rhea-system-x86_64.1")
               for p, t in plan.items()), plan
    return None


def main():
    tests = [every_option, every_word, every_device, every_event, every_text, every_command, every_qmp_command, formats,
             installed]
    print(f"1..{len(tests)}")
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    bad = 0
    for n, test in enumerate(tests, 1):
        try:
            skip = test(page)
            print(f"ok {n} - {test.__name__}" + (f" # SKIP {skip}" if skip else ""))
        except (AssertionError, subprocess.CalledProcessError) as e:
            bad += 1
            print(f"not ok {n} - {test.__name__}\n# {e}")
    return 1 if bad else 0


sys.exit(main())

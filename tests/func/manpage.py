#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The manual page holds every option of -help with what is said of it, formats without a complaint, and is installed."""
import json
import os
import re
import shutil
import subprocess
import sys

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
BIN = os.environ.get("RHEA_BIN") or os.path.join(BUILD, "tools/system/rhea-system-x86_64")
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
    tests = [every_option, every_word, formats, installed]
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

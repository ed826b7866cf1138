#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""error-codes.py ROOT: every code of an error in the sources is in the catalogue (util/errorcode.c), each row
of the catalogue is used, and docs/devel/qmp.md has the same rows."""
import os
import re
import sys

FOLDERS = ("accel", "backends", "block", "hw", "monitor", "net", "schema", "system", "target", "tools",
           "ui", "util")
# The call and the place of the code among its arguments, counted from the one behind errp.
CALLS = re.compile(r"\b(error_fail|error_set_code|member_error|decode_code)\(")
CODE_AT = {"error_fail": 1, "error_set_code": 1, "member_error": 2, "decode_code": 1}


def arguments(text, start):
    """The arguments of a call whose '(' is at start."""
    out, depth, quote, i = [""], 0, None, start
    while True:
        c = text[i]
        if quote:
            out[-1] += c
            if c == "\\":
                i += 1
                out[-1] += text[i]
            elif c == quote:
                quote = None
        elif c in "\"'":
            quote = c
            out[-1] += c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if not depth:
                return out
        elif c == "," and depth == 1:
            out.append("")
        else:
            out[-1] += c
        i += 1


def used(root):
    for folder in FOLDERS:
        for top, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                path = os.path.join(top, name)
                if name.endswith(".c") and name != "errorcode.c":
                    with open(path, encoding="utf-8") as f:
                        text = f.read()
                    for m in CALLS.finditer(text):
                        args = arguments(text, m.end() - 1)
                        at = CODE_AT[m.group(1)]
                        line = text.count("\n", 0, m.start()) + 1
                        for code in re.findall(r'"([^"]*)"', args[at] if at < len(args) else ""):
                            yield code, f"{os.path.relpath(path, root)}:{line}"


def main():
    root = sys.argv[1]
    with open(os.path.join(root, "util/errorcode.c"), encoding="utf-8") as f:
        source = f.read()
    rows = re.findall(r'\{ "([a-z-]+)", "(.*)" \},', source[:source.index("error_code_row")])
    known = dict(rows)
    bad = []
    if [c for c, _ in rows] != sorted(known):
        bad.append("util/errorcode.c: the catalogue is not in order, or has a code twice")
    defaults = set(re.findall(r'return (?:[^;"]*\? )?"([a-z-]+)"', source)) | {"failed"}
    seen = set(defaults)
    for code, where in used(root):
        seen.add(code)
        if code not in known:
            bad.append(f"{where}: code '{code}' is not in the catalogue")
    bad += [f"util/errorcode.c: nothing has code '{code}'" for code in known if code not in seen]
    bad += [f"util/errorcode.c: '{code}' is not in the catalogue" for code in defaults - set(known)]
    with open(os.path.join(root, "docs/devel/qmp.md"), encoding="utf-8") as f:
        told = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", f.read(), re.M))
    bad += [f"docs/devel/qmp.md: code '{c}' is told as '{told.get(c)}', and is '{known.get(c)}'"
            for c in sorted(set(told) | set(known)) if told.get(c) != known.get(c)]
    print("\n".join(bad) or f"{len(known)} codes")
    return bool(bad)


sys.exit(main())

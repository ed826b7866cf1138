#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test-tracegen.py TRACEGEN: every error of scripts/tracegen, with its line. What it makes of a good file
test-trace.c uses."""
import os
import subprocess
import sys
import tempfile

ERRORS = [
    ("", None, "there is no event"),
    ('a() "x"', 1, "event 'a' is not documented"),
    ('## D.\n\nA() "x"', 3, "'NAME(ARGUMENT: TYPE, ...) \"text\"' expected, not 'A() \"x\"'"),
    ('## D.\na "x"', 2, "'NAME(ARGUMENT: TYPE, ...) \"text\"' expected, not 'a \"x\"'"),
    ('## D.\na() "x\\n"', 2, "'NAME(ARGUMENT: TYPE, ...) \"text\"' expected, not 'a() \"x\\n\"'"),
    ('## D.\na() ""', 2, "'NAME(ARGUMENT: TYPE, ...) \"text\"' expected, not 'a() \"\"'"),
    ('## D.\na()\n# more', None, "'a()' has no text"),
    ('## D.\na(b) "%{b}"', 2, "'b' is not ARGUMENT: TYPE"),
    ('## D.\na(b: int) "%{b}"', 2, "'b: int' is not ARGUMENT: TYPE"),
    ('## D.\na(b: u8, b: u8) "%{b}"', 2, "event 'a' has an argument twice"),
    ('## D.\na(b: u8) "x"', 2, "event 'a': 'b' is not shown"),
    ('## D.\na(b: u8) "%{b} %{c}"', 2, "event 'a': 'c' is not an argument"),
    ('## D.\na() "x"\n## D.\na() "y"', 4, "event 'a' is defined twice"),
]


def main():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "trace.def")
        outs = [os.path.join(d, n) for n in ("trace.h", "trace.c")]
        for text, line, want in ERRORS:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            run = subprocess.run([sys.executable, sys.argv[1], path, *outs], capture_output=True, text=True,
                                 check=False)
            place = f"{path}:{line}" if line else path
            assert run.returncode == 1 and run.stderr == f"tracegen: {place}: {want}\n", (text, run.stderr)
            assert not any(map(os.path.exists, outs)), text
        run = subprocess.run([sys.executable, sys.argv[1], path], capture_output=True, text=True, check=False)
        assert run.returncode == 1 and "usage:" in run.stderr, run.stderr


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""failures.py LABEL TESTLOG.json: the tests of a meson run that failed, each with the end of its output. With
--names for the label: their names alone.

scripts/check prints this last, so that the end of a long log is enough to see what went wrong."""
import json
import sys

LINES = 60


def main():
    label, path = sys.argv[1:]
    with open(path, encoding="utf-8") as f:
        tests = [json.loads(line) for line in f if line.strip()]
    for test in tests:
        if test["result"] in ("OK", "EXPECTEDFAIL", "SKIP", "IGNORED"):
            continue
        if label == "--names":
            print(test["name"].split(" / ")[-1])
            continue
        print(f"== failed: {test['name']} ({label}): {test['result']}, status {test['returncode']}, "
              f"{test['duration']:.1f} s")
        for stream in "stdout", "stderr":
            lines = (test.get(stream) or "").splitlines()
            # What passed is of no interest.
            lines = [line for line in lines if not line.startswith(("ok ", "# Start of", "# End of"))]
            if lines:
                print(f"-- {stream}, the last {min(LINES, len(lines))} of {len(lines)} lines")
                print("\n".join(line[:400] for line in lines[-LINES:]))


if __name__ == "__main__":
    main()

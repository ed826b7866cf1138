#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test-schemagen.py SCHEMAGEN SAMPLE.idl: golden output, and every error with its line.

With --update the golden files are written anew."""
import os
import subprocess
import sys
import tempfile

ERRORS = [
    ("bogus", 1, "enum, struct or union expected, not 'bogus'"),
    ("enum A {}", 1, "enum 'A' has no values"),
    ("enum A { b, b }", 1, "value 'b' is given twice"),
    ("enum A { b$ }", 1, "'b$' is not a value name"),
    ("enum A { b }\nenum A { c }", 2, "type 'A' is defined twice"),
    ("struct a {\n}", 1, "type name 'a' must be in camel case"),
    ("struct A {\n", 1, "'A' is not closed"),
    ("struct A : B {\n}", 1, "base 'B' is not an earlier struct"),
    ("struct A {\n x: bar\n}", 2, "type 'bar' is unknown here"),
    ("struct A {\n x\n}", 2, "member expected, not 'x'"),
    ("struct A {\n x: int\n x: str\n}", 3, "member 'x' is given twice"),
    ("struct A {\n x?: int = 1\n}", 2, "'x' is optional and has a default: one of them is enough"),
    ("struct A {\n x: int ## @bogus\n}", 2, "unknown or malformed @bogus"),
    ("struct A {\n x: str ## @range 1..2\n}", 2, "@range goes with int, uint and size"),
    ("struct A {\n x: int ## @range 2..1\n}", 2, "@range is empty"),
    ("struct A {\n x: uint ## @range -1..1\n}", 2, "'-1' is not a number for this type"),
    ("struct A {\n x: uint = 5 ## @range 1..2\n}", 2, "default 5 is out of range"),
    ("struct A {\n x: size = 16E\n}", 2, "'16E' does not fit in 64 bits"),
    ("struct A {\n x: int ## @unit M\n}", 2, "@unit goes with a size"),
    ("struct A {\n x: any ## @rest\n}", 2, "@rest goes with an optional any"),
    ("struct A {\n x: bool = on\n}", 2, "default of a bool is true or false"),
    ("struct A {\n x: any = 1\n}", 2, "a any cannot have a default"),
    ("enum E { a }\nstruct A {\n x: E = b\n}", 3, "default 'b' is not a value of E"),
    ("union U(t: E) {\n}", 1, "tag type 'E' is not an earlier enum"),
    ("enum E { a }\nunion U(t: E) {\n case b: X\n}", 3, "case 'b' is not a value of the tag"),
    ("enum E { a }\nunion U(t: E) {\n case a: X\n}", 3, "case type 'X' is not an earlier struct"),
    ("enum E { a }\nstruct S {\n t: int\n}\nunion U(t: E) {\n case a: S\n}", 6,
     "case 'a' repeats the common member 't'"),
    ("alternate A { X, str }", 1, "type 'X' is unknown"),
    ("enum E { a }\nalternate A { E, str }", 2, "'str' cannot be told apart in an alternate"),
    ("alternate A { str, [X] }", 1, "type '[X]' is unknown"),
    ("alternate A { [str], [int] }", 1, "'[int]' cannot be told apart in an alternate"),
    ("alternate A { any }", 1, "type 'any' is unknown"),
    ("later A", 1, "struct 'A' does not come"),
    ("later A\nlater A", 2, "type 'A' is defined twice"),
    ("later A\nstruct B {\n a: A\n}", 3, "type 'A' is unknown here"),
    ("later A\nenum A { b }", 2, "'A' is announced as a struct"),
    ("import nothing", 1, "there is no {folder}/nothing.idl"),
    ("## D.\ncommand a\n## D.\ncommand a", 4, "command 'a' is defined twice"),
    ("command a", 1, "command 'a' is not documented"),
    ("## D.\ncommand a(X)", 2, "'X' is not an earlier struct or union"),
    ("## D.\ncommand a -> X", 2, "type 'X' is unknown here"),
    ("## D.\nevent A -> int", 2,
     "'NAME(ARGUMENTS) -> RESULT' or 'NAME -> RESULT {' expected, not 'event A -> int'"),
    ("## D.  @bogus\ncommand a", 2, "unknown or malformed @bogus"),
    ("## D.\ncommand a {\n x: int", 3, "'AArgs' is not closed"),
]


def generate(tool, idl, folder):
    out = [os.path.join(folder, "sample" + ext) for ext in (".h", ".c", "-table.c")]
    run = subprocess.run([sys.executable, tool, idl] + out, capture_output=True, text=True)
    return run, out


def compare(out, sample, update):
    """1 when the file differs from its golden one."""
    golden = os.path.join(os.path.dirname(sample), "golden-" + os.path.basename(out) + ".txt")
    with open(out, encoding="utf-8") as f:
        text = f.read()
    if update:
        with open(golden, "w", encoding="utf-8") as f:
            f.write(text)
    with open(golden, encoding="utf-8") as f:
        if f.read() == text:
            return 0
    print(f"{golden} differs from what schemagen writes now; --update if that is meant")
    return 1


def main():
    update = "--update" in sys.argv
    tool, sample = [a for a in sys.argv[1:] if a != "--update"]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        run, outputs = generate(tool, sample, folder)
        assert run.returncode == 0, run.stderr
        manual = os.path.join(folder, "sample.7")
        subprocess.run([sys.executable, tool, "--manual", manual, sample], check=True)
        outputs.append(manual)
        for out in outputs:
            failed += compare(out, sample, update)
        bad = os.path.join(folder, "bad.idl")
        for idl, line, message in ERRORS:
            with open(bad, "w", encoding="utf-8") as f:
                f.write(idl)
            run, _ = generate(tool, bad, folder)
            expected = f"schemagen: {bad}:{line}: {message.replace('{folder}', folder)}\n"
            if run.returncode == 0 or run.stderr != expected:
                failed += 1
                print(f"for {idl!r}\n  expected {expected!r}\n  got      {run.stderr!r}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

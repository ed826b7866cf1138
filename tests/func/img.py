#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rhea-img: every command, its exit codes, and its answers beside those of an installed qemu-img, both ways."""
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
IMG = os.environ.get("RHEA_IMG") or os.path.join(BUILD, "tools/img/rhea-img")
QEMU = shutil.which("qemu-img")
FLAVOURS = ["compat=0.10", "cluster_size=512", "cluster_size=2M", "refcount_bits=1", "refcount_bits=64",
            "extended_l2=on", "compression_type=zstd", "lazy_refcounts=on", "cluster_size=4k,preallocation=metadata",
            "preallocation=falloc"]


class Skip(Exception):
    pass


def run(*args, status=0, tool=None):
    p = subprocess.run([tool or IMG, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                       check=False)
    assert p.returncode == status, f"{args}: status {p.returncode}, not {status}\n{p.stdout}{p.stderr}"
    return p.stdout if status == 0 else p.stdout + p.stderr


def content(size=3 * 1024 * 1024 + 1024, seed=1):
    """Zeros, repeating and random bytes in pieces of odd lengths."""
    rng, out = random.Random(seed), bytearray()
    while len(out) < size:
        n = rng.randrange(1, 200000)
        kind = rng.randrange(4)
        out += bytes(n) if kind < 2 else bytes([rng.randrange(1, 256)]) * n if kind == 2 else rng.randbytes(n)
    return bytes(out[:size])


def write(name, data):
    with open(name, "wb") as f:
        f.write(data)


def read(name):
    with open(name, "rb") as f:
        return f.read()


def need_qemu():
    if not QEMU:
        raise Skip("qemu-img is not installed (qemu-utils)")


def commands():
    text = run("--help")
    for c in ("check", "compare", "convert", "create", "dd", "info", "map", "measure", "resize", "snapshot"):
        assert f"\n  {c} " in text, c
        assert run(c, "--help").startswith(f"usage: rhea-img {c}")
    assert "did you mean 'convert'" in run("convrt", "a", "b", status=1)
    assert "not known" in run("info", "--frob", "x", status=1)
    assert "exclude" in run("info", "--image-opts", "-f", "raw", "driver=null-co", status=1)


def create_info():
    run("create", "-f", "qcow2", "-o", "cluster_size=4k,lazy_refcounts=on", "a.qcow2", "10M")
    j = json.loads(run("info", "--output=json", "a.qcow2"))
    assert j["virtual-size"] == 10 << 20 and j["cluster-size"] == 4096 and j["format"] == "qcow2", j
    assert j["format-specific"]["data"]["lazy-refcounts"] is True, j
    run("create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
    chain = json.loads(run("info", "--output=json", "--backing-chain", "b.qcow2"))
    assert [c["filename"] for c in chain] == ["b.qcow2", "a.qcow2"] and chain[0]["virtual-size"] == 10 << 20, chain
    for bad, text in (("cluster_size=3k", "power of two"), ("encryption=on", "no encryption"),
                      ("refcount_bits=3", "power of two"), ("frob=1", "frob"), ("compat=0.10,extended_l2=on", "compat=1.1")):
        assert text in run("create", "-f", "qcow2", "-o", bad, "c.qcow2", "1M", status=1), bad
    assert "format is not given" in run("create", "-f", "qcow2", "-b", "a.qcow2", "c.qcow2", status=1)
    assert "No such file" in run("create", "-f", "qcow2", "-b", "none", "-F", "raw", "c.qcow2", status=1)
    assert "size" in run("create", "-f", "qcow2", "c.qcow2", status=1)
    assert "cluster_size" in run("create", "-f", "qcow2", "-o", "help", "x")


def convert_all():
    data = content()
    write("in.raw", data)
    for n, options in enumerate(FLAVOURS):
        run("convert", "-f", "raw", "-O", "qcow2", "-o", options, "in.raw", f"{n}.qcow2")
        assert run("compare", "in.raw", f"{n}.qcow2") == "Images are identical.\n", options
        run("check", "-q", f"{n}.qcow2")
        run("convert", "-f", "qcow2", "-O", "raw", f"{n}.qcow2", "out.raw")
        assert read("out.raw") == data, options
        if "data_file" not in options:
            run("convert", "-c", "-O", "qcow2", "-o", options.replace("preallocation=", "compat=1.1,#")
                .split(",#")[0], "in.raw", "c.qcow2")
            assert run("compare", "in.raw", "c.qcow2") == "Images are identical.\n", options
            assert os.path.getsize("c.qcow2") < len(data) + (12 << 20), (options, os.path.getsize("c.qcow2"))
    run("convert", "-W", "-m", "16", "-S", "0", "-O", "qcow2", "in.raw", "in.raw", "two.qcow2")
    run("convert", "-O", "raw", "two.qcow2", "two.raw")
    assert read("two.raw") == data + data, "two inputs"
    assert "(100.00/100%)" in run("convert", "-p", "-O", "raw", "two.qcow2", "two.raw")
    run("convert", "-n", "-O", "raw", "in.raw", "two.raw")
    assert read("two.raw") == data + data
    assert "smaller" in run("convert", "-n", "-O", "raw", "two.qcow2", "in.raw", status=1)


def compare_map():
    data = content(200000)
    write("a.raw", data)
    changed = bytearray(data)
    changed[70000] ^= 1
    write("b.raw", bytes(changed))
    assert run("compare", "a.raw", "b.raw", status=1) == "Content mismatch at offset 69632!\n"
    write("c.raw", data + bytes(1000))
    assert "identical" in run("compare", "a.raw", "c.raw")
    run("compare", "-s", "a.raw", "c.raw", status=1)
    run("compare", "a.raw", "none", status=2)
    assert json.loads(run("map", "--output=json", "a.raw"))[-1]["start"] < 200192
    run("convert", "-c", "-O", "qcow2", "a.raw", "c.qcow2")
    assert "compressed" in run("map", "c.qcow2", status=1)


def resize_measure_dd():
    run("create", "-f", "qcow2", "a.qcow2", "1M")
    run("resize", "a.qcow2", "+1M")
    assert "--shrink" in run("resize", "a.qcow2", "1M", status=1)
    run("resize", "--shrink", "a.qcow2", "-512k")
    assert json.loads(run("info", "--output=json", "a.qcow2"))["virtual-size"] == 3 << 19
    data = content(1 << 20)
    write("a.raw", data)
    run("dd", "if=a.raw", "of=b.raw", "bs=1000", "skip=3", "count=100")
    assert read("b.raw") == data[3000:103000]
    j = json.loads(run("measure", "--output=json", "-O", "qcow2", "--size", "1G"))
    assert j["required"] < 1 << 20 < 1 << 30 < j["fully-allocated"], j


def snapshots():
    write("a.raw", content(1 << 20, 1))
    write("b.raw", content(1 << 20, 2))
    run("convert", "-O", "qcow2", "a.raw", "s.qcow2")
    run("snapshot", "-c", "one", "s.qcow2")
    run("convert", "-n", "-O", "qcow2", "b.raw", "s.qcow2")
    assert " one " in run("snapshot", "-l", "s.qcow2")
    run("convert", "-l", "one", "-O", "raw", "s.qcow2", "one.raw")
    assert read("one.raw") == read("a.raw")
    run("compare", "b.raw", "s.qcow2")
    run("snapshot", "-a", "one", "s.qcow2")
    run("compare", "a.raw", "s.qcow2")
    run("snapshot", "-d", "1", "s.qcow2")
    run("check", "s.qcow2")
    assert "has no snapshot" in run("snapshot", "-d", "one", "s.qcow2", status=1)


def check_repairs():
    run("convert", "-O", "qcow2", make_raw(), "a.qcow2")
    with open("a.qcow2", "r+b") as f:  # one count too many: a leak
        f.seek(0x20000 + 60)
        f.write(b"\0\1")
    assert "Leaked cluster 30" in run("check", "a.qcow2", status=3)
    run("check", "-r", "leaks", "a.qcow2")
    run("check", "a.qcow2")
    with open("a.qcow2", "r+b") as f:  # one count too few: an error
        f.seek(0x20000)
        f.write(b"\0\0")
    assert json.loads(run("check", "--output=json", "a.qcow2", status=2).partition("ERROR")[0])["corruptions"] == 1
    assert "repaired" in run("check", "-r", "all", "a.qcow2")
    run("check", "a.qcow2")
    assert "nothing to check" in run("check", "-f", "raw", "a.qcow2", status=63)


def make_raw():
    write("r.raw", content(500000))
    return "r.raw"


def locked():
    need_qemu()
    run("create", "-f", "qcow2", "a.qcow2", "1M")
    with subprocess.Popen(["qemu-io", "-c", "write 0 512", "-c", "sleep 15000", "a.qcow2"],
                          stdout=subprocess.PIPE) as p:
        for _ in range(100):
            q = subprocess.run([IMG, "info", "a.qcow2"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               check=False)
            if q.returncode:
                break
            time.sleep(0.1)
        text = q.stderr
        run("info", "-U", "a.qcow2")
        p.kill()
    assert f"process {p.pid} (qemu-io)" in text, text


def same_view(name):
    """info, check and map say what qemu-img says."""
    for args in (["info", "--output=json", name], ["map", "--output=json", name], ["check", "--output=json", name]):
        a, b = json.loads(run(*args)), json.loads(run(*args, tool=QEMU))
        assert a == b, f"{args}\n{a}\n{b}"


def qemu_both_ways():
    need_qemu()
    data = content()
    write("in.raw", data)
    for options in FLAVOURS:
        for maker, reader in ((IMG, QEMU), (QEMU, IMG)):
            for more in ([], ["-c"]) if "prealloc" not in options else ([],):
                run("convert", *more, "-O", "qcow2", "-o", options, "in.raw", "x.qcow2", tool=maker)
                os.sync()
                run("check", "-q", "x.qcow2", tool=reader)
                run("convert", "-O", "raw", "x.qcow2", "out.raw", tool=reader)
                assert read("out.raw") == data, (options, maker)
                same_view("x.qcow2")


def main():
    tests = [commands, create_info, convert_all, compare_map, resize_measure_dd, snapshots, check_repairs, locked,
             qemu_both_ways]
    chosen = [t for t in tests if len(sys.argv) < 2 or t.__name__ in sys.argv[1:]]
    print(f"1..{len(chosen)}")
    bad = 0
    for n, test in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory(prefix="rhea-img-") as folder:
            os.chdir(folder)
            try:
                test()
                print(f"ok {n} - {test.__name__}", flush=True)
            except Skip as e:
                print(f"ok {n} - {test.__name__} # SKIP {e}", flush=True)
            except (AssertionError, subprocess.TimeoutExpired, ValueError) as e:
                bad += 1
                print(f"not ok {n} - {test.__name__}\n# " + re.sub("\n", "\n# ", str(e)), flush=True)
            os.chdir("/")
    return 1 if bad else 0


sys.exit(main())

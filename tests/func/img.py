#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rhea-img: every command, its exit codes, and its answers beside those of an installed qemu-img, both ways."""
import json
import os
import subprocess
import sys

from imgtest import FLAVOURS, IMG, QEMU, content, need_qemu, read, run, run_tests, same_view, write


def commands():
    text = run("--help")
    for c in ("amend", "bench", "bitmap", "check", "commit", "compare", "convert", "create", "dd", "info", "map", "measure", "rebase", "resize", "snapshot"):
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
    assert read("b.raw") == data[3000:103000] + bytes(352)  # whole sectors
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
    run("snapshot", "-d", "one", "s.qcow2")
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
    # Nobody else opens the image before qemu-io says that it has written: it would be refused the lock itself.
    with subprocess.Popen(["stdbuf", "-oL", "qemu-io", "-c", "write 0 512", "-c", "sleep 60000", "a.qcow2"],
                          stdout=subprocess.PIPE, text=True) as p:
        first = p.stdout.readline()
        try:
            assert first.startswith("wrote 512/512"), first
            text = run("info", "a.qcow2", status=1)
            run("info", "-U", "a.qcow2")
        finally:
            p.kill()
    assert f"process {p.pid} (qemu-io)" in text, text


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


sys.exit(run_tests([commands, create_info, convert_all, compare_map, resize_measure_dd, snapshots, check_repairs, locked,
                    qemu_both_ways]))

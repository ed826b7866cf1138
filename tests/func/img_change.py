#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rhea-img: what changes images in place: commit, rebase, bitmap, amend, bench. Every case is done by an installed qemu-img as well;
contents and exit codes must be the same. Covers: block/copy.c, qcow2-header.c, qcow2-bitmap.c,
bitmap.c, qcow2-amend.c,
tools/img/commit.c, bitmap.c, amend.c, bench.c."""
import json
import os
import shutil
import subprocess
import sys

from imgtest import ALL, IMG, QEMU, QEMU_IO, content, dirty, io, need_io, need_qemu, read, run, run_tests, same_view, write

FLAVOURS = ["", "compat=0.10,cluster_size=512", "extended_l2=on,compression_type=zstd", "cluster_size=2M,refcount_bits=1",
       "lazy_refcounts=on"]
CHAIN_FLAVOURS = FLAVOURS if ALL else FLAVOURS[:3]


def chain(options, sizes=(3 << 20, 2 << 20, 4 << 20), base_raw=False):
    """base <- mid <- top with data, zeros and gaps in each; the guest's view of top."""
    base = "base.raw" if base_raw else "base.qcow2"
    fmt = "raw" if base_raw else "qcow2"
    write("data.raw", content(sizes[0], 5))
    run("convert", "-O", fmt, *([] if base_raw or not options else ["-o", options]), "data.raw", base)
    more = ["-o", options] if options else []
    run("create", "-q", "-f", "qcow2", "-b", base, "-F", fmt, *more, "mid.qcow2", str(sizes[1]))
    run("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", *more, "top.qcow2", str(sizes[2]))
    io("mid.qcow2", "write -P 11 100k 300k", "write -z 600k 200k", "write -P 12 1500k 33k", "discard 1M 128k")
    io("top.qcow2", "write -P 21 300k 65k", "write -z 1M 64k", "write -z 700k 10k", "write -P 0 1600k 64k",
       f"write -P 22 {sizes[2] - 70000} 512")
    return view("top.qcow2")


def view(name):
    run("convert", "-O", "raw", name, "view.raw", tool=QEMU)
    return read("view.raw")


def commit_all():
    need_io()
    for options in CHAIN_FLAVOURS:
        for args, image in ((["top.qcow2"], "mid.qcow2"), (["-d", "-p", "top.qcow2"], "mid.qcow2"),
                            (["-b", "base.qcow2", "-t", "none", "top.qcow2"], "base.qcow2"), (["mid.qcow2"], "base.qcow2")):
            results = []
            for tool in (QEMU, IMG) if "compat" not in options else (IMG,):  # theirs cannot: such images have no zeros
                want = chain(options)
                if args == ["mid.qcow2"]:
                    want = view("mid.qcow2")
                assert "Image committed." in run("commit", *args, tool=tool), (options, args)
                got = view(image)
                assert got[:len(want)] == want, (options, args, tool)
                for name in ("base.qcow2", "mid.qcow2", "top.qcow2"):
                    run("check", "-q", name, tool=QEMU)
                    run("check", "-q", name)
                results.append((got, json.loads(run("map", "--output=json", "-U", args[-1]))[0]["depth"]))
                same_view(image)
            assert results[0] == results[-1], (options, args)


def commit_errors():
    need_qemu()
    run("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    run("create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
    for tool in (QEMU, IMG):
        assert "does not have a backing file" in run("commit", "a.qcow2", status=1, tool=tool)
        assert "Did not find 'x' in the backing chain of 'b.qcow2'" in run("commit", "-b", "x", "b.qcow2", status=1,
                                                                            tool=tool)
        run("commit", status=1, tool=tool)
    os.chmod("a.qcow2", 0o444)
    assert run("commit", "-q", "b.qcow2", status=0 if os.getuid() == 0 else 1) is not None
    before = read("b.qcow2")
    os.unlink("a.qcow2")
    assert "a.qcow2" in run("commit", "b.qcow2", status=1)
    assert read("b.qcow2") == before


def commit_raw_and_rate():
    need_io()
    want = chain("", base_raw=True)
    run("commit", "-q", "-b", "base.raw", "-r", "100M", "top.qcow2")
    assert read("base.raw")[:len(want)] == want
    chain("", base_raw=True)
    assert "(100.00/100%)" in run("commit", "-p", "--image-opts",
                                  "driver=qcow2,file.driver=file,file.filename=top.qcow2")


def rebase_all():
    need_io()
    for options in CHAIN_FLAVOURS:
        for target in ("base.qcow2", "other.qcow2", "short.raw", ""):
            seen = []
            for tool in (QEMU, IMG):
                want = chain(options)
                write("other.raw", content(5 << 20, 6))
                run("convert", "-O", "qcow2", "other.raw", "other.qcow2")
                write("short.raw", content(1 << 20, 5))
                kind = ["-F", target.rpartition(".")[2]] if target else []
                run("rebase", "-p", "-b", target, *kind, "top.qcow2", tool=tool)
                assert view("top.qcow2") == want, (options, target, tool)
                same_view("top.qcow2")
                run("check", "-q", "top.qcow2")
                j = json.loads(run("info", "--output=json", "top.qcow2"))
                seen.append((j.get("backing-filename"), j.get("backing-filename-format")))
                assert (j.get("backing-filename") or "") == target
            assert seen[0] == seen[1], (options, target, seen)


def rebase_more():
    need_io()
    chain("")
    for tool in (QEMU, IMG):
        run("rebase", "top.qcow2", status=1, tool=tool)
        run("rebase", "-b", "none", "-F", "raw", "top.qcow2", status=1, tool=tool)
        run("rebase", "-b", "base.qcow2", "top.qcow2", status=1, tool=tool)
        run("rebase", "-b", "base.qcow2", "-F", "frob", "top.qcow2", status=1, tool=tool)
        run("rebase", "-u", "-b", "gone.raw", "-F", "raw", "top.qcow2", tool=tool)
        assert json.loads(run("info", "--output=json", "top.qcow2", tool=QEMU))["backing-filename"] == "gone.raw"
        run("rebase", "-u", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2", tool=tool)
        run("rebase", "-u", "-b", "", "top.qcow2", tool=tool)
        assert "backing-filename" not in json.loads(run("info", "--output=json", "top.qcow2", tool=QEMU))
    run("create", "-q", "-f", "raw", "r.raw", "1M")
    assert "no backing file" in run("rebase", "-f", "raw", "-b", "", "r.raw", status=1)
    # Every length of the name, whatever the header held before; names end up in another sector or do not fit.
    for size in ("512", "4k"):
        run("create", "-q", "-f", "qcow2", "-o", f"cluster_size={size}", "n.qcow2", "1M")
        for n in (1, 7, 100, 250, 377, 378, 420, 700, 1023, 20, 0, 5):
            name = "x" * n
            fits = n + 16 + 120 <= 512 or size == "4k"
            run("rebase", "-u", "-b", name, *(["-F", "raw"] if n else []), "n.qcow2", status=0 if fits else 1)
            if fits:
                for tool in (IMG, QEMU):
                    j = json.loads(run("info", "--output=json", "n.qcow2", tool=tool))
                    assert j.get("backing-filename", "") == name, (size, n, tool)
    # A subfolder: the name is relative to the image.
    os.mkdir("sub")
    run("create", "-q", "-f", "qcow2", "-b", "../base.qcow2", "-F", "qcow2", "sub/t.qcow2")
    want = view("sub/t.qcow2")
    shutil.copy("base.qcow2", "sub/copy.qcow2")
    run("rebase", "-b", "copy.qcow2", "-F", "qcow2", "sub/t.qcow2")
    assert view("sub/t.qcow2") == want
    assert json.loads(run("map", "--output=json", "sub/t.qcow2"))[0]["depth"] == 1


BITMAP_FLAVOURS = ["", "cluster_size=512", "cluster_size=2M", "extended_l2=on", "refcount_bits=64,lazy_refcounts=on",
                   "data_file=d.raw"]


def bitmap_list(name, tool=None):
    return json.loads(run("info", "--output=json", name, tool=tool))["format-specific"]["data"].get("bitmaps", [])


def bitmap_commands():
    need_qemu()
    for tool in (QEMU, IMG):
        run("create", "-q", "-f", "qcow2", "b.qcow2", "10M")
        for args, status in ((["--add", "b.qcow2", "b0"], 0), (["--add", "-g", "1M", "--disable", "b.qcow2", "b1"], 0),
                             (["--add", "b.qcow2", "b0"], 1), (["--remove", "b.qcow2", "zz"], 1), (["b.qcow2", "b0"], 1),
                             (["--add", "-g", "3k", "b.qcow2", "b5"], 1), (["--add", "-g", "256", "b.qcow2", "b5"], 1),
                             (["--add", "-g", "4G", "b.qcow2", "b5"], 1), (["--merge", "b1", "b.qcow2", "b0"], 0),
                             (["--merge", "zz", "b.qcow2", "b0"], 1), (["-g", "64k", "--clear", "b.qcow2", "b1"], 1),
                             (["--clear", "--enable", "b.qcow2", "b1"], 0), (["--add", "b.qcow2", "n" * 1023], 0),
                             (["--add", "b.qcow2", "n" * 1024], 1), (["-F", "raw", "--clear", "b.qcow2", "b1"], 1),
                             (["--remove", "b.qcow2", "n" * 1023], 0), (["--add", "b.qcow2"], 1)):
            run("bitmap", *args, tool=tool, status=status)
        assert [(b["name"], b["granularity"], b["flags"]) for b in bitmap_list("b.qcow2")] == \
            [("b0", 65536, ["auto"]), ("b1", 1 << 20, ["auto"])], tool
        same_view("b.qcow2")
        run("bitmap", "--remove", "b.qcow2", "b0", tool=tool)
        run("bitmap", "--remove", "b.qcow2", "b1", tool=tool)
        assert not bitmap_list("b.qcow2")
        same_view("b.qcow2")
    run("create", "-q", "-f", "raw", "r.raw", "1M")
    assert "hold none" in run("bitmap", "--add", "-f", "raw", "r.raw", "x", status=1)
    run("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "v2.qcow2", "1M")
    assert "v2" in run("bitmap", "--add", "v2.qcow2", "x", status=1)


def bitmap_content():
    need_io()
    for options in BITMAP_FLAVOURS:
        seen = []
        for maker, user in ((QEMU, IMG), (IMG, QEMU)):
            run("create", "-q", "-f", "qcow2", *(["-o", options] if options else []), "b.qcow2", "20M")
            run("bitmap", "--add", "b.qcow2", "a", tool=maker)
            run("bitmap", "--add", "-g", "512", "b.qcow2", "fine", tool=maker)
            run("bitmap", "--add", "-g", "1M", "--disable", "b.qcow2", "idle", tool=maker)
            for change in ("write -P 1 3333 5000", "write -z 5M 300k", "discard 9M 1M", "write 20479k 1k"):
                io("b.qcow2", change)
                run("bitmap", "--disable", "--enable", "b.qcow2", "a", tool=user)
                run("check", "-q", "b.qcow2", tool=QEMU)
                run("check", "-q", "b.qcow2")
            run("snapshot", "-c", "s", "b.qcow2", tool=user) if "data_file" not in options else None
            run("resize", "-q", "b.qcow2", "22M", tool=user)
            run("bitmap", "--merge", "fine", "b.qcow2", "idle", tool=user)
            same_view("b.qcow2")
            seen.append([dirty("b.qcow2", b) for b in ("a", "fine", "idle")])
            if "data_file" not in options:
                run("snapshot", "-a", "s", "b.qcow2", tool=IMG, status=1)
        assert seen[0] == seen[1], f"{options}\n{seen[0]}\n{seen[1]}"


def bitmap_writes():
    """What our own tools write is recorded."""
    need_io()
    write("x.raw", b"\1" * (1 << 20) + bytes(1 << 20) + b"\2" * 70000)
    run("create", "-q", "-f", "qcow2", "b.qcow2", "20M")
    run("bitmap", "--add", "b.qcow2", "a")
    run("create", "-q", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", "top.qcow2")
    io("top.qcow2", "write -P 1 1M 64k", "write -z 3M 64k", "write 10M 1k")
    for tool in (IMG, QEMU):
        shutil.copy("b.qcow2", "keep.qcow2")
        run("commit", "-d", "top.qcow2", tool=tool)
        assert dirty("b.qcow2", "a") == [(1 << 20, (1 << 20) + 65536), (3 << 20, (3 << 20) + 65536),
                                         (10 << 20, (10 << 20) + 65536)], tool
        run("check", "b.qcow2")
        shutil.copy("keep.qcow2", "b.qcow2")
    run("convert", "-n", "--target-is-zero", "-O", "qcow2", "x.raw", "b.qcow2")
    assert dirty("b.qcow2", "a") == [(0, 1 << 20), (2 << 20, (2 << 20) + 131072)]
    # Copies: of the bitmaps, by both programs.
    run("bitmap", "--add", "--disable", "-g", "4k", "b.qcow2", "b")
    run("bitmap", "--merge", "a", "b.qcow2", "b")
    for tool in (IMG, QEMU):
        run("convert", "--bitmaps", "-O", "qcow2", "b.qcow2", "c.qcow2", tool=tool)
        assert bitmap_list("c.qcow2") == bitmap_list("b.qcow2"), tool
        assert [dirty("c.qcow2", n) for n in "ab"] == [dirty("b.qcow2", n) for n in "ab"], tool
        run("convert", "--bitmaps", "-O", "raw", "b.qcow2", "c.raw", tool=tool, status=1)
        run("convert", "--bitmaps", "-O", "qcow2", "x.raw", "c.qcow2", tool=tool, status=1)
        run("convert", "--bitmaps", "-O", "qcow2", "-o", "compat=0.10", "b.qcow2", "c.qcow2", tool=tool, status=1)
        run("convert", "--skip-broken-bitmaps", "-O", "qcow2", "b.qcow2", "c.qcow2", tool=tool, status=1)
    # One that was not closed: inconsistent.
    with subprocess.Popen(["stdbuf", "-oL", QEMU_IO, "-c", "write 0 512", "-c", "sleep 60000", "b.qcow2"],
                          stdout=subprocess.PIPE, text=True) as p:
        try:
            assert p.stdout.readline().startswith("wrote 512/512")
        finally:
            p.kill()
    same_view("b.qcow2")
    assert all("in-use" in b["flags"] for b in bitmap_list("b.qcow2"))
    for tool in (IMG, QEMU):
        assert "nconsistent" in run("bitmap", "--clear", "b.qcow2", "a", tool=tool, status=1)
        run("resize", "b.qcow2", "30M", tool=tool, status=1)
        run("convert", "--bitmaps", "-O", "qcow2", "b.qcow2", "c.qcow2", tool=tool, status=1)
        run("convert", "--bitmaps", "--skip-broken-bitmaps", "-O", "qcow2", "b.qcow2", "c.qcow2", tool=tool)
    run("bitmap", "--remove", "b.qcow2", "a", tool=QEMU)
    run("bitmap", "--remove", "b.qcow2", "b")
    run("resize", "-q", "b.qcow2", "30M")
    same_view("b.qcow2")


def amend_all():
    need_io()
    data = content(2 << 20, 9)
    write("in.raw", data)
    cases = [("", "compat=0.10"), ("compat=0.10", "compat=1.1"), ("compat=0.10,cluster_size=512", "compat=v3,lazy_refcounts=on"),
             ("lazy_refcounts=on", "compat=0.10,lazy_refcounts=off"), ("lazy_refcounts=on", "lazy_refcounts=off"), ("", "size=5M")]
    cases += [(f"refcount_bits={a}", f"refcount_bits={b}") for a, b in ((16, 1), (1, 64), (64, 2), (16, 8), (8, 32), (32, 16))]
    cases += [("cluster_size=512", "refcount_bits=64"), ("compat=0.10", "compat=1.1,refcount_bits=1,size=3M"),
              ("refcount_bits=8", "compat=0.10,refcount_bits=16"), ("data_file=d.raw", "data_file_raw=off")]
    for made, change in cases:
        seen = []
        for tool in (QEMU, IMG):
            run("convert", "-O", "qcow2", *(["-o", made] if made else []), "in.raw", "a.qcow2")
            if "compat=0.10" in change:
                io("a.qcow2", "write -z 64k 256k", "discard 1M 128k")
            want = view("a.qcow2")
            run("amend", "-p", "-o", change, "a.qcow2", tool=tool)
            assert view("a.qcow2")[:len(want)] == want, (made, change, tool)
            same_view("a.qcow2")
            io("a.qcow2", "write -P 77 100k 200k")
            run("check", "-q", "a.qcow2")
            run("check", "-q", "a.qcow2", tool=QEMU)
            j = json.loads(run("info", "--output=json", "a.qcow2"))
            seen.append((j["virtual-size"], j["format-specific"]))
        assert seen[0] == seen[1], (made, change, seen)


def amend_errors():
    need_qemu()
    write("r.raw", bytes(1 << 20))
    run("create", "-q", "-f", "qcow2", "-b", "r.raw", "-F", "raw", "-o", "extended_l2=on", "a.qcow2")
    for options in ("cluster_size=4k", "foo=4k", "backing_fmt=qcow2", "backing_file=x", "data_file_raw=on", "data_file=x",
                    "preallocation=full", "extended_l2=on", "compression_type=zstd", "compat=0.10", "compat=2",
                    "refcount_bits=3", "refcount_bits=0"):
        run("amend", "-o", options, "a.qcow2", tool=QEMU, status=1)
        run("amend", "-o", options, "a.qcow2", status=1)
    run("check", "-q", "a.qcow2")
    run("amend", "a.qcow2", status=1)
    run("amend", "-o", "backing_file=r.raw", "a.qcow2")
    assert "refcount_bits" in run("amend", "-f", "qcow2", "-o", "help")
    assert "does not support" in run("amend", "-f", "raw", "-o", "size=1M", "r.raw", status=1)
    assert "--force" in run("amend", "--force", "-o", "size=1M", "a.qcow2", status=1)
    # Snapshots: two users need two bits; clusters of zeros stay in version 3.
    run("create", "-q", "-f", "qcow2", "s.qcow2", "1M")
    if QEMU_IO:
        io("s.qcow2", "write 0 128k", "write -z 512k 64k")
        run("snapshot", "-c", "s", "s.qcow2")
        assert "more users" in run("amend", "-o", "refcount_bits=1", "s.qcow2", status=1)
        assert "snapshots" in run("amend", "-o", "compat=0.10", "s.qcow2", status=1)
        run("bitmap", "--add", "s.qcow2", "b")
        run("amend", "-o", "refcount_bits=2", "s.qcow2")
        same_view("s.qcow2")
        assert "bitmap" in run("amend", "-o", "compat=0.10,refcount_bits=16", "s.qcow2", status=1)


def bench():
    need_qemu()
    run("create", "-q", "-f", "qcow2", "c.qcow2", "64M")
    line = "Sending {} requests, {} bytes each, {} in parallel (starting at offset {}, step size {})\n"
    for args, want, status in (
            (["-c", "200"], line.format("200 read", 4096, 64, 0, 4096), 0),
            (["-c", "200", "-d", "8", "-s", "4k", "-w", "--pattern=5"], line.format("200 write", 4096, 8, 0, 4096), 0),
            (["-c", "100", "-w", "-d", "5", "--flush-interval=10"], "Sending flush every 10 requests", 0),
            (["-c", "100", "-w", "-d", "5", "--flush-interval=10", "--no-drain"], "Sending flush every 10 requests", 0),
            (["-c", "10", "-S", "1M", "-o", "4k", "-q"], line.format("10 read", 4096, 64, 4096, 1 << 20), 0),
            (["-c", "100", "-o", "64M"], "", 1), (["-i", "foo", "-c", "10"], "", 1), (["-n", "-c", "10"], "", 1),
            (["-c", "10", "-i", "io_uring"], "Run completed in", 0), (["--flush-interval=10"], "", 1),
            (["-w", "--flush-interval=10"], "Flush interval can't be smaller than depth", 1)):
        for tool in (QEMU, IMG):
            text = run("bench", *args, "c.qcow2", tool=tool, status=status)
            assert want in text, (args, tool, text)
    assert "-d" in run("bench", "-d", "0", "c.qcow2", status=1)
    assert "-U" in run("bench", "-w", "-U", "c.qcow2", status=1)
    run("check", "-q", "c.qcow2", tool=QEMU)


sys.exit(run_tests([bitmap_commands, bitmap_content, bitmap_writes, amend_all, amend_errors, bench, commit_all, commit_errors, commit_raw_and_rate, rebase_all, rebase_more]))

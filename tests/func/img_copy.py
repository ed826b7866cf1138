#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rhea-img convert and compare on images with long runs of data: contents and gaps beside an installed
qemu-img's, chains, snapshots, and what goes wrong in the middle. Covers: tools/img/convert.c, compare.c,
block/file-io.c, block/file-map.c."""
import json
import os
import random
import resource
import shutil
import subprocess
import sys

from imgtest import IMG, QEMU, Skip, need_qemu, read, run, run_tests, write

MIB = 1 << 20
OPTIONS = ["", "cluster_size=4k", "cluster_size=2M", "extended_l2=on", "data_file=data"]


def long_runs(name, size=24 * MIB, seed=1):
    """Pieces of up to 4 MiB: holes, zeros that are there, random bytes, and random bytes with zeros between them."""
    rng, at = random.Random(seed), 0
    with open(name, "wb") as f:
        while at < size:
            n, kind = min(rng.randrange(1, 4 * MIB), size - at), rng.randrange(4)
            if kind == 0:
                f.seek(n, 1)
            elif kind == 1:
                f.write(bytes(n))
            elif kind == 2:
                f.write(rng.randbytes(n))
            else:
                part = b"".join(bytes(rng.randrange(30000)) + rng.randbytes(rng.randrange(30000)) for _ in range(n // 30000 + 2))
                f.write(part[:n])
            at = f.tell()
        f.truncate(size)
    return read(name)


def gaps(name):
    """Where the image has data, wherever that lies."""
    out = []
    for e in json.loads(run("map", "--output=json", name)):
        kind = (e["zero"], e["data"])
        if out and out[-1][1] == kind:
            out[-1] = (out[-1][0] + e["length"], kind)
        else:
            out.append((e["length"], kind))
    return out


def both_ways():
    data = long_runs("in.raw")
    os.sync()  # file systems tell where holes are by what they have allocated
    for options in OPTIONS:
        for more in ([], ["-S", "0"], ["-S", "64k", "-W"]):
            run("convert", *more, "-O", "qcow2", *(["-o", options] if options else []), "in.raw", "a.qcow2")
            assert run("compare", "in.raw", "a.qcow2") == "Images are identical.\n", (options, more)
            run("check", "-q", "a.qcow2")
            run("convert", *more, "-O", "raw", "a.qcow2", "a.raw")
            assert read("a.raw") == data, (options, more)
    run("convert", "-t", "none", "-O", "raw", "a.qcow2", "a.raw")
    assert read("a.raw") == data, "from pages of one file to another past the page cache"
    run("dd", "if=in.raw", "of=part.raw", "bs=1000", "skip=777", "count=9000")
    assert read("part.raw")[:9000000] == data[777000:777000 + 9000000]


def same_gaps():
    need_qemu()
    long_runs("in.raw")
    with open("in.raw", "r+b") as f:
        f.write(b"x")  # qemu-img allocates a file's first block, whatever it holds
    os.sync()
    clusters = []
    for tool, name in ((IMG, "a"), (QEMU, "b")):
        run("convert", "-O", "qcow2", "in.raw", name + ".qcow2", tool=tool)
        run("convert", "-f", "qcow2", "-O", "raw", name + ".qcow2", name + ".raw", tool=tool)
        clusters.append(json.loads(run("check", "--output=json", name + ".qcow2"))["allocated-clusters"])
    os.sync()
    assert clusters[0] == clusters[1], clusters
    assert gaps("a.raw") == gaps("b.raw")


def chain_and_snapshot():
    base, top = bytearray(long_runs("base.raw", 8 * MIB, 2)), long_runs("top.raw", 8 * MIB, 3)
    run("convert", "-O", "qcow2", "base.raw", "base.qcow2")
    run("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "o.qcow2", "12M")
    run("convert", "-O", "raw", "o.qcow2", "flat.raw")
    assert read("flat.raw") == bytes(base) + bytes(4 * MIB)
    run("convert", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", "top.raw", "t.qcow2")  # zeros hide what is below
    run("convert", "-O", "raw", "t.qcow2", "flat.raw")
    assert read("flat.raw") == top
    run("snapshot", "-c", "one", "base.qcow2")
    run("convert", "-n", "-O", "qcow2", "top.raw", "base.qcow2")
    run("convert", "-l", "one", "-O", "raw", "base.qcow2", "flat.raw")
    assert read("flat.raw") == bytes(base)
    run("compare", "top.raw", "base.qcow2")


def first_difference():
    data = bytearray(random.Random(4).randbytes(9 * MIB))
    write("a.raw", data)
    for places in ((7 * MIB + 513, 3 * MIB + 5), (MIB - 1,), (9 * MIB - 1, 8 * MIB)):
        other = bytearray(data)
        for p in places:
            other[p] ^= 0x80
        write("b.raw", other)
        expect = f"Content mismatch at offset {min(places) // 512 * 512}!\n"
        assert run("compare", "a.raw", "b.raw", status=1) == expect, places
    write("c.raw", data + bytes(3 * MIB))
    assert run("compare", "a.raw", "c.raw") == "Warning: Image size mismatch!\nImages are identical.\n"
    write("c.raw", data + bytes(2 * MIB) + b"x" + bytes(MIB))
    assert f"mismatch at offset {11 * MIB}!" in run("compare", "c.raw", "a.raw", status=1)
    with open("z.raw", "wb") as f:
        f.truncate(9 * MIB)
    assert "mismatch at offset 0!" in run("compare", "a.raw", "z.raw", status=1)
    bad = "driver=raw,file.driver=blkdebug,file.image.filename=a.raw,file.inject-error.0.event=read_aio,file.inject-error.0.sector=8192"
    assert "cannot read" in run("compare", "--image-opts", bad, "driver=raw,file.filename=a.raw", status=4)


def errors():
    data = long_runs("in.raw", 16 * MIB, 5)
    run("convert", "-O", "qcow2", "in.raw", "in.qcow2")
    assert "lock" in run("convert", "-O", "raw", "in.raw", "in.raw", status=1)
    assert "lock" in run("convert", "-O", "qcow2", "in.qcow2", "in.qcow2", status=1)
    assert read("in.raw") == data, "source and target the same file"
    run("compare", "in.raw", "in.qcow2")
    write("full.raw", random.Random(6).randbytes(16 * MIB))
    rule = "file.inject-error.0.event={},file.inject-error.0.sector=16384,file.inject-error.0.errno={}"
    bad = "driver=raw,file.driver=blkdebug,file.image.filename=full.raw," + rule.format("read_aio", 5)
    text = run("convert", "--image-opts", "-O", "raw", bad, "o.raw", status=1)
    assert "error while reading" in text and "Input/output" in text, text
    with open("o.raw", "wb") as f:
        f.truncate(16 * MIB)
    bad = "driver=raw,file.driver=blkdebug,file.image.filename=o.raw," + rule.format("write_aio", 28)
    text = run("convert", "-n", "--target-image-opts", "full.raw", bad, status=1)
    assert "error while writing" in text and "No space" in text, text
    # The kernel's own refusal in the middle of a mapped piece.
    p = subprocess.run([IMG, "convert", "-O", "qcow2", "full.raw", "o.qcow2"], stderr=subprocess.PIPE, text=True, check=False,
                       restore_signals=False,  # SIGXFSZ stays ignored
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (7 * MIB + 4096, 7 * MIB + 4096)))
    assert p.returncode == 1 and "File too large" in p.stderr, p.stderr


def gets_shorter():
    """The source is cut while a piece of it is being written: what was not read yet reads as zeros, as at a file's end."""
    if not shutil.which("nbdkit") or subprocess.run(["nbdkit", "eval", "--version"], stdout=subprocess.DEVNULL, check=False).returncode:
        raise Skip("nbdkit with its eval plugin is not installed")
    data = bytearray(random.Random(7).randbytes(4 * MIB))
    data[65536:131072] = bytes(65536)
    write("in.raw", data)
    write("out.raw", b"\xff" * len(data))
    here = os.getcwd()
    p = subprocess.run(["nbdkit", "-U", "-", "eval", f"get_size=echo {len(data)}",
                        f"pread=dd if={here}/out.raw iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=64k",
                        # Before the first request is answered.
                        f"pwrite=truncate -s 1M {here}/in.raw; dd of={here}/out.raw oflag=seek_bytes seek=$4 bs=64k conv=notrunc",
                        "--run", f"{IMG} convert -m 1 -n -f raw -O raw in.raw $uri"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    assert p.returncode == 0, p.stdout
    assert os.path.getsize("in.raw") == MIB
    assert read("out.raw") == bytes(data[:2 * MIB]) + bytes(2 * MIB)  # pieces for a target without a page cache: 2 MiB


sys.exit(run_tests([both_ways, same_gaps, chain_and_snapshot, first_difference, errors, gets_shorter]))

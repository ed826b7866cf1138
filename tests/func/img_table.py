#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every option of qcow2 and raw images that rhea-img and qemu-img both have, with every operation, both ways: one program makes an
image, the other changes it, both judge it after each step. Contents must be those of a model in memory (and of the snapshots),
`check` must be clean, `info`, `map` and `measure` must say the same. A step that one program refuses must be refused by both.
Covers: block/qcow2*.c, raw.c, file.c with images of another maker; tools/img/*.c, tools/io/transfer.c."""
import json
import os
import re
import subprocess
import sys

from imgtest import ALL, IMG, IO, QEMU, QEMU_IO, content, need_io, read, run_tests, write

MIB = 1 << 20
SIZE = 6 * MIB + 512
OURS, THEIRS = (IMG, IO), (QEMU, QEMU_IO)

CLUSTERS = ["512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "2M"]
QCOW2 = ["", "compat=0.10", "compat=0.10,cluster_size=512", "compat=0.10,cluster_size=2M", "lazy_refcounts=on",
         *(f"cluster_size={c}" for c in CLUSTERS), *(f"refcount_bits={1 << n}" for n in range(7)),
         *(f"cluster_size=512,refcount_bits={n}" for n in (1, 64)), "extended_l2=on,cluster_size=16k", "extended_l2=on",
         "extended_l2=on,cluster_size=2M", *(f"preallocation={p}" for p in ("metadata", "falloc", "full")),
         *(f"preallocation={p},extended_l2=on" for p in ("metadata", "falloc", "full")), "preallocation=metadata,cluster_size=512",
         "compat=0.10,preallocation=metadata", "compression_type=zlib", "compression_type=zstd",
         "compression_type=zstd,cluster_size=512", "compression_type=zstd,cluster_size=2M,extended_l2=on,lazy_refcounts=on",
         "data_file=d.raw", "data_file=d.raw,data_file_raw=on", "data_file=d.raw,cluster_size=4k", "data_file=d.raw,extended_l2=on",
         "data_file=d.raw,data_file_raw=on,preallocation=metadata", "data_file=d.raw,preallocation=full"]
BACKED = ["backing_file=base.raw,backing_fmt=raw", "backing_file=base.qcow2,backing_fmt=qcow2",
          "backing_file=base.qcow2,backing_fmt=qcow2,extended_l2=on", "backing_file=base.raw,backing_fmt=raw,cluster_size=512",
          "backing_file=base.raw,backing_fmt=raw,cluster_size=2M", "backing_file=base.qcow2,backing_fmt=qcow2,compat=0.10",
          "backing_file=base.raw,backing_fmt=raw,extended_l2=on,preallocation=metadata",
          "backing_file=base.qcow2,backing_fmt=qcow2,data_file=d.raw", "backing_file=base.raw,backing_fmt=raw,lazy_refcounts=on"]
RAW = ["", "preallocation=off", "preallocation=falloc", "preallocation=full"]
QUICK = ["extended_l2=on,cluster_size=16k", "compat=0.10,cluster_size=4k"]
QUICK_BACKED = ["backing_file=base.qcow2,backing_fmt=qcow2,extended_l2=on"]


class Differ(AssertionError):
    pass


def call(folder, *args):
    p = subprocess.run(args, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, encoding="utf-8",
                       errors="replace", timeout=300, check=False)
    return p.returncode, p.stdout


def must(folder, *args, status=0):
    have, out = call(folder, *args)
    if have != status:
        raise Differ(f"{args}: status {have}, not {status}\n{out}")
    return out


class Counts:
    cases = differences = 0


class Image:
    """One image in a folder of its own, and what it must hold."""
    def __init__(self, folder, fmt, options, maker, changer):
        self.folder, self.fmt, self.options, self.maker, self.changer = folder, fmt, options, maker, changer
        self.model, self.snapshots = bytearray(SIZE), {}
        self.name = "x." + fmt
        os.mkdir(folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def hold(self, tool, *more, name=None):
        """The content as a program sees it."""
        must(self.folder, tool, "convert", *more, "-f", self.fmt if name is None else name.rpartition(".")[2], "-O", "raw",
             name or self.name, "out.raw")
        return read(self.path("out.raw"))

    def same_said(self, *args, name=None):
        have = [call(self.folder, tool, *args, name or self.name) for tool in (IMG, QEMU)]
        a, b = (json.loads(out) if out[:1] in "[{" else out for _, out in have)
        if have[0][0] != have[1][0] or (isinstance(a, (list, dict)) and a != b):
            n = 0
            if isinstance(a, list) and isinstance(b, list):
                n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                a, b = a[max(n - 1, 0):n + 2], b[max(n - 1, 0):n + 2]
            raise Differ(f"{args} of {name or self.name}, entry {n}:\n  ours   {have[0][0]} {a}\n  theirs {have[1][0]} {b}")
        return have[0]

    def judge(self, name=None, reader=None):
        """Both programs about an image; its content as the one sees it that has not made or changed it."""
        for one in os.listdir(self.folder):  # what has not reached the disk yet is no hole
            with open(self.path(one), "rb") as f:
                os.fsync(f.fileno())
        fmt = self.fmt if name is None else name.rpartition(".")[2]
        for args in (["info", "--output=json"], ["map", "--output=json"]):
            self.same_said(*args, "-f", fmt, name=name)
        status, out = self.same_said("check", "-f", fmt, "--output=json", name=name)
        if status != (63 if fmt == "raw" else 0):
            raise Differ(f"check: status {status}\n{out}")
        tool, want = reader or self.maker[0], bytes(self.model)
        have = self.hold(tool, name=name)
        if have != want:
            where = next((i for i, (x, y) in enumerate(zip(have, want)) if x != y), min(len(have), len(want)))
            raise Differ(f"{tool} reads {len(have)} bytes, the model has {len(want)}; they differ at {where:#x}: "
                         f"{have[where:where + 8].hex()}, {want[where:where + 8].hex()}")
        for snapshot, held in self.snapshots.items() if name is None else ():
            if self.hold(tool, "-l", f"snapshot.name={snapshot}") != held:
                raise Differ(f"{tool} reads something else from the snapshot '{snapshot}'")


# ---- steps: what is run, and what it does to the model ----

def io_step(*commands):
    """`write -P n off len`, `write -z off len`, ... by qemu-io or rhea-io."""
    def number(text):
        return int(float(text[:-1]) * {"k": 1024, "M": MIB}[text[-1]]) if text[-1] in "kM" else int(text)

    def change(image):
        for c in commands:
            words = c.split()
            if words[0] not in ("write", "aio_write", "writev", "discard"):
                continue
            byte = int(words[words.index("-P") + 1]) if "-P" in words else 0
            plain = [w for i, w in enumerate(words[1:], 1) if w[0] != "-" and words[i - 1] != "-P"]
            off = number(plain[0])
            length = sum(number(w) for w in plain[1:])
            image.model[off:off + length] = bytes([byte]) * length

    def step(image):
        args = [a for c in commands for a in ("-c", c)]
        return call(image.folder, image.changer[1], "-d", "unmap", "-f", image.fmt, *args, image.name)
    return step, change


def img_step(*args, change=None):
    def step(image):
        return call(image.folder, image.changer[0], *(image.name if a == "@" else a for a in args))
    return step, change or (lambda image: None)


def snapshot_made(name):
    return lambda image: image.snapshots.update({name: bytes(image.model)})


def snapshot_applied(name):
    def change(image):
        image.model[:] = image.snapshots[name]
    return change


def snapshot_gone(name):
    return lambda image: image.snapshots.pop(name)


def resized(size):
    def change(image):
        was = len(image.model)
        del image.model[size:]
        image.model.extend(bytes(max(size - was, 0)))
    return change


def steps_for(options, fmt):
    resize = ["resize", "-q", "-f", fmt]
    yield "write", io_step("write -P 1 1000 70000", "write -P 2 64k 64k", "writev -P 3 200k 5k 7k 512", "write -z 300k 200k",
                           "write -z -u 700k 64k", "aio_write -P 4 2500k 100k", "aio_flush", f"write -P 5 {SIZE - 512} 512",
                           "write -f -P 6 1M 3000", "write -z 1100k 1000", "write -P 0 1200k 70000", "flush")
    if fmt == "qcow2" and "preallocation" not in options:  # qemu-io refuses to compress what has a place already
        yield "compressed", io_step("write -c -P 7 4M 2M")
        yield "over compressed", io_step("write -P 8 4100k 3k", "write -z 4500k 100k", "write -P 9 5000k 200k")
    discard, zeros = io_step("discard 2M 2M")
    # Version 2 has no mark for clusters of zeros: above a backing file they are left as they are.
    left = "backing_file" in options and "compat=0.10" in options
    yield "discard", (discard, (lambda image: None) if left else zeros)
    yield "over discarded", io_step("write -P 10 3000k 10k", "write -z 3500k 10k")
    if fmt == "qcow2":
        yield "snapshot -c", img_step("snapshot", "-c", "one", "@", change=snapshot_made("one"))
        yield "write with snapshot", io_step("write -P 11 100k 300k", "write -z 1M 512k", "write -P 12 4200k 512")
        yield "snapshot -c again", img_step("snapshot", "-c", "two", "@", change=snapshot_made("two"))
        yield "snapshot -a", img_step("snapshot", "-a", "one", "@", change=snapshot_applied("one"))
        yield "write after -a", io_step("write -P 13 0 100k", "write -z 2M 64k")
        yield "snapshot -d", img_step("snapshot", "-d", "one", "@", change=snapshot_gone("one"))
        yield "snapshot -d the last", img_step("snapshot", "-d", "two", "@", change=snapshot_gone("two"))
    yield "resize up", img_step(*resize, "@", "+1536k", change=resized(SIZE + 1536 * 1024))
    yield "write the new part", io_step("write -P 14 6100k 600k", "write -z 7000k 100k")
    yield "resize down", img_step(*resize, "--shrink", "@", "5243392", change=resized(5 * MIB + 512))
    yield "resize, reserved", img_step(*resize, "--preallocation=falloc", "@", "7M", change=resized(7 * MIB))
    if fmt == "qcow2":
        yield "bitmap --add", img_step("bitmap", "--add", "-g", "4k", "@", "b")
        yield "bitmap --add --disable", img_step("bitmap", "--add", "--disable", "@", "c")
        yield "write with bitmap", io_step("write -P 15 10k 10k", "discard 1M 64k", "write -P 16 1M 64k")
        yield "bitmap --merge", img_step("bitmap", "--merge", "b", "@", "c")
        yield "bitmap --clear", img_step("bitmap", "--clear", "--disable", "@", "b")
        yield "bitmap --remove", img_step("bitmap", "--remove", "@", "c")
        yield "bitmap --remove the last", img_step("bitmap", "--remove", "@", "b")
        # QEMU's amend needs two to three minutes of CPU time for other refcounts of such large clusters.
        widths = [] if re.search("cluster_size=[12]M", options) else ["refcount_bits=64", "refcount_bits=16"]
        for change in ("lazy_refcounts=on", "lazy_refcounts=off", *widths, "compat=0.10", "compat=1.1"):
            # Clusters of zeros with a place become data in version 2: contents stay.
            yield f"amend {change}", img_step("amend", "-o", change, "@")
        yield "amend size", img_step("amend", "-o", f"size={8 * MIB}", "@", change=resized(8 * MIB))
        yield "write amended", io_step("write -P 17 7M 10k")
    if "backing_file" in options:
        yield "rebase", img_step("rebase", "-b", "other.qcow2", "-F", "qcow2", "@")
        yield "write rebased", io_step("write -P 18 150k 10k")
        yield "commit", img_step("commit", "-q", "-d", "@")
        yield "rebase to nothing", img_step("rebase", "-b", "", "@")
        yield "write alone", io_step("write -P 19 250k 10k")


def make(image):
    data = content(5 * MIB, 8)
    if "backing_file" in image.options:
        write(image.path("base.raw"), data)
        must(image.folder, QEMU, "convert", "-f", "raw", "-O", "qcow2", "base.raw", "base.qcow2")
        write(image.path("other.raw"), content(7 * MIB, 9))
        must(image.folder, QEMU, "convert", "-f", "raw", "-O", "qcow2", "other.raw", "other.qcow2")
        image.model[:len(data)] = data
    options = ["-o", image.options] if image.options else []
    return call(image.folder, image.maker[0], "create", "-q", "-f", image.fmt, *options, image.name, str(SIZE))


def conversions(image):
    """To every kind by both programs; what they make is judged by both."""
    for to in ("raw", "qcow2"):
        image.same_said("measure", "-O", to, "--output=json", "-f", image.fmt)
    own = ["-o", image.options.replace("d.raw", "e.raw")] if image.options else []
    targets = [("y.raw", []), ("y.qcow2", []), ("y.qcow2", ["-c"]), ("y.qcow2", ["-S", "0"])]
    if "backing_file" not in image.options:
        targets.append(("y." + image.fmt, own))
        targets += [("y.qcow2", ["-c", *own])] if image.fmt == "qcow2" else []
    for name, args in targets:
        seen = []
        for tool, other in ((IMG, QEMU), (QEMU, IMG)):
            seen.append(call(image.folder, tool, "convert", *args, "-f", image.fmt, "-O", name.rpartition(".")[2], image.name, name))
            if seen[-1][0] == 0:
                image.judge(name, other)
                must(image.folder, tool, "compare", "-q", image.name, name)
        if seen[0][0] != seen[1][0]:
            raise Differ(f"convert {args} {name}: {seen}")


def one(fmt, options, where):
    """All steps on two images: made by them and changed by us, made by us and changed by them."""
    images = [Image(f"{where}-{n}", fmt, options, *tools) for n, tools in enumerate(((THEIRS, OURS), (OURS, THEIRS)))]
    bad = []

    def judged(what, image, fn, *args):
        Counts.cases += 1
        try:
            fn(*args)
        except Differ as e:
            Counts.differences += 1
            maker, changer = ("qemu", "rhea") if image.maker is THEIRS else ("rhea", "qemu")
            bad.append(f"[{fmt} {options}] {what}, made by {maker}, changed by {changer}:\n  {e}")
            return False
        return True

    def both(what, run_step, change):
        answers = [run_step(image) for image in images]
        Counts.cases += 1
        if answers[0][0] != answers[1][0]:
            Counts.differences += 1
            bad.append(f"[{fmt} {options}] {what}: status {answers[0][0]} by rhea, {answers[1][0]} by qemu\n  {answers[0][1]}  "
                       f"{answers[1][1]}")
            return False
        for image in images:
            if answers[0][0] == 0:
                change(image)
            elif image.changer is THEIRS and what != "create":  # a snapshot that it refuses leaves clusters behind
                call(image.folder, QEMU, "check", "-r", "leaks", "-f", image.fmt, image.name)
        return all([judged(what, image, image.judge) for image in images])

    going = both("create", make, lambda image: None)
    for what, (step, change) in steps_for(options, fmt):
        if not going:
            break  # what follows would differ for the same reason
        going = both(what, step, change)
        if what in (("over discarded", "write alone") if ALL else ("write amended",)) and going:
            going = all([judged("convert", image, conversions, image) for image in images])
    return bad


def table(fmt, flavours):
    need_io()
    Counts.cases = Counts.differences = 0
    bad = []
    for n, options in enumerate(flavours):
        bad += one(fmt, options, f"{fmt}{n}")
        print(f"# {fmt} {options}: {Counts.cases} cases, differences: {Counts.differences}", flush=True)
    if bad:
        raise AssertionError(f"{Counts.cases} cases, differences: {Counts.differences}\n" + "\n".join(bad))


def qcow2():
    table("qcow2", QCOW2 if ALL else QUICK)


def backed():
    table("qcow2", BACKED if ALL else QUICK_BACKED)


def raw():
    table("raw", RAW if ALL else RAW[1:2])


def sizes():
    """Edges: nothing, less than a sector, less than a cluster, one more than a cluster, huge."""
    need_io()
    for fmt, options in (("raw", ""), ("qcow2", ""), ("qcow2", "cluster_size=512"), ("qcow2", "cluster_size=2M,extended_l2=on"),
                         ("qcow2", "compat=0.10"), ("qcow2", "preallocation=metadata")):
        for size in ("0", "1", "511", "512", "513", "65535", "65536", "65537", "1000000", "2097153", "1T", "63T", "8E"):
            huge = size[-1] in "TE"
            if huge and ("preallocation" in options or "512" in options):
                continue
            args = ["-f", fmt, *(["-o", options] if options else []), "x", size]
            seen = []
            for tool in (IMG, QEMU):
                status, _ = call(".", tool, "create", "-q", *args)
                if status == 0:
                    views = [[json.loads(must(".", judge, command, "--output=json", "-f", fmt, "x"))
                              for command in ("info", "map", "measure")] for judge in (IMG, QEMU)]
                    if views[0] != views[1]:
                        raise Differ(f"{args}, made by {tool}\n  {views[0]}\n  {views[1]}")
                    if fmt == "qcow2":
                        must(".", IMG, "check", "-q", "x")
                        must(".", QEMU, "check", "-q", "x")
                seen.append(status)
                os.path.exists("x") and os.unlink("x")
            if seen[0] != seen[1]:
                raise Differ(f"create {args}: status {seen[0]} by rhea, {seen[1]} by qemu")


if __name__ == "__main__":
    sys.exit(run_tests([qcow2, backed, raw, sizes]))

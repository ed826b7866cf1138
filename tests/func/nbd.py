#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""NBD: rhea-nbd with the clients of others (libnbd's, QEMU's), and our client with their servers (nbdkit, qemu-nbd).
Covers tools/nbd (args.c, list.c, main.c), block/nbd-*.c with real peers, docs/rhea-nbd.1."""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import imgtest
from imgtest import IMG, IO, NBD, Skip, content, read, write

SOURCE = os.path.abspath(os.environ.get("RHEA_SOURCE_ROOT", "."))
TIMEOUT = 150
SIZE = 3 * 1024 * 1024 + 512


def need(*tools):
    for tool, package in (("nbdinfo", "libnbd-bin"), ("nbdcopy", "libnbd-bin"), ("nbdkit", "nbdkit"), ("qemu-nbd", "qemu-utils"),
                          ("qemu-img", "qemu-utils"), ("qemu-io", "qemu-utils")):
        if tool in tools and not shutil.which(tool):
            raise Skip(f"{tool} is not installed ({package})")


def run(*args, status=0, text=None):
    p = subprocess.run(args, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                       timeout=TIMEOUT, check=False)  # nbdinfo shows what file(1) says of the content
    assert p.returncode == status, f"{args}: status {p.returncode}, not {status}\n{p.stdout}{p.stderr}"
    return p.stdout if status == 0 else p.stdout + p.stderr


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Server:
    """A server in the background that is listening when the command returns; ended by its number."""
    def __init__(self, *args, url=None):
        self.path = os.path.abspath("s")
        self.url = url or f"nbd+unix:///?socket={self.path}"
        self.args = args
        run(*args)
        self.pid = int(read("pid"))

    def end(self, how=signal.SIGTERM):
        fd = os.pidfd_open(self.pid) if alive(self.pid) else -1
        if fd >= 0:
            signal.pidfd_send_signal(fd, how)
            p = select.poll()
            p.register(fd, select.POLLIN)
            p.poll(TIMEOUT * 1000)  # readable when it has ended
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def ours(*args, name=""):
    return Server(NBD, "--fork", "-k", os.path.abspath("s"), "--pid-file", "pid", *args,
                  url=f"nbd+unix:///{name}?socket={os.path.abspath('s')}")


def qemu(*args):
    need("qemu-nbd")
    return Server("qemu-nbd", "--fork", "-k", os.path.abspath("s"), "--pid-file", "pid", *args)


class Nbdkit(Server):
    """It says that clients can connect by its pid file, which it writes after it has left for the background."""
    def __init__(self, *args):  # pylint: disable=super-init-not-called
        need("nbdkit")
        for name in ("s", "pid"):
            if os.path.exists(name):
                os.unlink(name)
        self.path = os.path.abspath("s")
        self.url = f"nbd+unix:///?socket={self.path}"
        self.child = subprocess.Popen(["nbdkit", "-f", "-U", self.path, "-P", os.path.abspath("pid"), *args])
        until = time.monotonic() + TIMEOUT
        while not (os.path.exists("pid") and read("pid").endswith(b"\n")):
            assert self.child.poll() is None, f"nbdkit {args} has ended"
            assert time.monotonic() < until, f"nbdkit {args} does not listen"
            time.sleep(0.01)

    def end(self, how=signal.SIGTERM):
        self.child.send_signal(how)
        self.child.wait(TIMEOUT)


def nbdkit(*args):
    return Nbdkit(*args)


def options():
    text = run(NBD, "--help")
    with open(os.path.join(SOURCE, "docs/rhea-nbd.1"), encoding="utf-8") as f:
        page = f.read().replace("\\-", "-")
    named = re.findall(r"--[a-z][a-z-]+", text)
    assert len(set(named)) > 30, named
    for option in named:
        assert option in page, f"{option} is not in the manual page"
    if shutil.which("qemu-nbd"):
        for option in re.findall(r"^ .*?(--[a-z][a-z-]+)", run("qemu-nbd", "--help"), re.M):
            assert option in named, f"{option} of qemu-nbd is not in --help"
    assert run(NBD, "--version").startswith("rhea-nbd version")
    for args, expect in ((["--bnid=x", "a"], "did you mean 'bind'"), (["-Q", "a"], "-Q"), (["-p"], "needs an argument"),
                         (["--fork=1", "a"], "takes no argument"), (["-k", "x", "-p", "1", "a"], "no port"),
                         (["--port=70000", "a"], "65535"), (["--cache=fast", "a"], "cache mode"), ([], "no image"),
                         (["a", "b"], "more than one"), (["-L", "a"], "-L"), (["-s", "-r", "a"], "nothing would be written"),
                         (["-c", "/dev/nbd0", "a"], "nbd-client"), (["-d", "/dev/nbd0"], "nbd-client"), (["-P", "1", "a"], "-o OFFSET"),
                         (["--tls-creds", "x", "a"], "TLS"), (["--object", "x", "a"], "--object"), (["-T", "x", "a"], "there is no trace event"),
                         (["none"], "No such file"), (["--fork", "none"], "No such file"), (["-f", "qcow3", "none"], "none"),
                         (["-n", "--cache=none", "a"], "once"), (["--discard=unmp", "a"], "did you mean 'unmap'")):
        out = run(NBD, *args, status=1)
        assert expect in out, (args, out)


def copies(fmt):
    """nbdcopy and qemu-img from and to our server, raw and qcow2, with what the disk holds compared."""
    need("nbdcopy", "nbdinfo", "qemu-img", "qemu-io")
    data, other = content(SIZE), content(SIZE, 2)
    write("in.raw", data)
    run(IMG, "convert", "-O", fmt, "in.raw", "disk")
    with ours("-t", "-e", "0", "-f", fmt, "-x", "one two", "-D", "a disk", "disk", name="one%20two") as s:
        info = json.loads(run("nbdinfo", "--json", s.url))["exports"][0]
        assert info["export-size"] == SIZE and info["description"] == "a disk" and info["can_multi_conn"], info
        assert info["block_size_maximum"] == 32 << 20 and "base:allocation" in info["contexts"], info
        extents = json.loads(run("nbdinfo", "--map", "--json", s.url))
        assert sum(e["length"] for e in extents) == SIZE and {e["type"] for e in extents} == {0, 3}, extents
        run("nbdcopy", s.url, "out.raw")
        assert read("out.raw") == data
        run("qemu-img", "convert", "-O", "raw", s.url, "out.raw")
        assert read("out.raw")[:SIZE] == data
        write("other.raw", other)
        run("nbdcopy", "-C", "4", "--request-size=4096", "--flush", "other.raw", s.url)
        run("nbdcopy", "--synchronous", s.url, "out.raw")
        assert read("out.raw") == other
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "in.raw", s.url)
        assert run("qemu-img", "compare", "-f", "raw", "in.raw", s.url) == "Images are identical.\n"
        assert run(IMG, "compare", "-f", "raw", "in.raw", s.url) == "Images are identical.\n"
        out = run("qemu-io", "-f", "raw", "-c", "write -P 7 1000 70000", "-c", "read -P 7 1000 70000", "-c", "write -z -u 64k 64k",
                  "-c", "read -P 0 64k 64k", "-c", "write -f -P 9 512 512", "-c", "discard 1M 1M", "-c", "flush", s.url)
        assert "failed" not in out, out
    run(IMG, "convert", "-f", fmt, "-O", "raw", "disk", "out.raw")
    want = bytearray(data)
    want[1000:71000] = b"\7" * 70000
    want[65536:131072] = bytes(65536)
    want[512:1024] = b"\11" * 512
    have = bytearray(read("out.raw"))
    have[1 << 20:2 << 20] = want[1 << 20:2 << 20]  # discarded: it may hold anything
    assert have == want
    if fmt == "qcow2":
        run(IMG, "check", "disk")


def serves_raw():
    copies("raw")


def serves_qcow2():
    copies("qcow2")


def kinds_of_image():
    """-r, -o, -s, -l, -A: what is exported."""
    need("nbdinfo", "nbdcopy")
    data = content(SIZE)
    write("in.raw", data)
    before = ["-t", "-f", "raw"]
    with ours(*before, "-r", "in.raw") as s:
        info = json.loads(run("nbdinfo", "--json", s.url))["exports"][0]
        assert info["is_read_only"] and not info["can_multi_conn"], info
        assert "for reading only" in run(IO, "-f", "raw", "-c", "write 0 512", s.url, status=1)
        run(IO, "-r", "-f", "raw", "-c", "read 0 512", s.url)
    with ours(*before, "-o", "1000", "in.raw") as s:
        run("nbdcopy", s.url, "out.raw")
        assert read("out.raw") == data[1000:]
    with ours(*before, "-s", "in.raw") as s:
        run(IO, "-f", "raw", "-c", "write -P 1 0 64k", "-c", "read -P 1 0 64k", s.url)
    assert read("in.raw") == data
    run(IMG, "create", "-f", "qcow2", "-b", "in.raw", "-F", "raw", "a.qcow2", "4M")
    run(IO, "-c", "write 1M 64k", "a.qcow2")
    run(IMG, "snapshot", "-c", "snap", "a.qcow2")
    run(IO, "-c", "write -P 3 0 64k", "a.qcow2")
    with ours("-t", "-l", "snap", "-f", "qcow2", "a.qcow2") as s:
        run("nbdcopy", s.url, "out.raw")
        assert read("out.raw")[:65536] == data[:65536]
    with ours("-t", "-A", "-f", "qcow2", "a.qcow2") as s:
        depth = json.loads(run("nbdinfo", "--map=qemu:allocation-depth", "--json", s.url))
        assert [e["type"] for e in depth if e["offset"] in (0, 65536, 1 << 20)] == [1, 2, 1], depth
        opts = f"driver=nbd,server.type=unix,server.path={s.path},x-dirty-bitmap=qemu:allocation-depth"
        run(IMG, "map", "--image-opts", opts)
    run(IMG, "bitmap", "--add", "-g", "64k", "a.qcow2", "b0")
    run(IO, "-c", "write 128k 64k", "-c", "write 1M 128k", "a.qcow2")
    with ours("-t", "-r", "-B", "b0", "-f", "qcow2", "a.qcow2") as s:
        dirty = json.loads(run("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", s.url))
        assert [(e["offset"], e["length"]) for e in dirty if e["type"] == 1] == [(131072, 65536), (1 << 20, 131072)], dirty
        opts = f"driver=nbd,server.type=unix,server.path={s.path},x-dirty-bitmap=qemu:dirty-bitmap:b0"
        holes = [e for e in json.loads(run(IMG, "map", "--output=json", "--image-opts", opts)) if not e["data"]]
        assert [(e["start"], e["length"]) for e in holes] == [(131072, 65536), (1 << 20, 131072)], holes
        if shutil.which("qemu-nbd"):
            assert "qemu:dirty-bitmap:b0" in run("qemu-nbd", "-L", "-k", s.path)
    assert "no dirty bitmap 'b1'" in run(NBD, "-B", "b1", "-f", "qcow2", "-k", "s", "a.qcow2", status=1)
    with ours("-t", "a.qcow2") as s:  # a guess
        assert json.loads(run(IMG, "info", "--output=json", s.url))["virtual-size"] == 4 << 20


def lists():
    """-L says what qemu-nbd's says, of its server and of ours."""
    need("qemu-nbd")
    write("in.raw", content(SIZE))
    for make in (ours, qemu):
        with make("-t", "-f", "raw", "-x", "disk", "-D", "text", "in.raw") as s:
            one = run(NBD, "-L", "-k", s.path)
            assert "export: 'disk'" in one and "base:allocation" in one and one == run("qemu-nbd", "-L", "-k", s.path), one
    with nbdkit("--mask-handshake=0", "memory", "1M") as s:
        assert "too old" in run(NBD, "-L", "-k", s.path, status=1)
    assert "cannot connect" in run(NBD, "-L", "-k", s.path, status=1)


def life():
    """Ends with the last client unless -t; -e; --fork's status; a name in use; ports; handed-over sockets."""
    need("nbdinfo")
    write("in.raw", content(SIZE))
    s = ours("-f", "raw", "in.raw")
    fd = os.pidfd_open(s.pid)
    run("nbdinfo", "--size", s.url)
    assert select.select([fd], [], [], TIMEOUT)[0], "it stays after its last client"
    os.close(fd)
    assert not os.path.exists("pid") and not os.path.exists("s")
    with ours("-t", "-f", "raw", "in.raw") as s:
        assert f"process {s.pid} (rhea-nbd)" in run(NBD, "--fork", "-f", "raw", "-k", "s2", "in.raw", status=1)
        write("b.raw", b"x" * 512)
        assert f"in use by process {s.pid}" in run(NBD, "--fork", "-f", "raw", "-k", "s", "b.raw", status=1)
        # One client at a time: the second gets the greeting when the first has gone.
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            one.connect(s.path)
            assert one.recv(8) == b"NBDMAGIC"
            two.connect(s.path)
            two.setblocking(False)
            try:
                assert not two.recv(8), "a second client"
            except BlockingIOError:
                pass
            one.close()
            two.settimeout(TIMEOUT)
            assert two.recv(8) == b"NBDMAGIC"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.listen(8)
        # The socket is handed over, as systemd does it: LISTEN_PID is the process's own number.
        env = dict(os.environ, LISTEN_FDS="1")
        script = 'exec 3<&"$1"; shift; export LISTEN_PID=$$; exec "$@"'
        with subprocess.Popen(["bash", "-c", script, "bash", str(probe.fileno()), NBD, "-f", "raw", "in.raw"], env=env,
                              pass_fds=[probe.fileno()]) as p:
            try:
                assert run("nbdinfo", "--size", f"nbd://127.0.0.1:{port}") == f"{SIZE}\n"
                assert p.wait(TIMEOUT) == 0
            finally:
                p.kill()


def of_qemu():
    """Our client with qemu-nbd: contents, map, conversion both ways."""
    need("qemu-nbd", "qemu-img")
    data = content(SIZE)
    write("in.raw", data)
    for fmt in ("raw", "qcow2"):
        run("qemu-img", "convert", "-f", "raw", "-O", fmt, "in.raw", "disk")
        with qemu("-t", "-e", "8", "-f", fmt, "--discard=unmap", "disk") as s:
            run(IMG, "convert", "-f", "raw", "-O", "raw", s.url, "out.raw")
            assert read("out.raw")[:SIZE] == data
            maps = [json.loads(run(tool, "map", "--output=json", "-f", "raw", s.url)) for tool in (IMG, "qemu-img")]
            assert maps[0] == maps[1], maps
            run(IMG, "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "16", "out.raw", s.url)
            out = run(IO, "-f", "raw", "-c", "write -P 5 4000 100000", "-c", "read -P 5 4000 100000", "-c", "write -z 8k 64k",
                      "-c", "read -P 0 8k 64k", "-c", "discard 1M 64k", "-c", "flush", s.url)
            assert "failed" not in out, out
            info = json.loads(run(IMG, "info", "--output=json", "-f", "raw", s.url))
            assert info["format"] == "raw" and info["filename"] == s.url, info
    # An image inside the export, found by its content, with one connection only.
    run("qemu-img", "create", "-q", "-f", "qcow2", "inner", "64M")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "in.raw", "inner")
    with open("inner", "r+b") as f:
        f.truncate(16 << 20)
    with qemu("-f", "raw", "inner") as s:
        assert json.loads(run(IMG, "info", "--output=json", s.url))["format"] == "qcow2"
    with qemu("-t", "-f", "raw", "inner") as s:
        run(IO, "-f", "qcow2", "-c", "write -P 8 0 1M", s.url)
        run(IMG, "create", "-f", "qcow2", s.url, "2M")
        run(IO, "-c", "write -P 8 0 1M", "-c", "read -P 8 0 1M", "-c", "read -P 0 1M 1M", s.url)
        assert "cannot grow" in run(IMG, "create", "-f", "raw", s.url, "1G", status=1)
    run("qemu-img", "check", "-q", "inner")


def of_nbdkit():
    """Our client with servers that lack something, want blocks, answer late or fail."""
    need("nbdkit")
    data = content(SIZE)
    write("in.raw", data)
    script = ["-c", "write -P 1 100 70000", "-c", "write -P 2 5000 3", "-c", "write -z 20000 30000", "-c", "read -P 1 100 4900",
              "-c", "read -P 2 5000 3", "-c", "read -P 0 20000 30000", "-c", "read -P 1 50000 20100", "-c", "write -f -P 3 0 512",
              "-c", "discard 128k 64k", "-c", "flush", "-c", "read -P 3 0 512"]
    memory = ["memory", "1M"]
    with nbdkit("-o", *memory) as s:  # it answers the others with EINVAL, to everybody
        run(IO, "-f", "raw", *(w for w in script[:4]), *script[6:10], s.url)
    for args in (memory, ["--mask-handshake=0", *memory], ["--no-sr", *memory], ["--filter=nozero", *memory],
                 ["--filter=nozero", *memory, "zeromode=plugin"], ["--filter=noextents", *memory],
                 ["--filter=fua", *memory, "fuamode=emulate"], ["--filter=fua", *memory, "fuamode=force"],
                 ["--filter=noparallel", *memory], ["--filter=delay", *memory, "delay-write=20ms"],
                 ["--filter=blocksize-policy", *memory, "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=64k",
                  "blocksize-error-policy=error"]):
        with nbdkit(*args) as s:
            out = run(IO, "-f", "raw", *script, s.url)
            assert "failed" not in out and "error" not in out, (args, out)
    with nbdkit("pattern", "8G") as s:
        run(IMG, "dd", "-f", "raw", f"if={s.url}", "of=out.raw", "bs=1M", "skip=4096", "count=2")
        assert read("out.raw")[:16] == (4 << 30).to_bytes(8, "big") + ((4 << 30) + 8).to_bytes(8, "big")
    with nbdkit("memory", "8M") as s:
        run(IMG, "convert", "-n", "-f", "raw", "-O", "raw", "in.raw", s.url)
        run(IMG, "convert", "-f", "raw", "-O", "qcow2", s.url, "a.qcow2")
        run(IMG, "convert", "-O", "raw", "a.qcow2", "out.raw")
        assert read("out.raw") == data + bytes((8 << 20) - SIZE)
    with nbdkit("-r", *memory) as s:
        assert "for reading only" in run(IO, "-f", "raw", "-c", "write 0 512", s.url, status=1)
    with nbdkit("--filter=error", *memory, "error=ENOSPC", "error-pwrite-rate=100%", "error-pread-rate=0%", "error-extents-rate=0%") as s:
        assert "No space left" in run(IO, "-f", "raw", "-c", "write 0 512", s.url, status=1)
        run(IO, "-f", "raw", "-c", "read 0 512", s.url)
    with nbdkit("--filter=error", *memory, "error=EIO", "error-pread-rate=100%") as s:
        assert "Input/output error" in run(IO, "-f", "raw", "-c", "read 0 512", s.url, status=1)
    with nbdkit("--filter=exportname", *memory, "exportname-strict=true", "exportname=a") as s:
        assert "no export" in run(IO, "-f", "raw", "-c", "read 0 512", s.url.replace("///", "///b"), status=1)
        run(IO, "-f", "raw", "-c", "read 0 512", s.url.replace("///", "///a"))


FLAVOURS = ["", "cluster_size=512", "cluster_size=2M", "extended_l2=on", "compat=0.10", "compression_type=zstd,lazy_refcounts=on",
            "data_file=d.raw", "data_file=d.raw,data_file_raw=on", "preallocation=metadata", "refcount_bits=1"]


def flavours():
    """Each kind of image behind each server, written by nbdcopy with four connections and read by all clients."""
    need("nbdcopy", "nbdinfo", "qemu-nbd", "qemu-img")
    data = content(SIZE, 7)
    write("in.raw", data)
    kinds = [("raw", "")] + [("qcow2", o) for o in (FLAVOURS if imgtest.ALL else FLAVOURS[3:8:2])]
    for fmt, options in kinds:
        for maker, server in ((IMG, qemu), ("qemu-img", ours)):
            run(maker, "create", "-q", "-f", fmt, *(["-o", options] if options else []), "disk", str(SIZE))
            with server("-t", "-e", "8", "-f", fmt, "--discard=unmap", "disk") as s:
                assert run("nbdinfo", "--can", "multi-conn", s.url) == "", (fmt, options)
                run("nbdcopy", "-C", "4", "-T", "4", "--request-size=16384", "--flush", "in.raw", s.url)
                for reader in ("nbdcopy", IMG, "qemu-img"):
                    run(*([reader, s.url] if reader == "nbdcopy" else [reader, "convert", "-f", "raw", "-O", "raw", s.url]), "out.raw")
                    assert read("out.raw") == data, (fmt, options, reader)
                maps = [json.loads(run(tool, "map", "--output=json", "-f", "raw", s.url)) for tool in (IMG, "qemu-img")]
                assert maps[0] == maps[1], (fmt, options, maps)
                run("nbdcopy", "--target-is-zero", "--allocated", "-C", "4", s.url, s.url)  # onto itself: nothing may change
            for judge in (IMG, "qemu-img"):
                run(judge, "check", "-q", "-f", fmt, "disk", status=63 if fmt == "raw" else 0)
                run(judge, "convert", "-f", fmt, "-O", "raw", "disk", "out.raw")
                assert read("out.raw") == data, (fmt, options, judge)
    # Server before server: what qemu-nbd serves is served again, and the other way round.
    for first, second in ((qemu, ours), (ours, qemu)):
        with first("-t", "-e", "8", "-f", "raw", "in.raw") as s:
            os.rename("s", "t")
            os.unlink("pid")
            url = f"nbd+unix:///?socket={os.path.abspath('t')}"
            with second("-t", "-f", "raw", url) as above:
                run("nbdcopy", above.url, "out.raw")
                assert read("out.raw") == data
            os.rename("t", "s")


def bitmaps():
    """Dirty bitmaps of each server as meta contexts, read by nbdinfo and by both map commands."""
    need("nbdinfo", "qemu-nbd", "qemu-img", "qemu-io")
    for options in ("", "cluster_size=512", "extended_l2=on", "data_file=d.raw"):
        run("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", options] if options else []), "disk", "20M")
        for name, granularity in (("fine", "512"), ("coarse", "1M"), ("plain", "64k")):
            run(IMG, "bitmap", "--add", "-g", granularity, "disk", name)
        run("qemu-io", "-c", "write 3333 5000", "-c", "write -z 5M 300k", "-c", "discard 9M 1M", "-c", "write 20479k 1k", "disk")
        for name, unit in (("fine", 512), ("coarse", 1 << 20), ("plain", 65536)):
            seen = []
            for server in (ours, qemu):
                with server("-t", "-r", "-B", name, "-f", "qcow2", "disk") as s:
                    extents = json.loads(run("nbdinfo", f"--map=qemu:dirty-bitmap:{name}", "--json", s.url))
                    seen.append([(e["offset"], e["length"]) for e in extents if e["type"] == 1])
                    opts = f"driver=nbd,server.type=unix,server.path={s.path},x-dirty-bitmap=qemu:dirty-bitmap:{name}"
                    for tool in (IMG, "qemu-img"):
                        view = json.loads(run(tool, "map", "--output=json", "--image-opts", opts))
                        seen.append([(e["start"], e["length"]) for e in view if not e["data"]])
            assert all(one == seen[0] for one in seen), (options, name, seen)
            assert seen[0] and all(at % unit == 0 for at, _ in seen[0]), (name, seen[0])


def misbehaves():
    """Servers that are slow, fail now and then, lie about their kind, or go away: each request ends, well or with an error."""
    need("nbdkit")
    data = content(SIZE, 3)
    write("in.raw", data)
    memory = ["memory", "4M"]
    # Slow in each way, with requests side by side; what is written is what is read.
    delays = ["delay-read=30ms", "delay-write=30ms", "delay-zero=30ms", "delay-trim=30ms", "delay-extents=30ms", "delay-cache=30ms"]
    with nbdkit("--filter=delay", *memory, *delays) as s:
        run(IMG, "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "16", "in.raw", s.url)
        run(IMG, "convert", "-f", "raw", "-O", "raw", "-m", "16", s.url, "out.raw")
        assert read("out.raw")[:SIZE] == data
        lines = [f"aio_write -P {n} {n * 64}k 64k" for n in range(1, 33)] + ["aio_flush"]
        lines += [f"read -P {n} {n * 64}k 64k" for n in range(1, 33)]
        out = run(IO, "-f", "raw", *(w for line in lines for w in ("-c", line)), s.url)
        assert "failed" not in out and out.count("wrote") == 32, out
    # One request in five fails, of every kind: the others are not disturbed, and data of those that went well is there.
    rates = [f"error-{kind}-rate=20%" for kind in ("pread", "pwrite", "trim", "zero", "extents")]
    with nbdkit("--filter=error", *memory, "error=EIO", *rates) as s:
        lines = [f"write -P {n} {n * 64}k 64k" for n in range(1, 49)]
        p = subprocess.run([IO, "-f", "raw", *(w for line in lines for w in ("-c", line)), s.url], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, check=False)
        good = {int(n) for n in re.findall(r"^wrote 65536/65536 bytes at offset (\d+)", p.stdout, re.M)}
        assert p.stdout.count("Input/output error") + len(good) == 48, p.stdout
        for _ in range(20):  # a read may fail as well: until one of each has gone well
            lines = [f"read -P {at // 65536} {at} 64k" for at in sorted(good)]
            out = run_any(IO, "-f", "raw", *(w for line in lines for w in ("-c", line)), s.url)
            assert "verification failed" not in out, out
            good -= {int(n) for n in re.findall(r"^read 65536/65536 bytes at offset (\d+)", out, re.M)}
        assert not good, good
    with nbdkit("--filter=error", *memory, "error=EIO", "error-pread-rate=100%") as s:
        assert "error while reading" in run(IMG, "convert", "-S", "0", "-f", "raw", "-O", "raw", s.url, "out.raw",
                                               status=1)
        run(IMG, "convert", "--salvage", "-f", "raw", "-O", "raw", "-S", "0", s.url, "out.raw")
        assert read("out.raw") == bytes(4 << 20)
    # Only some requests, sizes, flags.
    for args in (["--filter=nocache", *memory], ["--filter=multi-conn", *memory, "multi-conn-mode=disable"],
                 ["--filter=truncate", *memory, "truncate=3000001", "round-up=512"], ["--filter=blocksize", *memory, "minblock=4096"],
                 ["--filter=rate", *memory, "rate=100M"], ["--filter=readahead", *memory], ["--filter=cow", *memory],
                 ["--filter=swab", *memory, "swab-bits=16"], ["--filter=checkwrite", "memory", "1M"]):
        with nbdkit(*args) as s:
            out = run_any(IO, "-f", "raw", "-c", "write -P 0 0 64k", "-c", "read -P 0 0 64k", "-c", "write -z 64k 64k", "-c", "flush",
                          "-c", "read -P 0 1000 100000", s.url)
            assert "failed" not in out and "error" not in out, (args, out)
    # It goes away after the first client, in the middle of a conversion, or before the handshake ends.
    with nbdkit("--filter=exitlast", *memory) as s:
        run(IO, "-f", "raw", "-c", "read 0 512", s.url)
    with nbdkit("eval", "get_size=echo 4M", "pread=kill -9 $PPID; exit 1") as s:
        assert "Input/output error" in run(IO, "-r", "-f", "raw", "-c", "read 0 512", s.url, status=1)
    with nbdkit("eval", "get_size=kill -9 $PPID") as s:
        assert "rhea-io" in run(IO, "-r", "-f", "raw", "-c", "read 0 512", s.url, status=1)
    with nbdkit("eval", "get_size=echo 4M", "pread=printf %10s x") as s:  # fewer bytes than were asked for: nbdkit says EIO
        assert "Input/output error" in run(IO, "-r", "-f", "raw", "-c", "read 0 512", s.url, status=1)


def run_any(*args):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, check=False).stdout


class Prompt:
    """rhea-io that waits for commands; each is answered before the next is asked."""
    def __init__(self, *args):
        self.p = subprocess.Popen([IO, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(self, command, expect):
        self.tell(command)
        return self.until(expect)

    def tell(self, command):
        self.p.stdin.write(command + "\n")
        self.p.stdin.flush()

    def until(self, expect):
        seen = ""
        while expect not in seen:
            line = self.p.stdout.readline()
            assert line, f"'{expect}' is not in {seen}"
            seen += line
        return seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.stdin.close()
        self.p.stdout.close()
        self.p.wait(TIMEOUT)


def killed():
    """The server is killed under a client: errors without reconnect-delay, with it requests wait and go on."""
    write("in.raw", content(SIZE))
    with ours("-t", "-f", "raw", "in.raw") as s:
        with Prompt("-f", "raw", s.url) as p:
            p.ask("read 0 512", "read 512/512")
            s.end(signal.SIGKILL)
            p.ask("read 0 512", "Input/output error")
    opts = f"driver=raw,file.driver=nbd,file.reconnect-delay=1000,file.server.type=unix,file.server.path={s.path}"
    s = ours("-t", "-f", "raw", "in.raw")
    with Prompt("--image-opts", opts) as p:
        p.ask("write -P 1 0 512", "wrote 512/512")
        s.end(signal.SIGKILL)
        p.tell("write -P 2 512 512")
        p.tell("read -P 2 512 512")
        p.until("connecting again")
        with ours("-t", "-f", "raw", "in.raw"):
            p.until("wrote 512/512")
            p.until("read 512/512")
    assert read("in.raw")[:1024] == b"\1" * 512 + b"\2" * 512
    # A server that is not there yet.
    opts = f"driver=raw,file.driver=nbd,file.open-timeout=1000,file.server.type=unix,file.server.path={s.path}"
    with subprocess.Popen([IO, "--image-opts", "-c", "read -P 1 0 512", opts], stdout=subprocess.PIPE, text=True) as p:
        with ours("-t", "-f", "raw", "in.raw"):
            assert "read 512/512" in p.communicate(timeout=TIMEOUT)[0]


if __name__ == "__main__":
    sys.exit(imgtest.run_tests([options, serves_raw, serves_qcow2, kinds_of_image, lists, life, of_qemu, of_nbdkit, flavours, bitmaps, misbehaves,
                            killed]))

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rhea-io: every command, its exit codes, and the same scripts through an installed qemu-io: equal up to times."""
import os
import re
import signal
import subprocess
import sys

from imgtest import IMG, IO, QEMU_IO, need_io, run_tests


def images():
    for name in os.listdir("."):
        os.unlink(name)
    with open("a.raw", "wb") as f:
        f.truncate(8 << 20)
    with open("pattern", "wb") as f:
        f.write(b"abc")
    for args in (["-f", "qcow2", "a.qcow2", "8M"], ["-f", "qcow2", "-b", "a.raw", "-F", "raw", "b.qcow2"]):
        subprocess.run([IMG, "create", "-q", *args], check=True)


def run(args, tool=None, text=""):
    p = subprocess.run([tool or IO, *args], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=120, check=False)
    return p.returncode, p.stdout, p.stderr


def script(*lines):
    return [w for line in lines for w in ("-c", line)]


def good(*args):
    status, out, err = run(args)
    assert status == 0 and not err, (args, status, out, err)
    return out


def bad(*args):
    status, out, err = run(args)
    assert status == 1, (args, status, out, err)
    return out + err


def numbers_gone(text):
    """Times and rates differ from run to run."""
    text = re.sub(r"^(\d+,1),\d+:\d\d:\d\d\.\d\d,[\d.]+,[\d.]+$", r"\1,TIME", text, flags=re.M)
    return re.sub(r"; [\d:.]+( sec)? \([\d.]+ \w+/sec and [\d.]+ ops/sec\)$", "; TIME", text, flags=re.M)


# Messages that name something are worded by each tool; those of commands' arguments are the same.
TRANSFERS = ["write 0 512", "write -P 1 512 64k", "read -P 1 512 64k", "read -P 2 512 64k", "read -v 510 20",
             "writev 1k 1k 2k 3k", "readv -v 1k 16 17", "readv -P 0xcd 1k 1k 5k", "aio_read 0 512", "aio_flush",
             "aio_write -P 7 1M 64k 64k", "aio_flush", "read -P 7 1M 128k", "write -z 1M 64k", "read -P 0 1M 64k",
             "aio_write -z 512 512", "aio_flush", "read -P 0 512 512", "write -C 0 4k", "write -f 0 4k", "write -q 0 4k",
             "read -qP 3 0 512", "read -P 0xcd -s 10 -l 100 0 512", "read -P 1 -s 10 -l 100 0 512", "write -s pattern 3 8",
             "read -v 0 40", "discard 2M 64k", "discard -C 2M 64k", "write -P 0377 7 1000", "readv -P 255 7 500 500",
             "read 0 0", "write 0 0", "flush", "length", "sleep 1", "writev -C 0 5", "aio_read -v 0 20", "aio_flush",
             "aio_read -C 0 4", "aio_flush", "write 0 1.5M", "read 0 1.25M", "read 0 1000", "truncate 9M", "length",
             "read 8M 1M", "quit", "length"]
WRONG = ["read 9M 1", "write 9M 1", "readv 9M 4", "writev 9M 4", "discard 9M 1", "write -z 9M 1", "aio_read 9M 1", "aio_flush",
         "aio_write 9M 1", "aio_flush", "read 0 4G", "discard 0 3G", "write -z 0 3G", "read 0 foo", "read foo 5", "read", "foo",
         "write -P foo 0 1", "write -P 256 0 1", "read -P -1 0 1", "write -n 0 512", "write -u 0 512",
         "write -z -P 3 0 512", "write -s pattern -P 3 0 5", "write -s nofile 0 5", "write -s /dev/null 0 5",
         "read -P 1 -s 10 -l 600 0 512", "sigraise", "sigraise foo", "sleep", "sleep foo", "sleep 1.5", "truncate",
         "truncate foo", "alloc x", "alloc 0 x", "discard 0", "discard 0 x", "flush x", "length 3", "map -x", "info x",
         "help nope", "help a b", "write -c 3 512", "aio_write -zf 0 512 4", "readv 0", "break", "wait_break"]


def same(args, lines, text=None):
    """Through both tools; the images begin anew for each."""
    answers = []
    for tool in (IO, QEMU_IO):
        images()
        status, out, err = run([*args, *(script(*lines) if text is None else [])], tool, text or "")
        out = numbers_gone(out).replace("qemu-io>", "rhea-io>")
        err = re.sub(r"^(rhea|qemu)-io: ", "", err, flags=re.M)
        answers.append((status, out, err))
    (status, out, err), (q_status, q_out, q_err) = answers
    assert out == q_out, f"{args}: ours\n{out}\ntheirs\n{q_out}"
    assert err == q_err, f"{args}: ours\n{err}\ntheirs\n{q_err}"
    assert status == q_status, (args, status, q_status)


def commands():
    images()
    text = good("-c", "help")
    for c in ("abort", "aio_flush", "aio_read", "aio_write", "alloc", "close", "discard", "flush", "help", "info", "length",
              "map", "open", "quit", "read", "readv", "reopen", "sigraise", "sleep", "truncate", "write", "writev"):
        assert re.search(rf"^{c} .*-- ", text, re.M), c
        assert good("-c", f"help {c}").startswith(f"{c} "), c
    out = good("-f", "raw", "a.raw", "-c", "write 0 512")
    assert re.fullmatch(r"wrote 512/512 bytes at offset 0\n512 bytes, 1 ops; [\d:.]+ sec \([\d.]+ \w+/sec and [\d.]+ "
                        r"ops/sec\)\n", out), out
    assert "Pattern verification failed at offset 0, 512 bytes" in bad("-f", "raw", "a.raw", "-c", "read -P 3 0 512")
    assert good("-f", "raw", "a.raw", "-c", "length") == "8 MiB\n"
    assert "format name: qcow2" in good("a.qcow2", "-c", "info")
    # The first wrong command does not keep the others from running.
    status, out, _ = run(["-f", "raw", "a.raw", *script("frob", "length")])
    assert status == 1 and out == "8 MiB\n", (status, out)


def refusals():
    images()
    assert "there is no trace event 'x'" in bad("-T", "x", "a.raw")
    assert "--object is not supported" in bad("--object", "secret,id=a", "a.raw")
    assert "hold no VM state" in bad("a.qcow2", "-c", "read -b 0 512")
    assert "exclude each other" in bad("a.qcow2", "-c", "write -zc 0 64k")
    assert "mutually exclusive" in bad("--image-opts", "-f", "raw", "driver=raw")
    assert "cache mode 'fast'" in bad("-t", "fast", "a.raw")
    assert "not 'fast'" in bad("-i", "fast", "-f", "raw", "a.raw", "-c", "length")
    assert "aio=native" in bad("-k", "-f", "raw", "a.raw", "-c", "length")
    assert "-U needs -r" in bad("-U", "a.qcow2", "-c", "length")
    assert "excludes -r" in bad("-C", "-r", "b.qcow2", "-c", "length")
    assert "format 'foo' is not known" in bad("-f", "foo", "a.raw", "-c", "length")
    assert "No such file" in bad("nothing", "-c", "length")
    assert "no file open" in bad("-c", "length")
    assert "read-only" in bad("-r", "a.qcow2", "-c", "write 0 512")
    assert "looks raw" in run(["a.raw", "-c", "length"])[2]
    assert "Usage" in bad("a.raw", "a.qcow2")


def opening():
    images()
    for words in (["-o driver=raw a.raw"], ["-o driver=qcow2,file.filename=a.qcow2"], ["-r a.qcow2"], ["-rU a.qcow2"],
                  ["-n a.qcow2"], ["-t writethrough -d ignore a.qcow2"], ["-s a.qcow2"], ["-C b.qcow2"], ["-i io_uring a.qcow2"],
                  ["-nk a.qcow2"]):
        assert "8 MiB\n" in run(script(f"open {words[0]}", "length", "close"))[1], words
    assert "open already" in bad("a.qcow2", "-c", "open a.raw")
    assert good("--image-opts", "driver=raw,file.filename=a.raw", "-c", "length") == "8 MiB\n"
    assert good('json:{"driver":"raw","file":{"driver":"file","filename":"a.raw"}}', "-c", "length") == "8 MiB\n"
    # What goes to a temporary file is gone afterwards.
    assert "wrote 512" in good("-s", "-f", "raw", "a.raw", *script("write -P 9 0 512", "read -P 9 0 512"))
    good("-f", "raw", "a.raw", "-c", "read -P 0 0 512")
    # Buffers that O_DIRECT does not like.
    good("-n", "-m", "-f", "raw", "a.raw", *script("write -P 5 0 64k", "read -P 5 3 5", "write -P 6 511 3", "read -P 6 511 3"))
    # Somebody else writes to it meanwhile.
    p = subprocess.Popen([IO, "a.qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdin.write("length\n")
    p.stdin.flush()
    out = p.stdout.readline()
    assert out == "rhea-io> 8 MiB\n", out
    assert "lock" in bad("a.qcow2", "-c", "length")
    good("-rU", "a.qcow2", "-c", "length")
    p.stdin.write("quit\n")
    p.stdin.close()
    assert p.stdout.read() == "rhea-io> " and p.wait() == 0, p.returncode


def reopen():
    images()
    text = bad("-f", "raw", "a.raw", *script("reopen -r", "write 0 512", "reopen -w", "write 0 512", "reopen -c none",
                                             "write -P 4 1 5", "reopen -o frob=1", "read -P 4 1 5", "reopen -rw"))
    assert "read-only" in text and "'frob' is unknown" in text and text.count("wrote") == 2, text
    assert "read 5/5" in text and "Only one" in text and "verification" not in text, text
    good("a.qcow2", *script("write -P 1 0 1M", "reopen -o lazy-refcounts=on", "write -P 2 0 512k", "reopen -c directsync",
                            "read -P 2 0 512k", "read -P 1 512k 512k", "flush"))
    assert "No errors" in subprocess.run([IMG, "check", "a.qcow2"], stdout=subprocess.PIPE, text=True, check=True).stdout


def copy_on_read():
    images()
    good("-f", "raw", "a.raw", "-c", "write -P 8 0 1M")
    assert "not allocated at offset 0 bytes" in good("b.qcow2", "-c", "map")
    good("-C", "b.qcow2", "-c", "read -P 8 0 100k")
    assert good("b.qcow2", "-c", "alloc 0 1M") == "131072/1048576 bytes allocated at offset 0 bytes\n"


def ends():
    images()
    assert run(["a.qcow2", "-c", "abort"])[0] == -signal.SIGABRT
    status, out, _ = run(["a.qcow2", *script("length", "sigraise 15", "length")])
    assert status == -signal.SIGTERM and out == "8 MiB\n", (status, out)
    status, out, _ = run(["a.qcow2"], text="length\nfrob\n\n length")
    assert status == 1 and out == "rhea-io> 8 MiB\n" + "rhea-io> " * 3 + "8 MiB\nrhea-io> ", (status, out)
    with open("script", "w", encoding="ascii") as f: # an ordinary file as input
        f.write("aio_write -P 3 0 1M\naio_flush\nread -qP 3 0 1M\n")
    with open("script", encoding="ascii") as f:
        p = subprocess.run([IO, "a.qcow2"], stdin=f, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert p.returncode == 0 and "wrote 1048576/1048576" in p.stdout, p


def qemu_transfers():
    need_io()
    for args in (["-f", "raw", "a.raw"], ["-f", "qcow2", "a.qcow2"], ["-f", "qcow2", "b.qcow2"], ["-n", "-f", "raw", "a.raw"],
                 ["-t", "writethrough", "a.qcow2"]):
        same(args, TRANSFERS)
    same(["-s", "a.qcow2"], ["write -P 1 0 64k", "read -P 1 0 64k"])


def qemu_wrong():
    need_io()
    same(["-f", "raw", "a.raw"], [w for w in WRONG if "break" not in w])
    same([], ["read 0 1", "length", "close"])


def qemu_maps():
    need_io()
    same(["a.qcow2"], ["write 0 512", "write 1M 96k", "write -c 3M 64k", "map", "alloc 0 4M", "alloc 0", "alloc 1M 512", "alloc 99M",
                       "info", "write -c 0 512", "write -c 64k 96k"])
    same(["-f", "raw", "a.raw"], ["map", "alloc 0 1M", "info", "alloc 1 5"])
    same(["b.qcow2"], ["map", "write -z 64k 64k", "map", "discard 64k 64k", "map", "info"])


def breakpoints():
    images()
    text = bad("-f", "raw", "a.raw", *script("break write_aio A", "wait_break A", "resume A", "remove_break A"))
    assert text.count("not supported") == 3 and "no blkdebug node" in text, text
    # What is stopped when the image is closed goes on.
    out = good("-f", "raw", "blkdebug::a.raw", *script("break read_aio D", "aio_read 0 512", "wait_break D"))
    assert "Suspended request 'D'" in out and "read 512/512" in out, out
    with open("conf", "w", encoding="ascii") as f:
        f.write('[inject-error]\nevent = "write_aio"\nerrno = "28"\nonce = "on"\n')
    assert bad("-f", "raw", "blkdebug:conf:a.raw", *script("write 0 512", "write 0 512")).startswith(
        "write failed: No space left on device\nwrote 512/512")


def qemu_breakpoints():
    need_io()
    stops = ["break write_aio A", "aio_write 0 512", "wait_break A", "resume A", "aio_flush", "aio_write 0 512", "aio_flush",
             "break read_aio C", "remove_break C", "remove_break C", "resume C", "break read_aio D", "aio_read 0 512",
             "wait_break D", "length", "resume D", "aio_flush"]
    same(["-f", "raw", "blkdebug::a.raw"], stops)
    same(["-f", "qcow2", "blkdebug::a.qcow2"], stops)
    inject = "driver=raw,file.driver=blkdebug,file.image.filename=a.raw,file.inject-error.0.event="
    for rule in ("none,file.inject-error.0.iotype=write", "write_aio,file.inject-error.0.sector=3", "read_aio,file.align=4096",
                 "pwritev_rmw_head,file.align=4096", "pwritev,file.inject-error.0.errno=28"):
        same(["--image-opts", inject + rule], ["write 0 512", "write 1k 2k", "read 0 512", "read 1536 512", "write 5000 10",
                                               "read 0 512", "write -z 0 64k"])


def qemu_prompt():
    need_io()
    same(["-f", "raw", "a.raw"], [], "read 0 512\n\nfrob\nlength\n read  0 5 \nread 0\nquit\nlength\n")
    same(["-f", "raw", "a.raw"], [], "length")


if __name__ == "__main__":
    sys.exit(run_tests([commands, refusals, opening, reopen, copy_on_read, ends, breakpoints, qemu_transfers, qemu_wrong, qemu_maps,
                        qemu_breakpoints, qemu_prompt]))

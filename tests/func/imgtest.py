# SPDX-License-Identifier: MIT
"""What the tests of rhea-img share: running it and an installed qemu-img, contents, the list of tests."""
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
IMG, IO, NBD = (os.path.abspath(os.environ.get(f"RHEA_{n.upper()}") or os.path.join(BUILD, f"tools/{n}/rhea-{n}"))
                for n in ("img", "io", "nbd"))
ALL = bool(os.environ.get("RHEA_IMG_ALL"))  # the suite `long`
QEMU = shutil.which("qemu-img")
QEMU_IO = shutil.which("qemu-io")
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


def need_io():
    need_qemu()
    if not QEMU_IO:
        raise Skip("qemu-io is not installed (qemu-utils)")


def io(name, *commands):
    """qemu-io, which says nothing when all went well."""
    args = [a for c in commands for a in ("-c", c)]
    p = subprocess.run([QEMU_IO, *args, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                       check=False)
    assert p.returncode == 0 and "error" not in p.stdout and "failed" not in p.stdout, f"{commands}: {p.stdout}"
    return p.stdout


def same_view(name):
    """info, check and map say what qemu-img says."""
    for args in (["info", "--output=json", name], ["map", "--output=json", name], ["check", "--output=json", name]):
        a, b = json.loads(run(*args)), json.loads(run(*args, tool=QEMU))
        if isinstance(a, list) and isinstance(b, list):
            n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            assert a == b, f"{args}: entry {n} of {len(a)}, {len(b)}\n{a[n:n + 2]}\n{b[n:n + 2]}"
        assert a == b, f"{args}\n{a}\n{b}"


def dirty(name, bitmap):
    """What a bitmap says, as an NBD client sees it: [start, end) of each dirty range."""
    sock = os.path.abspath("nbd.sock")
    with subprocess.Popen(["qemu-nbd", "-r", "-t", "-f", "qcow2", "-B", bitmap, "-k", sock, name]) as p:
        try:
            for _ in range(600):
                with socket.socket(socket.AF_UNIX) as s:
                    if s.connect_ex(sock) == 0:
                        break
                time.sleep(0.05)
            out = run("map", "--output=json", "--image-opts", "driver=nbd,server.type=unix,server.path=" + sock +
                      ",x-dirty-bitmap=qemu:dirty-bitmap:" + bitmap, tool=QEMU)
        finally:
            p.terminate()
            p.wait()
    os.unlink(sock) if os.path.exists(sock) else None
    return [(e["start"], e["start"] + e["length"]) for e in json.loads(out) if not e["data"]]


def run_tests(tests):
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

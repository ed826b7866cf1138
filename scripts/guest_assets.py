#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests for the quick start and the functional tests, taken from Debian's archive through apt.

    guest_assets.py kernel cloud|generic|i686      path of a kernel image
    guest_assets.py installer [gtk]                paths of the netboot kernel and initrd
    guest_assets.py mini_iso                       path of the installer's CD image
    guest_assets.py memtest | gnumach              path of the image
    guest_assets.py busybox                        path of a static busybox
    guest_assets.py initramfs [--once CMD] OUT     a busybox initramfs
    guest_assets.py rootfs NAME OUT PACKAGE...     packages with their dependencies as an initramfs

Everything downloaded is kept below $RHEA_CACHE (default ~/.cache/rhea) and used again without asking
the network; nothing is installed on the host.
"""
import fcntl
import glob
import gzip
import hashlib
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile


def cache_dir():
    base = os.environ.get("RHEA_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rhea")
    os.makedirs(base, exist_ok=True)
    return base


class Locked:
    """One process fills the cache at a time: tests run in parallel."""

    def __enter__(self):
        self.f = open(os.path.join(cache_dir(), ".lock"), "w")
        fcntl.flock(self.f, fcntl.LOCK_EX)

    def __exit__(self, *exc):
        self.f.close()


def run(args, **kw):
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if r.returncode != 0:
        raise SystemExit(f"guest_assets: '{' '.join(args)}' failed: {r.stderr.strip() or r.stdout.strip()}")
    return r.stdout


def apt_options(arch):
    """For a foreign architecture: apt with a state of its own, so that the host's is not touched."""
    if arch == "amd64":
        return []
    top = os.path.join(cache_dir(), "apt-" + arch)
    for d in ("state/lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(top, d), exist_ok=True)
    open(os.path.join(top, "state/status"), "a").close()
    opts = ["-o", f"APT::Architecture={arch}", "-o", f"APT::Architectures::={arch}",
            "-o", f"Dir::State={top}/state", "-o", f"Dir::State::status={top}/state/status",
            "-o", f"Dir::Cache={top}/cache", "-o", "APT::Sandbox::User=root"]
    stamp = os.path.join(top, "updated")
    if not os.path.exists(stamp):
        subprocess.run(["apt-get"] + opts + ["update", "-qq"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        open(stamp, "w").close()
    return opts


def download(package, arch="amd64"):
    """Path of the package's .deb, downloaded once."""
    debs = os.path.join(cache_dir(), "debs-" + arch)
    os.makedirs(debs, exist_ok=True)
    have = sorted(glob.glob(os.path.join(debs, package.replace(":", "%3a") + "_*.deb")))
    if have:
        return have[-1]
    name = package if arch == "amd64" else f"{package}:{arch}"
    run(["apt-get"] + apt_options(arch) + ["-o", "APT::Sandbox::User=root", "download", "-qq", name],
        cwd=debs)
    have = sorted(glob.glob(os.path.join(debs, package + "_*.deb")))
    if not have:
        raise SystemExit(f"guest_assets: apt-get download {package} left no file")
    return have[-1]


def extract(deb, into):
    os.makedirs(into, exist_ok=True)
    run(["dpkg-deb", "-x", deb, into])


def from_package(package, pattern, arch="amd64"):
    """A file of a package, extracted into the cache."""
    with Locked():
        top = os.path.join(cache_dir(), "files", f"{package}-{arch}")
        have = sorted(glob.glob(os.path.join(top, pattern)))
        if not have:
            part = top + ".part"
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(top, ignore_errors=True)
            extract(download(package, arch), part)
            os.rename(part, top)
            have = sorted(glob.glob(os.path.join(top, pattern)))
        if not have:
            raise SystemExit(f"guest_assets: package {package} holds no {pattern}")
        return have[-1]


def kernel(flavour):
    meta, arch = {"cloud": ("linux-image-cloud-amd64", "amd64"), "generic": ("linux-image-amd64", "amd64"),
                  "i686": ("linux-image-686", "i386")}[flavour]
    name_file = os.path.join(cache_dir(), f"kernel-{flavour}.name")
    with Locked():
        if os.path.exists(name_file):
            package = open(name_file).read().strip()
        else:
            opts = apt_options(arch)
            out = run(["apt-cache"] + opts + ["depends", meta if arch == "amd64" else f"{meta}:{arch}"])
            found = re.findall(r"Depends: (linux-image-[0-9][^ :\n]*)", out)
            if not found:
                raise SystemExit(f"guest_assets: apt does not know {meta}: run apt-get update")
            package = found[0]
            with open(name_file, "w") as f:
                f.write(package)
    return from_package(package, "boot/vmlinuz-*", arch)


def built_module(folder, sources):
    """A module of the generic kernel that Debian leaves out, made of these files of the kernel's source (a
    package of 140 MB). Needs make and the compiler that the kernel was made with."""
    kernel("generic")
    with open(os.path.join(cache_dir(), "kernel-generic.name")) as f:
        release = f.read().strip()[len("linux-image-"):]
    series, name = ".".join(release.split(".")[:2]), folder.replace("/", "-")
    out = os.path.join(cache_dir(), f"built-{release}-{name}.ko")
    if os.path.exists(out):
        return out
    with tempfile.TemporaryDirectory(prefix="rhea-module-") as d:
        common = f"linux-headers-{release.rsplit('-', 1)[0]}-common"
        for p in (f"linux-headers-{release}", common, f"linux-kbuild-{series}"):
            run(["dpkg-deb", "-x", download(p), d])
        head = os.path.join(d, f"usr/src/linux-headers-{release}")
        with open(os.path.join(head, "Makefile"), "w") as f:
            f.write(f"include {d}/usr/src/{common}/Makefile\n")
        source = download(f"linux-source-{series}")
        run(["bash", "-o", "pipefail", "-c", f"dpkg-deb --fsys-tarfile '{source}' |"
             f" tar xO './usr/src/linux-source-{series}.tar.xz' |"
             f" tar xJ -C '{d}' 'linux-source-{series}/{folder}'"])
        here = os.path.join(d, f"linux-source-{series}", folder)
        with open(os.path.join(here, "Makefile"), "w") as f:
            f.write(f"obj-m := made.o\nmade-objs := {' '.join(s + '.o' for s in sources)}\n")
        run(["make", "-C", head, f"M={here}", "modules"])
        part = f"{out}.{os.getpid()}"
        shutil.copy(os.path.join(here, "made.ko"), part)
        os.rename(part, out)
    return out


def installer(kind="text"):
    """kind: text, or gtk, the graphical one."""
    top = f"usr/lib/debian-installer/images/*/amd64/{kind}/debian-installer/amd64/"
    p = "debian-installer-12-netboot-amd64"
    return from_package(p, top + "linux"), from_package(p, top + "initrd.gz")


def fetched(path, sums=None):
    """A file of Debian 12 on the mirror of this host's apt, as bytes; None when the mirror has none. Its hash
    is that of the signed Release file, or of `sums`. `path`: as it is listed, and what comes before."""
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(FILENAME)", "Created-By: Packages",
                   "Codename: bookworm", "Label: Debian", "Component: main"]).split()
    if not targets:
        raise SystemExit("guest_assets: apt of this host has no source for Debian 12 (bookworm main)")
    uri, listed = targets[:2]
    if sums is None:
        with open(listed[:listed.index("_main_binary")] + "_InRelease", encoding="utf-8") as f:
            sums = f.read()
    want = re.findall(r"^ ?([0-9a-f]{64}) +(?:[0-9]+ +)?(?:\./)?" + re.escape(path[0]) + "$", sums, re.M)
    if not want:
        raise SystemExit(f"guest_assets: Debian's list of files has no {path[0]}")
    with tempfile.TemporaryDirectory(prefix="rhea-fetch-") as d:
        os.chmod(d, 0o755)
        file = os.path.join(d, "file")
        r = subprocess.run(["/usr/lib/apt/apt-helper", "-o", "APT::Sandbox::User=root", "download-file",
                            f"{uri}dists/bookworm/{path[1]}{path[0]}", file, "SHA256:" + want[-1]],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if r.returncode:
            if " 404 " in r.stdout + r.stderr:
                return None
            raise SystemExit(f"guest_assets: '{path[0]}': {r.stderr.strip() or r.stdout.strip()}")
        with open(file, "rb") as f:
            return f.read()


def mini_iso():
    """The installer's netboot/mini.iso, or one of the same parts where the mirror carries only packages."""
    out = os.path.join(cache_dir(), "mini.iso")
    if os.path.exists(out):
        return out
    images = "main/installer-amd64/current/images/"
    sums = fetched((images + "SHA256SUMS", ""))
    iso = fetched(("netboot/mini.iso", images), sums.decode()) if sums else None
    if iso is None:
        make_mini_iso(out + ".part", installer()[0], sums.decode() if sums else None)
    else:
        with open(out + ".part", "wb") as f:
            f.write(iso)
    os.rename(out + ".part", out)
    return out


def make_mini_iso(out, kernel_path, sums):
    """Kernel, initrd, menus of package debian-installer-12-netboot-amd64 (their hashes are those of Debian's
    netboot images), ISOLINUX for the BIOS, shim and GRUB in an EFI boot image: what mini.iso is made of."""
    source = os.path.dirname(kernel_path)
    for tool in ("mformat", "xorriso"):
        if not shutil.which(tool):
            raise SystemExit(f"guest_assets: {tool} is not installed (scripts/check does it)")
    for name in ("linux", "initrd.gz"):
        with open(os.path.join(source, name), "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        if sums and f"{digest}  ./netboot/debian-installer/amd64/{name}" not in sums:
            raise SystemExit(f"guest_assets: {name} of {source} is not that of Debian's netboot image")
    isolinux = from_package("isolinux", "usr/lib/ISOLINUX/isolinux.bin")
    grub = from_package("grub-efi-amd64-signed", "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed")
    with tempfile.TemporaryDirectory(prefix="rhea-mini-") as d:
        top, efi = os.path.join(d, "top"), os.path.join(d, "top/boot/grub/efi.img")
        amd64 = os.path.join(top, "debian-installer/amd64")
        shutil.copytree(source, amd64)
        shutil.move(os.path.join(amd64, "grub"), os.path.join(top, "boot/grub"))
        shutil.copy(isolinux, top)
        shutil.copy(os.path.join(amd64, "boot-screens/syslinux.cfg"), os.path.join(top, "isolinux.cfg"))
        shutil.copy(os.path.join(amd64, "boot-screens/ldlinux.c32"), top)
        os.mkdir(os.path.join(top, ".disk"))
        with open(os.path.join(top, ".disk/info"), "w", encoding="ascii") as f: # GRUB looks for the CD by it
            f.write("mini.iso\n")
        run(["mformat", "-C", "-i", efi, "-T", "16384", "-h", "16", "-s", "32", "::"])
        run(["mmd", "-i", efi, "::efi", "::efi/boot"])
        run(["mcopy", "-i", efi, os.path.join(amd64, "bootnetx64.efi"), "::efi/boot/bootx64.efi"])
        run(["mcopy", "-i", efi, grub, "::efi/boot/grubx64.efi"])
        for name in ("bootnetx64.efi", "grubx64.efi", "pxelinux.0"):
            os.unlink(os.path.join(amd64, name))
        run(["xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-o", out, "-c", "boot.cat", "-b",
             "isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
             "-eltorito-alt-boot", "--efi-boot", "boot/grub/efi.img", "-no-emul-boot", top])


def memtest():
    return from_package("memtest86+", "boot/memtest86+x64.bin")


def gnumach():
    packed = from_package("gnumach-image-1.8-486", "boot/gnumach-1.8-486.gz", "i386")
    if not packed.endswith(".gz"):
        return packed
    plain = packed[:-3] + ".elf"
    if not os.path.exists(plain):
        with gzip.open(packed) as f, open(plain + ".part", "wb") as g:
            g.write(f.read())
        os.rename(plain + ".part", plain)
    return plain


def busybox(arch="amd64"):
    return from_package("busybox-static", "bin/busybox", arch)


class Cpio:
    """Writes a "newc" archive (Linux Documentation/driver-api/early-userspace/buffer-format)."""

    def __init__(self, f):
        self.f, self.ino, self.pos = f, 1, 0

    def _put(self, data):
        self.f.write(data)
        self.pos += len(data)
        if self.pos % 4:
            pad = 4 - self.pos % 4
            self.f.write(b"\0" * pad)
            self.pos += pad

    def add(self, name, mode, data=b"", rdev=(0, 0)):
        raw = name.encode() + b"\0"
        head = "070701" + "".join("%08x" % v for v in (
            self.ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0))
        self.ino += 1
        self._put(head.encode() + raw)
        self._put(data)

    def dir(self, name, mode=0o755):
        self.add(name, stat.S_IFDIR | mode)

    def file(self, name, data, mode=0o755):
        self.add(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self.add(name, stat.S_IFLNK | 0o777, target.encode())

    def node(self, name, major, minor, mode=0o600):
        self.add(name, stat.S_IFCHR | mode, rdev=(major, minor))

    def tree(self, top):
        for root, dirs, files in os.walk(top):
            for n in sorted(dirs + files):
                path = os.path.join(root, n)
                rel = os.path.relpath(path, top)
                st = os.lstat(path)
                if stat.S_ISLNK(st.st_mode):
                    self.link(rel, os.readlink(path))
                elif stat.S_ISDIR(st.st_mode):
                    self.dir(rel, st.st_mode & 0o7777)
                elif stat.S_ISREG(st.st_mode):
                    with open(path, "rb") as f:
                        self.file(rel, f.read(), st.st_mode & 0o7777)

    def end(self):
        self.add("TRAILER!!!", 0)


INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=${TERM:-linux} LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /tmp /run
mount -t devpts pts /dev/pts 2>/dev/null
mount -t tmpfs tmp /tmp
cd /root
if [ -e /once.sh ]; then
    echo; echo "@@rhea-begin@@"
    sh /once.sh </dev/null 2>&1
    echo "@@rhea-end $?@@"
    sync
    poweroff -f
    sleep 60
fi
echo
echo "A busybox shell in the guest; 'poweroff -f' or 'exit' ends it, Ctrl-A x ends the emulator."
setsid cttyhack sh
poweroff -f
sleep 60
"""


def initramfs(out, once=None, tree=None, arch="amd64"):
    """A busybox userland; `once` is a shell script to run before powering off; `tree` is added to it."""
    bb = busybox(arch)
    applets = subprocess.run([busybox(), "--list"], stdout=subprocess.PIPE, text=True).stdout.split()
    tmp = out + ".part"
    with open(tmp, "wb") as f:
        c = Cpio(f)
        if tree:
            c.tree(tree)
        merged = tree and os.path.islink(os.path.join(tree, "bin"))
        for d in ("dev", "proc", "sys", "root", "tmp", "run") if tree else (
                "bin", "sbin", "usr", "usr/bin", "usr/sbin", "dev", "proc", "sys", "root", "tmp", "run",
                "etc"):
            c.dir(d)
        c.node("dev/console", 5, 1)
        c.node("dev/null", 1, 3, 0o666)
        c.file("bin/busybox" if not merged else "usr/bin/busybox", open(bb, "rb").read())
        for a in applets:
            where = "bin/" if not merged else "usr/bin/"
            places = ("bin", "usr/bin", "sbin", "usr/sbin")
            if tree and any(os.path.lexists(os.path.join(tree, d, a)) for d in places):
                continue
            if a != "busybox":
                c.link(where + a, "busybox")
        c.file("init", INIT.encode())
        if once is not None:
            c.file("once.sh", (once + "\n").encode())
        c.end()
    os.rename(tmp, out)
    return out


def closure(packages):
    """The packages with all they depend on, as apt would install them on an empty system."""
    with tempfile.TemporaryDirectory() as d:
        status = os.path.join(d, "status")
        open(status, "w").close()
        out = run(["apt-get", "-s", "-o", f"Dir::State::status={status}", "--no-install-recommends",
                   "install"] + packages)
    return re.findall(r"^Inst (\S+) ", out, re.M)


def rootfs_tree(packages):
    """A folder with the packages unpacked (not configured), cached by the list's hash."""
    key = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:16]
    top = os.path.join(cache_dir(), "roots", key)
    with Locked():
        if os.path.isdir(top):
            return top
        part = top + ".part"
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        for p in closure(packages):
            extract(download(p), part)
        for d in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"):
            shutil.rmtree(os.path.join(part, d), ignore_errors=True)
        os.rename(part, top)
    return top


def main(argv):
    if not argv:
        raise SystemExit(__doc__)
    what, args = argv[0], argv[1:]
    if what == "kernel":
        print(kernel(args[0]))
    elif what == "installer":
        print("\n".join(installer(*args)))
    elif what == "mini_iso":
        print(mini_iso())
    elif what == "memtest":
        print(memtest())
    elif what == "gnumach":
        print(gnumach())
    elif what == "busybox":
        print(busybox())
    elif what == "initramfs":
        once = None
        if args[0] == "--once":
            once, args = args[1], args[2:]
        print(initramfs(args[0], once))
    elif what == "rootfs":
        print(initramfs(args[0], None, rootfs_tree(args[1:])))
    else:
        raise SystemExit(f"guest_assets: unknown word '{what}'\n{__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A disk with Debian 12, made with debootstrap, that boots through GRUB from BIOS and UEFI firmware.

    debian_image.py RHEA-IMG       makes the image unless it is there, and prints its path

A qcow2 image with zstd clusters in the cache of guest_assets.py: GPT with a BIOS boot partition, an EFI
system partition, and an ext4 root. The console is ttyS0, root's password is "rhea". /srv/repo is a
repository that apt knows, with one package of our own, rhea-words. GRUB's environment decides by
`grub-editenv - set next_entry=fsck` that the next boot checks the root file system by force.

Needs root (debootstrap makes device nodes, and runs the packages' scripts in a chroot), neither loop
devices nor mounts that stay. A host that does not permit this, or a mirror that does not answer, ends with
SystemExit; anything else that goes wrong is an error.
"""
import binascii
import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import uuid

import guest_assets

PACKAGES = ("linux-image-amd64", "initramfs-tools", "systemd-sysv", "udev", "e2fsprogs", "grub2-common",
            "grub-pc-bin", "grub-efi-amd64-bin")
# Drivers of what no test has, most of a kernel's package. dpkg leaves them out (path-exclude).
LEFT_OUT = [f"/lib/modules/*/kernel/{d}/*" for d in (
    "sound", "drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/iio", "drivers/staging",
    "drivers/net/wireless", "drivers/net/ethernet", "drivers/hwmon", "drivers/isdn", "drivers/mtd",
    "drivers/comedi", "drivers/bluetooth", "drivers/scsi/[a-rt-z]*", "drivers/input", "drivers/platform",
    "drivers/target", "drivers/usb", "drivers/md")]
LEFT_OUT += [f"/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")]
MODULES = ("ext4", "ata_piix", "ahci", "sd_mod", "virtio_pci", "virtio_blk")

MIB = 1 << 20
BIOS_AT, EFI_AT, ROOT_AT, END = MIB, 2 * MIB, 66 * MIB, 1024 * MIB
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX_ROOT = uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")

GRUB_CFG = """load_env
set timeout=0
set default=ordinary
if [ "$next_entry" ]; then
    set default=$next_entry
    set next_entry=
    save_env next_entry
fi
if [ "$grub_platform" = pc ]; then
    serial --unit=0 --speed=115200
    terminal_input serial
    terminal_output serial
fi
menuentry ordinary --id ordinary {
    echo "GRUB of $grub_platform starts Debian"
    linux /vmlinuz root=LABEL=rhea-root ro console=ttyS0
    initrd /initrd.img
}
menuentry fsck --id fsck {
    echo "GRUB of $grub_platform starts Debian with a check"
    linux /vmlinuz root=LABEL=rhea-root ro console=ttyS0 fsck.mode=force
    initrd /initrd.img
}
"""
CONTROL = """Package: rhea-words
Version: 1.0
Architecture: all
Maintainer: Rhea <root@localhost>
Description: words to install
"""
WORDS = b"".join(b"word %d of the package\n" % i for i in range(50000))


def run(*args, **kw):
    p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       check=False, **kw)
    if p.returncode:
        text = p.stdout.decode(errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(args)}: status {p.returncode}\n{text}")
    return p.stdout


def write(path, data, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.chmod(path, mode)


def mirror():
    """Where this host's apt has Debian 12 from."""
    out = guest_assets.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
                            "Codename: bookworm", "Label: Debian", "Component: main"]).split()
    if not out:
        raise SystemExit("debian_image: apt of this host has no source for Debian 12 (bookworm main)")
    return out[0]


def may_bootstrap(where):
    if os.geteuid() != 0:
        raise SystemExit("debian_image: only root may run debootstrap")
    for tool in ("debootstrap", "mke2fs", "mformat", "dpkg-deb"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise SystemExit(f"debian_image: {tool} is not installed (scripts/check does it)")
    try:
        null = os.path.join(where, "null")
        os.mknod(null, 0o020666, os.makedev(1, 3))
        with open(null, "wb") as f:
            f.write(b"x")
        os.unlink(null)
    except OSError as e:
        raise SystemExit(f"debian_image: device nodes cannot be made here: {e}")


def bootstrap(root):
    """Debian's files. Mounts are debootstrap's own, in a namespace where that is possible."""
    write(f"{root}/etc/dpkg/dpkg.cfg.d/rhea",
          "force-unsafe-io\n" + "".join(f"path-exclude={p}\n" for p in LEFT_OUT))
    write(f"{root}/etc/initramfs-tools/conf.d/rhea", "MODULES=list\nCOMPRESS=gzip\nFSTYPE=ext4\n")
    write(f"{root}/usr/share/initramfs-tools/modules.d/rhea", "".join(f"{m}\n" for m in MODULES))
    write(f"{root}/etc/kernel-img.conf", "link_in_boot = no\n")
    space = ["unshare", "-m"]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        space = []
    env = dict(os.environ, INITRD="No", DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    p = subprocess.run([*space, "debootstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES),
                        "bookworm", root, mirror()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False, env=env)
    if p.returncode:
        raise SystemExit(f"debian_image: debootstrap: {p.stdout.decode(errors='replace')[-300:].strip()}")


def package(root, top):
    """rhea-words in a repository of its own. Its script leaves a trace that it ran."""
    tree, deb = f"{top}/words", f"{root}/srv/repo/rhea-words_1.0_all.deb"
    write(f"{tree}/DEBIAN/control", CONTROL)
    write(f"{tree}/DEBIAN/postinst",
          "#!/bin/sh\nset -e\nsha256sum < /usr/share/rhea/words > /var/lib/rhea-words.sum\n", 0o755)
    write(f"{tree}/usr/share/rhea/words", WORDS)
    write(f"{tree}/usr/bin/rhea-words", "#!/bin/sh\ntail -n 1 /usr/share/rhea/words\n", 0o755)
    os.makedirs(os.path.dirname(deb))
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, deb)
    with open(deb, "rb") as f:
        data = f.read()
    write(f"{root}/srv/repo/Packages", CONTROL + f"Filename: ./{os.path.basename(deb)}\nSize: {len(data)}\n"
          f"SHA256: {hashlib.sha256(data).hexdigest()}\n")


def configure(root, top):
    write(f"{root}/etc/fstab", "LABEL=rhea-root / ext4 errors=remount-ro 0 1\n"
          "LABEL=RHEA-EFI /boot/efi vfat umask=077 0 2\n")
    write(f"{root}/etc/hostname", "rhea-guest\n")
    write(f"{root}/etc/apt/sources.list", "deb [trusted=yes] file:/srv/repo ./\n")
    write(f"{root}/etc/systemd/journald.conf.d/rhea.conf", "[Journal]\nStorage=volatile\n")
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer"): # they would hold the lock of apt
        os.symlink("/dev/null", f"{root}/etc/systemd/system/{unit}")
    os.makedirs(f"{root}/boot/efi", exist_ok=True)
    write(f"{root}/boot/grub/grub.cfg", GRUB_CFG)
    package(root, top)
    work = tempfile.mkdtemp(prefix="boot-", dir=f"{root}/var/tmp")
    run("chroot", root, "sh", "-ec", """echo root:rhea | chpasswd
grub-editenv /boot/grub/grubenv create
update-initramfs -c -k all
ln -sf boot/initrd.img-* /initrd.img
cd "$1"
for p in i386-pc x86_64-efi; do
    mkdir -p /boot/grub/$p
    cp /usr/lib/grub/$p/*.mod /usr/lib/grub/$p/*.lst /boot/grub/$p
done
echo 'search.fs_label rhea-root root' > early
echo 'set prefix=($root)/boot/grub' >> early
grub-mkimage -O i386-pc -o core -p /boot/grub -c early biosdisk part_gpt ext2 search_label
grub-mkimage -O x86_64-efi -o efi -p /boot/grub -c early part_gpt fat ext2 search_label
cp /usr/lib/grub/i386-pc/boot.img boot
""", "sh", work[len(root):])
    for name in ("boot", "core", "efi"):
        shutil.move(f"{work}/{name}", f"{top}/{name}")
    shutil.rmtree(work)
    for d in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
        for base, _, files in os.walk(f"{root}/{d}"):
            for name in files:
                os.unlink(os.path.join(base, name))


def gpt(disk, parts):
    """The protective MBR and both copies of the table (UEFI 2.10, section 5). `disk` has its final size."""
    disk.seek(0, os.SEEK_END)
    sectors = disk.tell() // 512
    table = bytearray(128 * 128)
    for i, (kind, name, start, end) in enumerate(parts):
        struct.pack_into("<16s16sQQQ72s", table, 128 * i, kind.bytes_le, uuid.uuid5(kind, name).bytes_le,
                         start // 512, end // 512 - 1, 0, name.encode("utf-16le"))

    def header(here, other, entries):
        h = bytearray(struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, here, other, 34,
                                  sectors - 34, uuid.uuid5(LINUX_ROOT, "disk").bytes_le, entries, 128, 128,
                                  binascii.crc32(table)))
        struct.pack_into("<I", h, 16, binascii.crc32(h))
        return h
    for here, other, entries in ((1, sectors - 1, 2), (sectors - 1, 1, sectors - 33)):
        disk.seek(here * 512)
        disk.write(header(here, other, entries))
        disk.seek(entries * 512)
        disk.write(table)
    disk.seek(446)
    disk.write(struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff" * 3, 1, min(sectors - 1, 0xffffffff)))
    disk.seek(510)
    disk.write(b"\x55\xaa")


def grub_bios(disk, boot, core):
    """What grub-install does (GRUB manual, "BIOS installation"): the boot sector knows where the core lies,
    and the core's first sector where the others are: a list of (first sector, count, segment) that grows
    down from its end."""
    if len(core) > EFI_AT - BIOS_AT:
        raise RuntimeError("GRUB's core does not fit into the partition")
    boot, core = bytearray(boot[:440]), bytearray(core)
    struct.pack_into("<Q", boot, 0x5c, BIOS_AT // 512)
    struct.pack_into("<QHH", core, 512 - 12, BIOS_AT // 512 + 1, -(-len(core) // 512) - 1, 0x820)
    disk.seek(0)
    disk.write(boot)
    disk.seek(BIOS_AT)
    disk.write(core)


def assemble(root, top, raw):
    with open(raw, "wb") as f:
        f.truncate(END)
    block = 4096
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", str(block), "-L", "rhea-root", "-d", root, "-E",
        f"offset={ROOT_AT},lazy_itable_init=0,lazy_journal_init=0", raw, str((END - ROOT_AT - MIB) // block))
    efi = f"{raw}@@{EFI_AT}"
    run("mformat", "-i", efi, "-v", "RHEA-EFI", "-T", str((ROOT_AT - EFI_AT) // 512), "-h", "64", "-s", "32",
        "::")
    run("mmd", "-i", efi, "::EFI", "::EFI/BOOT")
    run("mcopy", "-i", efi, f"{top}/efi", "::EFI/BOOT/BOOTX64.EFI")
    with open(raw, "r+b") as disk, open(f"{top}/boot", "rb") as boot, open(f"{top}/core", "rb") as core:
        grub_bios(disk, boot.read(), core.read())
        gpt(disk, [(BIOS_BOOT, "bios", BIOS_AT, EFI_AT), (EFI_SYSTEM, "efi", EFI_AT, ROOT_AT),
                   (LINUX_ROOT, "root", ROOT_AT, END - MIB)])


def image(rhea_img):
    """The image's path."""
    with open(os.path.abspath(__file__), "rb") as f:
        key = hashlib.sha256(f.read()).hexdigest()[:16]
    path = os.path.join(guest_assets.cache_dir(), f"debian-{key}.qcow2")
    with open(os.path.join(guest_assets.cache_dir(), ".debian-lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            return path
        with tempfile.TemporaryDirectory(prefix="rhea-debian-", dir=guest_assets.cache_dir()) as top:
            os.environ["PATH"] += ":/usr/sbin:/sbin"
            may_bootstrap(top)
            root, raw = f"{top}/root", f"{top}/raw"
            os.mkdir(root, 0o755)
            bootstrap(root)
            configure(root, top)
            assemble(root, top, raw)
            run(rhea_img, "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", raw, f"{path}.part")
        for name in os.listdir(guest_assets.cache_dir()): # of earlier forms of this script
            if re.fullmatch(r"debian-[0-9a-f]{16}\.qcow2", name):
                os.unlink(os.path.join(guest_assets.cache_dir(), name))
        os.rename(f"{path}.part", path)
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(image(sys.argv[1]))

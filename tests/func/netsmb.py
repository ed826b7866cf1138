#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A folder that Samba gives a guest out (net/user-smb.c, net/user-options.c): Debian's kernel mounts //10.0.2.4/qemu, reads a file, whose
sum is compared, and writes one; the folder's name has what smb.conf would take for its own. The servers end with the connection, and
nothing is left of their files."""
import hashlib
import os
import sys
import tempfile
import time

import netpairs
import rheatest as rt

SMBD = "/usr/sbin/smbd"
DRIVERS = (*netpairs.MODULES, "crypto/md4", "crypto/cmac", "crypto/ccm", "crypto/gcm", "crypto/sha512_generic", "lib/crypto/libdes",
           "net/dns_resolver/dns_resolver", "fs/netfs/netfs", "fs/fscache/fscache", "fs/smb/common/cifs_md4", "fs/smb/common/cifs_arc4",
           "fs/smb/client/cifs")
DATA = bytes(range(256)) * 4001
SCRIPT = """
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
mkdir /mnt
mount -t cifs -o ip=10.0.2.4,username=guest,password=,vers=2.1 //10.0.2.4/qemu /mnt || { dmesg | tail -5; false; }
echo "read $(md5sum < /mnt/given)"
echo "of the guest" > /mnt/made
umount /mnt
""" + rt.HEALTH


def servers(top):
    """Processes that know this folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if b"smbd" in words[0] and any(top.encode() in w for w in words):
            found.append(int(pid))
    return found


def smb_mount():
    if not os.access(SMBD, os.X_OK):
        raise rt.Skip(f"{SMBD} (package samba) is not installed")
    with tempfile.TemporaryDirectory(prefix="rhea-smb-test-") as top:
        shared, tmp = os.path.join(top, 'a %u "b"'), os.path.join(top, "t")
        os.mkdir(shared)
        os.mkdir(tmp)
        with open(os.path.join(shared, "given"), "wb") as f:
            f.write(DATA)
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = tmp
        try:
            booted = rt.booted(DRIVERS, SCRIPT, "quiet", "-nic", f"user,model=virtio-net-pci,smb={shared}")
            with booted as vm:
                text = rt.once_output(vm)
        finally:
            os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
        rt.healthy(text.splitlines())
        if f"read {hashlib.md5(DATA).hexdigest()}" not in text:
            raise rt.Failure(f"the guest did not read what is there:\n{text}")
        with open(os.path.join(shared, "made"), "rb") as f:
            if f.read() != b"of the guest\n":
                raise rt.Failure("what the guest wrote is not there")
        end = time.monotonic() + 60 * rt.SLOW
        while servers(tmp):
            if time.monotonic() > end:
                raise rt.Failure("a server goes on without its connection")
            time.sleep(0.1)
        left = [n for n in os.listdir(tmp) if n.startswith("rhea-smb")]
        if left:
            raise rt.Failure(f"files of the server are left: {left}")


if __name__ == "__main__":
    rt.main(smb_mount)

# SPDX-License-Identifier: MIT
"""Debian's qemu-guest-agent in an initramfs (rheatest.once()): its files, and the shell that runs it."""
import os

import rheatest as rt

# The guest's end of a port of that name: /dev/vport0p1. A port may be opened once at a time.
FIND_PORT = """find_port() { while ! grep -lsx "$1" /sys/class/virtio-ports/*/name; do sleep 0.1; done | sed 's,.*/\\(vport[^/]*\\)/name,/dev/\\1,'; }
"""
RUN = FIND_PORT + """mkdir -p /var/run /run/qga
qemu-ga -m virtio-serial -p $(find_port org.qemu.guest_agent.0) -t /run/qga -f /run/qga/pid
"""
# What it is linked with, by package.
_LIBS = (("libc6", "lib/*/libm.so.6"),
         ("libglib2.0-0", "usr/lib/*/libglib-2.0.so.0"), ("libglib2.0-0", "usr/lib/*/libgmodule-2.0.so.0"),
         ("libpcre2-8-0", "usr/lib/*/libpcre2-8.so.0"),
         ("libnuma1", "usr/lib/*/libnuma.so.1"), ("libudev1", "usr/lib/*/libudev.so.1"),
         ("liburing2", "usr/lib/*/liburing.so.2"))


def fill(tree):
    """Puts the agent into a tree of module_tree(). Its /sbin/shutdown says how it was called, and powers off."""
    rt.add_program(tree, "qemu-guest-agent", "usr/sbin/qemu-ga", _LIBS)
    with open(os.path.join(tree, "sbin/shutdown"), "w", encoding="ascii") as f:
        f.write('#!/bin/sh\necho "shutdown $*" >/dev/console\npoweroff -f\n')
    os.chmod(f.name, 0o755)

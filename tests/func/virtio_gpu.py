#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Virtio graphics cards with Debian's driver (hw/display/virtio-gpu.c, virtio-gpu-cmd.c, virtio-gpu-res.c,
hw/display/virtio-vga.c): what the kernel draws, by BIOS and by OVMF; two heads; the size that a VNC client wants; a cursor
that a program in the guest sets. The pictures are those of other cards: who draws is the same kernel."""
import os
import sys
import tempfile

import display
import rheatest as rt
from cdrom import tool
from qmp import expect
from rheatest import guest_assets
from vnc import CURSOR, DESKTOP_SIZE, Rfb

DRM = ["drivers/virtio/virtio_dma_buf"]
DRM += ["drivers/gpu/drm/" + m for m in ("drm", "drm_kms_helper", "drm_shmem_helper", "virtio/virtio-gpu")]
GPU = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"] + DRM


def gpu_vga():
    """The card that begins as a VGA: the kernel showed text before."""
    display.console("bochs", GPU, "-vga", "virtio")


def gpu_pci():
    display.console("bochs", GPU, "-device", "virtio-gpu-pci", board="q35")


def gpu_microvm():
    """Behind a transport in memory."""
    display.console("bochs", ["virtio_ring", "virtio", "virtio_mmio"] + DRM, "-device", "virtio-gpu-device", "-global",
                    "virtio-mmio.force-legacy=off", board="microvm")


def gpu_ovmf():
    """OVMF draws on both by itself, on virtio-vga with Bochs' interface; then the kernel."""
    firmware = rt.asset(guest_assets.from_package, "ovmf", "usr/share/ovmf/OVMF.fd")
    for card in (("-vga", "virtio"), ("-device", "virtio-gpu-pci")):
        display.console("bochs", GPU, *card, "-bios", firmware, board="q35")


def gpu_heads():
    """The kernel is told that there is something at the second connector; both show the same memory."""
    script = display.PICTURE + "echo @@drawn@@ > /dev/ttyS0\nread line < /dev/ttyS0\nexec > /dev/ttyS0"
    with display.monitor() as (path, qmp), rt.booted(
            GPU, script, "quiet loglevel=1 vt.global_cursor_default=0 video=Virtual-2:800x600e", "-device",
            "virtio-vga,id=card,max_outputs=2", *qmp, flavour="generic") as vm:
        vm.expect("@@drawn@@")
        screen = display.Screen(path, device="card", head=0)
        screen.expect("bochs")
        screen.where["head"] = 1
        screen.expect("efi-ramfb")
        vm.send("go on\n")
        vm.expect("@@rhea-end 0@@")
        vm.wait(0)


# The kernel's interface to displays: numbers and structs of <drm/drm_mode.h>. A cursor of one colour, 80c00000h, whose hot
# spot is 3, 4, at 100, 50 of the first head.
CURSOR_C = r"""
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
struct card { uint64_t fbs, crtcs, connectors, encoders; uint32_t n_fbs, n_crtcs, n_connectors, n_encoders, size[4]; };
struct create { uint32_t height, width, bpp, flags, handle, pitch; uint64_t size; };
struct map { uint32_t handle, pad; uint64_t offset; };
struct cursor { uint32_t flags, crtc; int32_t x, y; uint32_t width, height, handle; int32_t hot_x, hot_y; };
#define CALL(fd, n, arg) do { if (ioctl(fd, _IOWR('d', n, __typeof__(arg)), &(arg))) { perror(#n); return 1; } } while (0)
int main(void)
{
    int fd = open("/dev/dri/card0", O_RDWR);
    uint32_t crtcs[16] = { 0 };
    struct card c = { .crtcs = (uintptr_t)crtcs, .n_crtcs = 16 };
    CALL(fd, 0xa0, c);
    struct create b = { .height = 64, .width = 64, .bpp = 32 };
    CALL(fd, 0xb2, b);
    struct map m = { .handle = b.handle };
    CALL(fd, 0xb3, m);
    uint32_t *p = mmap(0, b.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)m.offset);
    if (p == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    for (int i = 0; i < 64 * 64; i++) {
        p[i] = 0xffc00000;
    }
    struct cursor set = { .flags = 3, .crtc = crtcs[0], .x = 100, .y = 50, .width = 64, .height = 64, .handle = b.handle,
                          .hot_x = 3, .hot_y = 4 };
    CALL(fd, 0xbb, set);
    puts("@@cursor@@");
    fflush(stdout);
    getchar();
    return 0;
}
"""


def add_cursor(tree):
    with tempfile.NamedTemporaryFile("w", suffix=".c") as f:
        f.write(CURSOR_C)
        f.flush()
        tool("cc", "-static", "-o", os.path.join(tree, "sbin/cursor"), f.name)


# The first mode of a connector is the one that it would like best.
VIEWER = display.PICTURE + """
exec > /dev/ttyS0
/sbin/cursor < /dev/ttyS0
echo @@ready@@
until [ "$(head -n 1 /sys/class/drm/card0-Virtual-1/modes)" = 1000x700 ]; do sleep 0.3; done
echo @@told@@
read line < /dev/ttyS0
"""


def gpu_viewer():
    """A VNC client sees the guest's cursor, and the guest takes the size that the client asks for."""
    with tempfile.TemporaryDirectory(prefix="rhea-gpu-") as d, display.monitor() as (path, qmp), rt.booted(
            GPU, VIEWER, "quiet loglevel=1", "-vga", "virtio", "-vnc", f"unix:{d}/vnc", *qmp, flavour="generic",
            fill=add_cursor) as vm:
        vm.expect("@@cursor@@")
        r = Rfb(os.path.join(d, "vnc"), encodings=(0, CURSOR, DESKTOP_SIZE))
        r.update()
        expect((r.w, r.h) == (1280, 800), f"{r.w} x {r.h}")
        while CURSOR not in r.pseudo:
            r.update(True)
        x, y, data = r.pseudo[CURSOR]
        expect((x, y) == (3, 4) and data[:3] == b"\0\0\xc0" and data[64 * 64 * 4] == 0xff, f"{x}, {y}: {data[:4].hex()}")
        vm.send("go on\n")
        vm.expect("@@ready@@")
        r.want_size(1000, 700)
        vm.expect("@@told@@")
        while (r.w, r.h) != (1000, 700):
            r.update(True)
        vm.send("go on\n")
        vm.expect("@@rhea-end 0@@")
        vm.wait(0)


ALL = [gpu_vga, gpu_pci, gpu_microvm, gpu_ovmf, gpu_heads, gpu_viewer]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Modes of the video BIOS, one after the other in one guest, against pictures that people have looked at: text of 40 and 80
columns, planar, CGA's, 256 colours, VBE's of 4 and of 15 to 32 bits. Covers hw/display/vga.c, vga-mem.c, vga-draw.c, vga-text.c,
vga-dispi.c with a viewer (a recording, ui/record.c): what is drawn piece by piece must be the picture, too.

The guest is a boot sector: it takes a mode from the serial line, has the BIOS draw 256 characters in all colours, text that
scrolls, and a line of pixels, and says so."""
import os
import subprocess
import sys
import tempfile

import rheatest as rt
from display import Screen, machine

# Mode: picture. Modes of one size whose pixels have their colour in themselves look the same.
VGA = {0x03: "mode-03", 0x01: "mode-01", 0x04: "mode-04", 0x06: "mode-06", 0x0d: "mode-0d", 0x10: "mode-10", 0x12: "mode-12",
       0x13: "mode-13"}
# Not VBE's of 256 colours: there SeaVGABIOS writes into the first 64 KiB only, over and over.
VBE = {0x102: "mode-102", 0x110: "mode-110", 0x111: "mode-111", 0x112: "mode-12", 0x142: "mode-12"}
CODE = r"""
    .code16
    .globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    cld
    movw $0x3fd, %dx # what comes by the serial line: low byte, high byte
next:
    call get
    movb %al, %bl
    call get
    movb %al, %bh
    testb %bh, %bh
    jz bios
    movw $0x4f02, %ax
    int $0x10
    jmp draw
bios:
    movw %bx, %ax
    int $0x10

draw: # each character in a colour of its own
    xorw %si, %si
each:
    movw %si, %ax
    movb $32, %cl
    divb %cl
    movb %ah, %dl
    movb %al, %dh
    incb %dh
    call place
    movw %si, %ax
    movb %al, %bl
    andb $0x7f, %bl
    jnz seen
    incb %bl
seen:
    movb $9, %ah
    movw $1, %cx
    int $0x10
    incw %si
    cmpw $256, %si
    jb each

    movw $0x1700, %dx # below the middle; what the screen has fewer rows for scrolls
    call place
    movw $text, %si
say:
    lodsb
    testb %al, %al
    jz line
    movb $0x0e, %ah
    movw $0x000f, %bx
    int $0x10
    jmp say

line: # in text modes the BIOS has no pixels
    movw $60, %si
point:
    movw %si, %cx
    leaw 100(%si), %dx
    movw %si, %ax
    movb $0x0c, %ah
    xorb %bh, %bh
    int $0x10
    decw %si
    jnz point

    movb $1, %ah # no cursor
    movw $0x2000, %cx
    int $0x10
    movw $0x3f8, %dx
    movb $'@', %al
    outb %al, %dx
    jmp next

place:
    xorb %bh, %bh
    movb $2, %ah
    int $0x10
    ret
get:
    movw $0x3fd, %dx
1:  inb %dx, %al
    testb $1, %al
    jz 1b
    movw $0x3f8, %dx
    inb %dx, %al
    ret
text:
    .ascii "The quick brown fox jumps over\r\nthe lazy dog.\r\n0123456789"
    .byte 0
    .org 510
    .word 0xaa55
"""


def build(folder):
    """A disk whose first sector is the program."""
    source, parts, disk = (os.path.join(folder, n) for n in ("modes.s", "modes.o", "disk"))
    with open(source, "w", encoding="ascii") as f:
        f.write(CODE)
    for command in (["as", "--32", "-o", parts, source], ["ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat=binary", "-o", disk, parts]):
        subprocess.run(command, check=True)
    os.truncate(disk, 1 << 20)
    return disk


def modes(wanted, *args):
    with tempfile.TemporaryDirectory(prefix="rhea-func-") as d, machine(
            "-M", "pc", *args, "-serial", "stdio", "-drive", f"file={build(d)},format=raw,if=ide", mem="64M") as (vm, path):
        screen = Screen(path)
        for watched in (False, True):
            if watched:
                screen.watch(d)
            for mode, picture in wanted.items():
                vm.send(mode.to_bytes(2, "little"))
                vm.expect("@")
                screen.expect(picture)


def modes_std():
    modes(VGA | VBE, "-vga", "std")


def modes_virtio():
    modes(VGA | VBE, "-device", "virtio-vga")


def modes_cirrus():
    modes(VGA | {m: p for m, p in VBE.items() if m < 0x140 and m != 0x102}, "-vga", "cirrus")


ALL = [modes_std, modes_virtio, modes_cirrus]
if __name__ == "__main__":
    rt.main(*[t for t in ALL if not sys.argv[1:] or t.__name__ in sys.argv[1:]])

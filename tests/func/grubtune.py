# SPDX-License-Identifier: MIT
"""GRUB plays tones on the PC's speaker, without a kernel, a driver or a buffer of its own; and finding them again in what a host
heard."""
import os

import rheatest as rt
from cdrom import tool


def image(top, commands):
    """A CD whose GRUB plays: GRUB's commands, such as "play 60 440 1" (60 beats a minute: a second)."""
    tree, iso = os.path.join(top, "tree"), os.path.join(top, "grub.iso")
    os.makedirs(os.path.join(tree, "boot/grub"))
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w", encoding="ascii") as f:
        f.write("set timeout=0\ninsmod play\ninsmod halt\n" + commands + "\n")
    tool("grub-mkrescue", "--install-modules=normal play sleep halt iso9660 part_msdos", "--fonts=", "--themes=",
         "--locales=", "-o", iso, tree)
    return iso


def find(samples, rate, pitch, within=1.01):
    """(first, end) of the tone: its periods are all alike, up to so many samples, and follow each other. Fails otherwise."""
    rises = [i for i in range(1, len(samples)) if samples[i - 1] <= 0 < samples[i]]
    period = rate * (1193182 // pitch) / 1193182
    alike = [i for i, gap in enumerate(b - a for a, b in zip(rises, rises[1:])) if abs(gap - period) <= within]
    if not alike or len(alike) != alike[-1] - alike[0] + 1:
        raise rt.Failure(f"{pitch} Hz: a tone in pieces: {len(alike)} periods")
    first, last = rises[alike[0]], rises[alike[-1] + 1]
    if abs((last - first) / len(alike) - period) > period * within / 1000:
        raise rt.Failure(f"{pitch} Hz: a period of {(last - first) / len(alike)}")
    return first, last

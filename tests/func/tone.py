# SPDX-License-Identifier: MIT
"""A known tone in a WAV file, and whether another file holds that tone, whole: for tests of sound.

Samples are floats, 1 is full scale; files have 16 bits.
"""
import array
import cmath
import math
import struct
import sys

LEVEL = 0.5
SILENT = 0.02
WINDOW = 0.01  # seconds that are looked at at once


class Wrong(Exception):
    pass


def write_wav(path, hertz, seconds, rate=48000, channels=2, silence=0.0):
    """A sine of LEVEL, the same in all channels, and so many seconds of silence: a guest's ring of samples, which goes on
    until it is stopped, has only those then."""
    one = (round(32767 * LEVEL * math.sin(2 * math.pi * hertz * i / rate)) for i in range(int(seconds * rate)))
    data = array.array("h", (v for s in one for v in (s,) * channels))
    data.extend([0] * (int(silence * rate) * channels))
    if sys.byteorder == "big":
        data.byteswap()
    data = data.tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, channels, rate,
                       rate * channels * 2, channels * 2, 16, b"data", len(data))
    with open(path, "wb") as f:
        f.write(head + data)


def read_wav(path):
    """(rate, [samples of a channel, ...]). A header whose sizes are not the file's is wrong."""
    with open(path, "rb") as f:
        data = f.read()
    if len(data) < 44 or data[:4] != b"RIFF" or data[8:16] != b"WAVEfmt " or data[36:40] != b"data":
        raise Wrong(f"{path}: no WAV file: {data[:44]!r}")
    riff, (size,) = struct.unpack_from("<I", data, 4)[0], struct.unpack_from("<I", data, 40)
    kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", data, 20)
    if (riff, size) != (len(data) - 8, len(data) - 44) or (kind, bits, frame) != (1, 16, 2 * channels):
        raise Wrong(f"{path}: {len(data)} bytes, but the header is {data[:44]!r}")
    samples = array.array("h", data[44:44 + size // frame * frame])
    if sys.byteorder == "big":
        samples.byteswap()
    return rate, [[v / 32768 for v in samples[c::channels]] for c in range(channels)]


def find(samples):
    """(first, end) of what is not silent."""
    loud = [i for i, v in enumerate(samples) if abs(v) > SILENT]
    if not loud:
        raise Wrong(f"{len(samples)} samples, all silent")
    return loud[0], loud[-1] + 1


def measure(samples, rate, hertz):
    """[(level, phase)] of windows, by what they have in common with the tone; without a gap, all are the same."""
    n = int(rate * WINDOW)
    out = []
    for at in range(0, len(samples) - n + 1, n):
        s = sum(v * cmath.exp(-2j * math.pi * hertz * (at + i) / rate) * (1 - math.cos(2 * math.pi * (i + 0.5) / n))
                for i, v in enumerate(samples[at:at + n]))
        out.append((2 * abs(s) / n, cmath.phase(s)))
    return out


def check(samples, rate, hertz, seconds, level=LEVEL):
    """One tone of that frequency, length and level; a single sample that is missing or too many is found."""
    first, end = find(samples)
    length = (end - first) / rate
    if abs(length - seconds) > 0.005:
        raise Wrong(f"the tone is {length:.4f} s long, and was {seconds}")
    windows = measure(samples[first:end], rate, hertz)[1:-1]  # a converter's filter rounds the ends off
    last = windows[0][1]
    turned = 0
    for i, (loud, phase) in enumerate(windows):
        at = (i + 1) * WINDOW
        if abs(loud - level) > 0.03 * level:
            raise Wrong(f"{at:.2f} s: level {loud:.3f}, and was {level}")
        step = (phase - last + math.pi) % (2 * math.pi) - math.pi
        if abs(step) > math.pi * hertz / rate:  # half a sample
            raise Wrong(f"{at:.2f} s: the tone jumps by {step * rate / hertz / 2 / math.pi:.1f} samples")
        turned += step
        last = phase
    off = turned / (2 * math.pi) / ((len(windows) - 1) * WINDOW)
    if abs(off) > hertz * 1e-4:
        raise Wrong(f"the tone has {hertz + off:.2f} Hz, and had {hertz}")

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GRUB's tones on the PC's speaker through drivers with a clock of their own: a PulseAudio server of the test's, whose card is
a sink that leads nowhere and is listened to, and which goes away and comes back; SDL's driver that writes a file. Covers
backends/audio/pa.c, backends/audio/sdl.c, backends/audio/voice.c.

Time is the host's here, and a host that is too busy leaves time out: it says so in its counters (info qtree), and then the
tones are played again."""
import array
import contextlib
import os
import re
import signal
import sys
import tempfile
import time

import grubtune
import qmp
import rheatest as rt
from soundpeer import RATE, Server

PITCHES = 1000, 440
TUNE = "play 60 %d 1 %d 1" % PITCHES
# A second may pass before the tones run dry, and half a one before time is left out.
SLACK = "timer-period=250000,out.frequency=48000,out.buffer-length=1500000"
TRIES = 6


def samples(path):
    """The left channel of raw frames: 16 bits, two channels."""
    with open(path, "rb") as f:
        data = f.read()
    out = array.array("h", data[:len(data) // 4 * 4])
    if sys.byteorder == "big":
        out.byteswap()
    return out[::2]


def until(vm, what, test, seconds=60):
    """Waits for what the server does, which nobody tells of."""
    end = time.monotonic() + seconds * rt.SLOW
    while not test():
        if time.monotonic() > end:
            vm.fail(f"{what}: not within {seconds * rt.SLOW:.0f} s")
        time.sleep(0.1)


@contextlib.contextmanager
def speaker(d, iso, audiodev):
    """The machine, and a client of its monitor. GRUB begins when the machine is told to go on."""
    sock = os.path.join(d, "qmp")
    with rt.Vm("-M", "pc,pcspk-audiodev=a", "-S", "-audiodev", audiodev, "-cdrom", iso, "-boot", "d", "-display", "none",
               "-nodefaults", "-qmp", f"unix:{sock},server=on,wait=off", timeout=300) as vm:
        with contextlib.closing(qmp.Client(sock)) as q:
            yield vm, q


def counters(q):
    text = q.call("human-monitor-command", **{"command-line": "info qtree"})
    line = next(l for l in text.splitlines() if "pcspk: audiodev" in l)
    return ", runs" in line, [int(n) for n in re.findall(r"(?:late|underruns|overruns) (\d+)", line)]


def tones(vm, q, path):
    """Both are there, and after them silence; False: the host was too busy. How long they are is GRUB's affair, which measures
    the CPU's clock by the timer's."""
    def over():
        heard = samples(path) if not counters(q)[0] else ()
        return any(heard) and not any(heard[-RATE // 2:])
    until(vm, "the speaker", lambda: counters(q)[0])
    until(vm, "the tones, and silence", over)
    if any(counters(q)[1]):
        return False
    for pitch in PITCHES:
        first, end = grubtune.find(samples(path), RATE, pitch, 2.5)
        qmp.expect(end - first > RATE / 4, f"{pitch} Hz for {(end - first) / RATE} s")
    return True


def repeat(attempt):
    for _ in range(TRIES):
        if attempt():
            return
    raise rt.Skip(f"the host was too busy for two seconds of sound, {TRIES} times")


def pulse_tone():
    """With the server's own clock: no sample too few, up to the end of the sound."""
    def attempt():
        with tempfile.TemporaryDirectory(prefix="rhea-pulse-") as d, Server(d) as server:
            iso = grubtune.image(d, TUNE)
            server.start()
            server.listen()
            with speaker(d, iso, f"pa,id=a,server=unix:{server.sock},{SLACK},out.name=card,out.latency=1000000") as (vm, q):
                q.call("cont")
                return tones(vm, q, server.heard)
    repeat(attempt)


def pulse_restart():
    """The server goes while it plays, and comes back: so does the sound. A machine that stands is silent, too."""
    with tempfile.TemporaryDirectory(prefix="rhea-pulse-") as d, Server(d) as server:
        iso = grubtune.image(d, "play 60 1000 600")
        server.start()
        with speaker(d, iso, f"pa,id=a,server=unix:{server.sock},out.name=card") as (vm, q):
            def loud():
                return any(abs(v) > 1000 for v in samples(server.heard)[-RATE // 10:])
            server.listen()
            q.call("cont")
            until(vm, "the tone", loud)
            q.call("stop")
            until(vm, "silence", lambda: not loud())
            q.call("cont")
            until(vm, "the tone again", loud)
            for how in signal.SIGTERM, signal.SIGKILL:
                server.stop(how)
                until(vm, "a warning", lambda: vm.err().count("ended the stream") == (1 if how == signal.SIGTERM else 2))
                server.start()
                server.listen()
                until(vm, "the tone of a new server", loud)
            qmp.expect(vm.err().count("the PulseAudio server is back") == 2, vm.err())
            qmp.expect(counters(q)[0], "the speaker stopped")
            q.call("quit")
            vm.wait(0)


def sdl_disk():
    """SDL's card is a file here, and its clock that of a thread that sleeps."""
    def attempt():
        with tempfile.TemporaryDirectory(prefix="rhea-sdl-") as d:
            iso, raw = grubtune.image(d, TUNE), os.path.join(d, "heard.raw")
            os.environ.update(SDL_AUDIODRIVER="disk", SDL_DISKAUDIOFILE=raw)
            with speaker(d, iso, f"sdl,id=a,{SLACK},out.buffer-count=16") as (vm, q):
                q.call("cont")
                well = tones(vm, q, raw)
                q.call("quit") # SDL says more than the other drivers: that this one is no sound card
                vm.wait(0)
                return well
    repeat(attempt)


TESTS = ["pulse_tone", "pulse_restart", "sdl_disk"]
rt.main(*(globals()[n] for n in sys.argv[1:] or TESTS))

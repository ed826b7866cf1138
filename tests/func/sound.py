#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's kernel plays a tone by each sound card, and the WAV file of the host has all of it; it records silence, as
long as it should. Covers hw/audio/intel-hda.c, hda-stream.c, hda-codec.c, ac97.c, ac97-codec.c,
hw/virtio/virtio-sound.c. GRUB plays on the PC's speaker (hw/misc/pcspk.c), a server's tone is recorded (backends/audio/pa.c).

Time is the guest's (-icount) but for that: whatever else the host does, no buffer of the guest's runs empty."""
import array
import math
import os
import shutil
import sys
import tempfile

import grubtune
import qmp
import rheatest as rt
import tone
from soundpeer import Server

CORE = ("sound/soundcore", "sound/core/snd", "sound/core/snd-timer", "sound/core/snd-pcm")
HDA = CORE + ("sound/core/snd-hwdep", "sound/hda/snd-hda-core", "drivers/leds/trigger/ledtrig-audio",
              "sound/pci/hda/snd-hda-codec", "sound/pci/hda/snd-hda-codec-generic", "sound/hda/snd-intel-sdw-acpi",
              "sound/hda/snd-intel-dspcfg", "sound/pci/hda/snd-hda-intel")
VIRTIO = CORE + ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
VIRTIO_SND = tuple(f"virtio_{s}" for s in ("card", "chmap", "ctl_msg", "jack", "pcm", "pcm_msg", "pcm_ops"))
AC97 = CORE + ("sound/ac97_bus", "sound/pci/ac97/snd-ac97-codec", "sound/pci/snd-intel8x0")
HERTZ, SECONDS = 1993, 2
ALSA = "pcm.card { type hw card 0 }\nctl.card { type hw card 0 }\n"
PLAY = """
[ ! -e /lib/modules/more.ko ] || insmod /lib/modules/more.ko
export ALSA_CONFIG_PATH=/etc/alsa.conf
until [ -e /dev/snd/pcmC0D0p ]; do sleep 0.1; done
"""
UNMUTE = """
amixer -q -D card cset name='Master Playback Switch' on
amixer -q -D card cset name='Master Playback Volume' 100%
"""
UNMUTE_PCM = """
amixer -q -D card cset name='PCM Playback Switch' on
amixer -q -D card cset name='PCM Playback Volume' 23
"""
TONE = "aplay -q -D card /tone.wav\n"
RECORD = f"""
arecord -q -D card -f S16_LE -c 2 -r 48000 -d {SECONDS} /in.wav
echo "recorded $(tail -c +45 /in.wav | wc -c) bytes, $(tail -c +45 /in.wav | tr -d '\\000' | wc -c) of them not 0"
"""
HEAR = """
amixer -q -D card cset name='Capture Switch' on
amixer -q -D card cset name='Capture Volume' 100%
arecord -q -D card -f S16_LE -c 2 -r 48000 -d 3 /in.wav
tail -c 96000 /in.wav | hexdump -v -e '"raw " 64/1 "%02x" "\\n"'
"""


def linux(modules, script, board, *args, rate=48000, more=None):
    """What the guest's script says."""
    def fill(tree):
        for p in ("aplay", "amixer"):
            rt.add_program(tree, "alsa-utils", f"usr/bin/{p}",
                           (("libasound2", "usr/lib/*/libasound.so.2"), ("libc6", "lib/*/libm.so.6")))
        os.symlink("aplay", os.path.join(tree, "sbin/arecord"))
        with open(os.path.join(tree, "etc/alsa.conf"), "w") as f:
            f.write(ALSA)
        if more:
            shutil.copy(more, os.path.join(tree, "lib/modules/more.ko"))
        tone.write_wav(os.path.join(tree, "tone.wav"), HERTZ, SECONDS, rate, silence=0.6)

    with rt.booted(modules, PLAY + script + rt.HEALTH, "quiet", *args, flavour="generic", board=board, fill=fill,
                   timeout=600) as vm:
        return rt.healthy(rt.once_output(vm).splitlines())


def guest(modules, script, board, *args, **how):
    """What the guest's script says, and the host's WAV file: rate, channels."""
    with tempfile.TemporaryDirectory(prefix="rhea-func-") as d:
        wav = os.path.join(d, "out.wav")
        said = linux(modules, script, board, "-icount", "shift=2,sleep=off", "-audiodev", f"wav,id=a,path={wav}", *args, **how)
        return said, *tone.read_wav(wav)


def played(rate, channels, at=HERTZ):
    for samples in channels:
        try:
            tone.check(samples, rate, at, SECONDS)
        except tone.Wrong as e:
            raise rt.Failure(str(e)) from None


def recorded(said):
    qmp.expect(f"recorded {SECONDS * 48000 * 4} bytes, 0 of them not 0" in said, f"the guest said {said}")


def ich9_duplex():
    said, rate, channels = guest(HDA, UNMUTE + TONE + RECORD, "q35", "-device", "ich9-intel-hda,id=s", "-device",
                                 "hda-duplex,bus=s.0,audiodev=a")
    played(rate, channels)
    recorded(said)


def ich6_output():
    """Without messages and without amplifiers, at another frequency."""
    _, rate, channels = guest(HDA, TONE, "pc", "-device", "intel-hda,msi=off", "-device",
                              "hda-output,audiodev=a,mixer=off", rate=44100)
    played(rate, channels)


def virtio(board, *props, script="", rate=48000):
    """Debian's kernel has no driver, but its source does."""
    module = rt.asset(rt.guest_assets.built_module, "sound/virtio", VIRTIO_SND)
    said, got, channels = guest(VIRTIO, script + TONE + RECORD, board, "-device",
                                ",".join(("virtio-sound-pci", "audiodev=a") + props), rate=rate, more=module)
    played(got, channels)
    recorded(said)
    return said


def virtio_sound():
    said = virtio("q35", "jacks=2", "chmaps=2", script="amixer -D card controls\n")
    qmp.expect(any("Line Out Jack" in line for line in said) and any("Playback Channel Map" in line for line in said),
               f"controls: {said}")


def virtio_sound_packed():
    virtio("pc", "packed=on", "streams=4", rate=44100)


def ac97():
    """The codec converts the rate; master at 0 dB, PCM at 0 dB (its register goes up to +12)."""
    said, rate, channels = guest(AC97, UNMUTE + UNMUTE_PCM + TONE + RECORD, "pc", "-device", "AC97,audiodev=a",
                                 rate=44100)
    played(rate, channels)
    recorded(said)


def pulse_record():
    """A PulseAudio server's card plays a tone, and the guest hears it. Time is the host's here, and a host that is busy may
    let the guest's program come late: a fifth of a second in one piece is enough."""
    with tempfile.TemporaryDirectory(prefix="rhea-pulse-") as d, Server(d) as server:
        server.start()
        wave = os.path.join(d, "second.wav")
        tone.write_wav(wave, HERTZ, 1) # whole periods: it can be repeated
        with open(wave, "rb") as f:
            server.sing(f.read()[44:])
        pa = f"pa,id=a,server=unix:{server.sock},in.name=card.monitor,in.frequency=48000,in.latency=100000"
        said = linux(HDA, HEAR, "q35", "-audiodev", pa, "-device", "ich9-intel-hda,id=s", "-device", "hda-duplex,bus=s.0,audiodev=a")
    data = array.array("h", bytes.fromhex("".join(line[4:] for line in said if line.startswith("raw "))))
    if sys.byteorder == "big":
        data.byteswap()
    left = [v / 32768 for v in data[::2]]
    qmp.expect(data[::2] == data[1::2] and len(left) == 24000, f"the guest has {len(data)} samples")
    best, run = 0, []
    for level, phase in tone.measure(left, 48000, HERTZ):
        same = run and abs(level - run[0]) < 0.02 and abs((phase - run[1] + math.pi) % (2 * math.pi) - math.pi) < 0.05
        run = [level, phase, run[2] + 1 if same else 1]
        best = max(best, run[2] if level > 0.1 else 0)
    qmp.expect(best * tone.WINDOW >= 0.2, f"the tone is in pieces of {best * tone.WINDOW} s at most: {max(left)}")


def speaker_grub():
    """GRUB's tune: two tones of a second each, whose periods are all alike."""
    pitches = 1000, 440
    with tempfile.TemporaryDirectory(prefix="rhea-func-") as d:
        iso = grubtune.image(d, "play 60 %d 1 %d 1\nsleep 1\nhalt" % pitches)
        wav = os.path.join(d, "out.wav")
        with rt.Vm("-M", "pc,pcspk-audiodev=a", "-audiodev", f"wav,id=a,path={wav}", "-cdrom", iso, "-boot", "d", timeout=120) as vm:
            vm.wait(0)
        rate, channels = tone.read_wav(wav)
    for samples in channels:
        for pitch in pitches:
            first, last = grubtune.find(samples, rate, pitch)
            qmp.expect(0.8 < (last - first) / rate < 1.3, f"{pitch} Hz for {(last - first) / rate} s")


TESTS = ["speaker_grub", "pulse_record", "ich9_duplex", "ich6_output", "virtio_sound", "virtio_sound_packed", "ac97"]
rt.main(*(globals()[n] for n in sys.argv[1:] or TESTS))

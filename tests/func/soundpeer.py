# SPDX-License-Identifier: MIT
"""A PulseAudio server of a test's own."""
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time

import rheatest as rt

RATE = 48000


class Server:
    """A PulseAudio server that nobody else has, its only card, and who listens to that."""

    def __init__(self, d):
        for program in ("pulseaudio", "parec"):
            if not shutil.which(program):
                raise rt.Skip(f"{program} is not installed")
        self.d, self.sock, self.heard = d, os.path.join(d, "native"), os.path.join(d, "heard.raw")
        self.env = dict(os.environ, HOME=d, XDG_RUNTIME_DIR=d, PULSE_RUNTIME_PATH=d, PULSE_STATE_PATH=d,
                        PULSE_SERVER="unix:" + self.sock)
        self.env.pop("PULSE_COOKIE", None)
        self.log = open(os.path.join(d, "log"), "wb")
        self.p = self.ear = self.mouth = None

    def start(self):
        self.p = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes",
             "-L", f"module-null-sink sink_name=card rate={RATE} channels=2",
             "-L", f"module-native-protocol-unix auth-anonymous=1 socket={self.sock}"],
            env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 30 * rt.SLOW
        while subprocess.run(["pactl", "info"], env=self.env, capture_output=True, check=False).returncode:
            if self.p.poll() is not None or time.monotonic() > end:
                raise rt.Skip("PulseAudio does not start here")
            time.sleep(0.1)

    def listen(self):
        with open(self.heard, "wb") as f:
            self.ear = subprocess.Popen(["parec", "--device=card.monitor", "--raw", "--format=s16le", "--channels=2",
                                         f"--rate={RATE}", "--latency-msec=50"],
                                        env=self.env, stdin=subprocess.DEVNULL, stdout=f, stderr=self.log)
        end = time.monotonic() + 30 * rt.SLOW
        while not os.path.getsize(self.heard):
            if self.ear.poll() is not None or time.monotonic() > end:
                raise rt.Failure("nobody can listen to the server")
            time.sleep(0.05)

    def sing(self, data):
        """Plays this again and again."""
        self.mouth = subprocess.Popen(["pacat", "--device=card", "--raw", "--format=s16le", "--channels=2", f"--rate={RATE}",
                                       "--latency-msec=200"], env=self.env, stdin=subprocess.PIPE, stderr=self.log)

        def feed():
            with contextlib.suppress(OSError):
                while True:
                    self.mouth.stdin.write(data)
        threading.Thread(target=feed, daemon=True).start()

    def stop(self, how=signal.SIGTERM):
        for p in self.mouth, self.ear, self.p:
            if p:
                p.send_signal(how)
                p.wait()
        self.mouth = self.ear = self.p = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
        self.log.close()

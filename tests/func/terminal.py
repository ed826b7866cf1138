# SPDX-License-Identifier: MIT
"""A terminal of a test's own: a shell in tmux, typed at and looked at as people do."""
import contextlib
import os
import shutil
import subprocess
import tempfile

import rheatest as rt

PROMPT = "ready>"


class Terminal:
    """columns x rows cells; everything that is sent to it is in the file .log, too."""

    def __init__(self, d, columns, rows, **env):
        self.socket, self.log = os.path.join(d, "tmux"), os.path.join(d, "log")
        conf = os.path.join(d, "conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write("set -g status off\nset -g escape-time 0\nset -g default-terminal tmux-256color\n"
                    "set -g remain-on-exit on\n")
        shell = {"PS1": PROMPT, "LC_ALL": "C.UTF-8", "HISTFILE": "", **env}
        self.do("-f", conf, "new-session", "-d", "-x", columns, "-y", rows, "env", *(f"{k}={v}" for k, v in shell.items()), "sh")
        self.do("pipe-pane", f"cat > {self.log}")
        self.until("a shell", lambda: PROMPT in self.text())

    def do(self, *args):
        return subprocess.run(["tmux", "-u", "-S", self.socket, *map(str, args)], check=True, capture_output=True,
                              env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout.decode()

    def text(self, looks=False):
        """What is on the screen; looks: with its colours, as escape sequences."""
        return self.do("capture-pane", "-p", *(["-e"] if looks else []))

    def keys(self, *names):
        """tmux's names: Enter, M-2, PPage..."""
        self.do("send-keys", *names)

    def type(self, text):
        self.do("send-keys", "-l", text)

    def run(self, *args):
        """A command of the shell's, which tells of its end."""
        self.type(" ".join(f"'{a}'" for a in args) + "; echo status $?")
        self.keys("Enter")

    def clear(self):
        """At the shell's prompt: an empty screen."""
        self.type("clear")
        self.keys("Enter")
        self.until("an empty screen", lambda: self.text().strip() == PROMPT)

    def cursor(self):
        """Column, row, and whether it is seen."""
        return tuple(map(int, self.do("display-message", "-p", "#{cursor_x} #{cursor_y} #{cursor_flag}").split()))

    def size(self, columns, rows):
        self.do("resize-window", "-x", columns, "-y", rows)

    def until(self, what, test, seconds=60):
        """Waits for what the screen shows, which nobody tells of."""
        def fail(late):
            raise rt.Failure(f"{what}: {late}. The screen:\n{self.text()}")

        return rt.until(test, seconds, fail)

    def expect(self, text, seconds=60):
        self.until(f"'{text}'", lambda: text in self.text(), seconds)

    def sent(self):
        with open(self.log, "rb") as f:
            return f.read().decode("utf-8", "replace")


@contextlib.contextmanager
def terminal(columns=80, rows=25, **env):
    if not shutil.which("tmux"):
        raise rt.Skip("tmux is not installed")
    with tempfile.TemporaryDirectory(prefix="rhea-term-") as d:
        t = None
        try:
            t = Terminal(d, columns, rows, **env)
            yield t
        finally:
            subprocess.run(["tmux", "-S", os.path.join(d, "tmux"), "kill-server"], check=False, capture_output=True)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A VNC viewer that never has enough: it asks for what changed as soon as it has been sent what changed before (RFC 6143, raw
pixels). Run by drawing.py.

    tests/bench/viewer.py SOCKET

Says `ready` when it has seen the whole picture. When its input ends it says how many updates and bytes of pixels came since."""
import os
import select
import socket
import struct
import sys

RAW, DESKTOP_SIZE = 0, -223


class Viewer:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)
        self.buf = bytearray(1 << 20)
        self.updates = self.bytes = 0
        self.s.sendall(self.read(12))
        if 1 not in self.read(self.read(1)[0]):
            raise SystemExit("the server wants a password")
        self.s.sendall(b"\1")
        if self.read(4) != b"\0\0\0\0":
            raise SystemExit("the server refuses")
        self.s.sendall(b"\1")
        self.w, self.h = struct.unpack(">HH", self.read(4))
        bits = self.read(16)[0]
        self.pixel = bits // 8
        self.read(struct.unpack(">I", self.read(4))[0])
        self.s.sendall(struct.pack(">BxHii", 2, 2, RAW, DESKTOP_SIZE))

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise SystemExit("the server ended")
            data += more
        return data

    def skip(self, n):
        while n:
            got = self.s.recv_into(self.buf, min(n, len(self.buf)))
            if not got:
                raise SystemExit("the server ended")
            n -= got

    def ask(self, incremental):
        self.s.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.w, self.h))

    def message(self):
        kind = self.read(1)[0]
        if kind == 2:
            return # a bell
        if kind != 0:
            raise SystemExit(f"the server sent a message of kind {kind}")
        for _ in range(struct.unpack(">xH", self.read(3))[0]):
            _, _, w, h, encoding = struct.unpack(">HHHHi", self.read(12))
            if encoding == DESKTOP_SIZE:
                self.w, self.h = w, h
            else:
                self.skip(w * h * self.pixel)
                self.bytes += w * h * self.pixel
        self.updates += 1
        self.ask(True)

    def run(self):
        self.ask(False)
        while self.bytes < self.w * self.h * self.pixel:
            self.message()
        print("ready", flush=True)
        self.updates = self.bytes = 0
        while True:
            ready, _, _ = select.select([self.s, 0], [], [])
            if 0 in ready and not os.read(0, 100):
                break
            if self.s in ready:
                self.message()
        print(self.updates, self.bytes, flush=True)


if __name__ == "__main__":
    Viewer(sys.argv[1]).run()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""VNC servers (ui/vnc.c, ui/vnc_client.c, ui/vnc_clients.c, ui/vnc_input.c, ui/vnc_listen.c, ui/vnc_picture.c, tools/system/qmp_vnc.c) with a small RFB client of the test's own: handshake,
password, picture, keys by keysym and scan code, extensions, sharing, hostile clients, what monitors say."""
import contextlib
import os
import random
import resource
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import zlib

import qmp
import rheatest as rt
from qmp import expect

STORM = int(os.environ.get("RHEA_STORM", "5000"))
EXT_KEY, MOTION, LEDS, DESKTOP_SIZE, CURSOR = -258, -257, -261, -223, -239


class Closed(Exception):
    pass


def des(password, challenge):
    """RFC 6143, 7.2.2: DES with the bits of each byte of the key mirrored."""
    key = bytes(int(f"{b:08b}"[::-1], 2) for b in password.encode()[:8].ljust(8, b"\0"))
    p = subprocess.run(["openssl", "enc", "-des-ecb", "-nopad", "-provider", "legacy", "-provider", "default", "-K", key.hex()],
                       input=challenge, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if p.returncode or len(p.stdout) != 16:
        raise rt.Skip(f"openssl has no DES: {p.stderr.decode()[:100]}")
    return p.stdout


class Rfb:
    """A client. Pixels are 32 bits, raw."""

    def __init__(self, address, password=None, shared=True, encodings=(0,), init=True):
        self.s = self.connect(address)
        self.pseudo = {}
        expect(self.read(12) == b"RFB 003.008\n", "the version")
        self.s.sendall(b"RFB 003.008\n")
        self.types = self.read(self.read(1)[0])
        if password is not None:
            self.s.sendall(b"\x02")
            self.s.sendall(des(password, self.read(16)))
        else:
            self.s.sendall(b"\x01")
        self.result = struct.unpack(">I", self.read(4))[0]
        if self.result or not init:
            return
        self.say(bytes([shared]))
        self.w, self.h = struct.unpack(">HH", self.read(4))
        self.format = self.read(16)
        self.name = self.read(struct.unpack(">I", self.read(4))[0]).decode()
        self.say(struct.pack(">BxH", 2, len(encodings)) + b"".join(struct.pack(">i", e) for e in encodings))

    def connect(self, address):
        s = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        s.settimeout(60 * rt.SLOW)
        s.connect(address)
        return s

    def say(self, data):
        """What follows it tells whether the server still listens."""
        try:
            self.s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read(self, n):
        data = b""
        while len(data) < n:
            try:
                more = self.s.recv(n - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed()
            data += more
        return data

    def closed(self):
        """Waits for the server to end the connection."""
        try:
            while True:
                self.read(1)
        except Closed:
            return True

    def update(self, incremental=False):
        """Asks for the whole picture; the rectangles of one update, as (x, y, w, h, encoding, bytes)."""
        self.s.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.w, self.h))
        return self.message()

    def message(self):
        rects = []
        expect(self.read(1) == b"\0", "an update")
        for _ in range(struct.unpack(">xH", self.read(3))[0]):
            x, y, w, h, e = struct.unpack(">HHHHi", self.read(12))
            if e == DESKTOP_SIZE:
                self.w, self.h = w, h
            data = self.read(w * h * 4 if e == 0 else 1 if e == LEDS else w * h * 4 + (w + 7) // 8 * h if e == CURSOR else 0)
            rects.append((x, y, w, h, e, data))
            self.pseudo[e] = (x, y, data)
        return rects

    def until(self, encoding):
        while encoding not in self.pseudo:
            self.message()
        return self.pseudo.pop(encoding)

    def want_size(self, w, h):
        """ExtendedDesktopSize: one screen of that size."""
        self.s.sendall(struct.pack(">BxHHBxIHHHHI", 251, w, h, 1, 0, 0, 0, w, h, 0))

    def key(self, sym, down):
        self.s.sendall(struct.pack(">BBxxI", 4, down, sym))

    def scan(self, code, down):
        self.s.sendall(struct.pack(">BBHII", 255, 0, down, 0, code))

    def pointer(self, mask, x, y):
        self.s.sendall(struct.pack(">BBHH", 5, mask, x, y))


class WebSocket:
    """RFC 6455 as a socket: what is sent is one masked frame, what is read is what frames contain."""

    def __init__(self, address, path="/", tls=None, **fields):
        self.s = socket.create_connection(address, 60 * rt.SLOW)
        self.s = tls.wrap_socket(self.s, server_hostname="localhost") if tls else self.s
        host = f"{address[0]}:{address[1]}"
        head = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Protocol": "binary", "Sec-WebSocket-Version": "13", "Origin": "http://" + host, **fields}
        lines = "".join(f"{k}: {v}\r\n" for k, v in head.items() if v is not None)
        self.s.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        self.answer = b""
        while not self.answer.endswith(b"\r\n\r\n"):
            more = self.s.recv(1)
            if not more:
                break
            self.answer += more
        self.status = int(self.answer.split()[1]) if self.answer else 0
        self.left = 0

    def sendall(self, data):
        n = len(data)
        size = struct.pack(">B", 128 | n) if n < 126 else struct.pack(">BH", 254, n)
        mask = b"\x01\x02\x03\x04"
        self.s.sendall(b"\x82" + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise Closed()
            data += more
        return data

    def recv(self, n):
        while not self.left:
            kind, size = self.exactly(2)
            size = struct.unpack(">H", self.exactly(2))[0] if size == 126 else struct.unpack(">Q", self.exactly(8))[0] if size == 127 else size
            if kind & 15 == 8:
                return b""
            self.left = size
        data = self.s.recv(min(n, self.left))
        self.left -= len(data)
        return data

    def close(self):
        self.s.close()


class WebRfb(Rfb):
    """A client in a browser. address: host, port, and perhaps the path."""

    def connect(self, address):
        w = WebSocket(address[:2], *address[2:])
        expect(w.status == 101, f"a WebSocket: {w.answer}")
        return w


class Guest(qmp.Vm):
    """A machine whose CPU halts, so that the test is who reads its keyboard."""

    def __init__(self, *args, **how):
        self.folder = tempfile.mkdtemp(prefix="rhea-vnc-")
        bios = os.path.join(self.folder, "bios")
        with open(bios, "wb") as f:
            f.write(b"\xf4" * 65536)
        self.unix = os.path.join(self.folder, "vnc")
        super().__init__("-M", "pc", "-m", "16M", "-bios", bios, *args, **how)

    def __exit__(self, *args):
        super().__exit__(*args)
        shutil.rmtree(self.folder, ignore_errors=True)


def hmp_of(c):
    return lambda line: c.call("human-monitor-command", command_line=line)


def vnc_keys():
    """Keys by keysym and by scan code arrive; a client that goes releases what it held."""
    folder = tempfile.mkdtemp(prefix="rhea-vnc-")
    path = os.path.join(folder, "s")
    try:
        with Guest("-vnc", f"unix:{path},key-delay-ms=0", "-k", "de", "-name", "box") as vm:
            c = qmp.Client(vm.path)
            r = Rfb(path, encodings=(0, EXT_KEY, MOTION, LEDS))
            expect(r.name == "Rhea (box)" and r.types == b"\x01", f"{r.name} {r.types}")
            r.until(EXT_KEY)
            expect(r.until(MOTION)[0] == 0, "the PS/2 mouse moves")
            expect(r.until(LEDS)[2] == b"\0", "no LEDs")
            r.key(ord("z"), True)  # where y is in the US
            expect(qmp.scan_codes(c, 1) == b"\x35", "z of the German layout")
            r.key(ord("z"), False)
            expect(qmp.scan_codes(c, 2) == b"\xf0\x35", "and up")
            r.scan(0xc8, True)
            expect(qmp.scan_codes(c, 2) == b"\xe0\x75", "a scan code with a prefix")
            r.key(0xffe1, True)
            expect(qmp.scan_codes(c, 1) == b"\x12", "Shift")
            r.key(0x12345, True)  # nothing
            r.s.close()
            got = qmp.scan_codes(c, 5)
            expect(got in (b"\xf0\x12\xe0\xf0\x75", b"\xe0\xf0\x75\xf0\x12"), f"released: {got.hex()}")
            while c.call("query-vnc")["clients"]:
                pass
    finally:
        shutil.rmtree(folder)


def vnc_picture():
    """Without a graphics card the picture is black; updates, sizes, what monitors say."""
    with Guest("-vnc", "127.0.0.1:0,to=99,id=one", "-vnc", "127.0.0.1:1,to=99,id=two,websocket=on") as vm:
        c = qmp.Client(vm.path)
        v = c.call("query-vnc")
        expect(v["enabled"] and v["auth"] == "none" and v["family"] == "ipv4" and v["clients"] == [], f"{v}")
        both = c.call("query-vnc-servers")
        expect([s["id"] for s in both] == ["one", "two"] and [p["websocket"] for p in both[1]["server"]] == [False, True], f"{both}")
        r = Rfb((v["host"], int(v["service"])))
        rects = r.update()
        expect(sum(w * h for _, _, w, h, _, _ in rects) == r.w * r.h == 640 * 480, f"{rects[0][:5]}")
        expect(not any(b for rect in rects for b in rect[5][:1000]), "black")
        e = c.event("VNC_INITIALIZED")["data"]
        expect(e["client"]["family"] == "ipv4" and e["server"]["auth"] == "none", f"{e}")
        expect(len(c.call("query-vnc")["clients"]) == 1, "a client")
        text = hmp_of(c)("info vnc")
        expect("one:" in text and "Client: 127.0.0.1:" in text, text)
        r.s.close()
        c.event("VNC_DISCONNECTED")
        w = WebRfb(("127.0.0.1", int(both[1]["server"][1]["service"])))
        expect(sum(r[2] * r[3] for r in w.update()) == 640 * 480, "a picture through a WebSocket")
        w.s.close()


def vnc_password():
    """Passwords: right, wrong, changed, over."""
    folder = tempfile.mkdtemp(prefix="rhea-vnc-")
    path = os.path.join(folder, "s")
    try:
        with Guest("-vnc", f"unix:{path},password=on") as vm:
            c = qmp.Client(vm.path)
            hmp = hmp_of(c)
            expect(Rfb(path, "x").result == 1, "none is set: none is right")
            c.call("set_password", protocol="vnc", password="secret")
            expect(Rfb(path, "wrong").result == 1, "a wrong one")
            r = Rfb(path, "secret")
            expect(r.result == 0 and r.types == b"\x02", "the right one")
            expect("error" in c.try_call("set_password", protocol="vnc", password="a", connected="fail"), "connected=fail")
            expect(hmp("set_password vnc other disconnect") == "" and r.closed(), "the client goes")
            c.call("change-vnc-password", password="third")
            expect(Rfb(path, "third").result == 0, "the new one")
            expect(hmp("change vnc password fourth") == "" and Rfb(path, "fourth").result == 0, "the monitor's")
            expect(hmp("set_password vnc third -d default keep") == "" and Rfb(path, "third").result == 0, "by its name")
            expect("no VNC server 'x'" in hmp("set_password vnc a -d x"), "another name")
            c.call("expire_password", protocol="vnc", time="now")
            expect(Rfb(path, "third").result == 1, "it is over")
            expect(hmp("expire_password vnc never") == "" and Rfb(path, "third").result == 0, "it is not")
            for line, text in (("set_password vnc", "expected"), ("expire_password vnc soon", "no time")):
                expect(text in hmp(line), f"{line}: {hmp(line)}")
        with Guest("-object", "secret,id=s,data=hidden", "-vnc", f"unix:{path},password-secret=s") as vm:
            c = qmp.Client(vm.path)
            expect(Rfb(path, "hidden").result == 0 and Rfb(path, "hiddem").result == 1, "a secret's")
            expect("no password that could be set" in c.try_call(
                "change-vnc-password", password="x")["error"]["desc"], "it stays")
    finally:
        shutil.rmtree(folder)


def vnc_nothing():
    """Rectangles without pixels, in each encoding, plain and from a browser: whoever asks for them gets what else was asked for."""
    with Guest("-vnc", "127.0.0.1:0,to=999,lossy=on,websocket=127.0.0.1:0") as vm:
        c = qmp.Client(vm.path)
        places = [(s["host"], int(s["service"])) for s in c.call("query-vnc-servers")[0]["server"]]
        for connect in (lambda e: Rfb(places[0], encodings=e), lambda e: WebRfb(places[1], encodings=e)):
            for encoding in (0, 2, 4, 5, 6, 7, 16, 17):
                for more in ((), (-23, -224), (-260,)): # JPEG's quality, the last rectangle; Tight's PNG
                    r = connect((encoding, *more))
                    for x, y, w, h in ((0, 0, 0, 480), (0, 7, 640, 0), (640, 0, 9, 480), (7, 7, 0, 0), (7, 0, 0, 480), (7, 7, 0, 9)):
                        r.s.sendall(struct.pack(">BBHHHH", 3, 0, x, y, w, h))
                    r.s.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, 16, 16))
                    expect(r.read(1) == b"\0", "an update")
                    n, x, y, w, h = struct.unpack(">xHHHHH", r.read(11))
                    expect(n and (x, y) == (0, 0) and w and h, f"{n} rectangles, the first is {w} x {h} at {x}, {y}")
                    r.s.close()
        c.call("query-vnc")


def vnc_share():
    """Clients that want to be alone."""
    folder = tempfile.mkdtemp(prefix="rhea-vnc-")
    path = [os.path.join(folder, n) for n in "abc"]
    try:
        with Guest("-vnc", f"unix:{path[0]},id=a", "-vnc", f"unix:{path[1]},id=b,share=force-shared",
                   "-vnc", f"unix:{path[2]},id=c,share=ignore") as vm:
            qmp.Client(vm.path)
            one, two = Rfb(path[0]), Rfb(path[0])
            one.update()
            two.update()
            three = Rfb(path[0], shared=False)
            expect(one.closed() and two.closed() and three.update(), "the last one is alone")
            one = Rfb(path[1])
            expect(Rfb(path[1], shared=False).closed() and one.update(), "it is turned away")
            one, two = Rfb(path[2]), Rfb(path[2], shared=False)
            expect(one.update() and two.update(), "both stay")
    finally:
        shutil.rmtree(folder)


def ports(c):
    return [(s["host"], s["service"], s["websocket"]) for s in c.call("query-vnc-servers")[0]["server"]]


def vnc_update():
    """A server that runs listens elsewhere; one that cannot goes on where it was; clients stay."""
    with Guest("-display", "vnc=127.0.0.1:0,to=99,websocket=127.0.0.1:0") as vm, socket.socket() as taken, socket.socket() as ours:
        c = qmp.Client(vm.path)
        hmp = hmp_of(c)
        for s in taken, ours:
            s.bind(("127.0.0.1", 0))
        taken.listen()
        busy = {"type": "inet", "host": "127.0.0.1", "port": str(taken.getsockname()[1])}
        before = ports(c)
        first = (before[0][0], int(before[0][1]))
        r = Rfb(first)
        # The old place stands in the way of a new one: all addresses, the same port.
        c.call("display-update", type="vnc", addresses=[{"type": "inet", "host": "0.0.0.0", "port": before[0][1]},
                                                        {"type": "unix", "path": vm.unix}])
        expect(ports(c) == [("0.0.0.0", before[0][1], False), ("", vm.unix, False), before[1]], f"{ports(c)}")
        expect(Rfb(vm.unix).update() and r.update(), "a new place, and the old client")
        now = ports(c)
        bad = c.try_call("display-update", type="vnc", addresses=[{"type": "inet", "host": "127.0.0.1", "port": before[0][1]}, busy])
        expect("cannot listen" in bad["error"]["desc"] and ports(c) == now, f"{bad} {ports(c)}")
        expect(Rfb(vm.unix).update() and Rfb(first).update(), "where it was")
        # A descriptor.
        c.call("getfd", fds=[ours.fileno()], fdname="ours")
        bad = c.try_call("display-update", type="vnc", addresses=[{"type": "fd", "str": "ours"}])
        expect("no socket that listens" in bad["error"]["desc"] and ports(c) == now, f"{bad}")
        ours.listen()
        c.call("getfd", fds=[ours.fileno()], fdname="ours")
        c.call("display-update", type="vnc", addresses=[{"type": "fd", "str": "ours"}])
        expect(Rfb(ours.getsockname()).update() and not os.path.exists(vm.unix), "a socket of ours")
        expect("cannot listen" in c.try_call("display-update", type="vnc", addresses=[busy])["error"]["desc"], "taken")
        expect(Rfb(ours.getsockname()).update(), "again ours")
        c.call("display-update", type="vnc", addresses=[])
        expect(ports(c) == [before[1]] and c.call("query-vnc") == {"enabled": False}, "WebSockets only")
        expect(c.call("query-vnc-servers")[0]["id"] == "default", "the id that it has by itself")
        expect(hmp(f"change vnc unix:{vm.unix}") == "" and Rfb(vm.unix).update(), "the monitor's way")
        expect("do not change" in hmp("change vnc :1,password=on") and "no VNC address" in hmp("change vnc x"), "wrong")
        expect(hmp("change vnc none") == "" and not os.path.exists(vm.unix) and r.update(), "none, and the old client")
        c.call("display-reload", type="vnc")
        expect("no TLS" in c.try_call("display-reload", type="vnc", tls_certs=True)["error"]["desc"], "certificates")


def vnc_text():
    """What one viewer's user marks comes to the others, and not back."""
    folder = tempfile.mkdtemp(prefix="rhea-vnc-")
    path = os.path.join(folder, "s")
    try:
        with Guest("-vnc", f"unix:{path}") as vm:
            qmp.Client(vm.path)
            one, two, three = Rfb(path), Rfb(path), Rfb(path)
            for r in one, two, three:
                r.update()
            for text in b"one text", b"", b"x" * 200000:
                one.s.sendall(struct.pack(">B3xI", 6, len(text)) + text)
                for r in two, three:
                    head = r.read(8)
                    expect(head == struct.pack(">B3xI", 3, len(text)) and r.read(len(text)) == text, f"{head}")
            two.s.sendall(struct.pack(">B3xI", 6, 300000) + bytes(300000))  # too long: nobody gets it
            two.s.sendall(struct.pack(">B3xI", 6, 3) + b"end")
            expect(one.read(11)[8:] == b"end" and three.read(11)[8:] == b"end", "the next one")
    finally:
        shutil.rmtree(folder)


ENCODINGS = (0, 1, 2, 5, 6, 7, 8, 15, 16, 17, 22, -32, -223, -224, -232, -239, -240, -257, -258, -259, -261, -305, -307, -308, -313, 0xC0A1E5CE - 2**32)


def numbers(rnd, form, *usual):
    """Each of the form's numbers is a usual one, or any."""
    sizes = {"B": 8, "H": 16, "I": 32}
    return struct.pack(">" + form, *(rnd.choice(usual) & (1 << sizes[k]) - 1 if rnd.random() < 0.9 else rnd.getrandbits(sizes[k]) for k in form))


def message(rnd):
    """One message as long as it says it is; what it says is nearly right, or nonsense."""
    kind = rnd.choice((0, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6, 8, 250, 251, 251, 255, 255))
    if kind == 0:
        good = struct.pack(">BBBBHHHBBB3x", *rnd.choice(((32, 24, 0, 1, 255, 255, 255, 16, 8, 0), (16, 16, 1, 1, 31, 63, 31, 11, 5, 0),
                                                         (8, 8, 0, 1, 7, 7, 3, 0, 3, 6))))
        return b"\0\0\0\0" + (good if rnd.random() < 0.999 else good[:2] + rnd.randbytes(14))
    if kind == 2:
        e = [rnd.choice(ENCODINGS) if rnd.random() < 0.9 else rnd.randrange(-2**31, 2**31) for _ in range(rnd.randrange(12))]
        return struct.pack(">BxH", 2, len(e)) + b"".join(struct.pack(">i", x) for x in e)
    if kind == 3:
        return b"\3" + numbers(rnd, "B", 0, 1) + numbers(rnd, "HHHH", 0, 1, 16, 31, 640, 65535)
    if kind == 4:
        return b"\4" + numbers(rnd, "B", 0, 1) + b"\0\0" + numbers(rnd, "I", 97, 0xff0d, 0xffe1, 0xffea, 0x1000394)
    if kind == 5:
        return b"\5" + numbers(rnd, "B", 0, 0, 0, 1, 4, 8, 255) + numbers(rnd, "HH", 0, 1, 320, 639, 65535)
    if kind == 6:
        text = rnd.randbytes(rnd.choice((0, 1, 5, 200)))
        if rnd.random() < 0.5: # the extended clipboard: flags, then sizes, or texts by zlib
            flags = rnd.choice((1 << 24 | 1, 1 << 25 | 1, 1 << 26 | 1, 1 << 27 | 1, 1 << 28 | 1, 1 << 28 | 0xffff, rnd.getrandbits(32)))
            size = rnd.choice((0, len(text), len(text) + 1, 2**31, 2**32 - 1))
            packed = zlib.compress(struct.pack(">I", size) + text) if rnd.random() < 0.995 else text
            body = struct.pack(">I", flags) + (packed if flags >> 28 & 1 else numbers(rnd, "I", 0, 100, 2**31))
            return struct.pack(">B3xi", 6, -len(body)) + body
        return struct.pack(">B3xI", 6, len(text)) + text
    if kind == 8:
        return b"\x08" + numbers(rnd, "B", 1, 2, 0, 255) + b"\0\0"
    if kind == 250:
        return b"\xfa\0" + numbers(rnd, "BB", 1, 1, 0, 5)
    if kind == 251:
        n = rnd.choice((1, 1, 1, 0, 2, 16))
        return b"\xfb\0" + numbers(rnd, "HH", 640, 800, 0, 65535) + bytes((n, 0)) + b"".join(
            numbers(rnd, "IHHHHI", 0, 1, 640, 480, 65535) for _ in range(n))
    return b"\xff\0" + numbers(rnd, "H", 0, 1) + numbers(rnd, "II", 0x1e, 0xc8, 0x2a, 97, 0xff0d)


class Hostile:
    """A client that says its part and reads what comes, without waiting for either."""

    def __init__(self, r, data, n):
        self.s, self.data, self.last = r.s, data, False
        self.n, self.all = n, len(data) # messages, bytes
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096) # so that what was sent was read, too
        self.s.setblocking(False)

    def step(self):
        """False: the server has read all of it, or ended the connection."""
        try:
            while self.s.recv(1 << 18):
                pass
            return False
        except BlockingIOError:
            pass
        except OSError:
            return False
        try:
            if self.data:
                self.data = self.data[self.s.send(self.data[:2048]):]
            elif not self.last:
                self.last = True
                self.s.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


def bad_handshake(rnd, path):
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60 * rt.SLOW)
        s.connect(path)
        s.sendall(rnd.choice((b"", b"RFB 003.008\n", b"RFB 003.003\n", b"GET ")) + rnd.randbytes(rnd.randrange(300)))


def vnc_storm():
    """Hostile clients, four at once: nothing ends, nothing is held up, and the next client is served. RHEA_STORM messages."""
    folder = tempfile.mkdtemp(prefix="rhea-vnc-")
    path = os.path.join(folder, "s")
    rnd = random.Random(int(os.environ.get("RHEA_SEED", "1")))
    said, clients = 0, []
    try:
        with Guest("-vnc", f"unix:{path},share=ignore,power-control=on,lossy=on,key-delay-ms=0") as vm:
            c = qmp.Client(vm.path)
            while said < STORM or clients:
                if said < STORM and len(clients) < 4:
                    n = rnd.choice((1, 20, 100, 300))
                    data = b"".join(message(rnd) for _ in range(n))
                    tail = rnd.choice((b"", data[:rnd.randrange(50)], rnd.randbytes(rnd.randrange(300))))
                    with contextlib.suppress(Closed, OSError):
                        clients.append(Hostile(Rfb(path, shared=rnd.random() < 0.5), data + tail, n))
                    if rnd.random() < 0.2:
                        bad_handshake(rnd, path)
                for h in [h for h in clients if not h.step()]:
                    clients.remove(h)
                    said += h.n * (h.all - len(h.data)) // h.all
                    if rnd.random() < 0.9:
                        h.s.close()
                if clients:
                    select.select([h.s for h in clients], [h.s for h in clients if h.data], [], 1)
                c.call("query-vnc")
            r = Rfb(path)
            expect(r.update(), "the next one is served")
            r.s.close()
    finally:
        shutil.rmtree(folder)


def resident(vm):
    with open(f"/proc/{vm.p.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


def stuck(c, vm, connect):
    """Clients that ask and never read, and never stop asking: monitor and another client go on, memory stays."""
    ask = struct.pack(">BBHHHH", 3, 0, 0, 0, 640, 480)
    all_stuck = [connect() for _ in range(4)]
    for r in all_stuck:
        r.s.sendall(ask * 50)
    sock = [getattr(r.s, "s", r.s) for r in all_stuck]
    before = resident(vm)
    for s in sock:
        s.setblocking(False)
    for _ in range(20):
        for r in all_stuck: # until no more goes in: half a frame does not matter, as it stays stuck
            try:
                r.s.sendall(ask * 200)
            except BlockingIOError:
                pass
        c.call("query-vnc")
    r = connect()
    for _ in range(5):
        expect(r.update(), "pictures")
    c.call("query-vnc")
    grown = resident(vm) - before
    expect(grown < 16384, f"{grown} KiB more")
    return all_stuck # the server ends them


def vnc_stuck():
    """By a unix socket, by TCP and by a WebSocket; all are ended at once at the end."""
    folder = tempfile.mkdtemp(prefix="rhea-vnc-")
    path = os.path.join(folder, "s")
    try:
        with Guest("-vnc", f"unix:{path}", "-vnc", "127.0.0.1:0,to=999,id=two,websocket=127.0.0.1:0") as vm:
            c = qmp.Client(vm.path)
            places = [(s["host"], int(s["service"])) for s in c.call("query-vnc-servers")[1]["server"]]
            kept = [stuck(c, vm, lambda: Rfb(path)), stuck(c, vm, lambda: Rfb(places[0])), stuck(c, vm, lambda: WebRfb(places[1]))]
            expect(len(kept) == 3, "all are there")
    finally:
        shutil.rmtree(folder)


def vnc_descriptors():
    """select() has no room for descriptors beyond 1023: such a client is turned away with a warning."""
    folder = tempfile.mkdtemp(prefix="rhea-vnc-")
    path = os.path.join(folder, "s")
    many = []
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 1200:
            raise rt.Skip("the host allows too few descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
        many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1030)]
        for fd in many: # the program inherits them
            os.set_inheritable(fd, True)
        with Guest("-vnc", f"unix:{path}", close_fds=False) as vm:
            c = qmp.Client(vm.path)
            for _ in range(2):
                try:
                    Rfb(path)
                    raise rt.Failure("a client with a high descriptor was let in")
                except Closed:
                    c.call("query-vnc")
            vm.err.seek(0)
            expect(vm.err.read().count(b"is beyond 1023") == 1, "one warning")
    finally:
        for fd in many:
            os.close(fd)
        shutil.rmtree(folder)


def vnc_refusals():
    """Options that are wrong, or not there."""
    for option, text in (("127.0.0.1", "is no VNC address"), (":x", "is no VNC address"),
                         (":0,sasl=on", "no SASL"), (":0,audiodev=a", "sound is not sent"), (":0,reverse=on", "clients connect"),
                         (":0,share=some", "share"), (":60000", "is no VNC address"), ("unix:/tmp,websocket=on", "no display number"),
                         ("127.0.0.1:0,to=99,password-secret=s", "'s'"), ("127.0.0.1:0,to=99,display=d", "'d'"), (":0,foo=1", "foo")):
        p = subprocess.run([rt.BIN, "-M", "none", "-display", "none", "-S", "-vnc", option], stderr=subprocess.PIPE, check=False,
                           timeout=60 * rt.SLOW)
        expect(p.returncode == 1 and text in p.stderr.decode(), f"{option}: {p.stderr.decode()}")
    p = subprocess.run([rt.BIN, "-k", "fr-xx"], stderr=subprocess.PIPE, check=False, timeout=60 * rt.SLOW)
    expect("no keyboard layout 'fr-xx'" in p.stderr.decode(), p.stderr.decode())
    p = subprocess.run([rt.BIN, "-k", "help"], stdout=subprocess.PIPE, check=True, timeout=60 * rt.SLOW)
    expect(b"en-us\n" in p.stdout and b"pt-br\n" in p.stdout, "the list")


if __name__ == "__main__":
    rt.main(*[globals()[n] for n in sys.argv[1:] if n in globals()])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The web console (ui/web.c, ui/web-http.c, the page in ui/web: index.html, console.js, console.css; ui/vnc_listen.c): what its port answers,
who is let in, hostile and stuck browsers; and Debian's Chromium, which sees a guest and types into it, by W3C's WebDriver. Skipped where
noVNC, or for the last Chromium and its driver, are not installed."""
import base64
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import qmp
import rheatest as rt
import vnc
from desktop import MODULES, SCRIPT, nearly, screendump, until
from qmp import expect

STORM = int(os.environ.get("RHEA_STORM", "150"))
TOKEN = "a-token-of-the-tests"
SECRET = ("-object", f"secret,id=t,data={TOKEN}")


def need_novnc():
    if not os.path.exists("/usr/share/novnc/core/rfb.js"):
        raise rt.Skip("novnc is not installed")


def place(c):
    """The program's address, and where it is."""
    url = c.call("human-monitor-command", command_line="info web").strip()
    m = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#(.*)", url)
    expect(m, f"an address: {url}")
    return url, ("127.0.0.1", int(m.group(1)))


def get(where, path, method="GET"):
    request = urllib.request.Request("http://%s:%d%s" % (*where, path), method=method)
    try:
        with urllib.request.urlopen(request, timeout=60 * rt.SLOW) as r:
            return r.status, dict(r.headers), r.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, dict(e.headers), e.read()


def say(where, data, end=True):
    """Raw bytes; the first line of the answer."""
    with socket.create_connection(where, 60 * rt.SLOW) as s:
        s.sendall(data)
        if end:
            s.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            try:
                more = s.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                break
            got += more
        return got.split(b"\r\n")[0].decode()


def web_pages():
    """Files, and what is none."""
    need_novnc()
    with vnc.Guest("-display", "web=127.0.0.1:0") as vm:
        c = qmp.Client(vm.path)
        url, where = place(c)
        expect(re.search("#[0-9a-f]{32}$", url), f"a random token: {url}")
        status, head, body = get(where, "/")
        expect(status == 200 and head["Content-Type"].startswith("text/html") and b"console.js" in body, f"{status} {head}")
        expect("default-src 'none'" in head["Content-Security-Policy"] and head["X-Frame-Options"] == "DENY", f"{head}")
        with open("/usr/share/novnc/core/rfb.js", "rb") as f:
            rfb = f.read()
        status, head, body = get(where, "/novnc/core/rfb.js")
        expect(status == 200 and head["Content-Type"].startswith("text/javascript") and body == rfb, f"{status} {head}")
        status, head, body = get(where, "/novnc/core/rfb.js", "HEAD")
        expect(status == 200 and body == b"" and int(head["Content-Length"]) == len(rfb), f"{status} {head}")
        for path in ("/novnc/core/../core/rfb.js", "/novnc/vnc.html", "/etc/passwd", "//etc/passwd", "/%2e%2e/", "/index.html"):
            expect(get(where, path)[0] == 404, path)
        expect(get(where, "/", "POST")[0] == 405 and get(where, "/websockify")[0] == 426, "other requests")
        expect(" 431 " in say(where, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000, False), "a long request")
        for bad in b"GET /\r\n\r\n", b"\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n", b"RFB 003.008\n\r\n\r\n":
            expect(" 400 " in say(where, bad), f"{bad}")
        with socket.create_connection(where, 60 * rt.SLOW) as s: # a request in pieces, which do not come at once
            for part in b"GET /con", b"sole.css HTTP/1.1\r", b"\nHost: x\r\n", b"\r\n":
                s.sendall(part)
                c.call("query-vnc")
            expect(s.recv(12) == b"HTTP/1.1 200", "in pieces")
        options = c.call("query-display-options")
        expect(options["type"] == "web" and options["address"] == "127.0.0.1:0", f"{options}")
        servers = c.call("query-vnc-servers")
        expect(servers[0]["id"] == "web" and servers[0]["server"][0]["websocket"] and not c.call("query-vnc")["enabled"], f"{servers}")


def web_doors():
    """Who is let in: with the token, and not from another server's page."""
    need_novnc()
    with vnc.Guest(*SECRET, "-display", "web=127.0.0.1:0,token-secret=t,password=on") as vm:
        c = qmp.Client(vm.path)
        url, where = place(c)
        expect(url.endswith("#" + TOKEN), url)
        c.call("set_password", protocol="vnc", password="secret", display="web")
        own, good = "http://%s:%d" % where, "/websockify?token=" + TOKEN
        for path, fields in ((good[:-1], {}), (good + "x", {}), ("/websockify", {}), ("/websockify?token=", {}),
                             (good, {"Origin": "http://example.org"}), (good, {"Origin": "null"}), (good, {"Origin": own + "0"}),
                             (good, {"Origin": own, "origin": "http://example.org"}), (good, {"Host": "example.org"})):
            w = vnc.WebSocket(where, path, **fields)
            expect(w.status == 403, f"{path} {fields}: {w.answer}")
            w.close()
        expect(vnc.WebSocket(where, good, Cookie="x" * 5000).status == 431, "more than the library takes")
        expect(vnc.WebRfb((*where, good), "wrong").result == 1, "a wrong password")
        r = vnc.WebRfb((*where, good), "secret")
        expect(r.result == 0 and r.update(), "the right one")
        client = c.call("query-vnc-servers")[0]["clients"]
        expect(len(client) == 1 and client[0]["websocket"], f"{client}")
        c.call("set_password", protocol="vnc", password="new", display="web", connected="disconnect")
        expect(r.closed(), "it is ended")
        vm.err.seek(0)
        expect(vm.err.read().count(b"refused a connection") == 1, "one warning")


def web_refusals():
    """Options that are wrong."""
    need_novnc()
    with tempfile.TemporaryDirectory(prefix="rhea-web-") as d:
        os.makedirs(os.path.join(d, "core"))
        os.makedirs(os.path.join(d, "vendor"))
        for option, text in (("web=[::1", "no address for browsers"), ("web=unix:/tmp/x", "no address for browsers"),
                             ("web=127.0.0.1:99999", "no address for browsers"), ("web=a:b:c", "no address for browsers"),
                             ("web,novnc=/nonexistent", "install the package novnc"), (f"web,novnc={d}", "has no core/rfb.js"),
                             ("web,token-secret=x", "'x'"), ("web,token-secret=s", "is no token"), ("web,password-secret=x", "'x'"),
                             ("web=192.0.2.1:0", "cannot listen"), ("web,foo=1", "foo")):
            p = subprocess.run([rt.BIN, "-M", "none", "-S", "-object", "secret,id=s,data=short", "-display", option], stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, check=False, timeout=60 * rt.SLOW)
            expect(p.returncode == 1 and text in p.stderr.decode(), f"{option}: {p.stderr.decode()}")


def garbage(rnd):
    lines = [b"GET / HTTP/1.1", b"GET /websockify?token=" + TOKEN.encode() + b" HTTP/1.1", b"Upgrade: websocket", b"Connection: Upgrade",
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Protocol: binary", b"Origin:",
             b"Host: x", b"Origin: http://x", b":", b"", b"GET /novnc/core/rfb.js HTTP/1.1", rnd.randbytes(rnd.randrange(300))]
    if rnd.random() < 0.5: # a good one, and then frames of all kinds
        out = b"\r\n".join([lines[1], *lines[2:7], b"Host: x", b"Origin: http://x"]) + b"\r\n\r\n"
        for _ in range(rnd.randrange(20)):
            n = rnd.choice((0, 1, 12, 125, 126, 200, 65535))
            size = bytes([128 | n]) if n < 126 else struct.pack(">BH", 254, n) if rnd.random() < 0.8 else struct.pack(">BQ", 255, rnd.getrandbits(64))
            data = rnd.choice((b"RFB 003.008\n", b"\x01", rnd.randbytes(rnd.randrange(n + 1))))
            out += bytes([rnd.choice((0x82, 0x81, 0x02, 0x80, 0x88, 0x89, 0x8a, rnd.randrange(256)))]) + size + rnd.randbytes(4) + data
        return out
    text = b"\r\n".join(rnd.choice(lines) for _ in range(rnd.randrange(1, 12))) + b"\r\n\r\n"
    return text[:rnd.randrange(len(text) + 1)] if rnd.random() < 0.3 else text


def web_storm():
    """Hostile browsers, and such as never read or never go on: nothing ends, nothing grows, the next one is served."""
    need_novnc()
    seed = int(os.environ.get("RHEA_SEED", "1"))
    with vnc.Guest(*SECRET, "-display", "web=127.0.0.1:0,token-secret=t") as vm:
        c = qmp.Client(vm.path)
        where = place(c)[1]
        good = (*where, "/websockify?token=" + TOKEN)
        first = vnc.WebRfb(good)
        first.update()
        before = vnc.resident(vm)
        idle = []
        for i in range(STORM):
            rnd = random.Random(seed * 1000003 + i)
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            s.settimeout(60 * rt.SLOW)
            with contextlib.suppress(OSError):
                s.connect(where)
                s.sendall(rnd.choice((b"", b"GET /novnc/core/rfb.js HTTP/1.1\r\n\r\n", garbage(rnd), garbage(rnd))))
                if rnd.random() < 0.3:
                    s.shutdown(socket.SHUT_WR)
            if rnd.random() < 0.5:
                s.close()
            else:
                idle = [*idle[-150:], s]
            if i % 20 == 19:
                c.call("query-vnc")
        expect(get(where, "/console.js")[0] == 200 and first.update(), "the next one is served, and the first one")
        kept = vnc.stuck(c, vm, lambda: vnc.WebRfb(good))
        for s in idle:
            s.close()
        grown = vnc.resident(vm) - before
        expect(len(kept) == 4 and grown < 65536, f"{grown} KiB more")


# ---- a browser ----

# The canvas as base64 of red, green, blue; nothing while there is none.
PIXELS = """const c = document.querySelector('#screen canvas');
if (!c || !c.width) return null;
const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, out = new Uint8Array(c.width * c.height * 3);
for (let i = 0, o = 0; i < d.length; i += 4) { out[o++] = d[i]; out[o++] = d[i + 1]; out[o++] = d[i + 2]; }
let text = '';
for (let i = 0; i < out.length; i += 30000) text += String.fromCharCode.apply(null, out.subarray(i, i + 30000));
return [c.width, c.height, btoa(text)];"""


class Browser:
    """Headless Chromium by the WebDriver protocol."""

    def __init__(self, d):
        for program in "chromium", "chromedriver":
            if not shutil.which(program):
                raise rt.Skip(f"{program} is not installed")
        self.log = open(os.path.join(d, "driver"), "w+b")
        self.p = subprocess.Popen(["chromedriver", "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
                                  env={**os.environ, "HOME": d}, start_new_session=True)
        self.session = None
        try:
            port = None
            for line in self.p.stdout:
                m = re.search(rb"started successfully on port (\d+)", line)
                if m:
                    port = int(m.group(1))
                    break
            expect(port, "chromedriver says its port")
            self.base = f"http://127.0.0.1:{port}/session"
            args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1300,1000",
                    f"--user-data-dir={d}/profile"]
            options = {"browserName": "chrome", "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": args}}
            self.session = self.call("", capabilities={"alwaysMatch": options})["sessionId"]
            self.base += "/" + self.session
        except BaseException:
            self.close()
            raise

    def call(self, path, method="POST", **values):
        request = urllib.request.Request(self.base + path, json.dumps(values).encode() if method == "POST" else None,
                                         {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120 * rt.SLOW) as r:
                return json.load(r)["value"]
        except urllib.error.HTTPError as e:
            with e:
                raise rt.Failure(f"{method} {path}: {e.read().decode()[:1000]}") from e

    def run(self, script, *args, kind="sync"):
        return self.call("/execute/" + kind, script=script, args=list(args))

    def go(self, url):
        self.call("/url", url="about:blank") # what differs behind the # only is the same page
        self.call("/url", url=url)

    def status(self):
        return self.run("return document.getElementById('status').textContent")

    def find(self, selector):
        return next(iter(self.call("/element", using="css selector", value=selector).values()))

    def click(self, selector):
        self.call(f"/element/{self.find(selector)}/click")

    def keys(self, text):
        """The driver gives a character's key, and leaves Shift to us."""
        steps = []
        for k in text:
            shift = [("keyDown", "\ue008"), ("keyUp", "\ue008")] if k.isupper() or k in "()" else []
            all_keys = [*shift[:1], ("keyDown", k), ("keyUp", k), *shift[1:]]
            steps += [{"type": kind, "value": value} for kind, value in all_keys]
        self.call("/actions", actions=[{"type": "key", "id": "k", "actions": steps}])

    def point(self, x, y, size):
        """A click at a place of the canvas, which is shown pixel by pixel; W3C counts from its middle."""
        canvas = {"element-6066-11e4-a52e-4f735466cecf": self.find("#screen canvas")}
        steps = [{"type": "pointerMove", "origin": canvas, "x": x - size[0] // 2, "y": y - size[1] // 2, "duration": 0},
                 {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.call("/actions", actions=[{"type": "pointer", "id": "p", "parameters": {"pointerType": "mouse"}, "actions": steps}])

    def picture(self):
        got = self.run(PIXELS)
        return got and (got[0], got[1], base64.b64decode(got[2]))

    def close(self):
        with contextlib.suppress(Exception):
            if self.session:
                self.call("", "DELETE")
        os.killpg(self.p.pid, signal.SIGKILL) # its browsers, too
        self.p.wait()
        self.p.stdout.close()
        self.log.close()


def web_browser():
    need_novnc()
    with tempfile.TemporaryDirectory(prefix="rhea-web-", ignore_cleanup_errors=True) as d, contextlib.closing(Browser(d)) as b:
        sock = os.path.join(d, "qmp")
        args = ("-display", "web=127.0.0.1:0", "-vga", "std", "-device", "virtio-tablet-pci", "-qmp", f"unix:{sock},server=on,wait=off",
                "-name", "guest", "-S")
        with rt.booted(MODULES, SCRIPT, "console=tty0 console=ttyS0 quiet vga=791", *args, flavour="generic") as vm:
            with contextlib.closing(qmp.Client(sock)) as q:
                look_and_type(vm, q, b, d)
            vm.seen = 0
            rt.once_output(vm)


def look_and_type(vm, q, b, d):
    url, where = place(q)
    b.go(url[:-1])
    until(vm, "a token that is wrong", lambda: "refused" in b.status())
    # A page of somebody else's, even if it knew the token.
    b.call("/url", url="about:blank")
    other = b.run("""const w = new WebSocket(arguments[0]), done = arguments[1];
w.onopen = () => done('open'); w.onerror = () => done('refused');""", "ws://%s:%d/websockify?token=%s" % (*where, url.split("#")[1]), kind="async")
    expect(other == "refused", f"another page is {other}")
    b.go(url)
    until(vm, "the connection", lambda: b.status().startswith("connected to Rhea (guest)"))

    def same():
        got = b.picture()
        return got and nearly(got, screendump(q, d))
    until(vm, "the first picture", same)
    first = b.picture()[:2]
    q.call("cont")
    vm.expect("@@ready@@")
    until(vm, "the kernel's picture", same)
    size = b.picture()[:2]
    expect(size == (1024, 768) and first != size, f"the picture has changed its size: {first}, {size}")
    b.keys("Hello 42 (ok)\ue007")
    vm.expect(r"typed Hello 42 \(ok\)")
    until(vm, "the picture after typing", same)
    b.click("#fit") # as large as it is
    start = vm.seen
    for x, y in (256, 192), (768, 576):
        for what in (3, 0, x * 0x7fff // 1023), (3, 1, y * 0x7fff // 767), (1, 272, 1), (1, 272, 0):
            vm.seen = start
            while not vm.look("tablet .{32}" + struct.pack("<HHi", *what).hex(), 1):
                b.point(x, y, size)
    b.keys("the end\ue007")
    vm.expect("typed the end")


def web_password():
    """The page asks for the password."""
    need_novnc()
    with tempfile.TemporaryDirectory(prefix="rhea-web-", ignore_cleanup_errors=True) as d, contextlib.closing(Browser(d)) as b:
        with vnc.Guest("-object", "secret,id=s,data=se cret", "-display", "web=127.0.0.1:0,password-secret=s") as vm:
            c = qmp.Client(vm.path)
            vm.fail = lambda what: expect(False, what)
            url, _ = place(c)
            for word, status in ("wrong", "refused"), ("se cret", "connected to Rhea"):
                b.go(url)
                until(vm, "the question", lambda: b.status() == "a password is needed")
                b.keys(word + "\ue007")
                until(vm, status, lambda s=status: b.status().startswith(s))
            until(vm, "the picture", b.picture)


if __name__ == "__main__":
    steps = ("web_pages", "web_doors", "web_refusals", "web_storm", "web_browser", "web_password")
    rt.main(*(globals()[n] for n in sys.argv[1:] or steps))

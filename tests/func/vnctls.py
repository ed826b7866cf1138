#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""VNC servers with TLS (ui/vnc_tls.c, ui/vnc_vencrypt.c, ui/vnc_relays.c, backends/tls_creds.c, backends/tls_session.c,
backends/tls_internal.h, tools/system/qmp_vnc.c): VeNCrypt with Python's TLS, WebSockets in TLS, certificates of both sides, slow and hostile
handshakes, and viewers that people use."""
import contextlib
import os
import pwd
import random
import select
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

import certs
import qmp
import rheatest as rt
import vnc
from desktop import desktop, same_picture, until, window
from qmp import expect
from vncviewers import ended, need, viewer

STORM = int(os.environ.get("RHEA_STORM", "80"))
PASSWORD = "se cret"
TLS_NONE, TLS_VNC, X509_NONE, X509_VNC = 257, 258, 260, 261
DNAME = "C=XX,O=Tests,CN=viewer"


def context(folder=None, client=None):
    """A client's: with a folder, the server's certificate has to be right; client: the name of its own."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if folder:
        c.load_verify_locations(os.path.join(folder, "ca-cert.pem"))
    else:
        c.check_hostname = False
        c.verify_mode = ssl.CERT_NONE
        c.maximum_version = ssl.TLSVersion.TLSv1_2
        c.set_ciphers("AECDH:ADH:@SECLEVEL=0")
    if client:
        c.load_cert_chain(os.path.join(folder, f"{client}-cert.pem"), os.path.join(folder, f"{client}-key.pem"))
    return c


class Plain(vnc.Rfb):
    """What comes before TLS."""

    def __init__(self, address, version=b"RFB 003.008\n", kind=b"\x13", vencrypt=b"\0\2"):
        self.s = self.connect(address)
        expect(self.read(12) == b"RFB 003.008\n", "the version")
        self.say(version)
        if version < b"RFB 003.007\n":
            return
        expect(self.read(2) == b"\1\x13", "VeNCrypt alone")
        self.say(kind)
        if kind != b"\x13":
            return
        expect(self.read(2) == b"\0\2", "VeNCrypt 0.2")
        self.say(vencrypt)
        if vencrypt == b"\0\2":
            expect(self.read(2) == b"\0\1", "one subtype")
            self.subtype = struct.unpack(">I", self.read(4))[0]


class TlsRfb(vnc.Rfb):
    """A client with VeNCrypt."""

    def __init__(self, address, tls, subtype, password=None, **how):
        self.tls, self.want, self.word = tls, subtype, password
        super().__init__(address, password, **how)

    def connect(self, address):
        """The rest of the client finds a server of plain RFB 3.8, whose first lines are said here."""
        p = Plain(address)
        expect(p.subtype == self.want, f"subtype {p.subtype}")
        p.say(struct.pack(">I", p.subtype))
        expect(p.read(1) == b"\1", "TLS begins")
        return Inside(self.tls.wrap_socket(p.s, server_hostname="localhost"), b"\2" if self.word is not None else b"\1")


class Inside:
    """A socket that greets first: VeNCrypt goes on with the type's own bytes."""

    def __init__(self, s, kind):
        self.s, self.greeting, self.heard = s, b"RFB 003.008\n\1" + kind, b""

    def recv(self, n):
        if self.greeting:
            data, self.greeting = self.greeting[:n], self.greeting[n:]
            return data
        try:
            return self.s.recv(n)
        except ssl.SSLError:
            return b""

    def sendall(self, data):
        if len(self.heard) < 13: # version and type, of which the server hears nothing
            self.heard += data
            return
        try:
            self.s.sendall(data)
        except ssl.SSLError as e: # or it wants what did not go in once more
            if self.s.gettimeout() != 0:
                raise
            raise BlockingIOError() from e

    def setblocking(self, on):
        self.s.setblocking(on)

    def close(self):
        self.s.close()

    def fileno(self):
        return self.s.fileno()


class Wss(vnc.WebRfb):
    """A client in a browser that speaks TLS."""

    def __init__(self, address, tls, password=None, **how):
        self.tls = tls
        super().__init__(address, password, **how)

    def connect(self, address):
        w = vnc.WebSocket(address, tls=self.tls)
        expect(w.status == 101, f"a WebSocket: {w.answer}")
        return w


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="rhea-vnctls-") as d:
        certs.server(d)
        yield d


def x509(d, more=""):
    return "-object", f"tls-creds-x509,id=tls0,endpoint=server,dir={d}{more}"


@contextlib.contextmanager
def guest(creds, vnc_options="", *args):
    """Yields QMP, the server's address, and the machine."""
    with vnc.Guest(*creds, "-vnc", f"127.0.0.1:0,to=99,tls-creds=tls0{vnc_options}", *args) as vm:
        c = qmp.Client(vm.path)
        yield c, ("127.0.0.1", int(c.call("query-vnc")["service"])), vm


def looks(r):
    rects = r.update()
    expect(sum(w * h for _, _, w, h, _, _ in rects) == r.w * r.h == 640 * 480, "a picture")


def refused(what, make):
    """A server that ends the connection, in whatever layer."""
    try:
        make()
    except (vnc.Closed, OSError):
        return
    raise rt.Failure(f"{what} was let in")


def vnctls_none():
    """X509None: certificates of both sides, what monitors say, certificates read again."""
    with folder() as d, guest(x509(d)) as (c, where, vm):
        expect(c.call("query-vnc")["auth"] == "vencrypt+x509+none", "the kind")
        s = c.call("query-vnc-servers")[0]
        expect((s["auth"], s["vencrypt"], s["server"][0]["vencrypt"]) == ("vencrypt", "x509-none", "x509-none"), f"{s}")
        certs.authority(d, "other")
        certs.sign(d, "stranger", "/CN=stranger", "extendedKeyUsage=clientAuth\n", "other")
        refused("a client without a certificate", lambda: TlsRfb(where, context(d), X509_NONE).update())
        refused("a stranger", lambda: TlsRfb(where, context(d, "stranger"), X509_NONE).update())
        r = TlsRfb(where, context(d, "client"), X509_NONE)
        looks(r)
        e = c.event("VNC_INITIALIZED")["data"]
        expect(e["client"]["x509_dname"] == DNAME and e["client"]["service"] == str(r.s.s.getsockname()[1]) and
               e["client"]["host"] == "127.0.0.1" and e["client"]["family"] == "ipv4", f"{e}")
        expect(e["server"]["auth"] == "vencrypt+x509+none", f"{e}")
        expect(c.call("query-vnc")["clients"][0]["x509_dname"] == DNAME, "the name")
        text = vnc.hmp_of(c)("info vnc")
        expect("vencrypt+x509+none" in text and DNAME in text, text)
        # Others' certificates: clients that come have those, the one that is there stays.
        shutil.copy(os.path.join(d, "ca-cert.pem"), os.path.join(d, "old-cert.pem"))
        os.rename(os.path.join(d, "ca-cert.pem"), os.path.join(d, "away"))
        expect("ca-cert.pem" in c.try_call("display-reload", type="vnc", tls_certs=True)["error"]["desc"], "a file is missing")
        looks(r)
        certs.server(d)
        c.call("display-reload", type="vnc", tls_certs=True)
        looks(TlsRfb(where, context(d, "client"), X509_NONE))
        looks(r)
        c.call("object-del", id="tls0")
        looks(TlsRfb(where, context(d, "client"), X509_NONE))
        r.s.close()
        vm.err.seek(0)
        expect(vm.err.read().count(b"was not let in: ") == 1, "one warning")


def vnctls_password():
    """X509Vnc: the password comes inside of TLS; a wrong one is told."""
    with folder() as d, guest(x509(d, ",verify-peer=off"), ",password=on") as (c, where, _):
        expect(c.call("query-vnc-servers")[0]["vencrypt"] == "x509-vnc", "the kind")
        c.call("set_password", protocol="vnc", password=PASSWORD)
        expect(TlsRfb(where, context(d), X509_VNC, "wrong").result == 1, "a wrong one")
        r = TlsRfb(where, context(d), X509_VNC, PASSWORD)
        looks(r)
        expect("x509_dname" not in c.event("VNC_INITIALIZED")["data"]["client"], "it has shown no certificate")
        c.call("set_password", protocol="vnc", password="other", connected="disconnect")
        expect(r.closed(), "it goes")


def vnctls_anon():
    """TLSNone and TLSVnc: no certificates."""
    anon = ("-object", "tls-creds-anon,id=tls0,endpoint=server")
    with guest(anon) as (c, where, _):
        expect(c.call("query-vnc")["auth"] == "vencrypt+tls+none", "the kind")
        looks(TlsRfb(where, context(), TLS_NONE))
    with guest(anon, ",password=on") as (c, where, _):
        expect(c.call("query-vnc-servers")[0]["vencrypt"] == "tls-vnc", "the kind")
        c.call("set_password", protocol="vnc", password=PASSWORD)
        looks(TlsRfb(where, context(), TLS_VNC, PASSWORD))


def vnctls_web():
    """WebSockets of such a server are wss:, and have the password inside."""
    with folder() as d, guest(x509(d, ",verify-peer=off"), ",password=on,websocket=127.0.0.1:0") as (c, _, _):
        c.call("set_password", protocol="vnc", password=PASSWORD)
        place = c.call("query-vnc-servers")[0]["server"][1]
        expect(place["websocket"] and place["auth"] == "vnc" and "vencrypt" not in place, f"{place}")
        where = ("127.0.0.1", int(place["service"]))
        looks(Wss(where, context(d), PASSWORD))
        e = c.event("VNC_INITIALIZED")["data"]["client"]
        expect(e["websocket"] and e["host"] == "127.0.0.1", f"{e}")
        expect(vnc.WebSocket(where).status == 0, "plain bytes get no answer")


def vnctls_wrong():
    """What comes before TLS is wrong: refused as RFB has it; objects that cannot be."""
    with folder() as d, guest(x509(d)) as (c, where, _):
        for what, how, reply in (("3.3", {"version": b"RFB 003.003\n"}, b"\0\0\0\0"), ("None", {"kind": b"\1"}, b"\0\0\0\1"),
                                 ("no such VeNCrypt", {"vencrypt": b"\0\1"}, b"\xff")):
            p = Plain(where, **how)
            expect(p.read(len(reply)) == reply and p.closed(), what)
        p = Plain(where)
        p.say(struct.pack(">I", TLS_NONE))
        expect(p.read(1) == b"\0" and p.closed(), "a subtype that is not offered")
        certs.authority(d, "other")
        os.mkdir(os.path.join(d, "bad"))
        for name in ("ca-cert.pem", "server-key.pem"):
            shutil.copy(os.path.join(d, name), os.path.join(d, "bad", name))
        bad = os.path.join(d, "bad")
        for options, text in (("tls-creds-x509,endpoint=server", "'dir' is needed"), (f"tls-creds-x509,dir={d}", "endpoint=client"),
                              (f"tls-creds-x509,endpoint=server,dir={bad}", "server-cert.pem"),
                              (f"tls-creds-x509,endpoint=server,dir={d},priority=WHAT", "no priority"),
                              (f"tls-creds-x509,endpoint=server,dir={d},passwordid=p", "'passwordid'"),
                              (f"tls-creds-psk,endpoint=server,dir={d}", "no such kind of TLS"),
                              ("tls-creds-anon,endpoint=server,verify-peer=on", "nobody shows a certificate"),
                              ("authz-simple,identity=x", "access control")):
            refuses(text, "-object", options + ",id=tls0")
        certs.sign(d, "expired", "/CN=localhost", "extendedKeyUsage=serverAuth\n", days=-1)
        certs.sign(d, "viewer", "/CN=localhost", "extendedKeyUsage=clientAuth\n")
        certs.sign(d, "foreign", "/CN=localhost", "extendedKeyUsage=serverAuth\n", "other")
        for name, text in (("viewer", "is not for servers"), ("foreign", "not signed"), ("other", "an authority"), ("expired", "expired")):
            for part in "cert", "key":
                shutil.copy(os.path.join(d, f"{name}-{part}.pem"), os.path.join(bad, f"server-{part}.pem"))
            refuses(text, "-object", f"tls-creds-x509,id=tls0,endpoint=server,dir={bad}")
        refuses("no TLS credentials 'x'", "-vnc", "127.0.0.1:0,to=99,tls-creds=x")
        refuses("no authorization objects", "-vnc", ":0,tls-authz=x")


def refuses(text, *args):
    p = subprocess.run([rt.BIN, "-M", "none", "-display", "none", "-S", *args], stderr=subprocess.PIPE, check=False, timeout=60 * rt.SLOW)
    expect(p.returncode == 1 and text in p.stderr.decode(), f"{args}: {p.stderr.decode()}")


def vnctls_slow():
    """Clients that stay in their handshake are as many as `connections`; those that ask and never read hold up nobody, and no memory."""
    # A sanitizer keeps what was freed, and here it would count.
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    with folder() as d, guest(x509(d, ",verify-peer=off"), ",connections=2,share=ignore") as (c, where, vm):
        stuck = [Plain(where), Plain(where)]
        stuck.append(Plain(where))
        expect(stuck[0].closed(), "the oldest one went")
        looks(TlsRfb(where, context(d), X509_NONE))
        kept = vnc.stuck(c, vm, lambda: TlsRfb(where, context(d), X509_NONE))
        expect(len(kept) == 4, "all are there")


def hostile(rnd, where, tls):
    """One client, which goes wrong somewhere; yields while it waits."""
    s = socket.create_connection(where, 60 * rt.SLOW)
    wrong = rnd.randrange(8)
    talk = [b"RFB 003.008\n", b"\x13", b"\0\2", struct.pack(">I", X509_NONE)]
    with contextlib.suppress(OSError):
        for i, part in enumerate(talk):
            s.recv(64)
            if i == wrong:
                s.sendall(rnd.randbytes(rnd.randrange(1, 40)))
                break
            s.sendall(part)
        if wrong == 4: # no TLS
            s.sendall(rnd.randbytes(rnd.randrange(2000)))
        elif wrong == 5: # a record that begins well
            s.sendall(b"\x16\x03\x01" + struct.pack(">H", rnd.randrange(1 << 16)) + rnd.randbytes(rnd.randrange(3000)))
        elif wrong > 5: # TLS, and noise in it
            s.recv(1)
            out, into = ssl.MemoryBIO(), ssl.MemoryBIO()
            o = tls.wrap_bio(into, out, server_hostname="localhost")
            for _ in range(rnd.randrange(6)):
                with contextlib.suppress(ssl.SSLWantReadError):
                    o.do_handshake()
                    o.write(rnd.randbytes(rnd.randrange(1, 300)))
                data = bytearray(out.read())
                if wrong == 6 and data and rnd.random() < 0.3:
                    data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
                s.sendall(data)
                if select.select([s], [], [], 0.05)[0]:
                    into.write(s.recv(65536))
    return s


def vnctls_storm():
    """Hostile handshakes, RHEA_STORM of them: nothing ends, and the next client is served."""
    rnd = random.Random(int(os.environ.get("RHEA_SEED", "1")))
    with folder() as d, guest(x509(d, ",verify-peer=off"), ",share=ignore") as (c, where, vm):
        tls, held = context(d), []
        for _ in range(STORM):
            held.append(hostile(rnd, where, tls))
            if len(held) > 8:
                with contextlib.suppress(ValueError):
                    held.pop(rnd.randrange(len(held))).close()
        for s in held:
            s.close()
        looks(TlsRfb(where, tls, X509_NONE))
        expect(vm.p.poll() is None and c.call("query-vnc")["enabled"], "it runs")


def vnctls_tigervnc():
    """TigerVNC's viewer: X509Vnc with the authority's certificate, TLSVnc without one; pictures pixel by pixel."""
    need("xtigervncviewer")
    for kind, subtype in (("x509", "X509Vnc"), ("anon", "TLSVnc")):
        with desktop(), folder() as d:
            creds = x509(d, ",verify-peer=off") if kind == "x509" else ("-object", "tls-creds-anon,id=tls0,endpoint=server")
            with guest(creds, ",password=on", "-vga", "std") as (c, where, vm):
                c.call("set_password", protocol="vnc", password=PASSWORD)
                with viewer(d, "xtigervncviewer", "-AlertOnFatalError=0", "-ReconnectOnError=0", f"-SecurityTypes={subtype}",
                            f"-X509CA={d}/ca-cert.pem", f"localhost:{where[1] - 5900}", VNC_PASSWORD=PASSWORD) as (p, _):
                    e = c.event("VNC_INITIALIZED")["data"]
                    expect(e["server"]["auth"] == f"vencrypt+{'x509' if kind == 'x509' else 'tls'}+vnc", f"{e}")
                    w = until(vm, "a window", lambda: window("TigerVNC$"))
                    until(vm, "the picture", lambda w=w: same_picture(c, d, w))
                    c.call("set_password", protocol="vnc", password="other", connected="disconnect")
                    c.event("VNC_DISCONNECTED")
                    ended(vm, p)


def vnctls_gtk():
    """GTK-VNC's viewer, which finds certificates where it always does."""
    need("gvncviewer")
    with desktop(), folder() as d, guest(x509(d), "", "-vga", "std") as (c, where, vm):
        for place, name, file in ((".pki/CA", "ca-cert", "cacert"), (".pki/gvncviewer", "client-cert", "clientcert"),
                                  (".pki/gvncviewer/private", "client-key", "clientkey")):
            os.makedirs(os.path.join(d, place), exist_ok=True)
            shutil.copy(os.path.join(d, f"{name}.pem"), os.path.join(d, place, f"{file}.pem"))
        # It asks the list of users for the folder where certificates are: that of the user's name space is the test's.
        home = ("unshare", "-rm", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', d, pwd.getpwuid(0).pw_dir)
        if subprocess.run([*home, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            raise rt.Skip("no name space of mounts can be made")
        with viewer(d, *home, "gvncviewer", f"localhost:{where[1] - 5900}") as (p, _):
            expect(c.event("VNC_INITIALIZED")["data"]["client"]["x509_dname"] == DNAME, "its name")
            w = until(vm, "a window", lambda: window("GVncViewer$"))
            until(vm, "the picture", lambda: same_picture(c, d, w))
            c.call("quit")
            ended(vm, p)


if __name__ == "__main__":
    rt.main(*[globals()[n] for n in sys.argv[1:] if n in globals()])

# SPDX-License-Identifier: MIT
"""Certificates for tests, by openssl: a folder as -object tls-creds-x509 reads it, and clients' own."""
import os
import subprocess

import rheatest as rt


def openssl(folder, *args):
    try:
        p = subprocess.run(["openssl", *args], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError as e:
        raise rt.Skip("openssl is not installed") from e
    if p.returncode:
        raise rt.Failure(f"openssl {' '.join(args)}: {p.stdout.decode()}")


def key(folder, name):
    openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}-key.pem")


def authority(folder, name="ca"):
    key(folder, name)
    openssl(folder, "req", "-x509", "-new", "-key", f"{name}-key.pem", "-out", f"{name}-cert.pem", "-days", "30", "-subj",
            f"/CN=Tests {name}", "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def sign(folder, name, subject, extensions, signer="ca", days=30):
    """NAME-key.pem and NAME-cert.pem."""
    key(folder, name)
    openssl(folder, "req", "-new", "-key", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", subject)
    with open(os.path.join(folder, f"{name}.ext"), "w", encoding="ascii") as f:
        f.write(extensions)
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}-cert.pem", "-CAkey", f"{signer}-key.pem", "-CAcreateserial",
            "-out", f"{name}-cert.pem", "-days", str(days), "-extfile", f"{name}.ext")


def server(folder):
    """ca-, server- and client-, for the name localhost and the address 127.0.0.1."""
    authority(folder)
    sign(folder, "server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
         "keyUsage=digitalSignature\n")
    sign(folder, "client", "/C=XX/O=Tests/CN=viewer", "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n")

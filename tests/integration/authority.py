"""Certificates for tests, made by the openssl command."""

import dataclasses
import subprocess
from pathlib import Path

# Keys, as openssl's `req -newkey` takes them.
P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("rsa:2048",)


@dataclasses.dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path

    def keys(self, **others):
        """As the keys of a configuration."""
        return {"ssl.cert": str(self.cert), "ssl.key": str(self.key), **{k.replace("_", "."): str(v) for k, v in others.items()}}


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """Signs certificates for names and addresses. They are written to its folder."""

    def __init__(self, folder, name="Test authority", signer=None):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.name = name
        self.certificate = self._make(name, "basicConstraints=critical,CA:TRUE\n", 30, signer)

    @property
    def pem(self):
        return self.certificate.cert

    def sign(self, name="localhost", alternatives="DNS:localhost,IP:127.0.0.1", days=30, key=P256):
        """`days` may be negative: a certificate that has expired so many days ago."""
        return self._make(name, f"subjectAltName={alternatives}\n", days, self, key)

    def _make(self, name, extensions, days, signer, kind=P256):
        path = self.folder / name.replace(" ", "-")
        cert, key, request, extra = (path.with_suffix(end) for end in (".pem", ".key", ".csr", ".ext"))
        extra.write_text(extensions)
        openssl("req", "-new", "-newkey", *kind, "-nodes", "-keyout", key, "-out", request,
                "-subj", f"/CN={name}")  # fmt: skip
        by = ("-signkey", key) if signer is None else ("-CA", signer.certificate.cert, "-CAkey", signer.certificate.key, "-CAcreateserial")
        when = ("-days", days)
        openssl("x509", "-req", "-in", request, "-out", cert, "-extfile", extra, *by, *when)
        return Certificate(cert, key)

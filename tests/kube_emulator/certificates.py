"""A certificate authority for tests, and certificates signed by it: of the server, of clients, and expired ones. Made
by the openssl program in a directory of the test.
"""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates. `directory` must exist."""

    def __init__(self, directory: Path) -> None:
        self._place = directory
        self.pair = Pair(directory / "ca.crt", directory / "ca.key")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-keyout", str(self.pair.key), "-out", str(self.pair.certificate), "-subj", "/CN=emulator-ca"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        (directory / "index.txt").touch()
        (directory / "ca.cnf").write_text(
            "[ca]\ndefault_ca=here\n[here]\n"
            f"database={directory}/index.txt\nnew_certs_dir={directory}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\nunique_subject=no\ncopy_extensions=copy\n"
            "[any]\ncommonName=supplied\norganizationName=optional\n"
        )

    def server(self, *, expired: bool = False, hosts: tuple[str, ...] = ("IP:127.0.0.1", "DNS:localhost")) -> Pair:
        return self._signed("server", f"subjectAltName={','.join(hosts)}", "/CN=kube-apiserver", expired)

    def client(self, name: str, *, expired: bool = False) -> Pair:
        """Its common name is the account's name."""
        return self._signed(name, "extendedKeyUsage=clientAuth", f"/CN={name}", expired)

    def _signed(self, name: str, extension: str, subject: str, expired: bool) -> Pair:
        stem = f"{name}-expired" if expired else name
        pair = Pair(self._place / f"{stem}.crt", self._place / f"{stem}.key")
        request = self._place / f"{stem}.csr"
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(pair.key), "-out", str(request), "-subj", subject, "-addext", extension),
        )
        begin, end = ("20200101000000Z", "20200102000000Z") if expired else ("20200101000000Z", "20991231000000Z")
        self._openssl(
            *("ca", "-batch", "-notext", "-config", str(self._place / "ca.cnf"), "-in", str(request)),
            *("-out", str(pair.certificate), "-cert", str(self.pair.certificate), "-keyfile", str(self.pair.key)),
            *("-startdate", begin, "-enddate", end),
        )
        return pair

    def server_context(self, pair: Pair) -> ssl.SSLContext:
        """For a server that asks clients for a certificate but does not need one."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.pair.certificate))
        context.load_cert_chain(pair.certificate, pair.key)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self._place)

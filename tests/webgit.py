"""A real HTTPS server of Git repositories: git http-backend, a certificate authority of its own."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import ipaddress
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HEADERS = {"Content-Type": "CONTENT_TYPE", "Content-Length": "CONTENT_LENGTH"}
_HEADERS |= {"Git-Protocol": "GIT_PROTOCOL", "Content-Encoding": "HTTP_CONTENT_ENCODING"}


@dataclass
class Web:
    """A server of the repositories below `root`.

    Asks for `user` and `token` when there is a token; answers with a redirect to `elsewhere` when
    that is given; with `dumb` it only serves files. `seen` are the Authorization headers that came,
    `leaks` the processes of this host that showed the token in their arguments or environment while
    it was at work.
    """

    root: Path
    certificate: Path
    token: str = ""
    user: str = "x-access-token"
    elsewhere: str = ""
    dumb: bool = False
    url: str = ""
    seen: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def served(self) -> Iterator[Web]:
        """Serve on a free port of the loopback address."""
        handler = type("Bound", (_Handler,), {"web": self})
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            self.url = f"https://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        web = self.web
        given = self.headers.get("Authorization", "")
        if given:
            web.seen.append(given)
        if web.token:
            web.leaks += showing(web.token)
        if web.elsewhere:
            self._answer(302, {"Location": f"{web.elsewhere}{self.path}"})
        elif web.token and given != f"Basic {basic(web.user, web.token)}":
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
        else:
            self._git()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        return

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _git(self) -> None:
        path, _, query = self.path.partition("?")
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        variables = {
            ours: self.headers[name] for name, ours in _HEADERS.items() if name in self.headers
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=sent,
            capture_output=True,
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(self.web.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": "" if self.web.dumb else query,
                **variables,
            },
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._answer(int(headers.pop("Status", "200").split()[0]), headers, body)


def basic(user: str, token: str) -> str:
    """What stands behind Basic in an Authorization header."""
    return base64.b64encode(f"{user}:{token}".encode()).decode()


def showing(text: str) -> list[str]:
    """The processes of this host that have `text` in their arguments or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                if text.encode() in (folder / name).read_bytes():
                    found.append(f"{folder / name}")
    return found


def certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path

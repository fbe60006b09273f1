"""The Python client against a real legerd: every call, every error, on a port and a socket."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from leger.errors import UsageError
from leger.secretvalue import SecretValue
from leger.setec import (
    AccessDeniedError,
    AnswerError,
    Client,
    Info,
    NotFoundError,
    UnreachableError,
    ValueNotChangedError,
    VersionClaimedError,
)
from leger.setec.transport import Server

ONE, TWO = SecretValue(b"one \xff<&>"), SecretValue(b"two")


def test_the_life_of_a_secret(client: Client) -> None:
    name = "ours/life \u00e9<&>\n"
    assert client.put(name, ONE) == 1
    assert client.put(name, ONE) == 1
    assert client.put(name, TWO) == 2
    assert client.info(name) == Info(name, (1, 2), 1)
    found = client.get(name)
    assert (found.value.reveal(), found.version) == (ONE.reveal(), 1)
    assert client.get_version(name, 2).value.reveal() == b"two"
    assert client.get_version(name, 0).version == 1
    client.activate(name, 2)
    assert client.get_if_changed(name, 1).version == 2
    assert client.get_if_changed(name, 0).version == 2
    with pytest.raises(ValueNotChangedError):
        client.get_if_changed(name, 2)
    client.create_version(name, 9, SecretValue(b""))
    assert client.get(name).value.reveal() == b""
    with pytest.raises(VersionClaimedError):
        client.create_version(name, 9, ONE)
    client.delete_version(name, 1)
    assert client.info(name) == Info(name, (2, 9), 9)
    with pytest.raises(VersionClaimedError):
        client.create_version(name, 1, ONE)
    assert Info(name, (2, 9), 9) in client.list()
    client.delete(name)
    client.delete(name)
    assert name not in {info.name for info in client.list()}


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get("ours/absent"),
        lambda client: client.get_if_changed("ours/absent", 1),
        lambda client: client.get_version("ours/there", 7),
        lambda client: client.info("ours/absent"),
        lambda client: client.activate("ours/absent", 1),
        lambda client: client.activate("ours/there", 7),
        lambda client: client.delete_version("ours/absent", 1),
        lambda client: client.delete_version("ours/there", 7),
    ],
)
def test_what_is_not_there_is_not_found(client: Client, call: Callable[[Client], object]) -> None:
    client.put("ours/there", ONE)
    with pytest.raises(NotFoundError):
        call(client)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get("other"),
        lambda client: client.get_if_changed("other", 1),
        lambda client: client.get_version("other", 1),
        lambda client: client.info("other"),
        lambda client: client.put("other", ONE),
        lambda client: client.create_version("other", 1, ONE),
        lambda client: client.activate("other", 1),
        lambda client: client.delete("other"),
        lambda client: client.delete_version("other", 1),
    ],
)
def test_what_is_not_allowed_is_denied(client: Client, call: Callable[[Client], object]) -> None:
    with pytest.raises(AccessDeniedError) as caught:
        call(client)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("status", "call"),
    [
        (400, lambda client: client.create_version("ours/x", 0, ONE)),
        (400, lambda client: client.get_version("ours/x", -1)),
        (500, lambda client: client.put("", ONE)),
        (500, lambda client: client.activate("", 1)),
        (500, lambda client: client.delete_version("ours/there", 1)),
    ],
)
def test_what_setec_has_no_word_for_has_its_status(
    client: Client, status: int, call: Callable[[Client], object]
) -> None:
    client.put("ours/there", ONE)
    with pytest.raises(AnswerError) as caught:
        call(client)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://h", "http://h:80"),
        ("https://h.example/", "https://h.example:443"),
        ("http://[::1]:8080/setec/", "http://[::1]:8080/setec"),
        ("unix:/run/s", "unix:/run/s"),
        ("unix:///run/s", "unix:/run/s"),
    ],
)
def test_a_server_has_an_address(text: str, shown: str) -> None:
    assert str(Server.parse(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "h:80", "ftp://h", "http://", "http://h:x", "http://u:p@h", "http://h/?q"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(text)
    assert ":p@" not in str(caught.value)


@contextlib.contextmanager
def answering(
    answer: bytes, pause: float = 0, context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A server that says `answer` to everything, byte by byte if there is to be a pause."""
    ended = threading.Event()

    def serve() -> None:
        plain, _ = listening.accept()
        with contextlib.suppress(OSError), plain:
            connection = context.wrap_socket(plain, server_side=True) if context else plain
            with connection:
                connection.recv(65536)
                for part in [bytes([byte]) for byte in answer] if pause else [answer]:
                    connection.sendall(part)
                    if ended.wait(pause):
                        return
                while connection.recv(65536):  # a close with unread data would lose the answer
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http{'s' if context else ''}://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"Value":"c2VjcmV0","Version":"1"}',
        b'{"Value":"c2VjcmV0"}',
        b'{"Value":"c2VjcmV0!","Version":1}',
        b"[" * 100000,
    ],
)
def test_an_answer_that_is_not_setecs_is_told_without_its_content(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(head + body) as server, pytest.raises(AnswerError) as caught:
        Client(server).get("a")
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_redirect_is_not_followed() -> None:
    answer = b"HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as server, pytest.raises(AnswerError) as caught:
        Client(server).put("a", ONE)
    assert caught.value.status == 307


def test_a_server_that_drips_is_given_up_in_time() -> None:
    begun = time.monotonic()
    with answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000, 0.1) as server:
        with pytest.raises(UnreachableError):
            Client(server, timeout=0.5).get("a")
        assert time.monotonic() - begun < 20


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(UnreachableError, match=server):
        Client(server).get("a")
    with pytest.raises(UnreachableError):
        Client("unix:/nowhere").list()
    with pytest.raises(UnreachableError):
        Client(server).get("a", timeout=0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_https_reaches_who_has_the_certificate(certificate: Path, tls: ssl.SSLContext) -> None:
    body = b'{"Value":"Zm9v","Version":3}'
    trusting = ssl.create_default_context(cafile=certificate)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(head + body, context=tls) as server:
        found = Client(server, context=trusting).get("a")
    assert (found.value.reveal(), found.version) == (b"foo", 3)
    with answering(b"", context=tls) as server, pytest.raises(UnreachableError, match="CERT"):
        Client(server).get("a")


def test_https_that_drips_is_given_up_in_time(certificate: Path, tls: ssl.SSLContext) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    head = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000
    begun = time.monotonic()
    with answering(head, 0.1, tls) as server, pytest.raises(UnreachableError):
        Client(server, timeout=2, context=trusting).get("a")
    assert time.monotonic() - begun < 20

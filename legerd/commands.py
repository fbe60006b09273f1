"""What an administrator runs beside the server: about keys, and about the store as a whole."""

from __future__ import annotations

import getpass
import http.client
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

from leger import disk, processes
from leger.errors import LegerError, NotAuthorisedError, UsageError

from legerd import audit, keygen, log, recovery, setec_vault, stores, wire
from legerd.errors import KeyUnavailable, StoreCorrupt
from legerd.keys import CREDENTIAL, Cipher, Kek, load_kek
from legerd.options import Options
from legerd.values import Secret

ROOT_SOCKET = Path("/run/legerd/root.sock")
DEV_KEY = b"SetecDevOnlyDummyEncryption".ljust(32, b"\0")
_IMPORTER = "legerd import"
_SECONDS = 30.0


def make_key(options: Options) -> None:
    """`legerd keygen`: the sealed key and the empty vault, once in a host's life."""
    log.note(keygen.run(state=options.state))


def recovery_key(options: Options) -> None:
    """`legerd recovery-key`: show or write a new recovery key; the vault keeps its public half."""
    public = recovery.make(register, sys.stdout, options.output)
    log.note(f"recovery key {public.name} opens the vault from now on; keep it off this host")


def restore(options: Options) -> None:
    """`legerd restore`: seal a vault whose key is lost to this host, by its recovery key."""
    if options.recovery_key is not None:
        text = disk.read_file(options.recovery_key, limit=1 << 16).decode(errors="replace")
    elif sys.stdin.isatty():
        text = getpass.getpass("recovery key (64 letters and digits): ")
    else:
        text = sys.stdin.read(1 << 16)
    key = recovery.RecoveryKey.parse(text)
    log.note(keygen.restore(key, state=options.state, accept_rollback=options.accept_rollback))


def check(options: Options) -> None:
    """`legerd check`: open every record of the store and read every line of the audit log."""
    with stores.opened(options, key_encryption_key(options)) as store:
        secrets = len(store.snapshot)
        lines = _audit_lines(options.state / "audit.log")
    log.note(f"{secrets} secrets and {lines} lines of the audit log are whole")


def import_file(options: Options) -> None:
    """`legerd import FILE`: add all secrets of a file of setec's to the store, or none."""
    file, kek = options.file or Path(), key_encryption_key(options)
    if stores.kind_of(file) is not stores.Kind.SETEC:
        raise UsageError(
            f"{file}: is legerd's own database, not setec's",
            hint="put its folder in place as a whole, and: legerd restore",
        )
    _, secrets = setec_vault.load(file, _file_keys(options, kek))
    with stores.opened(options, kek) as store:
        count = store.add(_imported(secret, time.time()) for secret in secrets.values())
    log.note(f"{count} secrets added, {len(secrets) - count} were there already")


def export_file(options: Options) -> None:
    """`legerd export FILE`: a new file of setec's with all secrets of the store."""
    file, kek = options.file or Path(), key_encryption_key(options)
    keys = _file_keys(options, kek)
    with stores.opened(options, kek) as store:
        secrets = store.snapshot
    setec_vault.create(file, keys[0], secrets.values())
    log.note(f"{len(secrets)} secrets written to {file}")


def key_encryption_key(options: Options) -> Kek:
    """The key from a file, the service's credential or, for root, the sealed credential itself."""
    if options.dev and not options.key_file:
        return Kek.of(DEV_KEY)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if options.key_file or folder or options.command == "serve":
        return load_kek(Path(folder) if folder else None, options.key_file)
    sealed = keygen.KEY_FOLDER / keygen.NAME
    command = ["systemd-creds", "decrypt", f"--name={CREDENTIAL}", str(sealed), "-"]
    done = processes.run(command, timeout=_SECONDS)
    if done.code:
        raise KeyUnavailable(f"{sealed}: {done.message}", hint="run it as root on the same host")
    return Kek.of(done.stdout)


def register(public: bytes) -> None:
    """Give the public half of a recovery key to the running server, which has the vault open."""
    body = f'{{"PublicKey":{wire.base64(public)}}}'
    headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
    connection = _RootConnection()
    try:
        connection.request("POST", "/api/leger/recovery", body, headers)
        answer = connection.getresponse()
        text = answer.read(1024).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise LegerError(
            f"{ROOT_SOCKET}: legerd does not answer: {error}",
            hint="systemctl status legerd.service",
        ) from error
    finally:
        connection.close()
    if answer.status == 403:
        raise NotAuthorisedError("only root may set a recovery key", hint="run it with sudo")
    if answer.status != 200:
        raise LegerError(f"legerd refused the recovery key: {text}")


class _RootConnection(http.client.HTTPConnection):
    def __init__(self) -> None:
        super().__init__("localhost", timeout=_SECONDS)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(ROOT_SOCKET))


def _file_keys(options: Options, kek: Kek) -> tuple[Cipher, ...]:
    """What opens the FILE that is imported or exported."""
    if options.file_key is not None:
        return (load_kek(None, options.file_key),)
    return stores.file_keys(options, kek)


def _imported(secret: Secret, when: float) -> Secret:
    """`secret` as made now, since setec does not say when and by whom it was."""
    versions = {
        number: replace(version, created=when, creator=_IMPORTER)
        for number, version in secret.versions.items()
    }
    return replace(secret, versions=versions)


def _audit_lines(path: Path) -> int:
    """How many lines `path` has; StoreCorrupt names the first that is not whole."""
    count = 0
    try:
        with path.open("rb") as file:
            for count, line in enumerate(file, 1):
                if not line.endswith(b"\n") or not audit.parses(line):
                    raise StoreCorrupt(f"{path}:{count}: not a line of the audit log")
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return count

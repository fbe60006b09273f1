"""legerd's command line, parsed into one frozen value."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from legerd import audit, limits

STATE = Path("/var/lib/legerd")
POLICY = Path("/etc/leger/policy.yaml")
TAILSCALED = Path("/var/run/tailscale/tailscaled.sock")
KEYS = Path("/var/lib/legerd-key")
COMMANDS = ("serve", "keygen", "recovery-key", "restore", "check", "import", "export")


@dataclass(frozen=True)
class Options:
    """What was asked for; `listen` is given with `dev` only."""

    command: str
    state: Path = STATE
    policy: Path = POLICY
    host: str = ""
    key_file: Path | None = None
    max_body: int = limits.MAX_BODY
    audit_limit: int = audit.MAX_BYTES
    audit_keep: int = audit.KEEP
    accept_rollback: bool = False
    dev: bool = False
    listen: tuple[str, int] | None = None
    tailscaled: Path = TAILSCALED
    tailnet_port: int = 0
    output: Path | None = None
    recovery_key: Path | None = None
    db: Path | None = None
    file: Path | None = None
    file_key: Path | None = None


def parse(arguments: Sequence[str]) -> Options:
    """The options in `arguments`; wrong ones end the program with status 2."""
    given = _parser().parse_args(arguments)
    if given.listen and not given.dev:
        _parser().error("--listen is for --dev only: systemd passes the sockets")
    if (given.file is not None) != (given.command in ("import", "export")):
        _parser().error("import and export need a FILE, the other commands take none")
    return Options(
        command=given.command,
        state=given.state_dir,
        policy=given.policy,
        host=given.hostname or socket.gethostname(),
        key_file=given.key_file,
        max_body=given.max_body,
        audit_limit=given.audit_max_size,
        audit_keep=given.audit_keep,
        accept_rollback=given.accept_rollback,
        dev=given.dev,
        listen=given.listen,
        tailscaled=given.tailscaled_socket,
        tailnet_port=given.tailnet_port,
        output=given.output,
        recovery_key=given.recovery_key,
        db=given.db,
        file=given.file,
        file_key=given.file_key,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="legerd", description="A secrets server for one host.")
    add = parser.add_argument
    add("command", nargs="?", default="serve", choices=COMMANDS)
    add("file", nargs="?", type=Path, metavar="FILE", help="import, export: setec's database file")
    add("--state-dir", type=Path, default=STATE, help="where secrets.db and audit.log are")
    add("--db", type=Path, metavar="FILE", help="the database: secrets.db, or setec's own file")
    add("--policy", type=Path, default=POLICY, help="who may do what on the unix sockets")
    add("--hostname", default="", help="this host's name in the audit log")
    add("--key-file", type=Path, help="a key-encryption key of 32 bytes instead of the credential")
    add("--max-body", type=_bytes, default=limits.MAX_BODY, help="largest request (16M)")
    add("--audit-max-size", type=_bytes, default=audit.MAX_BYTES, help="rotate audit.log (64M)")
    add("--audit-keep", type=int, default=audit.KEEP, help="rotated audit logs to keep (16)")
    add("--accept-rollback", action="store_true", help="open a vault that is older than it was")
    add("--dev", action="store_true", help="for tests: a loopback address and setec's dummy key")
    add("--listen", type=_address, metavar="127.0.0.1:PORT", help="with --dev")
    add("--tailnet-port", type=_port, default=0, metavar="PORT", help="serve the tailnet there")
    add("--tailscaled-socket", type=Path, default=TAILSCALED, help="where WhoIs is asked")
    add("--output", type=Path, help="recovery-key: write the key there instead of the terminal")
    add("--recovery-key", type=Path, metavar="FILE", help="restore: read the key there")
    add("--file-key", type=Path, help="import, export: the key of FILE, if it is not legerd's own")
    return parser


def _bytes(text: str) -> int:
    """A number of bytes, with K, M or G for their powers of 1024."""
    shift = {"K": 10, "M": 20, "G": 30}.get(text[-1:].upper(), 0)
    number = int(text[:-1] if shift else text) << shift
    if number <= 0:
        raise argparse.ArgumentTypeError("a number of bytes above 0 is expected")
    return number


def _port(text: str) -> int:
    """A port that needs no privilege (1024 to 65535)."""
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("a port from 1024 to 65535 is expected")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    """A loopback address with a port (0: any)."""
    host, _, port = text.rpartition(":")
    if host not in ("127.0.0.1", "[::1]") or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError("only 127.0.0.1:PORT or [::1]:PORT")
    return host.strip("[]"), int(port)

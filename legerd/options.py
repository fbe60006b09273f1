"""legerd's command line: a parser for each command, all into one frozen value."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from legerd import audit, limits

STATE = Path("/var/lib/legerd")
POLICY = Path("/etc/leger/policy.yaml")
UNITS = Path("/etc/leger/units.json")
TAILSCALED = Path("/var/run/tailscale/tailscaled.sock")

Parser = argparse.ArgumentParser


@dataclass(frozen=True)
class Options:
    """What was asked for; `listen` is given with `dev` only. Each command sets what it takes."""

    command: str
    state: Path = STATE
    policy: Path = POLICY
    units: Path = UNITS
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
    file_kms_key: str = ""
    kms_key: str = ""
    data_key: bool = False
    new_key_file: Path | None = None
    new_kms_key: str = ""
    to: str = ""
    keep: int = 0
    without_recovery_key: bool = False
    source: str = ""
    replace: bool = False


def parse(arguments: Sequence[str]) -> Options:
    """The options in `arguments`; wrong ones end the program with status 2.

    Without a command it is serve.
    """
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["serve", *arguments]
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    if given.get("listen") and not given["dev"]:
        parser.error("--listen is for --dev only: systemd passes the sockets")
    if "host" in given:
        given["host"] = given["host"] or socket.gethostname()
    return Options(**given)


def _parser() -> Parser:
    parser = Parser(
        prog="legerd",
        description="A secrets server for one host. Without a command: serve.",
        epilog="legerd COMMAND --help says what a command takes.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (text, fill) in _COMMANDS.items():
        fill(commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}."))
    return parser


def _store(parser: Parser) -> None:
    """Which store, and what opens it."""
    add = parser.add_argument
    add("--state-dir", dest="state", type=Path, default=STATE, metavar="DIR",
        help="where secrets.db and audit.log are (/var/lib/legerd)")  # fmt: skip
    add("--db", type=Path, metavar="FILE", help="the database: secrets.db, or setec's own file")
    add("--key-file", type=Path, metavar="FILE",
        help="a key-encryption key of 32 bytes instead of the credential")  # fmt: skip
    add("--kms-key", default="", metavar="ARN",
        help="a key-encryption key in AWS KMS instead of the credential")  # fmt: skip
    add("--accept-rollback", action="store_true", help="open a vault that is older than it was")
    add("--dev", action="store_true", help="for tests: a loopback address and setec's dummy key")


def _serve(parser: Parser) -> None:
    _store(parser)
    add = parser.add_argument
    add("--policy", type=Path, default=POLICY, metavar="FILE",
        help="who may do what on the unix sockets")  # fmt: skip
    add("--units", type=Path, default=UNITS, metavar="FILE",
        help="the compiled units, of which the page at / tells")  # fmt: skip
    add("--hostname", dest="host", default="", metavar="NAME",
        help="this host's name in the audit log")  # fmt: skip
    add("--max-body", type=_bytes, default=limits.MAX_BODY, metavar="SIZE",
        help="the largest request (16M)")  # fmt: skip
    add("--audit-max-size", dest="audit_limit", type=_bytes, default=audit.MAX_BYTES,
        metavar="SIZE", help="rotate audit.log at that size (64M)")  # fmt: skip
    add("--audit-keep", type=int, default=audit.KEEP, metavar="N",
        help="rotated audit logs to keep (16)")  # fmt: skip
    add("--listen", type=_address, metavar="127.0.0.1:PORT", help="with --dev")
    add("--tailnet-port", type=_port, default=0, metavar="PORT", help="serve the tailnet there")
    add("--tailscaled-socket", dest="tailscaled", type=Path, default=TAILSCALED, metavar="PATH",
        help="where WhoIs is asked")  # fmt: skip


def _keygen(parser: Parser) -> None:
    _state(parser)


def _recovery_key(parser: Parser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="write the key there instead of on the terminal")  # fmt: skip


def _rekey(parser: Parser) -> None:
    _store(parser)
    new = parser.add_mutually_exclusive_group()
    new.add_argument("--data-key", action="store_true",
                     help="encrypt everything afresh, with a new data key")  # fmt: skip
    new.add_argument("--new-key-file", type=Path, metavar="FILE",
                     help="the key that takes the place of --key-file or --kms-key")  # fmt: skip
    new.add_argument("--new-kms-key", default="", metavar="ARN",
                     help="the key in AWS KMS that takes its place")  # fmt: skip


def _backup(parser: Parser) -> None:
    _store(parser)
    add = parser.add_argument
    add("--to", required=True, metavar="FOLDER|s3://BUCKET/PREFIX", help="where to")
    add("--keep", type=_count, default=0, metavar="N",
        help="remove all but the newest N of this host (default: none)")  # fmt: skip
    add("--without-recovery-key", action="store_true",
        help="although nobody could open it if this host is lost")  # fmt: skip
    add("--hostname", dest="host", default="", metavar="NAME", help="this host's name")


def _restore(parser: Parser) -> None:
    _store(parser)
    add = parser.add_argument
    add("source", nargs="?", default="", metavar="BACKUP",
        help="a backup, or the folder or s3://BUCKET/PREFIX with it; "
        "without one, the files that are in place")  # fmt: skip
    add("--replace", action="store_true", help="put a vault that is there aside")
    add("--recovery-key", type=Path, metavar="FILE",
        help="read the key there; without it, it is asked for")  # fmt: skip


def _state(parser: Parser) -> None:
    parser.add_argument("--state-dir", dest="state", type=Path, default=STATE, metavar="DIR",
                        help="where secrets.db is (/var/lib/legerd)")  # fmt: skip


def _setec_file(parser: Parser) -> None:
    _store(parser)
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="setec's database file")
    add("--file-key", type=Path, metavar="FILE", help="its key, if it is not legerd's own")
    add("--file-kms-key", default="", metavar="ARN", help="its key, if it is in AWS KMS")


_COMMANDS: Mapping[str, tuple[str, Callable[[Parser], None]]] = {
    "serve": ("serve: what legerd.service runs", _serve),
    "keygen": ("make the host's key and an empty vault, once", _keygen),
    "recovery-key": ("make a recovery key, which is kept off this host", _recovery_key),
    "rekey": ("give the vault a new key-encryption key, or a new data key", _rekey),
    "backup": ("copy the vault, encrypted, to a folder or to S3", _backup),
    "restore": ("put a backup in place, sealed to this host", _restore),
    "check": ("read every record and every line of the audit log", _store),
    "import": ("add all secrets of a file of setec's, or none", _setec_file),
    "export": ("write all secrets to a new file of setec's", _setec_file),
}


def _bytes(text: str) -> int:
    """A number of bytes, with K, M or G for their powers of 1024."""
    shift = {"K": 10, "M": 20, "G": 30}.get(text[-1:].upper(), 0)
    number = int(text[:-1] if shift else text) << shift
    if number <= 0:
        raise argparse.ArgumentTypeError("a number of bytes above 0 is expected")
    return number


def _count(text: str) -> int:
    """A number of things (1 or more)."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("a number above 0 is expected")
    return int(text)


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

"""The command line of the hook, and the sockets that follow from it."""

from __future__ import annotations

from leger_hook.outcomes import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Part:
    """What a Podman secret takes from one legerd secret; `key` is "" but for Kubernetes."""

    __slots__ = ("key", "name", "secret", "version")

    def __init__(self, secret: str, key: str, name: str, version: int) -> None:
        self.secret = secret
        self.key = key
        self.name = name
        self.version = version


class Options:
    """The command line, and the paths that follow from it and from who we are."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], uid: int) -> None:
        self.fresh = "--fresh" in argv
        self.user = uid != 0 or "--user" in argv
        self.noting = "--note" in argv
        units = [word for word in argv if word.startswith("--for=")]
        self.unit = units[0].removeprefix("--for=") if units else None
        options = {"--fresh", "--user", "--note", *units}
        self.secrets = parse([word for word in argv if word not in options])
        own = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
        self.runtime = own if self.user else "/run"
        self.podman = f"{self.runtime}/podman/podman.sock"
        default = "/run/legerd/root.sock" if uid == 0 else "/run/legerd/users.sock"
        self.legerd = environ.get("LEGERD_SOCKET") or default
        self.systemctl = "systemctl --user" if self.user else "systemctl"

    @property
    def parts(self) -> list[Part]:
        """All parts of all secrets, in the order in which legerd is asked."""
        return [part for parts in self.secrets.values() for part in parts]


def parse(words: Sequence[str]) -> dict[str, list[Part]]:
    """The bindings of the command line by Podman secret; Failure names the one that is wrong."""
    secrets: dict[str, list[Part]] = {}
    for word in words:
        left, equals, right = word.partition("=")
        secret, slash, key = left.partition("/")
        name, colon, digits = right.rpartition(":")
        if not (colon and digits.isascii() and digits.isdigit() and len(digits) <= 10):
            name, digits = right, "0"
        if not equals or not name or (slash and not key):
            raise Failure(f"{word}: not NAME=LEGERD-NAME[:VERSION]; run: leger status")
        if not 1 <= len(secret) <= 253 or any(letter in secret for letter in ",/=\0"):
            raise Failure(
                f"secret {secret}: Podman takes names of 1 to 253 characters without"
                " comma, slash and =; rename it in the quadlet"
            )
        secrets.setdefault(secret, []).append(Part(secret, key, name, int(digits)))
    for secret, parts in secrets.items():
        keys = {part.key for part in parts}
        if len(keys) != len(parts) or ("" in keys and len(keys) > 1):
            raise Failure(f"secret {secret}: bound twice; run: leger status")
    if not secrets:
        raise Failure("usage: secrets-hook [--user] [--fresh] NAME=LEGERD-NAME[:VERSION] ...")
    return secrets

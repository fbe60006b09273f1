"""Where the generator of a scope reads and writes; `root` is another folder in tests only."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class Paths:
    """The files of one scope: units.json, its predecessor, /run/leger, and what current says."""

    __slots__ = ("current", "previous", "runtime", "scope", "units")

    def __init__(self, scope: str, config: str, state: str, runtime: str) -> None:
        self.scope = scope
        self.units = f"{config}/units.json"
        self.previous = f"{config}/units.json.prev"
        self.current = f"{state}/current"
        self.runtime = runtime

    @classmethod
    def system(cls, root: str = "") -> "Self":
        """The system manager's."""
        return cls("system", f"{root}/etc/leger", f"{root}/var/lib/leger", f"{root}/run/leger")

    @classmethod
    def user(cls, environ: "Mapping[str, str]") -> "Self | None":
        """A user manager's by its environment (XDG folders); None without a home."""
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            return None
        runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{posix.getuid()}"
        config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
        state = environ.get("XDG_STATE_HOME") or f"{home}/.local/state"
        return cls("user", f"{config}/leger", f"{state}/leger", f"{runtime}/leger")

    @property
    def last_good(self) -> str:
        """The copy of the last units.json that was whole."""
        return f"{self.runtime}/units.json"

    @property
    def note(self) -> str:
        """What the generator emitted last, for leger-settle and `leger status`."""
        return f"{self.runtime}/emitted.json"
